"""What the program says about itself and what the manual says: the same options. C11."""

import re

import pytest

from settings import ROOT

MANUAL = ROOT / 'man/wsgi-cgi.1'
SERVERS = ROOT / 'man/wsgi-cgi-servers.7'


def plain(path):
    """A manual page's text without roff escapes."""
    text = path.read_text()
    return text.replace('\\-', '-').replace('\\(hy', '-').replace('\\&', '').replace('\\fB', '').replace('\\fR', '')


def test_every_option_is_in_the_manual(run):
    """The options of --help and those of wsgi-cgi(1) are the same set."""
    helped = set(re.findall(r'(?<![\w-])--([a-z][a-z-]+)', run('--help').stdout.decode()))
    documented = set()
    for line in plain(MANUAL).splitlines():
        match = re.match(r'\.(?:It|TP|B|BI|BR|IP|OP)\b(.*)', line)
        if match:
            # mdoc writes "Fl -threads"; man writes "--threads".
            documented |= set(re.findall(r'(?:Fl -|--)([a-z][a-z-]+)', match[1]))
    assert helped, 'no option in --help'
    assert helped - documented == set(), 'not in the manual'
    assert documented - helped == set(), 'in the manual only'


@pytest.mark.parametrize('word', ['CGIPassAuth', 'REDIRECT_HTTP_AUTHORIZATION|Authorization'])
def test_authorization_is_documented(word):
    """C11: Apache withholds Authorization unless told otherwise: the manual says how to tell it."""
    assert re.search(word, plain(SERVERS))


@pytest.mark.parametrize('word', ['nph-', 'wsgi_cgi\\.data', 'WSGI_CGI_OPTIONS', 'LISTEN_FDS'])
def test_documented_behaviour(word):
    """C15, F28 and others: what a table row lets us choose is written down."""
    assert re.search(word, plain(MANUAL) + plain(SERVERS))
