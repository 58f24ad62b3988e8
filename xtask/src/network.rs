//! `network`: coordinator and node with a bad line between them. Assignments, status and logs arrive, and no pod restarts.
//!
//! The kernel's own tool for bad lines is not everywhere; the line here is a pair of TUN interfaces, one in a network namespace for
//! either side, and threads that carry packets between them. It takes root and `/dev/net/tun`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use self::scenario::{SCENARIOS, Scenario};
use crate::{build_workloads, step};

mod line;
mod scenario;
mod site;
mod tun;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these scenarios instead of all.
    scenarios: Vec<String>,
    /// The binary to run, instead of the one that cargo builds.
    #[arg(long, value_name = "FILE")]
    dunlin: Option<PathBuf>,
    /// What packets are lost is drawn from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs scenarios and prints one JSON document with what was seen.
///
/// # Errors
/// When a scenario does not exist, or did not end as it must.
pub(crate) fn run(args: &Args) -> Result<()> {
    if let Some(lacking) = lacking() {
        bail!("this machine cannot run network scenarios: {lacking}");
    }
    let chosen: Vec<&Scenario> = if args.scenarios.is_empty() {
        SCENARIOS.iter().collect()
    } else {
        let find = |name: &String| {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
            found.with_context(|| format!("no scenario `{name}`; there are: {}", names.join(", ")))
        };
        args.scenarios.iter().map(find).collect::<Result<_>>()?
    };
    let seen = run_all(&chosen, args.dunlin.as_deref(), args.seed)?;
    println!("{}", serde_json::to_string_pretty(&json!({"seed": args.seed, "scenarios": seen}))?);
    Ok(())
}

/// The short scenarios, as part of the tests; says why when they cannot run here.
///
/// # Errors
/// When one did not end as it must.
pub(crate) fn run_short() -> Result<()> {
    if let Some(lacking) = lacking() {
        println!("network scenarios skipped: {lacking}");
        return Ok(());
    }
    let short: Vec<&Scenario> = SCENARIOS.iter().filter(|scenario| scenario.is_short).collect();
    for seen in run_all(&short, None, 1)? {
        println!("network scenario {seen}");
    }
    Ok(())
}

fn run_all(scenarios: &[&Scenario], dunlin: Option<&Path>, seed: u64) -> Result<Vec<Value>> {
    build_workloads::run(step::root(), &step::target_dir())?;
    let built = step::target_dir().join("debug/dunlin");
    if dunlin.is_none() {
        step::run(&mut step::cargo(["build", "--package", "dunlin"]))?;
    }
    let mut seen = Vec::new();
    for scenario in scenarios {
        eprintln!("scenario {}: {}", scenario.name, scenario.about);
        let start = Instant::now();
        let facts = (scenario.run)(dunlin.unwrap_or(&built), seed);
        let mut facts = facts.with_context(|| format!("scenario {} failed", scenario.name))?;
        facts["scenario"] = scenario.name.into();
        facts["seconds"] = start.elapsed().as_secs().into();
        seen.push(facts);
    }
    Ok(seen)
}

/// What this machine lacks.
fn lacking() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("it takes root".to_owned());
    }
    if let Err(error) = std::fs::File::options().read(true).write(true).open("/dev/net/tun") {
        return Some(format!("/dev/net/tun cannot be opened: {error}"));
    }
    let name = format!("dunlin-{}-probe", std::process::id());
    let probe = |verb: &str| step::output(Command::new("ip").args(["netns", verb, &name]));
    match probe("add").and_then(|_| probe("del")) {
        Ok(_) => None,
        Err(error) => Some(format!("network namespaces cannot be made: {error:#}")),
    }
}
