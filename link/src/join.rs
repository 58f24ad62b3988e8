//! Joining a cluster (ALPN `dunlin-join/1`): the token that an operator hands to a machine, and the one request that it is good for.
//!
//! The text form of a token is `dunlin1.ID.SECRET.CA` or `dunlin1.ID.SECRET.CA.ADDRESSES`: id of 8 and secret of 32 lower-case
//! hexadecimal digits, the 64 digits of the SHA-256 of the cluster CA's certificate (DER), and `host:port` addresses of the
//! coordinator, separated by commas.

use std::{fmt, str::FromStr};

use rand::{CryptoRng, Rng};
use serde::{Deserialize, Serialize};

use crate::{
    Digest, NodeName,
    frame::{Kind, Message},
};

/// ALPN of joining.
pub const ALPN: &[u8] = b"dunlin-join/1";

/// ALPN of a session.
pub const SESSION_ALPN: &[u8] = b"dunlin-link/1";

/// The name in the coordinator's certificate, whatever its address.
pub const SERVER_NAME: &str = "coordinator.dunlin";

/// A token's public part, by which it is listed and deleted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TokenId(String);

impl TokenId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TokenId {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = is_hex(text, TOKEN_ID_BYTES);
        is_id.then(|| Self(text.into())).ok_or(ParseTokenError("its id is not 8 hexadecimal digits"))
    }
}

impl TryFrom<String> for TokenId {
    type Error = ParseTokenError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A token's secret part. Never printed but in the token's own text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSecret(String);

impl TokenSecret {
    /// What the coordinator keeps of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(..)")
    }
}

/// What a machine needs to become a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinToken {
    /// Which token.
    pub id: TokenId,
    /// Proves that an operator handed it out.
    pub secret: TokenSecret,
    /// Digest of the cluster CA's certificate, by which the machine knows the coordinator before it says the secret.
    pub ca: Digest,
    /// Where the coordinator is; may be empty when the operator says it otherwise.
    pub addresses: Vec<String>,
}

impl JoinToken {
    /// Draws a token.
    pub fn generate(ca: Digest, addresses: Vec<String>, rng: &mut (impl Rng + CryptoRng)) -> Self {
        let id = TokenId(hex(&rng.random::<[u8; TOKEN_ID_BYTES]>()));
        let secret = TokenSecret(hex(&rng.random::<[u8; TOKEN_SECRET_BYTES]>()));
        Self { id, secret, ca, addresses }
    }

    /// The text that is handed to a machine. It holds the secret: not for logs.
    pub fn reveal(&self) -> String {
        let Self { id, secret, ca, addresses } = self;
        let mut text = format!("{PREFIX}.{id}.{}.{}", secret.0, ca.hex());
        if !addresses.is_empty() {
            text.push('.');
            text.push_str(&addresses.join(","));
        }
        text
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim().splitn(5, '.');
        let (Some(PREFIX), Some(id), Some(secret), Some(ca)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseTokenError("it does not have the form dunlin1.ID.SECRET.CA"));
        };
        if !is_hex(secret, TOKEN_SECRET_BYTES) {
            return Err(ParseTokenError("its secret is not 32 hexadecimal digits"));
        }
        let ca = format!("sha256:{ca}")
            .parse()
            .map_err(|_| ParseTokenError("its CA digest is not 64 hexadecimal digits"))?;
        let addresses = parts.next().map_or_else(Vec::new, |list| list.split(',').map(Into::into).collect());
        if addresses.iter().any(String::is_empty) {
            return Err(ParseTokenError("one of its addresses is empty"));
        }
        Ok(Self { id: id.parse()?, secret: TokenSecret(secret.into()), ca, addresses })
    }
}

/// Why a text is not a join token.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a join token: {0}")]
pub struct ParseTokenError(&'static str);

/// A machine asks to become a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// Which token.
    pub token: TokenId,
    /// Its secret.
    pub secret: TokenSecret,
    /// The name that the node shall have.
    pub node: NodeName,
    /// PKCS#10 request, DER, signed by the key that shall be the node's identity.
    pub certificate_request: Vec<u8>,
}

/// The machine is a node now. A refusal is a [`crate::message::Refused`] in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The node's certificate and those that sign it up to the cluster's CA, DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// Which cluster.
    pub cluster_id: String,
}

impl Message for JoinRequest {
    const KIND: Kind = Kind(0x0201);
}

impl Message for Joined {
    const KIND: Kind = Kind(0x0202);
}

/// The name that a node's certificate carries.
pub fn node_user(node: &NodeName) -> String {
    format!("{NODE_USER_PREFIX}{node}")
}

/// What a node's user name starts with.
pub const NODE_USER_PREFIX: &str = "system:node:";

/// The group of all nodes.
pub const NODE_GROUP: &str = "system:nodes";

/// Longest name of a node: a DNS-1123 subdomain.
pub const NODE_NAME_BYTES_MAX: usize = 253;

/// Whether `name` can be a node's: a DNS-1123 subdomain.
pub fn is_node_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        !label.is_empty()
            && label.len() <= 63
            && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
            && bytes.first() != Some(&b'-')
            && bytes.last() != Some(&b'-')
    };
    name.len() <= NODE_NAME_BYTES_MAX && name.split('.').all(is_label)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hex(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

const PREFIX: &str = "dunlin1";

/// Enough that ids of one cluster do not meet by chance.
const TOKEN_ID_BYTES: usize = 4;

/// Beyond guessing.
const TOKEN_SECRET_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn token_text_round_trips_with_and_without_addresses() {
        for addresses in
            [vec![], vec!["10.0.0.1:6443".into()], vec!["[::1]:6443".into(), "c.example.:6443".into()]]
        {
            let mut rng = StdRng::seed_from_u64(1);
            let token = JoinToken::generate(Digest::of(b"ca"), addresses, &mut rng);
            assert_eq!(token.reveal().parse(), Ok(token.clone()));
            assert!(!format!("{token:?}").contains(&token.secret.0), "a secret must not reach a log");
        }
    }

    #[test]
    fn other_text_is_refused_with_a_reason() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                text.parse::<JoinToken>().unwrap_err().to_string(),
                format!("not a join token: {expected}")
            );
        };
        let (id, secret, ca) = ("0a1b2c3d", "0".repeat(32), "f".repeat(64));
        check("", "it does not have the form dunlin1.ID.SECRET.CA");
        check("K10abc::server:x", "it does not have the form dunlin1.ID.SECRET.CA");
        check(&format!("dunlin1.xx.{secret}.{ca}"), "its id is not 8 hexadecimal digits");
        check(&format!("dunlin1.{id}.0.{ca}"), "its secret is not 32 hexadecimal digits");
        check(&format!("dunlin1.{id}.{secret}.0"), "its CA digest is not 64 hexadecimal digits");
        check(&format!("dunlin1.{id}.{secret}.{ca}."), "one of its addresses is empty");
    }

    #[test]
    fn node_names_are_dns_subdomains() {
        for (name, expected) in [
            ("n1", true),
            ("a.b-c", true),
            ("", false),
            ("N", false),
            ("-a", false),
            ("a..b", false),
            ("a/b", false),
        ] {
            assert_eq!(is_node_name(name), expected, "{name}");
        }
    }
}
