#!/usr/local/bin/wsgi-cgi
"""Takes a body of any size and says how long it was and what its SHA-256 is.

    curl -T some.file http://localhost:8080/

The body is read in blocks, so memory does not grow with it. Where it is cut off
(the client went away) read() raises OSError: what came so far must not be taken
for the whole. Gateways exist that report the end of the body instead, so the
length is compared as well.
"""

import hashlib

BLOCK = 64 * 1024


def answer(start_response, status, text):
    body = text.encode("utf-8")
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"),
                            ("Content-Length", str(len(body)))])
    return [body]


def application(environ, start_response):
    if environ["REQUEST_METHOD"] not in ("POST", "PUT"):
        return answer(start_response, "200 OK", "Send a body, please.\n")

    stream = environ["wsgi.input"]
    expected = environ.get("CONTENT_LENGTH")
    digest = hashlib.sha256()
    size = 0
    try:
        while True:
            block = stream.read(BLOCK)
            if not block:
                break
            digest.update(block)
            size += len(block)
        if expected and size != int(expected):
            raise OSError("%d bytes of %s" % (size, expected))
    except OSError as error:
        environ["wsgi.errors"].write(
            "upload: cut off after %d bytes: %s\n" % (size, error))
        return answer(start_response, "400 Bad Request", "Cut off.\n")
    return answer(start_response, "200 OK",
                  "size %d\nsha256 %s\n" % (size, digest.hexdigest()))
