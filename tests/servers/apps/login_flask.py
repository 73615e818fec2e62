"""A site with a login, in Flask: the pages of login_django, but by hand.

test_browser.py walks through both with the same steps.
"""

import hashlib
import hmac
import secrets
from urllib.parse import urlencode

from flask import (Flask, abort, redirect, render_template_string, request,
                   session, url_for)
from flask.sessions import SecureCookieSessionInterface

PASSWORDS = {"ada": "correct horse"}

PAGE = """<!DOCTYPE html>
<html lang=en><head><meta charset=utf-8><link rel=icon href="data:,">
<title>%s</title></head><body>
%s
</body></html>
"""
TOKEN = '<input type=hidden name=token value="{{ token() }}">'
START = PAGE % ("Start", """
<a id=private href="{{ url_for('private') }}?q=a%20b&amp;x=%C3%A9">Private</a>
""")
LOGIN = PAGE % ("Login", """
{% if error %}<p class=error>{{ error }}</p>{% endif %}
<form id=login method=post>""" + TOKEN + """
<input name=username value="{{ request.form.username }}">
<input name=password type=password>
<input type=hidden name=next value="{{ request.args.next }}">
<button>Log in</button></form>
""")
PRIVATE = PAGE % ("Private", """
<h1>Hello, {{ session.user }}!</h1>
<p id=stored>{{ session.pop('stored', '') }}</p>
<form id=upload method=post enctype="multipart/form-data"
 action="{{ url_for('upload') }}">""" + TOKEN + """
<input type=file name=file><button>Upload</button></form>
<form id=logout method=post action="{{ url_for('logout') }}">""" + TOKEN + """
<button>Log out</button></form>
<a id=start href="{{ url_for('start') }}">Start</a>
""")


class CookieOfTheMount(SecureCookieSessionInterface):
    """The browser sends it to this application only, wherever that is."""

    def get_cookie_path(self, app):
        return request.root_path or "/"


app = Flask(__name__)
app.secret_key = "only-for-the-test"
app.session_interface = CookieOfTheMount()


@app.context_processor
def add_token():
    def token():
        return session.setdefault("token", secrets.token_hex())
    return {"token": token}


@app.before_request
def check_token():
    token = session.get("token", "")
    if request.method == "POST" and not (token and hmac.compare_digest(
            token, request.form.get("token", ""))):
        abort(403)


def to_login():
    wanted = request.root_path + request.path
    if request.query_string:
        wanted += "?" + request.query_string.decode("latin-1")
    return redirect(url_for("login") + "?" + urlencode({"next": wanted}))


@app.route("/")
def start():
    return render_template_string(START)


@app.route("/login/", methods=["GET", "POST"])
def login():
    error = None
    if request.method == "POST":
        name = request.form.get("username", "")
        if name in PASSWORDS and hmac.compare_digest(
                PASSWORDS[name], request.form.get("password", "")):
            session.clear()
            session["user"] = name
            wanted = request.form.get("next", "")
            # Elsewhere is nowhere: //evil.example is another host.
            if not wanted.startswith(url_for("start")) or wanted[1:2] == "/":
                wanted = url_for("private")
            return redirect(wanted)
        error = "Wrong name or password."
    return render_template_string(LOGIN, error=error)


@app.route("/private/")
def private():
    if "user" not in session:
        return to_login()
    return render_template_string(PRIVATE)


@app.route("/upload/", methods=["POST"])
def upload():
    if "user" not in session:
        return to_login()
    file = request.files["file"]
    data = file.read()
    session["stored"] = "%s, %d bytes, %s" % (
        file.filename, len(data), hashlib.sha256(data).hexdigest())
    return redirect(url_for("private"))


@app.route("/logout/", methods=["POST"])
def logout():
    session.clear()
    return redirect(url_for("login"))
