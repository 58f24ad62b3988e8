//! `completion`: a script that teaches a shell our commands and options.

use anyhow::Result;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::terminal;

/// Options of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  source <(dunlin completion bash)
  dunlin completion zsh > ~/.zfunc/_dunlin
  dunlin completion fish > ~/.config/fish/completions/dunlin.fish")]
pub(crate) struct Args {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Arguments::command(), "dunlin", &mut script);
    Ok(terminal::write_stdout(&script)?)
}
