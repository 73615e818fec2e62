#!/bin/sh
# Takes a machine of hosts.cfg out of service, and returns when no request is left on
# it: drain.sh app1. Restart wsgi-cgi there, and put it back: drain.sh app1 ready
# As root, on the machine of HAProxy. Needs: apt install socat
set -eu
server=$1 state=${2:-drain}
haproxy() {
    echo "$1" | socat - UNIX:/run/haproxy/admin.sock
}
sessions() {                                 # the column "scur"
    haproxy "show stat" |
        awk -F, -v server="$server" '$1 == "app" && $2 == server {print $5}'
}

answer=$(haproxy "set server app/$server state $state")
if [ -n "$answer" ]; then                    # such as "No such server."
    echo "$answer" >&2
    exit 1
fi
if [ "$state" = drain ]; then
    until [ "$(sessions)" = 0 ]; do
        sleep 1
    done
fi
