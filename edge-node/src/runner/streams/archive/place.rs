//! Where a path of a container is: in which of its volumes, and where in that.

use std::{fs::File, io, os::fd::OwnedFd};

use dunlin_wasm_host::{Access, Container, Preopen};

/// What a container sees of files.
pub(in crate::runner::streams) struct Files {
    pub(super) mounts: Vec<Preopen>,
    /// Where relative paths begin.
    pub(super) working_dir: String,
}

impl Files {
    pub(in crate::runner::streams) fn of(container: &Container) -> Self {
        let working_dir = container.working_dir().unwrap_or_default().to_owned();
        Self { mounts: container.preopens().to_vec(), working_dir }
    }

    /// The volumes that are mounted below a path, and where from there; those above others first.
    ///
    /// # Errors
    /// When the path goes back.
    pub(super) fn below(&self, path: &str) -> io::Result<Vec<(&Preopen, String)>> {
        let path = self.absolute(path)?;
        let found = self.mounts.iter().filter_map(|mount| {
            let at = plain(&mount.path);
            let rest = beneath(&at, &path).filter(|rest| !rest.is_empty())?;
            Some((mount, rest.to_owned()))
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by(|(_, one), (_, other)| one.cmp(other));
        Ok(found)
    }

    /// A path from the root of the container.
    fn absolute(&self, path: &str) -> io::Result<String> {
        let start = if path.starts_with('/') { "" } else { &self.working_dir };
        let path = plain(&format!("{start}/{path}"));
        if path.split('/').any(|part| part == "..") {
            return Err(io::Error::other("`..` is not followed"));
        }
        Ok(path)
    }
}

/// A place in a volume.
#[derive(Debug)]
pub(super) struct Place<'a> {
    mount: &'a Preopen,
    inside: String,
}

impl<'a> Place<'a> {
    /// Finds the volume that is mounted closest above a path.
    ///
    /// # Errors
    /// When none is, or the path goes back.
    pub(super) fn of(files: &'a Files, path: &str) -> io::Result<Self> {
        let path = files.absolute(path)?;
        let inside = |mount: &Preopen| beneath(&path, &plain(&mount.path)).map(str::to_owned);
        let found = files.mounts.iter().filter_map(|mount| Some(Self { mount, inside: inside(mount)? }));
        let nowhere = || io::Error::new(io::ErrorKind::NotFound, "no volume of the container is there");
        found.min_by_key(|place| place.inside.len()).ok_or_else(nowhere)
    }

    /// The volume's folder.
    pub(super) fn root(&self) -> io::Result<OwnedFd> {
        Ok(File::open(&self.mount.dir)?.into())
    }

    /// The path within the volume, which is never empty.
    pub(super) fn inside(&self) -> &str {
        if self.inside.is_empty() { "." } else { &self.inside }
    }

    /// Whether the container may write there.
    pub(super) fn is_writable(&self) -> bool {
        self.mount.access == Access::ReadWrite
    }
}

/// A path without the parts of it that say nothing, and without a slash before it.
pub(super) fn plain(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    parts.join("/")
}

/// Where from a path another is, if it is there or below; both are plain.
fn beneath<'a>(path: &'a str, above: &str) -> Option<&'a str> {
    if above.is_empty() || path == above {
        return Some(&path[above.len()..]);
    }
    path.strip_prefix(above)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn relative_paths_begin_at_the_working_directory() {
        let mount = |at: &str| Preopen {
            dir: PathBuf::from(format!("of {at}")),
            path: at.to_owned(),
            access: Access::ReadWrite,
        };
        let found = |working_dir: &str, path: &str| {
            let mounts = ["/data/in//", "/", "/data"].map(mount).to_vec();
            let files = Files { mounts, working_dir: working_dir.to_owned() };
            let place = Place::of(&files, path).map_err(|error| error.to_string())?;
            Ok::<_, String>(format!("{}: {}", place.mount.path, place.inside()))
        };
        for (working_dir, path, expected) in [
            ("", "data/a", "/data: a"),
            ("/data", "a", "/data: a"),
            ("/data", ".", "/data: ."),
            ("data/in", "./a/b", "/data/in//: a/b"),
            ("/data", "in", "/data/in//: ."),
            ("/data", "inner", "/data: inner"),
            ("/data", "/a", "/: a"),
            ("/", "data/in/a", "/data/in//: a"),
        ] {
            assert_eq!(found(working_dir, path).as_deref(), Ok(expected), "{working_dir} {path}");
        }
        assert!(found("/data/..", "a").is_err() && found("/data", "../a").is_err());
        assert!(found("/data/..", "/a").is_ok());
    }
}
