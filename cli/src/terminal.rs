//! What the terminal shows: output that survives a closed pipe, colours only where somebody sees them, warnings, logging.

pub(crate) mod progress;
pub(crate) mod raw;

use std::io::{self, IsTerminal as _, Write as _};

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Colours with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// Something failed.
    Red,
    /// Something waits.
    Yellow,
    /// All is well.
    Green,
    /// A place in a text.
    Cyan,
}

/// Writes text to stdout as it is.
///
/// # Errors
/// When stdout is closed, which [`crate::failure::report`] takes for an early but good end.
pub(crate) fn print(text: &str) -> io::Result<()> {
    write_stdout(text.as_bytes())
}

/// Writes bytes to stdout and flushes them, so that a follower sees them at once.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// Tells a person about something that did not stop the command.
pub(crate) fn warn(message: &str) {
    remark(&format!("{} {message}", stderr_colour("Warning:", Colour::Yellow)));
}

/// Says something beside the data that a command prints. When stderr is closed nobody listens, which stops no command.
pub(crate) fn remark(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{message}");
}

/// The text in a colour when stderr is a terminal.
pub(crate) fn stderr_colour(text: &str, colour: Colour) -> String {
    if io::stderr().is_terminal() && colours_wanted() { coloured(text, colour) } else { text.to_owned() }
}

/// Whether stdout may carry colours.
pub(crate) fn stdout_has_colours() -> bool {
    io::stdout().is_terminal() && colours_wanted()
}

/// The text in a colour.
pub(crate) fn coloured(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Red => 31,
        Colour::Yellow => 33,
        Colour::Green => 32,
        Colour::Cyan => 36,
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Starts logging to stderr for client commands: warnings, or more with each `-v`.
pub(crate) fn start_logging(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let coloured = io::stderr().is_terminal() && colours_wanted();
    tracing_subscriber::registry().with(lines.with_ansi(coloured).with_filter(log_filter(level))).init();
}

/// What is logged: `RUST_LOG` as `LEVEL` or `TARGET=LEVEL,...`, on top of `level` for everything else.
pub(crate) fn log_filter(level: LevelFilter) -> Targets {
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let parsed = asked.as_deref().map(str::parse::<Targets>);
    match parsed {
        None => Targets::new().with_default(level),
        Some(Ok(targets)) if targets.default_level().is_none() => targets.with_default(level),
        Some(Ok(targets)) => targets,
        Some(Err(error)) => {
            warn(&format!("RUST_LOG is not understood and ignored: {error}"));
            Targets::new().with_default(level)
        }
    }
}

/// The convention of no-color.org: any non-empty value switches colours off.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
