//! Where a backup's passphrase comes from: a file, the environment, or the person at the terminal. Never the command line, which
//! everybody on the machine can read.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use console::Term;
use dunlin_coordinator::backup::Passphrase;

/// Options for the passphrase of a backup.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct PassphraseArgs {
    /// File whose first line is the passphrase (default: $DUNLIN_BACKUP_PASSPHRASE, else it is asked for).
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[arg(
        long = "passphrase-from-environment",
        env = "DUNLIN_BACKUP_PASSPHRASE",
        hide = true,
        hide_env_values = true
    )]
    environment: Option<String>,
}

impl PassphraseArgs {
    /// Whether there is one without asking.
    pub(in crate::command) const fn is_given(&self) -> bool {
        self.passphrase_file.is_some() || self.environment.is_some()
    }

    /// The one that is there without asking.
    ///
    /// # Errors
    /// When its file cannot be read, or it is empty.
    pub(in crate::command) fn given(&self) -> Result<Option<Passphrase>> {
        let text = match (&self.passphrase_file, &self.environment) {
            (Some(path), _) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
                text.lines().next().unwrap_or_default().to_owned()
            }
            (None, Some(text)) => text.clone(),
            (None, None) => return Ok(None),
        };
        Ok(Some(Passphrase::new(&text).context("the passphrase is empty")?))
    }

    /// The passphrase of a backup that exists.
    ///
    /// # Errors
    /// When there is none, and nobody to ask.
    pub(in crate::command) fn ask(&self) -> Result<Passphrase> {
        match self.given()? {
            Some(passphrase) => Ok(passphrase),
            None => Passphrase::new(&prompt("Passphrase: ")?).context("the passphrase is empty"),
        }
    }

    /// The passphrase of a new backup: a person types it twice.
    ///
    /// # Errors
    /// When there is none, nobody to ask, or two different ones are typed.
    pub(in crate::command) fn choose(&self) -> Result<Passphrase> {
        if let Some(passphrase) = self.given()? {
            return Ok(passphrase);
        }
        let first = prompt("Passphrase for the backup: ")?;
        if prompt("Again: ")? != first {
            bail!("the two passphrases differ");
        }
        Passphrase::new(&first).context("the passphrase is empty")
    }
}

fn prompt(question: &str) -> Result<String> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        bail!("a passphrase is needed: give --passphrase-file or DUNLIN_BACKUP_PASSPHRASE");
    }
    terminal.write_str(question).context("cannot write to the terminal")?;
    terminal.read_secure_line().context("cannot read from the terminal")
}
