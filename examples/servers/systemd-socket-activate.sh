#!/bin/sh
# Tries socket activation without units: the first connection starts the program,
# which gets the socket as descriptor 3.
# Run it as the web server's user, www-data on Debian, who then owns the socket.
# tmpfiles.conf creates the folder of the socket.
exec systemd-socket-activate -l /run/wsgi-cgi/app.sock \
    /usr/local/bin/wsgi-cgi --threads 4 /srv/app/app.py
