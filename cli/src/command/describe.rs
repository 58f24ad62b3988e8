//! `describe`: all about an object in words, laid out as kubectl does, its events last. A file per kind that has much to tell.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    age, api,
    document::{at, entries, items, plain, text},
    failure::{Failures, UsageError},
    links::Links,
    resource::{self, Kind},
    session::Session,
    tabs::{self, Layout},
    terminal,
};

use super::{events, explain_schedule, get::SelectArgs};

mod access;
mod autoscaler;
mod container;
mod job;
mod node;
mod objects;
mod pod;
mod policy;
mod quota;
mod service;
mod template;
mod volume;
mod workload;

/// Options of `describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin describe pod hello
  dunlin describe node node-1
  dunlin describe deployment web
  dunlin describe pods -l app=web
  dunlin describe configmap/settings")]
pub(crate) struct Args {
    /// TYPE [NAME..], or TYPE/NAME..
    #[arg(value_name = "RESOURCE", value_parser = resource::TypeWords, hide_possible_values = true)]
    resources: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
    /// Show events too.
    #[arg(long, num_args = 0..=1, default_value_t = true, default_missing_value = "true",
          action = clap::ArgAction::Set, require_equals = true)]
    show_events: bool,
}

/// Describes every object named; one that is missing does not hide the others.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let mut failures = Failures::default();
    let mut printed = 0;
    for selection in resource::resolve(&args.resources, &session.api).await? {
        let mut objects = Vec::new();
        if selection.names.is_empty() {
            let path = api::collection(selection.kind, args.select.namespace(&session));
            let list = session.api.list(&path, &args.select.query()).await?;
            objects.extend(items(&list, &["items"]).iter().cloned());
        } else if args.select.selects() {
            return Err(UsageError("names and selectors cannot be combined".to_owned()).into());
        }
        for name in &selection.names {
            let path = api::object(selection.kind, &session.namespace, name);
            objects.extend(failures.note(session.api.get(&path, &[]).await)?);
        }
        for object in &objects {
            let facts = Facts::gather(&args, selection.kind, object, &session).await;
            let Some(mut facts) = failures.note(facts)? else { continue };
            if selection.kind.kind == "Pod" && pod::waits_for_node(object) {
                let decision = if printed < EXPLAINED_MAX { decision(object, &session).await } else { None };
                facts.scheduling = Scheduling::Waits(decision);
            }
            let separator = if printed > 0 { "\n\n" } else { "" };
            printed += 1;
            terminal::print(&format!("{separator}{}", describe(selection.kind, object, &facts)))?;
        }
    }
    if printed == 0 && failures.is_empty() {
        terminal::remark("No resources found");
    }
    failures.into_result()
}

/// What beside the object itself goes into its description.
#[derive(Debug, Default)]
struct Facts {
    now: Timestamp,
    /// `None` when they are not wanted.
    events: Option<Vec<Value>>,
    /// Of a pod: where its ports can be reached on its node's machine.
    endpoints: Vec<Value>,
    scheduling: Scheduling,
    /// Of a node: pods that have not ended. Of a workload: those that its selector selects.
    pods: Vec<Value>,
    /// Of a Deployment: ReplicaSets that its selector selects. Of a Service: its EndpointSlices. Of a namespace: its LimitRanges.
    related: Vec<Value>,
    /// Of a namespace: its quotas.
    quotas: Vec<Value>,
    /// Of a node: how it is connected.
    link: Option<Value>,
}

/// Whether a pod waits for a node.
#[derive(Debug, Default)]
enum Scheduling {
    /// It has one, or has no need of one.
    #[default]
    Over,
    /// It does; what the scheduler says of each node, if it was asked and said something.
    Waits(Option<Value>),
}

impl Facts {
    async fn gather(args: &Args, kind: &Kind, object: &Value, session: &Session) -> Result<Self> {
        let mut facts = Self { now: Timestamp::now(), ..Self::default() };
        let (namespace, name) =
            (text(object, &["metadata", "namespace"]), text(object, &["metadata", "name"]));
        if args.show_events && kind.kind != "Event" {
            facts.events = Some(events_of(object, kind, session).await?);
        }
        match kind.kind {
            "Pod" => {
                let path = format!("/dunlin/v1/namespaces/{namespace}/pods/{name}/endpoints");
                // A pod that runs nowhere yet has none, and a coordinator without them still describes the pod.
                let answer = session.api.get(&path, &[]).await.unwrap_or_default();
                facts.endpoints = items(&answer, &["endpoints"]).to_vec();
            }
            "Node" => {
                let selector = format!("spec.nodeName={name},status.phase!=Succeeded,status.phase!=Failed");
                let path = api::collection(resource::find("pods")?, None);
                let list = session.api.list(&path, &[("fieldSelector", &selector)]).await?;
                facts.pods = items(&list, &["items"]).to_vec();
                facts.link = Links::fetch(session).await.link(name).cloned();
            }
            "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet" => {
                facts.pods = selected("pods", object, session).await?;
                if kind.kind == "Deployment" {
                    facts.related = selected("replicasets", object, session).await?;
                }
            }
            "Service" => {
                let selector = format!("kubernetes.io/service-name={name}");
                let path = api::collection(resource::find("endpointslices")?, Some(namespace));
                let list = session.api.list(&path, &[("labelSelector", &selector)]).await?;
                facts.related = items(&list, &["items"]).to_vec();
            }
            "Namespace" => {
                facts.quotas = all("resourcequotas", name, session).await?;
                facts.related = all("limitranges", name, session).await?;
            }
            _ => {}
        }
        Ok(facts)
    }
}

/// What the scheduler says of a pod. Whoever may not list nodes is not told.
async fn decision(pod: &Value, session: &Session) -> Option<Value> {
    let (namespace, name) = (text(pod, &["metadata", "namespace"]), text(pod, &["metadata", "name"]));
    session.api.get(&explain_schedule::path(namespace, name), &[]).await.ok()
}

/// All objects of a type in a namespace.
async fn all(plural: &str, namespace: &str, session: &Session) -> Result<Vec<Value>> {
    let list = session.api.list(&api::collection(resource::find(plural)?, Some(namespace)), &[]).await?;
    Ok(items(&list, &["items"]).to_vec())
}

/// Objects of a type that the selector of a workload selects.
async fn selected(plural: &str, workload: &Value, session: &Session) -> Result<Vec<Value>> {
    let selector = crate::workload::pod_selector(workload);
    let namespace = text(workload, &["metadata", "namespace"]);
    let path = api::collection(resource::find(plural)?, Some(namespace));
    let list = session.api.list(&path, &[("labelSelector", &selector)]).await?;
    Ok(items(&list, &["items"]).to_vec())
}

async fn events_of(object: &Value, kind: &Kind, session: &Session) -> Result<Vec<Value>> {
    let (namespace, name) = (text(object, &["metadata", "namespace"]), text(object, &["metadata", "name"]));
    let mut selector = format!("involvedObject.kind={},involvedObject.name={name}", kind.kind);
    // An earlier object of the same name is another story; nodes are known to events by name alone.
    if kind.namespaced {
        // Of a mirror its node tells by the uid of what it shows.
        let own = text(object, &["metadata", "uid"]);
        let uid = dunlin_api::kind::pod::mirror_of(object).unwrap_or(own);
        selector.push_str(&format!(",involvedObject.uid={uid}"));
    }
    let path = api::collection(resource::find("events")?, kind.namespaced.then_some(namespace));
    let list = session.api.list(&path, &[("fieldSelector", &selector)]).await?;
    let mut events = items(&list, &["items"]).to_vec();
    events::sort(&mut events);
    Ok(events)
}

/// A pod that no coordinator was asked about.
pub(crate) fn pod(pod: &Value, endpoints: Vec<Value>, now: Timestamp) -> String {
    let mut sheet = Sheet::default();
    pod::describe(&mut sheet, pod, &Facts { now, endpoints, ..Facts::default() });
    tabs::align(&sheet.text, Layout::DESCRIPTION)
}

/// A pod template, as a revision or a workload has it.
pub(crate) fn template(template: &Value) -> String {
    let mut sheet = Sheet::default();
    template::describe(&mut sheet, template);
    tabs::align(&sheet.text, Layout::DESCRIPTION)
}

/// The description as aligned text.
fn describe(kind: &Kind, object: &Value, facts: &Facts) -> String {
    let mut sheet = Sheet::default();
    match kind.kind {
        "Pod" => pod::describe(&mut sheet, object, facts),
        "Node" => node::describe(&mut sheet, object, facts),
        "Namespace" => objects::namespace(&mut sheet, object, facts),
        "ConfigMap" => objects::config_map(&mut sheet, object),
        "Secret" => objects::secret(&mut sheet, object),
        "ServiceAccount" => objects::service_account(&mut sheet, object),
        "Event" => objects::event(&mut sheet, object),
        "Deployment" => workload::deployment(&mut sheet, object, facts),
        "ReplicaSet" | "ReplicationController" => workload::replica_set(&mut sheet, object, facts),
        "StatefulSet" => workload::stateful_set(&mut sheet, object, facts),
        "DaemonSet" => workload::daemon_set(&mut sheet, object, facts),
        "Job" => job::job(&mut sheet, object),
        "CronJob" => job::cron_job(&mut sheet, object),
        "HorizontalPodAutoscaler" => autoscaler::describe(&mut sheet, object),
        "Service" => service::describe(&mut sheet, object, facts),
        "ResourceQuota" => quota::quota(&mut sheet, object),
        "LimitRange" => quota::limit_range(&mut sheet, object),
        "Role" | "ClusterRole" => access::role(&mut sheet, object),
        "RoleBinding" | "ClusterRoleBinding" => access::binding(&mut sheet, object),
        "PriorityClass" => objects::priority_class(&mut sheet, object),
        "PodDisruptionBudget" => policy::disruption_budget(&mut sheet, object),
        _ => objects::other(&mut sheet, object),
    }
    if matches!(kind.kind, "Deployment" | "StatefulSet" | "DaemonSet") {
        workload::rollout(&mut sheet, kind, object, facts);
    }
    if let Some(events) = facts.events.as_ref().filter(|_| !WITHOUT_EVENTS.contains(&kind.kind)) {
        sheet.events(events, facts.now);
    }
    tabs::align(&sheet.text, Layout::DESCRIPTION)
}

/// A description in the making: lines whose cells end in tabs.
#[derive(Debug, Default)]
struct Sheet {
    text: String,
}

impl Sheet {
    /// A line, indented by two spaces per level.
    fn line(&mut self, level: usize, line: impl AsRef<str>) {
        self.text.extend(std::iter::repeat_n("  ", level));
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// `Key:  value`.
    fn field(&mut self, level: usize, key: &str, value: impl AsRef<str>) {
        self.line(level, format!("{key}:\t{}", value.as_ref()));
    }

    /// `Key:  value` unless the value is empty.
    fn field_if_any(&mut self, level: usize, key: &str, value: &str) {
        if !value.is_empty() {
            self.field(level, key, value);
        }
    }

    /// `Key:  a`, then the other values below the first; `<none>` when there are none.
    fn list(&mut self, level: usize, key: &str, values: &[String]) {
        match values {
            [] => self.field(level, key, "<none>"),
            [first, others @ ..] => {
                self.field(level, key, first);
                others.iter().for_each(|value| self.line(level, format!("\t{value}")));
            }
        }
    }

    /// Name, namespace, labels and annotations.
    fn head(&mut self, object: &Value) {
        self.field(0, "Name", text(object, &["metadata", "name"]));
        self.field_if_any(0, "Namespace", text(object, &["metadata", "namespace"]));
        self.labels(object);
    }

    fn labels(&mut self, object: &Value) {
        self.list(0, "Labels", &pairs(object, &["metadata", "labels"], "="));
        self.annotations(object);
    }

    fn annotations(&mut self, object: &Value) {
        let shown = entries(object, &["metadata", "annotations"])
            .filter(|(key, _)| *key != LAST_APPLIED)
            .map(|(key, value)| format!("{key}: {}", plain(value).trim().replace('\n', " ")))
            .collect::<Vec<_>>();
        self.list(0, "Annotations", &shown);
    }

    fn events(&mut self, events: &[Value], now: Timestamp) {
        if events.is_empty() {
            self.field(0, "Events", "<none>");
            return;
        }
        self.line(0, "Events:");
        self.line(1, "Type\tReason\tAge\tFrom\tMessage");
        self.line(1, "----\t------\t----\t----\t-------");
        for event in events {
            let from = [text(event, &["source", "component"]), text(event, &["reportingComponent"])];
            self.line(
                1,
                format!(
                    "{}\t{}\t{}\t{}\t{}",
                    text(event, &["type"]),
                    text(event, &["reason"]),
                    events::interval(event, now),
                    from.into_iter().find(|from| !from.is_empty()).unwrap_or_default(),
                    text(event, &["message"]).trim().replace(['\n', '\t'], " "),
                ),
            );
        }
    }
}

/// `key=value` for each entry of a map.
fn pairs(object: &Value, path: &[&str], separator: &str) -> Vec<String> {
    entries(object, path).map(|(key, value)| format!("{key}{separator}{}", plain(value))).collect()
}

/// A time in words; empty when there is none.
fn time(object: &Value, path: &[&str]) -> String {
    at(object, path).as_str().map(age::in_words).unwrap_or_default()
}

/// How many of the pods that are described the scheduler is asked about: it looks at every node for each.
const EXPLAINED_MAX: usize = 10;

/// kubectl shows none for these.
const WITHOUT_EVENTS: [&str; 8] = [
    "Namespace",
    "Secret",
    "ResourceQuota",
    "LimitRange",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
];

/// The whole manifest once more; nobody reads it here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests;
