#!/usr/bin/env python3
"""What crun does, and its users rely on, where the specification leaves room."""
import os
import stat
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
make_node = Box

MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def userns(box, maps=MAP):
    """A user namespace; the bundle can be reached and belongs to its root."""
    box.ns("user")
    if maps:
        box.linux["uidMappings"] = box.linux["gidMappings"] = maps
        sh("chown", "-R", str(maps[0]["hostID"]), box.root)


def mountinfo(out):
    return {f[4]: f for f in (l.split() for l in out.splitlines()) if len(f) > 6 and "-" in f}


# ---- mounts

def test_a_bind_source_that_only_the_caller_can_reach(box):
    userns(box)
    os.makedirs(box.path("closed", "volume", "below"))
    os.chmod(box.path("closed"), 0o700)
    with open(box.path("closed", "volume", "file"), "w") as f:
        f.write("seen\n")
    sh("mount", "-t", "tmpfs", "tmpfs", box.path("closed", "volume", "below"))
    try:
        box.mount("/mnt/v", "bind", box.path("closed", "volume"), "rbind", "ro")
        r = box.run("cat /mnt/v/file; touch /mnt/v/x 2>/dev/null || echo no; cat /proc/self/mountinfo",
                    ok=True)
        assert r.out.startswith("seen\nno\n"), r
        assert "/mnt/v/below" in mountinfo(r.out), r
        sh("mount", "--make-shared", box.path("closed", "volume", "below"))
        box.config["mounts"][-1]["options"] = ["rbind", "rslave"]
        found = mountinfo(box.run("cat /proc/self/mountinfo", ok=True).out)["/mnt/v/below"]
        assert any(x.startswith("master:") for x in found), found
        box.config["mounts"][-1]["source"] = box.path("closed", "none")
        r = box.run("true")
        assert r.rc and "mounts[" in r.err and "/mnt/v: bind source" in r.err, r
    finally:
        sh("umount", box.path("closed", "volume", "below"))


def test_a_bind_in_a_user_namespace_does_not_reach_the_host(box):
    userns(box)
    os.mkdir(box.path("shared"))
    sh("mount", "-t", "tmpfs", "tmpfs", box.path("shared"))
    try:
        os.makedirs(box.path("shared", "point"))
        sh("mount", "--make-shared", box.path("shared"))
        box.process["capabilities"] = {s: ["CAP_SYS_ADMIN"] for s in
                                       ("bounding", "effective", "permitted")}
        box.mount("/mnt", "bind", box.path("shared"), "rbind", "rshared")
        box.run("mount -t tmpfs tmpfs /mnt/point", ok=True)
        assert box.path("shared", "point") not in mountinfo(read("/proc/self/mountinfo"))
    finally:
        sh("umount", "-R", box.path("shared"))


def test_a_tmpfs_keeps_the_rights_of_what_it_covers(box):
    os.mkdir(box.root + "/closed")
    os.chmod(box.root + "/closed", 0o712)
    box.mount("/closed", "tmpfs", "tmpfs", "nosuid")
    box.mount("/new", "tmpfs", "tmpfs", "nosuid")
    box.mount("/tmp", "tmpfs", "tmpfs", "nosuid")
    box.mount("/root", "tmpfs", "tmpfs", "mode=0770")
    r = box.run("stat -c %a /closed /new /tmp /root", ok=True)
    assert r.out.split() == ["712", "1777", "1777", "770"], r


def test_cgroups_beneath_the_hosts_sysfs_are_read_only(box):
    """A user namespace in the host's network gets the host's /sys; the host's root is its root."""
    userns(box, [{"containerID": 0, "hostID": 0, "size": 65536}])
    box.ns("network", remove=True)
    box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "cgroup"]
    for opts in (["nosuid", "ro"], ["nosuid"]):
        for m in box.config["mounts"]:
            if m["type"] == "sysfs":
                m["options"] = opts
        found = mountinfo(box.run("cat /proc/self/mountinfo", ok=True).out)
        beneath = {d: f for d, f in found.items() if d.startswith("/sys/fs/cgroup")}
        assert beneath and all("ro" in f[5].split(",") for f in beneath.values()), beneath
        assert ("ro" in found["/sys"][5].split(",")) == ("ro" in opts), found["/sys"]


# ---- user namespaces

def test_a_user_namespace_without_mappings_maps_the_caller(box):
    userns(box, None)
    for m in box.config["mounts"]:
        m["options"] = [o for o in m.get("options", []) if o != "gid=5"]  # which is not mapped
    r = box.run("cat /proc/self/uid_map /proc/self/gid_map", ok=True)
    assert r.out.split() == ["0", "0", "1"] * 2, r
    assert "linux.uidMappings" in r.err and "warning" in r.err, r
    box.linux["uidMappings"] = MAP
    box.refused("linux.uidMappings and gidMappings")


def test_default_devices_of_a_user_namespace_are_plain(box):
    userns(box)
    found = mountinfo(box.run("cat /proc/self/mountinfo; echo x >/dev/null", ok=True).out)
    for d in ("null", "zero", "full", "tty", "random", "urandom"):
        assert {"nosuid", "noexec"} <= set(found[f"/dev/{d}"][5].split(",")), found[f"/dev/{d}"]


# ---- the process and names

def test_a_missing_cwd_is_made_in_a_read_only_root(box):
    box.config["root"]["readonly"] = True
    box.process["cwd"] = "/not/there/yet"
    assert box.run("pwd; touch x 2>/dev/null || echo ro", ok=True).out == "/not/there/yet\nro\n"
    assert stat.S_IMODE(os.stat(box.root + "/not/there/yet").st_mode) == 0o755
    os.symlink(box.path("outside"), box.root + "/way-out")
    box.process["cwd"] = "/way-out/dir"
    box.run("true", ok=True)
    assert not os.path.exists(box.path("outside"))


def test_names_are_not_set_by_sysctl(box):
    box.linux["sysctl"] = {"kernel.hostname": "other"}
    box.refused("linux.sysctl", "kernel.hostname")
    box.config["domainname"] = "mine"
    box.linux["sysctl"] = {"kernel.domainname": "other"}
    box.refused("linux.sysctl", "kernel.domainname", "domainname")
    box.linux["sysctl"] = {"kernel/domainname": "other"}
    box.refused("linux.sysctl", "kernel/domainname")
    box.linux["sysctl"] = {"kernel.domainname": "mine"}
    assert box.run("cat /proc/sys/kernel/domainname", ok=True).out == "mine\n"
    del box.config["domainname"]
    box.linux["sysctl"] = {"kernel.domainname": "other"}
    assert box.run("cat /proc/sys/kernel/domainname", ok=True).out == "other\n"


def test_an_id_that_is_wrong_is_told_why(box):
    box.save("true")
    for id, why in (("this/is", "invalid character '/'"), ("a b", "invalid character ' '"),
                    (".", "dot"), ("..", "dot"), (".a", "dot"), ("", "empty"), ("x" * 256, "255")):
        r = box.oci("run", "--bundle", box.bundle, id)
        assert r.rc and "invalid container ID" in r.err and why in r.err, r


main(globals())
