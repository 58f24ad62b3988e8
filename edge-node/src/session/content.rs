//! Content of images in the coordinator's own registry: asked for by repository and digest, taken as it comes.

use std::time::Duration;

use bytes::Bytes;
use dunlin_link::{
    Digest,
    frame::Message as _,
    message::Unsupported,
    stream::{ArtifactAnswer, ArtifactOpen, ContentAnswer, ContentOpen},
};
use quinn::{Connection, RecvStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Shared,
    stream::{read_frame, read_head, write_head},
};

/// What the content is to whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What a pod names: perhaps a module.
    Image,
    /// A part of that. A module among these may be one that another pod names by itself, which is sent as a module.
    Part,
}

/// What an answer was.
pub(crate) enum Content {
    /// It is on its way.
    Found(Incoming),
    /// It is a module, to be fetched as such.
    Module,
}

/// Content that is on its way.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Of a manifest.
    pub(crate) media_type: String,
    left: u64,
    input: RecvStream,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoContent {
    /// There is no session.
    #[error("the coordinator cannot be reached")]
    Nobody,
    /// The connection broke, or nothing came for long.
    #[error("the connection to the coordinator broke")]
    Broken,
    /// The coordinator's word, or what is wrong with what it sent.
    #[error("{0}")]
    Refused(String),
}

/// See [`super::SessionHandle::open_content`].
pub(super) async fn open(
    shared: &Shared,
    (open, role): (&ContentOpen, Role),
    patience: Option<Duration>,
) -> Result<Content, NoContent> {
    let give_up = patience.map(|patience| Instant::now() + patience);
    let mut connections = shared.connection.subscribe();
    let mut old = None;
    loop {
        let is_another = |found: &Option<Connection>| {
            found.as_ref().is_some_and(|found| old.is_none_or(|old| found.stable_id() != old))
        };
        let wait = connections.wait_for(is_another);
        let found = match give_up {
            Some(at) => timeout_at(at, wait).await.map_err(|_| NoContent::Nobody)?,
            None => wait.await,
        };
        let connection = found.ok().and_then(|found| found.clone()).ok_or(NoContent::Nobody)?;
        let Some(protocol) = shared.machine().protocol() else {
            // The session has just ended.
            old = Some(connection.stable_id());
            continue;
        };
        if !protocol.sends(ContentOpen::KIND) {
            // It knows of nothing but modules.
            return Ok(Content::Module);
        }
        let asked = async {
            match (ask(&connection, open).await?, role) {
                (Content::Module, Role::Part) => ask_for_module(&connection, open).await,
                (answer, _) => Ok(answer),
            }
        };
        match timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Err(NoContent::Broken)) => old = Some(connection.stable_id()),
            Ok(answered) => return answered,
            Err(_) => return Err(NoContent::Broken),
        }
    }
}

async fn ask(connection: &Connection, open: &ContentOpen) -> Result<Content, NoContent> {
    let (mut output, mut input) = connection.open_bi().await.map_err(|_| NoContent::Broken)?;
    write_head(&mut output, open).await.map_err(|_| NoContent::Broken)?;
    // Fails only when the coordinator has ended the stream, which reading shows.
    let _ = output.finish();
    let frame = read_frame(&mut input).await.map_err(|_| NoContent::Broken)?;
    if frame.kind == Unsupported::KIND {
        return Ok(Content::Module);
    }
    match frame.decode().map_err(|error| NoContent::Refused(error.to_string()))? {
        ContentAnswer::Found { media_type, total_bytes } => {
            let left = total_bytes.checked_sub(open.offset).ok_or_else(|| shorter(open.digest))?;
            Ok(Content::Found(Incoming { media_type, left, input }))
        }
        ContentAnswer::Module => Ok(Content::Module),
        ContentAnswer::Refused(why) => Err(NoContent::Refused(why)),
    }
}

async fn ask_for_module(connection: &Connection, open: &ContentOpen) -> Result<Content, NoContent> {
    let (mut output, mut input) = connection.open_bi().await.map_err(|_| NoContent::Broken)?;
    let ContentOpen { digest, offset, .. } = *open;
    write_head(&mut output, &ArtifactOpen { digest, offset }).await.map_err(|_| NoContent::Broken)?;
    // As above.
    let _ = output.finish();
    match read_head(&mut input).await.map_err(|_| NoContent::Broken)? {
        ArtifactAnswer::Found { total_bytes } => {
            let left = total_bytes.checked_sub(offset).ok_or_else(|| shorter(digest))?;
            Ok(Content::Found(Incoming { media_type: String::new(), left, input }))
        }
        ArtifactAnswer::Refused(why) => Err(NoContent::Refused(why)),
    }
}

impl Incoming {
    /// The next piece; `None` when all of it has come.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, NoContent> {
        let chunk = timeout(SILENCE_MAX, self.input.read_chunk(CHUNK_BYTES, true)).await;
        match chunk.map_err(|_| NoContent::Broken)?.map_err(|_| NoContent::Broken)? {
            Some(chunk) => {
                let left = self.left.checked_sub(chunk.bytes.len() as u64);
                let more = || NoContent::Refused("the coordinator sent more than it announced".to_owned());
                self.left = left.ok_or_else(more)?;
                Ok(Some(chunk.bytes))
            }
            None if self.left > 0 => Err(NoContent::Broken),
            None => Ok(None),
        }
    }
}

fn shorter(digest: Digest) -> NoContent {
    NoContent::Refused(format!("the coordinator's {digest} is shorter than what it has sent of it"))
}

/// Taken at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// A coordinator that is there answers much sooner, whatever else the link carries.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Nothing comes for so long only when it never will: transfers share a slow link.
const SILENCE_MAX: Duration = Duration::from_secs(120);
