//! How wasmtime is set up: one configuration for compiling and for running, since an artifact only loads where both agree.

use std::num::NonZeroUsize;

use wasmtime::{Config, Engine, ModuleVersionStrategy};

use crate::target::{Profile, Target};

/// Why bytes did not become an artifact.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// They do not begin as a binary module or component does.
    #[error("not a WebAssembly binary: it does not begin with `\\0asm` and a known version")]
    NotWasm,
    /// They are malformed, or need a feature that is switched off; the text says where.
    #[error("invalid WebAssembly: {0}")]
    Invalid(String),
    /// wasmtime could not be set up on this machine.
    #[error("the WebAssembly engine does not start: {0}")]
    Engine(String),
    /// See [`HAS_COMPILER`].
    #[error("this program was built without a compiler")]
    Absent,
}

/// Whether this program was built with a compiler. One without is a node that runs only what others compiled.
pub const HAS_COMPILER: bool = cfg!(feature = "compiler");

/// Compiles a binary module or component to an artifact for machines of a kind, which need not be this machine's. Takes time and memory
/// as the input likes: callers run it in a process with limits.
///
/// # Errors
/// When the input is not valid WebAssembly, or there is no compiler.
#[cfg(feature = "compiler")]
pub fn compile(wasm: &[u8], target: Target) -> Result<Vec<u8>, CompileError> {
    let engine = compiling(target).map_err(|error| CompileError::Engine(format!("{error:#}")))?;
    let compiled = match wasm.get(..8) {
        Some(b"\0asm\x01\0\0\0") => engine.precompile_module(wasm),
        Some(b"\0asm\x0d\0\x01\0") => engine.precompile_component(wasm),
        _ => return Err(CompileError::NotWasm),
    };
    compiled.map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

/// As it is without a compiler.
///
/// # Errors
/// Always.
#[cfg(not(feature = "compiler"))]
pub fn compile(_wasm: &[u8], _target: Target) -> Result<Vec<u8>, CompileError> {
    Err(CompileError::Absent)
}

/// An engine that compiles for a target. A target that is named counts on nothing but what every processor of the kind has.
#[cfg(feature = "compiler")]
fn compiling(target: Target) -> wasmtime::Result<Engine> {
    let mut config = config(target)?;
    config.target(target.triple())?;
    Engine::new(&config)
}

/// An engine that runs what was compiled for `target`, which is one that this machine can run. It allocates each instance on demand and
/// reserves nothing ahead, so it starts wherever there is memory at all.
pub(crate) fn running(target: Target) -> wasmtime::Result<Engine> {
    Engine::new(&running_config(target)?)
}

pub(crate) fn running_config(target: Target) -> wasmtime::Result<Config> {
    let mut config = config(target)?;
    config.coredump_on_trap(true);
    if target.profile == Profile::Interpreted {
        config.target(target.triple())?;
    }
    Ok(config)
}

fn config(target: Target) -> wasmtime::Result<Config> {
    let mut config = Config::new();
    // What wasmtime itself compares is its major version; the key also names the profile, by which artifacts differ, and our generation.
    config.module_version(ModuleVersionStrategy::Custom(target.key()))?;
    // Interruption of guests that never call the host.
    config.epoch_interruption(true);
    // Artifacts a third smaller; traps still name the functions they happened in.
    config.generate_address_map(false).native_unwind_info(false);
    config.max_wasm_stack(WASM_STACK_BYTES).async_stack_size(STACK_BYTES);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_MAX));
    // Data segments are mapped from the artifact and stay shared until written.
    config.memory_init_cow(true);
    config.wasm_relaxed_simd(false);
    match target.profile {
        Profile::Wide => {}
        Profile::Narrow => {
            config
                .memory_reservation(NARROW_RESERVATION_BYTES)
                .memory_reservation_for_growth(NARROW_GROWTH_BYTES)
                .memory_guard_size(NARROW_GUARD_BYTES)
                .guard_before_linear_memory(false);
        }
        Profile::Interpreted => {
            config
                .memory_reservation(INTERPRETED_RESERVATION_BYTES)
                .memory_reservation_for_growth(NARROW_GROWTH_BYTES)
                .memory_guard_size(0)
                .guard_before_linear_memory(false);
        }
    }
    Ok(config)
}

/// Frames of a trap's message: the first ones tell, the last are the language's own start-up.
const FRAMES_MAX: usize = 8;

/// Depth of a guest's own calls: wasmtime's default, which toolchains count on.
const WASM_STACK_BYTES: usize = 512 << 10;

/// The stack that a guest and the host functions it calls share; what lies above the guest's part is the host's. Only touched pages
/// cost memory.
const STACK_BYTES: usize = WASM_STACK_BYTES + (512 << 10);

/// 5,000 memories of this size fit an address space of 39 bits.
const NARROW_RESERVATION_BYTES: u64 = 64 << 20;

/// What a memory that outgrows its reservation gets beyond what it asked for.
const NARROW_GROWTH_BYTES: u64 = 1 << 20;

/// Covers small constant offsets, so that their bounds checks are shared.
const NARROW_GUARD_BYTES: u64 = 64 << 10;

/// Several hundred guests fit 3 GiB. What outgrows it moves; the interpreter checks every access in any case.
const INTERPRETED_RESERVATION_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};

    use super::*;

    /// Artifacts of one generation load on every node of that generation, so none may change what they depend on. Whoever changes the
    /// configuration, wasmtime or its features raises `GENERATION` in `target.rs` (with another version of wasmtime: sets it to 1 again)
    /// and writes the new number here.
    #[test]
    fn what_artifacts_depend_on_changes_with_the_key_alone() {
        let target = Target::all().next().unwrap();
        let mut hasher = DefaultHasher::new();
        compiling(target).unwrap().precompile_compatibility_hash().hash(&mut hasher);
        assert_eq!(
            format!("{target} {:016x}", hasher.finish()),
            "48.0.8-2-wide-x86_64-linux 69747ad7b14ea891"
        );
    }

    #[test]
    fn every_target_compiles_and_only_this_machine_s_loads() {
        let wasm = wat::parse_str("(module (memory 1) (func (export \"_start\")))").unwrap();
        let engine = running(Target::of_this_machine().unwrap()).unwrap();
        let interpreter = running(Target::interpreted().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        for target in Target::all() {
            let file = folder.path().join(target.key());
            std::fs::write(&file, compile(&wasm, target).unwrap()).unwrap();
            let loads = [&engine, &interpreter].map(|engine| crate::sys::map_module(engine, &file).is_ok());
            let runs = [Target::of_this_machine(), Target::interpreted()].map(|runs| runs == Ok(target));
            assert_eq!(loads, runs, "{target}");
        }
    }

    #[test]
    fn other_bytes_than_wasm_are_refused() {
        let target = Target::of_this_machine().unwrap();
        for bytes in [&b""[..], b"\0asm", b"(module)", b"\x7fELF\x02\x01\x01\0\0\0", b"\0asm\x02\0\0\0"] {
            assert!(matches!(compile(bytes, target), Err(CompileError::NotWasm)), "{bytes:?}");
        }
        assert!(matches!(compile(b"\0asm\x01\0\0\0\xff\xff", target), Err(CompileError::Invalid(_))));
    }
}
