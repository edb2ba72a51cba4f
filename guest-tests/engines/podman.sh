# podman as root, without networks.
needs="podman conmon" packages="podman"
. "$(dirname "$0")/lib.sh"
. "$here/common.sh"
cat >"$work/containers.conf" <<END
[containers]
default_ulimits = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
stockade = ["$stockade"]
END
cat >"$work/storage.conf" <<END
[storage]
driver = "vfs"
runroot = "$work/run"
graphroot = "$work/graph"
END
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
engine="podman --runtime stockade"
run="$engine run --network none"
expect "import" 0 "" $engine import "$work/image.tar" $image
cases
expect "--network host" 0 "hello" $engine run --rm --network host -v "$work/volume:/v" $image cat /v/file
