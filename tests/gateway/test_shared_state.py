"""What several threads of one process use at the same time: the applications of --scripts-in, work after the response, a
list of headers, a body, a file. On a free-threaded Python they really run at once; the results are the same with a GIL."""

import os
import threading

import pytest

# --- helpers ---------------------------------------------------------------------------------------------------------------


def clients(n, run):
    """run(number) in n threads at once; the first exception of one is raised."""
    failed = []

    def guarded(number):
        try:
            run(number)
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


def replace(path, text):
    """A reader sees the old file or the new one."""
    new = path.with_suffix('.new')
    new.write_text(text)
    os.replace(new, path)


# --- applications ----------------------------------------------------------------------------------------------------------

# An object and not a function: with the last reference it is gone at once, on a free-threaded Python, too.
SCRIPT = '''
class Application:
    def __init__(self, word):
        self.word = [word] * 20
    def __call__(self, environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [' '.join(self.word).encode()]
application = Application('{name}-{version}')
'''


# What the collector's threshold is, which is raised while an application is loaded.
THRESHOLD = '''
import gc
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(gc.get_threshold()[0]).encode()]
'''


@pytest.mark.parametrize('fails', [False, True])
def test_scripts_change(fcgi_unix, tmp_path, fails):
    """Four threads load and call the same few scripts while these change; with `fails`, every second version cannot be
    loaded. Each answer is whole, and of a version that the script had between the request's begin and its end. When no load
    runs the collector's threshold is what it was."""
    names = ['one', 'two', 'three']
    versions = dict.fromkeys(names, 0)          # begun to be written
    whole = dict.fromkeys(names, 0)             # in place
    site = tmp_path / 'www'
    site.mkdir()
    answers = threading.Semaphore(0)
    done = threading.Event()

    def is_broken(version):
        return fails and version % 2 == 1

    def write(name):
        versions[name] += 1
        version = versions[name]
        replace(site / f'{name}.py', f'raise KeyError("broken-{name}-{version}")' if is_broken(version)
                else SCRIPT.format(name=name, version=version))
        whole[name] = version
    for name in names:
        write(name)
    (site / 'threshold.py').write_text(THRESHOLD)
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site), '--threads', '4')
    if fails:
        server.allow_log('LoadError|could not be loaded|broken-')

    conns = [server.connect() for _ in range(4)]

    def threshold():
        return server.request(params={'SCRIPT_FILENAME': f'{site}/threshold.py', 'SCRIPT_NAME': '/threshold.py'}).text
    usual = threshold()

    def client(number):
        conn = conns[number]
        for i in range(250):
            name = names[(number + i // 10) % len(names)]
            first = whole[name]
            response = server.request(conn=conn, keep=True, params={
                'SCRIPT_FILENAME': f'{site}/{name}.py', 'SCRIPT_NAME': f'/{name}.py', 'PATH_INFO': ''})
            possible = range(first, versions[name] + 1)
            answers.release()
            if response.status == 500 and any(map(is_broken, possible)):
                continue
            assert response.status == 200, response
            assert response.text in [' '.join([f'{name}-{v}'] * 20) for v in possible if not is_broken(v)]

    def writer():
        turn = 0
        while not done.is_set():
            if answers.acquire(timeout=0.1):
                write(names[turn % len(names)])
                turn += 1
    thread = threading.Thread(target=writer)
    thread.start()
    try:
        clients(4, client)
    finally:
        done.set()
        thread.join()
    assert threshold() == usual


# --- work after the response -----------------------------------------------------------------------------------------------

AFTER = '''
import threading
noted, made, wrong = [], [], []
threads = []
own = threading.local()
count = 0
lock = threading.Lock()

def work(request, word):
    if own.request != request:
        wrong.append((own.request, request))
    made.append(word)

def note_much(after, request, number):
    for i in range(300):
        word = (request, number, i)
        try:
            after(work, request, word)
        except RuntimeError as e:
            assert 'used after its request ended' in str(e), e
            return
        noted.append(word)

def result():
    for t in threads:
        t.join()
    return [f'{len(noted)} {sorted(noted) == sorted(made)} {wrong}'.encode()]

def application(environ, start_response):
    global count
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/result':
        return result()
    with lock:
        count += 1
        own.request = count
        mine = [threading.Thread(target=note_much, args=(environ['wsgi_cgi.after_response'], count, n)) for n in range(3)]
        threads.extend(mine)
    for t in mine:
        t.start()
    return [b'']
'''


def test_work_after_the_response(fcgi_unix):
    """Threads of the application note work while their request ends: what was accepted is made, once, for that request;
    all else is refused."""
    server = fcgi_unix(AFTER, '--threads', '2')

    conns = [server.connect() for _ in range(2)]

    def client(number):
        for i in range(60):
            assert server.request(conn=conns[number], keep=True).status == 200
    clients(2, client)
    noted, same, wrong = server.request(path='/result').text.split(' ', 2)
    assert int(noted) > 0 and (same, wrong) == ('True', '[]')


# --- headers and bodies ----------------------------------------------------------------------------------------------------

CHANGES = '''
import itertools, threading
changing = []
numbers = itertools.count()

def fill():
    """New objects each time, so that the old ones are freed."""
    n = next(numbers)
    return [make(n, i) for i in range(8)]

def change(stop):
    while not stop.is_set():
        changing[:] = fill()
        changing.clear()
        changing.extend(fill())

def with_changes(function):
    stop = threading.Event()
    threads = [threading.Thread(target=change, args=(stop,)) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        return function()
    finally:
        stop.set()
        for t in threads:
            t.join()
'''


def test_headers_change(fcgi_unix):
    """A thread changes the list of headers while start_response() reads it: it gets whole headers."""
    server = fcgi_unix(CHANGES + '''
def make(n, i):
    return f'X-Header-{n}-{i}', f'value {n}-{i} ' + 'v' * 40

def application(environ, start_response):
    def begin():
        for _ in range(40000):
            start_response('200 OK', changing, (None, None, None))
    with_changes(begin)
    return [b'whole']
''')
    for _ in range(3):
        response = server.request(timeout=60)
        assert response.status == 200 and response.body == b'whole', response
        for name, value in response.headers:
            if name.startswith('X-Header-'):
                assert value == f'value {name[len("X-Header-"):]} ' + 'v' * 40


def test_body_changes(fcgi_unix):
    """The same for the list that is the response: what is sent is what it was at one moment."""
    server = fcgi_unix(CHANGES + '''
def make(n, i):
    return f'{n:08d}'.encode()

stop = threading.Event()
threads = [threading.Thread(target=change, args=(stop,)) for _ in range(2)]

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if environ['PATH_INFO'] == '/stop':
        stop.set()
        for t in threads:
            t.join()
        return [b'stopped']
    if not threads[0].is_alive():
        for t in threads:
            t.start()
    return changing
''')
    conn = server.connect()
    for _ in range(200):
        body = server.request(conn=conn, keep=True, timeout=30).body
        words = {body[at:at + 8] for at in range(0, len(body), 8)}
        assert len(body) % 64 == 0 and len(words) <= 2, body
    assert server.request(path='/stop', timeout=30).body == b'stopped'


def test_one_iterator(fcgi_unix):
    """Several requests may get the same iterator: each block goes to one of them."""
    server = fcgi_unix('''
import threading
class Blocks:
    lock = threading.Lock()
    n = 0
    def read(self, size):
        with self.lock:
            self.n += 1
            return f'{self.n:08d}'.encode() if self.n <= 4000 else b''
only = None
def application(environ, start_response):
    global only
    with Blocks.lock:
        if only is None:
            only = environ['wsgi.file_wrapper'](Blocks())
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return only
''', '--threads', '4')
    bodies = []
    conns = [server.connect() for _ in range(4)]

    def client(number):
        bodies.append(server.request(conn=conns[number], keep=True, timeout=30).body)
    clients(4, client)
    words = [body[at:at + 8] for body in bodies for at in range(0, len(body), 8)]
    assert sorted(words) == [f'{n:08d}'.encode() for n in range(1, 4001)]


# --- files -----------------------------------------------------------------------------------------------------------------

def test_file_is_closed_once(fcgi_unix):
    """However many threads close a file_wrapper, its file is closed once."""
    server = fcgi_unix('''
import threading
class File:
    def __init__(self):
        self.closed = []
    def read(self, size):
        return b''
    def close(self):
        self.closed.append(1)
def application(environ, start_response):
    files = [File() for _ in range(200000)]
    wrappers = [environ['wsgi.file_wrapper'](f) for f in files]
    barrier = threading.Barrier(3)
    def close_all():
        barrier.wait()
        for w in wrappers:
            w.close()
    threads = [threading.Thread(target=close_all) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(sum(len(f.closed) != 1 for f in files)).encode()]
''')
    assert server.request(timeout=60).body == b'0'
