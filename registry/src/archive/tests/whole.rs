//! Images as they are handed on to a registry.

use std::{fs, io::Read as _};

use serde_json::{Value, json};

use super::{
    super::{ArchiveError, ImageArchive, WholeImage},
    Anywhere, GZIP, MANIFEST, blob, config, descriptor, gzip, layout, open, tar, tar_of,
};
use dunlin_link::Digest;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn whole(archive: &ImageArchive) -> Result<WholeImage, ArchiveError> {
    let [image] = <[_; 1]>::try_from(archive.list()?).unwrap();
    let whole = archive.whole(image)?;
    whole.blobs.iter().try_for_each(|blob| archive.verify(blob))?;
    Ok(whole)
}

/// An index of these images and of what a tool has attached, as a layout.
fn index(images: Vec<Vec<(String, Vec<u8>)>>) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut entries = Vec::new();
    for image in images {
        let listed: Value = serde_json::from_slice(&image[0].1).unwrap();
        entries.push(listed["manifests"][0].clone());
        files.extend(image.into_iter().skip(1));
    }
    let proof = b"{}";
    let attached = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [descriptor("application/vnd.in-toto+json", proof)],
        "config": descriptor("application/vnd.oci.image.config.v1+json", proof),
    });
    let attached = attached.to_string().into_bytes();
    entries.push(descriptor(MANIFEST, &attached));
    files.extend([blob(proof), blob(&attached)]);
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries }).to_string().into_bytes();
    let top =
        json!({ "schemaVersion": 2, "manifests": [descriptor(INDEX, &index)] }).to_string().into_bytes();
    files.push(blob(&index));
    files.insert(0, ("index.json".to_owned(), top));
    files
}

#[test]
fn an_index_is_whole_with_all_that_belongs_to_it() {
    let images = vec![layout(("linux", "s390x"), &json!({})), layout(("linux", "amd64"), &json!({}))];
    let files = index(images);
    let found = whole(&open(&tar_of(&files)).unwrap()).unwrap();
    let types: Vec<_> = found.manifests.iter().map(|manifest| manifest.media_type.as_str()).collect();
    assert_eq!(types, [MANIFEST, MANIFEST, MANIFEST, INDEX]);
    assert!(found.manifests.iter().all(|manifest| Digest::of(&manifest.text) == manifest.digest));
    // Two configs, the layer of both, and what is attached.
    assert_eq!(found.blobs.len(), 4);
    assert_eq!(found.blobs.iter().filter(|blob| blob.unpacked.is_some()).count(), 1);

    // One of its images was left out.
    let manifest = found.manifests[0].digest;
    let lacking: Vec<_> = files.into_iter().filter(|(name, _)| !name.ends_with(&manifest.hex())).collect();
    let error = whole(&open(&tar_of(&lacking)).unwrap()).unwrap_err();
    assert!(matches!(error, ArchiveError::Missing(name) if name.ends_with(&manifest.hex())));
}

#[test]
fn a_folder_is_read_as_an_archive_is() {
    let folder = tempfile::tempdir().unwrap();
    let none = ImageArchive::of_folder(folder.path(), &Anywhere, 1 << 20).unwrap_err();
    assert!(matches!(none, ArchiveError::NoImages));
    for (name, content) in layout(("linux", "amd64"), &json!({})) {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
    let found = whole(&ImageArchive::of_folder(folder.path(), &Anywhere, 1 << 20).unwrap()).unwrap();
    assert_eq!((found.manifests.len(), found.blobs.len()), (1, 2));
}

#[test]
fn dockers_images_get_a_manifest_of_what_lies_there() {
    let layers = [tar([("a", b"one".to_vec())]), tar([("a", b"two".to_vec())])];
    let config = config("linux", "amd64", &[&layers[0], &layers[1]]).to_string().into_bytes();
    let list = json!([{ "Config": "c.json", "RepoTags": ["a:1"], "Layers": ["one.tar", "two.tar"] }]);
    let packed = gzip(&layers[1]);
    let files = [
        ("manifest.json", list.to_string().into_bytes()),
        ("c.json", config.clone()),
        ("one.tar", layers[0].clone()),
        ("two.tar", packed.clone()),
    ];
    let archive = open(&tar(files)).unwrap();
    let found = whole(&archive).unwrap();
    assert_eq!(found.names[0].to_string(), "docker.io/library/a:1");
    let digests: Vec<_> = found.blobs.iter().map(|blob| blob.digest).collect();
    assert_eq!(digests, [&config, &layers[0], &packed].map(|content| Digest::of(content)));
    let [manifest] = &found.manifests[..] else { panic!("{:?}", found.manifests) };
    let parsed: Value = serde_json::from_slice(&manifest.text).unwrap();
    let types = ["", ".gzip"].map(|end| format!("application/vnd.docker.image.rootfs.diff.tar{end}"));
    assert_eq!(
        [&parsed["layers"][0], &parsed["layers"][1]].map(|layer| layer["mediaType"].as_str().unwrap()),
        types
    );
    let (mut file, offset) = archive.place(found.blobs[1].span).unwrap();
    let mut content = vec![0; layers[0].len()];
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(offset)).unwrap();
    file.read_exact(&mut content).unwrap();
    assert_eq!(content, layers[0]);
}

#[test]
fn what_is_not_what_it_says_is_not_handed_on() {
    let check = |files: &[(String, Vec<u8>)], expected: &str| {
        let error = whole(&open(&tar_of(files)).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error} lacks {expected}");
    };
    // A layer under the digest of another, and one that is no archive of the kind that it says.
    let mut files = layout(("linux", "amd64"), &json!({}));
    check(&files[..3], "which is not in it");
    files[3].1 = gzip(b"other");
    check(&files, "has digest");
    let layer = gzip(b"what the config does not name");
    let foreign = config("linux", "amd64", &[b"named"]).to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "layers": [descriptor(GZIP, &layer)],
        "config": descriptor("application/vnd.oci.image.config.v1+json", &foreign),
    });
    let manifest = manifest.to_string().into_bytes();
    let top = json!({ "schemaVersion": 2, "manifests": [descriptor(MANIFEST, &manifest)] });
    let files = vec![
        ("index.json".to_owned(), top.to_string().into_bytes()),
        blob(&foreign),
        blob(&manifest),
        blob(&layer),
    ];
    let error = whole(&open(&tar_of(&files)).unwrap()).unwrap_err();
    assert!(matches!(error, ArchiveError::OtherDigest { expected, .. } if expected == Digest::of(b"named")));
}
