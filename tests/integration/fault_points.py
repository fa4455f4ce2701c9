#!/usr/bin/env python3
"""A kill at every fault point that a pod's way through agent, shim and runtime meets, and at those
of a serving server's store. Each kill is one that the point itself has recorded. Afterwards: what
should run runs, what was acknowledged is there, and nothing is left behind."""
import http.client
import os
import signal
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

private_namespaces()

# ---- the pod's way

# Who is killed, and at which points. ":2" is the second pass: the first clean-up of a pod precedes
# its making and finds nothing.
POD_FAULTS = {
    "umiak": [
        "agent.pod-saved", "agent.sandbox.folders", "agent.sandbox.cgroup",
        "agent.sandbox.shim", "agent.sandbox.network", "agent.bundle.folders",
        "agent.bundle.mounted", "agent.bundle.config", "agent.retire", "agent.retired",
        "agent.cleanup.shim", "agent.cleanup.shim:2", "agent.cleanup.network",
        "agent.cleanup.network:2", "agent.cleanup.folders", "agent.cleanup.folders:2",
        "agent.pod-gone", "rootfs.snapshot-made", "rootfs.snapshot-unmounted",
        "netns.address-given", "netns.link-made", "netns.configured"],
    "umiak-shim": [
        "shim.namespaces", "shim.start", "shim.started", "shim.before-exit-record",
        "shim.after-exit-record"],
    "umiak-oci": [
        "runtime.state.made", "runtime.create.state", "runtime.create.cgroup",
        "runtime.create.cloned", "runtime.create.saved", "runtime.init.namespaces",
        "runtime.init.mount", "runtime.init.pivoted", "runtime.init.starting",
        "runtime.exec.cloned", "runtime.delete.killed", "runtime.delete.cgroup"],
}
# With the number of the host's hierarchies before the colon's number: the agent's own group and the
# removals that find nothing take the first passes.
HIERARCHY_FAULTS = ["cgroups.create.hierarchy:1", "cgroups.create.hierarchy:H+2",
                    "cgroups.remove.hierarchy:2", "cgroups.remove.hierarchy:H+2"]

SCRIPT = "echo up; trap 'exit 0' TERM; while true; do sleep 0.1; done"


def spec():
    return {"restartPolicy": "Always", "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
            "containers": [{
                "name": "main", "image": "busybox", "command": ["sh", "-c", SCRIPT],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}]}


def running(node):
    """The pid of the pod's program: not of an init that has yet to become it."""
    try:
        pid = node.ctr_pid("f")
        return pid if "echo up" in read(f"/proc/{pid}/cmdline") and alive(pid) else None
    except (AssertionError, OSError, ValueError, KeyError):
        return None


def drive_to(node, fault):
    """Takes the pod through its life until the fault has come: it starts, is probed, loses its
    program, and is told to end."""
    step, since, first = "start", time.monotonic(), None
    end = since + 90
    while not fault.fired():
        assert time.monotonic() < end, f"{fault.point} was never reached"
        pid = running(node)
        if step == "start" and pid and time.monotonic() - since > (
                3 if "exec" in fault.point else 0):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            step, first, since = "killed", pid, time.monotonic()
        elif step == "killed" and pid and pid != first:
            node.remove("f")
            step = "removed"
        time.sleep(0.03)


def settled(node):
    """It runs, answers, and stays: what a killed shim left may run for a moment before it is ended."""
    pid = running(node)
    if not pid:
        return None
    time.sleep(0.3)
    links = [l for l in sh("ip", "-o", "link").splitlines() if ": um" in l]
    given = os.listdir(node.path("state", "ipam"))
    if len(links) != 1 or len(given) != 1:
        return None
    out = sh("busybox", "ping", "-c", "1", "-W", "5", given[0], check=False)
    return " 0% packet loss" in out and running(node) == pid


def check_pod_kill(node, point, program, ruleset):
    with Fault(point) as fault:
        node.env = fault.env
        node.start()
        node.manifest("f", spec())
        drive_to(node, fault)
        assert fault.fired() == program, f"{point} killed {fault.fired()}"
        if program == "umiak":
            assert node.proc.wait(60) == -signal.SIGKILL, point
            node.proc = None
            node.env = {}
            node.run()
        else:
            assert node.proc.poll() is None, f"{point} has ended the agent"
        node.manifest("f", spec())
        wait_for(f"the pod after {point}", lambda: settled(node), timeout=60)
        node.remove("f")
        node.assert_no_leaks(timeout=60)
        assert sh("nft", "list", "ruleset") == ruleset
        node.stop()
        node.env = {}
        shutil.rmtree(node.path("log"))
        os.mkdir(node.path("log"))


def check_pod_kills(node, program, points):
    node.network = True
    node.busybox()
    node.run()
    ruleset = sh("nft", "list", "ruleset")
    hierarchies = len({os.path.realpath(d) for d in
                       glob.glob(f"{CGROUPS}/*/{node.cgroup}/shims") +
                       glob.glob(f"{CGROUPS}/{node.cgroup}/shims")})
    node.stop()
    for point in points:
        name, _, n = point.partition(":")
        if "H" in n:
            point = f"{name}:{hierarchies + int(n[2:])}"
        try:
            check_pod_kill(node, point, program, ruleset)
        except AssertionError as e:
            raise AssertionError(f"after {point}: {e}")


def test_kills_of_the_agent(node):
    check_pod_kills(node, "umiak", POD_FAULTS["umiak"])


def test_how_a_container_ended_outlives_a_kill_while_it_is_removed(node):
    node.busybox()
    for point in ("agent.retire", "agent.retired"):
        with Fault(point) as fault:
            node.env = fault.env
            node.run()
            node.manifest("oom", {"restartPolicy": "Never", "containers": [{
                "name": "main", "image": "busybox",
                "command": ["sh", "-c", "echo last words >/dev/termination-log; "
                            "tail -c 200m /dev/zero | tail >/dev/null"],
                "resources": {"limits": {"memory": "20Mi"}}}]})
            wait_for("the kill", fault.fired, timeout=60)
        assert node.proc.wait(60) == -signal.SIGKILL
        node.env = {}
        before = node.log_text().count("to=done")
        node.run()
        wait_for("the end", lambda: node.log_text().count("to=done") > before, timeout=60)
        saved, = glob.glob(node.path("state", "pods", "*", "pod.json"))
        st = json.loads(read(saved))["pod"]["status"]["containerStatuses"][0]
        ended = st["state"]["terminated"]
        assert ended["reason"] == "OOMKilled" and ended["message"].startswith("last words"), ended
        node.remove("oom")
        node.assert_no_leaks(timeout=60)
        node.stop()


def test_kills_of_the_agent_between_cgroup_hierarchies(node):
    check_pod_kills(node, "umiak", HIERARCHY_FAULTS)


def test_kills_of_the_shim(node):
    check_pod_kills(node, "umiak-shim", POD_FAULTS["umiak-shim"])


def test_kills_of_the_runtime(node):
    check_pod_kills(node, "umiak-oci", POD_FAULTS["umiak-oci"])


# ---- the store of a server that serves

STORE_FAULTS = ["store.before-commit", "store.before-commit:9", "store.before-commit:60",
                "store.after-commit", "store.after-commit:9", "store.after-commit:60",
                "store.committed", "store.committed:9", "store.committed:60"]
COMPACTION_FAULTS = ["store.compacting", "store.compacting:2"]
MAPS = "/api/v1/namespaces/default/configmaps"


class Server:
    def __init__(self, compact_keep=None):
        self.dir = tempfile.mkdtemp(prefix="umiak-test-")
        self.compact_keep = compact_keep
        self.proc = None

    def start(self, env=None):
        """True once it listens; False when it has ended before."""
        if self.compact_keep:
            argv = [os.path.join(BUILD, "tests/lib/apiserver"), self.dir, "--compact-keep",
                    str(self.compact_keep)]
        else:
            argv = [os.path.join(BUILD, "umiak"), "server", "--data-dir", self.dir + "/data",
                    "--pki-dir", self.dir + "/pki", "--kubeconfig", self.dir + "/kubeconfig",
                    "--port", "0", "--ready-fd", "3"]
            argv = ["sh", "-c", 'exec "$@" 3>&1 >&2', "sh"] + argv
        self.log = open(self.dir + "/log", "ab")
        self.proc = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                     stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        line = self.proc.stdout.readline().strip()
        self.log.close()
        if not line:
            return False
        self.port = int(line.replace("=", ":").rsplit(":", 1)[1])
        return True

    def connect(self):
        c = ssl.create_default_context(cafile=self.dir + "/pki/ca.crt")
        c.load_cert_chain(self.dir + "/pki/admin.crt", self.dir + "/pki/admin.key")
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=c, timeout=60)

    def ask(self, method, path, body=None, conn=None):
        c = conn or self.connect()
        c.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        r = c.getresponse()
        return r.status, json.loads(r.read())

    def watch(self, path):
        """The events of a bounded watch."""
        c = self.connect()
        c.request("GET", path + "&watch=1&timeoutSeconds=1")
        r = c.getresponse()
        return [json.loads(l) for l in r.read().decode().splitlines()]

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(30)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait(10)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Writer(threading.Thread):
    """Creates, changes and deletes its own objects, and keeps what was acknowledged."""

    def __init__(self, server, who, until):
        super().__init__(daemon=True)
        self.server, self.who, self.until = server, who, until
        self.acked = {}  # name -> (value, revision); value None: deleted
        self.asked = None  # the one request without an answer: name, value
        self.wrong = None

    def one(self, conn, method, name, value):
        self.asked = (name, value)
        path = MAPS if method == "POST" else f"{MAPS}/{name}"
        body = None if method == "DELETE" else {"metadata": {"name": name}, "data": {"v": value}}
        status, answer = self.server.ask(method, path, body, conn)
        if status not in (200, 201):
            self.wrong = f"{method} {name}: {status} {answer}"
            raise OSError
        rev = int(answer["metadata"]["resourceVersion"]) if method != "DELETE" else 0
        self.acked[name] = (value, rev)
        self.asked = None

    def run(self):
        n = 0
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            conn = self.server.connect()
            while not self.until():
                name = f"{self.who}-{n}"
                self.one(conn, "POST", name, f"first of {name}")
                if n % 2:
                    self.one(conn, "PUT", name, f"second of {name} " + "x" * 1000)
                if n % 5 == 4:
                    self.one(conn, "DELETE", f"{self.who}-{n - 2}", None)
                n += 1


def objects(server):
    status, lst = server.ask("GET", MAPS)
    assert status == 200, lst
    return ({o["metadata"]["name"]: o for o in lst["items"]},
            int(lst["metadata"]["resourceVersion"]))


def replay(start, events):
    state = dict(start)
    for e in events:
        if "object" not in e:
            return None  # a Status: 410, compacted
        o = e["object"]
        if e["type"] in ("ADDED", "MODIFIED"):
            state[o["metadata"]["name"]] = o
        elif e["type"] == "DELETED":
            state.pop(o["metadata"]["name"])
        elif e["type"] != "BOOKMARK":
            return None  # 410: compacted
    return state


def check_store_kill(server, point, n_writers=4):
    before, rev_before = {}, None
    if os.path.exists(server.dir + "/pki"):
        assert server.start()
        before, rev_before = objects(server)
        server.stop()
    with Fault(point) as fault:
        writers = []
        if server.start(fault.env):
            writers = [Writer(server, f"{point.replace(':', '-').replace('.', '-')}-{i}",
                              lambda: fault.fired()) for i in range(n_writers)]
            for w in writers:
                w.start()
        rc = server.proc.wait(120)
        for w in writers:
            w.join(60)
        assert fault.fired() in ("umiak", "apiserver") and rc == -signal.SIGKILL, \
            f"{point}: {fault.fired()}, exit code {rc}\n" + read(server.dir + "/log")[-2000:]
    assert not any(w.wrong for w in writers), [w.wrong for w in writers]
    assert server.start(), f"after {point}: " + read(server.dir + "/log")[-2000:]
    now, rev = objects(server)
    possible = {w.asked[0]: w.asked[1] for w in writers if w.asked}
    acked = {k: v for w in writers for k, v in w.acked.items()}
    for name, (value, at) in acked.items():
        got = now.get(name, {}).get("data", {}).get("v")
        if name in possible and got == possible[name]:
            continue
        assert got == value, f"after {point}: {name} is {str(got)[:50]}, not {str(value)[:50]}"
        assert value is None or int(now[name]["metadata"]["resourceVersion"]) == at, name
    for name, o in now.items():  # nothing that nobody asked for, nothing half
        if name in before:
            assert o == before[name], f"after {point}: {name} has changed"
        elif name in possible and name not in acked:
            assert o["data"]["v"] == possible[name], o
        else:
            assert name in acked or name == "kube-root-ca.crt", f"after {point}: whence {name}?"
    assert set(before) <= set(now), f"after {point}: lost {set(before) - set(now)}"
    assert rev >= max([at for _, at in acked.values()] + [0]), "the revision went back"
    if rev_before:
        seen = replay(before, server.watch(f"{MAPS}?resourceVersion={rev_before}"))
        assert seen == now if seen is not None else "compacting" in point, \
            f"after {point} a watch tells another story"
    status, made = server.ask("POST", MAPS, {"metadata": {"generateName": "after-"}})
    assert status == 201 and int(made["metadata"]["resourceVersion"]) > rev, made
    server.stop()


def test_kills_in_a_servers_commits():
    server = Server()
    try:
        for point in STORE_FAULTS:
            check_store_kill(server, point)
    finally:
        server.close()


def test_kills_in_a_servers_compaction():
    server = Server(compact_keep=300)
    try:
        for point in COMPACTION_FAULTS:
            check_store_kill(server, point)
    finally:
        server.close()


main(globals())
