//! `image`: the images of the node on this machine, asked from its agent, with no coordinator in between.

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use dunlin_edge_node::console::{Console, ImageKind, ImageView};
use dunlin_link::reference::Reference;
use serde_json::json;

use super::local;
use crate::{
    amount::bytes_text,
    table::Options,
    tabs::{self, Layout},
    terminal,
};

/// Options of `image`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin image ls
  dunlin image pull docker.io/library/busybox:1      with the credentials of the node's own configuration
  dunlin image import busybox.tar                    what `docker save`, `skopeo` or `dunlin image export` wrote
  skopeo copy docker://r.io/app:1 docker-archive:/dev/stdout:r.io/app:1 | dunlin image import -
  dunlin image export r.io/app:1 -o app.tar
  dunlin image rm r.io/app:1")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ImageCommand,
    /// The node's state folder (default: that of this machine's node, else that of the only node of ./.dunlin).
    #[arg(long, global = true, alias = "state-dir", env = "DUNLIN_STATE_DIR", value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// List the images that are here.
    #[command(visible_alias = "list")]
    Ls {
        /// More columns, or another form.
        #[arg(long, short, value_name = "FORMAT", value_parser = ["wide", "json", "name"])]
        output: Option<String>,
        /// Leave out the row of column names.
        #[arg(long)]
        no_headers: bool,
    },
    /// Pull images from their registries.
    Pull {
        /// As a pod would name them.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove images that no pod uses.
    Rm {
        /// Names, digests, or beginnings of ids.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Take the images of archives: OCI's and Docker's, plain or compressed.
    Import {
        /// Files; `-` for standard input.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// What the only image of the only file is called here.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Write an image into an archive that this and other tools read.
    Export {
        /// Its name, digest, or the beginning of its id.
        name: String,
        /// Where to; standard output when it is not given, or `-`.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Finds the node and runs the subcommand.
pub(crate) fn run(args: Args) -> Result<()> {
    let state = args.state.map_or_else(local::find_state, Ok)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let console = Console::of(&state);
    runtime.context("cannot start the runtime")?.block_on(async {
        match args.command {
            ImageCommand::Ls { output, no_headers } => {
                let options = Options { wide: output.is_some(), no_headers, ..Options::default() };
                Ok(terminal::print(&listed(&console.images().await?, output.as_deref(), &options)?)?)
            }
            ImageCommand::Pull { names } => {
                for name in names {
                    let image = console.pull_image(name).await?;
                    terminal::print(&format!("{image} pulled\n"))?;
                }
                Ok(())
            }
            ImageCommand::Rm { names } => {
                for name in names {
                    for name in console.remove_image(name).await? {
                        terminal::print(&format!("{name} removed\n"))?;
                    }
                }
                Ok(())
            }
            ImageCommand::Import { files, name } => {
                if name.is_some() && files.len() > 1 {
                    return Err(anyhow!("--name is for one file"));
                }
                for file in files {
                    import(&console, &file, name.clone()).await?;
                }
                Ok(())
            }
            ImageCommand::Export { name, output } => export(&console, name, output.as_deref()).await,
        }
    })
}

async fn import(console: &Console, file: &Path, name: Option<String>) -> Result<()> {
    let mut from: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).with_context(|| format!("cannot open {}", file.display()))?)
    };
    let imported = console.import_images(name, &mut from).await;
    for name in imported.with_context(|| format!("cannot import {}", file.display()))? {
        terminal::print(&format!("{name} imported\n"))?;
    }
    Ok(())
}

/// A file has its name when it is whole.
async fn export(console: &Console, name: String, output: Option<&Path>) -> Result<()> {
    let mut content = console.export_image(name).await?;
    let Some(path) = output.filter(|path| *path != Path::new("-")) else {
        while let Some(chunk) = content.chunk().await? {
            terminal::write_stdout(&chunk)?;
        }
        return Ok(());
    };
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let cannot = || format!("cannot write {}", path.display());
    // A device or a pipe is written to, and never replaced.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let mut file = File::options().write(true).open(path).with_context(cannot)?;
        while let Some(chunk) = content.chunk().await? {
            file.write_all(&chunk).with_context(cannot)?;
        }
        return Ok(());
    }
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    while let Some(chunk) = content.chunk().await? {
        file.write_all(&chunk).with_context(cannot)?;
    }
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

fn listed(images: &[ImageView], output: Option<&str>, options: &Options) -> Result<String> {
    match output {
        Some("json") => {
            let images: Vec<_> = images.iter().map(object).collect();
            let list = json!({ "images": images });
            Ok(serde_json::to_string_pretty(&list)? + "\n")
        }
        Some("name") => {
            let names = images.iter().flat_map(|image| &image.names);
            Ok(names.map(|name| format!("{name}\n")).collect())
        }
        _ => Ok(table(images, options)),
    }
}

fn object(image: &ImageView) -> serde_json::Value {
    let of = |wanted: bool| {
        image.names.iter().filter(move |name| name.contains('@') == wanted).collect::<Vec<_>>()
    };
    json!({
        "id": image.id.to_string(), "digest": image.image.to_string(), "repoTags": of(false), "repoDigests": of(true),
        "size": image.bytes, "kind": kind(image.kind), "usedBy": image.used_by,
    })
}

fn table(images: &[ImageView], options: &Options) -> String {
    let mut rows = Vec::new();
    for image in images {
        let mut names: Vec<_> =
            image.names.iter().filter(|name| !name.contains('@')).map(|name| split(name)).collect();
        if names.is_empty() {
            let pinned = image.names.first().and_then(|name| name.split('@').next());
            names.push((pinned.unwrap_or(NONE), NONE));
        }
        let used_by = if image.used_by.is_empty() { NONE.to_owned() } else { image.used_by.join(",") };
        for (repository, tag) in names {
            let id = &image.id.hex()[..ID_CHARS];
            let mut row =
                format!("{repository}\t{tag}\t{id}\t{}\t{}", bytes_text(image.bytes), kind(image.kind));
            if options.wide {
                row += &format!("\t{}", image.image);
            }
            rows.push(format!("{row}\t{used_by}\n"));
        }
    }
    rows.sort();
    let wide = if options.wide { "\tDIGEST" } else { "" };
    let header = format!("REPOSITORY\tTAG\tIMAGE ID\tSIZE\tKIND{wide}\tUSED BY\n");
    let header = if options.no_headers { String::new() } else { header };
    tabs::align(&(header + &rows.concat()), Layout::TABLE)
}

fn split(name: &str) -> (&str, &str) {
    match name.parse::<Reference>() {
        Ok(reference) if reference.tag.is_some() => name.rsplit_once(':').unwrap_or((name, NONE)),
        _ => (name, NONE),
    }
}

const fn kind(kind: ImageKind) -> &'static str {
    match kind {
        ImageKind::Wasm => "wasm",
        ImageKind::Linux => "linux",
    }
}

/// Stands where there is nothing.
const NONE: &str = "<none>";
/// As much of an id as other tools show.
const ID_CHARS: usize = 12;

#[cfg(test)]
mod tests {
    use dunlin_link::Digest;

    use super::*;

    #[test]
    fn images_are_listed_by_their_tags() {
        let (id, digest) = (Digest::of(b"id"), Digest::of(b"image"));
        let image = ImageView {
            names: vec![format!("r.io:5000/a@{digest}"), "r.io:5000/a:1".into(), "r.io:5000/b:2".into()],
            image: digest,
            id,
            bytes: 2048,
            kind: ImageKind::Linux,
            used_by: vec!["default/web".into()],
        };
        let pinned = ImageView {
            names: vec![format!("r.io/c@{digest}")],
            used_by: vec![],
            kind: ImageKind::Wasm,
            ..image.clone()
        };
        let text = listed(&[image.clone(), pinned], None, &Options::default()).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let id = &id.hex()[..12];
        assert_eq!(lines[1], ["r.io/c", "<none>", id, "2.0KiB", "wasm", "<none>"]);
        assert_eq!(lines[2], ["r.io:5000/a", "1", id, "2.0KiB", "linux", "default/web"]);
        assert_eq!(lines[3][..2], ["r.io:5000/b", "2"]);
        let names = listed(std::slice::from_ref(&image), Some("name"), &Options::default()).unwrap();
        assert_eq!(names.lines().count(), 3);
        let json: serde_json::Value =
            serde_json::from_str(&listed(&[image], Some("json"), &Options::default()).unwrap()).unwrap();
        assert_eq!(json["images"][0]["repoTags"], json!(["r.io:5000/a:1", "r.io:5000/b:2"]));
        assert_eq!(json["images"][0]["usedBy"], json!(["default/web"]));
    }
}
