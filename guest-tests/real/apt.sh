# apt-get install of packages from a local folder of .deb files, and their removal.
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
echo ok
