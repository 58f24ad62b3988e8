//! Archives as tools write them, and as nobody should.

mod whole;

use std::{fs::File, io::Write as _};

use serde_json::{Value, json};

use super::{ArchiveError, Archived, ArchivedImage, Exported, ImageArchive, Scratch, write};
use crate::{manifest::Platform, media::Compression};
use dunlin_link::Digest;

/// An archive of these files.
fn tar<'a>(files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, &content[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(content).unwrap();
    gzip.finish().unwrap()
}

fn open(content: &[u8]) -> Result<ImageArchive, ArchiveError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    ImageArchive::open(file, &Anywhere, 1 << 20)
}

struct Anywhere;

impl Scratch for Anywhere {
    fn file(&self, _expected_bytes: u64) -> std::io::Result<File> {
        tempfile::tempfile()
    }

    fn check(&self) -> std::io::Result<()> {
        Ok(())
    }
}

fn wanted() -> [Platform; 2] {
    let linux = Platform { os: "linux".into(), architecture: "riscv64".into(), variant: String::new() };
    [Platform::wasm("wasi"), linux]
}

fn images(content: &[u8]) -> Result<Vec<ArchivedImage>, ArchiveError> {
    all(&open(content)?)
}

fn all(archive: &ImageArchive) -> Result<Vec<ArchivedImage>, ArchiveError> {
    let mut images = Vec::new();
    archive.each(archive.list()?, &wanted(), |image| {
        images.push(image);
        Ok::<_, ArchiveError>(())
    })?;
    Ok(images)
}

fn names(image: &ArchivedImage) -> Vec<String> {
    image.names.iter().map(ToString::to_string).collect()
}

fn check_refused(content: &[u8], expected: &str) {
    let error = images(content).unwrap_err().to_string();
    assert!(error.contains(expected), "{error} lacks {expected}");
}

fn config(os: &str, architecture: &str, layers: &[&[u8]]) -> Value {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": diff_ids } })
}

fn blob(content: &[u8]) -> (String, Vec<u8>) {
    (format!("blobs/sha256/{}", Digest::of(content).hex()), content.to_vec())
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(content).to_string(), "size": content.len() })
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// OCI's layout with one image of one layer for a platform, with these annotations.
fn layout((os, architecture): (&str, &str), annotations: &Value) -> Vec<(String, Vec<u8>)> {
    let layer = tar([("a", b"content".to_vec())]);
    let packed = gzip(&layer);
    let config = config(os, architecture, &[&layer]).to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [descriptor(GZIP, &packed)],
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
    });
    let manifest = manifest.to_string().into_bytes();
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["annotations"] = annotations.clone();
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string().into_bytes();
    vec![("index.json".to_owned(), index), blob(&config), blob(&manifest), blob(&packed)]
}

fn tar_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    tar(files.iter().map(|(path, content)| (path.as_str(), content.clone())))
}

#[test]
fn layouts_are_read_plain_and_compressed() {
    let named = json!({ "org.opencontainers.image.ref.name": "r.io/a:1" });
    let archive = tar_of(&layout(("linux", "riscv64"), &named));
    for content in [archive.clone(), gzip(&archive)] {
        let opened = open(&content).unwrap();
        let [image] = &all(&opened).unwrap()[..] else { panic!() };
        assert_eq!(names(image), ["r.io/a:1"]);
        let Archived::Linux { image, layers } = &image.content else { panic!("{image:?}") };
        assert_eq!(image.layers[0].compression, Compression::Gzip);
        let mut packed = Vec::new();
        std::io::Read::read_to_end(&mut opened.reader(layers[0]), &mut packed).unwrap();
        assert_eq!(Digest::of(&packed), image.layers[0].blob.digest);
    }
    let check = |annotations: Value, expected: &[&str]| {
        let image = &images(&tar_of(&layout(("wasi", "wasm"), &annotations))).unwrap()[0];
        assert_eq!(names(image), expected);
        assert!(matches!(image.content, Archived::Wasm { .. }));
    };
    check(json!({ "org.opencontainers.image.ref.name": "latest" }), &[]);
    check(
        json!({ "io.containerd.image.name": "docker.io/library/a:1", "org.opencontainers.image.ref.name": "1" }),
        &["docker.io/library/a:1"],
    );
    check(json!({}), &[]);
    check(json!({ "org.opencontainers.image.ref.name": "not/A/name" }), &[]);
}

#[test]
fn what_docker_saves_is_read_with_all_its_names_and_links() {
    let layer = tar([("a", b"content".to_vec())]);
    let config = config("linux", "riscv64", &[&layer, &layer]).to_string().into_bytes();
    let list = json!([{
        "Config": "config.json", "RepoTags": ["a:1", "r.io/b:2", "A:bad"], "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "two/layer.tar", "../one/layer.tar").unwrap();
    for (path, content) in [
        ("manifest.json", list.to_string().into_bytes()),
        ("config.json", config.clone()),
        ("one/layer.tar", layer.clone()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, &content[..]).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let [image] = &images(&archive).unwrap()[..] else { panic!() };
    assert_eq!(names(image), ["docker.io/library/a:1", "r.io/b:2"]);
    let Archived::Linux { image, layers } = &image.content else { panic!("{image:?}") };
    assert_eq!((&image.text[..], layers[0]), (&config[..], layers[1]));
    assert_eq!(image.layers[1].diff_id, Digest::of(&layer));
}

#[test]
fn what_is_written_is_read_again() {
    let name = "r.io/team/app:1".parse().unwrap();
    let layers = [tar([("a", b"one".to_vec())]), tar([("a", vec![7; 100_000])])];
    let config = config("linux", "riscv64", &[&layers[0], &layers[1], &layers[0]]).to_string();
    let of = |layer: &Vec<u8>| (Digest::of(layer), layer.len() as u64);
    let exported = Exported::Linux {
        config: config.clone().into(),
        layers: vec![of(&layers[0]), of(&layers[1]), of(&layers[0])],
    };
    let mut archive = Vec::new();
    let find = |digest: &Digest| Ok(&**layers.iter().find(|layer| Digest::of(layer) == *digest).unwrap());
    write(&mut archive, &name, &exported, find).unwrap();
    let [image] = &images(&archive).unwrap()[..] else { panic!() };
    assert_eq!(names(image), ["r.io/team/app:1"]);
    let Archived::Linux { image, layers: spans } = &image.content else { panic!("{image:?}") };
    assert_eq!((&image.text[..], spans.len()), (config.as_bytes(), 3));

    let module = b"\0asm\x01\0\0\0";
    let exported = Exported::Module { digest: Digest::of(module), bytes: module.len() as u64 };
    let mut archive = Vec::new();
    write(&mut archive, &name, &exported, |_| Ok(&module[..])).unwrap();
    let found = images(&archive).unwrap();
    assert!(matches!(found[0].content, Archived::Module { digest, .. } if digest == Digest::of(module)));
    // Files beside a module come back with it.
    let data = tar([("data", b"d".to_vec())]);
    let of = |bytes: &[u8]| (Digest::of(bytes), bytes.len() as u64);
    let exported_files = Exported::Wasm { config: None, module: Some(of(module)), layer: of(&data) };
    let mut archive = Vec::new();
    write(&mut archive, &name, &exported_files, |part| {
        Ok(if *part == Digest::of(module) { &module[..] } else { &data[..] })
    })
    .unwrap();
    let found = images(&archive).unwrap();
    let Archived::Wasm { module: Some((beside, _)), config: None, layers } = &found[0].content else {
        panic!("{found:?}")
    };
    assert_eq!((*beside, layers.len()), (Digest::of(module), 1));
    // Content that changed since is not passed on as if it had not.
    let other = write(std::io::sink(), &name, &exported, |_| Ok(&b"\0asm\x01\0\0\x01"[..])).unwrap_err();
    assert!(other.to_string().contains("has digest"), "{other}");
    let short = write(std::io::sink(), &name, &exported, |_| Ok(&b"\0asm"[..])).unwrap_err();
    assert_eq!(short.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[test]
fn what_is_no_archive_is_refused_in_one_line() {
    let error = images("root:x:0:0:\nbin:x:1:1:\u{7}".repeat(400).as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("it cannot be read as an archive (tar, also compressed): "), "{error}");
    assert!(error.len() < 400 && !error.contains(['\n', '\u{7}']), "{error}");
}

#[test]
fn archives_that_lie_are_refused() {
    check_refused(&tar([("a", b"b".to_vec())]), "neither `index.json` nor `manifest.json`");
    check_refused(
        b"no archive at all, though long enough that somebody might take it for one",
        "cannot be read",
    );
    check_refused(&tar([("index.json", b"[]".to_vec())]), "its `index.json` cannot be used");
    check_refused(&tar([("manifest.json", b"[]".to_vec())]), "it names no image");
    let list = json!([{ "Config": "../../etc/passwd", "Layers": [] }]).to_string().into_bytes();
    check_refused(&tar([("manifest.json", list)]), "names `../../etc/passwd`, which is not in it");
    check_refused(&gzip(&vec![0; 2 << 20]), "more than 1048576 bytes when it is unpacked");

    let other = layout(("linux", "s390x"), &json!({}));
    check_refused(
        &tar_of(&other),
        "it is there for linux/s390x, and this node runs wasi/wasm, linux/riscv64",
    );
    let mut spoilt = layout(("linux", "riscv64"), &json!({}));
    let at = spoilt[1].1.len() - 1;
    spoilt[1].1[at] = b' ';
    check_refused(&tar_of(&spoilt), "has digest");
    let missing = layout(("linux", "riscv64"), &json!({}));
    check_refused(&tar_of(&missing[..3]), "which is not in it");
    let archive = tar_of(&layout(("linux", "riscv64"), &json!({})));
    assert!(images(&archive[..archive.len() / 2]).is_err(), "it is cut off");
}

/// An archive of one platform whose index still has two.
fn of_index(of: (&str, &str), other: (&str, &str)) -> Vec<u8> {
    let mut files = layout(of, &json!({}));
    let platform = |(os, architecture): (&str, &str)| json!({ "os": os, "architecture": architecture });
    let mut here = descriptor(MANIFEST, &files[2].1);
    here["platform"] = platform(of);
    let mut missing = descriptor(MANIFEST, b"what was not copied");
    missing["platform"] = platform(other);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [missing, here] })
        .to_string()
        .into_bytes();
    let top =
        json!({ "schemaVersion": 2, "manifests": [descriptor(INDEX, &index)] }).to_string().into_bytes();
    files[0].1 = top;
    files.push(blob(&index));
    tar_of(&files)
}

#[test]
fn an_index_may_name_more_than_the_archive_has() {
    let found = images(&of_index(("linux", "riscv64"), ("wasi", "wasm"))).unwrap();
    assert!(matches!(found[0].content, Archived::Linux { .. }), "{found:?}");
    check_refused(
        &of_index(("linux", "s390x"), ("linux", "riscv64")),
        "has an image for linux/riscv64, whose manifest is not in the archive",
    );
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
