"""Stacks of threads that run: P7. Dumps of them, again and again, while all of them call, return and end. Without a GIL,
nobody may look at the frames of another thread meanwhile."""

import os
import re
import signal
import threading
import time

import pytest

from settings import MIX_SECONDS, SLOW

pytestmark = pytest.mark.timeout(MIX_SECONDS + 60)
LIMIT = f'{int(200 * SLOW)}ms'

# Deep enough for more than one piece of the memory that CPython keeps frames in: pieces are given back, and frames with them.
APP = '''
import threading, time

class Deep:
    def down(self, n):
        return self.down(n - 1) + 1 if n else 0

def counting(n):
    if n:
        yield from counting(n - 1)
    yield n

def failing(n):
    try:
        1 / n and failing(n - 1)
    finally:
        sorted(range(3), key=lambda x: -x)

def busy():
    for n in range(0, 400, 23):
        Deep().down(n)
    list(counting(10))
    try:
        failing(10)
    except ZeroDivisionError:
        pass

def short_lives():
    while True:
        thread = threading.Thread(target=busy, name='sh\\u00f6rt')
        thread.start()
        thread.join()
        time.sleep(0.02)

threading.Thread(target=short_lives, name='l\\u00f6ng', daemon=True).start()

def application(environ, start_response):
    end = time.monotonic() + float(environ['QUERY_STRING'])
    while time.monotonic() < end:
        busy()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
'''


class Clients:
    """Four clients, each with one request after the other until MIX_SECONDS have passed."""
    def __init__(self, server, seconds):
        self.server, self.seconds, self.end, self.statuses = server, seconds, time.monotonic() + MIX_SECONDS, []
        self.over, self.left = threading.Event(), threading.Semaphore(3)
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self):
        try:
            while time.monotonic() < self.end:
                conn = self.server.connect()
                self.statuses.append(self.server.request(query=str(self.seconds), conn=conn, timeout=30).status)
        finally:
            if not self.left.acquire(blocking=False):
                self.over.set()                     # it was the last one

    def wait(self):
        for thread in self.threads:
            thread.join()
        return self.statuses


@pytest.fixture
def busy(fcgi_unix):
    """A server with four threads, and its clients; each request takes so many seconds."""
    def start(*options, seconds):
        server = fcgi_unix(APP, '--threads', '4', *options, env={'PYTHON_GIL': os.environ.get('PYTHON_GIL')})
        server.allow_log(r'warning: (.*has run for|thread|  File|  \.\.\.| *\()')
        server.allow_log(r'ended by --request-timeout|does not end by --request-timeout')
        return server, Clients(server, seconds)
    return start


def identical(server):
    """It is the same process as at the start, and serves."""
    assert server.request(query='0').text == 'done'
    assert server.logged.count(' started: ') == 1


def test_usr2_again_and_again(busy):
    """P7: SIGUSR2 more often than dumps can be written: several are one, and the process goes on."""
    server, clients = busy(seconds=0.3)
    while not clients.over.wait(0.003):
        server.signal(signal.SIGUSR2)
    assert set(clients.wait()) == {200}
    identical(server)
    # Named, in order, whole: from the present call down to the application.
    assert re.search(r'thread 1 of 4, in GET /\S* for \d+\.\d+ s:\n(.*File "[^"]*app\.py", line \d+, in .*\n)*'
                     r'.*File "[^"]*app\.py", line \d+, in application\n', server.logged)
    assert server.logged.count('SIGUSR2: stacks of all threads') >= 5
    assert re.search(r'thread "löng" of the application:\n(.*File .*\n)+?.*threading\.py", line \d+, in Thread\._bootstrap\n',
                     server.logged)
    assert 'line 6, in Deep.down\n' in server.logged and 'cannot be' not in server.logged


def test_slow_again_and_again(busy):
    """P7: --slow, for a request in every thread: one stack for each, and all requests go on."""
    server, clients = busy('--slow', '50ms', seconds=0.2)
    statuses = clients.wait()
    assert set(statuses) == {200}
    identical(server)
    assert server.logged.count('longer than --slow') >= 4
    assert re.search(r'longer than --slow; stacks, most recent call first:\n.*thread \d of 4, in .*:\n.*File "', server.logged)


def test_timeout_again_and_again(busy):
    """P7: --request-timeout and --slow, in all threads at the same time: each client gets an answer, and the process
    remains."""
    server, clients = busy('--request-timeout', LIMIT, '--slow', '50ms', seconds=600)
    statuses = clients.wait()
    assert set(statuses) == {504} and len(statuses) >= 4
    identical(server)
    assert server.logged.count('longer than --request-timeout') >= 4
