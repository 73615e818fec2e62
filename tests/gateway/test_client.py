"""The client in the program: --ping, --status, --request, against our own server and against peers that misbehave."""

import fcntl
import hashlib
import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import listening_socket
from settings import BINARY, SLOW

# Says what it got.
ECHO = '''
    import json, sys
    def application(environ, start_response):
        body = environ['wsgi.input'].read()
        words = {k: v for k, v in environ.items() if isinstance(v, str)}
        words['body'] = body.decode('latin-1')
        environ['wsgi.errors'].write('written to the error stream\\n')
        start_response(environ.get('HTTP_X_STATUS', '200 OK'),
                       [('Content-Type', 'application/json'), ('X-Two', '1'), ('X-Two', '2')])
        return [json.dumps(words).encode()]
'''
OK = b'Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n'
END = fcgi.record(fcgi.END_REQUEST, 1, b'\0' * 8)


def address_of(server):
    """As the command line wants it."""
    return server.address if isinstance(server.address, str) else '%s:%d' % server.address


def split(output):
    """(status line, header lines, body) of what --request prints."""
    head, _, body = output.partition(b'\n\n')
    lines = head.decode('latin-1').split('\n')
    return lines[0], lines[1:], body


# --- --ping -------------------------------------------------------------------------------------------------------

def test_ping(fcgi_server, run):
    """One line with the time it took."""
    server = fcgi_server(HELLO)
    finished = run('--ping', address_of(server))
    assert (finished.code, finished.stderr) == (0, '')
    assert re.fullmatch(rf'pong from {re.escape(address_of(server))} in \d+\.\d{{3}} ms\n', finished.stdout.decode())


def test_ping_path(fcgi_unix, run):
    """With --ping-path a request: 2xx is alive, all else is not."""
    server = fcgi_unix(ECHO, '--ping-path', '/ping')
    assert run('--ping', server.address, '--ping-path', '/ping').code == 0
    finished = run('--ping', server.address, '--ping-path', '/x', '-H', 'X-Status: 503 Busy')
    assert finished.code == 69 and 'the answer to /x is 503 Busy; does the server have the same --ping-path?' in finished.stderr
    assert finished.stdout == b''


def test_ping_control_while_busy(fcgi_unix, world, run):
    """A thread that works does not answer, but the control socket does."""
    control = world.new_path('control')
    server = fcgi_unix(ECHO, '--control', control)
    server.allow_log('written to the error stream')
    hog = server.connect()
    hog.send(fcgi.head(server.params(content_length=5)))    # the application waits for a body that does not come
    wait_for(lambda: b'"active requests":1' in run('--status', control, '--json').stdout, 5, 'the busy thread')
    assert run('--ping', server.address, '--timeout', '300ms').code == 69
    assert run('--ping', control).code == 0
    hog.send(fcgi.stream(fcgi.STDIN, 1, b'12345'))
    assert hog.response().status == 200
    assert run('--ping', server.address).code == 0


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_ping_nobody(world, run, kind):
    """Nobody there: told at once."""
    sock, address = listening_socket(kind, world.new_path('sock') if kind == 'unix' else None)
    sock.close()
    began = time.monotonic()
    finished = run('--ping', address if kind == 'unix' else '%s:%d' % address)
    assert finished.code == 69 and 'nobody listens there; is the server running?' in finished.stderr and finished.stdout == b''
    assert finished.stderr.count('\n') == 1
    assert time.monotonic() - began < 4 * SLOW
    assert 'no such socket; is the server running?' in run('--ping', world.new_path('none')).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can become another user')
def test_ping_as_another_user(fcgi_unix, run):
    """A socket that this user may not connect to: which user, and which file."""
    server = fcgi_unix(HELLO)
    os.chmod(server.address, 0o600)
    finished = run('--ping', server.address, cwd='/', user=65534, group=65534, extra_groups=[])
    assert finished.code == 69 and re.search(r'\(uid 65534\) may not (enter|write to) /', finished.stderr), finished


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
@pytest.mark.parametrize('question', [['--ping'], ['--ping', '--ping-path=/p'], ['--status']])
def test_hanging_backend(backend, run, kind, question):
    """It accepts and says nothing: exit 69 when --timeout is over, not before, not much later."""
    address = backend(lambda self, conn: self.read_head(conn) or conn.recv(1), kind)
    began = time.monotonic()
    finished = run(question[0], address, '--timeout', '400ms', *question[1:])
    took = time.monotonic() - began
    assert finished.code == 69 and 'no answer within 400 ms' in finished.stderr, finished
    assert 0.4 <= took < 0.4 + 2 * SLOW


@pytest.mark.parametrize('question', [['--ping'], ['--ping', '--ping-path=/p'], ['--status']])
def test_dripping_backend(backend, run, question):
    """A byte now and then is no answer: for these two the time is for the whole."""
    def drip(self, conn):
        record = (fcgi.GET_VALUES_RESULT, 0) if question == ['--ping'] else (fcgi.STDOUT, 1)
        for byte in fcgi.record(*record, b'x' * 200):
            conn.sendall(bytes([byte]))
            time.sleep(0.05)
    began = time.monotonic()
    finished = run(question[0], backend(drip), '--timeout', '500ms', *question[1:])
    assert finished.code == 69 and 'no answer within 500 ms' in finished.stderr, finished
    assert time.monotonic() - began < 0.5 + 2 * SLOW


@pytest.mark.parametrize('what', ['management', 'errors', 'empty'])
@pytest.mark.parametrize('question', [['--ping', '--ping-path=/p'], ['--status']])
def test_flooding_backend(backend, run, question, what):
    """Nor are records without end that belong to no answer, however fast they come."""
    piece = {'management': fcgi.record(fcgi.UNKNOWN_TYPE, 0, b'\0' * 8), 'empty': fcgi.record(fcgi.STDOUT, 1),
             'errors': fcgi.record(fcgi.STDERR, 1, b'x' * 1000)}[what] * 1000

    def flood(self, conn):
        while True:
            conn.sendall(piece)
    began = time.monotonic()
    finished = run(question[0], backend(flood), '--timeout', '300ms', *question[1:])
    assert finished.code == 69 and 'no answer within 300 ms' in finished.stderr, finished
    assert time.monotonic() - began < 0.3 + 2 * SLOW


def test_full_queue(world, run):
    """A backend that does not even accept: connect() waits, and is bounded."""
    sock, address = listening_socket('unix', world.new_path('sock'), backlog=0)
    with sock:
        first = socket.socket(socket.AF_UNIX)
        with first:
            first.connect(address)
            began = time.monotonic()
            finished = run('--ping', address, '--timeout', '300ms')
            assert finished.code == 69 and 'no answer within 300 ms' in finished.stderr
            assert 0.3 <= time.monotonic() - began < 0.3 + 2 * SLOW


@pytest.mark.parametrize('answer, message', [
    (b'HTTP/1.1 400 Bad Request\r\n\r\n', 'what it sends is not FastCGI; is it the port of a web server?'),
    (b'220', 'what it sends is not FastCGI'),
    (b'', 'the connection ended before the answer did'),
    (fcgi.record(fcgi.GET_VALUES_RESULT, 0, b'abc')[:9], 'the connection ended before the answer did'),
    (fcgi.record(fcgi.STDOUT, 1, b'abc'), 'what it sends is not FastCGI'),
])
def test_ping_wrong_answer(backend, run, answer, message):
    """Something else listens there."""
    def talk(self, conn):
        conn.recv(1)
        conn.sendall(answer)
        conn.shutdown(socket.SHUT_WR)
        while conn.recv(4096):
            pass
    finished = run('--ping', backend(talk))
    assert finished.code == 69 and message in finished.stderr


def test_ping_server_without_get_values(backend, run):
    """FCGI_UNKNOWN_TYPE is an answer, too (FastCGI 4.2)."""
    def talk(self, conn):
        data = conn.recv(4096)
        assert data[1] == fcgi.GET_VALUES
        conn.sendall(fcgi.record(fcgi.UNKNOWN_TYPE, 0, bytes([fcgi.GET_VALUES]) + b'\0' * 7))
    assert run('--ping', backend(talk)).code == 0


# --- --status ------------------------------------------------------------------------------------------------------

def test_status(fcgi_unix, world, run):
    """Text for people, JSON for programs; from the control socket or any that serves the page."""
    control = world.new_path('control')
    server = fcgi_unix(HELLO, '--control', control, '--status-path', '/state')
    server.request()
    for where in [control], [server.address, '--status-path', '/state']:
        finished = run('--status', *where)
        assert finished.code == 0 and re.search(rf'^pid: +{server.pid}$', finished.stdout.decode(), re.MULTILINE)
        finished = run('--status', *where, '--json')
        assert finished.code == 0 and json.loads(finished.stdout)['processes'][0]['pid'] == server.pid


def test_status_of_something_else(fcgi_unix, run):
    """An application that answers 200 to everything is not taken for a status page."""
    server = fcgi_unix(ECHO)
    finished = run('--status', server.address)
    assert finished.code == 69 and '/status is not a status page: its type is application/json, not text/plain' in \
        finished.stderr
    assert 'the server needs --status-path /status, or --control ADDR' in finished.stderr
    finished = run('--status', server.address, '-H', 'X-Status: 404 Not Found')
    needs = '; the server needs --status-path /status, or --control ADDR, where any path is the status page\n'
    assert finished.code == 69 and f'the answer to /status is 404 Not Found{needs}' in finished.stderr
    finished = run('--status', server.address, '--status-path', '/state', '-H', 'X-Status: 404 Not Found')
    assert finished.code == 69 and needs.replace('/status', '/state') in finished.stderr
    assert finished.stdout == b''


@pytest.mark.parametrize('words, type_, start', [([], 'text/plain', 'pool:'),
                                                 (['--json'], 'application/json', '{"pool":')])
def test_status_from_the_application(fcgi_unix, run, words, type_, start):
    """The socket of the application instead of the control socket: its answer is no status page, of whatever type."""
    server = fcgi_unix(f'''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', {type_!r})])
            return [b'["hello"]']
    ''')
    finished = run('--status', server.address, *words)
    assert (finished.code, finished.stdout) == (69, b'')
    assert f'/status is not a status page: it does not begin with {start}; the server needs --status-path /status, ' \
        'or --control ADDR' in finished.stderr


def test_empty_status(backend, run):
    """200 and the right type, and nothing else."""
    finished = run('--status', backend(fcgi.record(fcgi.STDOUT, 1, OK) + END))
    assert finished.code == 69 and 'is not a status page: it is empty; the server needs --status-path' in finished.stderr
    assert finished.stdout == b''


def test_endless_status(backend, run):
    """A page larger than any is the backend's fault, and not kept in memory."""
    def talk(self, conn):
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, b'Content-Type: text/plain\r\n\r\n'))
        while True:
            conn.sendall(fcgi.record(fcgi.STDOUT, 1, b'x' * 60000) * 20)
    finished = run('--status', backend(talk), '--timeout', '20s')
    assert finished.code == 69 and 'larger than the client takes' in finished.stderr and finished.stdout == b''


# --- --request -----------------------------------------------------------------------------------------------------

def test_request(fcgi_server, run):
    """The response on stdout, the error stream on stderr, the variables of a web server."""
    server = fcgi_server(ECHO)
    finished = run('--request', address_of(server), 'GET', '/a%20b/%C3%A9?x=%20&y', '-H', 'X-Name:  va lue ',
                   '-H', 'Host: example.org', '--set', 'REMOTE_ADDR=10.0.0.1', '--set', 'EXTRA=1')
    assert finished.code == 0 and finished.stderr == 'written to the error stream\n'
    status, headers, body = split(finished.stdout)
    assert status == 'Status: 200 OK'
    assert headers[0] == 'Content-Type: application/json' and headers.count('X-Two: 1') == 1
    assert not [line for line in headers if line.startswith('Status')]
    got = json.loads(body)
    want = {'REQUEST_METHOD': 'GET', 'SCRIPT_NAME': '', 'PATH_INFO': '/a b/\xc3\xa9', 'QUERY_STRING': 'x=%20&y',
            'REQUEST_URI': '/a%20b/%C3%A9?x=%20&y', 'HTTP_X_NAME': 'va lue', 'HTTP_HOST': 'example.org',
            'SERVER_NAME': 'localhost', 'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1',
            'REMOTE_ADDR': '10.0.0.1', 'EXTRA': '1', 'GATEWAY_INTERFACE': 'CGI/1.1', 'body': ''}
    assert {name: got.get(name) for name in want} == want
    assert 'CONTENT_LENGTH' not in got


@pytest.mark.parametrize('status, code', [('200 OK', 0), ('204 No Content', 0), ('302 Found', 0), ('404 Not Found', 1),
                                          ('500 Oops', 1), ('399 Odd', 0), ('400 Bad', 1)])
def test_exit_code(fcgi_unix, run, status, code):
    """0 for 2xx and 3xx, else 1."""
    server = fcgi_unix(ECHO)
    finished = run('--request', server.address, 'GET', '/', '-H', f'X-Status: {status}')
    assert finished.code == code and split(finished.stdout)[0] == f'Status: {status}'


def test_options_on_both_sides(fcgi_unix, run):
    """Options may stand before METHOD PATH and behind them, and nowhere else a word."""
    server = fcgi_unix(ECHO)
    for words in (['-H', 'A: 1', 'GET', '/'], ['GET', '/', '-H', 'A: 1'], ['GET', '/', '--header=A: 1']):
        finished = run('--request', server.address, *words)
        assert finished.code == 0 and json.loads(split(finished.stdout)[2])['HTTP_A'] == '1'
    for words in ([], ['GET'], ['GET', '/', 'app.py'], ['GET', '/', '--nonsense']):
        assert run('--request', server.address, *words).code == 64
    for question in '--ping', '--status':
        assert run(question, server.address, 'app.py').code == 64


@pytest.mark.parametrize('source', ['file', 'stdin file', 'pipe'])
@pytest.mark.parametrize('size', [0, 5, 32768, 32769, 3_000_000])
def test_body(fcgi_unix, run, tmp_path, source, size):
    """Whole, with its length, from a file, a redirected file or a pipe."""
    server = fcgi_unix('''
        import hashlib
        def application(environ, start_response):
            body = environ['wsgi.input'].read()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [f"{environ['CONTENT_LENGTH']} {hashlib.sha256(body).hexdigest()}".encode()]
    ''')
    data = os.urandom(size)
    file = tmp_path / 'data'
    file.write_bytes(data)
    words = ['--request', server.address, 'POST', '/', '--data-file']
    if source == 'file':
        finished = run(*words, file)
    elif source == 'pipe':
        finished = run(*words, '-', stdin=data)
    else:
        with open(file, 'rb') as stdin:
            finished = run(*words, '-', stdin=stdin)
    assert finished.code == 0, finished
    assert split(finished.stdout)[2].decode() == f'{size} {hashlib.sha256(data).hexdigest()}'


def test_body_that_is_answered_before_it_is_read(fcgi_unix, run, tmp_path):
    """The response comes, although the body is not wanted."""
    server = fcgi_unix(HELLO, '--limit-body', '1k')
    file = tmp_path / 'data'
    file.write_bytes(b'x' * 5_000_000)
    finished = run('--request', server.address, 'POST', '/', '--data-file', file)
    assert finished.code == 1 and split(finished.stdout)[0].startswith('Status: 413')


def test_large_response(fcgi_unix, run):
    """As it comes, to the last byte, longer than one --timeout where bytes keep coming."""
    server = fcgi_unix('''
        import time
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'application/octet-stream')])
            for i in range(8):
                yield bytes([i]) * 500_000
                time.sleep(0.1)
    ''')
    finished = run('--request', server.address, 'GET', '/', '--timeout', '500ms')
    assert finished.code == 0 and split(finished.stdout)[2] == b''.join(bytes([i]) * 500_000 for i in range(8))


@pytest.mark.parametrize('words, message', [
    (['GET', 'x'], 'invalid path \"x"'), (['GET', ''], 'invalid path \""'), (['GET', '/%zz'], 'invalid path \"/%zz"'),
    (['GET', '/%4'], 'invalid path'), (['GET', '/%00'], 'invalid path'), (['GET', '/a b'], 'invalid path'),
    (['GET', '/#x'], 'invalid path'), (['GET', '/\n'], 'invalid path'), (['G T', '/'], 'invalid method "G T"'),
    (['', '/'], 'invalid method ""'), (['GET', '/', '-H', 'X'], '--header: invalid value "X"'),
    (['GET', '/', '-H', ': y'], '--header'), (['GET', '/', '-H', 'X y: z'], '--header'),
    (['GET', '/', '-H', 'X: a\r\nY: b'], '--header')])
def test_wrong_words(run, words, message):
    """Told before anything is sent."""
    finished = run('--request', '/nowhere', *words)
    assert finished.code == 64 and message in finished.stderr, finished


def test_wrong_files(run, tmp_path):
    """A body that is not there."""
    for path in tmp_path / 'none', tmp_path:
        finished = run('--request', '/nowhere', 'POST', '/', '--data-file', path)
        assert finished.code == 66 and f'--data-file: {path}: ' in finished.stderr


def test_silent_fifo(run, tmp_path):
    """Nor a named one that nobody has opened for writing."""
    os.mkfifo(tmp_path / 'fifo')
    finished = run('--request', '/nowhere', 'POST', '/', '--data-file', tmp_path / 'fifo', '--timeout', '200ms')
    assert finished.code == 66 and 'no data within --timeout' in finished.stderr


def test_fifo(fcgi_unix, run, tmp_path):
    """What comes later through a named pipe is the whole body."""
    server = fcgi_unix(ECHO)
    server.allow_log('written to the error stream')
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(b'body' * 50_000,))
    writer.start()
    finished = run('--request', server.address, 'POST', '/', '--data-file', fifo)
    writer.join()
    assert finished.code == 0 and json.loads(split(finished.stdout)[2])['body'] == 'body' * 50_000


def test_silent_pipe(run):
    """A pipe in which nothing comes does not hold it for ever."""
    reader, writer = os.pipe()
    with os.fdopen(reader, 'rb') as stdin, os.fdopen(writer, 'wb'):
        finished = run('--request', '/nowhere', 'POST', '/', '--data-file', '-', '--timeout', '200ms', stdin=stdin)
    assert finished.code == 66 and 'no data within --timeout' in finished.stderr


@pytest.mark.parametrize('answer, message', [
    (fcgi.record(fcgi.STDOUT, 1, OK + b'half'), 'the connection ended before the answer did'),
    (fcgi.record(fcgi.STDOUT, 1, OK + b'half') + bytes(8), 'the connection ended before the answer did'),
    (fcgi.record(fcgi.STDOUT, 1, OK + b'half') + bytes(8) + END, 'the connection ended before the answer did'),
    (bytes(8), 'not FastCGI'),
    (b'', 'the connection ended before the answer did'),
    (END, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'no head') + END, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'no header line\r\n\r\n') + END, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'Status: oops\r\n\r\n') + END, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'Status: 20\r\n\r\n') + END, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'\r\n\r\n') + END, 'the answer is not a CGI response'),
    (fcgi.record(fcgi.STDOUT, 1, b'X: ' + b'y' * 60000) * 20 + END, 'larger than the client takes'),
    (fcgi.record(fcgi.END_REQUEST, 1, b'\0\0\0\0\x02\0\0\0'), 'it is overloaded'),
    (fcgi.record(fcgi.END_REQUEST, 1, b'\0\0\0\0\x03\0\0\0'), 'it is not a responder'),
    (fcgi.record(fcgi.END_REQUEST, 1, b''), 'not FastCGI'),
    (fcgi.record(fcgi.STDOUT, 2, OK), 'not FastCGI'),
    (b'HTTP/1.1 400 Bad Request\r\n\r\n', 'not FastCGI'),
])
def test_wrong_answers(backend, run, answer, message):
    """Exit 69 with the reason; never taken for a whole answer."""
    finished = run('--request', backend(answer), 'GET', '/')
    assert finished.code == 69 and message in finished.stderr, finished
    assert finished.stderr.count('\n') == 1


def test_hang_in_the_middle(backend, run):
    """What came is shown; the rest is waited for once --timeout."""
    def talk(self, conn):
        self.read_head(conn)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, OK + b'half'))
        conn.recv(1)
    finished = run('--request', backend(talk), 'GET', '/', '--timeout', '300ms')
    assert finished.code == 69 and 'no answer within 300 ms' in finished.stderr
    assert split(finished.stdout)[2] == b'half'


@pytest.mark.parametrize('head, status', [
    (b'Status: 201 Made\nX: y\n\n', 'Status: 201 Made'), (b'X: y\r\nStatus: 404\r\n\r\n', 'Status: 404'),
    (b'X: y\r\nLocation: /z\r\n\r\n', 'Status: 302'), (b'X: y\r\n\n', 'Status: 200')])
@pytest.mark.parametrize('cut', [1, 2, 3, 1000])
def test_heads(backend, run, head, status, cut):
    """Line ends of either kind, no Status, records cut anywhere, padding, management records in between."""
    data = head + b'\n\nbody'
    answer = b''.join(fcgi.record(fcgi.STDOUT, 1, data[i:i + cut], padding=i % 9) +
                      fcgi.record(fcgi.UNKNOWN_TYPE, 0, b'\0' * 8) for i in range(0, len(data), cut))
    finished = run('--request', backend(answer + fcgi.record(fcgi.STDOUT, 1) + END), 'GET', '/')
    first, headers, body = split(finished.stdout)
    assert (first, body) == (status, b'\n\nbody') and 'X: y' in headers
    assert finished.code == (1 if '404' in status else 0)


def test_what_is_sent(backend, run):
    """The bytes: BEGIN without KEEP_CONN, PARAMS and STDIN with their ends, long lengths."""
    seen = []

    def talk(self, conn):
        self.read_head(conn)
        seen.append(self.received)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, OK) + END)
    assert run('--request', backend(talk), 'GET', '/', '-H', 'X-Long: ' + 'x' * 70000, '-H', 'X-Short: ' + 'y' * 127,
               '-H', 'X-Edge: ' + 'z' * 128).code == 0
    records, used = fcgi.split_records(seen[0])
    assert used == len(seen[0])
    assert records[0][:3] == (fcgi.BEGIN_REQUEST, 1, b'\0\1\0\0\0\0\0\0')
    assert [r.type for r in records[1:]] == [fcgi.PARAMS] * (len(records) - 2) + [fcgi.STDIN]
    assert records[-2].content == b'' and records[-1].content == b''
    params = dict(fcgi.decode_pairs(b''.join(r.content for r in records if r.type == fcgi.PARAMS)))
    assert params[b'HTTP_X_LONG'] == b'x' * 70000 and params[b'HTTP_X_EDGE'] == b'z' * 128
    assert params[b'HTTP_X_SHORT'] == b'y' * 127


def test_reader_that_takes_its_time(backend, world):
    """--timeout is for the backend: while whoever reads our output pauses, it does not run."""
    paused, go_on = threading.Event(), threading.Event()

    def talk(self, conn):
        self.read_head(conn)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, OK + b'x' * 20_000))
        paused.set()
        go_on.wait(20 * SLOW)
        conn.sendall(fcgi.record(fcgi.STDOUT, 1, b'last') + END)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, 1031, 4096)     # F_SETPIPE_SZ: all that was sent does not fit
    with os.fdopen(reader, 'rb') as output:
        process = subprocess.Popen([BINARY, '--request', backend(talk), 'GET', '/', '--timeout', '1s'],
                                   stdout=writer, stderr=subprocess.PIPE, env=world.env())
        os.close(writer)
        assert paused.wait(20 * SLOW)
        end = time.monotonic() + 1.2
        wait_for(lambda: time.monotonic() > end, 5, 'more than --timeout')
        threading.Timer(0.2, go_on.set).start()
        got = output.read()
    stderr = process.communicate(timeout=20 * SLOW)[1]
    assert process.returncode == 0 and got.endswith(b'xlast'), stderr


def test_closed_stdout(fcgi_unix, world):
    """`| head`: the pipe's end is an error of the output, not a crash."""
    server = fcgi_unix('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for _ in range(200):
                yield b'x' * 100_000
    ''')
    server.allow_log('.*')
    process = subprocess.Popen([BINARY, '--request', server.address, 'GET', '/'], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=world.env())
    assert process.stdout.read(10) == b'Status: 20'
    process.stdout.close()
    stderr = process.stderr.read().decode()
    process.stderr.close()
    assert process.wait(10 * SLOW) == 74 and 'Broken pipe' in stderr
