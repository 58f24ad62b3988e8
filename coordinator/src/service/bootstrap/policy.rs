//! Roles, bindings, priority classes and what is of flow control: all that is missing or behind, in one write.

use std::collections::BTreeMap;

use dunlin_api::{
    Kind, Status,
    admission::pod_security::Around,
    kind::{self, service::NoPool},
    pipeline::{self, Change, Ownership, Target},
    time::format_time,
};
use dunlin_coordinator_core::authorizer::{
    aggregated_rules,
    policy::{self, Reconciled},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    service::{
        ApiService,
        change::decode,
        path::{ResourceRequest, Verb},
        store_failed, stored,
    },
    store::{Compare, KeyValue, ListOptions, Txn, TxnOutcome, Write},
};

/// What is there and what shall be, by key of the store.
type Planned = BTreeMap<String, Plan>;

struct Plan {
    kind: &'static Kind,
    /// What is there, stored and decoded.
    found: Option<(KeyValue, Value)>,
    /// As it will be.
    object: Value,
}

impl Plan {
    fn is_changed(&self) -> bool {
        self.found.as_ref().is_none_or(|(_, was)| *was != self.object)
    }
}

impl ApiService {
    pub(super) async fn ensure_policy(&self) -> Result<(), Status> {
        for _ in 0..ATTEMPTS_MAX {
            let mut planned = self.existing().await?;
            for expected in policy::objects() {
                self.plan(&mut planned, expected)?;
            }
            aggregate(&mut planned, self.clock().now())?;
            let (mut compares, mut writes) = (Vec::new(), Vec::new());
            for (key, plan) in planned.into_iter().filter(|(_, plan)| plan.is_changed()) {
                compares.push(match &plan.found {
                    Some((found, _)) => Compare::ModRevision(key.clone(), found.mod_revision),
                    None => Compare::Absent(key.clone()),
                });
                writes.push(Write::Put(key, stored::encode(&plan.object)));
            }
            if writes.is_empty() {
                return Ok(());
            }
            match self.store().txn(Txn { compares, writes }).await.map_err(store_failed)? {
                TxnOutcome::Committed(_) => return Ok(()),
                // Another coordinator does the same.
                TxnOutcome::Conflict(..) => {}
            }
        }
        Err(Status::too_many_requests("the default roles keep changing", 1))
    }

    /// The objects that are there, of the kinds of the policy.
    async fn existing(&self) -> Result<Planned, Status> {
        let mut planned = Planned::new();
        for (group, name) in KINDS {
            let kind = kind_of(group, name)?;
            let prefix = stored::prefix(kind, "");
            let options = ListOptions { prefix, after: None, limit: None, at: None };
            for found in self.store().list(options).await.map_err(store_failed)?.items {
                let object = decode(&found)?;
                let key = found.key.clone();
                planned.insert(key, Plan { kind, found: Some((found, object.clone())), object });
            }
        }
        Ok(planned)
    }

    fn plan(&self, planned: &mut Planned, expected: Value) -> Result<(), Status> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = kind_of(&text(&expected["apiVersion"]), &text(&expected["kind"]))?;
        let (namespace, name) =
            (text(&expected["metadata"]["namespace"]), text(&expected["metadata"]["name"]));
        let key = stored::key(kind, &namespace, &name);
        let create = |object: Value| {
            let request = ResourceRequest::of_collection(Verb::Create, kind, &namespace);
            let mut object = self.prepare_owned(&request, object, Ownership::AsGiven)?;
            if kind.kind == "FlowSchema" {
                object["status"] = found_level(&object, self.clock().now());
            }
            Ok::<_, Status>(object)
        };
        match planned.get_mut(&key) {
            None => {
                let object = create(expected)?;
                planned.insert(key, Plan { kind, found: None, object });
            }
            Some(plan) => {
                plan.object = match policy::reconciled(&plan.object, &expected) {
                    None => return Ok(()),
                    Some(Reconciled::Update(new)) => updated(plan, new, self.clock().now())?,
                    Some(Reconciled::Replace(new)) => create(new)?,
                };
            }
        }
        Ok(())
    }
}

/// The status of a flow schema whose priority level is there, as all are that a cluster begins with.
fn found_level(schema: &Value, now: Timestamp) -> Value {
    let level = schema["spec"]["priorityLevelConfiguration"]["name"].as_str().unwrap_or_default();
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
    );
    json!({"conditions": [{"type": "Dangling", "status": "False", "lastTransitionTime": format_time(now),
        "reason": "Found", "message": message}]})
}

/// Gives roles that are made of others their rules, those first that others are made of.
fn aggregate(planned: &mut Planned, now: Timestamp) -> Result<(), Status> {
    for _ in 0..AGGREGATION_DEPTH_MAX {
        let roles: Vec<Value> = planned
            .values()
            .filter(|plan| plan.kind.kind == "ClusterRole")
            .map(|plan| plan.object.clone())
            .collect();
        let mut is_done = true;
        for plan in planned.values_mut().filter(|plan| plan.kind.kind == "ClusterRole") {
            let Some(rules) = aggregated_rules(&plan.object, &roles) else { continue };
            if plan.object["rules"].as_array().map(Vec::as_slice).unwrap_or_default() != rules {
                let mut new = plan.object.clone();
                new["rules"] = rules.into();
                plan.object = updated(plan, new, now)?;
                is_done = false;
            }
        }
        if is_done {
            break;
        }
    }
    Ok(())
}

fn updated(plan: &Plan, new: Value, now: Timestamp) -> Result<Value, Status> {
    let change =
        Change { target: Target::Object, now, ownership: Ownership::AsGiven, around: &Around::Nothing };
    pipeline::update(plan.kind, &plan.object, new, &change, &mut NoPool).map(|updated| updated.object)
}

fn kind_of(api_version: &str, name: &str) -> Result<&'static Kind, Status> {
    kind::by_kind(api_version, name).ok_or_else(|| Status::internal("a default object is of no kind"))
}

/// Kinds of the policy.
const KINDS: [(&str, &str); 7] = [
    ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("scheduling.k8s.io/v1", "PriorityClass"),
    ("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration"),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema"),
];

/// Roles made of roles made of roles: `admin` of `edit` of `view`, and one look that finds nothing to do. Deeper ones are the
/// controller's.
const AGGREGATION_DEPTH_MAX: usize = 4;

/// Other writers that may come between before we give up.
const ATTEMPTS_MAX: usize = 8;
