"""--doctor: the page in the place of an application. Behind real servers: tests/servers/test_doctor.py."""

import re
import signal

import pytest

from apps import HELLO
from test_status import Page

# What each server sends, as far as the advice looks at it. None: not sent.
NGINX = {'SERVER_SOFTWARE': 'nginx/1.22.1', 'SCRIPT_NAME': '/a b/c', 'PATH_INFO': None, 'HTTP_HOST': 'h.example',
         'SERVER_PORT': '8443', 'SERVER_NAME': '', 'CONTENT_LENGTH': '', 'CONTENT_TYPE': '', 'REMOTE_USER': '',
         'REQUEST_SCHEME': 'http', 'REQUEST_URI': '/a%20b/c?x=1', 'QUERY_STRING': 'x=1&text'}
APACHE_PROXY = {'SERVER_SOFTWARE': 'Apache/2.4.71 (Debian)', 'SCRIPT_NAME': '/a b/c', 'PATH_INFO': None,
                'SCRIPT_FILENAME': 'proxy:fcgi://localhost/a%20b/c', 'DOCUMENT_ROOT': '/srv/www'}
APACHE_FCGID = {'SERVER_SOFTWARE': 'Apache/2.4.71 (Debian)', 'SCRIPT_NAME': '/app', 'PATH_INFO': '/x',
                'SCRIPT_FILENAME': '/srv/app/app.py', 'HTTP_CONNECTION': 'close'}
HAPROXY = {'SERVER_SOFTWARE': 'HAProxy 2.6.12-1+deb12u4', 'SCRIPT_NAME': '/a/b', 'PATH_INFO': None,
           'SERVER_NAME': 'h.example:8443', 'HTTP_HOST': 'h.example:8443'}
CADDY = {'SERVER_SOFTWARE': 'Caddy/2.6.2', 'SCRIPT_NAME': '', 'PATH_INFO': '/app/x', 'CONTENT_LENGTH': '-1',
         'REMOTE_USER': '', 'AUTH_TYPE': '', 'HTTP_PROXY': 'evil'}
LIGHTTPD = {'SERVER_SOFTWARE': 'lighttpd/1.4.69', 'SCRIPT_NAME': '/a b', 'PATH_INFO': '/c'}
MINI_HTTPD = {'SERVER_SOFTWARE': 'mini_httpd/1.30 26Oct2018', 'SCRIPT_NAME': '/cgi-bin/app.cgi', 'PATH_INFO': '/x',
              'SERVER_NAME': 'h.example:8443', 'QUERY_STRING': None, 'REQUEST_URI': None}
BUSYBOX = {'SERVER_SOFTWARE': 'busybox httpd/1.35.0', 'SCRIPT_NAME': '/cgi-bin/app.cgi', 'PATH_INFO': '/x',
           'SERVER_NAME': None, 'SERVER_PORT': None}


class Html(Page):
    VOID = Page.VOID | {'input'}


class Doctor:
    """What the text form says."""

    def __init__(self, response):
        assert response.status in (200, 401) and response.complete, response.raw
        assert response.header('Content-Type') == 'text/plain; charset=utf-8'
        text = response.body.decode()
        self.response, self.text = response, text
        self.title, *parts = re.split(r'\n\n== (.*)\n', text.rpartition('\n\nThis page')[0])
        self.parts = dict(zip(parts[::2], parts[1::2]))
        self.findings = re.findall(r'^(change|look|note): (.*)((?:\n {4}.*)*)', self.parts['What to look at'],
                                   re.MULTILINE)
        self.lines = {line.strip() for _, _, rest in self.findings for line in rest.split('\n') if line.strip()}

    def levels(self, words):
        """The levels of the findings with these words."""
        return [level for level, what, _ in self.findings if words in what]

    def rows(self, part):
        """[(name, value, note)] of a table."""
        return [re.fullmatch(r'(.*?): (.*?)(?:    <- (.*))?', line).groups()
                for line in self.parts[part].strip('\n').split('\n') if line]

    @property
    def sent(self):
        return self.rows('What the server sent, in order')

    def sent_as(self, name):
        return [(value, note) for n, value, note in self.sent if n == name]

    @property
    def gets(self):
        return {name: value for name, value, _ in self.rows('The URL and what the application gets')}

    @property
    def added(self):
        return {name: (value, note) for name, value, note in self.rows('What was added')}

    @property
    def process(self):
        return {name: (value, note) for name, value, note in self.rows('Process')}


def ask(server, method='GET', query='text', **request):
    return Doctor(server.request(method, query=query, **request))


def doctor(transport, *options):
    return transport.serve_scripts('--doctor', *options)


def test_what_was_sent_and_what_became_of_it(transport):
    """In order; each with what was done to it and why."""
    page = ask(doctor(transport), params={
        'HTTP_PROXY': 'evil', 'HTTP_CONTENT_LENGTH': '3', 'HTTP_CONTENT_TYPE': 'a/b', 'CONTENT_LENGTH': '5abc',
        'REMOTE_USER': '', 'AUTH_TYPE': '', 'X_Y': 'as it is', 'SCRIPT_NAME': '/', 'PATH_INFO': '/x'})
    assert page.sent_as('HTTP_PROXY') == [('evil', 'left out: libraries would use it as their proxy')]
    assert page.sent_as('HTTP_CONTENT_LENGTH')[0][1].startswith('left out')
    assert page.sent_as('HTTP_CONTENT_TYPE')[0][1].startswith('left out')
    assert page.sent_as('CONTENT_LENGTH') == [('5abc', 'left out: not a number')]
    assert page.sent_as('REMOTE_USER') == page.sent_as('AUTH_TYPE') == [('(empty)', 'left out: empty')]
    assert page.sent_as('X_Y') == [('as it is', None)]
    assert page.sent_as('SCRIPT_NAME') == [('/', 'split again, see above')]
    assert page.gets['SCRIPT_NAME'] == '(empty)' and page.gets['PATH_INFO'] == '/x'
    names = [name for name, _, _ in page.sent]
    assert names.index('HTTP_PROXY') < names.index('CONTENT_LENGTH') < names.index('X_Y')


def test_repeated_variables(fcgi_server):
    """Each where it stood, and which one counts."""
    page = ask(fcgi_server(HELLO, '--doctor'), params=[
        ('HTTP_X_DUP', 'one'), ('SCRIPT_NAME', '/first'), ('HTTP_X_DUP', 'two'), ('HTTP_HOST', 'h'), ('HTTP_X_DUP', '3')])
    assert page.sent_as('HTTP_X_DUP') == [('one', 'joined with the next'), ('two', 'joined with the next'),
                                          ('3', 'joined with the others')]
    assert page.sent_as('SCRIPT_NAME') == [('(empty)', 'sent again below; the last value counts'), ('/first', None)]
    assert page.sent_as('HTTP_HOST')[0][1] == 'sent again below; the last value counts'
    assert page.gets['SCRIPT_NAME'] == '/first'


def test_what_was_added(transport):
    """Made-up variables; those of --set by name only, for they may be passwords."""
    page = ask(doctor(transport, '--set', 'DB=s3cret', '--set', 'X_Y=ours'), params={
        'SERVER_NAME': None, 'SERVER_PORT': None, 'PATH_INFO': None, 'HTTP_HOST': 'h.example:81', 'X_Y': 'theirs'})
    assert page.added['SERVER_NAME'][0] == 'h.example' and page.added['SERVER_PORT'][0] == '81'
    assert page.added['PATH_INFO'] == ('/', 'PEP 3333 requires it')
    assert page.added['DB'] == ('(not shown)', 'by --set') and 's3cret' not in page.text
    assert page.sent_as('X_Y') == [('theirs', '--set gives another value')]


def test_urls(transport):
    """PEP 3333's reconstruction beside what the client asked for."""
    server = doctor(transport)
    page = ask(server, path='/a b/\u20ac'.encode(), query='text&y=%20', params={
        'SCRIPT_NAME': '/app', 'HTTP_HOST': 'h.example:8443', 'HTTPS': 'on',
        'REQUEST_URI': '/app/a%20b/%e2%82%ac?text&y=%20'})
    url = 'https://h.example:8443/app/a%20b/%E2%82%AC?text&y=%20'
    assert page.gets['PEP 3333 gives'] == url and page.gets['requested'] == url.replace('E2%82%AC', 'e2%82%ac')
    assert page.gets['wsgi.url_scheme'] == 'https' and '<- the same path' in page.text
    page = ask(server, path='/x', params={'REQUEST_URI': '/other', 'HTTP_HOST': None, 'SERVER_PORT': '81'})
    assert page.gets['PEP 3333 gives'] == 'http://localhost:81/x?text' and '<- another path' in page.text
    page = ask(server, path='/x', params={'REQUEST_URI': 'http://h:1/x'})  # Apache leaves absolute ones
    assert page.gets['requested'] == 'http://h:1/x' and '<- the same path' in page.text


@pytest.mark.parametrize('name, value, shown', [
    ('HTTP_AUTHORIZATION', 'Basic c2VjcmV0', 'Basic and 8 bytes, not shown'),
    ('HTTP_AUTHORIZATION', 's3cr3t', '6 bytes, not shown'),
    ('HTTP_PROXY_AUTHORIZATION', 'Bearer c2VjcmV0', 'Bearer and 8 bytes, not shown'),
    ('REDIRECT_HTTP_AUTHORIZATION', 'Basic c2VjcmV0', 'Basic and 8 bytes, not shown'),
    ('Authorization', 'Basic c2VjcmV0', 'Basic and 8 bytes, not shown'),
    ('HTTP_COOKIE', 'session=c2VjcmV0', '16 bytes, not shown'),
    ('HTTP_X_API_KEY', 'c2VjcmV0', '8 bytes, not shown'), ('DB_PASSWORD', 'c2VjcmV0', '8 bytes, not shown'),
    ('DATABASE_URL', 'pg://me:c2VjcmV0@h/db', '21 bytes, not shown')])
def test_secrets_by_their_length(name, value, shown, transport):
    server = doctor(transport)
    for query in ('text', ''):
        response = server.request(query=query, params={name: value})
        assert value not in response.text and 'c2VjcmV0' not in response.text and 's3cr3t' not in response.text
        assert shown in response.text
    if 'Authorization' in name or 'REDIRECT' in name:
        page = ask(server, params={name: value})
        assert page.added['HTTP_AUTHORIZATION'] == (shown, 'from REDIRECT_HTTP_AUTHORIZATION or Authorization')


HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=y>', "' onmouseover='x", '</code></td></table>', '&lt;b&gt;',
           '\x1b[2J\x08', 'a\nchange: forged', '\xff\xfe\x80', '\xc2\x9b31m', '\u2028'.encode().decode('latin-1'), 'x' * 5000]


@pytest.mark.parametrize('value', HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values(value, transport):
    """Names and values of strangers are text: no markup, no line of their own, no control of a terminal."""
    server = doctor(transport)
    params = {'HTTP_X_EVIL': value, 'HTTP_' + value.replace('=', ''): 'v', 'HTTP_HOST': value, 'REQUEST_URI': '/' + value,
              'HTTP_COOKIE': value, 'SERVER_SOFTWARE': value, 'PATH_INFO': '/' + value, 'CONTENT_TYPE': value}
    response = server.request(query='', params=params)
    assert response.status == 200 and response.header('Content-Type') == 'text/html; charset=utf-8'
    page = Html(response.text)
    assert not {'script', 'img', 'b'} & set(page.tags) and page.tags.count('table') == 4
    assert not {'onerror', 'onmouseover', 'src'} & {name for name, _ in page.attributes}
    text = Doctor(server.request(query='text', params=params)).text
    assert '\nchange: forged' not in text
    for shown in (text, response.text):
        assert not re.search(r'[\x00-\x09\x0b-\x1f\x7f-\x9f]', shown)
    assert len(text) < 30_000


def test_many_variables(fcgi_unix):
    """20 000 of them: the page stays a page."""
    page = ask(fcgi_unix(HELLO, '--doctor', '--limit-vars', '20100'), params=[(f'HTTP_X{i % 15000}', 'v') for i in range(20000)])
    assert 480 < page.text.count('HTTP_X') < 500 and '\nMore variables are not shown.\n' in page.text


def test_html(transport):
    """Well-formed, nothing loaded from elsewhere, sends only to itself; what may be cached of it: nothing."""
    response = doctor(transport).request()
    page = Html(response.text)
    assert response.header('Cache-Control') == 'no-store'
    policy = response.header('Content-Security-Policy')
    assert "default-src 'none'" in policy and "form-action 'self'" in policy
    assert 'url(' not in response.text and '@import' not in response.text and 'script' not in page.tags
    assert ('name', 'viewport') in page.attributes
    links = [value for name, value in page.attributes if name in ('href', 'action')]
    assert sorted(links) == ['?', '?auth', '?text']


def test_which_form(transport):
    server = doctor(transport)
    for accept, kind in [('text/plain', 'plain'), ('text/html,text/plain', 'html'), ('*/*', 'html'),
                         ('text/plain;q=0.9', 'plain')]:
        assert server.request(headers={'Accept': accept}).header('Content-Type').startswith('text/' + kind)
    assert server.request('HEAD').body == b''


def test_authorization_is_asked_for_once(transport):
    """401 Basic; whoever comes back without it has a server that keeps it."""
    server = doctor(transport)
    page = ask(server, query='auth&text')
    assert page.response.status == 401
    assert page.response.header('WWW-Authenticate') == 'Basic realm="wsgi-cgi --doctor"'
    cookie = page.response.header('Set-Cookie')
    assert 'HttpOnly' in cookie and 'Max-Age=120' in cookie
    cookie = cookie.partition(';')[0]
    page = ask(server, query='auth&text', headers={'Cookie': f'a=b; {cookie}'})
    assert page.response.status == 200 and page.levels('did not arrive') == ['change']
    assert page.response.header('Set-Cookie') == f'{cookie}; Max-Age=0'
    page = ask(server, query='auth&text', headers={'Cookie': cookie, 'Authorization': 'Basic dTpw'})
    assert page.response.status == 200 and page.levels('Authorization arrives') == ['note']
    assert 'auth' not in page.response.header('Set-Cookie').lower()
    assert ask(server).response.header('Set-Cookie') is None
    for software, line in [('Apache/2.4.71', 'CGIPassAuth On'),
                           ('Apache/2.4.71', SET_ENV_IF),
                           ('HAProxy 2.6', 'pass-header Authorization'),
                           ('nginx/1.22.1', 'fastcgi_param HTTP_AUTHORIZATION $http_authorization;')]:
        page = ask(server, query='auth&text', headers={'Cookie': cookie}, params={'SERVER_SOFTWARE': software})
        assert page.levels('did not arrive') == ['change'] and line in page.lines


@pytest.mark.parametrize('size', [0, 1, 300_000])
def test_body(size, transport):
    page = ask(doctor(transport), 'POST', body=b'x' * size)
    arrived, length = page.rows('Body')[:2]
    assert arrived == ('arrived', f'{size} bytes', 'as many as CONTENT_LENGTH says')
    assert length[1] == str(size)
    assert page.title.endswith('Nothing to change') and not page.levels('The body')


def test_body_that_is_cut_off(fcgi_server):
    server = fcgi_server(HELLO, '--doctor')
    page = ask(server, 'POST', body=b'123', content_length=10)
    assert page.levels('did not arrive complete') == ['change']
    assert page.rows('Body')[0] == ('arrived', '3 bytes', 'the body is shorter than CONTENT_LENGTH')


SET_ENV_IF = 'SetEnvIf Authorization "(.+)" HTTP_AUTHORIZATION=$1'

# server, its variables -> what it is called, urgent findings, lines of its configuration
SHAPES = [
    (NGINX, 'nginx', ['HTTP_HOST has no port'],
     {'map $http_host $port_of_host {', 'fastcgi_param HTTP_HOST $host$port_of_host;', '--mount /app',
      'client_max_body_size 256m;'}),
    (APACHE_PROXY, 'Apache with mod_', [], {'--mount /app', 'CGIPassAuth On', SET_ENV_IF}),
    (APACHE_FCGID, 'Apache', [], {'CGIPassAuth On', SET_ENV_IF}),
    (HAPROXY, 'HAProxy', ['sends the whole path as SCRIPT_NAME'], {'path-info ^()(/.*)$', 'pass-header Authorization'}),
    (CADDY, 'Caddy', [], {'--mount /app'}),
    (LIGHTTPD, 'lighttpd', [], set()),
    (MINI_HTTPD, 'mini_httpd', [], set()),
    (BUSYBOX, 'busybox httpd', [], set()),
    ({'SERVER_SOFTWARE': 'another/1'}, 'unknown', [], set()),
]


@pytest.mark.parametrize('params, name, urgent, lines', SHAPES, ids=[s[1] for s in SHAPES])
def test_advice_for_each_server(params, name, urgent, lines, transport):
    """X1 to X8: recognised, and told the line that changes it."""
    page = Doctor(doctor(transport).request(headers={'Accept': 'text/plain'}, params=params))
    assert page.process['web server'][0].startswith(name)
    changes = [what for level, what, _ in page.findings if level == 'change']
    if transport.is_cgi:        # a real script: SCRIPT_NAME is no whole path
        lines = lines - {'--mount /app'} if name != 'Caddy' else lines
    assert len(changes) == len(urgent) and all(u in c for u, c in zip(urgent, changes)), changes
    assert lines <= page.lines | ({'--mount /app'} if transport.is_cgi else set())
    assert page.title.endswith('1 thing to change' if urgent else 'Nothing to change')


def test_apache_modules(fcgi_unix, cgi):
    """mod_fcgid by its shape, mod_cgid by the mode."""
    server = fcgi_unix(HELLO, '--doctor')
    assert ask(server, params=APACHE_PROXY).process['web server'][0] == 'Apache with mod_proxy_fcgi'
    page = ask(server, params=APACHE_FCGID)
    assert page.process['web server'][0] == 'Apache with mod_fcgid' and 'FcgidMaxRequestLen 1073741824' in page.lines
    page = ask(doctor(cgi), params=APACHE_FCGID)
    assert page.process['web server'][0] == 'Apache with mod_cgid or mod_cgi'


def test_lighttpd_at_the_root(fcgi_server):
    """The two lines that it needs there; certain only at "/"."""
    server = fcgi_server(HELLO, '--doctor')
    lines = {'"check-local" => "disable",', '"fix-root-scriptname" => "enable"'}
    page = ask(server, params={**LIGHTTPD, 'SCRIPT_NAME': '/', 'PATH_INFO': None})
    assert page.levels('SCRIPT_NAME is "/"') == ['change'] and lines <= page.lines
    page = ask(server, params=LIGHTTPD)
    assert page.levels('root of the site') == ['look'] and lines <= page.lines
    assert not lines & ask(server, params={**LIGHTTPD, 'SCRIPT_NAME': '', 'PATH_INFO': '/a b/c'}).lines


def test_lines_that_are_there_already(fcgi_server):
    """What the configuration says right is not asked for again."""
    page = ask(fcgi_server(HELLO, '--doctor'), params=[
        *((k, v) for k, v in NGINX.items() if v is not None and k != 'QUERY_STRING'),
        ('QUERY_STRING', 'text'), ('HTTP_HOST', 'h.example:8443'), ('PATH_INFO', '/a b/c'), ('SCRIPT_NAME', '')])
    assert page.title.endswith('Nothing to change')
    assert not {'--mount /app', 'fastcgi_param HTTP_HOST $host$port_of_host;'} & page.lines


def test_mount(transport):
    """A path outside of --mount gets the page and not a 404, and so does one that was split in the middle of a
    word."""
    server = doctor(transport, '--mount', '/app')
    page = ask(server, params={'SCRIPT_NAME': '/app/x', 'PATH_INFO': None})
    assert page.levels('With --mount') == ['note'] and page.gets['PATH_INFO'] == '/x'
    assert page.process['--mount'][0] == '/app'
    page = ask(server, params={'SCRIPT_NAME': '/apple', 'PATH_INFO': None})
    assert page.levels('not a path below --mount') == ['change']
    page = ask(doctor(transport), params={**NGINX, 'SCRIPT_NAME': '/app', 'PATH_INFO': 'le/x', 'HTTP_HOST': 'h:8443',
                                         'QUERY_STRING': 'text'})
    assert page.levels('does not begin with a slash') == ['change'] and 'location /app/ { ... }' in page.lines


def test_no_method(fcgi_server):
    page = Doctor(fcgi_server(HELLO, '--doctor').request(params={'REQUEST_METHOD': None, 'HTTP_ACCEPT': 'text/plain'}))
    assert page.levels('no REQUEST_METHOD') == ['change']


def test_other_findings(transport):
    server = doctor(transport)
    page = ask(server, headers={'X-Forwarded-Proto': 'https'})
    assert page.levels('client uses https') == ['look'] and '--set HTTPS=on' in page.lines
    assert not ask(server, headers={'X-Forwarded-Proto': 'https'}, params={'HTTPS': 'on'}).levels('client uses https')
    page = ask(server, headers={'Authorization': 'Basic dTpw'}, params={'SERVER_SOFTWARE': 'nginx/1', 'REMOTE_USER': 'u'})
    assert page.levels('name that the client claims') == ['look'] and 'fastcgi_param REMOTE_USER "";' in page.lines
    page = ask(server, params={'HTTP_PROXY': 'evil', 'SERVER_SOFTWARE': 'nginx/1'})
    assert page.levels('Proxy header') == ['note'] and 'fastcgi_param HTTP_PROXY "";' in page.lines
    assert ask(server, params={'REQUEST_URI': '/a%2fb'}).levels('%2F') == ['note']
    assert ask(server, params={'REQUEST_URI': '/a?b=%2f'}).levels('%2F') == []
    assert ask(server, params={'CONTENT_LENGTH': '5abc'}).levels('length of the body') == ['note']
    page = ask(server, params={'CONTENT_LENGTH': '-1'})
    assert page.levels('length of the body') == ['note']
    assert ('before the application is called' in page.text) == (not transport.is_cgi)


def test_process(transport):
    """Mode and descriptors as --explain has them."""
    process = ask(doctor(transport)).process
    if transport.is_cgi:
        assert process['mode'] == ('cgi', 'REQUEST_METHOD or GATEWAY_INTERFACE is in the environment')
        assert process['descriptor 0'][0] == process['descriptor 1'][0] == 'pipe'
    else:
        assert process['mode'] == ('fastcgi', 'descriptor 0 is a listening socket')
        assert process['descriptor 0'][0] == 'listening socket'
    assert process['does it start?'][0] == 'yes'


def test_python_that_cannot_start(transport, tmp_path):
    """Python is not needed for the page, and what is wrong with it stands there."""
    server = doctor(transport, '--venv', tmp_path / 'missing')
    server.expect_log('--venv: .*missing does not exist: create it with')
    page = ask(server)
    assert page.process['does it start?'][0] == 'no' and 'does not exist' in page.process['does it start?'][1]
    assert page.levels('Python does not start') == ['change']
    assert page.process['sys.executable'] == (f'{tmp_path}/missing/bin/python', 'from --venv')


def test_application_is_not_loaded(transport, tmp_path):
    """A #! line puts the script's name behind --doctor: it is left alone."""
    mark = tmp_path / 'mark'
    server = transport.serve(f'\nopen({str(mark)!r}, "w")\n' + HELLO, '--doctor')
    assert ask(server).title == 'wsgi-cgi --doctor: Nothing to change'
    assert not mark.exists()


def test_processes_and_threads(fcgi_unix):
    """With a master, several threads, and a status page beside it."""
    server = fcgi_unix(HELLO, '--doctor', '--processes', '2', '--threads', '3', '--ping-path', '/ping', '--status-path', '/s')
    for _ in range(10):
        assert ask(server).process['mode'][0] == 'fastcgi'
    assert server.request(path='/ping').body == b'pong'
    assert server.request(path='/s', query='json').json['pool'] == '--doctor'
    assert server.stop() == 0       # before the test looks for children


@pytest.mark.parametrize('processes', [[], ['--processes', '1']], ids=['one', 'master'])
def test_sighup(processes, fcgi_unix):
    """There is no code to take anew, and nothing breaks."""
    server = fcgi_unix(HELLO, '--doctor', '--reload', 'modules', *processes)
    server.allow_log('SIGHUP')
    server.process.signal(signal.SIGHUP)
    server.wait_log('SIGHUP')
    for _ in range(20):
        assert ask(server).process['mode'][0] == 'fastcgi'
    assert server.stop() == 0


def test_nothing_of_python_is_asked_for(fcgi_unix):
    """--request-timeout, --slow and SIGUSR2 are about Python's stacks: there are none. A slow body is no alarm."""
    server = fcgi_unix(HELLO, '--doctor', '--request-timeout', '20ms', '--slow', '10ms')
    exchange = server.start('POST', query='text', body=b'12')
    exchange.write(b'1')
    server.process.signal(signal.SIGUSR2)
    assert exchange.silent(0.3)
    exchange.write(b'2')
    exchange.finish_body()
    assert Doctor(exchange.response()).rows('Body')[0][1] == '2 bytes'
    assert 'stack' not in server.logged and 'longer' not in server.logged


def test_said_at_the_start(fcgi_unix, run):
    """Never on by default, and not on in silence."""
    assert fcgi_unix(HELLO).request(query='text').body == b'hello'
    server = fcgi_unix(HELLO, '--doctor')
    server.wait_log('notice: --doctor is on: anyone who can reach it sees')
    assert run('--doctor').code == 64


def test_authorizer_lets_nobody_in(fcgi_unix):
    server = fcgi_unix(HELLO, '--doctor')
    assert server.request(role=2).status == 403


def test_nothing_is_left_for_the_next_request(fcgi_unix):
    server = fcgi_unix(HELLO, '--doctor')
    with server.connect() as conn:
        first = Doctor(conn.request(server.params(query='text', headers={'X-Once': '1'}), keep=True))
        second = Doctor(conn.request(server.params(query='text'), keep=True))
    assert first.sent_as('HTTP_X_ONCE') == [('1', None)] and second.sent_as('HTTP_X_ONCE') == []
    assert len(second.sent) == len(first.sent) - 1
