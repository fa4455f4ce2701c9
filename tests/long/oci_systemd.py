#!/usr/bin/env python3
"""umiak-oci --systemd-cgroup beside a real systemd, on Debian's own kernel with a cgroup v2 tree:
containers are scopes in the slice that was named, with limits that systemd knows and the kernel
holds, and go with them; the same for a user's systemd, without root."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import vm

BUNDLE = r"""
umask 022
mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/sys /b/rootfs/dev /b/rootfs/tmp
cp /bin/busybox /b/rootfs/bin && for c in $(/bin/busybox --list | grep -v '^busybox$'); do
	ln -sf busybox /b/rootfs/bin/$c
done
mknod /b/rootfs/a c 10 229 && mknod /b/rootfs/b c 10 200  # of no driver: opened, they say ENXIO
umiak-oci spec --bundle /b && cat /b/config.json
"""
OCI = "umiak-oci --systemd-cgroup"
SCOPE = "/sys/fs/cgroup/test.slice/test-inner.slice/probe-c1.scope"
RESOURCES = {
    "memory": {"limit": 64 << 20, "reservation": 16 << 20, "swap": 96 << 20},
    "cpu": {"quota": 50000, "period": 200000, "shares": 1024, "cpus": "0-1", "mems": "0"},
    "pids": {"limit": 20},
    "devices": [{"allow": False, "access": "rwm"},
                {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}]}


class Guest:
    """A machine with a bundle in /b, whose config can be changed."""

    def __init__(self, machine):
        self.m = machine
        self.config = None

    def prepare(self):
        self.config = json.loads(self.m.ok(BUNDLE))
        self.config["process"]["terminal"] = self.config["root"]["readonly"] = False

    def save(self, script="trap 'exit 0' TERM; while :; do sleep 0.2; done", path=None, resources=None):
        self.config["process"]["args"] = ["sh", "-c", script]
        linux = self.config["linux"]
        linux.pop("cgroupsPath", None)
        if path is not None:
            linux["cgroupsPath"] = path
        linux["resources"] = resources or {}
        self.m.ok(f"cat >/b/config.json <<'END'\n{json.dumps(self.config)}\nEND")

    def show(self, unit, *names, how="systemctl"):
        text = self.m.ok(f"{how} show {unit} " + " ".join(f"-p {n}" for n in names))
        found = {}
        for line in text.splitlines():  # a list has a line for each of its members
            name, value = line.split("=", 1)
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def denied(self):
        """Which of the two devices may not be opened."""
        out = self.m.run(f"{OCI} exec c1 cat /a /b 2>&1")[1]
        return re.findall("can't open '(/.)': Operation not permitted", out)

    def gone(self, unit, how="systemctl"):
        self.m.until(f"{unit} to be gone",
                     f"[ -z \"$({how} list-units --all --plain --no-legend {unit})\" ]", 60)

    def files(self, *names, folder=SCOPE):
        return self.m.ok(f"cd {folder} && cat " + " ".join(names)).splitlines()

    def fails(self, command, *words):
        code, out = self.m.run(command)
        assert code != 0, f"succeeded: {command}\n{out}"
        for w in words:
            assert w in out, f"{w!r} is not in {out!r}"


def main():
    deb, depends = vm.package()
    s = vm.Steps()
    m = vm.Machine(depends + ["libpam-systemd", "dbus-user-session"])
    try:
        m.give({"/umiak.deb": deb})
        run(s, m, Guest(m))
    finally:
        m.close()
    s.exit()


def run(s, m, g):
    def step(text):
        return lambda fn: s.step(text, fn, m)

    @step("Debian boots with systemd, the package installs")
    def _():
        m.start()
        m.take()
        m.ok("systemctl is-system-running --wait", 300)
        m.ok("dpkg -i /umiak.deb", 300)
        g.prepare()
        features = json.loads(m.ok("umiak-oci features"))["linux"]["cgroup"]
        assert features["systemd"] and features["systemdUser"], features

    @step("run: a scope in the slice that was named")
    def _():
        g.save("cat /proc/self/cgroup; exit 7", "test-inner.slice:probe:c1")
        code, out = m.run(f"{OCI} run --bundle /b c1")
        assert code == 7 and "umiak-oci:" not in out, (code, out)
        # With a cgroup namespace of its own it sees itself at the root.
        assert out.strip() == "0::/", out
        g.gone("probe-c1.scope")
        m.ok(f"[ ! -e {SCOPE} ] && ! umiak-oci state c1")

    @step("create and start: systemd knows the limits")
    def _():
        g.save(path="test-inner.slice:probe:c1", resources=RESOURCES)
        m.ok(f"{OCI} create --bundle /b c1 && {OCI} start c1")
        got = g.show("probe-c1.scope", "ActiveState", "Slice", "Delegate", "Description",
                     "ControlGroup", "MemoryMax", "MemoryLow", "MemorySwapMax", "CPUWeight",
                     "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec", "TasksMax", "AllowedCPUs",
                     "AllowedMemoryNodes", "DevicePolicy", "DeviceAllow")
        assert "/dev/char/10:229 rw" in got.pop("DeviceAllow"), got
        assert got == {
            "ActiveState": "active", "Slice": "test-inner.slice", "Delegate": "yes",
            "Description": "container c1", "ControlGroup": SCOPE.removeprefix("/sys/fs/cgroup"),
            "MemoryMax": str(64 << 20), "MemoryLow": str(16 << 20), "MemorySwapMax": str(32 << 20),
            "CPUWeight": "100", "CPUQuotaPerSecUSec": "250ms", "CPUQuotaPeriodUSec": "200ms",
            "TasksMax": "20", "AllowedCPUs": "0-1", "AllowedMemoryNodes": "0",
            "DevicePolicy": "strict"}, got

    @step("and the kernel holds them, also after systemd wrote its settings anew")
    def _():
        def look():
            got = g.files("memory.max", "memory.low", "memory.swap.max", "cpu.max", "cpu.weight",
                          "pids.max", "cpuset.cpus")
            assert got == [str(64 << 20), str(16 << 20), str(32 << 20), "50000 200000", "100",
                           "20", "0-1"], got
            assert g.denied() == ["/b"]
        look()
        m.ok("systemctl daemon-reload; systemctl set-property --runtime dbus.service CPUWeight=20")
        look()
        m.ok("systemctl daemon-reexec", 300)
        look()

    @step("state, ps and exec see the container in its scope")
    def _():
        state = json.loads(m.ok(f"{OCI} state c1"))
        assert state["status"] == "running", state
        assert str(state["pid"]) in g.files("cgroup.procs")
        out = m.ok(f"{OCI} exec c1 sh -c 'echo $$; cat /proc/self/cgroup'").splitlines()
        assert out[1] == "0::/", out
        m.ok(f"{OCI} exec --detach --pid-file /p c1 sleep 1000000")
        pids = {str(state["pid"]), m.ok("cat /p")}
        assert pids <= set(g.files("cgroup.procs"))
        assert pids <= set(map(str, json.loads(m.ok(f"{OCI} ps --format json c1"))))
        # Who does not name the driver finds the container, too.
        assert m.ok("umiak-oci list --quiet").split() == ["c1"]

    @step("the same container or scope twice is refused, and the first is unharmed")
    def _():
        g.fails(f"{OCI} run --bundle /b c1", "exists already")
        g.fails(f"{OCI} run --bundle /b c2", "probe-c1.scope", "exists already")
        m.ok("! umiak-oci state c2 && umiak-oci exec c1 true")
        assert g.show("probe-c1.scope", "ActiveState") == {"ActiveState": "active"}

    @step("pause and resume")
    def _():
        m.ok(f"{OCI} pause c1")
        assert json.loads(m.ok(f"{OCI} state c1"))["status"] == "paused"
        m.ok(f"{OCI} resume c1 && {OCI} exec c1 true")

    @step("update: systemd's settings and the kernel's, and what is not named stays")
    def _():
        m.ok(f"""{OCI} update --resources - c1 <<'END'
{json.dumps({"memory": {"limit": 80 << 20, "swap": 80 << 20}, "pids": {"limit": 30},
             "cpu": {"quota": 30000, "period": 100000, "shares": 2048, "cpus": "1"},
             "devices": [{"allow": False, "access": "rwm"},
                         {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"}]})}
END
systemctl daemon-reload""")
        got = g.show("probe-c1.scope", "MemoryMax", "MemorySwapMax", "CPUQuotaPerSecUSec",
                     "CPUQuotaPeriodUSec", "TasksMax", "AllowedCPUs", "MemoryLow", "DeviceAllow")
        allow = got.pop("DeviceAllow")
        assert "/dev/char/10:200 rwm" in allow and "10:229" not in allow, allow
        assert got == {"MemoryMax": str(80 << 20), "MemorySwapMax": "0",
                       "CPUQuotaPerSecUSec": "300ms", "CPUQuotaPeriodUSec": "100ms",
                       "TasksMax": "30", "AllowedCPUs": "1", "MemoryLow": str(16 << 20)}, got
        got = g.files("memory.max", "memory.swap.max", "memory.low", "cpu.max", "pids.max",
                      "cpuset.cpus")
        assert got == [str(80 << 20), "0", str(16 << 20), "30000 100000", "30", "1"], got
        assert g.denied() == ["/a"]

    @step("delete: container, scope and cgroup are gone")
    def _():
        g.fails(f"{OCI} delete c1", "not stopped")
        m.ok(f"{OCI} kill c1 KILL")
        m.until("the end", f"{OCI} state c1 | grep stopped")
        # A process of exec's lives on in the scope.
        m.ok(f"{OCI} delete c1")
        g.gone("probe-c1.scope")
        m.ok(f"[ ! -e {SCOPE} ] && ! kill -0 $(cat /p) && ! umiak-oci state c1")
        m.ok(f"{OCI} delete --force c1")

    @step("annotations are properties of the scope")
    def _():
        g.config["annotations"] = {
            "org.systemd.property.TimeoutStopSec": "7", "org.systemd.property.SendSIGHUP": "true",
            "org.systemd.property.RuntimeMaxUSec": "uint64 3600000000",
            "org.systemd.property.After": "['dbus.service', 'basic.target']",
            "org.systemd.property.CollectMode": "'inactive'"}
        g.save(path="test-inner.slice:probe:c1")
        m.ok(f"{OCI} run --detach --bundle /b c1")
        got = g.show("probe-c1.scope", "TimeoutStopUSec", "SendSIGHUP", "RuntimeMaxUSec", "After",
                     "CollectMode")
        after = got.pop("After")
        assert "dbus.service" in after and "basic.target" in after, after
        assert got == {"TimeoutStopUSec": "7s", "SendSIGHUP": "yes", "RuntimeMaxUSec": "1h",
                       "CollectMode": "inactive"}, got
        m.ok(f"{OCI} delete --force c1")
        g.gone("probe-c1.scope")
        g.config["annotations"] = {"org.systemd.property.Nonsense": "true"}
        g.save(path="test-inner.slice:probe:c1")
        g.fails(f"{OCI} run --bundle /b c1", "Nonsense")
        m.ok(f"[ ! -e {SCOPE} ] && ! umiak-oci state c1")
        del g.config["annotations"]

    @step("delete --force of what runs")
    def _():
        g.save(path="test-inner.slice:probe:c1")
        m.ok(f"{OCI} run --detach --bundle /b c1 && {OCI} delete --force c1")
        g.gone("probe-c1.scope")
        m.ok(f"[ ! -e {SCOPE} ]")

    @step("a scope that systemd stops is a stopped container")
    def _():
        g.save(path="test-inner.slice:probe:c1")
        m.ok(f"{OCI} run --detach --bundle /b c1 && systemctl stop probe-c1.scope", 300)
        m.until("the end", f"{OCI} state c1 | grep stopped")
        m.ok(f"{OCI} delete c1 && [ ! -e {SCOPE} ]")

    @step("a limit of one process is one process")
    def _():
        g.save("echo one; (true); echo two", "test-inner.slice:probe:c1",
               {"pids": {"limit": 1}})
        code, out = m.run(f"{OCI} run --bundle /b c1")
        assert "one" in out and "two" not in out and "can't fork" in out, (code, out)
        assert "umiak-oci:" not in out, out
        m.ok("! umiak-oci state c1")
        g.gone("probe-c1.scope")

    @step("without a path: system.slice")
    def _():
        g.save()
        m.ok(f"umiak-oci --cgroup-manager systemd run --detach --bundle /b c1")
        got = g.show("umiak-oci-c1.scope", "Slice", "ActiveState")
        assert got == {"Slice": "system.slice", "ActiveState": "active"}, got
        # The state says whose the scope is: delete needs no option.
        m.ok("umiak-oci delete --force c1")
        g.gone("umiak-oci-c1.scope")

    @step("what cannot be is refused, and leaves nothing")
    def _():
        for path, word in (("/a/b", "slice:prefix:name"), ("a:b:c", "not the name of a slice"),
                           ("a.slice:b:c.slice", "not supported")):
            g.save(path=path)
            g.fails(f"{OCI} run --bundle /b c1", "linux.cgroupsPath", word)
        g.save(path="test-inner.slice:probe:c1")
        g.config["process"]["args"] = ["/none"]
        m.ok(f"cat >/b/config.json <<'END'\n{json.dumps(g.config)}\nEND")
        g.fails(f"{OCI} run --bundle /b c1", "no such file")
        m.ok("! umiak-oci state c1")
        g.gone("probe-c1.scope")

    @step("a create that is killed takes its scope along")
    def _():
        g.save(path="test-inner.slice:probe:c1")
        g.config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": [
            "sh", "-c", "touch /hooked; sleep 1000"]}]}
        g.save(path="test-inner.slice:probe:c1")
        del g.config["hooks"]
        m.ok(f"""rm -f /hooked; {OCI} create --bundle /b c1 >/dev/null 2>&1 & p=$!
while [ ! -e /hooked ]; do sleep 0.1; done; kill -9 $p; pkill -f '^sleep 1000$'; true""")
        m.ok(f"{OCI} delete --force c1")
        g.gone("probe-c1.scope")

    @step("a bus that does not answer")
    def _():
        g.save(path="test-inner.slice:probe:c1")
        g.fails(f"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/none {OCI} run --bundle /b c1",
                "--systemd-cgroup", "no connection to the system bus")
        m.ok("! umiak-oci state c1")

    user_steps(step, m, g)


def user_steps(step, m, g):
    how = "runuser -u somebody -- env XDG_RUNTIME_DIR=/run/user/1000"
    oci = f"umiak-oci --root /run/user/1000/oci --systemd-cgroup"
    systemctl = f"{how} systemctl --user"

    @step("without root: the user's own systemd")
    def _():
        m.ok("useradd -u 1000 -m somebody && loginctl enable-linger somebody")
        m.until("the user's systemd", f"{systemctl} is-system-running | grep -E 'running|degraded'")
        g.config["linux"].update({
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]})
        g.config["linux"]["namespaces"].append({"type": "user"})
        for mount in g.config["mounts"]:
            mount["options"] = [o for o in mount.get("options", []) if not o.startswith("gid=")]
        g.save(path="own-inner.slice:probe:c1", resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})
        m.ok(f"chown -R somebody /b")
        # From the user's own part of the tree, as engines without root are.
        m.ok(f"{how} systemd-run --user --scope -q {oci} run --detach --bundle /b c1 2>&1")
        got = g.show("probe-c1.scope", "ActiveState", "Slice", "MemoryMax", "TasksMax",
                     "ControlGroup", how=systemctl)
        folder = got.pop("ControlGroup")
        assert folder.endswith("/user@1000.service/own.slice/own-inner.slice/probe-c1.scope"), folder
        assert got == {"ActiveState": "active", "Slice": "own-inner.slice",
                       "MemoryMax": str(64 << 20), "TasksMax": "20"}, got
        assert g.files("memory.max", "pids.max", folder="/sys/fs/cgroup" + folder) == \
            [str(64 << 20), "20"]
        m.ok(f"{how} systemd-run --user --scope -q {oci} exec c1 true 2>&1")

    @step("also from a part of the tree that is not the user's")
    def _():
        m.ok(f"{how} {oci} delete --force c1 2>&1")
        g.gone("probe-c1.scope", how=systemctl)
        m.ok(f"{how} {oci} run --detach --bundle /b c1 2>&1")
        pid = json.loads(m.ok(f"{how} {oci} state c1"))["pid"]
        assert m.ok(f"cat /proc/{pid}/cgroup").endswith("/own-inner.slice/probe-c1.scope")
        m.ok(f"{how} {oci} exec --detach --pid-file /run/user/1000/p c1 sleep 1000000 2>&1")
        assert m.ok("cat /proc/$(cat /run/user/1000/p)/cgroup").endswith("/probe-c1.scope")
        m.ok(f"{how} {oci} delete --force c1 2>&1")
        g.gone("probe-c1.scope", how=systemctl)


if __name__ == "__main__":
    main()
