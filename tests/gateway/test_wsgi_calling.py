"""W1-W5, W43, W48, W49: how the application is called and what it may return."""

import pytest

from apps import DUMP

CALLABLES = {
    'two positional arguments (W1)': '''
def application(x, y, /):
    return real(x, y)
''',
    'function': 'application = real',
    'lambda': 'application = lambda environ, start_response: real(environ, start_response)',
    'partial': '''
import functools
def many(extra, environ, start_response):
    return real(environ, start_response)
application = functools.partial(many, 1)
''',
    'instance': '''
class App:
    def __call__(self, environ, start_response):
        return real(environ, start_response)
application = App()
''',
    'bound method': '''
class App:
    def handle(self, environ, start_response):
        return real(environ, start_response)
application = App().handle
''',
    'class': '''
class application:
    def __init__(self, environ, start_response):
        self.environ, self.start_response = environ, start_response
    def __iter__(self):
        return iter(real(self.environ, self.start_response))
''',
    'builtin': 'application = real.__call__\nassert type(application).__name__ == "method-wrapper"',
    'false instance': '''
class App:
    def __bool__(self):
        return False
    def __len__(self):
        return 0
    def __call__(self, environ, start_response):
        return real(environ, start_response)
application = App()
''',
    'instance whose attributes raise': '''
class App:
    def __getattr__(self, name):
        raise RuntimeError(name)
    def __call__(self, environ, start_response):
        return real(environ, start_response)
application = App()
''',
    'default arguments': '''
def application(environ, start_response, more=None, *, database=None):
    return real(environ, start_response)
''',
    'any arguments': 'application = lambda *args, **keywords: real(*args, **keywords)',
    'partial with keywords': '''
import functools
def many(environ, start_response, extra, *, database):
    return real(environ, start_response)
application = functools.partial(many, extra=1, database=2)
''',
    'partial of a partial': '''
import functools
def many(one, two, environ, start_response):
    return real(environ, start_response)
application = functools.partial(functools.partial(many, 1), 2)
''',
    'decorated async function': '''
import functools
async def app(scope, receive, send):
    pass
@functools.wraps(app)
def application(*args):
    return real(*args)
''',
    'generic function': 'import functools\napplication = functools.singledispatch(real)',
    'static __call__': '''
class App:
    @staticmethod
    def __call__(environ, start_response):
        return real(environ, start_response)
application = App()
''',
    'class method as __call__': '''
class App:
    @classmethod
    def __call__(cls, environ, start_response):
        return real(environ, start_response)
application = App()
''',
    'inherited __call__': '''
class Base:
    def __call__(self, environ, start_response):
        return real(environ, start_response)
class App(dict, Base):
    pass
application = App()
''',
    'another object as __call__': '''
class App:
    __call__ = type('Inner', (), {'__call__': lambda self, *args: real(*args)})()
application = App()
''',
    'class with __new__': '''
class application:
    def __new__(cls, environ, start_response):
        return real(environ, start_response)
''',
    'class with __getitem__': '''
class application:
    def __init__(self, environ, start_response):
        self.blocks = real(environ, start_response)
    def __getitem__(self, i):
        return self.blocks[i]
''',
    'class with an async __call__': '''
class application:
    def __init__(self, environ, start_response):
        self.blocks = real(environ, start_response)
    def __iter__(self):
        return iter(self.blocks)
    async def __call__(self, scope, receive, send):
        pass
''',
    'metaclass': '''
class Meta(type):
    def __call__(cls, environ, start_response):
        return real(environ, start_response)
class application(metaclass=Meta):
    pass
''',
    'proxy': '''
class Forward:
    def __get__(self, instance, owner):
        return self if instance is None else real
class Proxy:
    __call__ = Forward()
    __class__ = property(lambda self: type(real))
    def __getattr__(self, name):
        return getattr(real, name)
application = Proxy()
''',
    'mock': '''
from unittest import mock
application = mock.MagicMock(side_effect=real)
''',
}


@pytest.mark.parametrize('kind', CALLABLES)
def test_any_callable(transport, kind):
    """W1, W2: two positional arguments, any callable, and no look at anything else of it."""
    server = transport.serve('''
def real(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'called']
''' + CALLABLES[kind] + '\n')
    response = server.request()
    assert (response.status, response.body) == (200, b'called')


def test_called_again(fcgi_server):
    """W3: one application, many requests, on one connection and on new ones."""
    server = fcgi_server('''
        calls = 0
        def application(environ, start_response):
            global calls
            calls += 1
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d' % calls]
    ''')
    conn = server.connect()
    assert [server.request(conn=conn, keep=True).body for _ in range(3)] == [b'1', b'2', b'3']
    assert server.request().body == b'4'


def test_environ_is_a_dict(transport):
    """W4: exactly a dict."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [str(type(environ) is dict).encode()]
    ''')
    assert server.request().body == b'True'


RUIN = DUMP.replace('def application', 'def dump') + '''
def application(environ, start_response):
    result = dump(environ, start_response)
    for key in list(environ):
        environ[key] = 'ruined'
    environ['left'] = 'behind'
    if environ['QUERY_STRING'] == 'ruined':
        environ.clear()
    return result
'''


def test_environ_may_be_changed(fcgi_server):
    """W5: whatever an application does to its environ, the next request gets a whole fresh one."""
    server = fcgi_server(RUIN)
    conn = server.connect()
    seen, ids = [], set()
    for _ in range(3):
        shown = server.request('POST', '/a/b', 'q=1', {'X-Long': 'v' * 1000, 'Cookie': 'c=1'}, b'x', conn=conn,
                               keep=True).json
        ids.add(shown.pop('wsgi_cgi.request_id'))
        seen.append({k: v for k, v in shown.items() if ' object at ' not in v})
    assert len(ids) == 3 and 'ruined' not in ids
    assert seen[0] == seen[1] == seen[2]
    assert seen[0]['HTTP_X_LONG'] == 'v' * 1000 and seen[0]['PATH_INFO'] == '/a/b'


ITERABLES = '''
import io, tempfile
def items():
    yield b'one '
    yield b'two'
class Getitem:
    def __getitem__(self, i):
        return [b'one ', b'two'][i]
class Iter:
    def __iter__(self):
        return items()
class Both:
    def __init__(self):
        self.left = [b'one ', b'two']
    def __iter__(self):
        return self
    def __next__(self):
        if not self.left:
            raise StopIteration
        return self.left.pop(0)
class List(list):
    pass
class Bytes(bytes):
    pass
def file():
    f = tempfile.TemporaryFile()
    f.write(b'one \\ntwo')
    f.seek(0)
    return f
KINDS = {
    'list': lambda: [b'one ', b'two'],
    'tuple': lambda: (b'one ', b'two'),
    'generator': items,
    'iterator': lambda: iter([b'one ', b'two']),
    'map': lambda: map(bytes, [b'one ', b'two']),
    'dict': lambda: {b'one ': 1, b'two': 2},
    'old getitem': Getitem,
    'object with iter': Iter,
    'its own iterator': Both,
    'list subclass': lambda: List([b'one ', b'two']),
    'bytes subclass': lambda: [Bytes(b'one '), Bytes(b'two')],
    'many': lambda: [b'one ', *[b''] * 100, *(b't', b'w', b'o')],
    'file': file,
    'bytesio': lambda: io.BytesIO(b'one two'),
    'empty list': list,
    'empty tuple': tuple,
    'empty generator': lambda: (x for x in ()),
    'one empty block': lambda: [b''],
}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return KINDS[environ['QUERY_STRING'].replace('+', ' ')]()
'''
KINDS = ['list', 'tuple', 'generator', 'iterator', 'map', 'dict', 'old getitem', 'object with iter',
         'its own iterator', 'list subclass', 'bytes subclass', 'many', 'file', 'bytesio', 'empty list', 'empty tuple',
         'empty generator', 'one empty block']


def test_any_iterable(transport):
    """W49, W57: everything Python can iterate is a body; an empty one is a whole response, too."""
    server = transport.serve(ITERABLES)
    for kind in KINDS:
        response = server.request(query=kind.replace(' ', '+'))
        wanted = b'' if 'empty' in kind else b'one two'
        assert response.body.replace(b'\n', b'') == wanted, kind
        assert response.status == 200 and response.complete, kind
        length = response.header('Content-Length')
        assert length is None or int(length) == len(response.body), kind


def test_start_response_in_the_first_next(transport):
    """W43: a generator's body has not run before its first block is asked for."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('201 Late', [('Content-Type', 'text/plain')])
            yield b'late'
    ''')
    response = server.request()
    assert (response.status_line, response.body) == ('201 Late', b'late')


NEVER = '''
import os
class Body(list):
    def close(self):
        with open(os.environ['NOTES'], 'a') as f:
            f.write('closed\\n')
def application(environ, start_response):
    return Body([b'x'] if environ['QUERY_STRING'] == 'block' else [])
'''


@pytest.mark.parametrize('body', ['block', 'empty'])
def test_start_response_never_called(transport, tmp_path, body):
    """W48: an error, and the result is closed all the same."""
    notes = tmp_path / 'notes'
    server = transport.serve(NEVER, env={'NOTES': str(notes)})
    server.expect_log('AssertionError')
    response = server.request(query=body)
    assert response.status == 500 and b'x' != response.body
    assert notes.read_text() == 'closed\n'


@pytest.mark.parametrize('result', ['[b"x"]', '(b"x",)', 'iter([b"x"])', '[]', 'None', '7', 'b"bytes"', '"text"'])
def test_results_that_are_no_response(transport, result):
    """W48, W50: no start_response, or nothing that can be a body: 500 and the log says why."""
    server = transport.serve(f'''
        def application(environ, start_response):
            if {result!r} in ('None', '7', 'b"bytes"', '"text"'):
                start_response('200 OK', [('Content-Type', 'text/plain')])
            return {result}
    ''')
    server.expect_log('TypeError: the application returned (NoneType|int|bytes|str); it must return an iterable of bytes'
                      if result in ('None', '7', 'b"bytes"', '"text"') else 'AssertionError: .*start_response')
    server.allow_log('raised (Type|Assertion)Error')
    assert server.request().status == 500
