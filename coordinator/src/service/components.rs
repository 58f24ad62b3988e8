//! ComponentStatuses: the parts of the control plane under the names that Kubernetes has for them. All of them are this process, so
//! that whoever is answered knows that they run; what can be ill is the store.

use dunlin_api::{Kind, Status, pipeline::Accepted};
use serde_json::{Value, json};

use super::{
    ApiService,
    options::Selection,
    path::{ResourceRequest, Verb},
    query::Query,
    response::Response,
    shape::Shaper,
};

/// Whether objects of a kind are made here.
pub(super) fn is_about(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "ComponentStatus"
}

impl ApiService {
    pub(super) async fn serve_components(
        &self,
        request: &ResourceRequest,
        query: &Query,
        shaper: &Shaper,
    ) -> Result<Response, Status> {
        if !request.subresource.is_empty() {
            return Err(Status::no_such_resource());
        }
        let mut components = self.components(request.kind).await;
        match request.verb {
            Verb::Get => {
                components.retain(|component| component["metadata"]["name"] == request.name.as_str());
                let object = components.pop();
                let object = object.ok_or_else(|| Status::not_found(request.kind, &request.name))?;
                shaper.object(200, Accepted { object, warnings: Vec::new() })
            }
            Verb::List => {
                let selection = Selection::parse(request.kind, query)?;
                components.retain(|component| selection.matches(request.kind, component));
                shaper.made(&components)
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    async fn components(&self, kind: &Kind) -> Vec<Value> {
        let store = self.store().get("/").await.map(drop).map_err(|error| error.to_string());
        let parts = [("etcd-0", store), ("controller-manager", Ok(())), ("scheduler", Ok(()))];
        let component = |(name, health): (&str, Result<(), String>)| {
            let mut condition = json!({"type": "Healthy", "status": "True", "message": "ok"});
            if let Err(why) = health {
                condition = json!({"type": "Healthy", "status": "False", "error": why});
            }
            json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": {"name": name},
                "conditions": [condition]})
        };
        parts.into_iter().map(component).collect()
    }
}
