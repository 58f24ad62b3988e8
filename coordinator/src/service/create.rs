//! Creating objects.

use dunlin_api::{
    Kind, Status,
    admission::Surroundings,
    kind::{
        self,
        pod::mirror_of,
        service::{NoPool, Pool},
    },
    pipeline::{self, Accepted, Creation, Ownership, Requester, SUFFIX_ALPHABET},
};
use dunlin_coordinator_core::scheduler;
use dunlin_link::NodeName;
use rand::Rng as _;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    ApiService, ObjectRef, User,
    authorize::{self, Grant, Scope},
    certificate_request,
    change::with_version,
    companions::{Cause, Transition, Unmet},
    get::pod_kind,
    options::{DryRun, WriteOptions},
    path::{ResourceRequest, Verb},
    served, size, store_failed, stored,
};
use crate::store::{Compare, Txn, TxnOutcome, Write};

impl ApiService {
    /// Creates an object after authorization, defaulting and validation; answers it as stored.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn create(
        &self,
        user: &User,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
    ) -> Result<Value, Status> {
        let request = ResourceRequest::of_collection(Verb::Create, kind, namespace);
        let grant = self.authorize(user, &request).await?;
        let created = self.create_with(user, &request, &grant, object, &WriteOptions::internal(user)).await?;
        served::serve(kind, created.object)
    }

    pub(super) async fn create_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        grant: &Grant,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Accepted, Status> {
        let is_named = object["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
        let mut names_left = if is_named { 0 } else { NAMES_MAX - 1 };
        let mut refused = None;
        let mut numbers = self.numbers(request.kind).await?;
        let requester = user.as_requester();
        for _ in 0..ATTEMPTS_MAX {
            let guard = self.check_namespace(request, &object).await?;
            let surroundings = self.surroundings(request, &object).await?;
            let origin =
                Origin { requester: &requester, ownership: options.ownership(), surroundings: &surroundings };
            let mut created = self.prepare(request, object.clone(), origin, &mut numbers)?;
            self.look_at_node(request, &mut created.object).await?;
            grant.check_new(user, request, &created.object)?;
            size::check_new(&created.object)?;
            self.check_references(user, request, grant, &created.object).await?;
            match self.insert(request.kind, created, guard, options.dry_run).await? {
                Inserted::Done(created) => return Ok(created),
                Inserted::NameTaken(status) if names_left == 0 => return Err(status),
                Inserted::NameTaken(_) => names_left -= 1,
                // The namespace changed meanwhile: whether it takes new content is to be asked again.
                Inserted::Unmet(Unmet::Changed) => {}
                // What conflicts again although another number was offered is what the client asked for.
                Inserted::Unmet(Unmet::Taken(claim, status)) if refused == Some(claim) => return Err(status),
                Inserted::Unmet(Unmet::Taken(claim, _)) => {
                    refused = Some(claim);
                    numbers = self.numbers(request.kind).await?;
                }
            }
        }
        let message = "what the object needs keeps changing";
        Err(Status::too_many_requests(message, 1))
    }

    /// A pod that names a node where it must not be has failed.
    async fn look_at_node(&self, request: &ResourceRequest, pod: &mut Value) -> Result<(), Status> {
        let is_pod = request.kind.group.is_empty() && request.kind.kind == "Pod";
        let name = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        if !is_pod || name.is_empty() || !scheduler::is_to_be_checked(pod) || mirror_of(pod).is_some() {
            return Ok(());
        }
        let Some(node) = self.find_core("Node", "", &name).await? else { return Ok(()) };
        // What cannot be read is for the node to refuse.
        if !scheduler::may_be_on(pod, (&NodeName::new(name), &node)).unwrap_or(true) {
            let now = pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
            let refused = scheduler::refused_status(&now);
            if let (Some(status), Value::Object(refused)) = (pod["status"].as_object_mut(), refused) {
                status.extend(refused);
            }
        }
        Ok(())
    }

    /// What a client without wishes would store.
    pub(super) fn prepare_plain(&self, request: &ResourceRequest, object: Value) -> Result<Value, Status> {
        let ownership = Ownership::Tracked(User::controller_manager().component());
        self.prepare_owned(request, object, ownership)
    }

    /// What becomes of an object of the system, whose fields are whose this says.
    pub(super) fn prepare_owned(
        &self,
        request: &ResourceRequest,
        object: Value,
        ownership: Ownership<'_>,
    ) -> Result<Value, Status> {
        let (requester, surroundings) = (&Requester::default(), &Surroundings::default());
        let origin = Origin { requester, ownership, surroundings };
        self.prepare(request, object, origin, &mut NoPool).map(|prepared| prepared.object)
    }

    fn prepare(
        &self,
        request: &ResourceRequest,
        object: Value,
        origin: Origin<'_>,
        numbers: &mut dyn Pool,
    ) -> Result<Accepted, Status> {
        let (uid, suffix) = (Uuid::new_v4().to_string(), name_suffix());
        let (namespace, now) = (&request.namespace, self.clock().now());
        let Origin { requester, ownership, surroundings } = origin;
        let creation =
            Creation { namespace, now, uid: &uid, suffix: &suffix, requester, ownership, surroundings };
        pipeline::create(request.kind, object, &creation, numbers)
    }

    async fn insert(
        &self,
        kind: &'static Kind,
        mut created: Accepted,
        guard: Option<Compare>,
        dry_run: DryRun,
    ) -> Result<Inserted, Status> {
        let text = |field: &str| created.object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        let key = stored::key(kind, &namespace, &name);
        let taken = || Inserted::NameTaken(Status::already_exists(kind, &name));
        if dry_run == DryRun::All {
            let found = self.store().get(&key).await.map_err(store_failed)?;
            return Ok(if found.is_some() { taken() } else { Inserted::Done(created) });
        }
        let object = ObjectRef { kind, namespace: &namespace, name: &name };
        let companions = self
            .companions(Transition { object, old: None, new: Some(&created.object), cause: Cause::Plain })
            .await?;
        let mut writes = vec![Write::Put(key.clone(), stored::encode(&created.object))];
        writes.extend(companions.writes.iter().cloned());
        let mut compares: Vec<Compare> = std::iter::once(Compare::Absent(key)).chain(guard).collect();
        let own = compares.len();
        compares.extend(companions.compares());
        match self.store().txn(Txn { compares, writes }).await.map_err(store_failed)? {
            TxnOutcome::Committed(revision) => {
                created.object = with_version(created.object, revision);
                Ok(Inserted::Done(created))
            }
            TxnOutcome::Conflict(0, _) => Ok(taken()),
            TxnOutcome::Conflict(position, _) if position < own => Ok(Inserted::Unmet(Unmet::Changed)),
            TxnOutcome::Conflict(position, _) => Ok(Inserted::Unmet(companions.unmet(position - own))),
        }
    }

    /// Refuses content for a namespace that is not there or going away. The answer holds that against changes until the commit.
    async fn check_namespace(
        &self,
        request: &ResourceRequest,
        object: &Value,
    ) -> Result<Option<Compare>, Status> {
        if !request.kind.namespaced {
            return Ok(None);
        }
        let kind = kind::by_kind("v1", "Namespace").expect("the registry has namespaces");
        let name = &request.namespace;
        let namespace = ObjectRef { kind, namespace: "", name };
        let found = self.read_value(namespace).await?.ok_or_else(|| Status::not_found(kind, name))?;
        let current = super::change::decode(&found)?;
        if current["metadata"]["deletionTimestamp"].is_null() {
            return Ok(Some(Compare::ModRevision(found.key, found.mod_revision)));
        }
        let own_name = object["metadata"]["name"].as_str().unwrap_or_default();
        let detail =
            format!("unable to create new content in namespace {name} because it is being terminated");
        let mut status = Status::forbidden(request.kind, own_name, &detail);
        status.0["details"]["causes"] = json!([{
            "reason": "NamespaceTerminating",
            "message": format!("namespace {name} is being terminated"),
            "field": "metadata.namespace",
        }]);
        Err(status)
    }

    /// Checks what a new object is beside: a node's event its pod, a node's mirror its Node, a default class other classes;
    /// and what is in a request for a certificate.
    async fn check_references(
        &self,
        user: &User,
        request: &ResourceRequest,
        grant: &Grant,
        object: &Value,
    ) -> Result<(), Status> {
        if let Scope::OwnEvents(node) = grant.scope()
            && !self.is_about(node.as_str(), &object["involvedObject"]).await?
        {
            return Err(authorize::refuse(user, request, &authorize::no_relation(node)));
        }
        if let Scope::OwnMirrors(node) = grant.scope() {
            self.check_owner(node, request, object).await?;
        }
        if certificate_request::is_request(request.kind) {
            certificate_request::check_new(request.kind, object)?;
        }
        self.check_default_class(request, object).await
    }

    /// The Node that a mirror names as its owner is the one of today, so that it goes with it.
    async fn check_owner(
        &self,
        node: &NodeName,
        request: &ResourceRequest,
        mirror: &Value,
    ) -> Result<(), Status> {
        let kind = kind::by_kind("v1", "Node").expect("the registry has nodes");
        let found = self.read(ObjectRef { kind, namespace: "", name: node.as_str() }).await?;
        if mirror["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"] {
            return Ok(());
        }
        let name = mirror["metadata"]["name"].as_str().unwrap_or_default();
        let detail =
            format!("node \"{node}\" can only create pods with an owner reference to its Node as it is now");
        Err(Status::forbidden(request.kind, name, &detail))
    }

    /// Whether pods can be made in a namespace now.
    ///
    /// # Errors
    /// Why they cannot.
    pub(crate) async fn check_takes_pods(&self, namespace: &str) -> Result<(), Status> {
        let request = ResourceRequest::of_collection(Verb::Create, pod_kind(), namespace);
        self.check_namespace(&request, &Value::Null).await.map(drop)
    }

    async fn is_about(&self, node: &str, involved: &Value) -> Result<bool, Status> {
        let text = |field: &str| involved[field].as_str().unwrap_or_default();
        match text("kind") {
            "Node" => Ok(text("name") == node),
            "Pod" => {
                let pod = ObjectRef { kind: pod_kind(), namespace: text("namespace"), name: text("name") };
                let found = self.read_value(pod).await?;
                // The pod may be gone by the time its node tells of its end.
                let pod = found.as_ref().map(super::change::decode).transpose()?;
                Ok(pod.is_none_or(|pod| pod["spec"]["nodeName"] == node))
            }
            _ => Ok(false),
        }
    }
}

/// From whom a new object comes, and into what.
#[derive(Clone, Copy)]
struct Origin<'a> {
    requester: &'a Requester,
    ownership: Ownership<'a>,
    surroundings: &'a Surroundings,
}

enum Inserted {
    Done(Accepted),
    NameTaken(Status),
    /// What goes with the object, or what it needs, is not as it was taken to be.
    Unmet(Unmet),
}

fn name_suffix() -> String {
    let mut random = rand::rng();
    (0..NAME_SUFFIX_CHARS)
        .map(|_| char::from(SUFFIX_ALPHABET[random.random_range(0..SUFFIX_ALPHABET.len())]))
        .collect()
}

/// Length of what a generated name ends in.
const NAME_SUFFIX_CHARS: usize = 5;
/// Generated names tried before giving up, as Kubernetes does: 14 million suffixes make a second collision news.
const NAMES_MAX: usize = 8;
/// Other writers that may come between before we give up: more only happen when somebody writes in a loop.
const ATTEMPTS_MAX: usize = 64;
