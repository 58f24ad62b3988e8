//! Compiled code on the coordinator's disk: `compiled/KEY/HEX.code`, and `HEX.signed`, which makes it count.

use std::{
    fs,
    io::{self, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use dunlin_link::{
    Digest,
    compiled::{CompiledRecord, SignedCompiled},
    limits::{COMPILED_BYTES_MAX, SIGNED_COMPILED_BYTES_MAX},
};
use sha2::{Digest as _, Sha256};
use tokio::{fs::File, io::AsyncSeekExt as _};

use super::Wanted;
use crate::{folders, pki::CodeSigner};

#[derive(Debug)]
pub(super) struct Folder {
    finished: PathBuf,
    new: PathBuf,
    count: AtomicU64,
}

/// A file that is being made, removed unless it is kept.
#[derive(Debug)]
pub(super) struct NewFile(PathBuf);

impl NewFile {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // What was kept has another name by now.
        let _ = fs::remove_file(&self.0);
    }
}

impl Folder {
    /// Makes the folders, and removes what was being made when the last coordinator ended.
    pub(super) fn open(data_folder: &Path) -> io::Result<Self> {
        let (finished, new) = (data_folder.join("compiled"), data_folder.join("compiling"));
        folders::make(&finished)?;
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        folders::make(&new)?;
        Ok(Self { finished, new, count: AtomicU64::new(0) })
    }

    /// A name that no other process takes: a compilation may outlive the coordinator that began it.
    pub(super) fn new_file(&self) -> NewFile {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        NewFile(self.new.join(format!("{}-{count}", std::process::id())))
    }

    /// Signs and keeps new code, durably.
    pub(super) fn keep(
        &self,
        wanted: &Wanted,
        new: NewFile,
        signer: &CodeSigner,
    ) -> io::Result<SignedCompiled> {
        let (code, bytes) = hash(new.path())?;
        if bytes > COMPILED_BYTES_MAX {
            return Err(io::Error::other("the code is larger than code may be"));
        }
        let Wanted { module, target } = wanted.clone();
        let signed = signer.sign(CompiledRecord { module, target, code, bytes }).map_err(io::Error::other)?;
        let (code_path, signed_path) = self.paths(wanted);
        let folder = self.finished.join(&wanted.target);
        folders::make(&folder)?;
        fs::rename(new.path(), code_path)?;
        let word = self.new_file();
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(word.path())?;
        file.write_all(&signed.to_bytes())?;
        file.sync_all()?;
        fs::rename(word.path(), signed_path)?;
        folders::sync(&folder)?;
        Ok(signed)
    }

    /// Code that is whole; what is not is removed.
    pub(super) fn find(&self, wanted: &Wanted, signer: &CodeSigner) -> io::Result<Option<SignedCompiled>> {
        let (code_path, signed_path) = self.paths(wanted);
        let signed = match fs::read(&signed_path) {
            Ok(bytes) if bytes.len() <= SIGNED_COMPILED_BYTES_MAX => SignedCompiled::from_bytes(&bytes),
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = match hash(&code_path) {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let fits = |signed: &SignedCompiled| {
            let record = &signed.record;
            (record.module, record.target.as_str()) == (wanted.module, wanted.target.as_str())
                && found == Some((record.code, record.bytes))
                && signer.has_certified(signed)
        };
        match signed.filter(fits) {
            Some(signed) => Ok(Some(signed)),
            None => {
                tracing::warn!(module = %wanted.module, target = wanted.target, "compiled code is damaged, and made anew");
                self.remove(wanted)?;
                Ok(None)
            }
        }
    }

    /// The code at an offset, and a note that it was of use.
    pub(super) async fn open_code(&self, wanted: &Wanted, offset: u64) -> io::Result<File> {
        let (code, _) = self.paths(wanted);
        let file = fs::File::open(code)?;
        // What is served longest ago goes first when there is too much; that it was served now is not worth a failure.
        let _ = file.set_modified(SystemTime::now());
        let mut file = File::from_std(file);
        file.seek(SeekFrom::Start(offset)).await?;
        Ok(file)
    }

    /// Removes what nobody wants, and what was served longest ago as long as there is more than `bytes_max`; answers what is gone.
    pub(super) fn sweep(
        &self,
        is_wanted: impl Fn(&Wanted) -> bool,
        bytes_max: u64,
    ) -> io::Result<Vec<Wanted>> {
        let mut kept = Vec::new();
        let mut gone = Vec::new();
        for found in self.all()? {
            if is_wanted(&found.wanted) { kept.push(found) } else { gone.push(found.wanted) }
        }
        kept.sort_by_key(|found| found.served);
        let mut bytes: u64 = kept.iter().map(|found| found.bytes).sum();
        // The newest stays, however large it is.
        let older = kept.len().saturating_sub(1);
        for found in kept.into_iter().take(older) {
            if bytes <= bytes_max {
                break;
            }
            bytes -= found.bytes;
            gone.push(found.wanted);
        }
        for wanted in &gone {
            self.remove(wanted)?;
            // Goes when it is empty.
            let _ = fs::remove_dir(self.finished.join(&wanted.target));
        }
        Ok(gone)
    }

    fn all(&self) -> io::Result<Vec<Found>> {
        let mut all = Vec::new();
        for target in fs::read_dir(&self.finished)? {
            let target = target?;
            let Ok(name) = target.file_name().into_string() else { continue };
            for entry in fs::read_dir(target.path())? {
                let entry = entry?;
                let module = entry.file_name();
                let module = module.to_str().and_then(|name| name.strip_suffix(CODE));
                let Some(module) = module.and_then(|hex| format!("sha256:{hex}").parse().ok()) else {
                    continue;
                };
                let metadata = entry.metadata()?;
                all.push(Found {
                    wanted: Wanted { module, target: name.clone() },
                    bytes: metadata.len(),
                    served: metadata.modified()?,
                });
            }
        }
        Ok(all)
    }

    fn remove(&self, wanted: &Wanted) -> io::Result<()> {
        let (code, signed) = self.paths(wanted);
        for path in [signed, code] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn paths(&self, wanted: &Wanted) -> (PathBuf, PathBuf) {
        let (folder, hex) = (self.finished.join(&wanted.target), wanted.module.hex());
        (folder.join(format!("{hex}{CODE}")), folder.join(format!("{hex}.signed")))
    }
}

struct Found {
    wanted: Wanted,
    bytes: u64,
    served: SystemTime,
}

/// The hash and length of a file.
pub(super) fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut hash = Sha256::new();
    let bytes = io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok((Digest::from_bytes(hash.finalize().into()), bytes))
}

const CODE: &str = ".code";
