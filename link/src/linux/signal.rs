//! Signals of Linux by name and number, as pods and images write them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A signal by its number on all architectures that nodes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signal(pub u8);

/// A text that names no signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signal is called so")]
pub struct BadSignal;

impl Signal {
    /// What asks a process to end.
    pub const TERM: Self = Self(15);
}

impl FromStr for Signal {
    type Err = BadSignal;

    /// A name in capitals with or without `SIG`, `RTMIN` and `RTMAX` with or without a distance, or a number.
    fn from_str(text: &str) -> Result<Self, BadSignal> {
        if let Ok(number) = text.parse() {
            return if (1..=RTMAX).contains(&number) { Ok(Self(number)) } else { Err(BadSignal) };
        }
        let name = text.strip_prefix("SIG").unwrap_or(text);
        if let Some(above) = name.strip_prefix("RTMIN") {
            let number = RTMIN + distance(above, '+')?;
            return Ok(Self(number));
        }
        if let Some(below) = name.strip_prefix("RTMAX") {
            return Ok(Self(RTMAX - distance(below, '-')?));
        }
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, number)| Self(*number)).ok_or(BadSignal)
    }
}

/// `+3` or `-3`, or nothing.
fn distance(text: &str, sign: char) -> Result<u8, BadSignal> {
    if text.is_empty() {
        return Ok(0);
    }
    let digits = text.strip_prefix(sign).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let number: Option<u8> = digits.and_then(|digits| digits.parse().ok());
    number.filter(|number| *number <= RTMAX - RTMIN).ok_or(BadSignal)
}

/// The first signal that the C libraries leave to programs.
const RTMIN: u8 = 34;

/// The last of all.
const RTMAX: u8 = 64;

/// signal(7): x86, ARM and most others have the same numbers.
const NAMES: [(&str, u8); 35] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        let check = |text: &str, expected: Option<u8>| {
            assert_eq!(text.parse().ok(), expected.map(Signal), "{text}");
        };
        check("SIGTERM", Some(15));
        check("QUIT", Some(3));
        check("9", Some(9));
        check("SIGRTMIN", Some(34));
        check("SIGRTMIN+3", Some(37));
        check("RTMAX-14", Some(50));
        check("SIGRTMAX", Some(64));
        for bad in
            ["", "SIG", "0", "65", "-1", "+9x", "sigterm", "SIGRTMIN+31", "SIGRTMIN-1", "RTMAX-+1", "RTMIN+"]
        {
            check(bad, None);
        }
    }
}
