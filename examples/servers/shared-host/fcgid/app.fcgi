#!/usr/local/bin/wsgi-cgi --mount / --python-path /srv/app
# --mount / keeps app.fcgi out of all links. Put the application itself outside the
# document root.
from app import application
