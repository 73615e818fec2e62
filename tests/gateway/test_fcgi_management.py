"""Management records of FastCGI, and what is said to an unknown one: F15, F16."""

import pytest

import fcgi
from apps import BUSY, ECHO, HELLO
from fcgi import END_REQUEST, GET_VALUES, GET_VALUES_RESULT, PARAMS, STDIN, UNKNOWN_TYPE

KNOWN = [b'FCGI_MAX_CONNS', b'FCGI_MAX_REQS', b'FCGI_MPXS_CONNS']


@pytest.mark.parametrize('threads', [1, 3])
def test_values(fcgi_server, threads):
    """F15: true values: as many requests at a time as there are threads, at least as many connections, no multiplexing."""
    server = fcgi_server(HELLO, '--threads', str(threads))
    values = dict(server.connect().get_values(*KNOWN))
    assert set(values) == set(KNOWN)
    assert values[b'FCGI_MAX_REQS'] == b'%d' % threads
    assert int(values[b'FCGI_MAX_CONNS']) >= threads
    assert values[b'FCGI_MPXS_CONNS'] == b'0'


@pytest.mark.parametrize('asked', [[], ['FCGI_MPXS_CONNS'], ['NO_SUCH', 'FCGI_MAX_REQS', ''], ['fcgi_max_reqs'],
                                   ['FCGI_MAX_REQS', 'FCGI_MAX_REQS']])
def test_only_what_was_asked(fcgi_unix, asked):
    """F15: each known name that was asked for once, unknown ones left out."""
    values = fcgi_unix(HELLO).connect().get_values(*asked)
    assert sorted(n for n, _ in values) == sorted({n.encode() for n in asked} & set(KNOWN))


def test_twenty_names(fcgi_server):
    """F15: four known names in one record smashed the stack of stock libfcgi; here twenty, and a thousand."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    for count in (4, 20, 1000):
        values = conn.get_values(*[KNOWN[i % 3] for i in range(count)])
        assert sorted(n for n, _ in values) == KNOWN
    assert conn.request(server.params()).body == b'hello'


@pytest.mark.parametrize('padding', [0, 1, 8, 255])
def test_as_the_first_record(fcgi_server, padding):
    """F15: answered at once; libfcgi waited for more bytes unless the query was padded (HAProxy "option get-values"
    hung)."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    conn.send(fcgi.record(GET_VALUES, 0, fcgi.pair('FCGI_MAX_REQS', ''), padding))
    answer = conn.next_record(timeout=1)
    assert answer.type == GET_VALUES_RESULT and answer.id == 0
    assert fcgi.decode_pairs(answer.content) == [(b'FCGI_MAX_REQS', b'1')]
    assert conn.request(server.params()).body == b'hello'


def test_query_request_query(fcgi_server):
    """F15: before, between and after requests on one connection (php bug 76922)."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    for _ in range(3):
        assert len(conn.get_values(*KNOWN)) == 3
        assert conn.request(server.params(), keep=True).body == b'hello'


@pytest.mark.parametrize('where', ['in the head', 'in the body'])
def test_in_the_middle_of_a_request(fcgi_server, where):
    """F15: at any time: in the middle of PARAMS and of STDIN; the request loses nothing."""
    server = fcgi_server(ECHO)
    conn = server.connect()
    params = fcgi.pairs(server.params('POST', body=b'abcdef'))
    query = fcgi.record(GET_VALUES, 0, fcgi.pair('FCGI_MAX_REQS', ''))
    conn.send(fcgi.begin() + fcgi.record(PARAMS, 1, params[:20]) + (query if where == 'in the head' else b'') +
              fcgi.record(PARAMS, 1, params[20:]) + fcgi.record(PARAMS, 1) + fcgi.record(STDIN, 1, b'abc') +
              (query if where == 'in the body' else b''))
    conn.wait(lambda: any(r.type == GET_VALUES_RESULT for r in conn.records), 2, 'GET_VALUES_RESULT')
    conn.send(fcgi.record(STDIN, 1, b'def') + fcgi.record(STDIN, 1))
    assert conn.response().body == b'abcdef'


def test_while_the_application_runs(fcgi_server, tmp_path):
    """F15: the only thread is busy with this connection's request: the answer may have to wait for it, but comes, and
    stands between whole records."""
    gate = tmp_path / 'gate'
    server = fcgi_server(BUSY, env={'NOTES': str(tmp_path / 'notes')})
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params(path='/wait', query=str(gate)), keep=True) +
              fcgi.record(GET_VALUES, 0, fcgi.pair('FCGI_MAX_REQS', '')))
    gate.touch()
    assert conn.response().body == b'waited'
    conn.wait(lambda: any(r.type == GET_VALUES_RESULT for r in conn.records), 2, 'GET_VALUES_RESULT')
    assert conn.request(server.params()).body == b'hello'


@pytest.mark.parametrize('content', [b'\x05\x05ab', b'\xff\xff\xff\xff\xff\xff\xff\xff', b'\x80', b'\x00' * 65535])
def test_malformed_query(fcgi_unix, content):
    """F15: lengths that do not fit: an answer without values or the end of the connection, nothing worse."""
    server = fcgi_unix(HELLO)
    server.allow_log('GET_VALUES|record|malformed|length')
    conn = server.connect()
    conn.send(fcgi.record(GET_VALUES, 0, content))
    answer = conn.next_record(timeout=2)
    assert answer is None or (answer.type == GET_VALUES_RESULT and answer.content == b'')
    assert server.request().body == b'hello'


@pytest.mark.parametrize('type', [10, 11, 12, 100, 255])
@pytest.mark.parametrize('content', [b'', b'EVIL', b'x' * 65535], ids=['empty', 'short', 'long'])
@pytest.mark.parametrize('where', ['before', 'in the head', 'in the body'])
def test_unknown_types(fcgi_unix, type, content, where):
    """F16: a management record of an unknown type T is answered UNKNOWN_TYPE{T}; its content is skipped (libfcgi
    delivered it as part of the body)."""
    server = fcgi_unix(ECHO)
    conn = server.connect()
    params = fcgi.pairs(server.params('POST', body=b'abcdef'))
    strange = fcgi.record(type, 0, content, padding=3)
    parts = {'before': b'', 'in the head': b'', 'in the body': b''}
    parts[where] = strange
    conn.send(parts['before'] + fcgi.begin() + fcgi.record(PARAMS, 1, params[:20]) + parts['in the head'] +
              fcgi.record(PARAMS, 1, params[20:]) + fcgi.record(PARAMS, 1) + fcgi.record(STDIN, 1, b'abc') +
              parts['in the body'])
    conn.wait(lambda: any(r.type == UNKNOWN_TYPE for r in conn.records), 2, 'UNKNOWN_TYPE')
    answer, = [r for r in conn.records if r.type == UNKNOWN_TYPE]
    assert answer.id == 0 and len(answer.content) == 8 and answer.content[0] == type
    conn.send(fcgi.record(STDIN, 1, b'def') + fcgi.record(STDIN, 1))
    assert conn.response().body == b'abcdef'


@pytest.mark.parametrize('type', [0, 12, 99, 255])
def test_unknown_types_of_the_running_request(fcgi_unix, type):
    """F16: an unknown type under the request's own id is no management record: ignored or the end of the connection,
    never part of the body."""
    server = fcgi_unix(ECHO)
    server.allow_log('record|protocol|type|body|OSError')
    conn = server.connect()
    conn.send(fcgi.head(server.params('POST', body=b'abcdef')) + fcgi.record(STDIN, 1, b'abc') +
              fcgi.record(type, 1, b'EVIL') + fcgi.record(STDIN, 1, b'def') + fcgi.record(STDIN, 1))
    response = conn.response()
    assert response.body in (b'abcdef', b'OSError', b'')
    assert server.request().status == 200


def test_many_queries_without_reading(fcgi_unix):
    """F15: a peer that asks for ever and never reads fills its own connection; the others are served."""
    server = fcgi_unix(HELLO)
    server.allow_log('closed|timeout|peer|client|gone')
    conn = server.connect()
    conn.sock.setblocking(False)
    query = fcgi.record(GET_VALUES, 0, fcgi.pairs([(n, b'') for n in KNOWN])) * 100
    sent = 0
    try:
        for _ in range(3000):
            sent += conn.sock.send(query)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass            # it is not listened to any more, or was closed
    assert sent > 0
    for _ in range(3):
        assert server.request(timeout=2).body == b'hello'
    conn.close()


def test_end_request_has_eight_bytes(fcgi_unix):
    """F18: sizes of what the program itself sends: END_REQUEST has a body of eight bytes, reserved ones zero."""
    server = fcgi_unix(HELLO)
    end, = [r for r in server.request().records if r.type == END_REQUEST]
    assert end.content == bytes(8)
