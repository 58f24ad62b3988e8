//! OpenAPI documents, made from the kinds that are served and the schema table.
//!
//! A document is never whole in memory: [`Document`] is an iterator over its bytes in parts, a path or a definition each, so that
//! one of any size is hashed or sent within a bound. Version 3 has a document for every group's version ([`Topic`]); version 2 has
//! one for everything, as JSON or as the protobuf message of gnostic that Go clients ask for. Descriptions are no part of the table;
//! whoever has them hands them in ([`Descriptions`]).

mod document;
mod topic;

mod paths;

mod item;
mod operation;

mod naming;
mod parameters;

mod component;
mod dialect;
mod v2;
mod v3;

mod protobuf;

mod descriptions;

pub use descriptions::Descriptions;
pub use document::Document;
pub use topic::Topic;

#[cfg(test)]
mod tests;
