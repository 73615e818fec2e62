"""No request waits behind a busy process while another is idle: its connection is passed on. P3, P5, F13."""

import collections
import json
import os
import pathlib
import re
import resource
import signal
import time

import pytest

import fcgi
from fcgi import wait_for
from settings import SLOW, TSAN

# /slow takes two seconds; /count a twentieth, and says how many have been answered; /wait writes its pid to the file of QUERY_STRING and blocks until that is gone; /after does so when it has answered.
APP = '''
import os, time
count = 0
def wait(gate):
    with open(gate + '.new', 'w') as f:
        f.write(str(os.getpid()))
    os.rename(gate + '.new', gate)
    while os.path.exists(gate):
        time.sleep(0.002)
def application(environ, start_response):
    if environ['PATH_INFO'] == '/slow':
        time.sleep(2)
    if environ['PATH_INFO'] == '/wait':
        wait(environ['QUERY_STRING'])
    if environ['PATH_INFO'] == '/after':
        environ['wsgi_cgi.after_response'](wait, environ['QUERY_STRING'])
    if environ['PATH_INFO'] == '/count':
        global count
        time.sleep(0.05)
        count += 1
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%d' % count]
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
'''
BOUND = 0.05 * SLOW


def workers(server):
    """The pids of the workers that serve."""
    status = json.loads(server.request(path='/status', query='json&full').body)
    return {p['pid'] for p in status['processes'] if p['state'] == 'ready'}


@pytest.fixture
def serve(fcgi_unix):
    """Two processes of one thread each, both of them ready; stopped at the end of the test."""
    servers = []

    def start(*options):
        server = fcgi_unix(APP, '--processes', '2', '--reload', 'off', '--status-path', '/status', *options)
        servers.append(server)
        wait_for(lambda: len(workers(server)) == 2, 10, 'two workers')
        return server
    yield start
    for server in servers:
        if server.process.running():
            assert server.stop(timeout=10) == 0


class Busy:
    """A request that keeps the process with this pid busy until release()."""

    def __init__(self, server, world, conn=None):
        self.gate = world.new_path('gate')
        self.exchange = server.start(path='/wait', query=str(self.gate), conn=conn, keep=conn is not None)
        self.exchange.finish_body()
        wait_for(self.gate.exists, 10, 'the application')
        self.pid = int(self.gate.read_text())

    def release(self):
        self.gate.unlink()
        assert int(self.exchange.response().text) == self.pid


def keep(server, count):
    """So many kept connections, and the request for them that is answered at once, with the pid."""
    data = fcgi.request_bytes(server.params(), keep=True)
    conns = [server.connect() for _ in range(count)]
    assert all(conn.request(server.params(), keep=True).status == 200 for conn in conns)
    return conns, data


def ask(conns, data):
    """One request on each at the same time: (pid, seconds) of each."""
    begun = time.monotonic()
    for conn in conns:
        conn.send(data)
    answers = [(int(conn.response().text), time.monotonic() - begun) for conn in conns]
    for conn in conns:
        conn.forget()
    return answers


def of_one(conns, data):
    """(the process to which most of the connections belong, those of them)."""
    homes = [pid for conn in conns for pid, _ in ask([conn], data)]
    most = collections.Counter(homes).most_common(1)[0][0]
    return most, [conn for conn, pid in zip(conns, homes) if pid == most]


def waited_for_processor(pids):
    """Seconds that threads of these processes could have run, but had no processor, since they were started."""
    paths = [path for pid in pids for path in pathlib.Path(f'/proc/{pid}/task').glob('*/schedstat')]
    return sum(int(path.read_text().split()[1]) for path in paths) / 1e9


def switches(pid):
    """How often the thread beside the main one has waited, in a process of two."""
    other, = {path.name for path in pathlib.Path(f'/proc/{pid}/task').iterdir()} - {str(pid)}
    status = pathlib.Path(f'/proc/{pid}/task/{other}/status').read_text()
    return int(re.search(r'^voluntary_ctxt_switches:\s*(\d+)', status, re.M)[1])


@pytest.mark.parametrize('options', [[], ['--preload']], ids=['', 'preload'])
def test_kept_connections(serve, options):
    """F13: 2 processes of 1 thread, 32 kept connections, one request of 2 s: no other takes over 50 ms. Not
    counted is the time in which the machine ran something else than a thread of ours that was ready, by the kernel's
    own count; and of three rounds the best. Without passing on each would take 2 s."""
    server = serve(*options)
    pids = workers(server) | {os.getpid()}
    conns, data = keep(server, 32)
    slow = fcgi.request_bytes(server.params(path='/slow'), keep=True)
    rounds = []
    while len(rounds) < 3 and (not rounds or min(rounds) >= BOUND):
        busy, its = of_one(conns, data)
        first = its[0]
        conns.remove(first)
        begun = time.monotonic()
        first.send(slow)
        longest = []
        while not longest or time.monotonic() - begun < 1.7 and first.silent(0.2):
            before = waited_for_processor(pids)
            answers = ask(conns, data)
            assert busy not in {pid for pid, _ in answers}
            longest.append((max(seconds for _, seconds in answers), waited_for_processor(pids) - before))
        assert int(first.response().text) == busy and time.monotonic() - begun >= 2
        rounds.append(max(seconds - waited for seconds, waited in longest))
        print(f'{len(its) - 1} of {len(conns)} connections passed on; the longest requests took',
              ', '.join(f'{seconds * 1000:.1f} ms ({waited * 1000:.1f} without a processor)'
                        for seconds, waited in sorted(longest)[-3:]))
        conns.append(first)
    assert min(rounds) < BOUND, rounds


def test_new_connections(serve, world):
    """A process of one thread takes a connection, and as nothing comes on it another one; then a long request comes on
    the first. The other does not wait for that."""
    server = serve()
    other = Busy(server, world)
    second, first = server.connect(), server.connect()
    # It came after them, so all three were accepted, by the process that is idle.
    assert int(server.request().text) != other.pid
    other.release()
    busy = Busy(server, world, first)
    assert busy.pid != other.pid
    assert second.request(server.params()).text == str(other.pid)
    busy.release()


def test_new_beside_passed(serve, world):
    """Whoever connects to the process that helps is served between the connections passed on to it, not after all."""
    server = serve()
    conns, _ = keep(server, 48)
    home, conns = of_one(conns, fcgi.request_bytes(server.params(), keep=True))
    busy = Busy(server, world, conns.pop())
    assert busy.pid == home and len(conns) >= 20
    for conn in conns:
        conn.send(fcgi.request_bytes(server.params(path='/count'), keep=True))
    first = int(conns[0].response().text)
    new = int(server.request(path='/count').text)
    last = max(int(conn.response().text) for conn in conns[1:])
    print(f'first {first}, new {new}, last {last}')
    assert new < (first + last) / 2
    busy.release()


def test_no_descriptor_left(serve, world):
    """Nothing is lost on the way to a process that has no descriptor for it: it waits, as if there were no passing on.
    And when there are descriptors again, connections are passed on again."""
    server = serve()
    server.expect_log(r'no more connections can be taken from other processes .*; raise ulimit -n \(systemd: LimitNOFILE=\)')
    conns, data = keep(server, 48)
    home, conns = of_one(conns, data)
    busy = Busy(server, world, conns.pop())
    assert busy.pid == home and len(conns) >= 12
    idle, = workers(server) - {home}
    used = {int(path.name) for path in pathlib.Path(f'/proc/{idle}/fd').iterdir()}
    limits = resource.prlimit(idle, resource.RLIMIT_NOFILE)
    resource.prlimit(idle, resource.RLIMIT_NOFILE, (min(set(range(len(used) + 1)) - used), limits[1]))
    for some in conns[:4], conns[4:8]:
        for conn in some:
            conn.send(data)
        wait_for(lambda: server.log.matches('no more connections'), 10, 'the warning')
        silent = [conn for conn in some if conn.silent(0.05)]
        assert not any(conn.eof for conn in some)
    assert silent == conns[4:8]
    busy.release()
    for conn in conns[:8]:
        assert conn.response().text in (str(home), str(idle))
        conn.forget()
    resource.prlimit(idle, resource.RLIMIT_NOFILE, limits)
    busy = Busy(server, world)
    if busy.pid == idle:
        home, idle = idle, home
    for conn in conns:
        assert ask([conn], data)[0][0] == idle
    busy.release()


@pytest.mark.skipif(TSAN, reason='the sanitizer has a thread of its own')
def test_half_a_head_stays(serve, world):
    """A connection on which a request has begun to arrive stays where its beginning is, and is served there."""
    server = serve()
    other = Busy(server, world)
    first, half, whole = conns = [server.connect() for _ in range(3)]
    data = fcgi.request_bytes(server.params(), keep=True)
    assert {pid for pid, _ in ask(conns, data)}.isdisjoint({other.pid})
    half.send(data[:40])
    ask([first], data)              # by then the half has been received
    other.release()
    busy = Busy(server, world, first)
    half.send(data[40:50])
    before = switches(busy.pid)
    assert half.silent(1)           # what cannot be passed on is not looked at again and again
    assert switches(busy.pid) - before < 60
    half.send(data[50:])
    whole.send(data)
    assert int(whole.response().text) == other.pid and half.silent(0.1)
    busy.release()
    assert int(half.response().text) == busy.pid


def test_all_busy(serve, world):
    """Where no process is idle requests wait, and whichever is the first to have a thread again serves all of them."""
    server = serve()
    conns, data = keep(server, 8)
    one, two = Busy(server, world), Busy(server, world)
    assert one.pid != two.pid
    for conn in conns:
        conn.send(data)
    assert all(conn.silent(0.02) for conn in conns)
    one.release()
    assert {int(conn.response().text) for conn in conns} == {one.pid}
    two.release()


def test_work_after_a_response(serve, world):
    """A thread that works on after its response is as busy as any: what comes on the connections of its process meanwhile
    is passed on."""
    server = serve()
    conns, data = keep(server, 8)
    home, conns = of_one(conns, data)
    gate = world.new_path('gate')
    assert int(conns[0].request(server.params(path='/after', query=str(gate)), keep=True).text) == home
    conns[0].forget()
    wait_for(gate.exists, 10, 'the work')
    others = {pid for pid, _ in ask(conns, data)}
    gate.unlink()
    assert others == workers(server) - {home}


def test_death_of_the_idle_one(serve, world):
    """P3: while one process is busy the other one dies. What comes meanwhile waits for the process that replaces it."""
    server = serve()
    server.expect_log(r'worker \d+ was killed by signal 9')
    conns, data = keep(server, 8)
    home, conns = of_one(conns, data)       # the others would end with their process
    busy = Busy(server, world, conns.pop())
    assert busy.pid == home and conns
    idle, = workers(server) - {busy.pid}
    os.kill(idle, signal.SIGKILL)
    for pid, _ in ask(conns, data):
        assert pid not in (idle, busy.pid)
    busy.release()


def test_reload(serve, world):
    """P5: the process of the old code that finishes a request keeps no connection that another could serve."""
    server = serve()
    server.allow_log('SIGHUP|new code')
    conns, data = keep(server, 32)
    busy = Busy(server, world, conns.pop())
    before = workers(server)
    server.process.signal(signal.SIGHUP)
    while before & workers(server) - {busy.pid} or len(workers(server)) < 2:
        assert busy.pid not in {pid for pid, _ in ask(conns, data)}
    busy.release()
