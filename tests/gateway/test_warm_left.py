"""What the start of an instance of --keep-warm finds in its folder: files of one that ends, that has failed, that nobody
can reach, or that serves another site. P29."""

import os
import signal
import subprocess
import time

import pytest

from fcgi import wait_for
from test_starting import as_root
from test_warm_commands import CGI, GATED, STRANGER, Warm, gone, peer, public_app

PID = '''
    import os
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'%d' % os.getppid()]
'''


def begin(world, path, env):
    """A CGI request that the application has begun."""
    process = world.spawn('--keep-warm', path, env=env, stdout=subprocess.PIPE)
    process.expect_log('it has begun')
    process.wait_log('it has begun')
    return process


@pytest.fixture
def warm(world):
    made = Warm(world)
    yield made
    made.end()


def test_starts_beside_one_that_finishes(warm, world):
    """P29: after SIGTERM an instance keeps its control socket until its last request is done; the next one starts at once,
    and both keep what is theirs."""
    gate, path = world.new_path('gate'), world.write_app(GATED)
    env = {**warm.env, **CGI, 'GATE': str(gate)}
    slow = begin(world, path, env)
    old, = warm.pids()
    os.kill(old, signal.SIGTERM)
    wait_for(lambda: not list(warm.folder.glob('*.sock')), 10, 'the end of the socket')
    second = begin(world, path, env)
    new, = warm.pids()
    assert new != old
    assert {peer(file) for file in warm.folder.glob('*.ctl')} == {old, new}
    gate.touch()
    assert all(process.output().endswith(b'whole') for process in (slow, second))
    wait_for(lambda: gone(old), 10, 'the end of the old instance')
    assert warm.pids() == {new} and len(list(warm.folder.glob('*.log'))) == 2
    # The next start removes what the old one has left.
    os.kill(new, signal.SIGTERM)
    wait_for(lambda: gone(new), 10, 'the end of the new instance')
    assert begin(world, path, env).output().endswith(b'whole')
    assert len(list(warm.folder.iterdir())) == 3


def test_socket_was_cleaned_away(warm, world):
    """P29: a program that cleans /tmp removes the socket of an instance; the next one takes its place."""
    path = world.write_app(PID)
    old = int(warm.request(path))
    file, = warm.folder.glob('*.sock')
    file.unlink()
    new = int(warm.request(path))
    assert new != old and int(warm.request(path)) == new and warm.pids() == {new}


def test_socket_of_the_future(warm, world):
    """P29: where the clock was set back, an instance that was killed has not "just ended"."""
    path = world.write_app(PID)
    old = int(warm.request(path))
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: warm.pids() == set(), 10, 'the end of the instance and its worker')
    for file in warm.folder.iterdir():
        os.utime(file, (time.time() + 86400,) * 2)
    assert int(warm.request(path)) not in (old, os.getpid())
    assert len(warm.pids()) == 1


def test_one_that_fails_is_not_started_for_each_request(warm, world):
    """P29: an instance that ends with an error right after its start is not started again at once."""
    path = world.write_app('\nimport it_is_not_there\n')
    started = set()
    for _ in range(3):
        finished = warm.run('--keep-warm', '--need-app', path, env=CGI)
        assert finished.code == 1 and 'this process serves the request' in finished.stderr, finished
        started.add('has ended right after its start' not in finished.stderr)
        log, = warm.folder.glob('*.log')
        stopped = log.read_text().count('the service ends')
        os.utime(log)               # however slow this machine is
    assert started == {True, False} and stopped == 1


def test_body_for_one_that_fails(warm, world):
    """P29: an instance that ends before it has begun a request with a large body has taken nothing of it."""
    path, body = world.write_app('\nimport it_is_not_there\n'), b'x' * 300000
    finished = warm.run('--keep-warm', '--need-app', path, stdin=body,
                        env={**CGI, 'REQUEST_METHOD': 'POST', 'CONTENT_LENGTH': str(len(body))})
    assert finished.stdout.startswith(b'Status: 500 ') and 'the instance ended' in finished.stderr, finished
    assert 'this process serves the request' in finished.stderr and 'it_is_not_there' in finished.stderr, finished


@as_root
def test_any_umask(world):
    """P29: a umask that takes even the owner's rights leaves no folder and no socket that the owner cannot use."""
    warm, path = Warm(world, STRANGER), public_app(world)
    try:
        assert [warm.run('--keep-warm', path, env=CGI, umask=0o777).stderr for _ in range(2)] == ['', '']
        assert len(warm.pids()) == 1 and warm.request(path) == b'hello'
    finally:
        warm.end()


WHERE = '''
    import os
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [f'{os.getcwd()} {__file__}'.encode()]
'''


def test_sites_that_share_a_script(warm, world):
    """P29: a script that two sites reach by links runs in the folder of each, as in CGI; touching the tmp/restart.txt of one
    ends no instance of the other; and a link that is set to another file ends the old instance."""
    script, other = world.write_app(WHERE), world.write_app(PID, 'other.py')
    links = []
    for name in ('one', 'two'):
        folder = world.tmp_path / name
        (folder / 'tmp').mkdir(parents=True)
        links.append(folder / 'app.py')
        links[-1].symlink_to(script)
    for _ in range(2):
        assert [warm.request(link).decode() for link in links] == [f'{link.parent} {link}' for link in links]
    assert len(warm.pids()) == 2
    before = warm.pids()
    (links[0].parent / 'tmp/restart.txt').touch()
    for link in (*links, *links):
        warm.request(link)
    assert len(warm.pids()) == 2 and len(warm.pids() & before) == 1
    links[1].unlink()
    links[1].symlink_to(other)
    assert int(warm.request(links[1])) in warm.pids() and len(warm.pids()) == 2
