//! What a node fetches, on streams that it opens: modules, the code that was compiled of them, what images are made of, tokens for its pods, and
//! which namespaces there are.

use std::{io, time::Duration};

use dunlin_link::{
    NodeName,
    compiled::{CompiledAnswer, CompiledOpen, Compiling},
    frame::Message as _,
    message::Unsupported,
    namespaces::NamespacesOpen,
    stream::{ArtifactAnswer, ArtifactOpen, ContentAnswer, ContentOpen},
    tokens::{TokenAnswer, TokenOpen},
};
use quinn::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tracing::{debug, warn};

use super::{
    gate::Gate,
    stream::{read_frame, write_head},
};
use crate::{artifacts::Content, sessions::Sessions};

/// Serves one such stream to its end.
pub(super) async fn serve(
    sessions: &Sessions,
    node: &NodeName,
    gate: &Gate,
    (mut output, mut input): (SendStream, RecvStream),
) -> io::Result<()> {
    let _ = output.set_priority(TRANSFER_PRIORITY);
    let frame = read_frame(&mut input).await.map_err(io::Error::other)?;
    match frame.kind {
        ArtifactOpen::KIND => {
            let open = frame.decode().map_err(io::Error::other)?;
            send_module(sessions, node, gate, (open, &mut output)).await?;
        }
        ContentOpen::KIND => {
            let open = frame.decode().map_err(io::Error::other)?;
            send_content(sessions, node, gate, (open, &mut output)).await?;
        }
        CompiledOpen::KIND => {
            let open = frame.decode().map_err(io::Error::other)?;
            tokio::select! {
                sent = send_compiled(sessions, node, gate, (open, &mut output)) => sent?,
                // Of one that has gone nobody waits for what is being compiled.
                _ = input.received_reset() => return Ok(()),
            }
        }
        TokenOpen::KIND => {
            let open = frame.decode().map_err(io::Error::other)?;
            send_token(sessions, node, (open, &mut output)).await?;
        }
        NamespacesOpen::KIND => {
            let NamespacesOpen { names } = frame.decode().map_err(io::Error::other)?;
            write_head(&mut output, &sessions.namespaces(names).await?).await?;
        }
        kind => write_head(&mut output, &Unsupported { kind: kind.0 }).await?,
    }
    output.finish().map_err(io::Error::other)
}

async fn send_token(
    sessions: &Sessions,
    node: &NodeName,
    (open, output): (TokenOpen, &mut SendStream),
) -> io::Result<()> {
    let answer = match sessions.token(node, &open).await {
        Ok(issued) => TokenAnswer::Issued(issued),
        Err(reason) => {
            debug!(%node, uid = %open.uid, reason, "refused a token for a pod");
            TokenAnswer::Refused(reason)
        }
    };
    write_head(output, &answer).await
}

async fn send_module(
    sessions: &Sessions,
    node: &NodeName,
    gate: &Gate,
    (open, output): (ArtifactOpen, &mut SendStream),
) -> io::Result<()> {
    match sessions.open_artifact(node, open.digest, open.offset).await {
        Ok(module) => {
            write_head(output, &ArtifactAnswer::Found { total_bytes: module.bytes }).await?;
            send(module.content, gate, output).await
        }
        Err(error) => {
            warn!(%node, error = &error as &dyn std::error::Error, "refused to send a module");
            write_head(output, &ArtifactAnswer::Refused(error.to_string())).await
        }
    }
}

async fn send_content(
    sessions: &Sessions,
    node: &NodeName,
    gate: &Gate,
    (open, output): (ContentOpen, &mut SendStream),
) -> io::Result<()> {
    let found = |media_type: String, total_bytes: u64| ContentAnswer::Found { media_type, total_bytes };
    match sessions.open_content(node, &open).await {
        Ok(Content::Module) => write_head(output, &ContentAnswer::Module).await,
        Ok(Content::File(file)) => {
            write_head(output, &found(String::new(), file.bytes)).await?;
            send(file.content, gate, output).await
        }
        Ok(Content::Text { media_type, text }) => {
            write_head(output, &found(media_type, text.len() as u64)).await?;
            let start = usize::try_from(open.offset).unwrap_or(usize::MAX).min(text.len());
            send(&text.as_bytes()[start..], gate, output).await
        }
        Err(error) => {
            warn!(%node, error = &error as &dyn std::error::Error, "refused to send content of an image");
            write_head(output, &ContentAnswer::Refused(error.to_string())).await
        }
    }
}

async fn send_compiled(
    sessions: &Sessions,
    node: &NodeName,
    gate: &Gate,
    (open, output): (CompiledOpen, &mut SendStream),
) -> io::Result<()> {
    let answered = {
        let mut answer = std::pin::pin!(sessions.compiled(node, open.module, &open.target));
        loop {
            match tokio::time::timeout(COMPILING_EVERY, &mut answer).await {
                Ok(answered) => break answered,
                Err(_not_yet) => write_head(output, &Compiling).await?,
            }
        }
    };
    let signed = match answered {
        Ok(signed) => signed,
        Err(refused) => {
            let (reason, message) = (refused.reason, refused.message);
            return write_head(output, &CompiledAnswer::Refused { reason, message }).await;
        }
    };
    let record = &signed.record;
    let held = open.held.filter(|(code, bytes)| *code == record.code && *bytes <= record.bytes);
    let offset = held.map_or(0, |(_, bytes)| bytes);
    let code = sessions.open_code(&signed, offset).await?;
    write_head(output, &CompiledAnswer::Found { signed: (*signed).clone(), offset }).await?;
    send(code, gate, output).await
}

async fn send(mut content: impl AsyncRead + Unpin, gate: &Gate, output: &mut SendStream) -> io::Result<()> {
    let mut chunk = vec![0; gate.piece_bytes(CHUNK_BYTES)];
    loop {
        let count = content.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        gate.pass(count).await;
        output.write_all(&chunk[..count]).await?;
    }
}

/// After control, status, commands and logs.
const TRANSFER_PRIORITY: i32 = -10;

/// Read and sent at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// How often a node that waits is told that it is being compiled; a node waits 60 s for a word.
const COMPILING_EVERY: Duration = Duration::from_secs(10);
