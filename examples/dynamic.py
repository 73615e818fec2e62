#!/usr/local/bin/wsgi-cgi
"""Two pages and a 404, chosen by PATH_INFO.

SCRIPT_NAME is the path at which the application is mounted, PATH_INFO the rest of
the requested path. Links start with SCRIPT_NAME, so they work at any mount.
"""

from html import escape
from urllib.parse import parse_qs, quote

PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="{root}/">start</a> <a href="{root}/greet?name=you">greet</a></p>
</body>
</html>
"""


def start(environ):
    return "200 OK", "Start", "This is the start page."


def greet(environ):
    query = parse_qs(environ["QUERY_STRING"])
    name = query.get("name", ["world"])[0]
    return "200 OK", "Greetings", "Hello, %s!" % name


def not_found(environ):
    # PEP 3333: each character of PATH_INFO is one byte, here of UTF-8 text.
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    return "404 Not Found", "Not found", "There is no page at %s." % path


PAGES = {"": start, "/": start, "/greet": greet}


def application(environ, start_response):
    page = PAGES.get(environ["PATH_INFO"], not_found)
    status, title, text = page(environ)
    root = quote(environ["SCRIPT_NAME"].encode("latin-1"))
    body = PAGE.format(title=escape(title), text=escape(text),
                       root=root).encode("utf-8")
    start_response(status, [("Content-Type", "text/html; charset=utf-8"),
                            ("Content-Length", str(len(body)))])
    return [body]
