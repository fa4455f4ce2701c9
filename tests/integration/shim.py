#!/usr/bin/env python3
"""umiak-shim as its agent sees it: the protocol, logs, exit records, namespaces, crashes."""
import re
import socket
import sys

import os
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

private_namespaces()

PLAIN = os.environ.get("PLAIN", BUILD)
OCI = os.path.join(PLAIN if os.path.exists(PLAIN + "/umiak-oci") else BUILD, "umiak-oci")
LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([FP]) (.*)$")


class Conn:
    """One connection to the shim: packets of NUL-ended fields."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.s.connect(path)  # waits while the shim's queue is full
        self.s.settimeout(20)
        self.seq = 0
        self.events = []

    def send(self, kind, **fields):
        self.seq += 1
        words = [kind, f"seq={self.seq}"] + [f"{k}={v}" for k, v in fields.items()]
        self.s.send(b"".join(w.encode() + b"\0" for w in words))
        return self.seq

    def recv(self):
        data = self.s.recv(8192)
        if not data:
            raise EOFError
        assert data.endswith(b"\0"), data
        words = data[:-1].decode().split("\0")
        return {"kind": words[0], **dict(w.split("=", 1) for w in words[1:])}

    def answer(self, seq):
        while True:
            m = self.recv()
            if m["kind"] in ("ok", "error") and m["seq"] == str(seq):
                return m
            self.events.append(m)

    def call(self, kind, **fields):
        return self.answer(self.send(kind, **fields))

    def ok(self, kind, **fields):
        m = self.call(kind, **fields)
        assert m["kind"] == "ok", m
        return m

    def error(self, kind, **fields):
        m = self.call(kind, **fields)
        assert m["kind"] == "error" and m["message"], m
        return m

    def exited(self, name):
        """The event of its end."""
        while True:
            for e in self.events:
                if e["kind"] == "container" and e["name"] == name and e["state"] == "exited":
                    return e
            self.events.append(self.recv())


class Pod:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="umiak-test-")
        self.group = os.path.basename(self.dir)
        for d in ("run", "oci", "log", "root/bin", "root/proc", "root/dev", "root/tmp"):
            os.makedirs(self.path(d))
        shutil.copy("/bin/busybox", self.path("root/bin/busybox"))
        for c in ("sh", "sleep", "cat", "head", "tr", "kill", "ps", "dd", "hostname", "usleep"):
            os.symlink("busybox", self.path("root/bin", c))
        self.proc = None
        self.env = {}

    def path(self, *p):
        return os.path.join(self.dir, *p)

    def shim(self, *flags, prefix=()):
        r, w = os.pipe()
        self.proc = subprocess.Popen(
            [*prefix, os.path.join(BUILD, "umiak-shim"), "--dir", self.path("run"), "--uid", "u1", "--oci",
             OCI, "--oci-root", self.path("oci"), "--ready-fd", str(w), *flags], pass_fds=[w],
            stdin=subprocess.PIPE if prefix else subprocess.DEVNULL,
            env=dict(os.environ, **self.env))
        os.close(w)
        with os.fdopen(r) as f:
            self.ready = f.readline()
        return Conn(self.path("run/shim.sock")) if self.ready.startswith("ready") else None

    def conn(self):
        return Conn(self.path("run/shim.sock"))

    def bundle(self, name, script, edit=None):
        b = self.path("bundle-" + name)
        if not os.path.isdir(b):
            os.makedirs(b)
            sh(OCI, "spec", "--bundle", b)
        with open(b + "/config.json") as f:
            c = json.load(f)
        c["root"] = {"path": self.path("root"), "readonly": False}
        c["process"]["args"] = ["/bin/sh", "-c", script]
        c["process"]["terminal"] = False
        c["process"]["env"] = ["PATH=/bin"]
        c["linux"]["cgroupsPath"] = f"/{self.group}/{name}"
        if edit:
            edit(c)
        with open(b + "/config.json", "w") as f:
            json.dump(c, f)
        return b

    def fields(self, name, script, attempt=0, edit=None, **more):
        return {"name": name, "attempt": attempt, "id": f"{self.group}-{name}-{attempt}",
                "bundle": self.bundle(name, script, edit),
                "log": self.path("log", f"{name}.log"), "tty": 0, "stdin": 0, **more}

    def start(self, c, name, script, **kw):
        return c.ok("start", **self.fields(name, script, **kw))

    def lines(self, name, suffix=""):
        out = []
        for l in read(self.path("log", f"{name}.log{suffix}")).split("\n")[:-1]:
            m = LINE.match(l)
            assert m, f"no CRI line: {l[:200]!r}"
            out.append(m.groups())
        return out

    def close(self):
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
        if self.proc:
            self.proc.wait(10)
        for root in glob.glob(f"{CGROUPS}/*/{self.group}") + glob.glob(f"{CGROUPS}/{self.group}"):
            for d, dirs, files in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    for pid in read(d + "/cgroup.procs").split():
                        os.kill(int(pid), signal.SIGKILL)
        for pid in processes(self.dir):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
        for root in glob.glob(f"{CGROUPS}/*/{self.group}") + glob.glob(f"{CGROUPS}/{self.group}"):
            for d, dirs, files in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(d)
        for line in reversed(read("/proc/self/mountinfo").splitlines()):
            if self.dir in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


make_node = Pod


def test_hello_start_exit_forget_quit(p):
    c = p.shim()
    m = c.ok("hello")
    assert m["version"] == "2" and m["uid"] == "u1" and int(m["pid"]) == p.proc.pid
    assert [m[k] for k in ("net", "ipc", "uts", "pid_ns")] == ["-1"] * 4
    m = p.start(c, "a", "echo out; echo err >&2; exit 3", attempt=7)
    assert int(m["pid"]) > 1
    e = c.exited("a")
    assert os.WEXITSTATUS(int(e["status"])) == 3 and e["attempt"] == "7"
    assert int(e["started"]) <= int(e["finished"]) <= time.time_ns()
    assert read(p.path("run/a.7.exit")) == f"{e['status']} {e['finished']}\n"
    assert sorted(p.lines("a")) == [("stderr", "F", "err"), ("stdout", "F", "out")]
    c2 = p.conn()
    c2.ok("hello")
    assert c2.events[0]["state"] == "exited" and c2.events[0]["status"] == e["status"]
    c.ok("forget", name="a")
    assert not os.path.exists(p.path("run/a.7.exit"))
    c.ok("forget", name="a")
    c.ok("quit")
    assert p.proc.wait(5) == 0 and not os.listdir(p.path("run")), os.listdir(p.path("run"))


def test_signals(p):
    c = p.shim()
    p.start(c, "a", "trap 'echo got; exit 9' USR1; echo up; while true; do sleep 0.05; done")
    wait_for("up", lambda: p.lines("a"))
    assert c.error("quit")["errno"] == "16" and c.error("forget", name="a")["errno"] == "16"
    assert c.error("signal", name="a", number=65)["errno"] == "22"
    assert c.error("signal", name="a", number="x")["errno"] == "22"
    assert c.error("signal", name="none", number=9)["errno"] == "3"
    c.ok("signal", name="a", number=10)
    assert os.WEXITSTATUS(int(c.exited("a")["status"])) == 9
    assert c.error("signal", name="a", number=9)["errno"] == "3"
    p.start(c, "b", "sleep 100")
    c.ok("signal", name="b", number=9)
    assert os.WTERMSIG(int(c.exited("b")["status"])) == 9


def test_errors(p):
    c = p.shim()
    assert c.error("dance")["errno"] == "95"
    good = p.fields("a", "sleep 100")
    for k, bad in (("name", ""), ("name", "a/b"), ("name", ".."), ("name", "x" * 64), ("id", "/"),
                   ("log", "/" + "x" * 600)):
        c.error("start", **{**good, k: bad})
    for k in ("name", "id", "bundle", "log"):
        c.error("start", **{f: v for f, v in good.items() if f != k})
    assert c.error("start", **{**good, "bundle": "/nonexistent"})["message"]
    m = c.error("start", **p.fields("a", "", edit=lambda j: j["process"].update(args=["/none"])))
    assert "none" in m["message"], m
    p.start(c, "a", "sleep 100")
    assert "forget it first" in c.error("start", **good)["message"]
    for packet in (b"hello", b"\0", b"\0hello\0", b"hello\0" + b"x" * 4089 + b"\0" * 100):
        bad = p.conn()
        bad.s.send(packet)
        assert bad.s.recv(100) == b"", packet[:20]
    c.ok("hello")


def test_connections_come_and_go(p):
    c = p.shim()
    p.start(c, "a", "sleep 100")
    c.s.close()
    for _ in range(20):
        p.conn().s.close()
    many = [p.conn() for _ in range(20)]  # more than it has places for: new ones matter more
    assert many[-1].ok("hello")["uid"] == "u1" and many[-1].events[0]["state"] == "running"
    many[-1].ok("signal", name="a", number=9)
    assert many[-1].exited("a")["status"] == "9"


def test_an_answer_goes_only_to_who_asked(p):
    c = p.shim()
    fields = p.fields("a", "sleep 100")
    c.send("start", **fields)
    c.s.close()
    n = p.conn()
    n.s.settimeout(1)
    got = []
    with contextlib.suppress(OSError):
        while True:
            got.append(n.recv())
    assert [m["kind"] for m in got] == ["container"], got


def test_long_lines_and_lines_without_end(p):
    c = p.shim()
    p.start(c, "a", "head -c 40000 /dev/zero | tr '\\0' x; echo; echo; printf end")
    c.exited("a")
    got = p.lines("a")
    whole = "".join(t + ("\n" if f == "F" else "") for s, f, t in got)
    assert whole == "x" * 40000 + "\n\nend", [(f, len(t)) for s, f, t in got]
    assert [f for s, f, t in got] == ["P", "P", "F", "F", "P"]
    assert max(len(t) for s, f, t in got) == 16384


def test_a_line_without_end_is_there_before_the_exit_is_told(p):
    armed = Fault("shim.after-exit-record")
    p.env = armed.env
    c = p.shim()
    p.env = {}
    p.start(c, "a", "while [ ! -e /tmp/go ]; do sleep 0.05; done; head -c 20000 /dev/zero | tr '\\0' x; "
                    "printf end; : >/tmp/done")
    os.kill(p.proc.pid, signal.SIGSTOP)  # all is there when it looks
    open(p.path("root/tmp/go"), "w").close()
    wait_for("the end", lambda: os.path.exists(p.path("root/tmp/done")))
    time.sleep(0.3)
    os.kill(p.proc.pid, signal.SIGCONT)
    assert p.proc.wait(30) == -9 and armed.fired()
    armed.close()
    assert "".join(t for s, f, t in p.lines("a")) == "x" * 20000 + "end"


def test_terminals_and_stdin(p):
    c = p.shim()
    p.start(c, "t", "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; echo err >&2", tty=1,
            edit=lambda j: j["process"].update(terminal=True))
    c.exited("t")
    got = [(l[0], l[2].rstrip("\r")) for l in p.lines("t")]
    assert got == [("stdout", "terminal"), ("stdout", "err")], got
    assert not os.path.exists(p.path("run/t.tty"))
    p.start(c, "none", "cat; echo end")  # /dev/null
    c.exited("none")
    p.start(c, "open", "cat; echo end", stdin=1)
    time.sleep(0.3)
    assert not p.lines("open")
    c.ok("signal", name="open", number=9)
    c.exited("open")


def test_rotation(p):
    c = p.shim("--log-max-bytes", "4096", "--log-max-files", "3")
    p.start(c, "a", "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done")
    c.exited("a")
    assert sorted(os.listdir(p.path("log"))) == ["a.log", "a.log.1", "a.log.2"]
    text = [l[2] for suffix in (".2", ".1", "") for l in p.lines("a", suffix)]
    first = 1000 - len(text)
    assert len(text) > 100 and text == [f"line {i}" for i in range(first, 1000)]
    assert all(os.path.getsize(p.path("log", f)) <= 4096 for f in os.listdir(p.path("log")))


def test_a_full_disk_drops_lines_and_blocks_nobody(p):
    sh("mount", "-t", "tmpfs", "-o", "size=64k", "t", p.path("log"))
    c = p.shim()
    fill = p.path("log/fill")
    p.start(c, "a", "i=0; while [ $i -lt 3000 ]; do echo a line of the log number $i; i=$((i+1)); "
            "done; echo >/tmp/written; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo again; "
            "echo last")
    wait_for("all is written", lambda: os.path.exists(p.path("root/tmp/written")))
    full = p.lines("a")
    assert 100 < len(full) < 3000
    time.sleep(0.2)
    sh("mount", "-o", "remount,size=1m", p.path("log"))
    with open(p.path("root/tmp/go"), "w"):
        pass
    c.exited("a")
    text = [l[2] for l in p.lines("a")]
    assert text[-2:] == ["again", "last"], text[-3:]
    m = re.match(r"\[umiak: (\d+) log lines dropped: disk full\]", text[-3])
    assert m, text[-3]
    assert int(m.group(1)) + len(text) - 3 == 3000, (m.group(1), len(text))


def test_a_killed_helper_is_an_error(p):
    def pause(j):
        j["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "30"]}]}
    c = p.shim()
    seq = c.send("start", **p.fields("a", "sleep 100", edit=pause))
    pids = wait_for("the helper", lambda: processes("run --detach --as-sibling --bundle " + p.dir))
    time.sleep(0.2)
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    m = c.answer(seq)
    assert m["kind"] == "error" and "no message" in m["message"], m
    p.start(c, "b", "exit 0")
    c.exited("b")


def test_namespaces_and_the_shared_init(p):
    c = p.shim("--new-net", "--new-ipc", "--new-pid", "--hostname", "pod-name")
    m = c.ok("hello")
    own = os.readlink("/proc/self/ns/net")
    at = {k: f"/proc/{m['pid']}/fd/{m[k]}" for k in ("net", "ipc", "uts", "pid_ns")}
    for k in at:
        assert int(m[k]) >= 0
        name = k.replace("_ns", "")
        assert os.readlink(at[k]) != os.readlink(f"/proc/self/ns/{name}")
        assert os.readlink(f"/proc/{m['pid']}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
    assert sh("nsenter", "--uts=" + at["uts"], "hostname").strip() == "pod-name"
    assert "LOOPBACK,UP" in sh("nsenter", "--net=" + at["net"], "ip", "link")
    assert os.readlink("/proc/self/ns/net") == own

    def join(j):
        keep = [n for n in j["linux"]["namespaces"] if n["type"] not in
                ("network", "ipc", "uts", "pid")]
        j["linux"]["namespaces"] = keep + [
            {"type": t, "path": at[k]} for t, k in
            (("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid_ns"))]
        j.pop("hostname", None)
    p.start(c, "a", "hostname; (sleep 0.2; exit 0) & exec sleep 0.1", edit=join)
    p.start(c, "b", "sleep 1; ps; echo end", edit=join)
    c.exited("b")
    assert p.lines("a")[0][2] == "pod-name"
    out = "\n".join(l[2] for l in p.lines("b"))
    assert "umiak-init" in out and "sleep 0" not in out and "[sleep]" not in out, out
    init = int(sh("pgrep", "-P", m["pid"], "umiak-init").strip())
    c.ok("quit")
    p.proc.wait(5)
    wait_for("the init's end", lambda: not alive(init))


# Process 1 of a PID namespace, whose child the shim is: it sends the signals that it reads, itself or
# by a process of its own.
INIT = r"""
"$@" & shim=$!
while read -r who number; do
    if [ $who = init ]; then kill -$number $shim; else /bin/busybox kill -$number $shim; fi
done
wait $shim
"""


def test_a_machine_that_goes_down_ends_stubborn_containers(p):
    c = p.shim(prefix=["unshare", "-p", "--fork", "--kill-child", "--mount-proc", "sh", "-c", INIT,
                       "sh"])
    p.start(c, "deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done")
    p.start(c, "polite", "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done", restart="always")
    wait_for("both", lambda: p.lines("deaf") and p.lines("polite"))
    shim, = [pid for pid in processes(f"umiak-shim --dir {p.path('run')}")
             if os.readlink(f"/proc/{pid}/exe").endswith("/umiak-shim")]

    def tell(who):
        p.proc.stdin.write(f"{who} TERM\n".encode())
        p.proc.stdin.flush()

    tell("other")
    tell("other")
    os.kill(shim, signal.SIGTERM)  # from outside the namespace
    c.ok("hello")
    assert p.proc.poll() is None and p.conn().ok("hello")
    start = time.monotonic()
    tell("init")
    c.s.settimeout(40)
    c.ok("hello")
    c.ok("signal", name="polite", number=15)  # process 1 of a real machine sends this to everybody
    assert os.WEXITSTATUS(int(c.exited("polite")["status"])) == 7
    assert os.WTERMSIG(int(c.exited("deaf")["status"])) == 9
    assert time.monotonic() - start > 5  # it had its time
    p.proc.stdin.close()
    assert p.proc.wait(30) == 0
    assert not [pid for pid in processes(p.path("run")) if alive(pid)]


def test_a_shim_that_cannot_start_says_why(p):
    assert p.shim("--hostname", "h" * 100) is None
    assert p.ready.startswith("error: set the pod's hostname"), p.ready
    for bad in (["--log-max-bytes", "1"], ["--log-max-files", "0"], ["more"], ["--nonsense"]):
        code = subprocess.run([os.path.join(BUILD, "umiak-shim"), "--dir", p.dir, "--uid", "u",
                               "--oci", OCI, "--oci-root", p.dir, *bad], timeout=10,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        assert code == 2, bad


def test_kills_at_fault_points(p):
    for fault in ("shim.namespaces", "shim.start", "shim.started", "shim.before-exit-record",
                  "shim.after-exit-record"):
        armed = Fault(fault)
        p.env = armed.env
        c = p.shim("--new-net")
        if fault != "shim.namespaces":
            with contextlib.suppress(EOFError, ConnectionError):
                p.start(c, "a", "exit 4")
                c.exited("a")
        assert p.proc.wait(10) == -9, fault
        assert fault != "shim.namespaces" or p.ready == ""
        assert armed.fired() == "umiak-shim", fault
        armed.close()
        if fault == "shim.after-exit-record":  # all that is known of the end, and whole
            status, finished = read(p.path("run/a.0.exit")).split()
            assert status == str(4 << 8) and int(finished) <= time.time_ns()
        else:
            assert not os.path.exists(p.path("run/a.0.exit"))
        p.env = {}
        subprocess.run([OCI, "--root", p.path("oci"), "delete", "--force", p.group + "-a-0"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)
        c = p.shim()  # over what the dead one left
        p.start(c, "a", "exit 5")
        assert c.exited("a")["status"] == str(5 << 8)
        c.ok("forget", name="a")
        c.ok("quit")
        p.proc.wait(5)
        subprocess.run([OCI, "--root", p.path("oci"), "delete", "--force", p.group + "-a-0"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=20)


main(globals())
