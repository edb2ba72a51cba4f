# apt-get install of packages from a local folder of .deb files, with maintainer scripts, and their removal; redis.
set -eu
export DEBIAN_FRONTEND=noninteractive
cd /srv/debs
dpkg-scanpackages . /dev/null 2> /dev/null > Packages
mkdir -p /etc/apt/sources.list.d && : > /etc/apt/sources.list
echo 'deb [trusted=yes] file:/srv/debs ./' > /etc/apt/sources.list.d/local.list
apt-get -q update
apt-get -q -y install hello tree
test "$(hello)" = 'Hello, world!'
tree --version > /dev/null
dpkg -s hello | grep -q 'Status: install ok installed'
dpkg -i sl_*.deb || true # wants libraries, which may be missing
apt-get -q -y purge hello sl
test ! -e /usr/bin/hello
dpkg --audit
# Maintainer scripts: a user of its own, a service that may not start here, links of certificates.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
apt-get -q -y install ca-certificates redis-server
getent passwd redis
test "$(grep -c BEGIN /etc/ssl/certs/ca-certificates.crt)" -gt 100
# The service by hand, behind a unix socket.
mkdir -p /tmp/redis && redis-server --port 0 --unixsocket /tmp/redis/s --dir /tmp/redis --save '' --appendonly yes > /tmp/redis/log &
until redis-cli -s /tmp/redis/s ping 2> /dev/null | grep -q PONG; do kill -0 $!; sleep 0.05; done
test "$(for i in $(seq 1000); do echo "incr n"; done | redis-cli -s /tmp/redis/s | tail -1)" = 1000
redis-benchmark -s /tmp/redis/s -q -n 2000 -c 10 -t set,get > /dev/null
redis-cli -s /tmp/redis/s bgrewriteaof
redis-cli -s /tmp/redis/s shutdown
wait $!
apt-get -q -y remove redis-server
echo ok
