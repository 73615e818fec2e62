"""APP and how it is loaded: files, modules, factories; loads that fail and are tried again. Several scripts in one
process are in test_scripts.py. P19."""

import json
import os
import re
import subprocess

import pytest

from fcgi import wait_for
from harness import FcgiServer
from settings import FREE_THREADED, TSAN
from test_venv import embedded_python

# What an application can see of the way it was loaded.
WHERE = '''
import json, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({'name': __name__, 'file': __file__, 'path': sys.path, 'argv': sys.argv,
                        'registered': sys.modules[__name__].__dict__ is globals()}).encode()]
'''

FACTORIES = '''
class ns:
    class inner:
        @staticmethod
        def app(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'inner']
def make(*args, **keywords):
    def app(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [repr((args, keywords)).encode()]
    return app
def nothing():
    pass
text = 'x'
'''


def refused(server, *patterns):
    """Declare the log of a failed load and make the request that fails: its 500 has an id that is in the log."""
    server.expect_log(r'\[\w{12}\] GET /: the application raised LoadError')
    for pattern in patterns:
        server.expect_log(pattern)
    server.allow_log(r'LoadError|could not be loaded|exited while|serving error pages')
    server.allow_log(r'^\S*(Error|SystemExit|KeyboardInterrupt|BaseException)\b')
    response = server.request()
    assert response.status == 500
    assert b'Traceback' not in response.body
    wait_for(lambda: server.log.matches(r'\[\w{12}\] GET /: '), 5, 'the log line')
    ids = [line.split('[')[2].split(']')[0] for line in server.logged.splitlines() if '] GET /: ' in line]
    assert any(i.encode() in response.body for i in ids)
    return response


# --- files ------------------------------------------------------------------------------------------------------------

def test_file_is_a_module_of_its_own(transport, tmp_path):
    """P19: a file is registered in sys.modules under a name that is not __main__, with __file__, argv and its folder."""
    (tmp_path / 'site').mkdir()
    script = tmp_path / 'site' / 'shop.py'
    script.write_text(WHERE)
    seen = json.loads(transport.serve(str(script)).request().body)
    assert seen == {'name': 'shop', 'file': str(script), 'path': seen['path'], 'argv': [str(script)],
                    'registered': True}
    assert seen['path'][0] == str(script.parent)


@pytest.mark.parametrize('name', ['shop.wsgi', 'shop.cgi', 'shop.fcgi', 'shop', '9-lives.py', 'errno.py', 'os.py',
                                  'encodings.py'])
def test_other_names_are_made_up(cgi, tmp_path, name):
    """Names that no import asks for, or that belong to another module, are not taken: `import errno` stays errno."""
    script = tmp_path / name
    script.write_text('import encodings.utf_8, errno, os.path\n'
                      'assert errno.ENOENT == 2 and os.path.join and encodings.utf_8.decode\n' + WHERE)
    seen = json.loads(cgi.serve(f'./{name}' if name == 'shop' else str(script), cwd=tmp_path).request().body)
    assert seen['name'].startswith('_wsgi_script_') and seen['name'].isidentifier()
    assert seen['file'] == str(script) and seen['registered']


def test_main_block_does_not_run(cgi):
    """`if __name__ == '__main__'` starts development servers."""
    server = cgi.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'served']
        if __name__ == '__main__':
            raise SystemExit('development server')
    ''')
    assert server.request().body == b'served'


def test_other_files_can_import_the_script(transport, tmp_path):
    """`from shop import DB` in a helper is the running module, not a second copy."""
    (tmp_path / 'models.py').write_text('import shop\ndef count():\n    return shop.DB\n')
    script = tmp_path / 'shop.py'
    script.write_text('''
DB = []
import models
def application(environ, start_response):
    DB.append(1)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(models.count() is DB).encode()]
''')
    assert transport.serve(str(script)).request().body == b'True'


@pytest.mark.parametrize('name', ['shop.py', 'shop.wsgi'])
def test_its_objects_can_be_pickled(cgi, tmp_path, name):
    """pickle looks classes up by the name of their module."""
    script = tmp_path / name
    script.write_text('''
import pickle
class Thing:
    pass
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [type(pickle.loads(pickle.dumps(Thing()))).__name__.encode()]
''')
    assert cgi.serve(str(script)).request().body == b'Thing'


@pytest.mark.parametrize('head, body', [
    (b'# -*- coding: latin-1 -*-\n', b'\xe9'), (b'#!/usr/bin/env python3\n# vim: set fileencoding=latin-1 :\n', b'\xe9'),
    (b'', b'\xc3\xa9'), (b'\xef\xbb\xbf', b'\xc3\xa9'), (b'#!/usr/bin/wsgi-cgi\n', b'\xc3\xa9'),
], ids=['cookie', 'shebang and cookie', 'utf-8', 'byte order mark', 'shebang'])
@pytest.mark.parametrize('newline', [b'\n', b'\r\n'], ids=['lf', 'crlf'])
def test_source_encodings(cgi, tmp_path, head, body, newline):
    """PEP 263: the coding cookie, the byte order mark and the #! line mean what they mean to python3."""
    script = tmp_path / 'app.wsgi'
    source = head + b'''TEXT = "''' + body + b'''"
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [ascii(TEXT).encode()]'''
    script.write_bytes(source.replace(b'\n', newline))
    assert cgi.serve(str(script)).request().body == b"'\\xe9'"


@pytest.mark.parametrize('source, pattern', [
    (b'x = 1\ny = "a\0b"\n', r'line 2|null byte'),
    (b'x = "\xff"\n', r'SyntaxError: .*utf-8'),
    (b'# coding: no-such-codec\n', r'SyntaxError: .*(unknown encoding|encoding problem).*no-such-codec'),
    (b'def application(environ, start_response)\n', r'SyntaxError: '),
], ids=['null byte', 'bad utf-8', 'unknown codec', 'syntax'])
def test_source_that_cannot_be_read(transport, tmp_path, source, pattern):
    """A 500 and the reason in the log; the process lives."""
    script = tmp_path / 'app.py'
    script.write_bytes(source)
    refused(transport.serve(str(script)), pattern)


def test_link_to_a_script(cgi, tmp_path):
    """P19: as python3 does it: __file__ is the link, sys.path starts with the folder of what it leads to."""
    (tmp_path / 'real').mkdir()
    (tmp_path / 'cgi-bin').mkdir()
    (tmp_path / 'real' / 'app.py').write_text(WHERE)
    link = tmp_path / 'cgi-bin' / 'shop.py'
    link.symlink_to('../real/app.py')
    seen = json.loads(cgi.serve(str(link)).request().body)
    assert seen['file'] == str(link) and seen['path'][0] == str(tmp_path / 'real')


# --- the callable -----------------------------------------------------------------------------------------------------

TWO = '''
def answer(text):
    def app(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [text]
    return app
app = answer(b'app')
other = answer(b'other')
'''


@pytest.mark.parametrize('more, options, body', [
    ('', [], b'app'), ("application = answer(b'application')\n", [], b'application'),
    ('', ['--callable', 'other'], b'other'), ('', ['--callable', 'answer(b"made")'], b'made'),
    ("class ns: inner = staticmethod(other)\n", ['--callable', 'ns.inner'], b'other'),
])
@pytest.mark.parametrize('form', ['file', 'module'])
def test_which_callable(cgi, tmp_path, form, more, options, body):
    """`application`, else `app`; --callable overrides both."""
    (tmp_path / 'two.py').write_text(TWO + more)
    app = str(tmp_path / 'two.py') if form == 'file' else 'two'
    assert cgi.serve(app, *options, cwd=tmp_path).request().body == body


@pytest.mark.parametrize('app, body', [
    ('m:ns.inner.app', b'inner'), ('m:make()', b'((), {})'), ('m:make(1, "a", k=[None, {2: -3}])',
                                                              b"((1, 'a'), {'k': [None, {2: -3}]})"),
    ('m:make(b"x", (True,),)', b"((b'x', (True,)), {})"), ('pkg.m:make(pkg="yes")', b"((), {'pkg': 'yes'})"),
])
def test_module_and_factory(transport, tmp_path, app, body):
    """MODULE:NAME.NAME and MODULE:FACTORY(literals), as gunicorn writes them; the current folder is on sys.path."""
    (tmp_path / 'm.py').write_text(FACTORIES)
    (tmp_path / 'pkg').mkdir()
    (tmp_path / 'pkg' / '__init__.py').write_text('')
    (tmp_path / 'pkg' / 'm.py').write_text(FACTORIES)
    assert transport.serve(app, cwd=tmp_path).request().body == body


@pytest.mark.parametrize('app, pattern', [
    ('m', r"AttributeError: m has neither 'application' nor 'app'"), ('m:ns.none.app', r"m has no 'ns\.none'"),
    ('m:text', r'TypeError: m: text is a str, not a callable'),
    ('m:nothing()', r'TypeError: m: nothing\(\) is a NoneType, not a callable'),
    ('m:make(open("x"))', 'not a name or a call with literal arguments'),
    ('m:make(*[1])', 'literal arguments'), ('m:make(**{})', 'literal arguments'),
    ('m:make()()', 'literal arguments'), ('m:make()+1', 'literal arguments'), ('m:make(', 'literal arguments'),
    ('m:make)', 'literal arguments'), ('m:1', 'literal arguments'), ('nowhere', "No module named 'nowhere'"),
    ('m.sub:app', "No module named 'm.sub'"),
    ('factory', "factory has neither 'application' nor 'app', but 'create_app': --callable 'create_app\\(\\)' calls it"),
])
def test_no_such_callable(cgi, tmp_path, app, pattern):
    """One line says what was looked for; nothing but literals is evaluated."""
    (tmp_path / 'm.py').write_text(FACTORIES)
    (tmp_path / 'factory.py').write_text('def create_app(config=None): return None\n')
    refused(cgi.serve(app, cwd=tmp_path), pattern)


NO_WSGI = '''
import functools
async def asgi(scope, receive, send): pass
async def asgi_generator(scope, receive, send): yield
async def anything(*args): pass
async def two(environ, start_response): pass
async def make_async(): pass
def decorated(scope, receive, send): pass
def asgi2(scope): pass
class Asgi:
    async def __call__(self, scope, receive, send): pass
    async def method(self, scope, receive, send): pass
class Configured(Asgi):
    def __init__(self, config): pass
class Asgi2:
    def __init__(self, scope): pass
    async def __call__(self, receive, send): pass
asgi_object, partial, partial_object = Asgi(), functools.partial(asgi), functools.partial(Asgi())
def make(): pass
def configure(config=None): pass
def configure_from(config): pass
def three(a, b, c, d=None): pass
partial_three = functools.partial(three, 1, 2)
def keyword(environ, start_response, *, database): pass
class Wsgi:
    def __call__(self, environ, start_response): pass
class Session(Wsgi):
    def __init__(self, app, store=None): pass
class Maker:
    def __call__(self): pass
maker = Maker()
class New:
    def __new__(cls, environ): return []
import json.decoder as module
'''
TWO_GIVEN = ', but a WSGI server gives two, environ and start_response'


@pytest.mark.parametrize('name, sentence', [
    *[(name, f'{name} is an ASGI application, not a WSGI one: serve application = a2wsgi.ASGIMiddleware({wrapped}) instead '
      '(pip install a2wsgi)')
      for name, wrapped in [('asgi', 'asgi'), ('asgi_generator', 'asgi_generator'), ('anything', 'anything'),
                            ('decorated', 'decorated'), ('Asgi', 'Asgi()'), ('Configured', 'Configured(...)'),
                            ('asgi_object', 'asgi_object'), ('asgi_object.method', 'asgi_object.method'),
                            ('partial', 'partial'), ('partial_object', 'partial_object'), ('Asgi()', 'Asgi()')]],
    *[(name, f'{name} is an ASGI 2 application, not a WSGI one: serve application = a2wsgi.ASGIMiddleware('
             f'asgiref.compatibility.guarantee_single_callable({name})) instead (pip install a2wsgi)') for name in ('asgi2', 'Asgi2')],
    ('two', 'two is an async function, which WSGI cannot call'),
    ('make_async()', 'make_async() is a coroutine: a factory must not be an async function'),
    ('make', f'make takes no arguments{TWO_GIVEN}; a factory is written with its arguments, as make()'),
    ('maker', f'maker takes no arguments{TWO_GIVEN}; a factory is written with its arguments, as maker()'),
    ('configure', f'configure takes one argument{TWO_GIVEN}; a factory is written with its arguments, as configure()'),
    ('configure_from',
     f'configure_from takes one argument{TWO_GIVEN}; a factory is written with its arguments, as configure_from(...)'),
    ('three', f'three needs 3 arguments{TWO_GIVEN}'),
    ('functools.partial', None), ('partial_three', None),
    ('keyword', f'keyword needs a keyword argument{TWO_GIVEN}'),
    ('Wsgi', 'Wsgi is a class that cannot be called with two arguments, environ and start_response; an object of it is '
             'made by Wsgi()'),
    ('New', 'New is a class that cannot be called with two arguments, environ and start_response; an object of it is '
            'made by New(...)'),
    ('Session', 'Session is a class whose objects cannot be a response, since they are not iterable; is one of them the '
                'application?'),
    ('module', 'module is a module, not a callable: name the callable in it, as in json.decoder:NAME'),
    ('three.__name__', 'three.__name__ is a str, not a callable'),
])
def test_callable_of_another_kind(run, tmp_path, name, sentence):
    """What fails at every request is told at load: one sentence says what it is and how to serve it. What takes two
    arguments, or hides how many, is not refused (see test_any_callable)."""
    (tmp_path / 'm.py').write_text(NO_WSGI)
    finished = run('--check', f'm:{name}', cwd=tmp_path)
    if sentence is None:
        assert finished.code == 0, finished
        return
    assert finished.code == 70 and finished.stderr.count('\n') == 1, finished
    assert finished.stderr.endswith(f'm:{name} could not be loaded: TypeError: m: {sentence}\n'), finished


def test_asgi_application_of_django(run, tmp_path):
    """A Django site has a wsgi.py beside its asgi.py, so it needs no adapter."""
    package = tmp_path / 'django' / 'core' / 'handlers'
    package.mkdir(parents=True)
    for folder in package, package.parent, package.parent.parent:
        (folder / '__init__.py').write_text('')
    (package / 'asgi.py').write_text('class ASGIHandler:\n    async def __call__(self, scope, receive, send): pass\n')
    (tmp_path / 'asgi.py').write_text('from django.core.handlers.asgi import ASGIHandler\napplication = ASGIHandler()\n')
    finished = run('--check', 'asgi.py', cwd=tmp_path)
    assert finished.code == 70 and finished.stderr.count('\n') == 1, finished
    assert finished.stderr.endswith("asgi.py: application is Django's ASGI application: give the wsgi.py that is beside "
                                    "asgi.py instead\n")


@pytest.mark.parametrize('form', ['application', 'app'])
def test_callable_found_by_its_usual_name(transport, tmp_path, form):
    """Without --callable the sentence has the name that was found; a request has it in the log as well."""
    script = tmp_path / 'shop.py'
    script.write_text(NO_WSGI + f'{form} = asgi\n')
    refused(transport.serve(str(script)), rf'TypeError: {script}: {form} is an ASGI application.*ASGIMiddleware\({form}\)')


@pytest.mark.parametrize('result, pattern', [
    ('asgi(1, 2, 3)', r'returned coroutine; .*: is it an ASGI application\? a2wsgi\.ASGIMiddleware adapts it to WSGI'),
    ('asgi_generator(1, 2, 3)', 'returned async_generator; it must return an iterable of bytes, not an asynchronous one'),
    ('make', r'returned function; .*: is it a factory\? Then write MODULE:FACTORY\(\), or --callable FACTORY\(\)'),
])
def test_result_of_another_kind(transport, result, pattern):
    """Of what could not be told at load, such as a decorated function, the first request says it. Nothing is left for
    Python to warn of."""
    server = transport.serve(NO_WSGI + f'def application(*args):\n    return {result}\n')
    server.expect_log(r'\[\w{12}\] GET /: the application raised TypeError')
    server.expect_log('TypeError: the application ' + pattern)
    assert server.request().status == 500


ASGI_ECHO = '''
async def app(scope, receive, send):
    body, more = b'', True
    while more:
        message = await receive()
        body, more = body + message.get('body', b''), message.get('more_body', False)
    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-type', b'text/plain')]})
    await send({'type': 'http.response.body', 'body': scope['path'].encode() + b' ' + body})
'''


def test_adapter_as_the_sentence_has_it(transport, run, tmp_path):
    """The line that the refusal names, put behind the ASGI application, serves it."""
    script = tmp_path / 'shop.py'
    script.write_text('import a2wsgi\ndef application(environ, start_response):\n    pass\n')
    if run('--check', str(script)).code != 0:
        pytest.skip('a2wsgi is not installed: the package python3-a2wsgi of Debian 13 and later')
    script.write_text('import a2wsgi\n' + ASGI_ECHO)
    line = re.search(r'serve (application = .*) instead', run('--check', str(script)).stderr)[1]
    script.write_text(f'import a2wsgi\n{ASGI_ECHO}\n{line}\n')
    response = transport.serve(str(script)).request('POST', '/x', body=b'as it was')
    assert (response.status, response.body) == (200, b'/x as it was')


# --- what cannot be an application ---------------------------------------------------------------------------------

@pytest.mark.parametrize('app, code, text', [
    ('gone.py', 66, 'gone.py does not exist'), ('no/where/app.py', 66, 'no does not exist'),
    ('./', 66, 'not a regular file'), ('folder.py', 66, 'not a regular file'), ('app.py:app', 64, '--callable'),
    ('./app.py:app', 66, '--callable'), ('m:', 64, 'nothing follows the colon'),
    ('a-b', 64, 'MODULE[:CALLABLE]'), (':app', 64, 'MODULE[:CALLABLE]'), ('app.py/more', 66, 'not a directory'),
])
def test_wrong_app_is_one_line(run, tmp_path, app, code, text):
    """Found out before Python starts: exit code 64 or 66 and one line that says what to do."""
    (tmp_path / 'app.py').write_text(TWO)
    (tmp_path / 'folder.py').mkdir()
    finished = run('--check', app)
    assert finished.code == code and finished.stderr.count('\n') == 1, finished
    assert text in finished.stderr and app in finished.stderr


def test_file_or_module(cgi, run, tmp_path):
    """`shop.wsgi` is the file of that name, where there is one, else the module, as Django's users write it."""
    (tmp_path / 'shop').mkdir()
    (tmp_path / 'shop' / '__init__.py').write_text('')
    (tmp_path / 'shop' / 'wsgi.py').write_text(TWO.replace("b'app'", "b'module'"))
    assert cgi.serve('shop.wsgi', cwd=tmp_path).request().body == b'module'
    (tmp_path / 'shop.wsgi').write_text(TWO.replace("b'app'", "b'file'"))
    assert cgi.serve('shop.wsgi', cwd=tmp_path).request().body == b'file'
    finished = run('--check', 'none.wsgi')
    assert finished.code == 70
    assert "none.wsgi (the module: there is no such file) could not be loaded: ModuleNotFoundError" in finished.stderr


# --- a module that is elsewhere -----------------------------------------------------------------------------------------

SITE = {'mysite/__init__.py': '', 'mysite/settings.py': 'WORD = "mine"\n',
        'mysite/wsgi.py': 'import importlib\nimportlib.import_module("mysite.settings")\n' + TWO,
        'mysite/relative.py': 'from . import settings\n' + TWO, 'mysite/deploy/site.wsgi': 'import mysite\n' + TWO,
        'mysite/caused.py': 'try:\n    import mysite.settings\nexcept ImportError as e:\n    raise RuntimeError("x") from e\n'
                            + TWO,
        'other.py': 'import no_such_package_at_all\n' + TWO}


@pytest.fixture
def site(tmp_path):
    """A site as django-admin startproject makes it: Python has to search the folder above the one of wsgi.py."""
    for name, text in SITE.items():
        path = tmp_path / 'site' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / 'site'


OWN = 'mysite is the folder of this file: give --python-path {0}, or --chdir {0} and mysite.{1} as the application'


@pytest.mark.parametrize('app, folder, hint, right', [
    ('mysite/wsgi.py', '', OWN, [['--python-path', '{0}', '{0}/mysite/wsgi.py'], ['--chdir', '{0}', 'mysite.wsgi']]),
    ('wsgi.py', 'mysite', OWN, []), ('mysite/caused.py', '', OWN, []),
    ('mysite/relative.py', '', 'a file given by its path is in no package: give --chdir {0} and mysite.{1} as the '
     'application', [['--chdir', '{0}', 'mysite.relative']]),
    ('mysite/deploy/site.wsgi', '', 'mysite is in {0}: give --python-path {0}',
     [['--python-path', '{0}', '{0}/mysite/deploy/site.wsgi']]),
    ('mysite.wsgi', 'mysite', 'mysite is the current folder: give --chdir {0}', [['--chdir', '{0}', 'mysite.wsgi']]),
    ('mysite.wsgi', 'mysite/deploy', 'mysite is in {0}: give --python-path {0}',
     [['--python-path', '{0}', 'mysite.wsgi']]),
    ('my:app', '', 'it was searched in {0}: --chdir or --python-path names another folder', []),
    ('other.py', '', 'no_such_package_at_all is neither in {0} nor installed for Python {2} ({3}): install it in a virtual '
     'environment and give --venv', []),
])
def test_where_a_missing_module_is(run, site, app, folder, hint, right):
    """P11, P19: a module of the site itself was not found: the line has the options that find it, and they do."""
    finished = run('--check', app, cwd=site / folder)
    first = finished.stderr.splitlines()[0]
    assert finished.code == 70 and ' could not be loaded: ' in first, finished
    hint = '; ' + hint.format(site, ([''] + re.split('[/.]', app))[-2], *python_of(run))
    assert re.search(r"(No module named '(mysite|my|no_such_package_at_all)'|known parent package|RuntimeError: x)"
                     + re.escape(hint) + '$', first), finished
    for words in right:
        checked = run('--check', *[word.format(site) for word in words], cwd='/')
        assert checked.code == 0, checked


def python_of(run):
    """The Python that the program has built in, by its own account: ('3.11', '/usr/bin/python3.11')."""
    explained = run('--explain', 'other.py').stdout.decode()
    return (re.search(r'^python: (3[.]\d+)', explained, re.MULTILINE)[1],
            re.search('^python executable: (.*)', explained, re.MULTILINE)[1])


def test_package_that_the_venv_lacks(run, site):
    """P19: with --venv, the line names that environment, where the package has to be."""
    subprocess.run([python_of(run)[1], '-m', 'venv', '--without-pip', site / 'venv'], check=True)
    finished = run('--check', '--venv', 'venv', 'other.py', cwd=site)
    assert finished.code == 70 and finished.stderr.splitlines()[0].endswith(
        f'; no_such_package_at_all is neither in {site} nor installed in the virtual environment {site}/venv: install it '
        'there'), finished


@pytest.mark.parametrize('app, files, error, hint', [
    ('app.py', {'app.py': 'from shop import models', 'shop/__init__.py': ''},
     "ImportError: cannot import name 'models' from 'shop' ({0}/shop/__init__.py)",
     'the package shop is in {0}/shop, which has no models.py'),
    ('app.py', {'app.py': 'import shop.models', 'shop/__init__.py': ''}, "ModuleNotFoundError: No module named 'shop.models'",
     'the package shop is in {0}/shop, which has no models.py'),
    ('app.py', {'app.py': 'import shop.models', 'shop/other.py': ''}, "ModuleNotFoundError: No module named 'shop.models'",
     'the package shop is in {0}/shop, which has no models.py'),
    ('app.py', {'app.py': 'import shop', 'shop/__init__.py': 'from .models import X'},
     "ModuleNotFoundError: No module named 'shop.models'", 'the package shop is in {0}/shop, which has no models.py'),
    ('app.py', {'app.py': 'import shop.db.models', 'shop/__init__.py': '', 'shop/db/__init__.py': ''},
     "ModuleNotFoundError: No module named 'shop.db.models'", 'the package shop.db is in {0}/shop/db, which has no models.py'),
    ('app.py', {'app.py': 'import shop.models', 'shop.py': ''},
     "ModuleNotFoundError: No module named 'shop.models'; 'shop' is not a package",
     'shop is the file {0}/shop.py, not a package'),
    ('app.py', {'app.py': 'import helper', 'lib/helper.py': '', 'src/helper.py': ''},
     "ModuleNotFoundError: No module named 'helper'", 'helper is in {0}/lib: give --python-path {0}/lib'),
    ('app.py', {'app.py': 'import helper', 'src/helper/__init__.py': ''},
     "ModuleNotFoundError: No module named 'helper'", 'helper is in {0}/src: give --python-path {0}/src'),
    ('shop.wsgi', {'site/shop/wsgi.py': ''}, "ModuleNotFoundError: No module named 'shop'",
     'shop.wsgi is in {0}/site: give --chdir {0}/site'),
    # As django-admin startproject makes it.
    ('shop.wsgi', {'shop/shop/wsgi.py': '', 'shop/shop/__init__.py': ''}, "ModuleNotFoundError: No module named 'shop.wsgi'",
     'shop.wsgi is in {0}/shop: give --chdir {0}/shop'),
    ('shop.wsgi', {'shop/__init__.py': ''}, "ModuleNotFoundError: No module named 'shop.wsgi'",
     'the package shop is in {0}/shop, which has no wsgi.py'),
])
def test_module_of_the_application(run, tmp_path, app, files, error, hint):
    """P11: a module of the application's own is missing: the line has the folder or the file, and speaks of no package
    that would have to be installed."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    finished = run('--check', app, cwd=tmp_path)
    assert finished.code == 70
    assert finished.stderr.splitlines()[0].endswith(f' could not be loaded: {error}; {hint}'.format(tmp_path)), finished


@pytest.mark.parametrize('source', ['from json import Loads', 'from json import loads, no_such_name',
                                    'raise ImportError("cannot import name")', 'import json.decoder.x', 'import sys.x'])
def test_import_without_a_hint(run, tmp_path, source):
    """P11: where the name may be no module, or Python has said it all, no hint sends people the wrong way."""
    (tmp_path / 'app.py').write_text(source)
    finished = run('--check', 'app.py', cwd=tmp_path)
    first = finished.stderr.splitlines()[0]
    assert finished.code == 70 and 'install' not in first and '--' not in first, finished


@pytest.mark.parametrize('app, files, code, message', [
    ('shop', {'shop/wsgi.py': ''}, 70, "shop has neither 'application' nor 'app': did you mean shop.wsgi?"),
    ('shop', {'shop/__init__.py': '', 'shop/app.py': ''}, 70,
     "shop has neither 'application' nor 'app': did you mean shop.app?"),
    ('shop:application', {'shop/__init__.py': '', 'shop/wsgi.py': ''}, 70,
     "shop has no 'application': did you mean shop.wsgi:application?"),
    ('./shop', {'shop/wsgi.py': ''}, 66, 'APP: ./shop: {0}/shop is not a regular file: did you mean {0}/shop/wsgi.py?'),
    ('./shop', {'shop/x.py': ''}, 66, 'APP: ./shop: {0}/shop is not a regular file'),
    ('app.py', {'b/app.py': '', 'a/app.py': '', '.c/app.py': ''}, 66,
     'APP: app.py: {0}/app.py does not exist: did you mean {0}/a/app.py?'),
    ('shop/wsgi.py', {'site/shop/wsgi.py': ''}, 66, ' does not exist: did you mean {0}/site/shop/wsgi.py?'),
    ('{0}/app.py', {'a/app.py': ''}, 66, 'APP: {0}/app.py: {0}/app.py does not exist: did you mean {0}/a/app.py?'),
    ('app.py', {'a/b/app.py': ''}, 66, 'APP: app.py: {0}/app.py does not exist'),
])
def test_application_in_another_folder(run, tmp_path, app, files, code, message):
    """P11: given one folder too high: the line has the module or the file that was meant."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    finished = run('--check', app.format(tmp_path), cwd=tmp_path)
    assert finished.code == code
    assert finished.stderr.splitlines()[0].endswith(message.format(tmp_path)), finished


@pytest.mark.parametrize('module, hint', [
    ('mod_wsgi', 'this module exists only in mod_wsgi'), ('uwsgi', 'this module exists only in uWSGI'),
    ('uwsgidecorators', 'this module works only in uWSGI'),
    ('flup.server.fcgi', 'flup is not needed: wsgi-cgi speaks FastCGI itself')])
def test_module_of_another_program(run, tmp_path, module, hint):
    """P11: what mod_wsgi and uWSGI have built in cannot be installed; the manual has what replaces it."""
    (tmp_path / 'app.py').write_text(f'import {module}\n')
    finished = run('--check', 'app.py')
    if 'uwsgidecorators.py' in finished.stderr:     # it is a package of this system, and imports uwsgi
        hint = 'this module exists only in uWSGI'
    assert finished.code == 70 and finished.stderr.splitlines()[0].endswith(
        f'; {hint}: see wsgi-cgi-migrating(7)'), finished


@pytest.mark.parametrize('where', ['venv', '.venv', '.local', '../venv'])
def test_where_a_missing_package_is(run, site, where):
    """P19: a package that pip has installed where only an option looks."""
    home = (site / where).resolve()
    packages = home / 'lib' / 'python3.99' / 'site-packages'
    packages.mkdir(parents=True)
    (packages / 'no_such_package_at_all').mkdir()
    finished = run('--check', 'other.py', cwd=site, env={'HOME': str(site)})
    hint = (f'no_such_package_at_all is among the packages of the user, in {home}: give --user-site' if where == '.local' else
            f'no_such_package_at_all is in the virtual environment {home}: give --venv {home}')
    assert finished.code == 70 and finished.stderr.splitlines()[0].endswith('; ' + hint), finished


HELPERS = 'import json\ndef helper(one, two):\n    pass\n'


@pytest.mark.parametrize('text, app, end', [
    ('def serve(environ, start_response):\n    pass\n', 'shop:no', "shop has no 'no', but 'serve'"),
    ('def one(env, start):\n    pass\napp = one\n', 'shop:no', "shop has no 'no', but 'app'"),
    ('from wsgiref.simple_server import demo_app\n', 'shop:no', "shop has no 'no'"),
    ('async def serve(environ, send):\n    pass\n', 'shop:no', "shop has no 'no'"),
    ('def app(environ, start_response):\n    pass\n', 'shop:json.no', "shop has no 'json.no'"),
])
def test_what_the_module_has_instead(run, tmp_path, text, app, end):
    """P11: a name that the module lacks: the line has the one that was probably meant."""
    (tmp_path / 'shop.py').write_text(HELPERS + text)
    finished = run('--check', app)
    assert finished.code == 70 and finished.stderr.endswith(f': AttributeError: {end}\n'), finished


@pytest.mark.parametrize('text, is_cgi', [
    ("print('Content-type: text/html\\n')\nprint('<p>hello')\n", True),
    ("import sys\nsys.stdout.write('Status: 404 Not Found\\r\\n\\r\\n')\n", True),
    ("print('loading')\n", False), ("import sys\nprint('Content-Type: text/html', file=sys.stderr)\n", False),
])
def test_cgi_script_that_prints_its_page(run, tmp_path, text, is_cgi):
    """P11: an old CGI script runs while it is loaded, and then has no application: the line says what it is."""
    (tmp_path / 'page.py').write_text(text)
    finished = run('--check', 'page.py')
    assert finished.code == 70 and finished.stderr.endswith(
        "page.py has neither 'application' nor 'app' (--callable names another)" +
        ('; a CGI script that prints its page is no WSGI application, which returns it: see examples/hello.py' if is_cgi else '') + '\n'), finished


@pytest.mark.parametrize('option', ['--python-path', '--scripts-in'])
def test_wrong_folder_is_one_line(run, tmp_path, option):
    (tmp_path / 'app.py').write_text(TWO)
    for folder, text in (('gone', 'does not exist'), ('app.py', 'not a directory')):
        finished = run('--check', option, folder, 'app.py')
        assert finished.code == 64 and finished.stderr.count('\n') == 1, finished
        assert option in finished.stderr and text in finished.stderr


def test_check(run, tmp_path):
    """--check loads, reports and exits 0, or 70 with the traceback."""
    (tmp_path / 'app.py').write_text(TWO)
    assert run('--check', 'app.py').code == 0
    (tmp_path / 'app.py').write_text('import no_such_module\n')
    finished = run('--check', 'app.py')
    assert finished.code == 70
    assert "ModuleNotFoundError: No module named 'no_such_module'" in finished.stderr
    assert 'app.py", line 1' in finished.stderr
    (tmp_path / 'app.py').write_text('import sys\nsys.exit(3)\n')
    finished = run('--check', 'app.py')
    assert finished.code == 70 and 'app.py exited while it was loaded: SystemExit: 3' in finished.stderr


def test_python_path(cgi, tmp_path):
    """--python-path follows the application's own folder, in the order given, and is meant from where we started."""
    for name in ('one', 'two', 'site'):
        (tmp_path / name).mkdir()
    (tmp_path / 'site' / 'app.py').write_text(WHERE)
    server = cgi.serve('site/app.py', '--python-path', 'one', '--python-path', str(tmp_path / 'two'), '--chdir', 'two',
                       cwd=tmp_path)
    seen = json.loads(server.request().body)
    assert seen['path'][:3] == [str(tmp_path / 'site'), str(tmp_path / 'one'), str(tmp_path / 'two')]


def pth_files(tmp_path):
    """Two folders for --python-path with .pth files of every kind."""
    for name in ('one', 'one/egg', 'two', 'elsewhere', 'site', 'early'):
        (tmp_path / name).mkdir()
    (tmp_path / 'site' / 'app.py').write_text(WHERE)
    (tmp_path / 'site' / 'own.pth').write_text(f'{tmp_path}/early\n')
    (tmp_path / 'one' / 'a.pth').write_text(f'# a comment\n\negg\nnot-there\n{tmp_path}/elsewhere\n')
    (tmp_path / 'one' / 'README').write_text('import no_such_module\n')
    (tmp_path / 'two' / 'b.pth').write_text(f'{tmp_path}/elsewhere\nimport sys; sys.path.insert(0, {str(tmp_path / "early")!r})\n')
    return [str(tmp_path / name) for name in ('early', 'site', 'one', 'one/egg', 'elsewhere', 'two')]


def test_pth_files_of_python_path(transport, tmp_path):
    """As site.addsitedir() reads them: what they name comes behind their folder, and not behind everything; what is
    there already, or does not exist, is left out; a line that imports may change sys.path itself. The application's
    own folder has none, as for python3."""
    expected = pth_files(tmp_path)
    server = transport.serve(str(tmp_path / 'site' / 'app.py'), '--python-path', str(tmp_path / 'one'),
                             '--python-path', str(tmp_path / 'two'))
    path = json.loads(server.request().body)['path']
    assert path[:6] == expected
    assert not [entry for entry in path[6:] if entry.startswith(str(tmp_path))]


def test_pth_files_and_a_relative_folder(cgi, tmp_path):
    """The folder may be written in any way; it does not come twice."""
    expected = pth_files(tmp_path)
    server = cgi.serve('site/app.py', '--python-path', 'site/../one/', '--python-path', './two', cwd=tmp_path)
    path = json.loads(server.request().body)['path']
    assert [os.path.normpath(entry) for entry in path[:6]] == expected
    assert not [entry for entry in path[6:] if entry.startswith(str(tmp_path))]


@pytest.mark.parametrize('kind', ['folder', 'finder', 'easy_install'])
def test_editable_install(transport, tmp_path, kind):
    """What `pip install --editable` leaves: a .pth file with a folder, or with an import of a finder. (setuptools' own,
    older one moves its folders to the front itself.)"""
    source, packages = tmp_path / 'work' / 'src', tmp_path / 'packages'
    source.mkdir(parents=True)
    packages.mkdir()
    (source / 'shop.py').write_text('WORD = b"editable"\n')
    if kind == 'folder':
        (packages / '__editable__.shop-1.0.pth').write_text(str(source))
    elif kind == 'finder':
        (packages / '__editable___shop_1_0_finder.py').write_text(f'''
import importlib.util, sys
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == 'shop':
            return importlib.util.spec_from_file_location(name, {str(source / 'shop.py')!r})
def install():
    sys.meta_path.append(Finder)
''')
        (packages / '__editable__.shop-1.0.pth').write_text(
            'import __editable___shop_1_0_finder; __editable___shop_1_0_finder.install()')
    else:
        (packages / 'easy-install.pth').write_text(
            f"import sys; sys.__plen = len(sys.path)\n{source}\nimport sys; new=sys.path[sys.__plen:]; "
            "del sys.path[sys.__plen:]; p=getattr(sys,'__egginsert',0); sys.path[p:p]=new; sys.__egginsert = p+len(new)\n")
    server = transport.serve('''
        import shop
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [shop.WORD]
    ''', '--python-path', str(packages))
    assert server.request().body == b'editable'


@pytest.mark.parametrize('where', ['--python-path', '--venv'])
@pytest.mark.parametrize('locale', [{}, {'LC_ALL': 'C'}, {'LC_ALL': 'C.UTF-8'}], ids=['none', 'C', 'UTF-8'])
def test_pth_file_that_is_not_ascii(cgi, tmp_path, where, locale):
    """Paths are UTF-8 in every locale, also in .pth files: a web server's children mostly have none."""
    folder = packages = tmp_path / 'packages'
    if where == '--venv':
        subprocess.run([embedded_python(), '-m', 'venv', '--without-pip', folder], check=True)
        packages, = folder.glob('lib/python*/site-packages')
    (tmp_path / 'Jürgens Paket').mkdir()
    (tmp_path / 'Jürgens Paket' / 'shop.py').write_text('WORD = b"shop"\n')
    packages.mkdir(exist_ok=True)
    (packages / 'shop.pth').write_text(f'# für alle\n{tmp_path}/Jürgens Paket\n', encoding='utf-8')
    server = cgi.serve('''
        import locale, shop
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [shop.WORD, str(locale.setlocale(locale.LC_CTYPE) in ('C', 'C.UTF-8')).encode()]
    ''', where, str(folder), env=locale)
    assert server.request().body == b'shopTrue'


def test_pth_file_that_fails(transport, tmp_path):
    """Told in the log, as Python does it, and no reason not to serve."""
    (tmp_path / 'one').mkdir()
    (tmp_path / 'one' / 'bad.pth').write_text('import no_such_module_of_a_pth_file\n')
    server = transport.serve(TWO, '--python-path', str(tmp_path / 'one'))
    server.expect_log('Error processing line 1 of .*/one/bad.pth')
    server.allow_log('no_such_module_of_a_pth_file|Remainder of file ignored')
    assert server.request().body == b'app'

def test_pth_file_that_ends_python(cgi, tmp_path):
    """sys.exit() in a .pth file: the client gets a page, as whenever Python cannot be set up."""
    (tmp_path / 'one').mkdir()
    (tmp_path / 'one' / 'bad.pth').write_text('import sys; sys.exit(3)\n')
    server = cgi.serve(TWO, '--python-path', str(tmp_path / 'one'))
    server.exit_codes = {70}
    server.expect_log('SystemExit: 3')
    server.expect_log('Python started, but could not be set up')
    assert server.request().status == 500


def test_module_is_looked_for_after_chdir(cgi, tmp_path):
    """--chdir DIR MODULE, as with gunicorn."""
    (tmp_path / 'site').mkdir()
    (tmp_path / 'site' / 'two.py').write_text(TWO)
    assert cgi.serve('two', '--chdir', 'site', cwd=tmp_path).request().body == b'app'


# --- loads that fail -----------------------------------------------------------------------------------------------

# The loader's own work is looked at, not that of the process that reloads itself.
STAY = ('--reload', 'off')
COUNTED = '''
with open({notes!r}, 'a') as f:
    f.write('loaded\\n')
'''


def counted(tmp_path):
    return COUNTED.format(notes=str(tmp_path / 'notes'))


def loads(tmp_path):
    return (tmp_path / 'notes').read_text().count('loaded')


@pytest.mark.parametrize('failure, pattern', [
    ('raise SystemExit(3)', 'exited while it was loaded: SystemExit: 3'),
    ('import os, sys\nsys.exit("the end")', 'SystemExit: the end'), ('raise KeyboardInterrupt', 'KeyboardInterrupt'),
    ('import no_such_module', "No module named 'no_such_module'"), ('def f(:', 'SyntaxError'), ('pass', 'has neither'),
    ('raise BaseException("odd")', 'BaseException: odd'),
])
@pytest.mark.parametrize('form', ['file', 'module'])
def test_loaded_again_when_changed(fcgi_unix, tmp_path, form, failure, pattern):
    """A failed load is a 500 for each request, with its own id, and does not run the file again until it changes."""
    script = tmp_path / 'shop.py'
    script.write_text(counted(tmp_path) + failure + '\n')
    is_read = failure != 'def f(:'
    server = fcgi_unix(str(script) if form == 'file' else 'shop', *STAY, cwd=tmp_path)
    first = refused(server, pattern)
    second = refused(server)
    assert first.body != second.body
    assert not is_read or loads(tmp_path) == 1
    script.write_text(counted(tmp_path) + TWO)
    assert server.request().body == b'app'
    assert server.request().body == b'app'
    assert loads(tmp_path) == (2 if is_read else 1)


def test_module_that_appears(fcgi_unix, tmp_path):
    """A module that was not there is looked for again, at most every second."""
    server = fcgi_unix('late', *STAY, cwd=tmp_path)
    refused(server, "No module named 'late'")
    (tmp_path / 'late.py').write_text(TWO)
    wait_for(lambda: server.request().body == b'app', 10, 'the module')


@pytest.mark.parametrize('how', ['at import', 'in a function'])
def test_loaded_again_when_another_file_changed(fcgi_unix, tmp_path, how):
    """The fault is in a helper: fixing the helper is enough, also where it had been imported whole before it failed."""
    script, helper = tmp_path / 'shop.py', tmp_path / 'helper.py'
    script.write_text('import helper\nhelper.set_up()\n' + TWO)
    helper.write_text('1 / 0\n' if how == 'at import' else 'def set_up():\n    1 / 0\n')
    server = fcgi_unix(str(script), *STAY)
    refused(server, 'ZeroDivisionError')
    # Longer: the time stamps of importlib's .pyc files have a resolution of one second.
    helper.write_text('def set_up():\n    return "fixed"\n')
    assert server.request().body == b'app'


@pytest.mark.parametrize('options', [[], ['--debug']], ids=['', 'debug'])
def test_failure_has_its_traceback_each_time(fcgi_unix, tmp_path, options):
    """P11: the later requests' log lines say what happened at the first, and when the load is tried again."""
    script = tmp_path / 'shop.py'
    script.write_text('def deep():\n    raise LookupError("of the first time")\ndeep()\n')
    server = fcgi_unix(str(script), *STAY, *options)
    server.allow_log('LoadError|LookupError|serving error pages|could not be loaded')
    again = (r'shop\.py could not be loaded: LookupError: of the first time\n.*\(The load failed \d+ s ago; it is tried '
             r'again at the first request after one of its files has changed, or after ([1-9]|10) s\.\)')
    assert server.request().status == 500
    before = server.logged.count('in deep')
    assert before > 0
    response = server.request()
    assert response.status == 500 and (b'The load failed' in response.body) == bool(options)
    wait_for(lambda: server.logged.count('in deep') > before, 5, 'the second traceback')
    assert re.search(again, server.logged), server.logged


def test_running_application_is_not_reloaded(fcgi_unix, tmp_path):
    """The one APP stays as it was loaded; reloading is the process' work."""
    script = tmp_path / 'shop.py'
    script.write_text(TWO)
    server = fcgi_unix(str(script), *STAY)
    assert server.request().body == b'app'
    script.write_text(TWO.replace("b'app'", "b'changed'"))
    assert server.request().body == b'app'


def test_threads_wait_for_one_load(fcgi_unix, tmp_path):
    """Several first requests at a time: the application is loaded once, by one of them, and serves all."""
    notes, gate = tmp_path / 'notes', tmp_path / 'gate'
    script = tmp_path / 'shop.py'
    script.write_text('1 / 0\n')
    server = fcgi_unix(str(script), '--threads', '4', *STAY)
    refused(server, 'ZeroDivisionError')
    script.write_text(counted(tmp_path) + f'''
import os, time
while not os.path.exists({str(gate)!r}):
    time.sleep(0.005)
''' + TWO)
    pending = [server.start() for _ in range(4)]
    for request in pending:
        request.finish_body()
    wait_for(notes.exists, 5, 'the load')
    gate.write_text('')
    assert [request.response().body for request in pending] == [b'app'] * 4
    assert loads(tmp_path) == 1


def test_garbage_collector_settings_are_the_applications(transport, tmp_path):
    """Loading raises the collector's threshold; afterwards it is Python's own again, or what the application set."""
    source = '''
import gc
SEEN = gc.get_threshold()[0]
{own}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((SEEN, gc.get_threshold()[0], gc.isenabled())).encode()]
'''
    results = []
    for name, own in (('plain', ''), ('own', 'gc.set_threshold(1234); gc.disable()')):
        script = tmp_path / f'{name}.py'
        script.write_text(source.format(own=own))
        results.append(eval(transport.serve(str(script)).request().body))
    assert results[0][0] > results[0][1] > 0 and results[0][2] is True
    assert results[1][1:] == (1234, False)


def test_first_request_collects_nothing_of_the_load(transport, tmp_path):
    """What loading made is old already; what the application froze itself is left to it. (The collector of a free-threaded
    Python has one generation.)"""
    source = '''
import gc
MARK = ['made while loading']
{own}
def application(environ, start_response):
    young = gc.get_objects(generation=0) + gc.get_objects(generation=1)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((any(o is MARK for o in young), gc.get_freeze_count() > 0)).encode()]
'''
    results = []
    for name, own in (('plain', ''), ('own', 'gc.freeze()')):
        script = tmp_path / f'{name}.py'
        script.write_text(source.format(own=own))
        results.append(eval(transport.serve(str(script)).request().body))
    assert results == [(FREE_THREADED, False), (False, True)]


def test_import_of_many_threads_at_once(fcgi_unix, tmp_path):
    """Circular imports from several threads end: ours is no lock that importlib could wait for."""
    (tmp_path / 'x.py').write_text('import time\ntime.sleep(0.1)\nimport y\n')
    (tmp_path / 'y.py').write_text('import time\ntime.sleep(0.1)\nimport x\n')
    script = tmp_path / 'shop.py'
    script.write_text('''
import importlib
def application(environ, start_response):
    importlib.import_module(environ['QUERY_STRING'])
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
''')
    server = fcgi_unix(str(script), '--threads', '4')
    pending = [server.start(query=name) for name in 'xyxy']
    for request in pending:
        request.finish_body()
    assert [request.response().body for request in pending] == [b'done'] * 4


def test_closed_folder_is_named(run, tmp_path):
    """As a user who may not enter a folder above the script: the line names that folder, not just the script."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    base = tmp_path / 'base'
    (base / 'closed' / 'deep').mkdir(parents=True)
    (base / 'closed' / 'deep' / 'app.py').write_text(TWO)
    (base / 'link.py').symlink_to('closed/deep/app.py')
    parents = [p for p in base.parents if p.stat().st_mode & 0o5 != 0o5]
    modes = {p: p.stat().st_mode for p in parents}
    for p in parents:
        p.chmod(0o755)
    try:
        (base / 'closed').chmod(0o700)
        for app in ('closed/deep/app.py', 'link.py'):
            finished = run('--check', app, cwd=base, user=65534, group=65534, extra_groups=[])
            assert finished.code == 66 and finished.stderr.count('\n') == 1, finished
            assert f'may not enter {base}/closed\n' in finished.stderr and '65534' in finished.stderr
    finally:
        for p, mode in modes.items():
            p.chmod(mode & 0o7777)


# --- a load that does not end -------------------------------------------------------------------------------------------

SERVES = '''
import time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
def run():
    while not __import__('os').path.exists('enough'):
        time.sleep(0.01)
run()
'''
SLOW_LOAD = (r'warning: (\S*/)?app\.py has been loading for 10 s: a call that serves by itself, such as app\.run\(\), must be '
             'below if __name__ == "__main__"$')


@pytest.mark.parametrize('mode', [['--check'], [], ['--processes', '3'], ['--processes', '2', '--preload']],
                         ids=['check', 'one', 'master', 'zygote'])
def test_load_that_serves_by_itself(world, mode):
    """P11: an application that ends with app.run() is never loaded: the log says so, once, and where it is."""
    script = world.tmp_path / 'app.py'
    script.write_text(SERVES)
    path = world.new_path('sock')
    process = world.spawn(*mode, *([] if mode == ['--check'] else ['--bind', path]), 'app.py', cwd=world.tmp_path)
    process.expect_log(SLOW_LOAD)
    process.wait_log(SLOW_LOAD, 30)
    if mode in ([], ['--processes', '3']):
        process.wait_log(r'slow load: stacks of all threads', 10)
        process.wait_log(r'app\.py", line 9, in <module>$', 10)
    (world.tmp_path / 'enough').touch()
    if mode == ['--check']:
        assert process.wait(20) == 0
    else:
        server = FcgiServer(world, process, str(path))
        assert server.request(timeout=20).body == b'hello'
        assert server.stop(timeout=10) == 0
    assert len(re.findall(SLOW_LOAD, process.logged, re.MULTILINE)) == 1, process.logged


def test_cgi_load_that_serves_by_itself(cgi, tmp_path):
    """P11: the same in CGI, where the request only ever hangs. The thread that looks at the time is gone before the
    application runs."""
    script = tmp_path / 'app.py'
    script.write_text(SERVES.replace('run()\n', 'run()\nimport os\n').replace(
        "b'hello'", "str(len(os.listdir('/proc/self/task'))).encode()"))
    server = cgi.serve('app.py', cwd=tmp_path)
    line = SLOW_LOAD.replace(' (', r' \[\w+\] (', 1)
    server.expect_log(line)
    request = server.start()
    request.finish_body()
    request.wait(lambda: request.stderr.endswith(b'\n'), 30, 'the line')
    (tmp_path / 'enough').touch()
    threads = 1 + TSAN          # the sanitizer has a thread of its own
    assert request.response(timeout=20).body == b'%d' % threads
    assert re.fullmatch('wsgi-cgi.*' + line, request.stderr.decode().strip())


RULE = 'a call that serves by itself, such as app.run(), must be below if __name__ == "__main__"'


@pytest.mark.parametrize('source, error, is_said', [
    ('import sys\nsys.exit(1)', 'exited while it was loaded: SystemExit: 1', True),
    ('raise SystemExit', 'exited while it was loaded: SystemExit', True),
    ('import sys\nsys.exit("no SECRET_KEY")', 'exited while it was loaded: SystemExit: no SECRET_KEY', False),
    ('import socket\na = socket.create_server(("127.0.0.1", 0))\nsocket.create_server(a.getsockname())',
     'could not be loaded: OSError: [Errno 98] Address already in use', True),
    ('open("/nowhere")', 'could not be loaded: FileNotFoundError', False),
])
def test_load_that_ends_like_a_program(run, tmp_path, source, error, is_said):
    """P11: app.run() in a second worker finds its port in use and exits: that line says what to change, too."""
    (tmp_path / 'app.py').write_text(source)
    finished = run('--check', 'app.py', cwd=tmp_path)
    first = finished.stderr.splitlines()[0]
    assert finished.code == 70 and error in first and first.endswith('; ' + RULE) == is_said, finished
