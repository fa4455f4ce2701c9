#!/usr/bin/env python3
"""The pod network by itself: addresses, reachability, masquerade, crashes, repair."""
import ctypes
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

PODS, NODE = "10.244.0.0/16", "10.244.7.0/24"
FORWARD = "/proc/sys/net/ipv4/ip_forward"

private_namespaces()


def unshare_net():
    """A fresh network for this process: os.unshare() is not in every Python."""
    assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0


class Netns:
    """A network namespace held by a sleeping process."""

    def __init__(self):
        self.proc = subprocess.Popen(["unshare", "-n", "sh", "-c",
                                      "ip link set lo up; echo; exec sleep 1000"],
                                     stdout=subprocess.PIPE)
        self.proc.stdout.readline()
        self.path = f"/proc/{self.proc.pid}/ns/net"

    def sh(self, *argv, **kw):
        return sh("nsenter", f"--net={self.path}", *argv, **kw)

    def pings(self, addr, **kw):
        return ", 0% packet loss" in self.sh("busybox", "ping", "-c1", "-W1", addr, check=False)

    def close(self):
        self.proc.kill()
        self.proc.wait()


class Tool:
    """The pod network of one state folder; a process that obeys lines."""

    def __init__(self, state, pods=PODS, node=NODE, *more, fault=None):
        env = dict(os.environ)
        if fault:
            env.update(fault.env)
        self.proc = subprocess.Popen([os.path.join(BUILD, "tests", "lib", "netns_tool"), state,
                                      pods, node, *more], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, env=env)
        self.first = self.proc.stdout.readline().strip()

    def ask(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        return self.proc.stdout.readline().strip()

    def ok(self, line):
        a = self.ask(line)
        assert a.split()[:1] == ["ok"], f"{line}: {a!r}"
        return a.split()[1:]

    def attach(self, uid, ns):
        return self.ok(f"attach {uid} {ns.path}")

    def close(self):
        self.proc.stdin.close()
        return self.proc.wait(10)


class World:
    """A state folder in a fresh host, that is, in a network namespace of the test's own."""

    def __init__(self):
        unshare_net()
        sh("ip", "link", "set", "lo", "up")
        with open(FORWARD, "w") as f:
            f.write("0")
        self.dir = tempfile.mkdtemp(prefix="umiak-netns-")
        self.things = []
        self.helpers = []

    def path(self, *p):
        return os.path.join(self.dir, *p)

    def tool(self, *a, **kw):
        t = Tool(self.dir, *a, **kw)
        assert t.first == "ok open", t.first
        self.things.append(t)
        return t

    def ns(self):
        n = Netns()
        self.things.append(n)
        return n

    def python(self, ns, code):
        """A program in a namespace, once it printed a line."""
        p = subprocess.Popen(["nsenter", f"--net={ns.path}", sys.executable, "-c", code],
                             stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        self.helpers.append(p)
        assert p.stdout.readline() == "up\n"
        return p

    def outside(self):
        """A machine that this host reaches over a link; it knows no route to pods."""
        n = self.ns()
        sh("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns",
           str(n.proc.pid))
        sh("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
        sh("ip", "link", "set", "up0", "up")
        n.sh("ip", "addr", "add", "192.0.2.2/24", "dev", "eth0")
        n.sh("ip", "link", "set", "eth0", "up")
        sh("ip", "route", "add", "default", "via", "192.0.2.2")
        return n

    def links(self):
        return re.findall(r"^\d+: (um\w+)", sh("ip", "-o", "link"), re.M)

    def ipam(self):
        return sorted(os.listdir(self.path("ipam")))

    def assert_empty(self):
        assert not self.links(), sh("ip", "link")
        assert not self.ipam(), self.ipam()
        assert "10.244." not in sh("ip", "route", "show", "table", "all")
        assert "10.244." not in sh("ip", "neigh", "show", "nud", "all")

    def close(self):
        for p in self.helpers:
            p.kill()
            p.wait()
        for t in reversed(self.things):
            with contextlib.suppress(Exception):
                t.close()
        shutil.rmtree(self.dir, ignore_errors=True)


make_node = World


def ping(addr):
    return ", 0% packet loss" in sh("busybox", "ping", "-c1", "-W1", addr, check=False)


def test_host_and_pods_reach_each_other(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    addr_a, link_a = t.attach("uid-a", a)
    addr_b, link_b = t.attach("uid-b", b)
    assert (addr_a, addr_b) == ("10.244.7.1", "10.244.7.2")
    assert ping(addr_a) and ping(addr_b), "host to pod"
    assert a.pings("169.254.1.1"), "pod to host"
    assert a.pings(addr_b) and b.pings(addr_a), "pod to pod"
    assert not a.pings("10.244.7.3")
    assert "default via 169.254.1.1 dev eth0" in a.sh("ip", "route")
    assert f"inet {addr_a}/32" in a.sh("ip", "addr", "show", "dev", "eth0")
    assert "inet6" not in a.sh("ip", "addr", "show", "dev", "eth0")
    assert "inet6" not in sh("ip", "addr", "show", "dev", link_a)
    for out in (a.sh("ip", "neigh"), sh("ip", "neigh")):
        assert "PERMANENT" in out and not re.search("REACHABLE|STALE|DELAY|INCOMPLETE", out), out
    assert "alias uid-a" in sh("ip", "link", "show", "dev", link_a)


def test_large_packets_and_tcp_pass_between_pods(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    addr = t.attach("a", a)[0]
    t.attach("b", b)
    assert ", 0% packet loss" in b.sh("busybox", "ping", "-c1", "-W1", "-s", "5000", addr)
    srv = subprocess.Popen(["nsenter", f"--net={a.path}", "busybox", "nc", "-l", "-p", "80", "-e",
                            "busybox", "echo", "hello"], stdin=subprocess.DEVNULL)
    try:
        assert wait_for("the answer", lambda: "hello" in b.sh(
            "busybox", "nc", "-w", "2", addr, "80", input="", check=False))
    finally:
        srv.kill()
        srv.wait()


def test_the_world_sees_the_hosts_address(w):
    out, t, a = w.outside(), w.tool(), w.ns()
    t.attach("a", a)
    w.python(out, "import socket\n"
             "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
             "s.bind(('192.0.2.2', 53))\nprint('up', flush=True)\n"
             "d, who = s.recvfrom(99)\ns.sendto(who[0].encode(), who)\n")
    assert a.pings("192.0.2.2")
    got = a.sh(sys.executable, "-c", "import socket\n"
               "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.settimeout(3)\n"
               "s.sendto(b'x', ('192.0.2.2', 53))\nprint(s.recv(99).decode())\n")
    assert got.strip() == "192.0.2.1", got


def test_pods_see_each_others_addresses(w):
    w.outside()
    t, a, b = w.tool(), w.ns(), w.ns()
    addr_a, _ = t.attach("a", a)
    addr_b, _ = t.attach("b", b)
    w.python(b, "import socket\n"
             "s = socket.create_server(('', 80))\nprint('up', flush=True)\n"
             "c, who = s.accept()\nc.sendall(who[0].encode())\n")
    got = a.sh("busybox", "nc", "-w", "2", addr_b, "80", input="")
    assert got.strip() == addr_a, got


def test_a_pod_cannot_use_anothers_address(w):
    for which in ("all", "default"):  # whatever this machine's own choice is
        with open(f"/proc/sys/net/ipv4/conf/{which}/rp_filter", "w") as f:
            f.write("0")
    t, a, b = w.tool(), w.ns(), w.ns()
    addr_a, _ = t.attach("a", a)
    addr_b, _ = t.attach("b", b)
    a.sh("ip", "addr", "add", "10.244.7.99/32", "dev", "eth0")

    def arrived(source):
        def count():
            icmp = [l.split() for l in b.sh("cat", "/proc/net/snmp").splitlines()
                    if l.startswith("Icmp:")]
            return int(icmp[1][icmp[0].index("InEchos")])
        before = count()
        a.sh("busybox", "ping", "-c1", "-W1", "-I", source, addr_b, check=False)
        return count() - before
    assert arrived(addr_a) == 1
    assert arrived("10.244.7.99") == 0


def test_attach_again_changes_nothing(w):
    t, a = w.tool(), w.ns()
    first = t.attach("a", a)
    index = sh("ip", "link", "show", first[1]).split(":")[0]
    assert t.attach("a", a) == first
    assert sh("ip", "link", "show", first[1]).split(":")[0] == index
    assert len(w.links()) == 1 and w.ipam() == ["10.244.7.1"]
    assert ping(first[0])


def test_a_new_namespace_of_the_same_pod_gets_the_link(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    first = t.attach("a", a)
    assert t.attach("a", b) == first
    assert ping(first[0]) and b.pings("169.254.1.1")
    assert "eth0" not in a.sh("ip", "link")


def test_a_foreign_eth0_is_not_touched(w):
    t, a = w.tool(), w.ns()
    a.sh("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x")
    ans = t.ask(f"attach a {a.path}")
    assert ans.startswith("error -17") and "another eth0" in ans and "pod a" in ans, ans
    w.assert_empty()
    assert "eth0" in a.sh("ip", "link")


def test_a_foreign_link_of_our_name_is_not_touched(w):
    t, a = w.tool(), w.ns()
    name = t.attach("a", a)[1]
    t.ok("detach a")
    sh("ip", "link", "add", name, "type", "veth", "peer", "name", "x")
    sh("ip", "link", "set", name, "alias", "mine")
    ans = t.ask(f"attach a {a.path}")
    assert ans.startswith("error -17") and name in ans, ans
    t.ok("detach a")
    t.ok("sweep")
    assert w.links() == [name] and not w.ipam()


def test_restarts_keep_addresses(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    first = t.attach("a", a)
    t.close()
    t = w.tool()
    t.ok("sweep a")
    assert ping(first[0])
    assert t.attach("b", b)[0] == "10.244.7.2"
    assert t.attach("a", a) == first


def test_a_lost_address_file_is_made_again(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    first = t.attach("a", a)
    t.close()
    os.unlink(w.path("ipam", first[0]))
    t = w.tool()
    assert w.ipam() == [first[0]] and read(w.path("ipam", first[0])).strip() == "a"
    assert t.attach("b", b)[0] != first[0]


def test_detach_leaves_nothing_and_may_be_repeated(w):
    t, a = w.tool(), w.ns()
    t.attach("a", a)
    t.ok("detach a")
    w.assert_empty()
    assert "eth0" not in a.sh("ip", "link")
    t.ok("detach a")
    t.ok("detach never-was")


def test_let_go_leaves_the_link_to_the_end_of_its_namespace(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    addr, link = t.attach("a", a)
    addr_b, _ = t.attach("b", b)
    t.ok("let-go a")
    assert addr not in sh("ip", "route", "show", "table", "all", "dev", link)
    assert w.ipam() == [addr_b] and "alias a" not in sh("ip", "link", "show", "dev", link)
    assert not ping(addr) and not a.pings(addr_b), "who holds the namespace is heard by nobody"
    t.ok("let-go a")
    t.ok("let-go never-was")
    a.close()
    wait_for("the kernel", lambda: len(w.links()) == 1)


def test_a_link_that_was_let_go_is_no_obstacle(w):
    t, a, b, c = w.tool(), w.ns(), w.ns(), w.ns()
    t.attach("a", a)
    t.ok("let-go a")  # and somebody holds the namespace
    addr, link = t.attach("a", b)
    assert ping(addr) and w.links() == [link]
    t.attach("c", c)
    t.ok("let-go c")
    t.ok("sweep a")
    assert ping(addr) and w.links() == [link], "swept though its namespace is held"
    t.ok("let-go a")
    t.ok("destroy")
    assert not w.links()


def test_the_end_of_the_namespace_is_no_problem(w):
    t, a = w.tool(), w.ns()
    t.attach("a", a)
    a.close()
    wait_for("the kernel", lambda: not w.links())
    t.ok("detach a")
    w.assert_empty()


def test_sweep_removes_what_nobody_wants(w):
    t, a, b = w.tool(), w.ns(), w.ns()
    t.attach("a", a)
    kept = t.attach("b", b)
    sh("ip", "link", "add", "um0123456789ab", "type", "veth", "peer", "name", "x")
    t.ok("sweep b")
    assert sorted(w.links()) == sorted([kept[1], "um0123456789ab"]), "a foreign link stays"
    assert w.ipam() == [kept[0]]
    assert ping(kept[0])


def test_a_kill_at_every_step_leaves_nothing_after_a_sweep(w):
    for fault in ("netns.address-given", "netns.link-made", "netns.configured"):
        armed = Fault(fault)
        t, a = w.tool(fault=armed), w.ns()
        assert t.ask(f"attach a {a.path}") == ""
        assert t.proc.wait(10) == -9 and armed.fired(), f"{fault} was not reached"
        armed.close()
        assert w.ipam(), fault
        t = w.tool()
        t.ok("sweep")
        w.assert_empty()
        t.close()


def test_a_kill_at_every_step_is_completed_by_the_next_attach(w):
    for fault in ("netns.address-given", "netns.link-made", "netns.configured"):
        armed = Fault(fault)
        t, a = w.tool(fault=armed), w.ns()
        assert t.ask(f"attach a {a.path}") == ""
        assert t.proc.wait(10) == -9 and armed.fired(), f"{fault} was not reached"
        armed.close()
        given = w.ipam()
        t = w.tool()
        addr = t.attach("a", a)[0]
        assert given == [addr] == w.ipam(), fault
        assert ping(addr) and a.pings("169.254.1.1"), fault
        t.ok("detach a")
        w.assert_empty()
        t.close()


def test_a_hundred_pods_leave_nothing(w):
    t = w.tool()
    spaces = [w.ns() for _ in range(10)]
    spent = 0
    for n in range(100):
        start = time.monotonic()
        t.attach(f"pod-{n}", spaces[n % 10])
        spent += time.monotonic() - start
        if n % 10 == 9:
            assert len(w.links()) == 10
            for m in range(n - 9, n + 1):
                t.ok(f"detach pod-{m}")
    w.assert_empty()
    fds = len(os.listdir(f"/proc/{t.proc.pid}/fd"))
    assert fds < 10, f"{fds} descriptors are open"
    print(f"# one attach takes {spent * 10:.2f} ms")


def test_a_used_up_range_is_said(w):
    t = w.tool(PODS, "10.244.7.0/30")
    a, b, c = w.ns(), w.ns(), w.ns()
    t.attach("a", a)
    t.attach("b", b)
    ans = t.ask(f"attach c {c.path}")
    assert ans.startswith("error -99") and "10.244.7.0/30" in ans and "pod c" in ans, ans
    assert len(w.links()) == 2 and "eth0" not in c.sh("ip", "link")
    t.ok("detach a")
    t.attach("c", c)


def test_a_failed_attach_leaves_nothing(w):
    t, a = w.tool(), w.ns()
    for ns in ("/proc/self/ns/mnt", "/dev/null"):
        ans = t.ask(f"attach a {ns}")
        assert ans.startswith("error -22") and "pod a" in ans, ans
        w.assert_empty()
    for uid in ("a/b", "x" * 64, "ä"):
        assert t.ask(f"attach {uid} {a.path}").startswith("error -22")
    w.assert_empty()


def test_wiped_rules_are_healed(w):
    out, t, a = w.outside(), w.tool(), w.ns()
    t.attach("a", a)
    assert t.ok("check") == ["intact"]
    for wipe in ("flush ruleset", "delete table inet umiak", "flush table inet umiak",
                 "flush chain inet umiak postrouting"):
        sh("nft", wipe)
        assert not a.pings("192.0.2.2"), wipe
        assert t.ok("check") == ["healed"], wipe
        assert a.pings("192.0.2.2"), wipe
        assert t.ok("check") == ["intact"]
    sh("nft", "insert rule inet umiak forward drop")
    assert t.ok("check") == ["healed"]
    sh("nft", "add table ip other")
    assert t.ok("check") == ["intact"], "others' tables are not our concern"
    assert "other" in sh("nft", "list tables")
    with open(FORWARD, "w") as f:
        f.write("0")
    assert t.ok("check") == ["healed"] and read(FORWARD).strip() == "1"


def test_loading_is_repeatable_and_keeps_others_elements(w):
    w.tool().close()
    sh("nft", "add set inet umiak more { type ipv4_addr; elements = { 192.0.2.9 } }")
    before = sh("nft", "list table inet umiak")
    w.tool().close()
    assert sh("nft", "list table inet umiak") == before
    sh("nft", "delete table inet umiak")
    sh("nft", "add table inet umiak; add chain inet umiak forward "
       "{ type filter hook input priority 5; }")
    w.tool()
    assert "hook forward" in sh("nft", "list table inet umiak"), "another version's chain"


def test_overlaps_are_refused_by_name(w):
    sh("ip", "link", "add", "up0", "type", "veth", "peer", "name", "up1")
    sh("ip", "link", "set", "up0", "up")
    for route in ("10.244.9.0/24", "10.0.0.0/8", "10.244.0.0/16", "10.244.255.255/32"):
        sh("ip", "route", "add", route, "dev", "up0", "table", "main")
        t = Tool(w.dir, PODS, NODE)
        assert t.first.startswith("error -17") and "up0" in t.first and route in t.first, t.first
        assert t.proc.wait(10) == 1
        sh("ip", "route", "del", route, "dev", "up0")
    for route in ("10.245.0.0/16", "0.0.0.0/1", "unreachable 10.0.0.0/8", "default"):
        sh("ip", "route", "add", *route.split(), *([] if "un" in route else ["dev", "up0"]))
        w.tool().close()
    sh("ip", "addr", "add", "10.244.3.3/32", "dev", "up0")
    assert Tool(w.dir, PODS, NODE).first.startswith("error -17"), "an address of the host"


def test_wrong_ranges_are_refused(w):
    for pods, node, mtu in (("10.244.0.0", NODE, "0"), (PODS, "10.245.0.0/24", "0"),
                            (PODS, "10.0.0.0/8", "0"), (PODS, "10.244.7.1/24", "0"),
                            (PODS, NODE, "100")):
        t = Tool(w.dir, pods, node, mtu)
        assert t.first.startswith("error -22"), t.first
    assert "umiak" not in sh("nft", "list", "tables")
    assert read(FORWARD).strip() == "0"


def test_the_mtu_is_that_of_the_default_route(w):
    t, a, b, c = w.tool(), w.ns(), w.ns(), w.ns()
    assert "mtu 1500" in sh("ip", "link", "show", t.attach("a", a)[1])
    w.outside()
    sh("ip", "link", "set", "up0", "mtu", "1400")
    assert "mtu 1400" in sh("ip", "link", "show", t.attach("b", b)[1]), "it came up later"
    assert "mtu 1400" in b.sh("ip", "link", "show", "eth0")
    t.close()
    t = w.tool(PODS, NODE, "1280")
    assert "mtu 1280" in sh("ip", "link", "show", t.attach("c", c)[1])


def test_destroy_restores_the_host(w):
    assert read(FORWARD).strip() == "0"
    sh("ip", "link", "add", "um0123456789ab", "type", "veth", "peer", "name", "x")
    t, a, b = w.tool(), w.ns(), w.ns()
    t.attach("a", a)
    t.attach("b", b)
    assert read(FORWARD).strip() == "1"
    t.close()
    t = w.tool()
    t.ok("destroy")
    assert w.links() == ["um0123456789ab"] and os.listdir(w.dir) == []
    assert "umiak" not in sh("nft", "list", "tables")
    assert read(FORWARD).strip() == "0"
    t.ok("destroy")
    t.close()
    with open(FORWARD, "w") as f:
        f.write("1")
    t = w.tool()
    t.ok("destroy")
    assert read(FORWARD).strip() == "1", "it was on before"


main(globals())
