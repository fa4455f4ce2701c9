/* config.json: what is understood, and that what is wrong is refused by the field's name. */
#include <criterion/criterion.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "runtime/spec.h"

static struct um_arena *arena;

static void set_up(void)
{
	arena = um_arena_new(16 << 20);
}
static void tear_down(void)
{
	um_arena_free(arena);
}
TestSuite(oci_spec, .init = set_up, .fini = tear_down);

/* The parts of a config, each replaceable by a text of its own. */
struct parts {
	const char *top, *process, *linux_more, *ns;
};

static int decode(struct parts p, struct um_spec **ret, struct um_error *err)
{
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(1 << 20);
	struct um_json *json;

	um_buf_addf(&b,
		    "{\"root\": {\"path\": \"rootfs\"}, %s%s\"process\": {\"cwd\": \"/\", "
		    "\"args\": [\"a\"]%s%s}, \"linux\": {\"namespaces\": [{\"type\": \"mount\"}%s]"
		    "%s%s}}",
		    p.top && strstr(p.top, "ociVersion") ? "" : "\"ociVersion\": \"1.1.0\", ",
		    p.top ? p.top : "", p.process ? ", " : "", p.process ? p.process : "",
		    p.ns ? p.ns : "", p.linux_more ? ", " : "", p.linux_more ? p.linux_more : "");
	cr_assert_eq(um_json_parse(arena, um_buf_str(&b), b.len, NULL, &json, err), 0, "%s: %s",
		     um_buf_str(&b), err->msg);
	return um_spec_decode(arena, json, ret, err);
}

static struct um_spec *good(struct parts p)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_spec *s = NULL;

	cr_assert_eq(decode(p, &s, &err), 0, "%s", err.msg);
	return s;
}

Test(oci_spec, the_smallest_config)
{
	struct um_spec *s = good((struct parts){0});

	cr_expect_str_eq(s->root_path, "rootfs");
	cr_expect_not(s->root_readonly);
	cr_expect(s->has_process && s->process.args.n == 1);
	cr_expect_str_eq(s->process.args.v[0], "a");
	cr_expect_eq(s->process.umask, -1);
	cr_expect_eq(s->process.oom_score_adj, UM_CG_UNSET);
	cr_expect_eq(s->process.ioprio, -1);
	cr_expect_not(s->process.has_caps);
	cr_expect_eq(s->personality, -1);
	cr_expect_null(s->cgroups_path);
	cr_expect_eq(s->limits.pids, UM_CG_UNSET);
	cr_expect(s->ns[UM_NS_MOUNT].present && !s->ns[UM_NS_MOUNT].path);
	cr_expect_not(s->ns[UM_NS_PID].present);
}

Test(oci_spec, a_process)
{
	struct um_spec_process *p =
		&good((struct parts){
			      .process =
				      "\"user\": {\"uid\": 4294967294, \"gid\": 2, \"umask\": 63, "
				      "\"additionalGids\": [3, 4]}, \"env\": [\"A=b\", \"C=\"],"
				      "\"terminal\": true, \"noNewPrivileges\": true,"
				      "\"capabilities\": {\"bounding\": [\"CAP_CHOWN\", "
				      "\"CAP_UNHEARD_OF\"], \"ambient\": [\"CAP_BPF\"]},"
				      "\"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"soft\": 1, "
				      "\"hard\": 18446744073709551615}], \"oomScoreAdj\": -5,"
				      "\"ioPriority\": {\"class\": \"IOPRIO_CLASS_BE\", "
				      "\"priority\": 3}, \"consoleSize\": {\"height\": 5, "
				      "\"width\": "
				      "6}"})
			 ->process;

	cr_expect_eq(p->uid, 4294967294);
	cr_expect_eq(p->umask, 077);
	cr_expect(p->n_additional_gids == 2 && p->additional_gids[1] == 4);
	cr_expect(p->terminal && p->no_new_privileges && p->has_caps);
	cr_expect_eq(p->caps[UM_CAP_BOUNDING], 1);
	cr_expect_eq(p->caps[UM_CAP_AMBIENT], UINT64_C(1) << 39);
	cr_expect_eq(p->caps[UM_CAP_EFFECTIVE], 0);
	cr_expect_eq(p->rlimits[0].resource, RLIMIT_NOFILE);
	cr_expect_eq(p->rlimits[0].hard, UINT64_MAX);
	cr_expect_eq(p->oom_score_adj, -5);
	cr_expect_eq(p->ioprio, 2 << 13 | 3);
	cr_expect(p->console_height == 5 && p->console_width == 6);
}

Test(oci_spec, mounts)
{
	struct um_spec *s = good((struct parts){
		.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"tmpfs\", \"source\": "
		       "\"t\", \"options\": [\"nosuid\", \"ro\", \"rw\", \"size=1k\", "
		       "\"noatime\"]}, {\"destination\": \"/b\", \"source\": \"/x\", "
		       "\"options\": [\"rbind\", \"rro\", \"rslave\"]}],"});

	cr_assert_eq(s->n_mounts, 2);
	cr_expect_eq(s->mounts[0].attr_set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOATIME);
	cr_expect(s->mounts[0].attr_clr & MOUNT_ATTR_RDONLY, "the last of two contrary options");
	cr_expect_not(s->mounts[0].read_only);
	cr_expect(s->mounts[0].data.n == 1 && !strcmp(s->mounts[0].data.v[0], "size=1k"));
	cr_expect(s->mounts[1].bind && s->mounts[1].recursive);
	cr_expect_eq(s->mounts[1].rec_attr_set, MOUNT_ATTR_RDONLY);
	cr_expect_eq(s->mounts[1].rec_propagation, MS_SLAVE);
}

Test(oci_spec, unknown_names_are_ignored_and_empty_ones_ask_for_nothing)
{
	good((struct parts){.top = "\"somethingNew\": {\"a\": 1}, ",
			    .process = "\"apparmorProfile\": \"\", \"x\": 1",
			    .linux_more = "\"mountLabel\": \"\", \"netDevices\": {}, \"y\": []"});
}

Test(oci_spec, mounts_with_id_maps)
{
	struct um_spec *s = good((struct parts){
		.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"bind\", \"source\": "
		       "\"/b\", \"options\": [\"rbind\", \"ridmap\"], \"uidMappings\": "
		       "[{\"containerID\": 1, \"hostID\": 2, \"size\": 3}], \"gidMappings\": "
		       "[{\"containerID\": 4, \"hostID\": 5, \"size\": 6}]}, {\"destination\": "
		       "\"/c\", \"type\": \"tmpfs\", \"options\": [\"iversion\", "
		       "\"tmpcopyup\"]}],"});

	cr_expect(s->mounts[0].idmap && s->mounts[0].idmap_recursive);
	cr_assert(s->mounts[0].n_uid_map == 1 && s->mounts[0].n_gid_map == 1);
	cr_expect_eq(s->mounts[0].uid_map[0].host_id, 2);
	cr_expect_eq(s->mounts[0].gid_map[0].size, 6);
	cr_expect(s->mounts[1].iversion && s->mounts[1].tmpcopyup && !s->mounts[1].idmap);
	cr_expect_eq(s->mounts[1].data.n, 0);
}

Test(oci_spec, resources)
{
	struct um_spec *s = good((struct parts){
		.linux_more = "\"cgroupsPath\": \"/a/b\", \"resources\": {\"memory\": {\"limit\": "
			      "5, \"swap\": -1}, \"pids\": {\"limit\": 9}, \"cpu\": {\"shares\": "
			      "10, \"quota\": -1}, \"devices\": [{\"allow\": false, \"access\": "
			      "\"rwm\"}, {\"allow\": true, \"type\": \"c\", \"major\": 1, "
			      "\"access\": \"r\"}]}"});

	cr_expect_str_eq(s->cgroups_path, "/a/b");
	cr_expect_eq(s->limits.memory_bytes, 5);
	cr_expect_eq(s->limits.memory_swap_bytes, UM_CG_MAX);
	cr_expect_eq(s->limits.pids, 9);
	cr_expect_eq(s->limits.cpu_shares, 10);
	cr_expect_eq(s->n_device_rules, 2);
	cr_expect(s->device_rules[0].type == 'a' && !s->device_rules[0].allow);
	cr_expect(s->device_rules[1].read && !s->device_rules[1].write &&
		  s->device_rules[1].minor == -1);
}

#define USER_NS ", {\"type\": \"user\"}"

static const struct {
	struct parts p;
	const char *field;
	int code;
} wrong[] = {
	{{.top = "\"ociVersion\": \"2.0.0\", "}, "ociVersion", -EINVAL},
	{{.top = "\"ociVersion\": \"\", "}, "ociVersion", -EINVAL},
	{{.top = "\"ociVersion\": 1, "}, "ociVersion", -EINVAL},
	{{.top = "\"hostname\": \"h\", "}, "hostname", -EINVAL},
	{{.top = "\"domainname\": \"h\", "}, "domainname", -EINVAL},
	{{.top = "\"mounts\": {}, "}, "mounts", -EINVAL},
	{{.top = "\"mounts\": [{\"type\": \"tmpfs\"}], "}, "mounts[0].destination", -EINVAL},
	{{.top = "\"mounts\": [{\"destination\": \"/a\"}], "}, "mounts[0]: type", -EINVAL},
	{{.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"bind\"}], "},
	 "mounts[0]",
	 -EINVAL},
	{{.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"bind\", \"source\": \"/b\", "
		 "\"options\": [\"tmpcopyup\"]}], "},
	 "tmpcopyup",
	 -EINVAL},
	{{.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"tmpfs\", \"uidMappings\": "
		 "[1]}], "},
	 "uidMappings",
	 -EINVAL},
	{{.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"bind\", \"source\": \"/b\", "
		 "\"options\": [\"ridmap\"]}], "},
	 "user namespace",
	 -EINVAL},
	{{.top = "\"mounts\": [{\"destination\": \"/a\", \"type\": \"tmpfs\", \"options\": "
		 "[\"idmap\"]}], "},
	 "bind mounts only",
	 -EOPNOTSUPP},
	{{.top = "\"annotations\": {\"a\": 1}, "}, "annotations", -EINVAL},
	{{.top = "\"hooks\": {\"prestart\": [{\"path\": \"rel\"}]}, "}, "hooks.prestart", -EINVAL},
	{{.top = "\"hooks\": {\"poststop\": [{\"path\": \"/a\", \"timeout\": 0}]}, "},
	 "timeout",
	 -EINVAL},
	{{.top = "\"windows\": {\"a\": 1}, "}, "windows", -EOPNOTSUPP},
	{{.top = "\"vm\": {\"a\": 1}, "}, "vm", -EOPNOTSUPP},
	{{.process = "\"terminal\": \"yes\""}, "process.terminal", -EINVAL},
	{{.process = "\"user\": {\"uid\": -1}"}, "process.user.uid", -EINVAL},
	{{.process = "\"user\": {\"uid\": 4294967295}"}, "process.user.uid", -EINVAL},
	{{.process = "\"user\": {\"gid\": 1.5}"}, "process.user.gid", -EINVAL},
	{{.process = "\"user\": {\"umask\": 512}"}, "process.user.umask", -EINVAL},
	{{.process = "\"user\": {\"additionalGids\": [\"a\"]}"}, "additionalGids", -EINVAL},
	{{.process = "\"user\": {\"additionalGids\": 3}"}, "additionalGids", -EINVAL},
	{{.process = "\"env\": [\"A\"]"}, "env[0]", -EINVAL},
	{{.process = "\"env\": [\"=b\"]"}, "env[0]", -EINVAL},
	{{.process = "\"env\": [1]"}, "env", -EINVAL},
	{{.process = "\"capabilities\": {\"bounding\": [7]}"}, "bounding", -EINVAL},
	{{.process = "\"capabilities\": {\"bounding\": \"CAP_CHOWN\"}"}, "bounding", -EINVAL},
	{{.process = "\"capabilities\": []"}, "capabilities", -EINVAL},
	{{.process = "\"rlimits\": [{\"type\": \"RLIMIT_X\", \"soft\": 1, \"hard\": 1}]"},
	 "RLIMIT_X",
	 -EINVAL},
	{{.process = "\"rlimits\": [{\"type\": \"RLIMIT_CORE\", \"soft\": 2, \"hard\": 1}]"},
	 "soft",
	 -EINVAL},
	{{.process = "\"rlimits\": [{\"type\": \"RLIMIT_CORE\", \"soft\": 1, \"hard\": 1}, "
		     "{\"type\": \"RLIMIT_CORE\", \"soft\": 1, \"hard\": 1}]"},
	 "twice",
	 -EINVAL},
	{{.process = "\"oomScoreAdj\": 1001"}, "oomScoreAdj", -EINVAL},
	{{.process = "\"apparmorProfile\": 5"}, "apparmorProfile", -EINVAL},
	{{.process = "\"selinuxLabel\": \"a\\nb\""}, "selinuxLabel", -EINVAL},
	{{.process = "\"execCPUAffinity\": {\"initial\": \"a\"}"}, "execCPUAffinity", -EINVAL},
	{{.process = "\"scheduler\": {\"policy\": \"SCHED_X\"}"}, "SCHED_X", -EINVAL},
	{{.process = "\"ioPriority\": {\"class\": \"IOPRIO_CLASS_X\"}"}, "ioPriority", -EINVAL},
	{{.ns = ", {\"type\": \"nothing\"}"}, "linux.namespaces[1]", -EINVAL},
	{{.ns = ", {\"type\": \"mount\"}"}, "linux.namespaces", -EINVAL},
	{{.ns = ", {}"}, "linux.namespaces[1]", -EINVAL},
	{{.ns = USER_NS,
	  .linux_more = "\"uidMappings\": [{\"containerID\": 0, \"hostID\": 0, \"size\": 1}]"},
	 "gidMappings",
	 -EINVAL},
	{{.linux_more = "\"uidMappings\": [{\"containerID\": 0, \"hostID\": 0, \"size\": 1}]"},
	 "uidMappings",
	 -EINVAL},
	{{.ns = USER_NS,
	  .linux_more = "\"uidMappings\": [{\"containerID\": 0, \"hostID\": 4294967295, \"size\": "
			"5}]"},
	 "uidMappings[0]",
	 -EINVAL},
	{{.ns = USER_NS,
	  .linux_more = "\"uidMappings\": [{\"containerID\": 0, \"hostID\": 1, \"size\": 0}]"},
	 "uidMappings[0]",
	 -EINVAL},
	{{.linux_more = "\"timeOffsets\": {\"boottime\": {\"secs\": 1}}"}, "timeOffsets", -EINVAL},
	{{.linux_more = "\"devices\": [{\"path\": \"rel\", \"type\": \"p\"}]"},
	 "devices[0]",
	 -EINVAL},
	{{.linux_more = "\"devices\": [{\"path\": \"/d\", \"type\": \"c\"}]"},
	 "devices[0]",
	 -EINVAL},
	{{.linux_more = "\"devices\": [{\"path\": \"/d\", \"type\": \"x\"}]"},
	 "devices[0]",
	 -EINVAL},
	{{.linux_more = "\"cgroupsPath\": \"/a/../b\""}, "cgroupsPath", -EINVAL},
	{{.linux_more = "\"cgroupsPath\": 5"}, "cgroupsPath", -EINVAL},
	{{.linux_more = "\"resources\": {\"rdma\": {\"a\": {}}}"}, "rdma", -EOPNOTSUPP},
	{{.linux_more = "\"resources\": {\"network\": {\"classID\": -1}}"},
	 "network.classID",
	 -EINVAL},
	{{.linux_more = "\"resources\": {\"network\": {\"priorities\": [{\"name\": \"a b\", "
			"\"priority\": 1}]}}"},
	 "network.priorities[0]",
	 -EINVAL},
	{{.linux_more =
		  "\"resources\": {\"blockIO\": {\"weightDevice\": [{\"major\": 1, \"minor\": "
		  "2, \"weight\": 9}]}}"},
	 "blockIO.weightDevice[0]",
	 -EINVAL},
	{{.linux_more = "\"resources\": {\"memory\": {\"checkBeforeUpdate\": 1}}"},
	 "checkBeforeUpdate",
	 -EINVAL},
	{{.process = "\"execCPUAffinity\": {\"final\": \"3-1\"}"},
	 "process.execCPUAffinity: final",
	 -EINVAL},
	{{.process = "\"user\": {\"username\": \"u\"}"}, "username", -EOPNOTSUPP},
	{{.linux_more = "\"resources\": {\"memory\": {\"limit\": -2}}"}, "memory.limit", -EINVAL},
	{{.linux_more = "\"resources\": {\"memory\": {\"limit\": 9223372036854775808}}"},
	 "memory.limit",
	 -EINVAL},
	{{.linux_more = "\"resources\": {\"memory\": {\"kernel\": 1}}"}, "kernel", -EOPNOTSUPP},
	{{.linux_more = "\"resources\": {\"devices\": [{\"allow\": true, \"access\": \"x\"}]}"},
	 "access",
	 -EINVAL},
	{{.linux_more = "\"resources\": {\"devices\": [{\"type\": \"c\"}]}"}, "allow", -EINVAL},
	{{.linux_more = "\"resources\": {\"hugepageLimits\": [{\"pageSize\": \"../x\", \"limit\": "
			"1}]}"},
	 "pageSize",
	 -EINVAL},
	{{.linux_more = "\"intelRdt\": {\"closID\": \"a\"}"}, "intelRdt", -EOPNOTSUPP},
	{{.linux_more = "\"memoryPolicy\": {\"mode\": \"a\"}"}, "memoryPolicy", -EINVAL},
	{{.linux_more = "\"netDevices\": {\"eth0\": {}}"}, "netDevices", -EOPNOTSUPP},
	{{.linux_more = "\"mountLabel\": 1"}, "mountLabel", -EINVAL},
	{{.linux_more = "\"sysctl\": {\"a\": 1}"}, "sysctl", -EINVAL},
	{{.linux_more = "\"rootfsPropagation\": \"x\""}, "rootfsPropagation", -EINVAL},
	{{.linux_more = "\"maskedPaths\": [\"rel\"]"}, "maskedPaths", -EINVAL},
	{{.linux_more = "\"readonlyPaths\": \"/a\""}, "readonlyPaths", -EINVAL},
	{{.linux_more = "\"personality\": {\"domain\": \"BSD\"}"}, "personality", -EINVAL},
	{{.linux_more = "\"seccomp\": {}"}, "defaultAction", -EINVAL},
	{{.linux_more = "\"seccomp\": {\"defaultAction\": \"SCMP_ACT_NOTIFY\"}"},
	 "listenerPath",
	 -EINVAL},
	{{.linux_more = "\"seccomp\": {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"listenerPath\": "
			"\"s\"}"},
	 "listenerPath",
	 -EINVAL},
	{{.linux_more = "\"seccomp\": {\"defaultAction\": \"SCMP_ACT_ALLOW\", \"flags\": "
			"[\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]}"},
	 "flags",
	 -EINVAL},
};

Test(oci_spec, wrong_configs_are_refused_by_field)
{
	for (size_t i = 0; i < UM_ARRAY_LEN(wrong); i++) {
		struct um_error err = UM_ERROR_INIT;
		struct um_spec *s = NULL;
		int r = decode(wrong[i].p, &s, &err);

		cr_expect_eq(r, wrong[i].code, "[%zu] %s: %d %s", i, wrong[i].field, r, err.msg);
		cr_expect_not_null(strstr(err.msg, wrong[i].field), "[%zu] %s is not in \"%s\"", i,
				   wrong[i].field, err.msg);
	}
}

Test(oci_spec, what_is_no_config)
{
	static const char *const texts[] = {"null",
					    "[]",
					    "\"a\"",
					    "{}",
					    "{\"ociVersion\": \"1.0\"}",
					    "{\"ociVersion\": \"1.0.0\", \"root\": {\"path\": "
					    "\"\"}, \"linux\": {}}",
					    "{\"ociVersion\": \"1.0.0\", \"root\": {\"path\": "
					    "\"a\"}}"};

	for (size_t i = 0; i < UM_ARRAY_LEN(texts); i++) {
		struct um_error err = UM_ERROR_INIT;
		struct um_json *json;
		struct um_spec *s;

		cr_assert_eq(um_json_parse(arena, texts[i], strlen(texts[i]), NULL, &json, &err),
			     0);
		cr_expect_lt(um_spec_decode(arena, json, &s, &err), 0, "accepted: %s", texts[i]);
		cr_expect(err.msg[0]);
	}
}

Test(oci_spec, names)
{
	cr_expect_eq(um_spec_cap("CAP_CHOWN"), 0);
	cr_expect_eq(um_spec_cap("CAP_CHECKPOINT_RESTORE"), 40);
	cr_expect_eq(um_spec_cap("cap_chown"), -ENOENT);
	cr_expect_null(um_spec_cap_name(41));
	cr_expect_null(um_spec_cap_name(-1));
	cr_expect_eq(um_spec_ns_flag(UM_NS_NETWORK), CLONE_NEWNET);
	cr_expect_str_eq(um_spec_ns_proc(UM_NS_MOUNT), "mnt");
	cr_expect_eq(um_spec_rlimit("RLIMIT_NPROC"), RLIMIT_NPROC);
	cr_expect_eq(um_spec_rlimit("NPROC"), -ENOENT);
}

/* ---- Landlock ---- */

static struct um_spec *landlock(const char *annotations, struct um_error *err)
{
	struct um_spec *s = NULL;
	char top[6000];

	snprintf(top, sizeof(top), "\"annotations\": {%s}, ", annotations);
	return decode((struct parts){.top = top}, &s, err) < 0 ? NULL : s;
}

Test(oci_spec, landlock_is_read_from_annotations)
{
	struct um_error err = UM_ERROR_INIT;
	struct um_spec *s = landlock("\"org.umiak.landlock.read\": \"/a:/b/c:/\", "
				     "\"org.umiak.landlock.write\": \"\", "
				     "\"org.umiak.landlock.bind-tcp\": \"0,80,65535\", "
				     "\"org.umiak.landlock.on-missing\": \"ignore\", "
				     "\"org.umiak.other\": \"x\"",
				     &err);
	struct um_spec_landlock *l;

	cr_assert(s, "%s", err.msg);
	l = &s->landlock;
	cr_expect(l->paths[UM_LANDLOCK_PATHS_READ].n == 3);
	cr_expect_str_eq(l->paths[UM_LANDLOCK_PATHS_READ].v[0], "/a");
	cr_expect_str_eq(l->paths[UM_LANDLOCK_PATHS_READ].v[1], "/b/c");
	cr_expect_str_eq(l->paths[UM_LANDLOCK_PATHS_READ].v[2], "/");
	cr_expect(l->paths[UM_LANDLOCK_PATHS_WRITE].given && !l->paths[UM_LANDLOCK_PATHS_WRITE].n);
	cr_expect_not(l->paths[UM_LANDLOCK_PATHS_EXECUTE].given);
	cr_expect(l->ports[UM_LANDLOCK_PORTS_BIND].n == 3);
	cr_expect_eq(l->ports[UM_LANDLOCK_PORTS_BIND].v[0], 0);
	cr_expect_eq(l->ports[UM_LANDLOCK_PORTS_BIND].v[2], 65535);
	cr_expect_not(l->ports[UM_LANDLOCK_PORTS_CONNECT].given);
	cr_expect(l->ignore_missing);
	s = landlock("\"org.umiak.landlock\": \"x\"", &err);
	cr_assert(s && !s->landlock.paths[0].given, "another key without the dot");
}

Test(oci_spec, landlock_refuses_what_it_does_not_understand)
{
	static const struct {
		const char *annotations, *word;
	} bad[] = {
		{"\"org.umiak.landlock.read\": \"a\"", "landlock.read"},
		{"\"org.umiak.landlock.read\": \":\"", "landlock.read"},
		{"\"org.umiak.landlock.read\": \"/a:\"", "landlock.read"},
		{"\"org.umiak.landlock.read\": \":/a\"", "landlock.read"},
		{"\"org.umiak.landlock.write\": \"/a::/b\"", "landlock.write"},
		{"\"org.umiak.landlock.write\": \"/a/..\"", "landlock.write"},
		{"\"org.umiak.landlock.execute\": \"/./a\"", "landlock.execute"},
		{"\"org.umiak.landlock.execute\": \"/a/../b\"", "landlock.execute"},
		{"\"org.umiak.landlock.bind-tcp\": \"65536\"", "bind-tcp"},
		{"\"org.umiak.landlock.bind-tcp\": \"1,\"", "bind-tcp"},
		{"\"org.umiak.landlock.bind-tcp\": \",1\"", "bind-tcp"},
		{"\"org.umiak.landlock.bind-tcp\": \"+1\"", "bind-tcp"},
		{"\"org.umiak.landlock.bind-tcp\": \"0x1\"", "bind-tcp"},
		{"\"org.umiak.landlock.bind-tcp\": \"1:2\"", "bind-tcp"},
		{"\"org.umiak.landlock.connect-tcp\": \"0\"", "connect-tcp"},
		{"\"org.umiak.landlock.connect-tcp\": \"99999999999999999999\"", "connect-tcp"},
		{"\"org.umiak.landlock.read\": \"/\", \"org.umiak.landlock.on-missing\": \"\"",
		 "on-missing"},
		{"\"org.umiak.landlock.on-missing\": \"refuse\"", "nothing is restricted"},
		{"\"org.umiak.landlock.\": \"/a\"", "not known"},
		{"\"org.umiak.landlock.Read\": \"/a\"", "not known"},
		{"\"org.umiak.landlock.ioctl\": \"/a\"", "not known"},
	};

	for (size_t i = 0; i < UM_ARRAY_LEN(bad); i++) {
		struct um_error err = UM_ERROR_INIT;

		cr_expect_not(landlock(bad[i].annotations, &err), "%s", bad[i].annotations);
		cr_expect(strstr(err.msg, bad[i].word) && strstr(err.msg, "annotations.org.umiak."),
			  "%s: %s", bad[i].annotations, err.msg);
	}
}

Test(oci_spec, landlock_has_bounds)
{
	struct um_error err = UM_ERROR_INIT;
	char text[2000] = "\"org.umiak.landlock.read\": \"/a";

	for (int i = 1; i < 128; i++)
		strncat(text, ":/a", sizeof(text) - strlen(text) - 1);
	strncat(text, "\"", sizeof(text) - strlen(text) - 1);
	cr_expect(landlock(text, &err), "%s", err.msg);
	text[strlen(text) - 1] = '\0';
	strncat(text, ":/a\"", sizeof(text) - strlen(text) - 1);
	cr_expect_not(landlock(text, &err));
	cr_expect(strstr(err.msg, "more than 128"), "%s", err.msg);
}
