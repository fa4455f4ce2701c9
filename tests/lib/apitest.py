"""An API server of its own for a test, requests to it, and the real kubectl. Standard library only."""
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time

BUILD = os.environ["BUILD"]
failures = 0


def ok(cond, text, extra=""):
    global failures
    if cond:
        print("ok - " + text)
    else:
        failures += 1
        print("not ok - " + text)
        for line in str(extra).splitlines()[:30]:
            print("# " + line)
    sys.stdout.flush()
    return cond


def skip(text, why):
    print("ok - %s # SKIP %s" % (text, why))


class Server:
    def __init__(self, directory, nodes=("n1", "n2"), health=0, more=()):
        self.more = list(more)
        self.health = health
        self.dir = directory
        self.nodes = nodes
        self.proc = None
        self.port = 0

    def start(self):
        args = [os.path.join(BUILD, "tests/lib/apiserver"), self.dir] + self.more
        for n in self.nodes:
            args += ["--node", n]
        if self.health:
            args += ["--health-port", str(self.health)]
        if self.port:
            args += ["--port", str(self.port)]
        self.proc = subprocess.Popen(args, stdout=subprocess.PIPE)
        self.url = self.proc.stdout.readline().decode().strip()
        assert self.url.startswith("https://"), "the server did not start"
        self.port = int(self.url.rsplit(":", 1)[1])
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.request("GET", "/readyz")[0] == 200:
                return
            time.sleep(0.02)
        raise AssertionError("not ready")

    def stop(self, sig=signal.SIGTERM):
        self.proc.send_signal(sig)
        return self.proc.wait(timeout=20)

    def context(self, user="admin"):
        c = ssl.create_default_context(cafile=self.dir + "/pki/ca.crt")
        if user:
            c.load_cert_chain("%s/pki/%s.crt" % (self.dir, user), "%s/pki/%s.key" % (self.dir, user))
        return c

    def connect(self, user="admin", timeout=10):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(user),
                                           timeout=timeout)

    def request(self, method, path, body=None, user="admin", headers=None, ctype="application/json"):
        c = self.connect(user)
        h = dict(headers or {})
        if body is not None:
            h.setdefault("Content-Type", ctype)
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
        c.request(method, path, body, h)
        r = c.getresponse()
        data = r.read()
        c.close()
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = data
        self.headers = r.headers
        return r.status, parsed

    def raw(self, data, user="admin", wait=3.0):
        s = self.context(user).wrap_socket(socket.create_connection(("127.0.0.1", self.port)),
                                           server_hostname="127.0.0.1")
        s.settimeout(wait)
        s.sendall(data)
        out = b""
        try:
            while True:
                part = s.recv(65536)
                if not part:
                    break
                out += part
        except (socket.timeout, ssl.SSLError, ConnectionResetError):
            pass
        s.close()
        return out


class Kubectl:
    def __init__(self, binary, server, tmp):
        self.bin = binary
        self.tmp = tmp
        self.env = dict(os.environ, KUBECONFIG=server.dir + "/admin.kubeconfig", HOME=tmp)

    def run(self, *args, stdin=None, timeout=40):
        return subprocess.run([self.bin] + list(args), input=stdin, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, env=self.env, timeout=timeout, text=True)

    def good(self, what, *args, stdin=None, has=None, lacks=None):
        r = self.run(*args, stdin=stdin)
        out = r.stdout + r.stderr
        cond = r.returncode == 0 and all(h in out for h in (has or []))
        cond = cond and not any(x in out for x in (lacks or []))
        ok(cond, what, "%s\nexit %d\n%s" % (" ".join(args), r.returncode, out))
        return r.stdout

    def bad(self, what, *args, stdin=None, has=None):
        r = self.run(*args, stdin=stdin)
        out = r.stdout + r.stderr
        ok(r.returncode != 0 and all(h in out for h in (has or [])), what,
           "%s\nexit %d\n%s" % (" ".join(args), r.returncode, out))


def done():
    """The exit code of the test."""
    print("# %d failures" % failures)
    return 1 if failures else 0
