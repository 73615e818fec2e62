"""Which mode the program chooses: F1, F2, C14, C24; --mode, --explain, #! lines and WSGI_CGI_OPTIONS."""

import json
import os
import re
import socket
import subprocess

import pytest

import fcgi
from apps import DUMP, HELLO
from fcgi import wait_for
from harness import FcgiServer, listening_socket
from settings import BINARY, SLOW

GET = {'REQUEST_METHOD': 'GET', 'GATEWAY_INTERFACE': 'CGI/1.1', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
       'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': ''}


def odd_stdin(kind):
    """(descriptor for fd 0, others to close afterwards) of a kind that is not a listening socket."""
    if kind == 'null':
        return os.open(os.devnull, os.O_RDWR), []
    if kind == 'file':
        return os.open(__file__, os.O_RDONLY), []
    if kind == 'folder':
        return os.open('/', os.O_RDONLY), []
    if kind == 'tty':
        master, slave = fcgi.open_terminal()
        return slave, [master]
    if kind == 'pipe':
        r, w = os.pipe()
        return r, [w]
    if kind == 'write end':
        r, w = os.pipe()
        return w, [r]
    if kind == 'socketpair':
        a, b = socket.socketpair()
        return a.detach(), [b.detach()]
    if kind == 'connected tcp':
        with socket.create_server(('127.0.0.1', 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            return listener.accept()[0].detach(), [ours.detach()]
    if kind == 'reset tcp':
        # getpeername() says ENOTCONN for this one, as for a listening socket: libfcgi's test is fooled.
        with socket.create_server(('127.0.0.1', 0)) as listener:
            ours = socket.create_connection(listener.getsockname())
            theirs = listener.accept()[0]
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            ours.close()
            return theirs.detach(), []
    if kind == 'bound tcp':
        sock = socket.socket()
        sock.bind(('127.0.0.1', 0))
        return sock.detach(), []
    assert kind == 'udp'
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(), []


ODD = ['null', 'file', 'folder', 'tty', 'pipe', 'write end', 'socketpair', 'connected tcp', 'reset tcp', 'bound tcp',
       'udp', 'closed']


def start_with(world, kind, *args, **keywords):
    """A process whose fd 0 is of that kind."""
    if kind == 'closed':
        return world.spawn(*args, preexec_fn=lambda: os.close(0), **keywords)
    fd, others = odd_stdin(kind)
    try:
        return world.spawn(*args, stdin=fd, **keywords)
    finally:
        for other in [fd, *others]:
            os.close(other)


@pytest.mark.parametrize('kind', ODD)
def test_everything_else_on_fd_0_is_cgi(world, kind):
    """F2, C24: with a request in the environment and anything but a listening socket as stdin: one CGI request."""
    process = start_with(world, kind, world.write_app(HELLO), env=GET, stdout=subprocess.PIPE)
    out = process.output()
    assert process.wait() == 0 and out.endswith(b'\r\n\r\nhello'), (out, process.logged)


@pytest.mark.parametrize('kind', ODD)
def test_without_a_request_there_is_usage(world, kind):
    """F2: neither a listening socket nor a request: usage on stderr, exit 64, never a wait for a connection."""
    process = start_with(world, kind, world.write_app(HELLO), stdout=subprocess.PIPE)
    process.exit_codes = {64}
    assert process.output() == b''
    assert process.wait() == 64
    assert re.search('usage', process.logged, re.IGNORECASE)


@pytest.mark.parametrize('name', ['REQUEST_METHOD', 'GATEWAY_INTERFACE'])
def test_one_variable_makes_it_cgi(world, name):
    """F2: REQUEST_METHOD or GATEWAY_INTERFACE alone say that a server started this as a CGI script: there is an
    answer, if only an error page."""
    finished = world.run(world.write_app(HELLO), env={name: GET[name]})
    assert finished.stdout.startswith(b'Status: '), finished


@pytest.mark.parametrize('kind', ['unix', 'abstract', 'tcp', 'tcp6'])
@pytest.mark.parametrize('environment', ['empty', 'with a request'])
def test_listening_socket_is_fastcgi(world, kind, environment):
    """F2: a listening socket as fd 0 is FastCGI, even with a request's variables in the environment (a spawner started
    from a CGI script)."""
    path = world.new_path('sock') if kind == 'unix' else f'\0wsgi-cgi-test-{os.getpid()}-{id(world)}'
    sock, address = listening_socket(kind, path)
    with sock:
        process = world.spawn(world.write_app(HELLO), env=GET if environment == 'with a request' else None, stdin=sock)
    server = FcgiServer(world, process, address)
    server.ready()
    assert server.request().body == b'hello'


def test_a_client_in_the_queue_makes_no_difference(world):
    """F2: the socket is FastCGI also when a client is already waiting, or has come and gone."""
    sock, address = listening_socket('tcp')
    gone = fcgi.connect(address)
    gone.close()
    waiting = world.connect(address)
    with sock:
        process = world.spawn(world.write_app(HELLO), stdin=sock)
    server = FcgiServer(world, process, address)
    assert waiting.request(server.params()).body == b'hello'
    server.ready()


@pytest.mark.parametrize('closed', [(1,), (2,), (1, 2)], ids=str)
def test_stdout_and_stderr_closed_over_fastcgi(world, closed, tmp_path):
    """F1: lighttpd, mod_fcgid and spawn-fcgi start it with the socket on 0 and nothing on 1 and 2. What the program and
    the application open must not land there, or print() writes into it."""
    data = tmp_path / 'data'
    source = f'''
        import os, sys, subprocess
        file = open({str(data)!r}, 'w')
        def application(environ, start_response):
            print('out')
            sys.stderr.write('err')
            os.write(1, b'raw out')
            os.write(2, b'raw err')
            subprocess.run(['echo', 'child'])
            file.write('data')
            file.flush()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(file.fileno() > 2).encode()]
    '''
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        process = world.spawn(world.write_app(source), stdin=sock,
                              preexec_fn=lambda: [os.close(fd) for fd in closed])
    server = FcgiServer(world, process, address)
    server.log_is_whole = 2 not in closed
    server.ready()
    for _ in range(3):
        response = server.request()
        assert response.body == b'True' and response.complete
    assert data.read_text() == 'data' * 3


def test_no_socket_of_ours_reaches_children(fcgi_server):
    """F1, C27: fd 0 is /dev/null for the application and its children, and no other descriptor of the program is
    inherited by them."""
    server = fcgi_server('''
        import os, subprocess
        def application(environ, start_response):
            ls = subprocess.run(['ls', '-l', '/proc/self/fd'], stdout=subprocess.PIPE, close_fds=False).stdout
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [os.readlink('/proc/self/fd/0').encode(), chr(10).encode(), ls]
    ''')
    first, _, listing = server.request().body.partition(b'\n')
    assert first == b'/dev/null'
    assert b'socket:' not in listing and b'eventpoll' not in listing, listing.decode()


def test_mode_cgi_by_force(world):
    """--mode=cgi: a CGI request although fd 0 listens."""
    sock, _ = listening_socket('tcp')
    with sock:
        process = world.spawn('--mode=cgi', world.write_app(HELLO), env=GET, stdin=sock, stdout=subprocess.PIPE)
    assert process.output().endswith(b'hello') and process.wait() == 0


def test_mode_fastcgi_by_force_without_a_socket(run, world):
    """--mode=fastcgi with nothing to listen on: one line, an exit code, no hang."""
    finished = run('--mode=fastcgi', world.write_app(HELLO), env=GET)
    assert finished.code in (64, 71) and finished.stdout == b''
    assert finished.stderr.startswith('wsgi-cgi') and len(finished.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize('mode', ['php', '', 'CGI', 'fcgi '])
def test_unknown_mode(run, mode):
    """--mode: one line naming what was read and what is allowed."""
    finished = run(f'--mode={mode}', 'app.py')
    assert finished.code == 64 and 'cgi' in finished.stderr and 'fastcgi' in finished.stderr and mode in finished.stderr


@pytest.mark.parametrize('case, word', [('socket', 'fastcgi'), ('request', 'cgi'), ('bind', 'fastcgi'), ('nothing', '.')])
def test_explain(world, case, word):
    """F2: --explain says what was found and why, and stops: nothing is served, nothing bound."""
    keywords, args = {}, ['--explain']
    sock = None
    path = world.new_path('sock')
    if case == 'socket':
        sock, _ = listening_socket('tcp')
        keywords['stdin'] = sock
    if case == 'request':
        keywords['env'] = GET
    if case == 'bind':
        args += ['--bind', f'unix:{path}']
    process = world.spawn(*args, world.write_app(HELLO), stdout=subprocess.PIPE, **keywords)
    if sock:
        sock.close()
    process.exit_codes = {0, 64} if case == 'nothing' else {0}
    out = process.output().decode()
    process.wait()
    assert re.search(word, out + process.logged, re.IGNORECASE)
    assert 'REQUEST_METHOD' in out or case != 'request'
    assert not path.exists()


@pytest.mark.parametrize('option', [['--help'], ['-h'], ['--version'], ['-V']])
def test_help_and_version(run, option):
    """--help and --version go to stdout and exit 0."""
    finished = run(*option)
    assert finished.code == 0 and finished.stderr == '' and b'wsgi-cgi' in finished.stdout.lower()
    if option[0] in ('--version', '-V'):
        assert re.search(rb'\d+\.\d+', finished.stdout) and b'ython' in finished.stdout
    else:
        assert b'--bind' in finished.stdout and b'--threads' in finished.stdout


def test_no_arguments(run):
    """Nothing at all: usage, exit 64."""
    finished = run()
    assert finished.code == 64 and 'usage' in finished.stderr.lower()


# --- #! lines -------------------------------------------------------------------------------------------------------

def script(world, line, source=DUMP, name='script'):
    path = world.tmp_path / name
    path.write_text(f'#!{line}\n{source}')
    path.chmod(0o755)
    return path


def execute(world, path, *args, env=GET, expect=0, cwd=None):
    """A real execve() of the script: the kernel reads the #! line."""
    done = subprocess.run([path, *args], env=world.env(env), stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=10 * SLOW, cwd=cwd)
    assert done.returncode == expect, done
    return done.stdout.partition(b'\r\n\r\n')[2], done.stderr.decode()


def test_shebang_script(world):
    """C14: the script itself is the CGI program, with a name that has no suffix."""
    body, _ = execute(world, script(world, BINARY, HELLO))
    assert body == b'hello'


def test_shebang_with_several_options(world):
    """Linux hands all options of the line over as one word: it is split, with quotes as in a shell."""
    path = script(world, f'{BINARY} --set A.b=1 --set "C.d=two words" --threads 2')
    environ = json.loads(execute(world, path)[0])
    assert environ['A.b'] == '1' and environ['C.d'] == 'two words'


@pytest.mark.parametrize('words, value', [
    ('--set "A.b=two words"', 'two words'), ("--set 'A.b=two words'", 'two words'),
    (r'--set A.b=two\ words', 'two words'),
    ('"--set" A.b=x', 'x'), ("'--set=A.b=two words'", 'two words'), (r'\--set A.b=x', 'x'),
    ('--set=A.b="a \'b\' c"', "a 'b' c"), (r'--set "A.b=a \"b\" \c"', r'a "b" \c'),
    ("--set A.b='$HOME ~ `id` *'", '$HOME ~ `id` *'), ('--set A.b=$HOME', '$HOME'),
    ('--set A.b=""', ''), ('--set "A.b=é €"', 'é €'), ('--set\tA.b=x  ', 'x'),
])
def test_quotes_in_a_shebang_line(world, words, value):
    """Quotes and backslashes work as in a shell, also at the start of the line; nothing else of a shell does."""
    environ = json.loads(execute(world, script(world, f'{BINARY} {words}'))[0])
    assert environ['A.b'].encode('latin-1').decode() == value


@pytest.mark.parametrize('words', ['--set "A.b=1', "--set A.b=it's", "'--debug", '--debug \\'])
def test_a_quote_in_a_shebang_line_that_is_not_closed(world, words):
    """P11: one line that shows the words, 64, and a page for the client."""
    path = script(world, f'{BINARY} {words}')
    done = subprocess.run([path], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True, timeout=10 * SLOW)
    said = f'in the #! line: missing closing quote, or "\\" at the end: "{words}"'
    assert done.returncode == 64 and said in done.stderr.decode() and done.stdout.startswith(b'Status: 500 '), done


def test_shebang_with_one_option(world):
    """One word that is one option."""
    environ = json.loads(execute(world, script(world, f'{BINARY} --set=A.b=1'))[0])
    assert environ['A.b'] == '1'


@pytest.mark.parametrize('query', ['-h', '--version', '--set+A.b=2', '%2d-check'])
def test_shebang_options_hold_whatever_the_query_is(world, query):
    """C14: a query that looks like options reaches neither the parser nor switches the line's own options off."""
    path = script(world, f'{BINARY} --set A.b=1 --set C.d=2')
    words = query.replace('%2d', '-').split('+')
    body, _ = execute(world, path, *words, env={**GET, 'QUERY_STRING': query})
    environ = json.loads(body)
    assert environ['A.b'] == '1' and environ['C.d'] == '2' and environ['QUERY_STRING'] == query


def test_shebang_with_a_wrong_option(world):
    """A wrong word in the line is named, with where it stood."""
    path = script(world, f'{BINARY} --set A.b=1 --no-such-option')
    done = subprocess.run([path], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True, timeout=10 * SLOW)
    line, = [line for line in done.stderr.splitlines() if b'--no-such-option' in line]
    assert done.returncode == 64 and b'#!' in line
    assert done.stdout.startswith(b'Status: 500 '), 'the server got no response'


def test_shebang_that_the_kernel_cuts(world):
    """An option behind byte 255 would be lost, and it may be a limit: the request is refused, and the log says why."""
    line = f'{BINARY} --set A.b=1'
    line += ' --set C.d=' + 'x' * (300 - len(line)) + ' --limit-body 1k'
    path = script(world, line)
    done = subprocess.run([path], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True, timeout=10 * SLOW)
    assert done.returncode == 64 and done.stdout.startswith(b'Status: 500 '), done
    assert b'in the #! line: it is longer than the kernel reads, and was cut after "xxx' in done.stderr


def test_shebang_of_the_longest_line(world):
    """The kernel's buffer has 256 bytes, with the newline: what fits in is not refused, and --check is content."""
    line = f'{BINARY} --set A.b='
    path = script(world, line + 'x' * (253 - len(line)))
    assert len(path.read_text().splitlines()[0]) == 255
    environ = json.loads(execute(world, path)[0])
    assert len(environ['A.b']) == 253 - len(line)
    assert 'cannot be run' not in world.run('--check', path).stderr


# The first line, what --check says of it, and whether the kernel runs it all the same.
FAULTS = {
    'CR LF': ('#!{program}\r\n', 'its #! line ends in CR LF, as in files from Windows, and the kernel regards the CR as a '
              'part of the program\'s name: dos2unix removes it', False),
    'CR LF behind an option': ('#!{program} --set A.b=1\r\n', ': its #! line ends in CR LF, as in files from Windows; without an option in it, the kernel would not find the program: '
                               'dos2unix removes the CR', True),
    'CR LF and env': ('#!/usr/bin/env wsgi-cgi\r\n', 'its #! line ends in CR LF', False),
    'byte order mark': ('\ufeff#!{program}\n', 'a byte order mark (BOM) comes before its #! line', False),
    'blank': (' #!{program}\n', 'its first two bytes are not #!', False),
    'empty line': ('\n#!{program}\n', 'its first two bytes are not #!', False),
    'too long': ('#!{program} --set A.b={fill}\n', 'bytes, of which the kernel reads 255: it is cut after "xxx', False),
    'too long a path': ('#!/{fill}/wsgi-cgi\n', 'bytes, of which the kernel reads 255: it is cut after "xxx', False),
    'no such program': ('#!/no/such/wsgi-cgi\n', 'its #! line names /no/such/wsgi-cgi: /no does not exist; this wsgi-cgi is '
                        + os.path.realpath(BINARY), False),
    'no path': ('#!wsgi-cgi\n', 'its #! line names "wsgi-cgi", which is not an absolute path', False),
    'env with options': ('#!/usr/bin/env wsgi-cgi --threads 2\n', 'env regards all words after it as one', False),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_check_of_a_shebang_line(world, fault):
    """--check loads the application, which is all that FastCGI needs, and tells why a web server could not run the
    file. The kernel, asked, agrees."""
    line, text, runs = FAULTS[fault]
    path = world.tmp_path / 'script.py'
    path.write_bytes((line.format(program=BINARY, fill='x' * 250) + HELLO).encode())
    path.chmod(0o755)
    finished = world.run('--check', path)
    assert finished.code == 0 and b'loads' in finished.stdout, finished
    said, = [said for said in finished.stderr.splitlines() if text in said]
    assert ('warning: ' + str(path) + ('' if runs else ' cannot be run as a CGI script: ')) in said
    try:
        done = subprocess.run([path], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=10 * SLOW)
        ran = done.returncode == 0 and b'hello' in done.stdout
    except OSError:
        ran = False
    assert ran == runs


def test_check_of_permissions(world):
    """A script without the x bit; and one that only others may execute."""
    path = script(world, BINARY, HELLO)
    path.chmod(0o644)
    assert f'{path} cannot be run as a CGI script: it is not executable: chmod +x' in world.run('--check', path).stderr
    (world.tmp_path / 'gateway').symlink_to(BINARY)
    path = script(world, world.tmp_path / 'gateway', HELLO, 'other')
    path.chmod(0o644)
    assert 'it is not executable' in world.run('--check', path).stderr, 'the program by another name'
    if os.getuid() != 0:
        path.chmod(0o655)
        assert 'may not execute' in world.run('--check', path).stderr


def test_check_without_the_options_of_the_line(world):
    """--check FILE does not use the options in the file's #! line, and says so; executed, the script uses them."""
    (world.tmp_path / 'lib').mkdir()
    (world.tmp_path / 'lib' / 'deep.py').write_text(HELLO)
    path = world.tmp_path / 'script.cgi'
    path.write_text(f'#!{BINARY} --python-path {world.tmp_path}/lib\nfrom deep import application\n')
    path.chmod(0o755)
    finished = world.run('--check', path)
    assert finished.code == 70
    assert f'notice: {path}: the options in its #! line were not used here; ' in finished.stderr
    assert 'execute it with WSGI_CGI_OPTIONS=--check' in finished.stderr
    finished = world.run(binary=path, env={'WSGI_CGI_OPTIONS': '--check'})
    assert finished.code == 0 and b'loads' in finished.stdout and finished.stderr == ''


@pytest.mark.parametrize('line', ['#!/usr/bin/env python3', '#!/usr/bin/python3\r', '# no such line', ''])
def test_check_of_a_file_that_is_not_run(world, line):
    """For FastCGI alone a file needs neither a #! line nor an x bit, and a development server's is no business of ours."""
    path = world.tmp_path / 'app.py'
    path.write_text(f'{line}\n{HELLO}', newline='')
    assert world.run('--check', path).stderr == ''


def test_shebang_through_env(world):
    """#!/usr/bin/env -S wsgi-cgi --set A.b=1: env has split the words already."""
    path = script(world, f'/usr/bin/env -S {BINARY} --set A.b=1')
    assert json.loads(execute(world, path)[0])['A.b'] == '1'


def test_shebang_script_called_by_a_relative_path(world):
    """The kernel hands over the path as it was called: relative to the folder at that time."""
    script(world, BINARY, HELLO)
    assert execute(world, './script', cwd=world.tmp_path)[0] == b'hello'


def test_shebang_script_over_fastcgi(world):
    """The same script as a FastCGI program: lighttpd's bin-path may name it."""
    path = script(world, f'{BINARY} --threads 2 --set A.b=1')
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        process = world.spawn(binary=str(path), stdin=sock)
    server = FcgiServer(world, process, address)
    server.ready()
    assert server.request().json['A.b'] == '1'


# --- words and environment ------------------------------------------------------------------------------------------

@pytest.mark.parametrize('words', [['--help'], ['-h'], ['--no-such-option'], ['--', '-x'], ['other.py']])
def test_nothing_after_app_is_parsed(world, words):
    """C14: words behind APP do nothing, whatever they are; where a web server writes the command line, a warning says
    so."""
    sock, address = listening_socket('unix', world.new_path('sock'))
    with sock:
        process = world.spawn(world.write_app(HELLO), *words, stdin=sock)
    server = FcgiServer(world, process, address)
    server.expect_log(f'warning: "{words[0]}" after APP .* is ignored'
                      + (': options come before APP$' if words[0][0] == '-' else '$'))
    server.ready()
    assert server.request().body == b'hello'


def test_words_of_a_client_are_no_warning(cgi):
    """In a CGI request words behind APP may be the query's: nobody may fill the log with them."""
    server = cgi.serve(HELLO, args=['--threads', '4'])
    assert server.request(query='a').body == b'hello'
    assert '--threads' not in server.logged


@pytest.mark.parametrize('word, text', [
    ('--threads', 'options come before APP'), ('-t4', 'options come before APP'), ('-', 'options come before APP'),
    ('8000', 'nothing is read there: remove it'), ('--workers=4', 'options come before APP; use --processes'),
    ('--thread', 'options come before APP; did you mean --threads?'),
])
@pytest.mark.parametrize('how', ['bind', 'LISTEN_FDS', 'check', 'by hand', 'doctor'])
def test_words_of_the_administrator(world, how, word, text):
    """P11: where no client can have written a word behind APP, it is an error: "--threads 4" there was lost."""
    path = world.new_path('sock')
    app = world.write_app(HELLO)
    args = {'bind': ['--bind', f'unix:{path}'], 'check': ['--check'], 'doctor': ['--bind', f'unix:{path}', '--doctor']}
    if how == 'LISTEN_FDS':
        sock, _ = listening_socket('unix', world.new_path('other'))
        with sock:
            command = f'exec 3<&0 <&-; export LISTEN_FDS=1 LISTEN_PID=$$; exec {BINARY} "$@"'
            finished = world.run('-c', command, 'sh', app, word, binary='/bin/sh', stdin=sock)
    else:
        finished = world.run(*args.get(how, []), app, word)
    line, = finished.stderr.splitlines()
    assert finished.code == 64 and line.endswith(f': error: "{word}" after APP ({app}): {text}'), finished
    assert finished.stdout == b'' and not path.exists()


NO_REQUEST = 'no socket to listen on and no CGI request'


@pytest.mark.parametrize('words, code, text', [
    (['nope.py'], 66, 'APP: nope.py: {folder}/nope.py does not exist'),
    (['a-b'], 64, 'APP: a-b: there is no such file, and it is not MODULE[:CALLABLE]'),
    (['--threads', '4'], 64, 'no application: give APP'),
    (['--touch-reload', 'app.py'], 64, 'no application: app.py was taken as the FILE of --touch-reload: give APP after it'),
    (['--pid-file', 'app.py'], 64, 'no application: app.py was taken as the FILE of --pid-file: give APP after it'),
    (['--venv', 'nowhere', 'app.py'], 78, '--venv: {folder}/nowhere: {folder}/nowhere does not exist'),
    (['--python-path', 'nowhere', 'app.py'], 64, '--python-path: nowhere: {folder}/nowhere does not exist'),
    (['--scripts-in', 'nowhere'], 64, '--scripts-in: nowhere: {folder}/nowhere does not exist'),
    (['app.py'], 64, None),
])
def test_by_hand(run, tmp_path, words, code, text):
    """From a shell, without --bind: first what is wrong with the words, then that there is nothing to serve."""
    (tmp_path / 'app.py').write_text(HELLO)
    finished = run(*words)
    lines = finished.stderr.splitlines()
    assert finished.code == code
    assert text is None or text.format(folder=tmp_path) in lines.pop(0)
    assert NO_REQUEST in lines[0] and lines[1].startswith('usage: '), finished


@pytest.mark.parametrize('action', ['--check', '--explain'])
def test_words_behind_app_with_a_question(run, tmp_path, action):
    (tmp_path / 'app.py').write_text(HELLO)
    finished = run(action, 'app.py', '--threads', '4')
    assert finished.code == 64
    assert finished.stderr.count('\n') == 1 and '"--threads" after APP (app.py): options come' in finished.stderr
    assert (b'because: ' in finished.stdout) == (action == '--explain')


@pytest.mark.parametrize('words, text', [
    ([''], 'APP: invalid value "": expected a file'), (['--threads', '2', '', 'app.py'], 'APP: invalid value "" before "app.py": expected'),
    (['--', ''], 'APP: invalid value "": expected'), (['--python-path', '', 'app.py'], '--python-path: invalid value "": expected a directory'),
    (['--venv=', 'app.py'], '--venv: invalid value "": expected'),
])
@pytest.mark.parametrize('mode', ['check', 'bind', 'cgi'])
def test_empty_word(world, mode, words, text):
    """Two blanks in the file of a web server that splits at each; an empty variable."""
    before = {'check': ['--check'], 'bind': ['--bind', str(world.new_path('sock'))], 'cgi': []}[mode]
    finished = world.run(*before, *words, env=GET if mode == 'cgi' else {})
    assert finished.code == 64 and finished.stderr.count('\n') == 1 and text in finished.stderr, finished
    assert mode != 'cgi' or finished.stdout.startswith(b'Status: 500 ')


def test_double_dash_ends_the_options(world):
    """-- ends the options, so that APP may begin with a dash."""
    app = world.tmp_path / '-app.py'
    app.write_text(HELLO)
    finished = world.run('--', '-app.py', env=GET, cwd=world.tmp_path)
    assert finished.stdout.endswith(b'hello'), finished


def test_options_from_the_environment(transport):
    """WSGI_CGI_OPTIONS comes before the command line, which therefore wins; quotes as in a shell."""
    server = transport.serve(DUMP, '--set', 'C.d=line', env={
        'WSGI_CGI_OPTIONS': "--set A.b='two words' --set C.d=environment --threads 2"})
    environ = server.request().json
    assert environ['A.b'] == 'two words' and environ['C.d'] == 'line'


@pytest.mark.parametrize('text', ['--threads 0', '--no-such', 'app.py', '--set "A=b', '--set'])
def test_wrong_options_in_the_environment(run, world, text):
    """WSGI_CGI_OPTIONS: a mistake is named together with the variable."""
    finished = run(world.write_app(HELLO), env={'WSGI_CGI_OPTIONS': text})
    assert finished.code == 64 and 'WSGI_CGI_OPTIONS' in finished.stderr and len(finished.stderr.splitlines()) == 1
    as_cgi = run(world.write_app(HELLO), env={**GET, 'WSGI_CGI_OPTIONS': text})
    assert as_cgi.code == 64 and 'WSGI_CGI_OPTIONS' in as_cgi.stderr
    assert as_cgi.stdout.startswith(b'Status: 500 '), 'the server got no response'


@pytest.mark.parametrize('query', ['-h', '--set+A.b=2', '%2dh'])
def test_options_from_the_environment_hold_whatever_the_query_is(world, query):
    """C14: the environment variable is the administrator's; a query does not switch it off."""
    path = script(world, BINARY)
    body, _ = execute(world, path, *query.split('+'), env={**GET, 'QUERY_STRING': query,
                                                           'WSGI_CGI_OPTIONS': '--set A.b=1'})
    assert json.loads(body)['A.b'] == '1'


@pytest.mark.parametrize('name', ['HTTP_WSGI_CGI_OPTIONS', 'HTTP_LISTEN_FDS'])
def test_headers_are_no_configuration(cgi, name):
    """C14: a request header can never have the name of a variable that configures the program."""
    environ = cgi.serve(DUMP).request(params={name: '--set A.b=1'}).json
    assert 'A.b' not in environ


def test_listen_fds_of_another_process_are_not_ours(world):
    """F2: LISTEN_FDS with another LISTEN_PID were meant for a parent: ignored."""
    finished = world.run(world.write_app(HELLO), env={**GET, 'LISTEN_FDS': '1', 'LISTEN_PID': '1'})
    assert finished.code == 0 and finished.stdout.endswith(b'hello')


def test_app_not_found(run, world):
    """APP that does not exist, cannot be read or is a folder: one line, exit 66 (FastCGI), no Python started for it."""
    sock, _ = listening_socket('tcp')
    with sock:
        for app in (world.tmp_path / 'missing.py', world.tmp_path):
            finished = run(app, stdin=sock)
            assert finished.code == 66, finished
            assert len(finished.stderr.splitlines()) == 1 and str(app) in finished.stderr


def test_app_not_found_over_cgi(run, world):
    """The same for CGI: an exit code and a line, and the web server gets a response and not silence (C16)."""
    finished = run(world.tmp_path / 'missing.py', env=GET)
    assert 'missing.py' in finished.stderr
    assert finished.stdout.startswith(b'Status: 500') or finished.code == 66


def test_waiting_for_the_next_connection_is_idle(fcgi_unix):
    """F1: an idle server uses no processor time."""
    server = fcgi_unix(HELLO)
    server.request()

    def ticks():
        fields = open(f'/proc/{server.pid}/stat').read().rpartition(')')[2].split()
        return int(fields[11]) + int(fields[12])
    before, conn = ticks(), server.connect()
    assert conn.silent(1)
    assert ticks() - before <= 2
    wait_for(server.running, 1, 'life')
