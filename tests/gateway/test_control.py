"""--control: the FastCGI socket that answers status and ping while every thread is busy."""

import os
import signal
import stat
import time

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import cgi_params, rss
from settings import SANITIZED, SLOW
from test_bind import listening_tcp

PEERS_MAX = 32          # of src/status/control.c
# Answers when the file that the query string names is there.
WAIT = '''
    import os, time
    def application(environ, start_response):
        while environ['QUERY_STRING'] and not os.path.exists(environ['QUERY_STRING']):
            time.sleep(0.005)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'done']
'''


@pytest.fixture
def control(world, fcgi_unix):
    """A server with a control socket; control.connect() and control.get() are about that one."""
    class Control:
        path = str(world.new_path('control'))

        def __init__(self):
            self.server = None

        def serve(self, *options, app=HELLO, **keywords):
            self.server = fcgi_unix(app, '--control', 'unix:' + self.path, *options, **keywords)
            return self.server

        def connect(self):
            return world.connect(self.path)

        def get(self, path='/ping', query='', method='GET', conn=None, keep=False, **more):
            conn = conn or self.connect()
            return conn.request(cgi_params(method, path, query), keep=keep, **more)
    return Control()


@pytest.mark.parametrize('processes, threads', [(0, 1), (0, 3), (2, 2)])
def test_answers_while_all_threads_are_busy(control, tmp_path, processes, threads):
    """P8: within 100 ms, and it shows what they are busy with; the master's socket, where there is one."""
    server, gate = control.serve('--threads', str(threads), *(['--processes', str(processes)] if processes else []),
                                 app=WAIT), tmp_path / 'gate'
    server.check_fds = not processes        # the master's workers come and go
    count = threads * max(processes, 1)
    running = [server.start(path=f'/{i}', query=str(gate)) for i in range(count)]
    for exchange in running:
        exchange.finish_body()
    wait_for(lambda: control.get('/', 'json').json['active requests'] == count, 5, 'busy threads')
    times = []
    for path, query in (('/ping', ''), ('/', 'json&full'), ('/status', 'openmetrics')) * 5:
        began = time.monotonic()
        assert control.get(path, query).status == 200
        times.append(time.monotonic() - began)
    assert sorted(times)[len(times) // 2] < 0.1 * SLOW, times
    threads = [t for process in control.get('/', 'json&full').json['processes'] for t in process['threads']]
    assert sorted(t['request uri'] for t in threads) == [f'/{i}?{gate}' for i in range(count)]
    gate.touch()
    assert [exchange.response().body for exchange in running] == [b'done'] * count
    server.stop()


def test_every_path_answers(control):
    """/ping and --ping-path with pong, anything else with the page."""
    control.serve('--ping-path', '/alive', '--status-path', '/status')
    for path in ('/ping', '/alive'):
        response = control.get(path)
        assert (response.status, response.body, response.header('Content-Type')) == (200, b'pong', 'text/plain')
    for path in ('/', '/status', '/anything', '/pingx'):
        response = control.get(path, 'json')
        assert response.status == 200 and response.json['total processes'] == 1
        assert response.header('Cache-Control') == 'no-store'


def test_methods(control):
    """HEAD without a body; POST is refused, and what it sends is no request."""
    control.serve()
    head = control.get('/ping', method='HEAD')
    assert (head.status, head.body, head.header('Content-Length')) == (200, b'', '4')
    conn = control.connect()
    response = control.get('/', method='POST', conn=conn, keep=True, body=b'x' * 300_000)
    assert response.status == 405 and response.header('Allow') == 'GET, HEAD'
    assert control.get(conn=conn, keep=True, id=2).body == b'pong'


def test_kept_connection(control):
    """FCGI_KEEP_CONN is obeyed, also for requests that lie one behind the other."""
    control.serve()
    conn = control.connect()
    for id in (1, 1, 7):
        assert control.get(conn=conn, keep=True, id=id).body == b'pong'
    conn.send(b''.join(fcgi.request_bytes(cgi_params(path='/ping'), id=id, keep=id < 30) for id in range(20, 31)))
    assert [conn.response(id).body for id in range(20, 31)] == [b'pong'] * 11
    conn.wait_eof()


def test_split_at_every_byte(control):
    """The answer does not depend on how the request is cut."""
    control.serve()
    request = fcgi.request_bytes(cgi_params(path='/ping'), b'body', keep=True)
    conn = control.connect()
    for cut in range(1, len(request)):
        conn.send(request[:cut])
        conn.send(request[cut:])
        assert conn.response().body == b'pong', cut


def test_management_records(control):
    """GET_VALUES, an unknown type, a role that it has not."""
    control.serve()
    conn = control.connect()
    values = dict(conn.get_values('FCGI_MAX_CONNS', 'FCGI_MPXS_CONNS', 'OTHER'))
    assert values == {b'FCGI_MAX_CONNS': b'%d' % PEERS_MAX, b'FCGI_MPXS_CONNS': b'0'}
    conn.send(fcgi.record(100, 0))
    unknown = conn.next_record()
    assert (unknown.type, unknown.content[0]) == (fcgi.UNKNOWN_TYPE, 100)
    conn.send(fcgi.head(cgi_params(), role=fcgi.AUTHORIZER, keep=True))
    assert conn.response().protocol_status == fcgi.UNKNOWN_ROLE
    assert control.get(conn=conn, keep=True).body == b'pong'


@pytest.mark.parametrize('noise', [b'GET / HTTP/1.0\r\n\r\n', b'\x00' * 100, fcgi.begin(1) + fcgi.record(77, 1),
                                   fcgi.begin(1) + fcgi.stream(fcgi.PARAMS, 1, b'\xff\xff\xff\xff'),
                                   fcgi.begin(1) + fcgi.record(fcgi.PARAMS, 1)])
def test_nonsense(control, noise):
    """Ends its connection and nothing else."""
    control.serve()
    other = control.connect()
    conn = control.connect()
    conn.send(noise)
    conn.wait_eof()
    assert conn.stdout() == b''
    assert control.get(conn=other).body == b'pong'


def test_too_many_variables(control):
    """--limit-head and --limit-vars hold here, too, and say so; only the former ends its connection."""
    server = control.serve('--limit-head', '2k', '--limit-vars', '100')
    conn = control.connect()
    for params, sentence in (([('HTTP_X', '')] * 101, b'more headers than this server takes'),
                             ([('HTTP_X', 'a\0b')], b'character'), ([('HTTP_X', 'x' * 3000)], b'larger than')):
        conn.send(fcgi.head(cgi_params(path='/ping') + params, keep=True))
        response = conn.response()
        assert (response.status, response.complete) == (400 if sentence == b'character' else 431, True)
        assert sentence in response.body
    conn.wait_eof()
    assert control.get().body == b'pong'
    for option in ('--limit-vars', '--limit-head'):
        server.wait_log(f'info: --control: 431: .*{option}')
    server.wait_log('info: --control: 400: ')


def test_silent_connections(control):
    """However many there are, a new one is answered: the oldest goes."""
    control.serve('--head-timeout', '600s')
    silent = [control.connect() for _ in range(PEERS_MAX + 5)]
    for conn in silent[:3]:
        conn.wait_eof()
    assert control.get().body == b'pong'
    assert silent[-1].silent(0.05)
    assert control.get(conn=silent[-1]).body == b'pong'


def test_half_a_head(control):
    """--head-timeout ends it, without any other event."""
    control.serve('--head-timeout', '300ms', '--keepalive-timeout', '600s')
    kept = control.connect()
    assert control.get(conn=kept, keep=True).body == b'pong'
    conn = control.connect()
    began = time.monotonic()
    conn.send(fcgi.head(cgi_params())[:50])
    conn.wait_eof()
    assert 0.25 < time.monotonic() - began < 5 * SLOW
    kept.send(fcgi.begin(1))
    kept.wait_eof()


def test_idle_connection(control):
    """--keepalive-timeout ends a kept connection."""
    control.serve('--keepalive-timeout', '300ms')
    conn = control.connect()
    began = time.monotonic()
    assert control.get(conn=conn, keep=True).body == b'pong'
    conn.wait_eof()
    assert 0.25 < time.monotonic() - began < 5 * SLOW


def test_peer_that_does_not_read(control):
    """It is held up alone, costs little memory, and gets every answer once it reads."""
    server = control.serve()
    before = rss(server.pid)
    greedy = control.connect()
    count, request = 3000, fcgi.request_bytes(cgi_params(path='/'), keep=True)
    todo = memoryview(request * count)
    while todo:
        try:
            todo = todo[greedy.sock.send(todo):]
        except BlockingIOError:
            break
    assert todo, 'all was taken without an answer being read'
    assert control.get().body == b'pong'
    if not SANITIZED:
        assert rss(server.pid) - before < 8 << 20
    greedy.send(todo, 60)
    for _ in range(count):
        assert greedy.response(timeout=30).complete
    assert control.get(conn=greedy).body == b'pong'


def test_write_timeout(control):
    """A peer that never reads is given up."""
    control.serve('--write-timeout', '300ms')
    conn = control.connect()
    todo = memoryview(fcgi.request_bytes(cgi_params(path='/'), keep=True) * 3000)

    def is_given_up():
        nonlocal todo
        try:
            todo = todo[conn.sock.send(todo):]
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True
        return not todo
    wait_for(is_given_up, 10, 'end of the connection')
    assert todo, 'all was taken without an answer being read'


def test_client_that_leaves(control):
    """In the middle of an answer or of a request; nothing is left open."""
    server = control.serve()
    fds = len(os.listdir(f'/proc/{server.pid}/fd'))
    for size in (8, 60, None):
        for _ in range(40):
            conn = control.connect()
            conn.send(fcgi.request_bytes(cgi_params(path='/'))[:size])
            conn.close()
    assert control.get().body == b'pong'
    wait_for(lambda: len(os.listdir(f'/proc/{server.pid}/fd')) <= fds, 5, 'closed descriptors')


def ticks(server):
    """Processor time so far, in hundredths of a second."""
    with open(f'/proc/{server.pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize('processes', [0, 1])
def test_while_the_last_request_runs(control, tmp_path, processes):
    """P4, P8: after SIGTERM, until the last request has ended, the socket answers, a connection that is open, or has
    just come, keeps no thread spinning, and the request is finished."""
    gate = tmp_path / 'gate'
    server = control.serve('--threads', '1', *(['--processes', str(processes)] if processes else []), app=WAIT)
    server.check_fds = False
    exchange = server.start(query=str(gate))
    exchange.finish_body()
    wait_for(lambda: control.get('/', 'json').json['active requests'] == 1, 5, 'the request')
    kept = control.connect()
    assert control.get(conn=kept, keep=True).body == b'pong'
    server.signal(signal.SIGTERM)
    silent = control.connect()
    before = ticks(server)
    assert exchange.silent(3) and silent.silent(0) and kept.silent(0)
    assert ticks(server) - before <= 10, 'it spins'
    assert control.get(conn=kept, keep=True).body == control.get().body == b'pong'
    process, = control.get('/', 'json&full').json['processes']
    assert process['state'] == 'draining'
    gate.touch()
    assert exchange.response().body == b'done'
    assert server.wait(10) == 0


def test_idle_costs_nothing(control):
    """No timer ticks while nobody is connected, nor while a kept connection is silent."""
    server = control.serve('--keepalive-timeout', '600s')
    kept = control.connect()
    assert control.get(conn=kept, keep=True).body == b'pong'

    before = ticks(server)
    assert kept.silent(1)
    assert ticks(server) - before <= 3


def test_socket_file(control):
    """Mode as --socket-mode says; removed at the end."""
    server = control.serve('--socket-mode', '0600')
    assert stat.S_IMODE(os.stat(control.path).st_mode) == 0o600
    assert server.stop() == 0
    assert not os.path.exists(control.path)


def test_tcp(world, fcgi_unix):
    """The other kind of address; here the kernel chooses the port."""
    server = fcgi_unix(HELLO, '--control', '127.0.0.1:0')
    address, = listening_tcp(server.pid)
    assert world.connect(address).request(cgi_params(path='/ping')).body == b'pong'


@pytest.mark.parametrize('address, code, message', [
    ('nonsense', 64, '--control: invalid value "nonsense"'),
    ('0.0.0.0:9', 64, '--control: 0.0.0.0:9 can be reached from other machines'),
    ('unix:/nowhere/at/all', 69, '--control: unix:/nowhere/at/all: /nowhere does not exist; create it first'),
])
def test_wrong_address(world, address, code, message):
    """Told with the option's name, and nothing is served."""
    path = world.new_path('sock')
    finished = world.run('--bind', path, '--control', address, world.write_app(HELLO))
    assert finished.code == code and message in finished.stderr, finished
    assert not path.exists()


def test_address_in_use(world, control):
    """The socket of another process is left alone."""
    server = control.serve()
    finished = world.run('--bind', world.new_path('sock'), '--control', control.path, server.script)
    assert finished.code == 69 and f'--control: {control.path} is in use' in finished.stderr
    assert control.get().body == b'pong'


def test_survives_a_reload(control):
    """P5: without a master the program is executed again; its control socket is the same one, so that nobody is refused
    in between, and a user who could not make it anew has it still."""
    server = control.serve('--reload', 'off')
    server.check_fds = False        # another program, with other descriptors, on the same pid
    server.allow_log('SIGHUP|new code')
    before = os.stat(control.path).st_ino
    for _ in range(2):
        server.request()
        assert control.get('/', 'json').json['requests'] == 1
        server.signal(signal.SIGHUP)

        def again():
            page = control.get('/', 'json')     # not whole where the program had it that is gone now
            return page.complete and page.json['requests'] == 0
        wait_for(again, 20, 'the program to be executed again')
        assert os.stat(control.path).st_ino == before
    assert server.stop() == 0 and not os.path.exists(control.path)
