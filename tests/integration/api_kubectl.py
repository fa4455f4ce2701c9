#!/usr/bin/env python3
"""The API server with the real kubectl, and with bytes that no kubectl sends.

Runs in a network namespace of its own. kubectl versions: Debian's 1.20, and kubectl.1.27 and
kubectl.1.33 beside the file that kubectl really is.
"""
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time



def debian_kubectl():
    """Debian's kubectl: installed, or unpacked aside where another package owns its place."""
    cache = os.path.join(os.environ["BUILD"], "kubectl-1.20")
    path = os.path.join(cache, "usr/bin/kubectl")
    if os.path.exists(path):
        return path
    owner = subprocess.run(["dpkg", "-S", "/usr/bin/kubectl"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True)
    if owner.stdout.startswith("kubernetes-client"):
        return "/usr/bin/kubectl"
    try:
        os.makedirs(cache, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "kubernetes-client"], cwd=cache, timeout=120,
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deb = [f for f in os.listdir(cache) if f.endswith(".deb")][0]
        subprocess.run(["dpkg-deb", "-x", deb, "."], cwd=cache, check=True)
        return path
    except (OSError, subprocess.SubprocessError, IndexError):
        return ""


if os.environ.get("UM_IN_NETNS") != "1":
    os.environ["UM_IN_NETNS"] = "1"
    os.environ["UM_KUBECTL_1_20"] = debian_kubectl()
    os.execvp("unshare", ["unshare", "-n", "-m", sys.executable] + sys.argv)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from apitest import Kubectl, Server, done, ok, skip  # noqa: E402

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: %(name)s
  labels: {app: web}
spec:
  containers:
  - name: main
    image: nginx:1.25
    ports: [{containerPort: 80}]
    env: [{name: A, value: "1"}]
"""


def with_kubectl(version, binary, s, tmp):
    k = Kubectl(binary, s, tmp)
    v = "kubectl %s: " % version
    pod = "p" + version.replace(".", "")
    ns = "ns" + version.replace(".", "")
    n = lambda *a: list(a) + ["-n", ns]
    manifest = POD % {"name": pod}

    k.good(v + "version", "version", has=["v1.33"])
    k.good(v + "api-resources", "api-resources",
           has=["configmaps", "leases", "coordination.k8s.io"])
    if version != "1.20":
        k.good(v + "explain", "explain", "pod.spec.containers.image", has=["<string>"])
    k.good(v + "create namespace", "create", "namespace", ns, has=["created"])
    k.good(v + "wait for namespace", "wait", "--for=jsonpath={.status.phase}=Active",
           "ns/" + ns, "--timeout=10s") if version != "1.20" else None
    k.good(v + "apply creates", "apply", "-f", "-", *n(), stdin=manifest, has=["created"])
    k.good(v + "apply changes", "apply", "-f", "-", *n(),
           stdin=manifest.replace("nginx:1.25", "nginx:1.26").replace("app: web", "app: web2"),
           has=["configured"])
    out = k.good(v + "get -o json", "get", "pod", pod, "-o", "json", *n())
    o = json.loads(out or "{}")
    ok(o.get("spec", {}).get("containers", [{}])[0].get("image") == "nginx:1.26" and
       o["metadata"]["labels"] == {"app": "web2"} and o["status"]["qosClass"] == "BestEffort" and
       o["status"]["phase"] == "Pending" and o["spec"]["securityContext"] == {} and
       len(o["spec"]["tolerations"]) == 2 and o["spec"]["containers"][0]["ports"] ==
       [{"containerPort": 80, "protocol": "TCP"}],
       v + "apply changed what it said, defaults are in", out)
    k.good(v + "apply again changes nothing", "apply", "-f", "-", *n(),
           stdin=manifest.replace("nginx:1.25", "nginx:1.26").replace("app: web", "app: web2"),
           has=["unchanged"])
    k.good(v + "get is a Table", "get", "pods", *n(), has=["READY", "RESTARTS", "Pending", "0/1"])
    k.good(v + "get -o wide", "get", "pods", "-o", "wide", *n(), has=["NODE", "NOMINATED"])
    k.good(v + "get -o yaml", "get", "pods", pod, "-o", "yaml", *n(), has=["restartPolicy: Always"])
    k.good(v + "get -l", "get", "pods", "-l", "app in (web2),!x", *n(), has=[pod])
    k.good(v + "get -l (none)", "get", "pods", "-l", "app=web", *n(), lacks=[pod])
    k.good(v + "get --all-namespaces", "get", "pods", "-A", has=[ns, pod])
    k.good(v + "describe", "describe", "pod", pod, *n(), has=["nginx:1.26", "BestEffort"])
    k.good(v + "label", "label", "pod", pod, "x=y", *n(), has=["labeled"])
    k.good(v + "label (remove)", "label", "pod", pod, "x-", *n())
    k.good(v + "annotate", "annotate", "pod", pod, "note=hello there", *n(), has=["annotate"])
    k.good(v + "patch (strategic)", "patch", "pod", pod, "-p",
           '{"spec":{"containers":[{"name":"main","image":"nginx:1.27"}]}}', *n(), has=["patched"])
    k.good(v + "patch (merge)", "patch", "pod", pod, "--type=merge", "-p",
           '{"metadata":{"labels":{"m":"1"}}}', *n(), has=["patched"])
    k.good(v + "patch (json)", "patch", "pod", pod, "--type=json", "-p",
           '[{"op":"test","path":"/metadata/labels/m","value":"1"},'
           '{"op":"remove","path":"/metadata/labels/m"}]', *n(), has=["patched"])
    k.bad(v + "patch (json, failing test)", "patch", "pod", pod, "--type=json", "-p",
          '[{"op":"test","path":"/metadata/labels/app","value":"zz"}]', *n())
    out = k.good(v + "the patches did what they say", "get", "pod", pod, "-o", "json", *n())
    o = json.loads(out or "{}")
    ok(o["spec"]["containers"][0]["image"] == "nginx:1.27" and
       "m" not in o["metadata"]["labels"] and o["spec"]["containers"][0]["env"] ==
       [{"name": "A", "value": "1"}] and o["metadata"].get("generation", 1) >= 2,
       v + "patched object", out)
    script = os.path.join(tmp, "editor")
    with open(script, "w") as f:
        f.write("#!/bin/sh\nsed -i 's/hello there/edited/' \"$1\"\n")
    os.chmod(script, 0o755)
    k.env["KUBE_EDITOR"] = script
    k.good(v + "edit", "edit", "pod", pod, *n(), has=["edited"])
    k.good(v + "edit changed it", "get", "pod", pod, "-o", "yaml", *n(), has=["note: edited"])
    k.bad(v + "a wrong manifest names its field", "apply", "-f", "-", *n(),
          stdin=manifest.replace("image: nginx:1.25", "image: ''").replace(pod, "wrong"),
          has=["spec.containers[0].image"])
    k.bad(v + "an immutable field", "patch", "pod", pod, "--type=merge", "-p",
          '{"spec":{"hostNetwork":true}}', *n(), has=["Forbidden"])
    k.good(v + "create configmap", "create", "configmap", "c1", "--from-literal=a=b", *n(),
           has=["created"])
    k.good(v + "create secret", "create", "secret", "generic", "s1", "--from-literal=p=hunter2",
           *n(), has=["created"])
    k.good(v + "create -f", "create", "-f", "-", *n(),
           stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c2}\ndata: {k: v}\n",
           has=["created"])
    k.bad(v + "create twice", "create", "configmap", "c1", *n(), has=["already exists"])
    k.good(v + "replace", "replace", "-f", "-", *n(),
           stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c2}\ndata: {k: w}\n",
           has=["replaced"])
    k.good(v + "dry run", "apply", "--dry-run=server", "-f", "-", *n(),
           stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c3}\n", has=["server dry run"])
    k.bad(v + "the dry run stored nothing", "get", "cm", "c3", *n(), has=["NotFound"])
    out = k.good(v + "get secret", "get", "secret", "s1", "-o", "jsonpath={.data.p}", *n())
    ok(base64.b64decode(out or "") == b"hunter2", v + "secret value", out)
    watch = subprocess.Popen([binary, "get", "pods", "-w", "-n", ns], env=k.env,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    waiter = subprocess.Popen([binary, "wait", "--for=condition=Ready", "pod/" + pod, "-n", ns,
                               "--timeout=20s"], env=k.env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
    time.sleep(1.0)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    code, _ = s.request("POST", "/api/v1/namespaces/%s/pods/%s/binding" % (ns, pod),
                        {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
                         "target": {"apiVersion": "v1", "kind": "Node", "name": "n1"}})
    ok(code == 201, v + "binding", code)
    code, r = s.request("PATCH", "/api/v1/namespaces/%s/pods/%s/status" % (ns, pod),
                        {"status": {"phase": "Running", "podIP": "10.244.0.2",
                                    "podIPs": [{"ip": "10.244.0.2"}],
                                    "conditions": [{"type": "Ready", "status": "True",
                                                    "lastTransitionTime": now}],
                                    "containerStatuses": [
                                        {"name": "main", "ready": True, "restartCount": 0,
                                         "image": "nginx:1.27", "imageID": "x", "started": True,
                                         "state": {"running": {"startedAt": now}}}]}},
                        user="node-n1", ctype="application/strategic-merge-patch+json")
    ok(code == 200, v + "status from the node", r)
    out = waiter.communicate(timeout=30)[0]
    ok(waiter.returncode == 0, v + "wait for Ready", out)
    time.sleep(0.3)
    watch.terminate()
    out = watch.communicate(timeout=10)[0]
    ok("Running" in out and "1/1" in out and out.count("NAME") == 1, v + "get -w", out)
    k.good(v + "get nodes", "get", "nodes", has=["n1"])
    k.good(v + "delete (with grace)", "delete", "pod", pod, "--wait=false", *n(), has=["deleted"])
    code, r = s.request("GET", "/api/v1/namespaces/%s/pods/%s" % (ns, pod))
    ok(code == 200 and r["metadata"].get("deletionGracePeriodSeconds") == 30 and
       r["metadata"].get("deletionTimestamp"), v + "a bound pod waits for its node", r)
    gone = subprocess.Popen([binary, "wait", "--for=delete", "pod/" + pod, "-n", ns,
                             "--timeout=20s"], env=k.env, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)
    time.sleep(0.5)
    code, r = s.request("DELETE", "/api/v1/namespaces/%s/pods/%s" % (ns, pod),
                        {"gracePeriodSeconds": 0,
                         "preconditions": {"uid": r["metadata"]["uid"]}}, user="node-n1")
    ok(code == 200, v + "the node lets it go", r)
    out = gone.communicate(timeout=30)[0]
    ok(gone.returncode == 0, v + "wait for delete", out)
    k.good(v + "delete cm", "delete", "cm", "c1", *n(), has=["deleted"])
    k.good(v + "delete --all", "delete", "cm", "--all", *n(), has=["c2"])
    k.good(v + "delete namespace waits until it is empty", "delete", "ns", ns, has=["deleted"])
    code, r = s.request("GET", "/api/v1/namespaces/%s/secrets/s1" % ns)
    ok(code == 404, v + "its content is gone", r)


def register_node(s, name):
    code, r = s.request("POST", "/api/v1/nodes",
                        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
                         "status": {"capacity": {"cpu": "2", "memory": "1Gi", "pods": "110"},
                                    "conditions": [{"type": "Ready", "status": "True"}]}},
                        user="node-" + name)
    ok(code == 201 and r["status"]["capacity"]["cpu"] == "2", "node %s registers itself" % name, r)


def cm(name, data=None, **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": dict(meta, name=name),
            "data": data or {}}


CMS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


def rest(s):
    code, r = s.request("GET", "/version", user=None)
    ok(code == 200 and r["major"] == "1" and r["minor"] == "33" and
       r["gitVersion"].startswith("v1.33."), "/version needs no identity", r)
    for page in ("/healthz", "/livez", "/readyz", "/readyz?verbose"):
        code, r = s.request("GET", page, user=None)
        ok(code == 200, page + " needs no identity", r)
    code, r = s.request("GET", "/api/v1/pods", user=None)
    ok(code == 401 and r["reason"] == "Unauthorized", "nobody: 401", r)
    code, r = s.request("GET", CMS, headers={"Impersonate-User": "x"})
    ok(code == 403 and "impersonation" in r["message"], "impersonation is refused", r)
    code, r = s.request("GET", "/api/v1/frobs")
    ok(code == 404 and r["kind"] == "Status" and r["status"] == "Failure", "unknown resource", r)
    code, r = s.request("POST", "/version", {})
    ok(code == 405, "wrong method", r)
    code, r = s.request("GET", CMS, headers={"Accept": "text/html"})
    ok(code == 406, "wrong Accept", r)
    code, r = s.request("GET", "/openapi/v2")
    ok(code == 200 and b"/apis/apps/v1/namespaces/{namespace}/deployments/{name}" in r
       and b"dryRun" in r and s.headers["Content-Type"] ==
       "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", "/openapi/v2", r)
    code, r = s.request("GET", "/openapi/v3")
    ok(code == 200 and "api/v1" in r["paths"], "/openapi/v3", r)
    code, r = s.request("GET", r["paths"]["api/v1"]["serverRelativeURL"])
    ok(code == 200 and r["openapi"].startswith("3.0"), "/openapi/v3/api/v1", code)
    code, r = s.request("GET", "/openapi/v3/apis/none/v1")
    ok(code == 404, "/openapi/v3 of nothing", code)
    code, r = s.request("GET", "/metrics")
    ok(code == 200 and b"umiak_api_requests_total" in r and b"umiak_store_keys" in r, "/metrics", r)
    for page, want in (("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/version", 200),
                       ("/api/v1/secrets", 404), ("/api", 404), ("/openapi/v2", 404)):
        c = http.client.HTTPConnection("127.0.0.1", s.health, timeout=5)
        c.request("GET", page)
        code = c.getresponse().status
        c.close()
        ok(code == want, "the plain port: %s is %d" % (page, want), code)
    for form in ("v2", "v2beta1"):
        want = "application/json;g=apidiscovery.k8s.io;v=%s;as=APIGroupDiscoveryList" % form
        code, r = s.request("GET", "/apis", headers={"Accept": want + ",application/json"})
        ok(r["kind"] == "APIGroupDiscoveryList" and "coordination.k8s.io" in
           [i["metadata"]["name"] for i in r["items"]] and s.headers["Content-Type"] == want,
           "aggregated discovery " + form, r)


def create_forms(s):
    code, r = s.request("POST", CMS, cm("u1", {"a": "b"}))
    ok(code == 201 and r["metadata"]["uid"] and r["metadata"]["creationTimestamp"] and
       r["metadata"]["namespace"] == "default" and int(r["metadata"]["resourceVersion"]) > 0,
       "create sets metadata", r)
    code, r = s.request("POST", CMS, cm("u1"))
    ok(code == 409 and r["reason"] == "AlreadyExists" and
       r["message"] == 'configmaps "u1" already exists' and
       r["details"] == {"name": "u1", "kind": "configmaps"}, "create twice: 409", r)
    code, r = s.request("POST", CMS, {"apiVersion": "v1", "kind": "ConfigMap",
                                      "metadata": {"generateName": "gen-"}})
    ok(code == 201 and r["metadata"]["name"].startswith("gen-") and
       len(r["metadata"]["name"]) == 9, "generateName", r)
    code, r = s.request("POST", CMS, "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y1\n",
                        ctype="application/yaml")
    ok(code == 201, "YAML body", r)
    proto = b"k8s\0" + bytes([10, 15, 10, 2]) + b"v1" + bytes([18, 9]) + b"ConfigMap"
    meta = bytes([10, 2]) + b"b1"
    obj = bytes([10, len(meta)]) + meta + bytes([18, 6, 10, 1]) + b"k" + bytes([18, 1]) + b"v"
    code, r = s.request("POST", CMS, proto + bytes([18, len(obj)]) + obj,
                        ctype="application/vnd.kubernetes.protobuf")
    ok(code == 201 and r["data"] == {"k": "v"}, "protobuf body", r)
    code, r = s.request("POST", CMS, "x", ctype="text/plain")
    ok(code == 415, "unknown body format: 415", r)
    code, r = s.request("POST", CMS, "{", )
    ok(code == 400 and r["reason"] == "BadRequest", "broken JSON: 400", r)
    code, r = s.request("POST", CMS, cm("x", resourceVersion="1"))
    ok(code == 400, "resourceVersion on create: 400", r)
    code, r = s.request("POST", CMS, cm("x", namespace="other"))
    ok(code == 400 and "namespace" in r["message"], "other namespace: 400", r)
    code, r = s.request("POST", "/api/v1/namespaces/nowhere/configmaps", cm("x"))
    ok(code == 404 and r["message"] == 'namespaces "nowhere" not found', "no namespace: 404", r)
    code, r = s.request("POST", CMS, cm("Bad_Name"))
    ok(code == 422 and r["reason"] == "Invalid" and
       r["details"]["causes"][0]["field"] == "metadata.name", "bad name: 422", r)
    code, r = s.request("POST", PODS, {"apiVersion": "v1", "kind": "Pod",
                                       "metadata": {"name": "x"}, "spec": {"containers": [
                                           {"name": "A", "image": ""}, {"image": "b"}]}})
    fields = [c["field"] for c in r.get("details", {}).get("causes", [])]
    ok(code == 422 and "spec.containers[0].name" in fields and
       "spec.containers[0].image" in fields and "spec.containers[1].name" in fields and
       r["details"]["kind"] == "Pod", "several causes", r)
    bad = cm("fv")
    bad["nonsense"] = 1
    code, r = s.request("POST", CMS + "?fieldValidation=Strict", bad)
    ok(code == 400 and 'unknown field "nonsense"' in r["message"], "fieldValidation=Strict", r)
    code, r = s.request("POST", CMS + "?dryRun=All", bad)
    ok(code == 201 and 'unknown field \\"nonsense\\"' in (s.headers["Warning"] or "") and
       "nonsense" not in r, "fieldValidation=Warn", s.headers["Warning"])
    code, r = s.request("POST", CMS + "?dryRun=All&fieldValidation=Ignore", bad)
    ok(code == 201 and not s.headers["Warning"], "fieldValidation=Ignore", r)
    ok("resourceVersion" not in r["metadata"], "a dry run has no revision", r)
    ok(s.request("GET", CMS + "/fv")[0] == 404, "dryRun stored nothing")
    code, r = s.request("POST", CMS + "?dryRun=All", cm("u1"))
    ok(code == 409, "a dry run of what exists: 409", r)
    code, r = s.request("POST", CMS + "?dryRun=Some", cm("x"))
    ok(code == 400 or code == 422, "dryRun=Some", r)
    code, r = s.request("POST", CMS, b"x" * (3 * 1024 * 1024 + 1))
    ok(code == 413, "oversized body: 413", r)


def update_forms(s):
    code, old = s.request("GET", CMS + "/u1")
    new = dict(old, data={"a": "c"})
    code, r = s.request("PUT", CMS + "/u1", new)
    ok(code == 200 and r["data"] == {"a": "c"} and
       int(r["metadata"]["resourceVersion"]) > int(old["metadata"]["resourceVersion"]), "update", r)
    code, c = s.request("PUT", CMS + "/u1", new)
    ok(code == 409 and c["reason"] == "Conflict" and "the object has been modified" in c["message"],
       "stale update: 409", c)
    code, c = s.request("PUT", CMS + "/u1", r)
    ok(code == 200 and c["metadata"]["resourceVersion"] == r["metadata"]["resourceVersion"],
       "an update that changes nothing writes nothing", c)
    code, c = s.request("PUT", CMS + "/u1", cm("u2"))
    ok(code == 400, "other name: 400", c)
    code, c = s.request("PUT", CMS + "/none", cm("none"))
    ok(code == 404, "update of nothing: 404", c)
    code, c = s.request("PUT", CMS + "/u1", dict(r, metadata=dict(r["metadata"], uid="zz")))
    ok(code == 409, "other uid: 409", c)
    code, c = s.request("PATCH", CMS + "/u1", "{}", ctype="application/apply-patch+yaml")
    ok(code == 415 and "server-side apply" in c["message"], "apply-patch: 415 with words", c)
    code, c = s.request("PATCH", CMS + "/u1", "{}", ctype="application/json")
    ok(code == 415, "unknown patch: 415", c)
    code, c = s.request("PATCH", CMS + "/u1", {"metadata": {"resourceVersion": "1"}},
                        ctype="application/merge-patch+json")
    ok(code == 409, "patch with a stale resourceVersion: 409", c)
    code, c = s.request("PATCH", CMS + "/u1", {"data": {"a": None, "z": "1"}},
                        ctype="application/merge-patch+json")
    ok(code == 200 and c["data"] == {"z": "1"}, "merge patch removes by null", c)
    code, c = s.request("DELETE", CMS + "/u1", {"preconditions": {"uid": "zz"}})
    ok(code == 409, "delete precondition: 409", c)
    code, c = s.request("DELETE", CMS + "/u1", {"propagationPolicy": "Sideways"})
    ok(code == 422, "unknown propagationPolicy", c)
    code, c = s.request("PATCH", CMS + "/u1", {"metadata": {"finalizers": ["example.com/x"]}},
                        ctype="application/merge-patch+json")
    code, c = s.request("DELETE", CMS + "/u1", {"propagationPolicy": "Foreground"})
    ok(code == 200 and c["metadata"]["deletionTimestamp"], "finalizers hold an object", c)
    code, c = s.request("PATCH", CMS + "/u1", {"metadata": {"finalizers": None}},
                        ctype="application/merge-patch+json")
    ok(code == 200, "the last finalizer goes", c)
    ok(s.request("GET", CMS + "/u1")[0] == 404, "and so does the object")
    code, c = s.request("DELETE", CMS + "/y1")
    ok(code == 200 and c["status"] == "Success" and c["details"]["name"] == "y1" and
       c["details"]["kind"] == "configmaps" and c["details"]["uid"], "delete answers Status", c)
    code, c = s.request("DELETE", CMS + "/y1")
    ok(code == 404 and c["message"] == 'configmaps "y1" not found', "delete again: 404", c)


def hostile(s):
    """Bodies of the wrong shape: always an answer below 500, never the end of the server."""
    s.request("POST", CMS, cm("h1", {"a": "b"}))
    merge, jpatch = "application/merge-patch+json", "application/json-patch+json"
    strategic = "application/strategic-merge-patch+json"
    shapes = ["null", "5", "[]", '"x"', "{}", "[null]", '{"metadata":null}', '{"metadata":5}',
              '{"metadata":[]}', '{"metadata":{"name":5}}', '{"metadata":{"labels":{"a":5}}}',
              '{"metadata":{"finalizers":"x"}}', '{"metadata":{"annotations":[]}}',
              '{"kind":"Pod"}', '{"apiVersion":7}', '{"kind":null,"metadata":{"name":null}}',
              '{"data":{"a":{"b":1}}}', '{"data":5}', '{"metadata":{"deletionTimestamp":"x"}}',
              '{"metadata":{"ownerReferences":[{}]}}', '{"$patch":"delete"}',
              '{"$patch":"replace"}', '{"metadata":{"$patch":"replace"}}',
              '{"metadata":{"$retainKeys":5}}', '{"$setElementOrder/data":[1]}',
              '{"metadata":{"$deleteFromPrimitiveList/finalizers":"x"}}',
              '{"a":' * 150 + "1" + "}" * 150, '{"data":{"a":"\\ud800"}}', '{"data":{"a":1,"a":2}}']
    ops = ['[{"op":"replace","path":"","value":5}]', '[{"op":"remove","path":""}]',
           '[{"op":"remove","path":"/metadata"}]', '[{"op":"replace","path":"/metadata","value":[]}]',
           '[{"op":"add","path":"/metadata/name","value":{}}]', '[{"op":"add","path":"/data/-","value":1}]',
           '[{"op":"copy","from":"","path":"/data/x"}]', '[{"op":"move","from":"/metadata","path":"/metadata/x"}]',
           '[{"op":"test","path":"/nope","value":1}]', '[{"op":"zap","path":"/a"}]', '[{"path":"/a"}]',
           '[{"op":"add","path":"a","value":1}]', '[{"op":"add","path":"/~2","value":1}]', "[5]"]
    odd = []

    def try_it(method, path, body, ctype):
        code, r = s.request(method, path, body, ctype=ctype)
        good = code < 500 and isinstance(r, dict)
        if not good:
            odd.append((method, path, body[:80], code, r))

    for body in shapes:
        for ctype in (merge, jpatch, strategic):
            try_it("PATCH", CMS + "/h1?dryRun=All", body, ctype)
        for path in (CMS + "/h1", CMS + "/h1/status", CMS):
            for ctype in ("application/json", "application/yaml"):
                try_it("PUT" if path != CMS else "POST", path + "?dryRun=All", body, ctype)
        try_it("DELETE", CMS + "/none", body, "application/json")
        try_it("POST", PODS + "/none/binding", body, "application/json")
        try_it("POST", PODS + "?dryRun=All", body, "application/json")
        try_it("POST", CMS + "?dryRun=All", b"k8s\0" + body.encode(), "application/vnd.kubernetes.protobuf")
    for body in ops:
        try_it("PATCH", CMS + "/h1?dryRun=All", body, jpatch)
    ok(not odd, "bodies of the wrong shape", "\n".join(map(str, odd[:10])))
    code, r = s.request("GET", CMS + "/h1")
    ok(code == 200 and r["data"] == {"a": "b"}, "nothing of it was stored", r)
    for path in ("/api/v1/namespaces/default/pods/a/b/c/d", "/api/v1//pods",
                 "/apis/x/y/z/a/b/c/d/e/f", "/api/v1/pods/x", "/api/v1/namespaces/default/nodes",
                 "/api/v1/nodes/x/log", "/api/v1/namespaces/default/pods/x/exec", "/apis/none",
                 "/apis/none/v1", "/apis/coordination.k8s.io/v9", "/" + "a" * 5000, "/api/v2/pods"):
        code, r = s.request("GET", path)
        ok(code in (400, 404) and isinstance(r, dict), "path " + path[:50], (code, r))
    long_name = "n" * 2000
    code, r = s.request("GET", CMS + "/" + long_name)
    ok(code == 404, "a very long name", r)


def status_isolation(s):
    code, r = s.request("POST", PODS, {"apiVersion": "v1", "kind": "Pod",
                                       "metadata": {"name": "iso"},
                                       "spec": {"containers": [{"name": "a", "image": "b:1"}]},
                                       "status": {"phase": "Running"}})
    ok(code == 201 and r["status"]["phase"] == "Pending", "create ignores status", r)
    code, r = s.request("PATCH", PODS + "/iso/status", {"spec": {"nodeName": "x"},
                                                        "metadata": {"labels": {"a": "b"}},
                                                        "status": {"message": "hi"}},
                        ctype="application/merge-patch+json")
    ok(code == 200 and "nodeName" not in r["spec"] and r["metadata"]["labels"] == {"a": "b"} and
       r["status"]["message"] == "hi", "/status changes no spec", r)
    code, r = s.request("PATCH", PODS + "/iso", {"status": {"message": "no"}},
                        ctype="application/merge-patch+json")
    ok(code == 200 and r["status"]["message"] == "hi", "the object leaves status alone", r)
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "iso"},
               "target": {"kind": "Node", "name": "n2"}}
    ok(s.request("POST", PODS + "/iso/binding", binding)[0] == 201, "bind")
    code, r = s.request("GET", PODS + "/iso")
    ok(r["spec"]["nodeName"] == "n2" and r["status"]["conditions"][0]["type"] == "PodScheduled",
       "bound", r)
    code, r = s.request("POST", PODS + "/iso/binding", binding)
    ok(code == 409 and "already assigned" in r["message"], "bind twice: 409", r)


def lists(s):
    for i in range(7):
        s.request("POST", CMS, cm("l%d" % i, {"x": "y"}, labels={"n": str(i), "list": "y"}))
    code, r = s.request("GET", CMS + "?labelSelector=list%3Dy&limit=3")
    names = [o["metadata"]["name"] for o in r["items"]]
    ok(r["kind"] == "ConfigMapList" and names == ["l0", "l1", "l2"] and r["metadata"]["continue"],
       "first page", r)
    seen, token = [], ""
    for _ in range(10):
        code, r = s.request("GET", CMS + "?labelSelector=list&limit=2&continue=" + token)
        seen += [o["metadata"]["name"] for o in r["items"]]
        token = r["metadata"].get("continue", "")
        if not token:
            break
    ok(seen == ["l%d" % i for i in range(7)], "all pages", seen)
    code, r = s.request("GET", CMS + "?limit=1")
    ok(r["metadata"].get("remainingItemCount", 0) >= 6, "remainingItemCount", r["metadata"])
    rv = int(r["metadata"]["resourceVersion"])
    for sel, want in (("n in (1,2)", ["l1", "l2"]), ("n notin (0,1,2),list", ["l3", "l4", "l5", "l6"]),
                      ("list=y,n!=0,n!=1", ["l2", "l3", "l4", "l5", "l6"]),
                      ("n>4", ["l5", "l6"]), ("n<1", ["l0"])):
        code, r = s.request("GET", CMS + "?labelSelector=" + sel.replace(" ", "%20").replace("!", "%21")
                            .replace(">", "%3E").replace("<", "%3C"))
        ok(code == 200 and [o["metadata"]["name"] for o in r["items"]] == want, "selector " + sel, r)
    code, r = s.request("GET", CMS + "?fieldSelector=metadata.name%3Dl3")
    ok([o["metadata"]["name"] for o in r["items"]] == ["l3"], "field selector", r)
    for bad in ("labelSelector=a%3D%3D%3Db", "labelSelector=a%20in%20b", "labelSelector=%3D", "fieldSelector=spec.foo%3D1",
                "fieldSelector=x", "limit=-1", "limit=x", "resourceVersion=x", "continue=zz",
                "continue=umc1.1.zz"):
        code, r = s.request("GET", CMS + "?" + bad)
        ok(code == 400, "bad " + bad, (code, r))
    code, r = s.request("GET", CMS + "?resourceVersion=%d" % (rv + 1000))
    ok(code == 504, "a revision of the future", r)
    code, r = s.request("GET", CMS + "?resourceVersion=0&limit=500")
    ok(code == 200, "resourceVersion=0", r)
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    code, r = s.request("GET", CMS + "?limit=2", headers=table)
    ok(r["kind"] == "Table" and len(r["rows"]) == 2 and r["columnDefinitions"][0]["name"] == "Name"
       and r["rows"][0]["object"]["kind"] == "PartialObjectMetadata" and r["metadata"]["continue"],
       "Table", r)
    code, r = s.request("GET", CMS + "/l0?includeObject=Object", headers=table)
    ok(r["rows"][0]["object"]["kind"] == "ConfigMap", "Table with objects", r)
    part = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    code, r = s.request("GET", CMS, headers=part)
    ok(r["kind"] == "PartialObjectMetadataList" and "data" not in r["items"][0], "metadata only", r)


class Watch:
    def __init__(self, s, path, user="admin", headers=None):
        self.c = s.connect(user)
        self.c.request("GET", path, headers=headers or {})
        self.r = self.c.getresponse()
        self.status = self.r.status

    def next(self, timeout=5):
        self.c.sock and self.c.sock.settimeout(timeout)
        line = self.r.readline()
        return json.loads(line) if line else None

    def close(self):
        self.r.close()
        self.c.close()


def watches(s):
    code, r = s.request("GET", CMS)
    rv = r["metadata"]["resourceVersion"]
    w = Watch(s, CMS + "?watch=true&resourceVersion=" + rv)
    sel = Watch(s, CMS + "?watch=1&labelSelector=w%3D1&resourceVersion=" + rv)
    s.request("POST", CMS, cm("w1", labels={"w": "1"}))
    s.request("PATCH", CMS + "/w1", {"metadata": {"labels": {"w": "2"}}},
              ctype="application/merge-patch+json")
    s.request("PATCH", CMS + "/w1", {"metadata": {"labels": {"w": "1"}}},
              ctype="application/merge-patch+json")
    s.request("DELETE", CMS + "/w1")
    evs = [w.next() for _ in range(4)]
    ok([e["type"] for e in evs] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], "watch", evs)
    rvs = [int(e["object"]["metadata"]["resourceVersion"]) for e in evs]
    ok(rvs == sorted(rvs) and rvs[0] > int(rv) and len(set(rvs)) == 4, "revisions grow", rvs)
    evs = [sel.next() for _ in range(4)]
    ok([e["type"] for e in evs] == ["ADDED", "DELETED", "ADDED", "DELETED"],
       "an object that leaves the selector is DELETED", evs)
    w.close()
    sel.close()
    w = Watch(s, CMS + "?watch=1&resourceVersion=%d" % rvs[1])
    ok(w.next()["type"] == "MODIFIED" and w.next()["type"] == "DELETED", "history is replayed")
    w.close()
    w = Watch(s, CMS + "?watch=1&timeoutSeconds=1&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dl0")
    a, b, c = w.next(), w.next(), w.next()
    ok(a["type"] == "ADDED" and a["object"]["metadata"]["name"] == "l0" and
       b["type"] == "BOOKMARK" and int(b["object"]["metadata"]["resourceVersion"]) >= rvs[3] and
       c is None, "synthetic ADDED, bookmark, timeoutSeconds", (a, b, c))
    w = Watch(s, CMS + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
              "&allowWatchBookmarks=true&labelSelector=list")
    evs = [w.next() for _ in range(8)]
    ok([e["type"] for e in evs] == ["ADDED"] * 7 + ["BOOKMARK"] and
       evs[7]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"},
       "WatchList", evs)
    s.request("PATCH", CMS + "/l0", {"data": {"q": "1"}}, ctype="application/merge-patch+json")
    ok(w.next()["type"] == "MODIFIED", "and then live events")
    w.close()
    code, r = s.request("GET", CMS + "?watch=1&sendInitialEvents=true")
    ok(code in (400, 422), "sendInitialEvents without resourceVersionMatch", r)
    code, r = s.request("GET", CMS + "?watch=1&resourceVersion=abc")
    ok(code == 400, "watch from abc", r)
    code, r = s.request("GET", "/api/v1/events?watch=1&resourceVersion=5")
    ok(code == 410 and r["reason"] == "Expired", "a revision of an older epoch: 410", r)
    w = Watch(s, CMS + "?watch=1&fieldSelector=metadata.name%3Dl1",
              headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    e = w.next()
    ok(e["object"]["kind"] == "Table" and e["object"]["rows"][0]["cells"][0] == "l1",
       "watch of Tables", e)
    w.close()


def many(s):
    """More than one piece: lists and initial events go out as fast as they are taken."""
    s.request("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace",
                                             "metadata": {"name": "many"}})
    path = "/api/v1/namespaces/many/configmaps"
    for _ in range(300):  # every namespace has one of its own
        if s.request("GET", path + "/kube-root-ca.crt")[0] == 200:
            break
        time.sleep(0.1)
    c = s.connect()
    fill = "x" * 3000
    n = 1200
    start = time.time()
    for i in range(n):
        c.request("POST", path, json.dumps(cm("m%04d" % i, {"f": fill}, labels={"k": str(i % 100)})),
                  {"Content-Type": "application/json"})
        r = c.getresponse()
        r.read()
        if r.status != 201:
            ok(False, "create %d" % i, r.status)
            return
    print("# %d creates one after another: %.2f s" % (n, time.time() - start))
    want = ["kube-root-ca.crt"] + ["m%04d" % i for i in range(n)]
    start = time.time()
    code, r = s.request("GET", path)
    print("# list of them: %.3f s" % (time.time() - start))
    ok([o["metadata"]["name"] for o in r["items"]] == want, "a long list is whole and in order")
    code, r = s.request("GET", path + "?labelSelector=k%3D99")
    ok(len(r["items"]) == n // 100, "a long list with few matches", len(r["items"]))
    code, r = s.request("GET", path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    ok([o["cells"][0] for o in r["rows"]] == want, "a long Table")
    seen, token = [], ""
    while True:
        code, r = s.request("GET", path + "?limit=500&continue=" + token)
        seen += [o["metadata"]["name"] for o in r["items"]]
        token = r["metadata"].get("continue", "")
        if not token:
            break
    ok(seen == want, "long pages")
    w = Watch(s, path + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
              "&allowWatchBookmarks=true")
    evs = [w.next() for _ in range(n + 2)]
    ok([e["object"]["metadata"]["name"] for e in evs[:-1]] == want and evs[-1]["type"] == "BOOKMARK",
       "long initial events")
    s.request("DELETE", path + "/m0000")
    ok(w.next()["type"] == "DELETED", "and then the live one")
    w.close()
    code, r = s.request("DELETE", path + "?labelSelector=k%3D5")
    ok(code == 200, "deletecollection", r)
    code, r = s.request("GET", path + "?labelSelector=k%3D5")
    ok(r["items"] == [], "deletecollection removed what it selected", len(r["items"]))
    code, r = s.request("DELETE", "/api/v1/namespaces/many")
    ok(code == 200 and r["status"]["phase"] == "Terminating", "a full namespace terminates", r)
    code, r = s.request("POST", path, cm("late"))
    ok(code == 403 and "being terminated" in r["message"] and
       r["details"]["causes"][0]["reason"] == "NamespaceTerminating", "nothing new in it: 403", r)
    for _ in range(100):
        code, r = s.request("GET", "/api/v1/namespaces/many")
        if code == 404:
            break
        time.sleep(0.1)
    ok(code == 404, "it goes when it is empty", r)
    code, r = s.request("GET", path)
    ok(r["items"] == [], "and nothing is left")
    code, r = s.request("DELETE", "/api/v1/namespaces/default")
    ok(code == 403, "default stays", r)


def bad_http(s):
    host = b"Host: 127.0.0.1\r\n"
    forms = {
        "Content-Length beside chunked": b"POST " + CMS.encode() + b" HTTP/1.1\r\n" + host +
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "two Content-Lengths": b"POST /api HTTP/1.1\r\n" + host +
        b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "no Host": b"GET /version HTTP/1.1\r\n\r\n",
        "folded field": b"GET /version HTTP/1.1\r\n" + host + b"X: a\r\n b\r\n\r\n",
        "NUL": b"GET /version HTTP/1.1\r\n" + host + b"X: a\0b\r\n\r\n",
        "chunk 0x5": b"POST " + CMS.encode() + b" HTTP/1.1\r\n" + host +
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n",
        "dot segments": b"GET /api/v1/../../healthz HTTP/1.1\r\n" + host + b"\r\n",
    }
    for name, data in forms.items():
        out = s.raw(data + b"GET /version HTTP/1.1\r\n" + host + b"\r\n")
        ok(out.startswith(b"HTTP/1.1 400 ") and out.count(b"HTTP/1.1 ") == 1 and
           b'"kind":"Status"' in out, "bad HTTP: " + name, out[:500])
    try:
        c = ssl.create_default_context(cafile=s.dir + "/pki/ca.crt")
        c.load_cert_chain(stranger.dir + "/pki/admin.crt", stranger.dir + "/pki/admin.key")
        h = http.client.HTTPSConnection("127.0.0.1", s.port, context=c, timeout=5)
        h.request("GET", "/version")
        h.getresponse()
        ok(False, "a certificate of another CA ends the handshake")
    except (ssl.SSLError, OSError):
        ok(True, "a certificate of another CA ends the handshake")


def node_rules(s):
    n = "node-n1"
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
             "metadata": {"name": "n1"}, "spec": {"holderIdentity": "n1"}}
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    ok(s.request("POST", leases, lease, user=n)[0] == 201, "own lease")
    code, r = s.request("POST", leases, dict(lease, metadata={"name": "n2"}), user=n)
    ok(code == 403, "other lease: 403", r)
    code, r = s.request("GET", "/api/v1/pods", user=n)
    ok(code == 403 and r["reason"] == "Forbidden" and
       'User "system:node:n1" cannot list resource "pods" in API group "" at the cluster scope' in
       r["message"], "all pods: 403 with Kubernetes' words", r)
    code, r = s.request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", user=n)
    ok(code == 200, "its own pods", r)
    code, r = s.request("GET", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2", user=n)
    ok(code == 403, "another node's pods: 403", r)
    code, r = s.request("PATCH", PODS + "/iso/status", {"status": {"message": "x"}}, user=n,
                        ctype="application/merge-patch+json")
    ok(code == 403, "status of another node's pod: 403", r)
    code, r = s.request("PATCH", PODS + "/iso/status", {"status": {"message": "x"}}, user="node-n2",
                        ctype="application/merge-patch+json")
    ok(code == 200, "status of its own pod", r)
    code, r = s.request("PATCH", PODS + "/iso", {"metadata": {"labels": {"a": "b"}}}, user="node-n2",
                        ctype="application/merge-patch+json")
    ok(code == 403, "a node does not change pods: 403", r)
    secrets = "/api/v1/namespaces/default/secrets"
    for name in ("s1", "s2"):
        s.request("POST", secrets, {"apiVersion": "v1", "kind": "Secret",
                                    "metadata": {"name": name}, "stringData": {"p": "x"}})
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "uses"},
           "spec": {"nodeName": "n1", "containers": [
               {"name": "a", "image": "b:1",
                "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "p"}}}]}],
               "volumes": [{"name": "v", "configMap": {"name": "l0"}}]}}
    code, r = s.request("POST", PODS, pod)
    ok(code == 201, "a pod for n1", r)
    ok(s.request("GET", secrets + "/s1", user=n)[0] == 200, "a secret that its pod needs")
    ok(s.request("GET", secrets + "/s2", user=n)[0] == 403, "another secret: 403")
    ok(s.request("GET", secrets, user=n)[0] == 403, "all secrets: 403")
    ok(s.request("GET", secrets + "/s1", user="node-n2")[0] == 403, "another node: 403")
    ok(s.request("GET", CMS + "/l0", user=n)[0] == 200, "a configmap that its pod mounts")
    ok(s.request("GET", CMS + "/l1", user=n)[0] == 403, "another configmap: 403")
    w = Watch(s, secrets + "?watch=1&fieldSelector=metadata.name%3Ds1", user=n)
    ok(w.status == 200 and w.next()["type"] == "ADDED", "watch of a secret that it needs")
    w.close()
    ok(s.request("DELETE", "/api/v1/nodes/n2", user=n)[0] == 403, "delete another node: 403")
    ok(s.request("GET", "/metrics", user=n)[0] == 403, "metrics are not for nodes: 403")
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1", "namespace": "default"},
             "involvedObject": {"kind": "Pod", "namespace": "default", "name": "uses"},
             "reason": "Started", "message": "m", "type": "Normal"}
    code, r = s.request("POST", "/api/v1/namespaces/default/events", event, user=n)
    ok(code == 201 and int(r["metadata"]["resourceVersion"]) > 1 << 40, "event from a node", r)


def logs(s):
    """An agent in Python: the control channel and one stream."""
    path = PODS + "/uses/log"
    code, r = s.request("GET", path)
    ok(code == 503 and "not connected" in r["message"], "no agent: 503", r)
    code, r = s.request("GET", path + "?container=zz")
    ok(code == 400 and "container zz is not valid for pod uses" in r["message"], "no container", r)
    sock = s.context("node-n1").wrap_socket(socket.create_connection(("127.0.0.1", s.port)),
                                            server_hostname="127.0.0.1")
    sock.settimeout(10)
    sock.sendall(b"GET /umiak/v1/nodes/n1/control HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                 b"Upgrade: umiak/1\r\n\r\n")
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    ok(head.startswith(b"HTTP/1.1 101"), "control channel", head)

    def receive():
        data = b""
        while len(data) < 4:
            data += sock.recv(4 - len(data))
        n = struct.unpack(">I", data)[0]
        data = b""
        while len(data) < n:
            data += sock.recv(n - len(data))
        return json.loads(data)

    def send(msg):
        data = json.dumps(msg).encode()
        sock.sendall(struct.pack(">I", len(data)) + data)

    got = []
    t = threading.Thread(target=lambda: got.append(s.request("GET", path + "?tailLines=5")))
    t.start()
    m = receive()
    ok(m["type"] == "open" and m["kind"] == "log" and m["pod"] == "uses" and m["tailLines"] == 5 and
       m["container"] == "a" and m["follow"] is False, "the agent is asked", m)
    code, r = s.request("POST", "/umiak/v1/streams/" + m["stream"], b"stolen", user="node-n2")
    ok(code == 404, "another node cannot serve it", r)
    text = b"line\n" * 100000
    code, r = s.request("POST", "/umiak/v1/streams/" + m["stream"], text, user="node-n1")
    t.join(10)
    ok(code == 200 and got and got[0][0] == 200 and got[0][1] == text, "the log arrives whole",
       (code, [len(g[1]) for g in got]))
    t = threading.Thread(target=lambda: got.append(s.request("GET", path)))
    t.start()
    m = receive()
    send({"type": "refuse", "stream": m["stream"], "code": 404, "message": "no such container"})
    t.join(10)
    ok(got[-1][0] == 404 and got[-1][1]["message"] == "no such container", "the agent refuses", got[-1])
    c = s.connect()
    c.request("GET", path + "?follow=true")
    m = receive()
    c.close()
    m2 = receive()
    ok(m2 == {"type": "close", "stream": m["stream"]}, "a client that goes is told", m2)
    code, r = s.request("GET", "/umiak/v1/nodes/n1/control", user="node-n2")
    ok(code == 403, "another node's channel: 403", r)
    sock.close()


def restart(s):
    code, before = s.request("GET", CMS + "/l0")
    s.stop(signal.SIGKILL)
    s.start()
    code, after = s.request("GET", CMS + "/l0")
    ok(code == 200 and before == after, "kill -9: all that was acknowledged is there", after)
    code, r = s.request("GET", "/api/v1/namespaces/default/events")
    ok(code == 200 and r["items"] == [] and int(r["metadata"]["resourceVersion"]) >> 40 == 2,
       "events begin a new epoch", r)
    mode = os.stat(s.dir + "/admin.kubeconfig").st_mode & 0o777
    ok(mode == 0o600, "the kubeconfig is private", oct(mode))


def full_disk():
    """Reads go on, writes get a clear answer, a delete works."""
    d = os.path.join(tmp, "full")
    os.makedirs(d + "/data")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", d + "/data"], check=True)
    s = Server(d, nodes=())
    s.start()
    i, code, r = 0, 0, None
    while i < 400:
        code, r = s.request("POST", CMS, cm("f%d" % i, {"x": "y" * 60000}))
        if code != 201:
            break
        i += 1
    ok(code == 507 and r["status"] == "Failure" and "full" in r["message"], "full disk: 507", (i, code, r))
    code, r = s.request("GET", CMS)
    n = sum(o["metadata"]["name"] != "kube-root-ca.crt" for o in r["items"])
    ok(code == 200 and n == i, "reads go on", (code, i, n))
    code, r = s.request("DELETE", CMS + "/f0")
    ok(code == 200, "a delete works", (code, r))
    code, r = s.request("GET", CMS + "/f0")
    ok(code == 404, "and is seen", (code, r))
    s.stop()
    subprocess.run(["umount", d + "/data"], check=True)


def in_flight():
    """While a write is on its way to the disk, nobody is shown a revision that may never be."""
    s = Server(os.path.join(tmp, "flight"), nodes=(), more=["--fsync-delay-ms", "3000"])
    s.start()
    code, r = s.request("POST", CMS, cm("a", {"k": "1"}))
    before = int(r["metadata"]["resourceVersion"])
    done = []
    t = threading.Thread(target=lambda: done.append(
        s.request("PUT", CMS + "/a", cm("a", {"k": "2"}))))
    t.start()
    merge = {"ctype": "application/merge-patch+json"}
    seen, same = [], []
    while not done and len(seen) < 200:
        code, r = s.request("PATCH", CMS + "/a?dryRun=All", {"data": {"k": "3"}}, **merge)
        deleted = s.request("DELETE", CMS + "/a?dryRun=All")
        if not done:
            seen.append(int(r["metadata"]["resourceVersion"]))
        if r["data"] == {"k": "3"} and deleted[0] == 200 and len(same) < 1 and len(seen) > 3:
            # changes nothing against the write in flight: it is answered once that is durable
            code, r = s.request("PATCH", CMS + "/a", {"data": {"k": "2"}}, **merge)
            same.append((code, int(r["metadata"]["resourceVersion"]), s.request("GET", CMS + "/a")[1]))
    t.join()
    after = int(done[0][1]["metadata"]["resourceVersion"])
    ok(seen and set(seen) == {before}, "a dry run shows the revision that readers see",
       (before, after, seen))
    ok(same and same[0][0] == 200 and same[0][1] <= int(same[0][2]["metadata"]["resourceVersion"])
       and same[0][2]["data"] == {"k": "2"}, "a change that changes nothing waits for what it equals",
       (before, after, same))
    s.stop()


def event_ttl():
    s = Server(os.path.join(tmp, "ttl"), nodes=(), more=["--event-ttl", "1"])
    s.start()
    path = "/api/v1/namespaces/default/events"
    code, r = s.request("POST", path, {"apiVersion": "v1", "kind": "Event",
                                       "metadata": {"name": "e", "namespace": "default"},
                                       "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
                                       "reason": "R", "message": "m", "type": "Normal"})
    ok(code == 201, "an event", r)
    w = Watch(s, path + "?watch=1&resourceVersion=" + r["metadata"]["resourceVersion"])
    e = w.next(timeout=15)
    ok(e["type"] == "DELETED", "events are forgotten after their time", e)
    w.close()
    ok(s.request("GET", path + "/e")[0] == 404, "it is gone")
    s.stop()


def find_kubectls():
    found = []
    old = os.environ.get("UM_KUBECTL_1_20")
    if old:
        found.append(("1.20", old))
    else:
        skip("kubectl 1.20", "kubectl 1.20 is not installed")
    main = shutil.which("kubectl")
    beside = os.path.dirname(os.path.realpath(main)) if main else ""
    for v in ("1.27", "1.33"):
        path = os.path.join(beside, "kubectl." + v)
        if main and os.path.exists(path):
            found.append((v, path))
        else:
            skip("kubectl " + v, "kubectl %s is not installed" % v)
    return found


tmp = tempfile.mkdtemp(prefix="um-api-")
stranger = Server(os.path.join(tmp, "stranger"), nodes=())
server = Server(os.path.join(tmp, "d"), health=10255)
try:
    stranger.start()
    stranger.stop()
    server.start()
    for node in server.nodes:
        register_node(server, node)
    for part in (rest, create_forms, update_forms, hostile, status_isolation, lists, watches, many, bad_http,
                 node_rules, logs):
        try:
            part(server)
        except Exception as e:  # a broken part must not hide the others
            import traceback
            ok(False, part.__name__ + " ran to its end", traceback.format_exc())
    for ver, path in find_kubectls():
        try:
            with_kubectl(ver, path, server, tmp)
        except Exception as e:
            import traceback
            ok(False, "kubectl %s ran to its end" % ver, traceback.format_exc())
    restart(server)
    for part in (full_disk, in_flight, event_ttl):
        try:
            part()
        except Exception as e:
            import traceback
            ok(False, part.__name__ + " ran to its end", traceback.format_exc())
    ok(server.stop() == 0, "SIGTERM ends it cleanly")
finally:
    if server.proc and server.proc.poll() is None:
        server.proc.kill()
        server.proc.wait()
    shutil.rmtree(tmp, ignore_errors=True)
sys.exit(done())
