//! Uses one interface of the host and says how that went: sockets, name look-ups, outgoing HTTP, settings, the key-value store.
//!
//! `serve PORT` answers each connection with what it sent, `serve-udp PORT` each datagram; `connect ADDRESS`, `send ADDRESS` and
//! `resolve NAME` try these; `fetch URL` sends a request; `config [KEY]` reads settings; `folder` says where it is;
//! `kv BUCKET OPERATION ..` uses a bucket, `kv2 BUCKET OPERATION ..` by the second draft.

mod fetch;
mod kv;
mod kv2;

use std::{
    env,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket},
};

wit_bindgen::generate!({ world: "interfaces", path: "wit", generate_all });

use wasi::config::store as config;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", port] => serve(port.parse()?),
        ["serve-udp", port] => serve_udp(port.parse()?),
        ["connect", address] => {
            TcpStream::connect(address)?;
            say("connected")
        }
        ["send", address] => send(address),
        ["resolve", name] => {
            for address in (name, 80).to_socket_addrs()? {
                say(&address.ip().to_string())?;
            }
            Ok(())
        }
        ["fetch", url] => say(&fetch::get(url)?),
        ["config", key] => say(&config::get(key).map_err(|_| "no settings")?.unwrap_or_else(|| "none".to_owned())),
        ["config"] => {
            let mut all = config::get_all().map_err(|_| "no settings")?;
            all.sort();
            all.iter().try_for_each(|(key, value)| say(&format!("{key}={value}")))
        }
        ["folder"] => say(&wasip2::cli::environment::initial_cwd().unwrap_or_default()),
        ["kv", bucket, ref operation @ ..] => kv::run(bucket, operation),
        ["kv2", bucket, ref operation @ ..] => kv2::run(bucket, operation),
        _ => Err("usage: see the program's source".into()),
    }
}

fn say(text: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

fn serve(port: u16) -> Outcome {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    say("listening")?;
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut bytes = [0; 1024];
        let length = stream.read(&mut bytes)?;
        stream.write_all(&bytes[..length])?;
    }
}

fn serve_udp(port: u16) -> Outcome {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    say("listening")?;
    loop {
        let mut bytes = [0; 1024];
        let (length, from) = socket.recv_from(&mut bytes)?;
        socket.send_to(&bytes[..length], from)?;
    }
}

fn send(address: &str) -> Outcome {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.send_to(b"a datagram", address)?;
    let mut bytes = [0; 1024];
    let (length, _) = socket.recv_from(&mut bytes)?;
    say(&String::from_utf8_lossy(&bytes[..length]))
}
