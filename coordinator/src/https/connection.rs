//! One connection: its limits, its requests, its end.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::Request;
use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, debug, warn};

use super::{
    HttpsFront,
    linger::Lingering,
    vitals::{CHECK_INTERVAL, Condition, Vitals},
};
use crate::{authn::Expulsions, pki::Peer, service::Upgrade};

/// The version of HTTP that both sides agreed upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// What the tasks of connections have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetime<'a> {
    /// Owns what a connection spawns.
    pub(crate) tasks: &'a TaskTracker,
    /// Ends all.
    pub(crate) stop: &'a CancellationToken,
}

/// What all requests of one connection share.
pub(super) struct Shared {
    pub(super) front: HttpsFront,
    pub(super) peer: Option<Peer>,
    pub(super) vitals: Arc<Vitals>,
    /// What follows the last answer, when that left HTTP.
    pub(super) leaving: Mutex<Option<(OnUpgrade, Upgrade)>>,
}

impl HttpsFront {
    /// Serves a connection whose TLS is done, until it ends or is told to stop.
    pub(crate) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        version: Version,
        peer: Option<Peer>,
        lifetime: Lifetime<'_>,
    ) {
        let _open = self.figures.open(version);
        // From before the first request, so that none goes by unheard.
        let mut expulsions = self.authenticator.hear_expelled();
        let shared =
            Arc::new(Shared { front: self.clone(), peer, vitals: Vitals::new(), leaving: Mutex::default() });
        let service = {
            let shared = Arc::clone(&shared);
            service_fn(move |request: Request<Incoming>| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            })
        };
        let stream = TokioIo::new(Lingering::new(stream));
        let ended = match version {
            Version::Http1 => {
                let connection = pin!(http1().serve_connection(stream, service).with_upgrades());
                shared.drive(connection, |it| it.graceful_shutdown(), &mut expulsions, lifetime).await
            }
            Version::Http2 => {
                let tasks = Tasks(lifetime.tasks.clone());
                let connection = pin!(http2(tasks).serve_connection(stream, service));
                shared.drive(connection, |it| it.graceful_shutdown(), &mut expulsions, lifetime).await
            }
        };
        if ended == Ended::ByItself {
            shared.leave(&mut expulsions, lifetime).await;
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Both sides were done.
    ByItself,
    /// It broke, or was broken off.
    Broken,
}

impl Shared {
    /// Lets a connection go on as long as it may; `wind_down` lets it end after the requests that are under way.
    async fn drive<C: Future<Output = hyper::Result<()>>>(
        &self,
        mut connection: Pin<&mut C>,
        wind_down: impl Fn(Pin<&mut C>),
        expulsions: &mut Expulsions,
        lifetime: Lifetime<'_>,
    ) -> Ended {
        let mut expelled = pin!(self.expelled(expulsions));
        let mut look = interval(CHECK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ended = connection.as_mut() => return told(ended),
                // Requests under way, watches above all, end with the connection.
                () = expelled.as_mut() => return Ended::Broken,
                () = self.vitals.parting() => wind_down(connection.as_mut()),
                _ = look.tick() => match self.vitals.condition() {
                    Condition::Busy => {}
                    Condition::Idle => break,
                    Condition::Stalled => {
                        self.front.figures.stalled();
                        warn!(user = self.user(), "broke off a connection that takes nothing of an answer");
                        return Ended::Broken;
                    }
                },
                () = lifetime.stop.cancelled() => break,
            }
        }
        wind_down(connection.as_mut());
        timeout(DRAIN_TIMEOUT, connection).await.map_or(Ended::Broken, told)
    }

    /// Speaks what an answer left HTTP for, when one did.
    async fn leave(&self, expulsions: &mut Expulsions, lifetime: Lifetime<'_>) {
        let leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((upgraded, upgrade)) = leaving else { return };
        let stream = match upgraded.await {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => return debug!(%error, "a connection broke before it left HTTP"),
        };
        let talk = upgrade.talk(Box::new(stream));
        tokio::select! {
            () = talk => {}
            () = self.expelled(expulsions) => {}
            () = lifetime.stop.cancelled() => {}
        }
    }

    /// Waits until the other side is a node no more.
    async fn expelled(&self, expulsions: &mut Expulsions) {
        let Some(peer) = &self.peer else { return std::future::pending().await };
        loop {
            expulsions.of(peer).await;
            if let Err(error) = self.front.authenticator.certified(peer).await {
                return warn!(%error, user = self.user(), "broke off a connection");
            }
        }
    }

    fn user(&self) -> Option<&str> {
        self.peer.as_ref().map(|peer| peer.user.name.as_str())
    }
}

fn told(ended: hyper::Result<()>) -> Ended {
    match ended {
        Ok(()) => Ended::ByItself,
        Err(error) => {
            debug!(%error, "a connection broke");
            Ended::Broken
        }
    }
}

/// Keeps the tasks that HTTP/2 has for each request: they end with their connection, and are waited for with it.
#[derive(Clone)]
struct Tasks(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task.in_current_span());
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_header_size(HEADER_BYTES_MAX as usize)
        .max_buf_size(BUFFER_BYTES_MAX);
    builder
}

fn http2(tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(BUFFER_BYTES_MAX);
    builder
}

/// Bytes of a request's head: a long selector, and a token with many groups.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// Fields of a request's head.
pub(super) const HEADERS_MAX: usize = 100;

/// How long a head may take, and how long a connection of HTTP/1.1 waits for the next.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// What is held of an answer, per connection of HTTP/1.1 and per stream of HTTP/2, that the client has not taken.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// Requests and watches under way on one connection of HTTP/2: what Kubernetes allows.
const STREAMS_MAX: u32 = 250;

/// Requests that a client may have reset before they were looked at; one who resets faster only makes work.
const RESETS_MAX: usize = 20;

/// Streams that had to be reset because of a client's errors.
const ERRORS_MAX: usize = 128;

/// What a client may send of one body before it is read.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// The same of all bodies of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// A client that says nothing is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(30);

/// How long requests may take to end when the coordinator stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
