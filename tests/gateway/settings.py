"""What is tested and how patient the suite is; from the environment, the same for every module."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = os.path.abspath(os.environ.get('WSGI_CGI') or ROOT / 'build/release/wsgi-cgi')


def is_sanitized(path):
    try:
        code = Path(path).read_bytes()
    except OSError:
        return False
    return b'__asan_init' in code or b'__tsan_init' in code


SANITIZED = is_sanitized(BINARY)

# One knob for slow builds: every deadline of the suite is multiplied by it.
SLOW = float(os.environ.get('WSGI_CGI_TEST_SLOW') or (5 if SANITIZED else 1))
