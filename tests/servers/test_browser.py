"""In a real browser: a site with a login, in Flask and in Django, and the pages
of our own.

What programs that ask do not notice counts here: where links and redirects lead
to, which cookies the browser keeps and sends back, what a form sends, what the
address bar shows.
"""

import contextlib
import dataclasses
import hashlib
import shutil
import subprocess
import sys

import pytest

from browser import (DESK, PHONE, TRIES, WebDriverException,
                     open_browser)
from harness import APPS, Site, wait_until
from place import open_place
from setups import SETUPS

# One browser for all of them.
pytestmark = pytest.mark.xdist_group("browser")

ROWS = {setup.name: setup for setup in SETUPS}
SITES = [(kind, ROWS[name]) for kind in ("flask", "django") for name in (
    "lighttpd/socket.conf", "lighttpd/mount.conf",
    "nginx/socket.conf", "nginx/mount.conf",
    "apache/proxy-fcgi.conf", "apache/proxy-fcgi-mount.conf")]
SITES.append(("flask", ROWS["apache/fcgid-script.conf"]))
# CGI, where each page loads Python and the application: few pages.
CGI_SITES = [("flask", ROWS[name]) for name in (
    "lighttpd/cgi-root.conf", "apache/cgi.conf cgid")]

NAMES = {"flask": {"cookie": "session", "token": "token"},
         "django": {"cookie": "sessionid", "token": "csrfmiddlewaretoken"}}
ASKED = "/private/?q=a%20b&x=%C3%A9"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory, need):
    with open_browser(tmp_path_factory.mktemp("browser"), need) as browser:
        yield browser


@pytest.fixture
def browser(chromium):
    chromium.screen(DESK)
    yield chromium
    chromium.forget()


# --- the browser itself -----------------------------------------------------------

FLAKY = """#!/bin/sh
# Ends at once so many times, then is a browser.
count=$(cat {count})
if [ "$count" -gt 0 ]; then echo $((count - 1)) >{count}; exit 1; fi
exec {chromium} "$@"
"""


def flaky_chromium(folder, need, failures):
    """need(), of a Chromium that does not start so many times."""
    script, count = folder / "chromium", folder / "count"
    script.write_text(FLAKY.format(chromium=need("chromium"), count=count))
    script.chmod(0o755)
    count.write_text("%d\n" % failures)
    return lambda name: str(script) if name == "chromium" else need(name)


def test_start_that_fails(tmp_path, need):
    """One failed start is told, and is not the end of all tests in here."""
    flaky = flaky_chromium(tmp_path, need, 1)
    with pytest.warns(UserWarning, match="has not started, try 1 of"):
        with open_browser(tmp_path, flaky) as browser:
            browser.open("data:text/html,<title>here</title>")
            assert browser.title == "here"


def test_starts_that_all_fail(tmp_path, need):
    """That it never starts is an error that says why."""
    flaky = flaky_chromium(tmp_path, need, TRIES)
    with pytest.warns(UserWarning, match="has not started"):
        with pytest.raises(WebDriverException, match="not created"):
            with open_browser(tmp_path, flaky):
                pytest.fail("there is no browser")


def browsers_keep_connections(place):
    """lighttpd ends with 1 then."""
    place.right_codes["lighttpd"] = (1,)


# --- our own pages ----------------------------------------------------------------

LONG = "/" + "a-long-word-without-a-space-" * 12


@pytest.fixture
def site(place):
    """site(app, *options) behind lighttpd, which hands on what it has."""
    def start(*words):
        browsers_keep_connections(place)
        place.gateway(*words)
        return Site(place.lighttpd("lighttpd/stream.conf",
                                   socket=place.socket))
    return start


def fits(browser, url):
    """No page has to be moved sideways, on no screen."""
    for size in (DESK, PHONE):
        browser.screen(size)
        browser.open(url)
        assert browser.script("return screen.width") == size[0]
        assert browser.overflow() <= 0, "%s: %d px too broad at %d" % (
            url, browser.overflow(), size[0])


def test_status_page(site, place, browser):
    """It fits a phone, with a long URL in progress, too, and shows news without
    being asked."""
    app = site(place.copy_app(APPS / "matrix.py"), "--threads", "4",
               "--status-path", "/-/status")
    url = "http://127.0.0.1:%d/-/status" % app.port
    head = "POST /-/upload%s HTTP/1.0\r\nContent-Length: 8\r\n\r\n" % LONG
    with app.send_raw(head.encode() + b"half") as conn:
        wait_until(lambda: LONG[:99] in app.ask("/-/status?full&text").text,
                   "the request is in progress")
        fits(browser, url + "?full")
        assert LONG[:99] in browser.text()
        conn.sendall(b"half")
        assert b"\r\n\r\n8 " in conn.makefile("rb").read()
    fits(browser, url)
    before = browser.text()
    assert "updated every" in before
    browser.wait("the page shows other numbers",
                 lambda: browser.text() not in ("", before))
    assert (browser.url, browser.status) == (url, 200)


def test_doctor(site, browser):
    """It fits; its form sends a body."""
    app = site("--doctor")
    url = "http://127.0.0.1:%d" % app.port
    fits(browser, url + "/")
    fits(browser, url + LONG + "?" + LONG)
    browser.click("button")
    assert "as many as CONTENT_LENGTH" in browser.text()


# --- a site with a login ----------------------------------------------------------

@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Where each application is copied from: Django has a database there."""
    django = tmp_path_factory.mktemp("django") / "site"
    shutil.copytree(APPS / "login_django", django)
    subprocess.run([sys.executable, "setup.py"], cwd=django, check=True)
    # Behind some servers it runs as another user.
    (django / "db.sqlite3").chmod(0o666)
    return {"flask": APPS / "login_flask.py", "django": django}


@dataclasses.dataclass
class LoginSite:
    site: Site
    kind: str

    @property
    def root(self):
        return "http://127.0.0.1:%d%s" % (self.site.port, self.site.prefix)

    @property
    def token(self):
        return "[name=%s]" % NAMES[self.kind]["token"]

    @property
    def cookie(self):
        return NAMES[self.kind]["cookie"]


@pytest.fixture(scope="module")
def login_site(request, sources, binary, need):
    kind, setup = request.param
    setup = dataclasses.replace(setup, app=sources[kind])
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(open_place(binary, need))
        browsers_keep_connections(place)
        # What Chromium asks for where a page names none, the 403s here.
        (place.root / "favicon.ico").touch()
        _, port = setup.start(place, setup)
        yield LoginSite(Site(port, setup.prefix), kind)


def pytest_generate_tests(metafunc):
    if "login_site" in metafunc.fixturenames:
        sites = SITES + (CGI_SITES if metafunc.function is test_login else [])
        metafunc.parametrize(
            "login_site", sites, indirect=True, scope="module",
            ids=["%s-%s" % (kind, setup.name.replace(" ", "-"))
                 for kind, setup in sites])


def log_in(browser, password="correct horse"):
    browser.fill("[name=username]", "ada")
    browser.fill("[name=password]", password)
    browser.click("#login button")


def is_login_form(browser, login_site):
    return (browser.title == "Login" and browser.status == 200
            and browser.url.startswith(login_site.root + "/login/"))


def test_login(login_site, browser):
    """W18 X9: links and redirects stay below the mount; the session's cookie is
    for it alone, and comes back."""
    root = login_site.root
    browser.open(root + "/")
    assert browser.status == 200
    browser.click("#private")
    assert is_login_form(browser, login_site), browser.url
    wanted = login_site.site.prefix + "/private/%3Fq%3Da%2520b%26x%3D%25C3%25A9"
    assert browser.url.replace("%2F", "/") == root + "/login/?next=" + wanted

    log_in(browser, "wrong horse")
    assert is_login_form(browser, login_site), browser.url
    assert browser.text(".error")
    browser.open(root + ASKED)
    assert is_login_form(browser, login_site), browser.url

    log_in(browser)
    assert (browser.url, browser.status) == (root + ASKED, 200)
    assert browser.text("h1") == "Hello, ada!"
    cookie = browser.cookie(login_site.cookie)
    assert cookie["path"] == (login_site.site.prefix or "/")
    assert cookie["httpOnly"] and not cookie["secure"]
    assert browser.script("return document.cookie") == ""

    browser.driver.refresh()
    assert (browser.url, browser.text("h1")) == (root + ASKED, "Hello, ada!")
    browser.click("#start")
    assert browser.url == root + "/"
    # Without its slash: a redirect that the framework makes, to a whole URL.
    browser.open(root + "/private")
    assert browser.url == root + "/private/"
    assert browser.text("h1") == "Hello, ada!"

    browser.click("#logout button")
    assert browser.url == root + "/login/"
    browser.open(root + "/private/")
    assert is_login_form(browser, login_site), browser.url


def test_token(login_site, browser):
    """A form without the token of its page, and with another one, is refused."""
    url = login_site.root + "/login/?next=" + login_site.site.prefix + "/private/"
    for spoil in ("remove()", "value = 'x'.repeat(64)"):
        browser.open(url)
        browser.script("document.querySelector(arguments[0])." + spoil,
                       login_site.token)
        log_in(browser)
        assert browser.status == 403
        browser.open(login_site.root + "/private/")
        assert is_login_form(browser, login_site), browser.url
    log_in(browser)
    assert browser.text("h1") == "Hello, ada!"


def test_upload(login_site, browser, tmp_path):
    """W21 X9: a file in a form; the answer redirects to a page, which a reload
    does not send again."""
    data = bytes(range(256)) * 1000 + b"\r\n--"
    file = tmp_path / "photo \u00e9.bin"
    file.write_bytes(data)
    browser.open(login_site.root + "/private/")
    log_in(browser)
    browser.fill("[name=file]", str(file))
    browser.click("#upload button")
    assert browser.url == login_site.root + "/private/"
    assert browser.text("#stored") == "photo \u00e9.bin, %d bytes, %s" % (
        len(data), hashlib.sha256(data).hexdigest())
    browser.driver.refresh()
    assert browser.text("#stored") == ""
