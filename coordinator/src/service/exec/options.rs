//! `PodExecOptions` and `PodAttachOptions`, read from the query and checked.

use dunlin_api::Status;
use dunlin_link::limits::EXEC_COMMAND_BYTES_MAX;

use crate::service::{path::ResourceRequest, query::Query};

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A command.
    Exec,
    /// The container's own streams.
    Attach,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StreamOptions {
    pub(super) action: Action,
    /// Empty for the default one.
    pub(super) container: String,
    /// Of an exec.
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) tty: bool,
}

impl Action {
    /// What a request is for; `None` when it is for no stream.
    pub(super) fn of(request: &ResourceRequest) -> Option<Self> {
        match (request.kind.kind, request.subresource.as_str()) {
            ("Pod", "exec") => Some(Self::Exec),
            ("Pod", "attach") => Some(Self::Attach),
            _ => None,
        }
    }
}

impl StreamOptions {
    /// Reads the parameters.
    ///
    /// # Errors
    /// 400 for what no container could do.
    pub(super) fn parse(action: Action, query: &Query) -> Result<Self, Status> {
        let command = match action {
            Action::Exec => query.values("command").map(str::to_owned).collect(),
            Action::Attach => Vec::new(),
        };
        let tty = query.flag("tty");
        let options = Self {
            action,
            container: query.text("container").to_owned(),
            command,
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            // A terminal has one stream.
            stderr: query.flag("stderr") && !tty,
            tty,
        };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), Status> {
        if !(self.stdin || self.stdout || self.stderr) {
            return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
        }
        if self.action == Action::Attach {
            return Ok(());
        }
        if self.command.is_empty() {
            return Err(Status::bad_request("you must specify at least one command for the container"));
        }
        // With each word goes its length.
        let bytes: usize = self.command.iter().map(|word| word.len() + 1).sum();
        if bytes > EXEC_COMMAND_BYTES_MAX {
            let message = format!("the command and its arguments exceed {EXEC_COMMAND_BYTES_MAX} bytes");
            return Err(Status::bad_request(message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(action: Action, query: &str) -> Result<StreamOptions, String> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query = Query::new(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
        StreamOptions::parse(action, &query).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn parameters_are_read_as_kubernetes_does() {
        let options =
            parse(Action::Exec, "command=ls&command=-l&container=c&stdin=true&stdout=1&stderr=true").unwrap();
        assert_eq!((options.command.join(" ").as_str(), options.container.as_str()), ("ls -l", "c"));
        assert!(options.stdin && options.stdout && options.stderr && !options.tty);
        let on_terminal = parse(Action::Attach, "stdout=true&stderr=true&tty=true&command=x").unwrap();
        assert!(on_terminal.tty && !on_terminal.stderr && on_terminal.command.is_empty());
        let check = |action, query: &str, expected: &str| {
            let message = parse(action, query).unwrap_err();
            assert!(message.contains(expected), "{query}: {message}");
        };
        check(Action::Exec, "command=ls", "at least 1 of stdin, stdout, stderr");
        check(Action::Attach, "stdin=false", "at least 1 of stdin, stdout, stderr");
        check(Action::Exec, "stdout=true", "at least one command");
        check(Action::Exec, &format!("stdout=true&command={}", "x".repeat(50_000)), "exceed 49152 bytes");
    }
}
