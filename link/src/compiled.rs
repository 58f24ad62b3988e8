//! Native code that the coordinator compiled: how a node asks for it, and who vouches for it.
//!
//! A *target* is the text key of a kind of machine; neither side takes it apart. Code is trusted by its [`SignedCompiled`], not by the
//! stream on which it came: a node keeps the record with the code and checks both again after a reboot.

use serde::{Deserialize, Serialize};

use crate::{
    Digest, codec,
    frame::{Kind, Message},
    limits::SIGNED_COMPILED_BYTES_MAX,
};

/// What was compiled, for what, and what came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledRecord {
    /// The module.
    pub module: Digest,
    /// The kind of machine.
    pub target: String,
    /// Of the whole code.
    pub code: Digest,
    /// Its length.
    pub bytes: u64,
}

/// A record and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedCompiled {
    /// What is said.
    pub record: CompiledRecord,
    /// Certificate of the signing key, DER, by the cluster's authority and for code signing.
    pub certificate: Vec<u8>,
    /// Ed25519 over [`CompiledRecord::statement`].
    pub signature: Vec<u8>,
}

/// Asks the coordinator for code. Since version 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledOpen {
    /// Of which module.
    pub module: Digest,
    /// For which kind of machine.
    pub target: String,
    /// What the node has of it already: the code's digest, and how many of its bytes.
    pub held: Option<(Digest, u64)>,
}

/// The coordinator is at it; a [`CompiledAnswer`] or another of these follows. Since version 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiling;

/// What the coordinator answers in the end to [`CompiledOpen`]. Since version 5.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompiledAnswer {
    /// The bytes from the offset follow.
    Found {
        /// What they are.
        signed: SignedCompiled,
        /// The node's, if that was of this code, else zero.
        offset: u64,
    },
    /// Nothing follows.
    Refused {
        /// In a word.
        reason: CompileRefusal,
        /// For a person.
        message: String,
    },
}

/// Why there is no code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CompileRefusal {
    /// The module cannot be compiled, there or elsewhere.
    Module,
    /// The coordinator does not have the module, or no pod of the node names it.
    NotHere,
    /// The coordinator has no compiler for such machines.
    Target,
    /// It failed, and may not the next time.
    Failed,
}

impl CompiledRecord {
    /// The bytes that are signed. They begin with a label, so that no other use of the key can be taken for this one.
    pub fn statement(&self) -> Vec<u8> {
        let mut statement = STATEMENT_LABEL.to_vec();
        statement.extend(codec::encode(self));
        statement
    }
}

impl SignedCompiled {
    /// As it is kept in a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// From such a file; one that is malformed is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > SIGNED_COMPILED_BYTES_MAX {
            return None;
        }
        codec::decode(bytes).ok()
    }
}

impl Message for CompiledOpen {
    const KIND: Kind = Kind(0x0340);
}

impl Message for Compiling {
    const KIND: Kind = Kind(0x0341);
}

impl Message for CompiledAnswer {
    const KIND: Kind = Kind(0x0342);
}

/// Sets a record apart from whatever else such a key may sign.
const STATEMENT_LABEL: &[u8] = b"dunlin compiled code 1\0";
