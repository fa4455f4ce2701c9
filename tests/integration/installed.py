#!/usr/bin/env python3
"""What is installed: man pages that tell what the programs tell, configuration files, make install
and uninstall. Nothing runs with more than folders of its own."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from umtest import *  # noqa

PLAIN = os.environ.get("PLAIN", os.path.join(TOP, "build", "plain"))
OPTION = re.compile(r"--([a-z][a-z-]*)")


def call(program, *argv, **kw):
    """Exit code, standard output, standard error."""
    p = subprocess.run([os.path.join(BUILD, program), *argv], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, timeout=60,
                       env=dict(os.environ, UMIAK_LIBEXEC=BUILD), **kw)
    return p.returncode, p.stdout, p.stderr


def help_of(program, *path):
    code, out, err = call(program, *path, "--help")
    assert code == 0 and out and not err, (program, path, code, err)
    return out


def options_told(text):
    """Those of lines that begin with one, and of the line of usage."""
    found = set()
    for line in text.splitlines():
        if re.match(r" +(-\w, )?--[a-z]", line):
            found.add(OPTION.search(line).group(1))
        elif line.lower().startswith("usage:"):
            found.update(OPTION.findall(line))
    return found


def verbs_told(text):
    return [m.group(1) for m in re.finditer(r"^  ([a-z][a-z-]*) ", text, re.M)]


def sections(page):
    """The options of each subsection: {"": before the first, "up": ...}."""
    found, where = {"": set()}, ""
    for line in read(os.path.join(BUILD, "man", page)).splitlines():
        if line.startswith(".Sh"):
            where = ""
        elif line.startswith(".Ss"):
            where = line[4:].removeprefix("umiak ").removeprefix("Keys of ")
            if page.startswith("umiak-oci"):
                where = where.split()[0]
            found[where] = set()
        elif line.startswith((".It Fl -", ".Fl -")):
            found[where].add(line.split("Fl -")[1].split()[0])
    return found


def differences(what, told, written):
    return ([f"{what}: --{o} is not in the man page" for o in sorted(told - written)] +
            [f"{what}: --{o} of the man page is not in --help" for o in sorted(written - told)])


def test_umiak_1_has_every_verb_and_option():
    page, wrong = sections("umiak.1"), []
    top = help_of("umiak")
    words = read(os.path.join(BUILD, "man/umiak.1"))
    for verb in verbs_told(top):
        if f".It Cm {verb}\n" not in words:
            wrong.append(f"umiak.1 does not name the verb {verb}")
        if verb in ("help", "version"):
            continue
        text = help_of("umiak", verb)
        wrong += differences(f"umiak {verb}", options_told(text), page.get(verb, set()))
        for sub in verbs_told(text):
            below = help_of("umiak", verb, sub)
            if below != text:
                wrong += differences(f"umiak {verb} {sub}", options_told(below),
                                     page.get(f"{verb} {sub}", set()))
    assert not wrong, "\n".join(wrong)


def test_umiak_oci_1_has_every_verb_and_option():
    page, wrong = sections("umiak-oci.1"), []
    top = help_of("umiak-oci")
    wrong += differences("umiak-oci", options_told(top), page[""])
    known = options_told(top)
    for verb in verbs_told(top):
        told = options_told(help_of("umiak-oci", verb))
        known |= told
        written = page.get(verb, set())
        wrong += differences(f"umiak-oci {verb}", told, written)
    # What the tables for getopt_long(3) have, --help has.
    for path in glob.glob(os.path.join(TOP, "runtime/cli/*.c")):
        for name in re.findall(r'\{"([a-z-]+)", (?:required|no)_argument', read(path)):
            if name not in known:
                wrong.append(f"{os.path.basename(path)}: --{name} is in no --help")
    assert not wrong, "\n".join(wrong)


def test_umiak_yaml_5_has_every_key():
    page, wrong = sections("umiak.yaml.5"), []
    for verb, name in (("up", "config.yaml"), ("server", "server.yaml"), ("agent", "agent.yaml")):
        wrong += differences(name, options_told(help_of("umiak", verb)), page[name])
    assert not wrong, "\n".join(wrong)


def test_umiak_yaml_5_has_every_key_of_ctr():
    told = options_told(help_of("umiak", "ctr", "wait")) - {"root", "config", "help"}
    wrong = differences("ctr.yaml", told, sections("umiak.yaml.5")["ctr.yaml"])
    assert "state-dir" in told and not wrong, "\n".join(wrong)


def test_ctr_has_the_folders_of_configure():
    makefile = read(os.path.join(BUILD, "Makefile"))
    folder = {n: re.search(rf"^{n} = (.*)$", makefile, re.M).group(1)
              for n in ("prefix", "sysconfdir", "localstatedir", "runstatedir")}
    for name, value in folder.items():
        folder[name] = value.replace("${prefix}", folder["prefix"])
    with Folder() as f:
        code, _, err = call("umiak", "ctr", "ps", "--root", f.dir)
        assert code == 0, err
        made = sorted(os.path.relpath(d, f.dir) for d, dirs, _ in os.walk(f.dir) if not dirs)
        assert made == sorted([folder["localstatedir"][1:] + "/lib/umiak/ctr/names",
                               folder["runstatedir"][1:] + "/umiak/ctr"]), made
        f.write(folder["sysconfdir"][1:] + "/umiak/ctr.yaml", "state: x\n")
        code, _, err = call("umiak", "ctr", "ps", "--root", f.dir)
        assert code != 0 and 'ctr.yaml: unknown key "state"' in err, (code, err)
    # Nor has any other program folders that configure did not give it.
    for path in glob.glob(os.path.join(TOP, "*/**/*.c"), recursive=True):
        if not os.path.relpath(path, TOP).startswith(("tests", "build", "bench")):
            assert not re.search(r'"(/var/lib|/var/log|/run|/etc)/(umiak|pods)', read(path)), path


def test_help_verb_is_verb_help():
    for verb in verbs_told(help_of("umiak")):
        if verb not in ("help", "version"):
            code, out, _ = call("umiak", "help", verb)
            assert code == 0 and out == help_of("umiak", verb), verb
    code, _, err = call("umiak", "help", "sail")
    assert code == 2 and '"sail"' in err, (code, err)


def test_exit_codes_are_those_of_the_man_page():
    for page in ("umiak.1", "umiak-oci.1"):
        text = read(os.path.join(BUILD, "man", page)).split(".Sh EXIT STATUS")[1].split(".Sh")[0]
        codes = set(re.findall(r"^\.It (\d+)$", text, re.M))
        assert {"0", "1", "2"} <= codes, (page, codes)
    dir = tempfile.mkdtemp(prefix="umiak-test-")
    try:
        for code, program, *argv in (
                (2, "umiak"), (2, "umiak", "sail"), (2, "umiak", "up", "--sail"),
                (2, "umiak", "up", "sail"), (0, "umiak", "--version"), (0, "umiak", "version"),
                (1, "umiak", "up", "--root", dir + "/none/" + "x" * 300),
                (3, "umiak", "image", "--store", dir + "/images", "rm", "nothing"),
                (2, "umiak", "image", "sail"),
                (2, "umiak-oci"), (1, "umiak-oci", "sail"), (1, "umiak-oci", "state", "none"),
                (1, "umiak-oci", "kill", "--sail", "none"), (0, "umiak-oci", "--version"),
                (255, "umiak-oci", "--root", dir, "exec", "none", "true")):
            got, _, err = call(program, *argv)
            assert got == code, (program, argv, got, err)
            assert err or code == 0, (program, argv)
    finally:
        shutil.rmtree(dir)


def test_man_pages_are_well_formed():
    pages = glob.glob(os.path.join(BUILD, "man/*.[157]"))
    assert len(pages) == 4, pages
    for page in pages:
        sh("mandoc", "-T", "lint", "-W", "warning", page)
        assert not re.search(r"@[a-z]+@", read(page)), page


# ---- configuration files ----

class Folder:
    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="umiak-test-")
        return self

    def __exit__(self, *exc):
        shutil.rmtree(self.dir)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path


def refused(text, *words, verb="server", flags=()):
    with Folder() as f:
        code, _, err = call("umiak", verb, "--config", f.write("c.yaml", text), *flags)
        assert code == 2 and "Sanitizer" not in err, (text, code, err)
        for word in words:
            assert word in err, (text, word, err)


def test_what_a_configuration_file_may_not_have():
    refused("sail: 1\n", "c.yaml", 'unknown key "sail"')
    refused("config: other.yaml\n", 'unknown key "config"')
    refused("help: true\n", 'unknown key "help"')
    refused("root: /x\n", 'unknown key "root"')  # a flag of another verb
    refused("port: 1\nport: 2\n", "port")
    refused("port: true\n", "port", "a text or number")
    refused("port: [6443]\n", "port", "a text or number")
    refused("port:\n", "port")
    refused("no-pod-network: please\n", "no-pod-network", "true or false", verb="agent")
    refused("name: {a: b}\n", "name", "a list")
    refused("name: [a, [b]]\n", "name", "texts or numbers")
    refused("name: [" + ",".join(["a"] * 33) + "]\n", "name", "more than 32")
    refused("- port\n", "one document")
    refused("port: 1\n---\nport: 2\n", "one document")
    refused("port: [\n", "c.yaml")
    with Folder() as f:
        code, _, err = call("umiak", "server", "--config", f.dir + "/none.yaml")
        assert code == 2 and "none.yaml" in err, (code, err)


def test_flags_win_over_the_file():
    with Folder() as f:
        c = f.write("c.yaml", "log-level: sail\nport: 70000\n")
        code, _, err = call("umiak", "server", "--config", c)
        assert code == 2 and "--log-level sail" in err, (code, err)
        code, _, err = call("umiak", "server", "--log-level=info", "--config", c)
        assert code != 0 and "--port 70000 is no port" in err, (code, err)


def test_up_and_down_read_the_file_of_their_root():
    for verb in ("up", "down"):
        with Folder() as f:
            f.write("etc/umiak/config.yaml", "sail: 1\n")
            code, _, err = call("umiak", verb, "--root", f.dir)
            assert code == 2 and f.dir + "/etc/umiak/config.yaml" in err and "sail" in err, err
            # One that is named stands in for it.
            code, _, err = call("umiak", verb, "--root", f.dir,
                                "--config", f.write("c.yaml", "log-level: tide\n"))
            assert code == 2 and "--log-level tide" in err, (code, err)


def test_the_files_that_are_installed_are_read():
    for name in ("config", "server", "agent"):
        verb = "up" if name == "config" else name
        with Folder() as f:
            text = read(os.path.join(TOP, f"cli/config/{name}.yaml"))
            c = f.write("c.yaml", text)
            code, _, err = call("umiak", verb, "--config", c, "--log-level=sail")
            assert code == 2 and "--log-level sail" in err, (code, err)
            # What they show as examples is right, too.
            c = f.write("c.yaml", re.sub(r"^#(?=[a-z-]+:)", "", text, flags=re.M))
            code, _, err = call("umiak", verb, "--config", c, "--log-level=sail")
            assert code == 2 and "--log-level sail" in err, (code, err)


def certificate_names(*flags, config=""):
    with Folder() as f:
        c = f.write("c.yaml", config)
        read_fd, write_fd = os.pipe()
        p = subprocess.Popen(
            [os.path.join(BUILD, "umiak"), "server", "--config", c, "--data-dir", f.dir + "/data",
             "--pki-dir", f.dir + "/pki", "--kubeconfig", f.dir + "/kubeconfig", "--port=0",
             f"--ready-fd={write_fd}", *flags], pass_fds=[write_fd], stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE)
        os.close(write_fd)
        try:
            with os.fdopen(read_fd) as r:
                assert r.readline().startswith("ready"), "the server did not start"
            certs = [c for c in glob.glob(f.dir + "/pki/*.crt") if "server" in c]
            return sh("openssl", "x509", "-in", certs[0], "-noout", "-ext", "subjectAltName")
        finally:
            p.terminate()
            p.communicate(timeout=60)


def test_names_may_be_given_again():
    names = certificate_names(config="name: [one.example.org, 192.0.2.7]\n")
    assert "one.example.org" in names and "192.0.2.7" in names, names
    names = certificate_names("--name", "two.example.org", "--name=192.0.2.8",
                              config="name: [one.example.org, 192.0.2.7]\n")
    assert "two.example.org" in names and "192.0.2.8" in names, names
    assert "one.example.org" not in names and "192.0.2.7" not in names, names
    names = certificate_names(config="name: three.example.org\n")
    assert "three.example.org" in names, names


# ---- completions ----

def complete(program, line, cwd=None):
    """What bash offers at the end of the line."""
    words = line.split(" ")
    split = [w for word in words for w in re.split(r"(=)", word) if w] + ([""] if not words[-1] else [])
    script = (f"source '{BUILD}/cli/completion/{program}'; "
              'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
              f'_{program.replace("-", "_")}; printf "%s\\n" "${{COMPREPLY[@]}}"')
    return sh("bash", "-uc", script, "bash", *split, cwd=cwd).split()


def test_bash_completes_verbs_and_options():
    top = help_of("umiak")
    assert set(complete("umiak", "umiak ")) == set(verbs_told(top)), complete("umiak", "umiak ")
    assert complete("umiak", "umiak ser") == ["server"]
    for verb in verbs_told(top):
        if verb in ("help", "version"):
            continue
        text = help_of("umiak", verb)
        offered = complete("umiak", f"umiak {verb} --")
        assert {o[2:] for o in offered} == options_told(text), (verb, offered)
        assert set(complete("umiak", f"umiak {verb} ")) >= set(verbs_told(text)), verb
    assert complete("umiak", "umiak up --log-l") == ["--log-level"]
    for verb in verbs_told(help_of("umiak-oci")):
        offered = complete("umiak-oci", f"umiak-oci --root /x {verb} --")
        assert {o[2:] for o in offered} == options_told(help_of("umiak-oci", verb)), (verb, offered)


def test_bash_completes_values():
    assert complete("umiak", "umiak up --log-level d") == ["debug"]
    assert complete("umiak", "umiak up --log-level=") == ["error", "warn", "info", "debug"]
    assert complete("umiak", "umiak up --log-format=j") == ["json"]
    assert complete("umiak", "umiak up --node-name ") == []
    assert "--node-ip" in complete("umiak", "umiak up --node-name up --node-")
    assert "--node-ip" in complete("umiak", "umiak up --node-name=x --node-")
    assert complete("umiak-oci", "umiak-oci --root run --log list sta") == ["start", "state"]
    with Folder() as f:
        os.mkdir(f.dir + "/boat of skin")
        f.write("boat.yaml", "")
        offered = complete("umiak", "umiak up --config bo", cwd=f.dir)
        assert "boat.yaml" in offered and "skin" in offered, offered
        assert "boat.yaml" not in complete("umiak", "umiak up --root bo", cwd=f.dir)


def test_zsh_completions_have_every_option():
    for program in ("umiak", "umiak-oci"):
        text = read(os.path.join(BUILD, "cli/completion/_" + program))
        assert text.startswith(f"#compdef {program}\n"), text[:80]
        for verb in verbs_told(help_of(program)):
            if verb in ("help", "version"):
                continue
            line = next(l for l in text.splitlines() if l.startswith(f"\t'{verb}') "))
            for option in options_told(help_of(program, verb)):
                assert f"'--{option}" in line or f"'*--{option}" in line, (program, verb, option)


# ---- units ----

def test_units_are_right():
    with Folder() as f:
        for name in ("umiak", "umiak-server", "umiak-agent", "umiak-ctr"):
            text = read(os.path.join(BUILD, f"systemd/{name}.service"))
            way = ["Type=oneshot", "RemainAfterExit=yes"] if name == "umiak-ctr" else \
                ["Restart=on-failure"]
            for line in ("Delegate=yes", "KillMode=process", *way, "WantedBy=multi-user.target"):
                assert line + "\n" in text, (name, line)
            assert not re.search("@[a-z]+@", text), text
            # Of an installed program, so that systemd finds it.
            text = re.sub(r"ExecStart=\S+", f"ExecStart={BUILD}/umiak", text)
            sh("systemd-analyze", "--man=no", "verify", f.write(f"{name}.service", text))


# ---- make install ----

PROGRAMS = ["usr/bin/umiak", "usr/bin/umiak-oci", "usr/libexec/umiak/umiak-image",
            "usr/libexec/umiak/umiak-oci-systemd", "usr/libexec/umiak/umiak-shim"]


def tree(dir):
    return sorted(os.path.relpath(os.path.join(d, f), dir)
                  for d, _, files in os.walk(dir) for f in files)


def make(target, dest):
    sh("make", "-s", "-C", PLAIN, target, f"DESTDIR={dest}", "prefix=/usr", "sysconfdir=/etc",
       "systemdsystemunitdir=/lib/systemd/system", timeout=600)


def test_make_install_and_uninstall():
    with Folder() as f:
        make("install", f.dir)
        found = tree(f.dir)
        for path in [*PROGRAMS, "etc/umiak/config.yaml", "etc/umiak/server.yaml",
                     "etc/umiak/agent.yaml", "lib/systemd/system/umiak.service",
                     "lib/systemd/system/umiak-server.service",
                     "lib/systemd/system/umiak-agent.service",
                     "lib/systemd/system/umiak-ctr.service", "usr/share/man/man1/umiak.1",
                     "usr/share/man/man1/umiak-oci.1", "usr/share/man/man5/umiak.yaml.5",
                     "usr/share/man/man7/umiak-tour.7",
                     "usr/share/bash-completion/completions/umiak",
                     "usr/share/bash-completion/completions/umiak-oci",
                     "usr/share/zsh/site-functions/_umiak",
                     "usr/share/zsh/site-functions/_umiak-oci"]:
            assert path in found, (path, found)
            found.remove(path)
        assert not found, f"also installed: {found}"
        for path in PROGRAMS:
            assert os.access(os.path.join(f.dir, path), os.X_OK), path
        # A configuration that somebody changed stays, in both directions.
        f.write("etc/umiak/config.yaml", "log-level: debug\n")
        make("install", f.dir)
        assert read(f.dir + "/etc/umiak/config.yaml") == "log-level: debug\n"
        make("uninstall", f.dir)
        assert tree(f.dir) == ["etc/umiak/config.yaml"], tree(f.dir)
        f.write("etc/umiak/config.yaml", read(os.path.join(TOP, "cli/config/config.yaml")))
        make("uninstall", f.dir)
        assert tree(f.dir) == [], tree(f.dir)
        assert not os.path.exists(f.dir + "/etc/umiak")


main(globals())
