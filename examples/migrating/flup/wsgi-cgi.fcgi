#!/usr/local/bin/wsgi-cgi --threads 4 --python-path /srv/app
# After: the first line has the options, and nothing runs the application.
from shop import application
