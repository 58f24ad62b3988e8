//! What happens when: events in the order of their time, and of their making where times are equal.

use std::collections::BTreeMap;

use dunlin_link::moment::Moment;

/// Events to come.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    events: BTreeMap<(Moment, u64), E>,
    made: u64,
}

impl<E> Agenda<E> {
    pub(crate) const fn new() -> Self {
        Self { events: BTreeMap::new(), made: 0 }
    }

    /// Makes `event` happen at `at`.
    pub(crate) fn at(&mut self, at: Moment, event: E) {
        self.made += 1;
        self.events.insert((at, self.made), event);
    }

    /// The next event and its time.
    pub(crate) fn next(&mut self) -> Option<(Moment, E)> {
        self.events.pop_first().map(|((at, _), event)| (at, event))
    }
}
