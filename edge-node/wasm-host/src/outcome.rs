//! How a guest ended, in words that know nothing of wasmtime or of pods.

use wasmtime::{Trap, component::ResourceTableError};
use wasmtime_wasi::I32Exit;

use crate::{
    coredump::DESCRIPTION_START,
    memory::{Exceeded, MemoryAccount},
    state::RESOURCES_MAX,
};

/// The end of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// Detail for a person, or empty.
    pub message: String,
}

impl Ended {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }

    /// The same with what the guest was refused before: a bad end is most likely its doing.
    pub(crate) fn after_denial(mut self, denial: &str) -> Self {
        if matches!(self.cause, Cause::Trap) || matches!(self.cause, Cause::Code(code) if code != 0) {
            let separator = if self.message.is_empty() { "" } else { "; " };
            self.message = format!("{}{separator}it was denied: {denial}", self.message);
            truncate(&mut self.message);
        }
        self
    }
}

/// Why a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// By itself, with this exit code.
    Code(i32),
    /// By a trap.
    Trap,
    /// By its memory limit.
    OutOfMemory,
    /// After it was asked to stop, within its grace, with no code of its own.
    Stopped,
    /// Interrupted at the end of its grace.
    Killed,
    /// It never ran: what it exports or needs is not offered here.
    CannotRun,
    /// The host failed it.
    HostError,
}

/// What became of a command that was called: its exit code, or the error that ended it.
pub(crate) fn of_command(result: wasmtime::Result<i32>, memory: &MemoryAccount) -> Ended {
    let error = match result {
        Ok(code) => return exited(code, memory),
        Err(error) => error,
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return exited(exit.0, memory);
    }
    match of_trap(&error, memory) {
        Cause::Trap if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) => {
            Ended::new(Cause::Killed, "interrupted at the end of its grace period")
        }
        cause => Ended::new(cause, explain(cause, &error, memory)),
    }
}

/// The error in words, after the limit on memory if that was its cause: the trap alone does not tell.
pub(crate) fn explain(cause: Cause, error: &wasmtime::Error, memory: &MemoryAccount) -> String {
    let mut text = describe(error);
    if cause == Cause::OutOfMemory {
        text = format!("{}; {text}", memory.denial());
        truncate(&mut text);
    }
    text
}

/// Whether an error of a call was a limit on memory or anything else that went wrong in the guest.
pub(crate) fn of_trap(error: &wasmtime::Error, memory: &MemoryAccount) -> Cause {
    let exhausted = error.downcast_ref::<Trap>() == Some(&Trap::AllocationTooLarge)
        || matches!(error.downcast_ref::<Exceeded>(), Some(Exceeded::Memory(_)));
    if exhausted || memory.was_denied_lately() { Cause::OutOfMemory } else { Cause::Trap }
}

fn exited(code: i32, memory: &MemoryAccount) -> Ended {
    if code != 0 && memory.was_denied_lately() {
        return Ended::new(Cause::OutOfMemory, memory.denial());
    }
    Ended::new(Cause::Code(code), "")
}

/// The error with its causes and the first frames of the guest, on one line, bounded.
fn describe(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        text = format!("the guest has more than {RESOURCES_MAX} handles");
    }
    // The root cause is what a person looks for; the frames are the context around it.
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    for cause in causes.iter().rev().filter(|cause| !cause.starts_with(DESCRIPTION_START)) {
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.extend(cause.split_whitespace().flat_map(|word| [word, " "]));
        text.truncate(text.trim_end().len());
    }
    truncate(&mut text);
    text
}

fn truncate(text: &mut String) {
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

/// Kubernetes keeps at most this much of a termination message.
const MESSAGE_BYTES_MAX: usize = 4096;
