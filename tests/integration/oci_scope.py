#!/usr/bin/env python3
"""umiak-oci --systemd-cgroup up to its helper, and the helper up to the bus: there is no systemd here
(tests/long/oci_systemd.py has one). A program in the helper's place keeps its protocol: it notes the
requests, makes the cgroup and moves processes."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()

HELPER = r"""#!/usr/bin/env python3
import glob, json, os, sys
base, (whose, verb, unit) = os.path.dirname(sys.argv[0]), sys.argv[1:]
request = sys.stdin.read()
with open(base + "/calls", "a") as f:
    f.write(json.dumps([whose, verb, unit, request]) + "\n")
with open(base + "/play.json") as f:
    play = json.load(f)
if verb in play["fail"]:
    code, text = play["fail"][verb]
    print(text, file=sys.stderr)
    sys.exit(code)
def move(pid):
    for root in glob.glob(play["cgroups"]):
        os.makedirs(root + play["path"], exist_ok=True)
        if root.endswith("/cpuset"):
            continue
        with open(root + play["path"] + "/cgroup.procs", "w") as f:
            f.write(pid)
if verb == "start":
    move(request.split("au PIDs ")[1].split("\n")[0])
    print(play["path"])
elif verb == "attach":
    move(request)
"""


class Scope(Box):
    """A bundle whose container is in a scope of the helper above."""

    def __init__(self):
        super().__init__()
        self.libexec = self.path("libexec")
        os.mkdir(self.libexec)
        self.helper = self.libexec + "/umiak-oci-systemd"
        with open(self.helper, "w") as f:
            f.write(HELPER)
        os.chmod(self.helper, 0o755)
        self.group = f"/{self.name}/test.slice/test-a.slice/probe-c.scope"
        self.linux["cgroupsPath"] = "test-a.slice:probe:c"
        self.play()

    def play(self, path=None, **fail):
        """What the helper answers from here on."""
        hierarchies = f"{CGROUPS}/unified" if os.path.isdir(f"{CGROUPS}/unified") else CGROUPS
        with open(self.libexec + "/play.json", "w") as f:
            json.dump({"path": path or self.group, "fail": fail, "cgroups": hierarchies}, f)

    def oci(self, *args, **kw):
        if args[0] == "spec":
            return super().oci(*args, **kw)
        kw.setdefault("env", {})
        kw["env"] = {**os.environ, "UMIAK_LIBEXEC": self.libexec, **kw["env"]}
        return super().oci("--systemd-cgroup", *args, **kw)

    def calls(self):
        """Those since the last time."""
        path = self.libexec + "/calls"
        if not os.path.exists(path):
            return []
        with open(path) as f:
            found = [json.loads(line) for line in f]
        os.unlink(path)
        return found

    def left(self):
        return super().left() + glob.glob(f"{CGROUPS}/*{self.group}") + \
            glob.glob(f"{CGROUPS}{self.group}")


make_node = Scope


def where(pid):
    return [line.split(":", 2)[2] for line in read(f"/proc/{pid}/cgroup").splitlines()]


def test_a_container_is_born_in_its_scope(box):
    box.linux["resources"] = {"pids": {"limit": 9}, "cpu": {"shares": 512}}
    box.up()
    (whose, verb, unit, request), = box.calls()
    lines = request.splitlines()
    assert (whose, verb, unit) == ("system", "start", "probe-c.scope")
    for line in ("s Description container c", "s Slice test-a.slice", "b Delegate 1",
                 "b DefaultDependencies 0", "s CollectMode inactive-or-failed", "t TasksMax 9",
                 "s DevicePolicy strict", "a(ss) DeviceAllow"):
        assert line in lines, (line, request)
    pid = box.state()["pid"]
    assert set(where(pid)) == {box.group}, where(pid)
    # What held the scope is gone.
    held = [line.split()[-1] for line in lines if line.startswith("au PIDs ")]
    assert held != [str(pid)] and not os.path.exists(f"/proc/{held[0]}"), held
    file = box.path("pid")
    box.oci("exec", "--detach", "--pid-file", file, "c", "sleep", "100", ok=True)
    assert set(where(read(file))) == {box.group}
    assert {pid, int(read(file))} <= set(json.loads(box.oci("ps", "--format", "json", "c", ok=True).out))
    assert box.calls() == []


def test_annotations_are_properties(box):
    box.config["annotations"] = {"org.systemd.property.TimeoutStopSec": "7",
                                 "org.systemd.property.After": "['a.service', 'b.service']",
                                 "org.example": "x"}
    box.up()
    lines = box.calls()[0][3].splitlines()
    assert "t TimeoutStopUSec 7000000" in lines and "as After a.service b.service" in lines, lines
    assert not [line for line in lines if "example" in line], lines
    box.oci("delete", "--force", "c", ok=True)
    box.config["annotations"] = {"org.systemd.property.TimeoutStopUSec": "soon"}
    box.refused("org.systemd.property.TimeoutStopUSec", "soon")


def test_update_tells_systemd_what_changes(box):
    box.up()
    box.calls()
    box.oci("update", "--pids-limit", "12", "c", ok=True)
    assert box.calls() == [["system", "update", "probe-c.scope", "t TasksMax 12\n"]]
    assert any(read(f).strip() == "12" for f in glob.glob(f"{CGROUPS}/*{box.group}/pids.max"))
    box.oci("update", "--resources", "-", "c", ok=True, input=json.dumps(
        {"devices": [{"allow": True, "access": "rwm"}]}))
    (_, _, _, request), = box.calls()
    assert "s DevicePolicy auto\n" in request, request
    # systemd's refusal comes before any change.
    box.play(update=[1, "no such property"])
    r = box.oci("update", "--pids-limit", "13", "c")
    assert r.rc and "no such property" in r.err, r
    assert any(read(f).strip() == "12" for f in glob.glob(f"{CGROUPS}/*{box.group}/pids.max"))
    box.play()


def test_delete_stops_the_scope(box):
    box.up()
    box.calls()
    box.oci("delete", "--force", "c", ok=True)
    assert [c[:3] for c in box.calls()] == [["system", "stop", "probe-c.scope"]]
    assert not box.left(), box.left()
    # Without the option, too: the state names the scope.
    box.up()
    box.calls()
    r = Box.oci(box, "delete", "--force", "c", env={**os.environ, "UMIAK_LIBEXEC": box.libexec})
    assert r.rc == 0 and [c[:3] for c in box.calls()] == [["system", "stop", "probe-c.scope"]], r
    assert not box.left(), box.left()


def test_delete_without_systemd(box):
    """The user's session is over, say: with it went the scope."""
    box.up()
    box.oci("kill", "c", "KILL", ok=True)
    wait_for("the end", lambda: box.state()["status"] == "stopped")
    box.play(stop=[2, "no bus here"])
    r = box.oci("delete", "c")
    assert r.rc and "no bus here" in r.err and box.state()["status"] == "stopped", r
    for d in glob.glob(f"{CGROUPS}/*{box.group}"):
        os.rmdir(d)
    box.oci("delete", "c", ok=True)
    assert not box.oci("list", "--quiet", ok=True).out


def test_without_a_path_the_scope_is_named_after_the_id(box):
    del box.linux["cgroupsPath"]
    box.group = f"/{box.name}/system.slice/umiak-oci-c.scope"
    box.play()
    box.run("true", ok=True)
    calls = [c[1:3] for c in box.calls()]
    assert calls == [["start", "umiak-oci-c.scope"], ["stop", "umiak-oci-c.scope"]], calls


def test_what_fails_is_undone(box):
    for (code, text), words in (((2, "no bus here"), ("--systemd-cgroup", "no bus here")),
                                ((3, "taken"), ("probe-c.scope", "exists already")),
                                ((1, "a reason"), ("probe-c.scope", "a reason"))):
        box.play(start=[code, text])
        box.refused(*words)
        # Nothing was made that could be stopped: it may be another container's.
        assert [c[1] for c in box.calls()] == ["start"]
    # A cgroup that is not the unit's is not touched.
    for path in ("/", "", "relative", f"/{box.name}/test.slice/probe-c.scope", "/a/../b",
                 box.group + "/x", f"/{box.name}/test.slice/test-a.slice/xprobe-c.scope"):
        box.play(path=path or "\n")
        r = box.run("true")
        assert r.rc and "systemd" in r.err, (path, r)
        assert [c[1] for c in box.calls()] == ["start", "stop"], path
        assert not box.oci("list", "--quiet", ok=True).out
    box.play()
    box.save("/none")
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc and "no such file" in r.err, r
    assert [c[1] for c in box.calls()] == ["start", "stop"]
    wait_for("a clean end", lambda: not box.left())


def test_wrong_names_are_refused(box):
    for path, word in (("/a/b", "slice:prefix:name"), ("a:b:c", "not the name of a slice"),
                       ("a.slice:b:c d", "cannot be the name of a unit"),
                       ("a.slice:b:c\ns Slice x.slice", "not valid"),
                       ("a.slice:b:c.slice", "not supported")):
        box.linux["cgroupsPath"] = path
        box.refused("linux.cgroupsPath", word)
    assert box.calls() == []


def test_one_process_is_one_process(box):
    box.linux["resources"] = {"pids": {"limit": 1}}
    r = box.run("echo one; (true); echo two")
    assert "one" in r.out and "two" not in r.out and "fork" in r.err, r


def test_a_create_that_is_killed_leaves_only_what_delete_finds(box):
    box.save(sh="sleep 100")
    armed = Fault("runtime.systemd.started")
    r = box.oci("create", "--bundle", box.bundle, "c", env=armed.env)
    assert r.rc and armed.fired() == "umiak-oci", r
    armed.close()
    (_, _, _, request), = box.calls()
    held = int(request.split("au PIDs ")[1].split("\n")[0])
    # The empty scope is systemd's to remove.
    wait_for("the holder's end", lambda: not os.path.exists(f"/proc/{held}"))
    box.oci("delete", "--force", "c", ok=True)
    assert not box.oci("list", "--quiet", ok=True).out


def test_without_a_helper(box):
    os.unlink(box.helper)
    box.refused("--systemd-cgroup", "umiak-oci-systemd", "cannot be executed")
    cgroup = json.loads(box.oci("features", ok=True).out)["linux"]["cgroup"]
    assert not cgroup["systemd"] and not cgroup["systemdUser"], cgroup


# ---- the helper itself

def helper(*args, text=""):
    p = subprocess.run([os.path.join(BUILD, "umiak-oci-systemd"), *args], input=text, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=90)
    return p.returncode, p.stdout, p.stderr.strip()


def test_the_helper_refuses_what_it_does_not_know():
    for args in ((), ("system",), ("system", "start"), ("system", "begin", "a.scope"),
                 ("nobody", "start", "a.scope"), ("system", "start", "a.scope", "b")):
        code, out, err = helper(*args)
        assert code == 1 and not out and err, (args, code, out, err)


def test_the_helper_says_that_there_is_no_systemd():
    if os.path.isdir("/run/systemd/system"):
        raise Skip("this host runs systemd")
    for verb in ("start", "update", "attach", "stop"):
        code, out, err = helper("system", verb, "a.scope")
        assert (code, out, err) == (2, "", "this host does not run systemd"), (code, out, err)


main(globals())
