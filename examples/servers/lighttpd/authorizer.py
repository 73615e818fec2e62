#!/usr/local/bin/wsgi-cgi
"""Lets some requests through, for authorizer.conf: whoever knows the password.

The status is the decision. A header Variable-NAME becomes the variable NAME of
the request that goes on (lighttpd shows it to CGI and FastCGI programs)."""

import base64
import hmac

USER, PASSWORD = "reader", "open sesame"


def application(environ, start_response):
    kind, _, told = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    right = base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()
    if kind.lower() == "basic" and hmac.compare_digest(
            told.strip().encode("latin-1"), right.encode()):
        start_response("200 OK", [("Variable-REMOTE_USER", USER)])
        return []
    start_response("401 Unauthorized", [
        ("WWW-Authenticate", 'Basic realm="files"'),
        ("Content-Type", "text/plain")])
    return [b"Your name and password, please.\n"]
