#!/bin/sh
# drain.sh app1        HAProxy sends that machine of hosts.cfg no new requests; returns
#                      when it has none. Now restart wsgi-cgi there.
# drain.sh app1 ready  The machine is used again; returns when its checks pass.
# As root, on the machine of HAProxy. Needs: apt install socat
set -eu
server=$1 state=${2:-drain}
case $state in
drain) column=5 end=0 ;;                     # scur: requests on it
*) column=18 end=UP ;;                       # status
esac
haproxy() {
    echo "$1" | socat - UNIX:/run/haproxy/admin.sock
}
now() {
    haproxy "show stat" |
        awk -F, -v s="$server" -v n=$column '$1 == "app" && $2 == s {print $n}'
}

answer=$(haproxy "set server app/$server state $state")
if [ -n "$answer" ]; then                    # such as "No such server."
    echo "$answer" >&2
    exit 1
fi
until [ "$(now)" = $end ]; do
    sleep 1
done
