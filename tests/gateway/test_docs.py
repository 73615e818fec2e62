"""What the program says about itself and what the manual says: the same options. C11."""

import re
import shutil
import subprocess

import pytest

from settings import ROOT

MANUAL = ROOT / 'man/wsgi-cgi.1'
SERVERS = ROOT / 'man/wsgi-cgi-servers.7'
PAGES = sorted((ROOT / 'man').iterdir())


def plain(path):
    """A manual page's text without roff escapes."""
    text = path.read_text()
    return text.replace('\\-', '-').replace('\\(hy', '-').replace('\\&', '').replace('\\fB', '').replace('\\fR', '')


def words_of(text):
    """The words of an argument, however it is marked up: "[USER][:GROUP]" and "Oo Ar user Oc Ns Op : Ns Ar group"."""
    return re.findall(r'[a-z0-9]+', re.sub(r'\b(?:Ar|Cm|Fl|Ns|O[opc]|Pa)\b', ' ', text).lower())


def options_of_help(text):
    """name -> (letter, words of the argument, default) of each entry of --help."""
    options = {}
    for entry in re.split(r'\n(?=  (?:-\w,|   ) --)', text)[1:]:
        entry = entry.partition('\n\n')[0]
        letter, name, argument, about = re.fullmatch(
            r'  (?:-(\w),|   ) --([a-z-]+)(?: (\S+(?: [A-Z]+)*))?\s+(\S.*)', entry, re.DOTALL).groups()
        default = re.search(r'\[(\w+)\]$', about)
        options[name] = letter, words_of(argument or ''), default and default[1]
    return options


def options_of_manual(text):
    """The same of each .It Fl of the manual; the default from "The default is 1m."."""
    options = {}
    for entry in re.findall(r'^\.It Fl ((?:(?! Ta )[^\n])+)\n(.*?)(?=^\.(?:It|El)\b)', text, re.MULTILINE | re.DOTALL):
        letter, name, argument = re.fullmatch(r'(?:(\w) , Fl )?-([a-z-]+)(?: (.+))?', entry[0]).groups()
        about = re.sub(r'^\.\w\w |(?<=\s)[.,](?=\s)', '', entry[1], flags=re.MULTILINE)
        default = re.search(r'The default(?: is|,)\s+(\w+)', about)
        assert name not in options, f'--{name} is there twice'
        options[name] = letter, words_of(argument or ''), default and default[1]
    return options


def test_every_option_is_in_the_manual(run):
    """Table, --help and wsgi-cgi(1) agree: names, letters, arguments and defaults. (--help is made from the table.)"""
    helped = options_of_help(run('--help').stdout.decode())
    documented = options_of_manual(MANUAL.read_text())
    assert len(helped) > 20, 'no options in --help'
    assert helped.keys() - documented.keys() == set(), 'not in the manual'
    assert documented.keys() - helped.keys() == set(), 'in the manual only'
    for name, option in helped.items():
        assert documented[name] == option, f'--{name}'


def test_every_option_in_help_is_taken(run):
    """What --help lists is what the parser knows, and the other way round it names each in its errors."""
    for name, (letter, argument, _) in options_of_help(run('--help').stdout.decode()).items():
        for spelling in [f'--{name}'] + ([f'-{letter}'] if letter else []):
            finished = run(spelling)
            if argument:
                assert finished.code == 64 and f'--{name}: missing value' in finished.stderr, finished
            else:
                assert 'unknown option' not in finished.stderr, finished


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_manual_pages_are_well_formed(page):
    """mandoc finds nothing to warn of, and the page names all others."""
    for other in set(PAGES) - {page}:
        assert re.search(rf'^\.Xr {other.stem} {other.suffix[1:]}(?: ,)?$', page.read_text(), re.M), other.name
    if not shutil.which('mandoc'):
        pytest.skip('mandoc is not installed')
    finished = subprocess.run(['mandoc', '-Tlint', '-Wwarning', page], capture_output=True, text=True)
    assert (finished.stdout, finished.returncode) == ('', 0)


# What a terminal shows of a page: groff is what man(1) of Debian runs, with a right margin of its own.
RENDERERS = {'mandoc': ['mandoc', '-Tutf8', '-Owidth=80'],
             'groff': ['groff', '-mandoc', '-Tutf8', '-P-cbou', '-rLL=78n', '-rLT=78n']}


@pytest.mark.parametrize('renderer', RENDERERS)
@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_manual_pages_fit_a_terminal(page, renderer):
    """No line has more than 80 columns: excerpts are not cut off, and no cell of a table is in the wrong place."""
    command = RENDERERS[renderer]
    if not shutil.which(command[0]):
        pytest.skip(f'{command[0]} is not installed')
    shown = subprocess.run([*command, page], capture_output=True, check=True, encoding='utf-8').stdout
    lines = [re.sub('.\b', '', line).expandtabs() for line in shown.splitlines()]
    assert len(lines) > 300, 'the page is not there'
    assert [line for line in lines if len(line) > 80] == []


def test_every_variable_of_ours_is_in_the_manual():
    """W17: the keys that the gateway makes by itself."""
    source = (ROOT / 'src/wsgi/environ.c').read_text() + (ROOT / 'src/gateway/params.c').read_text() + (
        ROOT / 'src/gateway/params_correct.c').read_text()
    keys = set(re.findall(r'"(wsgi(?:_cgi)?\.[a-z_]+)"', source))
    keys |= set(re.findall(r'\bset\(p, "([A-Z_]+)"', source))
    assert {'wsgi.input', 'wsgi_cgi.data', 'PATH_INFO', 'SERVER_NAME'} <= keys, 'the sources are written otherwise now'
    assert {key for key in keys if not re.search(rf'(?<![\w.]){re.escape(key)}(?!\w)', MANUAL.read_text())} == set()


@pytest.mark.parametrize('word', ['CGIPassAuth', 'SetEnvIf Authorization', 'REDIRECT_HTTP_AUTHORIZATION|Authorization'])
def test_authorization_is_documented(word):
    """C11: Apache withholds Authorization unless told otherwise: the manual says how to tell it."""
    assert re.search(word, plain(SERVERS))


@pytest.mark.parametrize('word', ['nph-', 'wsgi_cgi\\.data', 'WSGI_CGI_OPTIONS', 'LISTEN_FDS'])
def test_documented_behaviour(word):
    """C15, F28 and others: what a table row lets us choose is written down."""
    assert re.search(word, plain(MANUAL) + plain(SERVERS))
