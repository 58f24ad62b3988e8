//! Sets of indexes as text: `1,3-5,7`.

use std::ops::RangeInclusive;

/// Why a text is no set of indexes; the message is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum IndexesError {
    #[error(
        "the fragment \"{0}\" violates the requirement that an index interval can have at most two parts separated by '-'"
    )]
    Parts(String),
    #[error("cannot convert string to integer for index: \"{0}\"")]
    Number(String),
    #[error("too large index: \"{0}\"")]
    TooLarge(String),
    #[error("non-increasing order, previous: {0}, current: {1}")]
    Order(i64, i64),
}

/// How many indexes a text names, all of them below `completions`.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, IndexesError> {
    let mut total = 0;
    let mut last = None;
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let interval = interval(part, completions)?;
        let (first, end) = (*interval.start(), *interval.end());
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(IndexesError::Order(last, first));
        }
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}

/// The first index that two sets share. What is malformed is passed over.
pub(super) fn overlap(one: &str, other: &str, completions: i64) -> Option<i64> {
    let intervals = |text: &str| -> Vec<RangeInclusive<i64>> {
        text.split(',').filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (one, other) = (intervals(one), intervals(other));
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        let first_shared = *one.start().max(other.start());
        if one.contains(&first_shared) && other.contains(&first_shared) {
            return Some(first_shared);
        }
        if one.start() <= other.start() {
            left.next();
        } else {
            right.next();
        }
    }
    None
}

fn interval(part: &str, completions: i64) -> Result<RangeInclusive<i64>, IndexesError> {
    let number = |text: &str| {
        let number: i64 = text.parse().map_err(|_| IndexesError::Number(text.to_owned()))?;
        if number >= completions { Err(IndexesError::TooLarge(text.to_owned())) } else { Ok(number) }
    };
    match part.split('-').collect::<Vec<_>>().as_slice() {
        [one] => number(one).map(|one| one..=one),
        [first, end] => {
            let (first, end) = (number(first)?, number(end)?);
            if first >= end { Err(IndexesError::Order(first, end)) } else { Ok(first..=end) }
        }
        _ => Err(IndexesError::Parts(part.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_counted() {
        let check = |text: &str, expected: Result<i64, &str>| {
            assert_eq!(
                count(text, 10).map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{text}"
            );
        };
        check("", Ok(0));
        check("1", Ok(1));
        check("1,3-5,7", Ok(5));
        check("10", Err("too large index: \"10\""));
        check("1-10", Err("too large index: \"10\""));
        check("x", Err("cannot convert string to integer for index: \"x\""));
        check("1,", Err("cannot convert string to integer for index: \"\""));
        check("3,2", Err("non-increasing order, previous: 3, current: 2"));
        check("3-3", Err("non-increasing order, previous: 3, current: 3"));
        check(
            "1-2-3",
            Err(
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        );
    }

    #[test]
    fn sets_overlap() {
        let check =
            |one: &str, other: &str, expected: Option<i64>| assert_eq!(overlap(one, other, 10), expected);
        check("", "1", None);
        check("1,3-5", "2,6", None);
        check("1,3-5", "2,5-6", Some(5));
        check("1,x,4", "4", Some(4));
    }
}
