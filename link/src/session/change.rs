//! Assignment changes as frames: cutting one into parts, and putting it together again.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    PodUid, Revision,
    assignment::AssignmentChange,
    care::PodCare,
    codec,
    ephemeral::{AssignmentEphemeral, PodEphemeral},
    frame::{self, Frame, HEADER_BYTES, Kind, Message},
    limits::{ASSIGNMENT_BYTES_MAX, BATCH_BYTES_SOFT, CONTROL_FRAME_BYTES_MAX},
    linux::PodLinux,
    message::{
        AssignmentBegin, AssignmentCare, AssignmentEnd, AssignmentForget, AssignmentLinux, AssignmentObjects,
        AssignmentPods, AssignmentSealed, AssignmentTombstones, AssignmentVolumes,
    },
    resources::{AssignmentResources, PodResources},
    sealed::Content,
    session::{
        SessionError,
        protocol::Protocol,
        sealer::{Divided, Sealer},
    },
    tokens::{AssignmentTokens, PodTokens},
    volume_images::{AssignmentVolumeImages, PodVolumeImages},
    volumes::PodVolumes,
};

/// The frames that carry `change`, in order.
pub(super) fn split(
    change: AssignmentChange,
    protocol: Protocol,
    sealer: &mut Sealer,
) -> Result<Vec<Vec<u8>>, SessionError> {
    let AssignmentChange {
        restore_generation: _,
        protocol: _,
        base,
        revision,
        upserts,
        tombstones,
        forget,
        objects,
        state_digest,
    } = change;
    let mut frames = vec![frame::encode(&AssignmentBegin { base, revision, state_digest })];
    // Content first: a receiver that looked at parts early would never see a pod without what it names.
    let Divided { clear, sealed } = sealer.divide(objects)?;
    frames.extend(batches(clear).map(|objects| frame::encode(&AssignmentObjects { objects })));
    frames.extend(batches(sealed).map(|objects| frame::encode(&AssignmentSealed { objects })));
    if protocol.sends(AssignmentCare::KIND) {
        let cared = upserts.iter().filter(|(_, pod)| !pod.care.is_default());
        let care = cared.map(|(_, pod)| (pod.uid.clone(), pod.care.clone())).collect();
        frames.extend(batches(care).map(|care| frame::encode(&AssignmentCare { care })));
    }
    if protocol.sends(AssignmentVolumes::KIND) {
        let with_files = upserts.iter().filter(|(_, pod)| !pod.volumes.is_default());
        let volumes = with_files.map(|(_, pod)| (pod.uid.clone(), pod.volumes.clone())).collect();
        frames.extend(batches(volumes).map(|volumes| frame::encode(&AssignmentVolumes { volumes })));
    }
    if protocol.sends(AssignmentLinux::KIND) {
        let told =
            upserts.iter().filter_map(|(_, pod)| Some((pod.uid.clone(), (**pod.linux.as_ref()?).clone())));
        let linux = told.collect();
        frames.extend(batches(linux).map(|linux| frame::encode(&AssignmentLinux { linux })));
    }
    if protocol.sends(AssignmentTokens::KIND) {
        let wanting = upserts.iter().filter(|(_, pod)| !pod.tokens.is_default());
        let tokens = wanting.map(|(_, pod)| (pod.uid.clone(), pod.tokens.clone())).collect();
        frames.extend(batches(tokens).map(|tokens| frame::encode(&AssignmentTokens { tokens })));
    }
    if protocol.sends(AssignmentVolumeImages::KIND) {
        let holding = upserts.iter().filter(|(_, pod)| !pod.volume_images.is_default());
        let images = holding.map(|(_, pod)| (pod.uid.clone(), pod.volume_images.clone())).collect();
        frames.extend(batches(images).map(|images| frame::encode(&AssignmentVolumeImages { images })));
    }
    if protocol.sends(AssignmentEphemeral::KIND) {
        let grown = upserts.iter().filter(|(_, pod)| !pod.ephemeral.is_default());
        let ephemeral = grown.map(|(_, pod)| (pod.uid.clone(), pod.ephemeral.clone())).collect();
        frames.extend(batches(ephemeral).map(|ephemeral| frame::encode(&AssignmentEphemeral { ephemeral })));
    }
    if protocol.sends(AssignmentResources::KIND) {
        let asking = upserts
            .iter()
            .filter_map(|(_, pod)| Some((pod.uid.clone(), (**pod.resources.as_ref()?).clone())));
        let resources = asking.collect();
        frames.extend(batches(resources).map(|resources| frame::encode(&AssignmentResources { resources })));
    }
    frames.extend(batches(upserts).map(|upserts| frame::encode(&AssignmentPods { upserts })));
    frames.extend(batches(tombstones).map(|tombstones| frame::encode(&AssignmentTombstones { tombstones })));
    frames.extend(batches(forget).map(|uids| frame::encode(&AssignmentForget { uids })));
    frames.push(frame::encode(&AssignmentEnd { revision }));
    let total: usize = frames.iter().map(Vec::len).sum();
    let largest = frames.iter().map(Vec::len).max().unwrap_or(0);
    if total > ASSIGNMENT_BYTES_MAX || largest > CONTROL_FRAME_BYTES_MAX + HEADER_BYTES {
        return Err(SessionError::ChangeTooLarge(revision));
    }
    Ok(frames)
}

/// Groups items so that each group but one of a single large item stays near the soft bound.
pub(super) fn batches<T: Serialize>(items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut items = items.into_iter().peekable();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(item) = items.peek() {
            bytes += codec::encode(item).len();
            if bytes > BATCH_BYTES_SOFT && !batch.is_empty() {
                break;
            }
            batch.extend(items.next());
        }
        (!batch.is_empty()).then_some(batch)
    })
}

/// Puts the parts of changes together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    change: Option<AssignmentChange>,
    /// Of pods that are still to come.
    care: BTreeMap<PodUid, PodCare>,
    /// Likewise.
    volumes: BTreeMap<PodUid, PodVolumes>,
    /// Likewise.
    linux: BTreeMap<PodUid, PodLinux>,
    /// Likewise.
    tokens: BTreeMap<PodUid, PodTokens>,
    /// Likewise.
    volume_images: BTreeMap<PodUid, PodVolumeImages>,
    /// Likewise.
    ephemeral: BTreeMap<PodUid, PodEphemeral>,
    /// Likewise.
    resources: BTreeMap<PodUid, PodResources>,
    bytes: usize,
}

impl Assembler {
    /// Whether frames of this kind are parts of changes.
    pub(super) const fn takes(kind: Kind) -> bool {
        kind.0 >= AssignmentBegin::KIND.0 && kind.0 <= AssignmentEnd::KIND.0
            || kind.0 == AssignmentSealed::KIND.0
            || kind.0 == AssignmentCare::KIND.0
            || kind.0 == AssignmentVolumes::KIND.0
            || kind.0 == AssignmentLinux::KIND.0
            || kind.0 == AssignmentTokens::KIND.0
            || kind.0 == AssignmentVolumeImages::KIND.0
            || kind.0 == AssignmentEphemeral::KIND.0
            || kind.0 == AssignmentResources::KIND.0
    }

    /// Takes one part; answers the change that it completes.
    pub(super) fn handle(&mut self, frame: &Frame) -> Result<Option<AssignmentChange>, SessionError> {
        if frame.kind == AssignmentBegin::KIND {
            self.begin(frame.decode()?)?;
        }
        let change = self.change.as_mut().ok_or(SessionError::Change("a part without a beginning"))?;
        self.bytes += HEADER_BYTES + frame.body.len();
        if self.bytes > ASSIGNMENT_BYTES_MAX {
            return Err(SessionError::ChangeTooLarge(change.revision));
        }
        match frame.kind {
            AssignmentPods::KIND => {
                let upserts = frame.decode::<AssignmentPods>()?.upserts.into_iter();
                change.upserts.extend(upserts.map(|(revision, mut pod)| {
                    pod.care = self.care.remove(&pod.uid).unwrap_or_default();
                    pod.volumes = self.volumes.remove(&pod.uid).unwrap_or_default();
                    pod.linux = self.linux.remove(&pod.uid).map(Box::new);
                    pod.tokens = self.tokens.remove(&pod.uid).unwrap_or_default();
                    pod.volume_images = self.volume_images.remove(&pod.uid).unwrap_or_default();
                    pod.ephemeral = self.ephemeral.remove(&pod.uid).unwrap_or_default();
                    pod.resources = self.resources.remove(&pod.uid).map(Box::new);
                    (revision, pod)
                }));
            }
            AssignmentCare::KIND => self.care.extend(frame.decode::<AssignmentCare>()?.care),
            AssignmentVolumes::KIND => self.volumes.extend(frame.decode::<AssignmentVolumes>()?.volumes),
            AssignmentLinux::KIND => self.linux.extend(frame.decode::<AssignmentLinux>()?.linux),
            AssignmentTokens::KIND => self.tokens.extend(frame.decode::<AssignmentTokens>()?.tokens),
            AssignmentVolumeImages::KIND => {
                self.volume_images.extend(frame.decode::<AssignmentVolumeImages>()?.images);
            }
            AssignmentEphemeral::KIND => {
                self.ephemeral.extend(frame.decode::<AssignmentEphemeral>()?.ephemeral);
            }
            AssignmentResources::KIND => {
                self.resources.extend(frame.decode::<AssignmentResources>()?.resources);
            }
            AssignmentTombstones::KIND => {
                change.tombstones.extend(frame.decode::<AssignmentTombstones>()?.tombstones);
            }
            AssignmentForget::KIND => change.forget.extend(frame.decode::<AssignmentForget>()?.uids),
            AssignmentObjects::KIND => {
                let objects = frame.decode::<AssignmentObjects>()?.objects.into_iter();
                change.objects.extend(objects.map(|(id, object)| (id, object.into())));
            }
            AssignmentSealed::KIND => {
                let objects = frame.decode::<AssignmentSealed>()?.objects.into_iter();
                change.objects.extend(objects.map(|(id, sealed)| (id, Content::Sealed(sealed.into()))));
            }
            AssignmentEnd::KIND => {
                let AssignmentEnd { revision } = frame.decode()?;
                return self.end(revision).map(Some);
            }
            _ => {}
        }
        Ok(None)
    }

    fn begin(&mut self, begin: AssignmentBegin) -> Result<(), SessionError> {
        if self.change.is_some() {
            return Err(SessionError::Change("a beginning inside another change"));
        }
        if begin.base.is_some_and(|base| base > begin.revision) {
            return Err(SessionError::Change("a delta to a revision below its base"));
        }
        self.bytes = 0;
        self.care.clear();
        self.volumes.clear();
        self.linux.clear();
        self.tokens.clear();
        self.volume_images.clear();
        self.ephemeral.clear();
        self.resources.clear();
        self.change = Some(AssignmentChange {
            restore_generation: 0,
            protocol: 0,
            base: begin.base,
            revision: begin.revision,
            upserts: Vec::new(),
            tombstones: Vec::new(),
            forget: Vec::new(),
            objects: Vec::new(),
            state_digest: begin.state_digest,
        });
        Ok(())
    }

    fn end(&mut self, revision: Revision) -> Result<AssignmentChange, SessionError> {
        match self.change.take() {
            Some(change) if change.revision == revision => Ok(change),
            _ => Err(SessionError::Change("an end of another change")),
        }
    }
}
