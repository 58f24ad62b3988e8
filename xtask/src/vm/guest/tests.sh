#!/bin/busybox sh
# Runs the suites, and says where each begins and ends.
exec > /dev/console 2>&1
ulimit -n 65536
export HOME=/tmp RUST_BACKTRACE=0 DUNLIN_TEST_PATIENCE=6
suite() {
    echo; echo "@begin $1"
    mkdir -p "$2"
    cd "$2"
    export CARGO_MANIFEST_DIR=$2
    shift 2
    "$@"
    echo "@end $?"
}
SUITES
poweroff -f
