#!/usr/local/bin/wsgi-cgi
"""A response that is generated while it is sent: "?lines=5&pause=0.5".

wsgi-cgi sends each block to the web server before it asks the generator for the
next one. The web server may still buffer it; nginx does not with
"X-Accel-Buffering: no", and lighttpd with server.stream-response-body = 2. When
the client disconnects, the generator is closed and its "finally" runs.
"""

import time
from urllib.parse import parse_qs


def number(query, name, default, limit):
    try:
        value = float(query[name][0])
    except (KeyError, ValueError):
        return default
    return min(max(value, 0), limit)


def application(environ, start_response):
    query = parse_qs(environ["QUERY_STRING"])
    lines = int(number(query, "lines", 5, 100_000))
    pause = number(query, "pause", 0.5, 10)
    errors = environ["wsgi.errors"]

    def blocks():
        made = 0
        try:
            while made < lines:
                if made:
                    time.sleep(pause)
                made += 1
                yield b"line %d\n" % made
        finally:
            errors.write("stream: %d of %d lines\n" % (made, lines))

    start_response("200 OK", [("Content-Type", "text/plain"),
                              ("X-Accel-Buffering", "no")])
    return blocks()
