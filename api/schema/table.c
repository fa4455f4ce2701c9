/* Table columns and cells for the small kinds; pods are in table_pod.c. */
#include "api/schema/table.h"

#include <string.h>
#include <strings.h>

#include "base/clock.h"

void um_scell(struct um_json *row, struct um_arena *a, const char *text)
{
	um_json_append(row, um_json_new_str(a, text));
}

void um_scell_i64(struct um_json *row, struct um_arena *a, int64_t n)
{
	um_json_append(row, um_json_new_i64(a, n));
}

void um_sduration(int64_t ns, char out[UM_DURATION_LEN])
{
	int64_t s = ns / UM_NSEC_PER_SEC, m = s / 60, h = m / 60, d = h / 24;
	size_t size = UM_DURATION_LEN;

	if (s < -1)
		snprintf(out, size, "<invalid>");
	else if (s < 0)
		snprintf(out, size, "0s");
	else if (s < 120)
		snprintf(out, size, "%llds", (long long)s);
	else if (m < 10 && s % 60)
		snprintf(out, size, "%lldm%llds", (long long)m, (long long)(s % 60));
	else if (m < 180)
		snprintf(out, size, "%lldm", (long long)m);
	else if (h < 8 && m % 60)
		snprintf(out, size, "%lldh%lldm", (long long)h, (long long)(m % 60));
	else if (h < 48)
		snprintf(out, size, "%lldh", (long long)h);
	else if (h < 192 && h % 24)
		snprintf(out, size, "%lldd%lldh", (long long)d, (long long)(h % 24));
	else if (h < 24 * 365 * 2)
		snprintf(out, size, "%lldd", (long long)d);
	else if (h < 24 * 365 * 8 && d % 365)
		snprintf(out, size, "%lldy%lldd", (long long)(d / 365), (long long)(d % 365));
	else
		snprintf(out, size, "%lldy", (long long)(d / 365));
}

void um_sage(const char *time, int64_t now_ns, char out[UM_DURATION_LEN])
{
	int64_t ns;

	if (!time || um_time_parse(time, &ns) < 0)
		snprintf(out, UM_DURATION_LEN, "<unknown>");
	else
		um_sduration(now_ns - ns, out);
}

void um_scell_age(struct um_json *row, struct um_arena *a, const char *time, int64_t now_ns)
{
	char age[UM_DURATION_LEN];

	um_sage(time, now_ns, age);
	um_scell(row, a, age);
}

static void name_cell(struct um_json *row, const struct um_json *obj, struct um_arena *a)
{
	um_scell(row, a, um_json_get_str(obj, "metadata.name", ""));
}

static void created_cell(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			 struct um_arena *a)
{
	um_scell_age(row, a, um_json_get_str(obj, "metadata.creationTimestamp", NULL), now_ns);
}

/* ---- nodes ---- */

const char *const um_scolumns_node[] = {
	"Name|string|0|The node's name.",
	"Status|string|0|Whether the node is ready, and whether new pods are kept away.",
	"Roles|string|0|What the node-role labels say.",
	"Age|string|0|Time since the node was registered.",
	"Version|string|0|The agent's version.",
	"Internal-IP|string|1|Address inside the cluster.",
	"External-IP|string|1|Address outside the cluster.",
	"OS-Image|string|1|The operating system.",
	"Kernel-Version|string|1|The kernel.",
	"Container-Runtime|string|1|The container runtime.",
	NULL};

static void node_status(const struct um_json *obj, struct um_buf *b)
{
	um_json_foreach (it, um_json_path(obj, "status.conditions"))
		if (um_json_streq(um_json_get(it, "type"), "Ready"))
			um_buf_adds(b, um_json_streq(um_json_get(it, "status"), "True")
					       ? "Ready"
					       : "NotReady");
	if (!b->len)
		um_buf_adds(b, "Unknown");
	if (um_json_get_bool(obj, "spec.unschedulable", false))
		um_buf_adds(b, ",SchedulingDisabled");
}

#define MAX_ROLES 16

static void node_roles(const struct um_json *obj, struct um_buf *b)
{
	const char *roles[MAX_ROLES];
	size_t n = 0;

	um_json_foreach (it, um_json_path(obj, "metadata.labels")) {
		const char *role = NULL;
		size_t i;

		if (!strncmp(it->key, "node-role.kubernetes.io/", 24))
			role = it->key + 24;
		else if (!strcmp(it->key, "kubernetes.io/role"))
			role = um_json_str(it, "");
		if (!role || !*role || n == MAX_ROLES)
			continue;
		for (i = n++; i && strcmp(roles[i - 1], role) > 0; i--)
			roles[i] = roles[i - 1];
		roles[i] = role;
	}
	for (size_t i = 0; i < n; i++)
		um_buf_addf(b, "%s%s", i ? "," : "", roles[i]);
	if (!n)
		um_buf_adds(b, "<none>");
}

static const char *node_address(const struct um_json *obj, const char *type)
{
	um_json_foreach (it, um_json_path(obj, "status.addresses"))
		if (um_json_streq(um_json_get(it, "type"), type))
			return um_json_get_str(it, "address", "<none>");
	return "<none>";
}

void um_scells_node(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		    struct um_arena *a)
{
	static const char *const info[] = {"osImage", "kernelVersion", "containerRuntimeVersion"};
	_cleanup_buf_ struct um_buf status = UM_BUF_INIT(200);
	_cleanup_buf_ struct um_buf roles = UM_BUF_INIT(8192);

	node_status(obj, &status);
	node_roles(obj, &roles);
	name_cell(row, obj, a);
	um_scell(row, a, um_buf_str(&status));
	um_scell(row, a, um_buf_str(&roles));
	created_cell(row, obj, now_ns, a);
	um_scell(row, a, um_json_get_str(obj, "status.nodeInfo.kubeletVersion", ""));
	um_scell(row, a, node_address(obj, "InternalIP"));
	um_scell(row, a, node_address(obj, "ExternalIP"));
	for (size_t i = 0; i < UM_ARRAY_LEN(info); i++) {
		const char *s =
			um_json_str(um_json_get(um_json_path(obj, "status.nodeInfo"), info[i]), "");

		um_scell(row, a, *s ? s : "<unknown>");
	}
}

/* ---- namespaces, configuration, leases ---- */

const char *const um_scolumns_namespace[] = {"Name|string|0|The namespace's name.",
					     "Status|string|0|Active or Terminating.",
					     "Age|string|0|Time since it was made.", NULL};

void um_scells_namespace(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			 struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell(row, a, um_json_get_str(obj, "status.phase", ""));
	created_cell(row, obj, now_ns, a);
}

const char *const um_scolumns_config_map[] = {"Name|string|0|The ConfigMap's name.",
					      "Data|string|0|How many keys it has.",
					      "Age|string|0|Time since it was made.", NULL};

static int64_t count(const struct um_json *obj, const char *field)
{
	const struct um_json *n = um_json_get(obj, field);

	return n ? n->len : 0;
}

void um_scells_config_map(struct um_json *row, const struct um_json *obj, int64_t now_ns,
			  struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell_i64(row, a, count(obj, "data") + count(obj, "binaryData"));
	created_cell(row, obj, now_ns, a);
}

const char *const um_scolumns_secret[] = {
	"Name|string|0|The Secret's name.", "Type|string|0|What its keys mean.",
	"Data|string|0|How many keys it has.", "Age|string|0|Time since it was made.", NULL};

void um_scells_secret(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		      struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell(row, a, um_json_get_str(obj, "type", ""));
	um_scell_i64(row, a, count(obj, "data"));
	created_cell(row, obj, now_ns, a);
}

const char *const um_scolumns_lease[] = {"Name|string|0|The lease's name.",
					 "Holder|string|0|Who holds it.",
					 "Age|string|0|Time since it was made.", NULL};

void um_scells_lease(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a)
{
	name_cell(row, obj, a);
	um_scell(row, a, um_json_get_str(obj, "spec.holderIdentity", ""));
	created_cell(row, obj, now_ns, a);
}

/* ---- events ---- */

const char *const um_scolumns_event[] = {"Last Seen|string|0|Time since it happened last.",
					 "Type|string|0|Normal or Warning.",
					 "Reason|string|0|One word that says what happened.",
					 "Object|string|0|What it happened to.",
					 "Subobject|string|1|The part it happened to.",
					 "Source|string|1|Who reports it.",
					 "Message|string|0|Text for people.",
					 "First Seen|string|1|Time since it happened first.",
					 "Count|string|1|How often it happened.",
					 "Name|string|1|The event's name.",
					 NULL};

static void event_object(const struct um_json *obj, struct um_buf *b)
{
	const char *kind = um_json_get_str(obj, "involvedObject.kind", "");
	const char *name = um_json_get_str(obj, "involvedObject.name", "");

	for (; *kind; kind++)
		um_buf_addc(b, *kind >= 'A' && *kind <= 'Z' ? (char)(*kind + 32) : *kind);
	if (*name)
		um_buf_addf(b, "/%s", name);
}

static const char *event_source(const struct um_json *obj, struct um_arena *a)
{
	const char *component = um_json_get_str(obj, "source.component", "");
	const char *host = um_json_get_str(obj, "source.host", "");

	if (!*component)
		component = um_json_get_str(obj, "reportingComponent", "");
	return *host ? um_arena_printf(a, "%s, %s", component, host) : component;
}

void um_scells_event(struct um_json *row, const struct um_json *obj, int64_t now_ns,
		     struct um_arena *a)
{
	_cleanup_buf_ struct um_buf object = UM_BUF_INIT(2048);
	const char *first = um_json_get_str(obj, "firstTimestamp", NULL), *last;
	const char *message = um_json_get_str(obj, "message", "");
	int64_t n = um_json_get_i64(obj, "count", 0);
	size_t len;

	if (!first)
		first = um_json_get_str(obj, "eventTime", NULL);
	last = um_json_get_str(obj, "lastTimestamp", first);
	if (um_json_get(obj, "series")) {
		last = um_json_get_str(obj, "series.lastObservedTime", last);
		n = um_json_get_i64(obj, "series.count", n);
	}
	event_object(obj, &object);
	message += strspn(message, " \t\n\r");
	for (len = strlen(message); len && strchr(" \t\n\r", message[len - 1]);)
		len--;
	um_scell_age(row, a, last, now_ns);
	um_scell(row, a, um_json_get_str(obj, "type", ""));
	um_scell(row, a, um_json_get_str(obj, "reason", ""));
	um_scell(row, a, um_buf_str(&object));
	um_scell(row, a, um_json_get_str(obj, "involvedObject.fieldPath", ""));
	um_scell(row, a, event_source(obj, a));
	um_json_append(row, um_json_new_strn(a, message, len));
	um_scell_age(row, a, first, now_ns);
	um_scell_i64(row, a, n ? n : 1);
	name_cell(row, obj, a);
}

/* ---- any kind ---- */

static const char *const default_columns[] = {"Name|string|0|The object's name.",
					      "Age|string|0|Time since it was made.", NULL};

struct um_json *um_schema_table_columns(const struct um_kind *kind, struct um_arena *a)
{
	const struct um_kind_ops *ops = um_kind_ops_of(kind);
	const char *const *c = ops && ops->columns ? ops->columns : default_columns;
	struct um_json *columns = um_json_new_arr(a);

	for (; *c; c++) {
		struct um_json *column = um_json_append(columns, um_json_new_obj(a));
		const char *type = strchr(*c, '|') + 1, *priority = strchr(type, '|') + 1;
		bool name = !strncmp(*c, "Name|", 5);

		um_json_set(a, column, "name", um_json_new_strn(a, *c, (size_t)(type - *c) - 1));
		um_json_set(a, column, "type",
			    um_json_new_strn(a, type, (size_t)(priority - type) - 1));
		um_json_set_str(a, column, "format", name ? "name" : "");
		um_json_set_str(a, column, "description", priority + 2);
		um_json_set_i64(a, column, "priority", *priority - '0');
	}
	return um_arena_failed(a) ? NULL : columns;
}

struct um_json *um_schema_table_cells(const struct um_kind *kind, const struct um_json *obj,
				      int64_t now_wall_ns, struct um_arena *a)
{
	const struct um_kind_ops *ops = um_kind_ops_of(kind);
	struct um_json *row = um_json_new_arr(a);

	if (ops && ops->cells) {
		ops->cells(row, obj, now_wall_ns, a);
	} else {
		name_cell(row, obj, a);
		created_cell(row, obj, now_wall_ns, a);
	}
	return um_arena_failed(a) ? NULL : row;
}
