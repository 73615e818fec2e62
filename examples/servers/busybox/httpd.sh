#!/bin/sh
# busybox httpd runs what is in /srv/www/cgi-bin as CGI scripts; each names
# wsgi-cgi in its first line and is executable.
# URL: http://HOST:8080/cgi-bin/app.py
exec busybox httpd -f -p 127.0.0.1:8080 -h /srv/www "$@"
