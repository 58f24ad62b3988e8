//! Images of any registry in pods, and the coordinator as a registry for any tool.

pub(crate) mod node;
pub(crate) mod programs;
pub(crate) mod tools;
