#!/bin/sh
# After: gunicorn.conf.py as options, in the same order.
set -- --env SHOP_SETTINGS=production        # raw_env
set -- "$@" --bind unix:/run/wsgi-cgi/app.sock      # bind
set -- "$@" --backlog 100                    # backlog
set -- "$@" --user www-data --group www-data # user, group
set -- "$@" --umask 0007                     # umask (the socket has 0660 anyway)
set -- "$@" --processes 2 --threads 4        # workers, threads
set -- "$@" --preload                        # preload_app
set -- "$@" --chdir /srv/app                 # chdir
set -- "$@" --mount /shop                    # SCRIPT_NAME
set -- "$@" --max-requests 10000 --max-requests-jitter 500
set -- "$@" --request-timeout 60s            # timeout
set -- "$@" --graceful-timeout 15s           # graceful_timeout
set -- "$@" --limit-vars 150                 # limit_request_fields, and nginx's own
set -- "$@" --pid-file /run/wsgi-cgi/app.pid # pidfile
set -- "$@" --log-file /var/log/wsgi-cgi.log # errorlog, capture_output
set -- "$@" --access-log /var/log/wsgi-cgi-access.log
set -- "$@" --log-level info                 # loglevel
exec /usr/local/bin/wsgi-cgi "$@" shop:application
