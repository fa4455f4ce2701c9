#!/usr/bin/env python3
"""umiak-oci under Debian's dockerd, as an added runtime and as the default one: run, exec, terminals,
pause, update, stats, stop, logs, networks of hooks, limits, errors, a daemon that restarts."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from callers import *  # noqa

unpacked("containerd", "runc", "tini", "docker.io")
private_namespaces()
private_folders()

IDLE = ("sh", "-c", "trap 'echo told to end; exit 3' TERM; echo up; while :; do sleep 0.05; done")


class Docker(Caller):
    def __init__(self):
        super().__init__()
        self.socket = self.path("d.sock")
        self.env["DOCKER_CONFIG"] = self.path("config")
        with open(self.path("daemon.json"), "w") as f:
            json.dump({"runtimes": {"umiak": {"path": OCI}, "flags": {
                "path": OCI, "runtimeArgs": ["--debug"]}}}, f)
        self.start()
        self.good("import", self.layer(), "busybox")

    def start(self):
        with open(self.path("log"), "ab") as log:
            # Its own network namespace: a bridge there is nobody else's.
            self.proc = subprocess.Popen(
                ["dockerd", "--config-file", self.path("daemon.json"), "--data-root",
                 self.path("root"), "--exec-root", self.path("run"), "--pidfile", self.path("pid"),
                 "--host", "unix://" + self.socket, "--storage-driver", "vfs", "--bridge", "none",
                 "--iptables=false", "--ip6tables=false", "--default-runtime", "umiak",
                 "--cgroup-parent", "/" + self.name, "--live-restore", "--init-path",
                 shutil.which("tini-static"),
                 "--exec-opt", "native.cgroupdriver=cgroupfs"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)
        wait_for("dockerd", lambda: self("version").rc == 0 or self.ended(), timeout=120)

    def ended(self):
        if self.proc.poll() is not None:
            raise SystemExit("dockerd ended:\n" + read(self.path("log"))[-3000:])

    def argv(self, *args):
        return ["docker", "--host", "unix://" + self.socket, *args]

    def run(self, *args, rc=0, has=(), **kw):
        return self.bad(rc, "run", "--rm", "--network", "none", *args, has=has, **kw)

    def up(self, *flags, name="cc", command=IDLE):
        id = self.good("run", "-d", "--network", "none", "--name", name, *flags, "busybox",
                       *command).strip()
        if command is IDLE:
            wait_for("the program", lambda: "up" in self.good("logs", name), timeout=60)
        return id

    def inspect(self, what, name="cc"):
        return self.good("inspect", "--format", "{{%s}}" % what, name).strip()

    def state_folders(self):
        return glob.glob(self.path("run") + "/runtime-*/moby")

    def daemons(self):
        """dockerd's own containerd, too."""
        return [p for p in processes(self.dir)
                if os.path.basename(command(p)[0]) == "containerd"]

    def own_mounts(self):
        return (self.path("root"),)

    def clean(self):
        ids = self("ps", "-aq").out.split()
        if ids:
            self("rm", "-f", "-v", *ids)


docker = Docker()


def make_node():
    return docker


def test_the_runtime_is_known(d):
    info = json.loads(d.good("info", "--format", "{{json .}}"))
    assert info["DefaultRuntime"] == "umiak" and info["Runtimes"]["umiak"]["path"] == OCI, info
    assert d.good("run", "--rm", "--network", "none", "--runtime", "umiak", "busybox", "echo",
                  "named") == "named\n"
    assert d.run("--runtime", "flags", "busybox", "echo", "flags").out == "flags\n"


def test_run_gives_output_and_exit_codes(d):
    r = d.run("busybox", "sh", "-c", "echo out; echo err >&2; exit 5", rc=5)
    assert (r.out, r.err) == ("out\n", "err\n"), r
    r = d.run("-i", "busybox", "cat", input="x" * 100000)
    assert r.out == "x" * 100000, len(r.out)
    d.assert_nothing_left()


def test_detached_logs_stop_and_remove(d):
    d.up()
    assert d.good("ps", "--format", "{{.Names}}").split() == ["cc"]
    d.good("stop", "--time", "60", "cc")
    assert d.inspect(".State.ExitCode") == "3"
    assert d.good("logs", "cc") == "up\ntold to end\n"
    d.good("start", "cc")
    wait_for("the second start", lambda: d.good("logs", "cc").endswith("up\n"), timeout=60)
    d.good("restart", "--time", "60", "cc")
    d.bad(1, "rm", "cc", has="running")
    d.good("rm", "-f", "cc")
    d.up(command=("sleep", "1000"))
    d.good("stop", "--time", "1", "cc")
    assert d.inspect(".State.ExitCode") == "137"
    d.good("rm", "cc")
    d.assert_nothing_left()


def test_kill_and_wait(d):
    d.up(command=("sh", "-c", "trap 'exit 42' USR1; echo up; while :; do sleep 0.05; done"))
    wait_for("the program", lambda: d.good("logs", "cc") == "up\n", timeout=60)
    d.good("kill", "--signal", "USR1", "cc")
    assert d.good("wait", "cc").strip() == "42"
    d.bad(1, "kill", "cc", has="is not running")
    d.good("start", "cc")
    d.good("kill", "cc")
    assert d.good("wait", "cc").strip() == "137"


def test_exec(d):
    d.up("-e", "OF=container")
    r = d.bad(7, "exec", "cc", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (r.out, r.err) == ("out\n", "err\n"), r
    out = d.good("exec", "-u", "web", "-e", "A=b c", "-w", "/tmp", "cc", "sh", "-c",
                 "id -u; id -g; pwd; echo $A; echo $OF")
    assert out.splitlines() == ["1000", "1000", "/tmp", "b c", "container"], out
    assert d.good("exec", "-i", "cc", "cat", input="by stdin") == "by stdin"
    d.good("exec", "-d", "cc", "sh", "-c", "echo done > /tmp/mark")
    wait_for("the detached exec", lambda: d.good("exec", "cc", "cat", "/tmp/mark") == "done\n",
             timeout=60)
    d.bad(137, "exec", "cc", "sh", "-c", "kill -9 $$")
    assert "trap" in d.good("top", "cc")
    d.good("stop", "--time", "60", "cc")
    d.bad(1, "exec", "cc", "true", has="is not running")


def test_a_terminal(d):
    t = d.terminal("run", "--rm", "-it", "--network", "none", "busybox", "sh", rows=33, cols=77)
    try:
        t.expect(r"/ # ")
        t.send("tty\n")
        t.expect(r"/dev/pts/0\r\n")
        t.ask_size(33, 77)
        t.send("exit 5\n")
        assert t.wait() == 5, t.text
    finally:
        t.close()
    d.up()
    t = d.terminal("exec", "-it", "cc", "sh", rows=25, cols=81)
    try:
        t.expect(r"/ # ")
        t.ask_size(25, 81)
        t.send("test -t 0 && test -t 1 && echo a $TERM; exit 6\n")
        t.expect(r"a \w+\r\n")
        assert t.wait() == 6, t.text
    finally:
        t.close()


def test_attach(d):
    d.good("run", "-dit", "--network", "none", "--name", "cc", "busybox", "sh")
    t = d.terminal("attach", "--detach-keys", "ctrl-x,d", "cc")
    try:
        t.send("echo $((40+2))\n")
        t.expect(r"42\r\n")
        t.send("\x18d")
        assert t.wait() in (0, 1), t.text
    finally:
        t.close()
    assert d.inspect(".State.Status") == "running"
    t = d.terminal("attach", "cc")
    try:
        t.send("exit 8\n")
        assert t.wait() == 8, t.text
    finally:
        t.close()


def test_pause_and_unpause(d):
    d.up()
    d.good("pause", "cc")
    assert d.inspect(".State.Status") == "paused"
    d.bad(1, "exec", "cc", "true", has="paused")
    d.good("unpause", "cc")
    d.good("exec", "cc", "true")
    d.good("pause", "cc")
    d.good("rm", "-f", "cc")
    d.assert_nothing_left()


def test_limits_update_and_stats(d):
    id = d.up("--memory", "64m", "--memory-swap", "96m", "--pids-limit", "50", "--cpus", "0.5",
              "--cpuset-cpus", "0")
    memory, pids = ("memory.limit_in_bytes", "memory.max"), ("pids.max", "pids.max")
    assert d.limit(id, *memory) == str(64 << 20)
    assert d.limit(id, *pids) == "50"
    assert d.limit(id, "cpuset.cpus", "cpuset.cpus") == "0"
    stats = json.loads(d.good("stats", "--no-stream", "--format", "{{json .}}", "cc"))
    assert stats["MemUsage"].endswith("/ 64MiB") and int(stats["PIDs"]) >= 1, stats
    d.good("update", "--cpu-shares", "300", "cc")
    assert d.limit(id, *memory) == str(64 << 20)
    d.good("update", "--memory", "40m", "--memory-swap", "80m", "--pids-limit", "44", "--cpus",
           "0.25", "cc")
    assert d.limit(id, *memory) == str(40 << 20)
    assert d.limit(id, *pids) == "44"
    quota = d.limit(id, "cpu.cfs_quota_us", "cpu.max").split()[0]
    assert quota == "25000", quota
    d.good("exec", "cc", "true")
    r = d.bad(1, "update", "--cpuset-cpus", "4000", "cc")
    assert "4000" in r.err, r


def test_a_memory_limit_kills(d):
    r = d("run", "--network", "none", "--name", "cc", "--memory", "16m", "--memory-swap", "16m",
          "busybox", "sh", "-c", "a=x; while :; do a=$a$a; done")
    assert r.rc == 137, r
    assert d.inspect(".State.OOMKilled") == "true"


def test_options_that_people_use(d):
    os.makedirs(d.path("host"), exist_ok=True)
    out = d.run("--read-only", "--tmpfs", "/srv:size=1m,noexec", "-v", d.path("host") + ":/data",
                "-v", "vol:/mnt/new", "--hostname", "named", "--ulimit", "nofile=100:200",
                "--oom-score-adj", "100", "--shm-size", "1m", "--sysctl", "net.ipv4.ip_forward=1",
                "--device", "/dev/zero:/dev/nought:r", "--cap-drop", "all", "--cap-add", "CHOWN",
                "--security-opt", "no-new-privileges", "--group-add", "55", "--dns", "192.0.2.1",
                "--add-host", "other:192.0.2.2", "--init", "busybox", "sh", "-c",
                "touch /x 2>/dev/null || echo ro; touch /srv/x /data/x /mnt/new/x && echo rw; "
                "hostname; ulimit -Hn; cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward; "
                "df -k /dev/shm | tail -1 | awk '{print $2}'; stat -c %t:%T /dev/nought; "
                "sed -n 's/CapEff:\t//p;s/NoNewPrivs:\t//p' /proc/self/status; id -G; "
                "grep -c 192.0.2.2 /etc/hosts; cat /proc/1/comm").out
    assert out.splitlines() == ["ro", "rw", "named", "200", "100", "1", "1024", "1:5",
                                "0000000000000001", "1", "0 55", "1", "docker-init"], out
    d.good("volume", "rm", "vol")
    out = d.run("--privileged", "busybox", "sh", "-c",
                "sed -n 's/CapEff:\t//p' /proc/self/status; test -c /dev/kmsg && echo devices; "
                "mount -t tmpfs t /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs t /mnt && "
                "echo mounts").out
    assert int(out.split()[0], 16) & 1 << 21 and out.split()[1] == "devices", out
    assert "mounts" in out, out
    assert d.run("--user", "web", "busybox", "id", "-u").out == "1000\n"
    assert d.run("-w", "/is/made", "busybox", "pwd").out == "/is/made\n"
    d.up()
    theirs = d.good("exec", "cc", "readlink", "/proc/self/ns/pid")
    assert d.run("--pid", "container:cc", "busybox", "readlink", "/proc/self/ns/pid").out == theirs
    d.run("--pid", "host", "--ipc", "host", "--uts", "host", "busybox", "true")
    d.good("cp", "/etc/hostname", "cc:/tmp/copied")
    assert d.good("exec", "cc", "cat", "/tmp/copied") == read("/etc/hostname")


def test_a_network_of_dockers(d):
    """dockerd's hook makes the interface, from outside, while the container waits."""
    d.good("network", "create", "--subnet", "10.213.7.0/24", "--internal", "inner")
    try:
        d.good("run", "-d", "--name", "cc", "--network", "inner", "busybox", "sh", "-c",
               "echo words > /tmp/index.html; exec httpd -f -p 8080 -h /tmp")
        out = d.good("run", "--rm", "--network", "inner", "busybox", "ip", "-o", "-4", "addr")
        assert " eth0 " in out and "10.213.7." in out, out
        address = d.inspect(".NetworkSettings.Networks.inner.IPAddress")
        wait_for("an answer", lambda: d.good("run", "--rm", "--network", "inner", "busybox", "wget",
                                             "-qO-", f"http://{address}:8080/") == "words\n",
                 timeout=60)
        joined = d.good("run", "--rm", "--network", "container:cc", "busybox", "wget", "-qO-",
                        "http://127.0.0.1:8080/")
        assert joined == "words\n", joined
    finally:
        d.clean()
        d.good("network", "rm", "inner")


def test_errors(d):
    for argv, code, words in ((("nosuch",), 127, "executable file not found in $PATH"),
                              (("/nosuch/x",), 127, "no such file or directory"),
                              (("/etc/passwd",), 126, "permission denied"),
                              (("/etc",), 126, "permission denied")):
        d.run("busybox", *argv, rc=code, has=("OCI runtime create failed", words))
    d.run("busybox", "/bin/orphan", rc=127, has="no such file or directory")
    d.up()
    for argv in ("nosuch", "/nosuch/x", "/etc/passwd", "/etc"):
        r = d("exec", "cc", argv)  # 126: this version tells them not apart
        assert r.rc == 126 and "OCI runtime exec failed" in r.out + r.err, r
    # Nothing of the host's looks like a missing program.
    d.run("--sysctl", "net.no.such=1", "busybox", "true", rc=125, has="net.no.such")
    with open(d.path("file"), "w") as f:
        f.write("a file\n")
    r = d("run", "--rm", "--network", "none", "-v", d.path("file") + ":/etc", "busybox", "true")
    assert r.rc in (125, 127) and "not a directory" in r.err.lower(), r
    d.clean()
    d.assert_nothing_left()


def test_restart_policy(d):
    d.up("--restart", "on-failure:2", command=("sh", "-c", "echo once; exit 1"))
    wait_for("three attempts", lambda: d.good("logs", "cc") == "once\n" * 3, timeout=60)


def test_health_checks(d):
    d.up("--health-cmd", "test -e /tmp/well", "--health-interval", "1s")
    d.good("exec", "cc", "touch", "/tmp/well")
    wait_for("health", lambda: d.inspect(".State.Health.Status") == "healthy", timeout=60)


def test_the_daemon_restarts(d):
    d.up()
    d.stop()
    d.start()
    assert d.inspect(".State.Status") == "running"
    assert d.good("exec", "cc", "echo", "still here") == "still here\n"
    d.good("stop", "--time", "60", "cc")
    assert d.inspect(".State.ExitCode") == "3"


def test_nothing_is_left_behind(d):
    d.clean()
    d.assert_nothing_left()


main(globals())
