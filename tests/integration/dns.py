#!/usr/bin/env python3
"""Cluster DNS: the cluster's names from pods and from the host, names from elsewhere through a
resolver of the test's own, and the way of pods to the API."""
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from one_node import *  # noqa

private_namespaces()

DNS = "10.96.0.10"
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, OPT, ANY = 1, 2, 5, 6, 12, 15, 16, 28, 33, 41, 255
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
LOOP = "trap 'exit 0' TERM; while true; do sleep 0.1; done"


# ---- a small resolver of the test's own

def wire(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            out += bytes([len(label)]) + label.encode("latin-1")
    return out + b"\0"


def query(name, type_=A, ident=None, edns=None, flags=0x0100, klass=1):
    ident = random.randrange(65536) if ident is None else ident
    m = struct.pack("!6H", ident, flags, 1, 0, 0, 1 if edns else 0)
    m += wire(name) + struct.pack("!2H", type_, klass)
    if edns:
        m += b"\0" + struct.pack("!HHIH", OPT, edns, 0, 0)
    return m


def read_name(m, at):
    labels, end, jumps = [], None, 0
    while True:
        c = m[at]
        if c & 0xc0 == 0xc0:
            end = end or at + 2
            at = (c & 63) << 8 | m[at + 1]
            jumps += 1
            assert jumps < 50
            continue
        at += 1
        if not c:
            return ".".join(labels), end or at
        labels.append(m[at:at + c].decode("latin-1"))
        at += c


class Answer:
    def __init__(self, m):
        self.raw = m
        self.id, self.flags, qd, *counts = struct.unpack("!6H", m[:12])
        self.rcode, at = self.flags & 15, 12
        self.aa, self.tc = bool(self.flags & 0x400), bool(self.flags & 0x200)
        for _ in range(qd):
            self.question, at = read_name(m, at)
            at += 4
        self.sections, self.edns = [[], [], []], None
        for s, n in enumerate(counts):
            for _ in range(n):
                name, at = read_name(m, at)
                t, c, ttl, size = struct.unpack("!HHIH", m[at:at + 10])
                at += 10
                d = m[at:at + size]
                if t == OPT:
                    self.edns = c
                elif t == A:
                    d = socket.inet_ntoa(d)
                elif t in (PTR, CNAME, NS):
                    d = read_name(m, at)[0]
                elif t == SRV:
                    d = (*struct.unpack("!3H", d[:6]), read_name(m, at + 6)[0])
                elif t == TXT:
                    d = d[1:].decode()
                elif t == SOA:
                    d = read_name(m, at)[0]
                if t != OPT:
                    self.sections[s].append((name, t, ttl, d))
                at += size
        assert at == len(m), "bytes after the last record"

    def data(self, type_, section=0):
        return [r[3] for r in self.sections[section] if r[1] == type_]


# In a pod's network: lines of a hex message; each answer as hex, or "timeout".
ASKER = r"""
import socket, struct, sys
for line in sys.stdin:
    how, msg, wait = line.split()
    msg = bytes.fromhex(msg)
    try:
        if how == 'udp':
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(float(wait))
            s.connect(('10.96.0.10', 53)); s.send(msg); out = s.recv(65535).hex()
        else:
            s = socket.create_connection(('10.96.0.10', 53), timeout=float(wait))
            s.sendall(struct.pack('!H', len(msg)) + msg)
            f = s.makefile('rb'); out = f.read(struct.unpack('!H', f.read(2))[0]).hex()
    except socket.timeout:
        out = 'timeout'
    except OSError as e:
        out = 'error-%d' % e.errno
    print(out, flush=True)
"""


HTTPS = r"""
import socket, ssl, sys
c = ssl.create_default_context(); c.check_hostname = False; c.verify_mode = ssl.CERT_NONE
s = c.wrap_socket(socket.create_connection((sys.argv[1], 443), timeout=5))
s.sendall(b'GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
out = b''
while True:
    d = s.recv(9999)
    if not d: break
    out += d
print(out.decode())
"""


class Asker:
    def __init__(self, pid=None):
        where = ["nsenter", "-t", str(pid), "-n"] if pid else []
        self.proc = subprocess.Popen([*where, sys.executable, "-uc", ASKER], text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def raw(self, msg, tcp=False, wait=20):
        self.proc.stdin.write(f"{'tcp' if tcp else 'udp'} {msg.hex()} {wait}\n")
        self.proc.stdin.flush()
        out = self.proc.stdout.readline().strip()
        return out if out.startswith(("timeout", "error")) else bytes.fromhex(out)

    def ask(self, name, type_=A, tcp=False, **kw):
        m = query(name, type_, **kw)
        out = self.raw(m, tcp)
        assert isinstance(out, bytes), (name, out)
        a = Answer(out)
        assert a.id == struct.unpack("!H", m[:2])[0] and a.flags & 0x8000
        assert a.question == name.rstrip("."), "the question's case is kept"
        assert bool(a.edns) == bool(kw.get("edns"))
        return a

    def addresses(self, name, **kw):
        return sorted(self.ask(name, A, **kw).data(A))

    def close(self):
        self.proc.kill()
        self.proc.wait()


# ---- a resolver "of the host"

class Upstream:
    """Answers what its table says: name -> function(query) -> list of messages."""

    all = {}  # they stay for the whole run

    def __new__(cls, address="127.0.0.1"):
        return cls.all.get(address) or super().__new__(cls)

    def __init__(self, address="127.0.0.1"):
        self.address, self.table, self.asked = address, {}, []
        if address in self.all:
            return
        self.all[address] = self
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.socket()
        self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.tcp.bind((address, 53))
        self.tcp.listen(20)
        for f in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=f, daemon=True).start()

    def find(self, m, proto):
        name, at = read_name(m, 12)
        self.asked.append((name, struct.unpack("!H", m[at:at + 2])[0], proto))
        return self.table.get(name.lower(), lambda m: [reply(m, rcode=NXDOMAIN, soa=60)])

    def serve_udp(self):
        while True:
            m, who = self.udp.recvfrom(65535)
            for out in self.find(m, "udp")(m):
                self.udp.sendto(out, who)

    def serve_tcp(self):
        while True:
            c = self.tcp.accept()[0]
            with contextlib.suppress(OSError, struct.error), c:
                f = c.makefile("rb")
                m = f.read(struct.unpack("!H", f.read(2))[0])
                for out in self.find(m, "tcp")(m):
                    out = out[:2] + struct.pack("!H", struct.unpack("!H", out[2:4])[0] & ~0x200) \
                        + out[4:]
                    c.sendall(struct.pack("!H", len(out)) + out)

    def count(self, name):
        return sum(1 for a in self.asked if a[0].lower() == name)


def reply(m, *records, rcode=0, tc=False, soa=None, ident=None, question=None):
    name, at = read_name(m, 12)
    ident = struct.unpack("!H", m[:2])[0] if ident is None else ident
    q = question or m[12:at + 4]
    out = struct.pack("!6H", ident, 0x8180 | rcode | (0x200 if tc else 0), 1, len(records),
                      1 if soa else 0, 0) + q
    for type_, ttl, data in records:
        out += b"\xc0\x0c" + struct.pack("!HHIH", type_, 1, ttl, len(data)) + data
    if soa:
        data = wire("ns.test") + wire("mail.test") + struct.pack("!5I", 1, 1, 1, 1, soa)
        out += b"\0" + struct.pack("!HHIH", SOA, 1, soa, len(data)) + data
    return out


def a(address, ttl=60):
    return (A, ttl, socket.inet_aton(address))


def host_resolvers(text):
    """In this mount namespace only."""
    path = "/run/umiak-test-resolv"
    if not os.path.ismount("/run"):
        sh("mount", "-t", "tmpfs", "tmpfs", "/run")
    with open(path, "w") as f:
        f.write(text)
    if path not in HOST_FILES:
        sh("mount", "--bind", path, os.path.realpath("/etc/resolv.conf"))
        HOST_FILES.append(path)


HOST_FILES = []


class DnsCluster(Cluster):
    def __init__(self):
        super().__init__()
        self.askers = []
        host_resolvers("search corp.test\noptions timeout:7\n")

    def asker(self, pid=None):
        self.askers.append(Asker(pid))
        return self.askers[-1]

    def pid(self, name, ctr="main"):
        return wait_for("the pod's process", lambda: self.ctr_pid_of(name, ctr))

    def ctr_pid_of(self, name, ctr):
        uid = self.get("pod", name)["metadata"]["uid"]
        for d in glob.glob(f"{CGROUPS}/pids/{self.cgroup}/pods/*/pod{uid}/{ctr}-*") + \
                glob.glob(f"{CGROUPS}/{self.cgroup}/pods/*/pod{uid}/{ctr}-*"):
            for p in read(d + "/cgroup.procs").split():
                return int(p)
        return None

    def inside(self, pod, *argv, **kw):
        return sh("nsenter", "-t", str(self.pid(pod)), "-n", "-m", "-u", "-w", "/bin/busybox",
                  *argv, **kw)

    def close(self):
        for x in self.askers:
            x.close()
        super().close()


make_node = DnsCluster


def pod(name, script=LOOP, labels=None, **spec):
    main = {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}
    main.update(spec.pop("main", {}))
    spec.setdefault("terminationGracePeriodSeconds", 1)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [main], **spec}}


def service(name, ns="default", **spec):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns},
            "spec": spec}


def port(name, number=80, protocol="TCP", **more):
    return {"name": name, "port": number, "protocol": protocol, **more}


def full(name):
    return name + ".cluster.local"


def until(what, want, fn):
    wait_for(what, lambda: fn() == want, timeout=30)


def is_missing(x, name, type_=A, rcode=NXDOMAIN):
    """NXDOMAIN or NODATA, with the zone's SOA."""
    got = x.ask(name, type_)
    return got.rcode == rcode and not got.sections[0] and got.data(SOA, 1) and got.aa


# ---- the cluster's names


def test_every_kind_of_record(node):
    node.busybox()
    node.run()
    h = node.asker()
    got = json.loads(node.k("get", "service", "-n", "kube-system", "kube-dns", "-o", "json"))
    assert got["spec"]["clusterIP"] == DNS
    assert [(p["name"], p["port"], p["protocol"]) for p in got["spec"]["ports"]] == \
        [("dns", 53, "UDP"), ("dns-tcp", 53, "TCP")]
    until("the API's own name", ["10.96.0.1"],
          lambda: h.addresses(full("kubernetes.default.svc")))
    node.apply(service("web", clusterIP="10.96.7.7",
                       ports=[port("http"), port("dns", 53, "UDP")], selector={"app": "web"}),
               service("flat", clusterIP="None", ports=[port("http", targetPort=8080)],
                       selector={"app": "flat"}),
               service("early", clusterIP="None", publishNotReadyAddresses=True,
                       ports=[port("http")], selector={"app": "slow"}),
               service("late", clusterIP="None", ports=[port("http")], selector={"app": "slow"}),
               service("away", type="ExternalName", externalName="flat.default.svc.cluster.local"),
               service("far", type="ExternalName", externalName="host.test"),
               service("round", type="ExternalName",
                       externalName="round.default.svc.cluster.local"))
    node.apply(pod("f1", labels={"app": "flat"}, hostname="one", subdomain="flat"),
               pod("f2", labels={"app": "flat"}),
               pod("slow", labels={"app": "slow"}, main={"readinessProbe": {
                   "tcpSocket": {"port": 9}, "periodSeconds": 1}}))
    node.ready("f1")
    node.ready("f2")
    ip = {n: node.get("pod", n)["status"]["podIP"] for n in ("f1", "f2")}
    slow = wait_for("its address", lambda: node.get("pod", "slow")["status"].get("podIP"))
    dashed = {n: i.replace(".", "-") for n, i in ip.items()}
    p = node.asker(node.pid("f2"))
    until("endpoints", sorted(ip.values()), lambda: p.addresses(full("flat.default.svc")))
    until("endpoints", [slow], lambda: p.addresses(full("early.default.svc")))
    for x in (h, p):
        for tcp in (False, True):
            got = x.ask(full("web.default.svc"), tcp=tcp)
            assert got.data(A) == ["10.96.7.7"] and got.aa and got.rcode == 0
            assert [r[2] for r in got.sections[0]] == [5], "the TTL"
            assert got.flags & 0x80, "recursion is available"
        assert x.ask("WeB.dEfault.SVC.cluster.LOCAL").data(A) == ["10.96.7.7"]
        assert x.ask(full("web.default.svc"), edns=4096).edns == 1232
        # NODATA where the name exists, NXDOMAIN where it does not
        for name in ("web.default.svc", "default.svc", "svc", "pod", "default.pod", "dns",
                     "_tcp.web.default.svc", "late.default.svc", "flat.default.svc"):
            assert is_missing(x, full(name), AAAA, NOERROR), name
        assert is_missing(x, full("late.default.svc"), A, NOERROR), "no endpoint is ready"
        for name in ("nope.default.svc", "nope.svc", "web.nope.svc", "nope", "a.web.default.svc",
                     "_nope._tcp.web.default.svc", "_http._udp.web.default.svc",
                     "_http._sctp.web.default.svc", "x._http._tcp.web.default.svc",
                     "1-2-3.default.pod", "1-2-3-256.default.pod", "two.flat.default.svc",
                     "kube-dns.default.svc", "we\0b.default.svc", "web/default.svc",
                     dashed["f1"] + ".flat.default.svc"):
            assert is_missing(x, full(name)), name
        # SRV
        got = x.ask(full("_http._tcp.web.default.svc"), SRV)
        assert got.data(SRV) == [(0, 100, 80, full("web.default.svc"))], got.sections
        assert got.data(A, 2) == ["10.96.7.7"]
        assert x.ask(full("_DNS._UDP.web.default.svc"), SRV).data(SRV)[0][2] == 53
        assert is_missing(x, full("_http._tcp.web.default.svc"), A, NOERROR)
        got = x.ask(full("_http._tcp.flat.default.svc"), SRV, edns=1232)
        hosts = sorted([full("one.flat.default.svc"),
                        full(dashed["f2"] + ".flat.default.svc")])
        assert sorted(r[3] for r in got.data(SRV)) == hosts, got.sections
        assert {r[2] for r in got.data(SRV)} == {8080}, "the endpoints' own port"
        assert sorted(got.data(A, 2)) == sorted(ip.values())
        # endpoints of headless Services
        assert x.addresses(full("one.flat.default.svc")) == [ip["f1"]]
        assert x.addresses(full(dashed["f2"] + ".flat.default.svc")) == [ip["f2"]]
        # PTR
        assert x.ask("7.7.96.10.in-addr.arpa", PTR).data(PTR) == [full("web.default.svc")]
        rev = ".".join(reversed(ip["f1"].split("."))) + ".in-addr.arpa"
        assert x.ask(rev, PTR).data(PTR) == [full("one.flat.default.svc")]
        assert x.ask("99.99.96.10.in-addr.arpa", PTR).rcode == NXDOMAIN
        assert x.ask("96.10.in-addr.arpa", PTR).rcode == NOERROR
        # the rest of the specification
        assert x.addresses(full("10-244-9-9.default.pod")) == ["10.244.9.9"]
        assert x.ask(full("dns-version"), TXT).data(TXT) == ["1.1.0"]
        assert x.ask("cluster.local", SOA).data(SOA) == [full("ns.dns")]
        got = x.ask("cluster.local", NS)
        assert got.data(NS) == [full("ns.dns")] and got.data(A, 2) == [DNS]
        assert x.addresses(full("ns.dns")) == [DNS]
        # ExternalName
        got = x.ask(full("away.default.svc"))
        assert got.data(CNAME) == [full("flat.default.svc")]
        assert sorted(got.data(A)) == sorted(ip.values()) and got.rcode == 0
        assert x.ask(full("away.default.svc"), CNAME).data(CNAME) == [full("flat.default.svc")]
        assert x.ask(full("round.default.svc")).rcode == SERVFAIL
        assert x.ask("host.test").rcode == SERVFAIL, "this host has no resolver"
        assert x.ask("host.test", flags=0).rcode == REFUSED, "recursion was not desired"
        assert x.ask(full("web.default.svc"), 252).rcode == REFUSED, "no transfers"
        assert x.ask(full("web.default.svc"), klass=3).rcode == REFUSED
    orders = {tuple(p.ask(full("flat.default.svc")).data(A)) for _ in range(60)}
    assert len(orders) == 2, "shuffled"


def test_what_changes_is_seen(node):
    node.busybox()
    node.run()
    h = node.asker()
    name = full("web.default.svc")
    until("the cluster's names", True, lambda: is_missing(h, name))
    slowest = 0
    for address in ("10.96.7.1", "10.96.7.2", None, "10.96.7.3"):
        if address is None:
            node.k("delete", "service", "web")
            until("the end", True, lambda: is_missing(h, name))
            continue
        node.k("delete", "service", "web", check=False)
        node.apply(service("web", clusterIP=address, ports=[port("http")]))
        began = time.monotonic()
        until("the change", [address], lambda: h.addresses(name))
        slowest = max(slowest, time.monotonic() - began)
    print(f"# a change was seen {slowest:.3f} s after kubectl ended")
    # An agent that is killed comes back with the same names.
    for pid in node.children("agent"):
        os.kill(pid, signal.SIGKILL)

    def answers():
        out = h.raw(query(name), wait=1)
        return isinstance(out, bytes) and Answer(out).data(A) == ["10.96.7.3"]

    wait_for("the agent's return", answers, timeout=60)
    node.k("delete", "service", "web")
    until("the end", True, lambda: is_missing(h, name))
    # Nothing is lost, also in a hurry.
    node.apply(pod("p"))
    node.ready("p")
    p = node.asker(node.pid("p"))
    kube = full("kubernetes.default.svc")
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.connect((DNS, 53))
    for i in range(2000):
        s.send(query(kube, ident=i))
        assert Answer(s.recv(4096)).id == i
    for i in range(500):
        assert p.addresses(kube) == ["10.96.0.1"]
    # Somebody takes the address away: it comes back. `down` leaves nothing.
    sh("ip", "addr", "del", DNS + "/32", "dev", "lo")
    wait_for("the address", lambda: DNS in sh("ip", "addr", "show", "dev", "lo"), timeout=60)
    until("an answer", ["10.96.0.1"], lambda: h.addresses(kube))
    node.stop()
    sh(os.path.join(node.build, "umiak"), "down", "--root", node.dir, "--cgroup-parent",
       node.cgroup, "--libexec-dir", node.path("libexec"))  # and leaks nothing, says LeakSanitizer
    assert "10.96." not in sh("ip", "addr") + sh("ip", "route", "show", "table", "all")


def test_pods_use_it_by_themselves(node):
    node.busybox()
    up = Upstream("127.0.0.1")
    host_resolvers("nameserver 127.0.0.1\nsearch corp.test\noptions timeout:7 ndots:2\n")
    up.table["host.test"] = lambda m: [reply(m, a("192.0.2.7"))]
    node.run()
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    node.apply(pod("server", "echo hello >/www/index.html; httpd -f -p 8080 -h /www",
                   labels={"app": "web"}),
               service("web", ports=[port("http", 80, targetPort=8080)], selector={"app": "web"}),
               service("web", "other", type="ExternalName", externalName="host.test"),
               pod("client"),
               pod("clientnet", hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet"),
               pod("hostnet", hostNetwork=True),
               pod("default", dnsPolicy="Default"),
               pod("own", dnsPolicy="None", dnsConfig={
                   "nameservers": ["192.0.2.1"], "searches": ["own.test"],
                   "options": [{"name": "ndots", "value": "3"}, {"name": "edns0"}]}),
               pod("merged", dnsConfig={
                   "nameservers": [DNS, "192.0.2.2"], "searches": ["more.test", "corp.test"],
                   "options": [{"name": "ndots", "value": "1"}]}),
               pod("many", dnsConfig={
                   "nameservers": ["192.0.2.2", "192.0.2.3", "192.0.2.4"][:2],
                   "searches": [f"s{i}.test" for i in range(29)]}))
    for name in ("server", "client", "clientnet", "hostnet", "default", "own", "merged", "many"):
        node.ready(name, timeout=60)
    cluster = (f"nameserver {DNS}\nsearch default.svc.cluster.local svc.cluster.local "
               "cluster.local corp.test\noptions ndots:5\n")

    def resolv(name):
        return node.inside(name, "cat", "/etc/resolv.conf")

    assert resolv("client") == resolv("clientnet") == cluster, resolv("client")
    host = "nameserver 127.0.0.1\nsearch corp.test\noptions timeout:7 ndots:2\n"
    assert resolv("default") == resolv("hostnet") == host, resolv("default")
    assert resolv("own") == "nameserver 192.0.2.1\nsearch own.test\noptions ndots:3 edns0\n"
    assert resolv("merged") == (
        f"nameserver {DNS}\nnameserver 192.0.2.2\nsearch default.svc.cluster.local "
        "svc.cluster.local cluster.local corp.test more.test\noptions ndots:1\n"), resolv("merged")
    events = node.k("get", "events")
    assert "MissingClusterDNS" not in events, events
    assert "DNSConfigForming" in events and "pod/many" in events, events
    assert len(resolv("many").split("\n")[3].split()) == 33, "32 search domains"
    wait_for("the page", lambda: "hello" in node.inside("client", "wget", "-qO-", "http://web",
                                                        check=False), timeout=30)
    for who in ("client", "clientnet"):
        for name in ("web", "web.default", "web.default.svc", "web.default.svc.cluster.local."):
            out = node.inside(who, "wget", "-qO-", f"http://{name}")
            assert out == "hello\n", (who, name, out)
        out = node.inside(who, "nslookup", "web.default.svc.cluster.local")
        assert node.get("service", "web")["spec"]["clusterIP"] in out, out
        out = node.inside(who, "nslookup", "-type=a", "web.other.svc.cluster.local")
        assert "192.0.2.7" in out, out
        out = node.inside(who, "ping", "-c1", "-W1", "host.test", check=False)
        assert "192.0.2.7" in out, out
    p = node.asker(node.pid("client"))
    # The API, by address and by name; what listens on the host's 127.0.0.1 stays out of reach.
    pid = node.pid("client")
    for where in ("10.96.0.1", wait_for("the API's name", lambda: p.addresses(
            full("kubernetes.default.svc")))[0]):
        wait_for("the API", lambda: "gitVersion" in sh(
            "nsenter", "-t", str(pid), "-n", sys.executable, "-c", HTTPS, where, check=False),
            timeout=30)
        assert "gitVersion" in sh(sys.executable, "-c", HTTPS, where), "from the host"
    link = next(l for l in os.listdir("/proc/sys/net/ipv4/conf") if l.startswith("um"))
    assert read(f"/proc/sys/net/ipv4/conf/{link}/route_localnet").strip() == "1"
    assert read("/proc/sys/net/ipv4/conf/all/route_localnet").strip() == "0"
    # A pod that may change its routes sends packets for 127.0.0.1 out of its link.
    sh("nsenter", "-t", str(pid), "-n", "sh", "-c",
       "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet; ip route del local 127.0.0.0/8 "
       "table local; ip route del local 127.0.0.1 table local; ip addr del 127.0.0.1/8 dev lo; "
       "ip route add 127.0.0.0/8 via 169.254.1.1 dev eth0 onlink")
    ip = node.get("pod", "client")["status"]["podIP"]
    seen = subprocess.run(
        ["nsenter", "-t", str(pid), "-n", sys.executable, "-c",
         "import socket,sys\ns=socket.socket(); s.settimeout(3)\n"
         f"s.bind(('{ip}',0))\n"
         "try: s.connect(('127.0.0.1',6443)); print('REACHED')\n"
         "except OSError as e: print('no', e)"], stdout=subprocess.PIPE, text=True).stdout
    assert seen.startswith("no"), seen
    drops = sh("nft", "list", "chain", "inet", "umiak_services", "prerouting")
    assert "127.0.0.0/8" in drops, drops
    # Only port 53 of the address is open, and no node port answers there.
    for n in (22, 6443, 80):
        s = socket.socket()
        s.settimeout(5)
        with contextlib.suppress(ConnectionRefusedError):
            s.connect((DNS, n))
            raise AssertionError(f"port {n} of {DNS} answers")


def test_names_from_elsewhere(node):
    one, two = Upstream("127.0.0.1"), Upstream("127.0.0.2")
    host_resolvers("nameserver 127.0.0.1\nnameserver 127.0.0.2\n")
    one.table.update({
        "plain.test": lambda m: [reply(m, a("192.0.2.1"))],
        "short.test": lambda m: [reply(m, a("192.0.2.1", ttl=1))],
        "empty.test": lambda m: [reply(m, soa=60)],
        "silent.test": lambda m: [],
        "broken.test": lambda m: [reply(m, rcode=SERVFAIL)],
        "refused.test": lambda m: [reply(m, rcode=REFUSED)],
        "hurt.test": lambda m: [reply(m, a("192.0.2.1"))[:-3]],
        "none.test": lambda m: [],
        "big.test": lambda m: [reply(m, *[a(f"192.0.2.{i}") for i in range(200)], tc=True)],
        "wide.test": lambda m: [reply(m, *[a(f"192.0.2.{i}") for i in range(50)])],
        "spoof.test": lambda m: [
            reply(m, a("203.0.113.1"), ident=struct.unpack("!H", m[:2])[0] ^ 1),
            reply(m, a("203.0.113.2"), question=wire("other.test") + m[-15:-11]),
            reply(m, a("203.0.113.3"), question=wire("spoof.test") + struct.pack("!2H", TXT, 1)),
            b"\xff" * 40, m, reply(m, a("192.0.2.9"))],
    })
    for name in ("silent.test", "broken.test", "refused.test", "hurt.test"):
        two.table[name] = lambda m: [reply(m, a("192.0.2.2"))]
    two.table["none.test"] = lambda m: []
    node.run()
    h = node.asker()
    until("an answer", ["192.0.2.1"], lambda: h.addresses("plain.test"))
    got = h.ask("pLaiN.test", edns=1232)
    assert got.data(A) == ["192.0.2.1"] and not got.aa and got.flags & 0x80
    for _ in range(20):
        h.addresses("plain.test")
    assert one.count("plain.test") == 1, "kept"
    assert h.ask("plain.test", tcp=True).sections[0][0][2] <= 60
    for name in ("silent.test", "broken.test", "refused.test", "hurt.test"):
        assert h.addresses(name) == ["192.0.2.2"], name
    assert h.ask("none.test").rcode == SERVFAIL
    # negative answers, kept too
    for _ in range(5):
        got = h.ask("nope.test")
        assert got.rcode == NXDOMAIN and got.data(SOA, 1), got.sections
        got = h.ask("empty.test", AAAA)
        assert got.rcode == NOERROR and not got.sections[0]
    assert one.count("nope.test") == one.count("empty.test") == 1, one.asked
    # those of a TTL of one second are asked for again
    h.addresses("short.test")
    time.sleep(1.2)
    h.addresses("short.test")
    assert one.count("short.test") == 2
    # truncation: the upstream's, and ours
    got = h.ask("big.test", tcp=True)
    assert len(got.data(A)) == 200 and not got.tc
    assert ("big.test", A, "tcp") in one.asked
    for edns, limit in ((None, 512), (600, 600), (4096, 1232)):
        got = h.ask("big.test", edns=edns)
        assert got.tc and len(got.raw) <= limit and got.rcode == NOERROR
    got = h.ask("wide.test")
    assert got.tc and len(got.raw) <= 512
    assert len(h.ask("wide.test", edns=1232).data(A)) == 50
    # forged answers
    assert h.addresses("spoof.test") == ["192.0.2.9"]
    # ExternalName
    node.apply(service("far", type="ExternalName", externalName="plain.test"),
               service("lost", type="ExternalName", externalName="nope.test"))
    until("the name", ["192.0.2.1"], lambda: h.addresses(full("far.default.svc")))
    got = h.ask(full("far.default.svc"))
    assert [r[:2] for r in got.sections[0]] == [(full("far.default.svc"), CNAME),
                                                ("plain.test", A)], got.sections
    got = h.ask(full("lost.default.svc"))
    assert got.rcode == NXDOMAIN and got.data(CNAME) == ["nope.test"]
    # none of the cluster's names goes out, but the one that shows a loop
    out = [n for n, _, _ in one.asked + two.asked if n.endswith("cluster.local")]
    assert all(n.startswith("um-loop-") for n in out), out
    # other resolvers, taken up while it runs
    three = Upstream("127.0.0.3")
    three.table["plain.test"] = lambda m: [reply(m, a("192.0.2.3"))]
    host_resolvers("nameserver 127.0.0.3\n")
    until("the new resolver", ["192.0.2.3"], lambda: h.addresses("plain.test"))
    # one that names ourselves, and one that asks us in turn
    host_resolvers(f"nameserver {DNS}\n")
    until("refused", SERVFAIL, lambda: h.ask("plain.test").rcode)
    four = Upstream("127.0.0.4")

    def ask_back(m):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(5)
        s.sendto(m, (DNS, 53))
        with contextlib.suppress(OSError):
            return [s.recv(4096)]
        return []

    four.find = lambda m, proto: (four.asked.append((read_name(m, 12)[0], 0, proto)), ask_back)[1]
    host_resolvers("nameserver 127.0.0.4\n")
    wait_for("the loop's end", lambda: "asks the cluster's DNS in turn" in
             (h.ask("loop.test"), node.log_text())[1], timeout=60)
    before = len(four.asked)
    assert h.ask("other.test").rcode == SERVFAIL and len(four.asked) == before


def test_hostile_packets(node):
    node.run()
    h = node.asker()
    kube = full("kubernetes.default.svc")
    until("the cluster's names", ["10.96.0.1"], lambda: h.addresses(kube))
    good = query(kube, ident=7)

    def rcode(m):
        out = h.raw(m, wait=20)
        return out if isinstance(out, str) else Answer(out).rcode

    header = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0)
    tail = struct.pack("!2H", A, 1)
    assert rcode(header) == FORMERR
    assert rcode(header + b"\xc0\x0c" + tail) == FORMERR, "a name that points at itself"
    assert rcode(header + b"\xc0\x00" + tail) == FORMERR, "a name in the header"
    assert rcode(header + b"\x40a\0" + tail) == FORMERR
    assert rcode(header + b"\x3f" + b"a" * 10) == FORMERR
    assert rcode(header + (b"\x01a" * 128) + b"\0" + tail) == FORMERR, "257 bytes of name"
    assert rcode(good + b"x") == FORMERR, "bytes that nothing announces"
    assert rcode(good[:-1]) == FORMERR
    assert rcode(good[:4] + struct.pack("!4H", 2, 0, 0, 0) + good[12:]) == FORMERR
    assert rcode(good[:4] + struct.pack("!4H", 0, 0, 0, 0)) == FORMERR
    assert rcode(good[:4] + struct.pack("!4H", 1, 1, 0, 0) + good[12:]) == FORMERR
    opt = b"\0" + struct.pack("!HHIH", OPT, 1232, 0, 0)
    assert rcode(good[:10] + b"\0\2" + good[12:] + opt + opt) == FORMERR, "two of EDNS"
    assert rcode(good[:2] + struct.pack("!H", 0x2900) + good[4:]) == NOTIMP, "an UPDATE"
    bad = Answer(h.raw(good[:10] + b"\0\1" + good[12:] + b"\0" +
                       struct.pack("!HHIH", OPT, 1232, 1 << 16, 0)))
    assert bad.edns and bad.rcode == 0 and b"\x01\0\0\0" in bad.raw[-8:], "BADVERS"
    for m in (b"", b"x", good[:11], good[:2] + b"\x81\x80" + good[4:]):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(0.3)
        s.connect((DNS, 53))
        s.send(m)
        with contextlib.suppress(socket.timeout):
            raise AssertionError(f"{m!r} was answered: {s.recv(999)!r}")
    rnd = random.Random(1)
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(3000):
        m = bytearray(good if i % 2 else query(kube, edns=1232))
        for _ in range(rnd.randrange(1, 6)):
            m[rnd.randrange(len(m))] = rnd.randrange(256)
        s.sendto(bytes(m[:rnd.randrange(len(m) + 1)] if i % 3 == 0 else m), (DNS, 53))
        if i % 50 == 0:
            h.addresses(kube)
    # TCP: more connections than are kept, half questions, several questions on one
    idle = [socket.create_connection((DNS, 53)) for _ in range(100)]
    for c in idle[::2]:
        with contextlib.suppress(OSError):
            c.sendall(b"\0\x40abc")
    assert h.addresses(kube, tcp=True) == ["10.96.0.1"]
    c = socket.create_connection((DNS, 53))
    c.settimeout(20)
    for i in range(50):
        m = query(kube, ident=i)
        c.sendall(struct.pack("!H", len(m)) + m)
    f = c.makefile("rb")
    for i in range(50):
        assert Answer(f.read(struct.unpack("!H", f.read(2))[0])).id == i
    c.sendall(b"\0\0")
    assert f.read() == b"", "hung up"
    assert h.addresses(kube) == ["10.96.0.1"]


if __name__ == "__main__":
    main(globals())
