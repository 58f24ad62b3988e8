//! Tokens of service accounts for the pods of a node.

use dunlin_link::{
    NodeName,
    tokens::{IssuedToken, TokenOpen},
};
use serde_json::{Map, Value, json};

use super::Intake;
use crate::service::User;

impl Intake {
    /// A token for a pod of the node. What it is for is read in the node's desired set, and the API checks again that the pod is bound
    /// to the node: a node gets none of a pod that it is not to run.
    ///
    /// # Errors
    /// Why there is none, for a person.
    pub async fn token(&self, node: &NodeName, open: &TokenOpen) -> Result<IssuedToken, String> {
        let desired = self.inner.dispatch.desired(node);
        let pod = desired.pods.get(&open.uid).ok_or("no such pod is assigned to this node")?;
        let pod = &pod.assignment;
        if !pod.tokens.projections.iter().any(|projection| projection.claim == open.claim) {
            return Err("the pod has no volume with such a token".to_owned());
        }
        let claim = &open.claim;
        let mut spec = Map::new();
        spec.insert("expirationSeconds".to_owned(), claim.expiration_seconds.into());
        if !claim.audience.is_empty() {
            spec.insert("audiences".to_owned(), json!([claim.audience]));
        }
        let bound = json!({ "apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid.as_str() });
        spec.insert("boundObjectRef".to_owned(), bound);
        let asked = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": spec,
        });
        let account = (pod.namespace.as_str(), pod.spec.service_account_name.as_str());
        let answered = self.inner.service.request_token(&User::node(node), account, asked).await;
        issued(&answered.map_err(|status| status.message().to_owned())?)
    }
}

fn issued(answer: &Value) -> Result<IssuedToken, String> {
    let token = answer["status"]["token"].as_str();
    let lifetime_seconds = answer["spec"]["expirationSeconds"].as_u64();
    match (token, lifetime_seconds) {
        (Some(token), Some(lifetime_seconds)) => {
            Ok(IssuedToken { token: token.to_owned(), lifetime_seconds })
        }
        _ => Err("the answer holds no token".to_owned()),
    }
}
