"""One process on many cores: the program built for a free-threaded Python, against processes, and against the GIL.

BENCH_FREE_THREADED names that Python (/path/python3.13t). BENCH_GIL_TWIN names one of the same version that was configured
alike, but for --disable-gil; without it the rows "GIL" are left out.
"""

import os
import subprocess
import time

import contenders as who
from measure import load
from report import FREE_COMPUTE, FREE_HELLO, print_table

MEMORY = 'free-threaded: memory, Flask, all processes, KiB'
HEAVY, HELLO_TWICE = 'free-threaded: Python-heavy request', 'free-threaded: hello, 2 threads'
FREE, TWIN = (os.environ.get(name) for name in ('BENCH_FREE_THREADED', 'BENCH_GIL_TWIN'))
PACKAGES = '/usr/lib/python3/dist-packages'


class Builds:
    """The program for each of the two Pythons."""

    def __init__(self, b):
        self.b = b
        self.free = self.build(FREE, 'free-threaded')
        self.twin = self.build(TWIN, 'gil-twin') if TWIN else None
        # A module that switches the GIL on again would make all figures wrong.
        try:
            load(b.place, self.start(self.free, 'without_gil', threads=2), requests=1, connections=1)
        except RuntimeError as e:
            raise RuntimeError(f'{FREE}: the program for it fails, or has switched the GIL on') from e
        b.place.stop()

    def build(self, python, folder):
        """As make would by itself: with nothing of the make that started the benchmark."""
        folder, env = self.b.place.programs / folder, {k: v for k, v in os.environ.items() if not k.startswith(('MAKE', 'MFLAGS'))}
        subprocess.run(['make', '--no-print-directory', f'-j{os.cpu_count()}', '-C', who.TREE, f'BUILD={folder}',
                        f'PYTHON={python}', 'all'], env=env, check=True, stdout=subprocess.DEVNULL)
        return str(folder / 'wsgi-cgi')

    def start(self, program, work, **how):
        place = self.b.place
        usual, place.wsgi_cgi = place.wsgi_cgi, program
        try:
            return who.wsgi_cgi(place, work, **how)
        finally:
            place.wsgi_cgi = usual

    def table(self, name, work, ways, **how):
        """ways: {label: (with the GIL?, options of start())}"""
        if not self.b.wanted(name):
            return
        running = {label: self.start(self.twin if has_gil else self.free, work, **options)
                   for label, (has_gil, options) in ways.items() if self.twin or not has_gil}
        how.setdefault('seconds', self.b.args.seconds)
        self.b.table(name, {label: lambda r=r: load(self.b.place, r, **how) for label, r in running.items()})
        self.b.place.stop()


def left_out():
    """Tables whose goals need a Python that is not there."""
    return [FREE_COMPUTE, FREE_HELLO] if not FREE else [FREE_HELLO] if not TWIN else []


def free_threaded(b):
    if not b.wanted(FREE_COMPUTE, HEAVY, FREE_HELLO, HELLO_TWICE, MEMORY):
        return
    if not FREE:
        print('\nfree-threaded: skipped: BENCH_FREE_THREADED names no Python without the GIL')
        return
    builds = Builds(b)
    threads, processes = {'threads': 2}, {'processes': 2}
    computing = {'wsgi-cgi, 2 threads': (False, threads), 'wsgi-cgi, 1 thread': (False, {}),
                 'wsgi-cgi, 2 processes': (False, processes), 'GIL, 2 threads': (True, threads), 'GIL, 1 thread': (True, {}),
                 'GIL, 2 processes': (True, processes)}
    # More clients than threads: none waits for the load generator.
    builds.table(FREE_COMPUTE, 'compute_5ms', computing, connections=4)
    builds.table(HEAVY, 'heavy', computing, connections=4)
    builds.table(FREE_HELLO, 'hello', {'wsgi-cgi': (False, {}), 'GIL': (True, {})}, keep=True)
    builds.table(HELLO_TWICE, 'hello', computing, keep=True)
    memory(builds)


def memory(builds, count=4):
    """Of all processes, after every thread and process has answered."""
    b = builds.b
    if not b.wanted(MEMORY):
        return
    if subprocess.run([FREE, '-c', 'import flask'], env={**os.environ, 'PYTHONPATH': PACKAGES},
                      capture_output=True).returncode != 0:
        print(f'\n{MEMORY}: skipped: {FREE} cannot import the Flask of {PACKAGES}')
        return
    began, figures = time.monotonic(), {}
    threads, processes, preload = {'threads': count}, {'processes': count}, ('--preload',)
    for label, has_gil, how, options in ((f'wsgi-cgi, {count} threads', False, threads, ()),
                                         (f'wsgi-cgi, {count} processes', False, processes, ()),
                                         (f'{count} processes, --preload', False, processes, preload),
                                         (f'GIL, {count} processes', True, processes, ()),
                                         (f'GIL, {count} processes, --preload', True, processes, preload)):
        if builds.twin or not has_gil:
            r = builds.start(builds.twin if has_gil else builds.free, 'flask_work:app', **how,
                             options=('--python-path', PACKAGES, *options))
            load(b.place, r, requests=400, connections=4 * count)
            figures[label] = {'rss_kib': sum(r.memories('Rss')), 'pss_kib': sum(r.memories('Pss'))}
            b.place.stop()
    b.results[MEMORY] = figures
    print_table(MEMORY, figures, time.monotonic() - began)
