//! What of a program a run calls: its own beginning, its handler, or an exported function that somebody named.

use wasmtime::{ExternType, Val, component};

use crate::{
    guest::{EntryChoice, Guest},
    program::{Kind, Program},
};

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// `_start` or `wasi:cli/run`, from its beginning to its end.
    Command,
    /// Its handler, for each request.
    Handler,
    /// Its command, and beside it its handler for each request.
    CommandAndHandler,
    /// An exported function without parameters.
    Function(String),
}

/// Why a program has not the entry that a container asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It has none at all.
    #[error(
        "the module exports nothing runnable: {wanted} (or a command `#NAME`, which calls a function that it exports), and this one \
         exports {exports}"
    )]
    None {
        /// What would be one.
        wanted: &'static str,
        /// What there is.
        exports: String,
    },
    /// It has another one.
    #[error("`dunlin.dev/entry` asks for {asked}, which the module does not export; it exports {exports}")]
    Other {
        /// What was asked for.
        asked: &'static str,
        /// What there is.
        exports: String,
    },
    /// The function that the command names cannot be called.
    #[error(transparent)]
    Function(#[from] ExecError),
}

/// Why a command cannot be run in a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// Nothing was named.
    #[error("no command was named")]
    NoCommand,
    /// The program has no beginning that could be called with arguments.
    #[error(
        "the container's program has no command to run (neither `_start` nor `wasi:cli/run`): it serves HTTP requests or is a library; \
         `#NAME` calls a function that it exports"
    )]
    NotACommand,
    /// The function is not exported.
    #[error("the container exports no function `{0}`")]
    NoFunction(String),
    /// It takes arguments, which a command line cannot give.
    #[error("the function `{0}` takes parameters and cannot be called as a command")]
    Parameters(String),
}

impl Entry {
    /// What a container calls in its program.
    pub(crate) fn of_guest(guest: &Guest, program: &Program) -> Result<Self, EntryError> {
        if let Some(name) = guest.args.first().and_then(|first| first.strip_prefix(FUNCTION_MARK)) {
            return Ok(Self::of_function(name, &program.kind)?);
        }
        let (command, handler) = (has_command(&program.kind), has_handler(&program.kind));
        let other = |asked| Err(EntryError::Other { asked, exports: program.exports() });
        match (guest.entry, command, handler) {
            (EntryChoice::Run, true, _) | (EntryChoice::Detected, true, false) => Ok(Self::Command),
            (EntryChoice::Http, _, true) | (EntryChoice::Detected, false, true) => Ok(Self::Handler),
            // Without a port nobody could reach its handler.
            (EntryChoice::Detected, true, true) if guest.listen.is_empty() => Ok(Self::Command),
            (EntryChoice::Detected, true, true) => Ok(Self::CommandAndHandler),
            (EntryChoice::Run, false, _) => other("a command"),
            (EntryChoice::Http, _, false) => other("an HTTP handler"),
            (EntryChoice::Detected, false, false) => {
                Err(EntryError::None { wanted: wanted(&program.kind), exports: program.exports() })
            }
        }
    }

    /// What a command line calls in a program.
    pub(crate) fn of_command(command: &[String], kind: &Kind) -> Result<Self, ExecError> {
        let program = command.first().ok_or(ExecError::NoCommand)?;
        match program.strip_prefix(FUNCTION_MARK) {
            Some(name) => Self::of_function(name, kind),
            None if has_command(kind) => Ok(Self::Command),
            None => Err(ExecError::NotACommand),
        }
    }

    fn of_function(name: &str, kind: &Kind) -> Result<Self, ExecError> {
        match parameters(kind, name) {
            None => Err(ExecError::NoFunction(name.to_owned())),
            Some(0) => Ok(Self::Function(name.to_owned())),
            Some(_) => Err(ExecError::Parameters(name.to_owned())),
        }
    }
}

fn has_command(kind: &Kind) -> bool {
    match kind {
        Kind::Module(linked) => {
            linked.module().get_export(START).is_some_and(|export| export.func().is_some())
        }
        Kind::Component(exported) => exported.command.is_some(),
    }
}

fn has_handler(kind: &Kind) -> bool {
    matches!(kind, Kind::Component(exported) if exported.handler.is_some())
}

fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Module(_) => "a core module needs a function `_start`",
        Kind::Component(_) => {
            "a component needs `wasi:cli/run`, `wasi:http/incoming-handler` 0.2 or `wasi:http/handler` 0.3"
        }
    }
}

/// How many parameters an exported function has; `None` when there is no such function.
fn parameters(kind: &Kind, name: &str) -> Option<usize> {
    match kind {
        Kind::Module(linked) => match linked.module().get_export(name)? {
            ExternType::Func(function) => Some(function.params().len()),
            _ => None,
        },
        Kind::Component(exported) => {
            let component = exported.instance.component();
            match component.component_type().get_export(component.engine(), name)?.ty {
                component::types::ComponentItem::ComponentFunc(function) => Some(function.params().len()),
                _ => None,
            }
        }
    }
}

/// The exit code that a core function's results stand for: its first number, if it has one.
pub(crate) fn code_of_core(results: &[Val]) -> i32 {
    match results.first() {
        Some(Val::I32(code)) => *code,
        _ => 0,
    }
}

/// The exit code that a component function's results stand for: a failed `result` is 1, a number is itself.
pub(crate) fn code_of_component(results: &[component::Val]) -> i32 {
    use component::Val;
    match results.first() {
        Some(Val::Result(Err(_))) => 1,
        Some(Val::S8(code)) => i32::from(*code),
        Some(Val::U8(code)) => i32::from(*code),
        Some(Val::S16(code)) => i32::from(*code),
        Some(Val::U16(code)) => i32::from(*code),
        Some(Val::S32(code)) => *code,
        Some(Val::U32(code)) => i32::try_from(*code).unwrap_or(i32::MAX),
        _ => 0,
    }
}

/// What a preview 1 command exports.
pub(crate) const START: &str = "_start";

/// Begins a command that names a function.
const FUNCTION_MARK: char = '#';
