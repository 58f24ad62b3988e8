//! Image references, by the grammar of the OCI distribution specification: `[REGISTRY/]NAME[:TAG][@DIGEST]`. Beside it, a module by its URL:
//! `https://HOST/PATH@DIGEST`, or `file:///PATH` of the machine that runs it.

mod url;

use std::{fmt, str::FromStr};

use crate::Digest;

/// An image reference with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Who has it.
    pub source: Source,
    /// Host and port; `docker.io` when the reference names none, and nothing for a file.
    pub registry: String,
    /// Repository within the registry; `library/` is prefixed to a single word on docker.io. Of a URL its path: from the root for a file,
    /// else without the first slash.
    pub repository: String,
    /// The tag as given.
    pub tag: Option<String>,
    /// The digest as given.
    pub digest: Option<Digest>,
}

/// Who has an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A registry.
    #[default]
    Registry,
    /// A server of files, by `https://`: a module and nothing else.
    Web,
    /// The disk of the machine that runs it, by `file://`: a module and nothing else.
    Disk,
}

/// What is wrong with a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReferenceError {
    /// The name breaks the grammar.
    #[error(
        "a name is lower-case letters and digits, joined by single `.`, `_`, `__` or `-`, in parts joined by `/`, at most 255 characters"
    )]
    Name,
    /// The host breaks the grammar.
    #[error("a registry is a host name and perhaps `:PORT`")]
    Registry,
    /// The tag breaks the grammar.
    #[error("a tag is at most 128 letters, digits, `_`, `.` and `-`, and does not start with `.` or `-`")]
    Tag,
    /// The digest is not one.
    #[error("a digest is `sha256:` followed by 64 lower-case hexadecimal digits")]
    Digest,
    /// A URL without digest.
    #[error("a module by https:// is named with its digest: https://HOST/PATH@sha256:HEX")]
    NoDigest,
    /// A URL breaks the grammar.
    #[error(
        "a module's URL is https://HOST[:PORT]/PATH@sha256:HEX, or file:///PATH without `.`, `..` and empty parts"
    )]
    Url,
}

impl Reference {
    /// The tag, or the one that is meant where none is given.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or(DEFAULT_TAG)
    }

    /// Whether the coordinator itself is the registry.
    pub fn is_local(&self) -> bool {
        self.source == Source::Registry && self.registry == LOCAL_REGISTRY
    }

    /// Registry and repository, or the URL, without tag and digest.
    pub fn name(&self) -> String {
        let Self { source, registry, repository, .. } = self;
        match source {
            Source::Registry => format!("{registry}/{repository}"),
            Source::Web => format!("{}{registry}/{repository}", url::WEB),
            Source::Disk => format!("{}{repository}", url::DISK),
        }
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(url) = url::parse(text) {
            return url;
        }
        let (text, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => (name, Some(digest.parse().map_err(|_| ParseReferenceError::Digest)?)),
        };
        let (registry, text) = match text.split_once('/') {
            Some((first, rest)) if is_registry(first) => (Some(first), rest),
            _ => (None, text),
        };
        let (repository, tag) = match text.split_once(':') {
            None => (text, None),
            Some((name, tag)) => (name, Some(tag)),
        };
        if registry.is_some_and(|registry| !is_host(registry)) {
            return Err(ParseReferenceError::Registry);
        }
        if !is_repository(repository) {
            return Err(ParseReferenceError::Name);
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ParseReferenceError::Tag);
        }
        let is_official =
            registry.is_none_or(|registry| registry == DEFAULT_REGISTRY) && !repository.contains('/');
        let prefix = if is_official { "library/" } else { "" };
        Ok(Self {
            source: Source::Registry,
            registry: registry.unwrap_or(DEFAULT_REGISTRY).to_owned(),
            repository: format!("{prefix}{repository}"),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    /// The whole reference; the tag that is meant where neither tag nor digest is given.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match (&self.tag, &self.digest) {
            (None, None) if self.source == Source::Disk => Ok(()),
            (None, None) => write!(f, ":{DEFAULT_TAG}"),
            (tag, digest) => {
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
        }
    }
}

/// As everywhere: the first part is a registry when it could not be a part of a Docker Hub name.
pub fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(|char| char.is_ascii_uppercase())
}

fn is_host(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    host.len() <= HOST_CHARS_MAX
        && host.split('.').all(is_label)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|number| number > 0))
}

/// Whether a text is a repository's name within its registry.
pub fn is_repository(text: &str) -> bool {
    text.len() <= REPOSITORY_CHARS_MAX && text.split('/').all(is_part)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_in_words = part.bytes().next().is_some_and(is_word) && part.bytes().last().is_some_and(is_word);
    let is_separator = |separator: &[u8]| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|byte| *byte == b'-')
    };
    ends_in_words && part.as_bytes().split(|byte| is_word(*byte)).all(is_separator)
}

/// Whether a text is a tag: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`
pub fn is_tag(tag: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= TAG_CHARS_MAX
        && tag.bytes().next().is_some_and(is_first)
        && tag.bytes().all(|byte| is_first(byte) || matches!(byte, b'.' | b'-'))
}

/// The registry that is the coordinator itself.
pub const LOCAL_REGISTRY: &str = "dunlin.local";
/// The registry of references that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const DEFAULT_TAG: &str = "latest";
/// The distribution specification recommends this bound for host and name; many registries enforce it.
const REPOSITORY_CHARS_MAX: usize = 255;
const HOST_CHARS_MAX: usize = 253;
const TAG_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// The reference's parts as `registry repository tag`, and whether it has a digest.
    fn check(text: &str, expected: Result<(&str, bool), ParseReferenceError>) {
        let parsed = text.parse::<Reference>();
        let parts = parsed.map(|Reference { registry, repository, tag, digest, .. }| {
            let tag = tag.unwrap_or_else(|| "-".to_owned());
            (format!("{registry} {repository} {tag}"), digest.is_some())
        });
        assert_eq!(parts, expected.map(|(parts, digest)| (parts.to_owned(), digest)), "{text}");
    }

    #[test]
    fn references_follow_the_distribution_grammar() {
        check("hello", Ok(("docker.io library/hello -", false)));
        check("team/hello:1.0", Ok(("docker.io team/hello 1.0", false)));
        check("docker.io/hello", Ok(("docker.io library/hello -", false)));
        check("dunlin.local/hello", Ok(("dunlin.local hello -", false)));
        check("dunlin.local/a/b_c/d__e/f--g.h:V1", Ok(("dunlin.local a/b_c/d__e/f--g.h V1", false)));
        check("localhost/hello", Ok(("localhost hello -", false)));
        check("host:5000/hello:tag", Ok(("host:5000 hello tag", false)));
        check(&format!("dunlin.local/hello@{DIGEST}"), Ok(("dunlin.local hello -", true)));
        check(&format!("dunlin.local/hello:1@{DIGEST}"), Ok(("dunlin.local hello 1", true)));

        for bad in
            ["", "Hello", "a//b", "/a", "a/", "a..b", "a___b", "-a", "a-", "a b", "a%", "\u{e9}", "a/../b"]
        {
            check(bad, Err(ParseReferenceError::Name));
            check(&format!("dunlin.local/{bad}"), Err(ParseReferenceError::Name));
        }
        check(&"a".repeat(256), Err(ParseReferenceError::Name));
        for bad in ["a:", "a:-1", "a:.1", "a/b:1/2", "a:b:c", &format!("a:{}", "t".repeat(129))] {
            check(bad, Err(ParseReferenceError::Tag));
        }
        for bad in ["a@", "a@sha256:12", "a@sha512:00", &format!("a@{DIGEST}0")] {
            check(bad, Err(ParseReferenceError::Digest));
        }
        for bad in ["a..b/c", "-a.b/c", "a.b:x/c", "a.b:0/c", "a.b:70000/c"] {
            check(bad, Err(ParseReferenceError::Registry));
        }
    }

    #[test]
    fn references_are_shown_whole() {
        let shown = |text: &str| text.parse::<Reference>().map(|reference| reference.to_string());
        assert_eq!(shown("hello").as_deref(), Ok("docker.io/library/hello:latest"));
        assert_eq!(shown("a.b/c:1").as_deref(), Ok("a.b/c:1"));
        let pinned = format!("a.b/c@{DIGEST}");
        assert_eq!(shown(&pinned).as_deref(), Ok(pinned.as_str()));
    }
}
