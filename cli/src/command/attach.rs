//! `attach`: what a container writes from now on, and its stdin if wanted.

use anyhow::Result;

use crate::{
    command::container::{self, Wanted},
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
    /// POD or pod/POD.
    #[arg(value_name = "POD")]
    pod: String,
    /// Container; by default the one that the pod names, or its first.
    #[arg(long, short)]
    container: Option<String>,
    /// Pass stdin to the container.
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Stdin is a terminal, to be handed over.
    #[arg(long, short = 't')]
    tty: bool,
    /// Say nothing but what the container says.
    #[arg(long, short)]
    quiet: bool,
}

/// Stays attached until the container ends.
///
/// # Errors
/// Whatever kept it from being attached to.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let (pod, path) = container::pod(&args.pod, &session).await?;
    container::check_runs(&pod, "cannot attach")?;
    let wanted = Wanted { asked: args.container.as_deref(), quiet: args.quiet };
    let container = container::choose(&pod, &wanted)?;
    if args.stdin && !container::declares(&pod, &container, "stdin") {
        return Err(UsageError(format!(
            "container {container} does not take stdin: its spec lacks `stdin: true`"
        ))
        .into());
    }
    let tty = args.tty && has_terminal(&args, &pod, &container);
    let mut query = vec![("container", container.as_str()), ("stdout", "true")];
    query.extend(
        [("stdin", args.stdin), ("stderr", !tty), ("tty", tty)]
            .iter()
            .filter(|flag| flag.1)
            .map(|flag| (flag.0, "true")),
    );
    let conversation = session.api.converse(&format!("{path}/attach"), &query).await?;
    if args.stdin && !args.quiet {
        terminal::remark("If you don't see a command prompt, try pressing enter.");
    }
    conversation::run(conversation, Parts { stdin: args.stdin, tty }).await
}

/// Whether both ends have a terminal; says which has none.
fn has_terminal(args: &Args, pod: &serde_json::Value, container: &str) -> bool {
    let missing = if !args.stdin || !raw::is_terminal() {
        "input is not a terminal or the right kind of file".to_owned()
    } else if !container::declares(pod, container, "tty") {
        format!("container {container} did not allocate one")
    } else {
        return true;
    };
    if !args.quiet {
        terminal::remark(&format!("Unable to use a TTY - {missing}"));
    }
    false
}
