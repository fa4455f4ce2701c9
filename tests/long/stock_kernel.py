#!/usr/bin/env python3
"""What the Services' tests assert holds on Debian's own kernel too, with a cgroup v2 tree, and without
br_netfilter. The plain build, in a machine of its own."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import vm

PLAIN = os.environ.get("PLAIN", os.path.join(vm.umtest.TOP, "build", "plain"))
FAULTS = os.path.join(vm.umtest.TOP, "build", "faults")  # as plain, with fault points
PROGRAMS = ("umiak", "umiak-oci", "umiak-shim", "umiak-image")
TESTS = ("service_table.py", "services.py")


def services_tool():
    """One that can be killed at its fault points."""
    if not os.path.exists(os.path.join(FAULTS, "config.status")):
        os.makedirs(FAULTS, exist_ok=True)
        vm.call("../../configure", "-q", "--enable-werror", "--enable-fault-points", cwd=FAULTS,
                timeout=600)
    vm.call("make", "-s", "-C", FAULTS, "tests/lib/services_tool", timeout=600)
    return os.path.join(FAULTS, "tests/lib/services_tool")


def files():
    found = {f"/tree/build/plain/{p}": os.path.join(PLAIN, p) for p in PROGRAMS}
    found["/tree/build/plain/tests/lib/services_tool"] = services_tool()
    for path in (*glob.glob(os.path.join(vm.umtest.TOP, "tests/lib/*.py")),
                 os.path.join(vm.umtest.TOP, "tests/lib/udp_name.c"),
                 *(os.path.join(vm.umtest.TOP, "tests/integration", t) for t in TESTS)):
        found["/tree/" + os.path.relpath(path, vm.umtest.TOP)] = path
    return found


def no_bridge_filter(m):
    assert "br_netfilter" not in m.ok("cat /proc/modules")
    assert not m.ok("ls /proc/sys/net/bridge 2>/dev/null; true")


def guest_test(m, name):
    """The test's own lines."""
    code, out = m.run(f"cd /tree && UM_KUBECTLS='[[\"1.20\", \"/usr/bin/kubectl\"]]' "
                      f"BUILD=/tree/build/plain timeout 1300 tests/integration/{name}", 1320)
    lines = out.splitlines()
    good = [l for l in lines if re.match(r"ok\b", l)]
    assert code == 0 and good and not any(re.match(r"not ok\b|ok\b.*# SKIP", l) for l in lines), \
        f"exit code {code}\n{out[-6000:]}"
    print("\n".join("#   " + l for l in good))


def main():
    _, depends = vm.package()
    s = vm.Steps()
    m = vm.Machine([*depends, "python3-minimal", "libpython3-stdlib", "gcc", "libc6-dev"])
    try:
        m.give(files())
        s.step("Debian's kernel boots", lambda: (m.start(), m.take()), m)
        s.step("br_netfilter is not there", lambda: no_bridge_filter(m), m)
        for name in TESTS:
            s.step(name, lambda: guest_test(m, name), m)
        s.step("br_netfilter has not come", lambda: no_bridge_filter(m), m)
    finally:
        m.close()
    s.exit()


if __name__ == "__main__":
    main()
