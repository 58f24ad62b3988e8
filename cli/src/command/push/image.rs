//! Images in archives and folders: verified here as a node does that imports them, then sent to the coordinator's registry as they are,
//! with all of their platforms. What it has already is not sent.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail};
use dunlin_link::reference::{LOCAL_REGISTRY, Reference};
use dunlin_registry::archive::{
    ArchiveError, ImageArchive, ListedImage, Scratch, WholeBlob, WholeImage, WholeManifest,
};
use tokio::{io::AsyncReadExt as _, task::spawn_blocking};

use super::{Args, Bar};
use crate::{session::Session, terminal};

/// Where it goes.
struct Place {
    repository: String,
    tag: String,
}

/// See the module.
pub(super) async fn push(args: Args, session: Session) -> Result<()> {
    let place = Place::parse(&args.name)?;
    let shown = args.file.display().to_string();
    let image =
        args.image.map(|name| name.parse::<Reference>().map_err(|error| anyhow!("--image {name}: {error}")));
    let image = image.transpose()?;
    let file = args.file.clone();
    let read = spawn_blocking(move || read(&file, image.as_ref())).await?;
    let (archive, whole) = read.map_err(|error| {
        let is_another = matches!(error.downcast_ref(), Some(ArchiveError::NoImages | ArchiveError::Read(_)));
        let is_file = !args.file.is_dir();
        error.context(if is_another && is_file {
            format!("{shown} is no WebAssembly module, and cannot be pushed as an archive of images")
        } else {
            format!("cannot push {shown}")
        })
    })?;
    let digest =
        send(&session, &place, &archive, &whole).await.with_context(|| format!("cannot push {shown}"))?;
    terminal::print(&format!("{LOCAL_REGISTRY}/{}:{}@{digest}\n", place.repository, place.tag))?;
    Ok(())
}

/// The image, all of which is what it says.
fn read(path: &Path, image: Option<&Reference>) -> Result<(Arc<ImageArchive>, WholeImage)> {
    let archive = if path.is_dir() {
        ImageArchive::of_folder(path, &Temporary, ARCHIVE_BYTES_MAX)?
    } else {
        ImageArchive::open(File::open(path)?, &Temporary, ARCHIVE_BYTES_MAX)?
    };
    let whole = archive.whole(choose(archive.list()?, image)?)?;
    for blob in &whole.blobs {
        if blob.span.bytes > BLOB_BYTES_MAX {
            bail!(
                "{} has {} bytes; the coordinator takes {BLOB_BYTES_MAX} at most",
                blob.digest,
                blob.span.bytes
            );
        }
        archive.verify(blob)?;
    }
    Ok((Arc::new(archive), whole))
}

/// The one that is meant.
fn choose(mut images: Vec<ListedImage>, name: Option<&Reference>) -> Result<ListedImage> {
    let names: Vec<String> = images.iter().flat_map(|image| &image.names).map(ToString::to_string).collect();
    let listed = if names.is_empty() { "none of them has a name".to_owned() } else { names.join(", ") };
    match name {
        Some(name) => {
            let is_it = |image: &ListedImage| image.names.contains(name);
            let found = images.iter().position(is_it);
            let at = found.ok_or_else(|| anyhow!("it has no image {name}, but {listed}"))?;
            Ok(images.swap_remove(at))
        }
        None if images.len() > 1 => {
            bail!("it has {} images ({listed}); choose one with --image", images.len())
        }
        None => images.pop().context("it has no image"),
    }
}

async fn send(
    session: &Session,
    place: &Place,
    archive: &ImageArchive,
    whole: &WholeImage,
) -> Result<dunlin_link::Digest> {
    let bar = Bar::new(whole.blobs.iter().map(|blob| blob.span.bytes).sum());
    for blob in &whole.blobs {
        send_blob(session, place, (archive, blob), &bar).await?;
    }
    bar.0.finish_and_clear();
    let (image, parts) = whole.manifests.split_last().context("it has no manifest")?;
    for manifest in parts {
        put(session, place, manifest, &manifest.digest.to_string()).await?;
    }
    put(session, place, image, &place.tag).await?;
    Ok(image.digest)
}

async fn send_blob(
    session: &Session,
    place: &Place,
    (archive, blob): (&ImageArchive, &WholeBlob),
    bar: &Bar,
) -> Result<()> {
    let (digest, blobs) = (blob.digest.to_string(), format!("/v2/{}/blobs", place.repository));
    if session.api.is_there(&format!("{blobs}/{digest}")).await? {
        bar.0.inc(blob.span.bytes);
        return Ok(());
    }
    let (mut file, offset) = archive.place(blob.span)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut part = tokio::fs::File::from_std(file).take(blob.span.bytes);
    let query = [("digest", digest.as_str())];
    session.api.upload_blob(&format!("{blobs}/uploads/"), &query, (&mut part, bar)).await
}

async fn put(session: &Session, place: &Place, manifest: &WholeManifest, name: &str) -> Result<()> {
    let path = format!("/v2/{}/manifests/{name}", place.repository);
    session.api.put_manifest(&path, &manifest.media_type, &manifest.text).await
}

impl Place {
    fn parse(name: &str) -> Result<Self> {
        let own = name.strip_prefix(LOCAL_REGISTRY).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
        let full = format!("{LOCAL_REGISTRY}/{own}");
        let reference: Reference = full.parse().map_err(|error| anyhow!("{name}: {error}"))?;
        if reference.digest.is_some() {
            bail!("{name}: a name to push to cannot have a digest");
        }
        Ok(Self { tag: reference.tag_or_latest().to_owned(), repository: reference.repository })
    }
}

/// Copies are files without a name.
struct Temporary;

impl Scratch for Temporary {
    fn file(&self, _expected_bytes: u64) -> io::Result<File> {
        tempfile::tempfile()
    }

    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

/// An archive when it is no longer compressed as a whole.
const ARCHIVE_BYTES_MAX: u64 = 64 << 30;

/// What the coordinator's registry takes of one blob.
const BLOB_BYTES_MAX: u64 = 2 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_in_the_coordinators_registry() {
        let check = |name: &str, expected: Option<(&str, &str)>| {
            let found = Place::parse(name).ok();
            let found = found.as_ref().map(|place| (place.repository.as_str(), place.tag.as_str()));
            assert_eq!(found, expected, "{name}");
        };
        check("app", Some(("app", "latest")));
        check("team/app:1", Some(("team/app", "1")));
        check("dunlin.local/app:1", Some(("app", "1")));
        check("App", None);
        check("app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", None);
    }
}
