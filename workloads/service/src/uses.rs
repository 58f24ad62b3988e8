//! Uses one interface of the host and says how that went.

use std::net::{Ipv4Addr, SocketAddrV4};

use wasip3::{
    cli::environment,
    filesystem::{
        preopens,
        types::{DescriptorFlags, OpenFlags, PathFlags},
    },
    http::{
        client,
        types::{Fields, Request, Response, Scheme},
    },
    random::random,
    sockets::{
        ip_name_lookup,
        types::{IpAddress, IpAddressFamily, IpSocketAddress, UdpSocket},
    },
    wit_future,
};

use crate::wasi;

/// `None` where the words ask for no interface.
pub(crate) async fn run(words: &[&str]) -> Option<Result<String, String>> {
    Some(match *words {
        ["variable", name] => Ok(variable(name)),
        ["folder"] => Ok(environment::get_initial_cwd().unwrap_or_default()),
        ["random", count] => {
            let bytes = random::get_random_bytes(count.parse().unwrap_or_default());
            Ok(format!("{} bytes", bytes.len()))
        }
        ["read", path] => read(path).await,
        ["resolve", name] => resolve(name).await,
        ["send", address] => send(address).await,
        ["fetch", authority, path] => fetch(authority, path).await,
        _ => return None,
    })
}

fn variable(name: &str) -> String {
    let mut all = environment::get_environment().into_iter();
    all.find(|(known, _)| known == name).map(|(_, value)| value).unwrap_or_default()
}

/// A file of the first folder that it was given.
async fn read(path: &str) -> Result<String, String> {
    let (folder, _) = preopens::get_directories().into_iter().next().ok_or("no folder")?;
    let opened = folder.open_at(PathFlags::empty(), path.to_owned(), OpenFlags::empty(), DescriptorFlags::READ);
    let file = opened.await.map_err(|error| format!("{error:?}"))?;
    let (content, ended) = file.read_via_stream(0);
    let content = content.collect().await;
    ended.await.map_err(|error| format!("{error:?}"))?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

async fn resolve(name: &str) -> Result<String, String> {
    let found = ip_name_lookup::resolve_addresses(name.to_owned()).await;
    let found = found.map_err(|error| format!("{error:?}"))?;
    let shown = found.into_iter().filter_map(|address| match address {
        IpAddress::Ipv4((a, b, c, d)) => Some(Ipv4Addr::new(a, b, c, d).to_string()),
        IpAddress::Ipv6(_) => None,
    });
    Ok(shown.collect::<Vec<_>>().join(" "))
}

/// Sends a datagram, and says what is answered.
async fn send(address: &str) -> Result<String, String> {
    let address: SocketAddrV4 = address.parse().map_err(|_| "no address")?;
    let failed = |error| format!("{error:?}");
    let socket = UdpSocket::create(IpAddressFamily::Ipv4).map_err(failed)?;
    let to: Option<IpSocketAddress> = Some(wasi(address));
    socket.send(b"a datagram".to_vec(), to).await.map_err(failed)?;
    let (bytes, _from) = socket.receive().await.map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn fetch(authority: &str, path: &str) -> Result<String, String> {
    let (_trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(Fields::new(), None, no_trailers, None);
    let set = request
        .set_scheme(Some(&Scheme::Http))
        .and_then(|()| request.set_authority(Some(authority)))
        .and_then(|()| request.set_path_with_query(Some(path)));
    set.map_err(|()| "no such address")?;
    let response = client::send(request).await.map_err(|error| format!("{error:?}"))?;
    let status = response.get_status_code();
    let (_done, result) = wit_future::new(|| Ok(()));
    let (body, _trailers) = Response::consume_body(response, result);
    Ok(format!("{status} {}", String::from_utf8_lossy(&body.collect().await)))
}
