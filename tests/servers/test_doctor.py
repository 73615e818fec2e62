"""wsgi-cgi --doctor behind real servers: what it says must be what the other
tests know of their configurations."""

import re

import pytest

import fronts
from harness import SERVERS, Site


@pytest.fixture
def nginx(place):
    def start(name="nginx/socket.conf"):
        return Site(fronts.nginx(place, name, socket=place.socket))
    return start


def doctor(place, *options):
    place.gateway("--doctor", *options)


def page(site, path="/?text", **request):
    got = site.ask(path, **request)
    assert got.status == 200, got
    assert got.headers["Content-Type"] == "text/plain; charset=utf-8"
    return got.text


def test_lighttpd(place):
    """X6: right as the example has it; two lines are missing without."""
    doctor(place)
    site = Site(place.lighttpd("lighttpd/socket.conf", socket=place.socket))
    text = page(site, "/a%20b/c?text&x=1")
    assert text.startswith("wsgi-cgi --doctor: Nothing to change\n")
    url = "http://127.0.0.1:%d/a%%20b/c?text&x=1" % site.port
    assert "requested: %s " % url in text
    assert "PEP 3333 gives: %s    <- the same path" % url in text
    assert "\nSCRIPT_NAME: (empty) " in text and "\nPATH_INFO: /a b/c " in text
    assert "web server: lighttpd " in text
    assert "fix-root-scriptname" not in text


def test_lighttpd_without_its_two_lines(place):
    doctor(place)
    extra = ('fastcgi.server := ( "/" => (( "socket" => "%s", '
             '"check-local" => "disable" )) )' % place.socket)
    site = Site(place.lighttpd("lighttpd/socket.conf", extra,
                               socket=place.socket))
    text = page(site, "/?text")
    assert text.startswith("wsgi-cgi --doctor: 1 thing to change\n")
    assert '        "fix-root-scriptname" => "enable"\n' in text


def test_lighttpd_cgi(place):
    """As a script's first line; the script itself is not run."""
    folder = place.root / "cgi-bin"
    folder.mkdir()
    script = folder / "app.py"
    script.write_text("#!%s --doctor\nraise SystemExit\n" % place.binary)
    script.chmod(0o755)
    site = Site(place.lighttpd("lighttpd/cgi.conf",
                               breakage_log=place.logs.path("app.log")),
                "/cgi-bin/app.py")
    text = page(site, "/x?text")
    assert "\nmode: cgi " in text
    assert "\nSCRIPT_NAME: /cgi-bin/app.py " in text
    assert "Nothing to change" in text


def test_nginx(place, nginx):
    """X1: the port is missing until the line that the page gives is there."""
    doctor(place)
    text = (SERVERS / "nginx/socket.conf").read_text()
    line = "        fastcgi_param HTTP_HOST $host$port_of_host;\n"
    block = text[text.index("map $http_host"):]
    block = block[:block.index("}\n") + 2]
    assert line in text
    config = place.folder / "stock.conf"
    config.write_text(text.replace(line, "").replace(block, ""))
    said = page(nginx(str(config)))
    assert said.startswith("wsgi-cgi --doctor: 1 thing to change\n")
    assert "\nchange: HTTP_HOST has no port" in said
    # The very lines of the example.
    assert "".join("        %s" % one for one in
                   (block + line.lstrip()).splitlines(True)) in said
    assert "        --mount /app\n" in said
    assert "CONTENT_LENGTH: (empty)    <- left out" in said
    place.servers.pop().stop()
    site = nginx()
    said = page(site)
    assert said.startswith("wsgi-cgi --doctor: Nothing to change\n")
    assert "sent again below; the last value counts" in said
    assert "gives: http://127.0.0.1:%d/?text " % site.port in said


def without(place, file, line):
    """That example without this line."""
    text = (SERVERS / file).read_text()
    assert text.count(line) == 1
    path = place.folder / "stock.conf"
    path.write_text(text.replace(line, ""))
    return str(path)


def check_authorization(place, file, start, line):
    """What the page says with the line and without it, where the password was
    typed in."""
    doctor(place)
    for name, arrives in ((file, True), (without(place, file, line), False)):
        site = start(place, name)
        cookie = site.ask("/?auth").headers["Set-Cookie"].partition(";")[0]
        said = page(site, "/?auth&text", headers={
            "Cookie": cookie, "Authorization": "Basic bmFtZTpzM2NyM3Q="})
        assert ("note: Authorization arrives.\n" in said) == arrives
        assert ("        %s\n" % line.strip() in said) != arrives
        assert said.startswith("wsgi-cgi --doctor: %s to " % (
            "Nothing" if arrives else "1 thing")), said
        place.servers.pop().stop()


def test_apache(place):
    """X2: without CGIPassAuth the page gives that line."""
    check_authorization(
        place, "apache/proxy-fcgi.conf", lambda place, name: Site(fronts.apache(
            place, name, "proxy", "proxy_fcgi", socket=place.socket)),
        "        CGIPassAuth On\n")


MODULES = {  # what starts the doctor
    "cgid": "Options +ExecCGI\nSetHandler cgi-script\n",
    "fcgid": "Options +ExecCGI\nSetHandler fcgid-script\n",
    "proxy_fcgi": 'SetHandler "proxy:unix:%s|fcgi://localhost/"\n'}


@pytest.mark.parametrize("allowed", ["AuthConfig", "FileInfo"])
@pytest.mark.parametrize("module", MODULES)
def test_apache_htaccess(module, allowed, place):
    """X2, X3: a password in a folder with a .htaccess. The page gives two lines: the first
    needs AllowOverride AuthConfig and is a 500 without, the second needs FileInfo only.
    Each is what makes the header arrive."""
    script = place.root / "app.py"
    script.write_text("#!%s --doctor\n" % place.binary)
    script.chmod(0o755)
    if module == "proxy_fcgi":
        doctor(place)
    config = place.folder / "host.conf"
    config.write_text(
        'Listen 127.0.0.1:8080\n<Directory "/srv/www">\nRequire all granted\n'
        "%sAllowOverride %s\n</Directory>\nDocumentRoot /srv/www\n" % (
            MODULES[module].replace("%s", str(place.socket)), allowed))
    site = Site(fronts.apache(place, str(config), *(
        ["proxy"] if module == "proxy_fcgi" else []), module, "setenvif"), "/app.py")

    def said():
        cookie = site.ask("/?auth").headers["Set-Cookie"].partition(";")[0]
        return page(site, "/?auth&text", headers={
            "Cookie": cookie, "Authorization": "Basic bmFtZTpzM2NyM3Q="})

    text = said()
    assert "Authorization arrives" not in text
    advice = re.search("^ *(CGIPassAuth On)\n *(# .*)\n *(SetEnvIf .*)\n", text, re.M)
    line = advice[{"AuthConfig": 1, "FileInfo": 3}[allowed]]
    (place.root / ".htaccess").write_text(line + "\n")
    assert "note: Authorization arrives.\n" in said()
    if allowed == "FileInfo":
        (place.root / ".htaccess").write_text(advice[1] + "\n")
        assert site.ask("/").status == 500
        place.logs.expect("CGIPassAuth not allowed here")


def test_haproxy(place):
    """X4: the same of pass-header, and of path-info."""
    def start(place, name):
        return Site(fronts.haproxy(place, name, socket=place.socket))

    file, line = "haproxy/root.cfg", "    path-info ^()(/.*)$\n"
    check_authorization(place, file, start,
                        "    pass-header Authorization\n")
    said = page(start(place, without(place, file, line)), "/x?text")
    assert said.startswith("wsgi-cgi --doctor: 1 thing to change\n")
    assert "        %s\n" % line.strip() in said


def test_caddy(place):
    """X5: nothing to change at the root; the other case is described."""
    doctor(place)
    said = page(Site(fronts.caddy(place, "caddy/root.caddyfile",
                                  root=place.root, socket=place.socket)))
    assert said.startswith("wsgi-cgi --doctor: Nothing to change\n")
    assert "web server: Caddy " in said and "        --mount /app\n" in said


def test_busybox(place):
    """X8: as a script's first line."""
    folder = place.root / "cgi-bin"
    folder.mkdir()
    script = folder / "app.py"
    script.write_text("#!%s --doctor\n" % place.binary)
    script.chmod(0o755)
    said = page(Site(fronts.busybox(place, "busybox/httpd.sh"),
                     "/cgi-bin/app.py"), "/x?text")
    assert "Nothing to change" in said
    assert "web server: busybox httpd " in said


@pytest.mark.parametrize("server", ["lighttpd", "nginx"])
def test_forms(server, place, nginx):
    """What the page's link and form do."""
    doctor(place)
    site = nginx() if server == "nginx" else Site(
        place.lighttpd("lighttpd/socket.conf", socket=place.socket))
    got = site.ask("/?auth")
    assert got.status == 401
    assert got.headers["WWW-Authenticate"].startswith("Basic ")
    cookie = got.headers["Set-Cookie"].partition(";")[0]
    text = page(site, "/?auth&text", headers={
        "Cookie": cookie, "Authorization": "Basic bmFtZTpzM2NyM3Q="})
    assert "note: Authorization arrives.\n" in text
    assert "Basic and 16 bytes, not shown" in text and "bmFtZ" not in text
    assert "did not arrive" in page(site, "/?auth&text",
                                    headers={"Cookie": cookie})
    body = b"\x00\xff" * 1_000_000
    kind = "multipart/form-data; boundary=b"
    text = page(site, method="POST", body=body,
                headers={"Content-Type": kind})
    assert "arrived: 2000000 bytes    <- as many as CONTENT_LENGTH" in text
    assert "\nCONTENT_TYPE: %s\n" % kind in text
