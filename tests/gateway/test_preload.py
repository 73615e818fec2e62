"""--preload: a zygote imports the application once and forks the workers, which share its memory.
P2, P3, P4, P5, P17, P21."""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import time

import pytest

from apps import HELLO
from fcgi import wait_for
from harness import cgi_params, listening_socket, open_fds, proc_stat, rss
from settings import BINARY, ROOT, SANITIZED, SLOW
from test_processes import (LEAKING, STATUS, STUCK, Load, answer, both_ready, rewrite, serve,  # noqa: F401 (a fixture)
                            some_memory, workers)
from test_request_timeout import STACK, allow
from test_syscalls import plain, traced

# Says who imported it; a request with a body is in the worker until all of the body has come.
PRELOADED = '''
    import os
    version = %r
    with open(os.environ['NOTES'], 'a') as notes:
        print('import', os.getpid(), file=notes)
    def application(environ, start_response):
        environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [version.encode(), b' %%d' %% os.getpid()]
'''

THREADS_LEAK = 'after a fork LeakSanitizer looks for the threads of the parent, and takes their memory for leaked'


class Notes:
    """The file that the application writes lines "word pid" to."""

    def __init__(self, path):
        self.path = path

    def of(self, word):
        """The pids of all lines with this word, in order."""
        if not self.path.exists():
            return []
        return [int(line.split()[1]) for line in self.path.read_text().splitlines() if line.split()[0] == word]


@pytest.fixture
def preload(serve, world):  # noqa: F811
    """Start a master with --preload: preload(source, '--processes', '4'); server.notes are what was noted."""
    def start(source, *options, **keywords):
        notes = Notes(world.new_path('notes'))
        server = serve(source, '--preload', *options, **keywords,
                       # A module that changes twice a second has one bytecode.
                       env={'NOTES': str(notes.path), 'PYTHONDONTWRITEBYTECODE': '1'})
        server.notes = notes
        return server
    return start


@pytest.fixture
def two(preload):
    """Version one, in two workers."""
    server = preload(PRELOADED % 'one', '--processes', '2', '--reload', 'off')
    server.allow_log('SIGHUP|new code')
    # Both serve: a worker that is not ready at a reload ends.
    assert {version for version, _ in of_each(server, 2)} == {'one'}
    wait_for(lambda: len(workers(server)) == 3, 10, 'a zygote and two workers')
    return server


def zygote(server):
    """The last one that has imported the application."""
    return server.notes.of('import')[-1]


def of_each(server, processes, threads=1):
    """What each request thread of each worker answers, once all serve: a request is in each at the same time. The
    second word is the pid."""
    def ask():
        held = [server.start('POST', body=b'x') for _ in range(processes * threads)]
        for exchange in held:           # all: two may have come to one worker, which then waits for the body of one
            exchange.write(b'x')
            exchange.finish_body()
        texts = [exchange.response().text.split() for exchange in held]
        pids = collections.Counter(text[1] for text in texts)
        return texts if set(pids.values()) == {threads} else None
    return wait_for(ask, 20, f'{processes} x {threads} request threads')


def mended(version):
    return PRELOADED.replace('\n    ', '\n') % version


def kill(server, pid):
    """kill -9, and wait until the master knows it."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pid not in workers(server), 5, 'its end')


def settle(server, count):
    """Wait until there are one zygote, the last, and `count` workers."""
    wait_for(lambda: len(workers(server)) == count + 1 and zygote(server) in workers(server), 20,
             f'a zygote and {count} workers')


# --- one import ----------------------------------------------------------------------------------------------------

def test_one_import(preload):
    """P1: the application is imported once, by a child of the master that serves nothing; all workers are the
    master's own children, too. The same again for each generation of the code."""
    server = preload(PRELOADED % 'one', '--processes', '4')
    server.allow_log('SIGHUP|new code')
    for generation in 1, 2, 3:
        pids = {int(pid) for _, pid in of_each(server, 4)}
        assert len(pids) == 4
        settle(server, 4)
        assert len(server.notes.of('import')) == generation
        assert workers(server) == pids | {zygote(server)} and zygote(server) not in pids
        server.process.signal(signal.SIGHUP)
        wait_for(lambda: len(server.notes.of('import')) == generation + 1, 20, 'another import')
        settle(server, 4)
        wait_for(lambda: not pids & workers(server), 20, 'new workers')


def pss(pid):
    """Memory of a process in bytes: its own, and its share of what it shares."""
    return int(re.search(r'^Pss: +(\d+) kB', pathlib.Path(f'/proc/{pid}/smaps_rollup').read_text(), re.M)[1]) << 10


def memory_of_workers(server, count):
    """PSS of each worker, after at least 200 requests to each."""
    def served():
        shot = json.loads(server.request(path='/status', query='json&full').body)
        return {process['pid']: process['requests'] for process in shot['processes']}
    with Load(server, 2 * count) as load:
        wait_for(lambda: len(served()) == count and min(served().values()) >= 200, 60, '200 requests to each')
    assert not load.failures
    return [pss(pid) for pid in served()]


@pytest.mark.skipif(SANITIZED, reason='sanitizers have memory of their own')
@pytest.mark.timeout(120)
def test_memory_of_django(serve, preload, run):  # noqa: F811
    """With the Django example and 4 workers, PSS per worker is at most half of that without --preload."""
    script = ROOT / 'examples/django_app/wsgi.py'
    if "No module named 'django'" in run('--check', script).stderr:
        pytest.skip('its Python has no Django')
    means = []
    for start in serve, preload:
        server = start(script, '--processes', '4', '--status-path', '/status')
        each = memory_of_workers(server, 4)
        means.append(sum(each) / len(each))
        assert server.stop(timeout=10) == 0
    without, shared = (mean / (1 << 20) for mean in means)
    print(f'Django, 4 workers, 200 requests each: PSS per worker {without:.1f} MiB without --preload, {shared:.1f} with')
    assert shared <= without / 2, (without, shared)


# --- new code ------------------------------------------------------------------------------------------------------

def test_hup_under_load(two):
    """P5: new code comes in while requests go on, and not one of them fails; the old zygote goes with its workers."""
    with Load(two) as load:
        for version in 'two', 'three', 'four':
            rewrite(two, mended(version))
            two.process.signal(signal.SIGHUP)
            wait_for(lambda: any(v == version for v, _ in load.answers[-5:]), 20, version)
    assert not load.failures, (len(load.answers), load.failures[:3])
    assert len(two.notes.of('import')) == 4
    settle(two, 2)
    assert {answer(two)[0] for _ in range(10)} == {'four'}


def test_hups_in_a_row(two):
    """P5: reloads that overtake each other: one zygote and two workers of the last code are left, no request fails."""
    with Load(two) as load:
        for n in range(12):
            rewrite(two, mended(f'v{n}'))
            two.process.signal(signal.SIGHUP)
            seen = len(load.answers)
            wait_for(lambda: len(load.answers) > seen + 10 * (n % 4), 10, 'some requests')
        wait_for(lambda: any(v == 'v11' for v, _ in load.answers[-5:]), 30, 'the last code')
    assert not load.failures, (len(load.answers), load.failures[:3])
    settle(two, 2)
    assert {answer(two)[0] for _ in range(10)} == {'v11'}


def test_hup_with_broken_code(two):
    """P5: code that does not load changes nothing, the log says why. A worker that dies then is replaced by one with
    the old code, since the zygote still has it; mended code comes in."""
    two.expect_log(r'the new code does not load')
    two.expect_log(r'worker \d+ was killed by signal 9')
    two.allow_log(r'SyntaxError|could not be loaded')
    before, mother = workers(two), zygote(two)
    with Load(two) as load:
        rewrite(two, 'def application(:\n')
        two.process.signal(signal.SIGHUP)
        two.wait_log('the new code does not load', 20)
        assert before <= workers(two)
    assert not load.failures and {v for v, _ in load.answers} == {'one'}
    wait_for(lambda: workers(two) == before, 10, 'the end of the zygote that failed')
    kill(two, answer(two)[1])
    wait_for(lambda: len(workers(two)) == 3, 5, 'a new worker')
    assert {version for version, _ in of_each(two, 2)} == {'one'} and zygote(two) == mother
    rewrite(two, mended('mended'))
    two.process.signal(signal.SIGHUP)
    wait_for(lambda: answer(two)[0] == 'mended', 20, 'the mended code')
    settle(two, 2)


def hanging(version):
    """Says that it is imported, and then never has been."""
    return mended(version).replace('def app', 'import time\ntime.sleep(3600)\ndef app')


def test_hup_with_broken_code_that_has_a_thread(two):
    """P5: the same where the new code starts a thread before it fails: it does not keep the zygote from its end."""
    two.expect_log('the new code does not load')
    two.allow_log('RuntimeError|could not be loaded|do not run in the workers|left behind')
    settle(two, 2)
    before = workers(two)
    rewrite(two, STUCK)
    two.process.signal(signal.SIGHUP)
    two.wait_log('the new code does not load', 20)
    wait_for(lambda: workers(two) == before, 15, 'the end of the zygote that failed')
    rewrite(two, mended('mended'))
    two.process.signal(signal.SIGHUP)
    wait_for(lambda: answer(two)[0] == 'mended', 20, 'the mended code')


@pytest.mark.parametrize('end', ['fails', 'is mended'])
def test_deaths_while_new_code_hangs(two, end):
    """P3, P5: workers that die while the new code takes long to load are replaced by the zygote that has the old code,
    even when all of them die; what comes of the new code then is as ever."""
    two.expect_log(r'worker \d+ was killed by signal 9')
    two.allow_log('does not load|SyntaxError|could not be loaded')
    old = {int(pid) for _, pid in of_each(two, 2)}
    mother = zygote(two)
    rewrite(two, hanging('hanging'))
    two.process.signal(signal.SIGHUP)
    wait_for(lambda: zygote(two) != mother, 10, 'the new zygote')
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not old & workers(two) and len(workers(two)) == 4, 10, 'two zygotes and two workers')
    assert {version for version, _ in of_each(two, 2)} == {'one'}
    rewrite(two, 'def application(:\n' if end == 'fails' else mended('two'))
    two.process.signal(signal.SIGHUP)
    if end == 'fails':
        two.wait_log('the new code does not load', 20)
        wait_for(lambda: len(workers(two)) == 3, 20, 'the end of the new zygotes')
        assert {version for version, _ in of_each(two, 2)} == {'one'} and mother in workers(two)
    else:
        wait_for(lambda: answer(two)[0] == 'two', 20, 'the mended code')
        settle(two, 2)


@pytest.mark.timeout(150)
def test_new_code_that_hangs_is_given_up(two, serve):  # noqa: F811
    """P5: after a minute, with --preload and without; the old code goes on, the log says so, and mended code comes in."""
    plain_one = serve(mended('one'), '--processes', '2', '--reload', 'off', '--status-path', STATUS,
                      env={'NOTES': os.devnull})
    plain_one.allow_log('SIGHUP|new code')
    settle(two, 2)
    both_ready(plain_one)
    before = {server: workers(server) for server in (two, plain_one)}
    for server in before:
        server.expect_log(r'warning: \S*app\.py has been loading for 10 s')
        server.expect_log('error: the new code has not loaded within 60 s; the old one goes on')
        rewrite(server, hanging('hanging'))
        server.process.signal(signal.SIGHUP)
    for server, pids in before.items():
        wait_for(lambda: len(workers(server)) == len(pids) + 1, 10, 'one that loads the new code')  # noqa: B023
    for server, pids in before.items():
        server.wait_log('has not loaded within', 75)
        wait_for(lambda: workers(server) == pids, 10, 'its end')  # noqa: B023
        assert answer(server)[0] == 'one'
        rewrite(server, mended('two'))
        server.process.signal(signal.SIGHUP)
        wait_for(lambda: answer(server)[0] == 'two', 20, 'the mended code')  # noqa: B023


def test_broken_at_first(preload):
    """P3: an application that cannot be loaded at start answers with error pages until it is mended, as without
    --preload; it is tried once, not by each worker."""
    server = preload('def application(:\n', '--processes', '2')
    server.allow_log('touched|new code|serving error pages|SyntaxError|could not be loaded|raised LoadError')
    assert server.request().status == 500
    wait_for(lambda: len(workers(server)) == 3, 5, 'a zygote and two workers')
    rewrite(server, mended('mended'))
    wait_for(lambda: server.request().status == 200, 20, 'the mended code')
    wait_for(lambda: server.log.matches('the new code is loaded'), 20, 'the reload')
    settle(server, 2)
    assert {version for version, _ in of_each(server, 2)} == {'mended'}


def test_reload_modules(preload, world):
    """P5, P20: --reload=modules: files that the zygote has imported count, those of a request in a worker, and the
    ones that took part when new code did not load."""
    def write(name, text):
        (world.tmp_path / 'new').write_text(text)
        os.replace(world.tmp_path / 'new', world.tmp_path / name)
    write('early.py', 'number = 1')
    write('late.py', 'number = 10')
    server = preload('''
        import early
        def application(environ, start_response):
            environ['wsgi.input'].read()
            import late, os
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d %d' % (early.number + late.number, os.getpid())]
    ''', '--processes', '2', '--reload', 'modules')
    server.allow_log('touched|new code|SyntaxError|could not be loaded')
    assert {text[0] for text in of_each(server, 2)} == {'11'}
    write('late.py', 'number = 20')
    wait_for(lambda: {text[0] for text in of_each(server, 2)} == {'21'}, 20, 'the module of a request')
    write('early.py', 'number = 2')
    wait_for(lambda: {text[0] for text in of_each(server, 2)} == {'22'}, 20, 'the module of the import')
    write('early.py', 'number = ')
    server.wait_log('the new code does not load', 20)
    assert {text[0] for text in of_each(server, 2)} == {'22'}
    write('early.py', 'number = 3')
    wait_for(lambda: {text[0] for text in of_each(server, 2)} == {'23'}, 20, 'the mended module')


HELD = '''
    import os
    version = %r
    def note(word):
        with open(os.environ['NOTES'], 'a') as notes:
            print(word, os.getpid(), file=notes)
    note('import')
    def application(environ, start_response):
        note('begin')
        environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [version.encode(), b' %%d' %% os.getpid()]
'''


@pytest.mark.timeout(120)
def test_hups_while_all_former_code_is_held(preload):
    """P5: reload after reload, while a request still runs in a worker of each code there was: there is no room for so
    many zygotes, yet new code comes in. The oldest zygote ends, its worker does not; every request is answered. Where
    there is no place for one more worker the log says what it waits for."""
    server = preload(HELD % 'v0', '--processes', '1', '--reload', 'off', '--graceful-timeout', '5m')
    server.allow_log('SIGHUP|new code')
    server.expect_log(r'warning: 16 zygotes have workers that still finish requests: \d+, the oldest, ends before its')
    server.expect_log('warning: no new worker until one that still finishes requests has ended: there are 18')
    held = []

    def hold_and_reload():
        held.append(server.start('POST', body=b'x'))
        wait_for(lambda: len(server.notes.of('begin')) == len(held), 20, 'a request in hand')
        rewrite(server, (HELD % f'v{len(held)}').replace('\n    ', '\n'))
        server.process.signal(signal.SIGHUP)
    while len(held) < 17:
        hold_and_reload()
        wait_for(lambda: server.logged.count('the new code is loaded') == len(held), 20, f'reload {len(held)}')
    hold_and_reload()
    server.wait_log('no new worker until', 20)
    for exchange in held:
        exchange.write(b'x')
        exchange.finish_body()
    assert [exchange.response().text.split()[0] for exchange in held] == [f'v{n}' for n in range(18)]
    settle(server, 1)
    assert answer(server)[0] == 'v18'


# --- deaths --------------------------------------------------------------------------------------------------------

def test_death_of_a_worker(two):
    """P3: kill -9 of a worker under load: only what it had in hand fails; another is there at once, without an import.
    """
    two.expect_log(r'worker \d+ was killed by signal 9 \(KILL\) after .* and \d+ requests')
    with Load(two) as load:
        for _ in range(5):
            before = workers(two)
            kill(two, (before - {zygote(two)}).pop())
            wait_for(lambda: len(workers(two)) == 3, 2, 'a new worker')
            seen = len(load.answers)
            wait_for(lambda: len(load.answers) > seen + 20, 10, 'answers')
    assert len(load.failures) <= 5 * 3 and len(two.notes.of('import')) == 1


def test_death_of_the_zygote(two):
    """P3: kill -9 of the zygote under load: no request fails, the workers stay; the log says how it died; there is
    another one soon, and it forks."""
    two.expect_log(r'error: zygote \d+ was killed by signal 9 \(KILL\) after \d+\.\d+ s')
    two.expect_log(r'worker \d+ was killed')
    mother, others = zygote(two), workers(two) - {zygote(two)}
    with Load(two) as load:
        os.kill(mother, signal.SIGKILL)
        wait_for(lambda: len(two.notes.of('import')) == 2, 10, 'another zygote')
        seen = len(load.answers)
        wait_for(lambda: len(load.answers) > seen + 50, 10, 'answers')
    assert not load.failures and others <= workers(two)
    kill(two, others.pop())
    settle(two, 2)
    assert {version for version, _ in of_each(two, 2)} == {'one'}


def test_deaths_in_every_moment(two):
    """P3: zygote and workers killed together, while births are under way: all are there again in the end."""
    two.allow_log(r'(worker|zygote) \d+ was killed|cannot be forked')
    for n in range(4):
        victims = sorted(workers(two), key=lambda pid: (pid * 7919 + n) % 13)
        for pid in victims[:1 + n % 3]:
            with contextlib.suppress(ProcessLookupError):       # killed in the last round, and only now reaped
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(workers(two) - set(victims)) >= n % 3, 20, 'the next ones')
    settle(two, 2)
    assert len({pid for _, pid in of_each(two, 2)}) == 2
    # A victim of the last round may only now come to its end.
    wait_for(lambda: 'Z' not in [(proc_stat(pid) or 'Z')[0] for pid in workers(two)], 5, 'the last one to be reaped')


@traced
@plain
def test_death_in_a_birth(world):
    """P3: a worker whose zygote dies before it could tell the master of it is nobody's, and ends; others follow."""
    slow, notes = world.new_path('slow'), Notes(world.new_path('notes'))
    slow.write_text(f'#!/bin/sh\nexec strace -D -f -o /dev/null -e trace=wait4 -e inject=wait4:delay_exit=1s {BINARY} '
                    '"$@"\n')
    slow.chmod(0o755)
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        master = world.spawn('--preload', '--processes', '1', world.write_app(PRELOADED % 'one'), binary=slow,
                             stdin=sock, env={'NOTES': str(notes.path)})
    master.expect_log(r'zygote \d+ was killed by signal 9')

    def unknown():
        """A worker while its zygote is kept from telling of it."""
        mothers = notes.of('import')
        return workers(master) - set(mothers) if mothers and mothers[0] in workers(master) else None
    orphan, = wait_for(unknown, 20, 'a birth')
    os.kill(notes.of('import')[0], signal.SIGKILL)
    wait_for(lambda: proc_stat(orphan) is None, 10, 'the end of the worker that nobody knows')
    with world.connect(address) as conn:
        assert conn.request(cgi_params()).text.split()[0] == 'one'
    wait_for(lambda: len(notes.of('import')) == 2, 10, 'another zygote')
    wait_for(lambda: len(workers(master)) == 2, 10, 'the zygote and a worker')
    assert 'worker' not in master.logged
    master.signal(signal.SIGTERM)
    assert master.wait(20) == 0


def test_code_broken_behind_the_zygote(preload):
    """P3: the successor of a zygote that died cannot load the code on disk: tried again at growing intervals, while the
    workers go on; once it is mended, the next worker has it."""
    server = preload(PRELOADED % 'one', '--processes', '2', '--reload', 'off')
    server.expect_log(r'zygote \d+ was killed by signal 9')
    server.expect_log(r'worker \d+ was killed by signal 9')
    server.expect_log(r'the application does not load \(see above\); the workers that are left go on')
    server.allow_log('SyntaxError|could not be loaded')
    settle(server, 2)
    of_each(server, 2)      # a worker that answers is one that the master knows of
    others = workers(server) - {zygote(server)}
    rewrite(server, 'def application(:\n')
    os.kill(zygote(server), signal.SIGKILL)
    server.wait_log('workers that are left go on', 10)
    start = time.monotonic()
    wait_for(lambda: time.monotonic() - start > 3, 10, 'three seconds')
    assert 2 <= server.logged.count('workers that are left go on') <= 8
    assert others <= workers(server) and {version for version, _ in of_each(server, 2)} == {'one'}
    kill(server, others.pop())
    rewrite(server, mended('mended'))
    wait_for(lambda: {version for version, _ in of_each(server, 2)} == {'one', 'mended'}, 30, 'a worker with new code')
    settle(server, 2)


def test_death_of_the_master(two):
    """P3: zygote and workers without a master would be nobody's: they end, too."""
    two.process.exit_codes = {-signal.SIGKILL}
    two.check_fds = False
    pids = workers(two)
    assert len(pids) == 3
    two.process.signal(signal.SIGKILL)
    wait_for(lambda: all((proc_stat(pid) or 'Z')[0] == 'Z' for pid in pids), 10, 'the end of all')


# --- the fork ------------------------------------------------------------------------------------------------------

def test_hooks(preload):
    """P17: functions of os.register_at_fork run: before and after in the zygote, and in each worker."""
    server = preload('''
        import os
        def note(word):
            with open(os.environ['NOTES'], 'a') as notes:
                print(word, os.getpid(), file=notes)
        note('import')
        os.register_at_fork(before=lambda: note('before'), after_in_parent=lambda: note('parent'),
                            after_in_child=lambda: note('child'))
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''', '--processes', '3')
    settle(server, 3)
    wait_for(lambda: len(server.notes.of('child')) == 3, 10, 'three workers')
    assert set(server.notes.of('child')) == workers(server) - {zygote(server)}
    assert server.notes.of('before') == server.notes.of('parent') == [zygote(server)] * 3


@pytest.mark.parametrize('threads', [1, 3])
def test_workers_are_whole(preload, threads):
    """P17, W13: in each worker numbers are other ones, the main thread is one, locks are free, logging works, and
    threads of requests go on; with several request threads, too."""
    server = preload('''
        import logging, os, random, threading
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        logging.basicConfig(level=logging.INFO)
        lock, here = threading.Lock(), set()
        def application(environ, start_response):
            environ['wsgi.input'].read()
            logging.info('in hand')
            done = threading.Event()
            thread = threading.Thread(target=done.set)
            thread.start()
            thread.join()
            with lock:
                here.add(threading.get_ident())
            assert done.is_set() and threading.main_thread().is_alive()
            assert THREADS > 1 or threading.main_thread().ident == threading.get_ident()
            assert environ['wsgi.multiprocess'] and environ['wsgi.multithread'] is (THREADS > 1)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%r %d %d' % (random.random(), os.getpid(), len(here))]
    '''.replace('THREADS', str(threads)), '--processes', '3', '--threads', str(threads))
    server.allow_log('^INFO:root:in hand')
    answers = of_each(server, 3, threads)
    assert len({number for number, _, _ in answers}) == 3 * threads, answers
    assert max(int(count) for _, _, count in answers) == threads, answers


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('options', [[], ['--processes', '2'], ['--processes', '2', '--preload']], ids=' '.join)
def test_children_of_every_thread(serve, threads, options):  # noqa: F811
    """P17, F33: a process that multiprocessing forks in a request ends with exit code 0 whichever thread runs the
    request, also where that thread has asked threading for its own object, as logging does."""
    server = serve('''
        import multiprocessing, os, threading
        context = multiprocessing.get_context('fork')
        def work(pipe):
            pipe.send([threading.current_thread() is threading.main_thread(), threading.current_thread().daemon])
        def application(environ, start_response):
            environ['wsgi.input'].read()
            threading.current_thread()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=work, args=(theirs,))
            process.start()
            process.join()
            assert process.exitcode == 0, process.exitcode
            assert ours.recv() == [True, False]
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d %d' % (process.exitcode, os.getpid())]
    ''', *options, '--threads', str(threads))
    answers = of_each(server, 2 if options else 1, threads)
    assert [code for code, _ in answers] == ['0'] * len(answers)


def test_text_is_written_once(preload, world):
    """P17: what waits in files and streams that were opened at import is written once, not by each worker as well."""
    path = world.new_path('text')
    server = preload(f'''
        import os, sys
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        text, data = open({str(path)!r}, 'w'), open({str(path) + '.b'!r}, 'wb')
        text.write('text')
        data.write(b'data')
        print('half a line', end='')
        def application(environ, start_response):
            environ['wsgi.input'].read()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x %d' % os.getpid()]
    ''', '--processes', '3')
    of_each(server, 3)
    assert server.stop(timeout=10) == 0
    assert path.read_text() == 'text' and pathlib.Path(f'{path}.b').read_bytes() == b'data'
    assert server.logged.count('half a line') == 1


@pytest.mark.skipif(SANITIZED, reason=THREADS_LEAK)
def test_threads_of_the_import(preload):
    """P17: threads that the application starts at import do not run in the workers; a warning names them."""
    server = preload('''
        import os, threading
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        threading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d' % threading.active_count()]
    ''', '--processes', '1')
    server.expect_log(r'warning: --preload: threads .* do not run in the workers \(start them at the first request, '
                      r'or leave out --preload\): poller$')
    assert server.request().body == b'1'


def test_signals_of_the_application(preload):
    """P17: handlers that the application sets at import are in force in the workers, those of ours as well."""
    server = preload('''
        import os, signal
        seen = []
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        signal.signal(signal.SIGUSR1, lambda *_: seen.append('mine'))
        def application(environ, start_response):
            os.kill(os.getpid(), signal.SIGUSR1)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d %s' % (os.getpid(), ''.join(seen).encode())]
    ''', '--processes', '1')
    server.expect_log(r'worker \d+ exited with code 0')
    pid, seen = server.request().text.split()
    assert seen == 'mine'
    os.kill(int(pid), signal.SIGTERM)
    wait_for(lambda: int(pid) not in workers(server), 10, 'the end of the worker')
    assert server.request().text.split()[0] != pid


def test_child_of_the_import(preload):
    """P17: a process that the application forks at import has none of our sockets, and default signals."""
    server = preload('''
        import os, re, signal
        def targets():
            for fd in os.listdir('/proc/self/fd'):
                try:
                    yield os.readlink('/proc/self/fd/' + fd)
                except OSError:
                    pass            # of the listing itself
        pid = os.fork()
        if pid == 0:
            status = open('/proc/self/status').read()
            caught = int(re.search('SigCgt:.*?([0-9a-f]+)', status)[1], 16)
            sockets = [t for t in targets() if t.startswith('socket:')]
            os._exit(1 if sockets else 2 if caught >> (signal.SIGTERM - 1) & 1 else 0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d' % code]
    ''', '--processes', '1')
    assert server.request().body == b'0'


def test_processes_of_the_import(preload):
    """P17: a process that multiprocessing starts at import is the zygote's: it outlives workers, and ends with it."""
    server = preload('''
        import multiprocessing, os, threading
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        helper = multiprocessing.get_context('fork').Process(target=threading.Event().wait, daemon=True)
        helper.start()
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'%d %d' % (helper.pid, os.getpid())]
    ''', '--processes', '2')
    server.expect_log(r'worker \d+ exited with code 0')
    helper, pid = (int(word) for word in answer(server))
    assert proc_stat(helper)[1] == zygote(server)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: pid not in workers(server), 5, 'the end of the worker')
    settle(server, 2)
    assert proc_stat(helper)[0] == 'S'
    assert server.stop(timeout=10) == 0
    assert proc_stat(helper) is None


def kinds(pid):
    """What the descriptors of a process are, without the numbers of sockets and pipes."""
    return sorted(re.sub(r'\d+', 'N', target) for target in open_fds(pid).values())


def test_descriptors(serve, preload):  # noqa: F811
    """P21: a worker has the same descriptors with --preload as without: none of the zygote's, none of the birth's."""
    off = '--reload', 'off'      # without the pipe for the names of imported files
    plain = serve(HELLO, '--processes', '1', *off)
    plain.request()
    worker, = workers(plain)
    expected = kinds(worker)
    server = preload(PRELOADED % 'one', '--processes', '1', *off)
    for _ in range(2):
        pid = answer(server)[1]
        assert [k for k in kinds(pid) if 'stderr' not in k] == [k for k in expected if 'stderr' not in k]
        mother = kinds(zygote(server))
        assert not [k for k in mother if k.startswith('pipe')], mother
        server.allow_log(r'worker \d+ was killed')
        kill(server, pid)
        settle(server, 1)


@plain
def test_births_leave_nothing(preload):
    """P21: after some 200 births the zygote has as many descriptors and as much memory as after 20, and no zombie."""
    server = preload(PRELOADED % 'one', '--processes', '2', '--max-requests', '10', '--reload', 'off')
    pids, sizes = set(), []
    for births in 20, 200:
        with Load(server) as load:
            wait_for(lambda: len(pids | {pid for _, pid in load.answers}) >= births, 50, f'{births} workers')
        assert not load.failures
        pids |= {pid for _, pid in load.answers}
        settle(server, 2)
        # The master knows of a worker before the zygote has closed the pipes of the birth.
        wait_for(lambda: not [k for k in kinds(zygote(server)) if k.startswith('pipe')], 5, 'the end of the last birth')
        sizes.append((kinds(zygote(server)), rss(zygote(server))))
    (fds, size), (fds_now, size_now) = sizes
    assert fds_now == fds and size_now < size + (1 << 20), sizes
    assert len(server.notes.of('import')) == 1


# --- the end -------------------------------------------------------------------------------------------------------

ATEXIT = '''
    import atexit, os
    def note(word):
        with open(os.environ['NOTES'], 'a') as notes:
            print(word, os.getpid(), file=notes)
    note('import')
    atexit.register(note, 'exit')
    def application(environ, start_response):
        environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'x %d' % os.getpid()]
'''


def test_functions_of_atexit(preload):
    """P4, P17: they run once in each process; in the zygote, which made what they undo, after its workers'."""
    server = preload(ATEXIT, '--processes', '3')
    server.allow_log('SIGHUP|new code')
    for _ in range(2):
        of_each(server, 3)
        settle(server, 3)
        pids, mother, known = workers(server), zygote(server), len(server.notes.of('exit'))
        if known == 0:
            server.process.signal(signal.SIGHUP)
            wait_for(lambda: not pids & workers(server), 20, 'new processes')
        else:
            assert server.stop(timeout=10) == 0
        ended = server.notes.of('exit')[known:]
        assert sorted(ended) == sorted(pids) and ended[-1] == mother


def seconds_to_stop(server):
    start = time.monotonic()
    assert server.stop(timeout=60) == 0
    return time.monotonic() - start


def test_stop_with_a_zygote_that_does_not_end(preload):
    """P4: --graceful-timeout is for all of a stop: a zygote in which a function of atexit hangs has what the workers
    have left of it, not as much again."""
    server = preload('''
        import atexit, os, time
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        zygote = os.getpid()
        atexit.register(lambda: os.getpid() == zygote and time.sleep(3600))
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/slow':
                os.write(2, b'begun\\n')
                time.sleep(3)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''', '--processes', '1', '--graceful-timeout', '4s')
    server.expect_log('left behind')
    settle(server, 1)
    exchange = server.start(path='/slow')
    exchange.finish_body()
    server.wait_log('begun', 20)
    assert seconds_to_stop(server) < 6 * SLOW and exchange.response().body == b'x'


def test_stop_with_a_zygote_that_is_stuck(preload, world):
    """P4: one that hangs in a fork, with a worker still unborn, is killed when --graceful-timeout has passed."""
    gate = world.new_path('gate')
    server = preload(f'''
        import os, time
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        def before():
            if os.path.exists({str(gate)!r}):
                os.write(2, b'stuck\\n')
                time.sleep(3600)
        os.register_at_fork(before=before)
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''', '--processes', '1', '--graceful-timeout', '1s')
    server.expect_log(r'error: zygote \d+ does not fork: killed')
    settle(server, 1)
    gate.touch()
    server.process.signal(signal.SIGTTIN)
    server.wait_log('stuck', 20)
    assert seconds_to_stop(server) < 10 * SLOW


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_stop(two, number):
    """P4: TERM and the others end workers and zygote, with exit code 0; nothing is left (which the fixture checks)."""
    pids = workers(two)
    assert two.stop(number) == 0
    wait_for(lambda: not any(proc_stat(pid) for pid in pids), 2, 'the end of all')


def test_signals_to_the_zygote(two):
    """P4: what a terminal or a supervisor sends to all processes is the master's to act upon."""
    for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN:
        os.kill(zygote(two), number)
    kill(two, answer(two)[1])
    two.expect_log(r'worker \d+ was killed by signal 9')
    settle(two, 2)
    assert len(two.notes.of('import')) == 1


def test_stop_while_loading(preload, world):
    """P4: a zygote that hangs in the import keeps nobody waiting."""
    gate = world.new_path('gate')
    os.mkfifo(gate)
    server = preload(f'''
        import os
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        open({str(gate)!r}).read()
    ''', '--processes', '2', ready=False)
    server.check_fds = False
    wait_for(lambda: server.notes.of('import'), 10, 'the import')
    assert server.stop(timeout=3) == 0


def test_term_under_load(two):
    """P4: whoever got a connection gets the whole answer; exit code 0."""
    with Load(two) as load:
        wait_for(lambda: len(load.answers) > 50, 10, 'load')
        two.process.signal(signal.SIGTERM)
        wait_for(lambda: not two.process.running(), 10, 'the end')
        load.ended.set()
    assert two.wait(10) == 0
    assert not [f for f in load.failures if 'complete=False' in f], load.failures[:3]


@pytest.mark.skipif(SANITIZED, reason=THREADS_LEAK)
def test_thread_that_never_ends(preload):
    """P4: a thread of the import that never ends holds the zygote up no longer than --graceful-timeout."""
    server = preload('''
        import os, threading
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        threading.Thread(target=threading.Event().wait, name='stuck').start()
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''', '--processes', '1', '--graceful-timeout', '500ms')
    server.allow_log(r'do not run in the workers \(.*\): stuck')
    server.expect_log('threads of the application have not ended: left behind')
    assert server.request().body == b'x'
    assert server.stop(timeout=5) == 0


# --- limits --------------------------------------------------------------------------------------------------------

def test_more_and_less(two):
    """TTIN and TTOU add and remove a worker."""
    two.process.signal(signal.SIGTTIN)
    settle(two, 3)
    two.process.signal(signal.SIGTTOU)
    settle(two, 2)
    assert len(two.notes.of('import')) == 1


def test_max_requests(preload):
    """P2: workers are replaced after so many requests, and none is lost; the zygote stays."""
    server = preload(PRELOADED % 'one', '--processes', '2', '--max-requests', '40', '--max-requests-jitter', '20')
    with Load(server) as load:
        wait_for(lambda: len({pid for _, pid in load.answers}) >= 20, 30, 'new workers')
    assert not load.failures, (len(load.answers), load.failures[:3])
    assert len(server.notes.of('import')) == 1


def test_max_memory(preload, serve):  # noqa: F811
    """P2: workers that have grown too large are replaced, and no request is lost."""
    server = preload(LEAKING, '--processes', '2', '--max-memory', some_memory(serve))
    with Load(server) as load:
        wait_for(lambda: len({pid for _, pid in load.answers}) >= 6, 40, 'new workers')
    assert not load.failures, (len(load.answers), load.failures[:3])


def test_request_timeout(preload):
    """A request that hangs is ended in the worker's main thread, after its stack is in the log; the worker goes on."""
    server = preload('''
        import os, threading
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', os.getpid(), file=notes)
        def hang():
            threading.Event().wait()
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/hang':
                hang()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x %d' % os.getpid()]
    ''', '--processes', '1', '--request-timeout', '500ms')
    allow(server)
    pid = answer(server)[1]
    assert server.request(path='/hang').status == 504
    assert server.log.matches(STACK + '.*hang') and answer(server)[1] == pid


# --- what it needs -------------------------------------------------------------------------------------------------

def test_needs_workers(run, world):
    """Without --processes there is nobody to share with: said at start, with what to do."""
    finished = run('--preload', '--bind', f'unix:{world.new_path("sock")}', world.write_app(HELLO))
    assert finished.code == 64 and finished.stdout == b''
    line, = finished.stderr.splitlines()
    assert '--preload' in line and '--processes N' in line


def test_needs_an_application(run, world):
    """Scripts that requests name cannot be loaded before them."""
    finished = run('--preload', '--processes', '2', '--scripts-in', world.tmp_path, '--bind',
                   f'unix:{world.new_path("sock")}')
    assert finished.code == 64 and finished.stdout == b''
    line, = finished.stderr.splitlines()
    assert '--preload' in line and 'APP' in line
