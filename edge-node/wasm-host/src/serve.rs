//! Serves HTTP handlers: a listener, and an instance per request, so that an idle handler has no instance at all.
//!
//! A request's instance is bounded in number, in time until its answer begins, and in time altogether. A trap fails its own request;
//! several within a short time end the container, so that whoever restarts it sees that something is wrong.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::{
            ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

use crate::{
    host::{Run, Started},
    outcome::{self, Cause, Ended},
    program::Kind,
    state::ComponentState,
};

/// Serves until the container is stopped or traps too often.
pub(crate) async fn run(run: &Arc<Run>, started: Started) -> Ended {
    let Kind::HttpHandler(handler) = &run.program.kind else { unreachable!("commands are run, not served") };
    let Some(address) = run.guest.listen.first() else {
        return Ended::new(Cause::CannotRun, "an HTTP handler needs a declared port to be served on");
    };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            return Ended::new(Cause::HostError, format!("failed to listen on {address}: {error}"));
        }
    };
    started();
    let (failed, mut failures) = mpsc::channel(1);
    let server = Arc::new(Server {
        run: Arc::clone(run),
        handler: handler.clone(),
        instances: Arc::new(Semaphore::new(INSTANCES_MAX)),
        tasks: TaskTracker::new(),
        ending: CancellationToken::new(),
        killed: CancellationToken::new(),
        traps: Mutex::default(),
        failed,
    });
    let ended = tokio::select! {
        () = server.accept(&listener) => unreachable!("accepts for ever"),
        () = run.stop.requested() => server.drain(listener).await,
        failure = failures.recv() => {
            server.finish_answers().await;
            failure.expect("`server` holds the sender")
        }
    };
    server.killed.cancel();
    server.tasks.close();
    server.tasks.wait().await;
    ended
}

/// What the connections of one container share.
struct Server {
    run: Arc<Run>,
    handler: ProxyPre<ComponentState>,
    instances: Arc<Semaphore>,
    /// Every connection and every instance, so that none outlives the container.
    tasks: TaskTracker,
    /// Connections finish the request they are in.
    ending: CancellationToken,
    /// Connections and instances end at once.
    killed: CancellationToken,
    /// When requests trapped lately.
    traps: Mutex<VecDeque<Instant>>,
    failed: mpsc::Sender<Ended>,
}

type Answer = Result<Response<HyperOutgoingBody>, ErrorCode>;

impl Server {
    async fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = Arc::clone(&connections).acquire_owned().await.expect("never closed");
            match listener.accept().await {
                Ok((stream, _peer)) => {
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

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        // Answers are small and waited for.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let server = Arc::clone(&self);
        let (came, asked) = (Instant::now(), CancellationToken::new());
        let has_asked = asked.clone();
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            has_asked.cancel();
            async move { Ok::<_, std::convert::Infallible>(server.answer(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE_MAX)
            .max_buf_size(HEADERS_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.ending.cancelled() => {
                // Whoever has just come is about to say what for.
                tokio::select! {
                    biased;
                    () = asked.cancelled() => {}
                    ended = &mut connection => return log(ended),
                    () = sleep_until(came + FIRST_REQUEST_MAX) => {}
                    () = self.killed.cancelled() => return,
                }
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = self.killed.cancelled() => Ok(()),
                }
            }
            () = self.killed.cancelled() => Ok(()),
        };
        log(ended);
    }

    /// Answers one request, whatever becomes of the guest.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<HyperOutgoingBody> {
        let Ok(permit) = timeout(QUEUE_MAX, Arc::clone(&self.instances).acquire_owned()).await else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
        };
        let (answered, answer) = oneshot::channel();
        let server = Arc::clone(&self);
        // Until the answer begins the instance ends with its client; after that it may finish what it does.
        let instance = AbortOnDropHandle::new(self.tasks.spawn(async move {
            let status = server.instance(request, answered).await;
            drop(permit);
            status
        }));
        match timeout(ANSWER_MAX, answer).await {
            Ok(Ok(Ok(response))) => {
                instance.detach();
                response
            }
            Ok(Ok(Err(code))) => refusal(StatusCode::BAD_GATEWAY, &format!("the handler failed: {code}")),
            Ok(Err(_dropped)) => match instance.await {
                Ok(status) => refusal(status, "the handler gave no answer"),
                Err(_aborted) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the handler was stopped"),
            },
            Err(_late) => refusal(StatusCode::GATEWAY_TIMEOUT, "the handler did not answer in time"),
        }
    }

    /// Runs one instance for one request. What it returns is for a client that has had no answer.
    async fn instance(
        self: Arc<Self>,
        request: Request<Incoming>,
        answered: oneshot::Sender<Answer>,
    ) -> StatusCode {
        let turn = self.run.turn();
        let mut store = match self.run.parts().component_store(&turn, None) {
            Ok(store) => store,
            Err(error) => {
                self.trapped(&error);
                return StatusCode::INTERNAL_SERVER_ERROR;
            }
        };
        let mut http = store.data_mut().http();
        // Fails for a request without a host, which HTTP/1.1 requires.
        let Ok(request) = http.new_incoming_request(Scheme::Http, request) else {
            return StatusCode::BAD_REQUEST;
        };
        let Ok(out) = http.new_response_outparam(answered) else { return StatusCode::INTERNAL_SERVER_ERROR };
        let handler = self.handler.clone();
        let call = Box::pin(async move {
            let proxy = handler.instantiate_async(&mut store).await?;
            proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
        });
        let instance = self.run.schedule(turn, call);
        let result = tokio::select! {
            result = timeout(REQUEST_MAX, instance) => result,
            () = self.killed.cancelled() => return StatusCode::SERVICE_UNAVAILABLE,
        };
        match result {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => self.trapped(&error),
            Ok(Err(_panicked)) => tracing::warn!("the host failed while it answered a request"),
            Err(_late) => return StatusCode::GATEWAY_TIMEOUT,
        }
        StatusCode::INTERNAL_SERVER_ERROR
    }

    /// Counts a trap, and ends the container when there were too many.
    fn trapped(&self, error: &wasmtime::Error) {
        let cause = outcome::of_trap(error, &self.run.memory);
        let message = outcome::explain(cause, error, &self.run.memory);
        tracing::debug!(message, "a request trapped");
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
    async fn drain(self: &Arc<Self>, listener: TcpListener) -> Ended {
        drop(timeout(LATE_MAX, self.accept(&listener)).await);
        drop(listener);
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

fn log(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// An answer that the host gives in the handler's place.
fn refusal(status: StatusCode, text: &str) -> Response<HyperOutgoingBody> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

/// Instances of one container at once; more requests than that wait.
const INSTANCES_MAX: usize = 64;

/// Connections of one container at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 1024;

/// How long a request waits for its instance.
const QUEUE_MAX: Duration = Duration::from_secs(10);

/// How long a handler may take until its answer begins.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long an instance may live, its answer's body included.
const REQUEST_MAX: Duration = Duration::from_secs(600);

/// How long a connection may send nothing between requests, or take to send a request's head.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Head of a request on the wire, and the read buffer of a connection.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// So many traps within the window end the container.
const TRAPS_MAX: usize = 10;

/// See [`TRAPS_MAX`].
const TRAP_WINDOW: Duration = Duration::from_secs(60);

/// How long after it has come a client may take until it says what for, where a handler ends meanwhile.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(1);

/// How long a handler that ends still takes in those who were sent here by others that did not know.
const LATE_MAX: Duration = Duration::from_millis(50);

/// How long a container that fails goes on with requests that others sent.
const FINISH_MAX: Duration = Duration::from_secs(1);

/// Keeps a failing accept from spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
