#!/usr/bin/env python3
"""What callers of runc rely on and the specification does not say, or says in passing."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()

make_node = Box


def give_userns(box):
    box.ns("user")
    box.linux["uidMappings"] = box.linux["gidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 65536}]
    sh("chown", "-R", "100000:100000", box.root)
    box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "cgroup"]


def status(out, name):
    return next(line.split(":")[1].strip() for line in out.splitlines()
                if line.startswith(name + ":"))


# ---- terminals and processes

def test_lines_of_a_terminal_end_as_they_were_written(box):
    box.process["terminal"] = True
    r = box.run("echo a; echo b")
    assert r.rc == 0 and r.out == "a\nb\n", repr(r.out)
    box.process["terminal"] = False
    box.up()
    r = box.oci("exec", "--tty", "c", "sh", "-c", "echo a; echo b", ok=True)
    assert r.out == "a\nb\n", repr(r.out)


def test_a_terminal_shows_what_a_failed_start_said(box):
    box.process["terminal"] = True
    box.config["hooks"] = {"startContainer": [{"path": "/bin/cat", "args": ["cat", "/nosuchfile"]}]}
    r = box.run("true")
    assert r.rc and "/nosuchfile" in r.out and "startContainer hook #0" in r.err, r


def test_the_environment_has_each_variable_once(box):
    box.process["env"] = ["PATH=/bin", "A=1", "B=2", "A=3", "HOME=/x", "HOME="]
    r = box.run("true")
    box.save("env")
    r = box.oci("run", "--bundle", box.bundle, "c", ok=True)
    assert sorted(r.out.split()) == ["A=3", "B=2", "HOME=/root", "PATH=/bin"], r


def test_the_working_directory_is_entered_by_root_or_by_the_user(box):
    os.mkdir(box.root + "/closed")
    os.chmod(box.root + "/closed", 0o700)
    box.process.update(cwd="/closed", user={"uid": 1000, "gid": 1000})
    r = box.run("id -u")
    assert r.rc == 0 and r.out == "1000\n", r
    os.chown(box.root + "/closed", 1000, 1000)
    box.process["capabilities"] = {}
    box.up()
    r = box.oci("exec", "--user", "0", "c", "id", "-u")
    assert r.rc == 0 and r.out == "0\n", r


def test_cpus_are_the_cgroups_and_not_the_callers(box):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return
    wanted = sh("sh", "-c", "grep Cpus_allowed_list: /proc/self/status")
    box.save(sh="grep Cpus_allowed_list: /proc/self/status; sleep 100")
    one = ["taskset", "-c", str(cpus[0])]
    subprocess.run([*one, *box.argv("create", "--bundle", box.bundle, "c")], check=True, timeout=60,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    box.oci("start", "c", ok=True)
    pid = box.state()["pid"]
    wait_for("the shell", lambda: "Cpus_allowed_list" in read(f"/proc/{pid}/status"))
    assert wanted.strip() in read(f"/proc/{pid}/status"), wanted
    out = sh(*one, *box.argv("exec", "c", "grep", "Cpus_allowed_list:", "/proc/self/status"))
    assert out == wanted, (out, wanted)


def test_exec_has_the_personality(box):
    box.linux["personality"] = {"domain": "LINUX32"}
    box.up()
    assert box.oci("exec", "c", "uname", "-m", ok=True).out == "i686\n"


def test_signals_end_a_created_container(box):
    for sig in ("TERM", "INT", "HUP", "USR1"):
        box.create(ok=True)
        box.oci("kill", "c", sig, ok=True)
        wait_for("its end", lambda: box.state()["status"] == "stopped")
        box.oci("delete", "c", ok=True)


def test_kill_reaches_all_where_pids_are_shared(box):
    box.ns("pid", remove=True)
    for leave_init in (True, False):
        box.up("sleep 1000 & sleep 1000 & touch /tmp/up; sleep 1000")
        wait_for("the program", lambda: os.path.exists(box.root + "/tmp/up"))
        os.unlink(box.root + "/tmp/up")
        pids = [int(p) for p in json.loads(box.oci("ps", "--format", "json", "c", ok=True).out)]
        assert len(pids) >= 3, pids
        if not leave_init:
            os.kill(box.state()["pid"], signal.SIGKILL)
            wait_for("the init's end", lambda: box.state()["status"] == "stopped")
        box.oci("kill", "c", "KILL", ok=True)
        wait_for("their end", lambda: not any(alive(p) for p in pids))
        box.oci("delete", "c", ok=True)


# ---- capabilities

def test_unknown_capabilities_are_warned_of(box):
    box.process["capabilities"]["bounding"] = ["CAP_UNKNOWN", "UNKNOWN_CAP", "CAP_KILL"]
    r = box.run("true")
    assert r.rc == 0 and "CAP_UNKNOWN" in r.err and "UNKNOWN_CAP" in r.err, r


def test_ambient_capabilities(box):
    caps = {"bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_SYSLOG"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN", "CAP_SYSLOG"],
            "ambient": ["CAP_CHOWN", "CAP_KILL"]}
    box.process["capabilities"] = caps
    r = box.run("cat /proc/self/status")
    assert r.rc == 0 and status(r.out, "CapAmb") == "0" * 15 + "1", r
    assert "can't raise ambient capability CAP_KILL" in r.err and "CAP_CHOWN" not in r.err, r
    caps["ambient"] = ["CAP_CHOWN"]
    box.up()
    r = box.oci("exec", "--cap", "CAP_SYSLOG", "c", "cat", "/proc/self/status", ok=True)
    assert status(r.out, "CapAmb") == "0000000400000001", r
    assert status(r.out, "CapInh") == "0000000400000001", r


# ---- hooks

def test_hooks_without_an_environment_have_the_runtimes(box):
    script = 'echo "$MARK in $PWD" >>' + box.path("log")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    box.config["hooks"] = {"createRuntime": [hook], "createContainer": [hook],
                           "poststop": [dict(hook, env=["MARK=own"])]}
    box.save("true")
    subprocess.run(box.argv("run", "--bundle", box.bundle, "c"), check=True, timeout=60,
                   env=dict(os.environ, MARK="ours"), cwd="/")
    assert read(box.path("log")).splitlines() == ["ours in /", f"ours in {box.root}", "own in /"], \
        read(box.path("log"))


def test_the_start_hook_is_confined_as_the_program_is(box):
    """Its path is the container's: what stands there may do no more than the container's program."""
    box.process.update(user={"uid": 1000, "gid": 1000, "additionalGids": [7]}, cwd="/tmp",
                       env=["PATH=/bin", "MARK=ours"], noNewPrivileges=True)
    box.config["hooks"] = {"startContainer": [
        {"path": "/bin/sh", "args": ["sh", "-c", "(id; pwd; echo $MARK; cat /proc/self/status) >/tmp/h"]}]}
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]}
    r = box.run("(id; pwd; echo $MARK; cat /proc/self/status) >/tmp/p")
    assert r.rc == 0, r
    hook, program = read(box.root + "/tmp/h"), read(box.root + "/tmp/p")
    assert hook.splitlines()[:3] == program.splitlines()[:3], (hook, program)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid"):
        assert status(hook, name) == status(program, name), (name, hook)
    box.config["hooks"]["startContainer"][0]["args"][2] = "mkdir /tmp/x"
    r = box.run("true")
    assert r.rc and "startContainer hook #0" in r.err and "bad system call" in r.err, r
    assert not os.path.exists(box.root + "/tmp/x")


# ---- memory

def test_a_tmpfs_has_the_mode_of_what_it_hides(box):
    os.mkdir(box.root + "/data")
    os.chmod(box.root + "/data", 0o2710)
    box.mount("/data", "tmpfs", "tmpfs")
    box.mount("/new", "tmpfs", "tmpfs")
    assert box.run("stat -c %a /data /new").out.split() == ["2710", "1777"]
    box.config["mounts"][-2]["options"] = ["mode=0500"]
    assert box.run("stat -c %a /data").out.split() == ["500"]


def test_proc_and_sys_are_no_links(box):
    for name in ("proc", "sys"):
        os.rmdir(f"{box.root}/{name}")
        os.symlink("/other", f"{box.root}/{name}")
        box.refused("must be mounted on ordinary directory")
        os.unlink(f"{box.root}/{name}")
        os.mkdir(f"{box.root}/{name}")


def test_a_path_is_masked_once(box):
    os.mkdir(box.root + "/secret")
    box.linux["maskedPaths"] = ["/secret", "/secret", "/secret"]
    assert box.run("grep -c ' /secret ' /proc/mounts").out == "1\n"


def test_no_pivot_shows_no_bare_proc(box):
    """A process that makes a user namespace may mount another procfs while a whole one is there."""
    for name in ("bounding", "permitted", "effective"):
        box.process["capabilities"][name] = ["CAP_SETFCAP"]
    script = "unshare -mrpf sh -c 'mount -t proc none /proc && echo mounted'"
    for flags in ((), ("--no-pivot",)):
        r = box.run(script, *flags)
        assert r.rc and "mounted" not in r.out and "mount" in r.err, (flags, r)


# ---- user namespaces

def test_a_user_namespaces_mounts_from_where_its_root_may_not_go(box):
    closed = box.path("closed")
    os.makedirs(closed + "/a/sub")
    with open(closed + "/a/file", "w") as f:
        f.write("inside\n")
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", closed + "/a/sub")
    os.mkdir(closed + "/a/sub/there")
    os.chmod(closed, 0o700)
    try:
        give_userns(box)
        box.mount("/a", "none", closed + "/a/sub", "bind")
        box.mount("/b", "none", closed + "/a", "rbind", "ro")
        r = box.run("ls /a; cat /b/file; grep -c ' /b/sub ' /proc/mounts; "
                    "echo x 2>/dev/null >/b/file || echo no")
        assert r.out.split() == ["there", "inside", "1", "no"], r
        # What the host has locked stays locked.
        sh("mount", "-o", "remount,ro,bind", closed + "/a/sub")
        box.process["capabilities"] = {k: ["CAP_SYS_ADMIN"] for k in ("bounding", "permitted", "effective")}
        r = box.run("mount -o remount,rw,bind /b/sub && echo changed")
        assert "changed" not in r.out, r
        box.mount("/n", "none", closed + "/nothing", "bind")
        r = box.run("true")
        assert r.rc and closed + "/nothing" in r.err, r
    finally:
        sh("umount", closed + "/a/sub")


def test_sources_are_opened_when_the_mounts_before_are_there(box):
    """Also those that the runtime opens for the container: with mapped owners."""
    os.mkdir(box.path("source"))
    with open(box.path("source", "file"), "w") as f:
        f.write("inside\n")
    box.mount("/one", "none", box.path("source"), "bind")
    box.mount("/two", "none", box.root + "/one", "bind")
    box.config["mounts"][-1].update(
        uidMappings=[{"containerID": 0, "hostID": 5000, "size": 10}],
        gidMappings=[{"containerID": 0, "hostID": 5000, "size": 10}], type="bind")
    r = box.run("cat /two/file; stat -c %u /one/file /two/file")
    assert r.out.split() == ["inside", "0", "5000"], r


def test_a_user_namespace_with_namespaces_of_the_hosts_root(box):
    p = subprocess.Popen(["unshare", "--net", "--uts", "--ipc", "sleep", "1000"])
    t = subprocess.Popen(["unshare", "--time", "--fork", "sleep", "1000"])
    try:
        wait_for("the namespaces", lambda: "sleep" in read(f"/proc/{p.pid}/cmdline"))
        wait_for("the child", lambda: read(f"/proc/{t.pid}/task/{t.pid}/children").strip())
        child = read(f"/proc/{t.pid}/task/{t.pid}/children").strip()
        give_userns(box)
        del box.config["hostname"]
        box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "mqueue"]
        paths = {"network": f"/proc/{p.pid}/ns/net", "ipc": f"/proc/{p.pid}/ns/ipc",
                 "uts": f"/proc/{p.pid}/ns/uts", "time": f"/proc/{child}/ns/time"}
        for kind, path in paths.items():
            box.ns(kind, path)
        want = [os.readlink(paths[k]) for k in ("network", "ipc", "uts", "time")]
        before = [os.readlink(f"/proc/self/ns/{n}") for n in ("net", "ipc", "uts", "time", "user")]
        r = box.run("for n in net ipc uts time; do readlink /proc/self/ns/$n; done")
        assert r.out.split() == want, (r, want)
        box.up()
        r = box.oci("exec", "c", "sh", "-c", "for n in net ipc uts time; do readlink /proc/self/ns/$n; done",
                    ok=True)
        assert r.out.split() == want, (r, want)
        assert before == [os.readlink(f"/proc/self/ns/{n}")
                          for n in ("net", "ipc", "uts", "time", "user")]
    finally:
        for q in (p, t):
            q.kill()
            q.wait()
        with contextlib.suppress(OSError):
            os.kill(int(child), signal.SIGKILL)


# ---- cgroups

def test_a_frozen_cgroup_is_refused(box):
    """The container's first process would stop in it, and the caller wait for it."""
    for above in (False, True):
        group = f"{CGROUPS}/freezer/{box.name}" if os.path.isdir(f"{CGROUPS}/freezer") else \
            f"{CGROUPS}/{box.name}"
        leaf = group if above else group + "/c"
        os.makedirs(leaf, exist_ok=True)
        state, frozen, thawed = ("freezer.state", "FROZEN", "THAWED") if "freezer" in leaf else \
            ("cgroup.freeze", "1", "0")
        with open(f"{leaf}/{state}", "w") as f:
            f.write(frozen)
        try:
            r = box.run("true")
            assert r.rc and "unexpectedly frozen" in r.err, r
        finally:
            with open(f"{leaf}/{state}", "w") as f:
                f.write(thawed)
        if not above:
            assert os.path.isdir(leaf), "it was there before"
            os.rmdir(leaf)


def test_a_weight_where_bfq_has_the_file(box):
    box.linux["resources"] = {"blockIO": {"weight": 333}}
    probe = f"{CGROUPS}/blkio/{box.name}" if os.path.isdir(f"{CGROUPS}/blkio") else \
        f"{CGROUPS}/{box.name}"
    os.makedirs(probe)
    files = [f for f in os.listdir(probe) if f.endswith(".weight") and not f.startswith("cpu")]
    if files in (["blkio.bfq.weight"], ["io.bfq.weight"]):
        box.up()
        assert read(f"{probe}/c/{files[0]}").split()[-1] == "333"
    elif not files:
        box.refused("weight")


def test_quota_and_period_beneath_a_limit(box):
    parent = f"{CGROUPS}/cpu/{box.name}"
    if not os.path.isdir(f"{CGROUPS}/cpu"):
        return
    os.makedirs(parent)
    with open(parent + "/cpu.cfs_quota_us", "w") as f:
        f.write("50000")
    box.linux["resources"] = {"cpu": {"quota": 40000, "period": 100000}}
    box.up()
    assert box.oci("update", "--cpu-quota", "60000", "c").rc
    for period, quota in ((10000, 3000), (1000000, 400000), (20000, 10000)):
        box.oci("update", "--cpu-period", str(period), "--cpu-quota", str(quota), "c", ok=True)
        assert read(parent + "/c/cpu.cfs_period_us") == f"{period}\n"
        assert read(parent + "/c/cpu.cfs_quota_us") == f"{quota}\n"


# ---- the command line

def test_list_is_in_order_and_in_one_line(box):
    for name in ("b", "c", "a"):
        box.linux["cgroupsPath"] = f"/{box.name}/{name}"
        box.save("sleep", "100")
        box.oci("create", "--bundle", box.bundle, name, ok=True)
    try:
        out = box.oci("list", "--format", "json", ok=True).out
        assert out.count("\n") == 1 and [c["id"] for c in json.loads(out)] == ["a", "b", "c"], out
        assert box.oci("list", "-q", ok=True).out.split() == ["a", "b", "c"]
    finally:
        for name in ("a", "b"):
            box.oci("delete", "--force", name)


def test_spec_is_for_this_hosts_cgroups(box):
    os.mkdir(box.path("new"))
    box.oci("spec", "--bundle", box.path("new"), ok=True)
    kinds = [n["type"] for n in json.loads(read(box.path("new", "config.json")))["linux"]["namespaces"]]
    assert ("cgroup" in kinds) == os.path.exists(f"{CGROUPS}/cgroup.controllers"), kinds


main(globals())
