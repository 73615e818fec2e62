"""W33-W48: start_response()."""

import pytest

# Calls start_response with the arguments of CASES[QUERY_STRING] and reports; the response itself is made afterwards
# with exc_info, which is always allowed before the headers are out.
TRY = '''
import sys
def attempt(start_response, *args):
    try:
        start_response(*args)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'accepted'
def application(environ, start_response):
    status, headers = CASES[int(environ['QUERY_STRING'])]
    said = attempt(start_response, status, headers)
    try:
        raise LookupError
    except LookupError:
        start_response('200 OK', [('Content-Type', 'text/plain')], sys.exc_info())
    return [said.encode('utf-8', 'backslashreplace')]
'''
FINE = [('Content-Type', 'text/plain')]

BAD = [  # W35
    ('OK', FINE), ('20X OK', FINE), ('2000 OK', FINE), ('200OK', FINE), ('', FINE), ('20', FINE), (' 200 OK', FINE),
    ('200 OK\r\nX: y', FINE), ('200 OK\n', FINE), ('200\tOK', FINE), ('200 O\0K', FINE), (200, FINE), (b'200 OK', FINE),
    (None, FINE), ('-20 OK', FINE), ('100 Continue', FINE), ('101 Switching Protocols', FINE), ('000 Zero', FINE),
    # W36
    ('200 OK', tuple(FINE)), ('200 OK', {'Content-Type': 'text/plain'}), ('200 OK', 'X: y'), ('200 OK', None),
    ('200 OK', [['X-A', '1']]), ('200 OK', [('X-A', '1', '2')]), ('200 OK', [('X-A',)]), ('200 OK', ['ab']),
    ('200 OK', [(b'X-A', '1')]), ('200 OK', [('X-A', b'1')]), ('200 OK', [('X-A', 1)]), ('200 OK', [('X-A', None)]),
    ('200 OK', [(1, '1')]), ('200 OK', [None]),
    # W37
    *[('200 OK', [(name, 'value')]) for name in ('', 'X Foo', 'X\tFoo', 'X:', 'X-Foo:', 'Ü', 'X\r\n', 'X\0', 'X(', 'X"')],
    *[('200 OK', [('X-A', value)]) for value in ('a\r\nSet-Cookie: x', 'a\nb', 'a\rb', '\0', 'a\x7f', 'a\x1b', '\r', '\n')],
    # W38
    ('200 日本', FINE), ('200 OK', [('X-A', '日本')]), ('200 OK', [('日本', 'x')]), ('200 OK', [('X-A', '\udc80')]),
    ('200 OK', [('X-A', '\U0001f600')]),
    # W39, W40
    *[('200 OK', [(name, 'x')]) for name in ('Connection', 'Keep-Alive', 'Proxy-Authenticate', 'Proxy-Authorization', 'TE',
                                             'Trailer', 'Trailers', 'Transfer-Encoding', 'Upgrade', 'connection', 'tE')],
    # W60
    *[('200 OK', [('Content-Length', value)]) for value in ('abc', '-1', '', '1 2', '1.5', '0x10', '9' * 30)],
    ('200 OK', [('Content-Length', '3'), ('content-length', '4')]),
    # The first headers are fine, so nothing of them may be left either.
    ('200 OK', [('X-Kept', 'no'), ('X-A', 'a\nb')]),
    # RFC 3875 6.3: once only
    ('200 OK', FINE + FINE), ('302 Found', [('Location', '/a'), ('LOCATION', '/b')]),
]


def test_bad_arguments_raise_at_call_time(transport):
    """W34-W40, W60: each is refused while the application still runs, and nothing of it goes out."""
    server = transport.serve(f'CASES = {BAD!a}\n' + TRY)
    step = 9 if transport.is_cgi else 1     # a process for each would take long, and this is not the transport's work
    wrong = []
    for i in range(0, len(BAD), step):
        response = server.request(query=str(i))
        assert response.head == b'Status: 200 OK\r\nContent-Type: text/plain\r\n' \
            b'Content-Length: %d\r\n\r\n' % len(response.body), BAD[i]
        if not response.text.startswith(('TypeError: ', 'ValueError: ')):
            wrong.append((BAD[i], response.text))
    assert not wrong


def test_the_message_names_the_header(transport):
    """W34: which header it was, but not its value, which may be a secret."""
    cases = [('200 OK', [('X-A', '1'), ('Set-Cookie', 'secret\n')]), ('200 OK', [('X-A', '1'), ('X-B', 7)]),
             ('999', [('X-A', '1'), ('X B', '1')]), ('200 OK', [('X-A', '1'), ('X-B', 'secret日')])]
    server = transport.serve(f'CASES = {cases!a}\n' + TRY)
    texts = [server.request(query=str(i)).text for i in range(len(cases))]
    assert all('headers[1]' in text and 'secret' not in text for text in texts)
    assert ["'Set-Cookie'" in texts[0], "'X-B'" in texts[1], "'X B'" in texts[2]] == [True] * 3


@pytest.mark.parametrize('status, sent', [('200', 200), ('200 ', 200), ('404 Not Found', 404), ('299 Ünusual', 299),
                                          ('599 A  B', 599), ('204 No Content', 204)])
def test_good_status(transport, status, sent):
    """W35: three digits and a reason, which may be missing."""
    server = transport.serve(f'''
        def application(environ, start_response):
            start_response({status!a}, [('X-A', '1')])
            return []
    ''')
    response = server.request()
    assert response.status == sent
    assert response.status_line.strip() == status.strip()


GOOD = [
    [('X-A', '')], [('X-A', 'tab\there')], [('X-A', '\xff\xe4')], [("!#$%&'*+-.^_`|~09", 'x')], [('x-lower', 'x')],
    [('Set-Cookie', 'a=1'), ('X-A', '1'), ('Set-Cookie', 'b=2'), ('X-A', '2')], [('X-A', 'x' * 70000)],
    [('Content-Length', '0'), ('content-length', '0')], [('X-A', ' spaces ')], [(f'X-{i}', str(i)) for i in range(300)],
]


def test_good_headers(transport):
    """W37, W38, W41: order and duplicates are kept, latin-1 goes out byte by byte."""
    server = transport.serve(f'''
        CASES = {GOOD!a}
        def application(environ, start_response):
            start_response('200 OK', CASES[int(environ['QUERY_STRING'])])
            return []
    ''')
    for i, headers in enumerate(GOOD):
        response = server.request(query=str(i))
        lines = [b'%s: %s' % (n.encode('latin-1'), v.encode('latin-1')) for n, v in headers]
        if i == 7:
            lines = lines[:1]
        sent = response.head.split(b'\r\n')[:-2]
        assert [line for line in sent if not line.startswith((b'Status: ', b'Content-Length: 0'))] == \
            [line for line in lines if not line.startswith(b'Content-Length: 0')]
        assert len(response.header_list('Content-Length')) == 1


def test_subclasses_and_namedtuples(transport):
    """W36: what is a tuple or a str is good enough."""
    server = transport.serve('''
        import collections
        class Text(str):
            pass
        Header = collections.namedtuple('Header', 'name value')
        def application(environ, start_response):
            start_response(Text('200 OK'), [Header(Text('X-A'), Text('1')), ('X-B', '2')])
            return [b'x']
    ''')
    response = server.request()
    assert response.headers[:2] == [('X-A', '1'), ('X-B', '2')]


def test_headers_are_copied(transport):
    """W33: the list is the application's again when start_response returns."""
    server = transport.serve('''
        def application(environ, start_response):
            headers = [('X-A', '1')]
            start_response('200 OK', headers)
            headers.append(('X-B', 'too late'))
            headers[0] = None
            return [b'x']
    ''')
    response = server.request()
    assert response.header('X-A') == '1' and response.header('X-B') is None


def test_status_header_is_the_gateways(transport):
    """W40: an application's own "Status" header, in any case, does not change the status."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('201 Created', [('STATUS', '500 No'), ('X-A', '1')])
            return [b'x']
    ''')
    response = server.request()
    assert response.status == 201 and response.raw.count(b'tatus') + response.raw.count(b'TATUS') == 1


def test_number_of_arguments(transport):
    """W33: two or three, by position; the result is write()."""
    server = transport.serve('''
        def application(environ, start_response):
            said = []
            for args, names in (((), {}), (('200 OK',), {}), (('200 OK', [], None, None), {}),
                                ((), {'status': '200 OK', 'headers': []}), (('200 OK', []), {'exc_info': None})):
                try:
                    start_response(*args, **names)
                    said.append('accepted')
                except TypeError:
                    said.append('TypeError')
            write = start_response('200 OK', [('Content-Type', 'text/plain')], None)
            said.append(callable(write))
            return [repr(said).encode()]
    ''')
    assert server.request().text == repr(['TypeError'] * 5 + [True])


@pytest.mark.parametrize('first', ["'200 OK', []", "'bad', []", "'200 OK', [('X', 'a\\nb')]"])
def test_second_call_needs_exc_info(transport, first):
    """W46: an error, also after a first call that failed."""
    server = transport.serve(f'''
        def application(environ, start_response):
            try:
                start_response({first})
            except ValueError:
                pass
            try:
                start_response('200 OK', [('X-Second', '1')])
            except AssertionError as error:
                print('refused')
                raise
    ''')
    server.expect_log('AssertionError')
    response = server.request()
    assert response.status == 500 and b'X-Second' not in response.raw
    assert response.stderr.startswith(b'refused\n')


def test_exc_info_replaces_everything(transport):
    """W42, W44: before a byte of the body, the second head takes the place of the first, all of it."""
    server = transport.serve('''
        import sys
        def application(environ, start_response):
            start_response('200 OK', [('Content-Length', '4'), ('X-First', '1'), ('Location', '/first')])
            yield b''
            try:
                1 / 0
            except ZeroDivisionError:
                start_response('500 Oops', [('X-Second', '2')], sys.exc_info())
            yield b'error page'
    ''')
    server.allow_log('.')
    response = server.request()
    assert (response.status_line, response.body) == ('500 Oops', b'error page')
    assert response.header('X-First') is None and response.header('Location') is None
    assert response.header('X-Second') == '2' and response.complete


def test_exc_info_in_the_first_call(transport):
    """W44: exc_info without an earlier call is fine."""
    server = transport.serve('''
        import sys
        def application(environ, start_response):
            try:
                1 / 0
            except ZeroDivisionError:
                start_response('503 Later', [('X-A', '1')], sys.exc_info())
            return [b'later']
    ''')
    response = server.request()
    assert (response.status, response.body) == (503, b'later')


def test_exc_info_after_the_headers_raises_it_again(transport):
    """W45: the same exception object, with the frames of the application in its traceback."""
    server = transport.serve('''
        import os, sys, traceback
        def deep():
            raise KeyError('original')
        def application(environ, start_response):
            write = start_response('200 OK', [('X-A', '1')])
            yield b'sent'
            try:
                deep()
            except KeyError as original:
                info = sys.exc_info()
                try:
                    start_response('500 Oops', [('X-B', '2')], info)
                except BaseException as error:
                    frames = [f.name for f in traceback.extract_tb(error.__traceback__)]
                    print('same' if error is original else 'other', type(error) is KeyError, frames)
                    raise
    ''')
    server.expect_log("KeyError: 'original'")
    server.allow_log('KeyError')
    if transport.is_cgi:
        server.exit_codes = {1}
    response = server.request()
    assert response.body == b'sent' and not response.complete and response.header('X-B') is None
    server.wait_log(r"same True \['application', 'application', 'deep'\]|same True \['application', 'deep'\]")


@pytest.mark.parametrize('exc_info', ['7', '()', '(1, 2)', '[None, None, None]', 'ValueError()'])
def test_exc_info_that_is_none(transport, exc_info):
    """W44: only what sys.exc_info() returns."""
    server = transport.serve(f'''
        def application(environ, start_response):
            try:
                start_response('200 OK', [], {exc_info})
            except TypeError as error:
                start_response('200 OK', [], (TypeError, error, None))
                return [b'TypeError']
            return [b'accepted']
    ''')
    assert server.request().body == b'TypeError'


def test_empty_exc_info(transport):
    """W44, W45: (None, None, None) replaces the head, too; after the headers there is nothing to raise again."""
    server = transport.serve('''
        import sys
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            start_response('201 OK', [('X-B', '2')], sys.exc_info())
            yield b'sent '
            try:
                start_response('500 Oops', [], sys.exc_info())
            except AssertionError:
                yield b'refused'
    ''')
    response = server.request()
    assert (response.status, response.body) == (201, b'sent refused')
    assert response.header('X-A') is None


def test_no_reference_to_exc_info(transport):
    """W47: what the frames held is free when start_response returns, without a garbage collection."""
    server = transport.serve('''
        import gc, sys, weakref
        class Thing:
            pass
        def fail():
            thing = Thing()
            fail.ref = weakref.ref(thing)
            raise ValueError
        def application(environ, start_response):
            gc.disable()
            start_response('200 OK', [])
            try:
                fail()
            except ValueError:
                start_response('200 OK', [('X-A', '1')], sys.exc_info())
            return [repr(fail.ref()).encode()]
    ''')
    assert server.request().body == b'None'


def test_head_waits_for_the_first_block(transport):
    """W42: nothing is sent for start_response() and empty blocks."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b''
            environ['wsgi.input'].read(1)
            yield b'x'
            environ['wsgi.input'].read(1)
            yield b'y'
    ''')
    exchange = server.start('POST', content_length=2)
    assert exchange.silent(0.2)
    exchange.write(b'1')
    exchange.wait_for(b'\r\n\r\nx')
    exchange.write(b'2')
    exchange.finish_body()
    assert exchange.response().body == b'xy'


def test_failed_replacement_leaves_no_head(transport):
    """W44, W48: where the replacement is refused there is no head at all: 500, and write() says so."""
    server = transport.serve('''
        import sys
        def application(environ, start_response):
            write = start_response('200 OK', [('X-A', '1')])
            try:
                start_response('200 OK', [('X-A', 'a\\nb')], (None, None, None))
            except ValueError:
                pass
            try:
                write(b'x')
            except AssertionError:
                print('refused')
            return [b'x']
    ''')
    server.expect_log('AssertionError')
    response = server.request()
    assert response.status == 500 and b'X-A' not in response.raw
    assert response.stderr.startswith(b'refused\n')
