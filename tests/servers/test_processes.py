"""Processes that come and go under load: no request is lost by a reload, a stop
or a recycling; by the death of a worker only those inside it."""

import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

import fronts
import load
from harness import SCALE, Site, descendants, wait_until

VERSIONED = '''
import os, time
version = %r
here = os.path.dirname(os.path.abspath(__file__))
if os.path.exists(here + "/die"):
    os._exit(3)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/hang":
        time.sleep(3600)
    if environ["PATH_INFO"] != "/now":
        time.sleep(0.005)
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield version.encode() + b" "
    yield b"%%d" %% os.getpid()
'''

BROKEN = "def application(:\n"
LOG = "wsgi-cgi.out"  # of the gateway on its own


def write(place, text):
    """Another application in the place of the one before, by rename. Its size
    differs from that, since Python takes a source of the same second and size
    for the one whose bytecode it has."""
    script = place.app_dir / "app.py"
    text = text if "\n" in text else VERSIONED % text
    if script.exists() and script.stat().st_size == len(text):
        text += "\n"
    new = place.app_dir / "new"
    new.write_text(text)
    os.replace(new, script)
    return script


def gateway(place, *options):
    """wsgi-cgi on its own, serving version v0: the master's Server."""
    server = place.gateway(write(place, "v0"), "--processes", "2", *options)
    wait_for_workers(place, server)
    return server


def asked(place):
    """Bodies of some requests, shared by the workers."""
    return load.fastcgi(str(place.socket), 20, fresh=4)


def wait_for_workers(place, server):
    """Both workers answer."""
    wait_until(lambda: {int(body.split()[1]) for body in asked(place)} ==
               workers(server) and len(workers(server)) == 2,
               lambda: "two workers:\n%s" % place.logs.all())


def behind(place, front):
    if front == "nginx":
        return Site(fronts.nginx(place, "nginx/socket.conf",
                                 socket=place.socket))
    return Site(place.lighttpd("lighttpd/socket.conf", socket=place.socket))


def workers(server):
    """Ids of the master's children that are not zombies."""
    return {pid for pid, (parent, state, _) in descendants(server.pid).items()
            if parent == server.pid and state != "Z"}


def count(place, text):
    return place.logs.text(LOG).count(text)


def reload(place, server):
    """HUP, until the new code has taken the place of the old."""
    before, loaded = workers(server), count(place, "the new code is loaded")
    server.send_signal(signal.SIGHUP)
    wait_until(lambda: count(place, "the new code is loaded") > loaded and
               not before & workers(server),
               lambda: "the old workers leave:\n%s" % place.logs.all())


# --- as many as the requests need ---------------------------------------------

@pytest.mark.parametrize("front", ["nginx", "lighttpd"])
@pytest.mark.parametrize("options", [[], ["--preload"]],
                         ids=["each imports", "preload"])
def test_workers_follow_the_load(front, options, place):
    """P1, P2: from 1 client to 13 and back, again and again: the workers follow,
    and no request fails. (nginx keeps its connections, lighttpd makes new
    ones.)"""
    zygotes = len(options)
    server = place.gateway(write(place, "v0"), "--processes", "1-6",
                           "--idle-timeout", "200ms", *options)
    site = behind(place, front)
    place.logs.allow("the most that there may be, are busy")
    with load.Http(site, clients=1) as steady:
        for _ in range(4):
            with load.Http(site, clients=12) as many:
                wait_until(lambda: len(workers(server)) == zygotes + 6,
                           lambda: "six workers:\n%s" % place.logs.all())
                many.wait_for_each()
            many.check()
            wait_until(lambda: len(workers(server)) <= zygotes + 2,
                       lambda: "one or two workers:\n%s" % place.logs.all())
            steady.wait_for_more(10)
    steady.check()


# --- reload -------------------------------------------------------------------

@pytest.mark.parametrize("front", ["nginx", "lighttpd"])
def test_20_hups(front, place):
    """P5: no request fails, and each HUP brings its code. (nginx keeps its
    connections, lighttpd makes new ones. That none of nginx's is closed shows
    in its log: nothing there about the upstream.)"""
    server = gateway(place, "--reload", "off")  # by HUP alone
    site = behind(place, front)
    with load.Http(site) as http:
        for number in range(1, 21):
            write(place, "v%d" % number)
            reload(place, server)
            http.wait_for("v%d " % number)
    http.check()
    # Old code is not heard of again once all its workers have left.
    versions = [int(text.split()[0][1:]) for _, text in sorted(http.answers)]
    assert set(versions) == set(range(21))
    assert all(b >= a - 1 for a, b in zip(versions, versions[1:]))
    assert count(place, "SIGHUP: ") == 20
    assert count(place, "the new code is loaded") == 20


@pytest.mark.parametrize("front", ["nginx", "lighttpd"])
def test_hup_with_broken_code(front, place):
    """P5: the old code answers, the log says why; mended code comes in."""
    server = gateway(place)
    site = behind(place, front)
    place.logs.expect("SyntaxError", "app.py could not be loaded",
                      "exited with code 70", "the new code does not load")
    place.logs.allow("Traceback")
    with load.Http(site) as http:
        write(place, BROKEN)
        server.send_signal(signal.SIGHUP)
        place.logs.wait_for(r'app.py", line 1[\s\S]*the new code does not load',
                            LOG)
        http.wait_for("v0 ")
        assert {text.split()[0] for _, text in http.answers} == {"v0"}
        write(place, "mended")
        reload(place, server)
        http.wait_for("mended ")
    http.check()


def test_hups_without_a_master(place):
    """P5: the same on the same process id, and nginx's kept connections outlive
    the program that accepted them."""
    server = place.gateway(write(place, "v0"), "--threads", "2")
    site = behind(place, "nginx")
    with load.Http(site) as http:
        for number in range(1, 6):
            write(place, "v%d" % number)
            server.send_signal(signal.SIGHUP)
            http.wait_for("v%d " % number)
    http.check()
    assert {text.split()[1] for _, text in http.answers} == {str(server.pid)}


def test_touch_below_lighttpd(place):
    """P5, P20: an application that lighttpd has started takes new code on the
    same process id; lighttpd never sees it end. Broken code is not taken."""
    port = place.lighttpd(
        "lighttpd/bin-path.conf", binary=place.binary, socket=place.socket,
        app="--threads 4 %s" % write(place, "v0"),
        breakage_log=place.logs.path("app.log"))
    site = Site(port)
    place.logs.expect("SyntaxError", "app.py could not be loaded",
                      "the new code does not load")
    place.logs.allow("Traceback")
    with load.Http(site) as http:
        http.wait_for("v0 ")
        write(place, BROKEN)
        place.logs.wait_for("the new code does not load", "app.log")
        http.wait_for("v0 ")
        for version in ("v1", "v2"):
            write(place, version)
            http.wait_for(version + " ")
    http.check()
    assert len({text.split()[1] for _, text in http.answers}) == 1
    assert "child" not in place.logs.text()


# --- deaths -------------------------------------------------------------------

class FastCgi:
    """with FastCgi(place, fresh=6) as direct: the same, asking the program
    itself on its socket; bodies, afterwards: what was answered."""

    def __init__(self, place, **clients):
        self.place, self.clients = place, clients
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.bodies = None

    def run(self):
        self.bodies = load.fastcgi(str(self.place.socket), 10**9,
                                   until=self.stopping.is_set, **self.clients)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        assert self.bodies is not None, "the load ended with an exception"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_death_of_workers(number, place):
    """P3: only requests inside the dead worker fail; within a second there is
    another one."""
    kills, threads = 4, 2
    server = gateway(place, "--threads", str(threads))
    place.logs.expect(
        r"worker \d+ was killed by signal %d \(.*\d\.\d{3} s and \d+ requests"
        "; (last|running) request: GET /" % number)
    with FastCgi(place, fresh=12) as direct:
        for _ in range(kills):
            victim = max(workers(server))
            os.kill(victim, number)
            begun = time.monotonic()
            wait_until(lambda: victim not in workers(server) and
                       len(workers(server)) == 2, "another worker")
            # A dump of the core is the kernel's time.
            if number == signal.SIGKILL:
                assert time.monotonic() - begun < 1 * SCALE
            wait_for_workers(place, server)
    assert direct.bodies.pop(None, 0) <= kills * threads
    assert sum(direct.bodies.values()) > 100


def test_worker_that_dies_at_its_start(place):
    """P3: it is tried again at growing intervals; the other serves, and no
    request fails. When it can live again it does."""
    server = gateway(place, "--reload", "off")
    place.logs.expect("was killed by signal 9", "exited with code 3")
    with FastCgi(place, fresh=4) as direct:
        (place.app_dir / "die").touch()
        os.kill(max(workers(server)), signal.SIGKILL)
        begun = time.monotonic()
        wait_until(lambda: count(place, "exited with code 3") >= 5,
                   "five tries")
        # 0.1 + 0.2 + 0.4 + 0.8 s between them, at least.
        assert time.monotonic() - begun > 1.5
        assert count(place, "exited with code 3") < 7
        (place.app_dir / "die").unlink()
        wait_for_workers(place, server)
    assert direct.bodies.pop(None, 0) <= 1  # of the one that was killed
    assert sum(direct.bodies.values()) > 100


# --- the end ------------------------------------------------------------------

@pytest.mark.parametrize("options", [("--processes", "2", "--threads", "2"),
                                     ("--threads", "3")],
                         ids=["master", "alone"])
def test_term_under_load(options, place):
    """P4: whoever has connected gets a whole answer, the exit code is 0, and
    nothing is left."""
    server = place.gateway(write(place, "v0"), *options)
    with FastCgi(place, kept=8, fresh=16) as direct:
        wait_until(lambda: asked(place), "it answers")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert direct.bodies.pop(None, 0) == 0, direct.bodies
    assert sum(direct.bodies.values()) > 20
    assert not place.socket.exists()


def test_second_term_forces(place):
    """P4: requests that never end are cut off by a second TERM."""
    server = gateway(place)
    hanging = load.Connection(str(place.socket), False, "/hang")
    assert hanging.send()
    with FastCgi(place, fresh=4) as direct:
        asked(place)
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: len(workers(server)) == 1,
                   "the worker without such a request ends")
        assert server.is_running()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert direct.bodies[None] == 0
    hanging.close()


# --- much ---------------------------------------------------------------------

def open_fds(pids):
    """Of the process that has most."""
    return max(len(os.listdir("/proc/%d/fd" % pid)) for pid in pids)


def rss_kib(pids):
    """Of the process that has most."""
    return max(int(re.search(r"VmRSS:\s+(\d+) kB", Path(
        "/proc/%d/status" % pid).read_text())[1]) for pid in pids)


def test_100_000_requests(place):
    """P2, P21: two workers that are replaced every 1,000 requests: none of
    100,000 fails, on kept and on new connections, and neither the workers nor
    the master grow."""
    server = gateway(place, "--max-requests", "1000")
    seen = set(workers(server))

    def round_of(requests):
        bodies = load.fastcgi(str(place.socket), requests, kept=4, fresh=4,
                              path="/now")
        assert bodies.pop(None, 0) == 0
        assert sum(bodies.values()) == requests
        seen.update(int(body.split()[1]) for body in bodies)
        # All that were to leave have left, and the new ones serve.
        wait_for_workers(place, server)
        return rss_kib([server.pid]), rss_kib(workers(server))

    fds = open_fds([server.pid]), open_fds(workers(server))
    first_master, first_worker = round_of(10_000)
    for _ in range(9):
        master, worker = round_of(10_000)
    assert len(seen) > 20, "they were hardly replaced"
    assert master <= first_master + 256
    assert worker <= first_worker + 1024
    wait_until(lambda: (open_fds([server.pid]), open_fds(workers(server))) ==
               fds, "the connections are closed")


@pytest.mark.parametrize("front", ["unix", "tcp", "lighttpd"])
def test_200_connections_at_once(front, place):
    """P22: against 4 workers; all are served."""
    script = write(place, "v0")
    if front == "tcp":
        address = ("127.0.0.1",
                   place.tcp_gateway(script, "--processes", "4")[1])
    else:
        place.gateway(script, "--processes", "4")
        address = str(place.socket)
    if front != "lighttpd":
        bodies = load.fastcgi(address, 400, fresh=200)
        assert bodies.pop(None, 0) == 0
        assert sum(bodies.values()) == 400 and len(bodies) == 4
        return
    site = behind(place, front)
    sockets = [site.send_raw(b"GET / HTTP/1.0\r\n\r\n") for _ in range(200)]
    for conn in sockets:
        with conn:
            answer = conn.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.0 200 ") and b"v0 " in answer, answer
