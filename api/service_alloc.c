#include "api/service_alloc.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "api/object.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/num.h"
#include "store/store.h"

/* ---- ranges ---- */

static int parse_cidr(const char *text, uint32_t *first, uint32_t *count)
{
	const char *slash = strchr(text, '/');
	char addr[INET_ADDRSTRLEN];
	struct in_addr in;
	int bits;

	if (!slash || (size_t)(slash - text) >= sizeof(addr) ||
	    um_num_int(slash + 1, 8, 28, &bits) < 0)
		return -EINVAL;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	if (inet_pton(AF_INET, addr, &in) != 1)
		return -EINVAL;
	*count = UINT32_C(1) << (32 - bits);
	*first = ntohl(in.s_addr);
	return *first & (*count - 1) ? -EINVAL : 0;
}

static int parse_ports(const char *text, struct um_service_ranges *ret)
{
	const char *dash = strchr(text, '-');
	uint64_t min, max;

	if (!dash || um_num_u64n(text, (size_t)(dash - text), 65535, &min) < 0 ||
	    um_num_u64(dash + 1, 65535, &max) < 0 || !min || min > max)
		return -EINVAL;
	ret->port_min = (uint16_t)min;
	ret->port_max = (uint16_t)max;
	return 0;
}

int um_service_ranges_parse(const char *addresses, const char *ports, const char *pods,
			    struct um_service_ranges *ret, struct um_error *err)
{
	uint32_t first, count;

	if (parse_cidr(addresses, &ret->first, &ret->count) < 0)
		return um_error_set(err, -EINVAL,
				    "service range %s: must be an IPv4 network like 10.96.0.0/16, "
				    "from /8 to /28",
				    addresses);
	if (parse_ports(ports, ret) < 0)
		return um_error_set(err, -EINVAL, "node ports %s: must be like 30000-32767", ports);
	if (!pods)
		return 0;
	if (parse_cidr(pods, &first, &count) < 0)
		return um_error_set(err, -EINVAL,
				    "pod range %s: must be an IPv4 network like 10.244.0.0/16, "
				    "from /8 to /28",
				    pods);
	if (first < ret->first + ret->count && ret->first < first + count)
		return um_error_set(err, -EINVAL, "service range %s overlaps the pod range %s",
				    addresses, pods);
	return 0;
}

static void address_text(uint32_t ip, char text[16])
{
	struct in_addr in = {htonl(ip)};

	inet_ntop(AF_INET, &in, text, 16);
}

void um_service_ranges_own(const struct um_service_ranges *r, char text[16])
{
	address_text(r->first + 1, text);
}

int um_service_ranges_set_dns(struct um_service_ranges *r, const char *address,
			      struct um_error *err)
{
	struct in_addr in;

	if (inet_pton(AF_INET, address, &in) != 1 || ntohl(in.s_addr) <= r->first + 1 ||
	    ntohl(in.s_addr) >= r->first + r->count - 1)
		return um_error_set(err, -EINVAL,
				    "cluster DNS address %s is not one of the service range's",
				    address);
	r->dns = ntohl(in.s_addr);
	return 0;
}

/* ---- who has what ---- */

#define PORT_ID(n) (UINT64_C(1) << 32 | (uint64_t)(n)) /* others are addresses */

/* An address or a port that somebody has: stored, or in writes in flight. */
struct taken {
	uint64_t id, owner;
	unsigned count;
	UT_hash_handle hh;
};

/* What one Service has. */
struct um_service_hold {
	char *key;
	uint64_t owner;
	size_t n;
	uint64_t *ids;
	UT_hash_handle hh; /* of those that are stored */
};

struct um_service_allocs {
	struct um_store *store;
	struct um_service_ranges r;
	struct um_store_watch *watch;
	struct taken *taken;
	struct um_service_hold *stored;
	char prefix[UM_OBJECT_KEY_MAX];
};

static struct taken *find(const struct um_service_allocs *s, uint64_t id)
{
	struct taken *t;

	HASH_FIND(hh, s->taken, &id, sizeof(id), t);
	return t;
}

/* Out of memory leaves it out: then it could be given out twice, so the caller must know. */
static int take(struct um_service_allocs *s, uint64_t id, uint64_t owner)
{
	struct taken *t = find(s, id);

	if (t) {
		t->count++;
		return 0;
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->id = id;
	t->owner = owner;
	t->count = 1;
	HASH_ADD(hh, s->taken, id, sizeof(t->id), t);
	if (find(s, id))
		return 0;
	free(t);
	return -ENOMEM;
}

static void give_back(struct um_service_allocs *s, uint64_t id)
{
	struct taken *t = find(s, id);

	if (!t || --t->count)
		return;
	HASH_DEL(s->taken, t);
	free(t);
}

static bool taken_by_other(const struct um_service_allocs *s, uint64_t id, uint64_t owner)
{
	const struct taken *t = find(s, id);

	return t && t->owner != owner;
}

static uint64_t owner_of(const struct um_json *obj)
{
	const char *uid = um_json_get_str(obj, "metadata.uid", "");

	return um_hash_bytes(uid, strlen(uid));
}

static bool read_address(const char *text, uint32_t *ret)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	*ret = ntohl(in.s_addr);
	return true;
}

/* ---- what an object has ---- */

static void hold_free(struct um_service_hold *h)
{
	if (!h)
		return;
	free(h->ids);
	free(h->key);
	free(h);
}

static bool hold_has(const struct um_service_hold *h, uint64_t id)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->ids[i] == id)
			return true;
	return false;
}

/* Each id once: protocols may share a node port. */
static void hold_add(struct um_service_hold *h, uint64_t id)
{
	if (!hold_has(h, id))
		h->ids[h->n++] = id;
}

static struct um_service_hold *hold_of(const char *key, const struct um_json *obj)
{
	const struct um_json *spec = um_json_get(obj, "spec");
	const struct um_json *ports = um_json_get(spec, "ports");
	struct um_service_hold *h = calloc(1, sizeof(*h));
	uint32_t ip;

	if (!h)
		return NULL;
	h->key = strdup(key);
	h->owner = owner_of(obj);
	h->ids = calloc((ports ? ports->len : 0) + 1, sizeof(*h->ids));
	if (!h->key || !h->ids) {
		hold_free(h);
		return NULL;
	}
	if (read_address(um_json_get_str(spec, "clusterIP", ""), &ip))
		hold_add(h, ip);
	um_json_foreach (it, ports) {
		int64_t number = um_json_get_i64(it, "nodePort", 0);

		if (number > 0 && number < 65536)
			hold_add(h, PORT_ID(number));
	}
	return h;
}

static void hold_end(struct um_service_allocs *s, struct um_service_hold *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->n; i++)
		give_back(s, h->ids[i]);
	hold_free(h);
}

static struct um_service_hold *hold_begin(struct um_service_allocs *s, const char *key,
					  const struct um_json *obj)
{
	struct um_service_hold *h = hold_of(key, obj);

	for (size_t i = 0; h && i < h->n; i++) {
		if (take(s, h->ids[i], h->owner) == 0)
			continue;
		h->n = i;
		hold_end(s, h);
		return NULL;
	}
	return h;
}

/* ---- the stored objects ---- */

static void forget(struct um_service_allocs *s, const char *key)
{
	struct um_service_hold *h;

	HASH_FIND_STR(s->stored, key, h);
	if (!h)
		return;
	HASH_DEL(s->stored, h);
	hold_end(s, h);
}

/* Counts the new before the old is given back, so that what stays is never free. */
static void note(struct um_service_allocs *s, const char *key, const struct um_bytes *value)
{
	struct um_arena *a = value ? um_arena_new(UM_OBJECT_ARENA_MAX) : NULL;
	struct um_json *obj = a ? um_object_parse(value, 0, a) : NULL;
	struct um_service_hold *h = obj ? hold_begin(s, key, obj) : NULL, *found;

	um_arena_free(a);
	if (value && !h) {
		um_log(UM_LOG_ERROR, "a service's addresses are not known: out of memory",
		       UM_LOG_STR("key", key));
		return;
	}
	forget(s, key);
	if (!h)
		return;
	HASH_ADD_KEYPTR(hh, s->stored, h->key, strlen(h->key), h);
	HASH_FIND_STR(s->stored, key, found);
	if (!found)
		hold_end(s, h);
}

static void on_event(void *arg, const struct um_store_event *ev)
{
	note(arg, ev->key, ev->value);
}

static bool on_existing(void *arg, const struct um_store_kv *kv)
{
	struct um_service_allocs *s = arg;
	struct um_service_hold *h;

	note(s, kv->key, kv->value);
	HASH_FIND_STR(s->stored, kv->key, h);
	for (size_t i = 0; h && i < h->n; i++)
		if (taken_by_other(s, h->ids[i], h->owner))
			um_log(UM_LOG_WARN, "two services have the same address or node port",
			       UM_LOG_STR("key", kv->key));
	return true;
}

int um_service_allocs_new(struct um_store *store, const struct um_service_ranges *r,
			  struct um_service_allocs **ret, struct um_error *err)
{
	const struct um_kind *k = um_schema_find_resource("", "v1", "services");
	struct um_service_allocs *s = calloc(1, sizeof(*s));
	int x;

	if (!s || !k || um_object_key(s->prefix, k, NULL, NULL) < 0) {
		free(s);
		return um_error_set(err, -ENOMEM, "services: out of memory");
	}
	s->store = store;
	s->r = *r;
	x = um_store_watch_new(store, s->prefix, um_store_rev(store), on_event, s, &s->watch, err);
	if (x < 0) {
		free(s);
		return x;
	}
	um_store_list(store, s->prefix, NULL, on_existing, s);
	*ret = s;
	return 0;
}

void um_service_allocs_stop(struct um_service_allocs *s)
{
	if (!s)
		return;
	um_store_watch_free(TAKE_PTR(s->watch));
}

void um_service_allocs_free(struct um_service_allocs *s)
{
	struct um_service_hold *h, *next;
	struct taken *t, *after;

	if (!s)
		return;
	um_service_allocs_stop(s);
	HASH_ITER (hh, s->stored, h, next) {
		HASH_DEL(s->stored, h);
		hold_end(s, h);
	}
	HASH_ITER (hh, s->taken, t, after) {
		HASH_DEL(s->taken, t);
		free(t);
	}
	free(s);
}

struct um_service_hold *um_service_allocs_hold(struct um_service_allocs *s, const char *key,
					       const struct um_json *obj)
{
	return hold_begin(s, key, obj);
}

void um_service_allocs_release(struct um_service_allocs *s, struct um_service_hold *h)
{
	struct um_store_kv kv;

	if (!h)
		return;
	/* The watch tells the same, but perhaps a moment later. */
	if (s->watch)
		note(s, h->key, um_store_get(s->store, h->key, &kv) == 0 ? kv.value : NULL);
	hold_end(s, h);
}

/* ---- giving out ---- */

/* One of @count numbers from @base that nobody has, chosen at random so that a number that was
 * given back is not given to the next at once. The first @quiet stay free for those who ask for
 * one by name, as long as there are others. -1: all are taken. */
static int64_t pick(const struct um_service_allocs *s, uint64_t base, uint32_t count,
		    uint32_t quiet, bool (*ok)(void *arg, uint64_t id), void *arg)
{
	const struct {
		uint32_t from, n;
	} bands[] = {{quiet, count - quiet}, {0, quiet}};

	for (size_t b = 0; b < UM_ARRAY_LEN(bands); b++) {
		uint32_t start = 0;

		if (!bands[b].n)
			continue;
		while (getrandom(&start, sizeof(start), 0) != (ssize_t)sizeof(start))
			;
		start %= bands[b].n;
		for (uint32_t i = 0; i < bands[b].n; i++) {
			uint32_t at = bands[b].from + (start + i) % bands[b].n;

			if (!find(s, base + at) && ok(arg, base + at))
				return at;
		}
	}
	return -1;
}

static uint32_t clamp(uint32_t v, uint32_t min, uint32_t max)
{
	return v < min ? min : v > max ? max : v;
}

/* The API's address and that of cluster DNS are for one Service each. */
static bool reserved_for_other(const struct um_service_allocs *s, uint64_t id,
			       const struct um_json *obj)
{
	const char *ns = um_json_get_str(obj, "metadata.namespace", "");
	const char *name = um_json_get_str(obj, "metadata.name", "");

	if (id == s->r.first + 1)
		return strcmp(name, "kubernetes") != 0 || strcmp(ns, "default") != 0;
	return s->r.dns && id == s->r.dns &&
	       (strcmp(name, "kube-dns") != 0 || strcmp(ns, "kube-system") != 0);
}

static bool not_reserved(void *arg, uint64_t id)
{
	return !reserved_for_other(arg, id, NULL);
}

static void bad_address(struct um_causes *causes, const char *ip, const char *why)
{
	um_cause_add(causes, "FieldValueInvalid", "spec.clusterIPs",
		     "Invalid value: [\"%s\"]: failed to allocate IP %s: %s", ip, ip, why);
}

static void check_address(struct um_service_allocs *s, const struct um_json *obj, const char *ip,
			  struct um_causes *causes)
{
	char why[160], from[16];
	uint32_t n;

	if (!read_address(ip, &n) || n <= s->r.first || n >= s->r.first + s->r.count - 1) {
		address_text(s->r.first, from);
		snprintf(
			why, sizeof(why),
			"the provided IP (%s) is not in the valid range. The range of valid IPs is "
			"%s/%d",
			ip, from, 32 - __builtin_ctz(s->r.count));
		bad_address(causes, ip, why);
	} else if (taken_by_other(s, n, owner_of(obj)) || reserved_for_other(s, n, obj)) {
		bad_address(causes, ip, "provided IP is already allocated");
	}
}

static int fill_address(struct um_service_allocs *s, struct um_json *obj, const struct um_json *old,
			struct um_arena *a, struct um_causes *causes, struct um_error *err)
{
	struct um_json *spec = um_json_get(obj, "spec"), *list;
	const char *ip = um_json_get_str(spec, "clusterIP", "");
	uint32_t usable = s->r.count - 2;
	char text[16];
	int64_t at;

	if (!um_service_needs_ip(spec) || !strcmp(ip, "None"))
		return 0;
	if (*ip) {
		if (!old || strcmp(ip, um_json_get_str(old, "spec.clusterIP", "")))
			check_address(s, obj, ip, causes);
		return 0;
	}
	at = pick(s, s->r.first + 1, usable, usable > 16 ? clamp(usable / 16, 16, 256) % usable : 1,
		  not_reserved, s);
	if (at < 0)
		return um_error_set(err, -EIO, "failed to allocate a serviceIP: range is full");
	address_text(s->r.first + 1 + (uint32_t)at, text);
	um_json_set_str(a, spec, "clusterIP", text);
	list = um_json_set(a, spec, "clusterIPs", um_json_new_arr(a));
	um_json_append(list, um_json_new_str(a, text));
	return 0;
}

static bool not_in_spec(void *arg, uint64_t id)
{
	um_json_foreach (it, um_json_get(arg, "ports"))
		if (PORT_ID(um_json_get_i64(it, "nodePort", 0)) == id)
			return false;
	return true;
}

static bool had_node_port(const struct um_json *old, int64_t number)
{
	um_json_foreach (it, um_json_path(old, "spec.ports"))
		if (um_json_get_i64(it, "nodePort", 0) == number)
			return true;
	return false;
}

static void check_node_port(struct um_service_allocs *s, const struct um_json *obj,
			    const struct um_json *old, int64_t number, unsigned index,
			    struct um_causes *causes)
{
	char path[64];

	snprintf(path, sizeof(path), "spec.ports[%u].nodePort", index);
	if (old && had_node_port(old, number))
		return;
	if (number < s->r.port_min || number > s->r.port_max)
		um_cause_add(causes, "FieldValueInvalid", path,
			     "Invalid value: %lld: provided port is not in the valid range. The "
			     "range of valid ports is %u-%u",
			     (long long)number, s->r.port_min, s->r.port_max);
	else if (taken_by_other(s, PORT_ID(number), owner_of(obj)))
		um_cause_add(causes, "FieldValueInvalid", path,
			     "Invalid value: %lld: provided port is already allocated",
			     (long long)number);
}

/* The node port of another protocol of the same port: they share it. */
static int64_t shared_node_port(const struct um_json *ports, const struct um_json *port)
{
	um_json_foreach (it, ports) {
		int64_t number = um_json_get_i64(it, "nodePort", 0);

		if (it != port && number &&
		    um_json_get_i64(it, "port", 0) == um_json_get_i64(port, "port", -1) &&
		    !um_json_equal(um_json_get(it, "protocol"), um_json_get(port, "protocol")))
			return number;
	}
	return 0;
}

static int fill_node_ports(struct um_service_allocs *s, struct um_json *obj,
			   const struct um_json *old, struct um_arena *a, struct um_causes *causes,
			   struct um_error *err)
{
	struct um_json *spec = um_json_get(obj, "spec"), *ports = um_json_get(spec, "ports");
	uint32_t count = (uint32_t)(s->r.port_max - s->r.port_min) + 1;
	uint32_t quiet = count < 16 ? 0 : clamp(count / 32, 16, 128) % count;
	unsigned i = 0;

	if (!um_service_needs_node_ports(spec))
		return 0;
	um_json_foreach (it, ports) {
		int64_t number = um_json_get_i64(it, "nodePort", 0);

		if (number) {
			check_node_port(s, obj, old, number, i++, causes);
			continue;
		}
		i++;
		number = shared_node_port(ports, it);
		if (!number) {
			int64_t at =
				pick(s, PORT_ID(s->r.port_min), count, quiet, not_in_spec, spec);

			if (at < 0)
				return um_error_set(err, -EIO,
						    "failed to allocate a nodePort: range is full");
			number = s->r.port_min + at;
		}
		um_json_set_i64(a, it, "nodePort", number);
	}
	return 0;
}

int um_service_allocs_fill(struct um_service_allocs *s, struct um_json *obj,
			   const struct um_json *old, struct um_arena *a, struct um_causes *causes,
			   struct um_error *err)
{
	unsigned before = causes->n;
	int r = fill_address(s, obj, old, a, causes, err);

	if (!r)
		r = fill_node_ports(s, obj, old, a, causes, err);
	if (r < 0)
		return r;
	if (um_arena_failed(a))
		return -ENOMEM;
	return causes->n == before ? 0 : -EINVAL;
}
