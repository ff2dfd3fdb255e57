#!/bin/sh
# Restart several hosts behind a proxy, one after the other; stops at the first that does not come back.
#
#   rolling-restart.sh host-a=http://10.0.0.1:8000 host-b=http://10.0.0.2:8000
#
# What restarts a host, and what its name is, is in `restart_host`: systemctl over ssh, unless RESTART names another command.
set -eu

MOUNT=${MOUNT:-/live}
WAIT=${WAIT:-120}  # seconds for a host to be ready again

restart_host() {
    if [ -n "${RESTART:-}" ]; then "$RESTART" "$1"; else ssh "$1" sudo systemctl restart everywire; fi
}

ready() {
    curl --silent --fail --max-time 2 --output /dev/null "$1$MOUNT/health"
}

wait_until_ready() {
    left=$WAIT
    until ready "$2"; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "$1 is not ready at $2 after $WAIT seconds: stopping here, the others were not touched" >&2
            exit 1
        fi
        sleep 1
    done
}

[ $# -gt 0 ] || { echo "usage: $0 name=http://host:port ..." >&2; exit 2; }
for host in "$@"; do  # one that is away already, and this one: nobody would be left
    wait_until_ready "${host%%=*}" "${host#*=}"
done
for host in "$@"; do
    echo "restarting ${host%%=*}"
    restart_host "${host%%=*}"  # returns when its readers have left and the new one is started
    wait_until_ready "${host%%=*}" "${host#*=}"
done
echo "restarted $#"
