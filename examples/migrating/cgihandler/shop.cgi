#!/usr/bin/python3
# Before: CPython's handler. After: wsgi-cgi.cgi.
import sys
from wsgiref.handlers import CGIHandler

sys.path.insert(0, "/srv/app")
from shop import application

CGIHandler().run(application)
