"""Starting as a service: what systemd is told, the user it becomes, --umask and --pid-file. P10, P15, P16.

The test plays systemd: it makes the sockets, sets the variables, and reads the notifications.
"""

import ctypes
import grp
import json
import os
import pwd
import re
import signal
import socket
import stat
import statistics
import struct
import subprocess
import time

import pytest

import fcgi
from apps import BUSY, HELLO
from fcgi import wait_for
from harness import FcgiServer, listening_socket
from settings import BINARY, SLOW, TSAN
from test_bind import with_listen_fds
from test_processes import VERSIONED, rewrite, workers

MODES = pytest.mark.parametrize('mode', [[], ['--processes', '2']], ids=['one', 'master'])


# --- systemd: notifications ---------------------------------------------------------------------------------------

class Systemd:
    """The socket of NOTIFY_SOCKET, and all that came through it: [(time, pid of the sender, {name: value})]."""

    def __init__(self, world, kind='unix'):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = str(world.new_path('notify'))
        if kind == 'abstract':
            self.address = f'@wsgi-cgi-{os.getpid()}-{world.run_dir.name}-notify'
        self.sock.bind(self.address.replace('@', '\0'))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.setblocking(False)
        self.messages, self.seen = [], 0

    @property
    def env(self):
        return {'NOTIFY_SOCKET': self.address}

    def read(self):
        """All that has come, the new included."""
        while True:
            try:
                data, control, _, _ = self.sock.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize('3i')))
            except BlockingIOError:
                return self.messages
            (pid, _, _), = (struct.unpack('3i', data) for _, _, data in control)
            fields = dict(line.split('=', 1) for line in data.decode().splitlines())
            self.messages.append((time.monotonic(), pid, fields))

    def wait(self, name, timeout=20):
        """The next message with this field, after the one that was waited for last: (time, {name: value})."""
        def found():
            for number, (when, _, fields) in enumerate(self.read()):
                if number >= self.seen and name in fields:
                    self.seen = number + 1
                    return when, fields
            return None
        return wait_for(found, timeout, f'{name} in {self.messages[self.seen:]}')

    def count(self, name):
        return sum(name in fields for _, _, fields in self.read())

    def senders(self):
        return {pid for _, pid, _ in self.read()}


@pytest.fixture
def systemd(world):
    made = Systemd(world)
    yield made
    made.sock.close()


def stop_all(servers):
    """Before the checks of the fixtures, to which the workers of a master would be leftovers."""
    for server in servers:
        if server.running():
            assert server.stop(timeout=10) == 0


@pytest.fixture
def serve(world, fcgi_unix):
    """serve(app, *options, env=): one process, or a master, which is stopped at the end of the test."""
    servers = []

    def start(app, *options, **keywords):
        server = fcgi_unix(app, *options, **keywords)
        server.check_fds = False        # the workers are another's, or the program is executed again
        server.allow_log('SIGHUP|new code|touched')
        servers.append(server)
        return server
    yield start
    stop_all(servers)


GATED = '''
import os, time
with open(os.environ['GATE'] + '-waiting', 'a') as file:
    file.write('x')
while not os.path.exists(os.environ['GATE']):
    time.sleep(0.005)
''' + HELLO


@MODES
@pytest.mark.parametrize('kind', ['unix', 'abstract'])
def test_ready(world, serve, mode, kind):
    """READY=1 comes when the application has been loaded and not before; STOPPING=1 at the end; all of it from the
    process that systemd started, since NotifyAccess=main is the default."""
    gate = world.new_path('gate')
    waiting = gate.with_name(gate.name + '-waiting')
    systemd = Systemd(world, kind)
    with systemd.sock:
        server = serve(GATED, *mode, env={**systemd.env, 'GATE': str(gate)}, ready=False)
        assert systemd.wait('STATUS')[1]['STATUS'].startswith('starting')
        wait_for(lambda: waiting.exists() and len(waiting.read_text()) == (2 if mode else 1), 20, 'all to be loading')
        assert systemd.count('READY') == 0
        gate.touch()
        _, fields = systemd.wait('READY')
        assert fields['READY'] == '1' and fields['STATUS'].startswith('serving')
        server.ready()
        assert server.request().body == b'hello'
        assert systemd.count('STOPPING') == 0
        assert server.stop() == 0
        _, fields = systemd.wait('STOPPING')
        assert 'requests: 1' in fields['STATUS']
        assert systemd.senders() == {server.pid}


@MODES
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGQUIT])
def test_stopping_at_once(serve, systemd, mode, number):
    """STOPPING=1 also where nothing is waited for."""
    server = serve(HELLO, *mode, env=systemd.env)
    systemd.wait('READY')
    assert server.stop(number) == 0
    systemd.wait('STOPPING')


@MODES
def test_status_now_and_then(serve, systemd, mode):
    """The counts are sent without a cause, too (tests/unit/test_notify.c: but not when they have not changed)."""
    server = serve(HELLO, *mode, env=systemd.env)
    systemd.wait('READY')
    for _ in range(3):
        server.request()
    wait_for(lambda: 'requests: 3' in systemd.wait('STATUS')[1]['STATUS'], 30, 'the counts')


@MODES
def test_broken_application(world, serve, systemd, mode):
    """An application that does not load is answered with error pages, so the service is up; the status says it."""
    server = serve('raise RuntimeError("not today")\n', *mode, env=systemd.env)
    server.expect_log('serving error pages until the application loads')
    server.allow_log('RuntimeError|could not be loaded|error id|500')
    assert 'does not load' in systemd.wait('READY')[1]['STATUS']


@MODES
def test_reload(serve, systemd, mode):
    """RELOADING=1 with the time, then READY=1 when the new code serves; again and again, also across execve()."""
    server = serve(VERSIONED % 'one', *mode, '--reload', 'off', env=systemd.env)
    systemd.wait('READY')
    for version in 'two', 'three':
        rewrite(server, version)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.signal(signal.SIGHUP)
        fields = systemd.wait('RELOADING')[1]
        assert fields['RELOADING'] == '1'
        assert before <= int(fields['MONOTONIC_USEC']) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        systemd.wait('READY')
        wait_for(lambda: server.request().text.split()[0] == version, 10, version)
    assert systemd.senders() == {server.pid}


def test_reload_is_over_when_all_have_the_new_code(world, serve, systemd):
    """READY=1 comes when no old worker serves any more, not with the first new one."""
    loads, first, gate = (world.new_path(name) for name in ('loads', 'first', 'gate'))
    os.mkfifo(gate)
    server = serve(VERSIONED % 'one' + f"""
with open({str(loads)!r}, 'a') as file:
    file.write('x')
""", '--processes', '2', '--reload', 'off', env=systemd.env)
    systemd.wait('READY')
    wait_for(lambda: loads.read_text() == 'xx', 10, 'both to have loaded the old code')
    # The second worker that loads it waits.
    rewrite(server, VERSIONED % 'two' + f"""
try:
    os.close(os.open({str(first)!r}, os.O_CREAT | os.O_EXCL))
except FileExistsError:
    with open({str(gate)!r}) as file:
        file.read()
""")
    server.signal(signal.SIGHUP)
    systemd.wait('RELOADING')
    server.wait_log('the new code is loaded', 20)
    fd = os.open(gate, os.O_WRONLY)         # as soon as the second one waits
    wait_for(lambda: len(workers(server)) == 3, 10, 'two new workers and an old one')
    assert systemd.count('READY') == 1, systemd.messages
    os.close(fd)
    systemd.wait('READY')
    assert {server.request().text.split()[0] for _ in range(20)} == {'two'}


@MODES
def test_reload_of_broken_code(serve, systemd, mode):
    """RELOADING=1 is always followed by READY=1: here it is the old code that is."""
    server = serve(VERSIONED % 'one', *mode, '--reload', 'off', env=systemd.env)
    server.expect_log('the new code does not load')
    server.allow_log('SyntaxError|could not be loaded|exited with code 70')
    systemd.wait('READY')
    rewrite(server, 'def application(:\n')
    for _ in range(2):
        server.signal(signal.SIGHUP)
        systemd.wait('RELOADING')
        systemd.wait('READY')
        assert server.request().text.split()[0] == 'one'


@MODES
def test_reload_while_reloading(serve, systemd, mode):
    """Each SIGHUP is told, with a time after it (systemd's Type=notify-reload waits for that), and then READY=1."""
    server = serve(VERSIONED % 'one', *mode, env=systemd.env)
    systemd.wait('READY')
    server.signal(signal.SIGHUP)
    systemd.wait('RELOADING')
    again = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    server.signal(signal.SIGHUP)
    wait_for(lambda: int(systemd.wait('RELOADING')[1]['MONOTONIC_USEC']) >= again, 10, 'the second reload')
    systemd.wait('READY')


@MODES
def test_reload_while_starting(world, serve, systemd, mode):
    """A SIGHUP before anybody serves does not end the start: READY=1 comes first, then the reload."""
    gate = world.new_path('gate')
    server = serve(GATED, *mode, env={**systemd.env, 'GATE': str(gate)}, ready=False)
    wait_for(gate.with_name(gate.name + '-waiting').exists, 20, 'all to be loading')
    server.signal(signal.SIGHUP)
    gate.touch()
    systemd.wait('RELOADING')
    systemd.wait('READY')
    told = [name for _, _, fields in systemd.read() for name in ('READY', 'RELOADING') if name in fields]
    assert told[:3] == ['READY', 'RELOADING', 'READY']


def test_recycling_is_no_reload(serve, systemd):
    """A process that reaches --max-requests is executed again: nothing that systemd should call a reload."""
    server = serve(VERSIONED % 'one', '--max-requests', '3', env=systemd.env)
    for _ in range(2):
        systemd.wait('READY')
        for _ in range(3):
            server.request()
    systemd.wait('READY')
    assert systemd.count('RELOADING') == 0 and systemd.senders() == {server.pid}


SEES = '''
import os
names = [name for name in os.environ if name.startswith(('NOTIFY', 'WATCHDOG', 'WSGI_CGI_RESTART'))]
loaded = list(names)
def application(environ, start_response):
    start_response('200 OK', [])
    return [repr((loaded, names)).encode()]
'''


@MODES
def test_variables_are_hidden(serve, systemd, mode):
    """The application does not see the variables, neither at first nor after a reload; --check does not show them to it
    either, which tries the new code."""
    server = serve(SEES, *mode, '--reload', 'off', env={**systemd.env, 'WATCHDOG_USEC': '60000000'})
    systemd.wait('READY')
    assert server.request().body == b'([], [])'
    rewrite(server, SEES + 'assert not names, names\n')
    server.signal(signal.SIGHUP)
    systemd.wait('RELOADING')
    systemd.wait('READY')
    assert server.request().body == b'([], [])'
    assert 'does not load' not in server.logged


@pytest.mark.parametrize('address', ['/no/such/socket', 'relative', '@', '/' + 'x' * 200, 'vsock:2:1234'])
def test_unusable_notify_socket(serve, address):
    """It serves all the same, and says once that nobody is told."""
    server = serve(HELLO, env={'NOTIFY_SOCKET': address, 'WATCHDOG_USEC': '1000000'})
    server.expect_log('warning: NOTIFY_SOCKET: ')
    assert server.request().body == b'hello'
    assert server.logged.count('NOTIFY_SOCKET') == 1


def test_no_notify_socket(serve):
    """A watchdog without a socket, or with one but without a time, is nobody's."""
    assert serve(HELLO, env={'WATCHDOG_USEC': '1'}).request().body == b'hello'


# --- systemd: the watchdog ----------------------------------------------------------------------------------------

def gaps(systemd, state='READY'):
    """Seconds between the WATCHDOG=1 that came after `state`."""
    after = next(when for when, _, fields in systemd.read() if state in fields)
    times = [when for when, _, fields in systemd.read() if 'WATCHDOG' in fields and when >= after]
    return [b - a for a, b in zip(times, times[1:])]


@MODES
@pytest.mark.parametrize('usec', [400_000, 1_000_000])
def test_watchdog(serve, systemd, mode, usec):
    """WATCHDOG=1 at half the interval, from the process itself."""
    serve(HELLO, *mode, env={**systemd.env, 'WATCHDOG_USEC': str(usec)})
    systemd.wait('READY')
    times = []

    def enough():
        systemd.read()
        times[:] = gaps(systemd)
        return len(times) >= 5
    wait_for(enough, 30, 'five intervals')
    assert usec / 2e6 * 0.8 < statistics.median(times) < usec / 1e6 * SLOW, times
    assert len(systemd.senders()) == 1


def test_watchdog_of_the_doctor(world, systemd):
    """--doctor has no Python that the watchdog could ask."""
    path = world.new_path('sock')
    process = world.spawn('--doctor', '--bind', str(path), env={**systemd.env, 'WATCHDOG_USEC': '100000'})
    process.allow_log('doctor')
    systemd.wait('READY')
    for _ in range(3):
        systemd.wait('WATCHDOG')
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 0


@MODES
def test_watchdog_across_a_reload(serve, systemd, mode):
    """It goes on after execve(): the variables survive it."""
    server = serve(HELLO, *mode, env={**systemd.env, 'WATCHDOG_USEC': '200000'})
    systemd.wait('READY')
    server.signal(signal.SIGHUP)
    systemd.wait('RELOADING')
    systemd.wait('READY')
    for _ in range(3):
        systemd.wait('WATCHDOG')


@MODES
@pytest.mark.parametrize('own', [True, False])
def test_watchdog_pid(world, systemd, mode, own):
    """WATCHDOG_PID says whom the watchdog is for."""
    path = world.new_path('sock')
    process = world.spawn('-c', f'export WATCHDOG_PID=$(($$ + {int(not own)})); exec "$0" "$@"', BINARY, '--bind',
                          str(path), *mode, world.write_app(HELLO), binary='/bin/sh',
                          env={**systemd.env, 'WATCHDOG_USEC': '20000'})
    FcgiServer(world, process, str(path)).check_fds = False
    systemd.wait('READY')
    if own:
        systemd.wait('WATCHDOG')
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    systemd.wait('STOPPING')
    assert (systemd.count('WATCHDOG') > 0) == own


@pytest.mark.parametrize('value', ['0', 'x', '-1', ''])
def test_malformed_watchdog(serve, systemd, value):
    """Told, and no watchdog."""
    server = serve(HELLO, env={**systemd.env, 'WATCHDOG_USEC': value})
    server.expect_log('warning: WATCHDOG_USEC: invalid value ')
    systemd.wait('READY')
    assert server.stop() == 0
    systemd.wait('STOPPING')
    assert systemd.count('WATCHDOG') == 0


# A PyDLL call keeps the GIL: this one until somebody writes to the FIFO. Without a GIL the others go on until a garbage
# collection has to stop all threads.
HOLD = BUSY + '''
import ctypes, gc, sys, threading
def collect(held):
    while not held.is_set():
        gc.collect()
def hold():
    fd = os.open(os.environ['FIFO'], os.O_RDWR)
    held = threading.Event()
    if not getattr(sys, '_is_gil_enabled', lambda: True)():
        threading.Thread(target=collect, args=(held,)).start()
    note('holding')
    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)
    held.set()
    os.close(fd)
busy = application
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hold':
        hold()
    return busy(environ, start_response)
'''


@pytest.fixture
def holding(world, serve, systemd):
    """A server under a watchdog of 0.3 s, the notes of its application, and its FIFO."""
    notes, fifo = world.new_path('notes'), world.new_path('fifo')
    os.mkfifo(fifo)

    def start(*options):
        server = serve(HOLD, *options, env={**systemd.env, 'WATCHDOG_USEC': '300000', 'NOTES': str(notes),
                                            'FIFO': str(fifo)})
        systemd.wait('READY')
        return server

    def noted(word):
        wait_for(lambda: notes.exists() and word in notes.read_text(), 10, word)
    start.noted, start.fifo = noted, fifo
    return start


STUCK = 'holds the GIL|keeps all other threads out of Python'


@pytest.mark.skipif(TSAN, reason='signals do not interrupt read() here')
@pytest.mark.parametrize('threads', ['1', '3'])
def test_watchdog_of_a_stuck_process(holding, systemd, threads):
    """Code that keeps Python's lock stops every request: systemd is not told that all is well, the log says why and
    where, and when it lets go all is well again."""
    server = holding('--threads', threads)
    server.expect_log(f'error: an extension ({STUCK}): no request can continue')
    exchange = server.start(path='/hold')
    exchange.finish_body()
    holding.noted('holding')
    server.wait_log(STUCK, 20)
    server.wait_log(r'line \d+,? in hold$', 20)
    before = systemd.count('WATCHDOG')
    # Five times the interval at which it would come.
    assert exchange.silent(0.75) and systemd.count('WATCHDOG') == before
    with open(holding.fifo, 'w') as fifo:
        fifo.write('x')
    assert exchange.response().body == b'hello'
    wait_for(lambda: systemd.count('WATCHDOG') >= before + 3, 20, 'the watchdog to be fed again')
    assert len(re.findall(STUCK, server.logged)) == 1


@MODES
def test_watchdog_of_a_busy_process(world, holding, systemd, mode):
    """A request may take as long as it likes: that all threads have one is no fault."""
    server = holding('--threads', '1', *mode)
    gate = world.new_path('gate')
    waiting = [server.start(path='/wait', query=str(gate)) for _ in range(3)]
    for exchange in waiting:
        exchange.finish_body()
    holding.noted('waiting')
    before = systemd.count('WATCHDOG')
    wait_for(lambda: systemd.count('WATCHDOG') >= before + 5, 20, 'the watchdog to be fed')
    gate.touch()
    assert [exchange.response().body for exchange in waiting] == [b'waited'] * 3


def test_watchdog_of_a_stuck_worker(holding, systemd):
    """With a master the watchdog is the master's: the others serve."""
    server = holding('--processes', '2')
    exchange = server.start(path='/hold')
    exchange.finish_body()
    holding.noted('holding')
    before = systemd.count('WATCHDOG')
    wait_for(lambda: systemd.count('WATCHDOG') >= before + 5, 20, 'the watchdog to be fed')
    assert server.request().body == b'hello'
    with open(holding.fifo, 'w') as fifo:
        fifo.write('x')
    assert exchange.response().body == b'hello'


# --- systemd: sockets ---------------------------------------------------------------------------------------------

def test_listen_fds_with_a_master(world, systemd):
    """F32: the workers serve sockets from LISTEN_FDS; they survive a reload, and are left to systemd at the end."""
    one, first = listening_socket('unix', world.new_path('sock'))
    two, second = listening_socket('tcp')
    with one, two:
        script = world.write_app(VERSIONED % 'one')
        process = with_listen_fds(world, [one, two], '--processes', '2', '--reload', 'off', script, names='app:web', env=systemd.env)
        server = FcgiServer(world, process, first)
        server.script = script
        server.check_fds = False
        server.allow_log('SIGHUP|new code')
        systemd.wait('READY')
        rewrite(server, 'two')
        process.signal(signal.SIGHUP)
        systemd.wait('RELOADING')
        systemd.wait('READY')
        for address in first, second:
            with fcgi.Connection(address) as conn:
                assert conn.request(server.params()).text.split()[0] == 'two'
        wait_for(lambda: len(workers(server)) == 2, 20, 'two workers')
        assert server.stop(timeout=10) == 0
        # Still open here, as at systemd: a connection waits for the next process.
        with fcgi.Connection(first) as conn:
            assert conn.silent(0.1)


# --- another user -------------------------------------------------------------------------------------------------

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason='only root can become another user')
OTHER = 'nobody'
NUMBER = '54321'        # of no user

WHO = '''
import json, os, subprocess, time
born = time.time_ns()
def attempt(*calls):
    done = []
    for call in calls:
        try:
            call()
            done.append(True)
        except PermissionError:
            done.append(False)
    return done
def application(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    facts = {
        'pid': os.getpid(), 'born': born, 'uids': os.getresuid(), 'gids': os.getresgid(), 'groups': sorted(os.getgroups()),
        'regained': attempt(lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0),
                            lambda: os.setgroups([0])),
        'home': os.environ.get('HOME'), 'user': os.environ.get('USER'), 'umask': oct(umask), 'cwd': os.getcwd(),
        'mine': os.stat('/proc/self/environ').st_uid,
        'fds': subprocess.run(['ls', '-l', '/proc/self/fd'], stdout=subprocess.PIPE, close_fds=False,
                              text=True).stdout,
    }
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(facts).encode()]
'''


@pytest.fixture
def public(world):
    """Files that other users can reach; their sanitizer's reports, if any, are found at the end."""
    world.public_binary()
    reports = world.run_dir / 'reports'
    reports.mkdir()
    reports.chmod(0o777)
    yield world.run_dir
    for report in reports.iterdir():
        report.rename(world.run_dir / report.name)


@pytest.fixture
def become(world, public):
    """become(app, *options): the program on a socket of its own, in a folder that only root may write to."""
    servers = []

    def start(app, *options, cwd='/', path=None, env=None, **keywords):
        script = public / 'app.py'
        script.write_text(app)
        path = path or world.new_path('sock')
        sanitizer = {name: value.replace('/sanitizer', '/reports/sanitizer') for name, value in world.env().items()
                     if name.endswith('SAN_OPTIONS')}
        process = world.spawn('--bind', str(path), *options, str(script), binary=public / 'wsgi-cgi', cwd=cwd,
                              env={'HOME': '/root', 'USER': 'root', **sanitizer, **(env or {})}, **keywords)
        server = FcgiServer(world, process, str(path))
        server.script = str(script)
        server.check_fds = False
        server.allow_log('SIGHUP|new code')
        wait_for(lambda: not process.running() or os.path.exists(path), 10, 'the socket')
        assert process.running(), process.logged
        server.ready()
        servers.append(server)
        return server
    yield start
    stop_all(servers)


def identity(name):
    user = pwd.getpwnam(name)
    return user.pw_uid, user.pw_gid, sorted(os.getgrouplist(name, user.pw_gid))


def assert_is(facts, uid, gid, groups):
    assert facts['uids'] == [uid] * 3 and facts['gids'] == [gid] * 3 and facts['groups'] == sorted(groups), facts
    assert facts['regained'] == [False] * 4, facts


@as_root
@MODES
@pytest.mark.parametrize('name', [OTHER, 'www-data'])
def test_user(become, mode, name):
    """P15: --user: all ids and the user's groups; root cannot be had again; after a reload it is the same."""
    uid, gid, groups = identity(name)
    server = become(WHO, '--user', name, *mode)
    for _ in range(2):
        facts = server.request().json
        assert_is(facts, uid, gid, groups)
        assert (facts['home'], facts['user']) == (pwd.getpwnam(name).pw_dir, name)
        assert facts['mine'] == uid
        pid = facts['pid']
        server.signal(signal.SIGHUP)
        server.wait_log('new code is loaded' if mode else 'checking the new code', 20)
        wait_for(lambda: mode == [] or server.request().json['pid'] != pid, 20, 'the new worker')
    if mode:
        status = open(f'/proc/{server.pid}/status').read()
        assert re.search(rf'^Uid:\s+{uid}\s+{uid}\s+{uid}\s+{uid}$', status, re.MULTILINE), 'the master is still root'
        assert re.search(r'^CapEff:\s+0+$', status, re.MULTILINE)


@as_root
def test_user_after_execve(become, systemd):
    """P15: the program executed again by SIGHUP still is that user, and serves the same sockets, --control too."""
    uid, gid, groups = identity(OTHER)
    control = systemd.address + '-control'
    server = become(WHO, '--user', OTHER, '--control', control, env=systemd.env)
    systemd.wait('READY')
    for _ in range(2):
        server.signal(signal.SIGHUP)
        systemd.wait('RELOADING')
        systemd.wait('READY')
        facts = server.request().json
        assert_is(facts, uid, gid, groups)
        assert facts['home'] == pwd.getpwnam(OTHER).pw_dir and facts['pid'] == server.pid
        asked = subprocess.run([BINARY, '--status', control], capture_output=True, text=True)
        assert asked.returncode == 0 and 'requests:' in asked.stdout, asked


@as_root
def test_group(become):
    """P15: --group in place of the user's own; the user's other groups stay his. Names and numbers are the same."""
    uid, _, _ = identity('www-data')
    gid = grp.getgrnam('nogroup').gr_gid
    for user, group in ('www-data', 'nogroup'), (str(uid), str(gid)):
        facts = become(WHO, '--user', user, '--group', group).request().json
        assert_is(facts, uid, gid, os.getgrouplist('www-data', gid))
        assert facts['user'] == 'www-data'


@as_root
def test_member_of_other_groups(become, public):
    """P15: supplementary groups are the user's, not root's."""
    name = next((user.pw_name for user in pwd.getpwall()
                 if user.pw_uid and len(os.getgrouplist(user.pw_name, user.pw_gid)) > 1), None)
    if name is None:
        pytest.skip('no user here is in two groups')
    assert_is(become(WHO, '--user', name).request().json, *identity(name))


@as_root
def test_number_without_an_entry(become, run, public):
    """P15: a number is enough for a user, but then --group has to say the group."""
    facts = become(WHO, '--user', NUMBER, '--group', 'nogroup').request().json
    gid = grp.getgrnam('nogroup').gr_gid
    assert_is(facts, int(NUMBER), gid, [gid])
    finished = run('--user', NUMBER, '--bind', public / 'other', public / 'app.py')
    assert finished.code == 64 and '--group' in finished.stderr and len(finished.stderr.splitlines()) == 1


@as_root
def test_group_alone(become):
    """P15: --group without --user: the group changes, and the groups with it."""
    gid = grp.getgrnam('nogroup').gr_gid
    facts = become(WHO, '--group', 'nogroup').request().json
    assert facts['uids'] == [0] * 3 and facts['gids'] == [gid] * 3 and facts['groups'] == [gid]
    assert facts['home'] == '/root'


@pytest.mark.parametrize('option, value', [('--user', 'no-such-user'), ('--group', 'no-such-group'),
                                           ('--user', '99999999999'), ('--user', '-1'), ('--group', '4294967295')])
def test_nobody_of_that_name(run, world, option, value):
    """P15: told before anything is opened, in one line; exit code 67."""
    path = world.new_path('sock')
    finished = run(f'{option}={value}', '--bind', path, world.write_app(HELLO))
    assert finished.code == 67 and value in finished.stderr and option in finished.stderr
    assert len(finished.stderr.splitlines()) == 1 and not path.exists()


@as_root
@pytest.mark.parametrize('options', [['--user', 'root'], ['--user', 'www-data'], ['--group', 'root'],
                                     ['--user', OTHER, '--group', 'root']])
def test_not_root(run, public, options):
    """P15: who is not root cannot become anybody else: exit code 77, one line."""
    uid, gid, _ = identity(OTHER)
    (public / 'app.py').write_text(HELLO)
    finished = run(*options, '--bind', public / 'sock', public / 'app.py', user=uid, group=gid, extra_groups=[],
                   cwd='/')
    assert finished.code == 77 and 'only root' in finished.stderr and options[0] in finished.stderr
    assert len(finished.stderr.splitlines()) == 1


@as_root
@MODES
def test_not_root_but_already(become, public, mode):
    """P15: to become oneself is nothing: the same command works under systemd's User=."""
    uid, gid, _ = identity(OTHER)
    os.chmod(public, 0o777)
    server = become(WHO, '--user', OTHER, *mode, user=uid, group=gid, extra_groups=[])
    assert_is(server.request().json, uid, gid, [])


PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, PR_CAPBSET_DROP, CAP_SETGID, CAP_SETUID = 28, 4, 24, 6, 7


def prctl(option, argument):
    def call():
        if ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), 'prctl')
    return call


@as_root
@pytest.mark.parametrize('call, reason', [
    (prctl(PR_CAPBSET_DROP, CAP_SETGID), 'setgroups'), (prctl(PR_CAPBSET_DROP, CAP_SETUID), 'setresuid'),
    (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP), 'root again')])
@MODES
def test_drop_that_fails(run, public, mode, call, reason):
    """P15: a call that is refused, and one that was obeyed but left a way back, end the start: exit code 77."""
    (public / 'app.py').write_text(HELLO)
    finished = run('--user', OTHER, *mode, '--bind', public / 'sock', public / 'app.py', preexec_fn=call)
    assert finished.code == 77 and reason in finished.stderr, finished
    assert [line for line in finished.stderr.splitlines() if 'cannot be removed' not in line and OTHER not in line] == []


@as_root
def test_what_the_user_cannot_read(run, public):
    """P15: the application is looked at as the user who will run it."""
    script = public / 'app.py'
    script.write_text(HELLO)
    script.chmod(0o600)
    finished = run('--user', OTHER, '--bind', public / 'sock', script)
    assert finished.code == 66 and str(script) in finished.stderr.splitlines()[0]
    finished = run('--check', '--user', OTHER, script)
    assert finished.code == 66 and len(finished.stderr.splitlines()) == 1
    script.chmod(0o644)
    finished = run('--check', '--user', OTHER, script, binary=public / 'wsgi-cgi', cwd='/')
    assert finished.code == 0, finished


@as_root
@pytest.mark.parametrize('options', [[], ['--chdir', '/']])
def test_started_where_the_user_may_not_go(world, become, systemd, options):
    """P15: root's folder of the start is no hindrance to a reload."""
    secret = world.run_dir / 'secret'
    secret.mkdir(mode=0o700)
    server = become(WHO, '--user', OTHER, '--pid-file', 'pid', *options, cwd=secret, env=systemd.env)
    systemd.wait('READY')
    born = server.request().json['born']
    for _ in range(2):
        server.signal(signal.SIGHUP)
        systemd.wait('RELOADING')
        systemd.wait('READY')
        facts = server.request().json
        assert_is(facts, *identity(OTHER))
        assert facts['born'] != born, 'not executed again'
        born = facts['born']
        assert (secret / 'pid').read_text() == f'{server.pid}\n'


@as_root
@MODES
def test_sockets_are_the_users(world, become, mode):
    """P10: sockets that root makes belong to --user and --group, so that a web server of that group can connect;
    --socket-owner says otherwise. What cannot be removed at the end is told once each, and is no hindrance."""
    uid, gid, _ = identity(OTHER)
    path, control, pid = (world.new_path(name) for name in ('sock', 'control', 'pid'))
    for owner in [], ['--socket-owner', 'www-data']:
        server = become(HELLO, '--user', OTHER, *owner, '--control', str(control), '--pid-file', str(pid), *mode,
                        path=path)
        for file in path, control:
            wanted = identity('www-data')[:2] if owner else (uid, gid)
            assert (file.stat().st_uid, file.stat().st_gid) == wanted
            assert stat.S_IMODE(file.stat().st_mode) == 0o660
        assert server.request().body == b'hello'
        assert server.stop(timeout=10) == 0
        for file in path, control, pid:
            assert file.exists() and len(re.findall(
                f'the (socket|pid) file {file} cannot be removed: Permission denied; the next start replaces it '
                rf'\(give {OTHER} a folder of its own for it\)$', server.logged, re.MULTILINE)) == 1, server.logged


@as_root
@MODES
@pytest.mark.parametrize('how', ['missing', 'broken'])
def test_failed_start_ends_with_its_reason(world, public, mode, how):
    """P11, P15: what --user may not remove is not the last word of a start that has failed."""
    app = public / 'app.py'
    if how == 'broken':
        app.write_text('import no_such_module\n')
    path, pid = world.new_path('sock'), world.new_path('pid')
    finished = world.run('--user', OTHER, '--need-app', '--bind', path, '--pid-file', pid, *mode, app,
                         binary=public / 'wsgi-cgi')
    assert finished.code == (66 if how == 'missing' else 70), finished
    assert path.exists() and pid.exists() and 'cannot be removed' not in finished.stderr, finished
    assert re.search('does not exist' if how == 'missing' else 'the application does not load',
                     finished.stderr.splitlines()[-1]), finished


@as_root
@MODES
def test_files_in_a_folder_of_the_user(world, become, mode):
    """P10, P15: what RuntimeDirectory= of systemd does: then nothing is left behind."""
    uid, gid, _ = identity(OTHER)
    folder = world.run_dir / 'own'
    folder.mkdir()
    os.chown(folder, uid, gid)
    server = become(HELLO, '--user', OTHER, '--control', str(folder / 'c'), '--pid-file', str(folder / 'p'), *mode,
                    path=folder / 's')
    assert sorted(os.listdir(folder)) == ['c', 'p', 's']
    assert server.stop(timeout=10) == 0
    assert os.listdir(folder) == []


@as_root
@MODES
def test_descriptors_of_a_child(world, become, systemd, mode):
    """P16: what root opened does not reach a program that the application starts."""
    control = systemd.address + '-control'
    server = become(WHO, '--user', OTHER, '--control', control, '--pid-file', str(world.new_path('pid')), *mode,
                    env={**systemd.env, 'WATCHDOG_USEC': '1000000'})
    listing = server.request().json['fds']
    numbers = {int(n) for n in re.findall(r' (\d+) -> ', listing)}
    assert numbers <= {0, 1, 2, 3} and 'socket:' not in listing, listing    # 3 is the folder that ls reads


@pytest.mark.parametrize('option', ['--user', '--group', '--pid-file'])
def test_refused_in_cgi_mode(cgi, option, world):
    """P15: under CGI the web server decides: one line, exit code 64, and an answer for the client."""
    value = str(world.new_path('pid')) if option == '--pid-file' else 'root'
    server = cgi.serve(HELLO, option, value)
    server.exit_codes = {64}
    server.expect_log(f'error: .*{option} is for FastCGI')
    assert server.request().status == 500


# --- --umask ------------------------------------------------------------------------------------------------------

UMASK = '''
import os
def application(environ, start_response):
    umask = os.umask(0)
    os.umask(umask)
    start_response('200 OK', [])
    return [oct(umask).encode()]
'''


@pytest.mark.parametrize('value', ['0', '027', '0777'])
def test_umask(transport, value):
    """--umask, in CGI mode too."""
    server = transport.serve(UMASK, '--umask', value)
    assert int(server.request().text, 8) == int(value, 8)


def test_umask_as_found(transport):
    """Without --umask it is as it was."""
    assert transport.serve(UMASK, preexec_fn=lambda: os.umask(0o031)).request().body == b'0o31'


def test_umask_of_workers(serve):
    """Workers have it from the master; the sockets have --socket-mode."""
    assert serve(UMASK, '--umask', '077', '--processes', '1').request().body == b'0o77'


# --- --pid-file ---------------------------------------------------------------------------------------------------

@pytest.fixture
def pid_file(world):
    return world.new_path('pid')


@MODES
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGQUIT])
def test_pid_file(serve, pid_file, mode, number):
    """The number of the process that signals go to, and a newline; readable whatever the umask is; removed at the
    end."""
    server = serve(HELLO, '--pid-file', str(pid_file), '--umask', '077', *mode)
    assert pid_file.read_text() == f'{server.pid}\n'
    assert stat.S_IMODE(pid_file.stat().st_mode) == 0o644
    assert os.listdir(pid_file.parent) == [name for name in os.listdir(pid_file.parent) if 'pid-1.' not in name]
    assert server.stop(number) == 0 and not pid_file.exists()


def test_pid_file_relative(serve, world):
    """Relative to the folder of the start, also at the end, when --chdir has led elsewhere."""
    folder = world.run_dir / 'folder'
    folder.mkdir()
    server = serve(HELLO, '--pid-file', 'name', '--chdir', '/', cwd=folder)
    assert (folder / 'name').read_text() == f'{server.pid}\n'
    assert server.stop() == 0 and os.listdir(folder) == []


def test_pid_file_and_workers(serve, pid_file):
    """The end of a worker is not the master's."""
    server = serve(HELLO, '--pid-file', str(pid_file), '--processes', '2')
    server.expect_log('was killed by signal 15|exited with code 0')
    victim = sorted(workers(server))[0]
    os.kill(victim, signal.SIGTERM)
    wait_for(lambda: victim not in workers(server) and len(workers(server)) == 2, 20, 'a new worker')
    assert pid_file.read_text() == f'{server.pid}\n'


def test_pid_file_and_children(serve, pid_file):
    """Nor is the end of a process that the application forks."""
    server = serve('''
        import os
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                raise SystemExit
            os.waitpid(pid, 0)
            start_response('200 OK', [])
            return [b'parent']
    ''', '--pid-file', str(pid_file))
    server.allow_log('SystemExit')
    assert server.request().body == b'parent'
    assert pid_file.read_text() == f'{server.pid}\n'


def test_pid_file_across_execve(serve, systemd, pid_file):
    """The same process: the file stays, and goes at the end."""
    server = serve(HELLO, '--pid-file', str(pid_file), env=systemd.env)
    systemd.wait('READY')
    before = pid_file.stat()
    server.signal(signal.SIGHUP)
    systemd.wait('RELOADING')
    systemd.wait('READY')
    assert pid_file.read_text() == f'{server.pid}\n' and pid_file.stat().st_ino == before.st_ino
    assert server.stop() == 0 and not pid_file.exists()


def ended_pid():
    process = subprocess.Popen(['true'])
    process.wait()
    return process.pid


@pytest.mark.parametrize('content', ['', '\n', '0\n', 'ended', 'ended without a newline'])
def test_stale_pid_file(serve, pid_file, content):
    """What a process that is gone has left is replaced."""
    if content.startswith('ended'):
        content = content.replace('ended', str(ended_pid()), 1).partition(' ')[0]
    pid_file.write_text(content)
    server = serve(HELLO, '--pid-file', str(pid_file))
    assert pid_file.read_text() == f'{server.pid}\n'


@pytest.fixture
def sleeper():
    """A process of another program that runs, and whose name is awkward."""
    process = subprocess.Popen(['cat'], stdin=subprocess.PIPE)
    wait_for(lambda: open(f'/proc/{process.pid}/comm').read() == 'cat\n', 5, 'cat')
    yield process
    process.stdin.close()
    process.wait()


def test_pid_file_of_a_process_that_runs(run, world, pid_file, sleeper):
    """It has another owner: exit code 69, and it is left as it is."""
    pid_file.write_text(f'{sleeper.pid}\n')
    path = world.new_path('sock')
    finished = run('--pid-file', pid_file, '--bind', path, world.write_app(HELLO))
    assert finished.code == 69 and str(pid_file) in finished.stderr and str(sleeper.pid) in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert pid_file.read_text() == f'{sleeper.pid}\n' and not path.exists()


def test_pid_file_with_a_number_that_came_again(serve, pid_file, sleeper):
    """A process that began after the file was written has not written it: stale."""
    pid_file.write_text(f'{sleeper.pid}\n')
    hour_ago = time.time() - 3600
    os.utime(pid_file, (hour_ago, hour_ago))
    server = serve(HELLO, '--pid-file', str(pid_file))
    assert pid_file.read_text() == f'{server.pid}\n'


@pytest.mark.parametrize('kind', ['text', 'long', 'folder', 'link', 'fifo', 'device'])
def test_what_is_no_pid_file(run, world, pid_file, kind):
    """It is left alone, as a file in the place of a socket is: exit code 69."""
    other = world.new_path('other')
    other.write_text('1x\n')
    {'text': lambda: pid_file.write_text('import os\n'), 'long': lambda: pid_file.write_text('1' * 4000),
     'folder': pid_file.mkdir, 'link': lambda: pid_file.symlink_to(other), 'fifo': lambda: os.mkfifo(pid_file),
     'device': lambda: None}[kind]()
    path = '/dev/null' if kind == 'device' else pid_file
    before = os.lstat(path)
    finished = run('--pid-file', path, '--bind', world.new_path('sock'), world.write_app(HELLO))
    assert finished.code == 69 and str(path) in finished.stderr and len(finished.stderr.splitlines()) == 1
    after = os.lstat(path)
    assert (before.st_ino, before.st_mode, before.st_size) == (after.st_ino, after.st_mode, after.st_size)


def test_pid_file_that_cannot_be_made(run, world):
    """Exit code 73, one line, and no socket is left."""
    path = world.new_path('sock')
    finished = run('--pid-file', '/no/such/folder/pid', '--bind', path, world.write_app(HELLO))
    assert finished.code == 73 and '/no/such/folder/pid' in finished.stderr
    assert len(finished.stderr.splitlines()) == 1 and not path.exists()


def test_failed_start_leaves_no_pid_file(run, world, pid_file):
    """Nor does a start that fails after it was written."""
    finished = run('--pid-file', pid_file, '--bind', world.new_path('sock'), world.tmp_path / 'missing.py')
    assert finished.code == 66 and not pid_file.exists()


def test_pid_file_of_somebody_else(serve, pid_file):
    """What another process has put there meanwhile stays."""
    server = serve(HELLO, '--pid-file', str(pid_file))
    pid_file.write_text('1\n')
    assert server.stop() == 0 and pid_file.read_text() == '1\n'
