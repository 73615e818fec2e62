"""The recipes of wsgi-cgi-servers(7), as they stand in examples/servers: a stock
Django project, Flask at a path, the status page for one machine only, error pages,
and log files that logrotate rotates.

The program is started by the command in the file's own comment.
"""

import gzip
import http.client
import os
import re
import shlex
import shutil
import signal
import subprocess
import urllib.parse

import pytest

import fronts
import harness
import load
from harness import (EXAMPLE_SOCKET, SERVERS, TREE, Site, descendants, server_user,
                     wait_until)
from place import give_away

PROXY = "proxy", "proxy_fcgi"


# --- the files and their commands ---------------------------------------------

def command_in(name):
    """The words of the one command that a file's comment says to start."""
    text = (SERVERS / name).read_text()
    [found] = re.findall(r"^#   (wsgi-cgi (?:.*\\\n#   )*.*)\n", text, re.M)
    return shlex.split(found.replace("\\\n#", ""))


def start_application(place, name, *options, **pairs):
    """Runs that command, with paths replaced as in the file, and more options. As
    root, with what the comment adds for root, and nothing else that gives the
    web server its access to the socket."""
    words = command_in(name)
    assert words[:3] == ["wsgi-cgi", "--bind", "unix:" + EXAMPLE_SOCKET]
    text = " ".join(words[3:-1] + [*options, words[-1]])
    text = harness.substitute(text, pairs)
    assert not re.search("(^| |:)/(srv|run)/", text), text
    root = ["--user", server_user()[0]] if os.geteuid() == 0 else []
    return place.wait_for_socket(place.start("wsgi-cgi", [
        place.binary, "--bind", "unix:%s" % place.socket, *root, *text.split()]))


def lighttpd(place, name, **pairs):
    text = (SERVERS / name).read_text()
    assert "server.document-root" in text
    return place.lighttpd(name, socket=place.socket, **pairs)


def nginx(place, name, **pairs):
    return fronts.nginx(place, name, socket=place.socket, **pairs)


def apache(place, name, **pairs):
    # What Debian's own configuration has: types of files, and mod_authz_host.
    return fronts.apache(place, name, *PROXY, "authz_host", socket=place.socket,
                         extra="AddType text/css .css\n", **pairs)


FRONTS = {"nginx": nginx, "lighttpd": lighttpd, "apache": apache}


@pytest.fixture(params=FRONTS)
def front(request, place):
    """front("django", pairs): the server, with its file of that name; front.file()
    is that name in examples/servers."""
    def start(name, **pairs):
        return Site(FRONTS[request.param](place, start.file(name), **pairs))
    start.file = lambda name: "%s/%s.conf" % (request.param, name)
    start.name = request.param
    return start


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- Django -------------------------------------------------------------------

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def project(tmp_path_factory, need):
    """What django.sh makes, and a user."""
    need("django-admin")
    folder = tmp_path_factory.mktemp("django")
    script = write(folder / "django.sh", harness.example(
        "django.sh", srv="cd %s\n" % folder, owner="%s:%s" % server_user()))
    # Another Python is first in PATH, one without Django.
    other = write(folder / "bin" / "python3", "#!/bin/sh\nexit 1\n")
    other.chmod(0o755)
    env = {"PATH": "%s:/usr/bin:/bin:%s" % (other.parent, os.environ["PATH"]),
           "DJANGO_SUPERUSER_PASSWORD": PASSWORD, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*command):
        said = subprocess.run(command, cwd=folder, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert said.returncode == 0, said.stdout
        return said.stdout

    said = run("sh", script)
    assert "no page at /: open /admin/" in said
    [command] = re.findall("^  (cd .* createsuperuser)$", said, re.M)
    run("sh", "-c", command + " --noinput --username=admin --email=a@example.org")
    return folder / "mysite"


@pytest.mark.xdist_group("django")
def test_django(front, place, project):
    """A stock project: the login of its admin, with style sheets, which the web
    server sends, and nothing else of the project."""
    folder = place.folder / "mysite"
    shutil.copytree(project, folder)
    give_away(folder)
    start_application(place, front.file("django"), **{"/srv/mysite": folder})
    site = front("django", project=folder)

    assert site.ask("/").status == 404
    page = site.ask("/admin/login/")
    assert page.status == 200, page
    sheets = re.findall('href="([^"]*[.]css)"', page.text)
    assert "/static/admin/css/base.css" in sheets
    for sheet in sheets:
        got = site.ask(sheet)
        assert (got.status, got.body) == (200, (folder / sheet[1:]).read_bytes())
        assert got.headers["Content-Type"].partition(";")[0] == "text/css"

    token = re.search('csrfmiddlewaretoken" value="([^"]*)"', page.text)[1]
    cookie = page.headers["Set-Cookie"].partition(";")[0]
    got = site.ask("/admin/login/?next=/admin/", "POST", urllib.parse.urlencode(
        {"csrfmiddlewaretoken": token, "username": "admin",
         "password": PASSWORD}),
        {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"})
    assert (got.status, got.headers["Location"]) == (302, "/admin/"), got
    cookies = "; ".join(value.partition(";")[0]
                        for value in got.headers.get_all("Set-Cookie"))
    assert "Site administration" in site.ask(
        "/admin/", headers={"Cookie": cookies}).text

    for path in ("/static/", "/static/../mysite/settings.py",
                 "/static../mysite/settings.py", "/mysite/settings.py",
                 "/db.sqlite3", "/static/no-such-file"):
        got = site.ask(path)
        assert got.status in (400, 403, 404), (path, got)
    place.logs.allow("No such file|directory index .* forbidden|AH01276|AH00128"
                     "|AH10244|File does not exist", "Not Found: ")


# --- Flask --------------------------------------------------------------------

SHOP = '''
from flask import Flask, redirect, url_for

app = Flask(__name__)

@app.route("/")
def start():
    return '<link href="%s"><a href="%s">Cart</a>' % (
        url_for("static", filename="style.css"), url_for("cart"))

@app.route("/cart")
def cart():
    return redirect(url_for("start"))
'''
STYLE = "body { color: navy }\n"


def test_flask(front, place):
    """X9: at /shop, in a virtual environment. Links and redirects lead back to it; the
    web server sends its static files, and all that is elsewhere."""
    folder = place.folder / "shop"
    write(folder / "shop.py", SHOP)
    write(folder / "static" / "style.css", STYLE)
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip",
                    "--system-site-packages", folder / "venv"], check=True)
    give_away(folder)
    log = place.logs.path("access.log")
    start_application(place, front.file("flask"), "--access-log", str(log),
                      **{"/srv/shop": folder})
    site = front("flask", shop=folder)
    write(place.root / "index.txt", "from disk\n")

    page = site.ask("/shop/")
    assert page.text == ('<link href="/shop/static/style.css">'
                         '<a href="/shop/cart">Cart</a>')
    assert site.ask("/shop").status in (200, 308)
    got = site.ask("/shop/static/style.css")
    assert (got.status, got.text) == (200, STYLE)
    assert got.headers["Content-Type"].partition(";")[0] == "text/css"
    got = site.ask("/shop/cart?x=1")
    assert (got.status, got.headers["Location"]) == (302, "/shop/")
    assert site.ask("/index.txt").text == "from disk\n"
    for path in ("/shopping", "/shop/static/none", "/shop/static../shop.py",
                 "/shop/shop.py"):
        assert site.ask(path).status == 404, path
    place.logs.allow("No such file|AH00128|File does not exist")
    asked = re.findall('"GET (\\S+) HTTP', log.read_text())
    assert "/shop/cart?x=1" in asked
    assert not [path for path in asked if path.startswith("/shop/static/")]


# --- the status page ----------------------------------------------------------

WAITS = '''
import os, time

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    if environ["PATH_INFO"] == "/wait":
        while not os.path.exists(environ["DOCUMENT_ROOT"] + "/go"):
            time.sleep(0.01)
    return [b"the application"]
'''


def ask_from(site, address, path):
    """(status, body) of a request that comes from this address of loopback."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", site.port, timeout=harness.DEADLINE,
        source_address=(address, 0))
    try:
        connection.request("GET", path)
        got = connection.getresponse()
        return got.status, got.read().decode("utf-8")
    finally:
        connection.close()


@pytest.mark.parametrize("option", ["--control", "--status-path"])
def test_status_for_this_machine(front, place, option):
    """At /status, for clients at 127.0.0.1 and for no other. With --control also
    while the only thread is busy."""
    name = front.file("status")
    app = write(place.app_dir / "app.py", WAITS)
    pairs = {"/srv/app/app.py": app,
             "/run/wsgi-cgi/status.sock": place.run_dir / "status.sock"}
    if option == "--status-path":
        pairs["/run/wsgi-cgi/status.sock"] = place.socket
        pairs["--control unix:/run/wsgi-cgi/status.sock"] = "--status-path /status"
    start_application(place, name, "--threads", "1", **pairs)
    site = front("status", status=pairs["/run/wsgi-cgi/status.sock"])
    place.logs.allow("access forbidden by rule|AH01630: client denied")

    def check():
        status, text = ask_from(site, "127.0.0.1", "/status?json")
        assert status == 200 and '"accepted conn"' in text, text

    check()
    assert ask_from(site, "127.0.0.2", "/") == (200, "the application")
    for path in ("/status", "/status?json", "//status", "/%73tatus", "/status/",
                 "/x/../status", "/./status?full", "/statusx", "/status%3F"):
        status, text = ask_from(site, "127.0.0.2", path)
        assert status == 403 or text == "the application", (path, text)
        if path in ("/status", "/status?json"):
            assert status == 403
    if option == "--control":
        waiting = site.send_raw(b"GET /wait HTTP/1.0\r\n\r\n")
        wait_until(lambda: '"active processes":1' in ask_from(
            site, "127.0.0.1", "/status?json")[1], "the thread is busy")
        check()
        said = subprocess.run(
            [place.binary, "--status", "unix:%s" % (place.run_dir / "status.sock")],
            stdout=subprocess.PIPE, check=True, text=True).stdout
        assert re.search("^active processes: +1$", said, re.M), said
        write(place.root / "go", "")
        with waiting:
            assert waiting.makefile("rb").read().endswith(b"the application")


# --- error pages --------------------------------------------------------------

ERRORS = '''
import os, time

def application(environ, start_response):
    if environ["PATH_INFO"] == "/missing":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"the application's own"]
    while environ["PATH_INFO"] == "/slow" and not os.path.exists(
            environ["DOCUMENT_ROOT"] + "/go"):
        time.sleep(0.01)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % len(body)]
'''


def test_error_pages(front, place):
    """The site has its own page for 413 and 504 of wsgi-cgi, and for those of the web
    server's own limits; the application's other error pages are not replaced.

    (nginx: both 413, and wsgi-cgi's 504. lighttpd: its own 413 and 504. Apache:
    wsgi-cgi's 413 and 504.) nginx checks the size of a body once more when it
    goes to the page, so bodies are larger than its default limit."""
    app = write(place.app_dir / "app.py", ERRORS)
    shutil.copytree(SERVERS / "errors", place.root / "errors")
    options = ["--request-timeout", "300ms", "--limit-body", "3m"]
    if front.name == "lighttpd":
        place.edit = lambda text: harness.substitute(
            text, {'"read-timeout" => 30': '"read-timeout" => 1'})
        options = []
        place.logs.allow("-> 413", "read timeout")
    else:
        place.logs.expect("GET /slow: ended by --request-timeout",
                          "POST /: 413: the body of .* is larger than --limit-body")
        place.logs.allow("POST /slow: ended by --request-timeout")
    start_application(place, front.file("error-pages"), *options,
                      **{"/srv/app/app.py": app})
    site = front("error-pages")
    assert site.ask("/", "POST", b"x" * 1000).text == "1000"

    if front.name != "lighttpd":
        got = site.ask("/", "POST", b"x" * (4 << 20))
        assert (got.status, got.text) == (
            413, (SERVERS / "errors" / "413.html").read_text())
    if front.name != "apache":
        place.logs.allow("too large body")
        got = site.ask("/", "POST", headers={"Content-Length": "300000000"})
        assert (got.status, got.text) == (
            413, (SERVERS / "errors" / "413.html").read_text())
    for method, body in ("GET", None), ("POST", b"x" * (2 << 20)):
        got = site.ask("/slow", method, body)
        assert (got.status, got.text) == (
            504, (SERVERS / "errors" / "504.html").read_text()), method
    write(place.root / "go", "")
    got = site.ask("/missing")
    assert (got.status, got.text) == (404, "the application's own")


# --- supervisor and logrotate -------------------------------------------------

VERSION = '''
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%s"]
'''


def lines_of(folder):
    """Of all access logs, rotated or not."""
    return [line for path in folder.glob("access.log*") for line in
            (gzip.open if path.suffix == ".gz" else open)(
                path, "rb").read().splitlines()]


def rotate(place, folder):
    """Runs logrotate with its file, as if the week was over."""
    config = write(place.folder / "logrotate.conf", place.example(
        "logrotate.conf", log_folder=folder, pid_file=place.run_dir / "app.pid",
        su="su %s %s" % server_user()))
    config.chmod(0o644)
    said = subprocess.run(
        [place.need("logrotate"), "--force", "--state", place.folder / "state",
         config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (said.returncode, said.stdout) == (0, "")


def test_supervisor_and_logrotate(place):
    """P5, P6: new code by "supervisorctl signal HUP", and logrotate, under load: no
    request fails, and each has its line in an access log."""
    app = write(place.app_dir / "app.py", VERSION % "v0")
    folder = place.folder / "app-log"
    folder.mkdir()
    give_away(folder)
    place.supervisord("supervisor-bind.conf", app=app, log_folder=folder,
                      pid_file=place.run_dir / "app.pid")
    site = Site(nginx(place, "nginx/socket.conf"))

    def processes():
        return [pid for pid, (_, state, command) in descendants().items()
                if state != "Z" and harness.is_ours(command, place.binary)]

    with load.Http(site, clients=3) as clients:
        clients.wait_for("v0")
        write(place.app_dir / "new.py", VERSION % "new").rename(app)
        said = place.supervisorctl("signal", "HUP", "app:*")
        assert said == "app: signalled\n"
        clients.wait_for("new")
        rotate(place, folder)
        wait_until(lambda: (folder / "access.log").stat().st_size,
                   "the new file has lines")
        assert (folder / "access.log.1").stat().st_size
        clients.wait_for_more(100)
    clients.check()
    wait_until(lambda: len(lines_of(folder)) >= len(clients.answers),
               lambda: "a line for each: %d of %d" % (
                   len(lines_of(folder)), len(clients.answers)))
    assert len(lines_of(folder)) == len(clients.answers)
    rotate(place, folder)
    assert (folder / "access.log.2.gz").exists()
    assert len(lines_of(folder)) == len(clients.answers)
    log = "".join(path.read_text() for path in folder.glob("app.log*")
                  if path.suffix != ".gz")
    assert not re.search("error|Traceback", log), log

    assert len(processes()) == 3  # the master and two workers
    [master] = [pid for pid in processes() if descendants()[pid][0] not in processes()]
    os.kill(master, signal.SIGTERM)  # not supervisor's, and it ends with 0
    wait_until(lambda: processes() and master not in processes() and
               (place.run_dir / "app.pid").exists(),
               lambda: "another one:\n%s" % place.logs.all())
    assert place.supervisorctl("stop", "app:*") == "app: stopped\n"
    assert processes() == []
    assert not (place.run_dir / "app.pid").exists()


# --- the texts ----------------------------------------------------------------

def test_every_command_is_complete(binary):
    """The commands of all comments name options that the program has, and what root
    must add."""
    known = subprocess.run([binary, "--help"], stdout=subprocess.PIPE, check=True,
                           text=True).stdout
    files = [path for path in sorted(SERVERS.rglob("*.conf"))
             if "\n#   wsgi-cgi --bind" in path.read_text()]
    assert len(files) >= 15
    for path in files:
        words = command_in(path.relative_to(SERVERS))
        # Where: what stands behind the application is not an option.
        assert "unix:" not in words[2] or re.search(
            r"^#   wsgi-cgi (.*\\\n)*.*\n# As root, add --user %s before %s:" % (
                harness.EXAMPLE_USER, re.escape(words[-1])), path.read_text(), re.M), path
        for word in words:
            if word.startswith("--"):
                assert word + " " in known, (path, word)


def test_nginx_files_say_where_they_belong():
    """"nginx -t" checks nothing before the file is there."""
    files = [*(SERVERS / "nginx").iterdir(), SERVERS / "shared-host" / "nginx.conf"]
    assert len(files) >= 14
    for path in files:
        assert ("\n# Copy this file to /etc/nginx/conf.d/ (it belongs inside http {})."
                " Check: nginx -t\n") in path.read_text(), path


def test_manual_shows_these_commands():
    """Each in the words of the file that it names."""
    text = (TREE / "man" / "wsgi-cgi-servers.7").read_text()
    shown = re.findall(r'^\.\\" command: (\S+)\n\.Bd .*\n((?:[^.].*\n)+)\.Ed$', text,
                       re.M)
    assert [name for name, _ in shown] == [
        "nginx/django.conf", "nginx/flask.conf", "nginx/status.conf"]
    for name, command in shown:
        assert shlex.split(command.replace("\\e\n", "")) == command_in(name)


@pytest.mark.parametrize("name", ["django", "flask", "status"])
def test_command_is_the_same_for_each_server(name):
    """What starts the application does not depend on the web server."""
    assert command_in("nginx/%s.conf" % name) == \
        command_in("lighttpd/%s.conf" % name) == \
        command_in("apache/%s.conf" % name)


def test_flask_files_say_how_the_environment_is_made():
    """In the folder of --venv."""
    for name in FRONTS:
        words = command_in("%s/flask.conf" % name)
        venv = words[words.index("--venv") + 1]
        assert ("#   python3 -m venv %s\n#   %s/bin/pip install flask\n" % (venv, venv)
                in (SERVERS / name / "flask.conf").read_text()), name


def test_proxypass_excepts_what_alias_has():
    """Where a path is Apache's, the ProxyPass with "!" has the very path of the Alias,
    and is above the one for the application."""
    files = [path for path in SERVERS.parent.rglob("*.conf")
             if re.search("^ *Alias .*(.*\n)*.* *ProxyPass .*unix:", path.read_text(), re.M)]
    assert len(files) >= 3
    for path in files:
        text = path.read_text()
        paths = re.findall('^ *ProxyPass "(.*?)" "(.)', text, re.M)
        assert paths[:-1] == [
            (alias, "!") for alias in re.findall('^ *Alias "(.*?)"', text, re.M)], path
        assert paths[-1][1] == "u", path


def test_error_pages_say_the_limit():
    """The size that the commands of the files have, and where it is set."""
    assert "up to 10 MB" in (SERVERS / "errors" / "413.html").read_text()
    for name, setting in [("nginx", "--limit-body"), ("apache", "--limit-body"),
                          ("lighttpd", "server.max-request-size")]:
        text = (SERVERS / name / "error-pages.conf").read_text().replace("\n#", "")
        assert ('413.html says "10 MB": for another limit, change it there and in %s.'
                % setting in text), name
    for name in ("nginx", "apache"):
        words = command_in("%s/error-pages.conf" % name)
        assert words[words.index("--limit-body") + 1] == "10m"
    assert "\nserver.max-request-size = %d\n" % (10 * 1024) in (
        SERVERS / "lighttpd" / "error-pages.conf").read_text()
