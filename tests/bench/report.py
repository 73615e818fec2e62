"""Tables, goals, plots."""

import json
import time

COLUMNS = [('rps', 'requests/s', '.0f'), ('p50_us', 'p50 µs', '.0f'), ('p99_us', 'p99 µs', '.0f'),
           ('p999_us', 'p99.9 µs', '.0f'), ('cpu_us', 'CPU µs/request', '.1f'), ('ms', 'ms', '.2f'), ('cpu_ms', 'CPU ms', '.2f'),
           ('rss_kib', 'RSS KiB', '.0f'), ('pss_kib', 'PSS KiB', '.0f'), ('instructions', 'instructions', '.0f')]
MAIN = ('rps', 'ms', 'pss_kib', 'instructions')


def main_figure(figures):
    return next(f for f in MAIN if f in figures)


def print_table(name, rows, seconds):
    """The first row is ours; the ratio is ours to the row's."""
    columns = [c for c in COLUMNS if any(c[0] in figures for figures in rows.values())]
    first = next(iter(rows.values()))
    key = main_figure(first)
    print(f'\n{name}  ({seconds:.0f} s)')
    print(f'  {"":28}' + ''.join(f'{title:>15}' for _, title, _ in columns) + f'{"ours / its":>12}')
    for label, figures in rows.items():
        cells = ''.join(f'{format(figures[f], spec) if f in figures else "-":>15}' for f, _, spec in columns)
        print(f'  {label:28}{cells}{first[key] / figures[key]:12.2f}', flush=True)


class Goal:
    """`figure` of `ours` to that of `other` in a table: at least or at most `bound`. `bare` is a program that does only what
    no gateway could leave out: what it has in the same place is about the limit."""

    def __init__(self, text, table, ours, other, figure, bound, at_least=True, bare=None):
        self.text, self.table, self.ours, self.other = text, table, ours, other
        self.figure, self.bound, self.at_least, self.bare = figure, bound, at_least, bare

    def measure(self, results, ours=None):
        try:
            rows = results[self.table]
            value = rows[ours or self.ours][self.figure]
            return value / rows[self.other][self.figure] if self.other else value
        except (KeyError, ZeroDivisionError):    # not measured; CPU time is counted in ticks
            return None

    def limit(self, results):
        return self.measure(results, self.bare) if self.bare else None

    def is_met(self, value):
        return value >= self.bound if self.at_least else value <= self.bound


NEW8, KEPT8 = 'hello, new connections, 8 clients', 'hello, kept against new, 8 clients'
NGINX, NEW_WORKER = 'hello through nginx', 'first answer of a new worker, Flask'
SOCKETS, PYTHON, WARM = 'bare C server', 'embedder, no server', 'wsgi-cgi, warm'
FREE_COMPUTE, FREE_HELLO = 'free-threaded: 5 ms of computing', 'free-threaded: hello'
CGI_SERVERS = 'CGI behind Apache mod_cgid, 8 clients', 'CGI behind lighttpd mod_cgi, 8 clients'
GOALS = [
    Goal('hello, new connections: requests/s to uWSGI', NEW8, 'wsgi-cgi', 'uWSGI', 'rps', 1.8, bare=SOCKETS),
    Goal('... to the C program on stock libfcgi', NEW8, 'wsgi-cgi', 'stock libfcgi, C', 'rps', 1.0),
    Goal('... CPU time to uWSGI', NEW8, 'wsgi-cgi', 'uWSGI', 'cpu_us', 0.5, False, SOCKETS),
    Goal("hello, kept connections: requests/s to uWSGI's best", KEPT8, 'wsgi-cgi, kept', 'uWSGI, new', 'rps', 2.0),
    Goal('... CPU time to our own on new connections', KEPT8, 'wsgi-cgi, kept', 'wsgi-cgi, new', 'cpu_us', 0.6, False),
    *(Goal(f'Python-heavy request: to {other}', 'Python-heavy request', 'wsgi-cgi', other, 'rps', 1.2, bare=PYTHON) for other in
      ('uWSGI', 'mod_wsgi, daemon', 'mod_wsgi, embedded')),
    Goal('... to /usr/bin/python3 alone', 'Python-heavy request', 'wsgi-cgi', 'python3, no server', 'rps', 0.95, bare=PYTHON),
    *(Goal(f'hello through nginx: to {other}', NGINX, 'wsgi-cgi, kept', other, 'rps', 1.0) for other in
      ('uWSGI, uwsgi_pass', 'uWSGI, HTTP', 'gunicorn', 'waitress', 'mod_wsgi, daemon', 'mod_wsgi, embedded')),
    Goal('... to php-fpm', NGINX, 'wsgi-cgi, kept', 'php-fpm', 'rps', 0.9),
    Goal('list of 1 MiB: to uWSGI', 'list of 1m', 'wsgi-cgi', 'uWSGI', 'rps', 2.0, bare=SOCKETS),
    Goal('list of 1 MiB: to the bare C server', 'list of 1m', 'wsgi-cgi', 'bare C server', 'rps', 0.9),
    Goal('file of 100 MiB: to uWSGI', 'file of 100 MiB', 'wsgi-cgi', 'uWSGI', 'rps', 2.0, bare=SOCKETS),
    Goal('... to the bare C server (sendfile)', 'file of 100 MiB', 'wsgi-cgi', 'bare C server', 'rps', 0.9),
    Goal('instructions of a hello request', 'instructions', 'wsgi-cgi', None, 'instructions', 30000, False),
    Goal('CGI hello: time to CGIHandler', 'CGI hello', 'wsgi-cgi', 'python3, CGIHandler', 'ms', 0.45, False),
    Goal('... to an embedder that only starts Python', 'CGI hello', 'wsgi-cgi', 'embedder, init and exit', 'ms', 1.1, False),
    *(Goal(f'CGI {name} hello: time to CGIHandler', f'CGI {name} hello', 'wsgi-cgi', 'python3, CGIHandler', 'ms', 0.8, False)
      for name in ('Flask', 'Django')),
    Goal('CGI hello, warm: time to CGIHandler', 'CGI hello', WARM, 'python3, CGIHandler', 'ms', 1 / 10, False, '/bin/true'),
    Goal('... to cgi-fcgi, same instance', 'CGI hello', WARM, 'cgi-fcgi, same instance', 'ms', 1.3, False, '/bin/true'),
    Goal('CGI hello by --relay: time to cgi-fcgi, same instance', 'CGI hello', 'wsgi-cgi --relay, same',
         'cgi-fcgi, same instance', 'ms', 1.3, False, '/bin/true'),
    Goal('CGI Flask hello, warm: time to CGIHandler', 'CGI Flask hello', WARM, 'python3, CGIHandler', 'ms', 1 / 50, False,
         '/bin/true'),
    Goal('... to a Go program', 'CGI Flask hello', WARM, 'Go, net/http/cgi', 'ms', 0.45, False, '/bin/true'),
    *(Goal(f'{name}: p50 of warm Flask to a Go program', name, 'wsgi-cgi, warm Flask', 'Go, net/http/cgi', 'p50_us', 0.45, False,
           'C program, static') for name in CGI_SERVERS),
    Goal('RSS of a worker beyond a sleeping python3, MiB', 'memory of a worker, KiB', 'wsgi-cgi', 'python3 that sleeps',
         'rss_kib', 3.0, False),
    Goal('first answer of a new worker, --processes 1-8 --preload: ms', NEW_WORKER, 'wsgi-cgi, --preload', None, 'ms', 20, False),
    Goal('16 threads, 5 ms of waiting: requests/s (limit 3,200)', 'waits 5 ms, 16 threads', 'wsgi-cgi', None, 'rps', 0.95 * 3200),
    Goal('a short request while another thread computes: p50, µs', 'a short request beside one that computes', 'wsgi-cgi', None,
         'p50_us', 2000, False),
    Goal('free-threaded, 5 ms of computing: requests/s of 2 threads to 1', FREE_COMPUTE, 'wsgi-cgi, 2 threads',
         'wsgi-cgi, 1 thread', 'rps', 1.8),
    Goal('free-threaded, hello: requests/s to the same Python with the GIL', FREE_HELLO, 'wsgi-cgi', 'GIL', 'rps', 0.9),
]


def measured(goal, results):
    if goal.figure == 'rss_kib':        # a difference, not a ratio
        rows = results.get(goal.table, {})
        if goal.ours not in rows:
            return None
        return (rows[goal.ours]['rss_kib'] - rows[goal.other]['rss_kib']) / 1024
    return goal.measure(results)


def text_of(value):
    return f'{value:.2f}' if value >= 0.1 else f'{value:.4f}'


def print_goals(results):
    """The table of goals; how many are missed."""
    missed = 0
    print(f'\n{"goal":74}{"bound":>12}{"measured":>12}{"bare":>8}')
    for goal in GOALS:
        value = measured(goal, results)
        if value is None:
            continue
        met = goal.is_met(value)
        missed += not met
        bound = ('>= ' if goal.at_least else '<= ') + f'{goal.bound:g}'
        limit = goal.limit(results)
        print(f'{goal.text:74}{bound:>12}{text_of(value):>12}{text_of(limit) if limit else "":>8}  {"met" if met else "MISSED"}')
    return missed


def unmeasured(results, known):
    """Goals that no table answers, but for those of `known`: a name was misspelt."""
    return [goal.text for goal in GOALS if measured(goal, results) is None and goal.table not in known
            and goal.figure != 'cpu_us']


def save(folder, results, versions):
    """FOLDER/history/TIME.json, and the plots beside it."""
    history = folder / 'history'
    history.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())
    (history / f'{stamp}.json').write_text(json.dumps({'versions': versions, 'results': results}, indent=1) + '\n')
    plot(folder / 'plots', results)


def plot(folder, results):
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    folder.mkdir(parents=True, exist_ok=True)
    for stem, names in (('fastcgi', (NEW8, KEPT8)), ('nginx', (NGINX,)), ('cgi', ('CGI hello', 'CGI Flask hello')),
                        ('cgi-servers', CGI_SERVERS)):
        names = [n for n in names if n in results]
        if not names:
            continue
        fig, axes = plt.subplots(1, len(names), figsize=(6 * len(names), 3.2), squeeze=False)
        for ax, name in zip(axes[0], names):
            rows = results[name]
            key = main_figure(next(iter(rows.values())))
            labels, values = list(rows), [figures[key] for figures in rows.values()]
            bars = ax.barh(labels[::-1], values[::-1], color=['#2a6f97' if n.startswith('wsgi-cgi') else '#b0b7bd'
                                                              for n in labels[::-1]])
            ax.bar_label(bars, fmt='%.0f' if key == 'rps' else '%.1f', padding=3, fontsize=8)
            ax.set_title(name + (' (requests/s)' if key == 'rps' else ' (ms)'), fontsize=10)
            ax.spines[['top', 'right']].set_visible(False)
            ax.margins(x=0.15)
        fig.tight_layout()
        for kind in 'png', 'svg':
            fig.savefig(folder / f'{stem}.{kind}', dpi=110, metadata={'Date': None} if kind == 'svg' else None)
        plt.close(fig)


MARKS = '<!-- bench: figures from here -->', '<!-- bench: to here -->'


def write_readme(path, results, versions):
    """The table between the two marks: goals, bounds, what was measured."""
    text = path.read_text()
    before, _, rest = text.partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        raise SystemExit(f'{path}: the marks {MARKS} are missing')
    rows = []
    for goal in GOALS:
        value = measured(goal, results)
        if value is not None:
            text = f'{goal.table}: {goal.text[4:]}' if goal.text.startswith('... ') else goal.text
            limit = goal.limit(results)
            rows.append(f'| {text} | {text_of(value)} | {"at least" if goal.at_least else "at most"} {goal.bound:g}'
                        f'{"" if goal.is_met(value) else ", **missed**"} | {text_of(limit) if limit else ""} |')
    table = '\n'.join(['| Ratio, in one run on one machine | measured | goal | bare |', '|---|---|---|---|', *rows])
    line = (f'{time.strftime("%B %Y", time.gmtime())}, {versions["cpus"]} processors ({versions["cpu"]}), {versions["Python"]}, '
            f'uWSGI {versions["uWSGI"]}, {versions["nginx"].split(": ")[-1]}, {versions["Apache"].split(": ")[-1]}, '
            f'{versions["PHP"].split(" (")[0]}, {versions["Go"].removeprefix("go version ").split()[0]}.')
    path.write_text(f'{before}{MARKS[0]}\n\n{line}\n\n{table}\n\n{MARKS[1]}{after}')
