//! Fetching a module by its digest, over as many connections as it takes.

use std::{
    io,
    path::{Path, PathBuf},
};

use dunlin_link::{
    Digest,
    limits::MODULE_BYTES_MAX,
    stream::{ArtifactAnswer, ArtifactOpen},
};
use quinn::{Connection, RecvStream};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::{self, File, OpenOptions},
    io::{AsyncReadExt, AsyncWriteExt},
};
use tracing::{debug, info};

use super::{
    Shared,
    stream::{read_head, write_head},
};

/// Why an attempt did not bring the whole module.
pub(super) enum Failed {
    /// The connection: what arrived is kept, and the next connection goes on from there.
    Connection,
    /// For good; in words.
    Module(String),
}

/// See [`super::SessionHandle::fetch_module`].
pub(super) async fn fetch(shared: &Shared, digest: Digest, file: &Path) -> Result<(), String> {
    let turn = shared.turn(digest);
    let _turn = turn.lock().await;
    if fs::try_exists(file).await.unwrap_or(false) {
        return Ok(());
    }
    let mut connections = shared.connection.subscribe();
    loop {
        let connection = connections.wait_for(Option::is_some).await.ok().and_then(|found| found.clone());
        let Some(connection) = connection else { return Err("the agent is stopping".into()) };
        let slot = shared.fetch_slots.acquire().await;
        let attempt = attempt(&connection, digest, file).await;
        drop(slot);
        match attempt {
            Ok(bytes) => {
                info!(%digest, bytes, "fetched a module");
                return Ok(());
            }
            Err(Failed::Module(reason)) => return Err(reason),
            Err(Failed::Connection) => {
                debug!(%digest, "fetching a module will go on with the next connection");
                // The session notices the end of its connection on its own and clears it.
                let old = connection.stable_id();
                let is_other =
                    |found: &Option<Connection>| found.as_ref().is_none_or(|found| found.stable_id() != old);
                if connections.wait_for(is_other).await.is_err() {
                    return Err("the agent is stopping".into());
                }
            }
        }
    }
}

/// Asks for what is missing of `FILE.part`; answers the module's length once it is in place.
async fn attempt(connection: &Connection, digest: Digest, file: &Path) -> Result<u64, Failed> {
    let disk = |error: io::Error| Failed::Module(format!("cannot write the module: {error}"));
    let part = part_of(file);
    let (mut output, mut hash, offset) = open_part(&part).await.map_err(disk)?;
    let (mut input, total_bytes) = match ask(connection, digest, offset).await {
        Ok(found) => found,
        Err(failed) => {
            if matches!(failed, Failed::Module(_)) {
                // Without an owner that asks again it would lie there for ever.
                let _ = fs::remove_file(&part).await;
            }
            return Err(failed);
        }
    };
    let received = receive(&mut input, &mut output, &mut hash, offset, total_bytes).await;
    // What has arrived is worth keeping whatever came after.
    output.flush().await.map_err(disk)?;
    received?;
    if Digest::from_bytes(hash.finalize().into()) != digest {
        fs::remove_file(&part).await.map_err(disk)?;
        return Err(Failed::Module(format!("what the coordinator sent is not {digest}")));
    }
    output.sync_all().await.map_err(disk)?;
    fs::rename(&part, file).await.map_err(disk)?;
    if let Some(folder) = file.parent() {
        File::open(folder).await.map_err(disk)?.sync_all().await.map_err(disk)?;
    }
    Ok(total_bytes)
}

/// The part that is there already, placed at its end, and its hash.
pub(super) async fn open_part(part: &Path) -> io::Result<(File, Sha256, u64)> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(part).await?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let count = file.read(&mut chunk).await?;
        if count == 0 {
            return Ok((file, hash, offset));
        }
        hash.update(&chunk[..count]);
        offset += count as u64;
    }
}

async fn ask(connection: &Connection, digest: Digest, offset: u64) -> Result<(RecvStream, u64), Failed> {
    let (mut output, mut input) = connection.open_bi().await.map_err(|_| Failed::Connection)?;
    write_head(&mut output, &ArtifactOpen { digest, offset }).await.map_err(|_| Failed::Connection)?;
    // Fails only when the coordinator has ended the stream, which reading shows.
    let _ = output.finish();
    match read_head(&mut input).await.map_err(|_| Failed::Connection)? {
        ArtifactAnswer::Found { total_bytes } if total_bytes < offset => {
            Err(Failed::Module(format!("the coordinator's {digest} is shorter than what it has sent of it")))
        }
        ArtifactAnswer::Found { total_bytes } if total_bytes > MODULE_BYTES_MAX => {
            Err(Failed::Module(format!("{digest} is larger than a module may be")))
        }
        ArtifactAnswer::Found { total_bytes } => Ok((input, total_bytes)),
        ArtifactAnswer::Refused(reason) => Err(Failed::Module(reason)),
    }
}

pub(super) async fn receive(
    input: &mut RecvStream,
    output: &mut File,
    hash: &mut Sha256,
    mut offset: u64,
    total_bytes: u64,
) -> Result<(), Failed> {
    while let Some(chunk) = input.read_chunk(CHUNK_BYTES, true).await.map_err(|_| Failed::Connection)? {
        offset += chunk.bytes.len() as u64;
        if offset > total_bytes {
            return Err(Failed::Module("the coordinator sent more than it announced".into()));
        }
        hash.update(&chunk.bytes);
        let written = output.write_all(&chunk.bytes).await;
        written.map_err(|error| Failed::Module(format!("cannot write the module: {error}")))?;
    }
    if offset < total_bytes { Err(Failed::Connection) } else { Ok(()) }
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Read and written at a time.
const CHUNK_BYTES: usize = 64 << 10;
