//! Modules of images in other registries, kept for no other reason than to be compiled: nodes pull those by themselves.
//!
//! That a registry names a module's digest does not mean that it has the module, which may be somebody else's secret. So it is kept
//! which repositories have given each module away: `foreign/origins/HEX`, a line each.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use dunlin_link::{Digest, limits::MODULE_BYTES_MAX};
use tokio::{io::AsyncRead, task::spawn_blocking};
use tracing::warn;

use super::{Artifacts, Module, UploadError, content};
use crate::folders;

impl Artifacts {
    /// Whether there is a file of this module, wherever it came from.
    pub(crate) fn has_module(&self, digest: Digest) -> bool {
        self.module_path(digest).is_file()
    }

    /// Keeps a module, if it is one, and lets those go that were longest of no use.
    ///
    /// # Errors
    /// When it is no module, or cannot be written.
    pub(crate) async fn keep_foreign(
        &self,
        content: impl AsyncRead + Send + Unpin,
        digest: Digest,
    ) -> Result<Module, UploadError> {
        let module = content::upload(&self.foreign, content, Some(digest), MODULE_BYTES_MAX).await?;
        let folder = self.foreign.clone();
        let swept = spawn_blocking(move || sweep(&folder, digest, FOREIGN_BYTES_MAX)).await;
        if let Err(error) = swept.unwrap_or_else(|error| Err(io::Error::other(error))) {
            warn!(%error, "modules of other registries could not be removed");
        }
        Ok(module)
    }

    /// Whether a repository has given this module away, and it is still here.
    pub(crate) fn is_from(&self, digest: Digest, origin: &str) -> bool {
        let origins = fs::read_to_string(origins_path(&self.foreign, digest)).unwrap_or_default();
        self.has_module(digest) && origins.lines().any(|known| known == origin)
    }

    /// Takes note that a repository has given this module away.
    ///
    /// # Errors
    /// When that cannot be written; the module is then pulled again.
    pub(crate) fn note_origin(&self, digest: Digest, origin: &str) -> io::Result<()> {
        if self.is_from(digest, origin) {
            return Ok(());
        }
        let path = origins_path(&self.foreign, digest);
        let origins = fs::read_to_string(&path).unwrap_or_default();
        let kept = origins.lines().rev().take(ORIGINS_MAX - 1);
        let lines: Vec<_> = std::iter::once(origin).chain(kept).collect();
        let new = tempfile::NamedTempFile::new_in(content::uploads_path(&self.foreign))?;
        fs::write(new.path(), lines.into_iter().rev().map(|line| format!("{line}\n")).collect::<String>())?;
        folders::make(path.parent().expect("it was joined"))?;
        new.persist(path).map(drop).map_err(|error| error.error)
    }

    /// Takes note that a module was of use.
    pub(crate) fn touch_foreign(&self, digest: Digest) {
        let path = content::finished_path(&self.foreign, digest);
        // A time that is not noted makes the module go earlier, and it is pulled again.
        let _ =
            fs::File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// Where something lies until it is known to be a module; on the same file system.
    pub(crate) fn foreign_folder(&self) -> PathBuf {
        content::uploads_path(&self.foreign)
    }
}

/// Removes the longest unused modules but `kept`, until the rest takes no more than `bytes_max`.
fn sweep(folder: &Path, kept: Digest, bytes_max: u64) -> io::Result<()> {
    let mut files = Vec::new();
    for digest in content::stored(folder)? {
        let path = content::finished_path(folder, digest);
        let metadata = fs::metadata(&path)?;
        files.push((digest == kept, metadata.modified()?, metadata.len(), path));
    }
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, _, bytes, _)| bytes).sum();
    for (is_kept, _, size, path) in files {
        if is_kept || bytes <= bytes_max {
            break;
        }
        let hex = path.file_name().map(|name| folder.join(ORIGINS).join(name));
        fs::remove_file(path)?;
        // Who gave it away has to do so again; one that was there before this was kept has none.
        let _ = hex.map(fs::remove_file);
        bytes -= size;
    }
    Ok(())
}

fn origins_path(folder: &Path, digest: Digest) -> PathBuf {
    folder.join(ORIGINS).join(digest.hex())
}

/// Folder of what is known of where modules come from.
const ORIGINS: &str = "origins";

/// Repositories of one module that are remembered; the others give it away again.
const ORIGINS_MAX: usize = 64;

/// What such modules may take of the disk. Their code is kept apart, and made again from a new pull where it went with them.
const FOREIGN_BYTES_MAX: u64 = 4 << 30;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_gave_a_module_away_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            crate::store::Store::open(&crate::store::StoreOptions::new(folder.path().join("s"))).unwrap();
        let artifacts = Artifacts::open(folder.path(), store).unwrap();
        let digest = Digest::of(b"x");
        artifacts.note_origin(digest, "a.example/one").unwrap();
        assert!(!artifacts.is_from(digest, "a.example/one"), "it is not here");
        fs::write(content::finished_path(&artifacts.foreign, digest), "x").unwrap();
        assert!(artifacts.is_from(digest, "a.example/one") && !artifacts.is_from(digest, "a.example/on"));
        for number in 0..ORIGINS_MAX {
            artifacts.note_origin(digest, &format!("b.example/{number}")).unwrap();
        }
        assert!(!artifacts.is_from(digest, "a.example/one"), "of many the oldest is forgotten");
        assert!((0..ORIGINS_MAX).all(|number| artifacts.is_from(digest, &format!("b.example/{number}"))));
        sweep(&artifacts.foreign, Digest::of(b"y"), 0).unwrap();
        fs::write(content::finished_path(&artifacts.foreign, digest), "x").unwrap();
        assert!(!artifacts.is_from(digest, "b.example/1"));
    }

    #[test]
    fn the_longest_unused_go_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        content::prepare(folder.path()).unwrap();
        let digests: Vec<_> = (0..4_u8).map(|n| Digest::of(&[n])).collect();
        for (age, digest) in digests.iter().enumerate() {
            let file = fs::File::create(content::finished_path(folder.path(), *digest)).unwrap();
            file.set_len(100).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age as u64 * 60)).unwrap();
        }
        let left = |bytes_max| {
            sweep(folder.path(), digests[3], bytes_max).unwrap();
            let path = |digest: &Digest| content::finished_path(folder.path(), *digest);
            digests.iter().map(|digest| path(digest).exists()).collect::<Vec<_>>()
        };
        assert_eq!(left(400), [true, true, true, true]);
        assert_eq!(left(250), [true, false, false, true]);
        assert_eq!(left(0), [false, false, false, true]);
    }
}
