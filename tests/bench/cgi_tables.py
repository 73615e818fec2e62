"""The tables of CGI: a process for each request.

"warm" is wsgi-cgi with --keep-warm: its process hands the request to the instance that the first one left behind.
"""

import os
import select
import shutil
import signal
import socket
import struct
import subprocess

import contenders as who
from measure import process

GET = {'GATEWAY_INTERFACE': 'CGI/1.1', 'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
       'SERVER_PROTOCOL': 'HTTP/1.1', 'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': '', 'REMOTE_ADDR': '127.0.0.1',
       'PATH': '/usr/bin:/bin', 'HTTP_HOST': 'localhost', 'REDIRECT_STATUS': '200'}
HELLO = ('def application(environ, start_response):\n'
         '    start_response("200 OK", [("Content-Type", "text/plain")])\n    return [b"Hello world\\n"]\n')
HANDLER = 'from wsgiref.handlers import CGIHandler\nCGIHandler().run(application)\n'
PATHS = [str(who.HERE), str(who.TREE / 'examples'), '/usr/lib/python3/dist-packages']
IMPORT = f'import sys\nsys.path[:0] = {PATHS!r}\n'


class Instances:
    """The folder with the sockets of warm instances: `folder` is their TMPDIR."""

    def __init__(self, place):
        self.folder = place.path('warm')
        self.folder.mkdir()
        place.running.append(self)

    def sockets(self, end='.sock'):
        return sorted(self.folder.glob(f'wsgi-cgi-*/*{end}'))

    def pid(self, path):
        """That of the process that listens."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(path))
            return struct.unpack('3i', s.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]

    def stop(self):
        for path in self.sockets('.ctl'):
            try:
                process_fd = os.pidfd_open(self.pid(path))
            except (ConnectionRefusedError, ProcessLookupError):
                continue
            signal.pidfd_send_signal(process_fd, signal.SIGTERM)
            if not select.select([process_fd], [], [], 10)[0]:
                signal.pidfd_send_signal(process_fd, signal.SIGKILL)
            os.close(process_fd)
        shutil.rmtree(self.folder)


class Fork:
    """Turns that start a process and wait for its end, as a web server does.

    In a virtual environment with nothing in it: what this machine's packages do at every start of Python (their .pth files)
    would count for all and say nothing about any."""

    def __init__(self, place):
        self.place, self.instances = place, Instances(place)
        venv = place.path('venv')
        subprocess.run([who.PYTHON, '-m', 'venv', '--without-pip', venv], check=True)
        self.python, self.ours = venv / 'bin' / 'python', [place.wsgi_cgi, '--venv', venv]
        self.env = {**GET, 'HOME': str(place.folder), 'BENCH_FILE': '', 'TMPDIR': str(self.instances.folder)}

    def turn(self, *argv, expected=b'ello', **env):
        argv = [str(a) for a in argv]
        env = {**self.env, 'SCRIPT_FILENAME': argv[-1], **env}
        return lambda: process(argv, env, expected, self.place.folder)

    def script(self, stem, text):
        """The file of an application, and one with wsgiref's CGIHandler below it."""
        script, with_handler = self.place.path(f'{stem}.py'), self.place.path(f'{stem}_handler.py')
        script.write_text(text)
        with_handler.write_text(text + HANDLER)
        return script, with_handler

    def rows(self, stem, text):
        """Warm, the least that a relay to the same instance can be, the least that a process can be, and cold."""
        script, with_handler = self.script(stem, text)
        before = self.instances.sockets()
        warm = self.turn(*self.ours, '--keep-warm', script)
        warm()
        (address,) = set(self.instances.sockets()) - set(before)
        return {'wsgi-cgi, warm': warm,
                'cgi-fcgi, same instance': self.turn('/usr/bin/cgi-fcgi', '-bind', '-connect', address),
                'wsgi-cgi --relay, same': self.turn(self.place.wsgi_cgi, '--relay', address),
                '/bin/true': self.turn('/bin/true', expected=b''),
                'wsgi-cgi': self.turn(*self.ours, script),
                'Go, net/http/cgi': self.turn(self.place.programs / 'cgi-go'),
                'python3, CGIHandler': self.turn(self.python, with_handler)}


def cgi(b):
    names = {'CGI hello': HELLO, 'CGI Flask hello': IMPORT + 'from flask_work import app as application\n',
             'CGI Django hello': IMPORT + 'from django_work import application\n'}
    if not b.wanted(*names):
        return
    fork = Fork(b.place)
    for name, text in names.items():
        if not b.wanted(name):
            continue
        rows, count = fork.rows(name.split()[1].lower(), text), 4 * b.args.rounds
        if text is HELLO:
            rows |= smallest(fork)
            count = 20 * b.args.rounds      # differences of a few hundred microseconds count here
        b.table(name, rows, count if not b.args.smoke else 1)
    b.place.stop()


def smallest(fork):
    """What else a hello can be."""
    embedded = fork.place.path('embedded.py')
    embedded.write_text(HELLO + 'print("Status: 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nHello world")\n')
    return {'embedder, init and exit': fork.turn(fork.place.programs / 'embed', embedded, fork.python),
            'python3 -c pass': fork.turn(fork.python, '-c', 'pass', expected=b''),
            'php-cgi': fork.turn('/usr/bin/php-cgi', SCRIPT_FILENAME=str(fork.place.folder / 'hello.php')),
            'C program': fork.turn(fork.place.programs / 'cgi'),
            'C program, static': fork.turn(fork.place.programs / 'cgi-static')}
