#!/usr/bin/env python3
"""umiak-oci's commands beyond the life cycle: events, update by options, ps with arguments, pidfds,
exec's options, features; and how it refuses what it does not do."""
import array
import os
import re
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
make_node = Box

IDLE = "trap 'exit 0' TERM; touch /tmp/up; while :; do sleep 0.05; done"


def up(box, script=IDLE, *flags):
    box.up(script, *flags)
    wait_for("the program", lambda: os.path.exists(box.root + "/tmp/up"))


def lines(text):
    return [json.loads(l) for l in text.splitlines()]


def config(box):
    return json.loads(read(box.path("state", "c", "config.json")))


# ---- events

def test_events_stats_tells_once(box):
    box.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 33}}
    up(box)
    events = lines(box.oci("events", "--stats", "c", ok=True).out)
    assert len(events) == 1 and events[0]["type"] == "stats" and events[0]["id"] == "c", events
    data = events[0]["data"]
    assert {"cpu", "memory", "pids", "blkio", "hugetlb"} <= set(data), data
    assert data["memory"]["usage"]["limit"] == 64 << 20, data["memory"]
    assert 0 < data["memory"]["usage"]["usage"] < 64 << 20, data["memory"]
    assert data["memory"]["raw"], data["memory"]
    assert data["pids"]["limit"] == 33 and data["pids"]["current"] >= 1, data["pids"]
    assert data["cpu"]["usage"]["total"] > 0, data["cpu"]
    assert isinstance(data["blkio"]["ioServiceBytesRecursive"], list)


def test_events_come_at_the_interval_until_the_end(box):
    up(box)
    p = subprocess.Popen(box.argv("events", "--interval", "50ms", "c"), stdout=subprocess.PIPE)
    for _ in range(3):
        assert json.loads(p.stdout.readline())["type"] == "stats"
    box.oci("kill", "c", "KILL", ok=True)
    out, _ = p.communicate(timeout=30)
    assert p.returncode == 0, (p.returncode, out)


def test_events_tell_of_oom_kills(box):
    box.linux["resources"] = {"memory": {"limit": 16 << 20, "swap": 16 << 20}}
    up(box, "touch /tmp/up; while [ ! -e /tmp/go ]; do sleep 0.05; done; "
            "(a=x; while :; do a=$a$a; done); sleep 100")
    p = subprocess.Popen(box.argv("events", "--interval", "1h", "c"), stdout=subprocess.PIPE)
    assert json.loads(p.stdout.readline())["type"] == "stats"
    open(box.root + "/tmp/go", "w").close()
    assert json.loads(p.stdout.readline()) == {"type": "oom", "id": "c"}
    box.oci("kill", "c", "KILL", ok=True)
    p.communicate(timeout=30)


def test_events_of_a_stopped_container_and_bad_intervals(box):
    for bad in ("0s", "5", "-1s", "s", "1d", "", "99999999999999999999s"):
        r = box.oci("events", "--interval", bad, "c")
        assert r.rc and "--interval" in r.err, (bad, r)
    up(box)
    box.oci("kill", "c", "KILL", ok=True)
    wait_for("its end", lambda: box.state()["status"] == "stopped")
    for args in (("events", "c"), ("events", "--stats", "c")):
        r = box.oci(*args)
        assert r.rc and "container not running" in r.err, r


# ---- update

def test_update_by_options(box):
    up(box)
    box.oci("update", "--memory", "32m", "--pids-limit", "44", "--cpu-shares", "512",
            "--cpu-period", "50000", "--cpu-quota", "25000", "c", ok=True)
    assert read(box.cgroup_file("memory.limit_in_bytes", "memory.max")).strip() == str(32 << 20)
    assert read(box.cgroup_file("pids.max", "pids.max")).strip() == "44"
    res = config(box)["linux"]["resources"]
    assert res["memory"]["limit"] == 32 << 20 and res["pids"]["limit"] == 44, res
    assert res["cpu"] == {"shares": 512, "period": 50000, "quota": 25000}, res
    box.oci("update", "--memory", "-1", "--cpu-quota", "-1", "c", ok=True)
    res = config(box)["linux"]["resources"]
    assert res["memory"] == {"limit": -1, "swap": -1} and res["pids"]["limit"] == 44, res


def test_update_merges_into_the_saved_configuration(box):
    box.linux["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 10}}
    up(box)
    box.oci("update", "--resources", "-", "c", ok=True,
            input=json.dumps({"pids": {"limit": 20}, "memory": {"reservation": 1 << 20}}))
    assert config(box)["linux"]["resources"] == {
        "memory": {"limit": 64 << 20, "reservation": 1 << 20}, "pids": {"limit": 20}}
    # What fails changes nothing that is saved.
    r = box.oci("update", "--resources", "-", "c", input='{"unified": {"../x": "1"}}')
    assert r.rc and "unified" in r.err, r
    assert config(box)["linux"]["resources"]["pids"] == {"limit": 20}
    box.oci("exec", "c", "true", ok=True)


def test_update_leaves_alone_what_is_zero(box):
    """docker update sends every field, 0 or an empty string where nothing was asked for."""
    before = {"memory": {"limit": 64 << 20, "reservation": 8 << 20}, "cpu": {"shares": 512}}
    box.linux["resources"] = before
    up(box)
    box.oci("update", "--resources", "-", "c", ok=True, input=json.dumps({
        "memory": {"limit": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0, "swap": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": "",
                "realtimeRuntime": 0, "realtimePeriod": 0}, "blockIO": {"weight": 0}}))
    assert read(box.cgroup_file("memory.limit_in_bytes", "memory.max")).strip() == str(64 << 20)
    res = config(box)["linux"]["resources"]
    assert {k: res[k] for k in before} == before, res
    r = box.oci("update", "--resources", "-", "c", input='{"memory": {"kernel": 1048576}}')
    assert r.rc and "resources.memory: kernel" in r.err, r


def test_update_refuses_nonsense(box):
    up(box)
    file = box.path("res")
    with open(file, "w") as f:
        f.write("{}")
    for args, word in ((("--memory", "12q"), "memory.limit"), (("--memory", ""), "memory.limit"),
                       (("--memory", "-2"), "memory.limit"),
                       (("--memory", "9999999999999999999"), "memory.limit"),
                       (("--memory", "9223372036854775807g"), "memory.limit"),
                       (("--cpu-shares", "many"), "cpu.shares"), (("--cpu-idle", "2"), "idle"),
                       (("--blkio-weight", "5000"), "weight"), ((), "nothing to change"),
                       (("--pids-limit", "1.5"), "pids.limit"),
                       (("-r", file, "--memory", "1m"), "--resources"),
                       (("--kernel-memory", "1m"), "--kernel-memory")):
        r = box.oci("update", *args, "c")
        assert r.rc == 1 and word in r.err, (args, r)


# ---- pidfds, exec

def listening(box, name):
    s = socket.socket(socket.AF_UNIX)
    s.bind(box.path(name))
    s.listen(1)
    s.settimeout(30)
    return s


def received(s):
    c, _ = s.accept()
    c.settimeout(30)
    _, control, _, _ = c.recvmsg(64, socket.CMSG_SPACE(4))
    assert control and control[0][1] == socket.SCM_RIGHTS, control
    return array.array("i", control[0][2][:4])[0]


def pid_of(fd):
    info = read(f"/proc/self/fdinfo/{fd}")
    return int(re.search(r"^Pid:\s+(\d+)", info, re.M).group(1))


def test_pidfd_socket(box):
    s = listening(box, "s")
    box.create("--pidfd-socket", box.path("s"), script=IDLE, ok=True)
    fd = received(s)
    assert pid_of(fd) == box.state()["pid"]
    box.oci("start", "c", ok=True)
    wait_for("the program", lambda: os.path.exists(box.root + "/tmp/up"))
    box.oci("exec", "--detach", "--pid-file", box.path("pid"), "--pidfd-socket", box.path("s"),
            "c", "sleep", "100", ok=True)
    assert pid_of(received(s)) == int(read(box.path("pid")))


def test_pidfd_socket_that_is_not_there(box):
    r = box.run("true", "--pidfd-socket", box.path("none"))
    assert r.rc and "--pidfd-socket" in r.err, r
    assert not box.left(), box.left()


def test_exec_follows_the_first_process_into_a_sub_cgroup(box):
    """A group whose children have controllers takes no process: systemd in a container makes it so."""
    box.up("exec sleep 1000")
    group = next(g for g in box.cgroups() if os.path.exists(g + "/cgroup.subtree_control"))
    controller = read(group + "/cgroup.controllers").split()[0]
    os.mkdir(group + "/inner")
    pid = box.state()["pid"]
    wait_for("the program", lambda: read(f"/proc/{pid}/comm") == "sleep\n")
    for file, text in (("inner/cgroup.procs", str(pid)), ("cgroup.subtree_control", "+" + controller)):
        with open(f"{group}/{file}", "w") as f:
            f.write(text)
    try:
        r = box.oci("exec", "c", "cat", "/proc/self/cgroup", ok=True)
        assert "0::/inner" in r.out.splitlines(), r
        r = box.oci("exec", "--cgroup", "/", "c", "true")
        assert r.rc and "to cgroups" in r.err and "busy" in r.err, r
        r = box.oci("exec", "--cgroup", "/inner", "c", "true")
        assert r.rc == 0 or "does not exist in hierarchy" in r.err, r
    finally:
        box.oci("delete", "--force", "c", ok=True)
    assert not box.left(), box.left()


def test_exec_in_a_sub_cgroup(box):
    up(box)
    dirs = box.cgroups()
    for d in dirs:
        os.mkdir(d + "/sub")
        if os.path.exists(d + "/sub/cpuset.cpus") and os.path.exists(d + "/sub/cpuset.mems"):
            for f in ("cpuset.cpus", "cpuset.mems"):
                with contextlib.suppress(OSError), open(f"{d}/sub/{f}", "w") as o:
                    o.write(read(f"{d}/{f}"))
    box.oci("exec", "--detach", "--pid-file", box.path("pid"), "--cgroup", "sub", "c", "sleep",
            "100", ok=True)
    pid = read(box.path("pid")).strip()
    for d in dirs:
        assert pid in read(d + "/sub/cgroup.procs").split(), d
    assert box.oci("exec", "--cgroup", "/", "c", "true").rc == 0
    for bad, word in (("none", "--cgroup"), ("../..", "--cgroup"), ("cpu:sub", "--cgroup")):
        r = box.oci("exec", "--cgroup", bad, "c", "true")
        assert r.rc == 255 and word in r.err, (bad, r)


def test_exec_in_a_paused_container(box):
    up(box)
    box.oci("pause", "c", ok=True)
    r = box.oci("exec", "c", "true")
    assert r.rc == 255 and "paused" in r.err, r
    p = subprocess.Popen(box.argv("exec", "--ignore-paused", "c", "sh", "-c", "exit 6"))
    box.oci("resume", "c", ok=True)
    assert p.wait(30) == 6


def test_labels_without_their_module_are_refused(box):
    up(box)
    for option, module in (("--apparmor", "apparmor"), ("--process-label", "selinux")):
        if os.path.exists(f"/sys/module/{module}") or os.path.exists(f"/sys/fs/{module}"):
            continue
        r = box.oci("exec", option, "x", "c", "true")
        assert r.rc == 255 and "not enabled on this host" in r.err, r


# ---- ps, list, features, the rest

def test_ps_with_arguments(box):
    up(box)
    pid = str(box.state()["pid"])
    r = box.oci("ps", "c", "-o", "comm,pid", ok=True)
    rows = [l.split() for l in r.out.splitlines()]
    assert rows[0] == ["COMMAND", "PID"] and [r[1] for r in rows[1:]].count(pid) == 1, r
    every = json.loads(box.oci("ps", "-f", "json", "c", ok=True).out)
    r = box.oci("ps", "c", "-ef", ok=True)
    assert len(r.out.splitlines()) <= len(every) + 3 and pid in r.out, r
    for bad in (("c", "-o", "comm"), ("c", "--nonsense")):
        assert box.oci("ps", *bad).rc == 1


def test_features_are_complete(box):
    f = json.loads(box.oci("features", ok=True).out)
    assert f["hooks"] == ["prestart", "createRuntime", "createContainer", "startContainer",
                          "poststart", "poststop"], f["hooks"]
    must = {"iversion", "noiversion", "lazytime", "nolazytime", "silent", "loud", "nosymfollow",
            "rsymfollow", "tmpcopyup", "idmap", "ridmap",
            "mand", "nomand", "rro", "rnorelatime"}
    assert must <= set(f["mountOptions"]), must - set(f["mountOptions"])
    l = f["linux"]
    assert l["cgroup"] == {"v1": True, "v2": True, "systemd": l["cgroup"]["systemd"],
                           "systemdUser": l["cgroup"]["systemdUser"], "rdma": False}, l["cgroup"]
    s = l["seccomp"]
    assert s["enabled"] and "SCMP_ACT_NOTIFY" in s["actions"] and len(s["actions"]) == 9, s
    assert len(s["operators"]) == 7 and "SCMP_ARCH_X86_64" in s["archs"], s
    assert set(s["supportedFlags"]) <= set(s["knownFlags"]) and len(s["knownFlags"]) == 4, s
    assert l["apparmor"]["enabled"] and l["selinux"]["enabled"]
    assert l["intelRdt"]["enabled"] is False and l["netDevices"]["enabled"] is False
    assert l["mountExtensions"]["idmap"]["enabled"] is True
    assert "MPOL_INTERLEAVE" in l["memoryPolicy"]["modes"]
    assert "MPOL_F_STATIC_NODES" in l["memoryPolicy"]["flags"]
    assert f["potentiallyUnsafeConfigAnnotations"] == ["org.systemd.property.", "org.umiak.landlock.",
                                                       "run.oci."]
    assert re.match(r"\d+\.\d+\.\d+$", f["annotations"]["io.github.seccomp.libseccomp.version"])


def test_checkpoint_and_restore_are_refused(box):
    up(box)
    for args in (("checkpoint", "--image-path", "/tmp/x", "c"), ("restore", "--detach", "c")):
        r = box.oci(*args)
        assert r.rc == 1 and args[0] + ":" in r.err and "not supported" in r.err, r
    assert box.state()["status"] == "running"


def test_log_levels(box):
    box.process["capabilities"]["bounding"].append("CAP_UNHEARD_OF")
    assert "CAP_UNHEARD_OF" in box.run("true").err
    r = box.oci("--log-level", "error", "run", "--bundle", box.bundle, "c", ok=True)
    assert "CAP_UNHEARD_OF" not in r.err, r
    log = box.path("log")
    box.oci("--debug", "--log", log, "--log-format", "json", "list", ok=True)
    assert lines(read(log))[0]["level"] == "debug" and "list" in lines(read(log))[0]["msg"]
    assert box.oci("--log-level", "loud", "list").rc == 1


main(globals())
