"""A free-threaded CPython (3.13t and later): the threads of one process run Python code at the same time. What such a
program says of itself; modules that turn the GIL on; --threads auto; its virtual environments.

The program under test is such a one, or it is built, if there is such a Python: WSGI_CGI_TEST_FREE_THREADED names it, or
PATH has it."""

import fcntl
import os
import re
import shutil
import subprocess
import threading

import pytest

import harness
from settings import BINARY, FREE_THREADED, ROOT, SANITIZED
from apps import HELLO
from test_options import one_cpu, start_line
from test_starting import serve         # noqa: F401 (a fixture)

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
STATUS = ('--status-path', '/status')


def find_python():
    named = os.environ.get('WSGI_CGI_TEST_FREE_THREADED')
    for name in [named] if named else ['python3.13t', 'python3.14t', 'python3.15t']:
        path = shutil.which(name)
        if path:
            return path
        assert not named, f'WSGI_CGI_TEST_FREE_THREADED={named}: no such program'
    return None


def build(folder, python):
    folder.mkdir(exist_ok=True)
    with open(folder / 'lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(['make', '-j2', f'PYTHON={python}', f'BUILD={folder}', 'VARIANT=debug'], cwd=ROOT,
                              capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    return str(folder / 'wsgi-cgi')


@pytest.fixture
def program(tmp_path_factory, monkeypatch):
    """The one under test, or one that is built once for all workers of pytest; the fixtures that serve use it."""
    if FREE_THREADED:
        return BINARY
    python = find_python()
    if python is None:
        pytest.skip('no free-threaded Python here (python3.13t, WSGI_CGI_TEST_FREE_THREADED)')
    if SANITIZED:
        pytest.skip('builds a program of its own, without sanitizers')
    path = build(tmp_path_factory.getbasetemp().parent / 'free-threaded', python)
    monkeypatch.setattr(harness, 'BINARY', path)
    return path


for_building = pytest.mark.timeout(600)


@pytest.fixture
def python(program):
    explained = subprocess.run([program, '--explain', 'x:y'], capture_output=True, text=True).stdout
    return re.search(r'^python executable: (.*)$', explained, re.MULTILINE).group(1)


@for_building
@pytest.mark.parametrize('value', [None, '0', '1'])
def test_gil_is_off_unless_the_variable_says_otherwise(program, transport, value):
    """As with python3.13t itself. There is no warning about our own module (the fixture looks)."""
    seen = transport.serve(SHOW, env={'PYTHON_GIL': value}).request(timeout=10).json
    assert seen['build'] == 1 and seen['gil'] is (value == '1') and seen['variable'] == value
    assert seen['child'] == str(value == '1')


@for_building
def test_threads_do_not_take_turns(program, fcgi_unix):
    """Two requests that compute, each until it has seen the other. With a GIL the first would not let the other run for
    an hour, which is the switch interval here."""
    server = fcgi_unix('''
        import sys, time
        sys.setswitchinterval(3600)
        seen = {}
        def application(environ, start_response):
            seen[environ['QUERY_STRING']] = True
            while len(seen) < 2:
                pass
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [str(environ['wsgi.multithread']).encode()]
    ''', '--threads', '2')
    answers = {}

    def client(name):
        answers[name] = server.request(query=name, conn=server.connect(), timeout=20).body
    clients = [threading.Thread(target=client, args=(name,)) for name in 'ab']
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert answers == {'a': b'True', 'b': b'True'}


@for_building
def test_many_threads(program, fcgi_unix):
    """Each request gets its own response, when several threads make them at once."""
    server = fcgi_unix('''
        import json, sys
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'application/json')])
            for text in json.dumps([environ['QUERY_STRING'], sys._is_gil_enabled()]):
                yield text.encode()
    ''', '--threads', '4')
    wrong = []

    def client(name):
        conn = server.connect()
        for i in range(50):
            seen = server.request(query=f'{name}-{i}', conn=conn, keep=True).json
            if seen != [f'{name}-{i}', False]:
                wrong.append(seen)
    clients = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    assert not wrong


@for_building
@pytest.mark.parametrize('value', [None, '0', '1'])
def test_what_it_says_of_itself(program, run, world, value):
    """--version, --explain, --check, and the line of a service that has started."""
    env, gil = {'PYTHON_GIL': value}, 'on' if value == '1' else 'off'
    name = rf'Python 3\.\d+\.\d+\S*, (static|shared) libpython, free-threaded, GIL {gil}'
    app = world.write_app(HELLO)
    assert re.search(rf'\({name}\)$', run('--version', env=env).stdout.decode().strip())
    explained = run('--explain', '--bind', 'unix:s', app, env=env).stdout.decode()
    assert re.search(rf'^{name.replace("Python", "python:")}$', explained, re.MULTILINE)
    assert re.search(rf'loads with {name}$', run('--check', app, env=env).stdout.decode().strip())
    set_by_option = run('--explain', '--env', 'PYTHON_GIL=1', '--bind', f'unix:{world.run_dir}/s', app, env=env)
    assert ', free-threaded, GIL on\n' in set_by_option.stdout.decode()
    expected = r' free-threaded \(GIL on\), ' if value == '1' else ' free-threaded, '
    assert re.search(r'^started: wsgi-cgi \S+, Python 3\.\d+\.[^,\s]+' + expected, start_line(world, env=env))


@for_building
def test_threads_auto(program, world):
    """One for each processor that the process may use."""
    cores = len(os.sched_getaffinity(0))
    assert re.search(rf', 1 process x {cores} threads?, ', start_line(world, '--threads', 'auto'))
    assert ', 1 process x 1 thread, ' in start_line(world, '--threads', 'auto', preexec_fn=one_cpu)


# --- modules that turn the GIL on -------------------------------------------------------------------------------------

MODULE = '''
#include <Python.h>
%(before)s
static PyModuleDef_Slot slots[] = {%(slots)s {0, NULL}};
static PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "%(name)s", .m_slots = slots};
PyMODINIT_FUNC PyInit_%(name)s(void);
PyMODINIT_FUNC PyInit_%(name)s(void) { return PyModuleDef_Init(&def); }
'''
DECLARED = '{Py_mod_gil, Py_MOD_GIL_NOT_USED},'
# It imports another module while it is loaded itself.
NESTED = '''
static PyObject *create(PyObject *spec, PyModuleDef *def)
{
    PyObject *inner = PyImport_ImportModule("%s");
    (void)def;
    (void)spec;
    Py_XDECREF(inner);
    return inner == NULL ? NULL : PyModule_New("%s");
}
'''
GATE = '''
import os, time
open(%(folder)r + '/begun', 'w').close()
while not os.path.exists(%(folder)r + '/go'):
    time.sleep(0.005)
'''
LOADS = '''
import importlib, json, sys
sys.path.insert(0, %(folder)r)
%(at_start)s
def application(environ, start_response):
    for name in environ['QUERY_STRING'].split():
        importlib.import_module(name)
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(sys._is_gil_enabled()).encode()]
'''
LINE = (r'warning: (\[\w+\] )?the extension module undeclared has turned the GIL on, because it does not declare that it can '
        r'run without: threads take turns from now on; use a version of it for free-threaded Python, or --processes$')


@pytest.fixture
def modules(python, tmp_path):
    """A folder with extension modules, of which `undeclared` turns the GIL on."""
    code = 'import sysconfig; print(sysconfig.get_path("include"))'
    include = subprocess.run([python, '-c', code], capture_output=True, text=True, check=True).stdout.strip()
    creates = DECLARED + '{Py_mod_create, create},'
    (tmp_path / 'gate.py').write_text(GATE % {'folder': str(tmp_path)})
    for name, slots, before in (('undeclared', '', ''), ('declared', DECLARED, ''),
                                ('outer', creates, NESTED % ('undeclared', 'outer')),
                                ('waits', creates, NESTED % ('gate', 'waits'))):
        (tmp_path / f'{name}.c').write_text(MODULE % {'name': name, 'slots': slots, 'before': before})
        subprocess.run(['cc', '-shared', '-fPIC', f'-I{include}', tmp_path / f'{name}.c', '-o', tmp_path / f'{name}.so'],
                       check=True)
    return str(tmp_path)


def app_of(folder, at_start=''):
    return LOADS % {'folder': folder, 'at_start': at_start}


def lines_of(server):
    return re.findall(LINE, server.logged, re.MULTILINE)


@for_building
@pytest.mark.parametrize('mode', [(), ('--processes', '2'), ('--processes', '2', '--preload')], ids=' '.join)
def test_module_of_the_application(program, serve, modules, mode):
    """An import at the top of the application: one line with the name, also of several workers, and the status says so.
    CPython's own warning does not come in addition (the fixture looks)."""
    server = serve(app_of(modules, 'import declared, undeclared'), *STATUS, '--threads', '2', *mode)
    server.expect_log(LINE)
    assert server.request().json is True
    workers = 2 if mode else 1
    metric = f'wsgi_cgi_gil_processes {workers}\n'.encode()
    harness.wait_for(lambda: metric in server.request(path='/status', query='openmetrics').body, 20, 'all workers')
    assert all(p['gil'] is True for p in server.request(path='/status', query='json&full').json['processes'])
    text = server.request(path='/status', query='text').body.decode()
    assert re.search(r'^python: +3\.\S+ free-threaded, GIL on$', text, re.MULTILINE), text
    assert len(lines_of(server)) == 1, server.logged


@for_building
def test_module_that_a_request_loads(program, fcgi_unix, modules):
    """One that declares it changes nothing, one that does not is logged once, with the request's id."""
    server = fcgi_unix(app_of(modules), *STATUS, '--threads', '2')
    server.expect_log(LINE)
    assert server.request(query='declared').json is False and server.request(path='/status', query='json').json['gil'] is False
    assert not lines_of(server)
    for _ in range(3):
        assert server.request(query='undeclared declared').json is True
    assert server.request(path='/status', query='json').json['gil'] is True
    [id_of_request] = lines_of(server)
    assert id_of_request


@for_building
def test_module_that_another_module_loads(program, fcgi_unix, modules):
    """The name is that of the module that needs the GIL, not of the one around it."""
    server = fcgi_unix(app_of(modules), '--threads', '2')
    server.expect_log(LINE)
    assert server.request(query='outer').json is True
    assert len(lines_of(server)) == 1, server.logged


@for_building
@pytest.mark.parametrize('inside', ['declared', 'undeclared'])
def test_modules_at_the_same_time(program, fcgi_unix, modules, tmp_path, inside):
    """CPython turns the GIL on for the time of every load. A module that is loaded meanwhile is not to blame for that, and
    one that does need the GIL is named, though another load is under way."""
    server = fcgi_unix(app_of(modules), '--threads', '2')
    answers = []
    first = threading.Thread(target=lambda: answers.append(server.request(query='waits', conn=server.connect()).json))
    first.start()
    harness.wait_for((tmp_path / 'begun').exists, 20, 'the load')
    assert server.request(query=inside, conn=server.connect()).json is True
    assert not lines_of(server)
    (tmp_path / 'go').touch()
    first.join()
    needs = inside == 'undeclared'
    if needs:
        server.expect_log(LINE)
    assert answers == [needs] and len(lines_of(server)) == needs, server.logged


@for_building
def test_module_of_a_pth_file(program, python, fcgi_unix, modules, tmp_path):
    """Python loads it before it can be watched, and says the name itself."""
    subprocess.run([python, '-m', 'venv', '--without-pip', tmp_path / 'venv'], check=True)
    [packages] = tmp_path.glob('venv/lib/python3.*t/site-packages')
    (packages / 'own.pth').write_text(f'{modules}\nimport undeclared\n')
    server = fcgi_unix(app_of(modules), '--venv', tmp_path / 'venv')
    server.expect_log("RuntimeWarning: .* to load module 'undeclared'")
    server.expect_log(r'warning: an extension module that Python loads at its start \(a \.pth file, sitecustomize\) has turned '
                      r'the GIL on, ')
    assert server.request().json is True


@for_building
@pytest.mark.parametrize('value', ['error', 'default', 'ignore'])
def test_cpythons_own_warning(program, fcgi_unix, modules, value):
    """Who has asked for warnings gets it: as an exception, or as text. Our line is there anyway."""
    server = fcgi_unix(app_of(modules), env={'PYTHONWARNINGS': value})
    server.expect_log(LINE)
    if value == 'error':
        server.expect_log('the application raised RuntimeWarning')
        server.expect_log(r'^RuntimeWarning: The global interpreter lock \(GIL\) has been enabled to load module')
    elif value == 'default':
        server.expect_log('RuntimeWarning: The global interpreter lock .* to load module \'undeclared\'')
    assert server.request(query='undeclared').status == (500 if value == 'error' else 200)
    assert len(lines_of(server)) == 1, server.logged


@for_building
def test_cgi_and_check(program, cgi, run, modules, world):
    """Every CGI process would say so again. --check says so."""
    assert cgi.serve(app_of(modules, 'import undeclared')).request().json is True
    checked = run('--check', world.write_app(app_of(modules, 'import undeclared')))
    assert checked.code == 0 and b'free-threaded, GIL on\n' in checked.stdout
    assert re.search(LINE, checked.stderr, re.MULTILINE), checked


# --- --venv -----------------------------------------------------------------------------------------------------------

@for_building
def test_venv(program, python, cgi, run, tmp_path):
    """--venv: the packages are in lib/python3.13t; a virtual environment of the other build is refused."""
    subprocess.run([python, '-m', 'venv', '--without-pip', tmp_path / 'venv'], check=True)
    [packages] = tmp_path.glob('venv/lib/python3.*t/site-packages')
    (packages / 'only_in_venv.py').write_text('WORD = "from the venv"\n')
    seen = cgi.serve(SHOW, '--venv', tmp_path / 'venv').request(timeout=10).json
    assert seen['own'] == 'from the venv' and seen['prefix'] == str(tmp_path / 'venv')
    os.rename(packages.parent, str(packages.parent)[:-1])
    refused = run('--venv', tmp_path / 'venv', '--check', 'x:y')
    assert refused.code == 78 and re.search(r'has no lib/(python3\.\d+)t/site-packages, only lib/\1/site-packages: this '
                                            r'wsgi-cgi has Python 3\.\d+t', refused.stderr)


@for_building
def test_home(program, python, cgi, run, tmp_path):
    """PYTHONHOME: its library is in lib/python3.13t, too."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    server = cgi.serve(SHOW, env={'PYTHONHOME': home})
    server.expect_log(f'PYTHONHOME={home} is set')
    assert server.request(timeout=10).json['prefix'] == home
    (tmp_path / 'lib/python3.13').mkdir(parents=True)
    refused = run('--check', 'x:y', env={'PYTHONHOME': str(tmp_path)})
    assert refused.code == 78 and re.search(r'is not a home of Python 3\.\d+t: ', refused.stderr), refused
