//! Agents' side of pods' sandboxes against a shim of which nothing is real but its socket.

use std::future;

use dunlin_edge_node_core::{
    address::BlockRange,
    sandbox::{Event, PROTOCOL},
};
use dunlin_link::{ContainerId, codec};
use dunlin_oci_shim::SOCKET;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use super::*;
use crate::sandbox::door::Door;

async fn hear(shim: &mut UnixStream) -> Option<Request> {
    let length = shim.read_u32_le().await.ok()?;
    let mut frame = vec![0; usize::try_from(length).unwrap()];
    shim.read_exact(&mut frame).await.unwrap();
    Some(codec::decode(&frame).unwrap())
}

async fn tell(shim: &mut UnixStream, event: &Event) {
    let frame = codec::encode(event);
    shim.write_u32_le(u32::try_from(frame.len()).unwrap()).await.unwrap();
    shim.write_all(&frame).await.unwrap();
}

/// Answers an agent's greeting: the pod is open, and there is nothing in it.
async fn greeted(listener: &UnixListener) -> UnixStream {
    let (mut shim, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    assert_eq!(hear(&mut shim).await, Some(Request::Hello { protocol: PROTOCOL }));
    let (runtime, target) = ("crun://1".to_owned(), String::new());
    tell(&mut shim, &Event::Welcome { protocol: PROTOCOL, pid: 1, runtime, target }).await;
    tell(&mut shim, &Event::PodOpened { netns: None }).await;
    tell(&mut shim, &Event::Synced).await;
    shim
}

#[tokio::test]
async fn an_account_makes_up_for_requests_that_found_no_room() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("p")).unwrap();
    let listener = UnixListener::bind(folder.path().join("p").join(SOCKET)).unwrap();
    let kit = ContainerKit {
        folder: folder.path().to_owned(),
        shim: Program::of_this_process(),
        runner_args: Vec::new(),
        log: folder.path().join("log"),
        runtime: PathBuf::from("/none"),
        runtime_version: "crun://1".to_owned(),
        log_bounds: LogBounds::DEFAULT,
        network: PodNetwork::bridge(BlockRange::new(0, 1).unwrap(), None).unwrap(),
        outlives_agent: true,
    };
    let doors = Doors::new(Door::Process(folder.path().join("runner.sock")));
    let (told, mut news) = mpsc::channel(16);
    let mut pods = PodSandboxes::open(Ok(kit), doors, told);
    let (kit, pod) = (pods.kit.clone().unwrap(), PodUid::new("p"));
    pods.begin(&kit, pod.clone(), Beginning::Inherited(None, future::ready(()).boxed().shared()));
    let mut shim = greeted(&listener).await;
    let mut heard = async || timeout(PATIENCE, news.recv()).await.unwrap().unwrap().told;
    assert!(matches!((heard().await, heard().await), (Told::Opened { .. }, Told::Synced { .. })));
    // None of them is taken before all have been asked.
    for number in 0..=ASKS_MAX {
        pods.ask(&pod, Request::Remove { id: ContainerId::new(format!("c{number}")) });
    }
    while hear(&mut shim).await.is_some() {}
    assert!(matches!(heard().await, Told::Unsure));
    let mut shim = greeted(&listener).await;
    assert!(matches!((heard().await, heard().await), (Told::Opened { .. }, Told::Synced { .. })));
    // From here on it is as before.
    let request = Request::Stop { id: ContainerId::new("c"), grace_ms: 1 };
    pods.ask(&pod, request.clone());
    assert_eq!(timeout(PATIENCE, hear(&mut shim)).await.unwrap(), Some(request));
}

const PATIENCE: Duration = Duration::from_secs(20);
