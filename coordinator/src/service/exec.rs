//! `pods/exec` and `pods/attach`: a command in a container, or the container's own streams, on a connection that leaves HTTP.
//!
//! What is asked is checked here, in the words of Kubernetes' API server; the pod's node does it. Clients speak frames of
//! `dunlin_link::exec` (over QUIC) or one of Kubernetes' channel protocols (over WebSocket). SPDY is refused.

mod channels;
mod end;
mod options;
mod relay;
mod target;

use dunlin_api::Status;
use dunlin_link::rpc::STREAM_PROTOCOL;
use serde_json::Value;

use self::{
    channels::Channels,
    options::{Action, StreamOptions},
    target::Target,
};
use super::{
    ApiService, Offer, User,
    authorize::Grant,
    path::{ResourceRequest, Verb},
    query::Query,
    response::Response,
    websocket,
};

impl ApiService {
    /// Answers a request for a stream.
    pub(super) async fn serve_exec(
        &self,
        user: &User,
        grant: &Grant,
        request: &ResourceRequest,
        query: &Query,
        offer: &Offer,
    ) -> Result<Response, Status> {
        let action = Action::of(request).ok_or_else(Status::no_such_resource)?;
        let pod = self.pod_of_stream(user, grant, request).await?;
        let options = StreamOptions::parse(action, query)?;
        let target = Target::find(&pod, &options)?;
        let way = Way::choose(offer)?;
        let open = target.open(options.clone());
        match way {
            Way::Frames => {
                let node = self.open_pod_stream(&target.node, open).await?;
                Ok(Response::upgrade(STREAM_PROTOCOL, move |client| relay::relay(client, node)))
            }
            Way::Channels(channels, handshake) => {
                // The node is asked when the client can be told what it says: one that fails to upgrade tries other protocols instead.
                let service = self.clone();
                let talk = move |client| async move {
                    let node = service.open_pod_stream(&target.node, open);
                    channels.talk(client, &options, node).await;
                };
                Ok(handshake.accept(Response::upgrade("websocket", talk)))
            }
        }
    }

    /// The pod that streams are asked of, by those who may.
    pub(super) async fn pod_of_stream(
        &self,
        user: &User,
        grant: &Grant,
        request: &ResourceRequest,
    ) -> Result<Value, Status> {
        if !matches!(request.verb, Verb::Get | Verb::Create) {
            return Err(Status::method_not_allowed());
        }
        if request.verb == Verb::Get {
            // A WebSocket begins with a GET, and does as much as the POST of other protocols.
            self.authorize(user, &ResourceRequest { verb: Verb::Create, ..request.clone() }).await?;
        }
        self.get_granted(user, request, grant).await
    }
}

/// Whether a request is for a stream, which lasts as long as its client likes.
pub(super) fn is_stream(request: &ResourceRequest) -> bool {
    Action::of(request).is_some()
}

/// How the client wants to speak.
enum Way {
    /// In frames, over QUIC.
    Frames,
    /// In channels, over WebSocket.
    Channels(Channels, websocket::Handshake),
}

impl Way {
    fn choose(offer: &Offer) -> Result<Self, Status> {
        let Some(protocol) = offer.protocol() else {
            return Err(Status::bad_request("Upgrade request required"));
        };
        if protocol == STREAM_PROTOCOL {
            return Ok(Self::Frames);
        }
        if protocol.eq_ignore_ascii_case("websocket") {
            let handshake = websocket::Handshake::read(offer.headers())?;
            let (channels, handshake) = handshake.choose(Channels::named)?;
            return Ok(Self::Channels(channels, handshake));
        }
        Err(Status::bad_request(format!(
            "{protocol} is not served here, only WebSocket is; kubectl speaks that from version 1.31 on, unless \
             KUBECTL_REMOTE_COMMAND_WEBSOCKETS is false"
        )))
    }
}
