"""The commands about the instances of --keep-warm. P29."""

import json
import os
import re
import signal
import socket
import struct
import subprocess
import textwrap

import pytest

from fcgi import wait_for
from harness import proc_stat
from settings import BINARY

HELLO = '''
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'hello']
'''


def peer(path):
    """The pid of the process that listens there, or None."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return struct.unpack('3i', sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def gone(pid):
    return (proc_stat(pid) or 'Z')[0] == 'Z'


class Warm:
    """CGI processes whose instances have their folder in a folder of the test."""

    def __init__(self, world, uid=None):
        self.world, self.uid = world, uid
        self.above = world.new_path('tmp')
        self.above.mkdir()
        self.folder = self.above / f'wsgi-cgi-{os.geteuid() if uid is None else uid}'
        self.who = {} if uid is None else {'user': uid, 'group': uid, 'extra_groups': [], 'cwd': '/'}
        if uid is not None:
            os.chown(self.above, uid, uid)
        self.env = {'TMPDIR': str(self.above), 'XDG_RUNTIME_DIR': None}

    def run(self, *args, env=None, **keywords):
        return self.world.run(*args, env={**self.env, **(env or {})}, **{**self.who, **keywords})

    def request(self, script, *words, env=None):
        """A CGI request; it starts the instance if there is none."""
        finished = self.run(*words, '--keep-warm', script,
                            env={'REQUEST_METHOD': 'GET', 'GATEWAY_INTERFACE': 'CGI/1.1', **(env or {})})
        assert finished.code == 0 and finished.stderr == '', finished
        return finished.stdout.partition(b'\r\n\r\n')[2]

    def pids(self):
        """Of those that take requests, without the commands."""
        return {peer(path) for path in self.folder.glob('*.sock')} - {None} if self.folder.exists() else set()

    def list(self, *options):
        """The rows about scripts of this test. Other folders, such as that in /tmp, may have instances, too."""
        finished = self.run('--warm-list', '--json', *options)
        assert finished.code == 0, finished
        mine = str(self.world.tmp_path), str(self.world.run_dir)
        return [row for row in json.loads(finished.stdout) if row['script'].startswith(mine)]

    def end(self):
        for path in (*self.folder.glob('*.ctl'), *self.folder.glob('*.sock')) if self.folder.exists() else ():
            pid = peer(path)
            if pid is None:
                continue
            with open(f'/proc/{pid}/comm') as comm:
                assert 'wsgi-cgi' in comm.read()
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGQUIT)
            wait_for(lambda: gone(pid), 10, 'the end of an instance')


@pytest.fixture
def warm_of(world):
    """warm_of(uid=None): the CGI processes of a user."""
    made = []

    def make(uid=None):
        made.append(Warm(world, uid))
        return made[-1]
    yield make
    for warm in made:
        warm.end()


@pytest.fixture
def warm(warm_of):
    return warm_of()


# --- --warm-list ----------------------------------------------------------------------------------------------------

def test_list(warm, world):
    """P29: a line for each that lives, and its figures; the script is the last column, blanks and all."""
    path = world.write_app(HELLO, 'my app.py')
    assert [warm.request(path) for _ in range(3)] == [b'hello'] * 3
    [pid] = warm.pids()
    [row] = warm.list()
    assert (row['pid'], row['script'], row['requests'], row['workers']) == (pid, path, 3, 1), row
    assert 0 <= row['age'] < 600 and row['memory'] > 4 << 20, row
    lines = warm.run('--warm-list').stdout.decode().splitlines()
    assert lines[0].split() == ['PID', 'AGE', 'WORKERS', 'REQUESTS', 'MEMORY', 'SCRIPT']
    [line] = [line for line in lines if line.endswith(path)]
    assert re.fullmatch(rf' *{pid} +\d+[sm] +1 +3 +\d+M {re.escape(path)}', line), line
    assert lines[0].index('SCRIPT') == line.index(path)


def test_memory_is_that_of_all_processes(warm, world):
    """P29: what the worker has is in the sum, and what the master has, too."""
    warm.request(world.write_app("DATA = b'x' * (64 << 20)\n" + textwrap.dedent(HELLO)))
    [row] = warm.list()
    status = json.loads(subprocess.run(
        [BINARY, '--status', f'unix:{next(warm.folder.glob("*.ctl"))}', '--json'], capture_output=True,
        check=True).stdout)
    workers = sum(process['memory'] for process in status['processes'])
    assert workers > 64 << 20 and row['memory'] > workers, (row, status)


@pytest.mark.parametrize('above', ['TMPDIR', 'TMPDIR through a link'])
def test_a_folder_is_listed_once(warm, world, above):
    """P29: however many ways lead to it."""
    warm.request(world.write_app(HELLO))
    other = world.new_path('link')
    other.symlink_to(warm.above)
    (warm.above / 'wsgi-cgi').symlink_to(warm.folder)       # no folder of ours: links are not followed
    env = {'TMPDIR': str(other if 'link' in above else warm.above), 'XDG_RUNTIME_DIR': str(warm.above)}
    finished = warm.run('--warm-list', env=env)
    assert finished.code == 0 and finished.stdout.count(str(world.tmp_path).encode()) == 1, finished


def test_both_folders_are_listed(warm_of, world):
    """P29: those of a login, which has XDG_RUNTIME_DIR, and those of a web server, which may not."""
    first, second = world.write_app(HELLO, 'first.py'), world.write_app(HELLO, 'second.py')
    server, login = warm_of(), warm_of()
    login.above.chmod(0o700)
    login.env = {**server.env, 'XDG_RUNTIME_DIR': str(login.above)}
    login.folder = login.above / 'wsgi-cgi'
    server.request(first)
    login.request(second)
    assert len(server.pids()) == len(login.pids()) == 1
    assert {row['script'] for row in login.list()} == {first, second}
    assert [row['script'] for row in server.list()] == [first]


def test_nothing_to_list(warm):
    """P29: no folder yet: the names of the columns, and status 0. It makes none."""
    finished = warm.run('--warm-list', env={'TMPDIR': str(warm.above / 'none')})
    assert finished.code == 0 and finished.stderr == '' and finished.stdout.split()[0] == b'PID', finished
    assert warm.list() == [] and list(warm.above.iterdir()) == []


def test_list_harms_no_terminal(warm, world):
    """P29: control characters of a path are question marks."""
    folder = world.tmp_path / 'a\x1b[31m\xff'
    folder.mkdir()
    path = os.fspath(folder / 'app.py')
    with open(path, 'w') as file:
        file.write(textwrap.dedent(HELLO))
    warm.request(path)
    listed = warm.run('--warm-list').stdout
    assert b'\x1b' not in listed and b'a?[31m' in listed, listed


def test_a_frozen_instance_does_not_stop_the_list(warm, world):
    """P29: it appears with what is known of it without an answer, and the others after it."""
    frozen, other = world.write_app(HELLO, 'frozen.py'), world.write_app(HELLO, 'other.py')
    warm.request(frozen)
    [pid] = warm.pids()
    warm.request(other)
    os.kill(pid, signal.SIGSTOP)
    rows = {row['script']: row for row in warm.list('--timeout', '100ms')}
    assert rows[frozen] == {'pid': pid, 'age': None, 'workers': None, 'requests': None, 'memory': None,
                            'script': frozen}, rows
    finished = warm.run('--warm-list', '--timeout', '100ms')
    assert re.search(rf'(?m)^ *{pid} +- +- +- +- {re.escape(frozen)}$', finished.stdout.decode()), finished
    assert f'the instance with pid {pid} does not answer' in finished.stderr, finished


def test_killed_instances_are_not_listed(warm, world):
    """P29: what is left of one whose process is gone is none."""
    warm.request(world.write_app(HELLO))
    [pid] = warm.pids()
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    wait_for(lambda: gone(pid), 10, 'the end of the master')
    assert warm.list() == []
