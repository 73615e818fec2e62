"""What a request costs: system calls, idle connections and memory. F13, P23."""

import collections
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import time

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import rss
from settings import BINARY, SANITIZED, SLOW

LINE = re.compile(r'(?:\d+\s+)?(?:<\.\.\. )?(\w+)(?:\(| resumed)')


def can_trace():
    if not shutil.which('strace'):
        return 'strace is not installed'
    done = subprocess.run(['strace', '-o', '/dev/null', 'true'], capture_output=True)
    return None if done.returncode == 0 else 'strace may not trace here: ' + done.stderr.decode().strip()


WHY_NOT = can_trace()
traced = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))
plain = pytest.mark.skipif(SANITIZED, reason='sanitizers make system calls and memory of their own')


class Trace:
    """strace on one thread of a running process, from attach to detach."""

    def __init__(self, world, pid):
        self.path = world.new_path('trace')
        self.process = subprocess.Popen(['strace', '-o', str(self.path), '-s', '32', '-p', str(pid)],
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert b'attached' in self.process.stderr.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=10)

    def lines(self):
        """The traced calls as text, a call that was resumed only once."""
        out = []
        for line in self.path.read_text(errors='replace').splitlines():
            if 'resumed>' in line or line.startswith(('---', '+++', 'strace:')):
                continue
            if LINE.match(line):
                out.append(line)
        return out

    def calls(self):
        return [LINE.match(line)[1] for line in self.lines()]


def split_at(calls, name):
    """The calls in groups that each begin with `name`."""
    groups = []
    for call in calls:
        if call == name:
            groups.append([])
        if groups:
            groups[-1].append(call)
    return groups


@traced
@plain
@pytest.mark.parametrize('threads', [1, 2])
def test_kept_connection(fcgi_server, world, threads):
    """P23: hello on a kept connection is 4 system calls of the serving thread: epoll_wait, recv, sendmsg,
    epoll_ctl. The first requests may be dearer; of the following hundred not one."""
    server = fcgi_server(HELLO, '--threads', str(threads))
    conn = server.connect()
    for _ in range(100):
        assert conn.request(server.params(), keep=True).body == b'hello'
    if threads == 1:
        tids = [server.pid]
    else:
        # Any request thread may wake up: each is traced.
        tids = [int(t) for t in os.listdir(f'/proc/{server.pid}/task')]
    traces = [Trace(world, tid) for tid in tids]
    for _ in range(102):
        assert conn.request(server.params(), keep=True).body == b'hello'
    for trace in traces:
        trace.__exit__()
    calls = collections.Counter()
    served = 0
    for trace in traces:
        mine = trace.calls()
        if 'sendmsg' not in mine:
            continue
        calls.update(mine)
        served += mine.count('sendmsg')
        # The attach falls into a wait, the detach into the next one: both ends are left out.
        for group in split_at(mine, 'epoll_wait')[1:-1]:
            assert sorted(group) == sorted(['epoll_wait', 'recvfrom', 'sendmsg', 'epoll_ctl']), (group, calls)
    assert served >= 101


@traced
@plain
@pytest.mark.skipif('GLIBC_TUNABLES' in os.environ or any(name.startswith('MALLOC_') for name in os.environ),
                    reason='the environment has limits for malloc() of its own')
def test_memory_is_kept_for_the_next_request(fcgi_server, world):
    """A request that takes half a megabyte and gives it back again makes no call for it, where the C library's own limits
    would give it to the kernel each time."""
    server = fcgi_server('''
        def application(environ, start_response):
            blocks = [bytearray(100000) for _ in range(6)]
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d' % len(blocks)]
    ''')
    conn = server.connect()
    for _ in range(20):
        assert conn.request(server.params(), keep=True).body == b'6'
    with Trace(world, server.pid) as trace:
        for _ in range(22):
            assert conn.request(server.params(), keep=True).body == b'6'
    for group in split_at(trace.calls(), 'epoll_wait')[1:-1]:
        assert sorted(group) == sorted(['epoll_wait', 'recvfrom', 'sendmsg', 'epoll_ctl']), group


@traced
@plain
def test_new_connection(fcgi_server, world):
    """P23: hello on a new connection is at most 6 system calls."""
    gate = world.new_path('gate')
    server = fcgi_server(HELLO.replace("    start_response(", f'''
    import os, time
    while environ['PATH_INFO'] == '/gate' and not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
    start_response('''))
    for _ in range(100):
        assert server.request().body == b'hello'
    # While the only thread is busy the connections come in together with their requests. Else it would depend on
    # the load whether a request has arrived when its connection is accepted.
    busy = server.start(path='/gate')
    busy.finish_body()
    data = fcgi.request_bytes(server.params())
    waiting = [server.connect() for _ in range(50)]
    for conn in waiting:
        conn.send(data)
    with Trace(world, server.pid) as trace:
        gate.touch()
        assert busy.response().body == b'hello'
        for conn in waiting:
            assert conn.response().body == b'hello'
    # A request is what lies between two answers. The first of them is that of the busy one.
    groups = split_at(trace.calls(), 'sendmsg')[1:-1]
    assert len(groups) >= 48
    assert max(map(len, groups)) <= 6, (groups, collections.Counter(trace.calls()))


@traced
@plain
@pytest.mark.parametrize('blocks', [1, 16, 1024])
def test_large_response(fcgi_server, world, blocks):
    """P23: a list of 1 MiB leaves in at most 4 writes, in however many blocks it is."""
    server = fcgi_server(f'''
        body = [b'x' * {(1 << 20) // blocks}] * {blocks}
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return body
    ''')
    conn = server.connect()
    for _ in range(5):
        conn.request(server.params(), keep=True)
    with Trace(world, server.pid) as trace:
        for _ in range(5):
            assert len(conn.request(server.params(), keep=True).body) == 1 << 20
        conn.forget()
    calls = trace.calls()
    writes = sum(calls.count(name) for name in ('sendmsg', 'sendto', 'write', 'writev', 'sendfile', 'splice'))
    assert writes <= 4 * 5, collections.Counter(calls)


@traced
@plain
def test_idle_server_makes_no_calls(fcgi_unix, world):
    """A server with kept connections and nothing to do sleeps: no timer ticks in the serving thread."""
    server = fcgi_unix(HELLO)
    conn = server.connect()
    conn.request(server.params(), keep=True)
    with Trace(world, server.pid) as trace:
        assert conn.silent(2)
    assert len(trace.calls()) <= 1, trace.lines()


COUNT = 10_000


@pytest.fixture
def many_files():
    """Room for 10,000 sockets in this process and, inherited, in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < COUNT + 500:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT + 500, COUNT + 500))
        except (ValueError, PermissionError):
            pytest.skip(f'the hard limit of open files is {hard}')
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (COUNT + 500, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def seconds_for_a_request(server, times=200):
    """Median time of a request on a new connection."""
    data = fcgi.request_bytes(server.params())
    out = []
    for _ in range(times):
        start = time.perf_counter()
        with fcgi.Connection(server.address) as conn:
            conn.send(data)
            assert conn.response().body == b'hello'
        out.append(time.perf_counter() - start)
    return statistics.median(out)


@plain
@pytest.mark.timeout(180)
def test_ten_thousand_idle_connections(many_files, fcgi_unix):
    """F13: 10,000 idle kept connections on 2 threads: a new request takes at most twice the time, and a
    connection costs at most 1 KiB of memory."""
    server = fcgi_unix(HELLO, '--threads', '2', '--keepalive-timeout', '10m')
    seconds_for_a_request(server)
    data = fcgi.request_bytes(server.params(), keep=True)
    before_time = seconds_for_a_request(server)
    before_memory = rss(server.pid)
    conns = []
    try:
        for _ in range(COUNT):
            conn = fcgi.Connection(server.address)
            conns.append(conn)
            conn.send(data)
            assert conn.response().body == b'hello'
        memory = rss(server.pid) - before_memory
        # The machine has other things to do, too: the best of some tries is the program's.
        times = [seconds_for_a_request(server)]
        while times[-1] > 2 * before_time and len(times) < 6:
            times.append(seconds_for_a_request(server))
        assert min(times) <= 2 * before_time, (before_time, times)
        assert memory / COUNT <= 1024, f'{memory / COUNT:.0f} bytes a connection'
        # They are all alive.
        for conn in conns[::97]:
            conn.send(data)
            assert conn.response().body == b'hello'
    finally:
        for conn in conns:
            conn.close()
    wait_for(lambda: server.request().body == b'hello', 10 * SLOW, 'a request afterwards')


def page_faults(*words):
    """Of one process, from its start to its end: the fewest of five, as reading files ahead costs some now and then."""
    counts = []
    for _ in range(5):
        pid = os.posix_spawnp(words[0], words, os.environ,
                              file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        counts.append(usage.ru_minflt)
    return min(counts)


@plain
def test_commands_without_python_are_cheap():
    """What needs no Python does not map its data, which would be 320 pages."""
    version = subprocess.run([BINARY, '--version'], capture_output=True, text=True, check=True).stdout
    if 'shared libpython' in version:
        pytest.skip('the dynamic linker writes to the data of a shared libpython')
    assert page_faults(BINARY, '--version') < page_faults('true') + 120
