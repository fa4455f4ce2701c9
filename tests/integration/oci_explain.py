#!/usr/bin/env python3
"""umiak-oci --explain is the truth: held against strace of the same run, it tells each system call
that changes something, and none that was not made."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa
import straced

private_namespaces()
make_node = Box

PROGRAM = os.path.join(BUILD, "umiak-oci")
# LeakSanitizer cannot work under ptrace, and what sanitizers set up at start is not ours to tell
ENV = {**{k: v for k, v in os.environ.items() if not k.endswith("SAN_OPTIONS")},
       "ASAN_OPTIONS": "detect_leaks=0:disable_coredump=0"}


def steps_of(path):
    out = []
    for line in read(path).splitlines():
        if line.startswith("{"):
            assert len(line) < 4096, len(line)
            s = json.loads(line)
            assert set(s) == {"process", "pid", "why", "name", "call", "result", "command"}, s
            assert s["why"] and s["command"] and s["call"].startswith(s["name"] + "("), s
            assert "(null)" not in line, line
            out.append(s)
    return out


def under_strace(box, script, rc=0, timeout=60, **kw):
    """Runs a shell script in which $oci is umiak-oci --explain=json; returns the steps."""
    trace, err = box.path("trace"), box.path("err")
    if os.path.exists(err):
        os.unlink(err)
    argv = " ".join([PROGRAM, "--root", box.path("state"), "--explain=json"])
    with open(err, "a") as f:
        p = subprocess.run(["strace", "-f", "-y", "--decode-pids=pidns", "-s", "400", "-o", trace, "sh", "-c",
                            f"oci='{argv}'; b='--bundle {box.bundle}'; {script}"], stderr=f, env=ENV,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=timeout, **kw)
    assert rc is None or p.returncode == rc, (p.returncode, read(err)[-2000:])
    steps = steps_of(err)
    events = straced.state_changing(straced.of_umiak(straced.read_strace(trace), PROGRAM), [err])
    assert events, "strace saw nothing"
    wrong = straced.compare(steps, events)
    assert not wrong, "\n".join(wrong)
    sh("bash", "-n", input="\n".join(s["command"] for s in steps) + "\n")  # all are commands
    return steps


def names(steps, process=None):
    return [s["name"] for s in steps if process in (None, s["process"])]


def find(steps, name, text=""):
    found = [s for s in steps if s["name"] == name and text in s["call"]]
    assert found, f"no step {name} with {text!r}"
    return found[0]


# ---- against strace

def test_run(box):
    box.save("true")
    steps = under_strace(box, "$oci run $b c")
    assert {s["process"] for s in steps} == {"umiak-oci", "init"}
    assert find(steps, "ioctl", "SIOCSIFFLAGS")["command"] == "ip link set lo up"
    assert find(steps, "clone3", "CLONE_NEWPID")["command"].startswith("unshare ")
    assert find(steps, "execve", "true")["command"].startswith("exec ")
    assert any(s["command"] == f"mount -t proc proc {box.root}/proc" for s in steps)
    assert any(s["command"].startswith("echo 0 >" + CGROUPS) or "CLONE_INTO_CGROUP" in s["call"]
               for s in steps)
    order = names(steps)
    for a, b in zip(("clone3", "pivot_root", "capset", "execve"),
                    ("pivot_root", "capset", "execve", "rmdir")):
        assert b == "rmdir" or order.index(a) < len(order) - 1 - order[::-1].index(b), (a, b)
    assert not box.left(), box.left()


def test_the_life_of_a_container(box):
    box.save("sleep", "100")
    steps = under_strace(box, "$oci create $b c && $oci start c && $oci exec c true && "
                              "$oci exec --user 5:6 --cwd /tmp c sh -c 'exit 3'; "
                              "[ $? = 3 ] && $oci pause c && $oci resume c && $oci kill c KILL; "
                              "$oci delete --force c")
    assert {s["process"] for s in steps} == {"umiak-oci", "init", "exec"}
    assert find(steps, "execve", "sleep")["process"] == "init", "what the init does after start"
    assert find(steps, "pidfd_send_signal", "SIGKILL")["command"].startswith("kill -KILL ")
    assert find(steps, "setns", "CLONE_NEWNET")["command"].startswith("nsenter --target ")
    assert find(steps, "setresuid", "(5, 5, 5)")["process"] == "exec"


def test_what_a_configuration_can_ask_for(box):
    hook = "/bin/true"
    box.config["hooks"] = {k: [{"path": hook, "args": ["true", k]}] for k in
                           ("prestart", "createRuntime", "poststart", "poststop")}
    box.config["hooks"]["startContainer"] = [{"path": "/bin/true"}]
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]
    box.process["oomScoreAdj"] = 100
    box.process["cwd"] = "/made/for/it"
    box.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 5}
    box.process["user"] = {"uid": 7, "gid": 8, "additionalGids": [9, 10], "umask": 7}
    box.process["capabilities"] = {k: ["CAP_NET_RAW"] for k in
                                   ("bounding", "effective", "permitted", "inheritable", "ambient")}
    box.config["hostname"], box.config["domainname"] = "a-host", "a-domain"
    box.linux["sysctl"] = {"kernel.msgmax": "4096"}
    box.linux["devices"] = [{"path": "/dev/x", "type": "c", "major": 1, "minor": 3, "uid": 5, "gid": 5},
                            {"path": "/dev/pipe", "type": "p"}]
    box.linux["personality"] = {"domain": "LINUX32"}
    box.linux["resources"] = {"pids": {"limit": 50}}
    os.makedirs(box.root + "/data/sub")
    os.symlink("f", box.root + "/data/link")
    with open(box.root + "/data/f", "w") as f:
        f.write("text")
    box.mount("/data", "tmpfs", "tmpfs", "tmpcopyup", "ro", "nosuid")
    box.mount("/host etc", "bind", "/etc", "rbind", "ro", "noexec")
    box.save("true")
    steps = under_strace(box, "$oci run $b --pid-file %s c" % box.path("pid"))
    assert {s["process"] for s in steps} == {"umiak-oci", "init", "hook"}
    assert find(steps, "sethostname")["command"] == "hostname a-host"
    assert find(steps, "mknodat", "pipe")["command"].endswith("/dev/pipe p")
    assert find(steps, "prlimit64", "NOFILE")["command"] == "prlimit --pid $$ --nofile=100:200"
    assert any(s["command"] == f"mount --rbind /etc '{box.root}/host etc'" for s in steps)
    assert find(steps, "setgroups")["command"] == "setpriv --groups 9,10 PROGRAM"
    assert any("msgmax" in s["command"] for s in steps)


def test_a_user_namespace_and_mapped_mounts(box):
    maps = [{"containerID": 0, "hostID": 100000, "size": 1000}]
    box.ns("user")
    box.ns("time")
    box.linux["timeOffsets"] = {"monotonic": {"secs": 100}}
    box.linux["uidMappings"] = box.linux["gidMappings"] = maps
    os.chmod(box.path(), 0o755)
    os.mkdir(box.path("shared"))
    os.mkdir(box.root + "/shared")  # the rootfs belongs to somebody who is not mapped
    box.config["mounts"].append({"destination": "/shared", "type": "bind", "source": box.path("shared"),
                                 "options": ["bind", "idmap"], "uidMappings": maps, "gidMappings": maps})
    box.save("true")
    steps = under_strace(box, "$oci run $b c")
    assert any("uid_map" in s["command"] for s in steps)
    assert "mount_setattr" in names(steps)


def test_namespaces_by_path(box):
    p = subprocess.Popen(["unshare", "-Unpf", "--kill-child", "sleep", "100"])
    try:
        wait_for("the namespaces", lambda: read(f"/proc/{p.pid}/task/{p.pid}/children").strip())
        inside = int(read(f"/proc/{p.pid}/task/{p.pid}/children"))
        for f in ("uid_map", "gid_map"):
            with open(f"/proc/{inside}/{f}", "w") as o:
                o.write("0 0 4294967295\n")
        for kind, name in (("user", "user"), ("network", "net"), ("pid", "pid")):
            box.ns(kind, f"/proc/{inside}/ns/{name}")
        box.save("true")
        steps = under_strace(box, "$oci run $b c")
        assert {s["process"] for s in steps} == {"umiak-oci", "helper", "init"}
        assert find(steps, "setns", "CLONE_NEWNET")["process"] == "helper"
        assert "join the network namespace" in find(steps, "setns", "CLONE_NEWNET")["why"]
    finally:
        p.kill()
        p.wait()


def test_without_root(box):
    """Where the runtime copies itself into memory, and helpers map ids or are missing."""
    user = "setpriv --reuid 1000 --regid 1000 --clear-groups"
    sh("chown", "-R", "1000:1000", box.dir)
    os.unlink(box.path("bundle", "config.json"))
    sh(*user.split(), *box.argv("spec", "--rootless"), cwd=box.bundle)
    config = json.loads(read(box.path("bundle", "config.json")))
    config["process"]["terminal"], config["root"]["readonly"] = False, False
    config["process"]["args"] = ["true"]
    box.config = config
    box.save()
    steps = under_strace(box, f"{user} $oci run $b c")
    assert "sendfile" in names(steps) and any("setgroups" in s["command"] for s in steps)
    config["linux"]["uidMappings"].append({"containerID": 1, "hostID": 100000, "size": 10})
    box.save()
    under_strace(box, f"{user} $oci run $b c", rc=None)


def test_a_terminal(box):
    box.process["terminal"] = True
    box.config["root"]["readonly"] = True
    box.save("true")
    steps = under_strace(box, "$oci run $b c")
    assert find(steps, "ioctl", "TIOCSCTTY")["process"] == "init"
    assert names(steps, "init").count("dup2") == 3


def test_what_fails_is_told_as_well(box):
    box.save("no-such-program")
    under_strace(box, "$oci run $b c", rc=1)
    box.config["mounts"].append({"destination": "/x", "type": "bind", "source": "/no/such/thing",
                                 "options": ["bind"]})
    box.save("true")
    steps = under_strace(box, "$oci run $b c", rc=1)
    assert find(steps, "open_tree", "/no/such/thing")["result"] == "-1 ENOENT"
    box.config["mounts"].pop()
    box.config["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
    box.save("true")
    under_strace(box, "$oci run $b c", rc=1)
    assert not box.left(), box.left()


def filtered(box, no_new_privs):
    """A filter under which the explaining process can do next to nothing."""
    box.process["noNewPrivileges"] = no_new_privs
    deny = ["write", "writev", "pwritev2", "poll", "ppoll", "select", "readlink", "readlinkat", "fstat",
            "newfstatat", "rt_sigprocmask", "rt_sigtimedwait", "mmap", "mremap", "nanosleep",
            "clock_nanosleep", "futex", "fcntl"]
    if not no_new_privs:
        for needed in ("fcntl", "newfstatat"):  # by the runtime itself, after the filter
            deny.remove(needed)
    # the program is killed at once; execve itself has to pass
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW",
                            "syscalls": [{"names": deny, "action": "SCMP_ACT_KILL_PROCESS"}]}


def test_a_filter_that_forbids_to_write(box):
    for no_new_privs in (True, False):
        filtered(box, no_new_privs)
        box.save("true")
        steps = under_strace(box, "$oci run $b c", rc=None)
        inside = names(steps, "init")
        assert inside[-1] == "execve", inside[-5:]
        assert "seccomp" in inside and inside.index("clone") < inside.index("seccomp")


def test_landlock(box):
    box.process["noNewPrivileges"] = True
    box.config["annotations"] = {"org.umiak.landlock.read": "/bin:/etc/passwd", "org.umiak.landlock.write": "",
                                 "org.umiak.landlock.on-missing": "ignore"}
    box.save("true")
    steps = under_strace(box, "$oci run $b c")
    if "landlock_create_ruleset" not in names(steps):
        raise Skip("the kernel has no Landlock")
    assert find(steps, "landlock_add_rule")["command"].startswith("setpriv --landlock-rule path-beneath:read-")
    order = names(steps, "init")
    assert order.index("landlock_restrict_self") > order.index("capset")


# ---- what it must not change

def test_a_reader_that_is_gone_or_sleeps(box):
    box.save("sh", "-c", "echo ran >/tmp/ran")

    def ran():
        there = os.path.exists(box.root + "/tmp/ran")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(box.root + "/tmp/ran")
        return there
    argv = box.argv("--explain", "run", "--bundle", box.bundle, "c")
    # closed
    p = subprocess.run(["sh", "-c", "exec \"$@\" 2>&-", "sh", *argv], stdin=subprocess.DEVNULL, timeout=60)
    assert p.returncode == 0 and ran()
    # read-only
    p = subprocess.run(["sh", "-c", "exec \"$@\" 2</dev/null", "sh", *argv], stdin=subprocess.DEVNULL,
                       timeout=60)
    assert p.returncode == 0 and ran()
    # nobody reads, ever
    r, w = os.pipe()
    os.close(r)
    p = subprocess.run(argv, stderr=w, stdin=subprocess.DEVNULL, timeout=60)
    os.close(w)
    assert p.returncode == 0 and ran()
    # full, and nobody reads
    r, w = os.pipe()
    os.set_blocking(w, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(w, b"x" * 4096)
    os.set_blocking(w, True)
    p = subprocess.run(argv, stderr=w, stdin=subprocess.DEVNULL, timeout=120)
    os.close(w), os.close(r)
    assert p.returncode == 0 and ran()
    # the same under a filter
    filtered(box, True)
    box.save("true")
    r, w = os.pipe()
    os.close(r)
    subprocess.run(argv, stderr=w, stdin=subprocess.DEVNULL, timeout=60)
    os.close(w)
    assert not box.left(), box.left()


def test_no_descriptor_of_it_stays_open(box):
    script = "for f in /proc/self/fd/*; do [ -e $f ] && echo fd ${f##*/}; done; true"
    box.config["mounts"] = [m for m in box.config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
    hooked = box.path("hooked")
    box.config["hooks"] = {"createRuntime": [
        {"path": "/bin/sh", "args": ["sh", "-c", f"ls /proc/self/fd >>{hooked}"]}]}
    plain = box.run(script, ok=True)
    with_it = box.run(script, "--explain", ok=True)
    assert plain.out == with_it.out, (plain.out, with_it.out)
    assert "[init " in with_it.err and "[hook " in with_it.err
    lines = read(hooked).split()
    assert lines[:len(lines) // 2] == lines[len(lines) // 2:], lines
    # as many as the place where it would be: it moves out of the way
    box.config.pop("hooks")
    script = "ls /proc/self/fd"
    r, w = os.pipe()
    fds = range(3, 3 + 900)
    for fd in fds:
        if fd not in (r, w):
            os.dup2(w, fd)
    box.save(sh=script)
    out = [subprocess.run(box.argv(*how, "run", "--bundle", box.bundle, "--preserve-fds", "900", "c"),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          pass_fds=fds, timeout=60).stdout for how in ([], ["--explain=json"])]
    os.closerange(3, 3 + 900)
    assert out[0] == out[1] and len(out[0].split()) >= 900, out


def test_create_does_not_hold_its_standard_error(box):
    """Who reads the explanation of create to its end does not wait for start."""
    box.process["terminal"] = False
    box.save("sleep", "100")
    r, w = os.pipe()
    null = os.open("/dev/null", os.O_RDWR)
    # a terminal would have the container's own; a shell closes what it does not need
    p = subprocess.run(box.argv("--explain=json", "create", "--bundle", box.bundle, "c"), stderr=w,
                       stdin=null, stdout=null, timeout=60)
    assert p.returncode == 0
    fds = [os.readlink(f"/proc/{box.state()['pid']}/fd/{n}") for n in
           os.listdir(f"/proc/{box.state()['pid']}/fd")]
    assert sum(f.startswith("pipe:") for f in fds) == 1, fds  # number 2 itself
    os.close(w), os.close(r), os.close(null)


# ---- forms

def test_text(box):
    box.save("true")
    for place in (["--explain", "run"], ["--explain=text", "run"], ["run", "--explain"],
                  ["run", "--explain=text"]):
        r = box.oci(*place, "--bundle", box.bundle, "c", ok=True)
        assert "\n    " not in r.err.split("\n")[0]
        assert "     pivot_root(\".\", \".\") = 0\n" in r.err, r.err
        assert "     $ ip link set lo up\n" in r.err
    box.oci("run", "--bundle", box.bundle, "c", ok=True).err == ""


def test_options_behind_the_verb(box):
    box.save("sleep", "100")
    for verb in (["create", "--bundle", box.bundle], ["start"], ["exec"], ["pause"], ["resume"], ["kill"],
                 ["delete", "--force"]):
        r = box.oci(*verb, "--explain=json", "c", *(["true"] if verb[0] == "exec" else []), ok=True)
        assert '"process":"umiak-oci"' in r.err, (verb, r)
        for line in r.err.splitlines():
            json.loads(line)


def test_bad_values(box):
    for args in (["--explain=xml", "list"], ["run", "--explain=", "c"]):
        r = box.oci(*args)
        assert r.rc and "--explain" in r.err and "neither text nor json" in r.err, r


def test_the_environment_is_not_told(box):
    box.process["env"].append("PASSWORD=abracadabra")
    box.save("true")
    for how in ("--explain", "--explain=json"):
        r = box.oci("run", how, "--bundle", box.bundle, "c", ok=True)
        assert "execve(" in r.err and "abracadabra" not in r.err, r


def test_hostile_text_stays_one_line(box):
    box.process["args"] = ["sh", "-c", "true\n{\"process\":\"forged\"}\x1b[2J'\"\\ \u00e4"]
    box.process["args"] += ["x" * 3000, "\"" * 3000]
    box.config["hostname"] = "h\u00e4\"'"
    box.save()
    r = box.oci("--explain=json", "run", "--bundle", box.bundle, "c")
    for line in r.err.splitlines():
        if line.startswith("{"):
            assert json.loads(line)["process"] in ("umiak-oci", "init") and len(line) < 4096
    r = box.oci("--explain", "run", "--bundle", box.bundle, "c")
    assert "\x1b" not in r.err and "\n{\"process\":\"forged" not in r.err


main(globals())
