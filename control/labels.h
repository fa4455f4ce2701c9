/* Labels of objects and the selectors over them, on trees as the API keeps them (validated). */
#ifndef UM_CONTROL_LABELS_H
#define UM_CONTROL_LABELS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/json.h"

/* A LabelSelector (matchLabels, matchExpressions) holds for @labels (an object of strings; NULL: no
 * labels). An empty selector matches everything, NULL nothing. An unknown operator matches nothing.
 */
bool um_label_selector_matches(const struct um_json *selector, const struct um_json *labels);
/* The plain map form (Services): all of @map are among @labels. Empty or NULL matches nothing. */
bool um_label_map_matches(const struct um_json *map, const struct um_json *labels);

/* For small blocks that hold their labels behind themselves: the bytes that a copy of @labels
 * takes, and the copy in @room (aligned as a pointer is, that many bytes), which must outlive it.
 * NULL for no labels, which take 0 bytes. */
size_t um_labels_size(const struct um_json *labels);
const struct um_json *um_labels_copy(const struct um_json *labels, void *room);

#endif
