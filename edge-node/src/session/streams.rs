//! Streams that the coordinator opens: logs, core dumps, commands, attachments, connections, forwards and questions of use, each in a task of its own.

mod connection;
mod exec;
mod idle;
mod log;
mod usage;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use dunlin_link::{
    frame::{Kind, Message},
    logs::LogStreams,
    message::Unsupported,
    stream::{
        AttachOpen, ConnectOpen, CoreDumpOpen, ExecOpen, ForwardOpen, LogOpen, LogStreamsOpen, StreamAnswer,
    },
    usage::UsageOpen,
};
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::task::JoinSet;
use tracing::{debug, error};

use super::{
    ByteStream, SessionHost, Shared, StreamRefused,
    stream::{read_frame, write_head},
};

/// Answers streams until the connection ends; then streams under way end with it.
pub(super) async fn serve<H: SessionHost>(host: &Arc<H>, connection: &Connection, shared: &Arc<Shared>) {
    let mut streams = JoinSet::new();
    loop {
        shared.reverse_streams.store(streams.len(), Ordering::Relaxed);
        tokio::select! {
            stream = connection.accept_bi() => {
                let Ok((output, input)) = stream else { return };
                let (host, shared) = (Arc::clone(host), Arc::clone(shared));
                streams.spawn(async move {
                    let stream = Stream { shared: &shared, output, input };
                    if let Err(error) = stream.answer(host.as_ref()).await {
                        debug!(%error, "a stream ended early");
                    }
                });
            }
            Some(done) = streams.join_next() => {
                if let Err(panic) = done {
                    error!(%panic, "a stream failed by a defect");
                }
            }
        }
    }
}

/// One stream of the coordinator.
struct Stream<'a> {
    shared: &'a Shared,
    output: SendStream,
    input: RecvStream,
}

impl Stream<'_> {
    /// The end of an answer, which the caller can tell from one that broke off.
    fn end(mut self, told: io::Result<()>) -> io::Result<()> {
        if let Err(error) = told {
            self.break_off();
            return Err(error);
        }
        self.output.finish().map_err(io::Error::other)
    }

    /// What is only dropped would look whole.
    fn break_off(&mut self) {
        // It is gone already.
        let _ = self.output.reset(VarInt::from_u32(0));
    }

    /// Finds out what is asked for, and serves it to its end.
    async fn answer<H: SessionHost>(mut self, host: &H) -> io::Result<()> {
        let head = read_frame(&mut self.input).await?;
        match head.kind {
            LogOpen::KIND => {
                let LogOpen { request } = head.decode().map_err(io::Error::other)?;
                self.send_log(host, request, LogStreams::All).await
            }
            LogStreamsOpen::KIND => {
                let LogStreamsOpen { request, streams } = head.decode().map_err(io::Error::other)?;
                self.send_log(host, request, streams).await
            }
            ExecOpen::KIND => {
                let ExecOpen { request } = head.decode().map_err(io::Error::other)?;
                match self.opened(host.open_exec(request).await).await? {
                    Some(sandbox) => self.relay_frames(sandbox).await,
                    None => Ok(()),
                }
            }
            AttachOpen::KIND => {
                let AttachOpen { request } = head.decode().map_err(io::Error::other)?;
                match self.opened(host.open_attach(request).await).await? {
                    Some(sandbox) => self.relay_frames(sandbox).await,
                    None => Ok(()),
                }
            }
            ConnectOpen::KIND => {
                let ConnectOpen { uid, port } = head.decode().map_err(io::Error::other)?;
                match self.opened(host.connect(uid, port).await).await? {
                    Some(pod) => self.relay_bytes(pod).await,
                    None => Ok(()),
                }
            }
            ForwardOpen::KIND => {
                let ForwardOpen { uid, port } = head.decode().map_err(io::Error::other)?;
                match self.opened(host.forward(uid, port).await).await? {
                    Some(pod) => self.relay_bytes(pod).await,
                    None => Ok(()),
                }
            }
            CoreDumpOpen::KIND => {
                let CoreDumpOpen { uid, container } = head.decode().map_err(io::Error::other)?;
                match self.opened(host.open_core_dump(uid, container).await).await? {
                    Some(dump) => self.send_bytes(dump).await,
                    None => Ok(()),
                }
            }
            UsageOpen::KIND => match self.opened(host.open_usage().await).await? {
                Some(usage) => self.tell_usage(usage).await,
                None => Ok(()),
            },
            Kind(kind) => {
                write_head(&mut self.output, &Unsupported { kind }).await?;
                self.output.finish().map_err(io::Error::other)
            }
        }
    }

    /// Answers whether a stream is opened; `None` when it is not, and nothing more is to be done.
    async fn opened<S>(&mut self, opened: Result<S, StreamRefused>) -> io::Result<Option<S>> {
        // Above logs and below the control stream.
        let _ = self.output.set_priority(STREAM_PRIORITY);
        match opened {
            Ok(stream) => {
                write_head(&mut self.output, &StreamAnswer::Opened).await?;
                Ok(Some(stream))
            }
            Err(StreamRefused { reason, message }) => {
                write_head(&mut self.output, &StreamAnswer::Refused { reason, message }).await?;
                self.output.finish().map_err(io::Error::other)?;
                Ok(None)
            }
        }
    }
}

/// Of commands, attachments, connections and forwards.
const STREAM_PRIORITY: i32 = 5;
