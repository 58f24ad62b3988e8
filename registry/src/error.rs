//! Why a pull did not bring an image, a cause each, in words for the user who wrote the reference.

use std::{io, time::Duration};

use dunlin_link::Digest;

use crate::{image::ImageError, manifest::ManifestError};

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// No endpoint of the registry could be reached; what is known of each.
    #[error("failed to reach registry `{registry}`: {why}")]
    Unreachable {
        /// Host of the endpoint.
        registry: String,
        /// As the network said it.
        why: String,
    },
    /// The registry's certificate, or ours, is not accepted.
    #[error("registry `{registry}` has no certificate that this node trusts: {why}")]
    Certificate {
        /// Host of the endpoint.
        registry: String,
        /// As TLS said it.
        why: String,
    },
    /// The other side speaks no TLS.
    #[error(
        "registry `{registry}` answered without TLS; where that is meant, set `plainHttp: true` for it in `registries` of the config file's section for who pulls: `coordinator` or `edgeNode`"
    )]
    PlainHttp {
        /// Host of the endpoint.
        registry: String,
    },
    /// A step took too long.
    #[error("registry `{registry}` did not {step} within {}s", after.as_secs())]
    TimedOut {
        /// Host of the endpoint.
        registry: String,
        /// What was waited for.
        step: &'static str,
        /// How long.
        after: Duration,
    },
    /// Credentials are missing or wrong.
    #[error("registry `{registry}` wants other credentials than {shown}: {why}")]
    Unauthorized {
        /// Host of the endpoint.
        registry: String,
        /// Whose were shown.
        shown: String,
        /// As the registry said it.
        why: String,
    },
    /// Who asks is known and may not.
    #[error("registry `{registry}` denies access to `{repository}`: {why}")]
    Denied {
        /// Host of the endpoint.
        registry: String,
        /// The repository.
        repository: String,
        /// As the registry said it.
        why: String,
    },
    /// There is no such image.
    #[error("{image}: not found")]
    NotFound {
        /// The reference.
        image: String,
    },
    /// Asked too often.
    #[error("registry `{registry}` limits how often it is asked: {why}")]
    TooManyRequests {
        /// Host of the endpoint.
        registry: String,
        /// As the registry said it.
        why: String,
    },
    /// The registry failed, or answered against the protocol.
    #[error("registry `{registry}` answered {status}: {why}")]
    Answer {
        /// Host of the endpoint.
        registry: String,
        /// The status of HTTP.
        status: u16,
        /// What was wrong.
        why: String,
    },
    /// Whoever has the content does not give it away.
    #[error("{why}")]
    Refused {
        /// In its own words.
        why: String,
    },
    /// A connection broke.
    #[error("the connection to registry `{registry}` broke: {why}")]
    Broken {
        /// Host of the endpoint.
        registry: String,
        /// How.
        why: String,
    },
    /// Content is not what its digest says.
    #[error("{what} has digest {actual} instead of {expected}")]
    OtherDigest {
        /// Which content.
        what: &'static str,
        /// As named.
        expected: Digest,
        /// Of what came.
        actual: Digest,
    },
    /// Content is larger than it may be.
    #[error("{what} has {bytes} bytes; at most {bytes_max} are taken")]
    TooLarge {
        /// Which content.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The manifest cannot be used.
    #[error("the manifest of `{image}` cannot be used: {why}")]
    Manifest {
        /// The reference.
        image: String,
        /// Why.
        why: ManifestError,
    },
    /// There is no variant for this machine.
    #[error("no match for platform in manifest: {image} is there for {offered}, and this node runs {wanted}")]
    Platform {
        /// The reference.
        image: String,
        /// What there is.
        offered: String,
        /// What runs here.
        wanted: String,
    },
    /// The image is of no kind that runs.
    #[error("`{image}` cannot run: {why}")]
    Image {
        /// The reference.
        image: String,
        /// Why.
        why: ImageError,
    },
    /// The image's layers hold no module that runs.
    #[error("`{image}` cannot run: {why}")]
    Layers {
        /// The reference.
        image: String,
        /// Why.
        why: String,
    },
    /// The disk has not room enough for it.
    #[error("no room for `{image}`: it needs about {} MiB, and the disk has {} MiB left", needed.div_ceil(1 << 20), free >> 20)]
    NoRoom {
        /// The reference.
        image: String,
        /// What it is expected to take.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// The node's disk failed.
    #[error("failed to write the image")]
    Disk(#[source] io::Error),
}

impl PullError {
    /// Whether the registry was not there at all, so that what is known from before may serve.
    pub const fn is_outage(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } => true,
            Self::Answer { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Whether another set of credentials may help.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Denied { .. })
    }
}
