"""What an administrator reads of a service: the lines at its start and its end, and the warning for root. P26."""

import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess

import pytest

from apps import HELLO
from fcgi import wait_for
from harness import AS_ROOT, STAMP, STARTED, STOPPED, OwnLines
from test_processes import VERSIONED, answer, rewrite
from test_starting import GATED, OTHER, as_root, become, public, serve      # noqa: F401 (fixtures, too)
from test_venv import embedded_python

MODES = pytest.mark.parametrize('mode', [[], ['--processes', '2'], ['--processes', '2', '--preload']],
                                ids=['single', 'master', 'zygote'])
BROKEN = 'import no_such_module\n'


def versions(run):
    """(wsgi-cgi, Python) as --version says it, and in the words of the line."""
    version = run('--version').stdout.decode()
    wsgi_cgi, python = re.match(r'wsgi-cgi (\S+) \(Python ([^,]+),', version).groups()
    return wsgi_cgi, python + ' free-threaded' * (', free-threaded' in version)


def own_name():
    return pwd.getpwuid(os.geteuid()).pw_name


# --- start and stop --------------------------------------------------------------------------------------------------

@MODES
def test_lines(serve, run, mode):
    """P26: the line of the start says it all, and that of the end why, after how long and how many requests; there is
    no other line."""
    server = serve(HELLO, '--threads', '3', '--mount', '/shop', *mode)
    for _ in range(3):
        assert server.request(path='/shop/').status == 200
    server.stop()
    wsgi_cgi, python = versions(run)
    workers = 2 if mode else 1
    warning = f'wsgi-cgi[{server.pid}]: warning: {AS_ROOT}\n' if os.geteuid() == 0 else ''
    text = (f'{warning}'
            f'wsgi-cgi[{server.pid}]: notice: started: wsgi-cgi {wsgi_cgi}, Python {python}, {server.script}, '
            f'socket unix:{server.address} (inherited), as {own_name()}, {workers} process{"es" if mode else ""} x '
            f'3 threads{" (preload)" if "--preload" in mode else ""}, mount /shop\n'
            f'wsgi-cgi[{server.pid}]: notice: stopped: SIGTERM, after ')
    assert server.logged.startswith(text), server.logged
    assert re.fullmatch(r'\d+\.\d{3} s and 3 requests\n', server.logged[len(text):])


def test_sockets_of_its_own(world, tmp_path):
    """P26: the sockets as the kernel has them: also the port that it has chosen; the control socket; and the venv."""
    path, control = world.new_path('sock'), world.new_path('control')
    subprocess.run([embedded_python(), '-m', 'venv', '--without-pip', tmp_path / 'venv'], check=True)
    process = world.spawn('--bind', path, '--bind', f'@{path}', '--bind', ':0', '--bind', '[::1]:0', '--control',
                          control, '--venv', tmp_path / 'venv', world.write_app(HELLO))
    line = process.wait_log('started: .*', 20)[0]
    match = re.fullmatch(STARTED, line)
    unix, abstract, v4, v6 = match['sockets'].split(' ')
    assert (unix, abstract) == (f'unix:{path}', f'@{path}')
    for text, host in (v4, '127.0.0.1'), (v6, '::1'):
        with socket.create_connection((host, int(text.rpartition(':')[2])), 5):
            assert text in (f'127.0.0.1:{text[10:]}', f'[::1]:{text[6:]}')
    assert match['control'] == str(control) and match['venv'] == str(tmp_path / 'venv')
    assert (match['processes'], match['threads'], match['mount']) == ('1', '1', None)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_cgi_says_nothing(cgi):
    """P26: a CGI process is no service."""
    server = cgi.serve(HELLO)
    assert server.request().status == 200 and server.logged == ''


def test_not_before_it_is_ready(world, serve):
    """P26: one process logs its start when it can serve; a master when it listens."""
    gate = world.new_path('gate')
    single, master = [serve(GATED, *options, env={'GATE': str(gate)}, ready=False)
                      for options in ([], ['--processes', '1'])]
    wait_for(lambda: pathlib.Path(f'{gate}-waiting').exists() and
             pathlib.Path(f'{gate}-waiting').read_text() == 'xx', 10, 'two processes that load')
    master.wait_log('notice: started: ')
    assert 'started: ' not in single.logged
    gate.touch()
    assert single.request().body == master.request().body == b'hello'
    single.wait_log('notice: started: ')


def test_no_start_no_stop(world, serve):
    """P26: what is stopped before it has served has not started."""
    gate = world.new_path('gate')
    server = serve(GATED, env={'GATE': str(gate)}, ready=False)
    wait_for(lambda: pathlib.Path(f'{gate}-waiting').exists(), 10, 'the load')
    assert server.stop() == 0 and server.logged_besides == '' and 'stopped' not in server.logged


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda number: number.name)
@MODES
def test_signal_is_named(serve, mode, number):
    """P26: the line of the end has the signal that asked for it."""
    server = serve(HELLO, *mode)
    assert server.request().status == 200 and server.stop(number) == 0
    assert OwnLines(server.logged).stops[server.pid]['why'] == number.name


def test_stop_that_runs_out_of_time(serve):
    """P26: a stop that cuts a request off logs its end, too."""
    server = serve('''
        import time
        def application(environ, start_response):
            write = start_response('200 OK', [('Content-Type', 'text/plain')])
            write(b'x')
            time.sleep(60)
    ''', '--graceful-timeout', '200ms')
    exchange = server.start()
    exchange.wait_for(b'x')
    server.expect_log('--graceful-timeout has passed: requests that still run are cut off')
    server.expect_log('GET /: cut off after')
    assert server.stop() == 0
    assert OwnLines(server.logged).stops[server.pid]['why'] == 'SIGTERM'


@pytest.mark.parametrize('form', ['text', 'json'])
@MODES
def test_log_file(serve, tmp_path, mode, form):
    """P26: both lines are in the log file, with the time, and nothing is on standard error."""
    log = tmp_path / 'log'
    server = serve(HELLO, '--log-file', log, '--log-format', form, *mode)
    assert server.request().status == 200
    server.stop()
    own = OwnLines(log.read_text())
    assert not own.wrong and not own.rest and set(own.starts) == set(own.stops) == {server.pid}
    assert server.logged == ''
    if form == 'json':
        last = json.loads(log.read_text().splitlines()[-1])
        assert last['level'] == 'notice' and re.fullmatch(STOPPED, last['message'])
    else:
        assert all(re.match(STAMP + ' wsgi-cgi', line) for line in log.read_text().splitlines())


def test_log_level(serve):
    """P26: --log-level warning leaves both lines out."""
    server = serve(HELLO, '--log-level', 'warning')
    server.stop()
    assert server.logged_besides == '' and 'notice' not in server.logged


@pytest.mark.parametrize('options', [[], ['--max-requests', '1']], ids=['reload', 'recycle'])
def test_one_service_that_executes_itself_again(fcgi_unix, options):
    """P26: a process that executes the program again is still the same service: one start, one end."""
    server = fcgi_unix(VERSIONED % 'one', *options)
    server.check_fds = False
    server.allow_log('SIGHUP|new code')
    assert answer(server) == ('one', server.pid)
    rewrite(server, 'two')
    server.signal(signal.SIGHUP)
    wait_for(lambda: answer(server)[0] == 'two', 20, 'the new code')
    server.stop()
    own = OwnLines(server.logged)
    assert not own.wrong and own.stops[server.pid]['reloaded'] and not own.starts[server.pid].string.count('two')


def test_error_pages_are_served(serve):
    """P26: a service whose application does not load has started."""
    server = serve(BROKEN)
    server.allow_log('No module named|serving error pages|could not be loaded|LoadError')
    assert server.request().status == 500
    warning, start = (server.logged.index(text) for text in ('serving error pages', 'notice: started'))
    assert warning < start


def test_reader_that_is_stuck(fcgi_unix):
    """P4, P26: a log that nobody reads does not keep the process from its end."""
    reader, writer = os.pipe()
    with open(reader), open(writer, 'wb', 0) as log:
        server = fcgi_unix(HELLO, stderr=log)
        assert server.request().status == 200
        os.set_blocking(writer, False)
        while log.write(b'x' * 4096):
            pass
        os.set_blocking(writer, True)
        assert server.stop() == 0


def test_harness_finds_wrong_lines():
    """What the fixtures check: half a line, a second start, an end before the start, a warning that is not true."""
    start = ('wsgi-cgi[7]: notice: started: wsgi-cgi 0.1.0, Python 3.11.2, /error/app.py, socket unix:/s, as root, '
             '1 process x 1 thread, no --mount\n')
    stop = 'wsgi-cgi[7]: notice: stopped: SIGTERM, after 1.000 s and 1 request\n'
    stamp = '2026-01-01T00:00:00.000Z '
    wait = 'wsgi-cgi[7]: notice: stopping: waiting up to 30 s for 2 requests; a second SIGTERM stops at once\n'
    fine = OwnLines(start + 'mine\n' + wait + stop)
    assert fine.rest == ['mine'] and not fine.wrong
    assert OwnLines('half a line' + stamp + stop).rest == ['half a line']
    for wrong in (start + wait + wait, start + stop + wait, wait.replace('2 requests', 'some'),
                  start + start, start.replace(', no --mount', ''), stop + start, start + stop + stop,
                  start.replace('x 1 thread', 'x many threads'), stop.replace('SIGTERM', ''),
                  f'{start}wsgi-cgi[7]: warning: {AS_ROOT}\n'):
        assert OwnLines(wrong).wrong, wrong


# --- as root ----------------------------------------------------------------------------------------------------------

@as_root
@MODES
def test_warning_for_root(serve, mode):
    """P15, P26: root without --user: a warning, once."""
    server = serve(HELLO, *mode)
    server.stop()
    assert server.logged.count(AS_ROOT) == 1


@as_root
@pytest.mark.parametrize('user', [OTHER, 'root'])
def test_no_warning_with_user(become, user):
    """P15, P26: --user is an answer, even if it is root."""
    server = become(HELLO, '--user', user)
    assert f', as {user}, ' in server.wait_log('started: .*')[0]
    server.stop()
    assert AS_ROOT not in server.logged


@as_root
def test_group_alone_is_no_answer(become):
    """P15, P26: --group leaves root what it is."""
    server = become(HELLO, '--group', 'nogroup')
    assert ', as root:nogroup, ' in server.wait_log('started: .*')[0]
    server.stop()
    assert AS_ROOT in server.logged


@as_root
def test_no_warning_for_others(become, public):
    """P15, P26: a user of another name is named, and not warned."""
    public.chmod(0o777)
    server = become(HELLO, user=OTHER)
    assert f', as {OTHER}, ' in server.wait_log('started: .*')[0]
    server.stop()
    assert AS_ROOT not in server.logged


@as_root
def test_number_without_a_name(become):
    """P26: a number that /etc/passwd does not have."""
    server = become(HELLO, '--user', '64123', '--group', '64123')
    assert ', as 64123:64123, ' in server.wait_log('started: .*')[0]
    server.stop()
