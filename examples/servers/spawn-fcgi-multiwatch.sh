#!/bin/sh
# spawn-fcgi makes the socket, multiwatch keeps three processes on it and starts
# each again when it has ended. It ends them by SIGUSR1, which lets requests finish.
# Run it as the web server's user, www-data on Debian: the socket is that user's.
# The folder of the socket is made by tmpfiles.conf.
exec spawn-fcgi -n -s /run/wsgi-cgi/app.sock -M 0660 -- \
    /usr/bin/multiwatch -f 3 -- \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
