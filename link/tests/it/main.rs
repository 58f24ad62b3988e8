//! Tests of the link through its public interface: the two machines over a bad pipe, golden bytes, and hostile bytes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod care;
mod every_kind;
mod full;
mod golden;
mod hostile;
mod memory;
mod pipe;
mod restore;
mod samples;
mod sealed;
mod statics;
mod tampered;
mod version_one;
