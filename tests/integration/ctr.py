#!/usr/bin/env python3
"""`umiak ctr` and `umiak run`: every verb, exit codes, terminals, crashes, ports, copies."""
import contextlib
import glob
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import terminal  # noqa: E402
from umtest import (BUILD, CGROUPS, Fault, Node, main, private_namespaces, processes, read, sh,  # noqa: E402
                    wait_for)

STORES = []


class Machine(Node):
    """Folders, a cgroup and an image of its own; no agent."""

    def __init__(self):
        super().__init__()
        # Short: names of sockets have 108 bytes.
        self.root = tempfile.mkdtemp(prefix="umc-")
        self.images = os.path.join(self.root, "var/lib/umiak/images")
        os.makedirs(self.images)
        os.rmdir(self.path("images"))
        os.symlink(self.images, self.path("images"))
        self.busybox()
        self.base = dict(os.environ, UMIAK_ROOT=self.root, UMIAK_LIBEXEC=self.path("libexec"),
                         UMIAK_CTR_CGROUP=self.cgroup)

    def argv(self, *argv):
        return [os.path.join(BUILD, "umiak"), *(["ctr"] if argv[0] != "run" else []), *argv]

    def run(self, *argv, input=None, env=None, timeout=60):
        p = subprocess.run(self.argv(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           input=input, stdin=None if input is not None else subprocess.DEVNULL,
                           env=dict(self.base, **(env or {})), timeout=timeout)
        self.out, self.err = p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")
        return p.returncode

    def good(self, *argv, **kw):
        code = self.run(*argv, **kw)
        assert code == 0, f"{argv}: exit code {code}\n{self.out}{self.err}"
        return self.out

    def bad(self, code, *argv, has="", **kw):
        got = self.run(*argv, **kw)
        assert got == code, f"{argv}: exit code {got}, not {code}\n{self.out}{self.err}"
        assert has in self.err, f"{argv}: no \"{has}\" in {self.err!r}"

    def start(self, *argv, **kw):
        return subprocess.Popen(self.argv(*argv), env=dict(self.base, **kw.pop("env", {})), **kw)

    def state(self, name, field="Status"):
        return self.good("inspect", "-f", "{{.State.%s}}" % field, name).strip()

    def pid(self, name):
        return int(self.state(name, "Pid"))

    def shim(self, name):
        id = self.good("inspect", "-f", "{{.Id}}", name).strip()
        pids = [p for p in processes(f"{self.path('libexec')}/umiak-shim ") if
                id[:16] in read(f"/proc/{p}/cmdline")]
        assert len(pids) == 1, pids
        return pids[0]

    def leaks(self):
        found = []
        for root in glob.glob(f"{CGROUPS}/*/{self.cgroup}") + glob.glob(f"{CGROUPS}/{self.cgroup}"):
            found += [f"cgroup {root}/{d}" for d in os.listdir(root)
                      if os.path.isdir(f"{root}/{d}") and d != "shims"]
        found += [f"mount {line.split()[4]}" for line in read("/proc/self/mountinfo").splitlines()
                  if self.root in line.split()[4]]
        for program in ("umiak-shim", "umiak-oci"):
            found += [f"process {p} ({program})"
                      for p in processes(f"{self.path('libexec')}/{program} ")]
        for sub in ("run/umiak/ctr", "run/umiak/ctr/oci", "var/lib/umiak/ctr",
                    "var/lib/umiak/ctr/names", "var/lib/umiak/ctr/net/ipam",
                    "var/lib/umiak/images/snapshots", "var/lib/umiak/images/tmp"):
            p = os.path.join(self.root, sub)
            if os.path.isdir(p):
                found += [f"{sub}/{e}" for e in os.listdir(p)
                          if e not in ("oci", "lock", "names", "net", ".seccomp")]
        found += ["link " + line for line in sh("ip", "-o", "link").splitlines() if ": um" in line]
        return found

    def clean(self):
        """Everything removed by the program's own means; nothing may be left."""
        for id in self.good("ps", "-aq").split():
            self.run("rm", "-f", "-v", id)
        self.assert_no_leaks(30)

    def close(self):
        with contextlib.suppress(Exception):
            for id in self.good("ps", "-aq").split():
                self.run("rm", "-f", "-v", id)
        super().close()
        for line in reversed(read("/proc/self/mountinfo").splitlines()):
            if self.root in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.root, ignore_errors=True)


class Terminal(terminal.Terminal):
    def __init__(self, m, *argv, **kw):
        super().__init__(m.argv(*argv), m.base, **kw)


def make_node():
    return Machine()


def test_run_and_exit_codes(m):
    assert m.good("run", "--rm", "busybox", "echo", "hello") == "hello\n"
    m.bad(7, "run", "--rm", "busybox", "sh", "-c", "exit 7")
    m.bad(143, "run", "--rm", "busybox", "sh", "-c", "trap 'exit 143' TERM; kill -TERM $$")
    m.bad(127, "run", "--rm", "busybox", "nope", has="not found")
    m.bad(127, "run", "--rm", "busybox", "/nope", has="no such file")
    m.bad(126, "run", "--rm", "busybox", "/etc/passwd", has="permission denied")
    m.bad(126, "run", "--rm", "busybox", "/etc")
    m.bad(125, "run", "--rm", "nothere", "true", has="Unable to find image 'nothere' locally")
    m.bad(125, "run", "--nope", "busybox", has="unknown flag: --nope")
    m.bad(125, "run", "--nam", "x", "busybox", has="unknown flag: --nam")
    m.bad(125, "run", "--name", has="flag needs an argument")
    m.bad(125, "run", "-y", "busybox", has="unknown shorthand flag: 'y'")
    m.bad(125, "run", has="requires at least 1 argument")
    m.bad(125, "run", "--pull", "always", "busybox", "true", has="not supported")
    m.bad(125, "run", "--network", "mine", "busybox", "true", has="network mine is not supported")
    m.bad(125, "run", "--rm", "--restart", "always", "busybox", "true", has="conflicting options")
    m.bad(125, "run", "-u", "nobody99", "--rm", "busybox", "true", has="nobody99")
    assert "Usage:" in m.good("run", "--help")
    for verb in ("ps", "exec", "logs", "start", "stop", "restart", "kill", "rm", "inspect", "stats",
                 "cp", "wait", "attach", "rename", "create", "pause", "unpause", "top"):
        assert f"umiak ctr {verb}" in m.good(verb, "--help")
    m.bad(2, "nonesuch", has="unknown verb")
    m.clean()


def test_stdin_and_streams(m):
    assert m.good("run", "-i", "--rm", "busybox", "cat", input=b"one\ntwo") == "one\ntwo"
    data = os.urandom(3 << 20).hex().encode()
    m.good("run", "-i", "--rm", "busybox", "md5sum", input=data)
    import hashlib
    assert m.out.split()[0] == hashlib.md5(data).hexdigest()
    m.good("run", "--rm", "busybox", "sh", "-c", "seq 1 200000")
    assert len(m.out.splitlines()) == 200000 and m.out.endswith("\n200000\n")
    m.good("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert m.out == "out\n" and m.err == "err\n", (m.out, m.err)
    assert m.good("run", "--rm", "busybox", "cat", input=b"unseen") == ""
    # A reader that goes away.
    p = subprocess.run(f"{' '.join(m.argv('run', '--rm', 'busybox', 'seq', '1', '100000'))} | "
                       "head -n1", shell=True, stdout=subprocess.PIPE, env=m.base, timeout=60)
    assert p.stdout == b"1\n"
    m.clean()


def test_options(m):
    def say(script, *options):
        return m.good("run", "--rm", *options, "busybox", "sh", "-c", script).strip()
    env_file = m.path("env")
    with open(env_file, "w") as f:
        f.write("# comment\n\nA=file\nB=two words\nUNSET_HERE\nHERE\n")
    assert say("echo $A,$B,$C,$HERE,${UNSET_HERE-none}", "--env-file", env_file, "-e", "A=cmd",
               "-e", "C=a=b") == "cmd,two words,a=b,,none"
    assert m.good("run", "--rm", "-e", "HERE", "busybox", "sh", "-c", "echo $HERE",
                  env={"HERE": "yes"}) == "yes\n"
    assert say("hostname; cat /etc/hostname", "--hostname=box1") == "box1\nbox1"
    assert say('[ "$(hostname)" = "$HOSTNAME" ] && echo same') == "same"
    assert say("pwd", "-w", "/tmp") == "/tmp"
    assert say("id -u; id -g; id -G", "-u", "web") == "1000\n1000\n1000 2000"
    assert say("id -u; id -g", "--user=7:8") == "7\n8"
    assert "Read-only" in say("touch /x 2>&1; touch /t/x && echo yes", "--read-only", "--tmpfs",
                              "/t:size=1m")
    assert say("touch /t/x && stat -f -c %T /t", "--tmpfs", "/t") == "tmpfs"
    caps = [int(say("grep CapEff /proc/self/status", *f).split()[1], 16) for f in
            ((), ("--cap-drop", "ALL"), ("--cap-drop=ALL", "--cap-add=net_admin"),
             ("--cap-add", "SYS_ADMIN"))]
    assert caps[1] == 0 and caps[2] == 1 << 12 and caps[3] == caps[0] | 1 << 21, caps
    assert int(say("grep CapEff /proc/self/status", "--privileged").split()[1], 16) > caps[3]
    assert say("grep NoNewPrivs /proc/self/status", "--security-opt",
               "no-new-privileges").split()[1] == "1"
    assert say("grep Seccomp: /proc/self/status").split()[1] == "2"
    assert m.good("run", "--rm", "--entrypoint", "echo", "busybox", "a", "b") == "a b\n"
    assert say("ls /sys/class/net", "--network", "none") == "lo"
    assert say("readlink /proc/self/ns/net", "--network=host") == os.readlink("/proc/self/ns/net")
    assert "eth0" in say("ls /sys/class/net")
    assert say("echo $TERM") == ""
    m.bad(125, "run", "--rm", "-m", "1m", "busybox", "true", has="6MB")
    for size in ("lots", "nan", "0x1000000", "16m16m", "1.5.2g", "-16m"):
        m.bad(125, "run", "--rm", f"-m={size}", "busybox", "true", has="invalid")
    m.bad(125, "run", "--rm", "--cpus", "0", "busybox", "true", has="--cpus")
    m.bad(125, "run", "--rm", "--cap-add", "NOPE", "busybox", "true", has="invalid capability")
    m.bad(125, "run", "--rm", "-w", "rel", "busybox", "true", has="absolute path")
    m.bad(125, "run", "--rm", "--restart", "sometimes", "busybox", "true", has="restart policy")
    m.clean()


def group_file(m, name, controller, v1, v2):
    id = m.good("inspect", "-f", "{{.Id}}", name).strip()
    for p in (f"{CGROUPS}/{controller}/{m.cgroup}/{id}/{v1}", f"{CGROUPS}/{m.cgroup}/{id}/{v2}"):
        if os.path.exists(p):
            return read(p).strip()
    raise AssertionError(f"no {v1} of {name}")


def test_limits(m):
    m.good("run", "-d", "--name", "l", "-m", "64m", "--cpus", "0.5", "--pids-limit", "33", "busybox",
           "sleep", "1000")
    assert group_file(m, "l", "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert group_file(m, "l", "pids", "pids.max", "pids.max") == "33"
    quota = group_file(m, "l", "cpu", "cpu.cfs_quota_us", "cpu.max")
    assert quota.split()[0] == "50000", quota
    m.good("stats", "--no-stream", "l")
    assert "64MiB" in m.out, m.out
    row = json.loads(m.good("stats", "--no-stream", "--format", "json", "l"))
    assert row["Name"] == "l" and row["PIDs"] == "1"
    code = m.run("run", "--name", "oom", "-m", "16m", "busybox", "sh", "-c",
                 "a=x; while true; do a=$a$a; done")
    assert code == 137, (code, m.err)
    assert m.state("oom", "OOMKilled") == "true"
    m.clean()


def test_more_limits(m):
    m.good("run", "-d", "--name", "l", "-m", "64m", "--memory-swap", "-1", "--memory-reservation",
           "32m", "--cpu-shares", "512", "--cpuset-cpus", "0", "--cpuset-mems", "0",
           "--oom-score-adj", "300", "--group-add", "4242", "--group-add", "extra", "busybox",
           "sleep", "1000")
    assert group_file(m, "l", "memory", "memory.soft_limit_in_bytes", "memory.low") == str(32 << 20)
    shares = group_file(m, "l", "cpu", "cpu.shares", "cpu.weight")
    assert shares in ("512", "20"), shares
    assert group_file(m, "l", "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert m.good("exec", "l", "cat", "/proc/1/oom_score_adj") == "300\n"
    assert read(f"/proc/{m.pid('l')}/status").split("Groups:")[1].splitlines()[0].split() == \
        ["0", "2000", "4242"]
    for flags, word in ((("--memory-swap", "64m"), "always set the Memory limit"),
                        (("-m", "64m", "--memory-swap", "32m"), "larger than memory"),
                        (("--memory-reservation", "1m"), "6MB"),
                        (("-m", "64m", "--memory-reservation", "65m"), "can not be less"),
                        (("--cpu-shares", "1"), "cpu-shares"), (("--cpuset-cpus", "a"), "Invalid value a"),
                        (("--oom-score-adj", "1001"), "[-1000, 1000]"),
                        (("--group-add", "nosuch"), "nosuch")):
        m.bad(125, "run", "--rm", *flags, "busybox", "true", has=word)
    m.clean()


def test_namespaces_of_the_machine(m):
    def say(script, *options):
        return m.good("run", "--rm", *options, "busybox", "sh", "-c", script).strip()
    for flag, kind in (("--ipc", "ipc"), ("--uts", "uts"), ("--pid", "pid"), ("--userns", "user")):
        own = os.readlink("/proc/self/ns/" + kind)
        assert say("readlink /proc/self/ns/" + kind, flag, "host") == own, kind
        m.bad(125, "run", "--rm", flag, "container:x", "busybox", "true", has=flag)
    assert say("readlink /proc/self/ns/ipc", "--ipc", "private") != os.readlink("/proc/self/ns/ipc")
    assert say("cat /proc/sys/kernel/domainname", "--domainname", "dom") == "dom"
    m.bad(125, "run", "--rm", "--uts", "host", "--hostname", "h", "busybox", "true", has="UTS mode")
    assert say("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax", "--sysctl",
               "net.ipv4.ip_forward=1", "--sysctl", "kernel.shmmax=1000000").split() == \
        ["1", "1000000"]
    for flags in (("--sysctl", "vm.swappiness=1"), ("--sysctl", "kernel.hostname=x"),
                  ("--sysctl", "net.ipv4.ip_forward=1", "--network", "host"),
                  ("--sysctl", "kernel.shmmax=1", "--ipc", "host"), ("--sysctl", "net.ipv4.ip_forward")):
        m.bad(125, "run", "--rm", *flags, "busybox", "true", has="--sysctl")
    m.clean()


def test_life(m):
    id = m.good("run", "-d", "--name", "web", "-l", "k=v", "busybox", "sh", "-c",
                "trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done").strip()
    assert len(id) == 64
    assert m.state("web") == "running" and m.good("ps", "-q").strip() == id[:12]
    wait_for("the log", lambda: "up" in m.good("logs", "web"))
    row = json.loads(m.good("ps", "--format", "json"))
    assert row["Names"] == "web" and row["State"] == "running" and row["Image"] == "busybox"
    assert m.good("ps", "--format", "{{.ID}} {{.Names}}") == f"{id[:12]} web\n"
    assert m.good("ps", "--format", "table {{.Names}}\\t{{.State}}\\t{{.Image}}").splitlines() == \
        ["NAMES   STATE     IMAGE", "web     running   busybox"], m.out
    for f, there in (("name=we", 1), ("name=x", 0), ("status=running", 1), ("status=exited", 0),
                     ("label=k", 1), ("label=k=v", 1), ("label=k=w", 0), ("id=" + id[:8], 1),
                     ("ancestor=busybox", 1), ("ancestor=other", 0)):
        assert len(m.good("ps", "-aq", "-f", f).split()) == there, f
    m.bad(1, "ps", "--filter", "color=red", has="invalid filter")
    m.bad(125, "run", "--name", "web", "busybox", "true", has="already in use")
    m.bad(1, "rm", "web", has="running")
    # wait sees the end, stop its exit code
    w = m.start("wait", "web", stdout=subprocess.PIPE)
    assert m.good("stop", "web") == "web\n"
    assert w.communicate(timeout=40)[0] == b"5\n"
    assert m.state("web") == "exited" and m.state("web", "ExitCode") == "5"
    assert m.good("ps", "-q") == "" and m.good("ps", "-aq").strip() == id[:12]
    assert "Exited (5)" in m.good("ps", "-a")
    assert m.good("wait", "web") == "5\n"
    m.good("stop", "web")  # again: nothing to do
    m.bad(1, "kill", "web", has="is not running")
    m.bad(1, "exec", "web", "true", has="is not running")
    m.bad(1, "attach", "web", has="stopped container")
    # what it wrote to its file system stays
    m.good("start", "web")
    m.good("exec", "web", "touch", "/mark")
    m.good("restart", "-t", "5", "web")
    m.good("exec", "web", "ls", "/mark")
    m.good("kill", "-s", "TERM", "web")
    wait_for("its end", lambda: m.state("web") == "exited")
    m.good("start", "web")
    m.good("kill", "web")
    assert m.state("web", "ExitCode") == "137"
    m.bad(1, "kill", "-s", "NOPE", "web", has="Invalid signal")
    m.good("rename", "web", "other")
    m.bad(1, "inspect", "web", has="No such container: web")
    assert m.state("other") == "exited" and m.state(id[:5]) == "exited"
    assert json.loads(m.good("inspect", "other"))[0]["Name"] == "/other"
    m.good("create", "--name", "web", "busybox", "sh", "-c", "echo made; exit 3")
    m.bad(1, "rename", "web", "other", has="already in use")
    assert m.state("web") == "created"
    m.bad(3, "start", "-a", "web")
    assert m.out == "made\n"
    m.good("rm", "web", "other")
    m.bad(1, "rm", "web", has="No such container")
    m.good("rm", "-f", "web")
    m.bad(1, "logs", "web", has="No such container")
    m.clean()


def test_stop_escalates(m):
    m.good("run", "-d", "--name", "s", "--stop-signal", "USR1", "--stop-timeout", "1", "busybox",
           "sh", "-c", "trap '' TERM USR1; echo up; while :; do sleep 0.05; done")
    wait_for("up", lambda: m.good("logs", "s"))
    m.good("stop", "s")
    assert m.state("s", "ExitCode") == "137"
    m.good("rm", "s")
    m.good("run", "-d", "--name", "s", "--stop-signal", "USR1", "busybox", "sh", "-c",
           "trap 'exit 9' USR1; echo up; while :; do sleep 0.05; done")
    wait_for("up", lambda: m.good("logs", "s"))
    m.good("stop", "s")
    assert m.state("s", "ExitCode") == "9"
    m.clean()


def test_logs(m):
    m.good("run", "--name", "l", "busybox", "sh", "-c",
           "for i in 1 2 3 4 5; do echo line $i; done; echo e >&2; printf tail")
    assert m.good("logs", "l") == "line 1\nline 2\nline 3\nline 4\nline 5\ntail" and m.err == "e\n"
    both = m.good("logs", "--tail", "2", "l") + m.err
    assert "line 4" not in both, both
    assert m.good("logs", "--tail=0", "l") == ""
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z line 1\n", m.good("logs", "-t", "l"))
    assert m.good("logs", "--since", "1h", "l").count("\n") == 5
    assert m.good("logs", "--since", "2099-01-01T00:00:00Z", "l") == ""
    assert m.good("logs", "--until", "1h", "l") == ""
    m.bad(1, "logs", "--tail", "x", "l", has="tail")
    for since in ("nans", "0x10m", "99999999999m", "1h-1m"):
        m.bad(1, "logs", "--since", since, "l", has="invalid value for \"since\"")
    m.good("run", "--name", "two", "busybox", "sh", "-c",
           "for i in 1 2 3; do echo out $i; sleep 0.05; echo err $i >&2; sleep 0.05; done")
    with open(m.path("one-file"), "w+") as f:  # both streams into one file, in their order
        subprocess.run(m.argv("logs", "two"), stdout=f, stderr=f, env=m.base, check=True)
    assert read(m.path("one-file")) == "".join(f"out {i}\nerr {i}\n" for i in (1, 2, 3))
    m.good("run", "-d", "--name", "f", "busybox", "sh", "-c",
           "for i in 1 2 3; do echo t $i; sleep 0.3; done")
    assert m.good("logs", "-f", "f") == "t 1\nt 2\nt 3\n"
    m.clean()


def test_exec(m):
    m.good("run", "-d", "--name", "x", "-e", "A=1", "busybox", "sleep", "1000")
    assert m.good("exec", "x", "sh", "-c", "echo $A") == "1\n"
    m.bad(3, "exec", "x", "sh", "-c", "exit 3")
    m.bad(127, "exec", "x", "nope", has="not found")
    m.bad(126, "exec", "x", "/etc/passwd", has="permission denied")
    assert m.good("exec", "-i", "x", "cat", input=b"in") == "in"
    assert m.good("exec", "x", "cat", input=b"in") == ""
    assert m.good("exec", "-u", "web", "-w", "/tmp", "-e", "B=2", "x", "sh", "-c",
                  "id -u; pwd; echo $B") == "1000\n/tmp\n2\n"
    m.good("exec", "-d", "x", "sh", "-c", "sleep 0.1; touch /done")
    wait_for("the detached command", lambda: m.run("exec", "x", "ls", "/done") == 0)
    m.bad(126, "exec", "-u", "nosuch", "x", "id", has="nosuch")
    m.bad(1, "exec", "x", has="at least 2 arguments")
    m.bad(1, "exec", "-it", "x", "sh", has="not a TTY")
    m.bad(1, "exec", "none", "true", has="No such container: none")
    assert not glob.glob(m.root + "/run/umiak/ctr/*/x*.log")
    m.clean()


def test_pause(m):
    m.good("run", "-d", "--name", "p", "busybox", "sh", "-c",
           "trap 'exit 6' TERM; while :; do echo x; sleep 0.02; done")
    wait_for("words", lambda: m.good("logs", "p"))
    assert m.good("pause", "p") == "p\n"
    assert m.state("p") == "paused" and m.state("p", "Paused") == "true"
    assert m.state("p", "Running") == "true" and "(Paused)" in m.good("ps")
    assert m.good("ps", "-q", "-f", "status=paused") and not m.good("ps", "-q", "-f",
                                                                    "status=running")
    n = m.good("logs", "p").count("x")
    time.sleep(0.3)
    assert m.good("logs", "p").count("x") == n, "it runs on"
    m.bad(1, "pause", "p", has="already paused")
    m.bad(1, "start", "p", has="try unpause")
    assert m.run("exec", "p", "true") != 0 and "paused" in m.err
    m.good("unpause", "p")
    assert m.state("p") == "running"
    wait_for("more words", lambda: m.good("logs", "p").count("x") > n)
    m.bad(1, "unpause", "p", has="not paused")
    # what is sent to a paused one reaches it
    m.good("pause", "p")
    m.good("stop", "-t", "60", "p")
    assert m.state("p", "ExitCode") == "6" and m.state("p", "Paused") == "false"
    m.bad(1, "pause", "p", has="not running")
    m.good("start", "p")
    m.good("pause", "p")
    m.good("kill", "p")
    assert m.state("p", "ExitCode") == "137"
    m.good("start", "p")
    assert m.state("p") == "running"
    m.good("pause", "p")
    m.good("rm", "-f", "p")
    # its shim is killed under it
    m.good("run", "-d", "--name", "q", "busybox", "sleep", "1000")
    m.good("pause", "q")
    pid = m.pid("q")
    os.kill(m.shim("q"), signal.SIGKILL)
    wait_for("the next command sees it", lambda: m.state("q") == "exited")
    wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}"))
    m.good("start", "q")
    assert m.state("q") == "running"
    m.clean()


def test_init(m):
    """A process that is not number 1: a signal's default ends it, and its orphans are reaped."""
    m.good("run", "-d", "--name", "i", "--init", "busybox", "sh", "-c", "echo $$; exec sleep 1000")
    number = wait_for("its number", lambda: m.good("logs", "i").strip())
    assert number != "1", number
    m.good("exec", "i", "sh", "-c", "(sleep 0.1 &)")
    wait_for("the orphan's end", lambda: len(m.good("top", "i").splitlines()) == 2)
    assert not re.search(r"\) Z ", m.good("exec", "i", "sh", "-c",
                                          "cat /proc/[0-9]*/stat 2>/dev/null || true"))
    m.good("stop", "-t", "300", "i")
    assert m.state("i", "ExitCode") == "143"
    m.good("start", "i")
    assert m.state("i") == "running"
    m.good("rm", "-f", "i")
    m.bad(9, "run", "--rm", "--init", "busybox", "sh", "-c", "exit 9")
    # What a container leaves behind goes with it, and with each of its runs.
    for flags in (("--init",), ("--pid", "host")):
        assert m.good("run", "--rm", *flags, "busybox", "sh", "-c", "sleep 8877 & echo x") == "x\n"
        assert not processes("sleep 8877"), flags
        m.good("run", "-d", "--name", "again", "--restart", "on-failure:2", *flags, "busybox", "sh",
               "-c", "sleep 8877 & exit 3")
        wait_for("the last run", lambda: m.state("again") == "exited")
        wait_for("their end", lambda: not processes("sleep 8877"))
        m.good("rm", "again")
    m.bad(125, "run", "--init", "--pid=host", "busybox", "true", has="conflicting options")
    m.clean()


def test_top(m):
    m.good("run", "-d", "--name", "t", "-u", "7", "busybox", "sh", "-c", "sleep 777 & wait")
    lines = wait_for("both", lambda: len(m.good("top", "t").splitlines()) == 3 and m.out.splitlines())
    assert lines[0].split() == ["UID", "PID", "PPID", "STIME", "TTY", "TIME", "CMD"]
    rows = [line.split(None, 6) for line in lines[1:]]
    assert str(m.pid("t")) in [r[1] for r in rows]
    assert [r for r in rows if r[6] == "sleep 777" and r[2] == str(m.pid("t"))], rows
    m.bad(1, "top", "t", "-ef", has="(-ef) are not supported")
    m.good("stop", "-t", "0", "t")
    m.bad(1, "top", "t", has="not running")
    m.clean()


def test_mounts(m):
    host = m.path("shared")
    os.makedirs(host + "/sub")
    with open(host + "/f", "w") as f:
        f.write("from host")
    sh("mount", "-t", "tmpfs", "below", host + "/sub")
    try:
        with open(host + "/sub/g", "w") as f:
            f.write("g")

        def ls(*options):
            return m.good("run", "--rm", *options, "busybox", "ls", "-A", "/s", "/s/sub")
        assert "g" in ls("--mount", f"type=bind,source={host},target=/s")
        assert "g" not in ls("--mount", f"type=bind,src={host},dst=/s,bind-nonrecursive").split()
    finally:
        sh("umount", host + "/sub")
    m.bad(1, "run", "--rm", "--mount", f"type=bind,source={host},destination=/s,readonly",
          "busybox", "touch", "/s/x", has="Read-only")
    m.bad(1, "run", "--rm", "--mount", f"type=bind,source={host},target=/s,ro=true",
          "busybox", "touch", "/s/x", has="Read-only")
    m.good("run", "--rm", "--mount", f"type=bind,source={host},target=/s,readonly=false", "busybox",
           "touch", "/s/x")
    assert m.good("run", "--rm", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700",
                  "busybox", "sh", "-c", "stat -c %a /t; df -k /t | awk 'END{print $2}'") == \
        "700\n1024\n"
    m.good("run", "--rm", "--mount", "source=vol,target=/v", "busybox", "touch", "/v/x")
    assert m.good("run", "--rm", "-v", "vol:/v", "busybox", "ls", "/v") == "x\n"
    assert "passwd" in m.good("run", "--rm", "--mount", "target=/etc", "busybox", "ls", "/etc")
    assert "passwd" not in m.good("run", "--rm", "--mount", "target=/etc,volume-nocopy", "busybox",
                                  "ls", "/etc")
    assert os.listdir(m.root + "/var/lib/umiak/volumes") == ["vol"]
    for text, words in ((f"type=bind,source={host}/none,target=/s", "does not exist"),
                        ("type=bind,target=/s", "absolute path as its source"),
                        ("type=bind,source=rel,target=/s", "absolute path as its source"),
                        (f"type=bind,source={host}", "target is required"),
                        (f"type=bind,source={host},target=s", "must be absolute"),
                        (f"type=bind,source={host},target=/", "must be absolute and not /"),
                        ("type=npipe,target=/s", "type npipe is not supported"),
                        ("type=volume,source=../x,target=/s", "invalid characters"),
                        ("type=tmpfs,source=x,target=/s", "source does not go with type tmpfs"),
                        ("type=tmpfs,target=/s,bind-nonrecursive", "does not go with type tmpfs"),
                        ("target=/s,tmpfs-size=1m", "does not go with type volume"),
                        ("type=tmpfs,target=/s,tmpfs-size=lots", '"lots" is not valid'),
                        ("type=tmpfs,target=/s,tmpfs-mode=9", '"9" is not valid'),
                        (f"type=bind,source={host},target=/s,bind-propagation=rshared",
                         '"rshared" is not supported'),
                        ("target=/s,volume-driver=nfs", "key volume-driver is not supported"),
                        ("target=/s,volume-opt=a=b", "key volume-opt is not supported"),
                        ("target=/s,sideways", "'sideways' must be a key=value pair")):
        m.bad(125, "run", "--rm", "-v", "early:/e", "--mount", text, "busybox", "true", has=words)
    m.bad(125, "run", "--rm", "-v", "vol:/s", "--mount", "target=//s/", "busybox", "true",
          has="Duplicate mount point")
    m.bad(125, "run", "--rm", "--tmpfs", "/s", "--mount", "target=/s", "busybox", "true",
          has="Duplicate mount point")
    assert not set(os.listdir(m.root + "/var/lib/umiak/volumes")) - {"vol", "early"}
    # nor does a name that is taken leave one
    m.good("create", "--name", "taken", "busybox", "true")
    m.bad(125, "run", "--name", "taken", "-v", "/anon", "busybox", "true", has="already in use")
    assert not set(os.listdir(m.root + "/var/lib/umiak/volumes")) - {"vol", "early"}
    m.clean()


def test_devices_and_limits(m):
    assert m.good("run", "--rm", "--device", "/dev/net/tun:/dev/log/k:r", "busybox", "sh", "-c",
                  "stat -c %t,%T /dev/log/k; true </dev/log/k && echo read; "
                  "true 2>/dev/null >/dev/log/k && echo written; mknod /k c 10 200; "
                  "true </k && echo made") == "a,c8\nread\nmade\n", m.err
    m.bad(1, "run", "--rm", "busybox", "sh", "-c", "mknod /k c 10 200; true </k", has="not permitted")
    assert m.good("run", "--rm", "--device", "/dev/zero:/dev/a/b:rw", "busybox", "sh", "-c",
                  "echo > /dev/a/b && echo written") == "written\n"
    for text in ("/dev/none", "zero", "/dev/zero:rel", "/dev/zero:/x:rwx", "/dev/zero:/x:", "/tmp",
                 "vendor.example/class=one"):
        code = m.run("run", "--rm", "--device", text, "busybox", "true")
        assert code == 125 and "device" in m.err, (text, code, m.err)
    assert m.good("run", "--rm", "--ulimit", "nofile=100:200", "--ulimit=core=0", "busybox", "sh",
                  "-c", "ulimit -Sn; ulimit -Hn; ulimit -c") == "100\n200\n0\n"
    assert m.good("run", "--rm", "--ulimit", "nofile=100", "--ulimit", "nofile=50:60", "busybox",
                  "sh", "-c", "ulimit -Sn; ulimit -Hn") == "50\n60\n"
    for text in ("nofile", "nofile=", "nofile=x", "nofile=5:3", "nofile=-1:5", "nofile=1:2:3",
                 "files=1", "nofile=-2", "nofile=99999999999999999999"):
        m.bad(125, "run", "--rm", "--ulimit", text, "busybox", "true", has="invalid ulimit")
    assert m.good("run", "--rm", "--shm-size", "2m", "busybox", "sh", "-c",
                  "df -k /dev/shm | awk 'END{print $2}'") == "2048\n"
    m.bad(125, "run", "--rm", "--shm-size", "none", "busybox", "true", has="--shm-size")
    assert m.good("run", "--rm", "--pid", "host", "busybox", "readlink", "/proc/self/ns/pid") == \
        os.readlink("/proc/self/ns/pid") + "\n"
    m.bad(125, "run", "--rm", "--pid", "container:x", "busybox", "true", has="not supported")
    resolv = m.good("run", "--rm", "--dns", "192.0.2.9", "--dns-search", "b.example", "--dns-search",
                    "c.example", "--dns-option", "ndots:3", "busybox", "cat", "/etc/resolv.conf")
    assert resolv == "nameserver 192.0.2.9\nsearch b.example c.example\noptions ndots:3\n", resolv
    hosts = m.good("run", "--rm", "--add-host", "db:192.0.2.1", "--add-host=v6:2001:db8::1",
                   "busybox", "cat", "/etc/hosts")
    assert "192.0.2.1\tdb\n" in hosts and "2001:db8::1\tv6\n" in hosts, hosts
    for flag, value in (("--dns", "x"), ("--dns-search", "a b"), ("--add-host", "db"),
                        ("--add-host", "db:x"), ("--add-host", "a b:192.0.2.1"),
                        ("--add-host", "gw:host-gateway")):
        code = m.run("run", "--rm", flag, value, "busybox", "true")
        assert code == 125 and flag[2:] in m.err, (flag, value, m.err)
    # What could not be read again is not written.
    code = m.run("run", "--rm", "-e", b"X=\xff\xfe", "busybox", "true")
    assert code == 125 and "UTF-8" in m.err, m.err
    with open(m.path("env"), "wb") as f:
        f.write(b"A=1\0\nB=2\n")
    m.bad(125, "run", "--rm", "--env-file", m.path("env"), "busybox", "true", has="NUL")
    m.clean()


def test_what_is_elsewhere_is_said(m):
    m.bad(2, "images", has="see `umiak image list`")
    m.bad(2, "pull", "x", has="pulling is not there yet")
    m.bad(2, "network", "ls", has="network is not supported")
    for option in ("--gpus=all", "--link=x", "--cgroupns=host", "--isolation=x"):
        m.bad(125, "run", option, "busybox", "true", has="unknown flag: " + option.split("=")[0])


def test_terminals(m):
    t = Terminal(m, "run", "-it", "--name", "t", "busybox", "sh")
    try:
        t.expect("# ")
        assert t.mode() == 0, "the terminal is not raw"
        t.send("stty size; tty; echo $TERM\n")
        t.expect(r"30 100\r\n/dev/(pts/0|console)\r\nxterm\r\n")
        t.size(50, 132)
        t.send("sleep 0.2; stty size\n")
        t.expect(r"50 132\r\n")
        t.send("sleep 1000\n")
        time.sleep(0.3)
        t.send("\x03")
        t.send("echo code $?\n")
        t.expect(r"code 130\r\n")
        # ctrl-p alone goes through, ctrl-p ctrl-q leaves
        t.send("\x10\x11")
        assert t.wait() == 0
        assert t.mode() != 0, "the terminal was not put back"
    finally:
        t.close()
    assert m.state("t") == "running"
    t = Terminal(m, "attach", "t", rows=20, cols=70)
    try:
        t.send("\n")
        t.expect("# ")
        t.send("stty size\n")
        t.expect(r"20 70\r\n")
        t.send("exit 4\n")
        assert t.wait() == 4
        assert t.mode() != 0
    finally:
        t.close()
    assert m.state("t", "ExitCode") == "4"
    m.good("rm", "t")
    m.good("run", "-dit", "--name", "d", "busybox", "sh")
    t = Terminal(m, "exec", "-it", "d", "sh")
    try:
        t.expect("# ")
        t.send("stty size; tty\n")
        t.expect(r"30 100\r\n/dev/pts/1\r\n")
        t.size(40, 90)
        t.send("sleep 0.2; stty size\n")
        t.expect(r"40 90\r\n")
        t.send("exit 6\n")
        assert t.wait() == 6
        assert t.mode() != 0
    finally:
        t.close()
    t = Terminal(m, "exec", "-it", "--detach-keys", "a,b", "d", "sh", "-c",
                 "echo in; sleep 1; touch /stayed; sleep 1000")
    try:
        t.expect("in\r\n")
        t.send("ab")
        assert t.wait() == 0 and t.mode() != 0
    finally:
        t.close()
    wait_for("the command that was left", lambda: m.run("exec", "d", "ls", "/stayed") == 0)
    # the CLI killed by a signal: the terminal comes back, the container stays
    t = Terminal(m, "attach", "d")
    try:
        t.send("\n")
        t.expect("# ")
        os.kill(t.pid, signal.SIGTERM)
        assert t.wait() in (-15, 143)
        assert t.mode() != 0
    finally:
        t.close()
    assert m.state("d") == "running"
    m.bad(125, "run", "--detach-keys", "ctrl-", "busybox", "true", has="invalid detach keys")
    m.clean()


def test_signals_go_through(m):
    p = m.start("run", "--rm", "--name", "g", "busybox", "sh", "-c",
                "trap 'echo got; exit 44' TERM; echo up; while :; do sleep 0.05; done",
                stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"up\n"
    p.terminate()
    assert p.wait(40) == 44 and p.stdout.read() == b"got\n"
    m.clean()


def test_restart_policies(m):
    m.good("run", "-d", "--name", "f", "--restart", "on-failure:2", "busybox", "sh", "-c",
           "echo run; exit 9")
    wait_for("the last failure", lambda: m.state("f") == "exited")
    assert m.good("inspect", "-f", "{{.RestartCount}} {{.State.ExitCode}}", "f") == "2 9\n"
    assert m.good("logs", "f") == "run\n" * 3
    m.good("run", "-d", "--name", "z", "--restart", "on-failure", "busybox", "true")
    wait_for("a success", lambda: m.state("z") == "exited")
    m.good("run", "-d", "--name", "a", "--restart", "always", "busybox", "sh", "-c",
           "echo run; sleep 0.1")
    wait_for("three runs", lambda: m.good("logs", "a").count("run") >= 3)
    addr = m.good("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "a")
    assert addr.startswith("10.245."), addr
    m.good("stop", "a")
    assert m.state("a") == "exited"
    n = m.good("logs", "a").count("run")
    time.sleep(0.5)
    assert m.good("logs", "a").count("run") == n and m.state("a") == "exited"
    # killed by us: stays down; killed from inside or by others: comes back
    m.good("run", "-d", "--name", "k", "--restart", "unless-stopped", "busybox", "sleep", "1000")
    first = m.pid("k")
    os.kill(first, signal.SIGKILL)
    wait_for("its return", lambda: m.state("k") == "running" and m.pid("k") not in (0, first))
    m.good("kill", "k")
    assert m.state("k") == "exited"
    m.clean()


def test_boot(m):
    """A reboot: every process gone, and what is in memory."""
    for name, policy in (("al", "always"), ("us", "unless-stopped"), ("st", "unless-stopped"),
                         ("no", "no"), ("of", "on-failure")):
        m.good("run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000")
    m.good("stop", "-t", "0", "st")
    m.good("create", "--name", "never", "--restart", "always", "busybox", "sleep", "1000")
    m.good("run", "-d", "--rm", "--name", "gone", "busybox", "sleep", "1000")
    pids = [m.shim(n) for n in ("al", "us", "no", "of", "gone")] + \
        [m.pid(n) for n in ("al", "us", "no", "of", "gone")]
    for p in pids:
        os.kill(p, signal.SIGKILL)
    wait_for("their end", lambda: not any(os.path.exists(f"/proc/{p}/root/bin") for p in pids))
    for line in reversed(read("/proc/self/mountinfo").splitlines()):
        if m.root in line.split()[4]:
            sh("umount", "-l", line.split()[4])
    for link in re.findall(r": (um\w+)@", sh("ip", "-o", "link")):
        sh("ip", "link", "del", link, check=False)
    sh("nft", "flush", "ruleset")
    shutil.rmtree(m.root + "/run/umiak")
    for root in glob.glob(f"{CGROUPS}/*/{m.cgroup}") + glob.glob(f"{CGROUPS}/{m.cgroup}"):
        for d, dirs, files in os.walk(root, topdown=False):
            wait_for("an empty group", lambda: os.rmdir(d) or True)
    assert m.state("al") == "exited" and m.state("no", "ExitCode") == "255"
    assert sorted(m.good("start", "--boot").split()) == ["al", "us"]
    up = m.good("ps", "--format", "{{.Names}}").split()
    assert sorted(up) == ["al", "us"], up
    assert "gone" not in m.good("ps", "-a", "--format", "{{.Names}}").split()
    assert "umiak_ctr" in sh("nft", "list", "tables")
    m.clean()


def test_volumes(m):
    host = m.path("shared")
    os.mkdir(host)
    with open(host + "/f", "w") as f:
        f.write("from host")
    assert m.good("run", "--rm", "-v", f"{host}:/s", "busybox", "sh", "-c",
                  "cat /s/f; echo back > /s/g") == "from host"
    assert read(host + "/g") == "back\n"
    m.bad(1, "run", "--rm", "-v", f"{host}:/s:ro", "busybox", "touch", "/s/x", has="Read-only")
    m.good("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/x")
    assert m.good("run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/x") == "kept\n"
    # a fresh volume has what the image has there
    assert "passwd" in m.good("run", "--rm", "-v", "etc:/etc", "busybox", "ls", "/etc")
    assert os.path.exists(m.root + "/var/lib/umiak/volumes/etc/_data/passwd")
    m.good("run", "--name", "v", "-v", "/anon", "busybox", "touch", "/anon/x")
    vols = os.listdir(m.root + "/var/lib/umiak/volumes")
    assert len(vols) == 3, vols
    m.good("start", "v")
    m.good("wait", "v")
    m.good("rm", "-v", "v")
    assert sorted(os.listdir(m.root + "/var/lib/umiak/volumes")) == ["data", "etc"]
    m.bad(125, "run", "--rm", "-v", "../x:/y", "busybox", "true", has="invalid")
    m.bad(125, "run", "--rm", "-v", f"{host}:/y:z", "busybox", "true", has="not supported")
    m.bad(125, "run", "--rm", "-v", f"{host}:y", "busybox", "true", has="absolute")
    m.clean()


def test_only_what_is_kept_waits_for_the_disk(m):
    for flags, volatile in (("--rm",), True), ((), False):
        root = m.good("run", *flags, "busybox", "grep", "-w", "^overlay /", "/proc/mounts")
        assert ("volatile" in root) == volatile, root


def test_copies(m):
    m.good("run", "-d", "--name", "c", "busybox", "sh", "-c",
           "mkdir -p /d/sub; echo a > /d/a; echo b > /d/sub/b; ln -s a /d/l; chmod 750 /d/sub; "
           "echo up; exec sleep 1000")
    wait_for("up", lambda: m.good("logs", "c"))
    out = m.path("out")
    m.good("cp", "c:/d", out)
    assert read(out + "/sub/b") == "b\n" and os.readlink(out + "/l") == "a"
    assert os.stat(out + "/sub").st_mode & 0o777 == 0o750
    m.good("cp", "c:/d", out)
    assert read(out + "/d/a") == "a\n"
    m.good("cp", "c:/d/.", out)
    m.good("cp", "c:/d/a", m.path("file"))
    assert read(m.path("file")) == "a\n"
    m.good("cp", "-L", "c:/d/l", m.path("file2"))
    assert read(m.path("file2")) == "a\n" and not os.path.islink(m.path("file2"))
    m.good("cp", m.path("file"), "c:/d/new")
    assert m.good("exec", "c", "cat", "/d/new") == "a\n"
    m.good("cp", out, "c:/tmp/")
    assert m.good("exec", "c", "cat", "/tmp/out/sub/b") == "b\n"
    m.bad(1, "cp", "c:/nope", m.path("x"), has="Could not find")
    m.bad(1, "cp", m.path("file"), "c:/nope/x")
    m.bad(1, "cp", m.path("file"), "c:/nope/", has="no such directory")
    m.bad(1, "cp", m.path("file"), m.path("x"), has="at least one container")
    m.bad(1, "cp", "c:/d", m.path("file"), has="cannot copy directory")
    m.good("stop", "-t", "0", "c")
    m.good("cp", "c:/d/sub/b", m.path("b"))
    assert read(m.path("b")) == "b\n"
    m.good("cp", m.path("b"), "c:/d/stopped")
    m.good("start", "c")
    assert m.good("exec", "c", "cat", "/d/stopped") == "b\n"
    m.clean()


def stream(m, *argv, data=b""):
    p = subprocess.run(m.argv("cp", *argv), input=data, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=m.base, timeout=60)
    return p.returncode, p.stdout, p.stderr.decode()


def archive(*entries, format=tarfile.PAX_FORMAT):
    b = io.BytesIO()
    with tarfile.open(fileobj=b, mode="w", format=format) as t:
        for name, kind, what in entries:
            i = tarfile.TarInfo(name)
            i.type, i.mode, i.mtime, i.uid, i.gid = kind, 0o640, 1700000000, 1000, 2000
            data = what if kind == tarfile.REGTYPE else b""
            i.linkname = "" if kind == tarfile.REGTYPE else what
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
    return b.getvalue()


FILE, DIR, LINK, HARD = tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def test_streams_of_tar(m):
    long = "n" * 150
    m.good("run", "-d", "--name", "c", "busybox", "sh", "-c",
           f"mkdir -p /d/sub; echo a > /d/a; seq 1 30000 > /d/sub/{long}; ln -s a /d/l; "
           "chown 7:8 /d/a; chmod 4750 /d/a; mkfifo /d/p; mknod /d/null c 1 3; echo up; "
           "exec sleep 1000")
    wait_for("up", lambda: m.good("logs", "c"))
    code, out, err = stream(m, "c:/d", "-")
    assert code == 0, err
    t = tarfile.open(fileobj=io.BytesIO(out))
    assert sorted(t.getnames()) == ["d", "d/a", "d/l", "d/null", "d/p", "d/sub", f"d/sub/{long}"]
    a = t.getmember("d/a")
    assert (a.mode, a.uid, a.gid, t.extractfile(a).read()) == (0o4750, 7, 8, b"a\n"), a.get_info()
    assert t.getmember("d/l").linkname == "a" and t.getmember("d/p").isfifo()
    assert t.getmember("d/null").ischr() and t.getmember("d/null").devminor == 3
    assert t.extractfile(f"d/sub/{long}").read().endswith(b"\n30000\n")
    # what GNU tar makes of it, and back into the container
    assert "d/sub/" in subprocess.run(["tar", "-tf", "-"], input=out, stdout=subprocess.PIPE,
                                      check=True).stdout.decode()
    code, _, err = stream(m, "-a", "-", "c:/tmp", data=out)
    assert code == 0, err
    assert m.good("exec", "c", "sh", "-c", "cd /tmp/d; stat -c '%a %u %g' a; readlink l; test -p p; "
                  f"tail -n1 sub/{long}") == "4750 7 8\na\n30000\n"
    code, out, err = stream(m, "c:/d/.", "-")
    assert code == 0 and "./a" in tarfile.open(fileobj=io.BytesIO(out)).getnames(), err
    code, out, err = stream(m, "c:/d/a", "-")
    assert tarfile.open(fileobj=io.BytesIO(out)).getnames() == ["a"]
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        deep = "x" * 90 + "/" + "y" * (40 if format == tarfile.USTAR_FORMAT else 140)
        data = archive(("s", DIR, ""), ("s/f", FILE, b"one"), ("s/h", HARD, "s/f"),
                       ("s/l", LINK, "f"), ("s/" + deep, FILE, b"deep"), ("new/above/f", FILE, b"2"),
                       ("/abs", FILE, b"3"), ("./dot/./f", FILE, b"4"), format=format)
        m.good("exec", "c", "sh", "-c", "rm -rf /in; mkdir /in")
        code, _, err = stream(m, "-", "c:/in", data=data + b"\0" * 70000)
        assert code == 0, err
        got = m.good("exec", "c", "sh", "-c", f"cd /in; cat s/h s/l s/{deep} new/above/f abs dot/f; "
                     "stat -c ' %a %u %Y %h' s/f")
        assert got == "oneonedeep234 640 0 1700000000 2\n", got
    # in their place, and of a stopped container
    m.good("stop", "-t", "0", "c")
    assert stream(m, "-", "c:/in", data=archive(("s/f", FILE, b"again")))[0] == 0
    m.good("cp", "c:/in/s/f", m.path("f"))
    assert read(m.path("f")) == "again"
    assert b"again" in stream(m, "c:/in/s/f", "-")[1]
    for data, words in ((b"no tar" * 200, "it is no tar"), (archive(("f", FILE, b"x"))[:700], "early"),
                        (archive(("d/../../f", FILE, b"x")), "leads upwards"),
                        (archive(("s", FILE, b"x")), "cannot overwrite directory"),
                        (archive(("s/f", DIR, "")), "cannot overwrite non-directory"),
                        (archive(("v", b"V", "")), "type 0x56"),
                        (archive(("h", HARD, "none")), "No such file")):
        code, _, err = stream(m, "-", "c:/in", data=data)
        assert code == 1 and words in err, (words, code, err)
    assert "must be a directory" in stream(m, "-", "c:/in/s/f", data=archive(("f", FILE, b"")))[2]
    assert "must be a directory" in stream(m, "-", "c:/none", data=archive(("f", FILE, b"")))[2]
    assert "at least one container" in stream(m, "-", m.path("x"))[2]
    assert "at least one container" in stream(m, "-", "-")[2]
    m.clean()


def test_streams_do_not_escape(m):
    victim, secret = m.path("victim"), m.path("secret")
    os.mkdir(victim)
    with open(secret, "w") as f:
        f.write("secret\n")
    up = "../" * 12
    m.good("run", "-d", "--name", "e", "busybox", "sh", "-c",
           "mkdir /in; ln -s /proc/1/root /in/proc; echo up; exec sleep 1000")
    wait_for("up", lambda: m.good("logs", "e"))
    for target in (victim, up + victim[1:]):
        stream(m, "-", "e:/in", data=archive(("l", LINK, target), ("l/planted", FILE, b"x")))
        assert os.listdir(victim) == [], target
    stream(m, "-", "e:/in", data=archive((f"proc{victim}/planted", FILE, b"x")))
    assert os.listdir(victim) == []
    for target in (secret, up + secret[1:], "proc" + secret):
        stream(m, "-", "e:/in", data=archive(("s", LINK, target), ("h", HARD, "s"),
                                             ("h2", HARD, target)))
        m.good("exec", "e", "sh", "-c", "rm -f /in/h* /in/s")
    assert os.stat(secret).st_nlink == 1 and read(secret) == "secret\n"
    m.clean()


def test_copies_do_not_escape(m):
    secret, victim = m.path("secret"), m.path("victim")
    with open(secret, "w") as f:
        f.write("secret\n")
    os.mkdir(victim)
    up = "../" * 12
    m.good("run", "-d", "--name", "e", "busybox", "sh", "-c",
           f"mkdir -p /x; ln -s {up}{secret} /x/rel; ln -s {secret} /x/abs; ln -s {victim} /x/dir; "
           f"ln -s /proc/1/root /x/proc; ln -s {up} /x/up; echo up; exec sleep 1000")
    wait_for("up", lambda: m.good("logs", "e"))
    for link in ("rel", "abs"):
        m.run("cp", "-L", f"e:/x/{link}", m.path("got"))
        assert not os.path.exists(m.path("got")), f"{link} led out"
    for link in ("dir", "up" + victim, "proc" + victim):
        m.run("cp", secret, f"e:/x/{link}/planted")
        assert os.listdir(victim) == [], f"{link} led out"
    # into the host: a link in the copied tree is copied, not followed
    m.good("exec", "e", "sh", "-c", f"mkdir -p /t/a; ln -s {victim} /t/a/b")
    m.good("cp", "e:/t", m.path("t"))
    m.good("exec", "e", "sh", "-c", "rm /t/a/b; mkdir /t/a/b; echo x > /t/a/b/planted")
    m.bad(1, "cp", "e:/t/.", m.path("t"), has="cannot overwrite non-directory")
    assert os.listdir(victim) == []
    m.good("exec", "e", "mkdir", "/devs")
    m.good("exec", "e", "mknod", "/devs/zero", "c", "1", "5")
    m.bad(1, "cp", "e:/devs", m.path("devs"), has="device")
    # a container that changes folders into links while they are written to
    m.good("exec", "-d", "e", "sh", "-c",
           f"mkdir /r; while :; do mkdir /r/d; rmdir /r/d; ln -s {victim} /r/d; rm /r/d; done")
    src = m.path("src/d")
    os.makedirs(src)
    for i in range(20):
        with open(f"{src}/{i}", "w") as f:
            f.write("x")
    for _ in range(10):
        m.run("cp", m.path("src") + "/.", "e:/r")
        assert os.listdir(victim) == [], "a race led out"
    m.clean()


def serve(port):
    return ("sh", "-c", f"mkdir -p /w; echo page > /w/index.html; exec httpd -f -p {port} -h /w")


def fetch(addr, port, *inside):
    p = subprocess.run([*inside, "timeout", "3", "busybox", "wget", "-q", "-O", "-",
                        f"http://{addr}:{port}/index.html"], stdout=subprocess.PIPE,
                       stderr=subprocess.DEVNULL)
    return p.stdout.decode()


def test_a_container_outlives_its_images_name(m):
    m.good("run", "-d", "--name", "old", "--restart", "always", "busybox", *serve(80))
    m.good("create", "--name", "waits", "busybox", "cat", "/etc/new")
    with open(m.path("busybox-root/etc/new"), "w") as f:
        f.write("new\n")
    m.busybox()
    m.good("stop", "-t", "1", "old")
    m.good("start", "old")
    m.bad(1, "exec", "old", "cat", "/etc/new")
    m.bad(1, "start", "-a", "waits", has="/etc/new")
    assert m.good("run", "--rm", "busybox", "cat", "/etc/new") == "new\n"
    blobs = len(os.listdir(os.path.join(m.images, "blobs/sha256")))
    m.good("rm", "-f", "old", "waits")
    m.busybox()  # collects
    left = os.listdir(os.path.join(m.images, "blobs/sha256"))
    assert len(left) == blobs - 2, left
    m.clean()


def test_ports_beside_services(m):
    tool = subprocess.Popen([os.path.join(BUILD, "tests", "lib", "services_tool"), "10.96.0.0/16",
                             "10.244.0.0/16", "10.244.7.0/24"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    assert tool.stdout.readline().startswith("ok open")
    try:
        m.good("run", "-d", "--name", "p", "-p", "8080:80", "busybox", *serve(80))
        wait_for("loopback", lambda: fetch("127.0.0.1", 8080) == "page\n")
    finally:
        tool.stdin.close()
        tool.wait(60)
        subprocess.run(["nft", "delete", "table", "inet", "umiak_services"])
    m.clean()


def test_ports(m):
    sh("ip", "netns", "add", "outside")
    try:
        sh("ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0", "netns", "outside")
        sh("ip", "addr", "add", "192.0.2.1/24", "dev", "out0")
        sh("ip", "link", "set", "out0", "up")
        sh("ip", "-n", "outside", "addr", "add", "192.0.2.2/24", "dev", "in0")
        sh("ip", "-n", "outside", "link", "set", "in0", "up")
        inside = ("ip", "netns", "exec", "outside")
        m.good("run", "-d", "--name", "p", "-p", "8080:80", "-p", "127.0.0.1:8081:80", "busybox",
               *serve(80))
        assert "0.0.0.0:8080->80/tcp" in m.good("ps")
        wait_for("host", lambda: fetch("192.0.2.1", 8080) == "page\n")
        wait_for("loopback", lambda: fetch("127.0.0.1", 8080) == "page\n")
        wait_for("outside", lambda: fetch("192.0.2.1", 8080, *inside) == "page\n")
        assert fetch("127.0.0.1", 8081) == "page\n"
        assert fetch("192.0.2.1", 8081, *inside) == ""
        # from itself and from another container, by the host's address
        ask = ("sh", "-c", r"printf 'GET /index.html HTTP/1.0\r\n\r\n' | "
               "timeout 10 nc 192.0.2.1 8080")
        assert "page" in m.good("exec", "p", *ask)
        assert "page" in m.good("run", "--rm", "busybox", *ask)
        # the host's own loopback is out of reach
        with socket.socket() as s:
            s.bind(("127.0.0.1", 7777))
            s.listen()
            net = ("nsenter", "-t", str(m.pid("p")), "-n")
            sh(*net, "ip", "route", "del", "local", "127.0.0.0/8", "table", "local")
            sh(*net, "ip", "route", "del", "local", "127.0.0.1", "table", "local")
            sh(*net, "sysctl", "-qw", "net.ipv4.conf.eth0.route_localnet=1")
            reach = (*net, sys.executable, "-c", "import socket\n"
                     "socket.create_connection(('127.0.0.1', 7777), timeout=2)")
            sh("nft", "insert", "rule", "inet", "umiak_ctr", "loopback", "ip", "daddr",
               "127.0.0.1", "tcp", "dport", "7777", "counter")
            assert subprocess.run(reach, stderr=subprocess.DEVNULL).returncode != 0
            # it came as far as the rule that stops it
            seen = re.search(r"dport 7777 counter packets (\d+)",
                             sh("nft", "list", "chain", "inet", "umiak_ctr", "loopback"))
            assert int(seen.group(1)) > 0, seen.group(0)
            m.bad(125, "run", "--rm", "-p", "7777:1", "busybox", "true",
                  has="port is already allocated")
        m.bad(125, "run", "--rm", "-p", "8080:1", "busybox", "true", has="already allocated")
        m.bad(125, "run", "--rm", "-p", "127.0.0.1:8080:1", "busybox", "true",
              has="already allocated")
        m.bad(125, "run", "--rm", "-p", "8-9:1-3", "busybox", "true", has="different lengths")
        m.bad(125, "run", "--rm", "-p", "9-8:9-8", "busybox", "true", has="invalid publish")
        m.bad(125, "run", "--rm", "-p", "8079-8080:1-2", "busybox", "true",
              has="port is already allocated")
        m.bad(125, "run", "--rm", "-p", "70000:1", "busybox", "true", has="invalid publish")
        m.bad(125, "run", "--rm", "-p", "1:1/sctp", "busybox", "true", has="not supported")
        # UDP
        m.good("run", "-d", "--name", "u", "-p", "5353:53/udp", "busybox", "sleep", "1000")
        server = subprocess.Popen(
            ["nsenter", "-t", str(m.pid("u")), "-n", sys.executable, "-c", "import socket\n"
             "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('', 53))\n"
             "while True: s.sendto(*s.recvfrom(100))"])

        def echo():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                s.settimeout(1)
                s.sendto(b"ping", ("127.0.0.1", 5353))
                return s.recv(100) == b"ping"
        try:
            wait_for("udp", echo)
        finally:
            server.kill()
            server.wait()
        # a free port is chosen
        m.good("run", "-d", "--name", "r", "-p", "80", "busybox", *serve(80))
        port = re.search(r"0\.0\.0\.0:(\d+)->80", m.good("ps", "-f", "name=r")).group(1)
        wait_for("the chosen port", lambda: fetch("127.0.0.1", port) == "page\n")
        # a range
        m.good("run", "-d", "--name", "n", "-p", "127.0.0.1:8100-8102:80-82", "busybox",
               *serve(82))
        wait_for("the last of a range", lambda: fetch("127.0.0.1", 8102) == "page\n")
        assert m.good("ps", "-f", "name=n", "--format", "{{.Ports}}").count("->") == 3, m.out
        m.good("rm", "-f", "n")
        # flushed rules come back with the next command
        sh("nft", "flush", "ruleset")
        m.good("ps")
        wait_for("healed", lambda: fetch("192.0.2.1", 8080, *inside) == "page\n")
        m.good("rm", "-f", "p")
        assert fetch("192.0.2.1", 8080) == ""
        m.good("run", "-d", "--name", "p2", "-p", "8080:80", "busybox", *serve(80))
        wait_for("again", lambda: fetch("192.0.2.1", 8080) == "page\n")
        m.clean()
    finally:
        subprocess.run(["ip", "netns", "del", "outside"])
        subprocess.run(["ip", "link", "del", "out0"], stderr=subprocess.DEVNULL)


def test_names(m):
    hosts = m.good("run", "--rm", "--hostname", "me", "busybox", "cat", "/etc/hosts")
    assert re.search(r"^10\.245\.\d+\.\d+\tme$", hosts, re.M), hosts
    own = m.path("resolv")
    with open(own, "w") as f:
        f.write("search a.example\nnameserver 127.0.0.53\nnameserver 192.0.2.7\noptions ndots:2\n")
    sh("mount", "--bind", own, "/etc/resolv.conf")
    try:
        text = m.good("run", "--rm", "busybox", "cat", "/etc/resolv.conf")
        assert text == "search a.example\nnameserver 192.0.2.7\noptions ndots:2\n", text
    finally:
        sh("umount", "/etc/resolv.conf")
    m.clean()


def test_one_name_once(m):
    ps = [m.start("run", "-d", "--name", "only", "busybox", "sleep", "1000",
                  stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(6)]
    codes = sorted(p.wait(60) for p in ps)
    assert codes == [0] + [125] * 5, codes
    for p in ps:
        p.stdout.close()
        p.stderr.close()
    m.clean()


def test_twenty_at_once(m):
    ps = [m.start("run", "-d", "--name", f"n{i}", "busybox", "sleep", "1000",
                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for i in range(20)]
    for p in ps:
        err = p.communicate(timeout=120)[1]
        assert p.returncode == 0, err
    assert len(m.good("ps", "-q").split()) == 20
    addrs = {m.good("inspect", "-f", "{{.NetworkSettings.IPAddress}}", f"n{i}") for i in range(20)}
    assert len(addrs) == 20
    rs = [m.start("rm", "-f", f"n{i}", stdout=subprocess.DEVNULL) for i in range(20)]
    assert [r.wait(120) for r in rs] == [0] * 20
    m.assert_no_leaks()


def test_killed_shim(m):
    m.good("run", "-d", "--name", "k", "-p", "9090:80", "busybox", "sleep", "1000")
    pid = m.pid("k")
    os.kill(m.shim("k"), signal.SIGKILL)
    wait_for("the next command sees it", lambda: m.state("k") == "exited")
    assert m.state("k", "ExitCode") == "137"
    wait_for("its end", lambda: not os.path.exists(f"/proc/{pid}"))
    m.good("start", "k")
    assert m.state("k") == "running"
    # under somebody who is attached
    p = m.start("run", "--rm", "--name", "fg", "busybox", "sleep", "1000", stderr=subprocess.PIPE)
    wait_for("it runs", lambda: m.state("fg") == "running")
    os.kill(m.shim("fg"), signal.SIGKILL)
    assert p.wait(40) == 125
    p.stderr.close()
    m.clean()


def test_killed_commands(m):
    """kill -9 of the command at each step: the next one puts it right."""
    m.good("run", "--rm", "busybox", "true")
    for point in ("ctr.named", "ctr.created", "ctr.folders", "ctr.shim", "ctr.attached",
                  "ctr-net.address-given", "ctr.mounted", "ctr.ready", "ctr.started"):
        with Fault(point) as f:
            code = m.run("run", "-d", "--name", "k", "-p", "9191:80", "busybox", "sleep", "1000",
                         env=f.env)
            assert code == -9 and f.fired(), (point, code, m.err)
        m.run("rm", "-f", "k")
        m.clean()
    for point in ("ctr.shim-ended", "ctr.detached", "ctr.released", "ctr.unnamed"):
        m.good("run", "-d", "--name", "k", "busybox", "sleep", "1000")
        with Fault(point) as f:
            code = m.run("rm", "-f", "k", env=f.env)
            assert code == -9 and f.fired(), (point, code, m.err)
        m.run("rm", "-f", "k")
        m.clean()
    m.good("run", "-d", "--name", "k", "busybox", "sleep", "1000")
    with Fault("ctr.noted") as f:
        assert m.run("stop", "-t", "0", "k", env=f.env) == -9 and f.fired()
    assert m.state("k") == "exited"
    m.good("rm", "k")
    with Fault("ctr.cleanup") as f:
        m.good("run", "-d", "--name", "k", "busybox", "true", env=f.env)
        wait_for("the cleanup was killed", f.fired)
    wait_for("the next command sees it", lambda: m.state("k") == "exited")
    assert m.state("k", "ExitCode") == "0"
    # in the foreground: the container goes when the shim sees that nobody cleans up
    p = m.start("run", "--rm", "--name", "fg", "busybox", "sleep", "0.5")
    wait_for("it runs", lambda: m.state("fg") == "running")
    p.kill()
    p.wait()
    wait_for("it is removed", lambda: m.run("inspect", "fg") == 1)
    m.clean()


def test_two_trees(m):
    """Folders by option, variable and file: two trees on one machine see nothing of each other."""
    mine = m.good("run", "-d", "--name", "same", "-p", "8080:80", "busybox", *serve(80)).strip()
    other = tempfile.mkdtemp(prefix="umc-")
    try:
        dirs = {k: f"{other}/{k}" for k in ("state", "run", "volumes")}
        with open(other + "/ctr.yaml", "w") as f:
            f.write(f"state-dir: {dirs['state']}\nrun-dir: {dirs['run']}\n"
                    f"volumes-dir: {dirs['volumes']}\nimages-dir: {m.images}\n"
                    "container-range: 10.246.0.0/16\n")
        there = ("--config", other + "/ctr.yaml")
        m.bad(125, "run", *there, "--container-range", "10.245.0.0/16", "-d", "busybox", "true",
              has=f"containers of another folder, {m.root}/var/lib/umiak/ctr/net, have addresses")
        m.bad(125, "run", *there, "--container-range", "10.245.7.0/24", "-d", "busybox", "true",
              has="give --container-range another one")
        m.good("rm", *there, *m.good("ps", *there, "-aq").split())
        theirs = m.good("run", *there, "-d", "--name", "same", "-p", "8081:80", "-v", "vol:/v",
                        "busybox", *serve(80)).strip()
        assert mine != theirs
        assert m.good("ps", "-aq", "--no-trunc").split() == [mine]
        assert m.good("ps", *there, "-aq", "--no-trunc").split() == [theirs]
        wait_for("mine", lambda: fetch("127.0.0.1", 8080) == "page\n")
        wait_for("theirs", lambda: fetch("127.0.0.1", 8081) == "page\n")
        assert m.good("inspect", *there, "-f", "{{.NetworkSettings.IPAddress}}",
                      "same").startswith("10.246.")
        assert os.listdir(dirs["volumes"]) == ["vol"] and os.path.isdir(f"{dirs['run']}/{theirs[:16]}")
        assert os.path.isdir(f"{dirs['state']}/{theirs}")
        # Its shim cleans up after it where it is, with or without the file.
        os.unlink(other + "/ctr.yaml")
        env = {"UMIAK_CTR_STATE_DIR": dirs["state"], "UMIAK_CTR_RUN_DIR": dirs["run"],
               "UMIAK_VOLUMES_DIR": dirs["volumes"], "UMIAK_CTR_RANGE": "10.246.0.0/16"}
        os.kill(int(m.good("inspect", "-f", "{{.State.Pid}}", "same", env=env)), signal.SIGKILL)
        wait_for("its cleanup", lambda: os.listdir(dirs["run"]) == ["oci"])
        assert m.good("inspect", "-f", "{{.State.ExitCode}}", "same", env=env) == "137\n"
        assert m.state("same") == "running" and fetch("127.0.0.1", 8080) == "page\n"
        # An option wins over a variable.
        assert m.good("ps", "-aq", "--no-trunc", "--state-dir", dirs["state"], "--run-dir",
                      dirs["run"], env={"UMIAK_CTR_STATE_DIR": other + "/none"}).split() == [theirs]
        m.good("rm", "-v", "same", env=env)
        m.bad(1, "ps", "--state-dir", "state", has="--state-dir \"state\": want an absolute path")
        m.bad(1, "ps", "--run-dir", "/r\"", has="--run-dir")
        m.bad(1, "ps", "--config", other + "/none.yaml", has="none.yaml")
        # The table of a folder that is gone is nobody's.
        shutil.rmtree(dirs["state"])
        env = {"UMIAK_CTR_STATE_DIR": other + "/fresh", "UMIAK_CTR_RANGE": "10.246.0.0/16"}
        assert m.good("run", "--rm", "busybox", "echo", "hi", env=env) == "hi\n"
    finally:
        shutil.rmtree(other)
    m.clean()


def test_beside_an_agent(m):
    """The agent of the same machine starts and sweeps: containers are none of its pods."""
    m.good("run", "-d", "--name", "c", "busybox", "sleep", "1000")
    m.good("exec", "c", "touch", "/mark")
    agent = subprocess.Popen(
        [os.path.join(BUILD, "umiak"), "agent", "--node-name", "n1", "--node-ip", "127.0.0.1",
         "--state-dir", m.path("state"), "--run-dir", m.path("run"), "--log-dir", m.path("log"),
         "--images-dir", m.images, "--manifests-dir", m.path("manifests"), "--libexec-dir",
         m.path("libexec"), "--cgroup-parent", m.cgroup + "-a"],
        stdout=open(m.path("agent.log"), "wb"), stderr=subprocess.STDOUT)
    try:
        wait_for("the agent", lambda: "agent ready" in m.log_text(), timeout=40)
        m.good("exec", "c", "ls", "/mark")
        assert "um" in sh("ip", "-o", "link")
        m.good("run", "--rm", "busybox", "true")
        m.good("stop", "-t", "0", "c")
        m.good("start", "c")
        m.good("exec", "c", "ls", "/mark")
    finally:
        agent.terminate()
        agent.wait(30)
        for root in glob.glob(f"{CGROUPS}/*/{m.cgroup}-a") + glob.glob(f"{CGROUPS}/{m.cgroup}-a"):
            for d, dirs, files in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(d)
    m.clean()


if __name__ == "__main__":
    private_namespaces()
    main(globals())
