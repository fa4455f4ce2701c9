"""A bundle and a state folder for umiak-oci, for tests that drive it as its callers do."""
import os
import signal
import time

from umtest import *  # noqa


class Result:
    def __init__(self, rc, out, err):
        self.rc, self.out, self.err = rc, out, err

    def __repr__(self):
        return f"rc={self.rc}\nstdout: {self.out}\nstderr: {self.err}"


class Box:
    """A bundle with busybox, a state folder and a cgroup, all of its own."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="umiak-oci-test-")
        os.chmod(self.dir, 0o755)
        self.name = os.path.basename(self.dir)
        self.bundle, self.root = self.path("bundle"), self.path("bundle", "rootfs")
        for d in ("bin", "etc", "proc", "sys", "dev", "tmp", "root"):
            os.makedirs(os.path.join(self.root, d))
        os.chmod(self.root + "/tmp", 0o1777)
        shutil.copy("/bin/busybox", self.root + "/bin/busybox")
        for c in sh("/bin/busybox", "--list").split():
            if c != "busybox":
                os.symlink("busybox", f"{self.root}/bin/{c}")
        with open(self.root + "/etc/passwd", "w") as f:
            f.write("root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n")
        self.oci("spec", "--bundle", self.bundle, ok=True)
        self.config = json.loads(read(self.path("bundle", "config.json")))
        self.process = self.config["process"]
        self.linux = self.config["linux"]
        self.process["terminal"] = False
        self.ns("cgroup")
        self.config["root"]["readonly"] = False
        self.linux["cgroupsPath"] = f"/{self.name}/c"

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def argv(self, *args):
        return [os.path.join(BUILD, "umiak-oci"), "--root", self.path("state"), *args]

    def oci(self, *args, ok=False, input=None, timeout=20, **kw):
        out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        p = subprocess.run(self.argv(*args), stdout=out, stderr=err, timeout=timeout,
                           input=input.encode() if input is not None else None,
                           **({} if input is not None else {"stdin": subprocess.DEVNULL}), **kw)
        out.seek(0), err.seek(0)
        r = Result(p.returncode, out.read().decode(errors="replace"),
                   err.read().decode(errors="replace"))
        if ok:
            assert r.rc == 0, f"{args}: {r}"
        return r

    def save(self, *args, sh=None):
        if sh is not None:
            args = ("sh", "-c", sh)
        if args:
            self.process["args"] = list(args)
        with open(self.path("bundle", "config.json"), "w") as f:
            json.dump(self.config, f)

    def run(self, script, *flags, **kw):
        self.save(sh=script)
        return self.oci("run", "--bundle", self.bundle, *flags, "c", **kw)

    def create(self, *flags, script="sleep 100", **kw):
        self.save(sh=script)
        return self.oci("create", "--bundle", self.bundle, *flags, "c", **kw)

    def up(self, script="trap 'exit 0' TERM; while :; do sleep 0.05; done", *flags):
        self.create(*flags, script=script, ok=True)
        self.oci("start", "c", ok=True)

    def state(self):
        return json.loads(self.oci("state", "c", ok=True).out)

    def refused(self, *words, script="true"):
        r = self.run(script)
        assert r.rc != 0, f"accepted: {r}"
        for w in words:
            assert w in r.err, f"{w!r} is not in {r.err!r}"
        assert not self.left(), self.left()
        return r

    def mount(self, destination, type, source, *options):
        self.config["mounts"].append({"destination": destination, "type": type, "source": source,
                                      "options": list(options)})

    def ns(self, kind, path=None, remove=False):
        all = [n for n in self.linux["namespaces"] if n["type"] != kind]
        if not remove:
            all.append({"type": kind, **({"path": path} if path else {})})
        self.linux["namespaces"] = all

    def cgroups(self):
        return glob.glob(f"{CGROUPS}/*/{self.name}/c") + glob.glob(f"{CGROUPS}/{self.name}/c")

    def cgroup_file(self, v1, v2):
        for p in (f"{CGROUPS}/{v1.split('.')[0]}/{self.name}/c/{v1}",
                  f"{CGROUPS}/{self.name}/c/{v2}"):
            if os.path.exists(p):
                return p
        raise AssertionError(f"no {v1} and no {v2}")

    def left(self):
        found = [f"cgroup {c}" for c in self.cgroups()]
        for line in read("/proc/self/mountinfo").splitlines():
            if self.dir in line:
                found.append("mount " + line.split()[4])
        found += [f"process {p}" for p in processes(self.path("state"))]
        if os.path.isdir(self.path("state")):
            found += [f"state {e}" for e in os.listdir(self.path("state")) if e != ".seccomp"]
        return found

    def close(self):
        with contextlib.suppress(Exception):
            self.oci("delete", "--force", "c")
        end_groups(self.name)
        shutil.rmtree(self.dir, ignore_errors=True)
