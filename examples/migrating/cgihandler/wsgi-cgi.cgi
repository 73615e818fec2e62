#!/usr/local/bin/wsgi-cgi --python-path /srv/app
# After: the first line names wsgi-cgi, and nothing runs the application.
from shop import application
