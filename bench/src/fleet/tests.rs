//! What keeps hollow nodes honest: one of them beside a coordinator in this process.

use std::{path::Path, time::Duration};

use dunlin_coordinator::{Coordinator, CoordinatorArgs};
use dunlin_link::rpc::Method;

use super::{START_MAX, change, client::Client, hollow::Fleet, host::Told};
use crate::access::Access;

#[tokio::test(flavor = "multi_thread")]
async fn a_hollow_node_runs_its_pod_and_is_sent_nothing_again_after_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = start(folder.path(), "127.0.0.1:0").await;
    let address = coordinator.address();
    let client = client_of(&coordinator).await;
    let token = coordinator.join_token("test").await.unwrap();
    let mut fleet = Fleet::new(address, token, folder.path().join("nodes"));
    fleet.grow(1).await.unwrap();

    let content = |text| change::config_map(text);
    client.request(Method::Post, change::CONFIG_MAPS, Some(&content("one"))).await.unwrap();
    change::create(client.clone(), 0).await.unwrap();
    let runs = |told: Told| told.pods == 1 && told.running == 1 && told.unacked == 0;
    fleet.wait_told("the pod is Running and recorded", runs).await.unwrap();
    let pod = client.request(Method::Get, "/api/v1/namespaces/default/pods/pod-0", None).await.unwrap();
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["spec"]["nodeName"], "hollow-00000");

    let assigned = fleet.told();
    fleet.restart_agents().await.unwrap();
    fleet.wait_open(0).await.unwrap();
    fleet.wait_told("the pod still runs", runs).await.unwrap();
    settle().await;
    assert_eq!(fleet.told(), assigned, "after the agent's restart");

    fleet.end_containers();
    let is_recorded = |told: Told| told.unacked == 0;
    fleet.wait_told("what follows from the end is recorded", is_recorded).await.unwrap();
    let term = fleet.term();
    coordinator.shutdown().await;
    let coordinator = start(folder.path(), &address.to_string()).await;
    fleet.wait_open(term).await.unwrap();
    settle().await;
    let told = fleet.told();
    assert_eq!(
        (told.changes, told.snapshots),
        (assigned.changes, assigned.snapshots),
        "after the coordinator's"
    );

    let client = client_of(&coordinator).await;
    let path = format!("{}/shared", change::CONFIG_MAPS);
    client.request(Method::Patch, &path, Some(&content("two"))).await.unwrap();
    fleet.wait_told("new content is there", |told| told.changes > assigned.changes).await.unwrap();
    assert_eq!(fleet.told().snapshots, assigned.snapshots);
    fleet.stop().await;
    coordinator.shutdown().await;
}

async fn start(folder: &Path, listen: &str) -> Coordinator {
    let args = CoordinatorArgs { listen: Some(listen.to_owned()), ..CoordinatorArgs::default() };
    Coordinator::start(args.validate(folder.join("coordinator")).unwrap()).await.unwrap()
}

async fn client_of(coordinator: &Coordinator) -> Client {
    let access = coordinator.admin_access().unwrap();
    let access = Access {
        server: access.address,
        authority_pem: access.ca_pem.into_bytes(),
        certificate_pem: access.credentials.certificate_pem.into_bytes(),
        key_pem: access.credentials.key_pem.into_bytes(),
    };
    Client::connect(&access, START_MAX).await.unwrap()
}

/// What is sent to a node that came back is sent as soon as its session opens.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}
