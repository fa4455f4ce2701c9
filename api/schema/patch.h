/* Inside api/schema: what the three kinds of patches share. */
#ifndef UM_API_SCHEMA_PATCH_H
#define UM_API_SCHEMA_PATCH_H

#include "api/schema/tables.h"

/* Fields of one object and items of one list in a patch: look-ups are linear. */
#define UM_PATCH_MAX_ITEMS 2048

/* Refuses patches that are wider than that anywhere. @lists: also lists. */
int um_patch_check_width(const struct um_json *patch, bool lists, struct um_error *err);
/* The end of every patch: -E2BIG when the arena has run full. */
int um_patch_done(struct um_arena *a, struct um_json *result, struct um_json **ret,
		  struct um_error *err);

#endif
