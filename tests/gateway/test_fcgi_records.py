"""Records, ids and parameters of FastCGI: F4 to F11, F19, F22, F31."""

import struct

import pytest

import fcgi
from apps import DUMP, ECHO, HELLO
from fcgi import ABORT_REQUEST, BEGIN_REQUEST, DATA, END_REQUEST, PARAMS, STDERR, STDIN, STDOUT

# Counts the requests that reach the application in a file, because a wrong one may get no answer.
COUNTED = '''
import os
def application(environ, start_response):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(environ.get('REQUEST_METHOD', 'NONE') + chr(10))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
'''


@pytest.fixture
def counted(fcgi_server, tmp_path):
    """A server and the file with one line for each call of the application."""
    notes = tmp_path / 'notes'
    notes.touch()
    server = fcgi_server(COUNTED, env={'NOTES': str(notes)})
    server.notes = notes
    return server


def refused(server, data, half_close=False):
    """`data` on a connection of its own: no call of the application, the connection ends or a 4xx comes, no STDOUT
    with a 200; and the next request is served."""
    before = server.notes.read_text()
    conn = server.connect()
    conn.send(data)
    if half_close:
        conn.half_close()
    conn.wait(lambda: conn.eof or any(r.type == END_REQUEST for r in conn.records), 2, 'refusal')
    response = conn.response()
    assert response.status is None or 400 <= response.status < 500, response
    conn.close()
    assert server.notes.read_text() == before, 'the application was called'
    assert server.request().body == b'hello'


@pytest.mark.parametrize('version', [0, 2, 255])
@pytest.mark.parametrize('where', ['begin', 'params', 'stdin'])
def test_other_versions_are_refused(counted, version, where):
    """F4: a record of another version ends its connection."""
    counted.allow_log('version|record|protocol|body|OSError')
    conn = counted.connect()
    if where == 'begin':
        conn.send(fcgi.record(BEGIN_REQUEST, 1, b'\0\1\0\0\0\0\0\0', version=version))
    elif where == 'params':
        conn.send(fcgi.begin() + fcgi.record(PARAMS, 1, fcgi.pairs(counted.params()), version=version))
    else:
        conn.send(fcgi.head(counted.params('POST', content_length=3)) + fcgi.record(STDIN, 1, b'abc', version=version))
    conn.wait_eof()
    assert counted.request().body == b'hello'


@pytest.mark.parametrize('padding', [1, 7, 8, 255])
def test_padding_on_every_record(fcgi_server, padding):
    """F5: padding on BEGIN_REQUEST made stock libfcgi call the application with an empty environ."""
    server = fcgi_server(ECHO)
    conn = server.connect()
    params = server.params('POST', body=b'x' * 1000)
    for _ in range(2):
        conn.send(fcgi.begin(keep=True, padding=padding) +
                  fcgi.stream(PARAMS, 1, fcgi.pairs(params), 100, padding) +
                  fcgi.stream(STDIN, 1, b'x' * 1000, 100, padding))
        response = conn.response()
        assert response.status == 200 and response.body == b'x' * 1000


@pytest.mark.parametrize('which', ['begin', 'params', 'params end', 'stdin', 'stdin end'])
def test_padding_on_one_record(fcgi_unix, which):
    """F5: each kind of record alone, on a kept connection."""
    server = fcgi_unix(ECHO)
    conn = server.connect()
    pad = {name: 8 if name == which else 0 for name in ('begin', 'params', 'params end', 'stdin', 'stdin end')}
    for body in (b'abc', b'defg'):
        conn.send(fcgi.begin(keep=True, padding=pad['begin']) +
                  fcgi.record(PARAMS, 1, fcgi.pairs(server.params('POST', body=body)), pad['params']) +
                  fcgi.record(PARAMS, 1, b'', pad['params end']) +
                  fcgi.record(STDIN, 1, body, pad['stdin']) + fcgi.record(STDIN, 1, b'', pad['stdin end']))
        assert conn.response().body == body


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 1000, 65535])
def test_streams_cut_anywhere(fcgi_server, chunk):
    """F6: PARAMS and STDIN in records of any size mean the same."""
    server = fcgi_server('''
        import json
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [json.dumps([environ['HTTP_X_LONG'], environ['wsgi.input'].read().decode()]).encode()]
    ''')
    long = 'v' * 300
    body = bytes(range(33, 127)) * 20
    conn = server.connect()
    conn.send(fcgi.begin() + fcgi.stream(PARAMS, 1, fcgi.pairs(server.params('POST', headers={'X-Long': long},
                                                                             body=body)), chunk) +
              fcgi.stream(STDIN, 1, body, chunk))
    assert conn.response().json == [long, body.decode()]


def test_request_cut_at_every_byte(fcgi_server):
    """F6: the same request in two packets, cut at every byte: what arrives together is the network's choice."""
    server = fcgi_server(ECHO)
    whole = fcgi.request_bytes(server.params('POST', body=b'body'), b'body', keep=True)
    conn = server.connect()
    for cut in range(1, len(whole)):
        conn.send(whole[:cut])
        # Let the first part arrive alone now and then; each time would take a minute. With the whole body there only
        # the empty STDIN record is missing, which nobody needs to wait for.
        if cut % 16 == 0 and cut < len(whole) - 8:
            assert conn.silent(0.01)
        conn.send(whole[cut:])
        assert conn.response().body == b'body', f'cut at {cut}'


@pytest.mark.parametrize('wide_name', [False, True])
@pytest.mark.parametrize('wide_value', [False, True])
@pytest.mark.parametrize('size', [0, 1, 127, 128, 70_000])
def test_length_forms(fcgi_unix, wide_name, wide_value, size):
    """F7: one- and four-byte lengths in all combinations, the long form for short texts too, values above 64 kB."""
    server = fcgi_unix(DUMP)
    conn = server.connect()
    data = fcgi.pairs(server.params()) + fcgi.pair('HTTP_X_A', 'v' * size, wide_name, wide_value) + \
        fcgi.pair('HTTP_X_B', 'behind', wide_name, wide_value)
    conn.send(fcgi.begin() + fcgi.stream(PARAMS, 1, data) + fcgi.record(STDIN, 1))
    environ = conn.response().json
    assert environ.get('HTTP_X_A', '') == 'v' * size and environ['HTTP_X_B'] == 'behind'


def test_long_names(fcgi_unix):
    """F7: a name of 200 bytes needs the long form."""
    name = 'HTTP_' + 'N' * 195
    assert fcgi_unix(DUMP).request(params={name: 'v'}).json[name] == 'v'


def test_value_of_200_kb(fcgi_server):
    """F7: a value over several records."""
    assert fcgi_server(DUMP).request(params={'HTTP_X_A': 'v' * 200_000}).json['HTTP_X_A'] == 'v' * 200_000


def test_empty_name_never_reaches_the_application(fcgi_unix):
    """F7: a request with a variable without a name is refused."""
    server = fcgi_unix(DUMP)
    conn = server.connect()
    conn.send(fcgi.begin() + fcgi.stream(PARAMS, 1, fcgi.pairs(server.params()) + fcgi.pair('', 'x')) +
              fcgi.record(STDIN, 1))
    assert conn.response().status == 400


GOOD = fcgi.pairs([('REQUEST_METHOD', 'GET'), ('SERVER_NAME', 'x'), ('SERVER_PORT', '80'),
                   ('SERVER_PROTOCOL', 'HTTP/1.1'), ('SCRIPT_NAME', ''), ('PATH_INFO', '/')])

MALFORMED = {
    'name beyond the data': GOOD + b'\x05\x01ab',
    'value beyond the data': GOOD + b'\x01\x05ab',
    'one length only': GOOD + b'\x05',
    'four-byte length cut': GOOD + b'\x80\x00\x00',
    'value length cut': GOOD + b'\x01\x80\x00',
    'both lengths 2 GiB': GOOD + b'\xff\xff\xff\xff\xff\xff\xff\xffab',
    'name of 2 GiB': GOOD + b'\xff\xff\xff\xff\x00ab',
    'sum overflows 31 bits': GOOD + b'\xc0\x00\x00\x00\xc0\x00\x00\x00ab',
    'sum overflows 32 bits': GOOD + b'\xff\xff\xff\xff\x80\x00\x00\x02ab',
    'first pair claims 2 GiB': b'\x01\xff\xff\xff\xffa' + GOOD,
}

REFUSED = {
    'NUL in a name': fcgi.pair('A\0B', 'x'),
    'NUL in a value': fcgi.pair('A', 'x\0y'),
    'NUL in a path': fcgi.pair('PATH_INFO', '/\0'),
    'equals sign in a name': fcgi.pair('A=B', 'x'),
    'empty name': fcgi.pair('', 'x'),
}


@pytest.mark.parametrize('case', MALFORMED)
def test_malformed_params(counted, case):
    """F8, F7: lengths that do not fit: the connection ends, the application is not called, the process lives
    (CVE-2025-23016)."""
    counted.allow_log('head|param|malformed|variable|name|length')
    refused(counted, fcgi.begin() + fcgi.stream(PARAMS, 1, MALFORMED[case]) + fcgi.record(STDIN, 1))


@pytest.mark.parametrize('case', REFUSED)
@pytest.mark.parametrize('first', [False, True], ids=['behind', 'before'])
def test_variables_that_cannot_be_passed_on(counted, case, first):
    """F8, F7: NUL, "=" in a name, no name: 400 and a line in the log, which tells whose request it was; the application
    is not called, and the connection goes on."""
    conn = counted.connect()
    for method in ('POST', 'HEAD'):
        good = fcgi.pairs(counted.params(method, '/page', body=b'body', headers={'X-Request-ID': 'my-id'}))
        data = REFUSED[case] + good if first else good + REFUSED[case]
        conn.send(fcgi.begin(keep=True) + fcgi.stream(PARAMS, 1, data) + fcgi.stream(STDIN, 1, b'body'))
        response = conn.response()
        assert (response.status, response.complete) == (400, True)
        assert (b'character that cannot be passed on' in response.body) == (method == 'POST')
        assert f'info: [my-id] {method} /page: 400: a variable has a NUL' in response.stderr.decode()
    assert counted.notes.read_text() == ''
    assert conn.request(counted.params(), keep=True).body == b'hello'


def test_params_split_from_a_malformed_length(counted):
    """F8: the same with each byte in a record of its own."""
    counted.allow_log('head|param|malformed|variable|name|length')
    refused(counted, fcgi.begin() + fcgi.stream(PARAMS, 1, MALFORMED['both lengths 2 GiB'], 1) + fcgi.record(STDIN, 1))


def test_params_cut_at_every_byte(counted):
    """F8: the client stops in the middle of its head and half-closes: the application is never called with a part of
    the variables, not even at the boundary of two pairs or with none at all."""
    counted.allow_log('head|param|cut|closed|connection')
    whole = fcgi.head([('REQUEST_METHOD', 'GET'), ('SERVER_NAME', 'x'), ('PATH_INFO', '/')])
    for cut in range(len(whole)):
        with fcgi.Connection(counted.address) as conn:
            conn.send(whole[:cut])
            conn.half_close()
            conn.wait_eof(2)
            assert not conn.records, f'cut at {cut}: {conn.records}'
    assert counted.notes.read_text() == ''
    assert counted.request().body == b'hello'


def test_head_cut_between_pairs_over_several_records(counted):
    """F8: whole records with whole pairs, but no empty PARAMS record at the end."""
    counted.allow_log('head|param|cut|closed|connection')
    refused(counted, fcgi.begin() + fcgi.record(PARAMS, 1, GOOD), half_close=True)


@pytest.mark.parametrize('params', [[], [('A', 'b')], [('REQUEST_METHOD', '')]], ids=['none', 'others', 'empty'])
def test_head_without_a_method(counted, params):
    """F5, F8: a well-formed head without REQUEST_METHOD is answered 400 or closed; the application does not see it."""
    counted.allow_log('REQUEST_METHOD|head')
    refused(counted, fcgi.request_bytes(params))


def test_begin_record_of_a_wrong_size(counted):
    """F8: the content of BEGIN_REQUEST is eight bytes."""
    counted.allow_log('BEGIN|record|head')
    for size in (0, 1, 7, 9, 65535):
        refused(counted, fcgi.record(BEGIN_REQUEST, 1, b'\0\1' + b'\0' * (size - 2) if size > 1 else b'\0' * size) +
                fcgi.stream(PARAMS, 1, GOOD + b'\x05'))


@pytest.mark.parametrize('type', [ABORT_REQUEST, PARAMS, STDIN, DATA, STDOUT, 42])
@pytest.mark.parametrize('content', [b'', b'EVIL', b'x' * 65535], ids=['empty', 'short', 'long'])
def test_records_of_other_ids(fcgi_unix, type, content):
    """F9: records of an id without a request are ignored wherever they stand. Stock libfcgi lost the record after an
    empty one."""
    server = fcgi_unix(ECHO)
    server.allow_log('record|id')
    stray = fcgi.record(type, 7, content)
    conn = server.connect()
    for body in (b'abc', b'defgh'):
        conn.send(stray + fcgi.begin(keep=True) + stray +
                  fcgi.record(PARAMS, 1, fcgi.pairs(server.params('POST', body=body))) + stray +
                  fcgi.record(PARAMS, 1) + stray + fcgi.record(STDIN, 1, body[:2]) + stray +
                  fcgi.record(STDIN, 1, body[2:]) + stray + fcgi.record(STDIN, 1))
        response = conn.response()
        assert response.status == 200 and response.body == body


@pytest.mark.parametrize('id', [1, 2, 255, 256, 65535])
def test_request_ids(fcgi_unix, id):
    """F10: every id from 1 to 65535 is answered under its own number, and may be used again."""
    server = fcgi_unix(ECHO)
    conn = server.connect()
    for body in (b'abc', b'd'):
        response = conn.request(server.params('POST', body=body), body, id=id, keep=True)
        assert response.body == body
        assert {r.id for r in conn.records} == {id}


def test_request_id_zero(counted):
    """F10: id 0 is for management records: no request begins under it."""
    counted.allow_log('record|id|BEGIN')
    before = counted.notes.read_text()
    conn = counted.connect()
    conn.send(fcgi.request_bytes(counted.params(), id=0))
    conn.half_close()
    conn.wait_eof()
    assert not [r for r in conn.records if r.type in (STDOUT, END_REQUEST)]
    assert counted.notes.read_text() == before
    assert counted.request().body == b'hello'


def test_keep_flag(fcgi_server):
    """F11: without FCGI_KEEP_CONN the connection is closed after END_REQUEST, with it it stays open; each request
    says it anew."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    for _ in range(3):
        assert conn.request(server.params(), keep=True).body == b'hello'
        assert conn.silent(0.05)
    response = conn.request(server.params(), keep=False)
    assert response.body == b'hello' and response.eof


@pytest.mark.parametrize('flags', [1, 0xff, 0x81])
def test_other_flag_bits_are_ignored(fcgi_unix, flags):
    """F11: only the lowest bit is defined."""
    server = fcgi_unix(HELLO)
    conn = server.connect()
    conn.send(fcgi.record(BEGIN_REQUEST, 1, struct.pack('>HB5s', 1, flags, b'\xff' * 5)) +
              fcgi.stream(PARAMS, 1, fcgi.pairs(server.params())) + fcgi.record(STDIN, 1))
    assert conn.response().body == b'hello' and conn.silent(0.05)


def test_pipelined_requests(fcgi_server):
    """F6, F11: many requests in one packet, all answered in order (libfcgi lost all but the first)."""
    server = fcgi_server(ECHO)
    conn = server.connect()
    bodies = [b'body %d' % i * i for i in range(1, 50)]
    conn.send(b''.join(fcgi.request_bytes(server.params('POST', body=b), b, id=i + 1, keep=True)
                       for i, b in enumerate(bodies)))
    for i, body in enumerate(bodies):
        assert conn.response(i + 1).body == body


def test_pipelined_behind_an_unread_body(fcgi_server):
    """F11, F12: the second request waits behind 300 kB of body that nobody reads."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    first = fcgi.request_bytes(server.params('POST', body=b'x' * 300_000), b'x' * 300_000, keep=True)
    conn.send(first + fcgi.request_bytes(server.params(), id=2))
    assert conn.response(1).body == b'hello'
    assert conn.response(2).body == b'hello'


def cant_mpx(record):
    return record.type == END_REQUEST and record.content[4] == fcgi.CANT_MPX_CONN


@pytest.mark.parametrize('when', ['in the head', 'in the body', 'after the body'])
def test_second_request_while_one_runs(fcgi_server, when, tmp_path):
    """F19: a BEGIN_REQUEST of another id gets END_REQUEST with CANT_MPX_CONN at once; its other records are ignored,
    and the first request loses nothing."""
    gate = tmp_path / 'gate'
    server = fcgi_server(f'''
        import os, time
        def application(environ, start_response):
            body = environ['wsgi.input'].read()
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.005)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [body]
    ''')
    conn = server.connect()
    params = fcgi.pairs(server.params('POST', body=b'abcdef'))
    second = fcgi.request_bytes(server.params('POST', body=b'other'), b'other', id=2, keep=True)
    parts = [fcgi.begin(keep=True) + fcgi.record(PARAMS, 1, params[:20]),
             fcgi.record(PARAMS, 1, params[20:]) + fcgi.record(PARAMS, 1) + fcgi.record(STDIN, 1, b'abc'),
             fcgi.record(STDIN, 1, b'def') + fcgi.record(STDIN, 1)]
    after = ['in the head', 'in the body', 'after the body'].index(when)
    for i, part in enumerate(parts):
        conn.send(part)
        if i == after:
            conn.send(second)
            if when != 'after the body':
                conn.wait(lambda: any(cant_mpx(r) and r.id == 2 for r in conn.records), 2, 'CANT_MPX_CONN')
    gate.touch()
    assert conn.response(1).body == b'abcdef'
    if when != 'after the body':
        assert not [r for r in conn.records if r.id == 2 and not cant_mpx(r)]
    else:
        # Nothing says that a peer's next request has to wait for the answer: refused or served, never lost.
        conn.taken = 0
        answer = conn.response(2)
        assert answer.protocol_status == fcgi.CANT_MPX_CONN or answer.body == b'other'
    assert conn.request(server.params('POST', body=b'again'), b'again', id=3).body == b'again'


@pytest.mark.parametrize('body', ['[]', "[b'x']", "iter([b'a', b'', b'b'])"])
def test_end_of_the_streams(fcgi_server, body):
    """F22: STDOUT has at least one record and ends with an empty one before END_REQUEST; STDERR the same or nothing."""
    server = fcgi_server(f'''
        def application(environ, start_response):
            if environ['QUERY_STRING']:
                environ['wsgi.errors'].write('note\\n')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return {body}
    ''')
    for query in ('', '1'):
        records = server.request(query=query).records
        kinds = [(r.type, len(r.content)) for r in records]
        assert kinds[-1] == (END_REQUEST, 8)
        assert kinds.count((STDOUT, 0)) == 1
        assert [k for k in kinds if k[0] == STDOUT][-1] == (STDOUT, 0)
        errors = [k for k in kinds if k[0] == STDERR]
        assert bool(errors) == bool(query)
        if errors:
            assert errors.count((STDERR, 0)) == 1 and errors[-1] == (STDERR, 0)


def test_a_large_block_becomes_several_records(fcgi_server):
    """F31: a block larger than a record may be arrives whole; no record is larger than 65,535 bytes; the head is in
    the first, alone or with body bytes behind it."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Long', 'v' * 20000)])
            yield bytes(range(256)) * 1200
            yield b'end'
    ''')
    response = server.request()
    assert response.body == bytes(range(256)) * 1200 + b'end'
    out = [r for r in response.records if r.type == STDOUT]
    assert len(out) > 4 and out[0].content.startswith(response.head)


def test_small_blocks_are_sent_at_once(fcgi_server, tmp_path):
    """F31: a block of one byte leaves before the next one is asked for."""
    server = fcgi_server('''
        import os, time
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for i in range(5):
                yield b'%d' % i
                while not os.path.exists(environ['QUERY_STRING'] + str(i)):
                    time.sleep(0.002)
    ''')
    exchange = server.start(query=str(tmp_path / 'gate'))
    exchange.finish_body()
    for i in range(5):
        out = exchange.wait_for(b'\r\n\r\n' + b'01234'[:i + 1], 2)
        assert out.endswith(b'\r\n\r\n' + b'01234'[:i + 1])
        (tmp_path / f'gate{i}').touch()
    assert exchange.response().body == b'01234'
