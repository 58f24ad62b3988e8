//! The suites that are run in the machine: tests that this repository has anyway, most of which run on any machine and find more there,
//! and checks of a whole cluster that take no compiler.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::archive;
use crate::{emulated, machine::Machine, step};

/// What is run by one name.
#[derive(Debug)]
pub(super) struct Suite {
    pub(super) name: &'static str,
    what: What,
}

#[derive(Debug)]
enum What {
    /// Those of a crate in `tests/it`.
    Tests(&'static str),
    /// `vm-pods`.
    Pods,
}

/// In the order in which they run: what is nearest to the kernel comes first.
pub(super) const SUITES: &[Suite] = &[
    Suite { name: "shim", what: What::Tests("dunlin-oci-shim") },
    Suite { name: "network", what: What::Tests("dunlin-pod-network") },
    Suite { name: "pods", what: What::Pods },
];

/// A suite that can be run.
pub(super) struct Built {
    name: &'static str,
    /// Where it is run.
    folder: PathBuf,
    command: Vec<String>,
    /// Files and folders that it looks for where they are on this machine, itself among them.
    pub(super) files: Vec<PathBuf>,
}

impl Built {
    /// The line of the machine's script that runs it.
    pub(super) fn line(&self, words: &[String]) -> String {
        let all: Vec<String> = self.command.iter().chain(words).map(|word| format!("'{word}'")).collect();
        format!("suite {} '{}' {}\n", self.name, self.folder.display(), all.join(" "))
    }
}

/// Builds the suites for a machine whose packages are in a folder.
pub(super) fn build(
    suites: &[&'static Suite],
    machine: &Machine,
    base: &Path,
    folder: &Path,
) -> Result<Vec<Built>> {
    let build = |suite: &&'static Suite| match suite.what {
        What::Tests(package) => tests(suite.name, package, machine),
        What::Pods => pods(suite.name, machine, base, folder),
    };
    suites.iter().map(build).collect()
}

fn tests(name: &'static str, package: &str, machine: &Machine) -> Result<Built> {
    let mut cargo = cargo(machine, "test")?;
    cargo.args(["--no-run", "--message-format=json-render-diagnostics", "--package", package]);
    // What it has to say goes to the terminal meanwhile.
    let said = step::output(cargo.stderr(Stdio::inherit()))?;
    let artifacts: Vec<Artifact> = said.lines().filter_map(Artifact::read).collect();
    let tests = artifacts.iter().find(|one| one.name == "it" && one.kinds.contains(&"test".to_owned()));
    let tests = tests.with_context(|| format!("{package} has no tests"))?;
    let mut files = vec![tests.executable.clone()];
    // Programs of the crate, and what lies among its examples, as its tests start them.
    files.extend(artifacts.iter().filter(|one| one.is_started_by_tests()).map(|one| one.executable.clone()));
    let mut command = vec![tests.executable.display().to_string()];
    command.extend(["--test-threads=2", "--show-output"].map(str::to_owned));
    Ok(Built { name, folder: tests.folder.clone(), command, files })
}

/// For another machine without a compiler, as such nodes are built for tests anyway.
fn pods(name: &'static str, machine: &Machine, base: &Path, folder: &Path) -> Result<Built> {
    let (dunlin, xtask) = if machine.is_here() {
        step::run(cargo(machine, "build")?.args(["--package", "dunlin"]))?;
        (step::target_dir().join("debug/dunlin"), env::current_exe()?)
    } else {
        emulated::build()?;
        step::run(cargo(machine, "build")?.args(["--package", "xtask"]))?;
        let xtask = step::target_dir().join(machine.triple).join("debug/xtask");
        (step::target_dir().join("emulated/dunlin"), xtask)
    };
    let image = folder.join("busybox.tar");
    archive::write(&base.join("bin/busybox"), machine.name, &image)?;
    let words = [&xtask, Path::new("vm-pods"), &dunlin, &image].map(|word| word.display().to_string());
    Ok(Built {
        name,
        folder: PathBuf::from("/tmp"),
        command: words.to_vec(),
        files: vec![xtask, dunlin, image],
    })
}

fn cargo(machine: &Machine, verb: &str) -> Result<Command> {
    let mut cargo =
        if machine.is_here() { step::cargo([verb]) } else { machine.cargo(&machine.toolchain()?)? };
    if !machine.is_here() {
        cargo.args([verb, "--target", machine.triple]);
    }
    cargo.arg("--locked");
    Ok(cargo)
}

/// Something that cargo has built and that can be run.
struct Artifact {
    name: String,
    kinds: Vec<String>,
    is_test: bool,
    executable: PathBuf,
    folder: PathBuf,
}

impl Artifact {
    fn read(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        let kinds = message["target"]["kind"].as_array()?.iter();
        Some(Self {
            name: message["target"]["name"].as_str()?.to_owned(),
            kinds: kinds.filter_map(Value::as_str).map(str::to_owned).collect(),
            is_test: message["profile"]["test"].as_bool()?,
            executable: PathBuf::from(message["executable"].as_str()?),
            folder: PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned(),
        })
    }

    fn is_started_by_tests(&self) -> bool {
        !self.is_test && self.kinds.iter().any(|kind| kind == "bin" || kind == "example")
    }
}
