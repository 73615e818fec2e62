"""The test equipment itself: what it promises to notice, it notices."""

import os

import pytest

import fcgi
import harness
from warm import WarmTransport

HELLO = '''
    def application(environ, start_response):
        body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain'), ('X-A', '1'), ('X-A', '2')])
        return [b'hello ', body, environ.get('HTTP_X_B', '').encode('latin-1')]
'''


def test_request_over_every_transport(transport):
    server = transport.serve(HELLO)
    response = server.request('POST', headers={'X-B': 'b'}, body=b'x' * 100_000)
    assert response.status == 200 and response.complete
    assert response.body == b'hello ' + b'x' * 100_000 + b'b'
    assert response.header_list('X-A') == ['1', '2']


def test_response_in_pieces(transport):
    server = transport.serve(HELLO)
    exchange = server.start('POST', content_length=6)
    exchange.write(b'abc')
    assert exchange.silent(0.1)
    exchange.write(b'def')
    exchange.finish_body()
    exchange.wait_for(b'hello abcdef')
    assert exchange.response().status == 200


def test_several_requests_on_one_connection(fcgi_server):
    server = fcgi_server(HELLO)
    conn = server.connect()
    for i in range(3):
        assert conn.request(server.params('POST', body=b'%d' % i), b'%d' % i, keep=True).body == b'hello %d' % i
    assert not conn.eof


def test_a_traceback_has_to_be_declared(transport):
    server = transport.serve('''
        def application(environ, start_response):
            raise ValueError('boom')
    ''')
    server.request()
    server.allow_log(r'wsgi-cgi.*: error: ')
    with pytest.raises(AssertionError, match='unexpected in the log'):
        server.log.check()
    server.expect_log('ValueError: boom')
    server.log.check()


def test_a_declared_line_has_to_come():
    log = harness.Log()
    log.texts.append(b'nothing')
    log.expect('something')
    with pytest.raises(AssertionError, match='no log line'):
        log.check()


def test_a_sanitizer_report_cannot_be_declared():
    log = harness.Log()
    log.texts.append(b'==1==ERROR: AddressSanitizer: heap-use-after-free')
    log.allow('.')
    with pytest.raises(AssertionError, match='fatal'):
        log.check()


def test_open_descriptors_are_noticed(fcgi_unix):
    server = fcgi_unix('''
        import os
        kept = []
        def application(environ, start_response):
            kept.append(open(os.devnull))
            start_response('200 OK', [])
            return [b'x']
    ''')
    server.request()
    server.check_open_fds()
    server.request()
    with pytest.raises(AssertionError, match='descriptors leaked'):
        server.check_open_fds()
    server.check_fds = False


def test_children_left_behind_are_noticed(fcgi_unix):
    server = fcgi_unix('''
        import subprocess
        def application(environ, start_response):
            global child
            child = subprocess.Popen(['sleep', '60'])
            start_response('200 OK', [])
            return [str(child.pid).encode()]
    ''')
    pid = int(server.request().body)
    with pytest.raises(AssertionError, match='children or zombies left'):
        server.check_children()
    os.kill(pid, 9)
    # The dead child is a zombie now, until the application looks: that is a finding too.
    with pytest.raises(AssertionError, match='children or zombies left'):
        server.check_children()
    server.check_children = lambda: None


def finish_badly(server, message):
    with pytest.raises(AssertionError, match=message):
        server.finish()
    server.finish = lambda: None


def test_a_request_without_an_instance_is_noticed(world):
    """Whatever the log says: the CGI process has served it."""
    server = WarmTransport(world).serve(HELLO)
    server.argv.remove('--keep-warm')
    assert server.request().body == b'hello '
    finish_badly(server, 'there is no instance')


def test_a_cold_request_is_noticed(world):
    """By its log line; and without one, since the instance has got fewer requests."""
    server = WarmTransport(world).serve(HELLO)
    assert server.request().body == b'hello '
    server.check_warm()
    server.served += 1
    with pytest.raises(AssertionError, match='1 requests reached the instance, of 2'):
        server.check_warm()
    server.served -= 1
    server.log.texts.append(b'wsgi-cgi[1]: warning: --keep-warm: on purpose: this process serves the request\n')
    finish_badly(server, 'on purpose')


@pytest.mark.parametrize('what', ['file', 'process'])
def test_what_an_instance_leaves_is_noticed(world, what):
    server = WarmTransport(world).serve('''
        import subprocess
        def application(environ, start_response):
            child = subprocess.Popen(['sleep', '600'])
            start_response('200 OK', [])
            if environ['QUERY_STRING'] == 'file':
                child.kill()
                child.wait()
            return [b'x']
    ''')
    server.request(query=what)
    if what == 'file':
        (server.instances.folder / 'left').touch()
    finish_badly(server, 'left files behind' if what == 'file' else 'left processes behind')


def test_pairs_in_all_forms():
    for size in (0, 1, 127, 128, 70_000):
        for wide_name in (False, True):
            for wide_value in (False, True):
                data = fcgi.pair('n' * 3, 'v' * size, wide_name, wide_value)
                assert fcgi.decode_pairs(data) == [(b'nnn', b'v' * size)]
    with pytest.raises(ValueError):
        fcgi.decode_pairs(b'\x03\x05abc')
