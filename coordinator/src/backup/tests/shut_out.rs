//! Whom a restored cluster lets in.

use std::fs;

use dunlin_link::{
    Digest, NodeName,
    join::{JoinRequest, JoinToken},
};

use super::{Folder, NOW, open, options};
use crate::{
    backup::{Modules, Present, Restore, RestoreError, is_unfinished, restore},
    store::{OpenError, Txn, Write},
    tokens::{JoinError, NewToken, Place, Returned, Tokens, node_key},
};

/// The keys of `n1` to `n4` and four tokens, as a cluster has them when it is backed up.
async fn admit(tokens: &Tokens) -> Vec<JoinToken> {
    let mut made = Vec::new();
    for uses in [Some(9), Some(2), None, Some(1)] {
        let (description, addresses) = (String::new(), Vec::new());
        let new = NewToken { description, lifetime: None, uses, addresses, replaces: None };
        made.push(tokens.create(new, NOW).await.unwrap());
    }
    for node in ["n1", "n2", "n3", "n4"] {
        join(tokens, &made[0], node, node).await.unwrap();
    }
    made
}

async fn join(tokens: &Tokens, token: &JoinToken, node: &str, key: &str) -> Result<Place, JoinError> {
    let request = JoinRequest {
        token: token.id.clone(),
        secret: token.secret.clone(),
        node: NodeName::new(node),
        certificate_request: Vec::new(),
    };
    tokens.join(&request, Digest::of(key.as_bytes()), NOW, NOW).await
}

/// Of the nodes `n1` to `n4`, those whose key is good.
async fn members(tokens: &Tokens) -> Vec<&'static str> {
    let mut good = Vec::new();
    for node in ["n1", "n2", "n3", "n4"] {
        if tokens.check_key(&NodeName::new(node), Digest::of(node.as_bytes())).await.is_ok() {
            good.push(node);
        }
    }
    good
}

#[tokio::test]
async fn a_restore_lets_nobody_in_who_was_shut_out_after_the_backup() {
    let folder = Folder::new(3).await;
    let store = folder.open();
    let tokens = Tokens::new(store.clone(), Digest::of(b"ca"));
    let made = admit(&tokens).await;
    store.close().await;
    folder.back_up(Modules::LeftOut, None).await;
    let (file, data) = (folder.file(), folder.data());

    // One stolen, one replaced, one removed; a token deleted, one used and one used up.
    let store = folder.open();
    let tokens = Tokens::new(store.clone(), Digest::of(b"ca"));
    tokens.revoke(&NodeName::new("n1"), NOW).await.unwrap();
    let new = NewToken {
        description: String::new(),
        lifetime: None,
        uses: Some(1),
        addresses: Vec::new(),
        replaces: Some(NodeName::new("n2")),
    };
    let replacement = tokens.create(new, NOW).await.unwrap();
    join(&tokens, &replacement, "n2", "new").await.unwrap();
    let removed = vec![Write::Delete(node_key(&NodeName::new("n3")))];
    store.txn(Txn { compares: Vec::new(), writes: removed }).await.unwrap();
    tokens.delete(&made[2].id).await.unwrap();
    join(&tokens, &made[1], "n5", "n5").await.unwrap();
    join(&tokens, &made[3], "n6", "n6").await.unwrap();
    store.close().await;

    let asked = Restore { present: Present::SetAside, ..options(&file, &data) };
    let unknown = [NodeName::new("n9")];
    let refused = restore(&Restore { revoke: &unknown, ..asked }).unwrap_err();
    assert!(matches!(refused, RestoreError::Revoke(_)) && !is_unfinished(&data), "{refused}");
    let asked = Restore { present: Present::SetAside, ..options(&file, &data) };
    let restored = restore(&asked).unwrap();
    assert!(restored.unread.is_none(), "{:?}", restored.unread);
    let returned = Returned { nodes: vec![NodeName::new("n3")], tokens: Vec::new() };
    assert_eq!(restored.returned, returned);
    let store = folder.open();
    let tokens = Tokens::new(store.clone(), Digest::of(b"ca"));
    assert_eq!(members(&tokens).await, ["n3", "n4"]);
    for key in ["n1", "n2"] {
        let refused = join(&tokens, &made[0], "fresh", key).await.unwrap_err();
        assert!(matches!(refused, JoinError::Revoked(_)), "{refused}");
    }
    let left = tokens.list().await.unwrap().into_iter().map(|token| (token.id, token.uses_left));
    let mut expected = vec![(&made[0], Some(5)), (&made[1], Some(1)), (&made[3], Some(0))];
    expected.sort_by_key(|(token, _)| token.id.clone());
    let expected = expected.into_iter().map(|(token, left)| (token.id.clone(), left));
    assert!(left.eq(expected), "{:?}", tokens.list().await);
    store.close().await;
}

#[tokio::test]
async fn who_may_have_been_shut_out_is_told_and_can_be_revoked() {
    let folder = Folder::new(3).await;
    let store = folder.open();
    let tokens = Tokens::new(store.clone(), Digest::of(b"ca"));
    let made = admit(&tokens).await;
    store.close().await;
    folder.back_up(Modules::LeftOut, None).await;
    let names = |names: &[&str]| names.iter().map(|name| NodeName::new(*name)).collect::<Vec<_>>();
    let revoke = names(&["n2", "n4"]);
    let mut usable: Vec<_> = made.iter().map(|token| token.id.clone()).collect();
    usable.sort();
    let expected = Returned { nodes: names(&["n1", "n3"]), tokens: usable };

    let elsewhere = folder.root.path().join("elsewhere");
    let file = folder.file();
    let restored = restore(&Restore { revoke: &revoke, ..options(&file, &elsewhere) }).unwrap();
    assert_eq!(restored.returned, expected);
    assert!(restored.unread.is_none());
    let store = open(&elsewhere);
    let tokens = Tokens::new(store.clone(), Digest::of(b"ca"));
    assert_eq!(members(&tokens).await, ["n1", "n3"]);
    let refused = join(&tokens, &made[0], "n2", "n2").await.unwrap_err();
    assert!(matches!(refused, JoinError::Revoked(_)), "{refused}");
    store.close().await;

    // In the place of a store that cannot be read nothing else can be known, and it is as it was.
    let data = folder.data();
    fs::write(data.join("store/store.redb"), "").unwrap();
    let log = fs::read(data.join("store/store.log")).unwrap();
    let asked = Restore { present: Present::SetAside, revoke: &revoke, ..options(&file, &data) };
    let restored = restore(&asked).unwrap();
    assert_eq!(restored.returned, expected);
    assert!(matches!(restored.unread, Some(OpenError::Damaged { .. })), "{:?}", restored.unread);
    assert_eq!(fs::read(restored.set_aside.unwrap().join("store/store.log")).unwrap(), log);
}
