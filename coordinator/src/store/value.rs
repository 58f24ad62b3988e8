//! The header that the API service gives its values, so that a list or a watch copies bytes instead of encoding objects.
//!
//! An object is stored as JSON without its `resourceVersion`, which is known only once it is committed; the header says where in
//! the JSON it belongs. It also says which write last changed more than the object's status: this one (kind 1), or an earlier one
//! (kind 2), so that what is made of the rest keeps its revision over restarts. Layout: kind (1 byte), offset (4 bytes, little
//! endian), in kind 2 a revision (8 bytes, little endian), JSON.

use bytes::Bytes;
use dunlin_link::Revision;

/// A stored object: its JSON without `metadata.resourceVersion`, and where that belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredObject<'a> {
    json: &'a [u8],
    /// Right after the opening brace of `metadata`.
    offset: usize,
    /// `None` when it is the write of this very value.
    changed_at: Option<Revision>,
}

/// A value is not a stored object, or a text is not an object with metadata.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the JSON of an object with metadata")]
pub struct NotAnObject;

impl<'a> StoredObject<'a> {
    /// Finds the place for the version in an object's JSON, which must not have one.
    ///
    /// # Errors
    /// [`NotAnObject`] when there is no top-level `metadata` that is an object.
    pub fn from_json(json: &'a [u8]) -> Result<Self, NotAnObject> {
        let offset = metadata_offset(json).ok_or(NotAnObject)?;
        Ok(Self { json, offset, changed_at: None })
    }

    /// The same object, of which the write at `revision` was the last to change more than the status.
    #[must_use]
    pub const fn unchanged_since(self, revision: Revision) -> Self {
        Self { changed_at: Some(revision), ..self }
    }

    /// Reads what [`StoredObject::to_value`] made.
    ///
    /// # Errors
    /// [`NotAnObject`] for a value of another kind.
    pub fn from_value(value: &'a [u8]) -> Result<Self, NotAnObject> {
        let (kind, rest) = value.split_first().ok_or(NotAnObject)?;
        let (offset, rest) = rest.split_first_chunk().ok_or(NotAnObject)?;
        let offset = usize::try_from(u32::from_le_bytes(*offset)).map_err(|_| NotAnObject)?;
        let (changed_at, json) = match *kind {
            KIND_CHANGED => (None, rest),
            KIND_STATUS_ONLY => {
                let (revision, json) = rest.split_first_chunk().ok_or(NotAnObject)?;
                (Some(Revision(u64::from_le_bytes(*revision))), json)
            }
            _ => return Err(NotAnObject),
        };
        if offset == 0 || json.get(offset - 1) != Some(&b'{') {
            return Err(NotAnObject);
        }
        Ok(Self { json, offset, changed_at })
    }

    /// The value to store: header and JSON.
    pub fn to_value(&self) -> Bytes {
        let offset = u32::try_from(self.offset).expect("an object's bytes are bounded far below 4 GiB");
        let mut value = Vec::with_capacity(HEADER_BYTES_MAX + self.json.len());
        value.push(if self.changed_at.is_some() { KIND_STATUS_ONLY } else { KIND_CHANGED });
        value.extend_from_slice(&offset.to_le_bytes());
        if let Some(revision) = self.changed_at {
            value.extend_from_slice(&revision.0.to_le_bytes());
        }
        value.extend_from_slice(self.json);
        value.into()
    }

    /// The last write that changed more of the object than its status, `written_at` being the write of this value.
    pub fn changed_at(&self, written_at: Revision) -> Revision {
        self.changed_at.unwrap_or(written_at)
    }

    /// The JSON as stored, without a version.
    pub fn json(&self) -> &'a [u8] {
        self.json
    }

    /// Appends the JSON with `revision` as its `metadata.resourceVersion`.
    pub fn splice_into(&self, revision: Revision, out: &mut Vec<u8>) {
        use std::io::Write as _;
        let (before, after) = self.json.split_at(self.offset);
        let is_last = after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
        out.reserve(self.json.len() + SPLICED_BYTES_MAX);
        out.extend_from_slice(before);
        let comma = if is_last { "" } else { "," };
        write!(out, "\"resourceVersion\":\"{revision}\"{comma}").expect("writing to a Vec cannot fail");
        out.extend_from_slice(after);
    }

    /// The JSON with `revision` as its `metadata.resourceVersion`.
    pub fn splice(&self, revision: Revision) -> Vec<u8> {
        let mut out = Vec::new();
        self.splice_into(revision, &mut out);
        out
    }
}

/// Where the members of the top-level `metadata` begin.
fn metadata_offset(json: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                let end = string_end(json, at)?;
                let is_metadata = depth == 1 && &json[at..end] == b"\"metadata\"";
                at = end;
                if is_metadata && let Some(opening) = member_opening(json, at) {
                    return (json[opening] == b'{').then_some(opening + 1);
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The byte after a string that starts at `start`.
fn string_end(json: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Where the value of the member starts whose name ends at `at`; `None` when the string there is no name.
fn member_opening(json: &[u8], at: usize) -> Option<usize> {
    let colon = skip_space(json, at);
    if json.get(colon) != Some(&b':') {
        return None;
    }
    let opening = skip_space(json, colon + 1);
    (opening < json.len()).then_some(opening)
}

fn skip_space(json: &[u8], at: usize) -> usize {
    at + json[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

const KIND_CHANGED: u8 = 1;
const KIND_STATUS_ONLY: u8 = 2;
const HEADER_BYTES_MAX: usize = 13;
/// Name, quotes, colon, comma and the longest number.
const SPLICED_BYTES_MAX: usize = 42;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Result<&str, NotAnObject>) {
        let spliced = StoredObject::from_json(json.as_bytes()).map(|object| {
            let value = object.to_value();
            let stored = StoredObject::from_value(&value).unwrap();
            assert_eq!((stored.json(), stored.changed_at(Revision(9))), (json.as_bytes(), Revision(9)));
            let later = stored.unchanged_since(Revision(7)).to_value();
            let later = StoredObject::from_value(&later).unwrap();
            assert_eq!((later.json(), later.changed_at(Revision(9))), (json.as_bytes(), Revision(7)));
            assert_eq!(later.splice(Revision(42)), stored.splice(Revision(42)));
            String::from_utf8(stored.splice(Revision(42))).unwrap()
        });
        assert_eq!(spliced.as_deref().map_err(|_| NotAnObject), expected, "{json}");
    }

    #[test]
    fn the_version_goes_into_the_top_level_metadata() {
        check(r#"{"metadata":{"name":"a"}}"#, Ok(r#"{"metadata":{"resourceVersion":"42","name":"a"}}"#));
        check(r#"{"metadata":{}}"#, Ok(r#"{"metadata":{"resourceVersion":"42"}}"#));
        check(r#"{"metadata" : { } }"#, Ok(r#"{"metadata" : {"resourceVersion":"42" } }"#));
        check(
            r#"{"kind":"metadata","data":{"metadata":{}},"a\"b":[{"metadata":{}}],"metadata":{"n":1}}"#,
            Ok(
                r#"{"kind":"metadata","data":{"metadata":{}},"a\"b":[{"metadata":{}}],"metadata":{"resourceVersion":"42","n":1}}"#,
            ),
        );
        for bad in ["", "[]", "{}", "{\"metadata\":[]}", "{\"metadata\":", "{\"metadata\"", "{\"a\\", "]"] {
            check(bad, Err(NotAnObject));
        }
    }

    #[test]
    fn other_values_are_refused() {
        for bad in [
            &b""[..],
            b"\x01",
            b"\x01\0\0\0\0{}",
            b"\x01\xff\0\0\0{}",
            b"\x02\x01\0\0\0{}",
            b"\x03\x01\0\0\0{}",
        ] {
            assert_eq!(StoredObject::from_value(bad), Err(NotAnObject), "{bad:?}");
        }
    }
}
