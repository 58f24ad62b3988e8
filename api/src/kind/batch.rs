//! Kinds of the group `batch`.

mod cron_job;
mod indexes;
mod job;

use super::Kind;

/// Kinds of this group, in the order of discovery.
pub(super) static KINDS: &[&Kind] = &[&cron_job::KIND, &job::KIND];
