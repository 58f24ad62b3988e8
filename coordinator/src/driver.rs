//! Feeds store changes into the cluster view and runs controllers and the scheduler over it.
//!
//! One task owns the view, the desired sets' input, and time: it reads a batch of changes, folds it in, and then takes one turn
//! at one `now`: due controllers are asked for their plans, waiting pods are placed. What has to be written is written by jobs
//! that run beside it, many at once so that they share the store's flushes; their outcome comes back as another input. A
//! placement counts in the view before its binding is confirmed.

mod execute;
mod explain;
mod figures;
mod fold;
mod guard;
mod jobs;
mod load;
mod schedule;

use std::{sync::Arc, time::Duration};

use dunlin_coordinator_core::{
    ObjectKey, View, controllers::autoscaler::Measured, dispatch::Change, reconciler::Reconciler,
    view::Liveness,
};
use dunlin_link::{NodeName, Revision, reference::Reference, sealed::ContentKey};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::explain::Explainer;
use self::{
    execute::Executor,
    figures::Figures,
    jobs::{Done, Jobs},
};

use self::{explain::Question, guard::guarded};
use crate::{
    dispatch::Dispatch,
    events::{Recorder, Writer},
    intake::{self, Intake},
    metrics::Collect,
    pki::Pki,
    service::{ApiService, Clock},
    store::{Store, StoreError, Watch, WatchEvent},
};

/// Controllers, scheduler, desired sets and events of one coordinator, ready to run.
pub struct Driver {
    store: Store,
    clock: Clock,
    node_grace: Duration,
    root_ca: Arc<str>,
    dispatch: Dispatch,
    intake: Intake,
    recorder: Recorder,
    events: Writer,
    executor: Executor,
    controllers: Controllers,
    figures: Arc<Figures>,
    inbox: Inbox,
}

/// What others tell or ask the driver.
struct Inbox {
    liveness: mpsc::Receiver<(NodeName, Liveness)>,
    questions: mpsc::Receiver<Question>,
    measured: mpsc::Receiver<(ObjectKey, Measured)>,
    linux_images: mpsc::Receiver<Reference>,
}

/// Whether controllers and the scheduler act on what changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Controllers {
    /// They do.
    #[default]
    Act,
    /// They do not: others place pods and look after what is there. Nodes get their assignments all the same.
    Rest,
}

/// What the driver is made of.
#[derive(Debug)]
pub struct DriverOptions {
    /// Where changes come from.
    pub store: Store,
    /// What changes go through.
    pub service: ApiService,
    /// Tells the time.
    pub clock: Clock,
    /// Silence after which a node is unreachable.
    pub node_grace: Duration,
    /// What ids of content on nodes are made with.
    pub content_key: ContentKey,
    /// The authority: its certificate is for every namespace, and it signs those of users.
    pub pki: Pki,
    /// Whether controllers and the scheduler act.
    pub controllers: Controllers,
    /// Images that turn out to hold Linux containers.
    pub linux_images: mpsc::Receiver<Reference>,
}

/// Why the driver ended before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The store could not be read.
    #[error("failed to read the cluster from the store")]
    Store(#[from] StoreError),
    /// The store ended before the driver, for instance because its disk is full.
    #[error("the store takes no more writes")]
    Ended(#[source] StoreError),
}

impl Driver {
    /// A driver that has not read anything yet. Its handles work at once; sessions get assignments once it runs.
    pub fn new(options: DriverOptions) -> Self {
        let DriverOptions { store, service, clock, node_grace, content_key, pki, controllers, linux_images } =
            options;
        let root_ca: Arc<str> = pki.certificate_pem().into();
        let dispatch = Dispatch::new(content_key);
        let (recorder, events) = Recorder::new(service.clone(), clock.clone());
        let (sender, liveness) = mpsc::channel(LIVENESS_MAX);
        let intake = Intake::new(intake::Parts {
            service: service.clone(),
            store: store.clone(),
            dispatch: dispatch.clone(),
            recorder: recorder.clone(),
            clock: clock.clone(),
            liveness: sender,
        });
        let (explainer, questions) = Explainer::new();
        service.attach_explainer(explainer);
        let figures = Arc::<Figures>::default();
        service.attach_figures(Arc::clone(&figures) as Arc<dyn Collect>);
        let (measure, measured) = mpsc::channel(MEASURED_MAX);
        let executor = Executor::new(store.clone(), service, recorder.clone(), pki, measure);
        Self {
            store,
            clock,
            node_grace,
            root_ca,
            dispatch,
            intake,
            recorder,
            events,
            executor,
            controllers,
            figures,
            inbox: Inbox { liveness, questions, measured, linux_images },
        }
    }

    /// The nodes' desired sets.
    pub fn dispatch(&self) -> Dispatch {
        self.dispatch.clone()
    }

    /// Where sessions tell what nodes say.
    pub fn intake(&self) -> Intake {
        self.intake.clone()
    }

    /// Where anybody tells events.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
    }

    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// When the store fails; the coordinator cannot go on then.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), DriverError> {
        let now = self.clock.now();
        let control = Control {
            store: self.store,
            clock: self.clock,
            dispatch: self.dispatch,
            recorder: self.recorder,
            executor: Arc::new(self.executor),
            reconciler: Reconciler::new(View::new(now, self.node_grace)),
            jobs: Jobs::default(),
            figures: self.figures,
            root_ca: self.root_ca,
            controllers: self.controllers,
        };
        let events = tokio::spawn(self.events.run(shutdown.clone()));
        let ended = control.run(self.inbox, &shutdown).await;
        if ended.is_err() {
            // Nobody told it to end, and without a store it can write nothing more.
            events.abort();
        }
        if events.await.is_err_and(|error| error.is_panic()) {
            tracing::error!("the task that writes events panicked");
        }
        ended
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

/// The running driver's state.
struct Control {
    store: Store,
    clock: Clock,
    dispatch: Dispatch,
    recorder: Recorder,
    executor: Arc<Executor>,
    reconciler: Reconciler,
    jobs: Jobs,
    figures: Arc<Figures>,
    /// What every namespace's ConfigMap of the cluster's certificate should hold.
    root_ca: Arc<str>,
    controllers: Controllers,
}

/// What woke the driver.
enum Input {
    Changes(Vec<WatchEvent>),
    FellBehind,
    Liveness(NodeName, Liveness),
    Measured(ObjectKey, Measured),
    LinuxImage(Reference),
    Done(Done),
    Question(Question),
    Time,
    End,
}

impl Control {
    async fn run(mut self, mut inbox: Inbox, shutdown: &CancellationToken) -> Result<(), DriverError> {
        let mut watch = self.load().await?;
        loop {
            self.turn(self.clock.now());
            self.figures.turns.increment();
            self.figures.pending_pods.set(self.reconciler.queue.len() as u64);
            self.figures.jobs.set(self.jobs.len() as u64);
            match self.next_input(&mut watch, &mut inbox, shutdown).await? {
                Input::Changes(events) => self.fold(events).await?,
                Input::FellBehind => watch = self.load().await?,
                Input::Liveness(node, liveness) => self.reconciler.heard(node, liveness),
                Input::Measured(key, measured) => self.reconciler.measured(&key, measured),
                Input::LinuxImage(image) => self.reconciler.view.note_linux_image(&image),
                Input::Done(done) => self.finish(done),
                Input::Question(question) => question.answer(&mut self.reconciler.view),
                Input::Time => {}
                Input::End => return Ok(()),
            }
        }
    }

    async fn next_input(
        &mut self,
        watch: &mut Watch,
        inbox: &mut Inbox,
        shutdown: &CancellationToken,
    ) -> Result<Input, DriverError> {
        let wake = self.next_wake();
        let time = async {
            match wake {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            biased;
            () = shutdown.cancelled() => Input::End,
            changes = watch.next() => match changes {
                Some(Ok(events)) => Input::Changes(events),
                Some(Err(StoreError::Compacted { .. })) => Input::FellBehind,
                Some(Err(error)) => return Err(error.into()),
                None => return Err(DriverError::Ended(self.store.ended())),
            },
            done = self.jobs.next() => Input::Done(done),
            Some((node, liveness)) = inbox.liveness.recv() => Input::Liveness(node, liveness),
            Some(question) = inbox.questions.recv() => Input::Question(question),
            Some((key, measured)) = inbox.measured.recv() => Input::Measured(key, measured),
            Some(image) = inbox.linux_images.recv() => Input::LinuxImage(image),
            () = time => Input::Time,
        })
    }

    /// How long until something is due although nothing changes.
    fn next_wake(&self) -> Option<Duration> {
        if self.controllers == Controllers::Rest {
            return None;
        }
        let placing = if self.jobs.has_room() { self.reconciler.queue.next_wake() } else { None };
        let due = [self.reconciler.keys.next_wake(), placing].into_iter().flatten().min()?;
        let delay = due.duration_since(self.clock.now());
        // Never busy: a time that has passed is looked at again after a moment.
        Some(Duration::try_from(delay).unwrap_or_default().max(WAKE_MIN))
    }

    /// Asks every due controller and places waiting pods, all at one `now`.
    fn turn(&mut self, now: Timestamp) {
        if self.controllers == Controllers::Rest {
            return;
        }
        for key in self.reconciler.take_due(now) {
            self.figures.plans.increment();
            let Some(plan) = guarded(&key, || self.reconciler.plan(&key, now)) else {
                self.reconciler.keys.started(&key, None);
                self.reconciler.keys.failed(&key, "the controller panicked", Revision(0), now);
                continue;
            };
            self.reconciler.keys.started(&key, plan.again_at);
            if plan.actions.is_empty() {
                self.reconciler.keys.succeeded(&key, Revision(0));
            } else {
                let executor = Arc::clone(&self.executor);
                let about = jobs::Lost::Key(key.clone());
                self.jobs.spawn(about, async move {
                    let result = executor.carry_out(plan.actions, now).await;
                    Done::Reconciled { key, result, written: executor.revision() }
                });
            }
        }
        self.place(now);
    }

    fn finish(&mut self, done: Done) {
        let now = self.clock.now();
        match done {
            Done::Reconciled { key, result: Ok(()), written } => {
                self.figures.reconciliations.increment();
                self.reconciler.keys.succeeded(&key, written);
            }
            Done::Reconciled { key, result: Err(status), written } => {
                self.figures.failures.increment();
                tracing::warn!(?key, error = status.message(), "reconciling failed, will be tried again");
                self.reconciler.keys.failed(&key, status.message(), written, now);
            }
            Done::Bound { key, node, result } => self.bound(&key, &node, result, now),
            Done::Preempted { key, result } => self.preempted(&key, result, now),
            Done::Told => {}
            Done::Lost(jobs::Lost::Key(key)) => {
                self.reconciler.keys.failed(
                    &key,
                    "the controller's task panicked",
                    self.store.revision(),
                    now,
                );
            }
            Done::Lost(jobs::Lost::Pod(key)) => {
                self.reconciler.view.unassume(&key, now);
                self.reconciler.queue.retry(&key, now);
            }
            Done::Lost(jobs::Lost::Preemption(key)) => self.reconciler.queue.retry(&key, now),
            Done::Lost(jobs::Lost::Nothing) => {}
        }
    }

    /// Tells sessions what follows from changes up to `revision`, before anything slower is done.
    fn publish(&self, changes: &[Change], revision: Revision) {
        self.dispatch.apply(changes, revision);
    }
}

/// Sessions that open or close between two turns; more wait for a moment.
const LIVENESS_MAX: usize = 1024;

/// Targets of autoscalers that are measured between two turns; more wait for a moment.
const MEASURED_MAX: usize = 256;

/// The shortest sleep.
const WAKE_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
