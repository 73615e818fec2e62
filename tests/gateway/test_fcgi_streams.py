"""STDIN and STDOUT of FastCGI against each other: F12, F23, F24, F26, and ABORT and exit codes: F17, F18."""

import threading
import time

import pytest

import fcgi
from apps import BUSY, ECHO, HELLO, UNREAD
from fcgi import ABORT_REQUEST, DATA, END_REQUEST, PARAMS, STDIN, wait_for
from settings import SLOW


@pytest.mark.parametrize('size', [1, 8192, 100_000, 5_000_000])
def test_unread_body_on_a_kept_connection(fcgi_server, size):
    """F12: what the application left of the body does not end the connection nor become part of the next request."""
    server = fcgi_server(UNREAD)
    conn = server.connect()
    for _ in range(10 if size < 1_000_000 else 2):
        response = conn.request(server.params('POST', body=b'x' * size), b'x' * size, keep=True)
        assert response.body == b'unread' and response.complete
    assert not conn.eof


def test_unread_bodies_under_load(fcgi_server):
    """F12: three clients with kept connections, 300 kB each time, an application that does not read: no request lost
    (13 of 1,500 without the drain, behind nginx)."""
    server = fcgi_server(UNREAD, '--threads', '2')
    body = b'x' * 300_000
    failures = []

    def client():
        try:
            with fcgi.Connection(server.address) as conn:
                for _ in range(100):
                    response = conn.request(server.params('POST', body=body), body, keep=True)
                    if response.body != b'unread':
                        failures.append(response)
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=client) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


def test_half_read_body(fcgi_unix):
    """F12: the application reads some of the body, in every way there is, and leaves the rest."""
    server = fcgi_unix('''
        def application(environ, start_response):
            stream = environ['wsgi.input']
            got = [stream.read(3), stream.readline(), next(iter(stream))]
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'|'.join(got)]
    ''')
    conn = server.connect()
    body = b'abcd\nef\n' + b'x' * 100_000
    for _ in range(3):
        assert conn.request(server.params('POST', body=body), body, keep=True).body == b'abc|d\n|ef\n'


def test_duplex(fcgi_server):
    """F23: the response streams while the request still does, megabytes in both directions."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'first'
            while True:
                data = environ['wsgi.input'].read(10000)
                if not data:
                    break
                yield data + b'y' * 3000
    ''')
    exchange = server.start('POST', content_length=5_000_000)
    exchange.wait_for(b'first')
    exchange.write(b'x' * 10_000)
    exchange.wait_for(b'x' * 10_000 + b'y' * 3000)
    exchange.write(b'x' * 4_990_000)
    exchange.finish_body()
    response = exchange.response()
    assert response.complete and len(response.body) == 5 + 500 * 13_000
    assert response.body == b'first' + (b'x' * 10_000 + b'y' * 3000) * 500


def test_errors_and_output_interleave(fcgi_server):
    """F23: FCGI_STDERR records stand between those of STDOUT without harm to either."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for i in range(200):
                environ['wsgi.errors'].write('note %d\\n' % i)
                environ['wsgi.errors'].flush()
                yield b'%d\\n' % i
    ''')
    response = server.request()
    assert response.body == b''.join(b'%d\n' % i for i in range(200))
    assert response.stderr == b''.join(b'note %d\n' % i for i in range(200))


@pytest.mark.parametrize('body_size, answer_size', [(5_000_000, 5_000_000), (100_000, 20_000_000)])
@pytest.mark.parametrize('how', ['list', 'blocks', 'file'])
def test_half_duplex_peer(fcgi_server, body_size, answer_size, how, tmp_path):
    """F24: a peer that writes its whole body before it reads a byte, and an application that answers first: neither
    waits for the other for ever. uWSGI and stock libfcgi hang."""
    big = tmp_path / 'big'
    big.write_bytes(b'y' * answer_size)
    ways = {'list': f"return [b'y' * {answer_size}]",
            'blocks': f"return (b'y' * 10000 for i in range({answer_size // 10_000}))",
            'file': f"return environ['wsgi.file_wrapper'](open({str(big)!r}, 'rb'))"}
    server = fcgi_server(f'''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            {ways[how]}
    ''')
    conn = server.connect()
    conn.half_duplex_send(fcgi.request_bytes(server.params('POST', body=b'x' * body_size), b'x' * body_size))
    response = conn.response(timeout=20)
    assert response.complete and response.body == b'y' * answer_size


def test_half_duplex_peer_gets_its_own_body_back(fcgi_server):
    """F24: what was spooled meanwhile is still there for an application that reads it later."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'y' * 2000000
            data = environ['wsgi.input'].read(1000)
            while data:
                yield data
                data = environ['wsgi.input'].read(100000)
    ''')
    body = bytes(range(256)) * 12_000
    conn = server.connect()
    conn.half_duplex_send(fcgi.request_bytes(server.params('POST', body=body), body))
    assert conn.response(timeout=20).body == b'y' * 2_000_000 + body


@pytest.mark.parametrize('role', [fcgi.RESPONDER, fcgi.FILTER])
def test_half_duplex_peer_without_room(fcgi_unix, role, tmp_path):
    """F24: where what was to be spooled cannot be, the response goes on, and who reads the body later is told. The
    connection is in step. (TCP holds megabytes by itself.)"""
    server = fcgi_unix('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'y' * 2000000
            for name in ('wsgi.input', 'wsgi_cgi.data'):
                try:
                    yield b' %d' % len(environ[name].read() if name in environ else b'')
                except OSError as error:
                    yield b' ' + error.strerror.encode()
    ''', env={'TMPDIR': str(tmp_path / 'nowhere')})
    conn, large, small = server.connect(), b'x' * 3_000_000, b'x' * 1000
    for body, data in ((large, large), (small, large), (small, small)):
        if role == fcgi.RESPONDER and (body, data) == (small, large):
            continue
        request = fcgi.head(server.params('POST', body=body, params={'FCGI_DATA_LENGTH': str(len(data))}), role=role,
                            keep=True) + fcgi.stream(fcgi.STDIN, 1, body)
        conn.half_duplex_send(request + (fcgi.stream(fcgi.DATA, 1, data) if role == fcgi.FILTER else b''))
        response = conn.response(timeout=20)
        assert response.complete and response.body[:2_000_000] == b'y' * 2_000_000
        assert response.body[2_000_000:].split(b' ', 1)[1] == {
            (large, large): b'No such file or directory' + (b' No such file or directory' if role == fcgi.FILTER
                                                            else b' 0'),
            (small, large): b'1000 No such file or directory',
            (small, small): b'1000 ' + (b'1000' if role == fcgi.FILTER else b'0')}[body, data]
        if body is large or data is large:
            conn = server.connect()         # it ended with the error


def test_what_is_beyond_content_length_takes_no_room(fcgi_unix, tmp_path):
    """F24: a peer that sends more than it announced does not fill the spool with what nobody can read."""
    server = fcgi_unix('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'y' * 2000000
            yield b'%d %d' % (len(environ['wsgi.input'].read()), len(environ['wsgi_cgi.data'].read()))
    ''', env={'TMPDIR': str(tmp_path / 'nowhere')})
    for size in 0, 1000, 70_000:
        conn = server.connect()
        conn.half_duplex_send(
            fcgi.head(server.params('POST', body=b'x' * size, params={'FCGI_DATA_LENGTH': '500'}), role=fcgi.FILTER)
            + fcgi.stream(fcgi.STDIN, 1, b'x' * 3_000_000) + fcgi.stream(fcgi.DATA, 1, b'z' * 500))
        assert conn.response(timeout=20).body[2_000_000:] == b'%d 500' % size


@pytest.mark.parametrize('how', ['end of stream', 'half-close', 'close', 'abort'])
@pytest.mark.parametrize('sent', [0, 10, 100_000])
def test_short_body(fcgi_server, how, sent, tmp_path):
    """F26: fewer bytes than CONTENT_LENGTH, whichever way they end: OSError in read(), never the end of the file
    (W27). The process and other connections do not notice."""
    notes = tmp_path / 'notes'
    notes.touch()
    server = fcgi_server(f'''
        def application(environ, start_response):
            if environ['REQUEST_METHOD'] == 'GET':
                start_response('200 OK', [])
                return [b'hello']
            try:
                got = 'read %d' % len(environ['wsgi.input'].read())
            except OSError as error:
                got = 'OSError'
            with open({str(notes)!r}, 'a') as f:
                f.write(got)
            start_response('200 OK', [])
            return [got.encode()]
    ''')
    server.allow_log('body|client|gone|closed|abort')
    exchange = server.start('POST', content_length=200_000, keep=how == 'end of stream')
    exchange.write(b'x' * sent)
    if how == 'end of stream':
        exchange.finish_body()
        assert exchange.response().body == b'OSError'
    elif how == 'half-close':
        exchange.conn.half_close()
    elif how == 'close':
        exchange.disconnect()
    else:
        exchange.conn.send(fcgi.record(ABORT_REQUEST, 1))
    assert wait_for(notes.read_text, 2, 'the application to notice') == 'OSError'
    assert server.request().body == b'hello'


def test_body_longer_than_its_length(fcgi_server):
    """F26: bytes beyond CONTENT_LENGTH are not the application's, nor the next request's (W25)."""
    server = fcgi_server(ECHO)
    conn = server.connect()
    for _ in range(3):
        response = conn.request(server.params('POST', content_length=3), b'abcdefghij' * 1000, keep=True)
        assert response.body == b'abc'


def test_missing_end_of_stdin(fcgi_server):
    """F26: servers exist that send no final empty STDIN record (HAProxy #2499). With CONTENT_LENGTH bytes read the
    body is whole and the response leaves."""
    server = fcgi_server(ECHO)
    conn = server.connect()
    conn.send(fcgi.head(server.params('POST', body=b'abc')) + fcgi.record(STDIN, 1, b'abc'))
    assert conn.response(timeout=5).body == b'abc'


def test_missing_end_of_stdin_without_a_body(fcgi_server):
    """F26: the same for a GET with no STDIN at all."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    conn.send(fcgi.head(server.params()))
    assert conn.response(timeout=5).body == b'hello'


def aborted(conn, seconds=2):
    """END_REQUEST or the end of the connection within `seconds`."""
    start = time.monotonic()
    conn.wait(lambda: conn.eof or any(r.type == END_REQUEST for r in conn.records), seconds, 'END_REQUEST after ABORT')
    return time.monotonic() - start


@pytest.fixture
def busy(fcgi_server, tmp_path):
    """A server with the application BUSY and its notes."""
    notes = tmp_path / 'notes'
    notes.touch()
    server = fcgi_server(BUSY, env={'NOTES': str(notes)})
    server.notes = notes
    server.allow_log('abort|client|gone|closed')
    return server


def test_abort_in_the_head(busy):
    """F17: an ABORT before the head is complete is answered by END_REQUEST and the application is not called."""
    conn = busy.connect()
    params = fcgi.pairs(busy.params())
    conn.send(fcgi.begin(keep=True) + fcgi.record(PARAMS, 1, params[:30]) + fcgi.record(ABORT_REQUEST, 1))
    aborted(conn)
    assert busy.request().body == b'hello'
    assert busy.notes.read_text() == ''


def test_abort_while_streaming(busy):
    """F17: the iterator is not asked for more, close() runs, END_REQUEST comes within two seconds. Stock libfcgi went on to
    the end (25 s)."""
    exchange = busy.start(path='/stream', keep=True)
    exchange.finish_body()
    exchange.wait_for(b'xxx')
    exchange.conn.send(fcgi.record(ABORT_REQUEST, 1))
    aborted(exchange.conn)
    wait_for(lambda: busy.notes.read_text() == 'started\nclosed\n', 2, 'close()')
    assert busy.request().body == b'hello'


@pytest.mark.parametrize('last', ['content', 'end'])
def test_abort_behind_padding(fcgi_server, last):
    """F17: an ABORT is noticed although the application has not read the padding before it, and never will. libfcgi takes
    8192 bytes at a time, here the header and the content. F26: the empty STDIN may be missing."""
    server = fcgi_server('''
        def application(environ, start_response):
            body = environ['wsgi.input'].read()
            start_response('200 OK', [])
            yield str(len(body)).encode()
            while True:
                yield b'x'
    ''')
    server.allow_log('abort')
    conn, body = server.connect(), b'b' * (8192 - 8)
    conn.send(fcgi.head(server.params('POST', body=body), keep=True))
    if last == 'content':
        conn.send(fcgi.record(STDIN, 1, body, padding=8))
    else:
        conn.send(fcgi.record(STDIN, 1, body) + fcgi.record(STDIN, 1, padding=8))
    conn.wait(lambda: b'8184x' in conn.stdout(), 5, 'the response')
    conn.send(fcgi.record(ABORT_REQUEST, 1))
    aborted(conn)


def test_client_gone_while_streaming(busy):
    """F17: web servers abort by closing the connection: the same result."""
    exchange = busy.start(path='/stream')
    exchange.finish_body()
    exchange.wait_for(b'xxx')
    exchange.disconnect()
    wait_for(lambda: busy.notes.read_text() == 'started\nclosed\n', 2, 'close()')
    assert busy.request().body == b'hello'
    assert 'Traceback' not in busy.logged


def test_late_abort(busy):
    """F17: an ABORT for a request that has just ended is ignored; libfcgi lost the next request."""
    conn = busy.connect()
    for _ in range(5):
        assert conn.request(busy.params(), keep=True).body == b'hello'
        conn.send(fcgi.record(ABORT_REQUEST, 1))
    assert conn.request(busy.params(), id=2).body == b'hello'


def test_late_abort_in_the_same_packet(busy):
    """F17: the same with the next request directly behind it."""
    conn = busy.connect()
    assert conn.request(busy.params(), keep=True).body == b'hello'
    conn.send(fcgi.record(ABORT_REQUEST, 1) + fcgi.request_bytes(busy.params()))
    assert conn.response().body == b'hello'


def test_abort_then_next_request(busy, tmp_path):
    """F17: after an ABORT of a running request the connection either serves the next one or is closed, but never mixes
    the two."""
    conn = busy.connect()
    conn.send(fcgi.request_bytes(busy.params(path='/stream'), keep=True))
    conn.wait(lambda: b'xxx' in conn.stdout(1), 5, 'the stream')
    conn.send(fcgi.record(ABORT_REQUEST, 1) + fcgi.request_bytes(busy.params(), id=2, keep=True))
    first = conn.response(1)
    assert not first.body.endswith(b'hello')
    if not conn.eof:
        second = conn.response(2)
        assert second.body == b'hello' or second.eof


STATUSES = {
    'normal': ("start_response('200 OK', []); return [b'x']", 0),
    '404': ("start_response('404 Not Found', []); return [b'x']", 0),
    '500 by the application': ("start_response('500 Oops', []); return [b'x']", 0),
    'exception': ("raise ValueError('boom')", 1),
    'SystemExit': ("raise SystemExit(3)", 1),
}


@pytest.mark.parametrize('case', STATUSES)
def test_app_status(fcgi_server, case):
    """F18: END_REQUEST carries REQUEST_COMPLETE and 0, or not 0 after an exception; on a kept connection each request its
    own."""
    source, expected = STATUSES[case]
    server = fcgi_server(f'''
        def application(environ, start_response):
            if environ['QUERY_STRING']:
                start_response('200 OK', [])
                return [b'fine']
            {source}
    ''')
    if expected:
        server.allow_log('error:|boom|SystemExit')
    conn = server.connect()
    for _ in range(2):
        response = conn.request(server.params(), keep=True)
        assert response.protocol_status == fcgi.REQUEST_COMPLETE
        assert bool(response.app_status) == bool(expected), response
        fine = conn.request(server.params(query='fine'), keep=True)
        assert (fine.app_status, fine.protocol_status, fine.body) == (0, 0, b'fine')


def test_exception_after_the_head(fcgi_server):
    """F18, W64: a response that breaks off is not called complete: no END_REQUEST, the connection is closed."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'partial'
            raise ValueError('boom')
    ''')
    server.expect_log('ValueError: boom')
    server.allow_log('error:')
    response = server.start(keep=True)
    response.finish_body()
    response = response.response()
    assert response.body == b'partial' and response.protocol_status is None and response.eof


def test_stdin_is_not_needed_for_the_answer(fcgi_server):
    """F23: the response may come before the body has been sent at all."""
    server = fcgi_server(UNREAD)
    exchange = server.start('POST', content_length=100_000, keep=True)
    exchange.wait_for(b'unread', 2)
    exchange.write(b'x' * 100_000)
    exchange.finish_body()
    assert exchange.response().complete
    assert exchange.conn.request(server.params(), id=2).body == b'unread'


def test_params_after_the_head(fcgi_unix):
    """F9: PARAMS of the running request after their end are a protocol error or nothing; they change no variable."""
    server = fcgi_unix('''
        def application(environ, start_response):
            environ['wsgi.input'].read()
            start_response('200 OK', [])
            return [environ.get('HTTP_X_A', 'none').encode()]
    ''')
    server.allow_log('record|protocol|PARAMS|OSError|body')
    conn = server.connect()
    conn.send(fcgi.head(server.params('POST', body=b'abc')) + fcgi.record(PARAMS, 1, fcgi.pair('HTTP_X_A', 'evil')) +
              fcgi.stream(STDIN, 1, b'abc'))
    response = conn.response()
    assert response.body == b'none' or response.protocol_status is None or response.status == 500


TOLERANT = '''
def application(environ, start_response):
    try:
        got = repr(environ['wsgi.input'].read())
    except OSError:
        got = 'OSError'
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [got.encode()]
'''


@pytest.mark.parametrize('what', ['version', 'params', 'begin', 'type', 'data', 'silence'])
def test_connection_ends_after_a_fault_in_the_body(fcgi_server, what):
    """F12, F14: a body that a record broke, or that did not go on, ends the connection, though it was to be kept, the
    application did not mind and its response is whole: nobody knows what the bytes behind it are."""
    server = fcgi_server(TOLERANT, '--body-timeout', f'{int(300 * SLOW)}ms')
    server.allow_log('.')
    conn = server.connect()
    body = fcgi.record(STDIN, 1, b'some') + {
        'version': fcgi.record(STDIN, 1, b'more', version=2), 'params': fcgi.record(PARAMS, 1, b''),
        'begin': fcgi.begin(1, keep=True), 'type': fcgi.record(99, 1, b''), 'data': fcgi.record(DATA, 1, b'more'),
        'silence': b''}[what]
    conn.send(fcgi.head(server.params('POST', content_length=1000), keep=True) + body)
    response = conn.response()
    assert response.complete and response.text == 'OSError'
    conn.send(fcgi.request_bytes(server.params(), id=2, keep=True))
    conn.wait_eof()
    assert conn.records[-1].id == 1
