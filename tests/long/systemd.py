#!/usr/bin/env python3
"""The installed package on Debian with systemd and a cgroup v2 tree, on Debian's own kernel: pods and
containers outlive restarts, kills and upgrades of the daemons, and come back after a reboot and a
power cut."""
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import vm

IMAGE = r"""
mkdir -p /tmp/bb/bin /tmp/bb/etc /tmp/bb/www && cp /bin/busybox /tmp/bb/bin/
for c in $(/bin/busybox --list | grep -v '^busybox$'); do ln -sf busybox /tmp/bb/bin/$c; done
mkdir -m 1777 -p /tmp/bb/tmp && echo 'root:x:0:0:root:/root:/bin/sh' >/tmp/bb/etc/passwd
tar -C /tmp/bb -czf /tmp/bb.tar.gz . && umiak image import --cmd '["/bin/sh"]' /tmp/bb.tar.gz busybox
"""
# A pod with hard limits that ignores no signal, and the names of a node's daemons.
STUBBORN = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limits"}, "spec": {
    "terminationGracePeriodSeconds": 2, "containers": [{
        "name": "main", "image": "busybox", "command": ["sleep", "1000000"],
        "resources": {"limits": {"memory": "48Mi", "cpu": "250m"},
                      "requests": {"memory": "16Mi", "cpu": "100m"}}}]}}
KUBECTL = "kubectl --kubeconfig /etc/umiak/admin.kubeconfig"


def second_package(deb):
    """The same package under a higher version."""
    with tempfile.TemporaryDirectory(prefix="umiak-deb.", dir="/var/tmp") as d:
        vm.call("dpkg-deb", "-R", deb, d + "/p")
        with open(d + "/p/DEBIAN/control") as f:
            text = f.read()
        version = vm.call("dpkg-deb", "-f", deb, "Version").strip()
        with open(d + "/p/DEBIAN/control", "w") as f:
            f.write(text.replace(f"\nVersion: {version}\n", f"\nVersion: {version}.next1\n"))
        vm.call("dpkg-deb", "--root-owner-group", "-Zgzip", "-b", d + "/p", d + "/next.deb")
        with open(d + "/next.deb", "rb") as f:
            return f.read()


class Host:
    """What the guest's administrator sees and does."""

    def __init__(self, machine):
        self.m = machine
        self.before = None

    def ok(self, script, timeout=120):
        return self.m.ok(script, timeout)

    def objects(self, kind):
        return json.loads(self.ok(f"{KUBECTL} get {kind} -o json"))["items"]

    def pods(self):
        """{container id: (pod, restarts, pid, when that began)} of all pods, all of them ready."""
        out, ids = {}, []
        for p in self.objects("pods"):
            st = p["status"]["containerStatuses"][0]
            assert st["ready"], f"{p['metadata']['name']} is not ready: {st}"
            ids.append(st["containerID"].split("//")[1])
            out[ids[-1]] = [p["metadata"]["name"], st["restartCount"]]
        script = "".join(
            f"pid=$(umiak-oci --root /run/umiak/oci state {i} | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p'); "
            f"echo {i} $pid $(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f20)\n" for i in ids)
        for line in self.ok(script).splitlines():
            words = line.split()
            assert len(words) == 3, line
            out[words[0]] += words[1:]
        return out

    def wait_pods(self, n=4):
        self.m.until("the node", f"{KUBECTL} get nodes | grep ' Ready '", 600)
        self.m.until("pods", f"[ $({KUBECTL} get pods --no-headers | grep -c ' 1/1 *Running ') = {n} ] "
                     f"|| {{ {KUBECTL} get pods -o wide; exit 1; }}", 600)

    def answers(self):
        """Each of the three pods answers by the Service."""
        self.m.until("the Service", f"""
ip=$({KUBECTL} get service hello -o jsonpath='{{.spec.clusterIP}}') && for i in $(seq 40); do
	curl -sS --noproxy '*' --max-time 20 http://$ip/ || exit 1
done | sort -u >/tmp/answers; cat /tmp/answers; [ "$(grep -c '^Hello from hello-' /tmp/answers)" = 3 ]""", 300)

    def main_pid(self, unit="umiak"):
        return self.ok(f"systemctl show -p MainPID --value {unit}")

    def remember(self):
        self.before = self.pods()

    def untouched(self, what):
        self.wait_pods()
        now = self.pods()
        assert now == self.before, f"after {what}:\nbefore {self.before}\nnow    {now}"
        self.answers()


def main():
    deb, depends = vm.package()
    s = vm.Steps()
    m = vm.Machine(depends)
    h = Host(m)
    try:
        m.give({"/umiak.deb": deb, "/next.deb": second_package(deb),
                "/hello.yaml": os.path.join(vm.umtest.TOP, "examples", "hello.yaml"),
                "/limits.json": json.dumps(STUBBORN).encode()})
        run(s, m, h)
    finally:
        m.close()
    s.exit()


def run(s, m, h):
    def step(text, fn):
        s.step(text, fn, m)

    def boots():
        m.start()
        m.take()
        m.ok("systemctl is-system-running --wait")

    def installs():
        m.ok("dpkg -i /umiak.deb", 300)
        assert "umiak" not in m.ok("systemctl list-units --all --plain; ls /etc/systemd/system/*.wants")

    def starts():
        m.ok(IMAGE, 300)
        m.ok("systemctl enable --now umiak", 300)
        m.until("the node", f"{KUBECTL} get nodes | grep ' Ready '", 300)
        m.ok(f"{KUBECTL} apply -f /hello.yaml -f /limits.json")
        h.wait_pods()
        h.answers()
        h.remember()

    step("Debian boots with systemd", boots)
    step("the package installs and starts nothing", installs)
    step("umiak.service runs a Deployment behind a Service", starts)


main()
