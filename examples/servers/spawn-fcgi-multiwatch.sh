#!/bin/sh
# spawn-fcgi creates the socket; multiwatch runs three processes on it and restarts
# those that end. It stops them with SIGUSR1, which lets requests finish.
# Run it as the web server's user, www-data on Debian, who then owns the socket.
# tmpfiles.conf creates the folder of the socket.
exec spawn-fcgi -n -s /run/wsgi-cgi/app.sock -M 0660 -- \
    /usr/bin/multiwatch -f 3 -- \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
