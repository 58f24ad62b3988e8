//! Settings of the calling thread's network namespace, below `/proc/sys/net`.

use std::{fs, io, path::PathBuf};

/// Gives a setting a value, unless it has it: a machine whose settings are right need not let us write.
pub(crate) fn set(name: &str, value: &str) -> io::Result<()> {
    let path = PathBuf::from(ROOT).join(name);
    let there = fs::read_to_string(&path)?;
    if there.trim_end() == value {
        return Ok(());
    }
    fs::write(&path, value)
}

/// As `set`; nothing where the kernel knows no such setting.
pub(crate) fn set_if_known(name: &str, value: &str) -> io::Result<()> {
    match set(name, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

const ROOT: &str = "/proc/sys/net";
