"""Workers that follow the load, --processes MIN-MAX: how many there are over time, how soon a new one answers, and what is
left in memory while nobody comes."""

import json
import statistics
import sys
import threading
import time

import contenders as who
from measure import load
from report import NEW_WORKER, print_table

sys.path.append(str(who.TREE / 'tests' / 'gateway'))
import fcgi     # noqa: E402

OVER_TIME = 'workers over time, 1-8'
WAKING = 'first answer after idle, 0-4, Flask'
CLIENTS = 1, 2, 4, 8, 16, 32, 64, 32, 16, 8, 4, 2, 1
ENVIRON = {'REQUEST_METHOD': 'POST', 'SERVER_PROTOCOL': 'HTTP/1.1', 'SERVER_NAME': 'localhost', 'SERVER_PORT': '80',
           'SCRIPT_NAME': '', 'PATH_INFO': '/', 'QUERY_STRING': '', 'CONTENT_LENGTH': '1'}
# Answers when the body has come; what it imports is what a small application imports.
READS = '''import flask
def application(environ, start_response):
    environ['wsgi.input'].read()
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'read']
'''
KINDS = {'wsgi-cgi': (), 'wsgi-cgi, --preload': ('--preload',)}


class Elastic:
    """A server with --processes MIN-MAX, and what its control socket says."""

    def __init__(self, b, work, processes, *options):
        self.control = b.place.path('control')
        self.server = who.wsgi_cgi(b.place, work, options=('--processes', processes, '--control', self.control,
                                                          '--python-path', b.place.folder, *options))
        self.socket = self.server.address.removeprefix('unix:')
        fcgi.wait_for(self.control.exists, 20, 'the control socket')

    def status(self):
        with fcgi.Connection(str(self.control)) as conn:
            return json.loads(conn.request({**ENVIRON, 'REQUEST_METHOD': 'GET', 'PATH_INFO': '/status', 'CONTENT_LENGTH': '0',
                                            'QUERY_STRING': 'json'}).body)

    def workers(self):
        """(all, those that serve)"""
        status = self.status()
        return status['total processes'], status['idle processes'] + status['active processes']

    def wait_workers(self, count):
        fcgi.wait_for(lambda: self.workers() == (count, count), 60, f'{count} workers')

    def begin(self):
        """A request whose body has not come."""
        conn = fcgi.Connection(self.socket, timeout=60)
        conn.send(fcgi.head(ENVIRON))
        return conn

    def end(self, conn):
        conn.send(fcgi.stream(fcgi.STDIN, 1, b'x'))
        if conn.response(timeout=60).body != b'read':
            raise RuntimeError('another answer:\n' + self.server.log.read_text(errors='replace'))
        conn.close()


# --- over time --------------------------------------------------------------------------------------------------------

class History:
    """[(seconds, workers, those that serve)], as long as it is entered."""

    def __init__(self, e):
        self.e, self.begun, self.samples, self.over = e, time.monotonic(), [], threading.Event()
        self.thread = threading.Thread(target=self.run)

    def now(self):
        return round(time.monotonic() - self.begun, 3)

    def most(self):
        return max((serving for _, _, serving in self.samples), default=0)

    def run(self):
        while not self.over.wait(0.01):
            workers = self.e.workers()
            if not self.samples or tuple(self.samples[-1][1:]) != workers:
                self.samples.append((self.now(), *workers))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def over_time(b, options):
    """From 1 to 64 clients and back, each of whose requests takes 50 ms. A request that fails ends the benchmark."""
    idle, seconds = ('300ms', 0.2) if b.args.smoke else ('2s', 2 * b.args.seconds)
    e = Elastic(b, 'wait_50ms', '1-8', '--idle-timeout', idle, *options)
    e.wait_workers(1)
    clients, answered, p50 = [], 0, {}
    with History(e) as history:
        for count in CLIENTS[::3] if b.args.smoke else CLIENTS:
            clients.append((history.now(), count))
            begun = history.now()
            while True:
                figures = load(b.place, e.server, seconds, count)
                answered += figures['requests']
                # On a busy machine it may take longer.
                if count < max(CLIENTS) or history.most() == 8 or history.now() - begun > 30:
                    break
            p50.setdefault(count, figures['p50_us'])
        clients.append((history.now(), 0))
        e.wait_workers(1)
        end = history.now()
    b.place.stop()
    if history.most() != 8:
        raise RuntimeError(f'the workers do not follow: {history.samples}')
    return {'requests': answered, 'p50_us': statistics.median(p50.values()), 'seconds': end,
            'clients': clients, 'workers': history.samples}


def print_history(name, rows):
    print(f'\n{name}  (seconds: workers, those that serve)')
    for label, figures in rows.items():
        print(f'  {label}: {figures["requests"]} requests, none failed\n    clients ',
              ' '.join(f'{at:.1f}:{count}' for at, count in figures['clients']), '\n    workers ',
              ' '.join(f'{at:.2f}:{alive},{serving}' for at, alive, serving in figures['workers']), flush=True)


# --- one after the other ----------------------------------------------------------------------------------------------

def new_workers(b, options):
    """From a request that finds every worker busy to its answer, for the second worker to the eighth."""
    e = Elastic(b, 'reads:application', '1-8', '--idle-timeout', '60s', *options)
    e.wait_workers(1)
    held, times = [], []
    for count in range(1, 3 if b.args.smoke else 8):
        held.append(e.begin())
        fcgi.wait_for(lambda: e.status()['active processes'] == count, 60, 'the request that holds its worker')
        e.wait_workers(count)
        began = time.monotonic()
        e.end(e.begin())
        times.append(1000 * (time.monotonic() - began))
    for conn in held:
        e.end(conn)
    b.place.stop()
    print(f'\n{NEW_WORKER}{" ".join(["", *options])}, ms:', ' '.join(f'{ms:.1f}' for ms in times), flush=True)
    return {'ms': statistics.median(times)}


def waking(b, options):
    """The first request after a time without workers, and the memory of all processes in that time."""
    e = Elastic(b, 'reads:application', '0-4', '--idle-timeout', '200ms', *options)
    times = []
    e.end(e.begin())        # the zygote may still load the application
    for _ in range(1 if b.args.smoke else 5):
        e.wait_workers(0)
        memory = {which: sum(e.server.memories(which)) for which in ('Rss', 'Pss')}
        began = time.monotonic()
        e.end(e.begin())
        times.append(1000 * (time.monotonic() - began))
    b.place.stop()
    return {'ms': statistics.median(times), 'rss_kib': memory['Rss'], 'pss_kib': memory['Pss']}


def served(b):
    """The same request where a worker waits for it."""
    e = Elastic(b, 'reads:application', '1-4')
    e.wait_workers(1)
    times = []
    for _ in range(2 if b.args.smoke else 20):
        began = time.monotonic()
        e.end(e.begin())
        times.append(1000 * (time.monotonic() - began))
    memory = {which: sum(e.server.memories(which)) for which in ('Rss', 'Pss')}
    b.place.stop()
    return {'ms': statistics.median(times), 'rss_kib': memory['Rss'], 'pss_kib': memory['Pss']}


def elastic(b):
    if b.wanted(OVER_TIME):
        b.results[OVER_TIME] = {label: over_time(b, options) for label, options in KINDS.items()}
        print_history(OVER_TIME, b.results[OVER_TIME])
    if not b.wanted(NEW_WORKER, WAKING):
        return
    (b.place.folder / 'reads.py').write_text(READS)
    for name, rows in ((NEW_WORKER, {label: lambda o=o: new_workers(b, o) for label, o in KINDS.items()}),
                       (WAKING, {**{label: lambda o=o: waking(b, o) for label, o in KINDS.items()},
                                 'wsgi-cgi, a worker waits': lambda: served(b)})):
        if b.wanted(name):
            began = time.monotonic()
            b.results[name] = {label: turn() for label, turn in rows.items()}
            print_table(name, b.results[name], time.monotonic() - began)


# --- the plot ---------------------------------------------------------------------------------------------------------

def plot_workers(folder, results):
    if OVER_TIME not in results:
        return
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    rows = results[OVER_TIME]
    fig, axes = plt.subplots(1, len(rows), figsize=(6 * len(rows), 3.2), sharey=True, squeeze=False)
    for ax, (label, figures) in zip(axes[0], rows.items()):
        end, samples, clients = figures['seconds'], figures['workers'], figures['clients']
        times = [at for at, _, _ in samples] + [end]
        for column, color, text in ((1, '#b0b7bd', 'workers that load or leave'), (2, '#2a6f97', 'workers that serve')):
            counts = [sample[column] for sample in samples]
            ax.fill_between(times, [*counts, counts[-1]], step='post', color=color, label=text)
        other = ax.twinx()
        other.step([at for at, _ in clients] + [end], [count for _, count in clients] + [0], where='post', color='#c1121f',
                   lw=1, label='clients (right)')
        other.set_yscale('symlog', base=2, linthresh=1)
        other.set_ylim(0, 256)
        other.set_yticks([0, 1, 2, 4, 8, 16, 32, 64], ['0', '1', '2', '4', '8', '16', '32', '64'])
        ax.set(xlim=(0, end), ylim=(0, 9.15), xlabel='seconds', yticks=range(9))
        ax.set_title(f'{label}, --processes 1-8: {figures["requests"]} requests', fontsize=10)
        ax.spines['top'].set_visible(False)
        other.spines['top'].set_visible(False)
        handles = [both for axis in (ax, other) for both in zip(*axis.get_legend_handles_labels())]
        ax.legend(*zip(*handles), fontsize=7, loc='upper center', frameon=False, ncols=3)
    fig.tight_layout()
    for kind in 'png', 'svg':
        fig.savefig(folder / f'workers.{kind}', dpi=110, metadata={'Date': None} if kind == 'svg' else None)
    plt.close(fig)
