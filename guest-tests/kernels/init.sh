#!/bin/busybox sh
# The first process of the machine: a root that can be left (pivot_root(2) wants another than the first), the file systems that a system has, cgroup v2 with all controllers.
busybox=/bin/busybox
if [ -e /new ]; then
    $busybox --install -s /bin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs dev /dev
    mkdir -p /dev/pts /dev/shm
    mount -t devpts devpts /dev/pts
    mount -t cgroup2 cgroup /sys/fs/cgroup
    mkdir /sys/fs/cgroup/init
    echo $$ >/sys/fs/cgroup/init/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control
    done
    export PATH=/bin HOME=/root
    sh /job.sh </dev/null 2>&1
    poweroff -f
fi
$busybox mkdir /next
$busybox mount -t tmpfs root /next
for name in bin dev proc sys tmp run programs root init job.sh; do
    $busybox cp -a "/$name" /next
done
$busybox mkdir /next/new
exec $busybox switch_root /next /init
