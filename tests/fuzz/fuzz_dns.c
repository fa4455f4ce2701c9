/* DNS messages: any bytes are a query, an answer or refused; what is written for them can be read
 * again, and keeps its bounds. The first byte says how they are taken. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/dns_zone.h"
#include "base/arena.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct dns_zone *zone(void)
{
	static const char service[] =
		"{\"metadata\":{\"namespace\":\"d\",\"name\":\"a\"},\"spec\":{\"clusterIP\":"
		"\"None\",\"ports\":[{\"name\":\"p\",\"port\":80}]}}";
	static const char slice[] =
		"{\"metadata\":{\"namespace\":\"d\",\"name\":\"a-1\",\"labels\":{"
		"\"kubernetes.io/service-name\":\"a\"}},\"addressType\":\"IPv4\",\"ports\":[{"
		"\"name\":\"p\",\"port\":80}],\"endpoints\":[{\"addresses\":[\"10.244.0.1\"]},{"
		"\"addresses\":[\"10.244.0.2\"],\"hostname\":\"h\"}]}";
	static const char external[] =
		"{\"metadata\":{\"namespace\":\"d\",\"name\":\"e\"},\"spec\":{\"type\":"
		"\"ExternalName\",\"externalName\":\"x.test\"}}";
	static struct dns_zone *z;
	struct dns_zone_config cfg = {.domain = "c.l",
				      .ranges = {{0x0af40000, 16}, {0x0a600000, 16}}};
	struct um_arena *a = z ? NULL : um_arena_new(1 << 20);
	struct um_json *o, *l;

	if (z)
		return z;
	if (!a || dns_zone_new(&cfg, &z, NULL) < 0 ||
	    um_json_parse(a, service, sizeof(service) - 1, NULL, &o, NULL) < 0)
		abort();
	dns_zone_services_listed(z, um_json_new_arr(a));
	dns_zone_slices_listed(z, um_json_new_arr(a));
	dns_zone_put_service(z, o);
	if (um_json_parse(a, external, sizeof(external) - 1, NULL, &o, NULL) < 0 ||
	    um_json_parse(a, slice, sizeof(slice) - 1, NULL, &l, NULL) < 0)
		abort();
	dns_zone_put_service(z, o);
	dns_zone_put_slice(z, l);
	um_arena_free(a);
	return z;
}

/* What was written is an answer to the query. */
static void check(const uint8_t *msg, size_t len, size_t max, const struct um_dns_query *q)
{
	struct um_dns_answer a;

	if (len > max)
		abort();
	if (q->name.len && um_dns_answer_parse(msg, len, q->id, q, &a) < 0)
		abort();
}

static void as_query(const uint8_t *data, size_t size)
{
	static uint8_t out[UM_DNS_MSG_MAX], wire[300];
	struct um_dns_query q, again;
	struct um_dns_name target;
	struct um_dns_writer w;
	uint16_t flags = 0;
	int rcode = um_dns_query_parse(data, size, &q);

	if (rcode < 0)
		return;
	if (rcode == UM_DNS_NOERROR) {
		size_t n = um_dns_query_write(wire, q.id, &q);

		if (n > sizeof(wire) || um_dns_query_parse(wire, n, &again) != UM_DNS_NOERROR ||
		    !um_dns_name_equal(&q.name, &again.name) || again.type != q.type)
			abort();
	}
	um_dns_begin(&w, out, q.udp_size, &q);
	if (rcode == UM_DNS_NOERROR)
		(void)dns_zone_answer(zone(), &w, &flags, &rcode, &target);
	size = um_dns_end(&w, flags, rcode);
	if (!(q.flags & 0x7800))
		check(out, size, q.udp_size, &q);
}

/* The question is taken from the message itself: it fits always. */
static void as_answer(const uint8_t *data, size_t size)
{
	static uint8_t out[UM_DNS_MSG_MAX + 32];
	size_t at = UM_DNS_HEADER;
	struct um_dns_query q = {.udp_size = UM_DNS_UDP_MIN, .edns = size & 1};
	struct um_dns_answer a;
	struct um_dns_writer w;

	if (size < UM_DNS_HEADER || um_dns_name_read(data, size, &at, &q.name) < 0 || size - at < 4)
		return;
	q.id = (uint16_t)(data[0] << 8 | data[1]);
	q.type = (uint16_t)(data[at] << 8 | data[at + 1]);
	q.class = (uint16_t)(data[at + 2] << 8 | data[at + 3]);
	if (um_dns_answer_parse(data, size, q.id, &q, &a) < 0)
		return;
	check(out, um_dns_answer_pass(out, UM_DNS_UDP_MIN, data, &a, &q, 7), UM_DNS_UDP_MIN, &q);
	check(out, um_dns_answer_pass(out, sizeof(out), data, &a, &q, 7), sizeof(out), &q);
	um_dns_begin(&w, out, UM_DNS_UDP_MAX, &q);
	um_dns_put_answers_of(&w, data, size);
	check(out, um_dns_end(&w, 0, a.rcode), UM_DNS_UDP_MAX, &q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || size > UM_DNS_MSG_MAX)
		return 0;
	if (data[0] & 1)
		as_answer(data + 1, size - 1);
	else
		as_query(data + 1, size - 1);
	return 0;
}
