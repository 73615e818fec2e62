"""Processes: master and workers, their deaths, new code, limits; the same without a master by executing again.
P2, P3, P4, P5, P20."""

import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from fcgi import wait_for
from harness import Threads, rss
from settings import SANITIZED, SLOW

VERSIONED = '''
import os
version = %r
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [version.encode(), b' ', str(os.getpid()).encode()]
'''


def workers(server):
    """The pids of the master's children."""
    path = f'/proc/{server.pid}/task/{server.pid}/children'
    return {int(pid) for pid in pathlib.Path(path).read_text().split()}


def answer(server):
    """(version, pid) of one request."""
    version, pid = server.request().text.split()
    return version, int(pid)


STATUS = '/state'


def both_ready(server):
    """Waits for both workers, of a server with --status-path STATUS: what still loads its code at a reload begins again,
    and has another pid."""
    def states():
        return [p['state'] for p in json.loads(server.request(path=STATUS, query='json&full').body)['processes']]
    wait_for(lambda: states() == ['ready'] * 2, 20, 'both workers')


def rewrite(server, version):
    """Other code in the place of the application, by rename as editors and deployments do it."""
    script = pathlib.Path(server.script)
    new = script.with_suffix('.new')
    new.write_text(version if '\n' in version else VERSIONED % version)
    os.replace(new, script)


class Load(Threads):
    """Clients that ask one after the other until told to stop; every answer counts."""

    def __init__(self, server, clients=3):
        self.server, self.ended = server, threading.Event()
        self.answers, self.failures = [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(clients)]

    def run(self):
        import fcgi
        while not self.ended.is_set():
            try:
                with fcgi.Connection(self.server.address) as conn:
                    response = conn.request(self.server.params())
                assert response.status == 200 and response.complete, response
                self.answers.append(response.text.split())
            except (AssertionError, OSError) as error:
                self.failures.append(repr(error))


@pytest.fixture
def serve(fcgi_unix):
    """As fcgi_unix; a master is stopped at the end of the test, since its workers are no leftovers before."""
    servers = []

    def start(*args, **keywords):
        servers.append(fcgi_unix(*args, **keywords))
        return servers[-1]
    yield start
    for server in servers:
        if server.process.running():
            assert server.stop(timeout=10) == 0


@pytest.fixture
def two(serve):
    """A master with two workers that serves version one."""
    server = serve(VERSIONED % 'one', '--processes', '2', '--status-path', STATUS)
    server.allow_log('SIGHUP|touched|new code|loading')
    both_ready(server)
    assert answer(server)[0] == 'one'
    return server


def test_workers(two):
    """P1: as many as asked for, all children of a process that serves nothing itself."""
    wait_for(lambda: len(workers(two)) == 2, 5, 'two workers')
    pids = {answer(two)[1] for _ in range(20)}
    assert pids <= workers(two) and two.pid not in pids


def test_memory_of_each(two):
    """P8: the page has the memory of each worker, without an option for it."""
    processes = two.request(path=STATUS, query='json&full').json['processes']
    assert {p['pid'] for p in processes} == workers(two)
    for process in processes:
        assert abs(process['memory'] - rss(process['pid'])) < 4_000_000


def test_death_by_a_realtime_signal(two):
    """P3: the log has a name for it as well, though glibc has none."""
    two.expect_log(r'worker \d+ was killed by signal %d \(RTMIN\+3\) after ' % (signal.SIGRTMIN + 3))
    victim = answer(two)[1]
    os.kill(victim, signal.SIGRTMIN + 3)
    wait_for(lambda: victim not in workers(two) and len(workers(two)) == 2, 5, 'a new worker')


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGSEGV])
def test_death_of_a_worker(two, number):
    """P3: it is replaced within a second; the log says how it died and what it did last; the other serves meanwhile."""
    if number == signal.SIGSEGV and SANITIZED:
        pytest.skip('the sanitizer takes SIGSEGV for a fault of the program')
    two.expect_log(r'worker \d+ was killed by signal \d+ \((KILL|SEGV)\).* after .* last request: GET / \[\w{12}\]')
    for _ in range(3):
        before = workers(two)
        victim = answer(two)[1]
        os.kill(victim, number)
        wait_for(lambda: victim not in workers(two) and len(workers(two)) == 2, 1 if number == signal.SIGKILL else 3,
                 'a new worker')
        assert answer(two)[0] == 'one' and len(before & workers(two)) == 1
        if number == signal.SIGSEGV:
            break


@pytest.mark.parametrize('who, options', [('worker', []), ('zygote', ['--preload'])])
def test_death_in_a_loop(serve, who, options):
    """P3: workers that die while they start, or with --preload the zygote that forks them, are tried again at growing
    intervals, not in a tight loop."""
    server = serve('''
        import os
        with open(os.environ['STARTS'], 'a') as f:
            f.write('x')
        os._exit(3)
    ''', '--processes', '2', *options, env={'STARTS': '/dev/null'}, ready=False)
    server.check_fds = False
    server.allow_log(rf'{who} \d+ exited with code 3')
    server.wait_log('exited with code 3', 10)
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > 3, 10, 'three seconds')
    count = server.logged.count('exited with code 3')
    assert 2 <= count <= 14, server.logged


def test_hup_under_load(two):
    """P5: new code comes in while requests go on, and not one of them fails; again and again."""
    with Load(two) as load:
        for version in 'two', 'three', 'four':
            rewrite(two, version)
            two.process.signal(signal.SIGHUP)
            wait_for(lambda: any(v == version for v, _ in load.answers[-5:]), 20, version)
    assert not load.failures, (len(load.answers), load.failures[:3])
    wait_for(lambda: {answer(two)[0] for _ in range(10)} == {'four'}, 20, 'only the last code')


def test_hup_with_broken_code(two):
    """P5: code that does not load changes nothing: the old workers answer, the log says why; mended code comes in."""
    two.expect_log(r'the new code does not load')
    two.allow_log(r'exited with code 70|SyntaxError|could not be loaded')
    before = workers(two)
    with Load(two) as load:
        rewrite(two, 'def application(:\n')
        two.process.signal(signal.SIGHUP)
        two.wait_log('the new code does not load', 20)
        assert before <= workers(two)
    assert not load.failures and {v for v, _ in load.answers} == {'one'}
    rewrite(two, 'mended')
    wait_for(lambda: answer(two)[0] == 'mended', 20, 'the mended code')


# A thread that never ends, and the code is no good.
STUCK = 'import threading\nthreading.Thread(target=threading.Event().wait).start()\nraise RuntimeError("no good")\n'


def test_hup_with_broken_code_that_has_a_thread(serve):
    """P5, P3: the same where the new code has started a thread before it fails; and where it is loaded in place of a
    worker that died."""
    server = serve(VERSIONED % 'one', '--processes', '2', '--reload', 'off', '--status-path', STATUS)
    server.expect_log('the new code does not load .*; the old one goes on; SIGHUP tries it again$')
    server.expect_log(r'worker \d+ was killed by signal 9')
    server.allow_log(r'exited with code 70|RuntimeError|could not be loaded|SIGHUP|new code')
    both_ready(server)
    before = workers(server)
    rewrite(server, STUCK)
    server.process.signal(signal.SIGHUP)
    server.wait_log('the new code does not load', 20)
    wait_for(lambda: workers(server) == before, 10, 'the end of the worker that failed')
    os.kill(answer(server)[1], signal.SIGKILL)
    wait_for(lambda: server.logged.count('exited with code 70') >= 3, 20, 'some tries')
    assert answer(server)[0] == 'one'
    rewrite(server, 'mended')
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: answer(server)[0] == 'mended', 20, 'the mended code')


def test_deaths_while_new_code_hangs(serve, tmp_path):
    """P3, P5: old workers that die while the new code takes long to load are replaced: by new ones, that serve as soon
    as they have loaded it."""
    server = serve(VERSIONED % 'one', '--processes', '2', '--reload', 'off', '--status-path', STATUS)
    server.expect_log(r'worker \d+ was killed by signal 9')
    server.allow_log('SIGHUP|new code')
    both_ready(server)
    before = workers(server)
    gate = tmp_path / 'gate'
    rewrite(server, 'import os, time\n'
                    f'while not os.path.exists({str(gate)!r}):\n    time.sleep(0.01)\n' + VERSIONED % 'two')
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: len(workers(server)) == 3, 10, 'a worker that loads the new code')
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: len(workers(server)) == 2 and not before & workers(server), 10, 'two that load')
    after = workers(server)
    gate.touch()
    assert answer(server)[0] == 'two'
    wait_for(lambda: {answer(server)[1] for _ in range(5)} == after, 20, 'an answer of each')


@pytest.mark.parametrize('options', [[], ['--processes', '1'], ['--processes', '1', '--preload']], ids=' '.join)
def test_sigchld_is_the_application_s(serve, options):
    """P21: it finds the default, and may put back what it has found, with a master as without."""
    server = serve('''
        import signal
        def application(environ, start_response):
            found = signal.signal(signal.SIGCHLD, lambda *_: None)
            signal.signal(signal.SIGCHLD, found)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(found == signal.SIG_DFL).encode()]
    ''', *options)
    assert server.request().text == 'True'


def test_touch(two):
    """P20: the script touched, or tmp/restart.txt beside it, brings the new code without a signal."""
    rewrite(two, 'touched')
    wait_for(lambda: answer(two)[0] == 'touched', 20, 'the new code')
    before = workers(two)
    folder = pathlib.Path(two.script).parent / 'tmp'
    folder.mkdir()
    (folder / 'restart.txt').touch()
    wait_for(lambda: len(workers(two)) == 2 and not before & workers(two), 20, 'new workers')


def test_reload_off(serve):
    """P20: --reload=off: a touch is none of its business, HUP is."""
    server = serve(VERSIONED % 'one', '--processes', '1', '--reload', 'off')
    server.allow_log('SIGHUP|new code')
    rewrite(server, 'two')
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > 2.5, 10, 'two looks')
    assert answer(server)[0] == 'one'
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: answer(server)[0] == 'two', 20, 'the new code')


def test_term_under_load(two):
    """P4: whoever got a connection gets the whole answer; exit code 0; nothing is left."""
    with Load(two) as load:
        wait_for(lambda: len(load.answers) > 50, 10, 'load')
        two.process.signal(signal.SIGTERM)
        wait_for(lambda: not workers(two) if two.process.running() else True, 10, 'the end of the workers')
        load.ended.set()
    assert two.wait(10) == 0
    # After the end nobody accepts on the inherited socket; an answer cut short would be a Timeout or incomplete.
    assert not [f for f in load.failures if 'complete=False' in f], load.failures[:3]


def test_term_in_a_reload(serve):
    """P4, P5: a worker of the old code that still finishes a request is not told twice, which would cut it off."""
    server = serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [environ['wsgi.input'].read()]
    ''', '--processes', '1')
    server.allow_log('SIGHUP|new code')
    slow = server.start('POST', body=b'whole')
    wait_for(lambda: len(workers(server)) == 1, 5, 'a worker')
    old = workers(server)
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: len(workers(server)) == 2, 20, 'a worker with the new code')
    server.wait_log('the new code is loaded', 20)
    server.process.signal(signal.SIGTERM)
    wait_for(lambda: workers(server) == old, 20, 'the end of the new worker')
    slow.write(b'whole')
    slow.finish_body()
    response = slow.response()
    assert response.complete and response.text == 'whole'
    assert server.wait(10) == 0


def test_term_to_all_at_once(serve):
    """P4: systemd sends TERM to every process of a service, and so does the master: the worker takes both for one."""
    server = serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [environ['wsgi.input'].read()]
    ''', '--processes', '2')
    server.allow_log(r'worker \d+ exited with code 0')      # told by the test, not by its master
    wait_for(lambda: len(workers(server)) == 2, 5, 'two workers')
    slow = server.start('POST', body=b'whole')
    wait_for(lambda: server.request('POST', body=b'x').text == 'x', 5, 'the other worker')
    before = workers(server)
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: len(workers(server) & before) == 1, 10, 'the end of the idle worker')
    server.process.signal(signal.SIGTERM)
    wait_for(lambda: workers(server) <= before, 10, 'the end of all that came after')
    slow.write(b'whole')
    slow.finish_body()
    response = slow.response()
    assert response.complete and response.text == 'whole'
    assert server.wait(10) == 0


@pytest.mark.parametrize('numbers', [(signal.SIGINT,), (signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM)])
def test_stop_now_with_a_worker_that_hears_nothing(two, numbers):
    """P4: a stop that does not wait for requests does not wait for --graceful-timeout either where a worker does not
    do what it is told."""
    two.expect_log(r'warning: worker \d+ does not leave: killed')
    pid = min(wait_for(lambda: workers(two), 5, 'workers'))
    os.kill(pid, signal.SIGSTOP)
    for number in numbers[:-1]:
        two.process.signal(number)
        wait_for(lambda: len(workers(two)) == 1, 10, 'the end of the other worker')
    assert two.stop(numbers[-1], timeout=15) == 0


def test_log_that_nobody_reads(fcgi_unix):
    """P3, P4, P5: the master waits for a full pipe a moment only: it reloads, replaces a worker that dies, stops."""
    reader, writer = os.pipe()
    with open(reader), open(writer, 'wb', 0) as log:
        server = fcgi_unix(VERSIONED % 'one', '--processes', '1', stderr=log)
        server.check_fds = False
        assert answer(server)[0] == 'one'
        os.set_blocking(writer, False)
        while log.write(b'x' * 4096):
            pass
        os.set_blocking(writer, True)
        rewrite(server, 'two')
        server.process.signal(signal.SIGHUP)
        wait_for(lambda: answer(server)[0] == 'two', 20, 'the new code')
        pid = answer(server)[1]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: workers(server) - {pid}, 20, 'another worker')
        assert answer(server)[0] == 'two' and server.stop(timeout=10) == 0


def test_more_and_less(two):
    """TTIN and TTOU add and remove a worker."""
    two.process.signal(signal.SIGTTIN)
    wait_for(lambda: len(workers(two)) == 3, 5, 'three workers')
    two.process.signal(signal.SIGTTOU)
    wait_for(lambda: len(workers(two)) == 2, 10, 'two workers')
    two.process.signal(signal.SIGTTOU)
    wait_for(lambda: len(workers(two)) == 1, 10, 'one worker')
    two.process.signal(signal.SIGTTOU)
    assert answer(two)[0] == 'one'


def test_death_of_the_master(two):
    """P3: workers without a master would be nobody's: they end, too."""
    two.process.exit_codes = {-signal.SIGKILL}
    two.check_fds = False
    pids = workers(two)
    two.process.signal(signal.SIGKILL)

    def gone(pid):
        try:
            return pathlib.Path(f'/proc/{pid}/stat').read_text().split()[2] == 'Z'
        except OSError:
            return True
    wait_for(lambda: all(gone(pid) for pid in pids), 10, 'the end of the workers')


def test_max_requests(serve):
    """P2: workers are replaced after so many requests, and none is lost."""
    server = serve(VERSIONED % 'one', '--processes', '2', '--max-requests', '40', '--max-requests-jitter', '20')
    with Load(server) as load:
        wait_for(lambda: len({pid for _, pid in load.answers}) >= 5, 30, 'new workers')
    assert not load.failures, (len(load.answers), load.failures[:3])
    said = re.findall(r'notice: \[\w+\] (\d+) requests are --max-requests( with its jitter)?: a new process takes over$',
                      server.logged, re.MULTILINE)
    assert len(said) >= 3 and all(40 <= int(n) <= 60 and bool(more) == (int(n) > 40) for n, more in said), said


LEAKING = '''
    import os, time
    born, kept = time.time_ns(), []
    def application(environ, start_response):
        if len(kept) < 300:         # 60 MB
            kept.append(b'x' * 200_000)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%d %d' % (born, os.getpid())]
'''


def some_memory(serve):
    """For --max-memory, in bytes: 20 MB more than a process takes that has leaked nothing yet."""
    server = serve(LEAKING, '--processes', '1')
    pid = answer(server)[1]
    size = rss(pid)
    assert server.stop(timeout=10) == 0
    return str(size + (20 << 20))


def test_max_memory(serve):
    """P2: a worker that has grown too large is replaced, the log says why, and no request is lost."""
    server = serve(LEAKING, '--processes', '2', '--max-memory', some_memory(serve), '--status-path', '/status')
    with Load(server) as load:
        wait_for(lambda: len({pid for _, pid in load.answers}) >= 6, 40, 'new workers')
    assert not load.failures, (len(load.answers), load.failures[:3])
    assert server.log.matches(r'notice: \[\w+\] \d+ KiB of memory are more than --max-memory \(\d+ KiB\)')

    def is_known():
        """A worker that has answered has said how large it is, unless it has left since."""
        pid = int(answer(server)[1])
        status = json.loads(server.request(path='/status', query='json&full').body)
        return [p for p in status['processes'] if p['pid'] == pid and p.get('memory', 0) > 1 << 20]
    wait_for(is_known, 10, 'the memory of a worker on the status page')


def test_max_memory_too_low(serve):
    """P2: a limit below what the application takes from the start would replace a worker after each request."""
    server = serve(VERSIONED % 'one', '--processes', '1', '--max-memory', '1m')
    server.expect_log(r'error: --max-memory: 1024 KiB is less than .* \(\d+ KiB\): ignored; choose a larger size')
    assert len({answer(server)[1] for _ in range(20)}) == 1


# --- without a master: the same pid, for spawners that must not see it end --------------------------------------------

def test_same_pid_hup(fcgi_unix):
    """P5: without a master the program is executed again, on the same pid and socket; no request fails."""
    server = fcgi_unix(VERSIONED % 'one')
    server.allow_log('SIGHUP|touched|new code')
    server.check_fds = False        # another program, with other descriptors, on the same pid
    assert answer(server) == ('one', server.pid)
    with Load(server) as load:
        for version in 'two', 'three':
            rewrite(server, version)
            server.process.signal(signal.SIGHUP)
            wait_for(lambda: any(v == version for v, _ in load.answers[-5:]), 20, version)
    assert not load.failures, (len(load.answers), load.failures[:3])
    assert {int(pid) for _, pid in load.answers} == {server.pid}


def test_same_pid_broken_code(fcgi_unix):
    """P5, P20: new code is tried by a child first; what does not load is not taken."""
    server = fcgi_unix(VERSIONED % 'one')
    server.check_fds = False
    server.expect_log('the new code does not load')
    server.allow_log('touched|new code|SyntaxError|could not be loaded')
    rewrite(server, 'def application(:\n')
    server.wait_log('the new code does not load', 20)
    assert answer(server) == ('one', server.pid)
    rewrite(server, 'mended')
    wait_for(lambda: answer(server) == ('mended', server.pid), 20, 'the mended code')


def test_same_pid_own_socket(world):
    """P5: with --bind the socket is kept too; it is removed at the end."""
    path = world.new_path('sock')
    script = world.write_app(VERSIONED % 'one')
    process = world.spawn('--bind', str(path), script)
    process.allow_log('SIGHUP|touched|new code')

    def ask():
        out = subprocess.run([process.argv[0], '--request', str(path), 'GET', '/'], capture_output=True, text=True)
        return out.stdout.split()[-2:]
    wait_for(lambda: ask() == ['one', str(process.pid)], 10, 'version one')
    new = pathlib.Path(script).with_suffix('.new')
    new.write_text(VERSIONED % 'two')
    os.replace(new, script)
    process.signal(signal.SIGHUP)
    wait_for(lambda: ask() == ['two', str(process.pid)], 20, 'version two')
    process.signal(signal.SIGTERM)
    assert process.wait(5 * SLOW) == 0 and not pathlib.Path(path).exists()


def test_same_pid_max_requests(fcgi_unix):
    """P2: --max-requests without a master: executed again, the same pid, no request lost."""
    server = fcgi_unix('''
        import os, time
        born = str(time.time_ns())
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [born.encode(), b' ', str(os.getpid()).encode()]
    ''', '--max-requests', '30')
    server.check_fds = False
    with Load(server) as load:
        wait_for(lambda: len({born for born, _ in load.answers}) >= 3, 30, 'three lives')
    assert not load.failures, (len(load.answers), load.failures[:3])
    assert {int(pid) for _, pid in load.answers} == {server.pid}


def test_same_pid_with_a_thread_that_never_ends(fcgi_unix):
    """P5: a thread of the application that never ends keeps the old program for --graceful-timeout, no longer; then the
    new one starts on the same pid all the same. (The process used to exit.)"""
    app = VERSIONED.replace('    start_response', '''
    import threading
    threading.Thread(target=threading.Event().wait).start()
    start_response''', 1)
    server = fcgi_unix(app % 'one', '--graceful-timeout', '500ms')
    server.allow_log('SIGHUP|touched|new code|left behind')
    server.check_fds = False
    assert answer(server) == ('one', server.pid)
    rewrite(server, app % 'two')
    server.process.signal(signal.SIGHUP)
    wait_for(lambda: answer(server) == ('two', server.pid), 20, 'the new code')
def test_same_pid_max_memory(fcgi_unix, serve):
    """P2: --max-memory without a master: executed again, the same pid, no request lost."""
    server = fcgi_unix(LEAKING, '--max-memory', some_memory(serve))
    server.check_fds = False
    with Load(server) as load:
        wait_for(lambda: len({born for born, _ in load.answers}) >= 3, 40, 'three lives')
    assert not load.failures, (len(load.answers), load.failures[:3])
    assert {int(pid) for _, pid in load.answers} == {server.pid}
