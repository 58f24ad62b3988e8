//! Which tokens of its service account a pod's volumes hold.

use dunlin_link::{
    tokens::{PodTokens, TokenClaim, TokenProjection},
    volumes::PodVolumes,
};
use k8s_openapi::api::core::v1;

use super::volumes::projection;

/// Those of the volumes that are carried.
pub(super) fn pod_tokens(spec: &v1::PodSpec, carried: &PodVolumes) -> PodTokens {
    let is_carried = |volume: &&v1::Volume| carried.volumes.iter().any(|known| known.name == volume.name);
    let volumes = spec.volumes.iter().flatten().filter(is_carried);
    PodTokens { projections: volumes.flat_map(of_volume).collect() }
}

fn of_volume(volume: &v1::Volume) -> Vec<TokenProjection> {
    let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let (mut after, mut found) = (0, Vec::new());
    for source in sources {
        if let Some(token) = &source.service_account_token {
            found.push(TokenProjection {
                volume: volume.name.clone(),
                after,
                path: token.path.clone(),
                claim: TokenClaim {
                    audience: token.audience.clone().unwrap_or_default(),
                    expiration_seconds: token
                        .expiration_seconds
                        .and_then(|seconds| u64::try_from(seconds).ok())
                        .unwrap_or(EXPIRATION_SECONDS_DEFAULT),
                },
            });
        } else if projection(source).is_some() {
            after += 1;
        }
    }
    found
}

/// Kubernetes' default of `expirationSeconds`.
const EXPIRATION_SECONDS_DEFAULT: u64 = 3600;

#[cfg(test)]
mod tests {
    use dunlin_link::ephemeral::PodEphemeral;
    use serde_json::json;

    use super::*;
    use crate::lower::volumes::pod_volumes;

    #[test]
    fn tokens_are_told_with_their_place_among_the_sources_that_are_carried() {
        let sources = json!([
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"clusterTrustBundle": {"name": "b", "path": "b"}},
            {"serviceAccountToken": {"path": "vault", "audience": "vault"}},
        ]);
        let spec = json!({
            "volumes": [
                {"name": "kube-api-access-abcde", "projected": {"sources": sources}},
                {"name": "unused", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ],
            "containers": [{"name": "c", "volumeMounts": [{"name": "kube-api-access-abcde", "mountPath": "/t"}]}],
        });
        let spec: v1::PodSpec = serde_json::from_value(spec).unwrap();
        let told = |path: &str, after, audience: &str, expiration_seconds| TokenProjection {
            volume: "kube-api-access-abcde".to_owned(),
            after,
            path: path.to_owned(),
            claim: TokenClaim { audience: audience.to_owned(), expiration_seconds },
        };
        assert_eq!(
            pod_tokens(&spec, &pod_volumes(&spec, &PodEphemeral::default())).projections,
            [told("token", 0, "", 3607), told("vault", 1, "vault", 3600)]
        );
    }
}
