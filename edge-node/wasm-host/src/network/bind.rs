//! Leads a bind to a declared port to the container's own address: programs bind to any address, and know no other. And leads a
//! connection to a pod of the same host to where that is.

use std::net::SocketAddr;

use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    TrappableError,
    p2::bindings::sockets::{network as p2, tcp, udp},
    p3::bindings::sockets::types as p3,
    sockets::{TcpSocket, UdpSocket, WasiSockets, WasiSocketsView as _},
};

use crate::{guest::Transport, state::ComponentState};

pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>) -> wasmtime::Result<()> {
    type Caller<'a> = StoreContextMut<'a, ComponentState>;
    type P2<S> = (Resource<S>, Resource<p2::Network>, p2::IpSocketAddress);
    linker.instance("wasi:sockets/tcp@0.2.12")?.func_wrap(
        "[method]tcp-socket.start-connect",
        |mut store: Caller<'_>, (socket, network, asked): P2<wasmtime_wasi::p2::TcpSocket>| {
            let address = store.data().network().translated(Transport::Tcp, asked.into()).into();
            let mut sockets = store.data_mut().sockets();
            Ok((answered(tcp::HostTcpSocket::start_connect(&mut sockets, socket, network, address))?,))
        },
    )?;
    linker.instance("wasi:sockets/tcp@0.2.12")?.func_wrap_async(
        "[method]tcp-socket.start-bind",
        |mut store: Caller<'_>, (socket, network, asked): P2<wasmtime_wasi::p2::TcpSocket>| {
            Box::new(async move {
                let address = own(store.data(), Transport::Tcp, asked.into()).into();
                let mut sockets = store.data_mut().sockets();
                Ok((answered(tcp::HostTcpSocket::start_bind(&mut sockets, socket, network, address).await)?,))
            })
        },
    )?;
    linker.instance("wasi:sockets/udp@0.2.12")?.func_wrap_async(
        "[method]udp-socket.start-bind",
        |mut store: Caller<'_>, (socket, network, asked): P2<wasmtime_wasi::p2::UdpSocket>| {
            Box::new(async move {
                let address = own(store.data(), Transport::Udp, asked.into()).into();
                let mut sockets = store.data_mut().sockets();
                Ok((answered(udp::HostUdpSocket::start_bind(&mut sockets, socket, network, address).await)?,))
            })
        },
    )?;
    let mut types = linker.instance("wasi:sockets/types@0.3.0")?;
    types.func_wrap_concurrent(
        "[method]tcp-socket.connect",
        |accessor, (socket, asked): (Resource<TcpSocket>, p3::IpSocketAddress)| {
            Box::pin(async move {
                let there = accessor
                    .with(|mut access| access.get().network().translated(Transport::Tcp, asked.into()));
                let host = accessor.with_getter::<WasiSockets>(ComponentState::sockets);
                let connected = <WasiSockets as p3::HostTcpSocketWithStore<ComponentState>>::connect;
                Ok((answered(connected(&host, socket, there.into()).await)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]tcp-socket.bind",
        |mut store: Caller<'_>, (socket, asked): (Resource<TcpSocket>, p3::IpSocketAddress)| {
            Box::new(async move {
                let address = own(store.data(), Transport::Tcp, asked.into()).into();
                let mut sockets = store.data_mut().sockets();
                Ok((answered(p3::HostTcpSocket::bind(&mut sockets, socket, address).await)?,))
            })
        },
    )?;
    types.func_wrap_async(
        "[method]udp-socket.bind",
        |mut store: Caller<'_>, (socket, asked): (Resource<UdpSocket>, p3::IpSocketAddress)| {
            Box::new(async move {
                let address = own(store.data(), Transport::Udp, asked.into()).into();
                let mut sockets = store.data_mut().sockets();
                Ok((answered(p3::HostUdpSocket::bind(&mut sockets, socket, address).await)?,))
            })
        },
    )
}

fn own(state: &ComponentState, transport: Transport, asked: SocketAddr) -> SocketAddr {
    state.network().own(transport, asked)
}

/// What a guest is answered; an error of the host's own is a trap.
pub(super) fn answered<T, C>(result: Result<T, TrappableError<C>>) -> wasmtime::Result<Result<T, C>>
where
    C: std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => error.downcast().map(Err),
    }
}
