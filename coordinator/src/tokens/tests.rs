//! Tokens on a real store: what each lets in, and what it does not.

use std::time::Duration;

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{JoinRequest, JoinToken},
};

use super::{NewToken, Revoked, Tokens, node_key};
use crate::store::{Store, StoreOptions, Txn, Write};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

const END: UnixMillis = UnixMillis(1_900_000_000_000);

struct Cluster {
    _folder: tempfile::TempDir,
    store: Store,
    tokens: Tokens,
}

impl Cluster {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap();
        let tokens = Tokens::new(store.clone(), Digest::of(b"ca"));
        Self { _folder: folder, store, tokens }
    }

    async fn token(&self, uses: Option<u32>) -> JoinToken {
        let new = NewToken {
            description: "test".into(),
            lifetime: Some(Duration::from_secs(60)),
            uses,
            addresses: Vec::new(),
            replaces: None,
        };
        self.tokens.create(new, NOW).await.unwrap()
    }

    /// Lets `node` join with the key made of `key`; answers the refusal, or nothing.
    async fn join(&self, token: &JoinToken, node: &str, key: &str, after: Duration) -> String {
        let request = JoinRequest {
            token: token.id.clone(),
            secret: token.secret.clone(),
            node: NodeName::new(node),
            certificate_request: Vec::new(),
        };
        let now = super::after(NOW, after);
        let joined = self.tokens.join(&request, Digest::of(key.as_bytes()), END, now).await;
        joined.err().map_or_else(String::new, |error| error.to_string())
    }
}

#[tokio::test]
async fn a_token_lets_in_as_many_as_it_says_until_it_ends() {
    let cluster = Cluster::new();
    let token = cluster.token(Some(2)).await;
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "");
    let late = cluster.join(&token, "n2", "k2", Duration::from_secs(60)).await;
    assert_eq!(late, format!("the join token {} has expired", token.id));
    assert_eq!(cluster.join(&token, "n2", "k2", Duration::from_secs(59)).await, "");
    let third = cluster.join(&token, "n3", "k3", Duration::ZERO).await;
    assert_eq!(third, format!("the join token {} has been used up", token.id));
}

/// What the machine that asks is told before its key is looked at, or nothing.
async fn checked(cluster: &Cluster, token: &JoinToken, node: &str) -> String {
    let request = JoinRequest {
        token: token.id.clone(),
        secret: token.secret.clone(),
        node: NodeName::new(node),
        certificate_request: Vec::new(),
    };
    let checked = cluster.tokens.check(&request, NOW).await;
    checked.err().map_or_else(String::new, |error| error.to_string())
}

#[tokio::test]
async fn a_machine_whose_answer_was_lost_asks_again_with_its_token() {
    let cluster = Cluster::new();
    let once = cluster.token(Some(1)).await;
    let used_up = format!("the join token {} has been used up", once.id);
    for _ in 0..3 {
        assert_eq!(checked(&cluster, &once, "n1").await, "");
        assert_eq!(cluster.join(&once, "n1", "k1", Duration::ZERO).await, "");
    }
    assert_eq!(cluster.join(&once, "n1", "k2", Duration::ZERO).await, used_up, "another machine");
    assert_eq!(checked(&cluster, &once, "n2").await, used_up);
    assert_eq!(cluster.join(&once, "n2", "k1", Duration::ZERO).await, used_up, "another name");
    let uses = cluster.token(Some(5)).await;
    for _ in 0..3 {
        assert_eq!(cluster.join(&uses, "n3", "k3", Duration::ZERO).await, "");
    }
    let left = cluster.tokens.list().await.unwrap().into_iter().find(|token| token.id == uses.id).unwrap();
    assert_eq!(left.uses_left, Some(4));
    // With another token it is a use of that one.
    assert_eq!(cluster.join(&uses, "n1", "k1", Duration::ZERO).await, "");
    assert_eq!(cluster.join(&once, "n1", "k1", Duration::ZERO).await, used_up);

    let replacement = cluster.replacement("n3").await;
    assert_eq!(cluster.join(&replacement, "n3", "k4", Duration::ZERO).await, "");
    assert_eq!(cluster.join(&replacement, "n3", "k4", Duration::ZERO).await, "", "its answer was lost");
    // Neither revoking nor removing it is undone by a token that it has used.
    cluster.tokens.revoke(&NodeName::new("n3"), NOW).await.unwrap();
    let used_up = format!("the join token {} has been used up", replacement.id);
    assert_eq!(checked(&cluster, &replacement, "n3").await, used_up);
    assert_eq!(cluster.join(&replacement, "n3", "k4", Duration::ZERO).await, used_up);
    let removed = Write::Delete(node_key(&NodeName::new("n3")));
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![removed] }).await.unwrap();
    assert_eq!(cluster.join(&replacement, "n3", "k4", Duration::ZERO).await, used_up);
}

#[tokio::test]
async fn uses_are_counted_once_each_however_many_ask_at_once() {
    let cluster = Cluster::new();
    let token = cluster.token(Some(5)).await;
    let names: Vec<String> = (0..12).map(|number| format!("n{number}")).collect();
    let joins = names.iter().map(|name| cluster.join(&token, name, name, Duration::ZERO));
    let answers = futures_util::future::join_all(joins).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_empty()).count(), 5);
}

#[tokio::test]
async fn unknown_tokens_and_wrong_secrets_are_told_apart_by_nobody() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    let other = JoinToken::generate(Digest::of(b"ca"), Vec::new(), &mut rand::rng());
    let forged = JoinToken { secret: other.secret.clone(), ..token.clone() };
    let unknown = "the join token is not known to this cluster";
    assert_eq!(cluster.join(&other, "n1", "k", Duration::ZERO).await, unknown);
    assert_eq!(cluster.join(&forged, "n1", "k", Duration::ZERO).await, unknown);
    assert!(cluster.tokens.delete(&token.id).await.unwrap());
    assert!(!cluster.tokens.delete(&token.id).await.unwrap());
    assert_eq!(cluster.join(&token, "n1", "k", Duration::ZERO).await, unknown);
}

#[tokio::test]
async fn a_name_stays_with_its_key_while_its_node_object_is_there() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    let node = NodeName::new("n1");
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "");
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "", "the same machine again");
    let object = Write::Put("/registry/nodes/n1".into(), "{}".into());
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![object] }).await.unwrap();
    let taken = "another machine has joined as node `n1`; choose another name, or let this one take its place with a token of `dunlin node replace n1`";
    assert_eq!(cluster.join(&token, "n1", "k2", Duration::ZERO).await, taken);
    let check = |key: &'static str| {
        let (tokens, node) = (cluster.tokens.clone(), node.clone());
        async move { tokens.check_key(&node, Digest::of(key.as_bytes())).await.map_err(|error| error.to_string()) }
    };
    assert_eq!(check("k1").await, Ok(()));
    let other = "the key of this certificate is not the one that node `n1` joined with";
    assert_eq!(check("k2").await, Err(other.into()));
    let removed = Write::Delete("/registry/nodes/n1".into());
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![removed] }).await.unwrap();
    assert_eq!(cluster.join(&token, "n1", "k2", Duration::ZERO).await, "");
    assert_eq!(check("k2").await, Ok(()));
    let removed = Write::Delete(node_key(&node));
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![removed] }).await.unwrap();
    let unknown = "node `n1` is not a member of this cluster; it must join with a token";
    assert_eq!(check("k2").await, Err(unknown.into()));
}

#[tokio::test]
async fn names_that_no_node_can_have_are_refused() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    let refused = cluster.join(&token, "N/1", "k", Duration::ZERO).await;
    assert_eq!(refused, "the node's name is not valid: it must be a lower-case DNS subdomain");
}

#[tokio::test]
async fn tokens_are_listed_without_their_secrets() {
    let cluster = Cluster::new();
    let token = cluster.token(Some(1)).await;
    let listed = cluster.tokens.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, listed[0].uses_left), (&token.id, Some(1)));
    let text = token.reveal();
    let secret = text.split('.').nth(2).unwrap();
    assert!(!serde_json::to_string(&listed).unwrap().contains(secret));
}

impl Cluster {
    async fn replacement(&self, node: &str) -> JoinToken {
        let new = NewToken {
            description: "test".into(),
            lifetime: None,
            uses: Some(1),
            addresses: Vec::new(),
            replaces: Some(NodeName::new(node)),
        };
        self.tokens.create(new, NOW).await.unwrap()
    }

    /// Why a key is refused, or nothing.
    async fn key(&self, node: &str, key: &str) -> String {
        let checked = self.tokens.check_key(&NodeName::new(node), Digest::of(key.as_bytes())).await;
        checked.err().map_or_else(String::new, |error| error.to_string())
    }
}

const REVOKED: &str =
    "the key of node `n1` was revoked; to bring the node back, join with a token of `dunlin node replace n1`";
const REVOKED_BEFORE: &str = "the key of this machine was revoked when it was node `n1`; join with a token of `dunlin node replace n1`, or remove the machine's `identity` folder to join with a new key";

#[tokio::test]
async fn a_revoked_key_stays_out_whatever_token_it_brings() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    let node = NodeName::new("n1");
    let unknown = cluster.tokens.revoke(&node, NOW).await.unwrap_err();
    assert_eq!(unknown.to_string(), "no machine has joined as node `n1`");
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "");
    assert_eq!(cluster.tokens.revoke(&node, NOW).await.unwrap(), Revoked::Now);
    assert_eq!(cluster.tokens.revoke(&node, NOW).await.unwrap(), Revoked::Before);
    assert_eq!(cluster.key("n1", "k1").await, REVOKED);
    for name in ["n1", "n2"] {
        assert_eq!(cluster.join(&token, name, "k1", Duration::ZERO).await, REVOKED_BEFORE);
    }
    let other = cluster.replacement("n2").await;
    assert_eq!(cluster.join(&other, "n2", "k1", Duration::ZERO).await, REVOKED_BEFORE);
    // Its name is free when the node is removed; the key stays out.
    let removed = Write::Delete(node_key(&node));
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![removed] }).await.unwrap();
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, REVOKED_BEFORE);
    assert_eq!(cluster.join(&token, "n1", "k2", Duration::ZERO).await, "");
}

#[tokio::test]
async fn a_revoked_machine_comes_back_by_replacing_itself() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "");
    cluster.tokens.revoke(&NodeName::new("n1"), NOW).await.unwrap();
    let again = cluster.replacement("n1").await;
    assert_eq!(cluster.join(&again, "n1", "k1", Duration::ZERO).await, "");
    assert_eq!(cluster.key("n1", "k1").await, "");
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "", "as any member");
}

#[tokio::test]
async fn a_replacement_takes_the_name_once_and_the_old_key_is_revoked() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "");
    let object = Write::Put("/registry/nodes/n1".into(), "{}".into());
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![object] }).await.unwrap();
    let replacement = cluster.replacement("n1").await;
    let other = cluster.join(&replacement, "n2", "k2", Duration::ZERO).await;
    assert_eq!(
        other,
        format!("the join token {} is for node `n1`; join with `--node-name n1`", replacement.id)
    );
    assert_eq!(cluster.key("n1", "k1").await, "", "the old machine stays until another comes");
    let mut expelled = cluster.tokens.hear_expelled();
    assert_eq!(cluster.join(&replacement, "n1", "k2", Duration::ZERO).await, "");
    assert_eq!(expelled.try_recv().unwrap(), NodeName::new("n1"));
    assert_eq!(cluster.key("n1", "k2").await, "");
    assert_eq!(
        cluster.key("n1", "k1").await,
        "the key of this certificate is not the one that node `n1` joined with"
    );
    assert_eq!(cluster.join(&token, "n3", "k1", Duration::ZERO).await, REVOKED_BEFORE);
    let used = cluster.join(&replacement, "n1", "k3", Duration::ZERO).await;
    assert_eq!(used, format!("the join token {} has been used up", replacement.id));
}

#[tokio::test]
async fn a_renewal_is_recorded_for_the_registered_key_only() {
    let cluster = Cluster::new();
    let token = cluster.token(None).await;
    assert_eq!(cluster.join(&token, "n1", "k1", Duration::ZERO).await, "");
    let node = NodeName::new("n1");
    let later = UnixMillis(END.0 + 1);
    cluster.tokens.renewed(&node, Digest::of(b"k1"), later, NOW).await.unwrap();
    let nodes = cluster.tokens.nodes().await.unwrap();
    assert_eq!((&nodes[0].node, nodes[0].record.certificate_end), (&node, Some(later)));
    assert!(cluster.tokens.renewed(&node, Digest::of(b"k2"), later, NOW).await.is_err());
    cluster.tokens.revoke(&node, NOW).await.unwrap();
    let refused = cluster.tokens.renewed(&node, Digest::of(b"k1"), later, NOW).await.unwrap_err();
    assert_eq!(refused.to_string(), REVOKED);
}

#[tokio::test]
async fn records_of_before_are_read() {
    let cluster = Cluster::new();
    let digest = Digest::of(b"k1");
    let record = format!(r#"{{"key":"{digest}","joinedAt":1,"token":"0a1b2c3d"}}"#);
    let write = Write::Put(node_key(&NodeName::new("n1")), record.into());
    cluster.store.txn(Txn { compares: Vec::new(), writes: vec![write] }).await.unwrap();
    assert_eq!(cluster.key("n1", "k1").await, "");
}
