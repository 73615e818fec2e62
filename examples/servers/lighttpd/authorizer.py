#!/usr/local/bin/wsgi-cgi
"""For authorizer.conf: lets a request through if it has the right password.

The status is the decision. The response header Variable-NAME sets the variable
NAME of the request, which lighttpd passes to CGI and FastCGI programs."""

import base64
import hmac

USER, PASSWORD = "reader", "open sesame"


def application(environ, start_response):
    kind, _, given = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    right = base64.b64encode(("%s:%s" % (USER, PASSWORD)).encode()).decode()
    if kind.lower() == "basic" and hmac.compare_digest(
            given.strip().encode("latin-1"), right.encode()):
        start_response("200 OK", [("Variable-REMOTE_USER", USER)])
        return []
    start_response("401 Unauthorized", [
        ("WWW-Authenticate", 'Basic realm="files"'),
        ("Content-Type", "text/plain")])
    return [b"Your name and password, please.\n"]
