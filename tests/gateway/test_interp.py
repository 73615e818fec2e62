"""The embedded Python: it is the one it was built for, whatever the environment says, and its end loses nothing though
it is not finalised. P19."""

import json
import os
import re
import resource
import signal
import subprocess

import pytest

from fcgi import wait_for
from settings import BINARY, FREE_THREADED, SANITIZED, SLOW
from test_cgi_process import GET

SHOW = '''
import json, os, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps({what}).encode()]
'''


def show(server_of, what, *options, **keywords):
    """The value of an expression inside the application."""
    return json.loads(server_of.serve(SHOW.format(what=what), *options, **keywords).request().body)


# --- which Python -----------------------------------------------------------------------------------------------------

PLACES = '[sys.prefix, sys.executable, os.__file__, json.__file__]'


@pytest.mark.parametrize('env', [
    {'PATH': None}, {'PATH': ''}, {'PATH': '{fake}:/usr/bin:/bin'}, {'HOME': None}, {'HOME': '/nonexistent'},
])
def test_the_python_it_was_built_for(cgi, tmp_path, env):
    """PATH decides nothing: a python3 of another version may stand first on it, or there is none."""
    fake = tmp_path / 'fake'
    (fake / 'bin').mkdir(parents=True)
    for name in ('python3', 'python', 'wsgi-cgi'):
        (fake / 'bin' / name).write_text('#!/bin/sh\nexit 1\n')
        (fake / 'bin' / name).chmod(0o755)
    usual = show(cgi, PLACES)
    env = {name: value and value.format(fake=fake / 'bin') for name, value in env.items()}
    assert show(cgi, PLACES, env=env) == usual
    assert os.path.isabs(usual[1]) and subprocess.run(
        [usual[1], '-c', 'import sys; print(sys.prefix)'], capture_output=True, text=True).stdout.strip() == usual[0]


def test_version(run, cgi):
    """--version says the library's own version and how it is linked."""
    version = show(cgi, 'list(sys.version_info[:3])')
    found = re.search(r'Python (\d+)\.(\d+)\.(\d+)\S*, (static|shared) libpython', run('--version').stdout.decode())
    assert [int(n) for n in found.groups()[:3]] == version
    linked = subprocess.run(['ldd', BINARY], capture_output=True, text=True).stdout
    assert ('libpython' in linked) == (found.group(4) == 'shared')


ENCODINGS = ('[list(e.__path__), e.__file__, e.utf_8.__file__, sorted(e.aliases.aliases.items()), e.cp1252.__name__,'
             ' "\u00fc".encode("idna").decode(), e.__spec__.origin]')


def test_static_on_debian(run):
    """Debian's archive of libpython is taken, though in some versions it is not whole."""
    settings = os.path.join(os.path.dirname(BINARY), 'python.mk')
    if not os.path.exists(settings) or not os.path.exists('/etc/debian_version'):
        pytest.skip('not beside its python.mk, or not on Debian')
    with open(settings) as file:
        values = dict(re.findall(r'^(\w+) := (.*)', file.read(), re.M))
    if values['PYTHON_EXE'] != f'/usr/bin/python{values["PYTHON_MINOR"]}' or 'LINK= ' not in values['PYTHON_ASKED']:
        pytest.skip('not Debian\'s Python, or built with LINK')
    assert 'static libpython' in run('--version').stdout.decode()
    # All that it needs of libm is in mode/math_library.c: --keep-warm and --relay do not load it.
    if not SANITIZED:
        assert 'libm.' not in subprocess.run(['ldd', BINARY], capture_output=True, text=True).stdout


def test_frozen_encodings(run, cgi):
    """Modules that are part of the program look as python3's own do, and the others of their package are found."""
    version = run('--version').stdout.decode()
    frozen = 'static libpython' in version and int(re.search(r'Python 3\.(\d+)', version)[1]) >= 11
    executable = show(cgi, 'sys.executable')
    names = 'import json, encodings as e, encodings.cp1252, encodings.utf_8'
    ours = show(cgi, f'(exec({names!r}, globals()), {ENCODINGS})[1]')
    theirs = json.loads(subprocess.check_output([executable, '-c', f'{names}\nprint(json.dumps({ENCODINGS}))'], text=True))
    assert ours[:-1] == theirs[:-1]
    assert (ours[-1] == 'frozen') == frozen


NUMBERS = '''
import cmath, ctypes, math
def numbers():
    found = {'operators': repr([2.5 ** 0.3, 7.5 % 2, -7.5 // 2, divmod(-7.25, 0.5), round(2.675, 2), float('1e-310')])}
    for module in math, cmath:
        for name, function in vars(module).items():
            for values in (0.5,), (1.75,), (-2.0,), (1e308, 3.0), (2.5, 0.75), (0.1, 0.2, 0.3), (3.0, 2):
                try:
                    text = repr(function(*values))
                except Exception as e:
                    text = type(e).__name__
                found['%s.%s%s' % (module.__name__, name, values)] = text
    # For an extension module that is not linked with what it needs.
    found['global'] = [hasattr(ctypes.CDLL(None), name) for name in ('cbrt', 'lgamma', 'nonsense')]
    return found
'''


def test_numbers(transport):
    """A static libpython gets its libm when Python starts (mode/math_library.c): each function is the right one."""
    executable = show(transport, 'sys.executable')
    theirs = json.loads(subprocess.check_output(
        [executable, '-c', f'{NUMBERS}\nimport json\nprint(json.dumps(numbers()))'], text=True))
    assert len(theirs) > 500 and theirs['global'] == [True, True, False]
    assert show(transport, f'(exec({NUMBERS!r}, globals()), numbers())[1]') == theirs


# --- its memory -------------------------------------------------------------------------------------------------------

# KiB that ask for huge pages; whether the program's data is what the file has, mapped.
PAGES = '''(lambda text: [sum(int(part.split("Size:")[1].split()[0]) for part in re.split(r"(?m)^(?=[0-9a-f]+-)", text)
                             if " hg" in part.partition("VmFlags:")[2]),
                         bool(re.search(r"(?m)^[0-9a-f]+-\\S+ rw-p .*/wsgi-cgi$", text))])(open("/proc/self/smaps").read())'''
LIMITS = [resource.getrlimit(which)[0] for which in (resource.RLIMIT_AS, resource.RLIMIT_DATA)]
has_huge_pages = pytest.mark.skipif(
    SANITIZED or resource.getpagesize() != 4096 or LIMITS != [resource.RLIM_INFINITY] * 2 or 'PYTHONMALLOC' in os.environ or
    not os.path.exists('/sys/kernel/mm/transparent_hugepage'),
    reason='no transparent huge pages here, a limit on memory, or another allocator (of sanitizers, by PYTHONMALLOC)')


@has_huge_pages
def test_huge_pages_for_one_request(run, transport):
    """A CGI process has its objects and the program's data in huge pages, which saves it 500 page faults; one that stays
    takes small ones, for less memory. The objects of a free-threaded Python are mimalloc's."""
    huge, is_mapped = show(transport, f'(exec("import re", globals()), {PAGES})[1]')
    is_static = 'static libpython' in run('--version').stdout.decode()
    if transport.is_fcgi or transport.is_warm:
        assert (huge, is_mapped) == (0, True)
    else:
        is_huge = (huge > 0) == is_static and huge < 4 << 10 if FREE_THREADED else huge >= 4 << 10
        assert is_huge and is_mapped == (not is_static)


@has_huge_pages
@pytest.mark.parametrize('limit', ['RLIMIT_AS', 'RLIMIT_DATA'])
def test_no_huge_pages_under_a_limit(world, limit):
    """What a limit (ulimit, as shared hosts have) leaves is for the application."""
    app = world.write_app(SHOW.format(what=f'(exec("import re", globals()), {PAGES})[1]'))

    def set_limit():
        resource.setrlimit(getattr(resource, limit), (4 << 30, 4 << 30))
    finished = subprocess.run([BINARY, app], env=world.env(GET), stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=10 * SLOW, preexec_fn=set_limit)
    assert finished.returncode == 0 and json.loads(finished.stdout.partition(b'\r\n\r\n')[2]) == [0, True]


@has_huge_pages
def test_arenas_are_used_again(cgi):
    """What Python gives back is there for its next objects: ten times 8 MB need no more room than twice."""
    sizes = json.loads(cgi.serve('''
import json
def size():
    data = [float(i) for i in range(300000)]
    del data
    with open('/proc/self/statm') as file:
        return int(file.read().split()[0])
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps([size() for _ in range(10)]).encode()]
''').request().body)
    assert sizes[1] == sizes[-1], sizes


@pytest.mark.skipif(FREE_THREADED, reason='a free-threaded Python has no arenas')
@has_huge_pages
def test_no_room_for_another_chunk(cgi):
    """Where addresses run out later, arenas have small pages: not every object is malloc()'s from there on."""
    count, small = json.loads(cgi.serve('''
import json, re, resource
def small_pages():
    """KiB of mappings that have no name and ask for no huge pages."""
    with open('/proc/self/smaps') as file:
        parts = re.split(r'(?m)^(?=[0-9a-f]+-)', file.read())
    return sum(int(part.split('Size:')[1].split()[0]) for part in parts
               if re.match(r'\\S+ rw-p \\S+ \\S+ 0 *$', part.partition('\\n')[0]) and ' hg' not in part.partition('VmFlags:')[2])
def application(environ, start_response):
    with open('/proc/self/statm') as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = small_pages()
    # Arenas are 1 MiB, a chunk of them 4 and 2 to begin it at a huge page.
    resource.setrlimit(resource.RLIMIT_AS, (now + (5 << 20),) * 2)
    kept = []
    try:
        while True:
            kept.append([float(i) for i in range(5000)])
    except MemoryError:
        count = len(kept)
        del kept[-10:]
    after = small_pages()
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps([count, after - before]).encode()]
''').request().body)
    assert count > 20 and small >= 1024, (count, small)


def test_environment_is_honoured(cgi, tmp_path):
    """As python3 does."""
    seen = show(cgi, '[sys.path, sys.flags.hash_randomization, sys.dont_write_bytecode, sys.flags.optimize]',
                env={'PYTHONPATH': str(tmp_path / 'more'), 'PYTHONHASHSEED': '0', 'PYTHONDONTWRITEBYTECODE': '1',
                     'PYTHONOPTIMIZE': '1'})
    assert seen[0][0] == str(tmp_path) and seen[0][1] == str(tmp_path / 'more')
    assert seen[1:] == [0, True, 1]


def test_no_user_site(cgi, tmp_path):
    """HOME is another user's or none: ~/.local is not looked at."""
    where = show(cgi, '__import__("site").getusersitepackages()', env={'HOME': str(tmp_path)})
    os.makedirs(where)
    with open(os.path.join(where, 'sitecustomize.py'), 'w') as f:
        f.write('raise SystemExit(9)\n')
    assert where not in show(cgi, 'sys.path', env={'HOME': str(tmp_path)})


@pytest.mark.parametrize('env', [{}, {'LANG': 'C'}, {'LC_ALL': 'C'}, {'LC_ALL': 'POSIX'}, {'LANG': 'xx_XX.ISO-8859-1'},
                                 {'LANG': 'C.UTF-8'}, {'PYTHONCOERCECLOCALE': '1', 'LC_ALL': None}])
def test_utf8_in_every_locale(transport, env):
    """File names and streams are UTF-8, and no LC_CTYPE leaks into the environment of the application."""
    seen = show(transport, '[sys.getfilesystemencoding(), sys.__stdout__.encoding, open("/dev/null").encoding.lower(), '
                           'os.environ.get("LC_CTYPE")]', env={'LC_CTYPE': None, 'LANG': None, **env})
    assert seen[:3] == ['utf-8', 'utf-8', 'utf-8'] and seen[3] is None


def test_utf8_mode_can_be_switched_off(cgi):
    """PYTHONUTF8=0 is somebody's wish."""
    assert show(cgi, 'sys.flags.utf8_mode', env={'PYTHONUTF8': '0'}) == 0
    assert show(cgi, 'sys.flags.utf8_mode', env={'PYTHONUTF8': '1'}) == 1


def test_signals_are_not_pythons(fcgi_unix):
    """Python puts no handlers over those of the program, and shows something that can be put back."""
    app = SHOW.format(what='[str(__import__("signal").getsignal(n)) for n in (1, 2, 3, 10, 12, 15, 21, 22)]')
    server = fcgi_unix(app)
    assert json.loads(server.request().body) == ['<built-in function wsgi_cgi_handler>'] * 8


def test_signals_of_a_cgi_script(cgi):
    """Nor in CGI: Ctrl-C ends it (until the application imports `signal`); SIGPIPE and SIGXFSZ are ignored."""
    caught, ignored = show(cgi, '[int(line.split()[1], 16) for line in open("/proc/self/status") '
                                'if line.startswith(("SigCgt", "SigIgn"))][::-1]')
    assert not caught & 1 << signal.SIGINT - 1
    assert all(ignored & 1 << number - 1 for number in (signal.SIGPIPE, signal.SIGXFSZ))


def test_modules_in_c(cgi):
    """The interpreter is whole: modules built into it and those loaded from files."""
    assert show(cgi, '[__import__(m) and m for m in "ssl sqlite3 ctypes decimal zlib hashlib _socket lzma".split()]')


HASHES = """[[name, __import__('hashlib').new(name, b'abc').hexdigest(*[20] * name.startswith('shake'))]
             for name in sorted(__import__('hashlib').algorithms_guaranteed)] +
            [[name, getattr(__import__('hashlib'), name)(b'x' * size, digest_size=20, key=b'key', salt=b'salt',
              person=b'person', fanout=3, depth=5, leaf_size=7, node_offset=11, node_depth=13, inner_size=17,
              last_node=last).hexdigest()]
             for name in ('blake2b', 'blake2s') for size in (0, 64, 128, 129, 100000) for last in (False, True)]"""


def test_hashes(cgi):
    """Some of Debian's archives lack the C code of hashes: what stands in for it gives the interpreter's digests."""
    digests = show(cgi, HASHES)
    python = show(cgi, 'sys.executable')
    assert len(digests) > 30 and digests == json.loads(subprocess.run(
        [python, '-c', f'import json; print(json.dumps({HASHES}))'], check=True, capture_output=True).stdout)


def test_children_find_python(transport):
    """P19: sys.executable is a python3 that starts: multiprocessing and subprocess need it."""
    seen = show(transport, '__import__("subprocess").check_output([sys.executable, "-c", "import sys; '
                           'print(sys.version_info[:2])"], text=True) == f"{sys.version_info[:2]}\\n"')
    assert seen is True


def test_start_that_fails(run, tmp_path):
    """What Python cannot do with its environment is one line and exit code 70."""
    (tmp_path / 'app.py').write_text('def app(e, s): pass\n')
    finished = run('--check', 'app.py', env={'PYTHONIOENCODING': 'no-such-codec'})
    assert finished.code == 70 and finished.stderr.count('\n') == 1, finished
    assert 'Python could not be started as /' in finished.stderr and 'encoding' in finished.stderr


def test_debug_enables_faulthandler(transport):
    what = '__import__("faulthandler").is_enabled()'
    assert show(transport, what, '--debug') is True
    assert show(transport, f'bool({what})') is False  # another file: a running server reloads what is written again


def test_threads(fcgi_unix):
    """Several threads: a short switch interval; the main thread is the process' own though another one asks first."""
    app = SHOW.format(what='[sys.getswitchinterval(), __import__("threading").main_thread().native_id == os.getpid()]')
    interval, is_main = json.loads(fcgi_unix(app, '--threads', '3').request().body)
    assert 0.0005 <= interval <= 0.001 and is_main is True
    interval, is_main = json.loads(fcgi_unix(app + '# of its own\n').request().body)
    assert interval == 0.005 and is_main is True


# --- the end ------------------------------------------------------------------------------------------------------------

END = '''
import atexit, os
NOTES = {notes!r}
def note(text):
    with open(NOTES, 'a') as f:
        f.write(text + '\\n')
{body}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    begin()
    return [b'done']
'''


@pytest.fixture
def end(transport, tmp_path):
    """end(body) serves one request with begin() of `body`, ends the program as its server would, and returns the lines
    that note() wrote and the program's log."""
    def run(body, **keywords):
        notes = tmp_path / 'notes'
        server = transport.serve(END.format(notes=str(notes), body=body), **keywords)
        server.allow_log('.*')
        assert server.request().body == b'done'
        if server.is_fcgi:
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
        elif server.is_warm:
            server.stop()
        return (notes.read_text().splitlines() if notes.exists() else []), server.logged
    return run


def test_order_of_the_end(end):
    """Threads end first, then atexit functions run, newest first: Py_FinalizeEx's order."""
    lines, _ = end('''
import threading, time
def work():
    time.sleep(0.1)
    note('thread')
def begin():
    atexit.register(note, 'first registered')
    atexit.register(note, 'last registered')
    threading.Thread(target=work).start()
''')
    assert lines == ['thread', 'last registered', 'first registered']


@pytest.mark.parametrize('opened', [
    "open(OUT, 'w')", "open(OUT, 'w', encoding='latin-1', newline='')", "io.TextIOWrapper(open(OUT, 'wb'))",
    "open(OUT, 'w+')", "io.TextIOWrapper(io.BufferedWriter(io.FileIO(OUT, 'w')))", "codecs.open(OUT, 'w', 'utf-8')",
])
def test_open_text_files_are_flushed(end, tmp_path, opened):
    """A file nobody closes has its last block written, also of an object no variable names any more."""
    out = tmp_path / 'out'
    end(f'''
import codecs, io
OUT = {str(out)!r}
def begin():
    global kept
    kept = {opened}
    kept.write('kept' * 100)
    cycle = [kept]
    cycle.append(cycle)
    del globals()['kept']
''')
    assert out.read_text() == 'kept' * 100


@pytest.mark.parametrize('opened', ["open(OUT, 'wb')", "open(OUT, 'w+b')", "os.fdopen(os.open(OUT, 65), 'wb')"])
def test_open_binary_files_are_flushed(end, tmp_path, opened):
    out = tmp_path / 'out'
    end(f'''
OUT = {str(out)!r}
def begin():
    global kept
    kept = {opened}
    kept.write(b'kept')
''')
    assert out.read_bytes() == b'kept'


def test_frozen_objects_are_flushed(end, tmp_path):
    """gc.freeze() hides objects from a search before 3.13."""
    out = tmp_path / 'out'
    end(f'''
import gc
def begin():
    global kept
    kept = open({str(out)!r}, 'w')
    kept.write('kept')
    gc.freeze()
''')
    assert out.read_text() == 'kept'


def test_what_was_printed_is_not_lost(end):
    """print() without a newline, sys.__stdout__, and C's own buffers."""
    _, log = end('''
import ctypes, sys
def begin():
    print('half a line', end='')
    sys.__stdout__.write('of the original')
    ctypes.CDLL(None).printf(b'of C')
''')
    for text in ('half a line', 'of the original', 'of C'):
        assert text in log


def test_stdout_of_another_kind_is_flushed(end):
    """What the application put in the place of sys.stdout may be anything with a flush()."""
    lines, _ = end('''
import sys
class Out:
    def write(self, text):
        return len(text)
    def flush(self):
        note('flushed')
def begin():
    sys.stderr = Out()
''')
    assert 'flushed' in lines


def test_modules_that_use_atexit(end, tmp_path):
    """logging's buffered handlers, TemporaryDirectory, weakref.finalize."""
    out, folder = tmp_path / 'out', tmp_path / 'folder'
    folder.mkdir()
    lines, _ = end(f'''
import logging, logging.handlers, tempfile, weakref
class Thing: pass
def begin():
    global kept
    kept = [Thing(), tempfile.TemporaryDirectory(dir={str(folder)!r})]
    weakref.finalize(kept[0], note, 'finalized')
    target = logging.FileHandler({str(out)!r})
    handler = logging.handlers.MemoryHandler(1000, target=target)
    logging.getLogger().addHandler(handler)
    logging.getLogger().warning('buffered')
''')
    assert lines == ['finalized'] and out.read_text() == 'buffered\n' and list(folder.iterdir()) == []


def test_failures_at_the_end(end):
    """Each is reported, and the next step follows."""
    lines, log = end('''
import sys, threading
class Out:
    def write(self, text):
        return len(text)
    def flush(self):
        raise ValueError('no flush')
def begin():
    sys.stdout = Out()
    atexit.register(note, 'reached')
    atexit.register(lambda: 1 / 0)
    atexit.register(sys.exit, 3)
    threading.Thread(target=lambda: [][0]).start()
''')
    assert lines == ['reached']
    assert 'ZeroDivisionError' in log and 'IndexError' in log


def test_daemon_threads_do_not_hold_up(end):
    """A daemon thread that computes or sleeps for ever, one that prints."""
    lines, _ = end('''
import threading, time
def spin():
    while True:
        pass
def begin():
    atexit.register(note, 'end')
    threading.Thread(target=spin, daemon=True).start()
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
''')
    assert lines == ['end']


def test_finalisation_does_not_run(cgi, tmp_path):
    """What Py_FinalizeEx does besides, taking modules apart, is left out: it costs up to 40 ms. A __del__ of a global
    is the one thing an application could notice."""
    if SANITIZED:
        pytest.skip('a sanitizer build ends in the long way, to look for leaks')
    notes = tmp_path / 'notes'
    server = cgi.serve(f'''
import os
class Thing:
    def __del__(self, open=os.open):
        os.close(open({str(notes)!r}, os.O_CREAT | os.O_WRONLY))
THING = Thing()
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
''')
    assert server.request().body == b'done'
    assert not notes.exists()


def test_end_while_a_request_waits_for_its_thread(fcgi_unix, tmp_path):
    """A non-daemon thread that the request started goes on after the response and is waited for."""
    notes = tmp_path / 'notes'
    server = fcgi_unix(END.format(notes=str(notes), body='''
import threading, time
def work():
    note('started')
    time.sleep(0.3)
    note('finished')
def begin():
    threading.Thread(target=work).start()
'''))
    assert server.request().body == b'done'
    wait_for(notes.exists, 5, 'the thread')
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert notes.read_text().splitlines() == ['started', 'finished']
