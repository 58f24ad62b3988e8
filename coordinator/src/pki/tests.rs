//! The authority: kept over restarts, private, and particular about what it signs.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use dunlin_link::{Digest, NodeName, UnixMillis};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

use super::{Peer, Pki, PkiError, RequestError, request_key};
use crate::{folders::tests::synced, service::User};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn the_authority_is_kept_and_private() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Pki::load(folder.path()).unwrap().is_none());
    let first = Pki::create(folder.path()).unwrap();
    let flushed = synced();
    assert!(flushed.ends_with(&[folder.path().join("pki"), folder.path().to_owned()]), "{flushed:?}");
    assert!(matches!(Pki::create(folder.path()), Err(PkiError::File { .. })));
    let second = Pki::load(folder.path()).unwrap().unwrap();
    assert_eq!((first.digest(), first.cluster_id()), (second.digest(), second.cluster_id()));
    assert_eq!(first.reset_secret(), second.reset_secret());
    let mode = fs::metadata(folder.path().join("pki/ca.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!first.certificate_pem().contains("PRIVATE"));
    let other = tempfile::tempdir().unwrap();
    assert_ne!(Pki::create(other.path()).unwrap().cluster_id(), first.cluster_id());
}

#[test]
fn a_damaged_file_is_an_error_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    Pki::create(folder.path()).unwrap();
    let path = folder.path().join("pki/ca.pem");
    fs::write(&path, "nothing").unwrap();
    let error = Pki::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("does not hold the certificate and key"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "nothing");
}

#[test]
fn a_node_certificate_names_node_and_key_and_takes_nothing_else_from_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path()).unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(["coordinator.dunlin".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, "admin");
    let request = params.serialize_request(&key).unwrap();
    let chain = pki.issue_node(&NodeName::new("n1"), request.der(), NOW, DAY).unwrap();
    let peer = Peer::from_certificate(&chain[0]).unwrap();
    assert_eq!(peer.user.name, "system:node:n1");
    assert_eq!(peer.user.groups, ["system:nodes", "system:authenticated"]);
    assert_eq!(peer.node(), Some(NodeName::new("n1")));
    let digest = Digest::of(&key.subject_public_key_info());
    assert_eq!((peer.key, request_key(request.der()).unwrap()), (digest, digest));
    assert_eq!(chain[1], *pki.certificate());
    assert_eq!(peer.validity.end, UnixMillis(NOW.0 + 86_400_000));
    let (_, parsed) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    assert!(parsed.subject_alternative_name().unwrap().is_none());
}

#[test]
fn a_request_signed_by_another_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path()).unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    *request.last_mut().unwrap() ^= 1;
    let refused = pki.issue_node(&NodeName::new("n1"), &request, NOW, DAY);
    assert!(matches!(refused, Err(RequestError::Malformed(_))), "{refused:?}");
    assert!(pki.issue_node(&NodeName::new("n1"), b"junk", NOW, DAY).is_err());
}

#[test]
fn a_user_has_a_name_and_all_groups_and_is_no_node() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(folder.path()).unwrap();
    let user = User::new("jo", ["a".to_owned(), "b".to_owned()]);
    let credentials = pki.issue_user(&user, NOW, Duration::from_secs(60)).unwrap();
    let der = rustls_pki_types::pem::PemObject::from_pem_slice(credentials.certificate_pem.as_bytes());
    let peer = Peer::from_certificate(&der.unwrap()).unwrap();
    assert_eq!((&peer.user.name, peer.node()), (&user.name, None));
    assert_eq!(peer.user.groups, ["a", "b", "system:authenticated"]);
    let credential = &peer.user.extra["authentication.kubernetes.io/credential-id"][0];
    assert_eq!(credential.len(), "X509SHA256=".len() + 64);
    assert_eq!(peer.validity.end, UnixMillis(NOW.0 + 60_000));
}
