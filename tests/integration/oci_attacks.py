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
numbers of --user             um_num_u64n() in parse_user(), exec.c
sysctl redirected             RESOLVE_NO_XDEV in um_rootfs_write_proc(), rootfs.c
host-wide sysctl              sysctl_namespace(), rootfs.c
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


main(globals())
