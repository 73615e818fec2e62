"""Starting as a service: what systemd is told.

The test plays systemd: it makes the sockets, sets the variables, and reads the notifications.
"""

import ctypes
import os
import signal
import socket
import statistics
import struct
import time

import pytest

import fcgi
from apps import BUSY, HELLO
from fcgi import wait_for
from harness import FcgiServer, listening_socket
from settings import BINARY, SLOW
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
    server.expect_log('warning: WATCHDOG_USEC: read ')
    systemd.wait('READY')
    assert server.stop() == 0
    systemd.wait('STOPPING')
    assert systemd.count('WATCHDOG') == 0


# A PyDLL call keeps the GIL: this one until somebody writes to the FIFO.
HOLD = BUSY + '''
import ctypes
def hold():
    fd = os.open(os.environ['FIFO'], os.O_RDWR)
    note('holding')
    ctypes.PyDLL(None).read(fd, ctypes.create_string_buffer(1), 1)
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


@pytest.mark.parametrize('threads', ['1', '3'])
def test_watchdog_of_a_stuck_process(holding, systemd, threads):
    """Code that keeps Python's lock stops every request: systemd is not told that all is well, the log says why and
    where, and when it lets go all is well again."""
    server = holding('--threads', threads)
    server.expect_log("error: some code keeps Python's global lock")
    exchange = server.start(path='/hold')
    exchange.finish_body()
    holding.noted('holding')
    server.wait_log('global lock', 20)
    server.wait_log(r'line \d+ in hold$', 20)
    before = systemd.count('WATCHDOG')
    # Five times the interval at which it would come.
    assert exchange.silent(0.75) and systemd.count('WATCHDOG') == before
    with open(holding.fifo, 'w') as fifo:
        fifo.write('x')
    assert exchange.response().body == b'hello'
    wait_for(lambda: systemd.count('WATCHDOG') >= before + 3, 20, 'the watchdog to be fed again')
    assert server.logged.count('global lock') == 1


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
