#!/usr/bin/env python3
"""Static pods on a node without a server: life, restarts, volumes, probes, adoption, crashes."""
import os
import signal
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

private_namespaces()

LOOP = "trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done"


def ctr(script, name="main", **more):
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


def test_a_pod_runs_and_ends_with_its_manifest(node):
    node.busybox()
    node.run()
    node.manifest("hello", {"containers": [ctr("echo hello; " + LOOP)]})
    wait_for("the greeting", lambda: "hello" in node.logs("hello"))
    node.remove("hello")
    wait_for("the end", lambda: "bye" in node.logs("hello"))
    node.assert_no_leaks()


def test_snapshots_of_before_a_reboot_go_with_their_pod(node):
    node.busybox()
    node.run()
    node.manifest("old", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("the pod", lambda: "up" in node.logs("old"))
    uid, = os.listdir(node.path("state", "pods"))
    # A reboot empties the folder of what runs; an attempt of then has no bundle there any more.
    os.makedirs(node.path("images", "snapshots", f"{uid}-main.7", "upper"))
    node.remove("old")
    node.assert_no_leaks()


def test_environment_command_and_expansion(node):
    node.busybox(extra=("--env", "FROM_IMAGE=yes"))
    node.run()
    node.manifest("env", {"containers": [ctr(
        "echo $A $B $FROM_IMAGE; echo uid=$(id -u) pwd=$(pwd); echo $0 $1; " + LOOP,
        args=["$(A)", "$$(A)"], workingDir="/tmp",
        env=[{"name": "A", "value": "one"}, {"name": "B", "value": "$(A)-$(NONE)"},
             {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        securityContext={"runAsUser": 1000})]})
    out = wait_for("output", lambda: node.logs("env").count("\n") >= 2 and node.logs("env"))
    assert "one one-$(NONE) yes" in out, out
    assert "uid=1000 pwd=/tmp" in out, out
    assert "one $(A)" in out, out


def test_a_killed_container_is_started_again(node):
    node.busybox()
    node.run()
    node.manifest("again", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "up" in node.logs("again"))
    os.kill(node.ctr_pid("again"), signal.SIGKILL)
    wait_for("up again", lambda: "up" in node.logs("again", attempt=1), timeout=5)


def test_a_failing_container_backs_off(node):
    node.busybox()
    node.run()
    node.manifest("crash", {"containers": [ctr("echo try; exit 3")]})
    wait_for("the second try", lambda: "try" in node.logs("crash", attempt=1))
    wait_for("back-off", lambda: "reason=BackOff" in node.log_text())
    time.sleep(1)
    assert not node.logs("crash", attempt=2)


def test_restart_policies(node):
    node.busybox()
    node.run()
    node.manifest("never", {"restartPolicy": "Never", "containers": [ctr("echo once; exit 1")]})
    node.manifest("onfailure", {"restartPolicy": "OnFailure",
                                "containers": [ctr("echo done; exit 0")]})
    wait_for("both ended", lambda: node.log_text().count("to=done") == 2)
    assert not node.logs("never", attempt=1) and not node.logs("onfailure", attempt=1)
    node.remove("never")
    node.remove("onfailure")
    node.assert_no_leaks()


def test_init_containers_run_in_order_before_the_others(node):
    node.busybox()
    node.run()
    shared = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    node.manifest("init", {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [ctr("echo 1 >>/v/f", "first", **shared),
                           ctr("echo 2 >>/v/f", "second", **shared)],
        "containers": [ctr("cat /v/f; " + LOOP, **shared)]})
    assert wait_for("output", lambda: node.logs("init")) == "1\n2"


def test_host_path_and_read_only_mounts(node):
    node.busybox()
    node.run()
    os.mkdir(node.path("data"))
    with open(node.path("data", "f"), "w") as f:
        f.write("from the host\n")
    node.manifest("host", {
        "volumes": [{"name": "d", "hostPath": {"path": node.path("data"), "type": "Directory"}}],
        "containers": [ctr("cat /d/f; touch /d/g 2>&1; touch /x 2>&1; " + LOOP,
                           volumeMounts=[{"name": "d", "mountPath": "/d", "readOnly": True}],
                           securityContext={"readOnlyRootFilesystem": True})]})
    out = wait_for("output", lambda: node.logs("host").count("\n") >= 2 and node.logs("host"))
    assert "from the host" in out and out.count("Read-only file system") == 2, out


def test_containers_of_a_pod_share_what_they_should(node):
    node.busybox()
    node.run()
    node.manifest("two", {"shareProcessNamespace": True, "containers": [
        ctr("echo x >/dev/shm/f; " + LOOP, "a"),
        ctr("sleep 0.5; cat /dev/shm/f; ps | grep -c 'sleep'; " + LOOP, "b")]})
    out = wait_for("output", lambda: node.logs("two", "b").count("\n") and node.logs("two", "b"))
    assert out.splitlines()[0] == "x" and int(out.splitlines()[1]) >= 2, out
    node.remove("two")
    node.assert_no_leaks()


def test_exec_probes(node):
    node.busybox()
    node.run()
    node.manifest("probed", {"containers": [ctr(
        "echo up; touch /tmp/ok; sleep 1.5; rm /tmp/ok; " + LOOP,
        livenessProbe={"exec": {"command": ["cat", "/tmp/ok"]}, "periodSeconds": 1,
                       "failureThreshold": 1})]})
    wait_for("the restart", lambda: "up" in node.logs("probed", attempt=1), timeout=15)
    assert "failed its liveness probe" in node.log_text()


def test_wrong_manifests_are_refused_by_field(node):
    node.busybox()
    node.run()
    node.manifest("bad", {"containers": [ctr("true", imagePullPolicy="Sometimes")]})
    wait_for("the refusal", lambda: "spec.containers[0].imagePullPolicy" in node.log_text())
    node.manifest("unknown", {"containers": [ctr("true", nonsense=1)]})
    wait_for("the refusal", lambda: "nonsense" in node.log_text())


def test_an_unknown_image_is_said_and_waited_for(node):
    node.run()
    node.manifest("later", {"containers": [ctr("echo here; " + LOOP)]})
    wait_for("the complaint", lambda: "is not in this node's store" in node.log_text())
    node.busybox()
    wait_for("the pod", lambda: "here" in node.logs("later"), timeout=25)


def test_the_agent_may_be_killed_and_pods_run_on(node):
    node.busybox()
    node.run()
    node.manifest("stay", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "up" in node.logs("stay"))
    wait_for("the news of it", lambda: "Started container main" in node.log_text())
    pid = node.ctr_pid("stay")
    node.stop(signal.SIGKILL)
    time.sleep(0.2)
    assert alive(pid)
    node.run()
    wait_for("adoption", lambda: "container adopted" in node.log_text())
    assert node.ctr_pid("stay") == pid
    os.kill(pid, signal.SIGKILL)
    wait_for("the restart", lambda: "up" in node.logs("stay", attempt=1))
    node.remove("stay")
    node.assert_no_leaks()


def test_an_exit_while_the_agent_is_away_is_known(node):
    node.busybox()
    node.run()
    node.manifest("away", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "up" in node.logs("away"))
    pid = node.ctr_pid("away")
    node.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.2)
    node.run()
    wait_for("the restart", lambda: "up" in node.logs("away", attempt=1))


def test_what_ended_before_a_new_agent_does_not_run_again(node):
    node.busybox()
    node.run()
    shared = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    node.manifest("ended", {
        "volumes": [{"name": "v", "emptyDir": {}}], "restartPolicy": "Never",
        "initContainers": [ctr("echo init >>/v/f", "first", **shared)],
        "containers": [ctr("echo once >>/v/f", "once", **shared),
                       ctr("sleep 0.5; cat /v/f; echo up; " + LOOP, **shared)]})
    wait_for("up", lambda: "up" in node.logs("ended"))
    pid = node.ctr_pid("ended")
    node.stop(signal.SIGKILL)
    node.run()
    wait_for("adoption", lambda: "container adopted" in node.log_text())
    time.sleep(1)
    assert node.ctr_pid("ended") == pid
    saved = glob.glob(node.path("state", "pods", "*", "volumes", "v", "f"))
    assert read(saved[0]).split() == ["init", "once"], read(saved[0])
    node.remove("ended")
    node.assert_no_leaks()


def test_a_manifest_that_is_changed_and_changed_back(node):
    node.busybox()
    node.run()
    was = {"terminationGracePeriodSeconds": 2, "containers": [
        ctr("trap '' TERM; echo was; while true; do sleep 0.1; done")]}
    node.manifest("back", was)
    wait_for("the first", lambda: "was" in node.logs("back"))
    pid = node.ctr_pid("back")
    node.manifest("back", {"containers": [ctr("echo other; " + LOOP)]})
    wait_for("the other", lambda: node.log_text().count("Started container main") == 2)
    node.manifest("back", was)
    wait_for("the first again", lambda: node.log_text().count("Started container main") == 3)
    assert not alive(pid)
    node.remove("back")
    node.assert_no_leaks()


def test_a_termination_message_of_any_bytes(node):
    node.busybox()
    node.run()
    node.manifest("bytes", {"restartPolicy": "Never", "containers": [
        ctr("printf 'a\\377b' >/dev/termination-log; exit 1")]})
    wait_for("the end", lambda: "to=done" in node.log_text())
    saved = glob.glob(node.path("state", "pods", "*", "pod.json"))
    # It is said a moment before it is saved.
    st = wait_for("the saved end", lambda: json.loads(read(saved[0]))["pod"]["status"]
                  ["containerStatuses"][0])
    assert st["state"]["terminated"]["message"] == "a?b", st
    node.remove("bytes")
    node.assert_no_leaks()


def test_volumes_that_are_tried_again_leave_no_mount(node):
    node.busybox()
    node.run()
    node.manifest("tries", {"containers": [ctr("echo up; " + LOOP)], "volumes": [
        {"name": "m", "emptyDir": {"medium": "Memory"}},
        {"name": "h", "hostPath": {"path": node.path("none"), "type": "Directory"}}]})
    wait_for("two tries", lambda: node.log_text().count("reason=FailedMount") >= 2)
    assert read("/proc/self/mounts").count("/volumes/m ") == 1
    node.remove("tries")
    node.assert_no_leaks()


def test_a_start_under_way_is_adopted(node):
    node.busybox()
    os.unlink(node.path("libexec", "umiak-oci"))
    with open(node.path("libexec", "umiak-oci"), "w") as f:
        f.write("#!/bin/sh\ncase \"$*\" in *--detach*) touch %s; sleep 1;; esac\nexec %s \"$@\"\n"
                % (node.path("begun"), os.path.join(node.build, "umiak-oci")))
        os.fchmod(f.fileno(), 0o755)
    node.run()
    node.manifest("slow", {"containers": [ctr("echo up; cat /etc/passwd; " + LOOP)]})
    wait_for("the start", lambda: os.path.exists(node.path("begun")))
    node.stop(signal.SIGKILL)
    node.run()
    wait_for("the container", lambda: "root:x:0" in node.logs("slow"))
    wait_for("the news", lambda: "Started container main" in node.log_text())
    assert "reason=Failed" not in node.log_text(), node.log_text()
    node.remove("slow")
    node.assert_no_leaks()


def test_a_manifest_removed_while_the_agent_is_away_ends_its_pod(node):
    node.busybox()
    node.run()
    node.manifest("gone", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "up" in node.logs("gone"))
    node.stop(signal.SIGKILL)
    node.remove("gone")
    node.run()
    node.assert_no_leaks()


def test_a_killed_shim_costs_a_restart_and_nothing_else(node):
    node.busybox()
    node.run()
    node.manifest("shim", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "up" in node.logs("shim"))
    pid = node.ctr_pid("shim")
    for shim in processes("umiak-shim --dir " + node.dir):
        os.kill(shim, signal.SIGKILL)
    wait_for("the restart", lambda: "up" in node.logs("shim", attempt=1))
    assert not alive(pid)
    node.remove("shim")
    node.assert_no_leaks()


def stopped_shim(node, name):
    """The pod's shim, found by its folder, which answers nobody from now on."""
    for uid in os.listdir(node.path("state", "pods")):
        saved = json.loads(read(node.path("state", "pods", uid, "pod.json")))
        if saved["pod"]["metadata"]["name"] == f"{name}-n1":
            shim, = processes(f"umiak-shim --dir {node.path('run', 'pods', uid)}")
            os.kill(shim, signal.SIGSTOP)
            return shim, node.path("run", "pods", uid, "shim.sock")
    raise AssertionError(f"no pod {name}")


def test_a_hung_shim_is_replaced(node):
    node.busybox()
    node.run()
    for name in ("hung", "full"):
        node.manifest(name, {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("both", lambda: node.log_text().count("Started container main") == 2)
    pids = [node.ctr_pid(n) for n in ("hung", "full")]
    node.stop(signal.SIGKILL)
    shims = [stopped_shim(node, n) for n in ("hung", "full")]
    queue = []
    with contextlib.suppress(BlockingIOError):
        while len(queue) < 100:
            queue.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            queue[-1].setblocking(False)
            queue[-1].connect(shims[1][1])
    assert 1 < len(queue) < 100
    node.run()
    for name in ("hung", "full"):
        wait_for(f"{name} again", lambda: "up" in node.logs(name, attempt=1), timeout=90)
    assert not any(alive(p) for p in pids + [s for s, _ in shims])
    for name in ("hung", "full"):
        node.remove(name)
    node.assert_no_leaks(timeout=60)


def test_a_hung_shim_does_not_keep_its_pod_from_ending(node):
    node.busybox()
    node.run()
    node.manifest("hung", {"containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "Started container main" in node.log_text())
    stopped_shim(node, "hung")
    node.remove("hung")
    node.assert_no_leaks(timeout=90)


def test_a_shim_killed_while_the_agent_is_away_costs_a_restart(node):
    node.busybox()
    node.run()
    node.manifest("always", {"containers": [ctr("echo up; " + LOOP)]})
    node.manifest("never", {"restartPolicy": "Never", "containers": [ctr("echo up; " + LOOP)]})
    wait_for("both", lambda: node.log_text().count("Started container main") == 2)
    wait_for("their words", lambda: all("up" in node.logs(n) for n in ("always", "never")))
    node.stop(signal.SIGKILL)
    for shim in processes("umiak-shim --dir " + node.dir):
        os.kill(shim, signal.SIGKILL)
    node.run()
    wait_for("the restart", lambda: "up" in node.logs("always", attempt=1))
    wait_for("the end of the other", lambda: "to=done" in node.log_text())
    assert node.logs("never").count("up") == 1 and not node.logs("never", attempt=1)
    for name in ("always", "never"):
        node.remove(name)
    node.assert_no_leaks()


def test_a_deadline_does_not_begin_anew_with_the_agent(node):
    node.busybox()
    node.run()
    node.manifest("late", {"activeDeadlineSeconds": 8, "containers": [ctr("echo up; " + LOOP)]})
    wait_for("up", lambda: "up" in node.logs("late"))
    for _ in range(20):
        if "to=done" in node.log_text():
            break
        time.sleep(3)
        node.stop(signal.SIGKILL)
        node.run()
    else:
        raise AssertionError("it never ends")
    node.stop(signal.SIGKILL)
    node.run()
    saved, = glob.glob(node.path("state", "pods", "*", "pod.json"))
    assert json.loads(read(saved))["pod"]["status"]["reason"] == "DeadlineExceeded"
    node.remove("late")
    node.assert_no_leaks()


def test_an_idle_node_saves_nothing(node):
    node.busybox()
    node.run()
    node.manifest("idle", {"activeDeadlineSeconds": 3600, "containers": [ctr(
        "echo up; " + LOOP, readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1})]})
    wait_for("up", lambda: "Started container main" in node.log_text())
    saved, = glob.glob(node.path("state", "pods", "*", "pod.json"))
    before = os.stat(saved)
    time.sleep(3)
    assert os.stat(saved).st_ino == before.st_ino and os.stat(saved).st_mtime == before.st_mtime


def test_a_process_that_ignores_term_is_killed_after_the_grace(node):
    node.busybox()
    node.run()
    node.manifest("deaf", {"terminationGracePeriodSeconds": 1, "containers": [
        ctr("trap '' TERM; echo up; while true; do sleep 0.1; done")]})
    wait_for("up", lambda: "up" in node.logs("deaf"))
    start = time.monotonic()
    node.remove("deaf")
    node.assert_no_leaks()
    assert time.monotonic() - start > 0.9


def test_memory_limits_kill_and_say_so(node):
    node.busybox()
    node.run()
    node.manifest("oom", {"restartPolicy": "Never", "containers": [ctr(
        "echo up; tail -c 200m /dev/zero | tail >/dev/null",
        resources={"limits": {"memory": "20Mi"}, "requests": {"memory": "20Mi"}})]})
    wait_for("the end", lambda: "to=done" in node.log_text(), timeout=30)
    saved = glob.glob(node.path("state", "pods", "*", "pod.json"))
    st = json.loads(read(saved[0]))["pod"]["status"]["containerStatuses"][0]
    assert st["state"]["terminated"]["reason"] == "OOMKilled", st


def test_old_logs_go_and_foreign_ones_stay(node):
    node.busybox()
    old = node.path("log", "default_old-n1_11111111-1111-1111-1111-111111111111")
    foreign = node.path("log", "default_x-n1_22222222-2222-2222-2222-222222222222")
    fresh = node.path("log", "default_y-n1_33333333-3333-3333-3333-333333333333")
    for d in (old, foreign, fresh):
        os.makedirs(d)
        if d != foreign:
            open(d + "/.umiak", "w").close()
    os.utime(old + "/.umiak", (1, 1))
    node.run()
    wait_for("the removal", lambda: not os.path.exists(old))
    assert os.path.exists(foreign) and os.path.exists(fresh)


def test_the_default_seccomp_profile_is_loaded(node):
    node.busybox()
    node.run()
    node.manifest("sec", {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                          "containers": [
                              ctr("grep Seccomp: /proc/self/status; " + LOOP, "on"),
                              ctr("grep Seccomp: /proc/self/status; " + LOOP, "off",
                                  securityContext={"seccompProfile": {"type": "Unconfined"}})]})
    assert wait_for("on", lambda: node.logs("sec", "on")).split() == ["Seccomp:", "2"]
    assert wait_for("off", lambda: node.logs("sec", "off")).split() == ["Seccomp:", "0"]


def test_a_privileged_container(node):
    node.busybox()
    node.run()
    node.manifest("priv", {"containers": [ctr(
        "mkdir -p /m && mount -t tmpfs none /m && echo mounted; "
        "d=$(dirname $(find /sys/fs/cgroup -name cgroup.procs | head -1)); "
        "mkdir $d/sub && echo grouped; rmdir $d/sub; " + LOOP,
        securityContext={"privileged": True})]})
    out = wait_for("output", lambda: "grouped" in node.logs("priv") and node.logs("priv"))
    assert "mounted" in out and "grouped" in out, out
    node.remove("priv")
    node.assert_no_leaks()


def test_the_leak_counter_sees_planted_leaks(node):
    node.busybox()
    node.run()
    planted = [f"{CGROUPS}/pids/{node.cgroup}/pods/besteffort/podX"]
    for p in planted:
        os.makedirs(p)
    os.makedirs(node.path("run", "pods", "left"))
    sh("mount", "-t", "tmpfs", "t", node.path("run", "pods", "left"))
    sh("ip", "link", "add", "umleft", "type", "veth", "peer", "name", "left")
    sh("ip", "link", "set", "umleft", "up")
    sh("ip", "route", "add", "10.244.0.77/32", "dev", "umleft")
    holds = subprocess.Popen(["sh", "-c", "exec 9</proc/self/ns/net; read x",
                              node.path("libexec", "umiak-shim") + " x"], stdin=subprocess.PIPE)
    want = {"cgroup", "mount", "folder", "link", "route", "process", "namespace"}
    wait_for("all kinds", lambda: {l.split()[0] for l in node.leaks()} >= want)
    holds.stdin.close()
    holds.wait(10)
    sh("ip", "link", "del", "umleft")
    sh("umount", node.path("run", "pods", "left"))
    shutil.rmtree(node.path("run", "pods", "left"))
    for p in planted:
        os.rmdir(p)
    assert not node.leaks(), node.leaks()


main(globals())
