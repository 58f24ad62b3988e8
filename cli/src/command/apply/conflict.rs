//! Why an apply is refused that would change what others manage, for a person who has to decide.

use std::{collections::BTreeMap, error::Error, fmt};

use serde_json::Value;

use crate::{
    document::text,
    failure::ServerError,
    manifest::{Manifest, Source},
    resource,
};

use super::place;

/// Fields with other managers that an apply would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    reference: String,
    source: Source,
    /// By manager, as the server describes it: its name in quotes, and how it writes.
    managers: BTreeMap<String, Vec<Field>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    /// As the server writes it, for instance `.spec.replicas`.
    path: String,
    /// What is there now and what the manifest says, as far as both can be found.
    values: Option<(String, String)>,
}

impl Conflict {
    /// The conflict that a refusal is about; `None` when it is another refusal.
    pub(crate) fn of(error: &anyhow::Error, manifest: &Manifest, live: Option<&Value>) -> Option<Self> {
        let refusal = error.downcast_ref::<ServerError>().filter(|refusal| refusal.reason() == "Conflict")?;
        let mut managers: BTreeMap<String, Vec<Field>> = BTreeMap::new();
        let causes = refusal.causes().iter();
        for cause in causes.filter(|cause| text(cause, &["reason"]) == "FieldManagerConflict") {
            let message = text(cause, &["message"]);
            let manager = message.strip_prefix("conflict with ").unwrap_or(message).to_owned();
            let path = text(cause, &["field"]).to_owned();
            let value = |object: &Value| place::find(object, &path).map(place::shown);
            let values = live.and_then(value).zip(value(&manifest.object));
            managers.entry(manager).or_default().push(Field { path, values });
        }
        let reference = resource::reference(manifest.kind, &manifest.name);
        (!managers.is_empty()).then(|| Self { reference, source: manifest.source.clone(), managers })
    }

    /// Whether all managers concerned change the object itself and have a name of which `wanted` holds.
    pub(super) fn is_only_with(&self, wanted: fn(&str) -> bool) -> bool {
        // Who writes a subresource has more quotes before the version.
        let name = |manager: &str| {
            manager.strip_prefix('"')?.split_once("\" using ").map(|(name, _)| name.to_owned())
        };
        self.managers
            .keys()
            .all(|manager| name(manager).is_some_and(|name| !name.contains('"') && wanted(&name)))
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: usize = self.managers.values().map(Vec::len).sum();
        let fields = if count == 1 { "1 field has" } else { &format!("{count} fields have") };
        write!(f, "cannot apply {} ({}): {fields} another manager", self.reference, self.source)?;
        for (manager, fields) in &self.managers {
            write!(f, "\n  managed by {manager}:")?;
            for Field { path, values } in fields {
                write!(f, "\n    {path}")?;
                if let Some((live, wanted)) = values {
                    write!(f, " is {live}, the manifest says {wanted}")?;
                }
            }
        }
        Ok(())
    }
}

impl Error for Conflict {}

/// What a person can do about conflicts.
pub(crate) const ADVICE: &str = "\
Fields that others manage are not changed unasked. Either
  * take them over: apply again with --force-conflicts,
  * leave them to their managers: take them out of the manifest, or
  * share them: write the values that they have now into the manifest.";

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::Conflict;
    use crate::{
        failure::ServerError,
        manifest::{Manifest, Source},
        resource,
    };

    #[test]
    fn managers_fields_and_values_are_named() {
        let cause = |manager: &str, field: &str| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": field});
        let causes = json!([
            cause(r#""kubectl-create" using apps/v1"#, ".spec.template.spec.containers[name=\"c\"].image"),
            cause(r#""hpa" with subresource "scale" using apps/v1"#, ".spec.replicas"),
            cause(r#""kubectl-create" using apps/v1"#, ".spec.paused"),
        ]);
        let refusal = json!({"reason": "Conflict", "details": {"causes": causes}});
        let error = anyhow::Error::from(ServerError::new(refusal));
        let object = |image: &str, replicas: u32| json!({"spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
        let manifest = Manifest {
            source: Source { file: "web.yaml".to_owned(), document: 1, line: 1 },
            kind: resource::find("deployments").unwrap(),
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            object: object("b", 2),
        };
        let mut conflict = Conflict::of(&error, &manifest, Some(&object("a", 3))).unwrap();
        let expected = expect![[r#"
            cannot apply deployment.apps/web ("web.yaml", document 1, line 1): 3 fields have another manager
              managed by "hpa" with subresource "scale" using apps/v1:
                .spec.replicas is 3, the manifest says 2
              managed by "kubectl-create" using apps/v1:
                .spec.template.spec.containers[name="c"].image is "a", the manifest says "b"
                .spec.paused"#]];
        expected.assert_eq(&conflict.to_string());
        assert!(!conflict.is_only_with(|name| name == "kubectl-create"));
        assert!(!conflict.is_only_with(|_| true), "through scale it is another");
        conflict.managers.retain(|manager, _| manager.contains("create"));
        assert!(conflict.is_only_with(|name| name == "kubectl-create"));
        let other = anyhow::Error::from(ServerError::new(json!({"reason": "Conflict"})));
        assert_eq!(Conflict::of(&other, &manifest, None), None);
    }
}
