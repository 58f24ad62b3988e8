//! `create`: sends objects as they are in manifests, or as options make them. Also holds what all commands that write manifests share: dry runs and `-o`.

mod access;
mod token;

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
    let ((kind, mut object), output) = match what {
        What::Token(args) => return token::run(&args, session).await,
        What::Role(args) => (args.object()?, args.output),
        What::ClusterRole(args) => (args.object()?, args.output),
        What::RoleBinding(args) => (args.object()?, args.output),
        What::ClusterRoleBinding(args) => (args.object()?, args.output),
        What::ServiceAccount(args) => (args.object()?, args.output),
    };
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    let created = match output.dry_run {
        DryRun::Client => object,
        dry_run => {
            let path = api::collection(kind, Some(&session.namespace));
            session.api.create(&path, &dry_run.query("kubectl-create"), &object).await?
        }
    };
    print_outcome(&output, kind, &created, "created")
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
