"""Two builds of wsgi-cgi against each other: compare.py BASE_PROGRAM PROGRAM PROGRAMS."""

import sys
import tempfile
from pathlib import Path

import contenders as who
from measure import load, rounds
from report import print_table

WORKS = {'hello, new': ('hello', {}), 'hello, kept': ('hello', {'keep': True}), 'headers': ('headers', {}),
         'list of 1 MiB': ('list_1m', {}), 'upload of 1 MiB': ('upload_read', {'method': 'POST', 'upload': 1 << 20})}


def turn(place, program, work, how):
    """Each turn has a process of its own: where its memory lies makes up to 15 % for large responses."""
    place.wsgi_cgi = program
    running = who.wsgi_cgi(place, work)
    load(place, running, 0.1, **how)
    figures = load(place, running, 0.4, **how)
    place.stop()
    return figures


def main(base, program, programs):
    with tempfile.TemporaryDirectory(prefix='bench-') as folder:
        place = who.Place(folder, Path(program).resolve(), Path(programs).resolve())
        builds = {'this tree': str(Path(program).resolve()), 'base': str(Path(base).resolve())}
        for name, (work, how) in WORKS.items():
            turns = {label: lambda p=p: turn(place, p, work, how) for label, p in builds.items()}
            print_table(name, rounds(turns, 11, warm_up=False), 0)


main(*sys.argv[1:])
