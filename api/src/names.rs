//! The forms that names, keys and values must have, each answering Kubernetes' messages for what is wrong (none when fine).

use std::{borrow::Cow, net::IpAddr};

/// How a kind's `metadata.name` must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// DNS subdomain: lower case, digits, `-` and `.`, up to 253 bytes.
    Subdomain,
    /// DNS label: lower case, digits and `-`, up to 63 bytes.
    Label,
    /// Anything that can be one segment of a path.
    PathSegment,
    /// A DNS label too, with the words that Kubernetes has for names of Services.
    Service,
    /// An IP address.
    IpAddress,
}

impl NameRule {
    /// Problems of `name` under this rule. A prefix (generateName) may end in `-`.
    pub(crate) fn check(self, name: &str) -> Vec<Cow<'static, str>> {
        match self {
            Self::Subdomain => dns_subdomain(name),
            Self::Label => dns_label(name),
            Self::PathSegment => path_segment(name),
            Self::Service => service_name(name),
            Self::IpAddress => ip_address(name),
        }
    }

    /// Problems of `prefix` as a `generateName`.
    pub(crate) fn check_prefix(self, prefix: &str) -> Vec<Cow<'static, str>> {
        match prefix.strip_suffix('-') {
            // A trailing dash is completed by the generated suffix.
            Some(stem) if !stem.is_empty() => self.check(&format!("{stem}a")),
            _ => self.check(prefix),
        }
    }
}

/// What can be one segment of a path.
pub(crate) fn path_segment(value: &str) -> Vec<Cow<'static, str>> {
    let reserved = [".", ".."].into_iter().filter(|reserved| *reserved == value);
    let parts = ["/", "%"].into_iter().filter(|part| value.contains(part));
    let reserved = reserved.map(|name| format!("may not be '{name}'").into());
    reserved.chain(parts.map(|part| format!("may not contain '{part}'").into())).collect()
}

/// RFC 1123 subdomain.
pub(crate) fn dns_subdomain(value: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    if value.len() > SUBDOMAIN_LIMIT {
        problems.push(max_length(SUBDOMAIN_LIMIT, Unit::Bytes));
    }
    if !value.split('.').all(is_dns_label) {
        problems.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
             and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .into(),
        );
    }
    problems
}

/// RFC 1123 label.
pub(crate) fn dns_label(value: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    if value.len() > LABEL_LIMIT {
        problems.push(max_length(LABEL_LIMIT, Unit::Bytes));
    }
    if !is_dns_label(value) {
        problems.push(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
             with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
                .into(),
        );
    }
    problems
}

/// The name of a Service.
pub(crate) fn service_name(value: &str) -> Vec<Cow<'static, str>> {
    if value.contains('.') {
        return vec!["must not contain dots".into()];
    }
    if value.len() > LABEL_LIMIT && is_dns_label(value) {
        return vec![max_length(LABEL_LIMIT, Unit::Characters)];
    }
    dns_label(value)
}

/// An IP address in the one form that Kubernetes writes it in.
fn ip_address(value: &str) -> Vec<Cow<'static, str>> {
    match value.parse::<IpAddr>() {
        Ok(address) if address.to_string() == value => Vec::new(),
        Ok(address) => vec![format!("must be in canonical form (\"{address}\")").into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// A domain and a path below it: `example.com/controller`.
pub(crate) fn domain_prefixed_path(value: &str) -> Vec<Cow<'static, str>> {
    let Some((domain, path)) = value.split_once('/') else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()];
    };
    if domain.is_empty() || path.is_empty() {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".into()];
    }
    let mut problems: Vec<Cow<'static, str>> =
        dns_subdomain(domain).into_iter().map(|problem| format!("prefix part {problem}").into()).collect();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(allowed) {
        problems
            .push("Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')".into());
    }
    problems
}

/// A DNS subdomain of which the first label is `*`.
pub(crate) fn wildcard_subdomain(value: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    if value.len() > SUBDOMAIN_LIMIT {
        problems.push(max_length(SUBDOMAIN_LIMIT, Unit::Bytes));
    }
    if !value.strip_prefix("*.").is_some_and(|rest| rest.split('.').all(is_dns_label)) {
        problems.push(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of \
             lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex \
             used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
                .into(),
        );
    }
    problems
}

/// A domain name of at least two labels, with or without the dot at its end.
pub(crate) fn fully_qualified_domain_name(value: &str) -> Vec<Cow<'static, str>> {
    let name = value.strip_suffix('.').unwrap_or(value);
    let mut problems = dns_subdomain(name);
    if problems.is_empty() && !name.contains('.') {
        problems.push("should be a domain with at least two segments separated by dots".into());
    }
    problems
}

/// A key with an optional DNS prefix: label and annotation keys, finalizers, condition types, resource names.
pub(crate) fn qualified_name(value: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    let mut parts = value.split('/');
    let (prefix, name) = match (parts.next(), parts.next(), parts.next()) {
        (Some(name), None, None) => (None, name),
        (Some(prefix), Some(name), None) => (Some(prefix), name),
        _ => {
            problems.push(
                "a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                 alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                 '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')"
                    .into(),
            );
            return problems;
        }
    };
    match prefix {
        Some("") => problems.push("prefix part must be non-empty".into()),
        Some(prefix) => {
            problems.extend(
                dns_subdomain(prefix).into_iter().map(|problem| format!("prefix part {problem}").into()),
            );
        }
        None => {}
    }
    if name.is_empty() {
        problems.push("name part must be non-empty".into());
    } else if name.len() > LABEL_LIMIT {
        problems.push(format!("name part {}", max_length(LABEL_LIMIT, Unit::Bytes)).into());
    }
    if !is_label_text(name) {
        problems.push(
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
             character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
             '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
                .into(),
        );
    }
    problems
}

/// A label's value.
pub(crate) fn label_value(value: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    if value.len() > LABEL_LIMIT {
        problems.push(max_length(LABEL_LIMIT, Unit::Bytes));
    }
    if !value.is_empty() && !is_label_text(value) {
        problems.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and \
             end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .into(),
        );
    }
    problems
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_key(key: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    if key.len() > SUBDOMAIN_LIMIT {
        problems.push(max_length(SUBDOMAIN_LIMIT, Unit::Bytes));
    }
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        problems.push(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or \
             'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
                .into(),
        );
    }
    if key == "." {
        problems.push("must not be '.'".into());
    } else if key == ".." {
        problems.push("must not be '..'".into());
    } else if key.starts_with("..") {
        problems.push("must not start with '..'".into());
    }
    problems
}

/// The name of an environment variable.
pub(crate) fn env_var_name(name: &str) -> Vec<Cow<'static, str>> {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'=';
    if !name.is_empty() && name.bytes().all(printable) {
        return Vec::new();
    }
    vec![
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
            .into(),
    ]
}

/// The name of a port.
pub(crate) fn port_name(name: &str) -> Vec<Cow<'static, str>> {
    let mut problems = Vec::new();
    if name.len() > PORT_NAME_LIMIT {
        problems.push(max_length(PORT_NAME_LIMIT, Unit::Characters));
    }
    if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
        problems.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".into());
    }
    if !name.bytes().any(|byte| byte.is_ascii_lowercase()) {
        problems.push("must contain at least one letter (a-z)".into());
    }
    if name.contains("--") {
        problems.push("must not contain consecutive hyphens".into());
    }
    if name.starts_with('-') || name.ends_with('-') {
        problems.push("must not begin or end with a hyphen".into());
    }
    problems
}

#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Characters,
}

fn max_length(limit: usize, unit: Unit) -> Cow<'static, str> {
    let unit = match unit {
        Unit::Bytes => "bytes",
        Unit::Characters => "characters",
    };
    format!("must be no more than {limit} {unit}").into()
}

fn is_dns_label(value: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !value.is_empty() && value.bytes().all(inner) && !value.starts_with('-') && !value.ends_with('-')
}

fn is_label_text(value: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    ends(value.as_bytes().first()) && ends(value.as_bytes().last()) && value.bytes().all(inner)
}

const SUBDOMAIN_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;
const PORT_NAME_LIMIT: usize = 15;
