#!/bin/sh
# spawn-fcgi creates the socket and then becomes the application. -n keeps it in
# the foreground and keeps standard error: run this from a supervisor
# (supervisor-spawn-fcgi.conf). Without -n, standard error is /dev/null, and
# nothing restarts the application when it ends.
# Run it as the web server's user, www-data on Debian, who then owns the socket.
# tmpfiles.conf creates the folder of the socket.
exec spawn-fcgi -n -s /run/wsgi-cgi/app.sock -M 0660 -- \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
