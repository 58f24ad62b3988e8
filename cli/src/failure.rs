//! What a person reads when a command fails, and the exit code: 1 when it failed, 64 when it was used wrongly.

use std::{error::Error, fmt, io, process::ExitCode};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use serde_json::Value;

use crate::{
    client,
    terminal::{self, Colour},
};

/// Exit code for a wrong command line or configuration.
const EXIT_USAGE: u8 = 64;

/// What shells add to the number of a signal that ended a command.
const SIGNALLED: u8 = 128;

/// Prints clap's answer: help and version on stdout with success, anything else on stderr.
pub(crate) fn usage(error: clap::Error) -> ExitCode {
    let error = without_commands(error);
    // Nothing can be told when the terminal itself is gone.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS }
}

/// Where a command is missing, clap lists all there are, those that are hidden too; the help, which it points at, says more.
fn without_commands(mut error: clap::Error) -> clap::Error {
    if error.kind() == ErrorKind::MissingSubcommand {
        error.insert(ContextKind::ValidSubcommand, ContextValue::None);
    }
    error
}

/// Prints an error and chooses the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    // `dunlin get pods | head` closes our stdout early; that is no failure.
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS;
    }
    if let Some(Ended(code)) = error.downcast_ref::<Ended>() {
        return ExitCode::from(*code);
    }
    if error.downcast_ref::<AlreadyReported>().is_none() {
        print(error);
    }
    if let Some(exit) = error.downcast_ref::<GuestExit>() {
        return exit.code();
    }
    if let Some(Interrupted(signal)) = error.downcast_ref::<Interrupted>() {
        return ExitCode::from(SIGNALLED + signal);
    }
    match error.downcast_ref::<UsageError>() {
        Some(_) => ExitCode::from(EXIT_USAGE),
        None => ExitCode::FAILURE,
    }
}

/// Prints an error without ending the command.
pub(crate) fn print(error: &anyhow::Error) {
    // Whoever sent a signal knows; and of a command that failed kubectl says no more than this.
    if error.is::<Interrupted>() {
        return;
    }
    if let Some(exit) = error.downcast_ref::<GuestExit>() {
        return terminal::remark(&exit.to_string());
    }
    match error.downcast_ref::<ServerError>() {
        Some(refusal) => terminal::remark(&refusal.to_string()),
        None => {
            terminal::remark(&format!("{} {error:#}", terminal::stderr_colour("error:", Colour::Red)));
        }
    }
}

/// Counts failures of a command that goes on after one; each is printed when it happens.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    count: usize,
}

impl Failures {
    /// Prints the error, if it is one, and hands on the value.
    ///
    /// # Errors
    /// The error itself, not printed, when everything after it would fail in the same way: stdout is closed,
    /// or the connection lost.
    pub(crate) fn note<T>(&mut self, outcome: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_broken_pipe(&error) || client::is_lost(&error) => Err(error),
            Err(error) => {
                if error.downcast_ref::<AlreadyReported>().is_none() {
                    print(&error);
                }
                self.count += 1;
                Ok(None)
            }
        }
    }

    /// As [`Self::note`], of one object with so many others behind it: an error that ends the batch says that they were not tried.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub(crate) fn note_before<T>(
        &mut self,
        untried: usize,
        outcome: anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        self.note(outcome).map_err(|error| match untried {
            0 => error,
            1 => error.context("1 more object was not tried"),
            untried => error.context(format!("{untried} more objects were not tried")),
        })
    }

    /// Whether nothing failed so far.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Fails when anything did.
    ///
    /// # Errors
    /// [`AlreadyReported`].
    pub(crate) fn into_result(self) -> anyhow::Result<()> {
        if self.count == 0 { Ok(()) } else { Err(AlreadyReported.into()) }
    }
}

/// The command failed, and everything about it has been printed.
#[derive(Debug)]
pub(crate) struct AlreadyReported;

impl fmt::Display for AlreadyReported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the command failed")
    }
}

impl Error for AlreadyReported {}

/// The command is over with this exit code, and everything about it has been printed.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) u8);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended with exit code {}", self.0)
    }
}

impl Error for Ended {}

/// A command in a container ended with another exit code than 0, which is this command's too.
#[derive(Debug)]
pub(crate) struct GuestExit(pub(crate) i32);

impl GuestExit {
    /// The code as far as a process can tell it: its lowest byte, and never success.
    fn code(&self) -> ExitCode {
        let [low, ..] = self.0.to_le_bytes();
        if low == 0 { ExitCode::FAILURE } else { ExitCode::from(low) }
    }
}

impl fmt::Display for GuestExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command terminated with exit code {}", self.0)
    }
}

impl Error for GuestExit {}

/// A signal of this number ended the command.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) u8);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended by signal {}", self.0)
    }
}

impl Error for Interrupted {}

/// The command line or the configuration is wrong.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

/// A refusal by the API server: its `metav1.Status`.
#[derive(Debug)]
pub(crate) struct ServerError {
    status: Value,
    /// What was being done and where the object comes from, for instance `error when creating "pod.yaml"`.
    during: Option<String>,
}

impl ServerError {
    /// Wraps a Status; anything else that came with an error code is shown as it is.
    pub(crate) const fn new(status: Value) -> Self {
        Self { status, during: None }
    }

    /// Says what was being done, unless that is known already.
    pub(crate) fn during(mut self, what: String) -> Self {
        self.during.get_or_insert(what);
        self
    }

    /// The status of the answer, as HTTP has them.
    pub(crate) fn code(&self) -> u64 {
        self.status["code"].as_u64().unwrap_or_default()
    }

    /// The machine-readable reason, for instance `NotFound`.
    pub(crate) fn reason(&self) -> &str {
        self.status["reason"].as_str().unwrap_or_default()
    }

    /// What exactly is wrong, if the server says so one by one.
    pub(crate) fn causes(&self) -> &[Value] {
        self.status["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default()
    }

    /// The server's own words.
    pub(crate) fn message(&self) -> &str {
        self.status["message"].as_str().unwrap_or("the server gave no reason")
    }

    /// Words as kubectl has them for a refused object: one line for one cause, a list for several.
    fn invalid(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let details = &self.status["details"];
        let text = |field: &str| details[field].as_str().unwrap_or_default();
        match (text("kind"), text("name")) {
            ("", "") if self.causes().is_empty() => {
                return write!(f, "The request is invalid: {}", self.message());
            }
            ("", "") => f.write_str("The request is invalid")?,
            (kind, name) => write!(f, "The {kind} {name:?} is invalid")?,
        }
        if let Some(during) = &self.during {
            write!(f, " ({during})")?;
        }
        let cause = |cause: &Value| {
            let message = cause["message"].as_str().unwrap_or_default();
            match cause["field"].as_str() {
                Some(field) if !field.is_empty() => format!("{field}: {message}"),
                _ => message.to_owned(),
            }
        };
        match self.causes() {
            [] => Ok(()),
            [one] => write!(f, ": {}", cause(one)),
            several => several.iter().try_for_each(|one| write!(f, "\n* {}", cause(one))),
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason() == "Invalid" && self.status["details"].is_object() {
            return self.invalid(f);
        }
        f.write_str("Error from server")?;
        if !self.reason().is_empty() {
            write!(f, " ({})", self.reason())?;
        }
        match &self.during {
            Some(during) => write!(f, ": {during}: {}", self.message()),
            None => write!(f, ": {}", self.message()),
        }
    }
}

impl Error for ServerError {}

/// Adds what was being done to a server's refusal, or as context to any other error.
pub(crate) fn during(error: anyhow::Error, what: String) -> anyhow::Error {
    match error.downcast::<ServerError>() {
        Ok(refusal) => refusal.during(what).into(),
        Err(error) => error.context(what),
    }
}

/// Whether the server refused with this reason.
pub(crate) fn is_reason(error: &anyhow::Error, reason: &str) -> bool {
    error.downcast_ref::<ServerError>().is_some_and(|refusal| refusal.reason() == reason)
}

/// Whether nobody reads our stdout any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use std::io;

    use clap::Parser as _;
    use serde_json::json;

    use super::{Failures, ServerError, without_commands};
    use crate::command::Arguments;

    #[test]
    fn a_closed_stdout_ends_a_batch() {
        let mut failures = Failures::default();
        assert_eq!(failures.note(Ok(1)).unwrap(), Some(1));
        assert_eq!(failures.note::<()>(Err(anyhow::anyhow!("no"))).unwrap(), None);
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing");
        let error = failures.note_before::<()>(2, Err(closed)).unwrap_err();
        assert_eq!(format!("{error:#}"), "2 more objects were not tried: printing: broken pipe");
        assert!(super::is_broken_pipe(&error));
        assert!(failures.into_result().is_err());
    }

    #[test]
    fn a_missing_command_lists_no_hidden_ones() {
        for line in [&["dunlin"] as &[&str], &["dunlin", "-v"]] {
            let error = without_commands(Arguments::try_parse_from(line).unwrap_err()).to_string();
            assert!(error.contains("Usage: dunlin [OPTIONS] <COMMAND>"), "{error}");
            assert!(!error.contains("runner") && !error.contains("compile"), "{error}");
        }
    }

    #[test]
    fn words_for_refusals() {
        let check = |error: ServerError, expected| assert_eq!(error.to_string(), expected);
        let not_found = json!({"reason": "NotFound", "message": "pods \"x\" not found"});
        check(ServerError::new(not_found), "Error from server (NotFound): pods \"x\" not found");
        let bad = json!({"reason": "BadRequest", "message": "unknown field \"foo\""});
        check(
            ServerError::new(bad).during("error when creating \"STDIN\"".to_owned()),
            "Error from server (BadRequest): error when creating \"STDIN\": unknown field \"foo\"",
        );
        let one = json!({"reason": "Invalid", "details": {"kind": "Pod", "name": "p", "causes": [
            {"field": "spec.containers", "message": "Required value"},
        ]}});
        check(ServerError::new(one), "The Pod \"p\" is invalid: spec.containers: Required value");
        let two = json!({"reason": "Invalid", "details": {"kind": "Pod", "name": "p", "causes": [
            {"field": "a", "message": "Required value"}, {"field": "b", "message": "Forbidden"},
        ]}});
        check(
            ServerError::new(two).during("p.yaml, line 3".to_owned()),
            "The Pod \"p\" is invalid (p.yaml, line 3)\n* a: Required value\n* b: Forbidden",
        );
        let unnamed = json!({"reason": "Invalid", "message": " \"\" is invalid: patch: Invalid value", "details": {"causes": [
            {"field": "patch", "message": "Invalid value"},
        ]}});
        check(ServerError::new(unnamed), "The request is invalid: patch: Invalid value");
        let without_causes = json!({"reason": "Invalid", "message": "no", "details": {}});
        check(ServerError::new(without_causes), "The request is invalid: no");
        check(ServerError::new(json!({})), "Error from server: the server gave no reason");
    }
}
