# What looks at /proc: ps, top, free, lsof, mount, nproc, pgrep, pstree, vmstat, uptime.
set -eu
sleep 100 & pid=$!
ps aux | grep -q '[s]leep 100'
test "$(ps -o ppid= -p $pid | tr -d ' ')" = $$
test "$(ps -o comm= -p $pid)" = sleep
ps -eLf > /dev/null; ps -ejH > /dev/null
top -b -n 1 | grep -q 'load average'
free -m | grep -q '^Mem:'
pgrep -x sleep | grep -qx $pid
pstree -p $$ | grep -q sleep
exec 9> /tmp/held
lsof -p $$ 2> /dev/null | grep -q /tmp/held
mount | grep -q ' on / '
mount | grep -q 'proc on /proc'
findmnt / > /dev/null
test "$(nproc)" -ge 1
lscpu | grep -q '^CPU(s):'
vmstat 2> /dev/null | tail -1 | grep -q '[0-9]'
uptime > /dev/null
w > /dev/null || true
prlimit --pid $pid --nofile | grep -q NOFILE
nice -n 5 ps -o ni= -p $$ > /dev/null
kill $pid
wait $pid || test $? = 143
pmap $$ | grep -q total
cat /proc/self/status /proc/self/maps /proc/meminfo /proc/cpuinfo /proc/stat /proc/loadavg > /dev/null
echo ok
