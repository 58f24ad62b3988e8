//! Servers that tell clients what address they came from.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
    time::Duration,
};

use crate::space::Space;

/// Answers TCP clients inside a namespace until the process ends.
pub(crate) fn serve_tcp(space: &Space, port: u16) {
    serve(space.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap());
}

/// Answers TCP clients until the process ends.
pub(crate) fn serve(listener: TcpListener) {
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            // A client that is gone is nothing to a server.
            let _ = stream.write_all(peer.ip().to_string().as_bytes());
        }
    });
}

/// Answers UDP clients inside a namespace until the process ends.
pub(crate) fn serve_udp(space: &Space, port: u16) {
    let socket = space.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            // As above.
            let _ = socket.send_to(peer.ip().to_string().as_bytes(), peer);
        }
    });
}

/// What a TCP server says of who asks.
pub(crate) fn ask_tcp(space: &Space, address: Ipv4Addr, port: u16) -> io::Result<IpAddr> {
    space.run(|| {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        text.parse().map_err(io::Error::other)
    })
}

/// What a UDP server says of who asks.
pub(crate) fn ask_udp(space: &Space, address: Ipv4Addr, port: u16) -> io::Result<IpAddr> {
    let socket = space.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    ask_from(&socket, address, port)
}

/// As `ask_udp`, again from the same port.
pub(crate) fn ask_from(socket: &UdpSocket, address: Ipv4Addr, port: u16) -> io::Result<IpAddr> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((address, port))?;
    socket.send(b"who")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    String::from_utf8_lossy(&buffer[..length]).parse().map_err(io::Error::other)
}

/// What takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(3);
