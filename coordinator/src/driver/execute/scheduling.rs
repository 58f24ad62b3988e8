//! Writes what the scheduler decided: a binding, or why there is none, and who goes for whose sake.

use dunlin_api::Status;
use dunlin_coordinator_core::{
    ObjectKey, pod_status,
    reconciler::Nomination,
    scheduler::{self, Preemption, Victim},
};
use dunlin_link::{NodeName, PodUid};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{CONFLICT, Condition, Executor, NOT_FOUND};
use crate::{
    events::{Occurrence, Regarding, Severity},
    service::User,
};

/// Why a pod has no node yet, as its status tells it.
#[derive(Clone, Debug)]
pub(in crate::driver) struct Unplaced {
    /// Reason of the condition `PodScheduled`.
    pub(in crate::driver) reason: &'static str,
    /// Its message.
    pub(in crate::driver) message: String,
    /// What becomes of `status.nominatedNodeName`.
    pub(in crate::driver) nomination: Nomination,
}

impl Executor {
    /// Binds a pod to a node.
    pub(in crate::driver) async fn bind(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        node: &NodeName,
    ) -> Result<(), Status> {
        self.service.bind(&User::scheduler(), &key.namespace, &key.name, uid.as_str(), node).await
    }

    /// Says in a pod's status why it has no node. What is said already is not written. Says whether it was not.
    pub(in crate::driver) async fn tell_unplaced(
        &self,
        key: &ObjectKey,
        uid: &PodUid,
        unplaced: &Unplaced,
        now: Timestamp,
    ) -> Result<bool, Status> {
        let Unplaced { reason, message, nomination } = unplaced;
        let mut changed = false;
        let set = |pod: &mut Value| {
            let told = pod_status::set_condition(pod, "PodScheduled", ("False", reason, message), now);
            let nominated = nomination.write(pod);
            changed = told || nominated;
            changed
        };
        self.change_pod(&User::scheduler(), key, uid, set).await?;
        Ok(changed)
    }

    /// Ends pods for another's sake.
    pub(in crate::driver) async fn preempt(
        &self,
        uid: &PodUid,
        profile: &str,
        preemption: &Preemption,
        now: Timestamp,
    ) -> Result<(), Status> {
        for victim in preemption.victims.iter().filter(|victim| !victim.deleting) {
            let ended = self.end(victim, profile, now).await;
            match ended {
                Ok(()) => self.tell_preempted(victim, uid, &preemption.node, now),
                // It went by itself.
                Err(status) if status.code() == NOT_FOUND || status.code() == CONFLICT => {}
                Err(status) => return Err(status),
            }
        }
        for displaced in &preemption.displaced {
            self.displace(displaced).await?;
        }
        Ok(())
    }

    async fn end(&self, victim: &Victim, profile: &str, now: Timestamp) -> Result<(), Status> {
        let message = format!("{profile}: preempting to accommodate a higher priority pod");
        let condition = Condition {
            kind: "DisruptionTarget",
            status: "True",
            reason: scheduler::REASON_PREEMPTED,
            message: &message,
        };
        self.set_condition(&victim.key, &victim.uid, condition, now, &User::scheduler()).await?;
        let options = json!({ "preconditions": { "uid": victim.uid.as_str() } });
        self.delete_pod(&User::scheduler(), &victim.key, options).await
    }

    /// A pod for which a node was kept has to look for another.
    async fn displace(&self, key: &ObjectKey) -> Result<(), Status> {
        let object =
            super::ObjectRef { kind: super::by_kind("Pod"), namespace: &key.namespace, name: &key.name };
        let clear = |pod: &mut Value| pod_status::set_nominated(pod, None);
        match self
            .service
            .modify(&User::scheduler(), object, "status", None, clear)
            .await
            .map_err(Status::from)
        {
            Err(status) if status.code() != NOT_FOUND => Err(status),
            _ => Ok(()),
        }
    }

    fn tell_preempted(&self, victim: &Victim, by: &PodUid, node: &NodeName, now: Timestamp) {
        let regarding = Regarding {
            api_version: "v1".into(),
            kind: "Pod",
            namespace: victim.key.namespace.to_string(),
            name: victim.key.name.to_string(),
            uid: victim.uid.as_str().to_owned(),
            field_path: String::new(),
        };
        self.recorder.record(Occurrence {
            user: User::scheduler(),
            regarding,
            severity: Severity::Normal,
            reason: "Preempted".to_owned(),
            message: format!("Preempted by pod {by} on node {node}"),
            component: scheduler::NAME,
            host: String::new(),
            at: now,
        });
    }
}
