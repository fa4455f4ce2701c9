/* The bounds of a transaction, the same for all backends. */
#include <string.h>

#include "store/backend.h"

#define KEY_MAX_BYTES 1024

static int check_op(const struct um_store_op *op, struct um_error *err)
{
	size_t len = strlen(op->key);

	if (!len || len > KEY_MAX_BYTES)
		return um_error_set(err, -EINVAL, "a key of %zu bytes (1 to %d)", len,
				    KEY_MAX_BYTES);
	if (op->value && op->value->len > UM_STORE_VALUE_MAX)
		return um_error_set(err, -E2BIG, "%s: object of %zu bytes (at most %u)", op->key,
				    op->value->len, UM_STORE_VALUE_MAX);
	return 0;
}

int um_store_check_txn(size_t n_compares, const struct um_store_op *ops, size_t n,
		       struct um_error *err)
{
	if (!n || n > UM_STORE_OPS_MAX)
		return um_error_set(err, -EINVAL, "a transaction of %zu operations (1 to %d)", n,
				    UM_STORE_OPS_MAX);
	if (n_compares > UM_STORE_OPS_MAX)
		return um_error_set(err, -EINVAL, "a transaction with %zu compares (at most %d)",
				    n_compares, UM_STORE_OPS_MAX);
	for (size_t i = 0; i < n; i++) {
		int r = check_op(&ops[i], err);

		if (r < 0)
			return r;
		for (size_t k = 0; k < i; k++)
			if (!strcmp(ops[k].key, ops[i].key))
				return um_error_set(err, -EINVAL,
						    "%s stands twice in a transaction", ops[i].key);
	}
	return 0;
}
