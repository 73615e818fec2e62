"""--scripts-in: the script is the request's, php-cgi's way; several applications in one process. P18, X2."""

import os

import pytest

from fcgi import wait_for
from test_threads import SPAWNED, SPAWNING

SHOW = '''
import sys
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return ['\\n'.join(({word!r}, environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]
'''


@pytest.fixture
def site(tmp_path):
    """A folder of scripts: one.py, two.wsgi, sub/three.py, a b.py."""
    folder = tmp_path / 'www'
    (folder / 'sub').mkdir(parents=True)
    for name in ('one.py', 'two.wsgi', 'sub/three.py', 'a b.py'):
        (folder / name).write_text(SHOW.format(word=name))
    (tmp_path / 'outside.py').write_text(SHOW.format(word='outside'))
    return folder


def ask(server, filename, script_name='', path='', **params):
    return server.request(params={'SCRIPT_FILENAME': filename and str(filename), 'SCRIPT_NAME': script_name,
                                  'PATH_INFO': path, **params})


def answer(server, *args, **params):
    response = ask(server, *args, **params)
    assert response.status == 200, response
    return tuple(response.body.decode().split('\n'))


def refused(server, *args, **params):
    """404, and a log line that says which script was asked for."""
    server.allow_log('ScriptNotFound|no script below')
    response = ask(server, *args, **params)
    assert response.status == 404, response
    return response


def test_no_script_filename_is_told(transport, site):
    """P11: nginx's fastcgi_params has no SCRIPT_FILENAME, fastcgi.conf has it."""
    server = transport.serve_scripts('--scripts-in', str(site))
    refused(server, None, '/one.py')
    server.expect_log(r'the web server sent no SCRIPT_FILENAME \(nginx: fastcgi_param SCRIPT_FILENAME ')


def test_each_request_names_its_script(transport, site):
    server = transport.serve_scripts('--scripts-in', str(site))
    for name in ('one.py', 'two.wsgi', 'sub/three.py', 'one.py', 'a b.py'):
        assert answer(server, site / name, '/' + name) == (name, '/' + name, '')


@pytest.mark.parametrize('prefix', ['proxy:fcgi://localhost', 'proxy:fcgi://127.0.0.1:9000', 'proxy:fcgi://[::1]:9000',
                                    'proxy:balancer://cluster', 'proxy:unix:/run/a.sock|fcgi://localhost'])
def test_prefix_of_a_proxy(fcgi_unix, site, prefix):
    """X2: Apache puts the backend's address in front and leaves the path percent-encoded."""
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    assert answer(server, f'{prefix}{site}/one.py', '/one.py')[0] == 'one.py'
    assert answer(server, f'{prefix}{site}/a%20b.py', '/a b.py')[0] == 'a b.py'
    assert answer(server, f'{prefix}{site}/%6fne.py?x=1', '/one.py')[0] == 'one.py'
    assert answer(server, f'{prefix}/{site}/one.py', '/one.py')[0] == 'one.py'
    refused(server, f'{prefix}{site}/one.py%00.txt', '/one.py')
    # Without the prefix a percent sign is one.
    refused(server, f'{site}/a%20b.py', '/a b.py')


@pytest.mark.parametrize('filename, script, info, expected', [
    # nginx and lighttpd where nothing splits the path, then what better ones send, then a rewritten URL.
    ('one.py', '/one.py', None, ('/one.py', '')), ('one.py/x/y', '/one.py/x/y', None, ('/one.py', '/x/y')),
    ('one.py/x/y', '/one.py/x/y', '', ('/one.py', '/x/y')), ('one.py/x', '/one.py/x', '/x', ('/one.py', '/x')),
    ('one.py', '/one.py', '/x', ('/one.py', '/x')), ('one.py/x', '/one.py', '/x', ('/one.py', '/x')),
    ('one.py/', '/one.py/', None, ('/one.py', '/')), ('one.py//x/', '/one.py//x/', None, ('/one.py', '//x/')),
    ('one.py/x/', '/one.py/x/', '', ('/one.py', '/x/')), ('one.py', '/one.py/', 'x', ('/one.py', '/x')),
    ('one.py/' + 'x' * 300, '/one.py/' + 'x' * 300, None, ('/one.py', '/' + 'x' * 300)),
    ('sub/three.py/x', '/sub/three.py/x', None,
                                                      ('/sub/three.py', '/x')),
    ('one.py', '', '/one.py', ('/one.py', '')), ('one.py', '/pretty', '/x', ('/pretty', '/x')),
    ('one.py', '', '/pretty', ('', '/pretty')),
])
def test_path_is_divided_behind_the_script(transport, site, filename, script, info, expected):
    """SCRIPT_NAME ends with the script, the rest is PATH_INFO; a path that does not hold the script's name stays."""
    server = transport.serve_scripts('--scripts-in', str(site))
    assert answer(server, f'{site}/{filename}', script, info)[1:] == expected


def test_only_scripts(transport, site):
    """What somebody uploaded does not run: not where the server takes x.py.jpg for a script, nor where a client adds
    "/x.py" to the URL; a script without an extension is executable."""
    uploads = ('photo.jpg', 'x.py.jpg', 'x.pyc', 'py')
    for name in (*uploads, 'plain'):
        (site / name).write_text(SHOW.format(word=name))
    (site / 'plain').chmod(0o755)
    server = transport.serve_scripts('--scripts-in', str(site))
    for name in uploads:
        for rest in ('', '/x.py', '/', '/one.py'):
            refused(server, f'{site}/{name}{rest}', f'/{name}{rest}')
            if rest != '/':
                refused(server, None, f'/{name}{rest}', PATH_TRANSLATED=f'{site}/{name}{rest}')
    server.expect_log(r"SCRIPT_FILENAME is '.*/x\.py\.jpg', a file that is not named \.py, .* nor executable\)")
    for rest in ('', '/x.py'):
        assert answer(server, f'{site}/plain{rest}', f'/plain{rest}') == ('plain', '/plain', rest)


def test_links_to_scripts(fcgi_unix, site):
    """The name of the link or that of the file: both are the administrator's."""
    for name in ('release', 'shop.cgi'):
        (site / name).write_text(SHOW.format(word=name))
    (site / 'shop.wsgi').symlink_to('release')
    (site / 'shop').symlink_to('shop.cgi')
    (site / 'photo.jpg').symlink_to('release')
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    assert answer(server, f'{site}/shop.wsgi/x', '/shop.wsgi', '/x') == ('release', '/shop.wsgi', '/x')
    assert answer(server, f'{site}/shop/x', '/shop', '/x') == ('shop.cgi', '/shop', '/x')
    refused(server, f'{site}/photo.jpg', '/photo.jpg')


def test_mount_has_the_last_word(fcgi_unix, site):
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site), '--mount', '/shop')
    assert answer(server, site / 'one.py', '/shop/one.py', '/x')[1:] == ('/shop', '/one.py/x')


def test_path_translated(transport, site):
    """Where SCRIPT_FILENAME names the gateway itself (Apache's Action) or nothing, PATH_TRANSLATED is the script."""
    server = transport.serve_scripts('--scripts-in', str(site))
    for filename in ('/usr/lib/cgi-bin/wsgi-cgi', '', None):
        assert answer(server, filename, '/one.py', PATH_TRANSLATED=str(site / 'one.py'))[0] == 'one.py'
    assert answer(server, site / 'two.wsgi', '/two.wsgi', PATH_TRANSLATED=str(site / 'one.py'))[0] == 'two.wsgi'


@pytest.mark.parametrize('info, expected', [
    ('/one.py', ('/one.py', '')), ('/one.py/x/y', ('/one.py', '/x/y')), ('/sub/three.py/x', ('/sub/three.py', '/x')),
    ('/a b.py/c%2Fd', ('/a b.py', '/c%2Fd'))])
def test_url_of_an_action(transport, site, info, expected):
    """Apache's Action: SCRIPT_NAME is where wsgi-cgi itself lives, PATH_INFO the whole URL. The application's URL is what
    the client asked for. Without the redirect it was that of wsgi-cgi."""
    server = transport.serve_scripts('--scripts-in', str(site))
    params = {'PATH_TRANSLATED': f'{site}{info}'}
    assert answer(server, '/usr/lib/cgi-bin/wsgi-cgi', '/run', info, REDIRECT_URL=info, **params)[1:] == expected
    assert answer(server, '/usr/lib/cgi-bin/wsgi-cgi', '/run', info, **params)[1:] == ('/run', info)
    # A rewritten URL: the script is found by its own name, and nothing is divided anew.
    assert answer(server, site / 'one.py', '/one.py', '/x', REDIRECT_URL='/x')[1:] == ('/one.py', '/x')


@pytest.mark.parametrize('filename', [
    '{out}/outside.py', '{site}/../outside.py', '{site}/sub/../../outside.py', '{site}/link.py', '{site}/out/outside.py',
    '{site}', '{site}/sub', '{site}/sub/', '{site}/none.py', '{site}2/evil.py', '{site}/pipe.py', 'one.py', '', None,
    '/', '/dev/null', '{site}/loop.py', '{site}/' + 'x' * 300, '/' + 'y/' * 3000, '{site}/sub/none.py/../../one.py',
])
def test_nothing_but_files_below_the_folder(fcgi_unix, site, tmp_path, filename):
    """404 for whatever is outside, also by links and "..", and for what is no regular file."""
    (site / 'link.py').symlink_to('../outside.py')
    (site / 'out').symlink_to('..')
    (site / 'loop.py').symlink_to('loop.py')
    os.mkfifo(site / 'pipe.py')
    (tmp_path / 'www2').mkdir()
    (tmp_path / 'www2' / 'evil.py').write_text(SHOW.format(word='evil'))
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    refused(server, filename and filename.format(site=site, out=tmp_path), '/x')
    assert answer(server, site / 'one.py', '/one.py')[0] == 'one.py'


def test_links_inside_and_a_link_as_the_folder(fcgi_unix, site, tmp_path):
    """A deployment moves the link --scripts-in names: the next request is the new place's."""
    (site / 'inside.py').symlink_to('one.py')
    other = tmp_path / 'release-2'
    other.mkdir()
    (other / 'one.py').write_text(SHOW.format(word='second'))
    current = tmp_path / 'current'
    current.symlink_to('www')
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(current))
    assert answer(server, current / 'inside.py', '/inside.py') == ('one.py', '/inside.py', '')
    current.unlink()
    current.symlink_to('release-2')
    assert answer(server, current / 'one.py', '/one.py')[0] == 'second'


def test_changed_script_is_loaded_anew(fcgi_unix, site):
    """As people know it from CGI and PHP, with nothing of the old module in the new one; a deleted one is gone."""
    (site / 'one.py').write_text('OLD = 1\n' + SHOW.format(word='one.py'))
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    assert answer(server, site / 'one.py', '/one.py')[0] == 'one.py'
    (site / 'one.py').write_text("assert 'OLD' not in globals()\n" + SHOW.format(word='changed'))
    assert answer(server, site / 'one.py', '/one.py')[0] == 'changed'
    os.remove(site / 'one.py')
    refused(server, site / 'one.py', '/one.py')
    assert answer(server, site / 'two.wsgi', '/two.wsgi')[0] == 'two.wsgi'


def test_scripts_do_not_share_a_module(fcgi_unix, site):
    """P18: two index.py, each with its own globals and its own folder's name."""
    source = '''
COUNT = [0]
def application(environ, start_response):
    COUNT[0] += 1
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [f'{__name__} {COUNT[0]}'.encode()]
'''
    (site / 'index.py').write_text(source)
    (site / 'sub' / 'index.py').write_text(source)
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    bodies = [ask(server, site / name, '/' + name).body.split() for name in ('index.py', 'sub/index.py') * 2]
    assert [int(count) for _, count in bodies] == [1, 1, 2, 2]
    assert bodies[0][0] == bodies[2][0] != bodies[1][0] == bodies[3][0]


def test_spawned_children_find_their_script(fcgi_unix, site):
    """F33: a child that multiprocessing starts with an interpreter of its own finds each of several scripts."""
    for name in 'my-site.wsgi', 'other.wsgi':
        (site / name).write_text(SPAWNING.replace("'grandchild'", repr(name)))
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    for name in 'my-site.wsgi', 'other.wsgi', 'my-site.wsgi':
        response = server.request(query='spawn', params={'SCRIPT_FILENAME': str(site / name)}, timeout=20)
        assert response.text == SPAWNED.replace('grandchild', name)


def test_broken_script_leaves_the_others_alone(fcgi_unix, site):
    """One that ends itself at import is a 500; it is loaded when it has been mended."""
    (site / 'bad.py').write_text('raise SystemExit(1)\n')
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    server.expect_log('the application raised LoadError')
    server.allow_log('LoadError|SystemExit|exited while')
    for _ in range(2):
        assert ask(server, site / 'bad.py', '/bad.py').status == 500
        assert answer(server, site / 'one.py', '/one.py')[0] == 'one.py'
    (site / 'bad.py').write_text(SHOW.format(word='mended'))
    assert answer(server, site / 'bad.py', '/bad.py')[0] == 'mended'


def test_callable_is_for_all_scripts(fcgi_unix, site):
    (site / 'one.py').write_text(SHOW.format(word='named').replace('application', 'start'))
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site), '--callable', 'start')
    assert answer(server, site / 'one.py', '/one.py')[0] == 'named'


def test_slow_script_does_not_hold_up_others(fcgi_unix, site, tmp_path):
    """While one thread imports, another one imports and serves; a second request for the slow one waits for the first."""
    gate, notes = tmp_path / 'gate', tmp_path / 'notes'
    (site / 'slow.py').write_text(f'''
import os, time
with open({str(notes)!r}, 'a') as f:
    f.write('loaded ')
while not os.path.exists({str(gate)!r}):
    time.sleep(0.005)
''' + SHOW.format(word='slow'))
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site), '--threads', '3')
    params = {'SCRIPT_FILENAME': str(site / 'slow.py'), 'SCRIPT_NAME': '/slow.py', 'PATH_INFO': ''}
    pending = [server.start(params=params) for _ in range(2)]
    for request in pending:
        request.finish_body()
    wait_for(notes.exists, 5, 'the import')
    assert answer(server, site / 'one.py', '/one.py')[0] == 'one.py'
    assert all(request.silent(0.05) for request in pending)
    gate.write_text('')
    assert [request.response().body[:4] for request in pending] == [b'slow'] * 2
    assert notes.read_text() == 'loaded '


def test_own_folder_comes_first(fcgi_unix, site):
    """P18: each script finds the modules beside it."""
    (site / 'sub' / 'beside.py').write_text('WORD = "beside"\n')
    (site / 'sub' / 'three.py').write_text('import beside\n' + SHOW.format(word='x').replace("'x'", 'beside.WORD'))
    server = fcgi_unix.__self__.serve_scripts('--scripts-in', str(site))
    assert answer(server, site / 'one.py', '/one.py')[0] == 'one.py'
    assert answer(server, site / 'sub' / 'three.py', '/sub/three.py')[0] == 'beside'
