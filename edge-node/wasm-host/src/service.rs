//! Runs programs that are a command and an HTTP handler at once: the command from its beginning, and requests as they come.
//!
//! A command that succeeds has done what it does at a start: requests are served on. One that fails ends the container. Each request
//! has instances of its own, beside the command's; they share volumes and the key-value store, not memory.

use std::sync::Arc;

use crate::{
    command,
    host::{Run, Started},
    outcome::{Cause, Ended},
    serve,
};

/// Runs both until the container is stopped, or one of the two fails.
pub(crate) async fn run(run: &Arc<Run>, started: Started) -> Ended {
    // The container is ready when requests are taken, whatever its command does until then.
    let mut serving = Box::pin(serve::run(run, started));
    let mut commanded = Box::pin(command::run(run, Box::new(|| ())));
    tokio::select! {
        served = &mut serving => {
            // After a stop the command has the same grace; after a failure it ends at once.
            if served.cause == Cause::Stopped { worse(served, commanded.await) } else { served }
        }
        ended = &mut commanded => match ended.cause {
            Cause::Code(0) => serving.await,
            // However the command took the stop, its handler has the same grace.
            _ if run.stop.is_requested() => worse(ended, serving.await),
            _ => ended,
        },
    }
}

/// Of two ends after a stop, the one that says more.
fn worse(one: Ended, other: Ended) -> Ended {
    let is_plain = matches!(one.cause, Cause::Stopped | Cause::Code(0));
    if is_plain && other.cause != Cause::Code(0) { other } else { one }
}
