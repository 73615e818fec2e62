#!/bin/sh
# Shows why app.cgi, in the same folder, does not start: wsgi-cgi --check, without a
# shell. Delete it afterwards: it shows tracebacks to everyone.
echo "Content-Type: text/plain"
echo
exec 2>&1
# This is no request for app.cgi.
unset REQUEST_METHOD GATEWAY_INTERFACE
WSGI_CGI_OPTIONS=--check ./app.cgi
echo "exit status $?"
