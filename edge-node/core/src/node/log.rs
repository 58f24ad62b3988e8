//! Which log is meant; the words of failure are the kubelet's.

use std::sync::Arc;

use dunlin_link::{ContainerId, PodUid, pod::PodAssignment};

use super::{NodeCore, Told};
use crate::{
    sandbox::{Exit, Owner, State},
    termination,
};

/// The log of one run.
#[derive(Clone, Debug)]
pub struct LogPlace {
    /// Its pod.
    pub pod: Arc<PodAssignment>,
    /// Its container.
    pub container: String,
    /// Number of the run.
    pub attempt: u32,
    /// The container, while it lives and may write more.
    pub live: Option<ContainerId>,
}

/// Which of a container's logs is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhichRun {
    /// That of the run which goes on, or of the last one.
    Latest,
    /// That of the run before.
    Previous,
}

impl NodeCore {
    /// Finds a container's log.
    ///
    /// # Errors
    /// When there is none, in words.
    pub fn log(&self, uid: &PodUid, container: &str, which: WhichRun) -> Result<LogPlace, String> {
        let entry = self.pods.get(uid).ok_or_else(|| "pod not found on this node".to_owned())?;
        let assignment = entry.pod.assignment();
        let name = &assignment.name;
        let run = entry.pod.latest_run(container);
        let run = run.ok_or_else(|| format!("container {container} is not valid for pod {name}"))?;
        let attempt = match (which, run.attempt) {
            // While a container waits for its next run, the last one is the latest and the previous one at once.
            (WhichRun::Previous, Some(attempt)) if !run.waiting.is_empty() && run.live.is_none() => {
                Some(attempt)
            }
            (WhichRun::Previous, attempt) => attempt.and_then(|attempt| attempt.checked_sub(1)),
            (WhichRun::Latest, attempt) => attempt,
        };
        let attempt = attempt.ok_or_else(|| match which {
            WhichRun::Previous => {
                format!("previous terminated container \"{container}\" in pod \"{name}\" not found")
            }
            WhichRun::Latest => {
                format!("container \"{container}\" in pod \"{name}\" is waiting to start: {}", run.waiting)
            }
        })?;
        let live = run.live.filter(|_| run.attempt == Some(attempt));
        Ok(LogPlace { pod: Arc::clone(assignment), container: container.to_owned(), attempt, live })
    }

    /// The log whose end is to be put into an exit's message before it is told: `terminationMessagePolicy: FallbackToLogsOnError`.
    pub fn log_of_failure(&self, told: &Told) -> Option<LogPlace> {
        let Told::Container { owner: Owner { pod_uid, container, attempt, .. }, state, .. } = told else {
            return None;
        };
        let State::Exited(Exit { cause, message, .. }) = state else { return None };
        if !message.is_empty() || termination::exit_code(*cause) == 0 {
            return None;
        }
        let pod = self.pods.get(&PodUid::new(&**pod_uid))?.pod.assignment();
        pod.containers().any(|known| known.name == *container && known.termination_message_from_logs).then(
            || LogPlace { pod: Arc::clone(pod), container: container.clone(), attempt: *attempt, live: None },
        )
    }
}
