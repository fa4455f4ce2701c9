#!/usr/bin/env python3
"""Deployments by the real kubectl on one node: roll-outs, undo, pause, scale, restart, by all
versions; and what survives the server's end in the middle of one."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


make_node = Cluster


def deployment(name, replicas=3, script=SLEEP, image="busybox", strategy=None, **spec):
    d = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
         "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}},
                  "template": {"metadata": {"labels": {"app": name}},
                               "spec": {"terminationGracePeriodSeconds": 2, "containers": [
                                   {"name": "main", "image": image,
                                    "command": ["sh", "-c", script]}]}}, **spec}}
    if strategy:
        d["spec"]["strategy"] = strategy
    return d


def pods(node, app):
    return [p for p in node.items("pods", "-l", "app=" + app)]


def living(node, app):
    return [p for p in pods(node, app) if "deletionTimestamp" not in p["metadata"]]


def rolled_out(node, name, timeout=60):
    return node.k("rollout", "status", "deploy/" + name, f"--timeout={timeout}s")


def test_what_people_do_with_every_kubectl(node):
    node.busybox()
    node.run()
    for version, kubectl in VERSIONS:
        node.kubectl = kubectl
        name = "web-" + version.replace(".", "-")
        node.apply(deployment(name))
        assert "successfully rolled out" in rolled_out(node, name), version
        assert len(living(node, name)) == 3
        node.k("scale", "deploy/" + name, "--replicas=5")
        rolled_out(node, name)
        assert len(living(node, name)) == 5
        node.k("scale", "deploy/" + name, "--replicas=2", "--current-replicas=5")
        rolled_out(node, name)
        wait_for("two are left", lambda: len(pods(node, name)) == 2)
        node.k("set", "env", "deploy/" + name, "A=b")
        rolled_out(node, name)
        assert all(p["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}]
                   for p in living(node, name))
        node.k("rollout", "restart", "deploy/" + name)
        rolled_out(node, name)
        history = node.k("rollout", "history", "deploy/" + name)
        assert [l.split()[0] for l in history.splitlines() if l[:1].isdigit()] == ["1", "2", "3"]
        assert "A:" in node.k("rollout", "history", "deploy/" + name, "--revision=2")
        node.k("rollout", "undo", "deploy/" + name, "--to-revision=1")
        rolled_out(node, name)
        assert all("env" not in p["spec"]["containers"][0] for p in living(node, name))
        node.k("rollout", "pause", "deploy/" + name)
        node.k("set", "env", "deploy/" + name, "C=d")
        node.k("scale", "deploy/" + name, "--replicas=3")
        wait_for("a third", lambda: len(living(node, name)) == 3)
        assert all("env" not in p["spec"]["containers"][0] for p in living(node, name))
        node.k("rollout", "resume", "deploy/" + name)
        rolled_out(node, name)
        assert all("env" in p["spec"]["containers"][0] for p in living(node, name))
        out = node.k("get", "deploy,rs,pods", "-o", "wide")
        assert "3/3" in out, out
        node.k("delete", "deploy,rs,pods", "--all", "--wait=false")


def test_a_broken_image_stops_and_is_undone(node):
    node.busybox()
    node.run()
    node.apply(deployment("web", replicas=4, strategy={
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}))
    rolled_out(node, "web")
    node.k("set", "image", "deploy/web", "main=no-such-image")
    wait_for("the new ones wait", lambda: sum(
        "waiting" in (p.get("status", {}).get("containerStatuses") or [{}])[0].get("state", {})
        for p in living(node, "web")) == 2)
    time.sleep(1)  # nothing more may happen
    ready = [p for p in living(node, "web") if any(
        c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"])]
    assert len(ready) == 3, len(ready)
    assert len(living(node, "web")) == 5
    node.k("rollout", "undo", "deploy/web")
    rolled_out(node, "web")
    assert all(p["spec"]["containers"][0]["image"] == "busybox" for p in living(node, "web"))
    assert len(living(node, "web")) == 4


def test_the_deadline_of_progress(node):
    node.busybox()
    node.run()
    node.apply(deployment("slow", replicas=1, image="no-such-image", progressDeadlineSeconds=2))
    out = node.k("rollout", "status", "deploy/slow", "--timeout=30s", check=False)
    assert "exceeded its progress deadline" in out, out
    conditions = {c["type"]: c for c in node.get("deploy", "slow")["status"]["conditions"]}
    assert conditions["Progressing"]["reason"] == "ProgressDeadlineExceeded"
    assert conditions["Available"]["status"] == "False"


def test_recreate_never_runs_two_versions(node):
    node.busybox()
    node.run()
    # The old ones need a while to end: the new ones come after the last of them.
    node.apply(deployment("one", replicas=2, strategy={"type": "Recreate"},
                          script="trap 'sleep 1; exit 0' TERM; while true; do sleep 0.1; done"))
    rolled_out(node, "one")
    old = {p["metadata"]["uid"] for p in pods(node, "one")}
    node.k("set", "env", "deploy/one", "A=b")

    def new_ones():
        seen = {p["metadata"]["uid"] for p in pods(node, "one")}
        assert not (seen & old and seen - old), (seen, old)
        return seen - old

    wait_for("the new ones", lambda: len(new_ones()) == 2, every=0.05)
    rolled_out(node, "one")


def test_killed_pods_and_processes_are_replaced(node):
    node.busybox()
    node.run()
    node.apply(deployment("web"))
    rolled_out(node, "web")
    gone = pods(node, "web")[0]["metadata"]["name"]
    node.k("delete", "pod", gone, "--wait=false")
    wait_for("another", lambda: len(living(node, "web")) == 3 and gone not in
             [p["metadata"]["name"] for p in living(node, "web")])
    rolled_out(node, "web")


def test_orphans_are_adopted_and_strangers_released(node):
    node.busybox()
    node.run()
    node.apply(deployment("web", replicas=2))
    rolled_out(node, "web")
    one = pods(node, "web")[0]["metadata"]["name"]
    node.k("label", "pod", one, "app=other", "--overwrite")
    wait_for("it stands alone", lambda: "ownerReferences" not in
             node.get("pod", one)["metadata"])
    wait_for("it is replaced", lambda: len(living(node, "web")) == 2)
    node.k("label", "pod", one, "app=web", "--overwrite")
    # Three match, two are wanted: the set takes it back and lets one go.
    wait_for("two again", lambda: len(living(node, "web")) == 2 and all(
        "ownerReferences" in p["metadata"] for p in living(node, "web")))


def test_the_server_dies_in_a_rollout(node):
    node.busybox()
    node.run()
    node.apply(deployment("web", replicas=6))
    rolled_out(node, "web")
    node.k("set", "env", "deploy/web", "A=b")
    for _ in range(3):
        for p in node.children("server"):
            os.kill(p, signal.SIGKILL)
        time.sleep(0.3)
    node.wait_ready()
    rolled_out(node, "web")
    assert len(living(node, "web")) == 6
    assert all("env" in p["spec"]["containers"][0] for p in living(node, "web"))
    sets = node.items("replicasets", "-l", "app=web")
    assert sorted(s["spec"]["replicas"] for s in sets) == [0, 6]


def test_history_is_bounded(node):
    node.busybox()
    node.run()
    node.apply(deployment("web", replicas=1, revisionHistoryLimit=2))
    for i in range(5):
        rolled_out(node, "web")
        node.k("set", "env", "deploy/web", f"A=v{i}")
    rolled_out(node, "web")
    wait_for("the old ones go", lambda: len(node.items("replicasets", "-l", "app=web")) == 3)


main(globals())
