//! Who waits for changes of which keys, so that a commit wakes the watches that it concerns and no others.

use std::{collections::HashMap, sync::Arc};

use dunlin_link::Revision;
use tokio::sync::Notify;

use crate::store::WatchEvent;

/// All watches of a store, by the folder, or the key, of what they watch.
#[derive(Debug, Default)]
pub(super) struct Interests {
    folders: HashMap<Box<str>, HashMap<u64, Interest>>,
    next_id: u64,
}

/// What a watch is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched<'a> {
    /// All keys under it.
    Prefix(&'a str),
    /// One key.
    Key(&'a str),
}

/// A watch's place in [`Interests`].
#[derive(Debug)]
pub(super) struct Place {
    folder: Box<str>,
    id: u64,
    woken: Arc<Notify>,
}

/// Watches to be woken.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Concerned(Vec<Arc<Notify>>);

#[derive(Debug)]
struct Interest {
    /// The first change that may concern the watch and that it has not been told to look at.
    from: Option<Revision>,
    woken: Arc<Notify>,
}

impl Interests {
    /// Takes in a watch, which nothing concerns yet.
    pub(super) fn enter(&mut self, watched: Watched<'_>) -> Place {
        let place = Place { folder: watched.folder().into(), id: self.next_id, woken: Arc::default() };
        self.next_id += 1;
        let interest = Interest { from: None, woken: Arc::clone(&place.woken) };
        self.folders.entry(place.folder.clone()).or_default().insert(place.id, interest);
        place
    }

    /// Forgets a watch.
    pub(super) fn leave(&mut self, place: &Place) {
        if let Some(watches) = self.folders.get_mut(&place.folder) {
            watches.remove(&place.id);
            if watches.is_empty() {
                self.folders.remove(&place.folder);
            }
        }
    }

    /// Notes new changes, oldest first, and answers whom they concern and who does not know it yet.
    pub(super) fn note(&mut self, events: &[WatchEvent]) -> Concerned {
        let mut concerned = Concerned::default();
        for event in events {
            for folder in folders(&event.key) {
                let Some(watches) = self.folders.get_mut(folder) else { continue };
                for interest in watches.values_mut().filter(|interest| interest.from.is_none()) {
                    interest.from = Some(event.revision);
                    concerned.0.push(Arc::clone(&interest.woken));
                }
            }
        }
        concerned
    }

    /// The first change that concerns a watch; it and all later ones until now are the watch's business from here on.
    pub(super) fn take(&mut self, place: &Place) -> Option<Revision> {
        self.folders.get_mut(&place.folder)?.get_mut(&place.id)?.from.take()
    }

    /// Whether nothing concerns a watch that it has not taken.
    pub(super) fn is_quiet(&self, place: &Place) -> bool {
        let interest = self.folders.get(&place.folder).and_then(|watches| watches.get(&place.id));
        interest.is_none_or(|interest| interest.from.is_none())
    }

    /// Everyone, whatever concerns them.
    pub(super) fn everyone(&self) -> Concerned {
        let watches = self.folders.values().flat_map(HashMap::values);
        Concerned(watches.map(|interest| Arc::clone(&interest.woken)).collect())
    }
}

impl Place {
    /// Waits until something may concern the watch.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Concerned {
    /// Lets them look. Whoever does not wait at this moment will not wait when it next would.
    pub(super) fn wake(self) {
        for watch in self.0 {
            watch.notify_one();
        }
    }
}

impl<'a> Watched<'a> {
    /// The key, or what keys under the prefix start with.
    pub(super) const fn prefix(self) -> &'a str {
        match self {
            Self::Prefix(text) | Self::Key(text) => text,
        }
    }

    /// The folder that holds all keys under a prefix: one that ends within a name is woken for its neighbours, too. Keys are their own
    /// folders here: none ends with a slash.
    fn folder(self) -> &'a str {
        match self {
            Self::Prefix(prefix) => prefix.rfind('/').map_or("", |slash| &prefix[..=slash]),
            Self::Key(key) => key,
        }
    }
}

/// All folders that a key is in, and itself.
fn folders(key: &str) -> impl Iterator<Item = &str> {
    let folders = key.match_indices('/').map(|(slash, _)| &key[..=slash]);
    std::iter::once("").chain(folders).chain(std::iter::once(key).filter(|key| !key.ends_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(key: &str, revision: u64) -> WatchEvent {
        WatchEvent { key: key.to_owned(), revision: Revision(revision), value: None, previous: None }
    }

    #[test]
    fn a_change_concerns_watches_of_its_folders_once() {
        let mut interests = Interests::default();
        let prefixes = ["", "/", "/a/", "/a/b/", "/a/b/x", "/c/", "/a/b/c/"];
        let places = prefixes.map(|prefix| interests.enter(Watched::Prefix(prefix)));
        let keys = ["/a/b/z", "/a/b"].map(|key| interests.enter(Watched::Key(key)));
        let concerned = interests.note(&[event("/a/b/xy", 3), event("/a/b/z", 4)]);
        assert_eq!(concerned.0.len(), 6);
        assert_eq!(interests.note(&[event("/a/b/xy", 5)]).0.len(), 0, "they know already");
        let taken: Vec<_> = places.iter().map(|place| interests.take(place)).collect();
        let three = Some(Revision(3));
        assert_eq!(taken, [three, three, three, three, three, None, None]);
        assert_eq!(keys.each_ref().map(|place| interests.take(place)), [Some(Revision(4)), None]);
        assert!(interests.is_quiet(&places[0]));
        assert_eq!(interests.note(&[event("/c/d", 6)]).0.len(), 3);
        assert!(!interests.is_quiet(&places[0]));
        assert_eq!(interests.everyone().0.len(), places.len() + keys.len());
        for place in places.iter().chain(&keys) {
            interests.leave(place);
        }
        assert!(interests.folders.is_empty());
    }
}
