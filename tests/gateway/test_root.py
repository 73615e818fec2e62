"""What root does in folders where others can write: sockets, pid file, logs, --chdir, and their removal. P10, P15."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys

import pytest

from apps import HELLO
from fcgi import wait_for
from settings import SANITIZED
from test_starting import OTHER, as_root, become, identity, public     # noqa: F401 (fixtures, too)
from test_syscalls import traced

# As many starts as are raced; 200 are a minute.
RACES = int(os.environ.get('WSGI_CGI_TEST_RACES', '10'))

# Whatever appears in the folder under one of the names, and is no link, becomes a link to the victim of that name at once.
RACER = '''
import os, stat, sys
victims, names = sys.argv[1], sys.argv[2:]
def prepare(name):
    os.symlink(os.path.join(victims, name), '.' + name)
for name in names:
    prepare(name)
print('ready', flush=True)
while True:
    for name in names:
        try:
            if stat.S_ISLNK(os.lstat(name).st_mode):
                continue
            os.rename('.' + name, name)
        except OSError:
            continue
        prepare(name)
        print(name, flush=True)
'''

LOADED = HELLO + '\nimport sys\nprint("loaded", file=sys.stderr, flush=True)\n'


@pytest.fixture
def theirs(public):                                                         # noqa: F811
    """A folder of OTHER, below one of root's."""
    folder = public / 'theirs'
    folder.mkdir()
    uid, gid, _ = identity(OTHER)
    os.chown(folder, uid, gid)
    return folder


class Racer:
    """A process of OTHER that swaps what root makes for links to victims of root's."""

    def __init__(self, public, folder, names):                              # noqa: F811
        self.victims, self.folder, self.names, self.changed, self.swapped = public / 'victims', folder, names, 0, 0
        self.victims.mkdir(mode=0o755)
        uid, gid, _ = identity(OTHER)
        self.process = subprocess.Popen([sys.executable, '-I', '-S', '-c', RACER, str(self.victims), *names], cwd=folder,
                                        user=uid, group=gid, extra_groups=[], stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b'ready\n'
        os.set_blocking(self.process.stdout.fileno(), False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def lay_out(self):
        """Victims as they should stay, and free names."""
        for name in self.names:
            victim = self.victims / name
            victim.write_text('precious\n')
            victim.chmod(0o600)
            os.chown(victim, 0, 0)
            (self.folder / name).unlink(missing_ok=True)

    def count(self):
        for name in self.names:
            victim = self.victims / name
            try:
                status = victim.lstat()
                kept = (status.st_uid, status.st_gid, status.st_mode) == (0, 0, stat.S_IFREG | 0o600) and \
                    victim.read_text() == 'precious\n'
            except FileNotFoundError:
                kept = False
            self.changed += not kept
        self.swapped += len((self.process.stdout.read() or b'').splitlines())


@as_root
@pytest.mark.timeout(60 + 2 * RACES)
@pytest.mark.parametrize('options', [['--user', OTHER], ['--socket-owner', OTHER]], ids=['user', 'root'])
@pytest.mark.parametrize('raced', [{'--bind': 's', '--control': 'c', '--pid-file': 'p'}, {'--access-log': 'a'}],
                         ids=['sockets', 'log'])
def test_racer(world, public, theirs, raced, options):      # noqa: F811
    """P10, P15: a process of the user who owns the folder swaps sockets, pid file or log for links while root starts and
    stops: no file of root's changes its owner, its mode or its text, nor goes."""
    script = public / 'app.py'
    script.write_text(LOADED)
    files = {'--bind': public / 's', **{option: theirs / name for option, name in raced.items()}}
    words = [str(word) for pair in files.items() for word in pair]
    with Racer(public, theirs, list(raced.values())) as racer:
        for _ in range(RACES):
            racer.lay_out()
            process = world.spawn(*words, *options, str(script), binary=public / 'wsgi-cgi', cwd='/')
            process.log.allow('.')
            process.exit_codes = {0, 69, 71, 73}
            wait_for(lambda: not process.running() or 'loaded' in process.logged, 20, 'the start')
            if process.running():
                process.signal(signal.SIGTERM)
            process.wait()
            racer.count()
    print(f'{racer.changed} files changed hands in {RACES} starts; {racer.swapped} were swapped')
    assert racer.swapped >= RACES // 2, 'the racer was no racer'
    assert racer.changed == 0


# --- where links are, and who was there first -----------------------------------------------------------------------

def owner_of(path):
    status = os.stat(path)
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


FOLDERS = {
    'of root': (0, 0, 0o755), 'of the user': (*identity(OTHER)[:2], 0o700),
    'of a third': (*identity('www-data')[:2], 0o755), 'shared': (0, identity('www-data')[1], 0o2775),
    'sticky': (0, 0, 0o1777),
}


@as_root
@pytest.mark.parametrize('owner', [['--user', OTHER], ['--socket-owner', 'www-data'], ['--socket-owner', ':www-data'], []],
                         ids=['user', 'owner', 'group', 'root'])
@pytest.mark.parametrize('below', [False, True], ids=['', 'below'])
@pytest.mark.parametrize('folder', FOLDERS)
def test_owner_and_mode(become, world, public, folder, below, owner):      # noqa: F811
    """P10: whoever the folder belongs to, the socket is made with the owner and the mode that were asked for; and in its
    whole path where no folder on the way can be replaced."""
    uid, gid, mode = FOLDERS[folder]
    here = public / 'here'
    here.mkdir()
    os.chown(here, uid, gid)
    here.chmod(mode)
    path = here / 'sock'
    if below:
        path = here / 'below' / 'sock'
        path.parent.mkdir()
        os.chown(path.parent, uid, gid)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = become(HELLO, *owner, '--socket-mode', '0606', path=path)
    assert server.request().body == b'hello'
    wanted = {'--user': identity(OTHER)[:2], 'www-data': identity('www-data')[:2], ':www-data': (0, identity('www-data')[1])}
    assert owner_of(path) == (*wanted.get(owner[0] if '--user' in owner else owner[-1] if owner else '',
                                          (0, gid if mode & 0o2000 else 0)), 0o606)
    shown = [line.split()[-1] for line in open('/proc/net/unix') if line.rstrip().endswith('sock')]
    assert ('sock' if below and (uid or folder == 'shared') else str(path)) in shown
    assert os.readlink(f'/proc/{server.pid}/cwd') == '/'
    server.allow_log('cannot be removed')


@as_root
def test_core_of_a_root_that_stays(become, public, theirs):      # noqa: F811
    """P10: making a socket as somebody else leaves nothing behind: ids for files, rights, umask, "dumpable"."""
    server = become('''
        import ctypes, json, os
        def application(environ, start_response):
            status = dict(line.split(':', 1) for line in open('/proc/self/status'))
            umask = os.umask(0)
            os.umask(umask)
            start_response('200 OK', [])
            return [json.dumps([status['Uid'].split(), status['Gid'].split(), status['CapEff'].strip(), umask,
                                ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)]).encode()]
    '''.replace('\n        ', '\n'), '--socket-owner', OTHER, '--umask', '027', path=theirs / 's')
    rights = re.search(r'^CapEff:\s*(\w+)', open('/proc/self/status').read(), re.MULTILINE)[1]
    assert server.request().json == [['0'] * 4, ['0'] * 4, rights, 0o27, 1]


@as_root
@pytest.mark.parametrize('option', ['--bind', '--control', '--pid-file'])
@pytest.mark.parametrize('user', [['--user', OTHER], []], ids=['user', 'root'])
def test_led_astray(run, public, theirs, option, user):      # noqa: F811
    """P15: no socket and no pid file of root's is made where a link leads that another user could make; a link that root
    has made on the way is followed."""
    (public / 'app.py').write_text(HELLO)
    (public / 'target').mkdir()
    (theirs / 'way').symlink_to(public / 'target')
    options = {'--bind': public / 'sock', option: theirs / 'way' / 'new'}
    finished = run(*user, *(word for pair in options.items() for word in pair), public / 'app.py', cwd='/')
    assert finished.code == (73 if option == '--pid-file' else 69), finished
    assert f'{option}: {theirs}/way/new: a symbolic link in the path is in a directory that other users' in finished.stderr
    assert os.listdir(public / 'target') == []
    (public / 'way').symlink_to(public / 'target')
    options[option] = public / 'way' / 'new'
    finished = run(*user, '--user', 'root', *(word for pair in options.items() for word in pair), '--chdir', '/no/such',
                   public / 'app.py', cwd='/')
    assert finished.code == 66 and os.listdir(public / 'target') == [], finished     # made, and removed at the end


@as_root
@pytest.mark.parametrize('relative', [False, True])
def test_folder_to_work_in(become, run, public, theirs, relative):      # noqa: F811
    """P15: --chdir of a root that stays root follows no link that another user could make; of anybody else it does."""
    (public / 'folder').mkdir()
    (theirs / 'link').symlink_to(public / 'folder')
    (public / 'link').symlink_to(public / 'folder')
    app = "import os\n" + HELLO.replace("b'hello'", 'os.getcwd().encode()')
    assert app != HELLO
    (public / 'app.py').write_text(app)
    path = 'theirs/link' if relative else theirs / 'link'
    finished = run('--bind', public / 'sock', '--chdir', path, public / 'app.py', cwd=public)
    assert finished.code == 66 and f'--chdir: {path}: a symbolic link in the path' in finished.stderr
    for options in ['--chdir', 'link' if relative else public / 'link'], ['--user', OTHER, '--chdir', path]:
        server = become(app, *options, cwd=public)
        assert server.request().body == str(public / 'folder').encode()


@as_root
def test_somebody_listens(world, become, run, public, theirs):      # noqa: F811
    """F32: in a folder of another user, too, a socket that somebody listens at is left alone."""
    first = become(HELLO, '--user', OTHER, path=theirs / 's')
    finished = run('--user', OTHER, '--bind', theirs / 's', public / 'app.py')
    assert finished.code == 69 and 'another process listens there' in finished.stderr, finished
    assert first.request().body == b'hello'


# --- calls ----------------------------------------------------------------------------------------------------------

CALL = re.compile(r'^(?:\d+ +)?(\w+)\((.*)\) += (?!-1)', re.MULTILINE)
BY_PATH = ('chmod', 'chown', 'lchown', 'unlink', 'rmdir', 'rename', 'link', 'symlink', 'mknod', 'truncate', 'chdir', 'creat')
AT = ('fchmodat', 'fchownat', 'unlinkat', 'renameat', 'renameat2', 'linkat', 'symlinkat', 'mknodat')


def only_root_can_replace(path):
    """Whether each folder on the way to `path`, as it stands there, is of root alone."""
    if not path.startswith('/'):
        return False
    while path != '/':
        path = os.path.dirname(path)
        status = os.stat(path)
        if status.st_uid != 0 or status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            return False
    return True


def named_by_path(trace):
    """(call, path) of all that was changed, removed, entered or opened for writing by a path."""
    for name, text in CALL.findall(trace):
        paths = re.findall(r'"((?:[^"\\]|\\.)+)"', text)
        by_folder = re.search(r'\d+<[^>]*>, "[^/"]+"', text) or re.search(r'\d+<[^>]*>, "", .*AT_EMPTY_PATH', text)
        written = name in ('open', 'openat') and re.search('O_WRONLY|O_RDWR|O_CREAT|O_TRUNC', text)
        if name in BY_PATH or (name in AT or written) and not by_folder:
            yield from ((name, path) for path in paths)


@as_root
@traced
@pytest.mark.skipif(SANITIZED, reason='sanitizers write files of their own')
@pytest.mark.parametrize('mode', [[], ['--processes', '1']], ids=['alone', 'master'])
@pytest.mark.parametrize('options', [['--user', OTHER], ['--socket-owner', OTHER]], ids=['user', 'root'])
def test_calls(world, public, theirs, options, mode):      # noqa: F811
    """P10, P15: from root's start to its end, or till it has become another user, no call changes, removes or enters by
    path what others than root can replace; nor opens it for writing."""
    script, trace, below = public / 'app.py', public / 'trace', theirs / 'below'
    script.write_text(LOADED)
    below.mkdir()
    os.chown(below, *identity(OTHER)[:2])
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(below / 's'))
    (below / 'p').write_text('')
    tracer = public / 'strace'
    tracer.write_text(f'#!/bin/sh\nexec strace -D -f -y -s 200 -o {trace} -e trace=file,fchmod,fchown,fchdir,setresuid '
                      f'{public}/wsgi-cgi "$@"\n')
    tracer.chmod(0o755)
    process = world.spawn('--bind', str(below / 's'), '--control', str(below / 'c'), '--pid-file', str(below / 'p'),
                          '--log-file', str(below / 'l'), '--access-log', str(below / 'a'), '--slow', '60s',
                          '--slow-log', str(below / 'w'), '--chdir', str(below), *options, *mode, str(script), binary=tracer, cwd='/')
    wait_for(lambda: not process.running() or (below / 'l').exists() and 'loaded' in (below / 'l').read_text(), 20,
             'the start')
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.logged
    wait_for(lambda: re.search(r'^\d+ +\+\+\+ exited', trace.read_text(), re.MULTILINE), 10, 'the end of the trace')
    text = trace.read_text()
    before = text[:re.search(r'setresuid\(.* = 0$', text, re.MULTILINE).start()] if '--user' in options else text
    assert ' execve(' in before and str(below) in before, 'the trace is not what it should be'
    assert not [found for found in named_by_path(before) if not only_root_can_replace(found[1])]
    assert not (below / 's').exists() and not (below / 'c').exists() and not (below / 'p').exists()


def test_what_is_named_by_path(tmp_path):
    """test_calls can tell: calls by path are found, those by descriptor are not."""
    trace = '''1 chmod("/tmp/a", 0660) = 0
2 chown("/tmp/b", 1, 1) = -1 EPERM (Operation not permitted)
3 unlinkat(8</tmp/x>, "s", 0) = 0
4 unlinkat(AT_FDCWD</>, "/tmp/c", 0) = 0
5 fchownat(8</tmp/x/s>, "", 1, 1, AT_EMPTY_PATH) = 0
6 openat(AT_FDCWD</>, "/tmp/d", O_RDONLY) = 4</tmp/d>
7 openat(AT_FDCWD</>, "/tmp/e", O_WRONLY|O_CREAT, 0600) = 4</tmp/e>
8 renameat(8</tmp/x>, "p.1", 8</tmp/x>, "p") = 0
9 unlinkat(8</tmp/x>, "y/s", 0) = 0
'''
    assert list(named_by_path(trace)) == [('chmod', '/tmp/a'), ('unlinkat', '/tmp/c'), ('openat', '/tmp/e'),
                                          ('unlinkat', 'y/s')]
    assert only_root_can_replace('/usr/bin/env') and not only_root_can_replace('y/s')
    (tmp_path / 'open').mkdir()
    (tmp_path / 'open').chmod(0o777)
    assert not only_root_can_replace(str(tmp_path / 'open' / 'x'))
