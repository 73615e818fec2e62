#!/usr/local/bin/wsgi-cgi
"""Sets response headers, and shows the request headers.

A response may have several headers of the same name, such as the two cookies
here. The request headers are the HTTP_* keys of environ, CONTENT_TYPE and
CONTENT_LENGTH.
"""

SECRET = {"HTTP_AUTHORIZATION", "HTTP_COOKIE"}  # do not show these


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
