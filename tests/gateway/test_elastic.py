"""--processes MIN-MAX: as many workers as the requests need. P1, P2, P3, P4, P5, P8.

A client holds its request with a body that has not come yet: the thread that reads it is busy for as long as the test
wants. The time to each new worker is printed, with and without --preload: run pytest with -s.
"""

import collections
import json
import os
import re
import signal
import statistics
import threading
import time

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import Threads, cgi_params, rss
from settings import SLOW
from test_processes import Load, rewrite, serve, workers  # noqa: F401 (a fixture)
from test_starting import Systemd

# Says who answers. A request with a body is in the worker until all of the body has come; "crash" kills the worker.
HOLDING = '''
    import os
    version = %r
    with open(os.environ['NOTES'], 'a') as notes:
        print('import', os.getpid(), file=notes)
    def application(environ, start_response):
        environ['wsgi.input'].read()
        if environ['PATH_INFO'] == '/crash':
            os.kill(os.getpid(), 9)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [version.encode(), b' %%d' %% os.getpid()]
'''
QUICK = '200ms'         # --idle-timeout, where the test is not about it
MAX_REACHED = r'--processes: all threads of \d+ workers?, the most that there may be, are busy, and requests wait'


def watch(seconds, predicate, what):
    """It is true, and stays so for that long. Not scaled: it is a time to watch."""
    start = time.monotonic()
    wait_for(lambda: not predicate() or time.monotonic() - start > seconds, seconds + 5, what)
    assert predicate(), f'not for {seconds} s: {what}'


class Elastic:
    """A server with --processes MIN-MAX: who its workers are, as the control socket shows it."""

    def __init__(self, server, control, notes):
        self.server, self.control, self.notes = server, control, notes

    def status(self):
        with fcgi.Connection(self.control) as conn:
            return json.loads(conn.request(cgi_params(path='/status', query='json&full')).body)

    def pids(self, *states):
        """Of the workers in these states, or in any."""
        return [p['pid'] for p in self.status()['processes'] if not states or p['state'] in states]

    def wait_workers(self, count, timeout=20):
        """Exactly so many that serve, and none in another state."""
        wait_for(lambda: len(self.pids('ready')) == count == len(self.pids()), timeout,
                 f'{count} workers, of {[p["state"] for p in self.status()["processes"]]}')

    def wait_busy(self, count, timeout=20):
        """Exactly so many, and each has a request: of two that wait, one worker could take both, one after the other."""
        self.wait_workers(count, timeout)
        wait_for(lambda: self.status()['active processes'] == count, timeout, f'{count} busy workers')

    def imports(self):
        return len(self.notes.read_text().splitlines()) if self.notes.exists() else 0

    def hold(self, path='/'):
        """A request that keeps a thread until its body is finished."""
        return self.server.start('POST', path, body=b'x')

    def finish(self, *held):
        for exchange in held:
            exchange.write(b'x')
            exchange.finish_body()
        responses = [exchange.response(20) for exchange in held]
        assert all(r.status == 200 and r.complete for r in responses), responses
        return [int(r.text.split()[1]) for r in responses]


@pytest.fixture
def elastic(serve, world):  # noqa: F811
    """elastic('1-8', *options, app=source): an Elastic that has started."""
    def start(processes, *options, app=HOLDING % 'one', **keywords):
        notes, control = world.new_path('notes'), world.new_path('control')
        keywords['env'] = {'NOTES': str(notes), 'PYTHONDONTWRITEBYTECODE': '1', **keywords.get('env', {})}
        server = serve(app, '--processes', processes, '--control', str(control), '--status-path', '/status', *options,
                       **keywords)
        server.check_fds = False        # workers come and go
        return Elastic(server, str(control), notes)
    return start


class History(Threads):
    """How many workers there were, sampled all the time from the scoreboard: [(seconds, alive, serving)]."""

    def __init__(self, elastic):
        self.elastic, self.ended, self.samples = elastic, threading.Event(), []
        self.threads = [threading.Thread(target=self.run)]

    def run(self):
        start = time.monotonic()
        while not self.ended.is_set():
            states = [p['state'] for p in self.elastic.status()['processes']]
            sample = len(states), states.count('ready')
            if not self.samples or self.samples[-1][1:] != sample:
                self.samples.append((time.monotonic() - start, *sample))


PRELOAD = pytest.mark.parametrize('preload', [[], ['--preload']], ids=['each imports', 'preload'])


@PRELOAD
def test_workers_follow_the_load(elastic, preload):
    """P1, P2, P8: from 1 to 64 slow clients and back, the workers go from 1 to 8 and back: in steps, never more than
    8 of them, and every request is answered."""
    e = elastic('1-8', '--idle-timeout', QUICK, '--log-level', 'debug', *preload)
    e.server.expect_log(MAX_REACHED)
    e.server.expect_log(r'--processes: 8 workers are enough again, after \d+\.\d{3} s')
    e.server.allow_log('has been loading for 10 s|traceback.py')       # with a sanitizer, all of them at once
    e.wait_workers(1)
    with History(e) as history:
        held = [e.hold() for _ in range(64)]
        e.wait_busy(8)
        e.server.wait_log(MAX_REACHED)
        status = e.status()
        assert (status['min children'], status['max children']) == (1, 8)
        assert status['max children reached'] == 1 and status['process manager'] == 'dynamic'
        pids = e.finish(*held)
        e.wait_workers(1)
    assert len(set(pids)) == 8, collections.Counter(pids)
    assert max(alive for _, alive, _ in history.samples) == 8, history.samples
    steps = [int(n) for n in re.findall(r'requests wait: (\d+) more than \d+ workers', e.server.logged)]
    assert sum(steps) == 7 and steps[:2] == [1, 2] and max(steps) <= 4, steps
    assert e.status()['max children reached'] == 1
    e.server.wait_log('--processes: 8 workers are enough again')
    assert len(re.findall(MAX_REACHED, e.server.logged)) == 1
    print(f'\n1-8 workers{" with --preload" if preload else ""} (s: alive, ready):',
          ' '.join(f'{t:.2f}:{alive},{ready}' for t, alive, ready in history.samples))


@PRELOAD
def test_time_to_a_new_worker(elastic, preload):
    """P1: a request that waits gets a new worker at once: printed, with --preload it takes about 20 ms."""
    e = elastic('1-8', '--idle-timeout', '60s', *preload)
    e.wait_workers(1)
    times, held = [], []

    def is_full():
        state = e.status()
        return state['idle processes'] + state['starting processes'] == 0 and state['active processes'] == len(held)
    while len(held) < 7:
        held.append(e.hold())
        wait_for(lambda: e.status()['active processes'] == len(held), 10, 'the request that holds its worker')
        if not is_full():
            continue                    # on a slow machine two may have been started
        watch(0.3, is_full, 'a time without growth')        # after which one is started
        start = time.monotonic()
        assert e.server.request(timeout=20).status == 200
        times.append(1000 * (time.monotonic() - start))
    e.finish(*held)
    print(f'\nuntil the answer of a new worker{" with --preload" if preload else ""} (ms):',
          ' '.join(f'{ms:.1f}' for ms in times))
    if preload:
        assert statistics.median(times) < 200 * SLOW, times     # 9, on a machine that does nothing else


@pytest.mark.parametrize('kept', [False, True], ids=['new connections', 'kept connections'])
def test_nothing_is_lost_on_the_way_down(elastic, kept):
    """P2, P4: while idle workers end, again and again, quick requests come without a pause: none fails."""
    e = elastic('1-5', '--idle-timeout', '30ms')
    e.server.allow_log(MAX_REACHED)
    stopping, failures, answers = threading.Event(), [], []

    def ask():
        conn = None
        while not stopping.is_set():
            try:
                conn = conn or fcgi.Connection(e.server.address)
                response = conn.request(e.server.params(), keep=kept)
                assert response.status == 200 and response.complete, response
                answers.append(response.text)
                conn.forget()
            except (AssertionError, OSError) as error:
                failures.append(repr(error))
            if failures or not kept:
                conn.close()
                conn = None
        if conn:
            conn.close()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            before = len(answers)
            held = [e.hold() for _ in range(4)]
            # One that was just leaving may have taken one of them: it counts.
            wait_for(lambda: len(e.pids()) == 5 or failures, 20, 'five workers')
            e.finish(*held)
            wait_for(lambda: len(e.pids()) <= 3 or failures, 20, 'fewer workers')
            assert len(answers) > before and not failures, failures
    finally:
        stopping.set()
        for thread in threads:
            thread.join()
    assert not failures, failures
    e.wait_workers(1)


@pytest.mark.parametrize('end', ['request', 'stop'])
def test_a_request_that_comes_while_its_worker_leaves(elastic, end):
    """P2, P4: a worker that is idle and asked to leave gets a request at that moment, which runs for longer than
    --graceful-timeout: it is not cut off, unless the program is stopped."""
    e = elastic('1-2', '--idle-timeout', f'{1500 * SLOW:.0f}ms', '--graceful-timeout', f'{1500 * SLOW:.0f}ms')
    held = [e.hold(), e.hold()]
    e.wait_busy(2)
    victim, = e.finish(held.pop(0))
    head = fcgi.head(e.server.params('POST', body=b'x'))
    conn = e.server.connect()
    conn.send(head[:-20])               # the idle one has it, and does not call it a request yet
    wait_for(lambda: e.pids('draining') == [victim], 10, 'the end of the idle time')
    conn.send(head[-20:])
    wait_for(lambda: e.status()['active processes'] == 2, 10, 'its request')
    watch(1.5 * SLOW + 1, lambda: e.pids('draining') == [victim], 'the worker that leaves')
    if end == 'request':
        e.server.expect_log(MAX_REACHED)
        e.server.allow_log('--processes: 2 workers are enough again')
        held.append(e.hold())           # both are busy, and one that leaves is one of them
        e.server.wait_log(MAX_REACHED)
        conn.send(fcgi.stream(fcgi.STDIN, 1, b'x'))
        assert conn.response(timeout=20).text == f'one {victim}'
        e.finish(*held)
        e.wait_workers(1)
    else:
        e.server.expect_log('--graceful-timeout has passed: requests that still run are cut off')
        e.server.expect_log(r'POST /: cut off after [\d.]+ s in process')
        assert e.server.stop(timeout=10) == 0


def test_the_youngest_idle_worker_ends(elastic):
    """P1: the last ones are the oldest, so that what they have in memory is of use."""
    e = elastic('1-3', '--idle-timeout', QUICK)
    e.wait_workers(1)
    first, = e.pids()
    held = [e.hold(), e.hold(), e.hold()]
    e.wait_workers(3)
    e.finish(*held)
    e.wait_workers(1)
    assert e.pids() == [first]


def test_a_worker_that_serves_does_not_end(elastic):
    """P1, P4: neither a long request nor one now and then lets a worker be idle."""
    e = elastic('1-2', '--idle-timeout', QUICK)
    held = [e.hold(), e.hold()]
    e.wait_busy(2)
    pids = set(e.pids())
    watch(1, lambda: set(e.pids('ready')) == pids, 'the same workers')
    assert set(e.finish(*held)) == pids


@pytest.mark.parametrize('options', [[], ['--preload'], ['--need-app']], ids=['plain', 'preload', 'need-app'])
def test_none_while_nothing_comes(elastic, options):
    """P1, P3: with MIN 0 there is no worker; the first request starts one, and is answered; the next ones find it."""
    e = elastic('0-2', '--idle-timeout', QUICK, '--log-level', 'debug', *options)
    e.wait_workers(0)
    assert e.status()['process manager'] == 'ondemand' and e.status()['min children'] == 0
    sizes = {int(pid): rss(int(pid)) for pid in [e.server.pid, *workers(e.server)]}
    print(f'\nmemory while nothing comes {options}: {sum(sizes.values()) / 2**20:.1f} MiB in {len(sizes)} processes')
    before = e.imports()
    pids = {e.server.request(timeout=20).text for _ in range(3)}
    assert len(pids) == 1
    assert e.imports() - before == (0 if '--preload' in options else 1)
    e.wait_workers(0)
    held = [e.hold(), e.hold()]
    e.wait_busy(2)
    assert len(set(e.finish(*held))) == 2
    e.wait_workers(0)


def test_at_start_nothing_is_imported(elastic):
    """P1: with MIN 0 nothing is loaded before the first request; but --need-app and --preload want to see a load."""
    for options, imports in ((['--log-level', 'debug'], 0), (['--need-app'], 1), (['--preload'], 1)):
        e = elastic('0-2', *options, ready=False)
        wait_for(lambda: e.server.log.matches('started: '), 10, 'the start')
        wait_for(lambda: e.imports() == imports, 10, f'{imports} imports')
        assert len(e.pids()) <= 1
        assert e.server.stop(timeout=10) == 0
        assert e.imports() == imports


def test_the_last_worker_keeps_kept_connections(elastic):
    """P1, P2: with MIN 0 a connection that the web server keeps has a process that watches it; when it has ended, the
    worker ends too."""
    e = elastic('0-2', '--idle-timeout', QUICK)
    conn = e.server.connect()
    first = conn.request(e.server.params(), keep=True).text
    watch(1, lambda: len(e.pids('ready')) == 1, 'one worker')
    assert conn.request(e.server.params(), keep=True).text == first
    conn.close()
    e.wait_workers(0)


def test_kept_connections_move(elastic):
    """P2: those of a worker that ends go on in another one, without a word."""
    e = elastic('1-2', '--idle-timeout', QUICK, '--threads', '2')
    e.wait_workers(1)
    held = [e.hold(), e.hold(), e.hold()]
    e.wait_workers(2)
    kept = [e.server.connect() for _ in range(6)]
    answers = [conn.request(e.server.params(), keep=True).text for conn in kept]
    assert all(answers)
    e.finish(*held)
    e.wait_workers(1)
    assert {conn.request(e.server.params(), keep=True).text for conn in kept} == {f'one {e.pids()[0]}'}


def test_waiting_on_a_kept_connection_counts(elastic):
    """P1: a request that waits on a connection of a busy worker starts another one as well, which takes it."""
    e = elastic('1-2', '--idle-timeout', '60s')
    conn = e.server.connect()
    assert conn.request(e.server.params(), keep=True).status == 200
    held = e.hold()
    wait_for(lambda: e.status()['active processes'] == 1, 10, 'the request that holds the thread')
    pid, = e.pids()
    answer = conn.request(e.server.params(), keep=True, timeout=20).text
    assert answer.startswith('one ') and answer != f'one {pid}'
    e.finish(held)


def test_no_worker_more_for_nothing(elastic):
    """P1: requests that find a thread start none: one client after the other, and as many at once as threads."""
    e = elastic('1-4', '--threads', '3', '--log-level', 'debug')
    e.wait_workers(1)
    held = [e.hold() for _ in range(2)]
    for _ in range(200):
        assert e.server.request().status == 200
    e.finish(*held)
    assert e.status()['accepted conn'] >= 202 and len(e.pids()) == 1
    assert 'requests wait' not in e.server.logged_besides


def test_two_clients_two_workers(elastic):
    """P1: when the one who waits has got a worker, there is no other one."""
    e = elastic('1-8', '--idle-timeout', '60s')
    held = [e.hold(), e.hold()]
    e.wait_workers(2)
    watch(0.7, lambda: len(e.pids()) == 2, 'two workers')
    e.finish(*held)


def test_no_more_workers_than_clients(elastic):
    """P1: six clients get six workers, and not the eight that the steps of 1, 2 and 4 add up to."""
    e = elastic('1-16', '--idle-timeout', '60s')
    held = [e.hold() for _ in range(6)]
    e.wait_busy(6)
    watch(0.7, lambda: len(e.pids()) == 6, 'six workers')
    assert len(set(e.finish(*held))) == 6


# What is loaded after the first one waits for a file.
GATED = '''
    import os, time
    if os.path.exists(os.environ['NOTES']):
        while not os.path.exists(os.environ['GATE']):
            time.sleep(0.005)
''' + HOLDING % 'one'


@pytest.fixture
def gated(elastic, world):
    """elastic() with GATED, and how to open the gate."""
    gate = world.new_path('gate')
    return (lambda *args: elastic(*args, app=GATED, env={'GATE': str(gate)})), gate.touch


@pytest.mark.parametrize('least', [0, 1])
def test_who_serves_stays_while_another_one_loads(gated, least):
    """P1, P2: a worker that is idle does not end before one that is still loading has taken its place."""
    start, open_gate = gated
    e = start(f'{least}-2', '--idle-timeout', QUICK)
    held = [e.hold(), e.hold()]
    wait_for(lambda: sorted(p['state'] for p in e.status()['processes']) == ['ready', 'starting'], 20, 'one that loads')
    first, = e.pids('ready')
    assert e.finish(*held) == [first, first]
    watch(1, lambda: e.pids('ready') == [first], 'the one that serves')
    assert e.server.request().text == f'one {first}'
    open_gate()
    e.wait_workers(least)


def test_fewer_while_one_starts(gated):
    """P1: TTOU ends the worker that does not serve yet, not the one that does."""
    start, open_gate = gated
    e = start('1')
    e.wait_workers(1)
    first, = e.pids()
    e.server.signal(signal.SIGTTIN)
    wait_for(lambda: len(e.pids('starting')) == 1, 10, 'one that loads')
    e.server.signal(signal.SIGTTOU)
    wait_for(lambda: len(e.pids('ready', 'starting')) == 1, 10, 'one less')
    assert e.pids('ready') == [first]
    assert e.server.request().text == f'one {first}'
    open_gate()
    e.wait_workers(1)


def test_fewer_while_one_is_busy(elastic):
    """P1, P4: TTOU ends the worker that has no request, not the one whose request may take longer than
    --graceful-timeout."""
    e = elastic('2')
    e.wait_workers(2)
    first, second = e.pids()
    held = [e.hold(), e.hold()]
    e.wait_busy(2)
    if e.finish(held.pop(0)) == [first]:
        held.append(e.hold())           # so that the first one is busy, which would be found first
        e.wait_busy(2)
        assert e.finish(held.pop(0)) == [second]
    e.server.signal(signal.SIGTTOU)
    e.wait_workers(1)
    assert e.pids() == [first] == e.finish(*held)


def test_at_most_one(elastic):
    """P1, P8: requests that wait for the only worker there may be are seen: on the status page and in the log; and
    when TTIN allows another one, it is started for them."""
    e = elastic('0-1', '--idle-timeout', QUICK)
    e.server.expect_log(MAX_REACHED)
    e.server.allow_log('--processes: 2 workers are enough again')
    held = [e.hold(), e.hold()]
    e.server.wait_log(MAX_REACHED)
    assert e.status()['max children reached'] == 1
    e.server.signal(signal.SIGTTIN)
    e.wait_busy(2)
    assert len(set(e.finish(*held))) == 2
    e.wait_workers(0)


def test_signals(elastic):
    """P1: TTIN and TTOU change MAX, which is never less than MIN."""
    e = elastic('1-2', '--idle-timeout', QUICK)
    e.server.allow_log(MAX_REACHED)
    held = [e.hold() for _ in range(4)]
    e.wait_workers(2)
    e.server.signal(signal.SIGTTIN)
    e.wait_workers(3)
    assert e.status()['max children'] == 3
    for most in (2, 1, 1):
        e.server.signal(signal.SIGTTOU)
        wait_for(lambda: e.status()['max children'] == most, 5, f'MAX {most}')
    e.finish(*held)
    e.wait_workers(1)


def test_limits_of_a_fixed_number(serve, world):  # noqa: F811
    """P1, P8: --processes N is what it was: MIN and MAX are N, TTIN and TTOU change both."""
    control = world.new_path('control')
    server = serve(HELLO, '--processes', '2', '--control', str(control))
    e = Elastic(server, str(control), None)
    e.wait_workers(2)
    server.signal(signal.SIGTTIN)
    e.wait_workers(3)
    status = e.status()
    assert (status['min children'], status['max children'], status['process manager']) == (3, 3, 'static')
    assert (status['max children seconds'], status['max children reached']) == (0, 0)


@PRELOAD
def test_reload_keeps_the_number(elastic, preload):
    """P5: new code has as many workers as the old code had, and grows and shrinks like it."""
    e = elastic('1-4', '--idle-timeout', '60s', '--reload', 'off', *preload)
    e.server.allow_log('SIGHUP|new code')
    held = [e.hold() for _ in range(2)]
    e.wait_busy(2)
    old = set(e.pids())
    rewrite(e.server, 'import os\n' + '\n'.join(line[4:] for line in (HOLDING % 'two').splitlines()))
    e.server.signal(signal.SIGHUP)
    wait_for(lambda: len(set(e.pids('ready')) - old) == 2, 20, 'two new workers')
    assert set(e.finish(*held)) == old
    e.wait_workers(2)
    assert e.server.request().text.startswith('two ')
    held = [e.hold() for _ in range(4)]
    e.wait_workers(4)
    e.finish(*held)


@PRELOAD
def test_reload_while_nothing_comes(elastic, preload, world):
    """P5: with MIN 0 and no worker: the next request is served by the new code."""
    e = elastic('0-2', '--idle-timeout', QUICK, '--reload', 'off', *preload)
    e.server.allow_log('SIGHUP|new code')
    assert e.server.request().text.startswith('one ')
    e.wait_workers(0)
    rewrite(e.server, 'import os\n' + '\n'.join(line[4:] for line in (HOLDING % 'two').splitlines()))
    e.server.signal(signal.SIGHUP)
    e.server.wait_log('SIGHUP: (loading the new code|the next request loads the new code)')
    if preload:
        e.server.wait_log('the new code is loaded', 10)
    assert e.server.request(timeout=20).text.startswith('two ')
    e.wait_workers(0)


def test_broken_code_while_nothing_comes(elastic):
    """P5: with --preload the zygote of the old code goes on, as its workers would."""
    e = elastic('0-2', '--idle-timeout', QUICK, '--reload', 'off', '--preload')
    e.server.allow_log('SIGHUP|new code|SyntaxError|does not load')
    e.wait_workers(0)
    rewrite(e.server, 'def application(\n')
    e.server.signal(signal.SIGHUP)
    e.server.wait_log('the new code does not load', 10)
    assert e.server.request(timeout=20).text.startswith('one ')
    e.wait_workers(0)


@PRELOAD
def test_recycling(elastic, preload):
    """P2: --max-requests replaces workers as before, and the number stays."""
    e = elastic('1-3', '--idle-timeout', '60s', '--max-requests', '20', *preload)
    e.server.allow_log('max-requests|' + MAX_REACHED)
    held = [e.hold(), e.hold()]
    e.wait_workers(2)
    e.finish(*held)
    with Load(e.server, clients=2) as load:
        wait_for(lambda: len({pid for _, pid in load.answers}) >= 5 or load.failures, 30, 'five workers one after the other')
    assert not load.failures, load.failures
    wait_for(lambda: 2 <= len(e.pids('ready')) == len(e.pids()) <= 3, 10, 'two or three workers')


def test_death_of_the_last_worker(elastic):
    """P3: with MIN 0 it is not replaced before somebody needs it."""
    e = elastic('0-2', '--idle-timeout', '60s')
    e.server.expect_log(r'worker \d+ was killed by signal 9')
    held = e.hold('/crash')
    held.write(b'x')
    held.finish_body()
    wait_for(lambda: e.pids() == [], 10, 'no worker')
    imports = e.imports()
    watch(0.5, lambda: not e.pids(), 'no worker')
    assert e.imports() == imports
    assert e.server.request(timeout=20).status == 200


def test_death_of_one_of_them(elastic):
    """P3: others are replaced at once, as with a fixed number."""
    e = elastic('1-3', '--idle-timeout', '60s')
    e.server.expect_log(r'worker \d+ was killed by signal 9')
    held = [e.hold('/crash'), e.hold()]
    e.wait_workers(2)
    held[0].write(b'x')
    held[0].finish_body()
    e.server.wait_log('was killed by signal 9')
    e.wait_workers(2)
    e.finish(held[1])


@PRELOAD
def test_an_application_that_does_not_load(elastic, preload):
    """P3, P11: with MIN 0 requests get its error page, and each idle time costs one load, not a storm of them."""
    e = elastic('0-4', '--idle-timeout', QUICK, *preload, app='''
        import os
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', file=notes)
        raise ValueError('no good')
    ''')
    e.server.allow_log('ValueError|LoadError|error pages')
    statuses = [e.server.request(timeout=20).status for _ in range(20)]
    assert set(statuses) == {500}
    assert len(e.pids()) == 1
    e.wait_workers(0)
    assert e.imports() <= 3, e.imports()


def test_a_worker_that_dies_at_its_start(elastic, world):
    """P3: with MIN 0 and a client that waits, the tries come at growing intervals; without one there are none."""
    e = elastic('0-4', app='''
        import os
        with open(os.environ['NOTES'], 'a') as notes:
            print('import', file=notes)
        os._exit(3)
    ''', ready=False)
    e.server.allow_log(r'worker \d+ exited with code 3')
    wait_for(lambda: e.server.log.matches('started: '), 10, 'the start')
    conn = e.server.connect()
    conn.send(fcgi.request_bytes(e.server.params()))
    start = time.monotonic()
    wait_for(lambda: e.imports() >= 6, 30, 'six tries')
    assert time.monotonic() - start > 3         # 100, 200, 400, 800 and 1600 ms between them
    conn.close()


def test_need_app(elastic):
    """P3, P11: with MIN 0 --need-app loads the application at the start, and the service ends where that fails."""
    e = elastic('0-4', '--need-app', app="raise ValueError('no good')\n", ready=False)
    e.server.expect_log('ValueError: no good')
    e.server.expect_log(r'worker \d+ exited with code 70')
    e.server.expect_log('--need-app: the application does not load')
    e.server.process.exit_codes = {70}
    assert e.server.wait(20) == 70


@pytest.mark.parametrize('options', [[], ['--preload'], ['--need-app']], ids=['plain', 'preload', 'need-app'])
def test_systemd_hears_that_it_is_ready(elastic, world, options):
    """P1: with MIN 0 as well, without any request."""
    systemd = Systemd(world)
    with systemd.sock:
        e = elastic('0-2', *options, env=systemd.env, ready=False)
        _, fields = systemd.wait('READY')
        assert e.imports() == len(options)
        e.server.allow_log('SIGHUP|new code')
        e.server.signal(signal.SIGHUP)
        systemd.wait('RELOADING')
        systemd.wait('READY')
        assert e.server.stop(timeout=10) == 0


def test_idle_costs_nothing(elastic):
    """P23: a master without workers sleeps, even while a connection of its own waits for nothing."""
    e = elastic('0-2', '--idle-timeout', QUICK)
    assert e.server.request().status == 200
    e.wait_workers(0)

    def cpu():
        fields = open(f'/proc/{e.server.pid}/stat').read().rpartition(')')[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf('SC_CLK_TCK')
    before = cpu()
    watch(1.5, lambda: cpu() - before < 0.1, 'a master that sleeps')


def test_start_line(elastic):
    """P26: the line about the start has both numbers."""
    e = elastic('1-4', '--threads', '2')
    assert ', 1-4 processes x 2 threads, ' in e.server.logged


def test_status_in_all_formats(elastic):
    """P8: MIN and MAX, how often MAX was reached and for how long, as text, HTML, JSON and OpenMetrics."""
    e = elastic('1-2', '--idle-timeout', QUICK)
    e.server.expect_log(MAX_REACHED)
    held = [e.hold() for _ in range(3)]
    wait_for(lambda: e.status()['max children seconds'] >= 1, 10, 'a second with too few workers')
    pages = {}
    for query in ('text', 'html', 'openmetrics'):
        with fcgi.Connection(e.control) as conn:
            pages[query] = conn.request(cgi_params(path='/status', query=query)).text
    assert re.search(r'^min children: +1$', pages['text'], re.MULTILINE)
    assert re.search(r'^max children: +2$', pages['text'], re.MULTILINE)
    assert re.search(r'^max children reached: +1$', pages['text'], re.MULTILINE)
    assert re.search(r'^max children seconds: +[1-9]', pages['text'], re.MULTILINE)
    assert re.search(r'^wsgi_cgi_min_processes(\{.*\})? 1$', pages['openmetrics'], re.MULTILINE)
    assert re.search(r'^wsgi_cgi_max_processes(\{.*\})? 2$', pages['openmetrics'], re.MULTILINE)
    assert re.search(r'^wsgi_cgi_all_busy_total(\{.*\})? 1$', pages['openmetrics'], re.MULTILINE)
    assert re.search(r'^wsgi_cgi_all_busy_seconds_total(\{.*\})? [1-9]', pages['openmetrics'], re.MULTILINE)
    e.finish(*held)
