//! Layers as tools make them, and as nobody should.

use std::{
    collections::BTreeMap,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
};

use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::*;
use crate::{LayerArchive, Layers, StoreError};

/// An archive that is being made.
struct Made(Builder<Vec<u8>>);

impl Made {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn entry(mut self, kind: EntryType, path: &str, (link, content): (&str, &[u8])) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o750 } else { 0o4711 });
        header.set_uid(11);
        header.set_gid(12);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        if matches!(kind, EntryType::Char | EntryType::Block) {
            header.set_device_major(7).unwrap();
            header.set_device_minor(8).unwrap();
        }
        // By hand: the crate refuses to write what these tests are about.
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..path.len()].copy_from_slice(path.as_bytes());
        gnu.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    fn file(self, path: &str, content: &[u8]) -> Self {
        self.entry(EntryType::Regular, path, ("", content))
    }

    fn folder(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, ("", b""))
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, (target, b""))
    }

    /// A device that stands for something hidden, written by hand.
    fn zero_device(mut self, path: &str) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Char);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_size(0);
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, &b""[..]).unwrap();
        self
    }

    fn link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, (target, b""))
    }

    fn pax(mut self, records: &[(&str, &[u8])]) -> Self {
        self.0.append_pax_extensions(records.iter().copied()).unwrap();
        self
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    /// Unpacks it into `layer` of a folder that has something outside of that.
    fn unpack(self) -> (tempfile::TempDir, Result<Unpacked, UnpackError>) {
        unpack_bytes(&self.bytes(), SMALL)
    }
}

fn unpack_bytes(bytes: &[u8], bounds: Bounds) -> (tempfile::TempDir, Result<Unpacked, UnpackError>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("outside"), "untouched").unwrap();
    let diff_id = Digest::of(bytes);
    let unpacked = unpack(
        bytes,
        Compression::None,
        (&folder.path().join("layer"), &folder.path().join("recipe")),
        &diff_id,
        bounds,
    );
    (folder, unpacked)
}

/// What is there, by name, in a word or two; nothing when only root could have made it and we are not.
fn seen(folder: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            let what = if kind.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_dir() {
                waiting.push(path.clone());
                format!("{:o}", kind.mode() & 0o7777)
            } else if kind.file_type().is_char_device() {
                format!("device {:x}", kind.rdev())
            } else if kind.is_file() {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            } else {
                "other".to_owned()
            };
            seen.insert(name, what);
        }
    }
    seen
}

fn check(made: Made, expected: &[(&str, &str)]) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, unpacked) = made.unpack();
    unpacked.unwrap();
    let expected = expected.iter().map(|(name, what)| ((*name).to_owned(), (*what).to_owned())).collect();
    assert_eq!(seen(&folder.path().join("layer")), expected);
    assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "untouched");
}

/// Unpacks what is refused, and says why; nothing outside is touched, root or not.
fn check_refused(made: Made, expected: &str) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let (folder, unpacked) = made.unpack();
    let why = unpacked.unwrap_err().to_string();
    assert!(why.contains(expected), "{why} does not say {expected}");
    assert_eq!(fs::read_to_string(folder.path().join("outside")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing is beside the layer");
}

#[test]
fn everything_that_a_layer_may_hold_is_unpacked() {
    let made = Made::new()
        .folder("./")
        .folder("d/")
        .file("d/file", b"text")
        .link("d/same", "d/file")
        .symlink("d/link", "/anywhere")
        .entry(EntryType::Fifo, "d/fifo", ("", b""))
        .entry(EntryType::Char, "d/char", ("", b""))
        .file("not/made/before", b"x");
    let expected = [
        ("d", "750"),
        ("d/file", "text"),
        ("d/same", "text"),
        ("d/link", "-> /anywhere"),
        ("d/fifo", "other"),
        ("d/char", "device 708"),
        ("not", "755"),
        ("not/made", "755"),
        ("not/made/before", "x"),
    ];
    check(made, &expected);
}

#[test]
fn owners_modes_times_and_attributes_are_kept() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let long = format!("d/{}", "n".repeat(200));
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 5] = [
        ("path", long.as_bytes()),
        ("mtime", b"1234.5"),
        ("SCHILY.xattr.user.color", b"grey"),
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
    ];
    let made = Made::new().folder("d").file("d/f", b"").pax(&records).file("short", b"long");
    let (folder, unpacked) = made.unpack();
    unpacked.unwrap();
    let layer = folder.path().join("layer");
    let of = |path: &str| fs::symlink_metadata(layer.join(path)).unwrap();
    let plain = of("d/f");
    assert_eq!(
        (plain.uid(), plain.gid(), plain.mode() & 0o7777, plain.mtime()),
        (11, 12, 0o4711, 1_000_000_000)
    );
    assert_eq!(of("d").mtime(), 1_000_000_000, "later entries do not change it");
    assert_eq!((of(&long).mtime(), of(&long).mtime_nsec()), (1234, 500_000_000));
    let attribute = |name: &str| {
        let mut value = [0_u8; 64];
        let length = rustix::fs::getxattr(layer.join(&long), name, &mut value[..]);
        length.map(|length| value[..length].to_vec())
    };
    assert_eq!(attribute("security.capability").unwrap(), capability);
    assert!(attribute("user.color").is_ok_and(|value| value == b"grey"));
    assert!(attribute("trusted.overlay.redirect").is_err(), "it would lead overlayfs astray");
}

#[test]
fn what_layers_take_away_is_as_overlayfs_has_it() {
    let made = Made::new()
        .folder("d")
        .file("d/.wh.gone", b"")
        .file(".wh.all", b"")
        .file("e/.wh..wh..opq", b"")
        .file("e/new", b"y")
        .file(".wh..wh.plnk", b"");
    let expected = [("d", "750"), ("d/gone", "device 0"), ("all", "device 0"), ("e", "755"), ("e/new", "y")];
    check(made, &expected);
    // What the layer has itself stays, and what is below it is hidden, in either order.
    let again = [("all", "750"), ("all/again", "x")];
    for made in [
        Made::new().file(".wh.all", b"").folder("all").file("all/again", b"x"),
        Made::new().folder("all").file("all/again", b"x").file(".wh.all", b""),
    ] {
        check(made, &again);
    }
    check(Made::new().file("f", b"mine").file(".wh.f", b""), &[("f", "mine")]);
    check_refused(Made::new().entry(EntryType::Char, "c", ("", b"")).zero_device("h"), "does not exist");
}

#[test]
fn folders_that_hide_what_is_below_say_so() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let made = Made::new()
        .file("e/.wh..wh..opq", b"")
        .file(".wh.a", b"")
        .folder("a")
        .folder("b")
        .file(".wh.b", b"")
        .folder("c");
    let (folder, unpacked) = made.unpack();
    unpacked.unwrap();
    for (name, expected) in [("e", true), ("a", true), ("b", true), ("c", false)] {
        let mut value = [0_u8; 4];
        let path = folder.path().join("layer").join(name);
        let found = rustix::fs::getxattr(path, "trusted.overlay.opaque", &mut value[..]);
        assert_eq!(found.is_ok_and(|length| value[..length] == *b"y"), expected, "{name}");
    }
}

#[test]
fn a_later_entry_takes_the_place_of_an_earlier_one() {
    check(Made::new().file("a", b"1").file("a", b"2"), &[("a", "2")]);
    check(Made::new().folder("a").file("a/b", b"1").file("a", b"2"), &[("a", "2")]);
    check(Made::new().file("a", b"1").folder("a"), &[("a", "750")]);
    let replaced = Made::new().folder("a").folder("a/b").folder("a/b/c").file("a", b"1");
    check(replaced, &[("a", "1")]);
    let again = Made::new().folder("a").folder("a/b").folder("a/b/c").file("a", b"1").folder("a");
    check(again, &[("a", "750")]);
    check(Made::new().symlink("a", "/outside").file("a", b"2"), &[("a", "2")]);
    check(Made::new().symlink("a", "/outside").folder("a").file("a/b", b"3"), &[("a", "750"), ("a/b", "3")]);
}

#[test]
fn links_lead_nowhere_but_into_the_layer() {
    // As far as its own root, like in the container.
    check(
        Made::new().folder("usr").symlink("lib", "usr").file("lib/x", b"1"),
        &[("usr", "750"), ("lib", "-> usr"), ("usr/x", "1")],
    );
    check(
        Made::new().folder("etc").symlink("up", "../../../etc").file("up/x", b"1"),
        &[("etc", "750"), ("up", "-> ../../../etc"), ("etc/x", "1")],
    );
    check(
        Made::new().folder("etc").symlink("abs", "/etc").file("abs/x", b"1"),
        &[("etc", "750"), ("abs", "-> /etc"), ("etc/x", "1")],
    );
    check_refused(Made::new().file("../outside", b"x"), "leads out of a folder");
    check_refused(Made::new().file("a/../../outside", b"x"), "leads out of a folder");
    check_refused(
        Made::new().symlink("a", "..").file("a/b/x", b"").link("l", "a/../outside"),
        "leads out of a folder",
    );
    check_refused(Made::new().link("l", "/outside"), "not in the layer");
    check_refused(Made::new().symlink("s", "..").link("l", "s/outside"), "not in the layer");
    check_refused(Made::new().symlink("s", "/nowhere").file("s/x", b""), "a link that leads nowhere");
    check_refused(
        Made::new().symlink("s", "/proc/self/root").file("s/tmp/x", b""),
        "a link that leads nowhere",
    );
    check_refused(Made::new().file("f", b"").file("f/x", b""), "no folder");
    check_refused(Made::new().folder("d").link("l", "d"), "failed to write");
    check_refused(Made::new().link("l", "/"), "link to the root");
    check_refused(Made::new().file("/", b"x"), "the root is a folder");
}

#[test]
fn what_is_too_much_or_makes_no_sense_is_refused() {
    let deep = "d/".repeat(40);
    check_refused(Made::new().pax(&[("path", deep.repeat(10).as_bytes())]).file("x", b""), "too long");
    check_refused(Made::new().pax(&[("path", "n".repeat(300).as_bytes())]).file("x", b""), "failed to write");
    check_refused(Made::new().pax(&[("size", b"99999999999")]).file("x", b"y"), "two sizes");
    check_refused(Made::new().pax(&[("GNU.sparse.major", b"1")]).file("x", b"y"), "sparse");
    check_refused(Made::new().pax(&[("uid", b"-1")]).file("x", b"y"), "a number that is none");
    for id in ["2147483648", "4294967295"] {
        check_refused(
            Made::new().pax(&[("uid", id.as_bytes())]).file("x", b"y"),
            "an owner that no system has",
        );
        check_refused(
            Made::new().pax(&[("gid", id.as_bytes())]).file("x", b"y"),
            "an owner that no system has",
        );
    }
    check_refused(
        Made::new().entry(EntryType::GNULongName, "x", ("", &vec![b'a'; 2 << 20])),
        "beyond the limit",
    );
    check_refused(Made::new().entry(EntryType::new(b'?'), "x", ("", b"")), "unknown kind");
    check_refused(Made::new().symlink("x", ""), "a link to nowhere");
    check_refused(Made::new().file("x", &vec![0; 9 << 20]), "more than 8388608 bytes");
    let many = (0..=SMALL.entries_max).fold(Made::new(), |made, _| made.file("x", b""));
    check_refused(many, "more than 100 entries");
    let (_folder, cut) = unpack_bytes(&Made::new().file("x", &[7; 5000]).bytes()[..3000], SMALL);
    assert!(matches!(cut, Err(UnpackError::Archive(_))), "{cut:?}");
}

#[test]
fn names_of_folders_are_not_kept_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Tree::open(folder.path()).unwrap();
    let path = PathBuf::from(format!("{}x", "./".repeat(2000)));
    let entry = Entry {
        path,
        kind: Kind::Folder,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        modified: (0, 0),
        attributes: Vec::new(),
    };
    let refused = (0..1_000_000).find_map(|_| tree.write(&entry, &mut io::empty()).err());
    assert!(refused.is_some_and(|error| error.to_string().contains("too long")));
}

#[test]
fn what_links_make_very_deep_goes_all_the_same() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    // Each link is to the end of the folders so far.
    let part = "d/".repeat(200);
    let bounds = Bounds { bytes_max: 64 << 20, entries_max: 10_000 };
    // The kernel follows 40 links of one name, and counts each twice when it has to begin anew.
    let deep = (0..18).fold(Made::new().folder("a"), |made, number| {
        let (from, to) =
            (if number == 0 { "a".into() } else { format!("l{number}") }, format!("{}", number + 1));
        let end = format!("{from}/{part}end");
        made.pax(&[("path", end.as_bytes())])
            .folder("x")
            .pax(&[("linkpath", end.as_bytes())])
            .symlink(&format!("l{to}"), "x")
    });
    let bytes = deep.file("a", b"a file now").bytes();
    let (folder, unpacked) = unpack_bytes(&bytes, bounds);
    unpacked.unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("layer/a")).unwrap(), "a file now");
}

#[test]
fn a_store_keeps_what_it_was_promised_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let layers = Layers::open(folder.path(), SMALL).unwrap();
    let plain = Made::new().file("x", b"content").bytes();
    let diff_id = Digest::of(&plain);
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
    io::Write::write_all(&mut gzip, &plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let wrong = Digest::of(b"else");
    let refused = layers.add(&gzip[..], Compression::Gzip, &wrong);
    assert!(matches!(refused, Err(StoreError::Unpack(UnpackError::Digest { .. }))), "{refused:?}");
    assert_eq!(layers.find(&wrong), None);
    let added = layers.add(&gzip[..], Compression::Gzip, &diff_id).unwrap();
    assert_eq!(added, Unpacked { bytes: plain.len() as u64, entries: 1 });
    let dir = layers.find(&diff_id).unwrap();
    assert_eq!(fs::read_to_string(dir.join("x")).unwrap(), "content");
    let mut archive = layers.archive(&diff_id).unwrap();
    let mut again = Vec::new();
    archive.read_to_end(&mut again).unwrap();
    assert_eq!((archive.length(), again == plain), (plain.len() as u64, true));
    assert_eq!(layers.add(&b"not read"[..], Compression::Zstd, &diff_id).unwrap(), Unpacked::default());
    assert_eq!(fs::read_dir(folder.path().join("part")).unwrap().count(), 0);
    assert_eq!(layers.list().unwrap(), [diff_id]);
    assert!(layers.retire(&wrong).is_err());
    let retired = layers.retire(&diff_id).unwrap();
    assert_eq!((layers.find(&diff_id), layers.list().unwrap()), (None, vec![]));
    layers.remove_retired(&retired);
    assert_eq!(fs::read_dir(folder.path().join("part")).unwrap().count(), 0);
}

/// The archive of what was unpacked is what it was, to the last byte.
fn check_again(made: Made) {
    check_bytes_again(&made.bytes()).unwrap();
}

fn check_bytes_again(bytes: &[u8]) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (folder, unpacked) = unpack_bytes(bytes, SMALL);
    unpacked.unwrap();
    let mut archive = LayerArchive::open(&folder.path().join("recipe"), &folder.path().join("layer"))?;
    let mut again = Vec::new();
    archive.read_to_end(&mut again)?;
    if again == bytes { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[test]
fn an_archive_is_put_together_again_to_the_last_byte() {
    let long = format!("d/{}", "n".repeat(200));
    check_again(Made::new());
    check_again(
        Made::new()
            .folder("./")
            .folder("d/")
            .file("d/file", b"text")
            .link("d/same", "d/file")
            .symlink("d/link", "/anywhere")
            .entry(EntryType::Char, "d/char", ("", b""))
            .file("d/.wh.gone", b"")
            .file("d/.wh.odd", b"a whiteout with content")
            .pax(&[("path", long.as_bytes()), ("SCHILY.xattr.trusted.overlay.redirect", b"/etc")])
            .file("short", &[7; 100_000])
            .file("empty", b""),
    );
    check_again(Made::new().folder("usr").symlink("lib", "usr").file("lib/x", b"through a link"));
    // What follows the end belongs to it.
    let mut bytes = Made::new().file("a", b"b").bytes();
    bytes.extend([0; 7000]);
    bytes.extend(b"and more");
    check_bytes_again(&bytes).unwrap();
    // Content that is there no more is missed.
    assert!(check_bytes_again(&Made::new().file("a", b"1").folder("a").bytes()).is_err());
    assert!(check_bytes_again(&Made::new().file("a", b"1").file("a", b"2").bytes()).is_err());
    let device = Made::new().file("a", b"1").entry(EntryType::Char, "a", ("", b"")).bytes();
    if rustix::process::geteuid().is_root() {
        assert!(check_bytes_again(&device).unwrap_err().to_string().contains("no file any more"));
    }
}

const SMALL: Bounds = Bounds { bytes_max: 8 << 20, entries_max: 100 };
