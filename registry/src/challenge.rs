//! What a registry wants to be shown: the `WWW-Authenticate` header.

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// One way to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from somewhere.
    Bearer {
        /// Where tokens are had.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what, or none.
        scope: Option<String>,
    },
}

/// The ways that an answer offers, in order; what is not known is left out.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().take(CHALLENGES_MAX);
    let texts =
        values.filter_map(|value| value.to_str().ok()).filter(|text| text.len() <= CHALLENGE_BYTES_MAX);
    texts.filter_map(challenge).collect()
}

fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, rest) = text.trim().split_once(' ').unwrap_or_else(|| (text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    for (name, value) in parameters(rest) {
        match name.to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

/// `name="value"` or `name=value`, separated by commas; a backslash in quotes takes the next character as it is.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start_matches([',', ' ', '\t']);
    while let Some((name, after)) = rest.split_once('=') {
        let mut value = String::new();
        let mut chars = after.char_indices();
        let mut end = after.len();
        if after.starts_with('"') {
            chars.next();
            while let Some((at, char)) = chars.next() {
                match char {
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    '\\' => value.extend(chars.next().map(|(_, char)| char)),
                    char => value.push(char),
                }
            }
        } else {
            end = after.find(',').unwrap_or(after.len());
            value.push_str(after[..end].trim());
        }
        parameters.push((name.trim().to_owned(), value));
        rest = after[end..].trim_start_matches([',', ' ', '\t']);
    }
    parameters
}

/// Ways that are looked at.
const CHALLENGES_MAX: usize = 8;
/// Longest one.
const CHALLENGE_BYTES_MAX: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, Option<&str>, Option<&str>)>) {
        let expected = expected.map(|(realm, service, scope)| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        });
        assert_eq!(challenge(text), expected, "{text}");
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let scope = Some("repository:a/b:pull,push");
        check(hub, Some(("https://auth.docker.io/token", Some("registry.docker.io"), scope)));
        check("bearer REALM=\"x\\\"y\" , service=z", Some(("x\"y", Some("z"), None)));
        check("Bearer realm=\"open", Some(("open", None, None)));
        check("Bearer service=\"x\"", None);
        check("Negotiate", None);
        check("Bearer", None);
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
    }
}
