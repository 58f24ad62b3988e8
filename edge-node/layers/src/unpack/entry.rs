//! Entries of an archive with all that the entries before say of them.
//!
//! The `tar` crate would gather long names and attributes by itself, of any size; here each has a bound.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Read},
    os::unix::ffi::OsStringExt as _,
    path::PathBuf,
};

use tar::{EntryType, PaxExtensions};

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it is written.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Rights, and what else a mode says.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Seconds since 1970, and a part of one.
    pub modified: (i64, i64),
    /// Attributes by name.
    pub attributes: Vec<(OsString, Vec<u8>)>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A link to this target.
    Symlink(OsString),
    /// Another name of an entry of the same layer.
    Link(PathBuf),
    /// A device, by its numbers.
    Character(u32, u32),
    /// A device of blocks, by its numbers.
    Block(u32, u32),
    /// A pipe.
    Fifo,
}

/// The entries of an archive, in order.
pub struct Entries<'a, R: Read> {
    raw: tar::Entries<'a, R>,
}

/// What extension headers say of the entry after them.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u32>,
    gid: Option<u32>,
    modified: Option<(i64, i64)>,
    size: Option<u64>,
    attributes: Vec<(OsString, Vec<u8>)>,
}

impl<R: Read> fmt::Debug for Entries<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").finish_non_exhaustive()
    }
}

impl<'a, R: Read> Entries<'a, R> {
    /// Those of an archive that is read from its beginning.
    pub fn new(entries: tar::Entries<'a, R>) -> Self {
        Self { raw: entries.raw(true) }
    }

    /// The next entry, and its content.
    ///
    /// # Errors
    /// When the archive is damaged, or something in it has no bound.
    pub fn next_entry(&mut self) -> io::Result<Option<(Entry, tar::Entry<'a, R>)>> {
        let mut extension = Extension::default();
        for _ in 0..=EXTENSIONS_MAX {
            let Some(raw) = self.raw.next() else { return Ok(None) };
            let mut raw = raw?;
            match raw.header().entry_type() {
                EntryType::GNULongName => extension.path = Some(name(&mut raw)?),
                EntryType::GNULongLink => extension.link = Some(name(&mut raw)?),
                EntryType::XHeader => extension.read(&bounded(&mut raw)?)?,
                // It says something of all entries, for instance which commit they are of. None of it matters here.
                EntryType::XGlobalHeader => drop(bounded(&mut raw)?),
                kind => return Ok(Some((entry(&raw, kind, extension)?, raw))),
            }
        }
        Err(malformed("too many extension headers before one entry"))
    }
}

impl Extension {
    fn read(&mut self, records: &[u8]) -> io::Result<()> {
        for record in PaxExtensions::new(records) {
            let record = record?;
            let (key, value) = (record.key_bytes(), record.value_bytes());
            match key {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"uid" => self.uid = Some(number(value)?),
                b"gid" => self.gid = Some(number(value)?),
                b"mtime" => self.modified = Some(time(value)?),
                b"size" => self.size = Some(number(value)?),
                _ if key.starts_with(b"GNU.sparse.") => return Err(malformed("sparse files are not known")),
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        self.attributes.push((OsString::from_vec(name.to_vec()), value.to_vec()));
                    }
                }
            }
        }
        Ok(())
    }
}

fn entry<R: Read>(raw: &tar::Entry<'_, R>, kind: EntryType, extension: Extension) -> io::Result<Entry> {
    let header = raw.header();
    if extension.size.is_some_and(|size| size != raw.size()) {
        return Err(malformed("a file of more than 8 GiB, or two sizes for one file"));
    }
    let link = extension.link.or_else(|| header.link_name_bytes().map(|link| link.to_vec()));
    let link = || link.clone().filter(|link| !link.is_empty()).ok_or_else(|| malformed("a link to nowhere"));
    let device = || {
        let (major, minor) = (header.device_major()?, header.device_minor()?);
        major.zip(minor).ok_or_else(|| malformed("a device without numbers"))
    };
    let kind = match kind {
        EntryType::Regular | EntryType::Continuous => Kind::File,
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink(OsString::from_vec(link()?)),
        EntryType::Link => Kind::Link(PathBuf::from(OsString::from_vec(link()?))),
        EntryType::Char => device().map(|(major, minor)| Kind::Character(major, minor))?,
        EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor))?,
        EntryType::Fifo => Kind::Fifo,
        other => {
            return Err(malformed(&format!(
                "an entry of the unknown kind {:?}",
                char::from(other.as_byte())
            )));
        }
    };
    let path = extension.path.unwrap_or_else(|| header.path_bytes().to_vec());
    let seconds = i64::try_from(header.mtime()?).unwrap_or_default();
    Ok(Entry {
        path: PathBuf::from(OsString::from_vec(path)),
        kind,
        mode: header.mode()?,
        uid: owner(
            extension
                .uid
                .map_or_else(|| or_root(&header.as_old().uid, header.uid()), |uid| Ok(uid.into()))?,
        )?,
        gid: owner(
            extension
                .gid
                .map_or_else(|| or_root(&header.as_old().gid, header.gid()), |gid| Ok(gid.into()))?,
        )?,
        modified: extension.modified.unwrap_or((seconds, 0)),
        attributes: extension.attributes,
    })
}

/// An owner's field that is left empty is root's, as for everybody who writes and reads archives.
fn or_root(field: &[u8], number: io::Result<u64>) -> io::Result<u64> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(0) } else { number }
}

/// The number of a user or group. The largest of 32 bits means `as it is` to the kernel, which here is root; programs that keep them with
/// a sign take all from half of it on for something else.
fn owner(id: u64) -> io::Result<u32> {
    let id = i32::try_from(id).map_err(|_| malformed("an owner that no system has"))?;
    Ok(id.cast_unsigned())
}

/// A long name: the content of an entry, up to its zero byte.
fn name(raw: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut name = bounded(raw)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name.truncate(end);
    Ok(name)
}

fn bounded(raw: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    raw.take(EXTENSION_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > EXTENSION_BYTES_MAX {
        return Err(malformed("an extension header beyond the limit"));
    }
    Ok(content)
}

fn number<T: std::str::FromStr>(value: &[u8]) -> io::Result<T> {
    let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| malformed("a number that is none"))
}

/// Seconds as a decimal number, maybe negative.
fn time(value: &[u8]) -> io::Result<(i64, i64)> {
    let text = std::str::from_utf8(value).map_err(|_| malformed("a time that is none"))?;
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| malformed("a time that is none"))?;
    let mut digits: String = part.chars().take_while(char::is_ascii_digit).take(9).collect();
    while digits.len() < 9 {
        digits.push('0');
    }
    let nanos: i64 = digits.parse().map_err(|_| malformed("a time that is none"))?;
    if text.starts_with('-') && nanos > 0 {
        return Ok((seconds - 1, 1_000_000_000 - nanos));
    }
    Ok((seconds, nanos))
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Of one extension header: names are at most 4 KiB, attributes at most 64 KiB each.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// Extension headers before one entry; writers make one or two.
const EXTENSIONS_MAX: usize = 8;

#[cfg(test)]
mod time_tests {
    use super::*;

    #[test]
    fn times_are_decimal_numbers() {
        let check = |text: &str, expected| assert_eq!(time(text.as_bytes()).ok(), expected);
        check("12", Some((12, 0)));
        check("12.5", Some((12, 500_000_000)));
        check("12.0000000019", Some((12, 1)));
        check("-1.25", Some((-2, 750_000_000)));
        check("", None);
        check("soon", None);
    }
}
