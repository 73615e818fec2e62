"""What is compared: how each contender is started as its manual advises, and what it used.

A contender is a class with `start(place, work, processes, threads)`; it returns a Running. FastCGI ones have an address that
load(1) of this folder speaks to, HTTP ones a URL for wrk.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parents[1]
PYTHON = '/usr/bin/python3'
TICKS = os.sysconf('SC_CLK_TCK')


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class Place:
    """A folder for sockets, configurations and logs; what was started in it."""

    def __init__(self, folder, wsgi_cgi, programs):
        self.folder, self.wsgi_cgi, self.programs = Path(folder), str(wsgi_cgi), Path(programs)
        self.count, self.running = 0, []
        self.big_file = self.folder / 'big'
        self.env = dict(os.environ, BENCH_FILE=str(self.big_file), PYTHONDONTWRITEBYTECODE='')
        (self.folder / 'hello.php').write_text('<?php header("Content-Type: text/plain"); echo "Hello world\\n";')

    def path(self, stem):
        self.count += 1
        return self.folder / f'{stem}{self.count}'

    def stop(self):
        for r in reversed(self.running):
            r.stop()
        self.running.clear()


class Running:
    """A contender at work."""

    def __init__(self, place, name, argv, address=None, url=None, stop=signal.SIGTERM, **popen):
        self.name, self.address, self.url, self.stop_signal = name, address, url, stop
        self.log = place.path(name.split()[0] + '.log')
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen([str(a) for a in argv], stdout=log, stderr=log, start_new_session=True,
                                            env=popen.pop('env', place.env), stdin=popen.pop('stdin', subprocess.DEVNULL),
                                            **popen)
        place.running.append(self)

    def wait(self):
        """Until it accepts connections."""
        end = time.monotonic() + 20
        target = self.address if self.address else self.url.split('/')[2]
        while True:
            try:
                if target.startswith('unix:'):
                    with socket.socket(socket.AF_UNIX) as s:
                        s.connect(target[5:])
                else:
                    host, port = target.split(':')
                    socket.create_connection((host, int(port))).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f'{self.name} does not start:\n' + self.log.read_text(errors='replace'))
                select_wait(0.02)

    def pids(self):
        found = []
        for name in os.listdir('/proc'):
            if name.isdigit():
                try:
                    stat = Path(f'/proc/{name}/stat').read_text()
                except OSError:
                    continue
                if int(stat[stat.rindex(')') + 2:].split()[3]) == self.process.pid:
                    found.append(int(name))
        return found

    def cpu(self):
        """Seconds of user and system time, of all its processes and their ended children."""
        total = 0
        for pid in self.pids():
            try:
                stat = Path(f'/proc/{pid}/stat').read_text()
            except OSError:
                continue
            total += sum(map(int, stat[stat.rindex(')') + 2:].split()[11:15]))
        return total / TICKS

    def memory(self, which='Pss'):
        """KiB per process that serves (the largest, for those that have a master)."""
        return max(self.memories(which))

    def memories(self, which='Pss'):
        """KiB of each process."""
        sizes = []
        for pid in self.pids():
            try:
                text = Path(f'/proc/{pid}/smaps_rollup').read_text()
            except OSError:
                continue
            sizes += [int(line.split()[1]) for line in text.splitlines() if line.startswith(which + ':')]
        return sizes

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                for pid in self.pids():
                    os.kill(pid, signal.SIGKILL)
                self.process.wait()


def select_wait(seconds):
    """For the polls above: there is nothing to wait on but time."""
    import select
    select.select([], [], [], seconds)


def on_fd_0(place, name, argv, **env):
    """A program that takes its listening socket on descriptor 0."""
    path = place.path('s')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))
        s.listen(1024)
        return Running(place, name, argv, address=f'unix:{path}', stdin=s, env=dict(place.env, **env))


# --- FastCGI, asked directly ------------------------------------------------------------------------------------------

def wsgi_cgi(place, work, processes=1, threads=1, options=()):
    path = place.path('s')
    argv = [place.wsgi_cgi, '--bind', f'unix:{path}', '--threads', threads, '--python-path', HERE]
    argv += ['--processes', processes] if processes > 1 else []
    return Running(place, 'wsgi-cgi', [*argv, *options, work if ':' in work else f'work:{work}'], f'unix:{path}',
                   cwd=HERE).wait()


def uwsgi_argv(work, processes, threads):
    argv = ['uwsgi', '--plugin', 'python3', '--master', '--processes', processes, '--disable-logging', '--need-app',
            '--pythonpath', HERE, '--module', work if ':' in work else f'work:{work}', '--listen', '128']
    argv += ['--threads', threads] if threads > 1 else []
    return argv + (['--thunder-lock'] if processes > 1 else [])


def uwsgi(place, work, processes=1, threads=1):
    path = place.path('s')
    argv = uwsgi_argv(work, processes, threads) + ['--fastcgi-socket', path]
    return Running(place, 'uWSGI', argv, f'unix:{path}', stop=signal.SIGQUIT, cwd=HERE).wait()


def stock(place, work, processes=1, threads=1):
    return on_fd_0(place, 'stock libfcgi, C', [place.programs / 'stock'])


def floor(place, work, processes=1, threads=1):
    size = {'list_1m': 1 << 20, 'list_64k': 64 << 10}.get(work, 12)
    argv = [place.programs / 'floor', size] + ([place.big_file] if work == 'file_100m' else [])
    return on_fd_0(place, 'bare C server', argv)


def php_fpm(place, work, processes=1, threads=1):
    path, conf = place.path('s'), place.path('php-fpm.conf')
    conf.write_text(f'''[global]
error_log = /dev/stderr
daemonize = no
[www]
listen = {path}
listen.backlog = 1024
pm = static
pm.max_children = {processes}
''')
    program = next(p for p in (shutil.which(f'php-fpm8.{n}', path='/usr/sbin') for n in range(5, -1, -1)) if p)
    return Running(place, 'php-fpm', [program, '--allow-to-run-as-root', '-y', conf], f'unix:{path}').wait()


def php_cgi(place, work, processes=1, threads=1):
    # After 500 requests it would end.
    return on_fd_0(place, 'php-cgi', ['/usr/bin/php-cgi'], PHP_FCGI_MAX_REQUESTS='0')


# --- HTTP: behind nginx, or a web server of its own -------------------------------------------------------------------

class Nginx:
    """One nginx in front of everything: a port for each backend."""

    def __init__(self, place):
        self.place, self.servers = place, []

    def add(self, running, kind):
        """kind: fastcgi, fastcgi-kept, uwsgi or http. The URL of what is behind."""
        port, upstream = free_port(), f'backend{len(self.servers)}'
        address = running.address.replace('unix:', 'unix:', 1)
        keep = 'keepalive 32;' if kind in ('fastcgi-kept', 'http') else ''
        how = {'fastcgi': 'include /etc/nginx/fastcgi_params; fastcgi_param SCRIPT_NAME ""; '
                          'fastcgi_param PATH_INFO $fastcgi_script_name; '
                          f'fastcgi_param SCRIPT_FILENAME {self.place.folder}/hello.php; fastcgi_pass {upstream};',
               'uwsgi': f'include /etc/nginx/uwsgi_params; uwsgi_pass {upstream};',
               'http': f'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://{upstream};'}
        body = how[kind.split('-')[0]] + (' fastcgi_keep_conn on;' if kind == 'fastcgi-kept' else '')
        self.servers.append(f'upstream {upstream} {{ server {address}; {keep} }}\n'
                            f'server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ {body} }} }}\n')
        return f'http://127.0.0.1:{port}/'

    def start(self):
        conf = self.place.path('nginx.conf')
        conf.write_text('daemon off; worker_processes 1; error_log stderr error; user root;\n'
                        f'pid {self.place.folder}/nginx.pid;\n'
                        'events { worker_connections 1024; }\nhttp { access_log off; keepalive_requests 1000000;\n'
                        + ''.join(f'{kind}_temp_path {self.place.folder}/nginx-{kind};\n' for kind in
                                  ('client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi')) + ''.join(self.servers) + '}\n')
        running = Running(self.place, 'nginx', ['/usr/sbin/nginx', '-c', conf], url=self.url())
        return running.wait()

    def url(self):
        return 'http://127.0.0.1:' + self.servers[0].split('listen 127.0.0.1:')[1].split()[0] + '/'


def lighttpd(place, running):
    """A lighttpd of its own in front of `running`. It keeps connections as long as it can: the count is of 16 bits, and
    1.4.79 refuses what does not fit."""
    port, conf, php = free_port(), place.path('lighttpd.conf'), running.name == 'php-fpm'
    conf.write_text(f'''server.modules = ( "mod_fastcgi" )
server.document-root = "{place.folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.errorlog = "{place.path('lighttpd.log')}"
server.max-keep-alive-requests = 65535
fastcgi.server = ( "{'.php' if php else '/'}" => (( "socket" => "{running.address[5:]}", "check-local" => "disable",
                   "fix-root-scriptname" => "enable" )) )
''')
    url = f'http://127.0.0.1:{port}/' + ('hello.php' if php else '')
    return Running(place, 'lighttpd', ['/usr/sbin/lighttpd', '-D', '-f', conf], url=url).wait()


def uwsgi_for_nginx(place, work, processes=1, threads=1, protocol='uwsgi'):
    path = place.path('s')
    option = {'uwsgi': '--socket', 'http': '--http-socket'}[protocol]
    argv = uwsgi_argv(work, processes, threads) + [option, path]
    return Running(place, f'uWSGI, {protocol}', argv, f'unix:{path}', stop=signal.SIGQUIT, cwd=HERE).wait()


def gunicorn(place, work, processes=1, threads=1):
    path = place.path('s')
    argv = ['/usr/bin/gunicorn', '--bind', f'unix:{path}', '--workers', processes, '--chdir', HERE]
    argv += ['--threads', threads] if threads > 1 else []
    return Running(place, 'gunicorn', argv + [work if ':' in work else f'work:{work}'], f'unix:{path}', cwd=HERE).wait()


def waitress(place, work, processes=1, threads=1):
    path = place.path('s')
    argv = [PYTHON, '-m', 'waitress', f'--unix-socket={path}', f'--threads={max(threads, 4)}',
            work if ':' in work else f'work:{work}']
    env = dict(place.env, PYTHONPATH=str(HERE))
    return Running(place, 'waitress', argv, f'unix:{path}', cwd=HERE, env=env).wait()


def mod_wsgi(place, work, processes=1, threads=1, daemon=True):
    """Apache itself: it needs no web server in front."""
    port, conf, script = free_port(), place.path('apache.conf'), place.path('app.wsgi')
    # Apache gives up root, and the tree may stand where only root may go.
    works = place.path('works')
    shutil.copytree(TREE / 'examples', works)
    for file in HERE.glob('*.py'):
        shutil.copy(file, works)
    module, _, name = (work if ':' in work else f'work:{work}').partition(':')
    script.write_text(f'import sys\nsys.path.insert(0, {str(works)!r})\nfrom {module} import {name} as application\n')
    group = f'WSGIDaemonProcess b processes={processes} threads={threads}\nWSGIProcessGroup b\n' if daemon else ''
    modules = ['mpm_event', 'authz_core', 'wsgi']
    found = {'wsgi': next(Path('/usr/lib/apache2/modules').glob('mod_wsgi.so*'))}
    loads = ''.join(f'LoadModule {m}_module {found.get(m, f"/usr/lib/apache2/modules/mod_{m}.so")}\n' for m in modules)
    conf.write_text(f'''{loads}ServerName localhost
Listen 127.0.0.1:{port}
PidFile {place.path('apache.pid')}
DefaultRuntimeDir {place.folder}
ErrorLog {place.folder}/apache-error.log
User www-data
Group www-data
StartServers 1
ServerLimit 2
ThreadsPerChild 32
MaxRequestWorkers 64
MaxKeepAliveRequests 0
WSGISocketPrefix {place.folder}/wsgi
{group}WSGIApplicationGroup %{{GLOBAL}}
WSGIScriptAlias / {script}
<Directory />
Require all granted
</Directory>
''')
    os.chmod(place.folder, 0o755)
    name = 'mod_wsgi, ' + ('daemon' if daemon else 'embedded')
    return Running(place, name, ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-f', conf],
                   url=f'http://127.0.0.1:{port}/').wait()
