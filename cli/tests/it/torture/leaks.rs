//! What a cluster at rest may have: processes, files on disk and files held open.

use std::{fs, os::unix::fs::FileTypeExt as _, path::Path};

use crate::cluster::wait_until;

/// Waits until `folder` and the processes that name it are as those of a cluster that nobody killed: `processes` of them, and so many
/// `sockets`.
pub(super) fn wait_for_rest(folder: &Path, processes: usize, sockets: usize) {
    wait_until("the processes of a cluster at rest", || {
        let running = commands(folder);
        // Compilers of modules come and go.
        if running.len() <= processes { Ok(()) } else { Err(format!("{running:#?}")) }
    });
    wait_until("a tidy disk", || {
        let mut found = Vec::new();
        visit(folder, &mut |path, kind| {
            if !kind.is_dir() && is_temporary(path) {
                found.push(path.display().to_string());
            }
        });
        if found.is_empty() { Ok(()) } else { Err(format!("{found:#?}")) }
    });
    wait_until("no more sockets than there were", || {
        let now = self::sockets(folder);
        if now <= sockets { Ok(()) } else { Err(format!("{now}, there were {sockets}")) }
    });
    wait_until("few open files", || {
        let held: Vec<_> = ids(folder).into_iter().map(|id| (open_files(&id), id)).collect();
        if held.iter().all(|(files, _)| *files <= OPEN_FILES_MAX) { Ok(()) } else { Err(format!("{held:?}")) }
    });
}

/// Sockets with a name below the folder.
pub(super) fn sockets(folder: &Path) -> usize {
    let mut sockets = 0;
    visit(folder, &mut |_, kind| sockets += usize::from(kind.is_socket()));
    sockets
}

/// The most files that any process of the cluster holds open.
pub(super) fn most_open_files(folder: &Path) -> usize {
    ids(folder).iter().map(|id| open_files(id)).max().unwrap_or_default()
}

/// A file that only lives while it is written, wherever it is.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    [".tmp", ".dunlin-backup-"].iter().any(|start| name.starts_with(start))
        || [".part", ".new", ".tmp"].iter().any(|end| name.ends_with(end))
}

fn visit(folder: &Path, act: &mut dyn FnMut(&Path, fs::FileType)) {
    // What is written at this moment may be gone before it is looked at.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        act(&entry.path(), kind);
        if kind.is_dir() {
            visit(&entry.path(), act);
        }
    }
}

/// Ids of processes whose command lines name this folder.
fn ids(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| command(id).is_some_and(|line| line.contains(folder.to_str().unwrap()))).collect()
}

fn commands(folder: &Path) -> Vec<String> {
    ids(folder).iter().filter_map(|id| command(id)).collect()
}

/// A process may end while it is looked at.
fn command(id: &str) -> Option<String> {
    let line = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&line).replace('\0', " "))
}

fn open_files(id: &str) -> usize {
    fs::read_dir(format!("/proc/{id}/fd")).map_or(0, Iterator::count)
}

/// Above what a coordinator of two nodes, or a node of four pods, has at rest; below what one file for each of a hundred kills makes.
const OPEN_FILES_MAX: usize = 80;
