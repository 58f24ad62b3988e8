//! `rollout pause`, `resume` and `restart`.

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ChangeArgs, refused};
use crate::{
    api::Patch,
    command::{
        create::{DryRun, print_outcome},
        target::Found,
    },
    document::text,
    failure::Failures,
    session::Session,
};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Hold the rollout.
    Pause,
    /// Let it go on.
    Resume,
    /// Roll the same version out once more.
    Restart,
}

/// Does it, workload by workload.
pub(super) async fn run(args: &ChangeArgs, change: Change, session: &Session) -> Result<()> {
    let mut failures = Failures::default();
    for found in args.workloads.found(&mut failures, session).await? {
        failures.note(apply(args, change, &found, session).await)?;
    }
    failures.into_result()
}

async fn apply(args: &ChangeArgs, change: Change, found: &Found, session: &Session) -> Result<()> {
    let patch = change.patch(found, Timestamp::now())?;
    let target = &found.target;
    let changed = match args.output.dry_run {
        DryRun::Client => found.object.clone(),
        dry_run => {
            let query = dry_run.query(&args.field_manager);
            session.api.patch(&target.path(), &query, Patch::Strategic, &patch).await?
        }
    };
    print_outcome(&args.output, target.kind, &changed, change.words())
}

impl Change {
    const fn words(self) -> &'static str {
        match self {
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Restart => "restarted",
        }
    }

    /// What to change of the object.
    fn patch(self, found: &Found, now: Timestamp) -> Result<Value> {
        let kind = (found.target.kind.group, found.target.kind.kind);
        let is_paused = found.object["spec"]["paused"] == true;
        match (self, kind) {
            (Self::Pause, ("apps", "Deployment")) if is_paused => Err(refused(found, "is already paused")),
            (Self::Resume, ("apps", "Deployment")) if !is_paused => Err(refused(found, "is not paused")),
            (Self::Pause, ("apps", "Deployment")) => Ok(json!({"spec": {"paused": true}})),
            (Self::Resume, ("apps", "Deployment")) => Ok(json!({"spec": {"paused": null}})),
            (Self::Pause, _) => Err(refused(found, "pausing is not supported")),
            (Self::Resume, _) => Err(refused(found, "resuming is not supported")),
            (Self::Restart, ("apps", "Deployment")) if is_paused => {
                Err(refused(found, "can't restart paused deployment (run rollout resume first)"))
            }
            (Self::Restart, ("apps", "Deployment" | "DaemonSet" | "StatefulSet")) => restart(found, now),
            (Self::Restart, _) => Err(refused(found, "restarting is not supported")),
        }
    }
}

fn restart(found: &Found, now: Timestamp) -> Result<Value> {
    let now = dunlin_api::time::format_time(now);
    if text(&found.object, &["spec", "template", "metadata", "annotations", RESTARTED_AT]) == now {
        return Err(anyhow!(
            "failed to create patch for {}: if restart has already been triggered within the past second, please wait before \
             attempting to trigger another",
            found.target.name
        ));
    }
    Ok(json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}}))
}

/// Its change makes another template of the same pods.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Change;
    use crate::{
        command::target::{Found, Target},
        resource,
    };

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |change: Change, kind: &str, spec: Value, expected: Result<Value, &str>| {
            let target = Target {
                kind: resource::find(kind).unwrap(),
                namespace: String::new(),
                name: "w".to_owned(),
            };
            let found = Found { target, object: json!({"spec": spec}) };
            let patch = change.patch(&found, "2026-01-01T00:00:00Z".parse().unwrap());
            assert_eq!(patch.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        };
        check(Change::Pause, "deploy", json!({}), Ok(json!({"spec": {"paused": true}})));
        check(
            Change::Pause,
            "deploy",
            json!({"paused": true}),
            Err("deployments.apps \"w\" is already paused"),
        );
        check(Change::Resume, "deploy", json!({}), Err("deployments.apps \"w\" is not paused"));
        check(Change::Pause, "sts", json!({}), Err("statefulsets.apps \"w\" pausing is not supported"));
        check(Change::Restart, "rs", json!({}), Err("replicasets.apps \"w\" restarting is not supported"));
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
        let template = json!({"template": {"metadata": {"annotations": annotations}}});
        check(Change::Restart, "ds", json!({}), Ok(json!({"spec": template})));
        let soon = "failed to create patch for w: if restart has already been triggered within the past second, please wait \
                    before attempting to trigger another";
        check(Change::Restart, "ds", template, Err(soon));
    }
}
