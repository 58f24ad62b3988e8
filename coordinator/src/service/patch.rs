//! Changing parts of objects: merge, JSON and strategic merge patches.

use dunlin_api::{
    Status,
    pipeline::{self, Accepted, Change, FieldValidation},
};
use serde_json::Value;

pub(super) use dunlin_api::patch::PatchKind;

use super::{
    ApiService, ObjectRef, User,
    change::Decision,
    delete::settle,
    options::WriteOptions,
    path::{ResourceRequest, Verb},
    served, size,
    update::{check_version, target, updated},
};

impl ApiService {
    /// Merges `patch` into an object or its `status`, again until no other writer came between, unless it names a
    /// `resourceVersion`.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn patch(
        &self,
        user: &User,
        object: ObjectRef<'_>,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value, Status> {
        let request = object.request(Verb::Patch, subresource);
        let body = patch.to_string();
        let patched = self
            .patch_with(user, &request, PatchKind::Merge, body.as_bytes(), &WriteOptions::internal(user))
            .await?;
        served::serve(object.kind, patched.object)
    }

    /// The same, by a strategic merge patch of the object itself.
    ///
    /// # Errors
    /// The refusal, as clients see it.
    pub async fn patch_strategically(
        &self,
        user: &User,
        object: ObjectRef<'_>,
        subresource: &str,
        patch: &Value,
    ) -> Result<Value, Status> {
        let request = object.request(Verb::Patch, subresource);
        let (kind, body) = (PatchKind::Strategic, patch.to_string());
        let options = WriteOptions::internal(user);
        let patched = self.patch_with(user, &request, kind, body.as_bytes(), &options).await?;
        served::serve(object.kind, patched.object)
    }

    pub(super) async fn patch_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        kind: PatchKind,
        body: &[u8],
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
            let patched = pipeline::patch(request.kind, current, kind, body, options.validation)?;
            warnings = patched.warnings;
            check_version(request, current, &patched.object)?;
            let change = Change { target, now, ownership: options.ownership(), around: &around };
            let updated = updated(request, &grant, &change, (current, patched.object), &mut numbers)?;
            size::check_change(current, &updated.object)?;
            warnings.extend(updated.warnings);
            Ok(settle(request.object(), updated.object, change.now))
        };
        let object = self.change(request.object(), options.dry_run, decide).await?.into_object();
        if options.validation == FieldValidation::Ignore {
            warnings.clear();
        }
        Ok(Accepted { object, warnings })
    }
}

/// Whether a content type is that of a server-side apply.
pub(super) fn is_apply(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim() == "application/apply-patch+yaml"
}

/// The kind of patch that a content type names.
///
/// # Errors
/// 415 for types that are no patch, or one that is not served.
pub(super) fn kind_of(content_type: &str) -> Result<PatchKind, Status> {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    PatchKind::from_content_type(essence).ok_or_else(|| Status::unsupported_media_type(SERVED))
}

const SERVED: &str = "application/json-patch+json, application/merge-patch+json, \
                      application/strategic-merge-patch+json, application/apply-patch+yaml";
