//! Options one by one: what each means, and all that is wrong with them.

use std::ops::RangeInclusive;

use dunlin_edge_node_core::{
    address::{BLOCKS, BlockRange},
    admission::AllowedSysctls,
    doctor::Wanted,
    pressure::{EvictionTexts, Thresholds},
};

use super::{form::is_subdomain, machine::Machine};
use crate::{CompileMode, doctor::RUNTIMES, images::ImageBounds, runner::own_compiler};

/// What was found wrong so far.
#[derive(Default)]
pub(super) struct Problems {
    pub(super) list: Vec<String>,
}

impl Problems {
    /// The name that a template makes on this machine.
    pub(super) fn node_name(&mut self, template: &str, machine: &Machine) -> String {
        let node_name = machine.fill(template).unwrap_or_else(|missing| {
            self.list.push(format!("node name `{template}`: this machine has no {missing}"));
            template.replace(['{', '}'], "")
        });
        if !is_subdomain(&node_name) {
            let form =
                "lower-case letters, digits, `-` and `.`, at most 253, with a letter or digit at each end";
            self.list.push(format!("node name `{node_name}`: {form}"));
        }
        node_name
    }

    /// The part of the pod range that was given, or follows from the node's name.
    pub(super) fn blocks(&mut self, given: Option<&str>, node_name: &str) -> Option<BlockRange> {
        let blocks = given.map_or_else(|| Some(default_blocks(node_name)), parse_blocks);
        if blocks.is_none() {
            let (given, last) = (given.unwrap_or_default(), BLOCKS - 1);
            self.list.push(format!("address blocks `{given}`: FIRST or FIRST+COUNT within 0 to {last}"));
        }
        blocks
    }

    /// What was asked for, as far as this build can do it.
    pub(super) fn mebibytes(&mut self, what: &str, asked: Option<u64>, allowed: &RangeInclusive<u64>) {
        if let Some(mib) = asked.filter(|mib| !allowed.contains(mib)) {
            let (least, most) = (allowed.start(), allowed.end());
            self.list.push(format!("{what} `{mib}` MiB: {least} to {most}"));
        }
    }

    pub(super) fn compile_mode(&mut self, asked: Option<CompileMode>) -> CompileMode {
        if own_compiler().is_some() {
            return asked.unwrap_or_default();
        }
        if asked == Some(CompileMode::Auto) {
            self.list.push(
                "compile `auto`: this build of dunlin has no compiler, so it can only be `never`".to_owned(),
            );
        }
        CompileMode::Never
    }

    /// The second number of addresses that stand for pods.
    pub(super) fn loopback(&mut self, given: Option<u8>) -> u8 {
        let octet = given.unwrap_or(42);
        if !(1..=254).contains(&octet) {
            self.list.push(format!("loopback `{octet}`: 1 to 254"));
        }
        octet
    }

    /// How full the disk may get of images.
    pub(super) fn image_bounds(&mut self, percents: (Option<u8>, Option<u8>)) -> ImageBounds {
        ImageBounds::new(percents).unwrap_or_else(|problem| {
            self.list.push(problem);
            ImageBounds::default()
        })
    }

    /// What runs containers, as it was asked for.
    pub(super) fn runtime(&mut self, asked: Option<&str>) -> Wanted {
        match asked.unwrap_or("auto") {
            "auto" => Wanted::Any,
            "none" => Wanted::None,
            asked if asked.starts_with('/') || RUNTIMES.contains(&asked) => Wanted::This(asked.to_owned()),
            asked => {
                let known = RUNTIMES.join(", ");
                self.list.push(format!("runtime `{asked}`: auto, {known}, the path of another, or none"));
                Wanted::None
            }
        }
    }

    /// The thresholds of evictions that were asked for.
    pub(super) fn thresholds(&mut self, texts: EvictionTexts<'_>) -> Thresholds {
        Thresholds::read(texts).unwrap_or_else(|error| {
            self.list.push(format!("eviction: {error}"));
            Thresholds::none()
        })
    }

    /// What pods may set of the kernel.
    pub(super) fn sysctls(&mut self, patterns: &[String]) -> AllowedSysctls {
        AllowedSysctls::read(patterns).unwrap_or_else(|problems| {
            self.list
                .extend(problems.into_iter().map(|problem| format!("allowed unsafe sysctls: {problem}")));
            AllowedSysctls::default()
        })
    }

    pub(super) fn parsed<T>(
        &mut self,
        texts: &[String],
        what: &str,
        form: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            match parse(text) {
                Some(value) => values.push(value),
                None => self.list.push(format!("{what} `{text}`: {form}")),
            }
        }
        values
    }
}

fn parse_blocks(text: &str) -> Option<BlockRange> {
    let (first, count) = text.split_once('+').unwrap_or((text, "1"));
    BlockRange::new(first.parse().ok()?, count.parse().ok()?)
}

/// Until the coordinator hands out blocks, a node takes a run of them by its name.
fn default_blocks(node_name: &str) -> BlockRange {
    let digest = dunlin_link::Digest::of(node_name.as_bytes());
    let [high, low, ..] = *digest.as_bytes();
    let runs = BLOCKS / DEFAULT_BLOCK_COUNT;
    let first = u16::from_be_bytes([high, low]) % runs * DEFAULT_BLOCK_COUNT;
    BlockRange::new(first, DEFAULT_BLOCK_COUNT).expect("a run below the last one is within the range")
}

/// Blocks of a node that was given none: 992 addresses.
const DEFAULT_BLOCK_COUNT: u16 = 16;
