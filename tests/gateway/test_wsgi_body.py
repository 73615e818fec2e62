"""W50-W62: the body, write(), close() and Content-Length."""

import pytest

import fcgi
from fcgi import wait_for


def aborts(server):
    """The test ends in a response that is cut short on purpose: a CGI process says so with exit code 1."""
    if server.is_cgi:
        server.exit_codes = {0, 1}


# --- what a block may be ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('block', ["'text'", 'None', "bytearray(b'x')", '7', "memoryview(b'x')"])
@pytest.mark.parametrize('shape', ['[{}]', '({},)', 'iter([{}])', '[{}, b"after"]', '[b"", {}]'])
def test_wrong_block_first(fcgi_unix, block, shape):
    """W50: not bytes, and nothing was sent: 500. A bytearray is no bytes object; PEP 3333 leaves no choice."""
    server = fcgi_unix(f'''
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            return {shape.format(block)}
    ''')
    server.expect_log('TypeError: the body must consist of bytes')
    server.allow_log('raised TypeError')
    response = server.request()
    assert response.status == 500 and b'X-A' not in response.raw


@pytest.mark.parametrize('result', ["[b'sent', 'text', b'never']", "(b'sent', 'text')", "iter([b'sent', 'text'])"])
def test_wrong_block_later(transport, result):
    """W50: what stood before it is delivered, then the transfer breaks."""
    server = transport.serve(f'''
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            return {result}
    ''')
    aborts(server)
    server.expect_log('TypeError: the body must consist of bytes')
    server.allow_log('raised TypeError')
    response = server.request()
    assert response.body == b'sent' and not response.complete


def test_bytes_pass_unaltered(transport):
    """W51: all values, CRLF and what looks like a head."""
    body = bytes(range(256)) * 300 + b'\r\n\r\nStatus: 500 No\r\nX: y\r\n\r\n'
    server = transport.serve(f'''
        BODY = bytes(range(256)) * 300 + {body[256 * 300:]!r}
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'application/octet-stream')])
            return [BODY] if environ['QUERY_STRING'] else iter([BODY[:1000], BODY[1000:]])
    ''')
    assert server.request(query='list').body == body
    assert server.request().body == body


def test_large_body(transport):
    """W51: megabytes, as one block, as many, and by write()."""
    server = transport.serve('''
        BODY = bytes(range(251)) * 20000
        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'application/octet-stream')])
            kind = environ['QUERY_STRING']
            if kind == 'one':
                return [BODY]
            if kind == 'list':
                return [BODY[i:i + 251] for i in range(0, len(BODY), 251)]
            if kind == 'write':
                for i in range(0, len(BODY), 100000):
                    write(BODY[i:i + 100000])
                return []
            return (BODY[i:i + 70000] for i in range(0, len(BODY), 70000))
    ''')
    body = bytes(range(251)) * 20000
    for kind in ('one', 'list', 'write', 'generator'):
        assert server.request(query=kind).body == body, kind


# --- streaming and write() ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize('how', ['yield', 'write'])
def test_each_block_is_sent_before_the_next(transport, how):
    """W52: the client has the block while the application makes the next one."""
    server = transport.serve('''
        def by_yield(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for i in range(3):
                yield b'block %d' % i
                environ['wsgi.input'].read(1)
        def by_write(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            for i in range(3):
                write(b'block %d' % i)
                environ['wsgi.input'].read(1)
            return []
        def application(environ, start_response):
            return globals()['by_' + environ['QUERY_STRING']](environ, start_response)
    ''')
    exchange = server.start('POST', query=how, content_length=3)
    for i in range(3):
        exchange.wait_for(b'block %d' % i)
        exchange.write(b'x')
    exchange.finish_body()
    assert exchange.response().body == b'block 0block 1block 2'


def test_write_comes_first(transport):
    """W53: what write() got stands before the iterable, and may come between its blocks."""
    server = transport.serve('''
        def blocks(write):
            yield b'3'
            write(b'4')
            write(b'')
            yield b'5'
        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            write(b'1')
            write(b'2')
            return {'list': [b'3', b'4', b'5'], 'generator': blocks(write)}[environ['QUERY_STRING']]
    ''')
    for kind in ('list', 'generator'):
        response = server.request(query=kind)
        assert response.body == b'12345' and response.header('Content-Length') is None and response.complete


def test_write_takes_bytes_only(transport):
    """W53: TypeError, at call time, and the response goes on."""
    server = transport.serve('''
        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            said = []
            for args in (('text',), (bytearray(b'x'),), (None,), (), (b'a', b'b')):
                try:
                    write(*args)
                    said.append('accepted')
                except TypeError:
                    said.append('TypeError')
            write(b'written ')
            return [repr(said).encode()]
    ''')
    assert server.request().text == 'written ' + repr(['TypeError'] * 5)


# --- close() ------------------------------------------------------------------------------------------------------------

# The iterable is not its own iterator, and the iterator has a close() of its own that nobody may call.
CLOSING = '''
import os
def note(text):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(text + ' ')
class Iterator:
    def __init__(self, kind):
        self.kind, self.i = kind, 0
    def __iter__(self):
        return self
    def __next__(self):
        self.i += 1
        if self.i == 3:
            if self.kind == 'raise':
                raise LookupError('in the iteration')
            if self.kind == 'exit':
                raise SystemExit(3)
            if self.kind == 'text':
                return 'text'
        if self.i > (100000 if self.kind == 'endless' else 5):
            raise StopIteration
        note('n')
        return b'12345' * (10000 if self.kind == 'endless' else 1)
    def close(self):
        note('iterator-closed')
class Body:
    def __init__(self, kind):
        self.kind = kind
    def __iter__(self):
        if self.kind == 'iter':
            raise LookupError('in __iter__')
        return Iterator(self.kind)
    def close(self):
        note('closed')
        if self.kind == 'close':
            raise LookupError('in close')
def application(environ, start_response):
    kind = environ['QUERY_STRING']
    headers = [('Content-Type', 'text/plain')]
    if kind == 'full':
        headers.append(('Content-Length', '12'))
    if kind == 'short':
        headers.append(('Content-Length', '100'))
    if kind != 'nostart':
        start_response('204 No Content' if kind == '204' else '200 OK', headers)
    return Body(kind)
'''


@pytest.mark.parametrize('kind, method, notes, log', [
    ('normal', 'GET', 'n n n n n closed ', None),
    ('normal', 'HEAD', 'n closed ', None),
    ('204', 'GET', 'n closed ', None),
    ('raise', 'GET', 'n n closed ', 'LookupError'),
    ('exit', 'GET', 'n n closed ', 'SystemExit'),
    ('text', 'GET', 'n n closed ', 'TypeError'),
    ('iter', 'GET', 'closed ', 'LookupError'),
    ('nostart', 'GET', 'n closed ', 'AssertionError'),
    ('full', 'GET', 'n n n closed ', None),
    ('short', 'GET', 'n n n n n closed ', 'ended after 25 of the 100 bytes'),
    ('close', 'GET', 'n n n n n closed ', 'LookupError'),
])
def test_close_once_in_every_ending(transport, tmp_path, kind, method, notes, log):
    """W54, W55: close() of the returned object, once, whatever happened; an exception in it is logged."""
    path = tmp_path / 'notes'
    server = transport.serve(CLOSING, env={'NOTES': str(path)})
    aborts(server)
    if log:
        server.expect_log(log)
    server.request(method, query=kind)
    wait_for(lambda: path.exists() and 'closed' in path.read_text(), what='close()')
    if transport.is_fcgi:
        server.allow_log('.')
        assert server.request(query='normal').body == b'12345' * 5
        notes += 'n n n n n closed '
    assert path.read_text() == notes


def test_client_gone_stops_the_iteration(transport, tmp_path):
    """W54: no more next(), close() called, one log line, no traceback."""
    path = tmp_path / 'notes'
    server = transport.serve(CLOSING, env={'NOTES': str(path)})
    aborts(server)
    exchange = server.start(query='endless')
    exchange.finish_body()
    exchange.wait_for(b'12345' * 5000)
    exchange.disconnect()
    wait_for(lambda: 'closed' in path.read_text(), what='close()')
    server.wait_log(r'info: .*the client went away after [1-9]\d* bytes of the response\'s body')
    text = path.read_text()
    assert text.count('closed') == 1 and text.count('n ') < 1000
    assert 'Traceback' not in server.logged


def test_client_gone_between_blocks(fcgi_unix, tmp_path):
    """W54: noticed before the next block is asked for, not when it is sent.

    Over a unix socket: the end of a TCP stream may be a half close, by a peer that still reads.
    """
    path = tmp_path / 'notes'
    server = fcgi_unix('''
        import os, time
        def note(text):
            with open(os.environ['NOTES'], 'a') as f:
                f.write(text + ' ')
        class Body:
            def __iter__(self):
                yield b'first'
                while not os.path.exists(os.environ['NOTES'] + '.go'):
                    time.sleep(0.01)
                yield b''
                note('asked-again')
            def close(self):
                note('closed')
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return Body()
    ''', env={'NOTES': str(path)})
    exchange = server.start()
    exchange.finish_body()
    exchange.wait_for(b'first')
    exchange.disconnect()
    (tmp_path / 'notes.go').write_text('')
    wait_for(lambda: path.exists() and 'closed' in path.read_text(), what='close()')
    assert path.read_text() == 'closed '


def test_abort_stops_the_iteration(fcgi_server, tmp_path):
    """W54: FCGI_ABORT_REQUEST."""
    path = tmp_path / 'notes'
    server = fcgi_server(CLOSING, env={'NOTES': str(path)})
    exchange = server.start(query='endless')
    exchange.finish_body()
    exchange.wait_for(b'12345' * 5000)
    exchange.conn.send(fcgi.record(fcgi.ABORT_REQUEST, 1))
    exchange.response()
    wait_for(lambda: 'closed' in path.read_text(), what='close()')
    assert path.read_text().count('closed') == 1 and path.read_text().count('n ') < 2000


@pytest.mark.parametrize('let_out', [True, False])
def test_write_to_a_client_that_is_gone(transport, tmp_path, let_out):
    """W53, W54: write() raises OSError; let out it is no traceback, caught it is the application's business."""
    path = tmp_path / 'notes'
    server = transport.serve(f'''
        import os
        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            try:
                while True:
                    write(b'x' * 10000)
            except ConnectionError as error:
                with open(os.environ['NOTES'], 'w') as f:
                    f.write('ConnectionError ')
                if {let_out}:
                    raise
            return []
    ''', env={'NOTES': str(path)})
    aborts(server)
    exchange = server.start()
    exchange.finish_body()
    exchange.wait_for(b'x' * 20000)
    exchange.disconnect()
    wait_for(path.exists, what='OSError in write()')
    server.wait_log(r'info: .*the client went away after [1-9]\d* bytes of the response\'s body')
    assert 'Traceback' not in server.logged


@pytest.mark.parametrize('rest', ['[]', 'iter([])'])
def test_leaving_with_the_whole_body_is_no_event(fcgi_unix, tmp_path, rest):
    """W54: lighttpd closes when Content-Length bytes are there; nothing is said about a client that went away."""
    go = tmp_path / 'go'
    server = fcgi_unix(f'''
        import os, time
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/next':
                start_response('200 OK', [('X-A', '1')])
                return [b'next']
            write = start_response('200 OK', [('Content-Length', '5')])
            write(b'whole')
            while not os.path.exists(os.environ['GO']):
                time.sleep(0.01)
            return {rest}
    ''', env={'GO': str(go)})
    exchange = server.start()
    exchange.finish_body()
    exchange.wait_for(b'whole')
    exchange.disconnect()
    go.write_text('')
    assert server.request(path='/next').body == b'next'
    assert 'went away' not in server.logged


def test_only_known_attributes_are_used(transport):
    """W56: iteration, len and close; an object that minds being asked for others is fine."""
    server = transport.serve('''
        class Body:
            def __getattribute__(self, name):
                if name not in ('close', '__class__', '__iter__', '__next__', '__len__', 'done'):
                    print('asked for', name)
                    raise RuntimeError(name)
                return object.__getattribute__(self, name)
            def __iter__(self):
                return iter([b'x'])
            def __len__(self):
                raise RuntimeError('len')
            def close(self):
                print('closed')
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return Body()
    ''')
    assert server.request().body == b'x'
    server.wait_log('closed')
    assert 'asked for' not in server.logged


# --- Content-Length -------------------------------------------------------------------------------------------------------

def test_length_is_added_for_whole_bodies(transport):
    """W57: a list is all there is; a lying __len__ of anything else is not believed."""
    server = transport.serve('''
        class Liar:
            def __len__(self):
                return 1
            def __iter__(self):
                return iter([b'one', b'two'])
        def application(environ, start_response):
            kind = environ['QUERY_STRING']
            start_response(kind if kind in ('204 No', '304 No') else '200 OK', [('X-A', '1')])
            return {'empty': [b''], 'one': [b'abc'], 'two': [b'abc', b'def'], 'liar': Liar()}.get(kind, [])
    ''')
    for kind, length in (('empty', '0'), ('one', '3'), ('two', '6'), ('liar', None)):
        assert server.request(query=kind).header('Content-Length') == length, kind
    assert server.request(query='liar').body == b'onetwo'


TOO_MUCH = '''
import io, os
def note(text):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(text + ' ')
def blocks():
    for block in (b'12', b'345', b'678', b'9'):
        note('n')
        yield block
def application(environ, start_response):
    write = start_response('200 OK', [('Content-Length', '3')])
    kind = environ['QUERY_STRING']
    if kind == 'list':
        return [b'12', b'345', b'678']
    if kind == 'generator':
        return blocks()
    if kind == 'file':
        return environ['wsgi.file_wrapper'](io.BytesIO(b'123456789'))
    if kind == 'realfile':
        return environ['wsgi.file_wrapper'](open(os.environ['FILE'], 'rb'))
    try:
        write(b'12')
        write(b'345')
        note('accepted')
    except ValueError as error:
        note('refused')
    return [b'678']
'''


@pytest.mark.parametrize('kind, notes', [('list', ''), ('generator', 'n n '), ('file', ''), ('realfile', ''),
                                         ('write', 'refused ')])
def test_never_more_than_content_length(transport, tmp_path, kind, notes):
    """W58: cut exactly there, iteration stops, write() beyond it raises."""
    path, file = tmp_path / 'notes', tmp_path / 'file'
    file.write_bytes(b'123456789')
    server = transport.serve(TOO_MUCH, env={'NOTES': str(path), 'FILE': str(file)})
    response = server.request(query=kind)
    assert response.body == b'123' and response.complete
    assert (path.read_text() if path.exists() else '') == notes


@pytest.mark.parametrize('kind', ['list', 'generator', 'empty', 'write', 'file', 'realfile'])
def test_less_than_content_length(transport, tmp_path, kind):
    """W59: the client sees a broken transfer, and the log says so."""
    file = tmp_path / 'file'
    file.write_bytes(b'12345')
    server = transport.serve('''
        import io, os
        def application(environ, start_response):
            kind = environ['QUERY_STRING']
            write = start_response('200 OK', [('Content-Length', '10')])
            if kind == 'write':
                write(b'12345')
            wrapper = environ['wsgi.file_wrapper']
            return {'list': lambda: [b'12', b'345'], 'generator': lambda: iter([b'12', b'345']), 'empty': list,
                    'write': list, 'file': lambda: wrapper(io.BytesIO(b'12345')),
                    'realfile': lambda: wrapper(open(os.environ['FILE'], 'rb'))}[kind]()
    ''', env={'FILE': str(file)})
    aborts(server)
    server.expect_log("the response's body ended after [05] of the 10 bytes that Content-Length promised")
    response = server.request(query=kind)
    assert response.body == (b'' if kind == 'empty' else b'12345') and not response.complete


@pytest.mark.parametrize('how', ['list', 'generator', 'write', 'file', 'empty'])
@pytest.mark.parametrize('method, status, kept', [
    ('GET', '204 No Content', None), ('HEAD', '204 No Content', None), ('GET', '204', None),
    ('GET', '304 Not Modified', '5'), ('HEAD', '304 Not Modified', '5'), ('HEAD', '200 OK', '5'),
    ('GET', '205 Reset Content', '0')])
def test_length_where_none_may_be(transport, tmp_path, method, status, kept, how):
    """W61, RFC 9110 8.6: a 204 has no Content-Length, whatever the application says. 304 and HEAD keep theirs: it is
    that of the response to a GET. (1xx cannot be sent at all.)"""
    path = tmp_path / 'file'
    path.write_bytes(b'12345')
    server = transport.serve(f'''
        import os
        def application(environ, start_response):
            write = start_response({status!r}, [('X-A', '1'), ('Content-Length', {kept or '5'!r}), ('X-B', '2')])
            how = environ['QUERY_STRING']
            if how == 'write':
                write(b'')
            return {{'list': lambda: [b''], 'generator': lambda: iter([b'', b'']), 'write': list, 'empty': list,
                     'file': lambda: environ['wsgi.file_wrapper'](open(os.environ['FILE'], 'rb'))}}[how]()
    ''', env={'FILE': str(path)})
    response = server.request(method, query=how)
    assert response.body == b'' and response.complete and response.status == int(status[:3])
    assert response.header('Content-Length') == kept
    assert (response.header('X-A'), response.header('X-B')) == ('1', '2')


@pytest.mark.parametrize('kind', ['list', 'generator', 'write', 'file', 'realfile', 'empty'])
@pytest.mark.parametrize('method, status', [('HEAD', '200 OK'), ('GET', '204 No Content'), ('GET', '304 Not Modified')])
def test_no_body_where_none_may_be(transport, tmp_path, kind, method, status):
    """W61: the head as the application made it, close() called, and not a byte of a body."""
    file = tmp_path / 'file'
    file.write_bytes(b'12345')
    server = transport.serve(f'''
        import io, os
        class File(io.BytesIO):
            def close(self):
                super().close()
                print('closed')
        def application(environ, start_response):
            kind = environ['QUERY_STRING']
            headers = [('Content-Length', '5'), ('X-A', '1')] if {method == 'HEAD'} else [('X-A', '1')]
            write = start_response({status!r}, headers)
            if kind == 'write':
                write(b'12')
                write(b'345')
            wrapper = environ['wsgi.file_wrapper']
            return {{'list': lambda: [b'12', b'345'], 'generator': lambda: iter([b'12', b'345']), 'write': list,
                     'empty': list, 'file': lambda: wrapper(File(b'12345')),
                     'realfile': lambda: wrapper(open(os.environ['FILE'], 'rb'))}}[kind]()
    ''', env={'FILE': str(file)})
    response = server.request(method, query=kind)
    assert response.body == b'' and response.complete and response.status_line == status
    assert response.header('X-A') == '1'
    assert response.header('Content-Length') == ('5' if method == 'HEAD' else None)
    if kind == 'file':
        server.wait_log('closed')


def test_head_without_a_length_gets_none(transport):
    """W61: of a HEAD response nobody knows how long the body would have been."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            return []
    ''')
    assert server.request('HEAD').header('Content-Length') is None


def test_no_chunking(transport):
    """W62: the body goes out as it is; chunks are the web server's."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            yield b'one'
            yield b'two'
    ''')
    response = server.request()
    assert response.raw.endswith(b'\r\n\r\nonetwo') and response.header('Transfer-Encoding') is None
