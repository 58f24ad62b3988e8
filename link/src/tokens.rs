//! Tokens of service accounts: which ones a pod's volumes hold, and how a node gets them. Since version 7.
//!
//! What a pod wants travels beside its [`crate::pod::PodAssignment`]. The tokens themselves are asked for one by one, on streams of the
//! node's, because they end and are to be asked for again.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    PodUid,
    frame::{Kind, Message},
};

/// The tokens of one pod. The default is none, and is not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodTokens {
    /// In the order of the spec.
    pub projections: Vec<TokenProjection>,
}

/// `serviceAccountToken` of a projected volume that some container mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenProjection {
    /// Name of the volume, which [`crate::volumes::PodVolumes`] has.
    pub volume: String,
    /// How many of the sources that the volume has there come before it.
    pub after: u32,
    /// Relative to the volume.
    pub path: String,
    /// What is to be asked for.
    pub claim: TokenClaim,
}

/// What a token is to be good for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenClaim {
    /// `audience`; empty for the API.
    pub audience: String,
    /// `expirationSeconds`.
    pub expiration_seconds: u64,
}

/// What the pods that follow in the same change want; of those only that want any. Since version 7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentTokens {
    /// By pod.
    pub tokens: Vec<(PodUid, PodTokens)>,
}

/// Asks the coordinator for a token of a pod's service account, bound to the pod. Since version 7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenOpen {
    /// A pod of the node's set.
    pub uid: PodUid,
    /// One that this pod wants.
    pub claim: TokenClaim,
}

/// The answer to [`TokenOpen`]. Since version 7.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenAnswer {
    /// Here it is.
    Issued(IssuedToken),
    /// There is none, for a person.
    Refused(String),
}

/// A token. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedToken {
    /// A JSON Web Token.
    pub token: String,
    /// How long it is meant to serve from now on, in seconds.
    pub lifetime_seconds: u64,
}

impl PodTokens {
    /// Those of one volume.
    pub fn of<'a>(&'a self, volume: &'a str) -> impl Iterator<Item = &'a TokenProjection> {
        self.projections.iter().filter(move |projection| projection.volume == volume)
    }

    /// Whether there is none.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("lifetime_seconds", &self.lifetime_seconds)
            .finish_non_exhaustive()
    }
}

impl Message for AssignmentTokens {
    const KIND: Kind = Kind(0x011C);
}

impl Message for TokenOpen {
    const KIND: Kind = Kind(0x0350);
}

impl Message for TokenAnswer {
    const KIND: Kind = Kind(0x0351);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown() {
        let issued = IssuedToken { token: "secret".to_owned(), lifetime_seconds: 1 };
        assert!(!format!("{:?}", TokenAnswer::Issued(issued)).contains("secret"));
    }
}
