//! Compiling by scripts in place of compilers, over real folders.

mod foreign;
mod own;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use dunlin_link::labels::TARGET_LABEL;
use tempfile::TempDir;
use tokio::{io::AsyncReadExt as _, time::timeout};

use super::*;
use crate::{
    pki::Pki,
    service::stored,
    store::{Store, StoreOptions, Txn, Write},
};

/// Two modules whose bytes differ in a section that nobody reads.
const MODULES: [&[u8]; 2] = [b"\0asm\x01\0\0\0\0\x02\x01a", b"\0asm\x01\0\0\0\0\x02\x01b"];

/// A data folder with its coordinator's parts.
struct Fixture {
    folder: TempDir,
    store: Store,
    pki: Pki,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap();
        let pki = Pki::create(folder.path()).unwrap();
        Self { folder, store, pki }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compiling(&self, compiler: Option<Compiler>) -> Compiling {
        let signer = CodeSigner::open(self.folder.path(), &self.pki).unwrap();
        Compiling::open(self.folder.path(), self.artifacts(), signer, (compiler, None)).unwrap()
    }

    fn artifacts(&self) -> Artifacts {
        Artifacts::open(self.folder.path(), self.store.clone()).unwrap()
    }

    async fn push(&self, module: &[u8]) -> Digest {
        self.artifacts().upload(module, None).await.unwrap().digest
    }

    /// A node whose name is that of its kind.
    async fn store_node(&self, target: &str) {
        let labels = serde_json::json!({ TARGET_LABEL: target });
        let node = serde_json::json!({ "metadata": { "name": target, "labels": labels } });
        let write = Write::Put(format!("/registry/nodes/{target}"), stored::encode(&node));
        self.store.txn(Txn { compares: Vec::new(), writes: vec![write] }).await.unwrap();
    }

    async fn delete_node(&self, target: &str) {
        let write = Write::Delete(format!("/registry/nodes/{target}"));
        self.store.txn(Txn { compares: Vec::new(), writes: vec![write] }).await.unwrap();
    }

    /// A program that makes code for `targets`, does `body` for each module, and notes that it did.
    fn compiler(&self, name: &str, targets: &str, body: &str) -> Compiler {
        let (path, log) = (self.path(name), self.path("log"));
        let log = log.display();
        let script = format!(
            "#!/bin/sh\nshift\n[ \"$1\" = --targets ] && {{ printf '{targets}'; exit; }}\necho \"{name} $3\" >> {log}\n{body}\n"
        );
        write_program(&path, &script);
        Compiler::of_program(path)
    }

    /// What was compiled, by whom.
    fn log(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

const COPY: &str = "cat \"$1\" > \"$2\"; echo \" for $3\" >> \"$2\"";

async fn code(compiling: &Compiling, signed: &SignedCompiled, offset: u64) -> Vec<u8> {
    let mut content = Vec::new();
    compiling.open_code(signed, offset).await.unwrap().read_to_end(&mut content).await.unwrap();
    content
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("it ends")
}

#[tokio::test]
async fn a_module_is_compiled_once_for_each_target_and_kept() {
    let fixture = Fixture::new();
    let compiler = fixture.compiler("new", "a\\nb", COPY);
    let compiling = fixture.compiling(Some(compiler.clone()));
    let module = fixture.push(MODULES[0]).await;
    compiling.want(module, "a");
    let (first, second) = tokio::join!(compiling.get(module, "a"), compiling.get(module, "a"));
    let signed = first.unwrap();
    assert_eq!(second.unwrap(), signed);
    let expected = [MODULES[0], b" for a\n"].concat();
    assert_eq!(code(&compiling, &signed, 0).await, expected);
    assert_eq!(code(&compiling, &signed, 3).await, expected[3..]);
    assert_eq!((signed.record.code, signed.record.bytes), (Digest::of(&expected), expected.len() as u64));
    compiling.get(module, "b").await.unwrap();
    assert_eq!(fixture.log(), ["new a", "new b"]);
    compiling.shut_down().await;

    // The next coordinator finds it, and makes what was damaged anew.
    let damaged = fixture.path(&format!("compiled/b/{}.code", module.hex()));
    fs::remove_file(&damaged).unwrap();
    fs::write(&damaged, b"x").unwrap();
    let compiling = fixture.compiling(Some(compiler));
    assert_eq!(compiling.get(module, "a").await.unwrap(), signed);
    compiling.get(module, "b").await.unwrap();
    assert_eq!(fixture.log(), ["new a", "new b", "new b"]);
    compiling.shut_down().await;
}

#[tokio::test]
async fn a_bad_module_is_tried_once_and_its_reason_is_remembered() {
    let fixture = Fixture::new();
    let compiler = fixture.compiler("new", "a", "echo too hard >&2; exit 65");
    let compiling = fixture.compiling(Some(compiler));
    let module = fixture.push(MODULES[0]).await;
    for _ in 0..3 {
        let refused = compiling.get(module, "a").await.unwrap_err();
        assert_eq!((refused.reason, refused.message.as_str()), (CompileRefusal::Module, "too hard"));
    }
    assert_eq!(fixture.log(), ["new a"]);
    let refused = compiling.get(Digest::of(b"other"), "a").await.unwrap_err();
    assert_eq!(refused.reason, CompileRefusal::NotHere);
    for target in ["b", "../a", "", ".", &"x".repeat(64)] {
        assert_eq!(
            compiling.get(module, target).await.unwrap_err().reason,
            CompileRefusal::Target,
            "{target}"
        );
    }
    compiling.shut_down().await;
    let none = fixture.compiling(None);
    assert_eq!(none.get(module, "a").await.unwrap_err().reason, CompileRefusal::Target);
    none.shut_down().await;
}

#[tokio::test]
async fn an_end_in_the_middle_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let started = fixture.path("started");
    let body = format!("echo half > \"$2\"; touch {}; exec sleep 600", started.display());
    let compiling = fixture.compiling(Some(fixture.compiler("slow", "a", &body)));
    let module = fixture.push(MODULES[0]).await;
    compiling.want(module, "a");
    within(async {
        while !started.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(fs::read_dir(fixture.path("compiling")).unwrap().count(), 1);
    // As by a kill: what is being made stays, and goes at the next start.
    let waiting = compiling.clone();
    let waits = tokio::spawn(async move { waiting.get(module, "a").await });
    fs::write(fixture.path("compiling/left"), "half").unwrap();
    within(compiling.shut_down()).await;
    assert_eq!(within(waits).await.unwrap().unwrap_err().reason, CompileRefusal::Failed);
    let compiling = fixture.compiling(Some(fixture.compiler("new", "a", COPY)));
    assert_eq!(fs::read_dir(fixture.path("compiling")).unwrap().count(), 0);
    compiling.get(module, "a").await.unwrap();
    compiling.shut_down().await;
}

#[tokio::test]
async fn what_nobody_can_use_any_more_goes() {
    let fixture = Fixture::new();
    let compiling = fixture.compiling(Some(fixture.compiler("old", "a\\nb", COPY)));
    let (first, second) = (fixture.push(MODULES[0]).await, fixture.push(MODULES[1]).await);
    for (module, target) in [(first, "a"), (first, "b"), (second, "a")] {
        compiling.get(module, target).await.unwrap();
    }
    compiling.shut_down().await;
    let is_there = |module: Digest, target: &str| {
        fixture.path(&format!("compiled/{target}/{}.signed", module.hex())).exists()
    };
    fs::remove_file(fixture.artifacts().module_path(second)).unwrap();
    let compiling = fixture.compiling(Some(fixture.compiler("new", "a\\nc", COPY)));
    compiling.get(first, "c").await.unwrap();
    assert!(is_there(first, "a") && is_there(first, "c"));
    assert!(!is_there(second, "a") && !is_there(first, "b"));
    // Of too much, what was served longest ago goes, and is made again when it is wanted.
    let swept = compiling.inner.folder.sweep(|_| true, 1).unwrap();
    assert_eq!(swept, [Wanted { module: first, target: "a".to_owned() }]);
    assert!(is_there(first, "c"));
    compiling.shut_down().await;
}

#[tokio::test]
async fn code_stays_as_long_as_a_node_is_of_its_kind() {
    let fixture = Fixture::new();
    fixture.store_node("a").await;
    let compiling = fixture.compiling(Some(fixture.compiler("old", "a\\nb", COPY)));
    let module = fixture.push(MODULES[0]).await;
    compiling.get(module, "a").await.unwrap();
    compiling.get(module, "b").await.unwrap();
    compiling.shut_down().await;
    // Two upgrades later nobody makes code for either kind.
    let compiling = fixture.compiling(Some(fixture.compiler("new", "c", COPY)));
    let stop = CancellationToken::new();
    let running = tokio::spawn(compiling.clone().run(stop.clone()));
    let gone = fixture.path(&format!("compiled/b/{}.signed", module.hex()));
    within(async {
        while gone.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    compiling.get(module, "a").await.unwrap();
    assert_eq!(compiling.get(module, "b").await.unwrap_err().reason, CompileRefusal::Target);
    stop.cancel();
    within(running).await.unwrap();
}

#[tokio::test]
async fn nodes_of_the_release_before_get_code_of_its_compiler() {
    let fixture = Fixture::new();
    let module = fixture.push(MODULES[0]).await;
    let releases = [("one", "1"), ("two", "2"), ("three", "3")];
    for (name, target) in releases {
        let compiling = fixture.compiling(Some(fixture.compiler(name, target, COPY)));
        fixture.store_node(target).await;
        assert!(compiling.read_targets().await);
        compiling.keep_compilers().await;
        compiling.keep_compilers().await;
        compiling.shut_down().await;
        // An upgrade puts another program in its place.
        fs::remove_file(fixture.path(name)).unwrap();
    }
    let kept: Vec<PathBuf> = folders_in(&fixture.path("compilers"));
    assert_eq!(kept.len(), 2, "this release and the one before");
    let compiling = fixture.compiling(Some(fixture.compiler("three", "3", COPY)));
    compiling.get(module, "2").await.unwrap();
    compiling.get(module, "3").await.unwrap();
    assert_eq!(compiling.get(module, "1").await.unwrap_err().reason, CompileRefusal::Target);
    assert_eq!(fixture.log(), ["two 2", "three 3"]);
    compiling.shut_down().await;

    // A copy that is not what its name says is never run.
    for folder in kept {
        let program = folder.join("dunlin");
        let content = fs::read_to_string(&program).unwrap();
        fs::remove_file(&program).unwrap();
        write_program(&program, &(content + "# changed"));
    }
    fs::remove_dir_all(fixture.path("compiled")).unwrap();
    let compiling = fixture.compiling(Some(fixture.compiler("three", "3", COPY)));
    assert_eq!(compiling.get(module, "2").await.unwrap_err().reason, CompileRefusal::Target);
    compiling.shut_down().await;
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_compiler_before_goes_with_the_last_node_of_its_release() {
    let fixture = Fixture::new();
    let module = fixture.push(MODULES[0]).await;
    let old = fixture.compiling(Some(fixture.compiler("one", "1", COPY)));
    fixture.store_node("1").await;
    old.keep_compilers().await;
    old.shut_down().await;
    // A power cut in the middle of a copy.
    let half = fixture.path("compilers/half");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("dunlin"), "#!/bin/sh").unwrap();

    let new = fixture.compiling(Some(fixture.compiler("two", "2", COPY)));
    assert!(!half.exists());
    let code = fixture.path(&format!("compiled/1/{}.signed", module.hex()));
    let upkeep = async || {
        assert!(new.read_targets().await);
        new.keep_compilers().await;
        (folders_in(&fixture.path("compilers")).len(), code.exists())
    };
    new.get(module, "1").await.unwrap();
    assert_eq!((fixture.log(), upkeep().await), (vec!["one 1".to_owned()], (2, true)));
    fixture.delete_node("1").await;
    // Its session opened after the last look, and its object may say so only later.
    new.get(module, "1").await.unwrap();
    assert_eq!(upkeep().await, (2, true));
    assert_eq!(upkeep().await, (1, false));
    assert_eq!(new.get(module, "1").await.unwrap_err().reason, CompileRefusal::Target);
    new.shut_down().await;
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}
