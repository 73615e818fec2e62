#!/bin/sh
# mini_httpd runs the files in /srv/www/cgi-bin as CGI scripts. Each must be
# executable, and its first line must name wsgi-cgi.
# URL: http://HOST:8080/cgi-bin/app.py
exec mini_httpd -D -h 127.0.0.1 -p 8080 -d /srv/www -c 'cgi-bin/*' "$@"
