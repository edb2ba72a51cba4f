# What the scripts of this folder share. Each is called as `bash SUITE.sh STOCKADE TOOLS`, as root, and ends with "N passed, N failed, N skipped".
# It runs a suite of file systems natively, then in sandboxes, in these places: a tmpfs that the guest mounts; the overlay of `stockade do` with its changes in
# memory, and in files of the host (self); a folder of the host that an OCI bundle mounts (the gofer), for the container alone (bind), and one that the host may change (shared).
set -uo pipefail
stockade=$1 tools=$2
work=$(mktemp -d "${TMPDIR:-/var/tmp}/stockade-suite-XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
places=${SUITE_PLACES:-tmpfs overlay self bind shared}

# inside PLACE SECONDS COMMAND: a shell command in a sandbox, or natively in a new folder; it works in the folder $PLACE there.
inside() {
    local place=$1 seconds=$2 command=$3
    case $place in
    native)
        PLACE=$(mktemp -d "$work/native-XXXXXX") timeout -k 1 "$seconds" /bin/sh -c "$command"
        ;;
    native-disk | native-tmpfs | native-overlay) # in namespaces of its own, as a sandbox has; on the host's disk, a tmpfs, or an overlay on one
        PLACE=$(mktemp -d "$work/native-XXXXXX") timeout -k 1 "$seconds" unshare --mount --pid --ipc --uts --fork --kill-child --mount-proc -- /bin/sh -c "
            case $place in
            native-tmpfs) mount -t tmpfs tmpfs \$PLACE ;;
            native-overlay)
                mount -t tmpfs tmpfs \$PLACE && cd \$PLACE && mkdir lower upper work merged &&
                    mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && PLACE=\$PLACE/merged/place && mkdir \$PLACE
                ;;
            esac
            $command"
        ;;
    tmpfs)
        timeout -k 1 "$seconds" "$stockade" do -e PLACE=/mnt -- /bin/sh -c "mount -t tmpfs tmpfs /mnt && $command"
        ;;
    overlay)
        timeout -k 1 "$seconds" "$stockade" do -e PLACE=/srv/place -- /bin/sh -c "mkdir /srv/place && $command"
        ;;
    self)
        timeout -k 1 "$seconds" "$stockade" --overlay2=root:self do -e PLACE=/srv/place -- /bin/sh -c "mkdir /srv/place && $command"
        ;;
    bind | shared)
        local access=exclusive
        test "$place" = bind || access=shared
        bundle "$command"
        timeout -k 1 "$seconds" "$stockade" --root "$work/states" --file-access-mounts=$access run --bundle "$work/bundle" "suite-$$"
        ;;
    esac
}

# bundle COMMAND: the host's root, read-only, with $work/place mounted on /mnt.
bundle() {
    rm -rf "$work/place"
    mkdir -p "$work/bundle" "$work/place"
    local capabilities='["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_SETGID", "CAP_SETUID",
        "CAP_MKNOD", "CAP_SETFCAP", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_KILL"]'
    cat >"$work/bundle/config.json" <<END
{
    "ociVersion": "1.2.0",
    "root": { "path": "/", "readonly": true },
    "process": {
        "cwd": "/", "args": ["/bin/sh", "-c", "$1"], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PLACE=/mnt"],
        "user": { "uid": 0, "gid": 0 },
        "capabilities": { "bounding": $capabilities, "effective": $capabilities, "permitted": $capabilities }
    },
    "mounts": [
        { "destination": "/proc", "type": "proc", "source": "proc" },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        { "destination": "/mnt", "type": "bind", "source": "$work/place", "options": ["rbind", "rw"] }
    ],
    "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] }
}
END
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
}
