"""What the status page counts, and what it does not: failed requests, clients that left, slow requests. P7, P8."""

import re
import signal

import pytest

import fcgi
import harness
from fcgi import wait_for
from settings import SLOW

# By PATH_INFO. GATE is the query string: a file that is waited for; GATE.waiting says that it is.
APP = '''
import os, time

def wait(gate):
    open(gate + '.waiting', 'w').close()
    while not os.path.exists(gate):
        time.sleep(0.005)

def served(environ, start):
    start('200 OK', [])
    return [b'hello']

def own_error(environ, start):
    start('500 Mine', [])
    return [b'sorry']

def raises(environ, start):
    raise ValueError('on purpose')

def short(environ, start):
    start('200 OK', [('Content-Length', '10')])
    return [b'short']

def raises_late(environ, start):
    start('200 OK', [])
    yield b'begun'
    raise ValueError('on purpose')

def reads(environ, start):
    body = environ['wsgi.input'].read()
    start('200 OK', [])
    return [body]

def reads_late(environ, start):
    start('200 OK', [])
    yield b'begun'
    yield environ['wsgi.input'].read()

def catches(environ, start):
    try:
        environ['wsgi.input'].read()
    except OSError:
        raise ValueError('on purpose')

def stream(environ, start):
    start('200 OK', [])
    while True:
        yield b'x' * 100000

def writes(environ, start):
    write = start('200 OK', [])
    while True:
        write(b'x' * 100000)

def file(environ, start):
    name = environ['QUERY_STRING']
    with open(name, 'wb') as f:
        f.truncate(20_000_000)
    start('200 OK', [])
    return environ['wsgi.file_wrapper'](open(name, 'rb'))

def large(environ, start):
    start('200 OK', [])
    return [b'x' * 20_000_000]

def blocks(environ, start):
    start('200 OK', [])
    return (b'x' * 10_000 for i in range(2000))

def reads_and_waits(environ, start):
    environ['wsgi.input'].read()
    return waits(environ, start)

def waits(environ, start):
    wait(environ['QUERY_STRING'])
    start('200 OK', [])
    return [b'late']

def waits_and_raises(environ, start):
    wait(environ['QUERY_STRING'])
    raise ValueError('on purpose')

def goes_on(environ, start):
    try:
        wait(environ['QUERY_STRING'])
    except BaseException:
        pass
    start('200 OK', [])
    return [b'late']

def application(environ, start_response):
    return globals()[environ['PATH_INFO'].strip('/')](environ, start_response)
'''


def page(control, query):
    with fcgi.Connection(str(control)) as conn:
        return conn.request(harness.cgi_params(path='/status', query=query))


def thread(control):
    """The only request thread."""
    process, = page(control, 'json&full').json['processes']
    return process['threads'][0]


def counts(control):
    """Of the service, once they are those of its only process: no process has ended, but a request may have in between."""
    names = 'requests', 'failed requests', 'client aborts', 'slow requests', 'timed out requests'

    def look():
        status = page(control, 'json&full').json
        process, = status['processes']
        found = tuple(status[name] for name in names)
        return found if found == tuple(process[name] for name in names) else None
    return wait_for(look, 5, 'counts that agree')


def left_in_body(server, path, gate):
    """The client leaves in the middle of its upload."""
    exchange = server.start('POST', path=path, content_length=100)
    exchange.write(b'x' * 10)
    if path == '/reads_late':
        exchange.wait_for(b'begun')
    exchange.disconnect()


def left_in_chunks(server, path, gate):
    """The same where the length is not known: before the application has been called."""
    exchange = server.start('POST', path=path, content_length=False,
                            headers={'Transfer-Encoding': 'chunked'})
    exchange.write(b'x' * 10)
    exchange.disconnect()


def left_in_response(server, path, gate):
    exchange = server.start(path=path, query=str(gate))
    exchange.finish_body()
    exchange.wait_for(b'x' if path != '/file' else b'\0')
    exchange.disconnect()


def left_before_response(server, path, gate):
    exchange = server.start(path=path, query=str(gate))
    exchange.finish_body()
    wait_for(gate.with_suffix('.waiting').exists, 5, 'the application')
    exchange.disconnect()
    gate.touch()


def asks(server, path, gate):
    server.request(path=path, query=str(gate))


def too_large(server, path, gate):
    """Without a length, so that it is noticed on the way."""
    exchange = server.start('POST', path=path, content_length=False,
                            headers={'Transfer-Encoding': 'chunked'})
    exchange.write(b'x' * 2000)
    exchange.finish_body()
    assert exchange.response().status == 413


def shorter_than_announced(server, path, gate):
    exchange = server.start('POST', path=path, content_length=100)
    if path == '/reads_late':
        exchange.wait_for(b'begun')
    exchange.write(b'x' * 10)
    exchange.finish_body()
    exchange.response()


def abort_record(server, path, gate):
    exchange = server.start('POST', path=path, content_length=100)
    exchange.write(b'x' * 10)
    exchange.conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
    exchange.response()


def abort_while_it_waits(server, path, gate):
    """After the whole request; the application answers all the same. A request that takes a second is looked at."""
    exchange = server.start(path=path, query=str(gate), keep=True)
    exchange.finish_body()
    wait_for(gate.with_suffix('.waiting').exists, 5, 'the application')
    exchange.conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
    assert exchange.silent(1.2)
    gate.touch()
    assert exchange.response().complete
    return exchange.conn


def other_request_meanwhile(server, path, gate):
    """The next one on the same connection is no abort of this one."""
    exchange = server.start(path=path, query=str(gate), keep=True)
    exchange.finish_body()
    wait_for(gate.with_suffix('.waiting').exists, 5, 'the application')
    exchange.conn.send(fcgi.request_bytes(server.params(path='/waits', query=str(gate)), id=2, keep=True)[:30])
    assert exchange.silent(1.2)
    gate.touch()
    assert exchange.response().complete
    return exchange.conn


def reads_nothing(server, path, gate):
    """A client that stays, but takes nothing for --write-timeout."""
    conn = server.connect()
    conn.sock.send(fcgi.request_bytes(server.params(path=path, query=str(gate))))
    return conn


def sends_nothing(server, path, gate):
    exchange = server.start('POST', path=path, content_length=100)
    if path == '/reads_late':
        exchange.wait_for(b'begun')
    exchange.response(10)


def sends_no_chunk(server, path, gate):
    """The same where the length is not known: 408 before the application has been called."""
    exchange = server.start('POST', path=path, content_length=False, headers={'Transfer-Encoding': 'chunked'})
    exchange.write(b'x')
    assert exchange.response(10).status == 408


FAILED, LEFT, NEITHER = (1, 0), (0, 1), (0, 0)
CASES = [
    # Ours.
    (asks, 'raises', FAILED), (asks, 'raises_late', FAILED), (asks, 'short', FAILED),
    (left_before_response, 'waits_and_raises', FAILED), (left_in_body, 'catches', FAILED),
    # The client's.
    (left_in_body, 'reads', LEFT), (left_in_body, 'reads_late', LEFT), (left_in_chunks, 'reads', LEFT),
    (left_in_response, 'stream', LEFT), (left_in_response, 'writes', LEFT), (left_in_response, 'file', LEFT),
    (abort_while_it_waits, 'waits', LEFT), (abort_while_it_waits, 'waits_and_raises', FAILED),
    (other_request_meanwhile, 'waits', NEITHER),
    (left_before_response, 'waits', LEFT), (abort_record, 'reads', LEFT), (reads_nothing, 'stream', LEFT),
    (reads_nothing, 'file', LEFT), (shorter_than_announced, 'reads_late', LEFT), (sends_nothing, 'reads_late', LEFT),
    (sends_nothing, 'reads', LEFT), (sends_no_chunk, 'reads', LEFT),
    # An answer is an answer.
    (asks, 'served', NEITHER), (asks, 'own_error', NEITHER), (shorter_than_announced, 'reads', NEITHER),
    (too_large, 'reads', NEITHER), (asks, 'file', NEITHER),
]


@pytest.mark.parametrize('way, path, expected', CASES, ids=lambda v: getattr(v, '__name__', v if type(v) is str else ''))
def test_how_a_request_ended(fcgi_unix, world, tmp_path, way, path, expected):
    """P8: a request that we fail counts as failed, one whose client leaves as a client abort, and never as both."""
    control = world.new_path('control')
    limit = f'{int(400 * SLOW)}ms'
    server = fcgi_unix(APP, '--control', control, '--write-timeout', limit if way is reads_nothing else '60s',
                       '--body-timeout', limit if way in (sends_nothing, sends_no_chunk) else '60s', '--limit-body', '1000')
    server.allow_log('.*')
    kept = way(server, '/' + path, tmp_path / 'gate')
    wait_for(lambda: counts(control)[0] == 1, 10, 'the end of the request')
    assert counts(control) == (1, *expected, 0, 0)
    if kept is not None:
        kept.close()
    assert server.request(path='/served').body == b'hello'
    assert counts(control) == (2, *expected, 0, 0)


@pytest.mark.parametrize('path', ['/waits', '/goes_on'])
def test_timeout_of_a_request_whose_client_has_left(fcgi_unix, world, tmp_path, path):
    """P7, P8: it ran too long, client or not: that is a failed request."""
    control, gate = world.new_path('control'), tmp_path / 'gate'
    server = fcgi_unix(APP, '--control', control, '--request-timeout', f'{int(400 * SLOW)}ms')
    server.allow_log('.*')
    exchange = server.start(path=path, query=str(gate))
    exchange.finish_body()
    wait_for(gate.with_suffix('.waiting').exists, 5, 'the application')
    exchange.disconnect()
    wait_for(lambda: counts(control)[0] == 1, 10, 'the end of the request')
    assert counts(control) == (1, 1, 0, 0, 1)


# --- time that is the client's ----------------------------------------------------------------------------------------

SHORT = 0.4 * SLOW


def wait_longer(control, state, since=0.0):
    """Until the request has been in that state for longer than --slow; how long it has run by then, in seconds."""
    def look():
        now = thread(control)
        ran = now['request duration'] / 1e6
        return now['waiting'] == state and ran > since + 3 * SHORT and ran
    return wait_for(look, 30, f'a longer wait ("{state}")')


@pytest.mark.parametrize('path, options', [
    ('/reads', {'content_length': 1}),
    ('/reads', {'content_length': False, 'headers': {'Transfer-Encoding': 'chunked'}})], ids=['length', 'chunked'])
def test_slow_upload_is_not_slow(fcgi_server, world, path, options):
    """P7: --slow: the time that the body takes to arrive is the client's; all forms of the page say what is going on."""
    control = world.new_path('control')
    server = fcgi_server(APP, '--control', control, '--slow', f'{int(1000 * SHORT)}ms')
    exchange = server.start('POST', path=path, **options)
    wait_longer(control, 'receiving the body')
    assert re.search(r'^running request: +POST /reads \(receiving the body\)$', page(control, 'text&full').text, re.M)
    assert '<td data-th=State>running (receiving the body)<' in page(control, 'html&full').text
    assert thread(control)['state'] == 'Running'
    server.signal(signal.SIGUSR2)
    server.wait_log(r'in POST /reads for \d+\.\d+ s \(receiving the body\):')
    exchange.write(b'x')
    exchange.finish_body()
    assert exchange.response().body == b'x'
    wait_for(lambda: counts(control)[0] == 1, 10, 'the end of the request')
    assert counts(control) == (1, 0, 0, 0, 0) and '--slow' not in server.logged
    assert thread(control)['waiting'] == '' and 'receiving' not in page(control, 'text&full').text


@pytest.mark.parametrize('path', ['/large', '/blocks', '/file'])
def test_slow_reader_is_not_slow(fcgi_server, world, tmp_path, path):
    """P7: --slow: nor is that of a client that takes its time to read."""
    control = world.new_path('control')
    server = fcgi_server(APP, '--control', control, '--slow', f'{int(1000 * SHORT)}ms')
    conn = server.connect()
    # All of it at once, so that the file can be sent by sendfile(2).
    conn.send(fcgi.request_bytes(server.params(path=path, query=str(tmp_path / 'f'))))
    wait_longer(control, 'sending the response')
    assert re.search(rf'^running request: +GET {path}\S* \(sending the response\)$', page(control, 'text&full').text, re.M)
    assert len(conn.response(timeout=60).body) == 20_000_000
    wait_for(lambda: counts(control)[0] == 1, 10, 'the end of the request')
    assert counts(control) == (1, 0, 0, 0, 0) and '--slow' not in server.logged


def test_slow_upload_over_cgi(cgi):
    """P7: the same in a CGI process."""
    server = cgi.serve(APP, '--slow', f'{int(1000 * SHORT)}ms')
    exchange = server.start('POST', path='/reads', content_length=1)
    assert exchange.silent(3 * SHORT)
    exchange.write(b'x')
    response = exchange.response()
    assert response.body == b'x' and b'--slow' not in response.stderr


@pytest.mark.parametrize('with_body', [False, True])
def test_slow_application_is_slow(fcgi_server, world, tmp_path, with_body):
    """P7: --slow: the application's own time counts, once, also where the client has been slow before."""
    control, gate = world.new_path('control'), tmp_path / 'gate'
    server = fcgi_server(APP, '--control', control, '--slow', f'{int(1000 * SHORT)}ms')
    server.allow_log('warning: ')
    exchange = server.start('POST' if with_body else 'GET', path='/reads_and_waits', query=str(gate),
                            **({'content_length': 1} if with_body else {}))
    waited = 0.0
    if with_body:
        waited = wait_longer(control, 'receiving the body')
        assert counts(control)[3] == 0
        exchange.write(b'x')
    exchange.finish_body()
    wait_longer(control, '', since=waited)
    assert counts(control)[3] == 1
    gate.touch()
    assert exchange.response().status == 200
    wait_for(lambda: counts(control)[0] == 1, 10, 'the end of the request')
    assert counts(control) == (1, 0, 0, 1, 0)
    said, = re.findall(r'reads_and_waits.*: has run for ([\d.]+) s(.*), longer than --slow', server.logged)
    assert SHORT <= float(said[0]) < 3 * SHORT
    wait = re.fullmatch(r' \(and waited ([\d.]+) s for its client\)', said[1])
    if with_body:
        assert wait
    else:       # on a busy machine, a moment for the end of the empty body
        assert said[1] == '' or float(wait[1]) < SHORT / 2
