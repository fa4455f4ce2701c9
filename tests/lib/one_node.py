"""A cluster of one node, server and agent, driven by the real kubectl. Import it before
private_namespaces(): clients are fetched with the host's network."""
import json
import os
import subprocess

from umtest import *  # noqa
import kubectls

VERSIONS = kubectls.prepare()


class Cluster(Node):
    def __init__(self):
        super().__init__(network=True)
        self.kubectl = VERSIONS[-1][1]

    def start(self):
        log = open(self.path("agent.log"), "ab")
        self.proc = subprocess.Popen(
            [os.path.join(self.build, "umiak"), "up", "--root", self.dir, "--node-name", "n1",
             "--libexec-dir", self.path("libexec"), "--cgroup-parent", self.cgroup,
             "--log-level", "debug"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()

    def run(self):
        self.start()
        self.wait_ready()

    def wait_ready(self):
        wait_for("the node", lambda: " Ready " in self.k("get", "nodes", check=False), timeout=30)

    def path(self, *parts):
        where = {"images": "var/lib/umiak/images", "state": "var/lib/umiak/agent",
                 "run": "run/umiak", "log": "var/log/pods", "manifests": "etc/umiak/manifests"}
        if parts and parts[0].split("/")[0] in where:
            head = parts[0].split("/")
            parts = (where[head[0]], *head[1:], *parts[1:])
            os.makedirs(os.path.dirname(os.path.join(self.dir, *parts)), exist_ok=True)
        return os.path.join(self.dir, *parts)

    def k(self, *argv, **kw):
        return sh(self.kubectl, *argv,
                  env=dict(os.environ, HOME=self.dir,
                           KUBECONFIG=os.path.join(self.dir, "etc/umiak/admin.kubeconfig")), **kw)

    def apply(self, *objects):
        return self.k("apply", "-f", "-", input=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": list(objects)}))

    def get(self, kind, name, **kw):
        return json.loads(self.k("get", kind, name, "-o", "json", **kw))

    def ready(self, name, timeout=30):
        self.k("wait", "--for=condition=Ready", "pod/" + name, f"--timeout={timeout}s",
               timeout=timeout + 10)

    def children(self, verb):
        return [p for p in processes(f"umiak {verb}") if self.dir in
                read(f"/proc/{p}/cmdline").replace("\0", " ")]

    def items(self, kind, *argv):
        return json.loads(self.k("get", kind, "-o", "json", *argv))["items"]
