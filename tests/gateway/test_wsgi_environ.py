"""W6-W20, W73: what stands in environ."""

import re

import pytest

import harness
from apps import DUMP

NEEDED = ['REQUEST_METHOD', 'SERVER_NAME', 'SERVER_PORT', 'SERVER_PROTOCOL']


def test_needed_variables_are_made_up(transport):
    """W6: servers that leave them out get defaults that are not empty."""
    server = transport.serve(DUMP)
    shown = server.request(params={'SERVER_NAME': None, 'SERVER_PORT': None, 'SERVER_PROTOCOL': None}).json
    assert all(shown[name] for name in NEEDED)
    shown = server.request(params={'SERVER_NAME': '', 'SERVER_PORT': '', 'SERVER_PROTOCOL': ''}).json
    assert all(shown[name] for name in NEEDED)


def test_no_method_no_call(transport):
    """W6: without REQUEST_METHOD the application is not called."""
    server = transport.serve(DUMP)
    server.allow_log('400|REQUEST_METHOD')
    response = server.request(params={'REQUEST_METHOD': None})
    assert response.status == 400


def test_path_variables_are_always_there(transport):
    """W7: SCRIPT_NAME, PATH_INFO and QUERY_STRING are there even when the server sent none; one of the first is not empty."""
    server = transport.serve(DUMP)
    shown = server.request(params={'SCRIPT_NAME': None, 'PATH_INFO': None, 'QUERY_STRING': None}).json
    assert shown['QUERY_STRING'] == ''
    assert shown['SCRIPT_NAME'] + shown['PATH_INFO'] == '/' and shown['SCRIPT_NAME'] != '/'


def test_headers_only_where_sent(fcgi_server):
    """W8: a header of one request is not in the next on the same connection, whatever came in between."""
    server = fcgi_server(DUMP)
    conn = server.connect()
    sets = [{}, {'X-A': '1'}, {'X-B': '2'}, {'X-A': '3', 'X-B': '4'}, {'X-B': '5', 'X-A': '6'}, {'X-A': 'x' * 300},
            {'X-A': ''}, {'Cookie': 'secret=1'}, {'Cookie': 'secret=2', 'X-A': '7'}, {'Authorization': 'Basic abc'},
            {'X-A': '8', 'X-Z': '9'}, {'X-B': '10', 'X-Z': '11'}, {'X-C': '12', 'X-Z': '13'}]
    order = [0, 1, 0, 2, 3, 4, 3, 1, 5, 1, 6, 0, 7, 8, 7, 9, 0] + list(range(13)) * 2 + [10, 11, 10, 12, 11, 12]
    for i in order:
        shown = server.request(headers=sets[i], conn=conn, keep=True).json
        wanted = {'HTTP_' + name.upper().replace('-', '_'): value for name, value in sets[i].items()}
        wanted['HTTP_HOST'] = 'localhost'
        assert {k: v for k, v in shown.items() if k.startswith('HTTP_')} == wanted


def test_one_value_more(fcgi_unix):
    """W8: an empty CONTENT_LENGTH is absent; the next request has the same names, and one value more, or less."""
    server = fcgi_unix(DUMP)
    conn = server.connect()
    others = [pair for pair in server.params('GET', '/') if pair[0] != 'CONTENT_LENGTH']
    for length in '', '0', '', '', '0', '0', '':
        shown = conn.request([*others, ('CONTENT_LENGTH', length)], keep=True).json
        assert shown.get('CONTENT_LENGTH') == (length or None)
        assert shown['PATH_INFO'] == '/'


def test_more_kinds_of_requests_than_are_remembered(fcgi_unix):
    """W8: templates are thrown away and made again; a value belongs to its own request all the same."""
    server = fcgi_unix(DUMP)
    conn = server.connect()
    for turn in range(3):
        for i in range(40):
            value = f'{turn}-{i}'
            shown = server.request(path=f'/{value}', headers={f'X-{i}': value}, conn=conn, keep=True).json
            own = {k: v for k, v in shown.items() if k.startswith('HTTP_X_')}
            assert own == {f'HTTP_X_{i}': value} and shown['PATH_INFO'] == f'/{value}'


BYTES = bytes(range(1, 256)).replace(b'\n', b'').replace(b'\r', b'')


@pytest.mark.parametrize('locale', [{'LANG': 'C'}, {'LANG': 'C.UTF-8'}, {'LC_ALL': 'de_DE.ISO-8859-1'},
                                    {'LANG': 'C', 'PYTHONUTF8': '0'}, {'PYTHONUTF8': '1'}],
                         ids=lambda env: ' '.join(f'{k}={v}' for k, v in env.items()))
def test_bytes_as_latin1(transport, locale):
    """W9: one character a byte, U+0000 to U+00FF, whatever the locale."""
    server = transport.serve(DUMP, env={**locale, 'PYTHONWARNINGS': 'ignore'})
    wanted = {b'PATH_INFO': b'/' + BYTES, b'QUERY_STRING': BYTES, b'HTTP_X_A': BYTES,
              b'HTTP_COOKIE': 'naïve=日本'.encode(), b'X_NAME': '\U0001f600'.encode()}
    shown = server.request(params=wanted).json
    for name, value in wanted.items():
        assert shown[name.decode()].encode('latin-1') == value, name


def test_every_value_is_exactly_str(transport):
    """W9: no subclasses, no bytes."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            wrong = [k for k, v in environ.items() if type(k) is not str or k.isupper() and type(v) is not str]
            return [repr(wrong).encode()]
    ''')
    assert server.request(headers={'X-A': '1'}).body == b'[]'


def test_absent_is_left_out(transport):
    """W10: an empty REMOTE_USER would be a user without a name."""
    server = transport.serve(DUMP)
    shown = server.request(params={'REMOTE_USER': '', 'AUTH_TYPE': ''}).json
    assert 'REMOTE_USER' not in shown and 'AUTH_TYPE' not in shown
    shown = server.request(params={'REMOTE_USER': 'joe', 'AUTH_TYPE': 'Basic'}).json
    assert (shown['REMOTE_USER'], shown['AUTH_TYPE']) == ('joe', 'Basic')


def test_version(transport):
    """W11: the tuple (1, 0)."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            version = environ['wsgi.version']
            return [repr((type(version), version)).encode()]
    ''')
    assert server.request().body == b"(<class 'tuple'>, (1, 0))"


@pytest.mark.parametrize('params, scheme', [
    ({}, 'http'), ({'HTTPS': 'on'}, 'https'), ({'HTTPS': 'ON'}, 'https'), ({'HTTPS': '1'}, 'https'),
    ({'HTTPS': 'off'}, 'http'), ({'HTTPS': ''}, 'http'), ({'REQUEST_SCHEME': 'https'}, 'https'),
    ({'REQUEST_SCHEME': 'http'}, 'http'), ({'HTTPS': 'on', 'REQUEST_SCHEME': 'https'}, 'https'),
])
def test_url_scheme(transport, params, scheme):
    """W12: from HTTPS, else from REQUEST_SCHEME."""
    assert transport.serve(DUMP).request(params=params).json['wsgi.url_scheme'] == scheme


def test_url_scheme_of_requests_in_turn(fcgi_unix):
    """W12: the same names and another value of HTTPS."""
    server = fcgi_unix(DUMP)
    conn = server.connect()
    for value, scheme in [('on', 'https'), ('off', 'http'), ('on', 'https')]:
        assert server.request(params={'HTTPS': value}, conn=conn, keep=True).json['wsgi.url_scheme'] == scheme


FACTS = ('wsgi.multithread', 'wsgi.multiprocess', 'wsgi.run_once')


def facts(shown):
    return tuple(shown[name] == 'True' for name in FACTS)


def test_facts_cgi(cgi):
    """W13: one process a request."""
    assert facts(cgi.serve(DUMP).request().json) == (False, True, True)


@pytest.mark.parametrize('threads', [1, 4])
def test_facts_fastcgi(fcgi_unix, threads):
    """W13: by configuration. Whoever made the socket of descriptor 0 may have given it to other processes, too."""
    shown = fcgi_unix(DUMP, '--threads', str(threads)).request().json
    assert facts(shown) == (threads > 1, True, False)


@pytest.mark.parametrize('threads', [1, 4])
def test_facts_own_socket(world, threads):
    """W13: on a socket of its own it is the only process."""
    address = str(world.new_path('own'))
    process = world.spawn('--bind', 'unix:' + address, '--threads', str(threads), world.write_app(DUMP))
    server = harness.FcgiServer(world, process, address)
    assert facts(server.request().json) == (threads > 1, False, False)


MEET = '''
import os, threading, time
lock, inside, most = threading.Lock(), 0, 0
def application(environ, start_response):
    global inside, most
    with lock:
        inside += 1
        most = max(most, inside)
    deadline = time.monotonic() + float(environ['QUERY_STRING'])
    while time.monotonic() < deadline and most < 2:
        time.sleep(0.005)
    with lock:
        inside -= 1
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d %d %d' % (most, threading.get_ident(), os.getpid())]
'''


def test_threads_overlap(fcgi_unix):
    """W13: two requests are inside the application at once, in one process and two threads."""
    server = fcgi_unix(MEET, '--threads', '2')
    one, two = (server.start(query='10') for _ in range(2))
    for exchange in (one, two):
        exchange.finish_body()
    answers = [exchange.response().body.split() for exchange in (one, two)]
    assert [a[0] for a in answers] == [b'2', b'2']
    assert answers[0][1] != answers[1][1] and answers[0][2] == answers[1][2]


def test_one_thread_never_overlaps(fcgi_unix):
    """W75: with one thread the requests come one after the other, in the process's main thread."""
    server = fcgi_unix('import threading\n' + MEET.replace('return [', 'assert threading.current_thread() is '
                                                           'threading.main_thread()\n    return ['))
    exchanges = [server.start(query='0.2') for _ in range(3)]
    for exchange in exchanges:
        exchange.finish_body()
    assert {exchange.response().body.split()[0] for exchange in exchanges} == {b'1'}


def test_other_variables_pass(transport):
    """W14: SSL and other variables are passed on as they are."""
    shown = transport.serve(DUMP).request(params={'SSL_PROTOCOL': 'TLSv1.3', 'GEOIP': 'NZ', 'lower': 'x'}).json
    assert (shown['SSL_PROTOCOL'], shown['GEOIP'], shown['lower']) == ('TLSv1.3', 'NZ', 'x')


def test_settings_of_the_deployer(transport):
    """W15: --set NAME=VALUE, and it wins over what the server sends, in every request."""
    server = transport.serve(DUMP, '--set', 'SHOP_DB=/srv/db=1', '--set', 'SERVER_SOFTWARE=mine', '--set', 'EMPTY=')
    for path in ('/1', '/2'):
        shown = server.request(path=path, params={'SERVER_SOFTWARE': 'x' + path}).json
        assert (shown['SHOP_DB'], shown['SERVER_SOFTWARE'], shown['EMPTY']) == ('/srv/db=1', 'mine', '')


def test_setting_https(transport):
    """W15, W12: where a proxy in front speaks TLS the deployer says so."""
    assert transport.serve(DUMP, '--set', 'HTTPS=on').request().json['wsgi.url_scheme'] == 'https'


def test_own_keys(transport):
    """W16: what is not a CGI variable starts with wsgi. or wsgi_cgi."""
    shown = transport.serve(DUMP).request().json
    own = [k for k in shown if not re.fullmatch(r'[A-Z_0-9]+', k)]
    assert own and all(re.fullmatch(r'wsgi(_cgi)?\.[a-z0-9_]+', k) for k in own)
    assert 'wsgi_cgi.data' not in shown and shown['wsgi_cgi.role'] == 'RESPONDER'


def test_server_cannot_replace_our_keys(fcgi_unix):
    """W16: a parameter named like one of our keys stays outside."""
    server = fcgi_unix(DUMP)
    for value in ('1', '2', '2'):
        shown = server.request(params={'wsgi.input': value, 'wsgi.version': value, 'wsgi_cgi.role': value}).json
        assert 'InputStream' in shown['wsgi.input'] and shown['wsgi.version'] == '(1, 0)'
        assert shown['wsgi_cgi.role'] == 'RESPONDER'


def test_content_headers_have_bare_names(transport):
    """W18: lighttpd, nginx and Caddy send both forms; the lints accept only one."""
    shown = transport.serve(DUMP).request('POST', body=b'abc', headers={'Content-Type': 'text/x'},
                                          params=[('HTTP_CONTENT_LENGTH', '3'), ('HTTP_CONTENT_TYPE', 'text/x')]).json
    assert (shown['CONTENT_LENGTH'], shown['CONTENT_TYPE']) == ('3', 'text/x')
    assert 'HTTP_CONTENT_LENGTH' not in shown and 'HTTP_CONTENT_TYPE' not in shown


def test_proxy_header_is_dropped(transport):
    """W19: "Proxy:" must not become a proxy setting."""
    server = transport.serve('''
        import os
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(('HTTP_PROXY' in environ, 'HTTP_PROXY' in os.environ)).encode()]
    ''')
    assert server.request(headers={'Proxy': 'http://evil/'}).body == b'(False, False)'


@pytest.mark.parametrize('length', ['-1', '', ' 5', '5abc', '99999999999999999999', '+5', '0x5'])
def test_bad_content_length_is_absent(transport, length):
    """W20: Caddy sends -1 for a chunked upload."""
    server = transport.serve(DUMP)
    exchange = server.start('POST', content_length=length)
    exchange.finish_body()
    # -1 says that there is a body, whose length FastCGI finds out, and a CGI process that passes it on.
    wanted = '0' if length == '-1' and (transport.is_fcgi or transport.is_warm) else None
    assert exchange.response().json.get('CONTENT_LENGTH') == wanted


def test_transfer_encoding_beside_a_length(transport):
    """W73: nginx sets CONTENT_LENGTH and leaves HTTP_TRANSFER_ENCODING: the body is not chunked any more."""
    shown = transport.serve(DUMP).request('POST', body=b'abc', headers={'Transfer-Encoding': 'chunked'}).json
    assert shown['CONTENT_LENGTH'] == '3' and 'HTTP_TRANSFER_ENCODING' not in shown


@pytest.mark.parametrize('length', ['', '-1'])
def test_transfer_encoding_without_a_length(fcgi_server, length):
    """W73, W28: nginx without buffering, and Apache with a large body, decode it and cannot say its length: we say it.
    dulwich.web took the header for chunks to be decoded."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            seen = [environ.get(name) for name in ('HTTP_TRANSFER_ENCODING', 'CONTENT_LENGTH', 'wsgi.input_terminated')]
            return [repr(seen).encode(), environ['wsgi.input'].read()]
    ''')
    exchange = server.start('POST', headers={'Transfer-Encoding': 'chunked'}, content_length=length)
    exchange.write(b'5\r\nhello\r\n')
    exchange.finish_body()
    assert exchange.response().body == b"[None, '10', True]5\r\nhello\r\n"


SEARCH = '''
import gc
def application(environ, start_response):
    found = {key for d in gc.get_objects() if type(d) is dict and d is not environ
             for key, value in list(d.items()) if type(value) is str and value.endswith('hunter' + '2')}
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [' '.join(sorted(found)).encode()]
'''


@pytest.mark.parametrize('options', [[], ['--debug']])
def test_secrets_are_not_remembered(fcgi_unix, options):
    """environ is made from what the request before had, but of that no credentials stay in memory. (Of other
    values some do, or this test would search in the wrong place.)"""
    server = fcgi_unix(SEARCH, *options)
    secrets = {'Authorization': 'Bearer hunter2', 'Cookie': 'id=hunter2', 'Proxy-Authorization': 'Basic hunter2',
               'X-Name': 'not hunter2'}
    others = {name: 'other' for name in secrets}
    for _ in range(3):                  # the first makes the pattern for the others
        server.request(headers=secrets, params={'REDIRECT_HTTP_AUTHORIZATION': 'Bearer hunter2'})
    assert server.request().text == 'HTTP_X_NAME'
    # In a request of the same pattern, too, before its own values take their place.
    server.request(headers=secrets)
    assert server.request(headers=others).text in ('', 'HTTP_X_NAME')
    assert server.request(headers={'X-Name': 'none'}).text in ('', 'HTTP_X_NAME')
