# pjdfstest, the Rust crate: what a POSIX file system does. Each test that passes natively must pass in every place.
. "$(dirname "$0")/lib.sh"

cat >"$work/pjdfstest.toml" <<'END'
[features]
posix_fallocate = {}

[settings]
naptime = 0.02

[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
END
run="$tools/pjdfstest -c $work/pjdfstest.toml -s /dev/shm"

# names FILE: the tests that passed, sorted.
names() {
    awk '$2 == "ok" { print $1 }' "$1" | sort
}

mkdir "$work/native"
(cd "$work/native" && timeout 600 $run -p "$work/native") >"$work/native.log" 2>&1
names "$work/native.log" >"$work/native.ok"
if [ ! -s "$work/native.ok" ]; then
    echo "FAILED pjdfstest passes nothing natively: $(tail -n 3 "$work/native.log")"
    failed=1
fi
for place in $places; do
    inside "$place" 900 "$run -p \$PLACE" >"$work/$place.log" 2>&1
    names "$work/$place.log" >"$work/$place.ok"
    while read -r name; do
        # What the suite itself cannot run there, for lack of a limit that it could find out.
        # glibc takes LINK_MAX of ext4 from the device's line in /proc/mounts, where a sandbox shows none.
        if grep -q "^$name  *skipped" "$work/$place.log" || [[ "$place $name" = @(bind|shared)" link::link_count_max" ]]; then
            skipped=$((skipped + 1))
            echo "skipped: $place $name: $(grep -A1 "^$name " "$work/$place.log" | tail -n 1)"
            continue
        fi
        failed=$((failed + 1))
        why=$(grep -A1 "^$name " "$work/$place.log" | tail -n +1 | tr -s ' \n' ' ')
        echo "FAILED $place ${why:-$name did not run: $(tail -n 1 "$work/$place.log")}"
    done < <(comm -23 "$work/native.ok" "$work/$place.ok")
    passed=$((passed + $(comm -12 "$work/native.ok" "$work/$place.ok" | wc -l)))
done
finish
