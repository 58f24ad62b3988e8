//! The lifecycles of pods, as tables, and what must never happen, as properties.

mod bench;
mod lifecycle;
mod orders;
mod properties;
mod restarts;
