"""W30-W32: wsgi.errors, print(), sys.stderr and logging."""

import os

import fcgi

ODD = ['\U0001f600 smile', '\udc80 surrogate', 'nul \0 here', 'ÿ latin', '日本']


def test_methods(transport):
    """W30: write, writelines of anything iterable, flush."""
    server = transport.serve('''
        def application(environ, start_response):
            errors = environ['wsgi.errors']
            n = errors.write('one\\n')
            errors.writelines(f'{i}\\n' for i in (2, 3))
            errors.writelines(['4', '\\n'])
            errors.flush()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(n).encode()]
    ''')
    response = server.request()
    assert response.body == b'4'
    assert response.stderr == b'one\n2\n3\n4\n'


def test_wrong_types(transport):
    """W30: text only, as any text file."""
    server = transport.serve('''
        def application(environ, start_response):
            said = []
            for call in (lambda e: e.write(b'x'), lambda e: e.write(1), lambda e: e.writelines([b'x']),
                         lambda e: e.writelines(7), lambda e: e.write()):
                try:
                    call(environ['wsgi.errors'])
                    said.append('worked')
                except TypeError:
                    said.append('TypeError')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr(said).encode()]
    ''')
    assert server.request().text == repr(['TypeError'] * 5)


def test_any_text(transport):
    """W31: nothing that is a str raises."""
    server = transport.serve(f'''
        def application(environ, start_response):
            for text in {ODD!a}:
                environ['wsgi.errors'].write(text + '\\n')
                print(text)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'fine']
    ''')
    response = server.request()
    assert response.body == b'fine'
    wanted = [text.encode('utf-8', 'backslashreplace') for text in ODD for _ in range(2)]
    assert response.stderr.splitlines() == wanted


def test_one_megabyte_line(transport):
    """W31, W32: a line of 1 MB arrives; no deadlock with a client that reads it late."""
    server = transport.serve('''
        def application(environ, start_response):
            environ['wsgi.errors'].write('é' * 500_000 + '\\n')
            environ['wsgi.errors'].write('end\\n')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'fine']
    ''')
    response = server.request()
    assert response.body == b'fine'
    assert response.stderr == 'é'.encode() * 500_000 + b'\nend\n'


def errors_records(response):
    return [r.content for r in response.records if r.type == fcgi.STDERR and r.content]


def test_whole_lines(fcgi_server):
    """W32: however the application cuts its text, the server gets whole lines, and no character is cut in two."""
    server = fcgi_server('''
        import sys
        def application(environ, start_response):
            errors = environ['wsgi.errors']
            for part in ('a', 'b', 'c\\nd', 'e', '\\n', 'f\\ng\\nh', 'i\\n'):
                errors.write(part)
            print('print', 'two', 3)
            print('to stderr', file=sys.stderr)
            for letter in 'é\\nü\\n':
                print(letter, end='')
            errors.write('no end')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    response = server.request()
    assert response.stderr.decode() == 'abc\nde\nf\ng\nhi\nprint two 3\nto stderr\né\nü\nno end\n'
    assert all(content.endswith(b'\n') for content in errors_records(response))


def test_long_unfinished_line_keeps_characters_whole(fcgi_unix):
    """W32: a line that has to leave in pieces is cut between characters, even when it is written as bytes."""
    server = fcgi_unix('''
        import sys
        def application(environ, start_response):
            raw = 'é\\U0001f600'.encode() * 5000
            for i in range(0, len(raw), 1001):
                sys.stderr.buffer.write(raw[i:i + 1001])
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    response = server.request()
    assert response.stderr.decode() == 'é\U0001f600' * 5000 + '\n'
    for content in errors_records(response):
        content.decode()


def test_flush_sends_what_is_there(transport):
    """W30: flush() does not wait for the end of the line."""
    server = transport.serve('''
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            yield b'head is out'
            print('half', end='', flush=True)
            environ['wsgi.input'].read()
            print(' line')
    ''')
    exchange = server.start('POST', content_length=1)
    exchange.wait_for(b'head is out')
    if transport.is_fcgi:
        exchange.conn.wait(lambda: any(r.type == fcgi.STDERR for r in exchange.conn.records))
        assert server.log.texts == [b'half']
    else:
        exchange.wait(lambda: exchange.stderr == b'half')
    exchange.write(b'x')
    exchange.finish_body()
    assert exchange.response().stderr == b'half line\n'


def test_everything_that_prints(transport):
    """W32: print, sys.stderr, logging, warnings and tracebacks printed by the application reach the server's log."""
    server = transport.serve('''
        import logging, sys, traceback, warnings
        logging.basicConfig(format='%(levelname)s %(message)s')
        def application(environ, start_response):
            print('printed')
            sys.stderr.write('written\\n')
            logging.warning('logged')
            warnings.warn('warned')
            try:
                1 / 0
            except ZeroDivisionError:
                traceback.print_exc()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    for pattern in ('WARNING logged', 'UserWarning: warned', r"warnings.warn\('warned'\)", 'ZeroDivisionError'):
        server.expect_log(pattern)
    lines = server.request().stderr.decode().splitlines()
    assert lines[:3] == ['printed', 'written', 'WARNING logged']
    assert any('UserWarning: warned' in line for line in lines)
    assert lines[-1] == 'ZeroDivisionError: division by zero'


def test_stdout_never_reaches_the_response(transport):
    """W32: print(), sys.stdout.buffer, sys.__stdout__ and descriptor 1 end in the log."""
    server = transport.serve('''
        import os, sys
        def application(environ, start_response):
            print('print')
            sys.stdout.buffer.write(b'buffer\\n')
            sys.__stdout__.write('original\\n')
            sys.__stdout__.flush()
            os.write(1, b'descriptor\\n')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'body']
    ''')
    response = server.request()
    assert response.body == b'body'
    for word in ('print', 'buffer', 'original', 'descriptor'):
        server.wait_log(word)


def test_after_the_response(transport):
    """W32: close() and what the application's objects say when they are collected still belong to the request."""
    server = transport.serve('''
        class Body:
            def __iter__(self):
                return iter([b'x'])
            def close(self):
                print('closing')
            def __del__(self):
                print('collected')
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return Body()
    ''')
    exchange = server.start()
    exchange.finish_body()
    exchange.response()
    server.wait_log('closing')
    server.wait_log('collected')


def test_start_up_text(transport):
    """W32: what the application says while it is imported is in the log."""
    server = transport.serve('''
        import sys
        print('imported', end='')
        print('to stderr', file=sys.stderr)
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    server.request()
    server.wait_log('to stderr')


def test_threads_without_a_request(fcgi_unix):
    """W32: a thread of the application that runs no request writes to descriptor 2, and loses nothing when it ends."""
    server = fcgi_unix('''
        import threading
        def speak():
            print('from a thread')
            print('unfinished', end='')
        def application(environ, start_response):
            print('from the request')
            thread = threading.Thread(target=speak)
            thread.start()
            thread.join()
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    assert server.request().stderr == b'from the request\n'
    server.wait_log('from a thread\nunfinished')


def test_lines_of_threads_are_not_mixed(fcgi_unix):
    """W32: each request gets its own lines, whole, from requests that run at the same time."""
    server = fcgi_unix('''
        import threading
        both = threading.Barrier(2)
        def application(environ, start_response):
            name = environ['QUERY_STRING']
            both.wait(10)
            for i in range(500):
                print(name, end='')
                print(name)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [name.encode()]
    ''', '--threads', '2')
    exchanges = [server.start(query=name) for name in 'ab']
    for exchange in exchanges:
        exchange.finish_body()
    for exchange, name in zip(exchanges, 'ab'):
        assert exchange.response().stderr.decode() == f'{name}{name}\n' * 500


def test_nobody_reads_descriptor_2(fcgi_unix):
    """W32: a thread whose text nobody takes waits alone, without the GIL; the others go on."""
    read_end, write_end = os.pipe()
    server = fcgi_unix('''
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/loud':
                environ['wsgi.errors'].write('x' * 300_000 + '\\n')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [environ['PATH_INFO'].encode()]
    ''', '--threads', '2', '--errors-to', 'stderr', stderr=write_end)
    os.close(write_end)
    loud = server.start(path='/loud')
    loud.finish_body()
    with open(read_end, 'rb') as reader:
        while (first := reader.read(1)) == b'w':
            assert reader.readline().startswith(b'sgi-cgi[')        # about its start
        assert first == b'x'
        for _ in range(3):
            assert server.request(path='/quiet', timeout=5).body == b'/quiet'
        assert loud.stdout == b''
        assert reader.read(300_000) == b'x' * 299_999 + b'\n'
        assert loud.response().body == b'/loud'


def test_looks_like_a_text_file(transport):
    """What libraries ask of sys.stdout and sys.stderr."""
    server = transport.serve('''
        import io, sys
        def application(environ, start_response):
            said = []
            for f in (sys.stdout, sys.stderr, environ['wsgi.errors']):
                f.reconfigure(encoding='utf-8', line_buffering=True)
                f.close()
                said.append((f.fileno(), f.isatty(), f.encoding, f.errors, f.writable(), f.readable(), f.seekable(),
                             f.closed, f.mode, f.line_buffering, f.newlines, isinstance(f.name, str)))
            io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8', line_buffering=True).write('wrapped\\n')
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [repr([s == (2, False, 'utf-8', 'backslashreplace', True, False, False, False, 'w', True, None, True)
                          for s in said]).encode()]
    ''')
    response = server.request()
    assert response.body == b'[True, True, True]'
    assert response.stderr == b'wrapped\n'


def test_child_of_the_application(transport):
    """A forked child's text goes to descriptor 2, never into the connection of its parent."""
    server = transport.serve('''
        import os
        def application(environ, start_response):
            print('parent')
            pid = os.fork()
            if pid == 0:
                print('child')
                os._exit(0)
            os.waitpid(pid, 0)
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'x']
    ''')
    response = server.request()
    assert response.body == b'x'
    server.wait_log('child')
    if transport.is_fcgi:
        assert response.stderr == b'parent\n'
