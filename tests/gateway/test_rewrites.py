"""--mount behind a web server's rewrites. Behind real servers: tests/servers/test_rewrites.py; every variant of what they
send: tests/unit/test_rewrite.c."""

import pytest

from apps import HELLO
from test_doctor import Doctor

DUMP = '''
    import json
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps([environ['SCRIPT_NAME'], environ['PATH_INFO'], environ['QUERY_STRING'],
                            environ['REQUEST_URI']]).encode()]
'''
APACHE = {'SERVER_SOFTWARE': 'Apache/2.4.71 (Debian)', 'REDIRECT_STATUS': '200', 'DOCUMENT_ROOT': '/srv/www'}
LIGHTTPD = {'SERVER_SOFTWARE': 'lighttpd/1.4.69', 'REDIRECT_STATUS': '200'}
NGINX = {'SERVER_SOFTWARE': 'nginx/1.22.1', 'REDIRECT_STATUS': '200'}
CADDY = {'SERVER_SOFTWARE': 'Caddy/2.6.2'}


def htaccess(asked, script='/dispatch.cgi', info=None, uri=None, url=None, **more):
    """What Apache sends behind a RewriteRule of a .htaccess; in FastCGI mode as mod_fcgid does."""
    return {**APACHE, 'SCRIPT_NAME': script, 'PATH_INFO': info or asked, 'REQUEST_URI': (uri or asked) + '?a=b',
            'QUERY_STRING': 'a=b', 'REDIRECT_URL': url or asked, 'SCRIPT_FILENAME': '/srv/www' + script, **more}


@pytest.mark.parametrize('mount, params, expected', [
    ('/', htaccess('/page/x'), ('', '/page/x')),
    ('/', htaccess('/'), ('', '/')),
    ('/', htaccess('/a b', uri='/a%20b'), ('', '/a b')),
    ('/', htaccess('/x%41', info='/xA', uri='/x%2541'), ('', '/x%41')),
    ('/site', htaccess('/site/page', '/site/dispatch.cgi', '/page'), ('/site', '/page')),
    ('/site', htaccess('/site/page', '/cgi-bin/d.cgi', '/page'), ('/site', '/page')),
    ('/', htaccess('/old/x', info='/new/x'), ('', '/new/x')),
    ('/site', htaccess('/old/x', '/site/dispatch.cgi', '/x', url='/site/x', REDIRECT_REDIRECT_STATUS='200'),
     ('/site', '/x')),
    ('/', htaccess('/x', PATH_INFO=None), ('', '/x')),
    ('/', {**LIGHTTPD, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/a/b', 'REQUEST_URI': '/a%2Fb'}, ('', '/a/b')),
    ('/', {**NGINX, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/x/y', 'REQUEST_URI': '//x/y'}, ('', '/x/y')),
    ('/site', {**NGINX, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/site/x', 'REQUEST_URI': '/site/x'}, ('/site', '/x')),
    ('/', {**CADDY, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/x//y', 'REQUEST_URI': '/x//y'}, ('', '/x//y')),
    ('/app', {**NGINX, 'SCRIPT_NAME': '/app/x', 'PATH_INFO': None, 'REQUEST_URI': '/old/x'}, ('/app', '/x')),
])
def test_path_that_was_asked_for(mount, params, expected, transport):
    """X1 to X6: SCRIPT_NAME as mounted and the path that the client asked for, or to which the administrator leads."""
    environ = transport.serve(DUMP, '--mount', mount).request(params=params).json
    assert tuple(environ[:2]) == expected
    assert environ[3] == params['REQUEST_URI']     # as the client wrote it


def test_without_mount_the_server_is_believed(transport):
    """X3: the script's own URL leads to every page, and that the others are led to it is not known."""
    environ = transport.serve(DUMP).request(params=htaccess('/page/x')).json
    assert environ[:2] == ['/dispatch.cgi', '/page/x']


@pytest.mark.parametrize('params', [
    {**APACHE, 'REDIRECT_STATUS': None, 'REQUEST_URI': uri} for uri in (
        '/dispatch.cgi/admin', '//dispatch.cgi/admin', '/dispatch.cgi%2Fadmin', '/x/../dispatch.cgi/admin',
        '/dispatch.cgi//../admin', '/dispatch.cgi/admin#/x', 'http://h/dispatch.cgi/admin',
        'http://u@h/dispatch.cgi/admin', 'http://h?/admin', 'http://h#/admin', '//h/../dispatch.cgi/admin',
        '/%64ispatch.cgi/admin', '/dispatch.cgi/admin/.', '/dispatch.cgi/%61dmin?x=/admin', '*', '', '/admin/../admin')
] + [{**NGINX, 'REQUEST_URI': '/admin%3F'}, {**NGINX, 'REQUEST_URI': None},
     {**APACHE, 'REQUEST_URI': '/x%252F..%252Fadmin', 'REDIRECT_URL': '/x%2F..%2Fadmin'}],
    ids=lambda params: str(params['REQUEST_URI']))
def test_own_url_of_the_script_is_no_way_around(params, transport):
    """The server has rules for /admin and did not look at them, whatever REQUEST_URI says: the application at the root
    is not asked for /admin."""
    params = {'SCRIPT_NAME': '/dispatch.cgi', 'PATH_INFO': '/admin', 'SCRIPT_FILENAME': '/srv/www/dispatch.cgi', **params}
    server = transport.serve(DUMP.replace("environ['REQUEST_URI']", "''"), '--mount', '/')
    assert server.request(params=params).json[:2] == ['', '/dispatch.cgi/admin']


@pytest.mark.parametrize('params', [
    htaccess('/admin', PATH_INFO=None, REDIRECT_STATUS='403'),
    htaccess('/admin', PATH_INFO=None, REDIRECT_STATUS='404'),
    htaccess('/admin', PATH_INFO=None, REDIRECT_REDIRECT_STATUS='401'),
    {**LIGHTTPD, 'SCRIPT_NAME': '/dispatch.cgi', 'PATH_INFO': None, 'REQUEST_URI': '/admin', 'REDIRECT_STATUS': '403'},
    {**NGINX, 'SCRIPT_NAME': '/dispatch.cgi', 'PATH_INFO': '', 'REQUEST_URI': '/admin'},
    {**CADDY, 'SCRIPT_NAME': '/dispatch.cgi', 'PATH_INFO': '', 'REQUEST_URI': '/admin'}])
def test_error_document_has_no_path(params, transport):
    """What the server has refused does not reach the application as its error document."""
    server = transport.serve(DUMP, '--mount', '/')
    assert server.request(params=params).json[:2] == ['', '/dispatch.cgi']


# --- the doctor ---------------------------------------------------------------------------------------------------------

def ask(server, params):
    return Doctor(server.request(params=params, headers={'Accept': 'text/plain'}))


def test_doctor_without_mount(transport):
    """The script's name in every link is something to change."""
    server = transport.serve(HELLO, '--doctor')
    for params in (htaccess('/page/x'), htaccess('/page/x', PATH_INFO=None),
                   {**LIGHTTPD, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/x', 'REQUEST_URI': '/x'},
                   {**NGINX, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/x', 'REQUEST_URI': '/x'},
                   {**CADDY, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': '/x', 'REQUEST_URI': '/x'}):
        page = ask(server, params=params)
        assert page.levels('The server has rewritten the URL') == ['change'] and '--mount /' in page.lines, params
        assert page.title.endswith('1 thing to change'), page.title
    page = ask(server, params=htaccess('/old/x', '/app', '/x'))
    assert page.levels('The server has rewritten the URL') == ['look']
    page = ask(server, params={**htaccess('/dispatch.cgi/x', info='/x'), 'REDIRECT_URL': None, 'REDIRECT_STATUS': None})
    assert not page.levels('rewritten') and page.title.endswith('Nothing to change')


def test_doctor_with_mount(transport):
    """What has become of the path, and the line that is missing where it is not sure."""
    server = transport.serve(HELLO, '--doctor', '--mount', '/')
    page = ask(server, params=htaccess('/page/x'))
    assert page.levels('gets the path that the client requested') == ['note'] and page.gets['PATH_INFO'] == '/page/x'
    assert page.levels('With --mount') == ['note']
    page = ask(server, params=htaccess('/old/x', info='/new/x'))
    assert page.levels('has rewritten this URL to another path') == ['note'] and page.gets['PATH_INFO'] == '/new/x'
    page = ask(server, params=htaccess('/x', PATH_INFO=None, REDIRECT_STATUS='404'))
    assert page.levels('This is an error document') == ['change'] and 'FallbackResource /app.cgi' in page.lines
    assert not page.levels('With --mount')
    for params, line in (
            (NGINX, 'try_files $uri /app.py$uri$is_args$args;'), (CADDY, 'rewrite @url /app.py{path}'),
            ({'SERVER_SOFTWARE': 'x/1'}, None)):
        page = ask(server, params={'SCRIPT_NAME': '/d.py', 'PATH_INFO': '', 'REQUEST_URI': '/x', **params})
        assert page.levels('without its path') == ['change'] and page.gets['PATH_INFO'] == '/d.py'
        assert line is None or line in page.lines
    page = ask(server, params={**LIGHTTPD, 'SCRIPT_NAME': '/d.py', 'PATH_INFO': None, 'REQUEST_URI': '//x'})
    assert page.levels('without its path') == ['change']
    assert 'url.rewrite-if-not-file = ( "" => "/app.py${url.path}${qsa}" )' in page.lines
