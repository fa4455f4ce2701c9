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
tar -C /tmp/bb -czf /root/bb.tar.gz . && umiak image import --cmd '["/bin/sh"]' /root/bb.tar.gz busybox
"""
# A pod with hard limits, whose process ignores SIGTERM as every first process does by default.
LIMITS = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "limits"}, "spec": {
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
        self.before = self.containers_before = None

    def ok(self, script, timeout=120):
        return self.m.ok(script, timeout)

    def objects(self, kind):
        return json.loads(self.ok(f"{KUBECTL} get {kind} -o json"))["items"]

    def pods(self):
        """{container id: [pod, restarts, pid, when that began]} of all pods, all of them ready."""
        out, ids = {}, []
        for p in self.objects("pods"):
            st = p["status"]["containerStatuses"][0]
            assert st["ready"], f"{p['metadata']['name']} is not ready: {st}"
            ids.append(st["containerID"].split("//")[1])
            out[ids[-1]] = [p["metadata"]["name"], st["restartCount"]]
        script = "".join(rf"""
pid=$(umiak-oci --root /run/umiak/oci state {i} | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
echo {i} $pid $(sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f20)""" for i in ids)
        for line in self.ok(script).splitlines():
            words = line.split()
            assert len(words) == 3, line
            out[words[0]] += words[1:]
        return out

    def wait_pods(self, n=4):
        self.m.until("the node", f"{KUBECTL} get nodes | grep ' Ready '", 600)
        self.m.until("pods", f"""
{KUBECTL} get pods -o wide >/tmp/pods; cat /tmp/pods
[ $(grep -c ' 1/1 *Running ' /tmp/pods) = {n} ] && [ $(wc -l </tmp/pods) = {n + 1} ]""", 600)

    def answers(self):
        """Each of the three pods answers by the Service."""
        self.m.until("the Service", f"""
ip=$({KUBECTL} get service hello -o jsonpath='{{.spec.clusterIP}}') && for i in $(seq 40); do
	curl -sS --noproxy '*' --max-time 20 http://$ip/ || exit 1
done | sort -u >/tmp/answers
cat /tmp/answers; [ "$(grep -c '^Hello from hello-' /tmp/answers)" = 3 ]""", 300)

    def containers(self):
        """{name: [status, pid, when that began]} of `umiak ctr`."""
        out = {}
        for line in self.ok("""for c in $(umiak ctr ps -aq); do
pid=$(umiak ctr inspect -f '{{.State.Pid}}' $c)
echo $(umiak ctr inspect -f '{{.Name}} {{.State.Status}}' $c) $pid $(sed 's/.*) //' /proc/$pid/stat 2>/dev/null | cut -d' ' -f20)
done""").splitlines():
            words = line.split()
            out[words[0].lstrip("/")] = words[1:]
        return out

    def remember(self):
        self.before = self.pods()
        self.containers_before = self.containers()

    def untouched(self, what):
        """The same processes serve on."""
        self.wait_pods()
        now = self.pods()
        assert now == self.before, f"after {what}:\nbefore {self.before}\nnow    {now}"
        now = self.containers()
        assert now == self.containers_before, \
            f"after {what}:\nbefore {self.containers_before}\nnow    {now}"
        self.answers()

    def daemons(self, *units):
        """Processes of the units; all run the program that is installed."""
        pids = self.ok("".join(f"cat /sys/fs/cgroup/system.slice/{u}.service/cgroup.procs\n"
                               for u in units)).split()
        for exe in self.ok(f"for p in {' '.join(pids)}; do readlink /proc/$p/exe; done").splitlines():
            assert exe == "/usr/bin/umiak", exe
        return set(pids)

    def leftovers(self):
        """What is here that no pod and no running container needs, or is missing."""
        pods = self.objects("pods")
        uids = {p["metadata"]["uid"] for p in pods}
        ips = {p["status"]["podIP"] for p in pods}
        web = {p["status"]["podIP"] for p in pods if p["metadata"]["name"].startswith("hello-")}
        containers = [c[0] for c in self.containers().values()]
        mounts, groups, inner, folders, notes, taken, routes, rules, kept = (
            set(t.split()) for t in self.ok(r"""
awk '$3 == "overlay" {print $2}' /proc/mounts; echo ,
cd /sys/fs/cgroup/umiak/pods; ls -d */pod* | sed 's/.*pod//'; echo ,; ls -d */pod*/*/; echo ,
ls /run/umiak/pods; echo ,; ls /var/lib/umiak/agent/pods; echo ,
ls /var/lib/umiak/agent/ipam; echo ,; ip route | sed -n 's/^\(10\.244[0-9.]*\) dev um.*/\1/p'; echo ,
nft list map inet umiak_services endpoints | grep -o ': 10\.244[0-9.]* \. 8080' | tr -d ': ' |
	sed 's/\.8080//'; echo ,
ls /var/lib/umiak/images/snapshots""").split(","))
        found = []
        for what, got, want in (("cgroups", groups, uids), ("folders", folders, uids),
                                ("notes", notes, uids), ("addresses", taken, ips),
                                ("routes", routes, ips), ("endpoints", rules, web)):
            if got != want:
                found.append(f"{what}: {sorted(got)}, not {sorted(want)}")
        for what, got, want in (("overlays", mounts, len(uids) + containers.count("running")),
                                ("snapshots", kept, len(uids) + len(containers)),
                                ("container cgroups", inner, len(uids))):
            if len(got) != want:
                found.append(f"{what}: {sorted(got)}, not {want}")
        return found

    def tidy(self):
        def look():
            found = self.leftovers()
            assert not found, "\n".join(found)
            return True
        vm.umtest.wait_for("a tidy node", look, timeout=180, every=1)


def main():
    deb, depends = vm.package()
    s = vm.Steps()
    m = vm.Machine(depends)
    try:
        m.give({"/umiak.deb": deb, "/next.deb": second_package(deb),
                "/hello.yaml": os.path.join(vm.umtest.TOP, "examples", "hello.yaml"),
                "/limits.json": json.dumps(LIMITS).encode()})
        run(s, m, Host(m))
    finally:
        m.close()
    s.exit()


def run(s, m, h):
    def step(text):
        return lambda fn: s.step(text, fn, m)

    @step("Debian boots with systemd")
    def _():
        m.start()
        m.take()
        m.ok("systemctl is-system-running --wait", 300)

    @step("the package installs and starts nothing")
    def _():
        m.ok("dpkg -i /umiak.deb", 300)
        assert "umiak" not in m.ok("systemctl list-units --all --plain; ls /etc/systemd/system/*.wants")

    @step("umiak.service runs a Deployment behind a Service")
    def _():
        m.ok(IMAGE, 300)
        m.ok("systemctl enable --now umiak", 300)
        m.until("the node", f"{KUBECTL} get nodes | grep ' Ready '", 300)
        m.ok(f"{KUBECTL} apply -f /hello.yaml -f /limits.json")
        h.wait_pods()
        h.answers()

    @step("containers without a server run beside it")
    def _():
        m.ok("""
for p in always unless-stopped; do umiak ctr run -d --name $p --restart $p busybox sleep 1000000; done
umiak ctr run -d --name web --restart always -p 8088:8080 busybox sh -c 'hostname >/www/index.html; exec httpd -f -p 8080 -h /www'
umiak ctr run -d --name stopped --restart unless-stopped busybox sleep 1000000
umiak ctr run -d --name once busybox sleep 1000000
umiak ctr stop -t 1 stopped && systemctl enable umiak-ctr""")
        m.until("the published port", "curl -sS --max-time 20 http://127.0.0.1:8088/")
        h.remember()

    @step("limits are the kernel's, in groups that systemd leaves alone")
    def _():
        def look():
            where = m.ok(rf"""
id=$({KUBECTL} get pod limits -o jsonpath='{{.status.containerStatuses[0].containerID}}' | sed 's/.*\///')
pid=$(umiak-oci --root /run/umiak/oci state $id | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
sed 's/^0:://' /proc/$pid/cgroup; cd /sys/fs/cgroup$(sed 's/^0:://' /proc/$pid/cgroup)
cat memory.max cpu.max cpu.weight ../memory.max ../cpu.max pids.current; cat /sys/fs/cgroup/umiak/shims/cgroup.procs | wc -l""")
            lines = where.splitlines()
            assert lines[0].startswith("/umiak/pods/burstable/pod"), where
            assert lines[1:3] == ["50331648", "25000 100000"] and int(lines[3]) > 1, where
            assert lines[4:6] == ["50331648", "25000 100000"] and lines[6:] == ["1", "4"], where
        look()
        # What makes systemd write its own tree anew, controllers of the root included.
        m.ok("""systemctl daemon-reload
systemd-run --wait -p CPUWeight=50 -p MemoryMax=100M -p IOWeight=50 -p TasksMax=50 true
systemctl set-property --runtime dbus.service CPUWeight=20
systemctl set-property --runtime dbus.service CPUWeight=
systemctl daemon-reexec""", 300)
        look()
        h.untouched("systemd's own changes")
        left = m.ok("cat /sys/fs/cgroup/system.slice/umiak.service/cgroup.procs | wc -l")
        assert left == "3", f"{left} processes are in the unit's own group"

    @step("systemctl restart touches no pod")
    def _():
        was = h.daemons("umiak")
        m.ok("systemctl restart umiak")
        h.untouched("systemctl restart")
        assert len(h.daemons("umiak") - was) == 3

    @step("all daemons killed: they come back, and no pod is touched")
    def _():
        was = h.daemons("umiak")
        m.ok("systemctl kill -s KILL umiak")
        m.until("a new one", "systemctl is-active umiak")
        h.untouched("systemctl kill")
        assert not was & h.daemons("umiak")

    @step("stopped, pods serve on; started, they are adopted")
    def _():
        ip = m.ok(f"{KUBECTL} get service hello -o jsonpath='{{.spec.clusterIP}}'")
        m.ok("systemctl stop umiak && ! pgrep -x umiak")
        assert m.ok(f"curl -sS --max-time 20 http://{ip}/").startswith("Hello from hello-")
        m.ok("systemctl restart umiak-ctr; systemctl stop umiak-ctr")
        m.ok("systemctl start umiak")
        h.untouched("stop and start")
        m.ok("systemctl start umiak-ctr")

    @step("an upgrade restarts the daemons, touches no pod, and keeps what an administrator changed")
    def _():
        was = h.daemons("umiak")
        m.ok("echo 'log-level: debug' >>/etc/umiak/config.yaml")
        m.ok("DEBIAN_FRONTEND=noninteractive dpkg -i /next.deb", 300)
        assert m.ok("dpkg-query -W -f '${Version}' umiak").endswith(".next1")
        h.untouched("the upgrade")
        assert not was & h.daemons("umiak")
        assert m.ok("tail -n 1 /etc/umiak/config.yaml") == "log-level: debug"
        assert m.ok("systemctl is-active umiak-ctr umiak").split() == ["active", "active"]

    @step("server and agent as two units take the same pods over")
    def _():
        m.ok("""echo 'server: 127.0.0.1:6443' >>/etc/umiak/agent.yaml
systemctl disable umiak; systemctl enable --now umiak-server umiak-agent""")
        h.untouched("the split")
        assert m.run("systemctl is-active umiak")[0] and len(h.daemons("umiak-server", "umiak-agent")) == 2

    @step("either of the two restarted or killed, no pod is touched")
    def _():
        for verb in ("restart umiak-agent", "restart umiak-server", "kill -s KILL umiak-agent",
                     "kill -s KILL umiak-server"):
            was = h.daemons("umiak-server", "umiak-agent")
            m.ok(f"systemctl {verb}")
            m.until("both", "[ $(systemctl is-active umiak-server umiak-agent | grep -cx active) = 2 ]")
            h.untouched(verb)
            assert len(was & h.daemons("umiak-server", "umiak-agent")) == 1

    @step("an upgrade restarts both")
    def _():
        was = h.daemons("umiak-server", "umiak-agent")
        m.ok("DEBIAN_FRONTEND=noninteractive dpkg -i --force-downgrade /umiak.deb", 300)
        h.untouched("the second upgrade")
        assert not was & h.daemons("umiak-server", "umiak-agent")

    @step("back to one unit")
    def _():
        m.ok("systemctl disable --now umiak-server umiak-agent; systemctl enable --now umiak")
        h.untouched("the way back")
        h.tidy()

    def came_back():
        m.ok("systemctl is-system-running --wait || { systemctl --failed; journalctl -b -p err; exit 1; }", 600)
        h.wait_pods()
        h.answers()
        now = h.pods()
        assert not set(map(lambda p: tuple(p[2:]), now.values())) & \
            set(map(lambda p: tuple(p[2:]), h.before.values()))
        states = {name: c[0] for name, c in h.containers().items()}
        assert states == {"always": "running", "unless-stopped": "running", "web": "running",
                          "stopped": "exited", "once": "exited"}, states
        m.until("the published port", "curl -sS --max-time 20 http://127.0.0.1:8088/")
        assert m.ok("systemctl is-active umiak-ctr umiak").split() == ["active", "active"]
        m.ok("systemctl restart umiak-ctr; sleep 1")
        h.tidy()
        h.remember()

    @step("after a reboot everything is back, and nothing is left over")
    def _():
        said = m.reboot()
        # Its last step would kill what did not end in 90 seconds.
        assert "Restarting system" in said and "Sending SIGKILL to" not in said, said[-3000:]
        came_back()

    @step("after a power cut in the middle of work too")
    def _():
        m.ok(f"""cat >/root/busy <<'END'
while true; do
	for n in 5 1 3; do {KUBECTL} scale deployment/hello --replicas=$n; sleep 2; done &
	umiak ctr run --rm busybox true; {KUBECTL} delete pod -l app=hello --wait=false; wait
done
END
systemd-run --unit busy bash /root/busy; sleep 10
umiak image import --cmd '["/bin/sh"]' /root/bb.tar.gz late && {KUBECTL} create configmap acknowledged""")
        m.power_cut()
        m.until("the server", f"{KUBECTL} get configmap acknowledged", 600)
        m.until("a number", f"{KUBECTL} scale deployment/hello --replicas=3")
        came_back()
        assert m.ok("umiak ctr run --rm late echo whole") == "whole"

    @step("removed, the package takes pods, containers and rules along")
    def _():
        m.ok("DEBIAN_FRONTEND=noninteractive dpkg -r umiak", 600)
        left = m.ok("""pgrep -af umiak; pgrep -a 'httpd|sleep'; ls -d /sys/fs/cgroup/umiak* 2>/dev/null
nft list tables | grep umiak; ip -o link | grep ': um'; grep umiak /proc/mounts
ip route | grep 10.2; ip addr | grep -w 10.96.0.10
systemctl list-units --all --plain --no-legend 'umiak*' | grep -v not-found; true""")
        assert not left, left
        m.ok("[ -d /var/lib/umiak/images ] && [ -e /etc/umiak/config.yaml ]")

    @step("purged, it leaves nothing")
    def _():
        m.ok("DEBIAN_FRONTEND=noninteractive dpkg -P umiak", 300)
        left = m.ok("find /etc /var /usr /run -name '*umiak*' | grep -v ^/var/log/journal; true")
        assert not left, left
        m.ok("systemctl is-system-running; [ -z \"$(systemctl --failed --no-legend)\" ]")


if __name__ == "__main__":
    main()
