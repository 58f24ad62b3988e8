//! Files that change all at once: a reader sees the old ones or the new ones, never some of each.
//!
//! As the kubelet has it: the files are in a folder whose name begins with `..`, the link `..data` names the folder that counts, and each
//! name at the top is a link through it. A change makes another folder and renames a new link over `..data`.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use dunlin_edge_node_core::volumes::File;
use rustix::process::geteuid;

use super::make_readable;

/// Makes the volume in `dir` hold these files and no others; writes nothing when it does already. `finish` gets a folder of new files
/// before anybody sees it.
///
/// # Errors
/// When the disk fails; the volume is as it was then, or as it is to be.
pub(super) fn write(dir: &Path, files: &[File], finish: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && holds(&dir.join(current), files)?
    {
        return link_names(dir, files);
    }
    let name = new_folder(dir)?;
    let folder = dir.join(&name);
    for file in files {
        write_file(&folder, file)?;
    }
    finish(&folder)?;
    let new_link = dir.join(DATA_NEW);
    remove_if_there(&new_link)?;
    symlink(&name, &new_link)?;
    fs::rename(&new_link, dir.join(DATA))?;
    link_names(dir, files)?;
    remove_old(dir, &name)
}

/// Writes one file below a folder that nobody else sees yet.
pub(super) fn write_file(folder: &Path, file: &File) -> io::Result<()> {
    let path = folder.join(&file.path);
    if let Some(parent) = path.parent() {
        make_readable(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).open(&path)?.write_all(&file.data)?;
    // Where the node is not root, it runs guests alone, all of which are the node's user.
    if file.owner.is_some() && geteuid().is_root() {
        chown(&path, file.owner, None)?;
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))
}

/// Whether a folder holds exactly these files.
fn holds(folder: &Path, files: &[File]) -> io::Result<bool> {
    let mut there = BTreeSet::new();
    if !folder.is_dir() {
        return Ok(false);
    }
    list(folder, Path::new(""), &mut there)?;
    let wanted: BTreeSet<_> = files.iter().map(|file| PathBuf::from(&file.path)).collect();
    let is_same = |file: &File| {
        let path = folder.join(&file.path);
        let mode = fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777);
        // Those of a group's volume may be read by the group, too.
        mode.is_ok_and(|mode| mode == file.mode || mode == file.mode | 0o440)
            && fs::read(&path).is_ok_and(|data| data[..] == file.data[..])
    };
    Ok(there == wanted && files.iter().all(is_same))
}

fn list(folder: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            list(folder, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

/// Has each name at the top lead to the folder that counts, and no other name be there.
fn link_names(dir: &Path, files: &[File]) -> io::Result<()> {
    let names: BTreeSet<&str> = files.iter().filter_map(|file| file.path.split('/').next()).collect();
    for name in &names {
        let link = dir.join(name);
        let target = Path::new(DATA).join(name);
        if fs::read_link(&link).ok().as_deref() != Some(&*target) {
            remove_if_there(&link)?;
            symlink(&target, &link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !names.contains(&*name) {
            remove_if_there(&dir.join(&*name))?;
        }
    }
    Ok(())
}

/// Removes folders that count no more, also those of a change that was cut short.
fn remove_old(dir: &Path, current: &str) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("..") && name != current && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A folder of a name that was not used before.
fn new_folder(dir: &Path) -> io::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    for number in 0..NAMES_TRIED_MAX {
        let name = format!("..{}", now + number);
        match fs::create_dir(dir.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| name),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The link that names the folder which counts.
const DATA: &str = "..data";

/// The next such link, before it takes the other's place.
const DATA_NEW: &str = "..data_tmp";

/// A clock that stands still gives one name again and again; not so often.
const NAMES_TRIED_MAX: u128 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, files: &[File]) -> io::Result<()> {
        super::write(dir, files, &|_| Ok(()))
    }

    fn file(path: &str, data: &str) -> File {
        File { path: path.to_owned(), mode: 0o640, data: data.as_bytes().into(), owner: None }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_are_replaced_all_at_once_and_only_when_they_changed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &[file("a", "1"), file("b/c", "2"), file("b/d", "3")]).unwrap();
        let first = fs::read_link(dir.join(DATA)).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.join("b/d")).unwrap(), "3");
        assert_eq!(fs::metadata(dir.join("b/c")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(names(dir), [first.to_str().unwrap(), "..data", "a", "b"]);
        // The same again, in another order.
        write(dir, &[file("b/d", "3"), file("a", "1"), file("b/c", "2")]).unwrap();
        assert_eq!(fs::read_link(dir.join(DATA)).unwrap(), first);
        // A reader that has a file open keeps what it has.
        let held = fs::File::open(dir.join("a")).unwrap();
        write(dir, &[file("a", "one"), file("e", "")]).unwrap();
        assert_eq!(io::read_to_string(held).unwrap(), "1");
        let second = fs::read_link(dir.join(DATA)).unwrap();
        assert_ne!(first, second);
        assert_eq!(names(dir), [second.to_str().unwrap(), "..data", "a", "e"]);
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "one");
        write(dir, &[]).unwrap();
        assert_eq!(names(dir).len(), 2);
    }

    #[test]
    fn a_change_that_was_cut_short_is_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, &[file("a", "1")]).unwrap();
        // The folder of a change that got no further, a link that was not renamed, and names that were not linked.
        fs::create_dir(dir.join("..5")).unwrap();
        symlink("..5", dir.join(DATA_NEW)).unwrap();
        fs::remove_file(dir.join("a")).unwrap();
        write(dir, &[file("a", "1")]).unwrap();
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
        write(dir, &[file("a", "2")]).unwrap();
        let current = fs::read_link(dir.join(DATA)).unwrap();
        assert_eq!(names(dir), [current.to_str().unwrap(), "..data", "a"]);
    }
}
