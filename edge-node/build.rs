//! Puts the small program of shims into the binary, where `DUNLIN_SHIM` names its file, as `cargo xtask dist` does.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={VARIABLE}");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let program = match env::var_os(VARIABLE).map(PathBuf::from) {
        Some(file) => {
            println!("cargo:rerun-if-changed={}", file.display());
            fs::read(&file)
                .map_err(|error| io::Error::other(format!("{VARIABLE}={}: {error}", file.display())))?
        }
        None => Vec::new(),
    };
    fs::write(Path::new(&out).join("shim"), program)
}

const VARIABLE: &str = "DUNLIN_SHIM";
