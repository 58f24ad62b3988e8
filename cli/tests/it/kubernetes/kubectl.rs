//! The real kubectl 1.36, installed by `cargo xtask packages`, against the built coordinator.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::cluster::{Answer, Namespace, workloads};

/// kubectl with a configuration and a cache of its own.
#[derive(Debug)]
pub(crate) struct Kubectl {
    program: PathBuf,
    dir: tempfile::TempDir,
}

impl Kubectl {
    /// kubectl as the user of `config`, in a namespace; `None` where it is not installed.
    pub(crate) fn new(config: &Path, namespace: &str) -> Option<Self> {
        let program = workloads().parent().unwrap().join("clients/kubectl/usr/bin/kubectl");
        if !program.is_file() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config"), kubeconfig(config, namespace)).unwrap();
        Some(Self { program, dir })
    }

    /// Runs a command to its end.
    pub(crate) fn run<S: AsRef<str>>(&self, args: &[S], stdin: &str) -> Answer {
        let mut command = Command::new(&self.program);
        command.args(args.iter().map(AsRef::as_ref)).current_dir(self.dir.path());
        command.env("KUBECONFIG", self.dir.path().join("config")).env("HOME", self.dir.path());
        command.env("KUBE_EDITOR", self.editor()).env_remove("KUBECTL_EXTERNAL_DIFF");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that reads no stdin may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Starts a command that goes on until it is killed, and whose stdin and stdout the test holds.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// A command that has not been started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.dir.path());
        command.env("KUBECONFIG", self.dir.path().join("config")).env("HOME", self.dir.path());
        command
    }

    /// Where it is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Its folder, where its commands run.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Runs a command that must succeed, and answers its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        self.ok_with(args, "")
    }

    /// Runs a command with something on stdin that must succeed, and answers its stdout.
    pub(crate) fn ok_with(&self, args: &[&str], stdin: &str) -> String {
        let answer = self.run(args, stdin);
        assert_eq!(answer.code, 0, "kubectl {args:?}: {answer:?}");
        answer.stdout
    }

    /// Runs a command that must fail, and answers its stderr.
    pub(crate) fn fails(&self, args: &[&str]) -> String {
        let answer = self.run(args, "");
        assert_ne!(answer.code, 0, "kubectl {args:?}: {answer:?}");
        answer.stderr
    }

    /// A file in kubectl's folder.
    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Edits by the script that `file("edit.sed", ..)` left.
    fn editor(&self) -> String {
        format!("sed -i -f {}", self.dir.path().join("edit.sed").display())
    }
}

/// A namespace with kubectl in it; `None`, and a word about it, where kubectl is not installed.
#[expect(clippy::print_stdout, reason = "the output of a test says that it was skipped")]
pub(super) fn tour() -> Option<(Namespace, Kubectl)> {
    let namespace = Namespace::new();
    let kubectl = Kubectl::new(&namespace.cluster.config(), &namespace.name);
    if kubectl.is_none() {
        println!("SKIPPED: there is no kubectl 1.36; `cargo xtask packages` installs it");
    }
    Some((namespace, kubectl?))
}

/// A client's configuration for HTTPS, in a namespace.
pub(super) fn kubeconfig(config: &Path, namespace: &str) -> String {
    let text = fs::read_to_string(config).unwrap();
    let mut config: Value = serde_norway::from_str(&text).unwrap();
    config["contexts"][0]["context"]["namespace"] = namespace.into();
    config["contexts"][0]["name"] = CONTEXT.into();
    config["current-context"] = CONTEXT.into();
    let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().replace("quic://", "https://");
    config["clusters"][0]["cluster"]["server"] = server.into();
    // JSON is YAML.
    config.to_string()
}

/// What the context is called, as in the recordings.
const CONTEXT: &str = "d";
