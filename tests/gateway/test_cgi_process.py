"""A CGI process among its surroundings: C14, C16, C22, C23, C24."""

import os
import re
import resource
import signal
import socket
import contextlib
import subprocess
import time

import pytest

from apps import BUSY, HELLO
from fcgi import open_terminal, wait_for
from settings import BINARY, SLOW

GET = {'REQUEST_METHOD': 'GET', 'GATEWAY_INTERFACE': 'CGI/1.1', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
       'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': ''}

PRINT_ARGV = '''
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [repr((sys.argv[1:], environ['QUERY_STRING'])).encode()]
'''


def test_working_directory_is_the_scripts_folder(world):
    """C22: busybox, mini_httpd and mod_cgid change into it themselves; for a server that does not, the program does."""
    app = world.write_app('''
        import os
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [os.fsencode(os.getcwd())]
    ''')
    finished = world.run(app, env=GET, cwd='/')
    assert finished.stdout.partition(b'\r\n\r\n')[2] == os.fsencode(os.path.realpath(os.path.dirname(app)))


@pytest.mark.parametrize('words, query', [
    (['-h'], '-h'), (['--help'], '--help'), (['-c', 'print(1)'], '-c+print(1)'), (['-h'], '%2d%68'),
    (['--version'], '--version'), (['--debug', '--set', 'A=B'], '--debug+--set+A=B'), (['-V'], '+-V'),
    (['--check'], '--check'), (['--bind', ':0'], '--bind+:0'), (['--no-such-option'], '--no-such-option'),
])
@pytest.mark.parametrize('place', ['after APP', 'script'])
def test_words_of_the_query_are_no_options(world, words, query, place):
    """C14: a server passes a query without "=" as argv words (RFC 3875 4.4); php-cgi ran them as options
    (CVE-2012-1823). Here the application runs and none of them has an effect."""
    app = world.write_app(PRINT_ARGV)
    if place == 'after APP':
        finished = world.run(app, *words, env={**GET, 'QUERY_STRING': query})
    else:
        # The kernel starts the script with its own path and then the words.
        os.chmod(app, 0o755)
        with open(app) as file:
            source = file.read()
        with open(app, 'w') as file:
            file.write(f'#!{BINARY}\n{source}')
        process = subprocess.run([app, *words], env=world.env({**GET, 'QUERY_STRING': query}), stdin=subprocess.DEVNULL,
                                 capture_output=True, timeout=10 * SLOW)
        assert process.returncode == 0, process
        finished = process
    body = finished.stdout.partition(b'\r\n\r\n')[2]
    assert finished.stdout.startswith(b'Status: 200 OK\r\n'), finished
    assert body.endswith(repr(query).encode() + b')'), body


@pytest.mark.parametrize('query', ['-h', '--version', '-c+print(1)', '%2dh', '+-h', '--check'])
def test_the_bare_binary_in_cgi_bin(run, world, query):
    """C14: the program itself as the CGI script, so that the query's words stand where options would: ignored."""
    app = world.write_app(HELLO)
    words = query.replace('%2d', '-').split('+')
    finished = run(*[w for w in words if w], env={**GET, 'QUERY_STRING': query, 'SCRIPT_FILENAME': app})
    for leak in (b'usage', b'Options', b'wsgi-cgi 0', b'wsgi-cgi 1', b'libpython', b'CPython'):
        assert leak not in finished.stdout, finished
    assert finished.stdout == b'' or finished.stdout.startswith(b'Status: '), finished


class TestGoneServer:
    """C23: the server may end the exchange at any time."""

    @pytest.fixture
    def stream(self, cgi, tmp_path):
        notes = tmp_path / 'notes'
        notes.touch()
        server = cgi.serve(BUSY, env={'NOTES': str(notes)})
        exchange = server.start(path='/stream')
        exchange.wait_for(b'xxx')
        exchange.notes = notes
        return exchange

    def test_stdout_closed(self, stream):
        """C23: close() runs, the exit code is not 0, at most one line in the log, no traceback; well before the end
        of the ten minutes of output."""
        stream.server.exit_codes = {1}
        stream.server.allow_log('client|server|gone|closed|EPIPE|[Bb]roken')
        start = time.monotonic()
        assert stream.disconnect() == 1
        assert time.monotonic() - start < 3 * SLOW
        assert stream.notes.read_text() == 'started\nclosed\n'
        assert 'Traceback' not in stream.stderr.decode()
        assert len([line for line in stream.stderr.decode().splitlines() if line]) <= 1

    def test_sigterm(self, stream):
        """C23: SIGTERM ends the process within a second, one way or the other."""
        stream.server.exit_codes = {0, 1, 128 + signal.SIGTERM, -signal.SIGTERM}
        stream.server.allow_log('.')
        stream.process.signal(signal.SIGTERM)
        stream.process.wait(2)
        response = stream.response()
        assert not response.complete

    def test_sigpipe_is_ignored(self, stream):
        """C23: the signal itself does not kill; EPIPE is an error to be handled."""
        status = open(f'/proc/{stream.pid}/status').read()
        ignored = int(re.search(r'^SigIgn:\s*([0-9a-f]+)', status, re.M)[1], 16)
        assert ignored & (1 << (signal.SIGPIPE - 1))
        stream.server.exit_codes = {1}
        stream.server.allow_log('.')
        stream.disconnect()

    def test_sigkill(self, stream):
        """C23: nothing to demand of the dead process but that it leaves no children."""
        stream.server.exit_codes = {-signal.SIGKILL}
        stream.process.signal(signal.SIGKILL)
        assert not stream.response().complete


def descriptors(count):
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    return limit


def test_out_of_descriptors_at_the_start(world):
    """C16: however few there are, the client gets a page, and the log says why. With fewer than the dynamic linker
    needs the program does not start at all (127)."""
    app, seen = world.write_app(HELLO), set()
    for count in range(3, 30):
        done = subprocess.run([BINARY, app], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=30 * SLOW, preexec_fn=descriptors(count))
        seen.add(done.returncode)
        if done.returncode == 0:
            assert done.stdout.startswith(b'Status: 200 ')
            break
        if done.returncode == 127 and b'loading shared libraries' in done.stderr:
            continue
        assert done.stdout.startswith(b'Status: 500 '), (count, done)
        # The page has the id that is in the log.
        request_id = re.search(r'error: \[(\w+)\] ', done.stderr.decode())[1]
        assert request_id.encode() in done.stdout.partition(b'\r\n\r\n')[2]
    assert 0 in seen and 71 in seen, seen


def test_stdout_closed_before_the_response(cgi):
    """C23: the server is gone before the application answers."""
    server = cgi.serve('''
        def application(environ, start_response):
            environ['wsgi.input'].read()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x' * 100000]
    ''')
    server.exit_codes = {1}
    server.allow_log('client|server|gone|closed|EPIPE|[Bb]roken|OSError|body')
    exchange = server.start('POST', content_length=3)
    exchange.write(b'ab')
    assert exchange.disconnect() == 1


def test_one_descriptor_for_everything(world):
    """C24: inetd and mod_cgid: 0, 1 and 2 are one connected socket. The response is whole and first."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = world.spawn(world.write_app('''
                import sys
                def application(environ, start_response):
                    print('to stdout')
                    sys.stderr.write('to stderr\\n')
                    environ['wsgi.errors'].write('to errors\\n')
                    start_response('200 OK', [('Content-Type', 'text/plain')])
                    return [b'hello']
            '''), env=GET, stdin=theirs, stdout=theirs, stderr=theirs)
        ours.settimeout(10 * SLOW)
        out = b''
        while True:
            data = ours.recv(65536)
            if not data:
                break
            out += data
    assert process.wait() == 0
    head, _, body = out.partition(b'\r\n\r\n')
    assert head.startswith(b'Status: 200 OK\r\n') and b'to ' not in head, out
    assert body.startswith(b'hello'), out


@contextlib.contextmanager
def system_log():
    """The messages that reach /dev/log; None where the system has a log of its own, or this user may not make one."""
    log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        log.bind('/dev/log')
    except OSError:
        yield None
        return
    try:
        yield log
    finally:
        log.close()
        os.unlink('/dev/log')


def test_stdout_and_stderr_are_one_pipe(world):
    """C24: mini_httpd makes 1 and 2 the same pipe: what went to 2 would destroy the head or be read by the client; it
    goes to the system's log."""
    with system_log() as log:
        process = world.spawn(world.write_app('''
            import sys
            sys.stderr.write('at import\\n')
            def application(environ, start_response):
                environ['wsgi.errors'].write('early\\n')
                sys.stderr.write('also early\\n')
                start_response('200 OK', [('Content-Type', 'text/plain')])
                return [b'hello']
        '''), env=GET, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = process.output()
        assert process.wait() == 0
        assert out == b'Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello', out
        if log is not None:
            log.settimeout(5)
            of_ours = b' wsgi-cgi[%d]: ' % process.pid      # other programs of this machine log as well
            messages = []
            while len(messages) < 3:
                message = log.recv(4096)
                messages += [message] if of_ours in message else []
            for text, message in zip((b'at import', b'early', b'also early'), messages):
                assert message.endswith(of_ours + text), messages


def test_a_megabyte_of_errors_on_the_same_pipe(world):
    """C24: where descriptors 1 and 2 are one pipe (mini_httpd), the log goes to syslog: whoever reads the pipe gets the
    response and nothing else, however much is logged (W32 over CGI)."""
    process = world.spawn(world.write_app('''
        def application(environ, start_response):
            for i in range(10000):
                environ['wsgi.errors'].write('line %06d %s\\n' % (i, 'x' * 90))
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'hello']
    '''), env=GET, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = process.output()
    assert process.wait() == 0
    assert out == b'Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello', out[:300]


def test_print_does_not_reach_the_response(transport):
    """C24: print(), writes to fd 1 and children that write to stdout end up in the log, never in the response."""
    server = transport.serve('''
        import os, subprocess
        print('import print')
        def application(environ, start_response):
            print('request print')
            os.write(1, b'request write' + bytes([10]))
            subprocess.run(['echo', 'request child'])
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'hello', repr(os.read(0, 10)).encode()]
    ''')
    response = server.request('POST', body=b'body')
    assert response.body == b"hellob''" and b'print' not in response.head
    for text in ('import print', 'request print', 'request write', 'request child'):
        wait_for(lambda: text in server.logged, 2, text)


def closing(*fds):
    """For preexec_fn: the process starts with these descriptors closed."""
    return lambda: [os.close(fd) for fd in fds]


@pytest.mark.parametrize('fds', [(0,), (2,), (0, 2)], ids=str)
def test_closed_descriptors(world, fds):
    """C24: without stdin and stderr a response is still whole, and what the program opens does not land on them."""
    process = world.spawn(world.write_app('''
        import os, sys
        files = [open(__file__) for i in range(4)]
        def application(environ, start_response):
            print('out')
            sys.stderr.write('err')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr((environ['wsgi.input'].read(), min(f.fileno() for f in files) > 2)).encode()]
    '''), env=GET, stdout=subprocess.PIPE, preexec_fn=closing(*fds))
    out = process.output()
    assert process.wait() == 0
    assert out.partition(b'\r\n\r\n')[2] == b"(b'', True)", out


@pytest.mark.parametrize('fds', [(1,), (0, 1), (0, 1, 2)], ids=str)
def test_closed_stdout(world, fds):
    """C24: with nowhere to send the response the process ends with an error instead of writing into some file of the
    application."""
    path = world.tmp_path / 'data'
    path.write_text('')
    process = world.spawn(world.write_app(f'''
        file = open({str(path)!r}, 'a')
        def application(environ, start_response):
            print('out')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'hello']
    '''), env=GET, preexec_fn=closing(*fds))
    process.exit_codes = {1, 71}
    process.log.allow('.')
    process.wait()
    assert path.read_text() == ''


@pytest.mark.parametrize('kind', ['null', 'file', 'tty', 'pipe', 'closed pipe', 'socketpair'])
def test_kinds_of_stdin(world, kind):
    """C24: whatever stdin is, a GET is answered and not waited for."""
    opened = []
    if kind == 'null':
        stdin = os.open(os.devnull, os.O_RDONLY)
    elif kind == 'file':
        stdin = os.open(__file__, os.O_RDONLY)
    elif kind == 'tty':
        master, stdin = open_terminal()
        opened.append(master)
    elif kind == 'pipe':
        stdin, w = os.pipe()
        opened.append(w)
    elif kind == 'closed pipe':
        stdin, w = os.pipe()
        os.close(w)
    else:
        a, b = socket.socketpair()
        stdin = a.detach()
        opened.append(b.detach())
    try:
        process = world.spawn(world.write_app(HELLO), env=GET, stdin=stdin, stdout=subprocess.PIPE)
        out = process.output()
        assert process.wait() == 0 and out.endswith(b'\r\n\r\nhello')
    finally:
        for fd in [stdin, *opened]:
            os.close(fd)


def test_nothing_is_lost_at_exit(world):
    """C24: there is no Py_FinalizeEx, but open files are flushed, atexit functions run and threads are waited for."""
    path = world.tmp_path / 'data'
    process = world.spawn(world.write_app(f'''
        import atexit, threading, time
        file = open({str(path)!r}, 'w')
        def late():
            time.sleep(0.2)
            file.write('thread ')
        def application(environ, start_response):
            file.write('request ')
            atexit.register(lambda: file.write('atexit '))
            threading.Thread(target=late).start()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'hello']
    '''), env=GET, stdout=subprocess.PIPE)
    assert process.output().endswith(b'hello')
    assert process.wait() == 0
    assert path.read_text() == 'request thread atexit '
