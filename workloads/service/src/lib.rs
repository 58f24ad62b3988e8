//! A component of WASI 0.3 that is both an HTTP handler and a command.
//!
//! As a handler it answers how many requests its instance was given, how many of them at once, and the request's body. `/slow` waits for
//! 300 ms on the clock before it answers, `/meet` until its instance has been given four requests at once, `/trap` traps, `/spin` computes
//! for ever, and `/file/PATH` answers with the file `/PATH`, after writing the request's body to it if there is one. As a command it writes
//! its arguments; `fail` has it fail, `wait` has it read its input to the end first, `connect IP:PORT` says whether it could connect and
//! send, and `serve PORT` sends back what the first client sends. `variable NAME`, `folder`, `random COUNT`, `read PATH`,
//! `resolve NAME`, `send IP:PORT` and `fetch AUTHORITY PATH` use an interface each and say what came of it.

mod uses;

use std::{
    fs,
    hint::black_box,
    net::{Ipv4Addr, SocketAddrV4},
    sync::atomic::{AtomicU32, Ordering},
};

use wasip3::{
    cli::{environment, stdin, stdout},
    clocks::monotonic_clock,
    exports::{cli, http},
    http::types::{ErrorCode, Fields, Request, Response},
    sockets::types as sockets,
    wit_bindgen, wit_future, wit_stream,
};

struct Service;

wasip3::http::service::export!(Service);
wasip3::cli::command::export!(Service);

static REQUESTS: AtomicU32 = AtomicU32::new(0);
static RUNNING: AtomicU32 = AtomicU32::new(0);
static MOST: AtomicU32 = AtomicU32::new(0);

impl http::handler::Guest for Service {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let count = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
        let running = RUNNING.fetch_add(1, Ordering::Relaxed) + 1;
        MOST.fetch_max(running, Ordering::Relaxed);
        let path = request.get_path_with_query().unwrap_or_default();
        let authority = request.get_authority().unwrap_or_default();
        match path.as_str() {
            "/meet" => {
                while MOST.load(Ordering::Relaxed) < 4 {
                    monotonic_clock::wait_for(1_000_000).await;
                }
            }
            "/slow" => monotonic_clock::wait_for(300_000_000).await,
            "/trap" => panic!("trapping as told"),
            "/spin" => spin(),
            "/fail" => return Err(ErrorCode::ConfigurationError),
            _ => {}
        }
        let (_done, result) = wit_future::new(|| Ok(()));
        let (body, _trailers) = Request::consume_body(request, result);
        let body = body.collect().await;
        RUNNING.fetch_sub(1, Ordering::Relaxed);
        if let Some(file) = path.strip_prefix("/file") {
            return Ok(answer(file_with(file, &body)));
        }
        let most = MOST.load(Ordering::Relaxed);
        let text =
            format!("request {count} at {authority}, {most} at once\n{}", String::from_utf8_lossy(&body));
        Ok(answer(text.into_bytes()))
    }
}

/// What is in a file, once something was written to it, or why it cannot be had.
fn file_with(path: &str, text: &[u8]) -> Vec<u8> {
    let written = if text.is_empty() { Ok(()) } else { fs::write(path, text) };
    written.and_then(|()| fs::read(path)).unwrap_or_else(|error| format!("{path}: {error}\n").into_bytes())
}

fn answer(text: Vec<u8>) -> Response {
    let (mut writer, body) = wit_stream::new();
    let (_trailers, no_trailers) = wit_future::new(|| Ok(None));
    let (response, _sent) = Response::new(Fields::new(), Some(body), no_trailers);
    wit_bindgen::spawn_local(async move {
        // Whoever asked may have gone.
        let _left = writer.write_all(text).await;
    });
    response
}

fn spin() -> ! {
    let mut number = 0_u64;
    loop {
        number = black_box(number.wrapping_add(1));
    }
}

impl cli::run::Guest for Service {
    async fn run() -> Result<(), ()> {
        let arguments = environment::get_arguments();
        let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
        write(format!("running {}\n", words.join(" "))).await;
        if words.contains(&"wait") {
            let (input, _result) = stdin::read_via_stream();
            let input = input.collect().await;
            write(format!("read {} bytes\n", input.len())).await;
        }
        let tried = match *words {
            ["connect", address] => Some(connect(address).await.map(|()| "connected".to_owned())),
            ["serve", port] => Some(serve(port).await.map(|bytes| format!("served {bytes} bytes"))),
            _ => None,
        };
        let tried = tried.map(|tried| tried.map_err(|error| format!("{error:?}")));
        if let Some(tried) = tried.or(uses::run(&words).await) {
            write(tried.unwrap_or_else(|error| error) + "\n").await;
        }
        if words.contains(&"fail") { Err(()) } else { Ok(()) }
    }
}

async fn connect(address: &str) -> Result<(), sockets::ErrorCode> {
    let address: SocketAddrV4 = address.parse().map_err(|_| sockets::ErrorCode::InvalidArgument)?;
    let socket = sockets::TcpSocket::create(sockets::IpAddressFamily::Ipv4)?;
    socket.connect(wasi(address)).await?;
    let (mut writer, reader) = wit_stream::new();
    let sent = socket.send(reader);
    let left = writer.write_all(b"from a guest".to_vec()).await;
    drop(writer);
    if left.is_empty() { sent.await } else { Err(sockets::ErrorCode::ConnectionBroken) }
}

async fn serve(port: &str) -> Result<usize, sockets::ErrorCode> {
    let port = port.parse().map_err(|_| sockets::ErrorCode::InvalidArgument)?;
    let socket = sockets::TcpSocket::create(sockets::IpAddressFamily::Ipv4)?;
    socket.bind(wasi(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
    let mut clients = socket.listen()?;
    write("listening\n".to_owned()).await;
    let client = clients.next().await.ok_or(sockets::ErrorCode::ConnectionAborted)?;
    let (received, _ended) = client.receive();
    let received = received.collect().await;
    let count = received.len();
    let (mut writer, reader) = wit_stream::new();
    let sent = client.send(reader);
    let _left = writer.write_all(received).await;
    drop(writer);
    sent.await?;
    Ok(count)
}

fn wasi(address: SocketAddrV4) -> sockets::IpSocketAddress {
    let [a, b, c, d] = address.ip().octets();
    sockets::IpSocketAddress::Ipv4(sockets::Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) })
}

async fn write(text: String) {
    let (mut writer, reader) = wit_stream::new();
    let written = stdout::write_via_stream(reader);
    let _left = writer.write_all(text.into_bytes()).await;
    drop(writer);
    // A caller who has gone reads nothing more.
    let _ = written.await;
}
