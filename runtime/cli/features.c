/* features: the specification's structure, from the tables that the parser uses. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <unistd.h>

#include "base/json.h"
#include "runtime/cli/cli.h"
#include "runtime/mempolicy.h"
#include "runtime/landlock.h"
#include "runtime/seccomp.h"
#include "runtime/spec.h"

static void strings(struct um_arena *a, struct um_json *o, const char *key,
		    const char *(*name)(size_t i))
{
	struct um_json *list = um_json_ensure_arr(a, o, key);

	for (size_t i = 0; name(i); i++)
		um_json_append(list, um_json_new_str(a, name(i)));
}

static const char *hook_name(size_t i)
{
	return i < UM_HOOK_N_KINDS ? um_spec_hook_name((enum um_hook_kind)i) : NULL;
}

static const char *namespace_name(size_t i)
{
	return i < UM_NS_N ? um_spec_ns_name((enum um_ns)i) : NULL;
}

static const char *cap_name(size_t i)
{
	return um_spec_cap_name((int)i);
}

static void seccomp(struct um_arena *a, struct um_json *linux_obj)
{
	/* the specification's list; the library decides which of them it knows */
	static const char *const archs[] = {
		"SCMP_ARCH_AARCH64",	 "SCMP_ARCH_ARM",    "SCMP_ARCH_LOONGARCH64",
		"SCMP_ARCH_M68K",	 "SCMP_ARCH_MIPS",   "SCMP_ARCH_MIPS64",
		"SCMP_ARCH_MIPS64N32",	 "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
		"SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PARISC", "SCMP_ARCH_PARISC64",
		"SCMP_ARCH_PPC",	 "SCMP_ARCH_PPC64",  "SCMP_ARCH_PPC64LE",
		"SCMP_ARCH_RISCV64",	 "SCMP_ARCH_S390",   "SCMP_ARCH_S390X",
		"SCMP_ARCH_SH",		 "SCMP_ARCH_SHEB",   "SCMP_ARCH_X32",
		"SCMP_ARCH_X86",	 "SCMP_ARCH_X86_64"};
	struct um_json *o = um_json_ensure_obj(a, linux_obj, "seccomp"), *list;

	um_json_set_bool(a, o, "enabled", true);
	strings(a, o, "actions", um_seccomp_action_name);
	strings(a, o, "operators", um_seccomp_operator_name);
	list = um_json_ensure_arr(a, o, "archs");
	for (size_t i = 0; i < UM_ARRAY_LEN(archs); i++)
		if (um_seccomp_arch(archs[i]))
			um_json_append(list, um_json_new_str(a, archs[i]));
	strings(a, o, "knownFlags", um_seccomp_flag_name);
	strings(a, o, "supportedFlags", um_seccomp_flag_name);
}

static void enabled(struct um_arena *a, struct um_json *linux_obj, const char *key, bool yes)
{
	um_json_set_bool(a, um_json_ensure_obj(a, linux_obj, key), "enabled", yes);
}

static void linux_features(struct um_arena *a, const struct um_runtime *rt, struct um_json *o)
{
	bool systemd = rt->systemd_helper && access(rt->systemd_helper, X_OK) == 0;
	struct um_json *sub;

	strings(a, o, "namespaces", namespace_name);
	strings(a, o, "capabilities", cap_name);
	sub = um_json_ensure_obj(a, o, "cgroup");
	um_json_set_bool(a, sub, "v1", true);
	um_json_set_bool(a, sub, "v2", true);
	um_json_set_bool(a, sub, "systemd", systemd);
	um_json_set_bool(a, sub, "systemdUser", systemd);
	um_json_set_bool(a, sub, "rdma", false);
	seccomp(a, o);
	enabled(a, o, "apparmor", true);
	enabled(a, o, "selinux", true);
	sub = um_json_ensure_obj(a, o, "memoryPolicy");
	strings(a, sub, "modes", um_mempolicy_mode_name);
	strings(a, sub, "flags", um_mempolicy_flag_name);
	sub = um_json_ensure_obj(a, o, "intelRdt");
	um_json_set_bool(a, sub, "enabled", false);
	um_json_set_bool(a, sub, "schemata", false);
	um_json_set_bool(a, sub, "monitoring", false);
	enabled(a, um_json_ensure_obj(a, o, "mountExtensions"), "idmap", true);
	enabled(a, o, "netDevices", false);
}

int um_cli_features(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	_cleanup_arena_ struct um_arena *a = um_arena_new(1u << 20);
	int r = um_cli_no_options(argc, argv, "features", err);
	struct um_json *o, *notes;
	char abi[12];

	if (r < 0)
		return r;
	if (!a)
		return -ENOMEM;
	o = um_json_new_obj(a);
	um_json_set_str(a, o, "ociVersionMin", "1.0.0");
	um_json_set_str(a, o, "ociVersionMax", UM_SPEC_VERSION);
	strings(a, o, "hooks", hook_name);
	strings(a, o, "mountOptions", um_spec_mount_option_name);
	linux_features(a, &cli->rt, um_json_ensure_obj(a, o, "linux"));
	notes = um_json_ensure_obj(a, o, "annotations");
	um_json_set_str(a, notes, "io.github.seccomp.libseccomp.version",
			um_seccomp_library_version());
	um_json_set_str(a, notes, "org.opencontainers.runc.checkpoint.enabled", "false");
	snprintf(abi, sizeof(abi), "%d", um_landlock_abi());
	um_json_set_str(a, notes, "org.umiak.landlock.abi", abi);
	/* those that change what happens; a dot at the end means all that begin so */
	um_json_append(um_json_ensure_arr(a, o, "potentiallyUnsafeConfigAnnotations"),
		       um_json_new_str(a, "org.umiak.landlock."));
	return um_cli_print_json(a, o);
}
