"""Roles other than Responder: F20, F27, F28."""

import pytest

import fcgi
from apps import HELLO
from fcgi import AUTHORIZER, DATA, FILTER, PARAMS, STDIN

# PEP 3333 wants these; an Authorizer's server sends none of them (FastCGI 1.0, 6.3).
NOT_FOR_AUTHORIZERS = ('CONTENT_LENGTH', 'PATH_INFO', 'PATH_TRANSLATED', 'SCRIPT_NAME')

GUARD = '''
def application(environ, start_response):
    if environ.get('HTTP_X_PASS') == 'let me in':
        start_response('200 OK', [('Variable-AUTH_METHOD', 'test'), ('Variable-LEVEL', '3')])
        return []
    start_response('403 Forbidden', [('Content-Type', 'text/plain')])
    return [b'no']
'''

FILTERED = '''
def application(environ, start_response):
    body = environ['wsgi.input'].read()
    data = environ['wsgi_cgi.data']
    first = data.readline()
    rest = data.read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'|'.join([body, first, rest, data.read()])]
'''


@pytest.mark.parametrize('role', [0, 4, 9, 65535])
@pytest.mark.parametrize('keep', [False, True])
def test_unknown_role(fcgi_server, role, keep):
    """F20: END_REQUEST with UNKNOWN_ROLE; a kept connection goes on, another is closed. The rest of the refused request is
    not taken for a new one."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params('POST', body=b'abc'), b'abc', role=role, keep=keep))
    response = conn.response()
    assert response.protocol_status == fcgi.UNKNOWN_ROLE and response.raw == b''
    if keep:
        assert conn.request(server.params(), id=2).body == b'hello'
    else:
        conn.wait_eof(2)
    assert server.request().body == b'hello'


def authorizer_params(server, **headers):
    return [(n, v) for n, v in server.params(headers=headers) if n.decode() not in NOT_FOR_AUTHORIZERS]


@pytest.mark.parametrize('stdin', ['no STDIN', 'empty STDIN'])
def test_authorizer(fcgi_server, stdin):
    """F27: the application decides by its status; Variable-* headers leave as they are. Such a request has no STDIN
    stream, and nobody waits for one."""
    server = fcgi_server(GUARD)
    conn = server.connect()
    tail = fcgi.record(STDIN, 1) if stdin == 'empty STDIN' else b''
    for word, status in (('let me in', 200), ('please', 403), ('let me in', 200)):
        conn.send(fcgi.head(authorizer_params(server, **{'X-Pass': word}), role=AUTHORIZER, keep=True) + tail)
        response = conn.response(timeout=2)
        assert response.status == status and response.complete
        if status == 200:
            assert response.header('Variable-AUTH_METHOD') == 'test' and response.header('Variable-LEVEL') == '3'
            assert response.body == b''
        else:
            assert response.body == b'no'


def test_authorizer_environ(fcgi_unix):
    """F27: what WSGI promises is there although the server did not send it: PATH_INFO, SCRIPT_NAME, an empty body."""
    server = fcgi_unix('''
        def application(environ, start_response):
            assert type(environ['SCRIPT_NAME']) is type(environ['PATH_INFO']) is type(environ['QUERY_STRING']) is str
            start_response('200 OK', [])
            return [repr((environ['wsgi.input'].read(), environ.get('CONTENT_LENGTH'))).encode()]
    ''')
    conn = server.connect()
    conn.send(fcgi.head(authorizer_params(server), role=AUTHORIZER))
    assert conn.response(timeout=2).body == b"(b'', None)"


def test_filter(fcgi_server):
    """F28: the file of a Filter request is environ['wsgi_cgi.data'], to be read like wsgi.input, after the body."""
    server = fcgi_server(FILTERED)
    conn = server.connect()
    file = b'line\n' + b'x' * 100_000
    for _ in range(2):
        params = server.params('POST', body=b'body') + [(b'FCGI_DATA_LENGTH', b'%d' % len(file)),
                                                        (b'FCGI_DATA_LAST_MOD', b'0')]
        response = conn.request(params, b'body', role=FILTER, keep=True, data=file)
        assert response.body == b'body|line\n|' + b'x' * 100_000 + b'|'


@pytest.mark.parametrize('chunk', [1, 7, 65535])
def test_filter_streams_cut_anywhere(fcgi_unix, chunk):
    """F28: records of any size, padded."""
    server = fcgi_unix(FILTERED)
    conn = server.connect()
    params = server.params('POST', body=b'body') + [(b'FCGI_DATA_LENGTH', b'14')]
    conn.send(fcgi.begin(role=FILTER) + fcgi.stream(PARAMS, 1, fcgi.pairs(params), chunk, 3) +
              fcgi.stream(STDIN, 1, b'body', chunk, 3) + fcgi.stream(DATA, 1, b'line\nand a rest', chunk, 3))
    assert conn.response().body == b'body|line\n|and a rest|'


@pytest.mark.parametrize('read', ['nothing', 'only the body', 'only the data', 'a part'])
def test_filter_data_left_unread(fcgi_unix, read):
    """F28, F12: whatever the application leaves of either stream, the next request on the connection is whole."""
    what = {'nothing': '', 'only the body': "environ['wsgi.input'].read()",
            'only the data': "environ['wsgi_cgi.data'].read()", 'a part': "environ['wsgi_cgi.data'].read(3)"}[read]
    server = fcgi_unix(f'''
        def application(environ, start_response):
            {what}
            start_response('200 OK', [])
            return [b'done']
    ''')
    conn = server.connect()
    params = server.params('POST', body=b'b' * 50_000) + [(b'FCGI_DATA_LENGTH', b'50000')]
    for _ in range(3):
        response = conn.request(params, b'b' * 50_000, role=FILTER, keep=True, data=b'd' * 50_000)
        assert response.body == b'done'


@pytest.mark.parametrize('read_body', [True, False])
def test_filter_data_set_aside(fcgi_unix, read_body):
    """F28: a server that sends both streams before it reads anything; the application writes before it reads. Records
    that arrived in part while it wrote lose nothing."""
    server = fcgi_unix(f'''
        def application(environ, start_response):
            write = start_response('200 OK', [])
            write(b'z' * 3_000_000)
            return [environ['wsgi.input'].read() if {read_body} else b'', environ['wsgi_cgi.data'].read()]
    ''')
    file = bytes(range(251)) * 8000
    params = server.params('POST', body=b'body') + [(b'FCGI_DATA_LENGTH', b'%d' % len(file))]
    conn = server.connect()
    conn.half_duplex_send(fcgi.request_bytes(params, b'body', role=FILTER, data=file))
    response = conn.response()
    assert response.complete and response.body.lstrip(b'z') == (b'body' if read_body else b'') + file


@pytest.mark.parametrize('body_first', [True, False])
def test_filter_data_read_by_another_thread(fcgi_unix, body_first):
    """F28, F33: any thread of the application may be the first to read the data."""
    server = fcgi_unix(f'''
        import threading
        def application(environ, start_response):
            if {body_first}:
                environ['wsgi.input'].read()
            got = []
            thread = threading.Thread(target=lambda: got.append(environ['wsgi_cgi.data'].read()))
            thread.start()
            thread.join()
            start_response('200 OK', [])
            return got
    ''')
    params = server.params('POST', body=b'body') + [(b'FCGI_DATA_LENGTH', b'4')]
    assert server.connect().request(params, b'body', role=FILTER, data=b'data').body == b'data'


def test_filter_data_cut_short(fcgi_unix):
    """F28: fewer bytes than FCGI_DATA_LENGTH are an error and not the end of the file (FastCGI 1.0, 6.4)."""
    server = fcgi_unix('''
        def application(environ, start_response):
            try:
                got = environ['wsgi_cgi.data'].read()
            except OSError:
                got = b'OSError'
            start_response('200 OK', [])
            return [got]
    ''')
    params = server.params() + [(b'FCGI_DATA_LENGTH', b'1000')]
    assert server.connect().request(params, role=FILTER, data=b'short').body == b'OSError'


@pytest.mark.parametrize('first', ['body', 'data'])
def test_filter_data_before_the_end_of_the_body(fcgi_unix, first):
    """F28: DATA comes when STDIN has ended (FastCGI 1.0, 6.4). Records of it before that are a fault, whichever stream is
    read: no byte of them is handed out nor passed over, and the connection ends."""
    server = fcgi_unix(f'''
        def application(environ, start_response):
            streams = {{'body': environ['wsgi.input'], 'data': environ['wsgi_cgi.data']}}
            got = []
            for name in sorted(streams, reverse={first == 'data'}):
                try:
                    got.append(repr(streams[name].read()))
                except OSError:
                    got.append('OSError')
            start_response('200 OK', [])
            return [' '.join(got).encode()]
    ''')
    conn = server.connect()
    params = server.params('POST', body=b'body') + [(b'FCGI_DATA_LENGTH', b'4')]
    conn.send(fcgi.head(params, role=FILTER, keep=True) + fcgi.record(STDIN, 1, b'bo') + fcgi.record(DATA, 1, b'data') +
              fcgi.record(STDIN, 1, b'dy') + fcgi.record(STDIN, 1) + fcgi.record(DATA, 1))
    assert conn.response().text == 'OSError OSError'
    conn.wait_eof()


def test_responder_has_no_data(fcgi_unix):
    """F28: the key is only there for a Filter."""
    server = fcgi_unix('''
        def application(environ, start_response):
            start_response('200 OK', [])
            return [repr('wsgi_cgi.data' in environ).encode()]
    ''')
    assert server.request().body == b'False'
