"""The benchmark: `make bench` and `make bench-smoke`.

Starts each contender on this machine, loads them in turn in one run, prints tables, writes the figures as JSON, and says which
goals are met. Ratios within a table are what counts: the machine's speed drifts, and all of a table drift alike.
"""

import argparse
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import contenders as who
from cgi_servers import cgi_servers
from cgi_tables import cgi
from elastic import elastic, plot_workers
from free_threaded import free_threaded, left_out
from measure import load, loop, rounds, wrk
from report import print_goals, print_table, save, unmeasured, write_readme

class Bench:
    """One run."""

    def __init__(self, place, args):
        self.place, self.args = place, args
        self.results = {}

    def table(self, name, turns, count=None):
        """Measure; keep and print the medians."""
        if self.args.only and not re.search(self.args.only, name):
            return
        started = time.monotonic()
        self.results[name] = rounds(turns, count or self.args.rounds, warm_up=not self.args.smoke)
        print_table(name, self.results[name], time.monotonic() - started)

    def wanted(self, *names):
        return not self.args.only or any(re.search(self.args.only, name) for name in names)

    def direct(self, name, work, starters, **how):
        """The same load for each of `starters`, by FastCGI."""
        if not self.wanted(name):
            return
        running = [start(self.place, work) for start in starters]
        how.setdefault('seconds', self.args.seconds)
        self.table(name, {r.name: lambda r=r: load(self.place, r, **how) for r in running})
        self.place.stop()


# --- the plan ---------------------------------------------------------------------------------------------------------

def fastcgi(b):
    """Asked directly."""
    everyone = [who.wsgi_cgi, who.uwsgi, who.stock, who.floor, who.php_fpm, who.php_cgi]
    python = [who.wsgi_cgi, who.uwsgi]
    for connections in (8, 1, 64):
        b.direct(f'hello, new connections, {connections} clients', 'hello', everyone, connections=connections)
    # uWSGI and the bare server close every connection: their best is without.
    for connections in (8, 64):
        b.direct(f'hello, kept connections, {connections} clients', 'hello', [who.wsgi_cgi, who.php_fpm],
                 connections=connections, keep=True) if not b.args.smoke else None
    kept_and_new(b)
    b.direct('headers: 30 read, 10 set', 'headers', python)
    heavy(b)
    for size in '64k', '1m':
        b.direct(f'list of {size}', f'list_{size}', [*python, who.floor])
        b.direct(f'generator of {size}', f'generator_{size}', python)
    b.direct('file of 100 MiB', 'file_100m', [*python, who.floor], connections=2,
             seconds=max(b.args.seconds, 0.2))
    b.direct('upload of 1 MiB, read', 'upload_read', python, method='POST', upload=1 << 20)
    b.direct('upload of 1 MiB, not read', 'upload_ignored', python, method='POST', upload=1 << 20)
    processes_and_threads(b)


def heavy(b):
    """A few milliseconds of Python: who hosts which interpreter. Two clients, so that the one thread always has work."""
    name = 'Python-heavy request'
    if not b.wanted(name):
        return
    running = [start(b.place, 'heavy') for start in (who.wsgi_cgi, who.uwsgi)]
    turns = {r.name: lambda r=r: load(b.place, r, b.args.seconds, connections=2) for r in running}
    for daemon in (True, False):
        r = who.mod_wsgi(b.place, 'heavy', daemon=daemon)
        turns[r.name] = lambda r=r: wrk(r, r.url, b.args.seconds, connections=2)
    alone = b.place.path('alone.py')
    alone.write_text(f'import sys\nsys.path.insert(0, {str(who.HERE)!r})\nimport work\nwork.main("heavy", {b.args.seconds})\n')
    turns['python3, no server'] = lambda: loop([who.PYTHON, alone])
    turns['embedder, no server'] = lambda: loop([b.place.programs / 'embed', alone, who.PYTHON])
    b.table(name, turns)
    b.place.stop()


def kept_and_new(b):
    """Our own two ways, and uWSGI's one, in the same rounds."""
    name = 'hello, kept against new, 8 clients'
    if b.wanted(name):
        ours, other = who.wsgi_cgi(b.place, 'hello'), who.uwsgi(b.place, 'hello')
        b.table(name, {'wsgi-cgi, kept': lambda: load(b.place, ours, b.args.seconds, keep=True),
                       'wsgi-cgi, new': lambda: load(b.place, ours, b.args.seconds),
                       'uWSGI, new': lambda: load(b.place, other, b.args.seconds)})
        b.place.stop()


def processes_and_threads(b):
    for processes in (2, 4):
        b.direct(f'hello, {processes} processes', 'hello',
                 [lambda place, work, start=start: start(place, work, processes=processes)
                  for start in (who.wsgi_cgi, who.uwsgi)])
    for threads in (1, 4, 16):
        b.direct(f'waits 5 ms, {threads} threads', 'wait_5ms',
                 [lambda place, work, start=start: start(place, work, threads=threads)
                  for start in (who.wsgi_cgi, who.uwsgi)], connections=2 * threads)
    beside_a_busy_thread(b)


def beside_a_busy_thread(b):
    """Short requests while another thread computes for two seconds."""
    name = 'a short request beside one that computes'
    if not b.wanted(name):
        return
    running = [start(b.place, 'compute_or_hello', threads=2) for start in (who.wsgi_cgi, who.uwsgi)]

    def turn(r):
        argv = [b.place.programs / 'load', '-c', '1', '-n', '1', '-u', '/compute', r.address]
        with subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL) as busy:
            who.select_wait(0.2)
            figures = load(b.place, r, 1.0, connections=1)
            assert busy.wait() == 0
        return figures
    b.table(name, {r.name: lambda r=r: turn(r) for r in running}, 2 if not b.args.smoke else 1)
    b.place.stop()


def through_a_web_server(b):
    """wrk over nginx and lighttpd: what a visitor gets. mod_wsgi is its own web server."""
    for work, target in (('hello', 'hello'), ('Flask JSON', 'flask_work:app'), ('Django page', 'django_work:application')):
        if b.wanted(f'{work} through nginx'):
            through_nginx(b, f'{work} through nginx', target)
    for processes in () if b.args.smoke else (2, 4):
        through_nginx(b, f'hello through nginx, {processes} processes', 'hello', processes)
    name = 'hello through lighttpd'
    if b.wanted(name):
        backends = [start(b.place, 'hello') for start in (who.wsgi_cgi, who.uwsgi, who.php_fpm)]
        fronts = [(r, who.lighttpd(b.place, r)) for r in backends]
        # By wrk in the smoke test, too.
        b.table(name, {r.name: lambda r=r, f=f: wrk(r, f.url, max(b.args.seconds, 1)) for r, f in fronts})
        b.place.stop()


def through_nginx(b, name, work, processes=1):
    if not b.wanted(name):
        return
    nginx, place = who.Nginx(b.place), b.place
    fronts = {}
    for label, start, kind in (
            ('wsgi-cgi, kept', who.wsgi_cgi, 'fastcgi-kept'), ('wsgi-cgi, new', who.wsgi_cgi, 'fastcgi'),
            ('uWSGI, uwsgi_pass', who.uwsgi_for_nginx, 'uwsgi'),
            ('uWSGI, HTTP', lambda *a: who.uwsgi_for_nginx(*a, protocol='http'), 'http'),
            ('gunicorn', who.gunicorn, 'http'), ('waitress', who.waitress, 'http')):
        if processes > 1 and start is who.waitress:
            continue    # has one process
        running = start(place, work, processes)
        fronts[label] = running, nginx.add(running, kind)
    if work == 'hello':
        running = who.php_fpm(place, work, processes)
        # A kept connection takes a whole process of it, as many as nginx cares to keep: without.
        fronts[running.name] = running, nginx.add(running, 'fastcgi')
    nginx.start()
    for daemon in (True, False):
        running = who.mod_wsgi(place, work, processes, daemon=daemon)
        fronts[running.name] = running, running.url
    connections = max(8, 8 * processes)
    b.table(name, {label: lambda r=r, url=url: wrk(r, url, b.args.seconds, connections)
                   for label, (r, url) in fronts.items()})
    place.stop()


def memory(b):
    """RSS and PSS of a worker, start to first response, idle connections."""
    place = b.place
    if b.wanted('memory of a worker, KiB'):
        sleeper = who.Running(place, 'python3 that sleeps', [who.PYTHON, '-c', 'import time; time.sleep(99)'],
                              url='http://127.0.0.1:1/')
        figures = {}
        ours = who.wsgi_cgi(place, 'hello')
        load(place, ours, requests=2000)
        for r in (ours, who.uwsgi(place, 'hello'), sleeper):
            figures[r.name] = {'rss_kib': r.memory('Rss'), 'pss_kib': r.memory('Pss')}
        for label, options in (('Django, 4 workers', ()), ('Django, 4 workers, --preload', ('--preload',))):
            r = who.wsgi_cgi(place, 'django_work:application', 4, options=options)
            load(place, r, requests=400)
            figures[label] = {'rss_kib': r.memory('Rss'), 'pss_kib': r.memory('Pss')}
        place.stop()
        b.results['memory of a worker, KiB'] = figures
        print_table('memory of a worker, KiB', figures, 0)

    def first_response(start):
        began = time.monotonic()
        r = start(place, 'hello')
        load(place, r, requests=1, connections=1)
        elapsed = time.monotonic() - began
        place.stop()
        return {'ms': elapsed * 1000}
    b.table('start to first response', {name: lambda s=s: first_response(s) for name, s in
                                        (('wsgi-cgi', who.wsgi_cgi), ('uWSGI', who.uwsgi))})
    if b.wanted('idle connections'):
        idle_connections(b)


def idle_connections(b):
    """What 10,000 connections that say nothing cost: memory, and the time of a request beside them."""
    running = who.wsgi_cgi(b.place, 'hello', threads=2)
    load(b.place, running, requests=2000)
    few, many = 10, 10000 if not b.args.smoke else 200
    figures, held = {}, []
    for count in (few, many):
        while len(held) < count:
            s = socket.socket(socket.AF_UNIX)
            s.connect(running.address[5:])
            held.append(s)
        load(b.place, running, requests=500)
        figures[f'{count} idle connections'] = {'rss_kib': running.memory('Rss'),
                                                **load(b.place, running, b.args.seconds, connections=1)}
    for s in held:
        s.close()
    b.place.stop()
    figures = {name: {k: v for k, v in f.items() if not isinstance(v, str)} for name, f in figures.items()}
    b.results['idle connections'] = figures
    print_table('idle connections', figures, 0)


def instructions(b):
    """In user space, everything included, of a hello request with 32 variables on a kept connection."""
    if not b.wanted('instructions') or b.args.smoke:
        return
    counts = []
    for requests in (1, 200, 1200):     # the first may have to compile what it imports
        out = b.place.path('callgrind')
        path = b.place.path('s')
        argv = ['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', b.place.wsgi_cgi, '--bind', f'unix:{path}',
                '--python-path', who.HERE, 'work:hello']
        running = who.Running(b.place, 'callgrind', argv, f'unix:{path}', cwd=who.HERE).wait()
        load(b.place, running, requests=requests, connections=1, keep=True)
        b.place.stop()
        counts.append(int(re.search(r'Collected : (\d+)', running.log.read_text())[1]))
    b.results['instructions'] = {'wsgi-cgi': {'instructions': (counts[2] - counts[1]) / 1000}}
    print_table('instructions', b.results['instructions'], 0)


# --- the run ----------------------------------------------------------------------------------------------------------

def versions(wsgi_cgi):
    def first_line(*argv):
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        except OSError:
            return 'not found'
        return done.stdout.strip().splitlines()[0]
    return {'wsgi-cgi': first_line(wsgi_cgi, '--version'), 'uWSGI': first_line('uwsgi', '--version'),
            'gunicorn': first_line('/usr/bin/gunicorn', '--version'), 'nginx': first_line('/usr/sbin/nginx', '-v'),
            'Apache': first_line('/usr/sbin/apache2', '-v'), 'PHP': first_line('/usr/bin/php-cgi', '-v'),
            'waitress': first_line('dpkg-query', '-Wf', '${Version}', 'python3-waitress'),
            'mod_wsgi': first_line('dpkg-query', '-Wf', '${Version}', 'libapache2-mod-wsgi-py3'),
            'lighttpd': first_line('/usr/sbin/lighttpd', '-v').split(' (')[0],
            'libfcgi': first_line('dpkg-query', '-Wf', '${Version}', 'libfcgi-dev'),
            'Go': first_line('go', 'version'),
            'Python': first_line(who.PYTHON, '--version'),
            **{variable: first_line(os.environ[variable], '-VV') for variable in ('BENCH_FREE_THREADED', 'BENCH_GIL_TWIN')
               if os.environ.get(variable)}, 'kernel': platform.release(), 'cpus': os.cpu_count(),
            'cpu': next((line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text().splitlines()
                         if line.startswith('model name')), '?')}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('wsgi_cgi', type=Path)
    parser.add_argument('programs', type=Path, help='folder of load, stock, floor, embed, cgi, cgi-static and cgi-go')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=1.0, help='of one turn')
    parser.add_argument('--only', help='regular expression: these tables')
    parser.add_argument('--smoke', action='store_true', help='each once and short: does it run?')
    parser.add_argument('--save', type=Path, help='folder for the JSON file and the plots')
    parser.add_argument('--readme', type=Path, help='file whose table of figures is replaced')
    args = parser.parse_args()
    if args.smoke:
        args.rounds, args.seconds = 1, 0.05
    with tempfile.TemporaryDirectory(prefix='bench-') as folder:
        place = who.Place(folder, args.wsgi_cgi.resolve(), args.programs.resolve())
        with open(place.big_file, 'wb') as f:
            f.truncate(100 << 20)
        b = Bench(place, args)
        print(json.dumps(versions(args.wsgi_cgi), indent=2))
        try:
            for part in (instructions, memory, fastcgi, through_a_web_server, cgi, cgi_servers, elastic, free_threaded):
                part(b)
        finally:
            place.stop()
        if args.smoke:
            save(place.folder, b.results, versions(args.wsgi_cgi))
            plot_workers(place.folder / 'plots', b.results)
            copy = Path(shutil.copy(who.HERE / 'README.md', place.folder))
            write_readme(copy, b.results, versions(args.wsgi_cgi))
    if args.smoke:
        lost = unmeasured(b.results, ('instructions', *left_out())) if not args.only else []
        print(*(f'no table for the goal "{text}"' for text in lost), f'bench-smoke: {len(b.results)} passed, {len(lost)} failed',
              sep='\n')
        return 1 if lost else 0
    missed = print_goals(b.results)
    if args.save:
        save(args.save, b.results, versions(args.wsgi_cgi))
        plot_workers(args.save / 'plots', b.results)
    if args.readme and not args.only:
        write_readme(args.readme, b.results, versions(args.wsgi_cgi))
    return 1 if missed else 0


if __name__ == '__main__':
    sys.exit(main())
