"""An instance of --keep-warm whose host limits what a process may use: no request is worse off than in CGI. P21, P28.

The kernel counts for a process, so in CGI mode for one request.
"""

import math
import resource
import socket
import time

import pytest

import fcgi
from settings import SANITIZED, SLOW, TSAN
from test_warm_instance import own_log, warm  # noqa: F401

NONE = resource.RLIM_INFINITY
SECONDS = math.ceil(SLOW)       # the limit: a start takes a part of it
TAKES_OVER = 'a new process takes over'
BURNING = '''
    import os, resource, subprocess, sys, time
    if os.path.exists(os.environ.get('BROKEN', '/no/such')):
        raise LookupError('as it is loaded again')
    def burn(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
    def application(environ, start_response):
        path = environ['PATH_INFO']
        if path == '/burn':
            burn(float(environ['QUERY_STRING']))
        while path == '/forever':
            burn(0.01)
            with open(os.environ['USED'], 'w') as file:
                file.write(repr(time.process_time()))
        limits = []
        if path == '/limits':
            show = 'import resource; print(resource.getrlimit(resource.RLIMIT_CPU)[0])'
            limits.append(int(subprocess.check_output([sys.executable, '-c', show])))
            pid = os.fork()
            if pid == 0:
                os._exit(resource.getrlimit(resource.RLIMIT_CPU)[0])
            limits.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [repr([os.getpid(), *limits]).encode()]
'''


def burn(instance, seconds):
    """The pid of the worker."""
    return instance.request('POST', '/burn', str(seconds), timeout=30).json[0]


@pytest.mark.parametrize('hard', [NONE, SECONDS], ids=['soft', 'hard'])
@pytest.mark.parametrize('preload', ['', '--preload'], ids=['', 'preload'])
def test_processor_time_of_a_worker(warm, hard, preload):  # noqa: F811
    """P21: requests that together use more than RLIMIT_CPU are served. Where the hard limit does not allow that, by
    several workers, of which each is left in time."""
    instance = warm(BURNING, options=preload, limits={resource.RLIMIT_CPU: (SECONDS, hard)})
    pids = [burn(instance, 0.4 * SECONDS) for _ in range(5)]
    assert len(set(pids)) == (1 if hard == NONE else 5), pids
    assert (TAKES_OVER in own_log(instance)) == (hard != NONE)


def test_small_requests_stay(warm):  # noqa: F811
    """P21: also below a hard limit a worker serves more than one."""
    instance = warm(BURNING, limits={resource.RLIMIT_CPU: (60, 60)})
    assert len({burn(instance, 0) for _ in range(20)}) == 1


def test_nobody_can_take_over(warm, world):  # noqa: F811
    """P21: a worker that has left its work to a new one goes on where there is none."""
    broken = world.new_path('broken')
    instance = warm(BURNING, env={'BROKEN': str(broken)}, limits={resource.RLIMIT_CPU: (SECONDS, SECONDS)})
    instance.allow_log('LookupError|worker .* exited with code 70')
    assert burn(instance, 0) > 0
    broken.touch()
    pid = burn(instance, 0.4 * SECONDS)
    assert burn(instance, 0) == pid
    assert 'LookupError' in own_log(instance)


@pytest.mark.parametrize('hard', [NONE, SECONDS], ids=['soft', 'hard'])
def test_a_request_that_never_ends(warm, world, hard):  # noqa: F811
    """P21: it is ended as in CGI mode, and has no more time although its worker has served others."""
    used = world.new_path('used')
    instance = warm(BURNING, env={'USED': str(used)}, limits={resource.RLIMIT_CPU: (SECONDS, hard)})
    instance.expect_log(r'worker \d+ was killed by signal (24 .XCPU.|9 .KILL.)')
    before = 0.6 if hard == NONE else 0
    burn(instance, before * SECONDS)
    conn = instance.connect()
    instance.start('POST', '/forever', conn=conn)
    conn.wait_eof(30 * SLOW)
    assert 0.7 * SECONDS < float(used.read_text()) - before * SECONDS < SECONDS + 1.5
    assert burn(instance, 0) > 0


def test_programs_of_the_application(warm):  # noqa: F811
    """P21: what it forks has the limit of a CGI process, and a program that it starts not much more."""
    instance = warm(BURNING, limits={resource.RLIMIT_CPU: (SECONDS, NONE)})
    for _ in range(3):
        burn(instance, 0.6 * SECONDS)
    _, started, forked = instance.request(path='/limits').json
    least = SECONDS if TSAN else 2 * SECONDS        # it makes the vfork() of a program that is started a fork()
    assert forked == SECONDS and least <= started <= 9 * SECONDS + 1


def test_processor_time_of_the_master(warm):  # noqa: F811
    """P21: it ends before the kernel ends it, says why, and leaves nothing. Nobody is lost: the next starts another."""
    instance = warm(BURNING, limits={resource.RLIMIT_CPU: (SECONDS, NONE)})
    burn(instance, 0)

    ask = fcgi.request_bytes(instance.params(path='/status', query='html&full'))

    def has_ended():
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(instance.control))
                sock.sendall(ask)
                return sock.recv(1) == b''
            except OSError:
                return True
    deadline = time.monotonic() + 120 * SLOW
    while not has_ended():
        assert time.monotonic() < deadline
    assert instance.wait(20) == 0
    assert 'stopped: the master has used half of its time (RLIMIT_CPU)' in instance.log.text()
    assert instance.files() == []


# --- memory, descriptors ----------------------------------------------------------------------------------------------

KEEPING = '''
    import mmap, os
    kept = []
    def application(environ, start_response):
        if environ['PATH_INFO'] == '/memory':
            kept.append(mmap.mmap(-1, int(environ['QUERY_STRING']), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        if environ['PATH_INFO'] == '/files':
            with open('/dev/null'):
                kept.extend(open('/dev/null') for _ in range(int(environ['QUERY_STRING'])))
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'[%d]' % os.getpid()]
'''


@pytest.mark.skipif(SANITIZED, reason='sanitizers need address space without a limit')
@pytest.mark.parametrize('which', ['AS', 'DATA'])
def test_memory(warm, which):  # noqa: F811
    """P21: an application that keeps memory: the worker is left while a request has as much as one needs."""
    instance = warm(KEEPING, limits={getattr(resource, f'RLIMIT_{which}'): (1 << 30, NONE)})
    pids = [instance.request('POST', '/memory', str(150 << 20)).json[0] for _ in range(12)]
    assert 2 <= len(set(pids)) <= 6
    assert f'more than half of what RLIMIT_{which} leaves' in own_log(instance)


def test_descriptors(warm):  # noqa: F811
    """P21: an application that keeps files open; it has none with a number that select() cannot use."""
    instance = warm(KEEPING, limits={resource.RLIMIT_NOFILE: (1024, 4096)})
    pids = [instance.request('POST', '/files', '200').json[0] for _ in range(12)]
    assert 3 <= len(set(pids)) <= 4, pids
    assert 'half of what there may be (RLIMIT_NOFILE)' in own_log(instance)
