"""What a CGI process makes of its environment: C1, C5 to C12, C25, C27."""

import json

import pytest

import fcgi
from apps import DUMP, ECHO, HELLO

# What RFC 3875 says must always be there.
REQUIRED = {'GATEWAY_INTERFACE': 'CGI/1.1', 'REMOTE_ADDR': '127.0.0.1', 'REQUEST_METHOD': 'GET',
            'SCRIPT_NAME': '/cgi-bin/app', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
            'SERVER_PROTOCOL': 'HTTP/1.1', 'SERVER_SOFTWARE': 'test'}
OPTIONAL = ('AUTH_TYPE', 'CONTENT_LENGTH', 'CONTENT_TYPE', 'PATH_INFO', 'PATH_TRANSLATED', 'QUERY_STRING',
            'REMOTE_HOST', 'REMOTE_IDENT', 'REMOTE_USER')


def body_of(finished):
    assert finished.code == 0, finished
    return finished.stdout.partition(b'\r\n\r\n')[2]


def test_missing_variables_are_the_same_as_empty_ones(run, world):
    """C1: only the required variables, and the same with every other one set to "" : the application sees no
    difference."""
    app = world.write_app(DUMP)
    missing = json.loads(body_of(run(app, env=REQUIRED)))
    empty = json.loads(body_of(run(app, env={**REQUIRED, **dict.fromkeys(OPTIONAL, '')})))
    for name in OPTIONAL:
        assert missing.get(name, '') == empty.get(name, '') == '', name
    assert missing['PATH_INFO'] == '' and missing['QUERY_STRING'] == ''
    assert missing['SCRIPT_NAME'] == '/cgi-bin/app'


def test_nothing_but_a_method(run, world):
    """C1: an environment of one variable is answered, by the application with defaults or by an error page, never by
    silence or a crash."""
    finished = run(world.write_app(DUMP), env={'REQUEST_METHOD': 'GET', 'PATH': None, 'HOME': None})
    assert finished.stdout.startswith(b'Status: ') and b'\r\n\r\n' in finished.stdout
    if finished.stdout.startswith(b'Status: 200'):
        environ = json.loads(body_of(finished))
        for name in ('SERVER_NAME', 'SERVER_PORT', 'SERVER_PROTOCOL'):
            assert environ[name], name


@pytest.mark.parametrize('spelling', ['CGI/1.1', 'CGI/01.1', 'CGI/1.01', 'CGI/1.0', 'CGI/2.10'])
def test_gateway_interface_spellings(cgi, spelling):
    """C5: the version is two numbers, however written."""
    response = cgi.serve(HELLO).request(params={'GATEWAY_INTERFACE': spelling})
    assert response.status == 200 and response.body == b'hello'


@pytest.mark.parametrize('script, info, expected', [
    ('/myscript/', 'bar', ('/myscript', '/bar')), ('/myscript/', '', ('/myscript', '/')),
    ('/myscript/', '/bar', ('/myscript', '/bar')), ('/', 'bar', ('', '/bar'))])
def test_slash_between_the_two(transport, script, info, expected):
    """C6, W7: Go's cgi.Handler, and who configures a prefix with its slash: that belongs to PATH_INFO."""
    environ = transport.serve(DUMP).request(path=info, script_name=script).json
    assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == expected


@pytest.mark.parametrize('path', ['', '/', '/a b', '/a%2Fb', '/%', '/%zz', '/a//b', '/a/../b', '/\xc3\xa9', '/\xff;p=1'])
def test_path_info_is_not_decoded_a_second_time(transport, path):
    """C6: SCRIPT_NAME and PATH_INFO arrive decoded and stay byte for byte as they are."""
    environ = transport.serve(DUMP).request(path=path, script_name='/cgi-bin/a%b').json
    assert environ['PATH_INFO'] == path
    assert environ['SCRIPT_NAME'] == '/cgi-bin/a%b'


def test_path_translated_passes_through(transport):
    """C7: PATH_TRANSLATED is there exactly when the server sent it."""
    server = transport.serve(DUMP)
    assert server.request(path='/x', params={'PATH_TRANSLATED': '/srv/www/x'}).json['PATH_TRANSLATED'] == '/srv/www/x'
    assert 'PATH_TRANSLATED' not in server.request(path='').json


def test_query_string_is_always_there(transport):
    """C8: busybox and mini_httpd leave QUERY_STRING out; the application always finds it."""
    server = transport.serve(DUMP)
    assert server.request(params={'QUERY_STRING': None}).json['QUERY_STRING'] == ''
    assert server.request(query='').json['QUERY_STRING'] == ''
    assert server.request(query='a=%20+1&b').json['QUERY_STRING'] == 'a=%20+1&b'


@pytest.mark.parametrize('method', ['GET', 'get', 'Post', 'PROPFIND', 'M-SEARCH', "!#$%&'*+.^_`|~09az"])
def test_methods_are_case_sensitive_tokens(transport, method):
    """C9: any token is a method and keeps its case."""
    assert transport.serve(DUMP).request(method).json['REQUEST_METHOD'] == method


def test_lower_case_head_is_not_head(transport):
    """C9: "head" is another method than HEAD: its body is sent."""
    assert transport.serve(HELLO).request('head').body == b'hello'


def test_headers_sent_twice_become_one(fcgi_server):
    """C10: nginx before 1.23 and HAProxy send a parameter twice. Headers are joined in order, cookies with "; "; of
    Host, Authorization and what is no header the last one counts."""
    environ = fcgi_server(DUMP).request(params=[
        ('HTTP_X_DUP', 'a'), ('HTTP_COOKIE', 'a=1'), ('HTTP_X_DUP', 'b'), ('HTTP_COOKIE', 'b=2'), ('HTTP_X_DUP', 'c'),
        ('HTTP_HOST', 'second'), ('HTTP_AUTHORIZATION', 'Basic one'), ('HTTP_AUTHORIZATION', 'Basic two'),
        ('SERVER_NAME', 'last')]).json
    assert environ['HTTP_X_DUP'] == 'a, b, c'
    assert environ['HTTP_COOKIE'] == 'a=1; b=2'
    assert environ['HTTP_HOST'] == 'second'
    assert environ['HTTP_AUTHORIZATION'] == 'Basic two'
    assert environ['SERVER_NAME'] == 'last'


def test_joined_headers_with_empty_parts(fcgi_unix):
    """C10: an empty one of two headers does not swallow the other."""
    environ = fcgi_unix(DUMP).request(params=[('HTTP_X_A', ''), ('HTTP_X_A', 'b'), ('HTTP_X_B', 'a'),
                                              ('HTTP_X_B', '')]).json
    assert [w.strip() for w in environ['HTTP_X_A'].split(',') if w.strip()] == ['b']
    assert [w.strip() for w in environ['HTTP_X_B'].split(',') if w.strip()] == ['a']


def test_authorization(transport):
    """C11: Authorization is passed on when the server gives it, also under the name Apache's rewrite rules use."""
    server = transport.serve(DUMP)
    assert server.request(headers={'Authorization': 'Basic eA=='}).json['HTTP_AUTHORIZATION'] == 'Basic eA=='
    redirected = server.request(params={'REDIRECT_HTTP_AUTHORIZATION': 'Basic eA=='}).json
    assert redirected['HTTP_AUTHORIZATION'] == 'Basic eA=='
    both = server.request(headers={'Authorization': 'Basic a'}, params={'REDIRECT_HTTP_AUTHORIZATION': 'Basic b'}).json
    assert both['HTTP_AUTHORIZATION'] == 'Basic a'
    assert 'HTTP_AUTHORIZATION' not in server.request().json


def test_chunked_upload_without_a_length(cgi):
    """C12: mod_cgid passes a chunked upload without CONTENT_LENGTH: the right bytes or a clean refusal, never an empty
    body in silence."""
    response = cgi.serve(ECHO).request('POST', headers={'Transfer-Encoding': 'chunked'}, body=b'x' * 100_000,
                                       content_length=False)
    assert (response.status, response.body) == (200, b'x' * 100_000) or response.status in (411, 501)


@pytest.mark.parametrize('method', ['POST', 'PUT'])
def test_body_without_a_word_about_it(cgi, method):
    """X7: mini_httpd hides Transfer-Encoding, and has CONTENT_LENGTH wherever the client sends it, also 0: without one the
    body is chunked, or the client wrong. It is refused: the application would see an empty body."""
    server = cgi.serve(ECHO)
    mini = {'SERVER_SOFTWARE': 'mini_httpd/1.30 26Oct2018'}
    assert server.request(method, body=b'abc', content_length=False, params=mini).status == 411
    assert server.request(method, body=b'abc', params=mini).body == b'abc'
    assert server.request(method, params={**mini, 'CONTENT_LENGTH': '0'}).status == 200
    assert server.request('GET', params=mini).status == 200
    assert server.request(method, content_length=False, params={'SERVER_SOFTWARE': 'other/1'}).status == 200


def test_length_as_a_header_only(transport):
    """X8: busybox httpd has CONTENT_LENGTH for POST alone; the body of a PUT, whose length is in HTTP_CONTENT_LENGTH, was
    taken for empty."""
    server = transport.serve(ECHO)
    response = server.request('PUT', body=b'hello', content_length=False, params={'HTTP_CONTENT_LENGTH': '5'})
    assert (response.status, response.body) == (200, b'hello')
    # Where both are there the header is but a copy, and what is no number is none.
    assert server.request('PUT', body=b'hello', params={'HTTP_CONTENT_LENGTH': '7'}).body == b'hello'
    for word in ('', '-1', '5, 5', 'x'):
        environ = transport.serve(DUMP).request(params={'HTTP_CONTENT_LENGTH': word}).json
        assert not {'CONTENT_LENGTH', 'HTTP_CONTENT_LENGTH'} & set(environ)


def test_chunked_upload_with_a_length(transport):
    """C12: where the server recomputed the length, the length counts and the coding's name is dropped."""
    server = transport.serve(ECHO)
    assert server.request('POST', headers={'Transfer-Encoding': 'chunked'}, body=b'abc').body == b'abc'


def test_long_values(cgi):
    """C25: one value of nearly the kernel's limit for one string (128 KiB), 2,000 headers, 1 MB in all."""
    headers = [('X-Long', 'v' * 130_000)] + [(f'X-{i}', 'w' * 400) for i in range(2000)]
    environ = cgi.serve(DUMP, '--limit-vars', '3000').request(headers=headers).json
    assert environ['HTTP_X_LONG'] == 'v' * 130_000
    assert all(environ[f'HTTP_X_{i}'] == 'w' * 400 for i in range(2000))


def test_long_values_over_fastcgi(fcgi_server):
    """C25: a value of 1 MB, and 10,000 headers, when --limit-head and --limit-vars admit them."""
    server = fcgi_server(DUMP, '--limit-head', '4m', '--limit-vars', '11000')
    assert server.request(headers={'X-Long': 'v' * 1_000_000}).json['HTTP_X_LONG'] == 'v' * 1_000_000
    environ = server.request(headers=[(f'X-{i}', str(i)) for i in range(10_000)]).json
    assert all(environ[f'HTTP_X_{i}'] == str(i) for i in range(10_000))


def test_head_beyond_the_limit(fcgi_server):
    """C25: the default of --limit-head is 1 MB; a larger head is answered 431, and ends its connection and nothing
    else. A buffer without a limit would be worse than one of fixed size."""
    server = fcgi_server(HELLO)
    assert server.request(headers={'X-Long': 'v' * 900_000}).status == 200
    conn = server.connect()
    # As web servers do it: all of it, before they look whether there is an answer.
    conn.send(fcgi.request_bytes(server.params('POST', headers={'X-Long': 'v' * 3_000_000}), b'body' * 1_000_000))
    assert conn.response().status == 431
    conn.wait_eof()
    assert server.request().status == 200


@pytest.mark.parametrize('length', [2 ** 32 + 3, 5 * 2 ** 30, 2 ** 63 - 1])
def test_body_lengths_above_4_gib(transport, length):
    """C25: lengths are 64-bit numbers: three bytes of such a body are not the whole of it."""
    server = transport.serve(ECHO)
    server.allow_log('.')
    exchange = server.start('POST', content_length=length)
    exchange.write(b'abc')
    exchange.finish_body()
    response = exchange.response()
    assert response.status == 502 and response.body == b'OSError'


def test_response_head_of_any_size(transport):
    """C25: a header of 1 MB and 10,000 headers from the application."""
    server = transport.serve('''
        def application(environ, start_response):
            many = [('X-%d' % i, str(i)) for i in range(10000)] if environ['PATH_INFO'] == '/many' else []
            long = [('X-Long', 'v' * 1000000)] if environ['PATH_INFO'] == '/long' else []
            start_response('200 OK', [('Content-Type', 'text/plain')] + many + long)
            return [b'x']
    ''')
    assert server.request(path='/long').header('X-Long') == 'v' * 1_000_000
    many = server.request(path='/many')
    assert many.headers[1:10_001] == [(f'X-{i}', str(i)) for i in range(10_000)] and many.body == b'x'


def test_httpoxy(transport):
    """C27: a header "Proxy" reaches neither the environ nor, in CGI, the process environment (CVE-2016-5385)."""
    server = transport.serve('''
        import os, subprocess
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            child = subprocess.run(['env'], stdout=subprocess.PIPE).stdout
            return [repr(('HTTP_PROXY' in environ, 'HTTP_PROXY' in os.environ, b'HTTP_PROXY' in child)).encode()]
    ''')
    assert server.request(headers={'Proxy': 'http://evil:8080'}).body == b'(False, False, False)'


def test_the_process_environment_stays_as_it_is(fcgi_server):
    """C27: nothing of a request is exported to children or visible to the next request."""
    server = fcgi_server('''
        import os, subprocess, json
        at_start = dict(os.environ)
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            child = subprocess.run(['env'], stdout=subprocess.PIPE).stdout.decode('latin-1')
            return [json.dumps([at_start == dict(os.environ), child]).encode()]
    ''', env={'KEPT': 'yes'})
    for secret in ('one', 'two'):
        same, child = server.request(headers={'Authorization': secret}, query='secret=' + secret).json
        assert same and 'KEPT=yes' in child
        for word in ('REQUEST_METHOD', 'HTTP_', 'QUERY_STRING', 'secret', 'PATH_INFO'):
            assert word not in child, child


# What servers send for GET http://localhost:8080/mnt/a%20b//%C3%A9?x=1%20&y when the application lives at /mnt.
SPLITS = {
    'right': ('/mnt', '/a b//\xc3\xa9'),
    'all in SCRIPT_NAME': ('/mnt/a b//\xc3\xa9', None),
    'all in PATH_INFO': ('', '/mnt/a b//\xc3\xa9'),
}


@pytest.mark.parametrize('port', [80, 8080])
@pytest.mark.parametrize('host', [True, False], ids=['Host', 'no Host'])
@pytest.mark.parametrize('split', SPLITS)
def test_url_reconstruction(transport, split, host, port):
    """W76: the algorithm of PEP 3333 gives the URL that was asked for, however the server splits the path (nginx and
    HAProxy: all in SCRIPT_NAME; Caddy: all in PATH_INFO), with --mount."""
    server = transport.serve('''
        from urllib.parse import quote
        def application(environ, start_response):
            url = environ['wsgi.url_scheme'] + '://'
            if environ.get('HTTP_HOST'):
                url += environ['HTTP_HOST']
            else:
                url += environ['SERVER_NAME']
                if environ['SERVER_PORT'] != {'https': '443', 'http': '80'}[environ['wsgi.url_scheme']]:
                    url += ':' + environ['SERVER_PORT']
            url += quote(environ.get('SCRIPT_NAME', ''), encoding='latin-1')
            url += quote(environ.get('PATH_INFO', ''), encoding='latin-1')
            if environ.get('QUERY_STRING'):
                url += '?' + environ['QUERY_STRING']
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr((url, environ['SCRIPT_NAME'])).encode('latin-1')]
    ''', '--mount=/mnt')
    name, path = SPLITS[split]
    at = 'localhost' if port == 80 else f'localhost:{port}'
    response = server.request(path=path or '', script_name=name, query='x=1%20&y', params={
        'SERVER_PORT': str(port), 'HTTP_HOST': at if host else None, 'PATH_INFO': path,
        'REQUEST_URI': '/mnt/a%20b//%C3%A9?x=1%20&y'})
    assert eval(response.body) == (f'http://{at}/mnt/a%20b//%C3%A9?x=1%20&y', '/mnt')


def test_url_scheme_in_the_reconstruction(transport):
    """W76: behind TLS the default port is 443."""
    server = transport.serve(DUMP)
    environ = server.request(params={'HTTPS': 'on', 'SERVER_PORT': '443'}).json
    assert environ['wsgi.url_scheme'] == 'https' and environ['SERVER_PORT'] == '443'
