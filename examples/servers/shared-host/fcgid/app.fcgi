#!/usr/local/bin/wsgi-cgi --mount / --python-path /srv/app
# --mount / is what keeps app.fcgi out of every link. The application itself is
# best not below the document root.
from app import application
