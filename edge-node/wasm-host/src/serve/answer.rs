//! Answers one request, whatever becomes of the instance that was to.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_channel::oneshot;
use http::{
    Request, Response, StatusCode, Uri, Version, header,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use wasmtime::Trap;
use wasmtime_wasi_http::{Error, WasiBody, p2, p3};

use super::{Server, instance, load::Load};

/// A request on its way to an instance.
pub(super) struct Asked {
    pub(super) request: Request<WasiBody>,
    pub(super) answer: oneshot::Sender<wasmtime::Result<Response<WasiBody>>>,
    pub(super) life: Arc<Life>,
    /// Given back when the instance is done with it.
    pub(super) place: OwnedSemaphorePermit,
}

/// What is known of a request on both sides, that of its client and that of its instance.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) began: Instant,
    is_answered: AtomicBool,
    /// Cancelled when its client waits no longer.
    pub(super) gone: CancellationToken,
    /// The instance that took it, or was to be made for it.
    instance: Mutex<Option<Arc<Load>>>,
}

impl Life {
    pub(super) fn new() -> Self {
        let (is_answered, gone, instance) =
            (AtomicBool::new(false), CancellationToken::new(), Mutex::default());
        Self { began: Instant::now(), is_answered, gone, instance }
    }

    /// Whether its answer has begun.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) {
        self.is_answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn instance(&self) -> Option<Arc<Load>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_instance(&self, instance: &Arc<Load>) {
        *self.instance.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(instance));
    }
}

impl Server {
    /// Answers one request.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<WasiBody> {
        let Some(request) = with_authority(request, self.authority.as_ref()) else {
            return refusal(StatusCode::BAD_REQUEST, "the request names no host");
        };
        let Ok(place) = timeout(QUEUE_MAX, Arc::clone(&self.places).acquire_owned()).await else {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
        };
        let place = place.expect("never closed");
        let (answer, answered) = oneshot::channel();
        let life = Arc::new(Life::new());
        let _gone = life.gone.clone().drop_guard();
        let request = request.map(|body| body.map_err(Error::from).boxed_unsync());
        instance::give(&self, Asked { request, answer, life: Arc::clone(&life), place });
        let answer = timeout(self.limits.answer, answered).await;
        if answer.is_ok() {
            // Also where there is none: what made the handler fail is still to be heard of its instance.
            life.answered();
        }
        match answer {
            Ok(Ok(Ok(response))) => response,
            Ok(Ok(Err(error))) => self.failed(&life, &error),
            Ok(Err(_dropped)) if self.killed.is_cancelled() => {
                refusal(StatusCode::SERVICE_UNAVAILABLE, "the handler was stopped")
            }
            Ok(Err(_dropped)) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the handler gave no answer"),
            Err(_late) => refusal(StatusCode::GATEWAY_TIMEOUT, "the handler did not answer in time"),
        }
    }

    /// What is answered where the handler failed.
    fn failed(&self, life: &Life, error: &wasmtime::Error) -> Response<WasiBody> {
        let of_p2 = error.downcast_ref::<p2::bindings::http::types::ErrorCode>().map(ToString::to_string);
        let of_p3 = error.downcast_ref::<p3::bindings::http::types::ErrorCode>().map(ToString::to_string);
        if let Some(code) = of_p2.or(of_p3) {
            return refusal(StatusCode::BAD_GATEWAY, &format!("the handler failed: {code}"));
        }
        // A handler that returns without an answer has done nothing else wrong.
        let is_trap = error.downcast_ref::<Trap>().is_some() || error.chain().count() > 1;
        if is_trap && life.instance().is_none_or(|instance| instance.blame()) {
            self.trapped(error);
        }
        refusal(StatusCode::INTERNAL_SERVER_ERROR, "the handler gave no answer")
    }
}

/// The request with its whole address, as handlers are to see it. `None` without a host, which HTTP/1.1 requires; one of HTTP/1.0 is
/// for `own` then.
fn with_authority(mut request: Request<Incoming>, own: Option<&Authority>) -> Option<Request<Incoming>> {
    if request.uri().authority().is_none() {
        let authority = match request.headers().get(header::HOST) {
            Some(host) => Authority::try_from(host.as_bytes()).ok()?,
            None if request.version() == Version::HTTP_10 => own?.clone(),
            None => return None,
        };
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(authority);
        *request.uri_mut() = Uri::from_parts(parts).ok()?;
    }
    Some(request)
}

/// An answer that the host gives in the handler's place.
fn refusal(status: StatusCode, text: &str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

/// How long a request waits for its place.
const QUEUE_MAX: Duration = Duration::from_secs(10);
