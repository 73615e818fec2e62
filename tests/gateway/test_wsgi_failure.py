"""W63-W65: what happens when the application does not end well."""

import re

import pytest

from apps import HELLO
from test_venv import ask_python

RAISE = '''
import sys
def deep():
    deep()
EXCEPTIONS = {
    'ValueError': lambda: ValueError('boom é \\udc80'), 'SystemExit': lambda: SystemExit(3), 'quit': lambda: SystemExit(),
    'KeyboardInterrupt': KeyboardInterrupt, 'GeneratorExit': GeneratorExit, 'MemoryError': MemoryError,
    'StopIteration': StopIteration, 'StopAsyncIteration': StopAsyncIteration,
}
class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError('in str')
    __repr__ = __str__
EXCEPTIONS['Unprintable'] = Unprintable
def fail(kind):
    if kind == 'RecursionError':
        deep()
    if kind == 'chained':
        try:
            raise LookupError('cause')
        except LookupError as error:
            raise ValueError('effect') from error
    if kind == 'group':
        raise ExceptionGroup('many', [ValueError('one'), TypeError('two')])    # a NameError before 3.11
    raise EXCEPTIONS[kind]()
def in_call(environ, start_response):
    fail(environ['QUERY_STRING'])
def in_iteration(environ, start_response):
    start_response('200 OK', [('X-A', '1')])
    class Body:
        def __iter__(self):
            return self
        def __next__(self):
            fail(environ['QUERY_STRING'])
    return Body()
def after_output(environ, start_response):
    start_response('200 OK', [('X-A', '1')])
    yield b'sent'
    fail(environ['QUERY_STRING'])
def hello(environ, start_response):
    start_response('200 OK', [('X-A', '1')])
    return [b'hello']
def application(environ, start_response):
    return globals()[environ['PATH_INFO'][1:]](environ, start_response)
'''
KINDS = {'ValueError': 'ValueError: boom', 'SystemExit': 'SystemExit: 3', 'quit': 'SystemExit',
         'KeyboardInterrupt': 'KeyboardInterrupt', 'GeneratorExit': 'GeneratorExit', 'MemoryError': 'MemoryError',
         'RecursionError': 'RecursionError: maximum', 'Unprintable': 'Unprintable', 'chained': 'ValueError: effect',
         'group': 'ExceptionGroup: many|NameError'}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('where', ['in_call', 'in_iteration'])
def test_exception_before_output(transport, where, kind):
    """W63, W65: logged with its traceback under an id, answered with 500 and the id and nothing more; life goes on."""
    server = transport.serve(RAISE)
    server.expect_log(KINDS[kind])
    server.allow_log('.')
    response = server.request(path='/' + where, query=kind)
    assert response.status == 500 and b'X-A' not in response.raw
    text = response.body.decode()
    assert 'Traceback' not in text and 'boom' not in text and 'app.py' not in text and kind not in text
    ids = re.findall(r'<code>(\w{12})</code>', text)
    assert len(ids) == 1 and re.search(rf'error: \[{ids[0]}\] GET .*/{where}', server.logged)
    if transport.is_fcgi:
        assert response.app_status != 0
        assert server.request(path='/hello').body == b'hello'
    traceback = server.logged
    assert 'Traceback (most recent call last)' in traceback and 'in fail' in traceback
    if kind == 'chained':
        assert 'LookupError: cause' in traceback and 'direct cause' in traceback
    if kind == 'group':
        assert 'TypeError: two' in traceback or 'NameError' in traceback


@pytest.mark.parametrize('kind', ['StopIteration', 'StopAsyncIteration'])
def test_stop_iteration_in_the_call(transport, kind):
    """W63: no end of anything, an error like others."""
    server = transport.serve(RAISE)
    server.expect_log(kind)
    assert server.request(path='/in_call', query=kind).status == 500


@pytest.mark.parametrize('kind', ['ValueError', 'SystemExit', 'KeyboardInterrupt', 'GeneratorExit', 'MemoryError'])
def test_exception_after_output(transport, kind):
    """W64: no second head, and the client can tell that the response is not whole."""
    server = transport.serve(RAISE)
    if transport.is_cgi:
        server.exit_codes = {1}
    server.expect_log(KINDS[kind])
    server.allow_log('.')
    response = server.request(path='/after_output', query=kind)
    assert response.status == 200 and response.body == b'sent' and not response.complete
    assert server.logged.count('Traceback (most recent call last)') == 1
    if transport.is_fcgi:
        assert response.protocol_status is None and response.eof
        assert server.request(path='/hello').body == b'hello'


def test_every_failure_has_its_own_id(fcgi_unix):
    """W63: two requests, two ids."""
    server = fcgi_unix(RAISE)
    server.expect_log('ValueError')
    server.allow_log('.')
    ids = {re.search(r'<code>(\w+)</code>', server.request(path='/in_call', query='ValueError').text)[1]
           for _ in range(5)}
    assert len(ids) == 5


def test_debug_page(transport):
    """W63: with --debug the page shows the exception and where it was raised."""
    server = transport.serve(RAISE, '--debug')
    server.expect_log('ValueError')
    server.allow_log('.')
    response = server.request(path='/in_call', query='chained')
    assert response.status == 500 and response.header('Content-Type').startswith('text/html')
    assert 'ValueError' in response.text and 'effect' in response.text and 'app.py' in response.text


def test_traceback_is_one_piece(fcgi_unix):
    """W63: tracebacks of two threads that fail at the same time are not mixed, and each goes to its own request."""
    server = fcgi_unix('''
        import threading
        both = threading.Barrier(2)
        def application(environ, start_response):
            both.wait(10)
            raise ValueError(environ['QUERY_STRING'])
    ''', '--threads', '2')
    server.allow_log('.')
    exchanges = [server.start(query=name) for name in ('one', 'two')]
    for exchange in exchanges:
        exchange.finish_body()
    for exchange, name in zip(exchanges, ('one', 'two')):
        text = exchange.response().stderr.decode()
        assert text.count('Traceback') == 1 and f'ValueError: {name}\n' in text


def test_nothing_of_a_failed_request_is_kept(fcgi_unix):
    """W63, W47: the frames of the failed request and what they hold are free when it is over."""
    server = fcgi_unix('''
        import gc, weakref
        gc.disable()
        class Thing:
            pass
        refs = []
        def application(environ, start_response):
            if environ['QUERY_STRING'] == 'fail':
                thing = Thing()
                refs.append(weakref.ref(thing))
                raise ValueError
            start_response('200 OK', [('X-A', '1')])
            if environ['QUERY_STRING'] == 'half':
                return half(start_response)
            return [repr([ref() for ref in refs]).encode()]
        def half(start_response):
            thing = Thing()
            refs.append(weakref.ref(thing))
            yield b'sent'
            raise ValueError
    ''')
    server.allow_log('.')
    server.request(query='fail')
    server.request(query='half')
    assert server.request().body == b'[None, None]'


def test_context_variables_end_with_the_request(fcgi_unix):
    """Nothing of one request survives into the next: contextvars neither, but those set at import stay."""
    server = fcgi_unix('''
        import contextvars, decimal
        decimal.getcontext().prec = 7
        var = contextvars.ContextVar('var', default='unset')
        def application(environ, start_response):
            before = var.get()
            var.set(environ['QUERY_STRING'])
            start_response('200 OK', [('X-A', '1')])
            yield repr((before, var.get(), decimal.getcontext().prec)).encode()
    ''')
    assert server.request(query='a').body == b"('unset', 'a', 7)"
    assert server.request(query='b').body == b"('unset', 'b', 7)"


@pytest.mark.parametrize('ending, code', [('sys.exit(7)', 7), ('sys.exit()', 0), ('raise ValueError', 1),
                                          ('return [b"child"]', 1)])
def test_forked_child_that_comes_back(transport, ending, code):
    """A child that the application forked never answers its parent's request, however it comes back."""
    server = transport.serve(f'''
        import os, sys
        def application(environ, start_response):
            pid = os.fork()
            if pid == 0:
                start_child()
                {ending}
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            start_response('200 OK', [('X-A', '1')])
            return [b'%d' % status]
        def start_child():
            os.environ['CHILD'] = '1'
    ''')
    server.allow_log('ValueError|a child process that the application forked')
    for _ in range(2):
        assert server.request().body == b'%d' % code


def test_hard_crashes_end_one_process_only(fcgi_unix):
    """W65: os._exit() and a crash end the process without a word to the client: the connection is cut."""
    for ending in ('os._exit(3)', 'os.kill(os.getpid(), 9)'):
        server = fcgi_unix(f'''
            import os
            def application(environ, start_response):
                {ending}
        ''')
        server.process.exit_codes = {3, -9}
        response = server.request()
        assert response.head == b'' and not response.complete
        server.wait()


def test_threads_survive_exceptions(fcgi_unix):
    """W65: the same threads go on serving after each kind of exception."""
    server = fcgi_unix(RAISE.replace("return [b'hello']", "import threading; return [b'%d' % threading.get_ident()]"),
                       '--threads', '2')
    server.allow_log('.')
    def idents():
        return {server.request(path='/hello').body for _ in range(20)}
    before = idents()
    for kind in KINDS:
        for where in ('in_call', 'in_iteration', 'after_output'):
            server.request(path='/' + where, query=kind)
    assert idents() | before == before or len(idents() | before) <= 2


def test_hello_still_works(transport):
    """The least an application can be."""
    response = transport.serve(HELLO).request()
    assert (response.status, response.body, response.complete) == (200, b'hello', True)


MODULES = '''
import sys
before = None
def chained():
    try:
        {}['é']
    except KeyError as error:
        raise ValueError('ü' + '中') from error
def named():
    return sys.modulez + undefined
def compiled():
    compile('a b', 'x.py', 'exec')
def ended():
    sys.exit(3)
def application(environ, start_response):
    global before
    before = before or set(sys.modules)
    if environ['QUERY_STRING']:
        globals()[environ['QUERY_STRING']]()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [' '.join(sorted(set(sys.modules) - before)).encode()]
'''


@pytest.mark.parametrize('options', [[], ['--debug'], ['--threads', '2'], ['--processes', '1', '--preload']], ids=' '.join)
def test_nothing_is_imported_to_fail(fcgi_unix, options):
    """W63: a request that fails imports nothing: there may be no descriptor for it, and all threads would wait."""
    server = fcgi_unix(MODULES, *options)
    server.allow_log('.')
    assert server.request().status == 200
    for query in 'chained', 'named', 'compiled', 'ended':
        assert server.request(query=query).status == 500
    assert server.request().text == ''
    assert server.stop() == 0


def test_nothing_more_is_imported_in_cgi_mode(cgi):
    """W63: where each request is a start, only those that fail pay for it."""
    names = cgi.serve(MODULES.replace('- before', '- set()')).request().text.split()
    assert 'sys' in names and not {'traceback', 'tokenize', 're'} & set(names)


@pytest.mark.parametrize('name, why', [('token', 'ImportError'), ('traceback', 'SystemExit')])
def test_traceback_behind_a_module_of_the_application(transport, tmp_path, name, why):
    """W63: a module of the application that stands in front of one of the standard library's takes the details of a
    traceback, and says so; not the lines, nor the message."""
    (tmp_path / f'{name}.py').write_text(
        'word = 1\n' if name == 'token' else 'import sys\nif __name__ == "traceback":\n    sys.exit("a script")\n')
    server = transport.serve('''
        def deep(value):
            return 1 / value
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'%d' % deep(int(environ['QUERY_STRING']))]
    ''')
    server.expect_log('ZeroDivisionError')
    assert server.request(query='0').status == 500
    says_why = fr'.* cannot be used: {why}: .*\n'
    if name == 'token' and ask_python('import sys; print(sys.version_info >= (3, 13))') == 'True':
        says_why = ''                   # that traceback does without it, and without the lines of the source
    assert re.search(fr'Traceback .*\n{says_why}.*app.py", line 6, in application\n'
                     r'.*app.py", line 3, in deep\n.*ZeroDivisionError: division', server.logged)
    if transport.is_fcgi:
        assert server.request(query='1').body == b'1'
