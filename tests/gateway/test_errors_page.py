"""The 500 page: with --debug one readable page that explains, without it an id and nothing else."""

import html
import html.parser
import re
import shutil
import subprocess

import pytest

from settings import SLOW

SHOP = '''
CATALOGUE = {'tea': 3}

def lookup(table, key):
    try:
        return table[key]
    except KeyError as error:
        raise ValueError(f'no price for <{key}> & "more"') from error

def application(environ, start_response):
    lookup(CATALOGUE, 'coffee')
'''


class Page(html.parser.HTMLParser):
    """Checks that tags are balanced and nothing is fetched; collects the text by element."""
    VOID = {'meta', 'br', 'link', 'img', 'input'}

    def __init__(self, body):
        super().__init__()
        self.open, self.texts, self.attributes = [], {}, []
        self.feed(body.decode('utf-8'))
        self.close()
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        assert tag not in ('script', 'link', 'img', 'iframe', 'object', 'form'), tag
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else '', []).append(data)

    def text(self, tag):
        return ''.join(self.texts.get(tag, []))


def failing(transport, app, *options, **request):
    """The page of a request whose application raises, checked for what holds of all pages."""
    server = transport.serve(app, '--debug', *options)
    server.expect_log(r'\[\w{12}\] \w+ \S+: the application raised')
    server.allow_log('.*')
    response = server.request(**request)
    assert response.status == 500 and response.header('Content-Type') == 'text/html; charset=utf-8'
    [logged] = set(re.findall(r'\[(\w{12})\] ', server.logged))
    assert logged.encode() in response.body
    page = Page(response.body)
    style = page.text('style')
    assert 'url(' not in style and '@import' not in style
    assert not [a for a in page.attributes if a[0] in ('src', 'href', 'style') or a[0].startswith('on')]
    return response.body.decode(), page


def test_what_the_page_shows(transport):
    """Exception, message, calls with their source lines, the cause, the request, the Python; all escaped."""
    body, page = failing(transport, SHOP, query='a=<b>', headers={'X-Odd': '<script>alert(1)</script>'})
    assert page.text('h1') == 'ValueError' and page.text('title') == 'ValueError'
    for text in ('no price for <coffee> & "more"', "raise ValueError(f'no price for <{key}> & \"more\"') from error",
                 'KeyError', 'a=<b>', '<script>alert(1)</script>', 'The above exception was the direct cause'):
        assert html.escape(text, quote=False) in body.replace('&quot;', '"').replace('&#39;', "'"), text
    assert '<script' not in body
    order = [body.index(f'<b>{name}</b>') for name in ('lookup', 'application')]
    assert order == sorted(order), 'newest call first'
    assert 'sys.path' in body and re.search(r'3\.\d+\.\d+', body)
    # The failing line is marked, with its number.
    [here] = re.findall(r'<span class=here><i>(\d+)</i>([^<]*)</span>', body)[:1]
    assert here == ('8', '        raise ValueError(f&#39;no price for &lt;{key}&gt; &amp; &quot;more&quot;&#39;) from error')


def test_secrets_are_not_shown(transport):
    """Pages are photographed and mailed: credentials stay out."""
    secrets = {'Authorization': 'Basic c2VjcmV0', 'Cookie': 'session=s3cr3t', 'X-Api-Key': 'k3y',
               'X-Csrf-Token': 't0k3n', 'Proxy-Authorization': 'pr0xy'}
    body, page = failing(transport, SHOP, headers=secrets, params={'DB_PASSWORD': 'p4ss', 'PLAIN': 'shown'})
    for value in ('c2VjcmV0', 's3cr3t', 'k3y', 't0k3n', 'pr0xy', 'p4ss'):
        assert value not in body
    for name in ('HTTP_AUTHORIZATION', 'HTTP_COOKIE', 'HTTP_X_API_KEY', 'DB_PASSWORD'):
        assert name in page.text('th')
    assert 'not shown, 14 bytes' in body and 'shown' in page.text('td')


def test_odd_bytes(fcgi_unix):
    """Values that are no UTF-8, control characters, a huge one, a name like a tag."""
    body, page = failing(fcgi_unix.__self__, SHOP, params={
        'BYTES': b'\xff\xfe<\x01\x1b[31m', 'UTF8': 'é€'.encode(), 'LONG': b'x' * 50000, '<b>': 'tag', 'EMPTY': ''})
    values = page.text('td')
    assert r'\xff\xfe<\x01\x1b[31m' in values and 'é€' in values
    assert 'x' * 4096 + ' ...' not in values and 'x' * 4097 not in values and '(50000 bytes)' in body
    assert '<b>' in page.text('th')
    assert not re.search('[\x00-\x08\x0b-\x1f\x7f]', body)


@pytest.mark.parametrize('raised, texts', [
    ("raise KeyError('\\udcff \\x00 \\u202e')", ['KeyError', r'\udcff']),
    ("raise ValueError('x' * 100000)", ['x' * 100000]), ('raise ValueError', ['ValueError']),
    ("raise type('Ö<b>', (Exception,), {})('m')", ['Ö&lt;b&gt;']),
    ("raise type('Bad', (Exception,), {'__str__': lambda self: 1 / 0})()", ['(its str() failed)']),
    ("raise type('Bad', (Exception,), {'__module__': 5})('m')", ['Bad']),
    ("exec('1 / 0')", ['ZeroDivisionError', '(no source)']),
    ("exec(compile('1 / 0', '/proc/self/mem', 'exec'))", ['ZeroDivisionError']),
    ("import json; json.loads('{')", ['json.decoder.JSONDecodeError', 'raw_decode']),
    ("f = lambda n: f(n + 1); f(0)", ['RecursionError', 'The same call 9']),
    ("e = ValueError('self'); e.__cause__ = e; raise e", ['self']),
    ("raise SystemExit('the end')", ['SystemExit', 'the end']), ("compile('a b', 'name<x>', 'exec')", ['SyntaxError']),
    ("raise OSError(2, 'No such file', 'a<b')", ['FileNotFoundError', 'a&lt;b']),
])
def test_odd_exceptions(fcgi_unix, raised, texts):
    """Whatever is raised, there is a page."""
    body, _ = failing(fcgi_unix.__self__, f'''
def application(environ, start_response):
    {raised}
''')
    for text in texts:
        assert text in body, text


def test_what_was_being_handled(fcgi_unix):
    """An exception within an except block shows the first one, unless `from None` hides it."""
    app = '''
def application(environ, start_response):
    try:
        {}['first']
    except KeyError:
        raise ValueError('second') %s
'''
    body, _ = failing(fcgi_unix.__self__, app % '')
    assert 'while this was being handled' in body and 'KeyError' in body
    body, _ = failing(fcgi_unix.__self__, app % 'from None')
    assert 'while this was being handled' not in body


LIBRARY = '''
def call(f):
    return f()
def wrap(f):
    try:
        f()
    except Exception as error:
        raise LookupError('wrapped') from error
def raises():
    raise LookupError('by a thread of its own')
'''


@pytest.mark.parametrize('code, function', [
    ("import os; os.makedirs('/proc/no/such/folder')", 'mine'),            # <frozen os>
    ("import json; json.loads('{')", 'mine'),                             # the standard library
    ("exec('1 / 0')", 'mine'),                                            # <string>
    ("import library; library.call(lambda: 1 / 0)", '&lt;lambda&gt;'),    # our own code, called by a package
    ("import library; library.wrap(json_too)", 'mine'), ("json_too()", 'json_too'), ('1 / 0', 'mine'),
])
def test_newest_call_of_ones_own_is_open(transport, tmp_path, code, function):
    """P11: the page opens at the user's own code, not inside of Python or of a package that it has called."""
    packages = tmp_path / 'lib' / 'python3' / 'site-packages'
    packages.mkdir(parents=True)
    (packages / 'library.py').write_text(LIBRARY)
    script = tmp_path / 'app.py'
    script.write_text(f'''
def json_too():
    import json
    json.loads('{{')
def mine():
    {code}
def application(environ, start_response):
    mine()
''')
    body, _ = failing(transport, str(script), '--python-path', str(packages))
    [shown] = re.findall(r'<details open><summary><b>(.*?)</b> <code class=file>(.*?):\d+</code>', body)
    assert shown == (function, str(script))


def test_open_call_without_code_of_ones_own(fcgi_unix, tmp_path):
    """P11: only a package's calls: the newest one is open."""
    packages = tmp_path / 'lib' / 'python3' / 'site-packages'
    packages.mkdir(parents=True)
    (packages / 'library.py').write_text(LIBRARY + 'def application(environ, start_response): raises()\n')
    body, _ = failing(fcgi_unix.__self__, 'library:application', '--python-path', str(packages))
    assert re.findall(r'<details open><summary><b>(.*?)</b>', body) == ['raises']


def test_many_calls(fcgi_unix):
    """Two hundred different calls: the newest are shown, the rest counted."""
    chain = '\n'.join(f'def f{i}(): f{i + 1}()' for i in range(200))
    body, _ = failing(fcgi_unix.__self__, f'{chain}\ndef f200(): 1 / 0\ndef application(e, s): f0()\n')
    assert '<b>f200</b>' in body and '<b>f170</b>' in body and '<b>f20</b>' not in body
    assert re.search(r'>1\d\d earlier calls are not shown', body)


@pytest.mark.parametrize('source, texts', [
    ('def application(environ, start_response)\n    return []\n', ['SyntaxError', '<span class=here><i>1</i>']),
    ('import os\n1 / 0\n', ['ZeroDivisionError', '<span class=here><i>2</i>1 / 0</span>']),
])
def test_load_that_failed(fcgi_unix, tmp_path, source, texts):
    """The source line of the load's failure, at the first request and at the later ones."""
    script = tmp_path / 'app.py'
    script.write_text(source)
    server = fcgi_unix(str(script), '--debug')
    server.allow_log('.*')
    for _ in range(2):
        body = server.request().body.decode()
        Page(body.encode())
        for text in texts + ['LoadError', 'could not be loaded']:
            assert text in body, text


def test_changed_source(fcgi_unix, tmp_path):
    """The lines shown are those of the file as it is now, not as it was at the last error."""
    helper = tmp_path / 'helper.py'
    helper.write_text('def old():\n    1 / 0\n')
    app = tmp_path / 'app.py'
    app.write_text('''
import importlib, helper
def application(environ, start_response):
    importlib.reload(helper)
    (getattr(helper, 'old', None) if environ['QUERY_STRING'] == 'old' else helper.newer)()
''')
    server = fcgi_unix(str(app), '--debug', '--reload', 'off')
    server.allow_log('.*')
    assert '1 / 0' in server.request(query='old').body.decode()
    helper.write_text('def newer():\n    int("changed line")\n')
    assert 'int(&quot;changed line&quot;)' in server.request(query='new').body.decode()


def test_changed_syntax_error(fcgi_unix, tmp_path):
    """The same where no call leads to the line."""
    script = tmp_path / 'app.py'
    script.write_text('def one(:\n')
    server = fcgi_unix(str(script), '--debug', '--reload', 'off')
    server.allow_log('.*')
    assert '<i>1</i>def one(:' in server.request().body.decode()
    script.write_text('x = 1\ndef two(:\n')
    assert '<i>2</i>def two(:' in server.request().body.decode()


@pytest.mark.parametrize('method', ['GET', 'POST', 'HEAD'])
def test_without_debug(transport, method):
    """An id, and nothing of the exception, the source or the request."""
    server = transport.serve(SHOP)
    server.expect_log('ValueError: no price')
    server.expect_log('the application raised ValueError')
    server.allow_log('KeyError')
    response = server.request(method, headers={'X-Odd': 'odd-value'})
    assert response.status == 500
    [logged] = set(re.findall(r'\[(\w{12})\] ', server.logged))
    if method == 'HEAD':
        assert response.body == b''
        return
    assert logged.encode() in response.body
    Page(response.body)
    for text in (b'ValueError', b'price', b'app.py', b'lookup', b'odd-value', b'Python'):
        assert text not in response.body


def test_page_leaves_nothing_behind(fcgi_unix):
    """A page more is not a block more (a traceback holds on to its frames); caches need a thousand pages to fill."""
    server = fcgi_unix('''
import gc, sys
def application(environ, start_response):
    if environ['PATH_INFO'] == '/blocks':
        gc.collect()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [str(sys.getallocatedblocks()).encode()]
    try:
        {}['first']
    except KeyError as error:
        raise ValueError('second') from error
''', '--debug')
    server.allow_log('.*')

    def blocks():
        return int(server.request(path='/blocks').body)
    counts = [blocks()]
    for _ in range(12):                 # a leak shows in every round, a cache is full at some time
        for _ in range(200):
            server.request()
        counts.append(blocks())
        if counts[-1] - counts[-2] < 150:
            return
    pytest.fail(f'blocks: {counts}')


@pytest.mark.parametrize('width', [400, 1280])
@pytest.mark.timeout(120)
def test_fits_the_screen(fcgi_unix, tmp_path, width):
    """In a browser of that width nothing but the source lines scrolls sideways."""
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if not browser:
        pytest.skip('no chromium')
    body, _ = failing(fcgi_unix.__self__, SHOP.replace('& "more"', 'y' * 400), headers={'X-Long': 'x' * 3000},
                      query='q' * 1000)
    script = '''<script>document.title = "width " + [innerWidth, document.documentElement.scrollWidth,
        ...[...document.querySelectorAll("h1,h2,td,th,summary,.text")].map(e => e.scrollWidth - e.clientWidth)]
        .join(" ")</script>'''
    (tmp_path / 'page.html').write_text(body.replace('</body>', script + '</body>'))
    # Its own window cannot be narrower than 500: the page goes into a frame.
    (tmp_path / 'frame.html').write_text(
        f'<body style="margin:0"><iframe src=page.html style="border:0;width:{width}px;height:900px"></iframe>'
        '<script>onload = () => document.title = frames[0].document.title</script>')
    shown = subprocess.run([browser, '--headless', '--no-sandbox', '--disable-gpu', '--allow-file-access-from-files',
                            f'--user-data-dir={tmp_path}/profile', '--window-size=1400,1000', '--dump-dom',
                            f'file://{tmp_path}/frame.html'], capture_output=True, text=True, timeout=60 * SLOW).stdout
    inner, whole, *boxes = map(int, re.search(r'<title>width ([\d \-]+)</title>', shown).group(1).split())
    assert inner == width and whole <= width
    assert len(boxes) > 20 and max(boxes) <= 0
