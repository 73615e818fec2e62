"""More than one machine: three hosts behind HAProxy and behind nginx, with the
hosts files of examples/servers as they stand. Under load a host is killed,
frozen, unplugged and drained, and all are upgraded in turn: no GET fails."""

import contextlib
import csv
import http.client
import io
import os
import re
import signal
import socket
import subprocess
import threading

import pytest

import fronts
import load
import network
import setups
from harness import SERVERS, Site, descendants, listens, process, wait_until

APPLICATION = '''
import os, time
version = %r
host = os.environ["HOST"]
here = os.path.dirname(os.path.abspath(__file__))

def hold():
    with open(here + "/held", "a") as held:
        held.write(host + "\\n")
    time.sleep(3600)

def half():
    yield b"half of"
    hold()

def application(environ, start_response):
    if environ["PATH_INFO"] == "/half":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return half()
    if environ["PATH_INFO"] == "/held":
        hold()
    if environ["PATH_INFO"] == "/once" and not os.path.exists(here + "/held"):
        hold()
    if environ["PATH_INFO"] == "/client":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [" ".join((environ["wsgi.url_scheme"], environ["REMOTE_ADDR"],
                          environ["HTTP_HOST"])).encode()]
    time.sleep({"/slow": 0.3, "/long": 2}.get(environ["PATH_INFO"], 0.005))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [("%%s %%s " %% (host, version)).encode()]
'''

# What nginx says of a request that a host did not answer.
UNANSWERED = (r"\[error\].* (?:connect\(\) failed|upstream timed out|"
              r"upstream prematurely closed|(?:recv|readv|writev)\(\) failed)")


class Cluster:
    """Hosts 1, 2 and 3 with a gateway each, and a balancer in front: site."""

    def __init__(self, place, hosts, front):
        self.place, self.front = place, front
        self.kind = "namespaces" if hosts[0].command else "loopback"
        self.hosts = dict(enumerate(hosts, 1))
        self.servers = {}
        for version in ("v0", "v1"):
            self.script(version).write_text(APPLICATION % version)
        for number in self.hosts:
            self.start(number, "v0")
        pairs = {"host%d" % number: host.bound
                 for number, host in self.hosts.items()}
        if front == "haproxy":
            # a check that is in flight when its host ends
            place.logs.allow("is DOWN, reason: Socket error")
            place.logs.allow("Detected 3 consecutive errors")
            self.admin = place.run_dir / "admin.sock"
            port = fronts.haproxy(place, "haproxy/hosts.cfg",
                                  admin=self.admin, **pairs)
        else:
            place.logs.allow(UNANSWERED)
            port = fronts.nginx(place, "nginx/hosts.conf", **pairs)
        self.site = Site(port)
        self.balancer = place.servers[-1]

    # the hosts

    def script(self, version):
        return self.place.app_dir / (version + ".py")

    def start(self, number, version):
        """Its gateway, until it listens."""
        host, place = self.hosts[number], self.place
        server = place.start("host%d" % number, [
            *host.command, place.binary, "--bind", host.bound,
            "--allow", host.peer, "--ping-path", "/ping", "--processes", "2",
            "--threads", "4", self.script(version)],
            env={**os.environ, "HOST": "host%d" % number})
        wait_until(lambda: not server.is_running() or
                   listens(server.pid, host.port, host.address),
                   lambda: "host%d listens:\n%s" % (number, place.logs.all()))
        assert server.is_running(), place.logs.all()
        self.servers[number] = server

    def restart(self, number, version):
        """TERM, its end, and another one in its place."""
        assert self.servers[number].stop() == 0
        self.start(number, version)

    def signal(self, number, what):
        """To each process of that host, the master first; their ids."""
        pid = self.servers[number].pid
        pids = [pid, *descendants(pid)]
        for one in pids:
            os.kill(one, what)
        return pids

    def kill(self, number):
        """All its processes at once. They end with that code, the workers as
        orphans."""
        self.place.right_codes.update(
            {"host%d" % number: (-9,), "orphan": (-9,)})
        pids = self.signal(number, signal.SIGKILL)
        wait_until(lambda: all(now is None or now[1] == "Z"
                               for now in map(process, pids)),
                   "all processes of the host end")

    @contextlib.contextmanager
    def frozen(self, number):
        self.signal(number, signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(number, signal.SIGCONT)

    # the balancer

    def ask_haproxy(self, command):
        """By its socket, as its operator does."""
        with socket.socket(socket.AF_UNIX) as conn:
            conn.connect(str(self.admin))
            conn.sendall(command.encode() + b"\n")
            return conn.makefile("rb").read().decode()

    def drain_sh(self, *words):
        """Runs that file of the examples: (exit code, what it said)."""
        self.place.need("socat")
        script = self.place.folder / "drain.sh"
        script.write_text(self.place.example("haproxy/drain.sh", admin=self.admin))
        said = subprocess.run(["sh", script, *words], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        return said.returncode, said.stdout

    def stats(self):
        """{number of the host: {field: text}} of "show stat"."""
        text = self.ask_haproxy("show stat").lstrip("# ")
        return {int(row["svname"][3:]): row
                for row in csv.DictReader(io.StringIO(text))
                if re.fullmatch(r"app\d", row["svname"])}

    def wait_for(self, number, **fields):
        """Until HAProxy says so of that host."""
        wait_until(lambda: fields.items() <= self.stats()[number].items(),
                   lambda: "host%d is %s: %s\n%s" % (
                       number, fields, self.stats(), self.place.logs.all()))

    def wait_until_down(self, number):
        """nginx has no state to ask for."""
        if self.front == "haproxy":
            self.wait_for(number, status="DOWN")

    def retries(self):
        if self.front == "nginx":
            return "%d asked again" % len(
                re.findall(UNANSWERED, self.place.logs.text()))
        rows = self.stats().values()
        return "%d retries, %d redispatches" % (
            sum(int(row["wretr"]) for row in rows),
            sum(int(row["wredis"]) for row in rows))


@pytest.fixture(params=["haproxy", "nginx"])
def front(request):
    return request.param


@pytest.fixture
def make(place, front, record_property):
    """make() is a Cluster of namespaces, or of loopback addresses where these
    cannot be made or are not wanted."""
    with contextlib.ExitStack() as stack:
        def start(kind="namespaces"):
            hosts = None
            if kind == "namespaces":
                try:
                    hosts = stack.enter_context(network.namespaces())
                except network.Missing as error:
                    record_property(
                        "figure", "addresses of loopback stand for hosts, no "
                        "network namespaces: %s" % error)
            cluster = Cluster(place, hosts or network.loopback(), front)
            # First: it would complain of hosts that end.
            stack.callback(cluster.balancer.stop)
            return cluster
        yield start


class Load:
    """with Load(cluster, what, record) as clients: GETs of pages that take 5 ms
    and 300 ms, of which none has failed at the end, and POSTs, which are
    counted. record is told the figures."""

    def __init__(self, cluster, what, record):
        self.cluster, self.what, self.record = cluster, what, record
        self.quick = load.Http(cluster.site, 6, "/", ["GET"])
        self.slow = load.Http(cluster.site, 2, "/slow", ["GET"])
        self.posts = load.Http(cluster.site, 2, "/", ["POST"])
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        for one in (self.quick, self.slow, self.posts):
            self.stack.enter_context(one)
        with self.stack:
            for number in self.cluster.hosts:
                self.wait_for("host%d v0 " % number)
            self.stack = self.stack.pop_all()  # all is well: go on
        return self

    def __exit__(self, kind, *_):
        self.stack.close()
        if kind is not None:
            return
        self.quick.check()
        self.slow.check()
        took = self.quick.took + self.slow.took
        self.record("figure", (
            "%s, %s, %s: %d GETs, 0 failed, %s, the slowest took %.2f s; "
            "%d of %d POSTs failed" % (
                self.cluster.front, self.cluster.kind, self.what, len(took),
                self.cluster.retries(), max(took), len(self.posts.failures),
                len(self.posts.took))))

    def wait_for(self, text):
        self.quick.wait_for(text)

    def wait_for_each(self):
        """No client is stuck."""
        self.quick.wait_for_each()
        self.slow.wait_for_each()


@pytest.mark.parametrize("kind", ["namespaces", "loopback"])
def test_kill(kind, make, record_property):
    """P3: a host dies with all its processes, and comes back."""
    cluster = make(kind)
    with Load(cluster, "one is killed", record_property) as clients:
        cluster.kill(2)
        cluster.wait_until_down(2)
        clients.wait_for_each()
        cluster.start(2, "v1")
        clients.wait_for("host2 v1 ")


def test_freeze(make, record_property):
    """A host accepts connections, in its kernel, but does nothing."""
    cluster = make()
    with Load(cluster, "one is frozen", record_property) as clients:
        with cluster.frozen(2):
            cluster.wait_until_down(2)
            clients.wait_for_each()
        clients.wait_for("host2 v0 ")


def test_unplug(make, record_property):
    """A host is off: there is no answer from it, not even a refusal."""
    cluster = make()
    if cluster.kind == "loopback":
        pytest.skip("loopback cannot be unplugged")
    with Load(cluster, "one is off", record_property) as clients:
        network.unplug(2)
        cluster.wait_until_down(2)
        clients.wait_for_each()
        network.plug(2)
        clients.wait_for("host2 v0 ")


def test_upgrade(make, record_property):
    """P4: one host after the other is stopped by TERM, with nobody told, and
    started with the new version."""
    cluster = make()
    with Load(cluster, "all are upgraded", record_property) as clients:
        for number in cluster.hosts:
            cluster.restart(number, "v1")
            clients.wait_for("host%d v1 " % number)
        clients.wait_for_each()
    assert clients.quick.answers[-1][1].split()[1] == "v1"


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_drain(make, record_property):
    """P4: HAProxy is told before, by drain.sh: not even a POST fails, and nothing has
    to be asked twice."""
    cluster = make()
    with Load(cluster, "one is drained and restarted",
              record_property) as clients:
        assert cluster.drain_sh("app2") == (0, "")
        row = cluster.stats()[2]
        assert (row["status"].split()[0], row["scur"]) == ("DRAIN", "0")
        cluster.restart(2, "v1")
        assert cluster.drain_sh("app2", "ready") == (0, "")
        assert cluster.stats()[2]["status"] == "UP"
        clients.wait_for("host2 v1 ")
    assert not clients.posts.failures
    assert cluster.retries() == "0 retries, 0 redispatches"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_client_and_scheme(tls, make, place):
    """X4: REMOTE_ADDR and wsgi.url_scheme are those of the client, whatever headers it
    sends; with the TLS line of the comment in the place of the other one."""
    if tls:
        both = setups.certificates(place)["both"]
        line = re.search("^    #(bind .*)", (
            SERVERS / "haproxy" / "hosts.cfg").read_text(), re.M)[1]
        words = {":443": "", "/etc/ssl/private/app-both.pem": str(both)}
        for old, new in words.items():
            assert old in line
            line = line.replace(old, new)
        place.edit = lambda text: re.sub(
            "( bind 127[.]0[.]0[.]1:[0-9]+)$", lambda found: found[1] + line[4:], text,
            flags=re.M)
    cluster = make("loopback")
    site = Site(cluster.site.port, scheme="https" if tls else "http")
    got = site.ask("/client", headers={
        "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "ftp",
        "Host": "h.example:8443"})
    assert got.text == "%s 127.0.0.1 h.example:8443" % site.scheme


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_busy_is_not_dead(make):
    """More requests than threads, for longer than a check may take: they wait
    in HAProxy, and the check finds a thread."""
    cluster = make()
    answers = []
    clients = [threading.Thread(
        target=lambda: answers.append(cluster.site.ask("/long").status))
        for _ in range(30)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert answers == [200] * 30
    rows = cluster.stats().values()
    assert {(row["smax"], row["chkdown"]) for row in rows} == {("7", "0")}


class Held:
    """with Held(cluster, method, path) as request: it is being done on a host,
    which is killed at the end. answer, afterwards: an Answer or the exception;
    times: how often it was begun."""

    def __init__(self, cluster, method, path):
        self.cluster, self.method, self.path = cluster, method, path
        self.held = cluster.place.app_dir / "held"
        self.thread = threading.Thread(target=self.run)
        self.answer = None

    def run(self):
        try:
            self.answer = self.cluster.site.ask(
                self.path, self.method,
                b"body" if self.method in ("POST", "PUT") else None)
        except (OSError, http.client.HTTPException) as error:
            self.answer = error

    def hosts(self):
        return self.held.read_text().split() if self.held.exists() else []

    def __enter__(self):
        self.thread.start()
        wait_until(self.hosts, "it is being done")
        return self

    def __exit__(self, *_):
        self.cluster.kill(int(self.hosts()[0][4:]))
        self.thread.join()
        assert self.cluster.site.ask(method="POST", body=b"").status == 200


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_drain_waits(make):
    """drain.sh goes on while the machine has a request, and says what HAProxy does
    not do."""
    cluster = make("loopback")
    assert cluster.drain_sh("app9") == (1, "No such server.\n")
    ended = []
    with Held(cluster, "POST", "/held") as request:
        name = request.hosts()[0].replace("host", "app")
        drain = threading.Thread(
            target=lambda: ended.append(cluster.drain_sh(name)))
        drain.start()
        wait_until(lambda: ended or "sleep 1" in {
            command for _, _, command in descendants().values()},
            "it has found the request, and waits")
        assert ended == []
    drain.join()
    assert ended == [(0, "")]


@pytest.mark.parametrize("front", ["haproxy"], indirect=True)
def test_drain_and_ready_look_again(make):
    """drain.sh: a machine that has gone while it was drained does not come back by the
    checks from before, and the last machine that is up is not drained."""
    cluster = make("loopback")
    for name in ("app2", "app3"):
        assert cluster.drain_sh(name) == (0, "")
    assert cluster.drain_sh("app1") == (
        1, "drain.sh: no other machine is up: app1 stays in use\n")
    assert cluster.stats()[1]["status"] == "UP"
    assert cluster.servers[2].stop() == 0
    ended = []
    ready = threading.Thread(
        target=lambda: ended.append(cluster.drain_sh("app2", "ready")))
    ready.start()
    cluster.wait_for(2, check_status="L4CON", status="DOWN")
    assert ended == []
    cluster.start(2, "v1")
    ready.join()
    assert ended[0][0] == 0 and cluster.stats()[2]["status"] == "UP"


def test_post_is_not_repeated(make):
    """It may have been done by a host that died before it said so."""
    with Held(make(), "POST", "/held") as request:
        pass
    assert len(request.hosts()) == 1
    assert request.answer.status == 502


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_what_is_repeated(method, make):
    """It is the same done twice: another host is asked, and the client sees
    nothing of it."""
    with Held(make("loopback"), method, "/once") as request:
        pass
    assert request.answer.status == 200
    if method != "HEAD":
        assert request.answer.text.split()[0] not in request.hosts()


def test_answer_that_has_begun(make):
    """It cannot be asked for again, but the client sees that it is cut."""
    with Held(make(), "GET", "/half") as request:
        pass
    assert isinstance(request.answer, http.client.IncompleteRead)
    assert len(request.hosts()) == 1
