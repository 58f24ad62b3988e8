//! `backup`: all of a cluster's state in one file on this machine, and what such a file holds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use dunlin_coordinator::backup::{self, BackupFile, Contents, Manifest, Modules, Passphrase};
use jiff::Timestamp;

pub(super) use self::passphrase::PassphraseArgs;
use crate::{
    client::Response,
    daemon,
    session::{self, ConnectionArgs, Session},
    terminal,
};

mod passphrase;

/// Options of `backup`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    take: TakeArgs,
}

const EXAMPLES: &str = "\
Examples:
  dunlin backup cluster.backup --encrypt             asks for a passphrase
  dunlin backup cluster.backup --encrypt --passphrase-file /etc/dunlin/passphrase
  dunlin backup --data-dir /var/lib/dunlin/coordinator cluster.backup
                                                     of a coordinator that is stopped
  dunlin backup inspect cluster.backup
  dunlin restore cluster.backup --data-dir /var/lib/dunlin/coordinator
Whoever has a backup that is not encrypted has the cluster: its keys are in it.";

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Verify a backup and show what is in it.
    Inspect {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
}

#[derive(Debug, clap::Args)]
struct TakeArgs {
    /// Where to write the backup, on this machine.
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    /// Data folder of a coordinator that is stopped; without it a running coordinator is asked.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Leave pushed modules out: they can be pushed again.
    #[arg(long)]
    without_modules: bool,
    /// Encrypt the backup with a passphrase.
    #[arg(long)]
    encrypt: bool,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Takes a backup, or looks into one.
///
/// # Errors
/// When it cannot be taken, written or read.
pub(crate) fn run(args: Args, connection: &ConnectionArgs) -> Result<()> {
    if let Some(BackupCommand::Inspect { file, passphrase }) = args.command {
        return inspect(&file, &passphrase);
    }
    let TakeArgs { file, data_dir, without_modules, encrypt, passphrase } = args.take;
    let file = file.context("no file is named")?;
    let passphrase = if encrypt || passphrase.is_given() { Some(passphrase.choose()?) } else { None };
    if passphrase.is_none() {
        terminal::warn(
            "the backup is not encrypted: whoever reads it has the keys of the cluster; see --encrypt",
        );
    }
    let modules = if without_modules { Modules::LeftOut } else { Modules::Included };
    match data_dir {
        Some(data_dir) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime
                .context("cannot start the runtime")?
                .block_on(offline(&data_dir, &file, modules, passphrase))
        }
        None => session::run(connection, |session| online(session, file, modules, passphrase)),
    }
}

async fn offline(
    data_dir: &Path,
    file: &Path,
    modules: Modules,
    passphrase: Option<Passphrase>,
) -> Result<()> {
    let (store, mut collected) = backup::collect_offline(data_dir, modules, daemon::now()).await?;
    let manifest = collected.manifest.clone();
    let mut output = BackupFile::create(file, &manifest, passphrase)?;
    while let Some(part) = collected.next().await {
        output.write(&part?)?;
    }
    store.close().await;
    finish(file, &manifest, output)
}

/// The coordinator sends records; they are put into a file, and sealed, here.
async fn online(
    session: Session,
    file: PathBuf,
    modules: Modules,
    passphrase: Option<Passphrase>,
) -> Result<()> {
    let without = if modules == Modules::LeftOut { "true" } else { "false" };
    let mut answer = session.api.stream("/dunlin/v1/backup", &[("withoutModules", without)]).await?;
    let (manifest, rest) = read_manifest(&mut answer).await.context("the coordinator sent no backup")?;
    let mut output = BackupFile::create(&file, &manifest, passphrase)?;
    output.write(&rest)?;
    while let Some(part) =
        answer.chunk().await.context("the backup broke off; the coordinator's log says why")?
    {
        output.write(&part)?;
    }
    finish(&file, &manifest, output)
}

/// The manifest in front of the records, and the first bytes of these.
async fn read_manifest(answer: &mut Response) -> Result<(Manifest, Vec<u8>)> {
    let mut start = Vec::new();
    loop {
        if let Some((length, rest)) = start.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length))?;
            if length > MANIFEST_BYTES_MAX {
                bail!("the manifest is too long");
            }
            if let Some((manifest, rest)) = rest.split_at_checked(length) {
                return Ok((serde_json::from_slice(manifest)?, rest.to_vec()));
            }
        }
        let part = answer.chunk().await?;
        start.extend(part.context("the answer ends before the manifest")?);
    }
}

fn finish(file: &Path, manifest: &Manifest, output: BackupFile) -> Result<()> {
    let contents = output.finish().with_context(|| format!("cannot finish {}", file.display()))?;
    let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
    Ok(terminal::print(&format!(
        "{}: cluster {} at revision {}, {} objects, {} records, {} modules, {bytes} bytes, verified\n",
        file.display(),
        manifest.cluster_id,
        manifest.revision,
        contents.object_count(),
        contents.records,
        contents.modules,
    ))?)
}

fn inspect(file: &Path, passphrase: &PassphraseArgs) -> Result<()> {
    let read = |passphrase: Option<&Passphrase>| backup::inspect(file, passphrase);
    let given = passphrase.given()?;
    let read = match read(given.as_ref()) {
        Err(backup::BackupError::PassphraseNeeded) => read(Some(&passphrase.ask()?)),
        read => read,
    };
    let (manifest, contents) = read.with_context(|| format!("cannot use {}", file.display()))?;
    Ok(terminal::print(&described(&manifest, &contents))?)
}

fn described(manifest: &Manifest, contents: &Contents) -> String {
    let time = Timestamp::from_millisecond(manifest.created_at.0).unwrap_or_default();
    let modules = match manifest.modules {
        Modules::Included => format!("{} ({} bytes)", contents.modules, contents.module_bytes),
        Modules::LeftOut => "left out".to_owned(),
    };
    let mut text = format!(
        "Cluster:     {}\nTaken:       {}\nRevision:    {}\nGeneration:  {}\nRelease:     {}\nObjects:     {}\n",
        manifest.cluster_id,
        dunlin_api::time::format_time(time),
        manifest.revision,
        manifest.restore_generation,
        manifest.version,
        contents.object_count(),
    );
    for (resource, count) in &contents.objects {
        text.push_str(&format!("  {resource}: {count}\n"));
    }
    text.push_str(&format!("Records:     {}\nModules:     {modules}\n", contents.records));
    text
}

/// A manifest is below 1 KiB.
const MANIFEST_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use dunlin_link::{Revision, UnixMillis};

    use super::*;

    #[test]
    fn a_backup_is_described() {
        let manifest = Manifest {
            format: 1,
            cluster_id: "c1".into(),
            created_at: UnixMillis(1_767_225_600_000),
            revision: Revision(42),
            restore_generation: 0,
            version: "0.1.0".into(),
            modules: Modules::LeftOut,
        };
        let objects = [("pods".to_owned(), 3), ("nodes".to_owned(), 1)].into();
        let contents = Contents { objects, records: 7, ..Contents::default() };
        expect_test::expect![[r#"
            Cluster:     c1
            Taken:       2026-01-01T00:00:00Z
            Revision:    42
            Generation:  0
            Release:     0.1.0
            Objects:     4
              nodes: 1
              pods: 3
            Records:     7
            Modules:     left out
        "#]]
        .assert_eq(&described(&manifest, &contents));
    }
}
