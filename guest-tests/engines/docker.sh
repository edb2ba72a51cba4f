# dockerd of the Debian package docker.io, with its own containerd, without networks.
needs="dockerd containerd docker" packages="docker.io containerd"
. "$(dirname "$0")/lib.sh"
. "$here/common.sh"
client=/usr/bin/docker
[ -x $client ] || client=docker
start_containerd
start dockerd dockerd --data-root "$work/data" --exec-root "$work/exec" -H "unix://$work/docker.sock" --pidfile "$work/docker.pid" \
    --storage-driver vfs --containerd "$work/containerd.sock" --bridge none --iptables=false --ip6tables=false --ip-masq=false \
    --add-runtime "stockade=$stockade"
engine="$client -H unix://$work/docker.sock"
until_ready dockerd $engine version
run="$engine run --runtime stockade --network none"
expect "import" 0 "sha256" $engine import "$work/image.tar" $image
cases
expect "top" 0 "" bash -c "$run -d --name c3 $image sleep 100 && $engine top c3 && $engine rm -f c3"
expect "diff" 0 "A /made" bash -c "$run --name c4 $image touch /made && $engine diff c4 && $engine rm -f c4"
