//! The files that containers see besides their module: volumes, single files of them, and the place for last words.
//!
//! ```text
//! volumes/NAMESPACE_POD_UID/empty/NAME            an emptyDir
//! volumes/NAMESPACE_POD_UID/files/NAME            a projected volume, written by the node alone
//! volumes/NAMESPACE_POD_UID/run/CONTAINER/RUN/N   folders of one run, for what is no folder by itself
//! ```
//!
//! What belongs into memory is in a folder of the same shape elsewhere. Guests can put anything into what they may change, links
//! included: nothing here follows a link on a path that a guest may have made.

mod atomic;
mod beneath;
mod host_path;
mod memory;
mod run;
mod usage;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::{
    launch::GuestFiles,
    node::VolumeUsage,
    volumes::{MountError, PartSetup, Setup, SourceSetup, VolumeSetup},
};
use dunlin_link::{pod::PodAssignment, volumes::Medium};

pub(crate) use self::beneath::{Found, find};
use self::run::RunFolders;

/// The volumes of a node.
#[derive(Clone, Debug)]
pub(crate) struct Volumes {
    disk: PathBuf,
    /// Where memory has a file system; `None` on a machine that has none for us.
    memory: Option<PathBuf>,
}

/// The file that guests' buckets are in, in the state folder.
const KEYVALUE: &str = "keyvalue.redb";

/// A volume that is in place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Placed {
    Folder(PathBuf),
    File(PathBuf),
}

impl Volumes {
    /// Of the node with this state folder.
    pub(crate) fn new(state_dir: &Path) -> Self {
        let memory = memory::folder(state_dir);
        if memory.is_none() {
            tracing::debug!("this machine has no file system in memory for volumes; they are on its disk");
        }
        Self { disk: state_dir.join("volumes"), memory }
    }

    /// Puts in place what a run of a container needs; what is there already stays.
    pub(crate) fn prepare(
        &self,
        pod: &PodAssignment,
        (container, attempt): (&str, u32),
        setup: &Setup,
    ) -> Result<GuestFiles, MountError> {
        let mut placed = BTreeMap::new();
        if setup.volumes.iter().any(|volume| volume.source.medium() == Some(Medium::Memory))
            && let Some(memory) = &self.memory
        {
            memory::make(memory).map_err(|error| failed(container, &error))?;
        }
        for volume in &setup.volumes {
            placed.insert(volume.name.as_str(), self.place(pod, volume)?);
        }
        let dir = self.pod_dir(pod, Medium::Disk).join("run").join(container);
        let mut folders = RunFolders::new(&dir, attempt).map_err(|error| failed(container, &error))?;
        for mount in &setup.mounts {
            let of = match &mount.part {
                PartSetup::Volume { name, .. } => name,
                PartSetup::File(_) | PartSetup::Folder(_) => &mount.path,
            };
            let added = folders.add(mount, placed.get(of.as_str()));
            added.map_err(|error| failed(of, &error))?;
        }
        let files = folders.finish(&setup.termination_message_path);
        let files = files.map_err(|error| failed(container, &error))?;
        let keyvalue = self.disk.with_file_name(KEYVALUE);
        Ok(GuestFiles { keyvalue: Some(keyvalue.to_string_lossy().into_owned()), ..files })
    }

    /// Writes the files of volumes anew that are in place; the others get them when they are put there.
    pub(crate) fn project(&self, pod: &PodAssignment, volumes: &[VolumeSetup]) {
        for volume in volumes {
            let SourceSetup::Files { files, medium } = &volume.source else { continue };
            let dir = self.files_dir(pod, &volume.name, *medium);
            if !dir.is_dir() {
                continue;
            }
            if let Err(error) = atomic::write(&dir, files) {
                let (pod, volume) = (&pod.name, &volume.name);
                tracing::warn!(%error, pod, volume, "the files of a volume could not be written anew");
            }
        }
    }

    /// Removes everything of a pod.
    pub(crate) fn remove(&self, pod: &PodAssignment) {
        for medium in [Medium::Disk, Medium::Memory] {
            let dir = self.pod_dir(pod, medium);
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, dir = %dir.display(), "volumes of a pod could not be removed");
                }
                _ => {}
            }
        }
        // The last one leaves no trace in memory; while others are there this fails, as it should.
        self.memory.iter().for_each(|memory| drop(fs::remove_dir(memory)));
    }

    /// What the volumes of all pods take.
    pub(crate) fn usage(&self) -> Vec<VolumeUsage> {
        let memory = self.memory.iter().flat_map(|dir| usage::of(dir, Medium::Memory));
        usage::of(&self.disk, Medium::Disk).into_iter().chain(memory).collect()
    }

    fn place(&self, pod: &PodAssignment, volume: &VolumeSetup) -> Result<Placed, MountError> {
        let placed = match &volume.source {
            SourceSetup::Empty(medium) => {
                let dir = self.pod_dir(pod, *medium).join("empty").join(&volume.name);
                make_private(&dir).map(|()| Placed::Folder(dir))
            }
            SourceSetup::Host { path, kind } => host_path::place(Path::new(path), *kind),
            SourceSetup::Files { files, medium } => {
                let dir = self.files_dir(pod, &volume.name, *medium);
                make_private(&dir).and_then(|()| atomic::write(&dir, files)).map(|()| Placed::Folder(dir))
            }
        };
        placed.map_err(|error| failed(&volume.name, &error))
    }

    fn files_dir(&self, pod: &PodAssignment, volume: &str, medium: Medium) -> PathBuf {
        self.pod_dir(pod, medium).join("files").join(volume)
    }

    fn pod_dir(&self, pod: &PodAssignment, medium: Medium) -> PathBuf {
        let root = match (medium, &self.memory) {
            (Medium::Memory, Some(memory)) => memory,
            _ => &self.disk,
        };
        root.join(format!("{}_{}_{}", pod.namespace, pod.name, pod.uid))
    }
}

fn failed(volume: &str, error: &io::Error) -> MountError {
    MountError { volume: volume.to_owned(), why: error.to_string() }
}

/// Makes a folder for its owner only, and those above it. It need not outlast a power cut: neither does the run that it is for.
fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests;
