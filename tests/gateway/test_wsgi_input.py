"""W21-W29: wsgi.input."""

import random
import zlib

import pytest

import fcgi
from apps import ECHO, HELLO
from fcgi import wait_for
from harness import rss

# The client sends a body made from a seed; the application makes the same body again and asks the same of both.
ORACLE = '''
import io, random
def make_body(rng):
    size = rng.choice([0, 1, 7, 100, 8191, 8192, 8193, 70000, rng.randrange(200000)])
    alphabet = rng.choice([b'ab\\n', b'abcdefghijklmnopqrstuvwxyz' * 10 + b'\\n', bytes(range(256)), b'x'])
    return bytes(rng.choices(alphabet, k=size))
def size_of(rng):
    return rng.choice([(), (None,), (-1,), (-7,), (0,), (1,), (2,), (5,), (rng.randrange(300),), (8192,), (8193,),
                       (rng.randrange(100000),), (10 ** 15,)])
def small(rng):
    return rng.choice([(0,), (1,), (2,), (rng.randrange(300),), (8193,)])
def application(environ, start_response):
    seed = int(environ['QUERY_STRING'])
    rng = random.Random(seed)
    oracle, tested = io.BytesIO(make_body(rng)), environ['wsgi.input']
    wrong = []
    for step in range(60):
        size = small(rng) if rng.random() < 0.8 else size_of(rng)
        call = rng.choice([
            lambda f: f.read(*size), lambda f: f.readline(*size), lambda f: f.readlines(*size),
            lambda f: next(f, 'end'), lambda f: [line for line, _ in zip(f, range(3))], lambda f: f.readline(),
            lambda f: f.read(0),
        ])
        wanted, got = call(oracle), call(tested)
        if wanted != got:
            wrong.append((seed, step, size, wanted[:50], got[:50]))
            break
    if not wrong and oracle.read() != tested.read():
        wrong.append((seed, 'the rest'))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr(wrong).encode()]
'''
oracle = {}
exec(ORACLE.split('def size_of')[0], oracle)


def send_in_pieces(exchange, body, rng):
    while body:
        size = rng.choice([1, 100, 5000, 65535, 100000])
        exchange.write(body[:size])
        body = body[size:]
    exchange.finish_body()


@pytest.mark.parametrize('first', range(0, 60, 20))
def test_like_bytesio(fcgi_server, first):
    """W21-W24, W26: any sequence of calls gives what io.BytesIO gives."""
    server = fcgi_server(ORACLE)
    for seed in range(first, first + 20):
        rng = random.Random(seed)
        body = oracle['make_body'](rng)
        exchange = server.start('POST', query=str(seed), body=body)
        send_in_pieces(exchange, body, rng)
        assert exchange.response().body == b'[]'


def test_like_bytesio_cgi(cgi):
    """W21-W24, W26: the same over a pipe."""
    server = cgi.serve(ORACLE)
    for seed in range(100, 115):
        rng = random.Random(seed)
        body = oracle['make_body'](rng)
        exchange = server.start('POST', query=str(seed), body=body)
        send_in_pieces(exchange, body, rng)
        assert exchange.response().body == b'[]'


def test_bad_arguments_like_bytesio(transport):
    """W21: the same exceptions for the same nonsense."""
    server = transport.serve('''
        import io
        def kind(f, name, args):
            try:
                getattr(f, name)(*args)
            except Exception as error:
                return type(error).__name__
        def application(environ, start_response):
            wrong = []
            for name in 'read', 'readline', 'readlines':
                for args in ('x',), (1.5,), (1, 2), (b'',), (10 ** 30,), ([],):
                    pair = kind(io.BytesIO(b'abc'), name, args), kind(environ['wsgi.input'], name, args)
                    if pair[0] != pair[1]:
                        wrong.append((name, args, pair))
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(wrong).encode(), environ['wsgi.input'].read()]
    ''')
    assert server.request('POST', body=b'whole').body == b'[]whole'


def test_file_like_for_the_standard_library(transport):
    """W21: io.BufferedReader and io.TextIOWrapper can be put around it, and collecting them closes nothing."""
    server = transport.serve('''
        import io
        def application(environ, start_response):
            stream = environ['wsgi.input']
            if environ['QUERY_STRING'] == 'text':
                parts = [io.TextIOWrapper(stream, encoding='utf-8').readline().encode()]
            else:
                parts = [io.BufferedReader(stream, 4).readline()]
            into = bytearray(3)
            parts += [bytes(into[:stream.readinto(into)]), stream.read1(4), repr(stream.closed).encode()]
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(parts).encode()]
    ''')
    body = 'ä first\n'.encode() + b'x' * 100000
    assert server.request('POST', body=body).body.startswith(b"[b'\\xc3\\xa4 first\\n', b'")
    assert server.request('POST', query='text', body=body).body.startswith(b"[b'\\xc3\\xa4 first\\n', b'")


@pytest.mark.parametrize('size', [0, 1, 65535, 65536, 5_000_000])
def test_whole_body(transport, size):
    """W21, W22: read() gives all bytes, unaltered."""
    body = random.Random(size).randbytes(size)
    assert transport.serve(ECHO).request('POST', body=body).body == body


EXHAUSTED = '''
def application(environ, start_response):
    f = environ['wsgi.input']
    first = f.read()
    rest = [f.read(), f.read(10), f.readline(), f.readlines(), list(f), f.read1(5), f.readinto(bytearray(5))]
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((first, rest)).encode()]
'''
NOTHING = "[b'', b'', b'', [], [], b'', 0]"


def test_end_again_and_again(transport):
    """W26: at the end b"" every time."""
    server = transport.serve(EXHAUSTED)
    assert server.request('POST', body=b'abc').text == f"(b'abc', {NOTHING})"


def test_get_without_a_body_does_not_wait(transport):
    """W26: no CONTENT_LENGTH, and nobody ends the stream in CGI mode."""
    exchange = transport.serve(EXHAUSTED).start('GET')
    if transport.is_fcgi:
        exchange.finish_body()
    assert exchange.response(timeout=3).text == f"(b'', {NOTHING})"


def test_more_than_content_length(fcgi_server):
    """W25: the body ends at CONTENT_LENGTH; what is behind it is not the next request's."""
    server = fcgi_server(ECHO)
    conn = server.connect()
    exchange = server.start('POST', content_length=3, conn=conn, keep=True)
    exchange.write(b'0123456789')
    exchange.finish_body()
    assert exchange.response().body == b'012'
    if not conn.eof:
        assert server.request('POST', body=b'next', conn=conn, keep=True).body == b'next'
    assert server.request('POST', body=b'other').body == b'other'


def test_more_than_content_length_cgi(cgi):
    """W25: in CGI mode the pipe may hold more."""
    exchange = cgi.serve(ECHO).start('POST', content_length=3)
    exchange.write(b'0123456789')
    assert exchange.response().body == b'012'


def test_short_body_is_an_error(transport):
    """W27: the stream ends before CONTENT_LENGTH: OSError, not the end of a file."""
    exchange = transport.serve(ECHO).start('POST', content_length=1000)
    exchange.write(b'0123456789')
    exchange.finish_body()
    response = exchange.response()
    assert response.status == 502 and response.body == b'OSError'


def test_vanished_client_is_an_error(fcgi_server, tmp_path):
    """W27: the connection ends in the middle of the body."""
    notes = tmp_path / 'notes'
    server = fcgi_server('''
        import os
        def application(environ, start_response):
            got = environ['wsgi.input'].read(10)
            try:
                environ['wsgi.input'].read()
            except ConnectionError as error:
                with open(os.environ['NOTES'], 'w') as f:
                    print(type(error).__name__, got, file=f)
                raise
    ''', env={'NOTES': str(notes)})
    exchange = server.start('POST', content_length=1000)
    exchange.write(b'0123456789')
    exchange.disconnect()
    wait_for(lambda: notes.exists() and notes.read_text().endswith('\n'), what='OSError in the application')
    assert notes.read_text() in ("BrokenPipeError b'0123456789'\n", "ConnectionResetError b'0123456789'\n")
    server.wait_log("info: .*the client went away after 10 bytes of the request's body")
    assert 'Traceback' not in server.logged


def test_abort_is_an_error(fcgi_server, tmp_path):
    """W27: FCGI_ABORT_REQUEST in the middle of the body."""
    notes = tmp_path / 'notes'
    server = fcgi_server('''
        import os
        def application(environ, start_response):
            try:
                environ['wsgi.input'].read()
            except OSError as error:
                with open(os.environ['NOTES'], 'w') as f:
                    f.write(type(error).__name__)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'for nobody']
    ''', env={'NOTES': str(notes)})
    exchange = server.start('POST', content_length=1000)
    exchange.write(b'0123456789')
    exchange.conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
    exchange.response()
    wait_for(lambda: notes.exists() and notes.read_text(), what='OSError in the application')
    assert notes.read_text() == 'ConnectionAbortedError'


@pytest.mark.parametrize('call', ['read()', 'read(20)', 'readline()', 'readlines()', 'list()', 'readinto(bytearray(20))'])
def test_every_method_reports_the_short_body(transport, call):
    """W27: whatever method comes to the cut, and again at the next call."""
    server = transport.serve(f'''
        def application(environ, start_response):
            f, errors = environ['wsgi.input'], []
            for i in range(5):
                try:
                    {'list(f)' if call == 'list()' else 'f.' + call}
                except OSError as error:
                    errors.append(type(error).__name__)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(len(errors) >= 3).encode()]
    ''')
    exchange = server.start('POST', content_length=1000)
    exchange.write(b'0123456789')
    exchange.finish_body()
    assert exchange.response().body == b'True'


def test_uncaught_short_body(transport):
    """W27: an application that lets the error out: no traceback, a 4xx, not a 500."""
    server = transport.serve('''
        def application(environ, start_response):
            environ['wsgi.input'].read()
    ''')
    exchange = server.start('POST', content_length=1000)
    exchange.write(b'0123456789')
    exchange.finish_body()
    assert exchange.response().status == 400
    assert 'Traceback' not in server.logged


def test_body_without_a_length(fcgi_server):
    """W28: FastCGI marks the end: the body is readable to it, and wsgi.input_terminated says so."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(environ.get('wsgi.input_terminated')).encode(), environ['wsgi.input'].read()]
    ''')
    for length in (False, '-1', ''):
        exchange = server.start('POST', content_length=length)
        exchange.write(b'chunk one, ')
        exchange.write(b'chunk two')
        exchange.finish_body()
        assert exchange.response().body == b'Truechunk one, chunk two'


def test_large_body_without_a_length(fcgi_unix):
    """W28: read() grows as the bytes come."""
    body = random.Random(1).randbytes(3_000_000)
    exchange = fcgi_unix(ECHO).start('POST', content_length=False)
    exchange.write(body)
    exchange.finish_body()
    assert exchange.response().body == body


# What Django, bottle and others do: no length, no body.
BY_LENGTH = '''
import zlib
calls = []
def application(environ, start_response):
    calls.append(1)
    length = environ.get('CONTENT_LENGTH')
    try:
        body = environ['wsgi.input'].read(int(length or 0))
    except OSError:
        body = b'OSError'
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((length, len(body), zlib.crc32(body), environ.get('wsgi.input_terminated'),
                  environ['wsgi.input'].read(), len(calls))).encode()]
'''


class Unsized:
    """Begins uploads that the server calls chunked: nginx and Apache by the header, Caddy by a length of -1. Of CGI
    servers only Apache can."""
    apache = {'SERVER_SOFTWARE': 'Apache/2.4 (Debian)'}
    kinds = {
        'nginx': dict(headers={'Transfer-Encoding': 'chunked'}, content_length='', params=apache),
        'apache': dict(headers={'Transfer-Encoding': 'chunked'}, content_length=False, params=apache),
        'caddy': dict(content_length='-1'),
        'http2': dict(content_length=False, params={'SERVER_PROTOCOL': 'HTTP/2.0'}),
    }

    @classmethod
    def start(cls, server, kind, **more):
        return server.start('POST', **cls.kinds[kind], **more)


def check_chunked(server, kind, size, tmp_path):
    before = set(tmp_path.iterdir())
    body = random.Random(size).randbytes(size)
    exchange = Unsized.start(server, kind)
    for piece in (body[:size // 2], body[size // 2:]):
        if piece:
            exchange.write(piece)
    exchange.finish_body()
    assert exchange.response().text == repr((str(size), size, zlib.crc32(body), True, b'', 1))
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize('size, kind', [(size, kind) for size in (0, 1, 300_000, 2 << 20) for kind in Unsized.kinds
                                        if size or kind != 'http2'])
def test_chunked_body_gets_its_length(fcgi_server, kind, size, tmp_path):
    """W28, W20, X5: a body of unknown length, in memory or in a temporary file that has no name, is there for an
    application that reads CONTENT_LENGTH bytes; it saw an empty body."""
    check_chunked(fcgi_server(BY_LENGTH, env={'TMPDIR': str(tmp_path)}), kind, size, tmp_path)


@pytest.mark.parametrize('size', [0, 1, 300_000, 2 << 20])
def test_chunked_body_gets_its_length_over_cgi(cgi, size, tmp_path):
    """W28, X3: the same from mod_cgi and mod_cgid, which end stdin behind the body."""
    check_chunked(cgi.serve(BY_LENGTH, env={'TMPDIR': str(tmp_path)}), 'apache', size, tmp_path)


def test_chunked_body_without_room(transport, tmp_path):
    """W28, C16: where the temporary file cannot be made the client gets a page, and all of it, though most of its body
    is still to come."""
    server = transport.serve(BY_LENGTH, env={'TMPDIR': str(tmp_path / 'nowhere')})
    for _ in range(2):
        exchange = Unsized.start(server, 'apache')
        exchange.write(bytes(2 << 20))
        exchange.finish_body()
        response = exchange.response()
        assert (response.status, response.complete) == (500, True), response
        assert b'body could not be received' in response.body
    server.expect_log('a body of unknown length was not received: No such file or directory')
    exchange = Unsized.start(server, 'apache')
    exchange.write(bytes(100))
    exchange.finish_body()
    assert exchange.response().text.startswith("('100', 100, ")


def test_chunked_bodies_on_one_connection(fcgi_server):
    """W28: neither length nor body are left for the next request, and a GET is not read ahead."""
    server = fcgi_server(BY_LENGTH)
    conn = server.connect()
    for calls in (1, 4):
        for size in (300_000, 5):
            body = bytes(size)
            exchange = Unsized.start(server, 'nginx', conn=conn, keep=True)
            exchange.write(body)
            exchange.finish_body()
            assert exchange.response().text == repr((str(size), size, zlib.crc32(body), True, b'', calls))
            calls += 1
        assert conn.request(server.params(), keep=True).text == repr((None, 0, 0, True, b'', calls))


@pytest.mark.parametrize('protocol', ['HTTP/1.1', 'HTTP/2.0'])
def test_nothing_is_read_ahead_of_a_get(fcgi_server, protocol):
    """W28: without a word about a body the application does not wait for the end of one."""
    server = fcgi_server(HELLO)
    exchange = server.start('GET', content_length=False, params={'SERVER_PROTOCOL': protocol})
    exchange.wait_for(b'hello')
    exchange.finish_body()
    assert exchange.response().body == b'hello'


def test_chunked_body_beyond_the_limit(transport):
    """W28, --limit-body: one byte too many is a 413, and the application is not called."""
    server = transport.serve(BY_LENGTH, '--limit-body', '300k')
    server.allow_log('larger than')
    for size, status in ((300 << 10, 200), ((300 << 10) + 1, 413), (2 << 20, 413)):
        exchange = Unsized.start(server, 'apache')
        exchange.write(bytes(size))
        exchange.finish_body()
        response = exchange.response()
        assert response.status == status and response.complete, size
    exchange = Unsized.start(server, 'apache')
    exchange.finish_body()
    assert exchange.response().text == repr(('0', 0, 0, True, b'', 1 if transport.name == 'cgi' else 2))


@pytest.mark.parametrize('size', [0, 10, 400_000])
@pytest.mark.parametrize('how', ['abort', 'eof'])
def test_chunked_body_cut_short(fcgi_server, how, size):
    """W27, W28, F17, F26: an upload that was cut off is not taken for a whole one: its length is not known, so the
    application is not called. An ABORT is answered by END_REQUEST, and the connection lives on."""
    server = fcgi_server(BY_LENGTH)
    server.allow_log('abort|went away')
    keep = how == 'abort'
    conn = server.connect()
    exchange = Unsized.start(server, 'nginx', conn=conn, keep=keep)
    if size:
        exchange.write(bytes(size))
    if how == 'abort':
        conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
        assert exchange.response().raw == b''
        assert conn.request(server.params(), keep=True).text == repr((None, 0, 0, True, b'', 1))
    else:
        conn.half_close()
        conn.wait_eof()
        assert exchange.stdout == b''
        assert server.request().text == repr((None, 0, 0, True, b'', 1))
    server.wait_log('the web server aborted' if how == 'abort' else "the client went away before the request's whole body")


def test_chunked_body_that_stops(transport):
    """W28, --body-timeout: a chunked upload without another byte is a 408, and the application is not called."""
    server = transport.serve(BY_LENGTH, '--body-timeout', '300ms')
    server.allow_log('in time')
    exchange = Unsized.start(server, 'nginx')
    exchange.write(b'x' * 10)
    assert exchange.response().status == 408
    if transport.is_fcgi:
        assert server.request().text == repr((None, 0, 0, True, b'', 1))


def test_chunked_body_past_the_request_timeout(fcgi_unix):
    """W28, --request-timeout: it counts while a chunked upload is received, and what it ends is no trouble to the next
    request of the thread."""
    server = fcgi_unix(BY_LENGTH, '--request-timeout', '500ms')
    server.allow_log(r'request-timeout|thread 1 of 1|not in Python code')
    exchange = Unsized.start(server, 'nginx')
    exchange.write(b'x' * 10)
    assert exchange.response().status == 504
    assert server.request().text == repr((None, 0, 0, True, b'', 1))


def test_cgi_without_a_length(cgi):
    """W28: in CGI mode the end is not certain, so there is no body and no wsgi.input_terminated."""
    server = cgi.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr((environ.get('wsgi.input_terminated'), environ['wsgi.input'].read())).encode()]
    ''')
    exchange = server.start('POST', content_length=False)
    assert exchange.response(timeout=3).body == b"(None, b'')"


@pytest.mark.parametrize('ask', ['f.readline()', 'next(f)', 'f.read1()', 'f.read(2)', 'f.readline(2)'])
def test_answer_while_the_body_is_coming(transport, ask):
    """W29: what needs two bytes does not wait for a third."""
    server = transport.serve(f'''
        def application(environ, start_response):
            f = environ['wsgi.input']
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield {ask}
            yield f.read()
    ''')
    exchange = server.start('POST', content_length=6)
    exchange.write(b'a\n')
    exchange.wait_for(b'\r\n\r\na\n')
    exchange.write(b'b\nc\n')
    exchange.finish_body()
    assert exchange.response().body == b'a\nb\nc\n'


KEEPER = '''
import sys
kept = {}
def application(environ, start_response):
    def report(name, call):
        try:
            call()
            said.append((name, 'worked'))
        except RuntimeError as error:
            said.append((name, 'RuntimeError'))
    said = []
    if kept:
        f = kept['input']
        for call in (f.read, f.readline, f.readlines, lambda: next(f), f.read1, lambda: f.readinto(bytearray(3)),
                     lambda: kept['start']('200 OK', []), lambda: kept['write'](b'x')):
            report('old', call)
        kept['errors'].write('an old stream still works\\n')
    kept.update(input=environ['wsgi.input'], start=start_response, errors=environ['wsgi.errors'])
    kept['write'] = start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr([what for _, what in said]).encode()]
'''


def test_objects_expire(fcgi_server):
    """What an application keeps of a request cannot touch the next: RuntimeError, never freed memory."""
    server = fcgi_server(KEEPER)
    conn = server.connect()
    assert server.request('POST', body=b'unread', conn=conn, keep=True).body == b'[]'
    for _ in range(2):
        response = server.request('POST', body=b'unread', conn=conn, keep=True)
        assert response.text == repr(['RuntimeError'] * 8)
        assert response.stderr == b'an old stream still works\n'


def test_data_of_a_filter_expires(fcgi_unix):
    """F28: nor can the data of a Filter, though each request of the connection has some."""
    server = fcgi_unix(KEEPER.replace("input=environ['wsgi.input']", "input=environ['wsgi_cgi.data']"))
    conn = server.connect()
    params = server.params('POST', body=b'body', params={'FCGI_DATA_LENGTH': '9'})
    for number, seen in enumerate(([], ['RuntimeError'] * 8, ['RuntimeError'] * 8)):
        response = conn.request(params, b'body', id=number + 1, keep=True, role=fcgi.FILTER, data=b'some data')
        assert response.text == repr(seen)


def test_objects_expire_after_the_response(transport):
    """start_response and write() end with the response, before close(); wsgi.input still works in close()."""
    server = transport.serve('''
        class Body:
            def __init__(self, environ, start_response):
                self.environ, self.start = environ, start_response
            def __iter__(self):
                self.write = self.start('200 OK', [('Content-Type', 'text/plain')])
                yield b'body'
            def close(self):
                for call in (lambda: self.write(b'late'), lambda: self.start('200 OK', []),
                             lambda: self.environ['wsgi.input'].read()):
                    try:
                        print('close:', call())
                    except RuntimeError:
                        print('close: refused')
        def application(environ, start_response):
            return Body(environ, start_response)
    ''')
    response = server.request('POST', body=b'rest')
    assert response.body == b'body'
    server.wait_log("close: refused\nclose: refused\nclose: b'rest'")


def test_two_threads_of_one_request(fcgi_unix):
    """A thread of the application may read; while it does another one gets an error, never half of a buffer."""
    server = fcgi_unix('''
        import threading
        def application(environ, start_response):
            f, seen, inside = environ['wsgi.input'], [], threading.Barrier(2)
            def reader():
                inside.wait()
                seen.append(f.readline())
            thread = threading.Thread(target=reader)
            thread.start()
            inside.wait()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'started\\n'
            thread.join()
            def late():
                try:
                    seen.append(f.read())
                except RuntimeError as error:
                    seen.append(error)
            readers = [threading.Thread(target=late) for _ in range(4)]
            for r in readers:
                r.start()
            for r in readers:
                r.join()
            yield repr([seen[0], sorted({type(s).__name__ for s in seen[1:]} - {'RuntimeError'}),
                        [s for s in seen[1:] if type(s) is bytes and s]]).encode()
    ''')
    exchange = server.start('POST', content_length=11)
    exchange.write(b'line\n')
    exchange.wait_for(b'started\n')
    exchange.write(b'second')
    exchange.finish_body()
    assert exchange.response().body == b"started\n[b'line\\n', ['bytes'], [b'second']]"


def test_reader_thread_outlives_the_request(fcgi_unix):
    """A thread that still reads when its request ends gets its RuntimeError afterwards; the next request is whole."""
    server = fcgi_unix('''
        import threading
        def read_on(f):
            try:
                while f.read(1):
                    pass
                print('end of file')
            except (RuntimeError, TimeoutError):
                print('reader: refused')
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            if environ['REQUEST_METHOD'] == 'POST':
                threading.Thread(target=read_on, args=(environ['wsgi.input'],)).start()
            return [b'done']
    ''', '--body-timeout', '300ms')
    exchange = server.start('POST', content_length=100000)
    exchange.write(b'some')
    server.wait_log('reader: refused')
    assert server.request().body == b'done'


def test_promised_length_is_not_allocated(fcgi_unix):
    """CONTENT_LENGTH is only a promise: 2 GiB of it cost nothing before they come."""
    server = fcgi_unix(HELLO.replace("start_response(", "environ['wsgi.input'].read()\n    start_response(", 1))
    server.request()
    before = rss(server.pid)
    exchange = server.start('POST', content_length=2 << 30)
    exchange.write(b'x' * 1000)
    assert exchange.silent(0.2)
    assert rss(server.pid) < before + (20 << 20)
    exchange.disconnect()
    server.wait_log('the client went away')


def test_limit_body(fcgi_server):
    """A body without a length that passes --limit-body: OSError; where the application lets it out, 413."""
    server = fcgi_server('''
        def application(environ, start_response):
            if environ['QUERY_STRING']:
                try:
                    environ['wsgi.input'].read()
                except OSError as error:
                    start_response('200 OK', [('Content-Type', 'text/plain')])
                    return [str(error).encode()]
            environ['wsgi.input'].read()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'all of it']
    ''', '--limit-body', '1k')
    for size, status in ((1023, 200), (1024, 200), (1025, 413)):
        exchange = server.start('POST', content_length=False)
        exchange.write(b'x' * size)
        exchange.finish_body()
        assert exchange.response().status == status
    exchange = server.start('POST', query='catch', content_length=False)
    exchange.write(b'x' * 2000)
    exchange.finish_body()
    assert b'--limit-body' in exchange.response().body


def test_body_timeout(fcgi_server):
    """A client that falls silent in its body: TimeoutError; where the application lets it out, 408."""
    server = fcgi_server('''
        def application(environ, start_response):
            try:
                environ['wsgi.input'].read()
            except TimeoutError:
                if environ['QUERY_STRING']:
                    raise
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'timed out']
    ''', '--body-timeout', '200ms')
    for query, status in (('', 200), ('raise', 408)):
        exchange = server.start('POST', query=query, content_length=100)
        exchange.write(b'some')
        assert exchange.response().status == status


def test_filter_data(fcgi_unix):
    """F28: the second stream of a Filter is environ['wsgi_cgi.data'], with the same methods."""
    server = fcgi_unix('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            body = environ['wsgi.input'].read() if environ['QUERY_STRING'] else b''
            data = environ['wsgi_cgi.data']
            return [repr((environ['wsgi_cgi.role'], body, data.readline(), data.read(3), data.readlines())).encode()]
    ''')
    for query, seen in (('', "b''"), ('read', "b'body'")):
        conn = server.connect()
        params = server.params('POST', query=query, body=b'body', params={'FCGI_DATA_LENGTH': '15'})
        response = conn.request(params, b'body', role=fcgi.FILTER, data=b'first\nsecond\nth')
        assert response.text == f"('FILTER', {seen}, b'first\\n', b'sec', [b'ond\\n', b'th'])"
