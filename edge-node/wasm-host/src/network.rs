//! What a guest may reach: every outside address is open as in Kubernetes, the machine's own loopback is not, and listening is
//! allowed on declared addresses only.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use http::{Request, uri::Authority};
use http_body_util::BodyExt as _;
use tokio::net::lookup_host;
use wasmtime_wasi::sockets::SocketAddrUse;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

/// Decides on one use of an address by a guest's sockets. `listen` are the declared addresses.
pub(crate) fn may_use(listen: &[SocketAddr], address: SocketAddr, usage: SocketAddrUse) -> bool {
    match usage {
        // A bind to no port in particular is how clients begin; it becomes a listener only by the next arm.
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => address.port() == 0 || listen.contains(&address),
        SocketAddrUse::TcpListen => listen.contains(&address),
        SocketAddrUse::TcpAccept => true,
        SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => is_outside(address.ip()),
        _ => false,
    }
}

/// Whether an address is another machine's or pod's. A pod's `localhost` is its own, never the node's; pods have addresses of their
/// own elsewhere in `127.0.0.0/8` where a node runs without privileges.
fn is_outside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !address.is_unspecified() && address != Ipv4Addr::LOCALHOST,
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_loopback(),
    }
}

/// Outgoing HTTP requests, held to the same rule as sockets.
#[derive(Debug, Default)]
pub(crate) struct EgressHooks;

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
    ) -> SendRequest {
        let destination = request.uri().authority().cloned();
        Box::new(async move {
            check_destination(destination.ok_or(Error::HttpRequestUriInvalid)?).await?;
            let (response, connection) = default_send_request(request, options).await?;
            Ok((
                response.map(|body| body.boxed_unsync()),
                Box::new(connection) as Box<dyn Future<Output = Result<(), Error>> + Send>,
            ))
        })
    }
}

type SendRequest = Box<
    dyn Future<
            Output = Result<
                (http::Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>),
                Error,
            >,
        > + Send,
>;

/// Refuses a destination if any address it resolves to is forbidden.
async fn check_destination(authority: Authority) -> Result<(), Error> {
    let port = authority.port_u16().unwrap_or(80);
    let host = authority.host().trim_matches(['[', ']']);
    let addresses = lookup_host((host, port)).await.map_err(|_unresolved| Error::DnsError {
        rcode: Some("name not found".to_owned()),
        info_code: None,
    })?;
    for address in addresses {
        if !is_outside(address.ip()) {
            return Err(Error::DestinationIpProhibited);
        }
    }
    Ok(())
}

/// What a guest may write of a body at once, and what the host then holds until it is sent.
pub(crate) const BODY_CHUNK_BYTES: usize = 64 << 10;

/// The declared addresses of a guest, shared by its stores.
pub(crate) type Declared = Arc<[SocketAddr]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged_by_use() {
        let listen = ["127.42.0.5:8080".parse().unwrap()];
        let check = |address: &str, usage, expected| {
            assert_eq!(may_use(&listen, address.parse().unwrap(), usage), expected, "{address}");
        };
        check("127.42.0.5:8080", SocketAddrUse::TcpBind, true);
        check("127.42.0.5:8080", SocketAddrUse::TcpListen, true);
        check("0.0.0.0:8080", SocketAddrUse::TcpBind, false);
        check("0.0.0.0:0", SocketAddrUse::TcpBind, true);
        check("0.0.0.0:0", SocketAddrUse::TcpListen, false);
        check("0.0.0.0:34567", SocketAddrUse::TcpListen, false);
        check("192.0.2.1:443", SocketAddrUse::TcpConnect, true);
        check("127.42.0.6:80", SocketAddrUse::TcpConnect, true);
        for own in ["127.0.0.1:6443", "0.0.0.0:6443", "[::1]:6443", "[::ffff:127.0.0.1]:6443", "[::]:1"] {
            check(own, SocketAddrUse::TcpConnect, false);
            check(own, SocketAddrUse::UdpSend, false);
        }
    }
}
