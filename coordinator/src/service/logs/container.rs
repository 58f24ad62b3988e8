//! Which container's log is meant, and whether there is one; in the words of Kubernetes' API server and kubelet.

use std::fmt;

use dunlin_api::Status;
use serde_json::Value;

/// Which run of a container is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// The one that runs or ran last.
    Current,
    /// The one before.
    Previous,
}

/// The container that is meant; none needs to be named when there is but one.
pub(in crate::service) fn choose_container<'p>(pod: &'p Value, asked: &str) -> Result<&'p str, Status> {
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let names = |list: &str| -> Vec<&'p str> {
        pod["spec"][list]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["name"].as_str())
            .collect()
    };
    let (containers, init) = (names("containers"), names("initContainers"));
    if !asked.is_empty() {
        let mut all = containers.into_iter().chain(init).chain(names("ephemeralContainers"));
        return all.find(|name| *name == asked).ok_or_else(|| {
            Status::bad_request(format!("container {asked} is not valid for pod {pod_name}"))
        });
    }
    match containers.as_slice() {
        [only] => Ok(only),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        _ => {
            let all = [init, containers, names("ephemeralContainers")].concat().join(" ");
            Err(Status::bad_request(format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{all}]"
            )))
        }
    }
}

/// Refuses the log of a run that has not been.
pub(super) fn check_started(pod: &Value, container: &str, run: Run) -> Result<(), Status> {
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let refuse = |what: fmt::Arguments<'_>| Err(Status::bad_request(what.to_string()));
    let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| pod["status"][*list].as_array().into_iter().flatten());
    let Some(status) = statuses.find(|status| status["name"] == container) else {
        return refuse(format_args!("container \"{container}\" in pod \"{pod_name}\" is not available"));
    };
    let ran = |terminated: &Value| terminated["containerID"].as_str().is_some_and(|id| !id.is_empty());
    let (state, last) = (&status["state"], &status["lastState"]["terminated"]);
    if run == Run::Previous {
        return match ran(last) {
            true => Ok(()),
            false => refuse(format_args!(
                "previous terminated container \"{container}\" in pod \"{pod_name}\" not found"
            )),
        };
    }
    if !state["running"].is_null() || ran(&state["terminated"]) || ran(last) {
        return Ok(());
    }
    if !state["terminated"].is_null() {
        return refuse(format_args!("container \"{container}\" in pod \"{pod_name}\" is terminated"));
    }
    let why = match state["waiting"]["reason"].as_str().unwrap_or_default() {
        "ErrImagePull" => "image can't be pulled",
        "ImagePullBackOff" => "trying and failing to pull image",
        "" => "no logs yet",
        reason => reason,
    };
    refuse(format_args!("container \"{container}\" in pod \"{pod_name}\" is waiting to start: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(statuses: Value) -> Value {
        json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]},
            "status": {"containerStatuses": statuses},
        })
    }

    #[test]
    fn a_container_is_chosen_or_asked_for() {
        let check = |asked: &str, expected: Result<&str, &str>| {
            let pod = pod(json!([]));
            let found = choose_container(&pod, asked);
            assert_eq!(found.as_ref().map_err(Status::message).copied(), expected, "{asked}");
        };
        check("b", Ok("b"));
        check("i", Ok("i"));
        check("z", Err("container z is not valid for pod p"));
        check("", Err("a container name must be specified for pod p, choose one of: [i a b]"));
        let single = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "only"}]}});
        assert_eq!(choose_container(&single, "").unwrap(), "only");
    }

    #[test]
    fn logs_of_runs_that_were_not_are_refused() {
        let check = |state: Value, run: Run, expected: Result<(), &str>| {
            let mut status = state;
            status["name"] = "a".into();
            let pod = pod(json!([status]));
            let found = check_started(&pod, "a", run);
            assert_eq!(found.as_ref().map_err(Status::message).copied(), expected, "{status}");
        };
        let waiting = |reason: &str| json!({"state": {"waiting": {"reason": reason}}});
        let ended = json!({"terminated": {"containerID": "x"}});
        check(json!({"state": {"running": {}}}), Run::Current, Ok(()));
        check(json!({"state": ended}), Run::Current, Ok(()));
        check(
            json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}),
            Run::Current,
            Ok(()),
        );
        check(json!({"state": {"running": {}}, "lastState": ended}), Run::Previous, Ok(()));
        let text = "container \"a\" in pod \"p\" is waiting to start: ContainerCreating";
        check(waiting("ContainerCreating"), Run::Current, Err(text));
        let text = "container \"a\" in pod \"p\" is waiting to start: image can't be pulled";
        check(waiting("ErrImagePull"), Run::Current, Err(text));
        let text = "previous terminated container \"a\" in pod \"p\" not found";
        check(json!({"state": {"running": {}}}), Run::Previous, Err(text));
        let missing = check_started(&pod(json!([])), "a", Run::Current).unwrap_err();
        assert_eq!(missing.message(), "container \"a\" in pod \"p\" is not available");
    }
}
