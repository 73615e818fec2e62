#!/bin/sh
# Takes a machine of hosts.cfg out of service, and returns when no request is left on
# it: drain.sh app1. Restart wsgi-cgi there, and put it back: drain.sh app1 ready
# That returns when HAProxy uses it again. Only then drain the next one.
# As root, on the machine of HAProxy. Needs: apt install socat
set -eu
server=$1 state=${2:-drain}
haproxy() {
    echo "$1" | socat - UNIX:/run/haproxy/admin.sock
}
column() {                                   # 5: requests (scur), 18: status
    haproxy "show stat" |
        awk -F, -v s="$server" -v n="$1" '$1 == "app" && $2 == s {print $n}'
}

answer=$(haproxy "set server app/$server state $state")
if [ -n "$answer" ]; then                    # such as "No such server."
    echo "$answer" >&2
    exit 1
fi
if [ "$state" = drain ]; then
    until [ "$(column 5)" = 0 ]; do
        sleep 1
    done
else                                         # its checks have to pass
    until [ "$(column 18)" = UP ]; do
        sleep 1
    done
fi
