/* The memory backend, for kinds that need not outlive a server: leases and events. */
#include "store/backend.h"

static void commit(um_unused void *be, struct um_store_batch *b)
{
	b->result = 0;
}

static void close_volatile(um_unused void *be)
{
}

static const struct um_store_backend backend = {
	.commit = commit,
	.close = close_volatile,
};

int um_store_open_volatile(struct um_loop *l, int64_t epoch, size_t max_bytes,
			   struct um_store **ret, struct um_error *err)
{
	struct um_store_config cfg = {
		.backend = &backend,
		.history_events = 4096,
		.history_bytes = 1 << 20,
		.max_value_bytes = max_bytes,
		.first_rev = epoch << 40,
	};
	int r;

	if (epoch <= 0 || epoch >= INT64_C(1) << 22)
		return um_error_set(err, -EINVAL, "boot epoch %lld is out of range",
				    (long long)epoch);
	r = um_store_new(l, &cfg, ret);
	return r < 0 ? um_error_errno(err, r, "open the volatile store") : 0;
}
