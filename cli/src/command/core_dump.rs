//! `coredump`: what a guest had in its memory when it trapped, fetched from the pod's node.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use tempfile::NamedTempFile;

use crate::{client::Response, failure::UsageError, session::Session, terminal};

/// Options of `coredump`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The pod; `pod/NAME` as well.
    #[arg(value_name = "POD")]
    pod: String,
    /// The container, needed when the pod has several.
    #[arg(long, short)]
    container: Option<String>,
    /// Write it into this file, which only you can read.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

const EXAMPLES: &str = "\
What a guest has in memory may be secret: it takes the right to `get` of `pods/coredump`, which cluster-admin has.

Examples:
  dunlin coredump crasher > core.wasm
  dunlin coredump web -c app -o core.wasm";

/// Fetches it.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let name = match args.pod.split_once('/') {
        None => &*args.pod,
        Some(("pod" | "pods" | "po", name)) => name,
        Some((kind, _)) => {
            return Err(UsageError(format!("coredump takes a pod, and {kind} is another kind")).into());
        }
    };
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(UsageError("a core dump is no text: name a file by -o, or redirect it".to_owned()).into());
    }
    if let Some(file) = args.output.as_ref().filter(|file| file.exists() && !file.is_file()) {
        return Err(UsageError(format!("{} is no regular file", file.display())).into());
    }
    let path = format!("/dunlin/v1/namespaces/{}/pods/{name}/coredump", session.namespace);
    let query: Vec<_> = args.container.iter().map(|container| ("container", &**container)).collect();
    let dump = session.api.stream(&path, &query).await?;
    match &args.output {
        None => print(dump).await,
        Some(file) => write(dump, file).await.with_context(|| format!("cannot write {}", file.display())),
    }
}

async fn print(mut dump: Response) -> Result<()> {
    while let Some(chunk) = dump.chunk().await? {
        terminal::write_stdout(&chunk)?;
    }
    Ok(())
}

/// The file is there only when it is whole.
async fn write(mut dump: Response, path: &Path) -> Result<()> {
    // For its owner only, and gone if this fails.
    let mut file = NamedTempFile::new_in(
        path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new(".")),
    )?;
    while let Some(chunk) = dump.chunk().await? {
        file.write_all(&chunk)?;
    }
    file.persist(path)?;
    Ok(())
}
