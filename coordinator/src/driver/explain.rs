//! Questions about the scheduler's decisions: only the driver's task knows what the scheduler knows.

use dunlin_coordinator_core::{
    ObjectKey, View,
    scheduler::{self, Decision},
};
use tokio::sync::{mpsc, oneshot};

/// Asks how a pod would be placed; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Explainer(mpsc::Sender<Question>);

/// How a pod would be placed now.
#[derive(Debug)]
pub(super) struct Question {
    pod: ObjectKey,
    answer: oneshot::Sender<Option<Decision>>,
}

impl Explainer {
    pub(super) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, questions) = mpsc::channel(QUESTIONS_MAX);
        (Self(sender), questions)
    }

    /// How a pod would be placed now; `None` when the driver does not know the pod yet, or has ended.
    pub(crate) async fn explain(&self, pod: ObjectKey) -> Option<Decision> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { pod, answer }).await.ok()?;
        answered.await.ok()?
    }
}

impl Question {
    pub(super) fn answer(self, view: &mut View) {
        let pod = view.pod(&self.pod).cloned();
        let decision = pod.map(|pod| scheduler::explain(view, &self.pod, &pod));
        // Who does not wait for it any more needs none.
        let _ = self.answer.send(decision);
    }
}

/// Questions that wait; whoever asks more waits before.
const QUESTIONS_MAX: usize = 16;
