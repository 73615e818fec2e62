"""Listening sockets: F3, F32; --bind, --allow, --backlog, LISTEN_FDS. Mode and owner of sockets are in
test_options.py."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess

import pytest

import fcgi
from apps import HELLO
from fcgi import wait_for
from harness import FcgiServer, listening_socket, open_fds
from settings import BINARY
from test_syscalls import traced


# When this program has loaded it.
BORN = HELLO.replace("b'hello'", "BORN") + "\nimport time\nBORN = str(time.time_ns()).encode()\n"


# The number of listen() in /proc/PID/syscall.
LISTEN = {'x86_64': '50', 'aarch64': '201', 'riscv64': '201'}.get(os.uname().machine)


def listening_tcp(pid):
    """The (address, port) pairs a process listens on, from /proc."""
    inodes = {target[8:-1] for target in open_fds(pid).values() if target.startswith('socket:')}
    found = []
    for name, family, size in (('tcp', socket.AF_INET, 4), ('tcp6', socket.AF_INET6, 16)):
        with open(f'/proc/{pid}/net/{name}') as table:
            next(table)
            for line in table:
                fields = line.split()
                if fields[3] == '0A' and fields[9] in inodes:
                    host, port = fields[1].split(':')
                    # 32-bit words in the machine's byte order.
                    raw = b''.join(bytes.fromhex(host[i:i + 8])[::-1] for i in range(0, size * 2, 8))
                    found.append((socket.inet_ntop(family, raw), int(port, 16)))
    return sorted(found)


def serve(world, *options, app=HELLO, address=None, tcp=0, env=None):
    """Start with --bind and the like; `tcp`: how many TCP sockets to wait for, the first is the server's address."""
    process = world.spawn(*options, world.write_app(app), env=env)
    if tcp:
        wait_for(lambda: not process.running() or len(listening_tcp(process.pid)) >= tcp, 10, 'TCP sockets')
        assert process.running(), process.logged
        address = listening_tcp(process.pid)[0]
    server = FcgiServer(world, process, address)
    server.ready()
    return server


@pytest.mark.parametrize('form', ['unix:{}', '{}'])
def test_unix(world, form):
    """F32: unix:/path and /path. The file is removed at the end."""
    path = world.new_path('sock')
    server = serve(world, '--bind', form.format(path), address=str(path))
    assert server.request().body == b'hello'
    assert server.stop() == 0
    assert not path.exists()


def test_short_option(world):
    """F32: -b."""
    path = world.new_path('sock')
    assert serve(world, '-b', str(path), address=str(path)).request().body == b'hello'


def test_abstract(world):
    """F32: an abstract unix address, unix:@name or @name."""
    name = f'wsgi-cgi-test-{os.getpid()}-{world.run_dir.name}'
    server = serve(world, '--bind', f'unix:@{name}', address='\0' + name)
    assert server.request().body == b'hello'


@pytest.mark.parametrize('given, host', [('127.0.0.1:0', '127.0.0.1'), ('[::1]:0', '::1'), ('127.0.0.3:0', '127.0.0.3')])
def test_tcp(world, given, host):
    """F32: HOST:PORT and [::1]:PORT."""
    server = serve(world, '--bind', given, tcp=1)
    assert server.address[0] == host
    assert server.request().body == b'hello'


def test_port_alone_is_loopback(world):
    """F32: :PORT listens on loopback only, nobody outside can connect."""
    server = serve(world, '--bind', ':0', tcp=1)
    assert {host for host, _ in listening_tcp(server.pid)} <= {'127.0.0.1', '::1'}
    assert server.request().body == b'hello'


def test_length_of_the_queue(world):
    """P8: how many may wait is --backlog, for each socket; for TCP, too, where nobody sees when it is full."""
    server = serve(world, '--bind', '127.0.0.1:0', '--bind', '127.0.0.1:0', '--backlog', '7', '--status-path', '/status',
                   tcp=2)
    assert server.request(path='/status', query='json').json['listen queue len'] == 14


def test_many_addresses(world):
    """F32: --bind may be given several times; all are served."""
    paths = [world.new_path('sock') for _ in range(3)]
    server = serve(world, *[f'--bind={p}' for p in paths], '--bind', '127.0.0.1:0', '--bind', '[::1]:0', tcp=2)
    for address in [*map(str, paths), *listening_tcp(server.pid)]:
        with fcgi.Connection(address) as conn:
            assert conn.request(server.params()).body == b'hello'


@pytest.mark.parametrize('address', ['0.0.0.0:0', '[::]:0', '192.0.2.1:0', '0:0'])
def test_other_addresses_need_allow(run, world, address):
    """FastCGI has no password: an address that is not loopback is refused unless --allow says who may come."""
    finished = run('--bind', address, world.write_app(HELLO))
    assert finished.code == 64 and '--allow' in finished.stderr or address == '0:0' and finished.code == 64
    assert len(finished.stderr.splitlines()) == 1


@pytest.mark.parametrize('allow, welcome', [('127.0.0.1', True), ('127.0.0.0/8', True), ('any', True),
                                            ('10.0.0.0/8', False), ('10.0.0.0/8,127.0.0.1', True),
                                            ('127.0.0.2/32', False), ('::1', False), ('[::1]', False),
                                            ('0.0.0.0/0', True), ('localhost', True)])
def test_allow(world, allow, welcome):
    """F3: only listed peers; the others are closed before a byte of them is looked at."""
    process = world.spawn('--bind', '0.0.0.0:0', '--allow', allow, world.write_app(HELLO))
    process.log.allow('refused|allow|peer')
    wait_for(lambda: not process.running() or listening_tcp(process.pid), 10, 'TCP socket')
    (_, port), = listening_tcp(process.pid)
    conn = world.connect(('127.0.0.1', port))
    conn.send(fcgi.request_bytes([('REQUEST_METHOD', 'GET'), ('SERVER_NAME', 'x'), ('SERVER_PORT', '80'),
                                  ('SERVER_PROTOCOL', 'HTTP/1.1'), ('PATH_INFO', '/')]))
    response = conn.response()
    assert response.status == (200 if welcome else None)
    for _ in range(2 if not welcome else 0):
        world.connect(('127.0.0.1', port)).wait_eof()
    process.signal(15)
    assert process.wait() == 0
    told = process.logged.count('notice: a connection from 127.0.0.1 is refused: it is not listed in --allow')
    assert told == (0 if welcome else 1), process.logged


def test_allow_twice(world):
    """F3: --allow adds up, and mixes IPv4 and IPv6."""
    process = world.spawn('--bind', '127.0.0.1:0', '--bind', '[::1]:0', '--allow', '10.0.0.1', '--allow', '::1',
                          world.write_app(HELLO))
    process.log.allow('refused|allow|peer')
    wait_for(lambda: len(listening_tcp(process.pid)) == 2, 10, 'TCP sockets')
    answers = {}
    for address in listening_tcp(process.pid):
        conn = world.connect(address)
        conn.send(fcgi.request_bytes([('REQUEST_METHOD', 'GET'), ('SERVER_NAME', 'x'), ('SERVER_PORT', '80'),
                                      ('SERVER_PROTOCOL', 'HTTP/1.1'), ('PATH_INFO', '/')]))
        answers[address[0]] = conn.response().status
    assert answers == {'127.0.0.1': None, '::1': 200}
    process.signal(15)
    process.wait()


def fd_0_server(world, kind, env):
    sock, address = listening_socket(kind, world.new_path('sock') if kind == 'unix' else None)
    with sock:
        process = world.spawn(world.write_app(HELLO), stdin=sock, env=env)
    process.log.allow('refused|allow|peer')
    return FcgiServer(world, process, address)


@pytest.mark.parametrize('kind', ['tcp', 'tcp6'])
@pytest.mark.parametrize('addresses, welcome', [
    ('127.0.0.1,::1', True), ('localhost', True), ('10.0.0.1', False), ('10.0.0.1,10.0.0.2', False)])
def test_web_server_addrs(world, kind, addresses, welcome):
    """F3: FCGI_WEB_SERVER_ADDRS lists who may connect; libfcgi knows IPv4 only."""
    server = fd_0_server(world, kind, {'FCGI_WEB_SERVER_ADDRS': addresses})
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params()))
    response = conn.response()
    assert response.status == (200 if welcome else None)


def test_web_server_addrs_excludes_other_transports(world):
    """F3: with the variable set a peer that is not TCP is refused, too (FastCGI 1.0, 3.2)."""
    server = fd_0_server(world, 'unix', {'FCGI_WEB_SERVER_ADDRS': '127.0.0.1'})
    conn = server.connect()
    conn.send(fcgi.request_bytes(server.params()))
    assert conn.response().status is None


def test_source_addresses(world):
    """F3: it is the peer's address that counts."""
    server = fd_0_server(world, 'tcp', {'FCGI_WEB_SERVER_ADDRS': '127.0.0.2'})
    for source, status in (('127.0.0.1', None), ('127.0.0.2', 200)):
        with socket.socket() as sock:
            sock.bind((source, 0))
            sock.connect(server.address)
            conn = fcgi.Connection(sock=sock)
            conn.send(fcgi.request_bytes(server.params()))
            assert conn.response().status == status


def test_malformed_web_server_addrs(run, world):
    """F3: a list that cannot be understood must not mean "everybody"."""
    sock, _ = listening_socket('tcp')
    with sock:
        finished = run(world.write_app(HELLO), stdin=sock, env={'FCGI_WEB_SERVER_ADDRS': 'localhost;x'})
    assert finished.code in (64, 78) and 'FCGI_WEB_SERVER_ADDRS' in finished.stderr


def test_stale_socket_is_replaced(world):
    """F32: a socket file nobody listens on any more (kill -9) is replaced."""
    path = world.new_path('sock')
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = serve(world, '--bind', f'unix:{path}', address=str(path))
    assert server.request().body == b'hello'


@pytest.mark.parametrize('kind', ['file', 'folder', 'fifo', 'link to a file'])
def test_what_is_no_socket_is_never_unlinked(run, world, kind):
    """F32: libfcgi unlinks whatever has that name; here it is an error and the file stays."""
    path, target = world.new_path('thing'), world.new_path('target')
    if kind == 'file':
        path.write_text('precious')
    elif kind == 'folder':
        path.mkdir()
    elif kind == 'fifo':
        os.mkfifo(path)
    else:
        target.write_text('precious')
        path.symlink_to(target)
    before = os.lstat(path)
    finished = run('--bind', f'unix:{path}', world.write_app(HELLO))
    assert finished.code in (69, 71) and str(path) in finished.stderr, finished
    after = os.lstat(path)
    assert (before.st_ino, stat.S_IFMT(before.st_mode)) == (after.st_ino, stat.S_IFMT(after.st_mode))
    if kind in ('file', 'link to a file'):
        assert path.read_text() == 'precious'


def test_live_socket_is_not_taken_over(run, world):
    """F32: another server listens there: refused with a reason, and that server goes on."""
    path = world.new_path('sock')
    first = serve(world, '--bind', f'unix:{path}', address=str(path))
    finished = run('--bind', f'unix:{path}', world.write_app(HELLO))
    assert finished.code in (69, 71) and str(path) in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    assert first.request().body == b'hello'


@traced
@pytest.mark.skipif(LISTEN is None, reason='the number of listen() is not known here')
def test_two_that_start_at_once(world):
    """F32: of two servers that start at the same path at the same time one serves, and the other one ends, with a reason,
    instead of listening at a socket that nobody can find."""
    path = world.new_path('sock')
    held = world.new_path('held')
    held.write_text(f'#!/bin/sh\nexec strace -D -f -o /dev/null -e trace=listen -e inject=listen:delay_enter=600s {BINARY} '
                    '"$@"\n')
    held.chmod(0o755)
    first = world.spawn('--bind', f'unix:{path}', world.write_app(HELLO), binary=held)

    def tracer_at_listen():
        with open(f'/proc/{first.pid}/status') as status:
            text = status.read()
        state, tracer = re.search(r'^State:\s+(\w).*^TracerPid:\s+(\d+)', text, re.MULTILINE | re.DOTALL).groups()
        with open(f'/proc/{first.pid}/syscall') as call:
            return state == 't' and call.read().split()[0] == LISTEN and int(tracer)
    tracer = wait_for(tracer_at_listen, 20, 'listen()')
    second = serve(world, '--bind', f'unix:{path}', address=str(path))
    first.exit_codes = {69}
    first.log.allow('.')
    os.kill(tracer, signal.SIGKILL)         # the call goes on
    assert first.wait(20) == 69 and 'another process has replaced the file' in first.logged
    assert second.request().body == b'hello'


def test_tcp_port_in_use(run, world):
    """F32: the same for TCP."""
    first = serve(world, '--bind', '127.0.0.1:0', tcp=1)
    host, port = first.address
    finished = run('--bind', f'{host}:{port}', world.write_app(HELLO))
    assert finished.code in (69, 71) and str(port) in finished.stderr and len(finished.stderr.splitlines()) == 1
    assert first.request().body == b'hello'


@pytest.mark.skipif(shutil.which('ss') is None, reason='there is no ss(8) here')
@pytest.mark.parametrize('form', ['unix:{}', '{}', '@{}', '127.0.0.1:0', '[::1]:0'])
def test_who_has_the_address(run, world, form):
    """F32: the message has the command that shows which process it is."""
    path = world.new_path('sock')
    address = form.format(path)
    if form.endswith(':0'):
        server = serve(world, '--bind', address, tcp=1)
        address = form[:-1] + str(server.address[1])
    else:
        server = serve(world, '--bind', address, address='\0' + str(path) if form[0] == '@' else str(path))
    finished = run('--bind', address, world.write_app(HELLO))
    assert finished.code == 69, finished
    text, command = finished.stderr.rstrip().split('; to see which: ')
    assert text.endswith(f'error: --bind: {address} is in use: another process listens there')
    shown = subprocess.run(command.split(), stdout=subprocess.PIPE, text=True, check=True).stdout
    assert len(shown.splitlines()) == 2 and f'pid={server.pid},' in shown, shown


NOBODY = {'user': 65534, 'group': 65534, 'extra_groups': []}


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can become another user')
@pytest.mark.parametrize('option', ['--bind', '--control', '--pid-file', '--log-file', '--access-log', '--chdir'])
@pytest.mark.parametrize('what', ['closed', 'not writable', 'missing'])
def test_who_may_not_write_where(run, world, option, what):
    """F32, P11: not "Permission denied" alone, but the user, and the folder that he may not use."""
    folder = world.run_dir / 'folder'
    world.public_binary()           # so that everybody can reach run_dir
    app = world.run_dir / 'app.py'
    app.write_text(HELLO)
    if what != 'missing':
        folder.mkdir()
        folder.chmod(0o700 if what == 'closed' else 0o755)
    path = folder / 'new'
    options = {'--bind': '127.0.0.1:0', option: path}
    finished = run(*(word for pair in options.items() for word in pair), app, cwd='/', **NOBODY)
    user = r'user \w+ \(uid 65534\) may not '
    reason = {'missing': f'{folder} does not exist', 'closed': f'{user}enter {folder}',
              'not writable': f'{path} does not exist' if option == '--chdir' else f'{user}create files in {folder}'}[what]
    assert finished.code in (66, 69, 73, 77) and finished.stderr.count('\n') == 1, finished
    assert re.search(f'error: {option}: {path}: (cannot be opened for writing: )?{reason}(\n|; )', finished.stderr), finished
    if option in ('--bind', '--control'):
        assert re.search('; create it first\n' if what == 'missing' else
                         '; choose another folder, or start as root with --user\n', finished.stderr)
        assert finished.code == (69 if what == 'missing' else 77)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root can become another user')
@pytest.mark.parametrize('what', ['sticky', 'file'])
def test_what_belongs_to_another_user(run, world, what):
    """F32: a socket left by root that its next user cannot replace, and a log that he may not write to."""
    world.public_binary()
    folder = world.run_dir / 'folder'
    folder.mkdir()
    folder.chmod(0o1777 if what == 'sticky' else 0o755)
    path = folder / 'old'
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    path.chmod(0o666)
    if what == 'file':
        path.unlink()
        path.write_text('')
        path.chmod(0o644)
        options, reason = ['--log-file', path, '--bind', '127.0.0.1:0'], 'may not write to {}'
    else:
        options, reason = ['--bind', path], 'it belongs to uid 0, and .* may not remove the files of others from {}'
        folder = path.parent
    finished = run(*options, world.write_app(HELLO), cwd='/', **NOBODY)
    assert re.search(reason.format(path if what == 'file' else folder), finished.stderr), finished
    assert 'uid 65534' in finished.stderr and finished.code in (73, 77), finished


def test_address_of_another_machine(run, world):
    """F32: no interface has it."""
    finished = run('--bind', '192.0.2.1:9000', '--allow', 'any', world.write_app(HELLO))
    assert finished.code == 69 and 'no network interface of this machine has this address' in finished.stderr, finished


def test_one_address_in_use_leaves_nothing_behind(run, world):
    """F32: when the second address fails the first one's socket file goes."""
    path = world.new_path('sock')
    sock, (host, port) = listening_socket('tcp')
    with sock:
        finished = run('--bind', f'unix:{path}', '--bind', f'{host}:{port}', world.write_app(HELLO))
    assert finished.code in (69, 71) and not path.exists()


def test_restart_while_connections_linger(world):
    """F32: a server that restarts gets its TCP port again although connections of the old one are in TIME_WAIT."""
    first = serve(world, '--bind', '127.0.0.1:0', tcp=1)
    conn = first.connect()
    assert conn.request(first.params(), keep=True).body == b'hello'
    assert first.stop() == 0
    host, port = first.address
    second = serve(world, '--bind', f'{host}:{port}', tcp=1)
    assert second.address == (host, port) and second.request().body == b'hello'


def test_folder_that_is_missing(run, world):
    """F32: a clear error, with the path."""
    finished = run('--bind', 'unix:/no/such/folder/sock', world.write_app(HELLO))
    assert finished.code in (69, 71) and '/no/such/folder/sock' in finished.stderr


@pytest.mark.parametrize('length', [107, 108, 200])
def test_length_of_a_path(world, run, length):
    """F32: a unix path has at most 107 bytes; a longer one is refused, not cut."""
    path = str(world.run_dir) + '/' + 's' * (length - len(str(world.run_dir)) - 1)
    if length == 107:
        assert serve(world, '--bind', path, address=path).request().body == b'hello'
        return
    finished = run('--bind', path, world.write_app(HELLO))
    assert finished.code in (64, 69, 71) and len(finished.stderr.splitlines()) == 1
    assert os.listdir(world.run_dir) == [name for name in os.listdir(world.run_dir) if not name.startswith('sss')]


def test_socket_of_somebody_else_is_left_alone(world):
    """F32: only the socket file that this process made is removed at its end."""
    path = world.new_path('sock')
    server = serve(world, '--bind', f'unix:{path}', address=str(path))
    server.request()
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        server.stop()
        assert path.exists()


@pytest.mark.parametrize('what', ['socket', 'file', 'nothing', 'its own'])
@pytest.mark.parametrize('option', ['--bind', '--control'])
def test_socket_file_after_a_restart(world, option, what):
    """F32, P5: the program that has executed itself again removes what it had made before, and nothing else that has come in
    its place."""
    path, main = world.new_path('sock'), world.new_path('main')
    server = serve(world, '--bind', str(main), option, f'unix:{path}', app=BORN, address=str(main))
    server.check_fds = False        # another program on the same pid
    server.allow_log('SIGHUP|new code')
    born = server.request().body
    if what != 'its own':
        path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        if what == 'socket':
            other.bind(str(path))
        elif what == 'file':
            path.write_text('precious')
        server.signal(signal.SIGHUP)
        wait_for(lambda: server.request().body != born, 20, 'the program executed again')
        assert server.stop() == 0
        assert path.exists() == (what in ('socket', 'file')) and not main.exists()


@pytest.mark.parametrize('size', [1, 5])
def test_backlog(world, size):
    """F32: --backlog is what listen() gets: with the only thread busy, that many connections wait, and one."""
    path, gate = world.new_path('sock'), world.new_path('gate')
    server = serve(world, '--bind', f'unix:{path}', '--backlog', str(size), address=str(path), app=f'''
        import os, time
        def application(environ, start_response):
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.01)
            start_response('200 OK', [])
            return [b'x']
    ''')
    busy = server.start()
    busy.finish_body()

    def full():
        """Fill the queue; the busy thread takes nothing out of it."""
        waiting = []
        try:
            for _ in range(50):
                sock = socket.socket(socket.AF_UNIX)
                waiting.append(sock)
                sock.setblocking(False)
                sock.connect(str(path))
        except BlockingIOError:
            return len(waiting) - 1
        finally:
            for sock in waiting:
                sock.close()
        return None
    # The busy request itself may still be in the queue at the first try.
    assert wait_for(lambda: full(), 2, 'a full queue') in (size, size + 1)
    gate.touch()
    assert busy.response().body == b'x'


def with_listen_fds(world, sockets, *args, names=None, shift=0, **keywords):
    """The program started as systemd does: sockets from fd 3, LISTEN_FDS, and LISTEN_PID its own pid."""
    script = 'export LISTEN_PID=$(($$ + %d)) LISTEN_FDS=%d%s; exec "$0" "$@"' % (
        shift, len(sockets), f' LISTEN_FDNAMES={names}' if names else '')

    def place():
        high = [fd for fd in (os.dup2(sock.fileno(), 100 + i) for i, sock in enumerate(sockets))]
        for i, fd in enumerate(high):
            os.dup2(fd, 3 + i, inheritable=True)
            os.close(fd)
    return world.spawn('-c', script, BINARY, *args, binary='/bin/sh', close_fds=False, preexec_fn=place,
                       **keywords)


def test_listen_fds(world):
    """F32: sockets passed by systemd, two of them of different kinds; the variables do not reach the application."""
    one, first = listening_socket('unix', world.new_path('sock'))
    two, second = listening_socket('tcp')
    app = world.write_app('''
        import os
        def application(environ, start_response):
            start_response('200 OK', [])
            return [repr([v for v in os.environ if v.startswith('LISTEN_')]).encode()]
    ''')
    with one, two:
        process = with_listen_fds(world, [one, two], app)
    server = FcgiServer(world, process, first)
    server.ready()
    assert server.request().body == b'[]'
    with fcgi.Connection(second) as conn:
        assert conn.request(server.params()).body == b'[]'


def test_listen_fds_that_do_not_listen(world):
    """F32: a socket that does not listen, or none at all, is an error and not a wait for ever."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        process = with_listen_fds(world, [sock], world.write_app(HELLO))
        process.exit_codes = {64, 71, 78}
        process.log.allow('.')
        process.wait()
        assert 'is not a listening socket: LISTEN_FDS or the spawner must pass one (systemd: ListenStream=' in process.logged


def test_bind_wins_over_listen_fds(world):
    """The mode table: --bind first."""
    sock, _ = listening_socket('unix', world.new_path('sock'))
    path = world.new_path('sock')
    with sock:
        process = with_listen_fds(world, [sock], '--bind', str(path), world.write_app(HELLO))
    server = FcgiServer(world, process, str(path))
    server.ready()
    assert server.request().body == b'hello'


def test_explain_bind_leaves_no_socket(run, world):
    """--explain with --bind: says so and makes nothing."""
    path = world.new_path('sock')
    finished = run('--explain', '--bind', f'unix:{path}', world.write_app(HELLO), stdin=subprocess.DEVNULL)
    assert finished.code == 0 and str(path).encode() in finished.stdout and not path.exists()
