//! Which pods of a node go, which stay, and which forbid that it is drained.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    document::{entries, items, text},
    workload,
};

/// What the options say of the pods that need a word.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    /// Of those of DaemonSets.
    pub(super) daemon_sets: Verdict,
    /// Of those with data that is lost.
    pub(super) local_data: Verdict,
    /// Of those that nothing would replace.
    pub(super) unmanaged: Verdict,
    /// Pods that were told to stop so long ago are not waited for; 0 waits for all.
    pub(super) skip_leaving_seconds: u32,
}

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes.
    Go,
    /// It stays.
    Skip,
    /// The node is not drained.
    Refuse,
}

/// The pods of a node, judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Chosen {
    /// Those that go.
    pub(super) pods: Vec<Value>,
    /// What a person should know.
    pub(super) warnings: Vec<String>,
    /// Why the node cannot be drained.
    pub(super) refusals: Vec<String>,
}

/// A word about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remark {
    DaemonSet,
    LocalData,
    Unmanaged,
}

impl Filter {
    /// Judges all pods; `orphans` are the DaemonSets, as NAMESPACE/NAME, that are gone.
    pub(super) fn choose(&self, pods: &[Value], orphans: &[String], now: Timestamp) -> Chosen {
        let mut chosen = Chosen::default();
        let mut told: Vec<(Remark, Verdict, Vec<String>)> = Vec::new();
        for pod in pods.iter().filter(|pod| !is_mirror(pod) && !self.is_leaving(pod, now)) {
            let judged = self.judge(pod, orphans);
            for (remark, verdict) in &judged {
                let name =
                    format!("{}/{}", text(pod, &["metadata", "namespace"]), text(pod, &["metadata", "name"]));
                match told.iter_mut().find(|(known, ..)| known == remark) {
                    Some((.., names)) => names.push(name),
                    None => told.push((*remark, *verdict, vec![name])),
                }
            }
            if judged.iter().all(|(_, verdict)| *verdict == Verdict::Go) {
                chosen.pods.push(pod.clone());
            }
        }
        told.sort_by_key(|(remark, ..)| *remark);
        for (remark, verdict, names) in told {
            let names = names.join(", ");
            match verdict {
                Verdict::Refuse => {
                    chosen.refusals.push(format!("cannot delete {}: {names}", remark.refusal()))
                }
                Verdict::Go | Verdict::Skip => chosen.warnings.push(format!("{}: {names}", remark.warning())),
            }
        }
        chosen
    }

    /// What there is to say of one pod. One that stays anyhow needs no other word.
    fn judge(&self, pod: &Value, orphans: &[String]) -> Vec<(Remark, Verdict)> {
        if matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed") {
            return Vec::new();
        }
        let mut judged = Vec::new();
        let of_daemon_set = daemon_set(pod);
        let is_orphan =
            of_daemon_set.is_some_and(|(namespace, name)| orphans.contains(&format!("{namespace}/{name}")));
        if of_daemon_set.is_some() && !is_orphan {
            return vec![(Remark::DaemonSet, self.daemon_sets)];
        }
        if items(pod, &["spec", "volumes"]).iter().any(|volume| volume["emptyDir"].is_object()) {
            judged.push((Remark::LocalData, self.local_data));
        }
        if workload::controller(pod).is_none() || is_orphan {
            judged.push((Remark::Unmanaged, self.unmanaged));
        }
        judged
    }

    fn is_leaving(&self, pod: &Value, now: Timestamp) -> bool {
        let since = text(pod, &["metadata", "deletionTimestamp"]).parse::<Timestamp>();
        since.is_ok_and(|since| {
            let skip = i64::from(self.skip_leaving_seconds);
            skip > 0 && now.duration_since(since).as_secs() > skip
        })
    }
}

impl Remark {
    const fn refusal(self) -> &'static str {
        match self {
            Self::DaemonSet => "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)",
            Self::LocalData => "Pods with local storage (use --delete-emptydir-data to override)",
            Self::Unmanaged => "Pods that declare no controller (use --force to override)",
        }
    }

    const fn warning(self) -> &'static str {
        match self {
            Self::DaemonSet => "ignoring DaemonSet-managed Pods",
            Self::LocalData => "deleting Pods with local storage",
            Self::Unmanaged => "deleting Pods that declare no controller",
        }
    }
}

/// Namespace and name of the DaemonSet that a pod is of.
pub(super) fn daemon_set(pod: &Value) -> Option<(&str, &str)> {
    let controller = workload::controller(pod).filter(|owner| text(owner, &["kind"]) == "DaemonSet")?;
    Some((text(pod, &["metadata", "namespace"]), text(controller, &["name"])))
}

/// Whether a pod only shows what its node runs by itself.
fn is_mirror(pod: &Value) -> bool {
    entries(pod, &["metadata", "annotations"]).any(|(key, _)| key == "kubernetes.io/config.mirror")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Chosen, Filter, Verdict};

    const STRICT: Filter = Filter {
        daemon_sets: Verdict::Refuse,
        local_data: Verdict::Refuse,
        unmanaged: Verdict::Refuse,
        skip_leaving_seconds: 0,
    };

    fn pod(name: &str, owner: &str, mut rest: Value) -> Value {
        rest["metadata"]["name"] = name.into();
        rest["metadata"]["namespace"] = "n".into();
        if !owner.is_empty() {
            rest["metadata"]["ownerReferences"] = json!([{"kind": owner, "name": "o", "controller": true}]);
        }
        rest
    }

    fn names(chosen: &Chosen) -> Vec<&str> {
        chosen.pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap()).collect()
    }

    fn all() -> Vec<Value> {
        vec![
            pod("web", "ReplicaSet", json!({})),
            pod("agent", "DaemonSet", json!({})),
            pod("data", "ReplicaSet", json!({"spec": {"volumes": [{"emptyDir": {}}]}})),
            pod("alone", "", json!({})),
            pod("over", "", json!({"status": {"phase": "Succeeded"}})),
            pod("mirror", "Node", json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
        ]
    }

    #[test]
    fn what_needs_a_word_is_refused_without_it() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let expected = [
            "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore): n/agent",
            "cannot delete Pods with local storage (use --delete-emptydir-data to override): n/data",
            "cannot delete Pods that declare no controller (use --force to override): n/alone",
        ];
        assert_eq!(STRICT.choose(&all(), &[], now).refusals, expected);
        let lenient =
            Filter { daemon_sets: Verdict::Skip, local_data: Verdict::Go, unmanaged: Verdict::Go, ..STRICT };
        let chosen = lenient.choose(&all(), &[], now);
        assert_eq!(names(&chosen), ["web", "data", "alone", "over"]);
        let expected = [
            "ignoring DaemonSet-managed Pods: n/agent",
            "deleting Pods with local storage: n/data",
            "deleting Pods that declare no controller: n/alone",
        ];
        assert_eq!(
            (chosen.warnings.as_slice(), chosen.refusals.len()),
            (&expected.map(str::to_owned)[..], 0)
        );
        // A DaemonSet that is gone brings no pod back.
        let chosen = lenient.choose(&all(), &["n/o".to_owned()], now);
        assert_eq!(names(&chosen), ["web", "agent", "data", "alone", "over"]);
    }

    #[test]
    fn pods_that_never_go_may_be_passed_over() {
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let leaving =
            [pod("p", "ReplicaSet", json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}))];
        assert_eq!(names(&STRICT.choose(&leaving, &[], now)), ["p"]);
        let filter = Filter { skip_leaving_seconds: 30, ..STRICT };
        assert!(filter.choose(&leaving, &[], now).pods.is_empty());
    }
}
