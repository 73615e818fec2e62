"""What applications live through behind lighttpd, in every way to deploy them.

The probe application (apps/probe.py) answers; lighttpd runs the configurations
of examples/servers.
"""

import http.client
import json
import os
import re
import signal
import time

import pytest

from harness import (APPS, EXAMPLES, SERVERS, Site, as_server_user,
                     descendants, example, free_port, is_ours, unix_sockets,
                     wait_until)

PROBE = APPS / "probe.py"


def environ(site, path="/", **request):
    got = site.ask(path, **request)
    assert got.status == 200, got
    return json.loads(got.body)


# --- requests -----------------------------------------------------------------

def test_environ(deploy):
    """Path, query, headers: PEP 3333's variables as they were asked for."""
    site = deploy(PROBE)
    env = environ(site, "/a%20b/c%C3%A9?x=1&y=%20", headers={
        "X-Mine": "m", "Authorization": "Bearer t0ken", "Proxy": "evil",
        "Cookie": "a=1", "Host": "h.example:8443"})
    assert env["SCRIPT_NAME"] == site.prefix
    assert env["PATH_INFO"] == "/a b/c\u00c3\u00a9"
    assert env["QUERY_STRING"] == "x=1&y=%20"
    assert env["HTTP_X_MINE"] == "m"
    assert env["HTTP_AUTHORIZATION"] == "Bearer t0ken"
    assert env["HTTP_COOKIE"] == "a=1"
    assert env["HTTP_HOST"] == "h.example:8443"
    assert env["SERVER_NAME"] == "h.example"
    assert env["SERVER_PORT"] == str(site.port)
    assert env["wsgi.url_scheme"] == "http"
    assert "HTTP_PROXY" not in env


def test_post_has_no_http_content_headers(deploy):
    """W18: lighttpd sends HTTP_CONTENT_LENGTH, which all lints refuse."""
    env = environ(deploy(PROBE), method="POST", body=b"12345",
                  headers={"Content-Type": "text/x"})
    assert env["CONTENT_LENGTH"] == "5" and env["CONTENT_TYPE"] == "text/x"
    assert not [k for k in env if k.startswith("HTTP_CONTENT")]


def test_no_header_of_one_request_is_in_the_next(deploy):
    site = deploy(PROBE)
    assert environ(site, headers={"X-Once": "1"})["HTTP_X_ONCE"] == "1"
    assert "HTTP_X_ONCE" not in environ(site)


def test_query_that_looks_like_an_option(deploy):
    """C14: nothing of a query string is ever taken for an option."""
    site = deploy(PROBE)
    for query in ("-h", "--help", "-c+print(1)", "%2dh", "-", "--", "+-h",
                  "--version", "--bind=127.0.0.1:1", "-t+0"):
        env = environ(site, "/?" + query)
        # lighttpd decodes what needs no code: %2d is "-".
        assert env["QUERY_STRING"] == query.replace("%2d", "-")
        if site.prefix:  # SCRIPT_NAME alone
            assert environ(site, "?" + query)["PATH_INFO"] == ""


def test_options(deploy):
    """They stand in the #! line, in bin-path, in a supervisor's command."""
    site = deploy(PROBE, "--set", "MY_KEY=v1", "--limit-body", "10k",
                  "--threads", "1")
    assert environ(site)["MY_KEY"] == "v1"
    assert environ(site, method="POST", body=b"x" * 10240)["MY_KEY"] == "v1"
    assert site.ask(method="POST", body=b"x" * 10241).status == 413


def test_after_response(deploy, place):
    """The client does not wait for wsgi_cgi.after_response."""
    deploy(PROBE).check_after(place.folder / "after")


# --- bodies -------------------------------------------------------------------

def test_head_has_no_body(deploy):
    site = deploy(PROBE)
    with site.send_raw(b"HEAD %s/large HTTP/1.1\r\nHost: localhost\r\n"
                       b"Connection: close\r\n\r\n" % site.prefix.encode()) \
            as conn:
        answer = conn.makefile("rb").read()
    head, rest = answer.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 1048576" in head
    assert rest == b""


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body(status, deploy):
    got = deploy(PROBE).ask("/%d" % status)
    assert (got.status, got.body) == (status, b"")
    assert got.headers["X-Probe"] == "nothing"
    assert got.headers["Content-Length"] in (None, "0")


def test_large_response(deploy):
    got = deploy(PROBE).ask("/large")
    assert got.body == b"\x00\xff" * (1 << 19)


def test_redirect_reaches_the_client(deploy):
    """C18: a Location without a Status would be an internal redirect."""
    site = deploy(PROBE)
    got = site.ask("/redirect")
    assert got.status == 302
    assert got.headers["Location"].endswith(site.prefix + "/x")


def test_body_that_is_not_read(deploy):
    """C3, F12: an answer arrives although its request's body was not read."""
    site = deploy(PROBE)
    for _ in range(3):
        got = site.ask("/unread", "POST", b"u" * 1_000_000)
        assert (got.status, got.text) == (403, "no, thank you\n")
    assert site.ask().status == 200


@pytest.mark.parametrize("lint", ["wsgiref", "webtest", "paste"])
def test_lint(lint, deploy):
    """wsgiref.validate, webtest.lint and paste.lint find nothing."""
    site = deploy(APPS / "lints.py")
    for _ in range(2):
        got = site.ask("/%s/x?a=b" % lint)
        assert (got.status, got.body) == (200, b"<>")
        assert got.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        got = site.ask("/%s/" % lint, "HEAD")
        assert (got.status, got.body) == (200, b"")
        body = b"one\ntwo\nthree\n" + b"x" * 100_000
        got = site.ask("/%s" % lint, "POST", body,
                       {"Content-Type": "text/plain"})
        assert (got.status, got.body) == (200, b"<" + body + b">")


# --- errors and logs ----------------------------------------------------------

def error_id(answer):
    return re.search("Error id: <code>([a-z0-9]{8,})</code>", answer.text)[1]


def test_exception_is_a_500_with_its_id_in_the_log(deploy, place):
    site = deploy(PROBE)
    place.logs.expect("Traceback", "RuntimeError.*broken on purpose",
                      "wsgi-cgi.*: error: ")
    ids = set()
    for _ in range(2):
        got = site.ask("/crash")
        assert got.status == 500
        assert "broken on purpose" not in got.text
        assert "probe.py" not in got.text
        ids.add(error_id(got))
    assert len(ids) == 2  # another one each time
    for word in ids:
        place.logs.wait_for(word, site.log)
    place.logs.wait_for("RuntimeError.*broken on purpose", site.log)
    place.logs.wait_for("in crash", site.log)  # the line of the traceback
    assert site.ask().status == 200


def test_broken_application_is_a_500_with_its_id_in_the_log(place):
    """W66, C16: what cannot be imported still answers, and says why."""
    folder = place.root / "cgi-bin"
    folder.mkdir()
    script = place.copy_app(EXAMPLES / "hello.py", [], folder)
    with open(script, "a") as file:
        file.write("import no_such_module_at_all\n")
    place.logs.expect("ModuleNotFoundError.*no_such_module_at_all",
                      "Traceback", "wsgi-cgi.*: error: ")
    site = Site(place.lighttpd("lighttpd/cgi.conf",
                               breakage_log=place.logs.path("app.log")),
                "/cgi-bin/hello.py", "app.log")
    got = site.ask()
    assert got.status == 500
    assert "no_such_module_at_all" not in got.text
    place.logs.wait_for(error_id(got), site.log)


def test_what_is_said_reaches_the_log(deploy, place):
    """W32: print(), sys.stderr and wsgi.errors, in whole lines."""
    site = deploy(PROBE)
    place.logs.expect("said to wsgi.errors")
    assert site.ask("/speak").text == "spoken\n"
    place.logs.wait_for("said by print$", site.log)
    place.logs.wait_for("said to sys.stderr$", site.log)
    # lighttpd's log shows other bytes than ASCII as \\xNN.
    place.logs.wait_for(r"said to wsgi.errors (\u20ac|\\xe2\\x82\\xac)$", site.log)


def test_exception_half_way_does_not_look_whole(deploy, place):
    """W64: 500 bytes of 1000 are not a whole response."""
    site = deploy(PROBE)
    place.logs.expect("Traceback", "RuntimeError.*broken half way",
                      "wsgi-cgi.*: error: ")
    if not deploy.way.startswith("cgi"):  # lighttpd has noticed
        place.logs.expect("unexpected end-of-file",
                          "backend returned error on socket")
    try:
        got = site.ask("/crash-late")
    except (http.client.IncompleteRead, ConnectionError):
        pass
    else:
        assert got.status >= 500, got
    place.logs.wait_for("RuntimeError.*broken half way", site.log)
    assert site.ask().status == 200


def test_missing_application_is_said_at_the_start(place):
    """In one sentence. lighttpd ends at once, or tries again each second: that
    depends on how soon it sees the end of what it started."""
    port = free_port()
    config = place.folder / "lighttpd.conf"
    config.write_text(example(
        "lighttpd/bin-path.conf", port=port, root=place.root,
        binary=place.binary, socket=place.socket,
        app=place.folder / "nowhere.py",
        error_log=place.logs.path("error.log"),
        breakage_log=place.logs.path("app.log")))
    place.start("lighttpd", [place.need("lighttpd"), "-D", "-f", config])
    place.right_codes["lighttpd"] = (255,)
    place.right_codes["orphan"] = (66,)
    place.logs.expect("child exited: 66", "wsgi-cgi.*: error: .*nowhere.py")
    place.logs.allow("gw-backend failed to start", "spawning gw failed")
    place.logs.wait_for("wsgi-cgi.*: error: .*nowhere.py does not exist",
                        "app.log")
    place.logs.wait_for("child exited: 66")


# --- the end ------------------------------------------------------------------

def test_term_of_lighttpd_ends_all(deploy, place):
    """The applications that lighttpd started end with it, at once and well."""
    site = deploy(PROBE)
    assert site.ask().status == 200
    lighttpd = next(s for s in place.servers if s.name == "lighttpd")
    # A CGI program may still be ending when the client has its answer.
    wait_until(lambda: bool(descendants(lighttpd.pid)) ==
               (deploy.way == "bin-path"), "the children are as expected")
    below = descendants(lighttpd.pid)
    begun = time.monotonic()
    assert lighttpd.stop() == 0
    wait_until(lambda: not set(below) & set(place.orphans.look(
        place.own_ids())), "the applications end")
    assert time.monotonic() - begun < 3
    assert len(place.orphans.ended) == len(below)
    assert all(code == 0 for _, code in place.orphans.ended)


def test_term_while_a_request_runs(deploy, place):
    """lighttpd drops the client; the application ends all the same."""
    site = deploy(PROBE)
    with site.send_raw(b"GET %s/slow HTTP/1.0\r\n\r\n" % site.prefix.encode()):
        if deploy.way == "cgi":
            place.logs.wait_for("slow has begun", site.log)
        else:
            # FCGI_STDERR may wait for the response; the connection is there.
            wait_until(lambda: unix_connections(place), "the request runs")
        # lighttpd's own way to say that it dropped a connection; it also
        # sends TERM to its CGI scripts.
        place.right_codes["lighttpd"] = (1,)
        if deploy.way.startswith("cgi"):
            place.right_codes["orphan"] = (1, -15)
        next(s for s in place.servers if s.name == "lighttpd").stop()
    # Afterwards the fixture sees that all ended, and well.


@pytest.mark.parametrize("deploy", ["bin-path", "fcgi-program", "spawn-fcgi"],
                         indirect=True)
def test_application_that_is_killed_is_started_again(deploy, place):
    site = deploy(PROBE)
    assert site.ask().status == 200
    killed = applications(place)
    assert killed
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: set(applications(place)) - set(killed),
               lambda: "it is started again:\n%s" % place.logs.all())
    # lighttpd does not ask it for a second or so.
    wait_until(lambda: site.ask().status == 200,
               lambda: "it answers again:\n%s" % place.logs.all())
    if deploy.way == "bin-path":
        place.logs.expect("child signalled: 9")


def applications(place):
    """Ids of our program below the servers."""
    return [pid for pid, (_, state, command) in descendants().items()
            if state != "Z" and is_ours(command, place.binary)]


def unix_connections(place):
    return sum(unix_sockets(str(place.socket) + end)[1] for end in ("", "-0"))


# --- paths --------------------------------------------------------------------

def served_by(place, name, *options, **pairs):
    place.gateway(place.copy_app(PROBE), *options)
    return Site(place.lighttpd(name, socket=place.socket, **pairs))


SPLITS = [("/", "", "/"), ("/x", "", "/x"), ("/x/y", "", "/x/y"),
          ("/x//y/", "", "/x/y/"), ("/a%2Fb", "", "/a/b")]


@pytest.mark.parametrize("options", [[], ["--mount", "/"]],
                         ids=["automatic", "mount"])
@pytest.mark.parametrize("config", ["lighttpd/socket.conf",
                                    "lighttpd/stream.conf"])
def test_at_the_root(config, options, place):
    site = served_by(place, config, *options)
    for path, script_name, path_info in SPLITS:
        env = environ(site, path)
        assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == \
            (script_name, path_info), path


@pytest.mark.parametrize("options", [[], ["--mount", "/app"]],
                         ids=["automatic", "mount"])
def test_at_a_prefix(options, place):
    site = served_by(place, "lighttpd/mount.conf", *options)
    (place.root / "index.txt").write_text("from disk\n")
    assert site.ask("/index.txt").text == "from disk\n"
    env = environ(site, "/app")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/app", "")
    for path, _, path_info in SPLITS:
        env = environ(site, "/app" + path)
        assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/app", path_info)
    if options:
        assert site.ask("/apple/x").status == 404


def test_mount_mends_a_wrong_prefix(place):
    """"/app/" makes lighttpd send SCRIPT_NAME=/app/x; --mount puts it right."""
    place.gateway(place.copy_app(PROBE), "--mount", "/app")
    port = place.lighttpd(
        "lighttpd/mount.conf", socket=place.socket,
        extra='fastcgi.server := ( "/app/" => (( "socket" => "%s", '
              '"check-local" => "disable" )) )\n' % place.socket)
    env = environ(Site(port), "/app/x/y")
    assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/app", "/x/y")


# --- authorizer ---

def test_authorizer(place):
    """F27: files from disk for those whom authorizer.py lets through."""
    script = place.copy_app(SERVERS / "lighttpd" / "authorizer.py")
    (place.root / "index.txt").write_text("from disk\n")
    site = Site(place.lighttpd(
        "lighttpd/authorizer.conf", binary=place.binary, socket=place.socket,
        app=script, breakage_log=place.logs.path("app.log")))
    for told in (None, "Basic", "Basic eDp5", "Bearer cmVhZGVyOm9wZW4gc2VzYW1l"):
        got = site.ask("/index.txt",
                       headers={"Authorization": told} if told else {})
        assert (got.status, got.text) == (
            401, "Your name and password, please.\n"), told
        assert got.headers["WWW-Authenticate"] == 'Basic realm="files"'
    for _ in range(3):
        got = site.ask("/index.txt", headers={
            "Authorization": "Basic cmVhZGVyOm9wZW4gc2VzYW1l"})
        assert (got.status, got.text) == (200, "from disk\n")
    assert site.ask("/none.txt").status == 401


# --- streaming ----------------------------------------------------------------

def test_stream_arrives_as_it_is_made(place):
    """W52: each line is there before the next is made."""
    place.gateway(place.copy_app(EXAMPLES / "stream.py"))
    site = Site(place.lighttpd("lighttpd/stream.conf", socket=place.socket))
    with site.send_raw(b"GET /?lines=3&pause=0.5 HTTP/1.0\r\n\r\n") as conn:
        file = conn.makefile("rb")
        while file.readline() not in (b"\r\n", b""):
            pass
        times = []
        for number in (1, 2, 3):
            assert file.readline() == b"line %d\n" % number
            times.append(time.monotonic())
        assert file.read() == b""
    # Held back, they would all have come at once.
    assert times[1] - times[0] > 0.3 and times[2] - times[1] > 0.3


def test_stream_ends_when_the_client_goes(place):
    """W54: close() runs, nothing more is made."""
    place.gateway(place.copy_app(EXAMPLES / "stream.py"))
    site = Site(place.lighttpd("lighttpd/stream.conf", socket=place.socket))
    with site.send_raw(b"GET /?lines=1000&pause=0.05 HTTP/1.0\r\n\r\n") as conn:
        file = conn.makefile("rb")
        while file.readline() != b"line 2\n":
            pass
        file.close()
    # The web server's connection is gone: process' own standard error.
    made = place.logs.wait_for(r"stream: (\d+) of 1000 lines", "wsgi-cgi.out")
    assert int(made[1]) < 200
    assert site.ask("/?lines=1").text == "line 1\n"


# --- uploads that are cut off -------------------------------------------------

def django_behind_stream(place):
    script = place.copy_app(EXAMPLES / "django_app")
    place.gateway(script)
    site = Site(place.lighttpd("lighttpd/stream.conf", socket=place.socket))
    return site, script.parent / "uploads"


def test_django_upload_cut_off_is_not_stored(place):
    """W27: a third of the body, and then the client is gone: the view gets an
    UnreadablePostError. The whole body is stored."""
    site, uploads = django_behind_stream(place)
    body = b"0123456789" * 30_000
    place.logs.expect("UnreadablePostError", "Traceback", "BrokenPipeError",
                      "ERROR django.request: Internal Server Error: /files/")
    with site.send_raw(b"PUT /files/cut.bin HTTP/1.1\r\nHost: localhost\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body)
                       + body[:len(body) // 3]):
        # The view has begun to store it.
        wait_until(lambda: list(uploads.glob(".*.part")), "an upload begins")
    wait_until(lambda: not list(uploads.glob(".*.part")), "it is thrown away")
    wait_until(lambda: "UnreadablePostError" in place.logs.all(),
               lambda: "UnreadablePostError:\n%s" % place.logs.all())
    assert list(uploads.iterdir()) == []

    got = site.ask("/files/whole.bin", "PUT", body)
    assert got.status == 201
    assert [p.name for p in uploads.iterdir()] == ["whole.bin"]
    assert (uploads / "whole.bin").read_bytes() == body


def test_django_form_cut_off_is_not_stored(place):
    """The same through the multipart parser and the CSRF check."""
    site, uploads = django_behind_stream(place)
    page = site.ask("/upload/")
    token = re.search('token" value="([^"]*)"', page.text)[1]
    cookie = page.headers["Set-Cookie"].split(";")[0]
    body = ("--b\r\nContent-Disposition: form-data; "
            'name="csrfmiddlewaretoken"\r\n\r\n%s\r\n--b\r\n'
            'Content-Disposition: form-data; name="file"; '
            'filename="cut.bin"\r\n\r\n' % token).encode()
    body += b"0123456789" * 30_000 + b"\r\n--b--\r\n"
    head = (b"POST /upload/ HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: %d\r\n\r\n" % (cookie.encode(), len(body)))
    # Django's CSRF check takes a cut body for one without its token.
    place.logs.expect("WARNING django.security.csrf: Forbidden")
    with site.send_raw(head + body[:len(body) // 3]):
        wait_until(lambda: unix_connections(place), "the view runs")
    wait_until(lambda: "Forbidden" in place.logs.all(), "it is refused")
    assert not uploads.exists()

    with site.send_raw(head + body) as conn:
        assert conn.makefile("rb").readline().startswith(b"HTTP/1.1 201 ")
    assert (uploads / "cut.bin").read_bytes() == b"0123456789" * 30_000


def test_upload_example_cut_off(place):
    """Plain WSGI: read() raises OSError, the example says so."""
    place.gateway(place.copy_app(EXAMPLES / "upload.py"))
    site = Site(place.lighttpd("lighttpd/stream.conf", socket=place.socket))
    with site.send_raw(b"PUT / HTTP/1.1\r\nHost: x\r\n"
                       b"Content-Length: 3000\r\n\r\n" + b"x" * 1000):
        wait_until(lambda: unix_connections(place), "the request runs")
    place.logs.wait_for("upload: cut off after ", "wsgi-cgi.out")


# --- the spawners' files themselves -------------------------------------------

@pytest.mark.parametrize("spawner", ["spawn-fcgi", "systemd-socket-activate"])
def test_spawner(spawner, place):
    """examples/servers/SPAWNER.sh, in the foreground."""
    place.need(spawner)
    name = spawner + ".sh"
    script = place.folder / name
    script.write_text(example(name, binary=place.binary, socket=place.socket,
                              app=place.copy_app(EXAMPLES / "hello.py")))
    place.wait_for_socket(place.start(spawner, ["sh", script],
                                      **as_server_user()))
    site = Site(place.lighttpd("lighttpd/socket.conf", socket=place.socket))
    for _ in range(3):
        assert site.ask().text == "Hello from wsgi-cgi\n"
