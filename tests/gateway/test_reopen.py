"""USR1 opens the log files again and does nothing else, where there is a master or a --bind. P6, P4, P5."""

import contextlib
import json
import os
import pathlib
import re
import signal

import pytest

from fcgi import wait_for
from harness import FcgiServer, listening_socket, listens, proc_stat
from test_bind import with_listen_fds
from test_logs import OUTPUT, QUIET, Numbers, lines
from test_processes import workers

WAYS = {'alone': (), 'master': ('--processes', '2'), 'preload': ('--processes', '2', '--preload')}

# How old the process and its code are, the pid, and with --preload the zygote's pid.
APP = '''
import os, time
born = '%d.%d' % (os.getpid(), time.monotonic_ns())
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    print('query', environ['QUERY_STRING'])
    return [('%s %d' % (born, os.getpid())).encode()]
'''


@pytest.fixture
def bound(world):
    """bound(source, *options): a server with --bind, --log-file and --access-log, and with one of WAYS."""
    servers = []

    def start(source, *options, env=None):
        path = os.fspath(world.new_path('sock'))
        script = world.write_app(source)
        process = world.spawn('--bind', path, '--log-file', world.tmp_path / 'log',
                              '--access-log', world.tmp_path / 'access', '--status-path', '/state', *options, script, env=env)
        server = FcgiServer(world, process, path)
        server.check_fds, server.script = False, script
        wait_for(lambda: listens(path), 10, 'the socket')
        server.ready()
        servers.append(server)
        wait_for(lambda: {p['state'] for p in state(server)['processes']} == {'ready'}, 20, 'all processes')
        return server
    yield start
    for server in servers:
        if server.process.running():
            assert server.stop(timeout=10) == 0


def state(server):
    return json.loads(server.request(path='/state', query='json&full').body)


def processes(server):
    """The pids of the server and its children."""
    return {server.pid, *workers(server)}


def files(pid):
    """The names of the log files that a process has open; none if it has ended."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for fd in pathlib.Path(f'/proc/{pid}/fd').iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(fd))
    return {os.path.basename(name) for name in found if re.search('/(log|access)[^/]*$', name)}


def log_of(folder):
    return '\n'.join(lines(folder / 'log'))


def rotate(folder, turn):
    for name in 'log', 'access':
        (folder / name).rename(folder / f'{name}.{turn}')


def all_reopened(server, turn=''):
    """Wait until no process has a file that was renamed."""
    wait_for(lambda: all(files(pid) == {'log', 'access'} for pid in processes(server)), 20,
             f'new files in all processes {turn}')


@pytest.mark.parametrize('way', WAYS)
def test_under_load(bound, tmp_path, way):
    """P6, P5: files are rotated with USR1 under load, five times: no request is lost, of each there is one line in one
    of the logs and one in one of the access logs, all of them whole; no process ends or begins, and new code that lies
    there is not loaded."""
    server = bound(QUIET % 1, '--threads', '2', '--reload', 'off', *WAYS[way])
    before = processes(server)
    assert len(before) == {'alone': 1, 'master': 3, 'preload': 4}[way]
    pathlib.Path(server.script).write_text(QUIET % 'new')
    with Numbers(server) as load:
        for turn in range(1, 6):
            sent = len(load.answers)
            wait_for(lambda: len(load.answers) > sent + 40, 20, 'requests')
            rotate(tmp_path, turn)
            server.signal(signal.SIGUSR1)
            all_reopened(server, turn)
            wait_for(lambda: any('query n' in line for line in lines(tmp_path / 'log')), 20, 'lines in the new file')
    assert not load.failures, load.failures[:3]
    assert processes(server) == before
    assert state(server)['reloads'] == 0
    server.stop(timeout=10)
    printed = [line for path in tmp_path.glob('log*') for line in lines(path)]
    found = [int(m[1]) for m in (re.fullmatch(rf'{OUTPUT}\[\w{{12}}\] query n(\d+) of 1 \d+', line) for line in printed) if m]
    assert sorted(found) == sorted(load.answers)
    entries = [line for path in tmp_path.glob('access*') for line in lines(path) if '/state' not in line]
    numbers = [re.fullmatch(r'\S+ - - \[[^]]+\] "GET /\?n(\d+) HTTP/1\.1" 200 .* id=\w{12}', line) for line in entries]
    assert None not in numbers, entries
    assert sorted(int(m[1]) for m in numbers) == sorted(load.answers)
    assert len([line for line in printed if 'SIGUSR1: the log files are open again' in line]) == 5


@pytest.mark.parametrize('way', WAYS)
def test_sent_to_every_process(bound, tmp_path, way):
    """P6, P4: `pkill -USR1 wsgi-cgi` sends it to workers and the zygote as well: they open the files again, no more."""
    server = bound(APP, *WAYS[way])
    before, born = processes(server), server.request().text.split()[0]
    for turn in range(1, 4):
        rotate(tmp_path, turn)
        for pid in sorted(before, reverse=True):
            os.kill(pid, signal.SIGUSR1)
        all_reopened(server, turn)
    assert processes(server) == before
    if way != 'master':
        assert server.request().text.split()[0] == born
    rotate(tmp_path, 9)
    for pid in before - {server.pid} or before:
        os.kill(pid, signal.SIGUSR1)
        wait_for(lambda: files(pid) == {'log', 'access'}, 20, f'new files in {pid}')
    assert processes(server) == before


def test_application_that_uses_it(bound, tmp_path):
    """P6: USR1 is what faulthandler.register() is often given: workers open the files again all the same."""
    server = bound('import faulthandler, signal\nfaulthandler.register(signal.SIGUSR1)\n' + APP, *WAYS['master'])
    before = processes(server)
    rotate(tmp_path, 1)
    server.signal(signal.SIGUSR1)
    all_reopened(server)
    assert processes(server) == before and 'most recent call first' not in log_of(tmp_path)


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGUSR1])
def test_zygote_of_the_old_code(bound, tmp_path, number):
    """P6, P5: where new code does not load the zygote stays, and has the new files."""
    server = bound(APP, '--reload', 'off', *WAYS['preload'])
    before = processes(server)
    pathlib.Path(server.script).write_text('def application(:\n')
    rotate(tmp_path, 1)
    server.signal(number)
    if number == signal.SIGHUP:
        wait_for(lambda: 'the new code does not load' in log_of(tmp_path), 20, 'the failed reload')
        wait_for(lambda: processes(server) == before, 20, 'the old code alone')
    all_reopened(server)
    assert processes(server) == before


def test_alone_after_a_reload(bound, tmp_path):
    """P6: HUP executes the program again; USR1 means the same to it as before."""
    server = bound(APP)
    born = server.request().text
    server.signal(signal.SIGHUP)
    wait_for(lambda: server.request().text != born, 20, 'the new code')
    born = server.request().text
    rotate(tmp_path, 1)
    server.signal(signal.SIGUSR1)
    all_reopened(server)
    wait_for(lambda: 'SIGUSR1: the log files are open again' in log_of(tmp_path), 20, 'the line')
    assert server.request().text == born


def test_socket_of_systemd(world):
    """P4, P6: with LISTEN_FDS there is no spawner either: USR1 does not stop, also after the program has been executed
    again; without a log file the log says so, and which signal does what."""
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        process = with_listen_fds(world, [sock], world.write_app(APP))
    server = FcgiServer(world, process, address)
    server.check_fds = False
    server.allow_log('SIGHUP|new code|SIGUSR1')
    born = server.request().text
    server.signal(signal.SIGUSR1)
    server.wait_log('notice: SIGUSR1: there is no log file to open again .*; SIGTERM stops, SIGHUP loads new code', 10)
    assert server.request().text == born
    server.signal(signal.SIGHUP)
    wait_for(lambda: server.request().text != born, 20, 'the new code')
    server.signal(signal.SIGUSR1)
    wait_for(lambda: server.logged.count('SIGUSR1: there is no log file') == 2, 10, 'the second line')
    assert server.stop() == 0


@pytest.mark.parametrize('options', [(), ('--processes', '2')], ids=['alone', 'master'])
def test_socket_of_a_spawner(world, options):
    """P4, P6: a spawner's program stops at USR1; a master opens its files again even there."""
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        process = world.spawn(*options, '--log-file', world.tmp_path / 'log', world.write_app(APP), stdin=sock)
    server = FcgiServer(world, process, address)
    server.check_fds = False
    server.request()
    if not options:
        assert server.stop(signal.SIGUSR1) == 0
        return
    (world.tmp_path / 'log').rename(world.tmp_path / 'log.1')
    server.signal(signal.SIGUSR1)
    wait_for(lambda: 'SIGUSR1' in log_of(world.tmp_path), 10, 'the line')
    server.request()
    assert server.stop() == 0


@pytest.mark.parametrize('number', [signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU])
def test_child_that_checks_new_code(bound, tmp_path, number):
    """P5: it has the server's name, so that `pkill` reaches it: the check goes on. (HUP, which asks the server for new
    code, is sent to the child alone here.)"""
    gate, pid_file = tmp_path / 'gate', tmp_path / 'pid'
    server = bound(APP, '--reload', 'off')
    born = server.request().text
    pathlib.Path(server.script).write_text(f'''
import os, time
if '--check' in os.environ.get('WSGI_CGI_OPTIONS', ''):
    with open({str(pid_file)!r} + '~', 'w') as f:
        f.write(str(os.getpid()))
    os.replace({str(pid_file)!r} + '~', {str(pid_file)!r})
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
{APP}''')
    server.signal(signal.SIGHUP)
    wait_for(pid_file.exists, 20, 'the check')
    checker = int(pid_file.read_text())
    for pid in [checker] if number == signal.SIGHUP else [checker, server.pid]:
        os.kill(pid, number)
    if number == signal.SIGUSR1:
        wait_for(lambda: 'SIGUSR1' in log_of(tmp_path), 20, 'the line')
    assert proc_stat(checker) and server.request().text == born
    gate.touch()
    wait_for(lambda: server.request().text != born, 20, 'the new code')
    assert 'killed by signal' not in log_of(tmp_path)
