//! One connection of a handler: HTTP/1, or HTTP/2 without TLS where its client begins with that version's preface, as gRPC does.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use hyper::{
    body::Incoming,
    rt::Executor,
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi_http::WasiBody;

use super::Server;

impl Server {
    /// Answers what comes on a connection until either side ends it.
    pub(super) async fn connection(self: Arc<Self>, stream: TcpStream) {
        // Answers are small and waited for.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (server, came, asked) = (Arc::clone(&self), Instant::now(), CancellationToken::new());
        let version = tokio::select! {
            version = timeout(IDLE_MAX, version(&stream)) => version,
            () = self.unasked(came) => return,
            () = self.killed.cancelled() => return,
        };
        // Who says nothing for so long has nothing to say.
        let Ok(version) = version else { return };
        let has_asked = asked.clone();
        let service = service_fn(move |request| {
            let server = Arc::clone(&server);
            has_asked.cancel();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let stream = TokioIo::new(stream);
        match version {
            Version::Http1 => self.converse(http1().serve_connection(stream, service), came, asked).await,
            Version::Http2 => {
                let tasks = Tasks(Arc::clone(&self));
                self.converse(http2(tasks).serve_connection(stream, service), came, asked).await;
            }
        }
    }

    /// Ends when the container is ending and a client that came at `came` has had its time to say what for.
    async fn unasked(&self, came: Instant) {
        self.ending.cancelled().await;
        sleep_until(came + FIRST_REQUEST_MAX).await;
    }

    async fn converse(&self, connection: impl Conversation, came: Instant, asked: CancellationToken) {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.ending.cancelled() => {
                // Whoever has just come is about to say what for.
                tokio::select! {
                    biased;
                    () = asked.cancelled() => {}
                    ended = &mut connection => return log(ended),
                    () = self.unasked(came) => {}
                    () = self.killed.cancelled() => return,
                }
                connection.as_mut().wind_up();
                tokio::select! {
                    ended = connection => ended,
                    () = self.killed.cancelled() => Ok(()),
                }
            }
            () = self.killed.cancelled() => Ok(()),
        };
        log(ended);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

/// Looks at how the client begins, and takes nothing of it. No method of HTTP/1 is `PRI`, by which HTTP/2 begins.
async fn version(stream: &TcpStream) -> Version {
    let (mut begin, since) = ([0; HTTP2_BEGINS.len()], Instant::now());
    loop {
        match stream.peek(&mut begin).await {
            Ok(count) if count == begin.len() && begin == *HTTP2_BEGINS => return Version::Http2,
            // It says too little to tell, and what is there is there at every look.
            Ok(count) if count > 0 && count < begin.len() && HTTP2_BEGINS.starts_with(&begin[..count]) => {
                if since.elapsed() > BEGIN_MAX {
                    return Version::Http1;
                }
                sleep(BEGIN_PAUSE).await;
            }
            // Whatever is wrong, the connection will tell.
            _ => return Version::Http1,
        }
    }
}

/// A connection of either version.
trait Conversation: Future<Output = hyper::Result<()>> {
    /// Takes no more requests, and ends with the answers to those that it has.
    fn wind_up(self: Pin<&mut Self>);
}

impl<S> Conversation for http1::Connection<TokioIo<TcpStream>, S>
where
    S: HttpService<Incoming, ResBody = WasiBody, Error = Infallible>,
{
    fn wind_up(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Conversation for http2::Connection<TokioIo<TcpStream>, S, Tasks>
where
    S: HttpService<Incoming, ResBody = WasiBody, Error = Infallible>,
    S::Future: Send + 'static,
{
    fn wind_up(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Keeps the tasks that HTTP/2 has for each request: none outlives its container.
#[derive(Clone)]
struct Tasks(Arc<Server>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, task: F) {
        let killed = self.0.killed.clone();
        self.0.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = killed.cancelled() => {}
            }
        });
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX).max_buf_size(HEADERS_BYTES_MAX as usize);
    builder
}

fn http2(tasks: Tasks) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(IDLE_MAX)
        .keep_alive_timeout(IDLE_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_WINDOW_BYTES as usize);
    builder
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection failed");
    }
}

/// The first bytes of HTTP/2's preface.
const HTTP2_BEGINS: &[u8; 4] = b"PRI ";

/// How long a client that may speak HTTP/2 may take to say so.
const BEGIN_MAX: Duration = Duration::from_secs(2);

/// Between two looks at what such a client has sent.
const BEGIN_PAUSE: Duration = Duration::from_millis(10);

/// How long a connection may send nothing between requests, or take to send a request's head; of HTTP/2, until its client is asked
/// whether it is there, and how long it may take to say so.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Head of a request on the wire, and the read buffer of a connection.
const HEADERS_BYTES_MAX: u32 = 64 << 10;

/// Requests under way on one connection of HTTP/2.
const STREAMS_MAX: u32 = 128;

/// What a client may send of one body before it is read, and what is held of an answer that it has not taken.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;

/// The same of all bodies of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// How long after it has come a client may take until it says what for, where a handler ends meanwhile.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(1);
