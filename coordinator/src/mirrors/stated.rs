//! What is known of one node's static pods, and about which it may be asked now.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dunlin_link::{PodUid, limits::STATIC_PODS_ASKED_MAX, statics::StaticPodName};
use jiff::Timestamp;

/// One node's static pods.
#[derive(Debug, Default)]
pub(super) struct Stated {
    pub(super) pods: Vec<StaticPodName>,
    /// Since when a mirror is on its way: asked for, or made and not seen yet.
    pub(super) under_way: BTreeMap<PodUid, Timestamp>,
    /// Pods that get no mirror, and for how long.
    pub(super) refused: BTreeMap<PodUid, Refused>,
    /// Pods without a mirror of which an event tells already.
    pub(super) complained: BTreeSet<PodUid>,
}

/// How long a node is not asked about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// As long as it has the pod: another manifest is another pod.
    ForGood,
    /// For a while since then: it could not tell.
    Since(Timestamp),
}

impl Stated {
    /// These are all that there are now.
    pub(super) fn replace(&mut self, pods: Vec<StaticPodName>) {
        let uids: BTreeSet<PodUid> = pods.iter().map(|pod| pod.uid.clone()).collect();
        self.under_way.retain(|uid, _| uids.contains(uid));
        self.refused.retain(|uid, _| uids.contains(uid));
        self.complained.retain(|uid| uids.contains(uid));
        self.pods = pods;
    }

    /// One of them.
    pub(super) fn pod(&self, uid: &PodUid) -> Option<&StaticPodName> {
        self.pods.iter().find(|pod| pod.uid == *uid)
    }

    /// Of the missing ones those that the node may be asked about, and about how many.
    pub(super) fn candidates(
        &mut self,
        missing: Vec<StaticPodName>,
        now: Timestamp,
    ) -> (usize, Vec<StaticPodName>) {
        let is_missing = |uid: &PodUid| missing.iter().any(|pod| pod.uid == *uid);
        // A time of the future means that the clock was put back.
        let is_within = |since: Timestamp, span: Duration| since <= now && now < since + span;
        self.under_way.retain(|uid, since| is_missing(uid) && is_within(*since, ANSWER_TIMEOUT));
        self.refused.retain(|_, refused| match refused {
            Refused::ForGood => true,
            Refused::Since(since) => is_within(*since, UNTOLD_RETRY),
        });
        self.complained.retain(is_missing);
        let room = STATIC_PODS_ASKED_MAX.saturating_sub(self.under_way.len());
        let is_free = |pod: &StaticPodName| {
            !self.under_way.contains_key(&pod.uid) && !self.refused.contains_key(&pod.uid)
        };
        (room, missing.into_iter().filter(is_free).collect())
    }
}

/// How long a mirror may be on its way before the node is asked again: longer than a node's answer takes over a slow line.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a node that could not tell what a pod is is not asked again: asking costs bytes on its link.
const UNTOLD_RETRY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_again_when_an_answer_is_lost_or_could_not_be_told() {
        let pod = |uid: &str| StaticPodName {
            uid: PodUid::new(uid),
            namespace: "default".to_owned(),
            name: uid.to_owned(),
        };
        let mut stated = Stated::default();
        let check = |stated: &mut Stated, seconds: i64, expected: (usize, &[&str])| {
            let now = Timestamp::from_second(seconds).unwrap();
            let (room, pods) = stated.candidates(vec![pod("asked"), pod("bad"), pod("untold")], now);
            let pods: Vec<_> = pods.iter().map(|pod| pod.uid.as_str()).collect();
            assert_eq!((room, pods.as_slice()), expected, "after {seconds} s");
        };
        let start = Timestamp::from_second(100).unwrap();
        stated.under_way.insert(PodUid::new("asked"), start);
        stated.refused.insert(PodUid::new("bad"), Refused::ForGood);
        stated.refused.insert(PodUid::new("untold"), Refused::Since(start));
        check(&mut stated, 159, (7, &[]));
        check(&mut stated, 160, (8, &["asked"]));
        check(&mut stated, 699, (8, &["asked"]));
        check(&mut stated, 700, (8, &["asked", "untold"]));
        check(&mut stated, 1_000_000, (8, &["asked", "untold"]));
        // The clock was put back.
        stated.under_way.insert(PodUid::new("asked"), start);
        stated.refused.insert(PodUid::new("untold"), Refused::Since(start));
        check(&mut stated, 99, (8, &["asked", "untold"]));
    }
}
