//! Media types of manifests, configs and layers.

/// An image manifest, OCI's.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An index of manifests, OCI's.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An image manifest, Docker's.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// An index of manifests, Docker's.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The manifests that this crate reads, as an `Accept` header has them.
pub const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The config of a WASM artifact as the CNCF's working group writes it.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Its layer: one module or component.
pub const WASM: &str = "application/wasm";
/// An empty config, of artifacts that have none.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Whether a layer is one module or component, by this or an older media type.
pub fn is_module(media_type: &str) -> bool {
    media_type == WASM || OLDER_MODULES.contains(&media_type)
}

/// Whether a config says by itself that the layers are modules.
pub fn is_module_config(media_type: &str) -> bool {
    media_type == WASM_CONFIG || OLDER_CONFIGS.contains(&media_type)
}

/// How a layer's archive is compressed; `None` when it is no archive.
pub fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Some(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// Compression of a layer's archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// A plain archive.
    None,
    /// With gzip.
    Gzip,
    /// With zstd.
    Zstd,
}

/// Modules before there was a media type of their own.
const OLDER_MODULES: [&str; 3] = [
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.w3c.wasm.component.v1+wasm",
];

/// Configs that came with them.
const OLDER_CONFIGS: [&str; 3] = [
    "application/vnd.wasm.config.v1+json",
    "application/vnd.module.wasm.config.v1+json",
    "application/vnd.wasmcloud.actor.archive.config",
];
