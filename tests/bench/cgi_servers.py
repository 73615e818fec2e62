"""The tables of CGI behind a web server: Apache's mod_cgid, lighttpd's mod_cgi, 8 clients.

Both servers run the same files: programs in C and Go, a page of PHP, and applications of ours, warm and cold.
"""

import http.client
import os
import shutil
import subprocess
import time

import contenders as who
from cgi_tables import HELLO, Instances
from measure import wrk

WARM_FLASK = 'wsgi-cgi, warm Flask'


class Site:
    """The folder of a web server. Apache gives up root, and the tree may stand where only root may go: everything is in it."""

    def __init__(self, place):
        self.place, self.instances = place, Instances(place)
        self.folder, self.run = place.path('cgi-bin'), place.path('run')
        self.folder.mkdir()
        self.run.mkdir()
        os.chmod(place.folder, 0o755)
        self.user = 'www-data' if os.geteuid() == 0 else None
        for folder in (self.instances.folder, self.run) if self.user else ():
            shutil.chown(folder, self.user, self.user)
        self.rows = {}
        self.fill()

    def fill(self):
        ours, venv = shutil.copy(self.place.wsgi_cgi, self.folder), self.place.path('venv')
        subprocess.run([who.PYTHON, '-m', 'venv', '--without-pip', venv], check=True)
        flask = f'import sys\nsys.path[:0] = [{str(self.folder)!r}, "/usr/lib/python3/dist-packages"]\n' \
                'from flask_work import app as application\n'
        shutil.copy(who.HERE / 'flask_work.py', self.folder)
        start = f'#!{ours} --venv {venv}'
        self.add(WARM_FLASK, 'warm-flask.cgi', f'{start} --keep-warm\n{flask}', b'greeting')
        self.add('wsgi-cgi, warm hello', 'warm-hello.cgi', f'{start} --keep-warm\n{HELLO}')
        self.add('wsgi-cgi, cold Flask', 'flask.cgi', f'{start}\n{flask}', b'greeting')
        for name, program in (('C program', 'cgi'), ('C program, static', 'cgi-static'), ('Go, net/http/cgi', 'cgi-go')):
            self.rows[name] = f'{program}.cgi', b'Hello world'
            shutil.copy(self.place.programs / program, self.folder / f'{program}.cgi')
        self.add('php-cgi', 'hello.php', (self.place.folder / 'hello.php').read_text())

    def add(self, name, file, text, expected=b'Hello world'):
        (self.folder / file).write_text(text)
        os.chmod(self.folder / file, 0o755)
        # Flask serves "/" of what is below the script, and redirects what has no slash.
        self.rows[name] = file + ('/' if 'Flask' in name else ''), expected


def apache(site):
    place, port, conf = site.place, who.free_port(), site.place.path('apache.conf')
    modules = 'mpm_event', 'authz_core', 'alias', 'env', 'actions', 'cgid'
    loads = ''.join(f'LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n' for m in modules)
    conf.write_text(f'''{loads}ServerName localhost
Listen 127.0.0.1:{port}
PidFile {place.path('apache.pid')}
DefaultRuntimeDir {site.run}
ErrorLog {place.path('apache-error.log')}
{f'User {site.user}{chr(10)}Group {site.user}' if site.user else ''}
StartServers 1
ServerLimit 1
ThreadsPerChild 32
MaxRequestWorkers 32
MaxKeepAliveRequests 0
ScriptSock {site.run}/cgid.sock
SetEnv TMPDIR {site.instances.folder}
ScriptAlias /php-bin/php-cgi /usr/bin/php-cgi
Alias / {site.folder}/
<Directory />
Require all granted
Options ExecCGI FollowSymLinks
</Directory>
<Files *.cgi>
SetHandler cgi-script
</Files>
<Files *.php>
SetHandler php-script
</Files>
Action php-script /php-bin/php-cgi
''')
    return who.Running(place, 'Apache', ['/usr/sbin/apache2', '-D', 'FOREGROUND', '-f', conf],
                       url=f'http://127.0.0.1:{port}/').wait()


def lighttpd(site):
    place, port, conf = site.place, who.free_port(), site.place.path('lighttpd.conf')
    conf.write_text(f'''server.modules = ( "mod_setenv", "mod_cgi" )
server.document-root = "{site.folder}"
server.bind = "127.0.0.1"
server.port = {port}
server.max-keep-alive-requests = 65535
{f'server.username = "{site.user}"{chr(10)}server.groupname = "{site.user}"' if site.user else ''}
setenv.add-environment = ( "TMPDIR" => "{site.instances.folder}" )
cgi.assign = ( ".cgi" => "", ".php" => "/usr/bin/php-cgi" )
''')
    return who.Running(place, 'lighttpd', ['/usr/sbin/lighttpd', '-D', '-f', conf], url=f'http://127.0.0.1:{port}/').wait()


def ask(url):
    connection = http.client.HTTPConnection(url.split('/')[2], timeout=20)
    connection.request('GET', '/' + url.split('/', 3)[3])
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def check(front, url, expected):
    """The right page. mod_cgid answers 503 until its daemon listens."""
    end = time.monotonic() + 10
    while (answer := ask(url))[0] == 503 and time.monotonic() < end:
        who.select_wait(0.02)
    if answer[0] != 200 or expected not in answer[1]:
        raise RuntimeError(f'{front.name}: {url}: {answer}\n{front.log.read_text(errors="replace")[-2000:]}')


def turn(b, front, url, row):
    """The processes of the turn before have ended: each client leaves one. The workers of an instance that has waited for its
    turn have ended, too, so a warm one has a turn that does not count. A cold one needs longer for a few requests."""
    before = set(front.pids())

    def run():
        if 'warm' in row and not b.args.smoke:
            once()
        return once()

    def once():
        figures = wrk(front, url, b.args.seconds * (1 if b.args.smoke else 8 if 'cold' in row else 2))
        end = time.monotonic() + 20
        while set(front.pids()) - before:
            if time.monotonic() > end:
                raise RuntimeError(f'{url}: processes are left over')
            who.select_wait(0.01)
        del figures['requests']
        figures.pop('cpu_us', None)     # that of processes whose parent does not wait for them is not in it
        return figures
    return run


def cgi_servers(b):
    for name, start in ('Apache mod_cgid', apache), ('lighttpd mod_cgi', lighttpd):
        name = f'CGI behind {name}, 8 clients'
        if not b.wanted(name):
            continue
        site = Site(b.place)
        front = start(site)
        for file, expected in site.rows.values():
            check(front, front.url + file, expected)
        if len(site.instances.sockets()) != sum('warm' in row for row in site.rows):
            raise RuntimeError(f'{name}: {site.instances.sockets()}')
        b.table(name, {row: turn(b, front, front.url + file, row) for row, (file, _) in site.rows.items()})
        cold = sum(log.read_text(errors='replace').count('this process serves the request')
                   for log in (front.log, *b.place.folder.glob('*-error.log*')))
        if cold:
            print(f'  {cold} requests to a warm application were served by the CGI process')
        b.place.stop()
