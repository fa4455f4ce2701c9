/* Annotations run.oci.*, with which crun's users ask for what config.json has no field for. Some
 * are honoured; any other is told by name, and is no error: the specification wants none. */
#ifndef UM_RUNTIME_ANNOTATIONS_H
#define UM_RUNTIME_ANNOTATIONS_H

#include "runtime/runtime.h"
#include "runtime/spec.h"

/* From the annotations of @s into s->asked. -EINVAL names the annotation. */
um_must_check int um_annotations_decode(struct um_spec *s, struct um_error *err);
/* Tells those that begin with run.oci. and have no effect. */
void um_annotations_warn(const struct um_runtime *rt, const struct um_spec *s);

#endif
