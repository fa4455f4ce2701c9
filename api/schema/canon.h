/* Quantities in the form that Kubernetes gives them back: "0.5" -> "500m", "1024Mi" -> "1Gi". */
#ifndef UM_API_SCHEMA_CANON_H
#define UM_API_SCHEMA_CANON_H

#include <stddef.h>

#include "base/cleanup.h"

#define UM_CANON_LEN 64
/* 0, -EINVAL (no quantity), or -ERANGE: valid, but past what is normalised; keep it as written. */
um_must_check int um_canon_quantity(const char *s, char out[UM_CANON_LEN]);

#endif
