/* Kubernetes resource quantities: "100m", "1.5", "64Mi", "1e3", "2G".
 * Kept as an exact count of nano units would overflow for memory, so a value is parsed to the unit
 * that its user needs, rounded up as Kubernetes does. */
#ifndef UM_BASE_QUANTITY_H
#define UM_BASE_QUANTITY_H

#include <stdint.h>

#include "base/cleanup.h"

/* The value in whole units, rounded up (away from zero); values past int64 saturate, as in
 * Kubernetes. 0, or -EINVAL when the text is no quantity. */
um_must_check int um_quantity_value(const char *s, int64_t *ret);
/* The value in thousandths, rounded up: "100m" -> 100, "1" -> 1000. */
um_must_check int um_quantity_milli(const char *s, int64_t *ret);

#endif
