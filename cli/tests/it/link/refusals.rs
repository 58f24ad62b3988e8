//! Who is turned away, and what both sides say about it.

use std::time::Duration;

use dunlin_api::kind;
use dunlin_coordinator::service::{ObjectRef, User};
use dunlin_edge_node::session::Identity;
use dunlin_link::{Digest, join::JoinToken};
use serde_json::json;

use super::{
    client::Client,
    cluster::{Coordinator, logged},
    node::{Node, try_join},
};

/// Tries to join and expects the coordinator to refuse in these words, and to log them.
async fn check_refused(token: JoinToken, name: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let error = try_join(token, name, folder.path().into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("the coordinator refused: {expected}"));
    logged(&["WARN", "refused a join request", name, expected, "remote=127.0.0.1"]).await;
    assert!(Identity::load(folder.path()).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_unknown_expired_or_used_up_let_nobody_in() {
    let coordinator = Coordinator::start().await;
    let known = coordinator.token().await;
    let other = JoinToken::generate(known.ca, known.addresses.clone(), &mut rand::rng());
    check_refused(other, "unknown", "the join token is not known to this cluster").await;
    let expired = coordinator.token_with(Some(Duration::ZERO), None).await;
    let words = format!("the join token {} has expired", expired.id);
    check_refused(expired, "expired", &words).await;
    let folder = tempfile::tempdir().unwrap();
    try_join(known.clone(), "first", folder.path().into()).await.unwrap();
    let words = format!("the join token {} has been used up", known.id);
    check_refused(known, "second", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_cluster_is_not_shown_to_this_one() {
    let coordinator = Coordinator::start().await;
    let mut token = coordinator.token().await;
    token.ca = Digest::of(b"another cluster's authority");
    let folder = tempfile::tempdir().unwrap();
    let error = try_join(token.clone(), "stray", folder.path().into()).await.unwrap_err();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.contains(": the coordinator is not of the cluster that the token is for"), "{chain}");
    assert!(!chain.contains("unexpected error"), "{chain}");
    let listed = coordinator.tokens.list().await.unwrap();
    assert_eq!(listed[0].uses_left, Some(1), "its use was not spent");
    logged(&["WARN", "its handshake failed", "not of the cluster that the token is for"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_cluster_opens_no_session() {
    let home = Coordinator::start().await;
    let abroad = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let key_folder = tempfile::tempdir().unwrap();
    try_join(home.token().await, "emigrant", folder.path().into()).await.unwrap();
    try_join(abroad.token().await, "local", key_folder.path().into()).await.unwrap();
    // It knows the other cluster's coordinator and authority, but has no certificate of it.
    for name in ["ca.der", "identity.json"] {
        let file = format!("identity/{name}");
        std::fs::copy(key_folder.path().join(&file), folder.path().join(&file)).unwrap();
    }
    let identity = Identity::load(folder.path()).unwrap().unwrap();
    let node = Node::start(identity, folder);
    logged(&["WARN", "refused a connection", "its handshake failed", "UnknownIssuer", "remote=127.0.0.1"])
        .await;
    logged(&["does not accept this node's certificate, which another cluster's authority issued"]).await;
    assert_eq!(abroad.sessions.connected(), []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_certificate_opens_no_session() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    try_join(coordinator.token().await, "n1", folder.path().into()).await.unwrap();
    let record = folder.path().join("identity/identity.json");
    let text = std::fs::read_to_string(&record).unwrap().replace("\"n1\"", "\"victim\"");
    std::fs::write(&record, text).unwrap();
    let node = Node::start(Identity::load(folder.path()).unwrap().unwrap(), folder);
    let words = "the certificate belongs to node n1, but the node calls itself victim";
    logged(&["WARN", "session{node=n1}", "session ended", words]).await;
    logged(&["WARN", "session ended", "the coordinator refused", words]).await;
    assert_eq!(coordinator.sessions.connected(), []);
    node.stop().await;
}

/// Deletes a Node object, as an administrator does.
async fn remove(coordinator: &Coordinator, name: &str) {
    let kind = kind::by_kind("v1", "Node").unwrap();
    let admin = User::new("admin", ["system:masters".to_owned()]);
    let object = json!({ "metadata": { "name": name } });
    coordinator.api.create(&admin, kind, "", object).await.unwrap();
    let object = ObjectRef { kind, namespace: "", name };
    coordinator.api.delete(&admin, object, json!({})).await.unwrap();
    let node = format!("node={name:?}");
    logged(&["INFO", "a node was removed; its machine has to join again", &node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_expelled_and_its_name_is_free() {
    let coordinator = Coordinator::start().await;
    let node = Node::join(coordinator.token().await, "removed").await;
    coordinator.played.hears("connected removed", 1).await;
    remove(&coordinator, "removed").await;
    let words = "node `removed` is not a member of this cluster; it must join with a token";
    logged(&["WARN", "refused a connection", words, "remote=127.0.0.1"]).await;
    logged(&["WARN", "session ended", "the coordinator refused", words]).await;
    let replaced = Node::join(coordinator.token().await, "removed").await;
    coordinator.played.hears("connected removed", 2).await;
    let words = "the key of this certificate is not the one that node `removed` joined with";
    logged(&["WARN", "refused a connection", words]).await;
    node.stop().await;
    replaced.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_refused_by_the_api_too() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    try_join(coordinator.token().await, "leaver", folder.path().into()).await.unwrap();
    let early = Client::connect(&coordinator, folder.path()).await;
    assert!(early.get("/livez").await.is_some());
    remove(&coordinator, "leaver").await;
    let words = "node `leaver` is not a member of this cluster; it must join with a token";
    assert_eq!(early.get("/livez").await, None, "the connection from before");
    assert_eq!(early.closed().await, words);
    let late = Client::connect(&coordinator, folder.path()).await;
    assert_eq!(late.get("/livez").await, None);
    assert_eq!(late.closed().await, words);
    let other = tempfile::tempdir().unwrap();
    try_join(coordinator.token().await, "leaver", other.path().into()).await.unwrap();
    let taken = Client::connect(&coordinator, folder.path()).await;
    assert_eq!(
        taken.closed().await,
        "the key of this certificate is not the one that node `leaver` joined with"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_for_which_there_is_no_room_is_told_to_come_again() {
    let coordinator = Coordinator::start().await;
    let first = Node::join(coordinator.token().await, "first").await;
    let second = Node::join(coordinator.token().await, "second").await;
    // Each connects once more with the keep-alive that it learns.
    coordinator.played.hears("connected first", 2).await;
    coordinator.played.hears("connected second", 2).await;
    let third = Node::join(coordinator.token().await, "third").await;
    logged(&["WARN", "refused a session: there is no room for more", "node=third"]).await;
    logged(&["WARN", "session ended", "the coordinator is busy"]).await;
    for node in [first, second, third] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_none_is_refused_and_not_logged() {
    let coordinator = Coordinator::start().await;
    let folder = tempfile::tempdir().unwrap();
    let name = "N\n2026 INFO forged";
    let error = try_join(coordinator.token().await, name, folder.path().into()).await.unwrap_err();
    assert!(error.to_string().contains("the node's name is not valid"), "{error}");
    let listed = coordinator.tokens.list().await.unwrap();
    assert_eq!(listed[0].uses_left, Some(1), "its use was not spent");
}
