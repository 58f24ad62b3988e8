//! What is known of pods in the network of plugins, on disk and since the start.

use std::{collections::BTreeMap, io, path::PathBuf};

use dunlin_link::PodUid;

use super::record::{Found, Record, Records};

/// What is known of pods in the network of plugins.
#[derive(Debug)]
pub(super) struct State {
    pub(super) records: Records,
    /// Pods of which plugins say by CHECK that something is wrong, and what.
    pub(super) unwell: BTreeMap<PodUid, String>,
    /// Pods whose records were damaged, and where these are now.
    pub(super) damaged: BTreeMap<PodUid, PathBuf>,
}

impl State {
    /// What is remembered of a pod. What is damaged is set aside, and told from then on.
    pub(super) fn remembered(&mut self, uid: &PodUid) -> io::Result<Option<Record>> {
        match self.records.read(uid)? {
            Found::Nothing => Ok(None),
            Found::Record(record) => Ok(Some(*record)),
            Found::Damaged => {
                self.damaged.insert(uid.clone(), self.records.set_aside(uid)?);
                Ok(None)
            }
        }
    }
}
