"""--keep-warm: a CGI process leaves an instance behind, and what may go wrong with it. P30 to P34.

test_warm_instance.py looks at the instance alone; all tests of `transport` run over cgi-warm, too.
"""

import itertools
import json
import os
import re
import resource
import signal
import socket
import subprocess
import threading
import time

import pytest

import harness
from apps import HELLO
from fcgi import wait_for
from harness import open_fds
from settings import BINARY, SANITIZED, SLOW, TSAN
from test_starting import as_root
from warm import COLD, Instances, WarmServer, WarmTransport, listener_of

# Notes what begins, by whom. GET /held and POST /held run until the gate is open.
NOTING = '''
    import json, os, time
    def application(environ, start_response):
        with open(os.environ['NOTES'], 'a') as notes:
            print(environ['REQUEST_METHOD'] + environ['PATH_INFO'], os.getpid(), file=notes, flush=True)
        body = environ['wsgi.input'].read()
        while environ['PATH_INFO'].startswith('/held') and not os.path.exists(os.environ['GATE']):
            time.sleep(0.005)
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps([os.getpid(), os.getppid(), len(body), body[-3:].decode()]).encode()]
'''
LOG_LINE = r'warning: (\[\S+\] )?--keep-warm: '


def cold_line(reason):
    """The log line of a request that the CGI process serves itself."""
    return f'{LOG_LINE}{reason}: {COLD}$'


BUSY_LINE = cold_line('all workers of the instance are busy')


class Gate:
    """A server of NOTING."""

    def __init__(self, world, *options, **popen):
        self.gate, self.notes = world.new_path('gate'), world.new_path('notes')
        self.server = WarmTransport(world).serve(NOTING, *options, env={'GATE': str(self.gate), 'NOTES': str(self.notes)}, **popen)

    def begun(self, what=''):
        """What has begun, in this order."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return [line.split()[0] for line in lines if not what or what in line.split()]

    def hold(self, method='GET', path='/held', body=b''):
        """A request that is inside the application."""
        exchange = self.server.start(method, path, body=body)
        exchange.write(body)
        exchange.finish_body()
        wait_for(lambda: self.begun(method + path), 20, f'{method} {path} in the application')
        return exchange

    def open(self):
        self.gate.touch()


@pytest.fixture
def warm(world):
    """warm(app, *options): a server whose requests an instance serves."""
    return WarmTransport(world).serve


@pytest.fixture
def gated(world):
    """gated(*options): a server of NOTING."""
    return lambda *options, **popen: Gate(world, *options, **popen)


def is_cold(response):
    return COLD in response.stderr.decode()


def age(server, seconds=10):
    """As if the instance had started so long ago. One that is killed right after its start is not started again at once."""
    for name in server.instances.files('.sock'):
        then = time.time() - seconds
        os.utime(server.instances.folder / name, (then, then))


# --- one instance ---------------------------------------------------------------------------------------------------

def test_many_first_requests(gated):
    """P30: 50 at once have one instance, and an answer each. Those that waited long for a worker may be served cold."""
    gate = gated()
    server = gate.server
    server.allow_log(BUSY_LINE)
    exchanges = [server.start(path=f'/{number}') for number in range(50)]
    for exchange in exchanges:
        exchange.finish_body()
    masters = set()
    for exchange in exchanges:
        response = exchange.response(30)
        assert response.status == 200
        if not is_cold(response):
            masters.add(response.json[1])
    assert masters == {server.instances.only().pid}
    assert sorted(gate.begun()) == sorted(f'GET/{number}' for number in range(50))     # and none of them twice


def test_options_and_scripts_have_their_own(world):
    """P30: another script, other options and another WSGI_CGI_OPTIONS are other instances."""
    server = WarmTransport(world).serve(NOTING, env={'NOTES': str(world.new_path('notes')), 'GATE': 'none'})
    first = server.request().json[1]
    argv, env = list(server.argv), dict(server.env)
    server.argv = [*argv[:1], '--threads', '2', *argv[1:]]
    second = server.request().json[1]
    server.argv, server.env = argv, {**env, 'WSGI_CGI_OPTIONS': '--limit-body=1M'}
    third = server.request().json[1]
    server.env = env
    assert len({first, second, third}) == 3 and server.request().json[1] == first
    assert {master.pid for master in server.instances.running()} == {first, second, third}


# --- the instance dies ----------------------------------------------------------------------------------------------

def kill_all(server):
    """As a host's watchdog does, which finds the workers, too."""
    master = server.instances.only()
    for pid in [master.pid, *master.workers()]:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: all(state[0] == 'Z' for state in master.members().values()), 5, 'end of the processes')
    server.log_is_whole = False
    return master


def test_instance_is_killed_in_a_request(gated):
    """P32: a GET is served by its CGI process, with one line; a POST with a body fails visibly, and is not begun again."""
    gate = gated()
    server = gate.server
    assert not is_cold(server.request())
    age(server)
    get, post = gate.hold('GET', '/held1'), gate.hold('POST', '/held2', b'body')
    kill_all(server)
    gate.open()
    server.expect_log(cold_line('the instance ended before it answered'))
    server.expect_log(r'error: (\[\S+\] )?--keep-warm: the instance: ')
    server.exit_codes = {0, 1}
    got, failed = get.response(), post.response()
    assert got.status == 200 and got.json[0] == get.pid and got.stderr.count(b'\n') == 1, got
    assert failed.status == 502 and failed.exit_code == 1 and failed.stderr.count(b'\n') == 1, failed
    assert sorted(gate.begun()) == ['GET/', 'GET/held1', 'GET/held1', 'POST/held2']
    assert not is_cold(server.request()) and len(server.instances.masters) == 2


def test_worker_is_killed_in_a_request(gated):
    """P32: the same, and the instance goes on."""
    gate = gated('--processes', '2')
    server = gate.server
    assert not is_cold(server.request())
    master = server.instances.only()
    get, post = gate.hold('GET', '/held1'), gate.hold('POST', '/held2', b'body')
    workers = [int(line.split()[1]) for line in gate.notes.read_text().splitlines() if '/held' in line]
    server.expect_log(cold_line('the instance ended before it answered'))
    server.expect_log(r'error: (\[\S+\] )?--keep-warm: the instance: ')
    server.allow_log(r'(worker|process) \d+ .*(SIGKILL|signal 9|killed)')
    server.exit_codes = {0, 1}
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    gate.open()
    got, failed = get.response(), post.response()
    assert got.status == 200 and got.json[0] == get.pid, got
    assert failed.status == 502 and failed.exit_code == 1, failed
    assert sorted(gate.begun()) == ['GET/', 'GET/held1', 'GET/held1', 'POST/held2']
    assert server.request().json[1] == master.pid


def test_killed_right_after_its_start(gated):
    """P32: a host that kills whatever stays behind must not make each request start another instance."""
    gate = gated()
    server = gate.server
    assert not is_cold(server.request())
    kill_all(server)
    server.expect_log(cold_line(r'the instance has ended right after its start \(.*\.log may say why\); it is started again in \d s'))
    for _ in range(3):
        response = server.request()
        assert response.status == 200 and is_cold(response) and response.stderr.count(b'\n') == 1
    assert len(server.instances.masters) == 1
    age(server)
    assert not is_cold(server.request()) and len(server.instances.masters) == 2


class Load(harness.Threads):
    """CGI processes one after the other, in several threads, as a web server starts them. With post, every second one has a body."""

    def __init__(self, server, threads=3, post=False):
        self.server, self.post, self.ended, self.numbers = server, post, threading.Event(), itertools.count()
        self.base = {os.fsencode(k): os.fsencode(v) for k, v in server.world.env(server.env).items()}
        self.answers = []
        self.threads = [threading.Thread(target=self.run) for _ in range(threads)]

    def run(self):
        while not self.ended.is_set():
            number = next(self.numbers)
            body = b'body' if self.post and number % 2 else b''
            variables = harness.cgi_params('POST' if body else 'GET', f'/{number}', body=body, script_filename=self.server.script)
            answer = subprocess.run(self.server.argv, cwd=self.server.cwd, env={**self.base, **dict(variables)}, input=body,
                                    capture_output=True, timeout=60 * SLOW)
            answer.is_post = bool(body)
            self.answers.append(answer)

    def more(self, count=1):
        """Wait until so many more have an answer."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) >= before + count, 60, 'answers')

    def failed(self):
        return [a for a in self.answers if a.returncode != 0 or not a.stdout.startswith(b'Status: 200 ')]


def test_killed_under_load(gated):
    """P32: the instance, and then one worker, again and again: each GET has its page, a POST that was inside fails visibly, no POST
    is begun twice, and each of them has at most one line in the log."""
    gate = gated('--processes', '0-2')
    server = gate.server
    server.allow_log(r'(worker|process) \d+ .*(SIGKILL|signal 9|killed)')
    with Load(server, post=True) as load:
        load.more(5)
        for turn in range(6):
            master = server.instances.only()
            age(server)
            if turn % 2:
                kill_all(server)
            else:
                for pid in list(master.workers())[:1]:
                    os.kill(pid, signal.SIGKILL)
            load.more(10)
    for answer in load.failed():
        assert answer.is_post and answer.returncode == 1 and answer.stdout.startswith(b'Status: 502 '), answer
        assert len(answer.stderr.splitlines()) == 1, answer
    posts = [what for what in gate.begun() if what.startswith('POST')]
    assert len(posts) > 10 and len(posts) == len(set(posts))
    lines = [a.stderr.decode().rstrip('\n') for a in load.answers if a.stderr and a not in load.failed()]
    assert all(re.search(LOG_LINE + f'.*: {COLD}$', line) and '\n' not in line for line in lines), lines
    assert len(lines) + len(load.failed()) < len(load.answers) // 2


# --- new code -------------------------------------------------------------------------------------------------------

def versions(number):
    return f'''
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'version %06d %d' % ({number:07}, os.getppid())]
'''.replace(f'{number:07}', f'{number:>7}')


def version(text):
    return int(text.split()[1])


def replace(path, text):
    """As an editor does that writes another file. The time of the file is another one, as between any two edits of people."""
    before = os.stat(path).st_mtime_ns
    other = f'{path}.new'

    def write():
        with open(other, 'w') as file:
            file.write(text)
        return os.stat(other).st_mtime_ns != before
    wait_for(write, 5, 'another time')
    os.rename(other, path)


def overwrite(path, text):
    """In place, and of the same size."""
    before = os.stat(path).st_mtime_ns

    def write():
        with open(path, 'r+b') as file:
            os.pwrite(file.fileno(), text.encode(), 0)
        return os.stat(path).st_mtime_ns != before
    assert os.stat(path).st_size == len(text)
    wait_for(write, 5, 'another time')


@pytest.mark.parametrize('edit', [replace, overwrite])
def test_script_is_edited_under_load(warm, edit):
    """P31: no request fails, the next request after an edit has the new code, and the old instances end. On a busy machine some
    wait so long for a worker that they are served cold."""
    server = warm(versions(0))
    server.warm_requests = False
    server.allow_log(BUSY_LINE)
    with Load(server) as load:
        load.more(3)
        for number in range(1, 16):
            edit(server.script, versions(number))
            response = server.request()
            assert version(response.text) == number, response
            load.more()
    assert not load.failed(), load.failed()
    lines = [line for a in load.answers for line in a.stderr.decode().splitlines()]
    assert all(re.search(BUSY_LINE, line) for line in lines) and len(lines) < len(load.answers) // 2, lines
    server.log_is_whole = False         # of some the log has gone before the test has seen them
    wait_for(lambda: len(server.instances.running()) == 1, 10, 'end of the old instances')
    wait_for(lambda: len(server.instances.files()) == 3, 5, 'end of their files')


def test_touched_restart_txt(warm, tmp_path):
    """P31: tmp/restart.txt, as Passenger has it."""
    server = warm(versions(0))
    server.warm_requests = False
    first = server.request().text
    assert server.request().text == first
    (tmp_path / 'tmp').mkdir()
    (tmp_path / 'tmp/restart.txt').touch()
    second = server.request().text
    assert second != first and server.request().text == second
    wait_for(lambda: len(server.instances.running()) == 1, 10, 'end of the old instance')
    replace(tmp_path / 'tmp/restart.txt', '')
    assert server.request().text != second


def test_changed_module(warm, tmp_path):
    """P31: the instance sees it within some seconds, and loses no request."""
    module = tmp_path / 'changing.py'
    module.write_text('value = b"old"\n')
    server = warm('''
        import changing
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [changing.value]
    ''')
    assert server.request().body == b'old'
    master = server.instances.only()
    replace(module, 'value = b"newer"\n')
    wait_for(lambda: server.request().body == b'newer', 10, 'the new module')
    assert server.instances.only() == master


EDITS = int(os.environ.get('WSGI_CGI_TEST_EDITS', '100'))
EDIT_SECONDS = 10 if EDITS <= 100 else EDITS


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_many_edits(warm):
    """P31, P33: an instance for each; in the end one is left, with its three files. As many edits as 10 s allow."""
    server = warm(versions(0))
    server.warm_requests = False
    end, number = time.monotonic() + EDIT_SECONDS, 0
    env = {os.fsencode(k): os.fsencode(v) for k, v in server.world.env(server.env).items()}
    env.update(harness.cgi_params(script_filename=server.script))
    masters, session = set(), os.getsid(0)
    while number < EDITS and time.monotonic() < end:
        number += 1
        replace(server.script, versions(number))
        got = subprocess.run(server.argv, cwd=server.cwd, env=env, capture_output=True, timeout=60 * SLOW, stdin=subprocess.DEVNULL)
        assert (got.returncode, got.stderr) == (0, b''), got
        words = got.stdout.split()[-3:]
        assert words[0] == b'version' and int(words[1]) == number
        masters.add(int(words[2]))
    print(f'{number} edits in {EDIT_SECONDS - (end - time.monotonic()):.0f} s')
    assert number >= min(EDITS, 10) and len(masters) == number and session not in masters
    last = int(words[2])
    wait_for(lambda: not [pid for pid in masters - {last} if (harness.proc_stat(pid) or 'Z')[0] != 'Z'], 20, 'end of the old instances')
    wait_for(lambda: len(server.instances.files()) == 3, 5, 'end of their files')
    assert server.instances.only().pid == last
    server.log_is_whole = False         # only that of the last one is known


# --- the end --------------------------------------------------------------------------------------------------------

def test_idle_instance_ends(warm):
    """P33: processes, sockets and files have gone. The next request starts another one."""
    server = warm(HELLO, '--exit-idle', '300ms')
    server.warm_requests = False
    for _ in range(2):
        assert server.request().body == b'hello'
        for master in server.instances.masters.values():
            master.wait(20)
        server.instances.check_end()
    assert len(server.instances.masters) == 2


# --- what an instance has of the CGI process ------------------------------------------------------------------------

WHAT_IT_HAS = '''
    import json, os, resource, signal
    def application(environ, start_response):
        umask = os.umask(0)
        os.umask(umask)
        shown = {'environ': {k: v for k, v in environ.items() if type(v) is str}, 'os': dict(os.environ), 'session': os.getsid(0),
                 'cwd': os.getcwd(), 'umask': umask, 'files': resource.getrlimit(resource.RLIMIT_NOFILE),
                 'core': resource.getrlimit(resource.RLIMIT_CORE), 'nice': os.nice(0), 'pid': os.getpid(), 'group': os.getpgid(0),
                 'ignored': [int(n) for n in signal.Signals if signal.getsignal(n) == signal.SIG_IGN],
                 'blocked': [int(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])]}
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(shown).encode()]
'''
# RFC 3875, 4.1, what Apache adds, and mod_ssl, mod_rewrite, mod_unique_id; of clients.
OF_REQUESTS = '''AUTH_TYPE CONTENT_LENGTH CONTENT_TYPE GATEWAY_INTERFACE PATH_INFO PATH_TRANSLATED QUERY_STRING REMOTE_ADDR REMOTE_HOST
    REMOTE_IDENT REMOTE_USER REMOTE_PORT REQUEST_METHOD REQUEST_URI REQUEST_SCHEME SCRIPT_NAME SCRIPT_FILENAME SCRIPT_URI SCRIPT_URL
    SERVER_NAME SERVER_PORT SERVER_PROTOCOL SERVER_SOFTWARE SERVER_SIGNATURE SERVER_ADDR SERVER_ADMIN DOCUMENT_ROOT CONTEXT_PREFIX
    CONTEXT_DOCUMENT_ROOT HTTPS SSL_PROTOCOL SSL_CLIENT_S_DN SSL_TLS_SNI REDIRECT_STATUS REDIRECT_URL REDIRECT_REMOTE_USER UNIQUE_ID
    HTTP_COOKIE HTTP_AUTHORIZATION HTTP_PROXY HTTP_X_SECRET AUTHORIZATION'''.split()


def test_environment(warm):
    """P33: what the administrator has set is there, and no variable of any request; environ is that of the request."""
    server = warm(WHAT_IT_HAS, env={'ADMIN_SETTING': 'kept', 'LANG': 'C.UTF-8'})
    secrets = {name: f'secret-{name}' for name in OF_REQUESTS if name not in ('CONTENT_LENGTH', 'REQUEST_METHOD', 'SERVER_PORT',
                                                                              'SERVER_PROTOCOL', 'SCRIPT_FILENAME', 'REQUEST_URI')}
    secrets.update(SCRIPT_NAME='/secret-script', PATH_INFO='/secret-path', HTTPS='on')
    first = server.request(params=secrets).json
    assert first['environ']['HTTP_COOKIE'] == 'secret-HTTP_COOKIE' and first['environ']['SSL_PROTOCOL'] == 'secret-SSL_PROTOCOL'
    second = server.request(headers={'X-Second': 'yes'}).json
    assert second['pid'] == first['pid'] and second['environ']['HTTP_X_SECOND'] == 'yes'
    assert not [k for k, v in second['environ'].items() if 'secret' in v]
    for shown in first, second:
        assert not [k for k, v in shown['os'].items() if k in OF_REQUESTS or k.startswith('HTTP_') or 'secret' in v], shown['os']
        assert shown['os']['ADMIN_SETTING'] == 'kept' and shown['os']['LANG'] == 'C.UTF-8'
        assert shown['environ']['ADMIN_SETTING'] == 'kept'
    for pid in server.instances.only().members():
        with open(f'/proc/{pid}/environ', 'rb') as environ:
            assert b'secret' not in environ.read()


def limit_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(1)


def test_process_is_that_of_cgi(world, warm):
    """P33: folder, umask, limits and priority are those that a CGI process has, and so are its signals."""
    popen = {'umask': 0o027, 'preexec_fn': limit_files}
    cold = harness.Transport(world, 'cgi').serve(WHAT_IT_HAS, **popen).request().json
    shown = warm(WHAT_IT_HAS, **popen).request().json
    for name in 'cwd', 'umask', 'files', 'core', 'nice', 'blocked':
        assert shown[name] == cold[name], name
    # by an instance itself, even if its starter ignored them, as below nohup
    handled = {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
    assert set(shown['ignored']) == set(cold['ignored']) - handled
    assert cold['files'] == [200, 300] and cold['umask'] == 0o027


def test_session_and_descriptors(warm):
    """P33: the instance belongs to nothing of the web server's: its session, its group, its pipes."""
    server = warm(WHAT_IT_HAS)
    exchange = server.start()
    theirs = {target for target in open_fds(os.getpid()).values() if target.startswith('pipe:')}
    assert len(theirs) >= 3
    exchange.finish_body()
    shown = exchange.response().json            # its stdout and stderr have ended, while the instance runs
    master = server.instances.only()
    assert shown['session'] == master.session and shown['session'] not in (exchange.pid, os.getsid(0))
    assert shown['group'] not in (exchange.pid, os.getpgid(0))
    for pid in master.members():
        targets = open_fds(pid)
        assert not theirs & set(targets.values()), targets
        assert all(targets[fd] == '/dev/null' or targets[fd].endswith('.log') for fd in range(3)), targets
        assert not [t for t in targets.values() if str(server.script) in t or t.startswith('/dev/pts')], targets


def test_signal_to_the_cgi_process(gated):
    """P33: a web server ends the group of a CGI process, as after a timeout. Only that request ends."""
    gate = gated()
    server = gate.server
    first = server.request().json[1]
    server.exit_codes = {-signal.SIGTERM}
    server.settles = False              # the application goes on
    held = gate.hold()
    os.killpg(held.pid, signal.SIGTERM)
    assert held.response().exit_code == -signal.SIGTERM
    gate.open()
    server.exit_codes = {0}
    response = server.request()
    assert response.json[1] == first and not is_cold(response)


# --- all workers are busy -------------------------------------------------------------------------------------------

def finished(gate, what):
    """After the gate is open, and another request was served: nothing has waited in the instance's queue for so long."""
    gate.open()
    response = gate.server.request(path='/last')
    assert not is_cold(response)
    return gate.begun(what)


@pytest.mark.parametrize('method, body', [('GET', b''), ('POST', b'x' * 999 + b'end')], ids=['GET', 'POST'])
def test_all_workers_are_busy(gated, method, body):
    """P32: what waits in vain for 250 ms is served by its CGI process, which has the whole body, and the instance never
    begins it."""
    gate = gated('--processes', '1')
    server = gate.server
    held = gate.hold()
    server.expect_log(BUSY_LINE)
    began = time.monotonic()
    exchange = server.start(method, '/second', body=body, early=body)
    exchange.finish_body()
    response = exchange.response()
    assert time.monotonic() - began >= 0.25
    assert response.json[0] == exchange.pid and response.json[2:] == [len(body), body[-3:].decode()]
    assert response.stderr.count(b'\n') == 1
    assert finished(gate, f'{method}/second') == [f'{method}/second']
    assert held.response().status == 200


def test_large_body(gated):
    """P32: of a request that the socket cannot take as a whole, the end of the head is held back until somebody reads
    it: its CGI process serves it, once, and has the whole body."""
    gate = gated('--processes', '1')
    server = gate.server
    held = gate.hold()
    server.expect_log(BUSY_LINE)
    body = b'x' * 4_000_000 + b'end'
    exchange = server.start('POST', '/second', body=body)
    writer = threading.Thread(target=lambda: (exchange.write(body, 30), exchange.finish_body()))
    writer.start()
    response = exchange.response()
    writer.join()
    assert response.json[0] == exchange.pid and response.json[2:] == [len(body), 'end']
    assert finished(gate, 'POST/second') == ['POST/second']
    assert held.response().status == 200


@pytest.mark.parametrize('method, body', [('GET', b''), ('POST', b'x' * 999 + b'end')], ids=['GET', 'POST'])
def test_frozen_instance(gated, method, body):
    """P32: as a host's freezer leaves it. What nobody has read is served here, and never begins there."""
    gate = gated()
    server = gate.server
    assert not is_cold(server.request())
    pids = list(server.instances.only().members())
    server.expect_log(BUSY_LINE)
    server.settles = False
    harness.freeze(*pids)
    try:
        exchange = server.start(method, '/second', body=body, early=body)
        exchange.finish_body()
        response = exchange.response()
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    server.settles = True
    assert response.json[0] == exchange.pid and response.json[2:] == [len(body), body[-3:].decode()]
    assert finished(gate, f'{method}/second') == [f'{method}/second']


# --- no instance can be had -----------------------------------------------------------------------------------------

class OfUser:
    """A server whose CGI processes run as a user of its own, with TMPDIR; /tmp/wsgi-cgi-UID cannot be used."""

    def __init__(self, world, app, uid, tmpdir, before=(), after=(), options=()):
        self.uid, self.blocked = uid, f'/tmp/wsgi-cgi-{uid}'
        world.run_dir.chmod(0o755)
        script = world.new_path('app', '.py')
        script.write_text(app)
        script.chmod(0o755)
        server = self.server = WarmServer(world, [BINARY], {'TMPDIR': str(tmpdir), 'XDG_RUNTIME_DIR': None, 'HOME': '/',
                                                            'PYTHONDONTWRITEBYTECODE': '1'}, world.run_dir, str(script), {})
        server.argv = [*before, 'setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups', *after,
                       str(world.public_binary()), '--keep-warm', *options, str(script)]
        server.instances = Instances(world, server.log, tmpdir)
        server.instances.folder = tmpdir / f'wsgi-cgi-{uid}'
        os.mkdir(self.blocked, 0o755)           # root's

    def close(self):
        os.rmdir(self.blocked)


@pytest.fixture
def of_user(world):
    """of_user(app, uid, tmpdir, ...) -> OfUser"""
    made = []

    def make(*args, **keywords):
        made.append(OfUser(world, *args, **keywords))
        return made[-1]
    yield make
    for one in made:
        one.close()


def own_uid(number=0):
    """Of no user, and of no other test that runs now."""
    return 100_000 + os.getpid() % 100_000 * 2 + number


def folder_of(world, uid, mode=0o700):
    path = world.new_path('tmp')
    path.mkdir()
    os.chown(path, uid, uid)
    path.chmod(mode)
    return path


def wrong_mode(folder, uid):
    folder.mkdir(mode=0o755)
    os.chown(folder, uid, uid)
    return r'others may enter it: chmod 700, or remove it'


def wrong_owner(folder, uid):
    folder.mkdir(mode=0o700)
    os.chown(folder, uid + 1, uid + 1)
    return rf'it belongs to (uid )?{uid + 1}: remove it, or set TMPDIR to another folder'


def wrong_kind(folder, uid):
    other = folder.parent / 'other'
    other.mkdir(mode=0o700)
    os.chown(other, uid, uid)
    os.symlink(other, folder)
    return r'it is no folder: remove it'


def wrong_file(folder, uid):
    folder.touch(mode=0o600)
    os.chown(folder, uid, uid)
    return r'it is no folder: remove it'


def not_writable(folder, uid):
    folder.parent.chmod(0o500)
    return r'Permission denied'


def others_may_replace_it(folder, uid):
    folder.parent.chmod(0o777)
    return r'others may replace it: the folder above it needs the sticky bit'


def of_somebody_else(folder, uid):
    os.chown(folder.parent, uid + 1, uid + 1)
    folder.parent.chmod(0o1777)
    return rf'the folder above it belongs to (uid )?{uid + 1}: .*'


def serve_cold(server, reason):
    server.expect_log(cold_line(reason))
    server.log_is_whole = server.warm_requests = False
    response = server.request()
    assert (response.status, response.body, response.stderr.count(b'\n')) == (200, b'hello', 1), response
    assert not server.instances.running()


@as_root
@pytest.mark.parametrize('wrong', [wrong_mode, wrong_owner, wrong_kind, wrong_file, not_writable, others_may_replace_it,
                                   of_somebody_else])
def test_folder_that_cannot_be_used(world, of_user, wrong):
    """P32, P34: the request is served all the same, with one line that says why."""
    uid = own_uid()
    made = of_user(HELLO, uid, folder_of(world, uid))
    folder = made.server.instances.folder
    reason = wrong(folder, uid)
    before = sorted(folder.parent.rglob('*'))
    serve_cold(made.server, f'{folder}: {reason}')
    assert sorted(folder.parent.rglob('*')) == before


@as_root
@pytest.mark.parametrize('tmpdir, reason', [('/does/not/exist', r'/tmp/wsgi-cgi-\d+: it belongs to root: .*'),
                                            ('relative', r'/tmp/wsgi-cgi-\d+: it belongs to root: .*'),
                                            ('/' + 'x' * 90, 'the path of TMPDIR or XDG_RUNTIME_DIR is too long')])
def test_no_folder(world, of_user, tmpdir, reason):
    """P32: the same where TMPDIR leads nowhere."""
    uid = own_uid()
    made = of_user(HELLO, uid, folder_of(world, uid))
    made.server.env['TMPDIR'] = tmpdir
    serve_cold(made.server, reason)


def can_mount():
    return os.geteuid() == 0 and subprocess.run(['unshare', '-m', 'mount', '-t', 'tmpfs', 'x', '/mnt'], capture_output=True).returncode == 0


@as_root
@pytest.mark.skipif(not can_mount(), reason='nothing can be mounted here')
@pytest.mark.parametrize('inodes', [1, 2, 3])
def test_full_disk(world, of_user, inodes):
    """P32: there is no room for the folder, or the log in it, or the socket. (ThreadSanitizer has a file of its own in TMPDIR.)"""
    uid = own_uid()
    tmpdir = folder_of(world, uid)
    mount = f'mount -t tmpfs -o mode=0700,uid={uid},gid={uid},nr_inodes={inodes + TSAN} x {tmpdir} && exec "$@"'
    made = of_user(HELLO, uid, tmpdir, before=['unshare', '-m', 'sh', '-c', mount, 'sh'])
    serve_cold(made.server, {1: rf'{tmpdir}/wsgi-cgi-{uid}', 2: 'its log', 3: 'its socket'}[inodes] + ': No space left on device')


@as_root
@pytest.mark.skipif(SANITIZED, reason='a sanitizer may need a thread of its own')
def test_no_more_processes(world, of_user):
    """P32: RLIMIT_NPROC, as hosts set it. Nothing is left in the folder."""
    uid = own_uid()
    made = of_user(HELLO, uid, folder_of(world, uid), before=['prlimit', '--nproc=1:1'])
    serve_cold(made.server, 'it cannot be started: Resource temporarily unavailable')
    assert not made.server.instances.files()


# --- other users ----------------------------------------------------------------------------------------------------

AS_OTHER = '''
import json, os, signal, socket, sys
uid, pid, *paths = sys.argv[1:]
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
def attempt(call, *args):
    try:
        call(*args)
        return 'done'
    except OSError as error:
        return type(error).__name__
print(json.dumps([attempt(socket.socket(socket.AF_UNIX).connect, path) for path in paths] +
                 [attempt(os.kill, int(pid), signal.SIGTERM), attempt(os.listdir, os.path.dirname(paths[0])),
                  attempt(os.rename, os.path.dirname(paths[0]), os.path.dirname(paths[0]) + '-old'),
                  attempt(os.unlink, paths[0])]))
'''


@as_root
def test_other_users_cannot_reach_it(world, of_user):
    """P34: in a folder for all, as /tmp: another user can neither connect nor end it, nor move or empty its folder."""
    uid = own_uid()
    made = of_user(HELLO, uid, folder_of(world, 0, 0o1777))
    server = made.server
    assert server.request().body == b'hello' and server.request().stderr == b''
    master, folder = server.instances.only(), server.instances.folder
    paths = [str(folder / name) for name in server.instances.files('.sock') + server.instances.files('.ctl')]
    assert len(paths) == 2 and os.stat(folder).st_mode & 0o777 == 0o700 and os.stat(folder).st_uid == uid
    asked = subprocess.run(['/usr/bin/python3', '-c', AS_OTHER, str(uid + 1), str(master.pid), *paths], capture_output=True, text=True)
    assert asked.returncode == 0, asked
    assert json.loads(asked.stdout) == ['PermissionError'] * 6, asked
    assert master.running() and server.request().body == b'hello' and server.instances.only() == master


@as_root
@pytest.mark.parametrize('how', ['folder', 'link', 'open folder'])
def test_other_users_cannot_capture_requests(world, of_user, how):
    """P34: another user has made the folder, with a socket that listens, before the first request."""
    uid = own_uid()
    tmpdir = folder_of(world, 0, 0o1777)
    mine = of_user(HELLO, uid, tmpdir)
    server, folder = mine.server, mine.server.instances.folder
    # The names in the folder are known to who can compute them: here, by asking for them.
    assert server.request().body == b'hello'
    names = server.instances.files('.sock')
    server.instances.end()
    server.instances.check_end()
    os.rmdir(folder)
    trap = folder if how != 'link' else tmpdir / 'trap'
    trap.mkdir(mode=0o700 if how == 'folder' else 0o777)
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        for name in names:
            listener.bind(str(trap / name))
        listener.listen()
        if how != 'folder':
            trap.chmod(0o777)
            (trap / names[0]).chmod(0o777)
        for path in [trap, trap / names[0]]:
            os.chown(path, uid + 1, uid + 1)
        if how == 'link':
            os.symlink(trap, folder)
            os.chown(folder, uid + 1, uid + 1, follow_symlinks=False)
        serve_cold(server, f'{folder}: (it belongs to .*|it is no folder: remove it)')
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    for name in names:
        (trap / name).unlink()


def test_another_user_listens(world, warm):
    """P34: even in the right folder: who listens has to be this user, or nothing of the request is sent."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    server = warm(HELLO)
    server.log_is_whole = server.warm_requests = False
    assert server.request().body == b'hello'
    name, = server.instances.files('.sock')
    server.instances.end()
    path = server.instances.folder / name
    server.instances.above.chmod(0o755)
    code = f'''
import os, socket
s = socket.socket(socket.AF_UNIX)
s.bind({str(path)!r})
os.setuid({own_uid()})
s.listen()
print('ready', flush=True)
s.settimeout({60 * SLOW})
while True:
    print(len(s.accept()[0].recv(1000)), flush=True)
'''
    other = subprocess.Popen(['/usr/bin/python3', '-c', code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == 'ready\n' and listener_of(path) == other.pid
        server.expect_log(cold_line('its socket: Operation not permitted'))
        response = server.request()
        assert response.body == b'hello' and is_cold(response)
        with socket.socket(socket.AF_UNIX) as mine:
            mine.connect(str(path))
            mine.sendall(b'mine!')
        said = list(iter(other.stdout.readline, '5\n'))
        assert len(said) > 1 and set(said) == {'0\n'}, said
    finally:
        other.kill()
        other.communicate()
    path.unlink()
