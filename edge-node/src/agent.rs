//! The agent: the shell around a node's core, which turns assignments into running pods and keeps them so.
//!
//! One task owns the core and carries between it and everything that takes time or touches the world: the session, the sandbox, the
//! store, fetches, log files and the clock. It decides nothing: what happens is fed to the core, and what the core asks for is handed
//! on. Everything slow is elsewhere: commits on the store's thread, files on a helper, fetches and log readers in tasks of their own.

mod boot;
mod carry;
mod clerk;
mod clock;
mod code;
mod forward;
mod homes;
mod host;
mod image_asks;
mod images;
mod inspect;
mod shared;
mod streams;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use dunlin_edge_node_core::{
    address::ForwardPlace,
    check::Outcome,
    node::{ChangeTicket, CheckKey, Look, NodeCore, TokenOrder, Told, WriteTicket},
    pod::Residence,
    pressure::Signals,
    reasons,
    sandbox::{Request, State},
};
use dunlin_link::{
    ContainerId, PodUid,
    assignment::{AssignmentChange, Refusal},
    limits::STATIC_PODS_ASKED_MAX,
    statics::StaticPod,
    status::NodeEvent,
    tokens::{IssuedToken, TokenOpen},
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    boot::{AgentOptions, AgentParts},
    code::{Codes, RunnerTarget},
    host::AgentHost,
};
use self::{
    clerk::{Clerk, Filed, Heard},
    clock::Clock,
    code::CodeStep,
    host::{Locate, Located},
    images::FetchStep,
    shared::Shared,
};
use crate::{
    images::{ImageBounds, Images, PullEnded},
    local::Local,
    modules::Modules,
    prober::Prober,
    sandbox::{Addressed, PodSandboxes, PodTold},
    session::SessionHandle,
    statics::Scan,
};

/// The carrier between a node's core and the world.
#[derive(Debug)]
pub(crate) struct Agent {
    core: NodeCore,
    clock: Clock,
    local: Local,
    modules: Modules,
    clerk: Clerk,
    session: SessionHandle,
    shared: Arc<Shared>,
    requests: Requests,
    sandboxes: PodSandboxes,
    /// Pods whose images are being found out.
    surveys: JoinSet<(PodUid, Residence)>,
    prober: Prober,
    /// Looks at containers that are under way, or wait for their turn: at most three for each.
    checks: JoinSet<(CheckKey, Outcome)>,
    fetches: JoinSet<FetchStep>,
    codes: Codes,
    /// Code that is being fetched, for containers that wait for it or ahead.
    code_waits: JoinSet<CodeStep>,
    images: Images,
    image_bounds: ImageBounds,
    pulls: JoinSet<PullEnded>,
    /// Tokens that are asked for: one for each that a pod wants.
    token_asks: JoinSet<(TokenOrder, Result<IssuedToken, String>)>,
    writes: FuturesUnordered<BoxFuture<'static, (WriteTicket, io::Result<()>)>>,
    /// Who waits for a change to be durable.
    replies: HashMap<ChangeTicket, CommitReply>,
    changes: u64,
    /// Whether the last write to the local state failed.
    is_state_failing: bool,
    /// Who waits for the end of the node's pods, because the machine goes down.
    shutting_down: Vec<oneshot::Sender<()>>,
    /// Who follows the log of a container that runs.
    followers: HashMap<ContainerId, watch::Sender<bool>>,
    /// What the manifests of static pods hold, for the coordinator to show.
    manifests: BTreeMap<PodUid, Arc<[u8]>>,
}

/// The way to the sandbox.
#[derive(Debug)]
struct Requests {
    channel: mpsc::Sender<Addressed>,
    /// What the channel had no room for.
    outbox: VecDeque<Request>,
    incarnation: u64,
}

type CommitReply = oneshot::Sender<io::Result<Vec<Refusal>>>;

/// A question or order of the session.
#[derive(Debug)]
enum Input {
    Commit { change: AssignmentChange, reply: CommitReply },
    Statics(Scan),
    StaticPodsWanted(Vec<PodUid>),
    Locate { locate: Locate, reply: oneshot::Sender<Result<Located, String>> },
    LiveContainer { uid: PodUid, container: String, reply: oneshot::Sender<Result<ContainerId, String>> },
    Endpoint { uid: PodUid, port: u16, reply: oneshot::Sender<Result<SocketAddr, String>> },
    ForwardPlace { uid: PodUid, port: u16, reply: oneshot::Sender<Result<ForwardPlace, String>> },
    Inspect(inspect::Inspect),
    IsShort { signals: Signals, reply: oneshot::Sender<bool> },
    Looked(Box<Look>),
}

/// What the loop waits for besides the store, files and fetches.
#[derive(Debug)]
struct Ears {
    inputs: mpsc::Receiver<Input>,
    told: mpsc::Receiver<Told>,
    /// Of pods' own sandboxes.
    told_by: mpsc::Receiver<PodTold>,
}

impl Agent {
    /// Keeps pods running until `shutdown`; guests go on without it.
    async fn run(mut self, mut ears: Ears, shutdown: CancellationToken) {
        loop {
            self.carry();
            self.requests.flush();
            self.tell_of_shutdown();
            let wake = self.core.poll_timeout().map(|at| self.clock.instant(at));
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                filed = self.clerk.done() => self.handle_filed(filed),
                // While the end of a log is read, later news of the sandbox waits: they come in order.
                Some(told) = ears.told.recv(), if !self.clerk.is_reading() => {
                    self.hear(told);
                    self.hear_more(&mut ears);
                }
                Some(told) = ears.told_by.recv(), if !self.clerk.is_reading() => self.hear_by(told),
                Some((ticket, result)) = self.writes.next(), if !self.writes.is_empty() => {
                    self.handle_written(ticket, result);
                }
                Some(input) = ears.inputs.recv() => self.handle_input(input),
                Some(fetched) = self.fetches.join_next(), if !self.fetches.is_empty() => match fetched {
                    Ok(step) => self.handle_fetch(step),
                    Err(error) => tracing::error!(%error, "a fetch ended without an answer"),
                },
                Some(seen) = self.code_waits.join_next(), if !self.code_waits.is_empty() => match seen {
                    Ok(step) => self.handle_code(step),
                    Err(error) => tracing::error!(%error, "a fetch of code ended without an answer"),
                },
                Some(ended) = self.pulls.join_next(), if !self.pulls.is_empty() => match ended {
                    Ok(ended) => self.handle_pull_ended(ended),
                    Err(error) => tracing::error!(%error, "a pull ended without an answer"),
                },
                Some(asked) = self.token_asks.join_next(), if !self.token_asks.is_empty() => match asked {
                    Ok((order, answer)) => self.core.handle_token(&order, answer, self.clock.now()),
                    Err(error) => tracing::error!(%error, "a token was asked for without an answer"),
                },
                Some(surveyed) = self.surveys.join_next(), if !self.surveys.is_empty() => self.handle_surveyed(surveyed),
                Some(checked) = self.checks.join_next(), if !self.checks.is_empty() => match checked {
                    Ok((key, outcome)) => self.core.handle_checked(&key, outcome, self.clock.now()),
                    Err(error) => tracing::error!(%error, "a look at a container ended without an answer"),
                },
                permit = self.requests.channel.clone().reserve_owned(), if !self.requests.outbox.is_empty() => {
                    if let Ok(permit) = permit {
                        self.requests.send_one(permit);
                    }
                }
                () = sleep_until(wake) => {
                    let now = self.clock.now();
                    self.core.handle_timeout(now);
                }
            }
        }
        // Whoever still tells something is not held up.
        drop(ears);
        self.finish().await;
    }

    /// Takes what else the sandbox has told already, so that a burst of ends shares one write.
    fn hear_more(&mut self, ears: &mut Ears) {
        for _ in 0..BURST_MAX {
            if self.clerk.is_reading() {
                return;
            }
            let Ok(told) = ears.told.try_recv() else { return };
            self.hear(told);
        }
    }

    /// Hands on what the sandbox told; an end whose message is to come from its log waits for that.
    fn hear(&mut self, told: Told) {
        match self.core.log_of_failure(&told) {
            Some(place) => self.clerk.read_end(place, Heard::Runner(told)),
            None => self.tell(told),
        }
    }

    fn tell(&mut self, told: Told) {
        match &told {
            Told::Container { id, state: State::Exited(_), .. } => self.end_followers(id),
            Told::Gone => {
                self.requests.handle_gone();
                for (_, ended) in self.followers.drain() {
                    ended.send_replace(true);
                }
            }
            _ => {}
        }
        self.core.handle_told(told, self.clock.now());
    }

    /// Whoever follows the log of a container reads what is left of it.
    fn end_followers(&mut self, id: &ContainerId) {
        if let Some(ended) = self.followers.remove(id) {
            ended.send_replace(true);
        }
    }

    fn handle_filed(&mut self, filed: Filed) {
        let now = self.clock.now();
        match filed {
            Filed::Prepared(runs) => {
                for (run, prepared) in runs {
                    self.core.handle_prepared(run, prepared, now);
                }
            }
            Filed::Read(Heard::Runner(told)) => self.tell(told),
            Filed::Read(Heard::Pod(told)) => self.tell_by(told),
        }
    }

    fn handle_input(&mut self, input: Input) {
        match input {
            Input::Commit { change, reply } => {
                self.changes += 1;
                let ticket = ChangeTicket(self.changes);
                self.replies.insert(ticket, reply);
                self.core.handle_change(ticket, change, self.clock.now());
            }
            Input::Statics(scan) => self.handle_statics(scan),
            Input::StaticPodsWanted(uids) => self.tell_static_pods(uids),
            Input::Locate { locate, reply } => {
                // The asker may have gone away; there is nobody else to tell.
                let _ = reply.send(self.locate(&locate));
            }
            Input::LiveContainer { uid, container, reply } => {
                let _ = reply.send(self.core.live_container(&uid, &container));
            }
            Input::Endpoint { uid, port, reply } => {
                let _ = reply.send(self.core.endpoint(&uid, port));
            }
            Input::ForwardPlace { uid, port, reply } => {
                let _ = reply.send(self.core.forward_place(&uid, port));
            }
            Input::Inspect(inspect) => self.handle_inspect(inspect),
            Input::IsShort { signals, reply } => {
                let _ = reply.send(self.core.wants_usages(&signals, self.clock.now()));
            }
            Input::Looked(mut look) => {
                look.modules = self.modules_by_name();
                self.tend_images(look.signals.disk);
                self.core.handle_look(*look, self.clock.now());
            }
        }
    }

    /// The static pods' folder looks different.
    fn handle_statics(&mut self, Scan { pods, objects, modules, rejected }: Scan) {
        let now = self.clock.now();
        for (digest, bytes) in modules {
            self.modules.insert(digest, bytes, now.wall.0.unsigned_abs());
        }
        self.shared.set_rejected(rejected);
        self.manifests = objects;
        self.core.handle_statics(pods, now);
    }

    /// The coordinator asks what static pods are, to show them: tells their manifests, and how they fare. Of a pod whose manifest went
    /// since, and of one that no frame holds, it can tell nothing.
    fn tell_static_pods(&mut self, uids: Vec<PodUid>) {
        let now = self.clock.now();
        for uid in uids.into_iter().take(STATIC_PODS_ASKED_MAX) {
            let object = self.manifests.get(&uid).map(|object| object.to_vec()).unwrap_or_default();
            self.session.static_pod(StaticPod { uid: uid.clone(), object });
            self.core.handle_mirrored(&uid, now);
        }
    }

    /// Asks for a token, for as long as it takes.
    fn ask_token(&mut self, order: TokenOrder) {
        let session = self.session.clone();
        self.token_asks.spawn(async move {
            let open = TokenOpen { uid: order.uid.clone(), claim: order.claim.clone() };
            let answer = session.token(&open).await;
            (order, answer)
        });
    }

    fn handle_written(&mut self, ticket: WriteTicket, result: io::Result<()>) {
        self.tell_of_state(&result);
        self.core.handle_written(ticket, result.map_err(|error| error.to_string()), self.clock.now());
    }

    /// Says once that the local state cannot be written, and once that it can again.
    fn tell_of_state(&mut self, result: &io::Result<()>) {
        if result.is_err() == self.is_state_failing {
            return;
        }
        self.is_state_failing = result.is_err();
        let (reason, message) = match result {
            Ok(()) => (reasons::STATE_WRITTEN, "The node's local state can be written again".to_owned()),
            Err(error) => (
                reasons::STATE_NOT_WRITTEN,
                format!(
                    "The node's local state cannot be written, so the node takes no changes but to stop pods; the pods that it has go on: {error}"
                ),
            ),
        };
        if result.is_err() {
            tracing::error!("{message}");
        } else {
            tracing::info!("{message}");
        }
        let (warning, at) = (result.is_err(), self.clock.now().wall);
        self.session.event(NodeEvent { pod: None, warning, reason: reason.to_owned(), message, at });
    }

    /// Writes what has to survive before the agent ends.
    async fn finish(mut self) {
        self.core.handle_shutdown();
        self.carry();
        let rest = async {
            while let Some((ticket, result)) = self.writes.next().await {
                self.handle_written(ticket, result);
                self.carry();
            }
        };
        if tokio::time::timeout(FINISH_MAX, rest).await.is_err() {
            tracing::error!("the local state did not become durable in time");
        }
        self.sandboxes.finish().await;
    }
}

impl Requests {
    fn new(channel: mpsc::Sender<Addressed>) -> Self {
        Self { channel, outbox: VecDeque::new(), incarnation: 0 }
    }

    /// Hands waiting requests over while there is room.
    fn flush(&mut self) {
        while !self.outbox.is_empty() {
            let Ok(permit) = self.channel.clone().try_reserve_owned() else { return };
            self.send_one(permit);
        }
    }

    fn send_one(&mut self, permit: mpsc::OwnedPermit<Addressed>) {
        if let Some(request) = self.outbox.pop_front() {
            permit.send(Addressed { incarnation: self.incarnation, request });
        }
    }

    /// What was asked of a sandbox that ended is not asked of the next.
    fn handle_gone(&mut self) {
        self.incarnation += 1;
        self.outbox.clear();
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Messages of the sandbox taken in one turn.
const BURST_MAX: usize = 256;

/// How long the last writes may take at shutdown.
const FINISH_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
