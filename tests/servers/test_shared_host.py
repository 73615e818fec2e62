"""What examples/servers/shared-host/README.md has people upload, on a host with two
customers, alice and bob.

Each file is where the README puts it: a mount namespace has its own /home, /tmp and
/etc/passwd, so nothing in the files is replaced. Apache changes to the owner of a site
with the real suexec; the other servers run as that user.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import urllib.parse
from pathlib import Path

import pytest

import fronts
import harness
from harness import SERVERS, Site, descendants, is_ours, wait_until

FILES = SERVERS / "shared-host"
README = FILES / "README.md"
# Of each process of pytest-xdist its own: limits count the processes of a user.
FIRST_USER = 61000 + 2 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
USERS = {"alice": FIRST_USER, "bob": FIRST_USER + 1}
PROGRAM = "wsgi-cgi/bin/wsgi-cgi"

# /tmp still has the test's folder, under the same name.
ENTER = """set -e
folder=$1
shift
mount --bind "$folder" "$folder/tmp/${folder##*/}"
mount --rbind "$folder/tmp" /tmp
cd "$folder"
mount --bind home /home
mount --bind passwd /etc/passwd
mount --bind group /etc/group
mount --bind log-of-suexec /var/log
[ ! -d /etc/apache2/suexec ] || mount --bind suexec /etc/apache2/suexec
exec "$@"
"""


class Host:
    """The machine of the customers."""

    def __init__(self, place):
        self.place, self.folder = place, place.folder
        for name in "tmp/" + place.folder.name, "home", "suexec", \
                "log-of-suexec/apache2":
            (place.folder / name).mkdir(parents=True)
        (place.folder / "tmp").chmod(0o1777)
        for path in place.logs.folder, place.run_dir:
            path.chmod(0o777)  # of servers that are a customer's
        lines = {name: Path("/etc", name).read_text() for name in ("passwd", "group")}
        for user, number in USERS.items():
            lines["passwd"] += "%s:x:%d:%d::/home/%s:/bin/sh\n" % (
                user, number, number, user)
            lines["group"] += "%s:x:%d:\n" % (user, number)
        for name, text in lines.items():
            (place.folder / name).write_text(text)
        (place.folder / "suexec/www-data").write_text("/home\npublic_html\n")
        (place.folder / "enter.sh").write_text(ENTER)
        self.above = "/tmp"  # where the folder of the instances is: TMPDIR
        place.started_by = self.enter = [
            place.need("unshare"), "--mount", "--propagation", harness.propagation(), "sh",
            place.folder / "enter.sh", place.folder]

    def as_user(self, user):
        """The words that run a command as one of them."""
        number = str(USERS[user])
        return [*self.enter, self.place.need("setpriv"), "--reuid", number, "--regid",
                number, "--clear-groups", "--"]

    def run(self, user, *command, **options):
        return subprocess.run(
            [*self.as_user(user), *command], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=harness.DEADLINE, **options)

    def home(self, user="alice"):
        return self.folder / "home" / user

    # what people upload

    def upload(self, name, target, user="alice", **edits):
        """A file of shared-host: of it, only the customer's name is replaced, and what
        edits says."""
        source = FILES / name
        text = source.read_text()
        assert user == "alice" or "alice" in text, name
        text = text.replace("alice", user)
        for old, new in edits.items():
            assert old in text, old
            text = text.replace(old, new)
        return self.write(target, text, user, source.stat().st_mode)

    def write(self, target, text, user="alice", mode=0o644):
        path = self.home(user) / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(stat.S_IMODE(mode))
        return path

    def upload_program(self, user="alice"):
        target = self.home(user) / PROGRAM
        target.parent.mkdir(parents=True)
        shutil.copy(self.place.binary, target)

    def upload_environment(self, name, user="alice"):
        """The virtual environment of the README's command, by a client for FTP: it
        has no links."""
        [command] = re.findall("^    (python3 -m venv .*)$", README.read_text(), re.M)
        words = command.split()
        assert words.pop() == "venv"
        folder = self.home(user) / name / "venv"
        subprocess.run(["/usr/bin/" + words[0], *words[1:], "--without-pip",
                        "--system-site-packages", folder], check=True)
        for path in folder.rglob("*"):
            if path.is_symlink():
                path.unlink()

    def give_away(self, *private, user="alice"):
        """Everything is the customer's; nobody else may enter the folders private."""
        home = self.home(user)
        for path in (home, *home.rglob("*")):
            os.chown(path, USERS[user], USERS[user], follow_symlinks=False)
        home.chmod(0o711)
        for name in private:
            (home / name).chmod(0o700)

    # the instances

    def files(self, user="alice"):
        """What is in the folder of the instances; None: there is no folder."""
        folder = self.folder / self.above[1:] / ("wsgi-cgi-%d" % USERS[user])
        return sorted(folder.iterdir()) if folder.exists() else None

    def file(self, end, user="alice"):
        [path] = [path for path in self.files(user) if path.name.endswith(end)]
        return Path("/", path.relative_to(self.folder))

    def processes(self, kind, user="alice"):
        """Of the instances, and of requests."""
        return {pid for pid, (_, state, command) in descendants().items()
                if state != "Z" and is_ours(command, "/home/%s/%s" % (user, PROGRAM))
                and kind in command and uid_of(pid) == USERS[user]}

    def served(self, user="alice"):
        """{worker's pid: its requests}."""
        said = self.run(user, "/home/%s/%s" % (user, PROGRAM), "--status",
                        "unix:%s" % self.file(".ctl", user), "--json")
        assert said.returncode == 0, said.stdout
        return {one["pid"]: one["requests"] for one in
                json.loads(said.stdout)["processes"]}

    def end_instances(self):
        for user in USERS:
            for pid in self.processes("master", user):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not any(self.processes("", user) for user in USERS),
                   "the instances end")


def uid_of(pid):
    try:
        return os.stat("/proc/%d" % pid).st_uid
    except FileNotFoundError:
        return None


@pytest.fixture
def host(place):
    if os.geteuid() != 0:
        pytest.skip("only root can make users and a mount namespace")
    made = Host(place)
    tried = subprocess.run([*made.enter, "true"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    if tried.returncode != 0:
        pytest.skip("no mount namespace here: %s" % tried.stdout.strip())
    yield made
    made.end_instances()


# --- servers ------------------------------------------------------------------

SITE = """
<VirtualHost 127.0.0.1:8080>
    ServerName %(user)s.example
    DocumentRoot /home/%(user)s/public_html
    SuexecUserGroup %(user)s %(user)s
%(lines)s
    <Directory "/home/%(user)s/public_html">
        Require all granted
        AllowOverride %(override)s
    </Directory>
</VirtualHost>
"""
SERVER = """Listen 127.0.0.1:8080
<VirtualHost 127.0.0.1:8080>
    DocumentRoot "/srv/www"
</VirtualHost>
"""
# Of Debian's own configuration.
DEBIAN = """AddType text/css .css
<FilesMatch "^\\.ht">
    Require all denied
</FilesMatch>
"""


class NamedSite(Site):
    """One of several on a port."""
    name = ""

    def ask(self, path="/", method="GET", body=None, headers=None):
        return super().ask(path, method, body, {"Host": self.name, **(headers or {})})


def apache(place, module, *users, override="All", lines=""):
    """[site of each user]: Apache with suexec."""
    if harness.find_program("suexec") is None and \
            not Path("/usr/lib/apache2/suexec").exists():
        harness.missing("suexec")
    config = place.folder / "host.conf"
    config.write_text(SERVER + "".join(SITE % {
        "user": user, "lines": lines.replace("alice", user), "override": override}
        for user in users))
    port = fronts.apache(place, str(config), module, "rewrite", "dir", "suexec",
                         extra=DEBIAN)
    sites = []
    for user in users:
        site = NamedSite(port)
        site.name = user + ".example"
        sites.append(site)
    return sites


MODULES = pytest.mark.parametrize("module", ["cgid", "cgi"])


# --- sites --------------------------------------------------------------------

STYLE = "p { color: navy }\n"
SECRET = "4f3c0ffee-%s"


def write_secret(host, folder, user):
    host.write(folder + "/secret-key", SECRET % user, user)


def flask(host, user="alice", script="public_html/app.cgi",
          htaccess="root/.htaccess", **edits):
    """Everything for it."""
    host.upload_program(user)
    host.write("public_html/static/style.css", STYLE, user)
    host.upload("flask/app.cgi", script, user, **edits)
    if htaccess:
        host.write("public_html/.htaccess", (FILES / htaccess).read_text(), user)
    host.write("shop/shop.py", (FILES / "flask/shop.py").read_text(), user)
    write_secret(host, "shop", user)
    host.upload_environment("shop", user)
    host.give_away("shop", user=user)


def check_flask(host, site, user="alice", prefix=""):
    """Its pages, and that only the first starts anything."""
    page = site.ask(prefix + "/")
    assert page.status == 200 and "<p>0 in your cart</p>" in page.text, page
    assert 'href="%s/static/style.css"' % prefix in page.text
    assert 'action="%s/cart"' % prefix in page.text
    check_warm(host, user)
    got = site.ask(prefix + "/cart", "POST", b"", {
        "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"})
    assert (got.status, got.headers["Location"]) == (302, prefix + "/"), got
    cookie = got.headers["Set-Cookie"].partition(";")[0]
    page = site.ask(prefix + "/", headers={"Cookie": cookie})
    assert "<p>1 in your cart</p>" in page.text, page
    check_warm(host, user, 3)


def check_warm(host, user, requests=1):
    """One worker has served all requests so far, and it is the customer's."""
    [(worker, n)] = host.served(user).items()
    assert n == requests
    [master] = host.processes("master", user)
    assert host.processes("worker", user) == {worker}
    for pid in master, worker:
        text = Path("/proc/%d/status" % pid).read_text()
        for line in "Uid", "Gid":
            assert re.search(r"^%s:(\t%d){4}$" % (line, USERS[user]), text, re.M)
        assert re.search(r"^Groups:\s*(%d)?\s*$" % USERS[user], text, re.M), text


def check_static(host, site, path="/static/style.css", user="alice"):
    """The web server sends it."""
    before = host.served(user)
    got = site.ask(path)
    assert (got.status, got.text) == (200, STYLE)
    assert host.served(user) == before


def check_secret(host, site, folder, user="alice"):
    """Nobody gets it, nor the source, nor what is above the web root."""
    secret = host.home(user) / folder / "secret-key"
    assert secret.read_text() == SECRET % user
    for path in ("/secret-key", "/shop.py", "/%s/secret-key" % folder,
                 "/../%s/secret-key" % folder, "/static/../../%s/secret-key" % folder,
                 "/%%2e%%2e/%s/secret-key" % folder, "/app.cgi", "/app.cgi/secret-key",
                 "/cgi-bin/app.cgi", "/.htaccess"):
        got = site.ask(path)
        assert (SECRET % user)[:9] not in got.text, path
        assert "#!" not in got.text and "import" not in got.text, path
        assert "Rewrite" not in got.text, path
    host.place.logs.allow("AH10244: invalid URI path|AH01630: client denied",
                          "Not Found: ")


def check_edit(host, site):
    """A module that is uploaded is used soon, by the same instance."""
    [master] = host.processes("master")
    shop = host.home() / "shop/shop.py"
    shop.write_text(shop.read_text().replace("in your cart", "in your basket"))
    wait_until(lambda: "in your basket" in site.ask().text, "the new code answers")
    assert host.processes("master") == {master}


def check_idle(host, script, ask, user="alice"):
    """The edited script is a new instance, which ends when nothing comes, and all its
    processes and files are gone."""
    old = host.processes("master", user)
    text = script.read_text()
    assert "--keep-warm" in text
    script.write_text(text.replace("--keep-warm", "--keep-warm --exit-idle 1s"))
    ask()
    assert host.processes("master", user) != old
    wait_until(lambda: not host.processes("", user) and not host.files(user),
               lambda: "nothing is left: %s %s" % (
                   host.processes("", user), host.files(user)))


def check_no_complaint(place):
    """No request was served without the instance."""
    assert "--keep-warm" not in place.logs.all()


@MODULES
def test_flask(host, place, module):
    """Apache runs what .htaccess says: two sites at a time, each has its own user."""
    for user in USERS:
        flask(host, user)
    sites = dict(zip(USERS, apache(place, module, *USERS)))
    for user, site in sites.items():
        check_flask(host, site, user)
        check_static(host, site, user=user)
        check_secret(host, site, "shop", user)
    assert host.processes("master", "alice").isdisjoint(host.processes("master", "bob"))
    check_edit(host, sites["alice"])
    check_idle(host, host.home() / "public_html/app.cgi", sites["alice"].ask)
    check_no_complaint(place)


# --- Django -------------------------------------------------------------------

PASSWORD = "correct horse"


def django(host, user="alice"):
    """What the README has for it; django-admin makes the project."""
    host.upload_program(user)
    host.upload("django/app.cgi", "public_html/app.cgi", user)
    host.write("public_html/.htaccess", (FILES / "root/.htaccess").read_text(), user)
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1",
           "DJANGO_SUPERUSER_PASSWORD": PASSWORD}

    def run(*words, folder=host.home(user) / "mysite"):
        said = subprocess.run(words, cwd=folder, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert said.returncode == 0, said.stdout

    run(host.place.need("django-admin"), "startproject", "mysite",
        folder=host.home(user))
    settings = host.home(user) / "mysite/mysite/settings.py"
    text, n = re.subn("^SECRET_KEY = .*\n", "", settings.read_text(), flags=re.M)
    assert n == 1
    settings.write_text(text + (FILES / "django/settings.py").read_text().replace(
        "alice", user))
    write_secret(host, "mysite", user)
    commands = re.findall("^    python3 (manage.py .*)$", README.read_text(), re.M)
    assert len(commands) == 2
    for command in *commands, "manage.py createsuperuser --noinput --username=admin " \
            "--email=a@example.org":
        run("/usr/bin/python3", *command.split())
    host.upload_environment("mysite", user)
    host.give_away("mysite", user=user)


@MODULES
def test_django(host, place, module):
    """A stock project: the login of its admin, which writes to the database, with the
    style sheets that the web server sends."""
    django(host)
    [site] = apache(place, module, "alice")
    page = site.ask("/admin/login/")
    assert page.status == 200, page
    check_warm(host, "alice")
    before = host.served()
    sheets = re.findall('href="([^"]*[.]css)"', page.text)
    assert "/static/admin/css/base.css" in sheets
    for sheet in sheets:
        got = site.ask(sheet)
        assert (got.status, got.body) == (
            200, (host.home() / "public_html" / sheet[1:]).read_bytes())
    assert host.served() == before
    token = re.search('csrfmiddlewaretoken" value="([^"]*)"', page.text)[1]
    got = site.ask("/admin/login/?next=/admin/", "POST", urllib.parse.urlencode(
        {"csrfmiddlewaretoken": token, "username": "admin", "password": PASSWORD}), {
            "Cookie": page.headers["Set-Cookie"].partition(";")[0],
            "Content-Type": "application/x-www-form-urlencoded"})
    assert (got.status, got.headers["Location"]) == (302, "/admin/"), got
    cookies = "; ".join(value.partition(";")[0]
                        for value in got.headers.get_all("Set-Cookie"))
    assert "Site administration" in site.ask(
        "/admin/", headers={"Cookie": cookies}).text
    check_warm(host, "alice", 3)
    check_secret(host, site, "mysite")
    assert "SQLite" not in site.ask("/mysite/db.sqlite3").text
    check_idle(host, host.home() / "public_html/app.cgi",
               lambda: site.ask("/admin/login/"))
    check_no_complaint(place)


# --- other places for the files -----------------------------------------------

@MODULES
def test_cgi_bin(host, place, module):
    """Scripts run in /cgi-bin only: the host has said so, .htaccess may not."""
    flask(host, script="public_html/cgi-bin/app.cgi", htaccess="cgi-bin/.htaccess")
    [site] = apache(place, module, "alice", override="FileInfo", lines="""
    ScriptAlias "/cgi-bin/" "/home/alice/public_html/cgi-bin/" """)
    check_flask(host, site)
    check_static(host, site)
    check_secret(host, site, "shop")
    assert site.ask("/cgi-bin/missing.cgi").status == 404
    place.logs.allow("AH02811|AH01264")
    check_no_complaint(place)


def test_folder_of_the_site(host, place):
    """The application has /site, and the folder's .htaccess."""
    flask(host, script="public_html/site/app.cgi", htaccess=None,
          **{"--mount / ": "--mount /site "})
    for name, text in (("site/.htaccess", (FILES / "site/.htaccess").read_text()),
                       ("site/static/style.css", STYLE),
                       ("index.html", "the web server's own\n")):
        host.write("public_html/" + name, text)
    host.give_away("shop")
    [site] = apache(place, "cgid", "alice")
    check_flask(host, site, prefix="/site")
    check_static(host, site, "/site/static/style.css")
    assert site.ask("/index.html").text == "the web server's own\n"
    check_secret(host, site, "shop")


def test_private_folder(host, place):
    """Where all is below the web root: "Require all denied"."""
    flask(host)
    (host.home() / "shop").rename(host.home() / "public_html/shop")
    path = host.home() / "public_html/app.cgi"
    path.write_text(path.read_text().replace("/alice/shop", "/alice/public_html/shop"))
    [site] = apache(place, "cgid", "alice")
    (host.home() / "public_html/shop").chmod(0o755)
    assert site.ask("/shop/secret-key").text == SECRET % "alice"
    host.write("public_html/shop/.htaccess", (FILES / "private/.htaccess").read_text())
    for path in "/shop/secret-key", "/shop/shop.py", "/shop/":
        assert site.ask(path).status == 403, path
    check_flask(host, site)
    check_secret(host, site, "public_html/shop")


def test_wrapper(host, place):
    """A shell script instead of a long first line. (suexec keeps no variable of SetEnv,
    so .htaccess is no place for the options.) The page of check.cgi understands it."""
    flask(host)
    host.upload("wrapper/app.cgi", "public_html/app.cgi")
    host.upload("try/check.cgi", "public_html/check.cgi")
    htaccess = host.home() / "public_html/.htaccess"
    htaccess.write_text("SetEnv WSGI_CGI_OPTIONS --doctor\n" + htaccess.read_text())
    host.give_away("shop")
    [site] = apache(place, "cgid", "alice")
    check_flask(host, site)
    check_static(host, site)
    assert PAGE in site.ask("/?-h").text
    assert host.processes("/home/alice/shop/shop.py")  # what ps(1) shows
    check_no_complaint(place)
    assert "shop.py loads with Python 3." in site.ask("/check.cgi").text


def test_first_line_too_long(host, place):
    """The page of check.cgi has the words of the README."""
    flask(host, **{"--keep-warm": "--keep-warm " + 60 * "--access-log=- "})
    host.upload("try/check.cgi", "public_html/check.cgi")
    host.give_away("shop")
    [site] = apache(place, "cgid", "alice")
    assert site.ask("/").status == 500
    words = "in the #! line: it is longer than the kernel reads"
    assert "`%s`" % words in README.read_text()
    assert words in site.ask("/check.cgi").text
    place.logs.expect("error: .*" + words)


# --- what hosts do to scripts ---------------------------------------------------

def test_suexec_refuses_what_others_may_write(host, place):
    """README: 755, not 777. The page is a 500, and suexec's log says why."""
    flask(host)
    [site] = apache(place, "cgid", "alice")
    log = host.folder / "log-of-suexec/apache2/suexec.log"
    for path, words in (("public_html/app.cgi", "file is writable by others"),
                        ("public_html", "directory is writable by others")):
        (host.home() / path).chmod(0o777)
        assert site.ask().status == 500
        assert words in log.read_text()
        (host.home() / path).chmod(0o755)
    assert site.ask().status == 200
    place.logs.expect("AH02811|AH01215|End of script output before headers")


def test_instance_is_killed(host, place):
    """As by a host that ends old processes: no page fails, and soon the next instance
    answers."""
    flask(host)
    [site] = apache(place, "cgid", "alice")
    assert site.ask().status == 200
    old = host.processes("")
    assert host.processes("master") <= old
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    place.right_codes["orphan"] = (-signal.SIGKILL,)
    wait_until(lambda: not host.processes("master"), "it is dead")

    def is_warm():
        got = site.ask()
        assert got.status == 200 and PAGE in got.text, got
        return host.processes("master")

    wait_until(is_warm, "another instance")
    before = sum(host.served().values())
    assert site.ask().status == 200
    assert sum(host.served().values()) == before + 1


def open_files(pids):
    """Pipes, sockets and files that these processes have open, not devices."""
    found = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError):  # it has ended
            for fd in os.listdir("/proc/%d/fd" % pid):
                with contextlib.suppress(FileNotFoundError):  # it was closed
                    found.add(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
    return {name for name in found if not name.startswith(("/dev/", "anon_inode:"))}


@MODULES
def test_server_is_restarted(host, place, module):
    """It does not wait for the instance, which holds nothing of it, and serves the
    requests of the next one."""
    flask(host)
    [site] = apache(place, module, "alice")
    assert site.ask().status == 200
    check_warm(host, "alice")
    server = place.servers[-1].pid
    of_server = open_files({server, *descendants(server)} - host.processes(""))
    of_instance = open_files(host.processes("master") | host.processes("worker"))
    assert of_server and of_instance
    assert not of_server & of_instance
    assert place.stop(place.servers[-1]) == 0
    [site] = apache(place, module, "alice")
    assert site.ask().status == 200
    check_warm(host, "alice", 2)
    check_no_complaint(place)


def test_limit_of_processes(host, place):
    """Where the host allows a single process, each request is served by its own, and
    the log says why."""
    flask(host)
    [site] = apache(place, "cgid", "alice", lines="RLimitNPROC 1")
    for _ in range(2):
        got = site.ask()
        assert got.status == 200 and PAGE in got.text, got
    place.logs.wait_for("--keep-warm: .*: this process serves the request")
    assert not host.processes("master") and not host.files()


def test_log_file_of_ones_own(host, place):
    """For those who cannot read the host's error log."""
    flask(host, **{"--keep-warm": "--keep-warm --log-file /home/alice/shop/app.log"})
    shop = host.home() / "shop/shop.py"
    shop.write_text(shop.read_text() + """

@app.route("/fail")
def fail():
    raise RuntimeError("on purpose")
""")
    [site] = apache(place, "cgid", "alice")
    assert site.ask("/fail").status == 500
    check_warm(host, "alice")
    said = (host.home() / "shop/app.log").read_text()
    assert said.count("RuntimeError: on purpose") == 1, said
    assert "--log-file /home/alice/shop/app.log" in README.read_text()


# --- the pages that help --------------------------------------------------------

def test_host_page(host, place):
    flask(host)
    host.upload("try/host.cgi", "public_html/host.cgi")
    host.give_away("shop")
    [site] = apache(place, "cgid", "alice")
    got = site.ask("/host.cgi")
    assert (got.status, got.headers["Content-Type"]) == (200, "text/plain")
    for line in (r"user:      uid=%d\(alice\) gid=.*" % USERS["alice"],
                 "folder:    /home/alice/public_html", "system:    Linux .*",
                 r"C library: glibc \d.*", r"Python:    /usr/bin/python3.*, 3\..*",
                 "temporary: /tmp, scripts may write there", "limits:"):
        assert re.search("^%s$" % line, got.text, re.M), got.text
    assert "not found" not in got.text


def test_check_page(host, place):
    """It says that app.cgi loads, or why it does not."""
    flask(host)
    host.upload("try/check.cgi", "public_html/check.cgi")
    host.give_away("shop")
    [site] = apache(place, "cgid", "alice")
    app, python = host.home() / "public_html/app.cgi", \
        host.home() / "shop/venv/bin/python"
    shop, text = host.home() / "shop/shop.py", app.read_text()

    def page():
        got = site.ask("/check.cgi")
        assert (got.status, got.headers["Content-Type"]) == (200, "text/plain")
        return got.text

    said = page()
    assert "app.cgi loads with Python 3." in said and "exit status 0\n" in said, said
    assert host.files() is None
    shop.write_text("import no_such_module\n" + shop.read_text())
    said = page()
    assert "No module named 'no_such_module'" in said and "status 70\n" in said, said
    python.chmod(0o644)
    assert "may not execute /home/alice/shop/venv/bin/python" in page()
    app.write_text(text.replace("/bin/", "/no-bin/"))
    assert "app.cgi: not found" in page()
    app.chmod(0o644)
    assert "Permission denied" in page()
    for words in "./app.cgi: not found", "Permission denied":
        assert "`%s`" % words in README.read_text()


def test_doctor_page(host, place):
    """It is there for every page, by its name in .htaccess."""
    flask(host, htaccess=None)
    host.upload("try/doctor.cgi", "public_html/doctor.cgi")
    host.write("public_html/.htaccess", (FILES / "root/.htaccess").read_text().replace(
        " app.cgi/$1", " doctor.cgi/$1"))
    host.give_away("shop")
    [site] = apache(place, "cgid", "alice")
    said = site.ask("/some/page?text").text
    assert said.startswith("wsgi-cgi --doctor: "), said
    assert re.search("^PATH_INFO: /some/page ", said, re.M), said
    assert re.search(r"^SCRIPT_NAME: \(empty\) ", said, re.M), said


# --- the other customer -----------------------------------------------------------

BOB = """
import os, signal, socket, sys
folder, sock, control, pid = sys.argv[1:]

def attempt(what, *args):
    try:
        what(*args)
    except PermissionError:
        return
    print("bob may", what.__name__, *args)

def connect(path):
    socket.socket(socket.AF_UNIX).connect(path)

attempt(os.listdir, folder)
attempt(connect, sock)
attempt(connect, control)
attempt(os.unlink, sock)
attempt(os.rename, folder, folder + "-of-bob")
attempt(os.kill, int(pid), signal.SIGTERM)
attempt(open, "/home/alice/shop/secret-key")
attempt(open, "/proc/%s/environ" % pid)
"""
PAGE = "in your cart"


def test_other_customer_has_no_access(host, place):
    """bob can neither connect nor stop the instance; not even where alice opens the
    folder."""
    flask(host)
    [site] = apache(place, "cgid", "alice")
    assert site.ask().status == 200
    sock, control = host.file(".sock"), host.file(".ctl")
    [master] = host.processes("master")
    said = host.run("bob", "/usr/bin/python3", "-c", BOB, sock.parent, sock, control,
                    str(master))
    assert (said.returncode, said.stdout) == (0, "")

    def request(user):
        # bob has no program of his own, and may not run what is in alice's folder.
        program = host.folder / "wsgi-cgi"
        return [host.run(user, program, "--request", "unix:%s" % path, "GET", "/")
                for path in (sock, control)]

    host.folder.joinpath("wsgi-cgi").chmod(0o755)
    [got, _] = request("alice")
    assert got.returncode == 0 and PAGE in got.stdout, got
    folder = host.folder / "tmp" / sock.parent.name
    folder.chmod(0o755)
    for name in sock.name, control.name:
        (folder / name).chmod(0o666)
    for got in request("bob"):
        assert got.returncode != 0 and PAGE not in got.stdout, got
    folder.chmod(0o700)
    assert site.ask().status == 200
    assert list(host.served().values()) == [3]


def test_other_customer_is_first(host, place):
    """Where bob has made the folder, alice's requests are served without an instance,
    the log says why, and nothing gets there. With TMPDIR she has one again."""
    flask(host)
    [site] = apache(place, "cgid", "alice")
    folder = "/tmp/wsgi-cgi-%d" % USERS["alice"]
    assert host.run("bob", "mkdir", "-m", "777", folder).returncode == 0
    assert site.ask().status == 200
    place.logs.wait_for("--keep-warm: %s: it belongs to bob: .*this process serves" %
                        folder)
    assert host.files() == [] and not host.processes("master")
    assert "`it belongs to`" in README.read_text()
    host.upload("wrapper/app.cgi", "public_html/app.cgi", **{"#export": "export"})
    host.above = "/home/alice/shop"
    check_flask(host, site)


# --- other servers: cgi-bin, no .htaccess ---------------------------------------

def lighttpd(place):
    return place.lighttpd("lighttpd/cgi.conf",
                          breakage_log=place.logs.path("app.log"))


def mini_httpd(place):
    return fronts.mini_httpd(place, "mini_httpd/httpd.sh")


def busybox(place):
    return fronts.busybox(place, "busybox/httpd.sh")


def start_as(host, start):
    """Starts a server that is alice's: she is the user of her scripts."""
    host.place.started_by = host.as_user("alice")
    host.place.root.rmdir()
    host.place.root.symlink_to(host.home() / "public_html")
    return start(host.place)


# Of busybox not the first page: before 1.37, a path that ends in a slash is a 404 there.
@pytest.mark.parametrize("start, path, status, words", [
    (lighttpd, "/", 200, PAGE), (mini_httpd, "/", 200, PAGE),
    (busybox, "/cart", 405, "Method Not Allowed")])
def test_without_htaccess(host, place, start, path, status, words):
    """The script's own URL."""
    # lighttpd/cgi.conf has this ending, as some hosts do.
    name = "cgi-bin/app.py"
    flask(host, script="public_html/" + name, htaccess=None, **{"--mount / ": ""})
    site = Site(start_as(host, start), two_packets=start is mini_httpd)

    def ask():
        got = site.ask("/" + name + path)
        assert got.status == status and words in got.text, got
        return got

    for requests in 1, 2:
        ask()
        check_warm(host, "alice", requests)
    check_static(host, site)
    check_no_secret_by_path(site)
    check_idle(host, host.home() / "public_html" / name, ask)
    check_no_complaint(place)


def check_no_secret_by_path(site):
    for path in "/../shop/secret-key", "/%2e%2e/shop/secret-key", "/shop/secret-key":
        assert SECRET[:9] not in site.ask(path).text, path


def test_lighttpd_rewrites(host, place):
    """The host's file has the rewrite; the first line is that of the example."""
    flask(host, htaccess=None)

    def start(place):
        return place.lighttpd("shared-host/lighttpd.conf",
                              'mimetype.assign += ( ".css" => "text/css" )',
                              breakage_log=place.logs.path("app.log"))
    site = Site(start_as(host, start))
    check_flask(host, site)
    check_static(host, site)
    check_no_secret_by_path(site)
    check_no_complaint(place)


# --- the text -----------------------------------------------------------------

def test_readme_names_every_file():
    """And no other."""
    text = README.read_text()
    for path in FILES.rglob("*"):
        if path.is_file() and path.parent.name in (
                "try", "flask", "django", "cgi-bin", "wrapper", "private"):
            assert "`%s`" % path.relative_to(FILES) in text, path
    for name in re.findall(r"`([a-z-]+/(?:\w+\.\w+|\.htaccess))`", text):
        assert (FILES / name).exists(), name


def test_first_lines_fit_an_old_kernel():
    """127 bytes, with a longer user name as well."""
    for path in FILES.glob("*/app.cgi"):
        line = path.read_text().partition("\n")[0]
        assert len(line) <= 127, path
