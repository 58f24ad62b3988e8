//! Which version of the protocol a session speaks, and what may be sent in it. Nothing else in the machines asks for a version.

use crate::{
    compiled::CompiledOpen,
    ephemeral::AssignmentEphemeral,
    frame::{Kind, Message},
    health::Health,
    message::{
        AssignmentCare, AssignmentLinux, AssignmentSealed, AssignmentVolumes, Extension, PROTOCOL_VERSIONS,
    },
    namespaces::NamespacesOpen,
    node_network::NodeNetwork,
    node_state::NodeState,
    resources::AssignmentResources,
    statics::{StaticPod, StaticPods, StaticPodsWanted},
    stream::{AttachOpen, ConnectOpen, ContentOpen, CoreDumpOpen, ExecOpen, ForwardOpen, LogStreamsOpen},
    tokens::{AssignmentTokens, TokenOpen},
    usage::UsageOpen,
    volume_images::AssignmentVolumeImages,
};

/// The version that both sides of a session speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Protocol(u16);

impl Protocol {
    /// What is spoken before the two sides have agreed: the oldest that this build knows.
    pub const BEFORE_AGREEMENT: Self = Self(PROTOCOL_VERSIONS.0);

    /// The highest version that both sides speak, if there is one. `offered` is the other side's lowest and highest.
    pub fn agree(offered: (u16, u16)) -> Option<Self> {
        let highest = offered.1.min(PROTOCOL_VERSIONS.1);
        let lowest = offered.0.max(PROTOCOL_VERSIONS.0);
        (highest >= lowest).then_some(Self(highest))
    }

    /// The version's number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The version of this number, as an open session named it.
    pub const fn of(number: u16) -> Self {
        Self(number)
    }

    /// Whether the other side knows frames of this kind.
    pub fn sends(self, kind: Kind) -> bool {
        self.0 >= added_in(kind)
    }

    /// What of these extensions of a `Welcome` the other side has any use for: version 1 knew none.
    pub fn extensions(self, extensions: Vec<Extension>) -> Vec<Extension> {
        if self.0 >= 2 { extensions } else { Vec::new() }
    }
}

/// The version that added a kind of frame that one side sends unasked.
fn added_in(kind: Kind) -> u16 {
    match kind.0 {
        kind if ADDED_IN_2.contains(&kind) => 2,
        kind if ADDED_IN_3.contains(&kind) => 3,
        kind if ADDED_IN_4.contains(&kind) => 4,
        kind if ADDED_IN_5.contains(&kind) => 5,
        kind if ADDED_IN_6.contains(&kind) => 6,
        kind if ADDED_IN_7.contains(&kind) => 7,
        kind if ADDED_IN_8.contains(&kind) => 8,
        _ => 1,
    }
}

/// What version 1 knows nothing of.
const ADDED_IN_2: [u16; 5] = [
    AssignmentSealed::KIND.0,
    Health::KIND.0,
    StaticPods::KIND.0,
    StaticPod::KIND.0,
    StaticPodsWanted::KIND.0,
];

/// Heads of streams that version 2 knows nothing of.
const ADDED_IN_3: [u16; 5] =
    [ExecOpen::KIND.0, AttachOpen::KIND.0, ConnectOpen::KIND.0, UsageOpen::KIND.0, LogStreamsOpen::KIND.0];

/// What version 3 knows nothing of.
const ADDED_IN_4: [u16; 2] = [AssignmentCare::KIND.0, NodeState::KIND.0];

/// What version 4 knows nothing of.
const ADDED_IN_5: [u16; 2] = [AssignmentVolumes::KIND.0, CompiledOpen::KIND.0];

/// What version 5 knows nothing of.
const ADDED_IN_6: [u16; 2] = [AssignmentLinux::KIND.0, CoreDumpOpen::KIND.0];

/// What version 6 knows nothing of.
const ADDED_IN_7: [u16; 6] = [
    AssignmentTokens::KIND.0,
    AssignmentVolumeImages::KIND.0,
    TokenOpen::KIND.0,
    ContentOpen::KIND.0,
    NamespacesOpen::KIND.0,
    NodeNetwork::KIND.0,
];

/// What version 7 knows nothing of.
const ADDED_IN_8: [u16; 3] = [AssignmentEphemeral::KIND.0, AssignmentResources::KIND.0, ForwardOpen::KIND.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_common_version_is_spoken() {
        let check = |offered, expected: Option<u16>| {
            assert_eq!(Protocol::agree(offered).map(Protocol::number), expected, "{offered:?}");
        };
        check((1, 1), Some(1));
        check((1, 2), Some(2));
        check((2, 9), Some(8));
        check((2, 4), Some(4));
        check((8, 9), Some(8));
        check((9, 9), None);
        check((0, 0), None);
        check((2, 1), None);
        check((u16::MAX, 0), None);
    }

    #[test]
    fn older_versions_are_sent_nothing_newer() {
        let [one, two, three, four, five, six, seven, eight] = [1, 2, 3, 4, 5, 6, 7, 8].map(Protocol);
        for kind in [0x0101, 0x0114, 0x0131] {
            assert!(one.sends(Kind(kind)) && two.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_2 {
            assert!(!one.sends(Kind(kind)) && two.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_3 {
            assert!(!two.sends(Kind(kind)) && three.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_4 {
            assert!(!three.sends(Kind(kind)) && four.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_5 {
            assert!(!four.sends(Kind(kind)) && five.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_6 {
            assert!(!five.sends(Kind(kind)) && six.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_7 {
            assert!(!six.sends(Kind(kind)) && seven.sends(Kind(kind)), "{kind:#x}");
        }
        for kind in ADDED_IN_8 {
            assert!(!seven.sends(Kind(kind)) && eight.sends(Kind(kind)), "{kind:#x}");
        }
        let extensions = vec![Extension { tag: 1, bytes: Vec::new() }];
        assert_eq!(one.extensions(extensions.clone()), []);
        assert_eq!(two.extensions(extensions.clone()), extensions);
    }
}
