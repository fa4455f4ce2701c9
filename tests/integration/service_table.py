#!/usr/bin/env python3
"""Services by manifest: each is asked from the host and from pods, as it is, after kill -9 of the
agent and of the server, and after somebody flushed every rule."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

# Says its name by HTTP on 8080 and 8081, by UDP on 5353.
SERVER = r"""
mkdir -p /tmp/a /tmp/b; hostname >/tmp/a/index.html; echo "b $(hostname)" >/tmp/b/index.html
trap 'exit 0' TERM
httpd -p 8080 -h /tmp/a; httpd -p 8081 -h /tmp/b
udp-name 5353 & wait
"""
SLEEP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
UDP = """import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(2)
s.connect((sys.argv[1], int(sys.argv[2])))
s.send(b'x\\n')
print(s.recv(100).decode().strip())"""


def deployment(name, replicas, script, ready=True):
    ctr = {"name": "main", "image": "busybox", "command": ["sh", "-c", script],
           "ports": [{"name": "web", "containerPort": 8080},
                     {"name": "admin", "containerPort": 8081},
                     {"name": "dgram", "containerPort": 5353, "protocol": "UDP"}]}
    if not ready:
        ctr["readinessProbe"] = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "terminationGracePeriodSeconds": 2, "containers": [ctr]}}}}


def service(name, ports, app="web", **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": app}, "ports": ports, **spec}}


SERVICES = [
    service("by-number", [{"port": 80, "targetPort": 8080}]),
    service("by-name", [{"port": 80, "targetPort": "web"}]),
    service("several", [{"name": "http", "port": 80, "targetPort": "web"},
                        {"name": "admin", "port": 81, "targetPort": "admin"},
                        {"name": "dgram", "port": 53, "targetPort": "dgram", "protocol": "UDP"},
                        # one number, two protocols
                        {"name": "http2", "port": 53, "targetPort": 8080}]),
    service("node", [{"port": 80, "targetPort": "web", "nodePort": 30080}], type="NodePort"),
    service("sticky", [{"port": 80, "targetPort": "web"}], sessionAffinity="ClientIP"),
    service("nobody", [{"port": 80, "targetPort": "web"}], app="nobody"),
    service("unready", [{"port": 80, "targetPort": "web"}], app="unready"),
    service("unready-too", [{"port": 80, "targetPort": "web"}], app="unready",
            publishNotReadyAddresses=True),
    service("headless", [{"port": 80, "targetPort": "web"}], clusterIP="None"),
]


class Asker:
    """Asks from the host, or from within a pod's network."""

    def __init__(self, pid=None):
        self.prefix = ("nsenter", f"--net=/proc/{pid}/ns/net") if pid else ()

    def http(self, ip, port=80):
        return sh(*self.prefix, "curl", "-sS", "--noproxy", "*", "--connect-timeout", "2",
                  "--max-time", "4", f"http://{ip}:{port}/", check=False).strip()

    def udp(self, ip, port):
        return sh(*self.prefix, sys.executable, "-c", UDP, ip, str(port),
                  check=False).strip().split("\n")[-1]


class Table(Cluster):
    """The Services, and what each of them must answer."""

    def make(self):
        self.busybox()
        sh("gcc", "-static", "-O", "-D_GNU_SOURCE", "-o", self.path("busybox-root/bin/udp-name"),
           os.path.join(os.path.dirname(__file__), "..", "lib", "udp_name.c"))
        self.busybox()  # once more, with it
        # An address that is not loopback's, for node ports.
        sh("ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1")
        sh("ip", "addr", "add", "192.0.2.1/24", "dev", "out0")
        sh("ip", "link", "set", "out0", "up")
        sh("ip", "link", "set", "out1", "up")
        self.run()
        self.apply(deployment("web", 3, SERVER), deployment("client", 1, SLEEP),
                   deployment("unready", 1, SERVER, ready=False), *SERVICES)
        for d in ("web", "client"):
            self.k("rollout", "status", "deploy/" + d, "--timeout=60s")
        wait_for("the unready one", lambda: [p for p in self.items("pods", "-l", "app=unready")
                                             if p["status"].get("podIP")])
        self.names = sorted(p["metadata"]["name"] for p in self.items("pods", "-l", "app=web"))
        self.host = Asker()
        self.client = Asker(self.pid_of(self.items("pods", "-l", "app=client")[0]))
        self.own = Asker(self.pid_of(self.get("pod", self.names[0])))
        self.find_addresses()

    def pid_of(self, p):
        ctr = p["status"]["containerStatuses"][0]["containerID"].split("//")[1]
        return json.loads(sh(self.path("libexec", "umiak-oci"), "--root", self.path("run", "oci"),
                             "state", ctr))["pid"]

    def find_addresses(self):
        self.ips = {s["metadata"]["name"]: s["spec"]["clusterIP"] for s in self.items("services")}

    def look(self):
        def one_of(what, got, want):
            assert got in want, f"{what}: {got!r} is not one of {want}"

        ips, names = self.ips, self.names
        for who, ask in (("host", self.host), ("pod", self.client)):
            for svc in ("by-number", "by-name", "sticky", "node"):
                one_of(f"{who}: {svc}", ask.http(ips[svc]), names)
            one_of(f"{who}: http of several", ask.http(ips["several"], 80), names)
            one_of(f"{who}: admin of several", ask.http(ips["several"], 81),
                   ["b " + n for n in names])
            one_of(f"{who}: udp of several", ask.udp(ips["several"], 53), names)
            one_of(f"{who}: tcp at udp's number", ask.http(ips["several"], 53), names)
            for svc, port in (("nobody", 80), ("unready", 80), ("by-number", 4711)):
                start = time.monotonic()
                got = ask.http(ips[svc], port)
                assert "Failed to connect" in got, f"{who}: {svc} {port}: {got}"
                assert time.monotonic() - start < 1.8, f"{who}: {svc} {port}: not at once"
            assert ask.http(ips["unready-too"]).startswith("unready-")
            first = ask.http(ips["sticky"])
            for _ in range(8):
                one_of(f"{who}: sticky", ask.http(ips["sticky"]), [first])
        one_of("host: the node's port", self.host.http("192.0.2.1", 30080), names)
        one_of("pod: the node's port", self.client.http("192.0.2.1", 30080), names)
        # A pod that asks its own Service is sometimes led to itself.
        seen = {self.own.http(ips["by-name"]) for _ in range(40)}
        assert seen == set(names), seen

    def settles(self, what):
        last, end = None, time.monotonic() + 30
        while time.monotonic() < end:  # rules follow what has changed by some milliseconds
            try:
                return self.look()
            except AssertionError as e:
                last = e
                time.sleep(0.2)
        raise AssertionError(f"{what}: {last}")


make_node = Table


def test_every_kind_of_service(node):
    node.make()
    assert node.ips["headless"] == "None"
    pods = {p["status"]["podIP"] for p in node.items("pods", "-l", "app=web")}
    slices = node.items("endpointslices", "-l", "kubernetes.io/service-name=headless")
    assert {e["addresses"][0] for s in slices for e in s["endpoints"]} == pods
    node.settles("as applied")
    for p in node.children("agent"):
        os.kill(p, signal.SIGKILL)
    node.look()  # the kernel goes on by itself
    node.wait_ready()
    node.settles("after the agent's end")
    for p in node.children("server"):
        os.kill(p, signal.SIGKILL)
    node.look()
    node.wait_ready()
    node.settles("after the server's end")
    sh("nft", "flush", "ruleset")
    node.settles("after all rules were flushed")
    node.k("delete", "service", "by-name")
    wait_for("its end", lambda: "Failed to connect" in node.host.http(node.ips["by-name"]))
    node.apply(SERVICES[1])
    node.find_addresses()
    node.settles("after one was made anew")
    # What cannot be programmed is said once, and holds nothing else up.
    said = [l.partition("service not programmed")[2] for l in node.log_text().splitlines()
            if "service not programmed" in l]
    assert len(said) <= 3 * len(set(said)), said  # three lives of the agent, at most


main(globals())
