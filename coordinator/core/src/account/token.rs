//! Tokens of service accounts: what they say, how they are written, and when they count.
//!
//! A token is a JSON Web Token with the claims of Kubernetes 1.36, signed with ES256. Signing and checking signatures is the shell's;
//! so is whether what a token names is still there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::base64url;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is.
    #[serde(default, deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// When it ends, in seconds.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// Its own id.
    #[serde(default)]
    pub jti: String,
    /// What Kubernetes adds.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: Bound,
    /// When it begins.
    #[serde(default)]
    pub nbf: i64,
    /// The user.
    pub sub: String,
}

/// What a token is bound to: it counts only as long as all of this is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Of the account and all that is namespaced.
    pub namespace: String,
    /// The node of the pod, or the node that it is bound to when there is no pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Named>,
    /// The pod it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Named>,
    /// The secret it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Named>,
    /// The account.
    pub serviceaccount: Named,
    /// When whoever uses it should have asked for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// Name and uid of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`; empty for a node that was not there when the token was issued.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// A token taken apart; its signature is not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified<'a> {
    /// What is signed.
    pub signed: &'a str,
    /// Which key signed it, by its own word; may be empty.
    pub key_id: String,
    /// The signature's bytes.
    pub signature: Vec<u8>,
    /// What it says.
    pub claims: Claims,
}

/// Why a token does not count; Kubernetes' words, where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token of this cluster's service accounts.
    #[error("invalid bearer token")]
    Foreign,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    NotYet,
    /// It is for somebody else.
    #[error("token audiences {found} is invalid for the target audiences {wanted}")]
    Audience {
        /// For whom it is, as Go prints a list.
        found: String,
        /// For whom it should be.
        wanted: String,
    },
}

impl Claims {
    /// Checks the time and the audience: answers for whom of `wanted` the token is.
    ///
    /// # Errors
    /// When it is not of now, or for none of them.
    pub fn check(&self, now: Timestamp, wanted: &[String]) -> Result<Vec<String>, TokenError> {
        let now = now.as_second();
        if now > self.exp {
            return Err(TokenError::Expired);
        }
        if now < self.nbf {
            return Err(TokenError::NotYet);
        }
        let shared: Vec<String> =
            self.aud.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
        if shared.is_empty() {
            let list = |values: &[String]| crate::authorizer::covers::quoted(values);
            return Err(TokenError::Audience { found: list(&self.aud), wanted: list(wanted) });
        }
        Ok(shared)
    }

    /// The text that is signed with the key `key_id`; the token is this, a dot, and the signature.
    pub fn to_signed(&self, key_id: &str) -> String {
        let header = serde_json::json!({ "alg": ALGORITHM, "kid": key_id }).to_string();
        let claims = serde_json::to_string(self).expect("claims are strings and numbers");
        format!("{}.{}", base64url::encode(header.as_bytes()), base64url::encode(claims.as_bytes()))
    }
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it cannot be one of ours.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Foreign);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Foreign)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Foreign)?;
        // There is one text for a token: bits of it that say nothing are zero (RFC 4648, section 3.5), so nobody makes a second one.
        let decode = |text: &str| {
            let bytes = base64url::decode(text).map_err(|_| TokenError::Foreign)?;
            if base64url::encode(&bytes) == text { Ok(bytes) } else { Err(TokenError::Foreign) }
        };
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Foreign)?;
        if header.alg != ALGORITHM {
            return Err(TokenError::Foreign);
        }
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Foreign)?;
        Ok(Self { signed, key_id: header.kid, signature: decode(signature)?, claims })
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(audience) => vec![audience],
        Audience::Many(audiences) => audiences,
    })
}

/// ECDSA over P-256 with SHA-256.
const ALGORITHM: &str = "ES256";

/// Longest token that is looked at: claims with the longest names, and a good many audiences.
const TOKEN_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{any, prop_assert, prop_assert_eq, proptest},
    };

    use super::*;

    proptest! {
        #[test]
        fn a_changed_token_is_refused_or_says_what_is_signed(
            changes in vec((any::<u16>(), r"[A-Za-z0-9_.-]"), 1..4),
            cut in any::<u16>(),
        ) {
            let token = format!("{}.{}", claims().to_signed("k"), base64url::encode(b"signature"));
            let mut changed: Vec<u8> = token.into_bytes();
            for (place, letter) in changes {
                let place = usize::from(place) % changed.len();
                changed[place] = letter.as_bytes()[0];
            }
            changed.truncate(changed.len() - usize::from(cut) % 8);
            let changed = String::from_utf8(changed).unwrap();
            if let Ok(read) = Unverified::parse(&changed) {
                prop_assert!(changed.starts_with(read.signed));
                let (_, body) = read.signed.split_once('.').unwrap();
                let said: Claims = serde_json::from_slice(&base64url::decode(body).unwrap()).unwrap();
                prop_assert_eq!(said, read.claims);
            }
        }

        #[test]
        fn no_text_is_too_strange_to_be_refused(text in r"[A-Za-z0-9_.=-]{0,40}|\PC{0,20}") {
            drop(Unverified::parse(&text));
        }
    }

    fn claims() -> Claims {
        let named = |name: &str| Named { name: name.to_owned(), uid: format!("uid-{name}") };
        Claims {
            aud: vec!["api".to_owned(), "vault".to_owned()],
            exp: 2_000,
            iat: 1_000,
            iss: "https://issuer".to_owned(),
            jti: "id".to_owned(),
            kubernetes: Bound {
                namespace: "ns".to_owned(),
                node: None,
                pod: Some(named("p")),
                secret: None,
                serviceaccount: named("sa"),
                warnafter: None,
            },
            nbf: 1_000,
            sub: "system:serviceaccount:ns:sa".to_owned(),
        }
    }

    #[test]
    fn tokens_say_what_kubernetes_says() {
        let signed = claims().to_signed("k");
        let (header, body) = signed.split_once('.').unwrap();
        let text = |part: &str| String::from_utf8(base64url::decode(part).unwrap()).unwrap();
        assert_eq!(text(header), r#"{"alg":"ES256","kid":"k"}"#);
        assert_eq!(
            text(body),
            r#"{"aud":["api","vault"],"exp":2000,"iat":1000,"iss":"https://issuer","jti":"id","kubernetes.io":{"namespace":"ns","pod":{"name":"p","uid":"uid-p"},"serviceaccount":{"name":"sa","uid":"uid-sa"}},"nbf":1000,"sub":"system:serviceaccount:ns:sa"}"#
        );
        let token = format!("{signed}.{}", base64url::encode(b"signature"));
        let parsed = Unverified::parse(&token).unwrap();
        assert_eq!((parsed.claims, parsed.key_id.as_str()), (claims(), "k"));
        assert_eq!((parsed.signed, parsed.signature), (signed.as_str(), b"signature".to_vec()));
        let short = format!("{signed}.{}", base64url::encode(b"s"));
        assert!(short.ends_with(".cw") && Unverified::parse(&short).is_ok());
        let other = format!("{}x", short.trim_end_matches('w'));
        assert_eq!(
            Unverified::parse(&other).unwrap_err(),
            TokenError::Foreign,
            "another text for the same bytes"
        );
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let unsigned = format!("{}.{}.", base64url::encode(br#"{"alg":"none"}"#), base64url::encode(b"{}"));
        let long = "a.".repeat(TOKEN_BYTES_MAX);
        for text in ["", "a", "a.b", "a.b.c", "abcdef.0123456789abcdef", &unsigned, &long] {
            assert_eq!(Unverified::parse(text), Err(TokenError::Foreign), "{text:.40}");
        }
    }

    #[test]
    fn tokens_count_for_a_time_and_an_audience() {
        let check = |now: i64, wanted: &str| {
            let now = Timestamp::from_second(now).unwrap();
            claims().check(now, &[wanted.to_owned(), "other".to_owned()])
        };
        assert_eq!(check(1_000, "vault"), Ok(vec!["vault".to_owned()]));
        assert_eq!(check(2_000, "api"), Ok(vec!["api".to_owned()]));
        assert_eq!(check(2_001, "api"), Err(TokenError::Expired));
        assert_eq!(check(999, "api"), Err(TokenError::NotYet));
        let text = check(1_000, "x").unwrap_err().to_string();
        assert_eq!(
            text,
            r#"token audiences ["api" "vault"] is invalid for the target audiences ["x" "other"]"#
        );
    }
}
