#!/usr/bin/env python3
"""Ten thousand containers created, started and deleted, one in ten of them killed in the middle of
its creation: no process, mount, cgroup, state, and no memory of the kernel's stays behind.
    BUILD=build/plain [CYCLES=N] tests/long/oci_cycles.py"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
CYCLES = int(os.environ.get("CYCLES", "10000"))
from ocibox import *  # noqa

WARM = min(200, CYCLES)
private_namespaces()
make_node = Box


def spawn(box, *args):
    null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
    argv = box.argv(*args)
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=null)


def call(box, *args):
    return os.waitpid(spawn(box, *args), 0)[1]


def reap():
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def slabs():
    """Kilobytes of the kernel's memory that cannot be reclaimed, and its stacks."""
    info = dict(l.split(":") for l in read("/proc/meminfo").splitlines())
    return sum(int(info[k].split()[0]) for k in ("SUnreclaim", "KernelStack", "PageTables", "Percpu"))


def cycle(box, i):
    name = f"c{i}"
    if i % 10 == 9:
        pid = spawn(box, "create", "--bundle", box.bundle, name)
        time.sleep((i % 97) / 10000)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        call(box, "delete", "--force", name)
    else:
        assert call(box, "create", "--bundle", box.bundle, name) == 0
        assert call(box, "start", name) == 0
        assert call(box, "delete", "--force", name) == 0
    reap()


def count(box):
    found = {"mounts": len(read("/proc/self/mountinfo").splitlines()),
             "processes": len([p for p in os.listdir("/proc") if p.isdigit() and
                               box.dir in read_if(f"/proc/{p}/cmdline")]),
             "cgroups": len(glob.glob(f"{CGROUPS}/*/{box.name}/*/") +
                            glob.glob(f"{CGROUPS}/{box.name}/*/")),
             "descriptors": len(os.listdir("/proc/self/fd")),
             "state": sorted(e for e in os.listdir(box.path("state")) if e != ".seccomp")}
    return found


def read_if(path):
    try:
        return read(path)
    except OSError:
        return ""


def test_nothing_stays_behind(box):
    import ctypes
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: ended containers come here
    box.linux.pop("cgroupsPath")
    box.linux["cgroupsPath"] = f"/{box.name}/c"
    box.save("sleep", "1000")
    for i in range(WARM):
        cycle(box, i)
    wait_for("the first to be gone", lambda: count(box)["processes"] == 0)
    before, kernel = count(box), slabs()
    assert before["state"] == [] and before["cgroups"] == 0, before
    for i in range(CYCLES):
        cycle(box, i)
    wait_for("all to be gone", lambda: count(box) == before, timeout=60)
    reap()
    assert not [p for p in os.listdir("/proc") if p.isdigit() and
                f"\nPPid:\t{os.getpid()}\n" in read_if(f"/proc/{p}/status")]
    # What the kernel frees late is gone some seconds after; a kilobyte a cycle would be a leak.
    wait_for(f"the kernel's memory ({kernel} KB before)", lambda: slabs() - kernel < max(CYCLES, 4096),
             timeout=120)
    print(f"# the kernel's memory: {slabs() - kernel:+d} KB after {CYCLES} cycles")


main(globals())
