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

/// A setting's value; `None` where the kernel knows no such setting.
pub(crate) fn value(name: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(PathBuf::from(ROOT).join(name)) {
        Ok(value) => Ok(Some(value.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

const ROOT: &str = "/proc/sys/net";
