//! What can go wrong with plugins.

use std::{io, path::PathBuf};

use super::program::Failure;

/// Why plugins did not do what they were run for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// A folder or a file of it.
    #[error("failed to read `{path}`")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no list yet; whoever brings plugins may bring it later.
    #[error("no network configuration in `{path}`")]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// What is in it is no list of plugins.
    #[error("`{path}` is no network configuration of version 0.3.0 or later")]
    Configuration {
        /// The file.
        path: PathBuf,
    },
    /// A plugin has no program.
    #[error("plugin `{plugin}` is in none of the folders of plugins")]
    NoProgram {
        /// Its name.
        plugin: String,
    },
    /// A plugin did not do it.
    #[error("plugin `{plugin}`, {command}: {why}")]
    Failed {
        /// Its name.
        plugin: String,
        /// What it was asked for.
        command: &'static str,
        /// Why not.
        why: Failure,
    },
    /// Plugins gave a pod no address.
    #[error("the plugins gave no address")]
    NoAddress,
    /// What is remembered of a pod.
    #[error("failed to keep what plugins did for a pod")]
    Record {
        /// Why not.
        #[from]
        source: io::Error,
    },
}
