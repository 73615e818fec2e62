"""The work of the benchmark, one WSGI application for each kind."""

import json
import os
import re
import sys
import time

TEXT = [('Content-Type', 'text/plain')]
KIB64, MIB = b'x' * (64 << 10), b'x' * (1 << 20)
BIG_FILE = os.environ.get('BENCH_FILE', '/nonexistent')


def hello(environ, start_response):
    start_response('200 OK', TEXT + [('Content-Length', '12')])
    return [b'Hello world\n']


application = hello     # for servers that know no other name


def headers(environ, start_response):
    """Reads every header, sets ten."""
    seen = sum(len(value) for name, value in environ.items() if name.startswith('HTTP_'))
    start_response('200 OK', TEXT + [('X-Header-%d' % i, 'value %d' % (seen * 0 + i)) for i in range(9)])
    return [b'Hello world\n']


def heavy(environ, start_response):
    """Some milliseconds of what applications are made of: routing, objects, counting, sorting, a template, JSON."""
    found = [route('/%s/%d/edit' % ('abcd'[i % 4], i)) for i in range(1000)]
    rows = [Row(number, 'row <%d>' % number) for _, number in found]
    counts = {}
    for row in rows:
        for tag in row.tags:
            counts[tag] = counts.get(tag, 0) + row.weight()
    rows.sort(key=lambda row: (-len(row.name), row.number % 7))
    best = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    text = page(rows) + json.dumps([{'name': row.name, 'tags': row.tags} for row in rows]) + str(best)
    start_response('200 OK', TEXT)
    return [b'%d\n' % len(text)]


ROUTES = [(name, re.compile('^/%s/([0-9]+)/edit$' % name)) for name in 'abcd']


def route(path):
    for name, pattern in ROUTES:
        match = pattern.match(path)
        if match:
            return name, int(match.group(1))
    return None, 0


class Row:
    def __init__(self, number, name):
        self.number, self.name, self.tags = number, name, [str(number % n) for n in (3, 5, 7, 11)]

    def weight(self):
        return sum(len(tag) for tag in self.tags) + self.number % 2


def page(rows):
    out = ['<table>']
    for row in rows:
        out.append('<tr>')
        for name, value in (('number', str(row.number)), ('name', row.name), ('tags', ', '.join(row.tags))):
            out.append('<td class="%s">' % name)
            out.append(value.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;'))
            out.append('</td>')
        out.append('</tr>')
    out.append('</table>')
    return ''.join(out)


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def list_64k(environ, start_response):
    start_response('200 OK', TEXT + [('Content-Length', str(len(KIB64)))])
    return [KIB64]


def list_1m(environ, start_response):
    start_response('200 OK', TEXT + [('Content-Length', str(len(MIB)))])
    return [MIB]


def generator_64k(environ, start_response):
    start_response('200 OK', TEXT + [('Content-Length', str(len(KIB64)))])
    return (KIB64[:8192] for _ in range(8))


def generator_1m(environ, start_response):
    start_response('200 OK', TEXT + [('Content-Length', str(len(MIB)))])
    return (KIB64 for _ in range(16))


def file_100m(environ, start_response):
    start_response('200 OK', TEXT + [('Content-Length', str(os.path.getsize(BIG_FILE)))])
    return environ['wsgi.file_wrapper'](open(BIG_FILE, 'rb'), 65536)


def upload_read(environ, start_response):
    size = 0
    while block := environ['wsgi.input'].read(65536):
        size += len(block)
    start_response('200 OK', TEXT)
    return [b'%d\n' % size]


def upload_ignored(environ, start_response):
    start_response('200 OK', TEXT)
    return [b'not read\n']


def wait_5ms(environ, start_response):
    time.sleep(0.005)
    start_response('200 OK', TEXT)
    return [b'waited\n']


def wait_50ms(environ, start_response):
    time.sleep(0.05)
    start_response('200 OK', TEXT)
    return [b'waited\n']


def compute_or_hello(environ, start_response):
    """/compute works for two seconds; anything else is a short request."""
    if environ.get('PATH_INFO') == '/compute':
        end = time.monotonic() + 2
        while time.monotonic() < end:
            fibonacci(12)
    return hello(environ, start_response)


def compute_5ms(environ, start_response):
    """Nothing but Python: some 5 ms on a free-threaded 3.13, 3 ms on one with the GIL."""
    fibonacci(22)
    return hello(environ, start_response)


def without_gil(environ, start_response):
    """Fails where there is a GIL."""
    if getattr(sys, '_is_gil_enabled', lambda: True)():
        raise RuntimeError('the GIL is on')
    return hello(environ, start_response)


def main(name, seconds):
    """NAME SECONDS: the application called by nobody but a loop; prints calls a second, CPU time of one in microseconds."""
    application, count = globals()[name], 0
    start, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < float(seconds):
        b''.join(application({}, lambda status, headers: None))
        count += 1
    print(count / (time.perf_counter() - start), (time.process_time() - cpu) / count * 1e6)
