//! Starts on data folders of which a part was lost: refused, with nothing made in its place.

use std::{fs, path::Path};

use super::{Coordinator, StartError};
use crate::{
    config::CoordinatorArgs,
    founding::FoundingError,
    pki::Pki,
    store::{OpenError, Store, StoreOptions},
};

async fn start(data_dir: &Path) -> Result<Coordinator, StartError> {
    let args = CoordinatorArgs { listen: Some("127.0.0.1:0".to_owned()), ..CoordinatorArgs::default() };
    Coordinator::start(args.validate(data_dir.to_owned()).unwrap()).await
}

/// A folder that a coordinator has run on, and its cluster's id.
async fn used() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let coordinator = start(folder.path()).await.unwrap();
    let cluster_id = coordinator.pki.cluster_id().to_owned();
    coordinator.shutdown().await;
    (folder, cluster_id)
}

#[tokio::test]
async fn a_lost_store_is_refused_and_not_begun_anew() {
    let (folder, _) = used().await;
    for lost in ["store", "store/store.redb"] {
        let (from, aside) = (folder.path().join(lost), folder.path().join("aside"));
        fs::rename(&from, &aside).unwrap();
        let Err(refused) = start(folder.path()).await else { panic!("{lost} is gone and it starts") };
        let StartError::StoreDamaged { advice, source: OpenError::Damaged { what, .. } } = refused else {
            panic!("{lost}: {refused:?}")
        };
        assert_eq!(what, "its database is missing");
        assert!(advice.contains("dunlin restore FILE"), "{advice}");
        assert!(!from.exists(), "{lost} was made anew");
        fs::rename(&aside, &from).unwrap();
    }
    start(folder.path()).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_store_goes_on_with_its_own_authority_only() {
    let (folder, cluster_id) = used().await;
    let own = Pki::file(folder.path());
    let aside = folder.path().join("aside");
    fs::rename(&own, &aside).unwrap();
    let refused = start(folder.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::Founding(FoundingError::Missing { .. })), "{refused:?}");
    assert!(!own.exists());

    let (other, other_id) = used().await;
    fs::copy(Pki::file(other.path()), &own).unwrap();
    let refused = start(folder.path()).await.unwrap_err();
    let StartError::Founding(FoundingError::Foreign { authority, store, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((authority, store), (other_id, cluster_id.clone()));

    fs::rename(&aside, &own).unwrap();
    let coordinator = start(folder.path()).await.unwrap();
    assert_eq!(coordinator.pki.cluster_id(), cluster_id);
    coordinator.shutdown().await;
}

/// A store of an earlier release names no authority: it takes the one that is there, and none that is not.
#[tokio::test]
async fn a_store_without_a_record_takes_the_authority_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = || Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap();
    let earlier = store();
    earlier.next_term().await.unwrap();
    earlier.close().await;
    let refused = start(folder.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::Founding(FoundingError::Missing { .. })), "{refused:?}");
    Pki::create(folder.path()).unwrap();
    start(folder.path()).await.unwrap().shutdown().await;
    fs::remove_file(Pki::file(folder.path())).unwrap();
    Pki::create(folder.path()).unwrap();
    let refused = start(folder.path()).await.unwrap_err();
    assert!(matches!(refused, StartError::Founding(FoundingError::Foreign { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_first_start_that_was_cut_off_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    fs::write(folder.path().join("store/store.log"), "").unwrap();
    start(folder.path()).await.unwrap().shutdown().await;

    let folder = tempfile::tempdir().unwrap();
    Store::open(&StoreOptions::new(folder.path().join("store"))).unwrap().close().await;
    let made = Pki::create(folder.path()).unwrap();
    let coordinator = start(folder.path()).await.unwrap();
    assert_eq!(coordinator.pki.cluster_id(), made.cluster_id());
    coordinator.shutdown().await;
}
