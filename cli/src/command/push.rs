//! `push`: stores a module in the coordinator, to be used as image `dunlin.local/NAME`.

use std::{io::IsTerminal as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use dunlin_link::limits::MODULE_BYTES_MAX;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use crate::{client::Progress, document::text, session::Session, terminal};

/// Options of `push`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin push target/wasm32-wasip2/release/hello.wasm hello
  dunlin push hello.wasm hello:1.2
The module is then the image dunlin.local/hello, or dunlin.local/hello:1.2.")]
pub(crate) struct Args {
    /// A WebAssembly module or component.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Name to store it as; the tag is `latest` when left out.
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

/// Streams the file and prints its digest.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let shown = args.file.display();
    let mut file = tokio::fs::File::open(&args.file).await.with_context(|| format!("cannot read {shown}"))?;
    let bytes = file.metadata().await.with_context(|| format!("cannot read {shown}"))?.len();
    if bytes > MODULE_BYTES_MAX {
        bail!("{shown} has {bytes} bytes; a module may have {MODULE_BYTES_MAX}");
    }
    let mut magic = [0; 4];
    if file.read_exact(&mut magic).await.is_err() || magic != *b"\0asm" {
        bail!("{shown} is no WebAssembly module: it does not start with \\0asm");
    }
    file.rewind().await.with_context(|| format!("cannot read {shown}"))?;

    // The image name is accepted too, since that is what manifests hold.
    let name = args.name.strip_prefix("dunlin.local/").unwrap_or(&args.name);
    let bar = Bar::new(bytes);
    let answer = session.api.upload("/dunlin/v1/modules", &[("name", name)], &mut file, &bar).await;
    bar.0.finish_and_clear();
    let answer = answer.with_context(|| format!("cannot push {shown}"))?;
    let digest = text(&answer, &["digest"]);
    terminal::print(&format!("dunlin.local/{name}@{digest}\n"))?;
    Ok(())
}

/// A bar on a terminal, nothing elsewhere.
#[derive(Debug)]
struct Bar(ProgressBar);

impl Bar {
    fn new(bytes: u64) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}") {
            bar.set_style(style);
        }
        Self(bar)
    }
}

impl Progress for Bar {
    fn advanced(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}
