"""--need-app: a service whose application does not load ends, instead of serving error pages. P3, P5, P11."""

import os
import pathlib
import re
import signal

import pytest

from fcgi import wait_for
from harness import OwnLines
from test_process_title import children, title
from test_processes import STATUS, VERSIONED, answer, both_ready, rewrite
from test_service import BROKEN, MODES
from test_starting import GATED, serve      # noqa: F401 (serve is a fixture)

ENDS = {'single': '--need-app: the application does not load (see above): the process ends',
        'master': '--need-app: the application does not load (see above), and no worker has it: the service ends'}


def spawn_broken(world, app, mode):
    path = world.new_path('sock')
    process = world.spawn('--need-app', '--bind', path, *mode, world.write_app(app))
    process.exit_codes = {70}
    return process, path


@MODES
def test_need_app(world, mode):
    """P11: --need-app: an application that does not load ends the service with 70 (EX_SOFTWARE), and its socket is
    gone."""
    process, path = spawn_broken(world, BROKEN, mode)
    process.expect_log("ModuleNotFoundError: No module named 'no_such_module'")
    process.expect_log(re.escape(ENDS['master' if mode else 'single']))
    process.allow_log('could not be loaded|exited with code 70')
    assert process.wait(20) == 70 and not path.exists()
    assert 'error pages' not in process.logged
    if mode:
        assert OwnLines(process.logged).stops[process.pid]['why'] == 'the application does not load'
        # A worker that failed may be tried again meanwhile.
        assert 1 <= process.logged.count('Traceback') <= 4
    else:
        assert 'started: ' not in process.logged


@MODES
def test_need_app_and_threads(world, mode):
    """P11: a thread that never ends does not keep the process."""
    process, _ = spawn_broken(world, 'import threading\nthreading.Thread(target=threading.Event().wait).start()\n' +
                              BROKEN, mode)
    process.allow_log('load|exited with code 70|No module named|left behind')
    assert process.wait(20) == 70


@pytest.mark.parametrize('mode', [['--processes', '2'], ['--processes', '2', '--preload']], ids=['master', 'zygote'])
def test_need_app_and_a_crash(world, mode):
    """P3: also where the import kills the process, and would again and again."""
    process, _ = spawn_broken(world, 'import os\nos.kill(os.getpid(), 9)\n', mode)
    process.expect_log('was killed by signal 9')
    process.expect_log(re.escape(ENDS['master']))
    assert process.wait(20) == 70


@MODES
def test_need_app_and_a_reload(serve, mode):
    """P5: new code that does not load is no reason to end: the old one goes on."""
    server = serve(VERSIONED % 'one', '--need-app', *mode)
    assert answer(server)[0] == 'one'
    server.allow_log('No module named|exited with code 70|could not be loaded')
    server.expect_log('the new code does not load .see above.; the old one goes on')
    rewrite(server, BROKEN)
    server.signal(signal.SIGHUP)
    server.wait_log('does not load', 20)
    assert answer(server)[0] == 'one'
    rewrite(server, 'two')
    server.signal(signal.SIGHUP)
    wait_for(lambda: answer(server)[0] == 'two', 20, 'the new code')


@MODES
def test_need_app_and_a_death(serve, mode):
    """P3: a service whose application loads serves with --need-app as without; a worker that dies is replaced."""
    server = serve(VERSIONED % 'one', '--need-app', *mode)
    old = answer(server)[1]
    if mode:
        server.expect_log('was killed by signal 9')
        os.kill(old, signal.SIGKILL)
        server.wait_log('was killed by signal 9')
    assert answer(server)[0] == 'one'


@pytest.mark.parametrize('end', ['raise OSError("no database")', 'os.kill(os.getpid(), 9)'], ids=['load', 'killed'])
def test_need_app_and_one_that_fails(serve, world, end):       # noqa: F811
    """P11: one of three workers that fails, or is killed, ends no service whose others still load."""
    path = world.new_path('failed')
    gate = world.new_path('gate')
    server = serve(f'''
import os, time
try:
    os.close(os.open({str(path)!r}, os.O_CREAT | os.O_EXCL))
    is_first = True
except FileExistsError:
    is_first = False
if is_first:
    {end}
while not os.path.exists({str(gate)!r}):
    time.sleep(0.005)
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'here']
''', '--need-app', '--processes', '3', ready=False)
    server.allow_log('could not be loaded|no database|exited with code 70|was killed by signal 9')
    server.wait_log('exited with code 70|was killed by signal 9', 20)
    gate.touch()
    assert server.request(timeout=20).text == 'here'


@pytest.mark.parametrize('options', [[], ['--preload']], ids=['master', 'zygote'])
def test_need_app_and_a_worker_that_is_left(serve, options):
    """P3: a process in the place of one that has died cannot load the application any more, but a worker still has it:
    the service goes on."""
    server = serve(VERSIONED % 'one', '--need-app', '--processes', '2', '--reload', 'off', '--status-path', STATUS,
                   *options)
    both_ready(server)
    role = 'zygote' if options else 'worker'
    killed = next(pid for pid in children(server.pid) if role in title(pid))
    server.allow_log('No module named|could not be loaded|exited with code 70')
    server.expect_log('was killed by signal 9')
    rewrite(server, BROKEN)
    os.kill(killed, signal.SIGKILL)
    server.expect_log('workers that are left go on' if options else 'exited with code 70')
    server.wait_log('workers that are left go on' if options else 'exited with code 70', 20)
    assert answer(server)[0] == 'one' and server.running()
    rewrite(server, 'two')
    both_ready(server)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@MODES
def test_need_app_and_a_stop(world, mode, number):
    """P4: a stop while it loads is no failure to load, also where all processes get the signal."""
    gate = world.new_path('gate')
    path = world.new_path('sock')
    process = world.spawn('--need-app', '--bind', path, *mode, world.write_app(GATED), env={'GATE': str(gate)})
    wait_for(lambda: pathlib.Path(f'{gate}-waiting').exists(), 20, 'the load')
    process.allow_log(r'worker \d+ exited with code 0|zygote \d+ (exited|was killed)')
    for pid in [process.pid, *children(process.pid)]:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass
    assert process.wait(20) == 0 and 'need-app' not in process.logged


def test_need_app_and_scripts(run, tmp_path):
    """P11: scripts of --scripts-in are loaded later: refused."""
    finished = run('--need-app', '--bind', '@x', '--scripts-in', tmp_path)
    assert finished.code == 64 and '--need-app: it needs APP' in finished.stderr
