#!/usr/bin/env python3
"""Tokens, projected and downwardAPI volumes, and what changes in them while pods run."""
import base64
import ctypes
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

make_node = Cluster
SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def pod(name, script=SLEEP, volumes=(), mounts=(), labels=None, annotations=None, main=None,
        **spec):
    c = {"name": "main", "image": "busybox", "command": ["sh", "-c", script],
         "volumeMounts": [{"name": n, "mountPath": p} for n, p in mounts], **(main or {})}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": labels or {"t": "t"},
                         "annotations": annotations or {}},
            "spec": {"terminationGracePeriodSeconds": 1, "volumes": list(volumes),
                     "containers": [c], **spec}}


def config(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name, **data):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}}


def up(node, *objects):
    node.busybox()
    node.run()
    if objects:
        node.apply(*objects)


def pid_of(node, name, ctr="main"):
    uid = node.get("pod", name)["metadata"]["uid"]
    for d in glob.glob(f"{CGROUPS}/pids/{node.cgroup}/pods/*/pod{uid}/{ctr}-*") + \
            glob.glob(f"{CGROUPS}/{node.cgroup}/pods/*/pod{uid}/{ctr}-*"):
        if first_process(d):
            return first_process(d)
    raise AssertionError(f"no process of {name}/{ctr}")


def run_in(node, name, *argv, check=True, ctr="main"):
    """A command in the container's namespaces, as root."""
    return sh("nsenter", "-t", str(pid_of(node, name, ctr)), "-m", "-n", "-r", "-w", "--",
              "/bin/busybox", *argv, check=check)


def cat(node, name, path):
    return run_in(node, name, "cat", path)


def folder(node, name, volume):
    """The volume as it stands on the node."""
    uid = node.get("pod", name)["metadata"]["uid"]
    return node.path("run", "pods", uid, "volumes", volume)


def access_volume(p):
    v, = [v for v in p["spec"]["volumes"] if v["name"].startswith("kube-api-access-")]
    return v


def environment(node, name):
    return dict(l.split("=", 1) for l in read(f"/proc/{pid_of(node, name)}/environ").split("\0")
                if "=" in l)


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def ask(node, name, path, token=None, body=None):
    """A request from the pod's own network, as a client library makes it: code, answer."""
    env = environment(node, name)
    root = f"/proc/{pid_of(node, name)}/root" + ACCOUNT
    argv = ["nsenter", "-t", str(pid_of(node, name)), "-n", "curl", "-sS", "--noproxy", "*",
            "--max-time", "30", "--cacert", root + "/ca.crt", "-w", "\n%{http_code}",
            "-H", "Authorization: Bearer " + (token or read(root + "/token"))]
    if body is not None:
        argv += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    url = f"https://{env['KUBERNETES_SERVICE_HOST']}:{env['KUBERNETES_SERVICE_PORT']}{path}"
    text, code = sh(*argv, url).rsplit("\n", 1)
    return int(code), json.loads(text)


def whoami(node, name, **kw):
    code, r = ask(node, name, "/apis/authentication.k8s.io/v1/selfsubjectreviews", body={
        "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, **kw)
    return code, r["status"]["userInfo"] if code == 201 else r


def kill_agent(node):
    for p in node.children("agent"):
        os.kill(p, signal.SIGKILL)


# ---- tokens


def test_a_pod_asks_the_api_with_its_token(node):
    up(node)
    node.k("create", "sa", "robot")
    node.apply(pod("asker", serviceAccountName="robot",
                   initContainers=[{"name": "first", "image": "busybox",
                                    "command": ["ls", ACCOUNT + "/token"]}]), pod("stay"))
    node.ready("asker")
    node.ready("stay")
    p = node.get("pod", "asker")
    v = access_volume(p)
    assert re.fullmatch("kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}", v["name"]), v
    assert v["projected"]["defaultMode"] == 420 and v["projected"]["sources"] == [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {
            "apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}], v
    for c in p["spec"]["containers"] + p["spec"]["initContainers"]:
        assert {"name": v["name"], "readOnly": True, "mountPath": ACCOUNT} in c["volumeMounts"], c
    assert cat(node, "asker", ACCOUNT + "/namespace") == "default"
    assert "BEGIN CERTIFICATE" in cat(node, "asker", ACCOUNT + "/ca.crt")
    assert "Read-only" in run_in(node, "asker", "touch", ACCOUNT + "/x", check=False)
    env = environment(node, "asker")
    assert env["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and env["KUBERNETES_SERVICE_PORT"] == "443"
    assert env["KUBERNETES_SERVICE_PORT_HTTPS"] == "443", env
    assert env["KUBERNETES_PORT_443_TCP"] == "tcp://10.96.0.1:443", env
    code, r = ask(node, "asker", "/version")
    assert code == 200 and r["gitVersion"].startswith("v1.33"), r
    code, who = whoami(node, "asker")
    assert code == 201 and who["username"] == "system:serviceaccount:default:robot", who
    extra = {k.split("/")[1]: x for k, x in who["extra"].items()}
    assert extra["pod-name"] == ["asker"] and extra["pod-uid"] == [p["metadata"]["uid"]], who
    assert extra["node-name"] == ["n1"] and extra["credential-id"][0].startswith("JTI="), who
    code, r = ask(node, "asker", "/api/v1/pods")
    assert code == 403 and 'User "system:serviceaccount:default:robot"' in r["message"], r
    token = cat(node, "asker", ACCOUNT + "/token")
    c = claims(token)
    assert c["exp"] - c["iat"] == 3607 and c["kubernetes.io"]["pod"]["name"] == "asker", c
    for version, path in VERSIONS:
        node.kubectl = path
        text = node.k("describe", "pod", "asker")
        for want in (v["name"], "Projected (a volume that contains injected data",
                     "TokenExpirationSeconds:  3607", "ConfigMapName:           kube-root-ca.crt",
                     "DownwardAPI:             true", ACCOUNT + " from " + v["name"] + " (ro)"):
            assert want in text, (version, want, text)
        assert "NoServiceAccountToken" not in text, text
    node.k("delete", "pod", "asker")
    assert whoami(node, "stay", token=token)[0] == 401
    assert whoami(node, "stay")[0] == 201
    node.k("delete", "pod", "stay")
    node.assert_no_leaks()


def test_who_gets_a_token(node):
    up(node)
    node.k("create", "sa", "quiet")
    node.k("patch", "sa", "quiet", "-p", '{"automountServiceAccountToken":false}')
    out = node.k("apply", "-f", "-", input=json.dumps(pod("lost", serviceAccountName="nobody")),
                 check=False)
    assert 'pods "lost" is forbidden: error looking up service account default/nobody: ' \
        'serviceaccount "nobody" not found' in out, out
    manifest = json.dumps(pod("own", volumes=[{"name": "e", "emptyDir": {}}],
                              mounts=[("e", ACCOUNT)]))
    for _ in range(2):  # the second changes nothing
        out = node.k("apply", "-f", "-", input=manifest)
    assert "unchanged" in out, out
    node.apply(pod("no", automountServiceAccountToken=False), pod("quiet", serviceAccountName="quiet"),
               pod("loud", serviceAccountName="quiet", automountServiceAccountToken=True),
               {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "lost"},
                "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": dict(pod("x")["spec"], serviceAccountName="nobody")}}})
    for name, want in (("own", False), ("no", False), ("quiet", False), ("loud", True)):
        node.ready(name)
        volumes = [v["name"] for v in node.get("pod", name)["spec"].get("volumes", [])]
        assert any(v.startswith("kube-api-access") for v in volumes) == want, (name, volumes)
    wait_for("the event", lambda: "error looking up service account default/nobody" in
             node.k("describe", "rs"))
    node.k("create", "sa", "nobody")
    node.k("rollout", "status", "deployment/lost", "--timeout=90s", timeout=100)
    node.k("apply", "-f", "-", "--dry-run=server", input=manifest)
    node.k("label", "pod", "own", "more=yes")


def test_who_may_read_a_token_file(node):
    token = [{"name": "t", "projected": {"defaultMode": 0o640, "sources": [
        {"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}}]}}]
    user = {"runAsUser": 1000}
    up(node, pod("root", volumes=token, mounts=[("t", "/t")]),
       pod("web", volumes=token, mounts=[("t", "/t")], securityContext=user),
       pod("both", volumes=token, mounts=[("t", "/t")], securityContext=user, initContainers=[
           {"name": "i", "image": "busybox", "command": ["true"],
            "securityContext": {"runAsUser": 2000}}]))
    for name, want in (("root", "640 0"), ("web", "600 1000"), ("both", "640 0")):
        node.ready(name)
        got = run_in(node, name, "stat", "-L", "-c", "%a %u", "/t/t").strip()
        assert got == want, (name, got)
    token = cat(node, "web", "/t/t")
    assert claims(token)["aud"] == ["vault"] and claims(token)["exp"] - claims(token)["iat"] == 600
    assert whoami(node, "root", token=token)[0] == 401, "it is for somebody else"


def renewable(node, name):
    """Makes its tokens old, as the agent has them noted, while there is no agent."""
    uid = node.get("pod", name)["metadata"]["uid"]
    path = node.path("run", "pods", uid, "refs.json")
    refs = json.loads(read(path))
    old = 0
    for key, entry in refs.items():
        if key.startswith("tokens/"):
            entry["dueNs"] = entry["dueWallNs"] = 0
            old += 1
    assert old, refs.keys()
    with open(path, "w") as f:
        json.dump(refs, f)


class Frozen:
    """Processes that do nothing for a while."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        for p in self.pids:
            os.kill(p, signal.SIGSTOP)

    def __exit__(self, *exc):
        for p in self.pids:
            with contextlib.suppress(OSError):
                os.kill(p, signal.SIGCONT)


def test_tokens_are_renewed(node):
    up(node, pod("p"))
    node.ready("p")
    first = cat(node, "p", ACCOUNT + "/token")
    before = os.readlink(folder(node, "p", access_volume(node.get("pod", "p"))["name"]) + "/..data")
    # An agent that is started again has nothing to do.
    kill_agent(node)
    node.apply(pod("q"))
    node.ready("q", timeout=60)
    assert cat(node, "p", ACCOUNT + "/token") == first
    up_, = processes(f"umiak up --root {node.dir}")
    with Frozen([up_]):  # starts no other
        kill_agent(node)
        renewable(node, "p")
    new = wait_for("another token", lambda: cat(node, "p", ACCOUNT + "/token") != first and
                   cat(node, "p", ACCOUNT + "/token"), timeout=60)
    assert claims(new)["jti"] != claims(first)["jti"]
    v = folder(node, "p", access_volume(node.get("pod", "p"))["name"])
    assert os.readlink(v + "/..data") != before
    assert sorted(os.listdir(v)) == sorted(
        ["..data", os.readlink(v + "/..data"), "ca.crt", "namespace", "token"]), os.listdir(v)
    assert whoami(node, "p")[0] == 201
    # While the server is away the old one stays; then it is renewed.
    with Frozen([up_]):
        kill_agent(node)
        renewable(node, "p")
        servers = node.children("server")
    with Frozen(servers):
        wait_for("the agent", lambda: node.children("agent"), timeout=60)
        time.sleep(2)
        assert cat_pid(node, "p") == new
    wait_for("a third token", lambda: cat(node, "p", ACCOUNT + "/token") != new, timeout=120)


def cat_pid(node, name):
    """Without a server to ask for its uid."""
    pod_, = [s for s in (json.loads(read(f)) for f in
                         glob.glob(node.path("state", "pods", "*", "pod.json")))
             if s["pod"]["metadata"]["name"] == name]
    v = access_volume(pod_["pod"])["name"]
    return read(node.path("run", "pods", pod_["pod"]["metadata"]["uid"], "volumes", v, "token"))


def test_after_a_reboot_without_a_server_pods_run_and_their_token_follows(node):
    up(node, pod("p", "cp -r " + ACCOUNT + " /tmp/was; " + SLEEP))
    node.ready("p")
    agent, = node.children("agent")
    argv = read(f"/proc/{agent}/cmdline").split("\0")[:-1]
    uid = node.get("pod", "p")["metadata"]["uid"]
    node.stop(signal.SIGKILL)
    for p in node.children("server") + node.children("agent") + processes("umiak-shim"):
        if node.dir in read(f"/proc/{p}/cmdline"):
            os.kill(p, signal.SIGKILL)
    for d in glob.glob(f"{CGROUPS}/*/{node.cgroup}/pods/*/pod{uid}/main-*"):
        for p in read(d + "/cgroup.procs").split():
            with contextlib.suppress(OSError):
                os.kill(int(p), signal.SIGKILL)
    for line in reversed(read("/proc/self/mountinfo").splitlines()):
        if node.dir in line.split()[4]:
            sh("umount", "-l", line.split()[4], check=False)
    shutil.rmtree(node.path("run"))
    os.makedirs(node.path("run"))
    for line in sh("ip", "-o", "link").splitlines():
        if ": um" in line:
            sh("ip", "link", "del", line.split(":")[1].strip().split("@")[0], check=False)
    log = open(node.path("agent.log"), "ab")
    argv[0] = os.path.join(node.build, "umiak")
    alone = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        def process():
            for d in glob.glob(f"{CGROUPS}/pids/{node.cgroup}/pods/*/pod{uid}/main-*"):
                for p in read(d + "/cgroup.procs").split():
                    if "cp -r" in read(f"/proc/{p}/cmdline"):
                        return int(p)
        pid = wait_for("the pod without a server", process, timeout=150)
        at = f"/proc/{pid}/root{ACCOUNT}"
        assert read(at + "/namespace") == "default" and not os.path.exists(at + "/token")
        assert "ServiceAccountTokenDelayed" in node.log_text()
    finally:
        alone.kill()
        alone.wait(30)
    node.start()
    node.wait_ready()
    wait_for("its token", lambda: read(at + "/token"), timeout=60)
    wait_for("its CA", lambda: read(at + "/ca.crt"), timeout=60)
    assert process() == pid
    assert whoami(node, "p")[0] == 201


# ---- all kinds


SOURCES = [
    {"secret": {"name": "s", "items": [{"key": "password", "path": "deep/er/pass", "mode": 0o400}]}},
    {"configMap": {"name": "c"}},
    {"configMap": {"name": "none", "optional": True}},
    {"secret": {"name": "s", "items": [{"key": "no", "path": "no"}], "optional": True}},
    {"serviceAccountToken": {"path": "tokens/vault", "audience": "vault"}},
    {"downwardAPI": {"items": [
        {"path": "pod/labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "pod/annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
        {"path": "pod/uid", "fieldRef": {"fieldPath": "metadata.uid"}, "mode": 0o600},
        {"path": "pod/tier", "fieldRef": {"fieldPath": "metadata.labels['tier']"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu",
                                             "divisor": "1m"}},
        {"path": "memory", "resourceFieldRef": {"containerName": "main",
                                                "resource": "requests.memory", "divisor": "1Mi"}},
        {"path": "disk", "resourceFieldRef": {"containerName": "main",
                                              "resource": "limits.ephemeral-storage"}},
        {"path": "nothing", "resourceFieldRef": {"containerName": "main",
                                                 "resource": "requests.ephemeral-storage"}}]}},
]


def test_projected_and_downward_volumes(node):
    up(node, secret("s", password="geheim"), config("c", one="1", two="2"),
       pod("p", volumes=[{"name": "all", "projected": {"defaultMode": 0o444, "sources": SOURCES}},
                         {"name": "d", "downwardAPI": {"items": [
                             {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                             {"path": "a//./b", "fieldRef": {"fieldPath": "metadata.namespace"}},
                         ]}}], mounts=[("all", "/all"), ("d", "/d")],
           labels={"tier": "front", "app": "x"}, annotations={"note": 'a "b"\n\tc\\'},
           main={"resources": {"limits": {"cpu": "1500m"}, "requests": {"memory": "20Mi"}}}))
    node.ready("p")
    p = node.get("pod", "p")
    want = {"deep/er/pass": "geheim", "one": "1", "two": "2", "pod/uid": p["metadata"]["uid"],
            "pod/labels": 'app="x"\ntier="front"', "pod/tier": "front", "cpu": "1500",
            "memory": "20", "nothing": "0"}
    for path, text in want.items():
        assert cat(node, "p", "/all/" + path) == text, (path, cat(node, "p", "/all/" + path))
    assert 'note="a \\"b\\"\\n\\tc\\\\"' in cat(node, "p", "/all/pod/annotations")
    assert int(cat(node, "p", "/all/disk")) > 1 << 20
    assert claims(cat(node, "p", "/all/tokens/vault"))["aud"] == ["vault"]
    for path, mode in (("deep/er/pass", "400"), ("one", "444"), ("pod/uid", "600"),
                       ("tokens/vault", "444")):
        got = run_in(node, "p", "stat", "-L", "-c", "%a", "/all/" + path).strip()
        assert got == mode, (path, got)
    assert cat(node, "p", "/d/name") == "p" and cat(node, "p", "/d/a/b") == "default"
    names = run_in(node, "p", "ls", "-A", "/all").split()
    assert "no" not in names and "..data" in names and "deep" in names, names
    for version, path in VERSIONS:
        node.kubectl = path
        text = node.k("describe", "pod", "p")
        assert "SecretName:" in text and "DownwardAPI" in text, (version, text)


def test_what_a_volume_names_but_is_not_there(node):
    up(node, pod("p", volumes=[{"name": "v", "projected": {"sources": [
        {"configMap": {"name": "late", "items": [{"key": "k", "path": "k"}]}}]}}],
        mounts=[("v", "/v")]),
        pod("q", volumes=[{"name": "v", "downwardAPI": {"items": [{
            "path": "x", "resourceFieldRef": {"containerName": "none", "resource": "limits.cpu"}}]}}],
            mounts=[("v", "/v")]))
    wait_for("the reason", lambda: 'configmaps "late"' in node.k("describe", "pod", "p"))
    node.apply(config("late", x="y"))
    wait_for("the key", lambda: "references non-existent key: k" in node.k("describe", "pod", "p"))
    node.apply(config("late", k="v"))
    node.ready("p")
    assert cat(node, "p", "/v/k") == "v"
    wait_for("the container", lambda: "container none not found" in node.k("describe", "pod", "q"))
    node.k("delete", "pod", "q")


def test_labels_and_annotations_that_change(node):
    items = [{"path": x, "fieldRef": {"fieldPath": f"metadata.{x}"}}
             for x in ("labels", "annotations")]
    up(node, pod("p", volumes=[{"name": "d", "downwardAPI": {"items": items}}],
                 mounts=[("d", "/d")]))
    node.ready("p")
    assert cat(node, "p", "/d/labels") == 't="t"'
    node.k("label", "pod", "p", "more=yes")
    wait_for("the label", lambda: cat(node, "p", "/d/labels") == 'more="yes"\nt="t"', timeout=60)
    node.k("annotate", "pod", "p", "who=me")
    wait_for("the annotation", lambda: 'who="me"' in cat(node, "p", "/d/annotations"), timeout=60)
    with Frozen([processes(f"umiak up --root {node.dir}")[0]]):
        kill_agent(node)
        node.k("label", "pod", "p", "more-")
    wait_for("the label's end", lambda: cat(node, "p", "/d/labels") == 't="t"', timeout=60)


# ---- changes


READER = """
import os, sys, time
dir = sys.argv[1]
print("up", flush=True)
seen = 0
while not os.path.exists(sys.argv[2]):
    try:
        fd = os.open(dir + "/..data", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        sys.exit("no ..data")
    texts = []
    try:
        for name in ("a", "b", "c"):
            f = os.open(name, os.O_RDONLY, dir_fd=fd)
            texts.append(os.read(f, 1 << 20))
            os.close(f)
    except FileNotFoundError:
        texts = []  # this generation went while it was read
    os.close(fd)
    if texts and (len(set(texts)) > 1 or not texts[0]):
        sys.exit("half: %r" % [t[:20] for t in texts])
    seen += 1
print(seen)
"""


def test_a_configmap_that_changes(node):
    def generation(n):
        return config("c", **{k: f"{n} " + "x" * 50000 for k in "abc"})
    up(node, generation(0), secret("s", k="old"),
       pod("p", volumes=[{"name": "c", "configMap": {"name": "c"}},
                         {"name": "s", "secret": {"secretName": "s"}},
                         {"name": "o", "configMap": {"name": "opt", "optional": True}},
                         {"name": "all", "projected": {"sources": [
                             {"configMap": {"name": "c", "items": [{"key": "a", "path": "a"}]}},
                             {"secret": {"name": "s"}}]}}],
           mounts=[("c", "/c"), ("s", "/s"), ("o", "/o"), ("all", "/all")],
           main={"env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
       pod("q", volumes=[{"name": "c", "configMap": {"name": "c"}}], mounts=[("c", "/c")]))
    node.ready("p")
    node.ready("q")
    stop = node.path("stop")
    reader = subprocess.Popen([sys.executable, "-c", READER, folder(node, "p", "c"), stop],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reader.stdout.readline() == "up\n"
    for n in range(1, 8):
        node.apply(generation(n))
        time.sleep(0.3)
    for name in ("p", "q"):
        wait_for(f"the last in {name}", lambda: cat(node, name, "/c/b").startswith("7 "), timeout=60)
    wait_for("the projected one", lambda: cat(node, "p", "/all/a").startswith("7 "), timeout=60)
    open(stop, "w").close()
    out, err = reader.communicate(timeout=60)
    assert reader.returncode == 0 and int(out) > 10, (out, err)
    # Files that come and go; an object that comes and goes.
    node.apply(secret("s", k="new", more="x"), config("opt", here="yes"))
    wait_for("the key", lambda: cat(node, "p", "/s/k") == "new", timeout=60)
    wait_for("one more", lambda: cat(node, "p", "/all/more") == "x", timeout=60)
    wait_for("the optional one", lambda: cat(node, "p", "/o/here") == "yes", timeout=60)
    node.k("patch", "secret", "s", "-p", '{"data":{"more":null}}')
    wait_for("one less", lambda: "more" not in run_in(node, "p", "ls", "/s").split(), timeout=60)
    wait_for("there too", lambda: "more" not in run_in(node, "p", "ls", "/all").split(), timeout=60)
    assert environment(node, "p")["E"] == "old", "a process keeps its environment"
    node.k("delete", "cm", "c")
    time.sleep(1)
    assert cat(node, "p", "/c/a").startswith("7 "), "what was made of it stays"
    node.apply(generation(9))
    wait_for("the new one", lambda: cat(node, "p", "/c/a").startswith("9 "), timeout=60)
    # A container that starts again has the new.
    os.kill(pid_of(node, "p"), signal.SIGKILL)
    wait_for("the restart", lambda: environment(node, "p")["E"] == "new", timeout=60)
    for name in ("p", "q"):
        for v in os.listdir(node.path("run", "pods", node.get("pod", name)["metadata"]["uid"],
                                      "volumes")):
            dated = [x for x in os.listdir(folder(node, name, v)) if x.startswith("..2")]
            assert len(dated) == 1, (name, v, dated)


def test_changes_while_the_agent_or_the_server_is_away(node):
    up(node, config("c", k="1"), config("fixed", k="1"),
       pod("p", volumes=[{"name": "c", "configMap": {"name": "c"}},
                         {"name": "f", "configMap": {"name": "fixed"}}],
           mounts=[("c", "/c"), ("f", "/f")]))
    node.ready("p")
    with Frozen([processes(f"umiak up --root {node.dir}")[0]]):
        kill_agent(node)
        node.apply(config("c", k="2"))
    wait_for("the change", lambda: cat(node, "p", "/c/k") == "2", timeout=60)
    for p in node.children("server"):
        os.kill(p, signal.SIGKILL)
    wait_for("the server", lambda: "fixed" in node.k("get", "configmaps", check=False), timeout=60)
    node.apply(config("c", k="3"))
    wait_for("the next", lambda: cat(node, "p", "/c/k") == "3", timeout=60)
    node.k("patch", "cm", "fixed", "-p", '{"immutable":true}')
    assert cat(node, "p", "/f/k") == "1"


def test_kills_of_the_agent_while_it_writes_a_volume(node):
    """Each leaves the old or the new content whole, and the next agent finishes."""
    points = ["agent.volume.file", "agent.volume.written", "agent.volume.linked",
              "agent.volume.swapped", "agent.volume.tidied", "agent.volume.refreshed"]
    node.busybox()
    node.run()
    node.apply(config("c", a="0", b="0", c="0"),
               pod("p", volumes=[{"name": "c", "configMap": {"name": "c"}}], mounts=[("c", "/c")]))
    node.ready("p")
    node.stop()
    for n, point in enumerate(points, 1):
        with Fault(point) as fault:
            os.environ.update(fault.env)
            try:
                node.start()
            finally:
                for k in fault.env:
                    del os.environ[k]
            node.wait_ready()
            node.apply(config("c", **({k: str(n) for k in "abc"} | {f"new{n}": "x"})))
            wait_for(f"the kill at {point}", fault.fired, timeout=60)
            at = folder(node, "p", "c")
            wait_for(f"the change after {point}",
                     lambda: [cat(node, "p", "/c/" + k) for k in "abc"] == [str(n)] * 3, timeout=60)
            wait_for(f"order after {point}", lambda: sorted(
                x for x in os.listdir(at) if not x.startswith("..2")) == sorted(
                    ["..data", "a", "b", "c", f"new{n}"]) and
                len([x for x in os.listdir(at) if x.startswith("..2")]) == 1, timeout=60)
            node.stop()
            wait_for("the end", lambda: not node.children("agent") + node.children("server"),
                     timeout=60)
    node.start()
    node.wait_ready()
    node.k("delete", "pod", "p")
    node.assert_no_leaks()


def test_what_is_secret_stays_in_memory(node):
    mark = "marker7391"
    up(node, secret("s", k=mark), pod("p", volumes=[{"name": "s", "secret": {"secretName": "s"}}],
                                      mounts=[("s", "/s")], main={"env": [
                                          {"name": "E", "valueFrom": {"secretKeyRef": {
                                              "name": "s", "key": "k"}}}]}))
    node.ready("p")
    token = cat(node, "p", ACCOUNT + "/token")
    node.apply(secret("s", k=mark + "new"))
    wait_for("the change", lambda: cat(node, "p", "/s/k") == mark + "new", timeout=60)
    for text in (mark, base64.b64encode(mark.encode()).decode()[:12], token, token.split(".")[2]):
        for where in ("state", "log", "agent.log"):
            found = sh("grep", "-rlsF", "--", text, node.path(where), check=False)
            assert not found, (text[:20], found)
    uid = node.get("pod", "p")["metadata"]["uid"]
    for root, _, files in os.walk(node.path("run", "pods", uid)):
        for f in files:
            path = os.path.join(root, f)
            if os.path.isfile(path) and "/rootfs/" not in path and mark.encode() in \
                    open(path, "rb").read():
                assert "/volumes/" in path or os.stat(path).st_mode & 0o77 == 0, path
    assert os.stat(node.path("run")).st_mode & 0o77 == 0


def test_an_idle_agent_writes_nothing(node):
    up(node, config("c", k="1"),
       *[pod(f"p{i}", volumes=[{"name": "c", "configMap": {"name": "c"}}], mounts=[("c", "/c")])
         for i in range(3)])
    for i in range(3):
        node.ready(f"p{i}")

    def stamps():
        out = {}
        for where in ("state", "run"):
            for root, dirs, files in os.walk(node.path(where, "pods")):
                if "/rootfs" in root:
                    dirs[:] = []
                    continue
                for f in files + dirs:
                    with contextlib.suppress(OSError):
                        st = os.lstat(os.path.join(root, f))
                        out[os.path.join(root, f)] = (st.st_mtime_ns, st.st_ino)
        return out
    wait_for("rest", lambda: node.k("get", "pods").count("Running") == 3)
    time.sleep(2)
    before = stamps()
    time.sleep(12)  # a heartbeat and more
    now = stamps()
    assert now == before, [(k, before.get(k), now.get(k)) for k in set(now) | set(before)
                           if now.get(k) != before.get(k)]


# ---- Services in the environment


def test_services_as_variables(node):
    def service(name, *ports, **spec):
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"selector": {"x": "y"}, "ports": list(ports), **spec}}
    up(node, service("my-db", {"name": "sql-x", "port": 5432}, {"name": "q", "port": 53,
                                                                "protocol": "UDP"}),
       service("none", {"port": 1}, clusterIP="None"))
    node.k("create", "namespace", "far")
    node.k("-n", "far", "apply", "-f", "-", input=json.dumps(service("away", {"port": 1})))
    ip = node.get("service", "my-db")["spec"]["clusterIP"]

    def ready():  # the agent follows Services by a watch of its own
        node.apply(pod("p", main={"env": [{"name": "MY_DB_PORT_53_UDP_PORT", "value": "mine"},
                                          {"name": "URL", "value": "$(MY_DB_PORT)/x"}]}))
        node.ready("p")
        env = environment(node, "p")
        if "MY_DB_SERVICE_HOST" not in env:
            node.k("delete", "pod", "p", "--now")
        return env if "MY_DB_SERVICE_HOST" in env else None
    env = wait_for("the variables", ready, timeout=60)
    want = {"MY_DB_SERVICE_HOST": ip, "MY_DB_SERVICE_PORT": "5432",
            "MY_DB_SERVICE_PORT_SQL_X": "5432", "MY_DB_SERVICE_PORT_Q": "53",
            "MY_DB_PORT": f"tcp://{ip}:5432", "MY_DB_PORT_5432_TCP": f"tcp://{ip}:5432",
            "MY_DB_PORT_5432_TCP_PROTO": "tcp", "MY_DB_PORT_5432_TCP_PORT": "5432",
            "MY_DB_PORT_5432_TCP_ADDR": ip, "MY_DB_PORT_53_UDP": f"udp://{ip}:53",
            "MY_DB_PORT_53_UDP_PORT": "mine", "URL": f"tcp://{ip}:5432/x",
            "KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    for k, v in want.items():
        assert env.get(k) == v, (k, env.get(k))
    assert not any(k.startswith(("NONE_", "AWAY_")) for k in env), env
    node.apply(pod("q", enableServiceLinks=False))
    node.ready("q")
    env = environment(node, "q")
    assert env["KUBERNETES_SERVICE_PORT_HTTPS"] == "443" and "MY_DB_PORT" not in env, env


main(globals())
