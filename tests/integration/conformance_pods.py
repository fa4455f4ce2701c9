#!/usr/bin/env python3
"""What Kubernetes' conformance tests ask of pods, where other tests here do not: hooks, messages from
the log, groups, modes of volumes, what an optional volume does when its source goes."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

make_node = Cluster
SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


def pod(name, script=SLEEP, main=None, volumes=(), mounts=(), **spec):
    c = {"name": "main", "image": "busybox", "command": ["sh", "-c", script],
         "volumeMounts": [{"name": n, "mountPath": p} for n, p in mounts], **(main or {})}
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("restartPolicy", "Never")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"t": "t"}},
            "spec": {"volumes": list(volumes), "containers": [c], **spec}}


def up(node, *objects):
    node.busybox()
    node.run()
    if objects:
        node.apply(*objects)


def ended(node, name):
    wait_for(name + " to end", lambda: node.get("pod", name)["status"]["phase"] in
             ("Succeeded", "Failed"), timeout=60)
    return node.get("pod", name)["status"]["containerStatuses"][0]


def status(node, name):
    return node.get("pod", name)["status"]["containerStatuses"][0]


def events(node, name, reason):
    return [e["message"] for e in node.items(
        "events", "--field-selector", f"involvedObject.name={name},reason={reason}")]


def hook(name, script=SLEEP, main=None, **hooks):
    return pod(name, script, main={"lifecycle": hooks, **(main or {})},
               volumes=[{"name": "v", "hostPath": {"path": "/tmp"}}], mounts=[("v", "/host")])


def test_hooks_that_run_a_command(node):
    up(node)
    mark = os.path.basename(node.dir)
    files = {k: f"/tmp/{mark}.{k}" for k in ("post", "pre", "term")}
    inside = {k: f.replace("/tmp/", "/host/") for k, f in files.items()}
    node.apply(hook(
        "exec", f"trap 'cat {inside['pre']} >{inside['term']}; exit 0' TERM; "
        "while true; do sleep 0.1; done",
        postStart={"exec": {"command": ["sh", "-c", f"sleep 1; echo begun >{inside['post']}"]}},
        preStop={"exec": {"command": ["sh", "-c", f"sleep 1; echo told >{inside['pre']}"]}}))
    try:
        # Before its hook is over it may run, but it is not ready.
        while not os.path.exists(files["post"]):
            st = node.get("pod", "exec")["status"].get("containerStatuses", [{}])[0]
            assert not st.get("ready") or os.path.exists(files["post"]), st
        node.ready("exec")
        assert read(files["post"]) == "begun\n"
        assert not os.path.exists(files["pre"])
        node.k("delete", "pod", "exec")
        assert read(files["term"]) == "told\n", "the hook comes before the signal"
    finally:
        for f in files.values():
            if os.path.exists(f):
                os.unlink(f)
    node.assert_no_leaks()


def test_hooks_over_http(node):
    up(node, pod("server", "httpd -f -vv -p 8080 -h /www 2>&1", main={
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}))
    node.ready("server")
    ip = node.get("pod", "server")["status"]["podIP"]

    def get(path):
        return {"httpGet": {"path": path, "port": 8080, "host": ip,
                            "httpHeaders": [{"name": "X-Who", "value": "hook"}]}}

    node.apply(pod("client", main={"lifecycle": {"postStart": get("/post"),
                                                 "preStop": get("/pre")}}))
    node.ready("client")  # that there is no such page does not matter
    assert "url:/post" in node.k("logs", "server") and "url:/pre" not in node.k("logs", "server")
    node.k("delete", "pod", "client")
    wait_for("the hook", lambda: "url:/pre" in node.k("logs", "server"))
    nobody = {"httpGet": {"path": "/", "port": 9, "host": ip}}
    node.apply(pod("alone", main={"lifecycle": {"postStart": nobody}}))
    assert ended(node, "alone")["state"]["terminated"]
    wait_for("the event", lambda: events(node, "alone", "FailedPostStartHook"))


def test_hooks_that_fail(node):
    up(node)
    node.apply(pod("post", restartPolicy="Always", terminationGracePeriodSeconds=1,
                   main={"lifecycle": {"postStart": {"exec": {"command": ["false"]}}}}),
               pod("pre", main={"lifecycle": {"preStop": {"exec": {"command": ["false"]}}}}))
    wait_for("a restart", lambda: status(node, "post")["restartCount"] >= 1, timeout=60)
    assert not status(node, "post")["ready"]
    wait_for("the event", lambda: events(node, "post", "FailedPostStartHook"))
    assert "command exited with 1" in events(node, "post", "FailedPostStartHook")[0]
    node.ready("pre")
    node.k("delete", "pod", "pre", "post")
    wait_for("the event", lambda: events(node, "pre", "FailedPreStopHook"))
    node.assert_no_leaks()


def test_a_hook_may_not_outlast_the_grace(node):
    up(node)
    node.apply(pod("slow", "trap 'echo told; exit 0' TERM; while true; do sleep 0.1; done",
                   terminationGracePeriodSeconds=3, main={"lifecycle": {
                       "preStop": {"exec": {"command": ["sleep", "600"]}}}}),
               pod("naps", "trap 'echo told; exit 0' TERM; while true; do sleep 0.1; done",
                   main={"lifecycle": {"preStop": {"sleep": {"seconds": 2}}}}))
    node.ready("slow")
    node.ready("naps")
    logs = {n: subprocess.Popen([node.kubectl, "logs", "-f", n], stdout=subprocess.PIPE, text=True,
                                env=dict(os.environ, HOME=node.dir, KUBECONFIG=os.path.join(
                                    node.dir, "etc/umiak/admin.kubeconfig")))
            for n in ("slow", "naps")}
    time.sleep(0.5)  # they follow
    began = time.monotonic()
    node.k("delete", "pod", "naps", "--timeout=60s", timeout=70)
    assert time.monotonic() - began >= 2, "it naps first"
    node.k("delete", "pod", "slow", "--timeout=60s", timeout=70)
    for name, p in logs.items():
        assert p.communicate(timeout=20)[0] == "told\n", name
    assert "longer than" in events(node, "slow", "FailedPreStopHook")[0]
    # A shorter grace, asked for later, ends the hook, too.
    node.apply(pod("long", "trap 'exit 0' TERM; while true; do sleep 0.1; done",
                   terminationGracePeriodSeconds=600, main={"lifecycle": {
                       "preStop": {"sleep": {"seconds": 600}}}}))
    node.ready("long")
    node.k("delete", "pod", "long", "--wait=false")
    node.k("delete", "pod", "long", "--grace-period=1", "--timeout=60s", timeout=70)
    node.assert_no_leaks()


def test_a_failed_probe_runs_the_hook(node):
    up(node)
    node.apply(pod("live", "trap 'echo told; exit 0' TERM; while true; do sleep 0.1; done",
                   restartPolicy="Always", main={
                       "livenessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1,
                                         "failureThreshold": 1},
                       "lifecycle": {"preStop": {"exec": {"command": [
                           "sh", "-c", "echo hook >/proc/1/fd/1"]}}}}))
    wait_for("a restart", lambda: status(node, "live")["restartCount"] >= 1, timeout=60)
    assert node.k("logs", "live", "--previous") == "hook\ntold\n"


def test_hooks_that_are_refused(node):
    up(node)

    def refused(what, **lifecycle):
        out = node.k("apply", "--validate=false", "-f", "-", check=False, input=json.dumps(
            pod("bad", main={"lifecycle": lifecycle})))
        assert what in out, out

    refused("lifecycle.preStop: Required value: must specify a handler type", preStop={})
    refused("may not specify more than 1 handler type", preStop={
        "sleep": {"seconds": 1}, "exec": {"command": ["a"]}})
    refused("must be non-negative and less than terminationGracePeriodSeconds (30)",
            preStop={"sleep": {"seconds": 31}})
    refused("preStop.tcpSocket: Forbidden: not supported by Umiak yet",
            preStop={"tcpSocket": {"port": 1}})
    refused("lifecycle.stopSignal: Forbidden: not supported by Umiak yet", stopSignal="SIGUSR1")
    bad = pod("bad", initContainers=[{"name": "i", "image": "busybox", "lifecycle": {
        "preStop": {"sleep": {"seconds": 1}}}}])
    out = node.k("apply", "-f", "-", check=False, input=json.dumps(bad))
    assert "may not be set for init containers" in out, out


def test_messages_from_the_log(node):
    up(node)
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    node.apply(pod("error", "echo first; echo -n DONE; exit 1", main=policy),
               pod("fine", "echo DONE; exit 0", main=policy),
               pod("file", "echo -n OK >/dev/termination-log; echo DONE; exit 1", main=policy),
               pod("never", "echo DONE; exit 1"),
               pod("much", "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; done; exit 3",
                   main=policy),
               pod("wide", "head -c 9000 /dev/zero | tr '\\0' x; exit 3", main=policy))
    want = {"error": "first\nDONE", "fine": None, "file": "OK", "never": None,
            "much": "".join(f"line {i}\n" for i in range(221, 301)), "wide": "x" * 2048}
    for name, message in want.items():
        got = ended(node, name)["state"]["terminated"].get("message")
        assert got == message, (name, got)


def test_groups(node):
    up(node, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
              "data": {"k": "dmFsdWU="}})
    look = ("id; stat -c '%a %g' /e /m; echo x >/e/f; stat -c %g /e/f; "
            "stat -Lc '%a %g' /s/k /t/token; cat /s/k")
    volumes = [{"name": "e", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}},
               {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
               {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
    mounts = [(n, "/" + n) for n in "emst"]
    node.apply(pod("with", look, volumes=volumes, mounts=mounts, securityContext={
                   "runAsUser": 1000, "fsGroup": 1001, "fsGroupChangePolicy": "OnRootMismatch",
                   "supplementalGroups": [1234, 5678]}),
               pod("without", look.replace("; cat /s/k", ""), volumes=volumes, mounts=mounts))
    for name in ("with", "without"):
        assert ended(node, name)["state"]["terminated"]["exitCode"] == 0, node.k("logs", name)
    lines = node.k("logs", "with").splitlines()
    assert "uid=1000" in lines[0] and all(g in lines[0] for g in ("1001", "1234", "5678")), lines
    assert lines[1:] == ["2777 1001", "2777 1001", "1001", "440 1001", "640 1001", "value"], lines
    lines = node.k("logs", "without").splitlines()
    assert "1001" not in lines[0], lines
    assert lines[1:] == ["777 0", "777 0", "0", "400 0", "644 0"], lines
    out = node.k("apply", "-f", "-", check=False, input=json.dumps(
        pod("bad", securityContext={"fsGroup": -1, "supplementalGroups": [1 << 31]})))
    assert "fsGroup" in out and "supplementalGroups[0]" in out, out


def test_kernel_parameters(node):
    up(node)
    show = "cd /proc/sys; cat kernel/shm_rmid_forced net/ipv4/ip_unprivileged_port_start"
    two = [{"name": "kernel.shm_rmid_forced", "value": "1"},
           {"name": "net/ipv4/ip_unprivileged_port_start", "value": "77"}]
    node.apply(pod("safe", show, securityContext={"sysctls": two}), pod("plain", show),
               pod("unsafe", show, securityContext={"sysctls": two[:1] + [
                   {"name": "kernel.msgmax", "value": "8192"}]}))
    ended(node, "safe")
    assert node.k("logs", "safe") == "1\n77\n", node.k("logs", "safe")
    ended(node, "plain")
    assert "77" not in node.k("logs", "plain")
    wait_for("the refusal", lambda: node.get("pod", "unsafe")["status"]["phase"] == "Failed")
    st = node.get("pod", "unsafe")["status"]
    assert st["reason"] == "SysctlForbidden" and "kernel.msgmax" in st["message"], st
    node.k("delete", "pods", "--all")
    node.assert_no_leaks()


def test_the_grace_of_a_probe(node):
    up(node)
    node.apply(pod("deaf", "trap '' TERM; while true; do sleep 0.1; done", restartPolicy="Always",
                   terminationGracePeriodSeconds=600, main={"livenessProbe": {
                       "exec": {"command": ["false"]}, "periodSeconds": 1, "failureThreshold": 1,
                       "terminationGracePeriodSeconds": 1}}))
    wait_for("a restart", lambda: status(node, "deaf")["restartCount"] >= 1, timeout=120)
    node.k("delete", "pod", "deaf", "--grace-period=1")


def test_the_hosts_file_says_whose_it_is(node):
    up(node, pod("own", "cat /etc/hosts"), pod("host", "cat /etc/hosts", hostNetwork=True))
    for name in ("own", "host"):
        ended(node, name)
    assert node.k("logs", "own").startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost")
    assert node.k("logs", "host") == read("/etc/hosts")


def test_what_may_be_missing_goes(node):
    up(node)
    node.k("create", "configmap", "opt", "--from-literal=k=v")
    node.k("create", "configmap", "need", "--from-literal=k=v")
    show = "while true; do for f in /o/k /n/k; do test -e $f && echo $f; done; echo --; sleep 0.2; done"
    node.apply(pod("p", show, terminationGracePeriodSeconds=1, volumes=[
        {"name": "o", "configMap": {"name": "opt", "optional": True}},
        {"name": "n", "configMap": {"name": "need"}}], mounts=[("o", "/o"), ("n", "/n")]))

    def seen(*files):
        last = node.k("logs", "p", "--tail=8").split("--\n")[-2].split()
        return last == list(files)

    wait_for("both", lambda: seen("/o/k", "/n/k"))
    node.k("delete", "configmap", "opt", "need")
    wait_for("the one that may be missing has gone", lambda: seen("/n/k"), timeout=60)
    node.k("create", "configmap", "opt", "--from-literal=k=v")
    wait_for("and is back", lambda: seen("/o/k", "/n/k"), timeout=60)


def part(name, path, mount="/p", expr=False, **more):
    return {"name": name, "mountPath": mount, "subPathExpr" if expr else "subPath": path, **more}


def test_parts_of_volumes(node):
    up(node, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
              "data": {"one": "1", "two": "2"}})
    here = node.path("host")
    os.makedirs(here + "/deep/er")
    open(here + "/deep/er/f", "w").write("of the host\n")
    volumes = [{"name": "c", "configMap": {"name": "c", "items": [
        {"key": "one", "path": "one"}, {"key": "two", "path": "in/two"}]}},
        {"name": "d", "downwardAPI": {"items": [{"path": "name", "fieldRef": {
            "fieldPath": "metadata.name"}}]}},
        {"name": "e", "emptyDir": {}}, {"name": "h", "hostPath": {"path": here}}]
    main = {"env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "volumeMounts": [part("c", "one", "/etc/passwd"), part("c", "in", "/in"),
                             part("d", "name", "/name"), part("e", "a/b", "/ab"),
                             part("e", "$(NAME)/logs", "/logs", expr=True),
                             {"name": "e", "mountPath": "/all"},
                             part("h", "deep/er", "/h", readOnly=True)]}
    node.apply(pod("p", "cat /etc/passwd /in/two; cat /name; echo; ls /etc/passwd /name; "
                   "echo x >/ab/f && echo y >/logs/g && cat /all/a/b/f /all/p/logs/g; "
                   "stat -c %a /all/a /all/a/b; cat /h/f; echo z >/h/f; echo w >/etc/passwd",
                   main=main, volumes=volumes))
    ended(node, "p")
    out = node.k("logs", "p").splitlines()
    assert out[:9] == ["12p", "/etc/passwd", "/name", "x", "y", "777", "777", "of the host",
                       "sh: can't create /h/f: Read-only file system"], out
    assert "Read-only" in out[9], out
    # A second run of the container, and nothing is left of either.
    node.apply(pod("again", "test -e /p/f || { echo >/p/f; exit 1; }; echo second; sleep 0.2",
                   restartPolicy="OnFailure", volumes=volumes[2:3],
                   main={"volumeMounts": [part("e", "x")]}))
    ended(node, "again")
    wait_for("the second run", lambda: node.k("logs", "again") == "second\n")
    node.k("delete", "pods", "--all")
    node.assert_no_leaks()
    assert read(here + "/deep/er/f") == "of the host\n"


def test_parts_that_leave_their_volume(node):
    up(node)
    here = node.path("host")
    os.makedirs(here)
    os.symlink("/", here + "/root")
    os.symlink("../..", here + "/up")
    os.symlink("inner", here + "/fine")
    os.mkdir(here + "/inner")
    os.symlink("/proc/self/root", here + "/magic")
    volumes = [{"name": "h", "hostPath": {"path": here}}]

    def apply(name, mount, env=()):
        node.apply(pod(name, "echo ran", volumes=volumes,
                       main={"env": list(env), "volumeMounts": [mount]}))

    apply("link", part("h", "root"))
    apply("below", part("h", "root/etc"))
    apply("up", part("h", "up"))
    apply("made", part("h", "up/new"))
    apply("magic", part("h", "magic/etc"))
    apply("dots", part("h", "$(P)", expr=True), [{"name": "P", "value": ".."}])
    apply("absolute", part("h", "$(P)", expr=True), [{"name": "P", "value": "/etc"}])
    apply("unset", part("h", "$(NOBODY)/x", expr=True))
    apply("good", part("h", "fine/sub"))
    assert ended(node, "good")["state"]["terminated"]["exitCode"] == 0
    assert os.path.isdir(here + "/inner/sub")
    for name, why in (("link", "subPath"), ("below", "subPath"), ("up", "subPath"),
                      ("made", "subPath"), ("magic", "subPath"),
                      ("dots", "must not contain '..'"), ("absolute", "absolute path"),
                      ("unset", 'missing value for "NOBODY"')):
        def waits():
            st = status(node, name)["state"].get("waiting", {})
            return st.get("reason") == "CreateContainerConfigError" and why in st["message"]
        wait_for(name + " to be refused", waits)
    assert not os.path.exists(os.path.join(here, "../../new"))
    # What an annotation says may be mended while the pod waits.
    env = [{"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['p']"}}}]
    node.apply(pod("mended", "echo ran", volumes=volumes,
                   main={"env": env, "volumeMounts": [part("h", "$(P)", expr=True)]}))
    wait_for("it waits", lambda: "CreateContainerConfigError" in node.k("get", "pod", "mended")
             or "waiting" in str(status(node, "mended")))
    node.k("annotate", "pod", "mended", "p=inner")
    assert ended(node, "mended")["state"]["terminated"]["exitCode"] == 0
    out = node.k("apply", "-f", "-", check=False, input=json.dumps(pod("bad", volumes=volumes, main={
        "volumeMounts": [dict(part("h", "a"), subPathExpr="b"), part("h", "../x", "/q"),
                         part("h", "/x", "/r", expr=True)]})))
    assert "mutually exclusive" in out and "must not contain '..'" in out and \
        "must be a relative path" in out, out
    node.k("delete", "pods", "--all")
    node.assert_no_leaks()


# A container that swaps a folder for a link while others start with a part of the volume.
def test_a_part_that_is_swapped(node):
    up(node)
    here = node.path("host")
    os.makedirs(here + "/x")
    with open(here + "/x/hostname", "w") as f:
        f.write("mine")
    os.symlink("/etc", here + "/evil")
    volumes = [{"name": "h", "hostPath": {"path": here}}]
    node.apply(pod("swaps", "cd /e; while true; do mv -T x y; mv -T evil x; mv -T x evil; "
                   "mv -T y x; done", volumes=volumes, mounts=[("h", "/e")],
                   terminationGracePeriodSeconds=1))
    node.ready("swaps")
    names = [f"v{i}" for i in range(20)]
    node.apply(*[pod(n, "cat /p/hostname", volumes=volumes, main={
        "volumeMounts": [part("h", "x")]}) for n in names])

    def over(name):
        st = status(node, name)["state"]
        return "terminated" in st or "CreateContainerConfigError" in str(st) or \
            "CreateContainerError" in str(st)

    for name in names:
        wait_for(name, lambda: over(name), timeout=60)
        text = node.k("logs", name, check=False)
        # A folder made in the moment in which there was none is empty, or gone again.
        assert text == "mine" or "No such file" in text or "umiak-oci:" in text or \
            "waiting to start" in text or "not found" in text, (name, text)
    node.k("delete", "pods", "--all", "--timeout=60s", timeout=70)
    node.assert_no_leaks()


main(globals())
