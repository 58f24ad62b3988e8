//! The agent's side of a sandbox: finds the runner of an earlier agent or starts one, and keeps speaking with it.
//!
//! A runner is started with the first container, in a process group of its own, and outlives the agent. When it ends, all its
//! containers are gone; when only the connection ends, the next one tells again what runs.

mod connection;
mod door;
mod pod;
mod pods;
mod process;

use std::{io, time::Duration};

use dunlin_edge_node_core::{
    node::Told,
    sandbox::{Event, PROTOCOL, Request, stream},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::connection::Connection;
pub(crate) use self::{
    door::{Door, Doors},
    pod::end_left_over,
    pods::{ContainerKit, PodSandboxes, PodTold},
    process::RunnerProcess,
};
use crate::{agent::RunnerTarget, runner};

/// Where guests run.
#[derive(Debug)]
pub(crate) enum Sandbox {
    /// A process of their own.
    Process(RunnerProcess),
    /// This process, for `dunlin dev`.
    InProcess(runner::InProcess),
}

/// A request with the number of the sandbox it is meant for: what was asked of one that ended is not asked of the next.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) incarnation: u64,
    pub(crate) request: Request,
}

/// Keeps the connection up until `shutdown`; guests are left running. `target` is told what code the sandbox runs.
pub(crate) async fn run(
    mut sandbox: Sandbox,
    target: RunnerTarget,
    (mut requests, told): (mpsc::Receiver<Addressed>, mpsc::Sender<Told>),
    shutdown: CancellationToken,
) {
    let driver = async {
        let mut incarnation = 0;
        let mut failures = 0_u32;
        let mut next = None;
        loop {
            let connection = match sandbox.attach().await {
                Some(connection) => connection,
                None => {
                    target.reset();
                    if told.send(Told::Gone).await.is_err() {
                        return;
                    }
                    incarnation += 1;
                    next = first_start(&mut requests, incarnation).await;
                    if next.is_none() {
                        return;
                    }
                    tokio::time::sleep(respawn_delay(failures)).await;
                    match sandbox.start().await {
                        Ok(connection) => connection,
                        Err(error) => {
                            failures += 1;
                            tracing::error!(%error, "the runner could not be started");
                            continue;
                        }
                    }
                }
            };
            let end = serve(connection, (&mut requests, &told), &mut next, &target, incarnation).await;
            failures = if end == End::Synced { 0 } else { failures + 1 };
            if told.is_closed() || told.send(Told::Unsure).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = driver => {}
        () = shutdown.cancelled() => {}
    }
}

/// How far a connection came before it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Early,
    Synced,
}

impl Sandbox {
    /// Where streams are opened.
    pub(crate) fn door(&self) -> Door {
        match self {
            Self::Process(process) => Door::Process(process.socket.with_file_name(stream::SOCKET)),
            Self::InProcess(runner) => Door::InProcess(runner.clone()),
        }
    }

    /// Connects to a sandbox that exists already.
    async fn attach(&mut self) -> Option<Connection> {
        match self {
            Self::Process(process) => process.attach().await,
            Self::InProcess(runner) => {
                let (requests, events) = runner.connect();
                Some(Connection { requests, events })
            }
        }
    }

    /// Starts one and connects to it.
    async fn start(&mut self) -> io::Result<Connection> {
        match self {
            Self::Process(process) => process.start().await,
            Self::InProcess(_) => Err(io::Error::other("the runner of this process has ended")),
        }
    }
}

/// Speaks until the connection ends: greeting, account, then requests and events as they come.
async fn serve(
    mut connection: Connection,
    (requests, told): (&mut mpsc::Receiver<Addressed>, &mpsc::Sender<Told>),
    next: &mut Option<Request>,
    target: &RunnerTarget,
    incarnation: u64,
) -> End {
    let mut runtime = String::new();
    let mut end = End::Early;
    if connection.requests.send(Request::Hello { protocol: PROTOCOL }).await.is_err() {
        return end;
    }
    loop {
        tokio::select! {
            event = connection.events.recv() => {
                let heard = match event {
                    None => return end,
                    Some(Event::Welcome { protocol, pid, .. }) if protocol != PROTOCOL => {
                        tracing::warn!(pid, protocol, "a runner of another version is drained; its pods restart");
                        // Dropped events end the connection once the runner has ended its containers and itself.
                        let _ = connection.requests.send(Request::Shutdown).await;
                        while connection.events.recv().await.is_some() {}
                        return end;
                    }
                    Some(Event::Welcome { runtime: name, target: runs, .. }) => {
                        runtime = name;
                        target.set(runs);
                        continue;
                    }
                    Some(Event::Container { id, owner, state }) => Told::Container { id, owner, state },
                    Some(Event::RequestsFailed { id, owner, count, message }) => {
                        Told::RequestsFailed { id, owner, count, message }
                    }
                    Some(Event::Denied { id, owner, message }) => Told::Denied { id, owner, message },
                    // A runner has no pods.
                    Some(
                        Event::PodOpened { .. }
                        | Event::PodFailed { .. }
                        | Event::RunnerOpened { .. }
                        | Event::RunnerEnded { .. },
                    ) => {
                        tracing::warn!("a runner told what only shims do; it is ignored");
                        continue;
                    }
                    Some(Event::Synced) => {
                        end = End::Synced;
                        Told::Synced { runtime: runtime.clone() }
                    }
                };
                if told.send(heard).await.is_err() {
                    return end;
                }
                if end == End::Synced && let Some(request) = next.take()
                    && connection.requests.send(request).await.is_err() {
                        return end;
                }
            }
            request = requests.recv(), if end == End::Synced => {
                let Some(Addressed { incarnation: meant_for, request }) = request else { return end };
                if meant_for == incarnation && connection.requests.send(request).await.is_err() {
                    return end;
                }
            }
        }
    }
}

/// Waits for the first container to start; everything else has no meaning without a sandbox.
async fn first_start(requests: &mut mpsc::Receiver<Addressed>, incarnation: u64) -> Option<Request> {
    loop {
        let Addressed { incarnation: meant_for, request } = requests.recv().await?;
        if meant_for == incarnation && matches!(request, Request::Start(_)) {
            return Some(request);
        }
    }
}

fn respawn_delay(failures: u32) -> Duration {
    if failures == 0 { Duration::ZERO } else { RESPAWN_MIN * 2_u32.saturating_pow(failures.min(7) - 1) }
}

/// Wait before a runner that ended at once is started again; doubles up to 64 times this.
const RESPAWN_MIN: Duration = Duration::from_millis(100);
