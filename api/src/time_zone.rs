//! Names of time zones.

/// Why a text names no time zone; the message is Kubernetes' own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeZoneError {
    #[error("timeZone must be nil or non-empty string")]
    Empty,
    #[error("unknown time zone {0}")]
    Unknown(String),
    #[error("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")]
    Local,
}

/// Whether a text names a time zone of the IANA database.
pub(crate) fn check(name: &str) -> Result<(), TimeZoneError> {
    if name.is_empty() {
        return Err(TimeZoneError::Empty);
    }
    if name.eq_ignore_ascii_case("local") {
        return Err(TimeZoneError::Local);
    }
    let is_known =
        name.len() <= NAME_LIMIT_BYTES && NAMES.split_ascii_whitespace().any(|known| known == name);
    if is_known { Ok(()) } else { Err(TimeZoneError::Unknown(name.to_owned())) }
}

/// Every zone and link of the IANA time zone database, which is in the public domain. Names are only ever added to it.
const NAMES: &str = include_str!("time_zones.txt");

/// No name is as long; a longer text need not be looked for.
const NAME_LIMIT_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    #[test]
    fn names() {
        let check = |name: &str, expected: &str| {
            let found = super::check(name).map_or_else(|error| error.to_string(), |()| String::new());
            assert_eq!(found, expected, "{name}");
        };
        for known in ["UTC", "Etc/UTC", "Europe/Zurich", "America/Argentina/Buenos_Aires", "GMT+0"] {
            check(known, "");
        }
        check("", "timeZone must be nil or non-empty string");
        check("Mars/Base", "unknown time zone Mars/Base");
        check("../etc/passwd", "unknown time zone ../etc/passwd");
        check("europe/zurich", "unknown time zone europe/zurich");
        check(
            "local",
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    }
}
