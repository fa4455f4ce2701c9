#!/usr/bin/env python3
"""What crun does, and its users rely on, where the specification leaves room."""
import os
import socket
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


def test_links_at_the_ends_of_a_bind_mount(box):
    """copy-symlink, src-nofollow and dest-nofollow, as crun has them."""
    os.mkdir(box.path("host"))
    for name, to in (("link", "file"), ("dangling", "/no/where")):
        os.symlink(to, box.path("host", name))
    with open(box.path("host", "file"), "w") as f:
        f.write("host\n")
    with open(box.root + "/target", "w") as f:
        f.write("target\n")
    os.symlink("target", box.root + "/here")
    look = "readlink /mnt/l; readlink /mnt/d; readlink /here; cat /target"
    kept = box.config["mounts"]
    for ns in (False, True):
        if ns:
            userns(box)
        box.config["mounts"] = list(kept)
        box.mount("/mnt/d", "bind", box.path("host", "dangling"), "rbind", "copy-symlink")
        box.mount("/mnt/l", "bind", box.path("host", "link"), "rbind", "copy-symlink")
        for again in range(2):  # it is there by then
            assert box.run(look, ok=True).out == "file\n/no/where\ntarget\ntarget\n"
        box.config["mounts"][-1]["source"] = box.path("host", "dangling")
        box.refused("copy-symlink")
        box.config["mounts"] = list(kept)
        box.mount("/here", "bind", box.path("host", "link"), "bind", "dest-nofollow", "src-nofollow")
        assert box.run(look, ok=True).out.endswith("\nfile\ntarget\n")
        box.config["mounts"][-1]["options"] = ["bind", "dest-nofollow"]
        r = box.run("readlink /here; cat /here /target", ok=True)
        assert r.out == "host\ntarget\n", r
        box.config["mounts"][-1]["options"] = ["bind"]
        assert box.run("cat /target", ok=True).out == "host\n"
    box.config["mounts"] = list(kept)
    box.mount("/proc/self", "bind", box.path("host", "link"), "bind", "dest-nofollow", "src-nofollow")
    box.refused("/proc/self", "procfs")
    os.symlink(box.path("outside"), box.root + "/out")
    box.config["mounts"] = list(kept)
    box.mount("/out/l", "bind", box.path("host", "link"), "bind", "copy-symlink")
    box.run("true", ok=True)
    assert not os.path.lexists(box.path("outside"))
    box.config["mounts"] = list(kept)
    box.mount("/mnt/t", "tmpfs", "tmpfs", "dest-nofollow")
    box.refused("dest-nofollow", "bind")


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


def test_a_relative_program_begins_at_cwd(box):
    os.makedirs(box.root + "/work/bin")
    with open(box.root + "/work/bin/tool", "w") as f:
        f.write("#!/bin/sh\necho $0 in $PWD\n")
    os.chmod(box.root + "/work/bin/tool", 0o755)
    box.process["cwd"] = "/work"
    for name in ("./bin/tool", "bin/tool", "../work/bin/tool", "/work/bin/tool"):
        box.save(name)
        r = box.oci("run", "--bundle", box.bundle, "c", ok=True)
        assert r.out == f"{name} in /work\n", r
    box.process["env"] = ["PATH=bin"]
    box.save("tool")
    assert box.oci("run", "--bundle", box.bundle, "c", ok=True).out == "bin/tool in /work\n"
    box.process["env"] = ["PATH=/bin"]
    box.save("./none")
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc and "no such file or directory" in r.err, r
    box.up()
    assert box.oci("exec", "c", "./bin/tool", ok=True).out == "./bin/tool in /work\n"
    assert box.oci("exec", "--cwd", "/work/bin", "c", "./tool", ok=True).out == \
        "./tool in /work/bin\n"


def test_a_device_rule_of_both_kinds_with_a_number(box):
    for n, kind in (("c", "c"), ("b", "b")):
        box.linux.setdefault("devices", []).append(
            {"path": f"/dev/t-{n}", "type": kind, "major": 1, "minor": 5, "fileMode": 0o666})
    rules = [{"allow": False, "access": "rwm"}, {"allow": True, "type": "a", "major": 1, "minor": 5,
                                                 "access": "rw"}]
    box.linux["resources"] = {"devices": rules}
    r = box.run("head -c1 /dev/t-c | wc -c; head -c1 /dev/full | wc -c; head -c1 /dev/t-b", timeout=20)
    assert "/dev/t-b: Operation not permitted" not in r.err, r
    assert r.out.split()[0] == "1", r
    rules[1]["minor"] = 6
    assert "/dev/t-b: Operation not permitted" in box.run("head -c1 /dev/t-b").err


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


def test_deadlines_are_checked_by_name(box):
    ok = {"policy": "SCHED_DEADLINE", "runtime": 10000000, "deadline": 20000000, "period": 20000000}
    for change, words in (({"runtime": None}, ("requires runtime",)),
                          ({"deadline": None}, ("requires deadline",)),
                          ({"runtime": 0}, ("runtime 0", "between 1024")),
                          ({"runtime": 1023}, ("runtime 1023", "between 1024")),
                          ({"runtime": 1 << 63}, ("between 1024",)),
                          ({"runtime": 30000000}, ("runtime", "<= deadline")),
                          ({"deadline": 30000000}, ("deadline", "<= period"))):
        box.process["scheduler"] = {k: v for k, v in {**ok, **change}.items() if v is not None}
        box.refused("process.scheduler", "SCHED_DEADLINE", *words)


def test_logs_are_files(box):
    for kind in ("journald:me", "syslog:me", "invalid:/path"):
        r = box.oci("--log", kind, "list")
        assert r.rc and "--log" in r.err and kind in r.err, r
    for name in (f"file:{box.path('a')}", box.path("b:c")):
        box.oci("--log", name, "state", "none")
    assert "does not exist" in read(box.path("a")) and "does not exist" in read(box.path("b:c"))


def test_delete_by_a_regular_expression(box):
    box.save(sh="sleep 100")
    for id in ("web-1", "web-2", "other"):
        box.linux["cgroupsPath"] = f"/{box.name}/{id}"
        box.save()
        box.oci("create", "--bundle", box.bundle, id, ok=True)
    r = box.oci("delete", "--regex", "^web")
    assert r.rc and "not stopped" in r.err, r
    box.oci("delete", "--force", "--regex", "^web-[0-9]$", ok=True)
    assert box.oci("list", "-q", ok=True).out.split() == ["other"]
    box.oci("delete", "--force", "--regex", "nothing", ok=True)
    r = box.oci("delete", "--force", "--regex", "a(")
    assert r.rc and "--regex" in r.err, r
    assert box.oci("delete", "--force", "--regex", "o", "other").rc
    box.oci("delete", "--force", "--regex", "th", ok=True)
    assert not box.oci("list", "-q", ok=True).out


def test_options_of_cgroup_mounts_are_not_lost(box):
    for m in box.config["mounts"]:
        if m["type"] == "cgroup":
            m["options"].append("no_such_option")
    r = box.run("true")
    if os.path.exists(f"{CGROUPS}/cgroup.controllers"):  # v2, in a cgroup namespace: the kernel's say
        assert r.rc and "no_such_option" in r.err, r
        box.ns("cgroup", remove=True)
        r = box.run("true")
    assert r.rc == 0 and 'warning: mounts[' in r.err and '"no_such_option" has no effect' in r.err, r


def test_sockets_of_a_service_manager_reach_the_program(box):
    def run(script, how, *flags):
        box.save(sh=script)
        with open(box.path("socket"), "w") as f:
            f.write("socket\n")
        with open(box.path("more"), "w") as f:
            f.write("more\n")
        cmd = how + ' exec "$@" 3<"$0/socket" 4<"$0/more"'
        return sh("sh", "-c", cmd, box.dir, *box.argv("run", "--bundle", box.bundle, *flags, "c"),
                  check=False)

    say = "echo $LISTEN_FDS $LISTEN_PID $$; cat <&3; cat <&4"
    assert run(say, "export LISTEN_FDS=1 LISTEN_PID=$$;").startswith("1 1 1\nsocket\n")
    assert "more" not in run(say, "export LISTEN_FDS=1 LISTEN_PID=$$;")
    assert run(say, "export LISTEN_FDS=1 LISTEN_PID=$$;", "--preserve-fds", "1") == \
        "1 1 1\nsocket\nmore\n"
    for how in ("export LISTEN_FDS=1;", "export LISTEN_FDS=1 LISTEN_PID=1;"):
        out = run("echo [$LISTEN_FDS]; cat <&3", how)
        assert out.startswith("[]\n") and "socket" not in out, out
    assert "LISTEN_FDS" in run("true", "export LISTEN_FDS=x LISTEN_PID=$$;")
    assert "descriptor 5 is not open" in run("true", "export LISTEN_FDS=3 LISTEN_PID=$$;")


# ---- hooks

def hook(box, script, **more):
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


def test_hooks_without_an_environment_get_the_callers(box):
    said = box.path("said")
    box.config["hooks"] = {"prestart": [hook(box, f"echo [$FROM_OUTSIDE] >>{said}")],
                           "createContainer": [hook(box, f"echo [$FROM_OUTSIDE] >>{said}")],
                           "createRuntime": [hook(box, f"echo [$FROM_OUTSIDE] >>{said}", env=["A=b"]),
                                             hook(box, f"echo [$FROM_OUTSIDE] >>{said}", env=[])],
                           "startContainer": [hook(box, "echo [$FROM_OUTSIDE] >/tmp/said")],
                           "poststop": [hook(box, f"echo [$FROM_OUTSIDE] >>{said}")]}
    box.run("true", ok=True, env=dict(os.environ, FROM_OUTSIDE="x"))
    assert read(said).split() == ["[x]", "[]", "[]", "[x]", "[x]"], read(said)
    assert read(box.root + "/tmp/said") == "[]\n"


def test_a_poststart_hook_that_fails_destroys_the_container(box):
    said = box.path("said")
    box.config["hooks"] = {"poststart": [hook(box, "exit 3")],
                           "poststop": [hook(box, f"echo gone >>{said}")]}
    box.refused("hooks.poststart[0]", "exit status 3", script="sleep 100")
    assert read(said) == "gone\n"
    box.create()
    r = box.oci("start", "c")
    assert r.rc and "hooks.poststart[0]" in r.err, r
    assert "does not exist" in box.oci("state", "c").err
    assert not box.left(), box.left()
    assert read(said) == "gone\ngone\n"


# ---- annotations

def test_the_output_of_hooks_goes_to_files(box):
    out, err = box.path("out"), box.path("err")
    box.config["annotations"] = {"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err}
    kinds = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
    box.config["hooks"] = {k: [hook(box, f"echo {k}; echo {k} >&2")] for k in kinds}
    userns(box)  # whose root may not open them
    r = box.run("echo mine; ls -l /proc/self/fd 2>/dev/null", ok=True)
    assert r.out.startswith("mine\n") and out not in r.out and r.err == "", r
    assert read(out).split() == list(kinds) == read(err).split(), (read(out), read(err))
    assert os.stat(out).st_mode & 0o777 == 0o600
    box.config["hooks"] = {}
    assert out not in box.run("ls -l /proc/1/fd 2>/dev/null; true", ok=True).out
    box.config["annotations"] = {"run.oci.hooks.stdout": "relative"}
    box.refused("run.oci.hooks.stdout", "absolute")
    box.config["annotations"] = {"run.oci.hooks.stderr": box.path("no", "folder")}
    box.refused("run.oci.hooks.stderr")


def test_the_callers_groups_stay(box):
    groups = ["setpriv", "--groups", "7,8"]
    box.process["user"]["additionalGids"] = [9]
    box.save("cat", "/proc/self/status")
    for annotations, want in (({}, {"9"}), ({"run.oci.keep_original_groups": "1"}, {"7", "8"})):
        box.config["annotations"] = annotations
        box.save()
        out = sh(*groups, *box.argv("run", "--bundle", box.bundle, "c"))
        got = next(l for l in out.splitlines() if l.startswith("Groups:")).split()[1:]
        assert set(got) - {"0"} == want, (annotations, got)
    box.up()
    out = sh(*groups, *box.argv("exec", "c", "cat", "/proc/self/status"))
    assert next(l for l in out.splitlines() if l.startswith("Groups:")).split()[1:] == ["7", "8"]


def test_a_profile_with_an_unknown_call_can_be_refused(box):
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["getcwd", "no_such_call"], "action": "SCMP_ACT_ERRNO"}]}
    box.run("true", ok=True)
    box.config["annotations"] = {"run.oci.seccomp_fail_unknown_syscall": "1"}
    box.refused("linux.seccomp.syscalls[0]", "no_such_call")


def test_a_pidfd_for_who_annotates(box):
    s = socket.socket(socket.AF_UNIX)
    s.bind(box.path("sock"))
    s.listen(1)
    s.settimeout(30)
    box.config["annotations"] = {"run.oci.pidfd_receiver": box.path("sock")}
    box.up()
    fds = socket.recv_fds(s.accept()[0], 100, 1)[1]
    pid = next(l for l in read(f"/proc/self/fdinfo/{fds[0]}").splitlines() if l.startswith("Pid:"))
    assert int(pid.split()[1]) == box.state()["pid"], pid
    os.close(fds[0])
    box.oci("delete", "--force", "c", ok=True)
    box.config["annotations"] = {"run.oci.pidfd_receiver": box.path("nobody")}
    box.refused("run.oci.pidfd_receiver")


def test_annotations_without_effect_are_told(box):
    names = ["run.oci.handler", "run.oci.systemd.subgroup", "run.oci.systemd.force_cgroup_v1",
             "run.oci.delegate-cgroup", "run.oci.seccomp.receiver", "run.oci.seccomp.plugins",
             "run.oci.seccomp_bpf_data", "run.oci.new"]
    box.config["annotations"] = {n: "1" for n in names + ["org.example.any"]}
    r = box.run("true", ok=True)
    for n in names:
        assert f"warning: annotations.{n}: " in r.err, (n, r)
    assert "example" not in r.err, r
    box.config["annotations"] = {"run.oci.mount_context_type": "rootcontext"}
    assert box.run("true", ok=True).err == ""
    box.config["annotations"] = {"run.oci.mount_context_type": "other"}
    box.refused("run.oci.mount_context_type", "other")
    unsafe = json.loads(box.oci("features", ok=True).out)["potentiallyUnsafeConfigAnnotations"]
    assert {"run.oci.", "org.systemd.property.", "org.umiak.landlock."} <= set(unsafe), unsafe


main(globals())
