//! One object applied: what was there, what is there now, and whose fields stand in the way.

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    api::{self, Patch},
    document::{items, text},
    failure::{self, ServerError},
    manifest::Manifest,
    resource,
    session::Session,
    terminal,
};

use super::{
    DEFAULT_MANAGER,
    conflict::Conflict,
    migration::{self, CLIENT_SIDE, MAKERS},
};
use crate::command::create::DryRun;

/// Applies objects as one manager.
#[derive(Debug)]
pub(crate) struct Applier<'a> {
    session: &'a Session,
    manager: &'a str,
    dry_run: DryRun,
    /// What messages say is being done, for instance `applying`.
    verb: &'static str,
}

/// What an apply found and what it left.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None` when the object is new.
    pub(crate) before: Option<Value>,
    /// As the server answered.
    pub(crate) after: Value,
}

/// Whose fields may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Those of the commands that made the object.
    Forerunners,
    /// Everybody's.
    All,
}

impl<'a> Applier<'a> {
    /// Applies under the name of `manager`.
    pub(crate) const fn new(
        session: &'a Session,
        manager: &'a str,
        dry_run: DryRun,
        verb: &'static str,
    ) -> Self {
        Self { session, manager, dry_run, verb }
    }

    /// Applies a manifest, unless that changes what others manage.
    ///
    /// # Errors
    /// [`Conflict`] then; else the server's refusal.
    pub(crate) async fn apply(&self, manifest: &Manifest) -> Result<Outcome> {
        self.retried(manifest, Takes::Forerunners).await
    }

    /// Applies a manifest and takes over what others manage.
    ///
    /// # Errors
    /// The server's refusal.
    pub(crate) async fn force(&self, manifest: &Manifest) -> Result<Outcome> {
        self.retried(manifest, Takes::All).await
    }

    /// Tries again when somebody wrote in between.
    async fn retried(&self, manifest: &Manifest, takes: Takes) -> Result<Outcome> {
        if manifest.name.is_empty() {
            let advice = "a generated name is always new; use `dunlin create`";
            return Err(anyhow!("from {}: cannot use generate name with apply: {advice}", manifest.source));
        }
        for _ in 0..RETRIES_MAX {
            let before = self.live(manifest).await?;
            match self.once(manifest, before.as_ref(), takes).await {
                Err(error) if failure::is_reason(&error, "Conflict") && !names_version(&manifest.object) => {}
                after => return after.map(|after| Outcome { before, after }),
            }
        }
        Err(anyhow!(
            "{} keeps being changed by others; try again",
            resource::reference(manifest.kind, &manifest.name)
        ))
    }

    async fn live(&self, manifest: &Manifest) -> Result<Option<Value>> {
        let path = api::object(manifest.kind, &manifest.namespace, &manifest.name);
        match self.session.api.get(&path, &[]).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if failure::is_reason(&error, "NotFound") => Ok(None),
            Err(error) => Err(during(error, "retrieving current configuration of", manifest)),
        }
    }

    async fn once(&self, manifest: &Manifest, before: Option<&Value>, takes: Takes) -> Result<Value> {
        let path = api::object(manifest.kind, &manifest.namespace, &manifest.name);
        if let Some(live) = before
            && self.manager == DEFAULT_MANAGER
        {
            self.migrate(manifest, live, &path).await?;
            self.warn_of_the_rest(manifest, live);
        }
        let send = async |object: &Value, force: &str| {
            let mut query = self.dry_run.query(self.manager);
            query.push(("force", force));
            self.session.api.patch(&path, &query, Patch::Apply, object).await
        };
        if takes == Takes::All {
            return send(&manifest.object, "true").await.map_err(|error| during(error, self.verb, manifest));
        }
        let error = match send(&manifest.object, "false").await {
            Ok(applied) => return Ok(applied),
            Err(error) => error,
        };
        let Some(conflict) = Conflict::of(&error, manifest, before) else {
            return Err(during(error, self.verb, manifest));
        };
        let Some(live) =
            before.filter(|_| self.manager == DEFAULT_MANAGER && conflict.is_only_with(is_forerunner))
        else {
            return Err(conflict.into());
        };
        // Only what was seen may be taken over: should the object have changed since, it is looked at again.
        let mut object = manifest.object.clone();
        if !names_version(&object) {
            object["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
        }
        send(&object, "true").await.map_err(|error| during(error, self.verb, manifest))
    }

    /// Makes what earlier writes of the manifest declared be what this manager declared, so that what is taken out of it is removed.
    async fn migrate(&self, manifest: &Manifest, live: &Value, path: &str) -> Result<()> {
        let Some(patch) = migration::patch(live, self.manager) else { return Ok(()) };
        if self.dry_run != DryRun::None {
            terminal::warn(&format!(
                "{} was made or applied in another way before: that fields are gone from the manifest, and so will be from \
                 the object, is not shown by a dry run",
                resource::reference(manifest.kind, &manifest.name)
            ));
            return Ok(());
        }
        let query = self.dry_run.query(self.manager);
        let patched = self.session.api.patch(path, &query, Patch::Json, &patch).await;
        patched.map(|_| ()).map_err(|error| during(error, "taking over", manifest))
    }

    /// Nobody knows whether what a creating command set, and the manifest does not, is meant to stay.
    fn warn_of_the_rest(&self, manifest: &Manifest, live: &Value) {
        let entries = items(live, &["metadata", "managedFields"]);
        let is = |entry: &Value, manager: &str, operation: &str| {
            text(entry, &["manager"]) == manager && text(entry, &["operation"]) == operation
        };
        let made = entries.iter().any(|entry| MAKERS.iter().any(|name| is(entry, name, "Update")));
        let applied = |entry: &Value| is(entry, self.manager, "Apply") || is(entry, CLIENT_SIDE, "Update");
        if self.dry_run == DryRun::None && made && !entries.iter().any(applied) {
            terminal::warn(&format!(
                "{} was not made by apply: what it has and the manifest does not declare stays",
                resource::reference(manifest.kind, &manifest.name)
            ));
        }
    }
}

/// Whether a manager is one of the commands that wrote the manifest before it was applied by the default manager. Who applies under a
/// name of its own is somebody else.
fn is_forerunner(manager: &str) -> bool {
    MAKERS.contains(&manager) || manager == CLIENT_SIDE
}

/// What an apply did, in kubectl's words.
pub(super) fn word(before: Option<&Value>, after: &Value) -> &'static str {
    match before {
        None => "created",
        Some(before) if visible(before) == visible(after) => "unchanged",
        Some(_) => "configured",
    }
}

/// What a manifest can declare: all but what others report, and what the server keeps of every write.
fn visible(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| !["managedFields", "resourceVersion"].contains(&key.as_str()));
    }
    object
}

/// Whether the manifest is meant for one version of the object only.
fn names_version(wanted: &Value) -> bool {
    !text(wanted, &["metadata", "resourceVersion"]).is_empty()
}

/// Says what was being done, and where the manifest is.
fn during(error: anyhow::Error, what: &str, manifest: &Manifest) -> anyhow::Error {
    match error.downcast::<ServerError>() {
        Ok(refusal) => refusal.during(format!("error when {what} {}", manifest.source)).into(),
        Err(error) => error,
    }
}

/// Retries against a writer that is as quick as we are.
const RETRIES_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{names_version, word};

    #[test]
    fn versions() {
        let check = |metadata: Value, expected| {
            assert_eq!(names_version(&json!({"metadata": metadata})), expected);
        };
        check(json!({"name": "a"}), false);
        check(json!({"name": "a", "resourceVersion": ""}), false);
        check(json!({"name": "a", "resourceVersion": "1"}), true);
    }

    #[test]
    fn words() {
        let object = |version: &str, data: &str, status: &str| {
            let metadata = json!({"resourceVersion": version, "managedFields": [version]});
            json!({"metadata": metadata, "data": data, "status": status})
        };
        let before = object("1", "a", "x");
        assert_eq!(word(None, &before), "created");
        assert_eq!(word(Some(&before), &object("2", "a", "y")), "unchanged");
        assert_eq!(word(Some(&before), &object("2", "b", "x")), "configured");
    }
}
