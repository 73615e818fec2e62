"""What processes that come and go must not lose: connections that wait, requests already sent, signals. P2, P4, P5."""

import os
import pathlib
import signal
import socket
import threading
import time

import pytest

import fcgi
from fcgi import wait_for
from harness import cgi_params, count_fds, listening_socket, listens
from settings import BINARY, SANITIZED, SLOW, TSAN
from test_syscalls import plain, traced

HELLO = '''
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
'''

QUICK = '''
import os, time
def application(environ, start_response):
    os.write(2, b'begun\\n')
    time.sleep(0.1)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'hel'
    time.sleep(0.05)
    yield b'lo'
'''


def bound(world, app, *options):
    """The program on a socket of its own: (process, path)."""
    path = world.new_path('sock')
    process = world.spawn('--bind', str(path), *options, world.write_app(app))
    wait_for(lambda: listens(path), 10, 'the socket')
    return process, str(path)


def workers(process):
    """The pids of the master's children."""
    return set(map(int, pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children').read_text().split()))


def connect(path):
    """A socket on which a request has been sent."""
    sock = fcgi.connect(path)
    sock.settimeout(20 * SLOW)
    sock.sendall(fcgi.request_bytes(cgi_params()))
    return sock


def whole(sock):
    """Everything that came back is one whole response."""
    data = b''
    with sock:
        while chunk := sock.recv(65536):
            data += chunk
    records, used = fcgi.split_records(data)
    body = b''.join(r.content for r in records if r.type == fcgi.STDOUT).partition(b'\r\n\r\n')[2]
    return body == b'hello' and records[-1].type == fcgi.END_REQUEST and used == len(data)


def test_connection_that_woke_a_leaving_worker(world):
    """P2: of several processes at a socket one is woken for a connection; where that one is just leaving, it is not left
    to wait for the next connection to come by."""
    process, path = bound(world, HELLO, '--processes', '2', '--max-requests', '1', '--reload', 'off')
    worst, start = 0, time.monotonic()
    while time.monotonic() - start < 5:
        begun = time.monotonic()
        assert whole(connect(path))
        worst = max(worst, time.monotonic() - begun)
        assert worst < 2 * SLOW, f'a connection waited for {worst:.1f} s'
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 0


class Kept:
    """Clients on kept connections that must not end, until join(); births: of the processes that answered."""

    APP = '''
import time
born = str(time.time_ns()).encode()
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [born]
'''

    def __init__(self, address, clients=4):
        self.address, self.stopping = address, threading.Event()
        self.births, self.ended = set(), []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self):
        request = fcgi.request_bytes(cgi_params(), keep=True)
        with fcgi.connect(self.address) as sock:
            sock.settimeout(20 * SLOW)
            while not self.stopping.is_set():
                data = b''
                try:
                    sock.sendall(request)
                    while data[-16:-14] != b'\x01\x03':     # END_REQUEST
                        chunk = sock.recv(65536)
                        if not chunk:
                            raise ConnectionResetError('ended')
                        data += chunk
                except OSError as error:
                    self.ended.append((error, data))
                    return
                self.births.add(data.partition(b'\r\n\r\n')[2][:19])

    def join(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        assert not self.ended, self.ended

    def wait_for_births(self, count):
        wait_for(lambda: self.ended or len(self.births) >= count, 30, f'{count} processes')


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_kept_connections_outlive_workers(world, kind):
    """P2: a connection that the web server keeps is not closed when its worker is replaced, since a request may just be
    on its way: another worker goes on with it."""
    options = '--processes', '2', '--max-requests', '5', '--reload', 'off'
    if kind == 'tcp':
        address = free_port()
        process = world.spawn('--bind', '%s:%d' % address, *options, world.write_app(Kept.APP))
    else:
        process, address = bound(world, Kept.APP, *options)
    kept = Kept(address)
    kept.wait_for_births(15)
    kept.join()
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_kept_connections_outlive_the_program(world):
    """P5: nor is it when a process without a master executes itself again."""
    process, path = bound(world, Kept.APP, '--reload', 'off', '--threads', '2')
    process.allow_log('SIGHUP|new code')
    kept = Kept(path)
    for count in range(1, 5):
        kept.wait_for_births(count)
        process.signal(signal.SIGHUP)
    kept.wait_for_births(5)
    kept.join()
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 0


def test_idle_connections_outlive_workers(world):
    """P5: all of them, also those that have not said anything yet, and the descriptors do not add up."""
    process, path = bound(world, Kept.APP, '--processes', '2', '--reload', 'off')
    process.allow_log('SIGHUP|new code')
    with fcgi.Connection(path) as conn:
        conn.request(cgi_params())
    idle = [fcgi.Connection(path) for _ in range(100)]
    for conn in idle[::2]:
        conn.request(cgi_params(), keep=True)
    before = workers(process)
    for _ in range(2):
        process.signal(signal.SIGHUP)
        wait_for(lambda: len(workers(process)) == 2 and not before & workers(process), 20, 'new workers')
        before = workers(process)
    for conn in idle:
        assert conn.request(cgi_params(), keep=True).status == 200
        conn.close()
    wait_for(lambda: all(count_fds(pid)[0] < 10 for pid in workers(process)), 5, 'the end of the connections')
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 0


@traced
@plain
def test_connection_on_its_way_into_the_poller(world):
    """P5: a process that leaves while one of its threads hands a kept connection to the poller gives it away only after
    that: it comes to its end, and the program after it goes on with the connection."""
    slow = world.new_path('slow')
    # Setting up the poller takes three calls; the fourth is for the connection, whose request waits when it is accepted.
    slow.write_text('#!/bin/sh\nexec strace -D -f -o /dev/null -e trace=epoll_ctl '
                    f'-e inject=epoll_ctl:delay_enter=3s:when=4 {BINARY} "$@"\n')
    slow.chmod(0o755)
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock, fcgi.Connection(address) as conn:
        conn.send(fcgi.request_bytes(cgi_params(), keep=True))
        process = world.spawn('--max-requests', '1', '--reload', 'off', '--graceful-timeout', '60',
                              world.write_app(HELLO), binary=slow, stdin=sock)
        assert conn.response().body == b'hello'
        process.wait_log('the new code loads: starting again', 20)
        conn.forget()
        assert conn.request(cgi_params(), keep=True, timeout=20).body == b'hello'
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.mark.parametrize('options', [('--processes', '2'), ('--processes', '2', '--threads', '3'), ()],
                         ids=['master', 'threads', 'alone'])
@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_term_with_a_queue(world, kind, options):
    """P4: whoever has connected before the TERM gets the whole answer, also those that nobody has accepted yet; nobody
    can connect afterwards, the socket file is gone, and the exit code 0."""
    if kind == 'tcp':
        address = free_port()
        process = world.spawn('--bind', '%s:%d' % address, *options, world.write_app(QUICK))
    else:
        process, address = bound(world, QUICK, *options)
    assert whole(connect(address))
    clients = [connect(address) for _ in range(16)]
    process.signal(signal.SIGTERM)
    if kind == 'unix':
        wait_for(lambda: not os.path.exists(address), 5, 'the end of the socket file')
        with pytest.raises(OSError):
            socket.socket(socket.AF_UNIX).connect(address)
    assert [whole(client) for client in clients] == [True] * 16
    assert process.wait(10) == 0


HANGING = '''
import os, time
def application(environ, start_response):
    if environ['PATH_INFO'] == '/hang':
        os.write(2, b'hangs\\n')
        time.sleep(3600)
    time.sleep(0.01)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode() if environ['PATH_INFO'] == '/pid' else b'hello']
'''


def ask_pids(path):
    """The workers that answer some requests at once."""
    clients = [fcgi.Connection(path) for _ in range(6)]
    for client in clients:
        client.send(fcgi.request_bytes(cgi_params(path='/pid')))
    pids = {int(client.response().text) for client in clients}
    for client in clients:
        client.close()
    return pids


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGTERM])
def test_queue_behind_a_long_request(world, number):
    """P4, P5: a worker that leaves, or all that do, take from the queue only what they have threads for: nobody waits
    behind a request that takes long while another worker has nothing to do."""
    process, path = bound(world, HANGING, '--processes', '2', '--reload', 'off')
    process.allow_log('SIGHUP|new code|left behind')
    wait_for(lambda: ask_pids(path) == workers(process), 10, 'both workers')
    hanging = fcgi.connect(path)
    hanging.sendall(fcgi.request_bytes(cgi_params(path='/hang')))
    process.wait_log('hangs', 10)
    clients = [connect(path) for _ in range(16)]
    process.signal(number)
    begun = time.monotonic()
    for client in clients:
        client.settimeout(8 * SLOW)
    assert [whole(client) for client in clients] == [True] * 16
    assert time.monotonic() - begun < 8 * SLOW
    hanging.close()
    process.signal(signal.SIGQUIT)
    assert process.wait(5) == 0


def test_second_term_with_a_queue(world):
    """P4: the second one forces, in a process and in a master."""
    for options in ('--threads', '1'), ('--processes', '2'):
        process, path = bound(world, QUICK.replace('0.1', '3600'), *options)
        clients = [connect(path) for _ in range(4)]
        process.wait_log('begun', 10)
        process.signal(signal.SIGTERM)
        wait_for(lambda: not os.path.exists(path), 5, 'the end of the socket file')
        assert process.running()
        process.signal(signal.SIGTERM)
        assert process.wait(5) == 0
        for client in clients:
            client.close()


def test_term_in_a_restart(world):
    """P4, P5: without a master: a stop that comes while the program is about to execute itself again is for good, and
    nobody who has connected is lost by it."""
    process, path = bound(world, QUICK.replace('0.1', '1'), '--reload', 'off')
    process.allow_log('SIGHUP|new code')
    clients = [connect(path)]
    process.signal(signal.SIGHUP)
    process.wait_log('the new code loads', 20)
    clients += [connect(path) for _ in range(3)]
    process.signal(signal.SIGTERM)
    assert [whole(client) for client in clients] == [True] * 4
    assert process.wait(10) == 0


@pytest.mark.skipif(TSAN, reason='the sanitizer loses one signal in 500 to a process that is just starting')
def test_term_to_workers_just_born(world):
    """P4: a worker that is told to leave before it has set up its own signals leaves all the same."""
    for _ in range(20):
        process, _ = bound(world, HELLO, '--processes', '4', '--graceful-timeout', '10')
        process.signal(signal.SIGTERM)
        assert process.wait(8) == 0


def test_peer_that_is_not_allowed_stays_outside_at_the_end(world):
    """A connection that is taken from the queue at a stop is looked at like any other."""
    port = free_port()[1]
    process = world.spawn('--bind', f'127.0.0.1:{port}', '--allow', '127.0.0.2', world.write_app(QUICK))

    def from_second():
        sock = socket.socket()
        sock.settimeout(20 * SLOW)
        sock.bind(('127.0.0.2', 0))
        sock.connect(('127.0.0.1', port))
        sock.sendall(fcgi.request_bytes(cgi_params()))
        return sock

    def listens():
        try:
            return from_second()
        except ConnectionRefusedError:
            return None
    assert whole(wait_for(listens, 10, 'the listener'))
    first, second = from_second(), from_second()
    refused = connect(('127.0.0.1', port))
    process.signal(signal.SIGTERM)
    assert whole(first) and whole(second)
    with refused:
        try:
            assert refused.recv(100) == b''
        except ConnectionResetError:
            pass
    assert process.wait(10) == 0


NO_MEMORY = '''
    import ctypes, re, resource
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    held = (ctypes.c_void_p * 200000)()
    def take_all(n=0):
        """Whatever malloc() has in blocks of 4 KB and more, from this thread's arena."""
        for size in (1 << 20, 1 << 16, 1 << 12):
            while True:
                held[n] = libc.malloc(size)
                if held[n] is None:
                    break
                n += 1
        return n
    def application(environ, start_response):
        body = b''
        if environ['PATH_INFO'] == '/full':
            soft, hard = resource.getrlimit(resource.RLIMIT_AS)
            size = int(re.search(r'VmSize:\\s+(\\d+)', open('/proc/self/status').read())[1]) << 10
            resource.setrlimit(resource.RLIMIT_AS, (size, hard))
            n = take_all()
            try:
                body = environ['wsgi.input'].read()
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
                for i in range(n):
                    libc.free(held[i])
        else:
            body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [body]
'''


@pytest.mark.skipif(SANITIZED, reason='sanitizers have a malloc() of their own, and need more than any limit')
@pytest.mark.parametrize('threads', [1, 2])
def test_no_memory_for_a_body(fcgi_server, threads):
    """libfcgi asserts that malloc() succeeds. Where it does not, that request fails, the process and its other
    connections go on. See unit/test_fcgi_os.c, too."""
    server = fcgi_server(NO_MEMORY, '--threads', str(threads))
    other = server.connect()
    assert other.request(server.params('POST', body=b'abc'), b'abc', keep=True).body == b'abc'
    for _ in range(3):
        response = server.request('POST', '/full', body=b'abc')
        assert (response.status, response.complete) == (500, True)
        assert other.request(server.params('POST', body=b'def'), b'def', keep=True).body == b'def'
    server.expect_log('OSError')
