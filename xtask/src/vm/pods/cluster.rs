//! A coordinator and a node, each a process, and commands to them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::step::output;

/// Ends with what it started.
pub(super) struct Cluster {
    dunlin: PathBuf,
    runtime: String,
    folder: tempfile::TempDir,
    coordinator: Child,
    agent: Option<Child>,
}

impl Cluster {
    /// Starts both, and gives the node an image.
    pub(super) fn start(dunlin: &Path, runtime: &str, image: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(dunlin);
        command
            .args(["coordinator", "--listen", ADDRESS, "--data-dir"])
            .arg(folder.path().join("coordinator"));
        let coordinator = spawn(&mut command, &folder.path().join("coordinator.log"))?;
        let (dunlin, runtime) = (dunlin.to_owned(), runtime.to_owned());
        let mut cluster = Self { dunlin, runtime, folder, coordinator, agent: None };
        let token = cluster.until("a coordinator", || cluster.say(&["node", "token", "create"]))?;
        cluster.start_agent(&["--join", token.trim()])?;
        cluster.until("a node", || cluster.says(&["get", "node", NODE, "--no-headers"], " Ready"))?;
        let (image, state) = (image.display().to_string(), cluster.state().display().to_string());
        cluster.say(&["image", "--state", &state, "import", &image])?;
        Ok(cluster)
    }

    /// Starts the node's agent, the first or the next one.
    pub(super) fn start_agent(&mut self, more: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.dunlin);
        command.args(["edge-node", "--node-name", NODE, "--runtime", &self.runtime]).args(more);
        command.arg("--state-dir").arg(self.state());
        self.agent = Some(spawn(&mut command, &self.folder.path().join("node.log"))?);
        Ok(())
    }

    /// Ends the agent as the kernel would when memory is short.
    pub(super) fn kill_agent(&mut self) -> Result<()> {
        let mut agent = self.agent.take().context("there is no agent")?;
        agent.kill()?;
        agent.wait()?;
        Ok(())
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    /// Runs a command as administrator; answers what it printed.
    pub(super) fn say(&self, words: &[&str]) -> Result<String> {
        let config = self.folder.path().join("coordinator/admin.config");
        let mut command = Command::new(&self.dunlin);
        command.args(words).env("DUNLIN_CONFIG", config).env("HOME", self.folder.path());
        output(command.stdin(Stdio::null()))
    }

    /// The same, and that holds some words.
    pub(super) fn says(&self, words: &[&str], wanted: &str) -> Result<String> {
        let said = self.say(words)?;
        if said.contains(wanted) { Ok(said) } else { bail!("`{}` says: {said}", words.join(" ")) }
    }

    /// Tries until it works.
    pub(super) fn until<T>(&self, what: &str, attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let tail = || {
            let log = fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default();
            log.lines().rev().take(10).collect::<Vec<_>>().join("\n")
        };
        until(what, attempt).with_context(tail)
    }

    /// Makes a pod with one container `c` that runs a line of a shell; further fields of the container come with four spaces before them.
    pub(super) fn pod(&self, name: &str, of_pod: &str, of_container: &str, line: &str) -> Result<()> {
        let file = self.folder.path().join(format!("{name}.yaml"));
        let manifest = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n{of_pod}  \
             containers:\n  - name: c\n    image: localhost/busybox:1\n    imagePullPolicy: Never\n{of_container}    \
             command: [sh, -c]\n    args: [{}]\n",
            serde_json::to_string(line)?
        );
        fs::write(&file, manifest)?;
        self.say(&["apply", "-f", &file.display().to_string()]).map(drop)
    }

    /// A part of a pod's status.
    pub(super) fn status(&self, pod: &str, path: &str) -> Result<String> {
        self.say(&["get", "pod", pod, "-o", &format!("jsonpath={{.status.{path}}}")])
    }

    /// Waits until a part of a pod's status holds some words.
    pub(super) fn becomes(&self, pod: &str, path: &str, wanted: &str) -> Result<()> {
        let attempt = || {
            let is = self.status(pod, path)?;
            if is.contains(wanted) { Ok(()) } else { bail!("{path} of {pod} is `{is}`, not `{wanted}`") }
        };
        self.until(wanted, attempt).with_context(|| self.say(&["describe", "pod", pod]).unwrap_or_default())
    }

    /// Waits until a pod has come to its end, and answers what it wrote.
    pub(super) fn ended(&self, pod: &str) -> Result<String> {
        self.becomes(pod, "phase", "Succeeded")?;
        self.say(&["logs", pod])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.agent.iter_mut().chain([&mut self.coordinator]) {
            // One that has ended is as good.
            let _ = process.kill();
            let _ = process.wait();
        }
        // The node's own, as a machine gets rid of it.
        let _ = output(Command::new("ip").args(["link", "delete", "dunlin0"]));
        let _ = output(Command::new("nft").args(["delete", "table", "ip", "dunlin0"]));
    }
}

fn spawn(command: &mut Command, log: &Path) -> Result<Child> {
    let log = File::options().append(true).create(true).open(log)?;
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("cannot start dunlin")
}

fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() > WAIT_MAX => {
                return Err(last).with_context(|| format!("no {what} within {WAIT_MAX:?}"));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// The machine is this one's own.
const ADDRESS: &str = "127.0.0.1:6443";
const NODE: &str = "machine";
/// For an emulated processor that is shared with others.
const WAIT_MAX: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(300);
