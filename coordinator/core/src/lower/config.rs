//! The content of ConfigMaps and Secrets, decoded.

use dunlin_link::pod::{ConfigKind, ConfigObject};
use k8s_openapi::{ByteString, api::core::v1};

use super::LowerError;

/// The content of the ConfigMap or Secret in `json`.
///
/// # Errors
/// When `json` is not an object of that kind.
pub fn config_object(kind: ConfigKind, json: &[u8]) -> Result<ConfigObject, LowerError> {
    let mut data: Vec<(String, Vec<u8>)> = Vec::new();
    match kind {
        ConfigKind::ConfigMap => {
            let map: v1::ConfigMap = serde_json::from_slice(json)?;
            data.extend(map.data.unwrap_or_default().into_iter().map(|(key, text)| (key, text.into_bytes())));
            data.extend(binary(map.binary_data));
        }
        ConfigKind::Secret => {
            let secret: v1::Secret = serde_json::from_slice(json)?;
            data.extend(binary(secret.data));
        }
    }
    data.sort();
    Ok(ConfigObject { kind, data })
}

fn binary(
    data: Option<std::collections::BTreeMap<String, ByteString>>,
) -> impl Iterator<Item = (String, Vec<u8>)> {
    data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0))
}
