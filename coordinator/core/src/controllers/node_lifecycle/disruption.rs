//! Whether so much of a zone is not well that the nodes are not to blame, and how fast nodes may be given up.

use std::time::Duration;

use jiff::Timestamp;

use super::RESTART_GRACE;
use crate::view::{View, zones::Zone};

/// How fast the nodes of a zone may be given up, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// One each time.
    Every(Duration),
    /// None: what was decided about them is taken back.
    Halted,
}

impl Pace {
    /// That of a zone. Kubernetes' numbers, but for a zone that is silent as a whole: there it goes on at the usual pace unless all zones are,
    /// and a site that lost its uplink is just that.
    pub(super) fn of(view: &View, zone: &Zone, now: Timestamp) -> Self {
        let nodes = zone.nodes();
        let mut unhealthy = zone.unhealthy(now - view.node_grace());
        if view.started() + RESTART_GRACE <= now {
            unhealthy += zone.unverified();
        }
        if nodes < ZONE_MIN || unhealthy * 100 < nodes * UNHEALTHY_PERCENT {
            Self::Every(USUAL)
        } else if unhealthy < nodes && nodes > LARGE_ZONE {
            Self::Every(CAREFUL)
        } else {
            Self::Halted
        }
    }
}

/// A smaller zone is not told apart from single failures.
const ZONE_MIN: usize = 3;

/// Share of a zone that is not well only when something is wrong that they share: `unhealthy-zone-threshold`.
const UNHEALTHY_PERCENT: usize = 55;

/// In a zone with more nodes than this, those that are well can take over, slowly: `large-cluster-size-threshold`.
const LARGE_ZONE: usize = 50;

/// One node every so often: `node-eviction-rate`.
const USUAL: Duration = Duration::from_secs(10);

/// The same in a large zone of which most is not well: `secondary-node-eviction-rate`.
const CAREFUL: Duration = Duration::from_secs(100);
