//! `exec`: a command in a container of a pod, with stdin, stdout and the terminal if wanted.

use anyhow::Result;

use crate::{
    command::container::{self, NO_TERMINAL, StreamArgs},
    conversation::{self, Parts},
    failure::UsageError,
    session::Session,
    terminal::raw,
};

/// Options of `exec`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin exec hello -- env                        run a command in the only container
  dunlin exec web -c sidecar -- status --all
  dunlin exec -it shell -- sh                     with the terminal handed over
  dunlin exec -i store -- import < data           with data on its stdin
  dunlin exec reactor -- '#collect'               call an exported function of a WASM container")]
pub(crate) struct Args {
    #[command(flatten)]
    streams: StreamArgs,
    /// The command and its arguments, after `--`.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command to its end; its exit code becomes this one's.
///
/// # Errors
/// [`crate::failure::GuestExit`] when the command failed, and whatever kept it from running.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let streams = &args.streams;
    let (pod, path) = container::pod(&streams.pod, &session).await?;
    container::check_runs(&pod, "cannot exec into")?;
    let container = container::choose(&pod, &streams.wanted())?;
    if streams.tty && !streams.stdin {
        return Err(UsageError("-t hands the terminal over, which takes -i as well".to_owned()).into());
    }
    let tty = streams.tty && raw::is_terminal();
    if streams.tty && !tty {
        streams.without_terminal(NO_TERMINAL);
    }
    let parts = Parts { stdin: streams.stdin, tty };
    let mut query = StreamArgs::query(&container, &parts);
    query.extend(args.command.iter().map(|word| ("command", word.as_str())));
    let conversation = session.api.converse(&format!("{path}/exec"), &query).await?;
    conversation::run(conversation, parts).await
}
