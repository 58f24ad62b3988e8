//! `restore`: makes a coordinator's data folder of a backup.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dunlin_coordinator::{
    backup::{self, BackupError, Passphrase, Present, Restore, RestoreError, Restored},
    tokens::Returned,
};
use dunlin_link::{NodeName, join::TokenId};

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
backup are held, not killed: see `dunlin node held`.

Node keys that were revoked and tokens that were deleted or used up after the backup stay refused when the store that is replaced can
be read. Otherwise they are good again, as they were then, and are named: --revoke refuses the key of a stolen machine before it can
connect.")]
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
    /// Refuse the key of this node of the backup, as `dunlin node revoke` does; may be repeated.
    #[arg(long, value_name = "NODE")]
    revoke: Vec<String>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Restores, and says what came of it.
///
/// # Errors
/// When the backup is damaged, the folder is taken, or the disk fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let revoke: Vec<_> = args.revoke.iter().map(|name| NodeName::new(name.as_str())).collect();
    let restore = |passphrase: Option<&Passphrase>| {
        backup::restore(&Restore {
            file: &args.file,
            passphrase,
            data_dir: &args.data_dir,
            present: if args.replace { Present::SetAside } else { Present::Refuse },
            generation: args.generation,
            revoke: &revoke,
            now: daemon::now(),
        })
    };
    let restored = match restore(args.passphrase.given()?.as_ref()) {
        Err(RestoreError::Backup(BackupError::PassphraseNeeded)) => restore(Some(&args.passphrase.ask()?)),
        restored => restored,
    };
    let restored = restored.with_context(|| format!("cannot restore {}", args.file.display()))?;
    Ok(terminal::print(&described(&args.data_dir, restored))?)
}

fn described(data_dir: &Path, restored: Restored) -> String {
    let Restored { manifest, contents, generation, set_aside, kept_modules, returned, unread } = restored;
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
    if let Some(error) = unread {
        let error = anyhow::Error::new(error);
        text.push_str(&format!("what was revoked in it is not known: {error:#}\n"));
    }
    let Returned { nodes, tokens } = returned;
    let nodes: Vec<_> = nodes.iter().map(NodeName::as_str).collect();
    if !nodes.is_empty() {
        text.push_str(&format!(
            "keys of these nodes are good again; if one was revoked, repeat this with --revoke NODE: {}\n",
            listed(&nodes)
        ));
    }
    let tokens: Vec<_> = tokens.iter().map(TokenId::as_str).collect();
    if !tokens.is_empty() {
        text.push_str(&format!(
            "these join tokens are good again; if one must not be: dunlin node token delete ID: {}\n",
            listed(&tokens)
        ));
    }
    text.push_str(&format!("start it: dunlin coordinator --data-dir {}\n", data_dir.display()));
    text
}

/// Names in one line, no more of them than somebody reads.
fn listed(names: &[&str]) -> String {
    let first = names[..names.len().min(LISTED_MAX)].join(", ");
    match names.len().saturating_sub(LISTED_MAX) {
        0 => first,
        more => format!("{first}, and {more} more"),
    }
}

/// The whole list is in `dunlin node list` and `dunlin node token list`.
const LISTED_MAX: usize = 20;
