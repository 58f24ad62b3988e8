//! The files that containers see besides their module: volumes, single files of them, and the place for last words.
//!
//! ```text
//! volumes/NAMESPACE_POD_UID/empty/NAME            an emptyDir
//! volumes/NAMESPACE_POD_UID/huge/NAME             an emptyDir of large pages: a file system of its own
//! volumes/NAMESPACE_POD_UID/files/NAME            a projected volume, written by the node alone
//! volumes/NAMESPACE_POD_UID/run/CONTAINER/RUN/N   folders of one run, for what is no folder by itself
//! volumes/NAMESPACE_POD_UID/images/HEX            an image that is a volume, by its digest; empty
//! ```
//!
//! What belongs into memory is in a folder of the same shape elsewhere. Guests can put anything into what they may change, links
//! included: nothing here follows a link on a path that a guest may have made.

mod atomic;
mod beneath;
mod group;
mod host_path;
mod linux;
mod memory;
mod run;
pub(crate) mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use dunlin_edge_node_core::{
    launch::GuestFiles,
    node::VolumeUsage,
    sandbox::linux::LinuxMount,
    volumes::{File, MountError, MountSetup, PartSetup, Setup, SourceSetup, VolumeSetup},
};
use dunlin_layers::remove_tree;
use dunlin_link::{
    Digest,
    pod::PodAssignment,
    volumes::{Access, Medium},
};
use dunlin_oci_shim::huge_pages;

pub(crate) use self::beneath::{Found, find};
use self::{
    linux::LinuxMounts,
    run::{RunDirs, RunFolders},
};

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
    /// A socket or a device.
    Special(PathBuf),
}

impl Volumes {
    /// Of the node with this state folder.
    pub(crate) fn new(state_dir: &Path) -> Self {
        memory::sweep();
        let memory = memory::folder(state_dir);
        if memory.is_none() {
            tracing::debug!("this machine has no file system in memory for volumes; they are on its disk");
        }
        Self { disk: state_dir.join("volumes"), memory }
    }

    /// Puts in place what a run of a guest needs; what is there already stays.
    pub(crate) fn prepare(
        &self,
        pod: &PodAssignment,
        (container, attempt): (&str, u32),
        setup: &Setup,
    ) -> Result<GuestFiles, MountError> {
        self.note_images(pod, setup)?;
        let placed = self.place_all(pod, container, setup)?;
        let run_dir = |medium| self.run_dir(pod, container, medium);
        let dirs = RunDirs { disk: run_dir(Medium::Disk), memory: run_dir(Medium::Memory) };
        let mut folders = RunFolders::new(&dirs, attempt).map_err(|error| failed(container, &error))?;
        for mount in &setup.mounts {
            let of = name_of(mount);
            folders.add(mount, placed.get(of)).map_err(|error| failed(of, &error))?;
        }
        let files = folders.finish(&setup.termination_message_path);
        let files = files.map_err(|error| failed(container, &error))?;
        Ok(GuestFiles { keyvalue: Some(self.keyvalue().to_string_lossy().into_owned()), ..files })
    }

    /// The node's file of guests' buckets.
    pub(crate) fn keyvalue(&self) -> PathBuf {
        self.disk.with_file_name(KEYVALUE)
    }

    /// Puts in place what a run of a Linux container needs: its mounts, and the file for its last words.
    pub(crate) fn prepare_linux(
        &self,
        pod: &PodAssignment,
        (container, attempt): (&str, u32),
        setup: &Setup,
    ) -> Result<(Vec<LinuxMount>, Option<String>), MountError> {
        self.note_images(pod, setup)?;
        let placed = self.place_all(pod, container, setup)?;
        // Single files of what is kept off the disk are kept off it, too.
        let is_memory = |volume: &VolumeSetup| volume.source.medium() == Some(Medium::Memory);
        let medium = if setup.volumes.iter().any(is_memory) { Medium::Memory } else { Medium::Disk };
        let dir = self.run_dir(pod, container, medium);
        let group = pod.linux().fs_group.map(|group| group.gid);
        let mut mounts = LinuxMounts::new(&dir, attempt, group).map_err(|error| failed(container, &error))?;
        for mount in &setup.mounts {
            let of = name_of(mount);
            mounts.add(mount, placed.get(of)).map_err(|error| failed(of, &error))?;
        }
        mounts.finish(&setup.termination_message_path).map_err(|error| failed(container, &error))
    }

    /// Writes the files of volumes anew that are in place; the others get them when they are put there.
    pub(crate) fn project(&self, pod: &PodAssignment, volumes: &[VolumeSetup]) {
        for volume in volumes {
            let SourceSetup::Files { files, medium } = &volume.source else { continue };
            let dir = self.files_dir(pod, &volume.name, *medium);
            if !dir.is_dir() {
                continue;
            }
            if let Err(error) = write_files(pod, &dir, files) {
                let (pod, volume) = (&pod.name, &volume.name);
                tracing::warn!(%error, pod, volume, "the files of a volume could not be written anew");
            }
        }
    }

    /// The images that are volumes of pods, also of containers that an earlier agent started.
    pub(crate) fn images(&self) -> BTreeSet<Digest> {
        let pods = fs::read_dir(&self.disk).into_iter().flatten().flatten();
        let notes =
            pods.flat_map(|pod| fs::read_dir(pod.path().join(IMAGES)).into_iter().flatten().flatten());
        let digest =
            |note: fs::DirEntry| format!("sha256:{}", note.file_name().to_string_lossy()).parse().ok();
        notes.filter_map(digest).collect()
    }

    /// Takes note of the images that are volumes of a pod, until it is over: containers may have them when the agent knows it no more.
    fn note_images(&self, pod: &PodAssignment, setup: &Setup) -> Result<(), MountError> {
        for mount in &setup.mounts {
            let PartSetup::Image { digest, .. } = &mount.part else { continue };
            let notes = self.pod_dir(pod, Medium::Disk).join(IMAGES);
            let noted = make_private(&notes).and_then(|()| fs::write(notes.join(digest.hex()), []));
            noted.map_err(|error| failed(name_of(mount), &error))?;
        }
        Ok(())
    }

    /// Removes everything of a pod.
    pub(crate) fn remove(&self, pod: &PodAssignment) {
        for volume in fs::read_dir(self.huge_dir(pod)).into_iter().flatten().flatten() {
            if let Err(error) = huge_pages::unmount(&volume.path()) {
                let dir = volume.path();
                tracing::warn!(%error, dir = %dir.display(), "a volume of large pages could not be given back");
            }
        }
        for medium in [Medium::Disk, Medium::Memory] {
            let dir = self.pod_dir(pod, medium);
            // What a container mounted below its volumes is somebody else's, and stays.
            let left = remove_tree(&dir);
            if let Err(error) = left.into_result() {
                tracing::warn!(%error, dir = %dir.display(), "volumes of a pod could not be removed");
            }
        }
        // The last one leaves no trace in memory; while others are there this fails, as it should.
        self.memory.iter().for_each(|memory| memory::remove_if_empty(memory, parent(&self.disk)));
    }

    /// What the volumes of all pods take.
    pub(crate) fn usage(&self) -> Vec<VolumeUsage> {
        let memory = self.memory.iter().flat_map(|dir| usage::of(dir, Medium::Memory));
        usage::of(&self.disk, Medium::Disk).into_iter().chain(memory).collect()
    }

    /// Puts all volumes of a pod in place.
    fn place_all<'a>(
        &self,
        pod: &PodAssignment,
        container: &str,
        setup: &'a Setup,
    ) -> Result<BTreeMap<&'a str, Placed>, MountError> {
        if setup.volumes.iter().any(|volume| volume.source.medium() == Some(Medium::Memory))
            && let Some(memory) = &self.memory
        {
            memory::make(memory, parent(&self.disk)).map_err(|error| failed(container, &error))?;
        }
        let placed = setup.volumes.iter().map(|volume| Ok((volume.name.as_str(), self.place(pod, volume)?)));
        placed.collect()
    }

    fn place(&self, pod: &PodAssignment, volume: &VolumeSetup) -> Result<Placed, MountError> {
        let placed = match &volume.source {
            SourceSetup::Empty(medium) => {
                let dir = self.pod_dir(pod, *medium).join("empty").join(&volume.name);
                make_empty(pod, &dir).map(|()| Placed::Folder(dir))
            }
            SourceSetup::Huge(page) => {
                let dir = self.huge_dir(pod).join(&volume.name);
                let gid = pod.linux().fs_group.map(|group| group.gid);
                make_private(&dir)
                    .and_then(|()| huge_pages::mount(&dir, *page, gid))
                    .map(|()| Placed::Folder(dir))
            }
            SourceSetup::Host { path, kind } => host_path::place(Path::new(path), *kind),
            SourceSetup::Files { files, medium } => {
                let dir = self.files_dir(pod, &volume.name, *medium);
                make_private(parent(&dir))
                    .and_then(|()| make_readable(&dir))
                    .and_then(|()| write_files(pod, &dir, files))
                    .map(|()| Placed::Folder(dir))
            }
        };
        placed.map_err(|error| failed(&volume.name, &error))
    }

    fn run_dir(&self, pod: &PodAssignment, container: &str, medium: Medium) -> PathBuf {
        self.pod_dir(pod, medium).join("run").join(container)
    }

    fn huge_dir(&self, pod: &PodAssignment) -> PathBuf {
        self.pod_dir(pod, Medium::Disk).join(HUGE)
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

/// The volume that a mount is of, or the path of one that is made for itself.
fn name_of(mount: &MountSetup) -> &str {
    match &mount.part {
        PartSetup::Volume { name, .. } | PartSetup::Image { name, .. } => name,
        PartSetup::File(_) | PartSetup::Folder(_) => &mount.path,
    }
}

fn failed(volume: &str, error: &io::Error) -> MountError {
    MountError { volume: volume.to_owned(), why: error.to_string() }
}

/// An `emptyDir`: everybody in the pod may write to it, whoever its containers run as. Nobody else gets there.
fn make_empty(pod: &PodAssignment, dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    make_private(parent(dir))?;
    // It gets its name when it is as it has to be.
    let new = dir.with_file_name(format!(".{}", dir.file_name().unwrap_or_default().to_string_lossy()));
    make_private(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(EMPTY_DIR_MODE))?;
    if let Some(group) = pod.linux().fs_group {
        group::give(&new, group.gid, Access::ReadWrite)?;
    }
    fs::rename(&new, dir)
}

/// The files of a volume, as the pod's group if it has one.
fn write_files(pod: &PodAssignment, dir: &Path, files: &[File]) -> io::Result<()> {
    atomic::write(dir, files, &|folder| match pod.linux().fs_group {
        Some(group) => group::give(folder, group.gid, Access::ReadOnly),
        None => Ok(()),
    })
}

fn parent(dir: &Path) -> &Path {
    dir.parent().unwrap_or(dir)
}

/// Makes a folder that others may look into, wherever they get there.
fn make_readable(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)
}

/// Makes a folder for its owner only, and those above it. It need not outlast a power cut: neither does the run that it is for.
fn make_private(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Where volumes of large pages are.
const HUGE: &str = "huge";

/// Where it is noted which images are volumes of a pod.
const IMAGES: &str = "images";

/// Of an `emptyDir`, as the kubelet has it.
const EMPTY_DIR_MODE: u32 = 0o777;

#[cfg(test)]
mod tests;
