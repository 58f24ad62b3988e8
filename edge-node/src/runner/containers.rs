//! The table of containers: what exists, in which state, and what the connected agent has not been told yet.
//!
//! Nothing is queued for an agent but the names of containers that changed; it is told their newest state when it reads. Without an
//! agent there is nothing to keep: the next one is told everything.

mod claim;
mod usage;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dunlin_edge_node_core::sandbox::{
    ContainerSpec, Event, Exit, ExitCause, Owner, PROTOCOL, Request, State,
};
use dunlin_link::ContainerId;
use dunlin_wasm_host::Stop;
use tokio::sync::{Notify, mpsc};
use tokio_util::task::TaskTracker;

pub(crate) use self::claim::{Claim, Refusal};
use super::{
    container::{self, Ears, Live, Parts},
    runtime_version,
};
use crate::local::keyvalue::KeyValues;

/// The table. It owns every container's task.
#[derive(Debug)]
pub(crate) struct Containers {
    parts: Parts,
    tasks: TaskTracker,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    containers: HashMap<ContainerId, Entry>,
    /// Number of the newest connection; an older one is at its end.
    newest: u64,
    /// What the newest connection is still to be told. Each container is in it at most three times, which bounds it.
    untold: VecDeque<News>,
    /// Set by the newest connection's `Hello`; before that nothing is told.
    greeted: Greeted,
    /// Wakes the newest connection.
    wake: Arc<Notify>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Greeted {
    #[default]
    NotYet,
    /// By an agent that speaks another version, which can only have us shut down.
    OtherVersion,
    Yes,
}

#[derive(Debug)]
struct Entry {
    owner: Owner,
    state: State,
    stop: Stop,
    /// While it runs.
    live: Option<Live>,
    /// Commands and attachments that it has.
    streams: usize,
    /// Whether it waits in `untold`.
    queued: bool,
    /// Requests to its handler that failed, and what is said of the last.
    failures: (u64, String),
    /// Whether these wait in `untold`.
    failures_queued: bool,
    /// What its guest was refused and the agent was not told yet; all of it is told with the first.
    denials: VecDeque<String>,
}

#[derive(Debug)]
enum News {
    Welcome,
    Container(ContainerId),
    Failures(ContainerId),
    Denial(ContainerId),
    Synced,
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It ended, or a newer one replaced it.
    Connection,
    /// The agent asked for the end of everything.
    Shutdown,
}

impl Containers {
    pub(super) fn keyvalues(&self) -> &KeyValues {
        &self.parts.keyvalues
    }

    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self { parts, tasks: TaskTracker::new(), table: Mutex::default() })
    }

    /// Serves one agent until its channels close, a newer agent connects, or it asks to shut down.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        mut requests: mpsc::Receiver<Request>,
        events: mpsc::Sender<Event>,
    ) -> Served {
        let (connection, wake) = self.connect();
        let hear = async {
            while let Some(request) = requests.recv().await {
                if self.handle(connection, request) == Served::Shutdown {
                    return Served::Shutdown;
                }
            }
            Served::Connection
        };
        let tell = async {
            loop {
                let woken = wake.notified();
                match self.next_event(connection) {
                    Next::Event(event) => {
                        if events.send(event).await.is_err() {
                            return Served::Connection;
                        }
                    }
                    Next::Nothing => woken.await,
                    Next::Replaced => return Served::Connection,
                }
            }
        };
        // Both at once, so that an agent may send without reading what it is told.
        tokio::select! {
            served = hear => served,
            served = tell => served,
        }
    }

    /// Ends all containers at once, and returns when they have ended.
    pub(crate) async fn shut_down(&self) {
        for entry in self.table().containers.values() {
            entry.stop.request(Duration::ZERO);
        }
        self.tasks.close();
        if tokio::time::timeout(SHUTDOWN_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!("some containers did not end in time");
        }
        self.tasks.reopen();
    }

    fn connect(&self) -> (u64, Arc<Notify>) {
        let mut table = self.table();
        table.newest += 1;
        table.greeted = Greeted::NotYet;
        table.clear_untold();
        let wake = Arc::new(Notify::new());
        let older = std::mem::replace(&mut table.wake, Arc::clone(&wake));
        older.notify_one();
        (table.newest, wake)
    }

    fn handle(self: &Arc<Self>, connection: u64, request: Request) -> Served {
        let mut table = self.table();
        if table.newest != connection {
            return Served::Connection;
        }
        match (request, table.greeted) {
            (Request::Hello { protocol }, _) => table.greet(protocol),
            (Request::Shutdown, _) => return Served::Shutdown,
            (_, Greeted::NotYet | Greeted::OtherVersion) => {
                tracing::warn!("a request came before a greeting of our version; it is ignored");
            }
            (Request::Start(spec), Greeted::Yes) => self.start(&mut table, spec),
            (Request::Stop { id, grace_ms }, Greeted::Yes) => {
                if let Some(entry) = table.containers.get(&id) {
                    entry.stop.request(Duration::from_millis(grace_ms));
                }
            }
            (Request::Remove { id }, Greeted::Yes) => table.remove(&id),
            (Request::StartLinux(spec), Greeted::Yes) => {
                tracing::error!(container = %spec.id, "a Linux container was sent to the runner of WASM; it is ignored");
            }
            (Request::OpenPod(_) | Request::OpenRunner { .. }, Greeted::Yes) => {
                tracing::error!("what only shims do was asked of the runner of WASM; it is ignored");
            }
        }
        Served::Connection
    }

    fn start(self: &Arc<Self>, table: &mut Table, spec: Box<ContainerSpec>) {
        let id = spec.id.clone();
        if !table.containers.contains_key(&id) {
            let stop = Stop::new();
            let entry = Entry {
                owner: spec.owner.clone(),
                state: State::Starting,
                stop: stop.clone(),
                live: None,
                streams: 0,
                queued: false,
                failures: (0, String::new()),
                failures_queued: false,
                denials: VecDeque::new(),
            };
            table.containers.insert(id.clone(), entry);
            let containers = Arc::clone(self);
            self.tasks.spawn_on(async move { containers.run(spec, stop).await }, self.parts.host.handle());
        }
        table.tell(&id);
    }

    async fn run(self: Arc<Self>, spec: Box<ContainerSpec>, stop: Stop) {
        let id = spec.id.clone();
        let (containers, started) = (Arc::clone(&self), spec.id.clone());
        let running = move |live| containers.started(&started, live);
        let (containers, failing) = (Arc::clone(&self), spec.id.clone());
        let failed = Arc::new(move |message: &str| containers.failed(&failing, message));
        let (containers, refused) = (Arc::clone(&self), spec.id.clone());
        let denied = Arc::new(move |what: &str| containers.denied(&refused, what));
        let ears = Ears { failed, denied };
        let (cause, message) = container::run(&self.parts, spec, stop, (running, ears)).await;
        self.exited(&id, cause, message);
    }

    fn started(&self, id: &ContainerId, live: Live) {
        let mut table = self.table();
        if let Some(entry) = table.containers.get_mut(id) {
            entry.live = Some(live);
        }
        table.set(id, State::Running { started_at: container::now() });
    }

    fn failed(&self, id: &ContainerId, message: &str) {
        let mut table = self.table();
        if let Some(entry) = table.containers.get_mut(id) {
            entry.failures = (entry.failures.0 + 1, message.to_owned());
        }
        table.tell_failures(id);
    }

    fn denied(&self, id: &ContainerId, what: &str) {
        let mut table = self.table();
        if let Some(entry) = table.containers.get_mut(id) {
            // The host tells no more than a few a minute; without an agent for long, the oldest are forgotten.
            if entry.denials.len() >= DENIALS_MAX {
                entry.denials.pop_front();
            }
            entry.denials.push_back(what.to_owned());
        }
        table.tell_denials(id);
    }

    fn exited(&self, id: &ContainerId, cause: ExitCause, message: String) {
        let mut table = self.table();
        let entry = table.containers.get_mut(id);
        // Its program is not kept loaded for one that has ended.
        let started_at = entry.and_then(|entry| match (entry.live.take(), &entry.state) {
            (_, State::Running { started_at }) => Some(*started_at),
            _ => None,
        });
        table.set(id, State::Exited(Exit { cause, message, started_at, finished_at: container::now() }));
    }

    fn next_event(&self, connection: u64) -> Next {
        let mut table = self.table();
        if table.newest != connection {
            return Next::Replaced;
        }
        loop {
            match table.untold.pop_front() {
                None => return Next::Nothing,
                Some(News::Synced) => return Next::Event(Event::Synced),
                Some(News::Welcome) => {
                    let (protocol, pid) = (PROTOCOL, std::process::id());
                    let (runtime, target) = (runtime_version(), self.parts.host.target().key());
                    return Next::Event(Event::Welcome { protocol, pid, runtime, target });
                }
                Some(News::Failures(id)) => {
                    if let Some(entry) = table.containers.get_mut(&id) {
                        entry.failures_queued = false;
                        let (owner, (count, message)) = (entry.owner.clone(), entry.failures.clone());
                        return Next::Event(Event::RequestsFailed { id, owner, count, message });
                    }
                }
                Some(News::Denial(id)) => {
                    if let Some(entry) = table.containers.get_mut(&id)
                        && let Some(message) = entry.denials.pop_front()
                    {
                        let owner = entry.owner.clone();
                        if !entry.denials.is_empty() {
                            table.untold.push_front(News::Denial(id.clone()));
                        }
                        return Next::Event(Event::Denied { id, owner, message });
                    }
                }
                Some(News::Container(id)) => {
                    // It may have been removed since.
                    if let Some(entry) = table.containers.get_mut(&id) {
                        entry.queued = false;
                        let (owner, state) = (entry.owner.clone(), entry.state.clone());
                        return Next::Event(Event::Container { id, owner, state });
                    }
                }
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a connection is told next.
enum Next {
    Event(Event),
    Nothing,
    Replaced,
}

impl Table {
    fn greet(&mut self, protocol: u32) {
        self.clear_untold();
        self.untold.push_back(News::Welcome);
        self.greeted = if protocol == PROTOCOL { Greeted::Yes } else { Greeted::OtherVersion };
        if self.greeted == Greeted::Yes {
            for (id, entry) in &mut self.containers {
                entry.queued = true;
                self.untold.push_back(News::Container(id.clone()));
            }
            self.untold.push_back(News::Synced);
        }
        self.wake.notify_one();
    }

    fn set(&mut self, id: &ContainerId, state: State) {
        if let Some(entry) = self.containers.get_mut(id) {
            entry.state = state;
            self.tell(id);
        }
    }

    fn remove(&mut self, id: &ContainerId) {
        match self.containers.get(id).map(|entry| &entry.state) {
            Some(State::Exited(_)) => {
                self.containers.remove(id);
            }
            Some(_) => tracing::warn!(container = %id, "a container that runs is not forgotten"),
            None => {}
        }
    }

    fn tell(&mut self, id: &ContainerId) {
        if self.greeted != Greeted::Yes {
            return;
        }
        if let Some(entry) = self.containers.get_mut(id)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.untold.push_back(News::Container(id.clone()));
            self.wake.notify_one();
        }
    }

    /// What no agent was there to hear of is told with the next failure.
    fn tell_failures(&mut self, id: &ContainerId) {
        if self.greeted != Greeted::Yes {
            return;
        }
        if let Some(entry) = self.containers.get_mut(id)
            && !std::mem::replace(&mut entry.failures_queued, true)
        {
            self.untold.push_back(News::Failures(id.clone()));
            self.wake.notify_one();
        }
    }

    fn tell_denials(&mut self, id: &ContainerId) {
        if self.greeted != Greeted::Yes {
            return;
        }
        let waits = |news: &News| matches!(news, News::Denial(waiting) if waiting == id);
        if !self.untold.iter().any(waits) {
            self.untold.push_back(News::Denial(id.clone()));
            self.wake.notify_one();
        }
    }

    fn clear_untold(&mut self) {
        self.untold.clear();
        for entry in self.containers.values_mut() {
            (entry.queued, entry.failures_queued) = (false, false);
        }
    }
}

/// What is kept of a guest's refusals until an agent hears of them.
const DENIALS_MAX: usize = 16;

/// How long the end of everything waits for containers to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);
