//! The size of the one binary.

use std::fs;

use anyhow::{Context as _, Result};

use crate::{
    cluster::ClusterArgs,
    machine::Machine,
    report::{Figure, Report, mebibytes},
};

/// Looks at the file.
///
/// # Errors
/// When there is none.
pub(crate) fn run(args: &ClusterArgs) -> Result<Report> {
    let metadata =
        fs::metadata(&args.dunlin).with_context(|| format!("cannot find {}", args.dunlin.display()))?;
    let size = Figure::new("binary", mebibytes(metadata.len()), "MiB")
        .expect_at_most(20.0, "wasmtime with its compiler, WASI, HTTP, quinn and redb alone made 13.9 MB");
    Ok(Report::new("size", Machine::here(), vec![size]))
}
