//! Why a node was refused, small enough to be kept for every node.

use super::explain::Reason;
use crate::view::PodTemplate;

/// The reasons for which one node was refused, all of one filter; none when it was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Refusal(u64);

impl Refusal {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const CORDON: Self = Self::unresolvable(0);
    pub(crate) const NOT_NAMED: Self = Self::unresolvable(1);
    pub(crate) const TAINT: Self = Self::unresolvable(2);
    pub(crate) const NODE_AFFINITY: Self = Self::unresolvable(3);
    pub(crate) const PORTS: Self = Self::resolvable(4);
    pub(crate) const PODS: Self = Self::resolvable(5);
    pub(crate) const CPU: Self = Self::resolvable(6);
    pub(crate) const MEMORY: Self = Self::resolvable(7);
    pub(crate) const EPHEMERAL: Self = Self::resolvable(8);
    pub(crate) const VOLUME_AFFINITY: Self = Self::unresolvable(9);
    pub(crate) const VOLUME_MISSING: Self = Self::unresolvable(10);
    pub(crate) const VOLUME_UNBOUND: Self = Self::unresolvable(11);
    pub(crate) const SPREAD_LABEL: Self = Self::unresolvable(12);
    pub(crate) const SPREAD: Self = Self::resolvable(13);
    pub(crate) const NEAR: Self = Self::unresolvable(14);
    pub(crate) const APART: Self = Self::resolvable(15);
    pub(crate) const FORBIDDEN: Self = Self::resolvable(16);
    /// The pod has a Linux container, and the node runs none.
    pub(crate) const CONTAINERS: Self = Self::unresolvable(19);
    /// The pod needs a network of its own, and the node has none for pods.
    pub(crate) const NETWORK: Self = Self::unresolvable(20);
    /// An image of the pod is there for other machines.
    pub(crate) const PLATFORM: Self = Self::unresolvable(21);
    /// Of preemption: no pod there has a lower priority.
    pub(crate) const NO_VICTIMS: Self = Self::unresolvable(17);
    /// Of preemption: pods that go away would not help.
    pub(crate) const HOPELESS: Self = Self::unresolvable(18);
    /// Even an empty node of this kind has too little.
    pub(crate) const TOO_SMALL: Self = Self(UNRESOLVABLE);

    const fn resolvable(bit: u32) -> Self {
        Self(1 << bit)
    }

    const fn unresolvable(bit: u32) -> Self {
        Self(1 << bit | UNRESOLVABLE)
    }

    /// Not enough of the extended resource at this place among those that the pod requests.
    pub(crate) const fn extended(place: usize) -> Self {
        let last = u64::BITS - 1 - EXTENDED_FIRST;
        let place = if place < last as usize { place as u64 } else { last as u64 };
        Self(1 << (EXTENDED_FIRST as u64 + place))
    }

    /// The reasons of both.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the node was not refused.
    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether the node could take the pod if others went away.
    pub(crate) const fn is_resolvable(self) -> bool {
        self.0 & UNRESOLVABLE == 0
    }

    /// The reasons in words.
    pub(crate) fn reasons(self, template: &PodTemplate) -> impl Iterator<Item = Reason> {
        let fixed = FIXED.iter().filter(move |(refusal, _)| self.0 & refusal.0 & !UNRESOLVABLE != 0);
        let extended = template.requests.extended.keys().enumerate();
        let extended = extended.filter(move |(place, _)| self.0 & Self::extended(*place).0 != 0);
        fixed
            .map(|(_, reason)| reason.clone())
            .chain(extended.map(|(_, name)| Reason::InsufficientExtended(name.clone())))
    }
}

/// Whether taking pods away would not help.
const UNRESOLVABLE: u64 = 1 << 22;

/// The bits from here on stand for extended resources in the order of their names; a pod that requests more of them than there are
/// bits is told of the last ones together.
const EXTENDED_FIRST: u32 = 23;

const FIXED: &[(Refusal, Reason)] = &[
    (Refusal::CORDON, Reason::NodeUnschedulable),
    (Refusal::NOT_NAMED, Reason::NotNamed),
    (Refusal::TAINT, Reason::UntoleratedTaint),
    (Refusal::NODE_AFFINITY, Reason::NodeAffinity),
    (Refusal::PORTS, Reason::NodePorts),
    (Refusal::PODS, Reason::TooManyPods),
    (Refusal::CPU, Reason::InsufficientCpu),
    (Refusal::MEMORY, Reason::InsufficientMemory),
    (Refusal::EPHEMERAL, Reason::InsufficientEphemeralStorage),
    (Refusal::VOLUME_AFFINITY, Reason::VolumeNodeAffinity),
    (Refusal::VOLUME_MISSING, Reason::VolumeMissing),
    (Refusal::VOLUME_UNBOUND, Reason::VolumeUnbound),
    (Refusal::SPREAD_LABEL, Reason::SpreadLabelMissing),
    (Refusal::SPREAD, Reason::TopologySpread),
    (Refusal::NEAR, Reason::PodAffinity),
    (Refusal::APART, Reason::PodAntiAffinity),
    (Refusal::FORBIDDEN, Reason::ExistingAntiAffinity),
    (Refusal::CONTAINERS, Reason::NoContainers),
    (Refusal::NETWORK, Reason::NoNetwork),
    (Refusal::PLATFORM, Reason::OtherPlatform),
    (Refusal::NO_VICTIMS, Reason::NoVictims),
    (Refusal::HOPELESS, Reason::PreemptionNotHelpful),
];
