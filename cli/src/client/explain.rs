//! Why a connection could not be made, in words that say what to do next.

use anyhow::anyhow;
use quinn::ConnectionError;
use rustls::AlertDescription;

use crate::context::Access;

/// What to do when nothing answers.
pub(super) const START_IT: &str = "is the coordinator running, and does UDP or TCP reach it? \
     Start one here with `dunlin dev`, or choose another with `dunlin config use-context`";

/// Turns quinn's error into a person's.
pub(super) fn explain(error: &ConnectionError, access: &Access) -> anyhow::Error {
    let (server, context) = (&access.server, &access.context);
    match error {
        ConnectionError::TimedOut => anyhow!("no answer from quic://{server}: {START_IT}"),
        ConnectionError::TransportError(transport) => {
            let reason = &transport.reason;
            if reason.contains("invalid peer certificate") {
                anyhow!(
                    "quic://{server} does not belong to the cluster of context {context:?} ({reason}): the cluster was \
                     created anew, or another one listens there; get its context again, for a local one with `dunlin dev`"
                )
            } else {
                anyhow!("the TLS handshake with quic://{server} failed: {reason}")
            }
        }
        ConnectionError::ConnectionClosed(close) => match alert(u64::from(close.error_code)) {
            Some(AlertDescription::NoApplicationProtocol) => {
                anyhow!("quic://{server} is no Dunlin coordinator, or one of another version")
            }
            Some(alert) => anyhow!(
                "quic://{server} refuses the client certificate of context {context:?} ({alert:?}): it has expired or belongs \
                 to another cluster; get the context again, for a local one with `dunlin dev`"
            ),
            None => anyhow!("quic://{server} closed the connection: {close}"),
        },
        ConnectionError::ApplicationClosed(close) => {
            anyhow!("quic://{server} closed the connection: {}", String::from_utf8_lossy(&close.reason))
        }
        other => anyhow!("cannot connect to quic://{server}: {other}"),
    }
}

/// QUIC carries a TLS alert as error code 0x100 plus the alert.
fn alert(code: u64) -> Option<AlertDescription> {
    let alert = code.checked_sub(0x100)?;
    u8::try_from(alert).ok().map(AlertDescription::from)
}
