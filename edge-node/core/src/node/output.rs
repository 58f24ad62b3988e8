//! The complete list of what a node's core may ask for, and the words of its answers.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use dunlin_link::{
    ContainerId, Digest, PodUid, Revision,
    assignment::Refusal,
    health::HeldPods,
    node_state::NodeState,
    pod::{ConfigObject, PodAssignment, PullPolicy},
    statics::StaticPodName,
    status::{NodeEvent, NodeFacts, PodStatusReport},
};

use super::{records::Batch, tokens::TokenOrder};
use crate::{
    check::{Check, CheckTicket},
    launch::Material,
    pod::ContainerIndex,
    sandbox::{Owner, Request, State, linux::LinuxPod},
    volumes::{MountError, Setup, VolumeSetup},
};

/// Names a change for the answer to it; chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeTicket(pub u64);

/// Names a batch for the answer to it; chosen by the core, rising.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteTicket(pub(super) u64);

/// What to do next.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make a batch durable, in the order of these outputs; answered by [`super::NodeCore::handle_written`]. It is whole or not at all.
    Write {
        /// Which.
        ticket: WriteTicket,
        /// What.
        batch: Box<Batch>,
    },
    /// What became of a change. A change whose digest does not fit is no error and refuses nothing, but leaves [`super::NodeCore::applied`]
    /// as it was: the session compares, and asks for a snapshot.
    Committed {
        /// Which.
        ticket: ChangeTicket,
        /// Pods that the node refuses.
        result: Result<Vec<Refusal>, ChangeError>,
    },
    /// Tell the node's runner, in the order of these outputs. What was not delivered when the runner ended is dropped.
    Ask(Request),
    /// Tell a pod's own sandbox, likewise.
    AskPod(PodUid, Request),
    /// Find out what the images of a pod are; answered by [`super::NodeCore::handle_surveyed`].
    Survey(Box<SurveyOrder>),
    /// Make a pod's own sandbox, with its network; answered by [`Told::Opened`] or [`Told::NotOpened`].
    OpenSandbox(Box<SandboxOrder>),
    /// End a pod's own sandbox and remove all that is left of it, in the order of these outputs. What it tells after that is of no interest.
    CloseSandbox(PodUid),
    /// Tell whether a module, or an image of the coordinator's, is here; answered by [`super::NodeCore::handle_module`].
    Locate(Digest),
    /// Fetch it from the coordinator, however long that takes; answered by [`super::NodeCore::handle_fetched`].
    Fetch {
        /// What.
        digest: Digest,
        /// What a pod calls it.
        reference: String,
    },
    /// Make an image of another registry than the coordinator present; answered by [`super::NodeCore::handle_image`], once or, where a
    /// registry is asked, first with that.
    Pull(Box<PullOrder>),
    /// Ask the coordinator for a token, however long it takes to reach it; answered by [`super::NodeCore::handle_token`].
    AskToken(Box<TokenOrder>),
    /// Make room for a run's log and name its files; answered by [`super::NodeCore::handle_prepared`].
    Prepare(Preparation),
    /// Look at a container; answered by [`super::NodeCore::handle_checked`], unless the run ends before.
    Check(Box<CheckOrder>),
    /// Report a pod's status; kept until it is acked, and sent at the start of a session until then (see [`super::Unacked`]).
    Report(Box<PodStatusReport>),
    /// A pod is forgotten: its reports and logs go. `None` for a pod that never was here.
    Forgotten {
        /// Which.
        uid: PodUid,
        /// What it was.
        pod: Option<Arc<PodAssignment>>,
    },
    /// Modules that no pod names may go.
    Sweep(BTreeSet<Digest>),
    /// Modules that no pod names go at once, all of them: the disk is short.
    Reclaim(BTreeSet<Digest>),
    /// The logs of a pod that was evicted for want of disk go.
    DropLogs(Arc<PodAssignment>),
    /// What these volumes are made of changed: their files are written anew, where they are.
    Project(Projecting),
    /// A pod is over: its volumes go.
    Unmount(Arc<PodAssignment>),
    /// The node's state as a whole changed.
    State(Box<NodeState>),
    /// Content cannot be opened: have everything sent again.
    StartOver,
    /// Tell the coordinator.
    Event(NodeEvent),
    /// The node's facts changed.
    Facts(Box<NodeFacts>),
    /// These are all static pods now, those included that are being stopped; to be stated to the coordinator, before any report of theirs.
    StaticPods(Vec<StaticPodName>),
    /// How many pods there are changed.
    Pods(HeldPods),
    /// For the log.
    Notice(Notice),
}

/// The images of a pod whose sandbox is about to be chosen.
#[derive(Clone, Debug)]
pub struct SurveyOrder {
    /// The pod.
    pub uid: PodUid,
    /// All of its images, init containers' first; once each.
    pub images: Vec<SurveyedImage>,
    /// Whose credentials may be shown to registries.
    pub secrets: Vec<PullSecret>,
}

/// An image as a pod names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SurveyedImage {
    /// Its reference.
    pub reference: String,
    /// What is known of it: as the coordinator has it, or as it was pulled.
    pub digest: Option<Digest>,
}

/// A sandbox that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxOrder {
    /// Whose.
    pub pod: Arc<PodAssignment>,
    /// What its containers share.
    pub linux: LinuxPod,
    /// The pod's address; `None` in the machine's own network.
    pub address: Option<Ipv4Addr>,
}

/// A look at a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckOrder {
    /// Whose.
    pub key: CheckKey,
    /// The run, as the sandbox knows it.
    pub id: ContainerId,
    /// What to do.
    pub check: Check,
}

/// An image that a container needs from a registry.
#[derive(Clone, Debug)]
pub struct PullOrder {
    /// To be given back with the answer.
    pub key: PullKey,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// What the container ran before. It serves when the registry is out of reach.
    pub last: Option<Digest>,
    /// Whose credentials may be shown.
    pub secrets: Vec<PullSecret>,
}

/// Names a pull for the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullKey {
    /// The pod.
    pub uid: PodUid,
    /// Which container of it.
    pub container: ContainerIndex,
    /// The image, as the pod names it.
    pub reference: String,
}

/// A Secret with credentials of registries.
#[derive(Clone, Debug)]
pub struct PullSecret {
    /// Its name in the pod's namespace.
    pub name: String,
    /// Its content.
    pub content: Arc<ConfigObject>,
}

/// Names a look for the answer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckKey {
    /// The pod.
    pub uid: PodUid,
    /// Which container of it.
    pub container: ContainerIndex,
    /// Which look.
    pub ticket: CheckTicket,
}

/// A run that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preparation {
    /// Which run; to be given back with the answer.
    pub run: RunKey,
    /// Its pod.
    pub pod: Arc<PodAssignment>,
    /// Its container's name.
    pub container: String,
    /// What has to be in place for it.
    pub setup: Setup,
}

/// Volumes whose files are to be written anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Projecting {
    /// Whose.
    pub pod: Arc<PodAssignment>,
    /// Each with all of its files.
    pub volumes: Vec<VolumeSetup>,
}

/// One run of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunKey {
    /// The pod.
    pub uid: PodUid,
    /// Which container of it.
    pub container: ContainerIndex,
    /// The container's id for this run.
    pub id: ContainerId,
    /// Number of the run.
    pub attempt: u32,
    /// The module to run.
    pub module: Option<Digest>,
}

/// What was found when room was made for a run's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// The run may begin with these files.
    Ready {
        /// Where the log goes.
        log: String,
        /// What it is made of.
        material: Material,
    },
    /// A volume is not in place.
    Unmounted(MountError),
    /// There is a log of this run or a later one already: it ran, and was not remembered because agent and sandbox died together.
    Begun {
        /// The latest run that has a log.
        attempt: u32,
    },
    /// There is no compiled code of the module, in words why not; another attempt may find some.
    NoCode(String),
    /// The module is none that could run anywhere, in words.
    CannotRun(String),
    /// Not possible, in words.
    Failed(String),
}

/// Whether a module is on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is here, whole and verified.
    Here,
    /// It is not.
    Missing,
}

/// A module that was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// How long that took, waiting included.
    pub took_ms: u64,
    /// Its size.
    pub bytes: u64,
}

/// What is heard of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What runs is not known until `Synced` or `Gone`: the connection ended.
    Unsure,
    /// A container's state.
    Container {
        /// Which.
        id: ContainerId,
        /// Whose.
        owner: Owner,
        /// Its state now.
        state: State,
    },
    /// Requests to a container's HTTP handler failed.
    RequestsFailed {
        /// Which.
        id: ContainerId,
        /// Whose.
        owner: Owner,
        /// How many since it began.
        count: u64,
        /// What is said of the last.
        message: String,
    },
    /// A container's guest was refused something of the network.
    Denied {
        /// Which.
        id: ContainerId,
        /// Whose.
        owner: Owner,
        /// What.
        message: String,
    },
    /// All containers were told.
    Synced {
        /// What runs guests, for instance `wasmtime://48.0.8`.
        runtime: String,
    },
    /// Nothing runs: there is no sandbox.
    Gone,
    /// The pod's own sandbox is there.
    Opened {
        /// The pod's address, where a network plugin gave it one.
        given: Option<Ipv4Addr>,
    },
    /// The pod's own sandbox cannot be made, in words; nothing is left of it.
    NotOpened(String),
}

/// Why a change was not made; everything is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// It is meant for another state.
    #[error("a change from revision {base} does not apply to revision {held}")]
    WrongBase {
        /// What it builds on.
        base: Revision,
        /// What the node has.
        held: Revision,
    },
    /// It is of the past.
    #[error("revision {offered} is older than revision {held}")]
    Older {
        /// What it would lead to.
        offered: Revision,
        /// What the node has.
        held: Revision,
    },
    /// It could not be made durable.
    #[error("failed to write the change to the local state: {0}")]
    NotWritten(String),
    /// Too many changes wait for their turn.
    #[error("too many changes wait to be written")]
    TooMany,
}

/// What an operator may want to know; the shell has the words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A change leads to another set than the coordinator means; a snapshot is asked for.
    OtherSet {
        /// What it builds on.
        base: Option<Revision>,
        /// What it would lead to.
        revision: Revision,
    },
    /// A change names content that is not here; a snapshot is asked for.
    MissingContent(Digest),
    /// The coordinator neither names nor buries a pod; it is held.
    Held(PodUid),
    /// A pod's turn panicked; the pod keeps what it got to.
    Panicked(PodUid),
    /// A container runs whose pod is not known; it is kept.
    Stranger(PodUid),
    /// The sandbox ended, and so many containers with it.
    SandboxLost {
        /// How many.
        containers: usize,
    },
    /// Runs were not remembered, as after every power cut, and are counted by their logs.
    RunsRecovered {
        /// How many.
        runs: usize,
    },
    /// What happened to a static pod: whoever looks after a machine alone has nothing but its log.
    StaticPod(Box<NodeEvent>),
    /// Memories, or static pods, could not be written and are tried again.
    NotRemembered(String),
}
