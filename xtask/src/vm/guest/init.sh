#!/bin/busybox sh
# Finds the disk and goes on from there.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for module in MODULES; do $b insmod $module; done
tries=0
until [ -e /dev/vda ] || [ $tries = 300 ]; do $b sleep 0.1; tries=$((tries + 1)); done
$b mount -t ext4 /dev/vda /disk
$b mount --move /dev /disk/dev
exec $b switch_root /disk /bin/busybox init
