//! Serves one HTTP handler until standard input ends: what benches measure where only this crate is built with optimization.
//!
//! `cargo run --release -p dunlin-wasm-host --example serve -- MODULE ADDRESS`

#![expect(clippy::panic, reason = "a program for benches, which show what it says")]

use std::{
    env, fs,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use dunlin_wasm_host::{Guest, Host, Listening, Output, Stop, Stream, compile};

fn main() {
    let words: Vec<String> = env::args().collect();
    let [_, module, address] = words.as_slice() else { panic!("two words: MODULE ADDRESS") };
    let listen: SocketAddr = address.parse().expect("an address");
    let host = Host::new().expect("a host");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let artifact = folder.path().join("artifact");
    let wasm = fs::read(module).expect("the module");
    fs::write(&artifact, compile(&wasm, host.target()).expect("a valid module")).expect("room for it");
    let program = Arc::new(host.load(&artifact).expect("a program"));
    let container = host.container(program, guest(listen), Stop::new()).expect("a handler");
    drop(host.handle().spawn(async move { container.run(|| ()).await }));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("standard input");
}

fn guest(listen: SocketAddr) -> Guest {
    Guest {
        args: vec!["handler".to_owned()],
        listen: vec![Listening::tcp(listen)],
        ..Guest::new(Arc::new(Discard))
    }
}

struct Discard;

impl Output for Discard {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn push(&self, _stream: Stream, _bytes: &[u8]) {}

    fn poll_room(&self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}
