//! Evicting the pods of one node: each is asked to go, again and again where a disruption budget holds it back, and waited for.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{Args, pods_of};
use crate::{
    api,
    command::create::DryRun,
    document::text,
    failure::{self, ServerError},
    resource,
    session::Session,
    terminal::progress::Line,
};

/// The pods of one node on their way out.
pub(super) struct Evictions<'a> {
    args: &'a Args,
    node: &'a str,
    session: &'a Session,
    leaving: Vec<Leaving>,
    line: Line,
    /// What went wrong with pods that are given up.
    errors: Vec<String>,
}

/// One pod.
#[derive(Debug)]
struct Leaving {
    namespace: String,
    name: String,
    uid: String,
    state: State,
}

/// How far it is.
#[derive(Debug)]
enum State {
    /// To be asked at this time; why it was refused before.
    Asking { at: Instant, refused: String },
    /// It was told to go.
    Going,
    /// It is gone, or given up.
    Over,
}

impl<'a> Evictions<'a> {
    /// Nothing has been asked yet.
    pub(super) fn new(args: &'a Args, node: &'a str, pods: Vec<Value>, session: &'a Session) -> Self {
        let leaving = |pod: &Value| Leaving {
            namespace: text(pod, &["metadata", "namespace"]).to_owned(),
            name: text(pod, &["metadata", "name"]).to_owned(),
            uid: text(pod, &["metadata", "uid"]).to_owned(),
            state: State::Asking { at: Instant::now(), refused: String::new() },
        };
        let leaving = pods.iter().map(leaving).collect();
        Self { args, node, session, leaving, line: Line::start(), errors: Vec::new() }
    }

    /// Until all are gone.
    ///
    /// # Errors
    /// When some could not be evicted, or the time is over; the message names them and what holds them.
    pub(super) async fn run(mut self) -> Result<()> {
        for pod in &self.leaving {
            let word = if self.args.disable_eviction { "deleting" } else { "evicting" };
            let suffix = self.args.dry_run.suffix();
            self.line.print(&format!("{word} pod {}/{}{suffix}\n", pod.namespace, pod.name))?;
        }
        if self.args.dry_run == DryRun::Client {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            self.ask().await?;
            if self.args.dry_run == DryRun::Server {
                break;
            }
            self.look().await?;
            if self.leaving.iter().all(|pod| matches!(pod.state, State::Over)) {
                break;
            }
            let timeout = self.args.timeout;
            if !timeout.is_zero() && start.elapsed() >= timeout {
                self.give_up();
                break;
            }
            self.tell();
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        match self.errors.as_slice() {
            [] => Ok(()),
            [one] => Err(anyhow!("{one}")),
            several => Err(anyhow!("[{}]", several.join(", "))),
        }
    }

    /// Asks those pods to go whose time it is.
    async fn ask(&mut self) -> Result<()> {
        for index in 0..self.leaving.len() {
            let pod = &self.leaving[index];
            let State::Asking { at, refused } = &pod.state else { continue };
            if *at > Instant::now() {
                continue;
            }
            let refused = refused.clone();
            let state = match self.evict(pod).await {
                Ok(()) => State::Going,
                Err(error) if failure::is_reason(&error, "NotFound") => State::Going,
                Err(error) if failure::is_reason(&error, "TooManyRequests") => {
                    let why = why(&error);
                    if why != refused {
                        let seconds = RETRY_INTERVAL.as_secs();
                        self.line.remark(&format!(
                            "error when evicting pods/{:?} -n {:?} (will retry after {seconds}s): {why}",
                            pod.name, pod.namespace
                        ));
                    }
                    State::Asking { at: Instant::now() + RETRY_INTERVAL, refused: why }
                }
                Err(error) if crate::client::is_lost(&error) => return Err(error),
                Err(error) => {
                    let told =
                        format!("error when evicting pods/{:?} -n {:?}: {error:#}", pod.name, pod.namespace);
                    self.errors.push(told);
                    State::Over
                }
            };
            self.leaving[index].state = state;
        }
        Ok(())
    }

    async fn evict(&self, pod: &Leaving) -> Result<()> {
        let path = api::object(resource::find("pods")?, &pod.namespace, &pod.name);
        let mut options =
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.uid}});
        if self.args.grace_period >= 0 {
            options["gracePeriodSeconds"] = self.args.grace_period.into();
        }
        if self.args.dry_run == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        if self.args.disable_eviction {
            self.session.api.delete(&path, &[], &options).await?;
            return Ok(());
        }
        let eviction = json!({
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": options,
        });
        self.session.api.create(&format!("{path}/eviction"), &[], &eviction).await?;
        Ok(())
    }

    /// Which are gone: one question for all.
    async fn look(&mut self) -> Result<()> {
        let there = pods_of(self.node, None, self.session).await?;
        let word = if self.args.disable_eviction { "deleted" } else { "evicted" };
        for pod in &mut self.leaving {
            let is_there = there.iter().any(|other| text(other, &["metadata", "uid"]) == pod.uid);
            if matches!(pod.state, State::Going) && !is_there {
                self.line.print(&format!("pod/{} {word}\n", pod.name))?;
                pod.state = State::Over;
            }
        }
        Ok(())
    }

    fn give_up(&mut self) {
        let timeout = self.args.timeout;
        for pod in &self.leaving {
            let what = match &pod.state {
                State::Over => continue,
                State::Going => "it has not stopped yet".to_owned(),
                State::Asking { refused, .. } => refused.clone(),
            };
            self.errors.push(format!(
                "error when evicting pods/{:?} -n {:?}: global timeout reached: {timeout:?}: {what}",
                pod.name, pod.namespace
            ));
        }
    }

    fn tell(&self) {
        let count = |state: fn(&State) -> bool| self.leaving.iter().filter(|pod| state(&pod.state)).count();
        let over = count(|state| matches!(state, State::Over));
        let going = count(|state| matches!(state, State::Going));
        let held = self.leaving.iter().filter_map(|pod| match &pod.state {
            State::Asking { refused, .. } if !refused.is_empty() => Some(format!("{}: {refused}", pod.name)),
            _ => None,
        });
        let held: Vec<String> = held.take(HELD_SHOWN_MAX).collect();
        let total = self.leaving.len();
        self.line.say(&format!("node/{}: {over} of {total} pods gone, {going} stopping", self.node), &held);
    }
}

/// The server's words, with those about the budget that holds the pod.
fn why(error: &anyhow::Error) -> String {
    let Some(refusal) = error.downcast_ref::<ServerError>() else { return format!("{error:#}") };
    let causes: Vec<&str> = refusal.causes().iter().map(|cause| text(cause, &["message"])).collect();
    let message = refusal.message();
    match causes.join("; ") {
        causes if causes.is_empty() => message.to_owned(),
        causes => format!("{message} {causes}"),
    }
}

/// What a person reads while waiting.
const HELD_SHOWN_MAX: usize = 4;

/// As kubectl's: a budget changes when another pod has become ready.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// A list from the coordinator's memory, of one node's pods.
const LOOK_INTERVAL: Duration = Duration::from_millis(300);
