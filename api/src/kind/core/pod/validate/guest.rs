//! Annotations of Dunlin's own that say how WebAssembly guests are run. Nodes read them; a value that a node would refuse is refused
//! here, so that whoever wrote it hears of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::{
    field::{FieldError, Path},
    value::{has, text},
};

/// Rules for the annotations of a pod or a template at `field`.
pub(super) fn check(annotations: &Value, field: &Path, errors: &mut Vec<FieldError>) {
    for (name, rule) in RULES {
        if !has(annotations, name) {
            continue;
        }
        let value = text(annotations, name);
        let detail = match rule {
            Rule::Choice(choices) if !choices.contains(&value) => {
                errors.push(FieldError::not_supported(field.key(name), value, choices));
                continue;
            }
            Rule::Number(most) if !is_number(value, *most) => format!("must be a number from 1 to {most}"),
            Rule::Time([least, most]) if !is_time(value, *least, *most) => {
                format!("must be a time such as `250ms`, `5s` or `2m`, from {least}ms to {}s", most / 1000)
            }
            Rule::Targets if !are_targets(value) => TARGETS.to_owned(),
            _ => continue,
        };
        errors.push(FieldError::invalid(field.key(name), value, &detail));
    }
}

/// What a value has to be.
enum Rule {
    Choice(&'static [&'static str]),
    Number(u64),
    /// Milliseconds.
    Time([u64; 2]),
    Targets,
}

/// All of them, with the bounds that nodes know.
const RULES: &[(&str, Rule)] = &[
    ("dunlin.dev/concurrency", Rule::Number(1024)),
    ("dunlin.dev/egress", Rule::Targets),
    ("dunlin.dev/entry", Rule::Choice(&["http", "run"])),
    ("dunlin.dev/idle-timeout", Rule::Time([0, 3_600_000])),
    ("dunlin.dev/instances", Rule::Number(10_000)),
    ("dunlin.dev/max-reuse", Rule::Number(1_000_000)),
    ("dunlin.dev/request-timeout", Rule::Time([1, 3_600_000])),
];

const TARGETS: &str = "must be at most 64 targets, separated by commas: a name, `*.` and a name, an IPv4 address or range, an IPv6 one \
                       in brackets; and `:PORT` after it if wanted";

fn is_number(value: &str, most: u64) -> bool {
    digits(value).is_some_and(|number| (1..=most).contains(&number))
}

fn is_time(value: &str, least: u64, most: u64) -> bool {
    let unit = value.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return false,
    };
    let millis =
        digits(value.strip_suffix(unit).unwrap_or_default()).and_then(|number| number.checked_mul(factor));
    millis.is_some_and(|millis| (least..=most).contains(&millis))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn are_targets(value: &str) -> bool {
    if value.trim().is_empty() {
        return true;
    }
    value.split(',').count() <= 64 && value.split(',').all(|target| is_target(target.trim()))
}

fn is_target(target: &str) -> bool {
    if let Some(rest) = target.strip_prefix('[') {
        let Some((range, port)) = rest.split_once(']') else { return false };
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return is_port && is_range(range, 128, |address| address.parse::<Ipv6Addr>().is_ok());
    }
    let (host, port) = target.split_once(':').map_or((target, None), |(host, port)| (host, Some(port)));
    port.is_none_or(is_port) && is_host(host)
}

fn is_port(port: &str) -> bool {
    is_number(port, 65_535)
}

fn is_host(host: &str) -> bool {
    if let Some(name) = host.strip_prefix("*.") {
        return is_name(name);
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if host.contains('/') || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return is_range(host, 32, |address| address.parse::<Ipv4Addr>().is_ok());
    }
    is_name(host)
}

fn is_range(range: &str, bits: u64, is_address: impl Fn(&str) -> bool) -> bool {
    match range.split_once('/') {
        Some((address, prefix)) => is_address(address) && digits(prefix).is_some_and(|prefix| prefix <= bits),
        None => is_address(range),
    }
}

/// A DNS name as programs use them, underscores included.
fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_part)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::messages;

    #[test]
    fn values_that_say_nothing_are_refused() {
        let check = |annotations: Value| {
            messages(|errors| check(&annotations, &Path::new("metadata").child("annotations"), errors))
        };
        assert!(check(json!(null)).is_empty());
        let good = json!({
            "dunlin.dev/entry": "http", "dunlin.dev/egress": "", "dunlin.dev/max-reuse": "4", "dunlin.dev/idle-timeout": "0s",
        });
        assert!(check(good).is_empty());
        assert_eq!(
            check(
                json!({"dunlin.dev/concurrency": "0", "dunlin.dev/entry": "Run", "dunlin.dev/request-timeout": "1h"})
            ),
            [
                "metadata.annotations[dunlin.dev/concurrency]: Invalid value: \"0\": must be a number from 1 to 1024",
                "metadata.annotations[dunlin.dev/entry]: Unsupported value: \"Run\": supported values: \"http\", \"run\"",
                "metadata.annotations[dunlin.dev/request-timeout]: Invalid value: \"1h\": must be a time such as `250ms`, `5s` or `2m`, \
                 from 1ms to 3600s",
            ]
        );
        let [refused] = &check(json!({"dunlin.dev/egress": "a, b:0"}))[..] else { panic!("one is refused") };
        assert!(
            refused.starts_with("metadata.annotations[dunlin.dev/egress]: Invalid value: \"a, b:0\""),
            "{refused}"
        );
    }
}
