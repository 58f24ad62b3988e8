//! How an end in a sandbox reads in Kubernetes: exit codes and reasons.

use dunlin_link::{ContainerId, UnixMillis, status::Terminated};

use crate::{
    reasons,
    sandbox::{Exit, ExitCause},
};

/// The `terminated` state of a run that ended with `exit`.
pub fn terminated(id: &ContainerId, exit: Exit) -> Terminated {
    let (exit_code, reason) = code_and_reason(exit.cause);
    Terminated {
        container_id: Some(id.clone()),
        exit_code,
        reason: reason.to_owned(),
        message: exit.message,
        started_at: exit.started_at.unwrap_or(exit.finished_at),
        finished_at: exit.finished_at,
    }
}

/// The `terminated` state of a run that died with its sandbox.
pub fn lost(id: &ContainerId, started_at: Option<UnixMillis>, now: UnixMillis) -> Terminated {
    Terminated {
        container_id: Some(id.clone()),
        exit_code: EXIT_KILLED,
        reason: reasons::ERROR.to_owned(),
        message: "The process that ran the container ended".to_owned(),
        started_at: started_at.unwrap_or(now),
        finished_at: now,
    }
}

/// The end of a run whose work went with its sandbox, so that it is to be done again.
pub fn undone(end: &Terminated) -> Terminated {
    Terminated { exit_code: EXIT_KILLED, reason: reasons::ERROR.to_owned(), ..end.clone() }
}

/// The `terminated` state of a container that never ran in a pod that is over. Its times are 0, which stands for none.
pub fn never_ran() -> Terminated {
    Terminated {
        container_id: None,
        exit_code: EXIT_KILLED,
        reason: reasons::CONTAINER_STATUS_UNKNOWN.to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
        started_at: UnixMillis(0),
        finished_at: UnixMillis(0),
    }
}

/// The exit code of an end, by which `OnFailure` decides.
pub fn exit_code(cause: ExitCause) -> i32 {
    code_and_reason(cause).0
}

fn code_and_reason(cause: ExitCause) -> (i32, &'static str) {
    match cause {
        ExitCause::Code(0) => (0, reasons::COMPLETED),
        ExitCause::Code(code) => (code, reasons::ERROR),
        ExitCause::Trap => (134, reasons::ERROR),
        ExitCause::OutOfMemory => (EXIT_KILLED, reasons::OOM_KILLED),
        ExitCause::Stopped => (143, reasons::ERROR),
        ExitCause::Killed => (EXIT_KILLED, reasons::ERROR),
        ExitCause::CannotRun => (128, reasons::CONTAINER_CANNOT_RUN),
        ExitCause::HostError | ExitCause::NotCreated => (128, reasons::START_ERROR),
    }
}

/// 128 + SIGKILL.
const EXIT_KILLED: i32 = 137;
