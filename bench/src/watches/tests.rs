//! A few seconds of the bench against a coordinator in this process, and what its comparison finds.

use dunlin_coordinator::{Coordinator, CoordinatorArgs};

use super::{
    record::{Colour, Sequence, Told, What, Written, changes},
    *,
};

#[tokio::test(flavor = "multi_thread")]
async fn watches_tell_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let args = CoordinatorArgs { listen: Some("127.0.0.1:0".to_owned()), ..CoordinatorArgs::default() };
    let coordinator =
        Coordinator::start(args.validate(folder.path().join("coordinator")).unwrap()).await.unwrap();
    let access = coordinator.admin_access().unwrap();
    let access = Access {
        server: access.address,
        authority_pem: access.ca_pem.into_bytes(),
        certificate_pem: access.credentials.certificate_pem.into_bytes(),
        key_pem: access.credentials.key_pem.into_bytes(),
    };
    let plan = Plan {
        https: 300,
        quic: 50,
        writers: 8,
        objects: 5,
        namespaces: 6,
        bytes: 256,
        seconds: 2,
        rate: 0,
        silent: 0,
        slow: 2,
        settle_seconds: 0,
    };
    // Fails when a watch told anything else.
    let figures = measure(&access, &plan, &|| Ok(Usage::default())).await.unwrap();
    assert!(!figures.is_empty());
    coordinator.shutdown().await;
}

#[test]
fn what_was_lost_doubled_or_reordered_is_found() {
    let red = |revision| Written { revision: Some(revision), colour: Some(Colour::Red) };
    let gone = Written { revision: None, colour: None };
    let written = [vec![red(3), gone, red(9)], vec![red(5)]];
    let told = |revision, what, object| Told { revision, what, object };
    let all = [
        told(3, What::Added, 0),
        told(5, What::Added, 1),
        told(7, What::Deleted, 0),
        told(9, What::Added, 0),
    ];
    let known = changes(&written, &all).unwrap();
    assert_eq!(known.iter().map(|change| change.revision).collect::<Vec<_>>(), [3, 5, 7, 9]);
    assert!(changes(&written, &all[..3]).is_err(), "lost");
    assert!(changes(&written, &[all[0], all[1], all[1]]).is_err(), "doubled");
    assert!(changes(&written, &[all[2], all[0]]).is_err(), "reordered");
    assert!(changes(&written, &[told(4, What::Added, 0)]).is_err(), "another revision");

    let sequence = |events: &[(u64, What)]| {
        let mut sequence = Sequence::default();
        events.iter().for_each(|(revision, what)| sequence.push(*revision, *what));
        sequence
    };
    let (one, other) = ((3, What::Added), (5, What::Modified));
    assert_eq!(sequence(&[one, other]), sequence(&[one, other]));
    for different in [&[other, one][..], &[one], &[one, one, other], &[one, (5, What::Deleted)]] {
        assert_ne!(sequence(different), sequence(&[one, other]));
    }
}
