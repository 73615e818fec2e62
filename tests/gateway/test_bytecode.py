"""The cache of a script's bytecode: it saves the compilation, is only believed where nobody else can write, and a
doubt about it means compiling."""

import concurrent.futures
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

import pytest

GET = {'REQUEST_METHOD': 'GET', 'PATH_INFO': '/', 'SCRIPT_NAME': ''}
OLD = time.time() - 3600
NOBODY = {'user': 65534, 'group': 65534, 'extra_groups': []}
SOURCE = '''
def application(environ, start_response):
    """Documented."""
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [{word!r}.encode(), repr(application.__doc__).encode()]
''' + '# so that it is worth keeping\n' * 50


class Place:
    """A script in a folder of its own, and $TMPDIR; both owned by who runs the tests."""

    def __init__(self, base, run):
        self.base, self.run = base, run
        self.site, self.tmp = base / 'site', base / 'tmp'
        self.site.mkdir(mode=0o755)
        self.tmp.mkdir(mode=0o1777)
        self.tmp.chmod(0o1777)
        self.script = self.site / 'app.wsgi'
        self.write('first')

    def write(self, word, mtime=OLD):
        self.script.write_text(SOURCE.format(word=word))
        if mtime:
            os.utime(self.script, (mtime, mtime))

    @property
    def beside(self):
        return sorted(p for p in self.site.glob('__pycache__/*'))

    @property
    def in_tmp(self):
        return sorted(self.tmp.glob('wsgi-cgi-*/*'))

    def ask(self, *options, env=None, **keywords):
        """The body of one CGI request."""
        finished = self.run(*options, self.script, env={**GET, 'TMPDIR': str(self.tmp), **(env or {})}, cwd=self.base,
                            **keywords)
        assert finished.code == 0 and finished.stderr == '', finished
        return finished.stdout.partition(b'\r\n\r\n')[2].decode()


@pytest.fixture
def place(tmp_path, run):
    return Place(tmp_path, run)


@pytest.fixture
def public(run):
    """The same where other users can enter."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    if 'may not enter' in run('--check', 'json:loads', cwd='/', **NOBODY).stderr:
        pytest.skip('this Python lies where another user may not go')
    base = Path(tempfile.mkdtemp(prefix='wc-cache-'))
    base.chmod(0o755)
    yield Place(base, run)
    shutil.rmtree(base)


def graft(cache, its):
    """Give `cache` the code of `its`: the head is 24 bytes and ten numbers, then come path and code. Numbers eight to
    ten: the lengths of both and the hash of the code."""
    own, other = cache.read_bytes(), its.read_bytes()
    own_code, other_code = (104 + int.from_bytes(data[80:88], 'little') for data in (own, other))
    cache.write_bytes(own[:88] + other[88:104] + own[104:own_code] + other[other_code:])


# --- it is used -------------------------------------------------------------------------------------------------------

def test_beside_the_script(place):
    """__pycache__ beside the script, where the folder is ours: a file for each version and name."""
    assert place.ask().startswith('first')
    [cache] = place.beside
    assert cache.name.startswith('app.wsgi.') and not cache.name.endswith('.pyc')
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600 and stat.S_IMODE(cache.parent.stat().st_mode) & 0o22 == 0
    assert place.in_tmp == []


def test_second_start_takes_the_cache(place):
    """Shown by a cache whose code is another script's: the key fits, so that code runs and the source does not."""
    place.ask()
    [cache] = place.beside
    (place.base / 'x').mkdir()
    other = Place(place.base / 'x', place.run)
    other.write('other')
    other.ask()
    graft(cache, other.beside[0])
    assert place.ask().startswith('other')


def test_cache_is_only_read(place):
    """A second start changes nothing."""
    place.ask()
    [cache] = place.beside
    before = cache.stat()
    place.ask()
    after = cache.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_without_docstrings(place):
    """PYTHONOPTIMIZE=2 is other bytecode; the two are not mixed up."""
    for _ in range(2):
        assert place.ask() == "first'Documented.'"
        assert place.ask(env={'PYTHONOPTIMIZE': '2'}) == 'firstNone'


def test_traceback_names_the_script(place, run):
    """Code from the cache has its file name and lines."""
    place.script.write_text('x = 1\n' * 300 + 'def application(environ, start_response):\n    raise ValueError("here")\n')
    os.utime(place.script, (OLD, OLD))
    for _ in range(2):
        finished = run(place.script, env={**GET, 'TMPDIR': str(place.tmp)})
        assert f'File "{place.script}", line 302, in application' in finished.stderr
    assert len(place.beside) == 1


# --- a doubt means compiling ----------------------------------------------------------------------------------------

def same_size_and_time(place):
    """As archives unpack that give all files one time."""
    place.write('again')


def same_size(place):
    place.write('again', OLD + 1)


def same_time(place):
    place.write('second')


def renamed(place):
    new = place.site / 'new'
    new.write_text(SOURCE.format(word='other'))
    os.utime(new, (OLD, OLD))
    new.rename(place.script)


@pytest.mark.parametrize('change', [same_size_and_time, same_size, same_time, renamed])
def test_changed_script(place, change):
    """Size, one of the times or the inode differ: the new source runs, and its bytecode replaces the old."""
    place.write('first')
    assert place.ask().startswith('first')
    change(place)
    body = place.ask()
    assert not body.startswith('first') and body == place.ask()
    assert len(place.beside) == 1


def test_just_written_script_is_not_cached(place):
    """Two changes within one tick of the clock have the same time stamp: what is so new may change unnoticed."""
    place.write('first', mtime=None)
    assert place.ask().startswith('first')
    assert place.beside == [] and place.in_tmp == []
    place.write('first', mtime=time.time() + 3600)
    place.ask()
    assert place.beside == [] and place.in_tmp == []


@pytest.mark.parametrize('damage', ['empty', 'head cut', 'half', 'one letter', 'zeros', 'random', 'appended', 'other format'])
def test_damaged_cache(place, damage):
    """Compiled, the damaged file replaced by a good one."""
    place.ask()
    [cache] = place.beside
    good = cache.read_bytes()
    letter = good.rindex(b'first')  # another constant: the code stays well-formed
    cache.write_bytes({
        'empty': b'', 'head cut': good[:50], 'half': good[:len(good) // 2],
        'one letter': good[:letter] + b'F' + good[letter + 1:], 'zeros': bytes(len(good)),
        'random': os.urandom(len(good)), 'appended': good + b'x', 'other format': b'X' + good[1:],
    }[damage])
    assert place.ask().startswith('first')
    assert cache.read_bytes() == good


def test_not_code(place):
    """A well-formed file that holds no code object, but a number."""
    place.ask()
    [cache] = place.beside
    good = cache.read_bytes()
    path_len = int.from_bytes(good[80:88], 'little')
    code = b'i\x01\x00\x00\x00'
    head = good[:88] + len(code).to_bytes(8, 'little') + hash_of(code).to_bytes(8, 'little')
    cache.write_bytes(head + good[104:104 + path_len] + code)
    assert place.ask().startswith('first')
    assert cache.read_bytes() == good


def hash_of(data):
    """As src/app/bytecode.c: checked against a file of the program in test_hash."""
    h = 0x9e3779b97f4a7c15 ^ len(data)
    for i in range(0, len(data), 8):
        word = int.from_bytes(data[i:i + 8].ljust(8, b'\0'), 'little')
        h = (h ^ word) * 0xff51afd7ed558ccd % 2**64
        h ^= h >> 32
    return h


def test_hash(place):
    """The file's last field is the hash of its code; without this test_not_code would show nothing."""
    place.ask()
    data = place.beside[0].read_bytes()
    path_len = int.from_bytes(data[80:88], 'little')
    assert int.from_bytes(data[96:104], 'little') == hash_of(data[104 + path_len:])


# --- where it may be ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('mode', [0o775, 0o757, 0o777, 0o1777])
def test_folder_others_can_write_to(place, mode):
    """Then $TMPDIR/wsgi-cgi-UID, mode 0700."""
    place.site.chmod(mode)
    assert place.ask().startswith('first')
    assert place.beside == [] and len(place.in_tmp) == 1
    folder = place.in_tmp[0].parent
    assert folder.name == f'wsgi-cgi-{os.geteuid()}' and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert place.ask().startswith('first')


@pytest.mark.parametrize('mode', [0o775, 0o757])
def test_pycache_others_can_write_to(place, mode):
    """A __pycache__ that others can write to is neither read nor written."""
    place.ask()
    [cache] = place.beside
    cache.write_bytes(b'')
    cache.parent.chmod(mode)
    assert place.ask().startswith('first')
    assert cache.read_bytes() == b'' and len(place.in_tmp) == 1


def test_pycache_is_a_link(place):
    """Links are not followed: what they lead to may be somebody's choice."""
    elsewhere = place.base / 'elsewhere'
    elsewhere.mkdir()
    (place.site / '__pycache__').symlink_to(elsewhere)
    assert place.ask().startswith('first')
    assert list(elsewhere.iterdir()) == [] and len(place.in_tmp) == 1


@pytest.mark.parametrize('what', ['open', 'link', 'file', 'readable'])
def test_folder_in_tmp_is_not_ours(place, what):
    """Made by somebody else beforehand, or opened up: no cache at all."""
    place.site.chmod(0o777)
    folder = place.tmp / f'wsgi-cgi-{os.geteuid()}'
    elsewhere = place.base / 'elsewhere'
    elsewhere.mkdir(mode=0o700)
    if what == 'link':
        folder.symlink_to(elsewhere)
    elif what == 'file':
        folder.write_text('')
    else:
        folder.mkdir()
        folder.chmod(0o777 if what == 'open' else 0o750)
    for _ in range(2):
        assert place.ask().startswith('first')
    assert place.in_tmp == [] and list(elsewhere.iterdir()) == [] and place.beside == []


def test_cache_file_is_a_link_or_open(place):
    """A link in place of the file is not followed, a file others can write to is not believed."""
    place.ask()
    [cache] = place.beside
    other = place.base / 'other-cache'
    cache.rename(other)
    cache.symlink_to(other)
    place.write('second', OLD + 5)
    assert place.ask().startswith('second')
    assert not cache.is_symlink() and other.exists()


def test_another_users_cache(public):
    """Root's process next to a folder of another user takes nothing from there, nor the other way round."""
    os.chown(public.site, 65534, 65534)
    os.chown(public.script, 65534, 65534)
    assert public.ask(**NOBODY).startswith('first')
    [cache] = public.beside
    # The other user plants code for root: another script's, with a key that fits.
    (public.base / 'x').mkdir()
    planted = Place(public.base / 'x', public.run)
    planted.write('planted')
    for path in (planted.base, planted.site, planted.script):
        os.chown(path, 65534, 65534)
    planted.ask(**NOBODY)
    graft(cache, planted.beside[0])
    assert public.ask(**NOBODY).startswith('planted'), 'the planted code would run'
    assert public.ask().startswith('first')
    assert [p.parent.name for p in public.in_tmp] == ['wsgi-cgi-0']


def test_folder_in_tmp_of_another_user(public):
    """Another user made /tmp/wsgi-cgi-0 first."""
    public.site.chmod(0o777)
    folder = public.tmp / 'wsgi-cgi-0'
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    assert public.ask().startswith('first')
    assert public.in_tmp == [] and public.beside == []


def test_cgi_user_cannot_write_beside(public):
    """The usual set-up: the script belongs to its author, CGI runs as the web server's user."""
    assert public.ask(**NOBODY).startswith('first')
    assert public.beside == [] and [p.parent.name for p in public.in_tmp] == ['wsgi-cgi-65534']
    before = public.in_tmp[0].stat()
    assert public.ask(**NOBODY).startswith('first')
    assert public.in_tmp[0].stat().st_ino == before.st_ino


# --- when not ---------------------------------------------------------------------------------------------------------

def test_dont_write_bytecode(place):
    """PYTHONDONTWRITEBYTECODE, and a script too short to gain."""
    assert place.ask(env={'PYTHONDONTWRITEBYTECODE': '1'}).startswith('first')
    assert place.beside == [] and place.in_tmp == []
    place.script.write_text(place.script.read_text().partition('# so')[0])
    os.utime(place.script, (OLD, OLD))
    assert place.ask().startswith('first')
    assert place.beside == [] and place.in_tmp == []


def test_no_temporary_folder(place):
    """Nothing to be written anywhere is no reason for a word, let alone a failure."""
    place.site.chmod(0o777)
    assert place.ask(env={'TMPDIR': str(place.base / 'nowhere')}).startswith('first')


def test_many_at_once(place):
    """Ten processes start with no cache: all answer, one whole file is left."""
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        bodies = list(pool.map(lambda _: place.ask(), range(10)))
    assert all(body.startswith('first') for body in bodies)
    assert len(place.beside) == 1
    place.write('first')
    assert place.ask().startswith('first')
