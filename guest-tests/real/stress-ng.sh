# stress-ng with its own checks: processes, threads, signals, timers, futexes, pipes, IPC, memory and schedulers, some of them at a time, for a minute in all.
set -u
cd /tmp
failed=0
round() {
    local names=() name
    for name; do names+=("--$name" 1); done
    timeout -k 1 40 stress-ng --verify --metrics-brief --timeout 3 --vm-bytes 16M --mmap-bytes 16M "${names[@]}" > log 2>&1
    status=$?
    if [ $status != 0 ] || grep -Eq 'fail:|error:|failed: [1-9]' log; then
        echo "stress-ng $*: status $status"; cat log; failed=1
    fi
}
round pthread clone fork vfork
round futex mutex sem sem-sysv
round wait zombie exit-group session
round kill signal sigq sigrt
round sigsegv sigfpe sigchld sigsuspend
round sigpipe sigabrt sigfd sigpending
round itimer timer timerfd alarm
round pipe fifo splice tee
round eventfd poll msg mq
round mmap mprotect mremap munmap
round vm malloc brk stack
round nice schedpolicy affinity yield
round switch nanosleep clock hrtimers
test $failed = 0 && echo ok
