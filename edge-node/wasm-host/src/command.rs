//! Runs commands: programs with a beginning and an end.

use std::sync::Arc;

use wasmtime_wasi::I32Exit;

use crate::{
    host::{Run, Started},
    outcome::{self, Cause, Ended},
    program::Kind,
    schedule::{GuestFuture, Turn},
    stdio::GuestInput,
};

/// What a command returns: success or failure, or the error that ended it.
type Returned = wasmtime::Result<Result<(), ()>>;

/// Runs the command until it ends, is stopped, or its grace is over.
pub(crate) async fn run(run: &Arc<Run>, started: Started) -> Ended {
    let input = GuestInput::new(run.stop.clone());
    let turn = run.turn();
    let future = call(run, &turn, &input, started);
    let mut guest = run.schedule(turn, future);
    let returned = tokio::select! {
        returned = &mut guest => returned,
        // A guest that has never looked at its input cannot learn that it should end: it ends as a process without a handler does.
        () = stopped_unheard(run, &input) => return Ended::new(Cause::Stopped, ""),
        () = run.stop.grace_over() => {
            return Ended::new(Cause::Killed, "still running at the end of its grace period");
        }
    };
    match returned {
        Ok(result) => outcome::of_command(result, &run.memory),
        Err(_panicked) => Ended::new(Cause::HostError, "the host failed while it ran the guest"),
    }
}

async fn stopped_unheard(run: &Run, input: &GuestInput) {
    run.stop.requested().await;
    if run.stop.has_grace_left() && !input.is_listened_to() {
        return;
    }
    std::future::pending().await
}

fn call(run: &Arc<Run>, turn: &Arc<Turn>, input: &GuestInput, started: Started) -> GuestFuture<Returned> {
    match &run.program.kind {
        Kind::Module(program) => {
            let mut store = run.parts().module_store(turn, input);
            let program = program.clone();
            Box::pin(async move {
                let instance = program.instantiate_async(&mut store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                started();
                let called = start.call_async(&mut store, ()).await;
                ended_in_time(called.map(Ok))
            })
        }
        Kind::Command(program) => {
            let mut store = run.parts().component_store(turn, Some(input));
            let program = program.clone();
            Box::pin(async move {
                let command = program.instantiate_async(&mut store).await?;
                started();
                ended_in_time(command.wasi_cli_run().call_run(&mut store).await)
            })
        }
        Kind::HttpHandler(_) => unreachable!("handlers are served, not run"),
    }
}

/// An exit with 0 is an error to wasmtime and success to everyone else.
fn ended_in_time(returned: Returned) -> Returned {
    match returned {
        Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => Ok(Ok(())),
        other => other,
    }
}
