//! What of a program a run calls: its own beginning, or an exported function that a caller named.

use wasmtime::{ExternType, Val, component};

use crate::program::Kind;

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// What makes it a program: `_start`, `wasi:cli/run`, or its handler for each request.
    Main,
    /// An exported function without parameters.
    Function(String),
}

/// Why a command cannot be run in a container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// Nothing was named.
    #[error("no command was named")]
    NoCommand,
    /// An HTTP handler has no beginning that could be called with arguments.
    #[error(
        "the container serves HTTP requests (`wasi:http/incoming-handler`) and has no command to run; `#NAME` calls a function that it exports"
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
    /// What a command line calls in a program.
    pub(crate) fn of_command(command: &[String], kind: &Kind) -> Result<Self, ExecError> {
        let program = command.first().ok_or(ExecError::NoCommand)?;
        match program.strip_prefix(FUNCTION_MARK) {
            Some(name) => {
                let parameters =
                    parameters(kind, name).ok_or_else(|| ExecError::NoFunction(name.to_owned()))?;
                match parameters {
                    0 => Ok(Self::Function(name.to_owned())),
                    _ => Err(ExecError::Parameters(name.to_owned())),
                }
            }
            None if matches!(kind, Kind::HttpHandler(_)) => Err(ExecError::NotACommand),
            None => Ok(Self::Main),
        }
    }
}

/// How many parameters an exported function has; `None` when there is no such function.
fn parameters(kind: &Kind, name: &str) -> Option<usize> {
    match kind {
        Kind::Module(program) => match program.module().get_export(name)? {
            ExternType::Func(function) => Some(function.params().len()),
            _ => None,
        },
        Kind::Command(program) => of_component(program.instance_pre().component(), name),
        Kind::HttpHandler(program) => of_component(program.instance_pre().component(), name),
    }
}

fn of_component(component: &component::Component, name: &str) -> Option<usize> {
    let exports = component.component_type();
    match exports.get_export(component.engine(), name)?.ty {
        component::types::ComponentItem::ComponentFunc(function) => Some(function.params().len()),
        _ => None,
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

/// Begins a command that names a function.
const FUNCTION_MARK: char = '#';
