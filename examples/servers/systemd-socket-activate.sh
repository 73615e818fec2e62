#!/bin/sh
# systemd's socket activation without units, to try it out: the program is
# started by the first connection and finds the socket as descriptor 3.
# Run it as the web server's user, www-data on Debian: the socket is that user's.
# The folder of the socket is made by tmpfiles.conf.
exec systemd-socket-activate -l /run/wsgi-cgi/app.sock \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
