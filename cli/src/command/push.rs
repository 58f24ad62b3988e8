//! `push`: stores a module or an image in the coordinator, to be used as image `dunlin.local/NAME`.

mod image;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

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
  skopeo copy --all docker://r.io/app:1 oci-archive:app.tar && dunlin push app.tar app:1
  docker save app:1 -o app.tar && dunlin push app.tar app:1
  dunlin push layout/ team/app
What was pushed is then the image dunlin.local/hello, or dunlin.local/hello:1.2.")]
pub(crate) struct Args {
    /// A WebAssembly module or component; an archive of images, OCI's or Docker's, plain or compressed; or a folder in OCI's layout.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Name to store it as; the tag is `latest` when left out.
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// Which image of an archive that has several.
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
}

/// Streams what is pushed and prints its digest.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if is_module(&args.file).await? {
        if args.image.is_some() {
            bail!(
                "{} is a WebAssembly module; --image chooses among those of an archive",
                args.file.display()
            );
        }
        return push_module(args, session).await;
    }
    image::push(args, session).await
}

/// Whether a file is meant to be a module: by its name, or as modules begin.
async fn is_module(path: &Path) -> Result<bool> {
    if path.is_dir() {
        return Ok(false);
    }
    let cannot_read = || format!("cannot read {}", path.display());
    let mut file = tokio::fs::File::open(path).await.with_context(cannot_read)?;
    Ok(path.extension().is_some_and(|end| end == "wasm") || has_magic(&mut file).await)
}

async fn has_magic(file: &mut tokio::fs::File) -> bool {
    let mut magic = [0; 4];
    file.read_exact(&mut magic).await.is_ok() && magic == *b"\0asm"
}

async fn push_module(args: Args, session: Session) -> Result<()> {
    let shown = args.file.display();
    let mut file = tokio::fs::File::open(&args.file).await.with_context(|| format!("cannot read {shown}"))?;
    let bytes = file.metadata().await.with_context(|| format!("cannot read {shown}"))?.len();
    if bytes > MODULE_BYTES_MAX {
        bail!("{shown} has {bytes} bytes; a module may have {MODULE_BYTES_MAX}");
    }
    if !has_magic(&mut file).await {
        bail!("{shown} is no WebAssembly module: it does not start with \\0asm");
    }
    file.rewind().await.with_context(|| format!("cannot read {shown}"))?;

    // The image name is accepted too, since that is what manifests hold.
    let name = args.name.strip_prefix("dunlin.local/").unwrap_or(&args.name);
    let bar = Bar::new(bytes);
    let mut file = file.take(bytes);
    let answer = session.api.upload_module("/dunlin/v1/modules", &[("name", name)], (&mut file, &bar)).await;
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
