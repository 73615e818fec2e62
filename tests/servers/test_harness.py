"""The checks after each test do find what they are there to find."""

import os
import socket
import sys

import pytest

import harness
import table
from place import Logs, Place


@pytest.fixture
def bare(tmp_path, need):
    """A place whose end is tried out by the test itself."""
    place = Place(tmp_path, "/bin/false", need)
    yield place
    place.kill_all()
    assert not harness.descendants()


@pytest.fixture
def short_deadline(monkeypatch):
    """Called where what is waited for from now on does not happen."""
    return lambda: monkeypatch.setattr(harness, "DEADLINE", 0.5)


def started(place, script):
    """A shell that has said "ready"."""
    server = place.start("shell", ["sh", "-c", script])
    harness.wait_until(lambda: "ready" in server.output(), "the shell starts")
    return server


def test_all_is_well(bare):
    started(bare, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done")
    bare.check_no_zombies()
    # The shell ends when its sleep does.
    bare.stop_all()
    bare.logs.check()


def test_server_that_ends_badly(bare):
    started(bare, "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done")
    with pytest.raises(AssertionError, match=r"\('shell', 3\)"):
        bare.stop_all()


def test_server_that_does_not_end(bare, short_deadline):
    started(bare, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    short_deadline()
    with pytest.raises(AssertionError, match="deadline: shell ends"):
        bare.stop_all()


def test_process_that_stays(bare, short_deadline):
    """Its parent is gone: it is ours now, and seen."""
    server = started(bare, "sh -c 'trap : TERM; echo ready; sleep 30; sleep 31'"
                     " & trap 'exit 0' TERM; while :; do sleep 0.1; done")
    bare.stop(server)
    short_deadline()
    with pytest.raises(AssertionError, match="all processes end: .*sleep 30"):
        bare.stop_all()


def test_orphan_that_ends_badly(bare, tmp_path):
    server = started(bare, "sh -c 'until [ -e %s ]; do sleep 0.1; done; "
                     "exit 7' & echo ready; exit 0" % (tmp_path / "go"))
    assert server.wait() == 0
    harness.wait_until(
        lambda: any(command.startswith("sh -c until") for _, _, command in
                    bare.orphans.look(bare.own_ids()).values()),
        "the orphan is seen")
    (tmp_path / "go").touch()
    with pytest.raises(AssertionError, match="exit 7', 7"):
        bare.stop_all()


def test_zombie(bare):
    bare.start("zombie", [sys.executable, "-c",
                          "import os, signal\n"
                          "if os.fork() == 0: os._exit(0)\n"
                          "signal.pause()"])
    harness.wait_until(
        lambda: [s for _, s, _ in harness.descendants().values() if s == "Z"],
        "a zombie")
    with pytest.raises(AssertionError, match="no zombies: "):
        bare.check_no_zombies()


@pytest.mark.parametrize("line", [
    "Traceback (most recent call last):", "wsgi-cgi[1]: error: x",
    "==1==ERROR: AddressSanitizer: heap-use-after-free",
    "x.c:1:2: runtime error: signed integer overflow",
    "*** stack smashing detected ***: terminated",
    "Fatal Python error: Segmentation fault", "[crit] 1#1: *2 connect()"])
def test_line_that_nobody_expected(line, tmp_path):
    logs = Logs(tmp_path)
    logs.path("a.log").write_text("2026 server started\n")
    logs.check()
    logs.path("a.log").write_text("2026 server started\n%s\n" % line)
    with pytest.raises(AssertionError, match="unexpected lines"):
        logs.check()


def test_line_that_was_expected_but_is_not_there(tmp_path):
    logs = Logs(tmp_path)
    logs.path("a.log").write_text("an error of one kind\n")
    logs.expect("error of one kind")
    logs.check()
    logs.expect("error of another kind")
    with pytest.raises(AssertionError, match="error of another kind"):
        logs.check()


def test_example_that_says_something_else():
    with pytest.raises(AssertionError, match="is not in the example"):
        harness.substitute("port = 80", {"8080": 1})
    with pytest.raises(AssertionError, match="not replaced"):
        harness.example("lighttpd/socket.conf", port=1, root="/x",
                        socket="/x/s")  # the error log is missing


def test_listening_is_seen_without_a_connection():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        assert not harness.listens(os.getpid(), port)
        one.listen()
        assert harness.listens(os.getpid(), port)
        assert not harness.listens(1, port)


def test_table_of_cases():
    """Rows and columns in their order, whichever came first; deviations as
    letters; a failure stays one."""
    class Report:
        skipped = False

        def __init__(self, row, column, text="ok", when="call", failed=False,
                     title="servers"):
            self.user_properties = [("cell", [row, column, text, title])]
            self.when, self.failed = when, failed

    plugin = table.Plugin()
    one, two, left, right = [0, "one"], [1, "two"], [10, "left"], [20, "right"]
    for report in (Report(two, right), Report(one, left, "404"),
                   Report(one, right, when="setup", failed=True),
                   Report(one, right, when="teardown"),
                   Report(two, left, "404"),
                   Report(two, right, when="teardown", failed=True),
                   Report(one, left, title="rewrites")):
        plugin.pytest_runtest_logreport(report)
    assert set(plugin.tables) == {"servers", "rewrites"}
    assert list(plugin.tables["rewrites"].lines()) == ["    left", "one   ok"]
    assert list(plugin.tables["servers"].lines()) == [
        "    left  right",
        "one    a FAILED",
        "two    a FAILED",
        "a = left: 404"]


@pytest.mark.parametrize("all_of_them, end", [
    ("1", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_server_that_is_missing(all_of_them, end, need, monkeypatch):
    """No run is green for want of a server that the Makefile has installed."""
    monkeypatch.setenv("WSGI_CGI_TEST_ALL", all_of_them)
    with pytest.raises(end, match="no-such-httpd is not installed"):
        need("no-such-httpd")


def test_figures():
    """Each once, though setup and teardown report it as well."""
    class Report:
        user_properties = [("figure", "so many requests")]
        failed = skipped = False

    plugin = table.Plugin()
    for Report.when in ("setup", "call", "teardown"):
        plugin.pytest_runtest_logreport(Report)
    assert plugin.figures == ["so many requests"]
    assert not plugin.tables
