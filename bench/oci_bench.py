"""What the benchmarks of OCI runtimes share: podman's default configuration, programs started without
waiting for what they leave running, and a place where umiak-oci, crun and runc all run: Debian's
crun 1.8 does not where a v2 hierarchy lies beside v1 controllers, so that these benchmarks run in
a mount namespace without it, crun without cgroups. CRUN and RUNC may name other programs."""
import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile

BUILD = os.path.abspath(os.environ.get("BUILD", "build/plain"))
UMIAK, OFF = BUILD + "/umiak-oci", "--cgroup-manager=disabled"
PROFILE = "/usr/share/containers/seccomp.json"
CAPS = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
        "CAP_NET_BIND_SERVICE", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID",
        "CAP_SYS_CHROOT"]
MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
          "/sys/fs/selinux", "/sys/dev/block"]
READ_ONLY = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
             "/proc/sysrq-trigger"]
UNIFIED = "/sys/fs/cgroup/unified"


def seccomp():
    """podman's profile as podman writes it into a configuration: without what other
    capabilities and architectures would get."""
    with open(PROFILE) as f:
        profile = json.load(f)
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    arches = {"amd64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
              "arm64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]}[machine]

    def wanted(rule):
        inc, exc = rule.get("includes") or {}, rule.get("excludes") or {}
        return (set(inc.get("caps") or []) <= set(CAPS) and
                (not inc.get("arches") or machine in inc["arches"]) and
                not set(exc.get("caps") or []) & set(CAPS) and
                machine not in (exc.get("arches") or []))

    rules = [{k: r[k] for k in ("names", "action", "args", "errnoRet") if r.get(k)}
             for r in profile["syscalls"] if wanted(r)]
    out = {"defaultAction": profile["defaultAction"], "architectures": arches, "syscalls": rules}
    if profile.get("defaultErrnoRet"):
        out["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return out


def config(rootfs, extra_mounts=()):
    safe = ["nosuid", "noexec", "nodev"]

    def fs(kind, where, options):
        return {"destination": where, "type": kind, "source": kind, "options": options}
    return {
        "ociVersion": "1.0.2", "hostname": "bench",
        "process": {"user": {"uid": 0, "gid": 0, "umask": 18}, "args": ["/bin/sleep", "1000"],
                    "env": ["PATH=/usr/bin:/bin", "TERM=xterm"], "cwd": "/",
                    "capabilities": {k: CAPS for k in ("bounding", "effective", "permitted")}},
        "root": {"path": rootfs},
        "mounts": [fs("proc", "/proc", safe),
                   fs("tmpfs", "/dev", ["nosuid", "noexec", "strictatime", "mode=755",
                                        "size=65536k"]),
                   fs("sysfs", "/sys", safe + ["ro"]),
                   fs("devpts", "/dev/pts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666",
                                             "mode=0620", "gid=5"]),
                   fs("mqueue", "/dev/mqueue", safe), *extra_mounts],
        "linux": {"sysctl": {"net.ipv4.ping_group_range": "0 0"},
                  "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount",
                                                       "cgroup")],
                  "seccomp": seccomp(), "maskedPaths": MASKED, "readonlyPaths": READ_ONLY}}


def command(log, *args):
    """The container keeps what it inherits: a file, which nobody waits for."""
    pid = os.posix_spawn(args[0], args, os.environ, file_actions=[
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)])
    status = os.waitpid(pid, 0)[1]
    if status:
        raise RuntimeError(f"{' '.join(args)}: wait status {status}")


def reap():
    """Ended containers are children of this process: see Place."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                return
        except ChildProcessError:
            return


class Place:
    """A folder in memory with a bundle of a busybox, in a mount namespace of this process."""

    def __init__(self):
        if os.environ.get("UMIAK_BENCH_NS") is None:
            os.environ["UMIAK_BENCH_NS"] = "1"
            os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable,
                                  *sys.argv])
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        if os.path.ismount(UNIFIED):
            subprocess.run(["umount", UNIFIED], check=True)
        self.dir = tempfile.mkdtemp(prefix="umiak-bench-")
        subprocess.run(["mount", "-t", "tmpfs", "bench", self.dir], check=True)
        self.rootfs = self.dir + "/rootfs"
        os.makedirs(self.rootfs + "/bin")
        for p in ("proc", "dev", "sys", "tmp", "etc"):
            os.mkdir(f"{self.rootfs}/{p}")
        shutil.copy("/bin/busybox", self.rootfs + "/bin/busybox")
        for p in ("sleep", "true"):
            os.symlink("busybox", f"{self.rootfs}/bin/{p}")
        self.write(config(self.rootfs))
        self.log = open(self.dir + "/log", "ab")

    def write(self, value):
        with open(self.dir + "/config.json", "w") as f:
            json.dump(value, f)

    def run(self, *args):
        command(self.log, *args)

    def said(self):
        with open(self.dir + "/log") as f:
            return f.read()[-300:]

    def close(self):
        subprocess.run(["umount", "-l", self.dir], check=True)
        os.rmdir(self.dir)


def runtimes(place):
    """Pairs of a name and the beginning of a command line, of those that run here."""
    out = []
    for name, flags in (("umiak-oci", [OFF]), ("crun", [OFF]), ("runc", [])):
        path = UMIAK if name == "umiak-oci" else shutil.which(os.environ.get(name.upper(), name))
        if not path:
            print(f"{name}: not installed")
            continue
        base = [path, "--root", f"{place.dir}/state-{name}", *flags]
        try:
            place.run(*base, "create", "--bundle", place.dir, f"try-{os.getpid()}")
            place.run(*base, "delete", "--force", f"try-{os.getpid()}")
            reap()
            out.append((name + (", no cgroup" if flags else ""), base))
        except RuntimeError as e:
            print(f"{name}: does not run here: {e}: {place.said()}")
    return out
