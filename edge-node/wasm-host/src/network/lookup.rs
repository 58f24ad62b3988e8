//! Looks a name up. The system's resolver holds a thread until it has answered, and nothing cuts it short: only so many look-ups of a
//! container go on at once, whoever still waits for them.

use std::{
    future::Future,
    net::{IpAddr, Ipv6Addr, ToSocketAddrs as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;
use url::Host;

use super::{Network, egress::Ports};

/// Why a name means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    #[error("it is no name")]
    Invalid,
    #[error("name not found")]
    Unresolvable,
}

type Resolved = Result<Vec<IpAddr>, LookupError>;

/// A look-up that goes on. Without it, one that has not begun never will.
#[derive(Debug)]
pub(super) struct Lookup(AbortOnDropHandle<Resolved>);

impl Lookup {
    /// Begins to look a name up, and has the container reach what it means at these ports.
    pub(super) fn begin(network: &Arc<Network>, name: String, ports: Ports) -> Self {
        let network = Arc::clone(network);
        Self(AbortOnDropHandle::new(tokio::spawn(async move {
            let resolved = resolve(&network, &name).await?;
            for ip in &resolved {
                network.remember(*ip, &ports);
            }
            Ok(resolved)
        })))
    }
}

impl Future for Lookup {
    type Output = Resolved;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Resolved> {
        let joined = Pin::new(&mut self.0).poll(cx);
        joined.map(|joined| joined.unwrap_or(Err(LookupError::Unresolvable)))
    }
}

async fn resolve(network: &Network, name: &str) -> Resolved {
    if name.len() > NAME_BYTES_MAX {
        return Err(LookupError::Invalid);
    }
    let name = match Host::parse(name) {
        Ok(Host::Domain(name)) => name,
        Ok(Host::Ipv4(ip)) => return Ok(vec![ip.into()]),
        Ok(Host::Ipv6(ip)) => return Ok(vec![ip.into()]),
        // In an address such an address stands in brackets, by itself it need not.
        Err(_) => return name.parse().map(|ip: Ipv6Addr| vec![ip.into()]).map_err(|_| LookupError::Invalid),
    };
    let place = Arc::clone(&network.lookups).acquire_owned().await.expect("never closed");
    let resolving = spawn_blocking(move || {
        let resolved = (name.as_str(), 0).to_socket_addrs();
        drop(place);
        resolved.map(|addresses| addresses.map(|address| address.ip().to_canonical()).collect())
    });
    match resolving.await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a guest's look-up failed");
            Err(LookupError::Unresolvable)
        }
        Err(_panicked) => Err(LookupError::Unresolvable),
    }
}

/// Names of the DNS have 253 characters; in other scripts these take more bytes.
const NAME_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::network::{LOOKUPS_MAX, tests::network};

    #[tokio::test]
    async fn so_many_go_on_at_once() {
        let network = Arc::new(network(crate::Egress::Open));
        let begin = |name: &str| Lookup::begin(&network, name.to_owned(), Ports::All);
        let all = u32::try_from(LOOKUPS_MAX).unwrap();
        let taken = Arc::clone(&network.lookups).acquire_many_owned(all).await.unwrap();
        // What needs no look-up waits for none.
        for address in ["192.0.2.7", "[::1]", "::1"] {
            assert_eq!(begin(address).await.unwrap().len(), 1, "{address}");
        }
        let mut waiting = begin("localhost");
        assert!(timeout(Duration::from_millis(20), &mut waiting).await.is_err());
        drop(taken);
        assert!(waiting.await.unwrap().iter().all(IpAddr::is_loopback));
        assert_eq!(network.lookups.available_permits(), LOOKUPS_MAX);
    }

    #[tokio::test]
    async fn what_is_no_name_is_not_looked_up() {
        let network = Arc::new(network(crate::Egress::Open));
        for name in ["", "a b", &"a".repeat(NAME_BYTES_MAX + 1)] {
            let resolved = Lookup::begin(&network, name.to_owned(), Ports::All).await;
            assert_eq!(resolved, Err(LookupError::Invalid), "{name}");
        }
    }
}
