#!/usr/bin/env python3
"""umiak-oci under Debian's podman and conmon: run, exec, terminals, pause, update, stop, limits, the
options that people use, and the error texts and exit codes that podman reads."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from callers import *  # noqa

private_namespaces()
private_folders()

# A shell that ends by TERM.
IDLE = ("sh", "-c", "trap 'echo told to end; exit 3' TERM; echo up; while :; do sleep 0.05; done")
# What a runtime can, podman knows by lists of names.
JSON = 'runtime_supports_json = ["umiak-oci"]\nruntime_supports_nocgroup = ["umiak-oci"]'


class Podman(Caller):
    """podman with storage, state and cgroups of its own."""

    own_cgroups = ("conmon",)
    runtime = "umiak-oci"

    def __init__(self):
        super().__init__()
        os.mkdir(self.path("tmp"))
        # podman's own defaults are the most that root may have, and here root may not raise them.
        self.conf(JSON)
        self.good("import", "-q", self.layer(), "busybox")

    def conf(self, engine):
        with open(self.path("containers.conf"), "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
                    f'[engine]\n{engine}\n[engine.runtimes]\numiak-oci = ["{OCI}"]\n')
        self.env["CONTAINERS_CONF"] = self.path("containers.conf")

    def argv(self, *args):
        return ["podman", "--root", self.path("root"), "--runroot", self.path("run"), "--tmpdir",
                self.path("tmp"), "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs",
                "--events-backend", "none", "--runtime", self.runtime, *args]

    def flags(self, *flags):
        return ["--network", "none", "--cgroup-parent", "/" + self.name, *flags]

    def run(self, *args, rc=0, has=(), **kw):
        """podman run --rm."""
        return self.bad(rc, "run", "--rm", *self.flags(*args), has=has, **kw)

    def out(self, *args, **kw):
        return self.run(*args, **kw).out

    def up(self, *flags, name="c", command=IDLE):
        id = self.good("run", "-d", "--name", name, *self.flags(*flags), "busybox",
                       *command).strip()
        if command is IDLE:
            wait_for("the program", lambda: "up" in self.good("logs", name), timeout=60)
        return id

    def inspect(self, what, name="c"):
        return self.good("inspect", "--format", "{{%s}}" % what, name).strip()

    def clean(self):
        self("rm", "-f", "-a", "-t", "0")


podman = Podman()


def make_node():
    return podman


def test_run_gives_output_and_exit_codes(p):
    assert p.out("busybox", "echo", "hello") == "hello\n"
    r = p.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 7", rc=7)
    assert (r.out, r.err) == ("out\n", "err\n"), r
    assert p.out("-i", "busybox", "sh", "-c", "wc -c", input="x" * 100000).strip() == "100000"
    p.assert_nothing_left()


def test_the_runtime_is_known_to_podman(p):
    info = json.loads(p.good("info", "--format", "json"))["host"]["ociRuntime"]
    assert info["path"] == OCI and info["version"].startswith("umiak-oci version "), info


def test_detached_logs_stop_and_remove(p):
    p.up()
    assert p.inspect(".State.Status") == "running"
    assert p.inspect(".State.Pid") != "0"
    assert p.good("ps", "--format", "{{.Names}}").split() == ["c"]
    p.good("stop", "--time", "60", "c")
    assert p.inspect(".State.ExitCode") == "3", p.good("ps", "-a")
    assert p.good("logs", "c") == "up\ntold to end\n"
    p.good("start", "c")
    wait_for("the second start", lambda: p.good("logs", "c").endswith("up\n"), timeout=60)
    p.good("rm", "-f", "-t", "0", "c")
    p.assert_nothing_left()


def test_stop_kills_what_does_not_listen(p):
    p.up(command=("sleep", "1000"))
    p.good("stop", "--time", "1", "c")
    assert p.inspect(".State.ExitCode") == "137"


def test_kill_sends_the_signal(p):
    p.up(command=("sh", "-c", "trap 'exit 42' USR1; echo up; while :; do sleep 0.05; done"))
    wait_for("the program", lambda: p.good("logs", "c") == "up\n", timeout=60)
    p.good("kill", "--signal", "USR1", "c")
    assert p.good("wait", "c").strip() == "42"
    r = p.bad(125, "kill", "c")
    assert "container" in r.err, r
    p.good("start", "c")
    p.good("kill", "c")
    assert p.good("wait", "c").strip() == "137"


def test_exec(p):
    p.up("-e", "OF=container")
    r = p.bad(9, "exec", "c", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert r.out == "out\n" and "err\n" in r.err, r
    out = p.good("exec", "-u", "web", "-e", "A=b c", "-w", "/tmp", "c", "sh", "-c",
                 "id -u; id -g; pwd; echo $A; echo $OF; ps | grep -c told")
    assert out.splitlines()[:5] == ["1000", "1000", "/tmp", "b c", "container"], out
    assert p.good("exec", "-u", "5:6", "c", "sh", "-c", "id -u; id -g").split() == ["5", "6"]
    assert p.good("exec", "-i", "c", "cat", input="by stdin") == "by stdin"
    p.good("exec", "-d", "c", "sh", "-c", "echo done > /tmp/mark")
    wait_for("the detached exec", lambda: p.good("exec", "c", "cat", "/tmp/mark") == "done\n",
             timeout=60)
    assert "CapEff:\t000001f" in p.good("exec", "--privileged", "c", "cat", "/proc/self/status")
    p.bad(137, "exec", "c", "sh", "-c", "kill -9 $$")
    p.good("stop", "-t", "30", "c")
    p.bad(255, "exec", "c", "true", has="can only create exec sessions on running containers")


def test_a_terminal(p):
    t = p.terminal("run", "--rm", "-it", "--name", "t", *p.flags("busybox", "sh"), rows=33, cols=77)
    try:
        t.expect(r"/ # ")
        t.send("tty; echo $((6*7))\n")
        t.expect(r"/dev/pts/0\r\n42\r\n")
        t.ask_size(33, 77)
        t.size(20, 70)
        t.ask_size(20, 70)
        t.send("exit 5\n")
        assert t.wait() == 5, t.text
    finally:
        t.close()


def test_keys_of_a_terminal(p):
    t = p.terminal("run", "--rm", "-it", *p.flags(
        "busybox", "sh", "-c", "trap 'echo told; exit 6' INT; echo up; while :; do sleep 0.05; done"))
    try:
        t.expect(r"up\r\n")
        t.send("\x03")
        t.expect(r"\^Ctold\r\n")
        assert t.wait() == 6, t.text
    finally:
        t.close()
    t = p.terminal("run", "--rm", "-it", *p.flags("busybox", "sh", "-c", "echo up; cat; exit 4"))
    try:
        t.expect(r"up\r\n")
        t.send("words\n")
        t.expect(r"words\r\nwords\r\n")  # by the terminal and by cat
        t.send("\x04")
        assert t.wait() == 4, t.text
    finally:
        t.close()


def test_a_terminal_of_exec(p):
    p.up()
    t = p.terminal("exec", "-it", "c", "sh", rows=25, cols=81)
    try:
        t.expect(r"/ # ")
        t.ask_size(25, 81)
        t.send("test -t 0 && test -t 1 && echo a $TERM; exit 6\n")
        t.expect(r"a \w+\r\n")
        assert t.wait() == 6, t.text
    finally:
        t.close()


def test_attach(p):
    p.good("run", "-dit", "--name", "c", *p.flags("busybox", "sh"))
    t = p.terminal("attach", "--detach-keys", "ctrl-x", "c")
    try:
        t.send("echo $((40+2)) >&2\n")
        t.expect(r"42\r\n")
        t.send("\x18")
        assert t.wait() == 0, t.text
    finally:
        t.close()
    assert p.inspect(".State.Status") == "running"
    t = p.terminal("attach", "c")
    try:
        t.send("exit 8\n")
        t.wait()  # its code is 0 or 8: podman may look too late
    finally:
        t.close()
    assert p.inspect(".State.ExitCode") == "8"


def test_attach_without_a_terminal(p):
    p.good("run", "-di", "--name", "c", *p.flags("busybox", "sh", "-c", "read a; echo got $a"))
    r = p("attach", "c", input="words\n")
    assert r.rc == 0 and r.out.strip() == "got words", r


def test_pause_and_unpause(p):
    id = p.up()
    p.good("pause", "c")
    assert p.inspect(".State.Status") == "paused"
    assert json.loads(p.call(OCI, "state", id).out)["status"] == "paused"
    assert "frozen 1" in p.in_groups(id, "cgroup.events") or \
        "FROZEN" in p.in_groups(id, "freezer.state")
    p.bad(125, "pause", "c")
    p.bad(255, "exec", "c", "true")
    p.good("unpause", "c")
    p.good("exec", "c", "true")
    p.bad(125, "unpause", "c")
    p.good("stop", "-t", "30", "c")
    assert p.inspect(".State.ExitCode") == "3"
    # A paused container is killed and removed all the same.
    p.good("start", "c")
    p.good("pause", "c")
    p.good("rm", "-f", "-t", "0", "c")
    p.assert_nothing_left()


def test_limits_and_update(p):
    id = p.up("--memory", "64m", "--pids-limit", "50", "--cpus", "0.5", "--cpu-shares", "512",
              "--cpuset-cpus", "0", "--memory-reservation", "32m")
    memory, pids = ("memory.limit_in_bytes", "memory.max"), ("pids.max", "pids.max")
    assert p.limit(id, *memory) == str(64 << 20)
    assert p.limit(id, *pids) == "50"
    assert p.limit(id, "cpuset.cpus", "cpuset.cpus") == "0"
    assert p.limit(id, "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    stats = json.loads(p.good("stats", "--no-stream", "--format", "json", "c"))[0]
    assert stats["pids"] == "2" or int(stats["pids"]) >= 1, stats
    assert "67.11MB" in stats["mem_usage"], stats
    p.good("update", "--memory", "40m", "--cpu-quota", "30000", "c")
    assert p.limit(id, *memory) == str(40 << 20)
    assert p.limit(id, *pids) == "50"
    assert p.limit(id, "cpu.cfs_quota_us", "cpu.max").split()[0] == "30000"
    r = p.call(OCI, "update", "--pids-limit", "44", id)
    assert r.rc == 0 and p.limit(id, *pids) == "44", r
    assert p.limit(id, *memory) == str(40 << 20)
    p.good("exec", "c", "true")


def test_a_memory_limit_kills(p):
    r = p("run", "--name", "c", *p.flags("--memory", "16m", "--memory-swap", "16m", "busybox", "sh",
                                         "-c", "a=x; while :; do a=$a$a; done"))
    assert r.rc == 137, r


def test_a_pids_limit_holds(p):
    for none in ("-1", "0"):
        assert p.out("--pids-limit", none, "busybox", "sh", "-c", "true & wait; echo $?") == "0\n"
    out = p.run("--pids-limit", "8", "busybox", "sh", "-c",
                "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo done", rc=2)
    assert "can't fork" in out.err, out


# ---- options that people use

def test_read_only_tmpfs_and_volumes(p):
    for d in ("ro", "rw"):
        os.makedirs(p.path("host", d), exist_ok=True)
    with open(p.path("host", "file"), "w") as f:
        f.write("of the host\n")
    out = p.out("--read-only", "--tmpfs", "/srv:rw,size=1m,mode=700,noexec", "-v",
                p.path("host/ro") + ":/data:ro", "-v", p.path("host/rw") + ":/mnt/new", "-v",
                p.path("host/file") + ":/etc/file:ro", "busybox", "sh", "-c",
                "touch /x 2>/dev/null || echo root ro; touch /data/x 2>/dev/null || echo data ro; "
                "touch /srv/x && echo srv rw; stat -c %a /srv; grep -c ' /srv tmpfs .*noexec.*size="
                "1024k' /proc/mounts; touch /mnt/new/x && echo new rw; cat /etc/file; "
                "touch /dev/shm/x /tmp/x && echo shm rw")
    assert out.splitlines() == ["root ro", "data ro", "srv rw", "700", "1", "new rw", "of the host",
                                "shm rw"], out
    assert os.path.exists(p.path("host/rw/x"))


def test_a_named_volume_and_propagation(p):
    p.out("-v", "vol:/data", "busybox", "sh", "-c", "echo kept > /data/f")
    assert p.out("-v", "vol:/data:ro", "busybox", "cat", "/data/f") == "kept\n"
    os.makedirs(p.path("prop"), exist_ok=True)
    out = p.out("--mount", f"type=bind,src={p.path('prop')},dst=/data,bind-propagation=rslave",
                "busybox", "grep", " /data ", "/proc/self/mountinfo")
    assert " /data " in out, out
    p.good("volume", "rm", "vol")


def test_capabilities_and_users(p):
    status = ("sh", "-c", "grep -E 'CapEff|CapBnd|CapInh|CapAmb|NoNewPrivs|Seccomp:' "
                          "/proc/self/status; id -u; id -G")

    def ask(*flags):
        lines = p.out(*flags, "busybox", *status).split("\n")
        return dict(l.split(":\t") for l in lines if ":\t" in l), lines[-3:-1]

    got, ids = ask("--cap-drop", "all")
    assert got["CapEff"] == got["CapBnd"] == "0" * 16 and got["Seccomp"] == "2", got
    got, ids = ask("--cap-drop", "all", "--cap-add", "NET_BIND_SERVICE,CHOWN")
    assert int(got["CapEff"], 16) == 1 << 10 | 1 << 0, got
    got, ids = ask("--user", "web", "--security-opt", "no-new-privileges")
    assert int(got["CapEff"], 16) == 0 and got["NoNewPrivs"] == "1", got
    assert ids == ["1000", "1000"], ids
    got, ids = ask("--user", "7:8", "--group-add", "55")
    assert ids == ["7", "8 55"], ids
    got, ids = ask("--privileged", "--security-opt", "seccomp=unconfined")
    ours = re.search(r"CapBnd:\t(\w+)", read("/proc/self/status")).group(1)
    assert got["CapEff"] == ours and got["Seccomp"] == "0" and int(got["CapInh"], 16) == 0, got
    # a filter that the caller gives
    with open(p.path("seccomp.json"), "w") as f:
        json.dump({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}, f)
    r = p.run("--security-opt", "seccomp=" + p.path("seccomp.json"), "busybox", "mkdir", "/x", rc=1)
    assert "No space left" in r.err, r


def test_privileged(p):
    out = p.out("--privileged", "busybox", "sh", "-c",
                "test -c /dev/kmsg && echo devices; mount -t tmpfs t /mnt 2>&1 || mkdir /mnt && "
                "mount -t tmpfs t /mnt && echo mounts; grep -c ' /sys sysfs rw' /proc/mounts")
    assert out.splitlines()[0] == "devices" and "mounts" in out and out.endswith("1\n"), out


def test_namespaces(p):
    def spaces(*flags):
        return p.out(*flags, "busybox", "sh", "-c",
                     "for n in ipc mnt net pid uts; do readlink /proc/self/ns/$n; done").split()

    ours = [os.readlink(f"/proc/self/ns/{n}") for n in ("ipc", "mnt", "net", "pid", "uts")]
    assert not set(spaces()) & set(ours)
    shared = spaces("--pid", "host", "--ipc", "host", "--uts", "host")
    assert [s in ours for s in shared] == [True, False, False, True, True], (ours, shared)
    assert p.out("--hostname", "named", "busybox", "hostname") == "named\n"
    p.up()
    theirs = p.good("exec", "c", "readlink", "/proc/self/ns/pid").strip()
    joined = spaces("--pid", "container:c")
    assert theirs in joined, (theirs, joined)


def test_a_user_namespace(p):
    out = p.out("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536", "busybox", "sh", "-c",
                "cat /proc/self/uid_map /proc/self/gid_map; id -u; touch /tmp/x && stat -c %u /tmp/x")
    assert out.split() == ["0", "100000", "65536", "0", "200000", "65536", "0", "0"], out


def test_more_options(p):
    out = p.out("--ulimit", "nofile=100:200", "--ulimit", "nproc=99:99", "--oom-score-adj", "100",
                "--shm-size", "1m", "--umask", "0077", "--sysctl", "net.ipv4.ip_forward=1",
                "--env", "V=1", "--workdir", "/srv", "--device", "/dev/zero:/dev/nought:r",
                "--personality", "LINUX32", "busybox", "sh", "-c",
                "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; "
                "df -k /dev/shm | tail -1 | awk '{print $2}'; umask; "
                "cat /proc/sys/net/ipv4/ip_forward; echo $V; pwd; "
                "stat -c %t:%T /dev/nought; uname -m")
    assert out.split() == ["100", "200", "100", "1024", "0077", "1", "1", "/srv", "1:5",
                           "i686" if os.uname().machine == "x86_64" else os.uname().machine], out
    assert p.out("--preserve-fds", "1", "busybox", "sh", "-c", "cat <&3",
                 **fd3(p, "handed over\n")) == "handed over\n"
    assert p.out("--rootfs", p.rootfs(), "echo", "no image") == "no image\n"
    p.out("--cgroupns", "host", "busybox", "grep", p.name, "/proc/self/cgroup")


def fd3(p, text):
    """Arguments that give a command a descriptor 3."""
    with open(p.path("three"), "w") as f:
        f.write(text)
    fd = os.open(p.path("three"), os.O_RDONLY)
    if fd != 3:
        os.dup2(fd, 3)
        os.close(fd)
    return {"pass_fds": (3,)}


def test_without_a_cgroup(p):
    r = p("run", "--rm", "--network", "none", "--cgroups", "disabled", "busybox", "echo", "free")
    assert r.rc == 0 and r.out == "free\n", r
    p.assert_nothing_left()


def test_restart_policy(p):
    p.up("--restart", "on-failure:2", command=("sh", "-c", "echo once; exit 1"))
    wait_for("three attempts", lambda: p.good("logs", "c") == "once\n" * 3, timeout=60)


# ---- error texts and exit codes

ERRORS = (  # the command, exit code, what podman says of it
    (("nosuch",), 127, ('exec: "nosuch": executable file not found in $PATH',
                        "attempted to invoke a command that was not found")),
    (("/nosuch/x",), 127, ("no such file or directory", "that was not found")),
    (("/etc/passwd/x",), 127, ("no such file or directory", "that was not found")),
    (("/etc/passwd",), 126, ("permission denied", "OCI permission denied")),
    (("/etc",), 126, ("permission denied", "OCI permission denied")),
)
# What only execve tells is told by start, or by exec: the command, the two exit codes, the words.
LATE = ((("/bin/orphan",), 126, 127, "no such file or directory"),
        (("/bin/broken",), 126, 255, "xec format error"))


def test_programs_that_cannot_run(p):
    for argv, code, words in ERRORS:
        p.run("busybox", *argv, rc=code, has=words)
    for argv, code, _, words in LATE:
        p.run("busybox", *argv, rc=code, has=words)
    p.run("--user", "web", "-v", p.rootfs() + "/etc:/data:ro", "busybox", "/data/passwd", rc=126,
          has="OCI permission denied")
    p.assert_nothing_left()


def test_programs_that_exec_cannot_run(p):
    p.up()
    for argv, code, words in ERRORS:
        p.bad(code, "exec", "c", *argv, has=words)
        p.bad(code, "exec", "-t", "c", *argv)
    for argv, _, code, words in LATE:
        p.bad(code, "exec", "c", *argv, has=words)


def test_errors_by_plain_text(p):
    """Where podman does not know that the runtime writes JSON, it reads what is on stderr."""
    p.runtime = OCI  # by a path, as a user gives it who has configured nothing
    p.conf("")
    try:
        p.run("busybox", "nosuch", rc=127, has="executable file not found in $PATH")
        p.run("busybox", "/etc/passwd", rc=126, has="OCI permission denied")
        assert p.out("busybox", "echo", "fine") == "fine\n"
    finally:
        p.runtime = Podman.runtime
        p.conf(JSON)


def test_errors_that_are_not_of_the_program(p):
    """What is missing on the host must not look like a missing program."""
    p.run("--ulimit", "nofile=99999999:99999999", "busybox", "true", rc=126, has="RLIMIT_NOFILE")
    r = p.run("--sysctl", "net.no.such=1", "busybox", "true", rc=126, has="net.no.such")
    assert "command that was not found" not in r.err, r
    os.makedirs(p.path("gone"), exist_ok=True)
    p.good("create", "--name", "c", *p.flags("-v", p.path("gone") + ":/data", "busybox", "true"))
    os.rmdir(p.path("gone"))
    r = p("start", "c")
    assert r.rc == 125 and "gone" in r.err, r


def test_nothing_is_left_behind(p):
    p.clean()
    p.assert_nothing_left()


main(globals())
