//! The `continue` token of a paged list: base64url without padding of a small JSON object, opaque to clients.

use std::fmt;

use dunlin_coordinator_core::base64url;
use dunlin_link::Revision;
use serde::{Deserialize, Serialize};

/// Where the next page starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ContinueToken {
    /// The revision of the first page; `None` goes on with what there is now.
    pub(super) revision: Option<Revision>,
    /// The key after which to go on.
    pub(super) after: String,
}

/// Why a text is no token of this list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenError(String);

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
}

impl ContinueToken {
    /// The token as text; keys are told relative to the list's `prefix`.
    pub(super) fn encode(&self, prefix: &str) -> String {
        let revision = self.revision.and_then(|revision| i64::try_from(revision.0).ok());
        let start = self.after.strip_prefix(prefix).unwrap_or(&self.after).to_owned();
        let wire = Wire { v: VERSION.to_owned(), rv: revision.unwrap_or(NO_REVISION), start };
        base64url::encode(serde_json::to_string(&wire).expect("strings and numbers are JSON").as_bytes())
    }

    /// Reads a token of the list under `prefix`.
    pub(super) fn decode(text: &str, prefix: &str) -> Result<Self, TokenError> {
        let invalid = |why: &dyn fmt::Display| TokenError(format!("continue key is not valid: {why}"));
        let json = base64url::decode(text)
            .map_err(|position| invalid(&format_args!("illegal base64 data at input byte {position}")))?;
        let wire: Wire = serde_json::from_slice(&json).map_err(|_| match json.first() {
            Some(&first) if first != b'{' => invalid(&format_args!(
                "invalid character '{}' looking for beginning of value",
                char::from(first)
            )),
            _ => invalid(&"unexpected end of JSON input"),
        })?;
        if wire.v != VERSION {
            return Err(invalid(&format_args!(
                "server does not recognize this encoded version \"{}\"",
                wire.v
            )));
        }
        if wire.start.is_empty() || wire.start.split('/').any(|part| part == "..") {
            return Err(invalid(&wire.start));
        }
        let revision = match wire.rv {
            0 => {
                return Err(TokenError(
                    "continue key is not valid: incorrect encoded start resourceVersion".into(),
                ));
            }
            rv => u64::try_from(rv).ok().map(Revision),
        };
        Ok(Self { revision, after: format!("{prefix}{}", wire.start) })
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

const VERSION: &str = "meta.k8s.io/v1";
/// Stands for "what there is now" where a revision is expected.
const NO_REVISION: i64 = -1;

#[cfg(test)]
mod tests {
    use proptest::{
        option,
        prelude::{prop_assert, prop_assert_eq, proptest},
    };

    use super::*;

    proptest! {
        #[test]
        fn any_place_round_trips(revision in option::of(1..=u64::MAX >> 1), after in r"[a-z0-9./-]{1,20}") {
            let token = ContinueToken { revision: revision.map(Revision), after: format!("/r/pods/{after}") };
            let read = ContinueToken::decode(&token.encode("/r/pods/"), "/r/pods/");
            let leads_out = after.split('/').any(|part| part == "..");
            prop_assert_eq!(read.ok(), (!leads_out).then_some(token));
        }

        #[test]
        fn what_is_read_stays_under_its_prefix(text in r#"[{}":,a-z0-9./_-]{0,60}"#) {
            for text in [base64url::encode(text.as_bytes()), text] {
                if let Ok(token) = ContinueToken::decode(&text, "/r/pods/") {
                    prop_assert!(token.after.starts_with("/r/pods/") && token.after.len() > "/r/pods/".len());
                }
            }
        }
    }

    #[test]
    fn tokens_round_trip() {
        for (revision, after) in
            [(Some(Revision(7)), "/r/pods/a"), (None, "/r/pods/ns/b.c-d"), (Some(Revision(1)), "/r/pods/xyz")]
        {
            let token = ContinueToken { revision, after: after.to_owned() };
            assert_eq!(ContinueToken::decode(&token.encode("/r/pods/"), "/r/pods/"), Ok(token));
        }
    }

    #[test]
    fn foreign_texts_are_refused_with_a_reason() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                ContinueToken::decode(text, "/").unwrap_err().to_string(),
                format!("continue key is not valid: {expected}")
            );
        };
        check("zzz", "invalid character '\u{cf}' looking for beginning of value");
        check("a*", "illegal base64 data at input byte 1");
        check(
            &base64url::encode(br#"{"v":"x","rv":1,"start":"a"}"#),
            "server does not recognize this encoded version \"x\"",
        );
        check(&base64url::encode(br#"{"v":"meta.k8s.io/v1","rv":1,"start":"../a"}"#), "../a");
        check("", "unexpected end of JSON input");
    }
}
