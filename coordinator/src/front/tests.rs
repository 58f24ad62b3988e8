//! One request per stream, over pipes.

use dunlin_link::{
    limits::CONTROL_FRAME_BYTES_MAX,
    rpc::{Method, ResponseHead},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
};

use super::*;
use crate::{
    service::Clock,
    store::{Store, StoreOptions},
};

/// A client's ends of a stream whose request is being served.
struct Exchange {
    request: DuplexStream,
    answer: DuplexStream,
    served: JoinHandle<Result<Served, ServeError>>,
}

async fn start() -> (ApiService, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(folder.path());
    options.log_bytes = 1 << 20;
    let service = ApiService::new(Store::open(&options).unwrap(), Clock::system());
    service.bootstrap().await.unwrap();
    (service, folder)
}

fn head(method: Method, path: &str, query: &[(&str, &str)]) -> Vec<u8> {
    let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let empty = String::new;
    let (content_type, accept, user_agent) = (empty(), empty(), empty());
    frame::encode(&RequestHead { method, path: path.to_owned(), query, content_type, accept, user_agent })
}

fn open(service: &ApiService) -> Exchange {
    let (request, receive) = duplex(PIPE_BYTES);
    let (send, answer) = duplex(PIPE_BYTES);
    let service = service.clone();
    let served = tokio::spawn(async move {
        let user = User::new("admin", ["system:masters".to_owned()]);
        serve(&service, &user, receive, send).await
    });
    Exchange { request, answer, served }
}

impl Exchange {
    async fn head(&mut self) -> ResponseHead {
        let mut header = [0; HEADER_BYTES];
        self.answer.read_exact(&mut header).await.unwrap();
        let header = Header::decode(header, CONTROL_FRAME_BYTES_MAX).unwrap();
        let mut body = vec![0; header.body_bytes];
        self.answer.read_exact(&mut body).await.unwrap();
        Frame { kind: header.kind, body }.decode().unwrap()
    }

    async fn json(&mut self) -> Value {
        let mut body = Vec::new();
        self.answer.read_to_end(&mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PIPE_BYTES: usize = 1 << 16;

#[tokio::test]
async fn a_request_is_answered_and_the_stream_ends() {
    let (service, _folder) = start().await;
    let mut exchange = open(&service);
    exchange.request.write_all(&head(Method::Post, CONFIG_MAPS, &[])).await.unwrap();
    exchange.request.write_all(json!({"metadata": {"name": "a"}}).to_string().as_bytes()).await.unwrap();
    exchange.request.shutdown().await.unwrap();
    assert_eq!(exchange.head().await.status, 201);
    assert_eq!(exchange.json().await["metadata"]["name"], "a");
    exchange.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn events_arrive_while_the_stream_is_open() {
    let (service, _folder) = start().await;
    let mut watch = open(&service);
    watch.request.write_all(&head(Method::Get, CONFIG_MAPS, &[("watch", "1")])).await.unwrap();
    watch.request.shutdown().await.unwrap();
    assert_eq!(watch.head().await.status, 200);
    let mut create = open(&service);
    create.request.write_all(&head(Method::Post, CONFIG_MAPS, &[])).await.unwrap();
    create.request.write_all(br#"{"metadata":{"name":"b"}}"#).await.unwrap();
    create.request.shutdown().await.unwrap();
    assert_eq!(create.head().await.status, 201);
    let mut start = [0; 15];
    watch.answer.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"{\"type\":\"ADDED\"");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_broken_off() {
    let (service, _folder) = start().await;
    let mut create = open(&service);
    create.request.write_all(&head(Method::Post, CONFIG_MAPS, &[])).await.unwrap();
    let object = json!({"metadata": {"name": "c"}, "data": {"k": "x".repeat(5 * PIPE_BYTES)}}).to_string();
    create.request.write_all(object.as_bytes()).await.unwrap();
    create.request.shutdown().await.unwrap();
    assert_eq!(create.head().await.status, 201);
    let mut get = open(&service);
    get.request.write_all(&head(Method::Get, &format!("{CONFIG_MAPS}/c"), &[])).await.unwrap();
    get.request.shutdown().await.unwrap();
    assert_eq!(get.head().await.status, 200);
    // Nothing else is left to do: the clock goes to the next timer.
    tokio::time::pause();
    assert!(matches!(get.served.await.unwrap(), Err(ServeError::Stalled)));
}

#[tokio::test]
async fn heads_that_are_none_are_refused() {
    let (service, _folder) = start().await;
    let too_long = {
        let mut header = u32::MAX.to_le_bytes().to_vec();
        header.extend_from_slice(&[1, 4]);
        header
    };
    let other_kind =
        frame::encode(&ResponseHead { status: 200, content_type: String::new(), warnings: Vec::new() });
    for request in [too_long, other_kind] {
        let mut exchange = open(&service);
        exchange.request.write_all(&request).await.unwrap();
        assert_eq!(exchange.head().await.status, 400);
        assert!(exchange.json().await["message"].as_str().unwrap().starts_with("malformed request head: "));
    }
    let cut_off = open(&service);
    drop(cut_off.request);
    assert!(cut_off.served.await.unwrap().is_err());
}

#[tokio::test]
async fn a_request_can_be_made_as_somebody_else() {
    let (service, _folder) = start().await;
    let mut exchange = open(&service);
    let groups = vec!["developers".to_owned()];
    let other = Impersonation { user: "joe".to_owned(), groups, uid: String::new(), extra: Vec::new() };
    exchange.request.write_all(&frame::encode(&other)).await.unwrap();
    exchange.request.write_all(&head(Method::Get, CONFIG_MAPS, &[])).await.unwrap();
    exchange.request.shutdown().await.unwrap();
    assert_eq!(exchange.head().await.status, 403);
    let message = exchange.json().await["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("configmaps is forbidden: User \"joe\" cannot list"), "{message}");
}
