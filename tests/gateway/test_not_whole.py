"""Responses that break off: what the web server is told, so that it can tell its client. What each server makes of it:
tests/servers/test_not_whole.py."""

import pytest

import fcgi
from harness import Transport
from settings import SLOW

NOT_WHOLE = '''
import io, os

def exception(start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    yield b'begun'
    raise ValueError('broken off')

def sized(start_response):
    start_response('200 OK', [('Content-Length', '10')])
    yield b'begun'
    raise ValueError('broken off')

def write(start_response):
    start_response('200 OK', [])(b'begun')
    raise ValueError('broken off')

def unbuffered(start_response):
    start_response('200 OK', [('X-Accel-Buffering', 'no')])
    yield b'begun'
    raise ValueError('broken off')

def short_list(start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return [b'begun']

def short_generator(start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return iter([b'begun'])

def nothing(start_response):
    start_response('200 OK', [('Content-Length', '10')])
    return []

def large(start_response):
    start_response('200 OK', [('Content-Length', '10000000')])
    yield b'x' * 5_000_000
    raise ValueError('broken off')

def early(start_response):
    start_response('200 OK', [('Content-Length', '10')])
    raise ValueError('broken off')

def hello(start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']

def application(environ, start_response):
    return globals()[environ['QUERY_STRING']](start_response)
'''
KINDS = ['exception', 'sized', 'write', 'unbuffered', 'short_list', 'short_generator', 'nothing']


def serve(fcgi_server, *options):
    server = fcgi_server(NOT_WHOLE, *options)
    server.allow_log('error: |Traceback|ValueError: broken off|body ended after')
    return server


@pytest.mark.parametrize('keep', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_web_server_is_told(fcgi_server, kind, keep):
    """F18, W59, W64: behind what there is, a record that no version of FastCGI has, and the end of the connection. A
    mere end is the response's to nginx, which then also waits for what is missing of its Content-Length; but not where
    it keeps connections and buffers, and there the record would cost the client what nginx has not sent yet."""
    server = serve(fcgi_server)
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params(query=kind), keep=keep))
    conn.wait_eof()
    response = conn.response()
    assert response.body == (b'' if kind == 'nothing' else b'begun')
    assert response.protocol_status is None and not conn.buffer
    assert response.not_whole == (not keep or kind == 'unbuffered')
    assert [r for r in conn.records if r.type == fcgi.NOT_WHOLE] == conn.records[-1:] * response.not_whole
    assert server.request(query='hello').complete


def test_told_behind_a_large_body(fcgi_server):
    """W64: the record comes when the peer has taken the body, which fills the socket until then."""
    server = serve(fcgi_server)
    conn = server.connect()
    conn.half_duplex_send(fcgi.request_bytes(server.params(query='large')))
    conn.wait_eof()
    response = conn.response()
    assert len(response.body) == 5_000_000 and response.not_whole


SHORTER = '''
def application(environ, start_response):
    length = [('Content-Length', '30000000')] if environ['QUERY_STRING'] == 'sized' else []
    start_response('200 OK', length)
    return environ['wsgi.file_wrapper'](open(environ['FILE'], 'rb'))
'''


@pytest.mark.parametrize('software, keep', [('nginx/1.22.1', False), ('nginx/1.22.1', True), ('other', False)])
@pytest.mark.parametrize('kind', ['sized', 'unsized'])
def test_file_that_becomes_shorter(fcgi_server, tmp_path, kind, software, keep):
    """F18, W59, W64: behind the header of a record whose content is there no more. nginx takes half a record and the
    end of the connection for the end of the response, so for it the record is filled up, and then it is told."""
    server = fcgi_server(SHORTER)
    server.allow_log('error: .*(body ended after|the file became shorter)')
    file = tmp_path / 'file'
    file.write_bytes(b'x' * 30_000_000)
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params(query=kind, params={'FILE': str(file), 'SERVER_SOFTWARE': software}),
                                 keep=keep))
    conn.wait(lambda: len(conn.stdout()) > 100_000)
    file.write_bytes(b'')                # it fills the socket and waits, long before the old end
    conn.wait_eof()
    response = conn.response()
    told = software != 'other' and not keep
    assert response.protocol_status is None and response.not_whole == told
    assert 100_000 < len(response.body.rstrip(b'\0')) < 30_000_000 and response.body.startswith(b'x' * 100_000)
    assert told or not response.body.endswith(b'\0')
    server.wait_log('the response.s body ended after' if kind == 'sized' else 'the file became shorter while it was sent')


@pytest.mark.parametrize('kind, status', [('early', 500), ('hello', 200)])
def test_only_then(fcgi_server, kind, status):
    """W63: an error page is a whole response, and the connection is kept."""
    server = serve(fcgi_server)
    conn = server.connect()
    for _ in range(2):
        response = conn.request(server.params(query=kind), keep=True)
        assert (response.status, response.protocol_status, response.not_whole) == (status, 0, False)
    assert not conn.eof


def test_not_where_the_web_server_asked_for_the_end(fcgi_server):
    """F17: an ABORT_REQUEST in the middle of the body gets its END_REQUEST, and nothing else."""
    server = fcgi_server('''
        import itertools
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return itertools.repeat(b'12345')
    ''')
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params(), keep=True))
    conn.wait(lambda: len(conn.stdout()) > 1000)
    conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
    response = conn.response()
    assert response.protocol_status == fcgi.REQUEST_COMPLETE and not response.not_whole


def test_half_a_record_is_a_reset(world):
    """W64: a peer that takes nothing for --write-timeout gets no more records, but TCP can tell it that it has not got
    all. (A unix socket cannot.)"""
    server = Transport(world, 'fcgi-tcp').serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'x' * 50_000_000
    ''', '--write-timeout', f'{int(300 * SLOW)}ms')
    conn = server.connect()
    conn.half_duplex_send(fcgi.request_bytes(server.params()))
    server.wait_log('info: .*the client read nothing for --write-timeout')
    conn.wait_eof()
    assert conn.reset and not conn.not_whole
