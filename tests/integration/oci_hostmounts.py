#!/usr/bin/env python3
"""Containers without a mount namespace: their mounts stand among the caller's, and go again."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()


def make_node():
    box = Box()
    box.ns("mount", remove=True)
    return box


def table(pid="self"):
    return read(f"/proc/{pid}/mountinfo")


def ours(box):
    return [line for line in table().splitlines() if f" {box.root}" in line]


def test_it_runs_in_the_callers_mount_namespace(box):
    before = table()
    box.config["root"]["readonly"] = True
    r = box.run("readlink /proc/self/ns/mnt; ls /; cat /proc/keys | wc -c; "
                "echo x 2>/dev/null >/file || echo read-only; "
                "echo x 2>/dev/null >/proc/sys/kernel/domainname || echo path; cd /..; pwd")
    assert r.rc == 0, r
    lines = r.out.split()
    assert lines[0] == os.readlink("/proc/self/ns/mnt"), r
    assert "bin" in lines and "home" not in lines and "boot" not in lines, r
    assert lines[-4:] == ["0", "read-only", "path", "/"], r
    assert table() == before, table()
    assert not box.left(), box.left()


def test_exec_and_delete(box):
    before = table()
    os.mkdir(box.path("source"))
    sh("mount", "-t", "tmpfs", "outer", box.path("source"))
    os.mkdir(box.path("source", "inner"))
    sh("mount", "-t", "tmpfs", "inner", box.path("source", "inner"))
    with_source = table()
    box.mount("/data", "none", box.path("source"), "rbind")
    box.up()
    assert len(ours(box)) > 8
    r = box.oci("exec", "c", "sh", "-c", "readlink /proc/self/ns/mnt; ls /; pwd; ls /data", ok=True)
    lines = r.out.split()
    assert lines[0] == os.readlink("/proc/self/ns/mnt"), r
    assert "bin" in lines and "boot" not in lines and lines[-2:] == ["/", "inner"], r
    assert box.oci("exec", "--cwd", "/tmp", "c", "pwd", ok=True).out == "/tmp\n"
    box.oci("kill", "c", ok=True)
    wait_for("its end", lambda: box.state()["status"] == "stopped")
    assert len(ours(box)) > 8
    box.oci("delete", "c", ok=True)
    assert table() == with_source, table()
    sh("umount", "-R", box.path("source"))
    assert table() == before and not box.left()


def test_with_shared_mounts_of_the_host_and_their_peers(box):
    sh("mount", "--bind", box.dir, box.dir)
    sh("mount", "--make-shared", box.dir)
    peer = subprocess.Popen(["unshare", "--mount", "--propagation", "unchanged", "sleep", "1000"])
    try:
        mine = os.readlink("/proc/self/ns/mnt")
        wait_for("the peer", lambda: os.readlink(f"/proc/{peer.pid}/ns/mnt") != mine)
        wait_for("sleep", lambda: "sleep" in read(f"/proc/{peer.pid}/cmdline"))
        before, there = table(), table(peer.pid)
        box.up()
        assert len(ours(box)) > 8
        # the container's root, which stands on a shared mount; none of what stands on the root
        new = [x for x in table(peer.pid).splitlines() if x not in there.splitlines()]
        assert len(new) <= 1, new
        box.oci("delete", "--force", "c", ok=True)
        assert table() == before and table(peer.pid) == there, (table(), table(peer.pid))
    finally:
        peer.kill()
        peer.wait()
        sh("umount", "-l", box.dir)
    assert not box.left(), box.left()


def test_a_foreign_mount_stays_and_is_named(box):
    before = table()
    box.up()
    sh("mount", "-t", "tmpfs", "foreign", box.root + "/tmp")
    for _ in range(2):
        r = box.oci("delete", "--force", "c")
        assert r.rc and box.root + "/tmp" in r.err and "not ours" in r.err, r
        assert any(" foreign " in line for line in ours(box)), ours(box)
    assert box.state()["status"] == "stopped"
    sh("umount", box.root + "/tmp")
    box.oci("delete", "--force", "c", ok=True)
    assert table() == before and not box.left()


def test_what_was_unmounted_by_another_is_no_error(box):
    before = table()
    box.up()
    sh("umount", "-l", box.root + "/proc")
    sh("mount", "-t", "tmpfs", "foreign", box.path("bundle"))  # and the root is out of reach
    r = box.oci("delete", "--force", "c")
    assert any(" foreign " in line for line in table().splitlines()), r
    sh("umount", box.path("bundle"))
    box.oci("delete", "--force", "c", ok=True)
    assert table() == before and not box.left()


def test_a_link_that_the_container_plants_leads_nowhere(box):
    outside = box.path("outside")
    os.makedirs(outside + "/a")
    sh("mount", "-t", "tmpfs", "foreign", outside + "/a")
    before = table()
    box.mount("/m/a", "tmpfs", "tmpfs")
    box.up(f"mv /m /old && ln -s {outside} /m && touch /tmp/up; sleep 1000")
    wait_for("the link", lambda: os.path.exists(box.root + "/tmp/up"))
    box.oci("delete", "--force", "c", ok=True)
    assert table() == before, table()
    sh("umount", outside + "/a")
    assert not box.left(), box.left()


def test_a_failed_create_leaves_nothing(box):
    before = table()
    box.mount("/a", "tmpfs", "tmpfs")
    box.mount("/b", "nosuchfs", "none")
    box.refused("nosuchfs")
    assert table() == before, table()
    box.config["mounts"].pop()
    box.config["hooks"] = {"createContainer": [{"path": "/bin/false"}]}
    box.refused("createContainer")
    assert table() == before, table()


def test_a_creator_that_is_killed_leaves_it_to_delete(box):
    before = table()
    box.config["hooks"] = {"createRuntime": [{"path": "/bin/sh",
                                              "args": ["sh", "-c", "kill -9 $PPID"]}]}
    r = box.create()
    assert r.rc == -signal.SIGKILL, r
    assert len(ours(box)) > 8
    box.oci("delete", "--force", "c", ok=True)
    assert table() == before, table()
    assert not box.left(), box.left()


def test_delete_in_another_mount_namespace_is_refused(box):
    before = table()
    box.up()
    p = subprocess.run(["unshare", "--mount", *box.argv("delete", "--force", "c")],
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    assert p.returncode and "another mount namespace" in p.stderr, p
    assert len(ours(box)) > 8
    box.oci("delete", "--force", "c", ok=True)
    assert table() == before and not box.left()


def test_what_would_reach_the_hosts_mounts_is_refused(box):
    before = table()
    for option in ("shared", "rshared", "slave", "rslave"):
        box.mount("/data", "none", "/etc", "bind", option)
        box.refused("mounts[", "need a mount namespace")
        box.config["mounts"].pop()
        box.linux["rootfsPropagation"] = option
        box.refused("linux.rootfsPropagation", "need a mount namespace")
        del box.linux["rootfsPropagation"]
    box.linux["rootfsPropagation"] = "rprivate"
    assert box.run("true").rc == 0
    box.ns("user")
    box.linux["uidMappings"] = box.linux["gidMappings"] = [
        {"containerID": 0, "hostID": 100000, "size": 1000}]
    box.refused("user namespace without a mount namespace")
    assert table() == before, table()


main(globals())
