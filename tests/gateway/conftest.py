"""Fixtures of the gateway tests; what they hand out is in harness.py (servers, processes) and fcgi.py (records).

README.md one folder up says how to write a test, CHECKLIST.md what the rows that tests name (W21, C3 ...) demand."""

import itertools
import os
import re
import socket
import sys
import threading
from pathlib import Path

import pytest

import harness
import warm
from settings import BINARY, SANITIZED, SLOW

# Each worker of pytest-xdist compiles all test modules, with more in their assertions, unless it finds them compiled.
if 'WSGI_CGI_TEST_CACHE' in os.environ:
    sys.pycache_prefix, sys.dont_write_bytecode = os.environ['WSGI_CGI_TEST_CACHE'], False


TEST_NUMBERS = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line('filterwarnings', 'error::pytest.PytestUnhandledThreadExceptionWarning')


def spread(items):
    """Slow tests wait most of their time. Each worker of pytest-xdist gets neighbours, so those that are slow stand far apart,
    and none of them at the end."""
    slow = [item for item in items if item.get_closest_marker('slow')]
    rest = [item for item in items if not item.get_closest_marker('slow')]
    step = max(1, len(rest) * 3 // 4 // (len(slow) or 1))
    for number, item in enumerate(slow):
        rest.insert(number * (step + 1), item)
    items[:] = rest


def pytest_collection_modifyitems(items):
    """Every test has an end, even when all its deadlines fail to work."""
    spread(items)
    for item in items:
        own = item.get_closest_marker('timeout')
        if own is None:
            item.add_marker(pytest.mark.timeout(60 * SLOW))
        elif SLOW != 1:
            item.add_marker(pytest.mark.timeout(own.args[0] * SLOW), append=False)


def pytest_report_header():
    sanitized = ', with sanitizers' if SANITIZED else ''
    return f'wsgi-cgi under test: {BINARY}{sanitized}; deadlines x {SLOW:g}'


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == 'call':
        item.call_failed = report.failed
        if report.failed and getattr(item, 'world', None):
            report.sections.append(('logs of the processes', item.world.logs()))


@pytest.fixture
def tmp_path(request, tmp_path_factory):
    """Like pytest's, which looks through the folders of all tests before this one for a free name."""
    name = re.sub(r'\W', '_', request.node.name)[:26]
    return tmp_path_factory.mktemp(f'{name}-{next(TEST_NUMBERS)}', numbered=False)


@pytest.fixture
def world(request, tmp_path):
    """What the test started. At the end all of it is stopped and, if the test passed, checked."""
    made = harness.World(tmp_path)
    request.node.world = made
    yield made
    failed = getattr(request.node, 'call_failed', True)
    problems = made.finish(failed)
    if problems:
        pytest.fail('after the test:\n' + '\n'.join(problems), pytrace=False)


@pytest.fixture(autouse=True)
def no_leftovers():
    """The test process itself has neither children nor threads nor new descriptors afterwards."""
    def children():
        tasks = Path('/proc/self/task').glob('*/children')
        return {int(pid) for task in tasks for pid in task.read_text().split()}
    before, threads, fds = children(), set(threading.enumerate()), len(os.listdir('/proc/self/fd'))
    yield
    running = set(threading.enumerate()) - threads
    assert not running, f'the test left threads running: {running}'
    left = children() - before
    assert not left, f'the test left processes behind: {left}'
    assert len(os.listdir('/proc/self/fd')) <= fds, 'the test left descriptors open'


@pytest.fixture(params=['cgi', 'cgi-warm', 'fcgi-unix', 'fcgi-tcp'])
def transport(request, world):
    """The test runs four times, once over each transport."""
    if request.param != 'cgi-warm':
        return harness.Transport(world, request.param)
    not_warm = request.node.get_closest_marker('not_warm')
    if not_warm:
        pytest.skip(f'not for --keep-warm: {not_warm.args[0]}')
    return warm.WarmTransport(world)


@pytest.fixture
def cgi(world):
    """Only CGI."""
    return harness.Transport(world, 'cgi')


@pytest.fixture(params=['fcgi-unix', 'fcgi-tcp'])
def fcgi_server(request, world):
    """FastCGI only, over a unix and a TCP socket: call it like transport.serve(...)."""
    return harness.Transport(world, request.param).serve


@pytest.fixture
def fcgi_unix(world):
    """FastCGI only, over a unix socket: for tests where the kind of socket makes no difference."""
    return harness.Transport(world, 'fcgi-unix').serve


@pytest.fixture
def spawn(world):
    """Start the program with any arguments and descriptors: spawn('--explain', env=..., stdin=...) -> Process."""
    return world.spawn


@pytest.fixture
def run(world):
    """Run the program to its end: run('--version') -> code, stdout, stderr."""
    return world.run


@pytest.fixture
def backend(world):
    """backend(talk) or backend(bytes to answer with) -> address."""
    made = []

    def make(talk, kind='unix'):
        answer = talk

        def answers(self, conn):
            self.read_head(conn)
            conn.sendall(answer)
        made.append(harness.Backend(world.new_path('peer') if kind == 'unix' else None,
                            talk if callable(talk) else answers, kind))
        address = made[-1].address
        return address if isinstance(address, str) else '%s:%d' % address
    yield make
    for one in made:
        one.sock.shutdown(socket.SHUT_RDWR)
        one.close()
