#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/io.h"
#include "base/json.h"
#include "runtime/cli/cli.h"
#include "runtime/spec.h"
#include "runtime/sys.h"

/* The example that `spec` writes: a shell in a container with a terminal. */
static const char head[] =
	"{\n  \"ociVersion\": \"" UM_SPEC_VERSION "\",\n"
	"  \"process\": {\n    \"terminal\": true,\n    \"user\": {\"uid\": 0, \"gid\": 0},\n"
	"    \"args\": [\"sh\"],\n"
	"    \"env\": [\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\n"
	"            \"TERM=xterm\"],\n    \"cwd\": \"/\",\n    \"capabilities\": {\n";
static const char caps[] = "[\"CAP_AUDIT_WRITE\", \"CAP_KILL\", \"CAP_NET_BIND_SERVICE\"]";
static const char middle[] =
	"    \"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"hard\": 1024, \"soft\": 1024}],\n"
	"    \"noNewPrivileges\": true\n  },\n"
	"  \"root\": {\"path\": \"rootfs\", \"readonly\": true},\n"
	"  \"hostname\": \"umiak\",\n  \"mounts\": [\n"
	"    {\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\"},\n"
	"    {\"destination\": \"/dev\", \"type\": \"tmpfs\", \"source\": \"tmpfs\",\n"
	"     \"options\": [\"nosuid\", \"strictatime\", \"mode=755\", \"size=65536k\"]},\n"
	"    {\"destination\": \"/dev/pts\", \"type\": \"devpts\", \"source\": \"devpts\",\n"
	"     \"options\": [\"nosuid\", \"noexec\", \"newinstance\", \"ptmxmode=0666\", "
	"\"mode=0620\"%s]},\n"
	"    {\"destination\": \"/dev/shm\", \"type\": \"tmpfs\", \"source\": \"shm\",\n"
	"     \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"mode=1777\", \"size=65536k\"]},\n"
	"    {\"destination\": \"/dev/mqueue\", \"type\": \"mqueue\", \"source\": \"mqueue\",\n"
	"     \"options\": [\"nosuid\", \"noexec\", \"nodev\"]},\n%s"
	"    {\"destination\": \"/sys/fs/cgroup\", \"type\": \"cgroup\", \"source\": \"cgroup\",\n"
	"     \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"relatime\", \"ro\"]}\n  ],\n"
	"  \"linux\": {\n%s"
	"    \"namespaces\": [{\"type\": \"pid\"}, %s{\"type\": \"ipc\"}, {\"type\": \"uts\"},\n"
	"                   {\"type\": \"mount\"}%s],\n"
	"    \"maskedPaths\": [\"/proc/acpi\", \"/proc/asound\", \"/proc/kcore\", \"/proc/keys\",\n"
	"      \"/proc/latency_stats\", \"/proc/timer_list\", \"/proc/timer_stats\",\n"
	"      \"/proc/sched_debug\", \"/sys/firmware\", \"/proc/scsi\"],\n"
	"    \"readonlyPaths\": [\"/proc/bus\", \"/proc/fs\", \"/proc/irq\", \"/proc/sys\",\n"
	"      \"/proc/sysrq-trigger\"]\n  }\n}\n";
static const char sys_new[] =
	"    {\"destination\": \"/sys\", \"type\": \"sysfs\", \"source\": \"sysfs\",\n"
	"     \"options\": [\"nosuid\", \"noexec\", \"nodev\", \"ro\"]},\n";
static const char sys_bind[] =
	"    {\"destination\": \"/sys\", \"type\": \"none\", \"source\": \"/sys\",\n"
	"     \"options\": [\"rbind\", \"nosuid\", \"noexec\", \"nodev\", \"ro\"]},\n";

/* As runc's example: with cgroup v1 the container sees its own groups without one, too. */
static bool only_cgroup2(void)
{
	struct statfs fs;

	return statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int um_cli_spec(struct um_cli *cli, int argc, char **argv, struct um_error *err)
{
	static const struct option options[] = {{"bundle", required_argument, NULL, 'b'},
						{"rootless", no_argument, NULL, 'r'},
						{NULL, 0, NULL, 0}};
	_cleanup_buf_ struct um_buf b = UM_BUF_INIT(65536);
	_cleanup_close_ int dir = -1, fd = -1;
	const char *bundle = ".";
	bool rootless = false;
	char maps[300] = "";
	int c;

	(void)cli;
	optind = 0;
	while ((c = getopt_long(argc, argv, "b:", options, NULL)) != -1) {
		if (c == 'b')
			bundle = optarg;
		else if (c == 'r')
			rootless = true;
		else
			return um_cli_usage(err, UM_CLI_SPEC_USAGE);
	}
	if (optind != argc)
		return um_cli_usage(err, UM_CLI_SPEC_USAGE);
	if (rootless)
		snprintf(maps, sizeof(maps),
			 "    \"uidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": "
			 "1}],\n"
			 "    \"gidMappings\": [{\"containerID\": 0, \"hostID\": %u, \"size\": "
			 "1}],\n",
			 geteuid(), getegid());
	um_buf_adds(&b, head);
	um_buf_addf(&b, "      \"bounding\": %s,\n      \"effective\": %s,\n", caps, caps);
	um_buf_addf(&b, "      \"permitted\": %s\n    },\n", caps);
	um_buf_addf(&b, middle, rootless ? "" : ", \"gid=5\"", rootless ? sys_bind : sys_new, maps,
		    rootless ? "{\"type\": \"user\"}, " : "{\"type\": \"network\"}, ",
		    only_cgroup2() ? ", {\"type\": \"cgroup\"}" : "");
	if (um_buf_error(&b))
		return um_buf_error(&b);
	dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return um_error_errno(err, -errno, "bundle %s", bundle);
	fd = um_sys_create(dir, "config.json", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
	if (fd < 0)
		return um_error_errno(err, -errno, "create config.json");
	return um_io_write_all(fd, b.data, b.len);
}
