//! A coordinator and a node, each in a network namespace of its own, with a line between them. All of it is gone when this is.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    line::{Condition, Line},
    tun::Tun,
};
use crate::step;

/// See the module.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) line: Line,
    // Ends before namespaces and folder do.
    processes: Vec<Process>,
    coordinator: Namespace,
    node: Namespace,
    dunlin: PathBuf,
    dir: tempfile::TempDir,
}

impl Site {
    /// Makes namespaces and line, and starts the coordinator.
    pub(super) fn start(dunlin: &Path, condition: Condition, seed: u64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("dunlin-network-").tempdir()?;
        let (coordinator, near) = Namespace::create("c", &[COORDINATOR], NODE_NET)?;
        let (node, far) = Namespace::create("n", &[NODE], COORDINATOR_NET)?;
        let line = Line::between(&near, &far, condition, seed);
        let dunlin = fs::canonicalize(dunlin).with_context(|| format!("no binary {}", dunlin.display()))?;
        let mut site = Self { line, processes: Vec::new(), coordinator, node, dunlin, dir };
        let data = site.data();
        let mut command = site.coordinator.command(&site.dunlin);
        command.args(["coordinator", "--listen", "10.77.0.1:6443", "--node-grace-seconds", GRACE]);
        command.arg("--data-dir").arg(data);
        site.spawn(command, "coordinator.log")?;
        site.wait("an answering coordinator", START_TIMEOUT, |site| {
            site.dunlin(&["get", "nodes"], "").map(drop)
        })?;
        Ok(site)
    }

    /// Joins the node with further arguments, and starts its agent.
    pub(super) fn start_node(&mut self, args: &[&str]) -> Result<()> {
        let token = self.dunlin(&["node", "token", "create"], "")?;
        let mut command = self.node.command(&self.dunlin);
        command.args(["edge-node", "--node-name", "n1", "--join", token.trim()]).args(args);
        command.arg("--state-dir").arg(self.state());
        self.spawn(command, "node.log")
    }

    /// Runs a command as administrator beside the coordinator, and answers its stdout.
    pub(super) fn dunlin(&self, args: &[&str], stdin: &str) -> Result<String> {
        let mut command = self.client(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A command that reads nothing may be gone already.
            let _ = std::io::Write::write_all(&mut input, stdin.as_bytes());
        }
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("dunlin {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a command whose stdout goes to a file.
    pub(super) fn follow(&mut self, args: &[&str], file: &str) -> Result<()> {
        let command = self.client(args);
        self.spawn(command, file)
    }

    /// Ends what [`Site::follow`] started last.
    pub(super) fn stop_following(&mut self) {
        // Coordinator and node come first.
        self.processes.truncate(2);
    }

    /// An object, by the API.
    pub(super) fn object(&self, kind: &str, name: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.dunlin(&["get", kind, name, "-o", "json"], "")?)?)
    }

    /// Gives the node another address in place of the one it has.
    pub(super) fn move_node(&self, from: &str, to: &str) -> Result<()> {
        let interface = self.node.interface();
        self.node.ip(&["addr", "del", from, "dev", &interface])?;
        self.node.ip(&["addr", "add", to, "dev", &interface])?;
        self.node.ip(&["route", "replace", COORDINATOR_NET, "dev", &interface])
    }

    /// Repeats an attempt until it succeeds; gives up with its last error.
    pub(super) fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        attempt: impl Fn(&Self) -> Result<T>,
    ) -> Result<(T, Duration)> {
        let start = Instant::now();
        loop {
            match attempt(self) {
                Ok(value) => return Ok((value, start.elapsed())),
                Err(error) if start.elapsed() > timeout => {
                    let logs = format!("{}\n{}", self.log("coordinator.log"), self.log("node.log"));
                    return Err(error.context(format!("no {what} within {timeout:?}; logs:\n{logs}")));
                }
                Err(_) => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// What a process has written.
    pub(super) fn log(&self, file: &str) -> String {
        fs::read_to_string(self.dir.path().join(file)).unwrap_or_default()
    }

    /// A file of this site's.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn client(&self, args: &[&str]) -> Command {
        let mut command = self.coordinator.command(&self.dunlin);
        command.args(args).env("DUNLIN_CONFIG", self.data().join("admin.config"));
        command
    }

    fn spawn(&mut self, mut command: Command, file: &str) -> Result<()> {
        let output = File::create(self.dir.path().join(file))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        self.processes.push(Process(command.spawn()?));
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("coordinator")
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("node")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.processes.clear();
        // The runner outlives its agent: it is found by its socket, which lies in our folder.
        let _ = end_runner(&self.state().join("runner.sock"));
    }
}

fn end_runner(socket: &Path) -> Result<()> {
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if arguments
            .split(|byte| *byte == 0)
            .any(|argument| argument == socket.as_os_str().as_encoded_bytes())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It may have ended meanwhile.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    Ok(())
}

/// A process that is killed when this goes out of scope.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace with one interface; removed when this goes out of scope.
#[derive(Debug)]
struct Namespace {
    name: String,
}

impl Namespace {
    fn create(side: &str, addresses: &[&str], other: &str) -> Result<(Self, Tun)> {
        let namespace = Self { name: format!("dunlin-{}-{side}", std::process::id()) };
        step::output(Command::new("ip").args(["netns", "add", &namespace.name]))?;
        let interface = namespace.interface();
        let tun = Tun::create(&interface).context("cannot make a TUN interface")?;
        step::output(Command::new("ip").args(["link", "set", &interface, "netns", &namespace.name]))?;
        namespace.ip(&["link", "set", "lo", "up"])?;
        namespace.ip(&["link", "set", &interface, "up"])?;
        for address in addresses {
            namespace.ip(&["addr", "add", address, "dev", &interface])?;
        }
        namespace.ip(&["route", "add", other, "dev", &interface])?;
        Ok((namespace, tun))
    }

    /// At most 15 characters.
    fn interface(&self) -> String {
        format!("t{}", self.name.trim_start_matches("dunlin-").replace('-', ""))
    }

    fn ip(&self, args: &[&str]) -> Result<()> {
        step::output(Command::new("ip").args(["-n", &self.name]).args(args)).map(drop)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Takes the interface along, which ends the threads of the line.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

const COORDINATOR: &str = "10.77.0.1/24";
const COORDINATOR_NET: &str = "10.77.0.0/24";
const NODE_NET: &str = "10.77.1.0/24";

/// The node's first address.
pub(super) const NODE: &str = "10.77.1.2/24";

/// Where it moves to.
pub(super) const NODE_MOVED: &str = "10.77.1.3/24";

/// The default: silence after which a node is unreachable.
const GRACE: &str = "40";

const START_TIMEOUT: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(200);
