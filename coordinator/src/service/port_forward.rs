//! `pods/portforward`: connections to the localhost of a pod, on a connection that leaves HTTP.
//!
//! Clients speak SPDY, by itself or inside a WebSocket (kubectl), or Kubernetes' channels over WebSocket (client libraries); over QUIC a
//! request is one connection, whose bytes follow the answer. The pod's node connects; each forwarded connection is a stream of its link.

mod carry;
mod channels;
mod ports;
mod relay;
mod session;
mod target;

use dunlin_api::Status;
use dunlin_link::rpc::STREAM_PROTOCOL;
use http::HeaderMap;

use self::target::Target;
use super::{
    ApiService, Offer, User, authorize::Grant, path::ResourceRequest, query::Query, response::Response,
    websocket,
};
use crate::sessions::StreamOpen;

impl ApiService {
    /// Answers a request to forward ports.
    pub(super) async fn serve_port_forward(
        &self,
        user: &User,
        grant: &Grant,
        request: &ResourceRequest,
        query: &Query,
        offer: &Offer,
    ) -> Result<Response, Status> {
        let pod = self.pod_of_stream(user, grant, request).await?;
        let target = Target::find(&pod)?;
        let way = Way::choose(offer)?;
        let forwarder = Forwarder { service: self.clone(), target };
        Ok(match way {
            Way::Bytes => {
                let node = forwarder.open(ports::one(query)?).await?;
                Response::upgrade(STREAM_PROTOCOL, move |client| relay::relay(client, node))
            }
            Way::Channels(handshake) => {
                let ports = ports::all(query)?;
                let talk = move |client| channels::talk(client, ports, forwarder);
                handshake.accept(Response::upgrade("websocket", talk))
            }
            Way::Tunnel(handshake) => {
                let talk = move |client| async move {
                    session::talk(websocket::tunnel(client).await, forwarder).await;
                };
                handshake.accept(Response::upgrade("websocket", talk))
            }
            Way::Spdy => Response::upgrade(SPDY, move |client| session::talk(client, forwarder))
                .with_header(VERSION_HEADER, PROTOCOL),
        })
    }
}

/// Whether a request is for ports of a pod, which are forwarded for as long as its client likes.
pub(super) fn is_meant(request: &ResourceRequest) -> bool {
    request.kind.kind == "Pod" && request.subresource == "portforward"
}

/// Opens connections to one pod.
#[derive(Clone, Debug)]
struct Forwarder {
    service: ApiService,
    target: Target,
}

impl Forwarder {
    /// Connects to a port.
    async fn open(&self, port: u16) -> Result<crate::sessions::NodeStream, Status> {
        let Target { node, uid, .. } = &self.target;
        self.service.open_pod_stream(node, StreamOpen::Forward { uid: uid.clone(), port }).await
    }

    /// What kept a port from being connected to, in the kubelet's words.
    fn failed(&self, port: u16, why: &Status) -> String {
        let Target { name, uid, .. } = &self.target;
        format!("error forwarding port {port} to pod {name}, uid {uid}: {}", why.message())
    }
}

/// How the client wants to speak.
enum Way {
    /// One connection's bytes, over QUIC.
    Bytes,
    /// In channels, over WebSocket.
    Channels(websocket::Handshake),
    /// SPDY inside WebSocket.
    Tunnel(websocket::Handshake),
    /// SPDY.
    Spdy,
}

/// Protocols over WebSocket.
#[derive(Clone, Copy)]
enum OverWebSocket {
    Channels,
    Tunnel,
}

impl Way {
    fn choose(offer: &Offer) -> Result<Self, Status> {
        let Some(protocol) = offer.protocol() else {
            return Err(Status::bad_request("Upgrade request required"));
        };
        if protocol == STREAM_PROTOCOL {
            return Ok(Self::Bytes);
        }
        if protocol.eq_ignore_ascii_case("websocket") {
            let named = |name: &str| match name {
                "v4.channel.k8s.io" => Some(OverWebSocket::Channels),
                TUNNEL => Some(OverWebSocket::Tunnel),
                _ => None,
            };
            let (chosen, handshake) = websocket::Handshake::read(offer.headers())?.choose(named)?;
            return Ok(match chosen {
                OverWebSocket::Channels => Self::Channels(handshake),
                OverWebSocket::Tunnel => Self::Tunnel(handshake),
            });
        }
        if !protocol.eq_ignore_ascii_case(SPDY) {
            return Err(Status::bad_request(format!("{protocol} is not served here")));
        }
        let versions = versions(offer.headers());
        if versions.is_empty() || versions.contains(&PROTOCOL) {
            return Ok(Self::Spdy);
        }
        let message = format!(
            "unable to upgrade: unable to negotiate protocol: client supports {versions:?}, server accepts [{PROTOCOL:?}]"
        );
        Err(Status::failure(403, "Forbidden", message))
    }
}

/// What a client of SPDY can speak on its streams.
fn versions(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(VERSION_HEADER).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).collect()
}

/// The streams' protocol.
const PROTOCOL: &str = "portforward.k8s.io";

/// Names it, in requests and answers.
const VERSION_HEADER: &str = "x-stream-protocol-version";

const SPDY: &str = "SPDY/3.1";

/// The same inside WebSocket.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
