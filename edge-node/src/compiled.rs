//! Compiled modules on the node's disk, and whose word makes them worth loading.
//!
//! Code lies beside its module with one of two files that say what it is: the coordinator's signed record, or the hash of what this
//! node compiled itself. `docs/design/compiling.md` has the names.

mod trust;

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use dunlin_link::{Digest, compiled::SignedCompiled, limits::SIGNED_COMPILED_BYTES_MAX};
use ring::digest::{Context, SHA256};

#[cfg(test)]
pub(crate) use self::trust::test as test_signer;
pub(crate) use self::trust::{Trust, Untrusted};
use crate::folders;

/// Whether a node compiles modules that it has no code of from its coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum CompileMode {
    /// Where there is no coordinator to ask, and memory enough.
    #[default]
    Auto,
    /// Never: the node runs its coordinator's code alone.
    Never,
}

/// The files of one module's code for one target.
#[derive(Clone, Debug)]
pub(crate) struct CompiledFiles {
    module: PathBuf,
    /// The code.
    pub(crate) code: PathBuf,
    /// Who made it, when that was the coordinator.
    signed: PathBuf,
    /// What it is, when that was this node.
    own: PathBuf,
}

/// What the files say of the code.
#[derive(Debug)]
pub(crate) enum Said {
    /// Nothing that counts.
    Nothing,
    /// That it is the coordinator's.
    Signed(SignedCompiled),
    /// That this node compiled it, and its hash.
    Own(Digest),
}

impl CompiledFiles {
    pub(crate) fn of(module: &Path, target: &str) -> Self {
        let file = |kind: &str| with_suffix(module, &format!(".{target}.{kind}"));
        Self { module: module.to_owned(), code: file(CODE), signed: file(SIGNED), own: file(OWN) }
    }

    /// Whether there is code to load, as far as names tell.
    pub(crate) fn are_here(&self, mode: CompileMode) -> bool {
        self.code.exists() && (self.signed.exists() || (mode == CompileMode::Auto && self.own.exists()))
    }

    /// What is said of the code. A file that is malformed says nothing.
    pub(crate) fn said(&self) -> io::Result<Said> {
        if !self.code.exists() {
            return Ok(Said::Nothing);
        }
        if let Some(bytes) = read_small(&self.signed)? {
            return Ok(SignedCompiled::from_bytes(&bytes).map_or(Said::Nothing, Said::Signed));
        }
        let own = read_small(&self.own)?.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        Ok(own.map_or(Said::Nothing, Said::Own))
    }

    /// The digest that the module's name says.
    pub(crate) fn module(&self) -> Option<Digest> {
        let stem = self.module.file_stem()?.to_str()?;
        format!("sha256:{stem}").parse().ok()
    }

    /// The part of the coordinator's code that has arrived, and what it is a part of.
    pub(crate) fn parts(&self) -> (PathBuf, PathBuf) {
        (with_suffix(&self.code, ".part"), with_suffix(&self.signed, ".part"))
    }

    /// Puts code that arrived and was checked in its place, and then what makes it count.
    pub(crate) fn keep_signed(&self, signed: &SignedCompiled) -> io::Result<()> {
        let (part, signed_part) = self.parts();
        // What this node made itself counts no more.
        remove(&self.own)?;
        make_unwritable(&part)?;
        fs::rename(&part, &self.code)?;
        remove(&signed_part)?;
        write_durably(&signed_part, &signed.to_bytes())?;
        fs::rename(&signed_part, &self.signed)?;
        self.flush()
    }

    /// The same for what this node compiled.
    pub(crate) fn keep_own(&self, code: &Path, digest: Digest) -> io::Result<()> {
        remove(&self.signed)?;
        let new = with_suffix(&self.own, ".part");
        remove(&new)?;
        write_durably(&new, digest.to_string().as_bytes())?;
        fs::rename(&new, &self.own)?;
        fs::rename(code, &self.code)?;
        self.flush()
    }

    /// Removes code that is not to be loaded.
    pub(crate) fn remove(&self) {
        for path in [&self.signed, &self.own, &self.code] {
            if let Err(error) = remove(path) {
                tracing::warn!(path = %path.display(), %error, "a file of refused code could not be removed");
            }
        }
    }

    /// Removes code of the same module for other targets: what an earlier version ran.
    pub(crate) fn remove_others(&self) -> io::Result<()> {
        let (Some(folder), Some(name)) = (self.module.parent(), self.module.file_name()) else {
            return Ok(());
        };
        let module = name.to_string_lossy();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_code = name.strip_prefix(&*module).is_some_and(|rest| {
                rest.starts_with('.')
                    && [CODE, SIGNED, OWN].iter().any(|kind| rest.ends_with(&format!(".{kind}")))
            });
            if is_code && ![&self.code, &self.signed, &self.own].contains(&&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.module.parent().map_or(Ok(()), folders::flush)
    }
}

/// The hash of a file, and how long it is.
pub(crate) fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = File::open(path)?;
    let (mut context, mut bytes) = (Context::new(&SHA256), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            let mut digest = [0; 32];
            digest.copy_from_slice(context.finish().as_ref());
            return Ok((Digest::from_bytes(digest), bytes));
        }
        context.update(&chunk[..count]);
        bytes += count as u64;
    }
}

/// A path with more at its end.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn read_small(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(SIGNED_COMPILED_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn make_unwritable(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o400))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const CODE: &str = "cwasm";
const SIGNED: &str = "signed";
const OWN: &str = "own";

/// Read and hashed at a time.
const CHUNK_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use dunlin_link::compiled::CompiledRecord;

    use super::*;

    fn signed() -> SignedCompiled {
        let digest = Digest::of(b"code");
        let record = CompiledRecord { module: digest, target: "t".to_owned(), code: digest, bytes: 4 };
        SignedCompiled { record, certificate: Vec::new(), signature: Vec::new() }
    }

    #[test]
    fn code_counts_with_what_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let module = folder.path().join(format!("{}.wasm", Digest::of(b"module").hex()));
        let files = CompiledFiles::of(&module, "1.2.3-t");
        assert_eq!(files.module(), Some(Digest::of(b"module")));
        fs::write(&files.code, b"put here by somebody").unwrap();
        assert!(!files.are_here(CompileMode::Auto) && matches!(files.said().unwrap(), Said::Nothing));
        fs::remove_file(&files.code).unwrap();

        let code = folder.path().join("new");
        fs::write(&code, b"code").unwrap();
        files.keep_own(&code, Digest::of(b"code")).unwrap();
        assert!(files.are_here(CompileMode::Auto) && !files.are_here(CompileMode::Never));
        assert!(matches!(files.said().unwrap(), Said::Own(digest) if digest == Digest::of(b"code")));

        fs::write(files.parts().0, b"code").unwrap();
        files.keep_signed(&signed()).unwrap();
        assert!(files.are_here(CompileMode::Never));
        assert!(matches!(files.said().unwrap(), Said::Signed(found) if found == signed()));
        assert_eq!(hash(&files.code).unwrap(), (Digest::of(b"code"), 4));

        let other = CompiledFiles::of(&module, "1.2.2-t");
        fs::write(&code, b"older").unwrap();
        other.keep_own(&code, Digest::of(b"older")).unwrap();
        fs::write(&module, b"module").unwrap();
        files.remove_others().unwrap();
        assert!(module.exists() && files.are_here(CompileMode::Never) && !other.code.exists());
        files.remove();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn malformed_words_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = CompiledFiles::of(&folder.path().join("x.wasm"), "t");
        assert_eq!(files.module(), None);
        fs::write(&files.code, b"code").unwrap();
        for bytes in [b"".to_vec(), b"sha256:12".to_vec(), vec![7; SIGNED_COMPILED_BYTES_MAX + 10]] {
            fs::write(&files.own, &bytes).unwrap();
            assert!(matches!(files.said().unwrap(), Said::Nothing));
            fs::write(&files.signed, &bytes).unwrap();
            assert!(matches!(files.said().unwrap(), Said::Nothing));
            fs::remove_file(&files.signed).unwrap();
        }
    }
}
