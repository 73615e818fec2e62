"""A free-threaded CPython (3.13t and later): our code is not ready to run without the GIL, so it is kept, in silence.

The program is built for such a Python, if there is one: WSGI_CGI_TEST_FREE_THREADED names it, or PATH has it."""

import fcntl
import os
import re
import shutil
import subprocess
import threading

import pytest

import harness
from settings import ROOT, SANITIZED

SHOW = '''
import json, os, subprocess, sys, sysconfig
def application(environ, start_response):
    child = subprocess.run([sys.executable, '-c', 'import sys; print(sys._is_gil_enabled())'], capture_output=True, text=True)
    try:
        import only_in_venv as own
    except ImportError:
        own = None
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({'gil': sys._is_gil_enabled(), 'build': sysconfig.get_config_var('Py_GIL_DISABLED'),
                        'variable': os.environ.get('PYTHON_GIL'), 'child': child.stdout.strip(),
                        'own': own and own.WORD, 'prefix': sys.prefix}).encode()]
'''


def find_python():
    named = os.environ.get('WSGI_CGI_TEST_FREE_THREADED')
    for name in [named] if named else ['python3.13t', 'python3.14t', 'python3.15t']:
        path = shutil.which(name)
        if path:
            return path
        assert not named, f'WSGI_CGI_TEST_FREE_THREADED={named}: no such program'
    return None


PYTHON = find_python()
pytestmark = [
    pytest.mark.skipif(PYTHON is None, reason='no free-threaded Python here (python3.13t, WSGI_CGI_TEST_FREE_THREADED)'),
    pytest.mark.skipif(SANITIZED, reason='builds a program of its own, without sanitizers'),
    pytest.mark.timeout(600)]                       # for the building


@pytest.fixture
def program(tmp_path_factory, monkeypatch):
    """The program built for that Python, once for all workers of pytest; the fixtures that serve use it."""
    folder = tmp_path_factory.getbasetemp().parent / 'free-threaded'
    folder.mkdir(exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(['make', '-j2', f'PYTHON={PYTHON}', f'BUILD={folder}', 'VARIANT=debug'], cwd=ROOT,
                              capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    monkeypatch.setattr(harness, 'BINARY', str(folder / 'wsgi-cgi'))
    return str(folder / 'wsgi-cgi')


@pytest.mark.parametrize('value', [None, '0', '1'])
def test_gil_is_kept(program, transport, value):
    """Whatever PYTHON_GIL says, which the programs that an application starts obey; and there is no warning on fd 2
    (the fixture looks)."""
    seen = transport.serve(SHOW, env={'PYTHON_GIL': value}).request(timeout=10).json
    assert seen['build'] == 1 and seen['gil'] is True and seen['variable'] == value
    assert seen['child'] == str(value == '1')


def test_many_threads(program, fcgi_unix):
    """Requests in several threads at once, where PYTHON_GIL=0 would have them run at the same time."""
    server = fcgi_unix('''
        import json, sys
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'application/json')])
            for text in json.dumps([environ['QUERY_STRING'], sys._is_gil_enabled()]):
                yield text.encode()
    ''', '--threads', '4', env={'PYTHON_GIL': '0'})
    wrong = []

    def client(name):
        conn = server.connect()
        for i in range(50):
            seen = server.request(query=f'{name}-{i}', conn=conn, keep=True).json
            if seen != [f'{name}-{i}', True]:
                wrong.append(seen)
    clients = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not wrong


def test_version(program, run):
    """--version says what it is."""
    assert re.search(r'\(Python 3\.\d+\.\d+\S*, (static|shared) libpython, free-threaded but with the GIL on\)',
                     run('--version', binary=program).stdout.decode())


def test_venv(program, cgi, run, tmp_path):
    """--venv: the packages are in lib/python3.13t; a virtual environment of the other build is refused."""
    subprocess.run([PYTHON, '-m', 'venv', '--without-pip', tmp_path / 'venv'], check=True)
    [packages] = tmp_path.glob('venv/lib/python3.*t/site-packages')
    (packages / 'only_in_venv.py').write_text('WORD = "from the venv"\n')
    seen = cgi.serve(SHOW, '--venv', tmp_path / 'venv').request(timeout=10).json
    assert seen['own'] == 'from the venv' and seen['prefix'] == str(tmp_path / 'venv')
    os.rename(packages.parent, str(packages.parent)[:-1])
    refused = run('--venv', tmp_path / 'venv', '--check', 'x:y', binary=program)
    assert refused.code == 78 and re.search(r'has no lib/(python3\.\d+)t/site-packages, only lib/\1/site-packages: this '
                                            r'wsgi-cgi has Python 3\.\d+t', refused.stderr)
