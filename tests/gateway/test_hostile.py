"""Peers that mean harm, or are broken: F8, F14, F15. Whatever they send, the process lives
and the other connections are served meanwhile. The server has one thread unless a test says otherwise."""

import fcntl
import random
import socket
import termios
import threading
import time

import pytest

import fcgi
from apps import ECHO
from fcgi import BEGIN_REQUEST, GET_VALUES, PARAMS, STDIN, wait_for
from harness import rss
from settings import SANITIZED, SLOW

# Complaints of the program are welcome; tracebacks and reports are not.
COMPLAINT = r'^wsgi-cgi\[\d+\]: (error|warning|notice|info): '


@pytest.fixture
def server(fcgi_server):
    server = fcgi_server(ECHO)
    server.allow_log(COMPLAINT)
    assert server.request('POST', body=b'x').body == b'x'
    return server


def still_serves(server, seconds=1):
    """Two requests, one of them new, within the time."""
    start = time.monotonic()
    body = b'%f' % time.monotonic()
    assert server.request('POST', body=body, timeout=seconds).body == body
    assert time.monotonic() - start < seconds * SLOW
    assert server.running()


def test_twenty_names(server):
    """F15: GET_VALUES with 20 names smashed the stack of stock libfcgi."""
    conn = server.connect()
    conn.send(fcgi.record(GET_VALUES, 0, fcgi.pairs([(n, 'v' * i) for i, n in enumerate(
        ['FCGI_MAX_CONNS', 'FCGI_MAX_REQS', 'FCGI_MPXS_CONNS', 'FCGI_OTHER'] * 5)])))
    conn.next_record()
    still_serves(server)


@pytest.mark.parametrize('count', [1, 50])
def test_length_claims_of_2_gib(server, count):
    """F8: a name and a value of 2 GiB each are announced, little is sent. No memory is set aside for the
    promise."""
    before = rss(server.pid)
    conns = []
    for _ in range(count):
        conn = server.connect()
        conn.send(fcgi.begin() + fcgi.record(PARAMS, 1, b'\xff\xff\xff\xff\xff\xff\xff\xffabc'))
        conns.append(conn)
    still_serves(server)
    growth = rss(server.pid) - before
    assert growth < 20_000_000 * (5 if SANITIZED else 1), growth
    for conn in conns:
        conn.send(fcgi.record(PARAMS, 1) + fcgi.record(STDIN, 1))
        conn.wait_eof(5)
        assert not conn.records
    still_serves(server)


@pytest.mark.parametrize('size', [1, 7, 8, 9, 15, 16, 20])
@pytest.mark.parametrize('count', [1, 100])
def test_half_a_record_and_silence(server, size, count):
    """F14: a record that stops in its header or content holds nobody up."""
    conns = []
    for _ in range(count):
        conn = server.connect()
        conn.send(fcgi.request_bytes(server.params())[:size])
        conns.append(conn)
    still_serves(server)
    for conn in conns:
        conn.close()
    still_serves(server)


def test_one_byte_a_second(server):
    """F14: twenty peers dribble their heads; the others are served meanwhile."""
    whole = fcgi.request_bytes(server.params('POST', body=b'abc'), b'abc')
    conns = [server.connect() for _ in range(20)]
    for i in range(4):
        for conn in conns:
            conn.send(whole[i:i + 1])
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            still_serves(server)
    # They lose nothing by it.
    for conn in conns:
        conn.send(whole[4:])
        assert conn.response().body == b'abc'


def test_one_byte_a_second_of_the_body(fcgi_server):
    """F14: the same in the body, where it costs a thread: the other thread serves."""
    server = fcgi_server(ECHO, '--threads', '2')
    exchange = server.start('POST', content_length=4)
    for i in range(4):
        exchange.write(b'%d' % i)
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline and i < 3:
            still_serves(server)
    exchange.finish_body()
    assert exchange.response().body == b'0123'


def test_connections_that_come_and_go(server):
    """A port scan: connections closed, half-closed and reset at once."""
    for i in range(300):
        conn = fcgi.connect(server.address)
        if i % 3 == 1:
            conn.shutdown(1)
        elif i % 3 == 2:
            conn.setsockopt(1, 13, b'\1\0\0\0\0\0\0\0')       # SO_LINGER 0: reset
        conn.close()
    still_serves(server)


@pytest.mark.parametrize('text', [b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', b'SSH-2.0-x\r\n', b'\0' * 100_000,
                                  b'\xff' * 100_000, b'\x01' * 100_000])
def test_other_protocols(server, text):
    """HTTP, TLS, zeroes: closed, not waited for."""
    conn = server.connect()
    conn.send(text)
    conn.half_close()
    conn.wait_eof(3)
    still_serves(server)


def say(server, text):
    """What the program answers to these first bytes of a connection, up to its end."""
    with socket.socket(socket.AF_UNIX if isinstance(server.address, str) else socket.AF_INET) as sock:
        sock.settimeout(10 * SLOW)
        sock.connect(server.address)
        sock.sendall(text)
        answer = b''
        while piece := sock.recv(4096):
            answer += piece
        return answer


@pytest.mark.parametrize('text, name, advice', [
    (b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n', 'HTTP', 'nginx: fastcgi_pass, not proxy_pass'),
    (b'OPTIONS * HTTP/1.1\r\n\r\n', 'HTTP', 'FastCGI server'), (b'GET http://x/ HTTP/1.1\r\n\r\n', 'HTTP', 'FastCGI server'),
    (b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'HTTP', 'FastCGI server'),
    (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'TLS', 'FastCGI server'),
    (b'\0\x10\1\0\x0c\0QUERY_STRING\0\0', 'the uwsgi protocol', 'nginx: fastcgi_pass and fastcgi_params, not uwsgi_pass'),
    (b'70:CONTENT_LENGTH\x000\0SCGI\x001\0', 'SCGI', 'not scgi_pass'),
    (b'PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n', 'the PROXY protocol', 'no send-proxy'),
    (b'\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c', 'the PROXY protocol', 'no send-proxy'),
])
def test_other_protocol_is_told(fcgi_server, text, name, advice):
    """P11: curl, a browser, and web servers that are set to another protocol: the log says what to change, at most once a
    minute, and HTTP gets an answer in words."""
    server = fcgi_server(ECHO)
    for _ in range(3):
        answer = say(server, text)
        assert (answer.startswith(b'HTTP/1.0 400 ') and b'This is a FastCGI socket, not an HTTP port' in answer
                if name == 'HTTP' else answer == b'')
    server.expect_log(f'warning: a client speaks {name} to a FastCGI socket: .*{advice}')
    still_serves(server, 10)
    assert server.logged.count('speaks') == 1


@pytest.mark.parametrize('text, name', [
    (b'GET / HTTP/1.1\r\n\r\n', 'HTTP'), (b'OPTIONS http://x/ HTTP/1.1\r\n\r\n', 'HTTP'),
    (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'TLS'), (b'\0\x10\1\0\x0c\0QUERY_STRING\0\0', 'the uwsgi protocol'),
    (b'70:CONTENT_LENGTH\x000\0SCGI\x001\0', 'SCGI'), (b'PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n', 'the PROXY protocol'),
    (b'\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c', 'the PROXY protocol')])
def test_other_protocol_byte_by_byte(fcgi_unix, text, name):
    """P11: the same for a client whose first bytes arrive one at a time, such as someone who types them."""
    server = fcgi_unix(ECHO)
    with server.connect() as conn:
        for i in range(len(text)):
            try:
                conn.sock.send(text[i:i + 1])
            except (BrokenPipeError, ConnectionResetError):
                break
            # What has been sent and not been read by the server.
            wait_for(lambda: fcntl.ioctl(conn.sock, termios.TIOCOUTQ, b'\0' * 4) == b'\0' * 4, 5, 'the byte to be read')
        assert i > 1
        try:
            answer = conn.sock.recv(4096)
        except ConnectionResetError:        # one more byte was on its way
            answer = b''
        assert (b'This is a FastCGI socket, not an HTTP port' in answer) if name == 'HTTP' else answer == b''
    server.expect_log(f'warning: a client speaks {name} to a FastCGI socket: ')
    still_serves(server, 10)


@pytest.mark.parametrize('text', [b'GE', b'GET', b'GETTING', b'get / HTTP/1.1\r\n\r\n', b'\0\0\0\0\0\0\0\0', b'12', b'\x16\3'])
def test_unknown_protocol_is_not_told(fcgi_unix, text):
    """What is none of these, as in a scan of all ports, is not worth a line, nor a connection that waits for the rest of
    it as long as for the head of a request."""
    server = fcgi_unix(ECHO, '--head-timeout', '60s')
    assert say(server, text) == b''
    still_serves(server, 10)
    assert 'speaks' not in server.logged


def test_other_protocol_behind_a_request(fcgi_unix):
    """Only the first bytes of a connection can be another protocol: there is no answer in words between records."""
    server = fcgi_unix(ECHO)
    conn = server.connect()
    assert conn.request(server.params('POST', body=b'x'), b'x', keep=True).body == b'x'
    conn.send(b'GET / HTTP/1.1\r\n\r\n')
    conn.wait_eof()
    assert 'speaks' not in server.logged


@pytest.mark.parametrize('keep', [False, True])
def test_endless_params(server, keep):
    """A head that never ends is cut at --limit-head; memory does not follow it."""
    before = rss(server.pid)
    conn = server.connect()
    conn.send(fcgi.begin(keep=keep))
    sent = 0
    chunk = fcgi.record(PARAMS, 1, fcgi.pair('HTTP_X', 'v' * 60_000))
    while sent < 50_000_000 and conn.send(chunk) and not conn.eof:
        sent += len(chunk)
    assert sent < 50_000_000, 'all of it was taken'
    assert rss(server.pid) - before < 10_000_000 * (5 if SANITIZED else 1)
    still_serves(server)


def test_many_tiny_params(server):
    """A head of 1 MB in pairs of three bytes is beyond --limit-vars."""
    pairs = b'\x01\x00' + b'A'
    conn = server.connect()
    conn.send(fcgi.begin() + fcgi.stream(PARAMS, 1, fcgi.pairs(server.params()) + pairs * 300_000) +
              fcgi.record(STDIN, 1))
    assert conn.response(timeout=5).status == 431
    still_serves(server)


def test_very_many_names(fcgi_server):
    """60,000 different names, and 40,000 times the same one: merged without quadratic time. Of names that collide
    there are none, see unit/test_params.c."""
    server = fcgi_server(ECHO, '--limit-vars', '100000')
    distinct = fcgi.pairs([(f'HTTP_X{i}', 'v') for i in range(60_000)])
    same = fcgi.pairs([('HTTP_X_SAME', 'value')] * 40_000)
    for data in (distinct, same):
        conn = server.connect()
        start = time.monotonic()
        conn.send(fcgi.begin() + fcgi.stream(PARAMS, 1, fcgi.pairs(server.params()) + data) + fcgi.record(STDIN, 1))
        assert conn.response(timeout=10).status == 200
        assert time.monotonic() - start < 3 * SLOW
    still_serves(server)


def test_a_flood_of_begin_records(server):
    """100,000 BEGIN_REQUESTs: answered with CANT_MPX_CONN or closed; nothing piles up for a peer that does not read."""
    before = rss(server.pid)
    conn = server.connect()
    conn.sock.setblocking(False)
    flood = fcgi.begin(1) + b''.join(fcgi.begin(2) for _ in range(4000))
    try:
        for _ in range(25):
            conn.sock.send(flood)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    still_serves(server)
    assert rss(server.pid) - before < 10_000_000 * (5 if SANITIZED else 1)
    conn.close()
    still_serves(server)


def test_a_flood_of_other_records_in_the_body(server):
    """Records of other ids in the middle of a body are skipped as fast as they come."""
    conn = server.connect()
    conn.send(fcgi.head(server.params('POST', body=b'abc')))
    for _ in range(20):
        conn.send(fcgi.record(STDIN, 9) * 10_000)
    conn.send(fcgi.stream(STDIN, 1, b'abc'))
    assert conn.response().body == b'abc'


def test_every_byte_wrong_once(server):
    """A valid request with one byte changed, for each of its bytes: an answer or the end of the connection within two
    seconds, and the next request works."""
    whole = fcgi.request_bytes(server.params('POST', headers={'X-A': 'b'}, body=b'body'), b'body')
    dice = random.Random(1)
    for i in range(len(whole)):
        mutated = bytearray(whole)
        mutated[i] ^= dice.randrange(1, 256)
        with fcgi.Connection(server.address) as conn:
            conn.send(bytes(mutated))
            conn.half_close()
            try:
                conn.wait_eof(2)
            except fcgi.Timeout as error:
                raise AssertionError(f'byte {i} {whole[i]:#x} -> {mutated[i]:#x}: {error}') from error
        if i % 50 == 0:
            still_serves(server)
    still_serves(server)


def mutate(dice, data):
    """One to four random changes."""
    data = bytearray(data)
    for _ in range(dice.randrange(1, 5)):
        i = dice.randrange(len(data))
        j = min(len(data), i + dice.randrange(1, 64))
        kind = dice.randrange(7)
        if kind == 0:
            data[i] = dice.randrange(256)
        elif kind == 1:
            data[i] = dice.choice([0, 1, 2, 0x7f, 0x80, 0xff])
        elif kind == 2:
            del data[i:j]
        elif kind == 3:
            data[i:i] = data[i:j]
        elif kind == 4:
            data[i:i] = bytes(dice.randrange(256) for _ in range(dice.randrange(1, 16)))
        elif kind == 5:
            del data[j:]
        else:
            data[i:j] = bytes(reversed(data[i:j]))
        if not data:
            return b'\x01'
    return bytes(data)


@pytest.mark.parametrize('seed', range(8))
def test_mutations(fcgi_unix, seed):
    """F8, fuzz-lite: random changes of valid streams (two requests, management records, a Filter), sent in two pieces:
    nothing dies, nothing hangs, the next request works. The seed is in the test's name."""
    server = fcgi_unix(ECHO, '--threads', '2')
    server.allow_log(COMPLAINT)
    dice = random.Random(seed)
    params = server.params('POST', body=b'body')
    seeds = [
        fcgi.request_bytes(params, b'body', keep=True) + fcgi.request_bytes(params, b'body', id=2),
        fcgi.record(GET_VALUES, 0, fcgi.pairs([('FCGI_MAX_REQS', ''), ('FCGI_MAX_CONNS', '')])) +
        fcgi.request_bytes(params, b'body'),
        fcgi.request_bytes(params + [(b'FCGI_DATA_LENGTH', b'4')], b'body', role=fcgi.FILTER, data=b'data'),
        fcgi.begin(padding=8) + fcgi.stream(PARAMS, 1, fcgi.pairs(params), 10, 5) + fcgi.stream(STDIN, 1, b'body', 1, 3),
        fcgi.head(params) + fcgi.record(fcgi.ABORT_REQUEST, 1) + fcgi.record(BEGIN_REQUEST, 3, b'\0\2\0\0\0\0\0\0'),
    ]
    for i in range(150):
        data = mutate(dice, dice.choice(seeds))
        cut = dice.randrange(len(data))
        with fcgi.Connection(server.address) as conn:
            conn.send(data[:cut])
            conn.send(data[cut:])
            conn.half_close()
            try:
                conn.wait_eof(2)
            except fcgi.Timeout as error:
                raise AssertionError(f'mutation {i} of seed {seed}: {data.hex()}: {error}') from error
        if i % 25 == 0:
            still_serves(server)
    still_serves(server)


def test_mutations_split_at_every_byte(fcgi_unix):
    """F8, fuzz-lite: one changed request, cut at each byte, on connections that overlap."""
    server = fcgi_unix(ECHO)
    server.allow_log(COMPLAINT)
    whole = fcgi.request_bytes(server.params('POST', body=b'body'), b'body')
    data = mutate(random.Random(99), whole)
    waiting = []
    for cut in range(len(data)):
        conn = fcgi.Connection(server.address)
        conn.send(data[:cut])
        waiting.append((conn, cut))
        if len(waiting) == 50 or cut == len(data) - 1:
            for conn, at in waiting:
                with conn:
                    conn.send(data[at:])
                    conn.half_close()
                    conn.wait_eof(2)
            waiting = []
            still_serves(server)


def test_all_of_it_at_once(fcgi_server):
    """F8, F14: slow, silent, malformed and greedy peers together while a client makes requests one after another."""
    server = fcgi_server(ECHO, '--threads', '2')
    server.allow_log(COMPLAINT)
    stop = threading.Event()
    whole = fcgi.request_bytes(server.params('POST', body=b'x' * 100), b'x' * 100)

    def attack(number):
        dice = random.Random(number)
        while not stop.is_set():
            try:
                with fcgi.Connection(server.address) as conn:
                    kind = dice.randrange(5)
                    if kind == 0:
                        for i in range(20):
                            conn.send(whole[i:i + 1])
                            stop.wait(0.05)
                    elif kind == 1:
                        conn.send(whole[:dice.randrange(len(whole))])
                        stop.wait(0.5)
                    elif kind == 2:
                        conn.send(mutate(dice, whole))
                    elif kind == 3:
                        conn.send(fcgi.begin() + fcgi.record(PARAMS, 1, b'\xff' * 8))
                        stop.wait(0.2)
                    else:
                        conn.send(fcgi.record(GET_VALUES, 0, fcgi.pairs([('FCGI_MAX_REQS', '')] * 500)) * 50)
            except (AssertionError, OSError):
                pass
    threads = [threading.Thread(target=attack, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            still_serves(server, 2)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    wait_for(lambda: server.request('POST', body=b'x').body == b'x', 2, 'a request afterwards')
