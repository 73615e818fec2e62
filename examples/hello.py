#!/usr/local/bin/wsgi-cgi
"""The smallest WSGI application: one callable named "application".

The first line lets a web server run this file as a CGI script: make the file
executable, and put the path of wsgi-cgi into that line. For Python the line is a
comment, so the same file also works with FastCGI and with any other WSGI server.
"""


def application(environ, start_response):
    body = b"Hello from wsgi-cgi\n"
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"),
                              ("Content-Length", str(len(body)))])
    return [body]
