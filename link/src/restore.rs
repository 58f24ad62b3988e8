//! The record of a restore: how a cluster that was brought back from a backup makes its nodes accept an older state.
//!
//! Revisions order as (restore generation, revision). A node takes a higher generation only with a record that the cluster's
//! authority has signed, so that neither an old disk nor a foreign machine can take a fleet back in time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Revision, UnixMillis, codec, message::Extension};

/// That, and from when, a cluster goes on from a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// Which cluster.
    pub cluster_id: String,
    /// How often it has been restored, this time included.
    pub generation: u64,
    /// The revision that the restored cluster starts at, above all of the backup.
    pub revision: Revision,
    /// When, by the clock of the machine that restored it.
    pub restored_at: UnixMillis,
}

/// A record and the authority's signature over [`RestoreRecord::statement`]; tag 1 of a Welcome's extensions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRestore {
    /// What is said.
    pub record: RestoreRecord,
    /// ECDSA P-256 with SHA-256, in ASN.1 DER.
    pub signature: Vec<u8>,
}

/// Knows the cluster's authority: the node's pinned certificate, or a simulated one.
pub trait RestoreAuthority: fmt::Debug + Send + Sync {
    /// Whether the authority signed this statement.
    fn has_signed(&self, statement: &[u8], signature: &[u8]) -> bool;
}

impl RestoreRecord {
    /// The bytes that are signed. They begin with a label, so that no other use of the authority's key can be taken for one.
    pub fn statement(&self) -> Vec<u8> {
        let mut statement = STATEMENT_LABEL.to_vec();
        statement.extend(codec::encode(self));
        statement
    }
}

impl SignedRestore {
    /// The record among the extensions of a Welcome; one that is malformed is none.
    pub fn find(extensions: &[Extension]) -> Option<Self> {
        let extension = extensions.iter().find(|extension| extension.tag == RESTORE_EXTENSION)?;
        if extension.bytes.len() > RESTORE_BYTES_MAX {
            return None;
        }
        codec::decode(&extension.bytes).ok()
    }

    /// The extension of a Welcome that holds it.
    pub fn to_extension(&self) -> Extension {
        Extension { tag: RESTORE_EXTENSION, bytes: codec::encode(self) }
    }
}

/// Tag of the record among the extensions of a Welcome.
pub const RESTORE_EXTENSION: u16 = 1;

/// Far above a cluster id of 36 letters, three numbers and a signature of 72 bytes.
const RESTORE_BYTES_MAX: usize = 1024;

/// Sets a record apart from everything else that the authority's key signs, certificates above all.
const STATEMENT_LABEL: &[u8] = b"dunlin restore record 1\0";
