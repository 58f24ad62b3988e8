//! What the disruption controller wants written and told about budgets.

use dunlin_api::{Kind, Status, kind};
use dunlin_coordinator_core::{
    budget::Budget,
    controllers::disruption::{BudgetUpdate, Notice},
};
use jiff::Timestamp;
use serde_json::Value;

use super::Executor;
use crate::{
    events::{Occurrence, Regarding, Severity},
    service::{ObjectRef, User},
};

impl Executor {
    /// Writes a budget's status, unless an evictor or its author was faster.
    pub(super) async fn update_budget(&self, update: BudgetUpdate, now: Timestamp) -> Result<(), Status> {
        let BudgetUpdate { key, uid, generation, seen, status, notices } = update;
        let object = ObjectRef { kind: budget_kind(), namespace: &key.namespace, name: &key.name };
        let mut is_written = false;
        let write = |object: &mut Value| {
            let current = Budget::from_object(object);
            is_written =
                current.is_ok_and(|current| current.generation == generation && current.status == seen);
            if is_written {
                status.write(object, now);
            }
            is_written
        };
        self.service.modify(&user(), object, "status", Some(&uid), write).await.map_err(Status::from)?;
        if is_written {
            for notice in notices {
                self.recorder.record(occurrence(&notice, &key, &uid, now));
            }
        }
        Ok(())
    }
}

fn occurrence(
    notice: &Notice,
    budget: &dunlin_coordinator_core::ObjectKey,
    uid: &str,
    at: Timestamp,
) -> Occurrence {
    let about_budget = || Regarding {
        api_version: "policy/v1".into(),
        kind: "PodDisruptionBudget",
        namespace: budget.namespace.to_string(),
        name: budget.name.to_string(),
        uid: uid.to_owned(),
        field_path: String::new(),
    };
    let (regarding, severity, reason, message) = match notice {
        Notice::NoPods => (about_budget(), Severity::Normal, "NoPods", "No matching pods found".to_owned()),
        Notice::NotExpected(why) => (
            about_budget(),
            Severity::Warning,
            "CalculateExpectedPodCountFailed",
            format!("Failed to calculate the number of expected pods: {why}"),
        ),
        Notice::NotDeleted(pod, uid) => {
            let about_pod = Regarding {
                api_version: "v1".into(),
                kind: "Pod",
                namespace: pod.namespace.to_string(),
                name: pod.name.to_string(),
                uid: uid.as_str().to_owned(),
                field_path: String::new(),
            };
            let message = format!("Pod was expected by PDB {budget} to be deleted but it wasn't");
            (about_pod, Severity::Warning, "NotDeleted", message)
        }
    };
    Occurrence {
        user: user(),
        regarding,
        severity,
        reason: reason.to_owned(),
        message,
        component: "controllermanager",
        host: String::new(),
        at,
    }
}

fn user() -> User {
    User::controller("disruption-controller")
}

fn budget_kind() -> &'static Kind {
    kind::by_kind("policy/v1", "PodDisruptionBudget").expect("the registry has budgets")
}
