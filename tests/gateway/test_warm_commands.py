"""The commands about the instances of --keep-warm: --warm-list, --warm-stop, and what --explain, --check and --doctor say. P29."""

import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import textwrap
from pathlib import Path

import pytest

from fcgi import wait_for
from harness import proc_stat
from settings import BINARY
from test_starting import as_root
from test_warm import own_uid

HELLO = '''
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'hello']
'''
# Is there until the gate is open.
GATED = '''
    import os, time
    def application(environ, start_response):
        print('it has begun', file=environ['wsgi.errors'], flush=True)
        while not os.path.exists(os.environ['GATE']):
            time.sleep(0.005)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'whole']
'''
CGI = {'REQUEST_METHOD': 'GET', 'GATEWAY_INTERFACE': 'CGI/1.1'}
STRANGER = own_uid()


def peer(path):
    """The pid of the process that listens there, or None."""
    with socket.socket(socket.AF_UNIX) as sock:
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return struct.unpack('3i', sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def open_files(pid):
    """What the descriptors of the process lead to."""
    found = []
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            found.append(os.readlink(f'/proc/{pid}/fd/{fd}'))
        except FileNotFoundError:
            pass
    return found


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
        finished = self.run('--keep-warm', *words, script, env={**CGI, **(env or {})})
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


def public_app(world):
    """HELLO where other users may read it."""
    path = world.new_path('app', '.py')
    path.write_text(textwrap.dedent(HELLO))
    path.chmod(0o644)
    return str(path)


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


@as_root
@pytest.mark.parametrize('tmpdir', ['/tmp', 'a link to /tmp'])
def test_a_folder_is_listed_once(warm_of, world, tmpdir):
    """P29: however many ways lead to it. As a user who has nothing in /tmp besides this."""
    warm = warm_of(STRANGER)
    if tmpdir != '/tmp':
        tmpdir = world.new_path('link')
        tmpdir.symlink_to('/tmp')
    warm.env['TMPDIR'], warm.folder = str(tmpdir), Path(f'/tmp/wsgi-cgi-{STRANGER}')
    path = public_app(world)
    try:
        warm.request(path)
        assert [row['script'] for row in warm.list()] == [path]
    finally:
        warm.end()
        shutil.rmtree(warm.folder, ignore_errors=True)


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
    assert warm.run('--warm-stop', path).code == 0 and warm.pids() == set()


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
    stopped = warm.run('--warm-stop', frozen, '--timeout', '100ms')
    assert stopped.code == 69 and f'pid {pid} has not ended within 100 ms' in stopped.stderr, stopped


# --- --warm-stop ----------------------------------------------------------------------------------------------------

def test_stop(warm, world):
    """P29: ends the instances of one script, with all their options, and says when they have ended."""
    path, other = world.write_app(HELLO, 'app.py'), world.write_app(HELLO, 'other.py')
    warm.request(path)
    warm.request(path, '--threads', '2')
    ours = warm.pids()
    warm.request(other)
    [kept] = warm.pids() - ours
    finished = warm.run('--warm-stop', path)
    assert finished.code == 0 and finished.stderr == '', finished
    assert sorted(finished.stdout.decode().splitlines()) == sorted(f'wsgi-cgi: ended pid {pid}' for pid in ours)
    assert len(ours) == 2 and all(gone(pid) for pid in ours) and warm.pids() == {kept}
    assert [row['script'] for row in warm.list()] == [other]
    assert warm.request(path) == b'hello', 'the next request starts another one'


@pytest.mark.parametrize('form', ['relative', 'link', 'the link that it was started by', 'deleted'])
def test_stop_by_another_name(warm, world, form):
    """P29: the file counts, not how its path is written."""
    path, link = world.write_app(HELLO), world.tmp_path / 'link.py'
    link.symlink_to(path)
    warm.request(str(link) if 'started' in form else path)
    [pid] = warm.pids()
    if form == 'deleted':
        os.remove(path)
    name = {'relative': 'app.py', 'link': str(link)}.get(form, path)
    finished = warm.run('--warm-stop', name)
    assert finished.code == 0 and gone(pid), finished


def test_stop_of_nothing(warm, world):
    """P29: no instance of that script: status 69, and the instance of another one lives on."""
    path = world.write_app(HELLO)
    warm.request(path)
    for other in (world.write_app(HELLO, 'other.py'), str(world.tmp_path / 'missing.py'), str(world.tmp_path)):
        finished = warm.run('--warm-stop', other)
        assert finished.code == 69 and f'--warm-stop: {other}: no instance of this script runs as' in finished.stderr, (
            finished)
    assert len(warm.pids()) == 1


def test_stop_waits_for_requests(warm, world):
    """P29: a request that runs ends first; one more --warm-stop does not cut it off, and neither kills what hangs."""
    gate, path = world.new_path('gate'), world.write_app(GATED)
    env = {**warm.env, **CGI, 'GATE': str(gate)}
    request = subprocess.Popen([BINARY, '--keep-warm', path], env=world.env(env), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert b'it has begun' in request.stderr.readline()
        [pid] = warm.pids()
        for _ in range(2):
            finished = warm.run('--warm-stop', path, '--timeout', '300ms')
            assert finished.code == 69, finished
            assert f'pid {pid} has not ended within 300 ms; it finishes its requests, or hangs' in finished.stderr
            assert warm.pids() == set() and not gone(pid), 'nobody connects any more'
        stop = subprocess.Popen([BINARY, '--warm-stop', path, '--timeout', '60s'], env=world.env(warm.env),
                                stdout=subprocess.PIPE, text=True)
        wait_for(lambda: 'anon_inode:[pidfd]' in open_files(stop.pid), 10, '--warm-stop to have found the instance')
        gate.touch()
        assert stop.communicate(timeout=60)[0] == f'wsgi-cgi: ended pid {pid}\n' and stop.returncode == 0
        assert request.communicate(timeout=60)[0].endswith(b'whole') and gone(pid)
    finally:
        gate.touch()
        request.wait(60)


def test_killed_instances_leave_nothing(warm, world):
    """P29: neither command shows one whose process is gone; --warm-stop says that there is none."""
    path = world.write_app(HELLO)
    warm.request(path)
    [pid] = warm.pids()
    os.killpg(os.getpgid(pid), signal.SIGKILL)
    wait_for(lambda: gone(pid), 10, 'the end of the master')
    assert warm.list() == []
    assert warm.run('--warm-stop', path).code == 69


@as_root
def test_stop_all(warm_of, world):
    """P29: all those of this user, in all folders; none is not an error then."""
    warm = warm_of(STRANGER)
    for _ in range(2):
        warm.request(public_app(world))
    pids = warm.pids()
    finished = warm.run('--warm-stop', 'all')
    assert finished.code == 0 and len(pids) == 2 and all(gone(pid) for pid in pids), finished
    assert warm.run('--warm-stop', 'all').code == 0


@as_root
def test_users_do_not_see_each_other(warm_of, world):
    """P29: another user can neither list nor stop an instance, also with the folder of its owner as TMPDIR; root has
    instances of its own, and ends a user's as that user."""
    owner, other = warm_of(STRANGER), warm_of(STRANGER + 1)
    path = public_app(world)
    owner.request(path)
    [pid] = owner.pids()
    for env in ({}, {'TMPDIR': str(owner.above)}, {'TMPDIR': str(owner.above), 'XDG_RUNTIME_DIR': str(owner.above)}):
        for who in ({}, {'user': None, 'group': None, 'extra_groups': None}):
            listed = other.run('--warm-list', env=env, **who)
            assert listed.code == 0 and path.encode() not in listed.stdout, listed
            stopped = other.run('--warm-stop', path, env=env, **who)
            assert stopped.code == 69 and 'no instance of this script runs as' in stopped.stderr, stopped
    for end, command in ('.sock', '--ping'), ('.ctl', '--status'):
        path_of_socket = next(owner.folder.glob('*' + end))
        refused = other.run(command, f'unix:{path_of_socket}')
        assert refused.code == 69 and f'may not enter {owner.folder}' in refused.stderr, refused
    assert not gone(pid) and owner.run('--warm-stop', path).code == 0 and gone(pid)


# --- the other options of the script ----------------------------------------------------------------------------------

def test_options_beside_it(warm, world):
    """P29: those of FastCGI stand in the same line, and override what an instance has otherwise."""
    def limits(*words):
        before = warm.pids()
        path = world.write_app(HELLO)
        assert warm.request(path, *words) == b'hello'
        [pid] = warm.pids() - before
        [ctl] = [path for path in warm.folder.glob('*.ctl') if peer(path) == pid]
        page = json.loads(warm.run('--status', f'unix:{ctl}', '--json').stdout)
        return page['min children'], page['max children'], page['threads'] // page['total processes']
    assert limits() == (0, 4, 1)
    assert limits('--processes', '1-8', '--threads', '2', '--exit-idle', '30m') == (1, 8, 2)


def test_exit_idle_of_the_script(warm, world):
    """P28: its own --exit-idle counts; then nothing is left."""
    warm.request(world.write_app(HELLO), '--exit-idle', '200ms')
    wait_for(lambda: not list(warm.folder.glob('*.[sc]*')), 10, 'the end of the idle instance')
    assert warm.list() == []


# --- --explain, --check, --doctor -----------------------------------------------------------------------------------

STARTS = 'the first request starts an instance in '


def warm_line(finished):
    """What --explain or --check says of it; None if nothing."""
    lines = finished.stdout.decode().splitlines()
    said = [line.partition('warm: ')[2] for line in lines if re.match(r'(wsgi-cgi: )?warm: ', line)]
    assert len(said) <= 1 and finished.code in (0, 64), finished
    return said[0] if said else None


@pytest.mark.parametrize('command', ['--explain', '--check'])
@pytest.mark.parametrize('how', ['words', 'variable'])
def test_whether_a_request_would_be_warm(warm, world, command, how):
    """P29: before and after the first request, and after an edit. The question starts nothing and creates nothing."""
    path = world.write_app(HELLO)

    def ask():
        if how == 'words':
            return warm_line(warm.run(command, '--keep-warm', '--threads', '2', path))
        return warm_line(warm.run('--keep-warm', '--threads', '2', path, env={'WSGI_CGI_OPTIONS': command}))
    assert ask() == STARTS + str(warm.folder) and not warm.folder.exists()
    warm.request(path, '--threads', '3')
    assert ask() == STARTS + str(warm.folder), 'one with other options does not count'
    before = warm.pids()
    warm.request(path, '--threads', '2')
    [pid] = warm.pids() - before
    [sock] = [str(path) for path in warm.folder.glob('*.sock') if peer(path) == pid]
    assert ask() == f'yes, instance {pid} on {sock}'
    with open(path, 'a') as file:
        file.write('# edited\n')
    assert ask() == STARTS + str(warm.folder)
    assert len(warm.pids()) == 2


def test_a_script_that_asks(warm, world):
    """P29: executed, with the options of its #! line, in the words that the kernel passes as one."""
    path = world.tmp_path / 'app.py'
    path.write_text(f'#!{BINARY} --keep-warm --threads 2\n' + textwrap.dedent(HELLO))
    path.chmod(0o755)
    assert warm.run(binary=path, env=CGI).code == 0
    [pid] = warm.pids()
    for command in '--explain', '--check':
        said = warm_line(warm.run(binary=path, env={'WSGI_CGI_OPTIONS': command}))
        assert said.startswith(f'yes, instance {pid} on '), said
    said = warm_line(warm.run('--explain', '--keep-warm', '--threads', '2', path))
    assert said == STARTS + str(warm.folder), 'a command line is another start than the #! line'


def test_a_finishing_instance_is_not_said_to_serve(warm, world):
    """P29: its control socket is still there."""
    path = world.write_app(HELLO)
    warm.request(path)
    next(warm.folder.glob('*.sock')).unlink()
    assert warm_line(warm.run('--explain', '--keep-warm', path)) == STARTS + str(warm.folder)


@pytest.mark.parametrize('why', ['mode', 'script', 'none'])
def test_why_it_would_not_be_warm(warm, world, why):
    """P29: in FastCGI mode, or without the script. --check loads the application all the same."""
    path = world.write_app(HELLO)
    missing = path + '.missing.py'
    words, reason = {'mode': (['--mode', 'fastcgi', '--keep-warm', path],
                              'this is FastCGI mode, which keeps the application anyway'),
                     'script': (['--keep-warm', missing], f'{missing}: No such file or directory'),
                     'none': (['--keep-warm'], 'no application is given')}[why]
    assert warm_line(warm.run('--explain', *words)) == 'no: ' + reason
    assert why != 'mode' or warm_line(warm.run('--check', *words)) == 'no: ' + reason


@as_root
@pytest.mark.parametrize('wrong', ['its mode', 'no folder', 'its owner'])
def test_no_folder_for_instances(warm_of, world, wrong):
    """P29: the reason is that of the first place, and the next is used if it can be: of a user who has nothing in
    /tmp besides this."""
    warm, path, last = warm_of(STRANGER), public_app(world), Path(f'/tmp/wsgi-cgi-{STRANGER}')
    if wrong == 'no folder':
        warm.folder.touch()
    else:
        warm.folder.mkdir()
        warm.folder.chmod(0o755)
        os.chown(warm.folder, *(2 * [STRANGER] if wrong == 'its mode' else [0, 0]))
    reason = f'{warm.folder}: ' + {'its mode': 'others may enter it: chmod 700, or remove it',
                                   'no folder': 'it is no folder: remove it',
                                   'its owner': 'it belongs to root: remove it, or set TMPDIR to another folder'}[wrong]
    assert warm_line(warm.run('--explain', '--keep-warm', path)) == STARTS + str(last)
    last.touch()
    try:
        for command in '--explain', '--check':
            assert warm_line(warm.run(command, '--keep-warm', path)) == 'no: ' + reason
    finally:
        last.unlink()


@pytest.mark.parametrize('command', ['--explain', '--check'])
def test_nothing_is_said_without_the_option(warm, world, command):
    """P29: the lines of --explain and --check are those that they were."""
    assert warm_line(warm.run(command, world.write_app(HELLO))) is None


def test_check_fails_only_for_the_application(warm, world):
    """P29: what does not load has status 70, and no word about instances."""
    finished = warm.run('--check', '--keep-warm', world.write_app('1 / 0\n'))
    assert finished.code == 70 and b'warm' not in finished.stdout, finished


def test_doctor_says_it(warm, world):
    """P29: in CGI mode the page advises the option, or says what it does."""
    advice = 'Each request starts Python and loads the application.'

    def page(*words):
        return warm.run('--doctor', *words, env={**CGI, 'QUERY_STRING': 'text'}).stdout.decode()
    assert advice in page() and '--keep-warm' in page() and 'Nothing to change' in page()
    path = world.write_app(HELLO)
    assert advice not in page('--keep-warm', path)
    assert STARTS + str(warm.folder) in page('--keep-warm', path) and not warm.folder.exists()
    warm.request(path)
    [pid] = warm.pids()
    assert f'yes, instance {pid} on ' in page('--keep-warm', path)


def test_doctor_over_fastcgi_does_not_advise_it(fcgi_unix):
    """P29: there is nothing to keep."""
    page = fcgi_unix(HELLO, '--doctor').request(query='text').body.decode()
    assert 'Nothing to change' in page and '--keep-warm' not in page
