#!/usr/bin/env python3
"""README.md and docs/containers.md hold to the truth: each command that they print is run here as it
stands, or stands here beside the test that runs it. Quickstart runs with folders, a cgroup and
namespaces of its own, on the build that is there."""
import glob
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import kubectls  # noqa: E402
from umtest import CGROUPS, TOP, main, private_namespaces, read, sh, wait_for  # noqa: E402

PLAIN = os.environ.get("PLAIN", os.path.join(TOP, "build", "plain"))
VERSIONS = kubectls.prepare()
if __name__ == "__main__":
    private_namespaces()

# What is not run here: the command, and the file that has it and runs it.
ELSEWHERE = {
    "./check": ".ci/run",
    "dpkg-buildpackage -us -uc -b": "tests/lib/deb",
    "autoreconf -i": "check",
    "../../configure": "check",
    "make -j2": "check",
}


def commands(page):
    """The indented lines of a page but those of files, without comments."""
    found = []
    for block in re.findall(r"(?:^    .*\n)+", read(os.path.join(TOP, page)), re.M):
        if not block.startswith("    ["):
            found += [re.sub(r"\s+# .*", "", line).strip() for line in block.splitlines()]
    assert found, page
    return found


class Machine:
    """Folders, a cgroup and programs as somebody has them who did what the README says."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="umq-")
        self.root = self.dir + "/r"
        self.cgroup = os.path.basename(self.dir)
        os.makedirs(self.dir + "/bin")
        os.symlink(VERSIONS[-1][1], self.dir + "/bin/kubectl")
        for program in ("umiak", "umiak-oci"):
            os.symlink(f"{PLAIN}/{program}", f"{self.dir}/bin/{program}")
        self.env = dict(os.environ, PATH=f"{self.dir}/bin:{os.environ['PATH']}", HOME=self.dir,
                        UMIAK_ROOT=self.root, UMIAK_BUILD=PLAIN, UMIAK_LIBEXEC=PLAIN + "/libexec",
                        UMIAK_CTR_CGROUP=self.cgroup + "-c",
                        UMIAK_FLAGS=f"--cgroup-parent {self.cgroup} --node-name n1",
                        NO_PROXY="*", KUBECONFIG=self.root + "/etc/umiak/admin.kubeconfig")

    def path(self, name):
        return os.path.join(self.dir, name)

    def run(self, command, cwd=TOP):
        return sh("bash", "-c", command, env=self.env, cwd=cwd, timeout=240, stdin=None)

    def tree(self):
        return sorted(os.path.relpath(os.path.join(d, f), self.root)
                      for d, dirs, files in os.walk(self.root) for f in files + dirs)

    def close(self):
        for command in ("umiak ctr rm -f $(umiak ctr ps -aq)", "./quickstart --down"):
            subprocess.run(["bash", "-c", command], env=self.env, cwd=TOP, timeout=240,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for line in reversed(read("/proc/self/mountinfo").splitlines()):
            if self.dir in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        for name in (self.cgroup, self.cgroup + "-c"):
            for root in glob.glob(f"{CGROUPS}/*/{name}") + glob.glob(f"{CGROUPS}/{name}"):
                for d, _, _ in os.walk(root, topdown=False):
                    subprocess.run(["rmdir", d], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.dir, ignore_errors=True)


make_node = Machine


def packages_of(machine, command):
    """`apt-get install PACKAGES`, without installing: each is one that Debian has, and the lists in
    `$(...)` are not empty."""
    words = machine.run("echo " + command.removeprefix("apt-get install")).split()
    assert words, command
    for word in words:
        if word.startswith("../"):
            version = re.search(r"AC_INIT\(\[umiak\], \[(.*?)\]\)",
                                read(os.path.join(TOP, "configure.ac"))).group(1)
            assert word == f"../umiak_{version}_amd64.deb", (word, version)
        else:
            assert "Candidate: (none)" not in sh("apt-cache", "policy", word), word
            assert sh("apt-cache", "policy", word), word
    return words


def has_unit(command):
    """`systemctl enable --now UNIT`: there is no systemd here."""
    return os.path.exists(f"{PLAIN}/systemd/{command.split()[-1].removesuffix('.service')}.service")


def test_readme(m):
    seen = commands("README.md")
    for command in seen:
        if command.startswith("apt-get install"):
            packages_of(m, command)
        elif command.startswith("export KUBECONFIG="):
            assert command.endswith("/etc/umiak/admin.kubeconfig"), command
        elif command.startswith("systemctl"):
            assert has_unit(command), command
        elif command == "./quickstart" or command.startswith("kubectl "):
            out = m.run(command)
            if command == "./quickstart":
                names = set(re.findall(r"Hello from (\S+)\. This page", out))
                assert len(names) == 3, out
            elif " logs " in command:
                assert " serves" in out, out
        else:
            for part in command.split(" && "):
                if re.match(r"(mkdir -p|cd) [a-z/]+$", part):
                    continue
                assert part in ELSEWHERE, f"README.md: no test runs `{part}`"
                where = ELSEWHERE[part].split("/")
                text = read(os.path.join(TOP, *where))
                assert part.split()[0].split("/")[-1] in text, (part, where)
    assert "./quickstart" in seen and "./check" in seen
    assert sum(c.startswith("kubectl ") for c in seen) >= 6, seen
    # What is told of it in words.
    m.run("./quickstart")
    assert "3/3" in m.run("kubectl get deployment hello"), "a second quickstart did not keep it"
    m.run("./quickstart --down")
    left = [f for f in m.tree() if f not in ("etc", "var", "var/lib", "var/log", "var/log/pods",
                                             "run")]
    assert not left, left
    assert not glob.glob(f"{CGROUPS}/*/{m.cgroup}") and "umiak" not in sh("nft", "list", "ruleset")


def test_down_takes_only_what_quickstart_made(m):
    """Beside a package's files, an image store and containers that were there before."""
    kept = {"etc/umiak/config.yaml": "log-level: info\n", "etc/umiak/manifests/.keep": "",
            "var/lib/umiak/ctr/names/x": "", "var/lib/umiak/volumes/v/_data/f": "",
            "var/log/pods/theirs/log": "", "run/umiak/ctr/0123456789abcdef/socket": ""}
    for path, text in kept.items():
        os.makedirs(os.path.dirname(f"{m.root}/{path}"), exist_ok=True)
        with open(f"{m.root}/{path}", "w") as f:
            f.write(text)
    m.run("./quickstart")
    assert "etc/umiak/pki/ca.crt" in m.tree()
    m.run("./quickstart --down")
    files = [f for f in m.tree() if not os.path.isdir(f"{m.root}/{f}")]
    assert files == sorted(kept), files
    assert not os.path.exists(m.root + "/etc/umiak/pki")
    assert not os.path.exists(m.root + "/var/lib/umiak/server")
    out = m.run("./quickstart --down")
    assert "nothing that quickstart has made" in out, out
    # An image store that was there: the example's image goes, the others stay.
    m.run("tar -cf $HOME/x.tar -C /bin busybox && umiak image --store $UMIAK_ROOT/var/lib/umiak/images "
          "import $HOME/x.tar mine")
    m.run("./quickstart")
    m.run("./quickstart --down")
    images = m.run("umiak image --store $UMIAK_ROOT/var/lib/umiak/images list")
    assert "library/mine" in images and "busybox" not in images, images
    assert [f for f in m.tree() if f.startswith("etc/umiak/pki")] == []


def test_down_without_a_folder_before_every_path(m):
    """The machine's own folders, under others that take what is written: layers, and an empty one,
    because a layer's own upper folder cannot be in a layer."""
    m.env.pop("UMIAK_ROOT")
    m.env["KUBECONFIG"] = "/etc/umiak/admin.kubeconfig"
    tops = {}
    try:
        for place in ("/etc", "/var/lib", "/var/log", "/run"):
            tops[place] = m.path("top" + place.replace("/", "-"))
            for d in (tops[place], tops[place] + ".work"):
                os.mkdir(d)
            if place == "/var/lib":
                sh("mount", "--bind", tops[place], place)
                continue
            sh("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={place},upperdir={tops[place]},"
               f"workdir={tops[place]}.work", place)
        m.run("rm -rf /etc/umiak /var/lib/umiak /run/umiak && mkdir /etc/umiak && "
              "echo 'log-level: info' >/etc/umiak/config.yaml")
        m.run("./quickstart")
        assert os.path.exists("/etc/umiak/pki/ca.crt")
        m.run("./quickstart --down")
        assert os.listdir("/etc/umiak") == ["config.yaml"], os.listdir("/etc/umiak")
        for gone in ("/var/lib/umiak", "/run/umiak", "/var/log/umiak.log"):
            assert not os.path.exists(gone), gone
    finally:
        subprocess.run(["bash", "-c", "./quickstart --down"], env=m.env, cwd=TOP, timeout=240,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for place in tops:
            subprocess.run(["umount", "-l", place])
        m.env["UMIAK_ROOT"] = m.root


def test_quickstart_leaves_another_cluster_alone(m):
    import socket
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", 6443))
        s.listen()
        p = subprocess.run(["./quickstart"], env=m.env, cwd=TOP, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=120)
    assert p.returncode == 1 and "somebody serves at 127.0.0.1:6443" in p.stdout, p.stdout
    assert not os.path.exists(m.root + "/etc/umiak")


def in_terminal(m, command, typed):
    """With a terminal, as `-it` wants one."""
    pid, fd = pty.fork()
    if pid == 0:
        try:
            os.execvpe("bash", ["bash", "-c", command], m.env)
        finally:
            os._exit(99)
    os.write(fd, typed.encode())
    text, end = "", time.monotonic() + 60
    while True:
        assert time.monotonic() < end, f"{command}: it does not end\n{text}"
        if select.select([fd], [], [], 0.2)[0]:
            try:
                text += os.read(fd, 65536).decode(errors="replace")
            except OSError:
                break
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text


def follow(m, command):
    """Of what does not end: its first line."""
    p = subprocess.Popen(["bash", "-c", "exec " + command], env=m.env, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    line = p.stdout.readline()
    p.send_signal(signal.SIGTERM)
    p.stdout.close()
    p.wait(60)
    return line


def nginx(m):
    """In the place of what mmdebstrap fetches: a server at port 80, and its configuration."""
    root = m.path("nginx")
    os.makedirs(root + "/bin")
    os.makedirs(root + "/etc/nginx")
    os.makedirs(root + "/www")
    os.makedirs(root + "/tmp")
    shutil.copy("/bin/busybox", root + "/bin/busybox")
    for c in ("sh", "httpd", "echo", "ls"):
        os.symlink("busybox", f"{root}/bin/{c}")
    for path in ("/etc/nginx/nginx.conf", "/www/index.html"):
        with open(root + path, "w") as f:
            f.write("of nginx\n")
    with open(root + "/bin/nginx", "w") as f:
        f.write("#!/bin/sh\necho ready $*; exec httpd -f -p 80 -h /www\n")
    os.chmod(root + "/bin/nginx", 0o755)
    sh("tar", "-C", root, "-cf", root + ".tar", ".")


def test_containers(m):
    sh("ip", "link", "set", "lo", "up")
    os.makedirs(PLAIN + "/libexec", exist_ok=True)
    for p in ("umiak-oci", "umiak-shim", "umiak-image"):
        if not os.path.exists(f"{PLAIN}/libexec/{p}"):
            os.symlink(f"{PLAIN}/{p}", f"{PLAIN}/libexec/{p}")
    for command in commands("docs/containers.md"):
        if command.startswith("systemctl "):
            assert has_unit(command), command
        elif command.startswith("mmdebstrap "):
            nginx(m)
            assert command.endswith(" nginx.tar") and "--include=nginx " in command, command
        elif " -it " in command:
            code, text = in_terminal(m, command, "ls /etc/nginx\nexit\n")
            assert code == 0 and "nginx.conf" in text, text
        elif " logs -f " in command:
            assert follow(m, command) == "ready -g daemon off;\n", command
        else:
            out = m.run(command, cwd=m.dir)
            if "echo hello" in command:
                assert out == "hello\n", out
            elif command.startswith("umiak run -d"):
                wait_for("the page", lambda: "of nginx" in sh("curl", "http://127.0.0.1:8080/"),
                         timeout=60)
            elif command.startswith("curl "):
                assert "of nginx" in out, out
            elif command.startswith("umiak ctr cp "):
                assert read(m.path("nginx.conf")) == "of nginx\n"
    assert m.run("umiak ctr ps -aq") == ""


if __name__ == "__main__":
    main(globals())
