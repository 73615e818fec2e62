#!/usr/local/bin/wsgi-cgi
"""Response headers of one's own, and the request headers as they arrived.

A header may be given more than once (two cookies here). The request's headers
are the HTTP_* keys of environ, and CONTENT_TYPE and CONTENT_LENGTH.
"""

SECRET = {"HTTP_AUTHORIZATION", "HTTP_COOKIE"}  # not for a page


def application(environ, start_response):
    lines = []
    for key in sorted(environ):
        if key.startswith("HTTP_") and key not in SECRET:
            name = key[len("HTTP_"):].replace("_", "-").title()
            lines.append("%s: %s\n" % (name, environ[key]))
    body = "".join(lines).encode("latin-1")
    start_response("200 OK", [
        ("Content-Type", "text/plain; charset=iso-8859-1"),
        ("Content-Length", str(len(body))),
        ("X-Example", "one of my own"),
        ("Cache-Control", "no-store"),
        ("Set-Cookie", "first=1; Path=/; HttpOnly; SameSite=Lax"),
        ("Set-Cookie", "second=2; Path=/; HttpOnly; SameSite=Lax"),
    ])
    return [body]
