//! Images for WASM with files of their own, put together, found again and removed.

use std::io::Write as _;

use dunlin_registry::{
    archive::{Archived, ImageArchive, Scratch},
    layer::Layer,
    manifest::Platform,
    media,
};
use serde_json::{Value, json};

use super::*;

const X: &[u8] = b"\0asm\x01\0\0\0x";
const Y: &[u8] = b"\0asm\x01\0\0\0y";

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        bench.open();
        bench
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("guest-files")
    }

    /// As at a start: what has no name yet is gone.
    fn open(&self) -> Guests {
        Guests::open(self.path()).unwrap()
    }

    fn layer(&self, files: &[(&str, &[u8])]) -> Layer {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, path, *content).unwrap();
        }
        let (mut file, path) = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap().keep().unwrap();
        file.write_all(&tar.into_inner().unwrap()).unwrap();
        Layer { file: path, compression: media::Compression::None }
    }

    fn stage(&self, program: Option<&str>, layers: &[&[(&str, &[u8])]]) -> Result<Staged, StageError> {
        let layers = layers.iter().map(|files| self.layer(files)).collect();
        self.stage_as(&json!({ "Entrypoint": program.map(|program| [program]) }), layers)
    }

    /// An image with this `config` in its config.
    fn stage_as(&self, execution: &Value, layers: Vec<Layer>) -> Result<Staged, StageError> {
        let config = json!({ "os": "wasi", "architecture": "wasm", "config": execution });
        let parts = Parts { module: None, layers, config: Some(config.to_string().into()) };
        stage(&self.path(), &parts)
    }
}

fn image() -> Digest {
    Digest::of(b"image")
}

fn command(program: &str) -> Vec<String> {
    vec![program.to_owned()]
}

#[test]
fn an_image_that_is_a_module_alone_is_one() {
    let bench = Bench::new();
    for (program, path) in [(None, "x.wasm"), (Some("/app"), "app"), (Some("x.wasm"), "x.wasm")] {
        let Staged::Module { file, digest, _folder } = bench.stage(program, &[&[(path, X)]]).unwrap() else {
            panic!("{program:?}")
        };
        assert_eq!((digest, fs::read(file).unwrap()), (Digest::of(X), X.to_vec()));
    }
    assert_eq!(fs::read_dir(bench.path()).unwrap().count(), 0, "nothing is left of them");
}

#[test]
fn files_come_with_their_modules_and_a_command_chooses_among_these() {
    let bench = Bench::new();
    let mut guests = bench.open();
    let below: &[(&str, &[u8])] = &[("bin/x.wasm", X), ("lib/data", b"old"), ("no.wasm", b"text")];
    let staged = bench.stage(Some("/bin/x.wasm"), &[below, &[("y.wasm", Y), ("lib/data", b"new")]]).unwrap();
    let Staged::Guest(staged) = staged else { panic!("{staged:?}") };
    guests.insert(image(), &staged).unwrap();
    drop(staged);
    for guests in [guests, bench.open()] {
        let guest = guests.get(&image()).unwrap();
        assert_eq!(fs::read_to_string(guest.root().join("lib/data")).unwrap(), "new");
        for (command, expected) in [(vec![], X), (command("name"), X), (command("/y.wasm"), Y)] {
            let (digest, file) = guest.program(&command).unwrap();
            assert_eq!((digest, fs::read(file).unwrap()), (Digest::of(expected), expected.to_vec()));
        }
        let missing = guest.program(&command("/no.wasm")).unwrap_err();
        assert_eq!(missing, "`/no.wasm` is not in the image; its WASM modules are `/bin/x.wasm`, `/y.wasm`");
        assert_eq!(guest.modules().count(), 3);
    }
    let mut guests = bench.open();
    guests.retain(|_| false);
    assert!(guests.get(&image()).is_none() && bench.open().get(&image()).is_none());
    remove_gone(guests.folder()).unwrap();
    assert_eq!(fs::read_dir(guests.folder()).unwrap().count(), 0);
}

#[test]
fn an_artifact_brings_files_that_its_module_is_none_of() {
    let bench = Bench::new();
    let module = bench.folder.path().join("module");
    fs::write(&module, X).unwrap();
    let layers = vec![bench.layer(&[("data", b"d")])];
    let parts = Parts { module: Some((module, Digest::of(X))), layers, config: None };
    let mut guests = bench.open();
    let Staged::Guest(staged) = stage(&bench.path(), &parts).unwrap() else { panic!() };
    guests.insert(image(), &staged).unwrap();
    let guest = bench.open().get(&image()).unwrap();
    let (digest, file) = guest.program(&[]).unwrap();
    assert_eq!((digest, fs::read(file).unwrap()), (Digest::of(X), X.to_vec()));
    assert_eq!(fs::read_dir(guest.root()).unwrap().count(), 1);
}

#[test]
fn what_starts_nothing_says_what_it_has() {
    let bench = Bench::new();
    let none = bench.stage(None, &[&[("data", b"d")]]).unwrap_err();
    assert!(none.to_string().contains("no WASM module"), "{none}");
    let mut guests = bench.open();
    let Staged::Guest(two) = bench.stage(None, &[&[("x.wasm", X), ("y.wasm", Y)]]).unwrap() else { panic!() };
    guests.insert(image(), &two).unwrap();
    let why = guests.get(&image()).unwrap().program(&[]).unwrap_err();
    assert!(why.ends_with("name one as the command: `/x.wasm`, `/y.wasm`"), "{why}");
    let hostile = bench.layer(&[("x.wasm", X)]);
    let mut bytes = fs::read(&hostile.file).unwrap();
    bytes[..10].copy_from_slice(b"../x.wasm\0");
    let sum: u32 = bytes[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(&hostile.file, bytes).unwrap();
    let parts = Parts { module: None, layers: vec![hostile], config: None };
    let refused = stage(&bench.path(), &parts).unwrap_err();
    assert!(refused.to_string().contains("leads out of a folder"), "{refused}");
}

#[test]
fn what_was_cut_off_goes_at_the_next_start() {
    let bench = Bench::new();
    let folder = bench.open().folder().to_owned();
    fs::create_dir_all(folder.join("part-1/root")).unwrap();
    fs::create_dir_all(folder.join("gone-1/root")).unwrap();
    fs::create_dir_all(folder.join(image().hex()).join("root")).unwrap();
    assert!(bench.open().get(&image()).is_none());
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
}

#[test]
fn a_module_alone_is_more_where_its_image_says_how_it_runs() {
    let bench = Bench::new();
    let mut guests = bench.open();
    let check = |execution: Value, is_module: bool| {
        let staged = bench.stage_as(&execution, vec![bench.layer(&[("x.wasm", X)])]).unwrap();
        assert_eq!(matches!(staged, Staged::Module { .. }), is_module, "{execution}");
        staged
    };
    drop(check(json!({ "Entrypoint": ["/x.wasm"], "Env": ["PATH=/bin"], "WorkingDir": "/" }), true));
    drop(check(json!({ "Cmd": ["/x.wasm"] }), true));
    drop(check(json!({ "Entrypoint": ["/x.wasm"], "Cmd": ["a"] }), false));
    drop(check(json!({ "Entrypoint": ["/x.wasm"], "WorkingDir": "/data" }), false));
    let staged = check(json!({ "Entrypoint": ["/x.wasm"], "Env": ["COLOUR=red"] }), false);
    let Staged::Guest(staged) = staged else { panic!() };
    guests.insert(image(), &staged).unwrap();
    for guests in [guests, bench.open()] {
        let execution = guests.get(&image()).unwrap().execution().clone();
        assert_eq!(execution.env, Some(vec!["COLOUR=red".to_owned()]));
    }
}

struct NoScratch;

impl Scratch for NoScratch {
    fn file(&self, _expected_bytes: u64) -> io::Result<fs::File> {
        unreachable!("it is not compressed")
    }

    fn check(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_is_exported_has_the_same_files_and_runs_alike() {
    let bench = Bench::new();
    let mut guests = bench.open();
    let ordinary = bench.layer(&[("bin/x.wasm", X), ("data/kept", b"kept")]);
    let execution = json!({ "Entrypoint": ["/bin/x.wasm"], "Env": ["COLOUR=red"] });
    let Staged::Guest(ordinary) = bench.stage_as(&execution, vec![ordinary]).unwrap() else { panic!() };
    let module = bench.folder.path().join("module");
    fs::write(&module, Y).unwrap();
    let layers = vec![bench.layer(&[("data/kept", b"kept")])];
    let artifact = Parts { module: Some((module, Digest::of(Y))), layers, config: None };
    let Staged::Guest(artifact) = stage(&bench.path(), &artifact).unwrap() else { panic!() };
    for (number, staged) in [ordinary, artifact].iter().enumerate() {
        let own = Digest::of(&[u8::try_from(number).unwrap()]);
        guests.insert(own, staged).unwrap();
        let guest = guests.get(&own).unwrap();
        let export = || {
            let mut out = tempfile::tempfile().unwrap();
            guest.export(&"r.io/a:1".parse().unwrap(), &tempfile::tempfile().unwrap(), &mut out).unwrap();
            out
        };
        let read = |file: fs::File| ImageArchive::open(file, &NoScratch, 1 << 20).unwrap();
        let archive = read(export());
        let mut found = Vec::new();
        let mut take = |image: dunlin_registry::archive::ArchivedImage| {
            found.push(image);
            Ok::<_, dunlin_registry::archive::ArchiveError>(())
        };
        archive.each(archive.list().unwrap(), &[Platform::wasm("wasi")], &mut take).unwrap();
        let Archived::Wasm { module, config, layers } = &found[0].content else { panic!("{found:?}") };
        assert_eq!(module.map(|(digest, _)| digest), (number == 1).then(|| Digest::of(Y)));
        let execution = stage::execution(config.as_deref());
        assert_eq!(execution, *guest.execution());
        let mut names = Vec::new();
        let mut tar = tar::Archive::new(archive.reader(layers[0].0));
        for entry in tar.entries().unwrap() {
            names.push(entry.unwrap().path().unwrap().display().to_string());
        }
        let expected: &[&str] =
            if number == 0 { &["bin/", "bin/x.wasm", "data/", "data/kept"] } else { &["data/", "data/kept"] };
        assert_eq!(
            names.iter().map(|name| name.trim_end_matches('/')).collect::<Vec<_>>(),
            expected.iter().map(|name| name.trim_end_matches('/')).collect::<Vec<_>>()
        );
    }
}
