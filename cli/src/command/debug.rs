//! `debug`: a container that is added to a pod that runs, a copy of a pod, or a pod that sees its node.

mod object;
mod profile;

use anyhow::Result;
use dunlin_api::pipeline::SUFFIX_ALPHABET;
use rand::seq::IndexedRandom as _;
use serde_json::{Value, json};

use self::profile::Profile;
use super::{
    create::create_object,
    stay::{self, Manner},
};
use crate::{
    api::{self, Patch},
    command::create::DryRun,
    document::{items, text},
    failure::UsageError,
    resource,
    session::Session,
    terminal,
    workload::pods,
};

/// Options of `debug`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin debug web -it --image=busybox --target=app           a shell that sees the processes of container app
  dunlin debug guest --image=dunlin.local/toolbox -c tools    a WASM container beside others
  dunlin debug web -it --copy-to=web-debug --image=busybox    in a copy of the pod, which stays as it is
  dunlin debug web --copy-to=web-debug --set-image=app=app:debug
  dunlin debug node/node-1 -it --image=busybox                on a node, with its files at /host")]
pub(crate) struct Args {
    /// POD, pod/POD or node/NODE.
    #[arg(value_name = "OBJECT")]
    target_object: String,
    /// Image of the container that is made.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// When the image is fetched: Always, IfNotPresent or Never.
    #[arg(long, value_name = "POLICY")]
    image_pull_policy: Option<String>,
    /// Name of the container; by default one that nobody has.
    #[arg(long, short)]
    container: Option<String>,
    /// Container of the pod whose processes it is to see.
    #[arg(long, value_name = "CONTAINER")]
    target: Option<String>,
    /// How much it may.
    #[arg(long, value_enum, default_value = "general")]
    profile: Profile,
    /// NAME=VALUE for its environment; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Stay with the container until it ends; the default with -i.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    attach: Option<bool>,
    /// Pass stdin on to it.
    #[arg(long, short = 'i')]
    stdin: bool,
    /// Its stdin is a terminal, to be handed over.
    #[arg(long, short = 't')]
    tty: bool,
    /// Say nothing but what comes from the container.
    #[arg(long, short)]
    quiet: bool,
    /// Take the words after `--` for arguments of the image's command and not for the command.
    #[arg(long)]
    arguments_only: bool,
    /// Make a copy of the pod, of this name, and leave the pod as it is.
    #[arg(long, value_name = "POD")]
    copy_to: Option<String>,
    /// Delete the pod that was copied.
    #[arg(long)]
    replace: bool,
    /// Have the copy run on the pod's node.
    #[arg(long)]
    same_node: bool,
    /// Whether containers of the copy see each other's processes; they do unless the pod says otherwise.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    share_processes: Option<bool>,
    /// CONTAINER=IMAGE,.. in the copy; `*` means all containers.
    #[arg(long, value_name = "CONTAINER=IMAGE,..")]
    set_image: Vec<String>,
    /// Keep the pod's labels in the copy.
    #[arg(long)]
    keep_labels: bool,
    /// Keep its annotations.
    #[arg(long)]
    keep_annotations: bool,
    /// Keep its liveness probes.
    #[arg(long)]
    keep_liveness: bool,
    /// Keep its readiness probes.
    #[arg(long)]
    keep_readiness: bool,
    /// Keep its startup probes.
    #[arg(long)]
    keep_startup: bool,
    /// Keep its init containers.
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    keep_init_containers: bool,
    /// The command, after `--`.
    #[arg(value_name = "COMMAND", last = true)]
    words: Vec<String>,
}

/// Makes what is asked for, and stays with it if that is wanted.
///
/// # Errors
/// Whatever kept it from being made or heard.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    args.check()?;
    let (typed, name) = args.target_object.split_once('/').unwrap_or(("pod", &args.target_object));
    let kind = resource::resolve_one(typed, &session.api).await?;
    let path = api::object(kind, &session.namespace, name);
    let object = session.api.get(&path, &[]).await?;
    let (pod, container) = match (kind.kind, &args.copy_to) {
        ("Pod", None) => {
            let container = args.add(&path, &object, &session).await?;
            (path, Some(container))
        }
        ("Pod", Some(copy)) => args.make_copy(&path, &object, copy, &session).await?,
        ("Node", None) => args.look_at_node(&object, &session).await?,
        ("Node", Some(_)) => return Err(UsageError("--copy-to copies pods".to_owned()).into()),
        (other, _) => return Err(UsageError(format!("{other:?} not supported by debug")).into()),
    };
    match container {
        Some(container) if args.attach.unwrap_or(args.stdin) => args.stay(&pod, &container, &session).await,
        _ => Ok(()),
    }
}

impl Args {
    /// Refuses options that contradict each other, in kubectl's words.
    fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(UsageError(why.to_owned()).into());
        if self.tty && !self.stdin {
            return wrong("-i/--stdin is required for containers with -t/--tty=true");
        }
        if self.attach == Some(true) && self.image.is_none() && self.container.is_none() {
            return wrong(
                "you must specify --container or create a new container using --image in order to attach.",
            );
        }
        if self.copy_to.is_none() {
            return match self {
                Self { replace: true, .. } => wrong("--replace may only be used with --copy-to."),
                Self { same_node: true, .. } => wrong("--same-node may only be used with --copy-to."),
                Self { set_image, .. } if !set_image.is_empty() => {
                    wrong("--set-image may only be used with --copy-to.")
                }
                Self { image: None, .. } => wrong("you must specify --image when not using --copy-to."),
                _ => Ok(()),
            };
        }
        if self.image.is_none() && self.set_image.is_empty() && self.words.is_empty() {
            return wrong("you must specify --image, --set-image or command arguments.");
        }
        if self.image.is_none() && self.container.is_none() && !self.words.is_empty() {
            return wrong("you must specify an existing container or a new image when specifying args.");
        }
        if self.target.is_some() {
            return wrong("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        Ok(())
    }

    /// Adds a container to a pod; answers its name.
    async fn add(&self, path: &str, pod: &Value, session: &Session) -> Result<String> {
        let name = self.container_name(pod);
        let known = items(pod, &["spec", "ephemeralContainers"]).iter().map(|known| known["name"].clone());
        // Without their order the new one would come first.
        let order: Vec<Value> = known.chain([json!(name)]).map(|name| json!({ "name": name })).collect();
        let patch = json!({"spec": {
            "$setElementOrder/ephemeralContainers": order,
            "ephemeralContainers": [self.ephemeral(&name)?],
        }});
        let path = format!("{path}/ephemeralcontainers");
        session.api.patch(&path, &[("fieldManager", MANAGER)], Patch::Strategic, &patch).await?;
        Ok(name)
    }

    /// Makes the copy; answers its path, and which container is looked at.
    async fn make_copy(
        &self,
        path: &str,
        pod: &Value,
        copy: &str,
        session: &Session,
    ) -> Result<(String, Option<String>)> {
        let is_of_images_alone = self.image.is_none() && self.container.is_none();
        let container = (!is_of_images_alone).then(|| self.container_name(pod));
        let object = self.copy(pod, (copy, container.as_deref()))?;
        let made = self.make(object, session).await?;
        if self.replace {
            let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
            session.api.delete(path, &[], &options).await?;
        }
        Ok((made, container))
    }

    /// Makes a pod on a node; answers its path, and its container.
    async fn look_at_node(&self, node: &Value, session: &Session) -> Result<(String, Option<String>)> {
        let node = text(node, &["metadata", "name"]);
        let (pod, container) =
            (format!("node-debugger-{node}-{}", suffix()), self.container.as_deref().unwrap_or("debugger"));
        self.say(&format!("Creating debugging pod {pod} with container {container} on node {node}."));
        let made = self.make(self.on_node(node, (&pod, container))?, session).await?;
        Ok((made, Some(container.to_owned())))
    }

    async fn make(&self, pod: Value, session: &Session) -> Result<String> {
        let made = create_object(resource::find("pods")?, pod, DryRun::None, MANAGER, session).await?;
        path_of_pod(&made, session)
    }

    fn container_name(&self, pod: &Value) -> String {
        if let Some(name) = &self.container {
            return name.clone();
        }
        let lists = ["containers", "initContainers", "ephemeralContainers"];
        let is_taken = |name: &str| {
            let mut all = lists.iter().flat_map(|list| items(pod, &["spec", list]));
            all.any(|container| text(container, &["name"]) == name)
        };
        let name = std::iter::repeat_with(|| format!("debugger-{}", suffix())).find(|name| !is_taken(name));
        let name = name.unwrap_or_default();
        self.say(&format!("Defaulting debug container name to {name}."));
        name
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            terminal::remark(text);
        }
    }

    /// Waits until the container runs, and talks with it.
    async fn stay(&self, path: &str, container: &str, session: &Session) -> Result<()> {
        let status = |pod: &Value| {
            let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
            let mut all = lists.iter().flat_map(|list| items(pod, &["status", list]));
            all.find(|status| text(status, &["name"]) == container).cloned()
        };
        let is =
            |pod: &Value, state: &str| status(pod).is_some_and(|status| status["state"][state].is_object());
        let wanted = |pod: &Value| is(pod, "running") || is(pod, "terminated");
        let trouble = |pod: &Value| match status(pod) {
            Some(status) => pods::container_trouble(&status),
            None => pods::trouble(pod),
        };
        let pod = stay::until(path, wanted, trouble, session).await?;
        if is(&pod, "terminated") {
            return stay::logs(path, container, session).await;
        }
        let manner = Manner { stdin: self.stdin, tty: self.tty, quiet: self.quiet };
        manner.talk(path, container, session).await
    }
}

fn path_of_pod(pod: &Value, session: &Session) -> Result<String> {
    Ok(api::object(resource::find("pods")?, &session.namespace, text(pod, &["metadata", "name"])))
}

/// As generated names end.
fn suffix() -> String {
    let mut rng = rand::rng();
    (0..5).filter_map(|_| SUFFIX_ALPHABET.choose(&mut rng)).map(|byte| char::from(*byte)).collect()
}

/// Who manages the fields.
const MANAGER: &str = "kubectl-debug";
