# configure, make and make check of a C project of more than 20,000 lines (xz-utils).
set -eu
cd /srv/project/xz
test "$(find . -name '*.[ch]' | xargs cat | wc -l)" -gt 20000
mkdir /tmp/build && cd /tmp/build
/srv/project/xz/configure --quiet --disable-nls --disable-doc --disable-shared CFLAGS=-O1
make -j2 --quiet
make -j2 --quiet check > check.log 2>&1 || { tail -50 check.log; exit 1; }
grep -q '^# FAIL:  0' check.log
./src/xz/xz --version
seq 100000 | ./src/xz/xz -T2 | ./src/xz/xz -d | cmp - <(seq 100000)
echo ok
