#!/bin/bash
# programs.sh NAME...: works that people run, one after another. Run under runc and under stockade in turn by `cargo xtask bench programs`.
set -e

python() { python3 -c pass; }

subprocesses() {
    python3 -c '
import subprocess
for i in range(50):
    subprocess.run(["/bin/true"])'
}

shell() { for _ in {1..200}; do /bin/true; done; }

pipeline() { seq 200000 | sort -n | uniq | awk '{s += $1} END {print s}' | cat >/dev/null; }

queue() {
    python3 -c '
import queue, threading
there, back = queue.Queue(), queue.Queue()
def echo():
    for i in range(10000):
        back.put(there.get())
thread = threading.Thread(target=echo)
thread.start()
for i in range(10000):
    there.put(i)
    back.get()
thread.join()'
}

# 24 files of 60 functions, two compilers at once.
build() {
    folder=$(mktemp -d)
    cd "$folder"
    for file in {1..24}; do
        echo '#include <stdio.h>'
        for number in {1..60}; do
            echo "int f${file}_$number(int n) { int sum = 0; for (int i = 0; i < n; i++) sum += i * $number; printf(\"%d\", sum); return sum; }"
        done
    done | split -l 61 --additional-suffix=.c - part
    echo 'int main(void) { return 0; }' >main.c
    printf 'objects = $(patsubst %%.c,%%.o,$(wildcard *.c))\nprogram: $(objects)\n\tgcc -o $@ $(objects)\n%%.o: %%.c\n\tgcc -O1 -c -o $@ $<\n' >Makefile
    make -s -j2
    cd /
    rm -rf "$folder"
}

mixed() { python; subprocesses; shell; pipeline; queue; build; }

for name; do
    "$name"
done
