#!/bin/sh
# busybox httpd runs the files in /srv/www/cgi-bin as CGI scripts. Each must be
# executable, and its first line must name wsgi-cgi.
# URL: http://HOST:8080/cgi-bin/app.py
exec busybox httpd -f -p 127.0.0.1:8080 -h /srv/www "$@"
