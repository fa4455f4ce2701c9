"""umiak-oci's callers, podman, containerd and dockerd, as Debian has them: in mount and network
namespaces of the test's, with folders, sockets and cgroups of its own. A module says which packages
it wants before private_namespaces(), while the machine's own network is there."""
import atexit
import hashlib
import re

from terminal import Terminal  # noqa: F401
from umtest import *  # noqa

TOOLS = "/var/tmp/umiak-tools"
OCI = os.path.join(BUILD, "umiak-oci")


def candidate(package):
    text = sh("apt-cache", "policy", package) + "Candidate: (none)"
    return text.split("Candidate: ")[1].split()[0]


def unpacked(*packages):
    """Debian's packages unpacked aside, kept by version, in front of PATH: installing containerd or
    docker.io would start daemons on the machine and rewrite its firewall."""
    for package in packages:
        version = candidate(package)
        if version == "(none)":
            sh("apt-get", "update", "-q", timeout=300)
            version = candidate(package)
        out = f"{TOOLS}/{package}-{version.replace(':', '_')}"
        if not os.path.isdir(out):
            os.makedirs(TOOLS, exist_ok=True)
            tmp = tempfile.mkdtemp(prefix=".part-", dir=TOOLS)
            try:
                sh("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package, cwd=tmp,
                   timeout=300)
                sh("dpkg-deb", "-x", glob.glob(tmp + "/*.deb")[0], tmp + "/x", timeout=300)
                with contextlib.suppress(OSError):  # another test was faster
                    os.rename(tmp + "/x", out)
            finally:
                shutil.rmtree(tmp, ignore_errors=True)
        if out not in os.environ["PATH"]:
            os.environ["PATH"] = f"{out}/usr/sbin:{out}/usr/bin:{os.environ['PATH']}"


def private_folders():
    """What programs write outside the folders they are given goes into memory and away."""
    sh("mount", "-t", "tmpfs", "tmpfs", "/run")
    os.makedirs("/run/over")
    for d in ("etc", "opt", "var"):
        up, work = f"/run/over/{d}", f"/run/over/{d}.work"
        os.mkdir(up), os.mkdir(work)
        sh("mount", "-t", "overlay", "overlay", "-o",
           f"lowerdir=/{d},upperdir={up},workdir={work}", f"/{d}")


class Result:
    def __init__(self, argv, rc, out, err):
        self.argv, self.rc, self.out, self.err = argv, rc, out, err

    def __repr__(self):
        return f"{' '.join(self.argv)}\nrc={self.rc}\nstdout: {self.out}\nstderr: {self.err}"


def command(pid):
    """A process's arguments; none where it has just ended."""
    with contextlib.suppress(OSError):
        return read(f"/proc/{pid}/cmdline").split("\0")
    return [""]


class Caller:
    """A program that runs containers by umiak-oci. One for a module: tests share it, each with
    containers under names of its own, which clean() removes."""

    def __init__(self):
        # Short: names of sockets have 108 bytes. Not in /tmp, which containers may want.
        self.dir = tempfile.mkdtemp(prefix="umcall-", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.name = os.path.basename(self.dir)
        self.env = dict(os.environ, HOME=self.dir, TMPDIR=self.dir)
        self.proc = None
        atexit.register(self.end)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    # ---- images

    def rootfs(self):
        root = self.path("rootfs")
        if not os.path.isdir(root):
            for d in ("bin", "etc", "proc", "sys", "dev", "tmp", "root", "srv", "data"):
                os.makedirs(os.path.join(root, d))
            os.chmod(root + "/tmp", 0o1777)
            shutil.copy("/bin/busybox", root + "/bin/busybox")
            for c in sh("/bin/busybox", "--list").split():
                if c != "busybox":
                    os.symlink("busybox", f"{root}/bin/{c}")
            files = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n",
                     "etc/group": "root:x:0:\nweb:x:1000:\n",
                     "bin/orphan": "#!/nosuch/interpreter\n", "bin/plain": "no program\n",
                     "bin/broken": "\x7fELF no program\n"}
            for name, text in files.items():
                with open(os.path.join(root, name), "w") as f:
                    f.write(text)
            os.chmod(root + "/bin/orphan", 0o755)
            os.chmod(root + "/bin/broken", 0o755)
        return root

    def layer(self):
        tar = self.path("layer.tar")
        if not os.path.exists(tar):
            sh("tar", "-C", self.rootfs(), "--numeric-owner", "-cf", tar, ".")
        return tar

    def oci_layout(self):
        """A tar of an OCI layout with the one image localhost/busybox:latest."""
        d = self.path("layout")
        os.makedirs(d + "/blobs/sha256")

        def blob(data, kind):
            digest = hashlib.sha256(data).hexdigest()
            with open(f"{d}/blobs/sha256/{digest}", "wb") as f:
                f.write(data)
            return {"mediaType": f"application/vnd.oci.image.{kind}", "size": len(data),
                    "digest": f"sha256:{digest}"}

        with open(self.layer(), "rb") as f:
            layer = blob(f.read(), "layer.v1.tar")
        config = blob(json.dumps({
            "architecture": sh("dpkg", "--print-architecture").strip(), "os": "linux",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}).encode(),
            "config.v1+json")
        manifest = blob(json.dumps({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer]}).encode(), "manifest.v1+json")
        manifest["annotations"] = {"io.containerd.image.name": "localhost/busybox:latest",
                                   "org.opencontainers.image.ref.name": "latest"}
        for name, what in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                           ("index.json", {"schemaVersion": 2, "manifests": [manifest]})):
            with open(os.path.join(d, name), "w") as f:
                json.dump(what, f)
        tar = self.path("image.tar")
        sh("tar", "-C", d, "-cf", tar, ".")
        return tar

    # ---- commands

    def call(self, *argv, input="", timeout=90, pass_fds=(), env=None):
        """One command. Files, not pipes: what a container keeps open must not hold us."""
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        p = subprocess.run(argv, stdout=out, stderr=err, timeout=timeout, input=input.encode(),
                           env=env or self.env, pass_fds=pass_fds)
        out.seek(0), err.seek(0)
        return Result(argv, p.returncode, out.read().decode(errors="replace"),
                      err.read().decode(errors="replace"))

    def __call__(self, *args, **kw):
        return self.call(*self.argv(*args), **kw)

    def good(self, *args, **kw):
        r = self(*args, **kw)
        assert r.rc == 0, r
        return r.out

    def bad(self, rc, *args, has=(), **kw):
        r = self(*args, **kw)
        assert r.rc == rc, f"expected {rc}: {r}"
        for word in (has,) if isinstance(has, str) else has:
            assert word in r.err, f"no {word!r}: {r}"
        return r

    def terminal(self, *args, **kw):
        return Terminal(self.argv(*args), self.env, **kw)

    # ---- cgroups

    def cgroup_file(self, id, v1, v2):
        """The file of the cgroup whose name ends with @id."""
        for pattern in (f"{CGROUPS}/{v1.split('.')[0]}/{self.name}/*{id}/{v1}",
                        f"{CGROUPS}/{self.name}/*{id}/{v2}"):
            for p in glob.glob(pattern):
                return p
        raise AssertionError(f"no {v1} and no {v2} of {id}")

    def limit(self, id, v1, v2):
        return read(self.cgroup_file(id, v1, v2)).strip()

    def in_groups(self, id, file):
        """That file's texts in all hierarchies in which there is one."""
        return "".join(read(p) for p in
                       glob.glob(f"{CGROUPS}/*/{self.name}/*{id}/{file}") +
                       glob.glob(f"{CGROUPS}/{self.name}/*{id}/{file}"))

    def roots(self):
        return groups(self.name)

    # ---- what is left

    def left(self):
        found = [f"cgroup {d}" for root in self.roots() for d in glob.glob(root + "/*/")
                 if os.path.basename(d.rstrip("/")) not in self.own_cgroups]
        for line in read("/proc/self/mountinfo").splitlines():
            if self.dir in line.split()[4] and line.split()[4] not in self.own_mounts():
                found.append("mount " + line.split()[4])
        found += [f"process {p}: {' '.join(command(p))[:200]}" for p in self.children()]
        found += [f"state {e}" for d in self.state_folders() for e in glob.glob(d + "/*")]
        return found

    own_cgroups = ()

    def own_mounts(self):
        return ()

    def state_folders(self):
        return ["/run/umiak-oci"]

    def children(self):
        """Processes of containers: everything of this test's but the daemon and what it keeps."""
        found = []
        for pid in processes(self.dir):
            if pid not in (self.proc and self.proc.pid, *self.daemons()):
                found.append(pid)
        return found

    def daemons(self):
        return ()

    def assert_nothing_left(self):
        end = time.monotonic() + 30
        while self.left():
            assert time.monotonic() < end, f"left behind: {self.left()}"
            time.sleep(0.05)

    # ---- its life

    def close(self):
        """Between two tests: nothing of the last one is there for the next."""
        with contextlib.suppress(Exception):
            self.clean()

    def clean(self):
        raise NotImplementedError

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        self.proc = None

    def end(self):
        self.close()
        self.stop()
        for _ in range(50):
            for pid in processes(self.dir):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            end_groups(self.name)
            if not self.roots() and not processes(self.dir):
                break
            time.sleep(0.05)
        for line in reversed(read("/proc/self/mountinfo").splitlines()):
            if self.dir in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)
