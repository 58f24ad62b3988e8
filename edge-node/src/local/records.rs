//! How records are stored: a kind, then an encoding. The records themselves are values of the node's core.

use dunlin_edge_node_core::{
    content::Seal,
    memory::{Failure, PodMemory},
    node::PodRecord,
};
use dunlin_link::{
    Digest,
    care::PodCare,
    codec,
    ephemeral::PodEphemeral,
    linux::PodLinux,
    pod::{ConfigKind, ConfigObject, PodAssignment},
    sealed::{Content, Sealed},
    tokens::PodTokens,
    volume_images::PodVolumeImages,
    volumes::PodVolumes,
};
use serde::{Serialize, de::DeserializeOwned};

/// A value that is not a record of the wanted kind.
#[derive(Debug, thiserror::Error)]
#[error("malformed record `{key}` in table `{table}` (kind {kind:?})")]
pub struct MalformedRecord {
    table: &'static str,
    key: String,
    kind: Option<u8>,
}

/// The value of a record: its kind, then its encoding.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    encode_as(KIND, record)
}

/// The value of content. A Secret that came in clear is sealed first, to the node's own key.
pub(super) fn encode_content(id: &Digest, content: &Content, seal: &Seal) -> Vec<u8> {
    match content {
        Content::Sealed(sealed) => encode_as(KIND_SEALED, &**sealed),
        Content::Clear(object) if object.kind == ConfigKind::ConfigMap => encode(&**object),
        Content::Clear(object) => {
            let sealed = seal.key.public().seal(object, id, &seal.place, &mut rand::rng());
            encode_as(KIND_SEALED, &sealed.expect("a key of our own making can be sealed to"))
        }
    }
}

/// The content of a value.
pub(super) fn decode_content(
    table: &'static str,
    key: &str,
    value: &[u8],
) -> Result<Content, MalformedRecord> {
    match value.split_first() {
        Some((&KIND_SEALED, body)) => {
            let malformed = |_| MalformedRecord { table, key: key.to_owned(), kind: Some(KIND_SEALED) };
            Ok(Content::Sealed(codec::decode::<Sealed>(body).map_err(malformed)?.into()))
        }
        _ => Ok(decode::<ConfigObject>(table, key, value)?.into()),
    }
}

/// The value of a pod. It is of the first kind that has room for what there is to say, so that earlier versions can read it.
pub(super) fn encode_pod(record: &PodRecord) -> Vec<u8> {
    let PodAssignment { care, volumes, linux, tokens, volume_images, ephemeral, resources, .. } =
        &record.assignment;
    if let Some(resources) = resources {
        let all = (record, care, volumes, linux, tokens, volume_images, ephemeral, resources);
        encode_as(KIND_WITH_RESOURCES, &all)
    } else if !ephemeral.is_default() {
        encode_as(KIND_WITH_EPHEMERAL, &(record, care, volumes, linux, tokens, volume_images, ephemeral))
    } else if !volume_images.is_default() {
        encode_as(KIND_WITH_VOLUME_IMAGES, &(record, care, volumes, linux, tokens, volume_images))
    } else if !tokens.is_default() {
        encode_as(KIND_WITH_TOKENS, &(record, care, volumes, linux, tokens))
    } else if let Some(linux) = linux {
        encode_as(KIND_WITH_LINUX, &(record, care, volumes, linux))
    } else if !volumes.is_default() {
        encode_as(KIND_WITH_FILES, &(record, care, volumes))
    } else if care.is_default() {
        encode(record)
    } else {
        encode_as(KIND_WITH_MORE, &(record, care))
    }
}

/// The pod of a value.
pub(super) fn decode_pod(table: &'static str, key: &str, value: &[u8]) -> Result<PodRecord, MalformedRecord> {
    let malformed = |_| MalformedRecord { table, key: key.to_owned(), kind: value.first().copied() };
    let (mut linux, mut tokens, mut volume_images) = (None, PodTokens::default(), PodVolumeImages::default());
    let (mut ephemeral, mut resources) = (PodEphemeral::default(), None);
    let (mut record, care, volumes): (PodRecord, PodCare, PodVolumes) = match value.split_first() {
        Some((&KIND_WITH_RESOURCES, body)) => {
            let (record, care, volumes, said);
            (record, care, volumes, linux, tokens, volume_images, ephemeral, said) =
                codec::decode(body).map_err(malformed)?;
            resources = Some(said);
            (record, care, volumes)
        }
        Some((&KIND_WITH_EPHEMERAL, body)) => {
            let (record, care, volumes, told, wanted, images, added): (
                _,
                _,
                _,
                Option<Box<PodLinux>>,
                _,
                _,
                _,
            ) = codec::decode(body).map_err(malformed)?;
            (linux, tokens, volume_images, ephemeral) = (told, wanted, images, added);
            (record, care, volumes)
        }
        Some((&KIND_WITH_VOLUME_IMAGES, body)) => {
            let (record, care, volumes, told, wanted, images): (_, _, _, Option<Box<PodLinux>>, _, _) =
                codec::decode(body).map_err(malformed)?;
            (linux, tokens, volume_images) = (told, wanted, images);
            (record, care, volumes)
        }
        Some((&KIND_WITH_TOKENS, body)) => {
            let (record, care, volumes, told, wanted): (_, _, _, Option<Box<PodLinux>>, _) =
                codec::decode(body).map_err(malformed)?;
            (linux, tokens) = (told, wanted);
            (record, care, volumes)
        }
        Some((&KIND_WITH_LINUX, body)) => {
            let (record, care, volumes, told): (_, _, _, Box<PodLinux>) =
                codec::decode(body).map_err(malformed)?;
            linux = Some(told);
            (record, care, volumes)
        }
        Some((&KIND_WITH_FILES, body)) => codec::decode(body).map_err(malformed)?,
        Some((&KIND_WITH_MORE, body)) => {
            let (record, care) = codec::decode(body).map_err(malformed)?;
            (record, care, PodVolumes::default())
        }
        _ => return decode(table, key, value),
    };
    record.assignment.care = care;
    record.assignment.volumes = volumes;
    record.assignment.linux = linux;
    record.assignment.tokens = tokens;
    record.assignment.volume_images = volume_images;
    record.assignment.ephemeral = ephemeral;
    record.assignment.resources = resources;
    Ok(record)
}

/// The value of a memory. That of a pod which the node did not make fail is of the first kind, which every version can read.
pub(super) fn encode_memory(memory: &PodMemory) -> Vec<u8> {
    match &memory.failure {
        None => encode(memory),
        Some(failure) => encode_as(KIND_WITH_MORE, &(memory, failure)),
    }
}

/// The memory of a value.
pub(super) fn decode_memory(
    table: &'static str,
    key: &str,
    value: &[u8],
) -> Result<PodMemory, MalformedRecord> {
    let Some((&KIND_WITH_MORE, body)) = value.split_first() else { return decode(table, key, value) };
    let malformed = |_| MalformedRecord { table, key: key.to_owned(), kind: Some(KIND_WITH_MORE) };
    let (memory, failure): (PodMemory, Failure) = codec::decode(body).map_err(malformed)?;
    Ok(PodMemory { failure: Some(failure), ..memory })
}

fn encode_as<T: Serialize>(kind: u8, record: &T) -> Vec<u8> {
    let mut value = vec![kind];
    value.extend(codec::encode(record));
    value
}

/// The record of a value.
pub(super) fn decode<T: DeserializeOwned>(
    table: &'static str,
    key: &str,
    value: &[u8],
) -> Result<T, MalformedRecord> {
    let malformed = || MalformedRecord { table, key: key.to_owned(), kind: value.first().copied() };
    match value.split_first() {
        Some((&KIND, body)) => codec::decode(body).map_err(|_| malformed()),
        _ => Err(malformed()),
    }
}

/// The first kind of every table.
const KIND: u8 = 1;

/// A record with a second one after it: a pod with its care, a memory with its failure.
const KIND_WITH_MORE: u8 = 2;

/// A pod with its care and its volumes.
const KIND_WITH_FILES: u8 = 3;

/// A pod with its care, its volumes, and what its Linux containers are told.
const KIND_WITH_LINUX: u8 = 4;

/// A pod with its care, its volumes, what its Linux containers are told if anything is, and its tokens.
const KIND_WITH_TOKENS: u8 = 5;

/// The same, and what its volumes hold of the coordinator's images.
const KIND_WITH_VOLUME_IMAGES: u8 = 6;

/// The same, and what was added to it.
const KIND_WITH_EPHEMERAL: u8 = 7;
/// The same, and what it says of resources.
const KIND_WITH_RESOURCES: u8 = 8;

/// Sealed content; Secrets were of the first kind once.
const KIND_SEALED: u8 = 2;

#[cfg(test)]
mod tests {
    use dunlin_edge_node_core::memory::End;
    use dunlin_link::{Revision, UnixMillis, volumes::ContainerFiles};

    use super::*;
    use crate::sample;

    fn record(care: PodCare, volumes: PodVolumes, linux: Option<Box<PodLinux>>) -> PodRecord {
        let assignment = PodAssignment { care, volumes, linux, ..sample::pod() };
        PodRecord {
            revision: Some(Revision(3)),
            assignment,
            slot: Some(1),
            start_time: UnixMillis(5),
            refusal: None,
        }
    }

    #[test]
    fn what_is_stored_beside_a_record_comes_back_with_it() {
        let cared = || PodCare { priority: 7, ..PodCare::default() };
        let files =
            ContainerFiles { termination_message_path: Some("/t".to_owned()), ..ContainerFiles::default() };
        let volumes = || PodVolumes { containers: vec![files.clone()], ..PodVolumes::default() };
        let plain = || None;
        let aliased = || Some(Box::new(PodLinux { subdomain: "s".to_owned(), ..PodLinux::default() }));
        for (care, volumes, linux, kind) in [
            (PodCare::default(), PodVolumes::default(), plain(), KIND),
            (cared(), PodVolumes::default(), plain(), KIND_WITH_MORE),
            (cared(), volumes(), plain(), KIND_WITH_FILES),
            (PodCare::default(), volumes(), plain(), KIND_WITH_FILES),
            (PodCare::default(), PodVolumes::default(), aliased(), KIND_WITH_LINUX),
            (cared(), volumes(), aliased(), KIND_WITH_LINUX),
        ] {
            let record = record(care, volumes, linux);
            let value = encode_pod(&record);
            assert_eq!(value[0], kind, "earlier versions read what holds nothing new");
            assert_eq!(decode_pod("pods", "u", &value).unwrap(), record);
        }
        for linux in [plain(), aliased()] {
            let mut record = record(cared(), volumes(), linux);
            record.assignment.tokens = sample::tokens();
            let value = encode_pod(&record);
            assert_eq!(value[0], KIND_WITH_TOKENS);
            assert_eq!(decode_pod("pods", "u", &value).unwrap(), record);
            record.assignment.volume_images = sample::volume_images();
            let value = encode_pod(&record);
            assert_eq!(value[0], KIND_WITH_VOLUME_IMAGES);
            assert_eq!(decode_pod("pods", "u", &value).unwrap(), record);
            record.assignment.ephemeral = sample::ephemeral();
            let value = encode_pod(&record);
            assert_eq!(value[0], KIND_WITH_EPHEMERAL);
            assert_eq!(decode_pod("pods", "u", &value).unwrap(), record);
            record.assignment.resources = Some(Box::new(sample::resources()));
            let value = encode_pod(&record);
            assert_eq!(value[0], KIND_WITH_RESOURCES);
            assert_eq!(decode_pod("pods", "u", &value).unwrap(), record);
        }
        let failure = Failure { reason: "Evicted".to_owned(), message: "m".to_owned() };
        for failure in [None, Some(failure)] {
            let is_plain = failure.is_none();
            let memory = PodMemory { end: Some(End::Finished), failure, ..PodMemory::default() };
            let value = encode_memory(&memory);
            assert_eq!(value[0] == KIND, is_plain);
            assert_eq!(decode_memory("memories", "u", &value).unwrap(), memory);
        }
        assert!(decode_pod("pods", "u", &[KIND_WITH_MORE, 1]).is_err());
        assert!(decode_memory("memories", "u", &[9]).is_err());
    }
}
