#!/usr/local/bin/wsgi-cgi --mount /site --python-path /srv/app
from app import application
