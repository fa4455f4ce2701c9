#!/usr/bin/env python3
"""umiak-oci under Debian's podman as an ordinary user has it: podman makes a user namespace, in which
the runtime is root without being root of anything else. No cgroups, as without a manager that hands
them to users."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from callers import *  # noqa

private_namespaces()
private_folders()

IDLE = ("sh", "-c", "trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done")
TABLES = {"passwd": "root:x:0:0::/:/bin/sh\numtest:x:1000:1000::{dir}:/bin/sh\n",
          "group": "root:x:0:\numtest:x:1000:\n",
          "subuid": "umtest:200000:65536\n", "subgid": "umtest:300000:65536\n"}


class Podman(Caller):
    def __init__(self):
        super().__init__()
        for name, text in TABLES.items():
            with open("/etc/" + name, "w") as f:
                f.write(text.format(dir=self.dir))
        for d in ("run", "tmp", "shared"):
            os.mkdir(self.path(d))
        with open(self.path("shared", "f"), "w") as f:
            f.write("outside\n")
        with open(self.path("containers.conf"), "w") as f:
            f.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
                    f'[engine.runtimes]\numiak-oci = ["{self.path("runtime")}"]\n')
        self.env.update(CONTAINERS_CONF=self.path("containers.conf"), USER="umtest",
                        XDG_RUNTIME_DIR=self.path("run"))
        # LeakSanitizer hangs where it may not trace: exec is not dumpable, and root only in here.
        with open(self.path("runtime"), "w") as f:
            f.write(f'#!/bin/sh\nASAN_OPTIONS="$ASAN_OPTIONS:detect_leaks=0" exec {OCI} "$@"\n')
        os.chmod(self.path("runtime"), 0o755)
        layer = self.layer()
        for d, folders, files in os.walk(self.dir):
            for name in [d] + [os.path.join(d, n) for n in folders + files]:
                os.chown(name, 1000, 1000, follow_symlinks=False)
        self.good("import", "-q", layer, "busybox")

    def argv(self, *args):
        return ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", "env", "--chdir",
                self.dir, "podman", "--root", self.path("root"), "--runroot", self.path("run"),
                "--tmpdir", self.path("tmp"), "--storage-driver", "vfs", "--cgroup-manager",
                "cgroupfs", "--events-backend", "none", "--runtime", "umiak-oci", *args]

    def run(self, *args, rc=0, has=()):
        return self.bad(rc, "run", "--rm", "--network", "none", *args, has=has).out

    def sh(self, *args):
        """The last of @args is a script."""
        return self.run(*args[:-1], "busybox", "sh", "-c", args[-1])

    def up(self, *flags, name="c"):
        self.good("run", "-d", "--name", name, "--network", "none", *flags, "busybox", *IDLE)
        wait_for("the program", lambda: "up" in self.good("logs", name), timeout=60)

    def state_folders(self):
        return [self.path("run", "umiak-oci")]

    def daemons(self):
        """podman's own process, which keeps its user namespace."""
        return [p for p in processes(self.dir) if "catatonit" in command(p)[0] or
                os.path.basename(command(p)[0]) == "podman"]

    def own_mounts(self):
        return ()

    def clean(self):
        self("rm", "-f", "-a", "-t", "0")


podman = Podman()


def make_node():
    return podman


def test_run(p):
    assert p.run("busybox", "echo", "hello") == "hello\n"
    p.run("busybox", "sh", "-c", "exit 7", rc=7)
    p.run("busybox", "nope", rc=127, has="executable file not found")
    p.run("busybox", "/etc/passwd", rc=126, has="permission denied")
    p.assert_nothing_left()


def test_users_and_groups(p):
    assert p.sh("cat /proc/self/uid_map").split() == ["0", "1000", "1", "1", "200000", "65536"]
    assert p.sh("--user", "33:44", "--group-add", "55", "id -u; id -G") == "33\n44 55\n"
    assert p.sh("--userns", "keep-id", "id -u; id -g") == "1000\n1000\n"
    assert p.sh("--uidmap", "0:1:1000", "--gidmap", "0:1:1000",
                "touch /tmp/x; stat -c %u /tmp/x; cat /proc/self/uid_map").split()[:2] == ["0", "0"]


def test_devices(p):
    nodes = "null zero full random urandom tty"
    out = p.sh(f"cd /dev; for d in {nodes}; do test -c $d && echo $d; done; echo x >/dev/null; "
               "head -c 3 /dev/zero | wc -c; ls -d /dev/pts/ptmx")
    assert out.split() == nodes.split() + ["3", "/dev/pts/ptmx"], out
    assert "1,   3" in p.sh("--device", "/dev/null:/dev/other", "ls -l /dev/other")


def test_volumes(p):
    own = p.path("shared")
    assert p.sh("-v", f"{own}:/v", "cat /v/f; echo inside >/v/made") == "outside\n"
    assert read(own + "/made") == "inside\n" and os.stat(own + "/made").st_uid == 1000
    r = p.bad(1, "run", "--rm", "--network", "none", "-v", f"{own}:/v:ro", "busybox", "touch", "/v/n")
    assert "Read-only" in r.err, r
    assert "size=1024k" in p.sh("--tmpfs", "/t:size=1m", "grep ' /t ' /proc/mounts")
    assert "Read-only" in p.bad(1, "run", "--rm", "--network", "none", "--read-only", "busybox",
                                "touch", "/x").err


def test_rights(p):
    status = p.sh("cat /proc/self/status")
    assert re.search(r"Seccomp:\s+2", status), status
    caps = int(re.search(r"CapEff:\s+(\w+)", p.sh("--privileged", "cat /proc/self/status"))[1], 16)
    assert caps.bit_count() > int(re.search(r"CapEff:\s+(\w+)", status)[1], 16).bit_count() > 5
    assert re.search(r"NoNewPrivs:\s+1", p.sh("--security-opt", "no-new-privileges",
                                              "cat /proc/self/status"))
    assert p.sh("--sysctl", "net.ipv4.ip_forward=1", "cat /proc/sys/net/ipv4/ip_forward") == "1\n"


def test_namespaces_of_the_host(p):
    assert p.sh("--pid", "host", "test -d /proc/%d && echo seen" % os.getpid()) == "seen\n"
    assert p.sh("--uts", "host", "hostname") == os.uname().nodename + "\n"
    assert p.sh("--userns", "host", "id -u") == "0\n"


def test_namespaces_of_another_container(p):
    p.up("--hostname", "first")
    assert "sleep" in p.sh("--pid", "container:c", "cat /proc/1/cmdline")
    assert p.sh("--uts", "container:c", "--ipc", "container:c", "hostname") == "first\n"
    assert p.sh("--userns", "container:c", "id -u") == "0\n"
    assert p.bad(0, "run", "--rm", "--network", "container:c", "busybox", "true").out == ""


def test_life(p):
    p.up()
    assert p.good("exec", "--user", "33", "-w", "/tmp", "-e", "A=b", "c", "sh", "-c",
                  "id -u; pwd; echo $A") == "33\n/tmp\nb\n"
    assert "sleep" in p.good("top", "c")
    p.good("cp", p.path("shared", "f"), "c:/tmp/copied")
    assert p.good("exec", "c", "cat", "/tmp/copied") == "outside\n"
    p.good("stop", "-t", "60", "c")
    assert p.good("inspect", "--format", "{{.State.ExitCode}}", "c").strip() == "3"
    p.good("start", "c")
    p.good("kill", "-s", "KILL", "c")
    wait_for("its end", lambda: p.good("inspect", "--format", "{{.State.Status}}",
                                       "c").strip() == "exited", timeout=60)
    p.good("rm", "c")
    p.assert_nothing_left()


def test_a_terminal(p):
    t = p.terminal("run", "--rm", "-it", "--network", "none", "busybox", "sh")
    try:
        t.send("tty; echo $((40+2))\n")
        t.expect("/dev/pts/0")
        t.expect("42")
        t.send("exit 5\n")
        assert t.wait() == 5
    finally:
        t.close()


main(globals())
