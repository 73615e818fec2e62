"""New code by itself: --reload=modules, with a master and without one. P5, P20."""

import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import time
import zipfile

import pytest

import fcgi
from fcgi import wait_for
from harness import FcgiServer, listening_socket, listens, proc_stat
from settings import BINARY, SLOW
from test_losses import connect
from test_syscalls import plain, traced
from test_venv import embedded_python

APP = '''
import importlib, os, sys, time
sys.path.insert(0, os.path.dirname(__file__))
import helper
born = time.time_ns()
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    path = environ['PATH_INFO'].strip('/')
    if path == 'born':
        return [str(born).encode()]
    return [(importlib.import_module(path).version if path else helper.version).encode()]
'''

MODULES = ('--reload', 'modules')
NOTICES = 'touched|SIGHUP|new code|loading'
FAILURES = 'SyntaxError|NameError|does not load|ModuleNotFoundError|could not be loaded|exited with code 70|error pages'


def put(server, name, text):
    """A file beside the script, by rename. Never of the size it had: Python's bytecode knows a source by its size and
    the second of its time."""
    path = pathlib.Path(server.script).parent / name
    path.parent.mkdir(exist_ok=True)
    old = path.stat().st_size if path.exists() else -1
    if len(text) == old:
        text += '\n'
    new = path.with_name(path.name + '~')
    new.write_text(text)
    os.replace(new, path)


def version(server, path='/'):
    return server.request('GET', path).text


def states(server):
    return [p['state'] for p in server.request('GET', '/status', query='json&full').json['processes']]


def looks(count=2):
    """Time for so many looks at the files."""
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > count + 0.3, 60, 'looks')


@pytest.fixture(params=['master', 'alone'])
def serve(request, fcgi_unix, tmp_path):
    """serve(options, **files): the application above with its modules; version one."""
    servers = []

    def start(*options, **files):
        files.setdefault('helper', 'version = "one"\n')
        for name, text in files.items():
            (tmp_path / f'{name}.py').write_text(text)
        processes = ('--processes', '2') if request.param == 'master' else ()
        servers.append(fcgi_unix(APP, *processes, '--status-path', '/status', *(options or MODULES)))
        servers[-1].check_fds = False       # workers come and go; alone, it is another program on the same pid
        servers[-1].allow_log(NOTICES)
        wait_for(lambda: [state in ('ready', 'broken') for state in states(servers[-1])] == [True] * (1 + len(processes) // 2),
                 20, 'all processes')
        return servers[-1]
    yield start
    for server in servers:
        if server.process.running():
            assert server.stop(timeout=10) == 0


# What is the same code in both ways.
ONE_WAY = pytest.mark.parametrize('serve', ['alone'], indirect=True)


def comes(server, text, path='/'):
    wait_for(lambda: version(server, path) == text, 20, f'{text!r} from {path}')


def test_imported_module(serve):
    """P20: a change of a module that APP imports brings the new code; of one that it does not, nothing."""
    server = serve()
    put(server, 'stranger.py', 'x = 1\n')
    assert version(server) == 'one'
    put(server, 'helper.py', 'version = "two"\n')
    comes(server, 'two')
    assert server.logged.count('touched') == 1


def test_module_imported_by_a_request(serve):
    """P20: modules that come in later count, too; also one inside a package."""
    server = serve(late='version = "late one"\n')
    put(server, 'package/__init__.py', '')
    put(server, 'package/inner.py', 'version = "inner one"\n')
    assert version(server, '/late') == 'late one'
    assert version(server, '/package.inner') == 'inner one'
    looks()
    put(server, 'late.py', 'version = "late two"\n')
    comes(server, 'late two', '/late')
    assert version(server, '/package.inner') == 'inner one'
    looks()
    put(server, 'package/inner.py', 'version = "inner two"\n')
    comes(server, 'inner two', '/package.inner')


@ONE_WAY
def test_script_is_the_default(serve):
    """P20: without --reload=modules only the script counts, once its load is some seconds old."""
    server = serve('--reload', 'script', '--log-level', 'debug')
    server.wait_log('the load is 10 s old', 30)
    put(server, 'helper.py', 'version = "two"\n')
    looks(3)
    assert version(server) == 'one' and 'touched' not in server.logged
    put(server, 'app.py', APP + '\n')
    comes(server, 'two')


def test_broken_module_then_mended(serve):
    """P5, P20: a syntax error in a module leaves the old code serving, the log says where it is; mended, it comes in."""
    server = serve()
    server.expect_log(r'the new code does not load .*; the old one goes on; it is tried again when one of its files changes$')
    server.allow_log(FAILURES)
    put(server, 'helper.py', 'version = (\n')
    server.wait_log('the new code does not load', 20)
    assert server.log.matches(r'helper.py", line 1')
    assert version(server) == 'one'
    put(server, 'helper.py', 'version = "mended"\n')
    comes(server, 'mended')


def test_module_of_the_new_code_alone(serve):
    """P20: the old code knows nothing of the module that is missing, then broken, then whole."""
    server = serve()
    server.allow_log(FAILURES)
    put(server, 'helper.py', 'from package.fresh import version\n')
    server.wait_log("No module named 'package'", 20)
    put(server, 'package/__init__.py', '')
    server.wait_log("No module named 'package.fresh'", 20)
    put(server, 'package/fresh.py', 'version = (\n')
    server.wait_log('fresh.py", line 1', 20)
    assert version(server) == 'one'
    put(server, 'package/fresh.py', 'version = "fresh"\n')
    comes(server, 'fresh')


def test_broken_from_the_start(serve):
    """P20: what did not load at the start comes in as soon as its module is mended, without a request."""
    server = serve(helper='version = (\n')
    server.allow_log(FAILURES + '|raised LoadError')     # the last answers of the old code
    server.wait_log('error pages until the application loads', 20)
    put(server, 'helper.py', 'version = nothing\n')
    server.wait_log("name 'nothing' is not defined", 20)
    looks()
    assert 'new code is loaded' not in server.logged and 'code loads' not in server.logged
    put(server, 'helper.py', 'version = "mended"\n')
    server.wait_log('the new code (is loaded|loads)', 20)
    comes(server, 'mended')


@ONE_WAY
def test_half_a_file_is_not_loaded(serve):
    """P20: while a file is being written nothing is loaded: it is looked at until it stays as it is."""
    server = serve()
    path = pathlib.Path(server.script).parent / 'helper.py'
    start, number = time.monotonic(), 0

    def write_half():
        nonlocal number
        number += 1
        path.write_text('version = (\n' + '#' * number + '\n')
        return time.monotonic() - start > 3
    wait_for(write_half, 20, 'three seconds of writing')
    path.write_text('version = "whole"\n')
    comes(server, 'whole')
    assert server.logged.count('touched') == 1


@ONE_WAY
def test_file_that_is_gone_for_a_while(serve):
    """P20: a module that vanishes is being replaced; the same file again is no change, another one is."""
    server = serve()
    folder = pathlib.Path(server.script).parent
    os.rename(folder / 'helper.py', folder / 'aside')
    looks()
    os.rename(folder / 'aside', folder / 'helper.py')
    looks()
    assert version(server) == 'one' and 'touched' not in server.logged
    os.unlink(folder / 'helper.py')
    looks()
    put(server, 'helper.py', 'version = "two"\n')
    comes(server, 'two')


@ONE_WAY
def test_without_source_and_from_a_zip(serve, tmp_path):
    """P20: a module that is a .pyc alone, and one inside a zip archive."""
    def compiled(text):
        source = tmp_path / 'source'
        source.write_text(text)
        run = f'import py_compile; py_compile.compile({str(source)!r}, {str(tmp_path / "new")!r}, doraise=True)'
        subprocess.run([embedded_python(), '-c', run], check=True)
        os.replace(tmp_path / 'new', tmp_path / 'bare.pyc')

    def packed(text):
        with zipfile.ZipFile(tmp_path / 'new', 'w') as archive:
            archive.writestr('packed.py', text)
        os.replace(tmp_path / 'new', tmp_path / 'all.zip')
    compiled('version = "bare one"\n')
    packed('version = "packed one"\n')
    server = serve(helper='import sys, os\nsys.path.append(os.path.dirname(__file__) + "/all.zip")\n'
                          'import bare, packed\nversion = bare.version + ", " + packed.version\n')
    assert version(server) == 'bare one, packed one'
    compiled('version = "bare two"\n')
    comes(server, 'bare two, packed one')
    packed('version = "packed two"\n')
    comes(server, 'bare two, packed two')


@ONE_WAY
def test_lazy_module_stays_lazy(serve):
    """P20: finding out the file of a module does not import it."""
    server = serve(helper='''
import importlib.util, sys
spec = importlib.util.find_spec('late')
spec.loader = importlib.util.LazyLoader(spec.loader)
late = importlib.util.module_from_spec(spec)
sys.modules['late'] = late
spec.loader.exec_module(late)
class Odd:
    __file__ = property(lambda self: 1 / 0)
    def __getattr__(self, name):
        raise AssertionError('asked')
sys.modules['odd'] = Odd()
sys.modules['none'] = None
version = 'one'
''', late='print("imported after all", flush=True)\nversion = "late"\n')
    looks()
    assert version(server) == 'one' and 'imported after all' not in server.logged
    assert version(server, '/late') == 'late' and 'imported after all' in server.logged


def test_hup_counts_for_what_was_touched(serve):
    """P5: HUP right after a change takes it; the same change does not load the code a second time."""
    server = serve()
    before = version(server, '/born')
    put(server, 'helper.py', 'version = "two"\n')
    server.process.signal(signal.SIGHUP)
    comes(server, 'two')
    wait_for(lambda: version(server, '/born') != before, 20, 'the end of the old code')
    looks(3)
    assert 'touched' not in server.logged


def test_old_code_that_mended_itself_is_not_given_up(serve):
    """P5: code that loaded at last, in a request, is as good as any: broken code does not take its place."""
    server = serve('--reload', 'off', helper='version = (\n')
    server.allow_log(FAILURES)
    server.wait_log('error pages until the application loads', 20)
    put(server, 'helper.py', 'version = "mended"\n')
    wait_for(lambda: [server.request().status for _ in range(2)] == [200] * 2 and 'broken' not in states(server), 20,
             'all have tried again')
    put(server, 'helper.py', 'version = ((\n')
    server.process.signal(signal.SIGHUP)
    server.wait_log('the new code does not load', 20)
    assert {version(server) for _ in range(10)} == {'mended'}


def test_reload_while_reloading(fcgi_unix, tmp_path):
    """P5: new code that never gets ready is no obstacle to the next reload, and not left behind."""
    (tmp_path / 'helper.py').write_text('version = "one"\n')
    server = fcgi_unix(APP, '--processes', '2', '--reload', 'off')
    server.check_fds = False
    server.allow_log(NOTICES)

    def workers():
        return pathlib.Path(f'/proc/{server.pid}/task/{server.pid}/children').read_text().split()
    put(server, 'helper.py', 'import time\nprint("hangs", flush=True)\ntime.sleep(3600)\n')
    server.process.signal(signal.SIGHUP)
    server.wait_log('hangs', 20)
    put(server, 'helper.py', 'version = "three"\n')
    server.process.signal(signal.SIGHUP)
    comes(server, 'three')
    wait_for(lambda: len(workers()) == 2 and {version(server) for _ in range(10)} == {'three'}, 20, 'two new workers')
    assert server.stop(timeout=10) == 0


def test_restart_past_the_graceful_timeout(fcgi_unix):
    """P5: without a master a request that does not end in time is cut off, but the process does not end by it."""
    server = fcgi_unix('''
        import os, time
        born = str(time.time_ns()).encode()
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            if environ['PATH_INFO'] == '/hang':
                os.write(2, b'begun\\n')
                time.sleep(3600)
            return [born, b' ', str(os.getpid()).encode()]
    ''', '--threads', '2', '--graceful-timeout', '300ms')
    server.check_fds = False
    server.allow_log(NOTICES)
    server.expect_log('requests that still run are cut off')
    server.expect_log(r'GET /hang: cut off after \d+\.\d{3} s in process \d+$')
    born, pid = server.request().text.split()
    hanging = server.start('GET', '/hang')
    server.wait_log('begun')
    server.process.signal(signal.SIGHUP)
    server.wait_log('cut off', 20)
    hanging.disconnect()

    def again():
        with contextlib.suppress(AssertionError, OSError):
            now, same = server.request().text.split()
            return now != born and same == pid
    wait_for(again, 20, 'new code on the same pid')
    assert server.process.running()


# --- without a master: the child that checks new code ---------------------------------------------------------------

BORN = '''
import os, time
born = str(time.time_ns())
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [VERSION, b' ', born.encode()]
'''


def born(version):
    return BORN.replace('VERSION', repr(version.encode()))


@pytest.fixture
def alone(fcgi_unix):
    """alone(*options): one process without a master, version one."""
    def start(*options, source=born('one'), **keywords):
        server = fcgi_unix(source, *options, **keywords)
        server.check_fds = False        # another program on the same pid
        server.allow_log(NOTICES)
        assert version(server).split()[0] == 'one'
        return server
    return start


def has(server, text):
    wait_for(lambda: version(server).split()[0] == text, 20, text)


def replace(server, source):
    put(server, pathlib.Path(server.script).name, source)


HANGING = 'import os, time\nos.write(2, b"hangs %d\\n" % os.getpid())\ntime.sleep(3600)\n'


@pytest.mark.parametrize('how', ['touched', 'SIGHUP'])
def test_check_that_never_ends(alone, how):
    """P5: new code that hangs while it is tried is no obstacle to what comes next, and not left behind."""
    server = alone('--reload', 'script' if how == 'touched' else 'off')

    def reload(source):
        replace(server, source)
        if how == 'SIGHUP':
            server.signal(signal.SIGHUP)
    reload(HANGING)
    hanging = int(server.wait_log(r'hangs (\d+)', 20)[1])
    assert version(server).split()[0] == 'one'
    reload(born('three'))
    has(server, 'three')
    assert not os.path.exists(f'/proc/{hanging}')


def test_words_that_look_like_ours(alone):
    """P5: the program executed again has the options and the environment that it was started with, whatever they are
    called."""
    source = '''
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr([VERSION] + [environ.get('WSGI_CGI_RESTART' + end) for end in ('', '_X', '_Y')] +
                 [os.environ.get('WSGI_CGI_RESTART' + end) for end in ('', '_Z')]).encode().replace(b' ', b'')]
'''
    server = alone('--reload', 'off', '--set', 'WSGI_CGI_RESTART_X=1', '--set', 'WSGI_CGI_RESTART=2', '--set',
                   'WSGI_CGI_RESTART_Y=3', env={'WSGI_CGI_RESTART_Z': '4'})
    for code in 'two', 'three':
        replace(server, source.replace('VERSION', repr(code)))
        server.signal(signal.SIGHUP)
        has(server, f"['{code}','2','1','3',None,'4']")


def test_worn_process_tries_again(alone):
    """P2: a process whose time is over, while the code on disk does not load, goes on and tries again, at growing
    intervals: once the code is mended a new one takes over unasked."""
    server = alone('--max-requests', '3', '--reload', 'off')
    server.allow_log(FAILURES)
    server.allow_log('3 requests are --max-requests: a new process takes over')
    first = version(server)
    replace(server, 'def application(:\n')
    version(server)
    server.wait_log('does not load .* the next try is in 1 s', 20)
    server.wait_log('does not load .* the next try is in 2 s', 20)
    assert version(server) == first
    replace(server, born('mended'))
    has(server, 'mended')


def test_check_that_cannot_be_started(world, alone):
    """P5: the log says why (the program is gone from the disk while it is being updated), and it is tried again."""
    gone = world.tmp_path / 'program'
    shutil.copy(BINARY, gone)
    script = world.tmp_path / 'app.py'
    script.write_text(born('one'))
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        server = FcgiServer(world, world.spawn('--reload', 'off', script, binary=gone, stdin=sock), address)
    server.check_fds, server.script = False, str(script)
    server.allow_log(NOTICES)
    server.expect_log(r'error: the new code cannot be checked: No such file or directory; the old one goes on, the next')
    has(server, 'one')
    replace(server, born('two'))
    gone.rename(gone.with_suffix('.old'))
    server.signal(signal.SIGHUP)
    server.wait_log('cannot be checked', 20)
    assert version(server).split()[0] == 'one'
    gone.with_suffix('.old').rename(gone)
    has(server, 'two')
    assert server.stop() == 0


@pytest.mark.parametrize('how', ['signal.signal(signal.SIGCHLD, signal.SIG_IGN)', 'threading.Thread(target=reap, daemon=True).start()'])
def test_application_takes_the_exit_status(alone, how):
    """P5: where the application ignores SIGCHLD, or waits for any child, new code comes in all the same; what does not
    load does not, and the log says what is known."""
    taking = f'''
import os, signal, threading, time
def reap():
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            time.sleep(0.001)
{how}
'''
    server = alone('--reload', 'off', source=taking + born('one'))
    server.allow_log(FAILURES)
    replace(server, taking + born('two'))
    server.signal(signal.SIGHUP)
    has(server, 'two')
    taken = 'warning: the application has taken the exit status of the process that checks the new code'
    if 'SIG_IGN' in how:
        server.expect_log(taken)
    else:
        server.allow_log(taken)     # or the program was faster
    replace(server, 'def application(:\n')
    server.signal(signal.SIGHUP)
    server.wait_log('the new code does not load', 20)
    assert version(server).split()[0] == 'two'


def test_check_that_is_killed(alone):
    """P5: the log says so, where nothing else would tell why the old code goes on."""
    server = alone('--reload', 'off')
    server.expect_log(r'error: the process that checks the new code was killed by signal 9 \(KILL\)')
    server.expect_log('the new code does not load .*; the old one goes on; SIGHUP tries it again$')
    replace(server, HANGING)
    server.signal(signal.SIGHUP)
    os.kill(int(server.wait_log(r'hangs (\d+)', 20)[1]), signal.SIGKILL)
    server.wait_log('the new code does not load', 20)
    assert version(server).split()[0] == 'one'


def test_new_code_with_a_thread_that_never_ends(alone):
    """P5: a thread that new code starts when it is loaded does not keep the check from its end."""
    server = alone('--reload', 'off', '--graceful-timeout', '500ms')
    server.allow_log('left behind')
    replace(server, 'import threading\nthreading.Thread(target=threading.Event().wait).start()\n' + born('two'))
    server.signal(signal.SIGHUP)
    has(server, 'two')


@traced
@plain
def test_term_on_the_way_to_the_new_program(world):
    """P4: a TERM that comes when the program is about to be started again is not forgotten with it, though a thread of
    the application is there to take it. Who has connected meanwhile is served first."""
    slow = world.new_path('slow')
    slow.write_text('#!/bin/sh\nexec strace -D -f -o /dev/null -e trace=execve '
                    f'-e inject=execve:delay_enter=2s:when=1 {BINARY} "$@"\n')
    slow.chmod(0o755)
    script = world.tmp_path / 'app.py'
    script.write_text('import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n' +
                      born('one'))
    address = os.fspath(world.new_path('sock'))
    process = world.spawn('--bind', f'unix:{address}', '--reload', 'off', script, binary=slow)
    server = FcgiServer(world, process, address)
    wait_for(lambda: listens(address), 20, 'the socket')
    server.check_fds, server.script = False, str(script)
    server.allow_log(NOTICES)
    has(server, 'one')

    def holds():
        """Its main thread has blocked TERM, and is on its way."""
        status = pathlib.Path(f'/proc/{server.pid}/task/{server.pid}/status').read_text()
        return int(re.search(r'SigBlk:\s*(\w+)', status)[1], 16) & 1 << signal.SIGTERM - 1
    assert not holds()
    server.signal(signal.SIGHUP)
    wait_for(holds, 20, 'the end of the old program')
    waiting = [connect(address) for _ in range(3)]
    server.signal(signal.SIGTERM)
    for client in waiting:
        with client, client.makefile('rb') as answer:
            records, _ = fcgi.split_records(answer.read())
        assert records[-1].type == fcgi.END_REQUEST
    assert server.process.wait(20) == 0


@traced
@plain
def test_change_before_the_control_thread_runs(world):
    """P5: what counts is what the files were before they were loaded, however late the thread that watches them gets a processor."""
    slow = world.new_path('slow')
    # The first system call of a new thread.
    slow.write_text('#!/bin/sh\nexec strace -D -f -o /dev/null -e trace=set_robust_list '
                    f'-e inject=set_robust_list:delay_enter=1s {BINARY} "$@"\n')
    slow.chmod(0o755)
    script = world.tmp_path / 'app.py'
    script.write_text(born('one'))
    address = os.fspath(world.new_path('sock'))
    process = world.spawn('--bind', f'unix:{address}', script, binary=slow)
    server = FcgiServer(world, process, address)
    wait_for(lambda: listens(address), 20, 'the socket')
    server.check_fds, server.script = False, str(script)
    server.allow_log(NOTICES)
    has(server, 'one')
    replace(server, born('two'))
    has(server, 'two')
    tracer = int(re.search(r'TracerPid:\s*(\d+)', pathlib.Path(f'/proc/{server.pid}/status').read_text())[1])
    assert server.stop() == 0
    wait_for(lambda: (proc_stat(tracer) or 'Z')[0] == 'Z', 20, 'the end of strace')


SLOW_TO_LOAD = '''import os, sys, time
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
if os.path.exists({flag!r}):
    print('loading in', os.getpid(), file=sys.stderr, flush=True)
    time.sleep(2)
'''


def test_signals_while_a_stop_waits_for_the_code(world):
    """P4, P7: a stop that finds the program executed again still loading is obeyed when that is over, and other signals
    meanwhile, each once."""
    flag = world.new_path('flag')
    script = world.tmp_path / 'app.py'
    script.write_text(SLOW_TO_LOAD.format(flag=str(flag)))
    address = os.fspath(world.new_path('sock'))
    process = world.spawn('--bind', f'unix:{address}', '--reload', 'off', script)
    process.allow_log('.*')
    wait_for(lambda: listens(address), 20, 'the socket')
    with connect(address) as client, client.makefile('rb') as answer:
        assert b'hello' in answer.read()
    flag.touch()
    process.signal(signal.SIGHUP)
    process.wait_log(f'loading in {process.pid}\n', 30)
    waiting = connect(address)
    process.signal(signal.SIGTERM)
    process.signal(signal.SIGUSR2)
    with waiting, waiting.makefile('rb') as answer:
        assert b'hello' in answer.read()
    assert process.wait(20) == 0
    assert process.logged.count('SIGUSR2: stacks of all threads') == 1


# --- asked for new code while nobody serves -------------------------------------------------------------------------

# Where it is to serve it takes a while to load, where it is only tried it does not.
SLOW_CODE = '''
import os, sys, time
if '--check' not in os.environ.get('WSGI_CGI_OPTIONS', ''):
    print('begins to load', file=sys.stderr, flush=True)
    time.sleep(2)
'''


class Impatient:
    """Asks for new code whenever some begins to be loaded, and every half second besides."""

    def __init__(self, server):
        self.server, self.seen, self.sent = server, 0, time.monotonic()

    def __call__(self):
        seen = self.server.logged.count('begins to load')
        if seen > self.seen or seen > 0 and time.monotonic() > self.sent + 0.5:
            self.server.signal(signal.SIGHUP)
            self.seen, self.sent = seen, time.monotonic()


@pytest.mark.parametrize('options', [('--processes', '2'), ('--processes', '2', '--preload'), ()],
                         ids=['master', 'preload', 'alone'])
def test_new_code_asked_for_faster_than_it_loads(fcgi_unix, options):
    """P5: while nobody serves, a load that is under way is let finish, however often new code is asked for; that comes
    after it."""
    server = fcgi_unix(SLOW_CODE + born('one'), *options, '--reload', 'off', '--graceful-timeout', f'{SLOW:g}s', ready=False)
    server.check_fds = False
    server.allow_log(NOTICES)
    ask = Impatient(server)
    with connect(server.address) as client:
        loads = 2 if options == ('--processes', '2') else 1     # each worker its own: all have the old code
        wait_for(lambda: server.logged.count('begins to load') >= loads, 20, 'all loads')
        replace(server, SLOW_CODE + born('two'))
        wait_for(lambda: ask() or select.select([client], [], [], 0)[0], 20, 'an answer')
        assert b'one' in client.recv(1000)
    server.wait_log('nobody serves yet: the load that is under way comes first', 20)
    has(server, 'two')
    assert server.stop(timeout=20) == 0


def test_orphans_of_earlier_runs(fcgi_unix):
    """P4: alone, the program executes itself on its pid and so keeps the children that the application leaves behind;
    those that have ended do not become more and more zombies."""
    server = fcgi_unix('''
        import subprocess, time
        run = b'%d' % time.monotonic_ns()
        child = subprocess.Popen(['cat'], stdin=subprocess.PIPE)    # ends with our end of the pipe
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [run]
    ''')
    server.check_fds = False        # it is another program on the same pid
    server.allow_log(NOTICES)

    def states():
        pids = pathlib.Path(f'/proc/{server.pid}/task/{server.pid}/children').read_text().split()
        return sorted(stat[0] for stat in map(proc_stat, map(int, pids)) if stat)
    for _ in range(3):
        before = server.request().body
        server.signal(signal.SIGHUP)
        wait_for(lambda: server.request().body != before, 20, 'the next run')
        assert len(states()) <= 2, states()     # its own, and one that may have ended just now
    assert server.stop(timeout=10) == 0     # and with it the last child
