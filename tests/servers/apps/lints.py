"""One application that does a bit of everything, inside each of the three WSGI
lints: /wsgiref, /webtest, /paste. A lint that is not content raises: a 500."""

import warnings
from wsgiref.util import shift_path_info
from wsgiref.validate import validator

import paste.lint
import webtest.lint

warnings.simplefilter("error")  # the lints also warn


def everything(environ, start_response):
    stream = environ["wsgi.input"]
    body = stream.read(3)
    body += stream.readline()
    body += b"".join(stream.readlines(4))
    for line in stream:
        body += line
    body += stream.read(10)
    environ["wsgi.errors"].write("lint: %d bytes\n" % len(body))
    environ["wsgi.errors"].writelines(["a\n", "b\n"])
    environ["wsgi.errors"].flush()
    write = start_response("200 OK", [
        ("Content-Type", "text/plain"), ("X-Length", str(len(body))),
        ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    if environ["REQUEST_METHOD"] != "HEAD":
        write(b"<")
        return [body, b">"]
    return []


APPS = {
    "wsgiref": validator(everything),
    "webtest": webtest.lint.middleware(everything),
    "paste": paste.lint.middleware(everything),
}


def application(environ, start_response):
    return APPS[shift_path_info(environ)](environ, start_response)
