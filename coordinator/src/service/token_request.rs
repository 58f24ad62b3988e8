//! `serviceaccounts/token`: tokens for service accounts, bound to what they are for.

use dunlin_api::{Status, field::FieldError, pipeline::Accepted, time::format_time};
use dunlin_coordinator_core::{
    account,
    account::token::{Bound, Claims, Named},
    authorizer::{Attributes, Target},
};
use dunlin_link::NodeName;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    ApiService, ObjectRef, User,
    authorize::{Decision, Grant, Scope},
    bearer::ISSUER,
    path::{ResourceRequest, Verb},
};

/// What a token is to be bound to.
#[derive(Default)]
struct Binding {
    pod: Option<Value>,
    node: Option<Named>,
    secret: Option<Named>,
}

impl ApiService {
    /// Has a token issued as a client would that asks with this TokenRequest.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub(crate) async fn request_token(
        &self,
        user: &User,
        (namespace, account): (&str, &str),
        asked: Value,
    ) -> Result<Value, Status> {
        let kind = dunlin_api::kind::by_kind("v1", "ServiceAccount").expect("the registry has accounts");
        let request = ObjectRef { kind, namespace, name: account }.request(Verb::Create, "token");
        let grant = self.authorize(user, &request).await?;
        self.create_token_for(user, &request, &grant, asked).await.map(|accepted| accepted.object)
    }

    /// Answers a TokenRequest for the service account that the request names.
    pub(super) async fn create_token_for(
        &self,
        user: &User,
        request: &ResourceRequest,
        grant: &Grant,
        mut asked: Value,
    ) -> Result<Accepted, Status> {
        let (namespace, name) = (&request.namespace, &request.name);
        check_names(&asked, namespace, name)?;
        let account = self.find_core("ServiceAccount", namespace, name).await?;
        let account = account.ok_or_else(|| Status::not_found(request.kind, name))?;
        let now = self.clock().now();
        complete(&mut asked, namespace, name, now);
        check_lifetime(&asked)?;
        let reference = asked["spec"]["boundObjectRef"].clone();
        let binding = self.binding(namespace, name, &reference).await?;
        if let Scope::BoundTokens(node) = grant.scope() {
            self.check_node_token(user, request, node, &asked, binding.pod.as_ref()).await?;
        }
        let seconds = asked["spec"]["expirationSeconds"].as_i64().unwrap_or(LIFETIME_SECONDS_DEFAULT);
        let claims = claims(&asked, &account, binding, seconds, now);
        let keys = self.inner.attached.account_keys.get();
        let keys = keys.ok_or_else(|| Status::service_unavailable("this coordinator is still starting"))?;
        let token = keys.sign(&claims).map_err(Status::internal)?;
        let end = Timestamp::from_second(now.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX);
        asked["status"] = json!({ "token": token, "expirationTimestamp": format_time(end) });
        Ok(Accepted { object: asked, warnings: Vec::new() })
    }

    /// Looks up what a token is to be bound to.
    async fn binding(&self, namespace: &str, account: &str, reference: &Value) -> Result<Binding, Status> {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        if reference.is_null() {
            return Ok(Binding::default());
        }
        let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
        let space = if kind == "Node" { "" } else { namespace };
        if !matches!((api_version, kind), ("v1", "Pod" | "Node" | "Secret")) {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            let shown = format!("{group}/{version}, Kind={kind}");
            return Err(Status::bad_request(format!("cannot bind token to object of type {shown}")));
        }
        let found = self.find_core(kind, space, name).await?;
        let core = dunlin_api::kind::by_kind("v1", kind).expect("one of three kinds of the core group");
        let found = found.ok_or_else(|| Status::not_found(core, name))?;
        let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
        if !text("uid").is_empty() && text("uid") != uid {
            return Err(other_uid(kind, name, text("uid")));
        }
        let named = Named { name: name.to_owned(), uid: uid.to_owned() };
        match kind {
            "Secret" => Ok(Binding { secret: Some(named), ..Binding::default() }),
            "Node" => Ok(Binding { node: Some(named), ..Binding::default() }),
            _ if found["spec"]["serviceAccountName"] != account => Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name."
            ))),
            _ => {
                let node = self.node_of(&found).await?;
                Ok(Binding { pod: Some(found), node, secret: None })
            }
        }
    }

    /// The node that a pod is bound to; without a uid when there is none of its name.
    async fn node_of(&self, pod: &Value) -> Result<Option<Named>, Status> {
        let Some(name) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let node = self.find_core("Node", "", name).await?;
        let uid = node.as_ref().and_then(|node| node["metadata"]["uid"].as_str()).unwrap_or_default();
        Ok(Some(Named { name: name.to_owned(), uid: uid.to_owned() }))
    }

    /// A node asks for tokens of the pods that are bound to it, by their uid, and for audiences that those pods ask for.
    async fn check_node_token(
        &self,
        user: &User,
        request: &ResourceRequest,
        node: &NodeName,
        asked: &Value,
        pod: Option<&Value>,
    ) -> Result<(), Status> {
        let refuse = |why: &str| Err(Status::forbidden(request.kind, &request.name, why));
        let Some(pod) = pod else { return refuse("node requested token not bound to a pod") };
        if asked["spec"]["boundObjectRef"]["uid"].as_str().unwrap_or_default().is_empty() {
            return refuse("node requested token with a pod binding without a uid");
        }
        if pod["spec"]["nodeName"] != node.as_str() {
            return refuse("node requested token bound to a pod scheduled on a different node");
        }
        let projected = projected_audiences(pod);
        for audience in texts(&asked["spec"]["audiences"]) {
            if projected.contains(&audience) {
                continue;
            }
            let target = Target::Resource {
                group: "",
                resource: &audience,
                subresource: "",
                namespace: &request.namespace,
                name: &request.name,
            };
            let attributes = Attributes { verb: "request-serviceaccounts-token-audience", target };
            if let Decision::Refused(_) = self.decide(user, &attributes).await? {
                return refuse(&format!(
                    "audience \"{audience}\" not found in pod spec volume, {} is not authorized to request tokens for this audience",
                    user.name
                ));
            }
        }
        Ok(())
    }
}

/// A name or namespace in the body must be that of the path.
fn check_names(asked: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    let fields = [
        ("name", name, "must match the service account name if specified"),
        ("namespace", namespace, "must match the service account namespace if specified"),
    ];
    for (field, expected, detail) in fields {
        let given = asked["metadata"][field].as_str().unwrap_or_default();
        if !given.is_empty() && given != expected {
            let error = FieldError::invalid(format!("metadata.{field}").as_str(), given, detail);
            return Err(invalid(name, &error));
        }
    }
    Ok(())
}

/// Fills in what the request leaves to the service.
fn complete(asked: &mut Value, namespace: &str, name: &str, now: Timestamp) {
    asked["metadata"]["name"] = name.into();
    asked["metadata"]["namespace"] = namespace.into();
    asked["metadata"]["creationTimestamp"] = format_time(now).into();
    if asked["spec"].is_null() {
        asked["spec"] = Map::new().into();
    }
    if texts(&asked["spec"]["audiences"]).is_empty() {
        asked["spec"]["audiences"] = json!([ISSUER]);
    }
    if asked["spec"]["expirationSeconds"].is_null() {
        asked["spec"]["expirationSeconds"] = LIFETIME_SECONDS_DEFAULT.into();
    }
}

fn check_lifetime(asked: &Value) -> Result<(), Status> {
    let seconds = asked["spec"]["expirationSeconds"].as_i64().unwrap_or(LIFETIME_SECONDS_DEFAULT);
    let detail = if seconds < LIFETIME_SECONDS_MIN {
        "may not specify a duration less than 10 minutes"
    } else if seconds > LIFETIME_SECONDS_MAX {
        "may not specify a duration larger than 2^32 seconds"
    } else {
        return Ok(());
    };
    Err(invalid("", &FieldError::invalid("spec.expirationSeconds", seconds, detail)))
}

fn invalid(name: &str, error: &FieldError) -> Status {
    let mut details =
        json!({ "group": "authentication.k8s.io", "kind": "TokenRequest", "causes": [error.cause()] });
    if !name.is_empty() {
        details["name"] = name.into();
    }
    let message = format!("TokenRequest.authentication.k8s.io \"{name}\" is invalid: {error}");
    let mut status = Status::failure(422, "Invalid", message);
    status.0["details"] = details;
    status
}

fn other_uid(kind: &str, name: &str, given: &str) -> Status {
    let detail = format!(
        "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been deleted and \
         then recreated"
    );
    let message = format!("Operation cannot be fulfilled on {kind} \"{name}\": {detail}");
    let mut status = Status::failure(409, "Conflict", message);
    status.0["details"] = json!({ "name": name, "kind": kind });
    status
}

/// What the token says.
fn claims(asked: &Value, account: &Value, binding: Binding, seconds: i64, now: Timestamp) -> Claims {
    let text = |field: &str| account["metadata"][field].as_str().unwrap_or_default().to_owned();
    let audiences = texts(&asked["spec"]["audiences"]);
    let issued = now.as_second();
    // Clients that read a mounted token once and never again are given a year, and can be told from the claim.
    let for_api = audiences.iter().all(|audience| audience == ISSUER);
    let is_mounted = binding.pod.is_some() && seconds == LIFETIME_SECONDS_MOUNTED && for_api;
    let lasts = if is_mounted { LIFETIME_SECONDS_EXTENDED } else { seconds };
    let pod = binding.pod.map(|pod| {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        Named { name: text("name"), uid: text("uid") }
    });
    Claims {
        aud: audiences,
        exp: issued.saturating_add(lasts),
        iat: issued,
        iss: ISSUER.to_owned(),
        jti: Uuid::new_v4().to_string(),
        kubernetes: Bound {
            namespace: text("namespace"),
            node: binding.node,
            pod,
            secret: binding.secret,
            serviceaccount: Named { name: text("name"), uid: text("uid") },
            warnafter: is_mounted.then(|| issued.saturating_add(seconds)),
        },
        nbf: issued,
        sub: account::user(&text("namespace"), &text("name")),
    }
}

/// Audiences that a pod's volumes ask tokens for; one that is not named is the API.
fn projected_audiences(pod: &Value) -> Vec<String> {
    let entries = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let volumes = entries(&pod["spec"]["volumes"]);
    let sources = volumes.iter().flat_map(|volume| entries(&volume["projected"]["sources"]));
    let tokens = sources.filter_map(|source| source.get("serviceAccountToken").cloned());
    tokens
        .map(|token| match token["audience"].as_str().unwrap_or_default() {
            "" => ISSUER.to_owned(),
            audience => audience.to_owned(),
        })
        .collect()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

const LIFETIME_SECONDS_DEFAULT: i64 = 3600;
const LIFETIME_SECONDS_MIN: i64 = 600;
const LIFETIME_SECONDS_MAX: i64 = 1 << 32;
/// What pods' volumes ask for when the system adds them: an hour and a bit that is like no other.
const LIFETIME_SECONDS_MOUNTED: i64 = 3607;
/// How long tokens of such volumes count: a year.
const LIFETIME_SECONDS_EXTENDED: i64 = 365 * 24 * 3600;
