//! One request to one place over HTTP/1.1, with a connection of its own, and the answer as it arrives.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dunlin_link::with_causes;
use http::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, HOST, LOCATION, USER_AGENT},
    uri::Authority,
};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    endpoint::{Endpoint, Scheme},
    error::PullError,
    origin::{Blob, Chunks},
};

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Target<'a> {
    /// How it is reached: an endpoint, or where it sends us to.
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) path: String,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) registry: String,
    body: Incoming,
    _connection: Connection,
}

/// Ends the connection when nobody reads on.
#[derive(Debug)]
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    /// The next piece of the body.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, PullError> {
        loop {
            let frame = timeout(IDLE_TIMEOUT, self.body.frame())
                .await
                .map_err(|_| self.timed_out("send more", IDLE_TIMEOUT))?;
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => {
                    return Err(PullError::Broken {
                        registry: self.registry.clone(),
                        why: with_causes(&error),
                    });
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it is larger than `bytes_max`.
    pub(crate) async fn whole(&mut self, what: &'static str, bytes_max: u64) -> Result<Vec<u8>, PullError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            let bytes = (whole.len() + chunk.len()) as u64;
            if bytes > bytes_max {
                return Err(PullError::TooLarge { what, bytes, bytes_max });
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    fn timed_out(&self, step: &'static str, after: Duration) -> PullError {
        PullError::TimedOut { registry: self.registry.clone(), step, after }
    }

    /// Its body as that of a blob, which begins at `offset`.
    pub(crate) fn into_blob(self, offset: u64) -> Blob {
        Blob { offset, registry: self.registry.clone(), content: Box::new(self) }
    }
}

#[async_trait]
impl Chunks for Answer {
    async fn chunk(&mut self) -> Result<Option<Bytes>, PullError> {
        Self::chunk(self).await
    }
}

impl<'a> Target<'a> {
    /// A path of an endpoint itself.
    pub(crate) fn of(endpoint: &'a Endpoint, path: String) -> Result<Self, PullError> {
        let authority = endpoint.authority.parse().map_err(|error: http::uri::InvalidUri| {
            PullError::Unreachable { registry: endpoint.authority.clone(), why: error.to_string() }
        })?;
        Ok(Self { endpoint, scheme: endpoint.scheme, authority, path })
    }

    /// Where this place sends us: an URL, or a path of its own.
    ///
    /// # Errors
    /// In words, when that is nowhere, or less secure than where we are.
    pub(crate) fn other(&self, location: &str) -> Result<Self, String> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(Self { path: location.to_owned(), ..self.clone() });
        }
        let nowhere = || format!("it sends us to `{location}`");
        let uri: Uri = location.parse().map_err(|_| nowhere())?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") if self.endpoint.scheme == Scheme::Http => Scheme::Http,
            Some("http") => return Err(format!("{} without TLS", nowhere())),
            _ => return Err(nowhere()),
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (endpoint, path) = (self.endpoint, path.to_owned());
        Ok(Self { endpoint, scheme, authority: authority.ok_or_else(nowhere)?.clone(), path })
    }

    /// Asks, and follows where it is sent. Credentials go to nobody but the first.
    pub(crate) async fn ask(mut self, mut ask: Ask) -> Result<Answer, PullError> {
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.send(&ask).await?;
            if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
            let next = self.other(location.unwrap_or_default()).map_err(|why| PullError::Answer {
                registry: answer.registry.clone(),
                status: answer.status.as_u16(),
                why,
            })?;
            if next.authority != self.authority {
                ask.headers.remove(AUTHORIZATION);
                // It holds a credential, too.
                if !ask.body.is_empty() {
                    return Err(PullError::Answer {
                        registry: answer.registry,
                        status: answer.status.as_u16(),
                        why: format!("it sends what was for it on to {}", next.authority),
                    });
                }
            }
            self = next;
        }
        Err(PullError::Answer {
            registry: self.authority.to_string(),
            status: 302,
            why: format!("it sends us on more than {REDIRECTS_MAX} times"),
        })
    }

    async fn send(&self, ask: &Ask) -> Result<Answer, PullError> {
        let registry = self.authority.to_string();
        let timed_out = |step, after| PullError::TimedOut { registry: registry.clone(), step, after };
        let broken =
            |error: hyper::Error| PullError::Broken { registry: registry.clone(), why: with_causes(&error) };
        let stream = timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .map_err(|_| timed_out("take a connection", CONNECT_TIMEOUT))??;
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // What goes wrong on it shows in the answer.
        let connection = Connection(tokio::spawn(async { drop(connection.await) }).abort_handle());
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = self.path.parse().map_err(|_| PullError::Answer {
            registry: registry.clone(),
            status: 0,
            why: "a path that is none".to_owned(),
        })?;
        *request.headers_mut() = ask.headers.clone();
        let host = self.authority.as_str().parse().expect("an authority is made of visible characters");
        request.headers_mut().insert(HOST, host);
        request.headers_mut().insert(USER_AGENT, http::HeaderValue::from_static(AGENT));
        let response = timeout(ANSWER_TIMEOUT, sender.send_request(request))
            .await
            .map_err(|_| timed_out("answer", ANSWER_TIMEOUT))?
            .map_err(broken)?;
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        Ok(Answer { status, headers, registry, body, _connection: connection })
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, PullError> {
        let registry = self.authority.to_string();
        let host = self.authority.host();
        let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let port = self.authority.port_u16().unwrap_or_else(|| self.scheme.port());
        let stream = TcpStream::connect((host, port)).await.map_err(|error| PullError::Unreachable {
            registry: registry.clone(),
            why: format!("dial tcp {host}:{port}: {error}"),
        })?;
        // Requests are small and waited for.
        let _ = stream.set_nodelay(true);
        if self.scheme == Scheme::Http {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| PullError::Unreachable { registry: registry.clone(), why: error.to_string() })?;
        let connector = TlsConnector::from(self.endpoint.tls.of(self.authority.as_str()));
        let stream = connector.connect(name, stream).await.map_err(|error| tls_error(registry, &error))?;
        Ok(Box::new(stream))
    }
}

/// A connection, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

fn tls_error(registry: String, error: &std::io::Error) -> PullError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            PullError::PlainHttp { registry }
        }
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)) => {
            PullError::Certificate { registry, why: error.to_string() }
        }
        _ => PullError::Unreachable { registry, why: error.to_string() },
    }
}

const AGENT: &str = concat!("dunlin/", env!("CARGO_PKG_VERSION"));

/// How long looking a name up, connecting and agreeing on keys may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a registry may think.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may come of a body.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Where registries send to their storage, they do so once or twice.
const REDIRECTS_MAX: usize = 5;
/// Head of an answer, and what is buffered of its body.
const HEAD_BYTES_MAX: usize = 64 << 10;
