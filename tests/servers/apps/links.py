"""A site in Flask that makes links and redirects, for test_rewrites.py.

Flask is imported for its pages alone: most of what is asked for is no page, and
under CGI the import is four fifths of the time.
"""

import functools
from urllib.parse import quote

SECRET = b"only for administrators\n"
PAGES = ("", "page", "go", "folder", "form")


def application(environ, start_response):
    first = environ["PATH_INFO"].split("/")[1:2]
    if first and first[0] in PAGES:
        return site()(environ, start_response)
    start_response("200 OK" if first == ["admin"] else "404 Not Found",
                   [("Content-Type", "text/plain")])
    return [SECRET if first == ["admin"] else b"no such page\n"]


@functools.lru_cache(None)
def site():
    from flask import Flask, jsonify, redirect, request, url_for
    app = Flask(__name__)

    @app.route("/")
    def start():
        return "".join('<a href="%s">%s</a>\n' % (url, name) for name, url in (
            ("page", url_for("page", name="x y/\u00e9?%41")),
            ("query", url_for("page", name="q", a="b c")),
            ("external", url_for("page", name="z", _external=True)),
            ("start", url_for("start"))))

    @app.route("/page/<path:name>")
    def page(name):
        environ = {name: value for name, value in request.environ.items()
                   if isinstance(value, str)}
        return jsonify(name=name, args=request.args, root=request.script_root,
                       path=request.path, url=request.base_url,
                       here=url_for("page", name=name), environ=environ,
                       rebuilt=quote(environ["SCRIPT_NAME"].encode("latin-1"))
                       + quote(environ["PATH_INFO"].encode("latin-1")))

    @app.route("/go")
    def go():
        return redirect(url_for("page", name="there/\u00e9"))

    @app.route("/folder/")
    def folder():
        return "in the folder\n"

    @app.route("/form", methods=["POST"])
    def form():
        return redirect(url_for("page", name=request.form["name"]), 303)

    return app
