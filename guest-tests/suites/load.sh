# Loads with their own checks: fio (random writes by several engines, read back and compared by checksums), dbench (a file server's mix) and bonnie++
# (large and many small files), natively and in each place. LOAD_MB (per job of fio; bonnie++ takes four times that) and LOAD_SECONDS (of dbench) give longer runs.
. "$(dirname "$0")/lib.sh"
megabytes=${LOAD_MB:-8} seconds=${LOAD_SECONDS:-3}

# Each job has its own file, and is a process beside the others; they share memory by shmget(2).
cat >"$work/load.fio" <<END
[global]
size=${megabytes}m
verify=crc32c
verify_fatal=1
verify_backlog=64
randrepeat=0
[random-writes]
ioengine=psync
rw=randwrite
bsrange=512-64k
[vectors-in-a-thread]
thread
ioengine=pvsync2
rw=randrw
bs=4k
[mapped]
ioengine=mmap
rw=randrw
bs=4k
[synced]
ioengine=sync
rw=write
bs=16k
fsync=16
size=$((megabytes / 4 + 1))m
[posix-aio]
ioengine=posixaio
iodepth=4
rw=randwrite
bs=8k
[direct]
ioengine=psync
direct=1
rw=randwrite
bs=4k
size=$((megabytes / 4 + 1))m
[in-holes]
ioengine=psync
rw=randwrite
bs=4k
fallocate=none
END
cat >"$work/fio.sh" <<END
mkdir \$PLACE/fio && cd \$PLACE/fio && fio --output-format=terse --eta=never $work/load.fio
END
cat >"$work/dbench.sh" <<END
mkdir \$PLACE/dbench && dbench -D \$PLACE/dbench -c /usr/share/dbench/client.txt -t $seconds 2
END
cat >"$work/bonnie.sh" <<END
mkdir \$PLACE/bonnie && bonnie++ -q -u root -d \$PLACE/bonnie -r 0 -s $((megabytes * 4)) -f -n 1:10000:0:4 -x 1
END

for place in native $places; do
    for load in fio dbench bonnie; do
        log="$work/$place-$load.log" started=$(date +%s)
        inside "$place" "${SUITE_SECONDS:-300}" "sh $work/$load.sh" >"$log" 2>&1
        status=$?
        echo "note: $place $load: status $status, $(($(date +%s) - started)) s"
        # bonnie++ and dbench tell of some errors by words alone. dbench takes the id 0, the first in a new IPC namespace, for an error, and goes on.
        if [ $status = 0 ] && ! grep -v 'failed to create barrier semaphore' "$log" | grep -Eiq 'verify:|bad magic|failed|error|mismatch|can.t'; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "FAILED $place $load: $(tail -n 5 "$log" | tr '\n' '|')"
        fi
    done
done
finish
