//! Shims with real containers, by each runtime that is installed. They need to be root; what is missing is said, and skipped.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it skips"
)]

mod chaos;
mod ends;
mod images;
mod kernel;
mod life;
mod limits;
mod machine;
mod memory;
mod pod;
mod security;
mod shared;
mod streams;
mod volumes;
