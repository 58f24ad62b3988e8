//! Keeps a connection alive over changes of the machine's network: takes it along to another address, or gives it up at once.

use std::{net::UdpSocket, time::Duration};

use quinn::{Connection, Endpoint};
use tracing::info;

use super::{
    connect::{Carrier, Connected},
    drive::{Never, SessionEnd},
    network::{Network, any_like, source_towards},
};

/// Follows the machine's network; ends when the connection has to.
pub(super) async fn follow(network: &Network, connected: &Connected) -> Result<Never, SessionEnd> {
    let mut changes = network.subscribe();
    let mut routes = changes.borrow().default_routes;
    let mut source = match &connected.carrier {
        Carrier::Udp { source, .. } => *source,
        Carrier::Tcp(tunnel) => Some(tunnel.addresses().local.ip()),
    };
    loop {
        tokio::select! {
            () = carrier_ended(&connected.carrier) => {
                return Err(SessionEnd::Connection("the TCP connection ended".into()));
            }
            changed = changes.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
        }
        // Without a way to the coordinator there is nothing to move to; the next change may bring one.
        let Ok(now) = source_towards(connected.remote) else { continue };
        let routes_before = std::mem::replace(&mut routes, changes.borrow_and_update().default_routes);
        let is_same = source == Some(now);
        match &connected.carrier {
            Carrier::Udp { .. } if is_same && routes == routes_before => {}
            Carrier::Tcp(_) if is_same => {}
            Carrier::Tcp(_) => return Err(SessionEnd::NetworkChanged("TCP stays behind")),
            Carrier::Udp { endpoint, .. } => {
                info!(from = ?source, to = %now, "moving the session to another address");
                source = Some(now);
                rebind(endpoint, connected)?;
                heard(&connected.connection).await?;
            }
        }
    }
}

/// A tunnel ends with its stream; UDP never does.
async fn carrier_ended(carrier: &Carrier) {
    match carrier {
        Carrier::Udp { .. } => std::future::pending().await,
        Carrier::Tcp(tunnel) => tunnel.ended().await,
    }
}

/// Gives the connection a new socket, from which it tells the coordinator at once.
fn rebind(endpoint: &Endpoint, connected: &Connected) -> Result<(), SessionEnd> {
    let moved = UdpSocket::bind(any_like(connected.remote)).and_then(|socket| endpoint.rebind(socket));
    moved.map_err(|_| SessionEnd::NetworkChanged("no socket could be opened in the new one"))
}

/// Waits until the coordinator has been heard in the new place.
async fn heard(connection: &Connection) -> Result<(), SessionEnd> {
    let before = connection.stats().udp_rx.datagrams;
    let mut waited = Duration::ZERO;
    while connection.stats().udp_rx.datagrams == before {
        if waited >= HEARD_WITHIN {
            return Err(SessionEnd::NetworkChanged("the coordinator does not answer from there"));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
        waited += LOOK_INTERVAL;
    }
    Ok(())
}

/// After a change: several tries over a slow radio link that loses some.
const HEARD_WITHIN: Duration = Duration::from_secs(8);

/// QUIC tells of no answer, only counts them; this is looked at after a change alone.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);
