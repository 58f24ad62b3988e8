//! The built binary as a user meets it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod link;
mod offline;
