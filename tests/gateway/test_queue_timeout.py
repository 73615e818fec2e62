"""--queue-timeout: a request that has waited too long for a thread gets 503, and no other one does. P27."""

import os
import re
import shutil
import subprocess
import time

import pytest

import fcgi
import harness
from apps import HELLO
from fcgi import wait_for
from harness import FcgiServer, listening_socket
from settings import BINARY, SLOW
from test_status import WAIT, control_fields, waiting

LOG = r'503: a request has waited for a thread longer than --queue-timeout \(\d+\.\d{3} s\)'
# In seconds. What has waited for LONG is refused, also where the program looked late who waits; what has waited for as
# long as a few system calls take is not.
LIMIT = 1.5 * SLOW
LONG = 3 * LIMIT
OPTIONS = '--queue-timeout', f'{LIMIT * 1000:.0f}ms'


def after_long():
    since = time.monotonic()
    wait_for(lambda: time.monotonic() >= since + LONG, LONG + 5, 'the end of the wait')


class Busy:
    """A server whose only thread is in a request until the gate opens."""

    def __init__(self, start, world, gate, *options):
        self.control, self.gate = world.new_path('control'), gate
        self.server = start(WAIT, '--control', self.control, *options)
        self.first, = waiting(self.server, gate, 1)
        wait_for(lambda: self.fields()['active requests'] >= 1, 20, 'the request that runs')

    def fields(self, query='json'):
        return control_fields(self.control, query)

    def open(self):
        self.gate.touch()
        assert self.first.response().status == 200


@pytest.fixture
def busy(fcgi_server, world, tmp_path):
    """Busy(*options), over both kinds of socket."""
    return lambda *options: Busy(fcgi_server, world, tmp_path / 'gate', *options)


def check_refused(response):
    assert response.status == 503 and response.header('Retry-After') == str(-int(-LIMIT // 1))
    assert response.header('Cache-Control') == 'no-store' and 'busy' in response.text


def test_only_what_has_waited_too_long(busy, tmp_path):
    """P27: the old ones get 503 and are counted and logged; one that has just come is served."""
    access = tmp_path / 'access'
    b = busy(*OPTIONS, '--access-log', access)
    b.server.allow_log(LOG)
    old = waiting(b.server, b.gate, 2)
    after_long()
    new, = waiting(b.server, b.gate, 1)
    wait_for(lambda: b.fields()['listen queue'] == 3, 10, 'the queue')
    b.open()
    for exchange in old:
        check_refused(exchange.response())
    assert new.response().status == 200
    after = b.fields('json&full')
    assert after['queue timeouts'] == after['processes'][0]['queue timeouts'] == after['failed requests'] == 2
    assert len(re.findall(LOG, b.server.logged)) == 1   # at most once a minute
    wait_for(lambda: access.read_text().count('\n') == 4, 5, 'the access log')
    assert [line.split('" ')[1].split()[0] for line in access.read_text().splitlines()].count('503') == 2


def test_long_enough(busy):
    """P27: a limit that has not passed refuses nothing, and neither does 0."""
    b = busy('--queue-timeout', f'{LIMIT * 100_000:.0f}ms')
    exchanges = waiting(b.server, b.gate, 2)
    after_long()
    b.open()
    assert [exchange.response().status for exchange in exchanges] == [200, 200]
    assert b.fields()['queue timeouts'] == 0


def test_off_by_default(busy):
    """P27: without the option every request is served."""
    b = busy()
    exchange, = waiting(b.server, b.gate, 1)
    after_long()
    b.open()
    assert exchange.response().status == 200


def test_kept_connections(busy):
    """P27: a request on a connection that was accepted long before waits as well."""
    b = busy(*OPTIONS, '--threads', '2')
    b.server.allow_log(LOG)
    conns = [b.server.connect() for _ in range(3)]
    for conn in conns:    # the second thread serves them
        assert b.server.request(conn=conn, keep=True).status == 200
    second, = waiting(b.server, b.gate, 1)
    wait_for(lambda: b.fields()['active requests'] == 2, 10, 'the other thread')

    def send(conn):
        exchange = b.server.start(path='/kept', conn=conn, keep=True)
        exchange.finish_body()
        return exchange
    old = [send(conn) for conn in conns[:2]]
    after_long()
    new = send(conns[2])
    b.open()
    for exchange in old:
        check_refused(exchange.response())
    assert new.response().status == 200 and second.response().status == 200
    # The connection of a refused request goes on.
    assert b.server.request(conn=conns[0], keep=True).status == 200


FAILS = WAIT.replace("start_response('200", """if environ['PATH_INFO'] == '/fails':
            raise ValueError('as the test wants')
        start_response('200""")


def test_next_request_on_the_connection(fcgi_server, tmp_path):
    """P27: one that was sent while the last one of its connection ran has waited for that, and not for a thread."""
    gate = tmp_path / 'gate'
    server = fcgi_server(FAILS, *OPTIONS, '--threads', '2')
    conn = server.connect()
    assert server.request(conn=conn, keep=True).status == 200
    # After one that succeeds, the program has already read what follows: it looks for FCGI_ABORT_REQUEST.
    first = server.start(path='/fails', query=str(gate), conn=conn, keep=True)
    first.finish_body()
    second = server.start(path='/second', conn=conn, keep=True, id=2)
    second.finish_body()
    after_long()
    gate.touch()
    assert first.response().status == 500
    assert second.response().status == 200
    server.expect_log('the application raised ValueError')
    server.expect_log('ValueError: as the test wants')


def test_connection_without_a_request(busy):
    """P27: not the age of the connection counts, but that of its request: it comes at last, or the rest of it does."""
    b = busy(*OPTIONS)
    early, half = b.server.connect(), b.server.connect()
    request = fcgi.request_bytes(b.server.params(path='/half'))
    half.send(request[:-20])
    after_long()
    half.send(request[-20:])
    late = b.server.start(path='/early', conn=early)
    late.finish_body()
    b.open()
    assert late.response().status == 200 and half.response(1).status == 200
    assert b.fields()['queue timeouts'] == 0


def test_upload(busy):
    """P27: a request with a body is refused, too, and its body does no harm."""
    b = busy(*OPTIONS)
    b.server.allow_log(LOG)
    exchange = b.server.start('POST', path='/upload', body=b'x' * 20_000)
    exchange.write(b'x' * 20_000)
    exchange.finish_body()
    after_long()
    b.open()
    check_refused(exchange.response())
    assert b.server.request(path='/next').status == 200


def test_status_and_ping_are_never_refused(busy):
    """P27: those who look after the server see it just then."""
    b = busy(*OPTIONS, '--status-path', '/status', '--ping-path', '/ping')
    exchanges = [b.server.start(path=path) for path in ('/status', '/ping')]
    for exchange in exchanges:
        exchange.finish_body()
    after_long()
    b.open()
    assert [exchange.response().status for exchange in exchanges] == [200, 200]
    assert b.fields()['queue timeouts'] == 0


def listener(world, kind):
    return listening_socket(kind, world.new_path('sock') if kind == 'unix' else None)


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_while_the_application_is_loaded(world, tmp_path, kind):
    """P27: a request that came before the application was there has waited, too."""
    sock, address = listener(world, kind)
    control, gate = world.new_path('control'), tmp_path / 'gate'
    slow = f'import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.005)\n' + HELLO
    process = world.spawn(*OPTIONS, '--control', control, world.write_app(slow), stdin=sock)
    sock.close()
    server = FcgiServer(world, process, address)
    server.allow_log(LOG)
    wait_for(control.exists, 20, 'the control socket')
    exchange = server.start()
    exchange.finish_body()
    wait_for(lambda: control_fields(control)['listen queue'] == 1, 10, 'the queue')
    after_long()
    gate.touch()
    check_refused(exchange.response(timeout=20))
    assert server.request().body == b'hello'


@pytest.mark.parametrize('kind', ['unix', 'tcp'])
def test_workers(world, tmp_path, kind):
    """P27: in each worker, and the log has one line for all of them."""
    sock, address = listener(world, kind)
    control, gate = world.new_path('control'), tmp_path / 'gate'
    process = world.spawn(*OPTIONS, '--processes', '3', '--control', control, world.write_app(WAIT), stdin=sock)
    sock.close()
    server = FcgiServer(world, process, address)
    server.allow_log(LOG)
    server.ready()
    wait_for(lambda: control_fields(control)['idle processes'] == 3, 20, 'three workers')
    first = waiting(server, gate, 3)
    wait_for(lambda: control_fields(control)['active processes'] == 3, 20, 'three requests')
    old = waiting(server, gate, 6)
    after_long()
    gate.touch()
    assert [exchange.response().status for exchange in first] == [200] * 3
    for exchange in old:
        check_refused(exchange.response())
    after = control_fields(control, 'json&full')
    assert after['queue timeouts'] == sum(p['queue timeouts'] for p in after['processes']) == 6
    assert len(re.findall(LOG, server.logged)) == 1
    assert server.stop(timeout=10) == 0


@pytest.mark.skipif(os.getuid() != 0 or not shutil.which('unshare'), reason='only root makes network namespaces')
def test_socket_of_another_namespace(world, tmp_path):
    """P27, P8: where the kernel does not say who waits, a warning says so, no field is 0, and nothing is refused."""
    if subprocess.run(['unshare', '-n', 'true'], capture_output=True).returncode != 0:
        pytest.skip('no network namespaces here')
    path = world.new_path('sock')
    sock, address = listening_socket('unix', path)
    control = world.new_path('control')
    process = world.spawn('-n', BINARY, *OPTIONS, '--control', control, world.write_app(WAIT), stdin=sock,
                          binary='unshare')
    sock.close()
    server = FcgiServer(world, process, address)
    server.allow_log(r'--queue-timeout: unix:.*: the kernel does not say who waits here')
    server.ready()
    b = Busy.__new__(Busy)
    b.server, b.control, b.gate = server, control, tmp_path / 'gate'
    b.first, = waiting(server, b.gate, 1)
    wait_for(lambda: b.fields()['active requests'] == 1, 20, 'the request that runs')
    exchange, = waiting(server, b.gate, 1)
    after_long()
    fields = b.fields()
    assert [fields[name] for name in ('listen queue', 'max listen queue', 'listen queue len')] == [None] * 3
    with fcgi.Connection(str(control)) as conn:
        text = conn.request(harness.cgi_params(query='text')).text
    assert re.search(r'^listen queue: +-$', text, re.MULTILINE)
    with fcgi.Connection(str(control)) as conn:
        assert 'listen_queue' not in conn.request(harness.cgi_params(query='openmetrics')).text
    b.open()
    assert exchange.response().status == 200
    server.expect_log('the kernel does not say who waits here')
    assert server.stop() == 0
