//! Server-side apply: making an object, or changing one, from what somebody wants of it.

use dunlin_api::{
    Status,
    pipeline::{self, Accepted, Applying, Change, Target},
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    ApiService, User,
    change::Decision,
    delete::settle,
    options::ApplyOptions,
    path::{ResourceRequest, Verb},
    size,
    update::{check_version, target, updated},
};

impl ApiService {
    /// Applies a configuration; answers the object with the code that says whether it is new.
    pub(super) async fn apply_with(
        &self,
        user: &User,
        request: &ResourceRequest,
        body: &[u8],
        options: &ApplyOptions,
    ) -> Result<(u16, Accepted), Status> {
        self.authorize(user, request).await?;
        let target = target(request)?;
        for _ in 0..ATTEMPTS_MAX {
            // Subresources are parts of what is there.
            let is_there = target != Target::Object || self.read_value(request.object()).await?.is_some();
            let applied = if is_there {
                self.apply_to_current(user, request, body, options).await.map(|applied| (200, applied))
            } else {
                self.apply_anew(user, request, body, options).await.map(|applied| (201, applied))
            };
            match applied {
                // It came or went meanwhile.
                Err(status) if is_there && target == Target::Object && status.reason() == "NotFound" => {}
                Err(status) if !is_there && status.reason() == "AlreadyExists" => {}
                applied => return applied,
            }
        }
        Err(Status::modified(request.kind, &request.name))
    }

    async fn apply_to_current(
        &self,
        user: &User,
        request: &ResourceRequest,
        body: &[u8],
        options: &ApplyOptions,
    ) -> Result<Accepted, Status> {
        let grant = self.authorize(user, request).await?;
        let target = target(request)?;
        let mut warnings = Vec::new();
        let mut numbers = self.numbers(request.kind).await?;
        let around = self.around(request, target).await?;
        let decide = |current: &Value| -> Result<Decision, Status> {
            grant.check_current(user, request, current)?;
            let now = self.clock().now();
            let applied =
                pipeline::apply(request.kind, Some(current), body, &applying(request, target, options, now))?;
            warnings = applied.warnings;
            check_version(request, current, &applied.object)?;
            let change = Change { target, now, ownership: options.write.ownership(), around: &around };
            let updated = updated(request, &grant, &change, (current, applied.object), &mut numbers)?;
            size::check_change(current, &updated.object)?;
            warnings.extend(updated.warnings);
            Ok(settle(request.object(), updated.object, now))
        };
        let object = self.change(request.object(), options.write.dry_run, decide).await?.into_object();
        Ok(Accepted { object, warnings })
    }

    async fn apply_anew(
        &self,
        user: &User,
        request: &ResourceRequest,
        body: &[u8],
        options: &ApplyOptions,
    ) -> Result<Accepted, Status> {
        let now = self.clock().now();
        let applied =
            pipeline::apply(request.kind, None, body, &applying(request, Target::Object, options, now))?;
        let request = ResourceRequest { verb: Verb::Create, ..request.clone() };
        let grant = self.authorize(user, &request).await?;
        let mut created = self.create_with(user, &request, &grant, applied.object, &options.write).await?;
        created.warnings.splice(0..0, applied.warnings);
        Ok(created)
    }
}

fn applying<'a>(
    request: &'a ResourceRequest,
    target: Target,
    options: &'a ApplyOptions,
    now: Timestamp,
) -> Applying<'a> {
    Applying {
        target,
        name: &request.name,
        manager: &options.manager,
        force: options.force,
        validation: options.write.validation,
        now,
    }
}

/// Times that an object may come and go while it is applied.
const ATTEMPTS_MAX: usize = 8;
