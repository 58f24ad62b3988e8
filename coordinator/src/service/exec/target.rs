//! Where a stream leads: which container of a pod, on which node.

use dunlin_api::Status;
use dunlin_coordinator_core::mirror;
use dunlin_link::{
    NodeName, PodUid,
    exec::{AttachRequest, AttachStdin, ExecRequest},
};
use serde_json::Value;

use super::options::{Action, StreamOptions};
use crate::{service::logs::choose_container, sessions::StreamOpen};

/// A container on its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) node: NodeName,
    uid: PodUid,
    container: String,
    /// What the container's spec says of its standard input.
    stdin: AttachStdin,
    /// Whether the container was declared to have a terminal.
    tty: bool,
}

impl Target {
    /// Finds the container that is meant.
    ///
    /// # Errors
    /// When there is none, or it cannot run.
    pub(super) fn find(pod: &Value, options: &StreamOptions) -> Result<Self, Status> {
        let container = choose_container(pod, &options.container)?;
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            let what = match options.action {
                Action::Exec => "exec into",
                Action::Attach => "attach",
            };
            return Err(Status::bad_request(format!(
                "cannot {what} a container in a completed pod; current phase is {phase}"
            )));
        }
        let Some(node) = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) else {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            return Err(Status::bad_request(format!("pod {name} does not have a host assigned")));
        };
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        let mut specs = lists.iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
        let spec = specs.find(|spec| spec["name"] == container).unwrap_or(&Value::Null);
        let is_set = |field: &str| spec[field].as_bool().unwrap_or_default();
        let stdin = match (is_set("stdin"), is_set("stdinOnce")) {
            (false, _) => AttachStdin::None,
            (true, false) => AttachStdin::Open,
            (true, true) => AttachStdin::Once,
        };
        Ok(Self {
            node: NodeName::new(node),
            uid: PodUid::new(mirror::uid_on_node(pod)),
            container: container.to_owned(),
            stdin,
            tty: is_set("tty"),
        })
    }

    /// What its node is asked for.
    pub(super) fn open(&self, options: StreamOptions) -> StreamOpen {
        let StreamOptions { action, command, stdin, stdout, stderr, tty, .. } = options;
        let (uid, container) = (self.uid.clone(), self.container.clone());
        match action {
            Action::Exec => {
                StreamOpen::Exec(ExecRequest { uid, container, command, stdin, stdout, stderr, tty })
            }
            Action::Attach => StreamOpen::Attach(AttachRequest {
                uid,
                container,
                // One who wants to write into a container that reads nothing is not told so, as in Kubernetes.
                stdin: if stdin { self.stdin } else { AttachStdin::None },
                stdout,
                stderr,
                tty: self.tty,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options(action: Action, container: &str) -> StreamOptions {
        StreamOptions {
            action,
            container: container.to_owned(),
            command: vec!["ls".to_owned()],
            stdin: true,
            stdout: true,
            stderr: false,
            tty: false,
        }
    }

    fn pod(node: &str, phase: &str) -> Value {
        json!({
            "metadata": {"name": "p", "uid": "u"},
            "spec": {"nodeName": node, "containers": [
                {"name": "a"}, {"name": "b", "stdin": true, "tty": true}, {"name": "c", "stdin": true, "stdinOnce": true},
            ]},
            "status": {"phase": phase},
        })
    }

    #[test]
    fn a_container_is_found_or_refused() {
        let check = |node: &str, phase: &str, action, container: &str, expected: &str| {
            let refused = Target::find(&pod(node, phase), &options(action, container)).unwrap_err();
            assert_eq!((refused.message(), refused.code()), (expected, 400));
        };
        check("n", "Running", Action::Exec, "z", "container z is not valid for pod p");
        check(
            "n",
            "Running",
            Action::Exec,
            "",
            "a container name must be specified for pod p, choose one of: [a b c]",
        );
        check("", "Pending", Action::Exec, "a", "pod p does not have a host assigned");
        let message = "cannot exec into a container in a completed pod; current phase is Succeeded";
        check("n", "Succeeded", Action::Exec, "a", message);
        let message = "cannot attach a container in a completed pod; current phase is Failed";
        check("n", "Failed", Action::Attach, "a", message);
    }

    #[test]
    fn an_attachment_follows_the_container_s_spec() {
        let check = |container: &str, stdin: AttachStdin, tty: bool| {
            let asked = options(Action::Attach, container);
            let target = Target::find(&pod("n", "Running"), &asked).unwrap();
            let StreamOpen::Attach(request) = target.open(asked) else { panic!("an attachment") };
            assert_eq!((request.stdin, request.tty), (stdin, tty), "{container}");
        };
        check("a", AttachStdin::None, false);
        check("b", AttachStdin::Open, true);
        check("c", AttachStdin::Once, false);
    }
}
