"""The instances that CGI processes with --keep-warm leave behind: finding them, ending them, checking what they leave.

The fixture `transport` gives each test over cgi-warm a WarmServer, and so a folder and instances of its own.
"""

import json
import os
import select
import signal
import socket
import struct

import fcgi
from fcgi import Timeout, wait_for
from harness import CgiServer, OwnLines, Transport, kill_all, session_members, session_of
from settings import SLOW

REFUSED = {400, 404, 411, 413, 414, 431}
COLD = 'this process serves the request'        # in the log of a CGI process that an instance did not serve


def listener_of(path):
    """The process that listens on a unix socket; None where nobody does."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5 * SLOW)
        try:
            sock.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        return struct.unpack('3i', sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


class Master:
    """The master of one instance. It is nobody's child, so it is known by a descriptor."""

    def __init__(self, pid):
        self.pid, self.pidfd, self.session = pid, os.pidfd_open(pid), session_of(pid)

    def running(self):
        return not select.select([self.pidfd], [], [], 0)[0]

    def wait(self, timeout=5):
        if not select.select([self.pidfd], [], [], timeout * SLOW)[0]:
            raise Timeout(f'the instance {self.pid} still runs after {timeout * SLOW:g} s')

    def signal(self, number):
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def members(self):
        """All processes of the instance: its session has no others."""
        return session_members(self.session)

    def workers(self):
        return {pid for pid, state in self.members().items() if f', parent {self.pid},' in state and state[0] != 'Z'}

    def close(self):
        os.close(self.pidfd)


class Instances:
    """All instances with their files in `folder`/wsgi-cgi; the folder is XDG_RUNTIME_DIR of the CGI processes. Their logs are also found
    under another name, which they do not remove."""

    def __init__(self, world, log, folder=None):
        self.world, self.log = world, log
        self.above = folder or world.new_path('warm')
        self.folder = self.above / 'wsgi-cgi'
        self.masters, self.seen, self.kept = {}, set(), {}
        self.requests = 0               # what those that have ended had accepted
        if not folder:
            self.above.mkdir(mode=0o700)

    def files(self, suffix=''):
        try:
            return sorted(name for name in os.listdir(self.folder) if name.endswith(suffix))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def note(self):
        """Take note of instances that are new."""
        for name in self.files():
            path = self.folder / name
            try:
                file = os.stat(path, follow_symlinks=False)
                if name.endswith('.log') and file.st_ino not in self.kept:
                    kept = self.world.new_path('kept', '.log')
                    os.link(path, kept, follow_symlinks=False)
                    self.kept[file.st_ino] = kept
                    self.log.logs.append(kept)
                elif name.endswith('.ctl') and (name, file.st_ino, file.st_mtime_ns) not in self.seen:
                    pid = listener_of(path)
                    if pid and pid not in self.masters:
                        self.masters[pid] = Master(pid)
                    if pid:
                        self.seen.add((name, file.st_ino, file.st_mtime_ns))
            except (FileNotFoundError, ProcessLookupError):
                pass                    # it has just ended

    def running(self):
        self.note()
        return [master for master in self.masters.values() if master.running()]

    def only(self, timeout=10):
        """The one instance that runs, when it has its control socket."""
        def one():
            found = self.running()
            return found[0] if len(found) == 1 and self.files('.ctl') else None
        return wait_for(one, timeout, 'one instance')

    def status(self, timeout=10):
        """The status page of the one instance that has a control socket."""
        name, = self.files('.ctl')
        params = [(b'REQUEST_METHOD', b'GET'), (b'SCRIPT_NAME', b'/status'), (b'QUERY_STRING', b'json&full'),
                  (b'SERVER_PROTOCOL', b'HTTP/1.1')]
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.folder / name))           # at once, or never
        with fcgi.Connection(sock=sock) as conn:
            return json.loads(conn.request(params, timeout=timeout).body)

    def end(self, number=signal.SIGTERM, timeout=5):
        """Ask all that run to end, and wait for it."""
        for master in self.running():
            master.signal(number)
        for master in self.masters.values():
            master.wait(timeout)

    def check_end(self, check_files=True):
        """After end(): neither processes nor files."""
        def members():
            return {pid: state for master in self.masters.values() for pid, state in master.members().items()}
        try:                            # what has ended is for init to reap, which may take it seconds
            wait_for(lambda: all(state.startswith('Z, parent 1,') for state in members().values()), 2, 'end of the workers')
        except Timeout:
            raise AssertionError(f'an instance left processes behind: {members()}') from None
        assert not check_files or not self.files(), f'an instance left files behind: {self.files()}'

    def kill(self):
        """At once, and without any check."""
        try:
            self.note()
        except OSError:
            pass
        for master in self.masters.values():
            kill_all(master.members())
        self.close()

    def close(self):
        for master in self.masters.values():
            master.close()
        self.masters = {}


class WarmServer(CgiServer):
    """CGI processes with --keep-warm: an instance of their own has to serve all requests."""
    is_warm = True

    def __init__(self, world, argv, env, cwd, script, popen):
        super().__init__(world, [argv[0], '--keep-warm', *argv[1:]], env, cwd, script, popen)
        self.instances = Instances(world, self.log)
        self.env = {'XDG_RUNTIME_DIR': str(self.instances.above), **(env or {})}
        self.log_is_whole = True        # False: the test ends its instances in ways of its own
        self.warm_requests = '--doctor' not in argv     # False: some are not for the instance
        self.settles = True             # False: the instance does not answer
        self.served = 0

    def settle(self):
        """Until the application has finished with a request: it may have its response before close() has returned. Over FastCGI,
        the tests wait for the end of the connection."""
        if self.settles and not self.exchanges and self.instances.files('.ctl'):
            try:
                wait_for(lambda: self.instances.status()['active processes'] == 0, 2, 'the end of the request')
            except (AssertionError, OSError, ValueError):
                pass                    # it ends, or does work after its response: the test will see

    def ended(self, exchange, response):
        self.instances.note()
        # What no application may get is answered by the CGI process.
        self.served += response is not None and response.status not in REFUSED and COLD.encode() not in response.stderr
        super().ended(exchange, response)
        self.settle()

    def check_warm(self):
        """Whatever became of the log: the instance has got all requests. One that the test has replaced tells nothing."""
        if self.warm_requests and self.served and self.log_is_whole and len(self.instances.masters) < 2:
            assert self.instances.running(), 'there is no instance: it has ended, or has never started'
            accepted = self.instances.status()['accepted conn']
            assert accepted >= self.served, f'{accepted} requests reached the instance, of {self.served}'

    def check_own_lines(self):
        words = self.argv + self.env.get('WSGI_CGI_OPTIONS', '').split()
        if not self.log_is_whole or any(word.startswith(('--log-file', '--log-level')) for word in words):
            return              # they are elsewhere, or nowhere
        lines = OwnLines(self.log.text())
        pids = set(self.instances.masters)
        assert set(lines.starts) == set(lines.stops) == pids, f'starts and stops of {sorted(pids)}:\n{self.log.text()}'

    def stop(self, number=signal.SIGTERM, timeout=5):
        """Ask its instances to end."""
        self.check_warm()
        self.instances.end(number, timeout)
        self.warm_requests = False
        return 0

    def finish(self):
        errors = []
        for step in (self.end_exchanges, self.check_warm, self.instances.end, self.instances.check_end, self.log.check,
                     self.check_own_lines):
            try:
                step()
            except AssertionError as error:
                errors.append(str(error))
        self.instances.kill()
        assert not errors, '\n'.join(errors)

    def abandon(self):
        super().abandon()
        self.instances.kill()


class WarmTransport(Transport):
    """CGI with --keep-warm."""

    def __init__(self, world):
        super().__init__(world, 'cgi-warm')
        self.is_cgi, self.is_fcgi, self.is_warm = True, False, True
        self.make = WarmServer
