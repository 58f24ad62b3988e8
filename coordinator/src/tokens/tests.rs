//! Tokens on a real store: what each lets in, and what it does not.

use std::time::Duration;

use dunlin_link::{
    Digest, NodeName, UnixMillis,
    join::{JoinRequest, JoinToken},
};

use super::{NewToken, Tokens, node_key};
use crate::store::{Store, StoreOptions, Txn, Write};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

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
        let joined = self.tokens.join(&request, Digest::of(key.as_bytes()), now).await;
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
    let taken = "another machine has joined as node `n1`; remove that node first, or choose another name";
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
