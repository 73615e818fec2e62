"""Every option: what a wrong value is told, and what a right one does. Addresses are in test_bind.py, times in
test_timeouts.py, modes in test_modes.py."""

import grp
import os
import pwd
import re
import shutil
import signal
import subprocess

import pytest

import fcgi
from apps import DUMP, ECHO, HELLO
from fcgi import STDIN, wait_for
from harness import FcgiServer
from settings import FREE_THREADED
from test_venv import embedded_python

GET = {'REQUEST_METHOD': 'GET', 'GATEWAY_INTERFACE': 'CGI/1.1', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
       'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': ''}

NUMBERS = ['', '0', '-1', '+1', ' 1', '1 ', '1.5', '0x10', 'x', '1k', '99999999999999999999']
SIZES = ['', '-1', '1.5m', '1kb', '1KB', '1MiB', 'k', 'K', '1T', '1 k', ' 1k', '1t', '18446744073709551616',
         '99999999999g']
TIMES = ['', '-1', '1.5s', '1h', 's', '1 s', ' 1s', '1sec', '1sm', '99999999999999999999', '99999999m']

WRONG = {
    '--threads': NUMBERS + ['100000', 'Auto', '1-auto', 'auto '], '--backlog': NUMBERS,
    '--limit-head': SIZES + ['1', '100g'], '--limit-vars': NUMBERS + ['15', '1000001'], '--limit-body': SIZES,
    '--max-memory': SIZES,
    '--processes': [n for n in NUMBERS if n] + ['', '257', '4-2', '0-0', '-3', '3-', 'a-b', '1-257', '1-2-3', '1 - 2', 'auto-2',
                                                '0-', '-', '+0-2', 'Auto'],
    '--idle-timeout': TIMES + ['0'], '--exit-idle': TIMES,
    '--head-timeout': TIMES + ['0'], '--body-timeout': TIMES + ['0'], '--write-timeout': TIMES + ['0'],
    '--keepalive-timeout': TIMES, '--queue-timeout': TIMES,
    '--socket-mode': ['', '8', '1000', '0999', '-1', 'rw', '0x1ff', '660 '],
    '--umask': ['', '8', '1000', '-1', 'u=rwx', '0x1ff', '22 '], '--user': [''], '--group': [''], '--pid-file': [''],
    '--mode': ['', 'php', 'CGI'], '--errors-to': ['', 'syslog', 'AUTO'],
    '--mount': ['app', 'http://x/', ' /a'], '--set': ['', 'A', '=b'],
    '--env': ['', 'A', '=b', 'WSGI_CGI_OPTIONS=--debug', 'FCGI_WEB_SERVER_ADDRS=127.0.0.1', 'LISTEN_FDS=1',
              'LISTEN_PID=1', 'LISTEN_FDNAMES=a', 'NOTIFY_SOCKET=/s', 'WATCHDOG_USEC=1', 'WATCHDOG_PID=1'],
    '--bind': ['', 'unix:', 'localhost', '127.0.0.1', '127.0.0.1:', '127.0.0.1:x', '127.0.0.1:65536', '127.0.0.1:-1',
               '::1:80', '[::1]', '[::1', '[zz]:80', 'relative/path', ':', '1.2.3:80', 'no such host:80'],
    '--allow': ['', '300.0.0.1', '10.0.0.0/33', '10.0.0.0/', '10.0.0.0/x', '::/129', 'localhost,', ',', '10.0.0.0/-1',
                'example.com', '[::1'],
    '--socket-owner': ['', ':', 'no-such-user-here', 'root:no-such-group-here', 'a:b:c'],
}


@pytest.mark.parametrize('option, value', [(option, value) for option, values in WRONG.items() for value in values])
def test_wrong_value(run, world, option, value):
    """P11: one line that says which option, what was read and what is allowed; exit 64."""
    args = [f'{option}={value}']
    if option == '--allow':
        args += ['--bind', '127.0.0.1:0']
    if option == '--socket-owner':
        args += ['--bind', f'unix:{world.new_path("sock")}']
    finished = run(*args, world.write_app(HELLO))
    assert finished.code == 64, finished
    assert finished.stdout == b''
    line, = finished.stderr.splitlines()
    assert line.startswith('wsgi-cgi'), line
    assert option in line or (value and value in line), line
    assert value in line, 'does not say what was read: ' + line
    # What is allowed: at least a few words beside the option and its value.
    rest = line.replace(option, '')
    assert len(re.findall(r'[A-Za-z0-9]+', rest.partition(':')[2])) >= 3, line


@pytest.mark.parametrize('option', list(WRONG))
def test_missing_value(run, option):
    """An option as the last word, without its value."""
    finished = run(option)
    assert finished.code == 64 and option in finished.stderr and len(finished.stderr.splitlines()) == 1


ADDRESSES = 'HOST:PORT, [IPV6]:PORT or :PORT (loopback), where HOST is an IPv4 address or localhost'


@pytest.mark.parametrize('option', ['--bind', '--control', '--ping', '--status', '--request'])
@pytest.mark.parametrize('value, hint', [
    (None, ''), ('9000', '; for a port of this machine write :PORT'), ('localhost', '; the port is missing'),
    ('::1:9000', '; IPv6 addresses need brackets'), ('example.com:9000', '; names of hosts are not looked up'),
    ('127.0.0.1', '; the port is missing'), ('', ''), ('unix:', ''),
    ('run/sock', '; the path of a socket starts with /, as in $PWD/run/sock'),
    ('app.sock', '; the path of a socket starts with /, as in $PWD/app.sock'),
    ('unix:app.sock', '; the path of a socket starts with /, as in $PWD/app.sock'),
    (':80x', '; PORT is a number from 1 to 65535'), (':99999', '; PORT is a number from 1 to 65535'),
    ('127.0.0.1:', '; PORT is a number from 1 to 65535'), ('[::1]:http', '; PORT is a number from 1 to 65535'),
    ('*:9000', '; for all addresses of this machine write 0.0.0.0:PORT'),
    ('http://127.0.0.1:8000', '; write it without http://: the socket speaks FastCGI, not HTTP'),
    ('HTTPS://example.com/', '; write it without HTTPS://: the socket speaks FastCGI, not HTTP'),
    ('tcp://127.0.0.1:9000', '; write it without tcp://'), ('fcgi://localhost:9000', '; write it without fcgi://'),
    ('tcp4://[::1]:9000', '; write it without tcp4://'), ('uds://run/sock', '; write it without uds://'),
])
def test_addresses_that_are_none(run, world, option, value, hint):
    """P11: every option that takes an address says the same of it, localhost too, and what was probably meant."""
    args = {'--control': ['--bind', '127.0.0.1:0']}.get(option, [])
    after = {'--bind': ['app.py'], '--control': ['app.py'], '--request': ['GET', '/']}.get(option, [])
    world.write_app(HELLO)
    finished = run(*args, option, *([value, *after] if value else []))
    said, = finished.stderr.splitlines()
    assert finished.code == 64 and option in said and said.endswith(ADDRESSES + hint), finished


@pytest.mark.parametrize('option, meant', [
    (['--timeout', '30'], '--request-timeout'), (['--json'], '--log-format json'), (['-H', '/srv/venv'], '--set'),
    (['--data-file', 'f'], '--limit-body')])
@pytest.mark.parametrize('mode', ['bind', 'check', 'cgi'])
def test_options_that_only_ask(world, mode, option, meant):
    """P11: what would do nothing while serving is an error, and the line names what was meant."""
    before = {'bind': ['--bind', str(world.new_path('sock'))], 'check': ['--check'], 'cgi': []}[mode]
    finished = world.run(*before, *option, world.write_app(HELLO), env=GET if mode == 'cgi' else {})
    line, = finished.stderr.splitlines()
    assert finished.code == 64 and 'it is only for --' in line and f' use {meant}' in line, finished
    assert mode != 'cgi' or finished.stdout.startswith(b'Status: 500 ')


@pytest.mark.parametrize('option', ['--no-such-option', '--thread', '--threadss', '-x', '-', '--debug=1', '--help=x',
                                    '--=x'])
def test_unknown_option(run, option):
    """Unknown and abbreviated options are named; no option takes a value it has no use for."""
    finished = run(option, 'app.py')
    assert finished.code == 64 and len(finished.stderr.splitlines()) == 1 and finished.stdout == b''
    assert option.partition('=')[0] in finished.stderr


@pytest.mark.parametrize('option, meant', [
    ('--workers', ': use --processes; see'), ('--virtualenv', ': use --venv; see'), ('--uid', ': use --user; see'),
    ('--harakiri', ': use --request-timeout; see'), ('--pythonpath', ': use --python-path; see'),
    ('--socket', ': use --bind; see'), ('--thread', ': did you mean --threads? See'),
    ('-bind', ': did you mean --bind? See'),
])
@pytest.mark.parametrize('where', ['', 'in WSGI_CGI_OPTIONS: '])
def test_unknown_option_that_was_meant(run, where, option, meant):
    """P11: what other programs call it, and what was misspelled, is answered with the name it has here."""
    finished = run('app.py', env={'WSGI_CGI_OPTIONS': f'{option}=1'}) if where else run(option, '1', 'app.py')
    assert finished.code == 64 and finished.stderr.endswith(
        f': error: {where}unknown option "{option}"{meant} wsgi-cgi --help\n'), finished


@pytest.mark.parametrize('words', [['--threads=2'], ['--threads', '2'], ['-t2'], ['-t', '2'],
                                   ['--threads=3', '--threads=2']])
def test_spellings(fcgi_unix, words):
    """--name=value, --name value, -nvalue, -n value; the last one counts."""
    server = fcgi_unix(HELLO, *words)
    assert server.connect().get_values('FCGI_MAX_REQS') == [(b'FCGI_MAX_REQS', b'2')]


@pytest.mark.parametrize('size, limit', [('2048', 2048), ('2k', 2048), ('2K', 2048), ('1m', 1 << 20), ('1M', 1 << 20),
                                         ('0', None)])
def test_sizes(fcgi_unix, size, limit):
    """Sizes are bytes, or K, M, G in powers of 1024, in either case. --limit-body: 413 without a call of the
    application; a body of just that size is served; 0 is no limit."""
    server = fcgi_unix(ECHO, '--limit-body', size)
    server.allow_log('413|limit|large|body')
    conn = server.connect()
    body = b'x' * (limit or 3_000_000)
    assert conn.request(server.params('POST', body=body), body, keep=True).body == body
    if limit:
        body += b'x'
        response = server.request('POST', body=body)
        assert response.status == 413 and b'xxxx' not in response.body


def test_limit_body_over_every_transport(transport):
    """--limit-body: 413 and the application is not called, with a length and, over FastCGI, without one."""
    server = transport.serve('''
        calls = []
        def application(environ, start_response):
            calls.append(1)
            try:
                body = environ['wsgi.input'].read()
            except OSError:
                body = b'OSError'
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d %d' % (len(calls), len(body))]
    ''', '--limit-body', '1k')
    server.allow_log('413|limit|large|body')
    assert server.request('POST', body=b'x' * 1024).body == b'1 1024'
    response = server.request('POST', body=b'x' * 1025)
    assert response.status == 413 and response.complete and response.header('Content-Type')
    if transport.is_fcgi:
        assert server.request('POST', body=b'x').body == b'2 1'
        unknown = server.request('POST', body=b'x' * 100_000, content_length=False)
        # The length comes out only while reading: refused, or an error in read(), never all of it.
        assert unknown.status == 413 or unknown.body == b'3 7', unknown


@pytest.mark.parametrize('length', [True, False])
@pytest.mark.parametrize('given, limit, text', [('1k', 1024, '1 KiB'), ('1500', 1500, '1500 bytes')])
def test_limit_of_a_body_is_told(transport, given, limit, text, length):
    """P11, --limit-body: the page says how much this server takes, the log names the option and the size."""
    if not length and not transport.is_fcgi:
        pytest.skip('CGI has no end of a body without a length')
    server = transport.serve('''
        def application(environ, start_response):
            environ['wsgi.input'].read()
            start_response('200 OK', [])
            return [b'read']
    ''', '--limit-body', given)
    response = server.request('POST', '/up', body=b'x' * (limit + 1), content_length=None if length else False)
    assert response.status == 413
    page = response.body.decode().replace('&#39;', "'")
    assert f"The request's body is larger than this server takes (at most {text})." in page, page
    size = fr'the body of {limit + 1} bytes' if length else 'the body'
    server.expect_log(fr'\[\w{{12}}\] POST /up: 413: {size} is larger than --limit-body \({text}\)')


@pytest.mark.parametrize('mount, script, info, reason', [
    ('/shop', '', '/cart', r'the path "" \+ "/cart" \(SCRIPT_NAME and PATH_INFO\) is outside --mount /shop'),
    ('/shop', '/shopping', '/x', r'the path "/shopping" \+ "/x" \(SCRIPT_NAME and PATH_INFO\) is outside --mount /shop'),
    (None, '/app', 'le/x', r'the path "/app" \+ "le/x" \(SCRIPT_NAME and PATH_INFO\) is cut in the middle of a name'),
])
def test_path_that_is_not_ours_is_told(transport, mount, script, info, reason):
    """P11: a 404 of our own says in the log which path came and what was expected; not for each request."""
    server = transport.serve(HELLO, *(['--mount', mount] if mount else []))
    for i in range(3):
        response = server.request('GET', script + info, params={'SCRIPT_NAME': script, 'PATH_INFO': info})
        assert response.status == 404 and b'There is no application at this path.' in response.body
    server.expect_log(fr'GET {script}{info}: 404: {reason}: --doctor shows what the web server sends')
    if transport.is_fcgi:
        wait_for(lambda: ': 404: ' in server.logged, 5, 'the line')
        assert server.logged.count(': 404: ') == 1


def test_no_method_is_told(fcgi_server):
    """P11: nginx without "include fastcgi_params"."""
    server = fcgi_server(HELLO)
    conn = server.connect()
    response = conn.request([('SCRIPT_FILENAME', '/srv/app.py')], keep=False)
    assert response.status == 400 and b'sent no REQUEST_METHOD' in response.body
    server.expect_log(r'400: the web server sent no REQUEST_METHOD: .*include fastcgi_params')


def test_limit_body_on_a_kept_connection(fcgi_server):
    """--limit-body: what was refused does not become the next request."""
    server = fcgi_server(ECHO, '--limit-body', '1k')
    server.allow_log('413|limit|large|body')
    conn = server.connect()
    response = conn.request(server.params('POST', body=b'x' * 5000), b'x' * 5000, keep=True)
    assert response.status == 413
    if not conn.eof:
        assert conn.request(server.params('POST', body=b'ok'), b'ok', keep=True).body == b'ok'


def test_limit_head(fcgi_server):
    """--limit-head: a head within it is served, one beyond it is answered 431, and its connection ends."""
    server = fcgi_server(HELLO, '--limit-head', '4k')
    assert server.request(headers={'X-A': 'v' * 3000}).status == 200
    page = b"The request's headers are larger than this server takes (at most 4 KiB)."
    for method in ('GET', 'HEAD'):
        conn = server.connect()
        # What tells it from others comes first, and the body last, as servers do it.
        head = fcgi.head(server.params(method, path='/large', headers={'X-A': 'v' * 5000}), keep=True)
        conn.send(head[:-8])            # its end is not waited for
        response = conn.response()
        assert (response.status, response.complete) == (431, True)
        assert (page in response.body.replace(b'&#39;', b"'")) == (method == 'GET')
        assert re.search(fr'\[\w+\] {method} /large: 431: .*--limit-head \(4 KiB\)', response.stderr.decode())
        conn.send(head[-8:] + fcgi.stream(STDIN, 1, b''))
        conn.wait_eof()
    assert server.request().status == 200


def test_limit_vars(transport, tmp_path):
    """--limit-vars: more variables are answered 431, in a line of the log as well."""
    log = tmp_path / 'access'
    server = transport.serve(HELLO, '--limit-vars', '200', '--access-log', log)
    assert server.request(headers=[(f'X-{i}', '') for i in range(100)]).status == 200
    for method in ('GET', 'HEAD'):
        response = server.request(method, path='/many', headers=[(f'X-{i}', '') for i in range(201)])
        assert (response.status, response.complete, response.exit_code or 0) == (431, True, 0)
        assert (b'more headers than this server takes' in response.body) == (method == 'GET')
        assert re.search(fr'\[\w+\] {method} /many: 431: .*--limit-vars', response.stderr.decode()), response
    wait_for(lambda: log.read_text().count('\n') == 3, 5, 'three lines')
    assert re.findall(r'"(\w+ /\S*) HTTP/1.1" (\d+)', log.read_text()) == [
        ('GET /', '200'), ('GET /many', '431'), ('HEAD /many', '431')]


def test_limit_vars_counts_each(fcgi_server):
    """--limit-vars: repeated ones as well; just as many are served, and the next request of the connection is."""
    server = fcgi_server(HELLO, '--limit-vars', '100')
    conn = server.connect()
    params = server.params()
    for extra, status in ((0, 200), (1, 431), (0, 200), (5000, 431), (0, 200)):
        more = [('HTTP_X_A', 'v')] * (100 + extra - len(params))
        assert conn.request(params + more, keep=True).status == status


# --- the application ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('source, options, body', [
    ('application = f\napp = g\n', [], b'f'), ('app = g\n', [], b'g'), ('', ['--callable', 'g'], b'g'),
    ('application = f\n', ['--callable', 'g'], b'g'), ('class k: a = staticmethod(g)\n', ['--callable', 'k.a'], b'g'),
], ids=['application', 'app', 'callable', 'callable wins', 'dotted'])
def test_callable(transport, source, options, body):
    """--callable names the callable; else application, else app."""
    server = transport.serve('''
def f(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'f']
def g(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'g']
''' + source, *options)
    assert server.request().body == body


@pytest.mark.parametrize('name', ['shop', 'shop:application', 'shop:make()', 'shop.wsgi', 'shop.wsgi:application',
                                  "shop:make('x')", 'shop:make(name="x")'])
def test_module_names(transport, world, name):
    """APP as gunicorn writes it: MODULE, MODULE:CALLABLE, MODULE:FACTORY(), found by --python-path."""
    package = world.tmp_path / 'lib' / 'shop'
    package.mkdir(parents=True)
    source = HELLO + 'def make(name=None):\n    return application\n'
    (package / '__init__.py').write_text(source)
    (package / 'wsgi.py').write_text(source)
    server = transport.serve(name, '--python-path', str(world.tmp_path / 'lib'))
    server.allow_log('argument|factory|FACTORY')
    response = server.request()
    # Arguments of a factory are gunicorn's; a clear refusal is right too.
    if '(' in name and name[-2] != '(' and response.status == 500:
        pytest.skip('factory arguments are not part of the interface')
    assert response.body == b'hello'


def test_python_path(transport, world):
    """--python-path: first on sys.path, in the order given, before the script's own folder or behind it."""
    for word in ('one', 'two'):
        (world.tmp_path / word).mkdir()
        (world.tmp_path / word / 'which.py').write_text(f'name = {word!r}')
    server = transport.serve('''
        import sys, which
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [which.name.encode(), b' ', chr(10).join(sys.path).encode()]
    ''', '--python-path', str(world.tmp_path / 'one'), '--python-path', str(world.tmp_path / 'two'))
    body = server.request().text
    assert body.startswith('one ')
    paths = body[4:].split('\n')
    assert paths.index(str(world.tmp_path / 'one')) < paths.index(str(world.tmp_path / 'two')) < 4


def test_chdir(transport, world):
    """--chdir: the working directory of the application, and what relative names start from."""
    folder = world.tmp_path / 'folder'
    folder.mkdir()
    server = transport.serve('''
        import os
        at_import = os.getcwd()
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr((at_import, os.getcwd())).encode()]
    ''', '--chdir', str(folder))
    assert server.request().body == repr((str(folder), str(folder))).encode()


def test_chdir_to_nowhere(run, world):
    """--chdir: a folder that is not there is said at start."""
    finished = run('--chdir', '/no/such/folder', world.write_app(HELLO), env=GET)
    assert '/no/such/folder' in finished.stderr
    assert finished.code in (64, 66, 71, 78), finished


def test_set(transport):
    """--set NAME=VALUE, W15: in every environ, as text; the request's own variables cannot be replaced by a client."""
    server = transport.serve(DUMP, '--set', 'shop.mode=test', '--set=UTF=\u00e9', '--set', 'EMPTY=', '--set', 'E=a=b')
    for _ in range(2):
        environ = server.request(headers={'Shop.mode': 'x'}).json
        assert environ['shop.mode'] == 'test' and environ['EMPTY'] == '' and environ['E'] == 'a=b'
        assert environ['UTF'].encode('latin-1') == '\u00e9'.encode()


def test_mount(transport):
    """--mount: whole path = SCRIPT_NAME + PATH_INFO as sent, split at the mount (real servers: servers/test_matrix.py)."""
    server = transport.serve(DUMP, '--mount=/app')
    for sent in (('/app', '/x'), ('', '/app/x'), ('/app/x', '')):
        environ = server.request(path=sent[1], script_name=sent[0]).json
        assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == ('/app', '/x'), sent
    environ = server.request(path='', script_name='/app').json
    assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == ('/app', '')


def test_mount_at_a_boundary_only(transport):
    """--mount: "/app" is not the beginning of "/apple"; "/" is the root."""
    server = transport.serve(DUMP, '--mount=/app')
    response = server.request(path='/apple')
    assert response.status in (404, 400, 500) or response.json['SCRIPT_NAME'] != '/app'
    root = transport.serve(DUMP, '--mount=/')
    environ = root.request(path='', script_name='/x/y').json
    assert (environ['SCRIPT_NAME'], environ['PATH_INFO']) == ('', '/x/y')


def test_scripts_in(transport, world):
    """--scripts-in: without APP the request names the script, if it is below the folder: several applications in one
    process."""
    folder = world.tmp_path / 'scripts'
    (folder / 'sub').mkdir(parents=True)
    for word in ('one', 'two', 'sub/three'):
        (folder / f'{word}.py').write_text(HELLO.replace('hello', word))
    outside = world.tmp_path / 'outside.py'
    outside.write_text(HELLO.replace('hello', 'outside'))
    (folder / 'link.py').symlink_to(outside)
    server = transport.serve_scripts('--scripts-in', str(folder))
    server.allow_log('script|SCRIPT_FILENAME|below|outside|not found|found|escap')
    for word in ('one', 'two', 'sub/three', 'one'):
        assert server.request(script_filename=str(folder / f'{word}.py')).body == word.encode()
    for wrong in (str(outside), f'{folder}/../outside.py', f'{folder}/missing.py', str(folder), f'{folder}/link.py',
                  '/etc/passwd', '', 'one.py', f'{folder}x/one.py'):
        response = server.request(script_filename=wrong or None, params=None)
        assert response.status in (403, 404, 500) and b'outside' not in response.body, wrong
    assert server.request(script_filename=str(folder / 'two.py')).body == b'two'


# --- errors ---------------------------------------------------------------------------------------------------------

BROKEN = '''
def application(environ, start_response):
    secret = 'local <value>'
    raise ValueError('boom')
'''


def test_debug_shows_the_traceback(transport):
    """--debug: the 500 page has the traceback, as HTML, escaped; without it the page says nothing of it."""
    server = transport.serve(BROKEN, '--debug')
    server.expect_log('ValueError: boom')
    server.allow_log('error:')
    response = server.request()
    assert response.status == 500 and response.header('Content-Type').startswith('text/html')
    assert 'ValueError' in response.text and 'boom' in response.text and 'raise ValueError' in response.text
    assert '<value>' not in response.text
    plain = transport.serve(BROKEN)
    plain.expect_log('ValueError: boom')
    plain.allow_log('error:')
    assert 'boom' not in plain.request().text


@pytest.mark.parametrize('to', ['auto', 'server', 'stderr'])
def test_errors_to(fcgi_server, to):
    """--errors-to: FCGI_STDERR of the request (server, and auto), or the process' own stderr."""
    server = fcgi_server('''
        def application(environ, start_response):
            environ['wsgi.errors'].write('a note\\n')
            raise ValueError('boom')
    ''', '--errors-to', to)
    server.expect_log('ValueError: boom')
    server.allow_log('error:')
    response = server.request()
    server.wait_log('a note')
    for text in (b'a note\n', b'ValueError: boom'):
        assert (text in response.stderr) == (to != 'stderr')


def test_errors_to_auto_behind_haproxy(fcgi_server):
    """--errors-to auto: HAProxy crashes on FCGI_STDERR records, so behind it everything goes to stderr."""
    server = fcgi_server('''
        def application(environ, start_response):
            environ['wsgi.errors'].write('a note\\n')
            print('a print')
            start_response('200 OK', [])
            return [b'x']
    ''')
    response = server.request(params={'SERVER_SOFTWARE': 'HAProxy 2.6.12'})
    assert not [r for r in response.records if r.type == fcgi.STDERR]
    server.wait_log('a note')
    server.wait_log('a print')


# --- questions ------------------------------------------------------------------------------------------------------

def test_check_of_a_good_application(run, world):
    """P11, --check: loads, reports, exits 0; nothing is served."""
    finished = run('--check', world.write_app(HELLO))
    assert finished.code == 0 and not finished.stdout.startswith(b'Status')
    assert finished.stdout or finished.stderr


@pytest.mark.parametrize('source, word', [
    ('def application(:\n', 'SyntaxError'), ('import no_such_module\n', 'no_such_module'),
    ('application = 3\n', 'callable'), ('x = 1\n', 'application'), ('raise SystemExit(0)\n', 'SystemExit'),
    ('raise ValueError("boom")\n', 'boom'),
])
def test_check_of_a_broken_one(run, world, source, word):
    """P11, --check: says what is wrong, exits 70."""
    finished = run('--check', world.write_app(source))
    assert finished.code == 70 and word in finished.stderr, finished


ENDLESS = 'import threading\nthreading.Thread(target=threading.Event().wait).start()\n'


@pytest.mark.parametrize('source, code, word', [
    (ENDLESS + HELLO, 0, 'left open'), (ENDLESS + 'raise ValueError("boom")\n', 70, 'boom'),
    ('import atexit, time\natexit.register(time.sleep, 3600)\n' + HELLO, 0, 'left behind'),
    ('import atexit, time\natexit.register(time.sleep, 3600)\n1/0\n', 70, 'left behind'),
], ids=['thread', 'broken with a thread', 'atexit', 'broken with atexit'])
def test_check_of_one_that_does_not_end(run, world, source, code, word):
    """--check: ends when the application is loaded, or is known not to be: threads that it has started do not keep it,
    functions of atexit not for long. What was printed is not lost."""
    finished = run('--check', world.write_app('import sys\nsys.stderr.write("left open")\n' + source))
    assert finished.code == code and word in finished.stderr, finished
    assert (b' loads with Python ' in finished.stdout) is (code == 0)


def test_check_of_a_missing_one(run):
    """P11, --check: a file that is not there is 66 as without it."""
    finished = run('--check', '/no/such/app.py')
    assert finished.code == 66 and '/no/such/app.py' in finished.stderr


# --- virtual environments -------------------------------------------------------------------------------------------

def program_version(run):
    """The Python version the program embeds: the first 3.x in --version."""
    return re.search(rb'3\.\d+', run('--version').stdout)[0].decode()


@pytest.fixture
def environment(world):
    """A virtual environment of the program's own Python version with a module in it."""
    folder = world.tmp_path / 'venv'
    subprocess.run([embedded_python(), '-m', 'venv', '--without-pip', folder], check=True)
    [site] = folder.glob('lib/python3.*/site-packages')
    (site / 'only_here.py').write_text('name = "from the venv"')
    return folder


IN_VENV = '''
import sys, only_here
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((only_here.name, sys.prefix, sys.prefix != sys.base_prefix, sys.executable)).encode()]
'''


def test_venv(transport, environment):
    """--venv: the interpreter believes to be the environment's python."""
    server = transport.serve(IN_VENV, '--venv', str(environment))
    name, prefix, inside, executable = eval(server.request().body)
    assert name == 'from the venv' and prefix == str(environment) and inside
    assert executable == str(environment / 'bin/python') or executable.startswith(str(environment / 'bin'))


def broken_venv(environment, how):
    if how == 'missing':
        return environment / 'no-such'
    if how == 'no venv':
        (environment / 'plain').mkdir()
        return environment / 'plain'
    if how == 'a file':
        return environment / 'pyvenv.cfg'
    config = environment / 'pyvenv.cfg'
    text = config.read_text()
    if how == 'other version':
        config.write_text(re.sub(r'3\.\d+(\.\d+)?', '3.2.1', text))
        lib, = (environment / 'lib').iterdir()
        lib.rename(environment / 'lib' / 'python3.2')
    return environment


def one_sentence(finished, path):
    """One line about `path`; CGI may have the id of its 500 page in a second one."""
    assert 'encodings' not in finished.stderr and 'Traceback' not in finished.stderr
    lines = finished.stderr.strip().splitlines()
    assert len([line for line in lines if str(path) in line]) == 1, finished
    assert len(lines) <= (2 if finished.stdout else 1), finished
    assert not finished.stdout or finished.stdout.startswith(b'Status: 500 ')


@pytest.mark.parametrize('how', ['missing', 'no venv', 'a file', 'other version'])
@pytest.mark.parametrize('mode', ['cgi', 'check', 'bind'])
def test_broken_venv(run, world, environment, how, mode):
    """P11: one plain sentence, exit 78, and never "No module named 'encodings'"."""
    path = broken_venv(environment, how)
    args = {'cgi': [], 'check': ['--check'], 'bind': ['--bind', f'unix:{world.new_path("sock")}']}[mode]
    finished = run(*args, '--venv', str(path), world.write_app(HELLO), env=GET if mode == 'cgi' else None)
    assert finished.code == 78, finished
    one_sentence(finished, path)
    if how == 'other version':
        assert '3.2' in finished.stderr and program_version(run) in finished.stderr


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become another user to meet an unreadable folder')
def test_unreadable_venv(run, world, environment):
    """P11: a virtual environment this user may not read: one sentence."""
    public = world.run_dir
    os.chmod(public, 0o755)
    moved = public / 'venv'
    shutil.move(environment, moved)
    app = public / 'app.py'
    app.write_text(HELLO)
    os.chmod(moved, 0o700)
    finished = run('--venv', str(moved), app, env={**GET, 'HOME': '/'}, cwd='/', user=65534, group=65534,
                   extra_groups=[])
    assert finished.code == 78, finished
    one_sentence(finished, moved)


def test_socket_owner_and_mode(world):
    """--socket-owner, --socket-mode: of the sockets the program makes; 0660 by default (P10)."""
    path, plain = world.new_path('sock'), world.new_path('sock')
    options = ['--bind', f'unix:{path}', '--socket-mode', '0604']
    if os.getuid() == 0:
        user, group = pwd.getpwnam('nobody'), grp.getgrgid(pwd.getpwnam('nobody').pw_gid)
        options += ['--socket-owner', f'nobody:{group.gr_name}']
    process = world.spawn(*options, world.write_app(HELLO))
    FcgiServer(world, process, str(path)).ready()
    status = path.stat()
    assert status.st_mode & 0o7777 == 0o604
    if os.getuid() == 0:
        assert (status.st_uid, status.st_gid) == (user.pw_uid, group.gr_gid)
    other = world.spawn('--bind', f'unix:{plain}', world.write_app(HELLO))
    FcgiServer(world, other, str(plain)).ready()
    assert plain.stat().st_mode & 0o7777 == 0o660


def run_as_nobody(world, *args):
    """The program as a user without rights, in a folder where that user may make sockets."""
    folder = world.run_dir / 'nobody'
    folder.mkdir()
    folder.chmod(0o777)
    world.run_dir.chmod(0o755)
    app = folder / 'app.py'
    app.write_text(HELLO)
    user = {'user': 65534, 'group': 65534, 'extra_groups': []} if os.getuid() == 0 else {}
    return folder, world.run(*(word.format(folder=folder) for word in args), app, env={'HOME': '/'}, cwd='/', **user)


@pytest.mark.parametrize('owner', ['root', ':root', 'root:root'])
@pytest.mark.parametrize('sockets', [['--bind', 'unix:{folder}/sock'],
                                     ['--bind', '127.0.0.1:0', '--control', 'unix:{folder}/sock']])
def test_socket_owner_that_only_root_can_give(world, sockets, owner):
    """P10: a lack of permission is 77, and the line names option, owner and socket; nothing is left."""
    folder, finished = run_as_nobody(world, *sockets, '--socket-owner', owner)
    line, = finished.stderr.splitlines()
    assert finished.code == 77 and f'--socket-owner: {owner}: the socket {folder}/sock cannot be given' in line, line
    assert 'only root can give it to another user' in line
    assert [path.name for path in folder.iterdir()] == ['app.py']


# --- auto -------------------------------------------------------------------------------------------------------------

REFUSED = '--threads: invalid value "auto": {}: expected a number, or --processes auto'


def one_cpu():
    """For preexec_fn: the first of the processors that this process may use."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def start_line(world, *options, **keywords):
    """Starts a service on a socket of its own, ends it, and returns the line of its start."""
    process = world.spawn('--bind', f'unix:{world.new_path("sock")}', *options, world.write_app(HELLO), **keywords)
    line = process.wait_log('started: .*', 20)[0]
    process.signal(signal.SIGTERM)
    assert process.wait(20) == 0
    return line


def test_threads_auto_where_there_is_a_gil(run, tmp_path):
    """It would be a guess there: threads take turns, and one process does not use the processors. So it is refused."""
    if FREE_THREADED:
        expected, env = 'PYTHON_GIL=1 turns on the GIL, with which threads take turns', {'PYTHON_GIL': '1'}
    else:
        expected, env = 'this Python has a GIL, so threads take turns', {}
    for options in ['--check'], ['--bind', f'unix:{tmp_path}/s']:
        refused = run(*options, '--threads', 'auto', 'app:app', env=env)
        assert refused.code == 64 and REFUSED.format(expected) in refused.stderr, refused
    assert not (tmp_path / 's').exists()


def test_processes_auto_counts_what_may_be_used(world):
    """The affinity mask limits `auto`, as taskset and the cpuset of a container set it."""
    assert ', 1 process x 1 thread, ' in start_line(world, '--processes', 'auto', preexec_fn=one_cpu)
