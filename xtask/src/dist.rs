//! `dist`: the release binary in `target/dist`, with its size and checksum.

use std::fs;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::step;

/// Builds, checks that symbols are gone, copies the binary and writes `SHA256SUMS` beside it.
///
/// # Errors
/// When the build fails, the binary still has symbols, or the disk refuses.
pub(crate) fn run() -> Result<()> {
    step::run(&mut step::cargo(["build", "--release", "--package", "dunlin", "--locked"]))?;
    let built = step::target_dir().join("release/dunlin");
    let binary = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    if has_section(&binary, b".symtab") || has_section(&binary, b".debug_info") {
        bail!("the release binary still has symbols; [profile.release] must strip them");
    }
    let dist = step::target_dir().join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot create {}", dist.display()))?;
    fs::copy(&built, dist.join("dunlin")).context("cannot copy the binary")?;
    let sum = sha256(&binary);
    fs::write(dist.join("SHA256SUMS"), format!("{sum}  dunlin\n")).context("cannot write SHA256SUMS")?;
    let mebibytes = binary.len() / (1 << 20);
    println!("{}: {} bytes ({mebibytes} MiB)\nsha256 {sum}", dist.join("dunlin").display(), binary.len());
    Ok(())
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the string table of section headers names a section. Section names end the file's last table, so a search of the final
/// bytes suffices and no ELF reader is needed.
fn has_section(binary: &[u8], name: &[u8]) -> bool {
    let tail = &binary[binary.len().saturating_sub(SECTION_NAMES_BYTES_MAX)..];
    tail.windows(name.len() + 2)
        .any(|window| window[0] == 0 && &window[1..=name.len()] == name && window[name.len() + 1] == 0)
}

/// Section names and headers of a binary are a few kilobytes at its end.
const SECTION_NAMES_BYTES_MAX: usize = 16 << 10;
