//! From volumes and mounts as they are declared to what has to be put in place.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use dunlin_link::{
    Digest,
    linux::ImageMount,
    pod::{Container, PodAssignment},
    volumes::{
        Access, ContainerFiles, Projection, TERMINATION_MESSAGE_PATH, Volume, VolumePart, VolumeSource,
    },
};

use super::{
    File, Medium, MountError, MountSetup, PartSetup, Setup, SetupError, SourceSetup, VolumeSetup, huge,
    is_safe_relative, project,
};
use crate::{
    env::{self, ConfigError, Surroundings, expand::expand},
    pod::ContainerIndex,
};

/// What has to be in place for a container of the pod.
///
/// # Errors
/// When a volume has no content, or a mount no place.
pub fn setup(
    assignment: &PodAssignment,
    (index, container): (ContainerIndex, &Container),
    around: &Surroundings<'_>,
) -> Result<Setup, SetupError> {
    let declared = &assignment.volumes;
    let volumes: Vec<VolumeSetup> = declared
        .volumes
        .iter()
        .map(|volume| volume_setup(assignment, volume, around))
        .collect::<Result<_, _>>()?;
    let none = ContainerFiles::default();
    let files = assignment.files_of(index.0).unwrap_or(&none);
    let mounts = files.mounts.iter().map(|mount| {
        let failed = |why: String| MountError { volume: mount.volume.clone(), why };
        if let Some(field) = unserved(container, &mount.volume) {
            return Err(failed(format!("nodes do not mount volumes of this kind yet: {field}")).into());
        }
        let inside = inside(assignment, container, &mount.part, around)?;
        let volume = volumes.iter().find(|volume| volume.name == mount.volume);
        let volume = volume.ok_or_else(|| failed("no such volume".to_owned()))?;
        let access = match volume.source {
            // What the node writes nobody else changes.
            SourceSetup::Files { .. } => Access::ReadOnly,
            SourceSetup::Empty(_) | SourceSetup::Huge(_) | SourceSetup::Host { .. } => mount.access,
        };
        let medium = volume.source.medium().unwrap_or(Medium::Disk);
        let part = part(volume, inside).map_err(failed)?;
        Ok(MountSetup { path: guest_path(&mount.path), part, access, medium })
    });
    let mounts = mounts.collect::<Result<_, SetupError>>()?;
    let path = files.termination_message_path.as_deref().unwrap_or(TERMINATION_MESSAGE_PATH);
    Ok(Setup { volumes, mounts, termination_message_path: guest_path(path) })
}

/// What a container sees of images that are volumes; `images` says what these are, by volume.
///
/// # Errors
/// When one of them is not known, or a mount has no place.
pub fn image_mounts(
    assignment: &PodAssignment,
    (index, container): (ContainerIndex, &Container),
    images: &BTreeMap<String, Digest>,
    around: &Surroundings<'_>,
) -> Result<Vec<MountSetup>, SetupError> {
    let mounts = assignment.linux_of(index.0).map(|says| &says.images);
    let mount = |mount: &ImageMount| {
        let failed = |why: String| MountError { volume: mount.volume.clone(), why };
        let inside = inside(assignment, container, &mount.part, around)?;
        let digest = images.get(&mount.volume);
        let digest = *digest.ok_or_else(|| failed("its image is not here".to_owned()))?;
        let part = PartSetup::Image { name: mount.volume.clone(), digest, layers: Vec::new(), inside };
        let (access, medium) = (Access::ReadOnly, Medium::Disk);
        Ok(MountSetup { path: guest_path(&mount.path), part, access, medium })
    };
    mounts.into_iter().flatten().map(mount).collect()
}

/// The volumes of a pod whose files the node keeps in step with what they are made of. One that has no content now keeps what it has.
pub fn projected_volumes(assignment: &PodAssignment, around: &Surroundings<'_>) -> Vec<VolumeSetup> {
    let projected = assignment
        .volumes
        .volumes
        .iter()
        .filter(|volume| matches!(volume.source, VolumeSource::Projected { .. }));
    projected.filter_map(|volume| volume_setup(assignment, volume, around).ok()).collect()
}

fn volume_setup(
    assignment: &PodAssignment,
    volume: &Volume,
    around: &Surroundings<'_>,
) -> Result<VolumeSetup, MountError> {
    let failed = |why| MountError { volume: volume.name.clone(), why };
    let source = match &volume.source {
        VolumeSource::EmptyDir { medium, .. } => match huge::page(assignment, &volume.name) {
            Some(page) => SourceSetup::Huge(page.map_err(failed)?),
            None => SourceSetup::Empty(*medium),
        },
        VolumeSource::HostPath { path, kind } => {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(failed(format!("hostPath {path} is not an absolute path without `..`")));
            }
            SourceSetup::Host { path: path.clone(), kind: *kind }
        }
        VolumeSource::Projected { default_mode, sources } => {
            let files =
                project::files(assignment, volume, (*default_mode, sources), around).map_err(failed)?;
            let holds_tokens = assignment.tokens.of(&volume.name).next().is_some();
            let medium = if holds_tokens { Medium::Memory } else { medium(sources) };
            SourceSetup::Files { files, medium }
        }
    };
    // Names are made file names, which the API lets be nothing else.
    if !is_safe_relative(&volume.name) || volume.name.contains('/') {
        return Err(failed("its name is no file name".to_owned()));
    }
    Ok(VolumeSetup { name: volume.name.clone(), source })
}

/// The field by which a volume is of a kind that nodes do not serve.
fn unserved<'a>(container: &'a Container, volume: &str) -> Option<&'a str> {
    let of_volume =
        |field: &'a String| field.strip_prefix("volumes[")?.strip_prefix(volume)?.strip_prefix("].");
    container.refused_fields.iter().find_map(of_volume)
}

/// What comes from a Secret is kept off the disk.
fn medium(sources: &[Projection]) -> Medium {
    let is_secret = |source: &Projection| {
        matches!(source, Projection::Config { kind: dunlin_link::pod::ConfigKind::Secret, .. })
    };
    if sources.iter().any(is_secret) { Medium::Memory } else { Medium::Disk }
}

/// What of its volume a mount is of, relative; empty for all of it.
fn inside(
    assignment: &PodAssignment,
    container: &Container,
    part: &VolumePart,
    around: &Surroundings<'_>,
) -> Result<String, ConfigError> {
    let path = match part {
        VolumePart::Whole => return Ok(String::new()),
        VolumePart::Path(path) => path.clone(),
        VolumePart::Expression(expression) => {
            let env = env::resolve(assignment, container, around)?;
            let missing = RefCell::new(BTreeSet::new());
            let value = |name: &str| {
                let found = env.iter().find(|(known, value)| known == name && !value.is_empty());
                if found.is_none() {
                    missing.borrow_mut().insert(name.to_owned());
                }
                found.map(|(_, value)| value.as_str())
            };
            let path = expand(expression, value);
            let missing: Vec<_> = missing.into_inner().into_iter().collect();
            if !missing.is_empty() {
                return Err(ConfigError::ValueMissing(missing));
            }
            path
        }
    };
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let clean = parts.join("/");
    if path.starts_with('/') {
        return Err(ConfigError::SubPath(format!("subPath \"{path}\" must not be an absolute path")));
    }
    if clean.is_empty() || is_safe_relative(&clean) {
        return Ok(clean);
    }
    Err(ConfigError::SubPath(format!("subPath \"{path}\" must not contain '..'")))
}

/// Of files that the node writes, a part is those files as they are: a part of a folder that is replaced as a whole would be left behind.
fn part(volume: &VolumeSetup, inside: String) -> Result<PartSetup, String> {
    let SourceSetup::Files { files, .. } = &volume.source else {
        return Ok(PartSetup::Volume { name: volume.name.clone(), inside });
    };
    if inside.is_empty() {
        return Ok(PartSetup::Volume { name: volume.name.clone(), inside });
    }
    if let Some(file) = files.iter().find(|file| file.path == inside) {
        return Ok(PartSetup::File(file.clone()));
    }
    let below = files.iter().filter_map(|file| {
        let path = file.path.strip_prefix(&inside)?.strip_prefix('/')?;
        Some(File { path: path.to_owned(), ..file.clone() })
    });
    let below: Vec<_> = below.collect();
    if below.is_empty() {
        return Err(format!("subPath \"{inside}\" is not in the volume"));
    }
    Ok(PartSetup::Folder(below))
}

/// A path in a container: absolute, and without anything that says the same in other words.
fn guest_path(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}
