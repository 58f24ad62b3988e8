//! The cluster that a restore takes the place of: whom it let in, so that the restored one lets nobody in whom it refused.

use std::{fs, path::Path};

use super::restore::{AUTHORITY, RestoreError};
use crate::{
    store::{OpenError, read_stopped},
    tokens::Admission,
};

/// The cluster that is in the folder, as far as it can be read: it may be what the backup is needed for.
#[derive(Debug, Default)]
pub(super) struct Predecessor {
    /// Whom it let in.
    admission: Option<Admission>,
    /// Why that is not known.
    pub(super) unread: Option<OpenError>,
    /// The file of its authority.
    authority: Vec<u8>,
}

impl Predecessor {
    pub(super) fn read(folder: &Path) -> Result<Self, RestoreError> {
        match read_stopped(&folder.join("store"), &Admission::PREFIXES) {
            Ok(values) => {
                let mut admission = Admission::default();
                // One that cannot be read let nobody in.
                values.into_iter().for_each(|value| drop(admission.take(value)));
                // Without its authority it is not known to be the same cluster.
                let authority = fs::read(folder.join(AUTHORITY)).unwrap_or_default();
                Ok(Self { admission: Some(admission), unread: None, authority })
            }
            Err(OpenError::InUse { .. }) => Err(RestoreError::InUse(folder.to_owned())),
            Err(error) => Ok(Self { unread: Some(error), ..Self::default() }),
        }
    }

    /// Whom it let in, if it is the cluster whose authority was built.
    pub(super) fn admission(&self, building: &Path) -> Option<&Admission> {
        let is_same = fs::read(building.join(AUTHORITY)).is_ok_and(|built| built == self.authority);
        self.admission.as_ref().filter(|_| is_same)
    }
}
