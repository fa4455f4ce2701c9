"""What strace saw of umiak-oci, and what --explain=json told of it."""
import contextlib
import json
import re

# Every system call that changes something. A predicate picks those uses that do; None: all.
STATE_CHANGING = {
    # processes
    "clone": None, "clone3": None, "fork": None, "vfork": None, "execve": None, "execveat": None,
    "kill": None, "tkill": None, "pidfd_send_signal": None, "rt_sigqueueinfo": None,
    "setsid": None, "setpgid": None, "ptrace": None, "umask": None, "setpriority": None,
    "prctl": lambda a: re.match(r"PR_(SET_|CAPBSET_DROP|CAP_AMBIENT, PR_CAP_AMBIENT_(RAISE|LOWER|CLEAR))", a),
    "prlimit64": lambda a: not re.match(r"\d+, RLIMIT_\w+, NULL", a), "setrlimit": None,
    "sched_setaffinity": None, "sched_setattr": None, "sched_setscheduler": None,
    "sched_setparam": None, "ioprio_set": None, "personality": lambda a: "0xffffffff" not in a,
    "keyctl": None, "add_key": None, "set_mempolicy": None,
    # rights
    "capset": None, "setuid": None, "setgid": None, "setreuid": None, "setregid": None,
    "setresuid": None, "setresgid": None, "setfsuid": None, "setfsgid": None, "setgroups": None,
    "seccomp": lambda a: a.startswith("SECCOMP_SET") and not a.endswith("NULL"), "bpf": lambda a: not re.match(r"BPF_PROG_(QUERY|GET)", a),
    "landlock_create_ruleset": lambda a: "LANDLOCK_CREATE_RULESET_VERSION" not in a,
    "landlock_add_rule": None, "landlock_restrict_self": None,
    # namespaces and mounts
    "unshare": None, "setns": None, "sethostname": None, "setdomainname": None, "mount": None,
    "umount2": None, "mount_setattr": None, "fsopen": None, "fsconfig": None, "fsmount": None,
    "fspick": None, "open_tree": None, "move_mount": None, "pivot_root": None, "chroot": None,
    "chdir": None, "fchdir": None,
    # files
    "open": lambda a: "O_CREAT" in a, "openat": lambda a: "O_CREAT" in a, "creat": None,
    "openat2": lambda a: "O_CREAT" in a, "mkdir": None, "mkdirat": None, "mknod": None,
    "mknodat": None, "link": None, "linkat": None, "symlink": None, "symlinkat": None,
    "rename": None, "renameat": None, "renameat2": None, "unlink": None, "unlinkat": None,
    "rmdir": None, "chmod": None, "fchmod": None, "fchmodat": None, "chown": None, "fchown": None,
    "lchown": None, "fchownat": None, "utimensat": None, "truncate": None, "ftruncate": None,
    "setxattr": None, "fsetxattr": None, "lsetxattr": None, "sendfile": None,
    "copy_file_range": None,
    "write": lambda a: re.match(r"\d+</(?!dev/|memfd:)", a), "pwrite64": None, "writev": None,
    # descriptors and devices
    "bind": lambda a: "sun_path" in a, "dup2": None, "dup3": None, "close_range": None,
    "ioctl": lambda a: re.match(r"\d+\S*, (\w+ or )?(TIOCSCTTY|SIOCSIFFLAGS|TIOCSPTLCK|TIOCSWINSZ|TCSETS)",
                                a),
}

# Arguments that strace tells otherwise: compared by their strings and names alone.
NUMBERS_DIFFER = {"clone", "clone3", "execve", "execveat", "capset", "seccomp", "bpf", "ioctl",
                  "sched_setattr", "mount_setattr", "prlimit64", "utimensat", "personality",
                  "pidfd_send_signal", "keyctl", "mknodat", "prctl", "close_range", "setgroups",
                  "sched_setaffinity", "sendfile", "landlock_create_ruleset", "landlock_add_rule", "mount",
                  "fsconfig"}


class Event:
    def __init__(self, pid, name, args, result=None):
        self.pid, self.name, self.args, self.result = pid, name, args, result
        self.made = 0  # of clone: the new process, as strace numbers it

    def __repr__(self):
        return f"{self.pid} {self.name}({self.args}) = {self.result}"


def read_strace(path):
    """All events in the order in which they began."""
    events, open_calls = [], {}
    for line in open(path, errors="replace"):
        m = re.match(r"(\d+)(?: /\* \d+ in tracee's PID NS \*/)? +(.*)$", line.rstrip("\n"))
        if not m:
            continue
        pid, rest = int(m.group(1)), m.group(2)
        if rest.startswith("<..."):
            e = open_calls.pop(pid, None)
            tail = re.match(r"<\.\.\. \w+ resumed>(.*)$", rest)
            if e and tail:
                e.args += tail.group(1)
                split_result(e)
            continue
        m = re.match(r"(\w+)\((.*)$", rest)
        if not m:
            continue
        e = Event(pid, m.group(1), m.group(2))
        events.append(e)
        if e.args.endswith("<unfinished ...>"):
            e.args = e.args[:-len("<unfinished ...>")].rstrip()
            open_calls[pid] = e
        else:
            split_result(e)
    return events


def split_result(e):
    m = re.match(r"(.*)\) += (-?\w+|\?)(<.*>)?( /\* (\d+) in strace's PID NS \*/)?( [A-Z]\w+)?( \(.*\))?.*$",
                 e.args)
    if m:
        e.args, e.result = m.group(1), m.group(2) + (m.group(6) or "")
        e.made = int(m.group(5) or (m.group(2) if m.group(2).isdigit() else 0))


def of_umiak(events, program):
    """Events of processes that run @program: from its execve, with their children, until they
    execute something else."""
    ours, out = set(), []
    for e in events:
        if e.pid in ours:
            out.append(e)
        if e.name in ("clone", "clone3", "fork", "vfork") and e.pid in ours:
            if e.made and "CLONE_THREAD" not in e.args:
                ours.add(e.made)
        if e.name == "execve" and e.result == "0":
            mine = e.args.startswith(json.dumps(program) + ",")
            (ours.add if mine else ours.discard)(e.pid)
    return out


def state_changing(events, without):
    """Those of the table; writes to the files @without are the explanation itself."""
    out = []
    for e in events:
        if e.name not in STATE_CHANGING:
            continue
        pick = STATE_CHANGING[e.name]
        if pick and not pick(e.args):
            continue
        if e.name == "write" and any(f"<{w}>" in e.args for w in without):
            continue
        out.append(e)
    return out


def unescape(s):
    def one(m):
        c = m.group(1)
        if c[0] in "01234567":
            return chr(int(c, 8))
        return {"n": "\n", "t": "\t", "r": "\r", "v": "\v", "f": "\f", "a": "\a", "b": "\b"}.get(c, c)
    return re.sub(r"\\([0-7]{1,3}|.)", one, s)


def number(text):
    with contextlib.suppress(ValueError):
        return int(text, 8 if re.fullmatch("0[0-7]+", text) else 0)
    return text


def parts(args):
    """Strings, names in capitals, numbers."""
    strings = [(unescape(m.group(1)), bool(m.group(2)))
               for m in re.finditer(r'"((?:[^"\\]|\\.)*)"(\.\.\.)?', args)]
    bare = re.sub(r'"(?:[^"\\]|\\.)*"(\.\.\.)?', "", args)
    bare = re.sub(r"/\*.*?\*/", "", bare)
    bare = re.sub(r"(?<=[0-9D])<[^<>]*(?:<[^<>]*>)?[^<>]*>", "", bare)
    return (strings, sorted(set(re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", bare))),
            [number(n) for n in re.findall(r"(?<![\w.])-?\d\w*", bare)])


def same_strings(a, b):
    if len(a) != len(b):
        return False
    for (x, x_cut), (y, y_cut) in zip(a, b):
        n = min(len(x) if x_cut else 1 << 30, len(y) if y_cut else 1 << 30)
        if x[:n] != y[:n]:
            return False
    return True


# Names that only one of both tells.
BORING = {"LANDLOCK_ACCESS_FS_TRUNCATE", "LANDLOCK_RULE_NET_PORT", "LANDLOCK_ACCESS_NET_BIND_TCP",
          "LANDLOCK_ACCESS_NET_CONNECT_TCP", "SUID_DUMP_DISABLE", "RLIM64_INFINITY", "RLIM_INFINITY", "NULL", "CLONE_CHILD_CLEARTID", "CLONE_CHILD_SETTID"}


def difference(step, event):
    """None, or in which way @step is not the truth about @event."""
    if step["name"] != event.name:
        return "the call"
    told = step["call"][len(step["name"]) + 1:]
    cut = told.endswith("...")
    told = told.replace("MOUNT_ATTR__ATIME", "MOUNT_ATTR_NOATIME|MOUNT_ATTR_STRICTATIME|0x40")
    s, e = parts(told.rstrip(")")), parts(event.args)
    if not cut and not same_strings(s[0], e[0]):
        return f"strings {s[0]} / {e[0]}"
    if "TCSETS" in s[1] and "TCSETS" in e[1]:
        return None  # the terminal's modes are told by strace alone
    if not cut and set(s[1]) - BORING != set(e[1]) - BORING and event.name not in ("capset", "bpf"):
        return f"names {s[1]} / {e[1]}"
    if not cut and event.name not in NUMBERS_DIFFER and s[2] != e[2]:
        return f"numbers {s[2]} / {e[2]}"
    if step["result"] is not None and event.result != step["result"]:
        return f"result {step['result']} / {event.result}"
    return None


def compare(steps, events):
    """Process by process, in order. Returns what is wrong, as texts."""
    wrong, by_pid, told = [], {}, {}
    for e in events:
        by_pid.setdefault(e.pid, []).append(e)
    for s in steps:
        told.setdefault((s["process"], s["pid"]), []).append(s)
    # a process of the container's pid namespace may know only its number there
    for who in [w for w in told if w[1] not in by_pid]:
        free = [p for p in by_pid if p not in [w[1] for w in told]]
        match = [p for p in free if by_pid[p][0].name == told[who][0]["name"]]
        if match:
            told[(who[0], match[0])] = told.pop(who)
    for (role, pid), mine in told.items():
        theirs = by_pid.pop(pid, [])
        for i in range(max(len(mine), len(theirs))):
            s = mine[i] if i < len(mine) else None
            e = theirs[i] if i < len(theirs) else None
            what = "no such call" if not e else "no step" if not s else difference(s, e)
            if what:
                wrong.append(f"{role} {pid}, step {i}: {what}\n  told: {s and s['call']} = "
                             f"{s and s['result']}\n  made: {e}")
                break
    for pid, theirs in by_pid.items():
        wrong.append(f"process {pid} told nothing, and made {theirs[0]}")
    return wrong
