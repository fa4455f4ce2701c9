#!/usr/bin/env python3
"""What Kubernetes' conformance tests ask of the API itself, where other tests here do not: status
subresources, list options, lists that have expired, who signs tokens, and what is not there. Runs in
a network namespace of its own."""
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import kubectls  # noqa: E402

if os.environ.get("UM_IN_NETNS") != "1":
    kubectls.prepare()
    os.environ["UM_IN_NETNS"] = "1"
    os.execvp("unshare", ["unshare", "-n", "-m", sys.executable] + sys.argv)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
from apitest import Kubectl, Server, done, ok  # noqa: E402

NS = "/api/v1/namespaces/default"
CMS = NS + "/configmaps"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
MERGE = {"ctype": "application/merge-patch+json"}


def named(name, **rest):
    return {"metadata": {"name": name}, **rest}


def wait_for(fn, timeout=60):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        v = fn()
        if v:
            return v
        time.sleep(0.05)
    return None


# Annotations and labels go with a status: Kubernetes keeps spec apart, not these.
def status(s):
    s.request("POST", NS + "/services", named("st", spec={"ports": [{"port": 80}],
                                                          "type": "LoadBalancer"}))
    code, r = s.request("PATCH", NS + "/services/st/status", {
        "metadata": {"annotations": {"patchedstatus": "true"}, "labels": {"a": "b"}},
        "spec": {"ports": [{"port": 81}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}, **MERGE)
    ok(code == 200 and r["metadata"]["annotations"] == {"patchedstatus": "true"}
       and r["metadata"]["labels"] == {"a": "b"} and r["spec"]["ports"][0]["port"] == 80
       and r["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1"}],
       "an annotation beside a status is kept, a spec is not", (code, r))
    apps = "/apis/apps/v1/namespaces/default/deployments"
    s.request("POST", apps, named("dep", spec={
        "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}))
    code, r = s.request("PATCH", apps + "/dep/status", {
        "metadata": {"annotations": {"x": "y"}, "labels": {"x": "y"}}}, **MERGE)
    ok(code == 200 and r["metadata"]["annotations"]["x"] == "y" and "labels" not in r["metadata"],
       "but the labels of a Deployment", (code, r))
    s.request("DELETE", apps + "/dep")
    code, r = s.request("PATCH", "/api/v1/namespaces/default/status", {
        "metadata": {"annotations": {"seen": "yes"}},
        "status": {"conditions": [{"type": "StatusPatch", "status": "True"}]}}, **MERGE)
    ok(code == 200 and r["metadata"]["annotations"]["seen"] == "yes"
       and r["status"]["conditions"][0]["type"] == "StatusPatch", "of a namespace", (code, r))
    pod = named("p", spec={"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]})
    code, r = s.request("POST", NS + "/pods", pod)
    ok(code == 201, "a pod of a node", (code, r))
    code, r = s.request("PATCH", NS + "/pods/p/status", {
        "metadata": {"annotations": {"node": "says"}, "labels": {"node": "says"}},
        "status": {"message": "m"}}, user="node-n1", **MERGE)
    ok(code == 200 and r["status"]["message"] == "m" and "annotations" not in r["metadata"]
       and "labels" not in r["metadata"], "a node says nothing but the status", (code, r))
    s.request("DELETE", NS + "/pods/p?gracePeriodSeconds=0")


def list_options(s):
    for q, message in (
            ("resourceVersionMatch=NotOlderThan", "unless resourceVersion is provided"),
            ("resourceVersion=0&resourceVersionMatch=Exact", 'forbidden for resourceVersion "0"'),
            ("resourceVersion=1&resourceVersionMatch=Newest", 'Unsupported value: "Newest"'),
            ("watch=1&resourceVersion=1&resourceVersionMatch=Exact", "forbidden for watch")):
        code, r = s.request("GET", CMS + "?" + q)
        ok(code == 422 and r["reason"] == "Invalid" and message in r["message"]
           and r["details"]["causes"][0]["field"] == "resourceVersionMatch", "refused: " + q,
           (code, r))
    for n in range(4):
        s.request("POST", CMS, named("lo%d" % n))
    code, r = s.request("GET", CMS + "?limit=2")
    code, r = s.request("GET", CMS + "?limit=2&resourceVersion=1&continue="
                        + r["metadata"]["continue"])
    ok(code == 400 and "not allowed when using continue" in r["message"],
       "a continued list has its own revision", (code, r))
    code, r = s.request("GET", CMS + "/lo1?resourceVersion=1000000")
    ok(code == 504 and "Too large resource version" in r["message"], "an object of the future",
       (code, r))
    code, r = s.request("GET", CMS + "/lo1?resourceVersion=0")
    ok(code == 200, "any object will do", (code, r))


# A server that keeps few revisions: the rest of an expired list can be had as it is now.
def expired(s):
    for n in range(6):
        s.request("POST", CMS, named("ex%d" % n))
    code, r = s.request("GET", CMS + "?limit=2")
    first = [o["metadata"]["name"] for o in r["items"]]
    token = r["metadata"]["continue"]

    def gone():
        for _ in range(20):
            s.request("PATCH", CMS + "/ex0", {"data": {"t": str(time.monotonic())}}, **MERGE)
        code, r = s.request("GET", CMS + "?limit=2&continue=" + token)
        return r if code == 410 else None

    r = wait_for(gone)
    if not ok(r and r["reason"] == "Expired" and r["metadata"]["continue"],
              "an expired list says where to go on", r):
        return
    s.request("POST", CMS, named("ex9"))
    names, more = [], r["metadata"]["continue"]
    while more:
        code, r = s.request("GET", CMS + "?limit=2&continue=" + more)
        if not ok(code == 200 and len(r["items"]) <= 2, "the rest", (code, r)):
            return
        names += [o["metadata"]["name"] for o in r["items"]]
        more = r["metadata"].get("continue")
    ok(first + names == sorted(first + names) and "ex9" in names and "ex5" in names,
       "the rest as it is now", (first, names))


def forms(s):
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    code, r = s.request("POST", path, review, headers={"Accept": table})
    ok(code == 406, "a review has no metadata: no Table", (code, r))
    code, r = s.request("POST", path, review, headers={"Accept": table + ",application/json"})
    ok(code == 201 and r["kind"] == "SelfSubjectAccessReview", "the other form is spoken", r)
    code, r = s.request("GET", "/")
    ok(code == 200 and "/apis/apps/v1" in r["paths"] and "/healthz" in r["paths"]
       and "/api/v1" in r["paths"] and len(r["paths"]) == len(set(r["paths"])), "all paths", r)
    for path, what in (("/pods/x/exec", "pods/exec"), ("/pods/x/ephemeralcontainers",
                       "pods/ephemeralcontainers"), ("/services/x/proxy/a/b", "services/proxy"),
                       ("/limitranges", "limitranges/v1")):
        code, r = s.request("GET", NS + path)
        ok(code == 404 and r["reason"] == "NotFound" and r["message"].endswith(
            "it does not have " + what) and r["details"]["causes"], "not here: " + what, (code, r))


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Somebody who has only the public documents verifies a token, with OpenSSL.
def issuer(s, tmp):
    code, r = s.request("POST", NS + "/serviceaccounts/default/token", {"spec": {}})
    token = r["status"]["token"]
    bearer = {"Authorization": "Bearer " + token}
    code, conf = s.request("GET", "/.well-known/openid-configuration", user=None, headers=bearer)
    ok(code == 200 and conf["jwks_uri"] == conf["issuer"] + "/openid/v1/jwks"
       and conf["response_types_supported"] == ["id_token"]
       and conf["subject_types_supported"] == ["public"]
       and conf["id_token_signing_alg_values_supported"] == ["ES256"], "the issuer", (code, conf))
    code, r = s.request("GET", "/.well-known/openid-configuration", user=None)
    ok(code == 401, "not for anybody", (code, r))
    code, jwks = s.request("GET", "/openid/v1/jwks", user=None, headers=bearer)
    ok(code == 200 and s.headers["Content-Type"] == "application/jwk-set+json"
       and len(jwks["keys"]) == 1, "its keys", (code, jwks))
    key = jwks["keys"][0]
    head, claims, sig = token.split(".")
    ok(key["kid"] in decoded(head).decode() and "d" not in key
       and conf["issuer"] in decoded(claims).decode(), "the key and the token", key)
    # SubjectPublicKeyInfo of a P-256 point, and the two numbers of the signature, in DER.
    spki = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + \
        decoded(key["x"]) + decoded(key["y"])
    numbers = b""
    for half in (decoded(sig)[:32], decoded(sig)[32:]):
        half = half.lstrip(b"\0")
        half = (b"\0" if half[0] & 0x80 else b"") + half
        numbers += b"\x02" + bytes([len(half)]) + half
    for name, data in (("key", spki), ("sig", b"\x30" + bytes([len(numbers)]) + numbers),
                       ("text", (head + "." + claims).encode())):
        with open(os.path.join(tmp, name), "wb") as f:
            f.write(data)
    p = subprocess.run(["openssl", "dgst", "-sha256", "-verify", "key", "-keyform", "DER",
                        "-signature", "sig", "text"], cwd=tmp, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    ok(p.returncode == 0 and "Verified OK" in p.stdout, "the token verifies", p.stdout)


def mirror(s):
    s.request("POST", NS + "/services", named("mir", spec={"ports": [{"name": "e", "port": 80}]}))
    subset = {"addresses": [{"ip": "10.1.2.3"}], "ports": [{"name": "e", "port": 80}]}
    s.request("POST", NS + "/endpoints", named("mir", subsets=[subset]))

    def slices():
        return s.request("GET", SLICES + "?labelSelector=kubernetes.io/service-name%3Dmir")[1]["items"]

    got = wait_for(slices)
    ok(got and got[0]["endpoints"][0]["addresses"] == ["10.1.2.3"], "Endpoints are mirrored", got)
    s.request("DELETE", NS + "/endpoints/mir")
    ok(wait_for(lambda: not slices()), "and no more when they are gone", slices())
    s.request("POST", NS + "/endpoints", named("mir", subsets=[subset]))
    ok(wait_for(slices), "and again")
    s.request("PATCH", NS + "/endpoints/mir", {"metadata": {"labels": {
        "endpointslice.kubernetes.io/skip-mirror": "true"}}}, **MERGE)
    ok(wait_for(lambda: not slices()), "nor when a label says so", slices())


def log_options(s):
    pod = named("lg", spec={"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]})
    s.request("POST", NS + "/pods", pod)
    for q, message in (("sinceSeconds=0", "must be greater than 0"),
                       ("limitBytes=0", "must be greater than 0"), ("stream=Stdout", "only All"),
                       ("sinceSeconds=1&sinceTime=2025-01-01T00:00:00Z", "at most one of")):
        code, r = s.request("GET", NS + "/pods/lg/log?" + q)
        ok(code == 400 and message in r["message"], "log?" + q, (code, r))
    s.request("DELETE", NS + "/pods/lg?gracePeriodSeconds=0")


# The kind by which Kubernetes' own test looks at lists in chunks.
def templates(s):
    base = NS + "/podtemplates"
    template = {"metadata": {"labels": {"pod": "x"}}, "spec": {"containers": [
        {"name": "c", "image": "i:1"}]}}
    code, r = s.request("POST", base, dict(named("pt", template=template)))
    ok(code == 201 and r["metadata"]["generation"] == 1
       and r["template"]["spec"]["restartPolicy"] == "Always", "a pod template", (code, r))
    code, r = s.request("PATCH", base + "/pt", {"metadata": {"labels": {"a": "b"}}}, **MERGE)
    ok(code == 200 and r["metadata"]["generation"] == 1, "patched", (code, r))
    r["template"]["spec"]["containers"][0]["image"] = "i:2"
    code, r = s.request("PUT", base + "/pt", r)
    ok(code == 200 and r["metadata"]["generation"] == 2, "replaced", (code, r))
    code, r = s.request("POST", base, named("bad", template={"spec": {"containers": []}}))
    ok(code == 422 and "template.spec.containers" in r["message"], "not any", (code, r))
    code, r = s.request("GET", base, headers={"Accept": "application/json;as=Table;v=v1;"
                                              "g=meta.k8s.io"})
    ok([row["cells"] for row in r["rows"]] == [["pt", "c", "i:2", "pod=x"]], "its row", r)
    for n in range(9):
        s.request("POST", base, named("pt%d" % n, template=template))
    code, r = s.request("GET", base + "?limit=4")
    rv, names = r["metadata"]["resourceVersion"], [o["metadata"]["name"] for o in r["items"]]
    ok(len(names) == 4 and r["metadata"]["remainingItemCount"] == 6, "a chunk", r["metadata"])
    while r["metadata"].get("continue"):
        code, r = s.request("GET", base + "?limit=4&continue=" + r["metadata"]["continue"])
        names += [o["metadata"]["name"] for o in r["items"]]
        ok(r["metadata"]["resourceVersion"] == rv, "at the same revision", r["metadata"])
    ok(names == ["pt"] + ["pt%d" % n for n in range(9)], "all of them", names)
    code, r = s.request("DELETE", base + "?labelSelector=a%3Db")
    code, r = s.request("GET", base)
    ok(code == 200 and len(r["items"]) == 9, "deleted by label", (code, len(r["items"])))


def with_kubectl(version, path, s, tmp):
    k = Kubectl(path, s, tmp)
    k.env["KUBECTL_EXTERNAL_DIFF"] = "diff -u"
    v = "kubectl %s: " % version
    name = "d" + version.replace(".", "")
    text = ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s}\nspec:\n  replicas: 0\n"
            "  selector: {matchLabels: {app: x}}\n  template:\n    metadata: {labels: {app: x}}\n"
            "    spec: {containers: [{name: c, image: %s}]}\n")
    k.good(v + "apply", "apply", "-f", "-", stdin=text % (name, "httpd"), has=["created"])
    r = k.run("diff", "-f", "-", stdin=text % (name, "busybox"))
    ok(r.returncode == 1 and "image: httpd" in r.stdout and "image: busybox" in r.stdout,
       v + "diff", (r.returncode, r.stdout, r.stderr))
    k.good(v + "a dry run at the server", "patch", "deployment", name, "--dry-run=server", "-p",
           '{"spec":{"template":{"spec":{"containers":[{"name":"c","image":"new"}]}}}}',
           has=["patched"])
    out = k.good(v + "changes nothing", "get", "deployment", name, "-o", "yaml", lacks=["image: new"])
    ok("image: httpd" in out, v + "the image", out)
    k.good(v + "paths", "get", "--raw", "/", has=["/apis/apps/v1"])
    s.request("POST", NS + "/pods", named("dbg", spec={"nodeName": "n1", "containers": [
        {"name": "c", "image": "i"}]}))
    if version != "1.20":
        k.bad(v + "debug says what is missing", "debug", "dbg", "--image=busybox",
              has=["ephemeral containers are disabled for this cluster"])
    k.bad(v + "exec says what is missing", "exec", "dbg", "--", "ls",
          has=["it does not have pods/exec"])
    s.request("DELETE", NS + "/pods/dbg?gracePeriodSeconds=0")


def run(part, *args):
    try:
        part(*args)
    except Exception:  # a broken part must not hide the others
        ok(False, part.__name__ + " ran to its end", traceback.format_exc())


tmp = tempfile.mkdtemp(prefix="um-conf-")
server = Server(os.path.join(tmp, "d"))
short = Server(os.path.join(tmp, "short"), nodes=(), more=["--compact-keep", "10"])
try:
    server.start()
    for part in (status, list_options, forms, mirror, log_options, templates):
        run(part, server)
    run(issuer, server, tmp)
    for ver, path in kubectls.prepare():
        run(with_kubectl, ver, path, server, tmp)
    ok(server.stop() == 0, "SIGTERM ends it cleanly")
    short.start()
    run(expired, short)
    ok(short.stop() == 0, "SIGTERM ends it cleanly, too")
finally:
    for srv in (server, short):
        if srv.proc and srv.proc.poll() is None:
            srv.proc.kill()
            srv.proc.wait()
    shutil.rmtree(tmp, ignore_errors=True)
sys.exit(done())
