"""Starting real servers, asking them, and seeing that nothing is left of them.

Nothing sleeps: wait_until() polls with a deadline. Nothing has a fixed port: a
free one is chosen, and another one when somebody else was faster. Processes are
stopped by their id. Everything lies below one temporary folder per test.
"""

import ctypes
import functools
import grp
import http.client
import math
import os
import pwd
import random
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
EXAMPLES = TREE / "examples"
SERVERS = EXAMPLES / "servers"
APPS = HERE / "apps"

# What the files of examples/ say, and what a test puts in its place.
EXAMPLE_BINARY = "/usr/local/bin/wsgi-cgi"
EXAMPLE_APP = "/srv/app/app.py"
EXAMPLE_APP_DIR = "/srv/app"
EXAMPLE_ROOT = "/srv/www"
EXAMPLE_FILES = "/srv/files"
EXAMPLE_PROJECT = "/srv/mysite"
EXAMPLE_SHOP = "/srv/shop"
EXAMPLE_SOCKET = "/run/wsgi-cgi/app.sock"
EXAMPLE_STATUS_SOCKET = "/run/wsgi-cgi/status.sock"
EXAMPLE_PID_FILE = "/run/wsgi-cgi/app.pid"
EXAMPLE_PORT = "8080"
EXAMPLE_USER = "www-data"
EXAMPLE_ERROR_LOG = "/var/log/lighttpd/error.log"
EXAMPLE_BREAKAGE_LOG = "/var/log/lighttpd/app.log"
EXAMPLE_APP_LOG = "/var/log/wsgi-cgi.log"
EXAMPLE_LOG_FOLDER = "/var/log/wsgi-cgi"
EXAMPLE_BACKEND_PORT = "9000"
EXAMPLE_FCGIWRAP = "/run/fcgiwrap.socket"
EXAMPLE_ADMIN = "/run/haproxy/admin.sock"
EXAMPLE_HOSTS = ("10.0.0.11:9000", "10.0.0.12:9000", "10.0.0.13:9000")
EXAMPLE_CERTIFICATE = "/etc/ssl/certs/app.pem"
EXAMPLE_KEY = "/etc/ssl/private/app.key"
EXAMPLE_CERTIFICATE_AND_KEY = "/etc/ssl/private/app-both.pem"

SCALE = float(os.environ.get("TEST_TIMEOUT_SCALE", "1"))
DEADLINE = 20 * SCALE  # seconds; reached only where something is wrong


# Servers live in sbin, which users' PATHs lack.
PATH = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"


def find_program(name):
    """Absolute path or None."""
    return shutil.which(name, path=PATH)


@functools.lru_cache
def version_of(*command):
    """(1, 37, 0), the first such number that a program prints; where it is not
    installed, newer than anything."""
    program = find_program(command[0])
    if program is None:
        return (math.inf,)
    said = subprocess.run([program, *command[1:]], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=DEADLINE).stdout.decode("utf-8", "replace")
    found = re.search(r"\d+(\.\d+)+", said)
    assert found, "no version in %r" % said
    return tuple(int(number) for number in found[0].split("."))


def missing(what):
    """what is not there: the test is skipped, but where all was installed before,
    as in "make check-servers", it fails."""
    said = "%s is not installed; see tests/servers/packages.txt" % what
    if os.environ.get("WSGI_CGI_TEST_ALL"):
        pytest.fail(said + ", which the Makefile installs")
    pytest.skip(said)


def current_user():
    return (pwd.getpwuid(os.geteuid()).pw_name,
            grp.getgrgid(os.getegid()).gr_name)


def server_user():
    """(user, group) of what the files of examples/ start, as they say: only
    root can become another."""
    return ((EXAMPLE_USER, EXAMPLE_USER) if os.geteuid() == 0
            else current_user())


def as_server_user():
    """The same as options of subprocess.Popen."""
    if os.geteuid() != 0:
        return {}
    user, group = server_user()
    return {"user": user, "group": group, "extra_groups": []}


def wait_until(question, what, deadline=None):
    """The first true answer of question(); AssertionError after the deadline.
    what: a string, or a function that makes one."""
    end = time.monotonic() + (deadline or DEADLINE)
    pause = 0.002
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError("not within the deadline: %s" % (
                what() if callable(what) else what))
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)


# --- text ---------------------------------------------------------------------

def substitute(text, pairs):
    """Replaces each key of pairs, which must be there: a default that is no
    longer in the example would make the test run something else. Longest
    first, in one pass, so that nothing is replaced twice."""
    for old in pairs:
        assert old in text, "%r is not in the example" % old
    if not pairs:
        return text
    pattern = "|".join(re.escape(old)
                       for old in sorted(pairs, key=len, reverse=True))
    return re.sub(pattern, lambda m: str(pairs[m[0]]), text)


def without_comments(name):
    """The lines of a file of examples/servers, so that a path named in a comment
    need not be replaced."""
    text = (SERVERS / name).read_text()
    mark = ";" if name.startswith("supervisor") or "php-fpm/pool" in name \
        else "#"
    return [line for line in text.splitlines(True)
            if not line.lstrip().startswith(mark) or line.startswith("#!")]


def example(name, **pairs):
    """The same with paths and ports replaced: by their names here, or as they
    stand in the file."""
    lines = without_comments(name)
    names = {
        "binary": EXAMPLE_BINARY, "app": EXAMPLE_APP, "root": EXAMPLE_ROOT,
        "files": EXAMPLE_FILES,
        "app_dir": '"%s"' % EXAMPLE_APP_DIR, "socket": EXAMPLE_SOCKET,
        "port": EXAMPLE_PORT, "user": EXAMPLE_USER,
        "owner": "%s:%s" % (EXAMPLE_USER, EXAMPLE_USER),
        "error_log": EXAMPLE_ERROR_LOG, "app_log": EXAMPLE_APP_LOG,
        "breakage_log": EXAMPLE_BREAKAGE_LOG,
        "backend_port": EXAMPLE_BACKEND_PORT, "fcgiwrap": EXAMPLE_FCGIWRAP,
        "certificate": EXAMPLE_CERTIFICATE, "key": EXAMPLE_KEY,
        "both": EXAMPLE_CERTIFICATE_AND_KEY, "admin": EXAMPLE_ADMIN,
        "project": EXAMPLE_PROJECT, "shop": EXAMPLE_SHOP,
        "status": EXAMPLE_STATUS_SOCKET, "pid_file": EXAMPLE_PID_FILE,
        "log_folder": EXAMPLE_LOG_FOLDER,
        "srv": "cd /srv\n", "su": "su %s %s" % (EXAMPLE_USER, EXAMPLE_USER),
    }
    names.update(zip(("host1", "host2", "host3"), EXAMPLE_HOSTS))
    text = substitute("".join(lines), {names.get(k, k): v for k, v in pairs.items()})
    left = re.findall(
        r"/(?:srv|run/(?:wsgi-cgi|fcgiwrap|haproxy)|usr/local|var/log|etc/ssl)"
        r"\b\S*", text)
    left = [word for word in left
            if not any(word.startswith(str(v)) for v in pairs.values())]
    assert not left, "%s: not replaced: %s" % (name, left)
    return text


# --- processes ----------------------------------------------------------------

def become_subreaper():
    """Processes that lose their parent become our children, so that none gets
    out of sight, and we learn how it ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "prctl")


def parents():
    """{pid: its parent} of this machine. (It is asked often, and there may be
    hundreds of processes: nothing else of them is read, and not as text, which
    would take twice as long.)"""
    table = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fd = os.open("/proc/%s/stat" % name, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, ProcessLookupError):
            continue
        try:
            stat = os.read(fd, 1024)
        except ProcessLookupError:
            continue
        finally:
            os.close(fd)
        table[int(name)] = int(stat[stat.rindex(b")") + 4:].split(None, 1)[0])
    return table


def process(pid):
    """(parent, state, command line), or None."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
        words = Path("/proc", str(pid), "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    comm = stat[stat.index("(") + 1:stat.rindex(")")]
    state, parent = stat[stat.rindex(")") + 2:].split()[:2]
    command = words.replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return int(parent), state, command or "[%s]" % comm


# Ids of processes that serve several tests, such as a browser. The checks for
# leftovers skip them and their descendants. Each must be a subreaper, or its
# orphans would become our children.
SHARED_PROCESSES = set()


def descendants(pid=None):
    """{pid: (parent, state, command)} of all below pid (default: us)."""
    table = parents()
    found = set()
    border = {pid or os.getpid()}
    while border:
        border = {p for p, parent in table.items()
                  if parent in border} - SHARED_PROCESSES
        found |= border
    facts = {p: process(p) for p in found}
    return {p: fact for p, fact in facts.items() if fact}


def is_ours(command, binary):
    """Whether a command line is that of this program: its title, or what comes
    before that, and in CGI."""
    return command.startswith(("wsgi-cgi: ", "%s " % binary))


def mounts(pid):
    """{id: whether what is mounted there is mounted elsewhere as well}."""
    lines = [line.split() for line in
             Path("/proc", str(pid), "mountinfo").read_text().splitlines()]
    return {words[0]: any(word.startswith("shared:")
                          for word in words[6:words.index("-")]) for words in lines}


def propagation():
    """For unshare(1). In a chroot, "/" is no mount that could be made private; it need
    not be, where nothing is shared. Who sees its mount is not in the chroot."""
    fd = os.open("/", os.O_PATH)
    root = re.search(r"mnt_id:\s+(\d+)", Path(
        "/proc/self/fdinfo/%d" % fd).read_text())[1]
    os.close(fd)
    known = {}
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                if os.path.samefile("/proc/%s/ns/mnt" % pid, "/proc/self/ns/mnt"):
                    known.update(mounts(pid))
            except OSError:
                pass  # it has ended
    is_chroot = root not in mounts("self")
    return "unchanged" if is_chroot and root in known and not any(
        known.values()) else "private"


class Orphans:
    """Ends of processes whose parent did not wait for them: [(command, code)],
    code as subprocess gives it."""

    def __init__(self):
        self.commands = {}
        self.ended = []

    def look(self, own=()):
        """Reaps what was handed to us; own: ids that somebody else waits for.
        Returns the descendants that are still there, without own zombies."""
        found = descendants()
        for pid, (parent, state, command) in sorted(found.items()):
            if state != "Z":
                self.commands[pid] = command
            elif parent == os.getpid() and pid not in own:
                _, status = os.waitpid(pid, 0)
                self.ended.append((self.commands.get(pid, command),
                                   os.waitstatus_to_exitcode(status)))
                del found[pid]
        return found


class Server:
    """One process that we started: its id, its output file, its end."""

    def __init__(self, name, command, log, **options):
        self.name = name
        self.command = [str(word) for word in command]
        self.log = Path(log)
        options.setdefault("env", {**os.environ, "PATH": PATH})
        with open(self.log, "ab") as output:
            self.popen = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, **options)

    @property
    def pid(self):
        return self.popen.pid

    def is_running(self):
        return self.popen.poll() is None

    def output(self):
        return self.log.read_text("utf-8", "replace")

    def send_signal(self, number):
        if self.is_running():
            self.popen.send_signal(number)

    def wait(self, deadline=None):
        try:
            return self.popen.wait(deadline or DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError("%s did not end; its output:\n%s" % (
                self.name, self.output())) from None

    def stop(self, number=signal.SIGTERM):
        self.send_signal(number)
        return self.wait()


def is_root(pid):
    """By its effective user id."""
    line = re.search(r"^Uid:\s+\d+\s+(\d+)",
                     Path("/proc/%d/status" % pid).read_text(), re.M)
    return line[1] == "0"


def free_port():
    """A port of loopback that nobody listens on now. Below the range that the
    kernel hands to clients, so that no connection sits on it."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def listens(pid, port, address="127.0.0.1"):
    """Process pid has the listening socket of that port. Seen in /proc, where
    each process has its own network: a connection just to try would be a
    request to some."""
    wanted = "%08X:%04X" % (
        struct.unpack("=I", socket.inet_aton(address))[0], port)
    inodes = set()
    try:
        for line in Path("/proc/%d/net/tcp" % pid).read_text().splitlines()[1:]:
            words = line.split()
            if words[1] == wanted and words[3] == "0A":
                inodes.add("socket:[%s]" % words[9])
        fds = os.listdir("/proc/%d/fd" % pid)
        return any(os.readlink("/proc/%d/fd/%s" % (pid, fd)) in inodes
                   for fd in fds)
    except PermissionError:
        # A server of ours has become another user, and we may not look into
        # those. The port was free before, and who cannot have it ends.
        return bool(inodes) and pid in descendants()
    except OSError:
        return False


def unread(port, client):
    """Bytes that the server on this port has not read yet from the connection
    that comes from the port client."""
    ends = ["0100007F:%04X" % port, "0100007F:%04X" % client]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1:3] == ends:
            return int(words[4].partition(":")[2], 16)
    return None


def unix_sockets(path):
    """(listening, connected) sockets of that path, server side."""
    listening = connected = 0
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split(None, 7)
        if len(words) == 8 and words[7] == str(path):
            if int(words[3], 16) & 0x10000:  # __SO_ACCEPTCON
                listening += 1
            elif words[5] == "03":
                connected += 1
    return listening, connected


# --- HTTP ---------------------------------------------------------------------

class Answer:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.body = status, reason, body
        self.headers = headers  # http.client.HTTPMessage: get(), get_all()

    @property
    def text(self):
        return self.body.decode("utf-8")

    def __repr__(self):
        return "<%d %s, %r>" % (self.status, self.reason, self.body[:300])


class Site:
    """Where an application can be asked: port, and the path it is mounted on.
    log: the file that has what its requests write to wsgi.errors."""

    def __init__(self, port, prefix="", log="error.log", scheme="http",
                 two_packets=False):
        self.port, self.prefix, self.log = port, prefix, log
        self.scheme = scheme
        # mini_httpd gives an empty reply where head and body come together.
        self.two_packets = two_packets

    def tls(self):
        """Trusts any certificate: ours are made for the test."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context

    def connect(self):
        if self.scheme == "https":
            return http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=DEADLINE, context=self.tls())
        return http.client.HTTPConnection("127.0.0.1", self.port,
                                          timeout=DEADLINE)

    def ask(self, path="/", method="GET", body=None, headers=None):
        connection = self.connect()
        try:
            if self.two_packets and body:
                self.ask_in_two(connection, method, path, body, headers or {})
            else:
                connection.request(method, self.prefix + path, body,
                                   headers or {})
            got = connection.getresponse()
            return Answer(got.status, got.reason, got.headers, got.read())
        finally:
            connection.close()

    def ask_in_two(self, connection, method, path, body, headers):
        """The body when the server has read the head."""
        if isinstance(body, bytes):
            headers = {"Content-Length": str(len(body)), **headers}
            body = [body]
        connection.putrequest(method, self.prefix + path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        client = connection.sock.getsockname()[1]
        wait_until(lambda: unread(self.port, client) == 0, "the head is read")
        for block in body:
            connection.sock.sendall(block)

    def send_raw(self, data):
        """A socket on which data was sent; the caller reads and closes."""
        conn = socket.create_connection(("127.0.0.1", self.port), DEADLINE)
        if self.scheme == "https":
            conn = self.tls().wrap_socket(conn)
        conn.sendall(data)
        return conn

    def check_after(self, folder, path="/after"):
        """wsgi_cgi.after_response (page /after of apps/probe.py): the client
        has its answer and the end of its connection while the work goes on;
        nothing the server does then ends the work."""
        folder.mkdir(0o777)
        folder.chmod(0o777)  # the application may be another user
        begun, go, done = (folder / name for name in ("begun", "go", "done"))
        with self.send_raw(b"GET %s?%s HTTP/1.0\r\n\r\n" % (
                (self.prefix + path).encode(), str(folder).encode())) as conn:
            answer = conn.makefile("rb").read()
        assert answer.endswith(b"\r\n\r\nanswered\n"), answer
        wait_until(begun.exists, "the work begins")
        assert not done.exists()
        go.touch()
        wait_until(done.exists, "the work ends")
