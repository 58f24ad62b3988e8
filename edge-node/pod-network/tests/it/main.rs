//! The network of a node's pods, on machines that are network namespaces of their own. As root; skipped otherwise.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

mod attach;
mod filter;
mod guard;
mod leave;
mod machine;
mod plugins;
mod space;
mod talk;
mod traces;
