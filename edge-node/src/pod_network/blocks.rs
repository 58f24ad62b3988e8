//! Whose blocks of pod addresses are, of the nodes of one machine.

use std::{net::Ipv4Addr, sync::Arc};

use dunlin_edge_node_core::address::{BLOCKS, BlockRange};
use dunlin_link::with_causes;
use dunlin_pod_network::{Claim, ClaimError, LinkName, has_pods};

/// Blocks that no other node of this machine takes as long as this value, or a clone, is there.
#[derive(Clone, Debug)]
pub struct BlockClaim {
    _claim: Arc<Claim>,
}

impl BlockClaim {
    /// Takes `count` blocks from block `first` on.
    ///
    /// # Errors
    /// When another node has one of them.
    pub fn take(first: u16, count: u16) -> Result<Self, ClaimError> {
        Claim::take(first, count).map(Self::of)
    }

    /// Takes them if nobody has one of them, and no pods are left there by a node that was killed.
    pub fn take_unused(first: u16, count: u16) -> Option<Self> {
        let claim = Claim::try_take(first, count).ok()?;
        // Who may not ask has no pods there either.
        let is_used = bridge_name(first).is_some_and(|name| has_pods(&name).unwrap_or(false));
        (!is_used).then(|| Self::of(claim))
    }

    pub(super) fn of_range(blocks: BlockRange) -> Result<Self, String> {
        Self::take(blocks.first(), blocks.count()).map_err(|error| {
            format!(
                "{}; stop it, or start this node with others: with other --address-blocks, or as \
                 `dunlin dev` in another --state-dir",
                with_causes(&error)
            )
        })
    }

    fn of(claim: Claim) -> Self {
        Self { _claim: Arc::new(claim) }
    }
}

/// The machine's address for pods of the node whose first block it is.
pub fn gateway(first: u16) -> Option<Ipv4Addr> {
    BlockRange::new(first, 1)?.subnets().map(|(network, _)| network).next()
}

/// Of the node whose first block it is: nodes of one machine have different ones.
pub(super) fn bridge_name(first: u16) -> Option<LinkName> {
    LinkName::new(format!("{BRIDGE}{first}"))
}

/// The first block of the node whose bridge has this name.
pub(super) fn first_block(bridge: &str) -> Option<u16> {
    let first = bridge.strip_prefix(BRIDGE)?.parse().ok()?;
    (first < BLOCKS && bridge_name(first)?.as_str() == bridge).then_some(first)
}

const BRIDGE: &str = "dunlin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_bridges_get_are_theirs() {
        for (name, expected) in
            [("dunlin0", Some(0)), ("dunlin1008", Some(1008)), ("dunlin1024", None), ("dunlin01", None)]
        {
            assert_eq!(first_block(name), expected, "{name}");
        }
        assert_eq!(first_block("dunlin"), None);
        assert_eq!(first_block("docker0"), None);
    }
}
