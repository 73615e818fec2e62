"""The request body over CGI: C2, C3, C4."""

import os
import socket
import subprocess
import time

import pytest

from apps import ECHO, UNREAD
from fcgi import Timeout, wait_for
from harness import Process, cgi_params
from settings import BINARY, SLOW

POST = {'REQUEST_METHOD': 'POST', 'GATEWAY_INTERFACE': 'CGI/1.1', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
        'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '', 'PATH_INFO': '/'}

# 200 kB that arrive whole or not at all, without having looked at the body.
LOUD = '''
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'y' * 200000]
'''


@pytest.mark.parametrize('app', [ECHO, UNREAD], ids=['read', 'unread'])
def test_not_a_byte_beyond_content_length(world, app):
    """C2: of an endless stdin exactly CONTENT_LENGTH bytes are taken, and the process ends."""
    r, w = os.pipe()
    os.write(w, b'12345' + b'n' * 1000)         # w stays open: there is no end of file
    process = world.spawn(world.write_app(app), env={**POST, 'CONTENT_LENGTH': '5'}, stdin=r,
                          stdout=subprocess.PIPE)
    out = process.output()
    assert process.wait() == 0
    assert out.endswith(b'12345' if app is ECHO else b'unread')
    os.set_blocking(r, False)
    assert os.read(r, 2000) == b'n' * 1000
    os.close(r)
    os.close(w)


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'DELETE', 'POST'])
def test_no_content_length_is_no_body(cgi, method):
    """C2: without CONTENT_LENGTH there is nothing to read: read() returns at once although stdin stays open."""
    exchange = cgi.serve(ECHO).start(method, content_length=False)
    response = exchange.response()              # stdin is closed only afterwards
    assert response.status == 200 and response.body == b''


@pytest.mark.parametrize('end', ['read it', 'leave it'])
def test_content_length_zero(cgi, end):
    """C2: with CONTENT_LENGTH=0 neither the application nor the drain waits for stdin."""
    exchange = cgi.serve(ECHO if end == 'read it' else UNREAD).start('POST', content_length=0)
    assert exchange.response().status == 200


READS_LATE = '''
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'y' * 200000
    try:
        yield b'%d' % len(environ['wsgi.input'].read())
    except OSError as error:
        yield error.strerror.encode()
'''


@pytest.mark.parametrize('size', [200_000, 1_000_000])
def test_body_written_first_without_room(world, size, tmp_path):
    """C2: a server that writes the whole body before it reads a byte. Where it cannot be spooled the response goes on,
    and who reads the body later is told."""
    process = subprocess.Popen([BINARY, world.write_app(READS_LATE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env=world.env({**POST, 'CONTENT_LENGTH': str(size),
                                              'TMPDIR': str(tmp_path / 'nowhere')}))
    with process:
        process.stdin.write(b'x' * size)
        process.stdin.close()
        body = process.stdout.read().partition(b'\r\n\r\n')[2]
    assert process.returncode == 0
    assert body == b'y' * 200_000 + (b'200000' if size == 200_000 else b'No such file or directory')


def socket_pair(kind):
    """Two connected sockets, as mod_cgid (unix) and inetd (TCP) hand one of them to the script as 0 and 1."""
    if kind == 'unix':
        return socket.socketpair()
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen(1)
        ours = socket.create_connection(listener.getsockname())
        theirs = listener.accept()[0]
    return ours, theirs


def read_all(sock, timeout=10):
    """Everything until EOF; a reset connection raises, as it would in the web server."""
    sock.settimeout(timeout * SLOW)
    out = bytearray()
    while True:
        data = sock.recv(1 << 16)
        if not data:
            return bytes(out)
        out += data


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
@pytest.mark.parametrize('size', [5, 1000, 300_000])
def test_unread_body_on_a_socket_is_drained(world, kind, size):
    """C3: mod_cgid's stdin and stdout are one socket. Exiting with unread input resets it and the response is lost."""
    ours, theirs = socket_pair(kind)
    with ours:
        with theirs:
            process = world.spawn(world.write_app(LOUD), env={**POST, 'CONTENT_LENGTH': str(size)}, stdin=theirs,
                                  stdout=theirs)
        # As mod_cgid does: the whole body first, then read.
        ours.settimeout(10 * SLOW)
        ours.sendall(b'x' * size)
        out = read_all(ours)
        assert out.endswith(b'\r\n\r\n' + b'y' * 200_000)
        assert process.wait() == 0


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_body_that_comes_late_is_drained(world, kind):
    """C3: the body arrives after the response has gone out."""
    ours, theirs = socket_pair(kind)
    with ours:
        with theirs:
            process = world.spawn(world.write_app(UNREAD), env={**POST, 'CONTENT_LENGTH': '100000'}, stdin=theirs,
                                  stdout=theirs)
        ours.settimeout(10 * SLOW)
        head = b''
        while b'unread' not in head:
            data = ours.recv(65536)
            assert data, f'closed before the body was sent: {head!r}'
            head += data
        ours.sendall(b'x' * 100_000)
        assert read_all(ours) == b''
        assert process.wait() == 0


def test_drain_is_bounded_in_time(world):
    """C3: a body that never comes does not keep the process for ever."""
    ours, theirs = socket_pair('unix')
    with ours:
        with theirs:
            process = world.spawn('--body-timeout', '300ms', world.write_app(UNREAD),
                                  env={**POST, 'CONTENT_LENGTH': '1000000000'}, stdin=theirs, stdout=theirs)
        process.log.allow(r'body|timeout|timed out')
        process.exit_codes = {0, 1}
        ours.sendall(b'x' * 10)
        process.wait(5)


def test_drain_is_bounded_in_bytes(world):
    """C3: a server that sends and sends a body nobody wants is not listened to for ever."""
    ours, theirs = socket_pair('unix')
    with ours:
        with theirs:
            process = world.spawn(world.write_app(UNREAD), env={**POST, 'CONTENT_LENGTH': str(1 << 50)}, stdin=theirs,
                                  stdout=theirs)
        process.log.allow(r'body|drain')
        process.exit_codes = {0, 1}
        ours.setblocking(False)
        sent, deadline = 0, time.monotonic() + 20 * SLOW
        while process.running():
            try:
                sent += ours.send(b'x' * 65536)
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                break
            if time.monotonic() > deadline:
                raise Timeout(f'still draining after {sent} bytes')
        process.wait(5)


def test_body_on_a_pipe_is_not_waited_for(cgi):
    """C3: on a pipe unread input harms nobody but the server, which gets EPIPE; the response comes without delay."""
    exchange = cgi.serve(UNREAD).start('POST', content_length=10 ** 9)
    start = time.monotonic()
    exchange.wait_for(b'unread')
    assert time.monotonic() - start < 5 * SLOW
    exchange.finish_body()
    exchange.server.exit_codes = {0, 1}
    exchange.server.allow_log('body')
    exchange.response()


@pytest.mark.parametrize('kind', ['pipe', 'socket'])
def test_server_that_writes_everything_before_it_reads(world, kind):
    """C4: 10 MB of body against an application that streams 1 MB before it reads: no deadlock, nothing lost."""
    app = world.write_app('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for i in range(16):
                yield b'y' * 65536
            size = 0
            while True:
                data = environ['wsgi.input'].read(100000)
                if not data:
                    break
                size += len(data)
            yield b'read %d' % size
    ''')
    size = 10_000_000
    env = {**POST, 'CONTENT_LENGTH': str(size)}
    if kind == 'pipe':
        process = world.spawn(app, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        w, r = process.popen.stdin.fileno(), process.popen.stdout.fileno()
    else:
        ours, theirs = socket_pair('unix')
        with theirs:
            process = world.spawn(app, env=env, stdin=theirs, stdout=theirs)
        w = r = ours.fileno()
    os.set_blocking(w, False)
    view = memoryview(b'x' * size)

    def all_written():
        nonlocal view
        try:
            while view:
                view = view[os.write(w, view[:1 << 16]):]
        except BlockingIOError:
            pass
        return not view
    wait_for(all_written, 20, 'the program to take the whole body')
    os.set_blocking(r, True)
    out = bytearray()
    while True:
        data = os.read(r, 1 << 16)
        if not data:
            break
        out += data
    assert out.partition(b'\r\n\r\n')[2] == b'y' * (16 * 65536) + b'read %d' % size
    assert process.wait() == 0
    if kind == 'socket':
        ours.close()


# How many write() calls a megabyte of response took.
WRITES = '''
import re
def writes():
    with open('/proc/self/io') as file:
        return int(re.search('syscw: ([0-9]+)', file.read())[1])
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    try:
        environ['wsgi.input'].read()
    except OSError:
        before = writes()
    yield b'y' * 1000000
    yield b' %d' % (writes() - before)
'''


@pytest.mark.skipif(not os.path.exists('/proc/self/io'), reason='this kernel does not count system calls')
def test_early_end_of_the_body_is_remembered(cgi):
    """C2, C4: stdin ends before CONTENT_LENGTH. From then on nothing more is expected of it, and the response need not
    go out in pieces with a look at stdin before each, which always is at its end."""
    exchange = cgi.serve(WRITES).start('POST', content_length=100)
    exchange.write(b'12345')
    exchange.finish_body()
    body, count = exchange.response().body.split(b' ')
    assert body == b'y' * 1_000_000 and int(count) < 10, count


def test_short_body(cgi):
    """C2: the server closes stdin early: OSError, not the end of the file (W27, F26 over CGI)."""
    response = cgi.serve(ECHO).request('POST', body=b'x' * 10, content_length=1000)
    assert response.status == 502 and response.body == b'OSError'


def test_slow_body(cgi):
    """C2: a body in pieces, one of them late, is whole."""
    exchange = cgi.serve(ECHO).start('POST', content_length=6)
    for piece in (b'a', b'bc', b'def'):
        exchange.write(piece)
        assert exchange.silent(0.05) or piece == b'def'
    exchange.finish_body()
    assert exchange.response().body == b'abcdef'


def test_body_from_a_file(world):
    """C2: stdin is a regular file, positioned in its middle."""
    path = world.tmp_path / 'body'
    path.write_bytes(b'skipped' + b'body' + b'more')
    with open(path, 'rb', buffering=0) as file:
        file.seek(7)
        finished = world.run(world.write_app(ECHO), env={**POST, 'CONTENT_LENGTH': '4'}, stdin=file)
    assert finished.code == 0 and finished.stdout.endswith(b'\r\n\r\nbody')


def test_nonblocking_stdio(world):
    """C2, C24, P14: inherited descriptors in non-blocking mode lose nothing, in neither direction (php bug 73342)."""
    ours_in, theirs_in = os.pipe()[::-1]
    ours_out, theirs_out = os.pipe()
    for fd in (theirs_in, theirs_out):
        os.set_blocking(fd, False)
    process = Process(world, [BINARY, world.write_app(ECHO)], env={**world.env(), **{
        k.decode(): v.decode() for k, v in cgi_params('POST', body=b'x' * 500_000)}}, stdin=theirs_in, stdout=theirs_out)
    os.close(theirs_in)
    os.close(theirs_out)
    os.set_blocking(ours_in, False)
    os.set_blocking(ours_out, False)
    view, out = memoryview(b'x' * 500_000), bytearray()

    def step():
        nonlocal view
        try:
            if view:
                view = view[os.write(ours_in, view[:1000]):]
        except BlockingIOError:
            pass
        try:
            data = os.read(ours_out, 1000)
            out.extend(data)
            return not data
        except BlockingIOError:
            return False
    deadline = time.monotonic() + 20 * SLOW
    while not step():
        if time.monotonic() > deadline:
            raise Timeout(f'{len(out)} bytes came back')
    assert out.partition(b'\r\n\r\n')[2] == b'x' * 500_000
    assert process.wait() == 0
    os.close(ours_in)
    os.close(ours_out)


def test_expect_100_continue(transport):
    """W74: the header is the server's business: the application sees it or not, the body arrives all the same."""
    body = bytes(range(256)) * 20_000
    response = transport.serve(ECHO).request('POST', headers={'Expect': '100-continue'}, body=body)
    assert response.status == 200 and response.body == body


@pytest.mark.parametrize('status', ['401 Unauthorized', '413 Content Too Large'])
def test_refused_without_reading(transport, status):
    """W74: an application that refuses a body of 5 MB unread: its answer arrives whole, while and after the body is
    sent."""
    server = transport.serve(f'''
        def application(environ, start_response):
            start_response({status!r}, [('Content-Type', 'text/plain'), ('Content-Length', '7')])
            return [b'refused']
    ''')
    for _ in range(2):
        response = server.request('POST', headers={'Expect': '100-continue'}, body=b'x' * 5_000_000)
        assert response.status_line == status and response.body == b'refused' and response.complete
