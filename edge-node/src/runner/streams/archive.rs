//! Answers the commands by which `kubectl cp` moves files: `tar cf - PATH`, `test -d PATH` and `tar xmf - -C FOLDER`. No guest has these
//! programs: the host packs and unpacks what the container's volumes have there.
//!
//! What is in volumes, and in archives, may be anybody's. The kernel resolves each path below the volume that it is in, and nothing leads
//! out of that.

mod pack;
mod place;
mod unpack;

use std::{future::poll_fn, sync::Arc};

use dunlin_link::exec::ExecEnd;
use dunlin_wasm_host::{Input, Output as _, Stream};
use tokio::{sync::mpsc, task::spawn_blocking};

pub(super) use self::place::Files;
use self::{pack::Pieces, unpack::Received};
use crate::runner::tap::Tap;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// An archive of what is at a path.
    Pack(String),
    /// Whether a path is a folder.
    IsFolder(String),
    /// To unpack what comes into a folder.
    Unpack(String),
}

/// What a command asks for, if it is one of these.
pub(super) fn asked(command: &[String]) -> Option<Ask> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let (folder, words) = match &words[..] {
        [words @ .., "-C", folder] => (Some(*folder), words),
        words => (None, words),
    };
    match (words, folder) {
        (["tar", "cf" | "-cf", "-", path], None) => Some(Ask::Pack((*path).to_owned())),
        (["test", "-d", path], None) => Some(Ask::IsFolder((*path).to_owned())),
        (
            ["tar", "xmf" | "-xmf" | "xf" | "-xf", "-"]
            | ["tar", "--no-same-permissions", "--no-same-owner", "-xmf", "-"],
            folder,
        ) => Some(Ask::Unpack(folder.unwrap_or(".").to_owned())),
        _ => None,
    }
}

/// Does what is asked as the program would, and says how that ended.
pub(super) async fn answer(ask: Ask, files: Files, input: Input, tap: Arc<Tap>) -> ExecEnd {
    match ask {
        Ask::Pack(path) => pack(files, path, tap).await,
        Ask::IsFolder(path) => {
            let is_folder = spawn_blocking(move || unpack::is_folder(&files, &path)).await;
            ExecEnd::Exited(i32::from(!is_folder.unwrap_or(false)))
        }
        Ask::Unpack(folder) => take(files, folder, input, tap).await,
    }
}

async fn pack(files: Files, path: String, tap: Arc<Tap>) -> ExecEnd {
    let (pieces, mut packed) = mpsc::channel(PIECES_MAX);
    let packing = spawn_blocking(move || pack::write(&files, &path, Pieces(pieces)));
    while let Some(piece) = packed.recv().await {
        poll_fn(|cx| tap.poll_room(cx)).await;
        tap.push(Stream::Stdout, &piece);
    }
    match packing.await {
        Ok(complaints) if complaints.is_empty() => ExecEnd::Exited(0),
        Ok(complaints) => failed(&tap, &complaints),
        Err(_panic) => ExecEnd::Failed("the host failed while it packed files".to_owned()),
    }
}

async fn take(files: Files, folder: String, input: Input, tap: Arc<Tap>) -> ExecEnd {
    let (pieces, received) = mpsc::channel(PIECES_MAX);
    let unpacking = spawn_blocking(move || unpack::unpack(&files, &folder, Received::new(received)));
    while let Some(piece) = input.read(PIECE_BYTES).await {
        // What comes after the end of the archive, or of the room, is taken and left: the caller goes on sending.
        let _ended = pieces.send(piece).await;
    }
    drop(pieces);
    match unpacking.await {
        Ok(complaints) if complaints.is_empty() => ExecEnd::Exited(0),
        Ok(complaints) => failed(&tap, &complaints),
        Err(_panic) => ExecEnd::Failed("the host failed while it unpacked files".to_owned()),
    }
}

fn failed(tap: &Tap, complaints: &[String]) -> ExecEnd {
    for complaint in complaints {
        tap.push(Stream::Stderr, format!("tar: {complaint}\n").as_bytes());
    }
    ExecEnd::Exited(FAILED)
}

/// As of `tar`, when anything could not be packed or unpacked.
const FAILED: i32 = 2;

/// What is said of files that were passed over.
const COMPLAINTS_MAX: usize = 16;

/// Read of the caller at a time.
const PIECE_BYTES: usize = 16 << 10;

/// Pieces between disk and caller.
const PIECES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_kubectl_asks_is_taken_for_it() {
        let asked = |text: &str| asked(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let path = || "/data/a".to_owned();
        assert_eq!(asked("tar cf - /data/a"), Some(Ask::Pack(path())));
        assert_eq!(asked("test -d /data/a"), Some(Ask::IsFolder(path())));
        assert_eq!(asked("tar -xmf - -C /data/a"), Some(Ask::Unpack(path())));
        let without_rights = "tar --no-same-permissions --no-same-owner -xmf - -C /data/a";
        assert_eq!(asked(without_rights), Some(Ask::Unpack(path())));
        assert_eq!(asked("tar xf -"), Some(Ask::Unpack(".".to_owned())));
        for other in [
            "tar cf - a b",
            "tar cf out a",
            "busybox cf - a",
            "tar",
            "tar cf - a -C /b",
            "tar cf - a -C /",
            "test -f a",
            "tar xf a",
            "tar xmf - -C",
        ] {
            assert_eq!(asked(other), None, "{other}");
        }
    }
}
