//! What controllers want done about certificates, tokens and roles.

use dunlin_api::{Kind, Status, kind};
use dunlin_coordinator_core::{authorizer::aggregated_rules, controllers::root_ca};
use serde_json::{Value, json};

use super::{ALREADY_EXISTS, Executor};
use crate::service::{ObjectRef, Selection, User};

impl Executor {
    /// Puts the authority's certificate into a namespace, or right there.
    pub(super) async fn publish_root_ca(&self, namespace: &str) -> Result<(), Status> {
        let (kind, user) = (by_kind("v1", "ConfigMap"), User::controller("root-ca-cert-publisher"));
        let data = json!({ root_ca::KEY: self.pki.certificate_pem() });
        let map = json!({ "metadata": { "name": root_ca::NAME }, "data": data });
        match self.service.create(&user, kind, namespace, map).await {
            Err(status) if status.reason() == ALREADY_EXISTS => {
                let object = ObjectRef { kind, namespace, name: root_ca::NAME };
                let put = |map: &mut Value| {
                    let is_changed = map["data"] != data || !map["binaryData"].is_null();
                    map["data"] = data.clone();
                    map.as_object_mut().map(|map| map.remove("binaryData"));
                    is_changed
                };
                self.service.modify(&user, object, "", None, put).await.map(drop).map_err(Status::from)
            }
            created => created.map(drop),
        }
    }

    /// Removes a bootstrap token.
    pub(super) async fn remove_bootstrap_token(&self, name: &str, uid: &str) -> Result<(), Status> {
        let object = ObjectRef { kind: by_kind("v1", "Secret"), namespace: "kube-system", name };
        let options = json!({ "preconditions": { "uid": uid } });
        self.service.delete(&User::controller("token-cleaner"), object, options).await.map(drop)
    }

    /// Gives ClusterRoles that are made of others the rules of those. What follows from the changes is another plan's.
    pub(super) async fn aggregate_roles(&self) -> Result<(), Status> {
        let kind = by_kind("rbac.authorization.k8s.io/v1", "ClusterRole");
        let user = User::controller("clusterrole-aggregation-controller");
        let (roles, _) = self.service.list(&user, kind, "", Selection::default()).await?;
        for role in &roles {
            let Some(rules) = aggregated_rules(role, &roles) else { continue };
            let text = |field: &str| role["metadata"][field].as_str().unwrap_or_default();
            let give = |role: &mut Value| {
                let has = role["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
                let is_changed = has != rules && !role["aggregationRule"].is_null();
                if is_changed {
                    role["rules"] = rules.clone().into();
                }
                is_changed
            };
            let object = ObjectRef { kind, namespace: "", name: text("name") };
            match self.service.modify(&user, object, "", Some(text("uid")), give).await.map_err(Status::from)
            {
                // Gone, or another role by now: that was a change of its own.
                Err(status) if matches!(status.code(), 404 | 409) => {}
                modified => drop(modified?),
            }
        }
        Ok(())
    }
}

fn by_kind(api_version: &str, name: &str) -> &'static Kind {
    kind::by_kind(api_version, name).expect("the registry has the kinds that controllers write")
}
