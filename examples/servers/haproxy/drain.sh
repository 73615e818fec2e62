#!/bin/sh
# drain.sh app1        HAProxy sends that machine of hosts.cfg no new requests; returns
#                      when it has none. Refused while no other machine is up.
#                      Now restart wsgi-cgi there: wait until the old one has ended.
# drain.sh app1 ready  The machine is used again when its next two checks have passed;
#                      returns then. If it waits, the log of wsgi-cgi there has the
#                      reason: repair the code and start wsgi-cgi again. Ctrl-C does no
#                      harm: HAProxy goes on checking.
# As root, on the machine of HAProxy. Needs: apt install socat
set -eu
socket=/run/haproxy/admin.sock               # as in hosts.cfg
server=${1:?usage: drain.sh SERVER [ready]} state=${2:-drain}
haproxy() {
    echo "$1" | socat - "UNIX:$socket"
}
# Columns of "show stat": 5 requests on it (scur), 18 status, 37 result of the check
field() {
    haproxy "show stat" |
        awk -F, -v s="$server" -v n="$1" '$1 == "app" && $2 == s {print $n}'
}
another_is_up() {
    haproxy "show stat" | awk -F, -v s="$server" '
        $1 == "app" && $2 != s && $2 != "BACKEND" && $18 ~ /^UP/ {n++} END {exit !n}'
}
is_done() {
    case $state in
    drain) [ "$(field 5)" = 0 ] ;;
    *) [ "$(field 18)" = UP ] ;;
    esac
}

if [ "$state" = ready ]; then
    # HAProxy still has the result of the checks from before: new ones have to pass.
    haproxy "set server app/$server health down" >/dev/null
elif [ -n "$(field 18)" ] && ! another_is_up; then
    echo "drain.sh: no other machine is up: $server stays in use" >&2
    exit 1
fi
answer=$(haproxy "set server app/$server state $state")
if [ -n "$answer" ]; then                    # such as "No such server."
    echo "$answer" >&2
    exit 1
fi
seconds=0
until is_done; do
    sleep 1
    seconds=$((seconds + 1))
    if [ $((seconds % 10)) = 0 ]; then
        echo "drain.sh: waiting: $server is $(field 18), check $(field 37)," \
            "requests $(field 5); the log of wsgi-cgi there says more" >&2
    fi
done
