//! `create namespace|quota|poddisruptionbudget|priorityclass|ingress`.

use anyhow::Result;
use serde_json::{Value, json};

use super::OutputArgs;
use crate::{
    builder::{
        self,
        ingress::Ingress,
        policy::{self, Bound, PriorityClass, Reach},
    },
    failure::UsageError,
    resource::{self, Kind},
};

/// Options of `create namespace`.
#[derive(Debug, clap::Args)]
pub(crate) struct NamespaceArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create quota`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create quota small --hard=cpu=1,memory=1Gi,pods=10
  dunlin create quota best-effort --hard=pods=100 --scopes=BestEffort")]
pub(crate) struct QuotaArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// RESOURCE=AMOUNT, separated by commas.
    #[arg(long, value_name = "AMOUNTS", default_value = "", hide_default_value = true)]
    hard: String,
    /// Which pods count, separated by commas; all when left out.
    #[arg(long, value_name = "SCOPES", default_value = "", hide_default_value = true)]
    scopes: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create poddisruptionbudget`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create poddisruptionbudget web --selector=app=web --min-available=1
  dunlin create pdb db --selector=app=db --max-unavailable=50%")]
pub(crate) struct BudgetArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Labels of the pods.
    #[arg(long, value_name = "LABELS", default_value = "", hide_default_value = true)]
    selector: String,
    /// So many pods, or such a share, must stay.
    #[arg(long, value_name = "COUNT|SHARE")]
    min_available: Option<String>,
    /// So many pods, or such a share, may be missing.
    #[arg(long, value_name = "COUNT|SHARE")]
    max_unavailable: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create priorityclass`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create priorityclass high --value=1000 --description='before all others'
  dunlin create priorityclass usual --value=0 --global-default
  dunlin create priorityclass patient --value=500 --preemption-policy=Never")]
pub(crate) struct PriorityClassArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The priority.
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true)]
    value: i32,
    /// For what it is.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    description: String,
    /// Of all pods that name no class.
    #[arg(long)]
    global_default: bool,
    /// Whether pods may take others' places: PreemptLowerPriority or Never.
    #[arg(long, value_name = "POLICY", default_value = "PreemptLowerPriority")]
    preemption_policy: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create ingress`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create ingress web --rule=web.example/=web:80 --rule=web.example/api*=api:8080,tls=web-cert
  dunlin create ingress all --class=edge --default-backend=web:80
A path that ends in * is a prefix.")]
pub(crate) struct IngressArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Name of its class.
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
    /// HOST/PATH=SERVICE:PORT[,tls[=SECRET]]; may be repeated.
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// SERVICE:PORT for what no rule fits.
    #[arg(long, value_name = "SERVICE:PORT")]
    default_backend: Option<String>,
    /// Annotation KEY=VALUE; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    annotation: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl NamespaceArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        Ok((resource::find("namespaces")?, json!({"metadata": {"name": self.name}})))
    }
}

impl QuotaArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        Ok((resource::find("resourcequotas")?, policy::quota(&self.name, &self.hard, &self.scopes)?))
    }
}

impl BudgetArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let wrong = |why: &str| UsageError(why.to_owned());
        let bound = match (&self.min_available, &self.max_unavailable) {
            (Some(min), None) => Bound::MinAvailable(min),
            (None, Some(max)) => Bound::MaxUnavailable(max),
            (None, None) => {
                return Err(wrong("one of min-available or max-unavailable must be specified").into());
            }
            _ => return Err(wrong("min-available and max-unavailable cannot be both specified").into()),
        };
        let object = policy::disruption_budget(&self.name, &self.selector, bound)?;
        Ok((resource::find("poddisruptionbudgets")?, object))
    }
}

impl PriorityClassArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let class = PriorityClass {
            name: &self.name,
            value: self.value,
            description: &self.description,
            reach: if self.global_default { Reach::Global } else { Reach::Named },
            preemption_policy: &self.preemption_policy,
        };
        Ok((resource::find("priorityclasses")?, class.object()))
    }
}

impl IngressArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let ingress = Ingress {
            name: &self.name,
            class: self.class.as_deref(),
            default_backend: self.default_backend.as_deref(),
            rules: &self.rule,
            annotations: builder::pairs(self.annotation.iter().map(String::as_str), "annotation")?,
        };
        Ok((resource::find("ingresses")?, ingress.object()?))
    }
}
