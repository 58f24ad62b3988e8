//! Peers that mean harm, against the built coordinator: it stays small and says what it refused, and a node beside them keeps its
//! session and tells of a new pod in time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dunlin_edge_node::session::Transport;
use dunlin_link::{
    BootId, Digest, NodeName, Revision, UnixMillis, frame,
    join::{SERVER_NAME, SESSION_ALPN},
    message::{Attempt, Hello, PROTOCOL_VERSIONS, Welcome},
    rpc,
    stream::{ArtifactAnswer, ArtifactOpen},
};
use quinn::{Connecting, Endpoint, RecvStream, TransportConfig, VarInt, crypto::rustls::QuicClientConfig};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    task::JoinHandle,
};

use super::{
    client::{Client, read_head},
    node::{Node, facts, try_join},
};
use crate::{cluster::wait_until, site::Site};

/// A coordinator in a process of its own, and a node that behaves.
struct Field {
    site: Site,
    node: Node,
    memory: u64,
}

impl Field {
    async fn start() -> Self {
        let site = Site::start_with_grace(40);
        let node = Node::join(site.token(&[]).parse().unwrap(), "healthy").await;
        let field = Self { memory: 0, site, node };
        field.runs_a_pod("first");
        // The first session makes way for one that is kept open as often as the coordinator wants.
        let mut epoch = None;
        while epoch.is_none() || epoch != field.node.handle.epoch() {
            epoch = field.node.handle.epoch();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Self { memory: field.site.memory(), ..field }
    }

    /// Gives the healthy node a pod and waits until all know that it runs.
    fn runs_a_pod(&self, name: &str) -> Duration {
        let started = Instant::now();
        let manifest = pod(name, "healthy", "hello", "");
        self.site.ok(&["apply", "-f", "-"], &manifest);
        let phase = ["get", "pod", name, "-o", "jsonpath={.status.phase}"];
        self.site.wait_for(&phase, |said| said == "Running");
        started.elapsed()
    }

    /// Whether all is well beside the hostile ones, and nothing has grown.
    #[expect(clippy::print_stdout, reason = "figures for whoever runs this by hand")]
    fn is_unharmed(&self, what: &str) {
        let epoch = self.node.handle.epoch();
        let took = self.runs_a_pod(what);
        let memory = self.site.memory();
        println!("{what}: a pod ran after {took:?}; memory {} -> {memory} bytes", self.memory);
        assert!(took < STATUS_TIME_MAX, "{took:?}");
        assert!(epoch.is_some() && self.node.handle.epoch() == epoch, "the healthy node lost its session");
        assert!(memory < self.memory + GROWTH_MAX, "{} -> {memory} bytes", self.memory);
    }

    fn address(&self) -> SocketAddr {
        self.site.address().parse().unwrap()
    }

    fn logs(&self, what: &str) {
        wait_until(&format!("line {what:?} of the coordinator"), || {
            let log = self.site.log();
            let is_there = log.lines().any(|line| line.contains("WARN") && line.contains(what));
            if is_there { Ok(()) } else { Err(log) }
        });
    }
}

fn pod(name: &str, node: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  nodeName: {node}\n  \
         containers:\n  - {{name: c, image: dunlin.local/{image}{more}}}\n"
    )
}

/// QUIC handshakes that begin, and of which nothing more comes.
struct Flood {
    _endpoint: Endpoint,
    half_open: Vec<Connecting>,
    relay: JoinHandle<()>,
}

impl Flood {
    /// Sends `INITIALS` first packets from an address that seems to be made up, and `HALF_OPEN` from one that answers a Retry.
    async fn start(coordinator: SocketAddr) -> Self {
        let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        endpoint.set_default_client_config(nobody());
        let client = endpoint.local_addr().unwrap();
        let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let back = UdpSocket::bind(ELSEWHERE).await.unwrap();
        let entrance = front.local_addr().unwrap();
        let answers = Arc::new(AtomicBool::new(false));
        let relay = tokio::spawn(relay(front, back, (client, coordinator), Arc::clone(&answers)));
        let mut half_open = Vec::new();
        for number in 0..INITIALS + HALF_OPEN {
            answers.store(number >= INITIALS, Ordering::Relaxed);
            half_open.push(endpoint.connect(entrance, SERVER_NAME).unwrap());
            if number % 20 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        Self { _endpoint: endpoint, half_open, relay }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

/// Lets the first packets of connections through, and Retry back if `answers`; every other packet is lost.
async fn relay(
    front: UdpSocket,
    back: UdpSocket,
    (client, coordinator): (SocketAddr, SocketAddr),
    answers: Arc<AtomicBool>,
) {
    let (mut up, mut down) = ([0; 2048], [0; 2048]);
    loop {
        tokio::select! {
            Ok((length, _)) = front.recv_from(&mut up) => {
                if up[0] & LONG_TYPE == INITIAL {
                    // A full buffer loses it, as a line may.
                    let _ = back.send_to(&up[..length], coordinator).await;
                }
            }
            Ok((length, _)) = back.recv_from(&mut down) => {
                if down[0] & LONG_TYPE == RETRY && answers.load(Ordering::Relaxed) {
                    let _ = front.send_to(&down[..length], client).await;
                }
            }
        }
    }
}

/// A client without a certificate, who trusts nobody.
fn nobody() -> quinn::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    tls.alpn_protocols = vec![SESSION_ALPN.to_vec()];
    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_handshakes_is_bounded_logged_and_harms_no_node() {
    let field = Field::start().await;
    let flood = Flood::start(field.address()).await;
    field.logs("too many handshakes are under way");
    field.is_unharmed("udp-flood");
    // Others than the flood's address still come in.
    let newcomer = Node::join(field.site.token(&[]).parse().unwrap(), "newcomer").await;
    field.site.wait_for(&["get", "nodes", "-o", "name"], |said| said.contains("node/newcomer"));
    newcomer.stop().await;
    assert_eq!(flood.half_open.len(), 2_000);
    drop(flood);

    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(connect_from(ELSEWHERE, field.address()).await);
    }
    field.logs("too many TCP connections are open");
    let token = field.site.token(&[]).parse().unwrap();
    let tunnelled = Node::join_by(token, "tunnelled", Transport::Tcp).await;
    field.site.wait_for(&["get", "nodes", "-o", "name"], |said| said.contains("node/tunnelled"));
    field.is_unharmed("tcp-flood");
    tunnelled.stop().await;
    drop(silent);

    let lines = field.site.log().lines().filter(|line| line.contains("refused a connection")).count();
    println!("{lines} lines for 2,300 strangers");
    assert!(lines < 500, "{lines} lines");
    field.node.stop().await;
}

async fn connect_from(near: &str, far: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(near.parse().unwrap()).unwrap();
    socket.connect(far).await.unwrap()
}

/// What a client grants that reads nothing.
fn narrow() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(16 << 10))
        .receive_window(VarInt::from_u32(512 << 10))
        .keep_alive_interval(Some(Duration::from_secs(1)));
    transport
}

/// A pod of node `slow` with more content than its connection takes, and its module.
fn give_much(field: &Field) -> Digest {
    let mut module = b"\0asm\x01\0\0\0\0\x82\x80\x80\x08\x01x".to_vec();
    module.resize(module.len() + (16 << 20), 5);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &module).unwrap();
    field.site.ok(&["push", file.path().to_str().unwrap(), "large"], "");
    let text = "x".repeat(900 << 10);
    let content =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: much}}\ndata: {{k: {text}}}\n---\n");
    let taken = ", envFrom: [{configMapRef: {name: much}}]";
    field.site.ok(&["create", "-f", "-"], &format!("{content}{}", pod("greedy", "slow", "large", taken)));
    Digest::of(&module)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_little_and_gets_nothing_of_others() {
    let field = Field::start().await;
    let folder = tempfile::tempdir().unwrap();
    try_join(field.site.token(&[]).parse().unwrap(), "slow", folder.path().into()).await.unwrap();
    let link = Client::connect_to(field.address(), folder.path(), SESSION_ALPN, narrow()).await;
    let (mut send, mut control) = link.connection().open_bi().await.unwrap();
    send.write_all(&frame::encode(&hello())).await.unwrap();
    let _: Welcome = read_head(&mut control).await.unwrap();
    let digest = give_much(&field);

    let foreign = Digest::of(b"a module of another node's pod");
    let mut refused = open_artifact(&link, foreign).await;
    let answer: ArtifactAnswer = read_head(&mut refused).await.unwrap();
    assert_eq!(answer, ArtifactAnswer::Refused(format!("no pod of this node runs {foreign}")));
    field.logs("no pod of this node runs");

    // Its control stream and seven modules stay unread from here on; the API's answers too.
    let mut modules = Vec::new();
    for _ in 0..7 {
        modules.push(open_artifact(&link, digest).await);
    }
    let _: ArtifactAnswer = read_head(&mut modules[0]).await.unwrap();
    let api = Client::connect_to(field.address(), folder.path(), rpc::ALPN, narrow()).await;
    check_isolation(&api).await;
    let watched = [("watch", "1"), ("fieldSelector", "spec.nodeName=slow")];
    let mut unread = vec![api.ask("/api/v1/pods", &watched).await.unwrap()];
    for _ in 0..15 {
        unread.push(api.ask("/api/v1/namespaces/default/configmaps/much", &[]).await.unwrap());
    }
    for number in 0..5 {
        let note = format!("note={number}{}", "x".repeat(100 << 10));
        field.site.ok(&["annotate", "pod", "greedy", "--overwrite", &note], "");
    }
    field.is_unharmed("slow-reader");
    assert!(link.connection().close_reason().is_none(), "the slow node is still there");
    field.node.stop().await;
}

/// What the node of `slow` asks the API for that is not its own.
async fn check_isolation(api: &Client) {
    for (path, status) in [
        ("/api/v1/namespaces/default/pods/greedy", 200),
        ("/api/v1/namespaces/default/pods/first", 403),
        ("/api/v1/namespaces/default/secrets/any", 403),
        ("/api/v1/namespaces/default/secrets", 403),
        ("/api/v1/pods", 403),
        ("/api/v1/nodes/healthy", 403),
        ("/dunlin/v1/tokens", 403),
    ] {
        assert_eq!(api.get(path).await, Some(status), "{path}");
    }
}

async fn open_artifact(link: &Client, digest: Digest) -> RecvStream {
    let (mut send, receive) = link.connection().open_bi().await.unwrap();
    send.write_all(&frame::encode(&ArtifactOpen { digest, offset: 0 })).await.unwrap();
    send.finish().unwrap();
    receive
}

fn hello() -> Hello {
    Hello {
        node: NodeName::new("slow"),
        boot_id: BootId([1; 16]),
        attempt: Attempt { agent: 1, counter: 1 },
        protocol: PROTOCOL_VERSIONS,
        restore_generation: 0,
        last_applied_revision: Revision(0),
        state_digest: Digest::from_bytes([0; 32]),
        sent_at: UnixMillis(0),
        facts: facts(),
        extensions: Vec::new(),
    }
}

/// Within this a pod of the healthy node runs and is known to run, on a machine that is busy with other tests.
const STATUS_TIME_MAX: Duration = Duration::from_secs(20);

/// What the coordinator may take more for all that the hostile ones do.
const GROWTH_MAX: u64 = 96 << 20;

/// First packets whose sender does not answer.
const INITIALS: usize = 1_500;

/// First packets whose sender answers a Retry, and then nothing.
const HALF_OPEN: usize = 500;

/// The flood's address, which is not that of everyone else.
const ELSEWHERE: &str = "127.0.0.2:0";

/// The bits of a QUIC packet's first byte that are not protected: a long header, and its type.
const LONG_TYPE: u8 = 0xf0;

const INITIAL: u8 = 0xc0;

const RETRY: u8 = 0xf0;
