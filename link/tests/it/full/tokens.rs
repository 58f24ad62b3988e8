//! Which tokens pods want, with every field filled.

use dunlin_link::{
    PodUid,
    tokens::{AssignmentTokens, PodTokens, TokenClaim, TokenProjection},
};

pub(crate) fn claim(audience: &str, expiration_seconds: u64) -> TokenClaim {
    TokenClaim { audience: audience.into(), expiration_seconds }
}

/// Tokens of two pods.
pub(crate) fn tokens() -> AssignmentTokens {
    let projection =
        |path: &str, after, claim| TokenProjection { volume: "v10".into(), after, path: path.into(), claim };
    let of = |projections| PodTokens { projections };
    AssignmentTokens {
        tokens: vec![
            (
                PodUid::new("uid-1"),
                of(vec![
                    projection("token", 0, claim("", 3607)),
                    projection("a/vault", 2, claim("vault", 600)),
                ]),
            ),
            (PodUid::new("uid-2"), of(vec![projection("token", 1, claim("", 3600))])),
        ],
    }
}
