#!/usr/local/bin/wsgi-cgi
"""The entry point of a small Django project. This folder is on sys.path."""

import os

from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.template.loader import get_template

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
application = get_wsgi_application()

# What the first request would load otherwise: with --preload, all workers
# share what is loaded here.
connections.all()
get_template("start.html")
