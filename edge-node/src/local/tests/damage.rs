//! A damaged file is read as it was, or refused with the way out; it is never read as something else.

use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::StdRng};

use super::*;

/// What every reader of the file must find, if it finds anything.
fn found(loaded: &Loaded) -> (AppliedRecord, Vec<PodUid>, Vec<Tombstone>, Vec<Digest>) {
    (
        loaded.applied,
        loaded.memories.keys().cloned().collect(),
        loaded.tombstones.values().cloned().collect(),
        loaded.objects.keys().copied().collect(),
    )
}

/// A file with a history: pods come and go, so that there are live pages, freed pages, and two commit slots.
fn write_history(dir: &Path) -> Loaded {
    let (database, ..) = tables::open(&dir.join(FILE), CACHE_BYTES).unwrap();
    for revision in 1..=60_u64 {
        let mut batch = Batch {
            applied: Some(AppliedRecord { revision: Revision(revision), restore_generation: 0 }),
            ..Batch::default()
        };
        let uid = PodUid::new(format!("u{revision}"));
        let content = vec![u8::try_from(revision).unwrap(); 900];
        let object = ConfigObject { kind: ConfigKind::Secret, data: vec![("k".to_owned(), content.clone())] };
        batch.memories.push((uid.clone(), Change::Put(PodMemory::default())));
        batch.objects.push((Digest::of(&content), Change::Put(object.into())));
        batch.tombstones.push((uid, Change::Put(tombstone(&format!("u{revision}")))));
        if let Some(old) = revision.checked_sub(20) {
            let uid = PodUid::new(format!("u{old}"));
            batch.memories.push((uid.clone(), Change::Remove));
            batch.tombstones.push((uid, Change::Remove));
        }
        tables::commit(&database, [&batch].into_iter(), (&seal(), None), &mut tables::Undo::default())
            .unwrap();
    }
    drop(database);
    tables::open(&dir.join(FILE), CACHE_BYTES).unwrap().1
}

/// Changes the bytes of a file as disks, cards and people do.
fn damage(bytes: &mut Vec<u8>, rng: &mut StdRng) -> String {
    let length = bytes.len();
    match rng.random_range(0..6) {
        0 => {
            bytes.truncate(rng.random_range(0..length));
            format!("truncated to {}", bytes.len())
        }
        1 => {
            let flips = rng.random_range(1..16);
            for _ in 0..flips {
                bytes[rng.random_range(0..length)] ^= 1 << rng.random_range(0..8);
            }
            format!("{flips} bits flipped anywhere")
        }
        2 => {
            let at = rng.random_range(0..320);
            bytes[at] ^= 1 << rng.random_range(0..8);
            format!("a bit of the header flipped at {at}")
        }
        3 => {
            let page = rng.random_range(0..length / PAGE) * PAGE;
            rng.fill_bytes(&mut bytes[page..page + PAGE]);
            format!("page at {page} overwritten")
        }
        4 => {
            let pages = length / PAGE;
            let (from, to) = (rng.random_range(0..pages) * PAGE, rng.random_range(0..pages) * PAGE);
            bytes.copy_within(from..from + PAGE, to);
            format!("page at {to} replaced by that at {from}")
        }
        _ => {
            let start = rng.random_range(0..length);
            let end = (start + rng.random_range(1..256 * PAGE)).min(length);
            bytes[start..end].fill(0);
            format!("zeroes from {start} to {end}")
        }
    }
}

/// Opens a file that may make redb panic, which is expected here and caught where it is opened.
fn open_quietly(path: &Path) -> Result<Loaded, OpenError> {
    tables::open(path, CACHE_BYTES).map(|(_, loaded, _)| loaded)
}

#[test]
fn a_damaged_file_is_read_as_it_was_or_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let whole = found(&write_history(dir.path()));
    let path = dir.path().join(FILE);
    let bytes = std::fs::read(&path).unwrap();
    let (mut read, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut damaged = bytes.clone();
        let how = damage(&mut damaged, &mut rng);
        std::fs::write(&path, &damaged).unwrap();
        match open_quietly(&path) {
            Ok(loaded) => {
                read += 1;
                assert_eq!(found(&loaded), whole, "seed {seed}: {how}");
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains("dunlin local reset"), "seed {seed}: {how}: {text}: {error:?}");
            }
        }
    }
    println!("{SEEDS} seeds: {read} read as they were, {refused} refused");
    assert!(refused > SEEDS / 4 && read > 0, "{read} read, {refused} refused");
}

#[tokio::test]
async fn a_state_that_was_set_aside_is_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    write_history(dir.path());
    assert!(matches!(reset::problem(dir.path()), Ok(None)));
    let (local, _) = reopen(dir.path());
    assert!(matches!(reset::problem(dir.path()), Err(reset::ResetError::InUse { .. })));
    assert!(matches!(reset::set_aside(dir.path()), Err(reset::ResetError::InUse { .. })));
    drop(local);
    drop(reopen(dir.path()));
    let path = dir.path().join(FILE);
    let problem = loop {
        match reset::problem(dir.path()) {
            // The writer of the dropped store lets go a moment later.
            Err(reset::ResetError::InUse { .. }) => thread::sleep(std::time::Duration::from_millis(10)),
            other => break other.unwrap(),
        }
    };
    assert!(problem.is_none(), "{problem:?}");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let problem = reset::problem(dir.path()).unwrap();
    let Some(problem @ OpenError::Damaged { .. }) = problem else { panic!("{problem:?}") };
    let named = format!("`{}`", path.display());
    assert!(problem.to_string().contains(&named), "the file, and not the copy that was looked at: {problem}");
    let aside = reset::set_aside(dir.path()).unwrap();
    assert_eq!(std::fs::read(aside).unwrap().len(), bytes.len() / 2);
    assert!(matches!(reset::problem(dir.path()), Err(reset::ResetError::Absent { .. })));
    let (_local, loaded) = reopen(dir.path());
    assert_eq!((loaded.starts, loaded.tombstones.len()), (1, 0));
}

const SEEDS: u64 = 200;

/// redb's.
const PAGE: usize = 4096;
