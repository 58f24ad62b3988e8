//! Layers of images on a node: unpacked once, verified, and shared by every container that has them.
//!
//! What is in an archive is written by nobody whom the node trusts. Nothing of it reaches anything outside the layer's own folder,
//! whatever its names and links say: the kernel resolves each path with that folder as root. `docs/design/oci.md`.

#![forbid(unsafe_code)]

mod merge;
mod recipe;
mod remove;
mod store;
mod unpack;

pub use self::{
    merge::merge,
    recipe::LayerArchive,
    remove::{Left, remove_tree, remove_tree_in},
    store::{Layers, Retired, StoreError},
    unpack::{
        Bounds, Compression, UnpackError, Unpacked,
        entry::{Entries, Entry, Kind},
        unpack,
    },
};
