//! The pod and the container that `exec` and `attach` mean, in kubectl's words.

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::{
    api,
    conversation::Parts,
    document::{items, text},
    failure::UsageError,
    resource,
    session::Session,
    terminal, workload,
};

/// Options of commands whose streams are those of a container.
#[derive(Debug, clap::Args)]
pub(super) struct StreamArgs {
    /// POD or pod/POD; or TYPE/NAME of a workload, for one of its pods.
    #[arg(value_name = "POD")]
    pub(super) pod: String,
    /// Container; by default the one that the pod names, or its first.
    #[arg(long, short)]
    pub(super) container: Option<String>,
    /// Pass stdin on.
    #[arg(long, short = 'i')]
    pub(super) stdin: bool,
    /// Stdin is a terminal, to be handed over.
    #[arg(long, short = 't')]
    pub(super) tty: bool,
    /// Say nothing but what comes from the container.
    #[arg(long, short)]
    pub(super) quiet: bool,
}

impl StreamArgs {
    /// The container that is meant.
    pub(super) fn wanted(&self) -> Wanted<'_> {
        Wanted { asked: self.container.as_deref(), quiet: self.quiet }
    }

    /// The parameters of a request for the streams of `container`.
    pub(super) fn query<'a>(container: &'a str, parts: &Parts) -> Vec<(&'static str, &'a str)> {
        let flags = [("stdin", parts.stdin), ("stderr", !parts.tty), ("tty", parts.tty)];
        let flags = flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| (name, "true"));
        [("container", container), ("stdout", "true")].into_iter().chain(flags).collect()
    }

    /// Says that there is no terminal to hand over, and why.
    pub(super) fn without_terminal(&self, why: &str) {
        if !self.quiet {
            terminal::remark(&format!("Unable to use a TTY - {why}"));
        }
    }
}

/// Which container is meant.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// By name.
    pub(super) asked: Option<&'a str>,
    /// Whether nothing is said of a choice.
    pub(super) quiet: bool,
}

/// Reads a pod named `POD` or `pod/POD`, or the best one of a workload named `TYPE/NAME`; answers it and its path.
///
/// # Errors
/// When there is none.
pub(super) async fn pod(named: &str, session: &Session) -> Result<(Value, String)> {
    let kind = resource::find("pods")?;
    let pod = match named.split_once('/') {
        None => session.api.get(&api::object(kind, &session.namespace, named), &[]).await?,
        Some((typed, name)) => match pods(typed, name, session).await? {
            pods if pods.is_empty() => {
                return Err(anyhow!("error finding pods of {named}: it has none"));
            }
            pods => pods.into_iter().next().unwrap_or_default(),
        },
    };
    let path = api::object(kind, &session.namespace, text(&pod, &["metadata", "name"]));
    Ok((pod, path))
}

/// The pods that `TYPE/NAME` means: the pod itself, or those that a workload or Service selects, the best one first.
///
/// # Errors
/// When there is no such object, or it is of a kind without pods.
pub(super) async fn pods(typed: &str, name: &str, session: &Session) -> Result<Vec<Value>> {
    let kind = resource::resolve_one(typed, &session.api).await?;
    let object = session.api.get(&api::object(kind, &session.namespace, name), &[]).await?;
    if kind.kind == "Pod" {
        return Ok(vec![object]);
    }
    let selector = workload::pod_selector(&object);
    let has_pods = workload::pod_spec_path(kind.kind).is_some() && kind.kind != "CronJob";
    if selector.is_empty() || !has_pods && kind.kind != "Service" {
        return Err(UsageError(format!("{typed}/{name} is no pod, and nothing that has pods")).into());
    }
    let path = api::collection(resource::find("pods")?, Some(&session.namespace));
    let list = session.api.list(&path, &[("labelSelector", &selector)]).await?;
    let mut pods = items(&list, &["items"]).to_vec();
    // A pod that is there to be talked to comes first; of equal ones the oldest.
    pods.sort_by_key(|pod| {
        let leaves = pod["metadata"]["deletionTimestamp"].is_string();
        let runs = text(pod, &["status", "phase"]) == "Running";
        let ready = workload::condition(pod, "Ready").is_some_and(|ready| text(ready, &["status"]) == "True");
        (leaves, !runs, !ready, text(pod, &["metadata", "creationTimestamp"]).to_owned())
    });
    Ok(pods)
}

/// Refuses a pod that is over; `what` begins the sentence.
///
/// # Errors
/// When it is.
pub(super) fn check_runs(pod: &Value, what: &str) -> Result<()> {
    match text(pod, &["status", "phase"]) {
        phase @ ("Succeeded" | "Failed") => {
            Err(anyhow!("{what} a container in a completed pod; current phase is {phase}"))
        }
        _ => Ok(()),
    }
}

/// The container that is meant: the one asked for, the pod's default, or its first.
///
/// # Errors
/// When the pod has none of that name.
pub(super) fn choose(pod: &Value, wanted: &Wanted<'_>) -> Result<String> {
    let names = |field: &str| -> Vec<&str> {
        items(pod, &["spec", field]).iter().map(|container| text(container, &["name"])).collect()
    };
    let main = names("containers");
    let all = || [main.clone(), names("ephemeralContainers"), names("initContainers")].concat();
    let pod_name = text(pod, &["metadata", "name"]);
    if let Some(asked) = wanted.asked {
        return match all().contains(&asked) {
            true => Ok(asked.to_owned()),
            false => {
                Err(anyhow!("container {asked} is not valid for pod {pod_name} out of: {}", all_names(pod)))
            }
        };
    }
    let default = text(pod, &["metadata", "annotations", DEFAULT_CONTAINER]);
    if main.contains(&default) {
        return Ok(default.to_owned());
    }
    let first = main.first().ok_or_else(|| anyhow!("pod {pod_name} has no containers"))?;
    if all().len() > 1 && !wanted.quiet {
        terminal::remark(&format!("Defaulted container {first:?} out of: {}", all_names(pod)));
    }
    Ok((*first).to_owned())
}

/// All containers of a pod in words, with what those are that it is not for.
pub(super) fn all_names(pod: &Value) -> String {
    let lists = [("containers", ""), ("ephemeralContainers", " (ephem)"), ("initContainers", " (init)")];
    let names = lists.iter().flat_map(|(field, what)| {
        items(pod, &["spec", field]).iter().map(move |spec| format!("{}{what}", text(spec, &["name"])))
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Whether a container's spec sets a flag.
pub(super) fn declares(pod: &Value, container: &str, flag: &str) -> bool {
    let lists = ["containers", "initContainers", "ephemeralContainers"];
    let mut all = lists.iter().flat_map(|list| items(pod, &["spec", list]));
    all.any(|spec| spec["name"] == container && spec[flag] == true)
}

/// Why there is no terminal on this side.
pub(super) const NO_TERMINAL: &str = "input is not a terminal or the right kind of file";

/// Names the container that commands mean when they name none.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_chosen_as_kubectl_does() {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b", "stdin": true}], "initContainers": [{"name": "i"}]},
        });
        let check = |pod: &Value, asked: Option<&str>, expected: Result<&str, &str>| {
            let chosen = choose(pod, &Wanted { asked, quiet: true }).map_err(|error| error.to_string());
            assert_eq!(chosen.as_deref().map_err(String::as_str), expected, "{asked:?}");
        };
        check(&pod, None, Ok("a"));
        check(&pod, Some("i"), Ok("i"));
        check(&pod, Some("z"), Err("container z is not valid for pod p out of: a, b, i (init)"));
        assert!(declares(&pod, "b", "stdin") && !declares(&pod, "a", "stdin") && !declares(&pod, "b", "tty"));
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        check(&pod, None, Ok("b"));
        pod["status"] = json!({"phase": "Failed"});
        let refused = check_runs(&pod, "cannot exec into").unwrap_err().to_string();
        assert_eq!(refused, "cannot exec into a container in a completed pod; current phase is Failed");
    }
}
