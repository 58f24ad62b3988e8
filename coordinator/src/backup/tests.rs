//! Backups there and back: what comes back, what is refused, and that a refusal changes nothing.

mod shut_out;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use dunlin_link::{Digest, Revision, UnixMillis};
use tokio_util::sync::CancellationToken;

use super::{
    BackupFile, Manifest, Modules, Passphrase, Present, Restore, RestoreError, Source, collect,
    collect_offline, inspect, is_unfinished, last_restore, restore,
    snapshots::{self, SnapshotOptions, Snapshots},
};
use crate::{
    artifacts,
    folders::tests::synced,
    pki::Pki,
    store::{ListOptions, Store, StoreOptions, Txn, Write},
};

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A coordinator's folder with some state in it.
struct Folder {
    root: tempfile::TempDir,
    cluster_id: String,
}

impl Folder {
    async fn new(values: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        fs::create_dir(&data).unwrap();
        let cluster_id = Pki::create(&data).unwrap().cluster_id().to_owned();
        let folder = Self { root, cluster_id };
        let path = artifacts::module_path(&data, Digest::of(MODULE));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, MODULE).unwrap();
        let store = folder.open();
        put(&store, "/dunlin/term", "4").await;
        for index in 0..values {
            let padding = "x".repeat(index % 3000);
            put(&store, &format!("/registry/configmaps/default/{index:05}"), &padding).await;
        }
        store.close().await;
        folder
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("cluster.backup")
    }

    fn open(&self) -> Store {
        open(&self.data())
    }

    fn schedule(&self, kept: &Path) -> Snapshots {
        let options = SnapshotOptions { every: Duration::from_millis(50), keep: 2, folder: kept.to_owned() };
        Snapshots::new(options, self.cluster_id.clone())
    }

    async fn back_up(&self, modules: Modules, passphrase: Option<&Passphrase>) -> Manifest {
        let (store, mut collected) = collect_offline(&self.data(), modules, NOW).await.unwrap();
        let manifest = collected.manifest.clone();
        let mut file = BackupFile::create(&self.file(), &manifest, passphrase.cloned()).unwrap();
        while let Some(part) = collected.next().await {
            file.write(&part.unwrap()).unwrap();
        }
        store.close().await;
        file.finish().unwrap();
        manifest
    }
}

fn open(data: &Path) -> Store {
    Store::open(&StoreOptions::new(data.join("store"))).unwrap()
}

/// What below a folder others than its owner may read, the folder included.
fn readable_by_others(path: &Path) -> Vec<PathBuf> {
    let is_private = fs::metadata(path).unwrap().permissions().mode() & 0o077 == 0;
    let mut found = if is_private { Vec::new() } else { vec![path.to_owned()] };
    for entry in fs::read_dir(path).into_iter().flatten() {
        found.extend(readable_by_others(&entry.unwrap().path()));
    }
    found
}

async fn put(store: &Store, key: &str, value: &str) {
    let writes = vec![Write::Put(key.to_owned(), Bytes::from(value.to_owned()))];
    store.txn(Txn { compares: Vec::new(), writes }).await.unwrap();
}

async fn all(store: &Store) -> Vec<(String, Bytes, Revision)> {
    let options = ListOptions { prefix: "/".into(), after: None, limit: None, at: None };
    let items = store.list(options).await.unwrap().items;
    items.into_iter().map(|item| (item.key, item.value, item.mod_revision)).collect()
}

fn options<'a>(file: &'a Path, data_dir: &'a Path) -> Restore<'a> {
    Restore {
        file,
        passphrase: None,
        data_dir,
        present: Present::Refuse,
        generation: None,
        revoke: &[],
        now: NOW,
    }
}

#[tokio::test]
async fn a_cluster_comes_back_with_everything_in_it() {
    let folder = Folder::new(500).await;
    let manifest = folder.back_up(Modules::Included, None).await;
    let (inspected, contents) = inspect(&folder.file(), None).unwrap();
    assert_eq!(inspected, manifest);
    assert_eq!((contents.object_count(), contents.records, contents.modules), (500, 1, 1));
    assert_eq!(fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);

    let data = folder.root.path().join("elsewhere/data");
    // As mkdir makes one.
    fs::create_dir_all(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    synced();
    let restored = restore(&options(&folder.file(), &data)).unwrap();
    let flushed = synced();
    assert!(flushed.contains(&data), "{flushed:?}");
    assert_eq!((restored.generation, restored.set_aside), (1_800_000_000, None));
    assert!(!is_unfinished(&data));
    assert_eq!(readable_by_others(&data), Vec::<PathBuf>::new());
    assert_eq!(fs::read(artifacts::module_path(&data, Digest::of(MODULE))).unwrap(), MODULE);
    let (old, new) = (folder.open(), open(&data));
    let mut came = all(&new).await;
    let record = came.iter().position(|(key, ..)| key == "/dunlin/restore").unwrap();
    came.remove(record);
    assert_eq!(came, all(&old).await);
    assert!(new.revision() > Revision(1_000_000_000) && new.oldest_revision() == new.revision());

    let pki = Pki::load(&data).unwrap().unwrap();
    assert_eq!(pki.cluster_id(), folder.cluster_id);
    let signed = last_restore(&new, pki.cluster_id()).await.unwrap().unwrap();
    assert_eq!((signed.record.generation, signed.record.revision), (1_800_000_000, new.revision()));
    // The restored store goes on, and its own backup leads to a higher generation.
    put(&new, "/dunlin/term", "5").await;
    new.close().await;
    let (store, collected) = collect_offline(&data, Modules::LeftOut, NOW).await.unwrap();
    assert_eq!(collected.manifest.restore_generation, 1_800_000_000);
    store.close().await;
}

#[tokio::test]
async fn a_sealed_backup_tells_a_wrong_passphrase_from_damage() {
    let folder = Folder::new(100).await;
    let (right, wrong) = (Passphrase::new("right").unwrap(), Passphrase::new("wrong").unwrap());
    folder.back_up(Modules::LeftOut, Some(&right)).await;
    let text = |passphrase: Option<&Passphrase>| inspect(&folder.file(), passphrase).unwrap_err().to_string();
    assert!(inspect(&folder.file(), Some(&right)).is_ok());
    assert_eq!(text(Some(&wrong)), "this is not the passphrase of the backup");
    assert!(text(None).contains("is encrypted"));
    let whole = fs::read(folder.file()).unwrap();
    assert!(!whole.windows(8).any(|bytes| bytes == b"registry"));
    fs::write(folder.file(), &whole[..whole.len() - 5]).unwrap();
    assert!(text(Some(&right)).contains("cut off"));
    let mut flipped = whole.clone();
    flipped[whole.len() - 50] ^= 1;
    fs::write(folder.file(), flipped).unwrap();
    assert!(text(Some(&right)).contains("not what was sealed"));
}

#[tokio::test]
async fn a_damaged_or_foreign_file_changes_nothing() {
    let folder = Folder::new(200).await;
    folder.back_up(Modules::Included, None).await;
    let whole = fs::read(folder.file()).unwrap();
    let bad = folder.root.path().join("bad");
    let data = folder.root.path().join("new");
    let refused = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        let error = restore(&options(&bad, &data)).unwrap_err();
        assert!(matches!(error, RestoreError::Backup(_)), "{error}");
        assert!(!data.join("store").exists() && !is_unfinished(&data), "{error}");
        error.to_string()
    };
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        refused(&whole[..length]);
    }
    for at in (0..whole.len()).step_by(whole.len() / 60) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        refused(&flipped);
    }
    assert!(refused(&[&whole[..], b"more"].concat()).contains("follows"));
    assert_eq!(
        refused(b"not a backup of anything, but long enough"),
        "this is not a backup of a Dunlin cluster"
    );
}

#[tokio::test]
async fn a_cluster_in_the_way_is_set_aside_only_when_told_to() {
    let folder = Folder::new(10).await;
    folder.back_up(Modules::LeftOut, None).await;
    let (file, data) = (folder.file(), folder.data());
    let asked = options(&file, &data);
    assert!(matches!(restore(&asked), Err(RestoreError::Occupied(_))));
    let asked = Restore { present: Present::SetAside, ..asked };
    let store = folder.open();
    assert!(matches!(restore(&asked), Err(RestoreError::InUse(_))));
    put(&store, "/registry/configmaps/default/later", "").await;
    store.close().await;
    assert!(matches!(
        restore(&Restore { generation: Some(0), ..options(&file, &data) }),
        Err(RestoreError::Occupied(_))
    ));
    let restored = restore(&asked).unwrap();
    let (flushed, set_aside) = (synced(), restored.set_aside.clone().unwrap());
    assert!(flushed.ends_with(&[set_aside, data.clone(), data.clone()]), "{flushed:?}");
    let modules = |folder: &Path| folder.join("restoring/modules/sha256");
    assert!(flushed.contains(&modules(&data)), "{flushed:?}");
    assert_eq!(restored.kept_modules, 1);
    assert_eq!(fs::read(artifacts::module_path(&data, Digest::of(MODULE))).unwrap(), MODULE);
    let aside = restored.set_aside.unwrap();
    assert!(all(&open(&aside)).await.iter().any(|(key, ..)| key.ends_with("later")));
    assert!(!all(&folder.open()).await.iter().any(|(key, ..)| key.ends_with("later")));
}

#[tokio::test]
async fn a_backup_is_of_one_revision_while_others_write() {
    let folder = Folder::new(300).await;
    let store = folder.open();
    let source =
        Source { store: store.clone(), data_dir: folder.data(), cluster_id: folder.cluster_id.clone() };
    let mut collected = collect(source, Modules::LeftOut, NOW).await.unwrap();
    let expected = all(&store).await;
    let manifest = collected.manifest.clone();
    let mut file = BackupFile::create(&folder.file(), &manifest, None).unwrap();
    let mut index = 0;
    while let Some(part) = collected.next().await {
        file.write(&part.unwrap()).unwrap();
        put(&store, &format!("/registry/configmaps/default/{index:05}"), "changed").await;
        put(&store, &format!("/registry/configmaps/default/more-{index}"), "new").await;
        index += 1;
    }
    file.finish().unwrap();
    let data = folder.root.path().join("new");
    restore(&options(&folder.file(), &data)).unwrap();
    let mut came = all(&open(&data)).await;
    came.retain(|(key, ..)| key != "/dunlin/restore");
    assert_eq!(came, expected);
}

#[tokio::test]
async fn snapshots_are_made_after_changes_only_and_old_ones_go() {
    let folder = Folder::new(5).await;
    let store = folder.open();
    let kept = folder.root.path().join("snapshots");
    let schedule = folder.schedule(&kept);
    let source =
        Source { store: store.clone(), data_dir: folder.data(), cluster_id: folder.cluster_id.clone() };
    let stop = CancellationToken::new();
    let running = tokio::spawn(schedule.clone().run(source, stop.clone()));
    let newest = async |revision: Revision| {
        let reached = async {
            while snapshots::list(&kept, &folder.cluster_id)
                .pop()
                .is_none_or(|(_, manifest)| manifest.revision < revision)
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    };
    for round in 0..4 {
        put(&store, "/dunlin/term", &round.to_string()).await;
        newest(store.revision()).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let found = snapshots::list(&kept, &folder.cluster_id);
    assert_eq!(found.len(), 2);
    assert!(inspect(&found[1].0, None).is_ok());
    let status = serde_json::to_value(schedule.status()).unwrap();
    assert_eq!(status["newestRevision"], store.revision().0);
    assert_eq!(status["failure"], serde_json::Value::Null);

    // A folder that cannot be written is told, and tried again.
    fs::remove_dir_all(&kept).unwrap();
    fs::write(&kept, "in the way").unwrap();
    put(&store, "/dunlin/term", "9").await;
    let failed = async {
        while serde_json::to_value(schedule.status()).unwrap()["failure"].is_null() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), failed).await.unwrap();
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn snapshots_are_the_schedules_own_files_and_the_newest_stays() {
    let folder = Folder::new(5).await;
    let kept = folder.root.path().join("snapshots");
    fs::create_dir(&kept).unwrap();
    // Two of the owner's, one of them of another cluster and named as a snapshot is; and two snapshots from before the disk was put back.
    let manifest = folder.back_up(Modules::LeftOut, None).await;
    fs::copy(folder.file(), kept.join("mine.backup")).unwrap();
    let begin = |name: &str, cluster_id: &str, revision| {
        let manifest =
            Manifest { cluster_id: cluster_id.to_owned(), revision: Revision(revision), ..manifest.clone() };
        let mut file = BackupFile::create(&kept.join(name), &manifest, None).unwrap();
        // The end, after no record.
        file.write(&[&[4][..], &[0; 24]].concat()).unwrap();
        file
    };
    for (cluster_id, revision) in [("other", 1), (&folder.cluster_id, 900), (&folder.cluster_id, 901)] {
        let name = format!("20270115T080000Z-r{revision}.backup");
        begin(&name, cluster_id, revision).finish().unwrap();
    }
    let being_written = begin("now.backup", &folder.cluster_id, 1);

    let store = folder.open();
    let source =
        Source { store: store.clone(), data_dir: folder.data(), cluster_id: folder.cluster_id.clone() };
    let stop = CancellationToken::new();
    let schedule = folder.schedule(&kept);
    let running = tokio::spawn(schedule.clone().run(source, stop.clone()));
    let revisions =
        || snapshots::list(&kept, &folder.cluster_id).into_iter().map(|(_, made)| made.revision.0);
    let made = store.revision().0;
    let reached = async {
        while revisions().collect::<Vec<_>>() != [made, 901] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    assert!(kept.join("mine.backup").exists() && kept.join("20270115T080000Z-r1.backup").exists());
    being_written.finish().unwrap();

    let newest = || serde_json::to_value(schedule.status()).unwrap()["newestRevision"].clone();
    assert_eq!(newest(), 901);
    for (path, _) in snapshots::list(&kept, &folder.cluster_id) {
        fs::remove_file(path).unwrap();
    }
    assert_eq!(newest(), serde_json::Value::Null);
}
