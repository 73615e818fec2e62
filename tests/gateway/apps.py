"""Source texts of the applications that more than one test file serves. An application of one test stays in the test."""

HELLO = '''
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'hello']
'''

# The environ as JSON: text as it is, everything else as repr().
DUMP = '''
import json
def application(environ, start_response):
    shown = {k: v if type(v) is str else repr(v) for k, v in environ.items()}
    start_response('200 OK', [('Content-Type', 'application/json')])
    return [json.dumps(shown).encode()]
'''

# The body comes back; an OSError of wsgi.input comes back as that word with status 502.
ECHO = '''
def application(environ, start_response):
    try:
        body = environ['wsgi.input'].read()
    except OSError:
        start_response('502 Short Body', [('Content-Type', 'text/plain')])
        return [b'OSError']
    start_response('200 OK', [('Content-Type', 'application/octet-stream')])
    return [body]
'''

# Never touches wsgi.input.
UNREAD = '''
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'unread']
'''

# By PATH_INFO: /stream writes for ever and notes in FILE (environ variable NOTES) how it ended; /wait blocks until the
# file of QUERY_STRING exists; anything else is hello.
BUSY = '''
import os, time
def note(text):
    with open(os.environ['NOTES'], 'a') as f:
        f.write(text + chr(10))
class Stream:
    def __iter__(self):
        for i in range(100000):
            yield b'x' * 1000
            time.sleep(0.005)
        note('exhausted')
    def close(self):
        note('closed')
def application(environ, start_response):
    path = environ['PATH_INFO']
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if path == '/stream':
        note('started')
        return Stream()
    if path == '/wait':
        note('waiting')
        while not os.path.exists(environ['QUERY_STRING']):
            time.sleep(0.005)
        return [b'waited']
    return [b'hello']
'''
