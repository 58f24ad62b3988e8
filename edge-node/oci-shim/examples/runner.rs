//! What tests have a shim start as a pod's runner.

#![expect(clippy::unwrap_used, reason = "a stand-in of tests fails by panicking")]

use std::{ffi::OsStr, fs, io::Write as _, os::unix::net::UnixListener, process::Command, thread};

/// Serves those who ask in which namespaces and cgroups it is, until it is killed.
fn main() {
    let mut words = std::env::args_os().skip(1);
    assert_eq!(words.next().as_deref(), Some(OsStr::new("runner")));
    assert_eq!(words.next().as_deref(), Some(OsStr::new("--socket")));
    let socket = words.next().unwrap();
    // Something of its own that it does not end.
    let mut child = Command::new("/bin/sleep").arg("56789").spawn().unwrap();
    thread::spawn(move || child.wait());
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    loop {
        let (mut stream, _address) = listener.accept().unwrap();
        for kind in ["net", "ipc", "uts"] {
            writeln!(stream, "{}", fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().display())
                .unwrap();
        }
        let read = |path: &str| fs::read_to_string(path).unwrap();
        write!(stream, "{}{}", read("/proc/sys/kernel/hostname"), read("/proc/self/cgroup")).unwrap();
    }
}
