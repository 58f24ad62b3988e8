//! Deployments, Jobs and CronJobs of one image or several.

use serde_json::{Value, json};

use crate::{document::text, failure::UsageError};

/// What a Deployment is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deployment<'a> {
    /// Its name, and the value of its pods' label `app`.
    pub(crate) name: &'a str,
    /// A container each.
    pub(crate) images: &'a [String],
    /// How many pods.
    pub(crate) replicas: u32,
    /// Port of the first container.
    pub(crate) port: Option<u16>,
    /// Command of the only container; empty for the image's own.
    pub(crate) command: &'a [String],
}

impl Deployment<'_> {
    /// The object.
    ///
    /// # Errors
    /// [`UsageError`] for a command that no container can be told to be meant by.
    pub(crate) fn object(&self) -> Result<Value, UsageError> {
        if self.images.len() > 1 && !self.command.is_empty() {
            return Err(UsageError("cannot specify multiple --image options and command".to_owned()));
        }
        let mut containers: Vec<Value> =
            self.images.iter().map(|image| container(&container_name(image), image, self.command)).collect();
        if let (Some(port), Some(first)) = (self.port, containers.first_mut()) {
            first["ports"] = json!([{"containerPort": port}]);
        }
        let labels = json!({"app": self.name});
        Ok(json!({
            "metadata": {"name": self.name, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}},
            },
        }))
    }
}

/// A Job of one image.
pub(crate) fn job(name: &str, image: &str, command: &[String]) -> Value {
    let spec = json!({"containers": [container(name, image, command)], "restartPolicy": "Never"});
    json!({"metadata": {"name": name}, "spec": {"template": {"spec": spec}}})
}

/// A Job as a CronJob would make it, now and by hand.
pub(crate) fn job_of(name: &str, cron_job: &Value) -> Value {
    let template = &cron_job["spec"]["jobTemplate"];
    let mut metadata = json!({"name": name, "annotations": {"cronjob.kubernetes.io/instantiate": "manual"}});
    for (key, value) in crate::document::entries(template, &["metadata", "annotations"]) {
        metadata["annotations"][key] = value.clone();
    }
    if template["metadata"]["labels"].is_object() {
        metadata["labels"] = template["metadata"]["labels"].clone();
    }
    metadata["ownerReferences"] = json!([{
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": text(cron_job, &["metadata", "name"]),
        "uid": text(cron_job, &["metadata", "uid"]),
        "controller": true,
    }]);
    json!({"metadata": metadata, "spec": template["spec"]})
}

/// A CronJob of one image.
pub(crate) fn cron_job(name: &str, image: &str, schedule: &str, restart: &str, command: &[String]) -> Value {
    let spec = json!({"containers": [container(name, image, command)], "restartPolicy": restart});
    let job = json!({"metadata": {"name": name}, "spec": {"template": {"spec": spec}}});
    json!({"metadata": {"name": name}, "spec": {"schedule": schedule, "jobTemplate": job}})
}

fn container(name: &str, image: &str, command: &[String]) -> Value {
    let mut container = json!({"name": name, "image": image});
    if !command.is_empty() {
        container["command"] = command.into();
    }
    container
}

/// What a container of an image is called: the last word of the image's name, without tag and digest, fit to be a name.
fn container_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    let end = last.find([':', '@']).unwrap_or(last.len());
    let fit = |character: char| {
        if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '-' }
    };
    last[..end].chars().map(fit).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Deployment, container_name, cron_job, job, job_of};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    // What kubectl 1.36 makes of the same options, without the empty objects that stand for defaults.
    #[test]
    fn deployments() {
        let labels = json!({"app": "web"});
        let expected = |replicas: u32, containers: Value| {
            json!({"metadata": {"name": "web", "labels": labels}, "spec": {"replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": containers}}}})
        };
        let images = words("a/b:1 reg.io/c@sha256:00");
        let two = Deployment { name: "web", images: &images, replicas: 3, ..Deployment::default() };
        let containers =
            json!([{"name": "b", "image": "a/b:1"}, {"name": "c", "image": "reg.io/c@sha256:00"}]);
        assert_eq!(two.object().unwrap(), expected(3, containers));
        let command = ["sh".to_owned(), "-c".to_owned(), "a b".to_owned()];
        let one =
            Deployment { images: &words("x"), replicas: 0, port: Some(80), command: &command, ..two.clone() };
        let containers = json!([{"name": "x", "image": "x", "command": ["sh", "-c", "a b"], "ports": [{"containerPort": 80}]}]);
        assert_eq!(one.object().unwrap(), expected(0, containers));
        let error = Deployment { command: &command, ..two }.object().unwrap_err();
        assert_eq!(error.to_string(), "cannot specify multiple --image options and command");
    }

    #[test]
    fn jobs() {
        let spec = json!({"containers": [{"name": "j", "image": "busybox", "command": ["date", "now"]}], "restartPolicy": "Never"});
        let expected = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": spec}}});
        assert_eq!(job("j", "busybox", &words("date now")), expected);
        let made = cron_job("c", "busybox", "*/1 * * * *", "OnFailure", &[]);
        assert_eq!(made["spec"]["schedule"], "*/1 * * * *");
        assert_eq!(made["spec"]["jobTemplate"]["metadata"], json!({"name": "c"}));
        assert_eq!(made["spec"]["jobTemplate"]["spec"]["template"]["spec"]["restartPolicy"], "OnFailure");
    }

    #[test]
    fn a_job_by_hand_is_the_cron_jobs() {
        let cron = json!({"metadata": {"name": "c", "uid": "u"}, "spec": {"jobTemplate": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"x": "y"}}, "spec": {"parallelism": 2}}}});
        let expected = json!({
            "metadata": {
                "name": "j", "labels": {"a": "b"},
                "annotations": {"cronjob.kubernetes.io/instantiate": "manual", "x": "y"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": "u", "controller": true}],
            },
            "spec": {"parallelism": 2},
        });
        assert_eq!(job_of("j", &cron), expected);
    }

    #[test]
    fn containers_are_named_after_images() {
        let check = |image, name| assert_eq!(container_name(image), name);
        check("dunlin.local/http-hello:1.2", "http-hello");
        check("localhost:5000/a/X_y.z@sha256:00", "x-y-z");
        check("nginx", "nginx");
    }
}
