//! A running `dunlin dev` and commands against it.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// A cluster that ends with its last user.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    process: Child,
}

/// A namespace of one test in the shared cluster.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) name: String,
    pub(crate) cluster: Arc<Cluster>,
}

/// What a command answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cluster {
    /// The cluster that all tests of this process share; started by the first, stopped by the last one at work.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
        // A test that panicked while starting it leaves no cluster, which the next one starts.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// One of a test's own, of so many nodes, with further options and variables.
    pub(crate) fn start_with(nodes: u16, options: &[&str], variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let mut command = Command::new(BINARY);
        command
            .args(["dev", "--nodes", &nodes.to_string()])
            .args(options)
            .current_dir(dir.path())
            .env("DUNLIN_CONFIG", dir.path().join("config"))
            .envs(variables.iter().copied());
        at_home_in(&mut command, dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let cluster = Self { process: command.spawn().unwrap(), dir };
        wait_until("Ready nodes", || {
            let told = cluster.dunlin(&["get", "nodes", "--no-headers"], "").stdout;
            let ready = told.lines().filter(|line| line.split_whitespace().nth(1) == Some("Ready"));
            if ready.count() == usize::from(nodes) {
                Ok(())
            } else {
                Err(format!("{told}\n{}", cluster.log()))
            }
        });
        cluster
    }

    fn start() -> Self {
        let cluster = Self::start_with(2, &[], &[]);
        for module in [
            "hello",
            "ticker",
            "http-hello",
            "crasher",
            "hog",
            "env-dump",
            "files",
            "toolbox",
            "service",
            "interfaces",
        ] {
            let file = workloads().join(format!("{module}.wasm"));
            assert!(file.is_file(), "{} is missing; run `cargo xtask test`", file.display());
            let pushed = cluster.dunlin(&["push", file.to_str().unwrap(), module], "");
            assert_eq!(pushed.code, 0, "{pushed:?}");
        }
        cluster
    }

    /// Runs a command against the cluster.
    pub(crate) fn dunlin(&self, args: &[&str], stdin: &str) -> Answer {
        run(args, stdin, self.dir.path(), &self.dir.path().join("config"))
    }

    /// The folder of the cluster's state.
    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join(".dunlin")
    }

    /// The administrator's configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// The configuration that kubectl finds in the home folder of whoever started the cluster.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join(".kube/config")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        // It may be gone already.
        let _ = rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client's configuration with the identity in a node's state folder.
pub(crate) fn client_of(state: &Path, server: &str, namespace: &str) -> String {
    let pem = |label: &str, file: &str| {
        let der = STANDARD.encode(std::fs::read(state.join("identity").join(file)).unwrap());
        STANDARD.encode(format!("-----BEGIN {label}-----\n{der}\n-----END {label}-----\n"))
    };
    format!(
        "current-context: n\nclusters:\n- name: n\n  cluster: {{server: {server}, certificate-authority-data: {}}}\n\
         users:\n- name: n\n  user: {{client-certificate-data: {}, client-key-data: {}}}\n\
         contexts:\n- name: n\n  context: {{cluster: n, user: n, namespace: {namespace}}}\n",
        pem("CERTIFICATE", "ca.der"),
        pem("CERTIFICATE", "node.der"),
        pem("PRIVATE KEY", "node.key"),
    )
}

impl Namespace {
    /// A fresh namespace of the shared cluster.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let namespace = Self { name, cluster: Cluster::shared() };
        let manifest = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {}}}\n", namespace.name);
        let created = namespace.cluster.dunlin(&["create", "-f", "-"], &manifest);
        assert!(created.code == 0 || created.stderr.contains("AlreadyExists"), "{created:?}");
        namespace
    }

    /// Runs a command in the namespace.
    pub(crate) fn dunlin(&self, args: &[&str]) -> Answer {
        self.dunlin_with(args, "")
    }

    /// Runs a command in the namespace with something on stdin.
    pub(crate) fn dunlin_with(&self, args: &[&str], stdin: &str) -> Answer {
        self.cluster.dunlin(&[&["-n", &self.name], args].concat(), stdin)
    }

    /// Runs a command that must succeed, and answers its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let answer = self.dunlin(args);
        assert_eq!(answer.code, 0, "{args:?}: {answer:?}");
        answer.stdout
    }

    /// Applies a manifest, which must succeed.
    pub(crate) fn apply(&self, manifest: &str) -> String {
        let answer = self.dunlin_with(&["apply", "-f", "-"], manifest);
        assert_eq!(answer.code, 0, "{answer:?}\n{manifest}");
        answer.stdout
    }

    /// Waits until the STATUS column of a pod is as wanted.
    pub(crate) fn wait_for_status(&self, pod: &str, wanted: &str) {
        wait_until(&format!("pod {pod} {wanted}"), || {
            let row = self.dunlin(&["get", "pod", pod, "--no-headers"]).stdout;
            match row.split_whitespace().nth(2) {
                Some(status) if status == wanted => Ok(()),
                _ => Err(format!("{row}\n{}", self.dunlin(&["describe", "pod", pod]).stdout)),
            }
        });
    }
}

/// Runs `dunlin` in a folder with a configuration file.
pub(crate) fn run(args: &[&str], stdin: &str, dir: &Path, config: &Path) -> Answer {
    run_with(args, stdin, dir, config, &[])
}

/// As [`run`], with variables in the environment.
pub(crate) fn run_with(
    args: &[&str],
    stdin: &str,
    dir: &Path,
    config: &Path,
    variables: &[(&str, &str)],
) -> Answer {
    let mut command = Command::new(BINARY);
    command.args(args).current_dir(dir).env("DUNLIN_CONFIG", config);
    at_home_in(&mut command, dir);
    command.envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads no stdin may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// No test sees or writes the files of who runs it.
pub(crate) fn at_home_in(command: &mut Command, dir: &Path) {
    command.env("HOME", dir).env_remove("KUBECONFIG").env_remove("XDG_CONFIG_HOME");
}

/// Repeats an attempt until it succeeds, and fails with what it said last.
pub(crate) fn wait_until<T>(what: &str, attempt: impl FnMut() -> Result<T, String>) -> T {
    wait_within(TIMEOUT, what, attempt)
}

/// The same for what takes so long by its nature.
pub(crate) fn wait_within<T>(
    timeout: Duration,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(last) if start.elapsed() > timeout => panic!("no {what} within {timeout:?}: {last}"),
            Err(_) => thread::sleep(POLL_INTERVAL),
        }
    }
}

/// Where `cargo xtask build-workloads` puts the guests.
pub(crate) fn workloads() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("workloads")
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_dunlin");

/// Far beyond what anything here takes, for machines that are busy with other tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

const STOP_TIMEOUT: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(50);
