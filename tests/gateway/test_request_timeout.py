"""--request-timeout, --slow and SIGUSR2: P7. Requests that take too long leave their Python stack in the log; what can be
ended is ended inside the process, the rest with the process."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

import fcgi
from fcgi import wait_for
from harness import Transport
from settings import SANITIZED, SLOW, TSAN
from test_processes import serve, workers           # noqa: F401 (serve is a fixture)

SHORT = 0.4 * SLOW
LIMIT = f'{int(SHORT * 1000)}ms'
PAIRS = ('--threads', '2', '--request-timeout', f'{2 * SLOW:g}s')     # time for two requests to meet, on a busy machine
GRACE = 2                                           # seconds from the exception to the end of the process

# By PATH_INFO: a function below; then the answer is the time the application was loaded and the pid. GATE (the query
# string) is a file.
APP = '''
import ctypes, os, signal, socket, subprocess, sys, threading, time

born = str(time.time_ns())
both = threading.Barrier(2)
libc = ctypes.PyDLL(None)
in_main = lambda: threading.current_thread() is threading.main_thread()

def hello(gate):
    pass

def sleep(gate):
    time.sleep(999)

def receive(gate):
    a, b = socket.socketpair()
    a.recv(1)

def lock(gate):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def loop(gate):
    while True:
        pass

def child(gate):
    subprocess.run(['sleep', '999'])

def swallow(gate):
    while True:
        try:
            while True:
                time.sleep(0.1)
        except BaseException:
            pass

def swallow_all_but_kill(gate):
    try:
        time.sleep(999)
    except Exception:
        os._exit(3)

# Keeps the GIL until the gate is there, as a long C function does, and takes next to no processor: PyDLL does not let
# go of the GIL, and for an hour no other thread may ask for it.
def hold_gil(gate):
    sys.setswitchinterval(3600)
    while libc.access(gate.encode(), os.F_OK):
        libc.usleep(1000)
    sys.setswitchinterval(0.005)

def wait(gate):
    open(gate + '.waiting', 'w').close()
    while not os.path.exists(gate):
        time.sleep(0.005)

# Two requests at once, of which one runs in each of two threads; one of them is done at once.
def other_sleeps(gate):
    both.wait()
    in_main() or time.sleep(999)

def other_loops(gate):
    both.wait()
    in_main() or loop(gate)

def main_swallows(gate):
    both.wait()
    in_main() and swallow(gate)

def both_run(gate):
    both.wait()

def application(environ, start_response):
    name, gate = environ['PATH_INFO'].strip('/'), environ['QUERY_STRING']
    if name in STREAMS:
        return STREAMS[name](environ, start_response)
    globals()[name](gate)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%s %d' % (born.encode(), os.getpid())]

def sent(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'first'
    time.sleep(999)

def announced(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '100')])
    yield b'first'
    time.sleep(999)

def body(environ, start_response):
    data = environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [data]

# No Python code runs in this thread from the first read of the pipe to the end of the request.
def other_reads_pipe(environ, start_response):
    both.wait()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'main'] if in_main() else iter(open(environ['QUERY_STRING'], 'rb', 0).readline, b'')

def large(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x' * 50_000_000]

def blocks(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return (b'x' * 10_000 for i in range(5000))

def written(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])(b'x' * 50_000_000)
    return []

def file(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    # Of its own: two requests at once would cut off each other's.
    file = open(f'big{threading.get_ident()}', 'w+b')
    file.truncate(50_000_000)
    return environ['wsgi.file_wrapper'](file)

class Closing:
    def __iter__(self):
        return iter([b'whole'])
    def close(self):
        time.sleep(999)

def close(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '5')])
    return Closing()

STREAMS = {f.__name__: f for f in (sent, announced, body, other_reads_pipe, large, blocks, written, file, close)}
'''

prompt_signals = pytest.mark.skipif(TSAN, reason='signals do not interrupt a computation here')

STACK = r'longer than --request-timeout; stacks, most recent call first:\n(.*\n)*?.*File ".*app\.py", line \d+,? in '


@pytest.fixture
def patient(fcgi_unix):
    """A server with that application; the lines that any of these tests may see are no failures."""
    def start(*options, start=fcgi_unix, app=APP, **keywords):
        server = start(app, '--request-timeout', LIMIT, *options, **keywords)
        allow(server)
        return server
    return start


def allow(server):
    server.allow_log(r'warning: (.*has run for|thread|  File|  \.\.\.| *\()')
    server.allow_log(r'ended by --request-timeout|does not end by --request-timeout|could not end them')


def assert_gateway_timeout(server, response):
    """504, with a page whose id is in the log."""
    assert response.status == 504 and response.text.endswith('</html>\n'), response
    assert response.exit_code == 1 if server.is_cgi else response.complete
    page_id = re.search(r'<code>(\w{12})</code>', response.text)[1]
    assert f'[{page_id}]' in server.logged + response.stderr.decode()


def identity(server, **keywords):
    """(time of loading, pid) of the process that answers."""
    response = server.request(path='/hello', **keywords)
    assert response.status == 200 and response.complete, response
    return tuple(response.text.split())


# --- what can be ended --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('way', ['sleep', 'receive', 'lock', pytest.param('loop', marks=prompt_signals), 'child'])
def test_main_thread(transport, way):
    """P7: a request that sleeps for ever, waits for a socket, a lock or a child, or computes: its stack is in the log,
    the client gets 504 with an id, and the process survives."""
    server = transport.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {0, 1}
    before = None if transport.is_cgi else identity(server)
    start = time.monotonic()
    response = server.request(path=f'/{way}')
    assert SHORT * 0.9 <= time.monotonic() - start < SHORT + GRACE * SLOW
    assert_gateway_timeout(server, response)
    server.wait_log(STACK + way)
    if transport.is_cgi:
        assert response.exit_code == 1
    else:
        assert identity(server) == before


def test_order_in_the_log(cgi):
    """P7: the stack is in the log before the request ends; the exception is none that `except Exception` catches."""
    server = cgi.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {1}
    assert_gateway_timeout(server, server.request(path='/swallow_all_but_kill'))
    log = server.logged
    assert 0 < log.index('in swallow_all_but_kill') < log.index('ended by --request-timeout')


@pytest.mark.parametrize('way', ['sent', 'announced'])
def test_head_already_sent(transport, way):
    """P7: where the head is out the transfer breaks, so that the client can tell."""
    server = transport.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {0, 1}
    response = server.request(path=f'/{way}')
    assert response.status == 200 and response.body == b'first'
    assert response.exit_code == 1 if transport.is_cgi else not response.complete
    if transport.is_fcgi:
        assert identity(server)


def pair(server, path, query=''):
    """Two requests that run at the same time, of which one is done at once: its response, and the other exchange."""
    exchanges = [server.start(path=path, query=query) for _ in range(2)]
    for exchange in exchanges:
        exchange.finish_body()

    def look():
        return [e for e in exchanges if e.conn._poll(1, 0)]
    done = wait_for(look, 10, 'one of two answers')[0]
    return done.response(), next(e for e in exchanges if e is not done)


def test_other_thread(patient):
    """P7: a loop of Python code in another thread than the main one is ended there."""
    server = patient(*PAIRS)
    before = identity(server)
    done, stuck = pair(server, '/other_loops')
    assert done.status == 200
    assert_gateway_timeout(server, stuck.response())
    server.wait_log(STACK + 'loop')
    assert identity(server) == before and 'has to go' not in server.logged


def test_the_next_request_is_never_hit(patient):
    """P7: requests that end just when their time is over: the next one on the same thread has nothing of it."""
    server = patient('--threads', '2', '--request-timeout', f'{int(60 * SLOW)}ms', app='''
        import time
        def application(environ, start_response):
            end = time.monotonic() + float(environ['QUERY_STRING'] or 0)
            while time.monotonic() < end:
                pass
            start_response('200 OK', [])
            if not environ['QUERY_STRING']:
                for i in range(2000):
                    pass
            return [b'fine']
    ''')
    conn = server.connect(timeout=10)
    ended = 0
    for i in range(60):
        edge = conn.request(server.params(query=f'{(0.050 + i % 30 * 0.001) * SLOW:.3f}'), keep=True)
        assert edge.status in (200, 504)
        ended += edge.status == 504
        for _ in range(3):
            quick = conn.request(server.params(), keep=True)
            if quick.status == 504:
                # A machine under load may keep it waiting so long itself; then its own line says so.
                assert_gateway_timeout(server, quick)
                page_id = re.search(r'<code>(\w{12})</code>', quick.text)[1]
                assert f'[{page_id}] GET /: has run for' in server.logged
            else:
                assert quick.status == 200 and quick.body == b'fine', (i, quick)
    assert ended > 0 or SLOW > 1
    assert 'its process has to go' not in server.logged


def test_thrown_too_late(patient, tmp_path):
    """P7: an exception set for another thread that ends its request without running Python code any more: it is taken
    back, and does not wait for the next request."""
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    server = patient(*PAIRS)
    before = identity(server)
    done, reading = pair(server, '/other_reads_pipe', str(pipe))
    assert done.body == b'main'
    with open(pipe, 'wb', 0) as file:
        server.wait_log('longer than --request-timeout')
        assert reading.silent(0.5)              # the exception is set, and cannot be raised
        file.write(b'late')
    response = reading.response()
    assert response.status == 200 and response.body == b'late' and response.complete
    for _ in range(5):
        done, other = pair(server, '/both_run')
        assert done.status == other.response().status == 200
    assert identity(server) == before and 'has to go' not in server.logged


def test_application_has_the_signal(patient):
    """P7: an application that takes the signal for itself loses nothing but the way out of blocking calls."""
    server = patient(app=APP + f'''
signal.signal({signal.SIGRTMIN + 12}, lambda *_: None)
''')
    before = identity(server)
    assert_gateway_timeout(server, server.request(path='/loop'))
    assert identity(server) == before


@pytest.mark.parametrize('threads', [1, 2])
def test_waiting_for_the_body(patient, threads):
    """P7: a client that does not send its body costs no process: the waiting request ends, in any thread."""
    server = patient('--threads', str(threads))
    before = identity(server)
    exchanges = [server.start('POST', '/body', content_length=10) for _ in range(threads)]
    for exchange in exchanges:
        exchange.write(b'half')
    for exchange in exchanges:
        assert_gateway_timeout(server, exchange.response())
    assert identity(server) == before and 'has to go' not in server.logged


def test_waiting_for_the_body_in_cgi(cgi):
    """P7: the same for a CGI process, which ends by itself."""
    server = cgi.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {1}
    exchange = server.start('POST', '/body', content_length=10)
    exchange.write(b'half')
    exchange.wait_for(b'</html>')
    exchange.finish_body()
    assert_gateway_timeout(server, exchange.response())
    assert 'has to go' not in server.logged


WAYS = ['large', 'blocks', 'written', 'file']


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('threads', [1, 2])
def test_stuck_client(patient, threads, way):
    """P7: nor does one that does not read its answer: it gets a part of it."""
    server = patient('--threads', str(threads))
    before = identity(server)
    conns = [server.connect() for _ in range(threads)]
    for conn in conns:
        conn.sock.send(fcgi.request_bytes(server.params(path=f'/{way}')))
    wait_for(lambda: server.logged.count('ended by --request-timeout') == threads, 10, 'their end')
    assert identity(server, timeout=10) == before
    for conn in conns:
        response = conn.response()
        assert response.status == 200 and not response.complete
    assert 'has to go' not in server.logged


@pytest.mark.parametrize('way', WAYS)
def test_stuck_web_server(cgi, way):
    """P7: a CGI process whose output nobody reads ends."""
    server = cgi.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {1}
    exchange = server.start(path=f'/{way}')
    exchange.finish_body()
    assert exchange.process.wait() == 1
    response = exchange.response()
    assert response.status == 200 and len(response.body) < 50_000_000
    assert 'has to go' not in server.logged


def test_close(patient):
    """P7: close() is a part of the request: the response is whole, and the thread free again."""
    server = patient()
    server.expect_log(r'close\(\) of the response raised RequestTimeout')
    server.allow_log('RequestTimeout')
    before = identity(server)
    response = server.request(path='/close')
    assert response.status == 200 and response.body == b'whole'
    assert identity(server) == before


def test_loading(transport, tmp_path):
    """P7: an application that does not come back from its import is 504, too; it is loaded anew by the next request."""
    gate, script = tmp_path / 'gate', tmp_path / 'site' / 'app.py'
    script.parent.mkdir()
    script.write_text(f'''
import os, time
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'loaded']
''')
    server = transport.serve_scripts('--scripts-in', str(script.parent), '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {0, 1}
    names = {'SCRIPT_FILENAME': str(script)}
    assert_gateway_timeout(server, server.request(params=names))
    gate.touch()
    assert server.request(params=names).body == b'loaded'


def test_waiting_for_the_one_that_loads(world, tmp_path):
    """P7: a request that waits for another thread to load the application ends as well."""
    script = tmp_path / 'site' / 'app.py'
    script.parent.mkdir()
    script.write_text('import time\nwhile True:\n    try:\n        time.sleep(0.1)\n    except BaseException:\n'
                      '        time.sleep(1)\n        raise SystemExit\n')
    server = Transport(world, 'fcgi-unix').serve_scripts('--scripts-in', str(script.parent), '--request-timeout', LIMIT,
                                                         '--threads', '2')
    allow(server)
    server.allow_log('SystemExit|could not be loaded|exited while|LoadError|RequestTimeout')
    exchanges = [server.start(params={'SCRIPT_FILENAME': str(script)}) for _ in range(2)]
    for exchange in exchanges:
        exchange.finish_body()
    for exchange in exchanges:
        assert_gateway_timeout(server, exchange.response())
    assert 'has to go' not in server.logged


def test_exception_class(fcgi_unix):
    """P7: _wsgi_cgi.RequestTimeout is there to be caught by those who want to, with or without the option."""
    server = fcgi_unix('''
        import time
        from _wsgi_cgi import RequestTimeout
        assert issubclass(RequestTimeout, BaseException) and not issubclass(RequestTimeout, Exception)
        assert RequestTimeout.__doc__
        def application(environ, start_response):
            try:
                time.sleep(float(environ['QUERY_STRING'] or 0))
            except RequestTimeout:
                start_response('503 Busy', [])
                return [b'caught']
            start_response('200 OK', [])
            return [b'in time']
    ''', '--request-timeout', LIMIT)
    allow(server)
    assert server.request().body == b'in time'
    response = server.request(query='99')
    assert response.status == 503 and response.body == b'caught'
    assert server.request().body == b'in time'


# --- what cannot ---------------------------------------------------------------------------------------------------------

def test_swallowed(transport):
    """P7: an application that catches BaseException and goes on: 504 after the grace period, and the process goes: by
    executing itself again on the same pid, in CGI by its end."""
    server = transport.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {0, 1}
    server.expect_log('swallow: does not end by --request-timeout; its process has to go' +
                      ('$' if transport.name == 'cgi' else '; a new one takes its place$'))
    server.check_fds = False            # another program on the same pid
    before = None if transport.is_cgi else identity(server)
    start = time.monotonic()
    response = server.request(path='/swallow')
    assert SHORT + GRACE * 0.9 < time.monotonic() - start
    assert_gateway_timeout(server, response)
    if transport.is_cgi:
        assert response.exit_code == 1
    else:
        after = identity(server, timeout=20)
        assert after[0] != before[0] and after[1] == before[1] == str(server.pid)


def children(pid):
    """The pids of its children, whichever thread made them."""
    return [c for path in Path(f'/proc/{pid}/task').glob('*/children') for c in path.read_text().split()]


def lose_a_thread(server, way, gate):
    """The response to a request whose thread is lost, and the exchange of one that runs meanwhile in the other thread,
    until `gate` is there."""
    done, stuck = pair(server, f'/{way}')
    assert done.status == 200
    server.wait_log('longer than --request-timeout', 10)
    running = server.start(path='/wait', query=str(gate))
    running.finish_body()
    wait_for(lambda: gate.with_suffix('.waiting').exists(), 10, 'the other request')
    return stuck.response(), running


@pytest.mark.parametrize('way', ['other_sleeps', 'main_swallows'])
def test_lost_thread_without_a_master(patient, tmp_path, way):
    """P7: a thread that blocks in C where nothing reaches it, or does not want to end: the process starts again on the
    same pid, after the running request of another thread has got its whole answer."""
    limit = 5 * SLOW
    server = patient('--threads', '2', '--request-timeout', f'{limit:g}s')
    server.check_fds = False
    before = identity(server)
    lost, running = lose_a_thread(server, way, tmp_path / 'gate')
    assert_gateway_timeout(server, lost)
    # The code on disk is tried first, by a child; then the process waits for this request alone.
    server.wait_log('the new code loads', 20)
    wait_for(lambda: not children(server.pid), 5, 'its end')
    assert running.silent(0.2)
    (tmp_path / 'gate').touch()
    response = running.response()
    assert response.complete and response.text.split() == list(before)
    after = identity(server, timeout=20)
    assert after[0] != before[0] and after[1] == before[1]


@pytest.mark.parametrize('way', ['other_sleeps', 'main_swallows'])
def test_lost_thread_under_a_master(patient, serve, tmp_path, way):         # noqa: F811
    """P7: under a master a new worker takes the place of that process, which finishes the running request first."""
    server = patient('--threads', '2', '--processes', '1', '--request-timeout', f'{5 * SLOW:g}s', start=serve)
    before = identity(server)
    lost, running = lose_a_thread(server, way, tmp_path / 'gate')
    assert_gateway_timeout(server, lost)
    after = wait_for(lambda: (now := identity(server)) != before and now, 20, 'the new worker')
    assert {before[1], after[1]} == {str(pid) for pid in workers(server)}
    assert running.silent(0.2)
    (tmp_path / 'gate').touch()
    response = running.response()
    assert response.complete and response.text.split() == list(before)
    wait_for(lambda: workers(server) == {int(after[1])}, 5, 'the end of the old worker')
    assert 'was killed' not in server.logged and 'exited' not in server.logged


@prompt_signals
def test_gil_is_held(transport, tmp_path):
    """P7: a C function that keeps the GIL: the stack comes all the same, and the client gets 504."""
    server = transport.serve(APP, '--request-timeout', LIMIT)
    allow(server)
    server.exit_codes = {0, 1}
    server.check_fds = False
    gate = tmp_path / 'gate'
    before = None if transport.is_cgi else identity(server)
    exchange = server.start(path='/hold_gil', query=str(gate))
    exchange.finish_body()
    response = exchange.response(20)
    assert_gateway_timeout(server, response)
    server.wait_log(STACK + 'hold_gil')
    if transport.is_fcgi:
        gate.touch()
        assert identity(server, timeout=20)[1] == before[1]


def test_stop_does_not_wait_for_a_lost_thread(patient):
    """P4, P7: SIGTERM: what nothing can end is not waited for."""
    server = patient(*PAIRS, '--graceful-timeout', '60s', '--reload', 'off')
    identity(server)
    _, stuck = pair(server, '/other_sleeps')
    server.signal(signal.SIGTERM)
    start = time.monotonic()
    assert_gateway_timeout(server, stuck.response())
    assert server.wait(15) == 0 and time.monotonic() - start < 15 * SLOW


# --- --slow and SIGUSR2 --------------------------------------------------------------------------------------------------

def test_slow(transport, tmp_path):
    """P7: --slow: one dump of the stack of that thread alone, with function names and lines; the request goes on."""
    server = transport.serve(APP, '--slow', LIMIT, *([] if transport.is_cgi else ['--threads', '2']))
    allow(server)
    gate = tmp_path / 'gate'
    quick = server.request(path='/hello')
    assert quick.status == 200 and 'has run' not in server.logged + quick.stderr.decode()
    exchange = server.start(path='/wait', query=str(gate))
    exchange.finish_body()
    assert exchange.silent(SHORT * 3)
    gate.touch()
    response = exchange.response()
    assert response.status == 200
    # The log of an instance has it as well.
    log = response.stderr.decode() if transport.is_warm else server.logged
    assert log.count('longer than --slow') == 1 and log.count('in wait\n') == 1
    assert re.search(r'GET /wait\S*: has run for \d+\.\d{3} s, longer than --slow', log)
    assert re.search(r'File ".*app\.py", line \d+, in wait\n.*File ".*app\.py", line \d+, in application', log)


def test_counters(patient, tmp_path):
    """P7, P8: the status page counts both."""
    server = patient('--slow', f'{int(SHORT * 500)}ms', '--status-path', '/status')
    for _ in range(2):
        assert server.request(path='/sleep').status == 504
    status = server.request(path='/status', query='json').json
    assert status['slow requests'] == status['timed out requests'] == 2


def dumps(server):
    return server.logged.count('SIGUSR2: stacks of all threads')


def test_usr2(fcgi_unix, tmp_path):
    """P7: SIGUSR2: the stacks of all threads, also while all of them are busy, and those of the application's own."""
    server = fcgi_unix(APP + '''
def ticking():
    wait(os.environ['GATE'])
threading.Thread(target=ticking, name='ticker').start()
''', '--threads', '2', env={'GATE': str(tmp_path / 'c')})
    gates = [tmp_path / 'a', tmp_path / 'b', tmp_path / 'c']
    exchanges = [server.start(path='/wait', query=str(gate)) for gate in gates[:2]]
    for exchange in exchanges:
        exchange.finish_body()
    wait_for(lambda: all(gate.with_suffix('.waiting').exists() for gate in gates), 5, 'the requests')
    server.signal(signal.SIGUSR2)
    server.wait_log(r'thread 1 of 2, in GET /wait\S* for \d+\.\d+ s:\n.*File ".*", line \d+, in wait')
    server.wait_log(r'thread "ticker" of the application:\n(.*File.*\n)*?.*in ticking')
    assert dumps(server) == 1
    server.signal(signal.SIGUSR2)
    wait_for(lambda: dumps(server) == 2, 5, 'a second dump')
    for gate in gates:
        gate.touch()
    assert all(e.response().status == 200 for e in exchanges)


@prompt_signals
def test_usr2_while_the_gil_is_held(fcgi_unix, tmp_path):
    """P7: a C function that keeps the GIL: each thread writes down its own stack."""
    server = fcgi_unix(APP, '--threads', '2')
    gate = tmp_path / 'gate'
    exchange = server.start(path='/hold_gil', query=str(gate))
    exchange.finish_body()
    assert exchange.silent(0.2)
    server.signal(signal.SIGUSR2)
    server.wait_log(r'in GET /hold_gil\S* for \d+\.\d+ s:\n.*File ".*app.py", line \d+,? in hold_gil', 10)
    gate.touch()
    assert exchange.response(20).status == 200


def test_usr2_to_a_master(serve, tmp_path):         # noqa: F811
    """P7: a master hands it on to all workers."""
    server = serve(APP, '--processes', '2')
    wait_for(lambda: len(workers(server)) == 2, 5, 'two workers')
    identity(server)
    wait_for(lambda: {identity(server)[1] for _ in range(10)} == {str(p) for p in workers(server)}, 10, 'both')
    server.signal(signal.SIGUSR2)
    wait_for(lambda: dumps(server) == 2, 5, 'two dumps')
    for pid in workers(server):
        assert f'wsgi-cgi[{pid}]: notice: SIGUSR2' in server.logged


# --- what it costs --------------------------------------------------------------------------------------------------------

MODULES = '''
import sys
names = sorted(sys.modules)
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [' '.join([str(len(os.listdir('/proc/self/task')))] + names).encode()]
'''


@pytest.mark.skipif(SANITIZED, reason='sanitizers may have a thread of their own')
def test_off_costs_nothing(cgi):
    """P7: CGI without the options: no thread, no module more."""
    threads, *modules = cgi.serve(MODULES).request().text.split()
    assert threads == '1' and not {'faulthandler', 'threading', 'traceback'} & set(modules)
    threads, *more = cgi.serve(MODULES, '--request-timeout', '9s', '--slow', '9s').request().text.split()
    assert threads == '2' and set(more) - set(modules) <= {'faulthandler', '_signal'}


@pytest.mark.parametrize('option', ['--request-timeout', '--slow'])
@pytest.mark.parametrize('value', ['-1', 'x', '1h', '2000m', ''])
def test_refused_values(run, option, value):
    """P11: one line that says what was read and what is allowed."""
    done = run(option, value, 'app.py')
    assert done.code == 64 and f'{option}: invalid value "{value}": expected a time from 0' in done.stderr


# --- a thread of the application that waits while the request ends -----------------------------------------------------

# Makes two moments as long as a test needs them: the watchdog's answer in a request's place, and the wait of another
# thread, which has the name "late", for its turn in the request.
SLOW_MOMENTS = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void wait_for(const char *moment)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.begun", getenv("MOMENTS"), moment);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    snprintf(path, sizeof path, "%s/%s.end", getenv("MOMENTS"), moment);
    while (access(path, F_OK) < 0)
        usleep(2000);
}
ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int) = dlsym(RTLD_NEXT, "sendmsg");
    for (size_t i = 0; i < m->msg_iovlen; i++)
        if (memmem(m->msg_iov[i].iov_base, m->msg_iov[i].iov_len, " 504 ", 5) != NULL)
            wait_for("answer");
    return real(fd, m, flags);
}
int pthread_mutex_lock(pthread_mutex_t *lock)
{
    static int (*real)(pthread_mutex_t *);
    char name[16] = "";
    if (real == NULL)
        real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    pthread_getname_np(pthread_self(), name, sizeof name);
    if (strcmp(name, "late") == 0 && lock->__data.__kind == PTHREAD_MUTEX_ERRORCHECK_NP) /* not the GIL's */
        wait_for("turn");
    return real(lock);
}
'''

LATE = '''
import os, threading, time
at = os.environ['MOMENTS'] + '/'
def there(name):
    return os.path.exists(at + name)
def late(call):
    while not there('answer.begun'):
        time.sleep(0.002)
    with open('/proc/thread-self/comm', 'w') as comm:
        comm.write('late')
    try:
        word = repr(call())
    except Exception as error:
        word = repr(error)
    with open('/proc/thread-self/comm', 'w') as comm:
        comm.write('done')
    with open(at + 'said.new', 'w') as f:
        f.write(word)
    os.rename(at + 'said.new', at + 'said')
class Body(list):
    def __del__(self):                  # nothing of the request is left
        open(at + 'over', 'w').close()
def application(environ, start_response):
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    calls = {'input': environ['wsgi.input'].read, 'write': lambda: write(b'x'),
             'start_response': lambda: start_response('200 OK', [])}
    threading.Thread(target=late, args=(calls[environ['QUERY_STRING']],)).start()
    while not there('answer.end'):
        try:
            time.sleep(0.01)
        except BaseException:
            pass
    return Body([b'too late'])
'''


@pytest.fixture(scope='module')
def slow_moments(tmp_path_factory):
    """A library to be loaded before others."""
    if SANITIZED:
        pytest.skip('a sanitizer has to be the first library')
    if not shutil.which('cc'):
        pytest.skip('there is no cc')
    folder = tmp_path_factory.mktemp('moments')
    (folder / 'moments.c').write_text(SLOW_MOMENTS)
    subprocess.run(['cc', '-shared', '-fPIC', '-o', folder / 'moments.so', folder / 'moments.c', '-ldl'], check=True)
    return folder / 'moments.so'


@pytest.mark.parametrize('what', ['input', 'write', 'start_response'])
def test_used_by_a_thread_while_the_request_ends(serve, tmp_path, slow_moments, what):  # noqa: F811
    """P7: a thread of the application that had to wait for its turn in a request finds it over: RuntimeError."""
    server = serve(LATE, '--threads', '2', '--request-timeout', LIMIT,
                   env={'LD_PRELOAD': str(slow_moments), 'MOMENTS': str(tmp_path)})
    server.allow_log('.')
    exchange = server.start(query=what)
    exchange.finish_body()
    # The watchdog answers, and keeps the request meanwhile; the thread waits for it.
    wait_for(lambda: (tmp_path / 'turn.begun').exists(), 10, 'the late thread')
    (tmp_path / 'answer.end').touch()
    assert exchange.response().status == 504
    wait_for(lambda: (tmp_path / 'over').exists(), 10, 'the end of the request')
    (tmp_path / 'turn.end').touch()
    wait_for(lambda: (tmp_path / 'said').exists(), 10, 'what the late thread has to say')
    assert 'after its request ended' in (tmp_path / 'said').read_text()
