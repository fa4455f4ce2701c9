#!/usr/bin/env python3
"""What callers read out of umiak-oci: the texts of errors as they match them, exit codes, the log,
the forms of what it prints."""
import datetime
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ocibox import *  # noqa

private_namespaces()
make_node = Box


# The shim's, of kill: the process is gone, or the container.
def shim_kill(text):
    if "os: process already finished" in text or "container not running" in text or \
            "no such process" in text.lower():
        return "finished"
    return "gone" if "does not exist" in text else "unknown"


# podman's: which code an error of the runtime becomes.
def podman_code(text):
    if re.search(r"(?i)permission denied|operation not permitted", text):
        return 126
    return 127 if re.search(r"(?i)executable file not found in|no such file or directory|"
                            r"open executable", text) else 125


# dockerd's, of a start of @command.
def docker_code(text, command):
    low, code = text.lower(), 125
    if command in low and ("executable file not found" in low or "no such file or directory" in low):
        code = 127
    if "permission denied" in low:
        code = 126
    return 127 if "not a directory" in low else code


def log_of(box, *args):
    """The log as the shim reads it: one JSON value after the other, the last error counts."""
    path = box.path("log.json")
    with contextlib.suppress(OSError):
        os.unlink(path)
    r = box.oci("--log", path, "--log-format", "json", *args)
    last = None
    for line in read(path).splitlines() if os.path.exists(path) else []:
        entry = json.loads(line)
        datetime.datetime.fromisoformat(entry["time"][:19])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
                            entry["time"]), entry
        last = entry["msg"] if entry["level"] == "error" else last
    assert (r.rc != 0) == (last is not None), (r, last)
    assert last is None or last in r.err, (last, r)
    return r, last


def until_stopped(box):
    wait_for("its end", lambda: box.state()["status"] == "stopped")


def test_kill_of_what_is_gone(box):
    r, text = log_of(box, "kill", "nobody", "9")
    assert r.rc == 1 and shim_kill(text) == "gone", r
    box.up("exit 0")
    until_stopped(box)
    for args in (("kill", "c", "9"), ("kill", "--all", "c", "9"), ("kill", "c", "0")):
        r, text = log_of(box, *args)
        # --all of an ended container may have nobody to signal, and then be done
        assert r.rc == 0 and "--all" in args or r.rc == 1 and shim_kill(text) == "finished", (args, r)
    box.oci("delete", "c", ok=True)
    r, text = log_of(box, "delete", "c")
    assert r.rc == 1 and "does not exist" in text, r
    box.oci("delete", "--force", "c", ok=True)


def test_verbs_on_a_stopped_container(box):
    box.up("exit 0")
    until_stopped(box)
    for args, code, words in ((("exec", "c", "true"), 255, "container not running"),
                              (("pause", "c"), 1, "cannot pause"),
                              (("resume", "c"), 1, "cannot resume"),
                              (("update", "--pids-limit", "5", "c"), 1, "container not running"),
                              (("events", "--stats", "c"), 1, "container not running"),
                              (("start", "c"), 1, "cannot start")):
        r, text = log_of(box, *args)
        assert r.rc == code and words in text, (args, r)


PROGRAMS = (  # what, how podman and dockerd report it
    (["nosuch"], 127, 127), (["/no/such"], 127, 127), (["/etc/passwd/x"], 127, 127),
    (["./no/such"], 127, 127), (["/etc/passwd"], 126, 126), (["/etc"], 126, 126))


def test_programs_that_cannot_run(box):
    os.makedirs(box.root + "/tmp/secret", 0o700)
    box.process["user"] = {"uid": 1000, "gid": 1000}
    for argv, podman, docker in PROGRAMS:
        box.save(*argv)
        r, text = log_of(box, "create", "--bundle", box.bundle, "c")
        assert r.rc == 1 and text.startswith("exec"), (argv, r)
        assert (podman_code(text), docker_code(text, argv[0])) == (podman, docker), (argv, r)
        assert not box.left(), box.left()
    box.up()
    for argv, podman, docker in (*PROGRAMS, (["/tmp/secret/x"], 126, 126)):
        r, text = log_of(box, "exec", "c", *argv)
        assert r.rc == 255 and text.startswith("exec"), (argv, r)
        assert (podman_code(text), docker_code(text, argv[0])) == (podman, docker), (argv, r)


def test_what_the_host_lacks_is_no_missing_program(box):
    """ENOENT of the set-up must not be shown as "command not found"."""
    saved = json.dumps(box.config)
    for change in ({"mounts": [{"destination": "/x", "type": "bind", "source": "/no/such",
                                "options": ["bind"]}]},
                   {"sysctl": {"net.no.such": "1"}},
                   {"ns": ("network", "/no/such")},
                   {"root": {"path": "/no/such"}},
                   {"hooks": {"createRuntime": [{"path": "/no/such"}]}},
                   {"hooks": {"createContainer": [{"path": "/no/such"}]}},
                   {"hooks": {"startContainer": [{"path": "/no/such"}]}}):
        box.config = json.loads(saved)
        box.process, box.linux = box.config["process"], box.config["linux"]
        box.process["args"] = ["true"]
        if "ns" in change:
            box.ns(*change["ns"])
        elif "sysctl" in change:
            box.linux.update(change)
        elif "mounts" in change:
            box.config["mounts"] += change["mounts"]
        else:
            box.config.update(change)
        box.save()
        r, text = log_of(box, "run", "--bundle", box.bundle, "c")
        assert r.rc == 1 and podman_code(text) in (125, 126), (change, r)
        assert docker_code(text, "true") in (125, 126, 127 if "not a directory" in text else 125), r
        assert not box.left(), box.left()
    r, text = log_of(box, "create", "--bundle", "/no/such", "c")
    assert r.rc == 1 and podman_code(text) == 125 and "/no/such" in text, r
    box.config = json.loads(saved)
    box.process, box.linux = box.config["process"], box.config["linux"]
    box.up()
    for args in (("exec", "--process", "/no/such", "c"), ("update", "-r", "/no/such", "c"),
                 ("exec", "--console-socket", "/no/such", "-t", "c", "true")):
        r, text = log_of(box, *args)
        assert r.rc and podman_code(text) == 125 and "/no/such" in text, (args, r)


def test_exit_codes_of_exec(box):
    box.up()
    for script, code in (("exit 0", 0), ("exit 77", 77), ("exit 255", 255),
                         ("kill -TERM $$; sleep 9", 143), ("kill -KILL $$", 137)):
        assert box.oci("exec", "c", "sh", "-c", script).rc == code, script
    for args in (("--nonsense", "c", "true"), ("c",), ("--user", "me", "c", "true")):
        assert box.oci("exec", *args).rc == 255, args


def test_a_log_of_several_errors(box):
    """The file is appended to; text and JSON alike name the level."""
    for _ in range(2):
        box.oci("--log", box.path("log"), "state", "nobody")
    lines = read(box.path("log")).splitlines()
    assert len(lines) == 2 and all(re.match(r'time="[^"]+" level=error msg="container nobody', l)
                                   for l in lines), lines
    name = 'no"\n\\such\u00e4\x01'
    box.process["args"] = [name]
    box.save()
    r, text = log_of(box, "create", "--bundle", box.bundle, "c")
    assert r.rc == 1 and "executable file not found in $PATH" in text, r


def test_warnings_are_no_text_of_the_container(box):
    box.process["capabilities"]["bounding"].append("CAP_NOT_YET")
    box.process["args"] = ["sh", "-c", "echo out; echo err >&2"]
    box.save()
    log = box.path("warnings")
    r = box.oci("--log", log, "run", "--bundle", box.bundle, "c", ok=True)
    assert (r.out, r.err) == ("out\n", "err\n"), r
    assert "level=warning" in read(log) and "CAP_NOT_YET" in read(log), read(log)
    r = box.oci("run", "--bundle", box.bundle, "c", ok=True)
    assert "warning" in r.err and r.out == "out\n", r


def test_the_version_as_docker_parses_it(box):
    lines = box.oci("--version", ok=True).out.splitlines()
    assert re.fullmatch(r"umiak-oci version \d+\.\d+\.\d+\S*", lines[0]), lines
    assert re.fullmatch(r"commit: \S+", lines[1]), lines
    assert re.fullmatch(r"spec: \d+\.\d+\.\d+\S*", lines[2]), lines


def test_forms_of_what_is_printed(box):
    box.up()
    state = json.loads(box.oci("state", "c", ok=True).out)
    assert {"ociVersion", "id", "status", "pid", "bundle"} <= set(state), state
    pids = json.loads(box.oci("ps", "--format", "json", "c", ok=True).out)
    assert state["pid"] in pids and all(isinstance(p, int) for p in pids), pids
    listed = json.loads(box.oci("list", "--format", "json", ok=True).out)
    assert [(e["id"], e["pid"], e["status"]) for e in listed] == [("c", state["pid"], "running")]
    features = json.loads(box.oci("features", ok=True).out)
    assert features["ociVersionMin"] and features["linux"]["namespaces"], features
    event = json.loads(box.oci("events", "--stats", "c", ok=True).out)
    assert event["type"] == "stats" and event["data"]["pids"]["current"] >= 1, event


main(globals())
