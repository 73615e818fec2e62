"""Two builds of wsgi-cgi against each other: compare.py BASE_PROGRAM PROGRAM PROGRAMS."""

import sys
import tempfile
from pathlib import Path

import contenders as who
from measure import load, rounds
from report import print_table

WORKS = {'hello, new': ('hello', {}), 'hello, kept': ('hello', {'keep': True}), 'headers': ('headers', {}),
         'list of 1 MiB': ('list_1m', {}), 'upload of 1 MiB': ('upload_read', {'method': 'POST', 'upload': 1 << 20})}


def main(base, program, programs):
    with tempfile.TemporaryDirectory(prefix='bench-') as folder:
        place = who.Place(folder, Path(program).resolve(), Path(programs).resolve())
        for name, (work, how) in WORKS.items():
            running = {}
            for label, binary in ('this tree', program), ('base', base):
                place.wsgi_cgi = str(Path(binary).resolve())
                running[label] = who.wsgi_cgi(place, work)
            print_table(name, rounds({label: lambda r=r: load(place, r, 0.5, **how) for label, r in running.items()}, 7), 0)
            place.stop()


main(*sys.argv[1:])
