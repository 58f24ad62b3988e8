//! `restore`: makes a coordinator's data folder of a backup.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dunlin_coordinator::backup::{self, BackupError, Passphrase, Present, Restore, RestoreError, Restored};

use super::backup::PassphraseArgs;
use crate::{daemon, terminal};

/// Options of `restore`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin restore cluster.backup --data-dir /var/lib/dunlin/coordinator
  dunlin restore /var/lib/dunlin/coordinator/snapshots/20260101T000000Z-r42.backup \\
      --data-dir /var/lib/dunlin/coordinator --replace
Then start the coordinator on the folder. Nodes accept it by a record that the cluster's key signs; pods that started after the
backup are held, not killed: see `dunlin node held`.")]
pub(crate) struct Args {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Data folder of the coordinator, which must not run.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Put the backup in the place of a cluster that is there; that one is kept aside, in the same folder.
    #[arg(long)]
    replace: bool,
    /// Restore generation to begin; needed only when nodes say that they have seen a higher one.
    #[arg(long, value_name = "NUMBER")]
    generation: Option<u64>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Restores, and says what came of it.
///
/// # Errors
/// When the backup is damaged, the folder is taken, or the disk fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let restore = |passphrase: Option<&Passphrase>| {
        backup::restore(&Restore {
            file: &args.file,
            passphrase,
            data_dir: &args.data_dir,
            present: if args.replace { Present::SetAside } else { Present::Refuse },
            generation: args.generation,
            now: daemon::now(),
        })
    };
    let restored = match restore(args.passphrase.given()?.as_ref()) {
        Err(RestoreError::Backup(BackupError::PassphraseNeeded)) => restore(Some(&args.passphrase.ask()?)),
        restored => restored,
    };
    let restored = restored.with_context(|| format!("cannot restore {}", args.file.display()))?;
    Ok(terminal::print(&described(&args.data_dir, &restored))?)
}

fn described(data_dir: &Path, restored: &Restored) -> String {
    let Restored { manifest, contents, generation, set_aside, kept_modules } = restored;
    let mut text = format!(
        "restored cluster {} as of revision {}: {} objects, {} records, {} modules; restore generation {generation}\n",
        manifest.cluster_id,
        manifest.revision,
        contents.object_count(),
        contents.records,
        contents.modules + kept_modules,
    );
    if let Some(aside) = set_aside {
        text.push_str(&format!("what was there before is in {}\n", aside.display()));
    }
    text.push_str(&format!("start it: dunlin coordinator --data-dir {}\n", data_dir.display()));
    text
}
