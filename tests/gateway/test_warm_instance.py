"""An instance of --keep-warm: the program on a socket that a CGI process has made, with a master. P28, P2, P3, P15.

Who starts it here is this file: a socket in a folder of mode 0700 on descriptor 0, a log on descriptor 2, and what the
options of a CGI process become in WSGI_CGI_OPTIONS.
"""

import array
import fcntl
import json
import os
import random
import re
import resource
import signal
import socket
import subprocess
import termios
import threading

import pytest

import fcgi
from fcgi import wait_for
from harness import FcgiServer, Log, Threads, cgi_params, freeze, listening_socket
from settings import BINARY
from test_elastic import watch
from test_starting import OTHER, as_root, identity

NAME = '0123456789abcdef-fedcba9876543210'
OPTIONS = '--log-file=- --errors-to=server --processes=0-4 --threads=1 --exit-idle=5m --reload=modules'
HELLO = '''
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'hello']
'''


# Notes each request that it gets. One with a body is there until the gate is open, and has not read it before.
NOTING = '''
    import os, time
    def application(environ, start_response):
        with open(os.environ['NOTES'], 'a') as notes:
            print(environ['PATH_INFO'], file=notes, flush=True)
        while environ['REQUEST_METHOD'] == 'POST' and not os.path.exists(os.environ['GATE']):
            time.sleep(0.005)
        body = environ['wsgi.input'].read()
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%d' % len(body)]
'''


def set_up(limits):
    """Nobody can end it before it can serve those who have connected. And what the web server's processes may use."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGQUIT})
    for which, values in limits.items():
        resource.setrlimit(which, values)


class Instance(FcgiServer):
    """One that runs. Its log is also found under another name, which it does not remove."""

    def __init__(self, world, folder, argv, options, env, backlog, limits):
        self.folder = folder
        self.socket, self.control, self.log_file = (folder / f'{NAME}{end}' for end in ('.sock', '.ctl', '.log'))
        env = {'WSGI_CGI_WARM': '1', 'WSGI_CGI_OPTIONS': f'{OPTIONS} --control=unix:{self.control} {options}', **env}
        kept = world.new_path('kept', '.log')
        log = Log()
        log.files.append(kept)
        listener, address = listening_socket('unix', self.socket, backlog)
        fd = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.link(self.log_file, kept)
        try:
            process = world.spawn(*argv, env=env, stdin=listener, stdout=subprocess.DEVNULL, stderr=fd, log=log,
                                  preexec_fn=lambda: set_up(limits))
        finally:
            os.close(fd)
            listener.close()
        super().__init__(world, process, address)
        self.check_fds = False          # of the master: it serves nothing

    def status(self):
        with fcgi.Connection(str(self.control)) as conn:
            return json.loads(conn.request(self.params(path='/status', query='json&full')).body)

    def workers(self):
        return [p['pid'] for p in self.status()['processes']]

    def files(self):
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def warm(world):
    """warm(app, *words before it, options='...', limits={number: (soft, hard)}): an instance."""
    made = []

    def start(app, *words, options='', env=None, backlog=1024, limits={}):
        folder = world.new_path('warm')
        folder.mkdir(mode=0o700)
        argv = [*words, '--keep-warm', world.write_app(app)]
        made.append(Instance(world, folder, argv, options, env or {}, backlog, limits))
        return made[-1]
    yield start
    for instance in made:
        if instance.running():
            assert instance.stop(timeout=10) in instance.exit_codes


# --- the variable ---------------------------------------------------------------------------------------------------

ENVIRONMENT = '''
    import json, os, subprocess
    def application(environ, start_response):
        child = subprocess.run(['cat', '/proc/self/environ'], stdout=subprocess.PIPE).stdout
        words = [sorted(os.environ), [k for k in environ], [w.split('=')[0] for w in child.decode().split('\\0')]]
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [json.dumps(words).encode()]
'''


@pytest.mark.parametrize('mode', ['fastcgi', 'cgi'])
def test_the_variable_makes_it_one(warm, mode):
    """P28: whatever --mode says; and nobody else sees the variable."""
    instance = warm(ENVIRONMENT, f'--mode={mode}')
    ours, environ, child = instance.request().json
    assert 'WSGI_CGI_OPTIONS' in ours and 'WSGI_CGI_OPTIONS' in child
    assert not any('WSGI_CGI_WARM' in names for names in (ours, environ, child))


def explained(socket_fd, value, *options):
    env = {'PATH': os.environ['PATH'], 'WSGI_CGI_OPTIONS': OPTIONS, **({'WSGI_CGI_WARM': value} if value else {})}
    return subprocess.run([BINARY, '--explain', *options, 'app.py'], env=env, stdin=socket_fd, capture_output=True,
                          text=True)


def test_explain_says_so(world):
    """P28: the variable is the first reason for FastCGI, and needs a listening unix socket."""
    reason = 'because: WSGI_CGI_WARM: a CGI process with --keep-warm has started it'
    listener, _ = listening_socket('unix', world.new_path('sock'))
    tcp, _ = listening_socket('tcp')
    with listener, tcp:
        warm = explained(listener, '1', '--mode=cgi', '--keep-warm')
        assert warm.returncode == 0 and 'mode: fastcgi' in warm.stdout and reason in warm.stdout, warm
        for fd, value, why in ((listener, '', 'descriptor 0 is a listening'), (listener, '0', 'descriptor 0 is a listening'),
                               (tcp, '1', 'descriptor 0 is a listening'), (subprocess.DEVNULL, '1', 'no socket')):
            other = explained(fd, value)
            assert reason not in other.stdout and why in other.stdout, other


def test_keep_warm_is_for_cgi(world):
    """P28: a program that serves FastCGI takes the option, and does nothing with it; --relay has nothing to keep."""
    path = world.new_path('sock')
    server = FcgiServer(world, world.spawn('--bind', str(path), '--keep-warm', world.write_app(HELLO)), str(path))
    assert server.request().body == b'hello'
    finished = world.run('--relay', '/nowhere', '--keep-warm')
    assert finished.code == 64 and '--keep-warm: an instance serves APP, and --relay passes' in finished.stderr, finished


# --- the socket -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('requests', [0, 1])
def test_its_socket_goes(warm, requests):
    """P28, P2: as one of --bind, since nobody else removes it. The log names it as such."""
    instance = warm(HELLO)
    for _ in range(requests):
        assert instance.request().body == b'hello'
    instance.wait_log(f'started: .* socket unix:{instance.socket},')
    assert instance.stop() == 0
    assert not instance.socket.exists() and not instance.control.exists()


def test_another_socket_stays(warm):
    """P28: another instance of the same name may have replaced it."""
    instance = warm(HELLO)
    assert instance.request().body == b'hello'
    instance.socket.unlink()
    with listening_socket('unix', instance.socket)[0]:
        assert instance.stop() == 0
        assert instance.socket.exists()


def test_a_failed_start(warm):
    """P28: the socket goes, so that the next CGI process need not find out that nobody listens. The log stays."""
    instance = warm(HELLO, '--chdir=/does/not/exist')
    instance.process.exit_codes = {66}
    instance.expect_log('--chdir: /does/not/exist')
    assert instance.wait() == 66
    assert instance.files() == [instance.log_file.name]


# What was held at the start.
MASK = '''
    import signal, subprocess
    def application(environ, start_response):
        child = subprocess.run(['grep', 'SigBlk', '/proc/self/status'], stdout=subprocess.PIPE).stdout
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [repr(signal.pthread_sigmask(signal.SIG_BLOCK, [])).encode(), b' ', child]
'''


def test_signals_are_not_held_for_long(warm):
    """P28: neither in the application nor in its children."""
    assert warm(MASK).request().text.split() == ['set()', 'SigBlk:', '0' * 16]


def test_no_socket_in_children(warm):
    """P28, P10: descriptor 0 was the socket. A child that outlives the instance must not keep it open."""
    instance = warm('''
        import os, subprocess
        def application(environ, start_response):
            listed = subprocess.run(['ls', '-l', '/proc/self/fd'], stdout=subprocess.PIPE, close_fds=False).stdout
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [os.readlink('/proc/self/fd/0').encode(), b' ', listed]
    ''')
    text = instance.request().text
    assert text.startswith('/dev/null ') and 'socket:' not in text, text


# --- who may connect ------------------------------------------------------------------------------------------------

ASK = '''
import os, socket, sys
gid, uid, *paths = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
for path in paths:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(path)
    try:
        sock.sendall(bytes(range(8)))
        print(len(sock.recv(1000)))
    except ConnectionError:
        print(0)
'''


@as_root
def test_other_users_are_refused(warm):
    """P28, P15: even where the folder and the sockets let them: nothing of theirs is read. One line says so."""
    instance = warm(HELLO, '--socket-mode=0666')
    assert instance.request().body == b'hello'
    instance.folder.chmod(0o711)
    instance.folder.parent.chmod(0o711)
    instance.socket.chmod(0o666)
    uid, gid, _ = identity(OTHER)
    paths = [str(instance.socket)] * 3 + [str(instance.control)] * 2
    asked = subprocess.run(['/usr/bin/python3', '-c', ASK, str(gid), str(uid), *paths], capture_output=True, text=True)
    assert asked.stdout.split() == ['0'] * len(paths), asked
    line = f'a connection of user {uid} is refused: this instance of --keep-warm is for user {os.geteuid()}'
    # One of the worker, and one of the master, whose control socket it is.
    assert instance.logged.count(line) == 2, instance.logged
    assert instance.request().body == b'hello' and instance.status()['processes']


# --- a request that is taken back -----------------------------------------------------------------------------------

def unread(conn):
    """Whether the program has not read all that was sent."""
    number = array.array('i', [0])
    fcntl.ioctl(conn.sock, termios.TIOCOUTQ, number)            # SIOCOUTQ
    return number[0] > 0


class Gate:
    """An application whose requests with a body wait, and what has begun."""

    def __init__(self, world, warm, options=''):
        self.gate, self.notes = world.new_path('gate'), world.new_path('notes')
        self.instance = warm(NOTING, options=options, env={'GATE': str(self.gate), 'NOTES': str(self.notes)})

    def begun(self):
        return self.notes.read_text().split() if self.notes.exists() else []

    def whole(self, path, method='GET', size=0):
        """A request; of POST, as one of so many bytes."""
        if method == 'GET':
            return fcgi.request_bytes(self.instance.params(path=path))
        params = self.instance.params(method, path, content_length=99999)
        body = size - len(fcgi.request_bytes(params, b' '))
        params = self.instance.params(method, path, body=b'b' * (body + 1), content_length=f'{body + 1:05}')
        made = fcgi.request_bytes(params, b'b' * (body + 1))
        assert len(made) == size
        return made


ROOM = 64 << 10         # FCGI_RECEIVE_ROOM of src/transport/fcgi.h


@pytest.mark.parametrize('method', ['GET', 'POST'])
def test_what_was_taken_back_does_not_begin(world, warm, method):
    """P28: a request that waits for a worker, and whose sender ends its direction before anybody reads it."""
    gate = Gate(world, warm, '--processes=0-1 --log-level=debug')
    instance = gate.instance
    held = instance.start('POST', '/held', body=b'x')
    wait_for(lambda: gate.begun() == ['/held'], 20, 'the first request')
    waiting, back = instance.connect(), instance.connect()
    for conn, path in (waiting, '/waiting'), (back, '/back'):
        conn.half_duplex_send(gate.whole(path, method, ROOM))
    back.half_close()
    assert unread(waiting) and unread(back)
    gate.gate.touch()
    held.write(b'x')
    held.finish_body()
    assert held.response().body == b'1'
    back.wait_eof()
    assert waiting.response().status == 200
    refusal, = back.records
    assert (refusal.type, refusal.content[4]) == (fcgi.END_REQUEST, fcgi.OVERLOADED)
    assert gate.begun() == ['/held', '/waiting']
    assert 'a request was taken back before it began' in instance.logged


def test_others_may_end_their_direction(world, fcgi_unix):
    """F14: only an instance of --keep-warm takes that for an end: to others it says that no more will come."""
    server = fcgi_unix(HELLO)
    with fcgi.Connection(server.address) as conn:
        conn.send(fcgi.request_bytes(server.params()))
        conn.half_close()
        assert conn.response().body == b'hello'


def test_the_first_read_takes_a_whole_request(world, warm):
    """P28: one of FCGI_RECEIVE_ROOM bytes that was sent at once: nothing of it is left to be read when it begins."""
    gate = Gate(world, warm)
    with fcgi.Connection(gate.instance.address) as conn:
        conn.half_duplex_send(gate.whole('/whole', 'POST', ROOM))
        assert unread(conn)                 # before there is a worker
        wait_for(lambda: gate.begun() == ['/whole'], 20, 'the request')
        assert not unread(conn)
        gate.gate.touch()
        assert int(conn.response().body) > 60000


# --- the end: nobody who has connected is reset ---------------------------------------------------------------------

SLOW_LOAD = '''
    import os, time
    open(os.environ['LOADING'], 'w').close()
    while not os.path.exists(os.environ['LOAD']):
        time.sleep(0.005)
''' + HELLO


def connected(instance, count):
    """Connections with a request each."""
    conns = [instance.connect() for _ in range(count)]
    for conn in conns:
        conn.send(fcgi.request_bytes(instance.params()))
    return conns


@pytest.mark.parametrize('end', ['idle', 'TERM'])
def test_who_comes_as_it_ends(world, warm, end):
    """P28, P2: the master has not seen them yet, has no worker, and is told to end (or finds out that it is idle)."""
    instance = warm(HELLO, options='--processes=0-2 --log-level=debug' + (' --exit-idle=200ms' if end == 'idle' else ''))
    instance.wait_log('started: ')
    freeze(instance.pid)
    conns = connected(instance, 5)
    if end == 'idle':
        watch(0.3, lambda: True, 'the time of --exit-idle')
    else:
        instance.signal(signal.SIGTERM)
    instance.signal(signal.SIGCONT)
    for conn in conns:
        assert conn.response().body == b'hello'
    if end == 'TERM':
        assert instance.wait() == 0
        assert 'one more worker serves those who have connected' in instance.logged


def test_who_waits_while_the_first_worker_starts(world, warm):
    """P28, P2: it is told to end, and would do so at once if nobody waited."""
    loading, load = world.new_path('loading'), world.new_path('load')
    instance = warm(SLOW_LOAD, options='--processes=0-2 --log-level=debug', env={'LOADING': str(loading), 'LOAD': str(load)})
    conn = instance.connect()
    conn.send(fcgi.request_bytes(instance.params()))
    wait_for(loading.exists, 20, 'the load')
    instance.signal(signal.SIGTERM)
    wait_for(lambda: not instance.socket.exists(), 5, 'the stop')
    load.touch()
    assert conn.response().body == b'hello'
    assert instance.wait() == 0
    assert 'one more worker' not in instance.logged     # the one that had begun to load goes on


def test_nobody_can_serve_those_who_came(warm):
    """P28, P2: workers that die at their start are no reason to stay for ever, and the log says so."""
    instance = warm('import os; os._exit(3)\n', options='--processes=0-2')
    instance.expect_log('warning: clients that have connected are not served: workers die at their start')
    instance.wait_log('started: ')
    freeze(instance.pid)
    conn, = connected(instance, 1)
    instance.signal(signal.SIGTERM)
    instance.signal(signal.SIGCONT)
    conn.wait_eof()
    assert not conn.records and instance.wait() == 0


def test_a_stop_in_the_first_moment(warm):
    """P28, P2: before the program runs at all."""
    for delay in range(4):
        instance = warm(HELLO)
        conn = instance.connect()
        conn.send(fcgi.request_bytes(instance.params()))
        conn.silent(delay * 0.002)
        instance.signal(signal.SIGTERM)
        assert conn.response().body == b'hello'
        assert instance.wait() == 0


def test_a_stop_at_once_serves_nobody(warm):
    """P28, P2: SIGQUIT means now."""
    instance = warm(HELLO)
    instance.wait_log('started: ')
    freeze(instance.pid)
    conn, = connected(instance, 1)
    instance.signal(signal.SIGQUIT)
    instance.signal(signal.SIGCONT)
    conn.wait_eof()
    assert not conn.records and instance.wait() == 0


class Clients(Threads):
    """They connect all the time. Refused is no failure, and no socket is none; anything else after connect() is."""

    def __init__(self, paths, count, pause):
        self.paths, self.pause, self.served, self.lost, self.ended = paths, pause, 0, [], threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(count)]

    def ask(self, path, params):
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            sock.close()
            return False
        with fcgi.Connection(sock=sock) as conn:
            try:
                conn.send(fcgi.request_bytes(params))
                response = conn.response()
                assert response.body == b'hello' and response.complete
            except AssertionError as error:
                self.lost.append(f'{path}: {error} reset={conn.reset}')
        return True

    def run(self, number):
        chance, params = random.Random(number), cgi_params()
        while not self.ended.is_set():
            if self.ask(self.paths[-1], params):
                self.served += 1
                self.ended.wait(chance.random() * self.pause)


@pytest.mark.timeout(180)
@pytest.mark.parametrize('end', ['idle', 'TERM'])
def test_nobody_is_lost_as_instances_end(warm, end):
    """P28, P2: clients that come all the time, or about as seldom as --exit-idle, while instances end one by one."""
    rounds, paths = 12, []
    options = '--exit-idle=200ms --idle-timeout=50ms' if end == 'idle' else '--idle-timeout=50ms'
    instance = warm(HELLO, options=options)
    paths.append(str(instance.socket))
    with Clients(paths, 4, 1.2 if end == 'idle' else 0.1) as clients:
        for number in range(rounds):
            if end == 'TERM':
                served = clients.served
                wait_for(lambda: clients.served > served + number % 4, 20, 'requests')
                instance.signal(signal.SIGTERM)
            assert instance.wait(60) == 0
            instance = warm(HELLO, options=options)
            paths.append(str(instance.socket))
        wait_for(lambda: clients.served > rounds, 60, 'requests')
    assert not clients.lost, clients.lost


# --- its log --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('options', ['', '--log-file={}'], ids=['own', 'another'])
def test_nothing_is_left(world, warm, options):
    """P28: after an end without an error, neither socket nor log; also where --log-file is another file."""
    path = world.new_path('log')
    instance = warm(HELLO, options=options.format(path))
    assert instance.request().body == b'hello'
    assert instance.stop() == 0
    assert instance.files() == []
    assert options == '' or 'stopped: SIGTERM' in path.read_text()


def test_another_log_stays(warm):
    """P28: the next instance of the same name has made it."""
    instance = warm(HELLO)
    assert instance.request().body == b'hello'
    instance.log_file.unlink()
    instance.log_file.write_text('of another')
    assert instance.stop() == 0
    assert instance.log_file.read_text() == 'of another'


def test_the_log_stays_after_a_failure(warm):
    """P28: it says why."""
    instance = warm('import nosuchmodule\n', '--need-app', options='--processes=1')
    instance.process.exit_codes = {70}
    instance.expect_log('nosuchmodule|--need-app|worker .* exited with code 70')
    assert instance.wait(20) == 70
    assert instance.files() == [instance.log_file.name] and 'nosuchmodule' in instance.log_file.read_text()


def test_the_log_stays_small(warm):
    """P28: the last lines are kept, as whole lines."""
    instance = warm('''
        import os
        def write():
            for number in range(30000):
                os.write(2, b'line %07d of a worker that says very much here\\n' % number)
        def application(environ, start_response):
            write()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'hello']
    ''')
    assert instance.request().body == b'hello'
    assert os.stat(instance.log_file).st_size > 100000
    wait_for(lambda: os.stat(instance.log_file).st_size <= 1 << 20, 10, 'a small log')
    lines = instance.log_file.read_text().splitlines()
    assert lines[-1].startswith('line 0029999 ')
    assert 5000 < len(lines) < 20000 and all(line.startswith(('line 00', '20')) for line in lines)


# --- what belongs to a request --------------------------------------------------------------------------------------

TALKING = '''
    import os, sys, threading, time
    print('at import', file=sys.stderr)
    def application(environ, start_response):
        path = environ['PATH_INFO']
        print('in the request', file=sys.stderr)
        environ['wsgi.errors'].write('to the stream\\n')
        if path == '/thread':
            thread = threading.Thread(target=lambda: print('in a thread', file=sys.stderr))
            thread.start()
            thread.join()
        if path == '/raise':
            raise ValueError('of the request')
        while path == '/slow' and not os.path.exists(os.environ['GATE']):
            time.sleep(0.005)
        while path in ('/long', '/stuck'):
            try:
                time.sleep(0.005)
            except BaseException:
                if path == '/long':
                    raise
        start_response('200 OK', [('Content-Type', 'text/plain')])
        if path == '/after':
            environ['wsgi_cgi.after_response'](lambda: print('after the response', file=sys.stderr))
        return [b'hello']
'''
ITS_OWN = ['in the request', 'to the stream']


def own_log(instance):
    """The lines of its log, which are not the web server's."""
    return instance.log_file.read_text()


@pytest.mark.parametrize('path, more', [('/', ''), ('/thread', 'output: in a thread'), ('/after', 'after the response'),
                                        ('/raise', '')])
def test_lines_of_a_request_go_to_the_web_server(warm, path, more):
    """P28: as in CGI; all that no request says goes to the log of the instance, and so does what comes after one."""
    instance = warm(TALKING)
    instance.allow_log('ValueError')
    response = instance.request(path=path)
    lines = response.stderr.decode().splitlines()
    assert lines[:2] == ITS_OWN
    assert ('ValueError: of the request' in lines[-1]) == (path == '/raise') == (len(lines) > 2)
    wait_for(lambda: more in own_log(instance), 5, 'the rest')
    log = own_log(instance)
    assert 'output: at import' in log and 'started: ' in log
    assert 'in the request' not in log and 'to the stream' not in log and 'ValueError' not in log


def test_code_that_does_not_load(warm):
    """P28: the traceback goes where somebody looks for it."""
    instance = warm('import nosuchmodule\n')
    instance.allow_log('nosuchmodule|serving error pages|LoadError')
    response = instance.request()
    assert response.status == 500 and b"ModuleNotFoundError: No module named 'nosuchmodule'" in response.stderr


@pytest.mark.parametrize('path, reason', [('/slow', '--slow'), ('/long', '--request-timeout'), ('/stuck', '--request-timeout')])
def test_what_the_watchdog_says(world, warm, path, reason):
    """P28: about a request, from another thread: the web server gets it as well, before the end of the response."""
    options = '--slow=100ms --graceful-timeout=1s' + ('' if path == '/slow' else ' --request-timeout=200ms')
    gate = world.new_path('gate')
    instance = warm(TALKING, options=options, env={'GATE': str(gate)})
    instance.allow_log('has run for|ended by --request-timeout|does not end by|worker .* does not leave|are cut off|'
                       'thread 1 of 1|  File|no thread is left|RequestTimeout|has to go')
    said = rf'\] (GET|POST) {path}: has run for 0\.\d+ s.*, longer than {reason}; stacks'
    if path == '/slow':
        exchange = instance.start('GET', path)
        exchange.finish_body()
        instance.wait_log(said)
        gate.touch()
        response = exchange.response()
        assert response.status == 200
    else:
        response = instance.request(path=path, timeout=20)
        assert response.status == 504
    text = response.stderr.decode()
    assert re.search(r'^wsgi-cgi\[\d+\]: warning: \[\w+' + said, text, re.MULTILINE), text
    assert re.search(r'app\.py", line \d+, in application$', text, re.MULTILINE), text
    assert ('does not end by --request-timeout' in text) == (path == '/stuck')
    assert re.search(said, own_log(instance))
