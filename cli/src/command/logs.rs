//! `logs`: what containers wrote, of one pod or of all that a selector finds, once or as it comes.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    api,
    client::Response,
    command::container,
    document::{items, text},
    failure::{Failures, UsageError},
    resource,
    session::{self, Session},
    terminal,
};

/// Options of `logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin logs hello
  dunlin logs ticker -f --tail=10
  dunlin logs crasher --previous                  of the run before the current one
  dunlin logs web -c sidecar --since=5m --timestamps
  dunlin logs deployment/web --all-pods -f        of all its pods, each line with its pod's name
  dunlin logs -l app=web --prefix --all-containers")]
pub(crate) struct Args {
    /// POD, pod/POD, or TYPE/NAME of a workload for one of its pods; optionally followed by the container.
    #[arg(value_name = "POD", num_args = 0..=2)]
    pod: Vec<String>,
    /// Container, needed when the pod has several.
    #[arg(long, short)]
    container: Option<String>,
    /// Go on printing lines as they come.
    #[arg(long, short)]
    follow: bool,
    /// Of the run before the current one.
    #[arg(long, short)]
    previous: bool,
    /// Only the last so many lines; -1 means all, which is the default without a selector.
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only lines newer than this, for instance 5m.
    #[arg(long, value_name = "TIME", value_parser = session::duration)]
    since: Option<Duration>,
    /// Only lines at or after this RFC 3339 time.
    #[arg(long, value_name = "TIME", conflicts_with = "since")]
    since_time: Option<String>,
    /// Put the time before each line.
    #[arg(long)]
    timestamps: bool,
    /// Stop after so many bytes.
    #[arg(long, value_name = "BYTES")]
    limit_bytes: Option<u64>,
    /// All containers of a pod, those of its start included.
    #[arg(long, conflicts_with = "container")]
    all_containers: bool,
    /// All pods with these labels.
    #[arg(long, short = 'l', value_name = "LABELS", conflicts_with = "pod")]
    selector: Option<String>,
    /// All pods of a workload, with their names before each line.
    #[arg(long, conflicts_with = "selector")]
    all_pods: bool,
    /// Put pod and container before each line.
    #[arg(long)]
    prefix: bool,
    /// Go on with the other logs when one cannot be read.
    #[arg(long)]
    ignore_errors: bool,
    /// Pods followed at once at most.
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    max_log_requests: usize,
}

/// One log to read.
struct Log {
    path: String,
    container: String,
    prefix: String,
}

/// Prints the logs one after the other, or all at once when following.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let logs = logs(&args, &session).await?;
    if args.follow && logs.len() > args.max_log_requests {
        return Err(UsageError(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests \
             to increase the limit",
            logs.len(),
            args.max_log_requests
        ))
        .into());
    }
    let mut failures = Failures::default();
    if args.follow && logs.len() > 1 {
        let mut tasks = tokio::task::JoinSet::new();
        for log in logs {
            let (api, query) = (session.api.clone(), args.query(&log));
            tasks.spawn(async move {
                let query: Vec<(&str, &str)> =
                    query.iter().map(|(key, value)| (*key, value.as_str())).collect();
                let response = api.stream(&log.path, &query).await?;
                copy(response, &log.prefix).await
            });
        }
        while let Some(ended) = tasks.join_next().await {
            failures.note(ended.unwrap_or_else(|error| Err(error.into())))?;
        }
        return args.outcome(failures);
    }
    for log in logs {
        let query = args.query(&log);
        let query: Vec<(&str, &str)> = query.iter().map(|(key, value)| (*key, value.as_str())).collect();
        let printed = match session.api.stream(&log.path, &query).await {
            Ok(response) => copy(response, &log.prefix).await,
            Err(error) => Err(error),
        };
        failures.note(printed)?;
    }
    args.outcome(failures)
}

/// Finds the pods and their containers.
async fn logs(args: &Args, session: &Session) -> Result<Vec<Log>> {
    let kind = resource::find("pods")?;
    let pods = match (&args.selector, args.pod.first()) {
        (Some(selector), _) => {
            let path = api::collection(kind, Some(&session.namespace));
            let list = session.api.list(&path, &[("labelSelector", selector)]).await?;
            if items(&list, &["items"]).is_empty() {
                terminal::remark(&format!("No resources found in {} namespace.", session.namespace));
            }
            items(&list, &["items"]).to_vec()
        }
        (None, Some(name)) => match name.split_once('/') {
            None => vec![session.api.get(&api::object(kind, &session.namespace, name), &[]).await?],
            Some((typed, name)) => of_workload(args, typed, name, session).await?,
        },
        (None, None) => {
            return Err(UsageError("which pod? Name one, or select pods with -l".to_owned()).into());
        }
    };
    let mut logs = Vec::new();
    for pod in &pods {
        let name = text(pod, &["metadata", "name"]);
        for container in containers(args, pod)? {
            logs.push(Log {
                path: format!("{}/log", api::object(kind, &session.namespace, name)),
                prefix: if args.prefix || args.all_pods {
                    format!("[pod/{name}/{container}] ")
                } else {
                    String::new()
                },
                container,
            });
        }
    }
    Ok(logs)
}

/// The pod that is meant by `TYPE/NAME`, or all its pods if they are asked for.
async fn of_workload(args: &Args, typed: &str, name: &str, session: &Session) -> Result<Vec<Value>> {
    let mut pods = container::pods(typed, name, session).await?;
    if pods.is_empty() {
        return Err(anyhow!("error finding pods of {typed}/{name}: it has none"));
    }
    if !args.all_pods {
        if pods.len() > 1 {
            let (count, first) = (pods.len(), text(&pods[0], &["metadata", "name"]));
            terminal::remark(&format!("Found {count} pods, using pod/{first}"));
        }
        pods.truncate(1);
    }
    Ok(pods)
}

/// The containers of a pod to read: the one named, all, or the only one there is.
fn containers(args: &Args, pod: &Value) -> Result<Vec<String>> {
    let names = |field: &str| {
        items(pod, &["spec", field])
            .iter()
            .map(|container| text(container, &["name"]).to_owned())
            .collect::<Vec<_>>()
    };
    let (init, main) = (names("initContainers"), names("containers"));
    let name = text(pod, &["metadata", "name"]);
    let all = || [init.clone(), main.clone(), names("ephemeralContainers")].concat();
    if args.all_containers {
        return Ok(all());
    }
    if let Some(container) = args.container.as_ref().or_else(|| args.pod.get(1)) {
        if !all().contains(container) {
            let known = container::all_names(pod);
            return Err(anyhow!("container {container} is not valid for pod {name} out of: {known}"));
        }
        return Ok(vec![container.clone()]);
    }
    let default = text(pod, &["metadata", "annotations", "kubectl.kubernetes.io/default-container"]);
    match main.as_slice() {
        [one] => Ok(vec![one.clone()]),
        several if several.iter().any(|container| container == default) => Ok(vec![default.to_owned()]),
        [first, ..] => {
            terminal::remark(&format!("Defaulted container {first:?} out of: {}", container::all_names(pod)));
            Ok(vec![first.clone()])
        }
        [] => Err(anyhow!("pod {name} has no containers")),
    }
}

/// Copies a log to stdout, whole lines at a time when they get a prefix.
async fn copy(mut response: Response, prefix: &str) -> Result<()> {
    if prefix.is_empty() {
        while let Some(chunk) = response.chunk().await? {
            terminal::write_stdout(&chunk)?;
        }
        return Ok(());
    }
    while let Some(line) = response.line().await? {
        terminal::write_stdout(&[prefix.as_bytes(), &line, b"\n"].concat())?;
    }
    Ok(())
}

impl Args {
    /// Errors have been told; whether they also count.
    fn outcome(&self, failures: Failures) -> Result<()> {
        if self.ignore_errors { Ok(()) } else { failures.into_result() }
    }

    fn query(&self, log: &Log) -> Vec<(&'static str, String)> {
        let mut query = vec![("container", log.container.clone())];
        let flags = [("follow", self.follow), ("previous", self.previous), ("timestamps", self.timestamps)];
        query.extend(flags.into_iter().filter(|(_, set)| *set).map(|(key, _)| (key, "true".to_owned())));
        // A selector may find many pods; a glance at each is meant.
        let tail = self.tail.or_else(|| self.selector.as_ref().map(|_| 10));
        query.extend(tail.filter(|lines| *lines >= 0).map(|lines| ("tailLines", lines.to_string())));
        query.extend(self.since.map(|since| ("sinceSeconds", since.as_secs().max(1).to_string())));
        query.extend(self.since_time.clone().map(|time| ("sinceTime", time)));
        query.extend(self.limit_bytes.map(|bytes| ("limitBytes", bytes.to_string())));
        query
    }
}
