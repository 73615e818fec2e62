#!/usr/local/bin/wsgi-cgi
"""Reads a body of any size, and answers with its length and its SHA-256.

    curl -T some.file http://localhost:8080/

It reads the body in blocks, so it needs little memory for a large one. If the
client disconnects, read() raises OSError, and the part that arrived must be
discarded. Some gateways report the end of the body instead, so the example also
compares the length.
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
