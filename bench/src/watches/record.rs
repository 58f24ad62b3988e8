//! What was written, and sequences of events in a few bytes.

use serde::Deserialize;

/// A label that changes, so that objects leave and enter the scopes of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Colour {
    Red,
    Green,
    Blue,
}

/// What an event says happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum What {
    Added,
    Modified,
    Deleted,
    Error,
}

/// One write as its writer knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// The answer of a deletion does not tell it.
    pub(super) revision: Option<u64>,
    /// `None` for a deletion.
    pub(super) colour: Option<Colour>,
}

/// One event as a watch of everything told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) revision: u64,
    pub(super) what: What,
    pub(super) object: usize,
}

/// One write with all that there is to know of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub(super) revision: u64,
    pub(super) object: usize,
    pub(super) before: Option<Colour>,
    pub(super) after: Option<Colour>,
}

/// Events one after the other: two are equal when they hold the same events in the same order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) count: usize,
    digest: u64,
}

impl Colour {
    /// The one after so many changes; other objects begin with others.
    pub(super) const fn of(step: usize) -> Self {
        // Steps of two and one, so that some changes leave the colour as it is.
        match step * 2 / 3 % 3 {
            0 => Self::Red,
            1 => Self::Green,
            _ => Self::Blue,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }
}

impl Sequence {
    pub(super) fn push(&mut self, revision: u64, what: What) {
        self.count += 1;
        let event = (revision << 2) | what as u64;
        // Depends on the order: what came before is turned and multiplied once more.
        self.digest = (self.digest.rotate_left(23) ^ event).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// Compares what a watch of everything told with what each object's writer noted, by object, and answers all changes in order.
///
/// # Errors
/// Names the first object of which something else was told than was written.
pub(super) fn changes(written: &[Vec<Written>], told: &[Told]) -> Result<Vec<Change>, String> {
    let mut done = vec![0_usize; written.len()];
    let mut changes = Vec::with_capacity(told.len());
    for event in told {
        let notes = written.get(event.object).ok_or("a watch told an object that nobody wrote")?;
        let place = done[event.object];
        let before = place.checked_sub(1).and_then(|before| notes[before].colour);
        let note = notes.get(place).ok_or_else(|| format!("{event:?} was not written"))?;
        let what = match (before, note.colour) {
            (None, _) => What::Added,
            (Some(_), Some(_)) => What::Modified,
            (Some(_), None) => What::Deleted,
        };
        if event.what != what || note.revision.is_some_and(|revision| revision != event.revision) {
            return Err(format!("{event:?} was told where {note:?} was written"));
        }
        done[event.object] += 1;
        changes.push(Change { revision: event.revision, object: event.object, before, after: note.colour });
    }
    let lost = done.iter().zip(written).position(|(done, notes)| *done != notes.len());
    match lost {
        Some(object) => Err(format!("changes of object {object} were not told")),
        None => Ok(changes),
    }
}
