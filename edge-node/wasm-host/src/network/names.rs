//! Looks names up for guests, those that their container may connect to; in the place of what wasmtime's WASI does, which has no bound.

use std::{
    future::{Future as _, poll_fn},
    net::IpAddr,
    pin::Pin,
    task::{Context, Poll, Waker},
    vec,
};

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi::{
    p2::{
        DynPollable, Pollable,
        bindings::sockets::network::{ErrorCode, IpAddress, Network as Handle},
        subscribe,
    },
    p3::bindings::sockets::{ip_name_lookup as p3, types},
};

use super::{
    NOT_LISTED, Network,
    egress::Ports,
    lookup::{Lookup, LookupError},
};
use crate::state::ComponentState;

pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?;
    let stream = ResourceType::host::<Stream>();
    lookup.resource("resolve-address-stream", stream, |mut store: Caller<'_>, stream| {
        store.data_mut().table().delete(Resource::<Stream>::new_own(stream))?;
        Ok(())
    })?;
    lookup.func_wrap("resolve-addresses", begin)?;
    lookup.func_wrap("[method]resolve-address-stream.resolve-next-address", next)?;
    lookup.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: Caller<'_>, (stream,): (Resource<Stream>,)| {
            Ok((subscribe(store.data_mut().table(), stream)?,)) as wasmtime::Result<(Resource<DynPollable>,)>
        },
    )?;
    let mut lookup = linker.instance("wasi:sockets/ip-name-lookup@0.3.0")?;
    lookup.func_wrap_concurrent("resolve-addresses", |accessor, (name,): (String,)| {
        Box::pin(async move {
            let network = accessor.with(|mut access| access.get().network().clone());
            let Some(ports) = allowed(&network, &name) else {
                return Ok((Err(p3::ErrorCode::AccessDenied),));
            };
            let resolved = Lookup::begin(&network, name, ports).await;
            let resolved =
                resolved.map(|ips| ips.into_iter().map(types::IpAddress::from).collect::<Vec<_>>());
            Ok((resolved.map_err(|error| match error {
                LookupError::Invalid => p3::ErrorCode::InvalidArgument,
                LookupError::Unresolvable => p3::ErrorCode::NameUnresolvable,
            }),))
        })
    })
}

/// The ports of a name that may be looked up.
fn allowed(network: &Network, name: &str) -> Option<Ports> {
    let ports = network.ports_of(name);
    if ports.is_none() {
        let shown: String = name.chars().take(NAME_SHOWN_MAX).collect();
        network.deny(format!("look-up of {shown}: {NOT_LISTED}"));
    }
    ports
}

/// Characters of a name that are told, which is no shorter than names are.
const NAME_SHOWN_MAX: usize = 253;

type Caller<'a> = StoreContextMut<'a, ComponentState>;

/// What a name means, as far as the guest has not read it.
enum Stream {
    Coming(Lookup),
    Here(Result<vec::IntoIter<IpAddr>, LookupError>),
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<&mut Result<vec::IntoIter<IpAddr>, LookupError>> {
        if let Self::Coming(lookup) = self {
            let Poll::Ready(resolved) = Pin::new(lookup).poll(cx) else { return Poll::Pending };
            *self = Self::Here(resolved.map(Vec::into_iter));
        }
        match self {
            Self::Coming(_) => Poll::Pending,
            Self::Here(resolved) => Poll::Ready(resolved),
        }
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll(cx).map(|_resolved| ())).await;
    }
}

type Begun = (Result<Resource<Stream>, ErrorCode>,);

fn begin(mut store: Caller<'_>, (network, name): (Resource<Handle>, String)) -> wasmtime::Result<Begun> {
    let state = store.data_mut();
    // Whoever has the network may look names up.
    state.table().get(&network)?;
    let Some(ports) = allowed(state.network(), &name) else { return Ok((Err(ErrorCode::AccessDenied),)) };
    let lookup = Lookup::begin(state.network(), name, ports);
    Ok((Ok(state.table().push(Stream::Coming(lookup))?),))
}

type Next = (Result<Option<IpAddress>, ErrorCode>,);

fn next(mut store: Caller<'_>, (stream,): (Resource<Stream>,)) -> wasmtime::Result<Next> {
    let stream = store.data_mut().table().get_mut(&stream)?;
    let next = match stream.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Err(ErrorCode::WouldBlock),
        Poll::Ready(Ok(addresses)) => Ok(addresses.next().map(IpAddress::from)),
        Poll::Ready(Err(LookupError::Invalid)) => Err(ErrorCode::InvalidArgument),
        Poll::Ready(Err(LookupError::Unresolvable)) => Err(ErrorCode::NameUnresolvable),
    };
    Ok((next,))
}
