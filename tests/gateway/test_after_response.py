"""environ['wsgi_cgi.after_response']: work that runs when the client has its whole response. P4 (a graceful stop waits for
it), P17 (children of the application do not run it)."""

import os
import re
import signal
import textwrap

import pytest

import fcgi
import harness
from fcgi import wait_for
from settings import SLOW

# What callbacks do is noted in the file NOTES, one line each; hold() lasts until the file `gate` is there.
COMMON = '''
import os, time
def note(*words):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(' '.join(map(str, words)) + chr(10))
def hold(gate, name='hold'):
    note(name, 'begins')
    while not os.path.exists(gate):
        time.sleep(0.005)
    note(name, 'ends')
def hello(start_response, body=b'hello'):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [body]
'''
# By PATH_INFO: /hold leaves hold(QUERY_STRING) behind, all else nothing.
HOLD = '''
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path.startswith('/hold'):
        environ['wsgi_cgi.after_response'](hold, environ['QUERY_STRING'], path[1:])
    return hello(start_response, path.encode())
'''


class Notes:
    """What the application noted so far."""

    def __init__(self, path):
        self.path = path

    def lines(self):
        return self.path.read_text().splitlines() if self.path.exists() else []

    def wait(self, *lines, timeout=5):
        """Until just these lines are there."""
        try:
            wait_for(lambda: len(self.lines()) >= len(lines), timeout, 'notes')
        except fcgi.Timeout:
            pass
        assert self.lines() == list(lines)


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path / 'notes')


@pytest.fixture
def gate(tmp_path):
    return tmp_path / 'gate'


def source(app):
    return COMMON + textwrap.dedent(app)


@pytest.fixture
def serve(transport, notes):
    """transport.serve() of an application that can note and hold."""
    return lambda app, *options, **more: transport.serve(source(app), *options, env={'NOTES': str(notes.path)}, **more)


@pytest.fixture
def serve_fcgi(fcgi_server, notes):
    return lambda app, *options, **more: fcgi_server(source(app), *options, env={'NOTES': str(notes.path)}, **more)


@pytest.fixture
def serve_unix(fcgi_unix, notes):
    return lambda app, *options, **more: fcgi_unix(source(app), *options, env={'NOTES': str(notes.path)}, **more)


def end_of_response(exchange):
    """Wait until the client has been told that the response is whole; what the process does then is not waited for."""
    exchange.finish_body()
    if isinstance(exchange, harness.FcgiExchange):
        return exchange.response()
    exchange.wait(lambda: exchange.out not in exchange.unfinished, what='the end of stdout')
    return fcgi.Response(exchange.stdout, exit_code=0)


# --- the client does not wait ------------------------------------------------------------------------------------------

def test_client_does_not_wait(serve, notes, gate):
    """The client has all of the response, END_REQUEST and end of the connection or end of stdout, while the work runs."""
    server = serve(HOLD)
    exchange = server.start(path='/hold', query=str(gate))
    response = end_of_response(exchange)
    assert response.body == b'/hold' and response.complete
    notes.wait('hold begins')
    gate.touch()
    notes.wait('hold begins', 'hold ends')
    if server.is_cgi:
        assert exchange.response().exit_code == 0


def test_cgi_descriptors(cgi, notes, gate):
    """In CGI mode neither the server's stdin nor its stdout is held open meanwhile, by no descriptor."""
    server = cgi.serve(source(HOLD), env={'NOTES': str(notes.path)})
    exchange = server.start(path='/hold', query=str(gate))
    pipes = [os.readlink(f'/proc/self/fd/{fd}') for fd in (exchange.stdin, exchange.out)]
    assert end_of_response(exchange).body == b'/hold'
    notes.wait('hold begins')
    assert not set(pipes) & set(harness.open_fds(exchange.pid).values())
    gate.touch()
    assert exchange.response().exit_code == 0


@pytest.mark.parametrize('body', [b'', b'x' * 300_000])
def test_kept_connection(serve_fcgi, notes, gate, body):
    """The next request on a kept connection is another thread's, though the first one's body was not read."""
    server = serve_fcgi(HOLD, '--threads', '2')
    conn = server.connect()
    params = server.params('POST', '/hold', query=str(gate), body=body)
    assert conn.request(params, body, keep=True).body == b'/hold'
    notes.wait('hold begins')
    for _ in range(3):
        assert conn.request(server.params(), keep=True).body == b'/'
    assert notes.lines() == ['hold begins']
    gate.touch()
    notes.wait('hold begins', 'hold ends')


def test_new_connections(serve_fcgi, notes, gate):
    """As many may be busy with it as there are threads but one; the last one serves."""
    server = serve_fcgi(HOLD, '--threads', '3')
    for n in range(2):
        assert server.request(path='/hold', query=str(gate)).body == b'/hold'
        notes.wait(*['hold begins'] * (n + 1))
    for _ in range(5):
        assert server.request().body == b'/'
    gate.touch()
    notes.wait(*['hold begins'] * 2, *['hold ends'] * 2)


@pytest.mark.parametrize('cut', [0, 7, 60])
@pytest.mark.parametrize('half_closed', [False, True])
def test_pipelined(serve_fcgi, notes, gate, cut, half_closed):
    """Requests that have arrived behind it on its connection, whole or begun, do not wait for it either."""
    server = serve_fcgi(HOLD, '--threads', '3')
    first, second, third = [
        fcgi.request_bytes(server.params('POST', path, query=str(gate), body=b'x' * 100), b'x' * 100, keep=True)
        for path in ('/hold1', '/hold2', '/third')]
    conn = server.connect()
    sent = first + second + third
    conn.send(sent[:len(sent) - cut])
    assert conn.response().body == b'/hold1'
    assert conn.response().body == b'/hold2'
    conn.send(sent[len(sent) - cut:])
    if half_closed:
        conn.half_close()
    assert conn.response().body == b'/third'
    wait_for(lambda: sorted(notes.lines()) == ['hold1 begins', 'hold2 begins'], 5, 'both')
    if half_closed:
        conn.wait_eof()
    else:
        assert conn.request(server.params(path='/fourth'), keep=True).body == b'/fourth'
    gate.touch()
    wait_for(lambda: sorted(notes.lines()) == ['hold1 begins', 'hold1 ends', 'hold2 begins', 'hold2 ends'], 5, 'ends')


def test_pipelined_behind_a_large_response(serve_unix, notes, gate):
    """A client that reads nothing until it has sent all its requests gets all responses."""
    server = serve_unix('''
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](note, environ['PATH_INFO'])
            return hello(start_response, b'x' * 3_000_000)
    ''', '--threads', '2')
    conn = server.connect()
    conn.half_duplex_send(b''.join(fcgi.request_bytes(server.params(path=f'/{n}'), keep=True) for n in range(3)))
    for n in range(3):
        assert len(conn.response().body) == 3_000_000
    wait_for(lambda: sorted(notes.lines()) == ['/0', '/1', '/2'], 5, 'all of it')


def test_a_peer_that_reads_nothing(serve_unix, notes):
    """A client that takes no answer does not keep its connection for ever by having sent the next request: it has
    --write-timeout."""
    server = serve_unix('''
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](note, 'work')
            return hello(start_response, b'x' * 150_000)        # fits into the socket, and fills it
    ''', '--threads', '2', '--write-timeout', '300ms', '--head-timeout', '400ms')
    sockets = harness.count_fds(server.pid)[0]
    conn = server.connect()
    conn.sock.send(fcgi.request_bytes(server.params(), keep=True) * 2)
    notes.wait('work')
    wait_for(lambda: harness.count_fds(server.pid)[0] == sockets, 10, 'the end of the connection')
    assert conn.response().complete and notes.lines() == ['work']
    conn.wait_eof()


def test_a_request_begun_meanwhile_has_its_deadline(serve_unix, notes, gate):
    """A head that stops in the middle behind such a request is ended by --head-timeout as any other."""
    server = serve_unix(HOLD, '--threads', '2', '--head-timeout', '300ms')
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params(path='/hold', query=str(gate)), keep=True) + fcgi.begin(2))
    assert conn.response().body == b'/hold'
    conn.wait_eof(5)
    notes.wait('hold begins')
    gate.touch()
    notes.wait('hold begins', 'hold ends')


def test_one_thread(serve_fcgi, notes, gate):
    """With one thread the next request, on whatever connection, is served when the work is done."""
    server = serve_fcgi(HOLD)
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params(path='/hold', query=str(gate)), keep=True) +
              fcgi.request_bytes(server.params(path='/pipelined'), keep=True))
    assert conn.response().body == b'/hold'
    notes.wait('hold begins')
    other = server.start(path='/other')
    other.finish_body()
    assert conn.silent(0.2) and other.silent(0)
    gate.touch()
    assert conn.response().body == b'/pipelined' and other.response().body == b'/other'


# --- what runs -------------------------------------------------------------------------------------------------------

def test_order_and_arguments(serve, notes):
    """In order of registration, with positional and keyword arguments; the callable comes back (a decorator)."""
    server = serve('''
        def show(*args, **kwargs):
            note('show', args, sorted(kwargs.items()))
        def application(environ, start_response):
            after = environ['wsgi_cgi.after_response']
            note(after(show) is show)
            after(show, 1, 'two', key=None)
            after(show, a=1, b=[2], *[3, 4])
            after(lambda *args: note(*args), 'lambda')
            @after
            def decorated():
                note('decorated')
            return hello(start_response)
    ''')
    assert server.request().body == b'hello'
    notes.wait('True', 'show () []', "show (1, 'two') [('key', None)]", "show (3, 4) [('a', 1), ('b', [2])]", 'lambda',
               'decorated')


def test_noted_from_anywhere(serve, notes):
    """Also from a generator, close(), another thread, and the work itself, which comes last; close() runs before all."""
    server = serve('''
        import threading
        class Body:
            def __init__(self, after):
                self.after = after
            def __iter__(self):
                self.after(note, 'iterating')
                yield b'hello'
            def close(self):
                note('close()')
                self.after(note, 'closing')
        def more(after, n):
            note('work', n)
            if n < 3:
                after(more, after, n + 1)
        def application(environ, start_response):
            after = environ['wsgi_cgi.after_response']
            after(more, after, 1)
            thread = threading.Thread(target=after, args=(note, 'thread'))
            thread.start()
            thread.join()
            hello(start_response)
            return Body(after)
    ''')
    assert server.request().body == b'hello'
    notes.wait('close()', 'work 1', 'thread', 'iterating', 'closing', 'work 2', 'work 3')


def test_surroundings(serve, notes):
    """The request's thread and contextvars; environ is still there; the request itself can be used no more."""
    server = serve('''
        import contextvars, threading
        name = contextvars.ContextVar('name', default='nobody')
        def work(environ, start_response, thread):
            note(name.get(), threading.current_thread() is thread, environ['PATH_INFO'])
            for what in (environ['wsgi.input'].read, lambda: start_response('200 OK', [])):
                try:
                    what()
                except RuntimeError as error:
                    note(error)
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](work, environ, start_response, threading.current_thread())
            name.set(environ['QUERY_STRING'])
            return hello(start_response)
    ''')
    assert server.request(path='/x', query='somebody').body == b'hello'
    notes.wait('somebody True /x', 'wsgi.input was used after its request ended',
               'start_response() was used after its request ended')
    if server.is_fcgi:
        server.request(path='/y', query='else')
        wait_for(lambda: len(notes.lines()) == 6, 5, 'the second request')
        assert notes.lines()[3] == 'else True /y'


def test_contextvars_are_the_requests_own(serve_unix, notes):
    """What one piece of work sets the next one of its request sees, and no other request."""
    server = serve_unix('''
        import contextvars
        var = contextvars.ContextVar('var', default='unset')
        def work(value):
            note(var.get())
            var.set(value)
        def application(environ, start_response):
            note('application', var.get())
            for value in 'ab':
                environ['wsgi_cgi.after_response'](work, value)
            return hello(start_response)
    ''')
    server.request()
    server.request()
    notes.wait(*['application unset', 'unset', 'a'] * 2)


ENDS = {
    '500': "raise ValueError('boom')",
    'exit': 'raise SystemExit(3)',
    'late': "start_response('200 OK', []); return (1 // (2 - n) and b'x' for n in range(3))",
    'no start_response': 'return []',
    'short': "start_response('200 OK', [('Content-Length', '9')]); return [b'x']",
}


@pytest.mark.parametrize('end', ENDS)
def test_responses_that_failed(serve, notes, end):
    """However the response ended, the work runs."""
    server = serve(f'''
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](note, 'work')
            {ENDS[end]}
    ''')
    server.allow_log('.')
    server.exit_codes = {0, 1}
    exchange = server.start()
    exchange.finish_body()
    exchange.response()
    notes.wait('work')


STREAM = '''
def application(environ, start_response):
    environ['wsgi_cgi.after_response'](note, 'work')
    start_response('200 OK', [])
    return (b'x' * 1000 for n in iter(lambda: time.sleep(0.002), 0))
'''


def test_client_that_went_away(serve, notes):
    """The client left in the middle: the response stops, the work runs."""
    server = serve(STREAM)
    server.allow_log('client|gone')
    server.exit_codes = {0, 1}
    exchange = server.start()
    exchange.finish_body()
    exchange.wait_for(b'xx')
    exchange.disconnect()
    notes.wait('work')


def test_aborted_request(serve_fcgi, notes):
    """The same after FCGI_ABORT_REQUEST; the connection goes on."""
    server = serve_fcgi(STREAM)
    server.allow_log('client|gone|abort')
    exchange = server.start(keep=True)
    exchange.wait_for(b'xx')
    exchange.conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
    exchange.response()
    notes.wait('work')


# --- what goes wrong -------------------------------------------------------------------------------------------------

def test_refused(serve, notes):
    """TypeError at once for what cannot be called, and nothing is noted by it."""
    server = serve('''
        def application(environ, start_response):
            after = environ['wsgi_cgi.after_response']
            for args in ((), (None,), ('name', 1)):
                try:
                    after(*args)
                except TypeError as error:
                    note(error)
            after(note, 'work')
            return hello(start_response)
    ''')
    assert server.request().body == b'hello'
    start = 'after_response() takes a callable and its arguments, not '
    notes.wait(start + 'nothing', start + 'NoneType', start + 'str', 'work')


def test_exceptions(serve, notes):
    """Each one is logged with its traceback and the request's id, none ends the process or keeps the next from running."""
    server = serve('''
        class Strange(BaseException):
            pass
        def fail(error):
            note(error.__name__)
            raise error('told to')
        def application(environ, start_response):
            for error in (ValueError, SystemExit, KeyboardInterrupt, Strange):
                environ['wsgi_cgi.after_response'](fail, error)
            environ['wsgi_cgi.after_response'](fail)
            environ['wsgi_cgi.after_response'](note, 'last')
            return hello(start_response)
    ''')
    names = ['ValueError', 'SystemExit', 'KeyboardInterrupt', 'Strange']
    for name in names:
        server.expect_log(rf'GET /path: work after the response raised .*{name}')
        server.expect_log(rf'{name}: told to')
    server.expect_log('raised TypeError')
    server.expect_log('missing 1 required positional argument')
    response = server.request(path='/path')
    assert response.body == b'hello' and response.complete and response.app_status in (0, None)
    notes.wait(*names, 'last')
    server.wait_log('missing 1 required')
    ids = re.findall(r'\[(\w{12})\] (?:wsgi-cgi.*?: )?(?:\[\1\] )?GET /path: work after', server.logged)
    assert len(ids) == 5 and len(set(ids)) == 1, server.logged
    if server.is_fcgi:
        assert server.request(path='/path').body == b'hello'
        notes.wait(*(names + ['last']) * 2)


def test_kept_too_long(serve_fcgi, notes):
    """Used when its request is over, in the next request or between requests, it raises RuntimeError and notes nothing
    for whoever has the thread now."""
    server = serve_fcgi('''
        kept = []
        def use():
            for after in kept:
                try:
                    after(note, 'too late')
                except RuntimeError as error:
                    note(error)
        def application(environ, start_response):
            use()
            kept.append(environ['wsgi_cgi.after_response'])
            if environ['QUERY_STRING']:
                environ['wsgi_cgi.after_response'](use)
            return hello(start_response)
    ''')
    error = 'after_response() was used after its request ended'
    for n in range(3):
        server.request()
        notes.wait(*[error] * (n * (n + 1) // 2))
    # A work of its own still may; what use() notes then runs behind it.
    server.request(query='own')
    notes.wait(*[error] * 9, 'too late')
    server.request()
    notes.wait(*[error] * 9, 'too late', *[error] * 4)


def test_kept_by_an_environ(serve_unix, notes):
    """The same for one in an environ that the application keeps."""
    server = serve_unix('''
        kept = []
        def application(environ, start_response):
            kept.append(environ)
            for old in kept[:-1]:
                try:
                    old['wsgi_cgi.after_response'](note, 'too late')
                except RuntimeError:
                    note('refused')
            kept[-1]['wsgi_cgi.after_response'](note, 'work', len(kept))
            return hello(start_response)
    ''')
    server.request()
    server.request(headers={'X-Other': 'shape'})
    server.request()
    notes.wait('work 1', 'refused', 'work 2', 'refused', 'refused', 'work 3')


def test_output(serve, notes, gate):
    """What the work prints or writes to wsgi.errors goes to standard error, nothing to a client that is gone."""
    server = serve('''
        import sys
        def work(errors):
            print('printed')
            print('to stderr', file=sys.stderr)
            errors.write('to errors' + chr(10))
            errors.write('no newline')
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](work, environ['wsgi.errors'])
            return hello(start_response)
    ''', '--errors-to', 'server')
    server.allow_log('to errors')
    exchange = server.start()
    response = end_of_response(exchange)
    if server.is_cgi:
        exchange.response()
    assert response.body == b'hello' and response.stderr == b''
    server.wait_log(r'^printed\nto stderr\nto errors\nno newline\n')


# --- processes -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('when', ['in the work', 'in the application'])
def test_forked_child(serve, notes, when):
    """P17: a child that comes back into the gateway runs none of its parent's work."""
    server = serve('''
        def fork():
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
            else:
                note('child')
                raise SystemExit(0)
        def application(environ, start_response):
            after = environ['wsgi_cgi.after_response']
            after(note, 'before', os.getpid())
            if environ['QUERY_STRING'] == 'in the work':
                after(fork)
            else:
                fork()
            after(note, 'behind', os.getpid())
            return hello(start_response, b'%d' % os.getpid())
    ''')
    pid = server.request(query=when).text
    middle = [f'before {pid}', 'child'] if when == 'in the work' else ['child', f'before {pid}']
    notes.wait(*middle, f'behind {pid}')


def test_forked_child_cannot_register(serve, notes):
    """P17: nor can it leave any."""
    server = serve('''
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                try:
                    environ['wsgi_cgi.after_response'](note, 'work')
                except RuntimeError as error:
                    note(error)
                os._exit(0)
            os.waitpid(pid, 0)
            return hello(start_response)
    ''')
    assert server.request().body == b'hello'
    notes.wait('after_response() was used in a forked child; only the process that got the request can use it')


@pytest.mark.parametrize('threads', [1, 2])
@pytest.mark.parametrize('keep', [False, True])
def test_term_waits(serve_fcgi, notes, gate, threads, keep):
    """P4: SIGTERM lets the work end, then the exit code is 0."""
    server = serve_fcgi(HOLD, '--threads', str(threads))
    conn = server.connect()
    assert conn.request(server.params(path='/hold', query=str(gate)), keep=keep).body == b'/hold'
    notes.wait('hold begins')
    server.signal(signal.SIGTERM)
    if keep:
        conn.wait_eof()
    else:
        # Nobody answers any more, as soon as the signal has been seen.
        wait_for(lambda: server.connect().silent(0.3), 5, 'no answer')
    assert server.running()
    gate.touch()
    assert server.wait(5) == 0
    notes.wait('hold begins', 'hold ends')


def test_term_does_not_wait_for_ever(serve_fcgi, notes, gate):
    """P4: --graceful-timeout bounds it, and the log says so."""
    server = serve_fcgi(HOLD, '--graceful-timeout', '300ms')
    server.expect_log('--graceful-timeout has passed: work after a response is cut off')
    server.expect_log('GET /hold: the work after the response is cut off after')
    assert server.request(path='/hold', query=str(gate)).body == b'/hold'
    notes.wait('hold begins')
    server.signal(signal.SIGTERM)
    assert server.wait(5) == 0
    notes.wait('hold begins')


def test_interrupt_stops_it(serve_fcgi, notes, gate):
    """P4: SIGINT does not wait."""
    server = serve_fcgi(HOLD)
    assert server.request(path='/hold', query=str(gate)).body == b'/hold'
    notes.wait('hold begins')
    server.signal(signal.SIGINT)
    assert server.wait(5) == 0


def test_term_of_a_cgi_process(cgi, notes, gate):
    """A web server that sends SIGTERM as soon as it has the response (lighttpd) does not end the work; twice does."""
    server = cgi.serve(source(HOLD), env={'NOTES': str(notes.path)})
    exchange = server.start(path='/hold', query=str(gate))
    end_of_response(exchange)
    notes.wait('hold begins')
    exchange.process.signal(signal.SIGTERM)
    gate.touch()
    assert exchange.response().exit_code == 0
    notes.wait('hold begins', 'hold ends')
    gate.unlink()
    server.exit_codes = {-signal.SIGTERM}
    exchange = server.start(path='/hold', query=str(gate))
    end_of_response(exchange)
    wait_for(lambda: len(notes.lines()) == 3, 5, 'the second')
    exchange.process.signal(signal.SIGTERM)
    wait_for(lambda: not signal_pending(exchange.pid, signal.SIGTERM), 5, 'the first signal')
    exchange.process.signal(signal.SIGTERM)
    exchange.wait(lambda: not exchange.unfinished)
    assert exchange.process.wait(5) == -signal.SIGTERM
    exchange.response()


def signal_pending(pid, number):
    with open(f'/proc/{pid}/status') as status:
        masks = [int(line.split()[1], 16) for line in status if line.startswith(('SigPnd', 'ShdPnd'))]
    return any(mask >> number - 1 & 1 for mask in masks)


def test_cgi_process_is_bounded(cgi, notes, gate):
    """After SIGTERM --graceful-timeout is what a CGI process has left."""
    server = cgi.serve(source(HOLD), '--graceful-timeout', '1s', env={'NOTES': str(notes.path)})
    server.exit_codes = {-signal.SIGALRM}
    exchange = server.start(path='/hold', query=str(gate))
    end_of_response(exchange)
    notes.wait('hold begins')
    exchange.process.signal(signal.SIGTERM)
    assert exchange.process.wait(5) == -signal.SIGALRM
    exchange.response()


def test_recycled_worker(serve_unix, notes, gate):
    """A worker that has had its --max-requests is replaced meanwhile, and ends when the work is done."""
    app = HOLD.replace('path.encode()', "b'%d' % os.getpid()")
    server = serve_unix(app, '--processes', '1', '--max-requests', '1', '--max-requests-jitter', '0')
    server.check_fds = False
    old = server.request(path='/hold', query=str(gate)).text
    notes.wait('hold begins')
    assert server.request(timeout=5 * SLOW).text != old
    assert os.path.exists(f'/proc/{old}')
    gate.touch()
    notes.wait('hold begins', 'hold ends')
    wait_for(lambda: not os.path.exists(f'/proc/{old}'), 5, 'the end of the worker')
    server.stop()


def test_status(serve_unix, world, notes, gate):
    """Its thread is busy and "Finishing" (php-fpm's word); the request has been counted, its duration is its own."""
    control = world.new_path('control')
    server = serve_unix(HOLD, '--control', control, '--threads', '2')

    def state(query='json&full'):
        with fcgi.Connection(str(control)) as conn:
            return conn.request(harness.cgi_params(path='/status', query=query))
    server.request(path='/hold', query=str(gate))
    notes.wait('hold begins')
    now = state().json
    assert now['requests'] == 1 and now['active requests'] == now['active processes'] == 1
    thread, = [t for t in now['processes'][0]['threads'] if t['state'] != 'Idle']
    assert thread['state'] == 'Finishing' and thread['request uri'] == f'/hold?{gate}'
    assert 'after response' in state('full').text
    assert re.search(rf'^finishing request: +GET /hold\?{gate}$', state('text&full').text, re.MULTILINE)
    # Its time is not the request's: that one stays as it is while the work goes on.
    duration = thread['request duration']
    wait_for(lambda: 'after response<td class=n data-th=Duration>&lt;' not in state('full').text, 5, 'some time')
    assert [t for t in state().json['processes'][0]['threads'] if t['state'] != 'Idle'][0]['request duration'] == duration
    gate.touch()
    wait_for(lambda: state().json['active requests'] == 0, 5, 'the end')
