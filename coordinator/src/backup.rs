//! Backups of a cluster: all of its state in one file, and going on from one.

mod generation;

pub use self::generation::GenerationError;
pub(crate) use self::generation::last_restore;
