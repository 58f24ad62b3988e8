//! Sockets, names, outgoing requests, settings and folders, as the workload `interfaces` tries them.

use tokio::net::{TcpListener, UdpSocket};

use super::{
    handlers::{free_address, serve},
    *,
};
use crate::{EgressHosts, EgressTarget};

fn told(words: &[&str], output: &Arc<Captured>) -> Guest {
    told_as("interfaces", words, output)
}

/// A guest of that name, what it is told, and where its words go.
pub(super) fn told_as(name: &str, words: &[&str], output: &Arc<Captured>) -> Guest {
    let args = std::iter::once(&name).chain(words).map(ToString::to_string).collect();
    Guest { args, output: Arc::clone(output) as _, ..guest() }
}

/// What a run said, and whether it went well.
async fn ran(guest: Guest, output: &Captured) -> (bool, String) {
    let ended = start(&workload("interfaces"), guest).end().await;
    assert!(matches!(ended.cause, Cause::Code(_)), "{ended:?}");
    (ended.cause == Cause::Code(0), output.text())
}

async fn tried(words: &[&str], egress: Egress) -> (bool, String) {
    let output = Arc::default();
    ran(Guest { egress, ..told(words, &output) }, &output).await
}

pub(super) fn only(targets: &[(EgressHosts, Option<u16>)]) -> Egress {
    let target =
        |(hosts, port): &(EgressHosts, Option<u16>)| EgressTarget { hosts: hosts.clone(), port: *port };
    Egress::Only(targets.iter().map(target).collect())
}

pub(super) fn host(address: SocketAddr) -> EgressHosts {
    EgressHosts::Range { address: address.ip(), prefix: 32 }
}

/// Somebody who listens where a container of the same host declared a port, as pods do.
fn neighbour(address: SocketAddr) -> Container {
    let declares = Guest { listen: tcp(address), ..guest() };
    super::host().container(workload("interfaces"), declares, Stop::new()).unwrap()
}

/// A neighbour who sends one datagram back, and where.
pub(super) async fn echo(ip: &str) -> (SocketAddr, Container, JoinHandle<()>) {
    let socket = UdpSocket::bind((ip, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let echo = tokio::spawn(async move {
        let mut bytes = [0; 100];
        let (length, from) = socket.recv_from(&mut bytes).await.unwrap();
        socket.send_to(&bytes[..length], from).await.unwrap();
    });
    (address, neighbour(address), echo)
}

/// What comes back of a few bytes.
async fn echoed(transport: Transport, address: SocketAddr) -> Vec<u8> {
    let mut heard = vec![0; 100];
    let length = match transport {
        Transport::Tcp => {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"echo me").await.unwrap();
            timeout(PATIENCE, stream.read(&mut heard)).await.unwrap().unwrap()
        }
        Transport::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.send_to(b"echo me", address).await.unwrap();
            timeout(PATIENCE, socket.recv(&mut heard)).await.unwrap().unwrap()
        }
    };
    heard.truncate(length);
    heard
}

#[tokio::test]
async fn a_server_is_at_its_container_s_address() {
    for (word, transport) in [("serve", Transport::Tcp), ("serve-udp", Transport::Udp)] {
        let address: SocketAddr = format!("127.77.0.2:{}", free_address().port()).parse().unwrap();
        let output = Arc::<Captured>::default();
        // The port that a program knows is the declared one.
        let listen = vec![Listening { port: 80, transport, address, host: None }];
        let closed = Guest { listen, egress: only(&[]), ..told(&[word, "80"], &output) };
        let running = start(&workload("interfaces"), closed);
        let listening = async {
            while !output.text().contains("listening") {
                assert!(!running.ended.is_finished(), "{}", output.text());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, listening).await.expect("it listens");
        assert_eq!(echoed(transport, address).await, b"echo me");
        running.stop.request(Duration::ZERO);
        running.end().await;
    }
}

#[tokio::test]
async fn who_uses_sockets_has_all_of_its_grace() {
    let address = free_address();
    let output = Arc::<Captured>::default();
    let serving = Guest { listen: tcp(address), ..told(&["serve", &address.port().to_string()], &output) };
    let running = start(&workload("interfaces"), serving);
    let connected = async {
        loop {
            if let Ok(stream) = TcpStream::connect(address).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let mut client = timeout(PATIENCE, connected).await.expect("it listens");
    running.stop.request(Duration::from_millis(1500));
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.write_all(b"late").await.unwrap();
    let mut heard = [0; 4];
    timeout(PATIENCE, client.read_exact(&mut heard)).await.unwrap().expect("the conversation goes on");
    assert_eq!((&heard, running.end().await.cause), (b"late", Cause::Killed));
}

#[tokio::test]
async fn a_pod_of_the_same_host_is_reached_at_its_address() {
    let address: SocketAddr = format!("127.77.0.3:{}", free_address().port()).parse().unwrap();
    let listen = vec![Listening { port: 80, transport: Transport::Tcp, address, host: None }];
    let pod_ip = "10.42.7.7".parse().ok();
    let mut server = start(&workload("http-hello"), Guest { listen, pod_ip, ..guest() });
    (&mut server.started).await.unwrap();
    let connected = tried(&["connect", "10.42.7.7:80"], Egress::Open).await;
    assert_eq!(connected, (true, "connected\n".to_owned()));
    let (went_well, said) = tried(&["fetch", "http://10.42.7.7/"], Egress::Open).await;
    assert!(went_well && said.starts_with("200 hello from pod"), "{said}");
    let (went_well, said) = tried(&["connect", "10.42.7.7:80"], only(&[])).await;
    assert!(!went_well && said.contains("PermissionDenied"), "{said}");
    server.stop.request(Duration::ZERO);
    server.end().await;
}

#[tokio::test]
async fn ports_that_are_not_declared_are_closed() {
    for word in ["serve", "serve-udp"] {
        let (went_well, said) = tried(&[word, "8080"], Egress::Open).await;
        assert!(!went_well && said.contains("PermissionDenied"), "{said}");
    }
    // One for connections is none for datagrams.
    let output = Arc::default();
    let listen = tcp("127.77.0.2:8080".parse().unwrap());
    let (went_well, said) = ran(Guest { listen, ..told(&["serve-udp", "8080"], &output) }, &output).await;
    assert!(!went_well && said.contains("PermissionDenied"), "{said}");
}

#[tokio::test]
async fn connections_lead_where_the_list_says() {
    let listener = TcpListener::bind("127.77.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connect = async |egress| tried(&["connect", &address.to_string()], egress).await;
    // What listens on all addresses of the machine would answer there, too.
    assert!(!connect(Egress::Open).await.0);
    let _neighbour = neighbour(address);
    assert_eq!(connect(Egress::Open).await, (true, "connected\n".to_owned()));
    assert!(connect(only(&[(host(address), Some(address.port()))])).await.0);
    for closed in [only(&[]), only(&[(host(address), Some(1))])] {
        let (went_well, said) = connect(closed).await;
        assert!(!went_well && said.contains("PermissionDenied"), "{said}");
    }
    // The machine's own loopback is nowhere, whatever a list says.
    let own = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(!tried(&["connect", &own.to_string()], only(&[(host(own), None)])).await.0);
}

#[tokio::test]
async fn datagrams_are_answered() {
    let (address, _neighbour, echo) = echo("127.77.0.1").await;
    assert_eq!(tried(&["send", &address.to_string()], Egress::Open).await, (true, "a datagram\n".to_owned()));
    echo.await.unwrap();
    assert!(!tried(&["send", &address.to_string()], only(&[])).await.0);
}

#[tokio::test]
async fn names_are_looked_up_when_the_list_has_them() {
    let name = |name: &str| EgressHosts::Name(name.to_owned());
    let resolve = async |egress| tried(&["resolve", "localhost"], egress).await;
    for open in [Egress::Open, only(&[(name("localhost"), Some(443))])] {
        let (went_well, said) = resolve(open).await;
        assert!(went_well && said.contains("127.0.0.1"), "{said}");
    }
    for closed in [only(&[]), only(&[(name("example.com"), None)])] {
        let (went_well, said) = resolve(closed).await;
        assert!(!went_well, "{said}");
    }
}

#[tokio::test]
async fn requests_go_where_connections_may() {
    let address: SocketAddr = format!("127.77.0.3:{}", free_address().port()).parse().unwrap();
    let listen = vec![Listening { port: 80, transport: Transport::Tcp, address, host: None }];
    let mut server = start(&workload("http-hello"), Guest { listen, ..guest() });
    (&mut server.started).await.unwrap();
    let fetch = async |egress| tried(&["fetch", &format!("http://{address}/a")], egress).await;
    for open in [Egress::Open, only(&[(host(address), Some(address.port()))])] {
        let (went_well, said) = fetch(open).await;
        assert!(went_well && said.starts_with("200 hello") && said.contains("GET /a"), "{said}");
    }
    let (went_well, said) = fetch(only(&[(host(address), Some(1))])).await;
    assert!(!went_well && said.contains("HttpRequestDenied"), "{said}");
    let (running, own) = serve(&workload("http-hello"), guest()).await;
    let (went_well, said) = tried(&["fetch", &format!("http://{own}/")], Egress::Open).await;
    assert!(!went_well && said.contains("DestinationIpProhibited"), "{said}");
    running.stop.request(Duration::ZERO);
    running.end().await;
}

#[tokio::test]
async fn settings_are_the_environment() {
    let env = [("b", "2"), ("a.key", "1")].map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    let ask = async |words: &[&str]| {
        let output = Arc::default();
        ran(Guest { env: env.clone(), ..told(words, &output) }, &output).await
    };
    assert_eq!(ask(&["config", "a.key"]).await, (true, "1\n".to_owned()));
    assert_eq!(ask(&["config", "c"]).await, (true, "none\n".to_owned()));
    assert_eq!(ask(&["config"]).await, (true, "a.key=1\nb=2\n".to_owned()));
}

#[tokio::test]
async fn a_working_directory_is_where_paths_begin() {
    let output = Arc::default();
    let folder = Guest { working_dir: Some("/data".to_owned()), ..told(&["folder"], &output) };
    assert_eq!(ran(folder, &output).await, (true, "/data\n".to_owned()));
}

#[tokio::test]
async fn ports_are_reached_at_the_machine_s_address_too() {
    let place = || SocketAddr::from(([127, 77, 0, 4], free_address().port()));
    let listen =
        |transport, address, host| vec![Listening { port: 80, transport, address, host: Some(host) }];
    // An HTTP handler, which the host serves.
    let (own, host) = (place(), free_address());
    let guest_there = Guest { listen: listen(Transport::Tcp, own, host), ..guest() };
    let mut server = start(&workload("http-hello"), guest_there);
    (&mut server.started).await.unwrap();
    for address in [own, host] {
        assert!(handlers::ask(address, "GET", "/a", "").await.starts_with("HTTP/1.1 200 OK"), "{address}");
    }
    // Guests that listen by themselves.
    for (word, transport) in [("serve", Transport::Tcp), ("serve-udp", Transport::Udp)] {
        let (own, host) = (place(), free_address());
        let output = Arc::<Captured>::default();
        let listen = listen(transport, own, host);
        let running = start(&workload("interfaces"), Guest { listen, ..told(&[word, "80"], &output) });
        let listening = async {
            while !output.text().contains("listening") {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, listening).await.expect("it listens");
        assert_eq!(echoed(transport, host).await, b"echo me");
        running.stop.request(Duration::ZERO);
        running.end().await;
    }
}
