#!/usr/local/bin/wsgi-cgi
"""The entry point of a small Django project. This folder is on sys.path."""

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.template.loader import get_template

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
application = get_wsgi_application()

# Without these lines the first request would load this. What is loaded here is
# shared by all workers with --preload.
connections.all()
get_template("start.html")
