#!/bin/sh
# After: shop.ini as options, in the same order. plugins, master, vacuum and
# die-on-term need none: it is always so. --control speaks FastCGI, where stats
# sends JSON to each client.
set -- --env SHOP_SETTINGS=production        # env
set -- "$@" --bind unix:/run/wsgi-cgi/app.sock      # socket
set -- "$@" --socket-mode 660                # chmod-socket
set -- "$@" --socket-owner www-data:www-data # chown-socket
set -- "$@" --user www-data --group www-data # uid, gid
set -- "$@" --backlog 100                    # listen
set -- "$@" --processes 2 --threads 4        # processes, threads
set -- "$@" --preload                        # no lazy-apps
set -- "$@" --chdir /srv/app                 # chdir
set -- "$@" --venv /srv/app/venv             # virtualenv
set -- "$@" --mount /shop                    # mount, manage-script-name
set -- "$@" --need-app                       # need-app
set -- "$@" --max-requests 10000             # max-requests
set -- "$@" --max-memory 512m                # reload-on-rss
set -- "$@" --request-timeout 60s            # harakiri
set -- "$@" --graceful-timeout 15s           # worker-reload-mercy
set -- "$@" --limit-body 1m                  # limit-post
set -- "$@" --limit-head 32k                 # buffer-size
set -- "$@" --touch-reload /srv/app/reload   # touch-reload
set -- "$@" --reload off                     # ... as uWSGI: nothing else reloads
set -- "$@" --control unix:/run/wsgi-cgi/stats.sock # stats
set -- "$@" --pid-file /run/wsgi-cgi/app.pid # pidfile2
set -- "$@" --log-file /var/log/wsgi-cgi.log # logto2
exec /usr/local/bin/wsgi-cgi "$@" shop:application
