"""README.md, wsgi-cgi-servers(7) and wsgi-cgi-migrating(7) say only what was run.

Each block of the README has a mark in front of it:
<!-- file: NAME -->  test_commands writes it into a clean copy of the tree
<!-- run -->         and runs it there
<!-- serve -->       and starts it there, after all others, with a socket
<!-- ask -->         and runs it there while that serves
<!-- by: FILE -->    that file runs it (running it here would never end)
<!-- from: FILE -->  an excerpt of a file that the other tests run
"""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from harness import EXAMPLES, SERVERS, TREE, Orphans, wait_until

README = TREE / "README.md"
BENCH = TREE / "tests" / "bench" / "README.md"
DOCUMENTS = README, TREE / "CONTRIBUTING.md", BENCH
MANUAL = TREE / "man" / "wsgi-cgi-servers.7"
MIGRATING = TREE / "man" / "wsgi-cgi-migrating.7"
# Each page of examples, and the folder that has them.
PAGES = (MANUAL, SERVERS), (MIGRATING, EXAMPLES / "migrating")

# Where "make install" puts them, below PREFIX.
EXAMPLES_FOLDER = "share/doc/wsgi-cgi/examples"

FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.M | re.S)
MARK = re.compile(r"<!-- (run|serve|ask|(?:by|file|from): \S+) -->\n\Z")


def blocks():
    """[(kind, file or None, text)] of the README, in order."""
    text = README.read_text()
    found = []
    for fence in FENCE.finditer(text):
        mark = MARK.search(text, 0, fence.start())
        assert mark, "a block without a mark:\n%s" % fence[0]
        kind, _, file = mark[1].partition(": ")
        found.append((kind, file, fence[1]))
    return found


def clean_copy(target):
    """What git would hand out, with what is not committed yet."""
    if not (TREE / ".git").exists():  # unpacked from "make dist"
        shutil.copytree(TREE, target,
                        ignore=shutil.ignore_patterns("build", "__pycache__"))
        return
    names = subprocess.run(
        ["git", "-C", TREE, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], stdout=subprocess.PIPE, check=True).stdout
    for name in names.decode().split("\0"):
        if name and (TREE / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, target / name)


def test_every_kind_of_block_is_there():
    kinds = [kind for kind, _, _ in blocks()]
    assert kinds.count("run") >= 5
    assert kinds.count("from") >= 3
    for kind in ("by", "file", "serve", "ask"):
        assert kinds.count(kind) == 1, kind


def test_it_is_short():
    """It convinces in a minute, or not at all."""
    assert len(README.read_text().splitlines()) < 200
    assert [text.count("\n") for kind, _, text in blocks()
            if kind in ("file", "serve")] == [6, 1]


class Shell:
    """Runs blocks in one folder, each in a bash that stops at an error."""

    def __init__(self, folder, env):
        self.folder, self.env = folder, env

    def start(self, text):
        return subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text], cwd=self.folder,
            env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def run(self, text):
        """What it prints."""
        with self.start(text) as bash:
            return self.end(bash, text)

    def end(self, bash, text):
        try:
            output, _ = bash.communicate(timeout=300)
        except BaseException:
            os.killpg(bash.pid, signal.SIGKILL)  # a session of our own
            raise
        assert bash.returncode == 0, "%s\n%s" % (text, output)
        return output

    def ask(self, serve, ask):
        """What ask prints while serve, one command with a socket, serves; that
        must then end with 0 at SIGTERM."""
        path = re.search(r"--bind unix:(\S+)", serve)[1].replace(
            "$PWD", str(self.folder))

        def is_there():
            with socket.socket(socket.AF_UNIX) as client:
                return (client.connect_ex(path) == 0
                        or server.poll() is not None)
        with self.start("exec " + serve) as server:
            try:
                wait_until(is_there, "it serves")
                output = self.run(ask) if server.poll() is None else ""
            finally:
                server.send_signal(signal.SIGTERM)
            self.end(server, serve)
        return output


@pytest.mark.timeout(900)
def test_commands(tmp_path):
    """All of them one after the other. What "make install" has put below HOME
    is first on PATH."""
    tree, home = tmp_path / "tree", tmp_path / "home"
    home.mkdir()
    clean_copy(tree)
    keep = ("LANG", "TERM", "PYTHON", "CI")
    env = {k: v for k, v in os.environ.items() if k in keep}
    env.update(HOME=str(home), DEMO_ONCE="1", PATH="%s/wsgi-cgi/bin:%s" % (
        home, os.environ["PATH"]))
    shell = Shell(tree, env)
    parts = {kind: [] for kind in ("run", "serve", "ask")}
    for kind, file, text in blocks():
        if kind == "file":
            (tree / file).write_text(text)
        elif kind in parts:
            parts[kind].append(text)
    said = "".join(map(shell.run, parts["run"]))
    # The demo's lighttpd does not wait for what it has started.
    orphans = Orphans()
    wait_until(lambda: not orphans.look(), "all processes end")
    assert not [end for end in orphans.ended if end[1] != 0], orphans.ended
    for page in (TREE / "man").iterdir():
        there = home / "wsgi-cgi/share/man" / ("man" + page.suffix[1:])
        assert (there / page.name).read_text() == page.read_text()
    assert said.count("Hello from wsgi-cgi") >= 2  # make demo, and as CGI
    assert "Status: 200 OK" in said
    assert os.access(home / "wsgi-cgi" / "bin" / "wsgi-cgi", os.X_OK)
    installed = home / "wsgi-cgi" / EXAMPLES_FOLDER
    for path in (TREE / "examples").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert (installed / path.relative_to(TREE / "examples")).is_file(), path
    said = shell.ask(*parts["serve"], *parts["ask"])
    assert said.endswith("\n\nHello, you!\n"), said


def test_what_others_run_is_run_by_them():
    for kind, file, text in blocks():
        if kind == "by":
            script = (TREE / file).read_text()
            for command in text.splitlines():
                assert re.search("^%s\\b" % re.escape(command), script, re.M)


def test_excerpts_are_what_the_tests_run():
    for kind, file, text in blocks():
        if kind == "from":
            assert text in (TREE / file).read_text(), file


@pytest.mark.parametrize("file", DOCUMENTS,
                         ids=lambda file: str(file.relative_to(TREE)))
def test_files_that_are_named_are_there(file):
    """Paths in backquotes that begin like ours, and links."""
    text = file.read_text()
    names = re.findall(r"`((?:src|examples|tests|man|tools)/[^\s`]*)`", text)
    assert not [name for name in names if not (TREE / name).exists()]
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert not [link for link in links if not (file.parent / link).exists()]


def test_every_way_says_where_its_files_are():
    """A shared host and several machines as well."""
    text = README.read_text()
    ways = text[text.index("## Four ways"):text.index("## Coming from")]
    for name in ("wsgi-cgi.service", "shared-host/", "haproxy/hosts.cfg"):
        assert "`examples/servers/%s`" % name in ways, name


def test_speed_is_that_of_the_table():
    """The README says no more than "make bench" measured, but for rounding."""
    text = re.sub(r"\s+", " ", README.read_text())
    sentence = re.search(r"Through nginx, one process .*?\.(?= )", text)[0]
    said = re.findall(r"([\d.]+) times as many (?:requests per second )?as "
                      r"([\w -]+)", sentence)
    claims = [(float(times), name) for times, names in said
              for name in names.split(" or ")]
    assert len(claims) == 3, claims
    rows = re.findall(r"^\| hello through nginx: to ([^|]*) \| ([\d.]+) \|",
                      BENCH.read_text(), re.M)
    for times, name in claims:
        measured = [float(ratio) for row, ratio in rows
                    if row.split(",")[0] == name]
        assert measured and times <= 1.05 * min(measured), name


def test_options_that_are_named_are_there(binary):
    """In the README and in the manuals, of wsgi-cgi alone: what stands in a .It of
    wsgi-cgi-migrating(7) is another program's."""
    known = subprocess.run([binary, "--help"], stdout=subprocess.PIPE,
                           check=True, text=True).stdout
    known = set(re.findall(r"--[a-z][a-z-]+", known))
    named = set(re.findall(r"`(?:[\w./-]+ )?(--[a-z][a-z-]+)",
                           README.read_text()))
    manuals = MANUAL.read_text() + re.sub(r"^\.It .*", "", MIGRATING.read_text(),
                                          flags=re.M)
    named |= {"--" + name for name in
              re.findall(r"(?:Fl|,) -([a-z][a-z-]+)", manuals)}
    assert len(named) > 8
    assert named <= known, named - known


# --- the manual ---------------------------------------------------------------

def displays(page):
    """[(file or None, [lines])] of its literal displays."""
    found = []
    for block in re.finditer(
            r'^(?:\.\\" from: (\S+)\n)?\.Bd -literal.*?\n(.*?)^\.Ed$',
            page.read_text(), re.M | re.S):
        lines = [line.replace(r"\e", "\\").strip()
                 for line in block[2].splitlines()]
        found.append((block[1], [line for line in lines if line]))
    return found


@pytest.mark.parametrize("page, folder", PAGES)
def test_manual_shows_what_the_tests_run(page, folder):
    """Each line of a display stands in the file it names, in this order. A
    display without a file is for servers that no test starts."""
    shown = displays(page)
    assert len([file for file, _ in shown if file]) >= 8
    for file, lines in shown:
        if not file:
            continue
        there = [line.strip() for line in
                 (folder / file).read_text().splitlines()]
        for line in lines:
            assert line in there, "%s: %s" % (file, line)
            there = there[there.index(line) + 1:]


def test_where_the_examples_are_is_said():
    for file in README, MANUAL, TREE / "man" / "wsgi-cgi.1":
        assert EXAMPLES_FOLDER in file.read_text(), file


def test_every_configuration_is_in_the_manual():
    """By its path below examples/servers."""
    for page, folder in PAGES:
        text = page.read_text()
        for path in folder.rglob("*"):
            if path.is_file() and path.parent.name != "__pycache__":
                name = str(path.relative_to(folder))
                assert re.search("[ /]%s$|[ /]%s " % (2 * (re.escape(name),)),
                                 text, re.M), name


@pytest.mark.parametrize("page, folder", PAGES)
def test_manual_has_no_faults(page, folder, need):
    said = subprocess.run([need("mandoc"), "-Tlint", "-W", "warning", page],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    assert (said.returncode, said.stdout) == (0, "")
