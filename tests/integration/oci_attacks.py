#!/usr/bin/env python3
"""Attacks on umiak-oci: each plays a class of published holes, and sees it fail.

Attack                        rule (where)
leaked fds, exec              um_process_keep_fds() in exec.c
leaked fds, create            um_process_keep_fds() in init.c
cwd outside of the root       the check of getcwd(2) in enter_cwd(), process.c
mount targets swapped         RESOLVE_IN_ROOT in um_resolve(), resolve.c
inheritable capabilities      --cap leaves UM_CAP_INHERITABLE alone, exec.c
/etc/passwd a pipe            S_ISREG in open_passwd(), process.c
/dev/pts not a devpts         DEVPTS_SUPER_MAGIC before the open, console.c
numbers of --user             um_user_parse(), user.c
sysctl redirected             RESOLVE_NO_XDEV in um_rootfs_write_proc(), rootfs.c
host-wide sysctl              sysctl_namespace(), rootfs.c
/dev/null for masks swapped   open_null(): the host's, and its device number, rootfs_mask.c
/dev/console swapped          um_resolve_file() follows no link, console.c
#!/proc/self/exe              um_runtime_seal_self(), seal.c
/proc covered before exec     written before setns, on the host's procfs, exec.c
ptrace during exec            PR_SET_DUMPABLE and the order of setns, exec.c
cgroups of a rootless user    cgroup_attrs() and mount_host_cgroups(), rootfs.c
(Netlink lengths: the runtime writes no netlink messages; loopback is brought up by an ioctl.)
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa


def make_node():
    return Box()


@contextlib.contextmanager
def flipping(box, a, b):
    """Somebody on the host exchanges the two names all the time."""
    tool = box.path("flip")
    if not os.path.exists(tool):
        sh("gcc", "-O1", "-o", tool, os.path.join(TOP, "tests", "lib", "flip.c"))
    p = subprocess.Popen([tool, a, b])
    try:
        yield
        assert p.poll() is None, "the attacker gave up"
    finally:
        p.kill()
        p.wait()


@contextlib.contextmanager
def leaked(path):
    """A descriptor of a folder of the host that the caller forgot to close."""
    fd = os.open(path, os.O_RDONLY)
    os.set_inheritable(fd, True)
    try:
        yield fd
    finally:
        os.close(fd)


def read_bytes(path):
    with open(path, "rb") as f:
        return f.read()


def victim(box):
    d = box.path("host")
    os.makedirs(d)
    with open(d + "/tool", "w") as f:
        f.write("#!/bin/sh\necho ran a file of the host\n")
    os.chmod(d + "/tool", 0o755)
    return d


def test_a_leaked_folder_holds_no_program_for_exec(box):
    host = victim(box)
    box.up()
    with leaked(host) as fd:
        path = f"/proc/self/fd/{fd}/tool"
        os.symlink(path, box.root + "/bin/innocent")
        for name in (path, "/bin/innocent", "innocent"):
            r = box.oci("exec", "c", name, pass_fds=(fd,))
            assert r.rc == 255 and "ran" not in r.out, (name, r)


def test_a_leaked_folder_holds_no_program_for_create(box):
    host = victim(box)
    with leaked(host) as fd:
        shutil.copy("/bin/busybox", host + "/echo")
        box.save(f"/proc/self/fd/{fd}/echo", "ran")
        r = box.oci("run", "--bundle", box.bundle, "c", pass_fds=(fd,))
        assert r.rc and "ran" not in r.out, r


def test_a_leaked_folder_is_no_cwd(box):
    host = victim(box)
    with leaked(host) as fd:
        os.symlink(f"/proc/self/fd/{fd}", box.root + "/work")
        for cwd in (f"/proc/self/fd/{fd}/made", "/work/made", f"/proc/self/fd/{fd}", "/work"):
            box.process["cwd"] = cwd
            r = box.run("cat tool; pwd", pass_fds=(fd,))
            assert r.rc and "ran" not in r.out, (cwd, r)
            assert os.listdir(host) == ["tool"], cwd
        box.process["cwd"] = "/"
        box.up()
        for cwd in ("/work", f"/proc/self/fd/{fd}"):
            r = box.oci("exec", "--cwd", cwd, "c", "cat", "tool", pass_fds=(fd,))
            assert r.rc == 255 and "ran" not in r.out, (cwd, r)


def test_a_folder_passed_on_is_no_cwd(box):
    host = victim(box)
    with open(box.path("wrap.sh"), "w") as s:
        s.write('exec 3<"$1"; shift; exec "$@"\n')
    box.process["cwd"] = "/proc/self/fd/3"
    box.save(sh="cat tool")
    out = sh("sh", box.path("wrap.sh"), host,
             *box.argv("run", "--bundle", box.bundle, "--preserve-fds", "1", "c"), check=False)
    assert "outside the container" in out and "ran a file" not in out, out


def test_a_swapped_mount_target_leads_nowhere(box):
    host, volume = victim(box), box.path("volume")
    os.makedirs(volume + "/a")
    os.symlink(host, volume + "/link")
    box.mount("/vol", "bind", volume, "rbind", "rw")
    box.mount("/vol/a/inner", "tmpfs", "tmpfs")
    box.config["hooks"] = {"createContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", f"cat /proc/self/mountinfo >>{box.path('seen')}"],
         "env": ["PATH=/bin:/usr/bin"]}]}
    with flipping(box, volume + "/a", volume + "/link"):
        for _ in range(60):
            box.run("true")
            assert os.listdir(host) == ["tool"], os.listdir(host)
    on = [line.split()[4] for line in read(box.path("seen")).splitlines()]
    assert on and not [p for p in on if p == host or p.startswith(host + "/")], on


def test_capabilities_of_exec_are_not_inheritable(box):
    box.up()
    for user in ("0", "1000"):
        r = box.oci("exec", "--cap", "CAP_NET_RAW", "--user", user, "c",
                    "grep", "CapInh", "/proc/self/status", ok=True)
        assert int(r.out.split()[1], 16) == 0, r


def test_a_pipe_for_etc_passwd_does_not_hang(box):
    box.process["env"] = ["PATH=/bin"]
    os.unlink(box.root + "/etc/passwd")
    os.mkfifo(box.root + "/etc/passwd")
    pipe = os.open(box.root + "/etc/passwd", os.O_RDWR)
    os.write(pipe, b"root:x:0:0::/read:/bin/sh\n")
    assert box.run("echo $HOME", ok=True).out == "/\n"
    box.up()
    assert box.oci("exec", "c", "sh", "-c", "echo $HOME", ok=True).out == "/\n"
    os.close(pipe)


def test_a_long_line_of_etc_passwd_is_nobody_else(box):
    box.process["env"] = ["PATH=/bin"]
    with open(box.root + "/etc/passwd", "w") as f:
        f.write("x" * 1023 + "evil:x:0:0::/evil:/bin/sh\nroot:x:0:0::/root:/bin/sh\n")
    assert box.run("echo $HOME", ok=True).out == "/root\n"


def test_the_terminal_comes_from_a_devpts_only(box):
    box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/dev/pts"]
    box.mount("/dev/pts", "tmpfs", "tmpfs")
    box.process["terminal"] = True
    r = box.run("tty")
    assert r.rc and "not a devpts" in r.err, r


def test_users_are_numbers(box):
    box.up()
    for bad in ("-1", "+1", " 1", "1 ", "0x0", "", ":", ":0", "1:", "1:-1", "root", "1e0", "\uff11",
                "4294967295", "4294967296", "18446744073709551616", "1:4294967296"):
        r = box.oci("exec", f"--user={bad}", "c", "id", "-u")
        assert r.rc and not r.out, (bad, r)
    assert box.oci("exec", "--user", "1", "c", "id", "-u", ok=True).out == "1\n"


def test_a_sysctl_is_not_redirected(box):
    decoy = box.path("decoy")
    os.makedirs(decoy + "/net/ipv4")
    with open(decoy + "/net/ipv4/ip_unprivileged_port_start", "w") as f:
        f.write("decoy")
    box.mount("/proc/sys", "bind", decoy, "bind", "rw")
    box.linux["readonlyPaths"] = box.linux["maskedPaths"] = []
    box.linux["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "77"}
    r = box.run("cat /proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert r.rc == 0 and r.out == "decoy", r


def test_sysctls_of_the_host_are_refused(box):
    before = read("/proc/sys/kernel/core_pattern")
    for key in ("kernel.core_pattern", "kernel/core_pattern", "net/../kernel/core_pattern",
                "net.ipv4/../../kernel/core_pattern"):
        box.linux["sysctl"] = {key: before.strip()}
        box.refused("linux.sysctl")
    assert read("/proc/sys/kernel/core_pattern") == before


# ---- masks

def test_a_swapped_null_device_masks_nothing_with_something_else(box):
    dev = box.path("dev")
    os.makedirs(dev)
    os.mknod(dev + "/null", 0o666 | 0o020000, os.makedev(1, 3))
    os.symlink("/etc/other", dev + "/link")
    box.config["mounts"] = [m for m in box.config["mounts"] if not m["destination"].startswith("/dev")]
    box.mount("/dev", "bind", dev, "bind", "rw")
    for name in ("masked", "other"):
        with open(box.root + "/etc/" + name, "w") as f:
            f.write(name + "\n")
    box.linux["maskedPaths"] = ["/etc/masked"]
    started = 0
    with flipping(box, dev + "/null", dev + "/link"):
        for _ in range(60):
            r = box.run("cat /etc/masked; echo >/etc/masked")
            assert "masked" not in r.out and "other" not in r.out, r
            started += "init process" not in r.err
    assert started, "no container started"
    assert read(box.root + "/etc/other") == "other\n"
    assert read(box.root + "/etc/masked") == "masked\n"


def test_a_swapped_console_gets_no_terminal_elsewhere(box):
    dev = box.path("dev")
    os.makedirs(dev + "/pts")
    for name in ("console", "tty", "null"):
        open(f"{dev}/{name}", "w").close()
    os.symlink("/etc/target", dev + "/link")
    open(box.root + "/etc/target", "w").close()
    box.config["mounts"] = [m for m in box.config["mounts"] if not m["destination"].startswith("/dev")]
    box.mount("/dev", "bind", dev, "bind", "rw")
    box.mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620")
    box.process["terminal"] = True
    seen = 0
    with flipping(box, dev + "/console", dev + "/link"):
        for _ in range(40):
            r = box.run("cat /proc/self/mountinfo")
            on = [line.split()[4] for line in r.out.splitlines() if len(line.split()) > 5]
            assert "/etc/target" not in on, r
            seen += r.rc == 0
    assert seen, "no container started"


# ---- the runtime's own program

WRITER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void)
{
	struct stat busybox, own, st;
	char path[64];
	stat("/bin/busybox", &busybox);
	stat("/proc/self/exe", &own);
	for (;;) {
		DIR *d = opendir("/proc");
		struct dirent *e;
		while ((e = readdir(d))) {
			int fd;
			snprintf(path, sizeof(path), "/proc/%.20s/exe", e->d_name);
			if (atoi(e->d_name) <= 0 || (fd = open(path, O_RDONLY)) < 0)
				continue;
			if (fstat(fd, &st) == 0 && st.st_ino != own.st_ino &&
			    st.st_ino != busybox.st_ino) {
				close(open("/tmp/seen", O_CREAT | O_WRONLY, 0666));
				snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
				for (int i = 0; i < 3000; i++) { /* until it has ended */
					int w = open(path, O_WRONLY);
					if (w >= 0) {
						(void)!write(w, "#!/bin/sh\necho owned\n", 21);
						close(open("/tmp/wrote", O_CREAT | O_WRONLY, 0666));
						return 0;
					}
					usleep(10);
				}
			}
			close(fd);
		}
		closedir(d);
	}
}
"""


def attacker(box, name, source):
    with open(box.path(name + ".c"), "w") as f:
        f.write(source)
    sh("gcc", "-O1", "-static", "-o", f"{box.root}/bin/{name}", box.path(name + ".c"))


def test_an_interpreter_that_is_the_runtime_cannot_be_written(box):
    # The runtime under test is a copy: where the attack wins, it is this one that is lost.
    copy = box.path("runtime")
    # A static one: others cannot be executed in the container.
    shutil.copy(os.path.join(os.environ.get("PLAIN", BUILD), "umiak-oci"), copy)
    before = os.stat(copy).st_mtime_ns, read_bytes(copy)
    box.argv = lambda *args: [copy, "--root", box.path("state"), *args]
    attacker(box, "writer", WRITER)
    with open(box.root + "/bin/evil", "w") as f:
        f.write("#!/proc/self/exe\n")
    os.chmod(box.root + "/bin/evil", 0o755)
    box.up("writer; sleep 100")
    for _ in range(30):
        box.oci("exec", "c", "/bin/evil")
    assert not os.path.exists(box.root + "/tmp/wrote")
    assert (os.stat(copy).st_mtime_ns, read_bytes(copy)) == before
    assert os.path.exists(box.root + "/tmp/seen"), "the attacker never saw the runtime"
    box.oci("delete", "--force", "c", ok=True)
    box.save("/bin/evil")
    box.oci("run", "--bundle", box.bundle, "c")
    assert (os.stat(copy).st_mtime_ns, read_bytes(copy)) == before


def test_the_seal_comes_before_the_c_library(box):
    oci = os.path.join(os.environ.get("PLAIN", BUILD), "umiak-oci")
    if os.uname().machine not in ("x86_64", "aarch64"):
        return  # main() seals there
    for command, seals in (("exec c true", 1), ("state c", 0), ("exec --exp c true", 0)):
        lines = sh("strace", "-o", "/dev/stdout", "-e", "trace=execveat,brk", oci, "--root",
                   box.path("state"), *command.split(), check=False).splitlines()
        assert len([l for l in lines if l.startswith("execveat")]) == \
            (1 if command.startswith("exec") else 0), lines
        assert lines[0].startswith("execveat" if seals else "brk"), lines


# ---- exec into a container that has prepared itself

def test_a_covered_proc_takes_no_writes_of_exec(box):
    for caps in box.process["capabilities"].values():
        caps.append("CAP_SYS_ADMIN")
    box.linux.pop("seccomp", None)
    box.linux["readonlyPaths"] = box.linux["maskedPaths"] = []
    box.up("""mount -t tmpfs t /proc && mkdir -p /proc/self/attr /proc/self/fd /proc/thread-self/attr
        for f in self/oom_score_adj self/attr/exec thread-self/attr/exec; do echo decoy >/proc/$f; done
        cp -r /proc/self /proc/1; echo >/tmp/ready; while :; do sleep 0.05; done""")
    wait_for("the container", lambda: os.path.exists(box.root + "/tmp/ready"))
    process = dict(box.process, args=["sleep", "60"], oomScoreAdj=345)
    with open(box.path("p.json"), "w") as f:
        json.dump(process, f)
    r = box.oci("exec", "--process", box.path("p.json"), "--detach", "--pid-file", box.path("pid"), "c")
    if r.rc == 0:
        assert read(f"/proc/{read(box.path('pid'))}/oom_score_adj") == "345\n"
    r = box.oci("exec", "c", "sh", "-c", "cat /proc/self/oom_score_adj /proc/self/attr/exec", ok=True)
    assert r.out == "decoy\ndecoy\n", r


TRACER = r"""
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void)
{
	struct stat own, st;
	char path[64];
	stat("/", &own);
	for (;;) {
		DIR *d = opendir("/proc");
		struct dirent *e;
		while ((e = readdir(d))) {
			int pid = atoi(e->d_name), root, exe;
			if (pid <= 1 || pid == getpid() || pid == getppid())
				continue;
			snprintf(path, sizeof(path), "/proc/%d/root", pid);
			root = stat(path, &st) == 0 && (st.st_ino != own.st_ino || st.st_dev != own.st_dev);
			snprintf(path, sizeof(path), "/proc/%d/exe", pid);
			exe = stat(path, &st) == 0;
			stat("/bin/busybox", &own);
			exe = exe && (st.st_ino != own.st_ino || st.st_dev != own.st_dev);
			stat("/", &own);
			if (root)
				close(open("/tmp/another_root", O_CREAT | O_WRONLY, 0666));
			if (exe && ptrace(PTRACE_SEIZE, pid, 0, 0) == 0)
				close(open("/tmp/traced", O_CREAT | O_WRONLY, 0666));
			snprintf(path, sizeof(path), "/proc/%d/stat", pid);
			if (access(path, F_OK) == 0)
				close(open("/tmp/seen", O_CREAT | O_WRONLY, 0666));
		}
		closedir(d);
	}
}
"""


def test_nobody_traces_the_runtime_during_exec(box):
    attacker(box, "tracer", TRACER)
    box.up("tracer & while :; do sleep 0.05; done")
    for _ in range(60):
        box.oci("exec", "c", "/bin/true", ok=True)
    assert os.path.exists(box.root + "/tmp/seen"), "the attacker saw nobody"
    for found in ("another_root", "traced"):
        assert not os.path.exists(box.root + "/tmp/" + found), found


# ---- cgroups

def test_a_rootless_user_does_not_reach_its_other_cgroups(box):
    group = glob.glob(f"{CGROUPS}/unified") or [CGROUPS]
    owned = f"{group[0]}/{box.name}-owned"
    os.makedirs(owned + "/sub")
    try:
        for f in (owned, owned + "/sub"):
            os.chown(f, 100000, 100000)
        box.ns("user")
        box.ns("cgroup", remove=True)
        box.linux["uidMappings"] = box.linux["gidMappings"] = [
            {"containerID": 0, "hostID": 100000, "size": 65536}]
        sh("chown", "-R", "100000:100000", box.root)
        box.config["mounts"] = [m for m in box.config["mounts"]
                                if m["destination"] != "/sys/fs/cgroup"]
        box.mount("/sys/fs/cgroup", "cgroup", "cgroup", "rw", "nosuid", "noexec", "nodev")
        look = (f"for d in /sys/fs/cgroup/{box.name}-owned /sys/fs/cgroup/*/{box.name}-owned; do "
                "[ -d $d ] && echo there; mkdir $d/made 2>/dev/null && echo made; done; "
                "grep ' - cgroup' /proc/self/mountinfo")

        def writable(out):
            return [l for l in out.splitlines() if " - cgroup" in l and
                    not l.split()[5].startswith("ro")]
        r = box.run(look, ok=True)
        assert " - cgroup" in r.out and not writable(r.out), r
        assert "made" not in r.out and not os.path.exists(owned + "/made"), r
        box.linux.pop("resources", None)
        box.save(sh=look)
        r = box.oci("--cgroup-manager", "disabled", "run", "--bundle", box.bundle, "c")
        assert "there" in r.out and "made" not in r.out and not writable(r.out), r
    finally:
        for d in (owned + "/made", owned + "/sub", owned):
            with contextlib.suppress(OSError):
                os.rmdir(d)


main(globals())
