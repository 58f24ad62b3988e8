//! A shim by itself, for tests: what `dunlin shim` is, without the rest of the binary; and what it starts as a pod's runner.

#![expect(clippy::unwrap_used, reason = "a stand-in of tests fails by panicking")]

use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::net::UnixListener,
    process::{Command, ExitCode},
    thread,
};

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|word| word == "runner") {
        assert_eq!(words.nth(1).as_deref(), Some(OsStr::new("--socket")));
        tell_where_this_is(words.next().unwrap().as_ref());
    }
    dunlin_oci_shim::main(words)
}

/// Serves those who ask in which namespaces and cgroups it is, until it is killed.
fn tell_where_this_is(socket: &std::path::Path) -> ! {
    // Something of its own that it does not end.
    let mut child = Command::new("/bin/sleep").arg("56789").spawn().unwrap();
    thread::spawn(move || child.wait());
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket).unwrap();
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
