"""Load: clients that ask again and again, and count what should not be.

Http asks through a web server, one thread per client. fastcgi() asks the
program itself, one thread for all connections: some ten thousand requests a
second.
"""

import collections
import http.client
import select
import socket
import struct
import threading
import time

from harness import DEADLINE, wait_until


class Http:
    """with Http(site) as load: clients that ask until its end, each on a new
    connection, by the methods in turn: no web server tries a POST again.
    answers: [(time, text)] of statuses 200, failures: the rest; took: the
    seconds of each."""

    def __init__(self, site, clients=4, path="/", methods=("GET", "POST")):
        self.site, self.path, self.methods = site, path, methods
        self.answers, self.failures, self.took = [], [], []
        self.ended = [0] * clients  # requests of each
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(number,))
                        for number in range(clients)]

    def run(self, number):
        method = self.methods[number % len(self.methods)]
        body = b"body" if method == "POST" else None
        while not self.stopping.is_set():
            begun = time.monotonic()
            try:
                got = self.site.ask(self.path, method, body)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                continue
            finally:
                self.took.append(time.monotonic() - begun)
                self.ended[number] += 1
            if got.status == 200:
                self.answers.append((time.monotonic(), got.text))
            else:
                self.failures.append(repr(got))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def wait_for_more(self, count=30):
        before = len(self.answers)
        wait_until(lambda: len(self.answers) >= before + count, "answers")

    def wait_for(self, text):
        """Until a request that was sent from now on is answered so."""
        begun = time.monotonic()
        wait_until(lambda: any(got.startswith(text) for when, got
                               in self.answers[-50:] if when > begun),
                   lambda: "%r is answered; last: %s, failed: %s" % (
                       text, self.answers[-3:], self.failures[:3]))

    def wait_for_each(self):
        """Until each client has got over what it has sent so far, and more."""
        begun = list(self.ended)
        wait_until(lambda: all(now >= then + 2 for now, then
                               in zip(self.ended, begun)),
                   lambda: "each client goes on: %s, %s" % (begun, self.ended))

    def check(self):
        assert not self.failures, "%d of %d failed: %s" % (
            len(self.failures), len(self.failures) + len(self.answers),
            self.failures[:3])
        assert self.answers


# --- FastCGI ------------------------------------------------------------------

BEGIN, END, PARAMS, STDIN, STDOUT = 1, 3, 4, 5, 6


def record(kind, content=b""):
    return struct.pack(">BBHHBB", 1, kind, 1, len(content), 0, 0) + content


def request(path="/", keep=False):
    """A whole GET."""
    pairs = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path,
             "QUERY_STRING": "", "REQUEST_URI": path, "SERVER_NAME": "h",
             "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1"}
    params = b"".join(bytes([len(k), len(v)]) + k.encode() + v.encode()
                      for k, v in pairs.items())
    return b"".join([record(BEGIN, struct.pack(">HB5x", 1, keep)),
                     record(PARAMS, params), record(PARAMS), record(STDIN)])


def body_of(data):
    """The body of a whole response, None while (or where) it is none."""
    at, out = 0, []
    while at + 8 <= len(data):
        _, kind, _, size, padding, _ = struct.unpack_from(">BBHHBB", data, at)
        out.append((kind, data[at + 8:at + 8 + size]))
        at += 8 + size + padding
    if at != len(data) or not out or out[-1][0] != END:
        return None
    text = b"".join(content for kind, content in out if kind == STDOUT)
    head, _, body = text.partition(b"\r\n\r\n")
    return body if b"Status: 200 " in head else None


class Connection:
    """One request after the other: on one connection (keep), or each on its
    own. address: a path, or (host, port)."""

    def __init__(self, address, keep, path="/"):
        self.address, self.keep = address, keep
        self.request = request(path, keep)
        self.sock = None
        self.data, self.body = b"", None

    def connect(self):
        """False where nobody listens (any more)."""
        unix = not isinstance(self.address, tuple)
        self.sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        try:
            self.sock.connect(self.address)
        except OSError:
            self.close()
            return False
        return True

    def send(self):
        """False where nobody listens. On a kept connection that has ended, a
        unix socket says so at the send: a new one is made."""
        self.data = b""
        while self.sock is not None or self.connect():
            try:
                self.sock.sendall(self.request)
                return True
            except BrokenPipeError:
                self.close()
        return False

    def receive(self):
        """True when there is nothing to wait for: body, or None for a response
        that is not whole, is in self.body then."""
        try:
            chunk = self.sock.recv(65536)
        except ConnectionResetError:
            chunk = b""
        self.data += chunk
        if chunk and not self.keep:
            return False
        self.body = body_of(self.data)
        if not chunk:
            self.close()
        return not chunk or self.body is not None

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def fastcgi(address, total, kept=0, fresh=0, path="/", until=lambda: False):
    """total requests over so many connections at a time. Ends early where
    nobody listens any more, or with until(). Returns a Counter of bodies; None
    counts responses that were not whole."""
    bodies = collections.Counter()
    poll = select.epoll()
    busy = {}
    begun = 0

    def begin(client):
        nonlocal begun
        if begun == total or until() or not client.send():
            client.close()
            return
        begun += 1
        busy[client.sock.fileno()] = client
        try:
            poll.register(client.sock, select.EPOLLIN)
        except FileExistsError:  # a kept connection
            pass

    for number in range(kept + fresh):
        begin(Connection(address, number < kept, path))
    while busy:
        events = poll.poll(DEADLINE)
        assert events, "%d requests are not answered; %d were" % (
            len(busy), sum(bodies.values()))
        for fd, _ in events:
            if busy[fd].receive():
                client = busy.pop(fd)
                bodies[client.body] += 1
                begin(client)
    poll.close()
    return bodies
