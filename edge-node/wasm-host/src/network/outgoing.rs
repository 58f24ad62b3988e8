//! Sends guests' HTTP requests, to where sockets may connect, too. The address that was judged is the one that is connected to: a
//! name is looked up once.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, Uri, uri::Scheme};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::{
    BODY_CHUNK_BYTES, NOT_LISTED, Network,
    lookup::{Lookup, LookupError},
};
use crate::guest::Transport;

/// A container's outgoing requests.
#[derive(Debug)]
pub(crate) struct EgressHooks(pub(crate) Arc<Network>);

impl WasiHttpHooks for EgressHooks {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let network = Arc::clone(&self.0);
        Box::new(async move { send(&network, request, options.unwrap_or_default()).await })
    }
}

/// An answer, and what reads the rest of it.
type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

async fn send(
    network: &Arc<Network>,
    mut request: Request<WasiBody>,
    options: RequestOptions,
) -> Result<Sent, Error> {
    let connect_max = options.connect_timeout.unwrap_or(PHASE_MAX).min(PHASE_MAX);
    let place = timeout(connect_max, Arc::clone(&network.requests).acquire_owned()).await;
    let place = place.map_err(|_late| Error::ConnectionLimitReached)?.expect("never closed");
    let uri = request.uri().clone();
    let connecting = timeout(connect_max, async {
        let stream = connect(network, &uri).await?;
        http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(Error::from)
    });
    let (mut sender, connection) = connecting.await.unwrap_or(Err(Error::ConnectionTimeout))?;
    // What is asked of the server itself names only the path; the host is in its header already.
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    *request.uri_mut() = Uri::try_from(path).map_err(|_invalid| Error::HttpRequestUriInvalid)?;
    let first_byte_max = options.first_byte_timeout.unwrap_or(PHASE_MAX).min(PHASE_MAX);
    let mut answered = pin!(timeout(first_byte_max, sender.send_request(request)));
    let mut connection = Some(connection);
    let answer = poll_fn(|cx| {
        if let Poll::Ready(answer) = answered.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        // The connection is what moves the request.
        if let Some(open) = &mut connection
            && Pin::new(open).poll(cx).is_ready()
        {
            connection = None;
            return answered.as_mut().poll(cx);
        }
        Poll::Pending
    });
    let answer = answer.await.map_err(|_late| Error::ConnectionReadTimeout)??;
    let between_max = options.between_bytes_timeout.unwrap_or(PHASE_MAX).min(PHASE_MAX);
    let answer = answer.map(|body| AnswerBody { body, between_max, timer: None }.boxed_unsync());
    let rest = async move {
        let ended = match connection {
            Some(connection) => connection.await.map_err(Error::from),
            None => Ok(()),
        };
        // It is for the connection, which whoever drops the rest closes.
        drop(place);
        ended
    };
    Ok((answer, Box::new(rest)))
}

/// A connection to one of the host's addresses, with TLS if the scheme says so.
async fn connect(network: &Arc<Network>, uri: &Uri) -> Result<Box<dyn Stream>, Error> {
    let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let addresses = allowed_addresses(network, &host, port).await?;
    let stream = TcpStream::connect(&*addresses).await.map_err(Error::Connect)?;
    if !is_tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host)?;
    let stream = TlsConnector::from(tls_config()?).connect(name, stream).await.map_err(Error::Tls)?;
    Ok(Box::new(stream))
}

/// Refuses a host that may not be connected to, or whose name leads to an address that no guest may reach.
async fn allowed_addresses(network: &Arc<Network>, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let ports = network.ports_of(host).filter(|ports| ports.contains(port));
    let Some(ports) = ports else {
        network.deny(format!("request to {host}:{port}: {NOT_LISTED}"));
        return Err(Error::HttpRequestDenied);
    };
    let unresolved = |error: LookupError| Error::DnsError { rcode: Some(error.to_string()), info_code: None };
    let ips = Lookup::begin(network, host.to_owned(), ports).await.map_err(unresolved)?;
    let there = |ip| network.translated(Transport::Tcp, SocketAddr::new(ip, port));
    let addresses: Vec<_> = ips.into_iter().map(there).collect();
    if let Some(refused) = addresses.iter().find(|address| !network.may_connect(**address)) {
        network.deny(network.refused(&format!("request to {host}:{port}, which is"), *refused));
        return Err(Error::DestinationIpProhibited);
    }
    Ok(addresses)
}

fn tls_config() -> Result<Arc<ClientConfig>, Error> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| Error::InternalError(Some(error.to_string())))?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An answer's body, which may not pause for too long.
struct AnswerBody {
    body: Incoming,
    between_max: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(timer) = &mut this.timer {
                timer.as_mut().reset(Instant::now() + this.between_max);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(this.between_max)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Longest wait for a connection, for the first byte of an answer, and between two of its parts; guests may ask for less.
const PHASE_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;
    use crate::network::{REQUESTS_MAX, tests::network};

    #[tokio::test]
    async fn so_many_are_on_their_way_at_once() {
        let network = Arc::new(network(crate::Egress::Only(Vec::new())));
        let send = async || {
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let request = Request::builder().uri("http://192.0.2.1/").body(body).unwrap();
            let connect_timeout = Some(Duration::from_millis(20));
            let options = RequestOptions { connect_timeout, ..RequestOptions::default() };
            send(&network, request, options).await.map(|_sent| ())
        };
        let all = u32::try_from(REQUESTS_MAX).unwrap();
        let taken = Arc::clone(&network.requests).acquire_many_owned(all).await.unwrap();
        assert!(matches!(send().await, Err(Error::ConnectionLimitReached)));
        drop(taken);
        assert!(matches!(send().await, Err(Error::HttpRequestDenied)));
        assert_eq!(network.requests.available_permits(), REQUESTS_MAX);
    }
}
