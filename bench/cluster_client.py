"""What the cluster benches share: a node of its own, and a plain client of its API."""
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "lib"))
import umtest
from umtest import Node, read, sh, wait_for


class Api:
    def __init__(self, root):
        self.ctx = ssl.create_default_context(cafile=root + "/etc/umiak/pki/ca.crt")
        self.ctx.load_cert_chain(root + "/etc/umiak/pki/admin.crt", root + "/etc/umiak/pki/admin.key")
        self.conn = self.connect()

    def connect(self):
        return http.client.HTTPSConnection("127.0.0.1", 6443, context=self.ctx, timeout=3600)

    def call(self, method, path, body=None, kind="application/json"):
        self.conn.request(method, path, json.dumps(body) if body is not None else None,
                          {"Content-Type": kind})
        r = self.conn.getresponse()
        data = r.read()
        if r.status >= 300 and r.status != 404:
            raise AssertionError(f"{method} {path}: {r.status} {data[:300]}")
        return json.loads(data)

    def watch(self, path, see):
        """Calls see(type, object) for ever, on a thread of its own."""
        conn, started = self.connect(), threading.Event()

        def follow():
            conn.request("GET", path + "?watch=true")
            r = conn.getresponse()
            started.set()
            for line in iter(r.readline, b""):
                ev = json.loads(line)
                see(ev["type"], ev["object"])

        threading.Thread(target=follow, daemon=True).start()
        started.wait(10)


def start():
    node = Node(network=True)
    node.busybox()
    os.makedirs(node.dir + "/var/lib/umiak")
    os.rename(node.path("images"), node.dir + "/var/lib/umiak/images")
    os.makedirs(node.dir + "/run/umiak")
    sh("mount", "-t", "tmpfs", "run", node.dir + "/run/umiak")
    log = open(node.path("agent.log"), "ab")
    node.proc = subprocess.Popen([node.build + "/umiak", "up", "--root", node.dir, "--node-name",
                                  "n1", "--libexec-dir", node.path("libexec"), "--cgroup-parent",
                                  node.cgroup], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    wait_for("the node", lambda: "node registered" in node.log_text())
    time.sleep(1)
    return node


