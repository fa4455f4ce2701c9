"""Shared by the integration tests: namespaces, an agent, images, a leak counter. Standard library
only. A test module calls main(globals()): every function test_* is one test."""
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build", "asan"))
CGROUPS = "/sys/fs/cgroup"


class Skip(Exception):
    pass


def sh(*argv, check=True, input=None, timeout=60, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, input=input,
                       timeout=timeout, text=True, errors="replace", **kw)
    if check and p.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit code {p.returncode}\n{p.stdout}")
    return p.stdout


def wait_for(what, fn, timeout=20.0, every=0.03):
    """Calls fn until it returns something true; the value. Fails after timeout seconds."""
    end = time.monotonic() + timeout
    last = None
    while time.monotonic() < end:
        try:
            v = fn()
            if v:
                return v
            last = v
        except (AssertionError, OSError, KeyError, IndexError, ValueError) as e:
            last = e
        time.sleep(every)
    raise AssertionError(f"timed out waiting for {what} (last: {last!r})")


def private_namespaces():
    """Runs the module again in mount and network namespaces of its own."""
    if os.environ.get("UMTEST_INNER") == "1":
        sh("ip", "link", "set", "lo", "up")
        return
    env = dict(os.environ, UMTEST_INNER="1", UMTEST_OUTER=str(os.getppid()))
    os.execvpe("unshare", ["unshare", "-m", "-n", "--propagation", "private", sys.executable]
               + sys.argv, env)


def read(path):
    with open(path, errors="replace") as f:
        return f.read()


def alive(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def first_process(group):
    """The oldest process of a cgroup's folder, or None. By its start: pids begin again after the
    last."""
    found = []
    for pid in read(group + "/cgroup.procs").split():
        with contextlib.suppress(OSError):
            started = int(read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[19])
            found.append((started, int(pid)))
    return min(found)[1] if found else None


def groups(name):
    """The cgroups /NAME of all hierarchies."""
    return glob.glob(f"{CGROUPS}/*/{name}") + glob.glob(f"{CGROUPS}/{name}")


def end_groups(name):
    """Ends whatever is in the cgroups /NAME, and removes them."""
    for _ in range(50):
        for root in groups(name):
            for d, dirs, files in os.walk(root, topdown=False):
                with contextlib.suppress(OSError):
                    for pid in read(d + "/cgroup.procs").split():
                        os.kill(int(pid), signal.SIGKILL)
                with contextlib.suppress(OSError):
                    os.rmdir(d)
        if not groups(name):
            return
        time.sleep(0.05)


class Fault:
    """One fault point, armed by .env for whatever inherits that. It kills once, and what it killed
    is known: the kill itself writes it down."""

    def __init__(self, point):
        self.point = point
        self.dir = tempfile.mkdtemp(prefix="umiak-fault-")
        self.file = os.path.join(self.dir, "record")
        self.env = {"UMIAK_FAULT": point, "UMIAK_FAULT_ONCE": self.file}

    def fired(self):
        """The program that was killed there, or None."""
        with contextlib.suppress(OSError), open(self.file, "rb") as f:
            text = f.read().split(b"\0")[0].decode()
            if text.startswith("!") and text.endswith("\n"):
                name, program = text[1:].split()
                assert name == self.point.split(":")[0], text
                fault_fired(name)
                return program
        return None

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def fault_fired(name):
    """For tests/run, which wants to see every point once."""
    if "UMIAK_FAULTS_FIRED" in os.environ:
        with open(os.environ["UMIAK_FAULTS_FIRED"], "a") as f:
            f.write(name + "\n")


def processes(text):
    """Pids of processes whose command line has the text, this one left out."""
    found = []
    for d in glob.glob("/proc/[0-9]*"):
        pid = int(os.path.basename(d))
        with contextlib.suppress(OSError):
            if text in read(d + "/cmdline").replace("\0", " ") and pid != os.getpid():
                if alive(pid):
                    found.append(pid)
    return found


def debian_image(package):
    """The tar of a root file system with a Debian package and what it needs, kept by version."""
    version = sh("apt-cache", "policy", package).split("Candidate: ")[1].split()[0]
    out = f"/var/tmp/umiak-images/{package}-{version.replace(':', '_')}.tar"
    if os.path.exists(out):
        return out
    os.makedirs(os.path.dirname(out), exist_ok=True)
    tmp = tempfile.mkdtemp(prefix="umiak-image-")
    try:
        # By now in a network namespace without a way out: the machine's own is used.
        sh("nsenter", "-t", os.environ.get("UMTEST_OUTER", "1"), "-n", "mmdebstrap", "--quiet",
           "--variant=extract", f"--include={package},base-files,libc-bin", "bookworm", tmp + "/r",
           timeout=300)
        with open(tmp + "/r/etc/passwd", "w") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
        with open(tmp + "/r/etc/group", "w") as f:
            f.write("root:x:0:\nnogroup:x:65534:\n")
        sh("tar", "-C", tmp + "/r", "-cf", out + ".part", ".")
        os.rename(out + ".part", out)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return out


class Node:
    """One agent with folders and a cgroup of its own."""

    def __init__(self, *flags, network=False, build=None):
        self.build = build or BUILD
        self.dir = tempfile.mkdtemp(prefix="umiak-test-")
        self.cgroup = os.path.basename(self.dir)
        self.flags = list(flags)
        self.network = network
        self.proc = None
        self.env = {}
        for d in ("manifests", "libexec", "images"):
            os.mkdir(os.path.join(self.dir, d))
        for p in ("umiak-shim", "umiak-oci", "umiak-image"):
            os.symlink(os.path.join(self.build, p), os.path.join(self.dir, "libexec", p))

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    # ---- images

    def busybox(self, name="busybox", extra=()):
        root = self.path("busybox-root")
        if not os.path.isdir(root):
            os.makedirs(root + "/bin")
            os.makedirs(root + "/etc")
            os.makedirs(root + "/tmp", mode=0o1777)
            os.makedirs(root + "/www")
            shutil.copy("/bin/busybox", root + "/bin/busybox")
            for c in sh("/bin/busybox", "--list").split():
                if c != "busybox":
                    os.symlink("busybox", f"{root}/bin/{c}")
            with open(root + "/etc/passwd", "w") as f:
                f.write("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n")
            with open(root + "/etc/group", "w") as f:
                f.write("root:x:0:\nweb:x:1000:\nextra:x:2000:web\n")
        tar = self.path("busybox.tar.gz")
        sh("tar", "-C", root, "-czf", tar, ".")
        return self.image("import", *extra, tar, name)

    def image(self, *argv, **kw):
        return sh(os.path.join(self.build, "umiak-image"), "--store", self.path("images"), *argv,
                  **kw)

    # ---- the agent

    def start(self):
        log = open(self.path("agent.log"), "ab")
        argv = [os.path.join(self.build, "umiak"), "agent", "--node-name", "n1", "--node-ip",
                "127.0.0.1", "--state-dir", self.path("state"), "--run-dir", self.path("run"),
                "--log-dir", self.path("log"), "--images-dir", self.path("images"),
                "--manifests-dir", self.path("manifests"), "--libexec-dir", self.path("libexec"),
                "--cgroup-parent", self.cgroup, "--log-level", "debug", *self.flags]
        if not self.network:
            argv.append("--no-pod-network")
        self.proc = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                     env=dict(os.environ, **self.env))
        log.close()
        mark = self.log_text().count("agent ready")
        return mark

    def run(self):
        before = self.log_text().count("agent ready") if os.path.exists(self.path("agent.log")) \
            else 0
        self.start()
        wait_for("the agent", lambda: self.log_text().count("agent ready") > before or
                 (self.proc.poll() is not None and self.fail_early()))

    def fail_early(self):
        raise SystemExit("the agent ended:\n" + self.log_text()[-3000:])

    def stop(self, sig=signal.SIGTERM):
        if self.proc and self.proc.poll() is None:
            self.proc.send_signal(sig)
        if self.proc:
            self.proc.wait(30)
        self.proc = None

    def log_text(self):
        return read(self.path("agent.log"))

    # ---- pods

    def manifest(self, name, spec, metadata=None):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **(metadata or {})},
               "spec": spec}
        spec.setdefault("hostNetwork", not self.network)
        spec.setdefault("terminationGracePeriodSeconds", 2)
        tmp = self.path("manifests", f".{name}.tmp")
        with open(tmp, "w") as f:
            json.dump(pod, f)
        os.rename(tmp, self.path("manifests", f"{name}.json"))

    def remove(self, name):
        os.unlink(self.path("manifests", f"{name}.json"))

    def logs(self, name, ctr="main", attempt=0):
        """The text of a container's log, without the CRI prefix."""
        out = []
        for path in glob.glob(self.path("log", f"*_{name}-n1_*", ctr, f"{attempt}.log")):
            for line in read(path).splitlines():
                parts = line.split(" ", 3)
                out.append(parts[3] if len(parts) > 3 else "")
        return "\n".join(out)

    def ctr_pid(self, name, ctr="main"):
        """The host's pid of a container's first process, by its cgroup."""
        for uid in os.listdir(self.path("state", "pods")):
            saved = json.loads(read(self.path("state", "pods", uid, "pod.json")))
            if saved["pod"]["metadata"]["name"] != f"{name}-n1":
                continue
            for d in glob.glob(f"{CGROUPS}/pids/{self.cgroup}/pods/*/pod{uid}/{ctr}-*") + \
                    glob.glob(f"{CGROUPS}/{self.cgroup}/pods/*/pod{uid}/{ctr}-*"):
                if first_process(d):
                    return first_process(d)
        raise AssertionError(f"no process of {name}/{ctr}")

    # ---- leaks

    def leaks(self):
        """Everything of this node that is there although no pod is."""
        found = []
        for root in glob.glob(f"{CGROUPS}/*/{self.cgroup}") + glob.glob(f"{CGROUPS}/{self.cgroup}"):
            for d, dirs, files in os.walk(root):
                if "/pod" in d[len(root) + 6:]:
                    found.append(f"cgroup {d}")
        for line in read("/proc/self/mountinfo").splitlines():
            if self.dir in line:
                found.append(f"mount {line.split()[4]}")
        for program in ("umiak-shim", "umiak-oci"):
            for pid in processes(f"{self.dir}/libexec/{program} "):
                found.append(f"process {pid} ({program})")
        for sub in ("run/pods", "run/oci", "state/pods", "state/ipam", "images/snapshots",
                    "images/tmp"):
            p = self.path(sub)
            if os.path.isdir(p):
                found += [f"folder {sub}/{e}" for e in os.listdir(p) if e != ".seccomp"]
        for line in sh("ip", "-o", "link").splitlines():
            if ": um" in line:
                found.append("link " + line.split(":")[1].strip())
        for line in sh("ip", "route", "show", "table", "all").splitlines():
            if " dev um" in line:
                found.append("route " + line.strip())
        return found + self.namespaces()

    def namespaces(self):
        """Namespaces that a process of this node keeps alive by a descriptor."""
        found = []
        for pid in processes(self.dir):
            for fd in glob.glob(f"/proc/{pid}/fd/*"):
                with contextlib.suppress(OSError):
                    to = os.readlink(fd)
                    if to.split(":")[0] in ("net", "ipc", "uts", "pid", "mnt") and "[" in to:
                        found.append(f"namespace {to} of process {pid}")
        return found

    def assert_no_leaks(self, timeout=20):
        end = time.monotonic() + timeout
        while self.leaks():
            assert time.monotonic() < end, f"left behind: {self.leaks()}"
            time.sleep(0.05)

    def close(self):
        with contextlib.suppress(Exception):
            self.stop()
        for pid in processes(self.dir):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        end_groups(self.cgroup)
        for line in reversed(read("/proc/self/mountinfo").splitlines()):
            if self.dir in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


def main(scope, only=None):
    """Runs every test_* function. Each gets a fresh Node when it takes one."""
    bad = 0
    names = [n for n in scope if n.startswith("test_")]
    for name in names:
        if len(sys.argv) > 1 and not any(a in name for a in sys.argv[1:]):
            continue
        text = name[5:].replace("_", " ")
        node = None
        try:
            fn = scope[name]
            if fn.__code__.co_argcount:
                node = scope.get("make_node", Node)()
                fn(node)
            else:
                fn()
            print(f"ok - {text}", flush=True)
        except Skip as e:
            print(f"ok - {text} # SKIP {e}", flush=True)
        except BaseException:
            bad += 1
            print(f"not ok - {text}", flush=True)
            for line in traceback.format_exc().splitlines():
                print("#   " + line)
            if node and os.path.exists(node.path("agent.log")):
                for line in node.log_text().splitlines()[-30:]:
                    print("#   agent: " + line)
        finally:
            if node:
                node.close()
    sys.exit(1 if bad else 0)
