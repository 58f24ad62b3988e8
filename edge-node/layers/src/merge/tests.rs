//! Layers over each other, as guests see them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use tar::{Builder, EntryType, Header};

use super::*;

struct Made(Builder<Vec<u8>>);

impl Made {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, path: &str, (link, content): (&str, &[u8])) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o4700);
        header.set_uid(4242);
        header.set_gid(4242);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        if kind == EntryType::Char {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, ("", content.as_bytes()))
    }

    fn done(self) -> (fs::File, Compression) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.0.into_inner().unwrap()).unwrap();
        (file, Compression::None)
    }
}

const BOUNDS: Bounds = Bounds { bytes_max: 1 << 20, entries_max: 100 };

fn merged(layers: Vec<Made>, bounds: Bounds) -> Result<tempfile::TempDir, UnpackError> {
    let folder = tempfile::tempdir().unwrap();
    let mut layers: Vec<_> = layers.into_iter().map(Made::done).collect();
    merge(&mut layers, &folder.path().join("root"), bounds).map(|()| folder)
}

/// Every file with its content, in order.
fn files(root: &Path) -> String {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            match fs::symlink_metadata(&path).unwrap() {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_symlink() => {
                    found.push(format!("{name}>{}", fs::read_link(&path).unwrap().display()))
                }
                _ => found.push(format!("{name}={}", fs::read_to_string(&path).unwrap())),
            }
        }
    }
    found.sort();
    found.join(" ")
}

#[test]
fn upper_layers_hide_and_take_away_what_is_below() {
    let below = Made::new()
        .file("bin/x.wasm", "one")
        .file("lib/a", "a")
        .file("lib/b", "b")
        .file("data/old/1", "1")
        .file("kept", "k")
        .entry(EntryType::Symlink, "link", ("lib/a", b""));
    let above = Made::new()
        .file("bin/x.wasm", "two")
        // Its own stay, wherever the marker is.
        .file("lib/c", "c")
        .file("lib/.wh.a", "")
        .file("data/new", "n")
        .file("data/.wh..wh..opq", "")
        .file(".wh.absent", "")
        .file("nowhere/at/all/.wh.x", "")
        .entry(EntryType::Link, "hard", ("lib/c", b""))
        .entry(EntryType::Char, "dev/null", ("", b""))
        .entry(EntryType::Fifo, "pipe", ("", b""));
    let folder = merged(vec![below, above], BOUNDS).unwrap();
    let root = folder.path().join("root");
    assert_eq!(files(&root), "bin/x.wasm=two data/new=n hard=c kept=k lib/b=b lib/c=c link>lib/a");
    let file = fs::metadata(root.join("kept")).unwrap();
    assert_eq!((file.permissions().mode() & 0o7777, file.mtime()), (0o755, 1_000_000_000));
    assert_eq!(file.uid(), fs::metadata(folder.path()).unwrap().uid(), "whoever runs the node");
}

#[test]
fn nothing_of_a_hostile_layer_reaches_the_machine() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("victim"), "v").unwrap();
    let target = outside.path().to_str().unwrap();
    let leads_out = || Made::new().entry(EntryType::Symlink, "out", (target, b""));
    for (layers, why) in [
        (vec![Made::new().file("../escape", "x")], "leads out of a folder"),
        (vec![leads_out(), Made::new().file("out/victim", "x")], "leads nowhere"),
        (vec![Made::new().entry(EntryType::Link, "l", ("victim", b""))], "not in the layer"),
        (vec![Made::new().file("a", ""), Made::new().file("a/b", "")], "no folder"),
    ] {
        let error = merged(layers, BOUNDS).unwrap_err();
        assert!(matches!(&error, UnpackError::Refused { why: found, .. } if found.contains(why)), "{error}");
    }
    // Markers behind links take away nothing of the machine either.
    for marker in ["out/.wh.victim", "out/.wh..wh..opq"] {
        merged(vec![leads_out(), Made::new().file(marker, "")], BOUNDS).unwrap();
    }
    assert_eq!(files(outside.path()), "victim=v");
    let folder = tempfile::tempdir().unwrap();
    symlink(outside.path(), folder.path().join("root")).unwrap();
    let into = folder.path().join("root");
    assert!(merge(&mut [Made::new().file("x", "").done()], &into, BOUNDS).is_err());
}

#[test]
fn bounds_are_of_all_layers_together() {
    let large = |name: &str| Made::new().file(name, &"x".repeat(4000));
    assert!(merged(vec![large("a"), large("b")], BOUNDS).is_ok());
    let bytes = Bounds { bytes_max: 10_000, ..BOUNDS };
    assert!(matches!(merged(vec![large("a"), large("b")], bytes), Err(UnpackError::TooLarge(_))));
    let entries = Bounds { entries_max: 1, ..BOUNDS };
    assert!(merged(vec![large("a")], entries).is_ok());
    assert!(matches!(merged(vec![large("a"), large("b")], entries), Err(UnpackError::TooLarge(_))));
    let cut = large("a").done();
    cut.0.set_len(2000).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let error = merge(&mut [cut], &folder.path().join("root"), BOUNDS).unwrap_err();
    assert!(matches!(error, UnpackError::Archive(_)), "{error}");
}
