#!/usr/bin/env python3
"""umiak-image and the image store: formats, layer semantics, hostile archives, crashes, collection,
confinement, snapshots. Every input is built here."""
import bz2
import gzip
import hashlib
import io
import lzma
import platform
import re
import stat
import sys
import tarfile

import os
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

private_namespaces()

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
WHITEOUT = "whiteout"


# ---- building inputs

def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dump(obj):
    return json.dumps(obj).encode()


def entry(name, data=None, type=None, **kw):
    """One member: (TarInfo, bytes). bytes: a file; a type: no data."""
    t = tarfile.TarInfo(name)
    t.mode = 0o755 if type == tarfile.DIRTYPE else 0o644
    t.mtime = 1000000000
    t.type = type or tarfile.REGTYPE
    for k, v in kw.items():
        setattr(t, k, v)
    if data is not None:
        data = data.encode() if isinstance(data, str) else data
        t.size = len(data)
    return t, data


def d(name, **kw):
    return entry(name, type=tarfile.DIRTYPE, **kw)


def link(name, to, **kw):
    return entry(name, type=tarfile.SYMTYPE, linkname=to, **kw)


def hard(name, to):
    return entry(name, type=tarfile.LNKTYPE, linkname=to)


def tar(*entries, format=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def tar_of(files):
    return tar(*[entry(n, v) for n, v in files.items()])


def config_of(layers, **config):
    return dump({"architecture": ARCH, "os": "linux", "config": config,
                 "rootfs": {"type": "layers", "diff_ids": [sha(l) for l in layers]}})


def oci(layers, name="a/b:1", pack=lambda b: b, config=None, nest=False, manifest=None, extra=()):
    """The files of an OCI layout by name."""
    blobs = {}

    def put(b):
        blobs["blobs/sha256/" + sha(b)[7:]] = b
        return sha(b)

    config = config if config is not None else config_of(layers)
    packed = [pack(l) for l in layers]
    m = dump({"schemaVersion": 2, "mediaType": MANIFEST,
              "config": {"digest": put(config), "size": len(config)},
              "layers": [{"mediaType": LAYER, "digest": put(p), "size": len(p)} for p in packed],
              **(manifest or {})})
    top = {"mediaType": MANIFEST, "digest": put(m), "size": len(m)}
    if nest:
        wrong = dump({"schemaVersion": 2, "layers": [], "config": {}})
        i = dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
            {"mediaType": MANIFEST, "digest": put(wrong), "size": len(wrong),
             "platform": {"os": "linux", "architecture": "s390x"}},
            {**top, "platform": {"os": "linux", "architecture": ARCH}},
            {"mediaType": MANIFEST, "digest": put(wrong), "size": len(wrong),
             "platform": {"os": "unknown", "architecture": "unknown"}}]})
        top = {"mediaType": INDEX, "digest": put(i), "size": len(i)}
    if name:
        top["annotations"] = {"org.opencontainers.image.ref.name": name}
    return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": dump({"schemaVersion": 2, "manifests": [top, *extra]}), **blobs}


def docker(layers, tags=("a/b:1",), config=None):
    config = config if config is not None else config_of(layers)
    files = {sha(config)[7:] + ".json": config}
    for i, l in enumerate(layers):
        files[f"{i:064x}/layer.tar"] = l
    files["manifest.json"] = dump([{"Config": sha(config)[7:] + ".json", "RepoTags": list(tags),
                                    "Layers": [f"{i:064x}/layer.tar" for i in range(len(layers))]}])
    return files


class Store:
    """A store with the tools at hand."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="umiak-test-")
        self.store = os.path.join(self.dir, "store")
        self.n = 0
        self.env = {}

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def close(self):
        for line in reversed(read("/proc/self/mountinfo").splitlines()):
            if self.dir in line.split()[4]:
                subprocess.run(["umount", "-l", line.split()[4]], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", self.dir])

    def file(self, data, suffix="tar"):
        self.n += 1
        p = self.path(f"in{self.n}.{suffix}")
        with open(p, "wb") as f:
            f.write(data)
        return p

    def folder(self, files):
        self.n += 1
        top = self.path(f"in{self.n}")
        for n, data in files.items():
            os.makedirs(os.path.dirname(os.path.join(top, n)), exist_ok=True)
            with open(os.path.join(top, n), "wb") as f:
                f.write(data)
        return top

    def call(self, *argv, timeout=60):
        p = subprocess.run([os.path.join(BUILD, "umiak-image"), "--store", self.store, *argv],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                           errors="replace", timeout=timeout, env=dict(os.environ, **self.env),
                           stdin=subprocess.DEVNULL)
        return p.returncode, p.stdout, p.stderr

    def ok(self, *argv):
        code, out, err = self.call(*argv)
        assert code == 0, f"{argv}: {code} {out} {err}"
        self.said = err
        return out

    def refused(self, *argv, want="", clean=True):
        code, out, err = self.call(*argv)
        assert code > 0 and "umiak-image: " in err, f"{argv}: {code} {out} {err}"
        assert want in err, f"{want!r} is not in {err!r}"
        assert "Sanitizer" not in err, err
        if clean:
            self.assert_clean()
        return err

    def rootfs(self, *entries, name="t", args=()):
        """Imports a root file system; the folder of its only layer."""
        self.ok("import", *args, self.file(tar(*entries)), name)
        return self.layers(name)[0]

    def names(self):
        return [l.split()[0] for l in self.ok("list").splitlines()[1:]]

    def blob(self, digest):
        return json.loads(read(os.path.join(self.store, "blobs/sha256", digest[7:])))

    def full(self, name):
        return self.refs().get(name) or self.refs().get(f"docker.io/library/{name}:latest") or \
            self.refs()["docker.io/" + name]

    def refs(self):
        p = os.path.join(self.store, "refs.json")
        return json.loads(read(p)) if os.path.exists(p) else {}

    def config(self, name):
        return self.blob(self.blob(self.full(name))["config"]["digest"])

    def layers(self, name):
        chain, out = None, []
        for i in self.config(name)["rootfs"]["diff_ids"]:
            chain = i if chain is None else sha(f"{chain} {i}".encode())
            out.append(os.path.join(self.store, "layers", chain[7:39], "fs"))
        return out

    def count(self, sub):
        return len(os.listdir(os.path.join(self.store, sub)))

    def assert_clean(self):
        """tmp/ is empty, and layers/ and blobs/ hold what the names need and no more."""
        assert not os.listdir(os.path.join(self.store, "tmp"))
        blobs, layers = set(), set()
        for name, digest in self.refs().items():
            blobs |= {digest[7:], self.blob(digest)["config"]["digest"][7:]}
            layers |= {l.split("/")[-2] for l in self.layers(name)}
        assert set(os.listdir(os.path.join(self.store, "layers"))) == layers, "layers are left"
        assert set(os.listdir(os.path.join(self.store, "blobs/sha256"))) == blobs, "blobs are left"


make_node = Store
TWO = [tar_of({"one": "1", "same": "lower"}), tar_of({"two": "2", "same": "upper"})]


# ---- formats

def test_oci_layouts_as_folder_and_tar(s):
    for pack in (lambda b: b, gzip.compress, lambda b: sh_bytes("zstd", "-c", b)):
        for nest in (False, True):
            files = oci(TWO, pack=pack, nest=nest)
            for src in (s.folder(files), s.file(tar_of(files)),
                        s.file(tar_of(dict(reversed(list(files.items())))))):
                s.ok("import", src)
                assert list(s.refs()) == ["docker.io/a/b:1"], s.refs()
                assert read(s.layers("a/b:1")[1] + "/same") == "upper"
                assert read(s.layers("a/b:1")[0] + "/one") == "1"
                s.assert_clean()
                s.ok("rm", "a/b:1")
                s.assert_clean()
                assert not s.refs() and not s.count("layers")


def sh_bytes(tool, flag, data):
    return subprocess.run([tool, flag], input=data, stdout=subprocess.PIPE, check=True).stdout


def test_oci_names(s):
    s.ok("import", s.folder(oci(TWO)), "other:2")
    assert list(s.refs()) == ["docker.io/library/other:2"]
    s.refused("import", s.folder(oci(TWO, name=None)), want="does not say its name")
    s.refused("import", s.folder(oci(TWO, name="latest")), want="does not say its name")
    s.ok("import", s.folder(oci(TWO, name="busybox:1.36")))
    assert "docker.io/library/busybox:1.36" in s.refs()
    s.refused("import", s.folder(oci(TWO, name="../../x")), want="invalid reference")
    s.refused("import", s.folder(oci(TWO)), "a@" + sha(b""), want="digest")


def test_an_index_without_an_image_for_this_machine(s):
    files = oci(TWO)
    i = json.loads(files["index.json"])
    i["manifests"][0]["platform"] = {"os": "linux", "architecture": "s390x"}
    files["index.json"] = dump(i)
    s.refused("import", s.folder(files), want="no image for linux/" + ARCH)
    i["manifests"] = []
    files["index.json"] = dump(i)
    s.refused("import", s.folder(files), want="no image")
    two = json.loads(oci(TWO)["index.json"])
    two["manifests"] *= 2
    s.refused("import", s.folder({**oci(TWO), "index.json": dump(two)}), want="one at a time")


def test_docker_archives(s):
    files = docker(TWO, tags=["a/b:1", "c:2"])
    s.ok("import", s.file(tar_of(files)))  # manifest.json is last
    assert sorted(s.refs()) == ["docker.io/a/b:1", "docker.io/library/c:2"]
    assert read(s.layers("a/b:1")[1] + "/same") == "upper"
    s.ok("rm", "c:2")
    assert read(s.layers("a/b:1")[0] + "/one") == "1"
    s.ok("rm", "a/b:1")
    s.ok("import", s.folder(files), "named")
    assert list(s.refs()) == ["docker.io/library/named:latest"]
    s.assert_clean()
    s.refused("import", s.file(tar_of(docker(TWO, tags=[]))), want="does not say its name")
    s.refused("import", s.file(tar_of(docker(TWO, tags=["UP/:x"]))), want="invalid reference")


def test_docker_archives_with_linked_layers(s):
    same = TWO[0]
    files = docker([same, same])
    members = [entry(n, v) for n, v in files.items() if not n.startswith("0" * 63 + "1")]
    members.insert(2, link(f"{1:064x}/layer.tar", f"../{0:064x}/layer.tar"))
    s.ok("import", s.file(tar(*members)))
    assert read(s.layers("a/b:1")[1] + "/one") == "1"
    out = [entry(n, v) for n, v in files.items() if not n.startswith("0" * 63 + "1")]
    out.insert(2, link(f"{1:064x}/layer.tar", "../../../../../../etc/passwd"))
    s.refused("import", s.file(tar(*out)), "x", want="missing")
    out[2] = link(f"{1:064x}/layer.tar", f"../{1:064x}/layer.tar")  # to itself
    s.refused("import", s.file(tar(*out)), "x", want="missing")


def test_docker_archives_with_an_oci_layout_too(s):
    """As docker save makes them since version 25: the names are in manifest.json."""
    files = oci(TWO, name="latest")
    c = config_of(TWO)
    files["manifest.json"] = dump([{
        "Config": "blobs/sha256/" + sha(c)[7:], "RepoTags": ["new:1"],
        "Layers": ["blobs/sha256/" + sha(l)[7:] for l in TWO]}])
    for src in (s.file(tar_of(files)), s.folder(files)):
        s.ok("import", src)
        assert list(s.refs()) == ["docker.io/library/new:1"], s.refs()
        s.ok("rm", "new:1")
    bad = dict(files)
    bad["blobs/sha256/" + sha(c)[7:]] = c + b" "
    s.refused("import", s.file(tar_of(bad)), want="digest")


def test_root_file_systems_however_compressed(s):
    t = tar_of({"f": "x"})
    for data in (t, gzip.compress(t), lzma.compress(t), bz2.compress(t),
                 sh_bytes("zstd", "-c", t)):
        s.ok("import", s.file(data), "r")
        assert read(s.layers("r")[0] + "/f") == "x"
        assert s.config("r")["rootfs"]["diff_ids"] == [sha(t)]
        s.assert_clean()
        s.ok("rm", "r")
    s.refused("import", s.file(t), want="give the image a name")


def test_what_an_imported_root_says_of_itself(s):
    s.rootfs(entry("f", "x"), args=("--entrypoint", '["/a", "b c"]', "--cmd", "run", "--env", "A=1",
                                    "--env", "B=x=y", "--workdir", "/w", "--user", "1:2",
                                    "--stop-signal", "SIGQUIT"))
    assert s.config("t")["config"] == {"Entrypoint": ["/a", "b c"], "Cmd": ["run"],
                                       "Env": ["A=1", "B=x=y"], "WorkingDir": "/w", "User": "1:2",
                                       "StopSignal": "SIGQUIT"}
    assert s.config("t")["architecture"] == ARCH
    f = s.file(tar_of({"f": "x"}))
    for bad in (("--env", "x"), ("--env", "=x"), ("--cmd", "[1]"), ("--entrypoint", "["),
                ("--stop-signal", "QUITE"), ("--stop-signal", "0")):
        assert s.call("import", *bad, f, "x")[0] == 2, bad


def test_what_is_no_image(s):
    s.refused("import", s.file(b""), "x")
    s.refused("import", s.file(b"\0" * 512), "x")
    s.refused("import", s.file(os.urandom(100000)), "x", want="archive")
    s.refused("import", s.file(gzip.compress(os.urandom(100000))), "x")
    s.refused("import", s.folder({"x": b"y"}), "x", want="no OCI layout")
    s.refused("import", s.path("none"), "x", want="No such file")
    t = gzip.compress(tar_of({"f": os.urandom(200000)}))
    s.refused("import", s.file(t[:len(t) // 2]), "x", want="amaged")
    s.refused("import", s.file(tar_of({"f": b"x" * 200000})[:100000]), "x")
    os.mkfifo(s.path("fifo"))
    s.refused("import", s.path("fifo"), "x", want="fifo")
    s.refused("import", "/dev/null", "x")
    assert not s.refs()


# ---- list and rm

def test_list_and_rm_by_name_and_id(s):
    s.ok("import", s.folder(oci(TWO, name="a/b:1")))
    s.ok("import", s.folder(oci([TWO[0]], name="c/d:1")))
    assert s.names() == ["docker.io/a/b:1", "docker.io/c/d:1"]
    assert s.count("layers") == 2
    s.ok("rm", "a/b:1")
    s.assert_clean()
    assert s.count("layers") == 1 and os.path.exists(s.layers("c/d:1")[0] + "/one")
    line = s.ok("list").splitlines()[1]
    ident = self_id = sha(config_of([TWO[0]]))
    assert ident[:19] in line, line
    s.refused("rm", "nothing", want='no image "nothing"')
    s.refused("rm", ident[:17])
    s.ok("rm", self_id[:19])
    assert not s.refs()
    s.assert_clean()


def test_a_name_that_moves_leaves_nothing_of_the_old_image(s):
    s.ok("import", s.file(tar_of({"f": "old"})), "n")
    s.ok("import", s.file(tar_of({"f": "new"})), "n")
    assert read(s.layers("n")[0] + "/f") == "new"
    s.assert_clean()


def test_damaged_images_are_said_and_can_be_removed(s):
    s.ok("import", s.folder(oci([TWO[0]], name="a/b:1")))
    s.ok("import", s.file(tar_of({"f": "x"})), "good")
    with open(os.path.join(s.store, "blobs/sha256", s.full("a/b:1")[7:]), "a") as f:
        f.write(" ")
    assert s.names() == ["docker.io/library/good:latest"] and "damaged" in s.said
    s.ok("rm", "a/b:1")
    assert s.names() == ["docker.io/library/good:latest"] and not s.said
    s.assert_clean()


NAMES = {"nginx": "docker.io/library/nginx:latest", "a.b/c": "a.b/c:latest",
         "localhost/x:1": "localhost/x:1", "u/x": "docker.io/u/x:latest",
         "h:5000/x": "h:5000/x:latest"}
BAD_NAMES = ["", "UPPER", "a b", "a/", "/a", "a:", "a:.x", "a//b", "../a", "a..b", "a@sha256:12",
             "a:" + "x" * 129, "-a", "a-", "a\n", "http://a/b", "f" * 64, "[]/a", "a..b/c", "-h.x/c"]


def test_names_good_and_bad(s):
    f = s.file(tar_of({"f": "x"}))
    for given, full in NAMES.items():
        assert s.ok("import", f, given).split()[0] == full
    assert sorted(s.refs()) == sorted(NAMES.values())
    for bad in BAD_NAMES:
        s.refused("import", f, bad)


# ---- layer semantics

def test_kinds_modes_owners_and_times(s):
    fs = s.rootfs(d("./", mode=0o750, uid=3), entry("f", "x", mode=0o4755, uid=1000, gid=2000),
                  d("dir", mode=0o1777, mtime=1234), entry("dir/in", "y", mtime=99),
                  link("l", "dir/in", uid=7), hard("h", "f"), link("abs", "/etc/passwd"),
                  entry("p", type=tarfile.FIFOTYPE, mode=0o600),
                  entry("zero", "", mode=0), entry("big", "z", uid=3000000000))
    st = os.stat(fs)
    assert (stat.S_IMODE(st.st_mode), st.st_uid) == (0o750, 3)
    st = os.stat(fs + "/f")
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime) == \
        (0o4755, 1000, 2000, 1000000000)
    assert st.st_ino == os.stat(fs + "/h").st_ino
    st = os.stat(fs + "/dir")
    assert (stat.S_IMODE(st.st_mode), st.st_mtime) == (0o1777, 1234)
    assert os.stat(fs + "/dir/in").st_mtime == 99
    assert os.readlink(fs + "/l") == "dir/in" and os.lstat(fs + "/l").st_uid == 7
    assert os.readlink(fs + "/abs") == "/etc/passwd"
    assert stat.S_ISFIFO(os.stat(fs + "/p").st_mode)
    assert stat.S_IMODE(os.stat(fs + "/zero").st_mode) == 0
    assert os.stat(fs + "/big").st_uid == 3000000000


def test_extended_attributes(s):
    cap = b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0".decode("latin-1")
    x = {"SCHILY.xattr.security.capability": cap, "SCHILY.xattr.user.mine": "v",
         "SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.user.overlay.redirect": "/etc",
         "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.security.selinux": "z"}
    fs = s.rootfs(entry("f", "x", pax_headers=x), d("d", pax_headers={
        k: v for k, v in x.items() if "capability" not in k}))
    assert set(os.listxattr(fs + "/f")) == {"security.capability", "user.mine"}
    assert os.getxattr(fs + "/f", "security.capability") == cap.encode("latin-1")
    assert os.listxattr(fs + "/d") == ["user.mine"]
    assert "extended attributes were left out" in s.said


def test_what_replaces_what_in_one_layer(s):
    fs = s.rootfs(entry("a", "file"), d("a"), entry("a/x", "1"), d("b"), entry("b/y", "2"),
                  entry("b", "file"), link("c", "a"), d("c"), entry("c/z", "3"),
                  entry("twice", "long first text"), entry("twice", "2nd"))
    assert read(fs + "/a/x") == "1" and read(fs + "/b") == "file"
    assert not os.path.islink(fs + "/c") and not os.path.exists(fs + "/a/z")
    assert read(fs + "/twice") == "2nd"


def test_long_names_and_sparse_files(s):
    long = "/".join(["d" * 100] * 5) + "/" + "f" * 200
    for fmt in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        s.ok("import", s.file(tar(entry(long, "x"), link("l" * 150, "t" * 300), format=fmt)), "t")
        assert read(s.layers("t")[0] + "/" + long) == "x"
        assert os.readlink(s.layers("t")[0] + "/" + "l" * 150) == "t" * 300
    top = s.path("sparse")
    os.mkdir(top)
    with open(top + "/hole", "wb") as f:
        f.seek(50 << 20)
        f.write(b"end")
        f.truncate(60 << 20)
    for fmt in ("gnu", "posix"):
        sh("tar", "-C", top, "--sparse", f"--format={fmt}", "-cf", s.path("sp.tar"), "hole")
        s.ok("import", s.path("sp.tar"), "t")
        st = os.stat(s.layers("t")[0] + "/hole")
        assert st.st_size == 60 << 20 and st.st_blocks * 512 < 1 << 20, st
        with open(s.layers("t")[0] + "/hole", "rb") as f:
            f.seek(50 << 20)
            assert f.read(3) == b"end"


def test_a_sparse_size_is_bounded(s):
    x = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "bomb",
         "GNU.sparse.size": str(1 << 43), "GNU.sparse.numblocks": "1", "GNU.sparse.map": "0,1"}
    s.refused("import", s.file(tar(entry("bomb", "x", pax_headers=x))), "t", want="GiB")


# ---- hostile layers

def escape_target(s):
    p = s.path("outside")
    os.makedirs(p, exist_ok=True)
    with open(p + "/secret", "w") as f:
        f.write("kept")
    return p


def test_nothing_is_written_outside(s):
    out = escape_target(s)
    for name in ("../x", "a/../../x", "a/..", "/../x", "x/../../../../tmp/x"):
        s.refused("import", s.file(tar(entry(name, "x"))), "t", want="outside")
    fs = s.rootfs(entry("/abs/path", "x"), d("//dd//"), entry("./././rel", "y"))
    assert read(fs + "/abs/path") == "x" and read(fs + "/rel") == "y" and os.path.isdir(fs + "/dd")
    s.refused("import", s.file(tar(link("l", out), entry("l/new", "x"))), "t")
    fs = s.rootfs(d(out.lstrip("/")), link("l", out), entry("l/new", "x"))
    assert read(fs + out + "/new") == "x" and os.listdir(out) == ["secret"]
    fs = s.rootfs(d("in"), link("up", "../../../../in"), entry("up/f", "x"))
    assert read(fs + "/in/f") == "x"
    fs = s.rootfs(link("f", out + "/secret"), entry("f", "changed"))  # replaced, not followed
    assert read(out + "/secret") == "kept" and read(fs + "/f") == "changed"
    s.rootfs(link("m", out + "/secret"), entry("m2", "x"), hard("m3", "m"))
    assert os.stat(out + "/secret").st_nlink == 1
    for to in ("../../../outside/secret", out + "/secret", "/etc/passwd", ""):
        s.refused("import", s.file(tar(hard("h", to))), "t")
    s.refused("import", s.file(tar(link("l", "/proc/self/root"), entry("l/x", "y"))), "t")
    s.refused("import", s.file(tar(entry("f", "x"), entry("f/below", "y"))), "t")
    assert read(out + "/secret") == "kept" and os.listdir(out) == ["secret"]


def test_modes_and_times_do_not_follow_links(s):
    out = escape_target(s)
    before = os.stat(out)
    s.rootfs(d("dir", mtime=5, mode=0o777, uid=9), link("dir", out, mode=0o777, uid=9))
    after = os.stat(out)
    assert (before.st_mode, before.st_uid, before.st_mtime_ns) == \
        (after.st_mode, after.st_uid, after.st_mtime_ns)


def test_devices_are_left_out_and_counted(s):
    fs = s.rootfs(entry("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
                  entry("sda", type=tarfile.BLKTYPE, devmajor=8), entry("f", "x"),
                  entry("wh", type=tarfile.CHRTYPE))
    assert os.listdir(fs) == ["f"] and "3 device nodes were left out" in s.said


def test_strange_names(s):
    fs = s.rootfs(entry("new\nline", "x"), entry("...", "y"), entry(" ", "z"), entry("\x1b[2J", "w"))
    assert sorted(os.listdir(fs)) == sorted(["new\nline", "...", " ", "\x1b[2J"])
    s.refused("import", s.file(tar(entry("n" * 256, "x"))), "t", want="too long")
    s.refused("import", s.file(tar(entry("x" + "/y" * 3000, "x"))), "t", want="too long")
    s.refused("import", s.file(tar(entry("f", "x", uid=4294967295))), "t", want="owner")
    s.refused("import", s.file(tar(entry("f", "x", uid=1 << 40))), "t", want="owner")
    s.refused("import", s.file(tar(entry("a/.wh...", ""))), "t", want="whiteout")
    s.refused("import", s.file(tar(entry("a/.wh.", ""))), "t", want="whiteout")
    raw = bytearray(tar(entry("nulQhere", "x"), format=tarfile.USTAR_FORMAT))
    raw[3] = 0
    raw[148:156] = b"%06o\0 " % (sum(raw[:148]) + 8 * 32 + sum(raw[156:512]))
    s.ok("import", s.file(bytes(raw)), "t")
    assert os.listdir(s.layers("t")[0]) == ["nul"]


def test_deep_folders_come_and_go(s):
    deep = "/".join(["d"] * 1900)
    s.rootfs(d(deep), link("l", deep), d("l/" + "/".join(["e"] * 900)))
    s.ok("rm", "t")
    s.assert_clean()
    assert not s.count("layers")


# ---- wrong digests and counts

def test_wrong_digests(s):
    for i, what in enumerate(("index", "config", "manifest", "layer")):
        files = oci([TWO[0], TWO[1]])
        good = sorted(n for n in files if n.startswith("blobs/"))
        kinds = {}
        for n in good:
            b = files[n]
            kind = "layer" if b in TWO else "config" if b'"diff_ids"' in b else "manifest"
            kinds[kind] = n if kind != "layer" or b == TWO[1] else kinds.get(kind, n)
        if what == "index":
            files["index.json"] = files["index.json"].replace(b"sha256:", b"sha255:")
        else:
            files[kinds[what]] = files[kinds[what]] + (b" " if what != "layer" else b"\0")
        for src in (s.folder(files), s.file(tar_of(files))):
            s.refused("import", src, "t", want="digest")
    wrong = config_of([TWO[0], TWO[0]])
    s.refused("import", s.folder(oci(TWO, config=wrong)), "t", want="config says")
    s.refused("import", s.file(tar_of(docker(TWO, config=wrong))), "t", want="config says")
    for bad in ("sha256:" + "A" * 64, "sha256:../../x", "", "sha512:" + "a" * 64, 5, None):
        c = dump({"rootfs": {"diff_ids": [bad]}})
        s.refused("import", s.folder(oci([TWO[0]], config=c)), "t", want="diff_ids")
    assert not s.refs()


def test_layer_counts(s):
    s.refused("import", s.folder(oci(TWO, config=config_of([TWO[0]]))), "t", want="disagree")
    s.refused("import", s.file(tar_of(docker(TWO, config=config_of([TWO[0]])))), "t", want="disagree")
    s.refused("import", s.folder(oci(TWO, config=b"{}")), "t", want="disagree")
    s.refused("import", s.folder(oci(TWO, config=b"[1,")), "t")
    many = [tar_of({f"f{i}": str(i)}) for i in range(128)]
    s.refused("import", s.folder(oci(many)), "t", want="more than 127")
    s.refused("import", s.file(tar_of(docker(many))), "t", want="127")
    s.ok("import", s.folder(oci(many[:127])), "t")
    assert s.count("layers") == 127
    s.refused("import", s.folder(oci(TWO, manifest={"layers": [
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
         "digest": sha(l)} for l in TWO]})), "t2", want="nondistributable")


def test_a_layout_with_links_to_outside(s):
    top = s.folder(oci(TWO))
    blob = top + "/blobs/sha256/" + sha(TWO[1])[7:]
    os.rename(blob, s.path("moved"))
    os.symlink(s.path("moved"), blob)
    s.refused("import", top, "t")
    os.unlink(blob)
    os.mkfifo(blob)
    s.refused("import", top, "t")


# ---- crashes and company

def test_kills_while_importing(s):
    files = s.folder(oci(TWO))
    for fault in ("image.layer-unpacked", "image.layer-unpacked:2", "image.before-name"):
        with Fault(fault) as armed:
            s.env = armed.env
            code, out, err = s.call("import", files)
            assert code == -9 and armed.fired(), f"{fault}: {code} {err}"
        assert not s.refs()
        s.env = {}
        s.ok("import", s.file(tar_of({"f": "x"})), "other")
        s.assert_clean()
        s.ok("import", files)
        s.assert_clean()
        assert read(s.layers("a/b:1")[1] + "/same") == "upper"
        s.ok("rm", "a/b:1", "other")
        assert not s.count("layers")


def test_a_kill_while_removing(s):
    s.ok("import", s.folder(oci(TWO)))
    s.ok("import", s.file(tar_of({"f": "x"})), "other")
    assert s.count("layers")
    with Fault("rootfs.image-removed") as armed:
        s.env = armed.env
        code, out, err = s.call("rm", "a/b:1")
        assert code == -9 and armed.fired(), f"{code} {err}"
    s.env = {}
    assert list(s.refs()) == ["docker.io/library/other:latest"], s.refs()
    kept = s.count("layers")
    s.ok("rm", "other")  # collects what the dead one left too
    assert kept > 0 and not s.count("layers"), (kept, s.count("layers"))
    s.ok("import", s.folder(oci(TWO)))
    assert read(s.layers("a/b:1")[1] + "/same") == "upper"
    s.assert_clean()


def test_several_imports_at_once(s):
    big = [tar_of({f"f{i}": os.urandom(20000) for i in range(50)}), TWO[0]]
    src = s.folder(oci(big))
    argv = [os.path.join(BUILD, "umiak-image"), "--store", s.store, "import", src]
    for _ in range(4):
        others = [s.file(tar_of({"f": os.urandom(10)})) for _ in range(3)]
        procs = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                 for _ in range(3)]
        for i, o in enumerate(others):
            s.ok("import", o, f"o{i}")
            s.ok("rm", f"o{i}")
        for p in procs:
            out, err = p.communicate(timeout=60)
            assert p.returncode == 0, err
        assert len(os.listdir(s.layers("a/b:1")[0])) == 50
        assert read(s.layers("a/b:1")[1] + "/one") == "1"
        s.ok("rm", "a/b:1")
    s.assert_clean()


def test_an_import_is_confined(s):
    """Stopped half-way through a large layer: what /proc says of the process."""
    src = s.file(tar(*[entry(f"f{i}", b"x" * 2000) for i in range(20000)]))
    p = subprocess.Popen([os.path.join(BUILD, "umiak-image"), "--store", s.store, "import", src,
                          "t"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for("the unpacking", lambda: glob.glob(s.store + "/tmp/*/layer0/fs/f1"), every=0.002)
        p.send_signal(signal.SIGSTOP)
        status = dict(l.split(":\t", 1) for l in read(f"/proc/{p.pid}/status").splitlines()
                      if ":\t" in l)
    finally:
        p.send_signal(signal.SIGCONT)
        out, err = p.communicate(timeout=120)
    assert p.returncode == 0, err
    assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status
    # CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETFCAP
    want = sum(1 << b for b in (0, 1, 3, 4, 31))
    for k in ("CapEff", "CapPrm"):
        assert int(status[k], 16) == want, status[k]
    assert int(status["CapInh"], 16) == 0

# ---- snapshots

def tool(s, *argv, check=True):
    return sh(os.path.join(BUILD, "tests/lib/rootfs_tool"), s.store, *argv, check=check)


def mounted(s, layers, name, id):
    s.ok("import", s.folder(oci([tar(*l) for l in layers])), name)
    at = s.path("mnt-" + id)
    os.makedirs(at, exist_ok=True)
    tool(s, "mount", name, id, at)
    return at


def test_whiteouts_in_the_merged_view(s):
    at = mounted(s, [
        [entry("gone", "x"), entry("kept", "k"), d("dir"), entry("dir/a", "1"), d("opq"),
         entry("opq/old", "o"), d("again"), entry("again/old", "o"), d("was"), entry("was/f", "x"),
         entry("becomes", "file"), d("late"), entry("late/old", "o"), d("whole"),
         entry("whole/x", "x")],
        [entry(".wh.gone", ""), entry("dir/.wh.a", ""), entry("dir/b", "2"), d("opq"),
         entry("opq/new", "n"), entry("opq/.wh..wh..opq", ""), entry(".wh.again", ""), d("again"),
         entry("again/new", "n"), entry("was", "now a file"), d("becomes"), entry("becomes/in", "i"),
         d("late"), entry("late/new", "n"), entry(".wh.late", ""), entry(".wh.whole", ""),
         entry(".wh..wh.plnk", "")]], "w", "w1")
    assert sorted(os.listdir(at)) == ["again", "becomes", "dir", "kept", "late", "opq", "was"]
    for folder, want in (("dir", ["b"]), ("opq", ["new"]), ("again", ["new"]), ("late", ["new"]),
                         ("becomes", ["in"])):
        assert os.listdir(f"{at}/{folder}") == want, (folder, os.listdir(f"{at}/{folder}"))
    assert read(at + "/was") == "now a file"


def test_snapshots_keep_their_content_and_their_layers(s):
    at = mounted(s, [[entry("f", "image")], [entry("g", "2")]], "n", "pod-1_a.b")
    with open(at + "/f", "w") as f:
        f.write("changed")
    sh("umount", at)  # as after a reboot
    tool(s, "mount", "n", "pod-1_a.b", at)
    assert read(at + "/f") == "changed"
    assert read(s.layers("n")[0] + "/f") == "image"
    s.ok("rm", "n")
    assert s.count("layers") == 2 and read(at + "/g") == "2"
    s.ok("import", s.file(tar_of({"x": "y"})), "other")
    assert s.count("layers") == 3
    tool(s, "release", "pod-1_a.b", at)
    tool(s, "release", "pod-1_a.b", at)  # gone is success
    assert not s.count("snapshots") and not os.listdir(at)
    s.ok("rm", "other")
    s.assert_clean()


def options(at):
    return [l.split()[3] for l in read("/proc/self/mounts").splitlines() if l.split()[1] == at]


def test_a_throwaway_snapshot_is_mounted_again_after_any_end(s):
    at = mounted(s, [[entry("f", "image")]], "n", "plain")
    assert "volatile" not in options(at)[0]
    at = s.path("thrown")
    os.mkdir(at)
    tool(s, "throwaway", "n", "t", at)
    assert "volatile" in options(at)[0], options(at)
    with open(at + "/f", "w") as f:
        f.write("changed")
    tool(s, "throwaway", "n", "t", at)  # as where the mount's maker was killed before its use
    assert len(options(at)) == 2 and read(at + "/f") == "changed"
    sh("umount", at), sh("umount", at)
    tool(s, "throwaway", "n", "t", at)
    assert read(at + "/f") == "changed"
    tool(s, "release", "t", at)
    assert not options(at) and os.listdir(s.store + "/snapshots") == ["plain"]


def test_a_store_on_an_overlay_is_named(s):
    for d in ("low", "up", "work", "over"):
        os.mkdir(s.path(d))
    sh("mount", "-t", "overlay", "overlay", "-o",
       f"lowerdir={s.path('low')},upperdir={s.path('up')},workdir={s.path('work')}", s.path("over"))
    try:
        os.mkdir(s.path("at"))
        s.store = s.path("over")
        s.ok("import", s.folder(oci([tar(entry("f", "x"))])), "n")
        said = tool(s, "mount", "n", "i", s.path("at"), check=False)
        assert "is on an overlay itself" in said and s.store in said, said
    finally:
        sh("umount", s.path("over"))


def test_snapshot_ids_and_sweeping(s):
    at = mounted(s, [[entry("f", "x")]], "n", "keep")
    sh("umount", at)
    for i in ("a", "b"):
        os.makedirs(s.path("m" + i))
        tool(s, "mount", "n", i, s.path("m" + i))
        sh("umount", s.path("m" + i))
    for bad in ("", "..", ".x", "a/b", "a b", "x" * 200):
        assert "snapshot id" in tool(s, "mount", "n", bad, at, check=False), bad
    tool(s, "sweep", "keep")
    assert os.listdir(s.store + "/snapshots") == ["keep"]
    tool(s, "mount", "n", "keep", at)
    assert read(at + "/f") == "x"


def test_a_snapshot_with_deep_folders_is_released(s):
    at = mounted(s, [[entry("f", "x")]], "n", "deep")
    fd = os.open(at, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        sub = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = sub
    os.close(fd)
    tool(s, "release", "deep", at)
    assert not s.count("snapshots")


def test_images_of_many_layers_can_be_mounted(s):
    at = mounted(s, [[entry(f"f{i}", str(i))] for i in range(127)], "n", "many")
    assert len(os.listdir(at)) == 127


main(globals())
