"""URLs that the web server leads to one script: the table "rewrites x cases" at
the end of "make check-servers".

A row is a set-up of rewrites.py, with --mount; its application (apps/links.py) is
a Flask site whose links and redirects must lead back to it. Rows of the checklist:
X1 to X6.
"""

import contextlib
import json
import re
import socket
from importlib.metadata import version
from urllib.parse import quote, unquote, urljoin

import pytest

from harness import APPS, DEADLINE, Site
from place import open_place
from rewrites import SETUPS

SECRET = "only for administrators"  # links.py has it below /admin
TITLE = "rewrites x cases"


def werkzeug():
    """Its version, as a pair of numbers."""
    return tuple(int(word) for word in version("werkzeug").split(".")[:2])


def column(name, only=lambda setup: True):
    def wrap(test):
        test.column, test.only = name, only
        return test
    return wrap


def pytest_generate_tests(metafunc):
    test = metafunc.function
    if "running" in metafunc.fixturenames:
        metafunc.parametrize("running", [
            pytest.param(setup, id=re.sub(r"\W+", "-", setup.name),
                         marks=pytest.mark.xdist_group(setup.name))
            for setup in SETUPS if test.only(setup)],
            indirect=True, scope="module")


class Running:
    def __init__(self, place, setup):
        self.place, self.setup = place, setup
        self.site = Site(setup.start(place, setup), setup.prefix)
        self.origin = "http://127.0.0.1:%d" % self.site.port
        self.home = self.origin + setup.prefix

    def follow(self, url, method="GET", body=None):
        """The answer at this absolute URL, behind redirects."""
        for _ in range(5):
            assert url.startswith(self.home), url
            path = url[len(self.home):]
            got = self.site.ask(path, method, body, {
                "Content-Type": "application/x-www-form-urlencoded"}
                if body else {})
            if got.status not in (301, 302, 303, 307, 308):
                return got
            url = urljoin(url, got.headers["Location"])
            if got.status in (302, 303):
                method, body = "GET", None
        raise AssertionError("too many redirects: %s" % url)

    def page(self, path):
        """What the page says of itself."""
        got = self.site.ask(path)
        assert got.status == 200, (path, got)
        return json.loads(got.body)

    def raw(self, target):
        """(status, body) of a request line that no client would send."""
        with socket.create_connection(("127.0.0.1", self.site.port),
                                      DEADLINE) as conn:
            conn.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                         b"Connection: close\r\n\r\n" % (
                             target.encode(), self.site.port))
            answer = conn.makefile("rb").read().decode("latin-1")
        assert answer.startswith("HTTP/1."), (target, answer)
        return int(answer.split()[1]), answer


@pytest.fixture(scope="module")
def running(request, binary, need):
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(open_place(binary, need))
        yield Running(place, request.param)


@pytest.fixture
def deviates(request):
    cell = dict(request.node.user_properties)["cell"]

    def say(text):
        cell[2] = text
    return say


@column("environ")
def test_environ(running):
    """X1-X6: SCRIPT_NAME is the mount, PATH_INFO the rest of what was asked for,
    decoded once."""
    for path in ("/page/x", "/page/a%20b/%C3%A9", "/page/x%2541",
                 "/page/a+b%2B&=;:@", "/page/%E2%82%AC/", "/page/app.cgi/x",
                 "/page/%23"):
        said = running.page(path)
        environ = said["environ"]
        assert environ["SCRIPT_NAME"] == running.setup.prefix, path
        assert environ["PATH_INFO"] == \
            unquote(path, "latin-1", "strict"), (path, environ["PATH_INFO"])
        assert unquote(said["rebuilt"]) == \
            unquote(running.setup.prefix + path), path
        assert said["name"] == unquote(path[len("/page/"):]), path


@column("links")
def test_links(running):
    """Those of the first page, followed."""
    got = running.site.ask("/")
    assert got.status == 200, got
    links = dict((name, url) for url, name in
                 re.findall('<a href="(.*)">(.*)</a>', got.text))
    assert links["start"] == running.setup.prefix + "/"
    assert links["external"] == running.home + "/page/z"
    for name, url in links.items():
        assert running.setup.script == "" or running.setup.script not in url
        url = urljoin(running.home + "/", url)
        if "%3F" in url and running.setup.question != 200:
            url = url.replace("%3F", "")
        got = running.follow(url)
        assert got.status == 200, (name, url, got)
        if name != "start":
            # The page's own links are the one that led to it.
            there = json.loads(got.body)
            assert urljoin(url, there["here"]) == url.partition("?")[0]
            shown, sent = quote(there["url"], ":/%"), url.partition("?")[0]
            if werkzeug() >= (2, 3):  # it shows "%2541" as "A"
                shown, sent = unquote(unquote(shown)), unquote(unquote(sent))
            assert shown == sent


@column("redirects")
def test_redirects(running):
    """Of the application and of its framework, followed; a POST as well."""
    got = running.site.ask("/go")
    assert got.status == 302
    location = urljoin(running.home + "/go", got.headers["Location"])
    assert location == running.home + "/page/there/%C3%A9"
    assert json.loads(running.follow(location).body)["name"] == "there/\u00e9"
    got = running.site.ask("/folder?x=1")
    assert got.status == 308
    location = urljoin(running.home + "/folder", got.headers["Location"])
    assert location == running.home + "/folder/?x=1"
    assert running.follow(location).text == "in the folder\n"
    got = running.follow(running.home + "/form", "POST", b"name=new%2Fone")
    assert json.loads(got.body)["name"] == "new/one"


@column("query")
def test_query(running):
    said = running.page("/page/x?a=b&c=%20&d=%2F%3F")
    assert said["args"] == {"a": "b", "c": " ", "d": "/?"}
    assert said["environ"]["QUERY_STRING"] == "a=b&c=%20&d=%2F%3F"


@column("old", lambda setup: setup.old)
def test_rewrite_that_is_meant(running):
    """/old/x leads to /page/x, and the page makes the links that lead there."""
    said = running.page("/old/x%20y?a=b")
    assert (said["name"], said["args"]) == ("x y", {"a": "b"})
    assert said["here"] == running.setup.prefix + "/page/x%20y"
    assert said["environ"]["SCRIPT_NAME"] == running.setup.prefix
    assert running.follow(urljoin(running.home, said["here"])).status == 200


@column("%25")
def test_percent_sign(running, deviates):
    """A server that decodes twice falls over one that means itself."""
    got = running.site.ask("/page/100%25")
    assert got.status == running.setup.percent, got
    if got.status == 200:
        assert json.loads(got.body)["name"] == "100%"
    else:
        deviates("%%25 in a path is a %d" % got.status)


@column("%3F")
def test_question_mark(running, deviates):
    got = running.site.ask("/page/a%3Fb")
    assert got.status == running.setup.question, got
    if got.status == 200:
        assert json.loads(got.body)["name"] == "a?b"
    else:
        running.place.logs.allow("%3f|AH10508")
        deviates("%%3F in a path is a %d" % got.status)


@column("%2F //")
def test_slashes(running, deviates):
    """As each server has them, else they are no page; never another page."""
    said = []
    for path, status, names in (
            ("/page/a%2Fb", running.setup.slash, ("a/b", "a%2Fb")),
            ("/page//a//b", running.setup.slashes, ("a/b", "/a//b"))):
        got = running.follow(running.home + path)
        assert got.status == status, (path, got)
        if status == 200:
            assert json.loads(got.body)["name"] in names
        else:
            said.append(path)
    if said:
        deviates("a 404: the server does not say how it has read them")


@column("file", lambda setup: setup.files)
def test_file(running):
    """A file is the web server's."""
    got = running.site.ask("/file.txt")
    assert (got.status, got.body) == (200, b"a file\n")


@column("own URL", lambda setup: setup.script)
def test_own_url_of_the_script(running):
    """It is no other way to the pages: the server has rules for theirs."""
    for path in ("", "/", "/page/x", "/go"):
        got = running.raw(running.setup.script + path)
        assert got[0] in (301, 308, 403, 404), (path, got)


def ways_around(prefix, script):
    """To /admin, past a rule for that path."""
    for way in ("/admin/x", "//admin/x", "/x/../admin/x", "/./admin/x",
                "/%61dmin/x", "/%2561dmin/x", "/%252561dmin/x", "%2Fadmin/x",
                "%252Fadmin/x", "/x/..%2Fadmin/x", "/x%2F..%2Fadmin/x",
                "/x%252F..%252Fadmin/x", "/%2e%2e/admin/x",
                "/x/%2e%2e/admin/x", "/x/%252e%252e/admin/x", "/admin%2Fx",
                "/admin%252Fx", "/admin%3Fx", "/admin%23x", "/admin%00x",
                "/admin#x", "/admin;x", "/%5cadmin/x", "/\\admin/x",
                "/x/..\\admin/x", "/admin/../admin/x", "//../admin/x",
                "/page/../admin/x", "/page//../admin/x", "/x?/../admin/x",
                # Behind what a server may take for the script.
                "/page/app.py/admin/x", "/old/app.py/admin/x",
                "/page/app.cgi/admin/x", "/old/app.cgi/admin/x"):
        yield prefix + way
        if script:
            yield script + way
            yield script.rpartition("/")[0] + way
    for start in {"", "/x/..", "/", prefix + "/x/..", "//x/.."}:
        for way in ("/admin/x", "//../admin/x", "/page/../admin/x"):
            yield start + (script or prefix) + way
            yield "http://127.0.0.1" + start + (script or prefix) + way
    for way in ("http://h/admin/x", "HTTP://h%s/admin/x" % prefix,
                "http://u:p@h%s/admin/x" % script, "http://h?%s/admin/x" % prefix,
                "http://h#%s/admin/x" % prefix, "%s/admin/x#%s/x" % (
                    script, prefix), "%s/admin/x?%s/x" % (script, prefix)):
        yield way


@column("rule", lambda setup: setup.rule)
def test_no_way_around_a_rule(running):
    """The server denies /admin by its path; no way of writing the URL, and not the
    script's own, gets there. That the page exists is seen without the rule."""
    running.place.logs.allow(
        "is outside --mount",
        "AH0012[68]|AH10244|AH00026|AH10508|AH10410|AH01630|invalid URI path"
        "|URL.*(not allowed|invalid)|client sent invalid|AH02429|AH00524"
        "|AH00566|unsafe|error, forbidding|AH00035|AH00036|\\[error\\] .*dmin")
    assert running.raw(running.setup.prefix + "/page/x")[0] == 200
    assert SECRET in (APPS / "links.py").read_text()
    assert SECRET not in running.raw(running.setup.prefix + "/admin/x")[1]
    for target in sorted(set(ways_around(running.setup.prefix,
                                         running.setup.script))):
        assert SECRET not in running.raw(target)[1], target
