//! Guests on the kinds of machines that this one can stand for.

use super::*;
use crate::target::{Profile, Target};

/// Grows by 125 MiB, and writes and reads at the end.
const GROWER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "_start")
        (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1)) (then unreachable))
        (i32.store (i32.const 131000000) (i32.const 7))
        (if (i32.ne (i32.load (i32.const 131000000)) (i32.const 7)) (then unreachable))))"#;

/// Reads where no memory is.
const STRAY: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "_start") (drop (i32.load (i32.const 2000000000)))))"#;

async fn runs_what_any_other_does(target: Target) {
    let other = Host::running(target).unwrap();
    let check = async |text: &str, cause: Cause| {
        let folder = tempfile::tempdir().unwrap();
        let artifact = folder.path().join("artifact");
        let wasm = wat::parse_str(text).unwrap();
        fs::write(&artifact, compile(&wasm, target).unwrap()).unwrap();
        let program = Arc::new(other.load(&artifact).unwrap());
        let guest = Guest { memory_bytes_max: Some(256 << 20), ..guest() };
        let container = other.container(program, guest, Stop::new()).unwrap();
        let ended = other.handle().spawn(async move { container.run(|| ()).await }).await.unwrap();
        assert_eq!(ended.cause, cause, "{}", ended.message);
    };
    // A memory that outgrows its reservation moves.
    check(GROWER, Cause::Code(0)).await;
    check(STRAY, Cause::Trap).await;
    check(&commands::component("(i32.const 1)"), Cause::Code(1)).await;
}

#[tokio::test]
async fn a_narrow_address_space_runs_what_a_wide_one_does() {
    let narrow = Target { profile: Profile::Narrow, ..Target::of_this_machine().unwrap() };
    runs_what_any_other_does(narrow).await;
    assert!(host().target() == narrow || host().target().profile == Profile::Wide);
}

#[tokio::test]
async fn the_interpreter_runs_what_a_processor_does() {
    runs_what_any_other_does(Target::interpreted().unwrap()).await;
}
