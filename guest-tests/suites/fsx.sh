# fsx, the Rust crate: random writes, reads, mappings, truncations, holes and copies of one file, each checked against what it must hold.
# FSX_OPERATIONS (per place) and FSX_SEED give other runs.
. "$(dirname "$0")/lib.sh"
operations=${FSX_OPERATIONS:-20000} seed=${FSX_SEED:-$RANDOM}

cat >"$work/fsx.toml" <<'END'
flen = 262144
[opsize]
max = 65536
[weights]
close_open = 1
invalidate = 0.5
mapread = 10
mapwrite = 10
read = 10
write = 10
truncate = 5
fsync = 0.5
fdatasync = 0.5
posix_fallocate = 2
punch_hole = 3
sendfile = 3
posix_fadvise = 1
copy_file_range = 3
END
for place in $places; do
    log="$work/$place.log"
    inside "$place" "${SUITE_SECONDS:-600}" "cd \$PLACE && $tools/fsx -q -f $work/fsx.toml -N $operations -S $seed -P \$PLACE file" >"$log" 2>&1
    status=$?
    echo "note: $place: $operations operations, seed $seed: status $status"
    if [ $status = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $place with seed $seed: $(tail -n 12 "$log" | tr '\n' '|')"
    fi
done
finish
