//! The pod of `run`.

use serde_json::{Map, Value, json};

use crate::failure::UsageError;

/// What the pod is made of.
#[derive(Clone, Debug)]
pub(crate) struct Pod<'a> {
    /// Its name, and that of its container.
    pub(crate) name: &'a str,
    /// The container's image.
    pub(crate) image: &'a str,
    /// `IfNotPresent`, for instance; the server's choice when it is left out.
    pub(crate) image_pull_policy: Option<&'a str>,
    /// `NAME=VALUE`.
    pub(crate) env: &'a [String],
    /// The container's port.
    pub(crate) port: Option<u16>,
    /// Labels; `run=NAME` when there are none.
    pub(crate) labels: Map<String, Value>,
    /// Annotations.
    pub(crate) annotations: Map<String, Value>,
    /// `Always`, `OnFailure` or `Never`.
    pub(crate) restart: &'a str,
    /// Arguments of the image's command, or the command itself.
    pub(crate) words: &'a [String],
    /// What `words` are.
    pub(crate) words_are: Words,
    /// Which streams stay open for whoever attaches.
    pub(crate) streams: Streams,
    /// Whether the container may do all that its node may.
    pub(crate) privilege: Privilege,
}

/// What the words after `--` are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    /// Arguments.
    Args,
    /// The command.
    Command,
}

/// How a container meets whoever attaches to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// It only writes.
    Output,
    /// Its stdin stays open after whoever attached first has left.
    Stdin(Tty),
    /// Its stdin ends with whoever attached first.
    StdinOnce(Tty),
}

/// Whether stdin is a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tty {
    /// A terminal.
    Yes,
    /// A stream of bytes.
    No,
}

/// How much a container may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// As any other.
    Ordinary,
    /// Everything.
    Privileged,
}

impl Pod<'_> {
    /// The object.
    ///
    /// # Errors
    /// [`UsageError`] for a variable without a value.
    pub(crate) fn object(&self) -> Result<Value, UsageError> {
        let mut container = json!({"name": self.name, "image": self.image});
        if let Some(policy) = self.image_pull_policy {
            container["imagePullPolicy"] = policy.into();
        }
        if !self.words.is_empty() {
            let field = if self.words_are == Words::Command { "command" } else { "args" };
            container[field] = self.words.into();
        }
        if let Some(port) = self.port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        let variables =
            self.env.iter().map(|word| variable(word)).collect::<Result<Vec<Value>, UsageError>>()?;
        if !variables.is_empty() {
            container["env"] = variables.into();
        }
        if let Streams::Stdin(tty) | Streams::StdinOnce(tty) = self.streams {
            container["stdin"] = true.into();
            if tty == Tty::Yes {
                container["tty"] = true.into();
            }
            if matches!(self.streams, Streams::StdinOnce(_)) {
                container["stdinOnce"] = true.into();
            }
        }
        if self.privilege == Privilege::Privileged {
            container["securityContext"] = json!({"privileged": true});
        }
        let mut metadata = json!({"name": self.name, "labels": self.labels});
        if self.labels.is_empty() {
            metadata["labels"] = json!({"run": self.name});
        }
        if !self.annotations.is_empty() {
            metadata["annotations"] = self.annotations.clone().into();
        }
        let spec =
            json!({"containers": [container], "restartPolicy": self.restart, "dnsPolicy": "ClusterFirst"});
        Ok(json!({"metadata": metadata, "spec": spec}))
    }
}

/// The variable that `NAME=VALUE` is.
///
/// # Errors
/// When it is not of that form.
pub(crate) fn variable(word: &str) -> Result<Value, UsageError> {
    match word.split_once('=') {
        Some((name, "")) if !name.is_empty() => Ok(json!({"name": name})),
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => Err(UsageError(format!("invalid env: {word}"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{Pod, Privilege, Streams, Tty, Words};

    fn plain<'a>() -> Pod<'a> {
        Pod {
            name: "p",
            image: "x",
            image_pull_policy: None,
            env: &[],
            port: None,
            labels: Map::new(),
            annotations: Map::new(),
            restart: "Always",
            words: &[],
            words_are: Words::Args,
            streams: Streams::Output,
            privilege: Privilege::Ordinary,
        }
    }

    fn check(pod: &Pod<'_>, metadata: Value, container: Value, restart: &str) {
        let spec = json!({"containers": [container], "restartPolicy": restart, "dnsPolicy": "ClusterFirst"});
        assert_eq!(pod.object().unwrap(), json!({"metadata": metadata, "spec": spec}));
    }

    // What kubectl 1.36 makes of the same options, without the empty objects that stand for defaults.
    #[test]
    fn pods() {
        let named = json!({"name": "p", "labels": {"run": "p"}});
        check(&plain(), named.clone(), json!({"name": "p", "image": "x"}), "Always");
        let env = ["A=b".to_owned(), "C=".to_owned()];
        let words = ["sh".to_owned(), "-c".to_owned()];
        let labels = json!({"a": "b", "c": "d"}).as_object().unwrap().clone();
        let full = Pod {
            port: Some(80),
            env: &env,
            labels,
            restart: "Never",
            words: &words,
            words_are: Words::Command,
            ..plain()
        };
        let container = json!({"name": "p", "image": "x", "command": ["sh", "-c"], "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "value": "b"}, {"name": "C"}]});
        check(&full, json!({"name": "p", "labels": {"a": "b", "c": "d"}}), container, "Never");
        let annotations = json!({"a": "b"}).as_object().unwrap().clone();
        let open = Pod {
            annotations,
            image_pull_policy: Some("Never"),
            streams: Streams::StdinOnce(Tty::Yes),
            privilege: Privilege::Privileged,
            ..plain()
        };
        let container = json!({"name": "p", "image": "x", "imagePullPolicy": "Never", "stdin": true, "stdinOnce": true,
            "tty": true, "securityContext": {"privileged": true}});
        check(
            &open,
            json!({"name": "p", "labels": {"run": "p"}, "annotations": {"a": "b"}}),
            container,
            "Always",
        );
        let error = Pod { env: &["A".to_owned()], ..plain() }.object().unwrap_err();
        assert_eq!(error.to_string(), "invalid env: A");
    }
}
