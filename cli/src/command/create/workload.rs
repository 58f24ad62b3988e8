//! `create deployment`, `create job` and `create cronjob`.

use anyhow::Result;
use serde_json::Value;

use super::OutputArgs;
use crate::{
    api,
    builder::workload,
    failure::UsageError,
    resource::{self, Kind},
    session::Session,
};

/// Options of `create deployment`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create deployment web --image=dunlin.local/http-hello --replicas=3 --port=8080
  dunlin create deployment clock --image=dunlin.local/toolbox -- date --utc")]
pub(crate) struct DeploymentArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Image of a container; may be repeated.
    #[arg(long, value_name = "IMAGE", required = true)]
    image: Vec<String>,
    /// How many pods.
    #[arg(long, short, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=i64::from(i32::MAX)))]
    replicas: u32,
    /// Port that the first container listens on.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// The container's command, after `--`.
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create job`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create job once --image=dunlin.local/toolbox -- echo done
  dunlin create job now --from=cronjob/nightly        what the CronJob would make, at once")]
pub(crate) struct JobArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Image of its container.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// A CronJob, as cronjob/NAME, whose Job it is to be.
    #[arg(long, value_name = "CRONJOB")]
    from: Option<String>,
    /// The container's command, after `--`.
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create cronjob`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin create cronjob nightly --image=dunlin.local/toolbox --schedule='0 3 * * *' -- echo night")]
pub(crate) struct CronJobArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Image of its Jobs' container.
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// When, as cron has it, for instance '*/5 * * * *'.
    #[arg(long, value_name = "CRON")]
    schedule: String,
    /// What becomes of a container that ended: OnFailure or Never.
    #[arg(long, value_name = "POLICY", default_value = "OnFailure")]
    restart: String,
    /// The container's command, after `--`.
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl DeploymentArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let deployment = workload::Deployment {
            name: &self.name,
            images: &self.image,
            replicas: self.replicas,
            port: self.port,
            command: &self.command,
        };
        Ok((resource::find("deployments")?, deployment.object()?))
    }
}

impl JobArgs {
    pub(super) async fn object(&self, session: &Session) -> Result<(&'static Kind, Value)> {
        let object = match (&self.image, &self.from) {
            (Some(image), None) => workload::job(&self.name, image, &self.command),
            (None, Some(_)) if !self.command.is_empty() => {
                return Err(UsageError("cannot specify --from and command".to_owned()).into());
            }
            (None, Some(from)) => workload::job_of(&self.name, &cron_job(from, session).await?),
            _ => return Err(UsageError("either --image or --from must be specified".to_owned()).into()),
        };
        Ok((resource::find("jobs")?, object))
    }
}

impl CronJobArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let object =
            workload::cron_job(&self.name, &self.image, &self.schedule, &self.restart, &self.command);
        Ok((resource::find("cronjobs")?, object))
    }
}

/// Reads the CronJob that `cronjob/NAME` names.
async fn cron_job(from: &str, session: &Session) -> Result<Value> {
    let kind = resource::find("cronjobs")?;
    match from.split_once('/') {
        Some((typed, name)) if resource::same(resource::find(typed)?, kind) => {
            session.api.get(&api::object(kind, &session.namespace, name), &[]).await
        }
        _ => Err(UsageError(format!("from must be an existing cronjob, as cronjob/NAME: {from:?}")).into()),
    }
}
