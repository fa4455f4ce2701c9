#!/usr/bin/env python3
"""umiak-oci as its callers use it: life cycle, process, namespaces, mounts, hooks, limits."""
import array
import os
import select
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
HOST_ETC = sorted(os.listdir("/etc"))


make_node = Box


# ---- life cycle

def test_run_passes_exit_codes_on(box):
    for script, rc in (("exit 0", 0), ("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137),
                       ("exit 255", 255)):
        r = box.run(script)
        assert r.rc == rc, (script, r)
        assert not box.left(), box.left()


def test_run_of_a_program_that_is_not_there(box):
    box.save("nothing-like-this")
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc in (1, 127, 255), r
    assert "executable file not found in $PATH" in r.err, r
    box.save("/bin/nothing")
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc and "no such file or directory" in r.err, r
    box.save("/etc/passwd")
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc and "permission denied" in r.err, r
    assert not box.left(), box.left()


def test_create_state_start_kill_delete(box):
    box.config["annotations"] = {"org.example.a": "b"}
    box.create("--pid-file", box.path("pid"), script="echo started >/tmp/f; sleep 100", ok=True)
    st = box.state()
    assert st["status"] == "created" and st["id"] == "c" and st["bundle"] == box.bundle, st
    assert st["annotations"] == {"org.example.a": "b"} and st["ociVersion"], st
    assert int(read(box.path("pid"))) == st["pid"] and alive(st["pid"])
    assert not os.path.exists(box.root + "/tmp/f"), "the program ran before start"
    box.oci("start", "c", ok=True)
    wait_for("the program", lambda: os.path.exists(box.root + "/tmp/f"))
    assert box.state()["status"] == "running"
    r = box.oci("delete", "c")
    assert r.rc and "not stopped" in r.err, r
    assert box.state()["status"] == "running"
    r = box.oci("start", "c")
    assert r.rc and "cannot start" in r.err, r
    box.oci("kill", "c", "KILL", ok=True)
    wait_for("its end", lambda: box.state()["status"] == "stopped")
    assert box.state()["pid"] == 0
    r = box.oci("kill", "c", "KILL")
    assert r.rc and "container not running" in r.err, r
    r = box.oci("exec", "c", "true")
    assert r.rc == 255 and "container not running" in r.err, r
    box.oci("delete", "c", ok=True)
    assert not box.left(), box.left()


def test_what_does_not_exist_is_said_so(box):
    for verb in ("state", "start", "kill", "delete", "pause", "resume", "ps"):
        r = box.oci(verb, "nobody")
        assert r.rc and "does not exist" in r.err, (verb, r)
    r = box.oci("exec", "nobody", "true")
    assert r.rc == 255 and "does not exist" in r.err, r
    box.oci("delete", "--force", "nobody", ok=True)


def test_ids_are_checked(box):
    box.save("true")
    for bad in ("", ".", "..", "a/b", "../x", "a b", "x" * 256, "\u00e4"):
        r = box.oci("run", "--bundle", box.bundle, "--", bad)
        assert r.rc and "invalid container ID" in r.err, (bad, r)
    assert not box.left(), box.left()


def test_an_id_is_used_once(box):
    box.create(ok=True)
    r = box.oci("create", "--bundle", box.bundle, "c")
    assert r.rc and "exists already" in r.err, r
    assert box.state()["status"] == "created"
    r = box.oci("create", "--bundle", box.bundle, "d")
    assert r.rc and "processes already" in r.err, r
    assert box.state()["status"] == "created" and alive(box.state()["pid"])


def two_processes(box):
    box.up("sleep 100 & sleep 100")

    def both():
        pids = json.loads(box.oci("ps", "--format", "json", "c", ok=True).out)
        return len(pids) >= 2 and pids
    return wait_for("two processes", both)


def test_delete_force_of_a_running_container(box):
    pids = two_processes(box)
    box.oci("delete", "--force", "c", ok=True)
    assert not box.left() and not any(alive(p) for p in pids)


def test_kill_sends_the_signal(box):
    box.up("trap 'exit 3' USR1; trap 'echo t >/tmp/t' TERM; touch /tmp/up; "
           "while :; do sleep 0.05; done")
    wait_for("the traps", lambda: os.path.exists(box.root + "/tmp/up"))
    box.oci("kill", "c", ok=True)
    wait_for("SIGTERM", lambda: os.path.exists(box.root + "/tmp/t"))
    assert box.oci("kill", "c", "NOSUCH").rc
    box.oci("kill", "c", "SIGUSR1", ok=True)
    wait_for("its end", lambda: box.state()["status"] == "stopped")


def test_kill_all(box):
    pids = two_processes(box)
    box.oci("kill", "--all", "c", "9", ok=True)
    wait_for("their end", lambda: not any(alive(p) for p in pids))


def test_start_says_why_a_program_cannot_run(box):
    with open(box.root + "/bin/bad", "w") as f:
        f.write("#!/nothing/here\n")
    os.chmod(box.root + "/bin/bad", 0o755)
    box.save("/bin/bad")
    box.oci("create", "--bundle", box.bundle, "c", ok=True)
    r = box.oci("start", "c")
    assert r.rc and "no such file or directory" in r.err, r
    assert box.state()["status"] == "stopped"  # dockerd deletes it at once or never


def test_signals_to_run_reach_the_container(box):
    box.save(sh="trap 'exit 9' TERM; echo up; while :; do sleep 0.05; done")
    p = subprocess.Popen(box.argv("run", "--bundle", box.bundle, "c"), stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"up\n"
    p.send_signal(signal.SIGTERM)
    assert p.wait(10) == 9
    assert not box.left(), box.left()


def test_run_detached_and_kept(box):
    r = box.run("sleep 100", "--detach", "--pid-file", box.path("pid"), ok=True)
    pid = int(read(box.path("pid")))
    assert alive(pid) and box.state()["status"] == "running"
    box.oci("delete", "--force", "c", ok=True)
    assert box.run("exit 4", "--keep").rc == 4
    assert box.state()["status"] == "stopped"
    box.oci("delete", "c", ok=True)
    assert not box.left(), box.left()


def test_list_and_ps(box):
    r = box.oci("list")  # a state folder that was named and is not there
    assert r.rc and "--root" in r.err, r
    os.makedirs(box.path("state"))
    assert json.loads(box.oci("list", "--format", "json", ok=True).out) == []
    box.up()
    l = json.loads(box.oci("list", "--format", "json", ok=True).out)
    assert [(c["id"], c["status"]) for c in l] == [("c", "running")], l
    assert box.oci("list", "-q", ok=True).out == "c\n"
    assert "running" in box.oci("list", ok=True).out
    assert box.state()["pid"] in json.loads(box.oci("ps", "--format", "json", "c", ok=True).out)
    assert str(box.state()["pid"]) in box.oci("ps", "c", ok=True).out.split()


def test_features_and_version(box):
    f = json.loads(box.oci("features", ok=True).out)
    assert f["ociVersionMin"] and f["ociVersionMax"] and "ro" in f["mountOptions"], f
    assert "network" in f["linux"]["namespaces"] and "CAP_CHOWN" in f["linux"]["capabilities"]
    lines = box.oci("--version", ok=True).out.splitlines()
    assert lines[0].startswith("umiak-oci version "), lines
    assert any(l.startswith("commit: ") for l in lines), lines
    assert any(l.startswith("spec: 1.") for l in lines), lines


def test_the_log_holds_the_error_as_json(box):
    log = box.path("log.json")
    r = subprocess.run(box.argv("--log", log, "--log-format", "json", "state", "none"),
                       capture_output=True, timeout=20)
    assert r.returncode
    last = json.loads(read(log).splitlines()[-1])
    assert last["level"] == "error" and "does not exist" in last["msg"] and last["time"], last


def test_unknown_options_are_refused(box):
    box.save("true")
    for args in (("run", "--bundle", box.bundle, "--nonsense", "c"), ("--nonsense", "list"),
                 ("create", "--explode", "x", "c"), ("exec", "--explode", "x", "c", "true"),
                 ("delete", "--nonsense", "c"), ("state", "--nonsense", "c"),
                 ("update", "--cpu-sharing", "5", "c"), ("kill", "--nonsense", "c")):
        r = box.oci(*args)
        option = [a for a in args if a.startswith("--") and a != "--bundle"][0]
        assert r.rc and option in r.err, (args, r)
    assert box.oci("nonsense").rc
    r = box.oci("--cgroup-manager", "nobody", "list")
    assert r.rc and "--cgroup-manager" in r.err, r


def test_as_sibling_makes_the_container_our_child(box):
    box.create("--as-sibling", "--pid-file", box.path("pid"), script="exit 6", ok=True)
    pid = int(read(box.path("pid")))
    assert f"\nPPid:\t{os.getpid()}\n" in read(f"/proc/{pid}/status")
    box.oci("start", "c", ok=True)
    got, status = os.waitpid(pid, 0)
    assert got == pid and os.WEXITSTATUS(status) == 6, status
    assert box.state()["status"] == "stopped"
    box.oci("delete", "c", ok=True)
    assert not box.left(), box.left()


def test_a_failed_sibling_leaves_no_zombie_that_looks_alive(box):
    box.process["args"] = ["nothing"]
    box.save()
    r = box.oci("create", "--as-sibling", "--bundle", box.bundle, "c")
    assert r.rc and "not found" in r.err, r
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert not box.left(), box.left()


# ---- exec

def test_exec(box):
    box.up()
    assert box.oci("exec", "c", "sh", "-c", "exit 5").rc == 5
    assert box.oci("exec", "c", "sh", "-c", "kill -9 $$").rc == 137
    r = box.oci("exec", "c", "nothing-like-this")
    assert r.rc == 255 and "executable file not found in $PATH" in r.err, r
    r = box.oci("exec", "--cwd", "/tmp", "--env", "A=b c", "--user", "1000:1001",
                "--additional-gids", "7", "c", "sh", "-c",
                "pwd; echo $A; id -u; id -g; id -G; readlink /proc/self/ns/mnt; cat", input="in\n")
    out = r.out.splitlines()
    assert out[:4] == ["/tmp", "b c", "1000", "1001"] and "7" in out[4].split(), r
    assert out[5] == os.readlink(f"/proc/{box.state()['pid']}/ns/mnt") and out[6] == "in", r
    for bad in ("1x", "", "-1", "4294967295", "01x", " 1", "1:", "web"):
        r = box.oci("exec", "--user", bad, "c", "id", "-u")
        assert r.rc == 255 and not r.out, (bad, r)


def test_exec_by_a_process_file(box):
    box.up()
    p = dict(box.process, args=["sh", "-c", "echo $X; pwd; exit 9"], env=["PATH=/bin", "X=y"],
             cwd="/etc")
    with open(box.path("p.json"), "w") as f:
        json.dump(p, f)
    r = box.oci("exec", "--process", box.path("p.json"), "c")
    assert r.rc == 9 and r.out == "y\n/etc\n", r
    r = box.oci("exec", "--process", box.path("p.json"), "--detach", "--pid-file", box.path("ep"),
                "c")
    assert r.rc == 0 and int(read(box.path("ep"))) > 0, r
    for more in (["--cwd", "/"], ["--user", "1"], ["--env", "A=b"]):
        r = box.oci("exec", "--process", box.path("p.json"), *more, "c")
        assert r.rc == 255 and more[0] in r.err, r
    # conmon gives --tty beside a process object
    r = box.oci("exec", "--tty", "--process", box.path("p.json"), "c")
    assert r.rc == 9 and r.out.split() == ["y", "/etc"], r
    with open(box.path("t.json"), "w") as f:
        json.dump(dict(p, args=["tty"]), f)
    assert box.oci("exec", "--process", box.path("t.json"), "c").rc == 1
    assert box.oci("exec", "-t", "--process", box.path("t.json"), "c").out.strip() == "/dev/pts/0"
    r = box.oci("exec", "--process", box.path("p.json"), "--console-socket", "/x", "c")
    assert r.rc == 255 and "--console-socket" in r.err, r
    p["cwd"] = "relative"
    with open(box.path("p.json"), "w") as f:
        json.dump(p, f)
    r = box.oci("exec", "--process", box.path("p.json"), "c")
    assert r.rc == 255 and "cwd" in r.err, r


def test_exec_is_confined_like_the_container(box):
    box.linux["resources"] = {"pids": {"limit": 50}}
    box.up()
    s = box.oci("exec", "c", "sh", "-c", "cat /proc/self/status /proc/self/cgroup; ls /proc/self/fd",
                ok=True).out
    assert "NoNewPrivs:\t1" in s and "CapBnd:\t0000000020000420" in s, s
    assert "CapInh:\t0000000000000000" in s, s
    pid = subprocess.Popen(box.argv("exec", "c", "sleep", "3"))
    try:
        wait_for("it", lambda: len(box.oci("ps", "c", ok=True).out.split()) >= 3)
    finally:
        pid.kill(), pid.wait()


def test_exec_as_a_created_container(box):
    box.create(ok=True)
    assert box.oci("exec", "c", "true").rc == 0


# ---- the process

def test_environment_user_cwd_umask(box):
    box.process.update(env=["PATH=/bin", "A=1", "B=x y"], cwd="/tmp", user={
        "uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o077})
    r = box.run("echo $A-$B; pwd; id -u; id -g; id -G; umask; echo $HOME")
    assert r.out.splitlines() == ["1-x y", "/tmp", "1000", "1001", "1001 5 6", "0077",
                                  "/home/web"], r


def test_a_user_may_open_its_standard_pipes(box):
    box.process["user"] = {"uid": 1000, "gid": 1000}
    box.save(sh="echo out >/dev/stdout; echo err >/dev/stderr")
    p = subprocess.run(box.argv("run", "--bundle", box.bundle, "c"), capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=20)
    assert (p.returncode, p.stdout, p.stderr) == (0, b"out\n", b"err\n"), p
    box.up()
    p = subprocess.run(box.argv("exec", "c", "sh", "-c", "echo out >/dev/stdout"),
                       capture_output=True, stdin=subprocess.DEVNULL, timeout=20)
    assert (p.returncode, p.stdout) == (0, b"out\n"), p
    with open(box.path("file"), "w") as f:
        box.save("true")
        subprocess.run(box.argv("exec", "c", "true"), stdout=f, timeout=20, check=True)
    assert os.stat(box.path("file")).st_uid == 0, "a file of the caller changed its owner"


def test_a_missing_cwd_is_made(box):
    box.process["cwd"] = "/nowhere/at/all"
    r = box.run("pwd; stat -c '%a %u' .")
    assert r.out.split() == ["/nowhere/at/all", "755", "0"], r
    box.mount("/kept", "bind", box.path("bundle"), "bind", "ro")
    box.process["cwd"] = "/kept/either"
    box.refused("cwd", script="pwd")


def caps(status):
    return {l.split(":")[0][3:]: int(l.split()[1], 16) for l in status.splitlines()
            if l.startswith("Cap")}


def test_capability_sets(box):
    box.process["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    box.process["user"] = {"uid": 1000, "gid": 1000}
    c = caps(box.run("cat /proc/self/status").out)
    kill = 1 << 5
    assert c["Bnd"] == 1 | kill | 1 << 13 and c["Inh"] == kill and c["Amb"] == kill, c
    assert c["Prm"] == kill and c["Eff"] == kill, c
    box.process["user"] = {"uid": 0, "gid": 0}
    c = caps(box.run("cat /proc/self/status").out)
    assert c["Bnd"] == 1 | kill | 1 << 13 and not c["Prm"] & ~c["Bnd"], c
    del box.process["capabilities"]
    c = caps(box.run("cat /proc/self/status").out)
    assert not c["Prm"] and not c["Eff"] and not c["Bnd"], c


def test_unknown_capabilities_are_warned_about(box):
    box.process["capabilities"]["bounding"].append("CAP_TELEPORT")
    r = box.run("true")
    assert r.rc == 0 and "CAP_TELEPORT" in r.err, r


def test_no_new_privileges_and_rlimits(box):
    box.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                              {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    r = box.run("grep NoNewPrivs /proc/self/status; ulimit -n; ulimit -Hn; ulimit -c")
    assert r.out.split() == ["NoNewPrivs:", "1", "100", "200", "0"], r
    box.process["noNewPrivileges"] = False
    assert "0" in box.run("grep NoNewPrivs /proc/self/status").out.split()
    box.process["rlimits"][0]["type"] = "RLIMIT_NOTHING"
    box.refused("rlimits", "RLIMIT_NOTHING")


def test_oom_score_adj(box):
    box.process["oomScoreAdj"] = 321
    assert box.run("cat /proc/self/oom_score_adj").out == "321\n"


def test_seccomp(box):
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO",
         "errnoRet": 38}]}
    for nnp in (True, False):
        box.process["noNewPrivileges"] = nnp
        r = box.run("grep Seccomp: /proc/self/status; mkdir /tmp/x; echo $?")
        assert "Seccomp:\t2" in r.out and "Function not implemented" in r.err, r
        assert r.out.splitlines()[-1] == "1" and not os.path.exists(box.root + "/tmp/x"), r
    box.up()
    r = box.oci("exec", "c", "mkdir", "/tmp/x")
    assert r.rc == 1 and "Function not implemented" in r.err, r
    box.oci("delete", "-f", "c", ok=True)
    box.linux["seccomp"]["syscalls"][0].update(action="SCMP_ACT_KILL_PROCESS", names=["uname"])
    del box.linux["seccomp"]["syscalls"][0]["errnoRet"]
    assert box.run("uname; exit $?").rc == 159, "SIGSYS"
    box.linux["seccomp"]["syscalls"][0]["action"] = "SCMP_ACT_NONSENSE"
    box.refused("seccomp", "SCMP_ACT_NONSENSE")


def test_seccomp_arguments(box):
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
         "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}
    r = box.run("trap '' USR1; kill -0 $$ && echo zero; kill -USR1 $$ || echo refused")
    assert r.out.split() == ["zero", "refused"], r
    box.linux["seccomp"]["syscalls"][0]["args"][0]["op"] = "SCMP_CMP_NONSENSE"
    box.refused("seccomp", "SCMP_CMP_NONSENSE")


def test_no_fds_leak_into_the_program(box):
    r, w = os.pipe()
    os.set_inheritable(r, True), os.set_inheritable(w, True)
    out = box.run("ls /proc/self/fd", pass_fds=(r, w))
    assert out.out.split() == ["0", "1", "2", "3"], out  # 3: ls reads the directory
    box.up()
    out = box.oci("exec", "c", "ls", "/proc/self/fd", pass_fds=(r, w))
    assert out.out.split() == ["0", "1", "2", "3"], out
    pid = box.state()["pid"]
    assert sorted(os.listdir(f"/proc/{pid}/fd"))[:3] == ["0", "1", "2"]
    assert all(int(f) < 3 or f == "10" for f in os.listdir(f"/proc/{pid}/fd")), "fds of the init"
    os.close(r), os.close(w)


def test_preserved_fds(box):
    f = os.open(box.path("note"), os.O_CREAT | os.O_RDWR)
    os.write(f, b"passed on\n")
    os.lseek(f, 0, 0)
    box.save(sh="cat <&3; ls /proc/self/fd | wc -l")
    with open(box.path("wrap.sh"), "w") as s:
        s.write('exec 3<"$1" 4<"$1"; shift; exec "$@"\n')
    r = sh("sh", box.path("wrap.sh"), box.path("note"),
           *box.argv("run", "--bundle", box.bundle, "--preserve-fds", "1", "c"), timeout=20)
    assert r.split() == ["passed", "on", "5"], r  # 0 1 2 3 and that of ls
    os.close(f)


def test_terminal_over_a_console_socket(box):
    box.process.update(terminal=True, consoleSize={"height": 33, "width": 77})
    s = socket.socket(socket.AF_UNIX)
    s.bind(box.path("console"))
    s.listen(1)
    s.settimeout(10)
    box.create("--console-socket", box.path("console"),
               script="stty size; tty; test -t 0 && test -t 1 && test -t 2 && echo all; "
               "ls -l /dev/console; read x; echo got $x", ok=True)
    conn, _ = s.accept()
    msg, anc, _, _ = conn.recvmsg(100, socket.CMSG_SPACE(4))
    master = array.array("i", anc[0][2][:4])[0]
    box.oci("start", "c", ok=True)
    text = b""

    def more(want):
        nonlocal text
        end = time.monotonic() + 10
        while want not in text:
            assert time.monotonic() < end, text
            if select.select([master], [], [], 0.5)[0]:
                text += os.read(master, 1000)
    more(b"console")
    os.write(master, b"hello\n")
    more(b"got hello")
    assert b"33 77" in text and b"all" in text and b"/dev/pts/0" in text or b"console" in text, text
    os.close(master)
    conn.close()
    s.close()


def test_a_terminal_without_a_socket_is_refused_by_create(box):
    box.process["terminal"] = True
    r = box.create()
    assert r.rc and "--console-socket" in r.err, r
    box.process["terminal"] = False
    r = box.create("--console-socket", box.path("none"))
    assert r.rc, r
    assert not box.left(), box.left()


# ---- namespaces

def test_namespaces_are_new(box):
    kinds = ("pid", "net", "ipc", "uts", "mnt", "cgroup")
    out = box.run("for n in %s; do readlink /proc/self/ns/$n; done; echo $$; ip -o link; "
                  "ls /proc | grep -c '^[0-9]'" % " ".join(kinds)).out.splitlines()
    for n, seen in zip(kinds, out):
        assert seen.startswith(n + ":[") and seen != os.readlink(f"/proc/self/ns/{n}"), seen
    assert out[6] == "1" and "LOOPBACK" in out[7] and "UP" in out[7], out


def test_hostname_and_domainname(box):
    before = os.uname().nodename
    box.config.update(hostname="inner", domainname="example.org")
    r = box.run("hostname; cat /proc/sys/kernel/domainname")
    assert r.out.split() == ["inner", "example.org"] and os.uname().nodename == before, r
    box.ns("uts", remove=True)
    box.refused("hostname")


def test_sysctl_only_in_own_namespaces(box):
    host = read("/proc/sys/kernel/shmmax")
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "12345",
                           "net/ipv4/conf/lo/forwarding": "1"}
    r = box.run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax")
    assert r.out.split() == ["1", "12345"] and read("/proc/sys/kernel/shmmax") == host, r
    for bad in ("kernel.pid_max", "vm.swappiness", "net/../kernel/pid_max", "net.x/../../y",
                "kernel.core_pattern", "/net/ipv4/ip_forward", "kernel.shm/../core_pattern"):
        box.linux["sysctl"] = {bad: "1"}
        box.refused("sysctl")
    box.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    box.ns("network", remove=True)
    box.refused("sysctl")


def test_joining_namespaces_by_path(box):
    p = subprocess.Popen(["unshare", "-n", "-i", "-u", "sleep", "60"])
    try:
        wait_for("it", lambda: os.readlink(f"/proc/{p.pid}/ns/uts") !=
                 os.readlink("/proc/self/ns/uts") and "sleep" in read(f"/proc/{p.pid}/comm"))
        box.ns("network", f"/proc/{p.pid}/ns/net")
        box.ns("ipc", f"/proc/{p.pid}/ns/ipc")
        r = box.run("readlink /proc/self/ns/net; readlink /proc/self/ns/ipc")
        assert r.out.split() == [os.readlink(f"/proc/{p.pid}/ns/{n}") for n in ("net", "ipc")], r
        box.ns("network", f"/proc/{p.pid}/ns/ipc")
        box.refused("network")
        box.ns("network", "/nothing")
        box.refused("network")
    finally:
        p.kill()
        p.wait()


def test_joining_a_pid_namespace(box):
    box.up("sleep 100")
    pid = box.state()["pid"]
    other = Box()
    try:
        other.ns("pid", f"/proc/{pid}/ns/pid")
        r = other.run("readlink /proc/self/ns/pid; ps | grep -c 'sleep 10[0]'; echo $$")
        out = r.out.split()
        assert out[0] == os.readlink(f"/proc/{pid}/ns/pid") and out[1] == "1", r
        assert int(out[2]) > 1, r
    finally:
        other.close()


def test_a_new_user_namespace(box):
    box.ns("user")
    box.linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    box.linux["gidMappings"] = [{"containerID": 0, "hostID": 200000, "size": 65536}]
    sh("chown", "-R", "100000:200000", box.root)
    box.process["user"] = {"uid": 0, "gid": 0, "additionalGids": [5]}
    r = box.run("id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map; touch /tmp/mine; "
                "ls -l /dev/null | cut -c1; echo x >/dev/null && echo dev; stat -c %u /bin/busybox")
    assert r.rc == 0, r
    out = r.out.split()
    assert out[:8] == ["0", "0", "0", "100000", "65536", "0", "200000", "65536"], r
    assert out[8:] == ["c", "dev", "0"], r
    assert os.stat(box.root + "/tmp/mine").st_uid == 100000
    box.up()
    assert box.oci("exec", "c", "id", "-u", ok=True).out == "0\n"
    box.oci("delete", "-f", "c", ok=True)
    del box.linux["gidMappings"]
    box.refused("gidMappings")
    del box.linux["uidMappings"]
    box.refused("uidMappings")


def test_time_namespace(box):
    box.ns("time")
    box.linux["timeOffsets"] = {"boottime": {"secs": 1000000}}
    assert float(box.run("cat /proc/uptime").out.split()[0]) > 1000000
    assert float(read("/proc/uptime").split()[0]) < 1000000


# ---- the root file system

def test_masked_and_readonly_paths(box):
    with open(box.root + "/etc/secret", "w") as f:
        f.write("secret\n")
    os.mkdir(box.root + "/etc/dir")
    open(box.root + "/etc/dir/inside", "w").close()
    box.linux["maskedPaths"] = ["/etc/secret", "/etc/dir", "/proc/keys", "/not/there"]
    box.linux["readonlyPaths"] = ["/tmp", "/proc/sys", "/not/there"]
    r = box.run("cat /etc/secret; ls /etc/dir; touch /tmp/x; echo 1 >/proc/sys/kernel/domainname; "
                "touch /etc/dir/x; echo y >/etc/secret; cat /etc/secret; touch /etc/ok && echo ok")
    assert r.out == "ok\n" and r.err.lower().count("read-only file system") >= 3, r
    assert read(box.root + "/etc/secret") == "secret\n"


def test_a_read_only_root(box):
    box.config["root"]["readonly"] = True
    r = box.run("touch /x; touch /etc/x; touch /dev/shm/x && echo shm")
    assert r.out == "shm\n" and r.err.count("Read-only file system") == 2, r


def test_default_devices(box):
    r = box.run("for d in null zero full random urandom tty; do ls -l /dev/$d | cut -c1-10; done; "
                "for l in fd stdin ptmx; do readlink /dev/$l; done; head -c 4 /dev/zero | wc -c; "
                "echo x >/dev/null; mknod /tmp/sda b 8 0")
    out = r.out.split()
    assert out[:6] == ["crw-rw-rw-"] * 6, r
    assert out[6:] == ["/proc/self/fd", "/proc/self/fd/0", "pts/ptmx", "4"], r


def test_devices_of_the_config(box):
    box.process["capabilities"] = {k: ["CAP_MKNOD"] for k in ("bounding", "effective", "permitted")}
    box.linux["devices"] = [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 5,
                             "fileMode": 0o644, "uid": 3, "gid": 4}]
    box.linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    r = box.run("stat -c '%t %T %a %u %g' /dev/mine; head -c 3 /dev/mine | wc -c; "
                "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg | head -c 1")
    assert r.out.splitlines() == ["1 5 644 3 4", "3"], r
    assert "not permitted" in r.err, r


def test_mounts(box):
    src = box.path("src")
    os.makedirs(src + "/sub")
    open(src + "/file", "w").close()
    sh("mount", "-t", "tmpfs", "t", src + "/sub")
    try:
        open(src + "/sub/deep", "w").close()
        box.mount("/t", "tmpfs", "tmpfs", "size=64k", "mode=0750", "noexec", "nosuid")
        box.mount("/b", "bind", src, "bind")
        box.mount("/rb", "none", src, "rbind")
        box.mount("/ro", "bind", src, "bind", "ro")
        box.mount("/rro", "bind", src, "rbind", "rro")
        box.mount("/new/deep/file", "bind", src + "/file", "bind", "ro")
        box.mount("/tro", "tmpfs", "tmpfs", "ro")
        r = box.run("stat -c %a /t; grep ' /t ' /proc/mounts; ls /b/sub; ls /rb/sub; "
                    "touch /b/new && echo b; touch /ro/x; touch /rro/sub/x; test -f /new/deep/file "
                    "&& echo file; echo x >/new/deep/file; touch /tro/x; dd if=/dev/zero of=/t/f "
                    "bs=1k count=100 2>&1 | grep -c 'No space'")
        out = r.out.splitlines()
        assert out[0] == "750" and "noexec" in out[1] and "nosuid" in out[1], r
        assert out[2:] == ["deep", "b", "file", "1"], r
        assert r.err.lower().count("read-only file system") == 4, r
        assert os.path.exists(src + "/new") and not os.path.exists(src + "/x")
    finally:
        sh("umount", src + "/sub")


def test_wrong_mounts_are_refused(box):
    mounts = list(box.config["mounts"])
    for m, words in (
            ({"destination": "/x", "type": "bind", "source": "/nothing/here",
              "options": ["bind"]}, ["/nothing/here"]),
            ({"destination": "/x", "type": "nosuchfs", "source": "x"}, ["nosuchfs"]),
            ({"destination": "/", "type": "tmpfs", "source": "x"}, ["the container's root"]),
            ({"destination": "/tmp/../.", "type": "tmpfs", "source": "x"},
             ["the container's root"]),
            # dockerd tells people of these words what they mixed up
            ({"destination": "/etc", "type": "bind", "source": "/etc/hostname",
              "options": ["bind"]}, ["on /etc", "the source: not a directory"]),
            ({"destination": "/etc/passwd", "type": "bind", "source": "/etc", "options": ["bind"]},
             ["on /etc/passwd", "the destination: not a directory"]),
            ({"destination": "/x", "type": "tmpfs", "source": "t", "options": ["nonsense=1"]},
             ["mounts[", "nonsense"]),
            ({"destination": "/x", "type": "tmpfs", "source": "t", "options": ["idmap"]},
             ["idmap"])):
        box.config["mounts"] = mounts + [m]
        box.refused(*words)


def test_links_in_the_rootfs_stay_in_the_rootfs(box):
    os.symlink("/etc", box.root + "/link")
    os.symlink("../../../../../../../../etc", box.root + "/up")
    os.symlink("/newdir/sub", box.root + "/dangling")
    os.symlink("/etc/umiak-made-file", box.root + "/dangling-file")
    src = box.path("src")
    os.mkdir(src)
    open(src + "/mark", "w").close()
    open(box.path("afile"), "w").close()
    for target, inside in (("/link", "/etc/mark"), ("/up", "/etc/mark"),
                           ("/dangling", "/newdir/sub/mark"), ("/link/new", "/etc/new/mark"),
                           ("/../../x", "/x/mark"), ("/link/../y", "/y/mark")):
        keep = list(box.config["mounts"])
        box.mount(target, "bind", src, "bind")
        r = box.run(f"ls {inside}")
        assert r.out.split() == [inside], (target, r)
        box.config["mounts"] = keep
    box.mount("/dangling-file", "bind", box.path("afile"), "bind")
    r = box.run("true")
    assert sorted(os.listdir("/etc")) == HOST_ETC, "something was made in the host's /etc"
    assert not any(" /etc" in l for l in read("/proc/self/mountinfo").splitlines())


def test_links_in_place_of_system_folders_are_harmless(box):
    for name in ("proc", "dev", "sys"):
        p = f"{box.root}/{name}"
        os.rmdir(p)
        os.symlink("/etc", p)
        r = box.run("true")
        os.unlink(p)
        os.mkdir(p)
        assert sorted(os.listdir("/etc")) == HOST_ETC, name
        assert not any(l.split()[4] in ("/etc", "/proc/etc")
                       for l in read("/proc/self/mountinfo").splitlines()), name
        assert not box.left(), box.left()


def test_masks_and_devices_follow_no_link_out(box):
    os.symlink("/dev/null", box.root + "/etc/l")
    os.symlink("/../../../../etc/passwd", box.root + "/etc/out")
    box.linux["maskedPaths"] = ["/etc/out", "/etc/l"]
    before = read("/etc/passwd")
    box.run("cat /etc/passwd")
    assert read("/etc/passwd") == before
    box.linux["devices"] = [{"path": "/etc/../../../../tmp/umiak-dev", "type": "c", "major": 1,
                             "minor": 3}]
    box.run("true")
    assert not os.path.exists("/tmp/umiak-dev")


def test_root_paths(box):
    box.config["root"]["path"] = "/"
    box.refused("root.path")
    box.config["root"]["path"] = "nothing"
    box.refused("root.path")
    box.config["root"]["path"] = box.root
    assert box.run("exit 3").rc == 3


def test_the_host_does_not_see_the_mounts(box):
    box.up()
    assert not [l for l in read("/proc/self/mountinfo").splitlines() if box.dir in l]


def test_the_cgroup_mount_shows_the_own_group_only(box):
    r = box.run("ls /sys/fs/cgroup; find /sys/fs/cgroup -name cgroup.procs | head -3; "
                "touch /sys/fs/cgroup/x")
    assert "cgroup.procs" in r.out and box.name not in r.out, r
    assert "touch:" in r.err, r


def test_the_cgroup_mount_without_a_cgroup_namespace(box):
    box.ns("cgroup", remove=True)
    mount = [m for m in box.config["mounts"] if m["type"] == "cgroup"][0]
    make = "d=$(dirname $(find /sys/fs/cgroup -name cgroup.procs | head -1)); mkdir $d/sub && rmdir $d/sub"
    r = box.run(make)
    assert r.rc and "Read-only file system" in r.err, r
    mount["options"].remove("ro")
    r = box.run(make)
    assert r.rc == 0, r


# ---- hooks

def hook_script(box, name, more=""):
    p = box.path(name + ".sh")
    with open(p, "w") as f:
        f.write(f"#!/bin/sh\ncat >{box.path(name + '.json')}\n"
                f"echo {name} >>{box.path('order')}\n{more}")
    os.chmod(p, 0o755)
    return {"path": p, "args": [name, "a"], "env": ["PATH=/bin:/usr/bin"], "timeout": 10}


def test_hooks_in_order_with_the_state(box):
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    box.config["hooks"] = {k: [hook_script(box, k)] for k in kinds}
    box.config["annotations"] = {"k": "v"}
    box.create(ok=True)
    assert read(box.path("order")).split() == ["prestart", "createRuntime"]
    pid = box.state()["pid"]
    box.oci("start", "c", ok=True)
    assert read(box.path("order")).split() == list(kinds[:3])
    box.oci("delete", "-f", "c", ok=True)
    assert read(box.path("order")).split() == list(kinds)
    for k, status in zip(kinds, ("created", "created", "running", "stopped")):
        st = json.loads(read(box.path(k + ".json")))
        assert st["id"] == "c" and st["bundle"] == box.bundle and st["ociVersion"], st
        assert st["annotations"] == {"k": "v"}, st
        assert st["status"] == status or k == "prestart", (k, st)
        if k != "poststop":
            assert st["pid"] == pid, (k, st)


def test_hooks_in_the_container(box):
    with open(box.root + "/bin/hook", "w") as f:
        f.write("#!/bin/sh\n/bin/cat >/tmp/start.json\n")
    os.chmod(box.root + "/bin/hook", 0o755)
    box.config["hooks"] = {"startContainer": [{"path": "/bin/hook"}],
                           "createContainer": [hook_script(box, "createContainer")]}
    r = box.run("cat /tmp/start.json")
    st = json.loads(r.out)
    assert st["id"] == "c", st
    assert json.loads(read(box.path("createContainer.json")))["status"] == "created"


def test_a_failing_hook_fails_the_create(box):
    for kind in ("prestart", "createRuntime", "createContainer"):
        box.config["hooks"] = {kind: [hook_script(box, kind, "exit 3\n")]}
        r = box.create()
        assert r.rc and f"error running {kind} hook #0" in r.err and "exit status 3" in r.err, r
        assert not box.left(), box.left()
    box.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "30"],
                                              "timeout": 1}]}
    start = time.monotonic()
    r = box.create()
    assert r.rc and "timed out" in r.err and time.monotonic() - start < 8, r
    box.config["hooks"] = {"poststop": [hook_script(box, "poststop", "exit 1\n")]}
    assert box.run("exit 2").rc == 2
    assert not box.left(), box.left()


# ---- limits

def test_pids_limit_stops_a_fork_bomb(box):
    box.linux["resources"] = {"pids": {"limit": 20}}
    box.up("f() { f | f & }; f; sleep 100")
    peak = 0
    for _ in range(20):
        peak = max(peak, int(read(box.cgroup_file("pids.current", "pids.current"))))
        time.sleep(0.02)
    assert peak <= 20, peak
    assert read(box.cgroup_file("pids.max", "pids.max")) == "20\n"
    box.oci("delete", "--force", "c", ok=True)
    assert not box.left(), box.left()


def test_memory_limit_kills(box):
    box.linux["resources"] = {"memory": {"limit": 16 << 20}}
    r = box.run("head -c 200m /dev/zero | tail >/dev/null; exit $?")
    assert r.rc == 137, r
    assert not box.left(), box.left()


def test_limits_are_written(box):
    box.linux["resources"] = {"memory": {"limit": 32 << 20, "reservation": 16 << 20},
                              "cpu": {"shares": 512, "quota": 50000, "period": 100000},
                              "pids": {"limit": 33}}
    box.up()
    assert read(box.cgroup_file("memory.limit_in_bytes", "memory.max")).strip() == str(32 << 20)
    assert read(box.cgroup_file("pids.max", "pids.max")).strip() == "33"
    for v1, v2, want in (("cpu.cfs_quota_us", "cpu.max", ("50000", "50000 100000")),
                         ("cpu.shares", "cpu.weight", ("512", "59"))):
        assert read(box.cgroup_file(v1, v2)).strip() in want
    box.oci("update", "--resources", "-", "c", ok=True,
            input=json.dumps({"memory": {"limit": 48 << 20}, "pids": {"limit": 44}}))
    assert read(box.cgroup_file("memory.limit_in_bytes", "memory.max")).strip() == str(48 << 20)
    assert read(box.cgroup_file("pids.max", "pids.max")).strip() == "44"
    assert read(box.cgroup_file("cpu.shares", "cpu.weight")).strip() in ("512", "59")
    r = box.oci("update", "--resources", "-", "c", input='{"rdma": {"mlx": {"hcaHandles": 1}}}')
    assert r.rc and "rdma" in r.err, r
    assert box.oci("update", "--resources", "-", "c", input="{").rc
    with open(box.path("r.json"), "w") as f:
        f.write('{"pids": {"limit": 55}}')
    box.oci("update", "--resources", box.path("r.json"), "c", ok=True)
    assert read(box.cgroup_file("pids.max", "pids.max")).strip() == "55"


def test_pause_and_resume(box):
    box.up("i=0; while :; do i=$((i+1)); echo $i >/tmp/n; sleep 0.01; done")
    wait_for("it", lambda: os.path.exists(box.root + "/tmp/n"))
    box.oci("pause", "c", ok=True)
    assert box.state()["status"] == "paused"
    n = read(box.root + "/tmp/n")
    time.sleep(0.2)
    assert read(box.root + "/tmp/n") == n
    r = box.oci("exec", "c", "true")
    assert r.rc == 255 and "paused" in r.err, r
    assert box.oci("pause", "c").rc
    box.oci("resume", "c", ok=True)
    assert box.state()["status"] == "running"
    wait_for("progress", lambda: read(box.root + "/tmp/n") != n)
    assert box.oci("resume", "c").rc
    box.oci("pause", "c", ok=True)
    box.oci("delete", "--force", "c", ok=True)
    assert not box.left(), box.left()


def test_without_cgroups(box):
    # podman's containers have the mount all the same
    box.save(sh="ls /sys/fs/cgroup | grep -q . && echo seen; d=$(find /sys/fs/cgroup -type d -depth "
                "2>/dev/null | head -1); mkdir $d/x /sys/fs/cgroup/x 2>&1 | grep -c Read-only")
    r = box.oci("--cgroup-manager", "disabled", "run", "--bundle", box.bundle, "c")
    assert r.rc == 0 and r.out.split() == ["seen", "2"], r
    box.save(sh="exit 3")
    box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "cgroup"]
    box.save()
    r = box.oci("--cgroup-manager", "disabled", "run", "--bundle", box.bundle, "c")
    assert r.rc == 3, r
    box.linux["resources"] = {"pids": {"limit": 5}}
    box.save()
    r = box.oci("--cgroup-manager", "disabled", "run", "--bundle", box.bundle, "c")
    assert r.rc and "resources" in r.err, r


# ---- wrong configurations

def test_wrong_configs_are_refused_by_field(box):
    def but(path, value):
        c = json.loads(json.dumps(box.config))
        at = c
        for p in path[:-1]:
            at = at.setdefault(p, {})
        at[path[-1]] = value
        return c
    box.save("true")
    box.config["process"]["args"] = ["true"]
    for path, value in ((("ociVersion",), "2.0.0"), (("process", "args"), []),
                        (("process", "cwd"), "x"), (("process", "user", "uid"), -1),
                        (("process", "user", "uid"), 4294967295),
                        (("process", "apparmorProfile"), "x"),
                        (("process", "selinuxLabel"), "x"),
                        (("linux", "cgroupsPath"), "/a/../b"),
                        (("linux", "intelRdt"), {"closID": "x"}),
                        (("linux", "mountLabel"), "x"), (("linux", "netDevices"), {"e": {}}),
                        (("linux", "resources", "network"), {"classID": -1}),
                        (("linux", "rootfsPropagation"), "sideways"),
                        (("process", "env"), ["NOEQUALS"]), (("hostname",), 5)):
        with open(box.path("bundle", "config.json"), "w") as f:
            json.dump(but(path, value), f)
        r = box.oci("run", "--bundle", box.bundle, "c")
        assert r.rc and path[-1] in r.err, (path, value, r)
        assert not box.left(), (path, box.left())
    for text in ("", "{", "[]", "null", '{"ociVersion": "1.0.0"}'):
        with open(box.path("bundle", "config.json"), "w") as f:
            f.write(text)
        assert box.oci("run", "--bundle", box.bundle, "c").rc, text
    os.unlink(box.path("bundle", "config.json"))
    r = box.oci("run", "--bundle", box.bundle, "c")
    assert r.rc and "config.json" in r.err, r


# ---- leaks and safety

def test_the_program_cannot_be_overwritten_from_inside(box):
    box.create(ok=True)
    exe = f"/proc/{box.state()['pid']}/exe"
    for flags in (os.O_WRONLY, os.O_RDWR):
        try:
            os.close(os.open(exe, flags))
            raise AssertionError("the waiting init's program could be opened for writing")
        except OSError:
            pass


def test_the_waiting_init_runs_a_copy_even_from_a_read_only_file_system(box):
    ro = box.path("ro")
    os.mkdir(ro)
    sh("mount", "-t", "tmpfs", "t", ro)
    try:
        shutil.copy(os.path.join(BUILD, "umiak-oci"), ro + "/umiak-oci")
        sh("mount", "-o", "remount,ro", ro)
        box.save(sh="sleep 100")
        subprocess.run([ro + "/umiak-oci", "--root", box.path("state"), "create", "--bundle",
                        box.bundle, "--pid-file", box.path("pid"), "c"], check=True, timeout=20,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        exe = os.readlink(f"/proc/{int(read(box.path('pid')))}/exe")
        assert exe in ("/", "/memfd:umiak-oci (deleted)"), exe
        box.oci("delete", "--force", "c", ok=True)
    finally:
        sh("umount", "-l", ro)


def killed_create(box, *flags):
    box.config["hooks"] = {"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "2"]}]}
    box.save(sh="sleep 100")
    p = subprocess.Popen(box.argv("create", "--bundle", box.bundle, *flags, "c"),
                         stdin=subprocess.DEVNULL)
    wait_for("the creation", lambda: box.oci("state", "c").rc == 0 and box.cgroups())
    assert box.state()["status"] == "creating", box.state()
    time.sleep(0.3)
    p.kill()
    p.wait()
    wait_for("the init's end", lambda: not processes(box.path("state")))
    box.oci("delete", "c", ok=True)
    assert not box.left(), box.left()


def test_a_killed_create_is_deleted_without_trace(box):
    killed_create(box)


def test_a_killed_create_of_a_sibling_too(box):
    killed_create(box, "--as-sibling")
    os.waitpid(-1, 0)


FAULTS = {"create": ["runtime.state.made", "runtime.create.state", "cgroups.create.hierarchy",
                     "runtime.create.cgroup", "runtime.create.cloned", "runtime.create.saved",
                     "runtime.init.namespaces", "runtime.init.mount", "runtime.init.pivoted"],
          "start": ["runtime.start.sent", "runtime.init.starting"],
          "exec": ["runtime.exec.cloned"],
          "delete": ["runtime.delete.killed", "cgroups.remove.hierarchy", "runtime.delete.cgroup"]}


def test_a_kill_at_every_step_leaves_nothing_that_delete_does_not_find(box):
    argv = {"create": ["create", "--bundle", box.bundle, "c"], "start": ["start", "c"],
            "exec": ["exec", "c", "sleep", "1"], "delete": ["delete", "--force", "c"]}
    box.save(sh="sleep 100")
    for at, faults in FAULTS.items():
        for fault in faults:
            # the init has the environment of its create
            carrier = "create" if fault.startswith("runtime.init") else at
            armed = Fault(fault)
            for verb in ("create", "start", "exec", "delete"):
                env = dict(os.environ, **armed.env) if verb == carrier else None
                r = box.oci(*argv[verb], env=env)
                if verb == at:
                    break
                assert r.rc == 0, (fault, verb, r)
            if fault == "runtime.init.starting":  # cannot be told from a program that ended at once
                wait_for("its end", lambda: box.state()["status"] == "stopped")
            else:
                assert r.rc, f"{fault} killed nobody who was missed"
            assert armed.fired() == "umiak-oci", f"{fault} was never reached"
            armed.close()
            box.oci("delete", "--force", "c", ok=True)
            try:
                wait_for("a clean end", lambda: not box.left(), timeout=5)
            except AssertionError:
                raise AssertionError(f"after {fault}: {box.left()}")


def test_fifty_runs_leave_nothing(box):
    box.save("true")
    for _ in range(50):
        box.oci("run", "--bundle", box.bundle, "c", ok=True)
    assert not box.left(), box.left()


main(globals())
