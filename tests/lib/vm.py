"""A whole machine: Debian with systemd and Debian's own kernel, by qemu without hardware help, so
about ten times slower than this one. Standard library only.

The base image is made once for a list of packages and kept; each Machine writes to an overlay of its
own. There is no network device. The first serial line is the console, the second leads to a small
program in the guest that runs scripts (GUEST): one line of base64 each way. Files come in as a tar
archive that is the second disk."""
import base64
import contextlib
import glob
import hashlib
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

import umtest

IMAGES = "/var/tmp/umiak-images"
MEMORY_MB = 1536

GUEST = r"""#!/bin/bash
# Runs what comes over the second serial line: "id seconds base64", answered by "id code base64".
port=/dev/ttyS1 dir=/run/script-runner
mkdir -p $dir
stty -F $port raw -echo
exec 3<>$port
echo ready >&3
while IFS=' ' read -r -u 3 id seconds script; do
	base64 -d <<<"$script" >$dir/script
	timeout -k 10 "$seconds" bash $dir/script >$dir/out 2>&1 </dev/null 3>&-
	echo "$id $? $(tail -c 200000 $dir/out | base64 -w 0)" >&3
done
"""
UNIT = """[Unit]
Description=Runs the test's scripts
After=basic.target

[Service]
ExecStart=/usr/local/sbin/script-runner
KillMode=process

[Install]
WantedBy=multi-user.target
"""
SETUP = r"""set -e
echo guest >/etc/hostname
printf '127.0.0.1 localhost guest\n' >/etc/hosts
printf '/dev/nvme0n1 / ext4 defaults 0 1\n' >/etc/fstab
: >/etc/machine-id
chmod +x /usr/local/sbin/script-runner
ln -sf /etc/systemd/system/script-runner.service /etc/systemd/system/multi-user.target.wants/
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
	ln -sf /dev/null /etc/systemd/system/$unit
done
depmod "$(ls /lib/modules)"
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
"""
BASE_PACKAGES = ["systemd-sysv", "udev", "dbus", "kmod", "procps", "nftables", "iproute2",
                 "busybox-static", "curl", "kubernetes-client"]


def call(*argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       errors="replace", stdin=subprocess.DEVNULL, **kw)
    if p.returncode:
        raise AssertionError(f"{' '.join(argv)}: exit code {p.returncode}\n{p.stdout[-4000:]}")
    return p.stdout


def kernel_package():
    """Name and version of Debian's kernel for virtual machines."""
    text = call("apt-cache", "depends", "linux-image-cloud-amd64")
    name = re.search(r"Depends: (linux-image-\S+)", text).group(1)
    version = re.search(r"^Version: (\S+)", call("apt-cache", "show", "--no-all-versions", name),
                        re.M).group(1)
    return name, version


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def make_base(packages, kernel, path):
    work = tempfile.mkdtemp(prefix="umiak-vm.", dir="/var/tmp")
    root = os.path.join(work, "root")
    try:
        call("mmdebstrap", "--quiet", "--mode=root", "--format=directory", "--variant=minbase",
             "--include=" + ",".join(packages), "bookworm", root, timeout=1200)
        call("apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", kernel, cwd=work,
             timeout=600)
        call("dpkg-deb", "-x", glob.glob(os.path.join(work, "linux-image-*.deb"))[0],
             os.path.join(work, "kernel"))
        shutil.copytree(os.path.join(work, "kernel", "lib", "modules"),
                        os.path.join(root, "lib", "modules"), dirs_exist_ok=True)
        write(os.path.join(root, "usr/local/sbin/script-runner"), GUEST)
        write(os.path.join(root, "etc/systemd/system/script-runner.service"), UNIT)
        write(os.path.join(root, "setup"), SETUP)
        call("chroot", root, "/bin/bash", "/setup", timeout=300)
        os.unlink(os.path.join(root, "setup"))
        disk = os.path.join(work, "disk")
        call("mke2fs", "-q", "-t", "ext4", "-d", root, disk, "4G", timeout=600)
        shutil.copy(glob.glob(os.path.join(work, "kernel/boot/vmlinuz-*"))[0], path + ".kernel")
        os.replace(disk, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def base(packages):
    """Paths of a base image with these packages, and of its kernel."""
    packages = sorted(set(BASE_PACKAGES) | set(packages))
    kernel, version = kernel_package()
    text = "\n".join([*packages, kernel, version, GUEST, UNIT, SETUP])
    path = os.path.join(IMAGES, "vm-" + hashlib.sha256(text.encode()).hexdigest()[:16])
    if not os.path.exists(path):
        os.makedirs(IMAGES, exist_ok=True)
        make_base(packages, kernel, path)
        for old in sorted(glob.glob(os.path.join(IMAGES, "vm-*[0-9a-f]")), key=os.path.getmtime)[:-4]:
            for f in glob.glob(old + "*"):
                os.unlink(f)
    return path, path + ".kernel"


def package():
    """This tree's package, and the packages that it depends on."""
    deb = call(os.path.join(umtest.TOP, "tests/lib/deb"), timeout=1200).strip().splitlines()[-1]
    depends = call("dpkg-deb", "-f", deb, "Depends")
    return deb, [re.sub(r"\(.*?\)|\|.*", "", d).strip() for d in depends.split(",")]


class Machine:
    """Booted by start(); its disk outlives a reboot and a power cut, until close()."""

    def __init__(self, packages=()):
        image, self.kernel = base(packages)
        self.dir = tempfile.mkdtemp(prefix="umiak-vm.", dir="/var/tmp")
        self.disk = self.path("disk")
        self.files = self.path("files.tar")
        self.proc = self.line = None
        self.said = b""
        self.sequence = 0
        call("qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "raw", self.disk)

    def path(self, name):
        return os.path.join(self.dir, name)

    def give(self, files):
        """Files for the guest, {path there: path here, or bytes}, unpacked by take()."""
        with tarfile.open(self.files, "w") as tar:
            for there, here in files.items():
                if isinstance(here, bytes):
                    tmp = self.path("given")
                    with open(tmp, "wb") as f:
                        f.write(here)
                    here = tmp
                tar.add(os.path.realpath(here), there.lstrip("/"))

    def take(self):
        self.ok("tar -C / -xf /dev/nvme1n1", 600)

    def start(self, timeout=300):
        port = self.path("port")
        if os.path.exists(port):
            os.unlink(port)
        disks = []
        for i, (path, fmt, more) in enumerate([(self.disk, "qcow2", ""),
                                               (self.files, "raw", ",readonly=on")]):
            if os.path.exists(path):
                disks += ["-drive", f"file={path},if=none,id=d{i},format={fmt}{more}",
                          "-device", f"nvme,drive=d{i},serial=d{i}"]
        with open(self.path("qemu.log"), "ab") as log:
            self.proc = subprocess.Popen(
                ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                 "-m", str(MEMORY_MB), "-display", "none", "-no-reboot", "-nodefaults", "-nic",
                 "none", *disks, "-kernel", self.kernel, "-append",
                 "root=/dev/nvme0n1 rw console=ttyS0 loglevel=6 panic=-1 systemd.show_status=0",
                 "-chardev", f"file,id=k,path={self.path('console')},append=on", "-serial",
                 "chardev:k", "-chardev", f"socket,id=c,path={port},server=on,wait=off",
                 "-serial", "chardev:c"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.line = socket.socket(socket.AF_UNIX)
        umtest.wait_for("qemu", lambda: self.line.connect(port) is None, timeout=30)
        self.said = b""
        end = time.monotonic() + timeout
        while self.read_line(end) != "ready":
            pass

    def read_line(self, end):
        while b"\n" not in self.said:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.line], [], [], left)[0]:
                raise AssertionError("the guest says nothing in time")
            got = self.line.recv(65536)
            if not got:
                raise AssertionError("the guest is gone")
            self.said += got
        line, self.said = self.said.split(b"\n", 1)
        return line.decode(errors="replace").strip()

    def run(self, script, timeout=120):
        """Exit code and output of a bash script in the guest."""
        self.sequence += 1
        text = base64.b64encode(script.encode()).decode()
        self.line.sendall(f"{self.sequence} {timeout} {text}\n".encode())
        end = time.monotonic() + timeout + 60
        while True:
            words = self.read_line(end).split(" ")
            if words[0] == str(self.sequence):
                out = base64.b64decode(words[2]) if len(words) > 2 else b""
                return int(words[1]), out.decode(errors="replace")

    def ok(self, script, timeout=120):
        code, out = self.run(script, timeout)
        if code:
            raise AssertionError(f"exit code {code} of:\n{script}\n{out[-4000:]}")
        return out.strip()

    def until(self, what, script, timeout=300):
        """Runs it until it succeeds; its output."""
        end = time.monotonic() + timeout
        while True:
            code, out = self.run(script, max(30, int(end - time.monotonic())))
            if code == 0:
                return out.strip()
            if time.monotonic() > end:
                raise AssertionError(f"timed out waiting for {what}: {out[-4000:]}")
            time.sleep(0.5)

    def reboot(self):
        """The guest's own reboot, on the same disk; what its console said at the end."""
        before = len(umtest.read(self.path("console")))
        with contextlib.suppress(AssertionError, OSError):  # it may be gone before it answers
            self.run("systemctl --no-block reboot", 60)
        self.proc.wait(timeout=600)
        said = umtest.read(self.path("console"))[before:]
        self.line.close()
        self.start()
        return said

    def power_cut(self):
        self.kill()
        self.start()

    def kill(self):
        if self.proc:
            self.proc.kill()
            self.proc.wait()
            self.proc = None
        if self.line:
            self.line.close()
            self.line = None

    def console(self, lines=15):
        """The last lines of the console, and what qemu itself said."""
        found = []
        for name in ("qemu.log", "console"):
            with contextlib.suppress(OSError):
                found += umtest.read(self.path(name)).splitlines()[-lines:]
        return found

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Steps:
    """A test of one machine in order: what follows a failed step still runs, if it can."""

    def __init__(self):
        self.bad = 0

    def step(self, text, fn, machine=None):
        start = time.monotonic()
        try:
            fn()
            print(f"ok - {text}", flush=True)
        except BaseException as e:
            self.bad += 1
            print(f"not ok - {text}", flush=True)
            for line in f"{type(e).__name__}: {e}".splitlines():
                print("#   " + line)
            if machine:
                for line in machine.console():
                    print("#   console: " + line)
            if not isinstance(e, Exception):
                raise
        print(f"#   {time.monotonic() - start:.0f} s", flush=True)

    def exit(self):
        sys.exit(1 if self.bad else 0)
