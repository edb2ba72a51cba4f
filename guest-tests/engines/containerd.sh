# containerd by its client ctr.
needs="containerd ctr" packages="containerd"
. "$(dirname "$0")/lib.sh"
start_containerd
ctr="ctr -a $work/containerd.sock"
# An image archive (OCI image layout) by hand: one layer, a configuration, a manifest.
layout=$work/layout
mkdir -p "$layout/blobs/sha256"
blob() { local sum; sum=$(sha256sum <"$1" | cut -d' ' -f1); mv "$1" "$layout/blobs/sha256/$sum"; echo "$sum"; }
described() { echo "{\"mediaType\":\"application/vnd.oci.image.$1\",\"digest\":\"sha256:$2\",\"size\":$(stat -c %s "$layout/blobs/sha256/$2")}"; }
layer=$(blob "$work/image.tar")
echo "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$layer\"]}}" >"$work/config"
config=$(blob "$work/config")
echo "{\"schemaVersion\":2,\"config\":$(described config.v1+json "$config"),\"layers\":[$(described layer.v1.tar "$layer")]}" >"$work/manifest"
manifest=$(blob "$work/manifest")
echo "{\"schemaVersion\":2,\"manifests\":[$(described manifest.v1+json "$manifest" | sed 's|}$|,"annotations":{"io.containerd.image.name":"docker.io/library/busybox-test:latest"}}|')]}" >"$layout/index.json"
echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
tar -C "$layout" -cf "$work/layout.tar" .
image=docker.io/library/busybox-test:latest
flags="--snapshotter native --runc-binary $stockade"
run="$ctr run --rm $flags $image"
expect "import" 0 "" $ctr image import --snapshotter native "$work/layout.tar"
expect "true" 0 "" $run x true
expect "a status" 3 "" $run x sh -c 'exit 3'
expect "a pipeline" 0 "271" $run x sh -c 'seq 1 1000 | grep 7 | wc -l'
expect "it is stockade" 0 "stockade" $run x cat /proc/version
expect "no such program" 1 "executable file not found in \$PATH" $run x nope
expect "a bind mount" 0 "hello" $ctr run --rm $flags --mount "type=bind,src=$work/volume,dst=/v,options=rbind:ro" $image x cat /v/file
expect "--read-only" 1 "Read-only file system" $ctr run --rm $flags --read-only $image x sh -c 'echo > /file'
expect "--memory-limit" 0 "Killed" $ctr run --rm $flags --memory-limit 60000000 $image x sh -c "$hog"
expect "-t" 0 "/dev/pts/0" script -qec "$ctr run -t --rm $flags $image x tty" /dev/null
expect "-d" 0 "" $ctr run -d $flags $image y sleep 100
expect "exec" 4 "in" $ctr task exec --exec-id e1 y sh -c 'echo in; exit 4'
expect "exec --user --cwd" 0 "1000 /tmp" $ctr task exec --exec-id e2 --user 1000 --cwd /tmp y sh -c 'echo $(id -u) $PWD'
expect "exec -d" 0 "" $ctr task exec -d --exec-id e3 y sleep 50
expect "task ps" 0 "PID" $ctr task ps y
expect "pause" 0 "" $ctr task pause y
expect "paused" 0 "PAUSED" $ctr task ls
expect "resume" 0 "" $ctr task resume y
expect "metrics" 0 "" $ctr task metrics y
expect "kill" 0 "" $ctr task kill -s KILL y
sleep 1
expect "stopped" 0 "STOPPED" $ctr task ls
expect "delete" 0 "137" $ctr task rm y
expect "rm" 0 "" $ctr container rm y
