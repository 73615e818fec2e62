"""A FastCGI client at record level, independent of libfcgi.

It can say things no web server says (records cut anywhere, padding, wrong lengths, silence), keeps every record it
received, and puts a deadline on every wait. Nothing in here knows about pytest.

    with Connection(address) as conn:
        response = conn.request({'REQUEST_METHOD': 'GET', ...}, body=b'', keep=True)
        conn.send(begin(1) + params_stream(1, pairs) + record(STDIN, 1))     # the same by hand
        response = conn.response(1)
"""

import collections
import errno
import json
import select
import socket
import struct
import time

from settings import SLOW

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST, PARAMS, STDIN, STDOUT, STDERR, DATA = range(1, 9)
GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = range(9, 12)
NOT_WHOLE = 0   # eight zero bytes, a record of no version: the response before them is not whole
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
MAX_CONTENT = 65535

Record = collections.namedtuple('Record', 'type id content padding')


class Timeout(AssertionError):
    """A deadline passed. An AssertionError, because a hang is always the tested program's fault."""


def wait_for(predicate, timeout=5, what='condition'):
    """Poll `predicate` until it is true and return its value. The one place of the suite that sleeps."""
    deadline = time.monotonic() + timeout * SLOW
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Timeout(f'{what}: not within {timeout * SLOW:g} s')
        time.sleep(0.005)


def open_terminal():
    """(master, slave) of a new terminal; the test is skipped where there can be none (a chroot without devpts)."""
    import os
    import unittest
    try:
        return os.openpty()
    except OSError as error:
        raise unittest.SkipTest(f'no terminal can be made here: {error}') from error


# --- encoding -------------------------------------------------------------------------------------------------------

def record(type, id, content=b'', padding=0, version=1, length=None):
    """One record. `length` lies about the content's length; `padding` is a count of bytes."""
    length = len(content) if length is None else length
    return struct.pack('>BBHHBB', version, type, id, length, padding, 0) + content + b'\xaa' * padding


def begin(id=1, role=RESPONDER, keep=False, padding=0):
    return record(BEGIN_REQUEST, id, struct.pack('>HB5x', role, 1 if keep else 0), padding)


def to_bytes(text):
    """CGI values are bytes; str is a convenience for latin-1 text."""
    return text if isinstance(text, bytes) else str(text).encode('latin-1')


def length(n, wide=False):
    return struct.pack('>I', n | 0x80000000) if wide or n > 127 else bytes([n])


def pair(name, value, wide_name=False, wide_value=False):
    name, value = to_bytes(name), to_bytes(value)
    return length(len(name), wide_name) + length(len(value), wide_value) + name + value


def pairs(params):
    """`params` is a dict or a list of (name, value): the list may hold a name twice."""
    items = params.items() if hasattr(params, 'items') else params
    return b''.join(pair(name, value) for name, value in items)


def stream(type, id, data, chunk=MAX_CONTENT, padding=0, end=True):
    """`data` as records of at most `chunk` bytes, then (`end`) the empty record that closes the stream."""
    out = [record(type, id, data[i:i + chunk], padding) for i in range(0, len(data), chunk)]
    if end:
        out.append(record(type, id, b'', padding))
    return b''.join(out)


def head(params, id=1, role=RESPONDER, keep=False):
    """BEGIN_REQUEST and the whole PARAMS stream."""
    return begin(id, role, keep) + stream(PARAMS, id, pairs(params))


def request_bytes(params, body=b'', id=1, role=RESPONDER, keep=False, data=None):
    """A whole well-formed request; `data` is the FCGI_DATA stream of a Filter."""
    out = head(params, id, role, keep)
    if role != AUTHORIZER:
        out += stream(STDIN, id, body)
    if data is not None:
        out += stream(DATA, id, data)
    return out


# --- decoding -------------------------------------------------------------------------------------------------------

def split_records(buffer):
    """(the whole records at the start of `buffer`, how many bytes they take)."""
    out, at = [], 0
    while len(buffer) - at >= 8:
        version, type, id, size, padding, _ = struct.unpack_from('>BBHHBB', buffer, at)
        not_whole = not any(buffer[at:at + 8])
        assert version == 1 or not_whole, f'the program sent a record of version {version}: {bytes(buffer[at:at + 32])!r}'
        end = at + 8 + size + padding
        if len(buffer) < end:
            break
        out.append(Record(type, id, bytes(buffer[at + 8:at + 8 + size]), padding))
        at = end
    return out, at


def decode_pairs(data):
    """The list of (name, value) in `data`, as bytes; ValueError when a length does not fit."""
    out, i = [], 0

    def number():
        nonlocal i
        n = data[i]
        if n > 127:
            n = struct.unpack_from('>I', data, i)[0] & 0x7fffffff
            i += 3
        i += 1
        return n
    while i < len(data):
        sizes = number(), number()
        words = []
        for size in sizes:
            if i + size > len(data):
                raise ValueError(f'length {size} beyond the data')
            words.append(data[i:i + size])
            i += size
        out.append(tuple(words))
    return out


class Response:
    """What one request got back, over any transport.

    raw              every byte of STDOUT
    head             raw bytes up to and including the empty line (b'' when there was none)
    body             the rest
    headers          list of (name, value), in order, duplicates kept, without Status
    status, reason   from the Status field; 200 without one, 302 for a Location without one (RFC 3875 6.2)
    stderr           FCGI_STDERR of the request; CGI: what the process wrote to fd 2
    app_status, protocol_status    from END_REQUEST, None without one (FastCGI)
    records          every record received for this request (FastCGI)
    eof              True: the connection ended (FastCGI)
    not_whole        True: the program said so before the end of the connection (FastCGI)
    exit_code        exit code of the process, negative for a signal (CGI)
    complete         the program said that this is the whole response: END_REQUEST / exit code 0 (or 1 with a 500)
    """

    def __init__(self, raw, stderr=b'', records=(), app_status=None, protocol_status=None, eof=False, exit_code=None,
                 not_whole=False):
        self.not_whole = not_whole
        self.raw, self.stderr, self.records, self.eof = raw, stderr, list(records), eof
        self.app_status, self.protocol_status, self.exit_code = app_status, protocol_status, exit_code
        self.head, self.body, self.fields = self._split(raw)
        self.headers = [(n, v) for n, v in self.fields if n.lower() != 'status']
        status_lines = [v for n, v in self.fields if n.lower() == 'status']
        self.status_line = status_lines[0] if status_lines else None
        if self.status_line is not None:
            self.status, self.reason = int(self.status_line[:3]), self.status_line[4:]
        elif self.head:
            self.status, self.reason = (302 if self.header('Location') else 200), ''
        else:
            self.status, self.reason = None, None

    @staticmethod
    def _split(raw):
        end = raw.find(b'\r\n\r\n')
        if end < 0:
            return b'', b'', []
        head = raw[:end + 4]
        fields = []
        for line in raw[:end].split(b'\r\n'):
            name, colon, value = line.partition(b':')
            assert colon, f'not a header line: {line!r}'
            fields.append((name.decode('latin-1'), value.strip(b' ').decode('latin-1')))
        return head, raw[end + 4:], fields

    @property
    def complete(self):
        if self.exit_code is None:
            return self.protocol_status == REQUEST_COMPLETE
        return self.exit_code == 0 or (self.exit_code == 1 and self.status == 500)

    def header(self, name, default=None):
        """The value of the only header of that name; several are an assertion failure (use header_list)."""
        values = self.header_list(name)
        assert len(values) < 2, f'{name} is there {len(values)} times: {values}'
        return values[0] if values else default

    def header_list(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    @property
    def text(self):
        return self.body.decode('utf-8')

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return (f'<Response {self.status_line!r} head={self.head!r} body={len(self.body)} bytes {self.body[:300]!r} '
                f'stderr={self.stderr[:2000]!r} app_status={self.app_status} protocol_status={self.protocol_status} '
                f'eof={self.eof} not_whole={self.not_whole} exit_code={self.exit_code}>')


# --- a connection ---------------------------------------------------------------------------------------------------

def connect(address, timeout=5):
    """`address`: a path or b'\\0abstract' for unix, (host, port) for TCP. Retried while nobody listens yet."""
    deadline = time.monotonic() + timeout * SLOW
    while True:
        if isinstance(address, tuple):
            family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
        else:
            family = socket.AF_UNIX
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            sock.connect(address)
            if family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except (ConnectionRefusedError, FileNotFoundError, BlockingIOError) as error:
            sock.close()
            if time.monotonic() > deadline:
                raise Timeout(f'no listener at {address!r} within {timeout * SLOW:g} s: {error}') from error
            time.sleep(0.005)


class Connection:
    """One connection. Full duplex: while it sends it also reads, so it never deadlocks with the program.

    For the peer that writes everything before it reads anything use `half_duplex_send`.
    """

    def __init__(self, address=None, timeout=5, on_stderr=None, sock=None):
        self.sock = sock or connect(address, timeout)
        self.sock.setblocking(False)
        self.timeout = 10
        self.buffer = bytearray()
        self.records = []           # everything received on this connection, in order
        self.ends = []              # (index, id) of each END_REQUEST among them
        self.taken = 0              # how many of them a response() or next_record() has handed out
        self.eof = False
        self.reset = False          # the end came as ECONNRESET or EPIPE
        self.not_whole = False      # a NOT_WHOLE came; nothing may follow
        self.on_stderr = on_stderr

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def half_close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:       # the other side has ended it already
                raise

    def _receive(self, size=1 << 18):
        """One recv; the complete records of it go to self.records. False at the end of the connection."""
        try:
            data = self.sock.recv(size)
        except (BlockingIOError, InterruptedError):
            return True
        except (ConnectionResetError, BrokenPipeError):
            self.eof = self.reset = True
            return False
        if not data:
            self.eof = True
            return False
        self.buffer += data
        records, used = split_records(self.buffer)
        del self.buffer[:used]
        for rec in records:
            assert not self.not_whole, f'{rec} behind the record that ends a response which is not whole'
            if rec.type == NOT_WHOLE:
                self.not_whole = True
            elif rec.type == END_REQUEST:
                self.ends.append((len(self.records), rec.id))
            elif rec.type == STDERR and rec.content and self.on_stderr:
                self.on_stderr(rec.content)
            self.records.append(rec)
        return True

    def _poll(self, mask, seconds):
        poller = select.poll()
        poller.register(self.sock, mask)
        return sum(events for _, events in poller.poll(max(0, seconds) * 1000))

    def send(self, data, timeout=None):
        """Send all of `data`. Returns False when the program closed the connection meanwhile."""
        view = memoryview(data)
        deadline = time.monotonic() + (timeout or self.timeout) * SLOW
        while view:
            if self.reset:
                return False
            events = self._poll(select.POLLOUT | (0 if self.eof else select.POLLIN), deadline - time.monotonic())
            if events & select.POLLIN:
                self._receive()
            if events & (select.POLLOUT | select.POLLERR | select.POLLHUP):
                try:
                    view = view[self.sock.send(view[:1 << 18]):]
                except (BlockingIOError, InterruptedError):
                    pass
                except (BrokenPipeError, ConnectionResetError):
                    while not self.eof and self._poll(select.POLLIN, 0) & select.POLLIN and self._receive():
                        pass
                    self.eof = self.reset = True
                    return False
            if time.monotonic() > deadline:
                raise Timeout(f'{len(view)} bytes not taken by the program within {(timeout or self.timeout) * SLOW:g} s')
        return True

    def half_duplex_send(self, data, timeout=None):
        """Send all of `data` without reading a byte meanwhile."""
        self.sock.settimeout((timeout or self.timeout) * SLOW)
        try:
            self.sock.sendall(data)
        except TimeoutError as error:
            raise Timeout('deadlock: the program does not take the rest of the request') from error
        finally:
            self.sock.setblocking(False)

    def wait(self, predicate, timeout=None, what='data'):
        """Receive until `predicate()` is true; an early end of the connection is an error (Timeout)."""
        deadline = time.monotonic() + (timeout or self.timeout) * SLOW
        while not predicate():
            if self.eof:
                raise Timeout(f'{what}: connection ended; received {self.records[self.taken:]!r}')
            left = deadline - time.monotonic()
            if left <= 0:
                raise Timeout(f'{what}: not within {(timeout or self.timeout) * SLOW:g} s; '
                              f'received {str(self.records[self.taken:])[:2000]}')
            if self._poll(select.POLLIN, left):
                self._receive()

    def forget(self):
        """Drop what was received and handed out so far, so that a long exchange does not fill the memory."""
        self.records, self.ends, self.taken = [], [], 0

    def next_record(self, timeout=None):
        """The next record, or None at the end of the connection."""
        self.wait(lambda: self.eof or len(self.records) > self.taken, timeout, 'a record')
        if len(self.records) > self.taken:
            self.taken += 1
            return self.records[self.taken - 1]
        return None

    def wait_eof(self, timeout=None):
        """Everything until the program closes the connection; a program that does not is an error."""
        self.wait(lambda: self.eof, timeout, 'end of the connection')
        return self.records

    def silent(self, seconds):
        """True if nothing at all (no record, no end) arrives for that long. Not scaled: it is a time to watch."""
        before = len(self.records)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._poll(select.POLLIN, deadline - time.monotonic()):
                self._receive()
                if self.eof or len(self.records) > before or self.buffer:
                    return False
        return True

    def stdout(self, id=1):
        """The STDOUT bytes received for `id` since the last response()."""
        return b''.join(r.content for r in self.records[self.taken:] if r.id == id and r.type == STDOUT)

    def response(self, id=1, timeout=None):
        """Wait for END_REQUEST of `id` or the end of the connection."""
        def ended():
            return self.eof or any(at >= self.taken and of == id for at, of in self.ends)
        self.wait(ended, timeout, f'the response to request {id}')
        mine, app_status, protocol_status = [], None, None
        while self.taken < len(self.records):
            rec = self.records[self.taken]
            self.taken += 1
            if rec.id != id:
                continue
            mine.append(rec)
            if rec.type == END_REQUEST:
                app_status, protocol_status = struct.unpack('>IB3x', rec.content)
                break
        return Response(b''.join(r.content for r in mine if r.type == STDOUT),
                        b''.join(r.content for r in mine if r.type == STDERR),
                        mine, app_status, protocol_status, self.eof, not_whole=self.not_whole)

    def request(self, params, body=b'', id=1, role=RESPONDER, keep=False, data=None, timeout=None):
        """One request and its response. Without `keep` the program must close the connection: checked."""
        self.send(request_bytes(params, body, id, role, keep, data), timeout)
        response = self.response(id, timeout)
        if not keep and not self.eof:
            self.wait_eof(timeout)
            response.eof = True
        return response

    def get_values(self, *names, timeout=None):
        """FCGI_GET_VALUES: the answer as a list of (name, value)."""
        self.send(record(GET_VALUES, 0, pairs([(name, b'') for name in names])))
        answer = self.next_record(timeout)
        assert answer is not None, 'connection closed instead of GET_VALUES_RESULT'
        assert answer.type == GET_VALUES_RESULT and answer.id == 0, answer
        return decode_pairs(answer.content)
