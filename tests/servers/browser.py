"""One headless Chromium, driven by selenium."""

import contextlib
import os
import signal
import tempfile
import warnings

import pytest

import harness
from harness import DEADLINE, Server, free_port, listens, wait_until

webdriver = pytest.importorskip(
    "selenium.webdriver",
    reason="selenium is not installed; see tests/servers/packages.txt")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.chromium.remote_connection import (  # noqa: E402
    ChromiumRemoteConnection)
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.remote.file_detector import (  # noqa: E402
    UselessFileDetector)
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402
from urllib3.exceptions import HTTPError  # noqa: E402

PHONE = (390, 844)
DESK = (1280, 800)

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # it refuses to run as root with one
    "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server",
    "--no-first-run", "--disable-extensions", "--disable-component-update",
    "--disable-background-networking", "--disable-sync",
)


# On a busy machine the browser does not always come up in the time that
# chromedriver gives it. More often than that there is another reason.
TRIES = 3


@contextlib.contextmanager
def start_chromedriver(folder, need):
    """Its port. Whatever it has started ends with it."""
    with tempfile.TemporaryDirectory(prefix="chromium-", dir="/tmp") as short:
        # Chromium makes a unix socket in TMPDIR: no long path here.
        yield from run_chromedriver(folder, need, short)


def run_chromedriver(folder, need, short):
    port = free_port()
    home = {"HOME": str(folder), "TMPDIR": short}
    server = Server("chromedriver",
                    [need("chromedriver"), "--port=%d" % port],
                    folder / "chromedriver.log", env={**os.environ, **home},
                    preexec_fn=harness.become_subreaper)
    harness.SHARED_PROCESSES.add(server.pid)
    try:
        wait_until(lambda: not server.is_running() or listens(server.pid, port),
                   lambda: "chromedriver listens:\n" + server.output())
        yield port
    finally:
        below = harness.descendants(server.pid)
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        server.stop()
        harness.SHARED_PROCESSES.discard(server.pid)
        # They are ours now: chromedriver waits for none but the first.
        orphans = harness.Orphans()
        wait_until(lambda: not below.keys() & orphans.look().keys(),
                   "the browser's processes end")


def start_session(folder, need, port):
    options = webdriver.ChromeOptions()
    options.binary_location = need("chromium")
    for argument in (*ARGUMENTS, "--user-data-dir=%s" % (folder / "profile")):
        options.add_argument(argument)
    connection = ChromiumRemoteConnection(
        "http://127.0.0.1:%d" % port, "goog", "chrome", ignore_proxy=True)
    try:
        return webdriver.Remote(connection, options=options,
                                file_detector=UselessFileDetector())
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def open_browser(folder, need):
    """folder: for its profile, its log, and all else that it writes. One that
    does not start is tried again, which a warning tells."""
    with contextlib.ExitStack() as stack:
        for number in range(1, TRIES + 1):
            own = folder / ("try-%d" % number)
            own.mkdir()
            port = stack.enter_context(start_chromedriver(own, need))
            try:
                driver = start_session(own, need, port)
                break
            except (WebDriverException, HTTPError) as error:
                stack.close()
                if number == TRIES:
                    raise
                warnings.warn("Chromium has not started, try %d of %d: %s" % (
                    number, TRIES, str(error).partition("\n")[0]))
        stack.callback(driver.quit)
        driver.set_page_load_timeout(DEADLINE)
        yield Browser(driver)


class Browser:
    def __init__(self, driver):
        self.driver = driver

    # pages

    def open(self, url):
        self.driver.get(url)

    @property
    def url(self):
        """What the address bar shows."""
        return self.driver.current_url

    @property
    def title(self):
        return self.driver.title

    @property
    def status(self):
        """The HTTP status of this page."""
        return self.script("return performance.getEntriesByType"
                           "('navigation')[0].responseStatus")

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def text(self, css="body"):
        return self.find(css).text

    def fill(self, css, text):
        """Replaces what the field has, as a paste does: each key that is typed
        would cost the browser milliseconds."""
        field = self.script(
            "const field = document.querySelector(arguments[0]);"
            "if (field.type == 'file') return field;"
            "field.focus(); field.select();", css)
        if field:
            field.send_keys(text)
        else:
            self.command("Input.insertText", text=text)

    def click(self, css):
        """Until the page that this leads to is there, and whole."""
        mark = "window.ofTheLastPage = true"
        self.script(mark)
        self.find(css).click()
        self.wait("a new page after the click on " + css, lambda: self.script(
            "return !window.ofTheLastPage && "
            "document.readyState == 'complete'"))

    def wait(self, what, question):
        """The first true answer. A page that is just going away has none."""
        return WebDriverWait(
            self.driver, DEADLINE, 0.02, [WebDriverException]).until(
                lambda _: question(), what)

    # the rest

    def command(self, name, **parameters):
        """A command of the DevTools protocol."""
        return self.driver.execute("executeCdpCommand", {
            "cmd": name, "params": parameters})["value"]

    def forget(self):
        """Cookies of all paths; the last page."""
        self.command("Network.clearBrowserCookies")
        self.open("about:blank")

    def cookie(self, name):
        """Of those that this page is sent."""
        return self.driver.get_cookie(name)

    def screen(self, size):
        """A screen of that size; of a phone, where it is PHONE."""
        self.command("Emulation.setDeviceMetricsOverride", width=size[0],
                     height=size[1], screenWidth=size[0],
                     screenHeight=size[1], deviceScaleFactor=1,
                     mobile=size == PHONE)

    def overflow(self):
        """Pixels by which this page is broader than the screen. (A phone makes
        window.innerWidth as large as such a page.)"""
        return self.script("return Math.max(innerWidth, "
                           "document.documentElement.scrollWidth) - screen.width")
