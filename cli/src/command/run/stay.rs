//! Staying with a pod that was just created: until it runs, then in its streams, then until it has ended.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::{Args, Restart};
use crate::{
    api,
    command::container::{self, NO_TERMINAL, StreamArgs, Wanted},
    conversation::{self, Parts},
    document::{items, text},
    failure::{self, Ended, GuestExit},
    resource,
    session::Session,
    terminal::{self, progress::Line, raw},
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
    let pod = tokio::time::timeout(args.pod_running_timeout, until(&path, started, session))
        .await
        .unwrap_or_else(late)?;
    let container = container::choose(&pod, &Wanted { asked: None, quiet: args.quiet })?;
    if has_ended(&pod) {
        logs(&path, &container, session).await?;
    } else {
        attach(args, &path, &container, session).await?;
    }
    if args.restart == Restart::Always || (args.restart == Restart::OnFailure && args.leave_stdin_open) {
        return Ok(());
    }
    let pod = until(&path, has_ended, session).await?;
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

/// Talks with the container; one that is gone already has its log printed.
async fn attach(args: &Args, path: &str, container: &str, session: &Session) -> Result<()> {
    let tty = args.tty && raw::is_terminal();
    if args.tty && !tty && !args.quiet {
        terminal::remark(&format!("Unable to use a TTY - {NO_TERMINAL}"));
    }
    let parts = Parts { stdin: args.stdin, tty };
    let query = StreamArgs::query(container, &parts);
    let conversation = match session.api.converse(&format!("{path}/attach"), &query).await {
        Ok(conversation) => conversation,
        Err(error) => {
            if !args.quiet {
                terminal::warn(&format!("couldn't attach, falling back to streaming logs: {error:#}"));
            }
            return logs(path, container, session).await;
        }
    };
    if args.stdin && !args.quiet {
        terminal::remark("If you don't see a command prompt, try pressing enter.");
    }
    match conversation::run(conversation, parts).await {
        // The pod's status tells it, too, and more.
        Err(error) if error.is::<GuestExit>() => Ok(()),
        other => other,
    }
}

async fn logs(path: &str, container: &str, session: &Session) -> Result<()> {
    let query = [("container", container), ("follow", "true")];
    let mut response = session.api.stream(&format!("{path}/log"), &query).await?;
    while let Some(chunk) = response.chunk().await? {
        terminal::write_stdout(&chunk)?;
    }
    Ok(())
}

/// Waits until a pod is as wanted, and tells meanwhile what it waits for.
async fn until(path: &str, wanted: fn(&Value) -> bool, session: &Session) -> Result<Value> {
    let line = Line::start();
    loop {
        let pod = session.api.get(path, &[]).await.map_err(|error| {
            if failure::is_reason(&error, "NotFound") { anyhow!("object has been deleted") } else { error }
        })?;
        if wanted(&pod) {
            return Ok(pod);
        }
        if let Some(trouble) = pods::trouble(&pod) {
            line.say(&format!("waiting for pod/{}", text(&pod, &["metadata", "name"])), &[trouble]);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
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

/// Answers come from the coordinator's memory, so that asking often is cheap.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

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
