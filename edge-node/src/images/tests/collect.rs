//! What is removed, what never is, and what a disk without room does to a pull.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::images::Goal;

/// Pulls an image of a layer of its own on a base that all have; answers its digest.
async fn pulled(bench: &Bench, name: &str) -> Digest {
    let (base, own) = (tar(&[("base", "base")]), tar(&[("name", name)]));
    bench.registry.image(name, &config(&[&base, &own]), &[("tar", &base), ("tar", &own)]);
    match bench.pull(&format!("it:{name}")).await {
        PulledImage::Fetched { digest, .. } => digest,
        other => panic!("{other:?}"),
    }
}

impl Bench {
    async fn collect(&self, named: &[Digest], goal: Goal) {
        self.images.collect(named.iter().copied().collect(), goal).unwrap().await.unwrap();
    }

    /// Which of the images are here, with the number of layers.
    fn here(&self, names: &[&str]) -> (String, usize) {
        let is_here = |name: &&&str| self.linux(&format!("it:{name}")).is_some();
        (names.iter().filter(is_here).copied().collect(), self.files("layers/sha256").len())
    }
}

#[tokio::test]
async fn what_no_pod_names_goes_and_what_it_shares_stays() {
    let Some(mut bench) = Bench::start().await else { return };
    let all = ["a", "b", "c"];
    let [a, ..] = [pulled(&bench, "a").await, pulled(&bench, "b").await, pulled(&bench, "c").await];
    bench.collect(&[], Goal::Free(0)).await;
    assert_eq!(bench.here(&all), ("abc".to_owned(), 4), "there is room enough");

    bench.collect(&[a], Goal::All).await;
    assert_eq!(bench.here(&all), ("a".to_owned(), 2));
    bench.reopen();
    assert_eq!(bench.here(&all), ("a".to_owned(), 2));
    assert_eq!(bench.files("images").len(), 2, "one with the tag and one with the digest");
    bench.collect(&[], Goal::All).await;
    bench.check_nothing_is_left();
}

#[tokio::test]
async fn the_longest_unused_goes_first_across_restarts() {
    let Some(mut bench) = Bench::start().await else { return };
    let [a, b, c] = [pulled(&bench, "a").await, pulled(&bench, "b").await, pulled(&bench, "c").await];
    bench.images.touch(&a);
    let none = BTreeSet::new();
    assert_eq!(bench.images.idle(&none), [b, c, a]);
    bench.reopen();
    assert_eq!(bench.images.idle(&none), [b, c, a]);
    // What is used while it is being decided stays.
    let until = bench.images.known().uses.now();
    bench.images.touch(&c);
    bench.images.collect_now(&none, Goal::All, until).unwrap();
    assert_eq!(bench.images.idle(&none), [c]);
}

#[tokio::test]
async fn what_a_pull_brings_is_kept_until_its_pod_names_it() {
    let Some(bench) = Bench::start().await else { return };
    let first = pulled(&bench, "a").await;
    bench.images.known().forget(&first);
    let ended = bench.pull_ended("it:a", None).await;
    bench.collect(&[], Goal::All).await;
    // Its name may go; nobody has to fetch it again all the same.
    assert_eq!(bench.files("layers/sha256").len(), 2);
    drop(ended);
    bench.collect(&[], Goal::All).await;
    assert_eq!(bench.files("layers/sha256").len(), 0);
}

#[tokio::test]
async fn what_would_fill_the_disk_is_not_begun() {
    let Some(bench) = Bench::start().await else { return };
    let layer = tar(&[("a", "b")]);
    let mut blob = bench.registry.blob("application/vnd.oci.image.layer.v1.tar+gzip", &gzip(&layer));
    blob["size"] = json!(1_u64 << 60);
    let config = config(&[&layer]).to_string();
    let config = bench.registry.blob("application/vnd.oci.image.config.v1+json", config.as_bytes());
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [blob] });
    bench.registry.manifest("1", &manifest);
    let ended = bench.pull_ended("it:1", None).await;
    let PulledImage::Failed(why) = ended.answer else { panic!("{:?}", ended.answer) };
    assert!(why.contains("no room for") && why.contains("and the disk has"), "{why}");
    assert!(ended.wants_free.is_some_and(|bytes| bytes > 3 << 60));
    bench.check_nothing_is_left();
}

/// A file system in memory, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, options: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tests"]).arg(at).output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Of a test that failed, files may still be open.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_disk_that_fills_up_leaves_nothing_behind() {
    let state = tempfile::tempdir().unwrap();
    let Some(mounted) = Mounted::new(state.path(), "size=68m") else {
        eprintln!("SKIPPED: nothing can be mounted here");
        return;
    };
    let bench = Bench::in_folder(state).await;
    // It compresses to next to nothing.
    let zeros = "\0".repeat(80 << 20);
    let layer = tar(&[("zeros", &zeros)]);
    bench.registry.image("1", &config(&[&layer]), &[("tar+gzip", &gzip(&layer))]);
    let ended = bench.pull_ended("it:1", None).await;
    bench.check_nothing_is_left();
    drop(mounted);
    let PulledImage::Failed(why) = ended.answer else { panic!("{:?}", ended.answer) };
    assert!(why.contains("failed to write the image") && why.contains("No space left"), "{why}");
    assert_eq!(ended.wants_free, Some(u64::MAX));
}
