"""A look at the other servers: nginx with its stock parameters.

nginx calls the whole path SCRIPT_NAME and sends no PATH_INFO, sends every
repeated header as a parameter of its own, and keeps connections open."""

import http.client
import json
import re
import subprocess
import threading
import zlib

import pytest

import fronts
from harness import APPS, EXAMPLES, SERVERS, Site


@pytest.fixture
def nginx(place):
    def start(name):
        return Site(fronts.nginx(place, name, socket=place.socket))
    return start


def environ(site, path, **request):
    got = site.ask(path, **request)
    assert got.status == 200, got
    return json.loads(got.body)


@pytest.mark.parametrize("options", [[], ["--mount", "/"]],
                         ids=["automatic", "mount"])
def test_at_the_root(options, place, nginx):
    place.gateway(place.copy_app(APPS / "probe.py"), *options)
    site = nginx("nginx/socket.conf")
    for path, path_info in [("/", "/"), ("/x", "/x"),
                            ("/a%20b/c%2Fd/%E2%82%AC?x=1",
                             "/a b/c/d/\u00e2\u0082\u00ac")]:
        env = environ(site, path)
        assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("", path_info)
    env = environ(site, "/", headers={
        "Host": "h.example:8443", "Proxy": "evil",
        "Authorization": "Bearer t0ken"})
    assert env["HTTP_HOST"] == "h.example:8443"  # HTTP_HOST is sent twice
    assert env["HTTP_AUTHORIZATION"] == "Bearer t0ken"
    assert "HTTP_PROXY" not in env
    assert not {"REMOTE_USER", "CONTENT_LENGTH", "CONTENT_TYPE"} & set(env)


def test_after_response(place, nginx):
    """The client does not wait for wsgi_cgi.after_response, nor does nginx's
    kept connection to us."""
    place.gateway(place.copy_app(APPS / "probe.py"), "--threads", "2")
    site = nginx("nginx/socket.conf")
    for n in range(3):
        site.check_after(place.run_dir / str(n))


def test_at_a_prefix(place, nginx):
    place.gateway(place.copy_app(APPS / "probe.py"), "--mount", "/app")
    (place.root / "index.txt").write_text("from disk\n")
    site = nginx("nginx/mount.conf")
    assert site.ask("/index.txt").text == "from disk\n"
    for path, path_info in [("/app", ""), ("/app/", "/"), ("/app/x/y", "/x/y")]:
        env = environ(site, path)
        assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == ("/app", path_info)
    assert site.ask("/apple").status == 404
    place.logs.expect(r"open\(\) .*/apple. failed")  # nginx looks on disk


def locations(name):
    """Of a file of examples/servers/nginx, those that lead to a FastCGI server: the
    lines of each, without comments."""
    text = re.sub(r"\s+#.*", "", (SERVERS / "nginx" / name).read_text())
    found = [[line.strip() for line in block.splitlines() if line.strip()]
             for block in re.findall(r"location [^{]*\{([^}]*)\}", text)]
    return [lines for lines in found
            if any(line.startswith("fastcgi_pass ") for line in lines)]


def inherited(name):
    """The lines that all locations of the file have."""
    text = re.sub(r"\s+#.*", "", (SERVERS / "nginx" / name).read_text())
    text = re.sub(r"location [^{]*\{[^}]*\}", "", text)
    return [line.strip() for line in text.splitlines() if line.strip()]


# Without buffers, and a CGI server: no lines about connections and buffers.
DIFFERENT = "stream.conf", "fcgiwrap.conf"


@pytest.mark.parametrize("name", sorted(
    path.name for path in (SERVERS / "nginx").iterdir()))
def test_files_have_what_socket_conf_has(name):
    """Each line about the application's requests, once, in each of the files."""
    [wanted] = locations("socket.conf")
    to_app = [lines for lines in locations(name)
              if name in DIFFERENT or "fastcgi_keep_conn on;" in lines]
    assert len(to_app) == 1, "once, not once for each URL"
    for line in wanted:
        same = line.split()[:2] if "param" in line else line.split()[:1]
        if name in DIFFERENT and same[0] != "fastcgi_param":
            continue
        # A location with parameters of its own inherits none.
        have = to_app[0] + (inherited(name) if "param" not in line else [])
        assert [theirs for theirs in have
                if theirs.split()[:len(same)] == same], line


@pytest.mark.parametrize("size", [1, 11, 1 << 20])
def test_http_2_upload_of_unknown_length(place, size):
    """W28: HTTP/2 has no Transfer-Encoding, so that nothing says that there is
    a body; an application that goes by CONTENT_LENGTH has it all the same."""
    place.gateway(place.copy_app(APPS / "matrix.py"))
    port = fronts.nginx(place, "nginx/stream.conf", http2=True,
                        socket=place.socket)
    body = bytes(range(256)) * (size // 256 + 1)
    got = subprocess.run(
        [place.need("curl"), "-sS", "--http2-prior-knowledge", "-T", "-",
         "http://127.0.0.1:%d/-/by-length" % port],
        input=body[:size], check=True, capture_output=True)
    assert got.stdout.decode().split() == [
        str(size), "%08x" % zlib.crc32(body[:size]), str(size)]


def test_repeated_headers_are_joined(place, nginx):
    place.gateway(place.copy_app(APPS / "probe.py"))
    site = nginx("nginx/socket.conf")
    with site.send_raw(b"GET / HTTP/1.0\r\nX-Dup: one\r\nX-Dup: two\r\n"
                       b"Cookie: a=1\r\nCookie: b=2\r\n\r\n") as conn:
        answer = conn.makefile("rb").read()
    env = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert env["HTTP_X_DUP"] == "one, two"
    assert env["HTTP_COOKIE"] == "a=1; b=2"


@pytest.mark.parametrize("threads", ["1", "4"])
def test_2000_requests_on_kept_connections(threads, place, nginx):
    """More connections are kept than there are threads; none fails."""
    place.gateway(place.copy_app(EXAMPLES / "hello.py"), "--threads", threads)
    site = nginx("nginx/socket.conf")
    good, bad = [], []

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", site.port,
                                                timeout=60)
        for _ in range(250):
            try:
                connection.request("GET", "/")
                got = connection.getresponse()
                body = got.read()
                right = (got.status, body) == (200, b"Hello from wsgi-cgi\n")
                (good if right else bad).append((got.status, body))
            except (OSError, http.client.HTTPException) as error:
                bad.append(error)
                connection.close()
        connection.close()

    clients = [threading.Thread(target=client) for _ in range(8)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert not bad, bad[:5]
    assert len(good) == 2000


def test_upload_and_exception(place, nginx):
    place.gateway(place.copy_app(APPS / "probe.py"))
    site = nginx("nginx/socket.conf")
    place.logs.expect("Traceback", "RuntimeError.*broken on purpose",
                      "wsgi-cgi.*: error: ")
    env = environ(site, "/", method="POST", body=b"x" * 1_000_000)
    assert env["CONTENT_LENGTH"] == "1000000"
    for _ in range(3):
        got = site.ask("/unread", "POST", b"u" * 1_000_000)
        assert got.status == 403
    assert site.ask("/crash").status == 500
    place.logs.wait_for("broken on purpose")
    assert site.ask("/large").body == b"\x00\xff" * (1 << 19)
    assert site.ask("/204").status == 204
