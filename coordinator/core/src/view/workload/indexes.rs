//! A set of a Job's indexes, written as `1,3-5,7`.

use std::fmt;

/// Indexes in their order, as ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes {
    ranges: Vec<(u32, u32)>,
}

impl Indexes {
    /// Reads what was written; what is no range is left out.
    pub fn parse(text: &str) -> Self {
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        };
        let mut indexes = Self::default();
        for (first, last) in text.split(',').filter_map(range) {
            if first <= last {
                indexes.ranges.push((first, last));
            }
        }
        indexes.ranges.sort_unstable();
        indexes.join();
        indexes
    }

    /// Adds one.
    pub fn insert(&mut self, index: u32) {
        let position = self.ranges.partition_point(|(_, last)| *last < index);
        if self.ranges.get(position).is_none_or(|(first, _)| index < *first) {
            self.ranges.insert(position, (index, index));
            self.join();
        }
    }

    /// Takes out those that are not below `end`.
    pub fn truncate(&mut self, end: u32) {
        self.ranges.retain(|(first, _)| *first < end);
        if let Some((_, last)) = self.ranges.last_mut() {
            *last = (*last).min(end.saturating_sub(1));
        }
    }

    /// Whether it is one of them.
    pub fn contains(&self, index: u32) -> bool {
        let position = self.ranges.partition_point(|(_, last)| *last < index);
        self.ranges.get(position).is_some_and(|(first, _)| *first <= index)
    }

    /// How many there are.
    pub fn len(&self) -> i64 {
        self.ranges.iter().map(|(first, last)| i64::from(*last) - i64::from(*first) + 1).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many of them are in `other` too.
    pub fn common(&self, other: &Self) -> i64 {
        let overlap = |(first, last): &(u32, u32), (from, to): &(u32, u32)| {
            (i64::from(*last.min(to)) - i64::from(*first.max(from)) + 1).max(0)
        };
        self.ranges.iter().flat_map(|own| other.ranges.iter().map(move |range| overlap(own, range))).sum()
    }

    fn join(&mut self) {
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges.drain(..) {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => joined.push((first, last)),
            }
        }
        self.ranges = joined;
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                // Kubernetes writes two neighbours apart.
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_ranges() {
        let check = |text: &str, written: &str, len| {
            let indexes = Indexes::parse(text);
            assert_eq!(indexes.to_string(), written);
            assert_eq!(indexes.len(), len);
        };
        check("", "", 0);
        check("3", "3", 1);
        check("1,2", "1,2", 2);
        check("0-2,3,7", "0-3,7", 5);
        check("7,0-1,x,5-4", "0,1,7", 3);
    }

    #[test]
    fn one_more_joins_what_it_touches() {
        let mut indexes = Indexes::default();
        for index in [5, 1, 3, 2, 5] {
            indexes.insert(index);
        }
        assert_eq!(indexes.to_string(), "1-3,5");
        assert!(indexes.contains(2) && indexes.contains(5) && !indexes.contains(4) && !indexes.contains(0));
        assert_eq!(indexes.common(&Indexes::parse("0-2,5-9")), 3);
        indexes.truncate(3);
        assert_eq!(indexes.to_string(), "1,2");
    }
}
