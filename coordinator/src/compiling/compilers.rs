//! Which compilers there are: this release's own, and executables of this and the release before, kept so that nodes which stay behind
//! an upgrade of the coordinator get code of their own release.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use dunlin_compiler::Compiler;
use dunlin_link::Digest;
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::folder::hash;
use crate::folders;

#[derive(Debug)]
pub(super) struct Compilers {
    own: Option<Compiler>,
    /// Asked once; a compiler that does not tell is asked again.
    own_targets: OnceCell<Vec<String>>,
    folder: PathBuf,
    kept: Mutex<Vec<Arc<Kept>>>,
}

/// An executable in a folder of its own, named by its hash.
#[derive(Debug)]
struct Kept {
    folder: PathBuf,
    targets: Vec<String>,
    since: SystemTime,
    /// Found to be what its folder's name says.
    is_whole: OnceCell<bool>,
}

impl Compilers {
    pub(super) fn open(data_folder: &Path, own: Option<Compiler>) -> io::Result<Self> {
        let folder = data_folder.join("compilers");
        folders::make(&folder)?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            match Kept::read(&path) {
                Some(found) => kept.push(Arc::new(found)),
                // A copy that was cut off.
                None => fs::remove_dir_all(path)?,
            }
        }
        Ok(Self { own, own_targets: OnceCell::new(), folder, kept: Mutex::new(kept) })
    }

    /// The compiler for a target.
    pub(super) async fn of(&self, target: &str) -> Option<Compiler> {
        if let Some(own) = &self.own
            && self.own_targets().await.is_some_and(|targets| targets.iter().any(|own| own == target))
        {
            return Some(own.clone());
        }
        let found = self.kept().iter().find(|kept| kept.targets.iter().any(|made| made == target)).cloned();
        found?.compiler().await
    }

    /// All targets that there are compilers for; `None` when that is not known.
    pub(super) async fn targets(&self) -> Option<Vec<String>> {
        let own = if self.own.is_some() { self.own_targets().await?.to_vec() } else { Vec::new() };
        Some(own.into_iter().chain(self.kept().iter().flat_map(|kept| kept.targets.clone())).collect())
    }

    /// Keeps a copy of this release's compiler, unless one that makes the same code is there, and of the others the newest that makes
    /// code for machines that there are.
    pub(super) async fn keep(&self, is_there: impl Fn(&str) -> bool) -> io::Result<()> {
        let (Some(own), Some(targets)) = (&self.own, self.own_targets().await) else { return Ok(()) };
        let Some(program) = own.program().map(Path::to_owned) else { return Ok(()) };
        let known = self.kept();
        let (ours, others): (Vec<_>, Vec<_>) = known.into_iter().partition(|kept| kept.targets == targets);
        // One that turned out to be damaged is copied anew.
        let (ours, mut gone): (Vec<_>, Vec<_>) =
            ours.into_iter().partition(|kept| kept.is_whole.get() != Some(&false));
        let is_of_use = |kept: &Arc<Kept>| kept.targets.iter().any(|target| is_there(target));
        let (mut others, unused): (Vec<_>, Vec<_>) = others.into_iter().partition(is_of_use);
        others.sort_by_key(|kept| std::cmp::Reverse(kept.since));
        gone.extend(others.split_off(others.len().min(EARLIER_KEPT)));
        gone.extend(unused);
        let is_copied = !ours.is_empty();
        others.extend(ours);
        self.set_kept(others);
        // Before there is one more: the disk may be full of them.
        for kept in gone {
            fs::remove_dir_all(&kept.folder)?;
        }
        if !is_copied {
            let (folder, targets) = (self.folder.clone(), targets.to_vec());
            let copied = spawn_blocking(move || copy(&program, &folder, targets)).await;
            let ours = Arc::new(copied.unwrap_or_else(|error| Err(io::Error::other(error)))?);
            self.set_kept(self.kept().into_iter().chain([ours]).collect());
        }
        Ok(())
    }

    fn set_kept(&self, kept: Vec<Arc<Kept>>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    async fn own_targets(&self) -> Option<&[String]> {
        let own = self.own.as_ref()?;
        match self.own_targets.get_or_try_init(|| own.targets()).await {
            Ok(targets) => Some(targets),
            Err(error) => {
                tracing::error!(%error, "the compiler does not tell what it compiles for");
                None
            }
        }
    }

    fn kept(&self) -> Vec<Arc<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Kept {
    fn read(folder: &Path) -> Option<Self> {
        // A copy that was not finished has another name.
        format!("sha256:{}", folder.file_name()?.to_str()?).parse::<Digest>().ok()?;
        let targets = fs::read_to_string(folder.join(TARGETS)).ok()?;
        let since = fs::metadata(folder.join(PROGRAM)).ok()?.modified().ok()?;
        let targets = targets.lines().map(str::to_owned).collect();
        Some(Self { folder: folder.to_owned(), targets, since, is_whole: OnceCell::new() })
    }

    async fn compiler(&self) -> Option<Compiler> {
        let program = self.folder.join(PROGRAM);
        let is_whole = self.is_whole.get_or_init(|| async {
            let (program, name) = (program.clone(), self.folder.file_name().map(ToOwned::to_owned));
            let found = spawn_blocking(move || hash(&program)).await;
            found.is_ok_and(|found| {
                found.is_ok_and(|(digest, _)| name.is_some_and(|name| *name == *digest.hex()))
            })
        });
        if !*is_whole.await {
            tracing::error!(folder = %self.folder.display(), "a kept compiler is damaged and not used");
            return None;
        }
        Some(Compiler::of_program(program))
    }
}

/// Copies an executable under its hash; its list of targets makes it count.
fn copy(program: &Path, folder: &Path, targets: Vec<String>) -> io::Result<Kept> {
    let new = tempfile::tempdir_in(folder)?;
    let path = new.path().join(PROGRAM);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o500).open(&path)?;
    io::copy(&mut fs::File::open(program)?, &mut file)?;
    file.sync_all()?;
    drop(file);
    let (digest, _) = hash(&path)?;
    let mut list =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(new.path().join(TARGETS))?;
    list.write_all(targets.join("\n").as_bytes())?;
    list.sync_all()?;
    folders::sync(new.path())?;
    let kept = folder.join(digest.hex());
    if kept.exists() {
        fs::remove_dir_all(&kept)?;
    }
    fs::rename(new.path(), &kept)?;
    // It has another name by now.
    let _ = new.keep();
    folders::sync(folder)?;
    Kept::read(&kept).ok_or_else(|| io::Error::other("the copy cannot be read back"))
}

const PROGRAM: &str = "dunlin";
const TARGETS: &str = "targets";

/// Releases before this one.
const EARLIER_KEPT: usize = 1;
