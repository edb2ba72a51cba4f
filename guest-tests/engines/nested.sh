# Runtimes and engines inside a sandbox: they make containers of stockade's own namespaces, control groups and overlays. On the host's root, without networks
# but for each network namespace's loopback device.
needs="runc crun podman bwrap dockerd containerd docker" packages="runc crun podman bubblewrap docker.io containerd"
. "$(dirname "$0")/lib.sh"
inside="$stockade do -- sh -euc"

# A folder of busybox, and control groups.
prepare='mount -t tmpfs none /tmp; cd /tmp
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p b/rootfs/bin b/rootfs/proc b/rootfs/dev b/rootfs/sys
cp /bin/busybox b/rootfs/bin/; for a in sh id cat ls head dd mknod ip sleep; do ln -s busybox b/rootfs/bin/$a; done
'
bundle="$prepare"'cd b; runc spec
python3 - "$@" <<END
import json, sys
c = json.load(open("config.json"))
c["process"].update(terminal=False, args=sys.argv[1:])
json.dump(c, open("config.json", "w"))
END
'
for runtime in runc crun; do
    expect "$runtime" 0 "uid=0" $inside "$bundle $runtime run c" sh id
    expect "$runtime, a status" 7 "" $inside "$bundle $runtime run c" sh sh -c 'exit 7'
    expect "$runtime, the loopback device" 0 "inet 127.0.0.1/8" $inside "$bundle $runtime run c" sh ip addr
    expect "$runtime, devices" 0 "Operation not permitted" $inside "$bundle $runtime run c" sh sh -c 'head -c 4 /dev/zero >/dev/null && mknod /dev/m c 1 1; cat /proc/self/cgroup'
done

# The same with hierarchies of version 1, and limits.
old='mount -t tmpfs none /sys/fs/cgroup
for c in cpu,cpuacct cpuset memory devices freezer pids; do mkdir /sys/fs/cgroup/$c; mount -t cgroup -o $c none /sys/fs/cgroup/$c; done
ln -s cpu,cpuacct /sys/fs/cgroup/cpu; ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct
mkdir /sys/fs/cgroup/systemd; mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd
'
limits='python3 - <<END
import json
c = json.load(open("config.json"))
c["linux"]["resources"].update(cpu={"quota": 50000, "period": 100000, "cpus": "0"}, pids={"limit": 50})
json.dump(c, open("config.json", "w"))
END
'
for runtime in runc crun; do
    expect "$runtime, limits" 0 "50000 100000" $inside "$bundle$limits $runtime run c" sh sh -c 'cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpuset.cpus'
    expect "$runtime, version 1" 0 "c 1:3 rwm" $inside "${bundle/mount -t cgroup2 none \/sys\/fs\/cgroup/$old}$limits $runtime run c" sh sh -c 'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu*/cpu.cfs_quota_us cpuset/cpuset.cpus pids/pids.max devices/devices.list'
done

podman="$prepare"'export HOME=/tmp/home; mkdir home
tar -C b/rootfs -cf image.tar .
P="podman --root /tmp/graph --runroot /tmp/run --storage-driver $1 --cgroup-manager cgroupfs --runtime $2"
$P import image.tar box >/dev/null
run="$P run --network=$3"
'
for driver in overlay vfs; do
    for runtime in runc crun; do
        expect "podman, $driver, $runtime" 0 "uid=0" $inside "$podman"'$run --rm box id' sh $driver $runtime none
    done
done
for network in none host; do
    expect "podman, network $network" 0 "inet 127.0.0.1/8" $inside "$podman"'$run --rm box ip addr' sh overlay crun $network
done
expect "podman, its seccomp profile" 0 "Seccomp:	2" $inside "$podman"'$run --rm box cat /proc/self/status' sh overlay runc none
expect "podman, detached" 0 "done" $inside "$podman"'$run -d --name c box sh -c "echo done; sleep 60" >/dev/null; $P exec c id; $P logs c; $P rm -ft 0 c' sh overlay crun none
expect "podman, a volume" 0 "there" $inside "$podman"'mkdir v; $run --rm -v /tmp/v:/v box sh -c "echo there >/v/file"; cat v/file' sh overlay crun none

# Nothing is forwarded, and no bridge can be made: dockerd wants to be told.
client=/usr/bin/docker
[ -x $client ] || client=docker
docker="$prepare"'tar -C b/rootfs -cf image.tar .
dockerd --data-root /tmp/data --exec-root /tmp/exec -H unix:///tmp/docker.sock --pidfile /tmp/docker.pid --storage-driver $1 \
    --bridge none --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false >log 2>&1 &
D="$2 -H unix:///tmp/docker.sock"
for i in $(seq 100); do $D version >/dev/null 2>&1 && break; sleep 0.2; done
$D import image.tar box >/dev/null || tail log
run="$D run --network none"
'
for driver in overlay2 vfs; do
    expect "docker, $driver" 0 "uid=0" $inside "$docker"'$run --rm box id' sh $driver $client
done
expect "docker, its seccomp profile" 0 "Seccomp:	2" $inside "$docker"'$run --rm box cat /proc/self/status' sh overlay2 $client
expect "docker, a status" 7 "" $inside "$docker"'$run --rm box sh -c "exit 7"' sh overlay2 $client
expect "docker, the loopback device" 0 "inet 127.0.0.1/8" $inside "$docker"'$run --rm box ip addr' sh overlay2 $client
expect "docker, detached" 0 "done" $inside "$docker"'$run -d --name one box sh -c "echo done; exec sleep 60" >/dev/null; $D exec one id; $D logs one; $D rm -f one' sh overlay2 $client
expect "docker, a volume" 0 "there" $inside "$docker"'mkdir v; $run --rm -v /tmp/v:/v box sh -c "echo there >/v/file"; cat v/file' sh overlay2 $client

expect "bwrap" 0 "uid=0" "$stockade" do -- bwrap --ro-bind / / --dev /dev --proc /proc --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try id
expect "bwrap, all namespaces" 0 "inet 127.0.0.1/8" "$stockade" do -- bwrap --ro-bind / / --dev /dev --proc /proc --unshare-all ip addr
expect "bwrap, read-only" 2 "Read-only file system" "$stockade" do -- bwrap --ro-bind / / --unshare-user sh -c 'echo >/file'
expect "unshare" 0 "root" "$stockade" do -- unshare -Urmp --fork --mount-proc sh -c 'mount -t tmpfs none /mnt && id -un'
