//! containerd with folders of its own, beside whatever else is on the machine.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{cri::Cri, images::Registry};
use crate::process::{self, Process};

/// A running containerd.
#[derive(Debug)]
pub(super) struct Containerd {
    process: Child,
    folder: PathBuf,
    programs: PathBuf,
    marker: String,
}

impl Containerd {
    /// Starts it from the folder of its programs; `runtime` is the OCI runtime.
    pub(super) fn start(programs: &Path, folder: &Path, runtime: &Path, registry: &Registry) -> Result<Self> {
        let certs = folder.join("certs.d").join(&registry.address);
        for folder in [&certs, &folder.join("cni"), &folder.join("logs")] {
            fs::create_dir_all(folder)?;
        }
        fs::write(certs.join("hosts.toml"), hosts(registry))?;
        fs::write(folder.join("cni/10-bench.conflist"), CNI)?;
        fs::write(folder.join("config.toml"), config(folder, runtime, registry))?;
        let log = File::create(folder.join("containerd.log"))?;
        let marker = format!("{MARKER}={}", folder.display());
        let mut command = Command::new(programs.join("containerd"));
        command.arg("--config").arg(folder.join("config.toml")).env(MARKER, folder);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().context("cannot start containerd; see bench/README.md")?;
        Ok(Self { process, folder: folder.to_owned(), programs: programs.to_owned(), marker })
    }

    /// A client of it, once it answers.
    pub(super) async fn client(&self, image: &str) -> Result<Cri> {
        let deadline = Instant::now() + START_MAX;
        loop {
            match Cri::connect(&self.socket(), image, &self.folder.join("logs")).await {
                Ok(cri) => return Ok(cri),
                Err(error) => {
                    let log = self.folder.join("containerd.log");
                    ensure!(
                        Instant::now() < deadline,
                        error.context(format!("containerd does not answer; see {}", log.display()))
                    );
                }
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Runs its own client's command to enter a container.
    pub(super) fn exec(&self, container: &str, number: usize, command: &[&str]) -> Result<()> {
        let mut ctr = Command::new(self.programs.join("ctr"));
        ctr.arg("--address").arg(self.socket()).args(["--namespace", "k8s.io", "task", "exec"]);
        ctr.args(["--exec-id", &format!("bench-{number}"), container]).args(command);
        let output = ctr.output().context("cannot run ctr")?;
        ensure!(output.status.success(), "ctr failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(())
    }

    /// Memory (PSS) of the shims, and of what holds the pods' namespaces.
    pub(super) fn pods_bytes(&self) -> Result<(u64, u64)> {
        let shims = self.shims()?;
        let pauses = shims.iter().flat_map(process::children);
        let pauses: Vec<_> = pauses.filter(|process| process.program == "/pause").collect();
        Ok((process::usage(&shims).pss_bytes, process::usage(&pauses).pss_bytes))
    }

    /// Memory (PSS) of the daemon.
    pub(super) fn daemon_bytes(&self) -> Result<u64> {
        let marked = process::marked(&self.marker)?;
        let daemon = marked.iter().filter(|process| process.role == "--config");
        Ok(process::usage(daemon).pss_bytes)
    }

    fn shims(&self) -> Result<Vec<Process>> {
        let marked = process::marked(&self.marker)?;
        Ok(marked.into_iter().filter(|process| process.role == "-namespace").collect())
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("containerd.sock")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // What is left of pods after a failure would go on without it.
        for shim in self.shims().unwrap_or_default() {
            for process in process::children(&shim).iter().chain([&shim]) {
                process::signal(process, Signal::KILL);
            }
        }
        // In order, so that it takes away what it has mounted.
        if let Ok(pid) = i32::try_from(self.process.id())
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.process.wait();
        let _ = Command::new("ip").args(["link", "delete", BRIDGE]).stderr(Stdio::null()).status();
    }
}

fn hosts(Registry { address, .. }: &Registry) -> String {
    format!(
        "server = \"http://{address}\"\n[host.\"http://{address}\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
    )
}

fn config(folder: &Path, runtime: &Path, registry: &Registry) -> String {
    let (folder, runtime, address) = (folder.display(), runtime.display(), &registry.address);
    format!(
        "version = 3
root = '{folder}/root'
state = '{folder}/state'
[grpc]
  address = '{folder}/containerd.sock'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{address}/{PAUSE}'
[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = '{folder}/certs.d'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    conf_dir = '{folder}/cni'
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      BinaryName = '{runtime}'
"
    )
}

/// The bridge that most nodes have, without masquerade, which would take `iptables`.
const CNI: &str = r#"{
  "cniVersion": "1.0.0",
  "name": "bench",
  "plugins": [{
    "type": "bridge", "bridge": "cni-bench0", "isDefaultGateway": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.250.0.0/16"}]]}
  }]
}"#;
const BRIDGE: &str = "cni-bench0";

/// The image whose process holds a pod's namespaces.
pub(super) const PAUSE: &str = "bench/pause:1";

const MARKER: &str = "DUNLIN_BENCH_CONTAINERD";
const START_MAX: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
