# What docker and podman share: $engine is the client with its flags, $run starts a container in stockade without a network.
image=busybox-test

cases() {
    expect "true" 0 "" $run --rm $image true
    expect "a status" 3 "" $run --rm $image sh -c 'exit 3'
    expect "a pipeline" 0 "271" $run --rm $image sh -c 'seq 1 1000 | grep 7 | wc -l'
    expect "it is stockade" 0 "stockade" $run --rm $image cat /proc/version
    expect "no such program" 127 "executable file not found in \$PATH" $run --rm $image nope
    expect "not executable" 126 "permission denied" $run --rm $image /etc/passwd
    expect "--user" 0 "uid=1000(u) gid=50" $run --rm --user 1000:50 $image id
    expect "HOME" 0 "/home/u" $run --rm --user 1000 $image sh -c 'echo $HOME'
    expect "-e" 0 "b" $run --rm -e A=b $image sh -c 'echo $A'
    expect "-v" 0 "hello" $run --rm -v "$work/volume:/v" $image sh -c 'echo new > /v/new; cat /v/file'
    expect "a file written there" 0 "new" cat "$work/volume/new"
    expect "-v ro" 1 "Read-only file system" $run --rm -v "$work/volume:/v:ro" $image sh -c 'echo > /v/more'
    expect "--read-only" 1 "Read-only file system" $run --rm --read-only $image sh -c 'echo > /file'
    expect "--tmpfs" 0 "1024" $run --rm --tmpfs /t:size=1m $image df /t
    expect "--memory" 0 "Killed" $run --rm --memory 64m $image sh -c "$hog"
    expect "--pids-limit" 2 "can't fork" $run --rm --pids-limit 10 $image sh -c 'for i in $(seq 20); do sleep 5 & done'
    expect "limits as the container sees them" 0 "67108864 10 50000 100000" $run --rm --memory 64m --pids-limit 10 --cpus 0.5 $image sh -c 'cd /sys/fs/cgroup && echo $(cat memory.max pids.max cpu.max)'
    expect "/dev/mqueue" 0 "mqueue" $run --rm $image grep -w /dev/mqueue /proc/mounts
    expect "--cap-drop" 1 "Operation not permitted" $run --rm --cap-drop ALL $image chown 1 /tmp
    # The engine's own profile, none, and one that says how chown fails.
    expect "seccomp" 0 "Seccomp:	2" $run --rm $image cat /proc/self/status
    expect "seccomp=unconfined" 0 "Seccomp:	0" $run --rm --security-opt seccomp=unconfined $image cat /proc/self/status
    echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chown", "lchown", "fchownat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}' >"$work/profile.json"
    expect "seccomp=FILE" 1 "No space left" $run --rm --security-opt "seccomp=$work/profile.json" $image chown 1 /tmp
    expect "-i" 0 "data" bash -c "echo data | $run -i --rm $image cat"
    # Of a terminal that closes at once podman loses the output now and then, under runc as well.
    expect "-it" 0 "/dev/pts/0" script -qec "$run -it --rm $image sh -c 'tty; sleep 1'" /dev/null
    expect "-d" 0 "" $run -d --name c1 $image sh -c 'trap "exit 9" TERM; echo started; while :; do sleep 0.1; done'
    sleep 1
    expect "logs" 0 "started" $engine logs c1
    expect "exec" 4 "in" $engine exec c1 sh -c 'echo in; exit 4'
    expect "exec, its seccomp" 0 "Seccomp:	2" $engine exec c1 cat /proc/self/status
    expect "exec -u -w -e" 0 "1000 /tmp y" $engine exec -u 1000 -w /tmp -e X=y c1 sh -c 'echo $(id -u) $PWD $X'
    expect "exec -it" 0 "/dev/pts" script -qec "$engine exec -it c1 sh -c 'tty; sleep 1'" /dev/null
    expect "exec -d" 0 "" $engine exec -d c1 sleep 77
    expect "pause" 0 "" $engine pause c1
    expect "unpause" 0 "" $engine unpause c1
    expect "update or stats" 0 "" $engine stats --no-stream c1
    expect "stop" 0 "" $engine stop -t 5 c1
    expect "wait" 0 "9" $engine wait c1
    expect "start" 0 "" $engine start c1
    expect "kill" 0 "" $engine kill c1
    expect "its status" 0 "137" $engine wait c1
    expect "rm" 0 "" $engine rm c1
    expect "rm -f" 0 "" bash -c "$run -d --name c2 $image sleep 100 && $engine rm -f c2"
}
