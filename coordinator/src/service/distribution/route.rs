//! The protocol's paths.

use dunlin_link::{
    Digest,
    reference::{is_repository, is_tag},
};

use super::refusal::{Code, Refusal};

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route<'a>(Option<Place<'a>>);

/// Something of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) repository: &'a str,
    pub(super) what: What<'a>,
}

/// What of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// `tags/list`
    Tags,
    /// `manifests/TAG` and `manifests/DIGEST`
    Manifest(ManifestName<'a>),
    /// `referrers/DIGEST`
    Referrers(Digest),
    /// `blobs/DIGEST`
    Blob(Digest),
    /// `blobs/uploads/`
    Uploads,
    /// `blobs/uploads/ID`
    Upload(&'a str),
}

/// How a manifest is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManifestName<'a> {
    Tag(&'a str),
    Digest(Digest),
}

impl<'a> Route<'a> {
    /// Reads a path that begins with `/v2`.
    pub(super) fn parse(path: &'a str) -> Result<Self, Refusal> {
        let rest = path.strip_prefix("/v2").unwrap_or_default().trim_matches('/');
        if rest.is_empty() {
            return Ok(Self(None));
        }
        // From the end: a repository may have parts that look like these.
        let (front, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        let (repository, what) = if let Some(repository) = front.strip_suffix("/manifests") {
            (repository, What::Manifest(ManifestName::parse(last)?))
        } else if let Some(repository) = front.strip_suffix("/referrers") {
            (repository, What::Referrers(last.parse().map_err(|_| no_digest(last))?))
        } else if let Some(repository) = front.strip_suffix("/blobs/uploads") {
            (repository, What::Upload(last))
        } else if let (Some(repository), "uploads") = (front.strip_suffix("/blobs"), last) {
            (repository, What::Uploads)
        } else if let Some(repository) = front.strip_suffix("/blobs") {
            (repository, What::Blob(last.parse().map_err(|_| no_digest(last))?))
        } else if let (Some(repository), "list") = (front.strip_suffix("/tags"), last) {
            (repository, What::Tags)
        } else {
            return Err(unknown());
        };
        if !is_repository(repository) {
            return Err(Refusal::new(
                Code::NameInvalid,
                format!("`{repository}` is not a repository's name"),
            ));
        }
        Ok(Self(Some(Place { repository, what })))
    }

    /// What is asked for; `None` is the protocol itself.
    pub(super) fn place(self) -> Option<Place<'a>> {
        self.0
    }
}

impl<'a> ManifestName<'a> {
    fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.contains(':') {
            return Ok(Self::Digest(text.parse().map_err(|_| no_digest(text))?));
        }
        if is_tag(text) {
            Ok(Self::Tag(text))
        } else {
            Err(Refusal::new(Code::ManifestInvalid, format!("`{text}` is not a tag")))
        }
    }
}

fn no_digest(text: &str) -> Refusal {
    Refusal::new(
        Code::DigestInvalid,
        format!("`{text}` is not `sha256:` and 64 lower-case hexadecimal digits"),
    )
}

fn unknown() -> Refusal {
    Refusal::new(Code::NameInvalid, "no such path in the distribution protocol")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"x");
        let check = |path: &str, expected: Option<(&str, What<'_>)>| {
            let found = Route::parse(path).ok().and_then(Route::place);
            assert_eq!(found.map(|place| (place.repository, place.what)), expected, "{path}");
        };
        assert_eq!(Route::parse("/v2/").map(Route::place), Ok(None));
        assert_eq!(Route::parse("/v2").map(Route::place), Ok(None));
        check("/v2/a/tags/list", Some(("a", What::Tags)));
        check("/v2/a/b/manifests/1.0", Some(("a/b", What::Manifest(ManifestName::Tag("1.0")))));
        check(
            &format!("/v2/a/manifests/{digest}"),
            Some(("a", What::Manifest(ManifestName::Digest(digest)))),
        );
        check(
            "/v2/manifests/manifests/blobs",
            Some(("manifests", What::Manifest(ManifestName::Tag("blobs")))),
        );
        check(&format!("/v2/a/blobs/{digest}"), Some(("a", What::Blob(digest))));
        check(&format!("/v2/a/referrers/{digest}"), Some(("a", What::Referrers(digest))));
        check("/v2/a/blobs/uploads/", Some(("a", What::Uploads)));
        check("/v2/a/blobs/uploads/x-1", Some(("a", What::Upload("x-1"))));
        for bad in ["/v2/a", "/v2/A/tags/list", "/v2/a/blobs/sha256:1", "/v2/a/manifests/.x", "/v2/tags/list"]
        {
            assert!(Route::parse(bad).is_err(), "{bad}");
        }
    }
}
