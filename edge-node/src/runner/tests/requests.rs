//! Requests to handlers: where they are served, and what an agent hears when they fail.

use dunlin_edge_node_core::sandbox::Listen;
use dunlin_link::{guest::GuestEntry, pod::Protocol};

use super::*;
use crate::runner::tests::keyvalue::workload;

async fn status(port: u16, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_request_that_fails_is_told_and_the_others_go_on() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    assert_eq!(agent.told().await, []);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = |container_port, protocol, port| Listen {
        container_port,
        protocol,
        address: (std::net::Ipv4Addr::LOCALHOST, port).into(),
    };
    let mut spec = runner.spec_of("web", &workload("service"));
    spec.memory_limit = Some(Bytes(64 << 20));
    spec.listen = vec![listen(53, Protocol::Udp, 1), listen(80, Protocol::Tcp, port)];
    spec.settings = GuestSettings { entry: Some(GuestEntry::Http), ..GuestSettings::default() };
    agent.start(spec.clone()).await;
    agent.running("web").await;
    assert_eq!(status(port, "/").await, "200");
    assert_eq!(status(port, "/trap").await, "500");
    let told = async {
        loop {
            if let Event::RequestsFailed { id, owner, count, message } = agent.event().await {
                return (id, owner, count, message);
            }
        }
    };
    let (id, owner, count, message) = timeout(PATIENCE, told).await.expect("it is told");
    assert_eq!((id, owner, count), (spec.id, spec.owner, 1));
    assert!(message.contains("unreachable"), "{message}");
    assert_eq!(status(port, "/").await, "200");
}

#[tokio::test]
async fn what_a_guest_is_refused_is_told_and_in_its_end() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    assert_eq!(agent.told().await, []);
    let mut spec = runner.spec_of("server", &workload("interfaces"));
    spec.args = ["interfaces", "serve", "9001"].map(str::to_owned).to_vec();
    spec.memory_limit = Some(Bytes(64 << 20));
    agent.start(spec.clone()).await;
    let told = async {
        loop {
            if let Event::Denied { id, owner, message } = agent.event().await {
                return (id, owner, message);
            }
        }
    };
    let told = timeout(PATIENCE, told).await.expect("it is told");
    let what = "bind to TCP port 9001: not declared in ports";
    assert_eq!(told, (spec.id, spec.owner, what.to_owned()));
    let exit = agent.exit("server").await;
    assert_eq!(exit.cause, ExitCause::Code(1));
    assert!(exit.message.contains(&format!("it was denied: {what}")), "{}", exit.message);
}

#[tokio::test]
async fn a_function_can_be_a_container_s_command() {
    let runner = Runner::start().await;
    let mut agent = runner.greeted().await;
    let mut spec = runner.spec("seven", r#"(module (func (export "seven") (result i32) (i32.const 7)))"#);
    spec.args = vec!["#seven".to_owned()];
    agent.start(spec).await;
    assert_eq!(agent.exit("seven").await.cause, ExitCause::Code(7));
}
