"""A root directory with less in it than usual: no /dev, no /proc, as a web server's chroot has. C14, C24."""

import os
import shutil
import signal
import subprocess

import pytest

from apps import HELLO
from fcgi import wait_for
from harness import FcgiServer
from settings import BINARY, SANITIZED
from test_venv import embedded_python


def cannot():
    if os.geteuid() != 0:
        return 'only root can change the root directory'
    done = subprocess.run(['unshare', '-m', 'true'], capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None


WHY_NOT = cannot()
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)),
              pytest.mark.skipif(SANITIZED, reason='sanitizers need /proc and files of their own')]


@pytest.fixture
def root(world):
    """A root directory with the program, /usr, its Python and what leads there; `root / 'enter'` starts it there."""
    folder = world.run_dir / 'root'
    (folder / 'usr').mkdir(parents=True)
    (folder / 'run').mkdir()
    (folder / 'proc').mkdir()
    mounts, prefix = [], os.path.dirname(os.path.dirname(os.path.realpath(embedded_python())))
    if not prefix.startswith('/usr'):
        (folder / prefix[1:]).mkdir(parents=True)
        mounts = [f'mount --bind {prefix} {folder}{prefix}']
    mounts += [f'mount --bind /usr {folder}/usr', 'test -z "$WITH_PROC" || ' + f'mount -t proc proc {folder}/proc']
    for name in 'bin', 'lib', 'lib64':
        if os.path.islink(f'/{name}'):
            (folder / name).symlink_to(os.readlink(f'/{name}'))
        elif os.path.isdir(f'/{name}'):
            (folder / name).mkdir()
            mounts.append(f'mount --bind /{name} {folder}/{name}')
    shutil.copy(BINARY, folder / 'wsgi-cgi')
    enter = folder / 'enter'
    lines = [*mounts, f'exec chroot {folder} /wsgi-cgi "$@"']
    enter.write_text('#!/bin/sh\n[ "$MOUNTED" ] || MOUNTED=1 exec unshare -m "$0" "$@"\nset -e\nunset MOUNTED\n' +
                     '\n'.join(lines) + '\n')
    enter.chmod(0o755)
    return folder


GET = {'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'x', 'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1',
       'GATEWAY_INTERFACE': 'CGI/1.1'}


@pytest.mark.parametrize('closed', [(), (0,), (2,), (0, 2)], ids=str)
def test_cgi(world, root, closed):
    """C24: without /dev/null a script is served, also where the web server has closed descriptors; it was "out of
    descriptors"."""
    (root / 'app.py').write_text("print('printed')\n" + HELLO)
    process = world.spawn('/app.py', binary=root / 'enter', env=GET, stdout=subprocess.PIPE,
                          preexec_fn=lambda: [os.close(fd) for fd in closed])
    output = process.output()
    assert output.startswith(b'Status: 200 OK\r\n') and output.endswith(b'\r\n\r\nhello'), process.logged
    assert process.wait() == 0
    if 2 not in closed:
        assert process.logged == 'printed\n'


def test_stdin_is_at_its_end(world, root):
    """C24: what reads standard input instead of wsgi.input finds nothing, and does not wait."""
    (root / 'app.py').write_text('import os, sys\n' + HELLO.replace("b'hello'", "repr((os.read(0, 9), sys.stdin.read())).encode()"))
    process = world.spawn('/app.py', binary=root / 'enter', env=GET, stdout=subprocess.PIPE)
    assert process.output().endswith(b"\r\n\r\n(b'', '')"), process.logged
    assert process.wait() == 0


def test_client_that_is_gone(world, root):
    """C23: the end of a response that nobody can take is still told by the exit code."""
    (root / 'app.py').write_text(HELLO)
    process = world.spawn('/app.py', binary=root / 'enter', env=GET, preexec_fn=lambda: os.close(1))
    process.exit_codes = {1}
    process.log.expect("error: .* Bad file descriptor after 5 bytes of the response's body")
    assert process.wait() == 1


@pytest.mark.parametrize('mode', [[], ['--processes', '1']], ids=['alone', 'master'])
def test_fastcgi(world, root, mode):
    """F1: the same for FastCGI, and for a reload, which tries the new code in a child."""
    (root / 'app.py').write_text(HELLO)
    path = root / 'run' / 'sock'
    process = world.spawn('--bind', '/run/sock', *mode, '/app.py', binary=root / 'enter', env={'WITH_PROC': '1'})
    wait_for(lambda: not process.running() or path.exists(), 10, 'the socket')
    server = FcgiServer(world, process, str(path))
    server.check_fds = False
    server.ready()
    assert server.request().body == b'hello'
    (root / 'app.py').write_text("print('printed')\n" + HELLO.replace('hello', 'again'))
    server.signal(signal.SIGHUP)
    wait_for(lambda: server.request().body == b'again', 20, 'the new code')
    assert 'printed' in server.logged
    assert server.stop(timeout=10) == 0
