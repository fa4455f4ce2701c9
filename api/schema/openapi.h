/* Inside api/schema: the halves of the OpenAPI documents. */
#ifndef UM_API_SCHEMA_OPENAPI_H
#define UM_API_SCHEMA_OPENAPI_H

#include "api/schema/tables.h"

void um_so_str(struct um_buf *b, const char *s);
/* {"$ref":"#/components/schemas/..."} */
void um_so_ref(struct um_buf *b, const struct um_schema_set *s, const struct um_stype *t);
/* {"group":...,"version":...,"kind":...} */
void um_so_gvk(struct um_buf *b, const struct um_kind *k);
/* "/api/v1" or "/apis/<group>/<version>" */
void um_so_prefix(const struct um_kind *k, char *out, size_t size);
/* All paths of one kind. */
void um_so_paths(struct um_buf *b, const struct um_kind *k, bool *first);

#endif
