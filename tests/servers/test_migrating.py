"""The files of examples/migrating: each program as it was configured for another
one, and the counterpart for wsgi-cgi; both answer the same to the same requests.

Of Passenger and flup the counterpart runs alone; the test of the original is skipped
with the reason. The end of this file compares wsgi-cgi-migrating(7) with the options
that the programs themselves list.
"""

import importlib.util
import json
import os
import re
import socket
import stat
import subprocess
from pathlib import Path

import pytest

import fronts
import harness
from harness import (EXAMPLES, Site, find_program, missing, server_user,
                     wait_until)
from place import give_away

MIGRATING = EXAMPLES / "migrating"
TEXT = {"Content-Type": "text/plain"}
STYLE = "p { color: green }\n"

# (method, path, body, headers)
REQUESTS = [
    ("GET", "", None, {}),
    ("GET", "/", None, {}),
    ("GET", "/a%20b/%C3%A9?x=1&y=%2B", None,
     {"Cookie": "a=b; c=d", "Authorization": "Basic dTpw"}),
    ("POST", "/order", b"n=1&m=2",
     {"Content-Type": "application/x-www-form-urlencoded"}),
    ("PUT", "/file", b"x" * 300_000, TEXT),
]


# --- text and programs --------------------------------------------------------

def without_root(text):
    """Only root can become www-data."""
    if os.geteuid() == 0:
        return text
    user, group = server_user()
    text = re.sub(r'^set -- ("\$@" )?--user .*\n', r'set -- \1\n', text, flags=re.M)
    text = re.sub(r'(:|g(?:roup|id)\s*=\s*"?)www-data', r"\g<1>" + group, text)
    return text.replace("www-data", user)


@pytest.fixture(autouse=True)
def edited(request):
    """What web servers get as well."""
    if "place" in request.fixturenames:
        request.getfixturevalue("place").edit = without_root


def paths(place, name):
    """{what stands in the file: what a test has in its place}, to pass on."""
    text = "".join(harness.without_comments("../migrating/" + name))
    return {old: new for old, new in {
        "/usr/local/bin/wsgi-cgi": place.binary, "/srv/app": place.app_dir,
        "/run/wsgi-cgi": place.run_dir,
        "/var/log/wsgi-cgi": place.logs.path("wsgi-cgi"),
        "/var/log/lighttpd/app.log": place.logs.path("app.log"),
    }.items() if old in text}


def write(place, name, target):
    target.write_text(place.example("../migrating/" + name, **paths(place, name)))
    target.chmod(stat.S_IMODE((MIGRATING / name).stat().st_mode))
    return target


def made_ready(place):
    """/srv/app with the application and an environment of its own."""
    app = place.app_dir / "shop.py"
    app.write_text((MIGRATING / "shop.py").read_text())
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip",
                    place.app_dir / "venv"], check=True)
    public = place.app_dir / "public" / "static"
    public.mkdir(parents=True)
    (public / "shop.css").write_text(STYLE)
    (place.app_dir / "static").mkdir()
    (place.app_dir / "static" / "shop.css").write_text(STYLE)
    give_away(place.app_dir)


def wsgi_cgi(place, name):
    """The counterpart's script, which is a command of wsgi-cgi."""
    script = write(place, name + "/wsgi-cgi.sh", place.folder / "wsgi-cgi.sh")
    return place.wait_for_socket(place.start("wsgi-cgi", [script]))


def nginx(place, name):
    return Site(fronts.nginx(place, "../migrating/" + name,
                             **paths(place, name)), "/shop")


def lighttpd(place, name):
    return place.lighttpd("../migrating/" + name, **paths(place, name))


def apache(place, name, *modules, extra=""):
    return Site(fronts.apache(place, "../migrating/" + name, *modules,
                              extra=extra, **paths(place, name)), "/shop")


def stop_servers(place):
    """So that others can have their places."""
    for server in reversed(place.servers):
        code = place.stop(server)
        assert place.is_right(server.name, code), (server.name, code)
    place.servers.clear()


# --- answers ------------------------------------------------------------------

def answers(site):
    found = []
    for method, path, body, headers in REQUESTS:
        got = site.ask(path, method, body, headers)
        assert got.status == 200, (path, got)
        said = json.loads(got.text)
        said["HTTP_HOST"] = said["HTTP_HOST"].replace(str(site.port), "PORT")
        found.append(said)
    return found


def right(site, place, venv=True):
    """What the counterpart alone has to answer, whatever the other does."""
    for (method, path, body, headers), said in zip(REQUESTS, answers(site)):
        bare, _, query = path.partition("?")
        assert said["REQUEST_METHOD"] == method
        assert said["SCRIPT_NAME"] == site.prefix
        assert said["PATH_INFO"] == bare.replace("%20", " ").replace(
            "%C3%A9", "\u00c3\u00a9")
        assert said["QUERY_STRING"] == query
        assert said["body"] == (body or b"").decode()
        assert said["HTTP_AUTHORIZATION"] == headers.get("Authorization", "")
        assert said["HTTP_COOKIE"] == headers.get("Cookie", "")
        assert said["REMOTE_ADDR"] == "127.0.0.1"
        assert said["SHOP_SETTINGS"] == "production"
        if venv:
            assert said["python"] == str(place.app_dir / "venv")


def same(before, after, but=()):
    """The answers to each request, but for the variables named."""
    assert len(before) == len(after) == len(REQUESTS)
    for one, other in zip(before, after):
        names = (one.keys() & other.keys()) - set(but)
        assert len(names) > 8
        assert {n: one[n] for n in names} == {n: other[n] for n in names}


def compare(place, start_before, start_after, but=(), venv=True):
    """The sites, one after the other."""
    made_ready(place)
    before = answers(start_before())
    stop_servers(place)
    site = start_after()
    right(site, place, venv)
    after = answers(site)
    same(before, after, but)
    return after




# --- the pairs ----------------------------------------------------------------

def test_mod_wsgi(place):
    """The same .wsgi file; WSGIDaemonProcess and its options; SetEnv; Alias and the
    limit of bodies."""
    write(place, "mod_wsgi/shop.wsgi", place.app_dir / "shop.wsgi")

    def alias_and_limit(site):
        assert site.ask("/static/shop.css").text == STYLE
        assert site.ask("/order", "POST", b"x" * (1 << 20)).status == 200
        assert site.ask("/order", "POST", b"x" * (1 << 20) + b"x").status == 413
        return site

    def before():
        return alias_and_limit(apache(place, "mod_wsgi/apache.conf", "wsgi"))

    def after():
        wsgi_cgi(place, "mod_wsgi")
        place.logs.expect("POST /shop/order: 413: .* larger than --limit-body")
        return alias_and_limit(apache(place, "mod_wsgi/wsgi-cgi.conf",
                                      "proxy", "proxy_fcgi"))
    got = compare(place, before, after)
    assert {said["SHOP_REGION"] for said in got} == {"north"}


def test_uwsgi(place):
    """Each line of shop.ini; statistics, and a file to touch."""
    program = place.need("uwsgi")

    def before():
        ini = write(place, "uwsgi/shop.ini", place.folder / "shop.ini")
        place.wait_for_socket(place.start("uwsgi", [program, "--ini", ini]))
        site = nginx(place, "uwsgi/nginx.conf")
        check_stats_and_touch_reload(place, site, uwsgi_stats)
        return site

    def after():
        wsgi_cgi(place, "uwsgi")
        site = nginx(place, "uwsgi/wsgi-cgi.conf")
        check_stats_and_touch_reload(place, site, wsgi_cgi_stats)
        return site
    compare(place, before, after)


def uwsgi_stats(place):
    """(requests, what a reload changes), as nc reads it."""
    with socket.socket(socket.AF_UNIX) as conn:
        conn.settimeout(harness.DEADLINE)
        conn.connect(str(place.run_dir / "stats.sock"))
        workers = json.loads(conn.makefile("rb").read())["workers"]
    return (sum(worker["requests"] for worker in workers),
            {worker["pid"] for worker in workers})


def wsgi_cgi_stats(place):
    """The same, of wsgi-cgi."""
    status = json.loads(run(place.binary, "--status",
                            "unix:%s/stats.sock" % place.run_dir, "--json"))
    return status["requests"], status["generation"]


def check_stats_and_touch_reload(place, site, stats):
    """One request is counted, and the file that touch-reload names loads new code."""
    assert site.ask().status == 200
    wait_until(lambda: stats(place)[0] == 1, lambda: stats(place))
    before = stats(place)[1]
    touched = place.app_dir / "reload"
    touched.touch()

    def is_new():
        try:
            return stats(place)[1] != before
        except (OSError, ValueError):  # uWSGI opens its socket again
            return False
    wait_until(is_new, lambda: "new code:\n" + place.logs.all())
    touched.unlink()


def test_gunicorn(place):
    """The configuration file, and its two log files. Over a unix socket gunicorn
    knows no client."""
    place.need("gunicorn")

    def before():
        write(place, "gunicorn/gunicorn.conf.py",
              place.app_dir / "gunicorn.conf.py")
        script = write(place, "gunicorn/gunicorn.sh", place.folder / "gunicorn.sh")
        place.wait_for_socket(place.start("gunicorn", [script]))
        return nginx(place, "gunicorn/nginx.conf")

    def after():
        wsgi_cgi(place, "gunicorn")
        return nginx(place, "gunicorn/wsgi-cgi.conf")
    compare(place, before, after, but=["REMOTE_ADDR"], venv=False)
    place.logs.wait_for('"PUT /shop/file HTTP/1.1" 200 .*us=',
                        "wsgi-cgi-access.log")


def php_fpm():
    """Debian puts the version into the name."""
    for number in range(9, -1, -1):
        program = find_program("php-fpm8.%d" % number)
        if program:
            return program
    return missing("php-fpm")


def test_php_fpm(place):
    """The pool: the requests, the status page and the ping of both."""
    program = php_fpm()

    def before():
        write(place, "php-fpm/index.php", place.app_dir / "index.php")
        pool = write(place, "php-fpm/pool.conf", place.folder / "pool.conf")
        main = place.folder / "php-fpm.conf"
        main.write_text("[global]\ndaemonize = no\nerror_log = %s\ninclude = %s\n"
                        % (place.logs.path("php-fpm.log"), pool))
        place.wait_for_socket(place.start(
            "php-fpm", [program, "--fpm-config", main]))
        site = nginx(place, "php-fpm/nginx.conf")
        pages.append(status_and_ping(site))
        return site

    def after():
        wsgi_cgi(place, "php-fpm")
        site = nginx(place, "php-fpm/wsgi-cgi.conf")
        pages.append(status_and_ping(site))
        return site

    pages = []
    compare(place, before, after, venv=False)
    (php_ping, php_status), (ping, status) = pages
    assert php_ping.strip() == ping.strip() == "pong"
    shared = php_status.keys() & status.keys()
    assert {"pool", "process manager", "accepted conn", "active processes",
            "idle processes", "total processes", "max children reached",
            "slow requests", "listen queue", "max listen queue",
            "listen queue len"} <= shared
    for name in ("process manager", "total processes", "slow requests"):
        assert php_status[name] == status[name], name


def status_and_ping(site):
    return site.ask("/ping").text, json.loads(site.ask("/status?json").text)


def passenger(place):
    """What both need: the files, and Apache with the counterpart."""
    write(place, "passenger/passenger_wsgi.py",
          place.app_dir / "passenger_wsgi.py")
    return lambda: apache(place, "passenger/wsgi-cgi.conf", "fcgid")


def test_passenger(place):
    """passenger_wsgi.py as it is, in processes that Apache starts;
    tmp/restart.txt loads other code of any file."""
    start = passenger(place)
    made_ready(place)
    site = start()
    right(site, place)
    assert site.ask("/static/shop.css").text == STYLE
    module = place.app_dir / "shop.py"
    module.write_text(module.read_text().replace('"SHOP_SETTINGS"] =',
                                                 '"changed"] ='))
    (place.app_dir / "tmp").mkdir()
    (place.app_dir / "tmp" / "restart.txt").touch()
    wait_until(lambda: "changed" in json.loads(site.ask().text), "other code")


def test_passenger_itself(place):
    """Both; but for a request for the mount without a slash, and CONTENT_LENGTH
    where there is no body."""
    if not (fronts.APACHE_MODULES / "mod_passenger.so").exists():
        pytest.skip("libapache2-mod-passenger is not installed: it needs Ruby")
    start = passenger(place)
    place.logs.allow("errno")  # a line of its loader, in a warning
    compare(place, lambda: apache(
        place, "passenger/apache.conf", "passenger",
        extra=PASSENGER % place.folder), start,
        but=["PATH_INFO", "CONTENT_LENGTH"])


PASSENGER = """PassengerRoot /usr/lib/ruby/vendor_ruby/phusion_passenger/locations.ini
PassengerInstanceRegistryDir %s
PassengerDisableAnonymousTelemetry on
"""


def test_cgihandler(place):
    """The same lighttpd runs both scripts."""
    folder = place.root / "cgi-bin"
    folder.mkdir()
    for name in ("shop.cgi", "wsgi-cgi.cgi"):
        write(place, "cgihandler/" + name, folder / name)
    give_away(folder)
    made_ready(place)
    port = lighttpd(place, "cgihandler/lighttpd.conf")
    before = answers(Site(port, "/cgi-bin/shop.cgi"))
    site = Site(port, "/cgi-bin/wsgi-cgi.cgi")
    right(site, place, venv=False)
    same(before, answers(site), but=["SCRIPT_NAME"])

    # With the line that runs the application still there, it runs at the load
    # as well, and that answer is in the log.
    left = folder / "left.cgi"
    left.write_text("#!%s\n%s" % (
        place.binary, (folder / "shop.cgi").read_text().partition("\n")[2]))
    left.chmod(0o755)
    give_away(folder)
    assert "Status: 200 OK" not in place.logs.text("app.log")
    right(Site(port, "/cgi-bin/left.cgi"), place, venv=False)
    place.logs.wait_for("Status: 200 OK", "app.log")


def flup(place, name):
    """lighttpd, which starts the script."""
    write(place, "flup/" + name, place.app_dir / "shop.fcgi")
    return Site(lighttpd(place, "flup/lighttpd.conf"), "/shop")


def test_flup(place):
    """The script that lighttpd starts."""
    made_ready(place)
    right(flup(place, "wsgi-cgi.fcgi"), place, venv=False)


def test_flup_itself(place):
    """Both."""
    if importlib.util.find_spec("flup") is None:
        pytest.skip("flup is not installed: Debian does not have it")
    compare(place, lambda: flup(place, "shop.fcgi"),
            lambda: flup(place, "wsgi-cgi.fcgi"), venv=False)


# --- the page -----------------------------------------------------------------

PAGE = (harness.TREE / "man" / "wsgi-cgi-migrating.7").read_text()


def section(name):
    """The words of one section, options without their hyphens."""
    text = re.search(r"^\.Sh %s\n(.*?)^\.Sh " % name, PAGE, re.M | re.S)[1]
    return set(re.findall(r"[\w.-]*\w", re.sub(r"(?<=\s)-+(?=\w)", "", text)))


def run(*words):
    return subprocess.run(words, stdout=subprocess.PIPE, check=True,
                          timeout=harness.DEADLINE).stdout.decode(
                              "utf-8", "replace")


def known_version(said, version):
    """Others have options that the page, which names its version, has not."""
    if version not in said:
        pytest.skip("the page is about %s, installed is %s" % (
            version, said.split("\n")[0]))


def test_page_has_the_options_of_gunicorn(need):
    program = need("gunicorn")
    known_version(run(program, "--version"), "20.1.0")
    options = set(re.findall(r"(?<![\w-])--([a-z][\w-]+)", run(program, "--help")))
    assert len(options) > 60
    assert options - section("GUNICORN") - {"help", "version"} == set()


def test_page_has_the_options_of_php_fpm():
    """Those of the files that the package brings, also in comments."""
    known_version(run(php_fpm(), "--version"), "8.2.")
    files = [Path("/etc/php/8.2/fpm/php-fpm.conf"),
             Path("/etc/php/8.2/fpm/pool.d/www.conf")]
    options = {name for file in files for name in re.findall(
        r"^;?([a-z_.]+)(?:\[\w*\])? *=", file.read_text(), re.M)}
    assert len(options) > 50
    assert options - section("PHP-FPM") == set()


def test_page_has_the_options_of_mod_wsgi():
    """Of directives, and of WSGIDaemonProcess: the names in the module."""
    module = fronts.APACHE_MODULES / "mod_wsgi.so"
    if not module.exists():
        missing("mod_wsgi")
    text = module.read_bytes()
    known_version(" ".join(version.decode() for version in  # Python's as well
                           re.findall(rb"\0(\d+\.\d+\.\d+)(?=\0)", text)),
                  "4.9.4")
    directives = {name.decode() for name in
                  re.findall(rb"\0(WSGI[A-Z]\w+)(?=\0)", text)}
    options = {name.decode() for name in
               re.findall(rb"\0([a-z]+(?:-[a-z]+)+)(?=\0)", text)}
    # Of WSGIScriptAlias, of WSGIImportScript, or names of handlers.
    options -= {"alias-forced-type", "application-group", "callable-object",
                "pass-authorization", "process-group", "newrelic-config-file",
                "newrelic-environment", "wsgi-group", "wsgi-script"}
    assert len(directives) > 40 and len(options) > 25
    assert (directives | options) - section("MOD_WSGI") == set()


@pytest.mark.parametrize("folder, name", [
    ("mod_wsgi", "MOD_WSGI"), ("uwsgi", "UWSGI"), ("gunicorn", "GUNICORN"),
    ("php-fpm", "PHP-FPM")])
def test_page_and_pair_say_the_same(folder, name):
    """Each line of wsgi-cgi.sh names in its comment what it comes from: the page has
    that with the same option."""
    # How a configuration file calls what the page has by the name of the option.
    other_name = {"raw_env": "env", "preload_app": "preload", "pidfile": "pid",
                  "errorlog": "error-logfile", "loglevel": "log-level"}
    if folder == "gunicorn":
        for word, option in other_name.items():
            assert re.search(r"\n\.Cm .*%s\n\.Pq Li .*--%s\b" % (word, option),
                             PAGE), word
    entries = re.findall(r"^\.It (.*)\n((?:(?!\.It |\.El).*\n)+)", re.search(
        r"^\.Sh %s\n(.*?)^\.Sh " % name, PAGE, re.M | re.S)[1], re.M)
    before = "".join(path.read_text() for path in (MIGRATING / folder).iterdir()
                     if path.name not in ("wsgi-cgi.sh", "wsgi-cgi.conf"))

    def has(word, text):
        return re.search(r"(?<!\w)(?<!\w-)%s(?![\w-])" % re.escape(word), text)

    script = (MIGRATING / folder / "wsgi-cgi.sh").read_text()
    lines = re.findall(r"^set -- (?:\"\$@\" )?(--.*?) # (.*)", script, re.M)
    assert len(lines) >= 10
    for line, comment in lines:
        options = re.findall(r"--([a-z-]+)", line)
        names = re.sub(r"(\[|:|\.\.\.|\(|, and ).*", "", comment)
        for word in re.findall(r"[\w.-]*\w", names):
            if not has(word, before):
                continue  # a word of the sentence
            if folder == "gunicorn" and word.islower():
                word = other_name.get(word, word.replace("_", "-"))
            said = "".join(text for head, text in entries if has(word, head)) or \
                "".join(text for _, text in entries if has(word, text))
            assert any(re.search(r"(Fl|,) -%s\b" % option, said) or
                       (option == word and said.startswith("The same"))
                       for option in options), (word, options, said)


def test_page_has_the_options_of_uwsgi(need):
    """Those that the page names are there: it has only a part of 700."""
    said = run(need("uwsgi_python3"), "--help")
    known = set(re.findall(r"--([a-z][\w-]+)", said))
    text = re.search(r"^\.Sh UWSGI\n(.*?)^\.Sh ", PAGE, re.M | re.S)[1]
    named = {word for line in re.findall(r"^\.It Cm (.*)", text, re.M)
             for word in re.findall(r"[\w*-]+", line.partition(" No ")[0])}
    plugins = {"gevent", "ugreen", "rpc", "snmp", "legion", "spooler",
               "http", "https", "http-timeout"}
    assert len(named) > 80
    assert {word for word in named - known - plugins if "*" not in word} == set()
