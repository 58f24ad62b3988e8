//! HTTP handlers: answers, traps, time, and draining.

use super::*;

/// A handler around the core function behind `wasi:http/incoming-handler`.
fn handler(body: &str) -> String {
    format!(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types
                (export "incoming-request" (type (sub resource)))
                (export "response-outparam" (type (sub resource)))))
            (alias export $types "incoming-request" (type $request))
            (alias export $types "response-outparam" (type $out))
            (core module $m (func (export "handle") (param i32 i32) {body}))
            (core instance $i (instantiate $m))
            (func $handle (param "request" (own $request)) (param "response-out" (own $out))
                (canon lift (core func $i "handle")))
            (instance $exported (export "handle" (func $handle)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $exported)))"#
    )
}

/// An address that was free a moment ago.
pub(super) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub(super) async fn serve(program: &Arc<Program>, guest: Guest) -> (Running, SocketAddr) {
    let address = free_address();
    let mut running = start(program, Guest { listen: tcp(address), ..guest });
    (&mut running.started).await.expect("the listener opens");
    (running, address)
}

/// Sends one request on a connection of its own; answers the whole response.
pub(super) async fn ask(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nx-mark: 17\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer
}

#[tokio::test]
async fn a_handler_echoes_and_says_where_it_runs() {
    let env = [("POD_NAME", "p"), ("NODE_NAME", "n")].map(|(k, v)| (k.to_owned(), v.to_owned())).to_vec();
    let output = Arc::new(Captured::default());
    let answering = Guest { env, output: Arc::clone(&output) as _, ..guest() };
    let (running, address) = serve(&workload("http-hello"), answering).await;
    let answer = ask(address, "POST", "/a?b=c", "some body").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for part in ["hello from pod p on node n", "POST /a?b=c", "x-mark: 17", "some body"] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    // A request that traps and one that never ends are those requests' own affair.
    assert!(ask(address, "GET", "/trap", "").await.starts_with("HTTP/1.1 500 "));
    let spinning = tokio::spawn(async move { ask(address, "GET", "/spin", "").await });
    let spins = async {
        while !output.text().contains("spinning") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, spins).await.expect("the request arrives");
    assert!(ask(address, "GET", "/", "").await.starts_with("HTTP/1.1 200 OK"));
    running.stop.request(Duration::from_millis(200));
    assert_eq!(running.end().await.cause, Cause::Killed);
    drop(spinning.await);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_idle_handler_stops_at_once() {
    let (running, address) = serve(&program(&handler("")), guest()).await;
    let idle = TcpStream::connect(address).await.unwrap();
    let asked = Instant::now();
    running.stop.request(Duration::from_secs(60));
    assert_eq!(running.end().await.cause, Cause::Stopped);
    assert!(asked.elapsed() < Duration::from_secs(5));
    drop(idle);
}

#[tokio::test]
async fn who_came_before_the_end_is_still_answered() {
    let (running, address) = serve(&workload("http-hello"), guest()).await;
    let mut early = TcpStream::connect(address).await.unwrap();
    running.stop.request(Duration::from_secs(60));
    let late = tokio::spawn(async move { ask(address, "GET", "/late", "").await });
    early.write_all(b"GET /early HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, early.read_to_string(&mut answer)).await.expect("an answer, and the end").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(late.await.unwrap().starts_with("HTTP/1.1 200 OK"));
    assert_eq!(running.end().await.cause, Cause::Stopped);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn repeated_traps_end_the_container() {
    let (running, address) = serve(&program(&handler("unreachable")), guest()).await;
    for _ in 0..10 {
        assert!(ask(address, "GET", "/", "").await.starts_with("HTTP/1.1 500 "));
    }
    let ended = running.end().await;
    assert_eq!(ended.cause, Cause::Trap);
    assert!(ended.message.contains("10 requests failed"), "{}", ended.message);
}

#[tokio::test]
async fn a_handler_that_gives_no_answer_is_an_error() {
    let (running, address) = serve(&program(&handler("")), guest()).await;
    assert!(ask(address, "GET", "/", "").await.starts_with("HTTP/1.1 500 "));
    running.stop.request(Duration::ZERO);
    running.end().await;
}

#[tokio::test]
async fn a_handler_needs_a_port_that_is_free() {
    let handler = program(&handler(""));
    assert_eq!(start(&handler, guest()).end().await.cause, Cause::CannotRun);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = tcp(taken.local_addr().unwrap());
    assert_eq!(start(&handler, Guest { listen, ..guest() }).end().await.cause, Cause::HostError);
}

#[tokio::test]
async fn requests_wait_for_memory_that_others_have() {
    // Room for two instances, and then for none at all.
    let limited = |bytes| Guest { memory_bytes_max: Some(bytes), ..guest() };
    let (running, address) = serve(&workload("http-hello"), limited(3 << 20)).await;
    let asked: Vec<_> =
        (0..48).map(|_| tokio::spawn(async move { ask(address, "GET", "/", "").await })).collect();
    for answer in asked {
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    running.stop.request(Duration::ZERO);
    running.end().await;
    let (running, address) = serve(&workload("http-hello"), limited(1 << 20)).await;
    for _ in 0..10 {
        assert!(ask(address, "GET", "/", "").await.starts_with("HTTP/1.1 500 "));
    }
    assert_eq!(running.end().await.cause, Cause::OutOfMemory);
}
