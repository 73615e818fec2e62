"""A JSON API in Flask: a greeting, read from the query."""

from flask import Flask, jsonify, request

app = Flask(__name__)


@app.route('/')
def hello():
    return jsonify(greeting='Hello %s' % request.args.get('name', 'world'), numbers=list(range(20)))
