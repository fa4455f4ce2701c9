#!/usr/bin/env python3
"""Services, endpoints, deployments, replica sets, accounts and their tokens: with the real kubectl,
and with requests that no kubectl sends. Runs in a network namespace of its own."""
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import kubectls  # noqa: E402

if os.environ.get("UM_IN_NETNS") != "1":
    kubectls.prepare()
    os.environ["UM_IN_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-n", "-m", sys.executable] + sys.argv)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
from apitest import BUILD, Kubectl, Server, done, ok  # noqa: E402

SVCS = "/api/v1/namespaces/default/services"
SAS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
EPS = "/api/v1/namespaces/default/endpoints"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
DEPLOYS = "/apis/apps/v1/namespaces/default/deployments"
RSS = "/apis/apps/v1/namespaces/default/replicasets"
MERGE = {"ctype": "application/merge-patch+json"}


def wait_for(what, fn, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        v = fn()
        if v:
            return v
        time.sleep(0.05)
    raise AssertionError("timed out waiting for " + what)


def service(name, ports=((80, None),), **spec):
    out = []
    for i, (port, node) in enumerate(ports):
        p = {"name": "p%d" % i, "port": port}
        if node:
            p["nodePort"] = node
        out.append(p)
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": dict({"ports": out}, **spec)}


def template(image="i:1", **spec):
    return {"metadata": {"labels": {"app": "web"}},
            "spec": dict({"containers": [{"name": "c", "image": image}]}, **spec)}


def deployment(name, kind="Deployment", **spec):
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": dict({"selector": {"matchLabels": {"app": "web"}}, "template": template()}, **spec)}


def causes(r):
    return [(c["field"], c["message"]) for c in r.get("details", {}).get("causes", [])]


def refused(s, what, method, path, body, field, message, **kw):
    code, r = s.request(method, path, body, **kw)
    ok(code == 422 and any(f == field and message in m for f, m in causes(r)), what, (code, r))


# ---- addresses and node ports ----

def addresses(s):
    code, r = s.request("GET", SVCS + "/kubernetes")
    ok(code == 200 and r["spec"]["clusterIP"] == "10.96.0.1" and r["spec"]["ports"][0]["port"] == 443
       and r["spec"]["ports"][0]["targetPort"] == s.port, "the API has its Service", r)
    code, a = s.request("POST", SVCS, service("a"))
    ip = a["spec"]["clusterIP"]
    ok(code == 201 and ip.startswith("10.96.") and a["spec"]["clusterIPs"] == [ip]
       and a["spec"]["ipFamilies"] == ["IPv4"] and "generation" not in a["metadata"]
       and a["status"] == {"loadBalancer": {}}, "a Service gets an address", (code, a))
    refused(s, "an address that is taken", "POST", SVCS, service("b", clusterIP=ip), "spec.clusterIPs",
            "failed to allocate IP %s: provided IP is already allocated" % ip)
    refused(s, "the API's own address", "POST", SVCS, service("b", clusterIP="10.96.0.1"),
            "spec.clusterIPs", "provided IP is already allocated")
    refused(s, "an address out of range", "POST", SVCS, service("b", clusterIP="10.97.0.1"),
            "spec.clusterIPs", "is not in the valid range. The range of valid IPs is 10.96.0.0/16")
    refused(s, "the range's broadcast address", "POST", SVCS, service("b", clusterIP="10.96.255.255"),
            "spec.clusterIPs", "is not in the valid range")
    code, b = s.request("POST", SVCS, service("b", clusterIP="10.96.0.77"))
    ok(code == 201 and b["spec"]["clusterIPs"] == ["10.96.0.77"], "an address that is asked for", b)
    code, r = s.request("POST", SVCS + "?dryRun=All", service("dry", clusterIP="10.96.0.78"))
    ok(code == 201 and "resourceVersion" not in r["metadata"], "a dry run", r)
    code, r = s.request("POST", SVCS, service("c", clusterIP="10.96.0.78"))
    ok(code == 201, "takes nothing", r)
    refused(s, "an address cannot change", "PATCH", SVCS + "/b", {"spec": {"clusterIP": "10.96.0.79"}},
            "spec.clusterIPs[0]", "may not change once set", **MERGE)
    body = service("b", ports=((81, None),))
    code, r = s.request("PUT", SVCS + "/b", body)
    ok(code == 200 and r["spec"]["clusterIP"] == "10.96.0.77" and r["spec"]["ports"][0]["port"] == 81,
       "a manifest without the address keeps it", r)
    s.request("DELETE", SVCS + "/b")
    code, r = s.request("POST", SVCS, service("b2", clusterIP="10.96.0.77"))
    ok(code == 201, "a deletion gives the address back", r)
    code, r = s.request("POST", SVCS, service("headless", clusterIP="None"))
    ok(code == 201 and r["spec"]["clusterIPs"] == ["None"], "headless", r)
    code, r = s.request("POST", SVCS, {"metadata": {"name": "ext"}, "spec": {
        "type": "ExternalName", "externalName": "db.example.com"}})
    ok(code == 201 and "clusterIP" not in r["spec"], "ExternalName has no address", r)
    code, r = s.request("PATCH", SVCS + "/ext", {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}}, **MERGE)
    got = r["spec"].get("clusterIP", "")
    ok(code == 200 and got.startswith("10.96."), "ExternalName becomes ClusterIP", r)
    code, r = s.request("PATCH", SVCS + "/ext", {"spec": {"type": "ExternalName"}}, **MERGE)
    ok(code == 200 and "clusterIP" not in r["spec"] and "ipFamilies" not in r["spec"],
       "and back: the address is given back", (code, r))
    code, r = s.request("POST", SVCS, service("again", clusterIP=got))
    ok(code == 201, "another may have it", r)
    for f in ("?fieldSelector=spec.clusterIP=None", "?fieldSelector=spec.type=ExternalName"):
        code, r = s.request("GET", SVCS + f)
        ok(code == 200 and len(r["items"]) == 1, "services by " + f, r)


def node_ports(s):
    code, r = s.request("POST", SVCS, service("np", ports=((80, None), (443, 30443)), type="NodePort"))
    first = r["spec"]["ports"][0].get("nodePort", 0)
    ok(code == 201 and 30000 <= first <= 32767 and r["spec"]["ports"][1]["nodePort"] == 30443
       and r["spec"]["externalTrafficPolicy"] == "Cluster", "node ports", r)
    refused(s, "a node port that is taken", "POST", SVCS, service("np2", ((80, 30443),), type="NodePort"),
            "spec.ports[0].nodePort", "30443: provided port is already allocated")
    refused(s, "a node port out of range", "POST", SVCS, service("np2", ((80, 80),), type="NodePort"),
            "spec.ports[0].nodePort",
            "80: provided port is not in the valid range. The range of valid ports is 30000-32767")
    code, r = s.request("PUT", SVCS + "/np", service("np", ports=((81, None), (443, None)), type="NodePort"))
    ok(code == 200 and r["spec"]["ports"][0]["nodePort"] == first
       and r["spec"]["ports"][1]["nodePort"] == 30443, "a manifest without node ports keeps them", r)
    code, r = s.request("PATCH", SVCS + "/np", {"spec": {"type": "ClusterIP"}}, **MERGE)
    ok(code == 200 and not any("nodePort" in p for p in r["spec"]["ports"])
       and "externalTrafficPolicy" not in r["spec"], "ClusterIP has none", r)
    code, r = s.request("POST", SVCS, service("np2", ((80, 30443),), type="NodePort"))
    ok(code == 201, "they are given back", r)
    code, r = s.request("PATCH", SVCS + "/np", {"spec": {"type": "NodePort"}}, **MERGE)
    ok(code == 200 and all(p["nodePort"] not in (0, 30443) for p in r["spec"]["ports"]),
       "NodePort again", r)
    dns = service("dns", ((53, None),), type="NodePort")
    dns["spec"]["ports"].append({"name": "udp", "port": 53, "protocol": "UDP"})
    code, r = s.request("POST", SVCS, dns)
    ok(code == 201 and r["spec"]["ports"][0]["nodePort"] == r["spec"]["ports"][1]["nodePort"],
       "two protocols of a port share the node port", r)
    code, r = s.request("POST", SVCS, service("lb", type="LoadBalancer"))
    ok(code == 201 and r["spec"]["ports"][0]["nodePort"] and r["spec"]["allocateLoadBalancerNodePorts"]
       and r["status"] == {"loadBalancer": {}}, "LoadBalancer: node ports, an address that is pending", r)
    code, r = s.request("PATCH", SVCS + "/lb/status",
                        {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}, **MERGE)
    ok(code == 200 and r["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.1"}],
       "status is written by itself", r)


def restart(s):
    before = {i["metadata"]["name"]: i for i in s.request("GET", SVCS)[1]["items"]}
    s.stop(signal.SIGKILL)
    s.start()
    after = {i["metadata"]["name"]: i for i in s.request("GET", SVCS)[1]["items"]}
    ok(before == after, "kill -9: the same Services at the same revisions", (before, after))
    ip = after["a"]["spec"]["clusterIP"]
    refused(s, "what is taken is known again", "POST", SVCS, service("z", clusterIP=ip),
            "spec.clusterIPs", "provided IP is already allocated")
    refused(s, "node ports too", "POST", SVCS, service("z", ((80, 30443),), type="NodePort"),
            "spec.ports[0].nodePort", "provided port is already allocated")


def races(s):
    """Many at once, each commit slow: nobody gets what another has."""
    got, threads = [], []

    def post(body):
        got.append(s.request("POST", SVCS, body))

    for i in range(12):
        threads.append(threading.Thread(target=post, args=(
            service("same%d" % i, ((80, 31000),), type="NodePort", clusterIP="10.96.3.3"),)))
        threads.append(threading.Thread(target=post, args=(service("any%d" % i, type="NodePort"),)))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    same = [r for c, r in got if c == 201 and r["metadata"]["name"].startswith("same")]
    anys = [r for c, r in got if c == 201 and r["metadata"]["name"].startswith("any")]
    ok(len(same) == 1 and len(anys) == 12, "of those who ask for one address one gets it",
       [c for c, _ in got])
    ips = [r["spec"]["clusterIP"] for r in anys]
    ports = [r["spec"]["ports"][0]["nodePort"] for r in anys]
    ok(len(set(ips)) == 12 and len(set(ports)) == 12, "all others get different ones", (ips, ports))
    # one object, two writes in flight: the second takes over what the first was given
    code, r = s.request("POST", SVCS, service("two"))
    del threads[:], got[:]
    for i in range(8):
        threads.append(threading.Thread(target=lambda i=i: got.append(s.request(
            "PATCH", SVCS + "/two", {"spec": {"type": "NodePort"}, "metadata": {"labels": {"a": str(i)}}},
            **MERGE))))
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    won = {r["spec"]["ports"][0]["nodePort"] for c, r in got if c == 200}
    ok(len(won) == 1 and {c for c, _ in got} <= {200, 409}, "writes of one Service agree",
       [(c, r.get("message")) for c, r in got])
    code, r = s.request("DELETE", SVCS + "/two")
    code, r = s.request("POST", SVCS, service("three", ((80, won.pop()),), type="NodePort"))
    ok(code == 201, "and all of it is given back", r)


def small_ranges():
    d = os.path.join(tmp, "small")
    out = subprocess.run([os.path.join(BUILD, "umiak"), "server", "--help"], stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True).stdout
    ok("--service-range" in out and "--service-node-port-range" in out, "options of the server", out)
    for args, want in ((["--service-range", "10.96.0.0/33"], "must be an IPv4 network"),
                       (["--service-range", "10.96.0.1/16"], "must be an IPv4 network"),
                       (["--service-range", "fd00::/112"], "must be an IPv4 network"),
                       (["--service-range", "10.244.128.0/20"], "overlaps the pod range"),
                       (["--service-node-port-range", "30000"], "must be like 30000-32767"),
                       (["--service-node-port-range", "40000-30000"], "must be like"),
                       (["--service-node-port-range", "0-70000"], "must be like")):
        p = subprocess.run([os.path.join(BUILD, "umiak"), "server", "--data-dir", d + "/data", "--pki-dir",
                            d + "/pki", "--kubeconfig", d + "/k", "--port", "0"] + args,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        ok(p.returncode and want in p.stdout, "%s %s is refused" % tuple(args), p.stdout)
    s = Server(d, nodes=(), more=["--service-range", "10.50.0.0/28", "--node-ports", "30000-30003"])
    s.start()
    try:
        code, r = s.request("GET", SVCS + "/kubernetes")
        ok(r["spec"]["clusterIP"] == "10.50.0.1", "the API's address is the first of the range", r)
        codes = [s.request("POST", SVCS, service("s%d" % i))[0] for i in range(13)]
        ok(codes == [201] * 13, "all of a small range is given out", codes)
        code, r = s.request("POST", SVCS, service("more"))
        ok(code == 500 and "range is full" in r["message"], "then it is full", (code, r))
        code, r = s.request("PATCH", SVCS + "/s0", {"metadata": {"labels": {"a": "b"}}}, **MERGE)
        ok(code == 200, "what has an address can change", r)
        s.request("DELETE", SVCS + "/s5")
        code, r = s.request("POST", SVCS, service("more"))
        ok(code == 201, "a deletion makes room", r)
        five = [(80 + i, None) for i in range(5)]
        code, r = s.request("PATCH", SVCS + "/s1", {"spec": {"type": "NodePort", "ports": service("x", five)["spec"]["ports"]}}, **MERGE)
        ok(code == 500 and "range is full" in r["message"], "node ports run out", (code, r))
        code, r = s.request("PATCH", SVCS + "/s1", {"spec": {"type": "NodePort", "ports": service("x", five[:4])["spec"]["ports"]}}, **MERGE)
        ok(code == 200 and {p["nodePort"] for p in r["spec"]["ports"]} == {30000, 30001, 30002, 30003},
           "a refused write has taken none", r)
    finally:
        s.stop()


def full_disk():
    """A batch that fails gives back what it was given."""
    d = os.path.join(tmp, "full")
    os.makedirs(d + "/data")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", d + "/data"], check=True)
    s = Server(d, nodes=(), more=["--service-range", "10.50.0.0/28"])
    s.start()
    try:
        codes = [s.request("POST", SVCS, service("s%d" % i))[0] for i in range(3)]
        cms = "/api/v1/namespaces/default/configmaps"
        for i in range(200):
            code, r = s.request("POST", cms, {"metadata": {"name": "f%d" % i}, "data": {"x": "y" * 60000}})
            if code != 201:
                break
        ok(code == 507, "the disk is full", (code, r))
        codes = {s.request("POST", SVCS, service("n%d" % i))[0] for i in range(30)}
        ok(codes == {507}, "no Service can be written", codes)
        for k in range(i):
            s.request("DELETE", cms + "/f%d" % k)
        wait_for("room on the disk", lambda: s.request("POST", SVCS, service("m0"))[0] == 201)
        codes = [s.request("POST", SVCS, service("m%d" % i))[0] for i in range(1, 10)]
        ok(codes == [201] * 9, "what the failed writes were given is free", codes)
    finally:
        s.stop()
        subprocess.run(["umount", d + "/data"], check=True)


# ---- deployments, replica sets, scale ----

def apps(s):
    code, d = s.request("POST", DEPLOYS, deployment("web", replicas=3))
    ok(code == 201 and d["metadata"]["generation"] == 1 and d["status"] == {}
       and d["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"},
       "a Deployment", d)
    code, r = s.request("PATCH", DEPLOYS + "/web", {"metadata": {"labels": {"x": "y"}}}, **MERGE)
    ok(code == 200 and r["metadata"]["generation"] == 1, "labels do not raise the generation", r)
    code, r = s.request("PATCH", DEPLOYS + "/web", {"spec": {"paused": True}, "status": {"replicas": 9}}, **MERGE)
    ok(code == 200 and r["metadata"]["generation"] == 2 and r["status"].get("replicas") != 9, "the spec does", r)
    code, r = s.request("PATCH", DEPLOYS + "/web/status", {"status": {
        "observedGeneration": 2, "replicas": 3, "readyReplicas": 1}, "spec": {"replicas": 7}}, **MERGE)
    ok(code == 200 and r["metadata"]["generation"] == 2 and r["spec"]["replicas"] == 3
       and r["status"]["readyReplicas"] == 1, "status and spec are isolated", r)
    refused(s, "a selector cannot change", "PATCH", DEPLOYS + "/web", {"spec": {
        "selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}},
        "spec.selector", "field is immutable", **MERGE)
    refused(s, "a pod field that does not work, in a template", "POST", DEPLOYS,
            deployment("bad", template=template(runtimeClassName="x")), "spec.template.spec.runtimeClassName",
            "not supported by Umiak yet")
    path = DEPLOYS + "/web/scale"
    code, r = s.request("GET", path)
    ok(code == 200 and r["kind"] == "Scale" and r["apiVersion"] == "autoscaling/v1"
       and r["spec"] == {"replicas": 3} and r["status"]["selector"] == "app=web" and "replicas" in r["status"]
       and r["metadata"]["name"] == "web", "scale", r)
    code = 409
    while code == 409:  # the controllers write, too
        code, r = s.request("GET", path)
        r["spec"]["replicas"] = 4
        code, w = s.request("PUT", path, r)
    ok(code == 200 and w["kind"] == "Scale" and w["spec"]["replicas"] == 4
       and w["metadata"]["resourceVersion"] != r["metadata"]["resourceVersion"], "scale up", w)
    code, w = s.request("PUT", path, r)
    ok(code == 409, "at an old revision: conflict", w)
    for ctype, body in (("merge", {"spec": {"replicas": 5}}), ("strategic-merge", {"spec": {"replicas": 6}}),
                        ("json", [{"op": "replace", "path": "/spec/replicas", "value": 7}])):
        kind = "application/json-patch+json" if ctype == "json" else "application/%s-patch+json" % ctype
        code, w = s.request("PATCH", path, body, ctype=kind)
        ok(code == 200 and w["spec"]["replicas"] == (body[0]["value"] if ctype == "json"
                                                     else body["spec"]["replicas"]), "scale by %s patch" % ctype, w)
    code, r = s.request("GET", DEPLOYS + "/web")
    ok(r["spec"]["replicas"] == 7 and r["metadata"]["generation"] == 6, "the Deployment has it", r["spec"])
    refused(s, "less than none", "PATCH", path, {"spec": {"replicas": -1}}, "spec.replicas",
            "must be greater than or equal to 0", **MERGE)
    code, r = s.request("PATCH", path + "?fieldValidation=Strict", {"spec": {"replica": 1}}, **MERGE)
    ok(code == 400 and 'unknown field "spec.replica"' in r["message"], "an unknown field", r)
    code, r = s.request("PATCH", path + "?dryRun=All", {"spec": {"replicas": 1}}, **MERGE)
    ok(code == 200 and r["spec"]["replicas"] == 1, "a dry run", r)
    ok(s.request("GET", path)[1]["spec"]["replicas"] == 7, "changes nothing")
    ok(s.request("GET", DEPLOYS + "/none/scale")[0] == 404, "scale of nothing")
    ok(s.request("DELETE", path)[0] == 405, "a scale is not deleted")
    pb = b"k8s\0" + b"\x0a\x17" + b"\x0a\x0eautoscaling/v1\x12\x05Scale" + b"\x12\x0b" + b"\x0a\x05\x0a\x03web\x12\x02\x08\x08"
    code, r = s.request("PUT", path, pb, ctype="application/vnd.kubernetes.protobuf")
    ok(code == 200 and r["spec"]["replicas"] == 8, "scale in protobuf", r)
    code, r = s.request("GET", path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    ok(code == 200 and [c["name"] for c in r["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
       and r["rows"][0]["cells"][:2] == ["web", 8], "as a table", r)
    code, r = s.request("POST", RSS, deployment("rs", kind="ReplicaSet"))
    ok(code == 201 and r["spec"]["replicas"] == 1 and r["status"] == {"replicas": 0}, "a ReplicaSet", r)
    code, r = s.request("PATCH", RSS + "/rs/scale", {"spec": {"replicas": 2}}, **MERGE)
    ok(code == 200 and r["spec"]["replicas"] == 2, "it has a scale", r)
    code, r = s.request("POST", "/apis/apps/v1/namespaces/default/controllerrevisions", {
        "metadata": {"name": "r1"}, "data": {"spec": {"any": ["thing", 1]}}, "revision": 2})
    ok(code == 201 and r["data"] == {"spec": {"any": ["thing", 1]}}, "a ControllerRevision", r)
    code, r = s.request("POST", EPS, {"metadata": {"name": "web"}, "subsets": [
        {"addresses": [{"ip": "10.244.0.5"}], "ports": [{"port": 8080}]}]})
    ok(code == 201 and r["subsets"][0]["ports"][0]["protocol"] == "TCP", "Endpoints", r)
    code, r = s.request("POST", SLICES, {"metadata": {"name": "web-1"}, "addressType": "IPv4", "endpoints": [
        {"addresses": ["10.244.0.5"], "conditions": {"ready": True}}], "ports": [{"port": 8080}]})
    ok(code == 201 and r["metadata"]["generation"] == 1, "an EndpointSlice", r)
    code, r = s.request("PUT", SLICES + "/web-1", dict(r, endpoints=[]))
    ok(code == 200 and r["metadata"]["generation"] == 2, "its generation", r)
    for version, group, kind in (("v1", "", "services"), ("v1", "apps", "deployments")):
        url = "/api/v1" if not group else "/apis/%s/%s" % (group, version)
        code, r = s.request("GET", url)
        names = {x["name"]: x for x in r["resources"]}
        ok(kind in names and "all" in names[kind]["categories"], "discovery has " + kind, names.keys())
    ok(names["deployments/scale"]["kind"] == "Scale" and names["deployments/scale"]["group"] == "autoscaling",
       "and scale", names["deployments/scale"])


def missing_kinds(s):
    """A kind that is none here: 404 as before, and its name where it is one."""
    plain = "the server could not find the requested resource"
    ns = "namespaces/default/"
    for method, path, named in (
            ("POST", f"/apis/autoscaling/v2/{ns}horizontalpodautoscalers", "horizontalpodautoscalers.autoscaling/v2"),
            ("GET", f"/apis/autoscaling/v1/{ns}horizontalpodautoscalers/web", "horizontalpodautoscalers.autoscaling/v1"),
            ("GET", "/apis/example.org/v1/boats", "boats.example.org/v1"),
            ("DELETE", f"/api/v1/{ns}limitranges/x", "limitranges/v1"),
            ("GET", f"/apis/apps/v1/{ns}deployments/web/nothing", "deployments/nothing"),
            ("GET", f"/apis/Example%22/v1/{ns}boats", None),
            ("GET", "/apis/example.org/v1/" + "b" * 200, None), ("GET", "/nothing/at/all/x", None)):
        code, r = s.request(method, path, {} if method == "POST" else None)
        want = f"{plain}: it does not have {named}" if named else plain
        ok(code == 404 and r["reason"] == "NotFound" and r["message"] == want,
           f"{method} {path[:60]} names what is missing", r)


def namespaces_empty(s):
    s.request("POST", "/api/v1/namespaces", {"metadata": {"name": "gone"}})
    made = []
    for path, body in ((SVCS, service("x", ((80, 32001),), type="NodePort")), (DEPLOYS, deployment("x")),
                       (SAS, {"metadata": {"name": "x"}}), (EPS, {"metadata": {"name": "x"}}),
                       (RSS, deployment("x", kind="ReplicaSet")),
                       (SLICES, {"metadata": {"name": "x"}, "addressType": "IPv4"}),
                       (RSS.replace("replicasets", "controllerrevisions"),
                        {"metadata": {"name": "x"}, "data": {}, "revision": 1})):
        path = path.replace("/default/", "/gone/")
        code, r = s.request("POST", path, body)
        made.append((code, path))
    ok(all(c == 201 for c, _ in made), "one of each kind", made)
    s.request("DELETE", "/api/v1/namespaces/gone")
    wait_for("the namespace to go", lambda: s.request("GET", "/api/v1/namespaces/gone")[0] == 404)
    left = [p for _, p in made if s.request("GET", p + "/x")[0] != 404]
    ok(not left, "a namespace takes all of them along", left)
    code, r = s.request("POST", SVCS, service("reuse", ((80, 32001),), type="NodePort"))
    ok(code == 201, "and gives their node ports back", r)


# ---- accounts and tokens ----

def claims_of(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def as_token(s, token, method, path, body=None):
    return s.request(method, path, body, user=None, headers={"Authorization": "Bearer " + token})


def pod(name, account="robot", node=""):
    spec = {"serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}
    if not account:
        del spec["serviceAccountName"]
    if node:
        spec["nodeName"] = node
    return {"metadata": {"name": name}, "spec": spec}


def tokens(s):
    code, sa = s.request("POST", SAS, {"metadata": {"name": "robot"}})
    ok(code == 201, "an account", sa)
    path = SAS + "/robot/token"
    code, r = s.request("POST", path, {"spec": {}})
    t = r.get("status", {}).get("token", "")
    c = claims_of(t)
    ok(code == 201 and r["kind"] == "TokenRequest" and r["spec"]["expirationSeconds"] == 3600
       and r["status"]["expirationTimestamp"], "a token", r)
    ok(c["sub"] == "system:serviceaccount:default:robot" and c["exp"] - c["iat"] == 3600
       and c["kubernetes.io"]["serviceaccount"] == {"name": "robot", "uid": sa["metadata"]["uid"]}
       and c["aud"] == [c["iss"]], "its claims", c)
    ok(oct(os.stat(s.dir + "/pki/sa.key").st_mode & 0o777) == "0o600", "the key is private")
    for path_, want in (("/version", 200), ("/api", 200), ("/apis", 200), ("/openapi/v3", 200), (PODS, 403),
                        ("/api/v1/nodes", 403), (SVCS + "/kubernetes", 403), ("/metrics", 403)):
        code, r = as_token(s, t, "GET", path_)
        ok(code == want, "with it %s is %d" % (path_, want), (code, r))
        if want == 403 and path_ == PODS:
            ok('User "system:serviceaccount:default:robot" cannot list resource "pods"' in r["message"],
               "it says who", r["message"])
    head, body, sig = t.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    forged = base64.urlsafe_b64encode(json.dumps(dict(c, sub="system:serviceaccount:default:admin")).encode())
    flipped = sig[:10] + ("A" if sig[10] != "A" else "B") + sig[11:]
    for what, bad in (("another signature", "%s.%s.%s" % (head, body, flipped)),
                      ("none", "%s.%s." % (none, body)), ("none with a signature", "%s.%s.%s" % (none, body, sig)),
                      ("other claims", "%s.%s.%s" % (head, forged.decode().rstrip("="), sig)),
                      ("half", t[:40]), ("nothing", ""), ("dots", "..."), ("a long one", "a." * 9000),
                      ("four parts", t + ".x"), ("a newline", t.replace(".", ".%0a"))):
        code, r = as_token(s, bad, "GET", "/api")
        ok(code == 401, "a forged token (%s): 401" % what, (code, r))
    refused(s, "too short", "POST", path, {"spec": {"expirationSeconds": 599}}, "spec.expirationSeconds",
            "may not specify a duration less than 10 minutes")
    refused(s, "too long", "POST", path, {"spec": {"expirationSeconds": 1 << 33}}, "spec.expirationSeconds",
            "may not specify a duration larger than 2^32 seconds")
    code, r = s.request("POST", path, {"spec": {"audiences": ["vault"]}})
    ok(code == 201 and claims_of(r["status"]["token"])["aud"] == ["vault"], "for somebody else", r)
    ok(as_token(s, r["status"]["token"], "GET", "/api")[0] == 401, "is not good here")
    ok(s.request("POST", SAS + "/nobody/token", {"spec": {}})[0] == 404, "of no account: 404")
    ok(s.request("GET", path)[0] == 405, "tokens are not kept")

    # bound to a pod
    bound = lambda name, uid=None: {"spec": {"boundObjectRef": dict(
        {"kind": "Pod", "apiVersion": "v1", "name": name}, **({"uid": uid} if uid else {}))}}
    code, p = s.request("POST", PODS, pod("p1", node="n1"))
    s.request("POST", PODS, pod("other", account="", node="n1"))
    s.request("POST", PODS, pod("p2", node="n2"))
    ok(s.request("GET", PODS + "/other")[1]["spec"]["serviceAccountName"] == "default",
       "a pod has the default account")
    code, r = s.request("POST", path, bound("p1", p["metadata"]["uid"]))
    t1 = r.get("status", {}).get("token", "")
    ok(code == 201 and claims_of(t1)["kubernetes.io"]["pod"] == {"name": "p1", "uid": p["metadata"]["uid"]},
       "bound to a pod", r)
    ok(s.request("POST", path, bound("p1", "0000"))[0] == 409, "another UID: conflict")
    ok(s.request("POST", path, bound("none"))[0] == 404, "no such pod")
    code, r = s.request("POST", path, bound("other"))
    ok(code == 400 and "different serviceaccount name" in r["message"], "a pod of another account", r)
    refused(s, "bound to a node", "POST", path, {"spec": {"boundObjectRef": {"kind": "Node", "name": "n1"}}},
            "spec.boundObjectRef.kind", "not supported by Umiak yet")

    # nodes ask for their pods
    uid = p["metadata"]["uid"]
    vault = bound("p1", uid)
    vault["spec"]["audiences"] = ["vault"]
    for body, want in ((bound("p1", uid), 201), (bound("p1"), 403), (vault, 403), (bound("p2"), 403), (bound("none"), 403), ({"spec": {}}, 403),
                       ({"spec": {"boundObjectRef": {"kind": "Secret", "name": "x"}}}, 403)):
        code, r = s.request("POST", path, body, user="node-n1")
        ok(code == want, "node n1 asks for a token: %d" % want, (code, r))
    for p_ in (SVCS, EPS, SLICES):
        ok(s.request("GET", p_, user="node-n1")[0] == 200, "nodes read " + p_)
        ok(s.request("POST", p_, {"metadata": {"name": "x"}}, user="node-n1")[0] == 403, "and do not write")
    ok(s.request("GET", SAS, user="node-n1")[0] == 403, "nodes do not read accounts")
    ok(s.request("GET", DEPLOYS, user="node-n1")[0] == 403, "nor deployments")

    # bound to a Secret
    secrets = "/api/v1/namespaces/default/secrets"
    s.request("POST", secrets, {"metadata": {"name": "tie"}})
    code, r = s.request("POST", path, {"spec": {"boundObjectRef": {"kind": "Secret", "name": "tie"}}})
    t2 = r.get("status", {}).get("token", "")
    ok(code == 201 and as_token(s, t2, "GET", "/api")[0] == 200, "bound to a Secret", r)
    s.request("DELETE", secrets + "/tie")
    ok(as_token(s, t2, "GET", "/api")[0] == 401, "it ends with that")

    # the end of a token
    ok(as_token(s, t1, "GET", "/api")[0] == 200, "the pod's token is good")
    s.request("DELETE", PODS + "/p1?gracePeriodSeconds=0")
    ok(as_token(s, t1, "GET", "/api")[0] == 401, "without the pod it is not")
    s.stop()
    s.start()
    ok(as_token(s, t, "GET", "/api")[0] == 200, "tokens outlive a restart")
    s.request("DELETE", SAS + "/robot")
    ok(as_token(s, t, "GET", "/api")[0] == 401, "without the account it is not good")
    s.request("POST", SAS, {"metadata": {"name": "robot"}})
    ok(as_token(s, t, "GET", "/api")[0] == 401, "nor for another account of that name")


def reviews(s):
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    may = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    all_ = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    s.request("POST", SAS, {"metadata": {"name": "asker"}})
    t = s.request("POST", SAS + "/asker/token", {"spec": {}})[1]["status"]["token"]
    s.request("POST", PODS, pod("mine", node="n1"))
    code, r = as_token(s, t, "POST", who, {})
    ok(code == 201 and r["kind"] == "SelfSubjectReview" and r["status"]["userInfo"]["groups"] == [
        "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
       and r["status"]["userInfo"]["username"] == "system:serviceaccount:default:asker", "who am I", r)
    code, r = s.request("POST", who, {}, user="node-n1")
    ok(r["status"]["userInfo"]["username"] == "system:node:n1", "a node", r)
    res = lambda verb, resource, group="", **kw: {"spec": {"resourceAttributes": dict(
        {"verb": verb, "resource": resource, "group": group, "namespace": "default"}, **kw)}}
    for user, body, want in (
            ("admin", res("delete", "pods"), True), ("admin", res("*", "*", "*"), True),
            ("node-n1", res("get", "pods", name="mine"), True), ("node-n2", res("get", "pods", name="mine"), False),
            ("node-n1", res("list", "services"), True), ("node-n1", res("list", "deployments", "apps"), False),
            ("node-n1", res("get", "things", "none"), False), ("node-n1", res("juggle", "services"), False),
            ("node-n1", {"spec": {"nonResourceAttributes": {"path": "/version", "verb": "get"}}}, True),
            ("node-n1", {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}}, False)):
        code, r = s.request("POST", may, body, user=user)
        ok(code == 201 and r["status"]["allowed"] is want, "%s: %s" % (user, json.dumps(body["spec"])), r)
    for body, want in ((res("list", "pods"), False), (res("create", "selfsubjectreviews", "authentication.k8s.io"), True),
                       ({"spec": {"nonResourceAttributes": {"path": "/apis", "verb": "get"}}}, True)):
        code, r = as_token(s, t, "POST", may, body)
        ok(code == 201 and r["status"]["allowed"] is want, "an account: " + json.dumps(body["spec"]), r)
    refused(s, "nothing asked", "POST", may, {"spec": {}}, "spec.resourceAttributes", "exactly one of")
    code, r = s.request("POST", all_, {"spec": {"namespace": "default"}})
    ok(code == 201 and r["status"]["resourceRules"][0]["verbs"] == ["*"], "all that an admin may", r)
    code, r = as_token(s, t, "POST", all_, {"spec": {"namespace": "default"}})
    ok(code == 201 and all(x["verbs"] == ["create"] for x in r["status"]["resourceRules"]), "an account", r)
    for path in (who, may, all_):
        ok(s.request("GET", path)[0] == 405 and s.request("DELETE", path)[0] == 405, "nothing is kept at " + path)


# ---- kubectl ----

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, labels: {app: app}}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
      - name: main
        image: nginx:%(tag)s
        ports: [{containerPort: 80, name: http}]
        env: [{name: A, value: "%(tag)s"}]
---
apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  type: NodePort
  selector: {app: app}
  ports:
  - {name: http, port: 80, targetPort: http}
  - {name: more, port: %(more)s}
"""
OTHERS = """
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: rs}
spec:
  replicas: 2
  selector: {matchLabels: {app: rs}}
  template:
    metadata: {labels: {app: rs}}
    spec: {containers: [{name: main, image: "nginx:1"}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: ep}
subsets:
- addresses: [{ip: 10.244.0.5}, {ip: 10.244.0.6}]
  ports: [{port: 8080, name: a}, {port: 8081, name: b}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ep-1, labels: {kubernetes.io/service-name: ep}}
addressType: IPv4
endpoints: [{addresses: [10.244.0.5]}]
ports: [{port: 8080}]
---
apiVersion: apps/v1
kind: ControllerRevision
metadata: {name: cr}
revision: 3
data: {spec: {a: 1}}
"""


def with_kubectl(version, binary, s, tmp):
    k = Kubectl(binary, s, tmp)
    v = "kubectl %s: " % version
    ns = "ns" + version.replace(".", "")
    modern = version != "1.20"

    def good(what, *args, **kw):
        return k.good(v + what, "-n", ns, *args, **kw)

    def bad(what, *args, **kw):
        k.bad(v + what, "-n", ns, *args, **kw)

    good("create namespace", "create", "namespace", ns)
    # deployments
    good("create deployment", "create", "deployment", "web", "--image=nginx:1", "--replicas=2", "--port=80",
         has=["deployment.apps/web created"])
    good("get deploy", "get", "deploy", "web", has=["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "0/2"],
         lacks=["SELECTOR"])
    good("get deploy -o wide", "get", "deploy", "-o", "wide", has=["CONTAINERS", "IMAGES", "SELECTOR", "nginx:1", "app=web"])
    good("set image", "set", "image", "deployment/web", "nginx=nginx:2", has=["image updated"])
    good("the image", "get", "deploy", "web", "-o", "jsonpath={..image}", has=["nginx:2"])
    good("set env", "set", "env", "deployment/web", "K=V", has=["env updated"])
    good("set resources", "set", "resources", "deployment", "web", "--limits=cpu=100m", has=["requirements updated"])
    good("scale deployment", "scale", "deployment", "web", "--replicas=5", has=["scaled"])
    good("scale with a precondition", "scale", "deployment", "web", "--current-replicas=5", "--replicas=3", has=["scaled"])
    bad("scale with a wrong precondition", "scale", "deployment", "web", "--current-replicas=5", "--replicas=1",
        has=["Expected replicas to be 5"])
    good("replicas", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}", has=["3"])
    if modern:
        good("get --subresource=scale", "get", "deploy", "web", "--subresource=scale", has=["DESIRED", "AVAILABLE"])
    good("describe deployment", "describe", "deployment", "web", has=["3 desired", "RollingUpdate", "25% max unavailable", "nginx:2"])
    good("label", "label", "deployment", "web", "tier=front")
    good("annotate", "annotate", "deployment", "web", "note=x")
    good("get by label", "get", "deploy", "-l", "tier=front", "-o", "name", has=["deployment.apps/web"])
    good("patch (strategic)", "patch", "deployment", "web", "-p",
         '{"spec":{"template":{"spec":{"containers":[{"name":"side","image":"busybox:1"}]}}}}')
    good("two containers", "get", "deploy", "web", "-o", "jsonpath={..image}", has=["busybox:1 nginx:2"])
    good("patch (json)", "patch", "deployment", "web", "--type=json", "-p", '[{"op":"remove","path":"/spec/template/spec/containers/0"}]')
    good("patch to Recreate", "patch", "deployment", "web", "-p", '{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}')
    good("rolling update is gone", "get", "deploy", "web", "-o", "jsonpath={.spec.strategy}", has=["Recreate"], lacks=["rollingUpdate"])
    k.env["KUBE_EDITOR"] = "sed -i s/replicas:.*/replicas:\\ 4/"
    good("edit", "edit", "deployment", "web", has=["edited"])
    good("edited", "get", "deploy", "web", "-o", "jsonpath={.spec.replicas}", has=["4"])
    good("rollout pause", "rollout", "pause", "deployment/web", has=["paused"])
    good("rollout resume", "rollout", "resume", "deployment/web", has=["resumed"])
    good("rollout restart", "rollout", "restart", "deployment/web", has=["restarted"])
    # services
    good("expose", "expose", "deployment", "web", "--port=80", "--target-port=8080", "--name=web", has=["service/web exposed"])
    good("get svc -o wide", "get", "svc", "web", "-o", "wide",
         has=["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR", "ClusterIP", "<none>", "80/TCP", "app=web"])
    good("create service clusterip", "create", "service", "clusterip", "c1", "--tcp=80:8080")
    good("create service headless", "create", "service", "clusterip", "c2", "--clusterip=None", "--tcp=80")
    good("create service nodeport", "create", "service", "nodeport", "np", "--tcp=80:80")
    good("create service externalname", "create", "service", "externalname", "ext", "--external-name=db.example.com")
    good("create service loadbalancer", "create", "service", "loadbalancer", "lb", "--tcp=80:80")
    good("get svc", "get", "services", has=["None", "NodePort", "db.example.com", "<pending>", "80:3"])
    good("describe svc", "describe", "svc", "np", has=["NodePort", "10.96.", "Session Affinity"])
    good("set selector", "set", "selector", "svc", "c1", "app=other")
    k.env["KUBE_EDITOR"] = "sed -i s/sessionAffinity:.*/sessionAffinity:\\ ClientIP/"
    good("edit svc", "edit", "svc", "c1", has=["edited"])
    good("affinity", "get", "svc", "c1", "-o", "jsonpath={.spec.sessionAffinityConfig.clientIP.timeoutSeconds}", has=["10800"])
    good("patch svc to NodePort", "patch", "svc", "c1", "-p", '{"spec":{"type":"NodePort"}}')
    good("label svc", "label", "svc", "c1", "a=b")
    bad("a node port that is taken", "create", "service", "nodeport", "np2", "--tcp=80:80", "--node-port=" +
        k.run("-n", ns, "get", "svc", "np", "-o", "jsonpath={..nodePort}").stdout, has=["provided port is already allocated"])
    good("delete svc", "delete", "svc", "c1", "c2", "lb", "ext", "np", has=['service "np" deleted'])
    # apply
    first = DEPLOYMENT % {"tag": "1", "more": 81}
    good("apply", "apply", "-f", "-", stdin=first, has=["deployment.apps/app created", "service/app created"])
    good("apply again", "apply", "-f", "-", stdin=first, has=["deployment.apps/app unchanged", "service/app unchanged"])
    before = k.run("-n", ns, "get", "svc", "app", "-o", "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}").stdout
    second = DEPLOYMENT % {"tag": "2", "more": 82}
    if modern:
        r = k.run("-n", ns, "diff", "-f", "-", stdin=second)
        ok(r.returncode == 1 and "nginx:2" in r.stdout, v + "diff", r.stdout + r.stderr)
    good("apply a change", "apply", "-f", "-", stdin=second, has=["deployment.apps/app configured", "service/app configured"])
    after = k.run("-n", ns, "get", "svc", "app", "-o", "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}").stdout
    ok(before == after and before.strip(), v + "the Service keeps address and node port", (before, after))
    good("the change", "get", "deploy,svc", "app", "-o", "yaml", has=["nginx:2", "port: 82"], lacks=["nginx:1\n", "port: 81"])
    good("replace", "replace", "-f", "-", stdin=DEPLOYMENT % {"tag": "3", "more": 83}, has=["deployment.apps/app replaced", "service/app replaced"])
    bad("a wrong manifest", "apply", "-f", "-", stdin=first.replace("matchLabels: {app: app}", "matchLabels: {app: x}"),
        has=["spec.selector", "field is immutable"])
    bad("an unknown field", "apply", "-f", "-", stdin=first.replace("replicas: 2", "replica: 2"), has=["replica"])
    # the others
    good("apply the others", "apply", "-f", "-", stdin=OTHERS, has=["replicaset.apps/rs created", "endpoints/ep created",
                                                                   "endpointslice.discovery.k8s.io/ep-1 created"])
    good("get rs -o wide", "get", "rs", "-o", "wide", has=["DESIRED", "CURRENT", "READY", "AGE", "CONTAINERS", "app=rs"])
    good("get ep", "get", "ep", has=["ENDPOINTS", "10.244.0.5:8080,10.244.0.6:8080,10.244.0.5:8081 + 1 more..."])
    good("get endpointslices", "get", "endpointslices", has=["ADDRESSTYPE", "PORTS", "ENDPOINTS", "IPv4"])
    good("get controllerrevisions", "get", "controllerrevisions", has=["CONTROLLER", "REVISION", "3"])
    good("describe rs", "describe", "rs", "rs", has=["2 desired"])
    good("describe ep", "describe", "ep", "ep", has=["10.244.0.5,10.244.0.6"])
    good("scale rs", "scale", "rs", "rs", "--replicas=0", has=["scaled"])
    good("get all", "get", "all", has=["service/app", "deployment.apps/app", "replicaset.apps/rs"], lacks=["endpoints/"])
    good("get everything as yaml", "get", "deploy,rs,svc,ep,endpointslices,controllerrevisions,sa", "-o", "yaml", has=["kind: List"])
    # accounts
    good("create sa", "create", "sa", "robot", has=["serviceaccount/robot created"])
    good("get sa", "get", "sa", has=["NAME", "AGE", "robot"])
    good("describe sa", "describe", "sa", "robot", has=["robot"])
    if modern:
        t = good("create token", "create", "token", "robot", "--duration=20m").strip()
        ok(t.count(".") == 2 and claims_of(t)["exp"] - claims_of(t)["iat"] == 1200, v + "its life", t)
        code, r = as_token(s, t, "GET", "/apis")
        ok(code == 200, v + "it is good", r)
        bad("a token of nobody", "create", "token", "nobody", has=["not found"])
    good("auth can-i", "auth", "can-i", "create", "deployments.apps", has=["yes"])
    good("auth can-i --list", "auth", "can-i", "--list", has=["*.*", "selfsubjectreviews"])
    if version == "1.33":
        good("auth whoami", "auth", "whoami", has=["umiak-admin", "system:masters"])
    good("set serviceaccount", "set", "serviceaccount", "deployment", "web", "robot", has=["updated"])
    if modern:
        good("explain", "explain", "deployment.spec.template.spec.containers", has=["image"])
        good("explain a Service", "explain", "service.spec.ports", has=["nodePort"])
    bad("autoscale says what is missing", "autoscale", "deployment", "web", "--max=3",
        has=["NotFound", "it does not have horizontalpodautoscalers.autoscaling/v"])
    bad("no more is discovered for that", "get", "hpa", has=["doesn't have a resource type"])
    good("get all", "get", "all", lacks=["NotFound", "horizontal"])
    good("delete deployment", "delete", "deployment", "web", "app", has=['"web" deleted'])
    good("delete rs", "delete", "rs", "rs")
    good("delete sa", "delete", "sa", "robot", has=['"robot" deleted'])
    good("delete all", "delete", "all", "--all")
    good("delete namespace", "delete", "namespace", ns, has=["deleted"])


def run(part, *args):
    try:
        part(*args)
    except Exception:  # a broken part must not hide the others
        ok(False, part.__name__ + " ran to its end", traceback.format_exc())


tmp = tempfile.mkdtemp(prefix="um-apps-")
server = Server(os.path.join(tmp, "d"))
slow = Server(os.path.join(tmp, "slow"), nodes=(), more=["--fsync-delay-ms", "100"])
try:
    server.start()
    for part in (addresses, node_ports, restart, apps, missing_kinds, namespaces_empty, tokens, reviews):
        run(part, server)
    slow.start()
    run(races, slow)
    slow.stop()
    run(small_ranges)
    run(full_disk)
    for ver, path in kubectls.prepare():
        run(with_kubectl, ver, path, server, tmp)
    ok(server.stop() == 0, "SIGTERM ends it cleanly")
finally:
    for srv in (server, slow):
        if srv.proc and srv.proc.poll() is None:
            srv.proc.kill()
            srv.proc.wait()
    shutil.rmtree(tmp, ignore_errors=True)
sys.exit(done())
