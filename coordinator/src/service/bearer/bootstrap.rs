//! Bootstrap tokens: Secrets in `kube-system` by which a machine that has no certificate yet may ask for one.

use dunlin_api::time::parse_time;
use dunlin_coordinator_core::account::token::TokenError;
use dunlin_link::Digest;
use serde_json::Value;

use super::{Bearer, ISSUER, Rejected};
use crate::service::{ApiService, User};

impl ApiService {
    /// The user of a bootstrap token.
    pub(super) async fn bootstrap_user(
        &self,
        id: &str,
        secret: &str,
        audiences: &[String],
    ) -> Result<Bearer, Rejected> {
        if !audiences.is_empty() && !audiences.iter().any(|audience| audience == ISSUER) {
            return Err(TokenError::Foreign.into());
        }
        let name = format!("{NAME_PREFIX}{id}");
        let found = self.find_core("Secret", NAMESPACE, &name).await.map_err(Rejected::Lookup)?;
        let found = found.ok_or(TokenError::Foreign)?;
        if found["type"] != TYPE || !found["metadata"]["deletionTimestamp"].is_null() {
            return Err(TokenError::Foreign.into());
        }
        // Only digests are compared, so how long it takes tells nothing about the secret.
        let same = |key: &str, shown: &str| Digest::of(&data(&found, key)) == Digest::of(shown.as_bytes());
        let usable = data(&found, "usage-bootstrap-authentication") == b"true";
        if !same("token-secret", secret) || !same("token-id", id) || !usable {
            return Err(TokenError::Foreign.into());
        }
        if is_expired(&found, self.clock().now()) {
            return Err(TokenError::Foreign.into());
        }
        let groups = groups(&found).ok_or(TokenError::Foreign)?;
        let user = User::new(format!("{USER_PREFIX}{id}"), groups).authenticated();
        Ok(Bearer { user, audiences: Vec::new() })
    }
}

/// Id and secret of a token of this kind.
pub(super) fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == ID_CHARS && secret.len() == SECRET_CHARS && is_plain(id) && is_plain(secret))
        .then_some((id, secret))
}

/// Whether a Secret of this kind has a time that is over. One that cannot be read is over.
fn is_expired(secret: &Value, now: jiff::Timestamp) -> bool {
    let expiration = data(secret, "expiration");
    if expiration.is_empty() {
        return false;
    }
    let end = String::from_utf8(expiration).ok().and_then(|text| parse_time(&text.into()));
    end.is_none_or(|end| end <= now)
}

/// The groups that a token gives; `None` when one is not a group that tokens may give.
fn groups(secret: &Value) -> Option<Vec<String>> {
    let mut groups = vec![GROUP.to_owned()];
    let extra = String::from_utf8(data(secret, "auth-extra-groups")).ok()?;
    for group in extra.split(',').filter(|group| !group.is_empty()) {
        let rest = group.strip_prefix(GROUP)?.strip_prefix(':')?;
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b':' || byte == b'-';
        let ends_well =
            rest.bytes().last().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !rest.bytes().all(is_plain) || !ends_well || rest.len() > GROUP_REST_CHARS_MAX {
            return None;
        }
        if !groups.iter().any(|known| known == group) {
            groups.push(group.to_owned());
        }
    }
    Some(groups)
}

/// What a Secret holds at `key`; empty when it holds nothing.
fn data(secret: &Value, key: &str) -> Vec<u8> {
    let text = secret["data"][key].as_str().unwrap_or_default();
    dunlin_api::base64::decode(text).unwrap_or_default()
}

const NAMESPACE: &str = "kube-system";
const NAME_PREFIX: &str = "bootstrap-token-";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const USER_PREFIX: &str = "system:bootstrap:";
const GROUP: &str = "system:bootstrappers";
const GROUP_REST_CHARS_MAX: usize = 256;
const ID_CHARS: usize = 6;
const SECRET_CHARS: usize = 16;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bootstrap_tokens_have_a_form() {
        assert_eq!(parts("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for other in
            ["abcdef.0123456789abcde", "ABCDEF.0123456789abcdef", "abcdef", "abcdef.0123456789abcde."]
        {
            assert_eq!(parts(other), None, "{other}");
        }
    }

    #[test]
    fn tokens_give_groups_of_their_own_kind_only() {
        // "system:bootstrappers:a,system:bootstrappers:b-1" and "system:masters".
        let groups_of = |encoded: &str| groups(&json!({"data": {"auth-extra-groups": encoded}}));
        let good = groups_of("c3lzdGVtOmJvb3RzdHJhcHBlcnM6YSxzeXN0ZW06Ym9vdHN0cmFwcGVyczpiLTE=");
        let expected = ["system:bootstrappers", "system:bootstrappers:a", "system:bootstrappers:b-1"];
        assert_eq!(good.unwrap(), expected);
        assert_eq!(groups_of("c3lzdGVtOm1hc3RlcnM="), None);
        assert_eq!(groups_of("").unwrap(), ["system:bootstrappers"]);
    }
}
