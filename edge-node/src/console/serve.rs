//! The answering side.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use dunlin_link::{UnixMillis, logs::LogStreams, status::NodeFacts};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{ASK_BYTES_MAX, Answer, Ask, NodeView, SOCKET, serve_images};
use crate::{
    agent::AgentHost,
    health::Watcher,
    images::{Images, ModuleFiles},
    logs::LogKeeper,
    session::SessionHost as _,
    sockets,
};

/// Whom the socket asks.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) host: AgentHost,
    pub(crate) images: Images,
    pub(crate) modules: ModuleFiles,
    pub(crate) watcher: Watcher,
    pub(crate) logs: LogKeeper,
    pub(crate) name: String,
    pub(crate) facts: NodeFacts,
    pub(crate) started_at: UnixMillis,
}

/// Answers until `shutdown`. A node that cannot have its socket runs on without it.
pub(crate) async fn serve(desk: Desk, shutdown: CancellationToken) {
    let path = desk.watcher.state_dir.join(SOCKET);
    let listener = match sockets::listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, path = %path.display(), "`dunlin local` is not served: its socket cannot be made");
            return shutdown.cancelled().await;
        }
    };
    let _remove = Remove(path);
    let desk = Arc::new(desk);
    let free = Arc::new(Semaphore::new(CONVERSATIONS_MAX));
    let mut conversations = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of files, or somebody who has left again.
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                // Who comes when all places are taken is told nothing, and the end of the stream says so.
                let Ok(place) = Arc::clone(&free).try_acquire_owned() else { continue };
                let desk = Arc::clone(&desk);
                conversations.spawn(async move {
                    if let Err(error) = converse(&desk, stream).await {
                        tracing::debug!(%error, "a local conversation broke");
                    }
                    drop(place);
                });
            }
            Some(done) = conversations.join_next() => {
                if let Err(panic) = done {
                    tracing::error!(%panic, "a local conversation failed by a defect");
                }
            }
            () = shutdown.cancelled() => return,
        }
    }
}

/// Removes the socket when the agent stops.
struct Remove(PathBuf);

impl Drop for Remove {
    fn drop(&mut self) {
        // The next agent removes what is left.
        let _ = fs::remove_file(&self.0);
    }
}

async fn converse(desk: &Desk, stream: UnixStream) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let reading = (&mut reader).take(ASK_BYTES_MAX as u64);
    let read = tokio::time::timeout(ASK_TIMEOUT, { reading }.read_until(b'\n', &mut line)).await;
    read.map_err(io::Error::other)??;
    match serde_json::from_slice(&line) {
        Err(error) => {
            let why =
                format!("this agent ({}) does not understand what it is asked: {error}", desk.facts.version);
            say(&mut writer, &Answer::Refused(why)).await
        }
        Ok(Ask::Log(request)) => match desk.host.open_log(request, LogStreams::All).await {
            Ok(log) => copy(log, reader, writer).await,
            Err(why) => say(&mut writer, &Answer::Refused(why)).await,
        },
        Ok(Ask::CoreDump { pod, container }) => match desk.host.core_dump(pod, container).await {
            Ok(dump) => copy(dump, reader, writer).await,
            Err(refused) => say(&mut writer, &Answer::Refused(refused.message)).await,
        },
        Ok(Ask::ExportImage { name }) => serve_images::export(desk, &name, &mut writer).await,
        Ok(Ask::ImportImages { name }) => {
            let imported = serve_images::import(desk, name, reader).await;
            say_all(&mut writer, imported.unwrap_or_else(|why| vec![Answer::Refused(why)])).await
        }
        Ok(ask) => {
            for answer in answers(desk, ask).await {
                say(&mut writer, &answer).await?;
            }
            Ok(())
        }
    }
}

/// Sends all of `from`, for as long as somebody reads it.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut reader: impl AsyncRead + Unpin,
    mut writer: OwnedWriteHalf,
) -> io::Result<()> {
    say(&mut writer, &Answer::Log).await?;
    tokio::select! {
        copied = tokio::io::copy(&mut from, &mut writer) => copied.map(drop),
        // The reader has left: nothing else comes from it.
        _ = reader.read_u8() => Ok(()),
    }
}

async fn answers(desk: &Desk, ask: Ask) -> Vec<Answer> {
    let answered = match ask {
        Ask::Node => node(desk).await.map(|node| vec![Answer::Node(Box::new(node))]),
        Ask::Pods => desk.host.pods().await.map(|pods| {
            let pods = pods.into_iter().map(|pod| Answer::Pod(Box::new(pod)));
            pods.chain([Answer::End]).collect()
        }),
        Ask::Restart { pod, container } => {
            desk.host.restart(pod, container).await.map(|containers| vec![Answer::Restarted(containers)])
        }
        Ask::Shutdown { grace_seconds, critical_seconds } => {
            let seconds = |count: u32| Duration::from_secs(u64::from(count));
            shut_down(desk, seconds(grace_seconds), seconds(critical_seconds)).await
        }
        Ask::Images => serve_images::list(desk).await,
        Ask::PullImage { name } => serve_images::pull(desk, &name).await,
        Ask::RemoveImage { name } => {
            desk.host.remove_image(name).await.map(|names| vec![Answer::Names(names)])
        }
        Ask::Log(_) | Ask::CoreDump { .. } | Ask::ImportImages { .. } | Ask::ExportImage { .. } => {
            Ok(Vec::new())
        }
    };
    answered.unwrap_or_else(|why| vec![Answer::Refused(why)])
}

/// Ends the pods, and gives the coordinator a moment to hear of it.
async fn shut_down(desk: &Desk, grace: Duration, critical: Duration) -> Result<Vec<Answer>, String> {
    desk.host.end_pods(grace, critical).await?;
    let told = async {
        while desk.watcher.session.is_connected() && !desk.host.unreported().is_empty() {
            tokio::time::sleep(REPORT_POLL).await;
        }
    };
    // Who cannot be told now is told at the next start.
    let _ = tokio::time::timeout(REPORT_WAIT_MAX, told).await;
    Ok(vec![Answer::End])
}

async fn node(desk: &Desk) -> Result<NodeView, String> {
    let inner = desk.host.inner_life().await?;
    let applied = desk.host.applied();
    let health = desk.watcher.look(&desk.host.held());
    let contact = *desk.watcher.session.contact().borrow();
    Ok(NodeView {
        name: desk.name.clone(),
        facts: desk.facts.clone(),
        started_at: desk.started_at,
        starts: inner.starts,
        applied_revision: applied.revision.0,
        restore_generation: applied.restore_generation,
        connected_since: contact.connected_since,
        last_contact: contact.last,
        health,
        memory_bytes: desk.watcher.writers.memory(),
        logs: desk.logs.usage(),
        queues: inner.queues,
        unreported: desk.host.unreported(),
        tombstones: inner.tombstones,
        rejected_manifests: {
            let rejected = desk.host.rejected_manifests().into_iter();
            rejected.map(|manifest| (manifest.file, manifest.reason)).collect()
        },
    })
}

async fn say_all(writer: &mut OwnedWriteHalf, answers: Vec<Answer>) -> io::Result<()> {
    for answer in answers {
        say(writer, &answer).await?;
    }
    Ok(())
}

pub(super) async fn say(writer: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

/// Conversations at a time: a few people, some of whom follow logs.
const CONVERSATIONS_MAX: usize = 32;

/// From the connection to the ask.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the coordinator may take to record how pods ended before the machine goes down.
const REPORT_WAIT_MAX: Duration = Duration::from_secs(3);

/// How often that is looked at.
const REPORT_POLL: Duration = Duration::from_millis(50);

/// Before a connection is accepted again after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
