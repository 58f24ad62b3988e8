//! Images of any registry in pods, and the coordinator as a registry for any tool.

mod files;
pub(crate) mod node;
pub(crate) mod programs;
pub(crate) mod tools;
mod urls;
