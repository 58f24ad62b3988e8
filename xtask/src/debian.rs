//! Downloads packages from newer Debian suites, signatures checked, without touching the machine's own package lists.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::step::output;

/// A package cache of its own, beside the system's.
pub(crate) struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Fetches the lists of the suites.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial", "downloads"] {
            fs::create_dir_all(folder.join(part))?;
        }
        ensure!(Path::new(KEYRING).is_file(), "`{KEYRING}` is missing (package debian-archive-keyring)");
        let architecture = output(Command::new("dpkg").arg("--print-architecture"))?;
        let archive = archive()?;
        let sources: String = SUITES
            .iter()
            .map(|suite| {
                format!("deb [check-valid-until=no signed-by={KEYRING} arch={architecture}] {archive} {suite} main\n")
            })
            .collect();
        fs::write(folder.join("sources.list"), sources)?;
        let packages = Self { folder: folder.to_owned() };
        output(packages.apt("apt-get").arg("update")).context("failed to fetch package lists")?;
        Ok(packages)
    }

    /// The newest version of a package that starts with `prefix`.
    ///
    /// # Errors
    /// When there is none; the message tells which there are.
    pub(crate) fn version(&self, package: &str, prefix: &str) -> Result<String> {
        let known = output(self.apt("apt-cache").args(["madison", package]))?;
        let versions = known.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
        let found = versions.into_iter().find(|candidate| candidate.starts_with(prefix));
        let found = found.with_context(|| format!("Debian has no {package} {prefix}; it has:\n{known}"))?;
        Ok(found.to_owned())
    }

    /// Downloads packages, each `NAME` or `NAME=VERSION`, and unpacks them into `destination`.
    pub(crate) fn unpack(&self, packages: &[&str], destination: &Path) -> Result<()> {
        let downloads = self.folder.join("downloads");
        output(self.apt("apt-get").arg("download").args(packages).current_dir(&downloads))
            .context("failed to download packages")?;
        for entry in fs::read_dir(&downloads)? {
            output(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(destination))
                .context("failed to unpack a package")?;
        }
        Ok(())
    }

    /// An apt program that uses this folder for all it reads and writes.
    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let option = |name: &str, value: &str| format!("{name}={value}");
        let place = |name: &str, part: &str| option(name, &self.folder.join(part).to_string_lossy());
        for setting in [
            place("Dir::Etc::sourcelist", "sources.list"),
            option("Dir::Etc::sourceparts", "/dev/null"),
            option("Dir::Etc::preferencesparts", "/dev/null"),
            place("Dir::State::lists", "lists"),
            place("Dir::Cache", "cache"),
            option("APT::Sandbox::User", "root"),
            option("Acquire::Languages", "none"),
        ] {
            command.args(["-o", &setting]);
        }
        command.arg("-qq");
        command
    }
}

/// The archive that apt already uses, so that a mirror or proxy of the machine serves here too.
fn archive() -> Result<String> {
    // Who publishes an archive is known only once its lists were fetched; before that, the first one configured is taken.
    for known_by in [&["Origin: Debian", "Label: Debian"][..], &[]] {
        let mut command = Command::new("apt-get");
        command.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]).args(known_by);
        if let Some(first) = output(&mut command)?.lines().next() {
            return Ok(first.to_owned());
        }
    }
    bail!("apt has no Debian archive in its sources; add one, or install the Rust targets with rustup")
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Suites that carry newer compilers than a stable release, nearest first.
const SUITES: [&str; 4] = ["trixie-backports", "forky", "sid", "experimental"];
