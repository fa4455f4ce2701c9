"""The kubectl versions that tests run: Debian's (1.20), unpacked aside where it is not installed,
and kubectl.1.27 and kubectl.1.33 where they stand beside the file that kubectl really is."""
import glob
import json
import os
import shutil
import subprocess

CACHE = "/var/tmp/umiak-kubectl"


def debian():
    path = os.path.join(CACHE, "usr/bin/kubectl")
    if not os.path.exists(path):
        os.makedirs(CACHE, exist_ok=True)
        p = subprocess.run("apt-get download -q kubernetes-client && dpkg-deb -x "
                           "kubernetes-client_*.deb .", shell=True, cwd=CACHE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode:
            raise SystemExit("Debian's kubectl cannot be had: " + p.stdout.decode())
    return path


def prepare():
    """[(version, path)], Debian's first. Kept for the process that follows by exec."""
    if "UM_KUBECTLS" in os.environ:
        return json.loads(os.environ["UM_KUBECTLS"])
    found = [("1.20", debian())]
    installed = shutil.which("kubectl")
    if installed:
        for v in ("1.27", "1.33"):
            path = os.path.join(os.path.dirname(os.path.realpath(installed)), "kubectl." + v)
            if os.path.exists(path):
                found.append((v, path))
    os.environ["UM_KUBECTLS"] = json.dumps(found)
    return found
