#!/usr/local/bin/wsgi-cgi
"""Work after the response: the client does not wait for it.

environ["wsgi_cgi.after_response"](callable, *args) calls callable(*args) when
the client has everything and the web server its connection back. It is done in
the thread of the request, which serves nobody meanwhile: --threads says how many
there are. What it prints is in the log of the process, not in the web server's.
"""

import hashlib


def think(path):
    for _ in range(100_000):
        path = hashlib.sha256(path).digest()
    print("after: the answer is", path.hex()[:8])


def at_once(call, *args):
    call(*args)


def application(environ, start_response):
    # Another WSGI server has no such key: there the client has to wait.
    later = environ.get("wsgi_cgi.after_response", at_once)
    later(think, environ["PATH_INFO"].encode("latin-1"))

    body = b"We will think about it.\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"),
                              ("Content-Length", str(len(body)))])
    return [body]
