//! `doctor`: what keeps this machine from being a good node, with the line to change. Looks only; changes nothing.

use std::path::{Path, PathBuf};

use anyhow::Result;
use dunlin_edge_node::doctor::{self, Finding, Severity};
use serde_json::json;

use crate::{
    daemon,
    failure::AlreadyReported,
    tabs::{self, Layout},
    terminal::{self, Colour},
};

/// Options of the command.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the node's state [default: that of `dunlin edge-node`]
    #[arg(long, alias = "state", env = "DUNLIN_STATE_DIR", value_name = "DIR")]
    state_dir: Option<PathBuf>,

    /// How to print
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For a person.
    Text,
    /// One JSON document.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  dunlin doctor                           look at this machine; exit code 1 if something will not work
  dunlin doctor --state-dir /mnt/ssd      with the node's state on another disk
  dunlin doctor -o json                   for a program";

/// Prints every check, and fails when one found a problem.
///
/// # Errors
/// [`AlreadyReported`] when something will not work.
pub(crate) fn run(args: Args) -> Result<()> {
    let state_dir = match args.state_dir {
        Some(dir) => dir,
        None => daemon::state_home()?.join("node"),
    };
    let machine = doctor::read(Path::new("/"), &state_dir);
    let findings = doctor::examine(&machine);
    match args.output {
        Output::Text => terminal::print(&text(&machine.model, &findings))?,
        Output::Json => terminal::print(&format!("{:#}\n", document(&machine.model, &findings)))?,
    }
    let works = findings.iter().all(|finding| finding.severity < Severity::Problem);
    if works { Ok(()) } else { Err(AlreadyReported.into()) }
}

fn text(model: &str, findings: &[Finding]) -> String {
    let mut lines = String::new();
    for Finding { check, severity, message, remedy } in findings {
        lines.push_str(&format!("{}\t{check}\t{message}\n", word(*severity)));
        if !remedy.is_empty() {
            lines.push_str(&format!("\t\tto change: {remedy}\n"));
        }
    }
    let aligned = tabs::align(&lines, Layout::DESCRIPTION);
    let count = |wanted| findings.iter().filter(|finding| finding.severity == wanted).count();
    let (problems, warnings) = (count(Severity::Problem), count(Severity::Warning));
    let board = if model.is_empty() { String::new() } else { format!("{model}\n\n") };
    format!("{board}{}\n{problems} problems, {warnings} warnings\n", coloured(&aligned))
}

/// Colours come last: they would count as columns before.
fn coloured(aligned: &str) -> String {
    if !terminal::stdout_has_colours() {
        return aligned.to_owned();
    }
    let mut lines = String::new();
    for line in aligned.lines() {
        let colours = [(PROBLEM, Colour::Red), (WARNING, Colour::Yellow), (GOOD, Colour::Green)];
        let found =
            colours.iter().find_map(|(word, colour)| Some((*word, line.strip_prefix(word)?, *colour)));
        match found {
            Some((word, rest, colour)) => {
                lines.push_str(&format!("{}{rest}\n", terminal::coloured(word, colour)))
            }
            None => lines.push_str(&format!("{line}\n")),
        }
    }
    lines
}

fn document(model: &str, findings: &[Finding]) -> serde_json::Value {
    let findings: Vec<_> = findings
        .iter()
        .map(|Finding { check, severity, message, remedy }| {
            json!({"check": check, "severity": word(*severity), "message": message, "remedy": remedy})
        })
        .collect();
    json!({"model": model, "findings": findings})
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => GOOD,
        Severity::Warning => WARNING,
        Severity::Problem => PROBLEM,
    }
}

const GOOD: &str = "ok";
const WARNING: &str = "warning";
const PROBLEM: &str = "problem";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_stands_below_what_it_mends() {
        let finding = |severity, message: &str, remedy: &str| Finding {
            check: "swap",
            severity,
            message: message.to_owned(),
            remedy: remedy.to_owned(),
        };
        let findings =
            [finding(Severity::Good, "no swap", ""), finding(Severity::Warning, "swap", "swap off")];
        let expected = "board\n\nok       swap  no swap\nwarning  swap  swap\n               to change: swap off\n\n\
                        0 problems, 1 warnings\n";
        assert_eq!(text("board", &findings), expected);
        assert_eq!(document("", &findings)["findings"][1]["severity"], "warning");
    }
}
