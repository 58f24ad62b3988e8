//! Ordinary Linux images in pods.

mod absent;
mod image;
mod run;
