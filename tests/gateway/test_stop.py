"""Stopping: F29. SIGTERM and SIGUSR1 finish what runs and exit 0; SIGINT and SIGQUIT stop now."""

import os
import re
import signal
import socket
import threading
import time

import pytest

import fcgi
from apps import BUSY, HELLO
from fcgi import wait_for
from harness import FcgiServer, cgi_params, listening_socket, listens
from settings import BINARY, SLOW, TSAN
from test_processes import workers
from test_syscalls import plain, traced

POLITE = [signal.SIGTERM, signal.SIGUSR1]


def stop(server, number, seconds):
    start = time.monotonic()
    server.signal(number)
    code = server.wait(seconds)
    return code, time.monotonic() - start


@pytest.mark.parametrize('number', POLITE)
@pytest.mark.parametrize('threads', [1, 4])
def test_idle(fcgi_server, number, threads):
    """F29: an idle server ends within a second, exit 0, whether it has served anything or not."""
    server = fcgi_server(HELLO, '--threads', str(threads))
    code, seconds = stop(server, number, 5)
    assert code == 0 and seconds < 1 * SLOW
    server = fcgi_server(HELLO, '--threads', str(threads))
    assert server.request().body == b'hello'
    code, seconds = stop(server, number, 5)
    assert code == 0 and seconds < 1 * SLOW


@pytest.mark.parametrize('number', POLITE)
def test_idle_kept_connections(fcgi_server, number):
    """F29: idle kept connections do not delay the end; they are closed."""
    server = fcgi_server(HELLO)
    conns = [server.connect() for _ in range(5)]
    for conn in conns:
        conn.request(server.params(), keep=True)
    half = server.connect()
    half.send(fcgi.begin())
    code, seconds = stop(server, number, 5)
    assert code == 0 and seconds < 1 * SLOW
    for conn in [*conns, half]:
        conn.wait_eof(1)


@pytest.fixture
def busy(fcgi_server, tmp_path):
    """A server with a request that waits for a file, and a second thread."""
    gate, notes = tmp_path / 'gate', tmp_path / 'notes'

    def start(*options, keep=False):
        server = fcgi_server(BUSY, *options, env={'NOTES': str(notes)})
        server.allow_log('stop|graceful|request|signal|interrupt|cut off')
        exchange = server.start(path='/wait', query=str(gate), keep=keep)
        exchange.finish_body()
        wait_for(lambda: notes.exists() and 'waiting' in notes.read_text(), 5, 'the request')
        return server, exchange
    start.gate = gate
    return start


@pytest.mark.parametrize('number', POLITE)
@pytest.mark.parametrize('keep', [False, True])
@pytest.mark.parametrize('threads', [1, 2])
def test_busy(busy, number, keep, threads):
    """F29: a running request is finished first; its response is whole; then exit 0."""
    server, exchange = busy('--threads', str(threads), keep=keep)
    server.signal(number)
    assert exchange.silent(0.3) and server.running()
    busy.gate.touch()
    response = exchange.response()
    assert response.body == b'waited' and response.complete
    assert server.wait(5) == 0


def test_nothing_new_is_taken(busy, world):
    """F29: after SIGTERM no new request begins, although the last one still runs: a connection stays in the socket's
    queue for the next process, or is refused."""
    server, exchange = busy('--threads', '2')
    server.signal(signal.SIGTERM)
    # The signal needs a moment to get through; only then does a new connection tell anything.
    wait_for(lambda: server.connect().silent(0.05), 5, 'the listener to be left alone')
    try:
        late = server.connect(timeout=0.5)
        late.send(fcgi.request_bytes(server.params()))
        assert late.silent(0.3) or not late.records
    except (fcgi.Timeout, ConnectionError):
        pass
    busy.gate.touch()
    assert exchange.response().body == b'waited'
    assert server.wait(5) == 0


def test_next_request_of_a_kept_connection(busy):
    """F29: a kept connection is closed after the response, a pipelined request behind it is not lost in silence: it is
    answered or the connection ends without a byte for it."""
    server, exchange = busy(keep=True)
    exchange.conn.send(fcgi.request_bytes(server.params(), id=2, keep=True))
    server.signal(signal.SIGTERM)
    busy.gate.touch()
    assert exchange.response().body == b'waited'
    second = exchange.conn.response(2)
    assert second.complete and second.body == b'hello' or second.raw == b''
    assert server.wait(5) == 0


@pytest.mark.parametrize('when', ['reading', 'writing'])
def test_streams_are_finished(fcgi_server, when):
    """F29: a body half read and a response half written count as running."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [])
            yield b'first'
            yield environ['wsgi.input'].read()
            yield b'x' * 3000000
    ''')
    exchange = server.start('POST', content_length=6)
    exchange.wait_for(b'first')
    exchange.write(b'abc')
    if when == 'reading':
        server.signal(signal.SIGTERM)
        assert exchange.silent(0.2)
    exchange.write(b'def')
    exchange.finish_body()
    if when == 'writing':
        exchange.wait_for(b'abcdef')
        server.signal(signal.SIGTERM)
    response = exchange.response()
    assert response.complete and response.body == b'firstabcdef' + b'x' * 3_000_000
    assert server.wait(5) == 0


@pytest.mark.parametrize('stopping', [False, True])
@pytest.mark.parametrize('behind', ['end of STDIN', 'more body'])
def test_last_response_is_not_reset(fcgi_server, stopping, behind):
    """F29, F12: closing a TCP connection with unread bytes in it resets it, and what the peer has not read yet is lost.
    So the end of the process waits a while for those who still read; the same goes for any connection not kept.
    Seen: one in twenty responses cut at 196,595 bytes when SIGTERM came while it was made."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [])
            yield environ['wsgi.input'].read()
            yield b'x' * 400000
    ''')
    exchange = server.start('POST', content_length=6)
    exchange.write(b'abc')
    if stopping:
        server.signal(signal.SIGTERM)
        assert exchange.silent(0.1)
    exchange.write(b'def')
    # Until the answer is on its way; then come bytes that the application has no use for.
    wait_for(lambda: exchange.conn._poll(1, 0), 5, 'the response')
    if behind == 'more body':
        exchange.write(b'g' * 1000)
    exchange.finish_body()
    # The client reads late. Nobody says how long a process may wait for that: a moment has to be possible.
    deadline = time.monotonic() + 0.3
    while server.running() and time.monotonic() < deadline:
        time.sleep(0.01)
    response = exchange.response()
    assert not exchange.conn.reset and response.complete
    assert response.body == b'abcdef' + b'x' * 400_000
    exchange.disconnect()
    if stopping:
        assert server.wait(5) == 0


def test_graceful_timeout(busy):
    """F29: the wait is bounded by --graceful-timeout; a request that does not end is cut, and looks so."""
    server, exchange = busy('--graceful-timeout', '300ms')
    server.exit_codes = {0, 1}
    code, seconds = stop(server, signal.SIGTERM, 5)
    assert 0.2 < seconds < 3 * SLOW
    assert not exchange.response().complete


@pytest.mark.parametrize('first', POLITE)
def test_second_signal_forces(busy, first):
    """P4: a second SIGTERM does not wait for the request, and the log says that one was cut off."""
    server, exchange = busy()
    server.expect_log('notice: 1 request is cut off: a stop at once was asked for')
    server.exit_codes = {0, 1, 130, 143, -signal.SIGTERM}
    server.signal(first)
    assert exchange.silent(0.2)
    stop(server, signal.SIGTERM, 3)
    assert not exchange.response().complete


# --- what the log says of the requests ---------------------------------------------------------------------------------

WAITS = 'stopping: waiting up to {} for {}; a second SIGTERM stops at once'


def lines(server, word):
    """The lines of the log with this word: (pid, level, text without the id)."""
    found = re.findall(r'^wsgi-cgi\[(\d+)\]: (\w+): (?:\[\w+\] )?(.*)$', server.logged, re.MULTILINE)
    return [(int(pid), level, text) for pid, level, text in found if word in text]


def hold(server, n, path='/wait/{}'):
    """n requests that run until their connection ends; the application says that each has begun."""
    held = [server.start(path=path.format(i), query='secret=1') for i in range(n)]
    for exchange in held:
        exchange.wait_for(b'begun')
    return held


HOLDS = '''
    import time
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])(b'begun')
        time.sleep(3600)
'''


@pytest.mark.parametrize('options', [['--threads', '3'], ['--processes', '2', '--threads', '2']], ids=['one', 'master'])
def test_log_says_what_is_waited_for(fcgi_unix, options):
    """P4, P26: the first SIGTERM says, once and for all processes, how many requests there are; a second one says which
    requests it cuts off, in the process that does so, without their queries."""
    server = fcgi_unix(HOLDS, *options)
    server.check_fds = False
    server.exit_codes = {0}
    held = hold(server, 2)
    server.signal(signal.SIGTERM)
    server.wait_log('stopping: ')
    assert held[0].silent(0.2)
    stop(server, signal.SIGTERM, 5)
    assert lines(server, 'stopping') == [(server.pid, 'notice', WAITS.format('30 s', '2 requests'))]
    cut = lines(server, 'cut off after')
    assert {level for _, level, _ in cut} == {'notice'}
    found = sorted(re.fullmatch(r'GET (/wait/\d): cut off after \d+\.\d{3} s in process (\d+)', text).groups()
                   for _, _, text in cut)
    assert [path for path, _ in found] == ['/wait/0', '/wait/1']
    assert {int(pid) for _, pid in found} == {pid for pid, _, _ in cut}
    assert ({pid for pid, _, _ in cut} == {server.pid}) == (options[0] == '--threads')
    assert 'secret' not in server.logged


@pytest.mark.parametrize('options', [[], ['--processes', '2']], ids=['one', 'master'])
def test_log_of_an_idle_stop(fcgi_unix, options):
    """P26: nothing to wait for, nothing to say."""
    server = fcgi_unix(HELLO, *options)
    stop(server, signal.SIGTERM, 5)
    assert lines(server, 'stopping') == lines(server, 'cut off') == []


def test_log_of_many_that_are_cut_off(fcgi_unix):
    """P4, P26: after --graceful-timeout as well, as warnings, and not without end."""
    server = fcgi_unix(HOLDS, '--threads', '19', '--graceful-timeout', '1500ms')
    server.check_fds = False
    server.expect_log('--graceful-timeout has passed: requests that still run are cut off')
    server.expect_log(r'GET /wait/\d+: cut off after')
    server.expect_log('and 3 more are cut off')
    hold(server, 19)
    stop(server, signal.SIGTERM, 10)
    assert lines(server, 'stopping') == [(server.pid, 'notice', WAITS.format('1500 ms', '19 requests'))]
    cut = lines(server, 'cut off after')
    assert {level for _, level, _ in cut} == {'warning'}
    assert len({text.split(':')[0] for _, _, text in cut}) == len(cut) == 16
    assert lines(server, 'and 3 more') == [(server.pid, 'warning', 'and 3 more are cut off')]


def test_log_of_work_after_a_response(fcgi_unix):
    """P4: it is waited for, and cut off, like a request."""
    server = fcgi_unix('''
        import os, time
        def work():
            os.write(2, b'begun\\n')
            time.sleep(3600)
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](work)
            start_response('200 OK', [])
            return [b'x']
    ''', '--threads', '2')
    assert server.request(path='/late').body == b'x'
    server.wait_log('begun')
    server.signal(signal.SIGTERM)
    server.wait_log(re.escape(WAITS.format('30 s', 'the work after 1 response')))
    stop(server, signal.SIGTERM, 5)
    (_, level, text), = lines(server, 'cut off after')
    assert level == 'notice' and text.startswith('GET /late: the work after the response is cut off after')


def test_log_of_a_worker_that_is_killed(fcgi_unix):
    """P4: a worker that hears nothing cannot say what it was doing; the master does."""
    server = fcgi_unix(HOLDS, '--processes', '1')
    server.check_fds = False
    server.expect_log(r'warning: worker \d+ does not leave: killed')
    server.expect_log(r'GET /wait/0: cut off after')
    hold(server, 1)
    worker, = workers(server)
    os.kill(worker, signal.SIGSTOP)
    stop(server, signal.SIGINT, 15)
    (pid, _, text), = lines(server, 'cut off after')
    assert pid == server.pid and text.endswith(f' in process {worker}')


# --- at once ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize('state', ['idle', 'busy'])
def test_stop_now(fcgi_server, busy, number, state):
    """F29: Ctrl-C: idle or busy, the end comes at once, without a core dump or a traceback."""
    server, exchange = busy() if state == 'busy' else (fcgi_server(HELLO), None)
    server.exit_codes = {0, 128 + number}
    code, seconds = stop(server, number, 5)
    assert seconds < 1.5 * SLOW
    if exchange:
        assert not exchange.response().complete
    assert ('1 request is cut off' in server.logged) == (state == 'busy')
    assert 'Traceback' not in server.logged


def test_socket_file_is_removed(world, tmp_path):
    """F29: the socket file of --bind is gone afterwards, after SIGTERM and after SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        path = world.new_path('sock')
        process = world.spawn('--bind', str(path), world.write_app(HELLO))
        server = FcgiServer(world, process, str(path))
        server.exit_codes = process.exit_codes = {0, 130}
        server.ready()
        stop(server, number, 5)
        assert not path.exists()


@pytest.mark.parametrize('threads', [1, 3])
def test_python_exit(fcgi_server, tmp_path, threads):
    """F29, W77: at the end atexit functions run once, non-daemon threads are waited for, open files are flushed."""
    notes = tmp_path / 'notes'
    server = fcgi_server(f'''
        import atexit, threading, time
        file = open({str(notes)!r}, 'a')
        atexit.register(lambda: file.write('atexit '))
        def late():
            time.sleep(0.2)
            file.write('thread ')
        def application(environ, start_response):
            file.write('request ')
            threading.Thread(target=late).start()
            start_response('200 OK', [])
            return [b'x']
    ''', '--threads', str(threads))
    assert server.request().body == b'x'
    assert stop(server, signal.SIGTERM, 5)[0] == 0
    assert notes.read_text() == 'request thread atexit '


def test_a_thread_that_never_ends(fcgi_unix):
    """F29: a non-daemon thread of the application that never ends does not make the server immortal: --graceful-timeout
    bounds that wait, too."""
    server = fcgi_unix('''
        import threading
        def application(environ, start_response):
            threading.Thread(target=threading.Event().wait).start()
            start_response('200 OK', [])
            return [b'x']
    ''', '--graceful-timeout', '500ms')
    server.allow_log('thread|graceful|exit')
    server.exit_codes = {0, 1}
    server.request()
    stop(server, signal.SIGTERM, 8)


def test_one_graceful_timeout_for_all(fcgi_unix):
    """F29: what the last request has used of --graceful-timeout is gone for threads of the application that never
    end: the stop does not take it twice."""
    server = fcgi_unix('''
        import os, threading, time
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/slow':
                threading.Thread(target=threading.Event().wait).start()
                os.write(2, b'begun\\n')
                time.sleep(3)
            start_response('200 OK', [])
            return [b'x']
    ''', '--graceful-timeout', '4s')
    server.expect_log('left behind')
    exchange = server.start(path='/slow')
    exchange.finish_body()
    server.wait_log('begun')
    code, seconds = stop(server, signal.SIGTERM, 30)
    assert code == 0 and exchange.response().body == b'x' and seconds < 6 * SLOW


@traced
@plain
def test_end_that_comes_late(world):
    """F29: a second thread sees to it that the process ends in time; where that time is over just when the first is
    about to remove the files, it does so once, and the process ends well."""
    slow, path = world.new_path('slow'), world.new_path('sock')
    control, pid_file = world.new_path('control'), world.new_path('pid')
    slow.write_text('#!/bin/sh\nexec strace -D -f -o /dev/null -e trace=unlink,unlinkat '
                    f'-e inject=unlink,unlinkat:delay_enter=1s {BINARY} "$@"\n')
    slow.chmod(0o755)
    process = world.spawn('--bind', str(path), '--control', f'unix:{control}', '--pid-file', str(pid_file),
                          '--graceful-timeout', '500ms', '--reload', 'off', world.write_app(HELLO), binary=slow)
    process.allow_log('left behind')
    wait_for(path.exists, 20, 'the socket')
    with fcgi.Connection(str(path)) as conn:
        assert conn.request(cgi_params(), timeout=20).body == b'hello'
    process.signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert not path.exists() and not control.exists() and not pid_file.exists()


def test_term_during_start(world):
    """F29: SIGTERM while the application is still being imported ends the start; no socket file is left."""
    path, started = world.new_path('sock'), world.new_path('started')
    process = world.spawn('--bind', str(path), world.write_app(f'''
        import time
        open({str(started)!r}, 'w').close()
        for i in range(1000):
            time.sleep(0.01)
        def application(environ, start_response):
            return []
    '''))
    # An application that is loaded at the first request needs one.
    wait_for(lambda: listens(path), 5, 'the socket')
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(str(path))
        client.send(fcgi.request_bytes([('REQUEST_METHOD', 'GET'), ('SERVER_NAME', 'x'), ('SERVER_PORT', '80'),
                                        ('SERVER_PROTOCOL', 'HTTP/1.1'), ('PATH_INFO', '/')]))
        wait_for(started.exists, 5, 'the import')
        process.exit_codes = {0, 1, 143, -signal.SIGTERM}
        process.log.allow('.')
        process.signal(signal.SIGTERM)
        process.wait(15)
    assert not path.exists()


@pytest.mark.parametrize('delay', [0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1])
def test_term_at_any_time_of_the_start(world, delay):
    """F29: whenever SIGTERM comes after the socket is there, the exit code is 0 and the socket file goes with the
    process."""
    path = world.new_path('sock')
    process = world.spawn('--bind', str(path), world.write_app(HELLO))
    wait_for(lambda: path.exists(), 5, 'the socket')
    time.sleep(delay)           # the moment is what is tested
    process.signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert not path.exists()


def test_inherited_socket_lives_on(world):
    """F29: a spawner's socket survives the process: the next one serves what waited in its queue."""
    sock, address = listening_socket('unix', world.new_path('sock'))
    app = world.write_app(HELLO)
    with sock:
        first = FcgiServer(world, world.spawn(app, stdin=sock), address)
        first.ready()
        assert first.request().body == b'hello'
        assert first.stop() == 0
        waiting = world.connect(address)
        waiting.send(fcgi.request_bytes(first.params()))
        second = FcgiServer(world, world.spawn(app, stdin=sock), address)
        assert waiting.response().body == b'hello'
        second.ready()


def test_stop_under_load(fcgi_server):
    """F29: SIGTERM between requests of busy clients: every response that began is whole; the others ended without a
    byte."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'x' * 100000]
    ''', '--threads', '2')
    broken, served, done = [], [], threading.Event()

    def client():
        while not done.is_set():
            try:
                with fcgi.Connection(server.address, timeout=0.2) as conn:
                    for _ in range(20):
                        conn.send(fcgi.request_bytes(server.params(), keep=True))
                        response = conn.response()
                        if response.raw and not response.complete:
                            broken.append(response)
                        if response.complete:
                            served.append(len(response.body))
                        if conn.eof:
                            break
            except (AssertionError, OSError):
                return
    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(served) > 50, 10, 'some requests')
    server.signal(signal.SIGTERM)
    assert server.wait(5) == 0
    done.set()
    for thread in threads:
        thread.join()
    assert not broken, broken[:2]
    assert set(served) == {100_000}


def test_parent_that_dies(world):
    """F29: the end of the parent is not the end of the server (no PR_SET_PDEATHSIG surprises under a shell)."""
    path, pid_file = world.new_path('sock'), world.new_path('pid')
    app = world.write_app(HELLO)
    shell = world.spawn('-c', f'"{BINARY}" --bind "{path}" "{app}" & echo $! > "{pid_file}"; exit 0', binary='/bin/sh')
    wait_for(lambda: shell.popen.poll() is not None, 5, 'the shell')
    pid = int(pid_file.read_text())
    with fcgi.Connection(str(path)) as conn:
        response = conn.request([('REQUEST_METHOD', 'GET'), ('SERVER_NAME', 'x'), ('SERVER_PORT', '80'),
                                 ('SERVER_PROTOCOL', 'HTTP/1.1'), ('PATH_INFO', '/')])
        assert response.body == b'hello'
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not os.path.exists(f'/proc/{pid}') or open(f'/proc/{pid}/stat').read().split()[2] == 'Z', 5, 'its end')


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGQUIT])
def test_term_during_a_reload_check(world, number):
    """F29: a touched script is tried by a child process; SIGTERM meanwhile ends that child, too, and so does SIGQUIT. (That nothing is left
    is checked after every test; here it is made likely.)"""
    started = world.new_path('started')
    app = world.tmp_path / 'app.py'
    app.write_text(HELLO)
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        process = world.spawn(app, stdin=sock)
    process.log.allow('touched|check|reload')
    server = FcgiServer(world, process, address)
    server.ready()
    assert server.request().body == b'hello'
    app.write_text(f"open({str(started)!r}, 'w').close()\nimport time\ntime.sleep(20)\n{HELLO}")
    wait_for(started.exists, 10, 'the check of the touched script')
    assert server.stop(number) == 0


# --- what the application does with signals ------------------------------------------------------------------------

HANDLERS = '''
    import asyncio, os, signal
    calls = []
    def note(number, frame):
        calls.append(number)
    def put_back(number):
        old = signal.signal(number, note)
        os.kill(os.getpid(), number)
        assert calls == [number]
        assert callable(old) and signal.getsignal(number) is note
        assert signal.signal(number, old) is note and signal.getsignal(number) is old
    def pass_on(number):
        def handler(number, frame):
            old(number, frame)
        old = signal.signal(number, handler)
    def set_default(number):
        signal.signal(number, signal.SIG_DFL)
    def remove(number):
        loop = asyncio.new_event_loop()
        loop.add_signal_handler(number, print)
        assert loop.remove_signal_handler(number)
        loop.close()
    def leave(number):
        pass
    AT_IMPORT
    def application(environ, start_response):
        globals()[environ['PATH_INFO'][1:]](int(environ['QUERY_STRING']))
        environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'whole']
'''


def begin(server, path, number):
    """A request that has done this, and waits for its body."""
    exchange = server.start('POST', path, query=str(int(number)), content_length=1)
    assert exchange.silent(0.3)
    return exchange


def finish(exchange):
    exchange.write(b'x')
    exchange.finish_body()
    response = exchange.response()
    assert response.status == 200 and response.body == b'whole' and response.complete


@pytest.mark.parametrize('number', [*POLITE, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize('path', ['/put_back', '/set_default'])
def test_handlers_of_the_application(fcgi_unix, path, number):
    """F29: a handler that the application has put in place of ours and taken back, or SIG_DFL: signals do what they
    did before, also while nothing runs in Python."""
    server = fcgi_unix(HANDLERS.replace('AT_IMPORT', ''))
    finish(begin(server, path, number))
    server.signal(number)
    assert server.wait(5) == 0


@pytest.mark.parametrize('path', ['/put_back', '/set_default', '/remove', '/pass_on'])
@pytest.mark.parametrize('options', [[], ['--processes', '2'], ['--processes', '2', '--preload']], ids=' '.join)
def test_still_graceful(fcgi_unix, path, options):
    """F29: nor does it make a stop ungraceful, a master's included; a handler that calls the one before it is as good."""
    server = fcgi_unix(HANDLERS.replace('AT_IMPORT', ''), *options)
    exchange = begin(server, path, signal.SIGTERM)
    server.signal(signal.SIGTERM)
    assert exchange.silent(0.3) and server.running()
    finish(exchange)
    assert server.wait(10) == 0


@pytest.mark.parametrize('call', ['put_back', 'set_default'])
def test_still_graceful_after_the_import(fcgi_unix, call):
    """F29: the same at import, which with --preload happens in the process that forks the workers."""
    source = HANDLERS.replace('AT_IMPORT', f'{call}(signal.SIGTERM)')
    server = fcgi_unix(source, '--processes', '2', '--preload')
    exchange = begin(server, '/leave', signal.SIGTERM)
    server.signal(signal.SIGTERM)
    assert exchange.silent(0.3) and server.running()
    finish(exchange)
    assert server.wait(10) == 0


@pytest.mark.parametrize('how', [
    'SIG_DFL', 'put_back',
    pytest.param('pass_on', marks=pytest.mark.skipif(
        TSAN, reason='handlers do not run in a child that a process with threads forked'))])
def test_default_in_a_child(fcgi_unix, how):
    """F29: in a process that the application forks, SIG_DFL and what was there before are the default effect."""
    server = fcgi_unix(f'''
        import os, signal, time
        def SIG_DFL():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        def put_back():
            signal.signal(signal.SIGTERM, signal.signal(signal.SIGTERM, print))
        def pass_on():
            old = signal.signal(signal.SIGTERM, lambda *args: old(*args))
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                {how}()
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(4)           # some sanitizers deliver it a moment later
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d' % code]
    ''')
    assert server.request().text == '-15'


@pytest.mark.parametrize('path', ['/file', '/blocks'])
def test_broken_pipe_with_its_default(fcgi_unix, path):
    """signal.signal(SIGPIPE, SIG_DFL), as many programs have it, does not let a client that goes away kill a process
    with many; in a child it means what it says."""
    server = fcgi_unix('''
        import os, signal
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        file = open('large', 'w+b')
        file.truncate(50_000_000)
        def child():
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGPIPE)
                os._exit(0)
            return b'%d' % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            if environ['PATH_INFO'] == '/file':
                return environ['wsgi.file_wrapper'](open('large', 'rb'))
            if environ['PATH_INFO'] == '/blocks':
                return (b'x' * 100_000 for _ in range(500))
            return [child()]
    ''')
    server.allow_log('the client went away')
    exchange = server.start(path=path)
    exchange.finish_body()
    exchange.wait_for(bytes(10) if path == '/file' else b'xxx')
    exchange.disconnect()
    assert server.request().text == '-13'


def test_signal_is_pythons(fcgi_unix):
    """What is not about a signal of ours is Python's own business, its errors included."""
    server = fcgi_unix('''
        import signal
        def application(environ, start_response):
            seen = []
            for args in (signal.SIGTERM,), (1 << 70, signal.SIG_DFL), (signal.SIGTERM, None), ('x', print):
                try:
                    signal.signal(*args)
                except Exception as e:
                    seen.append(type(e).__name__)
            default = signal.signal(signal.SIGALRM, print)
            seen += [default, signal.signal(signal.SIGALRM, default), signal.getsignal(signal.SIGALRM)]
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [str([getattr(s, 'name', str(s)) for s in seen]).encode()]
    ''')
    seen = ['TypeError', 'OverflowError', 'TypeError', 'TypeError', 'SIG_DFL', '<built-in function print>', 'SIG_DFL']
    assert server.request().text == str(seen)


@traced
@pytest.mark.parametrize('mode', [[], ['--processes', '1']], ids=['one', 'master'])
def test_who_connects_while_the_socket_is_shut(world, mode):
    """P2: of a unix socket, no connection comes between the last look at the queue and its end. strace holds each
    shutdown() up for as long as it takes to connect; another name of the file still leads to the socket then."""
    path, link, wrapper = world.new_path('sock'), world.new_path('link'), world.new_path('wrapper')
    wrapper.write_text(f'''#!/bin/sh
exec strace -DDD -f -qq -o /dev/null -e trace=shutdown -e inject=shutdown:delay_enter=200000 {BINARY} "$@"
''')
    wrapper.chmod(0o755)
    process = world.spawn('--bind', str(path), *mode, world.write_app(HELLO), binary=wrapper)
    server = FcgiServer(world, process, str(path))
    server.check_fds = False
    assert server.request(timeout=20).body == b'hello'
    os.link(path, link)
    server.signal(signal.SIGTERM)
    wait_for(lambda: not path.exists(), 10, 'the stop')
    conns = []
    try:
        while process.running():
            conns.append(fcgi.Connection(sock=connected(link)))
            conns[-1].send(fcgi.request_bytes(server.params()))
            conns[-1].silent(0.005)             # a thousand would do no more
    except ConnectionRefusedError:
        pass
    assert conns, 'the socket was shut at once'
    try:
        assert [conn.response(timeout=20).body for conn in conns] == [b'hello'] * len(conns)
    finally:
        for conn in conns:
            conn.close()
    assert server.wait(20) == 0


def connected(path):
    """A connection, at the first attempt."""
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(os.fspath(path))
    except OSError:
        sock.close()
        raise
    return sock
