//! `run`: a pod of one container, and staying with it until it ends if wanted.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use serde_json::{Value, json};

use crate::{
    api,
    builder::{
        self, Override,
        pod::{Pod, Privilege, Streams, Tty, Words},
        service::{Exposed, Exposure},
    },
    document::text,
    failure::{Ended, Failures, UsageError},
    manifest,
    resource::{self, Kind},
    session::{self, Session},
    terminal,
};

use super::{
    create::{OutputArgs, create_object, print_outcome},
    delete::{self, Leaving},
};

mod stay;

/// Options of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin run hello --image=dunlin.local/hello
  dunlin run web --image=dunlin.local/http-hello --port=8080 --expose
  dunlin run once --image=dunlin.local/toolbox --restart=Never --rm -i -- echo done
  dunlin run pinned --image=dunlin.local/hello --overrides='{spec: {nodeName: node-1}}'
  dunlin run hello --image=dunlin.local/hello --dry-run -o yaml     see the manifest")]
pub(crate) struct Args {
    /// Name of the pod and its container.
    #[arg(value_name = "NAME")]
    name: String,
    /// Image of its container.
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// When the image is fetched: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY")]
    image_pull_policy: Option<String>,
    /// NAME=VALUE for the container's environment; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Port that the container listens on.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// Labels KEY=VALUE,.. in place of run=NAME.
    #[arg(long, short = 'l', value_name = "LABELS", default_value = "", hide_default_value = true)]
    labels: String,
    /// Annotation KEY=VALUE; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    annotations: Vec<String>,
    /// What becomes of a container that ended.
    #[arg(long, value_enum, default_value = "Always", ignore_case = true)]
    restart: Restart,
    /// Take the words after `--` for the command itself and not for its arguments.
    #[arg(long)]
    command: bool,
    /// Let the container do all that its node may.
    #[arg(long)]
    privileged: bool,
    /// Stay with the container until it ends; the default with -i.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    attach: Option<bool>,
    /// Pass stdin on to it.
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Its stdin is a terminal, to be handed over.
    #[arg(long, short = 't')]
    tty: bool,
    /// Keep its stdin open for others who attach later.
    #[arg(long)]
    leave_stdin_open: bool,
    /// Delete the pod when it has ended; only when staying with it.
    #[arg(long)]
    rm: bool,
    /// Say nothing but what comes from the container.
    #[arg(long, short)]
    quiet: bool,
    /// How long to wait until it runs, before staying with it.
    #[arg(long, value_name = "TIME", value_parser = session::duration, default_value = "1m")]
    pod_running_timeout: Duration,
    /// Make a Service of it, too; takes --port.
    #[arg(long)]
    expose: bool,
    /// Fields, as JSON or YAML, that go over those of the pod.
    #[arg(long, value_name = "OBJECT")]
    overrides: Option<String>,
    /// How they go over them.
    #[arg(long, value_enum, default_value = "merge")]
    override_type: Override,
    #[command(flatten)]
    output: OutputArgs,
    /// Arguments of the image's command, after `--`.
    #[arg(value_name = "ARG", last = true)]
    words: Vec<String>,
}

/// A pod's restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Restart {
    /// It is started again.
    #[value(name = "Always")]
    Always,
    /// It is started again if it failed.
    #[value(name = "OnFailure")]
    OnFailure,
    /// It stays as it is.
    #[value(name = "Never")]
    Never,
}

/// Creates the pod, and stays with it if that is wanted.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    args.check()?;
    let kind = resource::find("pods")?;
    let mut object = args.pod()?.object()?;
    if let Some(overrides) = &args.overrides {
        let over = manifest::value("--overrides", overrides)?;
        object = builder::overridden(kind, object, over, args.override_type)?;
    }
    if args.expose {
        let services = resource::find("services")?;
        let made =
            create_object(services, args.service(&object)?, args.output.dry_run, MANAGER, &session).await?;
        print_outcome(&args.output, services, &made, "created")?;
    }
    let created = create_object(kind, object, args.output.dry_run, MANAGER, &session).await?;
    if !args.stays() || args.output.is_dry_run() {
        return print_outcome(&args.output, kind, &created, "created");
    }
    let stayed = stay::stay(&args, &created, &session).await;
    if !args.rm {
        return stayed;
    }
    // Whatever ended it, the pod goes; what went wrong before is told first.
    let mut failures = Failures::default();
    let ended = match stayed {
        Err(error) if error.is::<Ended>() => Some(error),
        other => {
            failures.note(other)?;
            None
        }
    };
    failures.note(remove(&args, kind, &created, &session).await)?;
    match ended {
        Some(error) => Err(error),
        None => failures.into_result(),
    }
}

async fn remove(args: &Args, kind: &Kind, pod: &Value, session: &Session) -> Result<()> {
    let (namespace, name) = (text(pod, &["metadata", "namespace"]), text(pod, &["metadata", "name"]));
    let path = api::object(kind, namespace, name);
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"});
    let answer = session.api.delete(&path, &[], &options).await?;
    if !args.quiet {
        terminal::print(&format!("pod {name:?} deleted from {namespace} namespace\n"))?;
    }
    let leaving = Leaving::new(kind, name, path, &answer);
    delete::gone(&leaving, REMOVAL_TIMEOUT, Instant::now(), session).await
}

impl Args {
    /// Refuses options that contradict each other, in kubectl's words.
    fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(UsageError(why.to_owned()).into());
        if self.tty && !self.stdin {
            return wrong("-i/--stdin is required for containers with -t/--tty=true");
        }
        if self.rm && !self.stays() {
            return wrong("--rm should only be used for attached containers");
        }
        if self.stays() && self.output.is_dry_run() {
            return wrong(
                "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
            );
        }
        if self.expose && self.port.is_none() {
            return wrong("--port must be set when exposing a service");
        }
        if self.image.trim().is_empty() || self.image.contains(char::is_whitespace) {
            return Err(anyhow!("Invalid image name {:?}: invalid reference format", self.image));
        }
        Ok(())
    }

    /// Whether to stay with the container.
    fn stays(&self) -> bool {
        self.attach.unwrap_or(self.stdin)
    }

    fn pod(&self) -> Result<Pod<'_>> {
        let tty = if self.tty { Tty::Yes } else { Tty::No };
        Ok(Pod {
            name: &self.name,
            image: &self.image,
            image_pull_policy: self.image_pull_policy.as_deref(),
            env: &self.env,
            port: self.port,
            labels: builder::pairs(builder::comma_separated(&self.labels), "label")?,
            annotations: builder::pairs(self.annotations.iter().map(String::as_str), "annotation")?,
            restart: self.restart.word(),
            words: &self.words,
            words_are: if self.command { Words::Command } else { Words::Args },
            streams: match (self.stdin, self.leave_stdin_open) {
                (false, _) => Streams::Output,
                (true, true) => Streams::Stdin(tty),
                (true, false) => Streams::StdinOnce(tty),
            },
            privilege: if self.privileged { Privilege::Privileged } else { Privilege::Ordinary },
        })
    }

    /// The Service of the pod.
    fn service(&self, pod: &Value) -> Result<Value> {
        let labels = pod["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let ports: Vec<Exposed> =
            self.port.iter().map(|port| Exposed { port: *port, protocol: "TCP".to_owned() }).collect();
        let exposure = Exposure {
            name: &self.name,
            labels: serde_json::Map::new(),
            selector: labels,
            ports: &ports,
            target_port: None,
            service_type: None,
            external_ip: None,
            load_balancer_ip: None,
            session_affinity: None,
            cluster_ip: None,
        };
        Ok(exposure.object()?)
    }
}

impl Restart {
    const fn word(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::OnFailure => "OnFailure",
            Self::Never => "Never",
        }
    }
}

/// Who manages the fields.
const MANAGER: &str = "kubectl-run";

/// Longer than any pod is given to end, unless its own grace period is longer; then it goes while nobody waits.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(60);
