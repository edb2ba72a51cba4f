# What the scripts of the engines share. Each is called as `bash ENGINE.sh STOCKADE`, as root, and ends with "N passed, N failed, N skipped".
set -uo pipefail
stockade=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/stockade-engine-XXXXXX)
passed=0 failed=0 skipped=0 daemons=()

# expect WHAT STATUS WORDS COMMAND...: the command ends with the status, and its output holds the words.
expect() {
    local what=$1 status=$2 words=$3 out got
    shift 3
    out=$(timeout 60 "$@" 2>&1 </dev/null)
    got=$?
    if [ $got = "$status" ] && grep -qF -- "$words" <<<"$out"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $what: status $got instead of $status, or no \"$words\" in: $out"
    fi
}

# skip WHY: what this machine lacks; the script ends well.
skip() {
    echo "skipped: $1"
    skipped=$((skipped + 1))
    exit 0
}

# start NAME COMMAND...: a daemon of this script's own, ended at its end.
start() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 </dev/null &
    daemons+=($!)
}

# until_ready WHAT COMMAND...: at most 30 seconds.
until_ready() {
    local what=$1
    shift
    for _ in $(seq 150); do
        timeout 10 "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    skip "$what does not start here: $(tail -n 2 "$work"/*.log)"
}

# Takes more memory than it may have, by its own hands: what the kernel process writes into a guest at its limit can cost both (README).
hog='awk "BEGIN { s = \"x\"; while (1) s = s s }" | wc -c'

# A containerd without CRI, at $work/containerd.sock.
start_containerd() {
    cat >"$work/containerd.toml" <<END
version = 2
root = "$work/containerd"
state = "$work/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$work/containerd.sock"
END
    start containerd containerd -c "$work/containerd.toml"
    until_ready containerd ctr -a "$work/containerd.sock" version
}

finish() {
    # What an engine of ours left running or mounted, newest daemon first.
    for ((i = ${#daemons[@]} - 1; i >= 0; i--)); do
        kill "${daemons[i]}" 2>/dev/null
        wait "${daemons[i]}" 2>/dev/null
    done
    awk -v w="$work" 'index($2, w) == 1 {print $2}' /proc/mounts | sort -r | while read -r at; do umount -l "$at"; done
    rm -rf "$work"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
trap 'finish; exit $?' EXIT

[ "$(id -u)" = 0 ] || skip "engines need root here"
for program in $needs busybox script; do
    command -v "$program" >/dev/null || skip "$program is missing: apt-get install $packages busybox-static bsdutils"
done
[ -d /sys/fs/cgroup/memory ] || [ -e /sys/fs/cgroup/cgroup.controllers ] || skip "no cgroups are mounted at /sys/fs/cgroup"

# An image: busybox.
mkdir -p "$work"/root/{bin,etc,tmp,proc,sys,dev} "$work"/volume
cp "$(command -v busybox)" "$work/root/bin/busybox"
chroot "$work/root" /bin/busybox --install -s /bin
echo 'root:x:0:0:root:/root:/bin/sh' >"$work/root/etc/passwd"
echo 'u:x:1000:50:u:/home/u:/bin/sh' >>"$work/root/etc/passwd"
tar -C "$work/root" -cf "$work/image.tar" .
echo hello >"$work/volume/file"
# What an engine leaves in the current folder (conmon: `oom`) goes with the rest.
cd "$work" || exit 1
