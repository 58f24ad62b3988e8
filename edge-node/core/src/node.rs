//! Everything that a node decides, as one machine without input or output: which pods there are, what becomes of them, what is
//! written when, what the sandbox is asked, and what the coordinator hears.
//!
//! How it is driven:
//! 1. Read the local state (raising its count of starts durably) and [`NodeCore::boot`]. Pods do nothing until the sandbox has
//!    told what runs: [`Told::Synced`] after a [`Told::Container`] for each, or [`Told::Gone`] when there is no sandbox.
//! 2. Feed what happens by the `handle_*` methods, each with the time of that turn. Several may be fed before outputs are taken:
//!    what they have to write then shares a batch.
//! 3. Take outputs by [`NodeCore::poll_output`] until there is none, and carry them out in their order. None of them has to be
//!    answered at once, and answers may come in any order, but for the batches of [`Output::Write`]: they become durable in order.
//! 4. Call [`NodeCore::handle_timeout`] no later than [`NodeCore::poll_timeout`] says.
//!
//! A crash may come between any two calls. What was durable is the batches that the store has, each whole; one whose
//! [`NodeCore::handle_written`] was not called may be there or not. The next core is booted from that, and nothing that the last one
//! promised (an acked change, a reported end) is taken back.
//!
//! The same calls with the same times give the same outputs: order is by uid wherever it could show, container ids follow from the
//! pod, the run and the count of starts, and nothing is drawn at random. A panic in one pod's turn stays that pod's.

mod change;
mod inspect;
mod log;
mod output;
mod pressure;
mod records;
mod remember;
mod room;
mod sandbox;
mod set;
mod shutdown;
mod statics;
mod stream;
mod timers;
mod tokens;
mod turn;
mod unacked;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use dunlin_link::{
    Digest, PodUid, Revision,
    assignment::{AssignmentChange, Tombstone},
    held::HeldSet,
    session::node::Applied,
    status::NodeFacts,
};

use self::{
    change::Committing, pressure::Machine, remember::ToRemember, sandbox::SandboxView, statics::Statics,
    timers::Timers, tokens::Tokens, turn::PodsPulling,
};
pub use self::{
    change::stopped_report,
    inspect::Inspected,
    log::{LogPlace, WhichRun},
    output::{
        Arrived, ChangeError, ChangeTicket, CheckKey, CheckOrder, Notice, Output, Preparation, Prepared,
        Presence, Projecting, PullKey, PullOrder, PullSecret, RunKey, SandboxOrder, SurveyOrder,
        SurveyedImage, Told, WriteTicket,
    },
    pressure::{DiskUsage, Look, VolumeUsage},
    records::{AppliedRecord, Batch, Change, Loaded, PodRecord},
    set::ImageUser,
    statics::{Origin, static_pod},
    tokens::{TokenOrder, record_id},
    unacked::Unacked,
};
use crate::{
    address::{AddressPool, BlockRange, Loopback, PodSlot},
    admission::AllowedSysctls,
    app_armor::AppArmor,
    clock::{Mono, Now},
    content::{Contents, Seal},
    env::ApiAddress,
    memory::End,
    pod::Pod,
    pressure::{Pressures, Thresholds},
};

/// What a node is told of itself.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name.
    pub name: String,
    /// What it is and has.
    pub facts: NodeFacts,
    /// Where its pods' addresses are from.
    pub blocks: BlockRange,
    /// How they are reached on the machine.
    pub loopback: Loopback,
    /// What its Secrets are sealed to.
    pub seal: Arc<Seal>,
    /// Below which it ends pods.
    pub thresholds: Thresholds,
    /// Pods for which an earlier agent made sandboxes of their own, which may still be there.
    pub own_sandboxes: BTreeSet<PodUid>,
    /// Where pods reach the API.
    pub api: Option<ApiAddress>,
    /// What pods may set of the kernel beyond what every pod may.
    pub sysctls: AllowedSysctls,
    /// Whether the machine has SELinux.
    pub se_linux: bool,
    /// What the machine has of AppArmor; of no use where there are no Linux containers.
    pub app_armor: AppArmor,
}

/// The owner of all pods of a node; see the module.
#[derive(Debug)]
pub struct NodeCore {
    pods: BTreeMap<PodUid, Entry>,
    tombstones: BTreeMap<PodUid, Tombstone>,
    held: HeldSet,
    applied: Applied,
    addresses: AddressPool,
    sandbox: SandboxView,
    committing: Option<Committing>,
    /// Changes that wait for the one being written.
    waiting: VecDeque<(ChangeTicket, AssignmentChange)>,
    /// Memories that are being written: one batch at a time, so that all that comes meanwhile shares the next.
    remembering: Option<(WriteTicket, Vec<PodUid>)>,
    next_write: u64,
    statics: Statics,
    machine: Machine,
    desk: Desk,
}

/// What pods' turns work with.
#[derive(Debug)]
struct Desk {
    node: NodeSelf,
    objects: Contents,
    tokens: Tokens,
    pulls: BTreeMap<Digest, PodsPulling>,
    timers: Timers,
    to_remember: ToRemember,
    /// Pods that are stopped for tombstones which are not durable.
    unburied: BTreeSet<PodUid>,
    /// Since that was last said.
    runs_recovered: usize,
    /// Pods with sandboxes of their own.
    own: BTreeSet<PodUid>,
    outputs: VecDeque<Output>,
}

/// What pods and their reports need to know of the node.
#[derive(Debug)]
struct NodeSelf {
    name: String,
    host_ip: Arc<str>,
    facts: NodeFacts,
    /// As the coordinator has them.
    told: NodeFacts,
    loopback: Loopback,
    /// Where pods reach the API.
    api: Option<ApiAddress>,
    sysctls: AllowedSysctls,
    se_linux: bool,
    app_armor: AppArmor,
    /// How often this node's agent was started.
    starts: u64,
}

/// One pod.
#[derive(Debug)]
struct Entry {
    pod: Pod,
    origin: Origin,
    /// As in its record.
    revision: Option<Revision>,
    refusal: Option<(String, String)>,
    /// When the timer that is set for it goes off.
    wakes_at: Option<Mono>,
    /// What became of its volumes.
    files: Files,
}

/// What became of a pod's volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// They are there, or may be.
    Kept,
    /// They went with its end.
    Gone,
}

impl NodeCore {
    /// A node with what its disk holds; nothing runs yet as far as it knows.
    pub fn boot(options: NodeOptions, loaded: Loaded, now: Now) -> Self {
        let held = set::held_set(&loaded);
        let taken =
            loaded.pods.values().chain(loaded.statics.values()).filter_map(|record| record.slot).map(PodSlot);
        let host_ip = options.facts.addresses.first().map_or("127.0.0.1", String::as_str).into();
        let mut core = Self {
            pods: BTreeMap::new(),
            tombstones: loaded.tombstones,
            applied: Applied {
                revision: loaded.applied.revision,
                restore_generation: loaded.applied.restore_generation,
                state_digest: held.digest(),
                protocol: loaded.protocol,
            },
            held,
            addresses: AddressPool::new(options.blocks, taken),
            sandbox: SandboxView::default(),
            committing: None,
            waiting: VecDeque::new(),
            remembering: None,
            next_write: 0,
            statics: Statics::default(),
            machine: Machine::new(Pressures::new(options.thresholds)),
            desk: Desk {
                node: NodeSelf {
                    name: options.name,
                    host_ip,
                    told: options.facts.clone(),
                    facts: options.facts,
                    loopback: options.loopback,
                    api: options.api,
                    sysctls: options.sysctls,
                    se_linux: options.se_linux,
                    app_armor: options.app_armor,
                    starts: loaded.starts,
                },
                tokens: Tokens::restored(loaded.tokens, &options.seal),
                objects: Contents::new(options.seal, loaded.objects),
                pulls: BTreeMap::new(),
                timers: Timers::default(),
                to_remember: ToRemember::default(),
                unburied: BTreeSet::new(),
                runs_recovered: 0,
                own: options.own_sandboxes,
                outputs: VecDeque::new(),
            },
        };
        let mut memories = loaded.memories;
        let assigned = loaded.pods.into_iter().map(|(uid, record)| (uid, record, Origin::Assigned));
        let statics = loaded.statics.into_iter().map(|(uid, record)| (uid, record, Origin::Static));
        for (uid, record, origin) in assigned.chain(statics) {
            let mut memory = memories.remove(&uid).unwrap_or_default();
            if !core.tombstones.contains_key(&uid) {
                // The deletion became void, and that was durable before this was written again.
                memory.end.take_if(|end| *end == End::Deleted);
            }
            let mut entry = core.desk.node.entry(record, origin, memory, now);
            if core.desk.own.contains(&uid) {
                entry.pod.handle_inherited_sandbox();
            }
            core.pods.insert(uid, entry);
        }
        core.stop_buried(now);
        core.count_pods();
        core.tell_room();
        core.state_statics();
        if core.desk.objects.lacks_any() {
            core.desk.outputs.push_back(Output::StartOver);
        }
        core
    }

    /// Timers that are due go off.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(uid) = self.desk.timers.pop_due(now.mono) {
            self.with_pod(&uid, now, |pod, now| pod.handle_timeout(now));
        }
        self.desk.to_remember.handle_timeout(now.mono);
        self.continue_shutdown(now);
    }

    /// The agent is to end: what has to survive is written with the next outputs.
    pub fn handle_shutdown(&mut self) {
        self.desk.to_remember.set_due();
    }

    /// What to do next. When nothing is left, memories that are due are put into one batch.
    pub fn poll_output(&mut self, now: Now) -> Option<Output> {
        if self.desk.outputs.is_empty() {
            self.continue_shutdown(now);
            self.write_statics(now);
            self.write_memories(now);
            self.tell_of_recovered();
        }
        self.desk.outputs.pop_front()
    }

    /// When to call [`NodeCore::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<Mono> {
        let memories = if self.remembering.is_none() { self.desk.to_remember.due() } else { None };
        self.desk
            .timers
            .next()
            .into_iter()
            .chain(memories)
            .chain(self.statics_due())
            .chain(self.shutdown_due())
            .min()
    }

    /// What the node holds durably: of the last change that was committed.
    pub fn applied(&self) -> Applied {
        self.applied
    }

    /// A pod's machine.
    pub fn pod(&self, uid: &PodUid) -> Option<&Pod> {
        self.pods.get(uid).map(|entry| &entry.pod)
    }

    /// All pods by uid, with who wants them.
    pub fn pods(&self) -> impl Iterator<Item = (&Pod, Origin)> {
        self.pods.values().map(|entry| (&entry.pod, entry.origin))
    }

    /// Pods that are to stop, or have stopped and are not forgotten.
    pub fn tombstones(&self) -> &BTreeMap<PodUid, Tombstone> {
        &self.tombstones
    }

    /// One word for all runs of a turn that were counted by their logs.
    fn tell_of_recovered(&mut self) {
        let runs = std::mem::take(&mut self.desk.runs_recovered);
        if runs > 0 {
            self.desk.notice(Notice::RunsRecovered { runs });
        }
    }

    fn next_write(&mut self) -> WriteTicket {
        self.next_write += 1;
        WriteTicket(self.next_write)
    }
}

#[cfg(test)]
mod tests;
