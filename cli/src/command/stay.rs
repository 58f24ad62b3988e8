//! Staying with a container: until it runs, then in its streams, or with its log where it has ended.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;

use super::container::{NO_TERMINAL, StreamArgs};
use crate::{
    conversation::{self, Parts},
    document::text,
    failure::{self, GuestExit},
    session::Session,
    terminal::{self, progress::Line, raw},
};

/// How one stays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether stdin is passed on.
    pub(super) stdin: bool,
    /// Whether it is a terminal, to be handed over.
    pub(super) tty: bool,
    /// Whether nothing is said but what comes from the container.
    pub(super) quiet: bool,
}

impl Manner {
    /// Talks with a container; one that is gone already has its log printed.
    ///
    /// # Errors
    /// Whatever kept it from being heard. How the container ended is none.
    pub(super) async fn talk(self, path: &str, container: &str, session: &Session) -> Result<()> {
        let tty = self.tty && raw::is_terminal();
        if self.tty && !tty && !self.quiet {
            terminal::remark(&format!("Unable to use a TTY - {NO_TERMINAL}"));
        }
        let parts = Parts { stdin: self.stdin, tty };
        let query = StreamArgs::query(container, &parts);
        let conversation = match session.api.converse(&format!("{path}/attach"), &query).await {
            Ok(conversation) => conversation,
            Err(error) => {
                if !self.quiet {
                    terminal::warn(&format!("couldn't attach, falling back to streaming logs: {error:#}"));
                }
                return logs(path, container, session).await;
            }
        };
        if self.stdin && !self.quiet {
            terminal::remark("If you don't see a command prompt, try pressing enter.");
        }
        match conversation::run(conversation, parts).await {
            // The pod's status tells it, too, and more.
            Err(error) if error.is::<GuestExit>() => Ok(()),
            other => other,
        }
    }
}

/// Prints what a container wrote, until it has ended.
///
/// # Errors
/// When there is no log.
pub(super) async fn logs(path: &str, container: &str, session: &Session) -> Result<()> {
    let query = [("container", container), ("follow", "true")];
    let mut response = session.api.stream(&format!("{path}/log"), &query).await?;
    while let Some(chunk) = response.chunk().await? {
        terminal::write_stdout(&chunk)?;
    }
    Ok(())
}

/// Waits until a pod is as wanted, and tells meanwhile what it waits for.
///
/// # Errors
/// When it goes.
pub(super) async fn until(
    path: &str,
    wanted: impl Fn(&Value) -> bool,
    trouble: impl Fn(&Value) -> Option<String>,
    session: &Session,
) -> Result<Value> {
    let line = Line::start();
    let mut last = (String::new(), 0);
    loop {
        let pod = session.api.get(path, &[]).await.map_err(|error| {
            if failure::is_reason(&error, "NotFound") { anyhow!("object has been deleted") } else { error }
        })?;
        if wanted(&pod) {
            return Ok(pod);
        }
        if let Some(trouble) = trouble(&pod) {
            last = if last.0 == trouble { (last.0, last.1 + 1) } else { (trouble.clone(), 0) };
            if last.1 == POLLS_UNTIL_TOLD && !line.is_shown() {
                terminal::remark(&format!(
                    "waiting for pod/{}: {trouble}",
                    text(&pod, &["metadata", "name"])
                ));
            }
            line.say(&format!("waiting for pod/{}", text(&pod, &["metadata", "name"])), &[trouble]);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Answers come from the coordinator's memory, so that asking often is cheap.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Where no line can be written over, what is over within a second is not told.
const POLLS_UNTIL_TOLD: u32 = 10;
