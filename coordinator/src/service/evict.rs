//! `pods/eviction`: deleting a pod as far as PodDisruptionBudgets allow it.

use dunlin_api::{Kind, Status, kind, pipeline};
use dunlin_coordinator_core::{
    budget::Budget,
    eviction::{self, Permit, Refusal},
    pod_status,
};
use serde_json::{Value, json};

use super::{
    ApiService, User,
    authorize::Grant,
    change::{Decision, decode},
    companions::{Cause, Companions, Transition, Unmet},
    delete::decide,
    delete_options::DeleteOptions,
    options::{DryRun, WriteOptions},
    path::ResourceRequest,
    stored,
};
use crate::store::{Compare, KeyValue, Write};

impl ApiService {
    /// Carries out an Eviction: marks the pod and deletes it, and charges its budget in the same transaction.
    pub(super) async fn evict_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        grant: &Grant,
        eviction: &Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        check_eviction(request, eviction)?;
        let mut delete = match &eviction["deleteOptions"] {
            Value::Null => DeleteOptions::from_body(&json!({}))?,
            options => DeleteOptions::from_body(options)?,
        };
        if options.dry_run == DryRun::All {
            delete.dry_run = DryRun::All;
        }
        let now = self.clock().now();
        let object = request.object();
        if delete.dry_run == DryRun::All {
            self.permit(&request.namespace, &self.read(object).await?).await?;
        }
        let decide = |current: &Value| -> Result<Decision, Status> {
            grant.check_current(user, request, current)?;
            let mut pod = current.clone();
            let condition = ("True", "EvictionByEvictionAPI", "Eviction API: evicting");
            pod_status::set_condition(&mut pod, "DisruptionTarget", condition, now);
            Ok(match decide(object, &pod, &delete, now)? {
                // It is being deleted already, and says now why.
                Decision::Keep(pod) => Decision::Put(pod),
                decision => decision,
            })
        };
        self.change_by(object, delete.dry_run, Cause::Eviction, decide).await.map(drop)
    }

    /// Puts what an eviction takes of a budget into the pod's transaction.
    pub(super) async fn charge_budget(
        &self,
        transition: Transition<'_>,
        companions: &mut Companions,
    ) -> Result<(), Status> {
        let Some(pod) = transition.old else { return Ok(()) };
        let Some((found, permit)) = self.permit(transition.object.namespace, pod).await? else {
            return Ok(());
        };
        companions.guard(Compare::ModRevision(found.key.clone(), found.mod_revision), Unmet::Changed);
        if let Permit::Charged(status) = permit {
            let now = self.clock().now();
            let old = decode(&found)?;
            let mut budget = old.clone();
            status.write(&mut budget, now);
            pipeline::track(budget_kind(), "status", &old, &mut budget, MANAGER, now);
            companions
                .writes
                .push(Write::Put(found.key.clone(), stored::encode_update(&budget, &old, &found)));
        }
        Ok(())
    }

    /// Whether a pod may be evicted, and the budget that was asked.
    async fn permit(&self, namespace: &str, pod: &Value) -> Result<Option<(KeyValue, Permit)>, Status> {
        if eviction::is_exempt(pod) {
            return Ok(None);
        }
        let mut found = self.all_below(&stored::prefix(budget_kind(), namespace)).await?;
        let budgets = found.iter().map(|item| {
            let object = decode(item)?;
            let budget = Budget::from_object(&object).map_err(Status::internal)?;
            Ok((object["metadata"]["name"].as_str().unwrap_or_default().to_owned(), budget))
        });
        let budgets = budgets.collect::<Result<Vec<_>, Status>>()?;
        let asked =
            eviction::permit(pod, &budgets, self.clock().now()).map_err(|refusal| refuse(&refusal))?;
        Ok(asked.map(|(position, permit)| (found.swap_remove(position), permit)))
    }
}

/// An Eviction is about the pod whose path it is sent to.
fn check_eviction(request: &ResourceRequest, eviction: &Value) -> Result<(), Status> {
    let namespace = eviction["metadata"]["namespace"].as_str().unwrap_or_default();
    if !namespace.is_empty() && namespace != request.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if eviction["metadata"]["name"] != request.name.as_str() {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    Ok(())
}

fn refuse(refusal: &Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Several => Status::failure(500, "", message),
        Refusal::Unobserved(_) => too_many(&message, RETRY_SECONDS),
        Refusal::Exhausted(_) => too_many(&message, 0),
        Refusal::Broken(name, detail) => {
            let mut status = Status::forbidden(budget_kind(), name, detail);
            status.0["message"] =
                format!("poddisruptionbudget.policy \"{name}\" is forbidden: {detail}").into();
            status.0["details"]["kind"] = "poddisruptionbudget".into();
            status
        }
    }
}

fn too_many(message: &str, retry_after_seconds: u32) -> Status {
    let refused = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::too_many_requests(refused, retry_after_seconds);
    status.0["details"]["causes"] = json!([{"reason": "DisruptionBudget", "message": message}]);
    status
}

fn budget_kind() -> &'static Kind {
    kind::by_kind("policy/v1", "PodDisruptionBudget").expect("the registry has budgets")
}

/// Whose the fields of a budget are that an eviction writes.
const MANAGER: &str = "dunlin-apiserver";

/// When to come back while a budget is being looked at.
const RETRY_SECONDS: u32 = 10;
