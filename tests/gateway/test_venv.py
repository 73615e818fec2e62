"""--venv and PYTHONHOME: what CPython would only notice later, or with "No module named 'encodings'", is one sentence
before it starts."""

import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from settings import BINARY, SANITIZED

SHOW = '''
import json, sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps([sys.prefix, sys.base_prefix, sys.executable, sys.path, sys.getfilesystemencoding()]).encode()]
'''


def embedded_python():
    """The interpreter the program was built for."""
    explained = subprocess.run([BINARY, '--explain', 'x:y'], capture_output=True, text=True).stdout
    return re.search(r'^python executable: (.*)$', explained, re.MULTILINE).group(1)


def ask_python(code):
    return subprocess.run([embedded_python(), '-c', code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope='module')
def version():
    """Such as "3.11", as in the names of folders: "3.13t" of a free-threaded one."""
    return ask_python('import sys; print("%d.%d" % sys.version_info[:2] + "t" * ("t" in sys.abiflags))')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('made') / 'venv'
    subprocess.run([embedded_python(), '-m', 'venv', '--without-pip', folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def venv(made, tmp_path):
    """A virtual environment to break, with a module of its own."""
    folder = tmp_path / 'venv'
    shutil.copytree(made, folder, symlinks=True)
    [packages] = folder.glob('lib/python3.*/site-packages')
    (packages / 'only_in_venv.py').write_text('WORD = "from the venv"\n')
    (tmp_path / 'app.py').write_text(SHOW)
    return folder


def edit(path, pattern, text):
    old = path.read_text()
    new = re.sub(pattern, text, old, flags=re.MULTILINE)
    assert new != old
    path.write_text(new)


def refused(run, *args, text, **keywords):
    """Exit 78 and one line, and never Python's own cry."""
    finished = run('--check', *args, 'app.py', **keywords)
    assert finished.code == 78, finished
    assert finished.stderr.count('\n') == 1 and 'encodings\'' not in finished.stderr, finished
    assert text in finished.stderr, finished
    assert ' --venv ' not in finished.stderr or ' --venv: ' in finished.stderr, finished


def test_python_is_the_venvs(transport, venv, tmp_path):
    """P19: prefix, executable, site-packages: as VENV/bin/python would have them; the standard library is the base's."""
    [packages] = venv.glob('lib/python3.*/site-packages')
    response = transport.serve('import only_in_venv\nassert only_in_venv.WORD == "from the venv"\n' + SHOW,
                               '--venv', str(venv)).request()
    prefix, base, executable, path, encoding = json.loads(response.body)
    assert (prefix, executable, encoding) == (str(venv), str(venv / 'bin/python'), 'utf-8')
    assert base == ask_python('import sys; print(sys.base_prefix)') and str(packages) in path


def test_relative_venv_is_meant_before_chdir(cgi, venv, tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    server = cgi.serve(str(tmp_path / 'app.py'), '--venv', './venv/', '--chdir', 'elsewhere', cwd=tmp_path)
    assert json.loads(server.request().body)[0] == str(venv)


def test_link_to_a_venv(cgi, venv, tmp_path):
    (tmp_path / 'link').symlink_to('venv')
    server = cgi.serve(str(tmp_path / 'app.py'), '--venv', str(tmp_path / 'link'))
    assert json.loads(server.request().body)[0] == str(tmp_path / 'link')


def test_without_a_venv(cgi, venv, tmp_path):
    prefix, base, executable, *_ = json.loads(cgi.serve(str(tmp_path / 'app.py')).request().body)
    assert prefix == base and executable == embedded_python()


# --- wrong ones -------------------------------------------------------------------------------------------------------

def test_missing(run, venv, tmp_path):
    refused(run, '--venv', 'nowhere/venv', text=f'{tmp_path}/nowhere does not exist: create it with python')
    (tmp_path / 'link').symlink_to('gone')
    refused(run, '--venv', 'link', text=f'{tmp_path}/gone does not exist, though the symbolic link {tmp_path}/link')


def test_not_a_folder(run, venv, tmp_path):
    refused(run, '--venv', 'app.py', text='not a directory')
    refused(run, '--venv', 'app.py/venv', text=f'{tmp_path}/app.py is not a directory')


def test_no_venv(run, venv, tmp_path):
    (tmp_path / 'plain').mkdir()
    refused(run, '--venv', 'plain', text='not a virtual environment: it has no pyvenv.cfg: name the folder that python')
    refused(run, '--venv', 'venv/bin', text='it has no pyvenv.cfg: name the folder above it')


@pytest.mark.parametrize('line', ['version = 3.8.2', 'version_info = 3.8.2.final.0', 'VERSION=3.8', 'version_info = 3.8.20',
                                  'version = 4.0.0'])
def test_other_version(run, venv, version, line):
    """As venv, virtualenv and uv write it."""
    edit(venv / 'pyvenv.cfg', '^version = .*$', line)
    is_for = re.search(r'\d\.\d+', line).group()
    refused(run, '--venv', 'venv', text=f'--venv: {venv}: it is for Python {is_for}, this wsgi-cgi has Python {version}: '
            f'create it again with python{version} -m venv --clear {venv}')


@pytest.mark.parametrize('line', ['version_info = {v}.99.final.0', 'version_info = {v}', 'home2 = x', 'version = odd'])
def test_versions_that_fit_or_say_nothing(run, venv, version, line):
    edit(venv / 'pyvenv.cfg', '^version = .*$', line.format(v=version))
    assert run('--check', '--venv', 'venv', 'app.py').code == 0


def test_folders_of_another_version(run, venv, version):
    """No version in pyvenv.cfg, but the folders tell."""
    edit(venv / 'pyvenv.cfg', '^version = .*$', '')
    (venv / 'lib' / f'python{version}').rename(venv / 'lib' / 'python3.8')
    refused(run, '--venv', 'venv', text=f'has no lib/python{version}/site-packages, only lib/python3.8/site-packages')


def test_free_threaded_or_not(run, venv, version):
    """A free-threaded Python has the same version in pyvenv.cfg, and folders of its own."""
    other = version[:-1] if version.endswith('t') else version + 't'
    (venv / 'lib' / f'python{version}').rename(venv / 'lib' / f'python{other}')
    refused(run, '--venv', 'venv', text=f'has no lib/python{version}/site-packages, only lib/python{other}/site-packages')


def test_parts_missing(run, venv, version):
    shutil.rmtree(venv / 'lib' / f'python{version}' / 'site-packages')
    refused(run, '--venv', 'venv', text=f'/lib/python{version}/site-packages does not exist')


def test_interpreter_gone(run, venv, tmp_path):
    """The python it was made with has been removed: bin/python leads nowhere."""
    for name in os.listdir(venv / 'bin'):
        if name.startswith('python'):
            (venv / 'bin' / name).unlink()
    refused(run, '--venv', 'venv', text='venv/bin/python does not exist: create it again with python')
    (venv / 'bin' / 'python').symlink_to(tmp_path / 'gone' / 'python3')
    refused(run, '--venv', 'venv', text=f'{tmp_path}/gone does not exist, though the symbolic link')


# --- another base installation ----------------------------------------------------------------------------------------

def fake_home(tmp_path, version, with_library):
    """An installation of the same version elsewhere: its bin/ and, as a link, its library."""
    home = tmp_path / 'other'
    (home / 'bin').mkdir(parents=True)
    (home / 'lib').mkdir()
    shutil.copy(embedded_python(), home / 'bin' / 'python3')
    if with_library:
        library = ask_python('import os; print(os.path.dirname(os.__file__))')
        (home / 'lib' / f'python{version}').symlink_to(library)
    return home


@pytest.mark.parametrize('with_library', [True, False])
def test_venv_of_another_build(run, venv, tmp_path, version, with_library):
    """Works, with a warning: C extensions may not fit. Without a library there, Python takes the one it knows."""
    home = fake_home(tmp_path, version, with_library)
    edit(venv / 'pyvenv.cfg', '^home = .*$', f'home = {home}/bin')
    finished = run('--check', '--venv', 'venv', 'app.py')
    assert finished.code == 0, finished
    assert f'warning: --venv: {venv}: it was created by the Python in {home}/bin' in finished.stderr


def test_same_build_by_another_name(run, venv, tmp_path):
    """A link such as /usr/local/bin/python3 -> /usr/bin/python3 is the same Python: no warning."""
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'python3').symlink_to(embedded_python())
    edit(venv / 'pyvenv.cfg', '^home = .*$', f'home = {tmp_path}/bin')
    finished = run('--check', '--venv', 'venv', 'app.py')
    assert finished.code == 0 and 'warning' not in finished.stderr, finished


def test_pythonhome(run, venv, tmp_path):
    """A wrong one is refused, a right one is worth a warning."""
    for wrong in (tmp_path, tmp_path / 'nowhere', venv):
        refused(run, text=f'PYTHONHOME={wrong} is not a home of Python', env={'PYTHONHOME': str(wrong)})
    prefix = ask_python('import sys; print(sys.base_prefix)')
    finished = run('--check', 'app.py', env={'PYTHONHOME': prefix})
    assert finished.code == 0 and f'warning: PYTHONHOME={prefix} is set' in finished.stderr


# --- as another user ------------------------------------------------------------------------------------------------

NOBODY = {'user': 65534, 'group': 65534, 'extra_groups': []}


@pytest.fixture
def public(run):
    """A folder every user can enter, with a virtual environment below it; pytest's own are closed."""
    if os.geteuid() != 0:
        pytest.skip('only root can become another user')
    if 'may not enter' in run('--check', 'json:loads', cwd='/', **NOBODY).stderr:
        pytest.skip('this Python lies where another user may not go')
    folder = Path(tempfile.mkdtemp(prefix='wc-venv-'))
    folder.chmod(0o755)
    (folder / 'srv').mkdir()
    subprocess.run([embedded_python(), '-m', 'venv', '--without-pip', folder / 'srv' / 'venv'], check=True,
                   capture_output=True)
    (folder / 'app.py').write_text(SHOW)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize('closed, mode, verb', [
    ('srv', 0o700, 'enter'), ('srv/venv', 0o700, 'enter'), ('srv/venv/pyvenv.cfg', 0o600, 'read'),
    ('srv/venv/lib', 0o700, 'enter'), ('srv/venv/lib/python{v}', 0o700, 'enter'),
    ('srv/venv/lib/python{v}/site-packages', 0o711, 'read'), ('srv/venv/bin', 0o700, 'enter'),
])
def test_unreadable(run, public, version, closed, mode, verb):
    """The line names the folder or file that is closed, and for whom."""
    part = public / closed.format(v=version)
    part.chmod(mode)
    refused(run, '--venv', str(public / 'srv' / 'venv'), text=f'(uid 65534) may not {verb} {part}\n', cwd=public,
            **NOBODY)


def test_readable_for_another_user(run, public):
    finished = run('--check', '--venv', 'srv/venv', 'app.py', cwd=public, **NOBODY)
    assert finished.code == 0, finished


def test_base_in_a_closed_home(run, public, version):
    """Made with a Python in somebody's home folder: bin/python leads where this user may not go."""
    home = public / 'home'
    shutil.copytree(fake_home(public, version, True), home, symlinks=True)
    link = public / 'srv' / 'venv' / 'bin' / 'python'
    link.unlink()
    link.symlink_to(home / 'bin' / 'python3')
    home.chmod(0o700)
    refused(run, '--venv', 'srv/venv', text=f'(uid 65534) may not enter {home}\n', cwd=public, **NOBODY)


# --- the packages of a user ---------------------------------------------------------------------------------------

USER = '''
import json, site, sys
try:
    from only_of_user import WORD
except ImportError:
    WORD = 'not there'
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps([WORD, site.ENABLE_USER_SITE, sys.flags.no_user_site, sys.path]).encode()]
'''


@pytest.fixture
def home(tmp_path):
    """A home with a package of `pip install --user`, and the folder it is in."""
    site = ask_python('import site; print(site.getusersitepackages())')
    packages = tmp_path / 'home/.local' / Path(site).relative_to(ask_python('import site; print(site.getuserbase())'))
    packages.mkdir(parents=True)
    (packages / 'only_of_user.py').write_text('WORD = "of the user"\n')
    (tmp_path / 'app.py').write_text(USER)
    return packages


def of_user(home):
    return {'HOME': str(home).partition('/.local/')[0]}


def test_user_site(transport, home, tmp_path):
    """--user-site: as in python3, the folder stands in front of the system's packages, and its .pth files are read."""
    (tmp_path / 'work').mkdir()
    (home / 'work.pth').write_text(str(tmp_path / 'work'))
    word, enabled, forbidden, path = json.loads(
        transport.serve(str(tmp_path / 'app.py'), '--user-site', env=of_user(home)).request().body)
    assert (word, enabled, forbidden) == ('of the user', True, 0)
    assert path[0] == str(tmp_path) and str(tmp_path / 'work') in path
    others = [i for i, entry in enumerate(path) if entry.endswith(('/dist-packages', '/site-packages'))
              and entry != str(home)]
    assert all(path.index(str(home)) < i for i in others)


def test_user_site_is_off_by_default(transport, home, tmp_path):
    word, enabled, forbidden, path = json.loads(
        transport.serve(str(tmp_path / 'app.py'), env=of_user(home)).request().body)
    assert (word, enabled, forbidden) == ('not there', False, 1)
    assert str(home) not in path


def test_user_site_elsewhere(cgi, home, tmp_path):
    """PYTHONUSERBASE counts more than HOME."""
    (home.parents[3] / '.local').rename(tmp_path / 'base')
    server = cgi.serve(str(tmp_path / 'app.py'), '--user-site',
                       env={'HOME': '/nowhere', 'PYTHONUSERBASE': str(tmp_path / 'base')})
    assert json.loads(server.request().body)[0] == 'of the user'


def test_user_site_without_home(run, home, tmp_path):
    """Where HOME is not set, as under many web servers, it is what the user database says."""
    there = Path(pwd.getpwuid(os.getuid()).pw_dir, home.relative_to(tmp_path / 'home'))
    finished = run('--check', '--user-site', 'app.py', env={'HOME': None})
    assert finished.code == (0 if there.is_dir() else 78)
    assert there.is_dir() or f'--user-site: {there}: ' in finished.stderr


def test_user_site_that_is_not_there(run, home, tmp_path):
    refused(run, '--user-site', env={'HOME': '/nowhere'}, text='/nowhere does not exist')
    refused(run, '--user-site', env={'HOME': 'home'}, text='--user-site: HOME is "home", not an absolute path')
    refused(run, '--user-site', env={'PYTHONUSERBASE': 'base'}, text='PYTHONUSERBASE is "base", not an absolute path')
    refused(run, '--user-site', env={**of_user(home), 'PYTHONNOUSERSITE': '1'}, text='PYTHONNOUSERSITE forbids it')


def test_user_site_of_another(run, home, tmp_path):
    """HOME left over from sudo: another user would say what this process runs."""
    if os.getuid() != 0:
        pytest.skip('only root can give a folder away')
    os.chown(home, 12345, 12345)
    refused(run, '--user-site', env=of_user(home), text=f'{home} belongs to uid 12345, but this process runs as uid 0')


def test_user_site_with_rights_of_another(run, home, tmp_path):
    """Python's own rule: set-user-ID programs take no packages of a user."""
    if os.getuid() != 0:
        pytest.skip('only root can make a program that runs as another user')
    if SANITIZED:
        pytest.skip('sanitizers cannot write their reports as that user')
    program = Path(shutil.copy(BINARY, tmp_path / 'wsgi-cgi'))
    os.chown(program, 65534, -1)
    program.chmod(0o4755)
    finished = subprocess.run([program, '--check', '--user-site', 'json:loads'], cwd='/', capture_output=True, text=True)
    assert finished.returncode == 78, finished
    assert finished.stderr.count('\n') == 1 and '--user-site: this process has the rights of another user' in finished.stderr


def test_user_site_and_venv(cgi, run, home, venv, tmp_path):
    """A virtual environment has to be open to the packages outside of it."""
    (tmp_path / 'app.py').write_text(USER)
    refused(run, '--venv', 'venv', '--user-site', env=of_user(home), text='include-system-site-packages = true: add that line, or')
    edit(venv / 'pyvenv.cfg', 'include-system-site-packages = false', 'include-system-site-packages = true')
    server = cgi.serve(str(tmp_path / 'app.py'), '--venv', str(venv), '--user-site', env=of_user(home))
    assert json.loads(server.request().body)[:2] == ['of the user', True]
