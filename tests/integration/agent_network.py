#!/usr/bin/env python3
"""Static pods with addresses of their own: the pod network as the agent uses it."""
import http.server
import os
import re
import signal
import ssl
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

private_namespaces()

WAIT = "trap 'exit 0' TERM; while true; do sleep 0.1; done"
SERVE = "echo it works >/tmp/index.html; busybox httpd -p 8080 -h /tmp; "


def make_node():
    return Node(network=True)


def ctr(script, name="main", **more):
    return {"name": name, "image": "busybox", "command": ["sh", "-c", script], **more}


def uid_of(node, name):
    for path in glob.glob(node.path("state", "pods", "*", "pod.json")):
        if json.loads(read(path))["pod"]["metadata"]["name"] == f"{name}-n1":
            return os.path.basename(os.path.dirname(path))
    return None


def given(node, name):
    """The address that the pod has, or None."""
    uid = uid_of(node, name)
    for f in glob.glob(node.path("state", "ipam", "*")):
        if uid and read(f).strip() == uid:
            return os.path.basename(f)
    return None


def addr_of(node, name):
    return wait_for(f"the address of {name}", lambda: given(node, name))


def fetch(addr, *inside):
    return sh(*inside, "timeout", "2", "busybox", "wget", "-q", "-O", "-",
              f"http://{addr}:8080/index.html", check=False)


def links():
    return re.findall(r": (um\w+)@", sh("ip", "-o", "link"))


def in_pod(node, name):
    return ("nsenter", f"--net=/proc/{node.ctr_pid(name)}/ns/net")


def unhealthy(node, name):
    """The complaints of a pod's probes."""
    return [l for l in node.log_text().splitlines()
            if f"pod={name}-n1 reason=Unhealthy" in l]


def test_a_server_in_a_pod_answers_host_and_pods(node):
    node.busybox()
    node.run()
    node.manifest("web", {"containers": [ctr(SERVE + WAIT)]})
    node.manifest("client", {"containers": [ctr("echo up; " + WAIT)]})
    addr = addr_of(node, "web")
    assert re.match(r"10\.244\.0\.\d+$", addr), addr
    wait_for("the answer", lambda: "it works" in fetch(addr))
    wait_for("the client", lambda: "up" in node.logs("client"))
    assert "it works" in fetch(addr, *in_pod(node, "client"))
    assert addr_of(node, "client") != addr
    assert f"inet {addr}/32" in sh(*in_pod(node, "web"), "ip", "addr")
    assert len(links()) == 2
    node.remove("web")
    wait_for("the link to go", lambda: len(links()) == 1)
    node.remove("client")
    node.assert_no_leaks()


def test_containers_of_a_pod_talk_over_loopback(node):
    node.busybox()
    node.run()
    node.manifest("two", {"containers": [
        ctr(SERVE + WAIT, "a"),
        ctr("sleep 0.5; wget -q -O - http://127.0.0.1:8080/index.html; " + WAIT, "b")]})
    wait_for("the answer", lambda: "it works" in node.logs("two", "b"))


def test_http_and_tcp_probes_reach_the_pod(node):
    node.busybox()
    node.run()
    http = {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1}
    tcp = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    node.manifest("http", {"containers": [ctr(SERVE + WAIT, readinessProbe=http,
                                              livenessProbe=tcp)]})
    node.manifest("tcp", {"containers": [ctr(SERVE + WAIT, readinessProbe=tcp,
                                             livenessProbe=http)]})
    node.manifest("wrong", {"containers": [ctr(SERVE + WAIT, readinessProbe={
        "httpGet": {"path": "/none", "port": 8080}, "periodSeconds": 1})]})
    wait_for("the probe of what is not there", lambda: unhealthy(node, "wrong"))
    assert "404" in unhealthy(node, "wrong")[0]
    for name in ("http", "tcp"):
        wait_for("the server", lambda: "it works" in fetch(addr_of(node, name)))
        early = len(unhealthy(node, name))
        time.sleep(2.2)
        assert len(unhealthy(node, name)) == early, unhealthy(node, name)[-1]
        assert not node.logs(name, attempt=1)


class Tls(http.server.BaseHTTPRequestHandler):
    """Right only when it is asked as kubelets ask, and with far more to say than anybody reads."""

    def do_GET(self):
        ok = (self.path == "/healthz" and self.headers["Host"] == "who.example" and
              self.headers["User-Agent"].startswith("kube-probe/") and
              all(self.headers[f"X-{i}"] == "y" for i in range(20)))
        body = b"x" * 200000
        self.send_response(200 if ok else 418)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass

    def log_message(self, *args):
        pass


def test_https_probes_trust_any_certificate(node):
    sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
       "-subj", "/CN=someone", "-days", "2", "-keyout", node.path("tls.key"), "-out",
       node.path("tls.crt"))
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(node.path("tls.crt"), node.path("tls.key"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tls)
    server.socket = ctx.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    node.busybox()
    node.run()

    def probe(path):
        headers = [{"name": "Host", "value": "who.example"}]
        headers += [{"name": f"X-{i}", "value": "y"} for i in range(20)]
        return {"httpGet": {"scheme": "HTTPS", "host": "127.0.0.1", "path": path,
                            "port": server.server_address[1], "httpHeaders": headers},
                "periodSeconds": 1, "failureThreshold": 1}

    node.manifest("wrong", {"containers": [ctr(WAIT, livenessProbe=probe("other"))]})
    node.manifest("right", {"containers": [ctr("echo up; " + WAIT, livenessProbe=probe("healthz"))]})
    wait_for("the wrong one's restarts", lambda: len(unhealthy(node, "wrong")) >= 2)
    assert "statuscode: 418" in unhealthy(node, "wrong")[0]
    wait_for("the right one", lambda: "up" in node.logs("right"))
    assert not unhealthy(node, "right")
    server.shutdown()


def test_many_pods_at_once(node):
    node.busybox()
    node.run()
    names = [f"p{i}" for i in range(12)]
    for n in names:
        node.manifest(n, {"containers": [ctr(SERVE + WAIT)]})
    addrs = [addr_of(node, n) for n in names]
    assert len(set(addrs)) == 12, addrs
    for a in addrs:
        wait_for(a, lambda: "it works" in fetch(a))
    assert "FailedCreatePodSandBox" not in node.log_text()
    for n in names:
        node.remove(n)
    node.assert_no_leaks()


def test_a_failing_http_probe_restarts_its_container(node):
    node.busybox()
    node.run()
    node.manifest("ill", {"containers": [ctr(
        "echo up; " + SERVE + "sleep 2; rm /tmp/index.html; " + WAIT,
        livenessProbe={"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1,
                       "failureThreshold": 1, "initialDelaySeconds": 1})]})
    wait_for("the restart", lambda: "up" in node.logs("ill", attempt=1))
    assert "failed its liveness probe" in node.log_text()


def test_a_killed_agent_leaves_the_address_and_the_traffic(node):
    node.busybox()
    node.run()
    node.manifest("web", {"containers": [ctr(SERVE + WAIT)]})
    addr = addr_of(node, "web")
    wait_for("the answer", lambda: "it works" in fetch(addr))
    before = links()
    node.stop(signal.SIGKILL)
    assert "it works" in fetch(addr)
    node.run()
    assert links() == before and given(node, "web") == addr and "it works" in fetch(addr)
    assert addr_of(node, "web") == addr
    node.manifest("other", {"containers": [ctr("echo up; " + WAIT)]})
    assert addr_of(node, "other") != addr
    node.remove("web")
    node.remove("other")
    node.assert_no_leaks()
    assert not links()


def test_a_container_that_restarts_keeps_its_pods_address(node):
    node.busybox()
    node.run()
    node.manifest("web", {"containers": [ctr("echo up; " + SERVE + WAIT)]})
    addr = addr_of(node, "web")
    wait_for("up", lambda: "up" in node.logs("web"))
    os.kill(node.ctr_pid("web"), signal.SIGKILL)
    wait_for("up again", lambda: "up" in node.logs("web", attempt=1))
    wait_for("the answer", lambda: "it works" in fetch(addr))
    assert addr_of(node, "web") == addr


def test_a_second_agent_in_one_network_namespace_is_refused(node):
    node.busybox()
    node.run()
    node.manifest("first", {"containers": [ctr("echo up; " + WAIT)]})
    wait_for("up", lambda: "up" in node.logs("first"))
    before = links()
    assert len(before) == 1
    other = Node(network=True)
    try:
        other.start()
        wait_for("its end", lambda: other.proc.poll() is not None, timeout=60)
        assert other.proc.returncode != 0
        assert "another agent has the pod network" in other.log_text(), other.log_text()
        assert links() == before
        other.proc = None
        node.remove("first")
        node.assert_no_leaks()
        node.stop(signal.SIGKILL)
        other.run()  # whoever had it is gone, however that came
    finally:
        other.close()


def test_an_overlap_with_the_hosts_routes_stops_the_agent(node):
    sh("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    sh("ip", "link", "set", "up0", "up")
    sh("ip", "route", "add", "10.244.64.0/20", "dev", "up0")
    try:
        node.start()
        assert node.proc.wait(10) != 0
        assert "10.244.64.0/20" in node.log_text() and "up0" in node.log_text()
    finally:
        sh("ip", "link", "del", "up0")


def test_flushed_rules_come_back(node):
    node.busybox()
    node.run()
    assert "umiak" in sh("nft", "list", "ruleset")
    sh("nft", "flush", "ruleset")
    wait_for("the rules", lambda: "masquerade" in sh("nft", "list", "ruleset"), timeout=15)
    wait_for("the word of it", lambda: "were gone and are back" in node.log_text())


main(globals())
