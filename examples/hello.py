#!/usr/local/bin/wsgi-cgi
"""The smallest WSGI application: one callable named "application".

The first line lets a web server run this very file as a CGI script (make it
executable, and let the line name the place where wsgi-cgi is). To Python it is
a comment: the same file also runs behind FastCGI, under any other WSGI server,
and can be imported.
"""


def application(environ, start_response):
    body = b"Hello from wsgi-cgi\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"),
                              ("Content-Length", str(len(body)))])
    return [body]
