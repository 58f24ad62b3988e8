//! `attach`: what a container writes from now on, and its stdin if wanted.

use anyhow::Result;
use serde_json::Value;

use crate::{
    command::container::{self, NO_TERMINAL, StreamArgs},
    conversation::{self, Parts},
    failure::UsageError,
    session::Session,
    terminal::{self, raw},
};

/// Options of `attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin attach ticker                            see what it prints from now on
  dunlin attach -i listener                       and write to its stdin, which its spec must allow
  dunlin attach web -c sidecar")]
pub(crate) struct Args {
    #[command(flatten)]
    streams: StreamArgs,
}

/// Stays attached until the container ends.
///
/// # Errors
/// Whatever kept it from being attached to.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let streams = &args.streams;
    let (pod, path) = container::pod(&streams.pod, &session).await?;
    container::check_runs(&pod, "cannot attach")?;
    let container = container::choose(&pod, &streams.wanted())?;
    if streams.stdin && !container::declares(&pod, &container, "stdin") {
        return Err(UsageError(format!(
            "container {container} does not take stdin: its spec lacks `stdin: true`"
        ))
        .into());
    }
    let tty = streams.tty && has_terminal(streams, &pod, &container);
    let parts = Parts { stdin: streams.stdin, tty };
    let query = StreamArgs::query(&container, &parts);
    let conversation = session.api.converse(&format!("{path}/attach"), &query).await?;
    if streams.stdin && !streams.quiet {
        terminal::remark("If you don't see a command prompt, try pressing enter.");
    }
    conversation::run(conversation, parts).await
}

/// Whether both ends have a terminal; says which has none.
fn has_terminal(streams: &StreamArgs, pod: &Value, container: &str) -> bool {
    if !streams.stdin || !raw::is_terminal() {
        streams.without_terminal(NO_TERMINAL);
        false
    } else if !container::declares(pod, container, "tty") {
        streams.without_terminal(&format!("container {container} did not allocate one"));
        false
    } else {
        true
    }
}
