//! `create`: sends objects as they are in manifests, or as options make them. Also holds what all commands that write manifests share: dry runs and `-o`.

mod access;
mod content;
mod policy;
mod service;
mod token;
mod workload;

use anyhow::Result;
use clap::ValueEnum;
use serde_json::Value;

use crate::{
    api,
    document::{self, text},
    failure::{self, Failures, UsageError},
    manifest::{self, FileArgs, Manifest},
    resource::{self, Kind},
    session::Session,
    terminal,
};

/// Options of `create`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  dunlin create -f pod.yaml
  dunlin create deployment web --image=dunlin.local/http-hello --replicas=3
  dunlin create configmap settings --from-literal=mode=fast
  dunlin create role reader --verb=get,list --resource=pods
  dunlin create rolebinding joe --role=reader --user=joe
  dunlin create token builder --duration 10m
  dunlin create -f pod.yaml --dry-run=server -o yaml     see what the server would make of it"
)]
pub(crate) struct Args {
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    what: Option<What>,
}

/// What can be created from options alone.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Ask for a token of a service account.
    Token(token::Args),
    #[command(flatten)]
    Object(ObjectOf),
}

/// Objects that options make.
#[derive(Debug, clap::Subcommand)]
enum ObjectOf {
    /// Create a role with a rule.
    Role(access::RoleArgs),
    /// Create a role of the cluster with a rule, or one made of others.
    #[command(name = "clusterrole")]
    ClusterRole(access::ClusterRoleArgs),
    /// Give a role to users, groups or service accounts in a namespace.
    #[command(name = "rolebinding")]
    RoleBinding(access::RoleBindingArgs),
    /// Give a role of the cluster to users, groups or service accounts in all namespaces.
    #[command(name = "clusterrolebinding")]
    ClusterRoleBinding(access::ClusterRoleBindingArgs),
    /// Create a service account.
    #[command(name = "serviceaccount", visible_alias = "sa")]
    ServiceAccount(access::ServiceAccountArgs),
    /// Create a Deployment of an image.
    #[command(visible_alias = "deploy")]
    Deployment(workload::DeploymentArgs),
    /// Create a Job of an image, or as a CronJob would make it.
    Job(workload::JobArgs),
    /// Create a CronJob of an image.
    #[command(name = "cronjob", visible_alias = "cj")]
    CronJob(workload::CronJobArgs),
    /// Create a Service.
    #[command(visible_alias = "svc")]
    Service(service::Args),
    /// Create a ConfigMap from words and files.
    #[command(name = "configmap", visible_alias = "cm")]
    ConfigMap(content::ConfigMapArgs),
    /// Create a Secret.
    Secret(content::SecretArgs),
    /// Create a namespace.
    #[command(visible_alias = "ns")]
    Namespace(policy::NamespaceArgs),
    /// Create a quota of a namespace.
    #[command(visible_alias = "resourcequota")]
    Quota(policy::QuotaArgs),
    /// Create a budget of how many pods may be missing at once.
    #[command(name = "poddisruptionbudget", visible_alias = "pdb")]
    PodDisruptionBudget(policy::BudgetArgs),
    /// Create a class of priority.
    #[command(name = "priorityclass", visible_alias = "pc")]
    PriorityClass(policy::PriorityClassArgs),
    /// Create an Ingress.
    #[command(visible_alias = "ing")]
    Ingress(policy::IngressArgs),
}

/// How writing commands act and answer.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OutputArgs {
    /// Only say what would happen: `client` without asking the server, `server` with all its checks.
    #[arg(long, value_enum, default_value = "none", num_args = 0..=1, default_missing_value = "client",
          require_equals = true)]
    pub(crate) dry_run: DryRun,
    /// Print the objects instead of one line each.
    #[arg(long, short, value_enum)]
    pub(crate) output: Option<Format>,
}

impl OutputArgs {
    /// Whether nothing is to be stored.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run != DryRun::None
    }
}

/// Whether a command only says what it would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DryRun {
    /// Do it.
    None,
    /// Work it out here.
    Client,
    /// Let the server check it without storing anything.
    Server,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As YAML.
    Yaml,
    /// As JSON.
    Json,
    /// As `pod/x`.
    Name,
}

impl DryRun {
    /// Query of a write: who writes, strict checking, and whether it is real.
    pub(crate) fn query(self, manager: &str) -> Vec<(&str, &str)> {
        let mut query = vec![("fieldManager", manager), ("fieldValidation", "Strict")];
        if self == Self::Server {
            query.push(("dryRun", "All"));
        }
        query
    }

    /// Refuses a dry run without the server, which alone can tell what becomes of `what`.
    ///
    /// # Errors
    /// [`UsageError`] for [`DryRun::Client`].
    pub(crate) fn needs_server(self, what: &str) -> Result<()> {
        match self {
            Self::Client => Err(UsageError(format!(
                "only the server can tell what becomes of {what}; did you mean --dry-run=server?"
            ))
            .into()),
            Self::None | Self::Server => Ok(()),
        }
    }

    /// What is added to a line that says what happened.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// Creates every object; one that fails does not stop the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    if let Some(what) = args.what {
        return create_one(what, &session).await;
    }
    let manifests = manifest::read(&args.files, &session).await?;
    let mut failures = Failures::default();
    let mut untried = manifests.len();
    for manifest in manifests {
        untried -= 1;
        if let Some(manifest) = failures.note(manifest)? {
            let created = create(&manifest, args.output.dry_run, &session).await;
            if let Some(object) = failures.note_before(untried, created)? {
                failures.note(print_outcome(&args.output, manifest.kind, &object, "created"))?;
            }
        }
    }
    failures.into_result()
}

async fn create_one(what: What, session: &Session) -> Result<()> {
    let what = match what {
        What::Token(args) => return token::run(&args, session).await,
        What::Object(what) => what,
    };
    let (kind, object) = what.object(session).await?;
    let created = create_object(kind, object, what.output().dry_run, "kubectl-create", session).await?;
    print_outcome(what.output(), kind, &created, "created")
}

/// Creates an object that options made; a dry run of the client answers it as it would be sent.
///
/// # Errors
/// Whatever the server refuses it for.
pub(super) async fn create_object(
    kind: &Kind,
    mut object: Value,
    dry_run: DryRun,
    manager: &str,
    session: &Session,
) -> Result<Value> {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    if dry_run == DryRun::Client {
        return Ok(object);
    }
    let path = api::collection(kind, Some(&session.namespace));
    session.api.create(&path, &dry_run.query(manager), &object).await
}

impl ObjectOf {
    async fn object(&self, session: &Session) -> Result<(&'static Kind, Value)> {
        match self {
            Self::Role(args) => args.object(),
            Self::ClusterRole(args) => args.object(),
            Self::RoleBinding(args) => args.object(),
            Self::ClusterRoleBinding(args) => args.object(),
            Self::ServiceAccount(args) => args.object(),
            Self::Deployment(args) => args.object(),
            Self::Job(args) => args.object(session).await,
            Self::CronJob(args) => args.object(),
            Self::Service(args) => args.object(),
            Self::ConfigMap(args) => args.object(),
            Self::Secret(args) => args.object(),
            Self::Namespace(args) => args.object(),
            Self::Quota(args) => args.object(),
            Self::PodDisruptionBudget(args) => args.object(),
            Self::PriorityClass(args) => args.object(),
            Self::Ingress(args) => args.object(),
        }
    }

    const fn output(&self) -> &OutputArgs {
        match self {
            Self::Role(args) => &args.output,
            Self::ClusterRole(args) => &args.output,
            Self::RoleBinding(args) => &args.output,
            Self::ClusterRoleBinding(args) => &args.output,
            Self::ServiceAccount(args) => &args.output,
            Self::Deployment(args) => &args.output,
            Self::Job(args) => &args.output,
            Self::CronJob(args) => &args.output,
            Self::Service(args) => args.output(),
            Self::ConfigMap(args) => &args.output,
            Self::Secret(args) => args.output(),
            Self::Namespace(args) => &args.output,
            Self::Quota(args) => &args.output,
            Self::PodDisruptionBudget(args) => &args.output,
            Self::PriorityClass(args) => &args.output,
            Self::Ingress(args) => &args.output,
        }
    }
}

async fn create(manifest: &Manifest, dry_run: DryRun, session: &Session) -> Result<Value> {
    if dry_run == DryRun::Client {
        return Ok(manifest.object.clone());
    }
    let path = api::collection(manifest.kind, Some(&manifest.namespace));
    let created = session.api.create(&path, &dry_run.query("kubectl-create"), &manifest.object).await;
    created.map_err(|error| failure::during(error, format!("error when creating {}", manifest.source)))
}

/// Says what became of an object, or prints it.
pub(crate) fn print_outcome(args: &OutputArgs, kind: &Kind, object: &Value, what: &str) -> Result<()> {
    let reference = resource::reference(kind, text(object, &["metadata", "name"]));
    let shown = match args.output {
        None => format!("{reference} {what}{}\n", args.dry_run.suffix()),
        Some(Format::Name) => format!("{reference}\n"),
        Some(Format::Yaml) => document::yaml(object),
        Some(Format::Json) => document::json(object)?,
    };
    Ok(terminal::print(&shown)?)
}
