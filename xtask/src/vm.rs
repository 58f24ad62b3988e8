//! `vm`: tests of containers in a machine that this one is not: Debian's kernel under QEMU, with version 2 of cgroups, large pages and
//! AppArmor, of this kind of processor or another. Inside, tests are root.
//!
//! The machine is made of Debian's packages by name, and booted from a disk image that holds the tests' binaries where this machine has them.

mod archive;
mod image;
mod kernel;
pub(crate) mod pods;
mod qemu;
mod report;
mod root;
mod suite;

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use self::{
    report::Report,
    suite::{SUITES, Suite},
};
use crate::{
    machine::{AMD64, ARM64},
    step,
};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these suites instead of all: shim, network, pods.
    suites: Vec<String>,
    /// The kind of machine.
    #[arg(long, default_value = AMD64.name, value_parser = clap::builder::PossibleValuesParser::new([AMD64.name, ARM64.name]))]
    arch: String,
    /// Only tests whose names hold one of these words; may be given several times.
    #[arg(long = "test", value_name = "WORD")]
    tests: Vec<String>,
    /// How long all of it may take; an emulated processor is some ten times slower than this one.
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// Builds tests and machine, runs them in it, and prints one JSON document with what was seen.
///
/// # Errors
/// When something cannot be built or fetched, a test failed, or the machine ended before all were run.
pub(crate) fn run(args: &Args) -> Result<()> {
    let machine = if args.arch == ARM64.name { &ARM64 } else { &AMD64 };
    let suites = chosen(&args.suites)?;
    let folder = step::target_dir().join("vm").join(machine.name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;

    let base = root::fetch(machine, &folder)?;
    let built = suite::build(&suites, machine, &base, &folder)?;
    let kernel = kernel::prepare(&base, &folder)?;
    let disk = image::make(machine, &base, (&built, &args.tests), &folder)?;
    let console = folder.join("console.log");
    qemu::run(machine, &kernel, &disk, &console, Duration::from_secs(args.minutes * 60))?;

    let report = Report::read(&fs::read_to_string(&console).context("the machine has no console")?);
    let seen = json!({ "architecture": machine.name, "kernel": kernel.version, "suites": report.suites });
    println!("{}", serde_json::to_string_pretty(&seen)?);
    let names: Vec<&str> = suites.iter().map(|suite| suite.name).collect();
    match report.complaint(&names) {
        None => Ok(()),
        Some(complaint) => bail!("{complaint}; all that was said is in {}", console.display()),
    }
}

fn chosen(names: &[String]) -> Result<Vec<&'static Suite>> {
    let find = |name: &String| {
        let known: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
        let found = SUITES.iter().find(|suite| suite.name == name);
        found.with_context(|| format!("no suite `{name}`; there are: {}", known.join(", ")))
    };
    if names.is_empty() { Ok(SUITES.iter().collect()) } else { names.iter().map(find).collect() }
}
