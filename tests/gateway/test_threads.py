"""Request threads: F13, F30, F33, and the truth about wsgi.multithread (W13, W75)."""

import socket
import threading
import time

import pytest

import fcgi
from apps import BUSY, HELLO
from fcgi import wait_for
from settings import SLOW, TSAN

OVERLAP = '''
import threading, time
lock = threading.Lock()
inside = most = 0
threads = set()
def application(environ, start_response):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
        threads.add(threading.get_ident())
    if environ['PATH_INFO'] == '/meet':
        deadline = time.monotonic() + 10
        while most < int(environ['QUERY_STRING']) and time.monotonic() < deadline:
            time.sleep(0.002)
    elif environ['PATH_INFO'] == '/linger':
        time.sleep(0.02)
    with lock:
        inside -= 1
    start_response('200 OK', [])
    return [('%d %d %s' % (most, len(threads), environ['wsgi.multithread'])).encode()]
'''


def together(server, count, **request):
    """`count` requests at the same time; their responses."""
    exchanges = [server.start(**request) for _ in range(count)]
    for exchange in exchanges:
        exchange.finish_body()
    return [exchange.response() for exchange in exchanges]


def test_one_thread_never_overlaps(fcgi_server):
    """W75, W13: the default is one thread; requests at the same time run one after another, and wsgi.multithread is
    False."""
    server = fcgi_server(OVERLAP)
    for response in together(server, 10, path='/linger'):
        assert response.body == b'1 1 False'


@pytest.mark.parametrize('threads', [2, 4, 16])
def test_threads_overlap(fcgi_server, threads):
    """W13: with --threads N that many requests run at the same time, in as many threads, and not one more;
    wsgi.multithread is True."""
    server = fcgi_server(OVERLAP, '--threads', str(threads))
    responses = together(server, threads, path='/meet', query=str(threads))
    assert all(r.body.endswith(b'True') and int(r.body.split()[0]) == threads for r in responses)
    for response in together(server, threads * 3, path='/linger'):
        most, seen, _ = response.body.split()
        assert int(most) == threads and int(seen) == threads


def test_idle_kept_connections_pin_no_thread(fcgi_server):
    """F13: W threads, W + 4 idle kept connections of one front: a request of another front is answered at once. One
    idle connection of HAProxy blocked stock libfcgi's only worker."""
    server = fcgi_server(HELLO, '--threads', '2')
    kept = [server.connect() for _ in range(6)]
    for conn in kept:
        assert conn.request(server.params(), keep=True).body == b'hello'
    for _ in range(5):
        start = time.monotonic()
        assert server.request().body == b'hello'
        assert time.monotonic() - start < 1 * SLOW
    for conn in kept:
        assert conn.request(server.params(), keep=True).body == b'hello'


def test_one_thread_many_kept_connections(fcgi_server):
    """F13: one thread serves a hundred kept connections in turns."""
    server = fcgi_server(HELLO)
    kept = [server.connect() for _ in range(100)]
    for _ in range(3):
        for conn in kept:
            assert conn.request(server.params(), keep=True, timeout=2).body == b'hello'


@pytest.mark.parametrize('app', ['list', 'blocks', 'file', 'write'])
def test_stuck_client_does_not_hold_the_interpreter(fcgi_server, app, tmp_path):
    """F30: one client takes nothing of a large response; a second thread and the application's own threads go on."""
    big = tmp_path / 'big'
    big.write_bytes(b'x' * 50_000_000)
    ways = {'list': "return [b'x' * 50000000]", 'blocks': "return (b'x' * 100000 for i in range(500))",
            'file': f"return environ['wsgi.file_wrapper'](open({str(big)!r}, 'rb'))",
            'write': "write(b'x' * 50000000); return []"}
    server = fcgi_server(f'''
        import threading, time
        ticks = 0
        def tick():
            global ticks
            while True:
                time.sleep(0.001)
                ticks += 1
        threading.Thread(target=tick, daemon=True).start()
        def application(environ, start_response):
            write = start_response('200 OK', [])
            if environ['QUERY_STRING']:
                return [b'%d' % ticks]
            {ways[app]}
    ''', '--threads', '2')
    server.allow_log('client|gone|closed')
    stuck = server.connect()
    stuck.sock.send(fcgi.request_bytes(server.params()))
    wait_for(lambda: stuck._poll(1, 0), 5, 'the response to begin')
    counts = []
    for _ in range(5):
        start = time.monotonic()
        counts.append(int(server.request(query='ticks', timeout=2).body))
        assert time.monotonic() - start < 1 * SLOW
        wait_for(lambda: int(server.request(query='ticks').body) > counts[-1] + 5, 2, 'the ticking thread')
    stuck.close()


def test_reading_a_slow_body_does_not_hold_the_interpreter(fcgi_server):
    """F30: the same while a thread waits for a body."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [])
            return [environ['wsgi.input'].read()]
    ''', '--threads', '2')
    exchange = server.start('POST', content_length=3)
    exchange.write(b'a')
    for _ in range(3):
        assert server.request('POST', body=b'x', timeout=2).body == b'x'
    exchange.write(b'bc')
    exchange.finish_body()
    assert exchange.response().body == b'abc'


def test_all_threads_stuck_then_free(fcgi_server, tmp_path):
    """F30: when every thread waits the next client waits too, and is served as soon as one is free."""
    gate = tmp_path / 'gate'
    server = fcgi_server(BUSY, '--threads', '2', env={'NOTES': str(tmp_path / 'notes')})
    busy = [server.start(path='/wait', query=str(gate)) for _ in range(2)]
    for exchange in busy:
        exchange.finish_body()
    wait_for(lambda: (tmp_path / 'notes').exists() and (tmp_path / 'notes').read_text().count('waiting') == 2, 5, 'both')
    late = server.start()
    late.finish_body()
    assert late.silent(0.2)
    gate.touch()
    assert late.response(timeout=2).body == b'hello'
    assert [exchange.response().body for exchange in busy] == [b'waited'] * 2


def test_many_clients(fcgi_server):
    """F13: eight clients with kept and new connections against three threads: every response is its own."""
    server = fcgi_server('''
        def application(environ, start_response):
            body = environ['wsgi.input'].read()
            start_response('200 OK', [])
            return [body, b' ', environ['QUERY_STRING'].encode()]
    ''', '--threads', '3')
    failures = []

    def client(number):
        try:
            conn = fcgi.Connection(server.address)
            for i in range(150):
                if i % 10 == 9:
                    conn.close()
                    conn = fcgi.Connection(server.address)
                body = b'%d-%d' % (number, i) * (i % 7 * 100)
                response = conn.request(server.params('POST', query=str(i), body=body), body, keep=True)
                if response.body != body + b' %d' % i:
                    failures.append(response)
            conn.close()
        except Exception as error:
            failures.append(error)
    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[:3]


# --- Python's own view ----------------------------------------------------------------------------------------------

def test_the_only_thread_is_the_main_thread(fcgi_unix):
    """F33: with one thread the application runs in Python's main thread, which signal.signal() and others insist on."""
    server = fcgi_unix('''
        import threading
        def application(environ, start_response):
            start_response('200 OK', [])
            return [repr((threading.current_thread() is threading.main_thread(), threading.active_count())).encode()]
    ''')
    assert server.request().body == b'(True, 1)'


def test_signal_module(fcgi_unix):
    """F33: handlers set at import run while a request does; signal.alarm and SIGCHLD as everywhere."""
    server = fcgi_unix('''
        import signal, subprocess, time
        seen = []
        for name in ('SIGALRM', 'SIGCHLD', 'SIGWINCH'):
            signal.signal(getattr(signal, name), lambda number, frame: seen.append(signal.Signals(number).name))
        def application(environ, start_response):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            signal.raise_signal(signal.SIGWINCH)
            subprocess.run(['true'], check=True)
            deadline = time.monotonic() + 5
            while len(set(seen)) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            start_response('200 OK', [])
            return [' '.join(sorted(set(seen))).encode()]
    ''')
    assert server.request().body == b'SIGALRM SIGCHLD SIGWINCH'


def test_signal_handler_between_requests(fcgi_unix):
    """F33: a signal for Python that comes while the server waits is not lost: its handler has run by the next request."""
    server = fcgi_unix('''
        import signal
        seen = []
        signal.signal(signal.SIGWINCH, lambda number, frame: seen.append(number))
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'%d' % len(seen)]
    ''')
    assert server.request().body == b'0'
    server.signal(28)
    wait_for(lambda: server.request().body == b'1', 2, 'the handler')


@pytest.mark.parametrize('threads', [1, 2])
def test_children_have_default_signals(fcgi_unix, threads):
    """F33: what the program blocks or ignores for itself is not passed on to programs the application starts."""
    server = fcgi_unix('''
        import subprocess
        def application(environ, start_response):
            text = subprocess.run(['cat', '/proc/self/status'], stdout=subprocess.PIPE).stdout
            start_response('200 OK', [])
            return [line + bytes([10]) for line in text.splitlines() if line.startswith((b'SigBlk', b'SigIgn'))]
    ''', '--threads', str(threads))
    values = dict(line.split(':\t') for line in server.request().text.splitlines())
    # 32 and 33 are libc's own; whoever started us may ignore them, and no program can change that through libc.
    libc_own = 3 << 31
    assert int(values['SigBlk'], 16) == 0 and int(values['SigIgn'], 16) & ~libc_own == 0, values


@pytest.mark.skipif(TSAN, reason='a forked child may not start threads here, as multiprocessing.Queue does')
def test_subprocesses_and_fork(fcgi_unix):
    """F33: subprocess, os.fork and multiprocessing work in a request; the child's end is seen, its output is not ours."""
    server = fcgi_unix('''
        import os, subprocess, multiprocessing
        def work(queue):
            queue.put(6 * 7)
        def application(environ, start_response):
            out = subprocess.run(['sh', '-c', 'echo sub'], stdout=subprocess.PIPE).stdout
            pid = os.fork()
            if pid == 0:
                os._exit(7)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            context = multiprocessing.get_context('fork')
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,))
            process.start()
            value = queue.get(timeout=10)
            process.join()
            queue.close()
            queue.join_thread()
            start_response('200 OK', [])
            return [repr((out, status, value)).encode()]
    ''')
    for _ in range(2):
        assert server.request().body == repr((b'sub\n', 7, 42)).encode()


SPAWNING = '''
import gc, multiprocessing
from multiprocessing import forkserver, resource_tracker
def end_helpers():
    # They would end with their parents, but some time later.
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()
def square(x):
    return x * x
def put(queue, *values):
    queue.put([*values, __name__ == put.__module__ != '__main__'])
def grandchild(queue, context):
    process = context.Process(target=put, args=(queue, 'grandchild'))
    process.start()
    process.join()
    forkserver._forkserver._stop()
def work(context):
    with context.Pool(2) as pool:
        squares = pool.map_async(square, range(4)).get(TIMEOUT)
        pool.close()
        pool.join()
    queue = context.Queue()
    process = context.Process(target=grandchild, args=(queue, context))
    process.start()
    seen = queue.get(timeout=TIMEOUT)
    process.join()
    queue.close()
    queue.join_thread()
    return squares, seen, process.exitcode
def application(environ, start_response):
    result = work(multiprocessing.get_context(environ['QUERY_STRING']))
    gc.collect()                        # they take care of semaphores
    end_helpers()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr(result).encode()]
if __name__ == '__main__':
    raise SystemExit('the server is run once more')
'''.replace('TIMEOUT', str(5 * SLOW))
SPAWNED = repr(([0, 1, 4, 9], ['grandchild', True], 0))


@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
@pytest.mark.parametrize('name', ['app.py', 'my-site.wsgi', 'app.cgi', 'json.py', 'script'])
def test_spawned_children(fcgi_unix, tmp_path, name, method):
    """F33: a child with an interpreter of its own finds the functions of a script of any name, in Process and Pool, and
    so do its own children. None of them takes itself for the server."""
    script = tmp_path / name
    script.write_text(SPAWNING)
    assert fcgi_unix(script).request(query=method, timeout=20).text == SPAWNED


@pytest.mark.parametrize('options', [['--threads', '2'], ['--processes', '1', '--preload']], ids=' '.join)
def test_spawned_children_elsewhere(fcgi_unix, tmp_path, options):
    """F33: nor does it matter which thread or process loads the script, or whether its name is a link to another."""
    (tmp_path / 'releases').mkdir()
    (tmp_path / 'releases' / 'app-2.py').write_text(SPAWNING)
    (tmp_path / 'app.py').symlink_to('releases/app-2.py')
    server = fcgi_unix(tmp_path / 'app.py', *options)
    assert server.request(query='spawn', timeout=20).text == SPAWNED
    assert server.stop(timeout=10) == 0


def test_spawned_children_of_a_cgi_script(cgi, tmp_path):
    """F33: the same in CGI mode."""
    script = tmp_path / 'my-site.cgi'
    script.write_text(SPAWNING)
    script.chmod(0o755)
    assert cgi.serve(script).request(query='spawn', timeout=20).text == SPAWNED


@pytest.mark.parametrize('mode', [(), ('--processes', '1'), ('--processes', '1', '--preload')],
                         ids=['alone', 'master', 'preload'])
def test_descriptors_of_a_child(fcgi_server, world, mode):
    """F33: a child that the application forks has nothing of the program's that a peer could wait for: no connection,
    listener, poller, or link to another process, the control socket and systemd's included."""
    control, told = world.new_path('control'), world.new_path('notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(told))
        server = fcgi_server('''
            import json, os, tempfile
            def descriptors():
                found = []
                for fd in os.listdir('/proc/self/fd'):
                    try:
                        found.append(os.readlink('/proc/self/fd/' + fd))
                    except OSError:
                        pass            # of the listing itself
                return json.dumps(found).encode()
            def application(environ, start_response):
                start_response('200 OK', [('Content-Type', 'text/plain')])
                with tempfile.TemporaryFile() as file:
                    pid = os.fork()
                    if pid == 0:
                        os.write(file.fileno(), descriptors())
                        os._exit(0)
                    os.waitpid(pid, 0)
                    file.seek(0)
                    return [b'[', file.read(), b',', descriptors(), b']']
        ''', '--control', f'unix:{control}', '--max-memory', '4g', '--threads', '2', '--reload', 'modules', *mode,
                             env={'NOTIFY_SOCKET': str(told)})
        with fcgi.Connection(str(control)) as peer, server.connect() as kept:
            assert peer.request(server.params(path='/ping'), keep=True).status == 200
            assert kept.request(server.params(), keep=True).status == 200
            childs, ours = server.request().json
        assert server.stop() == 0

    def of_us(descriptors):
        return [target for target in descriptors
                if target.startswith(('socket:', 'anon_inode:', 'pipe:')) or target.endswith('/statm')]
    assert len(of_us(ours)) > 10 and of_us(childs) == []


def test_child_ended_at_once(fcgi_unix):
    """F33: a child process obeys terminate() from its first moment on; a signal that comes before it has the default
    handlers is not lost."""
    server = fcgi_unix('''
        import multiprocessing, time
        def application(environ, start_response):
            process = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
            process.start()
            process.terminate()
            process.join(5)
            code = process.exitcode
            process.kill()
            process.join()
            start_response('200 OK', [])
            return [repr(code).encode()]
    ''')
    for _ in range(20):
        assert server.request(timeout=10).body == b'-15'


def test_threads_of_the_application(fcgi_unix):
    """F33: a thread the application starts runs on between requests."""
    server = fcgi_unix('''
        import threading, time
        count = 0
        def work():
            global count
            while True:
                time.sleep(0.005)
                count += 1
        def application(environ, start_response):
            if environ['QUERY_STRING']:
                threading.Thread(target=work, daemon=True).start()
            start_response('200 OK', [])
            return [b'%d' % count]
    ''')
    server.request(query='start')
    wait_for(lambda: int(server.request().body) > 20, 5, 'the thread')
