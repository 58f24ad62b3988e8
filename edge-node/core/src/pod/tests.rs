//! The lifecycles of pods, as tables, and what must never happen, as properties.

mod bench;
mod ephemeral;
mod failures;
mod hooks;
mod images;
mod lifecycle;
mod orders;
mod probes;
mod properties;
mod restarts;
