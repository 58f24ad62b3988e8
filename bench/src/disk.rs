//! What the disk itself can do: small writes made durable, one after the other, as the best program could not do faster.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{
    figures::Times,
    machine::Machine,
    report::{Figure, Report},
};

/// Options of `fsync`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder on the disk to measure
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
    /// How long to measure each way of writing
    #[arg(long, default_value_t = 3)]
    pub(crate) seconds: u64,
}

/// Writes in place and by appending.
///
/// # Errors
/// When the disk cannot be written.
pub(crate) fn run(args: &Args) -> Result<Report> {
    let time = Duration::from_secs(args.seconds);
    let (mut in_place, in_place_rate) = in_place(&args.dir, time)?;
    let (mut appended, append_rate) = append(&args.dir, time)?;
    let figures = vec![
        Figure::new("4 KiB in place, durable", in_place_rate, "1/s"),
        Figure::new("4 KiB in place, durable, p50", in_place.percentile_ms(50), "ms"),
        Figure::new("4 KiB in place, durable, p99", in_place.percentile_ms(99), "ms"),
        Figure::new("4 KiB appended, durable", append_rate, "1/s"),
        Figure::new("4 KiB appended, durable, p50", appended.percentile_ms(50), "ms"),
    ];
    Ok(Report::new("fsync", Machine::here(), figures))
}

/// Overwrites blocks of a file that has them all already, each followed by `fdatasync`: times, and how many per second.
///
/// # Errors
/// When the disk cannot be written.
pub(crate) fn in_place(dir: &Path, time: Duration) -> Result<(Times, f64)> {
    let file = Scratch::new(dir)?;
    file.file.write_all_at(&vec![0; BLOCKS * BLOCK_BYTES], 0)?;
    file.file.sync_all()?;
    file.measure(time, BLOCKS)
}

/// Appends blocks to a file, each followed by `fdatasync`.
///
/// # Errors
/// When the disk cannot be written.
pub(crate) fn append(dir: &Path, time: Duration) -> Result<(Times, f64)> {
    Scratch::new(dir)?.measure(time, usize::MAX)
}

/// A file that is removed at the end.
struct Scratch {
    path: PathBuf,
    file: File,
}

impl Scratch {
    fn new(dir: &Path) -> Result<Self> {
        let path = dir.join(format!(".dunlin-bench-{}", std::process::id()));
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
        Ok(Self { file: file.with_context(|| format!("cannot create {}", path.display()))?, path })
    }

    fn measure(&self, time: Duration, blocks: usize) -> Result<(Times, f64)> {
        let start = Instant::now();
        let mut times = Times::default();
        while start.elapsed() < time {
            let place = times.len() % blocks;
            let before = Instant::now();
            self.file.write_all_at(&[1; BLOCK_BYTES], (place * BLOCK_BYTES) as u64)?;
            self.file.sync_data()?;
            times.push(before.elapsed());
        }
        let rate = times.rate(start.elapsed());
        Ok((times, rate))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that cannot be removed is empty space, no wrong number.
        let _ = fs::remove_file(&self.path);
    }
}

const BLOCK_BYTES: usize = 4096;
const BLOCKS: usize = 1024;
