#!/bin/sh
# spawn-fcgi makes the socket, and the application answers on it. -n keeps it in
# the foreground, with standard error where it was: run this from a supervisor
# (supervisor-spawn-fcgi.conf). Without -n standard error is /dev/null, and
# nothing starts the application again when it has ended.
# Run it as the web server's user, www-data on Debian: the socket is that user's.
# The folder of the socket is made by tmpfiles.conf.
exec spawn-fcgi -n -s /run/wsgi-cgi/app.sock -M 0660 -- \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
