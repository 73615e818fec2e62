"""What starts the program: each has it started, answering, started again, and
stopped, with nothing left behind (which the fixture sees to).

The processes are counted: PHP_FCGI_CHILDREN is for php-cgi, and never obeyed.
"""

import contextlib
import grp
import http.client
import os
import pwd
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import time
from concurrent import futures

import pytest

import fronts
import load
from harness import (APPS, DEADLINE, EXAMPLE_LOG_FOLDER, EXAMPLE_SOCKET, EXAMPLES,
                     SERVERS, Site, as_server_user, descendants, example, is_ours,
                     process, server_user, substitute, unix_sockets, wait_until)
from place import open_place

HELLO = EXAMPLES / "hello.py"
TEXT = "Hello from wsgi-cgi\n"
PROBE = APPS / "probe.py"


def applications(place):
    """Ids of our program."""
    return sorted(pid for pid, (_, state, command) in descendants().items()
                  if state != "Z" and is_ours(command, place.binary))


def wait_for_count(place, count):
    wait_until(lambda: len(applications(place)) == count,
               lambda: "%d processes: %s\n%s" % (
                   count, descendants(), place.logs.all()))
    return applications(place)


def wait_for_hello(site, place):
    wait_until(lambda: site.ask().text == TEXT,
               lambda: "an answer:\n%s" % place.logs.all())


def served_through_lighttpd(place):
    # Its way to say that it dropped a connection: that of our last request,
    # whose end it has not seen yet.
    place.right_codes["lighttpd"] = (1,)
    return Site(place.lighttpd("lighttpd/socket.conf", socket=place.socket))


def mark(script, text):
    """Other code in the place of the script, by rename: it answers this."""
    new = script.with_suffix(".new")
    new.write_text(script.read_text().replace("Hello from wsgi-cgi", text))
    new.chmod(script.stat().st_mode)
    os.replace(new, script)


def asking(site):
    """Clients that ask one after the other; every answer counts."""
    return load.Http(site, clients=3, methods=("GET",))


# --- the time to stop ---------------------------------------------------------

def test_stop_times(binary):
    """No spawner kills before --graceful-timeout is over."""
    usage = subprocess.run([binary, "--help"], capture_output=True, text=True,
                           check=True).stdout
    [graceful] = re.findall(r"--graceful-timeout TIME\s.*\[(\d+)s\]", usage)
    times = [(path.name, int(seconds))
             for path in SERVERS.rglob("*") if path.is_file()
             for seconds in re.findall(
                 r"^(?:stopwaitsecs|TimeoutStopSec)=(\d+)$",
                 path.read_text(), re.M)]
    # Three files of supervisor and one of systemd.
    assert len(times) == 4, times
    assert not [name for name, seconds in times if seconds <= int(graceful)]


# --- lighttpd, bin-path -------------------------------------------------------

@pytest.fixture
def three(place):
    """lighttpd with three processes: (site, script)."""
    place.right_codes["lighttpd"] = (1,)
    script = place.copy_app(HELLO)
    folder = place.run_dir
    more = '''fastcgi.server := ( "/" => ((
      "bin-path" => "%s --threads 2 %s", "socket" => "%s", "max-procs" => 3,
      "bin-environment" => ( "PHP_FCGI_CHILDREN" => "4",
                             "PHP_FCGI_MAX_REQUESTS" => "2" ),
      "check-local" => "disable", "fix-root-scriptname" => "enable"
    )) )\n''' % (place.binary, script, place.socket)
    port = place.lighttpd(
        "lighttpd/bin-path.conf", more, binary=place.binary,
        socket=place.socket, app=script,
        breakage_log=place.logs.path("app.log"))
    site = Site(port)
    wait_for_count(place, 3)
    assert sorted(p.name for p in folder.glob("app.sock*")) == [
        "app.sock-0", "app.sock-1", "app.sock-2"]
    assert site.ask().text == TEXT
    return site, script


def test_lighttpd_max_procs(three, place):
    """As many as max-procs says, each on a socket of its own, and none more."""
    site, _ = three
    before = applications(place)
    with asking(site) as clients:
        clients.wait_for_more(100)
    assert not clients.failures
    assert applications(place) == before


def test_lighttpd_starts_a_killed_one_again(three, place):
    """Whichever it is; the other two answer meanwhile."""
    site, _ = three
    place.logs.expect("child signalled: 9")
    for victim in applications(place)[:2]:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in applications(place), "its end")
        wait_until(lambda: site.ask() and len(applications(place)) == 3,
                   lambda: "it is started again:\n%s" % place.logs.all())
        wait_for_hello(site, place)


def test_lighttpd_sees_no_restart(three, place):
    """New code: a touch of the script makes each process execute itself again;
    the same ids, and not one request fails."""
    site, script = three
    before = applications(place)
    with asking(site) as clients:
        clients.wait_for_more()
        mark(script, "Hello again")
        wait_until(lambda: clients.answers[-1][1] == "Hello again\n",
                   "new code")
        # All three are asked in turn.
        wait_until(lambda: {text for _, text in clients.answers[-60:]}
                   == {"Hello again\n"}, "new code everywhere")
    assert not clients.failures, clients.failures[:3]
    assert applications(place) == before
    assert "child exited" not in place.logs.text()


def test_lighttpd_graceful_restart(three, place):
    """USR1, what Debian's "systemctl reload" sends: it ends the processes,
    waits for them without a bound, and starts new ones."""
    site, _ = three
    before = applications(place)
    lighttpd = next(s for s in place.servers if s.name == "lighttpd")
    place.logs.allow("graceful (restart|shutdown)", "child exited: 0")
    lighttpd.send_signal(signal.SIGUSR1)
    wait_until(lambda: len(applications(place)) == 3 and
               not set(before) & set(applications(place)),
               lambda: "new processes:\n%s" % place.logs.all())
    wait_for_hello(site, place)


def test_lighttpd_stop(three, place):
    """No process is left, and no socket."""
    lighttpd = next(s for s in place.servers if s.name == "lighttpd")
    assert lighttpd.stop() in (0, 1)
    wait_until(lambda: not place.orphans.look(place.own_ids()), "the end")
    assert [code for _, code in place.orphans.ended] == [0, 0, 0]
    assert list(place.run_dir.glob("app.sock*")) == []


# --- mod_fcgid ----------------------------------------------------------------

@pytest.fixture
def public(binary, need):
    need("apache2")
    with open_place(binary, need) as made:
        yield made


@pytest.fixture(params=["wrapper", "shebang"])
def fcgid(request, public):
    """Apache that starts the script by FcgidWrapper, or by its own first
    line."""
    script = public.copy_app(HELLO, [])
    pairs = {"app": script, "app_dir": '"%s"' % public.app_dir}
    name, prefix = "apache/fcgid-script.conf", "/app"
    if request.param == "wrapper":
        pairs["binary"] = public.binary
        name, prefix = "apache/fcgid.conf", ""
    site = Site(fronts.apache(
        public, name, "fcgid", extra="FcgidErrorScanInterval 1\n"
        "FcgidZombieScanInterval 1\nFcgidInitialEnv PHP_FCGI_CHILDREN 4\n",
        **pairs), prefix)
    assert site.ask().text == TEXT
    return site


def test_mod_fcgid_starts_and_stops(fcgid, public):
    """On demand, one request at a time in each; PHP_FCGI_CHILDREN makes no more
    of them; all end with Apache. (It leaves a socket file in its own folder.)"""
    assert len(applications(public)) == 1
    with asking(fcgid) as clients:
        clients.wait_for_more()
    assert not clients.failures
    assert 1 <= len(applications(public)) <= 3
    apache = next(s for s in public.servers if s.name == "apache2")
    assert apache.stop() == 0
    wait_until(lambda: not applications(public), "the end")
    assert not any(unix_sockets(p)[0] for p in public.run_dir.iterdir())


def test_mod_fcgid_starts_a_killed_one_again(fcgid, public):
    victim, = applications(public)
    os.kill(victim, signal.SIGKILL)
    public.logs.allow("mod_fcgid: process .* exit", "Broken pipe",
                      "Connection (reset|refused)", "End of script output")
    wait_until(lambda: victim not in applications(public), "its end")
    wait_for_hello(fcgid, public)
    assert victim not in applications(public)


def test_mod_fcgid_graceful_restart(fcgid, public):
    """Apache ends the old processes, with requests or without, and starts
    others when somebody asks."""
    before = applications(public)
    apache = next(s for s in public.servers if s.name == "apache2")
    apache.send_signal(signal.SIGUSR1)
    public.logs.allow("AH00493|AH00489|AH00163|AH00094|resuming|configured")
    wait_until(lambda: not set(before) & set(applications(public)),
               lambda: "the end of the old:\n%s" % public.logs.all())
    wait_for_hello(fcgid, public)
    assert applications(public)


# --- supervisord --------------------------------------------------------------

# What wsgi-cgi-servers(7) and the files say for new code: right for a program of one
# process and for one of several, which "app" alone is not.
SIGNAL_HUP = "signal", "HUP", "app:*"


def test_the_signal_in_the_texts():
    """The manual and the files name it in these words, and no other."""
    files = [EXAMPLES.parent / "man" / "wsgi-cgi-servers.7",
             *SERVERS.glob("supervisor-*.conf")]
    assert len(files) == 4
    for file in files:
        assert re.findall("supervisorctl signal (.*)", file.read_text()) == [
            "HUP 'app:*'"], file


def check_times(place, count):
    """stderr_logfile: each line has a time, which supervisor does not add, and as many
    say that the program started."""
    wait_until(lambda: place.logs.text("app.log").count(" started: wsgi-cgi ") == count,
               lambda: "start lines:\n%s" % place.logs.all())
    bad = [line for line in place.logs.text("app.log").splitlines()
           if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", line)]
    assert not bad, bad


def test_supervisor_fcgi_program(place):
    """numprocs=2 on one socket: both answer, and write their times; HUP to both brings
    new code; restarted one at a time nobody is refused; one that is killed, or ends with
    0 without supervisor's doing, is started again;
    stopped, none is left."""
    script = place.copy_app(HELLO)
    place.supervisord("supervisor-fcgi-program.conf", app=script)
    site = served_through_lighttpd(place)
    first = wait_for_count(place, 2)
    assert site.ask().text == TEXT
    check_times(place, 2)
    born = {pid: start_of_exec(pid) for pid in first}
    with asking(site) as clients:
        clients.wait_for_more()
        mark(script, "Hello again")
        said = place.supervisorctl(*SIGNAL_HUP)
        assert said == "app:app_00: signalled\napp:app_01: signalled\n"
        wait_until(lambda: all(start_of_exec(pid) != born[pid] for pid in first),
                   "new programs")
        clients.wait_for("Hello again")
        assert wait_for_count(place, 2) == first
        for name in ("app:app_00", "app:app_01"):
            said = place.supervisorctl("restart", name)
            assert "started" in said and "ERROR" not in said, said
            clients.wait_for_more()
    assert not clients.failures, clients.failures[:3]
    second = wait_for_count(place, 2)
    assert not set(first) & set(second)

    place.logs.allow("exited: app_0. .*SIGKILL")
    for number in signal.SIGKILL, signal.SIGUSR1, signal.SIGTERM:
        second = wait_for_count(place, 2)
        os.kill(second[0], number)
        wait_until(lambda: len(set(applications(place)) - set(second)) == 1 and
                   len(applications(place)) == 2,
                   lambda: "a new one:\n%s" % place.logs.all())
    assert site.ask().text == "Hello again\n"

    assert place.supervisorctl("stop", "all").count("stopped") == 2
    assert applications(place) == []
    assert unix_sockets(place.socket) == (0, 0)


@pytest.mark.parametrize("how, keep, statuses", [
    ("restart", True, {"GET": 200, "POST": 502}),
    ("restart", False, {"GET": 200, "POST": 200}),
    ("signal", True, {"GET": 200, "POST": 200})])
def test_supervisor_restart_behind_nginx(how, keep, statuses, place):
    """P5: nginx does not send a POST again that arrives on a connection that a process
    has closed because it stops. It happens neither without fastcgi_keep_conn nor at a
    HUP. The order that a test under load meets now and then: nginx finds the request
    first and then the end of the connection."""
    script = place.copy_app(HELLO)
    place.supervisord("supervisor-fcgi-program.conf", app=script)
    if not keep:
        place.edit = lambda text: text.replace("fastcgi_keep_conn on;", "")
    site = Site(fronts.nginx(place, "nginx/socket.conf", socket=place.socket))
    [worker] = descendants(place.servers[-1].pid)
    place.logs.allow("while sending request to upstream",
                     "while reading response header from upstream")
    for method, status in statuses.items():
        first = wait_for_count(place, 2)
        born = [start_of_exec(pid) for pid in first]
        client = http.client.HTTPConnection("127.0.0.1", site.port, timeout=DEADLINE)
        with contextlib.closing(client):
            client.request("GET", "/")
            assert client.getresponse().read() == TEXT.encode()
            os.kill(worker, signal.SIGSTOP)
            try:
                client.request(method, "/", b"body" if method == "POST" else None)
                if how == "signal":
                    place.supervisorctl(*SIGNAL_HUP)
                    wait_until(lambda: not set(born) & {
                        start_of_exec(pid) for pid in first}, "new programs")
                else:
                    for name in ("app:app_00", "app:app_01"):
                        said = place.supervisorctl("restart", name)
                        assert "started" in said and "ERROR" not in said, said
            finally:
                os.kill(worker, signal.SIGCONT)
            got = client.getresponse()
            assert (got.status, method) == (status, method), place.logs.all()
            got.read()


def test_supervisor_and_spawn_fcgi(place):
    """spawn-fcgi -n turns into the application: supervisor's child is ours, its log has
    times, and a restart creates the socket again."""
    place.need("spawn-fcgi")
    script = place.copy_app(HELLO)
    place.supervisord("supervisor-spawn-fcgi.conf", app=script)
    site = served_through_lighttpd(place)
    first, = wait_for_count(place, 1)
    assert site.ask().text == TEXT
    check_times(place, 1)
    parent = process(first)[0]
    assert parent == next(s.pid for s in place.servers
                          if s.name == "supervisord")

    mark(script, "Hello again")
    assert place.supervisorctl(*SIGNAL_HUP) == "app: signalled\n"
    with asking(site) as clients:
        wait_until(lambda: clients.answers and
                   clients.answers[-1][1] == "Hello again\n", "new code")
    assert not clients.failures, clients.failures[:3]
    assert applications(place) == [first]

    said = place.supervisorctl("restart", "app")
    assert "app: started" in said, said
    second, = wait_for_count(place, 1)
    assert second != first
    os.kill(second, signal.SIGUSR1)
    wait_until(lambda: applications(place) not in ([], [second]),
               lambda: "one in its place:\n%s" % place.logs.all())
    place.logs.allow("all handlers for .* are down", "Connection refused",
                     "connect.* failed", "establishing connection failed")
    wait_until(lambda: site.ask().text == "Hello again\n",
               lambda: "an answer:\n%s" % place.logs.all())

    assert "app: stopped" in place.supervisorctl("stop", "app")
    assert applications(place) == []
    assert unix_sockets(place.socket) == (0, 0)


# --- spawn-fcgi, multiwatch, systemd-socket-activate --------------------------

def spawner(place, name, more=""):
    """examples/servers/NAME, with more options in front of the application."""
    script = place.copy_app(HELLO)
    path = place.folder / name
    path.write_text(example(name, binary=place.binary, socket=place.socket,
                            app=("%s %s" % (more, script)).strip()))
    place.need("spawn-fcgi" if "spawn" in name else name.partition(".")[0])
    server = place.start(name, ["sh", path], **as_server_user())
    return place.wait_for_socket(server), script


def test_spawn_fcgi_in_the_foreground(place):
    """-n: one process, the one that was started; a HUP brings new code on the
    same id; TERM ends it with 0."""
    server, script = spawner(place, "spawn-fcgi.sh")
    site = served_through_lighttpd(place)
    assert site.ask().text == TEXT
    assert applications(place) == [server.pid]
    mark(script, "Hello again")
    server.send_signal(signal.SIGHUP)
    with asking(site) as clients:
        wait_until(lambda: clients.answers and
                   clients.answers[-1][1] == "Hello again\n", "new code")
    assert not clients.failures, clients.failures[:3]
    assert applications(place) == [server.pid]
    assert server.stop() == 0


@pytest.fixture
def background(place):
    """background(*words): spawn-fcgi that leaves its children to themselves.
    They are ours then; the pids that it wrote down."""
    program = place.need("spawn-fcgi")
    script = place.copy_app(HELLO)
    started = []

    def start(*words):
        pids = place.run_dir / "pids"
        subprocess.run([program, "-s", place.socket, "-P", pids, *words, "--",
                        place.binary, script],
                       stdout=subprocess.DEVNULL, check=True,
                       timeout=20, **as_server_user())
        started.extend(int(pid) for pid in pids.read_text().split())
        return started
    yield start
    for pid in started:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not set(started) & set(place.orphans.look(
        place.own_ids())), "the end of what spawn-fcgi started")
    assert [code for _, code in place.orphans.ended] == [0] * len(started)


def start_of_exec(pid):
    """Where the kernel has put the program's stack: another place after each
    execve()."""
    with open("/proc/%d/stat" % pid) as file:
        return file.read().rpartition(")")[2].split()[25]


def test_spawn_fcgi_with_several(background, place):
    """-F 3: three processes on one socket, each of which answers; nobody starts
    them again, so a HUP must not end one."""
    pids = background("-F", "3")
    assert len(pids) == 3 and wait_for_count(place, 3) == sorted(pids)
    site = served_through_lighttpd(place)
    with asking(site) as clients:
        clients.wait_for_more()
        born = {pid: start_of_exec(pid) for pid in pids}
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        wait_until(lambda: all(start_of_exec(pid) != born[pid]
                               for pid in pids), "new programs")
        clients.wait_for_more()
    assert not clients.failures, clients.failures[:3]
    assert wait_for_count(place, 3) == sorted(pids)


@pytest.mark.parametrize("children", ["0", "1", "4"])
def test_php_fcgi_children_is_not_obeyed(background, place, children):
    """spawn-fcgi -C sets it."""
    pids = background("-C", children)
    assert len(pids) == 1
    site = served_through_lighttpd(place)
    assert site.ask().text == TEXT
    assert ("PHP_FCGI_CHILDREN=%s" % children).encode() in open(
        "/proc/%d/environ" % pids[0], "rb").read().split(b"\0")
    assert applications(place) == pids


def test_multiwatch(place):
    """Three processes on spawn-fcgi's socket; a killed one is started again at
    once; at the end it sends SIGUSR1, with which a request is finished."""
    place.need("multiwatch")
    spawner(place, "spawn-fcgi-multiwatch.sh")
    site = served_through_lighttpd(place)
    before = wait_for_count(place, 3)
    assert site.ask().text == TEXT
    os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: len(set(applications(place)) - set(before)) == 1,
               "a new one")
    wait_for_count(place, 3)
    with asking(site) as clients:
        clients.wait_for_more()
    assert not clients.failures
    watch = next(s for s in place.servers if "multiwatch" in s.name)
    watch.stop()
    wait_until(lambda: not applications(place), "the end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP,
                                    signal.SIGUSR1])
def test_multiwatch_finishes_requests(place, number):
    """Whatever ends multiwatch, its children get SIGUSR1: finish and go."""
    place.need("multiwatch")
    script = place.copy_app(PROBE)
    path = place.folder / "run.sh"
    path.write_text(example("spawn-fcgi-multiwatch.sh", binary=place.binary,
                            socket=place.socket, app=script))
    watch = place.wait_for_socket(place.start("multiwatch", ["sh", path],
                                              **as_server_user()))
    site = served_through_lighttpd(place)
    wait_for_count(place, 3)
    with site.send_raw(b"GET /slow HTTP/1.0\r\n\r\n") as conn:
        wait_until(lambda: unix_sockets(place.socket)[1], "the request runs")
        watch.send_signal(number)
        assert conn.makefile("rb").read().endswith(b"\r\n\r\nslow\n")
    wait_until(lambda: not applications(place), "the end")
    watch.wait()


@pytest.mark.parametrize("options, count", [("", 1), ("--processes 2", 3)],
                         ids=["one", "master"])
def test_systemd_socket_activate(place, options, count):
    """The first connection starts it, in the place of what had the socket. HUP
    brings new code and refuses nobody, TERM ends it with 0."""
    server, script = spawner(place, "systemd-socket-activate.sh", options)
    place.logs.allow("Communication attempt on fd")
    assert applications(place) == [], "nobody has asked yet"
    site = served_through_lighttpd(place)
    assert site.ask().text == TEXT
    assert server.pid in wait_for_count(place, count)
    with asking(site) as clients:
        clients.wait_for_more()
        mark(script, "Hello again")
        server.send_signal(signal.SIGHUP)
        wait_until(lambda: {text for _, text in clients.answers[-30:]}
                   == {"Hello again\n"}, "new code")
    assert not clients.failures, clients.failures[:3]
    assert server.pid in wait_for_count(place, count)
    assert server.stop() == 0
    assert applications(place) == []


# --- systemd's units ----------------------------------------------------------

def unit(name):
    """{key: value} of a unit; keys that are there twice are not of interest."""
    text = (SERVERS / name).read_text()
    lines = re.sub(r"\\\n\s*", "", text).splitlines()   # it goes on there
    return dict(line.split("=", 1) for line in lines
                if "=" in line and not line.startswith("#"))


def test_units_are_right(need, tmp_path):
    """systemd finds nothing wrong with them, nor with the drop-in. (It wants to
    see the program.)"""
    program = need("systemd-analyze")
    text = (SERVERS / "wsgi-cgi.service").read_text()
    assert "=/usr/local/bin/wsgi-cgi " in text
    (tmp_path / "wsgi-cgi.service").write_text(
        text.replace("/usr/local/bin/wsgi-cgi", "/bin/true"))
    (tmp_path / "wsgi-cgi.socket").write_text(
        (SERVERS / "wsgi-cgi.socket").read_text())
    said = subprocess.run(
        [program, "verify", *sorted(tmp_path.iterdir())],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert (said.returncode, said.stdout) == (0, "")
    drop_in = tmp_path / "wsgi-cgi.service.d/wsgi-cgi-idle.conf"
    drop_in.parent.mkdir()
    for change, is_right in (lambda text: text, True), \
            (lambda text: text.replace("ExecStart=", "ExecStat="), False):
        drop_in.write_text(change(
            (SERVERS / drop_in.name).read_text().replace(
                "/usr/local/bin/wsgi-cgi", "/bin/true")))
        said = subprocess.run(
            [program, "verify", tmp_path / "wsgi-cgi.service"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert ((said.returncode, said.stdout) == (0, "")) == is_right


def test_folders_of_sockets_and_logs(need, tmp_path):
    """tmpfiles.conf, as systemd obeys it at each boot, below another root."""
    user, group = server_user()
    (tmp_path / "etc").mkdir()
    ids = pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid
    (tmp_path / "etc/passwd").write_text("%s:x:%d:%d::/:/bin/sh\n" % (user, *ids))
    (tmp_path / "etc/group").write_text("%s:x:%d:\n" % (group, ids[1]))
    text = (SERVERS / "tmpfiles.conf").read_text()
    file = tmp_path / "wsgi-cgi.conf"
    file.write_text(substitute(text, {"0750 www-data www-data": "0750 %s %s"
                                      % (user, group)}))
    subprocess.run([need("systemd-tmpfiles"), "--create",
                    "--root=%s" % tmp_path, file], check=True)
    for path in os.path.dirname(EXAMPLE_SOCKET), EXAMPLE_LOG_FOLDER:
        made = (tmp_path / path[1:]).stat()
        assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == \
            (*ids, 0o750)


class Systemd:
    """Does what the two units say: the socket, the user, the variables. under:
    what the program is started by, for a part of the rest; is_root: and that
    becomes the user."""

    def __init__(self, place, script, under=(), is_root=False, command=None):
        self.place, self.service = place, unit("wsgi-cgi.service")
        self.script, self.under, self.is_root = script, under, is_root
        self.command = command or self.service["ExecStart"]
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(place.socket))
        theirs = unit("wsgi-cgi.socket")
        if os.geteuid() == 0:
            shutil.chown(place.socket, theirs["SocketUser"],
                         theirs["SocketGroup"])
        place.socket.chmod(int(theirs["SocketMode"], 8))
        self.socket.listen(int(theirs["Backlog"]))
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(place.run_dir / "notify"))
        (place.run_dir / "notify").chmod(0o777)
        self.notify.settimeout(0.05)
        self.messages = []
        self.start()

    def start(self):
        place = self.place
        words = [{"/usr/local/bin/wsgi-cgi": str(place.binary),
                  "/srv/app/app.py": str(self.script)}.get(word, word)
                 for word in shlex.split(self.command)]
        options = {}
        if os.geteuid() == 0 and not self.is_root:
            options = {"user": self.service["User"],
                       "group": self.service["Group"], "extra_groups": []}
        usec = int(self.service["WatchdogSec"]) * 1000000
        self.server = place.start(
            "wsgi-cgi",
            ["sh", "-c", 'export LISTEN_PID=$$ WATCHDOG_PID=$$; exec "$@"',
             "sh", *self.under, *words], close_fds=False,
            umask=int(self.service["UMask"], 8), cwd="/",
            preexec_fn=lambda: os.dup2(self.socket.fileno(), 3,
                                       inheritable=True),
            env={"PATH": os.environ["PATH"], "LISTEN_FDS": "1",
                 "NOTIFY_SOCKET": str(place.run_dir / "notify"),
                 "WATCHDOG_USEC": str(usec)}, **options)

    def wait(self, word):
        """Until a message with this line has come."""
        def come():
            try:
                self.messages += self.notify.recv(4096).decode().splitlines()
            except TimeoutError:
                pass
            return word in self.messages
        wait_until(come, lambda: "%s in %s\n%s" % (
            word, self.messages, self.place.logs.all()))
        self.messages = self.messages[self.messages.index(word) + 1:]

    def close(self):
        self.socket.close()
        self.notify.close()


def assert_confined(pid):
    status = dict(line.split(":\t", 1) for line in
                  open("/proc/%d/status" % pid).read().splitlines())
    assert status["NoNewPrivs"] == "1" and not int(status["CapBnd"], 16)
    root = "/proc/%d/root" % pid
    assert os.listdir(root + "/home") == os.listdir(root + "/root") == []
    assert os.statvfs(root + "/").f_flag & os.ST_RDONLY


def use_as_systemd_does(public, **under):
    """Start, reload and stop; the socket stays for the next start."""
    script = public.copy_app(HELLO)
    systemd = Systemd(public, script, **under)
    try:
        systemd.wait("READY=1")
        assert systemd.service["Type"] == "notify"
        if under.get("is_root"):
            assert_confined(systemd.server.pid)
        wait_for_count(public, 1 + 2)
        systemd.wait("WATCHDOG=1")
        mark(script, "Hello again")
        # ExecReload: the number is the shell's word for it.
        assert systemd.service["ExecReload"] == "/bin/kill -HUP $MAINPID"
        systemd.server.send_signal(signal.SIGHUP)
        systemd.wait("RELOADING=1")
        systemd.wait("READY=1")
        site = served_through_lighttpd(public)
        assert site.ask().text == "Hello again\n"
        begun = time.monotonic()
        assert systemd.server.stop() == 0
        assert time.monotonic() - begun < int(
            systemd.service["TimeoutStopSec"])
        systemd.wait("STOPPING=1")
        assert unix_sockets(public.socket)[0] == 1
    finally:
        systemd.close()


def test_units(public):
    """What they say works."""
    use_as_systemd_does(public)


def test_unit_of_a_service_that_is_seldom_used(public):
    """P28: the drop-in: no worker while nothing comes; the service ends by
    itself, and the next request has it started and is answered."""
    command = unit("wsgi-cgi-idle.conf")["ExecStart"]
    assert " --exit-idle 10m " in command
    systemd = Systemd(public, public.copy_app(HELLO), command=command.replace(
        "--exit-idle 10m", "--exit-idle 1s --idle-timeout 300ms"))
    try:
        site = served_through_lighttpd(public)
        for _ in range(2):
            systemd.wait("READY=1")
            assert site.ask().text == TEXT
            systemd.wait("STOPPING=1")
            assert systemd.server.wait() == 0
            assert unix_sockets(public.socket)[0] == 1
            with futures.ThreadPoolExecutor(1) as pool:
                asked = pool.submit(site.ask)
                wait_until(lambda: select.select([systemd.socket], [], [], 0)[0],
                           lambda: "a connection at the socket")
                systemd.start()
                assert asked.result().text == TEXT
    finally:
        systemd.close()


# What ProtectSystem=strict, ProtectHome, PrivateTmp (but for the test's files),
# NoNewPrivileges, CapabilityBoundingSet and PrivateDevices (but for what is
# visible) do.
CONFINE = """
mount --bind /tmp /tmp
mount -o remount,bind,ro /
mount -t tmpfs none /home
mount -t tmpfs none /root
exec setpriv --reuid "$0" --regid "$1" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all -- "${@:2}"
"""


def test_units_confined(public, need):
    """The same where all is read-only but /tmp, homes are empty and no right of
    root's can be had."""
    if os.geteuid() != 0 or subprocess.run(
            ["unshare", "-m", "sh", "-c", "mount --bind /tmp /tmp"],
            capture_output=True).returncode:
        pytest.skip("mounts of one's own cannot be made here")
    service = unit("wsgi-cgi.service")
    assert (service["ProtectSystem"], service["ProtectHome"],
            service["CapabilityBoundingSet"]) == ("strict", "yes", "")
    need("setpriv")
    use_as_systemd_does(public, is_root=True, under=[
        "unshare", "-m", "bash", "-ec", CONFINE, service["User"],
        service["Group"]])


def test_what_others_share():
    """www-data is also the web server's user: what belongs to that user and not to
    the service does not go when the service stops."""
    service = unit("wsgi-cgi.service")
    assert service["User"] == "www-data"
    assert service.get("RemoveIPC", "no") == "no"


def test_exposure(need, capsys):
    """What "systemd-analyze security" says of the service; 10 is all open."""
    program = need("systemd-analyze")
    said = subprocess.run(
        [program, "security", "--no-pager", "--offline=true",
         SERVERS / "wsgi-cgi.service"], capture_output=True, text=True)
    if "--offline" in said.stderr:
        pytest.skip("this systemd is older than 250: " + said.stderr.strip())
    line = re.search(r"Overall exposure level.*: ([0-9.]+)", said.stdout)
    assert line, said
    with capsys.disabled():
        print("\nwsgi-cgi.service: exposure %s, at most 3.0 wanted" % line[1])
    assert float(line[1]) <= 3.0, said.stdout


def system_calls(words):
    """The names that SystemCallFilter= means: groups, and without some."""
    said = subprocess.run(["systemd-analyze", "syscall-filter"],
                          capture_output=True, text=True, check=True).stdout
    groups, group = {}, None
    for line in said.splitlines():
        name = line.strip()
        if line.startswith("@"):
            group = groups.setdefault(name, set())
        elif name and not name.startswith("#") and group is not None:
            group.add(name)

    def members(name):
        return set().union(*map(members, groups[name])) \
            if name.startswith("@") else {name}
    allowed = set()
    for names in words:
        found = set().union(*map(members, names.lstrip("~").split()))
        allowed = allowed - found if names.startswith("~") else allowed | found
    return allowed


def test_nothing_forbidden_is_called(public, need):
    """No call of the program is one that the service may not make, no socket of
    another family, no memory both writable and executable, and no file outside
    /tmp is opened for writing."""
    need("systemd-analyze")
    trace = public.run_dir / "trace"
    trace.touch()
    trace.chmod(0o666)
    use_as_systemd_does(public, under=[
        need("strace"), "-D", "-f", "-qq", "-e", "signal=none", "-o", str(trace)])
    text = trace.read_text()
    calls = re.findall(r"^\d+ +(\w+)\((.*)", text, re.MULTILINE)
    names = {name for name, _ in calls}
    assert {"execve", "accept4", "sendmsg", "mmap"} <= names, "no whole trace"
    lines = (SERVERS / "wsgi-cgi.service").read_text()
    allowed = system_calls(re.findall("^SystemCallFilter=(.*)", lines,
                                      re.MULTILINE))
    assert "setpriority" not in allowed and "read" in allowed
    assert names <= allowed, names - allowed
    families = unit("wsgi-cgi.service")["RestrictAddressFamilies"].split()
    assert {words.split(",")[0] for name, words in calls
            if name == "socket"} <= {"AF_UNIX", *families}
    assert not [words for name, words in calls if name in ("mmap", "mprotect")
                and re.search("PROT_WRITE.*PROT_EXEC", words)]
    assert not [words for _, words in calls if "CLONE_NEW" in words]
    written = {re.search('"(.*?)"', words)[1] for name, words in calls
               if name in ("open", "openat", "creat") and
               re.search("O_WRONLY|O_RDWR|O_CREAT", words)}
    assert not [path for path in written if not path.startswith("/tmp/") and
                path not in ("/tmp", "/dev/null")], written
