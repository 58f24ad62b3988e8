//! What volumes take: the blocks of everything below them, following no link.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::node::VolumeUsage;
use dunlin_link::{PodUid, volumes::Medium};

/// Of all pods whose volumes are below `dir`: their emptyDirs one by one, everything else of a pod as one without a name.
pub(super) fn of(dir: &Path, medium: Medium) -> Vec<VolumeUsage> {
    let mut usages = Vec::new();
    for (name, pod) in entries(dir).filter(|(name, _)| !name.starts_with('.')) {
        // A pod's folder ends in its uid.
        let Some(uid) = name.rsplit('_').next().map(PodUid::new) else { continue };
        let used = |volume: String, bytes| VolumeUsage { uid: uid.clone(), volume, medium, bytes };
        usages.extend(entries(&pod.join("empty")).map(|(volume, path)| used(volume, bytes(&path))));
        // It takes nothing of what others could have: the pages are the pod's.
        for (volume, path) in entries(&pod.join(super::HUGE)) {
            usages.push(VolumeUsage { medium: Medium::Memory, ..used(volume, bytes(&path)) });
        }
        let rest = bytes(&pod.join("files")).saturating_add(bytes(&pod.join("run")));
        usages.push(used(String::new(), rest));
    }
    usages
}

fn entries(dir: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
}

/// Blocks of a folder and all below it, up to [`ENTRIES_MAX`] of them. A file that goes meanwhile takes nothing, and folders that are too
/// deep are left out: their paths are longer than the system takes, too.
pub(crate) fn bytes(dir: &Path) -> u64 {
    let mut open = vec![(dir.to_owned(), 0)];
    let (mut sum, mut seen) = (0_u64, 0_u32);
    while let Some((path, depth)) = open.pop() {
        seen += 1;
        if seen > ENTRIES_MAX {
            break;
        }
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        sum = sum.saturating_add(metadata.blocks().saturating_mul(BLOCK_BYTES));
        if metadata.is_dir() && depth < DEPTH_MAX {
            open.extend(entries(&path).map(|(_, below)| (below, depth + 1)));
        }
    }
    sum
}

/// The unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// More files than an honest container writes; where there are more, the rest takes nothing.
const ENTRIES_MAX: u32 = 1_000_000;

/// With names of one letter, a path of so many parts is at the system's bound.
const DEPTH_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_links_lead_to_is_not_counted() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("ns_p_u-1/empty/v");
        fs::create_dir_all(volume.join("deep")).unwrap();
        fs::write(volume.join("deep/file"), vec![1; 300_000]).unwrap();
        symlink("/usr", volume.join("link")).unwrap();
        let usages = of(dir.path(), Medium::Disk);
        let found = usages.iter().find(|used| used.volume == "v").unwrap();
        assert_eq!(found.uid, PodUid::new("u-1"));
        assert!((300_000..400_000).contains(&found.bytes), "{found:?}");
        assert_eq!(usages.len(), 2);
        assert!(of(&dir.path().join("none"), Medium::Memory).is_empty());
    }
}
