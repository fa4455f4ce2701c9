#!/usr/bin/env python3
"""What a container may use: processor time, memory down to 128 KiB, devices. On whichever cgroups
this machine has; cgroup2_uml.sh runs it on v2."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
make_node = Box
V2 = os.path.exists(CGROUPS + "/cgroup.controllers")

def cpu_stat(box):
    """Periods, throttled periods, microseconds used."""
    stat = dict(l.split() for l in read(box.cgroup_file("cpu.stat", "cpu.stat")).splitlines())
    if "usage_usec" in stat:
        used = int(stat["usage_usec"])
    else:
        used = int(read(box.cgroup_file("cpuacct.usage", "cpu.stat"))) // 1000
    return int(stat["nr_periods"]), int(stat["nr_throttled"]), used


def test_processor_time_within_a_tenth(box):
    # A fifth of a processor for a program that would take a whole one.
    box.linux["resources"] = {"cpu": {"quota": 20000, "period": 100000}}
    box.up("while :; do :; done")
    wait_for("throttling", lambda: cpu_stat(box)[1] >= 3, timeout=60)
    periods, throttled, used = cpu_stat(box)
    wait_for("thirty more throttled periods", lambda: cpu_stat(box)[1] >= throttled + 30, timeout=120)
    periods2, throttled2, used2 = cpu_stat(box)
    # At most its share of each period, and all of it where it was throttled.
    assert used2 - used <= 20000 * (periods2 - periods) * 1.1, (periods2 - periods, used2 - used)
    assert used2 - used >= 20000 * (throttled2 - throttled) * 0.9, (throttled2 - throttled, used2 - used)


def static_program_in_128_kib(box):
    box.process["args"] = ["/bin/busybox", "true"]
    box.save()
    r = box.oci("run", "--bundle", box.bundle, "c")  # the seccomp profile's program is kept
    assert r.rc == 0, r
    box.linux["resources"] = {"memory": {"limit": 131072}}
    box.save()
    # Not each time: how much the kernel has charged in advance, in batches for each processor, depends
    # on what else runs.
    codes = [box.oci("run", "--bundle", box.bundle, "c").rc for _ in range(10)]
    assert codes.count(0) >= 5 and set(codes) <= {0, 137}, codes


def test_memory_for_the_program_is_refused_above_its_limit(box):
    box.linux["resources"] = {"memory": {"limit": 8 << 20, "swap": 8 << 20}}
    r = box.run("dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; echo $?")
    assert r.out.strip() == "137", r


def test_what_no_processes_mean(box):
    # Since 1.3 a limit; before what engines write for none.
    for version, limit, want in (("1.0.2", 0, "max"), ("1.2.1", 0, "max"), ("1.3.0", 0, "1"),
                                 ("1.3.0", -1, "max")):
        box.config["ociVersion"] = version
        box.linux["resources"] = {"pids": {"limit": limit}}
        box.process["args"] = ["sleep", "1000"]
        box.save()
        box.oci("run", "--detach", "--bundle", box.bundle, "c", ok=True)
        assert read(box.cgroup_file("pids.max", "pids.max")).strip() == want, (version, limit)
        box.oci("update", "--cpu-share", "512", "c", ok=True)  # the rest stays
        assert read(box.cgroup_file("pids.max", "pids.max")).strip() == want, (version, limit)
        box.oci("delete", "--force", "c", ok=True)


def devices(box, *rules):
    """@rules: (allow, "c 1:3 rw") in order, after all is denied."""
    out = [{"allow": False, "access": "rwm"}]
    for allow, text in rules:
        kind, numbers, access = text.split()
        rule = {"allow": allow, "type": kind, "access": access}
        for name, n in zip(("major", "minor"), numbers.split(":")):
            if n != "*":
                rule[name] = int(n)
        out.append(rule)
    box.linux["resources"] = {"devices": out}
    for caps in box.process["capabilities"].values():
        caps.append("CAP_MKNOD")


def opened(box, *attempts):
    """Whether the rules let each device be opened: "c 240:5 r" is one that no driver has, which says
    "No such device" where the rules do not say "not permitted" first."""
    script = ""
    for text in attempts:
        kind, numbers, access = text.split()
        how = {"r": "<", "w": ">", "rw": "<>"}[access]
        script += (f"rm -f /tmp/d; mknod /tmp/d {kind} {numbers.replace(':', ' ')} || exit 1; "
                   f"(exec 3{how}/tmp/d) 2>/tmp/err; "
                   "grep -q 'not permitted' /tmp/err && echo no || echo yes; ")
    r = box.run(script)
    assert r.rc == 0, r
    return [t for t, answer in zip(attempts, r.out.split()) if answer == "yes"]


def test_device_rules(box):
    # Making nodes is allowed, as with runc: what counts is who opens them. 1:3 is null, which every
    # container may use.
    devices(box, (True, "c 240:5 r"), (True, "c 241:* w"), (True, "b 240:6 rw"))
    allowed = ["c 240:5 r", "c 241:5 w", "c 241:9 w", "b 240:6 r", "b 240:6 w", "b 240:6 rw",
               "c 1:3 rw"]
    denied = ["c 240:5 w", "c 240:5 rw", "c 240:6 r", "b 240:5 r", "c 241:5 r", "c 242:5 r",
              "b 240:7 w", "b 241:5 w", "c 1:11 w"]
    got = opened(box, *allowed, *denied)
    assert got == allowed, got


def test_later_device_rules_win(box):
    devices(box, (True, "c 240:5 rw"), (True, "c 240:4 rw"), (False, "c 240:5 w"),
            (False, "c 240:4 m"))
    got = opened(box, "c 240:4 rw", "c 240:5 r", "c 240:5 w", "c 240:5 rw")
    assert got == ["c 240:4 rw", "c 240:5 r"], got


def test_an_exception_from_a_wider_rule(box):
    devices(box, (True, "c 240:* rwm"), (False, "c 240:5 w"))
    if not V2:
        box.refused("linux.resources.devices", "c 240:5 w", "c 240:* rwm")
        return
    got = opened(box, "c 240:4 rw", "c 240:5 r", "c 240:5 w", "c 240:5 rw")
    assert got == ["c 240:4 rw", "c 240:5 r"], got


def test_device_rules_hold_in_exec(box):
    devices(box)
    box.up()
    r = box.oci("exec", "--cap", "CAP_MKNOD", "c", "sh", "-c",
                "mknod /tmp/d c 240 5 && exec 3</tmp/d")
    assert r.rc != 0 and "not permitted" in r.err and os.path.exists(box.root + "/tmp/d"), r
    box.oci("exec", "c", "sh", "-c", "echo >/dev/null", ok=True)


def test_everything_is_allowed_to_a_privileged_container(box):
    devices(box)
    box.linux["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
    got = opened(box, "c 240:5 rw", "b 240:5 rw")
    assert got == ["c 240:5 rw", "b 240:5 rw"], got


# On v1 the kernel counts more as the container's memory; the sanitizers need far more.
if V2 and not os.environ["BUILD"].endswith("asan"):
    test_a_static_program_in_128_kib = static_program_in_128_kib

main(globals())
