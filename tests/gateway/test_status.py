"""The status and ping pages through a FastCGI process: --status-path, --ping-path. What the forms say of states that
are hard to bring about is in tests/unit/test_status.c."""

import re
import signal
import time
from html.parser import HTMLParser

import pytest

import fcgi
import harness
from apps import HELLO
from fcgi import wait_for
from settings import FREE_THREADED
from test_starting import serve         # noqa: F401 (a fixture)

PATHS = '--status-path', '/status', '--ping-path', '/ping'
# Answers when the file that the query string names is there.
WAIT = '''
    import os, time
    def application(environ, start_response):
        while environ['QUERY_STRING'] and not os.path.exists(environ['QUERY_STRING']):
            time.sleep(0.005)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [environ['PATH_INFO'].encode()]
'''


class Page(HTMLParser):
    """The texts of a page, after checking that every element that must be closed is."""
    VOID = {'meta', 'link', 'br', 'wbr'}
    OPTIONAL = {'html', 'head', 'body', 'p', 'tr', 'td', 'th', 'thead', 'tbody'}

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == [], f'not closed: {self.open}'

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in self.VOID | self.OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.OPTIONAL:
            assert self.open and self.open.pop() == tag, f'</{tag}>'

    def handle_data(self, data):
        self.texts.append(data)


def parse_openmetrics(text):
    """name -> value of an OpenMetrics 1.0 text; anything that is not one is an AssertionError."""
    assert text.endswith('# EOF\n') and text.count('# EOF') == 1
    families, samples, family = {}, {}, None
    for line in text.splitlines()[:-1]:
        if line.startswith('# '):
            _, kind, name, rest = line.split(' ', 3)
            assert kind in ('TYPE', 'HELP', 'UNIT'), line
            if kind == 'TYPE':
                assert name not in families, f'{name} is not in one piece'
                assert rest in ('counter', 'gauge', 'info')
                families[name], family = rest, name
            assert name == family, line
            if kind == 'UNIT':
                assert name.endswith('_' + rest)
            continue
        match = re.fullmatch(r'([a-z_]+)((?:\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\})?)'
                             r' (\d+)', line)
        assert match, line
        name, labels, value = match.groups()
        assert name == family + {'counter': '_total', 'gauge': '', 'info': '_info'}[families[family]], line
        assert name + labels not in samples
        samples[name + labels] = int(value)
    return samples


def control_fields(control, query='json'):
    """The status page from the control socket, which needs no thread."""
    with fcgi.Connection(str(control)) as conn:
        return conn.request(harness.cgi_params(path='/status', query=query)).json


def test_json(fcgi_server):
    """P8: counters count, and name the threads."""
    server = fcgi_server(HELLO, *PATHS, '--threads', '3')
    before = server.request(path='/status', query='json').json
    for _ in range(5):
        server.request()
    response = server.request(path='/status', query='json&full')
    assert response.status == 200 and response.header('Content-Type') == 'application/json'
    assert response.header('Cache-Control') == 'no-store'
    after = response.json
    assert after['requests'] == before['requests'] + 6
    assert after['accepted conn'] == before['accepted conn'] + 6
    assert after['pool'] == server.script and after['threads'] == 3
    assert after['total processes'] == after['active processes'] == after['active requests'] == 1
    assert abs(after['start time'] - time.time()) < 60 and 0 <= after['start since'] < 60
    process, = after['processes']
    assert process['pid'] == server.pid and process['state'] == 'ready'
    assert len(process['threads']) == 3
    assert sum(t['requests'] for t in process['threads']) == process['requests']
    running, = [t for t in process['threads'] if t['state'] == 'Running']
    assert (running['request method'], running['request uri']) == ('GET', '/status?json&full')
    assert 'processes' not in before


def test_requests_in_flight(fcgi_unix, world, tmp_path):
    """&full shows the request that runs, for how long, and afterwards as the last one."""
    control = world.new_path('control')
    server = fcgi_unix(WAIT, '--control', control)
    gate = tmp_path / 'gate'
    exchange = server.start(path='/slow', query=str(gate))
    exchange.finish_body()

    def slow(state, duration):
        """The only thread, once it is in that state and its request has taken so many microseconds."""
        with fcgi.Connection(str(control)) as conn:
            process, = conn.request(harness.cgi_params(path='/status', query='json&full')).json['processes']
        thread, = process['threads']
        return thread['state'] == state and thread['request duration'] > duration and thread
    running = wait_for(lambda: slow('Running', 100_000), 5, 'the slow request')
    assert (running['request method'], running['request uri']) == ('GET', f'/slow?{gate}')
    gate.touch()
    assert exchange.response().body == b'/slow'
    last = wait_for(lambda: slow('Idle', 50_000), 5, 'the end of the slow request')
    assert last['request uri'] == running['request uri'] and last['requests'] == running['requests'] + 1


def test_max_active_requests(fcgi_unix, world):
    """P8: requests that are over long before anybody looks count, too."""
    control = world.new_path('control')
    server = fcgi_unix(HELLO, '--control', control)
    assert control_fields(control)['max active requests'] == 0
    for _ in range(3):
        assert server.request().body == b'hello'
    fields = control_fields(control)
    assert (fields['active requests'], fields['max active requests']) == (0, 1)


def test_memory(fcgi_unix, world):
    """P8: of every process, without an option for it, and as it is when the page is asked for."""
    control = world.new_path('control')
    server = fcgi_unix('''
        kept = []
        def application(environ, start_response):
            kept.append(bytearray(b'x') * 64_000_000)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'kept']
    ''', '--control', control)

    def memory():
        process, = control_fields(control, 'json&full')['processes']
        return process['memory']
    before = memory()
    assert abs(before - harness.rss(server.pid)) < 4_000_000
    assert server.request().body == b'kept'
    assert memory() > before + 60_000_000


def waiting(server, gate, count):
    """So many requests that end when the gate opens."""
    exchanges = [server.start(path='/slow', query=str(gate)) for _ in range(count)]
    for exchange in exchanges:
        exchange.finish_body()
    return exchanges


def test_listen_queue(fcgi_server, world, tmp_path):
    """P8: what waits for a thread, as php-fpm counts it: now, at most, and how many may."""
    control, gate = world.new_path('control'), tmp_path / 'gate'
    server = fcgi_server(WAIT, '--control', control)
    before = control_fields(control)
    # One connection may have waited while the application was loaded.
    assert before['listen queue'] == 0 and before['max listen queue'] <= 1 and before['listen queue len'] > 3
    first, = waiting(server, gate, 1)
    wait_for(lambda: control_fields(control)['active requests'] == 1, 10, 'the request that runs')
    others = waiting(server, gate, 3)
    full = wait_for(lambda: (now := control_fields(control))['listen queue'] == 3 and now, 10, 'the queue')
    assert full['max listen queue'] == 3 and full['listen queue len'] == before['listen queue len']
    assert 'Listen queue</dt><dd class=warn>3 ' in fcgi.Connection(str(control)).request(harness.cgi_params()).text
    gate.touch()
    assert all(exchange.response().status == 200 for exchange in [first, *others])
    after = control_fields(control)
    assert (after['listen queue'], after['max listen queue']) == (0, 3)


@pytest.mark.parametrize('options', [(), ('--processes', '1')], ids=['alone', 'master'])
def test_listen_queue_that_nobody_looks_at(fcgi_server, world, tmp_path, options):
    """P8: the most is also seen where the page is read only when the queue is empty again."""
    control, gate = world.new_path('control'), tmp_path / 'gate'
    server = fcgi_server(WAIT, '--control', control, *options)
    server.allow_log('SIGUSR2|Thread|File|  ')
    exchanges = waiting(server, gate, 1)
    wait_for(lambda: control_fields(control)['active requests'] == 1, 20, 'the request that runs')
    exchanges += waiting(server, gate, 2)
    for count in (1, 2):    # when the second dump is in the log, the round of the first one is over
        server.signal(signal.SIGUSR2)
        wait_for(lambda: server.logged.count('SIGUSR2: stacks') == count, 10, 'the stacks')
    gate.touch()
    assert all(exchange.response().status == 200 for exchange in exchanges)
    after = control_fields(control)
    assert (after['listen queue'], after['max listen queue']) == (0, 2)
    assert server.stop(timeout=10) == 0


def test_html(fcgi_server):
    """P8: well-formed, nothing loaded from elsewhere, reloads itself, fit for a phone."""
    server = fcgi_server(HELLO, *PATHS)
    response = server.request(path='/status', query='full')
    assert response.header('Content-Type') == 'text/html; charset=utf-8'
    page = Page(response.text)
    assert 'script' not in page.tags
    assert ('http-equiv', 'refresh') in page.attributes and ('content', '5') in page.attributes
    assert ('name', 'viewport') in page.attributes
    assert not {'src', 'onclick'} & {name for name, _ in page.attributes}
    assert all(value.startswith('?') for name, value in page.attributes if name == 'href')
    assert "default-src 'none'" in response.header('Content-Security-Policy')
    assert 'url(' not in response.text and '@import' not in response.text
    assert page.tags.count('table') == 2
    assert 'table' not in Page(server.request(path='/status').text).tags


def test_verdict_of_an_idle_server(fcgi_unix, world):
    """The thread that answers the page does not make the server a busy one."""
    server = fcgi_unix(HELLO, *PATHS, '--control', world.new_path('control'))
    assert '<h1 class=good>Serving</h1>' in server.request(path='/status').text


def test_escaped_request_line(fcgi_unix, tmp_path):
    """What the client sent comes out as it went in: escaped, not dropped."""
    server = fcgi_unix(WAIT, *PATHS, '--threads', '2')
    hostile, gate = '/x?<script>alert("1")</script>&\'', tmp_path / 'gate'
    exchange = server.start(path='/x', query=str(gate), params={'REQUEST_URI': hostile})
    exchange.finish_body()

    def is_shown():
        page = Page(server.request(path='/status', query='full').text)
        assert 'script' not in page.tags
        return 'GET ' + hostile in ''.join(page.texts)
    wait_for(is_shown, 5, 'the request line')
    assert 'script' not in server.request(path='/status', query='openmetrics&full').text
    gate.touch()
    assert exchange.response().status == 200


def test_openmetrics(fcgi_server):
    """P8: the format's rules hold, and counters have _total."""
    server = fcgi_server(HELLO, *PATHS)
    for _ in range(3):
        server.request()
    response = server.request(path='/status', query='openmetrics&full')
    assert response.header('Content-Type') == 'application/openmetrics-text; version=1.0.0; charset=utf-8'
    samples = parse_openmetrics(response.text)
    assert samples['wsgi_cgi_requests_total'] == 3
    assert samples['wsgi_cgi_active_requests'] == samples['wsgi_cgi_threads'] == 1
    assert samples['wsgi_cgi_process_requests_total{slot="0"}'] == 3
    info, = [name for name in samples if name.startswith('wsgi_cgi_build_info')]
    assert server.script in info


def test_text(fcgi_server):
    """P8: lines of name and value, one block for each process."""
    server = fcgi_server(HELLO, *PATHS)
    server.request()
    response = server.request(path='/status', query='text&full')
    assert response.header('Content-Type') == 'text/plain; charset=utf-8'
    assert re.search(r'^requests: +1$', response.text, re.MULTILINE)
    assert re.search(rf'^pid: +{server.pid}$', response.text, re.MULTILINE)
    assert all(re.fullmatch(r'[a-z ]+: +\S.*|\*+|', line) for line in response.text.splitlines())


@pytest.mark.parametrize('mode', [(), ('--processes', '2')], ids=' '.join)
def test_status_says_whether_there_is_a_gil(serve, mode):
    """P8: JSON always has it, of the program and of each process; the pages for people and OpenMetrics only have what is not a
    matter of course."""
    server = serve(HELLO, *PATHS, *mode)
    status = server.request(path='/status', query='json&full').json
    assert status['gil'] is not FREE_THREADED
    assert status['processes'] and all(p['gil'] is status['gil'] for p in status['processes'])
    text, html, metrics = (server.request(path='/status', query=q).body.decode() for q in ('text&full', 'html', 'openmetrics'))
    assert bool(re.search(r'^python: +3\.\d+\.\S+ free-threaded, GIL off$', text, re.MULTILINE)) == FREE_THREADED
    assert bool(re.search(r'^gil: +off$', text, re.MULTILINE)) == FREE_THREADED
    assert bool(re.search(r'<dt>Python</dt><dd>3\.\S+ free-threaded <small>GIL off</small>', html)) == FREE_THREADED
    assert ('wsgi_cgi_gil_processes 0\n' in metrics) == FREE_THREADED


def test_ping(fcgi_server):
    """P8: pong, never from a cache, without the application."""
    server = fcgi_server('''
        def application(environ, start_response):
            raise SystemExit('the application was called')
    ''', *PATHS)
    response = server.request(path='/ping')
    assert (response.status, response.body) == (200, b'pong')
    assert response.header('Content-Type') == 'text/plain' and response.header('Cache-Control') == 'no-store'


@pytest.mark.parametrize('path', ['/ping', '/status'])
def test_methods(fcgi_server, path):
    """HEAD has the head alone; all but GET and HEAD are refused, and their body does no harm."""
    server = fcgi_server(HELLO, *PATHS)
    head = server.request('HEAD', path)
    assert head.status == 200 and head.body == b'' and int(head.header('Content-Length')) > 3
    response = server.request('POST', path, body=b'x' * 200_000)
    assert response.status == 405 and response.header('Allow') == 'GET, HEAD'
    assert server.request(path='/').body == b'hello'


@pytest.mark.parametrize('uri, mine', [('/status', True), ('/status?json', True), ('/%73tatus', False),
                                       ('/a/../status', False), ('//status', False), ('/status/', False),
                                       ('/other', False)])
def test_path_as_sent(fcgi_unix, uri, mine):
    """The path of REQUEST_URI counts: a web server that lets /status through only for some decides by that, too."""
    server = fcgi_unix(HELLO, *PATHS)
    response = server.request(path='/status', params={'REQUEST_URI': uri})
    assert (response.body != b'hello') == mine


def test_path_without_request_uri(fcgi_unix):
    """Else SCRIPT_NAME and PATH_INFO, however a server divides them."""
    server = fcgi_unix(HELLO, *PATHS)
    for script, info in (('', '/ping'), ('/ping', None)):
        params = {'REQUEST_URI': None, 'SCRIPT_NAME': script, 'PATH_INFO': info}
        assert server.request(params=params).body == b'pong', (script, info)


def test_paths_beside_the_mount(fcgi_unix):
    """They are paths of the site, and need not be below --mount. All others there are still nobody's."""
    server = fcgi_unix(HELLO, *PATHS, '--mount', '/shop')
    server.allow_log('is outside --mount')
    for sent in ({}, {'REQUEST_URI': None}):
        assert server.request(path='/ping', params=sent).body == b'pong'
        assert b'requests' in server.request(path='/status', params=sent).body
        assert server.request(path='/shop/x', params=sent).body == b'hello'
    for path in '/status/', '/shop2', '/':
        assert server.request(path=path).status == 404
    assert server.request(path='/status', params={'REQUEST_URI': '/other'}).status == 404


def test_paths_in_the_mount(fcgi_unix):
    """As the client sent them: with the path of --mount."""
    server = fcgi_unix(HELLO, '--status-path', '/shop/status', '--ping-path', '/shop/ping', '--mount', '/shop')
    assert server.request(path='/shop/ping').body == b'pong'
    assert b'requests' in server.request(path='/shop/status').body
    server.allow_log('is outside --mount')
    assert server.request(path='/ping').status == 404


def test_not_in_cgi(cgi):
    """There is no process whose status could be shown: these paths are the application's, or outside --mount."""
    server = cgi.serve(HELLO, *PATHS, '--mount', '/shop')
    server.allow_log('is outside --mount')
    assert server.request(path='/status').status == server.request(path='/ping').status == 404


def test_off_by_default(transport):
    """Without the options these paths are the application's."""
    server = transport.serve(HELLO)
    assert server.request(path='/status').body == server.request(path='/ping').body == b'hello'


def test_application_that_does_not_load(fcgi_unix):
    """The page is there just then, and says so."""
    server = fcgi_unix('raise ImportError("no such thing")\n', *PATHS)
    server.allow_log('no such thing|error pages|ImportError')
    server.exit_codes = {0}
    assert server.request(path='/ping').body == b'pong'
    assert 'The application does not load' in server.request(path='/status').text
    assert server.request(path='/status', query='json').json['broken processes'] == 1


@pytest.mark.parametrize('option', ['--status-path', '--ping-path'])
@pytest.mark.parametrize('value', ['status', '', '/a?b', '/a#b', '/a b'])
def test_wrong_path(run, option, value):
    """What cannot be a path of a URL is refused at the start."""
    finished = run(option, value, 'app.py')
    assert finished.code == 64 and f'{option}: invalid value "{value}"' in finished.stderr
