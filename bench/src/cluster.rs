//! A cluster made of the built binary, in a folder of its own, as a user would start it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, Process, Usage};

/// Options of every bench that starts the binary.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    /// The binary to measure, as `cargo xtask dist` builds it
    #[arg(long, default_value = "target/dist/dunlin")]
    pub(crate) dunlin: PathBuf,
    /// Folder of the built workloads
    #[arg(long, default_value = "target/workloads")]
    pub(crate) workloads: PathBuf,
    /// Folder on the disk where clusters keep their state
    #[arg(long, default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// A running cluster; all its processes are killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    dunlin: PathBuf,
    workloads: PathBuf,
    folder: TempDir,
    marker: String,
    /// The client configuration, relative to the folder.
    access: &'static str,
    children: Vec<Child>,
}

/// One line of a watch, and when it came.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) line: String,
}

impl Cluster {
    /// `dunlin dev` with `nodes` nodes; it may not answer yet.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn dev(args: &ClusterArgs, nodes: usize) -> Result<Self> {
        let mut cluster = Self::empty(args, "client-config")?;
        cluster.start("dev", &["dev", "--nodes", &nodes.to_string()])?;
        Ok(cluster)
    }

    /// A coordinator and a node in processes of their own, the node Ready.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub(crate) fn machines(args: &ClusterArgs) -> Result<Self> {
        let mut cluster = Self::coordinator(args)?;
        cluster.add_node()?;
        Ok(cluster)
    }

    /// A coordinator alone, answering.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn coordinator(args: &ClusterArgs) -> Result<Self> {
        let mut cluster = Self::coordinator_on(args, "127.0.0.1:0")?;
        cluster.wait_for("an answer of the coordinator", |cluster| {
            cluster.run(&["get", "namespaces"]).map(drop)
        })?;
        Ok(cluster)
    }

    /// A coordinator alone, at an address that it keeps when it is started again; it may not answer yet.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn coordinator_on(args: &ClusterArgs, listen: &str) -> Result<Self> {
        let mut cluster = Self::empty(args, "coordinator/admin.config")?;
        cluster.start_coordinator(listen)?;
        Ok(cluster)
    }

    /// Ends all processes in this way and, once they are gone, starts the coordinator again.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn restart_coordinator(&mut self, listen: &str, signal: Signal) -> Result<()> {
        for process in self.processes()? {
            process::signal(&process, signal);
        }
        for mut child in self.children.drain(..) {
            child.wait().context("a process of the cluster cannot be waited for")?;
        }
        self.start_coordinator(listen)
    }

    /// Ends all processes at once and without warning; what they have on disk stays.
    ///
    /// # Errors
    /// When they cannot be found or waited for.
    pub(crate) fn cut_power(&mut self) -> Result<()> {
        for process in self.processes()? {
            process::signal(&process, Signal::KILL);
        }
        for mut child in self.children.drain(..) {
            child.wait().context("a process of the cluster cannot be waited for")?;
        }
        // Runners are nobody's children here.
        let start = Instant::now();
        while !self.processes()?.is_empty() {
            ensure!(start.elapsed() < WAIT_MAX, "a killed process does not end");
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// Starts the node that has joined already, and waits for nothing.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start_node(&mut self) -> Result<()> {
        let state = self.path("node");
        let mut args = vec!["edge-node", "--state-dir", &state];
        args.extend_from_slice(NODE_ARGS);
        self.start("edge-node", &args)
    }

    /// Starts the coordinator on what it left, at the address that nodes and the client configuration know, and waits for it.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn resume_coordinator(&mut self) -> Result<()> {
        let config = std::fs::read_to_string(self.path(self.access)).context("no client configuration")?;
        let server = config.split_once("quic://").map(|(_, rest)| rest).context("it names no server")?;
        let end = server.find(|letter: char| letter.is_whitespace() || letter == '\'' || letter == '"');
        self.start_coordinator(&server[..end.unwrap_or(server.len())])?;
        self.wait_for("an answer of the coordinator", |cluster| cluster.run(&["get", "namespaces"]).map(drop))
    }

    /// Starts a node and waits until it is Ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn add_node(&mut self) -> Result<()> {
        self.add_node_with(&[])
    }

    /// The same, with options of its own.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn add_node_with(&mut self, options: &[&str]) -> Result<()> {
        let token = self.run(&["node", "token", "create"])?;
        let state = self.path("node");
        let mut args = vec!["edge-node", "--join", token.trim(), "--state-dir", &state];
        args.extend_from_slice(NODE_ARGS);
        args.extend_from_slice(options);
        self.start("edge-node", &args)?;
        self.wait_for("a Ready node", |cluster| {
            let nodes = cluster.run(&["get", "nodes", "--no-headers"])?;
            ensure!(nodes.split_whitespace().nth(1) == Some("Ready"), "the node is not Ready: {nodes}");
            Ok(())
        })
    }

    /// Makes a workload available as `dunlin.local/NAME`.
    ///
    /// # Errors
    /// When it is not built or is refused.
    pub(crate) fn push(&self, workload: &str) -> Result<()> {
        let file = self.workloads.join(format!("{workload}.wasm"));
        ensure!(file.is_file(), "{} is missing; `cargo xtask build-workloads` makes it", file.display());
        self.run(&["push", &file.to_string_lossy(), workload]).map(drop)
    }

    /// Runs a client command and answers its output.
    ///
    /// # Errors
    /// When it fails; the message holds what it said.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.command(args).stderr(Stdio::piped()).output().context("cannot run the client")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`dunlin {}` failed: {}", args.join(" "), said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a client command; answers when its first line of output came, which is before it has ended.
    ///
    /// # Errors
    /// When it fails or says nothing.
    pub(crate) fn answered_at(&self, args: &[&str]) -> Result<Instant> {
        let mut child = self.command(args).stdout(Stdio::piped()).spawn().context("cannot run the client")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the output is a pipe")?).read_line(&mut line)?;
        let at = Instant::now();
        let status = child.wait()?;
        ensure!(status.success() && !line.is_empty(), "`dunlin {}` failed ({status})", args.join(" "));
        Ok(at)
    }

    /// Follows all pods of the default namespace, one line of the table per change.
    ///
    /// # Errors
    /// When the client cannot be started.
    pub(crate) fn watch_pods(&mut self) -> Result<Receiver<Seen>> {
        let args = ["get", "pods", "--watch", "--no-headers"];
        let mut child =
            self.command(&args).stdout(Stdio::piped()).spawn().context("cannot run the client")?;
        let lines = BufReader::new(child.stdout.take().context("the output is a pipe")?).lines();
        self.children.push(child);
        let (sender, seen) = mpsc::sync_channel(SEEN_MAX);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(Seen { at: Instant::now(), line }).is_err() {
                    break;
                }
            }
        });
        Ok(seen)
    }

    /// Repeats `attempt` until it succeeds; answers its last error when it never does.
    ///
    /// # Errors
    /// When time is up, or a process of the cluster has ended.
    pub(crate) fn wait_for(&mut self, what: &str, attempt: impl Fn(&Self) -> Result<()>) -> Result<()> {
        let start = Instant::now();
        while let Err(error) = attempt(self) {
            if let Some(status) = self.children.iter_mut().find_map(|child| child.try_wait().ok().flatten()) {
                return Err(error.context(format!("a process ended ({status}): {}", self.log())));
            }
            if start.elapsed() > WAIT_MAX {
                return Err(error.context(format!("no {what} within {WAIT_MAX:?}: {}", self.log())));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// What the processes of these roles use together.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn usage(&self, roles: &[&str]) -> Result<Usage> {
        let processes = self.processes()?;
        Ok(process::usage(processes.iter().filter(|process| roles.contains(&process.role.as_str()))))
    }

    /// The administrator's configuration.
    pub(crate) fn access(&self) -> PathBuf {
        self.folder.path().join(self.access)
    }

    /// A path for state within the cluster's folder.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn empty(args: &ClusterArgs, access: &'static str) -> Result<Self> {
        let dunlin = args.dunlin.canonicalize();
        let dunlin = dunlin.with_context(|| format!("cannot find {}", args.dunlin.display()))?;
        let folder = tempfile::Builder::new().prefix(".dunlin-bench-").tempdir_in(&args.dir)?;
        let folder_path = folder.path().canonicalize()?;
        let marker = format!("{MARKER}={}", folder_path.display());
        Ok(Self { dunlin, workloads: args.workloads.clone(), folder, marker, access, children: Vec::new() })
    }

    fn start_coordinator(&mut self, listen: &str) -> Result<()> {
        let data = self.path("coordinator");
        self.start("coordinator", &["coordinator", "--listen", listen, "--data-dir", &data])
    }

    fn start(&mut self, name: &str, args: &[&str]) -> Result<()> {
        let log = File::create(self.folder.path().join(format!("{name}.log")))?;
        let mut command = self.command(args);
        command.env("DUNLIN_DEV_KUBE_CONTEXT", "none");
        command.current_dir(self.folder.path()).stdout(log.try_clone()?).stderr(log);
        self.children.push(command.spawn().with_context(|| format!("cannot start `dunlin {name}`"))?);
        Ok(())
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.dunlin);
        let (name, value) = self.marker.split_once('=').unwrap_or((MARKER, ""));
        command.args(args).env(name, value).env("DUNLIN_CONFIG", self.folder.path().join(self.access));
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn processes(&self) -> Result<Vec<Process>> {
        process::marked(&self.marker)
    }

    /// The ends of the processes' logs.
    fn log(&self) -> String {
        let logs = ["dev", "coordinator", "edge-node"].iter().filter_map(|name| {
            let log = std::fs::read_to_string(Path::new(&self.path(&format!("{name}.log")))).ok()?;
            let lines: Vec<&str> = log.lines().collect();
            Some(format!("{name}:\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")))
        });
        logs.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Runners outlive agents on purpose, so killing the children is not enough.
        for process in self.processes().unwrap_or_default() {
            process::signal(&process, Signal::KILL);
        }
        for child in &mut self.children {
            // Killed above; this only collects its status.
            let _ = child.wait();
        }
    }
}

/// The next line of a watch that `wanted` accepts.
///
/// # Errors
/// When it does not come in time, or the watch ends.
pub(crate) fn next_line(seen: &Receiver<Seen>, wanted: impl Fn(&str) -> bool) -> Result<Seen> {
    let deadline = Instant::now() + WAIT_MAX;
    loop {
        let Some(left) = deadline.checked_duration_since(Instant::now()) else {
            bail!("the line did not come")
        };
        let next = seen.recv_timeout(left).context("the watch did not tell in time")?;
        if wanted(&next.line) {
            return Ok(next);
        }
    }
}

/// Name and STATUS column of a line of `get pods`.
pub(crate) fn name_and_status(line: &str) -> Option<(&str, &str)> {
    let mut columns = line.split_whitespace();
    Some((columns.next()?, columns.nth(1)?))
}

/// Room for 6,200 pods, each with an address; by default a node takes 992.
const NODE_ARGS: &[&str] = &["--node-name", "bench", "--address-blocks", "0+100", "--max-pods", "6000"];

/// Tells processes of a run from all others.
const MARKER: &str = "DUNLIN_BENCH_RUN";
const WAIT_MAX: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(5);
const LOG_LINES: usize = 20;
/// Lines of a watch that wait to be looked at.
const SEEN_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pods_are_read() {
        assert_eq!(
            name_and_status("pod-1  0/1  ContainerCreating  0  1s"),
            Some(("pod-1", "ContainerCreating"))
        );
        assert_eq!(name_and_status("pod-1"), None);
    }
}
