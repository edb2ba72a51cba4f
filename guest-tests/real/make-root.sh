#!/bin/bash
# make-root.sh DIR: builds the Debian root in which the real programs are tested, with debootstrap and apt in a chroot.
# The root appears under DIR whole or not at all. Needs root (or an id map for debootstrap) and a Debian mirror.
# The caller caches DIR under a name that contains a hash of this file, so that an edit here makes a new root.
set -euo pipefail

target=$1
suite=bookworm
mirror=${STOCKADE_MIRROR:-http://deb.debian.org/debian}
work=$target.partial
packages=(
    apt bash bc bindfs bsdextrautils busybox-static bzip2 coreutils cpio diffutils dpkg-dev file findutils fuse-overlayfs fuse3 gawk gcc gdb-minimal git golang-go
    grep gzip hostname htop iproute2 less libc6-dev libpython3.11-testsuite lsof lua5.4 make ncurses-bin ncurses-term nodejs
    openjdk-17-jdk-headless openssh-client openssh-sftp-server openssl patch perl postgresql-15 procps psmisc python3
    python3-fusepy python3-pyfuse3 python3-venv ruby screen sed sqlite3 squashfs-tools squashfuse sshfs strace stress-ng tar
    time tmux unionfs-fuse util-linux vim-tiny xz-utils zip
)
# Left to be installed in the tests, with all that they want: maintainer scripts add a user, register a service and make certificates.
services=(ca-certificates redis-server)
project=xz-utils # a C project of more than 20,000 lines, with its tests

if [ -d "$target" ]; then
    echo "make-root: $target exists already" >&2
    exit 0
fi
rm -rf --one-file-system "$work"
mkdir -p "$(dirname "$target")"

# The first stage unpacks a minimal Debian; what is fetched is kept in the root's own archive folder only while it is built.
debootstrap --variant=minbase "$suite" "$work" "$mirror"

cat >"$work/etc/apt/sources.list" <<LIST
deb $mirror $suite main
deb-src $mirror $suite main
LIST
cat >"$work/etc/apt/apt.conf.d/90stockade" <<CONF
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "5";
CONF
printf '#!/bin/sh\nexit 101\n' >"$work/usr/sbin/policy-rc.d"
chmod 755 "$work/usr/sbin/policy-rc.d"
cp /etc/resolv.conf "$work/etc/resolv.conf"

# A mount namespace of its own: a proc for the maintainer scripts that is gone with the script, however it ends.
cat >"$work/root/fill.sh" <<FILL
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
apt-get -q update
apt-get -q -y install ${packages[*]}
apt-get -q clean
mkdir -p /srv/debs /srv/project
cd /srv/debs && apt-get -q download hello sl tree
apt-get -q -y install --download-only ${services[*]} && cp /var/cache/apt/archives/*.deb /srv/debs/
cd /srv/project && apt-get -q source --only-source $project && rm -f *.tar.* *.dsc
mv $project-* xz 2>/dev/null || mv xz-* xz
apt-get -q clean
FILL
unshare --mount --pid --fork --kill-child bash -euc '
    mount --make-rprivate /
    mount -t proc proc "$1/proc"
    mount --bind /dev "$1/dev"
    exec chroot "$1" /bin/bash /root/fill.sh
' bash "$work"

rm -f "$work/root/fill.sh" "$work/usr/sbin/policy-rc.d"
rm -rf "$work"/var/lib/apt/lists/* "$work"/var/cache/apt/*.bin
echo 'stockade test root' >"$work/etc/stockade-test-root"
mv "$work" "$target"
echo "make-root: $target is ready"
