//! DefaultTolerationSeconds: a pod stays for a while on a node that is not ready, unless it says otherwise.

use serde_json::{Value, json};

use crate::value::{list, put, text};

pub(super) fn admit(spec: &mut Value) {
    let mut tolerations = list(spec, "tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            ["", key].contains(&text(toleration, "key"))
                && ["", "NoExecute"].contains(&text(toleration, "effect"))
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": LOST_NODE_SECONDS,
            }));
        }
    }
    put(spec, "tolerations", tolerations.into());
}

const LOST_NODE_SECONDS: i64 = 300;
