//! `rollout status`: waits until a rollout is done, and says meanwhile how far it is and what it waits for.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior};

use super::WorkloadArgs;
use crate::{
    api::{self, Accept},
    command::{reasons, target::Found},
    document::text,
    failure::{self, Failures},
    session::{self, Session},
    terminal::progress::Line,
    workload::rollout::{self, GivenUp, Step},
};

/// Options of `rollout status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin rollout status deployment/web
  dunlin rollout status statefulset/db --timeout=5m
  dunlin rollout status daemonset --watch=false")]
pub(super) struct Args {
    #[command(flatten)]
    workloads: WorkloadArgs,
    /// Go on until the rollout is done.
    #[arg(long, short, num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, require_equals = true)]
    watch: bool,
    /// Wait for this revision only; another one is an error. 0 means the newest.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    revision: i64,
    /// How long to wait at most for each workload; 0 means as long as it takes.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "0")]
    timeout: Duration,
}

/// Waits for one workload after the other.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let mut failures = Failures::default();
    for found in args.workloads.found(&mut failures, session).await? {
        let mut wait = Wait::new(args, &found, session);
        let outcome = wait.run().await;
        let reasons = match &outcome {
            Err(error) if error.is::<Late>() || error.is::<GivenUp>() => {
                reasons::of(&wait.object, session).await
            }
            _ => Vec::new(),
        };
        drop(wait);
        failures.note(outcome)?;
        reasons.iter().for_each(|reason| crate::terminal::remark(&format!("  {reason}")));
    }
    failures.into_result()
}

/// Waiting for one workload.
struct Wait<'a> {
    args: &'a Args,
    found: &'a Found,
    session: &'a Session,
    line: Line,
    /// As it was seen last.
    object: Value,
    /// What was said last.
    said: String,
    /// Why it is not done; asked for only where somebody sees them.
    reasons: Vec<String>,
}

impl<'a> Wait<'a> {
    fn new(args: &'a Args, found: &'a Found, session: &'a Session) -> Self {
        let object = found.object.clone();
        let (line, said, reasons) = (Line::start(), String::new(), Vec::new());
        Self { args, found, session, line, object, said, reasons }
    }

    async fn run(&mut self) -> Result<()> {
        if self.report()? || !self.args.watch {
            return Ok(());
        }
        let timeout = self.args.timeout;
        if timeout.is_zero() {
            return self.follow().await;
        }
        tokio::time::timeout(timeout, self.follow()).await.unwrap_or_else(|_| Err(Late.into()))
    }

    /// Looks at each change, and now and then at the pods, until the rollout is over. Starts over when the watch ends.
    async fn follow(&mut self) -> Result<()> {
        let target = &self.found.target;
        let collection = api::collection(target.kind, Some(&target.namespace));
        let selector = format!("metadata.name={}", target.name);
        let mut ticks = ticks();
        loop {
            let version = text(&self.object, &["metadata", "resourceVersion"]).to_owned();
            let query = [("fieldSelector", selector.as_str()), ("resourceVersion", version.as_str())];
            let mut watch = self.session.api.watch(&collection, &query, Accept::Objects).await?;
            loop {
                let event = tokio::select! {
                    event = watch.next() => event,
                    _ = ticks.tick(), if self.line.is_shown() => {
                        self.reasons = reasons::of(&self.object, self.session).await;
                        self.show();
                        continue;
                    }
                };
                match event {
                    Ok(None) => break,
                    Ok(Some((change, _))) if change == "DELETED" => {
                        return Err(anyhow!("object has been deleted"));
                    }
                    Ok(Some((change, _))) if change == "BOOKMARK" => {}
                    Ok(Some((_, object))) => {
                        self.object = object;
                        if self.report()? {
                            return Ok(());
                        }
                    }
                    Err(error) if failure::is_reason(&error, "Expired") => break,
                    Err(error) => return Err(error),
                }
            }
            self.object = self.session.api.get(&target.path(), &[]).await?;
            if self.report()? {
                return Ok(());
            }
        }
    }

    /// Says how far it is, if that is news; answers whether it is over.
    fn report(&mut self) -> Result<bool> {
        let revision = Some(self.args.revision).filter(|revision| *revision > 0);
        let step = rollout::step(self.found.target.kind, &self.object, revision)?;
        let news = step.words() != self.said;
        step.words().clone_into(&mut self.said);
        let is_done = matches!(step, Step::Done(_));
        if news && (is_done || !self.args.watch || !self.line.replaces_output()) {
            self.line.print(&format!("{}\n", step.words()))?;
        }
        self.show();
        Ok(is_done)
    }

    fn show(&self) {
        // The start of kubectl's sentence names the workload at length; a line at the terminal has no room for that.
        let progress =
            self.said.split_once(" rollout to finish: ").map_or(self.said.as_str(), |(_, progress)| progress);
        self.line.say(&format!("{}: {progress}", self.found.target.reference()), &self.reasons);
    }
}

/// The time for which it may be waited is over.
#[derive(Debug, thiserror::Error)]
#[error("timed out waiting for the condition")]
struct Late;

/// When pods are looked at.
fn ticks() -> Interval {
    let mut ticks = tokio::time::interval(REASONS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A person reads no faster.
const REASONS_INTERVAL: Duration = Duration::from_secs(1);
