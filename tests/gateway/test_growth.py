"""Nothing grows: sys.getallocatedblocks() and descriptors do not grow over 10,000 requests. P21."""

import pytest

import fcgi
from fcgi import wait_for
from settings import SANITIZED

# All the ways a request can go, by PATH_INFO; /count tells what there is to leak.
APP = '''
import gc, io, os, sys
kept = []
class Body:
    def __iter__(self):
        yield b'a'
        yield b'b'
    def close(self):
        pass
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/count':
        gc.collect()
        blocks = sys.getallocatedblocks()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%d %d' % (blocks, len(os.listdir('/proc/self/fd')))]
    if path == '/read':
        environ['wsgi.input'].read()
    if path == '/lines':
        list(environ['wsgi.input'])
    if path == '/raise':
        raise ValueError('boom')
    if path == '/after':
        after = environ['wsgi_cgi.after_response']
        after(dict, [(1, environ)], key=start_response)
        after(after, after, len, 'more')
    if path == '/after-kept':
        kept[:] = [environ]
        environ['wsgi_cgi.after_response'](int, '1')
    if path == '/after-raise':
        environ['wsgi_cgi.after_response'](int, environ)
    if path == '/errors':
        environ['wsgi.errors'].write('a note\\n')
    if path == '/badhead':
        start_response('nonsense', [])
    write = start_response('200 OK', [('Content-Type', 'text/plain'), ('X-A', 'b' * 100)])
    if path == '/write':
        write(b'hello')
        return []
    if path == '/object':
        return Body()
    if path == '/generator':
        return (b'x' for i in range(3))
    if path == '/late':
        return fail_late()
    if path == '/file':
        return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
    if path == '/bytesio':
        return environ['wsgi.file_wrapper'](io.BytesIO(b'x' * 5000))
    if path == '/big':
        return [b'x' * 300000]
    return [b'hello']
def fail_late():
    yield b'x'
    raise ValueError('late')
'''

# Blocks that come and go with Python's own free lists. One block lost in every tenth request would be more.
SLACK = 60
ROUNDS = 4


def counts(server):
    """(allocated blocks, descriptors) inside the process."""
    return tuple(int(n) for n in server.request(path='/count').body.split())


def run(server, path, times, body=b'', keep=True):
    """`times` requests on one kept connection, or on a new one each."""
    params = server.params('POST' if body else 'GET', path, body=body)
    data = fcgi.request_bytes(params, body, keep=keep)
    conn = None
    for _ in range(times):
        if conn is None or not keep or conn.eof:
            if conn:
                conn.close()
            conn = fcgi.Connection(server.address)
        conn.send(data)
        conn.response()
        conn.forget()
    conn.close()


def no_growth(server, work, times):
    """Blocks and descriptors stay where they are over ROUNDS times `times` of `work`.

    Python's caches and free lists fill up for a while and then stop (seen: 400 blocks in the first thousands); a leak
    grows in every round alike. So it is the round with the least growth that counts.
    """
    work(times // 4)
    counts(server)
    marks = [counts(server)]
    for _ in range(ROUNDS):
        work(times)
        # A connection that was just closed may still be counted once.
        wait_for(lambda: counts(server)[1] <= marks[0][1], 3, f'{marks[0][1]} descriptors, now {counts(server)[1]}')
        marks.append(counts(server))
        growth = [after[0] - before[0] for before, after in zip(marks, marks[1:])]
        if growth[-1] < SLACK / 10:
            break
    assert min(growth) < SLACK, f'blocks more in each round of {times} requests: {growth}'


# With the sanitizers Python allocates by malloc: its block count is 0 there, and the leak checker looks instead.
no_blocks = pytest.mark.skipif(SANITIZED, reason='sanitizers: Python counts no blocks; the leak checker does the work')


@no_blocks
@pytest.mark.timeout(180)
@pytest.mark.parametrize('threads', [1, 4])
def test_ten_thousand_requests(fcgi_unix, threads):
    """P21: 10,000 requests on kept connections."""
    server = fcgi_unix(APP, '--threads', str(threads))
    no_growth(server, lambda n: run(server, '/', n), 10_000)


@no_blocks
@pytest.mark.parametrize('path', ['/read', '/lines', '/unread', '/errors', '/write', '/object', '/generator', '/file',
                                  '/bytesio', '/big', '/after', '/after-kept'])
def test_ways_to_answer(fcgi_unix, path):
    """P21: a thousand of each kind of request and response."""
    server = fcgi_unix(APP)
    no_growth(server, lambda n: run(server, path, n, b'line\n' * 20), 1000)


@no_blocks
@pytest.mark.parametrize('path', ['/raise', '/badhead', '/late', '/after-raise'])
def test_ways_to_fail(fcgi_unix, path):
    """P21: a thousand exceptions before and after the head."""
    server = fcgi_unix(APP)
    server.allow_log('error:|ValueError|TypeError')
    no_growth(server, lambda n: run(server, path, n), 1000)


@no_blocks
def test_new_connections(fcgi_server):
    """P21: a thousand connections, none of their descriptors is left."""
    server = fcgi_server(APP)
    no_growth(server, lambda n: run(server, '/', n, keep=False), 1000)


@no_blocks
def test_clients_that_go_away(fcgi_unix):
    """P21: a thousand clients that leave in the head, in the body and in the response."""
    server = fcgi_unix(APP)
    server.allow_log('client|gone|closed|body')
    whole = fcgi.request_bytes(server.params('POST', '/big', body=b'x' * 1000), b'x' * 1000)

    def work(times):
        for i in range(times):
            with fcgi.Connection(server.address) as conn:
                conn.send(whole[:len(whole) * (i % 4 + 1) // 4])
    no_growth(server, work, 1000)


@no_blocks
def test_refused_requests(fcgi_unix):
    """P21: a thousand malformed heads, management records and unknown roles."""
    server = fcgi_unix(APP)
    server.allow_log('.')
    bad = [fcgi.begin() + fcgi.stream(fcgi.PARAMS, 1, b'\xff' * 8), fcgi.begin(role=9), b'\x02' * 20,
           fcgi.record(fcgi.GET_VALUES, 0, fcgi.pairs([('FCGI_MAX_REQS', '')])), fcgi.request_bytes([('A', 'b')])]

    def work(times):
        for i in range(times):
            with fcgi.Connection(server.address) as conn:
                conn.send(bad[i % len(bad)])
                conn.half_close()
                conn.wait_eof()
    no_growth(server, work, 1000)


@no_blocks
def test_a_leak_is_noticed(fcgi_unix):
    """The measure itself: one object lost in every fifth request fails the check."""
    server = fcgi_unix(APP.replace("    path = environ['PATH_INFO']\n", '''    path = environ['PATH_INFO']
    global requests
    requests += 1
    if requests % 5 == 0:
        lost.append(object())
''').replace('class Body', 'requests = 0\nlost = []\nclass Body'))
    with pytest.raises(AssertionError, match='blocks more'):
        no_growth(server, lambda n: run(server, '/', n), 1000)
