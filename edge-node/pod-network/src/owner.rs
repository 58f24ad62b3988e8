//! How what is ours is told in the kernel: aliases that name bridge and pod, and names that follow from them.

use dunlin_link::PodUid;

use crate::address::LinkName;

/// Marks the interfaces of one node's pods. The bridge stands for the node: two on one machine have two.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    bridge: LinkName,
    prefix: String,
}

impl Owner {
    pub(crate) fn new(bridge: LinkName) -> Self {
        let prefix = format!("dunlin:{bridge}:");
        Self { bridge, prefix }
    }

    pub(crate) fn bridge(&self) -> &str {
        self.bridge.as_str()
    }

    /// What stands at the machine's end of a pod's pair.
    pub(crate) fn alias(&self, uid: &PodUid) -> String {
        format!("{}{uid}", self.prefix)
    }

    /// Whose an interface is by its alias; `None` if it is none of ours.
    pub(crate) fn pod(&self, alias: &str) -> Option<PodUid> {
        alias.strip_prefix(&self.prefix).map(PodUid::new)
    }

    /// The names that the machine's end of a pod's pair can have, the first for all but those whose first is somebody else's.
    pub(crate) fn names(&self, uid: &PodUid) -> impl Iterator<Item = String> {
        let alias = self.alias(uid);
        (0..NAMES_PER_POD).map(move |attempt| name(&alias, attempt))
    }
}

/// `dl` and 13 characters of base 32: 64 bits that follow from the alias.
fn name(alias: &str, attempt: u8) -> String {
    let hash = alias
        .bytes()
        .chain([attempt])
        .fold(FNV_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    let digits = (0..13).map(|position| {
        let digit = (hash >> (position * 5)) & 31;
        char::from_digit(u32::try_from(digit).unwrap_or(0), 32).unwrap_or('0')
    });
    "dl".chars().chain(digits).collect()
}

/// Somebody would have to mean it to take even two.
const NAMES_PER_POD: u8 = 4;
/// Longest uid: a packet filter's comment has 128 bytes, one of them a zero, and aliases are longer.
pub(crate) const UID_BYTES_MAX: usize = 127;
/// Of the 64-bit FNV-1a hash.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_stable_short_and_different() {
        let owner = Owner::new(LinkName::new("dunlin0").unwrap());
        let other = Owner::new(LinkName::new("dunlin1").unwrap());
        let uid = PodUid::new("11111111-2222-3333-4444-555555555555");
        let mut all: Vec<_> = owner.names(&uid).collect();
        assert_eq!(all, owner.names(&uid).collect::<Vec<_>>());
        assert_eq!(all[0], "dll1gb88ndurm98");
        all.extend(other.names(&uid));
        all.extend(owner.names(&PodUid::new("x")));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|name| LinkName::new(name.as_str()).is_some()));
    }

    #[test]
    fn only_our_own_aliases_name_a_pod() {
        let owner = Owner::new(LinkName::new("dunlin0").unwrap());
        let uid = PodUid::new("x");
        assert_eq!(owner.pod(&owner.alias(&uid)), Some(uid));
        for other in ["", "dunlin:dunlin1:x", "dunlin:dunlin0", "x"] {
            assert_eq!(owner.pod(other), None, "{other}");
        }
    }
}
