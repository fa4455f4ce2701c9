#!/usr/bin/env python3
"""Fields of config.json beyond the everyday ones: each works or is refused by its name."""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
make_node = Box

IDLE = "trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 0.05; done"
MAP = [{"containerID": 0, "hostID": 100000, "size": 65536}]


def up(box, script=IDLE):
    box.up(script)
    wait_for("the program", lambda: os.path.exists(box.root + "/tmp/up"))


def options(box, destination):
    """The container's mount there: its options, those of the file system, and the optional fields."""
    r = box.run("cat /proc/self/mountinfo", ok=True)
    for line in r.out.splitlines():
        left, right = line.split(" - ")
        left = left.split()
        if left[4] == destination:
            return set(left[5].split(",")), set(right.split()[2].split(",")), left[6:]
    raise AssertionError(f"nothing on {destination}: {r}")


# ---- mounts

def test_every_mount_option_is_taken(box):
    for opt in ("iversion", "noiversion", "lazytime", "nolazytime", "silent", "loud", "mand", "nomand",
                "sync", "async", "dirsync", "nosymfollow", "symfollow", "rnosymfollow", "rsymfollow",
                "norelatime", "nostrictatime", "rnorelatime", "rnostrictatime", "rro", "rrw",
                "diratime", "nodiratime", "defaults", "shared", "rslave", "unbindable"):
        box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/mnt"]
        box.mount("/mnt", "tmpfs", "tmpfs", opt)
        box.run("test -d /mnt", ok=True)
    for opt in ("rw", "ro", "nosuid", "suid", "nodev", "dev", "noexec", "exec", "relatime",
                "noatime", "atime", "strictatime", "rnosuid", "rsuid", "rnodev", "rdev", "rnoexec",
                "rexec", "rnoatime", "ratime", "rstrictatime", "rrelatime", "rnodiratime",
                "rdiratime", "rprivate", "private", "slave", "rshared", "runbindable"):
        box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/mnt"]
        box.mount("/mnt", "bind", "/usr", "bind", opt)
        box.run("test -d /mnt", ok=True)


def test_mount_options_are_there(box):
    box.mount("/a", "tmpfs", "tmpfs", "nosymfollow", "lazytime", "sync", "nodiratime")
    mine, fs, _ = options(box, "/a")
    assert {"nosymfollow", "nodiratime"} <= mine and {"sync", "lazytime"} <= fs, (mine, fs)
    box.mount("/b", "tmpfs", "tmpfs", "iversion", "size=1m")
    assert any(o.startswith("size=") for o in options(box, "/b")[1])
    os.symlink("/etc/passwd", box.root + "/tmp/l")
    box.mount("/t", "bind", box.root + "/tmp", "bind", "nosymfollow")
    assert box.run("cat /t/l").rc != 0
    box.config["mounts"][-1]["options"] = ["bind", "nosymfollow", "symfollow"]
    box.run("test -L /t/l && cat /tmp/l", ok=True)


def test_read_only_beneath(box):
    os.makedirs(box.path("src", "sub"))
    sh("mount", "-t", "tmpfs", "none", box.path("src", "sub"))
    box.mount("/m", "bind", box.path("src"), "rbind", "ro")
    box.run("touch /m/sub/x && ! touch /m/x", ok=True)
    box.config["mounts"][-1]["options"] = ["rbind", "rro"]
    box.run("! touch /m/sub/y && ! touch /m/x", ok=True)
    sh("umount", box.path("src", "sub"))


def test_tmpcopyup(box):
    os.makedirs(box.root + "/data/sub")
    with open(box.root + "/data/sub/f", "w") as f:
        f.write("kept")
    os.chmod(box.root + "/data/sub/f", 0o4755)
    os.chown(box.root + "/data/sub/f", 12, 34)
    os.chmod(box.root + "/data/sub/f", 0o4755)
    os.symlink("/etc/shadow", box.root + "/data/link")
    os.mkfifo(box.root + "/data/fifo")
    box.mount("/data", "tmpfs", "tmpfs", "tmpcopyup")
    r = box.run("cat /data/sub/f; stat -c ' %a %u %g' /data/sub/f; readlink /data/link; test -p "
                "/data/fifo && echo fifo; touch /data/new", ok=True)
    assert r.out == "kept 4755 12 34\n/etc/shadow\nfifo\n", r
    assert not os.path.exists(box.root + "/data/new")
    box.config["mounts"][-1]["options"].append("ro")
    box.run("test -e /data/sub/f && ! touch /data/new", ok=True)
    box.mount("/p", "bind", "/usr", "bind", "tmpcopyup")
    box.refused("tmpcopyup")


def test_idmapped_mounts(box):
    os.makedirs(box.path("src"))
    with open(box.path("src", "f"), "w") as f:
        f.write("x")
    os.chown(box.path("src", "f"), 5, 6)
    box.mount("/m", "bind", box.path("src"), "bind")
    box.config["mounts"][-1].update(
        uidMappings=[{"containerID": 5, "hostID": 1005, "size": 1}],
        gidMappings=[{"containerID": 6, "hostID": 2006, "size": 1}])
    r = box.run("stat -c '%u %g' /m/f")
    if r.rc and "idmap of" in r.err:
        # This file system has none: then it is refused, and said where.
        assert "mounts[" in r.err and not box.left(), r
        return
    assert r.out == "1005 2006\n", r
    assert os.stat(box.path("src", "f")).st_uid == 5
    # Without mappings of its own: those of the user namespace, both ways.
    box.config["mounts"].pop()
    box.ns("user")
    box.linux["uidMappings"] = box.linux["gidMappings"] = MAP
    box.mount("/m", "bind", box.path("src"), "rbind", "ridmap")
    r = box.run("stat -c '%u %g' /m/f; touch /m/new && stat -c %u /m/new", ok=True)
    assert r.out == "5 6\n0\n", r
    assert os.stat(box.path("src", "new")).st_uid == 0, "not written as the user outside"
    box.config["mounts"][-1]["options"] = ["bind"]
    assert box.run("stat -c %u /m/f", ok=True).out == "65534\n"


def test_wrong_idmaps_are_refused(box):
    one = [{"containerID": 0, "hostID": 1, "size": 1}]
    for type, extra, words in (
            ("bind", {"uidMappings": one}, ("mounts[", "gidMappings")),
            ("bind", {"gidMappings": one}, ("mounts[", "uidMappings")),
            ("bind", {"options": ["bind", "idmap"]}, ("mounts[", "user namespace")),
            ("tmpfs", {"uidMappings": one, "gidMappings": one}, ("bind mounts only",)),
            ("bind", {"uidMappings": [{"containerID": 0, "hostID": 1, "size": 0}],
                      "gidMappings": one}, ("uidMappings[0]", "size")),
            ("bind", {"uidMappings": [{"containerID": 0, "hostID": 1}], "gidMappings": one},
             ("size",))):
        mounts = list(box.config["mounts"])
        box.mount("/m", type, box.dir, *(["bind"] if type == "bind" else []))
        box.config["mounts"][-1].update(extra)
        box.refused(*words)
        box.config["mounts"] = mounts


def test_a_destination_that_is_a_dangling_link_is_made(box):
    os.symlink("/far/away", box.root + "/dangling")
    os.symlink("../../../../etc/nothing-here", box.root + "/escape")
    box.mount("/dangling", "tmpfs", "tmpfs")
    box.mount("/escape", "bind", "/etc/hostname", "bind")
    box.run("test -d /far/away && test -f /etc/nothing-here", ok=True)
    assert not os.path.exists("/far") and not os.path.exists("/etc/nothing-here")
    os.unlink(box.root + "/escape")
    os.symlink("escape", box.root + "/escape")
    box.refused("/escape")


def test_rootfs_propagation(box):
    vol = box.path("vol")
    os.makedirs(vol + "/sub")
    sh("mount", "-t", "tmpfs", "none", vol)
    sh("mount", "--make-shared", vol)
    os.makedirs(vol + "/sub")
    caps = ["CAP_SYS_ADMIN"]
    for s in ("bounding", "effective", "permitted"):
        box.process["capabilities"][s] = caps
    try:
        box.mount("/vol", "bind", vol, "rbind", "rshared")
        for value, reaches in (("shared", True), ("rshared", True), ("slave", False),
                               ("rprivate", False), (None, False)):
            box.linux.pop("rootfsPropagation", None)
            if value:
                box.linux["rootfsPropagation"] = value
            box.run("mount -t tmpfs none /vol/sub && touch /vol/sub/inside", ok=True)
            assert os.path.exists(vol + "/sub/inside") == reaches, value
            if reaches:
                sh("umount", vol + "/sub")
        # The host's unmount of the root, and the container's end, leave the host alone.
        assert os.path.isdir(vol + "/sub") and os.path.exists("/proc/self")
        for value, field in (("shared", "shared:"), ("rslave", "master:"), ("private", None),
                             ("unbindable", "unbindable")):
            box.linux["rootfsPropagation"] = value
            _, _, fields = options(box, "/")
            assert (not fields) if field is None else \
                any(f.startswith(field) for f in fields) or value == "rslave", (value, fields)
    finally:
        sh("umount", "-l", vol)


def test_a_shared_root_stays_out_of_the_host(box):
    def host():
        return [l.split()[3:6] for l in read("/proc/self/mountinfo").splitlines()]
    # The root on a mount of its own: else what parts that from its peers parts / as well.
    sh("mount", "--bind", box.root, box.root)
    sh("mount", "--make-rshared", "/")
    try:
        before = host()
        for value in ("shared", "rshared", "rslave"):
            for flags in ((), ("--no-pivot",)):
                box.linux["rootfsPropagation"] = value
                r = box.run("mkdir -p /tmp/x; test -x /bin/busybox", *flags)
                assert r.rc == 0, (value, flags, r)
                assert host() == before, (value, flags, set(map(tuple, host())) ^
                                          set(map(tuple, before)))
    finally:
        sh("mount", "--make-rprivate", "/")
        sh("umount", box.root)


# ---- namespaces

def test_a_user_namespace_by_path_with_new_namespaces(box):
    p = subprocess.Popen(["unshare", "-U", "sleep", "100"])
    try:
        wait_for("the namespace", lambda: os.readlink(f"/proc/{p.pid}/ns/user") !=
                 os.readlink("/proc/self/ns/user"))
        for f in ("uid_map", "gid_map"):
            with open(f"/proc/{p.pid}/{f}", "w") as o:
                o.write("0 0 4294967295\n")
        box.ns("user", f"/proc/{p.pid}/ns/user")
        r = box.run("readlink /proc/self/ns/user; id -u; echo $$; hostname inside && hostname")
        assert r.rc == 0 or "hostname" in r.err, r
        assert r.out.splitlines()[:3] == [os.readlink(f"/proc/{p.pid}/ns/user"), "0", "1"], r
        up(box)
        r = box.oci("exec", "c", "readlink", "/proc/self/ns/user", ok=True)
        assert r.out.strip() == os.readlink(f"/proc/{p.pid}/ns/user")
        assert alive(box.state()["pid"])
        other = Box()
        try:
            # Beneath a pid namespace that another process was made in: numbers differ in there.
            other.ns("user", f"/proc/{p.pid}/ns/user")
            other.ns("pid", f"/proc/{box.state()['pid']}/ns/pid")
            other.up()
            pid = other.state()["pid"]
            assert "umiak-oci" in read(f"/proc/{pid}/cgroup") or other.name in \
                read(f"/proc/{pid}/cgroup"), pid
            assert other.oci("exec", "c", "id", "-u", ok=True).out == "0\n"
        finally:
            other.close()
        box.oci("delete", "--force", "c", ok=True)
        box.save("true")
        r = box.oci("run", "--bundle", box.bundle, "--as-sibling", "c")
        assert r.rc and "user namespace by path" in r.err, r
        assert not box.left(), box.left()
    finally:
        p.kill()
        p.wait()


def test_a_mount_namespace_by_path(box):
    p = subprocess.Popen(["unshare", "--mount", "sleep", "1000"])
    try:
        own = os.readlink("/proc/self/ns/mnt")
        wait_for("the namespace", lambda: os.readlink(f"/proc/{p.pid}/ns/mnt") != own)
        there = os.readlink(f"/proc/{p.pid}/ns/mnt")
        box.ns("mount", f"/proc/{p.pid}/ns/mnt")
        box.mount("/etc", "tmpfs", "tmpfs")
        up(box)
        assert os.readlink(f"/proc/{box.state()['pid']}/ns/mnt") == there
        r = box.oci("exec", "c", "sh", "-c", "ls /; ls -a /etc; readlink /proc/self/ns/mnt", ok=True)
        assert r.out.split() == ["bin", "dev", "etc", "proc", "root", "sys", "tmp", ".", "..", there], r
        assert box.dir not in read("/proc/self/mountinfo")
    finally:
        p.kill()
        p.wait()
        box.oci("delete", "--force", "c", ok=True)


def test_the_mount_namespaces_of_others_are_left_alone(box):
    """Whose root would be exchanged. Played in namespaces that may be lost."""
    for path in ("/proc/self/ns/mnt", "/proc/1/ns/mnt"):
        box.ns("mount", path)
        box.save("true")
        r = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c",
                            'unshare --mount "$@"; e=$?; exit $e', "sh",
                            *box.argv("run", "--bundle", box.bundle, "c")],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
        assert r.returncode and "linux.namespaces: mount" in r.stderr and "the host's" in r.stderr, r
    assert not box.left(), box.left()


# ---- without a process

def test_a_container_without_a_process_is_created_but_not_started(box):
    process = box.config.pop("process")
    box.process = {}
    with open(box.path("bundle", "config.json"), "w") as f:
        json.dump(box.config, f)
    box.oci("create", "--bundle", box.bundle, "c", ok=True)
    assert box.state()["status"] == "created"
    r = box.oci("exec", "c", "true")
    assert r.rc and "--process" in r.err, r
    with open(box.path("p.json"), "w") as f:
        json.dump({"cwd": "/", "args": ["true"]}, f)
    box.oci("exec", "--process", box.path("p.json"), "c", ok=True)
    r = box.oci("start", "c")
    assert r.rc and "process: is not set" in r.err, r
    wait_for("the end", lambda: box.state()["status"] == "stopped")
    box.oci("delete", "c", ok=True)
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc and "process: is required" in r.err, r
    assert not box.left(), box.left()
    box.config["process"] = box.process = process


# ---- mounts

def test_a_file_systems_options_mean_nothing_on_a_bind_mount(box):
    os.mkdir(box.path("src"))
    box.mount("/mnt", "bind", box.path("src"), "rbind", "nosuid", "mode=755", "size=1k")
    r = box.run("grep ' /mnt ' /proc/mounts")
    assert r.rc == 0 and "nosuid" in r.out and 'mounts[' in r.err and "mode=755" in r.err, r
    # A word is a mistyped option, perhaps one that protects.
    box.config["mounts"][-1]["options"] = ["rbind", "nosiud"]
    box.refused("nosiud", "bind mount")


# ---- process

def test_exec_cpu_affinity(box):
    mine = sorted(os.sched_getaffinity(0))
    up(box)
    p = {"cwd": "/", "args": ["grep", "Cpus_allowed_list", "/proc/self/status"],
         "execCPUAffinity": {"initial": str(mine[0]), "final": str(mine[-1])}}
    file = box.path("p.json")

    def run():
        with open(file, "w") as f:
            json.dump(p, f)
        return box.oci("exec", "--process", file, "c")
    assert run().out.split()[-1] == str(mine[-1]), run()
    p["execCPUAffinity"] = {"final": f"{mine[0]}-{mine[0]},{mine[-1]}"}
    assert run().rc == 0, run()
    for bad in ("x", "1-", "-1", "3-1", "1,,2", "99999999999", "0-99999", "1 2", ","):
        for key in ("initial", "final"):
            p["execCPUAffinity"] = {key: bad}
            r = run()
            assert r.rc == 255 and "execCPUAffinity" in r.err and key in r.err, (bad, r)
    p["execCPUAffinity"] = {"initial": "1023"}
    r = run()
    assert r.rc == 255 and "execCPUAffinity.initial" in r.err, r


def test_scheduler_and_io_priority_of_exec(box):
    up(box)
    with open(box.path("p.json"), "w") as f:
        json.dump({"cwd": "/", "args": ["sh", "-c", "cat /proc/self/stat; ionice"],
                   "scheduler": {"policy": "SCHED_BATCH", "nice": 7},
                   "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 6}}, f)
    r = box.oci("exec", "--process", box.path("p.json"), "c", ok=True)
    stat = r.out.split()
    assert stat[18] == "7" and stat[40] == "3", r
    assert "best-effort: prio 6" in r.out, r


def test_memory_policy(box):
    if not os.path.exists("/proc/self/numa_maps"):
        raise Skip("no NUMA in this kernel")
    known = json.loads(box.oci("features", ok=True).out)["linux"]["memoryPolicy"]
    assert len(known["modes"]) == 7 and len(known["flags"]) == 3, known
    for policy, seen in (({"mode": "MPOL_LOCAL"}, "local"),
                         ({"mode": "MPOL_DEFAULT", "nodes": ""}, "default"),
                         ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
                         ({"mode": "MPOL_INTERLEAVE", "nodes": "0-0"}, "interleave:0"),
                         ({"mode": "MPOL_PREFERRED", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
                          "prefer=static:0")):
        box.linux["memoryPolicy"] = policy
        r = box.run("cat /proc/self/numa_maps", ok=True)
        assert all(l.split()[1] == seen for l in r.out.splitlines()), (policy, r)
    up(box)
    r = box.oci("exec", "c", "cat", "/proc/self/numa_maps", ok=True)
    assert r.out.splitlines()[0].split()[1] == "prefer=static:0", r
    box.oci("delete", "--force", "c", ok=True)
    both = ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]
    for policy, word in (({}, "mode"), ({"mode": "MPOL_ANY"}, "mode"), ({"mode": 2}, "mode"),
                         ({"mode": "MPOL_BIND", "nodes": "0", "flags": ["X"]}, "flags"),
                         ({"mode": "MPOL_BIND", "nodes": "0", "flags": both}, "flags"),
                         ({"mode": "MPOL_BIND", "nodes": "1-"}, "nodes"),
                         ({"mode": "MPOL_BIND", "nodes": "0-99999"}, "nodes"),
                         ({"mode": "MPOL_BIND", "nodes": "-1"}, "nodes"),
                         ({"mode": "MPOL_BIND"}, "memoryPolicy"),
                         ({"mode": "MPOL_BIND", "nodes": "1000"}, "memoryPolicy"),
                         ({"mode": "MPOL_LOCAL", "nodes": "0"}, "memoryPolicy")):
        box.linux["memoryPolicy"] = policy
        box.refused("linux.memoryPolicy", word)


def test_fields_that_are_refused(box):
    for path, value, word in (
            (("process", "user", "username"), "x", "username"),
            (("process", "commandLine"), "x", "commandLine"),
            (("linux", "personality"), {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]}, "flags"),
            (("linux", "personality"), {"domain": "PLAN9"}, "domain"),
            (("linux", "resources", "rdma"), {"mlx5_1": {"hcaHandles": 3}}, "rdma"),
            (("linux", "intelRdt"), {"closID": "x"}, "intelRdt"),
            (("linux", "netDevices"), {"eth0": {}}, "netDevices"),
            (("process", "apparmorProfile"), "a\nb", "apparmorProfile"),
            (("process", "selinuxLabel"), 1, "selinuxLabel"),
            (("linux", "mountLabel"), "x" * 600, "mountLabel")):
        kept = json.loads(json.dumps(box.config))
        at = box.config
        for p in path[:-1]:
            at = at.setdefault(p, {})
        at[path[-1]] = value
        box.process = box.config["process"]
        box.refused(word)
        box.config = kept
        box.process, box.linux = kept["process"], kept["linux"]


# ---- resources

def v1(controller):
    return os.path.exists(f"{CGROUPS}/{controller}/cgroup.procs")


def test_network_classes_and_priorities(box):
    box.linux["resources"] = {"network": {"classID": 0x100001}}
    if not v1("net_cls"):
        box.refused("network.classID")
    else:
        up(box)
        assert read(box.cgroup_file("net_cls.classid", "")).strip() == str(0x100001)
        box.oci("delete", "--force", "c", ok=True)
    box.linux["resources"] = {"network": {"priorities": [{"name": "lo", "priority": 7}]}}
    if not v1("net_prio"):
        box.refused("network.priorities")
    else:
        up(box)
        assert "lo 7" in read(box.cgroup_file("net_prio.ifpriomap", ""))
        box.oci("delete", "--force", "c", ok=True)
    for bad in ({"name": "a b", "priority": 1}, {"name": "", "priority": 1}, {"name": "lo"},
                {"name": "x" * 16, "priority": 1}, {"name": "lo", "priority": -1},
                {"name": "lo", "priority": 1 << 32}):
        box.linux["resources"] = {"network": {"priorities": [bad]}}
        box.refused("network.priorities[0]")
    box.linux["resources"] = {"network": {"classID": 1 << 32}}
    box.refused("network.classID")


def test_huge_pages_with_reservations(box):
    roots = glob.glob(f"{CGROUPS}/hugetlb/hugetlb.*.limit_in_bytes") + \
        glob.glob(f"{CGROUPS}/unified/*/hugetlb.*.max") + glob.glob(f"{CGROUPS}/*/hugetlb.2MB.max")
    box.linux["resources"] = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
    if not roots:
        r = box.run("true")
        assert r.rc == 0 or "hugetlb" in r.err, r
        return
    up(box)
    files = [f for c in box.cgroups() for f in glob.glob(c + "/hugetlb.2MB*")
             if f.endswith((".max", ".limit_in_bytes"))]
    assert files and all(read(f).strip() == str(4 << 20) for f in files), files


def test_weights_of_block_devices(box):
    for bad, word in (({"major": 8, "minor": 0, "weight": 5}, "weight"),
                      ({"major": 8, "minor": 0}, "weight"),
                      ({"major": 8, "minor": 0, "weight": 1001}, "weight"),
                      ({"major": 8, "minor": 0, "leafWeight": 10}, "leafWeight"),
                      ({"minor": 0, "weight": 10}, "major")):
        box.linux["resources"] = {"blockIO": {"weightDevice": [bad]}}
        box.refused("weightDevice[0]", word)
    box.linux["resources"] = {"blockIO": {"weightDevice": [{"major": 8, "minor": 0,
                                                            "weight": 100}]}}
    r = box.run("true")
    assert r.rc == 0 or "weight" in r.err or "blockIO" in r.err, r


def test_check_before_update(box):
    box.linux["resources"] = {"memory": {"limit": 64 << 20, "checkBeforeUpdate": True}}
    up(box)
    r = box.oci("update", "-r", "-", "c",
                input='{"memory": {"limit": 4096, "checkBeforeUpdate": true}}')
    assert r.rc and "memory" in r.err, r
    assert box.state()["status"] == "running"
    assert read(box.cgroup_file("memory.limit_in_bytes", "memory.max")).strip() == str(64 << 20)


# ---- hooks, rootless

def test_a_hook_that_hangs_is_killed_with_its_children(box):
    hook = box.path("hook")
    with open(hook, "w") as f:
        f.write(f"#!/bin/sh\nsleep 1000 & echo $! >{box.path('child')}\nsleep 1000\n")
    os.chmod(hook, 0o755)
    box.config["hooks"] = {"createRuntime": [{"path": hook, "timeout": 1}]}
    box.refused("error running createRuntime hook #0", "timed out after 1 s")
    child = int(read(box.path("child")))
    wait_for("the child's end", lambda: not alive(child))


def test_rootless(box):
    """As an ordinary user, with the bundle that `spec --rootless` writes."""
    user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]
    sh("chown", "-R", "1000:1000", box.dir)
    os.unlink(box.path("bundle", "config.json"))
    run = dict(check=False, cwd=box.bundle)
    sh(*user, *box.argv("spec", "--rootless"), cwd=box.bundle)
    config = json.loads(read(box.path("bundle", "config.json")))
    assert config["linux"]["uidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 1}]
    config["process"]["terminal"] = False
    config["process"]["args"] = ["sh", "-c", "id -u; echo $$; touch /tmp/made; hostname"]
    config["root"]["readonly"] = False
    with open(box.path("bundle", "config.json"), "w") as f:
        json.dump(config, f)
    out = sh(*user, *box.argv("run", "c"), **run)
    assert out == "0\n1\numiak\n", out
    assert os.stat(box.root + "/tmp/made").st_uid == 1000
    # exec: what the caller may not before it is in the user namespace.
    config["process"]["args"] = ["sh", "-c", "touch /tmp/up; exec sleep 1000"]
    with open(box.path("bundle", "config.json"), "w") as f:
        json.dump(config, f)
    quiet = ["sh", "-c", 'exec "$@" >/dev/null 2>&1', "sh"]  # what stays must not hold our pipe
    sh(*user, *quiet, *box.argv("run", "--detach", "c"), cwd=box.bundle)
    wait_for("the program", lambda: os.path.exists(box.root + "/tmp/up"))
    out = sh(*user, *box.argv("exec", "c", "sh", "-c",
                              "id -u; hostname; cat /proc/1/cmdline | tr '\\0' ' '; ls /proc/1/fd >/dev/null && echo seen"))
    assert out == "0\numiak\nsleep 1000 seen\n", out
    with open(box.path("p.json"), "w") as f:
        json.dump({"cwd": "/", "args": ["cat", "/proc/self/oom_score_adj"], "oomScoreAdj": 900}, f)
    assert sh(*user, *box.argv("exec", "--process", box.path("p.json"), "c")) == "900\n"
    file = box.path("state", "pid")
    sh(*user, *quiet, *box.argv("exec", "--detach", "--pid-file", file, "c", "sleep", "999"))
    assert read(f"/proc/{read(file)}/cmdline") == "sleep\0" "999\0"
    sh(*user, *box.argv("delete", "--force", "c"))
    # A limit that nobody enforces is refused.
    config["linux"]["resources"] = {"pids": {"limit": 5}}
    with open(box.path("bundle", "config.json"), "w") as f:
        json.dump(config, f)
    out = sh(*user, *box.argv("run", "c"), **run)
    assert out.startswith("umiak-oci: ") and ("cgroup" in out or "pids" in out), out
    out = sh(*user, *box.argv("--rootless", "false", "run", "c"), **run)
    assert out.startswith("umiak-oci: "), out


def test_rootless_with_ranges(box):
    """More ids than one's own come by newuidmap and newgidmap, and only those of /etc/sub?id."""
    tables = {"passwd": "root:x:0:0::/:/bin/sh\numtest:x:1000:1000::/:/bin/sh\n",
              "group": "root:x:0:\numtest:x:1000:\n",
              "subuid": "umtest:200000:65536\n", "subgid": "umtest:300000:65536\n"}
    for name, text in tables.items():
        with open(box.path(name), "w") as f:
            f.write(text)
        if not os.path.exists("/etc/" + name):
            open("/etc/" + name, "w").close()
        sh("mount", "--bind", box.path(name), "/etc/" + name)
    user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"]
    sh("chown", "-R", "1000:1000", box.dir)
    os.unlink(box.path("bundle", "config.json"))
    run = dict(check=False, cwd=box.bundle)
    sh(*user, *box.argv("spec", "--rootless"), cwd=box.bundle)
    config = json.loads(read(box.path("bundle", "config.json")))

    def save(first, args):
        for kind, base in (("uid", 200000), ("gid", 300000)):
            config["linux"][kind + "Mappings"] = [
                {"containerID": 0, "hostID": 1000, "size": 1},
                {"containerID": 1, "hostID": base + first, "size": 65536}]
        config["process"].update(terminal=False, args=args)
        config["root"]["readonly"] = False
        with open(box.path("bundle", "config.json"), "w") as f:
            json.dump(config, f)

    try:
        script = "id -u; id -G; cat /proc/self/setgroups; touch /tmp/mine; exec sleep 1000"
        config["process"]["user"] = {"uid": 33, "gid": 44, "additionalGids": [55]}
        os.chmod(box.root + "/tmp", 0o1777)
        log = box.path("log")
        save(0, ["sh", "-c", script])
        sh(*user, "sh", "-c", f'"$@" >{log} 2>&1 || {{ cat {log}; exit 1; }}', "sh", *box.argv("run", "--detach", "c"),
           cwd=box.bundle)
        wait_for("the program", lambda: os.path.exists(box.root + "/tmp/mine"))
        assert read(log) == "33\n44 55\nallow\n", read(log)
        st = os.stat(box.root + "/tmp/mine")
        assert (st.st_uid, st.st_gid) == (200032, 300043), st
        assert sh(*user, *box.argv("exec", "--user", "7:8", "c", "id")).split()[:2] == \
            ["uid=7", "gid=8"]
        sh(*user, *box.argv("delete", "--force", "c"))
        save(1, ["true"])  # one more than the table has
        out = sh(*user, *box.argv("run", "c"), **run)
        assert "newuidmap" in out and "/etc/subuid" in out, out
        save(0, ["true"])
        out = sh("env", "PATH=/nowhere", *[shutil.which(user[0]), *user[1:]], *box.argv("run", "c"),
                 **run)
        assert "newuidmap is not installed" in out, out
    finally:
        for name in tables:
            sh("umount", "/etc/" + name)


main(globals())
