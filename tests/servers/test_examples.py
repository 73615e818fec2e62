"""Every example application, in every way to deploy it behind lighttpd.

cgi           a script whose first line the kernel runs
bin-path      lighttpd starts it
spawn-fcgi    spawn-fcgi under supervisord makes the socket
fcgi-program  supervisord makes the socket
"""

import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys

import pytest

from harness import EXAMPLES


def check_hello(site, place):
    got = site.ask()
    assert (got.status, got.text) == (200, "Hello from wsgi-cgi\n")
    assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
    got = site.ask(method="HEAD")
    assert (got.status, got.body) == (200, b"")
    assert got.headers["Content-Length"] == "20"


def check_dynamic(site, place):
    got = site.ask("/")
    assert got.status == 200 and "<h1>Start</h1>" in got.text
    link = re.search('href="([^"]*greet[^"]*)"', got.text)[1]
    assert link.startswith(site.prefix + "/")  # it leads to the page below
    got = site.ask(link[len(site.prefix):])
    assert got.status == 200 and "Hello, you!" in got.text
    got = site.ask("/greet?name=%3Cb%3E%E2%82%AC")
    assert "Hello, &lt;b&gt;\u20ac!" in got.text
    got = site.ask("/no/such%20p%C3%A4ge")
    assert got.status == 404
    assert "no page at /no/such p\u00e4ge." in got.text


def check_headers(site, place):
    got = site.ask(headers={"X-Mine": "my own", "Authorization": "Basic dTpw"})
    assert got.status == 200
    assert got.headers["X-Example"] == "one of my own"
    assert [c.split(";")[0] for c in got.headers.get_all("Set-Cookie")] == \
        ["first=1", "second=2"]
    lines = got.text.splitlines()
    assert "X-Mine: my own" in lines
    assert not [x for x in lines if x.startswith(("Authorization", "Cookie"))]


def log_of_process(place):
    """What has no request to log it; of the application behind a relay, its own."""
    return "wsgi-cgi.out" if place.logs.text("wsgi-cgi.out") else "app.log"


def check_middleware(site, place):
    got = site.ask()
    assert (got.status, got.text) == (200, "Hello from wsgi-cgi\n")
    assert got.headers["X-Counted"] == "yes"
    # close() runs when the response is out: no request is there to log it.
    place.logs.wait_for("middleware: GET /: 20 bytes", log_of_process(place))


def check_after(site, place):
    assert site.ask("/x").text == "We will think about it.\n"
    place.logs.wait_for("after: the answer is 57a7ce5e", log_of_process(place))


def check_upload(site, place):
    assert site.ask().text == "Send a body, please.\n"
    for size in (0, 1, 16 * 1024, 1024 * 1024):
        body = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
        for method in ("POST", "PUT"):
            got = site.ask(method=method, body=body)
            assert (got.status, got.text) == (200, "size %d\nsha256 %s\n" % (
                size, hashlib.sha256(body).hexdigest()))


def check_stream(site, place):
    got = site.ask("/?lines=3&pause=0")
    assert (got.status, got.text) == (200, "line 1\nline 2\nline 3\n")
    place.logs.wait_for("stream: 3 of 3 lines", site.log)
    assert site.ask("/?lines=x&pause=0").text.count("\n") == 5


def check_flask(site, place):
    got = site.ask("/")
    assert got.status == 200
    link = re.search('href="([^"]*)"', got.text)[1]
    assert link == site.prefix + "/greet/you"
    assert site.ask("/greet/you").text == "Hello, you!\n"
    got = site.ask("/greet/%C3%A9t%C3%A9")
    assert got.text == "Hello, \u00e9t\u00e9!\n"
    got = site.ask("/sum", "POST", json.dumps([1, 2, 39]),
                   {"Content-Type": "application/json"})
    assert json.loads(got.text) == {"sum": 42}
    assert site.ask("/missing").status == 404
    assert site.ask("/sum").status == 405


def check_asgi(site, place):
    got = site.ask("/p%20q", "POST", b"x" * 100000)
    assert (got.status, got.text) == (200, "POST %s/p q, 100000 bytes\n"
                                      % site.prefix)


def check_django(site, place):
    got = site.ask("/")
    assert got.status == 200
    assert 'Mounted at "%s"' % site.prefix in got.text
    link = re.search('href="([^"]*)">A form', got.text)[1]
    assert link == site.prefix + "/greet/"

    form = site.ask("/greet/")
    token = re.search('name="csrfmiddlewaretoken" value="([^"]*)"',
                      form.text)[1]
    cookie = form.headers["Set-Cookie"].split(";")[0]
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    got = site.ask("/greet/", "POST", "name=Zo%C3%AB&csrfmiddlewaretoken="
                   + token, {**kind, "Cookie": cookie})
    assert got.status == 200 and "Hello, Zo\u00eb!" in got.text
    got = site.ask("/greet/", "POST", "name=x", kind)
    assert got.status == 403

    body = b"--b\r\nContent-Disposition: form-data; name=" \
        b'"csrfmiddlewaretoken"\r\n\r\n' + token.encode() + \
        b'\r\n--b\r\nContent-Disposition: form-data; name="file"; ' \
        b'filename="photo.bin"\r\n\r\n' + b"\x00\xff\r\n" * 50000 + \
        b"\r\n--b--\r\n"
    got = site.ask("/upload/", "POST", body, {
        "Content-Type": "multipart/form-data; boundary=b", "Cookie": cookie})
    assert (got.status, got.text) == (201, "stored photo.bin, 200000 bytes\n")
    stored = list(place.folder.rglob("uploads/*"))
    assert [p.name for p in stored] == ["photo.bin"]
    assert stored[0].read_bytes() == b"\x00\xff\r\n" * 50000

    assert site.ask("/nowhere/").status == 404
    place.logs.expect("WARNING django.(security.csrf|request): Forbidden",
                      "WARNING django.request: Not Found: .*/nowhere/")


CHECKS = {
    "hello.py": check_hello,
    "dynamic.py": check_dynamic,
    "headers.py": check_headers,
    "middleware.py": check_middleware,
    "after.py": check_after,
    "upload.py": check_upload,
    "stream.py": check_stream,
    "flask_app.py": check_flask,
    "asgi.py": check_asgi,
    "django_app": check_django,
}


# Not in every release of Debian that the tests run on.
NEEDS = {"asgi.py": "a2wsgi"}


def need_module(name):
    """Skips where the system's Python, which is the program's as well, has not
    got what the example needs."""
    module = NEEDS.get(name)
    if module and importlib.util.find_spec(module) is None:
        pytest.skip("%s is not installed: Debian has python3-%s from 13 on"
                    % (module, module))


@pytest.mark.parametrize("name", CHECKS)
def test_example(name, deploy, place):
    need_module(name)
    site = deploy(EXAMPLES / name)
    CHECKS[name](site, place)
    CHECKS[name](site, place)  # the second time with all that is cached


def test_every_example_is_run():
    there = {p.name for p in EXAMPLES.glob("*.py")}
    there |= {p.parent.name for p in EXAMPLES.glob("*/wsgi.py")}
    assert there == set(CHECKS)


@pytest.mark.parametrize("name", [n for n in CHECKS if n.endswith(".py")])
def test_example_imports_as_it_is(name):
    """To Python the #! line is a comment: nothing of ours is needed."""
    need_module(name)
    assert (EXAMPLES / name).read_text().startswith(
        "#!/usr/local/bin/wsgi-cgi\n")
    said = subprocess.run(
        [sys.executable, "-c", "import %s as m; print(callable("
         "getattr(m, 'application', None) or m.app))" % name[:-3]],
        cwd=EXAMPLES, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE, check=True, text=True)
    assert said.stdout == "True\n"
