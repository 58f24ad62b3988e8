//! Takes without end what it is told to, and does what it may not: for tests that its host and its neighbours do not notice.
//!
//! Where it is refused it goes on trying; where it is refused for good it says so and exits with 1.

use std::{
    env,
    fs::File,
    hint::black_box,
    io::{Write as _, stdout},
    net::{TcpListener, TcpStream, UdpSocket},
    process::exit,
};

use wasip2::{
    clocks::monotonic_clock::subscribe_duration,
    http::types::{Fields, OutgoingBody, OutgoingResponse},
};

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["spin"] => spin(),
        ["memory"] => memory(),
        ["stdout"] => flood(),
        ["handles"] => keep(|_| subscribe_duration(u64::MAX)),
        ["headers"] => headers(),
        ["bodies"] => bodies(),
        ["sockets"] => keep(|_| UdpSocket::bind("0.0.0.0:0").unwrap_or_else(|error| refused("bind", &error))),
        ["forbidden", address] => forbidden(address),
        ["files", path] => keep(|_| File::open(path).unwrap_or_else(|error| refused("open", &error))),
        ["recurse"] => {
            black_box(recurse(1));
        }
        _ => {
            eprintln!("usage: hostile spin | memory | stdout | handles | headers | bodies | sockets | forbidden ADDRESS | files PATH | recurse");
            exit(64);
        }
    }
}

fn spin() -> ! {
    println!("spinning");
    let mut steps = 0u64;
    loop {
        steps = black_box(steps.wrapping_add(1));
    }
}

/// An allocation that is refused aborts.
fn memory() -> ! {
    keep(|_| vec![1u8; 1 << 20])
}

fn flood() -> ! {
    let line = [b'x'; 4096];
    loop {
        if let Err(error) = stdout().write_all(&line) {
            refused("write", &error);
        }
    }
}

/// Makes one more, for ever, and keeps them all.
fn keep<T>(mut make: impl FnMut(usize) -> T) -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(make(kept.len())));
    }
}

/// Each set is nearly as large as the host lets it grow, which is where it traps.
fn headers() -> ! {
    let value = vec![b'x'; 16 << 10];
    keep(|_| {
        let fields = Fields::new();
        for _ in 0..7 {
            fields.append("x-hostile", &value).expect("a valid header");
        }
        fields
    })
}

/// Bodies that are written into and that nobody ever reads.
fn bodies() -> ! {
    keep(|_| {
        let response = OutgoingResponse::new(Fields::new());
        let body: OutgoingBody = response.body().expect("taken once");
        let stream = body.write().expect("taken once");
        while let Ok(size @ 1..) = stream.check_write() {
            let size = usize::try_from(size).unwrap_or(usize::MAX).min(64 << 10);
            if stream.write(&vec![1; size]).is_err() {
                break;
            }
        }
        (response, body, stream)
    })
}

/// What it may reach is none of these.
fn forbidden(address: &str) -> ! {
    let connected = TcpStream::connect(address).map(drop);
    let listened = TcpListener::bind(address).map(drop);
    match (connected, listened) {
        (Err(connect), Err(listen)) => {
            println!("connect: {connect}; listen: {listen}");
            exit(1);
        }
        (connect, listen) => {
            println!("connect: {connect:?}; listen: {listen:?}");
            exit(0);
        }
    }
}

fn recurse(depth: u64) -> u64 {
    // Not a tail call, and the frame is really there.
    let mut frame = [depth; 8];
    black_box(&mut frame);
    recurse(depth + 1) + frame[7]
}

fn refused(what: &str, error: &dyn std::fmt::Display) -> ! {
    println!("{what}: {error}");
    exit(1);
}
