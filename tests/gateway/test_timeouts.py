"""Deadlines: F14 and --head-timeout, --body-timeout, --write-timeout, --keepalive-timeout."""

import time

import pytest

import fcgi
from apps import BUSY, ECHO, HELLO
from fcgi import PARAMS, STDIN, wait_for
from settings import SLOW

# Long enough for a loaded machine to be told from zero, short enough to wait for.
SHORT = 0.4 * SLOW
OPTION = f'{int(SHORT * 1000)}ms'


def closed_after(conn, since):
    """Seconds until the program closes the connection. since: a moment before the one from which it counts; on a busy
    machine much can lie between two lines of a test."""
    conn.wait_eof(10)
    return time.monotonic() - since


def assert_on_time(seconds, at_least=SHORT):
    assert at_least * 0.8 <= seconds <= at_least + 2 * SLOW, seconds


def test_silent_new_connection(fcgi_server):
    """F14: a client that connects and says nothing is let go after a while, on TCP too, and costs nobody else a thing."""
    server = fcgi_server(HELLO, '--head-timeout', OPTION, '--keepalive-timeout', OPTION)
    start = time.monotonic()
    conn = server.connect()
    assert server.request().body == b'hello'
    assert closed_after(conn, start) <= SHORT + 2 * SLOW
    assert not conn.records


def test_slow_start_is_served(fcgi_server):
    """F14: stock libfcgi cuts a unix client that needs more than 2 s between connect and its first byte."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    assert conn.silent(2.3)
    assert conn.request(server.params()).body == b'hello'


@pytest.mark.parametrize('part', ['header', 'begin', 'params', 'all but the last byte'])
def test_half_a_head(fcgi_server, part):
    """--head-timeout: a head that stops half-way ends its connection, not before the time."""
    server = fcgi_server(HELLO, '--head-timeout', OPTION, '--keepalive-timeout', '60s')
    whole = fcgi.head(server.params())
    size = {'header': 3, 'begin': 16, 'params': 40, 'all but the last byte': len(whole) - 1}[part]
    conn = server.connect()
    start = time.monotonic()
    conn.send(whole[:size])
    assert server.request().body == b'hello'
    assert_on_time(closed_after(conn, start))


def test_dribbled_head(fcgi_server):
    """--head-timeout is for the whole head: a byte now and then does not extend it."""
    server = fcgi_server(HELLO, '--head-timeout', OPTION)
    whole = fcgi.head(server.params(headers={'X-Long': 'v' * 5000}))
    conn = server.connect()
    start = time.monotonic()
    for i in range(len(whole)):
        if not conn.send(whole[i:i + 1]) or conn.eof:
            break
        conn.silent(0.02)
    assert_on_time(time.monotonic() - start)
    assert server.request().body == b'hello'


def test_half_a_head_on_a_kept_connection(fcgi_server):
    """--head-timeout counts from the head's first byte, not from the last request."""
    server = fcgi_server(HELLO, '--head-timeout', OPTION, '--keepalive-timeout', '60s')
    conn = server.connect()
    assert conn.request(server.params(), keep=True).body == b'hello'
    assert conn.silent(SHORT * 1.5)
    start = time.monotonic()
    conn.send(fcgi.begin())
    assert_on_time(closed_after(conn, start))


def test_keepalive(fcgi_server):
    """--keepalive-timeout: an idle kept connection is closed after it; a request starts the time anew."""
    server = fcgi_server(HELLO, '--keepalive-timeout', OPTION)

    def three_requests(conn):
        """False if it was closed between two: only right where this test came too late, on a busy machine."""
        for _ in range(3):
            start = time.monotonic()
            assert conn.request(server.params(), keep=True).body == b'hello'
            if not conn.silent(SHORT * 0.6):
                assert conn.eof and time.monotonic() - start >= SHORT
                return False
        return True

    conn = next(conn for conn in (server.connect() for _ in range(20)) if three_requests(conn))
    start = time.monotonic()
    assert conn.request(server.params(), keep=True).body == b'hello'
    assert_on_time(closed_after(conn, start))


def test_keepalive_does_not_count_the_request(fcgi_server):
    """--keepalive-timeout: a request that runs longer than it is not idle."""
    server = fcgi_server(f'''
        import time
        def application(environ, start_response):
            time.sleep({SHORT * 2})
            start_response('200 OK', [])
            return [b'slow']
    ''', '--keepalive-timeout', OPTION, '--head-timeout', OPTION)
    conn = server.connect()
    for _ in range(2):
        assert conn.request(server.params(), keep=True).body == b'slow'


def test_default_keepalive(fcgi_unix):
    """--keepalive-timeout, --head-timeout: by default a kept connection survives some seconds of silence."""
    server = fcgi_unix(HELLO)
    conn = server.connect()
    assert conn.request(server.params(), keep=True).body == b'hello'
    assert conn.silent(3)
    assert conn.request(server.params(), keep=True).body == b'hello'


def test_body_stops(fcgi_server):
    """--body-timeout: a body that stops: read() raises OSError after that time; the application may still answer."""
    server = fcgi_server(ECHO, '--body-timeout', OPTION)
    server.allow_log('body|timeout|timed out')
    exchange = server.start('POST', content_length=100)
    start = time.monotonic()
    exchange.write(b'x' * 10)
    response = exchange.response()
    assert_on_time(time.monotonic() - start)
    assert response.status == 502 and response.body == b'OSError'
    assert server.request().status == 200


@pytest.mark.parametrize('filler', ['padding', 'records of another id'])
def test_what_is_not_the_body_does_not_prolong_it(fcgi_server, filler):
    """--body-timeout: padding and other requests' records are no bytes of this body, however steadily they come."""
    server = fcgi_server(ECHO, '--body-timeout', OPTION)
    server.allow_log('body|timeout|timed out')
    conn = server.connect()
    first = fcgi.record(STDIN, 1, b'x', padding=255)
    head, filler = ((first[:9], b'\0') if filler == 'padding' else (first, fcgi.record(STDIN, 2, b'y')))
    start = time.monotonic()
    conn.send(fcgi.head(server.params('POST', body=b'x' * 100)) + head)
    for _ in range(255):
        if not conn.silent(0.05):
            break
        conn.send(filler)
    response = conn.response()
    assert_on_time(time.monotonic() - start)
    assert response.status == 502 and response.body == b'OSError'


def test_body_stops_over_cgi(cgi):
    """--body-timeout over CGI."""
    server = cgi.serve(ECHO, '--body-timeout', OPTION)
    server.allow_log('body|timeout|timed out')
    exchange = server.start('POST', content_length=100)
    exchange.write(b'x' * 10)
    response = exchange.response()
    assert response.status == 502 and response.body == b'OSError'


def test_slow_body_is_no_stopped_body(fcgi_server):
    """--body-timeout is without a byte: a slow body that goes on is whole, however long it takes."""
    server = fcgi_server(ECHO, '--body-timeout', OPTION, '--head-timeout', OPTION)
    exchange = server.start('POST', content_length=10)
    for i in range(10):
        exchange.write(b'%d' % i)
        assert exchange.silent(SHORT * 0.25) or i == 9
    exchange.finish_body()
    assert exchange.response().body == b'0123456789'


def test_unread_body_that_never_comes(fcgi_server):
    """--body-timeout: the drain of a body nobody reads ends, and with it the connection; the response is out before."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'unread']
    ''', '--body-timeout', OPTION)
    server.allow_log('body|timeout|timed out|drain')
    exchange = server.start('POST', content_length=1000, keep=True)
    exchange.wait_for(b'unread', 2)
    assert closed_after(exchange.conn, time.monotonic()) <= SHORT + 3 * SLOW
    assert server.request().body == b'unread'


def test_client_that_does_not_read(fcgi_server, tmp_path):
    """--write-timeout: a client that takes nothing is given up: close() runs, the thread is free again."""
    notes = tmp_path / 'notes'
    server = fcgi_server(BUSY.replace('time.sleep(0.005)', 'pass').replace("b'x' * 1000", "b'x' * 100000"),
                         '--write-timeout', OPTION, env={'NOTES': str(notes)})
    server.allow_log('write|timeout|timed out|client|gone|closed')
    start = time.monotonic()
    conn = server.connect()
    conn.sock.send(fcgi.request_bytes(server.params(path='/stream')))
    wait_for(lambda: notes.exists() and 'closed' in notes.read_text(), 5, 'close()')
    assert_on_time(time.monotonic() - start)
    assert server.request().body == b'hello'
    assert 'Traceback' not in server.logged


def test_client_that_reads_slowly(fcgi_server, tmp_path):
    """--write-timeout is without a byte taken: a slow reader gets everything."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'x' * 3000000]
    ''', '--write-timeout', OPTION)
    conn = server.connect()
    conn.sock.send(fcgi.request_bytes(server.params()))
    deadline = time.monotonic() + 60
    # About twelve times half the limit, so clearly longer than the limit itself.
    while len(conn.stdout()) < 3_000_000 and time.monotonic() < deadline and not conn.eof:
        time.sleep(SHORT / 2)
        for _ in range(4):
            if conn._poll(1, 0):
                conn._receive(65536)
    assert len(conn.response().body) == 3_000_000


def test_a_stopped_body_does_not_hold_the_others(fcgi_server):
    """--body-timeout: with two threads, one in a stopped body, the other serves."""
    server = fcgi_server(ECHO, '--threads', '2')
    server.allow_log('body|client|gone')
    exchange = server.start('POST', content_length=100)
    exchange.write(b'x')
    for _ in range(5):
        assert server.request('POST', body=b'abc', timeout=2).body == b'abc'
    exchange.disconnect()


@pytest.mark.parametrize('records', [1, 100])
def test_empty_params_records_do_not_extend_the_head(fcgi_unix, records):
    """--head-timeout: records of other ids are no progress of a head."""
    server = fcgi_unix(HELLO, '--head-timeout', OPTION)
    conn = server.connect()
    start = time.monotonic()
    conn.send(fcgi.begin() + fcgi.record(PARAMS, 1, b'\x01'))
    while conn.send(fcgi.record(STDIN, 9) * records) and not conn.eof:
        conn.silent(0.05)
        assert time.monotonic() - start < 10 * SLOW
    assert_on_time(time.monotonic() - start)
