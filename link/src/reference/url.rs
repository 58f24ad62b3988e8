//! Modules by their URLs.

use super::{ParseReferenceError, Reference, Source, is_host};
use crate::Digest;

/// What `text` says if it is a URL; `None` where it is none of those that are known.
pub(super) fn parse(text: &str) -> Option<Result<Reference, ParseReferenceError>> {
    if let Some(rest) = text.strip_prefix(WEB) {
        return Some(web(rest));
    }
    text.strip_prefix(DISK).map(disk)
}

fn web(rest: &str) -> Result<Reference, ParseReferenceError> {
    let (place, digest) = rest.rsplit_once('@').ok_or(ParseReferenceError::NoDigest)?;
    let digest: Digest = digest.parse().map_err(|_| ParseReferenceError::Digest)?;
    let (host, path) = place.split_once('/').ok_or(ParseReferenceError::Url)?;
    let is_of_path = |byte: u8| byte.is_ascii_graphic() && !br##"#"<>\^`{|}"##.contains(&byte);
    let is_path = !path.is_empty() && path.len() <= PATH_BYTES_MAX && path.bytes().all(is_of_path);
    if !is_host(host) || !is_path {
        return Err(ParseReferenceError::Url);
    }
    let (registry, repository) = (host.to_owned(), path.to_owned());
    Ok(Reference { source: Source::Web, registry, repository, tag: None, digest: Some(digest) })
}

/// The path is taken as it is written: nothing in it is encoded.
fn disk(path: &str) -> Result<Reference, ParseReferenceError> {
    let (path, digest) = match path.rsplit_once('@') {
        Some((path, digest)) if digest.starts_with("sha256:") => (path, Some(digest)),
        _ => (path, None),
    };
    let digest = digest.map(|digest| digest.parse().map_err(|_| ParseReferenceError::Digest)).transpose()?;
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    let is_path = path.strip_prefix('/').is_some_and(|inside| inside.split('/').all(is_part));
    if !is_path || path.len() > PATH_BYTES_MAX {
        return Err(ParseReferenceError::Url);
    }
    let (registry, repository) = (String::new(), path.to_owned());
    Ok(Reference { source: Source::Disk, registry, repository, tag: None, digest })
}

pub(super) const WEB: &str = "https://";
pub(super) const DISK: &str = "file://";
/// The longest path that a file may have, and longer than servers take.
const PATH_BYTES_MAX: usize = 4095;

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn check(text: &str, expected: Result<(Source, &str, &str), ParseReferenceError>) {
        let parsed = text.parse::<Reference>();
        if let Ok(reference) = &parsed {
            assert_eq!(reference.to_string(), text);
        }
        let parts = parsed.map(|found| (found.source, found.registry, found.repository));
        let expected = expected.map(|(source, host, path)| (source, host.to_owned(), path.to_owned()));
        assert_eq!(parts, expected, "{text}");
    }

    #[test]
    fn a_module_may_be_named_by_its_url() {
        let pinned = |url: &str| format!("{url}@{DIGEST}");
        let web = |host, path| Ok((Source::Web, host, path));
        check(&pinned("https://a.b/x.wasm"), web("a.b", "x.wasm"));
        check(&pinned("https://a.b:8443/c/x@1.wasm?v=2&w"), web("a.b:8443", "c/x@1.wasm?v=2&w"));
        check("https://a.b/x.wasm", Err(ParseReferenceError::NoDigest));
        check("https://a.b/x.wasm@sha256:12", Err(ParseReferenceError::Digest));
        for bad in ["https://a.b", "https://a.b/", "https:///x", "https://u:p@a.b/x", "https://a.b/x#y"] {
            check(&pinned(bad), Err(ParseReferenceError::Url));
        }
        let disk = |path| Ok((Source::Disk, "", path));
        check("file:///opt/a b.wasm", disk("/opt/a b.wasm"));
        check("file:///opt/a@b.wasm", disk("/opt/a@b.wasm"));
        check(&pinned("file:///opt/a.wasm"), disk("/opt/a.wasm"));
        for bad in ["file://", "file:///", "file://host/a", "file:///a/../b", "file:///a//b", "file:///./a"] {
            check(bad, Err(ParseReferenceError::Url));
        }
        // Of other schemes nothing is known.
        check(&pinned("http://a.b/x.wasm"), Err(ParseReferenceError::Registry));
    }

    #[test]
    fn a_url_is_no_name_of_the_coordinator_s() {
        let own: Reference = format!("https://dunlin.local/a@{DIGEST}").parse().unwrap();
        assert!(!own.is_local());
        assert_eq!(own.name(), "https://dunlin.local/a");
    }
}
