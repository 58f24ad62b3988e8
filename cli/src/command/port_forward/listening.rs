//! Ports of this machine that are listened on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use anyhow::{Result, anyhow};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::ports::Pair;
use crate::{failure::UsageError, terminal};

/// All of them.
#[derive(Debug)]
pub(super) struct Listeners(Vec<(TcpListener, Pair)>);

impl Listeners {
    /// Listens, and says where. A port that cannot be listened on is told.
    ///
    /// # Errors
    /// When none can be.
    pub(super) async fn open(pairs: &[Pair], names: &[String]) -> Result<Self> {
        let addresses = addresses(names)?;
        let mut all = Vec::new();
        for pair in pairs {
            let mut pair = *pair;
            let (mut opened, mut failures) = (0, Vec::new());
            for address in &addresses {
                let socket = SocketAddr::new(*address, pair.local);
                match TcpListener::bind(socket)
                    .await
                    .and_then(|listener| Ok((listener.local_addr()?, listener)))
                {
                    Ok((bound, listener)) => {
                        // A free port is the same on the other addresses.
                        pair.local = bound.port();
                        terminal::print(&format!("Forwarding from {bound} -> {}\n", pair.remote))?;
                        all.push((listener, pair));
                        opened += 1;
                    }
                    Err(error) => failures.push(told(socket, &error)),
                }
            }
            if opened == 0 {
                let failures = failures.join(", ");
                terminal::remark(&format!(
                    "Unable to listen on port {}: Listeners failed to create with the following errors: [{failures}]",
                    pair.local
                ));
            }
        }
        if all.is_empty() {
            let wanted: Vec<String> =
                pairs.iter().map(|pair| format!("{}:{}", pair.local, pair.remote)).collect();
            return Err(anyhow!("unable to listen on any of the requested ports: [{}]", wanted.join(" ")));
        }
        Ok(Self(all))
    }

    pub(super) fn into_listeners(self) -> Vec<(TcpListener, Pair)> {
        self.0
    }
}

/// Takes connections for as long as somebody wants them.
pub(super) async fn accept(
    listener: TcpListener,
    pair: Pair,
    accepted: mpsc::Sender<(TcpStream, Pair)>,
) -> Result<()> {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if accepted.send((stream, pair)).await.is_err() {
                    return Ok(());
                }
            }
            // The one who came has gone again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(anyhow!("error accepting connection on port {}: {error}", pair.local)),
        }
    }
}

fn told(address: SocketAddr, error: &io::Error) -> String {
    format!("unable to create listener: Error listen {address}: {error}")
}

/// `localhost` is both of its addresses.
fn addresses(names: &[String]) -> Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for name in names {
        let named: &[IpAddr] = match (name.as_str(), name.parse::<IpAddr>()) {
            ("localhost", _) => &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
            (_, Ok(address)) => &[address],
            (_, Err(_)) => return Err(UsageError(format!("{name} is not a valid IP")).into()),
        };
        for address in named {
            if !addresses.contains(address) {
                addresses.push(*address);
            }
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_numbers_or_localhost() {
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let found = addresses(&names).map_err(|error| error.to_string());
            let expected: Vec<IpAddr> = expected.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(found, Ok(expected), "{names:?}");
        };
        check(&["localhost"], &["127.0.0.1", "::1"]);
        check(&["10.0.0.1", "127.0.0.1", "localhost"], &["10.0.0.1", "127.0.0.1", "::1"]);
        assert!(addresses(&["example.com".to_owned()]).unwrap_err().to_string().contains("not a valid IP"));
    }
}
