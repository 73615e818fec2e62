"""Starting wsgi-cgi, talking to it over any transport, and checking what it leaves behind.

A test normally gets one of the fixtures of conftest.py and never makes these objects itself:

    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'hello']
    ''', '--threads', '2')
    response = server.request('POST', '/x', query='a=1', headers={'X-A': '1'}, body=b'abc')
    assert response.status == 200 and response.body == b'hello'

See README.md one folder up for the rules that every server is checked against when its test ends.
"""

import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from urllib.parse import quote

import fcgi
from fcgi import Response, Timeout, wait_for
from settings import BINARY, ROOT, SANITIZED, SLOW

# Words that no line of any log may hold unless the test declared it.
SUSPECT = re.compile(r'error|warning|Traceback|Sanitizer|Fatal Python|assertion|smashing|core dumped', re.IGNORECASE)
# Reports that no test can declare: a bug in the program whatever the test is about.
FATAL = re.compile(r'Sanitizer|runtime error:|Fatal Python error|smashing detected')
PREFIX = re.compile(r'^wsgi-cgi(\[\d+\])?: (?:(?:error|warning|notice|info): )?')
# The lines that every service logs at its start and at its end: complete, or they are suspicious. After the prefix.
STARTED = (r'started: wsgi-cgi \d+\.\d+\.\d+, Python 3\.\d+\.[^,\s]+(?: free-threaded(?: \(GIL on\))?)?, (?P<app>.+), '
           r'sockets? (?P<sockets>\S.*), '
           r'as (?P<user>uid \d+|[\w.:$-]+), (?P<processes>(?:\d+-)?\d+) process(?:es)? x (?P<threads>\d+) threads?'
           r'(?P<preload> \(preload\))?, (?:no --mount|mount (?P<mount>/\S*))(?:, venv (?P<venv>.+?))?'
           r'(?:, control (?P<control>\S+))?')
STOPPED = (r'stopped: (?P<why>SIG[A-Z0-9+]+|an error|nothing has come for --exit-idle|the application does not load|'
           r'the master has used half of its time \(RLIMIT_CPU\)), '
           r'after (?P<lasted>\d+\.\d{3} s|(?:\d+ d )?\d+:\d\d:\d\d) and (?P<requests>\d+) requests?'
           r'(?P<reloaded> since the last reload)?')
# Between the two, where a request runs: the client may have its whole response a moment before the thread is idle.
WAITING = (r'stopping: waiting up to \d+ m?s for (?:\d+ requests?)?(?: and )?(?:the work after \d+ responses?)?; '
           'a second SIGTERM stops at once')
AS_ROOT = 'the application runs as root: add --user NAME, or --user root if it has to'
STAMP = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z'
OWN_LINE = re.compile(r'wsgi-cgi\[(?P<pid>\d+)\]: (?:notice: (?P<start>' + STARTED + ')|notice: (?P<stop>' +
                      STOPPED + ')|notice: (?P<wait>' + WAITING + ')|warning: (?P<root>' + re.escape(AS_ROOT) + '))$')
# In front of what was written to descriptor 2 of an instance of --keep-warm, whose log has the time of each line.
OUTPUT = re.compile(b'^' + STAMP.encode() + rb' wsgi-cgi\[\d+\]: output: (\[[\w-]{1,64}\] )?', re.MULTILINE)
# In front of the lines of a request's traceback.
ID = re.compile(r'^\[[\w-]{1,64}\] ')


def base_env():
    """The environment of every process: nothing of the developer's shell except what a build variant needs."""
    keep = ('PATH', 'HOME', 'TMPDIR', 'LD_LIBRARY_PATH', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS',
            'TSAN_OPTIONS', 'GCOV_PREFIX', 'GCOV_PREFIX_STRIP', 'LLVM_PROFILE_FILE')
    env = {name: os.environ[name] for name in keep if name in os.environ}
    if SANITIZED:
        # fast_unwind 0: Debian's libpython has no frame pointers. free_fill: a double DECREF becomes a crash.
        env.setdefault('ASAN_OPTIONS', 'detect_leaks=1:fast_unwind_on_malloc=0:max_free_fill_size=4096:'
                                       'free_fill_byte=219:exitcode=99')
        env.setdefault('UBSAN_OPTIONS', 'print_stacktrace=1:halt_on_error=1')
        env.setdefault('LSAN_OPTIONS', f'suppressions={ROOT}/tools/lsan-suppressions.txt:print_suppressions=0')
    return env


def python_source(app):
    """True when `app` is source text and not the name of a file or module."""
    return isinstance(app, str) and '\n' in app


# --- processes ------------------------------------------------------------------------------------------------------

def proc_stat(pid):
    """(state, ppid, session, command) of a process, or None when it is gone."""
    try:
        with open(f'/proc/{pid}/stat') as stat:
            text = stat.read()
    except OSError:
        return None
    fields = text[text.rindex(')') + 2:].split()
    return fields[0], int(fields[1]), int(fields[3]), text[text.index('('):text.rindex(')') + 1]


def session_members(session):
    """The processes of a session (ours are the session leaders), zombies too, as {pid: "state, parent, command"}."""
    found = {}
    for name in os.listdir('/proc'):
        if name.isdigit() and session_of(int(name)) == session:
            stat = proc_stat(int(name))
            if stat:
                found[int(name)] = f'{stat[0]}, parent {stat[1]}, {stat[3]}'
    return found


def session_of(pid):
    """The session of a process, also of a zombie; None when it is gone. A hundredth of the time that reading its stat takes."""
    try:
        return os.getsid(pid)
    except OSError:
        return None


def kill_all(pids):
    """End, at once, those that have not ended."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def freeze(*pids):
    """Stop processes until SIGCONT, as a debugger or the freezer of a host does."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: all(proc_stat(pid)[0] == 'T' for pid in pids), 5, 'the stop of the processes')


class Threads:
    """Those in `self.threads` run during a with block, until `self.ended` is set."""

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join()


def kill_session(popen):
    """End, at once, everything that `popen` (a session leader) and its descendants still run."""
    if popen.returncode is not None and proc_stat(popen.pid):
        return              # it was reaped, and its number belongs to somebody else's process by now
    kill_all(session_members(popen.pid))
    popen.wait()


def open_fds(pid):
    """{fd: what it points at} of a process."""
    found = {}
    for name in os.listdir(f'/proc/{pid}/fd'):
        try:
            found[int(name)] = os.readlink(f'/proc/{pid}/fd/{name}')
        except FileNotFoundError:
            pass
    return found


def listens(path):
    """Whether somebody listens on this unix socket: between bind() and listen() the file is there, and refuses."""
    lines = (line.split() for line in Path('/proc/net/unix').read_text().splitlines())
    return any(line[-1] == str(path) and int(line[3], 16) & 1 << 16 for line in lines if len(line) == 8)


def count_fds(pid):
    """(sockets, everything else): an application may keep files open, nothing may keep a connection."""
    targets = open_fds(pid).values()
    sockets = sum(t.startswith('socket:') for t in targets)
    return sockets, len(targets) - sockets


def settled(read, timeout=2):
    """The value of `read()` once it has not changed for 25 ms."""
    deadline = time.monotonic() + timeout * SLOW
    last, same = read(), 0
    while same < 5 and time.monotonic() < deadline:
        time.sleep(0.005)
        value = read()
        last, same = value, same + 1 if value == last else 0
    return last


def rss(pid):
    """Resident memory of a process in bytes."""
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * resource.getpagesize()


def text_of_json(line):
    """A line of --log-format=json as that of a --log-file, any other as it is."""
    if not line.startswith('{'):
        return line
    try:
        entry = json.loads(line)
        return f'{entry["time"]} wsgi-cgi[{entry["pid"]}]: {entry["level"]}: {entry["message"]}'
    except (ValueError, KeyError, TypeError):
        return line


class OwnLines:
    """The lines of a log that are about the start and the end of a service, by process ID, and the log without them.
    They are what they should be: complete, one of each for a process, the start first."""

    def __init__(self, text):
        self.starts, self.stops, self.rest, self.wrong = {}, {}, [], []
        warned, waits = set(), set()
        for line in text.splitlines():
            plain = text_of_json(line)
            match = OWN_LINE.search(plain)
            if not match:
                self.rest.append(line)
                if re.search(r'wsgi-cgi\[\d+\]: \w+: (started|stopping|stopped): ', plain):
                    self.wrong.append(f'not complete: {line}')
                continue
            pid = int(match['pid'])
            # The application may have written a line without an end before it.
            before = re.sub(STAMP + ' $', '', plain[:match.start()])
            if before:
                self.rest.append(before)
            if match['start']:
                again, self.starts[pid] = pid in self.starts or pid in self.stops, match
            elif match['stop']:
                again, self.stops[pid] = pid in self.stops, match
            elif match['wait']:
                again = pid in waits or pid in self.stops
                waits.add(pid)
            else:
                again = pid in warned or pid in self.starts or os.geteuid() != 0
                warned.add(pid)
            if again:
                self.wrong.append(f'not for the first time, too late, or not true: {line}')


# Below a sanitizer a load of many modules takes that long on a busy machine.
SLOW_LOADS = [re.compile(r'warning: (\[\w+\] )?\S*app\.py has been loading for 10 s')] if SLOW > 1 else []


class Log:
    """Everything a process and its requests wrote to any error stream, and what the test said it expects."""

    def __init__(self):
        self.files, self.texts, self.required, self.allowed = [], [], [], []
        self.logs = []          # files that are the log of an instance of --keep-warm

    def expect(self, pattern):
        """A line that matches must be there at the end; such lines are no failure."""
        self.required.append(re.compile(pattern))

    def allow(self, pattern):
        """Lines that match are no failure."""
        self.allowed.append(re.compile(pattern))

    def text(self):
        parts = [p.read_bytes() for p in self.files if p.exists()]
        parts += [OUTPUT.sub(b'', p.read_bytes()) for p in self.logs] + self.texts
        return b'\n'.join(parts).decode('utf-8', 'backslashreplace')

    def matches(self, pattern):
        return re.search(pattern, self.text(), re.MULTILINE)

    def check(self):
        """Raise AssertionError for an undeclared suspicious line and for a declared one that never came."""
        text = self.text()
        fatal = [line for line in text.splitlines() if FATAL.search(line)]
        assert not fatal, f'fatal report in the log: {fatal}\n{text}'
        known = self.required + self.allowed + SLOW_LOADS
        own = OwnLines(text)
        assert not own.wrong, f'wrong lines about start and end: {own.wrong}\n{text}'
        lines, i, bad = [ID.sub('', line) for line in own.rest], 0, []
        while i < len(lines):
            block = [lines[i]]
            if 'Traceback (most recent call last)' in lines[i]:
                # One traceback is one line here: judged by its last line, which names the exception.
                while i + 1 < len(lines) and re.match(r'\s|$', PREFIX.sub('', lines[i + 1])):
                    i += 1
                    block.append(lines[i])
                if i + 1 < len(lines):
                    i += 1
                    block.append(lines[i])
                judged = block[-1]
            else:
                judged = block[0]
            i += 1
            if any(SUSPECT.search(line) for line in block) and not any(p.search(judged) for p in known):
                bad.append('\n'.join(block))
        assert not bad, 'unexpected in the log (declare it with expect_log or allow_log):\n' + '\n'.join(bad) + \
            '\n--- the whole log ---\n' + text
        for pattern in self.required:
            assert any(pattern.search(ID.sub('', line)) for line in text.splitlines()), f'no log line matches {pattern.pattern!r}:\n{text}'


class Logged:
    """The part of the interface that servers and single processes share."""
    log: Log

    def expect_log(self, pattern):
        """Declare a line (regex) that has to be in the log, or the last line of a traceback."""
        self.log.expect(pattern)

    def allow_log(self, pattern):
        self.log.allow(pattern)

    def wait_log(self, pattern, timeout=5):
        """Wait until a line of the log matches and return the match."""
        return wait_for(lambda: self.log.matches(pattern), timeout, f'log line {pattern!r} in:\n{self.log.text()}')

    @property
    def logged(self):
        return self.log.text()

    @property
    def logged_besides(self):
        """The log without what a service always logs: its start, its end, and that it runs as root."""
        return '\n'.join(OwnLines(self.log.text()).rest)


class Process(Logged):
    """One process that a test started; its stderr goes to a file, its session is checked to be empty at the end."""

    def __init__(self, world, argv, env=None, cwd=None, stdin=subprocess.DEVNULL, stdout=None, stderr=None, log=None,
                 **popen):
        self.world = world
        self.argv, self.env = [os.fspath(a) for a in argv], env
        self.log = log or Log()
        self.exit_codes = {0}
        self.own_stderr = stderr is None
        path = world.new_path('stderr')
        with open(path, 'wb') as err:
            self.log.files.append(path)
            self.popen = subprocess.Popen(self.argv, env=env, cwd=cwd, stdin=stdin,
                                          stdout=err if stdout is None else stdout,
                                          stderr=err if stderr is None else stderr, start_new_session=True, **popen)
        self.pid = self.popen.pid
        world.processes.append(self)

    def running(self):
        return self.popen.poll() is None

    def signal(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout=10):
        """The exit code; a process that does not end by itself in time is a failure."""
        try:
            return self.popen.wait(timeout * SLOW)
        except subprocess.TimeoutExpired as error:
            raise Timeout(f'pid {self.pid} {self.argv} still runs after {timeout * SLOW:g} s\n'
                          f'{self.stack()}\n{self.log.text()}') from error

    def output(self, timeout=10):
        """All of its stdout (started with stdout=subprocess.PIPE), until it closes it."""
        try:
            return self.popen.communicate(timeout=timeout * SLOW)[0]
        except subprocess.TimeoutExpired as error:
            raise Timeout(f'pid {self.pid} keeps stdout open for {timeout * SLOW:g} s: {error.stdout!r}\n'
                          f'{self.stack()}\n{self.log.text()}') from error

    def stack(self):
        """What the process hangs in; for messages."""
        out = []
        for task in Path(f'/proc/{self.pid}/task').glob('*'):
            for name in ('wchan', 'syscall'):
                try:
                    out.append(f'{task.name} {name}: {(task / name).read_text().strip()}')
                except OSError:
                    pass
        return '\n'.join(out)

    def survivors(self):
        if self.popen.returncode is not None and proc_stat(self.pid):
            return {}           # its number belongs to somebody else's process by now
        return {pid: state for pid, state in session_members(self.pid).items() if pid != self.pid}

    def reap(self):
        """End everything of this process' session, at once. For the end of a test."""
        kill_session(self.popen)
        for pipe in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            if pipe:
                try:
                    pipe.close()
                except OSError:
                    pass

    def check_end(self):
        """After the process ended by itself: exit code and no survivor of its session."""
        code = self.popen.poll()
        assert code is not None, f'pid {self.pid} still runs at the end of the test: {self.argv}'
        assert code in self.exit_codes, f'exit code {code}, expected {sorted(self.exit_codes)}\n{self.log.text()}'
        try:
            wait_for(lambda: all(state.startswith('Z, parent 1,') for state in self.survivors().values()), 2,
                     'end of the children')
            # What has ended and is init's child is for init to reap, which may take it a while.
            wait_for(lambda: not self.survivors(), 20, 'init')
        except Timeout:
            raise AssertionError(f'processes left behind by {self.argv}: {self.survivors()}') from None


class Finished:
    """What `run` returns: exit code and output of a process that ended."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr

    def __repr__(self):
        return f'<exit {self.code} stdout={self.stdout!r} stderr={self.stderr!r}>'


class World:
    """Everything one test made: temporary folder, processes, connections. Checked and removed when the test ends."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        # Short, because the path of a unix socket has at most 107 bytes.
        self.run_dir = Path(tempfile.mkdtemp(prefix='wc-', dir='/tmp'))
        self.processes, self.servers, self.connections, self.counter = [], [], [], 0

    def new_path(self, stem, suffix=''):
        self.counter += 1
        return self.run_dir / f'{stem}-{self.counter}{suffix}'

    def env(self, extra=None):
        env = base_env()
        if SANITIZED:
            for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS'):
                env[name] = f'{env.get(name, "")}:log_path={self.run_dir}/sanitizer'
        for name, value in (extra or {}).items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value
        return env

    def write_app(self, app, name='app.py'):
        """The path of `app`: a path stays one, source text is written to tmp_path/app.py (or tmp_path/N/app.py)."""
        if not python_source(app):
            return os.fspath(app)
        path = self.tmp_path / name
        source = textwrap.dedent(app)
        if path.exists() and path.read_text() != source:
            self.counter += 1
            path = self.tmp_path / str(self.counter) / name
            path.parent.mkdir()
        if not path.exists():           # a server that runs it would see it touched
            path.write_text(source)
        return str(path)

    def spawn(self, *args, env=None, binary=None, **keywords):
        """Start the program with `args`; for tests that look at the process itself."""
        require_binary()
        return Process(self, [binary or BINARY, *args], env=self.env(env), **keywords)

    def public_binary(self):
        """A copy of the program for other users: the source tree may lie where they may not go."""
        copy = self.run_dir / 'wsgi-cgi'
        if not copy.exists():
            self.run_dir.chmod(0o755)
            shutil.copy(BINARY, copy)
            copy.chmod(0o755)
        return copy

    def run(self, *args, env=None, stdin=b'', timeout=10, binary=None, **keywords):
        """Run the program to its end. `stdin`: bytes for a pipe, or a file. As another `user`: a copy he can reach."""
        require_binary()
        given = isinstance(stdin, bytes)
        keywords.setdefault('cwd', self.tmp_path)
        if 'user' in keywords and binary is None:
            binary = self.public_binary()
        process = subprocess.Popen([binary or BINARY, *map(os.fspath, args)], env=self.env(env),
                                   stdin=subprocess.PIPE if given else stdin, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, start_new_session=True, **keywords)
        try:
            out, err = process.communicate(stdin if given else None, timeout * SLOW)
        except subprocess.TimeoutExpired as error:
            raise Timeout(f'{args} still runs after {timeout * SLOW:g} s') from error
        finally:
            kill_session(process)
        text = err.decode('utf-8', 'backslashreplace')
        assert not FATAL.search(text), text
        assert process.returncode >= 0, f'killed by signal {-process.returncode}: {text}'
        return Finished(process.returncode, out, text)

    def connect(self, address, **keywords):
        conn = fcgi.Connection(address, **keywords)
        self.connections.append(conn)
        return conn

    def logs(self):
        """All logs as text, for the report of a failed test."""
        out = []
        for process in self.processes:
            out.append(f'--- pid {process.pid} {" ".join(process.argv)}\n{process.log.text()}')
        return '\n'.join(out)

    def finish(self, failed):
        """End everything; unless the test failed already, check the invariants. Every problem is reported at once."""
        problems = []

        def attempt(action):
            try:
                action()
            except AssertionError as error:
                problems.append(str(error))
        for conn in self.connections:
            conn.close()
        for server in self.servers:
            attempt(server.finish if not failed else server.abandon)
        for process in self.processes:
            if not failed and process not in [s.process for s in self.servers]:
                attempt(process.check_end)
                attempt(process.log.check)
            process.reap()
        for report in self.run_dir.glob('sanitizer.*'):
            problems.append(report.read_text(errors='replace'))
        shutil.rmtree(self.run_dir, ignore_errors=True)
        return problems


def require_binary():
    if not os.access(BINARY, os.X_OK):
        raise AssertionError(f'no program to test at {BINARY}: run make, or name one in the environment as WSGI_CGI')


# --- requests -------------------------------------------------------------------------------------------------------

def cgi_params(method='GET', path='/', query='', headers=(), body=b'', params=None, script_name='',
               content_length=None, protocol='HTTP/1.1', script_filename=None):
    """The CGI variables of a request as a list of (bytes, bytes).

    `path` is PATH_INFO, decoded, latin-1 or bytes. `headers`: dict or list of pairs; a name given twice is sent
    twice (FastCGI only). `content_length`: None takes it from the body (absent for GET and the like without one),
    False leaves it out, any other value is sent as it is. `params` comes last: a value of None removes a variable,
    a list of pairs is appended as it is.
    """
    raw_path = fcgi.to_bytes(path)
    uri = quote(fcgi.to_bytes(script_name) + raw_path) + (('?' + query) if query else '')
    out = [('GATEWAY_INTERFACE', 'CGI/1.1'), ('SERVER_SOFTWARE', 'wsgi-cgi-tests'), ('SERVER_NAME', 'localhost'),
           ('SERVER_PORT', '80'), ('SERVER_PROTOCOL', protocol), ('REMOTE_ADDR', '127.0.0.1'),
           ('REQUEST_METHOD', method), ('SCRIPT_NAME', script_name), ('PATH_INFO', path), ('QUERY_STRING', query),
           ('REQUEST_URI', uri), ('HTTP_HOST', 'localhost')]
    if script_filename:
        out.append(('SCRIPT_FILENAME', script_filename))
    if content_length is None and (body or method in ('POST', 'PUT', 'PATCH')):
        content_length = len(body)
    if content_length is not None and content_length is not False:
        out.append(('CONTENT_LENGTH', content_length))
    for name, value in (headers.items() if hasattr(headers, 'items') else headers):
        key = name.upper().replace('-', '_')
        key = key if key == 'CONTENT_TYPE' else 'HTTP_' + key
        if key == 'HTTP_HOST':
            out = [(n, v) for n, v in out if n != key]
        out.append((key, value))
    if hasattr(params, 'items'):
        replaced = {fcgi.to_bytes(name) for name in params}
        out = [(n, v) for n, v in out if fcgi.to_bytes(n) not in replaced]
        out += [(n, v) for n, v in params.items() if v is not None]
    elif params:
        out += list(params)
    return [(fcgi.to_bytes(n), fcgi.to_bytes(v)) for n, v in out]


class FcgiExchange:
    """One request in progress over FastCGI: the body can be sent and the answer read piece by piece."""

    def __init__(self, server, conn, params, role, id, keep):
        self.server, self.conn, self.id, self.role, self.keep = server, conn, id, role, keep
        conn.send(fcgi.head(params, id, role, keep))

    def write(self, data, timeout=None):
        """Send a piece of the body. False when the program hung up."""
        return self.conn.send(fcgi.stream(fcgi.STDIN, self.id, data, end=False), timeout)

    def finish_body(self):
        """End of the body."""
        return self.conn.send(fcgi.record(fcgi.STDIN, self.id))

    @property
    def stdout(self):
        """What has been received of the response so far: head and body."""
        return self.conn.stdout(self.id)

    def wait_for(self, data, timeout=None):
        """Wait until `data` (bytes) is in the response; returns all of it so far."""
        self.conn.wait(lambda: data in self.stdout, timeout, f'{data!r} in the response')
        return self.stdout

    def silent(self, seconds):
        """True if nothing arrives for `seconds`."""
        return self.conn.silent(seconds)

    def response(self, timeout=None):
        """The whole response; for a connection that is not kept also its end."""
        response = self.conn.response(self.id, timeout)
        if not self.keep and not self.conn.eof:
            self.conn.wait_eof(timeout)
            response.eof = True
        return response

    def disconnect(self):
        """The client goes away."""
        self.conn.close()


class CgiExchange:
    """One CGI process: the body goes to its stdin, stdout and stderr are collected. Full duplex like FcgiExchange."""

    def __init__(self, server, process, stdin, stdout, stderr):
        self.server, self.process, self.pid = server, process, process.pid
        self.stdin, self.out, self.err = stdin, stdout, stderr
        self.collected = {stdout: bytearray(), stderr: bytearray()}
        self.unfinished = {stdout, stderr}
        self.timeout = 10
        os.set_blocking(stdin, False)

    def _pump(self, seconds, writing=False):
        """Read what is there, waiting at most `seconds` for something. True if stdin takes bytes."""
        poller = select.poll()
        for fd in self.unfinished:
            poller.register(fd, select.POLLIN)
        if writing:
            poller.register(self.stdin, select.POLLOUT)
        writable = False
        for fd, _ in poller.poll(max(0, seconds) * 1000):
            if fd == self.stdin:
                writable = True
                continue
            data = os.read(fd, 1 << 18)
            if data:
                self.collected[fd] += data
            else:
                self._close(fd)
        return writable

    def _close(self, fd):
        os.close(fd)
        self.unfinished.remove(fd)

    @property
    def stdout(self):
        """What has been received of the response so far: head and body."""
        return bytes(self.collected[self.out])

    @property
    def stderr(self):
        return bytes(self.collected[self.err])

    def write(self, data, timeout=None):
        view, deadline = memoryview(data), time.monotonic() + (timeout or self.timeout) * SLOW
        while view:
            if self._pump(deadline - time.monotonic(), writing=True):
                try:
                    view = view[os.write(self.stdin, view[:1 << 16]):]
                except BlockingIOError:
                    pass
                except BrokenPipeError:
                    return False
            if time.monotonic() > deadline:
                raise Timeout(f'{len(view)} bytes of the body not taken within {(timeout or self.timeout) * SLOW:g} s')
        return True

    def finish_body(self):
        if self.stdin is not None:
            os.close(self.stdin)
            self.stdin = None
        return True

    def wait(self, predicate, timeout=None, what='output'):
        deadline = time.monotonic() + (timeout or self.timeout) * SLOW
        while not predicate():
            if not self.unfinished:
                raise Timeout(f'{what}: the process closed its output; it wrote {self.stdout!r} {self.stderr!r}')
            if time.monotonic() > deadline:
                raise Timeout(f'{what}: not within {(timeout or self.timeout) * SLOW:g} s; so far {self.stdout!r} '
                              f'{self.stderr!r}\n{self.process.stack()}')
            self._pump(deadline - time.monotonic())

    def wait_for(self, data, timeout=None):
        self.wait(lambda: data in self.stdout, timeout, f'{data!r} in the response')
        return self.stdout

    def silent(self, seconds):
        before, deadline = len(self.stdout), time.monotonic() + seconds
        while time.monotonic() < deadline and self.unfinished:
            self._pump(deadline - time.monotonic())
            if len(self.stdout) > before:
                return False
        return self.out in self.unfinished

    def response(self, timeout=None):
        """Until the process has ended. Its stdin stays open unless finish_body() was called."""
        self.wait(lambda: not self.unfinished, timeout, 'end of the process')
        code = self.process.wait(timeout or self.timeout)
        self.finish_body()
        response = Response(self.stdout, self.stderr, eof=True, exit_code=code)
        self.server.ended(self, response)
        return response

    def disconnect(self, timeout=None):
        """The server goes away: both pipes are closed; waits for the end of the process. Its exit code."""
        self.finish_body()
        if self.out in self.unfinished:
            self._close(self.out)
        self.wait(lambda: not self.unfinished, timeout, 'end of the process')
        code = self.process.wait(timeout or self.timeout)
        self.server.ended(self, None)
        return code

    def release(self):
        """Close what is still open; for the end of a test."""
        self.finish_body()
        for fd in list(self.unfinished):
            self._close(fd)


class Server(Logged):
    """wsgi-cgi with one application, the same interface over every transport."""
    is_cgi = is_fcgi = is_warm = False

    def request(self, method='GET', path='/', query='', headers=(), body=b'', params=None, *, timeout=None, **more):
        """One whole request. The keywords are those of cgi_params() and start()."""
        exchange = self.start(method, path, query, headers, body, params, **more)
        exchange.write(body, timeout)
        exchange.finish_body()
        return exchange.response(timeout)


class FcgiServer(Server):
    is_fcgi = True

    def __init__(self, world, process, address):
        self.world, self.process, self.address, self.pid = world, process, address, process.pid
        self.log = process.log
        self.baseline = None            # (sockets, other fds)
        self.idle_sockets = None
        self.finished = False
        self.script = None
        self.check_fds = True
        self.was_ready = False
        self.log_is_whole = True        # not where the test has closed descriptor 2
        world.servers.append(self)

    def __getattr__(self, name):
        # exit_codes, signal(), wait(), running() are the process'.
        return getattr(self.process, name)

    def ready(self):
        """Wait until it serves: a connection that ends without a word is closed by the program, not before it runs."""
        with fcgi.Connection(self.address, 10) as conn:
            conn.half_close()
            try:
                conn.wait_eof(20)
            except Timeout as error:
                raise AssertionError(f'not ready: {error}\n{self.process.stack()}\n{self.log.text()}') from error
        self.idle_sockets = settled(lambda: count_fds(self.pid)[0])
        self.was_ready = True

    def connect(self, **keywords):
        """A raw connection; closed at the end of the test."""
        return self.world.connect(self.address, on_stderr=self.log.texts.append, **keywords)

    def start(self, method='GET', path='/', query='', headers=(), body=b'', params=None, *, conn=None, keep=False,
              role=fcgi.RESPONDER, id=1, **more):
        """Send the head of a request and return the exchange. `body` only gives the CONTENT_LENGTH."""
        more.setdefault('script_filename', self.script)
        wanted = cgi_params(method, path, query, headers, body, params, **more)
        return FcgiExchange(self, conn or self.connect(), wanted, role, id, keep)

    def request(self, *args, timeout=None, **keywords):
        own = keywords.get('conn') is None and not keywords.get('keep')
        response = super().request(*args, timeout=timeout, **keywords)
        if own:
            conn = self.world.connections.pop()
            conn.close()
        if self.baseline is None and self.check_fds and self.running():
            self.baseline = settled(lambda: count_fds(self.pid))
        return response

    def params(self, *args, **keywords):
        """The variables of a request, for raw records."""
        keywords.setdefault('script_filename', self.script)
        return cgi_params(*args, **keywords)

    def stop(self, number=signal.SIGTERM, timeout=5):
        """Ask it to end and return the exit code."""
        if self.running():
            self.signal(number)
        return self.wait(timeout)

    def check_open_fds(self):
        """After all connections were closed no descriptor may be left over."""
        if not (self.check_fds and self.running()):
            return
        sockets = self.idle_sockets
        others = self.baseline[1] if self.baseline else None

        def clean():
            now = count_fds(self.pid)
            return (sockets is None or now[0] <= sockets) and (others is None or now[1] <= others)
        try:
            wait_for(clean, 3, 'fds')
        except Timeout:
            raise AssertionError(f'descriptors leaked: (sockets, others) {(sockets, others)} at first, '
                                 f'now {count_fds(self.pid)}: {open_fds(self.pid)}') from None

    def check_children(self):
        if self.running():
            try:
                wait_for(lambda: not self.process.survivors(), 2, 'end of the children')
            except Timeout:
                raise AssertionError(f'children or zombies left: {self.process.survivors()}') from None

    def check_own_lines(self):
        """One line about its start; and one about its end, unless it was killed."""
        words = self.process.argv + (self.process.env or {}).get('WSGI_CGI_OPTIONS', '').split()
        if not (self.process.own_stderr and self.log_is_whole) or any(re.match('--log-(file|level)', word) for word in words):
            return              # they are elsewhere, or nowhere
        lines, code = OwnLines(self.log.text()), self.process.popen.returncode
        assert set(lines.starts) | set(lines.stops) <= {self.pid}, f'lines of other processes:\n{self.log.text()}'
        if self.was_ready:
            assert self.pid in lines.starts, f'no line about the start of {self.pid}:\n{self.log.text()}'
        if self.pid in lines.starts and code == 0:
            assert self.pid in lines.stops, f'no line about the end of {self.pid}:\n{self.log.text()}'

    def finish(self):
        if self.finished:
            return
        self.finished = True
        errors = []
        for step in (self.check_open_fds, self.check_children, self.stop, self.process.check_end, self.log.check,
                     self.check_own_lines):
            try:
                step()
            except AssertionError as error:
                errors.append(str(error))
        assert not errors, '\n'.join(errors)

    def abandon(self):
        self.finished = True


class CgiServer(Server):
    is_cgi = True

    def __init__(self, world, argv, env, cwd, script, popen):
        self.world, self.argv, self.env, self.cwd, self.script = world, argv, env, cwd, script
        self.popen_keywords = popen
        self.log = Log()
        self.exit_codes = {0}
        self.exchanges = []
        self.process = None
        world.servers.append(self)

    def start(self, method='GET', path='/', query='', headers=(), body=b'', params=None, *, early=b'', **more):
        """Start the process of one request and return the exchange. `body` only gives the CONTENT_LENGTH; `early`, which fits into a
        pipe, is there before the process starts."""
        more.setdefault('script_filename', self.script)
        env = {os.fsencode(k): os.fsencode(v) for k, v in self.world.env(self.env).items()}
        env.update(cgi_params(method, path, query, headers, body, params, **more))
        pipes = [os.pipe() for _ in range(3)]
        (stdin, w_in), (r_out, stdout), (r_err, stderr) = pipes
        os.write(w_in, early)
        try:
            process = Process(self.world, self.argv, env=env, cwd=self.cwd, stdin=stdin, stdout=stdout, stderr=stderr,
                              **self.popen_keywords)
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        exchange = CgiExchange(self, process, w_in, r_out, r_err)
        self.exchanges.append(exchange)
        return exchange

    def ended(self, exchange, response):
        """Check what every CGI process is checked for."""
        self.exchanges.remove(exchange)
        self.log.texts.append(exchange.stderr)
        process = exchange.process
        process.exit_codes = self.exit_codes | ({1} if response is not None and response.status == 500 else set())
        process.check_end()
        self.world.processes.remove(process)

    def stop(self, *_, **__):
        """There is nothing to stop; here so that a test can be written once."""
        return 0

    def end_exchanges(self):
        for exchange in list(self.exchanges):
            exchange.release()
            exchange.process.exit_codes = self.exit_codes
            exchange.process.wait(5)
            self.log.texts.append(exchange.stderr)

    def finish(self):
        self.end_exchanges()
        self.log.check()

    def abandon(self):
        for exchange in list(self.exchanges):
            exchange.release()


# --- peers of the client ----------------------------------------------------------------------------------------------

class Backend:
    """A peer that does exactly what the test says: `talk` gets each accepted socket, one at a time."""

    def __init__(self, path, talk, kind='unix'):
        self.sock, self.address = listening_socket(kind, path)
        self.sock.settimeout(20 * SLOW)
        self.talk, self.received, self.thread = talk, b'', threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            conn, _ = self.sock.accept()
        except OSError:
            return
        with conn:
            conn.settimeout(20 * SLOW)
            try:
                self.talk(self, conn)
            except OSError:
                pass

    def read_head(self, conn):
        """Until the end of STDIN has come."""
        while not self.received.endswith(fcgi.record(fcgi.STDIN, 1)):
            data = conn.recv(65536)
            if not data:
                return
            self.received += data

    def close(self):
        self.sock.close()
        self.thread.join()


# --- transports -----------------------------------------------------------------------------------------------------

def listening_socket(kind, path=None, backlog=1024):
    """(socket, address) of a new listening socket: 'unix', 'abstract', 'tcp' or 'tcp6', on no fixed port. With TCP, the kernel lets a client
    wait for a second if the backlog is full."""
    if kind in ('unix', 'abstract'):
        sock = socket.socket(socket.AF_UNIX)
        address = os.fspath(path)
        sock.bind(address)
    else:
        sock = socket.socket(socket.AF_INET6 if kind == 'tcp6' else socket.AF_INET)
        sock.bind(('::1' if kind == 'tcp6' else '127.0.0.1', 0))
        address = sock.getsockname()[:2]
    sock.listen(backlog)
    return sock, address


class Transport:
    """One of cgi, fcgi-unix, fcgi-tcp; WarmTransport of warm.py is the fourth."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.is_cgi = name == 'cgi'
        self.is_fcgi, self.is_warm = not self.is_cgi, False
        self.make = CgiServer

    def __repr__(self):
        return self.name

    def serve(self, app, *options, env=None, cwd=None, args=(), ready=True, **popen):
        """Start wsgi-cgi [options] APP. `args` follow APP. FastCGI gets a listening socket as fd 0."""
        require_binary()
        path = self.world.write_app(app)
        return self._start(path, [*options, path, *args], env, cwd, ready, popen)

    def serve_scripts(self, *options, env=None, cwd=None, ready=True, **popen):
        """Start wsgi-cgi without APP (--scripts-in): each request names its script."""
        require_binary()
        return self._start('', options, env, cwd, ready, popen)

    def _start(self, path, args, env, cwd, ready, popen):
        is_file = os.path.isfile(path)
        argv = [BINARY, *map(os.fspath, args)]
        if self.is_cgi:
            # A web server runs a script in the script's folder (RFC 3875 7.2).
            cwd = cwd or (os.path.dirname(os.path.abspath(path)) if is_file else self.world.tmp_path)
            return self.make(self.world, argv, env, cwd, path if is_file else None, popen)
        kind = self.name[len('fcgi-'):]
        sock, address = listening_socket(kind, self.world.new_path('sock') if kind == 'unix' else None)
        with sock:
            process = Process(self.world, argv, env=self.world.env(env), cwd=cwd or self.world.tmp_path, stdin=sock,
                              **popen)
        server = FcgiServer(self.world, process, address)
        server.script = path if is_file else None
        if ready:
            server.ready()
        return server
