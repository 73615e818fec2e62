"""W67-W72: wsgi.file_wrapper."""

import contextlib
import os
import signal
import subprocess

import pytest

from settings import SLOW
from test_syscalls import plain, traced

# MAKE[kind]() is an open file; what the client gets must be what read() gives, which is the oracle.
FILES = '''
import gzip, io, os, socket, tempfile, threading
PATH = os.environ['FILE']
def real(mode='rb', buffering=-1, skip=0):
    f = open(PATH, mode, buffering)
    f.read(skip)
    return f
def seeked(offset):
    f = open(PATH, 'rb')
    f.seek(offset)
    return f
def half_read():
    f = open(PATH, 'rb')
    f.readline()
    f.read(100)
    return f
def raw_moved():
    f = open(PATH, 'rb', 0)
    os.lseek(f.fileno(), 1000, os.SEEK_SET)
    return f
def temporary(flush):
    f = tempfile.TemporaryFile()
    f.write(b'written ' * 5000)
    f.seek(8)
    if not flush:
        f.write(b'not flushed')
        f.seek(0)
    return f
def update():
    f = open(PATH, 'r+b')
    f.read(10)
    return f
def pipe():
    r, w = os.pipe()
    def feed():
        with open(w, 'wb') as f:
            f.write(b'piped ' * 30000)
    threading.Thread(target=feed).start()
    return open(r, 'rb')
def socket_file():
    a, b = socket.socketpair()
    def feed():
        with a:
            a.sendall(b'socket ' * 30000)
    threading.Thread(target=feed).start()
    with b:
        return b.makefile('rb')
def zipped():
    with gzip.open(PATH + '.gz', 'wb') as f:
        f.write(b'unzipped ' * 10000)
    return gzip.open(PATH + '.gz')
class NoClose:
    def __init__(self, *blocks):
        self.blocks = list(blocks)
    def read(self, size):
        return self.blocks.pop(0) if self.blocks else b''
class BadFileno(io.BytesIO):
    def fileno(self):
        raise OSError('no descriptor')
class WrongFileno(io.BytesIO):
    def fileno(self):
        return 0
class Upper(io.FileIO):
    def read(self, size=-1):
        return super().read(size).upper()
class Reader(io.BufferedReader):
    def read(self, size=-1):
        return super().read(size).upper()
MAKE = {
    'real': real, 'seeked': lambda: seeked(10), 'at the end': lambda: seeked(10 ** 6), 'half read': half_read,
    'unbuffered': lambda: real(buffering=0), 'unbuffered moved': raw_moved, 'small buffer': lambda: real(buffering=7, skip=3),
    'temporary': lambda: temporary(True), 'temporary unflushed': lambda: temporary(False), 'update': update,
    'pipe': pipe, 'socket': socket_file, 'gzip': zipped, 'proc': lambda: open('/proc/self/cmdline', 'rb'),
    'bytesio': lambda: io.BytesIO(b'in memory ' * 5000), 'no close': lambda: NoClose(b'one', b'two'),
    'bad fileno': lambda: BadFileno(b'bytes'), 'wrong fileno': lambda: WrongFileno(b'bytes'),
    'FileIO subclass': lambda: Upper(PATH), 'BufferedReader subclass': lambda: Reader(io.FileIO(PATH)),
    'buffered over subclass': lambda: io.BufferedReader(Upper(PATH)), 'empty': lambda: io.BytesIO(b''),
    'devnull': lambda: open('/dev/null', 'rb'),
}
def application(environ, start_response):
    kind, how = environ['QUERY_STRING'].replace('+', ' ').split('/')
    wrapper = environ['wsgi.file_wrapper']
    start_response('200 OK', [('Content-Type', 'application/octet-stream')])
    if how == 'oracle':
        f = MAKE[kind]()
        blocks = iter(lambda: f.read(8192), b'')
        return [b''.join(blocks)]
    if how == 'subclass':
        class Wrapper(wrapper):
            pass
        return Wrapper(MAKE[kind](), 1000)
    if how == 'middleware':
        return (block for block in wrapper(MAKE[kind](), 1000))
    if how == 'begun':
        result = wrapper(MAKE[kind](), 400)
        environ['wsgi.errors'].write('first: %d\\n' % len(next(result, b'')))
        return result
    return wrapper(MAKE[kind]())
'''
KINDS = ['real', 'seeked', 'at the end', 'half read', 'unbuffered', 'unbuffered moved', 'small buffer', 'temporary',
         'temporary unflushed', 'update', 'pipe', 'socket', 'gzip', 'proc', 'bytesio', 'no close', 'bad fileno',
         'wrong fileno', 'FileIO subclass', 'BufferedReader subclass', 'buffered over subclass', 'empty', 'devnull']


@pytest.fixture
def big_file(tmp_path):
    path = tmp_path / 'big'
    path.write_bytes(b''.join(b'line %d\r\n' % i for i in range(30000)))
    return path


def test_same_bytes_as_read(transport, big_file):
    """W68, W69, W71, W72: whatever the file is and however it goes out, the client gets what read() gives."""
    server = transport.serve(FILES, env={'FILE': str(big_file)})
    server.allow_log('ResourceWarning')     # a debug Python says what the oracle leaves open
    for kind in KINDS:
        query = kind.replace(' ', '+')
        wanted = server.request(query=query + '/oracle').body
        assert wanted or kind in ('at the end', 'empty', 'devnull')
        for how in ('plain',) if transport.is_cgi else ('plain', 'subclass', 'middleware', 'begun'):
            response = server.request(query=f'{query}/{how}')
            expected = wanted
            if how == 'begun':
                expected = wanted[int(response.stderr.split()[-1]):]
            assert response.body == expected and response.complete, (kind, how)


def test_position_and_length(transport, big_file):
    """W69: from the current position, to the end or to Content-Length."""
    server = transport.serve('''
        import os
        def application(environ, start_response):
            length, offset = environ['QUERY_STRING'].split('/')
            f = open(os.environ['FILE'], 'rb')
            f.seek(int(offset))
            start_response('200 OK', [('Content-Length', length)] if length else [])
            return environ['wsgi.file_wrapper'](f)
    ''', env={'FILE': str(big_file)})
    data = big_file.read_bytes()
    for length, offset in ((0, 0), (1, 0), (1000, 10), (len(data), 0), (len(data) - 10, 10), (5, len(data) - 5),
                           (65535, 7), (65536, 7)):
        assert server.request(query=f'{length}/{offset}').body == data[offset:offset + length]
    assert server.request(query='/10').body == data[10:]


def test_sparse_file_beyond_two_gigabytes(fcgi_unix, tmp_path):
    """W72: offsets of more than 31 bits."""
    path = tmp_path / 'sparse'
    with open(path, 'wb') as f:
        f.seek((3 << 30) - 1)
        f.write(b'e')
        f.seek((5 << 29) + 5)
        f.write(b'needle')
    server = fcgi_unix('''
        import os
        def application(environ, start_response):
            f = open(os.environ['FILE'], 'rb')
            f.seek((5 << 29) + 3)
            start_response('200 OK', [('Content-Length', '10')])
            return environ['wsgi.file_wrapper'](f)
    ''', env={'FILE': str(path)})
    assert server.request().body == b'\0\0needle\0\0'


def test_truncated_before_it_is_sent(transport, big_file):
    """W72: the file became shorter than the Content-Length the application gave: the transfer breaks."""
    server = transport.serve('''
        import os
        def application(environ, start_response):
            f = open(os.environ['FILE'], 'rb')
            start_response('200 OK', [('Content-Length', str(os.path.getsize(f.fileno())))])
            os.truncate(os.environ['FILE'], 1000)
            return environ['wsgi.file_wrapper'](f)
    ''', env={'FILE': str(big_file)})
    if transport.is_cgi:
        server.exit_codes = {1}
    server.expect_log("the response's body ended after 1000 of the ")
    response = server.request()
    assert len(response.body) == 1000 and not response.complete


@pytest.mark.parametrize('make', ["open(os.environ['FILE'])", "io.StringIO('text')"])
def test_text_files(transport, big_file, make):
    """W72: read() gives str: an error before a byte is sent."""
    server = transport.serve(f'''
        import io, os
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            return environ['wsgi.file_wrapper']({make})
    ''', env={'FILE': str(big_file)})
    server.expect_log('TypeError: the body must consist of bytes, not str')
    server.allow_log('raised TypeError')
    assert server.request().status == 500


def test_closed_file(transport, big_file):
    """W72: what cannot be read is an error, not an empty body."""
    server = transport.serve('''
        import os
        def application(environ, start_response):
            f = open(os.environ['FILE'], 'rb')
            f.close()
            start_response('200 OK', [('X-A', '1')])
            return environ['wsgi.file_wrapper'](f)
    ''', env={'FILE': str(big_file)})
    server.expect_log('ValueError')
    assert server.request().status == 500


def test_write_only_file(transport, big_file):
    """W72: a descriptor that sendfile might read is no reason to send what read() refuses."""
    server = transport.serve('''
        import os
        def application(environ, start_response):
            start_response('200 OK', [('X-A', '1')])
            return environ['wsgi.file_wrapper'](open(os.open(os.environ['FILE'], os.O_RDWR), 'wb', 0))
    ''', env={'FILE': str(big_file)})
    server.expect_log('UnsupportedOperation')
    server.allow_log('ResourceWarning')
    assert server.request().status == 500


COUNTED = '''
import os
def note(text):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(text + ' ')
class File:         # not of io, whose classes close themselves when they are collected
    def __init__(self, data):
        self.data = data
    def read(self, size):
        block, self.data = self.data[:size], self.data[size:]
        return block
    def close(self):
        note('closed')
class Broken(File):
    def read(self, size):
        raise LookupError('in read')
def application(environ, start_response):
    kind = environ['QUERY_STRING']
    wrapper = environ['wsgi.file_wrapper']
    start_response('200 OK', [('Content-Length', '3')] if kind == 'full' else [('X-A', '1')])
    if kind == 'unreturned':
        wrapper(File(b'never sent'))
        return [b'other']
    if kind == 'twice':
        result = wrapper(File(b'12345'))
        body = b''.join(result)
        result.close()
        result.close()
        return [body]
    if kind == 'middleware closes':
        class Outer:
            def __init__(self, inner):
                self.inner = inner
            def __iter__(self):
                return self.inner
            def close(self):
                self.inner.close()
        return Outer(wrapper(File(b'12345')))
    return wrapper((Broken if kind == 'broken' else File)(b'12345'))
'''


@pytest.mark.parametrize('kind, method, body, notes', [
    ('normal', 'GET', b'12345', 'closed '), ('full', 'GET', b'123', 'closed '), ('normal', 'HEAD', b'', 'closed '),
    ('broken', 'GET', None, 'closed '), ('unreturned', 'GET', b'other', ''), ('twice', 'GET', b'12345', 'closed '),
    ('middleware closes', 'GET', b'12345', 'closed '),
])
def test_closed_once(fcgi_server, tmp_path, kind, method, body, notes):
    """W67, W70: closed by the gateway when it was returned, once; one that was not is the application's."""
    path = tmp_path / 'notes'
    path.write_text('')
    server = fcgi_server(COUNTED.replace("kind = environ['QUERY_STRING']", f'kind = {kind!r}'), env={'NOTES': str(path)})
    if kind == 'broken':
        server.expect_log('LookupError')
    response = server.request(method)
    server.stop()
    if body is None:
        assert response.status == 500
    else:
        assert response.body == body
    assert path.read_text() == notes


def test_its_interface(transport):
    """W67: callable(filelike[, block_size]); iterable; attributes as wsgiref's; nothing else is a file wrapper."""
    server = transport.serve('''
        import io
        def application(environ, start_response):
            wrapper, said = environ['wsgi.file_wrapper'], []
            f = io.BytesIO(b'12345')
            w = wrapper(f, 2)
            said.append((w.filelike is f, w.blksize, wrapper(f).blksize, iter(w) is w, list(w), list(w)))
            said.append(list(wrapper(filelike=io.BytesIO(b'abc'), blksize=2)))
            for args in ((), (f, 'x'), (f, 1, 2)):
                try:
                    wrapper(*args)
                except TypeError:
                    said.append('TypeError')
            w.close()
            said.append(f.closed)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(said).encode()]
    ''')
    assert server.request().text == repr([(True, 2, 8192, True, [b'12', b'34', b'5'], []), [b'ab', b'c'], 'TypeError',
                                          'TypeError', 'TypeError', True])


def test_wrapper_in_a_cycle_is_collected(fcgi_unix):
    """W70: the wrapper takes part in garbage collection, a subclass with attributes too."""
    server = fcgi_unix('''
        import gc, io, weakref
        class File(io.BytesIO):
            pass
        def application(environ, start_response):
            class Wrapper(environ['wsgi.file_wrapper']):
                pass
            refs = []
            for kind in (environ['wsgi.file_wrapper'], Wrapper):
                f = File(b'x')
                f.wrapper = kind(f)
                refs.append(weakref.ref(f))
                del f
            gc.collect()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr([ref() for ref in refs]).encode()]
    ''')
    assert server.request().body == b'[None, None]'


SEND_FILE = '''
import os

def application(environ, start_response):
    fill = int(environ['QUERY_STRING'])
    start_response('200 OK', [('Content-Length', '200000')] + [('X-Fill', 'x' * fill)] * (fill > 0))
    return environ['wsgi.file_wrapper'](open(os.environ['FILE'], 'rb'))
'''


@contextlib.contextmanager
def no_sendfile(pid):
    """sendfile() of this process answers EINVAL, as where the file system has no way to do it."""
    strace = subprocess.Popen(['strace', '-f', '-o', '/dev/null', '-e', 'trace=sendfile', '-e',
                               'inject=sendfile:error=EINVAL', '-p', str(pid)], stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
    try:
        assert b'attached' in strace.stderr.readline()
        yield
    finally:
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=10 * SLOW)


@traced
@plain
@pytest.mark.parametrize('head', [0, 65_528, 65_527, 65_529])
def test_file_that_sendfile_cannot_send(world, fcgi_unix, head):
    """W72: it is read instead, wherever that is found out; the head leaves once. A head of 65,528 bytes fills the first
    record, so that nothing of the file is out by then."""
    data = os.urandom(200_000)
    path = world.new_path('file')
    path.write_bytes(data)
    server = fcgi_unix(SEND_FILE, env={'FILE': str(path)})
    plain_size = len(server.request(query='0').head)
    fill = head and head - plain_size - len('X-Fill: \r\n')
    with no_sendfile(server.pid):
        response = server.request(query=str(fill))
    assert len(response.head) == (head or plain_size)
    assert response.body == data and response.complete
