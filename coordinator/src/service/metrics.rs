//! `metrics.k8s.io`: what nodes and pods use, made up of what their nodes answer when somebody asks. Nothing of it is stored.
//!
//! As of metrics-server: what nothing is known of, because its node does not answer or nothing of it runs, is missing in lists and not
//! found by name.

mod usages;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use dunlin_api::{Kind, Status, kind, pipeline::Accepted, quantity::Quantity, time::format_time};
use dunlin_coordinator_core::{
    mirror,
    usage::{Use, format_window},
};
use dunlin_link::{NodeName, PodUid, usage::THROTTLED_CPU};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};

use self::usages::Known;
pub(super) use self::usages::Usages;
use super::{
    ApiService, ObjectRef,
    options::{At, ListRequest, Selection},
    path::{ResourceRequest, Verb},
    response::Response,
    serve::Admitted,
    served,
    shape::Shaper,
    stored,
};

/// Whether objects of a kind are made here.
pub(super) fn is_about(kind: &Kind) -> bool {
    kind.group == GROUP
}

impl ApiService {
    pub(super) async fn serve_metrics(
        &self,
        admitted: &Admitted<'_>,
        request: &ResourceRequest,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        if !request.subresource.is_empty() {
            return Err(Status::no_such_resource());
        }
        let Admitted { user, grant, query, .. } = *admitted;
        match request.verb {
            Verb::Get => {
                let object = match self.about(request).read(self, request).await? {
                    Some(object) => self.measure(request.kind, vec![object]).await.pop(),
                    None => None,
                };
                let object = object.ok_or_else(|| not_found(request))?;
                shaper.object(200, Accepted { object, warnings: Vec::new() })
            }
            Verb::List => {
                let prefix = stored::prefix(request.kind, &request.namespace);
                let list = ListRequest::parse(request.kind, &prefix, query)?;
                grant.check_list(user, request, |field| list.selection.fields.exact(field))?;
                let subjects = self.about(request).find(self, request, list.selection).await?;
                shaper.made(&self.measure(request.kind, subjects).await)
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn about(&self, request: &ResourceRequest) -> Subjects {
        let kind = if request.kind.namespaced { "Pod" } else { "Node" };
        Subjects(kind::by_kind("v1", kind).expect("the registry has pods and nodes"))
    }

    /// Metrics of those of these objects that something is known of, in the same order.
    async fn measure(&self, kind: &'static Kind, subjects: Vec<Subject>) -> Vec<Value> {
        let nodes: BTreeSet<NodeName> = subjects.iter().map(|subject| subject.node.clone()).collect();
        let asked = stream::iter(nodes).map(|node| async {
            let known = self.usage(&node).await;
            (node, known)
        });
        let known: HashMap<NodeName, Option<Arc<Known>>> =
            asked.buffer_unordered(NODES_AT_ONCE).collect().await;
        let now = self.clock().now();
        let made = subjects.into_iter().filter_map(|subject| {
            let known = known.get(&subject.node)?.as_ref()?;
            subject.metrics(kind, known, now)
        });
        made.collect()
    }
}

/// The kind that metrics are about.
struct Subjects(&'static Kind);

/// A node or pod.
struct Subject {
    name: String,
    namespace: String,
    labels: Value,
    node: NodeName,
    /// The uid by which its node knows a pod.
    pod: Option<PodUid>,
}

impl Subjects {
    async fn read(&self, service: &ApiService, request: &ResourceRequest) -> Result<Option<Subject>, Status> {
        let object = ObjectRef { kind: self.0, namespace: &request.namespace, name: &request.name };
        match service.read(object).await {
            Ok(object) => Ok(self.of(&object)),
            Err(status) if status.code() == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    async fn find(
        &self,
        service: &ApiService,
        request: &ResourceRequest,
        selection: Selection,
    ) -> Result<Vec<Subject>, Status> {
        let collection = ResourceRequest::of_collection(Verb::List, self.0, &request.namespace);
        let list = ListRequest { selection, at: At::Newest, limit: None };
        let found = service.find(&collection, &list).await?;
        let decoded = found.items.iter().map(|item| served::decode(self.0, &item.value, item.mod_revision));
        decoded.filter_map(|object| object.map(|object| self.of(&object)).transpose()).collect()
    }

    /// `None` for a pod that no node has.
    fn of(&self, object: &Value) -> Option<Subject> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (node, pod) = match self.0.kind {
            "Pod" => {
                let node = object["spec"]["nodeName"].as_str().filter(|node| !node.is_empty())?;
                (node.to_owned(), Some(PodUid::new(mirror::uid_on_node(object))))
            }
            _ => (text("name"), None),
        };
        Some(Subject {
            name: text("name"),
            namespace: text("namespace"),
            labels: object["metadata"]["labels"].clone(),
            node: NodeName::new(node),
            pod,
        })
    }
}

impl Subject {
    fn metrics(self, kind: &Kind, known: &Known, now: Timestamp) -> Option<Value> {
        let mut metadata = json!({"name": self.name, "creationTimestamp": format_time(now)});
        if !self.namespace.is_empty() {
            metadata["namespace"] = self.namespace.into();
        }
        if !self.labels.is_null() {
            metadata["labels"] = self.labels;
        }
        let mut metrics = json!({
            "kind": kind.kind,
            "apiVersion": kind.api_version(),
            "metadata": metadata,
            "timestamp": format_time(known.at),
            "window": format_window(known.used.window),
        });
        match self.pod {
            None => metrics["usage"] = usage(known.used.machine),
            Some(uid) => {
                let containers = known.used.pods.get(&uid)?.iter();
                let containers = containers.map(|(name, used)| json!({"name": name, "usage": usage(*used)}));
                metrics["containers"] = containers.collect();
            }
        }
        Some(metrics)
    }
}

fn usage(used: Use) -> Value {
    let cpu = Quantity::from_nano(i64::try_from(used.cpu_nano).unwrap_or(i64::MAX));
    let memory = Quantity::from_bytes(i64::try_from(used.memory.0).unwrap_or(i64::MAX));
    let mut usage = json!({"cpu": cpu.to_string(), "memory": memory.to_string()});
    if used.throttled_nano > 0 {
        let throttled = Quantity::from_nano(i64::try_from(used.throttled_nano).unwrap_or(i64::MAX));
        usage[THROTTLED_CPU] = throttled.to_string().into();
    }
    usage
}

fn not_found(request: &ResourceRequest) -> Status {
    let resource = request.kind.kind.to_lowercase();
    let name = match request.namespace.as_str() {
        "" => request.name.clone(),
        namespace => format!("{namespace}/{}", request.name),
    };
    let message = format!("{resource}.{GROUP} \"{name}\" not found");
    let mut status = Status::failure(404, "NotFound", message);
    status.0["details"] = json!({"name": name, "group": GROUP, "kind": resource});
    status
}

const GROUP: &str = "metrics.k8s.io";

/// Nodes asked at once for one answer: most answer within the delay of their link.
const NODES_AT_ONCE: usize = 256;
