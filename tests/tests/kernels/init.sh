#!/bin/busybox sh
# First process of the guest. Results go to the second serial line, free of kernel messages, as
# sections that the host reads: a line `=== NAME`, the section, and at the very end `=== end`.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs security /sys/kernel/security
dmesg -n 1
ip link set lo up
ulimit -n 65536
exec >/dev/ttyS1 2>&1 </dev/null
stty -F /dev/ttyS1 raw

# Waits until the command succeeds, at most that many tenths of a second.
wait_for() {
    tenths=$1
    shift
    while ! "$@" >/dev/null 2>&1; do
        tenths=$((tenths - 1))
        [ $tenths -gt 0 ] || return 1
        sleep 0.1
    done
}

# A connection is only printed to who already listens: make some until the first one comes.
seen_one() {
    peer once
    [ -s /tmp/watch ]
}

listening_or_gone() {
    [ -S /run/countersign/countersign.sock ] || ! kill -0 $agent
}

all_closed() {
    [ "$(grep -c '"final":true' /tmp/watch)" -ge "$((wanted + before))" ]
}

# Before everything: after it, the host knows that the guest as such works.
echo "=== kernel"
uname -r
echo "=== version"
countersign --version
echo "=== check"
countersign check --json
echo "=== check_exit"
echo $?

countersign run >/tmp/run 2>&1 &
agent=$!
wait_for 300 listening_or_gone
if [ -S /run/countersign/countersign.sock ]; then
    countersign watch --json >/tmp/watch 2>/tmp/watch_errors &
    watch=$!
    wait_for 100 seen_one
    before=$(grep -c '"final":true' /tmp/watch)
    peer run /tmp/certificates >/tmp/truths 2>/tmp/peer_errors
    wanted=$(wc -l </tmp/truths)
    wait_for 200 all_closed
    kill $watch
fi
kill -TERM $agent
wait $agent
echo "=== run_exit"
echo $?
for section in run watch watch_errors truths peer_errors; do
    echo "=== $section"
    cat /tmp/$section
done
echo "=== end"
sync
poweroff -f
