#!/usr/bin/env python3
"""nginx behind a Service is replaced under load, from clients that keep their connections and from
others that make new ones: nobody meets an error. Then a broken version, and the way back."""
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

make_node = Cluster
REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\n%s\r\n"


class Client(threading.Thread):
    """One that keeps its connection does as clients do: a kept connection that the server closed
    before a byte of the answer came is no error, the request goes out again on a new one."""

    def __init__(self, addr, keep, pause):
        super().__init__(daemon=True)
        self.addr, self.keep, self.pause = addr, keep, pause
        self.done, self.ok, self.again, self.errors, self.slowest = False, 0, 0, [], 0
        self.sock = None

    def connect(self):
        self.sock = socket.create_connection(self.addr, timeout=5)
        self.fresh = True

    def once(self):
        if not self.sock:
            self.connect()
        data = b""
        try:
            self.sock.sendall(REQUEST % (b"" if self.keep else b"Connection: close\r\n"))
            while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < 5:
                got = self.sock.recv(4096)
                if not got:
                    raise ConnectionError(f"closed after {len(data)} bytes")
                data += got
        except OSError as e:
            self.sock.close()
            self.sock = None
            if self.fresh or data or isinstance(e, TimeoutError):
                raise
            self.again += 1
            return self.once()
        self.fresh = False
        if not data.startswith(b"HTTP/1.1 200") or not data.endswith(b"hello"):
            raise ValueError(data[:80])
        if not self.keep or b"Connection: close" in data:
            self.sock.close()
            self.sock = None

    def run(self):
        while not self.done:
            start = time.monotonic()
            try:
                self.once()
                self.ok += 1
            except (OSError, ValueError) as e:
                self.errors.append(repr(e))
            took = time.monotonic() - start
            self.slowest = max(self.slowest, took)
            time.sleep(max(0, self.pause - took))


def deployment(image, replicas=3, **env):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
            "volumes": [{"name": "c", "configMap": {"name": "nginx"}}],
            "containers": [{
                "name": "nginx", "image": image,
                "command": ["/usr/sbin/nginx", "-c", "/conf/nginx.conf"],
                "env": [{"name": k, "value": v} for k, v in env.items()],
                "ports": [{"name": "http", "containerPort": 80}],
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                "volumeMounts": [{"name": "c", "mountPath": "/conf"}]}]}}}}


NGINX = ("daemon off; user root; error_log stderr; pid /tmp/pid; worker_processes 1; events {} "
         "http { access_log off; keepalive_requests 100000; server { listen 80; location / "
         "{ default_type text/plain; return 200 'hello'; } } }")


def test_nobody_notices(node):
    nginx = debian_image("nginx-light")
    node.image("import", "--stop-signal", "SIGQUIT", nginx, "nginx", timeout=120)
    node.run()
    node.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nginx"},
                "data": {"nginx.conf": NGINX}},
               {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"},
                         "ports": [{"port": 80, "targetPort": "http"}]}},
               deployment("nginx", VERSION="1"))
    node.k("rollout", "status", "deploy/web", "--timeout=60s")
    ip = node.get("service", "web")["spec"]["clusterIP"]
    wait_for("the Service", lambda: sh("curl", "-s", "--noproxy", "*", f"http://{ip}/") == "hello")
    # 8 * 50 + 8 * 25 requests a second
    clients = [Client((ip, 80), keep, pause) for keep, pause in ((True, 0.02), (False, 0.04))
               for _ in range(8)]
    for c in clients:
        c.start()
    begin = time.monotonic()
    for version in ("2", "3"):
        node.k("set", "env", "deploy/web", "VERSION=" + version)
        node.k("rollout", "status", "deploy/web", "--timeout=120s")
    node.k("scale", "deploy/web", "--replicas=1")
    node.k("rollout", "status", "deploy/web", "--timeout=60s")
    node.k("set", "image", "deploy/web", "nginx=no-such-image")
    wait_for("the broken one waits", lambda: "ImagePullBackOff" in node.k("get", "pods"))
    node.k("rollout", "undo", "deploy/web")
    node.k("rollout", "status", "deploy/web", "--timeout=60s")
    time.sleep(1)
    took = time.monotonic() - begin
    for c in clients:
        c.done = True
    for c in clients:
        c.join()
    for keep in (True, False):
        mine = [c for c in clients if c.keep == keep]
        print(f"# {'kept' if keep else 'new'} connections: {sum(c.ok for c in mine)} answers "
              f"({sum(c.ok for c in mine) / took:.0f}/s), {sum(len(c.errors) for c in mine)} errors,"
              f" {sum(c.again for c in mine)} asked again, slowest "
              f"{max(c.slowest for c in mine) * 1000:.0f} ms")
    errors = [e for c in clients for e in c.errors]
    assert not errors, (len(errors), errors[:5])
    assert sum(c.ok for c in clients) > 1000


main(globals())
