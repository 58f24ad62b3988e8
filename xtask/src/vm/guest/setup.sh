#!/bin/busybox sh
# What brings a machine up as Debian does, as far as containers see it.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -o remount,rw /
$b --install -s /usr/bin 2>/dev/null
mount -t sysfs sys /sys
mount -t securityfs security /sys/kernel/security
mount -t tmpfs run /run
mkdir -p /dev/pts /dev/shm /dev/mqueue /dev/hugepages
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t hugetlbfs huge /dev/hugepages
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount --make-rshared /
chmod 1777 /tmp
modprobe -a virtio_net loop
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
hostname machine
