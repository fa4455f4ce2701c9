#!/usr/bin/env python3
"""What belongs together goes together: cascades by the real kubectl of all versions, adoption of
what was orphaned, a server that is killed in the middle; what each namespace has; a silent node."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
make_node = Cluster


def deployment(name, replicas=2):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                     "template": {"metadata": {"labels": {"app": name}},
                                  "spec": {"terminationGracePeriodSeconds": 2, "containers": [
                                      {"name": "main", "image": "busybox",
                                       "command": ["sh", "-c", SLEEP]}]}}}}


def start(node):
    node.busybox()
    node.run()


def rolled_out(node, name):
    return node.k("rollout", "status", "deploy/" + name, "--timeout=60s")


def of(node, kind, app):
    return node.items(kind, "-l", "app=" + app)


def uids(items):
    return {i["metadata"]["uid"] for i in items}


def nothing_of(node, app):
    wait_for(f"nothing is left of {app}", lambda: not any(
        of(node, kind, app) for kind in ("deployments", "replicasets", "pods")), timeout=60)


def test_cascades_with_every_kubectl(node):
    start(node)
    for version, kubectl in VERSIONS:
        node.kubectl = kubectl
        for policy in ("background", "foreground"):
            app = f"{policy}-{version.replace('.', '-')}"
            node.apply(deployment(app))
            rolled_out(node, app)
            assert len(of(node, "pods", app)) == 2
            node.k("delete", "deployment", app, f"--cascade={policy}", "--timeout=60s",
                   timeout=90)
            if policy == "foreground":  # it has waited for all of them
                assert not of(node, "replicasets", app), version
                assert not of(node, "pods", app), version
            nothing_of(node, app)


def test_orphans_are_adopted_by_the_next(node):
    start(node)
    for version, kubectl in VERSIONS:
        node.kubectl = kubectl
        app = "web-" + version.replace(".", "-")
        node.apply(deployment(app))
        rolled_out(node, app)
        sets, pods = of(node, "replicasets", app), of(node, "pods", app)
        node.k("delete", "deployment", app, "--cascade=orphan", "--timeout=60s", timeout=90)
        assert not node.k("get", "deploy", "-o", "name").strip()
        left = of(node, "replicasets", app)
        assert uids(left) == uids(sets), version
        assert "ownerReferences" not in left[0]["metadata"], left
        assert uids(of(node, "pods", app)) == uids(pods), version
        # The set goes, too, and leaves its pods alone.
        node.k("delete", "rs", left[0]["metadata"]["name"], "--cascade=orphan", "--timeout=60s",
               timeout=90)
        assert uids(of(node, "pods", app)) == uids(pods), version
        assert all("ownerReferences" not in p["metadata"] for p in of(node, "pods", app))
        node.apply(deployment(app))
        rolled_out(node, app)
        # Their label pod-template-hash is that of the new set, which takes them in.
        wait_for("they have an owner again", lambda: all(
            p["metadata"].get("ownerReferences") for p in of(node, "pods", app)))
        assert uids(of(node, "pods", app)) == uids(pods), version
        node.k("delete", "deployment", app)
        nothing_of(node, app)


def test_a_set_is_adopted_by_a_new_deployment(node):
    start(node)
    node.apply(deployment("web"))
    rolled_out(node, "web")
    sets, pods = of(node, "replicasets", "web"), of(node, "pods", "web")
    node.k("delete", "deployment", "web", "--cascade=orphan", "--timeout=60s", timeout=90)
    node.apply(deployment("web"))
    rolled_out(node, "web")
    d = node.get("deploy", "web")
    now = of(node, "replicasets", "web")
    assert uids(now) == uids(sets)
    assert now[0]["metadata"]["ownerReferences"][0]["uid"] == d["metadata"]["uid"]
    assert uids(of(node, "pods", "web")) == uids(pods)


def kill_server(node):
    for p in node.children("server"):
        os.kill(p, signal.SIGKILL)


def test_the_server_dies_in_a_cascade(node):
    start(node)
    for policy in ("background", "foreground"):
        node.apply(deployment("web", replicas=8))
        rolled_out(node, "web")
        node.k("delete", "deployment", "web", "--cascade=" + policy, "--wait=false")
        for pause in (0, 0.2, 0.5):
            time.sleep(pause)
            kill_server(node)
        node.wait_ready()
        nothing_of(node, "web")
    node.apply(deployment("kept", replicas=8))
    rolled_out(node, "kept")
    before = uids(of(node, "pods", "kept"))
    node.k("delete", "deployment", "kept", "--cascade=orphan", "--wait=false")
    kill_server(node)
    node.wait_ready()
    wait_for("the deployment is gone", lambda: not of(node, "deployments", "kept") and
             not node.k("get", "deploy", "-o", "name").strip(), timeout=60)
    assert uids(of(node, "pods", "kept")) == before
    assert all("ownerReferences" not in s["metadata"] for s in of(node, "replicasets", "kept"))


def raw(node, verb, path, body):
    """kubectl has no verb for odd bodies: curl with the admin's certificate."""
    binary = isinstance(body, bytes)
    with open(node.path("body"), "wb") as f:
        f.write(body if binary else json.dumps(body).encode())
    kind = "vnd.kubernetes.protobuf" if binary else "json"
    return sh("curl", "-sS", "-k", "-X", verb, "--cert", node.path("etc/umiak/pki/admin.crt"),
              "--key", node.path("etc/umiak/pki/admin.key"), "-H",
              f"Content-Type: application/{kind}", "-H", "Accept: application/json",
              "--data-binary", "@" + node.path("body"), node.url() + path)


def protobuf_policy(name):
    """DeleteOptions with a propagationPolicy, in the envelope that clients in Go send."""
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    options = field(4, name.encode())
    return b"k8s\0" + field(1, field(1, b"v1") + field(2, b"DeleteOptions")) + field(2, options)


def test_bodies_and_collections(node):
    start(node)
    url = node.k("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}").strip()
    node.url = lambda: url
    path = "/api/v1/namespaces/default/configmaps"

    def make(name, owner=None):
        refs = [{"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"],
                 "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}] if owner else []
        node.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": name, "labels": {"t": "x"}, "ownerReferences": refs}})
        return node.get("cm", name)

    def exists(name):
        return node.k("get", "cm", name, "-o", "name", check=False).startswith("configmap/")

    for options in ({"propagationPolicy": "Sideways"},
                    {"propagationPolicy": "Orphan", "orphanDependents": True}):
        make("a")
        out = json.loads(raw(node, "DELETE", path + "/a", options))
        assert out["code"] == 422 and "propagationPolicy" in out["message"], out
    out = json.loads(raw(node, "DELETE", path + "/a", protobuf_policy("Sideways")))
    assert out["code"] == 422 and "Sideways" in out["message"], out
    out = json.loads(raw(node, "DELETE", path + "?propagationPolicy=x&labelSelector=t", {}))
    assert out["code"] == 422, out
    b = make("b", make("a"))
    raw(node, "DELETE", path + "/a", {"orphanDependents": True})
    wait_for("a is gone", lambda: not exists("a"))
    b = node.get("cm", "b")
    assert "ownerReferences" not in b["metadata"], b
    make("c", b)
    raw(node, "DELETE", path + "/b", {"orphanDependents": False})
    wait_for("b and c are gone", lambda: not exists("b") and not exists("c"))
    h = make("h", make("g"))
    assert h["metadata"]["ownerReferences"]
    raw(node, "DELETE", path + "/g", protobuf_policy("Orphan"))
    wait_for("g is gone", lambda: not exists("g"))
    assert "ownerReferences" not in node.get("cm", "h")["metadata"]
    raw(node, "DELETE", path + "/h", protobuf_policy("Background"))
    e = make("e", make("d"))
    e["metadata"]["labels"] = {}
    node.k("label", "cm", "e", "t-")
    raw(node, "DELETE", path + "?labelSelector=t&propagationPolicy=Orphan", {})
    wait_for("d is gone", lambda: not exists("d"))
    assert "ownerReferences" not in node.get("cm", "e")["metadata"]
    node.k("label", "cm", "e", "t=x")
    make("f", e)
    raw(node, "DELETE", path + "?labelSelector=t%3Dx", {"propagationPolicy": "Foreground"})
    wait_for("e and f are gone", lambda: not exists("e") and not exists("f"))


def test_what_a_namespace_has(node):
    start(node)
    node.k("create", "namespace", "mine")
    wait_for("an account", lambda: "serviceaccount/default" in
             node.k("get", "sa", "-n", "mine", "-o", "name"))
    ca = read(node.path("etc/umiak/pki/ca.crt"))
    wait_for("the CA", lambda: json.loads(node.k(
        "get", "cm", "kube-root-ca.crt", "-n", "mine", "-o", "json",
        check=False) or "{}").get("data") == {"ca.crt": ca})
    node.k("delete", "cm", "kube-root-ca.crt", "-n", "mine")
    wait_for("the CA again", lambda: "kube-root-ca.crt" in
             node.k("get", "cm", "-n", "mine", "-o", "name"))
    node.k("delete", "namespace", "mine", "--timeout=60s", timeout=90)
    ep = node.get("endpoints", "kubernetes")["subsets"][0]
    assert ep["addresses"][0]["ip"] == "127.0.0.1", ep
    slices = node.items("endpointslices", "-l", "kubernetes.io/service-name=kubernetes")
    assert [s["endpoints"][0]["addresses"] for s in slices] == [["127.0.0.1"]], slices
    assert slices[0]["ports"] == [{"name": "https", "protocol": "TCP",
                                   "port": ep["ports"][0]["port"]}], slices


def test_a_silent_node_comes_back(node):
    start(node)
    node.apply(deployment("web", replicas=1))
    rolled_out(node, "web")
    before = uids(of(node, "pods", "web"))

    def condition(obj):
        return [c["status"] for c in obj["status"]["conditions"] if c["type"] == "Ready"][0]

    agents = node.children("agent")
    assert agents
    for p in agents:
        os.kill(p, signal.SIGSTOP)
    try:
        wait_for("silence is noticed", lambda: condition(node.get("node", "n1")) == "Unknown",
                 timeout=120)
        wait_for("its pods are not ready", lambda: condition(of(node, "pods", "web")[0]) ==
                 "False", timeout=60)
        taints = node.get("node", "n1")["spec"]["taints"]
        # The only node: nobody is driven out.
        assert [(t["key"], t["effect"]) for t in taints] == [
            ("node.kubernetes.io/unreachable", "NoSchedule")], taints
    finally:
        for p in agents:
            os.kill(p, signal.SIGCONT)
    wait_for("it is back", lambda: condition(node.get("node", "n1")) == "True", timeout=120)
    wait_for("no taint is left", lambda: "taints" not in node.get("node", "n1")["spec"],
             timeout=60)
    wait_for("its pods are ready again", lambda: condition(of(node, "pods", "web")[0]) == "True",
             timeout=60)
    assert uids(of(node, "pods", "web")) == before


main(globals())
