//! Folders that a guest sees, and what it can do there.

use super::*;
use crate::{Access, Preopen};

/// A preview 1 module that opens `path` in its first folder; its exit code is the error's number.
fn opener(path: &str, (create, rights): (i32, i64)) -> String {
    let length = path.len();
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "{path}")
            (func (export "_start")
                (call $exit (call $open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const {length})
                    (i32.const {create}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 0)))))"#
    )
}

const READ: (i32, i64) = (0, 1 << 1);
const WRITE: (i32, i64) = (0, 1 << 6);
const CREATE: (i32, i64) = (1, 1 << 6);

#[tokio::test]
async fn a_guest_reads_and_writes_where_it_may_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("..1")).unwrap();
    fs::write(root.join("..1/key"), "x").unwrap();
    fs::write(dir.path().join("secret"), "x").unwrap();
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, root.join(name)).unwrap();
    link("..1", "..data");
    link("..data/key", "key");
    link("../secret", "out");
    link("/etc/hostname", "far");
    let check = async |access, path: &str, how, succeeds: bool| {
        let preopens = vec![Preopen { dir: root.clone(), path: "/v".to_owned(), access }];
        let ended = start(&program(&opener(path, how)), Guest { preopens, ..guest() }).end().await;
        let Cause::Code(code) = ended.cause else { panic!("{path}: {ended:?}") };
        assert_eq!(code == 0, succeeds, "{path}: {code}");
    };
    for access in [Access::ReadOnly, Access::ReadWrite] {
        check(access, "key", READ, true).await;
        for outside in ["out", "far", "../secret", "/etc/hostname", "none"] {
            check(access, outside, READ, false).await;
        }
    }
    check(Access::ReadOnly, "new", CREATE, false).await;
    check(Access::ReadOnly, "key", WRITE, false).await;
    check(Access::ReadWrite, "new", CREATE, true).await;
    assert!(root.join("new").exists() && !dir.path().join("new").exists());
}

#[tokio::test]
async fn a_folder_that_is_not_there_keeps_the_guest_from_running() {
    let preopens = vec![Preopen { dir: "/no/such".into(), path: "/v".to_owned(), access: Access::ReadOnly }];
    let ended = start(&program(&opener("x", READ)), Guest { preopens, ..guest() }).end().await;
    assert_ne!(ended.cause, Cause::Code(0));
    assert!(ended.message.contains("No such file"), "{ended:?}");
}
