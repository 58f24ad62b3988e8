//! `rollout undo`: puts an earlier version in place again.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::{WorkloadArgs, history};
use crate::{
    api::Patch,
    command::{
        create::{DryRun, OutputArgs, print_outcome},
        describe,
        target::Found,
    },
    document::{entries, text},
    failure::Failures,
    session::Session,
    terminal,
    workload::{
        revisions::{self, Revision},
        rollout,
    },
};

/// Options of `rollout undo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin rollout undo deployment/web
  dunlin rollout undo statefulset/db --to-revision=3
  dunlin rollout undo deployment/web --dry-run        see the pods that it would go back to")]
pub(super) struct Args {
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// The revision to go back to; 0 means the one before the newest.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    to_revision: i64,
    #[command(flatten)]
    output: OutputArgs,
}

/// Goes back, workload by workload.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let mut failures = Failures::default();
    for found in args.workloads.found(&mut failures, session).await? {
        failures.note(undo(args, &found, session).await)?;
    }
    failures.into_result()
}

async fn undo(args: &Args, found: &Found, session: &Session) -> Result<()> {
    let target = &found.target;
    let revisions = history::of(found, session).await.map_err(|error| {
        if matches!(target.kind.kind, "Deployment" | "DaemonSet" | "StatefulSet") {
            return error;
        }
        anyhow::anyhow!("no rollbacker has been implemented for {:?}", rollout::qualified(target.kind))
    })?;
    if found.object["metadata"]["annotations"][LAST_APPLIED].is_string() {
        terminal::warn(&format!(
            "resource {}/{} was previously managed with 'kubectl apply'. Rolling back will not update the {LAST_APPLIED} \
             annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using 'kubectl \
             apply' with your previous configuration file instead.",
            target.kind.plural, target.name
        ));
    }
    let revision = choose(&found.object, &revisions, args.to_revision)?;
    if args.output.dry_run == DryRun::Client && args.output.output.is_none() {
        let template = describe::template(&revision.template);
        let shown = format!("{} {template}{}\n", target.reference(), DryRun::Client.suffix());
        return Ok(terminal::print(&shown)?);
    }
    if found.object["spec"]["paused"] == true {
        bail!(
            "you cannot rollback a paused deployment; resume it first with 'dunlin rollout resume {}/{}' and try again",
            target.kind.singular,
            target.name
        );
    }
    let wanted = revisions::without_hash(&revision.template);
    if wanted == revisions::without_hash(&found.object["spec"]["template"]) {
        let words =
            format!("skipped rollback (current template already matches revision {})", revision.number);
        return print_outcome(&args.output, target.kind, &found.object, &words);
    }
    let (how, patch) = match target.kind.kind {
        "Deployment" => (Patch::Json, of_deployment(&found.object, revision, wanted)),
        _ => (Patch::Strategic, revision.object["data"].clone()),
    };
    let changed = match args.output.dry_run {
        DryRun::Client => found.object.clone(),
        dry_run => session.api.patch(&target.path(), &dry_run.query("kubectl-rollout"), how, &patch).await?,
    };
    print_outcome(&args.output, target.kind, &changed, "rolled back")
}

/// The revision to go back to.
fn choose<'a>(object: &Value, revisions: &'a [Revision], wanted: i64) -> Result<&'a Revision> {
    if wanted < 0 || wanted > 0 && !revisions.iter().any(|revision| revision.number == wanted) {
        bail!("unable to find specified revision {wanted} in history");
    }
    let found = match wanted {
        0 => revisions.len().checked_sub(2).and_then(|index| revisions.get(index)),
        wanted => revisions.iter().find(|revision| revision.number == wanted),
    };
    match (found, text(object, &["kind"])) {
        (Some(revision), _) => Ok(revision),
        (None, "Deployment") => {
            bail!("no rollout history found for deployment {:?}", text(object, &["metadata", "name"]))
        }
        (None, _) => bail!("no last revision to roll back to"),
    }
}

/// The revision's template and annotations in place of the Deployment's, but for annotations that are about either by itself.
fn of_deployment(deployment: &Value, revision: &Revision, template: Value) -> Value {
    let annotations = |object: &Value, own: bool| -> Map<String, Value> {
        entries(object, &["metadata", "annotations"])
            .filter(|(key, _)| OWN_ANNOTATIONS.contains(key) == own)
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    };
    let mut all = annotations(deployment, true);
    all.extend(annotations(&revision.object, false));
    json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "replace", "path": "/metadata/annotations", "value": all},
    ])
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Stay with the object that has them.
const OWN_ANNOTATIONS: &[&str] = &[
    LAST_APPLIED,
    revisions::REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.revision",
    "deprecated.deployment.rollback.to",
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{choose, of_deployment};
    use crate::workload::revisions::Revision;

    fn revision(number: i64, object: Value) -> Revision {
        Revision { number, cause: None, template: json!({"n": number}), object }
    }

    #[test]
    fn the_one_before_the_newest_is_meant() {
        let deployment = json!({"kind": "Deployment", "metadata": {"name": "w"}});
        let revisions: Vec<Revision> = [2, 5, 6].map(|number| revision(number, Value::Null)).to_vec();
        let check = |revisions: &[Revision], wanted: i64, expected: Result<i64, &str>| {
            let found = choose(&deployment, revisions, wanted).map(|revision| revision.number);
            assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
        };
        check(&revisions, 0, Ok(5));
        check(&revisions, 2, Ok(2));
        check(&revisions, 3, Err("unable to find specified revision 3 in history"));
        check(&revisions[..1], 0, Err("no rollout history found for deployment \"w\""));
    }

    #[test]
    fn annotations_go_back_too_but_for_those_of_the_object_itself() {
        let deployment =
            json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "6", "note": "new"}}});
        let kept =
            json!({"metadata": {"annotations": {"deployment.kubernetes.io/revision": "5", "note": "old"}}});
        let patch = of_deployment(&deployment, &revision(5, kept), json!({}));
        assert_eq!(patch[1]["value"], json!({"deployment.kubernetes.io/revision": "6", "note": "old"}));
    }
}
