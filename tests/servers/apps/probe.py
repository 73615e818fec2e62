"""What the tests ask of an application that the examples do not show."""

import json
import sys
import time
from pathlib import Path


def environ_page(environ, start_response):
    """All strings of environ."""
    shown = {k: v for k, v in environ.items() if isinstance(v, str)}
    body = json.dumps(shown).encode("ascii")
    start_response("200 OK", [("Content-Type", "application/json"),
                              ("Content-Length", str(len(body)))])
    return [body]


def speak(environ, start_response):
    """One line by each way to the log."""
    print("said by print")
    print("said to sys.stderr", file=sys.stderr)
    environ["wsgi.errors"].write("said to wsgi.errors \u20ac\n")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"spoken\n"]


def crash(environ, start_response):
    raise RuntimeError("broken on purpose")


def crash_late(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("Content-Length", "1000")])
    yield b"x" * 500
    raise RuntimeError("broken half way")


def nothing(status):
    def page(environ, start_response):
        start_response(status, [("X-Probe", "nothing")])
        return []
    return page


def large(environ, start_response):
    """1 MiB, and its length."""
    start_response("200 OK", [("Content-Type", "application/octet-stream"),
                              ("Content-Length", str(1 << 20))])
    return [b"\x00\xff" * (1 << 19)]


def slow(environ, start_response):
    """Says when it has begun, and takes a second more."""
    environ["wsgi.errors"].write("slow has begun\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", [("Content-Type", "text/plain")])
    time.sleep(1)
    return [b"slow\n"]


def redirect(environ, start_response):
    start_response("302 Found", [("Location", environ["SCRIPT_NAME"] + "/x"),
                                 ("Content-Length", "0")])
    return []


def unread(environ, start_response):
    """Answers without a look at the body."""
    body = b"no, thank you\n"
    start_response("403 Forbidden", [("Content-Type", "text/plain"),
                                     ("Content-Length", str(len(body)))])
    return [body]


def work(folder):
    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    (folder / "done").touch()


def after(environ, start_response):
    """Answers, and works on until there is a file "go" in the folder that the
    query string names."""
    environ["wsgi_cgi.after_response"](work, Path(environ["QUERY_STRING"]))
    body = b"answered\n"
    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("Content-Length", str(len(body)))])
    return [body]


PAGES = {
    "/speak": speak, "/crash": crash, "/crash-late": crash_late,
    "/204": nothing("204 No Content"), "/304": nothing("304 Not Modified"),
    "/large": large, "/slow": slow, "/redirect": redirect, "/unread": unread,
    "/after": after,
}


def application(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"], environ_page)
    return page(environ, start_response)
