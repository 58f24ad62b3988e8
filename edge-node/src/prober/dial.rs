//! Connections to containers.

use std::io;

use dunlin_edge_node_core::check::{Outcome, Place, Target};
use tokio::net::TcpStream;

/// Whether somebody accepts a connection.
pub(super) async fn look(target: &Target) -> Outcome {
    match connect(target).await {
        Ok(_closed_at_once) => Outcome::Success,
        Err(text) => Outcome::Failure(text),
    }
}

/// Connects.
///
/// # Errors
/// The words of Go's network library.
pub(super) async fn connect(target: &Target) -> Result<TcpStream, String> {
    let connected = match &target.place {
        Place::Address(address) => TcpStream::connect(address).await,
        Place::Host(host, port) => TcpStream::connect((host.as_str(), *port)).await,
    };
    connected.map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            io::ErrorKind::ConnectionReset => "connect: connection reset by peer".to_owned(),
            io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {}: {why}", target.shown)
    })
}
