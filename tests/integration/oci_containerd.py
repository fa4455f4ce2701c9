#!/usr/bin/env python3
"""umiak-oci under Debian's containerd: ctr and the runc shim pointed at it. Run, exec, terminals,
pause, metrics, events, OOM kills, signals, removal, errors, a daemon that restarts."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from callers import *  # noqa

unpacked("containerd")
private_namespaces()
private_folders()

IMAGE = "localhost/busybox:latest"
IDLE = ("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")


class Containerd(Caller):
    def __init__(self):
        super().__init__()
        self.socket = self.path("c.sock")
        with open(self.path("config.toml"), "w") as f:
            f.write(f"""version = 2
root = "{self.path('root')}"
state = "{self.path('run')}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{self.socket}"
[debug]
address = "{self.path('d.sock')}"
""")
        self.start()
        self.good("images", "import", "--snapshotter", "native", self.oci_layout())

    def start(self):
        with open(self.path("log"), "ab") as log:
            self.proc = subprocess.Popen(["containerd", "-c", self.path("config.toml")],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         env=self.env)
        wait_for("containerd", lambda: self("version").rc == 0, timeout=60)

    def argv(self, *args):
        return ["ctr", "--address", self.socket, *args]

    def flags(self, id, *flags):
        return ["--snapshotter", "native", "--runc-binary", OCI, "--cgroup", f"/{self.name}/{id}",
                *flags, IMAGE, id]

    def run(self, *command, flags=(), rc=0, has=(), id="r", **kw):
        return self.bad(rc, "run", "--rm", *self.flags(id, *flags), *command, has=has, **kw)

    def up(self, *flags, id="c", command=IDLE):
        self.good("run", "-d", *self.flags(id, *flags), *command)

    def status(self, id="c"):
        for line in self.good("tasks", "ls").splitlines()[1:]:
            if line.split()[0] == id:
                return line.split()[2]
        return None

    def exec(self, *command, id="c", flags=(), **kw):
        self.n = getattr(self, "n", 0) + 1
        return self("tasks", "exec", "--exec-id", f"e{self.n}", *flags, id, *command, **kw)

    def exec_says(self, rc, out, err, *command, flags=(), **kw):
        """ctr may end before it has read all that an exec says, under any runtime: once in forty
        times on a loaded machine. So it is asked again; a wrong code or wrong words fail at once."""
        def once():
            r = self.exec(*command, flags=flags, **kw)
            assert r.rc == rc and r.out in ("", out), r
            return r.out == out and err in r.err

        for _ in range(30):
            if once():
                return
        raise AssertionError(f"{command} never said {out!r} and {err!r}")

    def state_folders(self):
        return ["/run/containerd/runc/default"]

    def clean(self):
        for line in self("tasks", "ls", "-q").out.split():
            self("tasks", "rm", "-f", line)
        for line in self("containers", "ls", "-q").out.split():
            self("containers", "rm", line)


containerd = Containerd()


def make_node():
    return containerd


def test_run_gives_output_and_exit_codes(c):
    assert c.run("echo", "hello").out == "hello\n"
    r = c.run("sh", "-c", "echo out; echo err >&2; exit 5", rc=5)
    assert (r.out, r.err) == ("out\n", "err\n"), r
    # ctr never tells the end of its input
    assert c.run("head", "-c", "100000", input="x" * 100000).out == "x" * 100000
    c.assert_nothing_left()


def test_options_of_run(c):
    os.makedirs(c.path("host"), exist_ok=True)
    r = c.run("sh", "-c", "touch /x 2>/dev/null || echo read-only; pwd; echo $V; touch /data/x && "
              "echo bound; test -c /dev/zero && echo device; "
              "sed -n 's/CapEff:\t//p;s/NoNewPrivs:\t//p;s/Seccomp:\t//p' /proc/self/status",
              flags=["--read-only", "--cwd", "/srv", "--env", "V=1", "--mount",
                     f"type=bind,src={c.path('host')},dst=/data,options=rbind:rw", "--device",
                     "/dev/zero", "--seccomp", "--cap-drop", "CAP_NET_RAW", "--cpus", "0.5"])
    out = r.out.split()
    assert out[:5] == ["read-only", "/srv", "1", "bound", "device"], r
    assert out[5:] == ["00000000a80405fb", "1", "2"], r
    assert os.path.exists(c.path("host/x"))
    ours = sh("sed", "-n", "s/CapBnd:\t//p", "/proc/self/status").strip()
    r = c.run("sed", "-n", "s/CapEff:\t//p", "/proc/self/status", flags=["--privileged"])
    assert r.out.strip() == ours, r
    net = os.readlink("/proc/self/ns/net")
    assert c.run("readlink", "/proc/self/ns/net").out.strip() != net
    assert c.run("readlink", "/proc/self/ns/net", flags=["--net-host"]).out.strip() == net
    assert c.run("pwd", flags=["--cwd", "/is/made"]).out == "/is/made\n"
    c.up("--pid-file", c.path("pid"))
    joined = c.run("readlink", "/proc/self/ns/uts", flags=[
        "--with-ns", f"uts:/proc/{read(c.path('pid')).strip()}/ns/uts"]).out.strip()
    assert joined == os.readlink(f"/proc/{read(c.path('pid')).strip()}/ns/uts")


def test_exec(c):
    c.up("--env", "OF=container")
    c.exec_says(7, "out\n", "err\n", "sh", "-c", "echo out; echo err >&2; exit 7")
    c.exec_says(0, "1000\n1000\n/tmp\ncontainer\n", "", "sh", "-c",
                "id -u; id -g; pwd; echo $OF", flags=["--user", "1000:1000", "--cwd", "/tmp"])
    c.exec_says(0, "by stdin", "", "cat", input="by stdin")
    r = c("tasks", "exec", "--exec-id", "sleeper", "--detach", "c", "sh", "-c",
          "touch /tmp/mark; sleep 1000")
    assert r.rc == 0, r
    wait_for("the detached exec", lambda: c.exec("test", "-e", "/tmp/mark").rc == 0, timeout=60)
    assert len(c.good("tasks", "ps", "c").splitlines()) >= 3
    c.bad(137, "tasks", "exec", "--exec-id", "k", "c", "sh", "-c", "kill -9 $$")
    before = len(c.good("tasks", "ps", "c").splitlines())
    c.good("tasks", "kill", "--exec-id", "sleeper", "-s", "KILL", "c")
    wait_for("its end", lambda: len(c.good("tasks", "ps", "c").splitlines()) < before, timeout=60)


def test_a_terminal(c):
    t = c.terminal("run", "--rm", "-t", *c.flags("t"), "sh", rows=33, cols=77)
    try:
        t.expect(r"/ # ")
        t.send("tty\n")
        t.expect(r"/dev/pts/0\r+\n")
        t.ask_size(33, 77)
        t.send("exit 5\n")
        assert t.wait() == 5, t.text
    finally:
        t.close()
    c.up()
    t = c.terminal("tasks", "exec", "-t", "--exec-id", "t", "c", "sh", rows=25, cols=81)
    try:
        t.expect(r"/ # ")
        t.ask_size(25, 81)
        t.send("test -t 0 && exit 6\n")
        assert t.wait() == 6, t.text
    finally:
        t.close()


def test_attach(c):
    # ctr asks for a terminal of its own even where it detaches.
    t = c.terminal("run", "-d", "-t", *c.flags("c"), "sh")
    try:
        assert t.wait() == 0, t.text
    finally:
        t.close()
    t = c.terminal("tasks", "attach", "c")
    try:
        t.send("echo $((40+2))\n")
        t.expect(r"42\r+\n")
        t.send("exit 8\n")
        assert t.wait() == 8, t.text
    finally:
        t.close()


def test_pause_and_resume(c):
    c.up()
    c.good("tasks", "pause", "c")
    assert c.status() == "PAUSED"
    r = c.exec("true")
    assert r.rc == 1 and "paused" in r.err, r
    c.good("tasks", "resume", "c")
    assert c.status() == "RUNNING"
    assert c.exec("true").rc == 0
    c.good("tasks", "pause", "c")
    c.good("tasks", "kill", "-s", "KILL", "c")
    c("tasks", "resume", "c")  # a group of cgroup v1 dies when it is thawed
    wait_for("its end", lambda: c.status() == "STOPPED", timeout=60)


def test_limits_metrics_and_update(c):
    c.up("--memory-limit", str(64 << 20), "--cpus", "0.5")
    memory = ("memory.limit_in_bytes", "memory.max")
    assert c.limit("c", *memory) == str(64 << 20)
    r = c("tasks", "metrics", "--format", "json", "c")
    assert r.rc == 0, r
    if os.path.isdir(CGROUPS + "/memory"):  # ctr knows two forms
        m = json.loads(r.out)
        assert m["memory"]["usage"]["limit"] == 64 << 20 and m["pids"]["current"] >= 1, m
        assert m["cpu"]["usage"]["total"] > 0, m
    r = c.call(OCI, "--root", "/run/containerd/runc/default", "update", "--resources", "-", "c",
               input=json.dumps({"memory": {"limit": 48 << 20}, "pids": {"limit": 20}}))
    assert r.rc == 0 and c.limit("c", *memory) == str(48 << 20), r
    assert c.limit("c", "pids.max", "pids.max") == "20"


def test_kill_and_remove(c):
    c.up()
    c.good("tasks", "kill", "c")  # TERM
    wait_for("its end", lambda: c.status() == "STOPPED", timeout=60)
    r = c("tasks", "kill", "c")
    assert r.rc == 1 and "not found" in r.err, r
    r = c("tasks", "rm", "c")
    assert "exit code 3" in r.err, r
    c.good("containers", "rm", "c")
    c.up(command=("sh", "-c", "sleep 1000 & exec sleep 1000"))
    r = c("tasks", "rm", "c")
    assert r.rc == 1 and "running" in r.err, r
    c.good("tasks", "kill", "--all", "-s", "KILL", "c")
    wait_for("its end", lambda: c.status() == "STOPPED", timeout=60)
    c.clean()
    c.up()
    c.good("tasks", "rm", "-f", "c")
    c.good("containers", "rm", "c")
    c.assert_nothing_left()


def test_events_and_oom_kills(c):
    with open(c.path("events"), "w") as f:
        p = subprocess.Popen(c.argv("events"), stdout=f, stderr=f, env=c.env)
    try:
        # There is no word of when the subscription stands.
        wait_for("the subscription", lambda: c("namespaces", "label", "default", "x=1").rc == 0 and
                 "/namespaces/update" in read(c.path("events")), timeout=60)
        c.run("sh", "-c", "a=x; while :; do a=$a$a; done", flags=["--memory-limit", str(16 << 20)],
              rc=137, id="oom")
        c.up()
        c.good("tasks", "pause", "c")
        c.good("tasks", "resume", "c")
        c.exec("true")
        c.good("tasks", "rm", "-f", "c")
        for topic in ("create", "start", "oom", "exit", "paused", "resumed", "exec-added",
                      "exec-started", "delete"):
            wait_for(topic, lambda: f" /tasks/{topic} " in read(c.path("events")), timeout=60)
    finally:
        p.terminate()
        p.wait()


def test_errors(c):
    for argv, words in ((("nosuch",), 'exec: "nosuch": executable file not found in $PATH'),
                        (("/nosuch/x",), "no such file or directory"),
                        (("/etc/passwd",), "permission denied"), (("/etc",), "permission denied")):
        c.run(*argv, rc=1, has=("OCI runtime create failed", words))
    c.up()
    for argv, words in ((("nosuch",), 'exec: "nosuch": executable file not found in $PATH'),
                        (("/etc/passwd",), "permission denied")):
        r = c.exec(*argv)
        assert r.rc == 1 and words in r.err and "OCI runtime exec failed" in r.err, r
    r = c("run", "-d", *c.flags("c"), "true")
    assert r.rc == 1 and "already exists" in r.err, r
    r = c("tasks", "checkpoint", "c")
    assert r.rc == 1 and "not supported" in r.err, r
    assert c.exec("true").rc == 0
    r = c.run("true", flags=["--mount", f"type=bind,src={c.path('gone')},dst=/data,options=rbind"],
              rc=1, has="gone")
    c.clean()
    c.assert_nothing_left()


def test_the_daemon_restarts(c):
    c.up()
    c.stop()
    c.start()
    assert c.status() == "RUNNING"
    c.exec_says(0, "still here\n", "", "echo", "still here")
    c.good("tasks", "kill", "c")
    wait_for("its end", lambda: c.status() == "STOPPED", timeout=60)


def test_twenty_at_once(c):
    procs = [subprocess.Popen(c.argv("run", "--rm", *c.flags(f"p{i}"), "sh", "-c", f"exit {i}"),
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=c.env)
             for i in range(20)]
    for i, p in enumerate(procs):
        _, err = p.communicate(timeout=120)
        assert p.returncode == i, (i, p.returncode, err)


def test_nothing_is_left_behind(c):
    c.clean()
    c.assert_nothing_left()


main(globals())
