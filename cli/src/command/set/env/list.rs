//! `set env --list`: variables as a shell would set them, with references as remarks, or resolved.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Args;
use crate::{
    api,
    command::{set::template::is_meant, target::Found},
    document::{at, items, plain, text},
    resource,
    session::Session,
};

/// The variables of all containers that are meant.
pub(super) async fn list(args: &Args, found: &Found, spec: &Value, session: &Session) -> Result<String> {
    let containers = ["containers", "initContainers"].iter().flat_map(|list| items(spec, &[list]));
    let mut shown = String::new();
    for container in containers.filter(|container| is_meant(&args.containers, text(container, &["name"]))) {
        let (kind, name) = (found.target.kind.kind, &found.target.name);
        shown.push_str(&format!("# {kind} {name}, container {}\n", text(container, &["name"])));
        for variable in items(container, &["env"]) {
            let value = match args.resolve {
                true => resolved(variable, found, session).await?,
                false => None,
            };
            shown.push_str(&line(variable, value.as_deref()));
        }
    }
    Ok(shown)
}

/// A line for one variable, with the value that its reference was resolved to.
fn line(variable: &Value, resolved: Option<&str>) -> String {
    let name = text(variable, &["name"]);
    let from = &variable["valueFrom"];
    let of = |field: &str| (text(from, &[field, "name"]), text(from, &[field, "key"]));
    if let Some(value) = resolved {
        return format!("{name}={value}\n");
    }
    if from["configMapKeyRef"].is_object() {
        let (object, key) = of("configMapKeyRef");
        format!("# {name} from configmap {object}, key {key}\n")
    } else if from["secretKeyRef"].is_object() {
        let (object, key) = of("secretKeyRef");
        format!("# {name} from secret {object}, key {key}\n")
    } else if from["fieldRef"].is_object() {
        format!("# {name} from field path {}\n", text(from, &["fieldRef", "fieldPath"]))
    } else if from["resourceFieldRef"].is_object() {
        let reference = &from["resourceFieldRef"];
        let container = match text(reference, &["containerName"]) {
            "" => String::new(),
            container => format!("{container} "),
        };
        format!("# {name} from resource field {container}{}\n", text(reference, &["resource"]))
    } else {
        format!("{name}={}\n", text(variable, &["value"]))
    }
}

/// What a reference stands for, as far as objects tell it; `None` where only the pod's node knows.
async fn resolved(variable: &Value, found: &Found, session: &Session) -> Result<Option<String>> {
    let from = &variable["valueFrom"];
    for (field, plural) in [("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")] {
        let reference = &from[field];
        if !reference.is_object() {
            continue;
        }
        let path = api::object(resource::find(plural)?, &found.target.namespace, text(reference, &["name"]));
        let value = session.api.get(&path, &[]).await?["data"][text(reference, &["key"])].take();
        let value = plain(&value);
        return Ok(Some(match field {
            "secretKeyRef" => {
                String::from_utf8_lossy(&STANDARD.decode(value).unwrap_or_default()).into_owned()
            }
            _ => value,
        }));
    }
    let path = text(from, &["fieldRef", "fieldPath"]);
    if path.is_empty() || found.target.kind.kind != "Pod" {
        return Ok(None);
    }
    Ok(Some(plain(at(&found.object, &path.split('.').collect::<Vec<_>>()))))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::line;

    #[test]
    fn variables_are_lines() {
        let check =
            |variable: Value, resolved, expected: &str| assert_eq!(line(&variable, resolved), expected);
        check(json!({"name": "A", "value": "1"}), None, "A=1\n");
        let from = |field: &str, reference: Value| json!({"name": "A", "valueFrom": {field: reference}});
        let key = json!({"name": "o", "key": "k"});
        check(from("configMapKeyRef", key.clone()), None, "# A from configmap o, key k\n");
        check(from("secretKeyRef", key.clone()), None, "# A from secret o, key k\n");
        check(from("secretKeyRef", key), Some("x"), "A=x\n");
        check(
            from("fieldRef", json!({"fieldPath": "spec.nodeName"})),
            None,
            "# A from field path spec.nodeName\n",
        );
        check(
            from("resourceFieldRef", json!({"resource": "limits.cpu"})),
            None,
            "# A from resource field limits.cpu\n",
        );
    }
}
