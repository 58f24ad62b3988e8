//! Where a pod's containers run: with those of other pods in the node's runner, or in a sandbox of the pod's own.
//!
//! What decides is what the pod's images are. One that is an ordinary Linux image takes the whole pod into a sandbox of its own, its WASM
//! containers too, because containers of a pod share network, volumes and lifecycle. It is found out before the first container is put
//! together, and holds for as long as anything of the pod is there.

use std::net::Ipv4Addr;

use super::{
    Command, ContainerIndex, Pod, Stage,
    worker::{Create, Run},
};
use crate::{
    address::OwnNetwork,
    clock::{Mono, Now},
    reasons,
};

/// Where the containers of a pod run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Home {
    /// Nobody has asked yet what the pod's images are.
    #[default]
    Unknown,
    /// That is being found out.
    Asked,
    /// With other pods', in the node's runner.
    Shared,
    /// In a sandbox of their own.
    Own(Door),
}

/// Whether a pod's own sandbox is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// It is not.
    Closed,
    /// It is being made.
    Opening,
    /// It is there.
    Open,
    /// It could not be made.
    Failed { retry_at: Mono },
}

/// Where a pod belongs, by what its images are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residence {
    /// All are WASM.
    Shared,
    /// One is, or may be, a Linux image.
    Own,
}

impl Pod {
    /// An earlier agent has made a sandbox for this pod, which may still be there. To be called before anything else.
    pub fn handle_inherited_sandbox(&mut self) {
        self.move_out();
        self.synced = matches!(self.stage, Stage::Refused { .. });
    }

    /// It was found out what the pod's images are.
    pub fn handle_surveyed(&mut self, residence: Residence, now: Now) {
        if self.home == Home::Asked {
            match residence {
                Residence::Shared => self.move_in(),
                Residence::Own => self.move_out(),
            }
        }
        self.settle(now);
    }

    /// The pod's own sandbox is there; `given` is its address, where that is not the node's to choose.
    pub fn handle_opened(&mut self, given: Option<Ipv4Addr>, now: Now) {
        if matches!(self.home, Home::Own(_)) {
            self.home = Home::Own(Door::Open);
            self.homes_failed = 0;
            self.place.address.own = Some(OwnNetwork { given });
        }
        self.settle(now);
    }

    /// The pod's own sandbox cannot be made now.
    pub fn handle_not_opened(&mut self, why: &str, now: Now) {
        if self.home == Home::Own(Door::Opening) {
            let message = format!("Failed to create pod sandbox: {why}");
            self.push_pod_event(now, reasons::FAILED_CREATE_POD_SANDBOX.to_owned(), message);
            let delay_ms = (RETRY_MS << self.homes_failed.min(DOUBLINGS_MAX)).min(RETRY_MS_MAX);
            self.homes_failed += 1;
            self.home = Home::Own(Door::Failed { retry_at: now.mono.plus_millis(delay_ms) });
        }
        self.settle(now);
    }

    /// A container turned out to be a Linux container, and there is no sandbox for it: the pod moves, if nothing of it is left where it was.
    /// Answers whether it does.
    pub fn handle_homeless(&mut self, index: ContainerIndex, now: Now) -> bool {
        let is_free = self.workers.iter().all(|worker| worker.live_id().is_none())
            && self.remembered.ended.is_empty()
            && self.remembered.pending.is_none();
        let moves = match self.home {
            Home::Own(_) => true,
            Home::Unknown | Home::Asked | Home::Shared => is_free && !self.is_ephemeral(index),
        };
        if moves {
            if !matches!(self.home, Home::Own(_)) {
                self.move_out();
            }
            if self.worker(index).run == Run::Creating(Create::Asked) {
                self.worker_mut(index).run = Run::Creating(Create::Homeless);
            }
            self.settle(now);
        }
        moves
    }

    /// Whether the pod has, or gets, a sandbox of its own.
    pub const fn has_own_sandbox(&self) -> bool {
        matches!(self.home, Home::Own(_))
    }

    /// Whether that sandbox is there.
    pub fn is_sandbox_open(&self) -> bool {
        self.home == Home::Own(Door::Open)
    }

    /// Gives the pod's own sandbox up once nothing needs it any more: the pod is over, and its ends are remembered. Answers whether there
    /// was one.
    pub fn leave_sandbox(&mut self) -> bool {
        let is_free = self.is_over()
            && self.synced
            && self.remembered.ended.is_empty()
            && self.remembered.pending.is_none();
        let leaves = is_free && self.has_own_sandbox();
        if leaves {
            self.home = Home::Unknown;
        }
        leaves
    }

    /// A container of the pod is in the node's runner.
    pub(super) fn note_shared(&mut self) {
        if matches!(self.home, Home::Unknown | Home::Asked) {
            self.move_in();
        }
    }

    /// The pod's own sandbox is gone: what was to be put together there waits for the next one.
    pub(super) fn lose_home(&mut self) {
        if let Home::Own(door) = &mut self.home {
            *door = Door::Closed;
            for worker in &mut self.workers {
                if worker.run == Run::Creating(Create::Asked) {
                    worker.run = Run::Creating(Create::Homeless);
                }
            }
        }
    }

    /// Has a container put together, once it is known where.
    pub(super) fn create(&mut self, index: ContainerIndex, now: Now) {
        if self.worker_mut(index).advance(Run::Creating(Create::Homeless)) {
            self.house(now);
        }
    }

    /// Moves on what waits for a place to run.
    pub(super) fn house(&mut self, now: Now) {
        let homeless: Vec<_> = self
            .indexes()
            .filter(|index| self.worker(*index).run == Run::Creating(Create::Homeless))
            .collect();
        if homeless.is_empty() {
            return;
        }
        match self.home {
            Home::Unknown => {
                self.home = Home::Asked;
                self.commands.push_back(Command::Survey);
            }
            Home::Own(Door::Failed { retry_at }) if now.mono < retry_at => {}
            Home::Own(Door::Closed | Door::Failed { .. }) => {
                self.home = Home::Own(Door::Opening);
                self.commands.push_back(Command::Open);
            }
            Home::Asked | Home::Own(Door::Opening) => {}
            Home::Shared | Home::Own(Door::Open) => {
                for index in homeless {
                    let attempt = self.worker(index).attempt;
                    let id = self.container_id(index, attempt);
                    self.worker_mut(index).run = Run::Creating(Create::Asked);
                    self.commands.push_back(Command::Create { container: index, id, attempt });
                }
            }
        }
    }

    /// When the sandbox is tried again.
    pub(super) fn home_due(&self) -> Option<Mono> {
        let waits = self.workers.iter().any(|worker| worker.run == Run::Creating(Create::Homeless));
        match self.home {
            Home::Own(Door::Failed { retry_at }) if waits => Some(retry_at),
            _ => None,
        }
    }

    /// To the others. The pod may have had a sandbox of its own, before it was raised.
    fn move_in(&mut self) {
        self.home = Home::Shared;
        self.place.address.own = None;
    }

    fn move_out(&mut self) {
        self.home = Home::Own(Door::Closed);
        self.place.address.own = Some(OwnNetwork::default());
    }
}

/// How long after the first failure a sandbox is tried again; doubles.
const RETRY_MS: u64 = 500;

/// After so many doublings the delay is beyond its bound.
const DOUBLINGS_MAX: u32 = 8;

/// The longest such delay.
const RETRY_MS_MAX: u64 = 120_000;
