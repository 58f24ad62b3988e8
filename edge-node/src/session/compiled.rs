//! Fetching the code of a module from the coordinator, over as many connections as it takes.

use std::{io, path::Path, time::Duration};

use dunlin_link::{
    Digest,
    compiled::{CompileRefusal, CompiledAnswer, CompiledOpen, Compiling, SignedCompiled},
    frame::Message as _,
    limits::COMPILED_BYTES_MAX,
};
use quinn::{Connection, RecvStream};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
    time::timeout,
};
use tracing::{debug, info};

use super::{
    Shared,
    fetch::{self, Failed},
    stream::{read_frame, write_head},
};
use crate::compiled::{CompileMode, CompiledFiles, Trust};

/// Why there is no code from the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCode {
    /// The module is at fault, in the coordinator's words: it is not to be compiled here either.
    #[error("{0}")]
    Module(String),
    /// There is no session, or none with a coordinator that compiles.
    #[error("{0}")]
    Nobody(&'static str),
    /// It failed, in words.
    #[error("{0}")]
    Failed(String),
}

/// Why one attempt brought none.
enum Ended {
    /// The connection broke: the next one goes on.
    Connection,
    For(NoCode),
}

/// See [`super::SessionHandle::fetch_compiled`].
pub(super) async fn fetch(
    shared: &Shared,
    module: Digest,
    target: &str,
    (files, mode): (&CompiledFiles, CompileMode),
) -> Result<(), NoCode> {
    let turn = shared.turn(Digest::of(&[&module.as_bytes()[..], target.as_bytes()].concat()));
    let _turn = turn.lock().await;
    // Whoever had the turn before may have brought it.
    if files.are_here(mode) {
        return Ok(());
    }
    let mut connections = shared.connection.subscribe();
    loop {
        let connection = match timeout(shared.patience(), connections.wait_for(Option::is_some)).await {
            Ok(Ok(found)) => found.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        let Some(connection) = connection else {
            return Err(NoCode::Nobody("the coordinator, which compiles, cannot be reached"));
        };
        let speaks = shared.machine().protocol().is_some_and(|protocol| protocol.sends(CompiledOpen::KIND));
        if !speaks {
            return Err(NoCode::Nobody("the coordinator runs an earlier version, which does not compile"));
        }
        let trust = Trust::of(shared.credentials.identity().authority().to_vec());
        let slot = shared.code_slots.acquire().await;
        let attempt = attempt(&connection, (module, target), files, &trust).await;
        drop(slot);
        match attempt {
            Ok(bytes) => {
                info!(%module, target, bytes, "fetched compiled code");
                return Ok(());
            }
            Err(Ended::For(no_code)) => return Err(no_code),
            Err(Ended::Connection) => {
                debug!(%module, "fetching compiled code will go on with the next connection");
                let old = connection.stable_id();
                let is_other =
                    |found: &Option<Connection>| found.as_ref().is_none_or(|found| found.stable_id() != old);
                // A session notices the end of its connection on its own and clears it; a stream that was ended alone is tried anew.
                let _ = timeout(STREAM_PAUSE, connections.wait_for(is_other)).await;
            }
        }
    }
}

async fn attempt(
    connection: &Connection,
    (module, target): (Digest, &str),
    files: &CompiledFiles,
    trust: &Trust,
) -> Result<u64, Ended> {
    let (part, signed_part) = files.parts();
    let known = fs::read(&signed_part).await.ok();
    let known = known.and_then(|bytes| SignedCompiled::from_bytes(&bytes));
    let there = fs::metadata(&part).await.map_or(0, |metadata| metadata.len());
    let held = known.map(|signed| (signed.record.code, there)).filter(|(_, bytes)| *bytes > 0);
    let open = CompiledOpen { module, target: target.to_owned(), held };
    let (mut input, signed, offset) = ask(connection, &open).await?;
    check(&open, &signed, offset, trust)?;
    let record = &signed.record;
    if held.is_none_or(|held| (record.code, offset) != held) {
        restart(&part, &signed_part, &signed).await.map_err(|error| disk(&error))?;
    }
    let (mut output, mut hash, start) = fetch::open_part(&part).await.map_err(|error| disk(&error))?;
    if start != offset {
        return Err(failed("the coordinator does not go on from where its code was cut off".to_owned()));
    }
    let received = fetch::receive(&mut input, &mut output, &mut hash, offset, record.bytes).await;
    // What has arrived is worth keeping whatever came after.
    output.flush().await.map_err(|error| disk(&error))?;
    received.map_err(|ended| match ended {
        Failed::Connection => Ended::Connection,
        Failed::Module(reason) => failed(reason),
    })?;
    keep(&output, hash, files, signed).await
}

/// What was asked for, by whom it has to be.
fn check(open: &CompiledOpen, signed: &SignedCompiled, offset: u64, trust: &Trust) -> Result<(), Ended> {
    let refused =
        |reason: &dyn std::fmt::Display| failed(format!("refused the coordinator's compiled code: {reason}"));
    trust.check(signed, open.module, &open.target).map_err(|error| refused(&error))?;
    if signed.record.bytes > COMPILED_BYTES_MAX {
        return Err(refused(&"it is larger than code may be"));
    }
    if offset != 0 && open.held != Some((signed.record.code, offset)) {
        return Err(refused(&"it begins where nothing was asked for"));
    }
    Ok(())
}

/// Begins a part anew, and notes what it is a part of.
async fn restart(part: &Path, signed_part: &Path, signed: &SignedCompiled) -> io::Result<()> {
    for path in [part, signed_part] {
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::write(signed_part, signed.to_bytes()).await
}

async fn keep(
    output: &File,
    hash: Sha256,
    files: &CompiledFiles,
    signed: SignedCompiled,
) -> Result<u64, Ended> {
    let bytes = signed.record.bytes;
    if Digest::from_bytes(hash.finalize().into()) != signed.record.code {
        let _ = fs::remove_file(files.parts().0).await;
        return Err(failed(
            "refused the coordinator's compiled code: its content is not what was signed".to_owned(),
        ));
    }
    output.sync_all().await.map_err(|error| disk(&error))?;
    let files = files.clone();
    let kept = tokio::task::spawn_blocking(move || files.keep_signed(&signed)).await;
    kept.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| disk(&error))?;
    Ok(bytes)
}

async fn ask(
    connection: &Connection,
    open: &CompiledOpen,
) -> Result<(RecvStream, SignedCompiled, u64), Ended> {
    let (mut output, mut input) = connection.open_bi().await.map_err(|_| Ended::Connection)?;
    write_head(&mut output, open).await.map_err(|_| Ended::Connection)?;
    // Fails only when the coordinator has ended the stream, which reading shows.
    let _ = output.finish();
    loop {
        let frame = timeout(SILENCE_MAX, read_frame(&mut input)).await;
        let frame = frame.ok().and_then(Result::ok).ok_or(Ended::Connection)?;
        if frame.kind == Compiling::KIND {
            continue;
        }
        let answer = frame.decode().map_err(|error| failed(format!("the coordinator's answer: {error}")))?;
        return match answer {
            CompiledAnswer::Found { signed, offset } => Ok((input, signed, offset)),
            CompiledAnswer::Refused { reason: CompileRefusal::Module, message } => {
                Err(Ended::For(NoCode::Module(message)))
            }
            CompiledAnswer::Refused { message, .. } => Err(failed(message)),
        };
    }
}

fn failed(reason: String) -> Ended {
    Ended::For(NoCode::Failed(reason))
}

fn disk(error: &io::Error) -> Ended {
    failed(format!("cannot write compiled code: {error}"))
}

impl Shared {
    /// How long a container that has no code waits for a session.
    fn patience(&self) -> Duration {
        let is_nobody = self.credentials.identity().node().as_str().is_empty();
        if is_nobody { Duration::ZERO } else { SESSION_PATIENCE }
    }
}

/// A coordinator that is at it says so more often than this.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Longer than a session takes to open over a bad link; a node that may compile for itself does then.
const SESSION_PATIENCE: Duration = Duration::from_secs(10);

/// Before a stream that broke is opened again on the same connection.
const STREAM_PAUSE: Duration = Duration::from_secs(1);
