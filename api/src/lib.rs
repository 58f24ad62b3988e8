//! Kubernetes objects as values: the schema table, kinds, defaulting, validation, selectors, quantities, patches and Status.
//!
//! Pure: JSON values in, JSON values or a [`Status`] out. Stores, sockets and clocks are elsewhere.

#![forbid(unsafe_code)]

pub mod schema;

pub mod admission;
pub mod kind;
pub mod pipeline;

pub mod decode;
pub mod managed;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod table;

pub mod base64;
pub mod field;
pub mod ip;
pub mod quantity;
pub mod schedule;
pub mod selector;
pub mod status;
pub mod time;
pub mod yaml;

mod conform;
mod meta;
mod names;
mod time_zone;
mod value;

pub use kind::Kind;
pub use quantity::Quantity;
pub use selector::{FieldSelector, LabelSelector};
pub use status::Status;
