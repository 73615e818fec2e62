"""--x-sendfile: what leaves the program instead of the file. Behind real servers: tests/servers/test_x_sendfile.py."""

import os

import pytest

# The query is Python: what start_response gets, and how the file is opened.
FILES = '''
import os
def application(environ, start_response):
    query = environ['QUERY_STRING']
    path = os.path.join(os.fsencode(os.environ['FILES']), environ['PATH_INFO'].lstrip('/').encode('latin-1'))
    file = open(path, 'rb')
    status, headers = '200 OK', [('Content-Type', 'application/x-test'), ('X-Kept', 'yes')]
    if query == 'length':
        headers += [('Content-Length', str(os.fstat(file.fileno()).st_size)), ('X-Last', '1')]
    elif query == 'short':
        headers += [('Content-Length', '4')]
    elif query == 'own':
        headers += [('x-sendfile', '/of/its/own')]
    elif query == 'range':
        headers += [('Content-Range', 'bytes 0-9/10')]
    elif query == 'encoding':
        headers += [('Content-Encoding', 'gzip')]
    elif query == 'status':
        status = '206 Partial Content'
    elif query == 'seeked':
        file.seek(3)
    elif query == 'gone':
        os.unlink(path)
    elif query == 'replaced':
        os.rename(path + b'.new', path)
    start_response(status, headers)
    if query == 'generator':
        return (block for block in environ['wsgi.file_wrapper'](file))
    return environ['wsgi.file_wrapper'](file)
'''


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / 'files'
    (folder / 'sub').mkdir(parents=True)
    (folder / 'f.bin').write_bytes(b'0123456789')
    return folder


def serve(transport, files, *options):
    words = [word for option in options for word in ('--x-sendfile', option)]
    return transport.serve(FILES, *words, env={'FILES': str(files)})


def sent_here(response, body=b'0123456789', status=200):
    assert (response.status, response.body) == (status, body)
    return response.header('X-Sendfile') is None and response.header('X-Accel-Redirect') is None


@pytest.mark.parametrize('query', ['', 'length'])
def test_header_instead_of_the_file(query, transport, files):
    """No body and no Content-Length, all other headers as they were."""
    response = serve(transport, files, f'X-Sendfile:{files}').request(path='/f.bin', query=query)
    assert (response.status, response.body, response.complete) == (200, b'', True)
    assert response.header('X-Sendfile') == f'{files}/f.bin'
    assert response.header('Content-Length') is None
    assert response.header('Content-Type') == 'application/x-test' and response.header('X-Kept') == 'yes'
    assert response.header('X-Last') == ('1' if query else None)


def test_url_for_a_folder(transport, files, tmp_path):
    """The first folder that fits; its URL and the rest of the path, encoded."""
    (files / 'sub' / 'a b%20ü?#.bin').write_bytes(b'x')
    (tmp_path / 'other').mkdir()
    server = serve(transport, files, f'X-Accel-Redirect:/elsewhere/={tmp_path}/other',
                   f'X-Accel-Redirect:/pro tected={files}/', f'x-accel-redirect:/never={files}/sub')
    response = server.request(path=b'/sub/a b%20\xc3\xbc?#.bin')
    assert response.header('X-Accel-Redirect') == '/pro%20tected/sub/a%20b%2520%C3%BC%3F%23.bin'


def test_apache_takes_names_as_they_are(transport, files):
    """mod_xsendfile does not decode; a name that a later version would decode is sent from here."""
    server = serve(transport, files, f'X-Sendfile:{files}')
    for name, literal in [(b'a b\xc3\xbc.bin', True), (b'50%20.bin', False), (b'blank ', False)]:
        with open(os.fsencode(files) + b'/' + name, 'wb') as file:
            file.write(b'0123456789')
        response = server.request(path=b'/' + name, params={'SERVER_SOFTWARE': 'Apache/2.4.71 (Debian)'})
        if literal:
            assert response.header('X-Sendfile') == f'{files}/'.encode().decode('latin-1') + name.decode('latin-1')
        else:
            assert sent_here(response), name


def test_without_a_folder_every_file(transport, files):
    response = serve(transport, files, 'X-Sendfile').request(path='/f.bin')
    assert response.header('X-Sendfile') == os.path.realpath(files / 'f.bin')


def test_a_folder_as_it_is_written(transport, files, tmp_path):
    """The server's own list of folders has the link, an open file only what it leads to."""
    (tmp_path / 'link').symlink_to(files)
    response = serve(transport, tmp_path / 'link', f'X-Sendfile:{tmp_path}/link/').request(path='/f.bin')
    assert response.header('X-Sendfile') == f'{tmp_path}/link/f.bin'


@pytest.mark.parametrize('query, body, status', [
    ('own', b'0123456789', 200), ('range', b'0123456789', 200), ('encoding', b'0123456789', 200),
    ('status', b'0123456789', 206), ('seeked', b'3456789', 200), ('generator', b'0123456789', 200),
    ('gone', b'0123456789', 200), ('replaced', b'0123456789', 200), ('short', b'0123', 200)])
def test_what_is_no_whole_plain_file_is_sent_from_here(query, body, status, transport, files):
    """Nothing that the server would send otherwise than the application means it."""
    (files / 'f.bin.new').write_bytes(b'something else')
    response = serve(transport, files, f'X-Sendfile:{files}').request(path='/f.bin', query=query)
    if query == 'own':
        assert response.header('X-Sendfile') == '/of/its/own' and response.body == body
    else:
        assert sent_here(response, body, status)


@pytest.mark.parametrize('method', ['HEAD', 'POST'])
def test_get_only(method, transport, files):
    response = serve(transport, files, f'X-Sendfile:{files}').request(method, '/f.bin')
    assert sent_here(response, b'' if method == 'HEAD' else b'0123456789')


def test_outside_of_the_folder(transport, files, tmp_path):
    """Links out of it, and a folder whose name begins alike."""
    (tmp_path / 'files2').mkdir()
    (tmp_path / 'files2' / 'g.bin').write_bytes(b'0123456789')
    (files / 'link.bin').symlink_to(tmp_path / 'files2' / 'g.bin')
    server = serve(transport, files, f'X-Sendfile:{files}')
    assert sent_here(server.request(path='/link.bin'))
    assert sent_here(server.request(path='/../files2/g.bin'))


@pytest.mark.parametrize('name', [b'a\nX-Evil: 1', b'a\rb', b'tab\t', b'\x7f', b'latin\xfc'])
def test_names_that_no_header_can_say(name, fcgi_unix, files):
    with open(os.fsencode(files) + b'/' + name, 'wb') as file:
        file.write(b'0123456789')
    server = fcgi_unix(FILES, '--x-sendfile', f'X-Sendfile:{files}', env={'FILES': str(files)})
    response = server.request(path=b'/' + name)
    assert response.body == b'0123456789'
    assert not response.header('X-Sendfile') and not response.header('X-Evil')


def test_off_by_default(transport, files):
    assert sent_here(serve(transport, files).request(path='/f.bin'))


@pytest.mark.parametrize('value', [
    'X-Accel-Redirect', 'x-accel-redirect:{files}', 'Location', 'X-', 'X-Send file', 'X-Sendfile:', 'X-Sendfile:{files}/f.bin',
    'X-Sendfile:{files}/missing', 'X-Sendfile:prefix={files}', 'X-Sendfile:/a?b={files}', 'X-Sendfile:/a='])
def test_wrong_values(value, run, files):
    """Told at the start, in one line: exit 64."""
    finished = run('--x-sendfile', value.format(files=files), 'app.py')
    assert finished.code == 64 and finished.stderr.count('\n') == 1
    assert '--x-sendfile: invalid value "' + value.format(files=files) in finished.stderr
    assert 'X-Accel-Redirect needs it' in finished.stderr


def test_one_header_only(run, files):
    finished = run('--x-sendfile', 'X-Sendfile', '--x-sendfile', f'X-Accel-Redirect:/p={files}', 'app.py')
    assert finished.code == 64 and 'the same each time' in finished.stderr
