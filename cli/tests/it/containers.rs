//! Ordinary Linux images in pods.

mod absent;
mod accounts;
mod ends;
mod fields;
mod image;
mod kubectl;
mod manifests;
mod mixed;
mod network;
mod run;
mod security;
mod shore;
mod terminal;
