//! Staying with a pod that was just created: until it runs, then in its streams, then until it has ended.

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::{Args, Restart};
use crate::{
    api,
    command::{
        container::{self, Wanted},
        stay::{Manner, logs, until},
    },
    document::{items, text},
    failure::Ended,
    resource,
    session::Session,
    terminal,
    workload::pods,
};

/// Stays until the container ends, or forever when it is started again and again.
///
/// # Errors
/// [`Ended`] with the container's exit code when it failed for good, and whatever kept it from running.
pub(super) async fn stay(args: &Args, created: &Value, session: &Session) -> Result<()> {
    let kind = resource::find("pods")?;
    let path =
        api::object(kind, text(created, &["metadata", "namespace"]), text(created, &["metadata", "name"]));
    let late = |_| {
        let time = args.pod_running_timeout;
        Err(anyhow!(
            "timed out after {time:?} waiting for pod {} to run",
            text(created, &["metadata", "name"])
        ))
    };
    let pod = tokio::time::timeout(args.pod_running_timeout, until(&path, started, pods::trouble, session))
        .await
        .unwrap_or_else(late)?;
    let container = container::choose(&pod, &Wanted { asked: None, quiet: args.quiet })?;
    if has_ended(&pod) {
        logs(&path, &container, session).await?;
    } else {
        let manner = Manner { stdin: args.stdin, tty: args.tty, quiet: args.quiet };
        manner.talk(&path, &container, session).await?;
    }
    if args.restart == Restart::Always || (args.restart == Restart::OnFailure && args.leave_stdin_open) {
        return Ok(());
    }
    let pod = until(&path, has_ended, pods::trouble, session).await?;
    match exit_code(&pod) {
        0 => Ok(()),
        code => {
            let (namespace, name) =
                (text(&pod, &["metadata", "namespace"]), text(&pod, &["metadata", "name"]));
            terminal::remark(&format!("pod {namespace}/{name} terminated ({})", reason(&pod)));
            Err(Ended(u8::try_from(code & 0xff).ok().filter(|code| *code != 0).unwrap_or(1)).into())
        }
    }
}

/// Whether a container runs or has run.
fn started(pod: &Value) -> bool {
    let running = |status: &Value| status["state"]["running"].is_object();
    has_ended(pod) || items(pod, &["status", "containerStatuses"]).iter().any(running)
}

fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}

/// The first code that is not 0; 1 for a pod that failed without one.
fn exit_code(pod: &Value) -> i64 {
    if text(pod, &["status", "phase"]) == "Succeeded" {
        return 0;
    }
    let codes = items(pod, &["status", "containerStatuses"]).iter();
    let mut codes = codes.filter_map(|status| status["state"]["terminated"]["exitCode"].as_i64());
    codes.find(|code| *code != 0).unwrap_or(1)
}

fn reason(pod: &Value) -> &str {
    let of_container = items(pod, &["status", "containerStatuses"])
        .iter()
        .map(|status| text(status, &["state", "terminated", "reason"]))
        .find(|reason| !reason.is_empty());
    [text(pod, &["status", "reason"]), of_container.unwrap_or_default()]
        .into_iter()
        .find(|reason| !reason.is_empty())
        .unwrap_or("Error")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{exit_code, reason, started};

    #[test]
    fn a_pods_end_is_its_containers() {
        let terminated =
            |code: i64, reason: &str| json!({"state": {"terminated": {"exitCode": code, "reason": reason}}});
        let pod = |phase: &str, status| json!({"status": {"phase": phase, "containerStatuses": [status]}});
        assert_eq!(exit_code(&pod("Succeeded", terminated(0, "Completed"))), 0);
        assert_eq!(exit_code(&pod("Failed", terminated(3, "Error"))), 3);
        assert_eq!(exit_code(&json!({"status": {"phase": "Failed", "reason": "Evicted"}})), 1);
        assert_eq!(reason(&json!({"status": {"phase": "Failed", "reason": "Evicted"}})), "Evicted");
        assert_eq!(reason(&pod("Failed", terminated(3, "OOMKilled"))), "OOMKilled");
        assert!(started(&pod("Running", json!({"state": {"running": {}}}))));
        assert!(!started(&pod("Pending", json!({"state": {"waiting": {}}}))));
    }
}
