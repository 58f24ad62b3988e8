//! What images run on, and what a machine runs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Platform {
    /// `linux`, `wasi`, `wasip1`, ...
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, `wasm`, ...
    #[serde(default)]
    pub architecture: String,
    /// For instance `v7`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// WASM with the system interface of a version, as images name it: `wasi`, `wasip1`, `wasip2`.
    pub fn wasm(os: &str) -> Self {
        Self { os: os.to_owned(), architecture: "wasm".to_owned(), variant: String::new() }
    }

    /// Everything that a Linux machine runs, the best first: `architecture` is Rust's word for what this program is built for, `machine`
    /// what `uname -m` says. Like containerd, a 64-bit machine is taken to run what its 32-bit predecessors did.
    pub fn linux(architecture: &str, machine: &str) -> Vec<Self> {
        let arm = |newest: u8| (OLDEST_ARM..=newest).rev().map(|version| ("arm", format!("v{version}")));
        let all: Vec<(&str, String)> = match architecture {
            "x86_64" => vec![("amd64", String::new()), ("386", String::new())],
            "x86" => vec![("386", String::new())],
            "aarch64" => [("arm64", String::new())].into_iter().chain(arm(8)).collect(),
            "arm" => arm(arm_version(machine)).collect(),
            "powerpc64" => vec![("ppc64le", String::new())],
            "loongarch64" => vec![("loong64", String::new())],
            other => vec![(other, String::new())],
        };
        let of = |(architecture, variant): (&str, String)| Self {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant,
        };
        all.into_iter().map(of).collect()
    }

    /// Whether it stands for WASM.
    pub fn is_wasm(&self) -> bool {
        matches!(self.architecture.as_str(), "wasm" | "wasm32") || self.os.starts_with("wasi")
    }

    /// Whether an image for `other` runs here: the same, where an image that names no variant runs on each.
    pub fn runs(&self, other: &Self) -> bool {
        self.is_alike(other) && (other.variant.is_empty() || self.level() == other.level())
    }

    /// Whether it is the same, however it is written.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.is_alike(other) && self.level() == other.level()
    }

    fn is_alike(&self, other: &Self) -> bool {
        self.os == other.os && self.architecture == other.architecture
    }

    /// The variant, where it is another than everybody means.
    fn level(&self) -> &str {
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("amd64", "v1") | ("arm64", "v8" | "8") | ("arm", "v7" | "7") => "",
            (_, variant) => variant,
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// Of a 32-bit program: on a 64-bit kernel it is what all of those run.
fn arm_version(machine: &str) -> u8 {
    let version = machine.strip_prefix("armv").and_then(|rest| rest.chars().next()?.to_digit(10));
    version.and_then(|version| u8::try_from(version).ok()).map_or(7, |version| version.clamp(OLDEST_ARM, 8))
}

/// Before it Linux ran on other machines.
const OLDEST_ARM: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_run_what_they_are_and_what_came_before() {
        let named = |architecture: &str, machine: &str| {
            let all = Platform::linux(architecture, machine);
            all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named("x86_64", "x86_64"), "linux/amd64 linux/386");
        assert_eq!(
            named("aarch64", "aarch64"),
            "linux/arm64 linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"
        );
        assert_eq!(named("arm", "armv6l"), "linux/arm/v6 linux/arm/v5");
        assert_eq!(named("arm", "aarch64"), "linux/arm/v7 linux/arm/v6 linux/arm/v5");
        assert_eq!(named("riscv64", "riscv64"), "linux/riscv64");
        assert_eq!(named("powerpc64", "ppc64le"), "linux/ppc64le");
    }

    #[test]
    fn variants_are_compared_by_what_they_mean() {
        let check = |machine: (&str, &str), image: (&str, &str), expected: bool| {
            let platform = |(architecture, variant): (&str, &str)| Platform {
                os: "linux".into(),
                architecture: architecture.into(),
                variant: variant.into(),
            };
            assert_eq!(platform(machine).runs(&platform(image)), expected, "{image:?} on {machine:?}");
        };
        check(("amd64", ""), ("amd64", "v1"), true);
        check(("amd64", ""), ("amd64", "v3"), false);
        check(("arm64", ""), ("arm64", "v8"), true);
        check(("arm", "v7"), ("arm", ""), true);
        check(("arm", "v6"), ("arm", ""), true);
        check(("arm", "v6"), ("arm", "v7"), false);
        check(("arm", "v6"), ("arm64", ""), false);
    }
}
