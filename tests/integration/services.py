#!/usr/bin/env python3
"""Services by themselves: a host with pods by hand, a machine outside, a second node."""
import ctypes
import os
import random
import re
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

SERVICES, PODS, NODE = "10.96.0.0/16", "10.244.0.0/16", "10.244.7.0/24"
TABLE = "umiak_services"

private_namespaces()

SERVER = r"""
import select, socket, sys
name, ports = sys.argv[1], [int(p) for p in sys.argv[2:]]
socks = []
for port in ports:
    t = socket.socket(); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    t.bind(('', port)); t.listen(1000); socks.append(t)
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('', port)); socks.append(u)
held = {}
print('up', flush=True)
while True:
    for s in select.select(socks + list(held), [], [])[0]:
        if s in held:
            d = s.recv(999)
            if d: s.sendall(d)
            else: del held[s]; s.close()
            continue
        at = s.getsockname()[1]
        if s.type == socket.SOCK_DGRAM:
            d, who = s.recvfrom(999); s.sendto(f'{name} {at} {who[0]}'.encode(), who)
        else:
            c, who = s.accept(); c.sendall(f'{name} {at} {who[0]}\n'.encode())
            held[c] = 1
"""

# Reads lines "tcp|udp ADDRESS PORT [SOURCE]"; answers each with what the server said, or the error.
CLIENT = r"""
import errno, socket, sys, time
for line in sys.stdin:
    w = line.split()
    proto, addr, port = w[:3]
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if proto == 'tcp' else socket.SOCK_DGRAM)
    s.settimeout(5)
    began = time.monotonic()
    try:
        if len(w) > 3: s.bind((w[3].split(':')[0], int(w[3].split(':')[1])))
        s.connect((addr, int(port)))
        if proto == 'udp': s.send(b'x')
        out = s.recv(999).decode().strip()
    except socket.timeout:
        out = 'TIMEOUT'
    except OSError as e:
        out = errno.errorcode[e.errno]
    s.close()
    print(out, f'{time.monotonic() - began:.3f}', flush=True)
"""


def unshare_net():
    assert ctypes.CDLL(None, use_errno=True).unshare(0x40000000) == 0


def enter(path):
    fd = os.open(path, os.O_RDONLY)
    assert ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000) == 0
    os.close(fd)


class Netns:
    def __init__(self):
        self.proc = subprocess.Popen(["unshare", "-n", "sh", "-c",
                                      "ip link set lo up; echo; exec sleep 1000"],
                                     stdout=subprocess.PIPE)
        self.proc.stdout.readline()
        self.path = f"/proc/{self.proc.pid}/ns/net"
        self.helpers = []
        self.client = None

    def argv(self, *argv):
        return ["nsenter", f"--net={self.path}", *argv]

    def sh(self, *argv, **kw):
        return sh(*self.argv(*argv), **kw)

    def serve(self, name, *ports):
        p = subprocess.Popen(self.argv(sys.executable, "-c", SERVER, name, *map(str, ports)),
                             stdout=subprocess.PIPE, text=True)
        assert p.stdout.readline() == "up\n"
        self.helpers.append(p)

    def ask(self, proto, addr, port, source=""):
        """[server, port, client's address, seconds] or [error, seconds]."""
        if not self.client:
            self.client = subprocess.Popen(self.argv(sys.executable, "-uc", CLIENT), text=True,
                                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.helpers.append(self.client)
        self.client.stdin.write(f"{proto} {addr} {port} {source}\n")
        self.client.stdin.flush()
        return self.client.stdout.readline().split()

    def close(self):
        for p in self.helpers + [self.proc]:
            p.kill()
            p.wait()


class Host(Netns):
    """This process's own network."""

    def __init__(self):
        self.helpers, self.client, self.path = [], None, None

    def argv(self, *argv):
        return list(argv)

    def close(self):
        for p in self.helpers:
            p.kill()
            p.wait()


class Tool:
    def __init__(self, node=NODE, fault=None, open_fails=False):
        env = dict(os.environ)
        if fault:
            env["UMIAK_FAULT"] = fault
        self.proc = subprocess.Popen([os.path.join(BUILD, "tests", "lib", "services_tool"),
                                      SERVICES, PODS, node], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, env=env)
        self.first = self.proc.stdout.readline().strip()
        assert open_fails or fault or self.first.startswith("ok open"), self.first

    def ask(self, line):
        self.proc.stdin.write(line + "\n")
        self.proc.stdin.flush()
        return self.proc.stdout.readline().strip()

    def ok(self, line):
        a = self.ask(line)
        assert a.split()[:1] == ["ok"], f"{line}: {a!r}"
        return a.split()[1:]

    def set(self, key, *ports):
        self.ok(" ".join(["set", key] + [",".join(str(x) for x in p) for p in ports]))
        self.ok("flush")

    def remove(self, key):
        self.ok(f"remove {key}")
        self.ok("flush")

    def close(self):
        if self.proc.poll() is None:
            self.proc.stdin.close()
        return self.proc.wait(60)


class World:
    def __init__(self):
        unshare_net()
        sh("ip", "link", "set", "lo", "up")
        for name, value in (("ip_forward", "1"), ("conf/all/rp_filter", "0"),
                            ("conf/default/rp_filter", "0")):
            with open(f"/proc/sys/net/ipv4/{name}", "w") as f:
                f.write(value)
        with contextlib.suppress(OSError):  # the bridge is a switch here, and no router
            with open("/proc/sys/net/bridge/bridge-nf-call-iptables", "w") as f:
                f.write("0")
        self.host = Host()
        self.things = [self.host]
        self.tools = []

    def path(self, *p):
        return os.path.join("/nonexistent", *p)

    def tool(self, *a, **kw):
        t = Tool(*a, **kw)
        self.tools.append(t)
        return t

    def pod(self, number, name=None, ports=(8080,), subnet=7):
        n = Netns()
        self.things.append(n)
        n.addr = f"10.244.{subnet}.{number}"
        link = f"p{subnet}x{number}"
        sh("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns",
           str(n.proc.pid))
        sh("ip", "addr", "add", "169.254.1.1/32", "dev", link, "scope", "link")
        sh("ip", "link", "set", link, "up")
        sh("ip", "route", "add", f"{n.addr}/32", "dev", link)
        n.sh("ip", "addr", "add", f"{n.addr}/32", "dev", "eth0")
        n.sh("ip", "link", "set", "eth0", "up")
        n.sh("ip", "route", "add", "169.254.1.1", "dev", "eth0")
        n.sh("ip", "route", "add", "default", "via", "169.254.1.1")
        if name:
            n.serve(name, *ports)
        return n

    def outside(self, number=2):
        """A machine beside the host, 192.0.2.1, with no idea of pods and Services."""
        n = Netns()
        self.things.append(n)
        if number == 2:
            sh("ip", "link", "add", "br0", "type", "bridge")
            sh("ip", "addr", "add", "192.0.2.1/24", "dev", "br0")
            sh("ip", "link", "set", "br0", "up")
        sh("ip", "link", "add", f"up{number}", "type", "veth", "peer", "name", "eth0", "netns",
           str(n.proc.pid))
        sh("ip", "link", "set", f"up{number}", "master", "br0", "up")
        n.sh("ip", "addr", "add", f"192.0.2.{number}/24", "dev", "eth0")
        n.sh("ip", "link", "set", "eth0", "up")
        n.addr = f"192.0.2.{number}"
        return n

    def second_node(self):
        """A node with one pod, 10.244.8.1, routed by hand."""
        n = self.outside(3)
        pod = Netns()
        self.things.append(pod)
        sh("ip", "route", "add", "10.244.8.0/24", "via", n.addr)
        n.sh("ip", "route", "add", "10.244.7.0/24", "via", "192.0.2.1")
        n.sh("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        n.sh("ip", "link", "add", "p", "type", "veth", "peer", "name", "eth0", "netns",
             str(pod.proc.pid))
        n.sh("ip", "addr", "add", "10.244.8.254/24", "dev", "p")
        n.sh("ip", "link", "set", "p", "up")
        pod.sh("ip", "addr", "add", "10.244.8.1/24", "dev", "eth0")
        pod.sh("ip", "link", "set", "eth0", "up")
        pod.sh("ip", "route", "add", "default", "via", "10.244.8.254")
        pod.addr = "10.244.8.1"
        pod.serve("remote", 8080)
        return n, pod

    def close(self):
        for t in self.tools + self.things:
            with contextlib.suppress(Exception):
                t.close()


make_node = World


def names(client, proto, addr, port, n=40):
    """Which servers answer, and how often."""
    got = {}
    for _ in range(n):
        a = client.ask(proto, addr, port)
        assert len(a) == 4, a
        got[a[0]] = got.get(a[0], 0) + 1
    return got


def refused(client, proto, addr, port):
    a = client.ask(proto, addr, port)
    # The kernel's answer to a datagram of its own host that a rule refuses is EPERM, at send(2).
    want = ("EPERM",) if proto == "udp" and client.path is None and addr.startswith("10.96.") \
        else ("ECONNREFUSED",)
    assert a[0] in want and float(a[1]) < 1, (proto, addr, port, a)


def ep(*pods, port=8080):
    return [f"{p.addr}:{port}" for p in pods]


def snapshot():
    """The table without what has no order and no meaning: handles and dynamic elements."""
    def clean(o):
        if isinstance(o, dict):
            o = {k: clean(v) for k, v in o.items() if k != "handle"}
            if o.get("name") == "affinity":
                o.pop("elem", None)
            if isinstance(o.get("elem"), list):
                o["elem"].sort(key=lambda e: json.dumps(e, sort_keys=True))
            return o
        return [clean(x) for x in o] if isinstance(o, list) else o
    out = sh("nft", "-j", "list", "table", "inet", TABLE)  # it may have warnings to say
    found = json.loads(next(x for x in out.splitlines() if x.startswith("{")))["nftables"]
    return sorted((json.dumps(clean(x), sort_keys=True) for x in found if "metainfo" not in x))


def elements():
    """All elements but the endpoints' indexes, which depend on history."""
    out = {}
    for line in snapshot():
        o = json.loads(line)
        for kind in ("map", "set"):
            if kind not in o or o[kind]["name"] in ("picks", "remembers"):
                continue
            name, found = o[kind]["name"], []
            for e in o[kind].get("elem", []):
                if name.endswith("endpoints"):
                    e = [e[0]["concat"][:-1], e[1]]
                found.append(json.dumps(e, sort_keys=True))
            out[name] = sorted(found)
    return out


def generation():
    """Changes with every transaction in this namespace."""
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    s.bind((0, 0))
    s.send(bytes.fromhex("14000000 100a 0100 01000000 00000000 00000000".replace(" ", "")))
    d = s.recv(4096)
    s.close()
    assert d[20:24] == bytes.fromhex("08000100"), d
    return int.from_bytes(d[24:28], "big")


# ---- the table of cases


def test_tcp_and_udp_from_host_and_pod_reach_every_endpoint(w):
    a, b, c = w.pod(1, "a"), w.pod(2, "b"), w.pod(3)
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a, b)),
          ("udp", "10.96.0.20:53", 0, 0, *ep(a, b)))
    for client in (w.host, c):
        for proto, port in (("tcp", 80), ("udp", 53)):
            got = names(client, proto, "10.96.0.20", port)
            assert set(got) == {"a", "b"}, (proto, got)
    assert c.ask("tcp", "10.96.0.20", 80)[2] == c.addr, "a pod keeps its source"
    assert c.ask("udp", "10.96.0.20", 53)[2] == c.addr


def test_the_draw_is_even(w):
    pods = [w.pod(i, f"p{i}") for i in (1, 2, 3)]
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(*pods)))
    got = names(w.host, "tcp", "10.96.0.20", 80, 300)
    assert set(got) == {"p1", "p2", "p3"} and min(got.values()) > 60, got


def test_several_ports_of_one_service(w):
    a, c = w.pod(1, "a", (8080, 9090)), w.pod(3)
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a)),
          ("tcp", "10.96.0.20:81", 0, 0, *ep(a, port=9090)),
          ("udp", "10.96.0.20:80", 0, 0, *ep(a, port=9090)))
    assert c.ask("tcp", "10.96.0.20", 80)[1] == "8080"
    assert c.ask("tcp", "10.96.0.20", 81)[1] == "9090"
    assert c.ask("udp", "10.96.0.20", 80)[1] == "9090"
    refused(c, "udp", "10.96.0.20", 81)


def test_node_ports_from_outside_host_and_pod(w):
    out, a, c = w.outside(), w.pod(1, "a"), w.pod(3)
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 0, *ep(a)),
          ("udp", "10.96.0.20:80", 30080, 0, *ep(a)))
    for proto in ("tcp", "udp"):
        assert out.ask(proto, "192.0.2.1", 30080)[:3] == ["a", "8080", "192.0.2.2"]
        assert w.host.ask(proto, "192.0.2.1", 30080)[0] == "a"
        assert c.ask(proto, "192.0.2.1", 30080)[:3] == ["a", "8080", c.addr]
        assert a.ask(proto, "192.0.2.1", 30080)[0] == "a", "hairpin by the node port"
        refused(w.host, proto, "127.0.0.1", 30080)
        refused(out, proto, "192.0.2.1", 30081)


def test_node_ports_of_other_machines_are_not_touched(w):
    out, a = w.outside(), w.pod(1, "a")
    out.serve("outside", 30080)
    out.sh("ip", "route", "add", "10.244.7.0/24", "via", "192.0.2.1")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 0, *ep(a)))
    assert w.host.ask("tcp", "192.0.2.2", 30080)[0] == "outside"
    assert a.ask("tcp", "192.0.2.2", 30080)[0] == "outside"


def test_a_pod_reaches_itself_through_its_service(w):
    a = w.pod(1, "a")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a)), ("udp", "10.96.0.20:80", 0, 0, *ep(a)))
    for proto in ("tcp", "udp"):
        got = a.ask(proto, "10.96.0.20", 80)
        assert got[:3] == ["a", "8080", "169.254.1.1"], got
    t.set("other", ("tcp", "10.96.0.21:80", 0, 0, *ep(a)))
    t.remove("web")
    assert a.ask("tcp", "10.96.0.21", 80)[0] == "a", "the address is another Service's still"
    t.remove("other")
    assert not elements()["hairpin"]


def test_no_endpoints_and_unknown_ports_are_refused_at_once(w):
    out, a, c = w.outside(), w.pod(1, "a"), w.pod(3)
    t = w.tool()
    t.set("empty", ("tcp", "10.96.0.20:80", 30080, 0), ("udp", "10.96.0.20:80", 30080, 0))
    t.set("web", ("tcp", "10.96.0.21:80", 0, 0, *ep(a)))
    for client in (w.host, c):
        for proto in ("tcp", "udp"):
            refused(client, proto, "10.96.0.20", 80)
            refused(client, proto, "10.96.0.21", 81)
            refused(client, proto, "10.96.99.99", 80)
    for client in (out, w.host, c):
        refused(client, "tcp", "192.0.2.1", 30080)
        refused(client, "udp", "192.0.2.1", 30080)
    w.host.serve("squatter", 30080)
    refused(out, "tcp", "192.0.2.1", 30080)
    t.set("empty", ("tcp", "10.96.0.20:80", 30080, 0, *ep(a)))
    assert c.ask("tcp", "10.96.0.20", 80)[0] == "a" and out.ask("tcp", "192.0.2.1", 30080)[0] == "a"
    t.set("empty", ("tcp", "10.96.0.20:80", 30080, 0))
    refused(c, "tcp", "10.96.0.20", 80)


def test_affinity_stays_moves_and_expires(w):
    out = w.outside()
    pods, c = [w.pod(i, f"p{i}") for i in (1, 2, 3, 4)], w.pod(9)
    t = w.tool()

    def serve(*which, sec=1000):
        t.set("web", ("tcp", "10.96.0.20:80", 30080, sec, *ep(*which)),
              ("tcp", "10.96.0.20:81", 0, 0, *ep(*which)),
              ("udp", "10.96.0.20:80", 0, sec, *ep(*which)))
    serve(*pods)
    for client, proto, addr, port in ((c, "tcp", "10.96.0.20", 80), (c, "udp", "10.96.0.20", 80),
                                      (w.host, "tcp", "10.96.0.20", 80),
                                      (out, "tcp", "192.0.2.1", 30080)):
        got = names(client, proto, addr, port, 25)
        assert len(got) == 1, (proto, addr, got)
        # Without its endpoint the client moves, and stays where it is then.
        mine = list(got)[0]
        serve(*[p for p in pods if f"p{pods.index(p) + 1}" != mine])
        moved = names(client, proto, addr, port, 25)
        assert len(moved) == 1 and mine not in moved, (proto, addr, moved)
        serve(*pods)
        assert names(client, proto, addr, port, 25).keys() == moved.keys()
    assert len(names(c, "tcp", "10.96.0.20", 81, 60)) > 1, "the port without"
    serve(*pods, sec=1)
    t.ok("check")
    first = c.ask("tcp", "10.96.0.20", 80)[0]

    def other():
        time.sleep(1.3)
        return c.ask("tcp", "10.96.0.20", 80)[0] != first
    wait_for("another endpoint after the timeout", other, timeout=60)
    serve(*pods, sec=0)
    assert len(names(c, "tcp", "10.96.0.20", 80, 60)) > 1


def test_affinity_survives_a_restart(w):
    pods, c = [w.pod(i, f"p{i}") for i in (1, 2, 3, 4)], w.pod(9)
    port = ("tcp", "10.96.0.20:80", 0, 1000, *ep(*pods))
    t = w.tool()
    t.set("web", port)
    first = names(c, "tcp", "10.96.0.20", 80, 10)
    t.close()
    t = w.tool()
    t.set("web", port)
    assert names(c, "tcp", "10.96.0.20", 80, 25).keys() == first.keys()


def test_changes_under_load_fail_nothing(w):
    pods, c = [w.pod(i, f"p{i}") for i in range(1, 7)], w.pod(9)
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(*pods)))
    stop, bad, counts = threading.Event(), [], []

    def load(path):
        if path:
            enter(path)
        n = 0
        while not stop.is_set():
            try:
                s = socket.create_connection(("10.96.0.20", 80), timeout=20)
                n += bool(s.recv(100))
                s.close()
            except OSError as e:
                bad.append(repr(e))
        counts.append(n)
    threads = [threading.Thread(target=load, args=(p,)) for p in (None, c.path, c.path)]
    for th in threads:
        th.start()
    rnd = random.Random(5)
    for _ in range(1500):
        some = rnd.sample(pods, rnd.randint(1, 6))
        t.set("web", ("tcp", "10.96.0.20:80", rnd.choice((0, 30080)), rnd.choice((0, 0, 0, 5)),
                      *ep(*some)))
    stop.set()
    for th in threads:
        th.join()
    assert not bad, (len(bad), bad[:5])
    assert sum(counts) > 100, counts


def test_established_connections_outlive_their_endpoint(w):
    a, b = w.pod(1, "a"), w.pod(2, "b")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a)))
    s = socket.create_connection(("10.96.0.20", 80), timeout=20)
    assert s.recv(99).startswith(b"a ")

    def echo():
        s.sendall(b"hello")
        assert s.recv(99) == b"hello"
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(b)))
    echo()
    t.remove("web")
    echo()
    t.close()
    t = w.tool()
    t.ok("flush")
    echo()
    sh("nft", "flush", "ruleset")
    t.ok("check")
    echo()
    s.close()


def test_udp_clients_move_at_once(w):
    out, a, b, c = w.outside(), w.pod(1, "a"), w.pod(2, "b"), w.pod(9)
    t = w.tool()
    refused(out, "udp", "192.0.2.1", 30053)

    def serve(*which):
        t.set("dns", ("udp", "10.96.0.20:53", 30053, 0, *ep(*which)))
    asks = ((c, "10.96.0.20", 53, c.addr), (out, "192.0.2.1", 30053, out.addr),
            (w.host, "10.96.0.20", 53, "0.0.0.0"))

    def who():
        # The same source port again and again: one connection entry.
        return [client.ask("udp", addr, port, f"{src}:4444")[0] for client, addr, port, src in asks]
    # An entry of the time before the NodePort leads to the host itself.
    out.ask("udp", "192.0.2.1", 30053, f"{out.addr}:4444")
    serve(a)
    assert who() == ["a"] * 3
    serve(a, b)
    assert who() == ["a"] * 3, "an endpoint more moves nobody"
    serve(b)
    assert who() == ["b"] * 3
    serve()
    got = who()
    assert got == ["ECONNREFUSED", "ECONNREFUSED", "EPERM"], got
    serve(a)
    assert who() == ["a"] * 3
    t.close()
    # Removed while no agent runs: found by the next one's first flush.
    t = w.tool()
    serve(b)
    assert who() == ["b"] * 3


def test_what_comes_from_elsewhere_is_masqueraded_to_another_node(w):
    out, a = w.outside(), w.pod(1, "a")
    node, remote = w.second_node()
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 0, f"{remote.addr}:8080"),
          ("udp", "10.96.0.20:80", 30080, 0, f"{remote.addr}:8080"))
    for proto in ("tcp", "udp"):
        assert a.ask(proto, "10.96.0.20", 80)[:3] == ["remote", "8080", a.addr]
        assert w.host.ask(proto, "10.96.0.20", 80)[:3] == ["remote", "8080", "192.0.2.1"]
        assert out.ask(proto, "192.0.2.1", 30080)[:3] == ["remote", "8080", "192.0.2.1"]
        assert w.host.ask(proto, "192.0.2.1", 30080)[:3] == ["remote", "8080", "192.0.2.1"]
        got = remote.ask(proto, "192.0.2.1", 30080)
        assert got[0] == "remote", ("there and back", got)
        assert a.ask(proto, "192.0.2.1", 30080)[0] == "remote"


def test_others_destination_nat_is_left_alone(w):
    """A published port as Docker makes them: its source stays as it is."""
    out, a, b = w.outside(), w.pod(1, "a"), w.pod(2, "b")
    sh("nft", "-f", "-", input="table ip foreign { chain pre { type nat hook prerouting priority "
       f"-100; tcp dport 8000 dnat to 10.244.8.77:8080; }}; }}")
    far = w.pod(77, "far", subnet=8)
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 0, *ep(a)))
    assert out.ask("tcp", "192.0.2.1", 8000)[:3] == ["far", "8080", out.addr]
    assert far.addr == "10.244.8.77"


def test_a_host_without_addresses_and_routes(w):
    a = w.pod(1, "a")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a)), ("udp", "10.96.0.20:80", 0, 0, *ep(a)))
    assert "default" not in sh("ip", "route")
    assert "10.96.0.0/16 dev lo proto 117" in sh("ip", "route")
    assert w.host.ask("tcp", "10.96.0.20", 80)[0] == "a"
    assert w.host.ask("udp", "10.96.0.20", 80)[0] == "a"


# ---- the kernel's state


def some_services(t, seed, n=40):
    rnd = random.Random(seed)
    for i in range(n):
        some = [f"10.244.{rnd.choice((7, 8))}.{rnd.randint(1, 40)}:{rnd.choice((80, 8080))}"
                for _ in range(rnd.choice((0, 1, 2, 3, 10, 30)))]
        t.ok("set s%d %s,10.96.1.%d:80,%d,%d%s" % (
            i, rnd.choice(("tcp", "udp")), i + 1, rnd.choice((0, 30100 + i)),
            rnd.choice((0, 0, 100, 10800)), "".join("," + e for e in some)))


def test_a_restart_changes_nothing(w):
    t = w.tool()
    some_services(t, 1)
    t.ok("flush")
    t.close()
    before, gen = snapshot(), generation()
    t = w.tool()
    some_services(t, 1)
    t.ok("flush")
    assert generation() == gen and snapshot() == before
    assert t.ok("check")[0] == "intact" and generation() == gen
    sh("nft", "add", "table", "ip", "somebodys")
    assert generation() != gen, "this test can see a change"


def test_a_saved_ruleset_loads_again(w):
    """People save `nft list ruleset`; their firewall must come back although Services are in it."""
    a = w.pod(1, "a")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 0, *ep(a)), ("udp", "10.96.0.20:80", 0, 0, *ep(a)))
    before, saved = elements(), sh("nft", "list", "ruleset")
    sh("nft", "flush", "ruleset")
    sh("nft", "-f", "-", input=saved)
    assert elements() == before and w.host.ask("tcp", "10.96.0.20", 80)[0] == "a"
    t.ok("check")
    assert elements() == before and w.host.ask("tcp", "10.96.0.20", 80)[0] == "a"
    assert t.ok("check")[0] == "intact"


def test_a_restart_sends_only_what_differs(w):
    t = w.tool()
    some_services(t, 1)
    t.ok("flush")
    t.close()
    t = w.tool()
    some_services(t, 2)
    t.ok("flush")
    got = elements()
    t.ok("destroy")
    t.close()
    t = w.tool()
    some_services(t, 2)
    t.ok("flush")
    assert elements() == got


def test_services_nobody_sets_after_a_restart_go_with_the_first_flush(w):
    a = w.pod(1, "a")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 5, *ep(a)))
    t.close()
    t = w.tool()
    assert w.host.ask("tcp", "10.96.0.20", 80)[0] == "a", "not before"
    t.ok("flush")
    refused(w.host, "tcp", "10.96.0.20", 80)
    assert not any(elements()[k] for k in elements() if k != "affinity"), elements()


def test_a_foreign_flush_is_healed_whole(w):
    a, b = w.pod(1, "a"), w.pod(2, "b")
    t = w.tool()
    some_services(t, 3)
    t.set("web", ("tcp", "10.96.0.20:80", 30080, 0, *ep(a, b)))
    before = snapshot()
    assert t.ok("check")[0] == "intact"

    def delete_one(name):
        for line in snapshot():
            o = json.loads(line).get("map") or json.loads(line).get("set") or {}
            if o.get("name") == name:
                k = o["elem"][0]
                k = k[0] if name != "hairpin" and isinstance(k, list) else k
                text = " . ".join(str(x) for x in k["concat"]) if isinstance(k, dict) else str(k)
                sh("nft", "delete", "element", "inet", TABLE, name, "{ " + text + " }")
                return
        raise AssertionError(name)
    harms = {
        "flush ruleset": lambda: sh("nft", "flush", "ruleset"),
        "delete table": lambda: sh("nft", "delete", "table", "inet", TABLE),
        "flush table": lambda: sh("nft", "flush", "table", "inet", TABLE),
        "flush chain": lambda: sh("nft", "flush", "chain", "inet", TABLE, "pick_2"),
        "a rule more": lambda: sh("nft", "insert", "rule", "inet", TABLE, "dispatch", "drop"),
        "a chain more": lambda: sh("nft", "add", "chain", "inet", TABLE, "x",
                                   "{ type filter hook forward priority 0; policy drop; }"),
        "flush endpoints": lambda: sh("nft", "flush", "map", "inet", TABLE, "endpoints"),
        "flush services": lambda: sh("nft", "flush", "map", "inet", TABLE, "services"),
        "flush picks": lambda: sh("nft", "flush", "map", "inet", TABLE, "picks"),
        "one service": lambda: delete_one("services"),
        "one hairpin": lambda: delete_one("hairpin"),
        "one node port": lambda: delete_one("node_tcp"),
        "a service more": lambda: sh("nft", "add", "element", "inet", TABLE, "services",
                                     "{ 10.96.7.7 . tcp . 80 : 0:2 }"),
        "a hairpin more": lambda: sh("nft", "add", "element", "inet", TABLE, "hairpin",
                                     "{ 1.2.3.4 . 1.2.3.5, 1.2.3.4 . 1.2.3.4 }"),
        "the route": lambda: sh("ip", "route", "del", "10.96.0.0/16"),
    }
    for name, harm in harms.items():
        harm()
        assert t.ok("check")[0] == "healed", name
        now = [x for x in snapshot() if "_pick_" not in x and '"pick_' not in x]
        want = [x for x in before if "_pick_" not in x and '"pick_' not in x]
        if elements() != elements_of(before) or w.host.ask("tcp", "10.96.0.20", 80)[0] not in "ab":
            raise AssertionError((name, [x for x in now if x not in want][:3],
                                  [x for x in want if x not in now][:3]))
        assert t.ok("check")[0] == "intact", name


def elements_of(lines):
    global snapshot
    keep, snapshot = snapshot, lambda: lines
    try:
        return elements()
    finally:
        snapshot = keep


def test_others_transactions_disturb_nothing(w):
    a, b = w.pod(1, "a"), w.pod(2, "b")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a)))
    for i in range(30):
        sh("nft", "add", "table", "ip", f"x{i}")
        t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(b if i % 2 else a)))
        assert w.host.ask("tcp", "10.96.0.20", 80)[0] == ("b" if i % 2 else "a")
    assert t.ok("check")[0] == "intact"


def test_foreign_elements_during_a_flush(w):
    """The kernel refuses what it already has, or has not: everything is read again."""
    a, b = w.pod(1, "a"), w.pod(2, "b")
    t = w.tool()
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a)))
    sh("nft", "add", "element", "inet", TABLE, "services", "{ 10.96.0.21 . tcp . 80 : 0:2 }")
    sh("nft", "add", "element", "inet", TABLE, "endpoints",
       "{ 10.96.0.21 . tcp . 80 . 0:1 : 9.9.9.9 . 80 }")
    t.set("new", ("tcp", "10.96.0.21:80", 0, 0, *ep(b)))
    assert w.host.ask("tcp", "10.96.0.21", 80)[0] == "b"
    sh("nft", "delete", "element", "inet", TABLE, "services", "{ 10.96.0.20 . tcp . 80 }")
    t.set("web", ("tcp", "10.96.0.20:80", 0, 0, *ep(a, b)))
    assert set(names(w.host, "tcp", "10.96.0.20", 80)) == {"a", "b"}


def test_a_kill_at_any_moment_of_a_flush(w):
    t = w.tool()
    some_services(t, 2)
    t.ok("flush")
    want = elements()
    t.ok("destroy")
    t.close()
    faults = ["services.before-batch", "services.before-batch:2", "services.after-batch",
              "services.after-batch:2", "services.sent", "services.loaded"]
    for fault in faults:
        t = w.tool()
        some_services(t, 1)
        t.ok("flush")
        t.close()
        if fault == "services.loaded":
            sh("nft", "insert", "rule", "inet", TABLE, "dispatch", "drop")
        if fault.endswith(":2"):  # a transaction for strays comes first
            sh("nft", "add", "element", "inet", TABLE, "hairpin", "{ 1.2.3.4 . 1.2.3.4 }")
        t = w.tool(fault=fault)
        with contextlib.suppress(AssertionError, OSError):
            some_services(t, 2)
            t.ok("flush")
        assert t.proc.wait(60) == -9, f"{fault} was not reached"
        fault_fired(fault.partition(":")[0])
        t = w.tool()
        some_services(t, 2)
        t.ok("flush")
        assert elements() == want, fault
        assert t.ok("check")[0] == "intact", fault
        t.ok("destroy")
        t.close()
    rnd = random.Random(9)
    for i in range(25):
        t = w.tool()
        t.ok("many 0 3000 10")
        t.proc.stdin.write("flush\n")
        t.proc.stdin.flush()
        time.sleep(rnd.random() * 0.15)
        t.proc.kill()
        t.close()
        t = w.tool()
        some_services(t, 2)
        t.ok("flush")
        assert elements() == want, i
        t.close()


def test_thousands_of_endpoints(w):
    a = w.pod(1, "a")
    t = w.tool()
    many = [f"10.244.{20 + i // 200}.{i % 200 + 1}:80" for i in range(3000)]
    t.set("big", ("tcp", "10.96.0.30:80", 0, 0, *many))
    assert len(elements()["endpoints"]) == 3000
    t.set("big", ("tcp", "10.96.0.30:80", 0, 0, *many[1000:2500], *many[:10]))
    assert len(elements()["endpoints"]) == 1510
    t.set("big", ("tcp", "10.96.0.30:80", 0, 0, *ep(a)))
    assert w.host.ask("tcp", "10.96.0.30", 80)[0] == "a"


def test_what_cannot_be_is_refused_by_name(w):
    t = w.tool()
    ok = "tcp,10.96.0.20:80,30080,0,10.244.7.1:80"
    t.ok(f"set web {ok}")
    for text, part in ((("sctp,10.96.0.21:80,0,0"), "SCTP"),
                       (("tcp,10.97.0.21:80,0,0"), "not in the Service range"),
                       (("tcp,10.96.0.21:0,0,0"), "port 0"),
                       (("tcp,10.96.0.21:80,29999,0"), "node port"),
                       (("tcp,10.96.0.21:80,0,86401"), "86400"),
                       (("tcp,10.96.0.21:80,0,0,127.0.0.2:80"), "127.0.0.2:80"),
                       (("tcp,10.96.0.21:80,0,0,10.96.0.4:80"), "10.96.0.4:80"),
                       (("tcp,10.96.0.21:80,0,0,224.0.0.1:80"), "224.0.0.1:80"),
                       (("tcp,10.96.0.21:80,0,0,10.244.7.1:0"), "10.244.7.1:0"),
                       (("tcp,10.96.0.20:80,0,0"), "belongs to Service web"),
                       (("tcp,10.96.0.21:80,30080,0"), "belongs to Service web"),
                       (("tcp,10.96.0.21:80,0,0 tcp,10.96.0.21:80,0,0"), "twice")):
        a = t.ask(f"set other {text}")
        assert a.startswith("error") and part in a and "Service other" in a, (text, a)
    t.ok("flush")
    assert len(elements()["services"]) == 1
    t.ok(f"remove web")
    t.ok(f"set other {ok}")


def test_a_range_that_the_host_uses_is_refused(w):
    sh("ip", "link", "add", "x", "type", "veth", "peer", "name", "y")
    sh("ip", "link", "set", "x", "up")
    sh("ip", "route", "add", "10.96.3.0/24", "dev", "x")
    t = w.tool(open_fails=True)
    assert "error -17" in t.first and "Service range" in t.first and "10.96.3.0/24" in t.first


# ---- other people's firewalls


def forwards(a, out):
    return a.ask("tcp", out.addr, 7777)[0] == "outside"


def foreign_world(w):
    out, a = w.outside(), w.pod(1, "a")
    out.serve("outside", 7777)
    out.sh("ip", "route", "add", "10.244.0.0/16", "via", "192.0.2.1")
    return out, a, w.tool()


def test_dockers_firewall_gets_one_marked_accept(w):
    out, a, t = foreign_world(w)
    assert t.ok("foreign")[0] == "kept" and "filter" not in sh("nft", "list", "tables")
    sh("nft", "-f", "-", input="""table ip filter {
        chain DOCKER-USER { counter return; }
        chain DOCKER-FORWARD { ct state established accept; oifname "docker0" drop; }
        chain FORWARD { type filter hook forward priority 0; policy drop;
            jump DOCKER-USER; jump DOCKER-FORWARD; }
    }
""".replace("; }", "\n}").replace("; ", "\n"))
    assert not forwards(a, out)
    assert t.ok("foreign")[0] == "added"
    assert forwards(a, out) and out.ask("tcp", a.addr, 8080)[0] == "a"
    before = sh("nft", "-a", "list", "chain", "ip", "filter", "DOCKER-USER")
    assert before.count("umiak: ") == 2 and before.index("umiak: ") < before.index("return")
    assert "umiak" not in sh("nft", "list", "chain", "ip", "filter", "FORWARD")
    assert t.ok("foreign")[0] == "kept"
    assert sh("nft", "-a", "list", "chain", "ip", "filter", "DOCKER-USER") == before
    sh("nft", "flush", "chain", "ip", "filter", "DOCKER-USER")
    assert not forwards(a, out)
    assert t.ok("foreign")[0] == "added" and forwards(a, out)
    t.ok("unforeign")
    assert "umiak: " not in sh("nft", "list", "table", "ip", "filter")
    t.ok("unforeign")


def test_a_forward_policy_of_drop_gets_the_accept_itself(w):
    out, a, t = foreign_world(w)
    sh("nft", "-f", "-", input="table ip filter {\nchain FORWARD {\n"
       "type filter hook forward priority 0; policy drop;\n}\n}\n")
    assert not forwards(a, out)
    assert t.ok("foreign") and forwards(a, out)
    # Docker comes later: the rules move to its chain, doubles go.
    sh("nft", "add", "chain", "ip", "filter", "DOCKER-USER")
    sh("nft", "insert", "rule", "ip", "filter", "FORWARD", "jump", "DOCKER-USER")
    sh("nft", "add", "rule", "ip", "filter", "FORWARD", "accept", "comment",
       f'"umiak: to pods {PODS}"')
    assert t.ok("foreign")[0] == "added" and forwards(a, out)
    assert sh("nft", "list", "chain", "ip", "filter", "DOCKER-USER").count("umiak: ") == 2
    assert "umiak: " not in sh("nft", "list", "chain", "ip", "filter", "FORWARD")


def test_what_is_not_ours_to_change_is_reported(w):
    out, a, t = foreign_world(w)
    sh("nft", "-f", "-", input="table inet strict {\nchain gate {\n"
       "type filter hook forward priority 0; policy drop;\n}\n}\n")
    said = " ".join(t.ok("foreign"))
    assert said.startswith("kept") and "chain gate of table inet strict" in said and PODS in said
    sh("nft", "delete", "table", "inet", "strict")
    sh("nft", "-f", "-", input="table inet firewalld {\nchain filter_FORWARD {\n"
       "type filter hook forward priority 10; policy accept;\nreject with icmpx admin-prohibited\n"
       "}\n}\n")
    said = " ".join(t.ok("foreign"))
    assert "firewalld" in said and f"--add-source={PODS}" in said, said
    assert "umiak: " not in sh("nft", "list", "ruleset")


def test_destroy_leaves_nothing(w):
    t = w.tool()
    some_services(t, 1)
    t.ok("flush")
    t.ok("destroy")
    assert TABLE not in sh("nft", "list", "ruleset") and "10.96" not in sh("ip", "route")
    t.ok("destroy")


main(globals())
