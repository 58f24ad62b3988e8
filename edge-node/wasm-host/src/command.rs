//! Runs commands: programs with a beginning and an end, and single functions of any program.

use std::{future::poll_fn, sync::Arc};

use wasmtime::{AsContextMut as _, Store, Val, component};
use wasmtime_wasi::I32Exit;

use crate::{
    coredump::{self, CoreDumps},
    entry::{self, Entry},
    host::{Run, Started},
    input::GuestInput,
    outcome::{self, Cause, Ended},
    program::{Command, Kind},
    schedule::{GuestFuture, Turn},
    state::{ComponentState, ModuleState},
};

/// What a command returns: its exit code, or the error that ended it.
type Returned = wasmtime::Result<i32>;

/// Runs the command until it ends, is stopped, or its grace is over.
pub(crate) async fn run(run: &Arc<Run>, started: Started) -> Ended {
    let input = GuestInput::new(run.guest.input.clone(), run.stop.clone(), run.terminal);
    let turn = run.turn();
    let future = call(run, &turn, &input, started);
    let mut guest = run.schedule(turn, future);
    let returned = tokio::select! {
        returned = &mut guest => returned,
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

/// A guest that has never looked at its input cannot learn that it should end. If nobody can be waiting for what it does either, it
/// ends as a process without a handler does; if somebody may, it has all of its grace to finish.
async fn stopped_unheard(run: &Run, input: &GuestInput) {
    run.stop.requested().await;
    let has_company = input.has_socket() || run.network().is_requesting();
    if run.stop.has_grace_left() && !input.is_listened_to() && !has_company {
        return;
    }
    std::future::pending().await
}

fn call(run: &Arc<Run>, turn: &Arc<Turn>, input: &GuestInput, started: Started) -> GuestFuture<Returned> {
    let (entry, dumps) = (run.entry.clone(), run.guest.core_dumps.clone());
    match &run.program.kind {
        Kind::Module(program) => {
            let store = run.parts().module_store(turn, input);
            let program = program.clone();
            Box::pin(async move {
                let mut store = store?;
                let instance = program.instantiate_async(&mut store).await?;
                started();
                let returned = in_time(call_core(&mut store, &instance, &entry).await);
                or_core_dump(returned, &mut store, dumps.as_deref())
            })
        }
        Kind::Component(exported) => {
            let store = run.parts().component_store(turn, Some(input));
            let (instance, command) = (exported.instance.clone(), exported.command.clone());
            Box::pin(async move {
                let mut store = store?;
                let returned = in_time(match (entry, command) {
                    (Entry::Function(name), _) => {
                        let instance = instance.instantiate_async(&mut store).await?;
                        started();
                        call_component(&mut store, &instance, &name).await
                    }
                    (_, Some(command)) => call_command(&mut store, command, started).await,
                    (_, None) => Err(missing("wasi:cli/run")),
                });
                or_core_dump(returned, &mut store, dumps.as_deref())
            })
        }
    }
}

async fn call_command(store: &mut Store<ComponentState>, command: Command, started: Started) -> Returned {
    let result = match command {
        Command::P2(command) => {
            let command = command.instantiate_async(&mut *store).await?;
            started();
            command.wasi_cli_run().call_run(store).await?
        }
        Command::P3(command) => {
            let command = command.instantiate_async(&mut *store).await?;
            started();
            let ran = store.run_concurrent(async |accessor| {
                let result = command.wasi_cli_run().call_run(accessor).await;
                if result.is_ok() {
                    // What it began and did not wait for, a write for instance, still belongs to the run.
                    poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                }
                result
            });
            ran.await??
        }
    };
    Ok(i32::from(result.is_err()))
}

async fn call_core(store: &mut Store<ModuleState>, instance: &wasmtime::Instance, entry: &Entry) -> Returned {
    let name = match entry {
        Entry::Command | Entry::Handler | Entry::CommandAndHandler => {
            let start = instance.get_typed_func::<(), ()>(&mut *store, entry::START)?;
            return start.call_async(store, ()).await.map(|()| 0);
        }
        Entry::Function(name) => name,
    };
    let function = instance.get_func(&mut *store, name).ok_or_else(|| missing(name))?;
    let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
    function.call_async(store, &[], &mut results).await?;
    Ok(entry::code_of_core(&results))
}

async fn call_component(
    store: &mut Store<ComponentState>,
    instance: &component::Instance,
    name: &str,
) -> Returned {
    let function = instance.get_func(store.as_context_mut(), name).ok_or_else(|| missing(name))?;
    let mut results = vec![component::Val::Bool(false); function.ty(&*store).results().len()];
    function.call_async(store.as_context_mut(), &[], &mut results).await?;
    Ok(entry::code_of_component(&results))
}

fn or_core_dump<T: 'static>(
    returned: Returned,
    store: &mut Store<T>,
    dumps: Option<&dyn CoreDumps>,
) -> Returned {
    returned.inspect_err(|error| coredump::keep(store, error, dumps))
}

/// What was found when the command was looked at.
fn missing(name: &str) -> wasmtime::Error {
    wasmtime::Error::msg(format!("the function `{name}` is not exported"))
}

/// An exit with 0 is an error to wasmtime and success to everyone else.
fn in_time(returned: Returned) -> Returned {
    match returned {
        Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => Ok(0),
        other => other,
    }
}
