"""A look at the other servers: HAProxy. Version 2.6 dies of a response head in
two pieces and of much FCGI_STDERR: it must survive all that applications do."""

import json

import pytest

import fronts
from harness import APPS, EXAMPLES, Site


@pytest.fixture
def haproxy(place):
    def start():
        port = fronts.haproxy(place, "haproxy/root.cfg", socket=place.socket)
        return place.servers[-1], Site(port)
    return start


def test_hello(place, haproxy):
    place.gateway(place.copy_app(EXAMPLES / "hello.py"))
    _, site = haproxy()
    for _ in range(100):
        assert site.ask().text == "Hello from wsgi-cgi\n"
    got = site.ask(method="HEAD")
    assert (got.status, got.body) == (200, b"")


def test_probe(place, haproxy):
    place.gateway(place.copy_app(APPS / "probe.py"))
    server, site = haproxy()
    place.logs.expect("Traceback", "RuntimeError.*broken on purpose",
                      "RuntimeError.*broken half way", "wsgi-cgi.*: error: ",
                      "said to wsgi.errors")
    got = site.ask("/a%20b?x=1", headers={
        "Authorization": "Bearer t0ken", "Host": "h.example:8443"})
    env = json.loads(got.body)
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("", "/a b")
    assert env["HTTP_AUTHORIZATION"] == "Bearer t0ken"
    assert env["SERVER_NAME"] == "h.example"

    assert json.loads(site.ask(method="POST", body=b"x" * 1_000_000).body)[
        "CONTENT_LENGTH"] == "1000000"
    for _ in range(5):
        assert site.ask("/crash").status == 500
        assert site.ask("/speak").text == "spoken\n"
        assert site.ask("/204").status == 204
        assert site.ask("/redirect").status == 302
        assert site.ask("/large").body == b"\x00\xff" * (1 << 19)
        assert site.ask("/large", "HEAD").status == 200
        assert site.ask("/unread", "POST", b"u" * 300_000).status == 403
        with site.send_raw(b"GET /crash-late HTTP/1.0\r\n\r\n") as conn:
            answer = conn.makefile("rb").read()
        assert len(answer.partition(b"\r\n\r\n")[2]) < 1000
    # Nothing of it goes by FCGI_STDERR here: it is in the process' own.
    for words in ("broken on purpose", "broken half way", "said by print",
                  "said to wsgi.errors"):
        place.logs.wait_for(words, "wsgi-cgi.out")
    assert server.is_running()
