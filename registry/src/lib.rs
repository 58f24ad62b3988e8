//! Images in registries: what their manifests say, what they are, and how they are fetched by the OCI distribution protocol.
//!
//! Names and their grammar are `dunlin_link::reference`. This crate knows nothing of pods, nodes or stores: whoever pulls brings the
//! configured registries and the credentials, and says where the content goes.

#![forbid(unsafe_code)]

pub mod archive;
pub mod client;
pub mod config;
pub mod credentials;
pub mod error;
pub mod image;
pub mod layer;
pub mod linux;
pub mod manifest;
pub mod media;
pub mod origin;
pub mod platform;
pub mod tls;

mod challenge;
mod download;
mod endpoint;
mod exchange;
mod kind;
mod session;
mod token;
mod web;

pub use client::{Client, Resolved};
pub use config::RegistriesConfig;
pub use credentials::Keyring;
pub use download::{Fetched, GuestParts};
pub use error::PullError;
pub use kind::Kind;
