//! How endpoints are spread over slices: full ones first, and as few slices written as can be.
//!
//! Whoever follows slices gets each changed one whole, so that an endpoint that stays stays where it is, and new ones go into a slice
//! that has to be written anyway, or all into one that has room for them.

use std::collections::HashMap;

use super::desired::Wanted;
use crate::view::services::EndpointDigest;

/// A slice that is there.
#[derive(Clone, Debug)]
pub(super) struct Existing<'a> {
    pub(super) endpoints: &'a [EndpointDigest],
    /// Whether it has to be written for another reason.
    pub(super) is_outdated: bool,
}

/// What becomes of slices, which are named by their position.
#[derive(Debug, Default)]
pub(super) struct Packing {
    /// Those to write, with all that they get.
    pub(super) update: Vec<(usize, Vec<Wanted>)>,
    /// New ones.
    pub(super) create: Vec<Vec<Wanted>>,
    /// Those of no more use.
    pub(super) delete: Vec<usize>,
}

/// Spreads endpoints that share their ports over slices that have these ports. As Kubernetes' `reconcileByPortMapping`.
pub(super) fn pack(existing: &[Existing<'_>], wanted: Vec<Wanted>) -> Packing {
    let mut packing = Packing::default();
    let mut left = Left::new(wanted);
    let mut unchanged = Vec::new();
    for (position, slice) in existing.iter().enumerate() {
        let (kept, is_same) = left.take_known(slice.endpoints);
        if is_same && !slice.is_outdated {
            unchanged.push((position, kept));
        } else if kept.is_empty() && !is_same {
            packing.delete.push(position);
        } else {
            packing.update.push((position, kept));
        }
    }
    // The fullest first.
    packing.update.sort_by_key(|(_, endpoints)| std::cmp::Reverse(endpoints.len()));
    for (_, endpoints) in &mut packing.update {
        left.fill(endpoints);
    }
    while left.count > 0 {
        let mut endpoints = match best_fit(&unchanged, left.count) {
            Some(fitting) => {
                let (position, endpoints) = unchanged.swap_remove(fitting);
                packing.update.push((position, endpoints));
                let Some((_, endpoints)) = packing.update.last_mut() else { break };
                left.fill(endpoints);
                continue;
            }
            None => Vec::new(),
        };
        left.fill(&mut endpoints);
        packing.create.push(endpoints);
    }
    packing
}

/// Endpoints that are in no slice so far.
struct Left {
    wanted: Vec<Option<Wanted>>,
    by_identity: HashMap<u64, usize>,
    count: usize,
    next: usize,
}

impl Left {
    fn new(wanted: Vec<Wanted>) -> Self {
        let identity = |(position, wanted): (usize, &Wanted)| (wanted.digest.identity, position);
        let by_identity = wanted.iter().enumerate().map(identity).collect();
        Self { count: wanted.len(), wanted: wanted.into_iter().map(Some).collect(), by_identity, next: 0 }
    }

    /// Takes those that a slice has already; also answers whether it says all of them as they should be, and nothing else.
    fn take_known(&mut self, slice: &[EndpointDigest]) -> (Vec<Wanted>, bool) {
        let (mut kept, mut is_same) = (Vec::with_capacity(slice.len()), true);
        for known in slice {
            let position = self.by_identity.get(&known.identity).copied();
            match position.and_then(|position| self.wanted[position].take()) {
                Some(wanted) => {
                    is_same &= wanted.digest.whole == known.whole;
                    kept.push(wanted);
                    self.count -= 1;
                }
                None => is_same = false,
            }
        }
        (kept, is_same)
    }

    /// Fills a slice up.
    fn fill(&mut self, endpoints: &mut Vec<Wanted>) {
        while endpoints.len() < ENDPOINTS_MAX
            && let Some(place) = self.wanted.get_mut(self.next)
        {
            self.next += 1;
            if let Some(wanted) = place.take() {
                endpoints.push(wanted);
                self.count -= 1;
            }
        }
    }
}

/// Of the slices that have room for `count` more, the one that gets fullest.
fn best_fit(slices: &[(usize, Vec<Wanted>)], count: usize) -> Option<usize> {
    let room = |endpoints: &[Wanted]| ENDPOINTS_MAX.checked_sub(endpoints.len() + count);
    let fitting = slices.iter().enumerate().filter_map(|(position, (_, endpoints))| {
        // One that is empty, and no new one that would be as empty.
        room(endpoints).filter(|left| *left < ENDPOINTS_MAX).map(|left| (left, position))
    });
    fitting.min().map(|(_, position)| position)
}

/// Endpoints in one slice, as Kubernetes' controller has it by default.
pub(super) const ENDPOINTS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(identity: u64, whole: u64) -> Wanted {
        let digest = EndpointDigest { identity, whole };
        Wanted { endpoint: Default::default(), digest, changed_at: None }
    }

    fn digests(identities: std::ops::Range<u64>) -> Vec<EndpointDigest> {
        identities.map(|identity| EndpointDigest { identity, whole: 0 }).collect()
    }

    /// Packs those of these identities; sizes of what is updated by position, of what is created, and what is deleted.
    fn check(
        existing: &[Vec<EndpointDigest>],
        identities: impl Iterator<Item = u64>,
        expected: (&[(usize, usize)], &[usize], &[usize]),
    ) {
        let existing: Vec<_> =
            existing.iter().map(|endpoints| Existing { endpoints, is_outdated: false }).collect();
        let packing = pack(&existing, identities.map(|identity| wanted(identity, 0)).collect());
        let updated: Vec<_> =
            packing.update.iter().map(|(position, endpoints)| (*position, endpoints.len())).collect();
        let created: Vec<_> = packing.create.iter().map(Vec::len).collect();
        assert_eq!((&updated[..], &created[..], &packing.delete[..]), expected);
    }

    #[test]
    fn slices_are_filled_with_few_writes() {
        check(&[], 0..0, (&[], &[], &[]));
        check(&[], 0..250, (&[], &[100, 100, 50], &[]));
        // Nothing changed.
        check(&[digests(0..100), digests(100..150)], 0..150, (&[], &[], &[]));
        // One more goes where the slice gets fullest, and fits.
        check(&[digests(0..30), digests(30..90), digests(90..190)], 0..191, (&[(1, 61)], &[], &[]));
        // What has to be written anyway takes what is new, even if another slice would get fuller.
        check(&[digests(0..30), digests(30..90)], (1..90).chain(100..110), (&[(0, 39)], &[], &[]));
        // Too many for one slice with room: a new one, rather than several written.
        check(&[digests(0..60), digests(60..120)], 0..165, (&[], &[45], &[]));
        // Nothing left of one.
        check(&[digests(0..10), digests(10..20)], 10..20, (&[], &[], &[0]));
        // An empty one that is there stays.
        check(&[vec![]], 0..0, (&[], &[], &[]));
        check(&[vec![]], 0..2, (&[(0, 2)], &[], &[]));
    }

    #[test]
    fn what_an_endpoint_says_is_written_in_its_place() {
        let known = digests(0..2);
        let existing = [Existing { endpoints: &known, is_outdated: false }];
        let packing = pack(&existing, vec![wanted(0, 0), wanted(1, 7)]);
        assert_eq!(packing.update.len(), 1);
        let existing = [Existing { endpoints: &known, is_outdated: true }];
        let packing = pack(&existing, vec![wanted(0, 0), wanted(1, 0)]);
        assert_eq!((packing.update.len(), packing.update[0].1.len()), (1, 2));
    }
}
