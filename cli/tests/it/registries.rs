//! Images of any registry in pods, and the coordinator as a registry for any tool.

mod node;
mod programs;
mod tools;
