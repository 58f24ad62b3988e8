//! Ordinary Linux images in pods.

mod absent;
mod accounts;
mod alone;
mod chaos;
mod debugging;
mod disk;
mod ends;
mod fields;
mod forward;
mod image;
mod kubectl;
mod manifests;
mod mixed;
mod network;
mod node;
mod own;
mod pushing;
mod resources;
mod run;
mod security;
mod shore;
mod terminal;
mod volumes;
