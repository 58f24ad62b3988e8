//! Replays recorded kubectl commands: what kubectl printed of a real Kubernetes 1.36 it must print of Dunlin.
//!
//! The recording had controllers and a node that only existed in the API. Here the node is the same, and what the recorded
//! controllers did is done by hand in between ([`recorded`]). What differs is listed in `docs/kubernetes-compat.md`.

mod controllers;
mod recorded;

use std::collections::BTreeSet;

use super::{
    client::Client,
    golden::{data, is_own, listed_differences, report, shortened},
    kubectl::Kubectl,
    matching::Bindings,
};
use crate::{cluster::Answer, site::Site};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    command: String,
    #[serde(default)]
    stdin: String,
    stdout: String,
    stderr: String,
    exit: i32,
}

#[test]
fn kubectl_prints_what_it_prints_of_kubernetes() {
    let Some(folder) = data() else {
        println!("SKIPPED: recorded kubectl commands are not there; DUNLIN_K8S_DATA can name their folder");
        return;
    };
    let site = Site::start_with(&["--no-controllers"]);
    let Some(kubectl) = Kubectl::new(&site.config(), "kc") else {
        println!("SKIPPED: there is no kubectl 1.36; `cargo xtask packages` installs it");
        return;
    };
    let mut client = Client::new(&site.config(), &site.address());
    recorded::prepare(&mut client);
    let text = std::fs::read_to_string(folder.join("kubectl.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_str(&text).unwrap();
    let known = listed_differences(&["kubectl"]);
    let (mut differing, mut told, mut unlisted) = (BTreeSet::new(), String::new(), String::new());
    for case in &cases {
        recorded::before(&mut client, &case.name);
        let answer = run(&kubectl, case);
        if answer.code == 0 {
            recorded::after(&mut client, &case.name);
        }
        let differences = compare(case, &answer, &site.address());
        if differences.is_empty() {
            continue;
        }
        let name = format!("kubectl: {}", case.name);
        let difference = format!("## {name}\n{}\n", differences.join("\n"));
        if !known.contains(&name) {
            unlisted.push_str(&difference);
        }
        told.push_str(&difference);
        differing.insert(name);
    }
    println!("{} commands replayed, {} differ", cases.len(), differing.len());
    report("kubectl", &told);
    let count = differing.difference(&known).count();
    assert!(count == 0, "{count} commands differ and are not listed:\n{}", shortened(&unlisted));
    let stale: Vec<_> = known.difference(&differing).collect();
    assert!(stale.is_empty(), "listed as differing, but equal: {stale:#?}");
}

/// Runs a recorded command line; the only thing of a shell that they use is quotes, and once `| head -1`.
fn run(kubectl: &Kubectl, case: &Case) -> Answer {
    let (command, head) = match case.command.split_once(" | head -1") {
        Some((command, _)) => (command, true),
        None => (case.command.as_str(), false),
    };
    let args = words(command.strip_prefix("kubectl").unwrap());
    let mut answer = kubectl.run(&args, &case.stdin);
    if head {
        answer.stdout = answer.stdout.lines().next().map(|line| format!("{line}\n")).unwrap_or_default();
        // The colours of a terminal are not what is compared.
        answer.stdout =
            answer.stdout.replace("\u{1b}[0;32m", "").replace("\u{1b}[0;33m", "").replace("\u{1b}[0m", "");
    }
    answer
}

/// Splits a command line as a shell does, with both kinds of quotes and backslashes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut started) = (Vec::new(), String::new(), None, false);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, ' ') if started => {
                words.push(std::mem::take(&mut word));
                started = false;
            }
            (None, ' ') => {}
            (None, '"' | '\'') => (quote, started) = (Some(character), true),
            (Some(open), character) if open == character => quote = None,
            (None, '\\') => word.extend(characters.next()),
            // Within double quotes only these need a backslash; it stays before all others.
            (Some('"'), '\\') => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                other => word.extend(['\\'].into_iter().chain(other)),
            },
            (_, character) => {
                word.push(character);
                started = true;
            }
        }
    }
    words.extend(started.then_some(word));
    words
}

fn compare(case: &Case, answer: &Answer, address: &str) -> Vec<String> {
    let mut differences = Vec::new();
    if answer.code != case.exit {
        differences.push(format!("exit {}, expected {}", answer.code, case.exit));
    }
    for (stream, expected, found) in
        [("stdout", &case.stdout, &answer.stdout), ("stderr", &case.stderr, &answer.stderr)]
    {
        let own = |line: &&str| !(line.starts_with("Warning: ") && is_own(line));
        let found: Vec<&str> = found.lines().filter(own).collect();
        let found = found.join("\n").replace(address, "127.0.0.1:6443");
        if !same(expected, &found) {
            differences.push(format!("{stream}:\n{found}\n  expected:\n{expected}"));
        }
    }
    differences
}

/// Whether two outputs are the same word by word. Widths follow from ages and generated names, so runs of spaces do not count.
fn same(expected: &str, found: &str) -> bool {
    let mut bindings = Bindings::default();
    let lines = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        text.lines().map(words).filter(|words| !words.is_empty()).collect()
    };
    let (expected, found) = (lines(expected), lines(found));
    let same_line = |(expected, found): (&Vec<String>, &Vec<String>), bindings: &mut Bindings| {
        // A date is one placeholder and several words.
        let (expected, found) = (expected.join(" "), found.join(" "));
        bindings.matches(&expected, &found)
    };
    expected.len() == found.len() && expected.iter().zip(&found).all(|pair| same_line(pair, &mut bindings))
}

#[test]
fn command_lines_are_split_as_a_shell_does() {
    let line = r#" patch cm -p '{"a": "b c"}' -o jsonpath="{.a}{'\n'}" "#;
    assert_eq!(words(line), ["patch", "cm", "-p", r#"{"a": "b c"}"#, "-o", r"jsonpath={.a}{'\n'}"]);
}
