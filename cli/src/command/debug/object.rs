//! What `debug` makes: a container, the copy of a pod, or a pod for a node.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};

use super::{Args, profile::Style};
use crate::{
    builder::pod::variable,
    document::{items, text},
    failure::UsageError,
};

impl Args {
    /// The container that is added to a pod.
    ///
    /// # Errors
    /// For a variable that is none.
    pub(super) fn ephemeral(&self, name: &str) -> Result<Value, UsageError> {
        let mut container = json!({"name": name});
        self.fill(&mut container)?;
        if let Some(target) = &self.target {
            container["targetContainerName"] = target.as_str().into();
        }
        self.profile.apply(&mut container, Style::Ephemeral);
        Ok(container)
    }

    /// The pod that looks at a node.
    ///
    /// # Errors
    /// For a variable that is none.
    pub(super) fn on_node(&self, node: &str, (pod, container): (&str, &str)) -> Result<Value, UsageError> {
        let mut only = json!({"name": container});
        self.fill(&mut only)?;
        self.profile.apply(&mut only, Style::Node);
        let mut spec = json!({
            "nodeName": node,
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "containers": [only],
        });
        self.profile.open_node(&mut spec);
        let labels = json!({"app.kubernetes.io/managed-by": "kubectl-debug"});
        Ok(json!({"metadata": {"name": pod, "labels": labels}, "spec": spec}))
    }

    /// A copy of a pod, in which this container is changed, or added; without one only images are others.
    ///
    /// # Errors
    /// When a container is to be made of no image.
    pub(super) fn copy(&self, pod: &Value, (copy, container): (&str, Option<&str>)) -> Result<Value> {
        let mut spec = pod["spec"].clone();
        let Some(fields) = spec.as_object_mut() else { return Err(anyhow!("the pod says nothing")) };
        fields.remove("ephemeralContainers");
        if !self.same_node {
            fields.remove("nodeName");
        }
        if !self.keep_init_containers {
            fields.remove("initContainers");
        }
        if self.share_processes.is_some() || !fields.contains_key("shareProcessNamespace") {
            fields.insert("shareProcessNamespace".to_owned(), self.share_processes.unwrap_or(true).into());
        }
        let images = self.set_images()?;
        let mut containers = items(&spec, &["containers"]).to_vec();
        for one in &mut containers {
            let name = text(one, &["name"]).to_owned();
            let found = images
                .iter()
                .find(|(of, _)| *of == name)
                .or_else(|| images.iter().find(|(of, _)| *of == "*"));
            if let Some((_, image)) = found {
                one["image"] = (*image).into();
            }
        }
        if let Some(name) = container {
            self.change(&mut containers, name)?;
        }
        containers.iter_mut().for_each(|one| self.drop_probes(one));
        spec["containers"] = containers.into();
        let mut metadata = json!({"name": copy});
        for (field, is_kept) in [("labels", self.keep_labels), ("annotations", self.keep_annotations)] {
            if is_kept && pod["metadata"][field].is_object() {
                metadata[field] = pod["metadata"][field].clone();
            }
        }
        Ok(json!({"metadata": metadata, "spec": spec}))
    }

    fn change(&self, containers: &mut Vec<Value>, name: &str) -> Result<()> {
        let is_there = containers.iter().any(|one| text(one, &["name"]) == name);
        if !is_there {
            if self.image.is_none() {
                return Err(
                    UsageError("you must specify image when creating new container".to_owned()).into()
                );
            }
            containers.push(json!({"name": name}));
        }
        for one in containers.iter_mut().filter(|one| text(one, &["name"]) == name) {
            if !self.words.is_empty()
                && !self.arguments_only
                && let Some(one) = one.as_object_mut()
            {
                one.remove("args");
            }
            self.fill(one)?;
            self.profile.apply(one, Style::Copy);
        }
        Ok(())
    }

    fn drop_probes(&self, container: &mut Value) {
        let probes = [
            ("livenessProbe", self.keep_liveness),
            ("readinessProbe", self.keep_readiness),
            ("startupProbe", self.keep_startup),
        ];
        if let Some(container) = container.as_object_mut() {
            probes
                .iter()
                .filter(|(_, is_kept)| !is_kept)
                .for_each(|(probe, _)| drop(container.remove(*probe)));
        }
    }

    /// Puts into a container what the options say of it.
    fn fill(&self, container: &mut Value) -> Result<(), UsageError> {
        for (field, said) in [("image", &self.image), ("imagePullPolicy", &self.image_pull_policy)] {
            if let Some(said) = said {
                container[field] = said.as_str().into();
            }
        }
        if !self.words.is_empty() {
            let field = if self.arguments_only { "args" } else { "command" };
            container[field] = self.words.clone().into();
        }
        let variables =
            self.env.iter().map(|word| variable(word)).collect::<Result<Vec<Value>, UsageError>>()?;
        if !variables.is_empty() {
            container["env"] = variables.into();
        }
        container["stdin"] = self.stdin.into();
        container["tty"] = self.tty.into();
        Ok(())
    }

    /// Names of containers, or `*`, with their images.
    fn set_images(&self) -> Result<Vec<(&str, &str)>, UsageError> {
        let words = self.set_image.iter().flat_map(|list| list.split(','));
        let pairs = words.map(|word| match word.split_once('=') {
            Some((name, image)) if !name.is_empty() && !image.is_empty() => Ok((name, image)),
            _ => Err(UsageError(format!("\"{word}\" is not of the form CONTAINER=IMAGE"))),
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Line::parse_from([&["debug"], words].concat()).args
    }

    #[test]
    fn a_container_is_what_the_options_say() {
        let args = args(&["box", "-it", "--image", "busybox", "--target", "app", "--env", "A=b", "--", "sh"]);
        let expected = json!({
            "name": "d", "image": "busybox", "command": ["sh"], "stdin": true, "tty": true,
            "targetContainerName": "app", "env": [{"name": "A", "value": "b"}],
            "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
        });
        assert_eq!(args.ephemeral("d").unwrap(), expected);
        let quiet = self::args(&["box", "--image", "x", "--arguments-only", "--", "a", "b"]);
        assert_eq!(quiet.ephemeral("d").unwrap()["args"], json!(["a", "b"]));
    }

    #[test]
    fn a_copy_is_the_pod_but_for_what_is_changed() {
        let pod = json!({
            "metadata": {"name": "p", "labels": {"a": "b"}, "uid": "u"},
            "spec": {
                "nodeName": "n", "ephemeralContainers": [{"name": "e"}], "initContainers": [{"name": "i"}],
                "containers": [
                    {"name": "a", "image": "x", "args": ["y"], "livenessProbe": {}, "readinessProbe": {}},
                    {"name": "b", "image": "x"},
                ],
            },
        });
        let copy = |words: &[&str], container| {
            let line = [&["p", "--copy-to", "c"], words].concat();
            args(&line).copy(&pod, ("c", container))
        };
        let made = copy(&["--image", "d", "--keep-readiness"], Some("new")).unwrap();
        assert_eq!(made["metadata"], json!({"name": "c"}));
        let spec = &made["spec"];
        assert_eq!((&spec["nodeName"], &spec["ephemeralContainers"]), (&Value::Null, &Value::Null));
        assert_eq!(spec["shareProcessNamespace"], true);
        assert_eq!(
            spec["containers"][0],
            json!({"name": "a", "image": "x", "args": ["y"], "readinessProbe": {}})
        );
        assert_eq!(
            (&spec["containers"][2]["name"], &spec["containers"][2]["image"]),
            (&json!("new"), &json!("d"))
        );
        let other = copy(&["--set-image", "*=all,b=own", "--keep-labels", "--same-node"], None).unwrap();
        let image = |index: usize| other["spec"]["containers"][index]["image"].clone();
        assert_eq!((image(0), image(1)), (json!("all"), json!("own")));
        assert_eq!(
            (&other["metadata"]["labels"]["a"], &other["spec"]["nodeName"]),
            (&json!("b"), &json!("n"))
        );
        let command = copy(&["-c", "a", "--share-processes=false", "--", "sh"], Some("a")).unwrap();
        let changed = &command["spec"]["containers"][0];
        assert_eq!((&changed["command"], &changed["args"]), (&json!(["sh"]), &Value::Null));
        assert_eq!(command["spec"]["shareProcessNamespace"], false);
        assert!(copy(&["-c", "none", "--", "sh"], Some("none")).is_err());
    }
}
