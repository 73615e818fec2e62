"""--relay: a CGI process passes its request on to a FastCGI application. C2, C4, C12, C13, C14, C15, C16, C23, C24."""

import array
import fcntl
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import termios
import threading

import pytest

import fcgi
from apps import HELLO
from fcgi import Response, wait_for
from harness import STAMP, CgiServer, Transport, cgi_params, listening_socket
from settings import BINARY, SANITIZED, SLOW
from test_syscalls import page_faults, traced

OK = b'Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n'
END = fcgi.record(fcgi.END_REQUEST, 1, b'\0' * 8)
MEGABYTE = 1 << 20

# Says what it got.
ENVIRON = '''
    import json
    def application(environ, start_response):
        words = {k: v for k, v in environ.items() if isinstance(v, str)}
        words['body'] = environ['wsgi.input'].read().decode('latin-1')
        environ['wsgi.errors'].write('written to the error stream\\n')
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(words).encode()]
'''
# Sends each piece back as it comes.
ECHO = '''
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'application/octet-stream')])
        while piece := environ['wsgi.input'].read1(65536):
            yield piece
'''
# Never asks for the body.
LARGE = '''
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'application/octet-stream')])
        return [b'0123456789abcdef' * 4096] * 800
'''


def relay_to(world, address, *options):
    """A CGI server whose processes relay to this address."""
    if not isinstance(address, (str, os.PathLike)):
        address = '%s:%d' % address
    return CgiServer(world, [BINARY, '--relay', os.fspath(address), *options], None, world.tmp_path, None, {})


@pytest.fixture
def relay(world):
    return lambda address, *options: relay_to(world, address, *options)


def serve(world, fcgi_unix, app, *options):
    """The application, and the CGI server in front of it."""
    server = fcgi_unix(app, *options)
    return server, relay_to(world, server.address)


def environment(world, *args, extra=(), **keywords):
    """That of a CGI process, as bytes."""
    env = {os.fsencode(k): os.fsencode(v) for k, v in world.env().items()}
    env.update(cgi_params(*args, **keywords))
    env.update({os.fsencode(k): os.fsencode(v) for k, v in dict(extra).items()})
    return env


class Talk:
    """A backend that reads the whole request, then answers with these bytes and closes."""

    def __init__(self, answer):
        self.answer, self.received, self.got_all = answer, b'', threading.Event()

    def __call__(self, backend, conn):
        backend.read_head(conn)
        self.received = backend.received
        self.got_all.set()
        conn.sendall(self.answer)


# --- a request and its response ---------------------------------------------------------------------------------------

@pytest.mark.parametrize('kind', ['fcgi-unix', 'fcgi-tcp'])
def test_hello(world, kind):
    """The response as it is, the exit code of a script that has answered, over both kinds of sockets."""
    server = Transport(world, kind).serve(HELLO)
    direct = server.request()
    got = relay_to(world, server.address).request()
    assert (got.status, got.headers, got.body, got.exit_code, got.stderr) == (200, direct.headers, b'hello', 0, b'')


def test_variables(world, fcgi_unix):
    """All of the environment arrives, as in a CGI process; what the application logs goes to stderr; --set changes a
    variable."""
    server = fcgi_unix(ENVIRON)
    server.allow_log('written to the error stream')
    cgi = relay_to(world, server.address, '--set', 'REMOTE_USER=eve', '--set', 'ADDED=a=b')
    cgi.allow_log('written to the error stream')
    got = cgi.request('POST', '/a/b', query='x=%20', headers={'X-Name': 'v'}, body=b'body',
                      params={'REMOTE_USER': 'adam', 'EMPTY': '', 'LONG': 'l' * 70000})
    assert got.stderr == b'written to the error stream\n' and got.exit_code == 0
    words = json.loads(got.body)
    assert (words['PATH_INFO'], words['QUERY_STRING'], words['HTTP_X_NAME'], words['body']) == ('/a/b', 'x=%20', 'v', 'body')
    assert (words['REMOTE_USER'], words['ADDED'], words['EMPTY']) == ('eve', 'a=b', '')
    assert words['LONG'] == 'l' * 70000 and 'PATH' in words


def test_what_is_sent(relay, backend):
    """One request for the connection, its head and its body; each variable once, and HTTP_PROXY, which libraries would
    take for theirs, not at all (C27)."""
    talk = Talk(fcgi.record(fcgi.STDOUT, 1, OK + b'x') + END)
    cgi = relay(backend(talk))
    exchange = cgi.start('POST', '/', headers={'Proxy': 'evil'}, body=b'12345')
    exchange.write(b'12345')
    assert exchange.response().body == b'x'
    records, used = fcgi.split_records(talk.received)
    assert used == len(talk.received)
    assert records[0][:3] == (fcgi.BEGIN_REQUEST, 1, b'\0\1\0\0\0\0\0\0')
    assert [r.type for r in records[1:]] == [fcgi.PARAMS, fcgi.PARAMS, fcgi.STDIN, fcgi.STDIN]
    assert records[2].content == b'' and records[3].content == b'12345' and records[4].content == b''
    names = [name for name, _ in fcgi.decode_pairs(records[1].content)]
    assert len(names) == len(set(names)) and b'REQUEST_METHOD' in names and b'HTTP_PROXY' not in names


def test_script(world, fcgi_unix):
    """The #! line of a script: nothing in the script is read, and words of the query are no options (C14)."""
    server = fcgi_unix(ENVIRON)
    server.allow_log('written to the error stream')
    script = world.new_path('script', '.cgi')
    script.write_text(f'#!{BINARY} --relay {server.address}\nThis is no Python.\n')
    os.chmod(script, 0o755)
    done = subprocess.run([script, '--version'], env=environment(world, query='--version'), capture_output=True,
                          timeout=20 * SLOW)
    assert done.returncode == 0, done
    assert json.loads(Response(done.stdout).body)['QUERY_STRING'] == '--version'


@pytest.mark.parametrize('method, status', [('GET', '204 No Content'), ('HEAD', '200 OK'), ('GET', '304 Not Modified')])
def test_head_alone(world, fcgi_unix, method, status):
    """A response without a body."""
    _, cgi = serve(world, fcgi_unix, f'''
        def application(environ, start_response):
            start_response({status!r}, [('X-A', '1')])
            return []
    ''')
    got = cgi.request(method)
    assert got.head.startswith(f'Status: {status}\r\n'.encode()) and got.header('X-A') == '1' and got.body == b''


@pytest.mark.parametrize('method, status', [('HEAD', b'200 OK'), ('GET', b'204 No Content'), ('GET', b'304 Not Modified')])
def test_body_where_there_is_none(world, backend, method, status):
    """C13: what the application sends as the body of such a response would be the next response for a client."""
    head = b'Status: ' + status + b'\r\nContent-Type: text/plain\r\n\r\n'
    for name in ('x', 'nph-x'):
        address = backend(Talk(fcgi.record(fcgi.STDOUT, 1, head + b'bo') + fcgi.record(fcgi.STDOUT, 1, b'dy') + END))
        done = subprocess.run([BINARY, '--relay', address], stdin=subprocess.DEVNULL, capture_output=True,
                              env=environment(world, method, script_name='/cgi-bin/' + name), timeout=20 * SLOW)
        assert done.returncode == 0 and status in done.stdout and done.stdout.endswith(b'\r\n\r\n'), done


def test_status_comes_first(relay, backend):
    """Busybox httpd reads it nowhere else; without one, the web server finds it out from the head as it is."""
    head = b'X-A: 1\nLocation: /x\r\nstatus: 301  Moved\r\nX-A: 2\r\n\r\nbody'
    got = relay(backend(Talk(fcgi.record(fcgi.STDOUT, 1, head) + END))).request()
    assert (got.head, got.body) == (b'Status: 301  Moved\r\nX-A: 1\r\nLocation: /x\r\nX-A: 2\r\n\r\n', b'body')
    got = relay(backend(Talk(fcgi.record(fcgi.STDOUT, 1, head.replace(b'status', b'X-S')) + END))).request()
    assert got.head.startswith(b'X-A: 1\r\nLocation: /x\r\nX-S:')


@pytest.mark.parametrize('head, line', [(b'Status: 404 Gone\r\nX: y\r\n\r\n', b'HTTP/1.1 404 Gone\r\n'),
                                        (b'X: y\r\n\r\n', b'HTTP/1.1 200 \r\n')])
def test_nph(world, backend, head, line):
    """C15: a script named nph-* writes a complete HTTP response."""
    address = backend(Talk(fcgi.record(fcgi.STDOUT, 1, head + b'body') + END))
    done = subprocess.run([BINARY, '--relay', address], env=environment(world, script_name='/cgi-bin/nph-x'),
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=20 * SLOW)
    assert (done.stdout, done.returncode) == (line + b'X: y\r\nConnection: close\r\n\r\nbody', 0)


@pytest.mark.parametrize('app_status, code', [(0, 0), (1, 1), (7, 7), (255, 255), (256, 255), (1 << 31, 255)])
def test_exit_code(relay, backend, app_status, code):
    """That of the application, and never 0 for another one."""
    cgi = relay(backend(Talk(fcgi.record(fcgi.STDOUT, 1, OK) +
                             fcgi.record(fcgi.END_REQUEST, 1, app_status.to_bytes(4, 'big') + b'\0' * 4))))
    cgi.exit_codes = {code}
    assert cgi.request().exit_code == code


@pytest.mark.parametrize('cut', [1, 7, 1000])
def test_records_cut_anywhere(relay, backend, cut):
    """Small records, padding, STDERR and management records between them, and small packets."""
    data = OK + bytes(range(256)) * 10
    answer = b''.join(fcgi.record(fcgi.STDOUT, 1, data[i:i + cut], padding=i % 9) +
                      fcgi.record(fcgi.UNKNOWN_TYPE, 0, b'\0' * 8) for i in range(0, len(data), cut))
    answer += fcgi.record(fcgi.STDERR, 1, b'a line\n') + fcgi.record(fcgi.STDOUT, 1) + END

    def talk(self, conn):
        self.read_head(conn)
        for i in range(0, len(answer), 7 * cut + 3):
            conn.sendall(answer[i:i + 7 * cut + 3])
    got = relay(backend(talk)).request()
    assert (got.body, got.stderr, got.exit_code) == (bytes(range(256)) * 10, b'a line\n', 0)


# --- both directions ----------------------------------------------------------------------------------------------------

def test_upload_and_download_at_once(world, fcgi_unix):
    """C4: 50 MB in both directions at the same time, in bounded memory."""
    _, cgi = serve(world, fcgi_unix, ECHO)
    piece, count = os.urandom(MEGABYTE), 50
    exchange = cgi.start('POST', '/', params={'CONTENT_LENGTH': str(count * MEGABYTE)})
    most = 0
    for _ in range(count):
        assert exchange.write(piece, timeout=60)
        most = max(most, memory_of(exchange.pid))
    got = exchange.response(timeout=60)
    assert got.exit_code == 0 and len(got.body) == count * MEGABYTE
    assert hashlib.sha256(got.body).digest() == hashlib.sha256(piece * count).digest()
    assert SANITIZED or most < 16 * MEGABYTE


def memory_of(pid):
    """The most that was resident so far."""
    with open(f'/proc/{pid}/status') as status:
        return int(re.search(r'VmHWM:\s*(\d+) kB', status.read())[1]) * 1024


def test_each_piece_at_once(world, fcgi_unix):
    """Nothing waits for more: each piece of the body comes back before the next one is sent."""
    _, cgi = serve(world, fcgi_unix, ECHO)
    exchange = cgi.start('POST', '/', params={'CONTENT_LENGTH': '60'})
    for i in range(10):
        exchange.write(b'piece%d' % i)
        exchange.wait_for(b'piece%d' % i)
    assert exchange.response().body == b''.join(b'piece%d' % i for i in range(10))


@pytest.mark.parametrize('size', [100_000, 5_000_000])
def test_server_that_sends_all_before_it_reads(world, fcgi_unix, size):
    """C4: the application answers 50 MB and reads nothing, and the web server reads nothing before it has sent the
    body: somebody has to take it."""
    _, cgi = serve(world, fcgi_unix, LARGE)
    exchange = cgi.start('POST', '/', body=b'x' * size)
    os.set_blocking(exchange.stdin, True)
    view = memoryview(b'x' * size)
    while view:
        view = view[os.write(exchange.stdin, view):]
    got = exchange.response(timeout=60)
    assert got.exit_code == 0 and got.body == b'0123456789abcdef' * 4096 * 800


def test_echo_to_a_server_that_sends_all_before_it_reads(world, fcgi_unix):
    """C4: what was set aside meanwhile reaches the application in its order."""
    _, cgi = serve(world, fcgi_unix, ECHO)
    body = os.urandom(3 * MEGABYTE)
    exchange = cgi.start('POST', '/', body=body)
    os.set_blocking(exchange.stdin, True)
    view = memoryview(body)
    while view:
        view = view[os.write(exchange.stdin, view):]
    got = exchange.response(timeout=60)
    assert got.exit_code == 0 and got.body == body


def test_answer_without_reading_the_body(relay, backend):
    """An application that takes no more of the body, and answers later, has answered."""
    begun, go_on = threading.Event(), threading.Event()

    def talk(self, conn):
        conn.recv(100)
        conn.shutdown(socket.SHUT_RD)
        begun.set()
        go_on.wait(20 * SLOW)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, OK + b'no, thank you') + END)
    cgi = relay(backend(talk))
    exchange = cgi.start('POST', '/', body=b'x' * MEGABYTE)
    assert begun.wait(20 * SLOW)
    exchange.write(b'x' * 10_000)
    wait_for(lambda: waiting_bytes(exchange.stdin) == 0, 10, 'the relay to take the body')
    go_on.set()
    exchange.write(b'x' * (MEGABYTE - 10_000))
    got = exchange.response()
    assert got.body == b'no, thank you' and got.exit_code == 0


def waiting_bytes(fd):
    """In a pipe."""
    count = array.array('i', [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def test_no_more_than_the_length(world, relay, backend):
    """C2: what follows the body on stdin stays there."""
    talk = Talk(fcgi.record(fcgi.STDOUT, 1, OK + b'x') + END)
    reader, writer = os.pipe()
    with os.fdopen(reader, 'rb') as stdin, os.fdopen(writer, 'wb') as sender:
        sender.write(b'12345the next request')
        sender.flush()
        done = subprocess.run([BINARY, '--relay', backend(talk)], env=environment(world, 'POST', body=b'12345'),
                              stdin=stdin, capture_output=True, timeout=20 * SLOW)
        assert done.returncode == 0 and os.read(stdin.fileno(), 100) == b'the next request'
    assert fcgi.record(fcgi.STDIN, 1, b'12345') + fcgi.record(fcgi.STDIN, 1) in talk.received


def test_body_shorter_than_its_length(world, fcgi_unix):
    """The application gets the same error as behind a web server that speaks FastCGI."""
    server, cgi = serve(world, fcgi_unix, '''
        def application(environ, start_response):
            try:
                environ['wsgi.input'].read()
            except OSError as error:
                start_response('200 OK', [('Content-Type', 'text/plain')])
                return [str(error).encode()]
    ''')
    exchange = cgi.start('POST', '/', body=b'x' * 1000)
    exchange.write(b'x' * 10)
    exchange.finish_body()
    direct = server.start('POST', '/', body=b'x' * 1000)
    direct.write(b'x' * 10)
    direct.finish_body()
    assert exchange.response().body == direct.response().body != b''


def test_body_that_cannot_be_read(world, backend):
    """The application gets the head, and then the end of the connection instead of that of the body; it may answer."""
    talk = Talk(fcgi.record(fcgi.STDOUT, 1, OK + b'a pity') + END)
    stdin = os.open('/', os.O_RDONLY)       # read() fails: EISDIR
    try:
        done = subprocess.run([BINARY, '--relay', backend(talk)], env=environment(world, 'POST', body=b'12345'),
                              stdin=stdin, capture_output=True, timeout=20 * SLOW)
    finally:
        os.close(stdin)
    assert (done.returncode, done.stdout) == (0, OK + b'a pity'), done
    records, used = fcgi.split_records(talk.received)
    assert used == len(talk.received) and [r.type for r in records] == [fcgi.BEGIN_REQUEST, fcgi.PARAMS, fcgi.PARAMS]


@pytest.mark.parametrize('software, status', [('Apache/2.4', 200), ('Other/1', 411)])
def test_chunked_body(world, fcgi_unix, software, status):
    """C12: a body without a length reaches the application whole, or is refused."""
    server, cgi = serve(world, fcgi_unix, ENVIRON)
    server.allow_log('written to the error stream')
    cgi.allow_log('411|written to the error stream')
    exchange = cgi.start('POST', '/', params={'SERVER_SOFTWARE': software, 'HTTP_TRANSFER_ENCODING': 'chunked',
                                              'CONTENT_LENGTH': None})
    exchange.write(b'x' * 100_000)
    exchange.finish_body()
    got = exchange.response()
    assert got.status == status
    if status == 200:
        assert json.loads(got.body)['body'] == 'x' * 100_000


@pytest.mark.parametrize('options, log', [((), None), (('--limit-body', '50K'), r'413: the body is larger than --limit-body \(50 KiB\)')])
def test_chunked_body_is_measured(relay, backend, options, log):
    """C12: an application behind a relay gets CONTENT_LENGTH for it, since many read no more; --limit-body holds."""
    talk = Talk(fcgi.record(fcgi.STDOUT, 1, OK + b'x') + END)
    cgi = relay(backend(talk), *options)
    if log:
        cgi.expect_log(log)
    exchange = cgi.start('POST', '/', params={'SERVER_SOFTWARE': 'Apache/2.4', 'HTTP_TRANSFER_ENCODING': 'chunked',
                                              'CONTENT_LENGTH': None})
    exchange.write(b'x' * 100_000)
    exchange.finish_body()
    got = exchange.response()
    if log:
        assert got.status == 413 and talk.received == b''
        return
    assert got.status == 200
    records, used = fcgi.split_records(talk.received)
    assert used == len(talk.received)
    params = fcgi.decode_pairs(b''.join(r.content for r in records if r.type == fcgi.PARAMS))
    assert [value for name, value in params if name == b'CONTENT_LENGTH'] == [b'100000']
    assert b''.join(r.content for r in records if r.type == fcgi.STDIN) == b'x' * 100_000


@pytest.mark.parametrize('answer, status', [(fcgi.record(fcgi.END_REQUEST, 1, b'\0\0\0\0\x02\0\0\0'), 503), (b'', 502)])
def test_chunked_body_is_refused(relay, backend, answer, status):
    """C12: more of it than one record is still here when the application refuses the request."""
    cgi = relay(backend(Talk(answer)))
    cgi.exit_codes = {1}
    cgi.expect_log('--relay: ')
    exchange = cgi.start('POST', '/', params={'SERVER_SOFTWARE': 'Apache/2.4', 'HTTP_TRANSFER_ENCODING': 'chunked',
                                              'CONTENT_LENGTH': None})
    exchange.write(b'x' * 300_000)
    exchange.finish_body()
    assert exchange.response().status == status


# --- what goes wrong ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('answer, status, message', [
    (b'', 502, 'the connection ended before the answer did'),
    (fcgi.record(fcgi.STDERR, 1, b'a line\n'), 502, 'the connection ended before the answer did'),
    (fcgi.record(fcgi.STDOUT, 1, OK[:-2]), 502, 'the connection ended before the answer did'),
    (END, 502, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'no head\r\n\r\n') + END, 502, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'X: ' + b'y' * 60000) * 20 + END, 502, 'larger than the client takes'),
    (b'HTTP/1.1 400 Bad Request\r\n\r\n', 502, 'what it sends is not FastCGI'),
    (fcgi.record(fcgi.STDOUT, 2, OK) + END, 502, 'what it sends is not FastCGI'),
    (fcgi.record(fcgi.END_REQUEST, 1, b'\0\0\0\0\x02\0\0\0'), 503, 'it is overloaded'),
    (fcgi.record(fcgi.END_REQUEST, 1, b'\0\0\0\0\x03\0\0\0'), 503, 'it is not a responder'),
], ids=range(10))
def test_no_response(relay, backend, answer, status, message):
    """C16: the client gets a page with the id of the one line in the log; the exit code is that of any failure."""
    cgi = relay(backend(Talk(answer)))
    cgi.exit_codes = {1}
    cgi.expect_log('error: ' + r'.*' + re.escape(message))
    got = cgi.request()
    assert got.status == status and got.exit_code == 1
    lines = [line for line in got.stderr.decode().splitlines() if line != 'a line']
    assert len(lines) == 1 and '--relay: ' in lines[0]
    assert re.search(r'error: \[(\w+)\]', lines[0])[1].encode() in got.body


@pytest.mark.parametrize('kind', ['unix', 'tcp', 'none'])
def test_nobody_listens(world, relay, kind):
    """C16: 503 at once, and the body is taken in, so that the page arrives."""
    if kind == 'none':
        address = world.new_path('none')
    else:
        sock, address = listening_socket(kind, world.new_path('sock') if kind == 'unix' else None)
        sock.close()
    cgi = relay(address)
    cgi.exit_codes = {1}
    cgi.expect_log('error: .*--relay: .*is the server running?')
    exchange = cgi.start('POST', '/', body=b'x' * 300_000)
    assert exchange.write(b'x' * 300_000)
    got = exchange.response()
    assert (got.status, got.reason, got.exit_code) == (503, 'Service Unavailable', 1)


def test_not_accepted(world, relay):
    """An application whose queue is full, and stays so: 503 after --timeout's 5 s, no request."""
    sock, address = listening_socket('unix', world.new_path('sock'), backlog=0)
    with sock, fcgi.Connection(address):
        cgi = relay(address)
        cgi.exit_codes = {1}
        cgi.expect_log('no answer within 5000 ms')
        assert cgi.request(timeout=20).status == 503


@pytest.mark.parametrize('rest', [b'', b'HTTP/1.1 '])
def test_response_breaks_off(relay, backend, rest):
    """What has come is passed on; then there is only the exit code to say that it is not all."""
    cgi = relay(backend(Talk(fcgi.record(fcgi.STDOUT, 1, OK + b'half') + rest)))
    cgi.exit_codes = {1}
    cgi.expect_log('--relay: ')
    got = cgi.request()
    assert (got.status, got.body, got.exit_code) == (200, b'half', 1)
    assert got.stderr.count(b'\n') == 1


def test_application_breaks_off(world, fcgi_unix):
    """The application's own line is enough: the same exit code and the same log as without a relay."""
    _, cgi = serve(world, fcgi_unix, '''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'half'
            raise LookupError('broken half way')
    ''')
    cgi.exit_codes = {1}
    cgi.expect_log('LookupError: broken half way')
    cgi.allow_log('Traceback|raised LookupError')
    got = cgi.request()
    assert (got.body, got.exit_code) == (b'half', 1) and b'--relay' not in got.stderr


def test_killed_application(world, fcgi_unix, relay):
    """kill -9 of the application in the middle of its response."""
    server = fcgi_unix('''
        import os, signal
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'x' * 100_000
            os.kill(os.getpid(), signal.SIGKILL)
    ''')
    cgi = relay(server.address)
    cgi.exit_codes = {1}
    cgi.expect_log('--relay: ')
    got = cgi.request()
    assert got.status == 200 and got.exit_code == 1 and len(got.body) <= 100_000
    server.process.exit_codes = {-9}
    server.process.wait(5)
    server.log_is_whole = False


def test_server_closes_the_response(relay, backend):
    """C23: the application's connection ends, so that it can stop; the exit code is not 0, and one line says so."""
    ended = threading.Event()

    def talk(self, conn):
        self.read_head(conn)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, OK))
        try:
            while True:
                conn.sendall(fcgi.record(fcgi.STDOUT, 1, b'x' * 10_000))
        except OSError:
            ended.set()
    cgi = relay(backend(talk))
    cgi.exit_codes = {1}
    cgi.allow_log('the client went away')
    exchange = cgi.start()
    exchange.wait_for(b'xxx')
    assert exchange.disconnect() == 1
    assert ended.wait(10 * SLOW)
    assert exchange.stderr.count(b'\n') == 1 and b'the client went away' in exchange.stderr


@pytest.mark.parametrize('head', [b'Content-Length: 5', b'content-length:  5 '])
def test_server_that_counts_the_bytes(relay, backend, head):
    """C23: lighttpd sends SIGTERM once it has Content-Length bytes; the request still comes to its end and to its line in
    the access log."""
    go_on = threading.Event()

    def talk(self, conn):
        self.read_head(conn)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, b'Status: 200 OK\r\n' + head + b'\r\n\r\n') +
                     fcgi.record(fcgi.STDOUT, 1, b'12345'))
        go_on.wait(20 * SLOW)
        conn.sendall(END)
    cgi = relay(backend(talk), '--access-log', '-')
    exchange = cgi.start()
    exchange.wait_for(b'12345')
    os.kill(exchange.pid, signal.SIGTERM)
    go_on.set()
    got = exchange.response()
    assert got.exit_code == 0 and re.search(rb'"GET / HTTP/1.1" 200 5 ', got.stderr)


def test_stopped_by_the_server(relay, backend):
    """C23: SIGTERM before the last byte ends it at once, and the application's connection with it."""
    ended = threading.Event()

    def talk(self, conn):
        self.read_head(conn)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, b'Content-Length: 6\r\n\r\n12345'))
        if conn.recv(1) == b'':
            ended.set()
    cgi = relay(backend(talk))
    cgi.exit_codes = {-signal.SIGTERM}
    exchange = cgi.start()
    exchange.wait_for(b'12345')
    os.kill(exchange.pid, signal.SIGTERM)
    assert exchange.response().exit_code == -signal.SIGTERM and ended.wait(10 * SLOW)


def test_server_that_does_not_read(relay, backend):
    """The application is held up, and nothing grows."""
    sent, stuck = [0], threading.Event()

    def talk(self, conn):
        self.read_head(conn)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, OK))
        conn.settimeout(0.5 * SLOW)
        record = fcgi.record(fcgi.STDOUT, 1, b'x' * 10_000)
        try:
            while sent[0] < 200 * MEGABYTE:
                conn.sendall(record)
                sent[0] += len(record)
        except OSError:
            stuck.set()
    cgi = relay(backend(talk))
    cgi.exit_codes = {1}
    cgi.allow_log('--relay: ')
    exchange = cgi.start()
    assert stuck.wait(30 * SLOW) and sent[0] < 5 * MEGABYTE
    got = exchange.response()
    assert got.exit_code == 1 and got.body.startswith(b'xxx')


def test_closed_stdout(world, fcgi_unix):
    """C24: a response that goes nowhere is a failure, not a success."""
    server, _ = serve(world, fcgi_unix, HELLO)
    done = subprocess.run([BINARY, '--relay', server.address], env=environment(world), stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, timeout=20 * SLOW, preexec_fn=lambda: os.close(1))
    assert done.returncode == 1 and done.stderr.count(b'\n') == 1


@pytest.mark.parametrize('option, request_, status', [
    ('--limit-body=100', {'method': 'POST', 'body': b'x' * 200}, 413),
    ('--limit-vars=20', {'headers': {f'X-{i}': '1' for i in range(30)}}, 431)])
def test_limits(world, fcgi_unix, option, request_, status):
    """Those of the relay, before the application gets anything."""
    server = fcgi_unix(HELLO, '--access-log', '-')
    cgi = relay_to(world, server.address, option)
    cgi.allow_log(str(status))
    assert cgi.request(**request_).status == status
    assert relay_to(world, server.address).request(**request_).status == 200
    assert len(re.findall('HTTP/1.1" ', server.logged)) == 1


def test_log_file(world, relay, backend):
    """--log-file gets the lines of the application, too, in its form."""
    log = world.new_path('log')
    cgi = relay(backend(Talk(fcgi.record(fcgi.STDERR, 1, b'a line\n') + fcgi.record(fcgi.STDOUT, 1, OK) + END)),
                '--log-file', str(log))
    assert cgi.request().stderr == b''
    assert re.fullmatch(rf'{STAMP} wsgi-cgi\[\d+\]: output: \[\w{{12}}\] a line\n', log.read_text()), log.read_text()


def test_access_log(relay, backend):
    """The line of the request has the status and the length of the response that was passed on."""
    head = b'Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\n'
    cgi = relay(backend(Talk(fcgi.record(fcgi.STDOUT, 1, head + b'12345') + END)), '--access-log', '-')
    assert re.search(rb'"GET / HTTP/1.1" 404 5 ', cgi.request().stderr)
    cgi = relay(backend(Talk(fcgi.record(fcgi.STDOUT, 1, head + b'123'))), '--access-log', '-')
    cgi.exit_codes = {1}
    cgi.expect_log('--relay: ')
    assert re.search(rb'"GET / HTTP/1.1" 404 3 ', cgi.request().stderr)


# --- options ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('words, message', [
    (['--relay', '/x', '--check'], '--check: there is no application to load with --relay; wsgi-cgi --ping /x asks'),
    (['--relay', '/x', '--bind', '@y'], '--relay: it is for CGI; here --bind names a socket to listen on'),
    (['--relay', '/x'], 'no socket to listen on and no CGI request'),
    (['--relay', ''], '--relay: invalid value "": expected unix:PATH'),
])
def test_refused_options(run, words, message):
    """Where it makes no sense."""
    finished = run(*words)
    assert finished.code == 64 and message in finished.stderr, finished


@pytest.mark.parametrize('option, message', [
    (['--user', 'nobody'], '--user is for FastCGI'), (['--relay', 'no:such:address'], 'no:such:address')])
def test_refused_in_cgi(relay, backend, option, message):
    """C16: these, too, give a page."""
    cgi = relay('@nobody', *option)
    cgi.exit_codes = {1, 64}
    cgi.expect_log('error: .*' + message)
    got = cgi.request()
    assert got.status in (500, 503) and got.exit_code in (1, 64)


def test_explain(world, run):
    """--explain says where requests go."""
    assert b'relay to: /run/app.sock\n' in run('--relay', '/run/app.sock', '--explain',
                                               env={'REQUEST_METHOD': 'GET'}).stdout


# --- what it costs ------------------------------------------------------------------------------------------------------

@traced
@pytest.mark.skipif(SANITIZED, reason='sanitizers make system calls and memory of their own')
def test_system_calls(world, fcgi_unix):
    """From the connection to the end: one call to send, one to receive, one to write; nothing of Python is opened."""
    server, _ = serve(world, fcgi_unix, HELLO)
    trace = world.new_path('trace')
    done = subprocess.run(['strace', '-o', trace, BINARY, '--relay', server.address], env=environment(world),
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=20 * SLOW)
    assert done.returncode == 0, done
    lines = trace.read_text().splitlines()
    calls = [line.partition('(')[0] for line in lines]
    after = [c for c in calls[calls.index('connect'):] if c != 'fcntl']
    # The two are for SIGTERM, which may come with the last byte.
    assert after == ['connect', 'sendto', 'poll', 'recvfrom', 'rt_sigaction', 'rt_sigaction', 'writev', 'close', 'close', 'close', 'exit_group',
                     '+++ exited with 0 +++'], lines
    opened = [line for line in lines if line.startswith('openat') and '= -1 ' not in line]
    assert all('.so' in line for line in opened), opened


@pytest.mark.skipif(SANITIZED, reason='sanitizers make system calls and memory of their own')
def test_page_faults(world, fcgi_unix, monkeypatch):
    """As cheap as the other commands that need no Python."""
    version = subprocess.run([BINARY, '--version'], capture_output=True, text=True, check=True).stdout
    if 'shared libpython' in version:
        pytest.skip('the dynamic linker writes to the data of a shared libpython')
    server, _ = serve(world, fcgi_unix, HELLO)
    for name, value in environment(world).items():
        monkeypatch.setenv(os.fsdecode(name), os.fsdecode(value))
    assert page_faults(BINARY, '--relay', server.address) < page_faults('true') + 120


def test_many_at_once(world, fcgi_unix):
    """Forty processes relay to two threads: each gets its own response."""
    server, cgi = serve(world, fcgi_unix, ENVIRON, '--threads', '2')
    server.allow_log('written to the error stream')
    cgi.allow_log('written to the error stream')
    exchanges = [cgi.start(query=f'n={i}') for i in range(40)]
    for i, exchange in enumerate(exchanges):
        assert json.loads(exchange.response().body)['QUERY_STRING'] == f'n={i}'
    wait_for(lambda: server.request().status == 200, 5, 'a request afterwards')
