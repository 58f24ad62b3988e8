//! Serves one stream: a command that runs in a container, a caller who is attached to it, or a question of what all of them use.
//!
//! The end of the connection is the end of the caller: a command ends with it, a container goes on.

mod archive;
mod buckets;

use std::{io, sync::Arc, time::Duration};

use dunlin_edge_node_core::sandbox::stream::{
    AttachStart, BucketsStart, ExecStart, START_BYTES_MAX, StillHere, UsageStart,
};
use dunlin_link::{
    exec::{self, AttachStdin, ExecEnd},
    frame::{Kind, Message, encode},
    limits::EXEC_FRAME_BYTES_MAX,
    message::Unsupported,
    stream::{StreamAnswer, StreamRefusal},
};
use dunlin_wasm_host::{Cause, Command, Ended, Exec, Input, Output as _, Stream, Terminal};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    containers::{Claim, Containers, Refusal},
    tap::{Tap, Wanted},
};
use crate::frames::read_frame;

/// Serves a stream to its end.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Send>(
    containers: &Arc<Containers>,
    stream: S,
) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let head = timeout(HEAD_TIMEOUT, read_frame(&mut reader, START_BYTES_MAX)).await??;
    // An agent that went away before it asked for anything.
    let Some(head) = head else { return Ok(()) };
    match head.kind {
        ExecStart::KIND => {
            let start = head.decode().map_err(io::Error::other)?;
            Served { containers, reader, writer }.exec(start).await
        }
        AttachStart::KIND => {
            let start = head.decode().map_err(io::Error::other)?;
            Served { containers, reader, writer }.attach(start).await
        }
        UsageStart::KIND => tell_usages(containers, &mut writer).await,
        BucketsStart::KIND => {
            let start = head.decode().map_err(io::Error::other)?;
            buckets::serve(containers, start, (&mut reader, &mut writer)).await
        }
        Kind(kind) => writer.write_all(&encode(&Unsupported { kind })).await,
    }
}

struct Served<'a, R, W> {
    containers: &'a Arc<Containers>,
    reader: R,
    writer: W,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin> Served<'_, R, W> {
    async fn exec(mut self, start: ExecStart) -> io::Result<()> {
        let request = start.request;
        let tap =
            Arc::new(Tap::new(Wanted { stdout: request.stdout, stderr: request.stderr, tty: request.tty }));
        let input = if request.stdin { Input::new() } else { Input::empty() };
        let files = archive::asked(&request.command);
        let exec = Exec {
            command: request.command,
            input: input.clone(),
            output: Arc::clone(&tap) as _,
            terminal: if request.tty { Terminal::Yes } else { Terminal::No },
        };
        let begun = self.containers.claim(&start.id).and_then(|claim| match files {
            Some(ask) => Ok((claim, Work::Files(ask))),
            None => command(claim, exec).map(|(claim, command)| (claim, Work::Run(command))),
        });
        let (claim, work) = match begun {
            Ok(begun) => begun,
            Err(refusal) => return self.refuse(refusal).await,
        };
        self.writer.write_all(&encode(&StreamAnswer::Opened)).await?;
        let (runtime, out) = (self.containers.runtime(), Arc::clone(&tap));
        let running = AbortOnDropHandle::new(match work {
            Work::Run(command) => runtime.spawn(async move { exec_end(command.run().await, &out) }),
            Work::Files(ask) => {
                let files = archive::Files::of(&claim.live.container);
                runtime.spawn(archive::answer(ask, files, input.clone(), out))
            }
        });
        let Self { mut reader, mut writer, .. } = self;
        let tell = async {
            let end = async {
                let end = running.await.unwrap_or_else(|_panic| ExecEnd::Failed(PANICKED.to_owned()));
                tap.close();
                Ok(end)
            };
            let (end, ()) = tokio::try_join!(end, drain(&tap, &mut writer))?;
            finish(&mut writer, end).await
        };
        tokio::select! {
            left = feed(&mut reader, &input, InputEnd::Passed) => left,
            told = tell => told,
        }
    }

    async fn attach(mut self, start: AttachStart) -> io::Result<()> {
        let claim = match self.containers.claim(&start.id) {
            Ok(claim) => claim,
            Err(refusal) => return self.refuse(refusal).await,
        };
        let request = start.request;
        let wanted = Wanted { stdout: request.stdout, stderr: request.stderr, tty: request.tty };
        let attached = claim.live.output.attach(Tap::new(wanted));
        let _closing = (request.stdin == AttachStdin::Once).then(|| Closing(claim.live.input.clone()));
        let (input, input_end) = match request.stdin {
            AttachStdin::None => (Input::empty(), InputEnd::Dropped),
            AttachStdin::Open => (claim.live.input.clone(), InputEnd::Dropped),
            AttachStdin::Once => (claim.live.input.clone(), InputEnd::Passed),
        };
        self.writer.write_all(&encode(&StreamAnswer::Opened)).await?;
        let Self { mut reader, mut writer, .. } = self;
        let tell = async {
            drain_in_time(attached.tap(), &mut writer).await?;
            finish(&mut writer, ExecEnd::Detached).await
        };
        tokio::select! {
            left = feed(&mut reader, &input, input_end) => left,
            told = tell => told,
        }
    }

    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        let Refusal { reason, message } = refusal;
        self.writer.write_all(&encode(&StreamAnswer::Refused { reason, message })).await?;
        self.writer.shutdown().await
    }
}

async fn tell_usages(containers: &Arc<Containers>, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    writer.write_all(&encode(&StreamAnswer::Opened)).await?;
    for frame in containers.usages() {
        writer.write_all(&frame).await?;
    }
    writer.shutdown().await
}

fn command(claim: Claim, exec: Exec) -> Result<(Claim, Command), Refusal> {
    let command = claim.live.container.command(exec);
    let impossible = |error: dunlin_wasm_host::ExecError| Refusal {
        reason: StreamRefusal::Impossible,
        message: error.to_string(),
    };
    command.map_err(impossible).map(|command| (claim, command))
}

/// What a caller asked for.
enum Work {
    /// A guest of the container's program.
    Run(Command),
    /// Files of its volumes.
    Files(archive::Ask),
}

/// What the end of a caller's input means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputEnd {
    /// The end of the guest's input.
    Passed,
    /// Nothing: others may bring more.
    Dropped,
}

/// Ends a container's input when the caller leaves who was to be its only one.
struct Closing(Input);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Feeds a guest with what a caller sends; ends when the caller is gone.
async fn feed(reader: &mut (impl AsyncRead + Unpin), input: &Input, end: InputEnd) -> io::Result<()> {
    while let Some(frame) = read_frame(reader, EXEC_FRAME_BYTES_MAX).await? {
        match exec::Input::decode(&frame).map_err(io::Error::other)? {
            // A guest that reads no more does not mind what it is sent.
            Some(exec::Input::Stdin(bytes)) => drop(input.write(&bytes).await),
            Some(exec::Input::StdinEnd) if end == InputEnd::Passed => input.end(),
            // No version of WASI has a way to tell a guest how large its terminal is.
            Some(exec::Input::StdinEnd | exec::Input::Resize(_)) | None => {}
        }
    }
    Ok(())
}

/// Tells a caller what a guest writes, to its end.
async fn drain(tap: &Tap, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    while let Some(frame) = next_frame(tap).await {
        writer.write_all(&frame).await?;
    }
    Ok(())
}

/// The same where a guest waits that others rely on: a caller who takes nothing for long is given up.
async fn drain_in_time(tap: &Tap, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    while let Some(frame) = next_frame(tap).await {
        timeout(STALL_TIMEOUT, writer.write_all(&frame)).await??;
    }
    Ok(())
}

/// The next frame for a caller; `None` at the end. Now and then a sign of life, see [`StillHere`].
async fn next_frame(tap: &Tap) -> Option<Vec<u8>> {
    match timeout(SILENCE_MAX, tap.next()).await {
        Ok(output) => output.map(exec::Output::encode),
        Err(_silent) => Some(encode(&StillHere)),
    }
}

async fn finish(writer: &mut (impl AsyncWrite + Unpin), end: ExecEnd) -> io::Result<()> {
    writer.write_all(&exec::Output::End(end).encode()).await?;
    writer.shutdown().await
}

/// A command's end as its caller sees it: a trap and a kill are exit codes, as they are for containers, and say on standard error why.
fn exec_end(ended: Ended, tap: &Tap) -> ExecEnd {
    if !matches!(ended.cause, Cause::CannotRun | Cause::HostError) && !ended.message.is_empty() {
        tap.push(Stream::Stderr, format!("{}\n", ended.message).as_bytes());
    }
    match ended.cause {
        Cause::Code(code) => ExecEnd::Exited(code),
        Cause::Trap => ExecEnd::Exited(TRAPPED),
        Cause::OutOfMemory | Cause::Killed | Cause::Stopped => ExecEnd::Exited(KILLED),
        Cause::CannotRun | Cause::HostError => ExecEnd::Failed(ended.message),
    }
}

/// What is said of a command whose task panicked.
const PANICKED: &str = "the host failed while it ran the command";

/// As of a process that aborted.
const TRAPPED: i32 = 134;

/// As of a process that was killed.
const KILLED: i32 = 137;

/// How long an agent may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a stream may be silent: within it, a guest whose caller is gone goes too.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long an attached caller may take nothing while a container waits for it. The same as of an answer of the API.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
