"""Logs: the files and their rotation, both formats, levels, ids, the access log. P6, P9, P13, W32."""

import calendar
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import threading
import time

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import OwnLines, count_fds, listens, settled
from settings import BINARY, SLOW
from test_processes import Load, rewrite, serve, workers      # noqa: F401 (serve is a fixture)
from test_starting import OTHER, as_root, become, identity, public     # noqa: F401 (fixtures, too)
from test_syscalls import Trace, plain, traced

COARSE_CLOCK = 6        # Linux' CLOCK_MONOTONIC_COARSE, for which Python has no name

STAMP = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z'

# Everything that can write: Python's streams, C's descriptors, a child.
LOUD = '''
import ctypes, os, subprocess, sys
print('imported')
def application(environ, start_response):
    word = environ['QUERY_STRING']
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    write(b'pid ')
    environ['wsgi.input'].read()
    print('print', word)
    print('wsgi.errors', word, file=environ['wsgi.errors'])
    os.write(2, f'descriptor 2 {word}\\n'.encode())
    os.write(1, f'descriptor 1 {word}\\n'.encode())
    ctypes.CDLL(None).dprintf(2, b'from C %s\\n', word.encode())
    subprocess.run(['sh', '-c', 'echo child $0 >&2', word], check=True)
    return [str(os.getpid()).encode()]
'''
LOUD_LINES = ['print', 'wsgi.errors', 'descriptor 2', 'descriptor 1', 'from C', 'child']

# Says its query and its process on one line, when it has its body; meanwhile its thread can take no other request.
QUIET = '''
import os
version = %r
def application(environ, start_response):
    write = start_response('200 OK', [('Content-Type', 'text/plain')])
    write(b'pid ')
    environ['wsgi.input'].read()
    print('query', environ['QUERY_STRING'], 'of', version, os.getpid())
    return [str(os.getpid()).encode()]
'''

ID = '''
def application(environ, start_response):
    if environ['PATH_INFO'] == '/fail':
        raise ValueError('on purpose')
    for line in 'first', 'second\\nthird':
        print(line)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [environ['wsgi_cgi.request_id'].encode()]
'''


# Is done when there is a file of that name.
SLOW_APP = '''
import os, time
def application(environ, start_response):
    while not os.path.exists(%r):
        time.sleep(0.005)
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [str(os.getpid()).encode()]
'''


def besides(text):
    """The lines of a log without those about the start and the end of the service."""
    own = OwnLines(text)
    assert not own.wrong
    return own.rest


def lines(path):
    return besides(path.read_text()) if path.exists() else []


def objects(path):
    """Each line of a JSON log."""
    return [json.loads(line) for line in besides(path.read_text())]


# What the application prints starts like our own lines.
OUTPUT = rf'{STAMP} wsgi-cgi\[\d+\]: output: '


def without_id(line):
    return re.sub(rf'^(?:{OUTPUT})?(?:\[\w{{12}}\] )?', '', line)


def rotate(path, process, suffix='.1'):
    """As logrotate does it. The name of the old file."""
    old = path.with_name(path.name + suffix)
    path.rename(old)
    process.signal(signal.SIGHUP)
    return old


# --- where it goes ---------------------------------------------------------------------------------------------------

def test_file_takes_everything(transport, tmp_path):
    """P6, W32: print, wsgi.errors, descriptors 1 and 2, C code and children write to the log file; a relative name is
    one of the folder of the start, whatever --chdir says; nothing goes to the server or to the old stderr."""
    (tmp_path / 'elsewhere').mkdir()
    server = transport.serve(LOUD, '--log-file', 'log', '--chdir', 'elsewhere', cwd=tmp_path)
    response = server.request(query='w')
    assert response.status == 200 and response.stderr == b''
    log = tmp_path / 'log'
    wait_for(lambda: 'child w' in lines(log), 5, 'the last line')
    assert without_id(lines(log)[0]) == 'imported'
    assert sorted(map(without_id, lines(log)[1:])) == sorted(f'{line} w' for line in LOUD_LINES)
    # Python's own streams have the time and the id in front, what goes past Python cannot.
    assert re.match(OUTPUT, lines(log)[0])
    assert [re.match(rf'{OUTPUT}\[\w{{12}}\] ', line) is not None for line in lines(log)[1:]] == [True] * 2 + [False] * 4
    server.stop()
    assert server.logged_besides.strip() == ''


def test_mode_of_the_file(fcgi_unix, tmp_path):
    """0640, less what the umask forbids."""
    log, access = tmp_path / 'log', tmp_path / 'access'
    fcgi_unix(QUIET % '', '--log-file', log, '--access-log', access, umask=0o027)
    assert stat.S_IMODE(log.stat().st_mode) == stat.S_IMODE(access.stat().st_mode) == 0o640
    os.unlink(log)
    fcgi_unix(QUIET % '', '--log-file', log, umask=0o077)
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_appends(fcgi_unix, tmp_path):
    """What the file holds already stays."""
    log = tmp_path / 'log'
    log.write_text('before\n')
    fcgi_unix(QUIET % 1, '--log-file', log).request(query='a')
    assert lines(log)[0] == 'before' and 'query a of 1' in lines(log)[1]


@pytest.mark.parametrize('option', ['--log-file', '--access-log', '--slow-log'])
@pytest.mark.parametrize('name, why', [('missing/file', '/.*/missing does not exist'), ('.', 'Is a directory')])
def test_unusable(run, world, tmp_path, option, name, why):
    """Told in one line at the start, exit code 73 (EX_CANTCREAT); CGI's client gets a page."""
    app = world.write_app(QUIET % 1)
    wanted = rf'wsgi-cgi\[\d+\]: error: {option}: {re.escape(name)}: cannot be opened for writing: {why}\n'
    stamped = f'(?:{STAMP} )?'
    finished = run('--slow', '60s', '--bind', world.new_path('sock'), option, name, app)
    assert finished.code == 73 and re.fullmatch(stamped + wanted, finished.stderr), finished
    finished = run('--slow', '60s', option, name, app, env={'REQUEST_METHOD': 'GET', 'PATH_INFO': '/'})
    assert finished.code == 73 and finished.stdout.startswith(b'Status: 500 '), finished
    line = re.fullmatch(stamped + wanted.replace('error: ', r'error: \[(\w{12})\] ', 1), finished.stderr)
    assert line and line[1].encode() in finished.stdout, finished


@pytest.mark.parametrize('option, value, expected', [
    ('log-file', '', 'a file, or - for standard error'), ('access-log', '', 'a file, or - for the log'),
    ('slow-log', '', 'a file, or - for the log'),
    ('log-format', 'xml', 'text or json'), ('log-format', 'JSON', 'text or json'),
    ('log-level', 'loud', 'error, warning, notice, info or debug'),
    ('log-level', '', 'error, warning, notice, info or debug')])
def test_wrong_values(run, option, value, expected):
    """One line that says what was read and what was expected."""
    finished = run(f'--{option}={value}', 'app.py')
    assert finished.code == 64
    assert finished.stderr.partition(': error: ')[2] == f'--{option}: invalid value "{value}": expected {expected}\n'


def test_start_errors_go_to_stderr(run, world, tmp_path):
    """Whoever starts it sees what is wrong: the log file takes over when all is well."""
    log = tmp_path / 'log'
    for options in (['--bind', 'unix:/missing/folder/sock'], ['--bind', world.new_path('sock'), '--venv', '/missing']):
        finished = run(*options, '--log-file', log, world.write_app(QUIET % 1))
        assert finished.code != 0 and 'missing' in finished.stderr
        assert lines(log) == []
    finished = run('--check', '--log-file', tmp_path / 'other', world.write_app('import missing\n'))
    assert finished.code == 70 and 'ModuleNotFoundError' in finished.stderr and not (tmp_path / 'other').exists()


def test_one_pipe_for_response_and_stderr(world, tmp_path):
    """Where a server gives one pipe for both (mini_httpd), the log file keeps the response clean."""
    log = tmp_path / 'log'
    app = world.write_app(ID)
    environment = world.env({'REQUEST_METHOD': 'GET', 'PATH_INFO': '/fail', 'SCRIPT_NAME': '', 'REMOTE_ADDR': '::1'})
    done = subprocess.run([BINARY, '--log-file', log, '--access-log', '-', app],
                          env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.stdout.startswith(b'Status: 500 ') and done.stdout.endswith(b'</html>\n')
    assert b'Traceback' not in done.stdout
    text = log.read_text()
    assert 'ValueError: on purpose' in text and '::1 - - [' in text


@pytest.mark.parametrize('options, server_gets', [
    ([], True), (['--errors-to', 'stderr'], False), (['--log-file', '-'], False), (['--log-format', 'json'], False),
    (['--log-file', '-', '--errors-to', 'server'], True), (['--log-format', 'json', '--errors-to', 'server'], True)])
def test_who_gets_the_lines(fcgi_unix, options, server_gets):
    """A log of its own gets what the application prints, unless --errors-to says otherwise. To the server's log lines
    go as they are, tracebacks with the id; they are text even beside a JSON log."""
    server = fcgi_unix(ID, *options)
    server.expect_log('the application raised ValueError')
    server.expect_log('ValueError: on purpose')
    printed, failed = server.request(), server.request(path='/fail')
    if not server_gets:
        assert printed.stderr == failed.stderr == b''
        server.wait_log('on purpose')
        return
    assert printed.stderr == b'first\nsecond\nthird\n'
    text = failed.stderr.decode()
    name = re.match(r'wsgi-cgi\[\d+\]: error: \[(\w{12})\] GET /fail: the application raised ValueError\n', text)[1]
    rest = text.splitlines()[1:]
    assert rest[0] == f'[{name}] Traceback (most recent call last):' and rest[-1] == f'[{name}] ValueError: on purpose'
    assert all(line.startswith(f'[{name}] ') for line in rest)


# --- rotation ---------------------------------------------------------------------------------------------------------

def renewed(server, before, threads):
    """Wait until a master's workers are all others than before, and each of their threads serves."""
    count = len(before) * threads
    wait_for(lambda: not before & workers(server) and ask(server, 'end', count) == workers(server), 20, 'new workers')


def ask(server, word, count=1):
    """Keeps so many processes of one thread busy at the same time; their pids. They have logged the word."""
    exchanges = []
    for _ in range(count):
        exchanges.append(server.start('POST', query=word, content_length=1))
        exchanges[-1].wait_for(b'pid ')
    for exchange in exchanges:
        exchange.write(b'x')
        exchange.finish_body()
    return {int(exchange.response().text.split()[1]) for exchange in exchanges}


@pytest.mark.parametrize('options', [[], ['--processes', '2']], ids=['alone', 'master'])
def test_rotation(serve, tmp_path, options):      # noqa: F811
    """P6: rename, HUP, write: a new file, for Python, descriptors 1 and 2, C code, children and the access log; also
    after the reload that HUP brings, and again and again. No descriptor is left over."""
    log, access = tmp_path / 'log', tmp_path / 'access'
    server = serve(LOUD, '--log-file', log, '--access-log', access, *options)
    server.check_fds = False
    ask(server, 'zero')
    before = settled(lambda: count_fds(server.pid))
    for turn in range(1, 4):
        pids = workers(server)
        access.rename(tmp_path / f'access.{turn}')
        old = rotate(log, server.process, f'.{turn}')
        word = f'turn{turn}'
        # Until the new code has taken over. Without a master it is loaded twice: the first time to try it.
        wait_for(lambda: ask(server, word) and list(map(without_id, lines(log))).count('imported') == 2, 20, 'the new code')
        if options:
            renewed(server, pids, 1)
        word = f'after{turn}'
        ask(server, word)
        wait_for(lambda: f'child {word}' in lines(log), 5, 'the last line in the new file')
        assert {without_id(line) for line in lines(log)} >= {f'{line} {word}' for line in LOUD_LINES}
        assert not [line for line in lines(old) if word in line]
        assert [line for line in lines(access) if f'?{word} ' in line]
        assert not [line for line in lines(tmp_path / f'access.{turn}') if f'?{word} ' in line]
        assert any('SIGHUP' in line for line in lines(log)), 'what the reload says is in the new file'
    assert 'print zero' in map(without_id, lines(tmp_path / 'log.1'))
    assert server.logged_besides.strip() == ''
    assert settled(lambda: count_fds(server.pid)) == before


class Numbers(Load):
    """Clients that send another number each time; the answers are the numbers that were answered."""

    def __init__(self, server):
        super().__init__(server)
        self.lock, self.sent = threading.Lock(), 0

    def run(self):
        while not self.ended.is_set():
            with self.lock:
                self.sent += 1
                number = self.sent
            try:
                with fcgi.Connection(self.server.address, 20) as conn:
                    response = conn.request(self.server.params(query=f'n{number}'))
                assert response.status == 200 and response.complete, response
                self.answers.append(number)
            except (AssertionError, OSError) as error:
                self.failures.append(repr(error))


@pytest.mark.parametrize('processes', [0, 2], ids=['alone', 'master'])
def test_rotation_under_load(serve, tmp_path, processes):      # noqa: F811
    """P6: nothing is lost and nothing is doubled while files are rotated and processes replaced under load: of each
    answered request there is one line in one of the logs and one in one of the access logs, all of them whole."""
    log, access = tmp_path / 'log', tmp_path / 'access'
    options = ['--processes', str(processes)] if processes else []
    server = serve(QUIET % 1, '--log-file', log, '--access-log', access, '--threads', '2', *options)
    server.check_fds = False
    with Numbers(server) as load:
        for turn in range(1, 6):
            sent = len(load.answers)
            wait_for(lambda: len(load.answers) > sent + 40, 20, 'requests')
            before = workers(server)
            access.rename(tmp_path / f'access.{turn}')
            rotate(log, server.process, f'.{turn}')
            wait_for(lambda: any('query n' in line for line in lines(log)), 20, 'lines in the new file')
            wait_for(lambda: lines(access), 20, 'lines in the new access log')
            if processes:
                renewed(server, before, 2)
    assert not load.failures, load.failures[:3]
    server.stop(timeout=10)
    printed = [line for path in tmp_path.glob('log*') for line in lines(path)]
    found = [int(m[1]) for m in (re.fullmatch(OUTPUT + r'\[\w{12}\] query n(\d+) of 1 \d+', line) for line in printed) if m]
    assert sorted(found) == sorted(load.answers)
    entries = [re.fullmatch(r'127\.0\.0\.1 - - \[[^]]+\] "GET /\?n(\d+) HTTP/1\.1" 200 \d+ "-" "-" us=\d+ pid=\d+ '
                            r'id=\w{12}', line) for path in tmp_path.glob('access*') for line in lines(path) if '?end ' not in line]
    assert None not in entries
    assert sorted(int(m[1]) for m in entries) == sorted(load.answers)


@pytest.mark.parametrize('options', [[], ['--processes', '2']], ids=['alone', 'master'])
def test_rotation_while_the_reload_fails(serve, tmp_path, options):      # noqa: F811
    """P6: the code cannot be loaded, the old processes go on: into the new file, and all of them; the reason stands
    there, too."""
    log = tmp_path / 'log'
    server = serve(QUIET % 1, '--log-file', log, *options)
    server.check_fds = False
    count = 2 if options else 1
    wait_for(lambda: len(ask(server, 'a', count)) == count, 20, 'all processes')
    pids = workers(server) if options else {server.pid}
    rewrite(server, 'def application(:\n')
    old = rotate(log, server.process)
    wait_for(lambda: any('the new code does not load' in line for line in lines(log)), 20, 'the failure')
    assert any('SyntaxError' in line for line in lines(log))
    wait_for(lambda: ask(server, 'b', count) and
             pids == {int(line.split()[-1]) for line in lines(log) if 'query b of 1' in line}, 20,
             'lines of all processes in the new file')
    size = old.stat().st_size
    wait_for(lambda: ask(server, 'c', count) == pids, 20, 'all processes')
    assert old.stat().st_size == size
    rewrite(server, QUIET % 2)
    wait_for(lambda: ask(server, 'z') and any(' of 2 ' in line for line in lines(log)), 20, 'the mended code')
    if options:
        renewed(server, pids, 1)


@pytest.mark.parametrize('options', [[], ['--processes', '1']], ids=['alone', 'master'])
def test_file_that_cannot_be_opened_again(serve, tmp_path, options):      # noqa: F811
    """P6: the old file goes on and says why, also when the program executes itself again; later all is well again."""
    folder = tmp_path / 'logs'
    folder.mkdir()
    log, access = folder / 'log', folder / 'access'
    server = serve(QUIET % 1, '--log-file', log, '--access-log', access, *options)
    server.check_fds = False
    ask(server, 'a')
    pids = workers(server)
    moved = tmp_path / 'moved'
    folder.rename(moved)
    rewrite(server, QUIET % 2)
    server.process.signal(signal.SIGHUP)
    old = moved / 'log'
    wait_for(lambda: ask(server, 'b') and any('query b of 2' in line for line in lines(old)), 20, 'the new code')
    for option, path in ('log-file', log), ('access-log', access):
        assert any(f'error: --{option}: {path}: cannot be opened again: {folder} does not exist; the old file stays in use'
                   in line for line in lines(old)), lines(old)
    folder.mkdir()
    if options:
        renewed(server, pids, 1)
    pids = workers(server)
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: ask(server, 'c') and any('query c of 2' in line for line in lines(log)), 20, 'the new file')
    wait_for(lambda: ask(server, 'd') and any('?d ' in line for line in lines(access)), 20, 'the new access log')
    if options:
        renewed(server, pids, 1)


@as_root
@pytest.mark.parametrize('options', [[], ['--processes', '2']], ids=['alone', 'master'])
def test_rotation_as_another_user(become, public, options):      # noqa: F811
    """P6, P15: files made by root are those of --user, which opens them again; where it may not make a new one, the old
    one goes on, until somebody makes it, as logrotate's "create" does."""
    uid, gid, _ = identity(OTHER)
    folder = public / 'log'
    folder.mkdir()
    log, access = folder / 'log', folder / 'access'
    server = become(QUIET % 1, '--user', OTHER, '--log-file', log, '--access-log', access, *options)
    server.check_fds = False
    for path in log, access:
        assert (path.stat().st_uid, path.stat().st_gid) == (uid, gid)
    wait_for(lambda: len(ask(server, 'a', len(options) or 1)) == (len(options) or 1), 20, 'all processes')
    pids = workers(server)
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: ask(server, 'a') and any('SIGHUP' in line for line in lines(log)), 20, 'the reload')
    if options:
        renewed(server, pids, 1)
    assert 'cannot be opened' not in log.read_text()
    pids = workers(server)
    old = rotate(log, server.process)
    wait_for(lambda: f'error: --log-file: {log}: cannot be opened again: user {OTHER} (uid {uid}) may not create files in '
             f'{folder}; the old file stays in use' in old.read_text(), 20, 'the reason in the old file')
    if options:
        renewed(server, pids, 1)
    assert not log.exists()
    log.touch(0o640)
    os.chown(log, uid, gid)
    pids = workers(server)
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: ask(server, 'b') and any('query b ' in line for line in lines(log)), 20, 'the new file')
    if options:
        renewed(server, pids, 1)


@as_root
@pytest.mark.parametrize('options', [[], ['--processes', '2']], ids=['alone', 'master'])
def test_folder_that_the_user_may_not_enter(become, public, options):      # noqa: F811
    """P6, P15: the files that root has opened go on as long as nobody asks for new ones, in new workers and in a program
    that executes itself again alike; who may not look at the path does not take the files for moved."""
    uid, _, _ = identity(OTHER)
    folder = public / 'log'
    folder.mkdir(mode=0o700)
    log, access = folder / 'log', folder / 'access'
    server = become(QUIET % 1, '--user', OTHER, '--log-file', log, '--access-log', access, '--max-requests', '5',
                    '--max-requests-jitter', '0', *options)
    seen, count = set(), 0
    while len(seen) < 4:
        ask(server, f'n{count}')
        count += 1
        seen = {line.split()[-1] for line in lines(log) if 'query n' in line} if options else set(range(count // 5))
    wait_for(lambda: [line for line in lines(access) if f'?n{count - 1} ' in line], 5, 'the last line')
    assert [f'?n{i} ' in line for i, line in enumerate(lines(access))] == [True] * count
    assert 'cannot be opened' not in log.read_text() and server.logged_besides.strip() == ''
    # A new file is asked for: it cannot be had, and that is said.
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: f'(uid {uid}) may not enter {folder}; the old file stays in use' in log.read_text(), 20, 'the reason')
    wait_for(lambda: 'the new code' in log.read_text(), 20, 'the reload')
    ask(server, 'last')
    wait_for(lambda: [line for line in lines(access) if '?last ' in line], 5, 'a line in the old file')
    assert 'for writing' not in log.read_text()


@pytest.fixture
def foreign(public):                                                        # noqa: F811
    """A folder of root's, and one in it that belongs to OTHER, who can write there what he likes."""
    folder = public / 'foreign'
    folder.mkdir()
    uid, gid, _ = identity(OTHER)
    os.chown(folder, uid, gid)
    (public / 'victim').write_text('precious\n')
    (public / 'folder').mkdir()
    return folder


LEADS_ASTRAY = {
    'link': lambda here, root: (here / 'log').symlink_to(root / 'victim') or here / 'log',
    'link to nothing': lambda here, root: (here / 'log').symlink_to(root / 'new') or here / 'log',
    'folder': lambda here, root: (here / 'way').symlink_to(root / 'folder') or here / 'way' / 'log',
    'hard link': lambda here, root: os.link(root / 'victim', here / 'log') or here / 'log',
    'link below': lambda here, root: (here / 'sub').mkdir() or (here / 'sub' / 'log').symlink_to(root / 'victim') or
    here / 'sub' / 'log',
}


@as_root
@pytest.mark.parametrize('user', [['--user', OTHER], []], ids=['user', 'root'])
@pytest.mark.parametrize('way', LEADS_ASTRAY)
@pytest.mark.parametrize('option', ['--log-file', '--access-log', '--slow-log'])
def test_led_astray(run, public, foreign, option, way, user):      # noqa: F811
    """P15: root writes to no file that a link in somebody else's folder leads to, nor makes one: exit code 73."""
    path = LEADS_ASTRAY[way](foreign, public)
    (public / 'app.py').write_text(HELLO)
    before = sorted(public.rglob('*'))
    finished = run(*user, '--slow', '60s', '--bind', public / 'sock', option, path, public / 'app.py', cwd='/')
    why = 'it has more than one hard link' if way == 'hard link' else 'a symbolic link in the path'
    assert finished.code == 73 and f'error: {option}: {path}: cannot be opened for writing: {why}' in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert (public / 'victim').read_text() == 'precious\n' and sorted(public.rglob('*')) == before


LEADS_ON = {
    'file': lambda here, root: (here / 'log', here / 'log'),
    'link of root': lambda here, root: ((root / 'log').symlink_to(root / 'victim') or root / 'log', root / 'victim'),
    'link of root to nothing': lambda here, root: ((root / 'log').symlink_to('folder/new') or root / 'log',
                                                   root / 'folder' / 'new'),
    'folder of root': lambda here, root: ((root / 'way').symlink_to(root / 'folder') or root / 'way' / 'log',
                                          root / 'folder' / 'log'),
    'to the other': lambda here, root: ((root / 'way').symlink_to(here) or root / 'way' / 'log', here / 'log'),
    'dots': lambda here, root: (f'{here}/../folder/.//log', root / 'folder' / 'log'),
    'descriptor': lambda here, root: ('/dev/stdout', None),
    'process': lambda here, root: ('/proc/self/fd/1', None),
}


@as_root
@pytest.mark.parametrize('way', LEADS_ON)
def test_not_led_astray(become, public, foreign, way):      # noqa: F811
    """P6, P15: links that only root can have made are followed, so are those to descriptors; what is a file in somebody
    else's folder is one."""
    path, target = LEADS_ON[way](foreign, public)
    target = target or public / 'out'
    with open(public / 'out', 'wb') as out:
        server = become(HELLO, '--user', OTHER, '--access-log', path, stdout=out)
    server.request(query='here')
    wait_for(lambda: [line for line in lines(target) if '?here ' in line], 5, 'the line')


@as_root
@pytest.mark.parametrize('kind', ['file', 'fifo'])
@pytest.mark.parametrize('option', ['--log-file', '--access-log'])
def test_made_by_a_stranger(become, run, public, option, kind):      # noqa: F811
    """P15: in a sticky folder, as /tmp, what another user has put there before is not taken for root's log, nor what he
    has put into a folder of his there; root's own file is, and that of --user, who is given it anyway."""
    (public / 'app.py').write_text(HELLO)
    sticky = public / 'sticky'
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / 'folder').mkdir()
    os.chown(sticky / 'folder', *identity('www-data')[:2])
    for path in sticky / 'log', sticky / 'folder' / 'log':
        os.mkfifo(path) if kind == 'fifo' else path.touch()
        path.chmod(0o666)
        os.chown(path, *identity('www-data')[:2])
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            for user in ['--user', OTHER], []:
                finished = run(*user, '--bind', public / 'sock', option, path, public / 'app.py', cwd='/')
                assert finished.code == 73 and 'it belongs to another user, who created it in a directory' in finished.stderr
                assert os.read(reader, 10) == b''
            for owner, user in (('www-data', 'www-data'), ('root', OTHER)):
                os.chown(path, *identity(owner)[:2])
                become(HELLO, '--user', user, option, path).stop()
        finally:
            os.close(reader)
    assert become(HELLO, '--user', OTHER, option, sticky / 'new').request().status == 200
    assert become(HELLO, '--user', OTHER, option, sticky / 'new').request().status == 200


@as_root
def test_null(become):      # noqa: F811
    """P6: a device is no file to be afraid of."""
    assert become(HELLO, '--user', OTHER, '--access-log', '/dev/null', '--log-file', '/dev/null').request().status == 200


@pytest.mark.parametrize('name, kind', [('/dev/stdout', 'fifo'), ('/proc/self/fd/1', 'file'), ('fifo', 'fifo')])
def test_log_of_a_program_that_starts_again(serve, tmp_path, name, kind):      # noqa: F811
    """P6: /dev/stdout, be it a pipe or a file, is another thing as soon as the program runs, and a pipe need not be there
    any more: the access log stays what it was, also when the program executes itself again."""
    fifo, text = tmp_path / 'fifo', bytearray()
    if kind == 'fifo':
        os.mkfifo(fifo)
        read = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write = os.open(fifo, os.O_WRONLY | os.O_CREAT)
    if kind == 'file':
        read = os.open(fifo, os.O_RDONLY)

    def arrived(query):
        try:
            text.extend(os.read(read, 1 << 16))
        except BlockingIOError:
            pass
        return f' /?{query} '.encode() in text
    try:
        server = serve(QUIET % 'one', '--access-log', fifo if name == 'fifo' else name, stdout=write)
        server.check_fds = False
        fifo.unlink()
        for word, following in ('one', 'two'), ('two', 'three'), ('three', None):
            wait_for(lambda: ask(server, 'x') and f'query x of {word} ' in server.logged, 20, 'the new code')
            ask(server, word)
            wait_for(lambda: arrived(word), 10, 'a line in the pipe')
            if following:
                rewrite(server, QUIET % following)
                server.process.signal(signal.SIGHUP)
        assert 'cannot be opened' not in server.logged
    finally:
        os.close(read)
        os.close(write)


def test_pipes_stay(world, tmp_path):
    """A log that is a pipe is kept at HUP; /dev/stderr and the like name something else by then."""
    fifo, sock = tmp_path / 'fifo', world.new_path('sock')
    os.mkfifo(fifo)
    read = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        process = world.spawn('--bind', sock, '--log-file', fifo, '--access-log', '/dev/stdout', '--processes', '1',
                              world.write_app(QUIET % 1), stdout=subprocess.PIPE)
        wait_for(lambda: listens(sock), 10, 'the socket')
        os.set_blocking(process.popen.stdout.fileno(), False)

        def request(word):
            return subprocess.run([process.argv[0], '--request', sock, 'GET', f'/?{word}'], capture_output=True).stdout

        def collect(fd, into, word):
            try:
                into += os.read(fd, 1 << 16)
            except BlockingIOError:
                pass
            return word in into
        text, access = bytearray(), bytearray()
        for word in b'one', b'two':
            assert b'200' in request(word.decode())
            wait_for(lambda: collect(read, text, b'query ' + word), 10, 'a line in the pipe')
            wait_for(lambda: collect(process.popen.stdout.fileno(), access, b'GET /?' + word + b' '), 10, 'access')
            process.signal(signal.SIGHUP)
            wait_for(lambda: collect(read, text, b'the new code is loaded'), 20, 'the reload')
            text.clear()
        process.signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        os.close(read)


# --- formats ----------------------------------------------------------------------------------------------------------

PRINTS = r'''
import logging, sys, traceback, warnings
print('imported')
def application(environ, start_response):
    if environ['PATH_INFO'] == '/fail':
        raise ValueError('quote " backslash \\ escape \x1b[2J newline \n surrogate \udc80 \u20ac')
    print('quote " backslash \\ escape \x1b[2J \x9b nul \0 \u20ac \udc80')
    sys.stderr.buffer.write(b'not utf-8 \xff\xc3(\n')
    print('several\nlines')
    print('no end', end='', flush=True)
    print(' of the line')
    print('long', 'x' * 200_000)
    logging.error('logged')
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception('caught')
    print('last', end='')
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'x']
'''


def test_json(transport, tmp_path):
    """P9: every line is one whole JSON object, whatever is in it; tracebacks are one string."""
    log = tmp_path / 'log'
    server = transport.serve(PRINTS, '--log-file', log, '--log-format', 'json', '--access-log', '-')
    for path in '/', '/fail':
        response = server.request(path=path, query='"\\')
        assert response.stderr == b''
    server.stop()
    entries = objects(log)
    for entry in entries:
        assert re.fullmatch(STAMP, entry['time']) and isinstance(entry['pid'], int)
    stamps = [entry['time'] for entry in entries]
    assert stamps == sorted(stamps)
    printed = [entry['message'] for entry in entries if entry.get('stream') == 'stderr']
    printed = [message for message in printed if message != 'imported']
    assert printed[0] == 'quote " backslash \\ escape \x1b[2J \x9b nul \0 € \\udc80'
    assert printed[1] == 'not utf-8 ��('
    assert printed[2:6] == ['several', 'lines', 'no end', ' of the line']
    assert ''.join(m for m in printed if 'xxx' in m) == 'long ' + 'x' * 200_000
    assert 'ERROR:root:logged' in printed
    [caught] = [m for m in printed if m.startswith('ERROR:root:caught\nTraceback ')]
    assert caught.endswith('\nZeroDivisionError: division by zero')
    assert 'last' in printed
    [failure] = [entry for entry in entries if entry.get('level') == 'error']
    assert failure['message'] == 'the application raised ValueError'
    assert failure['request'] == 'GET /fail?"\\'
    first, *_, last = failure['traceback'].rstrip('\n').splitlines()
    assert first == 'Traceback (most recent call last):'
    assert last == ' surrogate \\udc80 €' and '\x1b[2J newline ' in failure['traceback']
    accesses = [entry for entry in entries if entry.get('stream') == 'access']
    ids = [entry['request_id'] for entry in accesses]
    assert failure['request_id'] == ids[1] and len(set(ids)) == 2
    assert {entry.get('request_id') for entry in entries} - {None} == set(ids)
    assert all(('request_id' in entry) == (transport.name == 'cgi' or entry.get('message') != 'imported')
               for entry in entries if 'message' in entry)


def test_json_of_a_start_that_fails(run, world):
    """One object with the whole traceback also for code that does not load."""
    finished = run('--check', '--log-format', 'json', world.write_app('def application(:\n'))
    [entry] = map(json.loads, finished.stderr.splitlines())
    assert finished.code == 70 and entry['level'] == 'error'
    assert 'could not be loaded: SyntaxError' in entry['message'] and 'SyntaxError' in entry['traceback']


def test_json_reload(serve, tmp_path):      # noqa: F811
    """A reload by executing again, and one that fails in the child that tries it, leave only JSON."""
    log = tmp_path / 'log'
    server = serve(QUIET % 1, '--log-file', log, '--log-format', 'json')
    server.check_fds = False
    rewrite(server, 'raise RuntimeError("no")\n')
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: 'the new code does not load' in log.read_text(), 20, 'the failure')
    rewrite(server, QUIET % 2)
    wait_for(lambda: ask(server, 'x') and 'of 2' in log.read_text(), 20, 'the mended code')
    server.stop()
    assert any('RuntimeError: no' in entry.get('traceback', '') for entry in objects(log))


@pytest.mark.parametrize('form', ['text', 'json'])
def test_stack_of_a_slow_request(fcgi_unix, tmp_path, form):
    """P7, P9: the stack that --slow logs is one object in JSON, and has the request's id."""
    log = tmp_path / 'log'
    gate = tmp_path / 'gate'
    server = fcgi_unix(SLOW_APP % str(gate), '--log-file', log, '--log-format', form, '--slow', '100ms')
    exchange = server.start('POST', query='"slow', headers={'X-Request-ID': 'theirs'})
    exchange.finish_body()
    wait_for(lambda: '\n'.join(lines(log)).count('app.py') == 1, 10, 'the stack')
    text = '\n'.join(lines(log))
    gate.touch()
    assert exchange.response().status == 200
    if form == 'json':
        dump = json.loads(text)
        assert dump['level'] == 'warning' and dump['request_id'] == 'theirs'
        assert re.fullmatch(r'\[theirs\] POST /\?"slow: has run for \d\.\d{3} s, longer than --slow; '
                            r'stacks, most recent call first:', dump['message'])
        assert re.fullmatch(r'thread 1 of 1, in .*:\n  File ".*app\.py", line \d+, in application\n', dump['traceback'])
    else:
        first, *rest = text.splitlines()
        assert re.fullmatch(rf'{STAMP} wsgi-cgi\[\d+\]: warning: \[theirs\] POST /\?"slow: has run for .*', first)
        assert len(rest) == 2 and all(re.match(rf'{STAMP} wsgi-cgi\[\d+\]: warning: ', line) for line in rest)


def slow_request(server, gate, query):
    """Runs until the gate is open; its id."""
    exchange = server.start(query=query, headers={'X-Request-ID': query})
    exchange.finish_body()
    return exchange


@pytest.mark.parametrize('more', [[], ['--log-file', 'log'], ['--log-format', 'json']], ids=['plain', 'file', 'json'])
def test_slow_log(transport, tmp_path, more):
    """P6, P7: stacks of slow requests go to a file of their own, with the time; other lines do not, nor stacks there
    to the log."""
    gate, slow = tmp_path / 'gate', tmp_path / 'slow'
    server = transport.serve("print('imported')" + SLOW_APP % str(gate), '--slow', '100ms', '--slow-log', 'slow', *more,
                             cwd=tmp_path)
    server.allow_log('.*')
    exchange = slow_request(server, gate, 'theirs')
    wait_for(lambda: ''.join(lines(slow)).count('app.py') == 1, 10, 'the stack')
    gate.touch()
    assert exchange.response().status == 200
    if '--log-format' in more:
        dump, = objects(slow)
        assert dump['level'] == 'warning' and 'longer than --slow' in dump['message'] and 'app.py' in dump['traceback']
    else:
        text = lines(slow)
        # One line more where the application was just asking for the gate.
        assert len(text) in (3, 4) and all(re.match(rf'{STAMP} wsgi-cgi\[\d+\]: warning: ', line) for line in text)
        assert re.search(r'GET /\?theirs: has run for .* longer than --slow', text[0]) and 'in application' in text[-1]
    if transport.is_fcgi:
        server.signal(signal.SIGUSR2)
        wait_for(lambda: 'SIGUSR2' in server.logged + ''.join(lines(tmp_path / 'log')), 10, 'the other stacks')
    server.stop()
    assert 'SIGUSR2' not in slow.read_text() and 'imported' not in slow.read_text()
    assert '--slow' not in server.logged + ''.join(lines(tmp_path / 'log'))


@pytest.mark.parametrize('options', [[], ['--processes', '1']], ids=['alone', 'master'])
def test_rotation_of_the_slow_log(serve, tmp_path, options):      # noqa: F811
    """P6: SIGHUP opens it again, in workers and across the program's restart alike; one that was not moved goes on."""
    gate, slow = tmp_path / 'gate', tmp_path / 'slow'
    server = serve(SLOW_APP % str(gate), '--slow', '100ms', '--slow-log', slow, *options)
    server.check_fds = False
    server.allow_log('.*')

    def stack(query):
        if gate.exists():
            gate.unlink()
        exchange = slow_request(server, gate, query)
        wait_for(lambda: any(f'?{query}: has run' in line for line in lines(slow)), 20, f'the stack of {query}')
        gate.touch()
        assert exchange.response().status == 200

    stack('one')
    before = settled(lambda: count_fds(server.pid))
    for turn, moved in ('two', True), ('three', False):
        pids = workers(server)
        if moved:
            slow.rename(tmp_path / 'old')
        said = server.logged.count('starting again')
        server.process.signal(signal.SIGHUP)
        if options:
            wait_for(lambda: workers(server) and not workers(server) & pids, 20, 'the new worker')
        else:
            wait_for(lambda: server.logged.count('starting again') > said, 20, 'the restart')
        stack(turn)
    assert 'one' in (tmp_path / 'old').read_text() and 'two' not in (tmp_path / 'old').read_text()
    assert [word for word in ('one', 'two', 'three') if f'?{word}: has' in slow.read_text()] == ['two', 'three']
    assert settled(lambda: count_fds(server.pid)) == before


@as_root
def test_slow_log_of_another_user(become, public):      # noqa: F811
    """P6, P15: root opens it where --user may not; what root has made belongs to --user, and is passed on where the
    program executes itself again."""
    uid, gid, _ = identity(OTHER)
    folder, gate = public / 'log', public / 'gate'
    folder.mkdir(mode=0o700)
    server = become(SLOW_APP % str(gate), '--user', OTHER, '--slow', '100ms', '--slow-log', folder / 'slow')
    server.allow_log('.*')
    assert ((folder / 'slow').stat().st_uid, (folder / 'slow').stat().st_gid) == (uid, gid)
    for turn in 'first', 'second':
        gate.unlink(missing_ok=True)
        exchange = slow_request(server, gate, turn)
        wait_for(lambda: f'?{turn}: has run' in (folder / 'slow').read_text(), 10, 'the stack')
        gate.touch()
        assert exchange.response().status == 200
        server.process.signal(signal.SIGHUP)
        wait_for(lambda: server.logged.count('starting again') == 1, 20, 'the restart')


def test_slow_log_without_slow(run):
    """P11: it would do nothing."""
    for options in [], ['--slow', '0']:
        finished = run(*options, '--slow-log', 'slow', 'app.py')
        assert finished.code == 64 and '--slow-log: it needs --slow TIME' in finished.stderr


@pytest.mark.parametrize('form', ['text', 'json'])
def test_end_of_a_request_by_its_timeout(fcgi_unix, tmp_path, form):
    """P7: stack, end and access log of a request that takes too long have the same id."""
    log = tmp_path / 'log'
    server = fcgi_unix(ID.replace("    for line in", """    while environ['PATH_INFO'] == '/loop':
        pass
    for line in"""), '--log-file', log, '--log-format', form, '--access-log', '-', '--request-timeout', '200ms')
    response = server.request(path='/loop', headers={'X-Request-ID': 'theirs'})
    assert response.status == 504 and b'theirs' in response.body
    wait_for(lambda: '/loop HTTP/1.1' in log.read_text(), 5, 'the access log')
    if form == 'json':
        stack, end, access = objects(log)
        assert stack['traceback'].count('app.py') == 1 and end['message'] == 'ended by --request-timeout'
        assert {e['request_id'] for e in (stack, end, access)} == {'theirs'} and access['status'] == 504
    else:
        ours = [line for line in lines(log) if 'theirs' in line]
        assert 'has run for' in ours[0] and 'ended by --request-timeout' in ours[1] and '" 504 ' in ours[2]


def test_text(transport, tmp_path):
    """P9: lines of the program, and what the application prints, begin with the time; control characters of a traceback are escaped; all lines are
    whole and have the id."""
    log = tmp_path / 'log'
    server = transport.serve(PRINTS, '--log-file', log)
    server.request()
    server.request(path='/fail', query='"\\')
    server.stop()
    text = log.read_bytes().decode('utf-8', 'surrogateescape')
    by_id, heads = {}, {}
    for line in text.split('\n')[:-1]:
        if line.endswith('imported') or not besides(line):
            continue
        head, name, rest = re.fullmatch(rf'({STAMP} wsgi-cgi\[\d+\]: \w+: )?\[(\w{{12}})\] (.*)', line).groups()
        by_id.setdefault(name, []).append(rest)
        heads.setdefault(name, []).append((head or ': ').split(': ')[-2])
    printed, failed = by_id.values()
    of_printed, of_failed = heads.values()
    assert set(of_printed) == {'output'} and of_failed[0] == 'error' and set(of_failed[1:]) <= {'', 'output'}
    assert printed[0] == 'quote " backslash \\ escape \x1b[2J \x9b nul \0 € \\udc80'
    assert printed[1:6] == ['not utf-8 \udcff\udcc3(', 'several', 'lines', 'no end', ' of the line']
    assert printed[-1] == 'last'
    assert failed[0] == 'GET /fail?"\\: the application raised ValueError'
    assert failed[1] == 'Traceback (most recent call last):'
    assert failed[-2:] == ['ValueError: quote " backslash \\ escape \\x1b[2J newline ', ' surrogate \\udc80 €']


def test_text_of_the_application(fcgi_unix, tmp_path):
    """P9, W32: what several threads print has the time in each line: parts of lines that are flushed, records of
    logging with a traceback, whose lines stay together, and tracebacks printed line by line; none is lost or mixed."""
    log, threads, rounds = tmp_path / 'log', 4, 20
    server = fcgi_unix('''
        import logging, sys, threading, traceback
        logging.basicConfig(format='record %(message)s')
        print('at import')
        def talk(name, rounds):
            for i in range(rounds):
                try:
                    raise ValueError(name)
                except ValueError:
                    logging.exception(name)
                    traceback.print_exc()
                print(name, 'part', end='', flush=True)
                print(' rest')
        def application(environ, start_response):
            name = environ['QUERY_STRING']
            other = threading.Thread(target=talk, args=('t' + name, 20))
            other.start()
            talk('r' + name, 20)
            other.join()
            start_response('200 OK', [])
            return []
    ''', '--threads', str(threads), '--log-file', log)
    exchanges = [server.start(query=str(i)) for i in range(threads)]
    for exchange in exchanges:
        exchange.finish_body()
    assert all(exchange.response().status == 200 for exchange in exchanges)
    server.stop()
    text = lines(log)
    ours = re.compile(rf'{STAMP} wsgi-cgi\[{server.pid}\]: (\w+): (?:\[\w{{12}}\] )?(.*)')
    found = [ours.fullmatch(line) for line in text]
    assert None not in found, text[found.index(None)]
    said = [m[2] for m in found if m[1] == 'output']
    assert said[0] == 'at import'
    for name in (f'{kind}{i}' for kind in 'rt' for i in range(threads)):
        starts = [i for i, line in enumerate(said) if line == f'record {name}']
        assert len(starts) == rounds
        for i in starts:
            assert said[i + 1].startswith('Traceback') and said[i + 2].startswith('  File')
            assert said[i + 4] == f'ValueError: {name}'
        assert said.count(f'ValueError: {name}') == 2 * rounds and said.count(f'{name} part') == rounds
    assert said.count(' rest') == 2 * threads * rounds and len(said) == 1 + 2 * threads * rounds * (1 + 4 + 4 + 2)


def test_standard_error_as_the_log(transport):
    """--log-file=- is the same log on standard error."""
    server = transport.serve(ID, '--log-file', '-', '--access-log', '-')
    name = server.request().text
    server.wait_log(rf'^{OUTPUT}\[{name}\] first\n{OUTPUT}\[{name}\] second\n{OUTPUT}\[{name}\] third\n127\.0\.0\.1 - - \[.* id={name}$')


# --- levels -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('level', ['error', 'warning', 'notice', 'info', 'debug'])
def test_levels(serve, level):      # noqa: F811
    """Lines up to the level and none below it; what the application prints is no line of ours."""
    names = ['error', 'warning', 'notice', 'info', 'debug']
    server = serve('''
        import os
        def application(environ, start_response):
            print('printed')
            if environ['PATH_INFO'] == '/gone':
                start_response('200 OK', [('Content-Type', 'text/plain')])
                yield b'x'
                environ['wsgi.input'].read()
                while True:
                    yield b'x' * 65536
            raise ValueError('on purpose')
    ''', '--errors-to', 'stderr', '--log-level', level, '--processes', '1')
    server.check_fds = False
    server.allow_log('.*')
    assert server.request().status == 500
    with server.connect() as conn:
        gone = server.start('POST', path='/gone', conn=conn, content_length=1)
        gone.wait_for(b'x')
    assert server.request().status == 500       # the only thread is through with the other
    old = workers(server)
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: len(workers(server)) == 1 and not old & workers(server), 20, 'the new code')
    os.kill(*workers(server), signal.SIGKILL)
    server.wait_log('was killed by signal 9', 10)
    assert server.request().status == 500
    wanted = {'error': 'the application raised ValueError', 'notice': 'SIGHUP: loading the new code',
              'info': 'the client went away', 'debug': 'worker .* is forked'}
    for name, pattern in wanted.items():
        if names.index(name) <= names.index(level):
            wait_for(lambda: server.log.matches(f'{name}: .*{pattern}'), 10, pattern)
    server.stop(timeout=10)
    seen = set(re.findall(r'^wsgi-cgi\[\d+\]: (\w+): ', server.logged_besides, re.MULTILINE))
    assert seen == set(names[:names.index(level) + 1]) - {'warning'}, server.logged
    assert 'printed' in server.logged.split('\n')


# --- the access log ---------------------------------------------------------------------------------------------------

ACCESS = '''
import os
class Body:
    def __iter__(self):
        return iter([b'abc', b'defg'])
    def close(self):
        pass
def application(environ, start_response):
    path = environ['PATH_INFO']
    if path == '/fail':
        raise ValueError('on purpose')
    if path == '/none':
        start_response('204 No Content', [])
        return []
    if path == '/file':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return environ['wsgi.file_wrapper'](open(__file__, 'rb'))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if path == '/stream':
        return Body()
    return [b'hello']
'''
TEXT = re.compile(r'(\S+) - (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000)\] "(.*?)" (\d{3}|-) (\d+) "(.*?)" '
                  r'"(.*?)" us=(\d+) pid=(\d+) id=([\w-]+)( aborted)?')


def entry(line):
    """A line of the text format as the JSON one has it."""
    addr, user, _, request, status, n, referer, agent, us, pid, name, aborted = TEXT.fullmatch(line).groups()
    found = {'remote_addr': addr, 'remote_user': user, 'request': request, 'bytes': int(n), 'referer': referer,
             'user_agent': agent, 'duration_us': int(us), 'pid': int(pid), 'request_id': name,
             'status': None if status == '-' else int(status), 'aborted': bool(aborted)}
    return {name: value for name, value in found.items() if value != '-'}


@pytest.mark.parametrize('form', ['text', 'json'])
def test_access_log(transport, tmp_path, form):
    """P9: one line a request, with all that is known about it."""
    access = tmp_path / 'access'
    server = transport.serve(ACCESS, '--access-log', access, '--log-format', form, '--mount', '/app', '--limit-body',
                             '100')
    server.allow_log('.*')
    size = pathlib.Path(server.script).stat().st_size
    headers = {'User-Agent': 'agent/1', 'Referer': 'http://example.org/?a b', 'X-Request-ID': 'their-id_1'}
    cases = [('GET', '/app/x', {'query': 'q=1', 'headers': headers, 'params': {'REMOTE_USER': 'user name'}}, 200, 5),
             ('POST', '/app/x', {'body': b'abc'}, 200, 5), ('HEAD', '/app/x', {}, 200, 0),
             ('GET', '/app/none', {}, 204, 0), ('GET', '/app/stream', {}, 200, 7), ('GET', '/app/file', {}, 200, size),
             ('GET', '/app/fail', {}, 500, None), ('GET', '/other', {}, 404, None),
             ('POST', '/app/x', {'body': b'x' * 101}, 413, None)]
    pids = []
    for method, path, more, status, n in cases:
        before = time.monotonic()
        response = server.request(method, path, **more)
        took = time.monotonic() - before
        assert response.status == status
        wait_for(lambda: len(lines(access)) == len(pids) + 1, 5, 'the line')
        line = lines(access)[-1]
        found = json.loads(line) if form == 'json' else entry(line)
        pids.append(found.pop('pid'))
        assert 0 < found.pop('duration_us') < took * 1e6
        name, time_of_day, stream = found.pop('request_id'), found.pop('time', None), found.pop('stream', None)
        if form == 'json':
            assert re.fullmatch(STAMP, time_of_day) and stream == 'access'
        query = '?q=1' if more.get('query') else ''
        wanted = {'remote_addr': '127.0.0.1', 'request': f'{method} {path}{query} HTTP/1.1', 'status': status,
                  'bytes': len(response.body) if n is None else n, 'aborted': False}
        if 'headers' in more:
            assert name == 'their-id_1'
            wanted |= {'user_agent': 'agent/1', 'referer': 'http://example.org/?a b',
                       'remote_user': 'user name' if form == 'json' else 'user\\x20name'}
        else:
            assert re.fullmatch(r'\w{12}', name)
        assert found == wanted
    assert len(set(pids)) == (len(pids) if transport.is_cgi else 1)
    if transport.is_fcgi:
        assert pids[0] == server.pid


def test_access_log_off(transport, tmp_path):
    """Without the option there are no lines."""
    server = transport.serve(QUIET % 1, '--log-file', tmp_path / 'log')
    server.request(query='a')
    server.stop()
    assert [without_id(line).split(' of ')[0] for line in lines(tmp_path / 'log')] == ['query a']


def test_time_of_the_access_log(fcgi_unix, tmp_path):
    """The time is that of the end, UTC, and the duration runs from the head to the end on a clock that nobody sets."""
    access = tmp_path / 'access'
    server = fcgi_unix('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'begun'
            environ['wsgi.input'].read()
    ''', '--access-log', access)
    exchange = server.start('POST', content_length=1)
    exchange.wait_for(b'begun')
    begun = time.monotonic()
    assert exchange.silent(0.2) and lines(access) == []
    waited, before = time.monotonic() - begun, int(time.time())
    exchange.write(b'x')
    exchange.finish_body()
    exchange.response()
    wait_for(lambda: lines(access), 5, 'the line')
    found = TEXT.fullmatch(lines(access)[0])
    assert int(found[9]) >= waited * 1e6
    ended = time.strptime(found[3], '%d/%b/%Y:%H:%M:%S +0000')
    assert before <= calendar.timegm(ended) <= time.time()


@pytest.mark.parametrize('form', ['text', 'json'])
def test_aborted_requests(fcgi_server, tmp_path, form):
    """A response that is cut short, and a client that goes away before the head and in the middle, say so."""
    access = tmp_path / 'access'
    server = fcgi_server('''
        def application(environ, start_response):
            path = environ['PATH_INFO']
            if path == '/before':
                environ['wsgi.input'].read()
            start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '100000000')])
            yield b'abc'
            if path == '/cut':
                raise ValueError('on purpose')
            while path == '/gone':
                yield b'x' * 65536
    ''', '--access-log', access, '--log-format', form)
    server.allow_log('.*')
    assert not server.request(path='/cut').complete
    assert not server.request(path='/short').complete
    before = server.start('POST', path='/before', content_length=10)
    before.disconnect()
    gone = server.start(path='/gone')
    gone.finish_body()
    gone.wait_for(b'abc')
    gone.disconnect()
    wait_for(lambda: len(lines(access)) == 4, 10, 'four lines')
    found = {e['request'].split()[1]: e for e in map(json.loads if form == 'json' else entry, lines(access))}
    assert all(e['aborted'] for e in found.values())
    assert found['/before']['status'] is None and found['/before']['bytes'] == 0
    assert [found[path]['status'] for path in ('/cut', '/short', '/gone')] == [200] * 3
    assert found['/cut']['bytes'] == found['/short']['bytes'] == 3 <= found['/gone']['bytes']


# Does not let go, whatever is raised, until there is a file of that name.
STUBBORN = '''
import os, time
def application(environ, start_response):
    gate = environ['QUERY_STRING']
    if environ['PATH_INFO'] == '/begun':
        start_response('200 OK', [('Content-Type', 'text/plain')])(b'begun')
    open(gate + '.waiting', 'w').close()
    while not os.path.exists(gate):
        try:
            while not os.path.exists(gate):
                time.sleep(0.005)
        except BaseException:
            if environ['PATH_INFO'] != '/waits':
                pass
    if environ['PATH_INFO'] != '/begun':
        start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'%d' % os.getpid()]
'''


@pytest.mark.parametrize('way, status', [('/lost', 504), ('/begun', 200)])
def test_lost_requests(transport, tmp_path, way, status):
    """P7, P9: a request whose thread is left behind by --request-timeout has its line: 504, or aborted where the head is
    out."""
    access = tmp_path / 'access'
    timeout_ms = int(1000 * SLOW)       # in which it comes to its loop
    server = transport.serve(STUBBORN, '--access-log', access, '--request-timeout', f'{timeout_ms}ms')
    server.allow_log('.*')
    server.exit_codes, server.check_fds = {0, 1}, False
    response = server.request(path=way, query=str(tmp_path / 'never'))
    assert response.status == status
    wait_for(lambda: lines(access), 10, 'the line')
    if transport.is_fcgi:
        (tmp_path / 'now').touch()
        assert server.request(query=str(tmp_path / 'now'), timeout=20).status == 200
    found = entry(lines(access)[0])
    assert found['status'] == status and found['aborted'] == (status == 200)
    # Deadlines count whole milliseconds, from a coarse clock which is as much as a tick behind, and from a moment before the
    # head has been read; this counts microseconds.
    tick = time.clock_getres(COARSE_CLOCK)
    assert found['duration_us'] >= (timeout_ms + 1990) * 1000 - tick * 1_000_000 and found['request'].startswith(f'GET {way}?')
    assert len(lines(access)) == (2 if transport.is_fcgi else 1)


def test_lost_request_that_ends_after_all(serve, tmp_path):      # noqa: F811
    """P7, P9: its line is there already when its thread comes to the end: it gets no second one."""
    access = tmp_path / 'access'
    server = serve(STUBBORN, '--access-log', access, '--request-timeout', f'{int(2000 * SLOW)}ms', '--threads', '2')
    server.allow_log('.*')
    server.check_fds = False

    def start(name):
        exchange = server.start(path=f'/{name}', query=str(tmp_path / name))
        exchange.finish_body()
        wait_for((tmp_path / f'{name}.waiting').exists, 10, 'the request')
        return exchange
    lost = start('lost')
    server.wait_log('longer than --request-timeout', 20)
    other = start('other')
    assert lost.response(20).status == 504
    wait_for(lambda: lines(access), 10, 'the line')
    (tmp_path / 'lost').touch()
    assert entry(lines(access)[0])['status'] == 504
    # The process starts again when both threads have ended.
    (tmp_path / 'other').touch()
    assert other.response(20).status == 200
    (tmp_path / 'after').touch()
    server.wait_log('starting again', 20)
    wait_for(lambda: server.request(path='/after', query=str(tmp_path / 'after')).status == 200, 20, 'the new program')
    assert sum('/lost?' in line for line in lines(access)) == 1


def test_aborted_cgi(cgi, tmp_path):
    """The same where all that CGI has to say it with is the exit code."""
    access = tmp_path / 'access'
    server = cgi.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'abc'
            raise ValueError('on purpose')
    ''', '--access-log', access)
    server.exit_codes = {1}
    server.allow_log('.*')
    server.request()
    assert entry(lines(access)[0]).items() >= {'status': 200, 'bytes': 3, 'aborted': True}.items()


HOSTILE = b'/\n127.0.0.1 - - "forged"\\\x1b[2J\x00\x7f\xc2\x9b\xff\xe2\x82\xac'


@pytest.mark.parametrize('form', ['text', 'json'])
def test_hostile_bytes(fcgi_server, tmp_path, form):
    """P9: control characters, quotes, backslashes and what is not UTF-8, wherever a client can put them, neither end
    a line nor a field nor reach a terminal."""
    log, access = tmp_path / 'log', tmp_path / 'access'
    server = fcgi_server(ACCESS, '--log-file', log, '--access-log', access, '--log-format', form)
    raw = HOSTILE.replace(b'\0', b'')           # no variable of CGI has one
    names = ['REMOTE_ADDR', 'REMOTE_USER', 'HTTP_USER_AGENT', 'HTTP_REFERER', 'REQUEST_URI']
    params = {name: raw for name in names} | {'HTTP_X_REQUEST_ID': 'a\nb'}
    server.request(path='/fail', params=params)
    wait_for(lambda: lines(access), 5, 'the line')
    data = access.read_bytes()
    assert data.count(b'\n') == 1 and data.endswith(b'\n')
    if form == 'json':
        found = json.loads(data)
        text = raw.decode('utf-8', 'replace')
        assert [found[n] for n in ('remote_addr', 'remote_user', 'user_agent', 'referer')] == [text] * 4
        assert found['request'] == f'GET {text} HTTP/1.1'
        assert all(byte >= 0x20 and byte != 0x7f for byte in data[:-1]) and b'\xc2\x9b' not in data
        [failure] = objects(log)
        assert failure['request'].startswith('GET /?127.0.0.1') and failure['request_id'] == found['request_id']
    else:
        quoted = ''.join(chr(c) if 0x20 <= c < 0x7f and c not in b'"\\' else f'\\x{c:02x}' for c in raw)
        found = entry(data.decode('ascii')[:-1])
        assert [found[n] for n in ('user_agent', 'referer')] == [quoted] * 2
        assert [found[n] for n in ('remote_addr', 'remote_user')] == [quoted.replace(' ', '\\x20')] * 2
        assert found['request'] == f'GET {quoted} HTTP/1.1'
        text = log.read_bytes()
        assert not re.search(rb'[\x00-\x09\x0b-\x1f\x7f]', text)
        assert all(re.match(rb'[\d:TZ.-]+ wsgi-cgi\[|\[\w{12}\] ', line) for line in text.splitlines())
    assert re.fullmatch(r'\w{12}', found['request_id'])


@pytest.mark.parametrize('form', ['text', 'json'])
def test_long_texts(fcgi_unix, tmp_path, form):
    """Texts of a client are cut; the line stays whole."""
    access = tmp_path / 'access'
    server = fcgi_unix(ACCESS, '--access-log', access, '--log-format', form)
    server.request(query='q' * 100_000, headers={'User-Agent': '\u20ac'.encode() * 20_000, 'Referer': 'r' * 8192})
    server.request(query='q' * 100_000, params={'REQUEST_URI': None, 'REQUEST_METHOD': 'M' * 70})
    wait_for(lambda: len(lines(access)) == 2, 5, 'two lines')
    first, second = map(json.loads if form == 'json' else entry, lines(access))
    assert re.fullmatch(r'GET /\?q{7166}\.\.\. HTTP/1\.1', first['request'])
    assert first['referer'] == 'r' * 8192
    agent = '\u20ac' * 2730 if form == 'json' else '\\xe2\\x82\\xac' * 2730
    assert first['user_agent'] == agent + '...'
    assert re.fullmatch(r'M{64}\.\.\. /\?q{2048}\.\.\. HTTP/1\.1', second['request'])


def test_access_log_in_the_log(transport):
    """"-" is the log, and never the FCGI_STDERR of a request, which has ended by then."""
    server = transport.serve(ACCESS, '--access-log', '-', '--errors-to', 'server')
    response = server.request(query='here')
    server.wait_log(r'"GET /\?here HTTP/1\.1" 200 5 ')
    if transport.is_fcgi:
        assert response.stderr == b'' and response.complete
    else:
        assert TEXT.fullmatch(response.stderr.decode().rstrip('\n'))


def test_pages_of_its_own(fcgi_unix, tmp_path):
    """The status page and ping are requests, too."""
    access = tmp_path / 'access'
    server = fcgi_unix(ACCESS, '--access-log', access, '--ping-path', '/ping', '--status-path', '/status')
    server.request(path='/ping')
    server.request(path='/status')
    wait_for(lambda: len(lines(access)) == 2, 5, 'two lines')
    assert [entry(line)['request'] for line in lines(access)] == ['GET /ping HTTP/1.1', 'GET /status HTTP/1.1']


@traced
@plain
def test_one_write_after_the_response(fcgi_unix, world, tmp_path):
    """The line is one write(2), behind the response; nothing else comes in addition."""
    access = tmp_path / 'access'
    server = fcgi_unix(ACCESS, '--access-log', access)
    conn = server.connect()
    for _ in range(20):
        conn.request(server.params(), keep=True)
    with Trace(world, server.pid) as trace:
        for _ in range(20):
            assert conn.request(server.params(), keep=True).body == b'hello'
        # The write of the last comes behind its answer.
        wait_for(lambda: len(lines(access)) == 40, 5, 'forty lines')
    calls = trace.calls()
    rounds = [calls[i:i + 5] for i, name in enumerate(calls) if name == 'epoll_wait']
    whole = [r for r in rounds if len(r) == 5]
    assert len(whole) >= 18
    assert all(r == ['epoll_wait', 'recvfrom', 'sendmsg', 'write', 'epoll_ctl'] for r in whole), whole


# --- ids --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('options', [[], ['--log-file', '-'], ['--log-format', 'json']],
                         ids=['plain', 'own', 'json'])
def test_one_id_everywhere(transport, options):
    """The page, each line of the failure, the environ and the access log have the same id."""
    server = transport.serve(ID, '--debug', '--access-log', '-', *options)
    server.allow_log('.*')
    response = server.request(path='/fail')
    server.stop()
    ids = set(re.findall(r'(?:\[|id=|"request_id":")(\w{12})\b', server.logged))
    assert len(ids) == 1 and ids.pop().encode() in response.body
    assert len(re.findall(r'(?:\[|id=|"request_id":")(\w{12})\b', server.logged)) >= (2 if 'json' in options else 5)


@pytest.mark.parametrize('sent, taken', [('a', True), ('0123-abc_DEF' * 5, True), ('x' * 64, True), ('x' * 65, False),
                                         ('', False), ('a b', False), ('a]', False), ('\xe9', False),
                                         ('a, b', False)])
def test_ids_of_the_server(transport, sent, taken):
    """X-Request-ID is taken if it is fit for a log; the application finds the header as it was sent."""
    server = transport.serve(ID, '--access-log', '-')
    response = server.request(headers={'X-Request-ID': sent})
    assert (response.text == sent) == taken
    if not taken:
        assert re.fullmatch(r'[2-9a-hjkmnp-z]{12}', response.text)
    server.wait_log(rf' id={response.text}$')


def test_ids_are_different(serve):      # noqa: F811
    """No two requests have the same, in whatever thread or process they run, also after a reload."""
    server = serve(ID, '--processes', '2', '--threads', '2', '--status-path', '/status')
    server.check_fds = False

    def generations():
        status = json.loads(server.request(path='/status', query='json&full').body)
        return {(p['state'], p['generation']) for p in status['processes']}
    seen = []
    conns = [server.connect() for _ in range(8)]
    for _ in range(50):
        for conn in conns:
            seen.append(conn.request(server.params(), keep=True).text)
    for conn in conns:
        conn.close()
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: generations() == {('ready', 2)}, 20, 'new workers')
    seen += [server.request().text for _ in range(100)]
    assert len(set(seen)) == len(seen) == 500 and '' not in seen


def test_threads_of_the_application(fcgi_unix, tmp_path):
    """A thread that runs no request has no id; a forked child has its parent's."""
    log = tmp_path / 'log'
    server = fcgi_unix('''
        import os, threading
        def speak():
            print('from a thread')
            print('unfinished', end='')
        def application(environ, start_response):
            thread = threading.Thread(target=speak)
            thread.start()
            thread.join()
            pid = os.fork()
            if pid == 0:
                print('from a child')
                os._exit(0)
            os.waitpid(pid, 0)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [environ['wsgi_cgi.request_id'].encode()]
    ''', '--log-file', log, '--log-format', 'json')
    name = server.request().text
    # What a thread has not finished comes when it is gone, a moment after its join().
    wait_for(lambda: len(lines(log)) == 3, 5, 'three lines')
    assert {(e['message'], e.get('request_id')) for e in objects(log)} == \
        {('from a thread', None), ('unfinished', None), ('from a child', name)}


def test_work_after_the_response(transport, tmp_path):
    """What runs after the response logs under the id of its request, behind the line of the access log, whose time
    does not include it."""
    log = tmp_path / 'log'
    server = transport.serve('''
        import time
        def later():
            end = time.monotonic() + 0.2
            while time.monotonic() < end:
                pass
            print('later')
            raise ValueError('on purpose')
        def application(environ, start_response):
            environ['wsgi_cgi.after_response'](later)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [environ['wsgi_cgi.request_id'].encode()]
    ''', '--log-file', log, '--log-format', 'json', '--access-log', '-')
    server.request(headers={'X-Request-ID': 'theirs'})
    server.stop()
    first, *rest = objects(log)
    assert first['stream'] == 'access'
    assert transport.is_cgi or first['duration_us'] < 200_000
    assert [e.get('message') for e in rest][0] == 'later' and 'ValueError: on purpose' in rest[1]['traceback']
    assert {e['request_id'] for e in objects(log)} == {'theirs'}
    assert rest[1]['request'] == 'GET /'


# --- much of it -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('options', [[], ['--log-file', 'log'], ['--log-file', 'log', '--log-format', 'json']],
                         ids=['server', 'text', 'json'])
def test_many_lines_before_the_head(transport, tmp_path, options):
    """P13: 167 log lines and 512 times 20 bytes before the header, and a last line without an end, corrupt nothing:
    the body is what it is, the lines are all there, whole and in order."""
    server = transport.serve('''
        import sys
        def application(environ, start_response):
            for i in range(167):
                print('line', i, 'x' * (i * 7 % 300), file=environ['wsgi.errors'])
            for i in range(512):
                sys.stderr.write(f'{i:019}\\n')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'first '
            print('in between')
            yield b'second'
            sys.stderr.write('last, without an end')
    ''', *options, cwd=tmp_path)
    response = server.request()
    assert response.status == 200 and response.body == b'first second'
    server.stop()
    wanted = [f'line {i} {"x" * (i * 7 % 300)}' for i in range(167)] + [f'{i:019}' for i in range(512)]
    wanted += ['in between', 'last, without an end']
    if not options:
        assert response.stderr.decode() == '\n'.join(wanted) + '\n'
    elif 'json' in options:
        assert [e['message'] for e in objects(tmp_path / 'log')] == wanted
    else:
        assert list(map(without_id, lines(tmp_path / 'log'))) == wanted


def test_log_nobody_reads(fcgi_unix):
    """A traceback on its way to a log that nobody reads holds up its own thread only, not the GIL."""
    read_end, write_end = os.pipe()
    server = fcgi_unix('''
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/loud':
                raise ValueError('x' * 300_000)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [environ['PATH_INFO'].encode()]
    ''', '--threads', '2', '--log-file', '-', stderr=write_end)
    os.close(write_end)
    loud = server.start(path='/loud')
    loud.finish_body()
    with open(read_end, 'rb') as reader:
        reader.read(1)
        for _ in range(3):
            assert server.request(path='/quiet', timeout=5).body == b'/quiet'
        assert loud.stdout == b''
        data = b''
        while b'xxx\n' not in data:
            data += reader.read1(1 << 16)
        assert loud.response().status == 500
