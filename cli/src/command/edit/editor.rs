//! The user's editor, run on a file of its own.

use std::{io::Write as _, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, anyhow};
use tempfile::NamedTempFile;

use super::draft::{self, Draft};
use crate::{failure::UsageError, manifest};

/// Shows a draft in the editor and answers what was typed, once the editor ends.
///
/// # Errors
/// When there is no editor, it fails, or leaves no text behind.
pub(super) async fn open(draft: &Draft) -> Result<String> {
    let file = file(draft, &draft.shown())?;
    let mut command = command()?;
    command.arg(file.path());
    // The connection goes on being kept alive meanwhile.
    let ended = tokio::task::spawn_blocking(move || {
        let program = command.get_program().to_string_lossy().into_owned();
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(anyhow!("the editor {program:?} failed ({status})")),
            Err(error) => Err(anyhow!(error).context(format!("cannot run the editor {program:?}"))),
        }
    });
    ended.await.context("the editor's task")??;
    // Editors may put another file in its place.
    let typed = manifest::load(file.path())?;
    Ok(draft::without_header(&typed).to_owned())
}

/// Leaves a draft in a file that stays.
///
/// # Errors
/// When the disk refuses.
pub(super) fn keep(draft: &Draft) -> Result<PathBuf> {
    let (_, path) = file(draft, draft.text())?.keep().context("cannot keep the edited file")?;
    Ok(path)
}

/// Only the user may read it: it may hold secrets.
fn file(draft: &Draft, text: &str) -> Result<NamedTempFile> {
    let make = || {
        let mut file =
            tempfile::Builder::new().prefix("dunlin-edit-").suffix(draft.extension()).tempfile()?;
        file.write_all(text.as_bytes())?;
        Ok::<_, std::io::Error>(file)
    };
    make().context("cannot write a file to edit")
}

fn command() -> Result<Command> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let line =
        variable("KUBE_EDITOR").or_else(|| variable("EDITOR")).unwrap_or_else(|| DEFAULT_EDITOR.to_owned());
    let words = shlex::split(&line).filter(|words| !words.is_empty());
    let words = words.ok_or_else(|| UsageError(format!("{line:?} is no command line of an editor")))?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Ok(command)
}

const DEFAULT_EDITOR: &str = "vi";
