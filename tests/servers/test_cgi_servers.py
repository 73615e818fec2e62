"""A look at the small CGI servers: mini_httpd and busybox httpd.

mini_httpd has one pipe for standard output and standard error; busybox takes
Status only from the first line."""

import json

import pytest

import fronts
from harness import APPS, EXAMPLES, Site


@pytest.fixture(params=["mini_httpd", "busybox", "mini_httpd-relay",
                        "busybox-relay"])
def cgi_server(request, place):
    program, _, relay = request.param.partition("-")
    start_server = getattr(fronts, program)
    folder = place.root / "cgi-bin"
    folder.mkdir()

    def start(source):
        options = []
        if relay:
            place.gateway(place.copy_app(source))
            options = ["--relay", str(place.socket)]
        script = place.copy_app(source, options, folder)
        port = start_server(place, "%s/httpd.sh" % program)
        return Site(port, "/cgi-bin/" + script.name)
    start.program = program
    return start


def test_hello(cgi_server):
    site = cgi_server(EXAMPLES / "hello.py")
    for _ in range(3):
        got = site.ask("")
        assert (got.status, got.text) == (200, "Hello from wsgi-cgi\n")


def test_probe(cgi_server, place):
    site = cgi_server(APPS / "probe.py")
    env = json.loads(site.ask("/a%20b?x=1").body)
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == (site.prefix, "/a b")
    assert env["QUERY_STRING"] == "x=1"
    assert env["SERVER_NAME"] and env["SERVER_PORT"]
    assert ":" not in env["SERVER_NAME"]
    assert json.loads(site.ask("").body)["PATH_INFO"] == ""
    assert site.ask("/large").body == b"\x00\xff" * (1 << 19)
    got = site.ask("/redirect")
    assert got.status == 302


def test_what_is_said_does_not_spoil_the_answer(cgi_server, place):
    site = cgi_server(APPS / "probe.py")
    assert site.ask("/speak").text == "spoken\n"
    if cgi_server.program == "busybox":  # it hands its standard error on
        place.logs.expect("said to wsgi.errors")
        place.logs.wait_for("said by print$", "busybox.out")


def test_the_log_is_not_sent_to_the_client(cgi_server, place):
    """To the last byte of the connection, beyond any Content-Length: with
    mini_httpd whatever goes to standard error would be part of it."""
    site = cgi_server(APPS / "probe.py")
    place.right_codes["orphan"] = (1,)
    place.logs.allow("said to wsgi.errors", "Traceback", "wsgi-cgi.*: error: ",
                     "RuntimeError.*broken on purpose")
    for path in ("/speak", "/crash"):
        with site.send_raw(b"GET %s HTTP/1.0\r\n\r\n"
                           % (site.prefix + path).encode()) as conn:
            answer = conn.makefile("rb").read()
        assert answer.startswith(b"HTTP/1."), answer
        for word in (b"said ", b"Traceback", b"on purpose", b"wsgi-cgi["):
            assert word not in answer, answer


def test_after_response(cgi_server, place):
    """The client does not wait for wsgi_cgi.after_response."""
    cgi_server(APPS / "probe.py").check_after(place.run_dir / "after")


def test_exception(cgi_server, place):
    site = cgi_server(APPS / "probe.py")
    # The script ends with 1; the servers' children do not always wait for it.
    place.right_codes["orphan"] = (1,)
    got = site.ask("/crash")
    assert got.status == 500
    assert "broken on purpose" not in got.text
    if cgi_server.program == "busybox":
        place.logs.expect("Traceback", "RuntimeError.*broken on purpose",
                          "wsgi-cgi.*: error: ")
