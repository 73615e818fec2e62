#!/bin/sh
# After: pool.conf as options, in the same order.
set -- --env SHOP_SETTINGS=production        # env[SHOP_SETTINGS]
set -- "$@" --user www-data --group www-data # user, group
set -- "$@" --bind unix:/run/wsgi-cgi/app.sock      # listen
set -- "$@" --socket-owner www-data:www-data # listen.owner, listen.group
set -- "$@" --socket-mode 0660               # listen.mode
set -- "$@" --backlog 100                    # listen.backlog
set -- "$@" --processes 2                    # pm, pm.max_children
set -- "$@" --max-requests 10000             # pm.max_requests
set -- "$@" --status-path /shop/status       # pm.status_path
set -- "$@" --ping-path /shop/ping           # ping.path
set -- "$@" --chdir /srv/app                 # chdir
set -- "$@" --request-timeout 60s            # request_terminate_timeout
set -- "$@" --slow 5s                        # request_slowlog_timeout
set -- "$@" --slow-log /var/log/wsgi-cgi-slow.log   # slowlog
set -- "$@" --log-file /var/log/wsgi-cgi.log # catch_workers_output
set -- "$@" --access-log /var/log/wsgi-cgi-access.log
set -- "$@" --limit-body 1m                  # post_max_size
set -- "$@" --mount /shop
exec /usr/local/bin/wsgi-cgi "$@" /srv/app/shop.py
