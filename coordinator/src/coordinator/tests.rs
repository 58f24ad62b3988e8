//! Starts on data folders of which a part was lost: refused, with nothing made in its place.

use std::{fs, path::Path};

use super::{Coordinator, StartError};
use crate::{config::CoordinatorArgs, pki::Pki, store::OpenError};

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
async fn a_first_start_that_was_cut_off_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("store")).unwrap();
    fs::write(folder.path().join("store/store.log"), "").unwrap();
    start(folder.path()).await.unwrap().shutdown().await;
    assert!(Pki::exists(folder.path()));
    start(folder.path()).await.unwrap().shutdown().await;
}
