"""A Flask application outside the web root: /home/alice/shop/shop.py."""

from pathlib import Path

from flask import Flask, redirect, render_template_string, session, url_for

app = Flask(__name__)
# Beside this file, and so outside the web root as well.
app.secret_key = Path(__file__).with_name("secret-key").read_text().strip()

PAGE = """<!DOCTYPE html>
<title>Shop</title>
<link rel="stylesheet" href="{{ url_for('static', filename='style.css') }}">
<p>{{ count }} in your cart</p>
<form method="post" action="{{ url_for('add') }}"><button>Add one</button></form>
"""


@app.route("/")
def start():
    # /static/style.css is public_html/static/style.css: the web server sends it.
    return render_template_string(PAGE, count=session.get("count", 0))


@app.route("/cart", methods=["POST"])
def add():
    session["count"] = session.get("count", 0) + 1
    return redirect(url_for("start"))
