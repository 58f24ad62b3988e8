//! Errors in the words of the distribution protocol.

use dunlin_link::with_causes;
use serde_json::json;

use crate::{
    artifacts::{BlobError, PutError, UploadError},
    service::response::Response,
};

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    code: Code,
    message: String,
}

/// The protocol's codes, and what of HTTP goes with each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    Denied,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    NoRoom,
    RangeInvalid,
    SizeInvalid,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unknown,
    Unsupported,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What failed is ours; the cause goes to the log.
    pub(super) fn failed(error: &dyn std::error::Error) -> Self {
        let causes = with_causes(error);
        tracing::error!(error = causes, "a request to the registry failed");
        Self::new(Code::Unknown, causes)
    }
}

impl Code {
    const fn parts(self) -> (&'static str, u16) {
        match self {
            Self::BlobUnknown => ("BLOB_UNKNOWN", 404),
            Self::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", 400),
            Self::BlobUploadUnknown => ("BLOB_UPLOAD_UNKNOWN", 404),
            Self::Denied => ("DENIED", 403),
            Self::DigestInvalid => ("DIGEST_INVALID", 400),
            Self::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", 404),
            Self::ManifestInvalid => ("MANIFEST_INVALID", 400),
            Self::ManifestUnknown => ("MANIFEST_UNKNOWN", 404),
            Self::NameInvalid => ("NAME_INVALID", 400),
            Self::NameUnknown => ("NAME_UNKNOWN", 404),
            Self::NoRoom => ("DENIED", 507),
            Self::RangeInvalid => ("BLOB_UPLOAD_INVALID", 416),
            Self::SizeInvalid => ("SIZE_INVALID", 413),
            Self::TooManyRequests => ("TOOMANYREQUESTS", 429),
            Self::Unauthorized => ("UNAUTHORIZED", 401),
            Self::Unavailable => ("UNAVAILABLE", 503),
            Self::Unknown => ("UNKNOWN", 500),
            Self::Unsupported => ("UNSUPPORTED", 405),
        }
    }
}

impl From<Refusal> for Response {
    fn from(Refusal { code, message }: Refusal) -> Self {
        let (name, status) = code.parts();
        let response = Self::json(status, &json!({ "errors": [{ "code": name, "message": message }] }));
        match code {
            Code::Unauthorized => response.with_header("www-authenticate", "Basic realm=\"dunlin\""),
            Code::TooManyRequests => response.with_header("retry-after", "10"),
            _ => response,
        }
    }
}

impl From<BlobError> for Refusal {
    fn from(error: BlobError) -> Self {
        let code = match &error {
            BlobError::UnknownUpload => Code::BlobUploadUnknown,
            BlobError::Busy => Code::BlobUploadInvalid,
            BlobError::TooMany(_) | BlobError::TooManyUnnamed(_) => Code::TooManyRequests,
            BlobError::OutOfOrder { .. } => Code::RangeInvalid,
            BlobError::NoRoom => Code::NoRoom,
            BlobError::TooLarge => Code::SizeInvalid,
            BlobError::OtherDigest { .. } => Code::DigestInvalid,
            // It went away, and will not read this.
            BlobError::Receive(_) => Code::BlobUploadInvalid,
            BlobError::Disk(_) => return Self::failed(&error),
        };
        Self::new(code, error.to_string())
    }
}

impl From<PutError> for Refusal {
    fn from(error: PutError) -> Self {
        let code = match &error {
            PutError::Manifest(_) | PutError::NotText => Code::ManifestInvalid,
            PutError::Module(UploadError::Write(_) | UploadError::Receive(_)) => return Self::failed(&error),
            PutError::Module(UploadError::NoRoom) => Code::NoRoom,
            PutError::Module(_) => Code::ManifestInvalid,
            PutError::OtherDigest { .. } => Code::DigestInvalid,
            PutError::UnknownBlob(_) => Code::ManifestBlobUnknown,
            PutError::TooMany(_) => Code::Denied,
            PutError::Store(_) | PutError::Disk(_) => return Self::failed(&error),
        };
        Self::new(code, error.to_string())
    }
}
