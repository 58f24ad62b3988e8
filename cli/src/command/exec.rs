//! `exec`: a command in a container of a pod, with stdin, stdout and the terminal if wanted.

use anyhow::Result;

use crate::{
    command::container::{self, Wanted},
    conversation::{self, Parts},
    failure::UsageError,
    session::Session,
    terminal::{self, raw},
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
    /// POD or pod/POD.
    #[arg(value_name = "POD")]
    pod: String,
    /// Container; by default the one that the pod names, or its first.
    #[arg(long, short)]
    container: Option<String>,
    /// Pass stdin to the command.
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Stdin is a terminal, to be handed over.
    #[arg(long, short = 't')]
    tty: bool,
    /// Say nothing but what the command says.
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments, after `--`.
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<String>,
}

/// Runs the command to its end; its exit code becomes this one's.
///
/// # Errors
/// [`crate::failure::GuestExit`] when the command failed, and whatever kept it from running.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let (pod, path) = container::pod(&args.pod, &session).await?;
    container::check_runs(&pod, "cannot exec into")?;
    let wanted = Wanted { asked: args.container.as_deref(), quiet: args.quiet };
    let container = container::choose(&pod, &wanted)?;
    let tty = args.tty && {
        if !args.stdin {
            return Err(UsageError("-t hands the terminal over, which takes -i as well".to_owned()).into());
        }
        let is_terminal = raw::is_terminal();
        if !is_terminal && !args.quiet {
            terminal::remark("Unable to use a TTY - input is not a terminal or the right kind of file");
        }
        is_terminal
    };
    let mut query = vec![("container", container.as_str()), ("stdout", "true")];
    query.extend(args.command.iter().map(|word| ("command", word.as_str())));
    query.extend(
        [("stdin", args.stdin), ("stderr", !tty), ("tty", tty)]
            .iter()
            .filter(|flag| flag.1)
            .map(|flag| (flag.0, "true")),
    );
    let conversation = session.api.converse(&format!("{path}/exec"), &query).await?;
    conversation::run(conversation, Parts { stdin: args.stdin, tty }).await
}
