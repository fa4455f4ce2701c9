/* Events that controllers write: objects of kind Event in the volatile store. */
#ifndef UM_CONTROL_EVENT_H
#define UM_CONTROL_EVENT_H

#include "base/json.h"

struct um_loop;
struct um_store;

/* Records one about @involved (an object with kind and metadata). The same reason and message about
 * the same object within the life of the event count it up instead. A full store drops it: events
 * are hints. */
void um_event_record(struct um_loop *l, struct um_store *volatile_, const struct um_json *involved,
		     const char *component, const char *type, const char *reason,
		     const char *message);

#endif
