//! Talking to a process in a pod: stdin, stdout and the terminal here are carried to its streams there.
//!
//! Reading and writing block, so each has a thread of its own: a slow reader of stdout does not let the connection die, and a process
//! that ends is not kept by a stdin that says nothing.

mod output;
mod stdin;

use std::future::pending;

use anyhow::{Context as _, Result, anyhow};
use dunlin_link::{
    exec::{ExecEnd, Input, Output},
    frame::Decoder,
    limits::EXEC_FRAME_BYTES_MAX,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{output::Printer, stdin::Typed};
use crate::{
    client::Conversation,
    failure::{GuestExit, Interrupted},
    terminal::raw,
};

/// What of this side takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Whether stdin is sent.
    pub(crate) stdin: bool,
    /// Whether the terminal is handed over.
    pub(crate) tty: bool,
}

/// Talks until the process has ended.
///
/// # Errors
/// [`GuestExit`] when it ended with another code than 0, and whatever broke the conversation off.
pub(crate) async fn run(conversation: Conversation, parts: Parts) -> Result<()> {
    // Before anything is printed; dropped last.
    let _raw =
        if parts.tty { Some(raw::RawTerminal::enter().context("cannot use the terminal")?) } else { None };
    let (mut send, mut receive) = conversation.split();
    let mut printer = Printer::start()?;
    let input = async {
        let sent = send_input(&mut send, parts).await;
        match sent {
            Ok(never) => match never {},
            Err(error) => error,
        }
    };
    let output = async {
        let mut decoder = Decoder::new(EXEC_FRAME_BYTES_MAX);
        loop {
            let chunk = receive.chunk().await?;
            let Some(chunk) = chunk else { return Err(anyhow!("the stream broke off")) };
            let mut rest = &chunk[..];
            while let Some(frame) = decoder.feed(&mut rest).context("the server's answer is malformed")? {
                match Output::decode(&frame).context("the server's answer is malformed")? {
                    Some(Output::End(end)) => return Ok(end),
                    Some(output) => printer.print(output).await?,
                    None => {}
                }
            }
        }
    };
    let end = tokio::select! {
        end = output => end,
        // The process goes on without input; only a signal ends the conversation from here.
        error = input => Err(error),
    };
    let printed = printer.finish();
    match end? {
        ExecEnd::Exited(0) | ExecEnd::Detached => printed,
        ExecEnd::Exited(code) => {
            printed?;
            Err(GuestExit(code).into())
        }
        ExecEnd::Failed(why) => Err(anyhow!("{why}")),
    }
}

/// What never comes.
enum Never {}

/// Sends what is typed and how large the terminal is. Ends only by a signal.
async fn send_input(send: &mut crate::client::Sender, parts: Parts) -> Result<Never> {
    let mut typed = if parts.stdin { Some(Typed::start()?) } else { None };
    let mut resized = if parts.tty { Some(signal(SignalKind::window_change())?) } else { None };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut size = if parts.tty { raw::size() } else { None };
    loop {
        if let Some(size) = size.take() {
            send.send(&Input::Resize(size).encode()).await;
        }
        tokio::select! {
            bytes = next(&mut typed) => match bytes {
                Some(bytes) => send.send(&Input::Stdin(bytes).encode()).await,
                None => {
                    typed = None;
                    send.send(&Input::StdinEnd.encode()).await;
                }
            },
            () = heard(&mut resized) => size = raw::size(),
            _ = interrupt.recv() => return Err(Interrupted(SIGINT).into()),
            _ = terminate.recv() => return Err(Interrupted(SIGTERM).into()),
            _ = hang_up.recv() => return Err(Interrupted(SIGHUP).into()),
        }
    }
}

async fn next(typed: &mut Option<Typed>) -> Option<Vec<u8>> {
    match typed {
        Some(typed) => typed.next().await,
        None => pending().await,
    }
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Numbers of the signals that end a conversation.
const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;
