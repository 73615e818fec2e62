"""RLIMIT_FSIZE: a file that may grow no further is like a full disk (EFBIG), and ends no process. P6, P25."""

import resource
import signal

import pytest

import fcgi
from apps import HELLO
from test_wsgi_input import BY_LENGTH, Unsized

LIMIT = 1 << 20


def limited():
    """In the child: no file larger than LIMIT, and the signal as most processes have it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def full(path):
    path.write_bytes(b'\n' * LIMIT)
    return path


def test_upload(fcgi_server, tmp_path):
    """W28, P25: an upload of unknown length that is too large for a file: 500, the log says why, the next is served."""
    server = fcgi_server(BY_LENGTH, env={'TMPDIR': str(tmp_path)}, preexec_fn=limited)
    server.expect_log('error: .*a body of unknown length was not received: File too large')
    exchange = Unsized.start(server, 'apache')
    exchange.write(bytes(2 * LIMIT))
    exchange.finish_body()
    response = exchange.response()
    assert response.status == 500 and response.complete and b'could not be received' in response.body
    assert server.request().text == repr((None, 0, 0, True, b'', 1))


def test_upload_set_aside(fcgi_server, tmp_path):
    """F24: the same where a body is put into a file while the response is written: the response goes on, who reads the
    body afterwards gets the error, and the next request is served."""
    server = fcgi_server('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            for _ in range(256):
                yield b'x' * 65536
            try:
                yield b'%d' % len(environ['wsgi.input'].read())
            except OSError as error:
                yield error.strerror.encode()
    ''', env={'TMPDIR': str(tmp_path)}, preexec_fn=limited)
    conn, body = server.connect(), bytes(16 * LIMIT)
    conn.half_duplex_send(fcgi.request_bytes(server.params('POST', body=body), body))
    response = conn.response(timeout=20)
    assert response.complete and response.body.strip(b'x') == b'File too large'
    assert server.request().body.strip(b'x') == b'0'


def test_application(transport, tmp_path):
    """P25: an application that writes too much gets OSError, as on a full disk."""
    server = transport.serve(f'''
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/large':
                with open({str(tmp_path / 'file')!r}, 'wb') as file:
                    for _ in range(3):
                        file.write(bytes({LIMIT}))
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'small']
    ''', preexec_fn=limited)
    server.expect_log('OSError: .Errno 27. File too large|application raised OSError')
    assert server.request(path='/large').status == 500
    assert server.request().body == b'small'


def test_log_files(world, fcgi_unix, tmp_path):
    """P6, P25: logs that are as large as they may be: lines are lost, no request."""
    log, access = full(tmp_path / 'log'), full(tmp_path / 'access')
    server = fcgi_unix(HELLO, '--log-file', log, '--access-log', access, preexec_fn=limited)
    server.check_fds = False
    for _ in range(3):
        assert server.request().body == b'hello'
    assert server.stop() == 0
    assert log.stat().st_size == access.stat().st_size == LIMIT


@pytest.mark.parametrize('options, code', [(['--no-such-option'], 64), (['--venv', '/no/such'], 78), ([], 0)])
def test_standard_error_of_a_script(world, tmp_path, options, code):
    """P6, C16: from the first line on, CGI: a log that takes no more is no reason to leave the client without a page."""
    environ = {'REQUEST_METHOD': 'GET', 'SERVER_NAME': 'x', 'SERVER_PORT': '80', 'SERVER_PROTOCOL': 'HTTP/1.1',
               'GATEWAY_INTERFACE': 'CGI/1.1'}
    with open(full(tmp_path / 'log'), 'ab') as log:
        process = world.spawn(*options, world.write_app(HELLO), env=environ, stdout=-1, stderr=log, preexec_fn=limited)
    process.exit_codes = {code}
    assert process.output().startswith(b'Status: 500' if code else b'Status: 200')
    assert process.wait() == code


def test_programs_of_the_application(transport):
    """P25: what the application starts has what it would have under any Python: the default effect by `subprocess`; else
    what SIGPIPE has."""
    server = transport.serve('''
        import os, signal, subprocess
        def application(environ, start_response):
            ignored = []
            for status in (subprocess.run(['cat', '/proc/self/status'], capture_output=True, text=True).stdout,
                           subprocess.getoutput('cat /proc/self/status'), open('/proc/self/status').read()):
                mask = int(status.split('SigIgn:')[1].split()[0], 16)
                ignored.append([number for number in (13, 25) if mask & 1 << number - 1])
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr((ignored, int(signal.getsignal(signal.SIGXFSZ)))).encode()]
    ''')
    assert server.request().text == repr(([[], [], [13, 25]], 1))
