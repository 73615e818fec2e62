#!/bin/sh
# spawn-fcgi makes the socket, multiwatch keeps three processes on it and starts
# each again when it has ended. It ends them by SIGUSR1, which lets requests finish.
exec spawn-fcgi -n -s /run/wsgi-cgi/app.sock -M 0660 -- \
    /usr/bin/multiwatch -f 3 -- \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
