//! Endpoints that are no objects of Kubernetes, one row each: health, and what is Dunlin's own under `/dunlin/v1/`.

mod backup;
mod core_dump;
mod explain;
mod health;
mod held;
mod metrics;
mod modules;
mod nodelinks;
mod nodes;
mod openid;
mod tokens;

use dunlin_api::Status;
use dunlin_coordinator_core::mirror;
use dunlin_link::{NodeName, PodUid, rpc::Method};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use super::{
    ApiService, ObjectRef, User,
    authorize::{Scope, refuse},
    body::Source,
    get::pod_kind,
    handle::in_time,
    path::{ResourceRequest, Verb},
    query::Query,
    response::Response,
};

/// One endpoint.
struct Route {
    method: Method,
    /// Segments; those in braces match anything and are handed over in order.
    path: &'static str,
    access: Access,
    patience: Patience,
    serve: for<'a> fn(&'a ApiService, Call<'a>) -> BoxFuture<'a, Result<Response, Status>>,
}

/// Who may call an endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Who has a role that names its path.
    Roles,
    /// Everybody who showed good credentials, as far as the endpoint itself asks no more.
    Authenticated,
}

/// How long an endpoint may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// As long as any request.
    Request,
    /// As long as the caller has bytes to send: modules come over slow lines.
    Upload,
}

/// All endpoints.
const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/livez",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(health::serve(service, call)),
    },
    Route {
        method: Method::Get,
        path: "/livez/{check}",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(health::serve(service, call)),
    },
    Route {
        method: Method::Get,
        path: "/readyz",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(health::serve(service, call)),
    },
    Route {
        method: Method::Get,
        path: "/readyz/{check}",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(health::serve(service, call)),
    },
    Route {
        method: Method::Get,
        path: "/healthz",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(health::serve(service, call)),
    },
    Route {
        method: Method::Get,
        path: "/healthz/{check}",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(health::serve(service, call)),
    },
    Route {
        method: Method::Get,
        path: "/metrics",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.metrics()),
    },
    Route {
        method: Method::Get,
        path: "/.well-known/openid-configuration",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.openid_configuration()),
    },
    Route {
        method: Method::Get,
        path: "/openid/v1/jwks",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.openid_keys()),
    },
    Route {
        method: Method::Post,
        path: "/dunlin/v1/accountkeys/rotate",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.rotate_account_keys()),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/cluster",
        access: Access::Authenticated,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.cluster()),
    },
    Route {
        method: Method::Put,
        path: "/dunlin/v1/modules",
        access: Access::Roles,
        patience: Patience::Upload,
        serve: |service, call| Box::pin(service.put_module(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/modules",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.list_modules()),
    },
    Route {
        method: Method::Post,
        path: "/dunlin/v1/tokens",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.create_token(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/tokens",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.list_tokens()),
    },
    Route {
        method: Method::Delete,
        path: "/dunlin/v1/tokens/{id}",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.delete_token(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/nodes",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.list_members()),
    },
    Route {
        method: Method::Post,
        path: "/dunlin/v1/nodes/{name}/revoke",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.revoke_member(call)),
    },
    Route {
        method: Method::Post,
        path: "/dunlin/v1/nodes/{name}/replace",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.replace_member(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/nodelinks",
        // Whoever may list nodes.
        access: Access::Authenticated,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.list_node_links(call.user)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/nodes/{node}/held",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.list_held(call)),
    },
    Route {
        method: Method::Post,
        path: "/dunlin/v1/nodes/{node}/held",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.bury(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/backup",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.take_backup(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/snapshots",
        access: Access::Roles,
        patience: Patience::Request,
        serve: |service, _| Box::pin(service.snapshot_status()),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/namespaces/{namespace}/pods/{pod}/endpoints",
        // Whoever may read the pod.
        access: Access::Authenticated,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.pod_endpoints(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/namespaces/{namespace}/pods/{pod}/explain-schedule",
        // Whoever may read the pod and list nodes.
        access: Access::Authenticated,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.explain_schedule(call)),
    },
    Route {
        method: Method::Get,
        path: "/dunlin/v1/namespaces/{namespace}/pods/{pod}/coredump",
        // Whoever may run commands in the pod.
        access: Access::Authenticated,
        patience: Patience::Request,
        serve: |service, call| Box::pin(service.core_dump(call)),
    },
];

/// Paths of discovery that figures tell apart.
const DISCOVERY: [&str; 3] = ["/api", "/apis", "/version"];

/// Paths that tell whether the coordinator is well, and what it is.
const OPEN: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];

/// Paths that can be read and have nothing in them that varies.
pub(super) fn fixed_paths() -> impl Iterator<Item = &'static str> {
    ROUTES
        .iter()
        .filter(|route| route.method == Method::Get && !route.path.contains('{'))
        .map(|route| route.path)
}

/// A request to one of the endpoints.
pub(super) struct Call<'a> {
    pub(super) user: &'a User,
    pub(super) method: Method,
    pub(super) path: &'a str,
    pub(super) query: &'a Query,
    pub(super) body: Source<'a>,
    /// What the braces of the endpoint's path matched.
    pub(super) captures: Vec<&'a str>,
}

/// The path of an endpoint as figures name it; empty for what is none.
pub(super) fn figure(path: &str) -> &'static str {
    let known = ROUTES.iter().find(|route| captures(route.path, path).is_some()).map(|route| route.path);
    known
        .or_else(|| DISCOVERY.into_iter().find(|known| path.trim_end_matches('/') == *known))
        .unwrap_or_default()
}

/// Finds the endpoint and calls it.
pub(super) async fn route<'a>(service: &'a ApiService, mut call: Call<'a>) -> Result<Response, Status> {
    let mut is_known = false;
    for route in ROUTES {
        let Some(captures) = captures(route.path, call.path) else { continue };
        is_known = true;
        if route.method != call.method {
            continue;
        }
        call.captures = captures;
        let served = (route.serve)(service, call);
        return match route.patience {
            Patience::Request => in_time(served).await,
            Patience::Upload => served.await,
        };
    }
    if is_known { Err(Status::method_not_allowed()) } else { Ok(Response::no_such_path()) }
}

/// The segments that match those in braces, when all others are equal.
fn captures<'p>(pattern: &str, path: &'p str) -> Option<Vec<&'p str>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut captures = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(captures),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                captures.push(given)
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// Whether everybody may ask for a path, at any time.
pub(super) fn is_open(path: &str) -> bool {
    OPEN.contains(&path)
}

/// Decides who may ask for a path that is no object's, one that nothing is at included.
///
/// # Errors
/// 403 with Kubernetes' message.
pub(super) async fn authorize(
    service: &ApiService,
    user: &User,
    method: Method,
    path: &str,
) -> Result<(), Status> {
    let is_open = ROUTES
        .iter()
        .any(|route| route.access == Access::Authenticated && captures(route.path, path).is_some());
    if is_open && user.is_authenticated() {
        return Ok(());
    }
    let verb = match method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Patch => "patch",
        Method::Delete => "delete",
    };
    service.authorize_path(user, verb, path).await
}

impl ApiService {
    #[expect(clippy::unused_async, reason = "all endpoints have one shape")]
    async fn cluster(&self) -> Result<Response, Status> {
        let cluster = self.inner.attached.cluster.get().ok_or_else(not_served)?;
        Ok(Response::json(200, &serde_json::to_value(cluster).map_err(Status::internal)?))
    }

    async fn pod_endpoints(&self, call: Call<'_>) -> Result<Response, Status> {
        let [namespace, name] = call.captures.as_slice() else { return Ok(Response::no_such_path()) };
        let pod = self.get(call.user, ObjectRef { kind: pod_kind(), namespace, name }).await?;
        let uid = PodUid::new(mirror::uid_on_node(&pod));
        let node = NodeName::new(pod["spec"]["nodeName"].as_str().unwrap_or_default());
        let endpoints: Vec<Value> = self
            .endpoints()
            .of(&node, &uid)
            .iter()
            .map(|endpoint| json!({"containerPort": endpoint.container_port, "address": endpoint.address}))
            .collect();
        Ok(Response::json(200, &json!({"endpoints": endpoints})))
    }
}

/// Lets through who may list nodes.
///
/// # Errors
/// 403 with Kubernetes' message.
async fn may_list_nodes(service: &ApiService, user: &User) -> Result<(), Status> {
    let kind = dunlin_api::kind::by_kind("v1", "Node").expect("the registry has nodes");
    let request = ResourceRequest::of_collection(Verb::List, kind, "");
    if *service.authorize(user, &request).await?.scope() == Scope::Full {
        Ok(())
    } else {
        Err(refuse(user, &request, ""))
    }
}

fn not_served() -> Status {
    Status::service_unavailable("this coordinator is still starting")
}
