//! Where a path of a container is: in which of its volumes, and where in that.

use std::{fs::File, io, os::fd::OwnedFd};

use dunlin_wasm_host::{Access, Preopen};

/// A place in a volume.
#[derive(Debug)]
pub(super) struct Place<'a> {
    mount: &'a Preopen,
    /// From the root of the container, without a slash before it; `.` for the root itself.
    pub(super) name: String,
    inside: String,
}

impl<'a> Place<'a> {
    /// Finds the volume that is mounted closest above a path.
    ///
    /// # Errors
    /// When none is, or the path goes back.
    pub(super) fn of(mounts: &'a [Preopen], path: &str) -> io::Result<Self> {
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(io::Error::other("`..` is not followed"));
        }
        let asked = parts.join("/");
        let inside = |mount: &Preopen| {
            let rest = asked.strip_prefix(mount.path.trim_matches('/'))?;
            (rest.is_empty() || mount.path == "/" || rest.starts_with('/'))
                .then(|| rest.trim_start_matches('/').to_owned())
        };
        let found = mounts.iter().filter_map(|mount| Some((mount, inside(mount)?)));
        let (mount, inside) = found
            .max_by_key(|(mount, _)| mount.path.len())
            .ok_or_else(|| io::Error::other("no volume of the container is there"))?;
        let name = if asked.is_empty() { ".".to_owned() } else { asked };
        Ok(Self { mount, name, inside })
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
