/* DNS messages against ldns, the names' table, the cache and resolv.conf. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <ldns/ldns.h>
#include <string.h>

#include "agent/dns_cache.h"
#include "agent/dns_zone.h"
#include "agent/resolv.h"
#include "base/arena.h"
#include "base/clock.h"

static struct um_dns_name name_of(const char *text)
{
	struct um_dns_name n;

	cr_assert_eq(um_dns_name_parse(text, &n), 0, "%s", text);
	return n;
}

static struct um_dns_query question(const char *name, uint16_t type)
{
	return (struct um_dns_query){
		.id = 0x1234,
		.flags = UM_DNS_RD,
		.type = type,
		.class = 1,
		.name = name_of(name),
		.udp_size = UM_DNS_UDP_MIN,
	};
}

static ldns_pkt *parse(const uint8_t *msg, size_t len)
{
	ldns_pkt *p = NULL;

	cr_assert_eq(ldns_wire2pkt(&p, msg, len), LDNS_STATUS_OK, "ldns takes what we write");
	return p;
}

/* ldns' own text of the records of a section, in its order, with spaces for tabs. */
static void expect_section(ldns_pkt *p, ldns_pkt_section s, const char *want)
{
	ldns_rr_list *l = ldns_pkt_get_section_clone(p, s);
	char *text = ldns_rr_list2str(l);

	for (char *c = text; *c; c++)
		if (*c == '\t')
			*c = ' ';
	cr_assert_str_eq(text, want);
	free(text);
	ldns_rr_list_deep_free(l);
}

/* ---- names ---- */

Test(dns, names_in_text)
{
	struct um_dns_name n, long_name;
	char text[400] = "";

	cr_assert_eq(um_dns_name_parse("a.bc.", &n), 0);
	cr_assert(n.len == 6 && memcmp(n.wire, "\1a\2bc", 6) == 0);
	cr_assert(um_dns_name_parse(".", &n) == 0 && n.len == 1);
	cr_assert_eq(um_dns_name_parse("a..b", &n), -EINVAL);
	cr_assert_eq(um_dns_name_parse(".a", &n), -EINVAL);
	memset(text, 'a', 64);
	cr_assert_eq(um_dns_name_parse(text, &n), -EINVAL, "a label of 64");
	text[63] = '\0';
	cr_assert_eq(um_dns_name_parse(text, &n), 0);
	for (int i = 0; i < 4; i++)
		memset(text + 64 * i, 'a', 63), text[64 * i + 63] = '.';
	text[64 * 3 + 61] = '\0'; /* 3 * 64 + 62 + the root: 255 */
	cr_assert_eq(um_dns_name_parse(text, &long_name), 0);
	cr_assert_eq(long_name.len, 255);
	cr_assert_eq(um_dns_name_prepend(&long_name, "b"), -EINVAL);
	text[64 * 3 + 61] = 'a';
	text[64 * 3 + 62] = '\0';
	cr_assert_eq(um_dns_name_parse(text, &n), -EINVAL, "256 bytes");
}

Test(dns, names_below_names)
{
	struct um_dns_name zone = name_of("cluster.local"), n = name_of("A.B.CLUSTER.local");
	size_t prefix = 99;

	cr_assert(um_dns_name_below(&n, &zone, &prefix) && prefix == 4);
	cr_assert(um_dns_name_below(&zone, &zone, &prefix) && prefix == 0);
	n = name_of("xcluster.local");
	cr_assert_not(um_dns_name_below(&n, &zone, &prefix));
	n = name_of("local");
	cr_assert_not(um_dns_name_below(&n, &zone, &prefix));
	/* Bytes that look like a label's length within a label. */
	n = name_of("a\7cluster\5local");
	cr_assert_not(um_dns_name_below(&n, &zone, &prefix));
}

/* ---- against ldns ---- */

Test(dns, queries_of_ldns_are_read)
{
	static const char *const names[] = {"a.", "web.default.svc.cluster.local.", "."};
	static const ldns_rr_type types[] = {LDNS_RR_TYPE_A, LDNS_RR_TYPE_AAAA, LDNS_RR_TYPE_SRV};

	for (size_t i = 0; i < UM_ARRAY_LEN(names); i++)
		for (int edns = 0; edns < 2; edns++) {
			ldns_pkt *p = ldns_pkt_query_new(ldns_dname_new_frm_str(names[i]), types[i],
							 LDNS_RR_CLASS_IN, LDNS_RD);
			struct um_dns_name n = name_of(names[i]);
			struct um_dns_query q;
			uint8_t *wire;
			size_t len;

			ldns_pkt_set_id(p, 77);
			if (edns) {
				ldns_pkt_set_edns_udp_size(p, 1000);
				ldns_pkt_set_edns_do(p, true);
			}
			cr_assert_eq(ldns_pkt2wire(&wire, p, &len), LDNS_STATUS_OK);
			cr_assert_eq(um_dns_query_parse(wire, len, &q), UM_DNS_NOERROR);
			cr_assert(q.id == 77 && q.type == types[i] && q.class == 1);
			cr_assert(um_dns_name_equal(&q.name, &n));
			cr_assert(q.edns == edns && q.dnssec_ok == edns);
			cr_assert_eq(q.udp_size, edns ? 1000 : 512);
			for (size_t cut = 0; cut < len; cut++)
				cr_assert_neq(um_dns_query_parse(wire, cut, &q), UM_DNS_NOERROR);
			free(wire);
			ldns_pkt_free(p);
		}
}

Test(dns, our_queries_are_read_by_ldns)
{
	struct um_dns_query q = question("host.test", UM_DNS_AAAA);
	uint8_t buf[300];
	ldns_pkt *p = parse(buf, um_dns_query_write(buf, 0xabcd, &q));

	cr_assert_eq(ldns_pkt_id(p), 0xabcd);
	cr_assert(ldns_pkt_rd(p) && ldns_pkt_edns(p));
	cr_assert_eq(ldns_pkt_edns_udp_size(p), UM_DNS_UDP_MAX);
	expect_section(p, LDNS_SECTION_QUESTION, "host.test. IN AAAA\n");
	ldns_pkt_free(p);
}

Test(dns, every_record_is_read_by_ldns)
{
	struct um_dns_query q = question("_p._tcp.web.d.svc.cluster.local", UM_DNS_ANY);
	struct um_dns_name target = name_of("web.d.svc.cluster.local"),
			   zone = name_of("cluster.local"), other = name_of("elsewhere.test");
	struct um_dns_writer w;
	uint8_t buf[1500];
	ldns_pkt *p;

	q.edns = true;
	um_dns_begin(&w, buf, sizeof(buf), &q);
	cr_assert(um_dns_put_srv(&w, 5, 80, &target));
	cr_assert(um_dns_put_a(&w, UM_DNS_ANSWER, &target, 6, htonl(0x0a600001)));
	cr_assert(um_dns_put_name(&w, UM_DNS_ANSWER, UM_DNS_CNAME, NULL, 7, &other));
	cr_assert(um_dns_put_name(&w, UM_DNS_ANSWER, UM_DNS_PTR, &other, 8, &zone));
	cr_assert(um_dns_put_txt(&w, 9, "1.1.0"));
	cr_assert(um_dns_put_soa(&w, UM_DNS_AUTHORITY, &zone, 10, &other, &target, 3));
	cr_assert(um_dns_put_a(&w, UM_DNS_ADDITIONAL, &target, 11, htonl(0x0a600002)));
	p = parse(buf, um_dns_end(&w, UM_DNS_AA, UM_DNS_NXDOMAIN));
	expect_section(p, LDNS_SECTION_ANSWER,
		       "_p._tcp.web.d.svc.cluster.local. 5 IN SRV 0 100 80 "
		       "web.d.svc.cluster.local.\n"
		       "web.d.svc.cluster.local. 6 IN A 10.96.0.1\n"
		       "_p._tcp.web.d.svc.cluster.local. 7 IN CNAME elsewhere.test.\n"
		       "elsewhere.test. 8 IN PTR cluster.local.\n"
		       "_p._tcp.web.d.svc.cluster.local. 9 IN TXT \"1.1.0\"\n");
	expect_section(p, LDNS_SECTION_AUTHORITY,
		       "cluster.local. 10 IN SOA elsewhere.test. web.d.svc.cluster.local. 3 7200 "
		       "1800 86400 10\n");
	expect_section(p, LDNS_SECTION_ADDITIONAL, "web.d.svc.cluster.local. 11 IN A 10.96.0.2\n");
	cr_assert(ldns_pkt_aa(p) && ldns_pkt_qr(p) && ldns_pkt_ra(p) && ldns_pkt_rd(p));
	cr_assert(ldns_pkt_edns(p) && ldns_pkt_get_rcode(p) == LDNS_RCODE_NXDOMAIN);
	ldns_pkt_free(p);
}

Test(dns, what_finds_no_room_is_truncated)
{
	struct um_dns_query q = question("many.test", UM_DNS_A);
	struct um_dns_writer w;
	uint8_t buf[512];
	ldns_pkt *p;
	int n = 0;

	q.edns = true;
	um_dns_begin(&w, buf, sizeof(buf), &q);
	while (um_dns_put_a(&w, UM_DNS_ANSWER, NULL, 5, htonl(n)))
		n++;
	cr_assert_eq(n, (512 - 12 - 15 - 11) / 16);
	p = parse(buf, um_dns_end(&w, 0, 0));
	cr_assert(ldns_pkt_tc(p) && ldns_pkt_ancount(p) == n);
	ldns_pkt_free(p);
}

/* ---- answers of others ---- */

static size_t build(uint8_t **ret, const char *name, const char *const *answers, const char *auth)
{
	ldns_pkt *p = ldns_pkt_query_new(ldns_dname_new_frm_str(name), LDNS_RR_TYPE_A,
					 LDNS_RR_CLASS_IN, LDNS_RD);
	ldns_rr *rr;
	size_t len;

	ldns_pkt_set_id(p, 7);
	ldns_pkt_set_qr(p, true);
	for (; *answers; answers++) {
		cr_assert_eq(ldns_rr_new_frm_str(&rr, *answers, 0, NULL, NULL), LDNS_STATUS_OK);
		ldns_pkt_push_rr(p, LDNS_SECTION_ANSWER, rr);
	}
	if (auth) {
		cr_assert_eq(ldns_rr_new_frm_str(&rr, auth, 0, NULL, NULL), LDNS_STATUS_OK);
		ldns_pkt_push_rr(p, LDNS_SECTION_AUTHORITY, rr);
		ldns_pkt_set_rcode(p, LDNS_RCODE_NXDOMAIN);
	}
	cr_assert_eq(ldns_pkt2wire(ret, p, &len), LDNS_STATUS_OK);
	ldns_pkt_free(p);
	return len;
}

Test(dns, answers_of_ldns_are_read_aged_and_copied)
{
	static const char *const records[] = {
		"www.test. 100 IN CNAME deep.www.test.", "deep.www.test. 40 IN A 192.0.2.1",
		"www.test. 90 IN MX 10 mail.www.test.",	 "www.test. 90 IN TYPE999 \\# 3 010203",
		"www.test. 90 IN SRV 1 2 3 t.www.test.", NULL};
	struct um_dns_query q = question("WWW.test", UM_DNS_A), other;
	struct um_dns_writer w;
	struct um_dns_answer a;
	uint8_t *wire, out[1500];
	size_t len = build(&wire, "www.test.", records, NULL);
	ldns_pkt *p;

	cr_assert_eq(um_dns_answer_parse(wire, len, 7, &q, &a), 0);
	cr_assert(a.rcode == 0 && a.answers == 5 && a.ttl == 40 && !a.truncated);
	cr_assert_eq(um_dns_answer_parse(wire, len, 8, &q, &a), -EBADMSG, "another id");
	other = question("www2.test", UM_DNS_A);
	cr_assert_eq(um_dns_answer_parse(wire, len, 7, &other, &a), -EBADMSG);
	other = question("www.test", UM_DNS_AAAA);
	cr_assert_eq(um_dns_answer_parse(wire, len, 7, &other, &a), -EBADMSG);
	for (size_t cut = 0; cut < len; cut++)
		cr_assert_eq(um_dns_answer_parse(wire, cut, 7, &q, &a), -EBADMSG);
	cr_assert_eq(um_dns_answer_parse(wire, len, 7, &q, &a), 0);
	p = parse(out, um_dns_answer_pass(out, sizeof(out), wire, &a, &q, 30));
	cr_assert_eq(ldns_pkt_id(p), 0x1234);
	expect_section(p, LDNS_SECTION_QUESTION, "WWW.test. IN A\n");
	expect_section(
		p, LDNS_SECTION_ANSWER,
		"WWW.test. 70 IN CNAME deep.WWW.test.\ndeep.WWW.test. 10 IN A 192.0.2.1\n"
		"WWW.test. 60 IN MX 10 mail.WWW.test.\nWWW.test. 60 IN TYPE999 \\# 3 010203\n"
		"WWW.test. 60 IN SRV 1 2 3 t.www.test.\n");
	ldns_pkt_free(p);
	um_dns_begin(&w, out, sizeof(out), &q);
	um_dns_put_answers_of(&w, wire, len);
	p = parse(out, um_dns_end(&w, 0, 0));
	expect_section(
		p, LDNS_SECTION_ANSWER,
		"www.test. 100 IN CNAME deep.www.test.\ndeep.www.test. 40 IN A 192.0.2.1\n"
		"www.test. 90 IN MX 10 mail.www.test.\nwww.test. 90 IN TYPE999 \\# 3 010203\n"
		"www.test. 90 IN SRV 1 2 3 t.www.test.\n");
	ldns_pkt_free(p);
	free(wire);
}

Test(dns, negative_answers_are_kept_as_long_as_the_zone_says)
{
	static const char *const none[] = {NULL};
	struct um_dns_query q = question("no.test", UM_DNS_A);
	struct um_dns_answer a;
	uint8_t *wire;
	size_t len = build(&wire, "no.test.", none, "test. 300 IN SOA a.test. b.test. 1 2 3 4 25");

	cr_assert_eq(um_dns_answer_parse(wire, len, 7, &q, &a), 0);
	cr_assert(a.rcode == UM_DNS_NXDOMAIN && a.ttl == 25);
	free(wire);
	len = build(&wire, "no.test.", none, NULL);
	cr_assert_eq(um_dns_answer_parse(wire, len, 7, &q, &a), 0);
	cr_assert_eq(a.ttl, 0, "without SOA it is not kept");
	free(wire);
}

Test(dns, the_cache_is_bounded_and_forgets)
{
	struct dns_cache *c = dns_cache_new(3);
	struct um_dns_answer a = {.answers = 1}, got;
	struct um_dns_query q[4];
	uint32_t age;
	size_t len;

	for (int i = 0; i < 4; i++) {
		char name[] = {(char)('a' + i), '\0'};

		q[i] = question(name, UM_DNS_A);
		dns_cache_put(c, &q[i], (const uint8_t *)name, 1, &a, 10, 0);
		cr_assert(dns_cache_get(c, &q[0], 0, &len, &got, &age) || i == 3);
	}
	cr_assert(dns_cache_get(c, &q[0], 0, &len, &got, &age), "used again and again");
	cr_assert_null(dns_cache_get(c, &q[1], 0, &len, &got, &age));
	q[3] = question("D", UM_DNS_A);
	cr_assert(dns_cache_get(c, &q[3], 4 * UM_NSEC_PER_SEC, &len, &got, &age) && age == 4);
	cr_assert_null(dns_cache_get(c, &q[3], 10 * UM_NSEC_PER_SEC, &len, &got, &age));
	q[2].type = UM_DNS_AAAA;
	cr_assert_null(dns_cache_get(c, &q[2], 0, &len, &got, &age));
	dns_cache_free(c);
}

/* ---- the names' table ---- */

static struct um_json *json(struct um_arena *a, const char *text)
{
	struct um_json *o;
	char *s = um_arena_strdup(a, text);

	for (char *c = s; *c; c++)
		if (*c == '\'')
			*c = '"';
	cr_assert_eq(um_json_parse(a, s, strlen(s), NULL, &o, NULL), 0, "%s", text);
	return o;
}

static int ask(struct dns_zone *z, const char *name, uint16_t type, char *addrs, size_t size)
{
	struct um_dns_query q = question(name, type);
	struct um_dns_name target;
	struct um_dns_writer w;
	static uint8_t buf[UM_DNS_MSG_MAX];
	uint16_t flags;
	ldns_pkt *p;
	int rcode;

	*addrs = '\0';
	um_dns_begin(&w, buf, sizeof(buf), &q);
	if (dns_zone_answer(z, &w, &flags, &rcode, &target) != DNS_ANSWERED)
		return -1;
	p = parse(buf, um_dns_end(&w, flags, rcode));
	for (size_t i = 0; i < ldns_pkt_ancount(p); i++) {
		ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_answer(p), i);
		char *text = ldns_rdf2str(ldns_rr_rdf(rr, ldns_rr_rd_count(rr) - 1));
		size_t at = strlen(addrs);

		snprintf(addrs + at, size - at, "%s ", text);
		free(text);
	}
	ldns_pkt_free(p);
	return rcode;
}

Test(dns, services_and_slices_in_any_order)
{
	static const char service[] =
		"{'metadata':{'namespace':'d','name':'w'},'spec':{'clusterIP':"
		"'None','ports':[{'name':'p','port':80}]}}";
	static const char slice[] =
		"{'metadata':{'namespace':'d','name':'w-1','labels':{'kubernetes.io/service-name':"
		"'w'}},'addressType':'IPv4','ports':[{'name':'p','port':8080}],'endpoints':["
		"{'addresses':['10.244.0.1'],'hostname':'H'},{'addresses':['10.244.0.2'],"
		"'conditions':{'ready':false}},{'addresses':['10.244.0.1']}]}";
	struct dns_zone_config cfg = {.domain = "Cluster.local",
				      .ranges = {{0x0af40000, 16}, {0x0a600000, 16}}};
	struct um_arena *a = um_arena_new(1 << 20);
	struct dns_zone *z;
	char out[500];

	cr_assert_eq(dns_zone_new(&cfg, &z, NULL), 0);
	cr_assert_eq(ask(z, "w.d.svc.cluster.local", UM_DNS_A, out, sizeof(out)), UM_DNS_SERVFAIL);
	cr_assert_eq(ask(z, "1.0.244.10.in-addr.arpa", UM_DNS_PTR, out, sizeof(out)),
		     UM_DNS_SERVFAIL);
	cr_assert_eq(ask(z, "w.test", UM_DNS_A, out, sizeof(out)), -1);
	for (int order = 0; order < 2; order++) {
		if (order)
			dns_zone_put_service(z, json(a, service));
		dns_zone_put_slice(z, json(a, slice));
		if (!order)
			dns_zone_put_service(z, json(a, service));
		dns_zone_services_listed(z, json(a, "[{'metadata':{'namespace':'d','name':'w'}}]"));
		dns_zone_slices_listed(z, json(a, "[{'metadata':{'namespace':'d','name':'w-1'}}]"));
		cr_assert_eq(ask(z, "w.d.svc.cluster.local", UM_DNS_A, out, sizeof(out)), 0);
		cr_assert_str_eq(out, "10.244.0.1 ", "ready, and once");
		ask(z, "h.w.d.svc.cluster.local", UM_DNS_A, out, sizeof(out));
		cr_assert_str_eq(out, "10.244.0.1 ");
		cr_assert_eq(ask(z, "10-244-0-2.w.d.svc.cluster.local", UM_DNS_A, out, sizeof(out)),
			     UM_DNS_NXDOMAIN, "not ready");
		ask(z, "1.0.244.10.in-addr.arpa", UM_DNS_PTR, out, sizeof(out));
		cr_assert(strstr(out, "h.w.d.svc.cluster.local. "), "%s", out);
		if (order) {
			dns_zone_services_listed(z, json(a, "[]"));
			dns_zone_slices_listed(z, json(a, "[]"));
		} else {
			dns_zone_drop_service(z, "d", "w");
			cr_assert_eq(ask(z, "d.svc.cluster.local", UM_DNS_A, out, sizeof(out)),
				     UM_DNS_NXDOMAIN);
			dns_zone_drop_slice(z, "d", "w-1");
		}
		cr_assert_eq(ask(z, "w.d.svc.cluster.local", UM_DNS_A, out, sizeof(out)),
			     UM_DNS_NXDOMAIN);
		cr_assert_eq(ask(z, "1.0.244.10.in-addr.arpa", UM_DNS_PTR, out, sizeof(out)),
			     UM_DNS_NXDOMAIN);
	}
	dns_zone_free(z);
	um_arena_free(a);
}

Test(dns, a_domain_must_be_a_name)
{
	static const char *const bad[] = {"", ".", "a..b", ".a"};
	struct dns_zone *z;

	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++) {
		struct dns_zone_config cfg = {.domain = bad[i]};

		cr_assert_eq(dns_zone_new(&cfg, &z, NULL), -EINVAL, "%s", bad[i]);
	}
}

/* ---- resolv.conf ---- */

Test(resolv, files_are_read_as_the_c_library_does)
{
	struct resolv r;

	resolv_parse(
		"# nameserver 1.1.1.1\n;x\nnameserver\t192.0.2.1 junk\r\n nameserver 192.0.2.2\n"
		"search a b\ndomain c.test\nsearch x.test  y.test\noptions ndots:2 edns0\n"
		"options timeout:1\nnameservers 9.9.9.9\nnameserver",
		&r);
	cr_assert(r.n_servers == 2 && !strcmp(r.servers[1], "192.0.2.2"));
	cr_assert(r.n_searches == 2 && !strcmp(r.searches[0], "x.test"));
	cr_assert(r.n_options == 3 && !strcmp(r.options[2], "timeout:1") && !r.clipped);
	cr_assert_not(resolv_is_stub(&r));
	resolv_parse("nameserver 127.0.0.53\n", &r);
	cr_assert(resolv_is_stub(&r));
	resolv_parse("", &r);
	cr_assert_not(resolv_is_stub(&r));
}

Test(resolv, pods_get_what_their_policy_says)
{
	static const struct {
		const char *pod, *dns, *want;
		bool whole;
	} cases[] = {
		{"{'metadata':{'namespace':'n'},'spec':{}}", "10.96.0.10",
		 "nameserver 10.96.0.10\nsearch n.svc.c.l svc.c.l c.l host.test\noptions ndots:5\n",
		 true},
		{"{'metadata':{'namespace':'n'},'spec':{}}", NULL,
		 "nameserver 192.0.2.53\nsearch host.test\noptions rotate\n", true},
		{"{'spec':{'hostNetwork':true}}", "10.96.0.10",
		 "nameserver 192.0.2.53\nsearch host.test\noptions rotate\n", true},
		{"{'spec':{'dnsPolicy':'None','dnsConfig':{'nameservers':['1.1.1.1','1.1.1.1',"
		 "'2.2.2.2','3.3.3.3','4.4.4.4']}}}",
		 "10.96.0.10", "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\n",
		 false},
	};
	struct um_arena *a = um_arena_new(1 << 20);
	struct resolv host;

	resolv_parse("nameserver 192.0.2.53\nsearch host.test .\noptions rotate\n", &host);
	for (size_t i = 0; i < UM_ARRAY_LEN(cases); i++) {
		struct um_buf b = UM_BUF_INIT(4096);

		cr_assert_eq(resolv_of_pod(json(a, cases[i].pod), cases[i].dns, "c.l", &host, &b),
			     cases[i].whole);
		cr_assert_str_eq(um_buf_str(&b), cases[i].want);
		um_buf_release(&b);
	}
	um_arena_free(a);
}
