//! How pods of an old revision make way: by their end before the next comes, or beside it.
//!
//! Places are asked in the order of their names. Who counts as missing is decided in one place for either way, so that nodes which are
//! offline can be counted apart there.

use super::{
    Look, Pod,
    places::{Place, Places},
};

/// Takes as many pods away, or lets as many further ones come, as the limits allow.
pub(super) fn update(look: &mut Look<'_>, places: &Places) {
    let Some(rolling) = look.set.rolling else { return };
    let desired = places.desired();
    let max_surge = rolling.max_surge.of_all(desired);
    let mut max_unavailable = rolling.max_unavailable.of_all(desired);
    if desired > 0 && max_unavailable == 0 && max_surge == 0 {
        max_unavailable = 1;
    }
    if max_surge == 0 { replace(look, places, max_unavailable) } else { surge(look, places, max_surge) }
}

/// What a place holds: at most one pod of either revision.
enum Held<'a> {
    /// More than that; what is too much goes first.
    TooMany,
    None,
    New(&'a Pod),
    Old(&'a Pod),
    Both {
        new: &'a Pod,
        old: &'a Pod,
    },
}

impl<'a> Held<'a> {
    fn by(look: &Look<'_>, place: &'a Place) -> Self {
        let (mut new, mut old) = (None, None);
        for pod in place.pods.iter().filter(|(_, pod)| pod.deletion.is_none()) {
            let known = if look.is_updated(&pod.1) { &mut new } else { &mut old };
            if known.replace(pod).is_some() {
                return Self::TooMany;
            }
        }
        match (new, old) {
            (None, None) => Self::None,
            (Some(new), None) => Self::New(new),
            (None, Some(old)) => Self::Old(old),
            (Some(new), Some(old)) => Self::Both { new, old },
        }
    }
}

/// Places that count: those that should have a pod, and those that have one. Nodes that are offline use nothing up, and have their turn when
/// they are seen again.
fn counted(places: &Places) -> impl Iterator<Item = (&str, &Place)> {
    let counts = |(_, place): &(_, &Place)| !place.is_deferred && (place.runs() || !place.pods.is_empty());
    places.by_node.iter().map(|(node, place)| (node.as_str(), place)).filter(counts)
}

/// Deletes old pods that serve nobody, and of the others as many as may be missing.
fn replace(look: &mut Look<'_>, places: &Places, max_unavailable: i64) {
    let (mut unavailable, mut useless, mut serving) = (0, Vec::new(), Vec::new());
    for (_, place) in counted(places) {
        match Held::by(look, place) {
            Held::New(new) if look.is_available(&new.1) => {}
            Held::TooMany | Held::None | Held::Both { .. } | Held::New(_) => unavailable += 1,
            Held::Old(old) if look.is_available(&old.1) => serving.push(old),
            Held::Old(old) => {
                useless.push(old);
                unavailable += 1;
            }
        }
    }
    let left = usize::try_from(max_unavailable - unavailable).unwrap_or(0);
    useless.extend(serving.into_iter().take(left));
    look.sync(Vec::new(), &useless);
}

/// Lets new pods come beside old ones, and deletes the old ones once the new ones serve.
fn surge(look: &mut Look<'_>, places: &Places, max_surge: i64) {
    let (mut doomed, mut misplaced) = (Vec::new(), Vec::new());
    let (mut allowed, mut candidates) = (Vec::new(), Vec::new());
    let (mut surging, mut available) = (0, 0);
    for (node, place) in counted(places) {
        let held = Held::by(look, place);
        let counts = match held {
            Held::Old(pod) | Held::New(pod) | Held::Both { old: pod, .. } => look.is_available(&pod.1),
            Held::TooMany | Held::None => false,
        };
        available += i64::from(counts);
        match held {
            Held::TooMany => surging += 1,
            Held::None | Held::New(_) => {}
            Held::Both { new, old } if look.is_available(&new.1) => doomed.push(old),
            Held::Both { .. } => surging += 1,
            Held::Old(old) if !place.runs() => {
                let list = if look.is_available(&old.1) { &mut misplaced } else { &mut doomed };
                list.push(old);
            }
            Held::Old(old) if look.is_available(&old.1) => candidates.push(node.to_owned()),
            Held::Old(_) => allowed.push(node.to_owned()),
        }
    }
    // On a node that is no longer for the set a pod serves until enough others do.
    let spare = usize::try_from(available - places.desired()).unwrap_or(0);
    doomed.extend(misplaced.into_iter().take(spare));
    let left = usize::try_from(max_surge - surging).unwrap_or(0);
    allowed.extend(candidates.into_iter().take(left));
    look.sync(allowed, &doomed);
}
