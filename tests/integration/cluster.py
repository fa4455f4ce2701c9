#!/usr/bin/env python3
"""One node, server and agent, driven by the real kubectl: from apply to a real process, and through
what kills lesser systems."""
import base64
import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

LOOP = "trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done"


make_node = Cluster


def pod(name, script, **spec):
    main = {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}
    main.update(spec.pop("main", {}))
    spec.setdefault("terminationGracePeriodSeconds", 1)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"t": "t"}},
            "spec": {"containers": [main], **spec}}


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name, **data):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}}


def http(node, ip, port=80, path="/"):
    return sh("curl", "-sS", "--noproxy", "*", "--max-time", "3", f"http://{ip}:{port}{path}")


def test_every_kubectl_from_apply_to_delete(node):
    node.busybox()
    node.run()
    for version, path in VERSIONS:
        node.kubectl = path
        name = "web-" + version.replace(".", "-")
        node.apply(config("page", **{"index.html": "page of " + version}),
                   pod(name, "echo started; httpd -f -p 80 -h /www & " + LOOP,
                       volumes=[{"name": "v", "configMap": {"name": "page"}}],
                       main={"volumeMounts": [{"name": "v", "mountPath": "/www"}],
                             "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1}}))
        node.ready(name)
        table = node.k("get", "pods", "-o", "wide")
        assert name in table and "1/1" in table and "Running" in table and "n1" in table, table
        got = node.get("pod", name)
        assert got["status"]["podIP"].startswith("10.244.0."), got["status"]
        assert "page of " + version in http(node, got["status"]["podIP"])
        assert node.k("logs", name).startswith("started"), node.k("logs", name)
        assert node.k("logs", name, "--tail=1", "--timestamps").split(" ", 1)[1] == "started\n"
        text = node.k("describe", "pod", name)
        assert "Scheduled" in text and "Started" in text, text
        follow = subprocess.Popen(
            [path, "logs", "-f", name], stdout=subprocess.PIPE, text=True,
            env=dict(os.environ, HOME=node.dir,
                     KUBECONFIG=os.path.join(node.dir, "etc/umiak/admin.kubeconfig")))
        time.sleep(0.3)
        node.k("delete", "pod", name)
        assert follow.communicate(timeout=10)[0] == "started\nbye\n"
        assert name not in node.k("get", "pods")
    node.k("delete", "configmap", "page")
    node.assert_no_leaks()


def test_secrets_and_configmaps_as_environment_and_files(node):
    node.busybox()
    node.run()
    node.apply(
        config("c", one="1", two="2"), secret("s", password="geheim", user="u"),
        pod("env", "echo $one $P $X_user; cat /s/password; ls -l /s/ | grep -c ..data; "
            "stat -c %a /s/..data/password; cat /c/deep/er; id; " + LOOP,
            volumes=[{"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
                     {"name": "c", "configMap": {"name": "c", "items": [
                         {"key": "two", "path": "deep/er"}]}}],
            main={"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s",
                                                                      "key": "password"}}}],
                  "envFrom": [{"configMapRef": {"name": "c"}},
                              {"prefix": "X_", "secretRef": {"name": "s"}}],
                  "volumeMounts": [{"name": "s", "mountPath": "/s"},
                                   {"name": "c", "mountPath": "/c"}]}))
    node.ready("env")
    out = wait_for("output", lambda: node.k("logs", "env").count("\n") >= 4 and
                   node.k("logs", "env"))
    assert out.startswith("1 geheim u\ngeheim"), out
    assert "\n400\n" in out and "\n2uid=0" in out, out
    # Neither the log of the agent nor the saved pod knows the secret.
    assert "geheim" not in node.log_text()
    assert "geheim" not in sh("grep", "-rs", "geheim", node.path("state"), check=False)


def test_a_pod_waits_for_what_it_names(node):
    node.busybox()
    node.run()
    node.apply(pod("waits", "echo $V; " + LOOP,
                   main={"env": [{"name": "V", "valueFrom": {"configMapKeyRef": {
                       "name": "late", "key": "v"}}}]}))
    wait_for("the reason", lambda: "CreateContainerConfigError" in node.k("get", "pods"))
    node.apply(config("late", v="here"))
    node.ready("waits")
    assert node.k("logs", "waits") == "here\n"


def test_what_cannot_be_placed_stays_pending_and_says_why(node):
    node.busybox()
    node.run()
    node.apply(pod("big", LOOP, main={"resources": {"requests": {"cpu": "900"}}}))
    wait_for("the event", lambda: "Insufficient cpu" in node.k("describe", "pod", "big"))
    got = node.get("pod", "big")
    assert got["status"]["phase"] == "Pending" and "nodeName" not in got["spec"], got
    node.apply(pod("picky", LOOP, nodeSelector={"disk": "ssd"}))
    wait_for("the reason", lambda: "node affinity/selector" in node.k("describe", "pod", "picky"))
    node.k("label", "node", "n1", "disk=ssd")
    node.ready("picky")
    node.k("cordon", "n1")
    node.apply(pod("late", LOOP))
    wait_for("the reason", lambda: "unschedulable" in node.k("describe", "pod", "late"))
    node.k("uncordon", "n1")
    node.ready("late")


def test_an_unknown_image(node):
    node.run()
    node.apply(pod("noimage", LOOP, main={"image": "example.com/no/such:1"}))
    wait_for("ErrImagePull", lambda: "ErrImagePull" in node.k("get", "pods") or
             "ImagePullBackOff" in node.k("get", "pods"))
    wait_for("back-off", lambda: "ImagePullBackOff" in node.k("get", "pods"))
    assert "example.com/no/such:1" in node.k("describe", "pod", "noimage")


def test_the_server_may_be_killed(node):
    node.busybox()
    node.run()
    node.apply(config("kept", a="b"), pod("stay", "echo up; " + LOOP))
    node.ready("stay")
    before = node.get("pod", "stay")
    for _ in range(3):
        for p in node.children("server"):
            os.kill(p, signal.SIGKILL)
        wait_for("the server", lambda: "kept" in node.k("get", "configmaps", check=False))
    node.wait_ready()
    after = node.get("pod", "stay")
    assert after["status"]["containerStatuses"][0]["containerID"] == \
        before["status"]["containerStatuses"][0]["containerID"]
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    node.apply(pod("new", LOOP))
    node.ready("new")


def test_the_agent_may_be_killed(node):
    node.busybox()
    node.run()
    node.apply(pod("stay", "echo up; " + LOOP))
    node.ready("stay")
    before = node.get("pod", "stay")["status"]
    for p in node.children("agent"):
        os.kill(p, signal.SIGKILL)
    node.k("delete", "pod", "stay", "--wait=false")
    node.apply(pod("other", LOOP))
    node.ready("other")
    wait_for("the deletion", lambda: "stay" not in node.k("get", "pods"))
    assert before["containerStatuses"][0]["restartCount"] == 0
    node.k("delete", "pods", "--all")
    node.assert_no_leaks()


def test_crashes_count_and_back_off(node):
    node.busybox()
    node.run()
    node.apply(pod("crash", "echo no; exit 7"))
    wait_for("CrashLoopBackOff", lambda: "CrashLoopBackOff" in node.k("get", "pods"))
    st = node.get("pod", "crash")["status"]["containerStatuses"][0]
    assert st["lastState"]["terminated"]["exitCode"] == 7 and st["restartCount"] >= 1, st
    node.apply(pod("job", "echo done", restartPolicy="Never"))
    wait_for("Completed", lambda: "Completed" in node.k("get", "pods"))
    assert node.k("logs", "job") == "done\n"
    node.k("delete", "pod", "crash", "job")
    node.assert_no_leaks()


def test_a_new_agent_knows_what_the_old_one_did(node):
    node.busybox()
    node.run()
    oom = pod("oom", LOOP, restartPolicy="Never")
    oom["spec"]["containers"].append({
        "name": "eater", "image": "busybox",
        "command": ["sh", "-c", "tail -c 200m /dev/zero | tail >/dev/null"],
        "resources": {"limits": {"memory": "20Mi"}}})
    node.apply(oom, pod("late", LOOP, activeDeadlineSeconds=2), pod("cut", LOOP),
               pod("crash", "echo no; exit 7"))

    def status(name, ctr="main"):
        st = node.get("pod", name)["status"]
        return st, {c["name"]: c for c in st["containerStatuses"]}[ctr]

    def known():
        assert status("oom", "eater")[1]["state"]["terminated"]["reason"] == "OOMKilled"
        st, c = status("late")
        assert (st["phase"], st["reason"]) == ("Failed", "DeadlineExceeded"), st
        assert c["restartCount"] == 0 and st["startTime"] == started.get("late", st["startTime"])
        st, c = status("crash")
        assert c["restartCount"] >= 2 and c["lastState"]["terminated"]["exitCode"] == 7, c
        return True

    started = {}
    wait_for("all ends", known, timeout=90)
    wait_for("the second back-off", lambda: "back-off 20s" in
             status("crash")[1]["state"]["waiting"]["message"])
    started["late"] = status("late")[0]["startTime"]
    for p in node.children("agent"):
        os.kill(p, signal.SIGKILL)
    node.apply(pod("new", LOOP))
    node.ready("new", timeout=60)
    for _ in range(10):  # by now all statuses have been told again
        known()
        time.sleep(0.2)
    wait_for("the third back-off", lambda: known() and "back-off 40s" in
             status("crash")[1]["state"]["waiting"]["message"], timeout=60)
    node.ready("cut")
    node.k("patch", "pod", "cut", "-p", '{"spec":{"activeDeadlineSeconds":1}}')
    wait_for("the new deadline", lambda: status("cut")[0].get("reason") == "DeadlineExceeded")
    node.k("delete", "pods", "--all", "--timeout=60s", timeout=70)
    node.assert_no_leaks()


# A seccomp filter that answers pidfd_open with EMFILE: load the number; is it that; errno, allow.
def without_pidfds():
    libc = ctypes.CDLL(None, use_errno=True)
    program = b"".join(struct.pack("HBBI", *i) for i in (
        (0x20, 0, 0, 0), (0x15, 0, 1, 434), (0x06, 0, 0, 0x00050000 | 24),
        (0x06, 0, 0, 0x7fff0000)))
    text = ctypes.create_string_buffer(program)
    fprog = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(text)))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, fprog, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def test_a_daemon_that_cannot_be_watched_is_not_left_alone(node):
    p = subprocess.run(
        [os.path.join(node.build, "umiak"), "up", "--root", node.dir, "--node-name", "n1",
         "--libexec-dir", node.path("libexec"), "--cgroup-parent", node.cgroup],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=without_pidfds,
        timeout=60)
    assert p.returncode and "watch the server: Too many open files" in p.stdout, p.stdout
    assert not node.children("server") and not node.children("agent")


def test_deleting_a_namespace_ends_its_pods(node):
    node.busybox()
    node.run()
    node.k("create", "namespace", "shop")
    node.k("-n", "shop", "apply", "-f", "-", input=json.dumps(pod("p", LOOP)))
    node.k("-n", "shop", "wait", "--for=condition=Ready", "pod/p", "--timeout=20s")
    node.k("delete", "namespace", "shop", "--timeout=20s")
    node.assert_no_leaks()


def test_nginx_and_redis_from_debian_come_back(node):
    nginx, redis = debian_image("nginx-light"), debian_image("redis-server")
    node.image("import", nginx, "nginx", timeout=120)
    node.image("import", redis, "redis", timeout=120)
    node.run()
    node.apply(
        config("nginx", **{"nginx.conf": "daemon off; user root; error_log stderr; pid /tmp/pid;"
                           " events {} http { access_log off; server { listen 80; location / {"
                           " return 200 'nginx here\\n'; } } }"}),
        secret("redis", password="geheim"),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nginx"}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "c", "configMap": {"name": "nginx"}}],
            "containers": [{"name": "nginx", "image": "nginx",
                            "command": ["/usr/sbin/nginx", "-c", "/conf/nginx.conf"],
                            "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1},
                            "volumeMounts": [{"name": "c", "mountPath": "/conf"}]}]}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "redis"}, "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "redis", "image": "redis",
                            "command": ["/usr/bin/redis-server"],
                            "args": ["--bind", "0.0.0.0", "--save", "", "--requirepass",
                                     "$(PASSWORD)"],
                            "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {
                                "name": "redis", "key": "password"}}}],
                            "readinessProbe": {"exec": {"command": [
                                "redis-cli", "-a", "geheim", "ping"]}, "periodSeconds": 1},
                            "livenessProbe": {"tcpSocket": {"port": 6379}}}]}})

    def nginx_answers():
        return "nginx here" in http(node, node.get("pod", "nginx")["status"]["podIP"])

    def redis_answers():
        ip = node.get("pod", "redis")["status"]["podIP"]
        return "+PONG" in sh("bash", "-c", f"exec 3<>/dev/tcp/{ip}/6379; "
                             "printf 'AUTH geheim\\r\\nPING\\r\\n' >&3; timeout 1 cat <&3 || true")

    for name, ctr, answers in (("nginx", "nginx", nginx_answers),
                               ("redis", "redis", redis_answers)):
        node.ready(name)
        wait_for(f"{name} to answer", answers)
        uid = node.get("pod", name)["metadata"]["uid"]
        group = glob.glob(f"{CGROUPS}/pids/{node.cgroup}/pods/*/pod{uid}/{ctr}-*")[0]
        os.kill(first_process(group), signal.SIGKILL)
        wait_for("the restart", lambda: node.get("pod", name)["status"]["containerStatuses"][0]
                 ["restartCount"] == 1)
        node.ready(name)
        wait_for(f"{name} to answer again", answers)


main(globals())
