//! Keys of service accounts: made, kept, rotated.

use dunlin_coordinator_core::account::token::{Bound, Named};

use super::*;

fn claims(jti: &str) -> Claims {
    Claims {
        aud: vec!["api".to_owned()],
        exp: 10,
        iat: 0,
        iss: "issuer".to_owned(),
        jti: jti.to_owned(),
        kubernetes: Bound {
            namespace: "ns".to_owned(),
            node: None,
            pod: None,
            secret: None,
            serviceaccount: Named { name: "sa".to_owned(), uid: "u".to_owned() },
            warnafter: None,
        },
        nbf: 0,
        sub: "system:serviceaccount:ns:sa".to_owned(),
    }
}

#[test]
fn tokens_are_signed_and_checked() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = AccountKeys::open(folder.path()).unwrap();
    let token = keys.sign(&claims("a")).unwrap();
    // The second look comes from memory.
    assert_eq!(*keys.verify(&token).unwrap(), claims("a"));
    assert_eq!(*keys.verify(&token).unwrap(), claims("a"));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let forged =
        format!("{}.{signature}", claims("b").to_signed(&keys.key_set()["keys"][0]["kid"].to_string()));
    let unsigned = format!("{signed}.");
    for bad in [forged.as_str(), unsigned.as_str(), signed, "", "a.b.c"] {
        assert_eq!(keys.verify(bad), Err(TokenError::Foreign), "{bad}");
    }
    let stranger = AccountKeys::open(other.path()).unwrap();
    assert_eq!(stranger.verify(&token), Err(TokenError::Foreign));
}

#[test]
fn keys_outlive_a_restart_and_a_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let keys = AccountKeys::open(folder.path()).unwrap();
    let old = keys.sign(&claims("old")).unwrap();
    keys.rotate().unwrap();
    let new = keys.sign(&claims("new")).unwrap();
    for keys in [keys, AccountKeys::open(folder.path()).unwrap()] {
        assert!(keys.verify(&old).is_ok() && keys.verify(&new).is_ok());
        assert_eq!(keys.key_set()["keys"].as_array().unwrap().len(), 2);
    }
    let path = folder.path().join("pki/accounts.pem");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn as_many_keys_are_kept_as_the_bound_says() {
    let folder = tempfile::tempdir().unwrap();
    let keys = AccountKeys::open(folder.path()).unwrap();
    for _ in 0..KEYS_MAX + 2 {
        keys.rotate().unwrap();
    }
    assert_eq!(keys.key_set()["keys"].as_array().unwrap().len(), KEYS_MAX);
    assert!(AccountKeys::open(folder.path()).is_ok());
}

#[test]
fn a_file_without_a_key_that_signs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(AccountKeys::open(folder.path()).unwrap());
    let path = folder.path().join("pki/accounts.pem");
    fs::write(&path, "no key").unwrap();
    assert!(matches!(AccountKeys::open(folder.path()), Err(AccountKeysError::Malformed { .. })));
}
