"""The titles of the processes, as ps shows them. P26."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from apps import HELLO
from fcgi import wait_for
from settings import BINARY
from test_processes import VERSIONED, answer, rewrite
from test_service import MODES
from test_starting import GATED, serve      # noqa: F401 (serve is a fixture)

# With a master, and with --preload.
ROLES = {(False, False): ['single'], (True, False): ['master', 'worker'], (True, True): ['master', 'worker', 'zygote']}


def title(pid):
    """What ps shows: the kernel's answer, without the NULs at its end; empty where it has ended."""
    try:
        return pathlib.Path(f'/proc/{pid}/cmdline').read_bytes().rstrip(b'\0').decode()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def environment(pid):
    return pathlib.Path(f'/proc/{pid}/environ').read_bytes().split(b'\0')


def children(pid):
    """Those of all its threads. One that has ended has no title, so it does not count."""
    tasks = pathlib.Path(f'/proc/{pid}/task').glob('*/children')
    return {int(child) for task in tasks for child in task.read_text().split() if title(child)}


def await_roles(pid, mode, app):
    """All have their titles, and no other byte stands there: for a moment a new process has that of its parent."""
    wanted = {f'wsgi-cgi: {role} {app}' for role in ROLES[len(mode) > 0, '--preload' in mode]}
    wait_for(lambda: {title(pid) for pid in {pid} | children(pid)} - {''} == wanted, 10, f'{wanted}')


@MODES
def test_titles(serve, mode):
    """P26: ps tells the processes apart, by the same words after a reload."""
    server = serve(VERSIONED % 'one', '--threads', '2', *mode)
    for version in 'one', 'two':
        if version == 'two':
            rewrite(server, 'two')
            server.signal(signal.SIGHUP)
        wait_for(lambda: answer(server)[0] == version, 20, version)
        me = answer(server)[1]
        if not mode:
            assert me == server.pid and title(server.pid) == f'wsgi-cgi: single {server.script}'
            continue
        assert title(server.pid) == f'wsgi-cgi: master {server.script}'
        assert title(me) == f'wsgi-cgi: worker {server.script}'
        await_roles(server.pid, mode, server.script)
    assert pathlib.Path(f'/proc/{server.pid}/comm').read_text() == 'wsgi-cgi\n'


def test_title_of_the_check(world, serve):
    """P26: the process that loads new code first, for one without a master, is told apart, too."""
    gate = world.new_path('gate')
    server = serve(HELLO, env={'GATE': str(gate)})
    assert server.request().status == 200
    rewrite(server, GATED)
    server.signal(signal.SIGHUP)
    wait_for(lambda: pathlib.Path(f'{gate}-waiting').exists(), 20, 'the check')
    assert [title(pid) for pid in children(server.pid)] == [f'wsgi-cgi: check {server.script}']
    gate.touch()
    server.wait_log('the new code loads', 20)


ENVIRON = '''
import ctypes, json, os
libc = ctypes.CDLL(None)
libc.getenv.restype = ctypes.c_char_p
name = ctypes.c_char_p.in_dll(libc, 'program_invocation_short_name').value.decode()
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({'python': dict(os.environ), 'name': name,
                        'c': {k: os.fsdecode(libc.getenv(os.fsencode(k)) or b'') for k in os.environ}}).encode()]
'''


@pytest.mark.parametrize('room', ['enough', 'too little'])
@MODES
def test_environment_stays(world, mode, room, tmp_path):
    """P26: the title changes nothing for the application, nor for what is executed again. With enough room in the
    command line /proc/PID/environ stays as well; else its first variables give way, and no other byte of it gets into
    what all users may read."""
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(str(world.new_path('sock')))
        listener.listen()
        app = 'a' if room == 'too little' else world.write_app(ENVIRON)
        if room == 'too little':
            (tmp_path / 'a.py').write_text(ENVIRON)
        env = {'FIRST': 'secret ' * 9, 'SECOND': 'secret 2', 'LAST': 'secret 3', 'PYTHONPATH': str(tmp_path),
               'WSGI_CGI_OPTIONS': ' '.join(mode)}
        argv = ['w', app] if room == 'too little' else [BINARY, app]
        process = world.spawn(*argv[1:], env=env, stdin=listener, executable=BINARY, binary=argv[0], cwd=tmp_path)
        process.allow_log('SIGHUP|new code')
        process.wait_log('started: ', 20)

        def ask():
            # The options of the service are not those of the client.
            out = subprocess.run([BINARY, '--request', listener.getsockname(), 'GET', '/'], stdout=subprocess.PIPE,
                                 check=True)
            return json.loads(out.stdout.partition(b'\r\n\r\n')[2] or out.stdout.partition(b'\n\n')[2])
        whole = {f'{name}={value}'.encode() for name, value in process.env.items()}
        for _ in range(2):
            shown = ask()
            assert {k: shown['python'].get(k) for k in process.env} == process.env, shown
            assert shown['c'] == shown['python'] and shown['name'] == os.path.basename(argv[0])
            await_roles(process.pid, mode, app)
            others = [word for word in environment(process.pid) if word not in whole and
                      not word.startswith(b'WSGI_CGI_RESTART=')]
            if room == 'enough':
                assert not any(others), others
            else:
                end, *nothing = others
                assert title(process.pid).endswith(end.decode()) and not any(nothing), others
            process.signal(signal.SIGHUP)
            process.wait_log('new code is loaded' if mode else 'starting again', 20)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
