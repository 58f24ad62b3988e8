//! Modules by `file://`: files of this machine below the folders that its owner names, read anew for each run and kept as if they had been
//! pulled. No link is followed below such a folder, or whoever may write there would choose among all files of the machine.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use dunlin_link::{Digest, limits::MODULE_BYTES_MAX, reference::Reference};
use dunlin_registry::PullError;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use tracing::info;

use super::{
    Images, ModuleFiles, STAGING,
    bring::{Brought, BroughtContent, file},
};
use crate::folders;

impl Images {
    /// The same, with folders of whose files pods may have modules made.
    pub(crate) fn with_module_dirs(self, dirs: Vec<PathBuf>) -> Self {
        Self { module_dirs: dirs.into(), ..self }
    }

    /// Takes what a file is now.
    ///
    /// # Errors
    /// When it is none that may be taken, is no module, or has another digest than the name.
    pub(super) async fn take_file(
        &self,
        image: &Reference,
        ModuleFiles { folder, pins }: &ModuleFiles,
    ) -> Result<Brought, PullError> {
        let refused = |why: String| PullError::Refused { why };
        let (dirs, path) = (Arc::clone(&self.module_dirs), PathBuf::from(&image.repository));
        let opened = spawn_blocking(move || open(&dirs, &path)).await;
        let from = opened.map_err(|error| refused(error.to_string()))?.map_err(refused)?;
        let bytes = from.metadata().map_err(PullError::Disk)?.len();
        if bytes > MODULE_BYTES_MAX {
            return Err(PullError::TooLarge { what: "the file", bytes, bytes_max: MODULE_BYTES_MAX });
        }
        self.store.check_free(bytes).map_err(PullError::Disk)?;
        // Two that take the same file would write the same copy.
        let name = Digest::of(image.to_string().as_bytes());
        let turn = self.turns.of(name);
        let _turn = turn.lock().await;
        let _held = pins.hold(name);
        let staging = folder.join(format!("{}.{STAGING}", name.hex()));
        let to = staging.clone();
        let copied = spawn_blocking(move || copy(from, &to)).await;
        let copied = copied.map_err(|error| PullError::Disk(io::Error::other(error)))?;
        let Some((digest, bytes)) = copied.map_err(PullError::Disk)? else {
            drop(fs::remove_file(&staging));
            return Err(refused(format!("{image} is no WASM module")));
        };
        if let Some(expected) = image.digest.filter(|expected| *expected != digest) {
            drop(fs::remove_file(&staging));
            return Err(PullError::OtherDigest { what: "the file", expected, actual: digest });
        }
        let pin = pins.hold(digest);
        fs::rename(&staging, file(folder, digest)).map_err(PullError::Disk)?;
        folders::flush(folder).map_err(PullError::Disk)?;
        info!(%image, %digest, bytes, "took a module from a file");
        Ok(Brought { image: digest, bytes, content: BroughtContent::Module(digest), pins: vec![pin] })
    }
}

/// Opens a file below one of the folders.
fn open(dirs: &[PathBuf], path: &Path) -> Result<File, String> {
    let shown = path.display();
    let below = |dir: &PathBuf| path.strip_prefix(dir).ok().map(|inside| (dir.clone(), inside.to_owned()));
    let Some((dir, inside)) = dirs.iter().find_map(below) else {
        return Err(if dirs.is_empty() {
            format!(
                "this node takes no modules from files; `--module-dir` (`moduleDirs`) names folders that `{shown}` may be in"
            )
        } else {
            format!("`{shown}` is in none of the folders that this node takes modules from (`--module-dir`)")
        });
    };
    let failed = |error: rustix::io::Errno| match error {
        rustix::io::Errno::LOOP | rustix::io::Errno::XDEV => {
            format!("`{shown}` leads through a symbolic link or out of its folder")
        }
        error => format!("`{shown}`: {}", io::Error::from(error)),
    };
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(CWD, &dir, folder, Mode::empty()).map_err(failed)?;
    // A pipe would be waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = File::from(openat2(dir, &inside, flags, Mode::empty(), resolve).map_err(failed)?);
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(file),
        Ok(_) => Err(format!("`{shown}` is no file")),
        Err(error) => Err(format!("`{shown}`: {error}")),
    }
}

/// Copies a module, durably; `None` for what is none. Nothing is taken of one that grows beyond the bound meanwhile.
fn copy(from: File, to: &Path) -> io::Result<Option<(Digest, u64)>> {
    let mut copy = File::create(to)?;
    let (mut from, mut hash, mut chunk) =
        (from.take(MODULE_BYTES_MAX + 1), Sha256::new(), vec![0; CHUNK_BYTES]);
    let mut bytes = 0;
    loop {
        let count = from.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        if bytes == 0 && !chunk[..count].starts_with(b"\0asm") {
            return Ok(None);
        }
        bytes += count as u64;
        hash.update(&chunk[..count]);
        copy.write_all(&chunk[..count])?;
    }
    copy.sync_all()?;
    let is_module = (1..=MODULE_BYTES_MAX).contains(&bytes);
    Ok(is_module.then(|| (Digest::from_bytes(hash.finalize().into()), bytes)))
}

/// Read at a time.
const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_below_the_folders_are_opened_and_no_link_is_followed() {
        let machine = tempfile::tempdir().unwrap();
        let path = |name: &str| machine.path().join(name);
        fs::create_dir_all(path("modules/team")).unwrap();
        fs::create_dir(path("modules-of-others")).unwrap();
        for file in ["modules/team/a.wasm", "secret", "modules-of-others/a.wasm"] {
            fs::write(path(file), "\0asm").unwrap();
        }
        symlink("team/a.wasm", path("modules/link.wasm")).unwrap();
        symlink(machine.path(), path("modules/out")).unwrap();
        rustix::fs::mkfifoat(CWD, path("modules/pipe"), Mode::RUSR).unwrap();
        let dirs = [path("modules")];
        let check = |name: &str, expected: &str| {
            let said = open(&dirs, &path(name)).map_or_else(|why| why, |_| "open".to_owned());
            assert!(said.contains(expected), "{name}: {said}");
        };
        check("modules/team/a.wasm", "open");
        check("modules/link.wasm", "leads through a symbolic link");
        check("modules/out/secret", "leads through a symbolic link");
        check("modules/pipe", "is no file");
        check("modules/team", "is no file");
        check("modules/none.wasm", "No such file");
        for elsewhere in ["secret", "modules-of-others/a.wasm"] {
            check(elsewhere, "is in none of the folders");
        }
        let why = open(&[], &path("secret")).unwrap_err();
        assert!(why.contains("`--module-dir`"), "{why}");
    }
}
