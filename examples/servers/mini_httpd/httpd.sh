#!/bin/sh
# mini_httpd runs what is in /srv/www/cgi-bin as CGI scripts; each names wsgi-cgi
# in its first line and is executable. URL: http://HOST:8080/cgi-bin/app.py
exec mini_httpd -D -h 127.0.0.1 -p 8080 -d /srv/www -c 'cgi-bin/*' "$@"
