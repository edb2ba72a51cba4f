# Runtimes and engines inside a sandbox: they make containers of stockade's own namespaces, control groups and overlays. On the host's root, without networks.
needs="runc crun podman bwrap" packages="runc crun podman bubblewrap"
. "$(dirname "$0")/lib.sh"
inside="$stockade do -- sh -euc"

# A folder of busybox, and control groups.
prepare='mount -t tmpfs none /tmp; cd /tmp
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p b/rootfs/bin b/rootfs/proc b/rootfs/dev b/rootfs/sys
cp /bin/busybox b/rootfs/bin/; for a in sh id cat ls head dd mknod; do ln -s busybox b/rootfs/bin/$a; done
'
bundle="$prepare"'cd b; runc spec
python3 - "$@" <<END
import json, sys
c = json.load(open("config.json"))
c["process"].update(terminal=False, args=sys.argv[1:])
c["linux"]["namespaces"] = [n for n in c["linux"]["namespaces"] if n["type"] != "network"]
json.dump(c, open("config.json", "w"))
END
'
for runtime in runc crun; do
    expect "$runtime" 0 "uid=0" $inside "$bundle $runtime run c" sh id
    expect "$runtime, a status" 7 "" $inside "$bundle $runtime run c" sh sh -c 'exit 7'
    expect "$runtime, devices" 0 "Operation not permitted" $inside "$bundle $runtime run c" sh sh -c 'head -c 4 /dev/zero >/dev/null && mknod /dev/m c 1 1; cat /proc/self/cgroup'
done

podman="$prepare"'export HOME=/tmp/home; mkdir home
tar -C b/rootfs -cf image.tar .
P="podman --root /tmp/graph --runroot /tmp/run --storage-driver $1 --cgroup-manager cgroupfs --runtime $2"
$P import image.tar box >/dev/null
run="$P run --network=host --security-opt seccomp=unconfined"
'
for driver in overlay vfs; do
    for runtime in runc crun; do
        expect "podman, $driver, $runtime" 0 "uid=0" $inside "$podman"'$run --rm box id' sh $driver $runtime
    done
done
expect "podman, detached" 0 "done" $inside "$podman"'$run -d --name c box sh -c "echo done; sleep 60" >/dev/null; $P exec c id; $P logs c; $P rm -ft 0 c' sh overlay crun
expect "podman, a volume" 0 "there" $inside "$podman"'mkdir v; $run --rm -v /tmp/v:/v box sh -c "echo there >/v/file"; cat v/file' sh overlay crun

expect "bwrap" 0 "uid=0" "$stockade" do -- bwrap --ro-bind / / --dev /dev --proc /proc --unshare-user --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try id
expect "bwrap, read-only" 2 "Read-only file system" "$stockade" do -- bwrap --ro-bind / / --unshare-user sh -c 'echo >/file'
expect "unshare" 0 "root" "$stockade" do -- unshare -Urmp --fork --mount-proc sh -c 'mount -t tmpfs none /mnt && id -un'
