#!/usr/local/bin/wsgi-cgi
"""Work after the response: the client does not wait for it.

environ["wsgi_cgi.after_response"](callable, *args) calls callable(*args) when
the client has the whole response and the web server has its connection back. The
call runs in the thread of the request, which serves no other request until it
returns: use more --threads. What it prints goes to the log of the process, not
to that of the web server.
"""

import hashlib


def think(path):
    for _ in range(100_000):
        path = hashlib.sha256(path).digest()
    print("after: the answer is", path.hex()[:8])


def at_once(call, *args):
    call(*args)


def application(environ, start_response):
    # Other WSGI servers do not have this key: there, the client has to wait.
    later = environ.get("wsgi_cgi.after_response", at_once)
    later(think, environ["PATH_INFO"].encode("latin-1"))

    body = b"We will think about it.\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"),
                              ("Content-Length", str(len(body)))])
    return [body]
