"""--exit-idle: the program ends by itself when nothing has come for so long. P28."""

import random
import threading
import time

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import FcgiServer, cgi_params, listening_socket
from settings import SLOW
from test_bind import with_listen_fds
from test_processes import serve  # noqa: F401 (a fixture)
from test_starting import Systemd

MODES = pytest.mark.parametrize('mode', [[], ['--processes', '2'], ['--processes', '0-2'],
                                         ['--processes', '0-2', '--preload'], ['--processes', '1-2']],
                                ids=['one', 'master', 'none', 'preload', 'elastic'])
LIMIT = 0.4
OPTIONS = ['--exit-idle', '400ms', '--idle-timeout', '100ms']
REASON = 'stopped: nothing has come for --exit-idle, after '
BODY = '''
    def application(environ, start_response):
        body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'hello', body]
'''


@MODES
def test_it_ends(serve, mode):  # noqa: F811
    """P28: with code 0, not before its time, and with a line in the log that says why."""
    server = serve(BODY, *OPTIONS, *mode)
    asked = time.monotonic()
    assert server.request().body == b'hello'
    assert server.wait(20) == 0
    assert time.monotonic() - asked > LIMIT - 0.05       # the clock of requests is a coarse one
    assert REASON in server.logged


@MODES
def test_sockets_of_its_own_go(world, mode):
    """P28: as at every stop, whether a request has come or not."""
    path = world.new_path('sock')
    process = world.spawn('--bind', str(path), *OPTIONS, *mode, world.write_app(BODY))
    assert process.wait(20) == 0
    assert REASON in process.logged and not path.exists()


@MODES
def test_not_while_a_request_runs(serve, mode):  # noqa: F811
    """P28: a stop would cut it off soon."""
    server = serve(BODY, *OPTIONS, '--graceful-timeout', '100ms', *mode)
    held = server.start('POST', body=b'x')
    assert held.silent(3 * LIMIT) and server.running()
    held.write(b'x')
    held.finish_body()
    assert held.response(20).body == b'hellox'
    held.conn.close()
    assert server.wait(20) == 0


@pytest.mark.parametrize('mode', [[], ['--processes', '1']], ids=['one', 'master'])
def test_not_while_work_goes_on(serve, world, mode):  # noqa: F811
    """P28: work after a response is work."""
    gate = world.new_path('gate')
    server = serve('''
        import os, time
        def work():
            while not os.path.exists(os.environ['GATE']):
                time.sleep(0.005)
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](work)
            start_response('200 OK', [])
            return [b'hello']
    ''', *OPTIONS, '--graceful-timeout', '100ms', *mode, env={'GATE': str(gate)})
    assert server.request().body == b'hello'
    start = time.monotonic()
    wait_for(lambda: not server.running() or time.monotonic() - start > 3 * LIMIT, 10, 'three times the limit')
    assert server.running()
    gate.touch()
    assert server.wait(20) == 0


@pytest.mark.parametrize('processes', ['2', '0-2', '1-2'], ids=['master', 'none', 'elastic'])
def test_workers_that_die_at_their_start(serve, world, processes):  # noqa: F811
    """P28, P3: an application that ends its process at each try, while a client waits or after one has left, does not
    keep the program for ever."""
    server = serve('import os\nos._exit(3)\n', '--exit-idle', '1500ms', '--processes', processes, ready=False)
    server.expect_log(r'worker \d+ exited with code 3')
    server.allow_log('clients that have connected are not served')
    wait_for(lambda: server.log.matches('started: '), 10, 'the start')
    with server.connect() as conn:
        conn.send(fcgi.request_bytes(server.params()))
    assert server.wait(20) == 0
    assert REASON in server.logged


@MODES
def test_kept_connections(serve, mode):  # noqa: F811
    """P28: a request on a connection that is kept counts, the connection does not: it is closed."""
    server = serve(BODY, *OPTIONS, *mode)
    conn = server.connect()
    start = time.monotonic()
    while time.monotonic() - start < 3 * LIMIT:
        assert conn.request(server.params(), keep=True).body == b'hello'
        assert conn.silent(LIMIT / 4)
    conn.wait_eof(20)
    assert server.wait(20) == 0


@MODES
def test_status_of_the_control_socket_does_not_count(serve, world, mode):  # noqa: F811
    """P28: who watches the program does not keep it."""
    control = world.new_path('control')
    server = serve(BODY, *OPTIONS, '--control', str(control), *mode)

    def ended():
        try:
            with fcgi.Connection(str(control), 0.1) as conn:
                conn.request(cgi_params(path='/ping'))
        except (AssertionError, OSError):
            pass
        return not server.running()
    wait_for(ended, 20, 'the end')
    assert server.wait(1) == 0


@MODES
def test_systemd_starts_it_again(world, mode):
    """P28, F32: a socket of systemd's stays, and what waits at it when the program ends is served by the next one:
    requests come in intervals of about the limit, and none is lost."""
    sock, address = listening_socket('unix', world.new_path('sock'))
    app = world.write_app(BODY)
    systemd = Systemd(world)
    stopping, starts = threading.Event(), []

    def supervise():
        while not stopping.is_set():
            server = FcgiServer(world, with_listen_fds(world, [sock], '--exit-idle', '60ms', '--idle-timeout', '30ms',
                                                       *mode, app, env=systemd.env), address)
            server.check_fds = False
            starts.append(server)
            while server.running() and not stopping.is_set():
                stopping.wait(0.002)
            if server.running():
                server.stop(timeout=10)
    with sock, systemd.sock:
        thread = threading.Thread(target=supervise)
        thread.start()
        try:
            rng = random.Random(1)
            for _ in range(25):
                with fcgi.Connection(address) as conn:
                    response = conn.request(cgi_params(script_filename=app), timeout=20)
                    assert response.body == b'hello' and response.complete
                    conn.wait_eof(20)
                systemd.read()          # its queue is short
                stopping.wait(0.06 + rng.uniform(-0.03, 0.05))
        finally:
            stopping.set()
            thread.join()
        assert len(starts) > 3
        assert systemd.count('STOPPING') >= len(starts) - 1


def test_never_unless_asked(serve):  # noqa: F811
    """P28: the default is 0, and so is 0."""
    for options in ([], ['--exit-idle', '0']):
        server = serve(HELLO, *options)
        conn = server.connect()
        assert conn.silent(0.3) and server.running()
        conn.close()


def test_cgi(cgi):
    """P28: a CGI process ends anyhow: one #! line is for both."""
    server = cgi.serve(BODY, '--exit-idle', '1ms')
    assert server.request().body == b'hello'


def test_a_signal_is_the_reason_where_it_came_first(serve):  # noqa: F811
    """P28, P26: the log says which of the two it was."""
    server = serve(BODY, '--exit-idle', '60s')
    assert server.stop(timeout=10 * SLOW) == 0
    assert 'stopped: SIGTERM, ' in server.logged
