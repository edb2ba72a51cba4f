# busybox (static), as shell and as tools; and a static program that is not position independent.
set -eu
test "$(busybox sh -c 'echo $((6 * 7)) | busybox cat')" = 42
busybox seq 1000 | busybox sort -rn | busybox head -1 | grep -qx 1000
busybox ps > /dev/null
busybox find /etc -name passwd | grep -qx /etc/passwd
mkdir -p /tmp/b && busybox --install -s /tmp/b && test "$(/tmp/b/expr 1 + 1)" = 2
busybox tar c -C /etc passwd | busybox tar t | grep -qx passwd
busybox ash -c 'for i in $(busybox seq 50); do busybox true; done'
cat > /tmp/s.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <pthread.h>
static int x = 5;
static void *f(void *a) { x++; return a; }
int main(void) { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); printf("%d %d\n", x, (unsigned long)&x < 1ul << 32); return 0; }
C
gcc -O1 -static -no-pie -o /tmp/s /tmp/s.c -pthread
file /tmp/s | grep -q 'statically linked'
test "$(/tmp/s)" = '6 1'
gcc -O1 -static-pie -o /tmp/sp /tmp/s.c -pthread && test "$(/tmp/sp)" = '6 0'
gcc -O2 -o /tmp/d /tmp/s.c -pthread && test "$(/tmp/d)" = '6 0'
echo ok
