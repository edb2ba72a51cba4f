# What runs on the machine that debian.sh boots: guest programs in `stockade do`, and a container with limits of cgroup v2.
programs="signals/delivery signals/stops futex/futex memory/files files/data pipe/pipe socket/unix process/exec process/wait"
passed=0 failed=0
pass() {
    passed=$((passed + 1))
}
fail() {
    failed=$((failed + 1))
    echo "FAILED $1"
}
# is WHAT SEEN WANTED
is() {
    if [ "$2" = "$3" ]; then pass; else fail "$1: $2, not $3"; fi
}

echo "note: Linux $(uname -r), with $(cat /sys/fs/cgroup/cgroup.controllers)"
stockade do --verbose -- true 2>&1 | sed 's/^/    /'
is "the command's status" "$(stockade do -- sh -c 'exit 7'; echo $?)" 7
is "processes inside" "$(stockade do -- sh -c 'ps | wc -l')" 4
for program in $programs; do
    name=$(echo "$program" | tr / -)
    if stockade do -- sh -c "mkdir /tmp/w && cd /tmp/w && /programs/$name" >/tmp/out 2>&1; then pass; else fail "$program: $(grep -v '^ok' /tmp/out)"; fi
done

mkdir -p /bundle && cd /bundle
cat >config.json <<END
{
    "ociVersion": "1.2.0",
    "root": { "path": "/", "readonly": true },
    "process": { "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 }, "args": ["sh", "-c",
        "nproc; awk '/MemTotal/ { print \$2 }' /proc/meminfo; while [ -e /proc/self ]; do sleep 1; done"] },
    "mounts": [{ "destination": "/proc", "type": "proc", "source": "proc" }, { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" }],
    "linux": {
        "cgroupsPath": "/tests/one",
        "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }, { "type": "cgroup" }],
        "resources": {
            "memory": { "limit": 134217728, "swap": 134217728, "reservation": 67108864 }, "pids": { "limit": 100 },
            "cpu": { "shares": 512, "quota": 50000, "period": 100000, "cpus": "0" }, "unified": { "hugetlb.2MB.max": "4194304" }
        }
    }
}
END
stockade create one >/tmp/out 2>&1 </dev/null || fail "create: $(cat /tmp/out)"
stockade start one
sleep 4
cgroup=/sys/fs/cgroup/tests/one
holds() {
    is "$1" "$(cat "$cgroup/$1")" "$2"
}
is "what the container sees" "$(tr '\n' ' ' </tmp/out)" "1 131072 "
holds memory.max 134217728
holds memory.swap.max 0
holds memory.low 67108864
holds hugetlb.2MB.max 4194304
holds cpu.max "50000 100000"
holds cpu.weight 20
holds cpuset.cpus 0
# Of the kernel process' own threads, 256 more than are allowed inside.
holds pids.max 356
stockade update --memory 268435456 --memory-swap 268435456 --cpu-quota 20000 --pids-limit 50 one || fail "update"
holds memory.max 268435456
holds cpu.max "20000 100000"
holds pids.max 306
is "MemTotal after update" "$(stockade exec one awk '/MemTotal/ { print $2 }' /proc/meminfo)" 262144
stockade update --cpu-quota -1 one || fail "update of the quota"
holds cpu.max "max 100000"
# More than there may be: the host ends the process that takes it, and no other.
is "too much memory" "$(stockade exec one dd if=/dev/zero of=/dev/null bs=400M count=1 >/tmp/out 2>&1; echo $?)" 137
is "the others" "$(stockade exec one echo alive)" alive
stockade kill one KILL
sleep 1
stockade delete one || fail "delete"
is "the cgroup that stays" "$(ls -d $cgroup 2>/dev/null)" ""
is "processes that stay" "$(ps | grep -c '[s]tockade')" 0
echo "$passed passed, $failed failed, 0 skipped"
