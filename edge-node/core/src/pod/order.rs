//! Orders that a person gives on the node itself: they need no coordinator and do not ask the restart policy.

use dunlin_link::status::PodStatusReport;

use super::{
    ContainerIndex, Pod, Severity, Stage,
    worker::{Next, Run, Then},
};
use crate::{clock::Now, reasons};

/// Why containers are not restarted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestartError {
    /// The pod has no container of that name.
    #[error("container {container} is not valid for pod {pod}; it has {known}")]
    NoSuchContainer {
        /// The name asked for.
        container: String,
        /// The pod's name.
        pod: String,
        /// The names there are.
        known: String,
    },
    /// Nothing of the pod runs or will run again.
    #[error("pod {0} is over or ending; only deleting and creating it anew runs it again")]
    Over(String),
    /// It is not known what runs.
    #[error("it is not known yet what of pod {0} runs: the runner has not answered")]
    Unknown(String),
    /// An init container that has done its work.
    #[error("init container {0} runs only while the pod is initialized")]
    Initialized(String),
    /// One that was added to the pod.
    #[error("ephemeral container {0} runs once")]
    Ephemeral(String),
}

impl Pod {
    /// Restarts one container, or all but init containers that ran to their end; answers which. A run that goes on gets its grace,
    /// and the next begins right after it; what waits for a retry is tried now. Restarts are counted as any.
    ///
    /// # Errors
    /// When there is nothing to restart; nothing has changed then.
    pub fn handle_restart(&mut self, container: Option<&str>, now: Now) -> Result<Vec<String>, RestartError> {
        let name = self.assignment.name.clone();
        if self.stage != Stage::Active {
            return Err(RestartError::Over(name));
        }
        if !self.synced {
            return Err(RestartError::Unknown(name));
        }
        let indexes: Vec<ContainerIndex> = match container {
            None => self.indexes().filter(|index| self.is_main(*index) || self.is_sidecar(*index)).collect(),
            Some(wanted) => vec![self.restartable(wanted)?],
        };
        for index in &indexes {
            self.restart_now(*index, now);
        }
        self.settle(now);
        Ok(indexes.iter().map(|index| self.container(*index).name.clone()).collect())
    }

    /// The pod's status now, sent or not; what is not known of containers is as it was last.
    pub fn status_now(&mut self, now: Now) -> PodStatusReport {
        let mut report = self.report(now);
        report.sequence = self.sequence;
        report
    }

    /// Whether it is known what of the pod runs.
    pub const fn is_synced(&self) -> bool {
        self.synced
    }

    fn restartable(&self, wanted: &str) -> Result<ContainerIndex, RestartError> {
        let Some(index) = self.indexes().find(|index| self.container(*index).name == wanted) else {
            let known: Vec<_> = self.indexes().map(|index| self.container(index).name.as_str()).collect();
            return Err(RestartError::NoSuchContainer {
                container: wanted.to_owned(),
                pod: self.assignment.name.clone(),
                known: known.join(", "),
            });
        };
        if self.is_ephemeral(index) {
            return Err(RestartError::Ephemeral(wanted.to_owned()));
        }
        let is_done = self.worker(index).ended().is_some_and(|end| end.exit_code == 0);
        if self.is_init(index) && !self.is_sidecar(index) && is_done {
            return Err(RestartError::Initialized(wanted.to_owned()));
        }
        Ok(index)
    }

    fn restart_now(&mut self, index: ContainerIndex, now: Now) {
        let name = self.container(index).name.clone();
        let grace_ms = self.grace_ms();
        match &mut self.worker_mut(index).run {
            Run::Starting { id } | Run::Running { id, .. } => {
                let id = id.clone();
                let message = format!("Container {name} is restarted by an order on the node");
                self.push_event(now, index, (Severity::Normal, reasons::KILLING), message);
                self.stop(index, id, (grace_ms, Then::Replace), now);
            }
            Run::Terminated { next, .. } => {
                *next = Next::Retry { shown_until: now.mono, at: now.mono, delay_ms: 0 };
            }
            // What waits for a configuration or a pull is tried again; what is on its way is left alone.
            _ => self.worker_mut(index).handle_changed_definition(),
        }
    }
}
