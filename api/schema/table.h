/* Inside api/schema: cells of tables, as kubectl's users know them. */
#ifndef UM_API_SCHEMA_TABLE_H
#define UM_API_SCHEMA_TABLE_H

#include "api/schema/kind_ops.h"

#define UM_DURATION_LEN 48

/* "5s", "3m20s", "4d": two units at most, as kubectl shows ages. */
void um_sduration(int64_t ns, char out[UM_DURATION_LEN]);
/* The age of a RFC 3339 time; "<unknown>" for NULL. */
void um_sage(const char *time, int64_t now_ns, char out[UM_DURATION_LEN]);

void um_scell(struct um_json *row, struct um_arena *a, const char *text);
void um_scell_i64(struct um_json *row, struct um_arena *a, int64_t n);
void um_scell_age(struct um_json *row, struct um_arena *a, const char *time, int64_t now_ns);

#endif
