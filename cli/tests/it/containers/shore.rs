//! A cluster that tests of containers share: a node for each OCI runtime that is here, and an image of busybox in a registry.

use std::{
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use super::image::push_busybox;
use crate::{
    cluster::{Answer, BINARY},
    kubernetes::kubectl::Kubectl,
    registries::{node::config, programs::Registry},
    site::{Machine, Site},
};

/// The cluster. Nodes are named after their runtimes.
#[derive(Debug)]
pub(super) struct Shore {
    // They end before the others.
    pub(super) nodes: Vec<Machine>,
    pub(super) site: Site,
    registry: Registry,
    /// The full name of the image.
    pub(super) image: String,
}

/// One test on one of the nodes, in a namespace of its own.
#[derive(Debug)]
pub(super) struct Berth {
    pub(super) shore: Arc<Shore>,
    /// The runtime, and the node that has it.
    pub(super) runtime: &'static str,
    pub(super) namespace: String,
}

/// Runs a test in a namespace of that name on the node of each runtime, all at once. What is missing is said aloud.
pub(super) fn on_each_runtime(name: &str, test: impl Fn(&Berth) + Sync) {
    let Some(shore) = Shore::shared() else { return };
    thread::scope(|scope| {
        for runtime in RUNTIMES.iter().filter(|runtime| shore.has(runtime)) {
            let (shore, test) = (Arc::clone(&shore), &test);
            let run = move || test(&Berth::new(shore, runtime, name));
            thread::Builder::new().name(format!("{name} by {runtime}")).spawn_scoped(scope, run).unwrap();
        }
    });
}

impl Shore {
    /// The one that all tests of containers share; started by the first, stopped by the last one at work.
    pub(super) fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Shore>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shore) = shared.upgrade() {
            return Some(shore);
        }
        let shore = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&shore);
        Some(shore)
    }

    fn start() -> Option<Self> {
        let registry = Registry::start()?;
        let image = push_busybox(&registry, "team/busybox:1")?;
        let site = Site::start();
        for module in ["http-hello", "ticker", "files", "toolbox", "interfaces", "service"] {
            site.push(module);
        }
        let file = config(&site, &registry);
        let mut nodes = Vec::new();
        for runtime in RUNTIMES.into_iter().filter(|runtime| is_there(runtime)) {
            let mut machine = site.machine(runtime, runtime);
            machine.start_agent(&["--join", &site.token(&[]), "--runtime", runtime, "--config-file", &file]);
            nodes.push(machine);
        }
        nodes.iter().for_each(|node| site.wait_for_ready(node));
        nodes.retain(|node| runs_containers(&site, node.name()));
        (!nodes.is_empty()).then_some(Self { nodes, site, registry, image })
    }

    fn has(&self, runtime: &str) -> bool {
        self.nodes.iter().any(|node| node.name() == runtime)
    }
}

impl Berth {
    fn new(shore: Arc<Shore>, runtime: &'static str, name: &str) -> Self {
        let namespace = format!("{name}-{runtime}");
        let login = r#"{"auths": {"REGISTRY": {"username": "gull", "password": "tideline"}}}"#;
        let login = login.replace("REGISTRY", &shore.registry.address);
        let objects = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n---\napiVersion: v1\nkind: Secret\n\
             metadata: {{name: harbour, namespace: {namespace}}}\ntype: kubernetes.io/dockerconfigjson\n\
             stringData: {{.dockerconfigjson: '{login}'}}\n"
        );
        shore.site.ok(&["apply", "-f", "-"], &objects);
        Self { shore, runtime, namespace }
    }

    /// kubectl in the namespace; `None`, said aloud, where it is not installed.
    pub(super) fn kubectl(&self) -> Option<Kubectl> {
        let kubectl = Kubectl::new(&self.shore.site.config(), &self.namespace);
        if kubectl.is_none() {
            skipped("there is no kubectl 1.36; `cargo xtask packages` installs it");
        }
        kubectl
    }

    pub(super) fn dunlin(&self, words: &[&str], stdin: &str) -> Answer {
        self.shore.site.dunlin(&[&["-n", &self.namespace], words].concat(), stdin)
    }

    /// Runs a command that must succeed, and answers its stdout.
    pub(super) fn ok(&self, words: &[&str]) -> String {
        self.apply_with(words, "")
    }

    /// A command that has not been started.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(["-n", &self.namespace]).args(words).env("DUNLIN_CONFIG", self.shore.site.config());
        command
    }

    /// A command whose streams the test holds itself.
    pub(super) fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Makes objects.
    pub(super) fn apply(&self, manifest: &str) {
        self.apply_with(&["apply", "-f", "-"], manifest);
    }

    /// Makes a pod of this specification, in which `BUSYBOX` stands for the image.
    pub(super) fn pod(&self, name: &str, spec: &str) {
        self.pod_with(name, "", spec);
    }

    /// The same with annotations.
    pub(super) fn pod_with(&self, name: &str, annotations: &str, spec: &str) {
        let spec: String =
            spec.replace("BUSYBOX", &self.shore.image).lines().map(|line| format!("  {line}\n")).collect();
        let grace = if spec.contains("terminationGracePeriodSeconds") {
            ""
        } else {
            "  terminationGracePeriodSeconds: 1\n"
        };
        self.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}, annotations: {{{annotations}}}}}\nspec:\n  \
             imagePullSecrets: [{{name: harbour}}]\n  nodeSelector: {{kubernetes.io/hostname: {}}}\n{grace}{spec}",
            self.runtime
        ));
    }

    /// Waits until a part of a pod's status is as wanted.
    pub(super) fn wait_for(&self, pod: &str, path: &str, wanted: &str) {
        let state = format!("--for=jsonpath={{.status.{path}}}={wanted}");
        let waited = self.dunlin(&["wait", &state, &format!("pod/{pod}"), "--timeout=60s"], "");
        let described = || self.dunlin(&["describe", "pod", pod], "").stdout;
        assert_eq!(waited.code, 0, "{}: {path} is not {wanted}: {waited:?}\n{}", self.runtime, described());
    }

    /// A part of a pod's status.
    pub(super) fn status(&self, pod: &str, path: &str) -> String {
        self.ok(&["get", "pod", pod, "-o", &format!("jsonpath={{.status.{path}}}")])
    }

    /// Runs a command in the first container of a pod.
    pub(super) fn exec(&self, pod: &str, words: &[&str]) -> Answer {
        self.dunlin(&[&["exec", pod, "--"], words].concat(), "")
    }

    fn apply_with(&self, words: &[&str], stdin: &str) -> String {
        let answer = self.dunlin(words, stdin);
        assert_eq!(answer.code, 0, "{}: {words:?} {stdin}: {answer:?}", self.runtime);
        answer.stdout
    }
}

/// Whether a node says that it does; says so if it does not.
pub(super) fn runs_containers(site: &Site, node: &str) -> bool {
    let condition = site.ok(&["get", "node", node, "-o", "jsonpath={.status.conditions[4]}"], "");
    let runs = condition.contains("\"ContainersUnavailable\"") && condition.contains("\"False\"");
    if !runs {
        skipped(&format!("no containers here by {node}: {condition}"));
    }
    runs
}

pub(super) fn is_there(runtime: &str) -> bool {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    let found = folders.iter().any(|folder| Path::new(folder).join(runtime).exists());
    if !found {
        skipped(&format!("the runtime `{runtime}` is not installed (Debian package {runtime})"));
    }
    found
}

/// Says so past what a test that passes has its words hidden by.
pub(super) fn skipped(what: &str) {
    // Nobody may be there to read it.
    let _ = std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes());
}

pub(super) const RUNTIMES: [&str; 2] = ["crun", "runc"];
