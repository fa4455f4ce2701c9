#!/usr/bin/env python3
"""Landlock by annotations: what is named is allowed, all else of its kind is not, for root as well."""
import ctypes
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
ABI = max(0, ctypes.CDLL(None).syscall(444, None, 0, 1))
KEY = "org.umiak.landlock."


def make_node():
    box = Box()
    box.process["noNewPrivileges"] = True
    os.makedirs(box.root + "/data/in")
    for name in ("data/in/f", "data/f", "tmp/f"):
        with open(f"{box.root}/{name}", "w") as f:
            f.write(name + "\n")
    return box


def needs(abi):
    if ABI < abi:
        raise Skip(f"the kernel has Landlock version {ABI}, and {abi} is needed")


def ask(box, **keys):
    box.config["annotations"] = {KEY + k.replace("_", "-"): v for k, v in keys.items()}


def does(box, script):
    r = box.run(f"({script}) >/dev/null 2>&1 && echo yes || echo no")
    assert r.rc == 0, r
    return {"yes\n": True, "no\n": False}[r.out]


def test_reading(box):
    needs(3)
    ask(box, read="/bin:/dev:/proc:/data/in")
    assert does(box, "cat /data/in/f") and does(box, "ls /data/in")
    assert not does(box, "cat /data/f") and not does(box, "ls /data") and not does(box, "cat /tmp/f")
    assert not does(box, "cat /data/in/../f")
    assert does(box, "echo x >/tmp/f") and does(box, "rm /tmp/f"), "writing is not restricted"
    assert does(box, "echo x >/data/g; mv /data/g /tmp/g"), "nor moving"
    assert read(box.root + "/tmp/g") == "x\n"


def test_a_file_alone(box):
    needs(3)
    ask(box, read="/bin:/data/f")
    assert does(box, "cat /data/f") and not does(box, "cat /data/in/f")


def test_writing(box):
    needs(3)
    ask(box, write="/tmp:/dev/null")
    assert does(box, "echo x >/tmp/new && mkdir /tmp/d && rmdir /tmp/d && ln -s a /tmp/l && rm /tmp/l")
    for script in ("echo x >/data/f", "echo x >>/data/f", "rm /data/f", "mkdir /data/d", "ln -s a /data/l",
                   "mv /tmp/f /data/g", "ln /data/f /tmp/h", "mkfifo /data/p", "truncate -s 0 /data/f",
                   "echo x >/bin/sh"):
        assert not does(box, script), script
    assert read(box.root + "/data/f") == "data/f\n"
    assert does(box, "cat /data/f"), "reading is not restricted"


def test_executing(box):
    needs(3)
    shutil.copy("/bin/busybox", box.root + "/tmp/busybox")
    ask(box, execute="/bin")
    assert does(box, "/bin/true") and not does(box, "/tmp/busybox true")
    assert not does(box, "cp /bin/busybox /data/busybox && /data/busybox true")
    ask(box, execute="/bin", read="/data")
    assert does(box, "/bin/cat /data/f") and not does(box, "cat /tmp/f")
    ask(box, execute="/data")
    r = box.run("true")
    assert r.rc and "permission denied" in r.err, r


def test_an_empty_value_forbids_all(box):
    needs(3)
    ask(box, write="")
    assert not does(box, "echo x >/tmp/f") and not does(box, "echo x >>/tmp/f")
    box.save("touch", "/tmp/made")
    assert box.oci("run", "--bundle", box.bundle, "c").rc
    assert not os.path.exists(box.root + "/tmp/made")


def test_ports(box):
    needs(4)
    box.linux["namespaces"] = [n for n in box.linux["namespaces"] if n["type"] != "user"]
    serve = "timeout 1 nc -l -p %d >/dev/null 2>/tmp/err; cat /tmp/err"
    ask(box, bind_tcp="8080")
    assert "denied" not in box.run(serve % 8080).out
    assert "denied" in box.run(serve % 8081).out
    connect = "echo | timeout 1 nc 127.0.0.1 %d 2>&1"
    ask(box, connect_tcp="8080,443")
    assert "refused" in box.run(connect % 8080).out.lower()
    assert "denied" in box.run(connect % 8081).out.lower()
    ask(box, connect_tcp="", bind_tcp="")
    assert "denied" in box.run(connect % 8080).out.lower()
    assert "denied" in box.run(serve % 8080).out


def test_links_do_not_lead_out_of_the_container(box):
    needs(3)
    os.symlink("/../../../../etc", box.root + "/out")
    with open(box.root + "/etc/own", "w") as f:
        f.write("own")
    ask(box, read="/bin:/out")
    assert does(box, "cat /etc/own"), "the link is the container's, and stays in it"
    os.symlink("/proc/1/root/etc", box.root + "/magic")
    ask(box, read="/bin:/magic")
    r = box.run("true")
    assert r.rc and KEY + "read: /magic" in r.err, r
    assert not box.left(), box.left()


def test_exec_is_held_to_it(box):
    needs(3)
    ask(box, read="/bin:/data/in", write="/tmp:/dev/null")
    box.up()
    assert box.oci("exec", "c", "cat", "/data/in/f").rc == 0
    assert box.oci("exec", "c", "cat", "/data/f").rc != 0
    assert box.oci("exec", "--user", "0", "--cap", "CAP_DAC_OVERRIDE", "c", "sh", "-c", "echo >/data/f").rc != 0
    with open(box.path("p.json"), "w") as f:
        json.dump({"args": ["cat", "/data/f"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}, f)
    r = box.oci("exec", "--process", box.path("p.json"), "c")
    assert r.rc == 255 and "noNewPrivileges" in r.err, r


def test_without_capabilities_and_as_somebody_else(box):
    needs(3)
    os.chmod(box.root + "/data", 0o700)
    box.process["user"] = {"uid": 1000, "gid": 1000}
    ask(box, read="/bin:/data/in")  # which that user cannot reach
    assert does(box, "true") and not does(box, "cat /tmp/f")


def test_under_a_filter(box):
    needs(3)
    box.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"],
         "action": "SCMP_ACT_KILL_PROCESS"}]}
    ask(box, read="/bin")
    assert does(box, "true") and not does(box, "cat /data/f")


def test_what_is_missing(box):
    needs(3)
    ask(box, read="/bin:/nothing/here")
    r = box.run("true")
    assert r.rc and KEY + "read: /nothing/here in the container" in r.err, r
    ask(box, read="/bin:/nothing/here", on_missing="ignore")
    assert does(box, "true") and not does(box, "cat /data/f")
    assert not box.left(), box.left()


def play_older_kernel():
    """In a child: landlock_create_ruleset(2) fails with ENOSYS from here on."""
    program = b"".join(struct.pack("HBBI", *i) for i in (
        (0x20, 0, 0, 0),              # load the call's number
        (0x15, 0, 1, 444),            # not this one: the next but one
        (0x06, 0, 0, 0x50000 | 38),   # errno ENOSYS
        (0x06, 0, 0, 0x7fff0000)))    # allow
    code = ctypes.create_string_buffer(program)
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filter, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def test_a_kernel_without_it(box):
    argv = box.argv("run", "--bundle", box.bundle, "c")

    def run():
        box.save("cat", "/data/f")
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, preexec_fn=play_older_kernel, timeout=60)
    for keys in ({"read": "/bin"}, {"connect_tcp": "80"}):
        ask(box, **keys)
        r = run()
        name = KEY + list(keys)[0].replace("_", "-")
        assert r.returncode and f"{name}: this kernel has no Landlock" in r.stderr.decode(), r
        assert not box.left(), box.left()
        ask(box, **keys, on_missing="ignore")
        r = run()
        assert r.returncode == 0 and r.stdout == b"data/f\n", r


def test_what_is_refused(box):
    for keys, word in (({"read": "bin"}, "absolute path"), ({"read": "/a:"}, "absolute path"),
                       ({"read": "/a::/b"}, "absolute path"), ({"write": "/a/../b"}, "absolute path"),
                       ({"execute": ":".join(["/a"] * 129)}, "more than 128"),
                       ({"bind_tcp": "65536"}, "not a port"), ({"bind_tcp": "1, 2"}, "not a port"),
                       ({"connect_tcp": "0"}, "not a port"), ({"connect_tcp": "-1"}, "not a port"),
                       ({"read": "/a", "on_missing": "maybe"}, "neither refuse nor ignore"),
                       ({"on_missing": "ignore"}, "nothing is restricted"),
                       ({"reads": "/a"}, "is not known"), ({"": "/a"}, "is not known")):
        ask(box, **keys)
        r = box.run("true")
        assert r.rc and KEY in r.err and word in r.err, (keys, r)
    ask(box, read="/")
    box.process["noNewPrivileges"] = False
    r = box.run("true")
    assert r.rc and KEY in r.err and "noNewPrivileges" in r.err, r
    assert not box.left(), box.left()


def test_features_tell_of_it(box):
    f = json.loads(box.oci("features", ok=True).out)
    assert f["annotations"][KEY + "abi"] == str(ABI)
    assert KEY in f["potentiallyUnsafeConfigAnnotations"]


main(globals())
