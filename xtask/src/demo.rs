//! `demo`: from a fresh clone to a running cluster of three nodes with pods on it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use self::cluster::Cluster;
use crate::{build_workloads, step};

mod cluster;

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Stop the cluster and remove its state at the end, for use in tests.
    #[arg(long)]
    pub(crate) exit: bool,
}

/// Builds everything, starts the cluster, shows it at work, and leaves it up or tears it down.
///
/// # Errors
/// When any part does not come up within its time.
pub(crate) fn run(args: &Args) -> Result<()> {
    step::run(&mut step::cargo(["build", "--package", "dunlin"]))?;
    build_workloads::run(step::root(), &step::target_dir())?;
    if args.exit { run_and_tear_down() } else { run_and_leave() }
}

fn run_and_leave() -> Result<()> {
    let mut cluster = Cluster::start(step::root(), None)?;
    if let Err(error) = show(&mut cluster) {
        cluster.stop()?;
        return Err(error);
    }
    let pid = cluster.leave_running();
    let binary = binary();
    let shown = binary.strip_prefix(step::root()).unwrap_or(&binary).display();
    println!("\nThe cluster is up (process {pid}). To try next:");
    for arguments in NEXT {
        println!("  {shown} {arguments}");
    }
    println!("Stop it with `kill {pid}`; `{shown} dev` resumes it from ./.dunlin.");
    Ok(())
}

/// Works in a folder and with a client configuration of its own, so that a cluster of the user stays untouched.
fn run_and_tear_down() -> Result<()> {
    let dir = tempfile::Builder::new().prefix("dunlin-demo-").tempdir().context("cannot make a folder")?;
    let mut cluster = Cluster::start(dir.path(), Some(&dir.path().join("client-config")))?;
    let shown = show(&mut cluster).and_then(|()| {
        let manifests = step::root().join(MANIFESTS);
        let path = manifests.to_string_lossy();
        cluster.dunlin(&["delete", "-f", &path, "--grace-period=2", "--timeout=60s"]).map(drop)
    });
    let stopped = cluster.stop();
    shown.and(stopped)
}

/// Pushes, applies, waits, calls.
fn show(cluster: &mut Cluster) -> Result<()> {
    cluster.wait_for("three Ready nodes", STARTUP_TIMEOUT, |cluster| {
        let nodes = cluster.dunlin(&["get", "nodes", "--no-headers"])?;
        let ready = nodes.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready")).count();
        if ready < NODES { bail!("{ready} of {NODES} nodes are Ready") } else { Ok(()) }
    })?;
    println!("{}", cluster.dunlin(&["get", "nodes", "-o", "wide"])?);

    for module in build_workloads::run(step::root(), &step::target_dir())? {
        let name = module.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        print!("{}", cluster.dunlin(&["push", &module.to_string_lossy(), &name])?);
    }
    let manifests = step::root().join(MANIFESTS);
    println!("{}", cluster.dunlin(&["apply", "-f", &manifests.to_string_lossy()])?);
    cluster.wait_for("every pod as it should be", PODS_TIMEOUT, pods_as_expected)?;
    println!("{}", cluster.dunlin(&["get", "pods", "-n", "demo", "-o", "wide"])?);

    let description = cluster.dunlin(&["describe", "pod", "-n", "demo", "http-hello"])?;
    let address = local_endpoint(&description).context("`describe` shows no local endpoint of http-hello")?;
    let answer = call(address, "/hello?from=demo")?;
    println!("GET http://{address}/hello?from=demo\n{answer}");
    Ok(())
}

/// Compares the STATUS column of every pod of the demo with what its manifest promises.
fn pods_as_expected(cluster: &mut Cluster) -> Result<()> {
    let table = cluster.dunlin(&["get", "pods", "-n", "demo", "--no-headers"])?;
    for (name, expected) in EXPECTED {
        let row = table.lines().find(|line| line.split_whitespace().next() == Some(name));
        let status = row.and_then(|row| row.split_whitespace().nth(2)).unwrap_or("missing");
        if !expected.contains(&status) {
            bail!("pod {name} is {status}, not {}", expected.join(" or "));
        }
    }
    Ok(())
}

/// The first address below `Local Endpoints:`, as `  8080/TCP:  127.0.0.1:1234`.
fn local_endpoint(description: &str) -> Option<&str> {
    let mut lines = description.lines().skip_while(|line| !line.starts_with("Local Endpoints:"));
    lines.next()?;
    lines.next().filter(|line| line.starts_with(' '))?.split_whitespace().last()
}

fn call(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(CALL_TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("no answer from {address}"))?;
    if !answer.starts_with("HTTP/1.1 200") {
        bail!("the HTTP pod answered {}", answer.lines().next().unwrap_or("nothing"));
    }
    Ok(answer)
}

/// The binary that cargo built for us.
fn binary() -> PathBuf {
    step::target_dir().join("debug/dunlin")
}

const NODES: usize = 3;

const MANIFESTS: &str = "manifests/demo";

/// Generous: a loaded CI machine with two cores compiles nothing here, but it may swap.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// The crasher needs a few restarts before the kubelet's word for it is CrashLoopBackOff.
const PODS_TIMEOUT: Duration = Duration::from_secs(120);

const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Pods of manifests/demo, and what the STATUS column shows for each once all is well.
const EXPECTED: &[(&str, &[&str])] = &[
    ("hello", &["Completed"]),
    ("ticker", &["Running"]),
    ("http-hello", &["Running"]),
    ("env-dump", &["Completed"]),
    ("crasher", &["CrashLoopBackOff", "Error"]),
    ("with-init", &["Running"]),
];

const NEXT: &[&str] = &[
    "get pods -A -o wide",
    "describe pod -n demo http-hello",
    "logs -n demo ticker -f",
    "events -n demo",
    "delete pod -n demo crasher",
];

#[cfg(test)]
mod tests {
    use super::local_endpoint;

    #[test]
    fn endpoint_in_a_description() {
        let check = |description, expected| assert_eq!(local_endpoint(description), expected);
        check(
            "Name:  x\nLocal Endpoints:\n  8080/TCP:  127.42.0.5:8080\nEvents:  <none>\n",
            Some("127.42.0.5:8080"),
        );
        check("Name:  x\nLocal Endpoints:  <none>\nEvents:  <none>\n", None);
        check("Name:  x\n", None);
    }
}
