//! Which part of the pod range a node has: chosen once, for its pods have addresses of it, and no other node's of this machine.

use std::{fs, io, net::Ipv4Addr, path::Path};

use anyhow::{Context as _, Result, anyhow};
use dunlin_edge_node::{BlockClaim, gateway};

use crate::terminal;

/// Those of all nodes, in their order.
pub(super) fn of_nodes(state_dir: &Path, count: u16) -> Result<Vec<Blocks>> {
    (1..=count).map(|number| of_node(&state_dir.join(name(number)), number)).collect()
}

/// The name of a node, and of its folder.
pub(super) fn name(number: u16) -> String {
    format!("node-{number}")
}

/// What a node begins with.
#[derive(Debug)]
pub(super) struct Blocks {
    /// As `--address-blocks` has them.
    pub(super) text: String,
    /// The machine's address for its pods.
    pub(super) gateway: Option<Ipv4Addr>,
    /// None where somebody else has them now: pods that need a network have to wait.
    pub(super) claim: Option<BlockClaim>,
}

/// The blocks of a node whose folder this is.
fn of_node(dir: &Path, number: u16) -> Result<Blocks> {
    let path = dir.join(FILE);
    let kept = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => first_of(&read.with_context(|| format!("cannot read {}", path.display()))?),
    };
    if let Some(first) = kept {
        let claim = BlockClaim::take(first, BLOCKS_PER_NODE);
        if let Err(error) = &claim {
            terminal::remark(&format!(
                "{} cannot run pods with Linux containers: {error}; stop that one, or use another --state-dir",
                name(number)
            ));
        }
        return Ok(Blocks { text: text(first), gateway: gateway(first), claim: claim.ok() });
    }
    let (first, claim) = choose(number).ok_or_else(|| {
        anyhow!("other clusters of this machine use all pod addresses; stop one, or start fewer nodes")
    })?;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(&path, text(first)).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Blocks { text: text(first), gateway: gateway(first), claim: Some(claim) })
}

/// The usual ones of a node where they are free, else the next that are.
fn choose(number: u16) -> Option<(u16, BlockClaim)> {
    (0..RUNS).map(|step| (number - 1 + step) % RUNS * BLOCKS_PER_NODE).find_map(|first| {
        let claim = BlockClaim::take_unused(first, BLOCKS_PER_NODE)?;
        Some((first, claim))
    })
}

fn text(first: u16) -> String {
    format!("{first}+{BLOCKS_PER_NODE}")
}

/// `None` for what was never written as a whole.
fn first_of(kept: &str) -> Option<u16> {
    let first = kept.split_once('+')?.0.parse().ok()?;
    (text(first) == kept && first / BLOCKS_PER_NODE < RUNS).then_some(first)
}

/// In the node's folder.
const FILE: &str = "address-blocks";

/// 1,024 addresses for each of at most 64 nodes:
const BLOCKS_PER_NODE: u16 = 16;

/// the whole of 10.42.0.0/16.
const RUNS: u16 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_kept_and_nobody_elses() {
        let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        let first = of_node(dirs[0].path(), 64).unwrap();
        let other = of_node(dirs[1].path(), 64).unwrap();
        assert!(first.claim.is_some() && other.claim.is_some());
        assert_ne!(first.text, other.text);
        drop(first.claim);
        // What the other has by now would be the first to be chosen.
        let again = of_node(dirs[0].path(), 64).unwrap();
        assert_eq!(again.text, first.text);
        assert!(again.claim.is_some());
        let twice = of_node(dirs[0].path(), 64).unwrap();
        assert_eq!((twice.text, twice.claim.is_some()), (first.text, false));
    }

    #[test]
    fn half_a_choice_is_none() {
        assert_eq!(first_of("32+16"), Some(32));
        for other in ["", "32", "32+1", "1024+16", "x+16", "032+16"] {
            assert_eq!(first_of(other), None, "{other}");
        }
    }
}
