//! The crate's only unsafe code: mapping an artifact as native code.
//!
//! wasmtime offers no safe way, since it runs what the file says without looking at it again. What makes it sound is outside any
//! one function: the caller of [`crate::Host::load`] hands over only files that [`crate::compile`] made, in a folder that nobody
//! else can write.

#![expect(unsafe_code, reason = "artifacts are native code, which wasmtime maps by unsafe functions only")]

use std::path::Path;

use wasmtime::{Engine, Module, component::Component};

/// Maps a core module's artifact.
pub(crate) fn map_module(engine: &Engine, artifact: &Path) -> wasmtime::Result<Module> {
    // SAFETY: by the contract of `Host::load` the file is the unchanged output of `compile` and is never written again.
    unsafe { Module::deserialize_file(engine, artifact) }
}

/// Maps a component's artifact.
pub(crate) fn map_component(engine: &Engine, artifact: &Path) -> wasmtime::Result<Component> {
    // SAFETY: as in `map_module`.
    unsafe { Component::deserialize_file(engine, artifact) }
}
