//! Uploads, names and what references lead to, on real files.

use std::{
    fs, io,
    pin::Pin,
    task::{Context, Poll},
};

use dunlin_coordinator_core::image::NameError;
use dunlin_link::Digest;
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use crate::{
    artifacts::{Artifacts, BlobError, Module, ModuleKind, ModuleName, ResolveError, UploadError, content},
    store::{Store, StoreOptions},
};

const CORE: &[u8] = b"\0asm\x01\0\0\0\x00\x0b\x04noteabcdef";
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\x00\x0b\x04noteabcdef";

fn artifacts(folder: &tempfile::TempDir) -> Artifacts {
    let store = Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap();
    Artifacts::open(folder.path(), store).unwrap()
}

fn files(folder: &tempfile::TempDir, of: &str) -> usize {
    fs::read_dir(folder.path().join("modules").join(of)).unwrap().count()
}

#[tokio::test]
async fn a_module_is_found_by_every_form_of_reference() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = artifacts(&folder);
    let core = artifacts.upload(CORE, Some(Digest::of(CORE))).await.unwrap();
    assert_eq!(core, Module { digest: Digest::of(CORE), bytes: 21, kind: ModuleKind::Core });
    let component = artifacts.upload(COMPONENT, None).await.unwrap();
    assert_eq!(component.kind, ModuleKind::Component);
    assert_eq!(artifacts.upload(CORE, None).await.unwrap(), core);
    assert_eq!((files(&folder, "sha256"), files(&folder, "uploads")), (2, 0));

    let latest = ModuleName::parse("hello").unwrap();
    let revision = artifacts.tag(&latest, &core).await.unwrap();
    assert_eq!(artifacts.tag(&latest, &core).await.unwrap(), revision);
    artifacts.tag(&ModuleName::parse("hello:2").unwrap(), &component).await.unwrap();
    let resolve = async |reference: &str| artifacts.resolve(reference).await;
    assert_eq!(resolve("dunlin.local/hello").await.unwrap(), core);
    assert_eq!(resolve("dunlin.local/hello:latest").await.unwrap(), core);
    assert_eq!(resolve("dunlin.local/hello:2").await.unwrap(), component);
    assert_eq!(resolve(&format!("dunlin.local/x@{}", core.digest)).await.unwrap(), core);

    let names: Vec<_> = artifacts.names().await.unwrap().iter().map(|named| named.name.to_string()).collect();
    assert_eq!(names, ["dunlin.local/hello:2", "dunlin.local/hello:latest"]);
    assert!(artifacts.untag(&latest).await.unwrap());
    assert!(!artifacts.untag(&latest).await.unwrap());
    assert!(matches!(
        resolve("dunlin.local/hello").await,
        Err(ResolveError::Name(NameError::Unknown { .. }))
    ));
    let absent = format!("dunlin.local/x@{}", Digest::of(b""));
    assert!(matches!(resolve(&absent).await, Err(ResolveError::UnknownDigest { .. })));
    assert!(matches!(resolve("dunlin.local/X").await, Err(ResolveError::Name(NameError::Malformed { .. }))));
    let elsewhere = resolve("hello").await.unwrap_err().to_string();
    assert!(elsewhere.contains("`docker.io`") && elsewhere.contains("dunlin push"), "{elsewhere}");
}

#[tokio::test]
async fn a_transfer_resumes_at_an_offset() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = artifacts(&folder);
    let module = artifacts.upload(CORE, None).await.unwrap();
    for offset in [0, 10, CORE.len(), 1000] {
        let mut open = artifacts.open_module(module.digest, offset as u64).await.unwrap().unwrap();
        let mut rest = Vec::new();
        open.content.read_to_end(&mut rest).await.unwrap();
        assert_eq!((rest.as_slice(), open.bytes), (CORE.get(offset..).unwrap_or(b""), CORE.len() as u64));
    }
    assert!(artifacts.open_module(Digest::of(b""), 0).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = artifacts(&folder);
    for content in [&b""[..], b"\0asm", b"\0asm\x02\0\0\0", b"\x7fELF\0\0\0\0", b"(module)", b"hello, world"]
    {
        let refused = artifacts.upload(content, None).await;
        assert!(matches!(refused, Err(UploadError::NotWasm { .. })), "{content:?}");
    }
    for content in [&CORE[..CORE.len() - 1], &[CORE, b"\xff"].concat()] {
        let refused = artifacts.upload(content, None).await;
        assert!(matches!(refused, Err(UploadError::Malformed { .. })), "{content:?}");
    }
    let other = artifacts.upload(CORE, Some(Digest::of(COMPONENT))).await;
    assert!(matches!(other, Err(UploadError::OtherDigest { .. })));
    let (modules, endless) = (folder.path().join("modules"), CORE.chain(tokio::io::repeat(0)));
    let large = content::upload(&modules, endless, None, 1 << 20).await;
    assert!(matches!(large, Err(UploadError::TooLarge { .. })));
    let broken = artifacts.upload(CORE.chain(Gone), None).await;
    assert!(matches!(broken, Err(UploadError::Receive(_))));
    assert_eq!((files(&folder, "sha256"), files(&folder, "uploads")), (0, 0));
}

/// A sender that went away.
struct Gone;

impl AsyncRead for Gone {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

#[tokio::test]
async fn a_tag_that_moved_meanwhile_is_not_removed_with_what_it_meant() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = artifacts(&folder);
    let manifest = async |note: &str| {
        let text = format!(
            r#"{{"schemaVersion": 2, "mediaType": "{}", "manifests": [], "x": "{note}"}}"#,
            dunlin_registry::media::INDEX
        );
        let content = (dunlin_registry::media::INDEX, text.into_bytes());
        artifacts.put_manifest("app", (Some("1"), None), content).await.unwrap()
    };
    let old = manifest("old").await;
    let new = manifest("new").await;
    // Whoever deletes the old one had seen the tag before.
    assert!(!artifacts.remove_tag_of("app", "1", old).await.unwrap());
    assert_eq!(artifacts.manifest_of_tag("app", "1").await.unwrap().unwrap().digest, new);
    assert!(artifacts.remove_tag_of("app", "1", new).await.unwrap());
}

#[tokio::test]
async fn nobody_writes_to_an_upload_that_is_being_placed() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = artifacts(&folder);
    let blobs = artifacts.blobs();
    let id = blobs.begin("app", "gull").await.unwrap();
    let upload = async || blobs.upload(("app", "gull"), &id);
    let mut held = upload().await.unwrap();
    assert!(matches!(upload().await, Err(BlobError::Busy)));
    held.append(&b"content"[..], None).await.unwrap();
    // Its request goes away in the middle: whether the blob is placed or not, it is the blob that was hashed.
    let mut placing = Box::pin(blobs.finish(&id, held, Digest::of(b"content")));
    let _ = placing.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
    assert!(matches!(upload().await, Err(BlobError::UnknownUpload)));
    drop(placing);
    assert!(matches!(upload().await, Err(BlobError::UnknownUpload)));
}
