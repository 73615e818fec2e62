"""Programs that people run, by the clients they run them with: what a client
sees through a web server and wsgi-cgi is what it sees of the program's own
server, to the letter.

Each program is served by its own server first, and what its clients then print,
and find, is noted. The same, from a fresh start, behind web servers must give
the same notes. Rows of the checklist: W28 for the bodies of unknown length.
"""

import base64
import os
import random
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

import harness
from harness import EXAMPLES, Site, substitute, version_of
from place import give_away, open_place
from setups import SETUPS, change

AGAIN = "Address already in use|address already in use"
SETUP = {setup.name: setup for setup in SETUPS}
AS_WWW_DATA = ("apache/cgi.conf", "apache/fcgid.conf",
               "lighttpd/bin-path.conf", "lighttpd/cgi.conf")


class Client:
    """A folder for clients, what they are told, and the notes of what they
    said. Of an URL or a path only that is noted which is the same anywhere."""

    def __init__(self, place, site, path, program):
        self.place, self.site, self.program = place, site, program
        self.url = "http://127.0.0.1:%d%s%s" % (site.port, site.prefix, path)
        self.path = path
        self.folder = place.folder / "client"
        self.folder.mkdir()
        self.env = {"PATH": harness.PATH, "HOME": str(self.folder),
                    "LC_ALL": "C.UTF-8", **program.env}
        self.notes = []

    def plain(self, text):
        """A text without what differs from server to server."""
        for old, new in [(self.url, "URL"), (str(self.folder), "HERE"),
                         (str(self.place.folder), "PLACE"),
                         *((host % self.site.port, "HOST") for host in
                           ("127.0.0.1:%d", "127.0.0.1%%3A%d")),
                         *([(self.site.prefix + self.path, self.path)]
                           if self.site.prefix else [])]:
            text = text.replace(old, new)
        for pattern in self.program.random:
            text = re.sub(pattern, "*", text)
        return text

    def note(self, *things):
        self.notes += [self.plain(str(thing)) for thing in things]

    def run(self, *words, noted=True):
        """What a command that ends with 0 prints."""
        done = subprocess.run(
            [str(word) for word in words], cwd=self.folder, env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, timeout=3 * harness.DEADLINE)
        said = [out.decode("utf-8", "replace")
                for out in (done.stdout, done.stderr)]
        assert done.returncode == 0, "%s\n%s\n%s" % (
            words, "\n".join(said), self.place.logs.all())
        if noted:
            self.note(words[0], *said)
        return said[0]

    def ask(self, path, method="GET", body=None, headers=None, note=()):
        """One request; notes the status, these headers, and the body."""
        got = self.site.ask(path, method, body, headers)
        self.note(method, path, got.status,
                  *(got.headers.get_all(name) for name in note),
                  got.body.decode("utf-8", "backslashreplace"))
        return got


def start_python(place, name, words_for):
    """A program's own server, until SIGTERM."""
    place.right_codes[name] = (-15, 255)
    return place.start_on_port(name, words_for, AGAIN)[1]


def noise(size):
    return random.Random(size).randbytes(size)


def fill(folder, names):
    """Files of these names below folder, {name: size}."""
    for name, size in names.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(noise(size))


# --- the programs ---------------------------------------------------------------

class Program:
    """path: of the URL, below the application; own_path: the same below the
    program's own server."""

    app = None           # the WSGI file
    data_word = ""       # in it, the folder of the data
    setups = ()
    options = ()
    path = own_path = ""
    env = {}             # of the clients
    logged = ()          # what may be in the logs
    random = ()          # what differs each time

    def __init__(self, place):
        self.place, self.data = place, place.folder / "data"
        self.data.mkdir()

    def file(self):
        """The WSGI file, with our folder in it."""
        folder = self.place.folder / "source"
        folder.mkdir()
        copy = folder / self.app.name
        copy.write_text(substitute(self.app.read_text(),
                                   {self.data_word: self.data}))
        return copy

    def prepare(self):
        """The data that the server has at the start."""

    def own_server(self):
        """Starts it; its port."""
        raise NotImplementedError

    def use(self, client):
        raise NotImplementedError


class Mercurial(Program):
    """hg clone, push and pull, and hgweb's pages. From Mercurial 7 on hgweb
    fails, its own server as well, where a file's name in a header is not ASCII:
    then all fail in the same way."""

    app = EXAMPLES / "hgweb.wsgi"
    data_word = "/srv/hg"
    setups = "nginx/mount.conf", "apache/cgi.conf cgid"
    path = own_path = "/project"
    env = {"HGPLAIN": "1", "HGRCPATH": "", "HGENCODING": "UTF-8",
           "HGUSER": "A <a@example.org>"}
    random = [r'W/"\d+"']  # when the repository was written to
    ascii_only = version_of("hg", "--version") >= (7,)
    logged = ["UnicodeDecodeError", "Traceback"] if ascii_only else []

    def prepare(self):
        self.repository = self.data / "project"
        (self.data / "hgweb.config").write_text(
            "[paths]\nproject = %s\n[web]\nallow-push = *\npush_ssl = no\n"
            "encoding = UTF-8\n" % self.repository)
        hg = [self.place.need("hg"), "-R", self.repository]
        env = {**os.environ, **self.env}
        subprocess.run([hg[0], "init", self.repository], env=env, check=True)
        subprocess.run([*hg, "debugbuilddag", "-n", "+40:a +10 <a +10"],
                       env=env, check=True)

    def own_server(self):
        return start_python(self.place, "hg", lambda port: [
            self.place.need("hg"), "serve", "--web-conf",
            self.data / "hgweb.config", "-a", "127.0.0.1", "-p", port])

    def use(self, client):
        first, second = client.folder / "first", client.folder / "second"
        client.run("hg", "clone", client.url, first)
        sizes = {"empty": 0, "a b/%20.bin": 700, "a b/\u00fc%20.bin": 5000,
                 "big": 3 << 19}
        fill(first, sizes)
        for words in (["commit", "-A", "-m", "more", "-d", "1 0"],
                      ["bookmark", "here"], ["push", "-B", "here"]):
            client.run("hg", "-R", first, *words)
        client.run("hg", "identify", "--id", client.url)

        client.run("hg", "clone", client.url, second)
        client.run("hg", "-R", second, "verify")
        log = ["log", "-T", "{node} {p1node} {bookmarks} {desc}\n"]
        assert client.run("hg", "-R", second, *log) == \
            client.run("hg", "-R", self.repository, *log)
        for name in sizes:
            assert (second / name).read_bytes() == (first / name).read_bytes()

        # Not as HTML, which has a link for each part of the URL.
        for page in ("?cmd=capabilities", "/raw-log", "/file/tip?style=raw",
                     "/raw-file/tip/a%20b/%2520.bin", "/raw-rev/0",
                     "/raw-file/tip/big"):
            client.ask(self.path + page, note=["Content-Type", "ETag"])
        page = self.path + "/raw-file/tip/a%20b/%C3%BC%2520.bin"
        if self.ascii_only:
            assert client.site.ask(page).status == 500
        else:
            client.ask(page, note=["Content-Type", "ETag"])


class Git(Program):
    """git clone and push, by smart HTTP; a push of unknown length."""

    app = EXAMPLES / "git.wsgi"
    data_word = "/srv/git"
    setups = ("apache/proxy-fcgi.conf", "lighttpd/mount.conf",
              "nginx/stream.conf")
    path = "/project.git"
    env = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
           "GIT_TERMINAL_PROMPT": "0",
           **{"GIT_%s_%s" % (who, what): value
              for who in ("AUTHOR", "COMMITTER") for what, value in
              [("NAME", "A"), ("EMAIL", "a@example.org"),
               ("DATE", "1000000000 +0000")]}}

    def git(self, *words):
        return subprocess.run(
            [self.place.need("git"), *words], env={**os.environ, **self.env},
            check=True, stdout=subprocess.PIPE, text=True).stdout

    def prepare(self):
        self.repository = self.data / "project.git"
        work = self.place.folder / "work"
        self.git("init", "-q", "-b", "main", work)
        fill(work, {"file %d" % i: 100 + i for i in range(50)})
        self.git("-C", work, "add", ".")
        self.git("-C", work, "commit", "-q", "-m", "first")
        self.git("clone", "-q", "--bare", work, self.repository)

    def own_server(self):
        return start_python(self.place, "dulwich", lambda port: [
            sys.executable, "-m", "dulwich.web", "-l", "127.0.0.1",
            "-p", port, self.repository])

    def use(self, client):
        first, second = client.folder / "first", client.folder / "second"
        push = ["git", "-C", first, "push", "-v", "--no-progress"]
        client.run("git", "clone", "--no-progress", client.url, first)
        fill(first, {"a b/\u00fc%20.bin": 5000, "empty": 0})
        client.run("git", "-C", first, "add", ".")
        client.run("git", "-C", first, "commit", "-m", "more")
        client.run(*push, "origin", "main")
        fill(first, {"big": 3 << 20})
        client.run("git", "-C", first, "add", ".")
        client.run("git", "-C", first, "commit", "-m", "big")
        client.run("git", "-c", "http.postBuffer=65536", *push[1:],
                   "origin", "main", "main:refs/heads/other")
        assert any("git-receive-pack (chunked)" in x for x in client.notes)
        client.run("git", "-C", first, "tag", "v1")
        client.run(*push, "origin", "v1", ":other")
        client.run("git", "-C", first, "fetch", "origin")

        client.run("git", "clone", "--no-progress", client.url, second)
        heads = [client.run("git", "-C", folder, "rev-parse", "HEAD", "v1")
                 for folder in (first, second, self.repository)]
        assert len(set(heads)) == 1
        for folder in (second, self.repository):
            client.run("git", "-C", folder, "fsck", "--strict", "--full",
                       "--no-progress")
        client.run("git", "-C", second, "status", "--porcelain")
        client.run("git", "ls-remote", client.url)


class Radicale(Program):
    """A calendar by CalDAV, with a password."""

    app = Path("/usr/share/radicale/radicale.wsgi")  # the package's own
    setups = "lighttpd/mount.conf", "apache/proxy-fcgi-mount.conf"
    path = own_path = "/"
    logged = [r"\[(INFO|WARNING)\] (Failed login attempt|Bad PUT request"
              "|Login verification|Precondition failed on PUT request"
              "|Storage location subfolder|Logging of backtrace)"]
    random = [r"\w+, \d+ \w+ \d+ \d+:\d+:\d+ GMT", r"(?<=/ns/sync/)\w+"]

    def __init__(self, place):
        super().__init__(place)
        self.config = place.folder / "radicale.conf"
        self.options = ("--set", "RADICALE_CONFIG=%s" % self.config)

    def file(self):
        return self.app

    def prepare(self):
        users = self.place.folder / "users"
        users.write_text("alice:se:cr\u00e4t\n")
        self.config.write_text(
            "[auth]\ntype = htpasswd\nhtpasswd_filename = %s\n"
            "htpasswd_encryption = plain\ndelay = 0\n"
            "[storage]\nfilesystem_folder = %s\n"
            "[logging]\nlevel = warning\n" % (users, self.data))

    def own_server(self):
        return start_python(self.place, "radicale", lambda port: [
            self.place.need("radicale"), "--config", self.config,
            "--server-hosts", "127.0.0.1:%d" % port])

    EVENT = "\r\n".join([
        "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//a//b//EN", "BEGIN:VEVENT",
        "UID:%(uid)s", "DTSTAMP:20260101T000000Z", "DTSTART:%(day)sT100000Z",
        "DTEND:%(day)sT110000Z", "SUMMARY:%(text)s", "END:VEVENT",
        "END:VCALENDAR", ""])

    def use(self, client):
        self.use_caldav(client)
        self.use_requests(client)

    def use_caldav(self, client):
        import caldav

        def day(n):
            return datetime(2026, 3, n, tzinfo=timezone.utc)

        event = {"uid": "one", "day": "20260301", "text": "T\u00e9a at 5"}
        with caldav.DAVClient(client.url, username="alice",
                              password="se:cr\u00e4t") as dav:
            user = dav.principal()
            calendar = user.make_calendar("Days \u20ac", cal_id="days")
            for i in range(5):
                calendar.save_event(self.EVENT % {
                    **event, "uid": "e%d" % i, "day": "2026030%d" % (i + 1)})
            client.note(*(c.name for c in user.calendars()))
            found = calendar.events()
            assert len(found) == 5
            client.note(*sorted(e.data for e in found))
            found = calendar.date_search(day(2), day(4), expand=False)
            assert len(found) == 2
            client.note(*sorted(str(e.url) for e in found))
            for one in found:
                one.delete()
            assert len(calendar.events()) == 3
        with pytest.raises(caldav.lib.error.AuthorizationError):
            caldav.DAVClient(client.url, username="alice",
                             password="wrong").principal()

    def use_requests(self, client):
        """The same, answer by answer."""
        known = {"Authorization": "Basic " + base64.b64encode(
            "alice:se:cr\u00e4t".encode()).decode()}
        shown = ["DAV", "Allow", "Content-Type", "ETag", "WWW-Authenticate",
                 "Location"]

        def ask(method, path, body=None, who=known, **more):
            return client.ask(path, method, body and body.encode(),
                              {**who, **more}, shown).status

        assert ask("PROPFIND", "/", who={}) == 401
        assert ask("PROPFIND", "/", who={"Authorization": "Basic eDp5"}) == 401
        for method, path in [("GET", "/"), ("OPTIONS", "/"),
                             ("GET", "/.well-known/caldav"),
                             ("PROPFIND", "/alice/"),
                             ("PROPFIND", "/alice/days/")]:
            ask(method, path, Depth="1")
        assert ask("MKCALENDAR", "/alice/two/") == 201
        text = self.EVENT % {"uid": "x", "day": "20260301", "text": "x" * 70000}
        url = "/alice/two/a%20b%25.ics"
        assert ask("PUT", url, text, **{"Content-Type": "text/calendar"}) == 201
        assert ask("PUT", url, text, **{"If-None-Match": "*"}) == 412
        assert ask("PUT", "/alice/two/bad.ics", "no calendar") == 400
        for method in ("GET", "HEAD", "PROPFIND"):
            ask(method, url)
        ask("REPORT", "/alice/two/", """<?xml version="1.0"?>
            <C:calendar-query xmlns:D="DAV:"
                              xmlns:C="urn:ietf:params:xml:ns:caldav">
            <D:prop><D:getetag/><C:calendar-data/></D:prop>
            <C:filter><C:comp-filter name="VCALENDAR"/></C:filter>
            </C:calendar-query>""", Depth="1")
        assert ask("MOVE", url, Destination="http://127.0.0.1:%d%s%s" % (
            client.site.port, client.site.prefix, "/alice/two/c.ics")) == 201
        assert ask("DELETE", "/alice/two/c.ics") == 200
        assert ask("DELETE", "/alice/two/c.ics") == 404
        assert ask("DELETE", "/alice/two/") == 200


class Xandikos(Program):
    app = EXAMPLES / "xandikos.wsgi"
    data_word = "/srv/dav"
    path = own_path = "/user/"
    options = ("--threads", "1")  # as the example says
    logged = ["WARNING:root:[Cc]lient .* unknown property"]

    def own_server(self):
        return start_python(self.place, "xandikos", lambda port: [
            self.place.need("xandikos"), "-l", "127.0.0.1", "-p", port,
            "-d", self.data, "--autocreate", "--defaults"])


class Litmus(Xandikos):
    """The WebDAV test suite, test by test."""

    setups = "nginx/socket.conf", "lighttpd/socket.conf"
    TEST = re.compile(r" *(\d+)\. (\w+)\.* (.*)")

    def use(self, client):
        said = client.run("litmus", "-k", client.url, noted=False)
        suite, names = "", []
        for line in said.split("\n"):
            line = line.rpartition("\r")[2]
            # A name that litmus has freed by then.
            line = re.sub("LOCK on .* via", "LOCK on ? via", line)
            if line.startswith("-> running"):
                suite = line.split("`")[1].rstrip("':")
            match = self.TEST.match(line)
            names += [suite + " " + match[2]] if match else []
            client.note(suite + ": " + line)
        assert len(names) == 16 + 13 + 30 + 41 + 4
        assert sum(map(int, re.findall(r"(\d+) passed", said))) >= 40


class Rclone(Xandikos):
    """A tree of files by WebDAV, there and back. Xandikos answers PROPFIND of
    what is not there with 207, which is a file to rclone: so the folders are
    made before. And as a WSGI application it takes PATH_INFO's latin-1 for the
    name of a file: so the names are ASCII. And it refuses rclone's PROPFIND,
    which has no body and no Content-Type, where the server does not say that
    its length is 0, as nginx and mod_proxy_fcgi do not."""

    setups = "lighttpd/bin-path.conf", "apache/fcgid.conf"

    def use(self, client):
        tree = client.folder / "tree"
        sizes = [0, 1, 100, 5000, 70000]
        fill(tree, {"d%d/s %d/f%d %%25&.bin" % (i % 4, i % 3, i):
                    sizes[i % 5] for i in range(200)})
        for folder in sorted(p for p in [tree, *tree.rglob("*")]
                             if p.is_dir()):
            name = str(folder.relative_to(client.folder)).replace(" ", "%20")
            assert client.ask("/user/%s/" % name, "MKCOL").status == 201
        config = client.folder / "rclone.conf"
        config.write_text("[dav]\ntype = webdav\nurl = %s\nvendor = other\n"
                          % client.url)
        rclone = ["rclone", "--config", config, "--retries", "1",
                  "--transfers", "1"]  # bin-path.conf has four threads
        client.run(*rclone, "copy", tree, "dav:tree")
        client.run(*rclone, "copy", "dav:tree", client.folder / "back")
        client.run("diff", "-r", "tree", "back")
        assert len(list((client.folder / "back").rglob("*.bin"))) == 200
        client.run(*rclone, "check", "--download", "--differ", "-", tree,
                   "dav:tree", noted=False)
        client.note(*sorted(client.run(
            *rclone, "lsf", "-R", "--format", "ps", "dav:tree",
            noted=False).splitlines()))


PROGRAMS = [Mercurial, Git, Radicale, Litmus, Rclone]


# --- the tests ------------------------------------------------------------------

def notes_of(program_class, binary, need, setup=None):
    """What the clients say behind this setup, or to the program's own server.
    Everything is new: the data, the server, the client."""
    with open_place(binary, need) as place:
        program = program_class(place)
        program.prepare()
        if setup is None:
            place.logs.allow("")  # what it writes is not ours to judge
            site, path = Site(program.own_server()), program.own_path
        else:
            if setup.file in AS_WWW_DATA:
                give_away(program.data)
            place.logs.allow(*program.logged)
            if program.logged:      # exit code of a CGI process whose page failed
                place.right_codes["orphan"] = (1,)
            # Its way to say that the last client has just hung up.
            place.right_codes["lighttpd"] = (1,)
            setup = change(setup, app=program.file(),
                           options=(*setup.options, *program.options))
            site = Site(setup.start(place, setup)[1], setup.prefix)
            path = program.path
        client = Client(place, site, path, program)
        program.use(client)
        return client.notes


@pytest.fixture(scope="session")
def own_notes(binary, need):
    """own_notes(program): those of its own server, made once."""
    known = {}

    def notes(program):
        if program not in known:
            known[program] = notes_of(program, binary, need)
        return known[program]
    return notes


@pytest.mark.parametrize("program, setup", [
    pytest.param(program, SETUP[name],
                 id="%s-%s" % (program.__name__, name.replace(" ", "-")),
                 marks=pytest.mark.xdist_group(program.__name__))
    for program in PROGRAMS for name in program.setups])
def test_program(program, setup, own_notes, binary, need):
    """W28: as to its own server, whatever lies between."""
    own = own_notes(program)
    notes = notes_of(program, binary, need, setup)
    for pair in zip(notes, own):
        assert pair[0] == pair[1]
    assert len(notes) == len(own)


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob("*.wsgi")} == \
        {program.app.name for program in PROGRAMS
         if program.app.parent == EXAMPLES}
