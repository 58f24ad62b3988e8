//! How containers' logs are written: the CRI format, `TIME stdout|stderr F|P TEXT`, a line each, in files that are rotated.
//!
//! Both kinds of sandbox write them so, the runner of WASM and the shims of Linux containers; the agent reads them.

#![forbid(unsafe_code)]

mod file;
mod format;

pub use self::{
    file::{LogBounds, LogFile},
    format::{Lines, Stream},
};
