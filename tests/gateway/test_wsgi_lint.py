"""The three lints around one application that does everything: wsgiref.validate, webtest.lint and paste.lint.

A lint stands between gateway and application and raises AssertionError for what either does wrong; what it warns of
goes to the log, where it fails the test.
"""

import random
import subprocess

import pytest

from settings import SANITIZED
from test_venv import embedded_python

LINTS = {
    'wsgiref': 'from wsgiref.validate import validator as lint',
    'webtest': 'from webtest.lint import middleware as lint',
    'paste': 'from paste.lint import middleware as lint',
}

# By PATH_INFO; every way to give and to take bytes that PEP 3333 knows and the lints let through.
EVERYTHING = '''
import os, sys
sys.dont_write_bytecode = True
def read_all(environ):
    f = environ['wsgi.input']
    how = environ['QUERY_STRING']
    if how == 'line':
        return f.readline() + f.readline(5) + b''.join(f.readlines()) + f.read(1)
    if how == 'iter':
        return b''.join(f)
    if how == 'hint':
        return b''.join(f.readlines(10)) + b''.join(f.readlines(100000))
    if how == 'size':
        blocks = []
        while True:
            blocks.append(f.read(1000))
            if not blocks[-1]:
                return b''.join(blocks)
    return f.read(int(environ.get('CONTENT_LENGTH') or 0))
class Body:
    def __init__(self, blocks):
        self.blocks = blocks
    def __iter__(self):
        return iter(self.blocks)
    def close(self):
        self.blocks = None
def inner(environ, start_response):
    environ['wsgi.errors'].write('a line for the log\\n')
    environ['wsgi.errors'].writelines(['and ', 'another\\n'])
    environ['wsgi.errors'].flush()
    body = read_all(environ)
    headers = [('Content-Type', 'text/plain; charset=utf-8'), ('Set-Cookie', 'a=1'), ('Set-Cookie', 'b=2')]
    kind = environ['PATH_INFO'].strip('/')
    if kind == 'length':
        headers.append(('Content-Length', str(len(body))))
    if kind == 'nothing':
        start_response('204 No Content', [('X-A', '1')])
        return [b'']
    if kind == 'error':
        try:
            raise ValueError('handled')
        except ValueError:
            start_response('500 Handled', headers, sys.exc_info())
            return [b'handled']
    if environ['REQUEST_METHOD'] == 'HEAD':
        start_response('200 OK', headers)
        return [b'']
    if kind == 'write':
        write = start_response('200 OK', headers)
        write(body)
        return [b'']
    start_response('200 OK', headers)
    if kind == 'generator':
        return (body[i:i + 7] for i in range(0, len(body), 7))
    if kind == 'object':
        return Body([body, b''])
    if kind == 'file':
        f = open(__file__, 'rb')
        return environ['wsgi.file_wrapper'](f, 100)
    return [body]
application = lint(inner)
'''
KINDS = ['list', 'generator', 'object', 'length', 'write', 'file', 'error', 'nothing']


@pytest.fixture(params=LINTS, scope='module')
def lint(request):
    if subprocess.run([embedded_python(), '-c', LINTS[request.param]], capture_output=True).returncode != 0:
        pytest.skip(f'{request.param} is not installed for its Python')
    return LINTS[request.param]


@pytest.mark.parametrize('method', ['GET', 'HEAD', 'POST'])
def test_lint(transport, lint, method):
    """W1, W4, W6, W7, W9, W11, W12, W18, W20, W21, W24, W30, W33, W51, W53, W54 as others read PEP 3333: no lint finds a
    fault in what the gateway gives and takes."""
    server = transport.serve(lint + '\n' + EVERYTHING)
    body = random.Random(4).randbytes(20000).replace(b'\0', b'\n') if method == 'POST' else b''
    # webtest imports half of the world: in a sanitized CGI process that takes half a minute.
    kinds = KINDS[::3] if transport.is_cgi and SANITIZED else KINDS
    for i, kind in enumerate(kinds):
        how = ['', 'line', 'iter', 'hint', 'size'][i % 5]
        more = {'headers': {'Content-Type': 'text/plain', 'X-A': 'é', 'Cookie': 'a=1'}} if method == 'POST' else {}
        response = server.request(method, f'/{kind}', how, body=body, script_name='/app', **more)
        assert response.status == {'nothing': 204, 'error': 500}.get(kind, 200), (kind, response.stderr)
        assert response.complete and b'a line for the log\nand another\n' in response.stderr
        if kind in ('list', 'generator', 'object', 'length', 'write'):
            assert response.body == body, kind
        if kind == 'file' and method != 'HEAD':
            assert response.body.startswith(b'from ')
