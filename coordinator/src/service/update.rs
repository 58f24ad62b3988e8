//! Replacing objects and parts of them.

use dunlin_api::{
    Status,
    admission::pod_security::Around,
    kind::service::Pool,
    pipeline::{self, Accepted, Change, Ownership, Target},
};
use dunlin_coordinator_core::{mirror, pod_status};
use serde_json::Value;

use super::{
    ApiService, ObjectRef, User,
    authorize::Grant,
    change::Decision,
    delete::settle,
    options::{DryRun, WriteOptions},
    path::{ResourceRequest, Verb},
    served, size,
};

/// Why a component of the coordinator, or a node's session, did not change or remove an object.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ModifyError {
    /// The object that was meant is not there: none has its name, or one of another uid, or one that is another node's.
    #[error("{}", .0.message())]
    Gone(Status),
    /// The change is refused, or cannot be stored.
    #[error("{}", .0.message())]
    Refused(Status),
}

impl From<Status> for ModifyError {
    fn from(status: Status) -> Self {
        if status.code() == NOT_FOUND { Self::Gone(status) } else { Self::Refused(status) }
    }
}

impl From<ModifyError> for Status {
    fn from(error: ModifyError) -> Self {
        match error {
            ModifyError::Gone(status) | ModifyError::Refused(status) => status,
        }
    }
}

impl ApiService {
    /// Reads, changes and writes an object (or its `status` subresource) again until no other writer came between.
    /// `edit` returns false when nothing is to be written. With `uid`, an object of another uid is not the one that was meant; a mirror
    /// is, by the uid of what it shows.
    ///
    /// # Errors
    /// Why it was not changed.
    pub async fn modify(
        &self,
        user: &User,
        object: ObjectRef<'_>,
        subresource: &str,
        uid: Option<&str>,
        mut edit: impl FnMut(&mut Value) -> bool + Send,
    ) -> Result<Value, ModifyError> {
        let request = object.request(Verb::Update, subresource);
        let grant = self.authorize(user, &request).await?;
        let target = target(&request)?;
        let mut numbers = self.numbers(request.kind).await?;
        let decide = |current: &Value| {
            grant.check_current(user, &request, current).map_err(ModifyError::Gone)?;
            let current_uid = current["metadata"]["uid"].as_str().unwrap_or_default();
            if let Some(uid) = uid.filter(|uid| !mirror::stands_for(current, uid)) {
                let detail = format!(
                    "Precondition failed: UID in precondition: {uid}, UID in object meta: {current_uid}"
                );
                return Err(ModifyError::Gone(Status::conflict(object.kind, object.name, &detail)));
            }
            let mut new = served::serve(object.kind, current.clone())?;
            if !edit(&mut new) {
                return Ok(Decision::Keep(current.clone()));
            }
            let ownership = Ownership::Tracked(user.component());
            let around = &Around::Nothing;
            let change = Change { target, now: self.clock().now(), ownership, around };
            let updated = updated(&request, &grant, &change, (current, new), &mut numbers)?;
            Ok(settle(object, updated.object, change.now))
        };
        let outcome = self.change(object, DryRun::No, decide).await?;
        Ok(served::serve(object.kind, outcome.into_object())?)
    }

    pub(super) async fn update_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        new: Value,
        options: &WriteOptions,
    ) -> Result<Accepted, Status> {
        let grant = self.authorize(user, request).await?;
        let target = target(request)?;
        let mut warnings = Vec::new();
        let mut numbers = self.numbers(request.kind).await?;
        let around = self.around(request, target).await?;
        let now = self.clock().now();
        let decide = |current: &Value| -> Result<Decision, Status> {
            grant.check_current(user, request, current)?;
            check_version(request, current, &new)?;
            let change = Change { target, now, ownership: options.ownership(), around: &around };
            let updated = updated(request, &grant, &change, (current, new.clone()), &mut numbers)?;
            size::check_change(current, &updated.object)?;
            warnings = updated.warnings;
            Ok(settle(request.object(), updated.object, change.now))
        };
        let object = self.change(request.object(), options.dry_run, decide).await?.into_object();
        Ok(Accepted { object, warnings })
    }
}

/// Which part of the object the request writes.
pub(super) fn target(request: &ResourceRequest) -> Result<Target, Status> {
    match request.subresource.as_str() {
        "" => Ok(Target::Object),
        "status" if request.kind.has_subresource("status") => Ok(Target::Status),
        "approval" if request.kind.has_subresource("approval") => Ok(Target::Approval),
        "ephemeralcontainers" if request.kind.has_subresource("ephemeralcontainers") => Ok(Target::Ephemeral),
        _ => Err(Status::no_such_resource()),
    }
}

/// The object to store for a change of `current` to `new`.
pub(super) fn updated(
    request: &ResourceRequest,
    grant: &Grant,
    change: &Change<'_>,
    (current, new): (&Value, Value),
    numbers: &mut dyn Pool,
) -> Result<Accepted, Status> {
    let mut updated = pipeline::update(request.kind, current, new, change, numbers)?;
    if change.target == Target::Status && (request.kind.group, request.kind.plural) == ("", "pods") {
        pod_status::settle_gates(&mut updated.object, change.now);
    }
    updated.object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
    grant.check_change(request, current, &updated.object)?;
    Ok(updated)
}

/// Optimistic concurrency: a version that was sent must be the current one.
pub(super) fn check_version(request: &ResourceRequest, current: &Value, new: &Value) -> Result<(), Status> {
    let sent = new["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if sent.is_empty() || sent == "0" || current["metadata"]["resourceVersion"] == sent {
        Ok(())
    } else {
        Err(Status::modified(request.kind, &request.name))
    }
}

const NOT_FOUND: u16 = 404;
