//! Where the recorded data is.

use std::{env, fs, path::PathBuf};

/// The text of a recorded file; `None`, said aloud, where the data is not.
pub(crate) fn read(name: &str) -> Option<String> {
    let folder = env::var_os("DUNLIN_K8S_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/k8s-1.36")),
        PathBuf::from,
    );
    match fs::read_to_string(folder.join(name)) {
        Ok(text) => Some(text),
        Err(error) => {
            println!("skipped: `{name}` is not read from `{}`: {error}", folder.display());
            None
        }
    }
}
