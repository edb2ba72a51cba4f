# Who looks into other processes: strace, gdb, and the leak checkers of gcc's sanitizers.
set -eu
cd /tmp

# strace: a pipeline with all its processes; one that runs already; counts; a call that fails by its order.
strace -f -o trace sh -c 'echo one | tr a-z A-Z; (exit 3); exec true'
grep -q 'write(1, "ONE\\n", 4) *= 4$' trace && grep -q '+++ exited with 3 +++' trace
grep -q 'execve("/usr/bin/tr", \["tr", "a-z", "A-Z"\]' trace && grep -q 'execve("/usr/bin/true", \["true"\].* = 0$' trace
! grep -q '???' trace
sleep 100 & sleeper=$!
until grep -q nanosleep "/proc/$sleeper/wchan" 2> /dev/null || grep -q S "/proc/$sleeper/stat"; do sleep 0.05; done
strace -o attached -p $sleeper & tracer=$!
until grep -q "TracerPid:	$tracer" "/proc/$sleeper/status"; do sleep 0.05; done
kill $sleeper && ! wait $sleeper 2> /dev/null
wait $tracer || true
grep -q 'killed by SIGTERM' attached && grep -q 'restart_syscall\|nanosleep' attached
strace -c -o counts cat /etc/passwd > /dev/null && grep -q ' read$' counts
strace -qq -e trace=unlink,unlinkat -e inject=unlink,unlinkat:error=EROFS -o /dev/null rm -f trace 2> said || true
test -e trace && grep -q 'Read-only file system' said
python3 -c 'import os; print(os.listdir("/proc/self/fd"))' > /dev/null
strace -f -o python.trace python3 -c '
import threading, subprocess
threads = [threading.Thread(target=lambda: open("/etc/passwd").read()) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
subprocess.run(["true"], check=True)'
test "$(grep -c 'openat(AT_FDCWD, "/etc/passwd"' python.trace)" = 4

# gdb: breakpoints, steps, a watched variable, threads, a call; what runs already; what a signal ended.
cat > work.c << 'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
volatile int counter;
static void *worker(void *arg) { for (int i = 0; i < 3; i++) { counter++; usleep(1000); } return arg; }
static int add(int a, int b)
{
    int c = a + b;
    return c;
}
int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc > 2)
        abort();
    pthread_create(&thread, 0, worker, 0);
    int sum = 0;
    for (int i = 1; i < 4; i++)
        sum = add(sum, i);
    pthread_join(thread, 0);
    printf("sum %d counter %d\n", sum, counter);
    for (; argc > 1; counter++)
        usleep(1000);
    return sum;
}
C
gcc -g -O0 -pthread -o work work.c
gdb -q -nx -batch -ex 'break add if b == 2' -ex run -ex backtrace -ex 'info threads' -ex delete -ex 'print add(40, 2)' -ex next -ex 'set var c = 50' -ex finish \
    -ex 'watch sum' -ex continue -ex delete -ex continue ./work > gdb.out 2>&1 || true
cat gdb.out
grep -q '^#0  add (a=1, b=2)' gdb.out && grep -q '^#1 .* main' gdb.out && grep -q '^\$1 = 42' gdb.out
grep -q 'Value returned is .* 50' gdb.out && grep -q 'New value = 50' gdb.out && grep -q 'sum 53 counter 3' gdb.out && grep -q 'exited with code 065' gdb.out
./work for-ever > /dev/null & runs=$!
until test "$(tr -d '\0' < "/proc/$runs/cmdline")" = ./workfor-ever; do sleep 0.05; done
sleep 0.2
gdb -q -nx -batch -p $runs -ex 'frame function main' -ex 'print argc' -ex 'set var argc = 1' -ex detach > gdb.out 2>&1
grep -q '^\$1 = 2' gdb.out
status=0; wait $runs || status=$?
test $status = 6
gdb -q -nx -batch -ex run -ex backtrace --args ./work a b > gdb.out 2>&1 || true
grep -q 'received signal SIGABRT' gdb.out && grep -q ' main ' gdb.out

# Leaks: the checker stops all threads of its process from outside.
printf '#include <stdlib.h>\nvoid *p; int main(void) { p = malloc(77); p = 0; return 0; }' > leak.c
for kind in leak address; do
    gcc -g -fsanitize=$kind -o leak leak.c
    status=0; ./leak > leak.out 2>&1 || status=$?
    grep -q 'Direct leak of 77 byte' leak.out && test $status != 0 || { cat leak.out; exit 1; }
done
echo ok
