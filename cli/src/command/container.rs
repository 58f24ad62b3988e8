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
    terminal,
};

/// Options of commands whose streams are those of a container.
#[derive(Debug, clap::Args)]
pub(super) struct StreamArgs {
    /// POD or pod/POD.
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

/// Reads a pod named `POD` or `pod/POD`; answers it and its path.
///
/// # Errors
/// When there is none.
pub(super) async fn pod(named: &str, session: &Session) -> Result<(Value, String)> {
    let kind = resource::find("pods")?;
    let name = match named.split_once('/') {
        None => named,
        Some((typed, name)) if resource::same(resource::find(typed)?, kind) => name,
        Some(_) => return Err(UsageError(format!("{named:?} is no pod")).into()),
    };
    let path = api::object(kind, &session.namespace, name);
    Ok((session.api.get(&path, &[]).await?, path))
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
    let all = || [main.clone(), names("initContainers"), names("ephemeralContainers")].concat();
    let pod_name = text(pod, &["metadata", "name"]);
    if let Some(asked) = wanted.asked {
        return match all().contains(&asked) {
            true => Ok(asked.to_owned()),
            false => {
                Err(anyhow!("container {asked} is not valid for pod {pod_name} out of: {}", all().join(", ")))
            }
        };
    }
    let default = text(pod, &["metadata", "annotations", DEFAULT_CONTAINER]);
    if main.contains(&default) {
        return Ok(default.to_owned());
    }
    let first = main.first().ok_or_else(|| anyhow!("pod {pod_name} has no containers"))?;
    if all().len() > 1 && !wanted.quiet {
        terminal::remark(&format!("Defaulted container {first:?} out of: {}", all().join(", ")));
    }
    Ok((*first).to_owned())
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
        check(&pod, Some("z"), Err("container z is not valid for pod p out of: a, b, i"));
        assert!(declares(&pod, "b", "stdin") && !declares(&pod, "a", "stdin") && !declares(&pod, "b", "tty"));
        pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        check(&pod, None, Ok("b"));
        pod["status"] = json!({"phase": "Failed"});
        let refused = check_runs(&pod, "cannot exec into").unwrap_err().to_string();
        assert_eq!(refused, "cannot exec into a container in a completed pod; current phase is Failed");
    }
}
