//! What code is compiled for: a processor and a way to lay out memory, together with everything else that decides whether an artifact
//! loads.

use std::{fmt, fs, str::FromStr};

use rustix::process::{Resource, getrlimit};

/// Version of wasmtime that this crate is built with.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Counts the configurations of [`crate::engine`] under one version of wasmtime. Raised with every change that makes artifacts differ;
/// a test notices changes.
const GENERATION: u32 = 2;

/// One kind of machine. Its text form, the *key* of an artifact, is stable and a part of file names and labels:
/// `48.0.8-2-wide-x86_64-linux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    pub(crate) profile: Profile,
    pub(crate) processor: Processor,
}

/// How memories of guests lie in the address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Each memory reserves all it could ever address, so that accesses need no bounds checks.
    Wide,
    /// Each memory reserves little: for address spaces of 39 bits, as on Raspberry Pi kernels, in which 4 GiB each would allow little
    /// more than a hundred guests, and for processes that may not use much.
    Narrow,
    /// Each memory reserves next to nothing, and code is not the processor's own: for address spaces of 32 bits, and for processors
    /// that nothing else is compiled for.
    Interpreted,
}

/// A processor, with nothing but what every one of its kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Processor {
    /// AMD and Intel, 64 bits.
    X86_64,
    /// ARM, 64 bits.
    Aarch64,
    /// None that was ever built: wasmtime's interpreter, with pointers of 32 bits.
    Pulley32,
    /// The same, with pointers of 64 bits.
    Pulley64,
}

/// No code is compiled for such a thing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not the key of a target that this version has.
    #[error("`{0}` is no target of this version")]
    Unknown(String),
    /// This machine is none.
    #[error("no code is compiled for processors of the kind {0}")]
    Machine(&'static str),
}

impl Target {
    /// All that can be compiled for.
    pub fn all() -> impl Iterator<Item = Self> {
        let native = [Profile::Wide, Profile::Narrow].into_iter().flat_map(|profile| {
            [Processor::X86_64, Processor::Aarch64].map(|processor| Self { profile, processor })
        });
        let interpreted = [Processor::Pulley32, Processor::Pulley64]
            .map(|processor| Self { profile: Profile::Interpreted, processor });
        native.chain(interpreted)
    }

    /// What this process can run, by a look at its processor and address space.
    ///
    /// # Errors
    /// On a processor that nothing is compiled for.
    pub fn of_this_machine() -> Result<Self, TargetError> {
        let processor = match std::env::consts::ARCH {
            "x86_64" => Processor::X86_64,
            "aarch64" => Processor::Aarch64,
            _ => return Self::interpreted(),
        };
        Ok(Self { profile: Profile::of_this_process(), processor })
    }

    /// What every process of this machine can run, if slowly.
    pub(crate) fn interpreted() -> Result<Self, TargetError> {
        let processor = match (cfg!(target_endian = "little"), usize::BITS) {
            (true, 32) => Processor::Pulley32,
            (true, 64) => Processor::Pulley64,
            _ => return Err(TargetError::Machine(std::env::consts::ARCH)),
        };
        Ok(Self { profile: Profile::Interpreted, processor })
    }

    /// Everything besides its module that decides whether an artifact loads.
    pub fn key(self) -> String {
        self.to_string()
    }

    /// What wasmtime calls it. What the C library is does not matter to compiled code.
    pub(crate) const fn triple(self) -> &'static str {
        match self.processor {
            Processor::X86_64 => "x86_64-unknown-linux-gnu",
            Processor::Aarch64 => "aarch64-unknown-linux-gnu",
            Processor::Pulley32 => "pulley32",
            Processor::Pulley64 => "pulley64",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = match self.profile {
            Profile::Wide => "wide",
            Profile::Narrow => "narrow",
            Profile::Interpreted => "interpreted",
        };
        let processor = match self.processor {
            Processor::X86_64 => "x86_64",
            Processor::Aarch64 => "aarch64",
            Processor::Pulley32 => "pulley32",
            Processor::Pulley64 => "pulley64",
        };
        write!(f, "{WASMTIME_VERSION}-{GENERATION}-{profile}-{processor}-linux")
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(key: &str) -> Result<Self, TargetError> {
        Self::all().find(|target| target.key() == key).ok_or_else(|| TargetError::Unknown(key.to_owned()))
    }
}

impl Profile {
    fn of_this_process() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
        Self::of(&maps, getrlimit(Resource::As).current)
    }

    /// The stack lies at the top of the address space, so its address tells the size. `allowed` is what the process may use of it.
    fn of(maps: &str, allowed: Option<u64>) -> Self {
        let stack = maps.lines().find(|line| line.ends_with("[stack]"));
        let start = stack.and_then(|line| u64::from_str_radix(line.split('-').next()?, 16).ok());
        let is_wide =
            start.is_some_and(|start| start >= WIDE_FROM) && allowed.is_none_or(|bytes| bytes >= WIDE_FROM);
        if is_wide { Self::Wide } else { Self::Narrow }
    }
}

/// Room for thousands of memories of 4 GiB; kernels give 39 bits, or 47 and more.
const WIDE_FROM: u64 = 1 << 46;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_space_is_told_by_the_stack_and_the_limit() {
        let check = |stack: &str, allowed, expected| {
            let maps = format!(
                "00400000-00452000 r-xp 00000000 00:00 0\n{stack} rw-p 00000000 00:00 0    [stack]\n"
            );
            assert_eq!(Profile::of(&maps, allowed), expected, "{stack}");
        };
        check("7ffd3a1f0000-7ffd3a211000", None, Profile::Wide);
        check("ffffd3a1f0000-ffffd3a211000", None, Profile::Wide);
        check("7fd3a1f000-7fd3a21000", None, Profile::Narrow);
        check("7ffd3a1f0000-7ffd3a211000", Some(64 << 30), Profile::Narrow);
        assert_eq!(Profile::of("", None), Profile::Narrow);
    }

    #[test]
    fn keys_are_texts_that_fit_a_label_and_name_one_target() {
        let keys: Vec<_> = Target::all().map(Target::key).collect();
        assert_eq!(keys[0], format!("{WASMTIME_VERSION}-{GENERATION}-wide-x86_64-linux"));
        for key in &keys {
            assert!(key.len() <= 63 && key.parse::<Target>().unwrap().key() == *key, "{key}");
        }
        assert!(keys.contains(&Target::of_this_machine().unwrap().key()));
        assert!("48.0.8-0-wide-x86_64-linux".parse::<Target>().is_err());
    }

    #[test]
    fn version_is_the_one_in_use() {
        let locked = include_str!("../../../Cargo.lock");
        assert!(locked.contains(&format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n")));
    }
}
