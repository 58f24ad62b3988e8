//! Where a pod's guests may connect to: the value of the annotation `dunlin.dev/egress`.
//!
//! Targets, separated by commas, each a host and, if it is to be one port only, `:PORT`. A host is a name (`api.example.com`), all names
//! below one (`*.example.com`), an address or a range of addresses (`10.0.0.0/8`; IPv6 in brackets: `[fd00::/8]:443`). No target at
//! all means nowhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Hosts and, if it says so, one port of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressTarget {
    /// Which.
    pub host: EgressHost,
    /// The only port; `None` is any.
    pub port: Option<u16>,
}

/// Hosts of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressHost {
    /// One name, in lower case.
    Name(String),
    /// All names below this one, in lower case.
    Below(String),
    /// All addresses that begin with as many bits of this one.
    Range {
        /// The first of them.
        address: IpAddr,
        /// Bits.
        prefix: u8,
    },
}

/// Why a value is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Longer than [`TARGETS_MAX`].
    #[error("must not have more than {TARGETS_MAX} targets")]
    TooMany,
    /// A target that none of the forms fits.
    #[error(
        "`{0}` is no target: a name, `*.` and a name, an address or a range of them, and `:PORT` after it if wanted"
    )]
    Target(String),
}

/// Reads the annotation's value.
///
/// # Errors
/// When some part of it is no target.
pub fn parse(value: &str) -> Result<Vec<EgressTarget>, EgressError> {
    if value.trim().is_empty() {
        return Ok(Vec::new());
    }
    if value.split(',').count() > TARGETS_MAX {
        return Err(EgressError::TooMany);
    }
    let target =
        |text: &str| target(text).ok_or_else(|| EgressError::Target(text.chars().take(SHOWN_MAX).collect()));
    value.split(',').map(str::trim).map(target).collect()
}

fn target(text: &str) -> Option<EgressTarget> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']')?;
        let host = range::<Ipv6Addr>(inside, 128)?;
        let port = match after.strip_prefix(':') {
            Some(text) => Some(port(text)?),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some(EgressTarget { host, port });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, text)) => (host, Some(port(text)?)),
        None => (text, None),
    };
    Some(EgressTarget { host: self::host(host)?, port })
}

fn host(text: &str) -> Option<EgressHost> {
    if let Some(name) = text.strip_prefix("*.") {
        return is_name(name).then(|| EgressHost::Below(name.to_ascii_lowercase()));
    }
    // What ends in a number is an address, or nothing.
    let last = text.rsplit('.').next().unwrap_or_default();
    if text.contains('/') || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return range::<Ipv4Addr>(text, 32);
    }
    is_name(text).then(|| EgressHost::Name(text.to_ascii_lowercase()))
}

fn range<A: std::str::FromStr + Into<IpAddr>>(text: &str, bits: u8) -> Option<EgressHost> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, number(prefix).and_then(|bits| u8::try_from(bits).ok())?),
        None => (text, bits),
    };
    let address: A = address.parse().ok()?;
    (prefix <= bits).then(|| EgressHost::Range { address: address.into(), prefix })
}

fn port(text: &str) -> Option<u16> {
    number(text).filter(|port| *port > 0)
}

/// Digits alone, as [`str::parse`] does not have it.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty()
            && label.len() <= LABEL_BYTES_MAX
            && label.bytes().all(is_part)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= NAME_BYTES_MAX && name.split('.').all(is_label)
}

/// Targets of a pod: each connection is compared with all.
pub const TARGETS_MAX: usize = 64;

/// Characters of a target in a message.
const SHOWN_MAX: usize = 64;

/// DNS' bound on a name.
const NAME_BYTES_MAX: usize = 253;

/// DNS' bound on a part of a name.
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: &[(EgressHost, Option<u16>)]) {
        let targets = parse(value).unwrap().into_iter().map(|target| (target.host, target.port));
        assert_eq!(targets.collect::<Vec<_>>(), expected, "{value}");
    }

    fn range(address: &str, prefix: u8) -> EgressHost {
        EgressHost::Range { address: address.parse().unwrap(), prefix }
    }

    #[test]
    fn targets_are_names_and_ranges_with_ports() {
        check("", &[]);
        check("  ", &[]);
        check(
            "API.example.com:443, *.x",
            &[
                (EgressHost::Name("api.example.com".to_owned()), Some(443)),
                (EgressHost::Below("x".to_owned()), None),
            ],
        );
        check("10.0.0.0/8,192.0.2.1:53", &[(range("10.0.0.0", 8), None), (range("192.0.2.1", 32), Some(53))]);
        check("[fd00::/8]:443,[::1]", &[(range("fd00::", 8), Some(443)), (range("::1", 128), None)]);
    }

    #[test]
    fn what_is_no_target_is_named() {
        for value in [
            "a,,b",
            ",",
            "*",
            "*.",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a b",
            "-a",
            "a..b",
            "300.1.1.1",
            "10.0.0.0/33",
            "10.0.0.0/",
            "::1",
            "[::1",
            "[::1]x",
            "[::1/129]",
            "[10.0.0.1]",
            "http://a",
            "a/8",
            "a:1:2",
        ] {
            assert!(matches!(parse(value), Err(EgressError::Target(_))), "{value}");
        }
        assert_eq!(parse(&"a,".repeat(64)), Err(EgressError::TooMany));
    }
}
