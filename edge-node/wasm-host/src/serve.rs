//! Serves HTTP handlers: a listener, and instances that come with requests, so that an idle handler has none at all.
//!
//! Requests and instances are bounded in number, in time until an answer begins, and in time altogether. A trap fails the requests of
//! its own instance; several within a short time end the container, so that whoever restarts it sees that something is wrong.

mod answer;
mod connection;
mod inside;
mod instance;
mod limits;
mod listener;
mod load;
mod pool;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::uri::Authority;
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{limits::Limits, listener::Listener, pool::Pool};
use crate::{
    guest::{Guest, Listening},
    host::{Run, Started},
    outcome::{self, Cause, Ended},
    pooling::PooledHandler,
    program::{Handler, Kind},
};

/// Serves until the container is stopped or traps too often.
pub(crate) async fn run(run: &Arc<Run>, started: Started) -> Ended {
    let Kind::Component(exported) = &run.program.kind else { unreachable!("a core module has no handler") };
    let Some(handler) = exported.handler.clone() else { unreachable!("this entry was found in the program") };
    let Some(listening) = run.guest.served() else {
        return Ended::new(Cause::CannotRun, "an HTTP handler needs a declared TCP port to be served on");
    };
    let mut listener = match Listener::bind(&run.guest, listening).await {
        Ok(listener) => listener,
        Err(ended) => return ended,
    };
    started();
    let (failed, mut failures) = mpsc::channel(1);
    let limits = Limits::of(&run.guest.serving, &handler);
    let server = Arc::new(Server {
        run: Arc::clone(run),
        handler,
        authority: authority(&run.guest, listening),
        pooled: exported.pooled.clone(),
        places: Arc::new(Semaphore::new(limits.requests_max())),
        pool: Pool::new(limits.instances),
        limits,
        tasks: TaskTracker::new(),
        ending: CancellationToken::new(),
        killed: CancellationToken::new(),
        traps: Mutex::default(),
        failed,
    });
    let _killed = server.killed.clone().drop_guard();
    let ended = tokio::select! {
        () = server.accept(&mut listener) => unreachable!("accepts for ever"),
        () = run.stop.requested() => server.drain(listener).await,
        failure = failures.recv() => {
            server.finish_answers().await;
            listener.close().await;
            failure.expect("`server` holds the sender")
        }
    };
    server.killed.cancel();
    server.tasks.close();
    server.tasks.wait().await;
    ended
}

/// What the connections and instances of one container share.
struct Server {
    run: Arc<Run>,
    handler: Handler,
    /// Whom a request is for that names no host, as those of HTTP/1.0 may.
    authority: Option<Authority>,
    pooled: Option<PooledHandler>,
    limits: Limits,
    /// One for each request that is being answered.
    places: Arc<Semaphore>,
    pool: Pool,
    /// Every connection and every instance, so that none outlives the container.
    tasks: TaskTracker,
    /// Connections finish the request they are in, and instances without requests end.
    ending: CancellationToken,
    /// Connections and instances end at once.
    killed: CancellationToken,
    /// When requests trapped lately.
    traps: Mutex<VecDeque<Instant>>,
    failed: mpsc::Sender<Ended>,
}

impl Server {
    async fn accept(self: &Arc<Self>, listener: &mut Listener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await.expect("never closed");
            match listener.accept().await {
                Ok(stream) => {
                    let server = Arc::clone(self);
                    self.tasks.spawn(async move {
                        server.connection(stream).await;
                        drop(permit);
                    });
                }
                // Out of file descriptors, or a client that left early: the next one may do better.
                Err(error) => {
                    tracing::debug!(%error, "failed to accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Counts a trap, and ends the container when there were too many.
    fn trapped(&self, error: &wasmtime::Error) {
        let cause = outcome::of_trap(error, &self.run.memory);
        let message = outcome::explain(cause, error, &self.run.memory);
        tracing::debug!(message, "a request trapped");
        if let Some(tell) = &self.run.guest.on_failure {
            tell(&message);
        }
        let now = Instant::now();
        let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        traps.push_back(now);
        while traps.front().is_some_and(|at| now.duration_since(*at) > TRAP_WINDOW) {
            traps.pop_front();
        }
        if traps.len() >= TRAPS_MAX {
            let text = format!("{TRAPS_MAX} requests failed within {} s: {message}", TRAP_WINDOW.as_secs());
            // The first of these ends the container; there is nothing to add to it.
            let _ = self.failed.try_send(Ended::new(cause, text));
        }
    }

    /// Lets what is being answered go out before a container ends by itself.
    async fn finish_answers(&self) {
        self.ending.cancel();
        self.tasks.close();
        // What takes longer is cut off.
        drop(timeout(FINISH_MAX, self.tasks.wait()).await);
    }

    /// Lets requests finish for as long as the grace lasts. Those who were sent here before it was known that this ends are still
    /// taken in.
    async fn drain(self: &Arc<Self>, mut listener: Listener) -> Ended {
        drop(timeout(LATE_MAX, self.accept(&mut listener)).await);
        listener.close().await;
        self.ending.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => Ended::new(Cause::Stopped, ""),
            () = self.run.stop.grace_over() => {
                Ended::new(Cause::Killed, "requests were still being answered at the end of the grace period")
            }
        }
    }
}

fn authority(guest: &Guest, listening: &Listening) -> Option<Authority> {
    let ip = guest.pod_ip.unwrap_or_else(|| listening.address.ip());
    SocketAddr::new(ip, listening.port).to_string().parse().ok()
}

/// Connections of one container at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1024;

/// So many traps within the window end the container.
const TRAPS_MAX: usize = 10;

/// See [`TRAPS_MAX`].
const TRAP_WINDOW: Duration = Duration::from_secs(60);

/// How long a handler that ends still takes in those who were sent here by others that did not know.
const LATE_MAX: Duration = Duration::from_millis(50);

/// How long a container that fails goes on with requests that others sent.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// Keeps a failing accept from spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
