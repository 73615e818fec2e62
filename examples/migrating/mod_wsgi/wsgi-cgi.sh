#!/bin/sh
# After: what WSGIDaemonProcess said, as options. A supervisor starts this; the
# line "exec" is also what stands behind ExecStart= of a systemd service.
set -- --bind unix:/run/wsgi-cgi/app.sock    # WSGISocketPrefix
set -- "$@" --user www-data --group www-data # user= group=
set -- "$@" --processes 2 --threads 4        # processes= threads=
set -- "$@" --venv /srv/app/venv             # python-home=
set -- "$@" --python-path /srv/app           # python-path=
set -- "$@" --chdir /srv/app                 # home=
set -- "$@" --max-requests 10000             # maximum-requests=
set -- "$@" --request-timeout 60s            # request-timeout=
set -- "$@" --graceful-timeout 15s           # graceful-timeout=, shutdown-timeout=
set -- "$@" --backlog 100                    # listen-backlog=
set -- "$@" --umask 0027                     # umask=
set -- "$@" --limit-body 1m                  # LimitRequestBody
set -- "$@" --mount /shop                    # WSGIScriptAlias
exec /usr/local/bin/wsgi-cgi "$@" /srv/app/shop.wsgi
