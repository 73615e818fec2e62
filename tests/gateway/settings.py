"""What is tested and how patient the suite is; from the environment, the same for every module."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get('WSGI_CGI') or ROOT / 'build/release/wsgi-cgi')


def has_symbol(*names):
    try:
        code = Path(BINARY).read_bytes()
    except OSError:
        return False
    return any(name in code for name in names)


SANITIZED = has_symbol(b'__asan_init', b'__tsan_init')
# ThreadSanitizer has a thread of its own; it keeps a signal back until the thread makes its next call into the C
# library (read() on a pipe does not count); and it ends a forked child of several threads that starts one.
TSAN = has_symbol(b'__tsan_init')

# Whether threads run Python code at the same time, unless an extension module of the application prevents it.
FREE_THREADED = has_symbol(b', free-threaded, GIL off')

# One knob for slow builds: every deadline of the suite is multiplied by it.
SLOW = float(os.environ.get('WSGI_CGI_TEST_SLOW') or (5 if SANITIZED else 1))

# How long the threads of an application disturb each other, in tests that have no other end.
MIX_SECONDS = float(os.environ.get('WSGI_CGI_TEST_MIX') or 3 * SLOW)
