"""W77, and what must not grow: objects, descriptors and threads over many requests."""

import threading
import time

import pytest

from harness import settled
from settings import SANITIZED

GROWTH = '''
import gc, io, os, sys
gc.disable()
def fail(*_):
    raise ValueError
def plain(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-A', '1')])
    return [b'x', b'y']
def stream(environ, start_response):
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    write(b'written')
    start = iter([b'one', b'two'])
    return start
def body(environ, start_response):
    f = environ['wsgi.input']
    f.readline(), f.read(10), f.readlines()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](io.BytesIO(b'x' * 10000))
def real_file(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
def bad_head(environ, start_response):
    for args in ('bad', []), ('200 OK', [('X', 'a\\nb')]), ('200 OK', None):
        try:
            start_response(*args, (None, None, None))
        except (ValueError, TypeError):
            pass
    start_response('200 OK', [], (None, None, None))
    print('half a line', end='')
    return [b'x']
def raising(environ, start_response):
    fail()
def late(environ, start_response):
    start_response('200 OK', [])
    yield b'x'
    fail()
def count(environ, start_response):
    gc.collect()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d %d' % (sys.getallocatedblocks(), len(os.listdir('/proc/self/fd')))]
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
'''


def bombard(server, kind, times):
    """`times` requests of one kind, on one connection where the program keeps it."""
    conn = server.connect()
    for i in range(times):
        if conn.eof:
            conn.close()
            conn = server.connect()
        exchange = server.start('POST', f'/{kind}', body=b'line\n' * 50, headers={f'X-{i % 40}': str(i)}, conn=conn,
                                keep=True)
        exchange.write(b'line\n' * 50)
        exchange.finish_body()
        exchange.response()
    conn.close()


def counted(server):
    """(blocks, descriptors), once the connections that were closed are noticed."""
    return settled(lambda: [int(word) for word in server.request(path='/count').body.split()])


# A block lost in every tenth request would be 40 in each round.
SLACK = 20


def growth(server, kind, times):
    """How much the least of some rounds left behind. CPython's caches fill up, in fewer and fewer of them (100, 30, 15 ...
    blocks where requests fail); a leak shows in every one."""
    bombard(server, kind, times)
    before, least = counted(server), None
    for _ in range(12):
        bombard(server, kind, times)
        after = counted(server)
        grown = [now - then for now, then in zip(after, before)]
        least = grown if least is None else [min(pair) for pair in zip(least, grown)]
        before = after
        if least[0] < SLACK and least[1] <= 0:
            break
    return least


@pytest.mark.parametrize('kind', ['plain', 'stream', 'body', 'real_file', 'bad_head', 'raising', 'late'])
def test_nothing_grows(fcgi_unix, kind):
    """sys.getallocatedblocks() and the descriptors stay where they are, whatever the requests do."""
    server = fcgi_unix(GROWTH)
    server.allow_log('.')
    blocks, fds = growth(server, kind, 400)
    assert blocks < SLACK and fds <= 0


@pytest.mark.skipif(SANITIZED, reason='counts pymalloc blocks; the sanitizers have their own leak check')
@pytest.mark.parametrize('kind', ['body', 'real_file'])
def test_files_fill_no_cache(fcgi_unix, kind):
    """What a file is asked for has the same names every time: CPython would keep thousands of others, each for the look-up
    that it was made for."""
    server = fcgi_unix(GROWTH)
    bombard(server, kind, 400)
    before = counted(server)[0]
    bombard(server, kind, 800)
    assert counted(server)[0] < before + SLACK


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason='counts pymalloc blocks; the sanitizers have their own leak check')
def test_nothing_grows_over_ten_thousand(fcgi_unix):
    """The same in the large."""
    blocks, fds = growth(fcgi_unix(GROWTH), 'plain', 2500)
    assert blocks < SLACK and fds <= 0


def test_many_threads_at_once(fcgi_unix):
    """Each of many concurrent requests gets its own environ, body and response."""
    server = fcgi_unix('''
        import time
        def application(environ, start_response):
            body = environ['wsgi.input'].read()
            start_response('200 OK', [('X-Path', environ['PATH_INFO'])])
            for part in (environ['PATH_INFO'].encode(), b' ', body):
                yield part
                time.sleep(0)
    ''', '--threads', '4')
    wrong = []

    def client(name):
        conn = server.connect()
        for i in range(50):
            body = f'{name}-{i} '.encode() * 500
            response = server.request('POST', f'/{name}/{i}', body=body, conn=conn, keep=True)
            if response.body != f'/{name}/{i} '.encode() + body or response.header('X-Path') != f'/{name}/{i}':
                wrong.append((name, i, response))
            if conn.eof:
                conn = server.connect()
    clients = [threading.Thread(target=client, args=(f'c{i}',)) for i in range(4)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not wrong


END = '''
import atexit, os, threading, time
def note(text):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(text + ' ')
atexit.register(note, 'atexit')
left_open = open(os.environ['NOTES'] + '.open', 'w')
def work():
    time.sleep(0.2)
    note('thread')
def application(environ, start_response):
    threading.Thread(target=work).start()
    left_open.write('flushed')
    print('unfinished', end='')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x']
'''


def test_end_of_the_process(transport, tmp_path):
    """W77: threads are waited for, then atexit functions run once, and what stood in buffers is written."""
    notes = tmp_path / 'notes'
    server = transport.serve(END, env={'NOTES': str(notes)})
    assert server.request().body == b'x'
    server.stop()
    assert notes.read_text() == 'thread atexit '
    assert (tmp_path / 'notes.open').read_text() == 'flushed'


def test_streams_while_others_wait(fcgi_unix):
    """The GIL is free while a request waits for its client: another thread answers at once."""
    server = fcgi_unix('''
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/read':
                environ['wsgi.input'].read()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            if environ['PATH_INFO'] == '/write':
                return (b'x' * 100000 for _ in range(100))
            return [b'quick']
    ''', '--threads', '3')
    reading = server.start('POST', '/read', content_length=1000)
    writing = server.start('GET', '/write')
    writing.finish_body()
    writing.wait_for(b'xxx')
    start = time.monotonic()
    assert server.request(path='/quick', timeout=3).body == b'quick'
    assert time.monotonic() - start < 3
    reading.write(b'x' * 1000)
    reading.finish_body()
    assert reading.response().body == b'quick'
    assert len(writing.response().body) == 10_000_000
