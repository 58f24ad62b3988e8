//! What each metric of an autoscaler recommends; the highest recommendation counts.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use dunlin_api::{LabelSelector, Quantity};
use k8s_openapi::api::autoscaling::v2::{MetricSpec, MetricTarget};
use serde_json::{Value, json};

use super::{
    PodUse, Scale,
    status::{Holds, Report},
    usage::{Calculation, Found, Goal, Measure, Sample},
};
use crate::view::{PodInfo, View, autoscaler::milli};

/// What metrics recommend together.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) replicas: i64,
    /// The metric that asked for so many.
    pub(super) metric: String,
}

/// The pods of a target, and what they use.
#[derive(Debug)]
pub(super) struct Pods<'a> {
    pods: Result<Vec<(&'a str, &'a PodInfo)>, Selecting>,
    used: Result<HashMap<Arc<str>, PodUse>, String>,
}

/// Why the pods of a target are not known.
#[derive(Debug)]
enum Selecting {
    /// It names none.
    Missing,
    /// It cannot be read.
    Invalid(String),
}

impl<'a> Pods<'a> {
    pub(super) fn new(
        view: &'a View,
        namespace: &Arc<str>,
        scale: &Scale,
        used: Result<HashMap<Arc<str>, PodUse>, String>,
    ) -> Self {
        let pods = if scale.selector.is_empty() {
            Err(Selecting::Missing)
        } else {
            let selector = LabelSelector::parse(&scale.selector);
            selector.map_err(|error| Selecting::Invalid(error.to_string())).map(|selector| {
                let all = view
                    .pods_of(namespace)
                    .filter(|(_, pod)| selector.matches_labels(&pod.affiliation.labels));
                all.map(|(key, pod)| (&*key.name, &**pod)).collect()
            })
        };
        Self { pods, used }
    }
}

/// Asks every metric. One that cannot tell keeps a target from becoming smaller, and not from becoming larger.
pub(super) fn propose(report: &mut Report<'_>, pods: &Pods<'_>, current: i64) -> Result<Proposal, String> {
    let known = match &pods.pods {
        Ok(known) => known,
        Err(Selecting::Missing) => {
            report.tell("SelectorRequired", "selector is required".to_owned());
            let message = "the HPA target's scale is missing a selector".to_owned();
            report.active(Holds::No, "InvalidSelector", message);
            return Err("selector is required".to_owned());
        }
        Err(Selecting::Invalid(why)) => {
            let message =
                format!("couldn't convert selector into a corresponding internal selector object: {why}");
            report.tell("InvalidSelector", message.clone());
            report.active(Holds::No, "InvalidSelector", message.clone());
            return Err(message);
        }
    };
    let metrics: Vec<MetricSpec> = report.autoscaler.spec.metrics.clone().unwrap_or_default();
    let mut best: Option<Proposal> = None;
    let mut failed: Vec<(&'static str, String)> = Vec::new();
    let mut statuses = Vec::new();
    for metric in &metrics {
        match one(report, metric, known, pods, current) {
            Ok((proposal, status)) => {
                statuses.push(status);
                if best.as_ref().is_none_or(|best| proposal.replicas > best.replicas) {
                    best = Some(proposal);
                }
            }
            Err((reason, why)) => {
                // What cannot be told of is in the list all the same, as in Kubernetes.
                statuses.push(json!({ "type": "" }));
                report.tell(reason, why.clone());
                failed.push((reason, why));
            }
        }
    }
    report.status.current_metrics = if statuses.is_empty() { Value::Null } else { statuses.into() };
    let first = failed.first();
    let shrinks = |best: &Proposal| first.is_some() && best.replicas < current;
    match (best.filter(|best| !shrinks(best)), first) {
        (Some(best), _) => {
            let message =
                format!("the HPA was able to successfully calculate a replica count from {}", best.metric);
            report.active(Holds::Yes, "ValidMetricFound", message);
            Ok(best)
        }
        (None, first) => {
            let (reason, why) = first.cloned().unwrap_or(("InvalidMetricSourceType", String::new()));
            report.active(
                Holds::No,
                reason,
                format!("the HPA was unable to compute the replica count: {why}"),
            );
            let count = failed.len();
            Err(format!("invalid metrics ({count} invalid out of {}), first error is: {why}", metrics.len()))
        }
    }
}

type Unknown = (&'static str, String);

fn one(
    report: &Report<'_>,
    metric: &MetricSpec,
    known: &[(&str, &PodInfo)],
    pods: &Pods<'_>,
    current: i64,
) -> Result<(Proposal, Value), Unknown> {
    let look = Look { report, known, pods, current };
    if let Some(source) = metric.resource.as_ref().filter(|_| metric.type_ == "Resource") {
        let (found, goal) = look.at(&source.name, None, &source.target).map_err(|why| (RESOURCE, why))?;
        let kind = if matches!(goal, Goal::Utilization(_)) {
            "resource utilization (percentage of request)"
        } else {
            "resource"
        };
        let name = format!("{} {kind}", source.name);
        let status = json!({ "type": "Resource", "resource": { "name": source.name, "current": current_of(found, goal) } });
        return Ok((Proposal { replicas: found.replicas, metric: name }, status));
    }
    if let Some(source) = metric.container_resource.as_ref().filter(|_| metric.type_ == "ContainerResource") {
        let container = Some(source.container.as_str());
        let (found, goal) =
            look.at(&source.name, container, &source.target).map_err(|why| (CONTAINER, why))?;
        let kind = if matches!(goal, Goal::Utilization(_)) {
            "container resource utilization (percentage of request)"
        } else {
            "container resource"
        };
        let name = format!("{} {kind}", source.name);
        let status = json!({ "type": "ContainerResource", "containerResource": {
            "name": source.name, "container": source.container, "current": current_of(found, goal),
        } });
        return Ok((Proposal { replicas: found.replicas, metric: name }, status));
    }
    Err(elsewhere(report, metric))
}

/// Metrics that other APIs would serve, which nobody does here.
fn elsewhere(report: &Report<'_>, metric: &MetricSpec) -> Unknown {
    let custom = "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered";
    if let Some(source) = &metric.pods {
        return ("FailedGetPodsMetric", format!("unable to get metric {}: {custom}", source.metric.name));
    }
    if let Some(source) = &metric.object {
        let (name, object) = (&source.metric.name, &source.described_object);
        let namespace = report.namespace();
        let why =
            format!("unable to get metric {name}: {} on {namespace} {}/{custom}", object.kind, object.name);
        return ("FailedGetObjectMetric", why);
    }
    if let Some(source) = &metric.external {
        let (name, namespace) = (&source.metric.name, report.namespace());
        let selector =
            source.metric.selector.as_ref().and_then(|selector| serde_json::to_string(selector).ok());
        let selector = selector.unwrap_or_else(|| "nil".to_owned());
        let why = format!(
            "unable to get external metric {namespace}/{name}/{selector}: unable to fetch metrics from external metrics API: \
             the server could not find the requested resource (get {name}.external.metrics.k8s.io)"
        );
        return ("FailedGetExternalMetric", why);
    }
    let why = format!("unknown metric source type {:?}", metric.type_);
    ("InvalidMetricSourceType", why)
}

struct Look<'a> {
    report: &'a Report<'a>,
    known: &'a [(&'a str, &'a PodInfo)],
    pods: &'a Pods<'a>,
    current: i64,
}

impl Look<'_> {
    /// Looks at a resource of pods, or of one container of each.
    fn at(
        &self,
        name: &str,
        container: Option<&str>,
        target: &MetricTarget,
    ) -> Result<(Found, Goal), String> {
        let goal = match (target.average_utilization, target.average_value.as_ref().and_then(milli)) {
            (_, Some(each)) => Goal::Each(each),
            (Some(percent), None) => Goal::Utilization(percent.into()),
            (None, None) => {
                return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".to_owned());
            }
        };
        let noun = if matches!(goal, Goal::Each(_)) { "usage" } else { "utilization" };
        let found = self.calculate(name, container, goal);
        found.map(|found| (found, goal)).map_err(|why| format!("failed to get {name} {noun}: {why}"))
    }

    fn calculate(&self, name: &str, container: Option<&str>, goal: Goal) -> Result<Found, String> {
        let unable = |why: &str| format!("unable to get metrics for resource {name}: {why}");
        let measure = match name {
            "cpu" => Measure::Cpu,
            "memory" => Measure::Memory,
            _ => return Err(unable("no metrics returned from resource metrics API")),
        };
        let used = self.pods.used.as_ref();
        let used =
            used.map_err(|why| unable(&format!("unable to fetch metrics from resource metrics API: {why}")))?;
        if used.is_empty() {
            return Err(unable("no metrics returned from resource metrics API"));
        }
        let samples = used.iter().filter_map(|(pod, used)| Some((&**pod, sample(used, measure, container)?)));
        let samples: BTreeMap<&str, Sample> = samples.collect();
        let requests = match goal {
            Goal::Each(_) => BTreeMap::new(),
            Goal::Utilization(_) => {
                let one = |(pod, info): &(&'_ str, &PodInfo)| requested(pod, info, measure, container);
                let all: Result<Vec<i64>, String> = self.known.iter().map(one).collect();
                self.known.iter().map(|(pod, _)| *pod).zip(all?).collect()
            }
        };
        let calculation = Calculation {
            measure,
            goal,
            current: self.current,
            tolerances: self.report.autoscaler.tolerances(),
            pods: self.known,
            requests,
            now: self.report.now,
        };
        calculation.run(samples)
    }
}

fn sample(used: &PodUse, measure: Measure, container: Option<&str>) -> Option<Sample> {
    let counted: Vec<_> =
        used.containers.iter().filter(|one| container.is_none_or(|name| one.name == name)).collect();
    if counted.is_empty() {
        return None;
    }
    let milli = counted.iter().map(|one| match measure {
        Measure::Cpu => one.cpu_milli,
        Measure::Memory => one.memory.saturating_mul(1000),
    });
    Some(Sample { milli: milli.fold(0, i64::saturating_add), at: used.at, window: used.window })
}

/// What a pod requests, in thousandths: each of its containers has to say.
fn requested(name: &str, pod: &PodInfo, measure: Measure, container: Option<&str>) -> Result<i64, String> {
    let (word, of_pod) = match measure {
        Measure::Cpu => ("cpu", pod.template.requested.cpu_milli),
        Measure::Memory => ("memory", pod.template.requested.memory),
    };
    let milli = |amount: u64| match measure {
        Measure::Cpu => i64::try_from(amount).unwrap_or(i64::MAX),
        Measure::Memory => i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(1000),
    };
    if let (None, Some(amount)) = (container, of_pod) {
        return Ok(milli(amount));
    }
    let mut sum: i64 = 0;
    let mut is_there = container.is_none();
    for one in &pod.template.requested.containers {
        if container.is_some_and(|wanted| wanted != one.name) {
            continue;
        }
        is_there = true;
        let amount = if measure == Measure::Cpu { one.cpu_milli } else { one.memory };
        let amount = amount
            .ok_or_else(|| format!("missing request for {word} in container {} of Pod {name}", one.name))?;
        sum = sum.saturating_add(milli(amount));
    }
    if is_there {
        Ok(sum)
    } else {
        Err(format!("container {} not found in Pod {name}", container.unwrap_or_default()))
    }
}

fn current_of(found: Found, goal: Goal) -> Value {
    let average = Quantity::from_milli(found.average).to_string();
    match goal {
        Goal::Utilization(_) => json!({ "averageUtilization": found.utilization, "averageValue": average }),
        Goal::Each(_) => json!({ "averageValue": average }),
    }
}

const RESOURCE: &str = "FailedGetResourceMetric";
const CONTAINER: &str = "FailedGetContainerResourceMetric";
