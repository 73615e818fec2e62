"""One test's folder, the servers it starts there, and what they leave behind."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

import harness
from harness import (Orphans, Server, current_user, example, free_port,
                     listens, server_user, unix_sockets, wait_until)

# A log line like this fails the test, unless the test said it expects it.
SUSPICIOUS = re.compile(
    r"error|traceback|sanitizer|fatal|segfault|stack smashing|assert"
    r"|\b(?:alert|crit|emerg)\b", re.I)


SUPERVISORD = """[supervisord]
logfile=%(log)s
pidfile=%(pid)s
childlogdir=%(logs)s
user=%(user)s
[unix_http_server]
file=%(control)s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://%(control)s
[include]
files=%(part)s
"""


OWN_TMP = """set -e
folder=$1
shift
mount --bind "$folder" "$folder/tmp/${folder##*/}"
mount --rbind "$folder/tmp" /tmp
cd /
exec "$@"
"""


class Logs:
    """The log files of one test; error.log is the web server's."""

    def __init__(self, folder):
        self.folder = folder
        self.allowed = []
        self.expected = []

    def path(self, name):
        return self.folder / name

    def text(self, name="error.log"):
        """What is there of it by now."""
        try:
            return self.path(name).read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def all(self):
        return "".join("== %s\n%s" % (p.name, self.text(p.name))
                       for p in sorted(self.folder.iterdir()))

    def wait_for(self, pattern, name="error.log"):
        """The match, once it is there."""
        return wait_until(
            lambda: re.search(pattern, self.text(name), re.M),
            lambda: "%r in %s:\n%s" % (pattern, name, self.all()))

    def expect(self, *patterns):
        """Lines that match may be there at the end, and one of each must."""
        self.expected += [re.compile(pattern) for pattern in patterns]

    def allow(self, *patterns):
        """Lines that match may be there at the end."""
        self.allowed += [re.compile(pattern) for pattern in patterns]

    def check(self):
        missing = list(self.expected)
        bad = []
        for path in sorted(self.folder.iterdir()):
            for line in self.text(path.name).splitlines():
                fits = [p for p in self.allowed + self.expected
                        if p.search(line)]
                missing = [p for p in missing if p not in fits]
                if SUSPICIOUS.search(line) and not fits:
                    bad.append("%s: %s" % (path.name, line))
        assert not bad, "unexpected lines in the logs:\n%s\n%s" % (
            "\n".join(bad), self.all())
        assert not missing, "expected in the logs, but not there: %s\n%s" % (
            [p.pattern for p in missing], self.all())


class Place:
    def __init__(self, folder, binary, need):
        self.folder, self.binary, self.need = folder, binary, need
        self.root = folder / "www"
        self.app_dir = folder / "app"
        self.run_dir = folder / "run"
        self.logs = Logs(folder / "log")
        for path in (self.root, self.app_dir, self.run_dir, self.logs.folder):
            path.mkdir()
        self.socket = self.run_dir / "app.sock"
        assert len(str(self.socket)) < 100, "too long for a unix socket"
        self.servers = []
        self.orphans = Orphans()
        # Codes that a server (by its name), or a process whose parent went
        # away ("orphan"), may end with besides 0.
        self.right_codes = {}
        # What a test does to the text of each example, besides.
        self.edit = lambda text: text
        # What each server is started by, if not directly.
        self.started_by = []
        self.own_tmp = None

    # applications

    def copy_app(self, source, shebang=None, target=None):
        """Copies an application (a file with its neighbours, or a folder with
        a wsgi.py) and returns its script. shebang: options for the first line,
        which then names our binary; None leaves the line alone."""
        target = target or self.app_dir
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
            script = target / "wsgi.py"
        else:
            for file in {source, *source.parent.glob("*.py")}:
                shutil.copy(file, target)
            script = target / source.name
        if shebang is not None:
            text = script.read_text()
            if text.startswith("#!"):
                text = text[text.index("\n") + 1:]
            line = " ".join([str(self.binary), *shebang])
            assert len(line) < 250, "too long for the kernel"
            script.write_text("#!%s\n%s" % (line, text))
            script.chmod(0o755)
        give_away(target)
        return script

    # servers

    def example(self, name, **pairs):
        return self.edit(example(name, **pairs))

    def start(self, name, command, **options):
        words = [*self.started_by]
        if self.own_tmp and "user" in options:  # only root can mount
            words += [self.need("setpriv"), "--reuid", options.pop("user"), "--regid",
                      options.pop("group"), "--clear-groups", "--"]
            options.pop("extra_groups", None)
        server = Server(name, [*words, *command],
                        self.logs.path(name + ".out"), **options)
        self.servers.append(server)
        return server

    def wait_for_socket(self, server):
        """The application's socket listens: a connection waits in its queue
        from now on, whether or not the application is ready."""
        wait_until(lambda: not server.is_running() or
                   unix_sockets(self.socket)[0],
                   lambda: "%s listens:\n%s" % (server.name, self.logs.all()))
        assert server.is_running(), "%s ended with %s:\n%s" % (
            server.name, server.wait(), self.logs.all())
        return server

    def wait_for_path(self, path):
        """Something listens on this unix socket."""
        wait_until(lambda: unix_sockets(path)[0],
                   lambda: "%s is there:\n%s" % (path, self.logs.all()))

    def start_on_port(self, name, command_for, taken, **options):
        """Starts command_for(port) until it listens there; on another port
        where a log says (the pattern taken) that somebody has this one.
        Returns (server, port)."""
        for _ in range(5):
            port = free_port()
            server = self.start(name, command_for(port), **options)
            wait_until(
                lambda: not server.is_running() or listens(server.pid, port),
                lambda: "%s listens:\n%s" % (name, self.logs.all()))
            if server.is_running():
                return server, port
            assert re.search(taken, self.logs.all()), \
                "%s ended with %s:\n%s" % (name, server.wait(),
                                           self.logs.all())
            self.servers.remove(server)
            for path in self.logs.folder.iterdir():
                path.write_text("")
        raise AssertionError("%s: no free port in five tries" % name)

    def lighttpd(self, name, extra="", **pairs):
        """lighttpd with examples/servers/NAME and extra lines; its port."""
        program = self.need("lighttpd")
        config = self.folder / "lighttpd.conf"

        def command(port):
            text = self.example(name, port=port, root=self.root,
                                error_log=self.logs.path("error.log"), **pairs)
            config.write_text('%s\nserver.upload-dirs = ("%s")\n%s' % (
                text, self.run_dir, extra))
            return [program, "-D", "-f", config]

        # A service has none, and www-data may not look into root's.
        env = {**os.environ, "PATH": harness.PATH, "HOME": str(self.run_dir)}
        server, port = self.start_on_port("lighttpd", command,
                                          "Address already in use", env=env)
        return self.gives_up_root(server, port)

    def gives_up_root(self, server, port):
        """Its file says so; port."""
        wait_until(lambda: not harness.is_root(server.pid),
                   "%s is another user" % server.name)
        return port

    def supervisord(self, name, **pairs):
        """supervisord with examples/servers/NAME as its one part."""
        program = self.need("supervisord")
        user, group = server_user()
        if "fcgi-program" in name:
            pairs["owner"] = "%s:%s" % (user, group)
        part = self.folder / "part.conf"
        part.write_text(self.example(name, binary=self.binary, socket=self.socket,
                                app_log=self.logs.path("app.log"), user=user,
                                **pairs))
        # It means its control socket, which is the user's alone.
        self.logs.allow("without any HTTP authentication checking")
        main = self.folder / "supervisord.conf"
        main.write_text(SUPERVISORD % {
            "log": self.logs.path("supervisord.log"),
            "user": current_user()[0],
            "pid": self.run_dir / "supervisord.pid", "part": part,
            "logs": self.logs.folder, "control": self.run_dir / "super.sock"})
        server = self.start("supervisord", [program, "-n", "-c", main])
        # It makes the socket of a fcgi-program, removes it, and makes it again
        # when it starts the first process.
        wait_until(lambda: "spawned:" in self.logs.text("supervisord.log"),
                   "supervisord has started the program")
        return self.wait_for_socket(server)

    def supervisorctl(self, *words):
        """What supervisorctl prints."""
        return subprocess.run(
            [self.need("supervisorctl"), "-c",
             self.folder / "supervisord.conf", *words],
            stdout=subprocess.PIPE, timeout=harness.DEADLINE, text=True).stdout

    def gateway(self, app, *options):
        """wsgi-cgi on its own, on the test's unix socket: the web server's, with
        the mode that it has by itself."""
        return self.wait_for_socket(self.start("wsgi-cgi", [
            self.binary, "--bind", "unix:%s" % self.socket, "--socket-owner",
            "%s:%s" % server_user(), *options, app]))

    def tcp_gateway(self, app, *options):
        """wsgi-cgi on its own, on a port of loopback: (server, port)."""
        return self.start_on_port("wsgi-cgi", lambda port: [
            self.binary, "--bind", "127.0.0.1:%d" % port, *options, app],
            "Address already in use")

    def tcp_gateway_again(self, bound, app, *options):
        """The same, where one was bound that has ended."""
        server = self.start("wsgi-cgi", [
            self.binary, "--bind", bound, *options, app])
        wait_until(lambda: listens(server.pid, int(bound.rpartition(":")[2])),
                   lambda: "wsgi-cgi listens:\n%s" % self.logs.all())

    # instances of --keep-warm

    def use_own_tmp(self):
        """The servers get a /tmp of their own, and so do the instances that CGI
        processes leave behind. The test's folder is in it under the same name."""
        if os.geteuid() != 0:
            pytest.skip("only root can make a mount namespace")
        self.own_tmp = self.folder / "tmp"
        (self.own_tmp / self.folder.name).mkdir(parents=True)
        self.own_tmp.chmod(0o1777)
        self.started_by = [
            self.need("unshare"), "--mount", "--propagation", harness.propagation(),
            "sh", "-c", OWN_TMP, "sh", self.folder]
        tried = subprocess.run([*self.started_by, "true"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        if tried.returncode != 0:
            pytest.skip("no mount namespace here: %s" % tried.stdout.strip())

    def end_instances(self):
        """As their users do. Their logs are judged as those of the servers."""
        if self.own_tmp is None:
            return
        masters = [pid for pid, (_, state, command) in harness.descendants().items()
                   if state != "Z" and command.startswith("wsgi-cgi: master ")]
        assert masters, "no instance has been left behind:\n%s" % self.logs.all()
        with open(self.logs.path("instances.log"), "ab") as kept:
            for log in self.own_tmp.glob("wsgi-cgi-*/*.log"):
                kept.write(log.read_bytes())
        for pid in masters:
            os.kill(pid, signal.SIGTERM)

    def check_instances(self):
        """They have served all requests, and have left nothing behind."""
        if self.own_tmp is not None:
            left = list(self.own_tmp.glob("wsgi-cgi-*/*"))
            assert not left, "files of instances: %s" % left
            assert "this process serves the request" not in self.logs.all(), \
                "not all requests were for the instance:\n%s" % self.logs.all()

    # the end

    def own_ids(self):
        return {server.pid for server in self.servers}

    def check_no_zombies(self):
        """Servers wait for their children: a zombie is there for a moment at
        most. (Those of our own servers are ours to wait for, later.)"""
        own = self.own_ids()

        def zombies():
            return [(pid, command) for pid, (_, state, command)
                    in self.orphans.look(own).items()
                    if state == "Z" and pid not in own]

        wait_until(lambda: not zombies(), lambda: "no zombies: %s" % zombies())

    def is_right(self, name, code):
        return code == 0 or code in self.right_codes.get(name, ())

    def stop(self, server):
        """Its exit code. Orphans are waited for all the while, as init does:
        a worker of Apache looks for 6 seconds whether the CGI process of its
        last request is still there, and a zombie is."""
        def has_ended():
            self.orphans.look(self.own_ids() | {server.pid})
            return not server.is_running()

        server.send_signal(signal.SIGTERM)
        wait_until(has_ended, lambda: "%s ends:\n%s" % (server.name,
                                                        self.logs.all()))
        return server.wait()

    def stop_all(self):
        """Stops the servers, the last one first, and waits for all below them.
        Everything must end, and with 0."""
        wrong = []
        for server in reversed(self.servers):
            self.orphans.look(self.own_ids())
            code = self.stop(server)
            if not self.is_right(server.name, code):
                wrong.append((server.name, code))
        self.end_instances()
        wait_until(lambda: not self.orphans.look(self.own_ids()),
                   lambda: "all processes end: %s\n%s" % (
                       self.orphans.look(self.own_ids()), self.logs.all()))
        wrong += [end for end in self.orphans.ended
                  if not self.is_right("orphan", end[1])]
        assert not wrong, "not ended with 0: %s\n%s" % (wrong, self.logs.all())
        self.check_instances()

    def kill_all(self):
        """After a failure: what is left of our servers, each by its id. Again
        until nothing is: what is killed last may have started more."""
        def nothing_is_left():
            for pid in harness.descendants():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for server in self.servers:
                server.wait()
            return not self.orphans.look()
        wait_until(nothing_is_left, "what was killed ends", 20)


def give_away(folder):
    """To the user that the application has, with all in it."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, *server_user())


@contextlib.contextmanager
def checked(place):
    """At the end all its servers stop, and well, and their logs are in order."""
    try:
        yield
        place.check_no_zombies()
        place.stop_all()
    finally:
        place.kill_all()
    place.logs.check()


@contextlib.contextmanager
def open_place(binary, need):
    """A Place that www-data can see into, with a copy of the program in it: some
    servers give up their rights when root has started them. pytest's temporary
    folders are root's alone. With all the checks of the end."""
    # Socket paths are limited, so no long names here.
    folder = Path(tempfile.mkdtemp(prefix="wsgi-cgi-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        copy = shutil.copy(binary, folder / "wsgi-cgi")
        place = Place(folder, Path(copy), need)
        # Not the folder itself: as /run is above /run/wsgi-cgi, it is root's.
        for path in folder.iterdir():
            give_away(path)
        with checked(place):
            yield place
    finally:
        shutil.rmtree(folder)
