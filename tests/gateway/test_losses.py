"""What processes that come and go must not lose: connections that wait, requests already sent, signals. P2, P4, P5."""

import os
import signal
import socket
import threading
import time

import pytest

import fcgi
from fcgi import wait_for
from harness import cgi_params
from settings import SLOW

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
    wait_for(path.exists, 10, 'the socket')
    return process, str(path)


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


def test_request_on_a_kept_connection_that_is_just_closed(world):
    """P2, P5: on a unix socket a request that could be sent is answered: the program says that it takes no more before
    it looks for the last time."""
    process, path = bound(world, HELLO, '--processes', '2', '--max-requests', '5', '--reload', 'off')
    request = fcgi.request_bytes(cgi_params(), keep=True)
    end = time.monotonic() + 4
    lost, answered, refused = [], [], []

    def client():
        sock = fcgi.connect(path)
        while time.monotonic() < end:
            try:
                sock.sendall(request)
            except BrokenPipeError:
                refused.append(1)
                sock.close()
                sock = fcgi.connect(path)
                continue
            data = b''
            while data[-16:-14] != b'\x01\x03':     # END_REQUEST
                try:
                    chunk = sock.recv(65536)
                except ConnectionResetError:
                    chunk = b''
                if not chunk:
                    break
                data += chunk
            if b'hello' in data:
                answered.append(1)
            else:
                lost.append(data)
                sock.close()
                sock = fcgi.connect(path)
        sock.close()
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost, (len(lost), len(refused), len(answered))
    assert refused and answered         # it was tried
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 0


@pytest.mark.parametrize('options', [('--processes', '2'), ('--processes', '2', '--threads', '3'), ()],
                         ids=['master', 'threads', 'alone'])
@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_term_with_a_queue(world, kind, options):
    """P4: whoever has connected before the TERM gets the whole answer, also those that nobody has accepted yet; nobody
    can connect afterwards, the socket file is gone, and the exit code 0."""
    if kind == 'tcp':
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            address = probe.getsockname()
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
    return [b'hello']
'''


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGTERM])
def test_queue_behind_a_long_request(world, number):
    """P4, P5: a worker that leaves, or all that do, take from the queue only what they have threads for: nobody waits
    behind a request that takes long while another worker has nothing to do."""
    process, path = bound(world, HANGING, '--processes', '2', '--reload', 'off')
    process.allow_log('SIGHUP|new code')
    assert whole(connect(path))
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


def test_term_to_workers_just_born(world):
    """P4: a worker that is told to leave before it has set up its own signals leaves all the same."""
    for _ in range(20):
        process, _ = bound(world, HELLO, '--processes', '4', '--graceful-timeout', '10')
        process.signal(signal.SIGTERM)
        assert process.wait(8) == 0


def test_peer_that_is_not_allowed_stays_outside_at_the_end(world):
    """A connection that is taken from the queue at a stop is looked at like any other."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
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
