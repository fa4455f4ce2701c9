#!/usr/bin/env python3
"""`umiak up` as a service manager drives it: what KillMode=process ends is umiak up alone."""
import glob
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

make_node = Cluster


def container(node):
    status = node.get("pod", "stay")["status"]["containerStatuses"][0]
    return status["containerID"], status["restartCount"]


def first_process(node):
    uid = node.get("pod", "stay")["metadata"]["uid"]
    for d in glob.glob(f"{CGROUPS}/pids/{node.cgroup}/pods/*/pod{uid}/main-*") + \
            glob.glob(f"{CGROUPS}/{node.cgroup}/pods/*/pod{uid}/main-*"):
        for p in read(d + "/cgroup.procs").split():
            return int(p)
    raise AssertionError("the pod has no process")


def with_pod(node):
    node.busybox()
    node.run()
    node.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stay"},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                    {"name": "main", "image": "busybox", "command": ["sleep", "100000"]}]}})
    node.ready("stay")
    return container(node), first_process(node)


def daemons(node):
    return node.children("server") + node.children("agent")


def again(node, before, pid):
    wait_for("the end of server and agent", lambda: not daemons(node), timeout=60)
    assert alive(pid), "the pod went with umiak up"
    node.start()
    node.wait_ready()
    node.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "after"}})
    assert container(node) == before and alive(pid) and first_process(node) == pid
    assert before[1] == 0


def test_a_restart_touches_no_pod(node):
    before, pid = with_pod(node)
    assert len(daemons(node)) == 2
    node.proc.terminate()
    assert node.proc.wait(timeout=60) == 0
    again(node, before, pid)


def test_what_kills_umiak_up_ends_its_daemons_and_no_pod(node):
    before, pid = with_pod(node)
    os.kill(node.proc.pid, signal.SIGKILL)
    node.proc.wait(timeout=60)
    again(node, before, pid)


main(globals())
