"""Every server, every configuration of examples/servers, case by case: the table
at the end of "make check-servers".

A row is a configuration, started once with the application of apps/matrix.py; a
column is a test here. A cell is "ok" or a deviation of that server, which the
test has seen as setups.py says it. Rows of the checklist: X1 nginx, X2 Apache's
mod_proxy_fcgi, X3 its mod_fcgid and mod_cgid, X4 HAProxy, X5 Caddy, X6 lighttpd,
X7 mini_httpd, X8 busybox, X9 all of them.
"""

import array
import contextlib
import fcntl
import http.client
import json
import os
import subprocess
import termios
import zlib
from urllib.parse import quote

import pytest

from harness import Site, descendants, unread, wait_until
from place import give_away, open_place
from setups import SETUPS, THREADS, Running, connect_gateway

TITLE = "servers x cases"
MIB = 1 << 20
BLOCK = bytes(range(256)) * 256


def column(name, only=lambda setup: setup.scheme == "http"):
    """A column of the table; only: which rows have it."""
    def wrap(test):
        test.column, test.only = name, only
        return test
    return wrap


def everywhere(setup):
    return True


def pytest_generate_tests(metafunc):
    test = metafunc.function
    if "running" in metafunc.fixturenames:
        metafunc.parametrize("running", [
            pytest.param(setup, id=setup.name.replace(" ", "-"),
                         marks=pytest.mark.xdist_group(setup.name))
            for setup in SETUPS if test.only(setup) and
            (not setup.columns or test.column in setup.columns)],
            indirect=True, scope="module")


@pytest.fixture(scope="module")
def running(request, binary, need):
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(open_place(binary, need))
        running = Running(place, request.param)
        running.end = stack.close
        yield running


@pytest.fixture
def deviates(request):
    """deviates(text): the cell says so, instead of "ok"."""
    cell = dict(request.node.user_properties)["cell"]

    def say(text):
        cell[2] = text
    return say


def raw_environ(running, *lines):
    """environ of a request with these lines, on a connection of its own."""
    path = "GET %s/x " % running.site.prefix
    with running.site.send_raw("\r\n".join([path + lines[0], *lines[1:], "", ""])
                             .encode()) as conn:
        got = http.client.HTTPResponse(conn)
        got.begin()
        assert got.status == 200, got.status
        return json.loads(got.read())


# --- URLs -----------------------------------------------------------------------

def rebuilt(environ):
    """The URL, by the algorithm of PEP 3333."""
    url = environ["wsgi.url_scheme"] + "://"
    if environ.get("HTTP_HOST"):
        url += environ["HTTP_HOST"]
    else:
        url += environ["SERVER_NAME"]
        default = {"https": "443", "http": "80"}[environ["wsgi.url_scheme"]]
        if environ["SERVER_PORT"] != default:
            url += ":" + environ["SERVER_PORT"]
    url += quote(environ["SCRIPT_NAME"].encode("latin-1"))
    url += quote(environ["PATH_INFO"].encode("latin-1"))
    if environ["QUERY_STRING"]:
        url += "?" + environ["QUERY_STRING"]
    return url


def environ_of(site, path, **request):
    got = site.ask(path, **request)
    assert got.status == 200, got
    return json.loads(got.body)


def check_urls(running):
    """The application at "/" gets all these URLs whole, the one at /app (or at a
    script's own URL) those below it."""
    site = running.site
    paths = ["/", "/a%20b/c/d/%E2%82%AC?x=1&y=%20", "/?x=%2F", "/%C3%A9/x/"]
    if site.prefix:
        paths = ["", "?x=1", *paths]
    else:
        paths += ["/app", "/app/", "/app/a%20b/c/d/%E2%82%AC?x=1&y=%20"]
    for path in paths:
        if path.partition("?")[0].endswith("/") and \
                running.facts.final_slash != 200:
            assert site.ask(path).status == running.facts.final_slash
            continue
        environ = environ_of(site, path)
        whole = site.prefix + path
        assert rebuilt(environ) == "%s://127.0.0.1:%d%s" % (
            site.scheme, site.port, whole)
        assert environ["SCRIPT_NAME"] == site.prefix
        assert environ["SERVER_NAME"] and ":" not in environ["SERVER_NAME"]
        assert environ["SERVER_PORT"].isdigit()
        if "REQUEST_URI" in environ and running.facts.raw_uri:
            assert environ["REQUEST_URI"] == whole


@column("urls", everywhere)
def test_urls(running, deviates):
    """X1-X9, check b: the URL that was asked for, from environ, with the stock
    parameters and the automatic rule (or --mount where the file says so)."""
    check_urls(running)
    if running.facts.final_slash != 200:
        deviates("a path with a slash at its end is a %d"
                 % running.facts.final_slash)
    if running.setup.options:
        deviates("with " + " ".join(running.setup.options)
                 + ", as the file says")


@column("%2F", everywhere)
def test_encoded_slash(running, deviates):
    """X3, X6, X8: no server hands %2F on as what it is. REQUEST_URI has it."""
    path = "/a%20b/c%2Fd/%E2%82%AC?x=1&y=%20"
    got = running.site.ask(path)
    if running.facts.slash == "404":
        assert got.status == 404
        running.place.logs.allow("File not found")
        deviates("a path with %2F is a 404")
        return
    assert got.status == 200, got
    environ = json.loads(got.body)
    if running.facts.slash == "kept":
        assert environ["PATH_INFO"] == "/a b/c%2Fd/\u00e2\u0082\u00ac"
        deviates("stays %2F in PATH_INFO (AllowEncodedSlashes NoDecode)")
    else:
        assert environ["PATH_INFO"] == "/a b/c/d/\u00e2\u0082\u00ac"
        deviates("is / in PATH_INFO; REQUEST_URI, if any, has it")
    assert environ["SCRIPT_NAME"] == running.site.prefix
    assert environ["QUERY_STRING"] == "x=1&y=%20"
    assert environ.get("REQUEST_URI", running.site.prefix + path) == \
        running.site.prefix + path


@column("//")
def test_double_slashes(running, deviates):
    """X4, X5, X6: some servers make one of them."""
    environ = environ_of(running.site, "/x//y")
    if running.facts.slashes == "kept":
        assert environ["PATH_INFO"] == "/x//y"
    else:
        assert environ["PATH_INFO"] == "/x/y"
        deviates("two slashes in a path become one")


# Of nginx, which looks for a file there.
NOT_OURS = r'open\(\) .*/apple(/x)?" failed'


@column("/apple", lambda setup: setup.prefix == "/app")
def test_beside_the_mount(running, deviates):
    """What only begins like the application's URL is not below it."""
    site = Site(running.site.port)
    running.place.logs.allow(NOT_OURS)
    for path in ("/apple", "/apple/x"):
        got = site.ask(path)
        assert got.status == running.facts.apple, (path, got)
    if running.facts.apple != 404:
        assert json.loads(got.body)["SCRIPT_NAME"] == "/apple"
        deviates("is below /app as well, but for --mount")


@column("host", everywhere)
def test_host_and_port(running):
    """X1, X4, check b: the Host header with its port, without, and an address
    of IPv6."""
    for host in ("h.example:8443", "h.example", "[::1]:8443", "[::1]"):
        environ = environ_of(running.site, "/x", headers={"Host": host})
        assert rebuilt(environ) == "%s://%s%s/x" % (
            running.site.scheme, host, running.site.prefix)


@column("no Host")
def test_without_a_host(running, deviates):
    """HTTP/1.0: SERVER_NAME and SERVER_PORT lead to the server."""
    environ = raw_environ(running, "HTTP/1.0")
    assert not environ.get("HTTP_HOST")
    if running.facts.no_host:
        assert environ["SERVER_PORT"] == "80"
        deviates(running.facts.no_host)
    else:
        assert environ["SERVER_NAME"] in ("127.0.0.1", "localhost")
        assert environ["SERVER_PORT"] == str(running.site.port)


@column("--mount", lambda setup: setup.gateway)
def test_mount(running):
    """X1-X9, check a: a declared mount is right as well. (The application is
    started again, with one more option.)"""
    restart(running, "--mount", running.site.prefix or "/")
    check_urls(running)
    if running.site.prefix:
        running.place.logs.allow(NOT_OURS)
        assert Site(running.site.port, scheme=running.site.scheme) \
            .ask("/apple/x").status == 404
    restart(running)


def restart(running, *options):
    """The application again, where it listened, with more options."""
    old = next(s for s in running.place.servers if s.name == "wsgi-cgi")
    running.place.servers.remove(old)
    assert old.stop() == 0
    connect_gateway(running.place, running.setup, running.script,
                    running.setup.options + options,
                    old.command[old.command.index("--bind") + 1])


# --- headers --------------------------------------------------------------------

@column("auth", everywhere)
def test_authorization(running, deviates):
    """X2, X3, X4: it reaches the application."""
    environ = environ_of(running.site, "/x", headers={
        "Authorization": "Bearer t0ken"})
    if running.facts.headers:
        assert environ["HTTP_AUTHORIZATION"] == "Bearer t0ken"
    else:
        assert "HTTP_AUTHORIZATION" not in environ
        deviates("Authorization is withheld")


@column("user")
def test_claimed_user(running, deviates):
    """X1, X4: REMOTE_USER is not what the client merely says."""
    environ = environ_of(running.site, "/x", headers={
        "Authorization": "Basic dTpw"})
    if running.facts.claimed_user:
        assert environ["REMOTE_USER"] == "u"
        deviates("REMOTE_USER is the client's claim, but for --set "
                 "REMOTE_USER=")
        restart(running, "--set", "REMOTE_USER=", "--set", "AUTH_TYPE=")
        environ = environ_of(running.site, "/x", headers={
            "Authorization": "Basic dTpw"})
        assert not {"REMOTE_USER", "AUTH_TYPE"} & set(environ)
        restart(running)
    else:
        assert "REMOTE_USER" not in environ


@column("dups")
def test_repeated_headers(running, deviates):
    """X1, X4, check c: one value, joined; Cookie with a semicolon."""
    environ = raw_environ(
        running, "HTTP/1.1", "Host: x", "Connection: close", "X-Dup: one",
        "X-Dup: two", "Cookie: a=1", "Cookie: b=2")
    facts = running.facts
    said = []
    if not facts.headers:
        assert "HTTP_X_DUP" not in environ
        said.append("few headers are handed on")
    elif facts.duplicates:
        assert environ["HTTP_X_DUP"] == "one" + facts.duplicates + "two"
    else:
        assert environ["HTTP_X_DUP"] == "two"
        said.append("of two headers the last one is handed on")
    if facts.cookies:
        assert environ["HTTP_COOKIE"] == "a=1" + facts.cookies + "b=2"
    else:
        assert environ["HTTP_COOKIE"] == "b=2"
        said.append("of two Cookie headers the last one is")
    if facts.cookies == ", ":
        said.append("two Cookie headers are joined by a comma")
    if said:
        deviates(", ".join(said))


@column("proxy")
def test_proxy_header(running):
    """W19, X1, X5, check f: HTTP_PROXY is absent."""
    environ = environ_of(running.site, "/x", headers={"Proxy": "evil"})
    assert not [name for name in environ if name.upper() == "HTTP_PROXY"]


@column("h2", lambda setup: setup.scheme == "https")
def test_http_2(running, deviates):
    """HTTP/2: scheme, host and cookies as with HTTP/1.1."""
    url = "https://127.0.0.1:%d/x?y=1" % running.site.port
    got = subprocess.run(
        [running.place.need("curl"), "-sk", "--http2", "-H", "Cookie: a=1; b=2",
         url], check=True, capture_output=True)
    environ = json.loads(got.stdout)
    assert rebuilt(environ) == url
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    if environ["SERVER_PROTOCOL"] != "HTTP/2.0":
        assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        deviates("HTTP/1.1 as configured")


@column("lints")
def test_lints(running):
    """W18, W20, check d: wsgiref.validate, webtest.lint and paste.lint find
    nothing at GET, HEAD and POST."""
    site = running.site
    for lint in ("wsgiref", "webtest", "paste"):
        path = "/-/lint/" + lint
        got = site.ask(path + "/x?a=b")
        assert (got.status, got.body) == (200, b"<>"), got
        assert got.headers.get_all("Set-Cookie") == ["a=1", "b=2"]
        got = site.ask(path, "HEAD")
        assert (got.status, got.body) == (200, b"")
        body = b"one\ntwo\nthree\n" + b"x" * 5000
        got = site.ask(path, "POST", body, {"Content-Type": "text/plain"})
        assert (got.status, got.body) == (200, b"<" + body + b">"), got


@column("head 64k")
def test_large_request_head(running, deviates):
    """64 KiB of headers, and 7 KiB where the server refuses that."""
    large = {"X-Large-%d" % i: "v" * 4080 for i in range(16)}
    got = running.site.ask("/x", headers=large)
    assert got.status == running.facts.request_headers, got
    if not running.facts.headers:
        deviates("few headers are handed on")
    elif got.status == 200:
        environ = json.loads(got.body)
        assert {name for name in environ if len(environ[name]) == 4080} == \
            {name.upper().replace("-", "_").join(("HTTP_", ""))
             for name in large}
    else:
        deviates("%d; 7 KiB pass" % got.status)
        environ = environ_of(running.site, "/x", headers={
            name: "v" * 890 for name in list(large)[:8]})
        assert len(environ["HTTP_X_LARGE_7"]) == 890


@column("resp 64k")
def test_large_response_head(running, deviates):
    """64 KiB of headers, and 3 KiB where the server refuses that."""
    got = running.site.ask("/-/headers?64")
    assert got.status == running.facts.response_headers, got
    if got.status == 200:
        assert len(got.headers["X-Large-063"]) == 985
        return
    deviates("%d; 3 KiB pass" % got.status)
    got = running.site.ask("/-/headers?3")
    assert (got.status, len(got.headers["X-Large-002"])) == (200, 985)


# --- request bodies ---------------------------------------------------------------

def blocks(size):
    for at in range(0, size, len(BLOCK)):
        yield BLOCK[:size - at]


def crc_of(size):
    crc = 0
    for block in blocks(size):
        crc = zlib.crc32(block, crc)
    return crc


def check_upload(site, size, method="POST"):
    got = site.ask("/-/upload", method, blocks(size), {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size)})
    length = str(size)
    if size == 0 and got.text.endswith(" None\n"):
        length = "None"  # RFC 3875, 4.1.2: there is none where no body is
    assert (got.status, got.text) == (
        200, "%d %08x %s\n" % (size, crc_of(size), length)), (size, got)


@column("upload", everywhere)
def test_upload(running, deviates):
    """X7: what was sent is what wsgi.input has."""
    for size in (0, 1, 16 * 1024, MIB, MIB + 1):
        for method in ("POST", "PUT") if running.facts.put else ("POST",):
            check_upload(running.site, size, method)
    if not running.facts.put:
        got = running.site.ask("/-/upload", "PUT", b"x" * MIB)
        assert (got.status, got.text) == (400, "cut off\n")
        deviates("the body of a PUT is cut off, and wsgi.input says so")
    if running.facts.two_packets:
        deviates("an empty reply where head and body come in one packet")


@column("200 MiB")
def test_large_upload(running):
    check_upload(running.site, 200 * MIB)


def ask_chunked(site, size, page="upload"):
    """(status, text) of a chunked upload; a small one leaves with its head."""
    head = ("POST %s/-/%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            "Transfer-Encoding: chunked\r\n\r\n" % (site.prefix, page)).encode()
    chunks = [b"%x\r\n%s\r\n" % (len(block), block) for block in blocks(size)]
    chunks.append(b"0\r\n\r\n")
    together = size < 1000 and not site.two_packets
    with site.send_raw(head + b"".join(chunks) if together else head) as conn:
        if not together:
            if site.two_packets:
                wait_until_read(site, conn)
            with contextlib.suppress(ConnectionError):  # refused half way
                for chunk in chunks:
                    conn.sendall(chunk)
        got = http.client.HTTPResponse(conn)
        got.begin()
        return got.status, got.read().decode()


def wait_until_read(site, conn):
    client = conn.getsockname()[1]
    wait_until(lambda: unread(site.port, client) == 0, "the head is read")


@column("chunked")
def test_chunked_upload(running, deviates):
    """W20, W28, X3, X5, X8, check e: the right bytes or a clean refusal, never
    an empty body, also for an application that goes by CONTENT_LENGTH."""
    facts = running.facts
    for size, wanted in ((11, facts.chunked), (MIB, facts.chunked_large)):
        for page in "upload", "by-length":
            status, text = ask_chunked(running.site, size, page)
            assert status == wanted, (size, page, status, text)
            if status == 200:
                assert text.split() == [str(size), "%08x" % crc_of(size),
                                        str(size)], page
    if facts.chunked != 200:
        deviates("%d" % facts.chunked_large)
    elif facts.chunked_large != 200:
        deviates("%d; what comes at once with the head passes"
                 % facts.chunked_large)


@column("expect")
def test_expect_continue(running, deviates):
    """Whoever waits for 100 before the body gets it, and then a 200."""
    site = running.site
    with site.send_raw(
            b"POST %s/-/upload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
            % site.prefix.encode()) as conn:
        file = conn.makefile("rb")
        if running.facts.continues:
            assert file.readline().startswith(b"HTTP/1.1 100 ")
            assert file.readline() == b"\r\n"
        else:
            deviates("no 100: the client waits until it has had enough of that")
            wait_until_read(site, conn)
        conn.sendall(BLOCK[:1000])
        answer = file.read()
    assert answer.split(b" ")[1] == b"200", answer
    assert b"1000 %08x 1000" % crc_of(1000) in answer


@column("unread")
def test_body_that_is_not_read(running):
    """C3, F12: the answer arrives although nobody read the body."""
    for size in (5, 100_000, MIB) * 2:
        got = running.site.ask("/-/unread", "POST", b"u" * size)
        assert (got.status, got.text) == (403, "no, thank you\n"), size
    check_upload(running.site, 1)


# --- responses --------------------------------------------------------------------

def drain(response, step=1 << 18):
    """(size, checksum) of what is left."""
    size = crc = 0
    while True:
        block = response.read(step)
        if not block:
            return size, crc
        size += len(block)
        crc = zlib.crc32(block, crc)


@column("download")
def test_download(running):
    """With and without a Content-Length."""
    for page, size in (("stream", 0), ("stream", 1), ("stream", 16 * MIB),
                       ("unsized", 100_001), ("unsized", 4 * MIB)):
        connection = running.site.connect()
        connection.request("GET", "%s/-/%s?%d" % (running.site.prefix, page,
                                                  size))
        assert drain(connection.getresponse()) == (size, crc_of(size)), page
        connection.close()


GIB = 1 << 30
STEP = 1 << 16


def mark_at(offset):
    """What stands there in the file of 1 GiB, at each multiple of STEP."""
    return b"%010d" % offset


def write_marked(path):
    """1 GiB, which are holes but for the marks."""
    with open(path, "wb") as file:
        for offset in range(0, GIB, STEP):
            os.pwrite(file.fileno(), mark_at(offset), offset)
        file.truncate(GIB)


def check_marked(response):
    """Byte by byte: nothing is lost, twice, or in another order."""
    wanted = bytearray(MIB)
    for start in range(0, GIB, MIB):
        for at in range(0, MIB, STEP):
            mark = mark_at(start + at)
            wanted[at:at + len(mark)] = mark
        assert response.read(MIB) == wanted, start
    assert response.read() == b""


@column("1 GiB", lambda setup: setup.name in (
    "lighttpd/stream.conf", "nginx/socket.conf", "apache/proxy-fcgi.conf",
    "haproxy/root.cfg", "caddy/root.caddyfile"))
def test_gigabyte(running, deviates):
    """wsgi.file_wrapper of a file of that size."""
    path = running.folder / "large"
    write_marked(path)
    connection = running.site.connect()
    connection.request("GET", running.site.prefix + "/-/file")
    response = connection.getresponse()
    if running.facts.lengths:
        assert response.getheader("Content-Length") == str(GIB)
    else:
        assert response.getheader("Content-Length") is None
        deviates("without the Content-Length, in chunks")
    check_marked(response)
    connection.close()
    path.unlink()


def waiting(conn):
    """Bytes that have arrived and were not read."""
    count = array.array("i", [0])
    fcntl.ioctl(conn, termios.FIONREAD, count)
    return count[0]


def send_slow(site, size):
    """A client that takes nothing of its response, until nothing more comes."""
    conn = site.send_raw(b"GET %s/-/stream?%d HTTP/1.0\r\n\r\n" % (
        site.prefix.encode(), size))
    seen = []

    def stands_still():
        seen.append(waiting(conn))
        return seen[-1] and seen[-8:] == [seen[-1]] * 8

    wait_until(stands_still, "nothing more arrives")
    return conn


@column("slow")
def test_slow_reader(running):
    """Clients that take nothing hold up nobody else, and get all of it when
    they do. Behind a server that takes the whole response from the application
    there are as many as it has threads; else one less."""
    size = 16 * MIB
    count = THREADS if running.facts.buffers else THREADS - 1
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(send_slow(running.site, size))
                for _ in range(count)]
        for _ in range(5):
            assert running.site.ask("/x").status == 200
        for conn in slow:
            file = conn.makefile("rb", buffering=1000)
            while file.readline() not in (b"\r\n", b"\n"):
                pass
            assert drain(file, 3000) == (size, crc_of(size))


def closed(running):
    try:
        return (running.folder / "closed").read_text().count("\n")
    except FileNotFoundError:
        return 0


@column("abort")
def test_aborted_clients(running, deviates):
    """W54: more of them than there are threads. Each response is closed, each
    cut upload is over, and the next request is answered."""
    site = running.site
    before = closed(running)
    head = site.prefix.encode()
    for _ in range(6):
        with site.send_raw(b"GET %s/-/stream?%d HTTP/1.0\r\n\r\n"
                           % (head, 16 * MIB)) as conn:
            assert conn.recv(1000).startswith(b"HTTP/1.")
    if running.facts.kills:
        wait_until(lambda: not [
            command for _, _, command in descendants().values()
            if str(running.script) in command], "the scripts have ended")
        deviates("the server ends the script, and close() is not called")
    else:
        wait_until(lambda: closed(running) == before + 6, "all are closed")
    for _ in range(6):
        with site.send_raw(b"POST %s/-/upload HTTP/1.1\r\nHost: x\r\n"
                           b"Content-Length: 200000\r\n\r\n" % head) as conn:
            conn.sendall(b"x" * 100_000)
    check_upload(site, 1000)


@column("empty")
def test_responses_without_a_body(running, deviates):
    """HEAD, 204, 304; the connection, where it is kept, is in step."""
    connection = running.site.connect()
    if not running.facts.keeps:
        deviates('closes the connection without "Connection: close"')

    def ask(method, path):
        if not running.facts.keeps:
            connection.close()
        connection.request(method, running.site.prefix + path)
        got = connection.getresponse()
        return got, got.read()

    for _ in range(2):
        got, body = ask("HEAD", "/-/stream?1000")
        assert (got.status, body) == (200, b"")
        assert got.getheader("Content-Length") in (None, "1000")
        for status in (204, 304):
            got, body = ask("GET", "/-/%d" % status)
            assert (got.status, body) == (status, b"")
            assert got.getheader("X-Probe") == "nothing"
        got, body = ask("GET", "/-/stream?1000")
        assert (got.status, body) == (200, BLOCK[:1000])
    connection.close()


# Where a name's end makes a script of a file, and not only its folder and x bit.
BY_NAME = ("apache/fcgid-scripts.conf", "apache/scripts.conf",
           "lighttpd/cgi.conf")
UPLOAD = '''#!%s
def application(environ, start_response):
    with open(%r, "a") as file:
        file.write("ran")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ran"]
'''


@column("uploads", lambda setup: setup.prefix.endswith(".py"))
def test_uploads(running):
    """Beside the script lies what visitors have uploaded. With an extension
    inside its name, or with more behind the file in the URL, it does not run;
    where names decide not even with an x bit. The same file as a script does."""
    place, ran = running.place, running.place.run_dir / "ran"
    folder = running.site.prefix.rpartition("/")[0]
    place.logs.allow("ScriptNotFound", "no script below", "ermission denied",
                     "End of script output before headers", "exec",
                     "Premature end of script headers", "not executable")
    # busybox httpd's child that cannot execute it.
    place.right_codes["orphan"] = (*place.right_codes.get("orphan", ()), 242)
    by_name = running.setup.file in BY_NAME

    def upload(name, mode):
        path = running.folder / name
        path.write_text(UPLOAD % (place.binary, str(ran)))
        path.chmod(mode)
        give_away(path)
        return Site(running.site.port, folder + "/" + name)

    for name in ("x.py.jpg", "x.jpg", "x.pyc", "py"):
        for mode in (0o644, 0o755) if by_name else (0o644,):
            site = upload(name, mode)
            for rest in ("", "/", "/x.py", "/%s" % running.script.name, "?x.py"):
                site.ask(rest)
                assert not ran.exists(), (name, oct(mode), rest)
    assert upload("up.py", 0o755).ask("").body == b"ran" and ran.exists()


@column("end", everywhere)
def test_end(running):
    """The last case: all that was started ends, and well; nothing is left, and
    no log has a line about a fault that was not expected. P30, P33: of a row with
    --keep-warm an instance has served all cases, and it leaves nothing."""
    running.end()
