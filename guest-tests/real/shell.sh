# bash: job control, pipelines of ten stages, traps, here documents, process substitution.
set -eu
set -m
sleep 30 & job=$!
jobs | grep -q Running
kill -STOP %1
for i in $(seq 100); do jobs | grep -q Stopped && break; sleep 0.02; done
jobs | grep -q Stopped
kill -CONT %1
kill %1
wait $job && exit 1 || test $? = 143
set +m
test "$(seq 1000 | cat | sort -rn | cat | tac | cat | sed 's/$/x/' | tr -d x | grep -v 5 | wc -l)" = 729
test "$(yes | head -n 5000 | uniq -c | awk '{print $1}')" = 5000
trap 'echo trapped' USR1
out=$( (trap 'echo inner; exit 3' TERM; kill -TERM $BASHPID; sleep 5) ) && exit 1 || test $? = 3
test "$out" = inner
diff <(printf 'a\nb\n') <(printf 'a\nb\n')
test "$(cat <<< here)" = here
cat > /tmp/script <<'S'
#!/bin/bash
echo "$0 $# $*"
exit 7
S
chmod +x /tmp/script
out=$(/tmp/script a 'b c') && exit 1 || test $? = 7
test "$out" = "/tmp/script 2 a b c"
n=0; for i in $(seq 100); do /bin/true; n=$((n + 1)); done; test $n = 100
coproc cat; echo ping >&"${COPROC[1]}"; read -r line <&"${COPROC[0]}"; test "$line" = ping
exec 5>/tmp/five; echo five >&5; exec 5>&-; test "$(cat /tmp/five)" = five
ulimit -n 64; test "$(ulimit -n)" = 64
(set -o pipefail; false | true) && exit 1
test "$(timeout 0.2 sleep 5; echo $?)" = 124
echo ok
