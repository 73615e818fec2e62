"""The header block and the body as RFC 3875 wants them: C13, C15 to C21, C25, C26. Most of it over every transport,
because FastCGI answers have the same form (FastCGI 1.0, 6.2)."""

import re

import pytest

from apps import HELLO

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def lines_of(response):
    """The raw lines of the head, checked for form: CRLF ends only, NAME: value, no control characters."""
    assert response.head.endswith(b'\r\n\r\n')
    lines = response.head[:-4].split(b'\r\n')
    for line in lines:
        name, colon, value = line.partition(b':')
        assert colon and TOKEN.fullmatch(name), line
        assert not re.search(rb'[\x00-\x08\x0a-\x1f\x7f]', value), line
    return lines


def names_of(response):
    return [line.partition(b':')[0].decode().lower() for line in lines_of(response)]


BODIES = {
    'list': "return [b'hello']",
    'generator': "return iter([b'hel', b'lo'])",
    'write': "write(b'hel'); return [b'lo']",
    'file': "import io; return environ['wsgi.file_wrapper'](io.BytesIO(b'hello'))",
    'real file': "return environ['wsgi.file_wrapper'](open(__file__, 'rb'))",
}


@pytest.mark.parametrize('kind', BODIES)
def test_head_has_no_body(transport, kind):
    """C13: not a byte follows the header block of an answer to HEAD, however the application makes its body."""
    server = transport.serve(f'''
        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '5')])
            {BODIES[kind]}
    ''')
    response = server.request('HEAD')
    assert response.status == 200 and response.body == b'' and response.complete
    assert response.header('Content-Length') == '5'
    if kind != 'real file':
        assert server.request('GET').body == b'hello'


@pytest.mark.parametrize('status', ['204 No Content', '304 Not Modified'])
def test_statuses_without_a_body(transport, status):
    """C13: the same for 204 and 304, and no header of a body is invented for them."""
    server = transport.serve(f'''
        def application(environ, start_response):
            start_response({status!r}, [('ETag', '"x"')])
            return [b'no body please']
    ''')
    response = server.request()
    assert response.status_line == status and response.body == b'' and response.complete
    assert set(names_of(response)) == {'status', 'etag'}


def test_nph_script(world):
    """C15: a script named nph-* gets the client connection: its answer is a whole HTTP response (RFC 3875, 5)."""
    app = world.write_app(HELLO, 'nph-app.py')
    finished = world.run(app, env={'REQUEST_METHOD': 'GET', 'GATEWAY_INTERFACE': 'CGI/1.1', 'SERVER_NAME': 'localhost',
                                   'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '/nph-app.py',
                                   'SCRIPT_FILENAME': app})
    assert finished.code == 0
    head, _, body = finished.stdout.partition(b'\r\n\r\n')
    lines = head.split(b'\r\n')
    assert re.fullmatch(rb'HTTP/1\.[01] 200 OK', lines[0]), lines
    assert b'Content-Type: text/plain' in lines
    assert not [line for line in lines if line.lower().startswith((b'status:', b'transfer-encoding'))]
    # HTTP/1.1 without a length would keep the client waiting for more.
    lower = head.lower()
    assert lines[0].startswith(b'HTTP/1.0') or b'connection: close' in lower or b'content-length: 5' in lower
    assert body == b'hello'


def test_other_scripts_are_not_nph(transport):
    """C15, F25: without that name, and over FastCGI always, no HTTP status line."""
    assert not transport.serve(HELLO).request().raw.startswith(b'HTTP/')


def test_nph_name_over_fastcgi(fcgi_unix, world):
    """F25: FastCGI has no NPH, whatever the file is called."""
    response = fcgi_unix(world.write_app(HELLO, 'nph-app.py')).request()
    assert not response.raw.startswith(b'HTTP/') and response.status == 200


@pytest.mark.parametrize('source, log', [
    ("raise ValueError('boom')", 'ValueError: boom'),
    ("start_response('200 OK', []); raise ValueError('boom')", 'ValueError: boom'),
    ("return [b'x']", 'start_response'),
    ("return None", 'None|iter'),
    ("start_response('200 OK', []); return iter('text')", 'str|bytes'),
    ("raise SystemExit(3)", 'SystemExit'),
    ("raise KeyboardInterrupt", 'KeyboardInterrupt'),
], ids=['raises', 'raises later', 'no start_response', 'returns None', 'yields str', 'exits', 'interrupts'])
def test_a_failing_application_is_answered(transport, source, log):
    """C16: there is always a response: a 500 page with an id that the log has too, and no traceback on it."""
    server = transport.serve(f'''
        def application(environ, start_response):
            {source}
    ''')
    server.allow_log(r'wsgi-cgi.*error:')
    server.expect_log(log)
    response = server.request()
    assert response.status == 500 and response.body and response.header('Content-Type')
    lines_of(response)
    assert b'Traceback' not in response.body and b'boom' not in response.body
    ids = re.findall(r'error: \[([0-9a-z]{8,})\]', server.logged)
    assert any(id in response.text for id in ids), f'no id of the page is in the log:\n{response.text}{server.logged}'
    if transport.is_fcgi:
        assert response.app_status == 1


@pytest.mark.parametrize('body', ['[]', "[b'']", "iter(())", "iter([b'', b''])"])
def test_an_empty_body_has_a_head(transport, body):
    """C16: an application that returns nothing has said its status all the same."""
    response = transport.serve(f'''
        def application(environ, start_response):
            start_response('201 Created', [('X-A', 'b')])
            return {body}
    ''').request()
    assert response.status_line == '201 Created' and response.body == b'' and response.complete
    assert response.header('X-A') == 'b'


@pytest.mark.parametrize('source, log', [
    ('import no_such_module\n', 'ModuleNotFoundError'),
    ('def application(:\n', 'SyntaxError'),
    ('application = None\n', 'callable'),
    ('nothing = 1\n', 'application'),
    ('raise SystemExit(0)\n', 'SystemExit'),
    ('raise SystemExit("bye")\n', 'SystemExit'),
], ids=['import error', 'syntax error', 'not callable', 'no callable', 'exits', 'exits with text'])
def test_an_application_that_does_not_load_is_answered(transport, source, log):
    """C16, W66: import errors and their like: a 500 with its id, every time, and the process goes on."""
    server = transport.serve(source)
    server.allow_log(r'.')
    for _ in range(2):
        response = server.request()
        assert response.status == 500 and response.body
    assert re.search(log, server.logged), server.logged


def test_content_type_is_the_applications_business(transport):
    """C17: with a Content-Type it is there once, as given; without one none is invented: PEP 3333 wants the gateway to
    pass on what the application said."""
    server = transport.serve('''
        def application(environ, start_response):
            given = [('content-type', 'text/x; charset=y')] if environ['QUERY_STRING'] else []
            start_response('200 OK', given)
            return [b'x']
    ''')
    assert server.request(query='1').header('Content-Type') == 'text/x; charset=y'
    assert 'content-type' not in names_of(server.request())


@pytest.mark.parametrize('location', ['/x', 'http://example.com/x', '/x?a=b#c', 'x'])
@pytest.mark.parametrize('status', ['302 Found', '201 Created', '307 Temporary Redirect', '303 See Other'])
def test_location_never_stands_alone(transport, location, status):
    """C18: a path-only Location without Status is an internal redirect (RFC 3875 6.2.2): Status is always sent. In CGI
    it is the first line (busybox); over FastCGI Location comes before it (HAProxy makes 302 of 201 otherwise)."""
    response = transport.serve(f'''
        def application(environ, start_response):
            start_response({status!r}, [('Location', {location!r}), ('Content-Type', 'text/plain')])
            return [b'x']
    ''').request()
    names = names_of(response)
    assert response.status_line == status and response.header('Location') == location
    assert names.count('status') == names.count('location') == 1
    if transport.is_cgi:
        assert names[0] == 'status'
    else:
        assert names.index('location') < names.index('status')


def test_an_own_status_header_does_not_win(transport):
    """C19: an application's header called Status neither replaces nor doubles the real one."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('201 Created', [('sTaTuS', '404 Nope'), ('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    server.allow_log('.')
    response = server.request()
    assert names_of(response).count('status') == 1
    assert response.status in (201, 500)


@pytest.mark.parametrize('name', ['Content-Type', 'Location'])
def test_fields_that_may_come_once(transport, name):
    """C19: two Content-Type or two Location: at most one of them leaves."""
    server = transport.serve(f'''
        def application(environ, start_response):
            start_response('200 OK', [({name!r}, 'text/a'), ({name.lower()!r}, 'text/b')])
            return [b'x']
    ''')
    server.allow_log('.')
    assert names_of(server.request()).count(name.lower()) <= 1


@pytest.mark.parametrize('status, sent', [('200 OK', b'Status: 200 OK'), ('299 Odd Thing', b'Status: 299 Odd Thing'),
                                          ('404 N\xf6', b'Status: 404 N\xf6'), ('200 ', b'Status: 200 ')])
def test_status_line(transport, status, sent):
    """C20: three digits, a space and the reason, byte for byte."""
    response = transport.serve(f'''
        def application(environ, start_response):
            start_response({status!r}, [('Content-Type', 'text/plain')])
            return [b'x']
    ''').request()
    line, = [line for line in lines_of(response) if line.startswith(b'Status')]
    assert line.rstrip() == sent.rstrip() and re.match(rb'Status: \d{3}( |$)', line)


@pytest.mark.parametrize('name', ['Connection', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'TE',
                                  'Trailer', 'Transfer-Encoding', 'Upgrade'])
def test_fields_of_the_client_connection(cgi, name):
    """C21: what belongs to the client connection is not sent (the three transports: W39)."""
    server = cgi.serve(f'''
        def application(environ, start_response):
            start_response('200 OK', [({name!r}, 'x')])
            return [b'x']
    ''')
    server.allow_log('.')
    response = server.request()
    assert response.status == 500 and name.lower() not in names_of(response)


def test_one_kind_of_newline(transport):
    """C22: CRLF everywhere in the head; the body is left alone."""
    response = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain'), ('X-A', 'b')])
            return [b'a\\nb\\r\\nc\\r']
    ''').request()
    lines_of(response)
    assert response.head.count(b'\n') == response.head.count(b'\r\n') == response.head.count(b'\r')
    assert response.body == b'a\nb\r\nc\r'


def test_cgi_fields_before_http_fields(transport):
    """C26: Status and Content-Type come before the other fields; these keep their order."""
    response = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('X-B', '1'), ('Set-Cookie', 'a=1'), ('Content-Type', 'text/plain'),
                                      ('X-A', '2'), ('Set-Cookie', 'b=2')])
            return [b'x']
    ''').request()
    names = names_of(response)
    assert set(names[:2]) == {'status', 'content-type'}, names
    rest = [(n, v) for n, v in response.headers if n not in ('Content-Type', 'Content-Length')]
    assert rest == [('X-B', '1'), ('Set-Cookie', 'a=1'), ('X-A', '2'), ('Set-Cookie', 'b=2')]


def test_content_length_above_4_gib_from_the_application(transport):
    """C25: a claimed length above 4 GiB is passed on as it is, and ten bytes do not fulfil it."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Length', str(5 * 2 ** 30 + 10))])
            return [b'x' * 10]
    ''')
    server.allow_log('.')
    server.exit_codes = {1} if transport.is_cgi else {0}
    response = server.request()
    assert not response.complete
    # Nothing need have been sent of a response that is known to be short before its first byte.
    if response.head and response.status == 200:
        assert response.header('Content-Length') == str(5 * 2 ** 30 + 10) and len(response.body) <= 10
