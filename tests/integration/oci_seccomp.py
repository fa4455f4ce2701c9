#!/usr/bin/env python3
"""linux.seccomp: notification, calls that the profile is too old for, the cache of programs."""
import array
import errno
import os
import select
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
make_node = Box
NR = {"read": 0, "mkdir": 83, "getpriority": 140, "clone3": 435, "openat2": 437}
EPERM, E2BIG, EINVAL, ENOSYS = 1, 7, 22, 38
# What a shell, cat and our own last steps need.
SHELL = ["read", "write", "open", "openat", "close", "fstat", "stat", "lstat", "newfstatat", "statx", "mmap",
         "munmap", "mprotect", "brk", "ioctl", "fcntl", "execve", "exit", "exit_group", "arch_prctl",
         "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "getuid", "geteuid",
         "getgid", "getegid", "getpid", "getppid", "gettid", "rt_sigaction", "rt_sigprocmask",
         "rt_sigreturn", "wait4", "fork", "vfork", "clone", "dup", "dup2", "pipe", "pipe2", "getcwd", "chdir",
         "uname", "readlink", "access", "faccessat", "sendfile", "close_range", "prctl", "setgroups",
         "setgid", "setuid", "setresgid", "setresuid", "capset", "capget", "umask", "lseek", "writev",
         "madvise", "futex", "poll", "faccessat2", "readv", "sendmsg", "sendto", "getdents64", "mkdir", "seccomp"]


def prober(box):
    tool(box, "syscalls")
    return lambda *nrs: box.oci("run", "--bundle", box.bundle, "c") if box.save("/bin/syscalls", *map(str, nrs)) \
        else box.oci("run", "--bundle", box.bundle, "c")


def tool(box, name):
    sh("gcc", "-static", "-O1", "-o", os.path.join(box.root, "bin", name),
       os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib", name + ".c"))


def answers(r):
    return {k: int(v) for k, v in (line.split() for line in r.out.splitlines())}


def profile(box, default="SCMP_ACT_ERRNO", names=SHELL, archs=("SCMP_ARCH_X86_64",), **more):
    box.linux["seccomp"] = {"defaultAction": default, "architectures": list(archs),
                            "syscalls": [{"names": list(names), "action": "SCMP_ACT_ALLOW"}], **more}
    return box.linux["seccomp"]


# ---- calls that are newer than the profile

def test_newer_calls_do_not_exist(box):
    probe = prober(box)
    for nnp in (True, False):
        box.process["noNewPrivileges"] = nnp
        profile(box)
        got = answers(probe(NR["getpriority"], 436, NR["openat2"], 9999))
        # close_range (436) and faccessat2 (439) are named: what lies below is refused as told.
        assert got == {"140": EPERM, "436": EINVAL, "437": EPERM, "9999": ENOSYS}, got
    profile(box, names=[n for n in SHELL if n not in ("faccessat2", "close_range")])
    box.process["noNewPrivileges"] = True
    got = answers(probe(NR["getpriority"], NR["openat2"], NR["clone3"]))
    assert got == {"140": EPERM, "437": ENOSYS, "435": ENOSYS}, got


def test_only_where_the_default_refuses(box):
    probe = prober(box)
    profile(box, default="SCMP_ACT_ALLOW")["syscalls"][0].update(names=["mkdir"], action="SCMP_ACT_ERRNO")
    got = answers(probe(NR["mkdir"], NR["openat2"]))
    assert got["83"] == EPERM and got["437"] == E2BIG, got
    profile(box, defaultErrnoRet=77)
    got = answers(probe(NR["getpriority"], 9999))
    assert got == {"140": 77, "9999": ENOSYS}, got
    profile(box, default="SCMP_ACT_KILL_PROCESS")
    got = answers(probe(9999))
    assert got == {"9999": ENOSYS}, got
    r = probe(NR["getpriority"])
    assert r.rc == 159, r


def test_other_architectures_have_numbers_of_their_own(box):
    probe = prober(box)
    profile(box, archs=("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"))
    # i386: 96 getpriority, 11111 is newer than all.
    got = answers(probe("i386:96", "i386:11111", "140", "9999", "x32:140", "x32:9999"))
    assert got["140"] == EPERM and got["9999"] == ENOSYS and got["x32:140"] == EPERM, got
    assert got["x32:9999"] == ENOSYS, got
    if got["i386:96"] != ENOSYS:  # a kernel with 32-bit programs
        assert got["i386:96"] == EPERM and got["i386:11111"] == ENOSYS, got
    profile(box, archs=("SCMP_ARCH_NONSENSE",))
    box.refused("linux.seccomp.architectures", "SCMP_ARCH_NONSENSE")


def test_a_filter_need_not_allow_our_own_steps(box):
    """Nothing but execve(2) follows the filter."""
    tool(box, "syscalls")
    profile(box, names=["execve", "brk", "arch_prctl", "set_tid_address", "set_robust_list", "rseq", "mprotect",
                        "prlimit64", "readlink", "getrandom", "exit_group", "newfstatat", "fstat", "write",
                        "ioctl"], default="SCMP_ACT_KILL_PROCESS")
    for uid in (0, 1000):
        box.process["user"] = {"uid": uid, "gid": uid}
        for nnp in (True, False):
            box.process["noNewPrivileges"] = nnp
            box.save("/bin/syscalls")
            r = box.oci("run", "--bundle", box.bundle, "c")
            assert r.rc == 0, (uid, nnp, r)


def test_what_installs_the_filter_is_not_passed_on(box):
    """Without no_new_privs that takes CAP_SYS_ADMIN: here after all others have gone."""
    names = ["CAP_CHOWN", "CAP_KILL"]
    script = "grep -E 'Cap|NoNew' /proc/self/status"
    box.process["noNewPrivileges"] = False
    for uid in (0, 1000):
        box.process["user"] = {"uid": uid, "gid": uid}
        for ambient in ([], ["CAP_KILL"], ["CAP_KILL", "CAP_SYS_ADMIN"]):
            box.process["capabilities"] = {"bounding": names + ["CAP_SYS_ADMIN"], "permitted": names, "effective": names,
                                           "inheritable": ambient, "ambient": ambient}
            box.linux.pop("seccomp", None)
            want = box.run(script)
            profile(box, default="SCMP_ACT_ALLOW")["syscalls"][0].update(names=["mkdir"], action="SCMP_ACT_ERRNO")
            got = box.run(script)
            assert want.rc == 0 and got.rc == 0 and got.out == want.out, (uid, ambient, want, got)


# ---- notification

class Listener:
    """Takes connections at listenerPath and answers every call with an errno of its own."""

    def __init__(self, box, answer=111):
        self.path, self.answer, self.got, self.calls = box.path("listener"), answer, [], []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(self.path)
        self.sock.listen(8)
        self.closing = False
        self.threads = []
        self.start(self.accept)

    def start(self, fn, *args):
        t = threading.Thread(target=fn, args=args, daemon=True)
        t.start()
        self.threads.append(t)

    def accept(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            fds = array.array("i")
            text, anc, _, _ = c.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            for level, kind, data in anc:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds.frombytes(data[:4])
            while True:
                more = c.recv(1 << 16)
                if not more:
                    break
                text += more
            self.got.append(json.loads(text))
            assert len(fds) == 1, fds
            self.start(self.answer_calls, fds[0])

    def answer_calls(self, fd):
        import fcntl
        recv, send = 0xC0502100, 0xC0182101
        while True:
            ready = select.select([fd], [], [], 20)[0]
            buf = bytearray(80)
            try:
                if not ready:
                    return
                fcntl.ioctl(fd, recv, buf)
                ident, pid, flags, nr = struct.unpack_from("QIIi", buf)
                self.calls.append((pid, nr))
                if nr == NR["mkdir"]:
                    fcntl.ioctl(fd, send, struct.pack("QqiI", ident, 0, -self.answer, 0))
                else:  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
                    fcntl.ioctl(fd, send, struct.pack("QqiI", ident, 0, 0, 1))
            except OSError as e:
                if e.errno in (errno.ENOENT, errno.EINTR):  # gone meanwhile
                    if e.errno == errno.ENOENT and not self.alive(fd):
                        os.close(fd)
                        return
                    continue
                return

    @staticmethod
    def alive(fd):
        p = select.poll()
        p.register(fd, select.POLLIN)
        return not any(ev & select.POLLHUP for _, ev in p.poll(0))

    def close(self):
        self.sock.close()


def notified(box, listener, names=("mkdir",), **more):
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": listener.path,
                            "listenerMetadata": "for you",
                            "syscalls": [{"names": list(names), "action": "SCMP_ACT_NOTIFY"}], **more}


def test_somebody_else_decides(box):
    listener = Listener(box)
    box.config["annotations"] = {"org.example.a": "b"}
    try:
        for nnp in (True, False):
            box.process["noNewPrivileges"] = nnp
            notified(box, listener)
            r = box.run("mkdir /tmp/x; echo $?; ls /proc/self/fd")
            assert "Connection refused" in r.err and r.out.split() == ["1", "0", "1", "2", "3"], r
            said = listener.got.pop()
            assert said["fds"] == ["seccompFd"] and said["metadata"] == "for you" and said["ociVersion"], said
            assert said["state"]["id"] == "c" and said["state"]["pid"] == said["pid"], said
            assert said["state"]["status"] == "creating" and said["state"]["bundle"] == box.bundle, said
            assert said["state"]["annotations"] == {"org.example.a": "b"}, said
        # A hook of the program's kind is under the same filter, and is told of by the same descriptor.
        box.config["hooks"] = {"startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", "mkdir /tmp/x 2>/tmp/err; ls /proc/self/fd >/tmp/fds; id -u >/tmp/id"]}]}
        box.process["user"] = {"uid": 1000, "gid": 1000}
        r = box.run("true")
        assert r.rc == 0 and len(listener.got) == 1 and listener.got.pop(), r
        assert "Connection refused" in read(box.root + "/tmp/err") and read(box.root + "/tmp/id") == "1000\n"
        assert read(box.root + "/tmp/fds").split() == ["0", "1", "2", "3"]
        del box.config["hooks"]
        box.process["user"] = {"uid": 0, "gid": 0}
        # One in the background, and a process in it later.
        box.up("while :; do sleep 0.05; done")
        pid = box.state()["pid"]
        assert listener.got.pop()["pid"] == pid
        r = box.oci("exec", "c", "mkdir", "/tmp/x")
        assert "Connection refused" in r.err, r
        said = listener.got.pop()
        assert said["pid"] != pid and said["state"]["pid"] == pid and said["state"]["status"] == "running", said
        box.oci("delete", "-f", "c", ok=True)
    finally:
        listener.close()
    assert not box.left(), box.left()


def test_even_of_every_call(box):
    """sendmsg(2) included: telling the listener must not need its answer."""
    listener = Listener(box)
    try:
        for nnp in (True, False):
            box.process["noNewPrivileges"] = nnp
            box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": listener.path}
            r = box.run("mkdir /tmp/x; echo $?")
            assert "Connection refused" in r.err and r.out == "1\n", r
            assert 59 in [nr for _, nr in listener.calls], "execve was asked about"
    finally:
        listener.close()
    assert not box.left(), box.left()


def test_without_anybody_to_ask(box):
    class Nobody:
        path = box.path("nobody")
    notified(box, Nobody)
    box.refused("linux.seccomp.listenerPath", Nobody.path)
    del box.linux["seccomp"]["listenerPath"]
    box.refused("listenerPath is required")
    # One that goes away: the call does not exist then, and nothing hangs.
    s = socket.socket(socket.AF_UNIX)
    s.bind(Nobody.path)
    s.listen(1)
    notified(box, Nobody)

    def gone():
        c, _ = s.accept()
        c.recvmsg(1 << 16, socket.CMSG_SPACE(4))  # the descriptor is closed with the array
        c.close()
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if "seccomp notify" in os.readlink("/proc/self/fd/" + fd):
                    os.close(int(fd))
    t = threading.Thread(target=gone, daemon=True)
    t.start()
    r = box.run("mkdir /tmp/x; echo $?")
    t.join(20)
    assert "Function not implemented" in r.err and r.out == "1\n", r
    assert not box.left(), box.left()


# ---- the cache

def entries(box):
    return sorted(os.listdir(box.path("state", ".seccomp")))


def test_programs_are_kept_by_profile(box):
    profile(box, default="SCMP_ACT_ERRNO")
    say = "mkdir /tmp/x && rmdir /tmp/x; mkdir /tmp/x/y/z; grep Seccomp: /proc/self/status"
    box.linux["seccomp"]["syscalls"][0]["names"] = SHELL + ["rmdir"]
    first = box.run(say)
    assert "Seccomp:\t2" in first.out, first
    one = entries(box)
    assert len(one) == 1 and os.stat(box.path("state", ".seccomp")).st_mode & 0o777 == 0o700, one
    path = box.path("state", ".seccomp", one[0])
    assert os.stat(path).st_mode & 0o777 == 0o600
    before = os.stat(path)
    assert box.run(say).out == first.out
    after = os.stat(path)
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns), "made again"
    # It is what is used: one that allows all lets getpriority through, with the same profile.
    probe = prober(box)
    assert answers(probe(NR["getpriority"])) == {"140": EPERM}
    data = bytearray(open(path, "rb").read())
    key_len, n = struct.unpack_from("<II", data, 8)
    allow = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    data[24 + key_len:] = allow * n
    open(path, "wb").write(data)
    assert answers(probe(NR["getpriority"])) != {"140": EPERM}
    # Another profile is another program, also where the name would be the same.
    profile(box, defaultErrnoRet=5)
    assert answers(probe(NR["getpriority"])) == {"140": 5}
    assert len(entries(box)) == 2
    other = [e for e in entries(box) if e != one[0]][0]
    open(box.path("state", ".seccomp", other), "wb").write(data)
    assert answers(probe(NR["getpriority"])) == {"140": 5}, "the wrong profile's program was used"


def test_a_damaged_entry_is_made_again(box):
    profile(box)
    box.run("true")
    path = box.path("state", ".seccomp", entries(box)[0])
    whole = open(path, "rb").read()
    probe = prober(box)
    for bad in (b"", whole[:10], whole[:-8], whole + b"x", b"x" + whole[1:],
                whole[:12] + struct.pack("<I", 0) + whole[16:], whole[:12] + b"\xff\xff\xff\xff" + whole[16:]):
        open(path, "wb").write(bad)
        assert answers(probe(NR["getpriority"])) == {"140": EPERM}
        assert open(path, "rb").read() == whole, "it was not made again"


def test_a_folder_that_is_not_ours_is_not_used(box):
    os.makedirs(box.path("state"), exist_ok=True)
    profile(box)
    folder = box.path("state", ".seccomp")
    probe = prober(box)
    elsewhere = box.path("elsewhere")
    os.mkdir(elsewhere)
    os.symlink(elsewhere, folder)
    assert answers(probe(NR["getpriority"])) == {"140": EPERM} and not os.listdir(elsewhere)
    os.unlink(folder)
    for mode, owner in ((0o770, 0), (0o702, 0), (0o700, 1000)):
        os.mkdir(folder)
        os.chmod(folder, mode), os.chown(folder, owner, owner)
        assert answers(probe(NR["getpriority"])) == {"140": EPERM} and not os.listdir(folder)
        os.rmdir(folder)
    open(folder, "w").close()
    assert answers(probe(NR["getpriority"])) == {"140": EPERM}
    os.unlink(folder)


def test_the_cache_does_not_grow_for_ever(box):
    probe = prober(box)
    profile(box)
    probe(NR["read"])
    folder = box.path("state", ".seccomp")
    for i in range(70):
        open(os.path.join(folder, ".left-by-a-dead-one.%d" % i), "w").close()
    profile(box, defaultErrnoRet=9)
    assert answers(probe(NR["getpriority"])) == {"140": 9}
    assert len(entries(box)) == 1, entries(box)


def test_many_at_once_make_the_same_program(box):
    profile(box)
    box.save("true")
    box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "cgroup"]
    box.linux.pop("resources", None)
    box.save()
    ps = [subprocess.Popen(box.argv("--cgroup-manager", "disabled", "run", "--bundle", box.bundle, "c%d" % i),
                           stdin=subprocess.DEVNULL) for i in range(12)]
    assert [p.wait(60) for p in ps] == [0] * 12
    assert len(entries(box)) == 1, entries(box)


main(globals())
