"""--env: variables of the process, in every way to serve. What the environ of a request contains is in
test_wsgi_environ.py and test_cgi_environ.py."""

import json
import os
import signal
import subprocess

import pytest

from apps import HELLO
from fcgi import wait_for
from settings import BINARY, SLOW
from test_options import GET
from test_processes import serve      # noqa: F401 (a fixture)

# Both environments, at import and in a request, and what a child process gets.
SHOW = '''
import json, os, subprocess, sys, time
at_import, born = dict(os.environ), time.time_ns()
def application(environ, start_response):
    child = subprocess.run(['/usr/bin/env', '-0'], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout
    shown = {'import': at_import, 'now': dict(os.environ), 'environ': [k for k in environ], 'born': born,
             'values': {k: v for k, v in environ.items() if type(v) is str},
             'child': dict(v.split('=', 1) for v in os.fsdecode(child).split(chr(0)) if v),
             'flags': [sys.flags.dev_mode, sys.flags.utf8_mode, sys.flags.hash_randomization, sys.flags.optimize],
             'path': sys.path, 'warnings': sys.warnoptions, 'zone': time.tzname[0], 'prefix': sys.prefix}
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(shown).encode()]
'''


def test_variables_of_the_process(transport):
    """--env: in os.environ from the first import on, and in child processes; not in the environ of a request, which
    is that of --set."""
    server = transport.serve(SHOW, '--env', 'A=1', '--env=B=x=y z', '--env', 'EMPTY=', '--env', 'UTF=\u00e9',
                             '--env', 'A=2', '--env', 'HAD=new', '--set', 'S=set', env={'HAD': 'old'})
    want = {'A': '2', 'B': 'x=y z', 'EMPTY': '', 'UTF': '\u00e9', 'HAD': 'new'}
    for _ in range(2):
        shown = server.request().json
        for where in ('import', 'now', 'child'):
            assert {k: shown[where].get(k) for k in want} == want, where
            assert 'S' not in shown[where]
        assert not {'A', 'B', 'EMPTY', 'UTF'} & set(shown['environ']) and shown['values']['S'] == 'set'
        # In CGI what the server passes is in both; --env does not change what the request has.
        assert shown['values'].get('HAD') == (None if transport.is_fcgi else 'old')


def test_variables_of_a_request_stay(cgi):
    """--env, C27: it cannot replace, nor a client see through it, what the web server says of a CGI request."""
    server = cgi.serve(SHOW, '--env', 'SERVER_NAME=wrong', '--env', 'HTTP_HOST=wrong', '--env', 'REMOTE_USER=admin',
                       '--env', 'HTTP_PROXY=http://proxy/', '--limit-vars', '60',
                       *(f'--env=V{i}=x' for i in range(60)))
    shown = server.request(headers={'Host': 'right', 'Proxy': 'http://evil/'}).json
    assert shown['values']['SERVER_NAME'] != 'wrong' and shown['values']['HTTP_HOST'] == 'right'
    assert 'REMOTE_USER' not in shown['values'] and 'HTTP_PROXY' not in shown['values']
    assert shown['now']['SERVER_NAME'] == 'wrong' and shown['now']['HTTP_PROXY'] == 'http://proxy/'


@pytest.mark.parametrize('query', ['--env+PYTHONPATH=/tmp', '--env=A=1', '%2d%2denv+A%3d1'])
def test_a_query_sets_no_variable(world, query):
    """C14: the words of a query are not options, in a script and where the server runs the program itself."""
    words = query.replace('%2d', '-').replace('%3d', '=').split('+')
    env = world.env({**GET, 'QUERY_STRING': query})
    path = world.tmp_path / 'script'
    path.write_text(f'#!{BINARY} --env B=2\n{SHOW}')
    path.chmod(0o755)
    done = subprocess.run([path, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=10 * SLOW)
    shown = json.loads(done.stdout.partition(b'\r\n\r\n')[2])
    assert shown['now']['B'] == '2' and 'A' not in shown['now'] and 'PYTHONPATH' not in shown['now']
    env['SCRIPT_FILENAME'] = BINARY
    env['WSGI_CGI_OPTIONS'] = f'--scripts-in {world.tmp_path}'
    done = subprocess.run([BINARY, *words], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=10 * SLOW)
    assert done.stdout.startswith(b'Status: 403') or done.stdout.startswith(b'Status: 404'), done


def test_variables_of_python(transport, world):
    """--env: what Python reads before it starts, as from the environment of python3."""
    server = transport.serve(SHOW, *(f'--env={word}' for word in (
        'PYTHONDEVMODE=1', 'PYTHONUTF8=0', 'PYTHONHASHSEED=0', f'PYTHONPATH={world.tmp_path}/lib',
        'PYTHONWARNINGS=once', 'TZ=XYZ-3')), env={'PYTHONHASHSEED': '7', 'PYTHONUTF8': '1'})
    shown = server.request().json
    assert shown['flags'] == [True, 0, 0, 0]
    assert f'{world.tmp_path}/lib' in shown['path'] and 'once' in shown['warnings'] and shown['zone'] == 'XYZ'


@pytest.mark.parametrize('mode', ['cgi', 'check', 'bind', 'doctor'])
def test_a_wrong_pythonhome(world, mode):
    """--env PYTHONHOME: checked before Python starts, as one that was inherited (P11)."""
    home = world.tmp_path / 'no-python'
    before = {'cgi': [], 'check': ['--check'], 'bind': ['--bind', str(world.new_path('sock'))],
              'doctor': ['--doctor', '--set', 'X=1']}[mode]
    finished = world.run(*before, '--env', f'PYTHONHOME={home}', world.write_app(HELLO),
                         env={**GET, 'QUERY_STRING': 'text'} if mode in ('cgi', 'doctor') else {})
    if mode == 'doctor':
        assert finished.code == 0 and str(home).encode() in finished.stdout
        return
    assert finished.code == 78 and 'encodings\'' not in finished.stderr and 'PYTHONHOME' in finished.stderr, finished


def test_doctor_shows_what_the_server_sent(world):
    """--doctor: the variables of --env are not the web server's, and are not shown."""
    finished = world.run('--doctor', '--env', 'SECRET_THING=value-of-env', env={**GET, 'QUERY_STRING': 'text'})
    assert finished.code == 0 and b'QUERY_STRING' in finished.stdout
    assert b'SECRET_THING' not in finished.stdout and b'value-of-env' not in finished.stdout


@pytest.mark.parametrize('options', [[], ['--processes', '2'], ['--processes', '1', '--preload']],
                         ids=['single', 'processes', 'preload'])
def test_variables_after_new_code(serve, options):  # noqa: F811
    """--env: the same after the program has executed itself again, in new workers and zygotes; nothing adds up."""
    server = serve(SHOW, '--env', 'A=1', '--env', 'HAD=new', *options, env={'HAD': 'old'})
    server.allow_log('SIGHUP|new code|loading')
    born = set()
    for turn in range(3):
        if turn:
            server.process.signal(signal.SIGHUP)
        shown = []
        wait_for(lambda: shown.append(server.request().json) or shown[-1]['born'] not in born, 20, 'new code')
        born.add(shown[-1]['born'])
        for where in ('import', 'now', 'child'):
            assert [shown[-1][where][k] for k in ('A', 'HAD')] == ['1', 'new']


@pytest.mark.skipif(os.getuid() != 0, reason='only root can become another user')
def test_home_of_the_user(world):
    """--env: what is written wins over HOME, USER and LOGNAME of --user."""
    source = 'import os, sys\nsys.stderr.write(repr([os.environ[k] for k in ("HOME", "USER")]))\n' + HELLO
    world.run_dir.chmod(0o755)
    public = world.run_dir / 'app.py'
    public.write_text(source)
    finished = world.run('--check', '--user', 'nobody', '--env', 'HOME=/elsewhere', public, cwd='/')
    assert finished.code == 0 and "['/elsewhere', 'nobody']" in finished.stderr, finished


def test_a_line_with_quotes(world):
    """--env in a #! line, with blanks in quotes."""
    path = world.tmp_path / 'script'
    path.write_text(f'#!{BINARY} --env "A=two words" --env B=\'x "y"\' --env C=a\\ b\n{SHOW}')
    path.chmod(0o755)
    done = subprocess.run([path], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True, timeout=10 * SLOW)
    shown = json.loads(done.stdout.partition(b'\r\n\r\n')[2])
    assert [shown['now'][k] for k in 'ABC'] == ['two words', 'x "y"', 'a b']
