"""Threads of the application and the request's objects (wsgi.input, start_response, wsgi.errors), and RequestTimeout in
many threads at once: what a free-threaded Python runs at the same time, and any other in turns."""

import random
import threading
import time

import pytest

import fcgi
from settings import MIX_SECONDS, SLOW

pytestmark = pytest.mark.timeout(MIX_SECONDS + 60)

LIMIT = 0.05 * SLOW             # --request-timeout
COARSE = 0.02                   # the program's cheap clock is up to 10 ms behind

# One request of each thread at a time is shared with threads of the application, which never stop using its objects:
# they must reach this request, or nothing. Its body has one kind of byte.
ACROSS = '''
import sys, threading
sys.setswitchinterval(0.0001)
shared, wrong, counts, lock = {}, [], {}, threading.Lock()

def reads(input, start, write, errors, letter):
    data = input.read(100) + input.readline(10) + input.read1(10)
    if data.strip(letter + b'\\n'):
        wrong.append(f'read {data!r} in a request of {letter!r}')

def starts(input, start, write, errors, letter):
    start('500 Wrong', [('X-Wrong', 'yes')])
    wrong.append('a second start_response() worked')

def writes(input, start, write, errors, letter):
    write(b'wrong')
    wrong.append('write() in another thread worked')

def logs(input, start, write, errors, letter):
    if counts[logs] < 200:
        errors.write('a line of ')
        errors.write('another thread\\n')

def uses(fn):
    counts[fn] = 0
    while True:
        for objects in list(shared.values()):
            counts[fn] += 1
            try:
                fn(*objects)
            except (RuntimeError, AssertionError):
                pass
            except BaseException as error:
                wrong.append(f'{fn.__name__}: {error!r}')

def application(environ, start_response):
    with lock:
        if not counts:
            counts[None] = 0
            for fn in (reads, starts, writes, logs):
                threading.Thread(target=uses, args=(fn,), daemon=True).start()
    if environ['PATH_INFO'] == '/wrong':
        start_response('200 OK', [])
        return [repr(wrong[:5]).encode()]
    letter = environ['QUERY_STRING'].encode()
    write = start_response('200 OK', [('X-Letter', letter.decode())])
    shared[threading.get_ident()] = (environ['wsgi.input'], start_response, write, environ['wsgi.errors'], letter)
    while data := environ['wsgi.input'].read(500):
        if data.strip(letter + b'\\n'):
            wrong.append(f'got {data!r} in a request of {letter!r}')
    return [letter * 100]
'''


def load(server, nclients, talk, seconds=MIX_SECONDS):
    """talk(conn, number of the client), again and again in each client; what failed."""
    failures, end = [], time.monotonic() + seconds

    def client(number):
        try:
            with fcgi.Connection(server.address, 10 * SLOW) as conn:
                while time.monotonic() < end and not failures:
                    talk(conn, number)
        except Exception as error:
            failures.append(error)
    clients = [threading.Thread(target=client, args=(i,)) for i in range(nclients)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    return failures


def test_objects_across_the_end(fcgi_unix):
    """Threads of the application use wsgi.input, start_response, write() and wsgi.errors when their request is over,
    and while the next one begins: they get that request's, or RuntimeError, and every response is right."""
    server = fcgi_unix(ACROSS, '--threads', '3')
    done = []

    def talk(conn, number):
        letter = 'abcdef'[random.randrange(6)]
        body = (letter * 9 + '\n').encode() * random.randrange(300)
        response = conn.request(server.params('POST', query=letter, body=body), body, keep=True)
        assert response.status == 200 and response.body == letter.encode() * 100, response
        assert response.header('X-Letter') == letter and not response.header('X-Wrong'), response
        done.append(letter)
    failures = load(server, 3, talk)
    assert not failures, failures[:3]
    assert len(done) > 10 and server.request(path='/wrong', timeout=10).body == b'[]'


# Four threads of one request read lines, and call start_response(), at the same moment. All of the body is there, so
# nobody waits for the client.
AT_ONCE = '''
import sys, threading
sys.setswitchinterval(0.0001)

def application(environ, start_response):
    lines, results, begin = [], [], threading.Barrier(4)
    input = environ['wsgi.input']
    first = input.readline()

    def read():
        begin.wait()
        try:
            while line := input.readline():
                lines.append(line)
        except BaseException as error:
            results.append(repr(error))
        begin.wait()
        try:
            start_response('200 OK', [('X-Some', 'header')] * 20)
            results.append('ok')
        except AssertionError:
            results.append('second')
        except BaseException as error:
            results.append(repr(error))
    threads = [threading.Thread(target=read) for i in range(4)]
    for t in threads: t.start()
    for t in threads: t.join()
    if 'ok' not in results:
        start_response('500 Wrong', [])
    return [repr((sorted(results), [first] + sorted(lines))).encode()]
'''


def test_turns(fcgi_unix):
    """Another thread that is inside the request without waiting for the client is waited for, it is no error."""
    server = fcgi_unix(AT_ONCE, '--threads', '1')
    lines = [b'%06d\n' % i for i in range(400)]
    for _ in range(15):
        response = server.request('POST', body=b''.join(lines), timeout=10)
        assert response.body == repr((['ok', 'second', 'second', 'second'], lines)).encode()
        assert response.header_list('X-Some') == ['header'] * 20


# QUERY_STRING: when the client began it, and for how long it runs from then on, a moment at a time.
AROUND = '''
import time
def application(environ, start_response):
    began, work = map(float, environ['QUERY_STRING'].split('-'))
    text = b'ended'
    try:
        if environ['PATH_INFO'] == '/read':
            environ['wsgi.input'].read()
        while time.monotonic() < began + work:
            time.sleep(0.0005)
    except BaseException as error:
        text = b'%s %.6f' % (type(error).__name__.encode(), time.monotonic() - began)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [text]
'''


def around(server, told, early):
    """Talks about one request that ends near the limit, and a short one, which a late exception would hit."""
    def ask(conn, work):
        began = time.monotonic()
        response = conn.request(server.params(query=f'{began:.6f}-{work:.6f}'), keep=True)
        age = time.monotonic() - began
        if response.status == 504:
            told.append(age)
        elif response.body.startswith(b'RequestTimeout '):
            age = float(response.body.split()[1])
            told.append(age)
        else:
            assert response.body == b'ended', response
            return
        if age < LIMIT - COARSE:
            early.append((work, age, response))

    def talk(conn, number):
        ask(conn, LIMIT + random.uniform(-0.1, 0.1) * LIMIT)
        ask(conn, 0)
    return talk


def test_timeout_is_the_requests_own(fcgi_unix):
    """P7: requests that end around --request-timeout, in four threads: RequestTimeout reaches only one that is over
    the limit by then, never the next one of its thread."""
    server = fcgi_unix(AROUND, '--threads', '4', '--request-timeout', f'{int(LIMIT * 1000)}ms')
    server.allow_log('.*')
    told, early = [], []
    failures = load(server, 4, around(server, told, early))
    assert not failures, failures[:3]
    assert told and not early, (len(told), early[:3])


def test_timeout_ends_every_wait(fcgi_unix):
    """P7: the body never comes: each of four threads that wait for it gets RequestTimeout, and soon."""
    server = fcgi_unix(AROUND, '--threads', '4', '--request-timeout', f'{int(LIMIT * 1000)}ms')
    server.allow_log('.*')
    slow, count = [], []

    def talk(conn, number):
        with fcgi.Connection(server.address, 10 * SLOW) as own:
            began = time.monotonic()
            own.send(fcgi.head(server.params('POST', '/read', query=f'{began:.6f}-0', body=b'never')))
            response = own.response()
            age = time.monotonic() - began
            assert response.body.startswith(b'RequestTimeout ') or response.status == 504, response
            assert age >= LIMIT - COARSE, (age, response)
            count.append(age)
            if age > LIMIT + 2 * SLOW:
                slow.append(age)
    failures = load(server, 4, talk)
    assert not failures, failures[:3]
    assert count and not slow, slow
