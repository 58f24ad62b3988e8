//! Looks names up for guests, those that their container may connect to; and remembers what each was told they mean.

use std::{collections::HashMap, net::IpAddr};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    p2::bindings::sockets::{
        ip_name_lookup::{self as p2, Host as _, HostResolveAddressStream as _, ResolveAddressStream},
        network::{ErrorCode, IpAddress, Network},
    },
    p3::bindings::sockets::{
        ip_name_lookup::{self as p3, HostWithStore},
        types,
    },
    sockets::{WasiSockets, WasiSocketsView},
};

use super::{bind::answered, egress::Ports};
use crate::state::ComponentState;

/// The look-ups of a store that go on, by the number of their stream.
pub(crate) type Lookups = HashMap<u32, Ports>;

pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    lookup.func_wrap("resolve-addresses", begin)?;
    lookup.func_wrap("[method]resolve-address-stream.resolve-next-address", next)?;
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?;
    lookup.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
        Box::pin(async move {
            let network = accessor.with(|mut access| access.get().network().clone());
            let Some(ports) = network.ports_of(&name) else { return Ok((Err(p3::ErrorCode::AccessDenied),)) };
            let sockets = accessor.with_getter::<WasiSockets>(|state| state.sockets());
            let resolved = WasiSockets::resolve_addresses(&sockets, name).await?;
            for address in resolved.iter().flatten() {
                network.remember(ip_of_p3(address), &ports);
            }
            Ok((resolved,))
        })
    })
}

type Begun = (Result<Resource<ResolveAddressStream>, ErrorCode>,);

fn begin(
    mut store: StoreContextMut<'_, ComponentState>,
    (network, name): (Resource<Network>, String),
) -> wasmtime::Result<Begun> {
    let state = store.data_mut();
    let Some(ports) = state.network().ports_of(&name) else { return Ok((Err(ErrorCode::AccessDenied),)) };
    let begun = answered(state.sockets().resolve_addresses(network, name))?;
    if let Ok(stream) = &begun {
        // A number that is used again means another look-up, so there are never more than streams.
        state.lookups().insert(stream.rep(), ports);
    }
    Ok((begun,))
}

type Next = (Result<Option<IpAddress>, ErrorCode>,);

fn next(
    mut store: StoreContextMut<'_, ComponentState>,
    (stream,): (Resource<ResolveAddressStream>,),
) -> wasmtime::Result<Next> {
    let state = store.data_mut();
    let ports = state.lookups().get(&stream.rep()).cloned();
    let next = answered(state.sockets().resolve_next_address(stream))?;
    if let (Ok(Some(address)), Some(ports)) = (&next, ports) {
        state.network().remember(ip_of_p2(address), &ports);
    }
    Ok((next,))
}

fn ip_of_p2(address: &p2::IpAddress) -> IpAddr {
    match *address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}

fn ip_of_p3(address: &types::IpAddress) -> IpAddr {
    match *address {
        types::IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        types::IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    }
}
