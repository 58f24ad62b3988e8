//! Kubernetes objects as values: the schema table, kinds, defaulting, validation, selectors, quantities, patches and Status.
//!
//! Pure: JSON values in, JSON values or a [`Status`] out. Stores, sockets and clocks are elsewhere.

pub mod kind;
pub mod pipeline;
pub mod selector;
pub mod status;

pub use kind::Kind;
pub use status::Status;
