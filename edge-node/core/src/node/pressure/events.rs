//! What is said of the machine as it runs short and recovers.

use dunlin_link::status::NodeEvent;

use crate::{
    clock::Now,
    node::{Desk, Output},
    pressure::{DiskAccess, Pressure, Signal},
    reasons,
};

/// Whether a condition holds from now on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    Begins,
    Ends,
}

impl Desk {
    pub(super) fn tell_of_attempt(&mut self, signal: Signal, now: Now) {
        self.outputs.push_back(Output::Event(NodeEvent {
            pod: None,
            warning: true,
            reason: reasons::EVICTION_THRESHOLD_MET.to_owned(),
            message: format!("Attempting to reclaim {}", signal.resource()),
            at: now.wall,
        }));
    }

    pub(super) fn tell_of_access(&mut self, access: DiskAccess, now: Now) {
        let (warning, reason, message) = match access {
            DiskAccess::ReadOnly => (
                true,
                reasons::FILESYSTEM_READ_ONLY,
                "The disk of the node's state is read-only: the node takes no pods, and those that it has go on",
            ),
            DiskAccess::Writable => {
                (false, reasons::FILESYSTEM_WRITABLE, "The disk of the node's state takes writes again")
            }
        };
        let (pod, reason, message, at) = (None, reason.to_owned(), message.to_owned(), now.wall);
        self.outputs.push_back(Output::Event(NodeEvent { pod, warning, reason, message, at }));
    }

    pub(super) fn tell_of_pressure(&mut self, pressure: Pressure, held: Held, now: Now) {
        let reason = match (pressure, held) {
            (Pressure::Memory, Held::Begins) => "NodeHasInsufficientMemory",
            (Pressure::Memory, Held::Ends) => "NodeHasSufficientMemory",
            (Pressure::Disk, Held::Begins) => "NodeHasDiskPressure",
            (Pressure::Disk, Held::Ends) => "NodeHasNoDiskPressure",
            (Pressure::Pids, Held::Begins) => "NodeHasInsufficientPID",
            (Pressure::Pids, Held::Ends) => "NodeHasSufficientPID",
        };
        let message = format!("Node {} status is now: {reason}", self.node.name);
        let (pod, reason, at) = (None, reason.to_owned(), now.wall);
        self.outputs.push_back(Output::Event(NodeEvent { pod, warning: false, reason, message, at }));
    }
}
