//! What autoscalers ask about their targets, and what they want of them: in requests as any client sends them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use dunlin_api::{Kind, Quantity, Status, kind};
use dunlin_coordinator_core::{
    ObjectKey,
    controllers::{
        autoscaler::{ContainerUse, HORIZONTAL_POD_AUTOSCALERS, Measured, PodUse, Rescale, Scale},
        tell::Component,
    },
    view::ObjectId,
};
use dunlin_link::rpc::{Method, RequestHead};
use jiff::Timestamp;
use serde_json::Value;

use super::Executor;
use crate::service::User;

impl Executor {
    /// Asks for the scale of a target and the use of its pods, and hands on what is answered.
    pub(super) async fn measure(&self, key: &ObjectKey, target: (&str, &str, &str)) {
        let scale = self.scale(&key.namespace, target).await;
        let used = match &scale {
            Ok(scale) if !scale.selector.is_empty() => self.used(&key.namespace, &scale.selector).await,
            _ => Ok(HashMap::new()),
        };
        // A driver that has ended asks nothing more.
        let _ = self.measured.send((key.clone(), Measured { scale, used })).await;
    }

    /// Sets a target to its size, and says how that ended.
    pub(super) async fn rescale(&self, rescale: &Rescale, now: Timestamp) -> Result<(), Status> {
        let Rescale { key, uid, api_version, kind, name, replicas, .. } = rescale;
        let set = self.set_scale(&key.namespace, (api_version, kind, name), *replicas).await;
        let outcome = rescale.ended(set.as_ref().map(drop).map_err(String::as_str));
        let id = ObjectId { resource: HORIZONTAL_POD_AUTOSCALERS, key: key.clone() };
        self.tell(BY, (&id, uid), (outcome.severity, outcome.reason, outcome.message), now);
        self.write_status(BY, &id, uid, &outcome.change).await
    }

    /// Reads and writes, as the right to `update` is all that the role has.
    async fn set_scale(
        &self,
        namespace: &str,
        target: (&str, &str, &str),
        replicas: i64,
    ) -> Result<(), String> {
        let path = scale_path(namespace, target)?;
        let mut scale = self.ask(Method::Get, path.clone(), Vec::new(), String::new()).await?;
        scale["spec"]["replicas"] = replicas.into();
        self.ask(Method::Put, path, Vec::new(), scale.to_string()).await.map(drop)
    }

    async fn scale(&self, namespace: &str, target: (&str, &str, &str)) -> Result<Scale, String> {
        let path = scale_path(namespace, target)?;
        let scale = self.ask(Method::Get, path, Vec::new(), String::new()).await?;
        Ok(Scale {
            replicas: scale["spec"]["replicas"].as_i64().unwrap_or_default(),
            selector: scale["status"]["selector"].as_str().unwrap_or_default().to_owned(),
        })
    }

    async fn used(&self, namespace: &str, selector: &str) -> Result<HashMap<Arc<str>, PodUse>, String> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let query = vec![("labelSelector".to_owned(), selector.to_owned())];
        let list = self.ask(Method::Get, path, query, String::new()).await?;
        let items = list["items"].as_array().into_iter().flatten();
        Ok(items
            .filter_map(|item| Some((item["metadata"]["name"].as_str()?.into(), pod_use(item)?)))
            .collect())
    }

    /// Sends a request as the autoscaler; answers the object, or what is wrong.
    async fn ask(
        &self,
        method: Method,
        path: String,
        query: Vec<(String, String)>,
        body: String,
    ) -> Result<Value, String> {
        let content_type = if body.is_empty() { "" } else { "application/json" };
        let head = RequestHead {
            method,
            path,
            query,
            content_type: content_type.to_owned(),
            accept: "application/json".to_owned(),
            user_agent: BY.name().to_owned(),
        };
        let response = self.service.handle(&User::controller(BY.account()), head, body.as_bytes()).await;
        let code = response.head.status;
        let bytes = response.into_bytes().await.map_err(|error| error.to_string())?;
        let object: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        if (200..300).contains(&code) {
            return Ok(object);
        }
        Err(object["message"].as_str().unwrap_or("the server does not say why").to_owned())
    }
}

fn scale_path(namespace: &str, (api_version, kind, name): (&str, &str, &str)) -> Result<String, String> {
    let found: Option<&Kind> = kind::by_kind(api_version, kind);
    let found = found.filter(|found| found.namespaced);
    let found = found.ok_or_else(|| {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        format!("no matches for kind \"{kind}\" in group \"{group}\"")
    })?;
    let root = if found.group.is_empty() { "/api" } else { "/apis" };
    Ok(format!("{root}/{}/namespaces/{namespace}/{}/{name}/scale", found.api_version(), found.plural))
}

/// `None` for what is not as a server answers it.
fn pod_use(item: &Value) -> Option<PodUse> {
    let quantity = |text: &Value| text.as_str()?.parse::<Quantity>().ok();
    let container = |container: &Value| {
        let usage = &container["usage"];
        Some(ContainerUse {
            name: container["name"].as_str()?.to_owned(),
            cpu_milli: quantity(&usage["cpu"])?.milli(),
            memory: quantity(&usage["memory"])?.value(),
        })
    };
    let containers = item["containers"].as_array()?;
    let window = item["window"].as_str()?.parse::<jiff::SignedDuration>().ok()?;
    Some(PodUse {
        at: item["timestamp"].as_str()?.parse().ok()?,
        window: Duration::try_from(window).ok()?,
        containers: containers.iter().filter_map(container).collect(),
    })
}

const BY: Component = Component::HorizontalPodAutoscaler;
