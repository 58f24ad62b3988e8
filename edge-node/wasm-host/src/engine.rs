//! How wasmtime is set up: one configuration for compiling and for running, since an artifact only loads where both agree.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    num::NonZeroUsize,
};

use wasmtime::{Config, Engine};

/// Version of wasmtime that this crate is built with.
pub const WASMTIME_VERSION: &str = "48.0.8";

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
}

/// Compiles a binary module or component to an artifact for this machine. Takes time and memory as the input likes: callers run it
/// in a process with limits.
///
/// # Errors
/// When the input is not valid WebAssembly.
pub fn compile(wasm: &[u8]) -> Result<Vec<u8>, CompileError> {
    let engine = engine().map_err(|error| CompileError::Engine(format!("{error:#}")))?;
    let compiled = match wasm.get(..8) {
        Some(b"\0asm\x01\0\0\0") => engine.precompile_module(wasm),
        Some(b"\0asm\x0d\0\x01\0") => engine.precompile_component(wasm),
        _ => return Err(CompileError::NotWasm),
    };
    compiled.map_err(|error| CompileError::Invalid(format!("{error:#}")))
}

/// The key of artifacts that `engine` can load.
pub(crate) fn artifact_key(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{WASMTIME_VERSION}-{:016x}", hasher.finish())
}

/// An engine of the one configuration.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    Engine::new(&config(AddressSpace::of_this_machine()))
}

/// How much address space a process has, which decides what each linear memory may reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AddressSpace {
    /// 47 bits or more: each memory reserves all it could ever address, so that accesses need no bounds checks.
    Wide,
    /// 39 bits, as on Raspberry Pi kernels: 4 GiB each would allow little more than a hundred guests.
    Narrow,
}

impl AddressSpace {
    fn of_this_machine() -> Self {
        fs::read_to_string("/proc/self/maps").map_or(Self::Narrow, |maps| Self::of_maps(&maps))
    }

    /// The stack lies at the top of the address space, so its address tells the size.
    fn of_maps(maps: &str) -> Self {
        let stack = maps.lines().find(|line| line.ends_with("[stack]"));
        let start = stack.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
        if start.is_some_and(|start| start >= 1 << 46) { Self::Wide } else { Self::Narrow }
    }
}

fn config(address_space: AddressSpace) -> Config {
    let mut config = Config::new();
    // Interruption of guests that never call the host.
    config.epoch_interruption(true);
    // Artifacts a third smaller; traps still name the functions they happened in.
    config.generate_address_map(false).native_unwind_info(false);
    config.max_wasm_stack(WASM_STACK_BYTES).async_stack_size(STACK_BYTES);
    config.wasm_backtrace_max_frames(NonZeroUsize::new(FRAMES_MAX));
    // Data segments are mapped from the artifact and stay shared until written.
    config.memory_init_cow(true);
    config.wasm_relaxed_simd(false);
    match address_space {
        AddressSpace::Wide => {}
        AddressSpace::Narrow => {
            config
                .memory_reservation(NARROW_RESERVATION_BYTES)
                .memory_reservation_for_growth(NARROW_GROWTH_BYTES)
                .memory_guard_size(NARROW_GUARD_BYTES)
                .guard_before_linear_memory(false);
        }
    }
    config
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_space_is_told_by_the_stack() {
        let check = |stack: &str, expected| {
            let maps = format!(
                "00400000-00452000 r-xp 00000000 00:00 0\n{stack} rw-p 00000000 00:00 0    [stack]\n"
            );
            assert_eq!(AddressSpace::of_maps(&maps), expected, "{stack}");
        };
        check("7ffd3a1f0000-7ffd3a211000", AddressSpace::Wide);
        check("ffffd3a1f0000-ffffd3a211000", AddressSpace::Wide);
        check("7fd3a1f000-7fd3a21000", AddressSpace::Narrow);
        assert_eq!(AddressSpace::of_maps(""), AddressSpace::Narrow);
    }

    #[test]
    fn both_address_spaces_compile_and_differ() {
        let key = |space| artifact_key(&Engine::new(&config(space)).unwrap());
        assert_ne!(key(AddressSpace::Wide), key(AddressSpace::Narrow));
        let narrow = Engine::new(&config(AddressSpace::Narrow)).unwrap();
        let wasm = wat::parse_str("(module (memory 1) (func (export \"_start\")))").unwrap();
        assert!(narrow.precompile_module(&wasm).is_ok());
    }

    #[test]
    fn other_bytes_than_wasm_are_refused() {
        for bytes in [&b""[..], b"\0asm", b"(module)", b"\x7fELF\x02\x01\x01\0\0\0", b"\0asm\x02\0\0\0"] {
            assert!(matches!(compile(bytes), Err(CompileError::NotWasm)), "{bytes:?}");
        }
        assert!(matches!(compile(b"\0asm\x01\0\0\0\xff\xff"), Err(CompileError::Invalid(_))));
    }

    #[test]
    fn version_is_the_one_in_use() {
        let locked = include_str!("../../../Cargo.lock");
        assert!(locked.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n")));
    }
}
