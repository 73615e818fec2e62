#!/usr/local/bin/wsgi-cgi
"""Flask: the application object is called "app", which wsgi-cgi finds too.

Needs Debian's python3-flask, or "pip install flask" in a virtual environment
and --venv on the command line.
"""

from flask import Flask, abort, jsonify, request, url_for

app = Flask(__name__)


@app.route("/")
def start():
    return '<p><a href="%s">Greet</a></p>\n' % url_for("greet", name="you")


@app.route("/greet/<name>")
def greet(name):
    # Flask sends a plain str as HTML. That is not safe for text from the URL.
    return "Hello, %s!\n" % name, {"Content-Type": "text/plain; charset=utf-8"}


@app.route("/sum", methods=["POST"])
def add():
    numbers = request.get_json()
    if not isinstance(numbers, list):
        abort(400)
    return jsonify(sum=sum(numbers))


@app.route("/missing")
def missing():
    abort(404)
