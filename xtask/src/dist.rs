//! `dist`: what a release is, in `target/dist`: an archive for each kind of machine, with everything that `install.sh` needs beside it, and
//! the sums of all. The same commit gives the same archives.
//!
//! The binaries are static, so that one runs on any Linux of its processor, whatever C library that has.

mod archive;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use self::archive::{Entry, Mode};
use crate::{
    machine::{AMD64, ARM64, Machine},
    step,
};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Build for this kind of machine alone: amd64 or arm64; may be given several times [default: both].
    #[arg(long = "arch", value_name = "ARCH", value_parser = clap::builder::PossibleValuesParser::new(MACHINES.map(|machine| machine.name)))]
    architectures: Vec<String>,
}

const MACHINES: [&Machine; 2] = [&AMD64, &ARM64];

/// Builds, checks and packs, and prints sizes and seconds. The binary for this machine's own kind is also put beside the archives.
///
/// # Errors
/// When a build fails, a binary is not as it must be, or the disk refuses.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = step::target_dir().join("dist");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let is_wanted = |machine: &&Machine| {
        args.architectures.is_empty() || args.architectures.iter().any(|name| name == machine.name)
    };
    let time = commit_time()?;
    let mut archives = Vec::new();
    for machine in MACHINES.into_iter().filter(is_wanted) {
        let start = Instant::now();
        let read = |file: &Path| fs::read(file).with_context(|| format!("cannot read {}", file.display()));
        let shim = build(machine, &Part::Shim)?;
        let small = read(&shim)?;
        check(&small)?;
        let binary = build(machine, &Part::Dunlin { shim: &shim })?;
        let content = read(&binary)?;
        check(&content)?;
        ensure!(holds(&content, &small), "the release binary has no shim inside");
        let name = format!("dunlin-{}-linux-{}", env!("CARGO_PKG_VERSION"), machine.name);
        let archive = archive::pack(&name, &entries(&binary)?, time)?;
        let file = folder.join(format!("{name}.tar.gz"));
        fs::write(&file, &archive).with_context(|| format!("cannot write {}", file.display()))?;
        if machine.is_here() {
            fs::copy(&binary, folder.join("dunlin")).context("cannot copy the binary")?;
        }
        print_sizes(&file, [content.len(), small.len(), archive.len()], start.elapsed());
        archives.push(file);
    }
    write_sums(&folder, &archives)
}

/// A program that is built.
#[derive(Debug)]
enum Part<'a> {
    /// The small one of shims.
    Shim,
    /// The one that users have, with the small one inside.
    Dunlin { shim: &'a Path },
}

/// Cargo's release build for a machine, as a static binary that names no path of the machine that built it.
fn build(machine: &Machine, part: &Part<'_>) -> Result<PathBuf> {
    let toolchain = machine.toolchain()?;
    let linkers = toolchain
        .linkers()
        .context("this Rust comes without its linker `gcc-ld/ld.lld`: install Rust by rustup")?;
    let mut cargo = machine.cargo(&toolchain)?;
    let (package, binary) = match part {
        Part::Shim => ("dunlin-oci-shim", "dunlin-shim"),
        Part::Dunlin { shim } => {
            cargo.env(SHIM, shim);
            ("dunlin", "dunlin")
        }
    };
    cargo.args(["build", "--release", "--package", package, "--bin", binary, "--locked"]);
    cargo.args(["--target", machine.triple]);
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    flags.extend(["-fuse-ld=lld".to_owned(), format!("-B{}", linkers.display())].map(link_argument));
    flags.extend(SMALLER.map(|argument| link_argument(argument.to_owned())));
    let from = |path: &Path, name: &str| format!("--remap-path-prefix={}={name}", path.display());
    flags.push(from(step::root(), "dunlin"));
    flags.extend(cargo_home().map(|home| from(&home, "cargo")));
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    step::run(&mut cargo)?;
    Ok(step::target_dir().join(machine.triple).join("release").join(binary))
}

/// Equal functions are kept once, and what is moved at the start is noted by bits instead of records.
const SMALLER: [&str; 2] = ["-Wl,--icf=all", "-Wl,-zpack-relative-relocs"];

fn link_argument(argument: String) -> String {
    format!("-Clink-arg={argument}")
}

fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// A binary that is handed to others has no symbols, which would double it, and asks for no interpreter, which would be a C library.
fn check(binary: &[u8]) -> Result<()> {
    if has_section(binary, b".symtab") || has_section(binary, b".debug_info") {
        bail!("the release binary still has symbols; [profile.release] must strip them");
    }
    ensure!(!has_section(binary, b".interp"), "the release binary is not static");
    Ok(())
}

/// Whether the string table of section headers names a section. Section names end the file's last table, so a search of the final
/// bytes suffices and no ELF reader is needed.
fn has_section(binary: &[u8], name: &[u8]) -> bool {
    let tail = &binary[binary.len().saturating_sub(SECTION_NAMES_BYTES_MAX)..];
    tail.windows(name.len() + 2)
        .any(|window| window[0] == 0 && &window[1..=name.len()] == name && window[name.len() + 1] == 0)
}

/// Whether bytes are among others, as one piece.
fn holds(all: &[u8], piece: &[u8]) -> bool {
    all.windows(piece.len()).any(|window| window == piece)
}

/// The binary, what `install.sh` needs beside it and itself, and what a reader wants.
fn entries(binary: &Path) -> Result<Vec<Entry>> {
    let mut entries = vec![Entry::new("dunlin", binary, Mode::Program)];
    for name in ["CHANGELOG.md", "LICENSE", "README.md"] {
        entries.push(Entry::new(name, &step::root().join(name), Mode::Text));
    }
    let install = step::root().join("manifests/install");
    for file in fs::read_dir(&install).with_context(|| format!("cannot list {}", install.display()))? {
        let path = file?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mode = if name.ends_with(".sh") { Mode::Program } else { Mode::Text };
        entries.push(Entry::new(&name, &path, mode));
    }
    Ok(entries)
}

/// When the commit was made, or what `SOURCE_DATE_EPOCH` says, as packagers have it.
fn commit_time() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            step::output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(step::root()))?
        }
    };
    text.parse().with_context(|| format!("`{text}` is no time in seconds"))
}

fn print_sizes(file: &Path, sizes: [usize; 3], took: Duration) {
    let [binary, shim, archive] =
        sizes.map(|bytes| format!("{bytes} bytes ({:.1} MiB)", bytes as f64 / f64::from(1 << 20)));
    println!(
        "{}: binary {binary}, of it the shim {shim}; archive {archive}; {:.0} s",
        file.display(),
        took.as_secs_f64()
    );
}

/// In the form that `sha256sum --check` reads.
fn write_sums(folder: &Path, archives: &[PathBuf]) -> Result<()> {
    let mut sums = String::new();
    for archive in archives {
        let sum = Sha256::digest(fs::read(archive)?);
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        sums.push_str(&format!("{sum}  {name}\n"));
    }
    print!("{sums}");
    fs::write(folder.join("SHA256SUMS"), sums).context("cannot write SHA256SUMS")
}

/// Section names and headers of a binary are a few kilobytes at its end.
const SECTION_NAMES_BYTES_MAX: usize = 16 << 10;

/// Names the shim's file to the build of the binary (`edge-node/build.rs`).
const SHIM: &str = "DUNLIN_SHIM";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_all_that_the_installer_wants_beside_it() {
        let entries = entries(Path::new("target/dunlin")).unwrap();
        let names: Vec<&str> = entries.iter().map(Entry::name).collect();
        let installer = fs::read_to_string(step::root().join("manifests/install/install.sh")).unwrap();
        let wanted = installer
            .split(|character: char| !(character.is_ascii_alphanumeric() || ".-_".contains(character)));
        for unit in wanted.filter(|word| word.starts_with("dunlin-") && word.ends_with(".service")) {
            assert!(names.contains(&unit), "{unit} of {names:?}");
        }
        for name in ["dunlin", "install.sh", "LICENSE"] {
            assert!(names.contains(&name), "{name} of {names:?}");
        }
    }

    #[test]
    fn binaries_with_symbols_or_an_interpreter_are_refused() {
        let binary = |sections: &str| [&[0x7f; 100], sections.as_bytes()].concat();
        check(&binary("\0.text\0.rodata\0")).unwrap();
        for section in [".symtab", ".debug_info", ".interp"] {
            assert!(check(&binary(&format!("\0.text\0{section}\0"))).is_err(), "{section}");
        }
    }
}
