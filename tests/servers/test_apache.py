"""A look at the other servers: Apache with mod_proxy_fcgi, mod_fcgid,
mod_cgid."""

import json
import re

import pytest

import fronts
import rewrites
from harness import APPS, EXAMPLES, TREE, Site


@pytest.fixture
def apache(place):
    def start(name, *modules, **pairs):
        return fronts.apache(place, name, *modules, **pairs)
    return start


def environ(site, path="/", **request):
    got = site.ask(path, **request)
    assert got.status == 200, got
    return json.loads(got.body)


def check(site, place, log):
    """What must be right behind each of the modules."""
    for path, path_info in [("/x", "/x"), ("/a%20b/c", "/a b/c")]:
        env = environ(site, path)
        assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == \
            (site.prefix, path_info)
    env = environ(site, headers={"Authorization": "Bearer t0ken",
                                 "X-Mine": "m", "Proxy": "evil"})
    assert env["HTTP_AUTHORIZATION"] == "Bearer t0ken"
    assert env["HTTP_X_MINE"] == "m"
    assert "HTTP_PROXY" not in env
    env = environ(site, method="POST", body=b"x" * 1_000_000)
    assert env["CONTENT_LENGTH"] == "1000000"
    for _ in range(3):  # C3: the body is drained, or the answer is lost
        assert site.ask("/unread", "POST", b"12345").text == "no, thank you\n"
        got = site.ask("/unread", "POST", b"u" * 100_000)
        assert (got.status, got.text) == (403, "no, thank you\n")
    assert site.ask("/large").body == b"\x00\xff" * (1 << 19)
    assert site.ask("/204").status == 204
    got = site.ask("/large", "HEAD")
    assert (got.status, got.body) == (200, b"")
    place.logs.expect("Traceback", "RuntimeError.*broken on purpose",
                      "wsgi-cgi.*: error: ")
    assert site.ask("/crash").status == 500
    place.logs.wait_for("broken on purpose", log)
    assert environ(site)["REQUEST_METHOD"] == "GET"
    if site.prefix != "/app":  # mod_cgid kills what goes on for 3 seconds
        site.check_after(place.run_dir / "after")


def test_mod_proxy_fcgi(place, apache):
    place.gateway(place.copy_app(APPS / "probe.py"))
    # Apache reports each record of FCGI_STDERR in these words.
    place.logs.expect("AH01071: Got error ")
    check(Site(apache("apache/proxy-fcgi.conf", "proxy", "proxy_fcgi",
                      socket=place.socket)), place, "error.log")


def test_mod_fcgid(place, apache):
    script = place.copy_app(APPS / "probe.py", [])
    check(Site(apache("apache/fcgid.conf", "fcgid", app=script,
                      app_dir='"%s"' % place.app_dir, binary=place.binary)),
          place, "error.log")


@pytest.mark.parametrize("query", ["-h", "--help", "%2dh", "-c+print(1)"])
def test_mod_cgid_query_is_no_option(query, place, apache):
    """C14: Apache hands the words of such a query over as arguments."""
    script = place.copy_app(EXAMPLES / "hello.py", ["--threads", "1"])
    site = Site(apache("apache/cgi.conf", "cgid", app=script,
                       app_dir='"%s"' % place.app_dir), "/app")
    assert site.ask("?" + query).text == "Hello from wsgi-cgi\n"


def test_mod_cgid(place, apache):
    script = place.copy_app(APPS / "probe.py", [])
    check(Site(apache("apache/cgi.conf", "cgid", app=script,
                      app_dir='"%s"' % place.app_dir), "/app"),
          place, "error.log")


def test_mod_cgid_relay(place, apache):
    """--relay in the script, and the application on its socket."""
    place.gateway(place.copy_app(APPS / "probe.py"))
    folder = place.root / "cgi-bin"
    folder.mkdir()
    script = place.copy_app(EXAMPLES / "hello.py",
                            ["--relay", str(place.socket)], folder)
    check(Site(apache("apache/cgi.conf", "cgid", app=script,
                      app_dir='"%s"' % folder), "/app"),
          place, "error.log")


ENDS_AS_ORPHAN = """
import atexit, os, pathlib, time

def wait(parent=os.getppid()):
    while os.getppid() == parent:
        time.sleep(0.005)
    pathlib.Path(__file__).with_name("ended").touch()

atexit.register(wait)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answered\\n"]
"""


def test_mod_cgid_ends_before_its_script(place, apache):
    """C23: the script's atexit functions run, SIGTERM or not, and then it ends:
    Apache has nobody to kill (AH01259 in its log)."""
    source = place.folder / "source.py"
    source.write_text(ENDS_AS_ORPHAN)
    script = place.copy_app(source, [])
    site = Site(apache("apache/cgi.conf", "cgid", app=script,
                       app_dir='"%s"' % place.app_dir), "/app")
    assert site.ask().text == "answered\n"
    assert place.stop(place.servers[-1]) == 0
    assert (place.app_dir / "ended").exists()


def test_setenv_behind_a_rewrite(place):
    """README, "When it does not work": which variables arrive by their name,
    and which only as REDIRECT_NAME."""
    def files(place):
        rewrites.site(place)
        (place.app_dir / "app.py").write_text(
            place.copy_app(APPS / "probe.py").read_text())
        path = place.root / "site/.htaccess"
        path.write_text("SetEnv FROM_HTACCESS 1\n"
                        'SetEnvIf Request_URI page FROM_SETENVIF=1\n'
                        "<Files page>\nSetEnv FROM_FILES 1\n</Files>\n" +
                        path.read_text().replace("^ app.cgi [L]",
                                                 "^ app.cgi [E=FROM_RULE:1,L]"))
        path = place.root / "site/app.cgi"
        path.write_text(path.read_text().replace(
            "--mount", "--set FROM_SET=1 --mount"))
    start = rewrites.apache(
        files, "cgid", "rewrite", "dir", "env", "setenvif",
        host="SetEnv FROM_HOST 1\n"
             "<Location /site/page>\nSetEnv FROM_LOCATION 1\n</Location>\n")
    site = Site(start(place, rewrites.Setup("setenv", start, "/site")), "/site")
    env = environ(site, "/page/1")
    assert env["PATH_INFO"] == "/page/1"
    found = {name for name in env if "FROM_" in name}
    plain = {"FROM_HTACCESS", "FROM_HOST"}
    assert found == plain | {"FROM_SET"} | {
        "REDIRECT_" + name for name in plain | {
            "FROM_LOCATION", "FROM_FILES", "FROM_SETENVIF", "FROM_RULE"}}


# --- a host that only lets .htaccess files do what they do -------------------------

def on_plain_host(place, files, *modules, override):
    """Starts Apache with the host's file, without what runs scripts there and what
    passes on Authorization: its port. override: what AllowOverride has then."""
    def with_probe(place):
        files(place)
        (place.app_dir / "app.py").write_text(
            place.copy_app(APPS / "probe.py").read_text())

    def edit(text):
        text = re.sub(r" *<(IfModule|FilesMatch).*?</\1>\n", "", text, flags=re.S)
        for old, new in (("Options ExecCGI ", "Options "), ("CGIPassAuth On\n", ""),
                         ("FileInfo Indexes Options=ExecCGI", override)):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        assert "cgi-script" not in text
        return text

    start = rewrites.apache(with_probe, *modules, "rewrite", "dir", "setenvif",
                            denies="")
    place.edit = edit
    return start(place, rewrites.Setup("plain host", start))


HTACCESS = {  # files, module, prefix, the host's AllowOverride
    "root": (rewrites.root, "cgid", "", ""),
    "site": (rewrites.site, "cgid", "/site", ""),
    "fcgid": (rewrites.fcgid, "fcgid", "", ""),
    "fallback": (rewrites.fallback, "cgid", "", " Indexes"),
}


@pytest.mark.parametrize("name", HTACCESS)
def test_htaccess_does_everything(place, name):
    """The host runs no scripts, and allows FileInfo and Options=ExecCGI: the files of
    shared-host do the rest, and nobody sees the source."""
    files, module, prefix, more = HTACCESS[name]
    site = Site(on_plain_host(place, files, module,
                              override="FileInfo Options=ExecCGI" + more), prefix)
    for path in "/", "/page":
        env = environ(site, path)
        assert (env["SCRIPT_NAME"], env["PATH_INFO"]) == (prefix, path)
    got = site.ask("/app.fcgi" if name == "fcgid" else "/app.cgi")
    assert "#!" not in got.text and "import" not in got.text, got


def test_htaccess_without_options(place):
    """Where the host does not allow the lines, the log has the words of the comment;
    without them a host that runs no scripts shows the source."""
    place.logs.expect("Option.* not allowed here")
    site = Site(on_plain_host(place, rewrites.root, "cgid", override="FileInfo"))
    for path in "/", "/app.cgi":
        assert site.ask(path).status == 500
    file = place.root / ".htaccess"
    assert '"not allowed\n# here"' in file.read_text()
    file.write_text(file.read_text().partition("RewriteEngine On")[2])
    assert "from app import application" in site.ask("/app.cgi").text


def test_htaccess_passes_authorization(place):
    """The line that root/.htaccess has in a comment, and the texts show, on a host that
    does not allow AuthConfig: with an Authorization header it arrives, without one
    there is none."""
    site = Site(on_plain_host(place, rewrites.root, "cgid",
                              override="FileInfo Options=ExecCGI"))
    header = {"Authorization": "Bearer t0ken"}
    assert "HTTP_AUTHORIZATION" not in environ(site, "/page", headers=header)
    file = place.root / ".htaccess"
    text = file.read_text()
    line = re.search("^#(SetEnvIf Authorization .*)", text, re.M)[1]
    assert line in (TREE / "README.md").read_text()
    assert line in (TREE / "man/wsgi-cgi-servers.7").read_text().replace("\\(dq", '"')
    file.write_text(text.replace("\n#SetEnvIf", "\nSetEnvIf"))
    for path in "/page", "/":
        env = environ(site, path, headers=header)
        assert env["HTTP_AUTHORIZATION"] == "Bearer t0ken"
        assert "HTTP_AUTHORIZATION" not in environ(site, path)
    file.write_text("CGIPassAuth On\n" + text)
    assert site.ask("/page").status == 500
    place.logs.expect("CGIPassAuth not allowed here")
